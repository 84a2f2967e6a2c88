/*-------------------------------------------------------------------------
 *
 * plans.c
 *	  The statements of the extension, and the one way to run them.
 *
 * All are prepared once a backend and kept, but for a few as generic plans.
 * They name everything in full, operators too, so that no search_path changes
 * what they mean.  Parameters have built-in types only: a plan with a parameter
 * of a type of ours would die with DROP EXTENSION, these are analysed anew.
 * Statuses in predicates are literals, so that a generic plan can use the
 * partial indexes.
 *
 * Neither IN, CASE x WHEN, NULLIF, IS DISTINCT FROM nor USING stand here: they
 * look for their operators in the search_path.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

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
#define STEP_KIND(is_transaction) \
	"CASE WHEN " is_transaction " THEN 'TRANSACTION'::durable.task_kind ELSE 'STEP'::durable.task_kind END"

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

/* read by read_workflow and read_step (rows.c), in this order */
#define WORKFLOW_COLUMNS \
	"w.id, w.root_id, w.parent_id, w.status, w.lease, w.recovery_count, w.max_recovery_attempts, " \
	"w.name, w.queue_name, w.handler, w.executor_id, w.input, w.output, w.error, w.deadline, " \
	"w.paused_by, w.paused_at"
#define STEP_COLUMNS \
	"s.status, s.kind, s.lease, s.attempt, s.max_retries, s.retry_count, s.name, s.executor_id, " \
	"s.backoff, s.backoff_multiplier, s.max_backoff, s.input, s.output, s.error, s.run_at, s.deadline, " \
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

/* $2, $3: executor_id, now */
#define TAKE(times) \
	"UPDATE durable.workflow w SET status = " S_RUNNING ", lease = w.lease" PLUS times ", executor_id = $2, " \
	"  started_at = CASE WHEN w.status" EQ S_PENDING " THEN $3 ELSE w.started_at END, " \
	"  deadline = CASE WHEN w.status" EQ S_PENDING " THEN $3" PLUS "w.timeout ELSE w.deadline END "
#define TAKEABLE(id, lease) \
	"w.id" EQ id " AND w.lease" EQ lease \
	" AND " CHECKED("w.status" EQ "ANY (ARRAY['PENDING', 'RUNNING']::durable.task_status[])")

/* $3, $5, $6: completed or failed, error, now */
#define END_WORKFLOW(output) \
	"UPDATE durable.workflow w SET " \
	"  status = CASE WHEN $3 THEN " S_COMPLETED " ELSE " S_FAILED " END, " \
	"  output = " output ", error = $5, completed_at = $6 "
#define WORKFLOW_TO_END(id, lease) \
	"w.id" EQ id " AND w.lease" EQ lease " AND " CHECKED("w.status" EQ S_RUNNING)

/* in which a step can be claimed at that time */
#define OPEN_AT(now) \
	CHECKED("w.status" EQ S_RUNNING " AND (w.deadline IS NULL OR w.deadline" GT now ")")

/* $4, $7 .. $14: whether TRANSACTION; the policy (step.c: param_policy) */
#define CLAIM_NEW_STEP(sequence, name, input) \
	"INSERT INTO durable.step AS s (workflow_id, sequence, lease, attempt, status, kind, name, input, executor_id, " \
	"  max_retries, backoff, backoff_multiplier, max_backoff, timeout, started_at, deadline) " \
	"SELECT w.id, " sequence ", w.lease, 1, " S_RUNNING ", " STEP_KIND("$4") ", " name ", " input ", " \
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
	"s.workflow_id" EQ workflow_id " AND s.sequence" EQ sequence " AND " CLAIMED_IN CHECKED("w.status" EQ S_RUNNING) \
	"  AND s.status" EQ "CASE WHEN " pending " THEN " S_PENDING " ELSE " S_RUNNING " END " \
	"  AND s.lease" EQ lease " AND s.attempt" EQ attempt

/* $6: now */
#define COMPLETE_STEP(output) \
	"UPDATE durable.step s SET status = " S_COMPLETED ", output = " output ", error = NULL, completed_at = $6 "

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
#define STEP_TO_COMPLETE(more) STEP_TO_COMPLETE_IF("$1", "$2", "$3", "$4", more)

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
	"AND " KIND_IS("WORKFLOW") " AND " KIND_IS("STEP") " AND " KIND_IS("TRANSACTION") " " \
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

/* How a statement is planned. */
typedef enum Planning
{
	BY_INDEX,					/* once, for any parameters, never reading a whole table */
	BY_PROBES,					/* the same, for each element of the arrays in their order */
	FOR_PARAMS,					/* at each call, for its parameters */
	ALL_ROWS					/* at each call, to read whole tables */
} Planning;

typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[MAX_PARAMS];
	Planning	planning;
} Statement;

static const Statement statements[NUM_PLANS] = {

	/* ---- looking ------------------------------------------------------- */

	[PLAN_LOOK_WORKFLOW] = {
		"SELECT " WORKFLOW_COLUMNS " FROM durable.workflow w WHERE w.id" EQ "$1",
		1, {UUIDOID}
	},
	[PLAN_LOOK_ACTIVE_ROOT] = {
		"SELECT " WORKFLOW_COLUMNS " FROM durable.workflow w "
		"WHERE w.name" EQ "$1 AND w.parent_id IS NULL AND " UNFINISHED("w"),
		1, {TEXTOID}
	},
	/* this and the next but one: what there is of each, in order */
	[PLAN_LOOK_ACTIVE_ROOTS] = {
		"SELECT " WORKFLOW_COLUMNS ", e.last_seen "
		"FROM " EACH(OF("$1"), "name") " "
		"LEFT JOIN LATERAL (SELECT o.* FROM durable.workflow o"
		"  WHERE o.name" EQ "b.name AND o.parent_id IS NULL AND " UNFINISHED("o") " OFFSET 0) w ON true "
		"LEFT JOIN LATERAL (SELECT o.last_seen FROM durable.executor o"
		"  WHERE o.executor_id" EQ "w.executor_id OFFSET 0) e ON true ORDER BY b.n",
		1, {TEXTARRAYOID}
	},
	[PLAN_LOOK_STEP] = {
		"SELECT " WORKFLOW_COLUMNS ", " STEP_COLUMNS " FROM durable.workflow w "
		"LEFT JOIN durable.step s ON s.workflow_id" EQ "w.id AND s.sequence" EQ "$2 "
		"WHERE w.id" EQ "$1",
		2, {UUIDOID, INT4OID}
	},
	[PLAN_LOOK_STEPS] = {
		"SELECT " WORKFLOW_COLUMNS ", " STEP_COLUMNS " "
		"FROM " EACH(OF("$1") ", " OF("$2"), "workflow_id, sequence") " "
		"LEFT JOIN LATERAL (SELECT o.* FROM durable.workflow o WHERE o.id" EQ "b.workflow_id OFFSET 0) w ON true "
		"LEFT JOIN LATERAL (SELECT o.* FROM durable.step o"
		"  WHERE o.workflow_id" EQ "b.workflow_id AND o.sequence" EQ "b.sequence OFFSET 0) s ON true ORDER BY b.n",
		2, {UUIDARRAYOID, INT4ARRAYOID}
	},
	[PLAN_LOOK_EXECUTOR] = {
		"SELECT e.last_seen FROM durable.executor e WHERE e.executor_id" EQ "$1",
		1, {TEXTOID}
	},
	[PLAN_LOOK_QUEUE] = {
		"SELECT q.max_concurrency, q.rate_limit, q.rate_limit_window, q.paused, "
		"CASE WHEN " WINDOW_OVER("$2") " THEN 0 ELSE q.window_count END, "
		"EXISTS (SELECT 1 FROM durable.queue_head h WHERE h.queue_name" EQ "$1) "
		"FROM durable.queue q WHERE q.name" EQ "$1",
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_LOOK_HEADS] = {
		"SELECT h.priority, h.run_at, h.workflow_id FROM durable.queue_head h "
		"WHERE h.queue_name" EQ "$1 ORDER BY h.priority DESC",
		1, {TEXTOID}
	},
	/* priorities from $2 down to $3 */
	[PLAN_LOOK_FIRST] = {
		"SELECT w.priority, w.run_at, w.id FROM durable.workflow w "
		"WHERE w.queue_name" EQ "$1 AND w.status" EQ S_PENDING " AND w.priority" LE "$2 AND w.priority" GE "$3 "
		"ORDER BY w.priority DESC, w.run_at, w.id LIMIT 1",
		3, {TEXTOID, INT4OID, INT4OID}
	},
	[PLAN_LOOK_FIRST_AT] = {
		"SELECT w.priority, w.run_at, w.id FROM durable.workflow w "
		"WHERE w.queue_name" EQ "$1 AND w.status" EQ S_PENDING " AND w.priority" EQ "$2 "
		"  AND (w.run_at, w.id)" GE "($3, $4) "
		"ORDER BY w.run_at, w.id LIMIT 1",
		4, {TEXTOID, INT4OID, TIMESTAMPTZOID, UUIDOID}
	},
	[PLAN_LOOK_DUE] = {
		WAITING_PRIORITIES(" AND w.priority" GE "$6")
		"SELECT p.priority, d.run_at, d.id FROM waiting p "
		"CROSS JOIN LATERAL (" DUE_AT_PRIORITY
		"    ORDER BY w.run_at, w.id LIMIT 1) d LIMIT 1",
		6, {TEXTOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, UUIDOID, INT4OID}
	},
	[PLAN_LOOK_INLINE_UNFINISHED] = {
		"SELECT 1 FROM durable.workflow w "
		"WHERE w.parent_id" EQ "$1 AND w.queue_name IS NULL AND " UNFINISHED("w") " LIMIT 1",
		1, {UUIDOID}
	},
	[PLAN_LOOK_ANCESTORS] = {
		"WITH RECURSIVE up AS ("
		"  SELECT w.id, w.parent_id, w.status, w.queue_name, 1 AS height FROM durable.workflow w WHERE w.id" EQ "$1"
		"  UNION ALL"
		"  SELECT w.id, w.parent_id, w.status, w.queue_name, u.height" PLUS "1"
		"  FROM up u CROSS JOIN LATERAL "
		"    (SELECT o.id, o.parent_id, o.status, o.queue_name FROM durable.workflow o WHERE o.id" EQ "u.parent_id OFFSET 0) w) "
		"SELECT u.id, u.status, " UNIT("u") " FROM up u ORDER BY u.height",
		1, {UUIDOID}
	},
	[PLAN_LOOK_QUEUES_OF_FAILED] = {
		"WITH RECURSIVE failed AS ("
		"  SELECT w.id, w.queue_name FROM durable.workflow w WHERE w.id" EQ "$1 AND " CHECKED("w.status" EQ S_FAILED)
		"  UNION ALL"
		"  SELECT c.id, c.queue_name FROM failed f CROSS JOIN LATERAL "
		"    (SELECT w.id, w.queue_name FROM durable.workflow w WHERE w.parent_id" EQ "f.id"
		"       AND " CHECKED("w.status" EQ S_FAILED) " AND (w.parent_sequence" GE "$2 OR f.id" NE "$1) OFFSET 0) c) "
		"SELECT DISTINCT f.queue_name FROM failed f WHERE f.queue_name IS NOT NULL ORDER BY f.queue_name",
		2, {UUIDOID, INT4OID}
	},
	[PLAN_HISTORY] = {
		"SELECT s.sequence, durable.step_id(s.workflow_id, s.sequence), s.name, s.kind, s.status, "
		"CASE WHEN s.status" EQ S_COMPLETED " THEN s.output END, s.error, s.attempt, s.run_at, s.child_id "
		"FROM durable.step s WHERE s.workflow_id" EQ "$1 ORDER BY s.sequence",
		1, {UUIDOID}
	},
	[PLAN_LIST] = {
		"SELECT " TASK_COLUMNS " FROM durable.task t WHERE " TASK_FILTERS " ORDER BY "
		SORT_BY("created_at") SORT_BY("started_at") SORT_BY("completed_at") SORT_BY("name") SORT_BY("status")
		"CASE WHEN NOT $9 THEN t.id END, CASE WHEN $9 THEN t.id END DESC "
		"LIMIT $10 OFFSET $11",
		11, {TEXTOID, TEXTOID, UUIDOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, INT4OID, INT4OID},
		FOR_PARAMS
	},
	[PLAN_COUNT] = {
		"SELECT pg_catalog.count(*) FROM durable.task t WHERE " TASK_FILTERS,
		7, {TEXTOID, TEXTOID, UUIDOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID},
		FOR_PARAMS
	},
	[PLAN_TREE] = {
		"WITH RECURSIVE below AS ("
		"  SELECT w.id, ARRAY[]::pg_catalog.int4[] AS path FROM durable.workflow w WHERE w.id" EQ "$1"
		"  UNION ALL"
		"  SELECT c.id, pg_catalog.array_append(b.path, c.parent_sequence)"
		"  FROM below b CROSS JOIN LATERAL"
		"    (SELECT w.id, w.parent_sequence FROM durable.workflow w WHERE w.parent_id" EQ "b.id OFFSET 0) c), "
		"line AS ("
		"  SELECT b.path, w.status, " K_WORKFLOW " AS kind, w.name, NULL::pg_catalog.int4 AS attempt, w.queue_name,"
		"    w.executor_id, w.started_at, w.completed_at, w.error, w.parent_sequence AS sequence"
		"  FROM below b JOIN durable.workflow w ON w.id" EQ "b.id"
		"  UNION ALL"
		"  SELECT pg_catalog.array_append(b.path, s.sequence), s.status, s.kind, s.name, s.attempt, NULL,"
		"    s.executor_id, s.started_at, s.completed_at, s.error, s.sequence"
		"  FROM below b JOIN durable.step s ON s.workflow_id" EQ "b.id AND s.kind" NE K_WORKFLOW ") "
		"SELECT pg_catalog.cardinality(l.path), l.sequence, l.status, l.kind, l.name, l.attempt, l.queue_name, "
		"  l.executor_id, l.started_at, l.completed_at, l.error "
		"FROM line l ORDER BY l.path",
		1, {UUIDOID}
	},
	[PLAN_CHECK] = {
		"WITH RECURSIVE "
		/* all below a paused workflow */
		"held AS ("
		"  SELECT w.id, w.status FROM durable.workflow p JOIN durable.workflow w ON w.parent_id" EQ "p.id"
		"  WHERE p.status" EQ S_PAUSED
		"  UNION"
		"  SELECT w.id, w.status FROM held h JOIN durable.workflow w ON w.parent_id" EQ "h.id), "
		/* inline children that were cancelled because their parent completed: queued children below go on */
		"abandoned AS ("
		"  SELECT w.id FROM durable.workflow p JOIN durable.workflow w ON w.parent_id" EQ "p.id"
		"  WHERE p.status" EQ S_COMPLETED " AND w.status" EQ S_CANCELLED " AND w.queue_name IS NULL"
		"  UNION ALL"
		"  SELECT w.id FROM abandoned a JOIN durable.workflow w ON w.parent_id" EQ "a.id"
		"  WHERE w.status" EQ S_CANCELLED " AND w.queue_name IS NULL), "
		/* all below a cancelled workflow */
		"doomed AS ("
		"  SELECT w.id, w.status FROM durable.workflow p JOIN durable.workflow w ON w.parent_id" EQ "p.id"
		"  WHERE p.status" EQ S_CANCELLED " AND NOT EXISTS (SELECT 1 FROM abandoned a WHERE a.id" EQ "p.id)"
		"  UNION"
		"  SELECT w.id, w.status FROM doomed d JOIN durable.workflow w ON w.parent_id" EQ "d.id), "
		/* a workflow beside its parent and the step that stands for it */
		"child AS ("
		"  SELECT w.id, w.status, w.error, w.root_id, w.queue_name, w.name, w.output, w.parent_sequence, p.id AS parent,"
		"    p.status AS parent_status, p.root_id AS parent_root, s.status AS stand_in_status,"
		"    s.child_id, s.name AS stand_in_name, s.output AS stand_in_output,"
		"    s.error AS stand_in_error"
		"  FROM durable.workflow w LEFT JOIN durable.workflow p ON p.id" EQ "w.parent_id"
		"  LEFT JOIN durable.step s ON s.workflow_id" EQ "w.parent_id AND s.sequence" EQ "w.parent_sequence"
		"  WHERE w.parent_id IS NOT NULL) "

		"SELECT p.task_id, p.problem FROM ("
		"SELECT w.id, 'finished without completed_at, or completed_at without being finished' "
		"FROM durable.workflow w WHERE (" UNFINISHED("w") ")" EQ "(w.completed_at IS NOT NULL) "
		"UNION ALL SELECT w.id, 'paused without what it was before and by whom, or the other way round' "
		"FROM durable.workflow w WHERE (w.status" EQ S_PAUSED ")" NE "(w.paused_from IS NOT NULL) "
		"  OR (w.status" EQ S_PAUSED ")" NE "(w.paused_by IS NOT NULL) "
		"  OR (w.status" EQ S_PAUSED ")" NE "(w.paused_at IS NOT NULL) "
		"UNION ALL SELECT w.id, 'paused from a status in which it cannot be paused' "
		"FROM durable.workflow w WHERE w.paused_from" NE "ALL (ARRAY['PENDING', 'RUNNING']::durable.task_status[]) "
		"UNION ALL SELECT w.id, 'pending with an executor or a deadline' "
		"FROM durable.workflow w WHERE w.status" EQ S_PENDING " AND (w.executor_id IS NOT NULL OR w.deadline IS NOT NULL) "
		"UNION ALL SELECT w.id, 'running without started_at or a lease' "
		"FROM durable.workflow w WHERE w.status" EQ S_RUNNING " AND (w.started_at IS NULL OR w.lease" LT "1) "
		"UNION ALL SELECT w.id, 'pending without run_at, so nobody will ever take it' "
		"FROM durable.workflow w WHERE w.status" EQ S_PENDING " AND w.run_at IS NULL AND " UNIT("w") " "
		"UNION ALL SELECT w.id, 'has an output without being completed' "
		"FROM durable.workflow w WHERE w.output IS NOT NULL AND w.status" NE S_COMPLETED " "
		"UNION ALL SELECT w.id, 'failed without an error' "
		"FROM durable.workflow w WHERE w.status" EQ S_FAILED " AND w.error IS NULL "
		"UNION ALL SELECT w.id, 'an inline child with an executor of its own' "
		"FROM durable.workflow w WHERE w.executor_id IS NOT NULL AND NOT " UNIT("w") " "
		"UNION ALL SELECT w.id, 'unfinished in a queue that does not exist' "
		"FROM durable.workflow w LEFT JOIN durable.queue q ON q.name" EQ "w.queue_name "
		"WHERE w.queue_name IS NOT NULL AND q.name IS NULL AND " UNFINISHED("w") " "
		"UNION ALL SELECT w.id, 'waits before the head of its queue, where no claim looks' "
		"FROM durable.queue_head h JOIN durable.workflow w ON w.queue_name" EQ "h.queue_name AND w.priority" EQ "h.priority "
		"WHERE w.status" EQ S_PENDING " AND (w.run_at, w.id)" LT "(h.run_at, h.workflow_id) "
		"UNION ALL SELECT w.id, 'not the only active root of its name' "
		"FROM durable.workflow w JOIN durable.workflow o ON o.name" EQ "w.name AND o.id" NE "w.id AND o.parent_id IS NULL "
		"WHERE w.parent_id IS NULL AND " UNFINISHED("w") " AND " UNFINISHED("o") " "
		"UNION ALL SELECT w.id, 'a root whose root_id is not its own' "
		"FROM durable.workflow w WHERE w.parent_id IS NULL AND w.root_id" NE "w.id "
		"UNION ALL SELECT h.id, 'not paused below a workflow that is paused' "
		"FROM held h WHERE h.status" EQ "ANY (ARRAY['PENDING', 'RUNNING']::durable.task_status[]) "

		"UNION ALL SELECT c.id, 'its parent does not exist' FROM child c WHERE c.parent IS NULL "
		"UNION ALL SELECT c.id, 'its root_id is not that of its parent' FROM child c WHERE c.root_id" NE "c.parent_root "
		"UNION ALL SELECT c.id, 'no step stands for it at its parent' "
		"FROM child c WHERE c.child_id IS NULL OR c.child_id" NE "c.id OR c.stand_in_name" NE "c.name "
		"UNION ALL SELECT c.id, 'the step that stands for it says otherwise' "
		"FROM child c WHERE c.stand_in_status" NE "CASE WHEN " UNFINISHED("c") " THEN " S_RUNNING " ELSE c.status END "
		"  OR (c.output IS NULL)" NE "(c.stand_in_output IS NULL) OR c.output" NE "c.stand_in_output "
		"  OR (c.error IS NULL)" NE "(c.stand_in_error IS NULL) OR c.error" NE "c.stand_in_error "
		"UNION ALL SELECT c.id, 'an unfinished inline child of a finished workflow' "
		"FROM child c WHERE c.queue_name IS NULL AND " UNFINISHED("c") " "
		"  AND c.parent_status" EQ "ANY (ARRAY['COMPLETED', 'FAILED', 'CANCELLED']::durable.task_status[]) "
		"UNION ALL SELECT d.id, 'unfinished below a workflow that is cancelled' "
		"FROM doomed d WHERE " UNFINISHED("d") " "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'unfinished below a workflow that is cancelled' "
		"FROM doomed d JOIN durable.step s ON s.workflow_id" EQ "d.id AND s.kind" NE K_WORKFLOW " AND " UNFINISHED("s") " "

		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'its workflow does not exist' "
		"FROM durable.step s LEFT JOIN durable.workflow w ON w.id" EQ "s.workflow_id WHERE w.id IS NULL "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'its lease is above its workflow''s' "
		"FROM durable.step s JOIN durable.workflow w ON w.id" EQ "s.workflow_id WHERE s.lease" GT "w.lease "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'unfinished in a workflow that is cancelled' "
		"FROM durable.step s JOIN durable.workflow w ON w.id" EQ "s.workflow_id "
		"WHERE w.status" EQ S_CANCELLED " AND s.kind" NE K_WORKFLOW " AND " UNFINISHED("s") " "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'paused in a workflow that is not' "
		"FROM durable.step s JOIN durable.workflow w ON w.id" EQ "s.workflow_id "
		"WHERE s.status" EQ S_PAUSED " AND w.status" NE S_PAUSED " "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), "
		"  'finished without completed_at, or completed_at without being finished' "
		"FROM durable.step s WHERE (" UNFINISHED("s") ")" EQ "(s.completed_at IS NOT NULL) "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'has an output without being completed' "
		"FROM durable.step s WHERE s.output IS NOT NULL AND s.status" NE S_COMPLETED " "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'failed without an error, or completed with one' "
		"FROM durable.step s WHERE (s.status" EQ S_FAILED " AND s.error IS NULL) "
		"  OR (s.status" EQ S_COMPLETED " AND s.error IS NOT NULL) "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'running without started_at or an attempt' "
		"FROM durable.step s WHERE s.status" EQ S_RUNNING " AND (s.started_at IS NULL OR s.attempt" LT "1) "
		"UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'stands for a child that does not exist' "
		"FROM durable.step s LEFT JOIN durable.workflow w ON w.id" EQ "s.child_id "
		"WHERE (s.kind" EQ K_WORKFLOW ")" NE "(s.child_id IS NOT NULL) OR (s.child_id IS NOT NULL AND w.id IS NULL)"
		") AS p (task_id, problem) WHERE $1",
		1, {BOOLOID},
		ALL_ROWS
	},

	/* ---- workflows ------------------------------------------------------- */

	[PLAN_START] = {
		START("$1", "$2", "$3", "$12", "CASE WHEN $6 IS NULL THEN 1 ELSE 0 END")
		"ON CONFLICT DO NOTHING",
		12, {UUIDOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, INTERVALOID,
		INT4OID, TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_START_MANY] = {
		START("b.id", "b.name", "b.input", "b.created_at", "b.lease")
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$3") ", " OF("$12") ", " OF("$13"),
					 "id, name, input, created_at, lease") " "
		"ON CONFLICT DO NOTHING RETURNING w.id",
		13, {UUIDARRAYOID, TEXTARRAYOID, JSONBARRAYOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, INTERVALOID,
		INT4OID, TEXTOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID}
	},
	[PLAN_TAKE] = {
		TAKE("1") "WHERE " TAKEABLE("$1", "$4"),
		4, {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT4OID}
	},
	[PLAN_TAKE_MANY] = {
		TAKE("b.times")
		"FROM " EACH(OF("$1") ", " OF("$4") ", " OF("$5"), "id, lease, times") " "
		"WHERE " TAKEABLE("b.id", "b.lease") " RETURNING b.n",
		5, {UUIDARRAYOID, TEXTOID, TIMESTAMPTZOID, INT4ARRAYOID, INT4ARRAYOID},
		BY_PROBES
	},
	/* one that has no unfinished inline child, and no step that stands for it */
	[PLAN_COMPLETE_ROOT] = {
		"UPDATE durable.workflow w SET status = " S_COMPLETED ", output = $3, completed_at = $4 "
		"WHERE w.id" EQ "$1 AND ($2 IS NULL OR w.lease" EQ "$2) AND " CHECKED("w.status" EQ S_RUNNING)
		"  AND NOT EXISTS (SELECT 1 FROM durable.workflow c"
		"    WHERE c.parent_id" EQ "$1 AND c.queue_name IS NULL AND " UNFINISHED("c") ")",
		4, {UUIDOID, INT4OID, JSONBOID, TIMESTAMPTZOID}
	},
	[PLAN_END_WORKFLOW] = {
		END_WORKFLOW("$4") "WHERE " WORKFLOW_TO_END("$1", "$2"),
		6, {UUIDOID, INT4OID, BOOLOID, JSONBOID, TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_END_WORKFLOWS] = {
		END_WORKFLOW("b.output")
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$4"), "id, lease, output") " "
		"WHERE " WORKFLOW_TO_END("b.id", "b.lease") " RETURNING b.n",
		6, {UUIDARRAYOID, INT4ARRAYOID, BOOLOID, JSONBARRAYOID, TEXTOID, TIMESTAMPTZOID},
		BY_PROBES
	},

	/*
	 * FOR SHARE: whatever ends or fences the parent waits for us and then finds
	 * the child.
	 */
	[PLAN_START_CHILD] = {
		"WITH parent AS MATERIALIZED ("
		"  SELECT w.id, w.root_id, w.lease, w.max_recovery_attempts, w.app_version"
		"  FROM durable.workflow w"
		"  WHERE w.id" EQ "$1 AND w.lease" EQ "$6 AND " CHECKED("w.status" EQ S_RUNNING)
		"    AND NOT EXISTS (SELECT 1 FROM durable.workflow o WHERE o.id" EQ "$10)"
		"  FOR SHARE OF w), "
		"stand_in AS ("
		"  INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, started_at, name, child_id, input)"
		"  SELECT p.id, $2, p.lease, 1, " S_RUNNING ", " K_WORKFLOW ", $11, $3, $10, $4 FROM parent p"
		"  ON CONFLICT DO NOTHING RETURNING 1) "
		"INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, started_at, "
		"  deadline, run_at, name, input, handler, queue_name, priority, timeout, max_recovery_attempts, app_version) "
		"SELECT $10, p.root_id, p.id, $2, "
		"  CASE WHEN $7 IS NULL THEN " S_RUNNING " ELSE " S_PENDING " END, "
		"  CASE WHEN $7 IS NULL THEN 1 ELSE 0 END, $11, "
		"  CASE WHEN $7 IS NULL THEN $11 END, "
		"  CASE WHEN $7 IS NULL THEN $11" PLUS "$9 END, "
		"  CASE WHEN $7 IS NOT NULL THEN $11 END, "
		"  $3, $4, $5, $7, $8, $9, p.max_recovery_attempts, p.app_version "
		"FROM parent p CROSS JOIN stand_in",
		11, {UUIDOID, INT4OID, TEXTOID, JSONBOID, TEXTOID, INT4OID, TEXTOID, INT4OID, INTERVALOID, UUIDOID,
		TIMESTAMPTZOID}
	},
	[PLAN_START_CHILD_AGAIN] = {
		"UPDATE durable.workflow w SET status = " S_RUNNING ", lease = w.lease" PLUS "1, started_at = $3, "
		"  deadline = $3" PLUS "w.timeout "
		"FROM durable.workflow p "
		"WHERE w.id" EQ "$1 AND w.lease" EQ "$2 AND " CHECKED("w.status" EQ S_PENDING)
		"  AND p.id" EQ "w.parent_id AND p.lease" EQ "$4 AND " CHECKED("p.status" EQ S_RUNNING),
		4, {UUIDOID, INT4OID, TIMESTAMPTZOID, INT4OID}
	},
	[PLAN_SET_WORKFLOW_TIMEOUT] = {
		"UPDATE durable.workflow w SET timeout = $2, "
		"  deadline = CASE WHEN w.status" EQ S_RUNNING " OR w.paused_from" EQ S_RUNNING
		"    THEN w.started_at" PLUS "$2 END "
		"WHERE w.id" EQ "$1 AND " CHECKED(UNFINISHED("w")),
		2, {UUIDOID, INTERVALOID}
	},

	/* ---- steps ------------------------------------------------------------- */

	[PLAN_CLAIM_NEW_STEP] = {
		CLAIM_NEW_STEP("$2", "$5", "$6") "WHERE " CLAIMED_IN OPEN_AT("$13") " ON CONFLICT DO NOTHING",
		14, {UUIDOID, INT4OID, INT4OID, BOOLOID, TEXTOID, JSONBOID, TEXTOID, INT4OID, INTERVALOID, FLOAT8OID,
		INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[PLAN_CLAIM_NEW_STEPS] = {
		CLAIM_NEW_STEP("b.sequence", "b.name", "b.input")
		"CROSS JOIN " EACH(OF("$2") ", " OF("$5") ", " OF("$6"), "sequence, name, input") " "
		"WHERE " CLAIMED_IN OPEN_AT("$13") " ON CONFLICT DO NOTHING RETURNING s.sequence",
		14, {UUIDOID, INT4ARRAYOID, INT4OID, BOOLOID, TEXTARRAYOID, JSONBARRAYOID, TEXTOID, INT4OID, INTERVALOID,
		FLOAT8OID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[PLAN_CLAIM_STEP_AGAIN] = {
		CLAIM_STEP_AGAIN("$7") "WHERE " STEP_TO_CLAIM_AGAIN("$1", "$2", "$4", "$5", "$6"),
		15, {UUIDOID, INT4OID, INT4OID, BOOLOID, INT4OID, INT4OID, INT4OID, TEXTOID, INT4OID, INTERVALOID,
		FLOAT8OID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[PLAN_CLAIM_STEPS_AGAIN] = {
		CLAIM_STEP_AGAIN("b.next")
		"CROSS JOIN " EACH(OF("$2") ", " OF("$4") ", " OF("$5") ", " OF("$6") ", " OF("$7") ", " OF("$16"),
						   "sequence, pending, lease, attempt, next, workflow_id") " "
		"WHERE " STEP_TO_CLAIM_AGAIN("b.workflow_id", "b.sequence", "b.pending", "b.lease", "b.attempt") " RETURNING s.sequence",
		16, {UUIDOID, INT4ARRAYOID, INT4OID, BOOLARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTOID, INT4OID,
		INTERVALOID, FLOAT8OID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDARRAYOID},
		BY_PROBES
	},
	[PLAN_COMPLETE_STEP] = {
		COMPLETE_STEP("$5") "WHERE " STEP_TO_COMPLETE(""),
		6, {UUIDOID, INT4OID, INT4OID, INT4OID, JSONBOID, TIMESTAMPTZOID}
	},
	[PLAN_COMPLETE_STEPS] = {
		COMPLETE_STEP("b.output")
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$3") ", " OF("$4") ", " OF("$5"),
						   "workflow_id, sequence, lease, attempt, output") " "
		"WHERE " STEP_TO_COMPLETE_IF("b.workflow_id", "b.sequence", "b.lease", "b.attempt", "") " RETURNING b.n",
		6, {UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, JSONBARRAYOID, TIMESTAMPTZOID},
		BY_PROBES
	},
	[PLAN_FAIL_STEP] = {
		"UPDATE durable.step s SET "
		"  status = CASE WHEN $5 THEN " S_PENDING " ELSE " S_FAILED " END, "
		"  retry_count = CASE WHEN $5 THEN s.retry_count" PLUS "1 ELSE s.retry_count END, "
		"  error = $6, run_at = CASE WHEN $5 THEN $8 END, failed_at = CASE WHEN $5 THEN $7 ELSE s.failed_at END, "
		"  completed_at = CASE WHEN $5 THEN NULL ELSE $7 END "
		"WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2 "
		"  AND s.status" EQ S_RUNNING " AND s.lease" EQ "$3 AND s.attempt" EQ "$4",
		8, {UUIDOID, INT4OID, INT4OID, INT4OID, BOOLOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	/* with a lease: $3 is also that of the next step */
	[PLAN_COMPLETE_AND_CLAIM] = {
		"WITH completed AS ("
		"  UPDATE durable.step s SET status = " S_COMPLETED ", output = $5, error = NULL, completed_at = $16"
		"  WHERE " STEP_TO_COMPLETE(" AND " OPEN_AT("$16")) " RETURNING 1) "
		"INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, input, executor_id, "
		"  max_retries, backoff, backoff_multiplier, max_backoff, timeout, started_at, deadline) "
		"SELECT $1, $6, $3, 1, " S_RUNNING ", " STEP_KIND("$7") ", $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 "
		"FROM completed "
		"ON CONFLICT DO NOTHING",
		17, {UUIDOID, INT4OID, INT4OID, INT4OID, JSONBOID, INT4OID, BOOLOID, TEXTOID, JSONBOID, TEXTOID,
		INT4OID, INTERVALOID, FLOAT8OID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[PLAN_TAKE_BACK_STEP] = {
		"DELETE FROM durable.step s WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2",
		2, {UUIDOID, INT4OID}
	},
	[PLAN_RESTART_CLOCKS] = {
		"UPDATE durable.step s SET started_at = $3, deadline = $3" PLUS "s.timeout "
		"WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "ANY ($2)",
		3, {UUIDOID, INT4ARRAYOID, TIMESTAMPTZOID}
	},
	[PLAN_SET_STEP_TIMEOUT] = {
		"UPDATE durable.step s SET timeout = $3, "
		"  deadline = CASE WHEN s.status" EQ S_RUNNING " THEN s.started_at" PLUS "$3 END "
		"WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2 AND " UNFINISHED("s"),
		3, {UUIDOID, INT4OID, INTERVALOID}
	},

	/* ---- cascades (tree.c) --------------------------------------------------- */

	[PLAN_CHILDREN] = {
		"SELECT w.id FROM durable.workflow w "
		"WHERE w.parent_id" EQ "ANY ($1) AND w.parent_sequence" GE "$2 "
		"  AND (NOT $3 OR (w.queue_name IS NULL AND " UNFINISHED("w") ")) "
		"  AND (NOT $4 OR w.status" EQ S_FAILED ")",
		4, {UUIDARRAYOID, INT4OID, BOOLOID, BOOLOID}
	},
	[PLAN_LOCK_IF_FREE] = {
		"SELECT w.id FROM durable.workflow w WHERE w.id" EQ "ANY ($1) FOR NO KEY UPDATE SKIP LOCKED",
		1, {UUIDARRAYOID}
	},
	[PLAN_LOOK_INLINE_PARENTS] = {
		"SELECT DISTINCT w.parent_id FROM durable.workflow w "
		"WHERE w.parent_id" EQ "ANY ($1) AND w.queue_name IS NULL AND " CHECKED(UNFINISHED("w")),
		1, {UUIDARRAYOID}
	},
	[PLAN_LOOK_TREES_OF_EXECUTOR] = {
		"SELECT DISTINCT w.root_id FROM durable.workflow w "
		"WHERE w.executor_id" EQ "$1 AND " DRIVEN("w") " AND " UNIT("w") " AND ($2 IS NULL OR w.id" EQ "$2) "
		"  AND (w.parent_id IS NOT NULL"
		"    OR EXISTS (SELECT 1 FROM durable.workflow c WHERE c.parent_id" EQ "w.id OFFSET 0)) "
		"ORDER BY w.root_id",
		2, {TEXTOID, UUIDOID}
	},
	[PLAN_PAUSE_WORKFLOWS] = {
		"UPDATE durable.workflow w SET status = " S_PAUSED ", paused_from = w.status, paused_by = $2, paused_at = $3 "
		"WHERE w.id" EQ "ANY ($1) AND " CHECKED("w.status" EQ "ANY (ARRAY['PENDING', 'RUNNING']::durable.task_status[])") " "
		"RETURNING w.id",
		3, {UUIDARRAYOID, UUIDOID, TIMESTAMPTZOID}
	},
	[PLAN_RESUME_WORKFLOWS] = {
		"UPDATE durable.workflow w SET status = w.paused_from, paused_from = NULL, paused_by = NULL, paused_at = NULL "
		"WHERE w.id" EQ "ANY ($1) AND w.paused_by" EQ "$2 AND w.paused_at" EQ "$3 AND " CHECKED("w.status" EQ S_PAUSED) " "
		"RETURNING w.id",
		3, {UUIDARRAYOID, UUIDOID, TIMESTAMPTZOID}
	},
	[PLAN_CANCEL_WORKFLOWS] = {
		"UPDATE durable.workflow w SET status = " S_CANCELLED ", completed_at = $2, "
		"  paused_from = NULL, paused_by = NULL, paused_at = NULL "
		"WHERE w.id" EQ "ANY ($1) AND " CHECKED(UNFINISHED("w")) " RETURNING w.id",
		2, {UUIDARRAYOID, TIMESTAMPTZOID}
	},
	[PLAN_FAIL_WORKFLOWS] = {
		"UPDATE durable.workflow w SET status = " S_FAILED ", error = 'parent workflow failed', completed_at = $2, "
		"  paused_from = NULL, paused_by = NULL, paused_at = NULL "
		"WHERE w.id" EQ "ANY ($1) AND " CHECKED(UNFINISHED("w")) " RETURNING w.id",
		2, {UUIDARRAYOID, TIMESTAMPTZOID}
	},
	[PLAN_RERUN_WORKFLOW] = {
		"UPDATE durable.workflow w SET "
		"  status = CASE WHEN w.queue_name IS NULL THEN " S_RUNNING " ELSE " S_PENDING " END, "
		"  executor_id = CASE WHEN w.queue_name IS NULL THEN $2 END, "
		"  lease = w.lease" PLUS "1, recovery_count = w.recovery_count" PLUS "1, "
		"  error = NULL, completed_at = NULL, started_at = $3, "
		"  deadline = CASE WHEN w.queue_name IS NULL THEN $3" PLUS "w.timeout END "
		"WHERE w.id" EQ "$1 AND " CHECKED("w.status" EQ S_FAILED),
		3, {UUIDOID, TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_RERUN_CHILDREN] = {
		"UPDATE durable.workflow w SET status = " S_PENDING ", lease = w.lease" PLUS "1, executor_id = NULL, "
		"  error = NULL, completed_at = NULL, deadline = NULL "
		"WHERE w.id" EQ "ANY ($1) AND " CHECKED("w.status" EQ S_FAILED) " RETURNING w.id",
		1, {UUIDARRAYOID}
	},
	[PLAN_FENCE_WORKFLOWS] = {
		"UPDATE durable.workflow w SET lease = w.lease" PLUS "1 "
		"WHERE w.id" EQ "ANY ($1) AND " CHECKED(UNFINISHED("w")) " RETURNING w.id",
		1, {UUIDARRAYOID}
	},
	[PLAN_PAUSE_STEPS] = {
		"UPDATE durable.step s SET status = " S_PAUSED " "
		"WHERE s.workflow_id" EQ "ANY ($1) AND s.status" EQ S_PENDING,
		1, {UUIDARRAYOID}
	},
	[PLAN_RESUME_STEPS] = {
		"UPDATE durable.step s SET status = " S_PENDING " "
		"WHERE s.workflow_id" EQ "ANY ($1) AND s.status" EQ S_PAUSED,
		1, {UUIDARRAYOID}
	},
	[PLAN_CANCEL_STEPS] = {
		"UPDATE durable.step s SET status = " S_CANCELLED ", completed_at = $2 "
		"WHERE s.workflow_id" EQ "ANY ($1) AND s.kind" NE K_WORKFLOW " AND " UNFINISHED("s"),
		2, {UUIDARRAYOID, TIMESTAMPTZOID}
	},
	[PLAN_RERUN_STEPS] = {
		"UPDATE durable.step s SET status = " S_PENDING ", retry_count = 0, error = NULL, run_at = NULL, "
		"  completed_at = NULL, deadline = NULL "
		"WHERE s.workflow_id" EQ "ANY ($1) AND s.kind" NE K_WORKFLOW " "
		"  AND ((s.status" EQ S_FAILED " AND s.sequence" GE "$2) OR s.status" EQ S_RUNNING ")",
		2, {UUIDARRAYOID, INT4OID}
	},
	[PLAN_RECORD_ON_STAND_INS] = {
		"UPDATE durable.step s SET "
		"  status = CASE WHEN " UNFINISHED("w") " THEN " S_RUNNING " ELSE w.status END, "
		"  output = w.output, error = w.error, completed_at = w.completed_at "
		"FROM pg_catalog.unnest($1) AS i (id) CROSS JOIN LATERAL "
		"  (SELECT c.parent_id, c.parent_sequence, c.status, c.output, c.error, c.completed_at"
		"   FROM durable.workflow c WHERE c.id" EQ "i.id OFFSET 0) w "
		"WHERE s.workflow_id" EQ "w.parent_id AND s.sequence" EQ "w.parent_sequence",
		1, {UUIDARRAYOID}
	},

	/* ---- queues ------------------------------------------------------------------ */

	[PLAN_CREATE_QUEUE] = {
		"INSERT INTO durable.queue (name, max_concurrency, rate_limit, rate_limit_window, created_at) "
		"SELECT $1, $2, $3, $4, $5 ON CONFLICT DO NOTHING",
		5, {TEXTOID, INT4OID, INT4OID, INTERVALOID, TIMESTAMPTZOID}
	},
	[PLAN_ALTER_QUEUE] = {
		"UPDATE durable.queue q SET max_concurrency = $2, rate_limit = $3, rate_limit_window = $4 "
		"WHERE q.name" EQ "$1",
		4, {TEXTOID, INT4OID, INT4OID, INTERVALOID}
	},
	[PLAN_DROP_QUEUE] = {
		"WITH heads AS (DELETE FROM durable.queue_head h WHERE h.queue_name" EQ "$1) "
		"DELETE FROM durable.queue q WHERE q.name" EQ "$1",
		1, {TEXTOID}
	},
	[PLAN_PAUSE_QUEUE] = {
		"UPDATE durable.queue q SET paused = $2 WHERE q.name" EQ "$1",
		2, {TEXTOID, BOOLOID}
	},
	[PLAN_QUEUE_UNFINISHED] = {
		"SELECT w.id FROM durable.workflow w WHERE w.queue_name" EQ "$1 AND " UNFINISHED("w") " LIMIT 1",
		1, {TEXTOID}
	},
	[PLAN_COUNT_SLOTS] = {
		"SELECT pg_catalog.count(*) FROM durable.workflow w WHERE w.queue_name" EQ "$1 "
		"  AND (w.status" EQ S_RUNNING " OR (w.status" EQ S_PAUSED " AND w.paused_from" EQ S_RUNNING "))",
		1, {TEXTOID}
	},
	/* from the first one that the look found due ($3, $4, $5) */
	[PLAN_FIND_DUE] = {
		WAITING_PRIORITIES("") ", "
		"due AS MATERIALIZED ("
		"  SELECT d.id, d.root_id FROM waiting p"
		"  CROSS JOIN LATERAL (" DUE_AT_PRIORITY
		"    AND NOT w.id" EQ "ANY ($7)"
		"    ORDER BY w.run_at, w.id LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED) d LIMIT $6) "
		"SELECT d.id, d.root_id FROM due d",
		7, {TEXTOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, UUIDOID, INT8OID, UUIDARRAYOID}
	},
	[PLAN_RAISE_HEAD] = {
		"INSERT INTO durable.queue_head (queue_name, priority, run_at, workflow_id) SELECT $1, $2, $3, $4 "
		"ON CONFLICT (queue_name, priority) DO UPDATE SET run_at = $3, workflow_id = $4",
		4, {TEXTOID, INT4OID, TIMESTAMPTZOID, UUIDOID}
	},
	[PLAN_LOWER_HEADS] = {
		"UPDATE durable.queue_head h SET run_at = w.run_at, workflow_id = w.id "
		"FROM (SELECT DISTINCT ON (o.queue_name, o.priority) o.queue_name, o.priority, o.run_at, o.id"
		"    FROM durable.workflow o WHERE o.id" EQ "ANY ($1) AND " CHECKED("o.status" EQ S_PENDING)
		"    ORDER BY o.queue_name, o.priority, o.run_at, o.id) w "
		"WHERE h.queue_name" EQ "w.queue_name AND h.priority" EQ "w.priority "
		"  AND (h.run_at, h.workflow_id)" GT "(w.run_at, w.id)",
		1, {UUIDARRAYOID}
	},
	[PLAN_LOOK_QUEUES_OF] = {
		"SELECT DISTINCT w.queue_name FROM durable.workflow w "
		"WHERE w.id" EQ "ANY ($1) AND w.queue_name IS NOT NULL AND " CHECKED("w.status" EQ S_PENDING) " "
		"ORDER BY w.queue_name",
		1, {UUIDARRAYOID}
	},
	[PLAN_CLAIM] = {
		"WITH taken AS ("
		"  UPDATE durable.workflow w SET status = " S_RUNNING ", lease = w.lease" PLUS "1, executor_id = $2,"
		"    started_at = $3, deadline = $3" PLUS "w.timeout"
		"  WHERE w.id" EQ "ANY ($1) AND " CHECKED("w.status" EQ S_PENDING)
		"  RETURNING w.id, w.name, w.handler, w.input, w.lease, w.recovery_count, w.created_at, w.priority, w.run_at) "
		"SELECT t.id, t.name, t.handler, t.input, t.lease, t.recovery_count, t.created_at "
		"FROM taken t ORDER BY t.priority DESC, t.run_at, t.id",
		3, {UUIDARRAYOID, TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_COUNT_STARTS] = {
		"UPDATE durable.queue q SET "
		"  window_start = CASE WHEN " WINDOW_OVER("$2") " THEN $2 ELSE q.window_start END, "
		"  window_count = CASE WHEN " WINDOW_OVER("$2") " THEN $3 ELSE q.window_count" PLUS "$3 END "
		"WHERE q.name" EQ "$1",
		3, {TEXTOID, TIMESTAMPTZOID, INT4OID}
	},

	/* ---- executors ------------------------------------------------------------------ */

	[PLAN_REGISTER] = {
		"INSERT INTO durable.executor AS e (executor_id, last_seen) SELECT $1, $2 "
		"ON CONFLICT (executor_id) DO UPDATE SET last_seen = $2",
		2, {TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_FORGET] = {
		"DELETE FROM durable.executor e WHERE e.executor_id" EQ "$1",
		1, {TEXTOID}
	},
	[PLAN_HEARTBEAT_ANSWER] = {
		"SELECT b.id, w.status, w.lease, w.executor_id "
		"FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) AS b (id, lease) "
		"LEFT JOIN durable.workflow w ON w.id" EQ "b.id "
		"WHERE w.id IS NULL OR (" UNIT("w") " AND (w.status" NE S_RUNNING " OR w.lease" NE "b.lease "
		"  OR w.executor_id IS NULL OR w.executor_id" NE "$1)) "
		"UNION ALL "
		"SELECT w.id, w.status, w.lease, w.executor_id FROM durable.workflow w "
		"WHERE w.executor_id" EQ "$1 AND w.status" EQ S_RUNNING " AND " DRIVEN("w") " AND " UNIT("w")
		"  AND NOT w.id" EQ "ANY ($2)",
		3, {TEXTOID, UUIDARRAYOID, INT4ARRAYOID}
	},
	/* this and the next three: $1 the caller, $2 silent since, $3 at most */
	[PLAN_FIND_STALE] = {
		"SELECT d.id, d.root_id FROM durable.executor e CROSS JOIN LATERAL ("
		"  SELECT w.id, w.root_id FROM durable.workflow w"
		"  WHERE w.executor_id" EQ "e.executor_id AND w.status" EQ S_RUNNING " AND " DRIVEN("w") " AND " UNIT("w")
		"    AND " RECOVER_FILTERS
		"  LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) d "
		"WHERE e.last_seen" LT "$2 AND e.executor_id" NE "$1 LIMIT $3",
		6, {TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	/*
	 * The executors that own something are found by one index probe each; then
	 * each workflow without a registered one is asked for signs of life.
	 */
	[PLAN_FIND_ORPHANS] = {
		"WITH RECURSIVE owner AS ("
		"  (SELECT w.executor_id FROM durable.workflow w"
		"   WHERE w.executor_id IS NOT NULL AND " DRIVEN("w") " AND " UNIT("w")
		"   ORDER BY w.executor_id LIMIT 1)"
		"  UNION ALL"
		"  SELECT (SELECT w.executor_id FROM durable.workflow w"
		"    WHERE w.executor_id" GT "o.executor_id AND " DRIVEN("w") " AND " UNIT("w")
		"    ORDER BY w.executor_id LIMIT 1)"
		"  FROM owner o WHERE o.executor_id IS NOT NULL), "
		"unregistered AS MATERIALIZED ("
		"  SELECT o.executor_id FROM owner o WHERE o.executor_id" NE "$1"
		"    AND NOT EXISTS (SELECT 1 FROM durable.executor e WHERE e.executor_id" EQ "o.executor_id)), "
		"candidate AS ("
		"  SELECT w.id, w.lease FROM unregistered o JOIN durable.workflow w ON w.executor_id" EQ "o.executor_id"
		"  WHERE w.status" EQ S_RUNNING " AND " DRIVEN("w") " AND " UNIT("w") " AND w.started_at" LT "$2"
		"  UNION ALL"
		"  SELECT w.id, w.lease FROM durable.workflow w"
		"  WHERE w.executor_id IS NULL"
		"    AND w.status" EQ S_RUNNING " AND " DRIVEN("w") " AND " UNIT("w") " AND w.started_at" LT "$2) "
		"SELECT w.id, w.root_id FROM candidate c JOIN durable.workflow w ON w.id" EQ "c.id "
		"WHERE " CHECKED("w.status" EQ S_RUNNING) " AND w.lease" EQ "c.lease AND " RECOVER_FILTERS
		"  AND " SILENT("c.id", "$2") " "
		"LIMIT $3 FOR NO KEY UPDATE OF w SKIP LOCKED",
		6, {TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	/* $2 is now; $1 is not asked: a deadline holds for the caller's own, too */
	[PLAN_FIND_LATE] = {
		"SELECT w.id, w.root_id FROM durable.workflow w "
		"WHERE w.status" EQ S_RUNNING " AND w.deadline" LE "$2 AND " UNIT("w") " AND " RECOVER_FILTERS " "
		"LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
		6, {TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	[PLAN_FIND_RELEASED] = {
		"SELECT w.id, w.root_id FROM durable.workflow w "
		"WHERE w.status" EQ S_PENDING " AND w.queue_name IS NULL AND w.parent_id IS NULL AND w.run_at" LE "$2 "
		"  AND " RECOVER_FILTERS " "
		"ORDER BY w.run_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
		6, {TEXTOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTARRAYOID, UUIDARRAYOID}
	},
	[PLAN_RECOVER] = {
		"UPDATE durable.workflow w SET status = " S_RUNNING ", lease = w.lease" PLUS "1, executor_id = $2, "
		"  recovery_count = CASE WHEN $4 THEN w.recovery_count" PLUS "1 ELSE w.recovery_count END, "
		"  started_at = CASE WHEN w.status" EQ S_PENDING " OR w.deadline" LE "$3 THEN $3 ELSE w.started_at END, "
		"  deadline = CASE WHEN w.status" EQ S_PENDING " OR w.deadline" LE "$3 THEN $3" PLUS "w.timeout ELSE w.deadline END "
		"WHERE w.id" EQ "ANY ($1) AND (NOT $4 OR w.recovery_count" LT "w.max_recovery_attempts) "
		"  AND " CHECKED("w.status" EQ "ANY (ARRAY['PENDING', 'RUNNING']::durable.task_status[])") " "
		"RETURNING w.id, w.parent_id, w.name, w.handler, w.input, w.lease, w.recovery_count, $5",
		5, {UUIDARRAYOID, TEXTOID, TIMESTAMPTZOID, BOOLOID, TEXTOID}
	},
	[PLAN_FAIL_POISON] = {
		"UPDATE durable.workflow w SET status = " S_FAILED ", completed_at = $2, "
		"  error = pg_catalog.format('max recovery attempts exceeded (%s): %s', w.max_recovery_attempts, $3) "
		"WHERE w.id" EQ "ANY ($1) AND w.recovery_count" GE "w.max_recovery_attempts "
		"  AND " CHECKED("w.status" EQ S_RUNNING) " RETURNING w.id",
		3, {UUIDARRAYOID, TIMESTAMPTZOID, TEXTOID}
	},
	[PLAN_RELEASE] = {
		"UPDATE durable.workflow w SET "
		"  status = CASE WHEN w.status" EQ S_RUNNING " THEN " S_PENDING " ELSE w.status END, "
		"  paused_from = CASE WHEN w.status" EQ S_PAUSED " THEN " S_PENDING " END, "
		"  lease = w.lease" PLUS "1, executor_id = NULL, deadline = NULL, "
		"  run_at = COALESCE($3, CASE WHEN w.queue_name IS NULL THEN $4 ELSE w.run_at END) "
		"WHERE w.executor_id" EQ "$1 AND " DRIVEN("w") " AND " UNIT("w")
		"  AND ($2 IS NULL OR (w.id" EQ "$2 AND w.status" EQ S_RUNNING ")) "
		"RETURNING w.id",
		4, {TEXTOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},

	/* ---- privileges ---------------------------------------------------- */

	/* the schema and the members of extension $1 that have privileges (the types of rows go without), and may $2 grant them? */
	[PLAN_MEMBERS] = {
		"SELECT n.tableoid, n.oid, n.nspname::pg_catalog.text, n.nspname::pg_catalog.text, n.nspowner,"
		"  pg_catalog.has_schema_privilege($2, n.oid, 'USAGE WITH GRANT OPTION') "
		"FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid" EQ "e.extnamespace WHERE e.oid" EQ "$1 "
		"UNION ALL SELECT t.tableoid, t.oid, n.nspname::pg_catalog.text, t.typname::pg_catalog.text, t.typowner,"
		"  pg_catalog.has_type_privilege($2, t.oid, 'USAGE WITH GRANT OPTION') "
		"FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid" EQ "t.typnamespace "
		"WHERE " MEMBER("t", "pg_type") " AND t.typtype" EQ "'e' "
		"UNION ALL SELECT p.tableoid, p.oid, n.nspname::pg_catalog.text, p.proname::pg_catalog.text, p.proowner,"
		"  pg_catalog.has_function_privilege($2, p.oid, 'EXECUTE WITH GRANT OPTION') "
		"FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid" EQ "p.pronamespace "
		"WHERE " MEMBER("p", "pg_proc") " "
		"UNION ALL SELECT c.tableoid, c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relowner,"
		"  pg_catalog.has_table_privilege($2, c.oid, 'SELECT WITH GRANT OPTION') "
		"FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid" EQ "c.relnamespace "
		"WHERE " MEMBER("c", "pg_class") " AND (c.relkind" EQ "'r' OR c.relkind" EQ "'v') "
		"ORDER BY 2",
		2, {OIDOID, OIDOID}
	},

	/* ---- retention, monitoring ----------------------------------------------------- */

	[PLAN_FIND_OLD_ROOTS] = {
		"SELECT o.id FROM pg_catalog.unnest($1) AS f (status) CROSS JOIN LATERAL ("
		"  SELECT w.id, " TREE_END("w") " AS tree_end FROM durable.workflow w"
		"  WHERE w.parent_id IS NULL AND w.completed_at IS NOT NULL"
		"    AND pg_catalog.hashenum(w.status)" EQ "pg_catalog.hashenum(f.status::durable.task_status)"
		"    AND " TREE_END("w") LT "$2 AND w.id" NE "ALL ($4)"
		"  ORDER BY " TREE_END("w") " LIMIT $3) o "
		"ORDER BY o.tree_end, o.id LIMIT $3",
		4, {TEXTARRAYOID, TIMESTAMPTZOID, INT8OID, UUIDARRAYOID}
	},
	/* how many are finished, and when the last of them and of their steps ended */
	[PLAN_LOOK_ENDED] = {
		"SELECT pg_catalog.count(w.completed_at), pg_catalog.max(GREATEST(w.completed_at, "
		"  (SELECT pg_catalog.max(s.completed_at) FROM durable.step s WHERE s.workflow_id" EQ "w.id))) "
		"FROM durable.workflow w WHERE w.id" EQ "ANY ($1)",
		1, {UUIDARRAYOID}
	},
	[PLAN_LOCK_TO_DELETE] = {
		"SELECT w.id FROM durable.workflow w WHERE w.id" EQ "ANY ($1) AND " CHECKED("w.completed_at IS NOT NULL") " "
		"FOR UPDATE SKIP LOCKED",
		1, {UUIDARRAYOID}
	},
	[PLAN_MARK_ROOT] = {
		"WITH root AS MATERIALIZED ("
		"  SELECT w.id FROM durable.workflow w WHERE w.id" EQ "$1 AND " CHECKED("w.completed_at IS NOT NULL")
		"  FOR NO KEY UPDATE SKIP LOCKED) "
		"UPDATE durable.workflow w SET tree_end = $2 FROM root r WHERE w.id" EQ "r.id",
		2, {UUIDOID, TIMESTAMPTZOID}
	},
	[PLAN_DELETE_STEPS] = {
		"DELETE FROM durable.step s WHERE s.workflow_id" EQ "ANY ($1)",
		1, {UUIDARRAYOID}
	},
	[PLAN_DELETE_WORKFLOWS] = {
		"DELETE FROM durable.workflow w WHERE w.id" EQ "ANY ($1)",
		1, {UUIDARRAYOID}
	},
	[PLAN_FORGET_SILENT] = {
		"WITH silent AS MATERIALIZED ("
		"  SELECT e.executor_id FROM durable.executor e"
		"  WHERE e.last_seen" LT "$1 AND NOT EXISTS ("
		"    SELECT 1 FROM durable.workflow w WHERE w.executor_id" EQ "e.executor_id AND " DRIVEN("w") " AND " UNIT("w") ")"
		"  LIMIT $2 FOR UPDATE OF e SKIP LOCKED) "
		"DELETE FROM durable.executor e WHERE e.executor_id" EQ "ANY (ARRAY(SELECT s.executor_id FROM silent s))",
		2, {TIMESTAMPTZOID, INT8OID}
	},
	/*
	 * $1 is now, $2 that by which an executor must have been seen.  Each part
	 * reads one index, and has one row for each queue, NULL where there is none.
	 */
	[PLAN_STATS] = {
		"WITH owned AS ("
		/* stale: whom FIND_STALE and FIND_ORPHANS find */
		"  SELECT w.queue_name, w.status, w.executor_id, w.status" EQ S_RUNNING " AND CASE"
		"    WHEN e.executor_id IS NOT NULL THEN e.last_seen" LT "$2"
		"    WHEN w.started_at" GE "$2 THEN false"
		"    ELSE " SILENT("w.id", "$2") " END AS stale"
		"  FROM durable.workflow w LEFT JOIN durable.executor e ON e.executor_id" EQ "w.executor_id"
		"  WHERE " DRIVEN("w") " AND " UNIT("w") "), "
		"part (queue_name, pending, due, due_since, running, paused, stale, owners, retries, completed, failed, cancelled) AS ("
		"  SELECT q.name, NULL::pg_catalog.int8, NULL::pg_catalog.int8, NULL::pg_catalog.timestamptz,"
		"    NULL::pg_catalog.int8, NULL::pg_catalog.int8, NULL::pg_catalog.int8, NULL::pg_catalog.int8,"
		"    NULL::pg_catalog.int8, NULL::pg_catalog.int8, NULL::pg_catalog.int8, NULL::pg_catalog.int8"
		"  FROM durable.queue q"
		"  UNION ALL"
		"  SELECT w.queue_name, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE w.run_at" LE "$1),"
		"    pg_catalog.min(w.run_at) FILTER (WHERE w.run_at" LE "$1),"
		"    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
		"  FROM durable.workflow w WHERE w.status" EQ S_PENDING " AND w.queue_name IS NOT NULL GROUP BY w.queue_name"
		"  UNION ALL"
		"  SELECT NULL, pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE w.run_at" LE "$1),"
		"    pg_catalog.min(w.run_at) FILTER (WHERE w.run_at" LE "$1),"
		"    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
		"  FROM durable.workflow w WHERE w.status" EQ S_PENDING " AND w.queue_name IS NULL AND w.parent_id IS NULL"
		"  UNION ALL"
		"  SELECT o.queue_name, NULL, NULL, NULL,"
		"    pg_catalog.count(*) FILTER (WHERE o.status" EQ S_RUNNING "),"
		"    pg_catalog.count(*) FILTER (WHERE o.status" EQ S_PAUSED "),"
		"    pg_catalog.count(*) FILTER (WHERE o.stale),"
		"    pg_catalog.count(DISTINCT o.executor_id) FILTER (WHERE o.stale),"
		"    NULL, NULL, NULL, NULL"
		"  FROM owned o GROUP BY o.queue_name"
		"  UNION ALL"
		"  SELECT w.queue_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, pg_catalog.count(*), NULL, NULL, NULL"
		"  FROM durable.step s JOIN durable.workflow w ON w.id" EQ "s.workflow_id"
		"  WHERE s.run_at IS NOT NULL AND s.status" EQ S_PENDING " AND " CHECKED(UNFINISHED("w")) " GROUP BY w.queue_name"
		"  UNION ALL"
		"  SELECT w.queue_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
		"    pg_catalog.count(*) FILTER (WHERE w.status" EQ S_COMPLETED "),"
		"    pg_catalog.count(*) FILTER (WHERE w.status" EQ S_FAILED "),"
		"    pg_catalog.count(*) FILTER (WHERE w.status" EQ S_CANCELLED ")"
		"  FROM durable.workflow w WHERE w.completed_at" GT "($1" MINUS "'1 minute'::pg_catalog.interval)"
		"    AND w.completed_at IS NOT NULL AND " UNIT("w") " GROUP BY w.queue_name), "
		"line AS ("
		"  SELECT p.queue_name, pg_catalog.max(p.pending) AS pending, pg_catalog.max(p.due) AS due,"
		"    pg_catalog.min(p.due_since) AS due_since, pg_catalog.max(p.running) AS running,"
		"    pg_catalog.max(p.paused) AS paused, pg_catalog.max(p.stale) AS stale, pg_catalog.max(p.owners) AS owners,"
		"    pg_catalog.max(p.retries) AS retries, pg_catalog.max(p.completed) AS completed,"
		"    pg_catalog.max(p.failed) AS failed, pg_catalog.max(p.cancelled) AS cancelled"
		"  FROM part p GROUP BY p.queue_name) "
		"SELECT l.queue_name, COALESCE(l.pending, 0), COALESCE(l.due, 0), $1" MINUS "l.due_since, "
		"  COALESCE(l.running, 0), COALESCE(l.paused, 0), COALESCE(l.stale, 0), COALESCE(l.owners, 0), "
		"  COALESCE(l.retries, 0), COALESCE(l.completed, 0), COALESCE(l.failed, 0), COALESCE(l.cancelled, 0), "
		"  q.paused, q.max_concurrency, q.rate_limit, q.rate_limit_window "
		"FROM line l LEFT JOIN durable.queue q ON q.name" EQ "l.queue_name "
		/* what ended in a queue that is gone is not of interest */
		"WHERE l.queue_name IS NULL OR q.name IS NOT NULL "
		"ORDER BY l.queue_name",
		2, {TIMESTAMPTZOID, TIMESTAMPTZOID}
	},
	[PLAN_COUNT_EXECUTORS] = {
		"SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE e.last_seen" LT "$1) FROM durable.executor e",
		1, {TIMESTAMPTZOID}
	},
};

static SPIPlanPtr plans[NUM_PLANS];

/* The row that result_column took apart last. */
static uint64 current_row;
static Datum current_values[64];
static bool current_nulls[64];

/* Whether it is planned once. */
static bool
is_generic(PlanId id)
{
	return statements[id].planning == BY_INDEX || statements[id].planning == BY_PROBES;
}

static void
prepare(PlanId id)
{
	const Statement *statement = &statements[id];
	SPIPlanPtr	plan = SPI_prepare_cursor(statement->sql, statement->nargs, (Oid *) statement->argtypes,
										  is_generic(id) ? CURSOR_OPT_GENERIC_PLAN : CURSOR_OPT_CUSTOM_PLAN);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement %d: %s", id, SPI_result_code_string(SPI_result));
	plans[id] = plan;
}

static void
set(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Makes a generic plan of index scans and nested loops.  Others read whole
 * tables: that seems cheapest while these are small, and would stay in the
 * plan while they grow.
 */
static void
plan_by_index(PlanId id)
{
	int			level = NewGUCNestLevel();
	CachedPlan *plan;

	set("enable_seqscan", "off");
	set("enable_hashjoin", "off");
	set("enable_mergejoin", "off");
	set("enable_material", "off");
	set("jit", "off");
	/* An index can be read as a whole, too, but not by a bitmap scan: which has to begin with the arrays. */
	if (statements[id].planning == BY_PROBES)
	{
		set("enable_indexscan", "off");
		set("enable_indexonlyscan", "off");
	}
	plan = SPI_plan_get_cached_plan(plans[id]);
	if (plan)
		ReleaseCachedPlan(plan, CurrentResourceOwner);
	AtEOXact_GUC(true, level);
}

/*
 * Runs a statement and returns the number of rows that it returned or changed.
 *
 * NEWEST: in READ COMMITTED each statement sees what is committed when it
 * starts, as everywhere.  Above it, the caller's snapshot may be older than
 * the lock that we wait for, and rows that we must not miss (a pause, a child)
 * are invisible in it, so there the statement gets the latest snapshot, as
 * the server's own foreign keys do; what changes under it is 40001.
 *
 * CALLERS: the snapshot of the query that called, for functions that only
 * look.
 */
uint64
run_plan(PlanId id, const Params *params, View view)
{
	Snapshot	snapshot = InvalidSnapshot;
	bool		planned;
	int			level = 0;
	int			rc;

	/* what makes a plan invalid is to be known before it is used, not found out by its use */
	AcceptInvalidationMessages();
	planned = plans[id] != NULL && SPI_plan_is_valid(plans[id]);
	if (!planned)
		require_schema_version();
	if (plans[id] == NULL)
		prepare(id);
	if (is_generic(id))
	{
		if (!planned)
			plan_by_index(id);
	}
	else
	{
		level = NewGUCNestLevel();
		/* leaves steps out where only workflows are asked for */
		set("constraint_exclusion", "on");
		/* without statistics, all tables look small enough for it */
		if (statements[id].planning == ALL_ROWS)
			set("enable_nestloop", "off");
		/* costs more than it gains, and would be decided by an estimate */
		set("jit", "off");
	}

	Assert(params->n == statements[id].nargs);
	if (view == NEWEST && IsolationUsesXactSnapshot())
		snapshot = GetLatestSnapshot();
	rc = SPI_execute_snapshot(plans[id], (Datum *) params->values, params->nulls,
							  snapshot, InvalidSnapshot, view == CALLERS, true, 0);
	if (level > 0)
		AtEOXact_GUC(true, level);
	if (rc < 0)
		elog(ERROR, "statement %d failed: %s", id, SPI_result_code_string(rc));
	current_row = PG_UINT64_MAX;
	return SPI_processed;
}

/* A column (from 0) of a row (from 0) of the last result. */
NullableDatum
result_column(uint64 row, int column)
{
	NullableDatum d;

	if (row != current_row)
	{
		Assert(SPI_tuptable->tupdesc->natts <= lengthof(current_values));
		heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, current_values, current_nulls);
		current_row = row;
	}
	d.value = current_values[column];
	d.isnull = current_nulls[column];
	return d;
}

Datum
result_value(uint64 row, int column)
{
	return result_column(row, column).value;
}

/* Ids as a parameter. */
Datum
id_array(const pg_uuid_t *ids, uint64 count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (uint64 i = 0; i < count; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, (int) count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

Datum
int_array(const int32 *ints, int count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(ints[i]);
	return PointerGetDatum(construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* The ids in a column of the last result, as an array. */
Datum
result_ids(int column)
{
	pg_uuid_t  *ids = palloc(Max(SPI_processed, 1) * sizeof(pg_uuid_t));

	for (uint64 row = 0; row < SPI_processed; row++)
		ids[row] = *DatumGetUUIDP(result_value(row, column));
	return id_array(ids, SPI_processed);
}
