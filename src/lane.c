/*-------------------------------------------------------------------------
 *
 * lane.c
 *	  The lanes of keys: how claims meet them, and why no workflow is lost there.
 *
 * Workflows with a concurrency_key wait in lanes of their own, one for each key and
 * rank, so that a claim can pass over a key that is full, or turn to one that has
 * waited long, without a look at all that waits under another.  There may be any
 * number of keys.  So a claim needs to know which lanes are there, in the order in
 * which they are to be served.  For that a lane has tickets (rows of
 * durable.queue_lane).  A ticket is a position in its lane, and makes a promise:
 *
 *	Each workflow that waits under a key has a ticket at or before its position.
 *
 * One ticket may serve many workflows: a claim reads the lane from the ticket on.
 * There may be several tickets in a lane, and tickets with nothing behind them.  A
 * ticket never changes.  After a claim the ones that it has met (in a fair queue, all of
 * the lanes that it has served which are due) are replaced by one,
 * at the first position where something is left, or by none.  So what was claimed
 * before is not walked over again: a ticket is to its lane what a head is to the lane
 * without a key (head.c).
 *
 * Two sides keep the promise.  Neither waits for the other.
 *
 *	The starter is the transaction that makes a workflow wait.  First it writes the
 *	workflow's row in durable.pending.  Then (enter_lane) it looks for a ticket at or
 *	before that position, also among those that are not committed.  It relies on one
 *	that is settled: committed, or its own, and nobody is deleting it.  If it finds
 *	none, it inserts a ticket of its own.
 *
 *	The claimer has the queue's lock alone; only claimers delete tickets
 *	(replace_tickets).  First it deletes those that it has met.  Then it reads the lane
 *	from the first of them on, also what is not committed.  If anything waits there, or
 *	may wait once every open transaction has ended, it inserts a ticket at the first
 *	such position.
 *
 * Why no workflow is lost.  Suppose that a starter relies on a ticket, and a claimer
 * deletes it.  The starter looked before the deletion: else it would not have relied on
 * the ticket.  So the workflow's row was written before, too, and the claimer, which
 * looks after the deletion, finds it: it waits at or behind that ticket.
 *
 * What else may happen:
 *
 *	- The claimer aborts, or a subtransaction of it.  The tickets that it has deleted are
 *	  there again, and so is what it has claimed.
 *	- The starter aborts.  Its ticket is gone, and nobody has relied on it: others do not
 *	  see it as settled.  What the starter itself has made to wait since was in the same
 *	  subtransaction or in one below, or the ticket was not settled for it either.
 *	- The starter inserts a ticket where one would have done: claims replace both.
 *	- A workflow leaves the lane by another way than by a claim.  The ticket stays, and the
 *	  next claim that meets it replaces it.
 *	- A caller is in REPEATABLE READ: walks do not use its snapshot.
 *
 * A ticket also tells since when its lane has waited (serve_at): since it was served, or, if
 * nothing waited in it then, since something does.  A fair queue goes by that.
 *
 * The trigger that keeps the registers is what calls enter_lane.  So the promise holds
 * whoever writes a workflow's row, and a dump that is restored makes the tickets anew.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "lane.h"
#include "places.h"
#include "relation.h"

#include "access/heapam.h"
#include "access/table.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* ---- the table ------------------------------------------------------------------- */

static void
insert_ticket(Datum queue, const Position *from, TimestampTz serve_at)
{
	Relation	table = open_to_write(&lane_places);
	pg_uuid_t	id;
	Datum		values[] = {
		queue, from->key ? from->key : CStringGetTextDatum(""), Int64GetDatum(turn_of_rank(from->rank)),
		TimestampTzGetDatum(from->run_at), UUIDPGetDatum(&from->id), UUIDPGetDatum(&id), TimestampTzGetDatum(serve_at)
	};

	new_workflow_id(clock_ns(), 0, &id);
	add_row(table, values);
	table_close(table, NoLock);
}

static void
delete_ticket(Relation table, const Ticket *ticket)
{
	ItemPointerData tid = ticket->tid;

	simple_heap_delete(table, &tid);
}

/* ---- the starter ------------------------------------------------------------------ */

/*
 * So many entries of a lane are looked at: the newest, so the one that serves now is
 * among the first.  If all of them are dead, it costs less to insert a ticket.
 */
#define MOST_LOOKED 8

/* Sees to it that claims meet the lane at or before a position, where a workflow now waits. */
void
enter_lane(Datum queue, const Position *at)
{
	Walk		walk;
	Position	place;
	bool		found = false;

	walk_lane_back(&walk, &lane_places, SnapshotAny, queue, at);
	for (int looked = 0; !found && looked < MOST_LOOKED && next_place(&walk, &place); looked++)
		found = is_settled(&walk);
	end_walk(&walk);
	if (!found)
	{
		TimestampTz now = clock_now();

		insert_ticket(queue, at, Max(at->run_at, now));
	}
}

/* ---- what a claim reads -------------------------------------------------------------- */

struct TicketWalk
{
	Walk		walk;
	bool		is_empty;		/* there are no tickets at all, and no walk */
};

static TicketWalk *
new_ticket_walk(bool is_empty)
{
	TicketWalk *tickets = palloc0(sizeof(TicketWalk));

	tickets->is_empty = is_empty || is_untouched(&lanes_in_order);
	return tickets;
}

/* The tickets of a queue at ranks from the highest down to the lowest, as they are now. */
TicketWalk *
walk_tickets(Datum queue, bool fairly, int64 highest, int64 lowest)
{
	TicketWalk *tickets = new_ticket_walk(highest < lowest);

	if (!tickets->is_empty)
		walk_queue(&tickets->walk, fairly ? &lanes_by_service : &lanes_in_order, RegisterSnapshot(GetLatestSnapshot()),
				   queue, highest, lowest);
	return tickets;
}

/* Those of the lane of a position, by position. */
TicketWalk *
walk_tickets_of_lane(Datum queue, const Position *of)
{
	TicketWalk *tickets = new_ticket_walk(false);
	Position	from = {.rank = of->rank,.key = of->key,.run_at = DT_NOBEGIN};

	if (!tickets->is_empty)
		walk_lane(&tickets->walk, &lane_places, RegisterSnapshot(GetLatestSnapshot()), queue, &from);
	return tickets;
}

/* The next one; false at the end. */
bool
next_ticket(TicketWalk *tickets, Ticket *ticket)
{
	while (!tickets->is_empty && next_place(&tickets->walk, &ticket->from))
	{
		text	   *key = DatumGetTextPP(key_at(&tickets->walk));

		/* not one: it only tells when the lane without a key was served */
		if (VARSIZE_ANY_EXHDR(key) == 0)
			continue;
		ticket->from.key = PointerGetDatum(DatumGetTextPCopy(PointerGetDatum(key)));
		ticket->serve_at = serve_at(&tickets->walk);
		ticket->tid = tickets->walk.row->t_self;
		return true;
	}
	return false;
}

void
end_tickets(TicketWalk *tickets)
{
	if (!tickets->is_empty)
	{
		Snapshot	snapshot = tickets->walk.snapshot;

		end_walk(&tickets->walk);
		UnregisterSnapshot(snapshot);
	}
	pfree(tickets);
}

/* The first ticket at the highest rank that has one, from a rank down. */
bool
first_ticket(Datum queue, int64 highest, Ticket *ticket)
{
	TicketWalk *tickets = walk_tickets(queue, false, highest, LOWEST_RANK);
	bool		found = next_ticket(tickets, ticket);

	end_tickets(tickets);
	return found;
}

/* The first ticket at the highest rank, from a rank down, in which one is due. */
bool
first_due_ticket(Idle *idle, Datum queue, int64 highest, TimestampTz now, Ticket *ticket)
{
	while (first_ticket(queue, highest, ticket))
	{
		if (ticket->from.run_at <= now)
			return true;
		due_later(idle, ticket->from.run_at);
		PushActiveSnapshot(GetLatestSnapshot());
		highest = pass_over_idle(idle, queue, ticket->from.rank - 1, now, GetActiveSnapshot());
		PopActiveSnapshot();
	}
	return false;
}

/* Whether any workflow of a queue waits under a key, or did. */
bool
has_tickets(Datum queue)
{
	Ticket		ticket;

	return first_ticket(queue, HIGHEST_RANK, &ticket);
}

/* The first that is due in a lane, from a position on, or behind it. */
bool
first_in_lane(Datum queue, const Position *from, bool from_is_done, TimestampTz now, Position *first)
{
	Walk		walk;
	bool		found = false;

	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &waiting_places, GetActiveSnapshot(), queue, from);
	while (!found && next_place(&walk, first) && first->run_at <= now)
		found = !from_is_done || compare_positions(first, from) > 0;
	end_walk(&walk);
	PopActiveSnapshot();
	return found;
}

/* How many are due in a lane from a position on, at most so many; *next: the first that is due later, if it is earlier. */
int64
count_from(Datum queue, const Position *from, TimestampTz now, int64 most, TimestampTz *next)
{
	Walk		walk;
	Position	at;
	int64		count = 0;

	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &waiting_places, GetActiveSnapshot(), queue, from);
	while (count < most && next_place(&walk, &at))
	{
		if (at.run_at > now)
		{
			*next = Min(*next, at.run_at);
			break;
		}
		count++;
	}
	end_walk(&walk);
	PopActiveSnapshot();
	return count;
}

/* When the lane of a rank without a key was served last, if a claim has marked that. */
bool
last_served(Datum queue, int64 rank, Ticket *marker)
{
	Position	end = {.rank = rank,.run_at = DT_NOEND};
	Walk		walk;
	bool		found;

	if (is_untouched(&lane_places))
		return false;
	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane_back(&walk, &lane_places, GetActiveSnapshot(), queue, &end);
	found = next_place(&walk, &marker->from);
	if (found)
	{
		marker->serve_at = serve_at(&walk);
		marker->tid = walk.row->t_self;
	}
	end_walk(&walk);
	PopActiveSnapshot();
	return found;
}

/* ---- the claimer -------------------------------------------------------------------- */

/* The first that waits in a lane from a position on, or may wait once all that is open has ended. */
static bool
first_that_may_wait(Datum queue, const Position *from, Position *first)
{
	Walk		walk;
	bool		found = false;

	walk_lane(&walk, &waiting_places, SnapshotAny, queue, from);
	while (!found && next_place(&walk, first))
		found = is_live(&walk);
	end_walk(&walk);
	return found;
}

static const Position *
lowest_of(const Ticket *tickets, int count)
{
	const Position *lowest = &tickets[0].from;

	for (int i = 1; i < count; i++)
		if (compare_positions(&tickets[i].from, lowest) < 0)
			lowest = &tickets[i].from;
	return lowest;
}

/* Whether anything may wait at the first of some tickets of a lane: then they are not worth replacing. */
bool
waits_at_tickets(Datum queue, const Ticket *tickets, int count)
{
	const Position *from = lowest_of(tickets, count);
	Position	first;

	return first_that_may_wait(queue, from, &first) && compare_positions(&first, from) == 0;
}

/*
 * Replaces tickets of one lane, which a claim has met, by one where the first is that is
 * left there, if any is.  served is when the lane was served, or since when it has waited.
 * The caller has the queue's lock alone.
 */
void
replace_tickets(Datum queue, const Ticket *tickets, int count, TimestampTz served)
{
	Relation	table = open_to_write(&lane_places);
	Position	first;

	for (int i = 0; i < count; i++)
		delete_ticket(table, &tickets[i]);
	table_close(table, NoLock);
	if (first_that_may_wait(queue, lowest_of(tickets, count), &first))
		insert_ticket(queue, &first, Max(first.run_at, served));
}

/* Marks when the lane of a rank without a key was served, in a fair queue. */
void
mark_served(Datum queue, int64 rank, const Ticket *before, TimestampTz served)
{
	Position	at = {.rank = rank,.run_at = served};

	if (before)
	{
		Relation	table = open_to_write(&lane_places);

		delete_ticket(table, before);
		table_close(table, NoLock);
	}
	insert_ticket(queue, &at, served);
}

/* ---- changes of a queue ---------------------------------------------------------------- */

#define OF_QUEUE(P) \
	P(queue, TEXTOID)
PARAMETERS(OfQueue, OF_QUEUE);

static Statement delete_tickets = STATEMENT(OfQueue,
	"DELETE FROM durable.queue_lane l WHERE l.queue_name = :queue");

/* Those of a queue that is dropped. */
void
drop_tickets(Datum queue)
{
	run(&delete_tickets, &(OfQueue) {.queue = a_value(queue)}, NEWEST);
}
