/*-------------------------------------------------------------------------
 *
 * queue.h
 *	  The row of a queue (queue.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_QUEUE_H
#define DURABLE_QUEUE_H

#include "durable.h"

typedef struct Queue
{
	NullableDatum max_concurrency;
	NullableDatum key_concurrency;
	NullableDatum rate_limit;
	NullableDatum rate_limit_window;
	bool		fair;
	bool		paused;
} Queue;

/* Whether what runs in it is counted. */
static inline bool
has_slots(const Queue *queue)
{
	return !queue->max_concurrency.isnull || !queue->key_concurrency.isnull || queue->fair;
}

/* Whether its claims are limited, or counted. */
static inline bool
has_limits(const Queue *queue)
{
	return has_slots(queue) || !queue->rate_limit.isnull;
}

extern void look_queue_or_raise(Datum name, Queue *queue);
extern void lock_queue_to_start(NullableDatum name);

#endif							/* DURABLE_QUEUE_H */
