/*-------------------------------------------------------------------------
 *
 * head.c
 *	  Where a claim begins to look in a queue.  What heads are, and why no
 *	  workflow is lost by them; and what a claim reads.
 *
 * head_waiting.c has the side of those who make workflows wait, head_raise.c that
 * of those who raise heads.
 *
 * The problem.  A claim reads the register durable.pending from the front.  A
 * workflow that was claimed leaves a dead entry there, until vacuum may remove
 * it.  Vacuum may not while some session holds an old snapshot, and then each
 * claim would walk over all that was claimed since.  So a claim that has walked
 * far leaves a head behind, and later claims begin there.
 *
 * A queue has a lane for each of its ranks: the higher the priority, the higher the rank.  In a lane workflows wait at
 * positions (run_at, id), and are claimed in this order.  A head (a row of
 * durable.queue_head) is a position in a lane, and makes a promise:
 *
 *	Each workflow that waits in the lane before the head is on the head's list.
 *
 * Such a workflow is late, and its entry on the list is a row of
 * durable.queue_late.  A claim takes the newest head of a lane that it sees.  It
 * reads that head's list first, then the lane from the head on.  A lane without a
 * head is read from its start.
 *
 * A head never changes.  To raise a head is to insert a new one, with a list of
 * its own, and to delete the older ones, but for those that somebody has locked.
 * Each head keeps its promise by its own list.  So it does not matter which one a
 * claim takes: the newest is only the one that costs least.  The lists of older
 * heads, and what is dead in them, are not read any more.
 *
 * Two sides keep the promise.  Neither locks anything or waits for the other.
 *
 *	The starter is the transaction that makes a workflow wait (now_waiting): it
 *	starts, releases or resumes it.  First it writes the workflow's row.  Then it
 *	looks for heads behind the workflow, also those that are not committed, and
 *	puts the workflow on the list of each.  It repeats the look until that finds no
 *	head that it has not met.
 *
 *	The raiser is the transaction that raises a head (add_head).  It goes from the
 *	newest head that it sees, the base, if there is one.  First it inserts the new
 *	head.  Then it takes a snapshot, and gives up if the base is not in it any more.
 *	Then it reads the list of the base, and the lane from the base to the new head,
 *	also what is not committed.  All of that which waits, or may wait once every
 *	open transaction has ended, it puts on the new list.
 *
 * Why no workflow is lost.  Each side first writes, then reads what the other side
 * writes.  So, whatever the order, at least one finds the other.  Suppose that the
 * starter does not find the new head.  Then the head was inserted after the
 * starter's last look, when the workflow's row had been written, and the raiser
 * looks later still:
 *
 *	- If the workflow waits behind the base, the raiser finds it in the lane.
 *	- If it waits before the base, the raiser finds it on the list of the base.  If
 *	  the base was there at the starter's last look, the starter had met it, and put
 *	  the workflow on its list before the new head was inserted.  If not, the base
 *	  was itself inserted after that look, and its raiser has found the workflow, by
 *	  the same argument.
 *
 * A claim sees a workflow and its entry together, because the starter writes both
 * in one subtransaction; and a head and its list together, because the raiser
 * writes both in one.
 *
 * What else may happen:
 *
 *	- The raiser aborts.  Its head and list are gone.  What starters have put on that
 *	  list stays, is of no use to anybody, and is removed some day (sweep_heads).
 *	- The starter aborts.  A raiser may have put the workflow on a list, where the
 *	  entry then names nothing.
 *	- An entry of the index is dead when the raiser looks.  Then it is dead for good.
 *	  If the workflow waits again at its place (after a release), its row is written
 *	  anew, and whoever does that is a starter and finds the head.
 *	- An entry is being claimed by a transaction that is still open.  It is not dead
 *	  for the raiser, since the claim may be taken back.
 *	- An entry is dead because the raiser itself has claimed it, or a subtransaction
 *	  of it.  If that claim is rolled back, so is the head: it was raised later, in
 *	  the same subtransaction or in one below.
 *	- A head is deleted while a starter looks.  The starter counts it as there unless
 *	  the deletion had committed before the snapshot of that look.  A head that was
 *	  deleted before is not the base of any raiser that looks later.
 *	- The base is deleted while the raiser reads its list.  The raiser also reads what
 *	  is deleted: the whole list was there in the snapshot in which the base is, and
 *	  nothing that such a snapshot sees is removed.
 *	- A caller is in REPEATABLE READ.  All statements here have a snapshot of their
 *	  own (plan.c), and the walks do not use the caller's.  Such a caller deletes no
 *	  heads, since that statement could fail.
 *
 * How far a head goes.  It stops at the first workflow that waits or may wait, so
 * most lists are empty.  It goes past one only to get behind many dead entries that
 * are worth an entry on the list: as they are if a starter stays open.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "head_internal.h"

#include "common/hashfn.h"
#include "executor/instrument.h"
#include "utils/snapmgr.h"

/* setting: so many buffers are a long walk over dead entries (init.c) */
int			durable_claim_walk = 4;

/* ---- one probe ------------------------------------------------------------------- */

/* Whether a workflow waits at a position: in a snapshot, or as far as anybody can tell. */
bool
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

/* The newest head at a rank or the next one below that has any. */
bool
look_head(Datum queue, int64 rank, Snapshot snapshot, Head *head)
{
	Walk		walk;
	bool		found;

	walk_heads(&walk, snapshot, queue, rank);
	found = next_place(&walk, &head->at);
	if (found)
		head->id = head_at(&walk);
	end_walk(&walk);
	return found;
}

/* The first that waits at ranks from the highest down to the lowest. */
bool
look_first(Datum queue, int64 highest, int64 lowest, Snapshot snapshot, Position *first)
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
look_late(Search *search, const Head *head, Snapshot snapshot, Position *first)
{
	Walk		walk;
	bool		found = false;

	if (is_untouched(&late_places))
		return false;
	walk_late(&walk, snapshot, &head->id);
	while (!found && next_place(&walk, first))
	{
		if (first->run_at > search->now)
		{
			due_later(&search->idle, first->run_at);
			break;
		}
		first->rank = head->at.rank;
		found = waits_at(search->queue, first, snapshot);
	}
	end_walk(&walk);
	return found;
}

/* ---- a search through the lanes ------------------------------------------------------ */

int64
buffers_read(void)
{
	return pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;
}

/*
 * Notes the lanes, from the highest rank down to the lowest, that a probe has gone through,
 * if it has walked far.  When it began, buffers_read told `before`; since then it has passed
 * over so many dead entries.  How many buffers their rows took depends on who has written
 * these side by side.  So the entries themselves count, and a buffer for each does not.  The
 * probes of a search are not added up: each may read a buffer or two more than is free, and
 * in many lanes that would look like a long walk.
 */
static void
note_walk(Search *search, int64 before, int64 passed, int64 highest, int64 lowest)
{
	int64		pages = Max(buffers_read() - before - FREE_BUFFERS - passed, 0);

	if (pages + passed / ENTRIES_A_BUFFER < durable_claim_walk)
		return;
	search->far_highest = Max(search->far_highest, highest);
	search->far_lowest = Min(search->far_lowest, lowest);
}

/* A claim cannot have a workflow that is due, since somebody else has taken it, or is changing it. */
void
note_passed(Search *search, const pg_uuid_t *id)
{
	search->passed += hash_bytes(id->data, UUID_LEN);
}

/*
 * Whether a search passes over the place at which a walk is.  Who takes a workflow, or
 * changes it so that it does not wait there any more, has deleted its entry, and has
 * its row locked to the end of the transaction: a claim could not have it.
 */
static bool
passes_over(Search *search, const Walk *walk, const Position *at)
{
	if (!search->is_claim || is_settled(walk))
		return false;
	note_passed(search, &at->id);
	return true;
}

/* The first that is due in a lane, from its head on. */
static bool
look_behind(Search *search, const Head *head, Snapshot snapshot, Position *first)
{
	int64		before = buffers_read();
	Walk		walk;
	bool		found;

	walk_lane(&walk, &waiting_places, snapshot, search->queue, &head->at);
	found = next_place(&walk, first);
	note_walk(search, before, walk.passed, head->at.rank, head->at.rank);
	while (found && passes_over(search, &walk, first))
		found = next_place(&walk, first);
	end_walk(&walk);
	if (found && first->run_at > search->now)
	{
		due_later(&search->idle, first->run_at);
		return false;
	}
	return found;
}

/* The first that is due in the lane of a head. */
static bool
look_in_lane(Search *search, const Head *head, Snapshot snapshot, Due *due)
{
	int64		before = buffers_read();

	due->head_id = head->id;
	due->head = head->at;
	due->is_late = look_late(search, head, snapshot, &due->first);
	note_walk(search, before, 0, head->at.rank, head->at.rank);
	return due->is_late || look_behind(search, head, snapshot, &due->first);
}

/*
 * The first that waits in lanes without a head, which are above that of the next
 * head, if there is one; it need not be due.
 */
static bool
look_above(Search *search, const Head *head, Snapshot snapshot, Due *due)
{
	int64		lowest = head ? head->at.rank + 1 : LOWEST_RANK;
	int64		before = buffers_read();
	Walk		walk;
	bool		found;

	if (head && head->at.rank == search->highest)
		return false;
	due->is_late = false;
	walk_queue(&walk, &waiting_places, snapshot, search->queue, search->highest, lowest);
	found = next_place(&walk, &due->first);
	note_walk(search, before, walk.passed, search->highest, found ? due->first.rank : lowest);
	while (found && passes_over(search, &walk, &due->first))
		found = next_place(&walk, &due->first);
	end_walk(&walk);
	return found;
}

/*
 * The next lane in which something is due, and the first there.  One index probe for each
 * lane without a head in which nothing is due, a few for others, until there were so many
 * that it pays to ask in which something is (idle.c).
 */
static bool
look_next(Search *search, Due *due, Snapshot snapshot)
{
	Head		head;
	bool		has_head = look_head(search->queue, search->highest, snapshot, &head);

	while (search->highest >= LOWEST_RANK)
	{
		if (look_above(search, has_head ? &head : NULL, snapshot, due))
		{
			search->highest = due->first.rank - 1;
			if (due->first.run_at <= search->now)
				return true;
			due_later(&search->idle, due->first.run_at);
		}
		else if (has_head)
		{
			search->highest = head.at.rank - 1;
			if (look_in_lane(search, &head, snapshot, due))
				return true;
		}
		else
			search->highest = LOWEST_RANK - 1;
		search->highest = pass_over_idle(&search->idle, search->queue, search->highest, search->now, snapshot);
		if (has_head && head.at.rank > search->highest)
			has_head = look_head(search->queue, search->highest, snapshot, &head);
	}
	return false;
}

Search
begin_search(Datum queue, TimestampTz now, bool is_claim)
{
	Search		search = {
		.queue = queue,.now = now,.highest = HIGHEST_RANK,.idle = begin_idle(),
		.far_highest = LOWEST_RANK - 1,.far_lowest = HIGHEST_RANK + 1,
		.is_claim = is_claim
	};

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

/* How many of those that are due wait in a lane, from where it is read on; at most so many. */
static int64
count_in_lane(const Search *search, const Due *due, int64 most)
{
	const Position *from = due->is_late ? &due->head : &due->first;
	int64		count = due->is_late ? 1 : 0;
	Position	at;
	Walk		walk;

	walk_lane(&walk, &waiting_places, GetActiveSnapshot(), search->queue, from);
	while (count < most && next_place(&walk, &at) && at.run_at <= search->now)
		count++;
	end_walk(&walk);
	return count;
}

/* How many are due in all lanes; at most so many.  Of those before a head it counts one. */
int64
count_due(Search *search, int64 most)
{
	int64		count = 0;
	Due			due;

	PushActiveSnapshot(GetLatestSnapshot());
	while (count < most && look_next(search, &due, GetActiveSnapshot()))
		count += most == 1 ? 1 : count_in_lane(search, &due, most - count);
	PopActiveSnapshot();
	return count;
}
