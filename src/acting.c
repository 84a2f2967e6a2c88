/*-------------------------------------------------------------------------
 *
 * acting.c
 *	  The statements that lock and write.
 *
 * By what they act on.  A WHERE repeats what the decision to act rests on.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"

const Statement acting_statements[NUM_PLANS] = {

	/* ---- workflows ------------------------------------------------------- */

	[PLAN_START] = {
		START("$1", "$2", "$3", "$12", "CASE WHEN $6 IS NULL THEN 1 ELSE 0 END")
		"WHERE NOT EXISTS (SELECT 1 FROM durable.workflow o WHERE o.id" EQ "$1) " UNLESS_ACTIVE,
		12, {UUIDOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID, INTERVALOID,
		INT4OID, TEXTOID, TIMESTAMPTZOID},
		BY_INDEX, fast_start
	},
	[PLAN_START_MANY] = {
		START("b.id", "b.name", "b.input", "b.created_at", "b.lease")
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$3") ", " OF("$12") ", " OF("$13"),
					 "id, name, input, created_at, lease") " "
		"WHERE NOT EXISTS (SELECT 1 FROM durable.workflow o WHERE o.id" EQ "b.id) " UNLESS_ACTIVE " RETURNING w.id",
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
	/* one that is not locked, has no unfinished inline child, and no step that stands for it */
	[PLAN_COMPLETE_ROOT] = {
		"WITH free AS MATERIALIZED ("
		"  SELECT w.id FROM durable.workflow w"
		"  WHERE w.id" EQ "$1 AND ($2 IS NULL OR w.lease" EQ "$2) AND " CHECKED("w.status" EQ S_RUNNING)
		"    AND NOT EXISTS (SELECT 1 FROM durable.workflow c"
		"      WHERE c.parent_id" EQ "$1 AND c.queue_name IS NULL AND " UNFINISHED("c") ")"
		"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
		"UPDATE durable.workflow w SET status = " S_COMPLETED ", output = $3, completed_at = $4 "
		"FROM free f WHERE w.id" EQ "f.id",
		4, {UUIDOID, INT4OID, JSONBOID, TIMESTAMPTZOID},
		BY_INDEX, fast_complete_root
	},
	[PLAN_END_WORKFLOW] = {
		END_WORKFLOW("$4") "WHERE " WORKFLOW_TO_END("$1", "$2"),
		7, {UUIDOID, INT4OID, BOOLOID, JSONBOID, TEXTOID, JSONBOID, TIMESTAMPTZOID}
	},
	[PLAN_END_WORKFLOWS] = {
		END_WORKFLOW("b.output")
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$4"), "id, lease, output") " "
		"WHERE " WORKFLOW_TO_END("b.id", "b.lease") " RETURNING b.n",
		7, {UUIDARRAYOID, INT4ARRAYOID, BOOLOID, JSONBARRAYOID, TEXTOID, JSONBOID, TIMESTAMPTZOID},
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
		"  WHERE w.id" EQ "$1 AND w.lease" EQ "$6 AND " OPEN_AT("$11")
		"    AND NOT EXISTS (SELECT 1 FROM durable.workflow o WHERE o.id" EQ "$10)"
		"  FOR SHARE OF w), "
		"stand_in AS ("
		"  INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, started_at, name, child_id, input)"
		"  SELECT p.id, $2, p.lease, 1, " S_RUNNING ", " K_WORKFLOW ", $11, $3, $10, $4 FROM parent p"
		"  ON CONFLICT (workflow_id, sequence) DO NOTHING RETURNING 1), "
		"child AS ("
		"  INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, started_at,"
		"    deadline, run_at, name, input, handler, queue_name, priority, timeout, max_recovery_attempts, app_version)"
		"  SELECT $10, p.root_id, p.id, $2,"
		"    CASE WHEN $7 IS NULL THEN " S_RUNNING " ELSE " S_PENDING " END,"
		"    CASE WHEN $7 IS NULL THEN 1 ELSE 0 END, $11,"
		"    CASE WHEN $7 IS NULL THEN $11 END,"
		"    CASE WHEN $7 IS NULL THEN $11" PLUS "$9 END,"
		"    CASE WHEN $7 IS NOT NULL THEN $11 END,"
		"    $3, $4, $5, $7, $8, $9, p.max_recovery_attempts, p.app_version"
		"  FROM parent p CROSS JOIN stand_in RETURNING 1) "
		"SELECT EXISTS (SELECT 1 FROM child) FROM stand_in",
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
	[PLAN_TAKE_BACK_WORKFLOW] = {
		"DELETE FROM durable.workflow w WHERE w.id" EQ "$1",
		1, {UUIDOID}
	},
	[PLAN_LOCK_WORKFLOWS] = {
		"SELECT w.id FROM durable.workflow w WHERE w.id" EQ "ANY ($1) ORDER BY w.id FOR NO KEY UPDATE",
		1, {UUIDARRAYOID}
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
		CLAIM_NEW_STEP("$2", "$5", "$6") "WHERE " CLAIMED_IN OPEN_AT("$13") " ON CONFLICT (workflow_id, sequence) DO NOTHING",
		14, {UUIDOID, INT4OID, INT4OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID, INT4OID, INTERVALOID, FLOAT8OID,
		INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
		BY_INDEX, fast_claim_new_step
	},
	[PLAN_CLAIM_NEW_STEPS] = {
		CLAIM_NEW_STEP("b.sequence", "b.name", "b.input")
		"CROSS JOIN " EACH(OF("$2") ", " OF("$5") ", " OF("$6"), "sequence, name, input") " "
		"WHERE " CLAIMED_IN OPEN_AT("$13") " ON CONFLICT (workflow_id, sequence) DO NOTHING RETURNING s.sequence",
		14, {UUIDOID, INT4ARRAYOID, INT4OID, TEXTOID, TEXTARRAYOID, JSONBARRAYOID, TEXTOID, INT4OID, INTERVALOID,
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
		"WITH " FREE_STEP("") COMPLETE_STEP("$5") FROM_FREE_STEP,
		6, {UUIDOID, INT4OID, INT4OID, INT4OID, JSONBOID, TIMESTAMPTZOID},
		BY_INDEX, fast_complete_step
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
		"  error = $6, detail = $9, run_at = CASE WHEN $5 THEN $8 END, failed_at = CASE WHEN $5 THEN $7 ELSE s.failed_at END, "
		"  completed_at = CASE WHEN $5 THEN NULL ELSE $7 END "
		"WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2 "
		"  AND s.status" EQ S_RUNNING " AND s.lease" EQ "$3 AND s.attempt" EQ "$4"
		"  AND EXISTS (SELECT 1 FROM durable.workflow w WHERE w.id" EQ "$1 AND w.lease" EQ "$10)",
		10, {UUIDOID, INT4OID, INT4OID, INT4OID, BOOLOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID, INT4OID}
	},
	/* with a lease: $3 is also that of the next step */
	[PLAN_COMPLETE_AND_CLAIM] = {
		"WITH " FREE_STEP(" AND " OPEN_AT("$16"))
		", completed AS ("
		"  UPDATE durable.step s SET status = " S_COMPLETED ", output = $5, error = NULL, detail = NULL,"
		"    completed_at = $16"
		"  " FROM_FREE_STEP " RETURNING 1) "
		INSERT_STEP
		"SELECT $1, $6, $3, 1, " S_RUNNING ", $7::durable.task_kind, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17 "
		"FROM completed "
		"ON CONFLICT (workflow_id, sequence) DO NOTHING",
		17, {UUIDOID, INT4OID, INT4OID, INT4OID, JSONBOID, INT4OID, TEXTOID, TEXTOID, JSONBOID, TEXTOID,
		INT4OID, INTERVALOID, FLOAT8OID, INTERVALOID, INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
		BY_INDEX, fast_complete_and_claim
	},
	[PLAN_TAKE_BACK_STEP] = {
		"DELETE FROM durable.step s WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2",
		2, {UUIDOID, INT4OID}
	},
	[PLAN_LOCK_STEPS] = {
		"SELECT s.sequence FROM " EACH(OF("$1") ", " OF("$2"), "workflow_id, sequence") " "
		"JOIN durable.step s ON s.workflow_id" EQ "b.workflow_id AND s.sequence" EQ "b.sequence "
		"ORDER BY s.workflow_id, s.sequence FOR NO KEY UPDATE OF s",
		2, {UUIDARRAYOID, INT4ARRAYOID}
	},
	[PLAN_SET_STEP_TIMEOUT] = {
		"UPDATE durable.step s SET timeout = $3, "
		"  deadline = CASE WHEN s.status" EQ S_RUNNING " THEN s.started_at" PLUS "$3 END "
		"WHERE s.workflow_id" EQ "$1 AND s.sequence" EQ "$2 AND " UNFINISHED("s"),
		3, {UUIDOID, INT4OID, INTERVALOID}
	},

	/* ---- cascades (cascade.c) --------------------------------------------------- */

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
		"  error = NULL, detail = NULL, completed_at = NULL, started_at = $3, "
		"  deadline = CASE WHEN w.queue_name IS NULL THEN $3" PLUS "w.timeout END "
		"WHERE w.id" EQ "$1 AND " CHECKED("w.status" EQ S_FAILED),
		3, {UUIDOID, TEXTOID, TIMESTAMPTZOID}
	},
	[PLAN_RERUN_CHILDREN] = {
		"UPDATE durable.workflow w SET status = " S_PENDING ", lease = w.lease" PLUS "1, executor_id = NULL, "
		"  error = NULL, detail = NULL, completed_at = NULL, deadline = NULL "
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
		"UPDATE durable.step s SET status = " S_PENDING ", retry_count = 0, error = NULL, detail = NULL, run_at = NULL, "
		"  completed_at = NULL, deadline = NULL "
		"WHERE s.workflow_id" EQ "ANY ($1) AND s.kind" NE K_WORKFLOW " "
		"  AND ((s.status" EQ S_FAILED " AND s.sequence" GE "$2) OR s.status" EQ S_RUNNING ")",
		2, {UUIDARRAYOID, INT4OID}
	},
	[PLAN_RECORD_ON_STAND_INS] = {
		"UPDATE durable.step s SET "
		"  status = CASE WHEN " UNFINISHED("w") " THEN " S_RUNNING " ELSE w.status END, "
		"  output = w.output, error = w.error, detail = w.detail, completed_at = w.completed_at "
		"FROM pg_catalog.unnest($1) AS i (id) CROSS JOIN LATERAL "
		"  (SELECT c.parent_id, c.parent_sequence, c.status, c.output, c.error, c.detail, c.completed_at"
		"   FROM durable.workflow c WHERE c.id" EQ "i.id OFFSET 0) w "
		"WHERE s.workflow_id" EQ "w.parent_id AND s.sequence" EQ "w.parent_sequence",
		1, {UUIDARRAYOID}
	},

	/* ---- queues ------------------------------------------------------------------ */

	[PLAN_CREATE_QUEUE] = {
		"INSERT INTO durable.queue (name, max_concurrency, rate_limit, rate_limit_window, created_at) "
		"SELECT $1, $2, $3, $4, $5 ON CONFLICT (name) DO NOTHING",
		5, {TEXTOID, INT4OID, INT4OID, INTERVALOID, TIMESTAMPTZOID}
	},
	[PLAN_ALTER_QUEUE] = {
		"UPDATE durable.queue q SET max_concurrency = $2, rate_limit = $3, rate_limit_window = $4 "
		"WHERE q.name" EQ "$1",
		4, {TEXTOID, INT4OID, INT4OID, INTERVALOID}
	},
	[PLAN_DROP_QUEUE] = {
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
	/* in a lane, from a position on */
	[PLAN_FIND_DUE] = {
		"SELECT w.id, w.root_id, w.run_at FROM durable.workflow w "
		"WHERE w.queue_name" EQ "$1 AND w.status" EQ S_PENDING " AND w.priority" EQ "$3 AND w.run_at" LE "$2"
		"  AND (w.run_at, w.id)" GE "($4, $5) AND NOT w.id" EQ "ANY ($7) "
		"ORDER BY w.run_at, w.id LIMIT $6 FOR NO KEY UPDATE SKIP LOCKED",
		7, {TEXTOID, TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, UUIDOID, INT8OID, UUIDARRAYOID}
	},
	/* on the list of a head, where some may be twice */
	[PLAN_FIND_DUE_LATE] = {
		"SELECT w.id, w.root_id FROM"
		"  (SELECT DISTINCT q.run_at, q.workflow_id FROM durable.queue_late q"
		"   WHERE q.head_id" EQ "$1 AND q.run_at" LE "$2) l "
		"JOIN durable.workflow w ON w.id" EQ "l.workflow_id "
		"WHERE " CHECKED("w.status" EQ S_PENDING " AND w.run_at" EQ "l.run_at") " AND NOT w.id" EQ "ANY ($4) "
		"ORDER BY l.run_at, l.workflow_id LIMIT $3 FOR NO KEY UPDATE OF w SKIP LOCKED",
		4, {UUIDOID, TIMESTAMPTZOID, INT8OID, UUIDARRAYOID}
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

	/* ---- heads of queues ------------------------------------------------------------ */

	[PLAN_ADD_HEAD] = {
		"INSERT INTO durable.queue_head (queue_name, priority, id, run_at, workflow_id) SELECT $1, $2, $3, $4, $5",
		5, {TEXTOID, INT4OID, UUIDOID, TIMESTAMPTZOID, UUIDOID}
	},
	[PLAN_TAKE_BACK_HEAD] = {
		"DELETE FROM durable.queue_head h WHERE h.queue_name" EQ "$1 AND h.priority" EQ "$2 AND h.id" EQ "$3",
		3, {TEXTOID, INT4OID, UUIDOID}
	},
	[PLAN_ADD_LATE] = {
		"INSERT INTO durable.queue_late (head_id, run_at, workflow_id, id) "
		"SELECT b.head_id, b.run_at, b.workflow_id, b.id "
		"FROM " EACH(OF("$1") ", " OF("$2") ", " OF("$3") ", " OF("$4"), "head_id, run_at, workflow_id, id"),
		4, {UUIDARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID, UUIDARRAYOID}
	},
	/* with their lists: who holds a head, holds its list */
	[PLAN_DROP_HEADS] = {
		"WITH old AS MATERIALIZED ("
		"  SELECT h.queue_name, h.priority, h.id FROM durable.queue_head h"
		"  WHERE h.queue_name" EQ "$1 AND h.priority" LE "$2 AND h.priority" GE "$3 AND ($4 IS NULL OR h.id" NE "$4)"
		"  FOR UPDATE SKIP LOCKED), "
		"gone AS (DELETE FROM durable.queue_head h USING old o"
		"  WHERE h.queue_name" EQ "o.queue_name AND h.priority" EQ "o.priority AND h.id" EQ "o.id RETURNING h.id) "
		"DELETE FROM durable.queue_late l WHERE l.head_id" EQ "ANY (ARRAY(SELECT g.id FROM gone g))",
		4, {TEXTOID, INT4OID, INT4OID, UUIDOID}
	},
	[PLAN_DROP_LISTS] = {
		"WITH stray AS MATERIALIZED ("
		"  SELECT l.head_id, l.run_at, l.workflow_id, l.id FROM durable.queue_late l WHERE l.head_id" EQ "ANY ($1)"
		"  FOR UPDATE SKIP LOCKED) "
		"DELETE FROM durable.queue_late l USING stray s WHERE l.head_id" EQ "s.head_id AND l.run_at" EQ "s.run_at"
		"  AND l.workflow_id" EQ "s.workflow_id AND l.id" EQ "s.id",
		1, {UUIDARRAYOID}
	},

	/* ---- executors ------------------------------------------------------------------ */

	[PLAN_REGISTER] = {
		"INSERT INTO durable.executor AS e (executor_id, last_seen) SELECT $1, $2 "
		"ON CONFLICT (executor_id) DO UPDATE SET last_seen = GREATEST(e.last_seen, $2)",
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
		/* (SELECT ...), so that they are hashed: without it, all are compared with all */
		"  AND NOT w.id" EQ "ANY (SELECT pg_catalog.unnest($2))",
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
		"  AND " CHECKED("w.status" EQ S_RUNNING) " RETURNING w.id, w.parent_id",
		3, {UUIDARRAYOID, TIMESTAMPTZOID, TEXTOID}
	},
	[PLAN_LOCK_TO_RELEASE] = {
		"SELECT w.id FROM durable.workflow w "
		"WHERE w.executor_id" EQ "$1 AND " DRIVEN("w") " AND " UNIT("w")
		"  AND ($2 IS NULL OR (w.id" EQ "$2 AND w.status" EQ S_RUNNING ")) "
		"ORDER BY w.id FOR NO KEY UPDATE",
		2, {TEXTOID, UUIDOID}
	},
	[PLAN_RELEASE] = {
		"UPDATE durable.workflow w SET "
		"  status = CASE WHEN w.status" EQ S_RUNNING " THEN " S_PENDING " ELSE w.status END, "
		"  paused_from = CASE WHEN w.status" EQ S_PAUSED " THEN " S_PENDING " END, "
		"  lease = w.lease" PLUS "1, executor_id = NULL, deadline = NULL, "
		"  run_at = COALESCE($2, CASE WHEN w.queue_name IS NULL THEN $3 ELSE w.run_at END) "
		"WHERE w.id" EQ "ANY ($1) RETURNING w.id",
		3, {UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
	},

	/* ---- retention ----------------------------------------------------------------- */

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
	[PLAN_LOOK_STEPS_LEFT] = {
		"SELECT 1 FROM durable.step s WHERE s.workflow_id" EQ "ANY ($1) LIMIT 1",
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
};
