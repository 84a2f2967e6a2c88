/*-------------------------------------------------------------------------
 *
 * claim_lanes.c
 *	  Claims in a queue that is fair, or in which workflows wait under keys: which
 *	  lane is next.
 *
 * The caller has the queue's lock alone.  From the highest rank down, it opens the
 * lanes of a rank in the order of their tickets (lane.c), as many as it needs to tell
 * which one goes first.  The lane without a key is one of them (head.c).  A key that
 * is full is passed over, whatever waits under it: it costs the count of its slots.
 *
 * Which lane goes first: that whose first workflow does.  In a fair queue, that with
 * the fewest running, then that which was served longest ago; one of which nothing
 * waited since counts from when its first workflow was due.  So a key gets a second
 * slot only when each other key of which something waits has one, and of two that
 * have as many they take turns.  Where not all is wanted, the first that is wanted counts as
 * a lane's first.
 *
 * Why no key exceeds its limit: a workflow takes its slot by its claim, and all claims
 * of the queue come one after the other.  What ends meanwhile only frees slots.
 *
 *-------------------------------------------------------------------------
 */
#include "claim_internal.h"
#include "places.h"
#include "sql.h"

#include "access/xact.h"
#include "utils/builtins.h"

typedef struct Lane
{
	bool		has_key;
	Position	from;			/* nothing that is due waits before it */
	bool		from_is_done;	/* nor there */
	bool		is_known;		/* that is where the first waits that is due */
	TimestampTz serve_at;		/* it was served then, or has waited since then */
	int64		running;		/* so many of its key run ... */
	bool		is_counted;		/* ... or at least so many */
	bool		is_passed;		/* there is nothing more to claim in it */
	bool		was_served;
	bool		is_stale;		/* nothing waits at its ticket */
	Ticket	   *tickets;		/* those that were met; of the lane without a key, that which marks when it was served */
	int			ticket_count;
	bool		has_all_tickets;	/* ... and all others of the lane that are due */
	Due			due;			/* of the lane without a key */
} Lane;

/* The lanes of a rank. */
typedef struct Rank
{
	QueueClaim *claim;
	int64		rank;
	Lane	  **lanes;
	int			count;
	TicketWalk *tickets;
	Ticket		next;			/* of the lane that would be opened next ... */
	bool		has_next;		/* ... if it is due */
} Rank;

/* ---- what runs under a key ----------------------------------------------------------- */

/* How many workflows of a key may run. */
static int64
most_of_key(const Queue *queue)
{
	return queue->key_concurrency.isnull ? PG_INT64_MAX : DatumGetInt32(queue->key_concurrency.value);
}

static bool
is_full(const Queue *queue, const Lane *lane)
{
	return lane->has_key && lane->running >= most_of_key(queue);
}

/* Counts what runs under a lane's key, up to so many: more do not matter yet. */
static void
count_lane(const QueueClaim *claim, Lane *lane, int64 most)
{
	if (lane->has_key)
		most = Min(most, most_of_key(&claim->queue));
	lane->running = claim->queue.fair || most < PG_INT64_MAX ?
		count_slots_of_key(claim->search.queue, &claim->counts, lane->from.key, most) : 0;
	lane->is_counted = lane->running < most || is_full(&claim->queue, lane);
	lane->is_passed = is_full(&claim->queue, lane);
}

/* ---- opening lanes --------------------------------------------------------------------- */

static Lane *
add_lane(Rank *rank, const Position *from)
{
	Lane	   *lane = palloc0(sizeof(Lane));

	/* room for twice as many at each power of two */
	if ((rank->count & (rank->count - 1)) == 0)
		rank->lanes = rank->lanes ? repalloc(rank->lanes, Max(2 * rank->count, 1) * sizeof(Lane *)) : palloc(sizeof(Lane *));
	rank->lanes[rank->count++] = lane;
	lane->from = *from;
	return lane;
}

static void
add_ticket(Lane *lane, const Ticket *ticket)
{
	lane->tickets = lane->tickets ? repalloc(lane->tickets, (lane->ticket_count + 1) * sizeof(Ticket)) : palloc(sizeof(Ticket));
	lane->tickets[lane->ticket_count++] = *ticket;
}

static Lane *
lane_of_key(const Rank *rank, Datum key)
{
	for (int i = 0; i < rank->count; i++)
		if (rank->lanes[i]->has_key && same_text(a_value(rank->lanes[i]->from.key), a_value(key)))
			return rank->lanes[i];
	return NULL;
}

/* Goes on to the next ticket that is due.  Behind one that is not yet due there is none that is: serve_at is not before run_at. */
static void
look_at_next(Rank *rank)
{
	rank->has_next = next_ticket(rank->tickets, &rank->next) && rank->next.from.run_at <= rank->claim->search.now;
}

/* Opens the lane of the next ticket.  most: more that run under its key do not matter yet. */
static void
open_next(Rank *rank, int64 most)
{
	const Ticket *ticket = &rank->next;
	Lane	   *lane = lane_of_key(rank, ticket->from.key);

	if (lane == NULL)
	{
		lane = add_lane(rank, &ticket->from);
		lane->has_key = true;
		lane->serve_at = ticket->serve_at;
		count_lane(rank->claim, lane, most);
	}
	if (!lane->has_all_tickets)
		add_ticket(lane, ticket);
	look_at_next(rank);
}

/*
 * The lanes of a fair queue come in the order in which they are served.  So the ticket that
 * was met of one need not be the first of that lane; and one that stayed would say that the
 * lane has waited since before it is served now.
 */
static void
look_at_tickets(const Rank *rank, Lane *lane)
{
	TicketWalk *tickets = walk_tickets_of_lane(rank->claim->search.queue, &lane->from);
	Ticket		ticket;

	lane->ticket_count = 0;
	while (next_ticket(tickets, &ticket) && ticket.from.run_at <= rank->claim->search.now)
		add_ticket(lane, &ticket);
	end_tickets(tickets);
	lane->has_all_tickets = true;
	lane->from = lane->tickets[0].from;
}

/* ---- claims that do not want all --------------------------------------------------------- */

#define FIRST_WANTED(P) \
	P(queue, TEXTOID) \
	P(key, TEXTOID) \
	P(turn, INT8OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(id, UUIDOID) \
	P(now, TIMESTAMPTZOID) \
	P(handlers, TEXTARRAYOID) \
	P(app_version, TEXTOID)
PARAMETERS(FirstWanted, FIRST_WANTED);

#define PLACE_LIST(F, C, t) F(t, run_at) C(t, id)
ROW(PlaceRow, PLACE_LIST);

static Statement look_first_wanted = STATEMENT(FirstWanted,
	"SELECT " COLUMNS(PLACE_LIST, "p.") " FROM durable.pending p JOIN durable.workflow w ON w.id = p.id "
	"WHERE p.queue_name = :queue AND p.key = :key AND p.turn = :turn AND p.run_at <= :now AND (p.run_at, p.id) >= (:run_at, :id)"
	"  AND " WANTED " "
	"ORDER BY p.run_at, p.id LIMIT 1",
	.planning = IN_ORDER);

/* Of what is due in a lane, where its first is known, only some may be wanted: goes to the first of these, or passes the lane. */
static void
go_to_wanted(const Rank *rank, Lane *lane)
{
	const QueueClaim *claim = rank->claim;
	PlaceRow	row;

	if (claim->handlers.isnull && claim->app_version.isnull)
		return;
	lane->is_passed = run(&look_first_wanted, &(FirstWanted)
						  {
							  .queue = a_value(claim->search.queue),
							  .key = a_value(lane->has_key ? lane->from.key : CStringGetTextDatum("")),
							  .turn = a_bigint(turn_of_rank(rank->rank)),.run_at = a_time(lane->from.run_at),
							  .id = an_id(&lane->from.id),.now = a_time(claim->search.now),
							  .handlers = claim->handlers,.app_version = claim->app_version
						  }, NEWEST) == 0;
	if (lane->is_passed)
		return;
	fetch(0, 0, &row);
	lane->from.run_at = DatumGetTimestampTz(row.run_at.value);
	lane->from.id = *DatumGetUUIDP(row.id.value);
}

/* ---- the lane without a key --------------------------------------------------------------- */

/* Sees where the lane without a key begins; it is passed if nothing in it is due. */
static void
look_without_key(Rank *rank, Lane *lane)
{
	QueueClaim *claim = rank->claim;

	claim->search.highest = rank->rank;
	lane->is_passed = !next_due(&claim->search, &lane->due) || lane->due.first.rank != rank->rank;
	if (lane->is_passed)
		return;
	lane->from = lane->due.first;
	lane->is_known = true;
	go_to_wanted(rank, lane);
}

/* Opens the lane without a key, in which something is due. */
static void
open_without_key(Rank *rank, const Due *due)
{
	Lane	   *lane = add_lane(rank, &due->first);
	Ticket		marker;

	lane->due = *due;
	lane->is_known = true;
	lane->serve_at = due->first.run_at;
	if (!rank->claim->queue.fair)
		lane->is_counted = true;
	else
	{
		count_lane(rank->claim, lane, PG_INT64_MAX);
		if (last_served(rank->claim->search.queue, rank->rank, &marker))
		{
			add_ticket(lane, &marker);
			lane->serve_at = Max(lane->serve_at, marker.serve_at);
		}
	}
	go_to_wanted(rank, lane);
}

/* ---- choosing one ----------------------------------------------------------------------- */

/* Whether lane a goes before lane b. */
static bool
goes_before(const Rank *rank, const Lane *a, const Lane *b)
{
	if (rank->claim->queue.fair)
	{
		if (a->running != b->running)
			return a->running < b->running;
		if (a->serve_at != b->serve_at)
			return a->serve_at < b->serve_at;
	}
	return compare_positions(&a->from, &b->from) < 0;
}

/* Whether a lane that is not open yet may go before one that is. */
static bool
next_may_go_before(const Rank *rank, const Lane *lane)
{
	if (rank->claim->queue.fair)
		return lane->running > 0 || rank->next.serve_at < lane->serve_at;
	return compare_positions(&rank->next.from, &lane->from) < 0;
}

/* Of those that are open, the one that goes first, as far as is known of them. */
static Lane *
first_open(const Rank *rank, int *open)
{
	Lane	   *first = NULL;

	*open = 0;
	for (int i = 0; i < rank->count; i++)
	{
		Lane	   *lane = rank->lanes[i];

		if (lane->is_passed)
			continue;
		(*open)++;
		if (first == NULL || goes_before(rank, lane, first))
			first = lane;
	}
	return first;
}

/* Finds the first in a lane that is due.  Nothing has waited there before that was due. */
static void
find_first(Rank *rank, Lane *lane)
{
	Datum		queue = rank->claim->search.queue;
	Position	first;

	if (lane->has_key && rank->claim->queue.fair && !lane->has_all_tickets)
		look_at_tickets(rank, lane);
	if (first_in_lane(queue, &lane->from, lane->from_is_done, rank->claim->search.now, &first))
	{
		lane->from = first;
		lane->from_is_done = false;
		lane->is_known = true;
		lane->serve_at = Max(lane->serve_at, first.run_at);
		go_to_wanted(rank, lane);
		return;
	}
	lane->is_passed = true;
	lane->is_stale = lane->has_key && !waits_at_tickets(queue, lane->tickets, lane->ticket_count);
}

/* The lane that goes first; NULL if nothing is left.  *alone tells whether it is the only one. */
static Lane *
next_lane(Rank *rank, bool *alone)
{
	for (;;)
	{
		int			open;
		Lane	   *lane = first_open(rank, &open);

		if (rank->has_next && (lane == NULL || next_may_go_before(rank, lane)))
			open_next(rank, lane && rank->claim->queue.fair ? lane->running + 1 : PG_INT64_MAX);
		else if (lane == NULL)
			return NULL;
		else if (!lane->is_counted)
			count_lane(rank->claim, lane, PG_INT64_MAX);
		else if (!lane->is_known)
			find_first(rank, lane);
		else
		{
			*alone = open == 1 && !rank->has_next;
			return lane;
		}
	}
}

/* ---- claiming ----------------------------------------------------------------------------- */

/* Claims up to so many in a lane.  Returns their number. */
static int64
serve(Rank *rank, Lane *lane, int64 wanted)
{
	QueueClaim *claim = rank->claim;
	bool		late = !lane->has_key && lane->due.is_late;
	int64		claimed;

	if (lane->has_key)
		wanted = Min(wanted, most_of_key(&claim->queue) - lane->running);
	claimed = claim_in_lane(claim, &lane->due, late, &lane->from, wanted);
	lane->running += claimed;
	lane->was_served |= claimed > 0;
	if (claimed > 0)
		lane->serve_at = claim->search.now;
	if (late && claimed > 0)
		look_without_key(rank, lane);
	else if (late)
	{
		/* none on the list can be had */
		lane->due.is_late = false;
		lane->from = lane->due.head;
		lane->is_known = false;
	}
	else
	{
		lane->from_is_done = true;
		lane->is_known = false;
		lane->is_passed = claimed == 0;
	}
	if (is_full(&claim->queue, lane))
		lane->is_passed = true;
	return claimed;
}

/* Replaces the tickets of the lanes that were served, and those at which nothing waits. */
static void
settle(const Rank *rank)
{
	const QueueClaim *claim = rank->claim;
	bool		fair = claim->queue.fair;

	if (XactReadOnly)
		return;
	for (int i = 0; i < rank->count; i++)
	{
		const Lane *lane = rank->lanes[i];

		if (lane->has_key && (lane->was_served || lane->is_stale))
			replace_tickets(claim->search.queue, lane->tickets, lane->ticket_count, lane->serve_at);
		else if (!lane->has_key && lane->was_served && fair)
			mark_served(claim->search.queue, rank->rank, lane->tickets, claim->search.now);
	}
	CommandCounterIncrement();
}

/* Claims up to so many at a rank; due: in the lane without a key, NULL if nothing is due there. */
static int64
claim_at_rank(QueueClaim *claim, int64 at, const Due *due, int64 wanted)
{
	Rank		rank = {.claim = claim,.rank = at};
	int64		claimed = 0;
	Lane	   *lane;
	bool		alone;

	rank.tickets = walk_tickets(claim->search.queue, claim->queue.fair, at, at);
	look_at_next(&rank);
	if (due)
		open_without_key(&rank, due);
	while (claimed < wanted && (lane = next_lane(&rank, &alone)) != NULL)
		claimed += serve(&rank, lane, alone ? wanted - claimed : 1);
	end_tickets(rank.tickets);
	settle(&rank);
	return claimed;
}

/* Claims up to so many, from the highest rank down.  Returns their number. */
int64
claim_by_lanes(QueueClaim *claim, int64 wanted)
{
	int64		highest = HIGHEST_RANK;
	int64		claimed = 0;
	Idle		idle = begin_idle();
	Ticket		ticket;
	bool		has_ticket = first_due_ticket(&idle, claim->search.queue, highest, claim->search.now, &ticket);

	while (claimed < wanted && highest >= LOWEST_RANK)
	{
		Due			due;
		bool		has_due;

		claim->search.highest = highest;
		has_due = next_due(&claim->search, &due);
		if (!has_due && !has_ticket)
			break;
		highest = !has_ticket ? due.first.rank : !has_due ? ticket.from.rank : Max(due.first.rank, ticket.from.rank);
		if (claim->starts_left > 0 || is_suspended_rank(highest))
			claimed += claim_at_rank(claim, highest, has_due && due.first.rank == highest ? &due : NULL,
									 is_suspended_rank(highest) ? wanted - claimed :
									 Min(wanted - claimed, claim->starts_left));
		highest--;
		if (has_ticket && ticket.from.rank > highest)
			has_ticket = first_due_ticket(&idle, claim->search.queue, highest, claim->search.now, &ticket);
	}
	return claimed;
}

/* So many tickets at which nothing waits are worth a claim that removes them. */
#define MOST_STALE 16

/* Whether anything is due under a key that is not full.  Locks nothing. */
bool
may_claim_under_keys(const QueueClaim *claim)
{
	Datum		queue = claim->search.queue;
	int64		most = most_of_key(&claim->queue);
	int64		highest = HIGHEST_RANK;
	int			stale = 0;
	Idle		idle = begin_idle();
	Ticket		ticket;
	Position	first;
	bool		found = false;

	while (!found && first_due_ticket(&idle, queue, highest, claim->search.now, &ticket))
	{
		TicketWalk *tickets = walk_tickets(queue, false, ticket.from.rank, ticket.from.rank);

		while (!found && next_ticket(tickets, &ticket) && ticket.from.run_at <= claim->search.now)
			if ((claim->starts_left > 0 || is_suspended_rank(ticket.from.rank)) &&
				(most == PG_INT64_MAX || count_slots_of_key(queue, &claim->counts, ticket.from.key, most) < most))
				found = first_in_lane(queue, &ticket.from, false, claim->search.now, &first) || ++stale > MOST_STALE;
		end_tickets(tickets);
		highest = ticket.from.rank - 1;
	}
	return found;
}

/*
 * How many are due under keys that are not full, at most so many (of what is in a rank
 * that the rate limit does not allow, none).  *due is raised by those that are due at all,
 * counted up to the same; *next is set to the first that is due later, if it is earlier.  For who waits for
 * work: locks nothing.
 */
int64
count_due_under_keys(Datum queue, const Queue *limits, const Counts *counts, TimestampTz now, int64 most,
					 int64 *due, TimestampTz *next)
{
	int64		most_a_key = most_of_key(limits);
	int64		starts = starts_left(limits, counts);
	int64		highest = HIGHEST_RANK;
	int64		allowed = 0;
	Idle		idle = begin_idle();
	Ticket		ticket;

	while (allowed < most && first_due_ticket(&idle, queue, highest, now, &ticket))
	{
		TicketWalk *tickets = walk_tickets(queue, false, ticket.from.rank, ticket.from.rank);

		while (allowed < most && next_ticket(tickets, &ticket))
		{
			int64		count;

			if (ticket.from.run_at > now)
			{
				*next = Min(*next, ticket.from.run_at);
				break;
			}
			count = count_from(queue, &ticket.from, now, most, next);
			*due += count;
			if (most_a_key < PG_INT64_MAX && count > 0)
			{
				int64		running = count_slots_of_key(queue, counts, ticket.from.key, most_a_key);

				count = Min(count, most_a_key - running);
			}
			if (starts > 0 || is_suspended_rank(ticket.from.rank))
				allowed += Max(count, 0);
		}
		end_tickets(tickets);
		highest = ticket.from.rank - 1;
	}
	*next = Min(*next, idle.next);
	return Min(allowed, most);
}
