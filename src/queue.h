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
	NullableDatum rate_limit;
	NullableDatum rate_limit_window;
	bool		paused;
	int32		window_count;	/* starts in the current window of the rate limit */
	NullableDatum window_end;	/* of the last window, if one has begun */
} Queue;

extern void look_queue_or_raise(Datum name, TimestampTz now, Queue *queue);
extern void lock_queue_to_start(NullableDatum name, TimestampTz now);
extern int64 allowed_by_limits(Datum name, const Queue *queue, int64 wanted);
extern void count_starts(Datum name, TimestampTz now, int64 starts);

#endif							/* DURABLE_QUEUE_H */
