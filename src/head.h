/*-------------------------------------------------------------------------
 *
 * head.h
 *	  What is due in a queue, and where claims begin to look (head.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_HEAD_H
#define DURABLE_HEAD_H

#include "durable.h"

/* Where a workflow waits in a queue: in a lane, one for each priority, by run_at and id. */
typedef struct Position
{
	int32		priority;
	TimestampTz run_at;
	pg_uuid_t	id;
} Position;

/* A search through the lanes of a queue, from the highest priority down. */
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
	Position	first;			/* of what is due there */
	bool		is_late;		/* whether that is on the list of the lane's head */
	pg_uuid_t	head_id;		/* if so, which head that is ... */
	Position	head;			/* ... and where the lane is read from */
} Due;

/* setting */
extern int	durable_claim_walk;

/* head.c: what a claim reads */
extern Search begin_search(Datum queue, TimestampTz now);
extern bool next_due(Search *search, Due *due);

/* head_waiting.c: workflows that now wait */
extern void now_waiting(Datum workflow_ids);
extern void started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids);

/* head_raise.c: heads come and go */
extern void raise_heads(const Search *search);
extern void drop_all_heads(Datum queue);
extern void sweep_heads(void);

#endif							/* DURABLE_HEAD_H */
