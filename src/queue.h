/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  Queues, and where claims begin to look (queue.c, head.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_QUEUE_H
#define DURABLE_QUEUE_H

#include "durable.h"

extern void lock_queue_to_start(NullableDatum queue, TimestampTz now);

/* Where a workflow waits in a queue; the first to be claimed has the highest priority. */
typedef struct Position
{
	int32		priority;
	TimestampTz run_at;
	pg_uuid_t	id;
} Position;

/* A search through the lanes of a queue, one for each priority, from the highest down. */
typedef struct Search
{
	Datum		queue;
	TimestampTz now;
	int64		highest;		/* the priorities left to look at are this one and lower */
	int64		walked;			/* so many buffers were read over dead entries */
} Search;

/* A lane in which something is due. */
typedef struct Due
{
	Position	first;
	bool		is_late;		/* which is on the list of the head */
	bool		has_head;
	pg_uuid_t	head_id;
	Position	head;
} Due;

extern int	durable_claim_walk;

extern Search begin_search(Datum queue, TimestampTz now);
extern bool next_due(Search *search, Due *due);
extern void now_waiting(Datum workflow_ids);
extern void started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids);
extern void raise_heads(const Search *search);
extern void drop_all_heads(Datum queue);
extern void sweep_heads(void);

#endif							/* DURABLE_QUEUE_H */
