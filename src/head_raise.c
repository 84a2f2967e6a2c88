/*-------------------------------------------------------------------------
 *
 * head_raise.c
 *	  How heads come and go: a claim that has walked far raises them, purge sweeps
 *	  what is of no use.  The raiser's side of head.c, which says why no workflow
 *	  is lost.
 *
 * Where nothing was walked over, nothing is written.  Heads and lists are inserted
 * without a lock.  They are deleted if nobody has locked them, so nobody is waited
 * for.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "head_internal.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

/*
 * A head pays if it leaves more dead entries in a row behind than WORTH_A_HEAD.  If
 * it goes past a workflow that may wait, which costs an entry on its list, then
 * more than WORTH_A_LATE.
 */
#define WORTH_A_HEAD	durable_claim_walk
#define WORTH_A_LATE	(4 * durable_claim_walk)

/* So many workflows at most are on a list because a head got past them. */
#define MOST_LATE	100

/* More than so many in a row that wait are a backlog: no head gets past them. */
#define MOST_WAITING	16

/* In milliseconds: who raises a head drops those that were raised so shortly before, too. */
#define SHORTLY_BEFORE	300

/* ---- where a head should stand ------------------------------------------------------- */

/* Moves a position to the next possible one. */
static void
step_behind(Position *at)
{
	int			i = UUID_LEN;

	while (i > 0 && ++at->id.data[--i] == 0)
		;
}

/* Where a claim begins to read a lane: at the base, or at the start where there is none. */
static Position
start_of(int64 rank, const Head *base)
{
	Position	start = {.rank = rank,.run_at = DT_NOBEGIN};

	return base ? base->at : start;
}

/*
 * Counts those on the list of a head that wait or may wait, up to so many.  *first is
 * the first of them, *useless the number of entries that are of no use.
 */
static int
count_late(Datum queue, const Head *head, int most, Position *first, int *useless)
{
	Walk		walk;
	Position	at;
	Position	last;
	int			entries = 0;
	int			count = 0;

	walk_late(&walk, SnapshotAny, &head->id);
	while (count < most && next_place(&walk, &at))
	{
		at.rank = head->at.rank;
		if (entries++ > 0 && compare_positions(&at, &last) == 0)
			continue;
		last = at;
		if (waits_at(queue, &at, SnapshotAny) && count++ == 0)
			*first = at;
	}
	end_walk(&walk);
	*useless = entries - count;
	return count;
}

/*
 * Finds where a new head of a lane should stand; false if none is worth it:
 *
 *	- behind the last of many dead entries in a row.  Not later than now, so that a
 *	  workflow that is started and due at once does not come before the head;
 *	- at the first entry that is live, if the way there was far.  The server skips
 *	  entries that are dead to everybody, but reads their pages;
 *	- else, where the first workflow on the list of the base stands, if there are
 *	  too many on it;
 *	- else, where the base stands, if many entries of its list are of no use.
 */
static bool
survey(Datum queue, int64 rank, const Head *base, TimestampTz now, Position *head)
{
	Walk		walk;
	Position	from = start_of(rank, base);
	Position	at;
	Position	live = {0};
	int			late = 0;
	int			dead = 0;
	int			waiting = 0;
	int			worth = WORTH_A_HEAD;
	int64		before;
	bool		is_first = true;
	bool		found = false;

	if (base)
	{
		Position	first;
		int			useless;

		late = count_late(queue, base, MOST_LATE + 1, &first, &useless);
		if (late > MOST_LATE)
		{
			from = first;
			late = 0;
		}
		*head = from;
		found = compare_positions(&from, &base->at) < 0 || useless > WORTH_A_HEAD;
	}
	before = buffers_read();
	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &waiting_places, SnapshotAny, queue, &from);
	while (late <= MOST_LATE && waiting <= MOST_WAITING && next_place(&walk, &at) && at.run_at <= now)
	{
		if (!is_live(&walk))
		{
			waiting = 0;
			if (++dead > worth)
			{
				*head = at;
				step_behind(head);
				worth = WORTH_A_HEAD;
				found = true;
			}
			continue;
		}
		if (is_first && buffers_read() - before > FREE_BUFFERS)
		{
			*head = at;
			found = true;
		}
		is_first = false;
		/* an entry that is being updated, and the one that takes its place, are one */
		if (compare_positions(&at, &live) != 0)
		{
			late++;
			if (is_seen_by(&walk, GetActiveSnapshot()))
				waiting++;
		}
		live = at;
		dead = 0;
		worth = WORTH_A_LATE;
	}
	end_walk(&walk);
	PopActiveSnapshot();
	return found;
}

/* ---- adding a head --------------------------------------------------------------------- */

/* Whether a head is there, in a snapshot. */
static bool
stands(Datum queue, const Head *head, Snapshot snapshot)
{
	Walk		walk;
	Position	at;
	bool		found = false;

	walk_position(&walk, &head_places, snapshot, queue, &head->at);
	while (!found && next_place(&walk, &at))
	{
		pg_uuid_t	id = head_at(&walk);

		found = same_id(&id, &head->id);
	}
	end_walk(&walk);
	return found;
}

/* Collects what waits, or may wait, before a new head: from the list of its base, and from the lane. */
static void
collect_late(Datum queue, const Head *head, const Head *base, Late *late)
{
	Position	from = start_of(head->at.rank, base);
	Position	at;
	Position	last = {0};
	Walk		walk;

	if (base)
	{
		walk_late(&walk, SnapshotAny, &base->id);
		while (next_place(&walk, &at))
		{
			at.rank = head->at.rank;
			if (compare_positions(&at, &head->at) >= 0)
				break;
			if (compare_positions(&at, &last) != 0 && waits_at(queue, &at, SnapshotAny))
				append_late(late, &head->id, &at);
			last = at;
		}
		end_walk(&walk);
	}
	walk_lane(&walk, &waiting_places, SnapshotAny, queue, &from);
	while (next_place(&walk, &at) && compare_positions(&at, &head->at) < 0)
		if (is_live(&walk))
			append_late(late, &head->id, &at);
	end_walk(&walk);
}

#define HEAD_KEY(P) \
	P(queue, TEXTOID) \
	P(rank, INT8OID) \
	P(id, UUIDOID)
#define HEAD_COLUMNS(P) \
	HEAD_KEY(P) \
	P(run_at, TIMESTAMPTZOID) \
	P(workflow_id, UUIDOID)
PARAMETERS(AddHead, HEAD_COLUMNS);
PARAMETERS(TakeBackHead, HEAD_KEY);

static Statement insert_head = STATEMENT(AddHead,
	"INSERT INTO durable.queue_head (queue_name, rank, id, run_at, workflow_id) "
	"SELECT :queue, :rank, :id, :run_at, :workflow_id");

static Statement delete_head = STATEMENT(TakeBackHead,
	"DELETE FROM durable.queue_head h WHERE h.queue_name = :queue AND h.rank = :rank AND h.id = :id");

static void
write_head(Datum queue, const Head *head)
{
	AddHead		params = {
		.queue = a_value(queue),.rank = a_bigint(head->at.rank),.id = an_id(&head->id),
		.run_at = a_time(head->at.run_at),.workflow_id = an_id(&head->at.id)
	};

	if (run(&insert_head, &params, NEWEST) == 0)
		raise_kept_away("durable.queue_head");
}

static void
take_back_head(Datum queue, const Head *head)
{
	TakeBackHead params = {
		.queue = a_value(queue),.rank = a_bigint(head->at.rank),.id = an_id(&head->id)
	};

	run(&delete_head, &params, NEWEST);
}

/*
 * Adds a head with its list, in the order that head.c asks for.  False if its base
 * has gone meanwhile, so that we cannot tell what is late.
 */
static bool
add_head(Datum queue, const Head *head, const Head *base)
{
	Late		late = {0};
	bool		holds;

	write_head(queue, head);
	PushActiveSnapshot(GetLatestSnapshot());
	holds = base == NULL || stands(queue, base, GetActiveSnapshot());
	if (holds)
		collect_late(queue, head, base, &late);
	PopActiveSnapshot();
	if (holds)
		write_late(&late);
	else
		take_back_head(queue, head);
	return holds;
}

/* ---- dropping heads ------------------------------------------------------------------- */

#define DROP_HEADS(P) \
	P(queue, TEXTOID) \
	P(highest, INT8OID) \
	P(lowest, INT8OID) \
	P(keep, UUIDOID)
PARAMETERS(DropHeads, DROP_HEADS);

#define DROP_RECENT_HEADS(P) \
	P(queue, TEXTOID) \
	P(rank, INT8OID) \
	P(since, UUIDOID) \
	P(keep, UUIDOID)
PARAMETERS(DropRecentHeads, DROP_RECENT_HEADS);

/*
 * Deletes heads with their lists: nobody else deletes the list of a head that we have locked.
 * A head never changes, so it is deleted where it was found and locked.  To find it by
 * its key once more, the planner would read the whole index: for all that it knows there are
 * few heads, but the index may have thousands that are dead.
 */
#define DELETE_HEADS(condition) \
	"WITH old AS MATERIALIZED (" \
	"  SELECT h.ctid AS place FROM durable.queue_head h" \
	"  WHERE h.queue_name = :queue AND " condition \
	"  FOR UPDATE SKIP LOCKED), " \
	"gone AS (" \
	"  DELETE FROM durable.queue_head h USING old o WHERE h.ctid = o.place RETURNING h.id) " \
	"DELETE FROM durable.queue_late l WHERE l.head_id = ANY (ARRAY(SELECT g.id FROM gone g))"

static Statement delete_heads = STATEMENT(DropHeads,
	DELETE_HEADS("h.rank <= :highest AND h.rank >= :lowest AND (:keep IS NULL OR h.id <> :keep)"));

static Statement delete_recent_heads = STATEMENT(DropRecentHeads,
	DELETE_HEADS("h.rank = :rank AND h.id >= :since AND h.id <> :keep"));

/*
 * Drops the heads of lanes from the highest down to the lowest, but for one, if
 * given, and those that somebody has locked.
 */
static void
drop_heads(Datum queue, int64 highest, int64 lowest, NullableDatum keep)
{
	DropHeads	params = {
		.queue = a_value(queue),.highest = a_bigint(highest),.lowest = a_bigint(lowest),.keep = keep
	};

	run(&delete_heads, &params, NEWEST);
}

/*
 * Drops the base of a new head, and those that others have raised since or shortly
 * before.  All heads of the lane that ever were are not read for that: under an old
 * snapshot they stay in the index.  What is left over goes with sweep_heads.
 */
static void
drop_base(Datum queue, const Head *head, const Head *base)
{
	pg_uuid_t	since = id_before(&head->id, SHORTLY_BEFORE);

	if (base && compare_ids(&base->id, &since) < 0)
		since = base->id;
	run(&delete_recent_heads,
		&(DropRecentHeads) {
			.queue = a_value(queue),.rank = a_bigint(head->at.rank),.since = an_id(&since),.keep = an_id(&head->id)
		}, NEWEST);
}

/* Those of a queue that is dropped. */
void
drop_all_heads(Datum queue)
{
	drop_heads(queue, HIGHEST_RANK, LOWEST_RANK, a_null());
}

/* ---- raising -------------------------------------------------------------------------- */

/* Raises the head of a lane, if it is worth it. */
static void
raise_head(Datum queue, int64 rank, TimestampTz now)
{
	Head		base;
	Head		head;
	bool		has_base;

	PushActiveSnapshot(GetLatestSnapshot());
	has_base = look_head(queue, rank, GetActiveSnapshot(), &base) && base.at.rank == rank;
	PopActiveSnapshot();
	if (!survey(queue, rank, has_base ? &base : NULL, now, &head.at))
		return;
	head.at.rank = rank;
	new_workflow_id(clock_ns(), 0, &head.id);
	if (add_head(queue, &head, has_base ? &base : NULL) && !IsolationUsesXactSnapshot())
		drop_base(queue, &head, has_base ? &base : NULL);
}

/* After a search: raises the heads of the lanes in which it has walked far, and of those between them. */
void
raise_heads(const Search *search)
{
	Position	at;

	if (XactReadOnly)
		return;
	for (int64 highest = search->far_highest;
		 highest >= search->far_lowest && look_first(search->queue, highest, search->far_lowest, SnapshotAny, &at);
		 highest = at.rank - 1)
		raise_head(search->queue, at.rank, search->now);
}

/* ---- sweeping -------------------------------------------------------------------------- */

/* A lane in which heads are of no use: all of them, or all but the newest. */
typedef struct Lane
{
	Datum		queue;
	int64		rank;
	bool		is_empty;
	Head		newest;
} Lane;

/* Drops the heads of lanes that have become empty, and those that are not the newest of their lane. */
static void
drop_useless_heads(void)
{
	Walk		walk;
	Position	at;
	Position	first;
	Lane	   *lanes = NULL;
	int			count = 0;
	int			capacity = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	walk_all(&walk, &head_places, SnapshotAny);
	while (next_place(&walk, &at))
	{
		Lane		lane = {.queue = queue_at(&walk),.rank = at.rank};
		pg_uuid_t	id = head_at(&walk);

		if (!is_live(&walk))
			continue;
		lane.is_empty = !look_first(lane.queue, at.rank, at.rank, SnapshotAny, &first);
		if (!lane.is_empty &&
			(!look_head(lane.queue, at.rank, GetActiveSnapshot(), &lane.newest) ||
			 lane.newest.at.rank != at.rank || compare_ids(&id, &lane.newest.id) >= 0))
			continue;
		if (count == capacity)
		{
			capacity = Max(16, capacity * 2);
			lanes = lanes ? repalloc(lanes, capacity * sizeof(Lane)) : palloc(capacity * sizeof(Lane));
		}
		lane.queue = PointerGetDatum(DatumGetTextPCopy(lane.queue));
		lanes[count++] = lane;
	}
	end_walk(&walk);
	PopActiveSnapshot();
	for (int i = 0; i < count; i++)
		drop_heads(lanes[i].queue, lanes[i].rank, lanes[i].rank,
				   lanes[i].is_empty ? a_null() : an_id(&lanes[i].newest.id));
}

#define STRAY_LIST(F, C, t) \
	F(t, head_id)
ROW(StrayRow, STRAY_LIST);

/* It has no parameters. */
static Statement look_stray_lists = {
	.name = "LookStrayLists",
	.sql = "SELECT DISTINCT " COLUMNS(STRAY_LIST, "l.") " FROM durable.queue_late l "
	"WHERE NOT EXISTS (SELECT 1 FROM durable.queue_head h WHERE h.id = l.head_id)",
	.planning = FOR_PARAMS
};

#define DROP_LIST(P) \
	P(head_id, UUIDOID)
PARAMETERS(DropList, DROP_LIST);

static Statement drop_list = STATEMENT(DropList,
	"WITH stray AS MATERIALIZED ("
	"  SELECT l.ctid AS place FROM durable.queue_late l WHERE l.head_id = :head_id"
	"  FOR UPDATE SKIP LOCKED) "
	"DELETE FROM durable.queue_late l USING stray s WHERE l.ctid = s.place");

/* The heads that are there, also those that are not committed. */
static IdList
all_heads(void)
{
	IdList		heads = {0};
	Walk		walk;
	Position	at;

	walk_all(&walk, &head_places, SnapshotAny);
	while (next_place(&walk, &at))
		if (is_live(&walk))
		{
			pg_uuid_t	id = head_at(&walk);

			append_id(&heads, &id);
		}
	end_walk(&walk);
	return heads;
}

/* Drops the lists of heads that are gone. */
static void
drop_stray_lists(void)
{
	uint64		count = run(&look_stray_lists, NULL, NEWEST);
	IdList		strays = {0};
	IdList		heads;

	if (count == 0)
		return;
	append_result(&strays);
	heads = all_heads();
	for (uint64 i = 0; i < strays.count; i++)
		if (!contains_id(&heads, &strays.ids[i]))
			run(&drop_list, &(DropList) {.head_id = an_id(&strays.ids[i])}, NEWEST);
}

/*
 * Removes what is of no use to anybody: heads of lanes that are empty, or of
 * queues that are gone, or that have a newer one, and the lists of heads that are
 * gone.  A head that is not committed keeps its list.
 */
void
sweep_heads(void)
{
	drop_useless_heads();
	drop_stray_lists();
}
