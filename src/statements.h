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
extern int64 fast_start(const void *params);
extern int64 fast_complete_root(const void *params);
extern int64 fast_claim_new_step(const void *params);
extern int64 fast_complete_step(const void *params);
extern int64 fast_complete_and_claim(const void *params);

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

/* $4 .. $11: from handler on, as in the arguments of start */
#define START(id, name, input, created_at, lease) \
	"INSERT INTO durable.workflow AS w (id, root_id, status, lease, created_at, started_at, deadline, run_at, " \
	"  name, input, handler, executor_id, queue_name, priority, timeout, max_recovery_attempts, app_version) " \
	"SELECT " id ", " id ", " \
	"  CASE WHEN $6 IS NULL THEN " S_RUNNING " ELSE " S_PENDING " END, " lease ", " created_at ", " \
	"  CASE WHEN $6 IS NULL THEN " created_at " END, " \
	"  CASE WHEN $6 IS NULL THEN " created_at PLUS "$9 END, " \
	"  CASE WHEN $6 IS NOT NULL THEN COALESCE($8, " created_at ") END, " \
	"  " name ", " input ", $4, CASE WHEN $6 IS NULL THEN $5 END, $6, $7, $9, $10, $11 "

/* in the words of the index workflow_active_root: any other conflict is an error */
#define UNLESS_ACTIVE \
	"ON CONFLICT (name) WHERE parent_id IS NULL" \
	"  AND status" EQ "ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[]) DO NOTHING"

/* $2, $3: executor_id, now */
#define TAKE(times) \
	"UPDATE durable.workflow w SET status = " S_RUNNING ", lease = w.lease" PLUS times ", executor_id = $2, " \
	"  started_at = CASE WHEN w.status" EQ S_PENDING " THEN $3 ELSE w.started_at END, " \
	"  deadline = CASE WHEN w.status" EQ S_PENDING " THEN $3" PLUS "w.timeout ELSE w.deadline END "
#define TAKEABLE(id, lease) \
	"w.id" EQ id " AND w.lease" EQ lease \
	" AND " CHECKED("w.status" EQ "ANY (ARRAY['PENDING', 'RUNNING']::durable.task_status[])")

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
