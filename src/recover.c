/*-------------------------------------------------------------------------
 *
 * recover.c
 *	  Workflows that nobody alive drives, that are past their deadline, or that were
 *	  released: recover takes them over, tick returns those that have a queue there.
 *
 * For each reason, one after the other, a statement finds such workflows and
 * locks their rows, takeable() (takeable.c) leaves out what cannot be had without
 * waiting, and one statement makes the caller their owner, or makes them wait in
 * their queues again.  Whoever was recovered too often fails instead.
 *
 * recover locks the executor's row, the queue that it is narrowed to (shared), then the
 * workflows' rows, their trees (shared), and the rows of their unfinished inline
 * descendants, these three without waiting: so it does not matter that they do
 * not come in the order of all locks, and any number of callers get disjoint
 * workflows.  Steps are touched only where a workflow is given up: its stand-in,
 * and what is PAUSED in its inline descendants; and the children that are cancelled
 * with it, for which the tree is locked exclusively, also without waiting.
 *
 *-------------------------------------------------------------------------
 */
#include "outcome.h"
#include "plan.h"
#include "recover.h"
#include "sql.h"
#include "suspend.h"
#include "table.h"

#include "catalog/pg_collation_d.h"
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
	P(app_version, TEXTOID) \
	P(queued, BOOLOID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(Find, FIND);

/*
 * The fast paths only find that there is nothing to find: what makes tick cheap where
 * nothing is due.  Anything else is left to the statement.
 */

static int64
fast_find_ended(const void *params)
{
	return any_session_ended() == 0 ? 0 : NOT_FAST;
}

static int64
fast_find_stale(const void *params)
{
	return any_executor_dead(DatumGetTimestampTz(((const Find *) params)->since.value)) == 0 ? 0 : NOT_FAST;
}

static int64
fast_find_late(const void *params)
{
	return fast_none(&deadline_by_time, (Key[]) {IS_UNTIL(deadline_deadline, ((const Find *) params)->since)}, 1);
}

/* Whether something that no executor owns has begun before that; -1 if that cannot be told. */
static int
any_ownerless(NullableDatum since)
{
	NullableDatum nobody = a_value(CStringGetTextDatum(""));
	Look		look;
	bool		found;

	if (!begin_look(&look, &driven_by_executor, AccessShareLock, (Key[]) {IS_TEXT(driven_executor_id, nobody)}, 1))
		return -1;
	/* the oldest comes first */
	found = look.row && DatumGetTimestampTz(column_of_row(&look, driven_started_at).value) < DatumGetTimestampTz(since.value);
	end_look(&look);
	return found;
}

/* The first owner after one, in the order of their names; NULL if there is none, or if that cannot be told. */
static NullableDatum
next_owner(NullableDatum after)
{
	Look		look;
	NullableDatum owner = a_null();

	if (!begin_look(&look, &driven_by_executor, AccessShareLock, (Key[]) {IS_TEXT_AFTER(driven_executor_id, after)}, 1))
		return owner;
	if (look.row)
	{
		keep_row(&look);
		owner = column_of_row(&look, driven_executor_id);
	}
	end_look(&look);
	return owner;
}

/* Whether something is driven by an owner whose name is between two: 0 if there is none, else NOT_FAST. */
static int64
fast_none_between(NullableDatum after, NullableDatum before)
{
	return fast_none(&driven_by_executor, (Key[])
					 {
						 IS_TEXT_AFTER(driven_executor_id, after), IS_TEXT_BEFORE(driven_executor_id, before)
					 }, 2);
}

#define FEWEST_GAPS	8

/*
 * Compares the owners with the registered executors, both in the order of their names: an owner that
 * is not registered lies in a gap between two that are.  There are two ways to go on.  To see
 * that a gap is empty reads one entry of the index, but each executor has a gap, also if it
 * drives nothing.  To find the next owner passes over those executors, but reads all entries on
 * the page of the owner before it.  So gaps are looked into, and now and then the next owner is
 * found: the less often, the fewer executors that passes over.
 */
static int64
fast_find_orphans(const void *params)
{
	NullableDatum reached = a_value(CStringGetTextDatum(""));
	NullableDatum owner;
	Look		executors;
	int			gaps = 0;
	int64		found = 0;

	if (any_ownerless(((const Find *) params)->since) != 0 || !begin_look(&executors, &executor_by_id, AccessShareLock, NULL, 0))
		return NOT_FAST;
	while (found == 0 && !(owner = next_owner(reached)).isnull)
	{
		int			passed = -1;	/* executors before the owner: they drive nothing */
		int			order = 1;

		for (; order > 0 && executors.row; next_row(&executors), passed++)
			order = DatumGetInt32(DirectFunctionCall2Coll(bttextcmp, C_COLLATION_OID, owner.value,
														  column_of_row(&executors, executor_executor_id).value));
		found = order == 0 ? 0 : NOT_FAST;
		reached = owner;
		gaps = passed > FEWEST_GAPS ? FEWEST_GAPS : Max(2 * gaps, FEWEST_GAPS);
		for (int i = 0; found == 0 && i < gaps && executors.row; i++, next_row(&executors))
		{
			NullableDatum registered;

			keep_row(&executors);
			registered = column_of_row(&executors, executor_executor_id);
			found = fast_none_between(reached, registered);
			reached = registered;
		}
	}
	end_look(&executors);
	return found;
}

static int64
fast_find_released(const void *params)
{
	NullableDatum none = a_value(CStringGetTextDatum(""));

	return fast_none(&pending_by_place, (Key[])
					 {
						 IS_TEXT(pending_queue_name, none), IS_TEXT(pending_key, none), IS_BIGINT(pending_turn, a_bigint(0)),
						 IS_UNTIL(pending_run_at, ((const Find *) params)->since)
					 }, 4);
}

/* The caller has asked for such workflows, and has not seen this one in the call. */
#define ASKED_FOR \
	"    (:queue IS NULL OR w.queue_name = :queue) AND (NOT :queued OR w.queue_name IS NOT NULL) AND " WANTED " " \
	"    AND NOT w.id = ANY (:seen) "

/*
 * The rows of workflows are locked in subqueries: so the planner begins with the
 * registers, whatever it thinks of the tables, and no more are locked than asked for.
 */
#define OF_EXECUTORS(WHOSE) \
	"SELECT d.id, d.root_id " \
	"FROM durable.executor e CROSS JOIN LATERAL (" \
	"  SELECT w.id, w.root_id FROM durable.driven d CROSS JOIN LATERAL (" \
	"    SELECT w.id, w.root_id FROM durable.workflow w WHERE w.id = d.id" \
	"      AND " CHECKED("w.status = 'RUNNING' AND w.executor_id = e.executor_id") " AND " ASKED_FOR \
	"    FOR NO KEY UPDATE SKIP LOCKED) w " \
	"  WHERE d.executor_id = e.executor_id AND (NOT :queued OR d.queue_name <> '') LIMIT :most) d " \
	"WHERE " WHOSE " AND e.executor_id IS DISTINCT FROM :executor_id " \
	"LIMIT :most"

static Statement find_stale = STATEMENT(Find,
	OF_EXECUTORS("durable.is_dead(e.last_seen, :since)"),
	.fast = fast_find_stale);

/* What a session drove to which an executor was bound, and which has ended (bind.c). */
static Statement find_ended = STATEMENT(Find,
	OF_EXECUTORS("e.bound IS NOT NULL AND " SESSION_ENDED("e")),
	.fast = fast_find_ended);

/*
 * Owners that are not registered lie in the gaps between those that are, each of
 * which is one range of the index; each of their workflows is asked for signs of
 * life.  '' is no owner, and no caller (NULL, of tick) owns anything.
 */
static Statement find_orphans = STATEMENT(Find,
	"WITH registered AS MATERIALIZED ("
	"  SELECT e.executor_id, lag(e.executor_id, 1, '') OVER (ORDER BY e.executor_id) AS before FROM durable.executor e), "
	"candidate AS ("
	"  SELECT d.id, d.executor_id FROM registered r CROSS JOIN LATERAL ("
	"    SELECT d.id, d.executor_id FROM durable.driven d "
	"    WHERE d.executor_id > r.before AND d.executor_id < r.executor_id AND d.started_at < :since"
	"      AND (NOT :queued OR d.queue_name <> '') OFFSET 0) d "
	"  UNION ALL "
	"  SELECT d.id, d.executor_id FROM durable.driven d "
	"  WHERE d.executor_id > coalesce((SELECT max(r.executor_id) FROM registered r), '') AND d.started_at < :since"
	"    AND (NOT :queued OR d.queue_name <> '') "
	"  UNION ALL "
	"  SELECT d.id, d.executor_id FROM durable.driven d "
	"  WHERE d.executor_id = '' AND d.started_at < :since AND (NOT :queued OR d.queue_name <> '')) "
	"SELECT w.id, w.root_id FROM candidate c CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.workflow w WHERE w.id = c.id AND c.executor_id IS DISTINCT FROM :executor_id"
	"    AND " CHECKED("w.status = 'RUNNING' AND coalesce(w.executor_id, '') = c.executor_id AND w.started_at < :since")
	"    AND " ASKED_FOR
	"    AND NOT EXISTS (SELECT 1 FROM durable.signs_of_life(c.id, :since)) "
	"  FOR NO KEY UPDATE SKIP LOCKED) w "
	"LIMIT :most",
	.fast = fast_find_orphans);

/* A workflow past its deadline is found also if the caller drives it. */
static Statement find_late = STATEMENT(Find,
	"SELECT w.id, w.root_id FROM durable.deadline d CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.workflow w WHERE w.id = d.id"
	"    AND " IS_LATE(":since") " AND " ASKED_FOR
	"  FOR NO KEY UPDATE SKIP LOCKED) w "
	"WHERE d.deadline <= :since LIMIT :most",
	.fast = fast_find_late);

static Statement find_released = STATEMENT(Find,
	"SELECT w.id, w.root_id FROM ("
	"  SELECT p.id FROM durable.pending p WHERE p.queue_name = '' AND p.key = '' AND p.turn = 0 AND p.run_at <= :since"
	"  ORDER BY p.run_at, p.id) p CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.workflow w WHERE w.id = p.id"
	"    AND " CHECKED("w.status = 'PENDING' AND w.run_at <= :since") " AND " ASKED_FOR
	"  FOR NO KEY UPDATE SKIP LOCKED) w "
	"LIMIT :most",
	.fast = fast_find_released);

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

/* The first ones are of workflows that are RUNNING; what was released from a queue waits there already. */
#define REASONS_OF_DRIVEN 4

/* ---- taking, or giving up ------------------------------------------------------ */

#define FAIL_POISON(P) \
	P(ids, UUIDARRAYOID) \
	P(now, TIMESTAMPTZOID) \
	P(reason, TEXTOID)
PARAMETERS(FailPoison, FAIL_POISON);

static Statement fail_poison = STATEMENT(FailPoison,
	"UPDATE durable.workflow w SET status = {workflow to FAIL}, completed_at = :now, detail = NULL, "
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
	"  " TAKEN_UP("w.status = 'PENDING' OR w.deadline <= :now")
	"WHERE w.id = ANY (:ids) AND (NOT :counts OR w.recovery_count < w.max_recovery_attempts) "
	"  AND " CHECKED("w.status = ANY {workflow from TAKE}") " "
	"RETURNING w.id, w.parent_id, w.name, w.handler, w.input, w.lease, w.recovery_count, :reason");

#define RETURN_TO_QUEUE(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(ReturnToQueue, RETURN_TO_QUEUE);

/* As release does: it is due at the time at which it was, and so before what has come later. */
static Statement return_to_queue = STATEMENT(ReturnToQueue,
	"UPDATE durable.workflow w SET status = {workflow to RELEASE w.status}, lease = w.lease + 1, executor_id = NULL,"
	"  deadline = NULL, recovery_count = w.recovery_count + 1 "
	"WHERE w.id = ANY (:ids) AND w.recovery_count < w.max_recovery_attempts AND " CHECKED("w.status = 'RUNNING'") " "
	"RETURNING w.id");

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

/* Those that have been recovered too often, and with which children end that have a queue. */
static Statement look_poison_above = STATEMENT(OfIds,
	"SELECT w.id, w.root_id FROM durable.workflow w "
	"WHERE w.id = ANY (:ids) AND w.recovery_count >= w.max_recovery_attempts AND EXISTS ("
	"  WITH RECURSIVE ended AS ("
	"    SELECT w.id "
	"    UNION ALL "
	"    SELECT c.id FROM ended e CROSS JOIN LATERAL ("
	"      SELECT o.id FROM durable.workflow o "
	"      WHERE o.parent_id = e.id AND o.queue_name IS NULL AND " CHECKED(UNFINISHED("o")) " OFFSET 0) c) "
	"  SELECT 1 FROM ended e CROSS JOIN LATERAL ("
	"    SELECT 1 FROM durable.workflow o "
	"    WHERE o.parent_id = e.id AND o.on_parent_end = 'cancel' AND " CHECKED(UNFINISHED("o")) " OFFSET 0) c)");

static Statement look_unfinished = STATEMENT(OfIds,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) AND " CHECKED(UNFINISHED("w")));

/* Leaves out what has ended by now: was given up, or was cancelled with that. */
static Datum
without_ended(Datum ids, int *count)
{
	*count = (int) run(&look_unfinished, &(OfIds) {.ids = a_value(ids)}, NEWEST);
	return result_ids(0);
}

/*
 * Leaves out those whose end would cancel children in trees that are not to be had: no
 * claim may overlap that.  The others are locked as a whole, without waiting.
 */
static Datum
without_busy_trees(Datum ids, int *count)
{
	uint64		above = run(&look_poison_above, &(OfIds) {.ids = a_value(ids)}, NEWEST);
	IdList		busy = {0};
	IdList		all = {0};
	IdList		free = {0};
	pg_uuid_t  *roots = palloc(above * sizeof(pg_uuid_t));

	if (above == 0)
		return ids;
	for (uint64 row = 0; row < above; row++)
	{
		append_id(&busy, DatumGetUUIDP(result_value(row, 0)));
		roots[row] = *DatumGetUUIDP(result_value(row, 1));
	}
	append_array(&all, ids);
	for (uint64 i = 0; i < all.count; i++)
	{
		uint64		row = 0;

		while (row < above && !same_id(&busy.ids[row], &all.ids[i]))
			row++;
		if (row == above ||
			(tree_locks_left() > 0 && try_lock_whole_tree(&roots[row]) && try_lock_rows_of_tree(&roots[row])))
			append_id(&free, &all.ids[i]);
	}
	*count = (int) free.count;
	return id_array(free.ids, free.count);
}

/* Ends those that have been recovered too often; returns how many. */
static int
give_up(Datum ids, TimestampTz now, const char *reason)
{
	int			count = (int) run(&fail_poison, &(FailPoison)
								  {
									  .ids = a_value(ids),.now = a_time(now),
									  .reason = a_value(CStringGetTextDatum(reason))
								  }, NEWEST);
	IdList		parents = {0};
	IdList		ended = {0};

	if (count == 0)
		return 0;
	ids = result_ids(0);
	for (int row = 0; row < count; row++)
		if (!result_column(row, 1).isnull)
			append_id(&parents, DatumGetUUIDP(result_value(row, 1)));
	append_array(&ended, ids);
	have_ended(ended.ids, ended.count);
	cascade_below(CASCADE_FAIL, ids, 0, now);
	record_on_stand_ins(ids, (int) parents.count);
	note_news_of_all(&parents);
	return count;
}

/* ---- the rounds ------------------------------------------------------------------- */

/* A call, and what it asks for. */
typedef struct Recovery
{
	FunctionCallInfo fcinfo;	/* recover, which returns what it takes over; NULL: tick */
	Find		find;			/* for whom, and narrowed to what */
	TimestampTz now;
	TimestampTz stale_before;
	int64		left;			/* so many more may be dealt with */
} Recovery;

/*
 * Takes over, or returns to their queues, workflows that are locked and may be had;
 * what has been recovered too often has ended before.  Returns how many.
 */
static int64
take_or_return(const Recovery *r, const Reason *reason, Datum ids)
{
	uint64		taken;

	if (r->fcinfo)
		taken = run(&take_over, &(TakeOver)
					{
						.ids = a_value(ids),.executor_id = r->find.executor_id,.now = a_time(r->now),
						.counts = a_bool(reason->counts),.reason = a_value(CStringGetTextDatum(reason->name))
					}, NEWEST);
	else
		taken = run(&return_to_queue, &(ReturnToQueue) {.ids = a_value(ids)}, NEWEST);
	if (taken == 0)
		return 0;
	ids = result_ids(0);
	raised_leases_of_result(0);
	if (r->fcinfo)
		return_rows(r->fcinfo);
	cascade_below(CASCADE_FENCE, ids, 0, r->now);
	if (r->fcinfo)
		forget_suspensions(ids);
	else
		now_waiting(ids);
	return (int64) taken;
}

/* Deals with the workflows that are found for so many reasons, up to as many as are left. */
static void
recover_all(Recovery *r, int reason_count)
{
	Datum		seen = id_array(NULL, 0);
	int64		page = r->left;		/* so many are looked for at once */

	for (int i = 0; i < reason_count && r->left > 0 && can_lock_trees_of_claim();)
	{
		const Reason *reason = &reasons[i];
		Find		find = r->find;
		int64		found;
		int64		taken;
		int64		failed = 0;
		int			takeable_count;
		Datum		ids;

		find.since = a_time(reason->since_now ? r->now : r->stale_before);
		find.most = an_int((int32) page);
		find.seen = a_value(seen);
		found = (int64) run(reason->find, &find, NEWEST);
		if (found == 0)
		{
			i++;
			page = r->left;
			continue;
		}
		ids = takeable(&seen, r->left, &takeable_count);
		if (reason->counts && takeable_count > 0)
			ids = without_busy_trees(ids, &takeable_count);
		if (reason->counts && takeable_count > 0)
			failed = give_up(ids, r->now, reason->name);
		if (failed > 0)
			ids = without_ended(ids, &takeable_count);
		taken = takeable_count > 0 ? take_or_return(r, reason, ids) : 0;
		/* their rows are locked, so nothing can have overtaken us */
		if (taken != takeable_count)
			raise_kept_away("durable.workflow");
		r->left -= taken;
		/* to recover, what has failed is no work; tick counts it */
		if (r->fcinfo == NULL)
			r->left -= failed;
		/* what was given up or left out leaves room for others of the same reason */
		if (taken < found)
			page = next_page(page, r->left, taken);
		else
		{
			i++;
			page = r->left;
		}
	}
}

/* ---- is there something? --------------------------------------------------------- */

#define LOOK_RECOVERABLE(P) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(since, TIMESTAMPTZOID) \
	P(released_before, TIMESTAMPTZOID)
PARAMETERS(LookRecoverable, LOOK_RECOVERABLE);

/* What is in a queue, tick returns there.  Locks nothing, so it may find what recover then has to leave. */
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
	"  WHERE o.executor_id <> :executor_id AND d.queue_name = ''"
	"    AND CASE WHEN e.executor_id IS NULL THEN d.started_at < :since ELSE " IS_DEAD("e", ":since") " END"
	"  UNION ALL "
	"  SELECT d.id, d.executor_id, false FROM durable.driven d"
	"  WHERE d.executor_id = '' AND d.started_at < :since AND d.queue_name = '') "
	"(SELECT 1 FROM candidate c JOIN durable.workflow w ON w.id = c.id "
	" WHERE " CHECKED("w.status = 'RUNNING' AND coalesce(w.executor_id, '') = c.executor_id")
	"   AND (c.is_registered OR NOT EXISTS (SELECT 1 FROM durable.signs_of_life(c.id, :since))) LIMIT 1) "
	"UNION ALL "
	"(SELECT 1 FROM durable.deadline d JOIN durable.workflow w ON w.id = d.id "
	" WHERE d.deadline <= :now AND " IS_LATE(":now")
	"   AND " CHECKED("w.queue_name IS NULL AND coalesce(w.executor_id, '') <> :executor_id") " LIMIT 1) "
	"UNION ALL "
	"(SELECT 1 FROM durable.pending p WHERE p.queue_name = '' AND p.key = '' AND p.turn = 0 AND p.run_at <= :released_before LIMIT 1) "
	"LIMIT 1");

/* Whether recover would find something for the executor; of what was released, what was before that time. */
bool
something_to_recover(Datum executor_id, TimestampTz released_before)
{
	TimestampTz now = clock_now();

	return run(&look_recoverable, &(LookRecoverable)
			   {
				   .executor_id = a_value(executor_id),.now = a_time(now),
				   .since = a_time(clock_stale_before(now, a_null())),.released_before = a_time(released_before)
			   }, NEWEST) > 0;
}

/* ---- recover ------------------------------------------------------------------------ */

/* recover(executor_id, max_workflows, stale_after, queue, handlers, app_version) */
Datum
durable_recover(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[0];
	NullableDatum stale_after = fcinfo->args[2];
	NullableDatum queue = fcinfo->args[3];
	NullableDatum app_version = fcinfo->args[5];
	Recovery	r = {.fcinfo = fcinfo};
	int64		registered;
	Call		call;

	require_name(executor_id, "executor_id");
	require_not_negative(fcinfo->args[1], "max_workflows");
	check_interval(stale_after, "stale_after");
	check_name(queue, "queue");
	check_name(app_version, "app_version");
	r.find = (Find)
	{
		.executor_id = executor_id,.queue = queue,.handlers = fcinfo->args[4],
		.app_version = app_version,.queued = a_bool(false)
	};
	r.left = PG_GETARG_INT32(1);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	registered = register_executor(executor_id, stale_after);
	lock_queue_to_start(queue);
	register_again(executor_id, registered);
	act_on_notes();
	r.now = clock_now();
	r.stale_before = clock_stale_before(r.now, stale_after);
	recover_all(&r, lengthof(reasons));
	end_call(&call);
	return (Datum) 0;
}

/*
 * Workflows that have a queue, and whose executor is dead, or that are past their
 * deadline, wait there again at once (for tick).  Returns how many, with those that
 * have failed since they were recovered too often.
 */
int64
return_to_queues(TimestampTz now, int64 most)
{
	Recovery	r = {
		.now = now,.stale_before = clock_stale_before(now, a_null()),.left = most,
		.find = {
			.executor_id = a_null(),.queue = a_null(),.handlers = a_null(),.app_version = a_null(),.queued = a_bool(true)
		}
	};

	recover_all(&r, REASONS_OF_DRIVEN);
	return most - r.left;
}
