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

extern bool lock_queue_to_start(NullableDatum queue, TimestampTz now);

/* Where a workflow waits in a queue; the first to be claimed has the highest priority. */
typedef struct Position
{
	int32		priority;
	TimestampTz run_at;
	pg_uuid_t	id;
} Position;

extern int	durable_claim_walk;

extern bool look_due(Datum queue, bool has_heads, TimestampTz now, Position *due, bool *far);
extern void raise_head(Datum queue, int32 priority, TimestampTz now);
extern void lower_heads(Datum workflow_ids);
extern void now_waiting(Datum workflow_ids);

#endif							/* DURABLE_QUEUE_H */
