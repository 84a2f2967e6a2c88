/*-------------------------------------------------------------------------
 *
 * statements.h
 *	  What the statements of the extension are made of.
 *
 * They name everything in full, operators too, so that no search_path changes
 * what they mean.  Parameters have built-in types only: a plan with a parameter
 * of a type of ours would die with DROP EXTENSION, these are analysed anew.
 * Statuses in predicates are literals, so that a generic plan can use the
 * partial indexes.
 *
 * Neither IN, CASE x WHEN, NULLIF, IS DISTINCT FROM nor USING stand there: they
 * look for their operators in the search_path.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_STATEMENTS_H
#define DURABLE_STATEMENTS_H

#include "plans.h"

#include "catalog/pg_type.h"

typedef struct OldStatement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_PARAMS];
	Planning	planning;
	int64		(*fast) (const void *params);
} OldStatement;

/* Each has the statements of its file, and holes for the others. */
extern const OldStatement looking_statements[NUM_PLANS];
extern const OldStatement acting_statements[NUM_PLANS];

/* fast.c */
extern int64 fast_claim_new_step(const void *params);
extern int64 fast_complete_step(const void *params);
extern int64 fast_complete_and_claim(const void *params);
extern int64 fast_executor_alive(const void *params);

#define EQ " OPERATOR(pg_catalog.=) "
#define NE " OPERATOR(pg_catalog.<>) "
#define LT " OPERATOR(pg_catalog.<) "
#define LE " OPERATOR(pg_catalog.<=) "
#define GT " OPERATOR(pg_catalog.>) "
#define GE " OPERATOR(pg_catalog.>=) "
#define PLUS " OPERATOR(pg_catalog.+) "
#define MINUS " OPERATOR(pg_catalog.-) "

#define S_PENDING "'PENDING'::durable.task_status"
#define S_RUNNING "'RUNNING'::durable.task_status"
#define S_COMPLETED "'COMPLETED'::durable.task_status"
#define S_FAILED "'FAILED'::durable.task_status"
#define S_PAUSED "'PAUSED'::durable.task_status"
#define S_CANCELLED "'CANCELLED'::durable.task_status"
#define K_WORKFLOW "'WORKFLOW'::durable.task_kind"

/* in the words of the partial indexes workflow_active_root and workflow_executor */
#define UNFINISHED(t) \
	t ".status" EQ "ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[])"
#define DRIVEN(t) \
	t ".status" EQ "ANY (ARRAY['RUNNING', 'PAUSED']::durable.task_status[])"

/*
 * A condition on a row that is found by its id.  CASE hides it from the choice
 * of indexes: while the table is small, or was when the plan was made, the
 * planner would as soon read all rows of that status as the one of that id.
 */
#define CHECKED(condition) "(CASE WHEN " condition " THEN true ELSE false END)"

/* not an inline child: has an executor of its own */
#define UNIT(t) "(" t ".parent_id IS NULL OR " t ".queue_name IS NOT NULL)"

/* a workflow, and the inline ones below it, have shown no sign of life since */
#define SILENT(id, since) \
	"NOT EXISTS (" \
	"  WITH RECURSIVE below AS (" \
	"    SELECT " id " AS id, NULL::pg_catalog.timestamptz AS started_at" \
	"    UNION ALL" \
	"    SELECT i.id, i.started_at FROM below b CROSS JOIN LATERAL" \
	"      (SELECT o.id, o.started_at FROM durable.workflow o" \
	"       WHERE o.parent_id" EQ "b.id AND o.queue_name IS NULL OFFSET 0) i)" \
	"  SELECT 1 FROM below b LEFT JOIN durable.step s ON s.workflow_id" EQ "b.id" \
	"  WHERE b.started_at" GE since " OR s.started_at" GE since " OR s.completed_at" GE since " OR s.failed_at" GE since ")"

/* in the words of the index workflow_purge */
#define TREE_END(t) "GREATEST(" t ".completed_at, " t ".tree_end)"

/* read by read_workflow and read_step (task.c), in this order */
#define WORKFLOW_COLUMNS \
	"w.id, w.root_id, w.parent_id, w.status, w.lease, w.recovery_count, w.max_recovery_attempts, " \
	"w.name, w.queue_name, w.handler, w.executor_id, w.input, w.output, w.error, w.deadline, " \
	"w.paused_by, w.paused_at"
#define STEP_COLUMNS \
	"s.status, s.kind, s.lease, s.attempt, s.max_retries, s.retry_count, s.name, s.executor_id, " \
	"s.backoff, s.backoff_multiplier, s.max_backoff, s.input, s.output, s.error, s.detail, s.run_at, s.deadline, " \
	"s.child_id"
#define TASK_COLUMNS \
	"t.id, t.parent_id, t.sequence, t.name, t.handler, t.status, t.kind, t.input, t.output, t.error, " \
	"t.queue_name, t.executor_id, t.retry_count, t.max_retries, t.recovery_count, t.created_at, " \
	"t.started_at, t.completed_at, t.deadline, t.lease, t.attempt"

/*
 * Statements for one and for many: what differs between the elements of a batch
 * is a parameter in the one, an array, read as b, in the other.  There, each
 * element is to be found by an index, not all rows joined: LATERAL ... OFFSET 0
 * where they are read, BY_PROBES where they are changed.
 */
#define EACH(arrays, columns) "ROWS FROM (" arrays ") WITH ORDINALITY AS b (" columns ", n)"
#define OF(parameter) "pg_catalog.unnest(" parameter ")"

/* $3, $5, $6, $7: completed or failed, error, detail, now */
#define END_WORKFLOW(output) \
	"UPDATE durable.workflow w SET " \
	"  status = CASE WHEN $3 THEN " S_COMPLETED " ELSE " S_FAILED " END, " \
	"  output = " output ", error = $5, detail = $6, completed_at = $7 "
#define WORKFLOW_TO_END(id, lease) \
	"w.id" EQ id " AND w.lease" EQ lease " AND " CHECKED("w.status" EQ S_RUNNING)

/* in which a step can be claimed at that time */
#define OPEN_AT(now) \
	CHECKED("w.status" EQ S_RUNNING " AND (w.deadline IS NULL OR w.deadline" GT now ")")

#define INSERT_STEP \
	"INSERT INTO durable.step AS s (workflow_id, sequence, lease, attempt, status, kind, name, input, executor_id, " \
	"  max_retries, backoff, backoff_multiplier, max_backoff, timeout, started_at, deadline) "
/* $4, $7 .. $14: the kind; the policy (step.c: param_policy) */
#define CLAIM_NEW_STEP(sequence, name, input) \
	INSERT_STEP "SELECT w.id, " sequence ", w.lease, 1, " S_RUNNING ", $4::durable.task_kind, " name ", " input ", " \
	"  $7, $8, $9, $10, $11, $12, $13, $14 " \
	"FROM durable.workflow w "
/* $1, $3: workflow and its lease */
#define CLAIMED_IN \
	"w.id" EQ "$1 AND w.lease" EQ "$3 AND "

/* $8 .. $15: the policy */
#define CLAIM_STEP_AGAIN(attempt) \
	"UPDATE durable.step s SET status = " S_RUNNING ", lease = w.lease, attempt = " attempt ", executor_id = $8, " \
	"  max_retries = $9, backoff = $10, backoff_multiplier = $11, max_backoff = $12, timeout = $13, " \
	"  started_at = $14, deadline = $15, run_at = NULL " \
	"FROM durable.workflow w "
#define STEP_TO_CLAIM_AGAIN(workflow_id, sequence, pending, lease, attempt) \
	"s.workflow_id" EQ workflow_id " AND s.sequence" EQ sequence " AND " CLAIMED_IN OPEN_AT("$14") \
	"  AND s.status" EQ "CASE WHEN " pending " THEN " S_PENDING " ELSE " S_RUNNING " END " \
	"  AND s.lease" EQ lease " AND s.attempt" EQ attempt

/* $6: now */
#define COMPLETE_STEP(output) \
	"UPDATE durable.step s SET status = " S_COMPLETED ", output = " output ", error = NULL, detail = NULL, completed_at = $6 "

/*
 * lease and attempt: the caller's fences; more: what else is asked of the
 * workflow.  If we wait for the step's row, only that row is read anew: it tells
 * by its own lease that a new owner has claimed it.
 */
#define STEP_TO_COMPLETE_IF(workflow_id, sequence, lease, attempt, more) \
	"s.workflow_id" EQ workflow_id " AND s.sequence" EQ sequence " AND s.status" EQ S_RUNNING \
	" AND s.kind" NE K_WORKFLOW " AND (" attempt " IS NULL OR s.attempt" EQ attempt ")" \
	" AND s.lease" LE "(SELECT w.lease FROM durable.workflow w" \
	"   WHERE w.id" EQ workflow_id " AND (" lease " IS NULL OR w.lease" EQ lease ")" more ")"

/* the step of $1 to $4, unless somebody has locked it: so its update does not wait */
#define FREE_STEP(more) \
	"free AS MATERIALIZED (SELECT s.workflow_id, s.sequence FROM durable.step s WHERE " \
	STEP_TO_COMPLETE_IF("$1", "$2", "$3", "$4", more) " FOR NO KEY UPDATE SKIP LOCKED) "
#define FROM_FREE_STEP \
	"FROM free f WHERE s.workflow_id" EQ "f.workflow_id AND s.sequence" EQ "f.sequence"

/*
 * $1 .. $7: status, kind, parent_id, root_only, name, queue_name, handler.
 * Planned for their values: what is not asked for folds away, and so does the
 * table of steps where only workflows are, if the kind is a constant.
 */
#define KIND_IS(label) \
	"($2 IS NULL OR $2" NE "'" label "' OR t.kind" EQ "'" label "'::durable.task_kind)"
#define TASK_FILTERS \
	"($1 IS NULL OR (pg_catalog.hashenum(t.status)" EQ "pg_catalog.hashenum($1::durable.task_status)" \
	"  AND t.status" EQ "$1::durable.task_status)) " \
	"AND " KIND_IS("WORKFLOW") " AND " KIND_IS("STEP") " AND " KIND_IS("TRANSACTION") " AND " KIND_IS("WAIT") " " \
	"AND ($3 IS NULL OR t.parent_id" EQ "$3) " \
	"AND (NOT $4 OR (t.parent_id IS NULL AND t.kind" EQ K_WORKFLOW ")) " \
	"AND ($5 IS NULL OR (pg_catalog.hashtext(t.name)" EQ "pg_catalog.hashtext($5 COLLATE pg_catalog.\"C\")" \
	"  AND t.name" EQ "$5)) " \
	"AND ($6 IS NULL OR (t.kind" EQ K_WORKFLOW " AND t.queue_name" EQ "$6)) " \
	"AND ($7 IS NULL OR (t.kind" EQ K_WORKFLOW " AND t.handler" EQ "$7))"
#define SORT_BY(column) \
	"CASE WHEN $8" EQ "'" column "' AND NOT $9 THEN t." column " END, " \
	"CASE WHEN $8" EQ "'" column "' AND $9 THEN t." column " END DESC, "

/*
 * The priorities that wait in queue $1, from $3 down: one index probe each, so
 * that what is not yet due at one priority costs the next nothing.
 */
#define WAITING_PRIORITIES(more) \
	"WITH RECURSIVE waiting AS (" \
	"  SELECT $3 AS priority" \
	"  UNION ALL" \
	"  SELECT (SELECT w.priority FROM durable.workflow w" \
	"    WHERE w.queue_name" EQ "$1 AND w.status" EQ S_PENDING " AND w.priority" LT "p.priority" more \
	"    ORDER BY w.priority DESC LIMIT 1)" \
	"  FROM waiting p WHERE p.priority IS NOT NULL)"
/* at priority $3, nothing is due before $4, $5: what is dead there is passed by */
#define DUE_AT_PRIORITY \
	"  SELECT w.id, w.root_id, w.run_at FROM durable.workflow w" \
	"  WHERE w.queue_name" EQ "$1 AND w.status" EQ S_PENDING \
	"    AND w.priority" EQ "p.priority AND w.run_at" LE "$2 AND (w.run_at, w.id)" GE \
	"      (CASE WHEN p.priority" EQ "$3 THEN $4 ELSE '-infinity'::pg_catalog.timestamptz END," \
	"       CASE WHEN p.priority" EQ "$3 THEN $5 ELSE '00000000-0000-0000-0000-000000000000'::pg_catalog.uuid END)"

/* the window of the rate limit has ended, or none has begun (the clock may have been set back) */
#define WINDOW_OVER(now) \
	"(q.window_start IS NULL OR " now GE "(q.window_start" PLUS "q.rate_limit_window) OR " now LT "q.window_start)"

/* $4, $5: the queue and the handlers to which recover is narrowed; $6: what it has seen */
#define RECOVER_FILTERS \
	"($4 IS NULL OR w.queue_name" EQ "$4) AND ($5 IS NULL OR w.handler" EQ "ANY ($5)) AND NOT w.id" EQ "ANY ($6)"

/* a row of that catalog is a member of extension $1 */
#define MEMBER(t, catalog) \
	t ".oid" EQ "ANY (ARRAY(SELECT d.objid FROM pg_catalog.pg_depend d" \
	"  WHERE d.refclassid" EQ "'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid" EQ "$1" \
	"    AND d.deptype" EQ "'e' AND d.classid" EQ "'pg_catalog." catalog "'::pg_catalog.regclass))"

#endif							/* DURABLE_STATEMENTS_H */
