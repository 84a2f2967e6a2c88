/*-------------------------------------------------------------------------
 *
 * head.c
 *	  What waits in a queue: the first that is due, and from where to look.
 *
 * A claim reads the index workflow_pending from the front.  What was claimed
 * stays there, dead, until vacuum may remove it: never while some session holds
 * an old snapshot, and then each claim would walk over all that was claimed
 * since.  So a claim that has walked far leaves heads behind.
 *
 * A queue has a lane for each of its priorities.  A head (durable.queue_head) is
 * a position in a lane, and says: nothing waits in this lane before here, but
 * what is on my list of late ones (durable.queue_late).  A claim reads the late
 * ones of the newest head that it sees, then the lane from that head on.  A lane
 * without a head is read from its start.
 *
 * A head is never changed.  Who raises a head inserts a new one with a list of
 * its own, and deletes the older ones that he sees, unless somebody has locked
 * them.  So each head with its list is true by itself, and it does not matter
 * which one a claim takes.  The newest is the nearest, and what is dead in the
 * lists of older ones is not read any more.
 *
 * Two sides keep a head true, and neither locks anything or waits for the other:
 *
 *	Who lets a workflow wait (now_waiting), after its row is written: reads which
 *	heads stand behind it, also those that are not committed, and puts it on the
 *	list of each; then reads again, until there is none that he has not met.
 *
 *	Who raises a head (add_head) inserts the head; then takes a snapshot, in which
 *	the head that he started from, the base, must still be there; then reads
 *	what is on the list of the base, and what stands in the lane between base and
 *	head, also what is not committed.  All of that which waits, or may wait once
 *	all that is open has ended, he puts on the new list.
 *
 * Why no workflow is lost.  Each side first writes, then reads what the other
 * side writes.  So whatever the order, at least one of the two finds the other:
 * if he who lets a workflow wait has missed a head, the head was inserted after
 * his last look, and he who raised it looked later still.  Then
 *
 *	- if the workflow stands behind the base, it is found in the lane;
 *	- if it stands before the base, it is on the list of the base: either the base
 *	  was there at the last look of him who let it wait, and not missed, so he
 *	  wrote on its list before the new head was inserted; or the base itself came
 *	  after that look, and by the same argument its raiser has found it.
 *
 * A claim sees a workflow and its entry on a list together: he who lets it wait
 * writes both in one subtransaction, and he who raises a head writes head and
 * list in one.  What can go wrong otherwise:
 *
 *	- He who raises aborts: head and list are gone.  What others have put on the
 *	  list stays there, and is of no use to anybody (sweep_heads).
 *	- He who lets it wait aborts: an entry may stay that names nothing.
 *	- An entry of the index that is dead when he who raises looks is so for good.
 *	  If the workflow waits again (a release that keeps its place), it is written
 *	  anew, and he who does that sees the head.  What is being claimed, by another
 *	  transaction that is still open, is not dead: the claim may be taken back.
 *	- What is dead because the transaction that raises, or a subtransaction of it,
 *	  has claimed it itself: if that claim is rolled back, so is the head, which
 *	  was raised later, in the same subtransaction or in one below.
 *	- A head is deleted while somebody reads.  He who lets a workflow wait counts a
 *	  head as there unless its deletion had committed before the snapshot that he
 *	  took for that look: nobody will take such a one for a base any more.  The
 *	  list of a base is read with all that is deleted: it was all there in the
 *	  snapshot in which the base is, and nothing of that snapshot is removed.
 *	- A caller in REPEATABLE READ: all statements here have a snapshot of their own
 *	  (plans.c), and the walks do not ask his.  He deletes no heads, since such a
 *	  statement could fail.
 *
 * Most heads have an empty list: a head stops at the first that waits or may
 * wait, unless so many dead entries stand behind it that it is worth an entry on
 * the list to get past it, as it is if a starter stays open.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"
#include "places.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/instrument.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* setting: so many buffers are a long walk over dead entries (init.c) */
int			durable_claim_walk = 4;

/* So many buffers each probe of an index may read without having walked. */
#define FREE_BUFFERS	4

/* More dead entries in a row than that are worth a head, and to get past what may wait before them. */
#define WORTH_A_HEAD	durable_claim_walk
#define WORTH_A_LATE	(4 * durable_claim_walk)

/* So many workflows at most are on a list because a head got past them. */
#define MOST_LATE	100

/* More than so many in a row that wait are a backlog: no head gets past them. */
#define MOST_WAITING	16

typedef struct Head
{
	pg_uuid_t	id;
	Position	at;
} Head;

/* Entries for the lists of heads. */
typedef struct Late
{
	IdList		heads;
	IdList		workflows;
	Datum	   *run_ats;		/* as many as there are workflows */
	uint64		capacity;
} Late;

/* ---- looking ----------------------------------------------------------------- */

/* Whether a workflow waits at a position: in a snapshot, or as far as anybody can tell. */
static bool
waits_at(Datum queue, const Position *position, Snapshot snapshot)
{
	Walk		walk;
	Position	at;
	bool		found = false;

	walk_position(&walk, &waiting_places, snapshot, queue, position);
	while (!found && next_place(&walk, &at))
		found = snapshot != SnapshotAny || is_live(&walk);
	end_walk(&walk);
	return found;
}

/* The newest head at a priority or the next one below that has any. */
static bool
look_head(Datum queue, int32 priority, Snapshot snapshot, Head *head)
{
	Walk		walk;
	bool		found;

	walk_heads(&walk, snapshot, queue, priority);
	found = next_place(&walk, &head->at);
	if (found)
		head->id = head_at(&walk);
	end_walk(&walk);
	return found;
}

/* The first that waits at priorities from the highest down to the lowest. */
static bool
look_first(Datum queue, int32 highest, int32 lowest, Snapshot snapshot, Position *first)
{
	Walk		walk;
	bool		found;

	walk_queue(&walk, &waiting_places, snapshot, queue, highest, lowest);
	found = next_place(&walk, first);
	end_walk(&walk);
	return found;
}

/* The first that is due on the list of a head. */
static bool
look_late(Datum queue, const Head *head, TimestampTz now, Snapshot snapshot, Position *first)
{
	Walk		walk;
	bool		found = false;

	if (is_untouched(&late_places))
		return false;
	walk_late(&walk, snapshot, &head->id);
	while (!found && next_place(&walk, first) && first->run_at <= now)
	{
		first->priority = head->at.priority;
		found = waits_at(queue, first, snapshot);
	}
	end_walk(&walk);
	return found;
}

/* The first that is due in a lane, from its head on. */
static bool
look_behind(Datum queue, const Head *head, TimestampTz now, Snapshot snapshot, Position *first)
{
	Walk		walk;
	bool		found = false;

	walk_lane(&walk, &waiting_places, snapshot, queue, &head->at);
	while (!found && next_place(&walk, first) && first->run_at <= now)
		found = compare_positions(first, &head->at) >= 0;
	end_walk(&walk);
	return found;
}

static int64
buffers_read(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

/* Adds the buffers that a probe has read, since before, for walking. */
static void
count_walk(Search *search, int64 before)
{
	search->walked += Max(buffers_read() - before - FREE_BUFFERS, 0);
}

/* The first that is due in the lane of a head. */
static bool
look_in_lane(Search *search, const Head *head, Snapshot snapshot, Due *due)
{
	int64		before = buffers_read();
	bool		found;

	due->has_head = true;
	due->head_id = head->id;
	due->head = head->at;
	due->is_late = look_late(search->queue, head, search->now, snapshot, &due->first);
	count_walk(search, before);
	if (due->is_late)
		return true;
	before = buffers_read();
	found = look_behind(search->queue, head, search->now, snapshot, &due->first);
	count_walk(search, before);
	return found;
}

/*
 * The first that waits in lanes without a head, which are above that of the next
 * head, if there is one; it need not be due.
 */
static bool
look_above(Search *search, const Head *head, Snapshot snapshot, Due *due)
{
	int32		lowest = head ? head->at.priority + 1 : PG_INT32_MIN;
	int64		before = buffers_read();
	bool		found;

	if (head && head->at.priority == search->highest)
		return false;
	due->has_head = due->is_late = false;
	found = look_first(search->queue, (int32) search->highest, lowest, snapshot, &due->first);
	count_walk(search, before);
	return found;
}

/*
 * The next lane in which something is due, and the first there.  An index probe
 * or a few for each lane: what is not yet due in one costs the next nothing.
 */
static bool
look_next(Search *search, Due *due, Snapshot snapshot)
{
	while (search->highest >= PG_INT32_MIN)
	{
		Head		head;
		bool		has_head = look_head(search->queue, (int32) search->highest, snapshot, &head);

		if (look_above(search, has_head ? &head : NULL, snapshot, due))
		{
			search->highest = (int64) due->first.priority - 1;
			if (due->first.run_at <= search->now)
				return true;
		}
		else if (has_head)
		{
			search->highest = (int64) head.at.priority - 1;
			if (look_in_lane(search, &head, snapshot, due))
				return true;
		}
		else
			search->highest = (int64) PG_INT32_MIN - 1;
	}
	return false;
}

Search
begin_search(Datum queue, TimestampTz now)
{
	Search		search = {.queue = queue,.now = now,.highest = PG_INT32_MAX};

	return search;
}

/* The next lane in which something is due, from the highest down. */
bool
next_due(Search *search, Due *due)
{
	bool		found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = look_next(search, due, GetActiveSnapshot());
	PopActiveSnapshot();
	return found;
}

/* ---- lists ------------------------------------------------------------------- */

static void
append_late(Late *late, const pg_uuid_t *head, const Position *at)
{
	if (late->workflows.count == late->capacity)
	{
		late->capacity = Max(64, late->capacity * 2);
		late->run_ats = late->run_ats ?
			repalloc_huge(late->run_ats, late->capacity * sizeof(Datum)) :
			MemoryContextAllocHuge(CurrentMemoryContext, late->capacity * sizeof(Datum));
	}
	late->run_ats[late->workflows.count] = TimestampTzGetDatum(at->run_at);
	append_id(&late->workflows, &at->id);
	append_id(&late->heads, head);
}

/*
 * Writes them.  Each entry has an id of its own, so that two who write the same
 * one do not wait for each other; a claim reads it once.
 */
static void
write_late(const Late *late)
{
	int64		ns = clock_ns();

	for (uint64 i = 0; i < late->workflows.count; i += IDS_PER_STATEMENT)
	{
		uint64		count = Min(IDS_PER_STATEMENT, late->workflows.count - i);
		pg_uuid_t  *ids = palloc(count * sizeof(pg_uuid_t));
		Params		params = {0};

		for (uint64 n = 0; n < count; n++)
			new_workflow_id(ns, 0, &ids[n]);
		param_datum(&params, id_array(&late->heads.ids[i], count));
		param_datum(&params, PointerGetDatum(construct_array(&late->run_ats[i], (int) count, TIMESTAMPTZOID,
															 sizeof(TimestampTz), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
		param_datum(&params, id_array(&late->workflows.ids[i], count));
		param_datum(&params, id_array(ids, count));
		if (run_plan(PLAN_ADD_LATE, &params, NEWEST) < count)
			raise_kept_away("durable.queue_late");
		pfree(ids);
	}
}

/* ---- who lets workflows wait --------------------------------------------------- */

/* The heads that stand behind a position, for anybody. */
static IdList
heads_behind(Datum queue, const Position *position)
{
	IdList		heads = {0};
	Walk		walk;
	Position	at;

	if (is_untouched(&head_places))
		return heads;
	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &head_places, SnapshotAny, queue, position);
	while (next_place(&walk, &at))
		if (compare_positions(&at, position) > 0 && is_live_for_some(&walk, GetActiveSnapshot()))
		{
			pg_uuid_t	id = head_at(&walk);

			append_id(&heads, &id);
		}
	end_walk(&walk);
	PopActiveSnapshot();
	return heads;
}

/* Puts a workflow on the lists of all heads behind it. */
static void
put_on_lists(Datum queue, const Position *position)
{
	IdList		met = {0};

	for (;;)
	{
		IdList		heads = heads_behind(queue, position);
		Late		late = {0};

		for (uint64 i = 0; i < heads.count; i++)
			if (!contains(&met, &heads.ids[i]))
				append_late(&late, &heads.ids[i], position);
		if (late.workflows.count == 0)
			return;
		write_late(&late);
		append_ids(&met, &late.heads);
	}
}

/* For workflows that now wait in queues, if they do: their rows have been written. */
void
now_waiting(Datum workflow_ids)
{
	Params		params = {0};
	uint64		count;
	Datum	   *queues;
	Position   *positions;

	param_datum(&params, workflow_ids);
	count = run_plan(PLAN_LOOK_POSITIONS, &params, NEWEST);
	queues = palloc(count * sizeof(Datum));
	positions = palloc(count * sizeof(Position));
	for (uint64 row = 0; row < count; row++)
	{
		queues[row] = PointerGetDatum(DatumGetTextPCopy(result_value(row, 0)));
		positions[row].priority = DatumGetInt32(result_value(row, 1));
		positions[row].run_at = DatumGetTimestampTz(result_value(row, 2));
		positions[row].id = *DatumGetUUIDP(result_value(row, 3));
	}
	SPI_freetuptable(SPI_tuptable);
	for (uint64 row = 0; row < count; row++)
		put_on_lists(queues[row], &positions[row]);
}

/*
 * The same for workflows that have just been started in a queue, if there is
 * one, at that run_at, or at once.  A head is seldom behind any of them, and only
 * if it is behind the first.
 */
void
started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids)
{
	IdList		ids = {0};
	Position	first = {.priority = priority};

	if (queue.isnull)
		return;
	append_array(&ids, workflow_ids);
	if (ids.count == 0)
		return;
	first.id = ids.ids[0];
	for (uint64 i = 1; i < ids.count; i++)
		if (memcmp(&ids.ids[i], &first.id, sizeof(pg_uuid_t)) < 0)
			first.id = ids.ids[i];
	first.run_at = run_at.isnull ? id_created_at(&first.id) : DatumGetTimestampTz(run_at.value);
	if (heads_behind(queue.value, &first).count > 0)
		now_waiting(workflow_ids);
}

/* ---- who raises heads ---------------------------------------------------------- */

/* The next position. */
static void
step_behind(Position *at)
{
	int			i = UUID_LEN;

	while (i > 0 && ++at->id.data[--i] == 0)
		;
}

/* Where a lane is read from. */
static Position
start_of(int32 priority, const Head *base)
{
	Position	start = {.priority = priority,.run_at = DT_NOBEGIN};

	return base ? base->at : start;
}

/*
 * How many on the list of a head wait, or may, up to so many; *first of them; how
 * many entries are of no use.
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
		at.priority = head->at.priority;
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
 * Where a new head of a lane should stand: behind the last of many dead entries
 * in a row, up to now; who starts one that is due at once should not come before
 * it.  At the first entry that is live, if the way there was far: the server
 * skips entries that are dead to everybody, but reads their pages.  Where the
 * base stands, if just its list is to be renewed.  Where the first late one
 * stands, if there are too many of them.  False if nothing is worth it.
 */
static bool
survey(Datum queue, int32 priority, const Head *base, TimestampTz now, Position *head)
{
	Walk		walk;
	Position	from = start_of(priority, base);
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
		if (compare_positions(&at, &from) < 0)
			continue;
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

/* What is late for a new head: from the list of its base, and from the lane. */
static void
collect_late(Datum queue, const Head *head, const Head *base, Late *late)
{
	Position	from = start_of(head->at.priority, base);
	Position	at;
	Position	last = {0};
	Walk		walk;

	if (base)
	{
		walk_late(&walk, SnapshotAny, &base->id);
		while (next_place(&walk, &at))
		{
			at.priority = head->at.priority;
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
		if (compare_positions(&at, &from) >= 0 && is_live(&walk))
			append_late(late, &head->id, &at);
	end_walk(&walk);
}

/* Adds a head; false if its base has gone meanwhile, so that we cannot tell what is late. */
static bool
add_head(Datum queue, const Head *head, const Head *base)
{
	Late		late = {0};
	Params		params = {0};
	bool		holds;

	param_datum(&params, queue);
	param_int(&params, head->at.priority);
	param_id(&params, &head->id);
	param_time(&params, head->at.run_at);
	param_id(&params, &head->at.id);
	if (run_plan(PLAN_ADD_HEAD, &params, NEWEST) == 0)
		raise_kept_away("durable.queue_head");

	PushActiveSnapshot(GetLatestSnapshot());
	holds = base == NULL || stands(queue, base, GetActiveSnapshot());
	if (holds)
		collect_late(queue, head, base, &late);
	PopActiveSnapshot();
	if (holds)
		write_late(&late);
	else
	{
		params.n = 3;
		run_plan(PLAN_TAKE_BACK_HEAD, &params, NEWEST);
	}
	return holds;
}

/* Drops the heads of lanes from the highest down to the lowest, but for one, and those that somebody has locked. */
static void
drop_heads(Datum queue, int32 highest, int32 lowest, NullableDatum keep)
{
	Params		params = {0};

	param_datum(&params, queue);
	param_int(&params, highest);
	param_int(&params, lowest);
	param(&params, keep);
	run_plan(PLAN_DROP_HEADS, &params, NEWEST);
}

void
drop_all_heads(Datum queue)
{
	drop_heads(queue, PG_INT32_MAX, PG_INT32_MIN, a_null());
}

/* Raises the head of a lane, if it is worth it. */
static void
raise_head(Datum queue, int32 priority, TimestampTz now)
{
	Head		base;
	Head		head;
	bool		has_base;

	PushActiveSnapshot(GetLatestSnapshot());
	has_base = look_head(queue, priority, GetActiveSnapshot(), &base) && base.at.priority == priority;
	PopActiveSnapshot();
	if (!survey(queue, priority, has_base ? &base : NULL, now, &head.at))
		return;
	head.at.priority = priority;
	new_workflow_id(clock_ns(), 0, &head.id);
	if (add_head(queue, &head, has_base ? &base : NULL) && !IsolationUsesXactSnapshot())
		drop_heads(queue, priority, priority, a_value(UUIDPGetDatum(&head.id)));
}

/* The next lane that has any entry, from a priority on down. */
static bool
next_lane(Datum queue, int64 highest, int32 *priority)
{
	Position	at = {0};
	bool		found;

	if (highest < PG_INT32_MIN)
		return false;
	found = look_first(queue, (int32) highest, PG_INT32_MIN, SnapshotAny, &at);
	*priority = at.priority;
	return found;
}

/* After a search, if it went far: raises the heads of the lanes that it went through. */
void
raise_heads(const Search *search)
{
	int32		priority;

	if (XactReadOnly || search->walked < durable_claim_walk)
		return;
	for (int64 highest = PG_INT32_MAX; next_lane(search->queue, highest, &priority) && priority > search->highest;
		 highest = (int64) priority - 1)
		raise_head(search->queue, priority, search->now);
}

/* Drops the heads of lanes that have become empty. */
static void
drop_heads_of_empty_lanes(void)
{
	Walk		walk;
	Position	at;
	Position	first;
	Datum	   *queues = NULL;
	int32	   *priorities = NULL;
	int			count = 0;
	int			capacity = 0;

	walk_all(&walk, &head_places, SnapshotAny);
	while (next_place(&walk, &at))
	{
		Datum		queue = queue_at(&walk);

		if (!is_live(&walk) || look_first(queue, at.priority, at.priority, SnapshotAny, &first))
			continue;
		if (count == capacity)
		{
			capacity = Max(16, capacity * 2);
			queues = queues ? repalloc(queues, capacity * sizeof(Datum)) : palloc(capacity * sizeof(Datum));
			priorities = priorities ? repalloc(priorities, capacity * sizeof(int32)) : palloc(capacity * sizeof(int32));
		}
		queues[count] = PointerGetDatum(DatumGetTextPCopy(queue));
		priorities[count++] = at.priority;
	}
	end_walk(&walk);
	for (int i = 0; i < count; i++)
		drop_heads(queues[i], priorities[i], priorities[i], a_null());
}

/*
 * Removes what is of no use to anybody: heads of lanes that are empty, or of
 * queues that are gone, and the lists of heads that are gone.  A head that is not
 * committed keeps its list.
 */
void
sweep_heads(void)
{
	IdList		without = {0};
	IdList		gone = {0};
	IdList		there = {0};
	Params		params = {0};
	Walk		walk;
	Position	at;

	drop_heads_of_empty_lanes();
	if (run_plan(PLAN_LOOK_STRAY_LISTS, &params, NEWEST) == 0)
		return;
	append_result(&without);
	walk_all(&walk, &head_places, SnapshotAny);
	while (next_place(&walk, &at))
		if (is_live(&walk))
		{
			pg_uuid_t	id = head_at(&walk);

			append_id(&there, &id);
		}
	end_walk(&walk);
	for (uint64 i = 0; i < without.count; i++)
		if (!contains(&there, &without.ids[i]))
			append_id(&gone, &without.ids[i]);
	run_over_ids(PLAN_DROP_LISTS, &gone, &params, NULL);
}
