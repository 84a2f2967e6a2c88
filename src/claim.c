/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  Claims: an executor takes workflows that are due from a queue.
 *
 * head.c tells where something is due.  Here the queue is locked, and what its limits
 * allow is counted; claim_lanes.c chooses among lanes where there are several; and
 * claim_take.c takes what is due in one of them.
 *
 * A claim that finds nothing due locks nothing, and writes nothing but heads (if
 * it had to walk far: head_raise.c).  Otherwise it locks, in this order:
 *
 *	1. its executor's row, as in any call that registers one
 *	2. the queue (lock.h): shared with other claimers; in a queue with limits, or with
 *	   lanes of keys, one claimer at a time, so that what it counts is exact
 *	3. the workflows' rows, and then the locks of their trees (shared) and the rows
 *	   of their unfinished inline descendants, all without waiting: what somebody
 *	   else has locked is passed over (takeable)
 *	4. what is kept of a queue with limits (limit.c)
 *
 * Once a call holds a workflow's row, it waits for nothing: what is kept of the
 * queue nobody else writes while it holds the queue's lock.  So it takes part in no
 * deadlock.  A claim from several queues waits for the lock of one at most,
 * the first, and goes on to those that are free.
 *
 * A claim looks in a snapshot.  All that it sees there may be taken by others whose own
 * workflows came later; then it looks anew.  So it answers none only if it meets nothing
 * but what it met just before, and cannot have.
 *
 * Why no workflow is claimed twice: its row is locked while it is PENDING, and
 * stays locked to the end of the transaction.  Why no limit is exceeded: who
 * claims within limits counts and claims while nobody else claims in the queue.
 *
 *-------------------------------------------------------------------------
 */
#include "claim_internal.h"
#include "places.h"
#include "suspend.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(durable_claim);
PG_FUNCTION_INFO_V1(durable_claim_from);

/* ---- the queue's lock ------------------------------------------------------------------- */

/* Whether claimers come one after the other: where they count, and where they choose among lanes. */
static bool
claims_alone(Datum name, const Queue *queue)
{
	return has_limits(queue) || has_tickets(name);
}

/* The rank of the lane where the search is. */
static int64
rank_of_lane(const QueueClaim *claim)
{
	return claim->due.is_late ? claim->due.head.rank : claim->due.first.rank;
}

/* Goes on to the next lane in which something is due that the rate limit allows. */
static bool
next_allowed(QueueClaim *claim)
{
	while (next_due(&claim->search, &claim->due))
		if (claim->starts_left > 0 || is_suspended_rank(rank_of_lane(claim)))
			return true;
	return false;
}

/*
 * Locks the queue for a claim, shared or alone, and looks at it as it is then;
 * false if another queue is locked, and this one is not free.  *out_of_date tells
 * whether what was seen before the lock may be so: if we have waited, or claim
 * alone.
 */
static bool
lock_queue_to_claim(QueueClaim *claim, bool *out_of_date)
{
	Datum		name = claim->search.queue;
	bool		waited = false;

	for (;;)
	{
		bool		alone = claims_alone(name, &claim->queue);
		LOCKMODE	mode = alone ? QUEUE_CLAIM_ALONE : QUEUE_CLAIM;

		if (!try_lock_queue(name, mode))
		{
			if (claim->has_locked)
				return false;
			lock_queue(name, mode);
			waited = true;
		}
		/* read by the present time, since the window of the rate limit may have ended */
		look_queue_or_raise(name, &claim->queue);
		if (claims_alone(name, &claim->queue) == alone)
		{
			claim->has_locked = true;
			*out_of_date = waited || alone;
			return true;
		}
		/* altered before we had the lock, or the first came to wait under a key */
		unlock_queue(name, mode);
		waited = true;
	}
}

/* ---- a queue ---------------------------------------------------------------------------- */

/* Claims up to so many, in the lane where the search is and those of the ranks below.  Returns their number. */
static int64
claim_by_rank(QueueClaim *claim, int64 wanted)
{
	int64		claimed = 0;

	do
	{
		/* Nothing waits before the first that is due.  If that is a late one, it tells nothing about the lane. */
		Position	from = claim->due.is_late ? claim->due.head : claim->due.first;

		if (claim->due.is_late)
		{
			int64		late = claim_in_lane(claim, &claim->due, true, &from, wanted - claimed);

			if (late == 0)
				note_passed(&claim->search, &claim->due.first.id);
			claimed += late;
		}
		claimed += claim_in_lane(claim, &claim->due, false, &from, wanted - claimed);
	} while (claimed < wanted && next_allowed(claim));
	return claimed;
}

/* What is kept of the queue, now that nobody else claims.  If nobody has claimed since, the slots are not counted again. */
static void
look_counts_again(QueueClaim *claim)
{
	Counts		before = claim->counts;

	if (!has_limits(&claim->queue))
		return;
	look_counts(claim->search.queue, &claim->queue, claim->search.now, &claim->counts);
	if (claim->counts.n == before.n)
	{
		claim->counts.free = Max(claim->counts.free, before.free);
		claim->counts.slots_from = before.slots_from;
		claim->counts.early = before.early;
	}
}

/*
 * Claims up to so many, when a look without locks has found a lane in which
 * something is due.  The time of all that is done is that at which the queue was
 * locked, where limits are counted by it.  Returns their number.
 */
static int64
claim_locked(QueueClaim *claim, int64 wanted)
{
	Datum		name = claim->search.queue;
	bool		out_of_date;	/* what the search has found */
	int64		registered = 0;
	int64		claimed;

	/* once for all queues: its row is locked before anything else */
	if (!claim->is_registered)
		registered = register_claimer(claim->executor_id, a_null(), claim->app_version);
	claim->is_registered = true;
	if (!lock_queue_to_claim(claim, &out_of_date))
		return 0;
	register_again(claim->executor_id, registered);
	claim->search.now = clock_now();
	claim->started = 0;
	look_counts_again(claim);
	claim->starts_left = starts_left(&claim->queue, &claim->counts);
	wanted = free_slots(name, &claim->queue, &claim->counts, wanted);
	if (wanted == 0)
		return 0;
	if (out_of_date)
		claim->search = begin_search(name, claim->search.now, true);
	if (claim->queue.fair || has_tickets(name))
		claimed = claim_by_lanes(claim, wanted);
	else if (out_of_date && !next_allowed(claim))
		return 0;
	else
		claimed = claim_by_rank(claim, wanted);
	if (claimed > 0 && has_limits(&claim->queue))
		write_counts(name, &claim->queue, &claim->counts, claim->search.now, claimed, claim->started);
	return claimed;
}

/* Acts on the notes of what has ended elsewhere, under the queue's lock, if that can be had. */
static void
act_on_notes_in(QueueClaim *claim)
{
	int64		registered = 0;
	bool		out_of_date;

	if (!claim->is_registered)
		registered = register_claimer(claim->executor_id, a_null(), claim->app_version);
	claim->is_registered = true;
	if (!lock_queue_to_claim(claim, &out_of_date))
		return;
	register_again(claim->executor_id, registered);
	act_on_notes();
}

/* Claims up to so many workflows of a queue, by what a look without locks finds due by now.  Returns their number. */
static int64
try_claim(QueueClaim *claim, Datum name, int64 wanted)
{
	claim->search = begin_search(name, clock_now(), true);
	claim->starts_left = starts_left(&claim->queue, &claim->counts);
	if ((next_allowed(claim) || may_claim_under_keys(claim)) &&
		free_slots(name, &claim->queue, &claim->counts, wanted) > 0)
		return claim_locked(claim, wanted);
	return 0;
}

/*
 * The same, and tries again where others have taken all that was due in its snapshot: what
 * has come since is not in that.  It ends when a try meets the same as the one before, or
 * if the limits allow none.
 */
static int64
claim_from_queue(QueueClaim *claim, Datum name, int64 wanted)
{
	TimestampTz now = clock_now();
	int64		claimed;
	uint64		passed = 0;

	look_queue_or_raise(name, &claim->queue);
	claim->counts = (Counts) {.window_start = a_null(),.early = a_null()};
	if (has_limits(&claim->queue))
		look_counts(name, &claim->queue, now, &claim->counts);
	if (are_there_notes())
	{
		claim->search = begin_search(name, now, true);
		act_on_notes_in(claim);
	}
	while ((claimed = try_claim(claim, name, wanted)) == 0 && claim->search.passed != passed &&
		   free_slots(name, &claim->queue, &claim->counts, wanted) > 0)
		passed = claim->search.passed;
	note_claim(name, claim->executor_id.value, claimed);
	raise_heads(&claim->search);
	return claimed;
}

/* ---- from SQL ------------------------------------------------------------------------------ */

/* Reads and checks the arguments from executor_id on. */
static QueueClaim
claim_args(FunctionCallInfo fcinfo)
{
	QueueClaim	claim = {
		.fcinfo = fcinfo,.executor_id = fcinfo->args[1],.handlers = fcinfo->args[3],.app_version = fcinfo->args[4]
	};

	require_name(claim.executor_id, "executor_id");
	require_not_negative(fcinfo->args[2], "max_workflows");
	check_name(claim.app_version, "app_version");
	claim.handler_names = elements_of(claim.handlers, TEXTOID, 0);
	return claim;
}

/* claim(queue, executor_id, max_workflows, handlers, app_version) */
Datum
durable_claim(PG_FUNCTION_ARGS)
{
	QueueClaim	claim;
	Call		call;

	require_name(fcinfo->args[0], "queue");
	claim = claim_args(fcinfo);

	begin_rows_of(fcinfo, 8);
	call = begin_call(fcinfo);
	(void) claim_from_queue(&claim, fcinfo->args[0].value, PG_GETARG_INT32(2));
	end_call(&call);
	return (Datum) 0;
}

/*
 * claim_from(queues, executor_id, max_workflows, handlers, app_version)
 *
 * Waits for the lock of the first queue only in which something is due: it holds no
 * other then.  Another queue is passed over if its lock is not free at once.
 */
Datum
durable_claim_from(PG_FUNCTION_ARGS)
{
	int			count = require_batch(fcinfo->args[0], "queues");
	Elements	queues = elements_of(fcinfo->args[0], TEXTOID, count);
	QueueClaim	claim;
	int64		wanted;
	Call		call;

	for (int i = 0; i < count; i++)
		require_name(element_of(&queues, i), "queues");
	claim = claim_args(fcinfo);
	wanted = PG_GETARG_INT32(2);

	begin_rows_of(fcinfo, 9);
	call = begin_call(fcinfo);
	for (int i = 0; i < count && (wanted > 0 || i == 0); i++)
		wanted -= claim_from_queue(&claim, queues.values[i], wanted);
	end_call(&call);
	return (Datum) 0;
}
