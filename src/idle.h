/*-------------------------------------------------------------------------
 *
 * idle.h
 *	  Passing over ranks in which nothing is due (idle.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_IDLE_H
#define DURABLE_IDLE_H

#include "postgres.h"

#include "utils/snapshot.h"
#include "utils/timestamp.h"

/* The ranks of a queue that had nothing due, on the way from the highest down. */
typedef struct Idle
{
	int64		ranks;			/* so many were looked into */
	int64		look_at;		/* as soon as these are so many, the register is asked */
	TimestampTz next;			/* the first that is due later there */
} Idle;

extern Idle begin_idle(void);
extern void due_later(Idle *idle, TimestampTz run_at);
extern int64 pass_over_idle(Idle *idle, Datum queue, int64 highest, TimestampTz now, Snapshot snapshot);

#endif							/* DURABLE_IDLE_H */
