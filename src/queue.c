/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Queues: create, alter, drop, pause, resume, and claim.
 *
 * A queue's lock (lock.c) is shared by those who start in it and those who
 * claim without limits.  Claimers within limits exclude each other, so that
 * they count exactly; changes exclude all.  Queues do not wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_create_queue);
PG_FUNCTION_INFO_V1(durable_alter_queue);
PG_FUNCTION_INFO_V1(durable_drop_queue);
PG_FUNCTION_INFO_V1(durable_pause_queue);
PG_FUNCTION_INFO_V1(durable_resume_queue);
PG_FUNCTION_INFO_V1(durable_claim);

typedef struct Queue
{
	NullableDatum max_concurrency;
	NullableDatum rate_limit;
	NullableDatum rate_limit_window;
	bool		paused;
	int32		window_count;	/* starts in the current window */
	bool		has_heads;
} Queue;

static bool
is_limited(const Queue *queue)
{
	return !queue->max_concurrency.isnull || !queue->rate_limit.isnull;
}

static bool
look_queue(Datum name, TimestampTz now, Queue *queue)
{
	Params		params = {0};

	param_datum(&params, name);
	param_time(&params, now);
	if (run_plan(PLAN_LOOK_QUEUE, &params, NEWEST) == 0)
		return false;
	queue->max_concurrency = result_column(0, 0);
	queue->rate_limit = result_column(0, 1);
	queue->rate_limit_window = result_column(0, 2);
	queue->paused = DatumGetBool(result_value(0, 3));
	queue->window_count = DatumGetInt32(result_value(0, 4));
	queue->has_heads = DatumGetBool(result_value(0, 5));
	return true;
}

static void
look_queue_or_raise(Datum name, TimestampTz now, Queue *queue)
{
	if (!look_queue(name, now, queue))
		raise_refusal(refuse_unknown_queue(TextDatumGetCString(name)));
}

/*
 * Locks a queue in which a workflow is to be started, so that it stays, and its
 * heads; NULL is no queue.  Returns whether it has heads, which may then have to
 * be lowered.
 */
bool
lock_queue_to_start(NullableDatum name, TimestampTz now)
{
	Queue		queue;

	if (name.isnull)
		return false;
	lock_queue(name.value, QUEUE_START);
	lock_heads(name.value);
	look_queue_or_raise(name.value, now, &queue);
	return queue.has_heads;
}

/* Reads and checks the arguments of create_queue and alter_queue. */
static void
param_limits(Params *params, FunctionCallInfo fcinfo)
{
	require_name(fcinfo->args[0], "name");
	check_limit(fcinfo->args[1], "max_concurrency");
	check_limit(fcinfo->args[2], "rate_limit");
	require(fcinfo->args[3], "rate_limit_window");
	check_interval(fcinfo->args[3], "rate_limit_window");
	if (interval_least_seconds(DatumGetIntervalP(fcinfo->args[3].value)) <= 0)
		bad_argument("rate_limit_window", "must be longer than 0", "It is 0, or can be where a month or a day is short.",
					 "Pass the time in which rate_limit workflows may start.");
	for (int i = 0; i <= 3; i++)
		param(params, fcinfo->args[i]);
}

static bool
same_int(NullableDatum a, NullableDatum b)
{
	return a.isnull || b.isnull ? a.isnull && b.isnull : DatumGetInt32(a.value) == DatumGetInt32(b.value);
}

static char *
limit_text(NullableDatum limit)
{
	return limit.isnull ? "NULL" : psprintf("%d", DatumGetInt32(limit.value));
}

/* create_queue(name, max_concurrency, rate_limit, rate_limit_window) */
Datum
durable_create_queue(PG_FUNCTION_ARGS)
{
	Datum		name = fcinfo->args[0].value;
	Params		params = {0};
	TimestampTz now = clock_now();
	Queue		queue;
	Call		call;

	param_limits(&params, fcinfo);
	param_time(&params, now);

	call = begin_call(fcinfo);
	for (;;)
	{
		if (look_queue(name, now, &queue))
		{
			if (!same_int(queue.max_concurrency, fcinfo->args[1]) ||
				!same_int(queue.rate_limit, fcinfo->args[2]) ||
				!DatumGetBool(DirectFunctionCall2(interval_eq, queue.rate_limit_window.value,
												  fcinfo->args[3].value)))
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("queue \"%s\" already exists with other settings", TextDatumGetCString(name)),
						 errdetail("It has max_concurrency %s, rate_limit %s, rate_limit_window %s.",
								   limit_text(queue.max_concurrency), limit_text(queue.rate_limit),
								   DatumGetCString(DirectFunctionCall1(interval_out, queue.rate_limit_window.value))),
						 errhint("Use alter_queue to change them.")));
			break;
		}
		if (run_plan(PLAN_CREATE_QUEUE, &params, NEWEST) > 0)
			break;
	}
	end_call(&call);
	PG_RETURN_VOID();
}

/* Changes one queue that must be there. */
static void
change_queue(Datum name, PlanId plan, const Params *params)
{
	lock_queue(name, QUEUE_CHANGE);
	if (run_plan(plan, params, NEWEST) == 0)
		raise_refusal(refuse_unknown_queue(TextDatumGetCString(name)));
}

/* alter_queue(name, max_concurrency, rate_limit, rate_limit_window) */
Datum
durable_alter_queue(PG_FUNCTION_ARGS)
{
	Params		params = {0};
	Call		call;

	param_limits(&params, fcinfo);
	call = begin_call(fcinfo);
	change_queue(fcinfo->args[0].value, PLAN_ALTER_QUEUE, &params);
	end_call(&call);
	PG_RETURN_VOID();
}

/* drop_queue(name) */
Datum
durable_drop_queue(PG_FUNCTION_ARGS)
{
	Datum		name = fcinfo->args[0].value;
	Params		params = {0};
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	param_datum(&params, name);
	change_queue(name, PLAN_DROP_QUEUE, &params);
	if (run_plan(PLAN_QUEUE_UNFINISHED, &params, NEWEST) > 0)
		raise_refusal(refuse_queue_in_use(TextDatumGetCString(name), DatumGetUUIDP(result_value(0, 0))));
	end_call(&call);
	PG_RETURN_VOID();
}

static Datum
set_paused(FunctionCallInfo fcinfo, bool paused)
{
	Params		params = {0};
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	param(&params, fcinfo->args[0]);
	param_bool(&params, paused);
	change_queue(fcinfo->args[0].value, PLAN_PAUSE_QUEUE, &params);
	end_call(&call);
	PG_RETURN_VOID();
}

/* pause_queue(name) */
Datum
durable_pause_queue(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, true);
}

/* resume_queue(name) */
Datum
durable_resume_queue(PG_FUNCTION_ARGS)
{
	return set_paused(fcinfo, false);
}

/* How many of its workflows hold a slot. */
static int64
count_slots(Datum name)
{
	Params		params = {0};

	param_datum(&params, name);
	run_plan(PLAN_COUNT_SLOTS, &params, NEWEST);
	return DatumGetInt64(result_value(0, 0));
}

/* How many the limits allow now; exact only under the lock of a limited claimer. */
static int64
allowed_by_limits(Datum name, const Queue *queue, int64 wanted)
{
	if (queue->paused)
		return 0;
	if (!queue->rate_limit.isnull)
		wanted = Min(wanted, (int64) DatumGetInt32(queue->rate_limit.value) - queue->window_count);
	if (wanted > 0 && !queue->max_concurrency.isnull)
		wanted = Min(wanted, DatumGetInt32(queue->max_concurrency.value) - count_slots(name));
	return Max(wanted, 0);
}

/*
 * Locks the queue for a claim, in the mode that its limits want, and looks at
 * it as it is then.  Returns the time of that look: we may have waited, and the
 * window of the rate limit is that of now.
 */
static TimestampTz
lock_queue_to_claim(Datum name, Queue *queue)
{
	for (;;)
	{
		bool		limited = is_limited(queue);
		LOCKMODE	mode = limited ? QUEUE_CLAIM_LIMITED : QUEUE_CLAIM;
		TimestampTz now;

		lock_queue(name, mode);
		now = clock_now();
		look_queue_or_raise(name, now, queue);
		if (is_limited(queue) == limited)
			return now;
		/* altered before we had the lock */
		unlock_queue(name, mode);
	}
}

static void
count_starts(Datum name, TimestampTz now, uint64 starts)
{
	Params		params = {0};

	param_datum(&params, name);
	param_time(&params, now);
	param_int(&params, (int32) starts);
	run_plan(PLAN_COUNT_STARTS, &params, NEWEST);
}

/*
 * The workflows that were claimed have a new lease.  Nobody can have done anything
 * under the lease 0 of one that has never run.
 */
static void
raise_fences(void)
{
	for (uint64 row = 0; row < SPI_processed; row++)
		if (DatumGetInt32(result_value(row, 4)) > 1)
			raised_lease_of(DatumGetUUIDP(result_value(row, 0)));
}

/*
 * claim(queue, executor_id, max_workflows)
 *
 * Nothing is written or locked where there is nothing to claim.  Locks the
 * executor's row, the queue, then the workflows' rows, their trees (shared),
 * and the rows of their unfinished inline descendants, all without waiting
 * (takeable), and, for the rate limit, the queue's row; seldom the heads
 * (exclusively, head.c).
 */
Datum
durable_claim(PG_FUNCTION_ARGS)
{
	Datum		name = fcinfo->args[0].value;
	NullableDatum executor_id = fcinfo->args[1];
	int64		wanted;
	TimestampTz before = clock_now();
	TimestampTz now = before;
	Queue		queue;
	Position	due;
	bool		far;
	int64		registered;

	/* a procedure or DO block works on after this statement, and holds our locks until it commits */
	bool		works_on = SPI_inside_nonatomic_context() || GetCurrentTransactionNestLevel() > 1;
	Call		call;

	require_name(fcinfo->args[0], "queue");
	require_name(executor_id, "executor_id");
	require_not_negative(fcinfo->args[2], "max_workflows");
	wanted = PG_GETARG_INT32(2);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	look_queue_or_raise(name, now, &queue);
	if (look_due(name, queue.has_heads, now, &due, &far) && allowed_by_limits(name, &queue, wanted) > 0)
	{
		registered = register_executor(executor_id, a_null());
		now = lock_queue_to_claim(name, &queue);
		register_again(executor_id, registered);
		ask_before_raising();
		wanted = allowed_by_limits(name, &queue, wanted);
		/* if we have waited, as within limits we may, what comes first may have changed */
		if (wanted > 0 &&
			((!is_limited(&queue) && now - before <= 10000) || look_due(name, queue.has_heads, now, &due, &far)))
		{
			Datum		seen = id_array(NULL, 0);
			int64		claimed = 0;
			uint64		found;
			uint64		taken;
			int			free;

			/* what cannot be taken now does not keep what stands behind it waiting */
			do
			{
				Params		params = {0};
				Datum		ids;

				param_datum(&params, name);
				param_time(&params, now);
				param_int(&params, due.priority);
				param_time(&params, due.run_at);
				param_id(&params, &due.id);
				param_datum(&params, Int64GetDatum(wanted - claimed));
				param_datum(&params, seen);
				found = run_plan(PLAN_FIND_DUE, &params, NEWEST);
				ids = takeable(&seen, &free);

				params.n = 0;
				param_datum(&params, ids);
				param(&params, executor_id);
				param_time(&params, now);
				taken = run_plan(PLAN_CLAIM, &params, NEWEST);
				/* their rows are locked, so nothing can have overtaken us */
				if (taken != free)
					raise_kept_away("durable.workflow");
				raise_fences();
				return_rows(fcinfo);
				cascade_below(CASCADE_FENCE, ids, 0, now);
				claimed += (int64) taken;
			} while (taken < found && claimed < wanted);

			if (claimed > 0 && !queue.rate_limit.isnull)
				count_starts(name, now, claimed);
			if (far && !works_on)
				raise_head(name, due.priority, now);
		}
	}
	end_call(&call);
	return (Datum) 0;
}
