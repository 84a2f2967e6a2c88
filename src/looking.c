/*-------------------------------------------------------------------------
 *
 * looking.c
 *	  The statements that look.
 *
 * Those that look in order to lock, or at what a cascade is about to change, are
 * beside what they are for, in acting.c.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"

const OldStatement looking_statements[NUM_PLANS] = {

	/* ---- looking ------------------------------------------------------- */

	[PLAN_LOOK_WORKFLOW] = {
		"SELECT " WORKFLOW_COLUMNS " FROM durable.workflow w WHERE w.id" EQ "$1",
		1, {UUIDOID}
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
	[PLAN_EXECUTOR_ALIVE] = {
		"SELECT 1 FROM durable.executor e WHERE e.executor_id" EQ "$1 AND e.last_seen" GE "$2",
		2, {TEXTOID, TIMESTAMPTZOID},
		BY_INDEX, fast_executor_alive
	},
	[PLAN_LOOK_QUEUE] = {
		"SELECT q.max_concurrency, q.rate_limit, q.rate_limit_window, q.paused, "
		"CASE WHEN " WINDOW_OVER("$2") " THEN 0 ELSE q.window_count END, q.has_heads "
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
	[PLAN_HISTORY] = {
		"SELECT s.sequence, durable.step_id(s.workflow_id, s.sequence), s.name, s.kind, s.status, "
		"CASE WHEN s.status" EQ S_COMPLETED " THEN s.output END, s.error, s.attempt, s.run_at, s.child_id, s.detail "
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

	/* ---- privileges ---------------------------------------------------- */

	/* the schema and the members of extension $1 that have privileges (the types of rows go without), and may $2 grant them? */
	[PLAN_MEMBERS] = {
		"SELECT n.tableoid, n.oid, n.nspname::pg_catalog.text, n.nspname::pg_catalog.text, n.nspowner,"
		"  pg_catalog.has_schema_privilege($2, n.oid, 'USAGE WITH GRANT OPTION') "
		"FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid" EQ "e.extnamespace WHERE e.oid" EQ "$1 "
		"UNION ALL SELECT t.tableoid, t.oid, n.nspname::pg_catalog.text, t.typname::pg_catalog.text, t.typowner,"
		"  pg_catalog.has_type_privilege($2, t.oid, 'USAGE WITH GRANT OPTION') "
		"FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid" EQ "t.typnamespace "
		"WHERE " MEMBER("t", "pg_type") " AND (t.typtype" EQ "'e'"
		"  OR EXISTS (SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid" EQ "t.typrelid AND c.relkind" EQ "'c')) "
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

	/* ---- monitoring --------------------------------------------------------- */

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
