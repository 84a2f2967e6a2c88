/*-------------------------------------------------------------------------
 *
 * limit.h
 *	  What the limits of a queue still allow (limit.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_LIMIT_H
#define DURABLE_LIMIT_H

#include "batch.h"

/* What is kept of a queue with limits between two claims. */
typedef struct Counts
{
	int64		n;				/* how many claims have written it; 0: none */
	NullableDatum window_start; /* of the rate limit; NULL if none has begun, or the last one has ended */
	int64		window_count;	/* starts in it */
	int64		free;			/* so many slots at least are free */
	int64		next_slot;		/* the number of the next one that is taken */
	int64		slots_from;		/* slots that are taken have numbers from this on ... */
	NullableDatum early;		/* ... or are among these */
} Counts;

extern void look_counts(Datum queue, const Queue *limits, TimestampTz now, Counts *counts);
extern int64 starts_left(const Queue *limits, const Counts *counts);
extern TimestampTz end_of_window(const Queue *limits, const Counts *counts);
extern int64 free_slots(Datum queue, const Queue *limits, Counts *counts, int64 wanted);
extern int64 count_slots_of_key(Datum queue, const Counts *counts, Datum key, int64 most);
extern void write_counts(Datum queue, const Queue *limits, Counts *counts, TimestampTz now, int64 claimed,
						 int64 started);
extern void change_limits(Datum queue, const Queue *limits);
extern void drop_counts(Datum queue);

#endif							/* DURABLE_LIMIT_H */
