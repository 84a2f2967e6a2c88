/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  Executors: heartbeat, recover, release.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_heartbeat);
PG_FUNCTION_INFO_V1(durable_recover);
PG_FUNCTION_INFO_V1(durable_release);

/* Whether the executor is registered and was seen since. */
bool
executor_alive(Datum executor_id, TimestampTz stale_before)
{
	Params		params = {0};

	param_datum(&params, executor_id);
	param_time(&params, stale_before);
	return run_plan(PLAN_EXECUTOR_ALIVE, &params, NEWEST) > 0;
}

/*
 * Writes that the executor was seen now.  Locks its row, before any row of a
 * workflow; if that was a wait, it has the row now, and writes the time again.
 */
static void
refresh_executor(Datum executor_id)
{
	Rounds		rounds = {0};

	do
	{
		Params		params = {0};

		rounds.since = clock_monotonic();
		param_datum(&params, executor_id);
		param_time(&params, clock_now());
		if (run_plan(PLAN_REGISTER, &params, NEWEST) == 0)
			raise_kept_away("durable.executor");
	} while (has_waited(&rounds, 1));
}

/*
 * Registers an executor that is unknown, and refreshes one that is stale (by
 * default, silent for durable.executor_timeout); NULL is nobody.  Returns when, by
 * clock_monotonic, or 0 if there was nothing to write.
 */
int64
register_executor(NullableDatum executor_id, NullableDatum stale_after)
{
	if (executor_id.isnull || executor_alive(executor_id.value, clock_stale_before(clock_now(), stale_after)))
		return 0;
	refresh_executor(executor_id.value);
	return clock_monotonic();
}

/* Once more, if the call has waited since: the row is ours. */
void
register_again(NullableDatum executor_id, int64 registered)
{
	if (registered != 0 && clock_monotonic() - registered > A_WAIT)
		refresh_executor(executor_id.value);
}

/*
 * heartbeat(executor_id, workflow_ids, leases)
 *
 * Locks and writes the executor's row, nothing else.
 */
Datum
durable_heartbeat(PG_FUNCTION_ARGS)
{
	NullableDatum workflow_ids = fcinfo->args[1];
	NullableDatum leases = fcinfo->args[2];
	Call		call;

	require_name(fcinfo->args[0], "executor_id");
	if (workflow_ids.isnull != leases.isnull)
		bad_argument(workflow_ids.isnull ? "workflow_ids" : "leases", "must be given where the other is",
					 "One of \"workflow_ids\" and \"leases\" is NULL.", "Pass both, or neither.");
	if (!workflow_ids.isnull)
	{
		check_array(leases, "leases");
		check_array_beside(leases, "leases", check_array(workflow_ids, "workflow_ids"), "workflow_ids");
	}

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	refresh_executor(fcinfo->args[0].value);
	if (!workflow_ids.isnull)
	{
		Params		params = {0};

		for (int i = 0; i < 3; i++)
			param(&params, fcinfo->args[i]);
		run_plan(PLAN_HEARTBEAT_ANSWER, &params, NEWEST);
		return_rows(fcinfo);
	}
	end_call(&call);
	return (Datum) 0;
}

/* Why recover takes a workflow, and the statement that finds such ones. */
typedef struct RecoverReason
{
	const char *reason;
	PlanId		find;
	bool		since_now;		/* asks what is due now, not who has been silent since */
	bool		counts;			/* is a recovery, and counts against the limit */
} RecoverReason;

static const RecoverReason recover_reasons[] = {
	{"stale executor", PLAN_FIND_STALE, false, true},
	{"no executor", PLAN_FIND_ORPHANS, false, true},
	{"deadline", PLAN_FIND_LATE, true, true},
	{"released", PLAN_FIND_RELEASED, true, false},
};

/* Ends those that have been recovered too often; returns how many. */
static int
fail_poison(Datum ids, TimestampTz now, const char *reason)
{
	Params		params = {0};
	int			count;
	int			children = 0;

	param_datum(&params, ids);
	param_time(&params, now);
	param_datum(&params, CStringGetTextDatum(reason));
	count = (int) run_plan(PLAN_FAIL_POISON, &params, NEWEST);
	if (count == 0)
		return 0;
	ids = result_ids(0);
	for (int row = 0; row < count; row++)
		children += result_column(row, 1).isnull ? 0 : 1;
	cascade_below(CASCADE_FAIL, ids, 0, now);
	record_on_stand_ins(ids, children);
	return count;
}

/*
 * recover(executor_id, max_workflows, stale_after, queue, handlers)
 *
 * Locks the executor's row, the queue that it is narrowed to (shared), then the
 * workflows' rows, their trees (shared), and the rows of their unfinished
 * inline descendants, all without waiting (takeable): any number of callers get
 * disjoint workflows.  Steps are touched only where a workflow is given up: its
 * stand-in, and what is PAUSED in its inline descendants.
 */
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

	for (int i = 0; i < lengthof(recover_reasons) && left > 0 && can_lock_trees_of_claim();)
	{
		const RecoverReason *r = &recover_reasons[i];
		Params		params = {0};
		uint64		found;
		uint64		taken;
		int			takeable_count;
		Datum		ids;

		param(&params, executor_id);
		param_time(&params, r->since_now ? now : stale_before);
		param_int(&params, left);
		param(&params, queue);
		param(&params, handlers);
		param_datum(&params, seen);
		found = run_plan(r->find, &params, NEWEST);
		ids = takeable(&seen, &takeable_count);

		if (r->counts)
			takeable_count -= fail_poison(ids, now, r->reason);
		params.n = 0;
		param_datum(&params, ids);
		param(&params, executor_id);
		param_time(&params, now);
		param_bool(&params, r->counts);
		param_datum(&params, CStringGetTextDatum(r->reason));
		taken = run_plan(PLAN_RECOVER, &params, NEWEST);
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
		if (taken == found)
			i++;
	}
	end_call(&call);
	return (Datum) 0;
}

/* Locks the trees in which its workflows are not alone (shared), in one order. */
static void
lock_trees_of_executor(NullableDatum executor_id, NullableDatum workflow_id)
{
	Params		params = {0};
	uint64		count;

	param(&params, executor_id);
	param(&params, workflow_id);
	count = run_plan(PLAN_LOOK_TREES_OF_EXECUTOR, &params, NEWEST);
	for (uint64 row = 0; row < count; row++)
		lock_tree(DatumGetUUIDP(result_value(row, 0)), TREE_SHARED);
}

/* Deletes its row; false if it is still there. */
static bool
forget_executor(Datum executor_id)
{
	Params		params = {0};

	param_datum(&params, executor_id);
	return run_plan(PLAN_FORGET, &params, NEWEST) > 0 || !executor_alive(executor_id, DT_NOBEGIN);
}

/*
 * release(executor_id, workflow_id, run_at)
 *
 * Locks the executor's row, which it deletes unless it hands back just one
 * workflow, the trees of what has parents or children (shared, in one order),
 * then the workflows' rows in the order of their ids, then those of their inline
 * descendants.
 */
Datum
durable_release(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[0];
	NullableDatum workflow_id = fcinfo->args[1];
	NullableDatum run_at = fcinfo->args[2];
	Params		params = {0};
	TimestampTz now;
	Datum		ids;
	int64		released;
	Rounds		rounds = {0};
	IdList		list = {0};
	Call		call;

	require_name(executor_id, "executor_id");
	check_run_at(run_at);

	call = begin_call(fcinfo);
	if (workflow_id.isnull)
	{
		/* it may have been registered since we found none, or waited for one to go */
		while (!forget_executor(executor_id.value))
			next_round(&rounds, "durable.executor", 0);
	}
	else
	{
		Workflow	workflow;

		look_workflow_or_raise(DatumGetUUIDP(workflow_id.value), "workflow_id", NEWEST, &workflow);
	}
	lock_trees_of_executor(executor_id, workflow_id);
	param(&params, executor_id);
	param(&params, workflow_id);
	released = run_plan(PLAN_LOCK_TO_RELEASE, &params, NEWEST);
	if (released > 0)
	{
		ids = result_ids(0);
		append_array(&list, ids);
		ask_before_raising(list.ids, list.count);
		now = clock_now();

		params.n = 0;
		param_datum(&params, ids);
		param(&params, run_at);
		param_time(&params, now);
		if (run_plan(PLAN_RELEASE, &params, NEWEST) != released)
			raise_kept_away("durable.workflow");
		raised_leases_of_result(0);
		cascade_below(CASCADE_FENCE, ids, 0, now);
		now_waiting(ids);
	}
	end_call(&call);
	PG_RETURN_INT64(released);
}
