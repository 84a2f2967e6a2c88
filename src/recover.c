/*-------------------------------------------------------------------------
 *
 * recover.c
 *	  recover: takes over the workflows that nobody alive drives, that are past
 *	  their deadline, or that were released.
 *
 * For each reason, one after the other, a statement finds such workflows and
 * locks their rows, takeable() (takeable.c) leaves out what cannot be had without
 * waiting, and one statement makes the caller their owner.  Whoever was recovered
 * too often fails instead.
 *
 * Locks the executor's row, the queue that it is narrowed to (shared), then the
 * workflows' rows, their trees (shared), and the rows of their unfinished inline
 * descendants, these three without waiting: so it does not matter that they do
 * not come in the order of all locks, and any number of callers get disjoint
 * workflows.  Steps are touched only where a workflow is given up: its stand-in,
 * and what is PAUSED in its inline descendants.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_recover);

/* ---- finding --------------------------------------------------------------- */

/* since: executors last seen before it are dead; deadlines and times before it are due */
#define FIND(P) \
	P(executor_id, TEXTOID) \
	P(since, TIMESTAMPTZOID) \
	P(most, INT4OID) \
	P(queue, TEXTOID) \
	P(handlers, TEXTARRAYOID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(Find, FIND);

/* The caller has asked for such workflows, and has not seen this one in the call. */
#define WANTED \
	"    (:queue IS NULL OR w.queue_name = :queue) " \
	"    AND (:handlers IS NULL OR w.handler = ANY (:handlers)) " \
	"    AND NOT w.id = ANY (:seen) "

static Statement find_stale = STATEMENT(Find,
	"SELECT d.id, d.root_id "
	"FROM durable.executor e CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"  WHERE d.executor_id = e.executor_id AND " CHECKED("w.status = 'RUNNING' AND w.executor_id = e.executor_id")
	"    AND " WANTED
	"  LIMIT :most FOR NO KEY UPDATE OF w SKIP LOCKED) d "
	"WHERE durable.is_dead(e.last_seen, :since) AND e.executor_id <> :executor_id "
	"LIMIT :most");

/* What a session drove to which an executor was bound, and which has ended (bind.c). */
static Statement find_ended = STATEMENT(Find,
	"SELECT d.id, d.root_id "
	"FROM durable.executor e CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"  WHERE d.executor_id = e.executor_id AND " CHECKED("w.status = 'RUNNING' AND w.executor_id = e.executor_id")
	"    AND " WANTED
	"  LIMIT :most FOR NO KEY UPDATE OF w SKIP LOCKED) d "
	"WHERE e.bound IS NOT NULL AND " SESSION_ENDED("e") " AND e.executor_id <> :executor_id "
	"LIMIT :most");

/*
 * The executors that own something are found by one index probe each; then
 * each workflow without a registered one is asked for signs of life.
 */
static Statement find_orphans = STATEMENT(Find,
	"WITH RECURSIVE owner AS ("
	"  (SELECT d.executor_id FROM durable.driven d WHERE d.executor_id > '' ORDER BY d.executor_id LIMIT 1)"
	"  UNION ALL "
	"  SELECT (SELECT d.executor_id FROM durable.driven d WHERE d.executor_id > o.executor_id"
	"    ORDER BY d.executor_id LIMIT 1)"
	"  FROM owner o WHERE o.executor_id IS NOT NULL), "
	"unregistered AS MATERIALIZED ("
	"  SELECT o.executor_id FROM owner o "
	"  WHERE o.executor_id <> :executor_id "
	"    AND NOT EXISTS (SELECT 1 FROM durable.executor e WHERE e.executor_id = o.executor_id)), "
	"candidate AS ("
	"  SELECT d.id, d.executor_id FROM unregistered o JOIN durable.driven d ON d.executor_id = o.executor_id "
	"  WHERE d.started_at < :since "
	"  UNION ALL "
	"  SELECT d.id, d.executor_id FROM durable.driven d WHERE d.executor_id = '' AND d.started_at < :since) "
	"SELECT w.id, w.root_id "
	"FROM candidate c JOIN durable.workflow w ON w.id = c.id "
	"WHERE " CHECKED("w.status = 'RUNNING' AND coalesce(w.executor_id, '') = c.executor_id AND w.started_at < :since")
	"  AND " WANTED
	"  AND NOT EXISTS (SELECT 1 FROM durable.signs_of_life(c.id, :since)) "
	"LIMIT :most FOR NO KEY UPDATE OF w SKIP LOCKED");

/* A workflow past its deadline is found also if the caller drives it. */
static Statement find_late = STATEMENT(Find,
	"SELECT w.id, w.root_id FROM durable.deadline d JOIN durable.workflow w ON w.id = d.id "
	"WHERE d.deadline <= :since AND " CHECKED("w.status = 'RUNNING' AND w.deadline <= :since") " AND " WANTED
	"LIMIT :most FOR NO KEY UPDATE OF w SKIP LOCKED");

static Statement find_released = STATEMENT(Find,
	"SELECT w.id, w.root_id FROM durable.pending p JOIN durable.workflow w ON w.id = p.id "
	"WHERE p.queue_name = '' AND p.turn = 0 AND p.run_at <= :since"
	"  AND " CHECKED("w.status = 'PENDING' AND w.run_at <= :since") " AND " WANTED
	"ORDER BY p.run_at, p.id "
	"LIMIT :most FOR NO KEY UPDATE OF w SKIP LOCKED");

/* Why a workflow is taken, and the statement that finds such ones. */
typedef struct Reason
{
	const char *name;
	Statement  *find;
	bool		since_now;		/* asks what is due now, not who has been silent since */
	bool		counts;			/* is a recovery, and counts against the limit */
} Reason;

static const Reason reasons[] = {
	{"session ended", &find_ended, false, true},
	{"stale executor", &find_stale, false, true},
	{"no executor", &find_orphans, false, true},
	{"deadline", &find_late, true, true},
	{"released", &find_released, true, false},
};

/* ---- taking, or giving up ------------------------------------------------------ */

#define FAIL_POISON(P) \
	P(ids, UUIDARRAYOID) \
	P(now, TIMESTAMPTZOID) \
	P(reason, TEXTOID)
PARAMETERS(FailPoison, FAIL_POISON);

static Statement fail_poison = STATEMENT(FailPoison,
	"UPDATE durable.workflow w SET status = {workflow to FAIL}, completed_at = :now, "
	"  error = format('max recovery attempts exceeded (%s): %s', w.max_recovery_attempts, :reason) "
	"WHERE w.id = ANY (:ids) AND w.recovery_count >= w.max_recovery_attempts "
	"  AND " CHECKED("w.status = ANY {workflow from FAIL}") " "
	"RETURNING w.id, w.parent_id");

#define TAKE_OVER(P) \
	P(ids, UUIDARRAYOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(counts, BOOLOID) \
	P(reason, TEXTOID)
PARAMETERS(TakeOver, TAKE_OVER);

static Statement take_over = STATEMENT(TakeOver,
	"UPDATE durable.workflow w SET status = {workflow to TAKE}, lease = w.lease + 1, executor_id = :executor_id, "
	"  recovery_count = CASE WHEN :counts THEN w.recovery_count + 1 ELSE w.recovery_count END, "
	"  started_at = CASE WHEN w.status = 'PENDING' OR w.deadline <= :now THEN :now ELSE w.started_at END, "
	"  deadline = CASE WHEN w.status = 'PENDING' OR w.deadline <= :now THEN :now + w.timeout ELSE w.deadline END "
	"WHERE w.id = ANY (:ids) AND (NOT :counts OR w.recovery_count < w.max_recovery_attempts) "
	"  AND " CHECKED("w.status = ANY {workflow from TAKE}") " "
	"RETURNING w.id, w.parent_id, w.name, w.handler, w.input, w.lease, w.recovery_count, :reason");

/* Ends those that have been recovered too often; returns how many. */
static int
give_up(Datum ids, TimestampTz now, const char *reason)
{
	int			count = (int) run(&fail_poison, &(FailPoison)
								  {
									  .ids = a_value(ids),.now = a_time(now),
									  .reason = a_value(CStringGetTextDatum(reason))
								  }, NEWEST);
	int			children = 0;

	if (count == 0)
		return 0;
	ids = result_ids(0);
	for (int row = 0; row < count; row++)
		children += result_column(row, 1).isnull ? 0 : 1;
	cascade_below(CASCADE_FAIL, ids, 0, now);
	record_on_stand_ins(ids, children);
	return count;
}

/* ---- is there something? --------------------------------------------------------- */

#define LOOK_RECOVERABLE(P) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(since, TIMESTAMPTZOID) \
	P(released_before, TIMESTAMPTZOID) \
	P(queued, BOOLOID)
PARAMETERS(LookRecoverable, LOOK_RECOVERABLE);

/* Without queued, only what is in no queue.  Locks nothing, so it may find what recover then has to leave. */
static Statement look_recoverable = STATEMENT(LookRecoverable,
	"WITH RECURSIVE owner AS ("
	"  (SELECT d.executor_id FROM durable.driven d WHERE d.executor_id > '' ORDER BY d.executor_id LIMIT 1)"
	"  UNION ALL "
	"  SELECT (SELECT d.executor_id FROM durable.driven d WHERE d.executor_id > o.executor_id"
	"    ORDER BY d.executor_id LIMIT 1)"
	"  FROM owner o WHERE o.executor_id IS NOT NULL), "
	"candidate AS ("
	"  SELECT d.id, d.executor_id, e.executor_id IS NOT NULL AS is_registered"
	"  FROM owner o LEFT JOIN durable.executor e ON e.executor_id = o.executor_id"
	"  JOIN durable.driven d ON d.executor_id = o.executor_id"
	"  WHERE o.executor_id <> :executor_id AND (:queued OR d.queue_name = '')"
	"    AND CASE WHEN e.executor_id IS NULL THEN d.started_at < :since ELSE " IS_DEAD("e", ":since") " END"
	"  UNION ALL "
	"  SELECT d.id, d.executor_id, false FROM durable.driven d"
	"  WHERE d.executor_id = '' AND d.started_at < :since AND (:queued OR d.queue_name = '')) "
	"(SELECT 1 FROM candidate c JOIN durable.workflow w ON w.id = c.id "
	" WHERE " CHECKED("w.status = 'RUNNING' AND coalesce(w.executor_id, '') = c.executor_id")
	"   AND (c.is_registered OR NOT EXISTS (SELECT 1 FROM durable.signs_of_life(c.id, :since))) LIMIT 1) "
	"UNION ALL "
	"(SELECT 1 FROM durable.deadline d JOIN durable.workflow w ON w.id = d.id "
	" WHERE d.deadline <= :now AND " CHECKED("w.status = 'RUNNING' AND w.deadline <= :now AND (:queued OR w.queue_name IS NULL)"
											 " AND coalesce(w.executor_id, '') <> :executor_id") " LIMIT 1) "
	"UNION ALL "
	"(SELECT 1 FROM durable.pending p WHERE p.queue_name = '' AND p.turn = 0 AND p.run_at <= :released_before LIMIT 1) "
	"LIMIT 1");

/*
 * Whether recover would find something for the executor: in queues, too, or only
 * what is in none; of what was released, what was before that time.
 */
bool
something_to_recover(Datum executor_id, bool queued, TimestampTz released_before)
{
	TimestampTz now = clock_now();

	return run(&look_recoverable, &(LookRecoverable)
			   {
				   .executor_id = a_value(executor_id),.now = a_time(now),
				   .since = a_time(clock_stale_before(now, a_null())),.released_before = a_time(released_before),
				   .queued = a_bool(queued)
			   }, NEWEST) > 0;
}

/* ---- recover ------------------------------------------------------------------------ */

/* recover(executor_id, max_workflows, stale_after, queue, handlers) */
Datum
durable_recover(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[0];
	NullableDatum stale_after = fcinfo->args[2];
	NullableDatum queue = fcinfo->args[3];
	NullableDatum handlers = fcinfo->args[4];
	TimestampTz now;
	TimestampTz stale_before;
	int64		registered;
	Datum		seen;
	int32		left;
	int32		page;			/* so many are looked for at once */
	Call		call;

	require_name(executor_id, "executor_id");
	require_not_negative(fcinfo->args[1], "max_workflows");
	check_interval(stale_after, "stale_after");
	check_name(queue, "queue");
	left = PG_GETARG_INT32(1);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	registered = register_executor(executor_id, stale_after);
	lock_queue_to_start(queue, clock_now());
	register_again(executor_id, registered);
	now = clock_now();
	stale_before = clock_stale_before(now, stale_after);
	seen = id_array(NULL, 0);
	page = left;

	for (int i = 0; i < lengthof(reasons) && left > 0 && can_lock_trees_of_claim();)
	{
		const Reason *reason = &reasons[i];
		uint64		found;
		uint64		taken;
		int			takeable_count;
		Datum		ids;

		found = run(reason->find, &(Find)
					{
						.executor_id = executor_id,.since = a_time(reason->since_now ? now : stale_before),
						.most = an_int(page),.queue = queue,.handlers = handlers,.seen = a_value(seen)
					}, NEWEST);
		ids = takeable(&seen, left, &takeable_count);

		if (reason->counts)
			takeable_count -= give_up(ids, now, reason->name);
		taken = run(&take_over, &(TakeOver)
					{
						.ids = a_value(ids),.executor_id = executor_id,.now = a_time(now),
						.counts = a_bool(reason->counts),.reason = a_value(CStringGetTextDatum(reason->name))
					}, NEWEST);
		/* their rows are locked, so nothing can have overtaken us */
		if (taken != takeable_count)
			raise_kept_away("durable.workflow");
		if (taken > 0)
		{
			ids = result_ids(0);
			raised_leases_of_result(0);
			return_rows(fcinfo);
			cascade_below(CASCADE_FENCE, ids, 0, now);
			left -= (int32) taken;
		}
		/* what was given up or left out leaves room for others of the same reason */
		if (taken < found)
			page = next_page(page, left, taken);
		else
		{
			i++;
			page = left;
		}
	}
	end_call(&call);
	return (Datum) 0;
}
