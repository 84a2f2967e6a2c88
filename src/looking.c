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
	[PLAN_LOOK_ACTIVE_ROOT] = {
		"SELECT " WORKFLOW_COLUMNS " FROM durable.workflow w "
		"WHERE w.name" EQ "$1 AND w.parent_id IS NULL AND " UNFINISHED("w"),
		1, {TEXTOID},
		BY_INDEX, fast_no_active_root
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
};
