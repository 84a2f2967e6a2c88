/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  Queues: create, alter, drop, pause, resume, and claim.
 *
 * A queue's lock (lock.c) is shared by those who start in it and those who
 * claim without limits.  Claimers within limits exclude each other, so that
 * they count exactly; changes exclude claimers, and only drop_queue excludes
 * those who start.  Queues do not wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "executor/spi.h"
#include "utils/array.h"
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
	return true;
}

static void
look_queue_or_raise(Datum name, TimestampTz now, Queue *queue)
{
	if (!look_queue(name, now, queue))
		raise_refusal(refuse_unknown_queue(TextDatumGetCString(name)));
}

/* Locks a queue in which a workflow is to be started, so that it stays; NULL is no queue. */
void
lock_queue_to_start(NullableDatum name, TimestampTz now)
{
	Queue		queue;

	if (name.isnull)
		return;
	lock_queue(name.value, QUEUE_START);
	look_queue_or_raise(name.value, now, &queue);
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
	for (int tries = 0;; tries++)
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
		/* one that was there when we created it, and has gone since: once that may happen */
		if (tries > 1)
			raise_kept_away("durable.queue");
		if (run_plan(PLAN_CREATE_QUEUE, &params, NEWEST) > 0)
			break;
	}
	end_call(&call);
	PG_RETURN_VOID();
}

/* Changes, or drops, one queue that must be there. */
static void
change_queue(Datum name, LOCKMODE mode, PlanId plan, const Params *params)
{
	Queue		queue;

	lock_queue(name, mode);
	if (run_plan(plan, params, NEWEST) == 0)
	{
		look_queue_or_raise(name, clock_now(), &queue);
		raise_kept_away("durable.queue");
	}
}

/* alter_queue(name, max_concurrency, rate_limit, rate_limit_window) */
Datum
durable_alter_queue(PG_FUNCTION_ARGS)
{
	Params		params = {0};
	Call		call;

	param_limits(&params, fcinfo);
	call = begin_call(fcinfo);
	change_queue(fcinfo->args[0].value, QUEUE_CHANGE, PLAN_ALTER_QUEUE, &params);
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
	change_queue(name, QUEUE_DROP, PLAN_DROP_QUEUE, &params);
	if (run_plan(PLAN_QUEUE_UNFINISHED, &params, NEWEST) > 0)
		raise_refusal(refuse_queue_in_use(TextDatumGetCString(name), DatumGetUUIDP(result_value(0, 0))));
	drop_all_heads(name);
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
	change_queue(fcinfo->args[0].value, QUEUE_CHANGE, PLAN_PAUSE_QUEUE, &params);
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
 * it as it is then.  Returns whether what was looked at before may have changed:
 * if we have waited, or within limits.
 */
static bool
lock_queue_to_claim(Datum name, Queue *queue)
{
	bool		waited = false;

	for (;;)
	{
		bool		limited = is_limited(queue);
		LOCKMODE	mode = limited ? QUEUE_CLAIM_LIMITED : QUEUE_CLAIM;

		if (!try_lock_queue(name, mode))
		{
			lock_queue(name, mode);
			waited = true;
		}
		/* the window of the rate limit is that of now */
		look_queue_or_raise(name, clock_now(), queue);
		if (is_limited(queue) == limited)
			return waited || limited;
		/* altered before we had the lock */
		unlock_queue(name, mode);
		waited = true;
	}
}

static void
count_starts(Datum name, TimestampTz now, uint64 starts)
{
	Params		params = {0};

	param_datum(&params, name);
	param_time(&params, now);
	param_int(&params, (int32) starts);
	if (run_plan(PLAN_COUNT_STARTS, &params, NEWEST) == 0)
		raise_kept_away("durable.queue");
}

/*
 * Locks so many that are due in a lane, late ones or from a position on, and not
 * yet seen.  Returns how many: their rows are the last statement's result.
 */
static uint64
find_due(const Search *search, const Due *due, bool late, const Position *from, int64 most, Datum seen)
{
	Params		params = {0};

	if (late)
	{
		param_id(&params, &due->head_id);
		param_time(&params, search->now);
	}
	else
	{
		param_datum(&params, search->queue);
		param_time(&params, search->now);
		param_int(&params, from->priority);
		param_time(&params, from->run_at);
		param_id(&params, &from->id);
	}
	param_datum(&params, Int64GetDatum(most));
	param_datum(&params, seen);
	return run_plan(late ? PLAN_FIND_DUE_LATE : PLAN_FIND_DUE, &params, NEWEST);
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
 * Claims up to so many that are due in a lane, and returns them and their number:
 * late ones, or those behind the head.  What cannot be taken now does not keep
 * what stands behind it waiting.
 */
static int64
claim_due(FunctionCallInfo fcinfo, const Search *search, const Due *due, bool late, int64 wanted)
{
	/* behind the head, nothing is before the first, unless that is late */
	Position	from = due->is_late ? due->head : due->first;
	Datum		seen = id_array(NULL, 0);
	int64		claimed = 0;
	uint64		found;
	uint64		count = 0;

	while (claimed < wanted && can_lock_trees_of_claim() &&
		   (found = find_due(search, due, late, &from, wanted - claimed, seen)) > 0)
	{
		int			free;
		Datum		ids;
		Params		params = {0};

		/* the next round begins with the last one: there may be very many that cannot be taken */
		if (!late)
		{
			from.run_at = DatumGetTimestampTz(result_value(found - 1, 2));
			from.id = *DatumGetUUIDP(result_value(found - 1, 0));
			seen = id_array(NULL, 0);
		}
		ids = takeable(&seen, &free);
		count = free;
		if (count == 0)
			continue;
		param_datum(&params, ids);
		param(&params, fcinfo->args[1]);
		param_time(&params, search->now);
		/* they are locked as they are to be */
		if (run_plan(PLAN_CLAIM, &params, NEWEST) < count)
			raise_kept_away("durable.workflow");
		raise_fences();
		return_rows(fcinfo);
		SPI_freetuptable(SPI_tuptable);
		cascade_below(CASCADE_FENCE, ids, 0, search->now);
		claimed += (int64) count;
		if (count == found)
			break;
	}
	return claimed;
}

/*
 * claim(queue, executor_id, max_workflows)
 *
 * Nothing is locked where there is nothing to claim, and nothing written unless
 * the way there was far.  Locks the executor's row, the queue, then the
 * workflows' rows, their trees (shared), and the rows of their unfinished inline
 * descendants, all without waiting (takeable), and, for the rate limit, the
 * queue's row.  The time of all that is done is that at which the queue is
 * locked.
 */
Datum
durable_claim(PG_FUNCTION_ARGS)
{
	Datum		name = fcinfo->args[0].value;
	NullableDatum executor_id = fcinfo->args[1];
	int64		wanted;
	TimestampTz now = clock_now();
	Queue		queue;
	int64		registered;
	Search		search;
	Due			due;
	bool		found;
	Call		call;

	require_name(fcinfo->args[0], "queue");
	require_name(executor_id, "executor_id");
	require_not_negative(fcinfo->args[2], "max_workflows");
	wanted = PG_GETARG_INT32(2);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	look_queue_or_raise(name, now, &queue);
	search = begin_search(name, now);
	found = next_due(&search, &due);
	if (found && allowed_by_limits(name, &queue, wanted) > 0)
	{
		bool		changed;
		int64		claimed = 0;

		registered = register_executor(executor_id, a_null());
		changed = lock_queue_to_claim(name, &queue);
		register_again(executor_id, registered);
		now = clock_now();
		wanted = allowed_by_limits(name, &queue, wanted);
		if (changed && wanted > 0)
		{
			search = begin_search(name, now);
			found = next_due(&search, &due);
		}
		search.now = now;
		for (; found && claimed < wanted; found = claimed < wanted && next_due(&search, &due))
		{
			if (due.is_late)
				claimed += claim_due(fcinfo, &search, &due, true, wanted - claimed);
			claimed += claim_due(fcinfo, &search, &due, false, wanted - claimed);
		}
		if (claimed > 0 && !queue.rate_limit.isnull)
			count_starts(name, now, claimed);
	}
	raise_heads(&search);
	end_call(&call);
	return (Datum) 0;
}
