/*-------------------------------------------------------------------------
 *
 * idle.c
 *	  How a search through a queue passes over ranks in which nothing is due.
 *
 * A search looks into one rank after the other, from the highest down, since the
 * register durable.pending is ordered by rank first.  There may be thousands in
 * which all that waits is due later.  The register durable.prioritized has the same
 * workflows by run_at, but for those of priority 0, of which there are two ranks.
 * So what is due stands at its start, and tells which ranks are worth a look.
 *
 * Neither order is best for all queues: where much is due at low ranks, most of that
 * would be read here for nothing.  So a search begins with the ranks, and reads at most
 * ENTRIES_A_RANK here for each rank that it has looked into.
 *
 * This register is read in the snapshot in which the search looks into ranks, or in a
 * later one: what does not wait in that any more, nobody can have.
 *
 *-------------------------------------------------------------------------
 */
#include "idle.h"
#include "places.h"

/* So many ranks are looked into first. */
#define FEW_RANKS	8

/* To look into a rank costs as much as to read so many entries. */
#define ENTRIES_A_RANK	16

Idle
begin_idle(void)
{
	return (Idle) {.look_at = FEW_RANKS,.next = DT_NOEND};
}

/* Something in a rank, in which nothing is due, is due then. */
void
due_later(Idle *idle, TimestampTz run_at)
{
	idle->next = Min(idle->next, run_at);
}

/* The highest of two ranks that is not above a third; below the lowest if neither is. */
static int64
highest_up_to(int64 a, int64 b, int64 highest)
{
	return Max(a <= highest ? a : LOWEST_RANK - 1, b <= highest ? b : LOWEST_RANK - 1);
}

/*
 * The rank at which a search goes on that has found nothing due in another one, and would look
 * into `highest` next: that one, or the first below it in which something may be due; below
 * the lowest if there is none.
 */
int64
pass_over_idle(Idle *idle, Datum queue, int64 highest, TimestampTz now, Snapshot snapshot)
{
	int64		first = highest_up_to(rank_of(0, true), rank_of(0, false), highest);
	int64		entries = 0;
	int64		most;
	bool		is_there;
	Position	at;
	Walk		walk;

	if (++idle->ranks < idle->look_at || highest < LOWEST_RANK)
		return highest;
	most = idle->ranks * ENTRIES_A_RANK;
	walk_queue(&walk, &prioritized_places, snapshot, queue, HIGHEST_RANK, LOWEST_RANK);
	walk.most_passed = most;
	while ((is_there = next_place(&walk, &at)) && at.run_at <= now && first < highest && entries + walk.passed < most)
	{
		entries++;
		if (at.rank <= highest)
			first = Max(first, at.rank);
	}
	idle->look_at = idle->ranks + Max(1, (entries + walk.passed) / ENTRIES_A_RANK);
	if (is_there ? at.run_at <= now : walk.passed >= most)
		first = highest;		/* more is due than was read */
	else if (is_there)
		due_later(idle, at.run_at);
	end_walk(&walk);
	return first;
}
