/*-------------------------------------------------------------------------
 *
 * claim_take.c
 *	  What is due in one lane of a queue is locked and taken, in the order of the lane.
 *	  For a claim that holds the queue's lock (claim.c says what is locked besides).
 *
 *-------------------------------------------------------------------------
 */
#include "claim_internal.h"
#include "gather.h"
#include "places.h"
#include "register.h"
#include "sql.h"
#include "suspend.h"
#include "table.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/* The number of the slot that the next workflow takes; NULL, which costs its row nothing, where none are counted. */
static NullableDatum
next_slot(const QueueClaim *claim)
{
	return has_slots(&claim->queue) ? a_bigint(claim->counts.next_slot) : a_null();
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
	bool		is_seen;
	bool		is_lost;		/* it does not wait at that place any more, or somebody is changing it */
	bool		is_unwanted;
	ClaimedRow	row;
} FastClaim;

#define FETCH_CLAIMED(t, name) claim->row.name = copied_column_of_row(look, workflow_##name);

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
	claim->is_seen = true;
	claim->is_lost = !waits_there(&look, &claim->params);
	claim->is_unwanted = !claim->is_lost && !is_wanted(&look, claim->claim);
	if (!claim->is_lost && !claim->is_unwanted &&
		column_of_row(&look, workflow_parent_id).isnull && int_of_row(&look, workflow_lease) == 0)
	{
		claim->done = claim_row(&look, claim);
		claim->is_lost = !claim->done;
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
	{
		note_passed(&claim->search, &at->id);
		return false;
	}
	note_waiting(&at->id, &at->entry);
	if (run(&claim_new, &params, NEWEST) == 0)
	{
		unlock_tree_of_claim(&at->id);
		if (params.is_lost || !params.is_seen)
			note_passed(&claim->search, &at->id);
		*passes_over = params.is_lost || params.is_unwanted;
		return false;
	}
	if (!params.done)
		fetch(0, 0, &params.row);
	claim->counts.next_slot++;
	return_row(claim->fcinfo, (const NullableDatum *) &params.row);
	if (!params.done)
		SPI_freetuptable(SPI_tuptable);
	remember_tree(&at->id, &at->id);
	expect_new_step(&at->id, 0);
	return true;
}

/* Does so for claim_new_ones.  What the search has found first is claimed without another walk. */
static int64
try_new_ones(QueueClaim *claim, const Due *due, Position *from, int64 wanted, bool *is_done)
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
		if (tried && compare_positions(&at, from) == 0)
			continue;
		if (!is_settled(&walk))
		{
			note_passed(&claim->search, &at.id);
			continue;
		}
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

/*
 * Claims up to so many that are due in a lane, from a position on, one after the
 * other, as long as they are roots that never ran.  Returns their number; *from is
 * where to go on, *is_done whether there is nothing more to claim.
 */
static int64
claim_new_ones(QueueClaim *claim, const Due *due, Position *from, int64 wanted, bool *is_done)
{
	int64		claimed;

	/* to gather the rows of one would cost more than it saves */
	if (wanted > 1)
		begin_gathering();
	claimed = try_new_ones(claim, due, from, wanted, is_done);
	end_gathering();
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
