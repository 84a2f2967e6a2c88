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
 * Why no workflow is claimed twice: its row is locked while it is PENDING, and
 * stays locked to the end of the transaction.  Why no limit is exceeded: who
 * claims within limits counts and claims while nobody else claims in the queue.
 *
 *-------------------------------------------------------------------------
 */
#include "claim_internal.h"
#include "places.h"
#include "register.h"
#include "sql.h"
#include "suspend.h"
#include "table.h"
#include "wake.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(durable_claim);
PG_FUNCTION_INFO_V1(durable_claim_from);

/* ---- the queue's lock ------------------------------------------------------------------- */

/* Whether claimers come one after the other: where they count, and where they choose among lanes. */
static bool
claims_alone(Datum name, const Queue *queue)
{
	return has_limits(queue) || has_tickets(name);
}

/* The number of the slot that the next workflow takes; NULL, which costs its row nothing, where none are counted. */
static NullableDatum
next_slot(const QueueClaim *claim)
{
	return has_slots(&claim->queue) ? a_bigint(claim->counts.next_slot) : a_null();
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
		look_queue_or_raise(name, clock_now(), &claim->queue);
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

/* ---- what was never claimed ------------------------------------------------------------- */

/* The columns of claim_from's result, and, but for the last, of claim's. */
#define CLAIMED_LIST(F, C, t) \
	F(t, id) C(t, name) C(t, handler) C(t, input) C(t, lease) C(t, recovery_count) C(t, created_at) \
	C(t, scheduled_for) C(t, queue_name)
ROW(ClaimedRow, CLAIMED_LIST);

#define CLAIM_NEW(P) \
	P(id, UUIDOID) \
	P(queue, TEXTOID) \
	P(priority, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(key, TEXTOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(slot, INT8OID) \
	P(handlers, TEXTARRAYOID) \
	P(app_version, TEXTOID)
PARAMETERS(ClaimNew, CLAIM_NEW);

/* Parameters of claim_new, and the row that its fast path has claimed; the statement leaves the rest alone. */
typedef struct FastClaim
{
	ClaimNew	params;
	const QueueClaim *claim;
	bool		done;
	bool		passes_over;	/* it does not wait at that place any more, or is not wanted, or somebody is changing it */
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
		same_text(column_of_row(look, workflow_concurrency_key), p->key) &&
		int_of_row(look, workflow_priority) == DatumGetInt32(p->priority.value) &&
		DatumGetTimestampTz(column_of_row(look, workflow_run_at).value) == DatumGetTimestampTz(p->run_at.value);
}

/* Whether the caller has asked for such workflows. */
static bool
is_wanted(const Look *look, const QueueClaim *claim)
{
	NullableDatum handler = column_of_row(look, workflow_handler);
	NullableDatum version = column_of_row(look, workflow_app_version);

	if (!claim->app_version.isnull && !version.isnull && !same_text(version, claim->app_version))
		return false;
	for (int i = 0; !claim->handlers.isnull && i < claim->handler_names.count; i++)
		if (!handler.isnull && !claim->handler_names.nulls[i] && same_text(handler, element_of(&claim->handler_names, i)))
			return true;
	return claim->handlers.isnull;
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
	set(&writing, workflow_slot, p->slot);
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

	if (XactReadOnly ||
		!begin_look(&look, &workflow_by_id, RowExclusiveLock, (Key[]) {IS_ID(workflow_id, claim->params.id)}, 1))
		return NOT_FAST;
	claim->passes_over = !waits_there(&look, &claim->params) || !is_wanted(&look, claim->claim);
	if (!claim->passes_over && column_of_row(&look, workflow_parent_id).isnull && int_of_row(&look, workflow_lease) == 0)
	{
		claim->done = claim_row(&look, claim);
		claim->passes_over = !claim->done;
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
	"    AND w.concurrency_key IS NOT DISTINCT FROM :key"
	"    AND w.parent_id IS NULL AND w.lease = 0 AND " CHECKED("w.status = ANY {workflow from CLAIM}") " AND " WANTED
	"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
	"UPDATE durable.workflow w SET status = {workflow to CLAIM}, lease = 1, executor_id = :executor_id,"
	"  started_at = :now, deadline = :now + w.timeout, slot = :slot "
	"FROM free f WHERE w.id = f.id "
	"RETURNING " COLUMNS(CLAIMED_LIST, "w."),
	.fast = fast_claim_new);

/* Returns a row, in as many columns as the result has. */
static void
return_claimed(FunctionCallInfo fcinfo, const ClaimedRow *row)
{
	NullableDatum columns[32];

	for (int i = 0; i < lengthof(columns); i++)
		columns[i] = a_null();
	memcpy(columns, row, sizeof(*row));
	return_row(fcinfo, columns);
}

/* The key of a lane, NULL if it has none. */
static NullableDatum
key_of_lane(const Position *at)
{
	if (at->key == 0 || VARSIZE_ANY_EXHDR(DatumGetTextPP(at->key)) == 0)
		return a_null();
	return a_value(at->key);
}

/*
 * Claims the workflow at a position, if that is a root that never ran.  If not,
 * *passes_over tells whether that is one that cannot be had, or is not wanted.
 */
static bool
claim_at(QueueClaim *claim, const Position *at, bool *passes_over)
{
	FastClaim	params = {
		.params = {
			.id = an_id(&at->id),.queue = a_value(claim->search.queue),.priority = an_int(priority_of_rank(at->rank)),
			.run_at = a_time(at->run_at),.key = key_of_lane(at),.executor_id = claim->executor_id,.now = a_time(claim->search.now),
			.slot = next_slot(claim),.handlers = claim->handlers,.app_version = claim->app_version
		},
		.claim = claim
	};

	*passes_over = true;
	if (!try_lock_tree_of_claim(&at->id))
		return false;
	note_waiting(&at->id, &at->entry);
	if (run(&claim_new, &params, NEWEST) == 0)
	{
		unlock_tree_of_claim(&at->id);
		*passes_over = params.passes_over;
		return false;
	}
	if (!params.done)
		fetch(0, 0, &params.row);
	claim->counts.next_slot++;
	return_claimed(claim->fcinfo, &params.row);
	if (!params.done)
		SPI_freetuptable(SPI_tuptable);
	remember_tree(&at->id, &at->id);
	expect_new_step(&at->id, 0);
	return true;
}

/*
 * Claims up to so many that are due in a lane, from a position on, one after the
 * other, as long as they are roots that never ran.  Returns their number; *from is
 * where to go on, *is_done whether there is nothing more to claim.  What the search
 * has found first is claimed without another walk.
 */
static int64
claim_new_ones(QueueClaim *claim, const Due *due, Position *from, int64 wanted, bool *is_done)
{
	int64		claimed = 0;
	bool		passes_over = true;
	bool		found = true;
	bool		tried = !due->is_late && compare_positions(from, &due->first) == 0 && can_lock_trees_of_claim();
	Position	at;
	Walk		walk;

	if (tried && claim_at(claim, from, &passes_over))
		claimed++;
	*is_done = claimed == wanted;
	if (*is_done || !passes_over)
		return claimed;

	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &waiting_places, GetActiveSnapshot(), claim->search.queue, from);
	while (claimed < wanted && passes_over && can_lock_trees_of_claim() && (found = next_place(&walk, &at) && at.run_at <= claim->search.now))
	{
		if (compare_positions(&at, from) < (tried ? 1 : 0) || !is_settled(&walk))
			continue;
		*from = at;
		tried = false;
		if (claim_at(claim, &at, &passes_over))
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
	P(key, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(turn, INT8OID) \
	P(rank, INT8OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(id, UUIDOID) \
	P(most, INT8OID) \
	P(handlers, TEXTARRAYOID) \
	P(app_version, TEXTOID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(FindDue, FIND_DUE);

#define FOUND_LIST(F, C, t) \
	F(t, id) C(t, root_id) C(t, run_at)
ROW(FoundRow, FOUND_LIST);

/* In a lane, from a position on, in the order of the register. */
static Statement find_in_lane = STATEMENT(FindDue,
	"SELECT " COLUMNS(FOUND_LIST, "w.") " FROM durable.pending p JOIN durable.workflow w ON w.id = p.id "
	"WHERE p.queue_name = :queue AND p.key = :key AND p.turn = :turn AND p.run_at <= :now AND (p.run_at, p.id) >= (:run_at, :id)"
	"  AND NOT p.id = ANY (:seen) AND " CHECKED("w.status = 'PENDING' AND w.run_at = p.run_at AND w.queue_name = :queue"
	"    AND COALESCE(w.concurrency_key, '') = :key AND " RANK " = :rank")
	"  AND " WANTED " "
	"ORDER BY p.run_at, p.id LIMIT :most "
	"FOR NO KEY UPDATE OF w SKIP LOCKED");

#define FIND_DUE_LATE(P) \
	P(head_id, UUIDOID) \
	P(queue, TEXTOID) \
	P(rank, INT8OID) \
	P(now, TIMESTAMPTZOID) \
	P(most, INT8OID) \
	P(handlers, TEXTARRAYOID) \
	P(app_version, TEXTOID) \
	P(seen, UUIDARRAYOID)
PARAMETERS(FindDueLate, FIND_DUE_LATE);

/* On the list of a head, where some may be twice. */
static Statement find_on_list = STATEMENT(FindDueLate,
	"SELECT " COLUMNS(FOUND_LIST, "w.") " FROM"
	"  (SELECT DISTINCT q.run_at, q.workflow_id FROM durable.queue_late q"
	"   WHERE q.head_id = :head_id AND q.run_at <= :now) l "
	"JOIN durable.workflow w ON w.id = l.workflow_id "
	"WHERE " CHECKED("w.status = 'PENDING' AND w.run_at = l.run_at AND w.queue_name = :queue"
	"  AND w.concurrency_key IS NULL AND " RANK " = :rank")
	"  AND NOT w.id = ANY (:seen) AND " WANTED " "
	"ORDER BY l.run_at, l.workflow_id LIMIT :most "
	"FOR NO KEY UPDATE OF w SKIP LOCKED");

/*
 * Locks workflows that are due in a lane and not yet seen, at most so many: late
 * ones, or those from a position on.  Returns how many.  Their rows are the last
 * statement's result.
 */
static uint64
find_due(const QueueClaim *claim, const Due *due, bool late, const Position *from, int64 most, Datum seen)
{
	const Search *search = &claim->search;

	if (late)
		return run(&find_on_list, &(FindDueLate)
				   {
					   .head_id = an_id(&due->head_id),.queue = a_value(search->queue),
					   .rank = a_bigint(from->rank),.now = a_time(search->now),
					   .most = a_bigint(most),
					   .handlers = claim->handlers,.app_version = claim->app_version,.seen = a_value(seen)
				   }, NEWEST);
	return run(&find_in_lane, &(FindDue)
			   {
				   .queue = a_value(search->queue),.key = a_value(from->key ? from->key : CStringGetTextDatum("")),
				   .now = a_time(search->now),.turn = a_bigint(turn_of_rank(from->rank)),
				   .rank = a_bigint(from->rank),.run_at = a_time(from->run_at),
				   .id = an_id(&from->id),.most = a_bigint(most),
					   .handlers = claim->handlers,.app_version = claim->app_version,.seen = a_value(seen)
			   }, NEWEST);
}

/* ---- claiming ------------------------------------------------------------------------------ */

#define CLAIM_WORKFLOWS(P) \
	P(ids, UUIDARRAYOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(slot, INT8OID)
PARAMETERS(ClaimWorkflows, CLAIM_WORKFLOWS);

static Statement claim_workflows = STATEMENT(ClaimWorkflows,
	"WITH claimed AS ("
	"  UPDATE durable.workflow w SET status = {workflow to CLAIM}, lease = w.lease + 1, executor_id = :executor_id,"
	"    " TAKEN_UP("true") ", slot = :slot + b.n - 1"
	"  FROM unnest(:ids) WITH ORDINALITY b (id, n)"
	"  WHERE w.id = b.id AND " CHECKED("w.status = ANY {workflow from CLAIM}")
	"  RETURNING " COLUMNS(CLAIMED_LIST, "w.") ", b.n) "
	"SELECT " COLUMNS(CLAIMED_LIST, "c.") " FROM claimed c ORDER BY c.n");

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
claim_found(QueueClaim *claim, int64 rank, Datum ids, int count)
{
	ClaimWorkflows params = {
		.ids = a_value(ids),.executor_id = claim->executor_id,.now = a_time(claim->search.now),
		.slot = next_slot(claim)
	};

	/* their rows are locked as they are to be changed */
	if (run(&claim_workflows, &params, NEWEST) < count)
		raise_kept_away("durable.workflow");
	claim->counts.next_slot += count;
	raise_fences();
	return_rows(claim->fcinfo);
	SPI_freetuptable(SPI_tuptable);
	cascade_below(CASCADE_FENCE, ids, 0, claim->search.now);
	if (is_suspended_rank(rank))
		forget_suspensions(ids);
}

static int64
take_in_lane(QueueClaim *claim, const Due *due, bool late, Position *from, int64 wanted)
{
	Datum		seen;
	int64		claimed = 0;
	int64		page;
	uint64		found;
	bool		is_done = false;

	if (!late)
		claimed = claim_new_ones(claim, due, from, wanted, &is_done);
	if (is_done)
		return claimed;
	seen = id_array(NULL, 0);
	page = wanted - claimed;

	while (claimed < wanted && can_lock_trees_of_claim() &&
		   (found = find_due(claim, due, late, from, page, seen)) > 0)
	{
		int			count;
		Datum		ids;

		/* In a lane the next round begins with the last one. */
		if (!late)
		{
			FoundRow	last;

			fetch(found - 1, 0, &last);
			from->run_at = DatumGetTimestampTz(last.run_at.value);
			from->id = *DatumGetUUIDP(last.id.value);
			seen = id_array(NULL, 0);
		}
		ids = takeable(&seen, wanted - claimed, &count);
		if (count > 0)
			claim_found(claim, from->rank, ids, count);
		claimed += count;
		page = late ? next_page(page, wanted - claimed, count) : wanted - claimed;
		/* where none had to be passed over, there are no others to take in their place */
		if (count == found)
			break;
	}
	return claimed;
}

/*
 * Claims up to so many that are due in a lane: late ones, or those from a position
 * on; of those that are not suspended, as many as the rate limit allows.  Returns
 * their number, and in *from how far it has come.  A workflow that cannot be taken
 * now is passed over, so it does not hold up those behind it.
 */
int64
claim_in_lane(QueueClaim *claim, const Due *due, bool late, Position *from, int64 wanted)
{
	bool		starts = !is_suspended_rank(from->rank);
	int64		claimed = take_in_lane(claim, due, late, from, starts ? Min(wanted, claim->starts_left) : wanted);

	if (starts)
	{
		claim->starts_left -= claimed;
		claim->started += claimed;
	}
	return claimed;
}

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
			claimed += claim_in_lane(claim, &claim->due, true, &from, wanted - claimed);
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
 * locked.  Returns their number.
 */
static int64
claim_locked(QueueClaim *claim, int64 wanted)
{
	Datum		name = claim->search.queue;
	bool		out_of_date;	/* what the search has found */
	TimestampTz now;
	int64		registered = 0;
	int64		claimed;

	/* once for all queues: its row is locked before anything else */
	if (!claim->is_registered)
		registered = register_claimer(claim->executor_id, a_null(), claim->app_version);
	claim->is_registered = true;
	if (!lock_queue_to_claim(claim, &out_of_date))
		return 0;
	register_again(claim->executor_id, registered);
	claim->search.now = now = clock_now();
	claim->started = 0;
	look_counts_again(claim);
	claim->starts_left = starts_left(&claim->queue, &claim->counts);
	wanted = free_slots(name, &claim->queue, &claim->counts, wanted);
	if (wanted == 0)
		return 0;
	if (out_of_date)
		claim->search = begin_search(name, now, true);
	if (claim->queue.fair || has_tickets(name))
		claimed = claim_by_lanes(claim, wanted);
	else if (out_of_date && !next_allowed(claim))
		return 0;
	else
		claimed = claim_by_rank(claim, wanted);
	if (claimed > 0 && has_limits(&claim->queue))
		write_counts(name, &claim->queue, &claim->counts, now, claimed, claim->started);
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

/* Claims up to so many workflows of a queue.  Returns their number. */
static int64
claim_from_queue(QueueClaim *claim, Datum name, int64 wanted)
{
	TimestampTz now = clock_now();
	int64		claimed = 0;

	look_queue_or_raise(name, now, &claim->queue);
	claim->counts = (Counts) {.window_start = a_null(),.early = a_null()};
	if (has_limits(&claim->queue))
		look_counts(name, &claim->queue, now, &claim->counts);
	claim->search = begin_search(name, now, true);
	if (are_there_notes())
	{
		act_on_notes_in(claim);
		claim->search = begin_search(name, clock_now(), true);
	}
	claim->starts_left = starts_left(&claim->queue, &claim->counts);
	if ((next_allowed(claim) || may_claim_under_keys(claim)) &&
		free_slots(name, &claim->queue, &claim->counts, wanted) > 0)
		claimed = claim_locked(claim, wanted);
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

	begin_rows(fcinfo);
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

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	for (int i = 0; i < count && (wanted > 0 || i == 0); i++)
		wanted -= claim_from_queue(&claim, queues.values[i], wanted);
	end_call(&call);
	return (Datum) 0;
}
