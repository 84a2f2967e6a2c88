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

	[PLAN_EXECUTOR_ALIVE] = {
		"SELECT 1 FROM durable.executor e WHERE e.executor_id" EQ "$1 AND e.last_seen" GE "$2",
		2, {TEXTOID, TIMESTAMPTZOID},
		BY_INDEX, fast_executor_alive
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
