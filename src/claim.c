/*-------------------------------------------------------------------------
 *
 * claim.c
 *	  Claims: an executor takes workflows that are due from a queue.
 *
 * head.c tells where something is due.  Here it is locked and taken, in the
 * order of the queue and within the queue's limits.
 *
 * A claim that finds nothing due locks nothing, and writes nothing but heads (if
 * it had to walk far: head_raise.c).  Otherwise it locks, in this order:
 *
 *	1. its executor's row, as in any call that registers one
 *	2. the queue (lock.h): shared with other claimers; in a queue with limits, one
 *	   claimer at a time, so that what it counts is exact
 *	3. the workflows' rows, and then the locks of their trees (shared) and the rows
 *	   of their unfinished inline descendants, all without waiting: what somebody
 *	   else has locked is passed over (takeable)
 *	4. the queue's row, if it has a rate limit
 *
 * Once a call holds a workflow's row, it waits for nothing but the queue's row,
 * and nobody else writes that while it holds the queue's lock.  So it takes part
 * in no deadlock.
 *
 * Why no workflow is claimed twice: its row is locked while it is PENDING, and
 * stays locked to the end of the transaction.  Why no limit is exceeded: who
 * claims within limits counts and claims while nobody else claims in the queue.
 *
 *-------------------------------------------------------------------------
 */
#include "head_internal.h"
#include "sql.h"
#include "table.h"
#include "wake.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(durable_claim);

typedef struct QueueClaim
{
	FunctionCallInfo fcinfo;	/* returns what is claimed */
	NullableDatum executor_id;
	Queue		queue;			/* as it was seen last */
	Search		search;			/* through its lanes, at the time of the claim */
	Due			due;			/* the lane where the search is */
} QueueClaim;

/* ---- limits -------------------------------------------------------------------------- */

#define COUNT_SLOTS(P) \
	P(queue, TEXTOID)
PARAMETERS(CountSlots, COUNT_SLOTS);

#define SLOTS_LIST(F, C, t) \
	F(t, slots)
ROW(SlotsRow, SLOTS_LIST);

static Statement look_slots = STATEMENT(CountSlots,
	"SELECT count(*) AS slots FROM durable.driven d WHERE d.queue_name = :queue");

/* How many workflows of a queue hold a slot: those that run, and those that were paused while they ran. */
static int64
count_slots(Datum queue)
{
	SlotsRow	row;

	run(&look_slots, &(CountSlots) {.queue = a_value(queue)}, NEWEST);
	fetch(0, 0, &row);
	return DatumGetInt64(row.slots.value);
}

static bool
is_limited(const Queue *queue)
{
	return !queue->max_concurrency.isnull || !queue->rate_limit.isnull;
}

/* How many the limits allow now.  Exact only while no other claimer is in the queue. */
int64
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
 * Locks the queue for a claim, in the mode that its limits ask for, and looks at
 * it as it is then.  Returns whether what was seen before the lock may be out of
 * date: if we have waited, or within limits.
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
		/* read by the present time, since the window of the rate limit may have ended */
		look_queue_or_raise(name, clock_now(), queue);
		if (is_limited(queue) == limited)
			return waited || limited;
		/* altered before we had the lock */
		unlock_queue(name, mode);
		waited = true;
	}
}

/* ---- what was never claimed ------------------------------------------------------------- */

/* The columns of claim's result. */
#define CLAIMED_LIST(F, C, t) \
	F(t, id) C(t, name) C(t, handler) C(t, input) C(t, lease) C(t, recovery_count) C(t, created_at)
ROW(ClaimedRow, CLAIMED_LIST);

#define CLAIM_NEW(P) \
	P(id, UUIDOID) \
	P(queue, TEXTOID) \
	P(priority, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(ClaimNew, CLAIM_NEW);

/* Parameters of claim_new, and the row that its fast path has claimed; the statement leaves the rest alone. */
typedef struct FastClaim
{
	ClaimNew	params;
	bool		done;
	bool		has_changed;	/* it does not wait at that place any more, or somebody is changing it */
	ClaimedRow	row;
} FastClaim;

#define FETCH_CLAIMED(t, name) claim->row.name = column_of_row(look, workflow_##name);

/* Whether the workflow that was found waits at the place at which it was seen. */
static bool
waits_there(const Look *look, const ClaimNew *p)
{
	TaskStatus	claimed;

	return look->row && workflow_transition(EVENT_CLAIM, status_of_row(look, workflow_status), &claimed) &&
		same_text(column_of_row(look, workflow_queue_name), p->queue) &&
		int_of_row(look, workflow_priority) == DatumGetInt32(p->priority.value) &&
		DatumGetTimestampTz(column_of_row(look, workflow_run_at).value) == DatumGetTimestampTz(p->run_at.value);
}

/* Claims the row that was found, if nobody has locked it. */
static bool
claim_row(Look *look, FastClaim *claim)
{
	const ClaimNew *p = &claim->params;
	Writing		writing;
	bool		done;

	begin_writing(&writing, look);
	row_as_seen(&writing, look);
	set_label(&writing, workflow_status, status_label(RUNNING));
	set_int(&writing, workflow_lease, 1);
	set(&writing, workflow_executor_id, p->executor_id);
	set(&writing, workflow_started_at, p->now);
	set(&writing, workflow_deadline,
		clock_deadline(DatumGetTimestampTz(p->now.value), column_of_row(look, workflow_timeout)));
	done = update_row(&writing, look);
	end_writing(&writing);
	if (done)
	{
		keep_row(look);
		CLAIMED_LIST(FETCH_CLAIMED, FETCH_CLAIMED, )
		claim->row.lease = a_value(Int32GetDatum(1));
	}
	return done;
}

static int64
fast_claim_new(const void *params)
{
	FastClaim  *claim = (FastClaim *) params;
	Look		look;

	if (!begin_look(&look, &workflow_by_id, RowExclusiveLock, (Key[]) {IS_ID(workflow_id, claim->params.id)}, 1))
		return NOT_FAST;
	claim->has_changed = !waits_there(&look, &claim->params);
	if (!claim->has_changed && column_of_row(&look, workflow_parent_id).isnull && int_of_row(&look, workflow_lease) == 0)
	{
		claim->done = claim_row(&look, claim);
		claim->has_changed = !claim->done;
	}
	end_look(&look);
	return claim->done ? 1 : 0;
}

/*
 * Claims a root that waits at that place and never ran: so it has no children, and
 * nobody has recorded anything in it.
 */
static Statement claim_new = STATEMENT(ClaimNew,
	"WITH free AS MATERIALIZED ("
	"  SELECT w.id FROM durable.workflow w "
	"  WHERE w.id = :id AND w.queue_name = :queue AND w.priority = :priority AND w.run_at = :run_at"
	"    AND w.parent_id IS NULL AND w.lease = 0 AND " CHECKED("w.status = ANY {workflow from CLAIM}")
	"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
	"UPDATE durable.workflow w SET status = {workflow to CLAIM}, lease = 1, executor_id = :executor_id,"
	"  started_at = :now, deadline = :now + w.timeout "
	"FROM free f WHERE w.id = f.id "
	"RETURNING " COLUMNS(CLAIMED_LIST, "w."),
	.fast = fast_claim_new);

/*
 * Claims the workflow at a position, if that is a root that never ran.  If not,
 * *has_changed tells whether it is to be passed over: it is locked, or has gone.
 */
static bool
claim_at(const QueueClaim *claim, const Position *at, bool *has_changed)
{
	FastClaim	params = {
		.params = {
			.id = an_id(&at->id),.queue = a_value(claim->search.queue),.priority = an_int(priority_of_rank(at->rank)),
			.run_at = a_time(at->run_at),.executor_id = claim->executor_id,.now = a_time(claim->search.now)
		}
	};

	*has_changed = true;
	if (!try_lock_tree_of_claim(&at->id))
		return false;
	if (run(&claim_new, &params, NEWEST) == 0)
	{
		unlock_tree_of_claim(&at->id);
		*has_changed = params.has_changed;
		return false;
	}
	if (!params.done)
		fetch(0, 0, &params.row);
	return_row(claim->fcinfo, (NullableDatum *) &params.row);
	if (!params.done)
		SPI_freetuptable(SPI_tuptable);
	remember_tree(&at->id, &at->id);
	expect_new_step(&at->id, 0);
	return true;
}

/*
 * Claims up to so many that are due in a lane, from a position on, one after the
 * other, as long as they are roots that never ran.  Returns their number; *from is
 * where to go on, *is_done whether there is nothing more to claim.
 */
static int64
claim_new_ones(const QueueClaim *claim, Position *from, int64 wanted, bool *is_done)
{
	int64		claimed = 0;
	bool		has_changed = true;
	bool		found = true;
	Position	at;
	Walk		walk;

	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &waiting_places, GetActiveSnapshot(), claim->search.queue, from);
	while (claimed < wanted && has_changed && can_lock_trees_of_claim() && (found = next_place(&walk, &at) && at.run_at <= claim->search.now))
	{
		if (compare_positions(&at, from) < 0)
			continue;
		*from = at;
		if (claim_at(claim, &at, &has_changed))
			claimed++;
	}
	end_walk(&walk);
	PopActiveSnapshot();
	*is_done = claimed == wanted || !found;
	return claimed;
}

/* ---- finding what is due ---------------------------------------------------------------- */

/*
 * Both statements lock what they find, without waiting, and return what takeable
 * reads first.  seen are workflows that the claim has decided about already.
 */

#define FIND_DUE(P) \
	P(queue, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(turn, INT8OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(id, UUIDOID) \
	P(most, INT8OID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(FindDue, FIND_DUE);

#define FOUND_LIST(F, C, t) \
	F(t, id) C(t, root_id) C(t, run_at)
ROW(FoundRow, FOUND_LIST);

/* In a lane, from a position on, in the order of the register. */
static Statement find_in_lane = STATEMENT(FindDue,
	"SELECT " COLUMNS(FOUND_LIST, "w.") " FROM durable.pending p JOIN durable.workflow w ON w.id = p.id "
	"WHERE p.queue_name = :queue AND p.turn = :turn AND p.run_at <= :now AND (p.run_at, p.id) >= (:run_at, :id)"
	"  AND NOT p.id = ANY (:seen) AND " CHECKED("w.status = 'PENDING' AND w.run_at = p.run_at") " "
	"ORDER BY p.run_at, p.id LIMIT :most "
	"FOR NO KEY UPDATE OF w SKIP LOCKED");

#define FIND_DUE_LATE(P) \
	P(head_id, UUIDOID) \
	P(now, TIMESTAMPTZOID) \
	P(most, INT8OID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(FindDueLate, FIND_DUE_LATE);

/* On the list of a head, where some may be twice. */
static Statement find_on_list = STATEMENT(FindDueLate,
	"SELECT " COLUMNS(FOUND_LIST, "w.") " FROM"
	"  (SELECT DISTINCT q.run_at, q.workflow_id FROM durable.queue_late q"
	"   WHERE q.head_id = :head_id AND q.run_at <= :now) l "
	"JOIN durable.workflow w ON w.id = l.workflow_id "
	"WHERE " CHECKED("w.status = 'PENDING' AND w.run_at = l.run_at")
	"  AND NOT w.id = ANY (:seen) "
	"ORDER BY l.run_at, l.workflow_id LIMIT :most "
	"FOR NO KEY UPDATE OF w SKIP LOCKED");

/*
 * Locks workflows that are due in a lane and not yet seen, at most so many: late
 * ones, or those from a position on.  Returns how many.  Their rows are the last
 * statement's result.
 */
static uint64
find_due(const QueueClaim *claim, bool late, const Position *from, int64 most, Datum seen)
{
	const Search *search = &claim->search;

	if (late)
		return run(&find_on_list, &(FindDueLate)
				   {
					   .head_id = an_id(&claim->due.head_id),.now = a_time(search->now),
					   .most = a_bigint(most),.seen = a_value(seen)
				   }, NEWEST);
	return run(&find_in_lane, &(FindDue)
			   {
				   .queue = a_value(search->queue),.now = a_time(search->now),
				   .turn = a_bigint(turn_of_rank(from->rank)),.run_at = a_time(from->run_at),.id = an_id(&from->id),
				   .most = a_bigint(most),.seen = a_value(seen)
			   }, NEWEST);
}

/* ---- claiming ------------------------------------------------------------------------------ */

#define CLAIM_WORKFLOWS(P) \
	P(ids, UUIDARRAYOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(ClaimWorkflows, CLAIM_WORKFLOWS);

static Statement claim_workflows = STATEMENT(ClaimWorkflows,
	"WITH claimed AS ("
	"  UPDATE durable.workflow w SET status = {workflow to CLAIM}, lease = w.lease + 1, executor_id = :executor_id,"
	"    started_at = :now, deadline = :now + w.timeout"
	"  WHERE w.id = ANY (:ids) AND " CHECKED("w.status = ANY {workflow from CLAIM}")
	"  RETURNING " COLUMNS(CLAIMED_LIST, "w.") ", w.priority, w.run_at) "
	"SELECT " COLUMNS(CLAIMED_LIST, "c.") " FROM claimed c "
	"ORDER BY c.priority DESC, c.run_at, c.id");

/*
 * Tells the fence that the workflows that were claimed have a new lease.  It need
 * not know of those that have never run: nobody has recorded anything under lease 0.
 */
static void
raise_fences(void)
{
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		ClaimedRow	claimed;

		fetch(row, 0, &claimed);
		if (DatumGetInt32(claimed.lease.value) > 1)
			raised_lease_of(DatumGetUUIDP(claimed.id.value));
	}
}

/* Claims those that were found and locked, and returns their rows. */
static void
claim_found(const QueueClaim *claim, Datum ids, int count)
{
	ClaimWorkflows params = {
		.ids = a_value(ids),.executor_id = claim->executor_id,.now = a_time(claim->search.now)
	};

	/* their rows are locked as they are to be changed */
	if (run(&claim_workflows, &params, NEWEST) < count)
		raise_kept_away("durable.workflow");
	raise_fences();
	return_rows(claim->fcinfo);
	SPI_freetuptable(SPI_tuptable);
	cascade_below(CASCADE_FENCE, ids, 0, claim->search.now);
}

/*
 * Claims up to so many that are due in a lane: late ones, or those from the head
 * on.  Returns their number.  A workflow that cannot be taken now is passed over,
 * so it does not hold up those behind it.
 */
static int64
claim_due(const QueueClaim *claim, bool late, int64 wanted)
{
	/* Nothing waits before the first that is due.  If that is a late one, it tells nothing about the lane. */
	Position	from = claim->due.is_late ? claim->due.head : claim->due.first;
	Datum		seen;
	int64		claimed = 0;
	int64		page;
	uint64		found;
	bool		is_done = false;

	if (!late)
		claimed = claim_new_ones(claim, &from, wanted, &is_done);
	if (is_done)
		return claimed;
	seen = id_array(NULL, 0);
	page = wanted - claimed;

	while (claimed < wanted && can_lock_trees_of_claim() &&
		   (found = find_due(claim, late, &from, page, seen)) > 0)
	{
		int			count;
		Datum		ids;

		/* In a lane the next round begins with the last one. */
		if (!late)
		{
			FoundRow	last;

			fetch(found - 1, 0, &last);
			from.run_at = DatumGetTimestampTz(last.run_at.value);
			from.id = *DatumGetUUIDP(last.id.value);
			seen = id_array(NULL, 0);
		}
		ids = takeable(&seen, wanted - claimed, &count);
		if (count > 0)
			claim_found(claim, ids, count);
		claimed += count;
		page = late ? next_page(page, wanted - claimed, count) : wanted - claimed;
		/* where none had to be passed over, there are no others to take in their place */
		if (count == found)
			break;
	}
	return claimed;
}

/* Claims up to so many, in the lane where the search is and those below.  Returns their number. */
static int64
claim_lanes(QueueClaim *claim, int64 wanted)
{
	int64		claimed = 0;

	do
	{
		if (claim->due.is_late)
			claimed += claim_due(claim, true, wanted - claimed);
		claimed += claim_due(claim, false, wanted - claimed);
	} while (claimed < wanted && next_due(&claim->search, &claim->due));
	return claimed;
}

/*
 * Claims up to so many, when a look without locks has found a lane in which
 * something is due; returns their number.  The time of all that is done is that at
 * which the queue was locked.
 */
static int64
claim_locked(QueueClaim *claim, int64 wanted)
{
	Datum		name = claim->search.queue;
	int64		registered = register_executor(claim->executor_id, a_null());
	bool		out_of_date = lock_queue_to_claim(name, &claim->queue);	/* what the search has found */
	TimestampTz now;
	int64		claimed;

	register_again(claim->executor_id, registered);
	claim->search.now = now = clock_now();
	wanted = allowed_by_limits(name, &claim->queue, wanted);
	if (wanted == 0)
		return 0;
	if (out_of_date)
	{
		claim->search = begin_search(name, now);
		if (!next_due(&claim->search, &claim->due))
			return 0;
	}
	claimed = claim_lanes(claim, wanted);
	if (claimed > 0 && !claim->queue.rate_limit.isnull)
		count_starts(name, now, claimed);
	return claimed;
}

/* Claims up to so many workflows of a queue. */
static void
claim_from_queue(QueueClaim *claim, Datum name, int64 wanted)
{
	TimestampTz now = clock_now();
	int64		claimed = 0;

	look_queue_or_raise(name, now, &claim->queue);
	claim->search = begin_search(name, now);
	if (next_due(&claim->search, &claim->due) && allowed_by_limits(name, &claim->queue, wanted) > 0)
		claimed = claim_locked(claim, wanted);
	note_claim(name, claim->executor_id.value, claimed);
	raise_heads(&claim->search);
}

/* ---- from SQL ------------------------------------------------------------------------------ */

/* claim(queue, executor_id, max_workflows) */
Datum
durable_claim(PG_FUNCTION_ARGS)
{
	QueueClaim	claim = {.fcinfo = fcinfo,.executor_id = fcinfo->args[1]};
	Call		call;

	require_name(fcinfo->args[0], "queue");
	require_name(claim.executor_id, "executor_id");
	require_not_negative(fcinfo->args[2], "max_workflows");

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	claim_from_queue(&claim, fcinfo->args[0].value, PG_GETARG_INT32(2));
	end_call(&call);
	return (Datum) 0;
}
