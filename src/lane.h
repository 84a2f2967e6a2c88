/*-------------------------------------------------------------------------
 *
 * lane.h
 *	  The lanes of keys, and where claims meet them (lane.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_LANE_H
#define DURABLE_LANE_H

#include "head.h"

#include "storage/itemptr.h"

/* Where claims meet the lane of a key. */
typedef struct Ticket
{
	Position	from;			/* the lane is read from here on */
	TimestampTz serve_at;		/* the lane was served then, or has waited since then */
	ItemPointerData tid;
} Ticket;

/* A walk through the tickets of a queue, from the highest rank down, in the order in which they are served, fairly or not. */
typedef struct TicketWalk TicketWalk;

extern void enter_lane(Datum queue, const Position *at);
extern bool has_tickets(Datum queue);
extern TicketWalk *walk_tickets(Datum queue, bool fairly, int64 highest, int64 lowest);
extern TicketWalk *walk_tickets_of_lane(Datum queue, const Position *of);
extern bool next_ticket(TicketWalk *walk, Ticket *ticket);
extern void end_tickets(TicketWalk *walk);
extern bool first_ticket(Datum queue, int64 highest, Ticket *ticket);
extern bool first_due_ticket(Idle *idle, Datum queue, int64 highest, TimestampTz now, Ticket *ticket);
extern bool last_served(Datum queue, int64 rank, Ticket *marker);
extern bool first_in_lane(Datum queue, const Position *from, bool from_is_done, TimestampTz now, Position *first);
extern int64 count_from(Datum queue, const Position *from, TimestampTz now, int64 most, TimestampTz *next);
extern bool waits_at_tickets(Datum queue, const Ticket *tickets, int count);
extern void replace_tickets(Datum queue, const Ticket *tickets, int count, TimestampTz served);
extern void mark_served(Datum queue, int64 rank, const Ticket *before, TimestampTz served);
extern void drop_tickets(Datum queue);

#endif							/* DURABLE_LANE_H */
