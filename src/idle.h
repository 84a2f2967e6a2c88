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

/* A way through the ranks of a queue, from the highest down. */
typedef struct Idle
{
	Datum		queue;
	TimestampTz now;
	int64		ranks;			/* so many were looked into, and had nothing due */
	int64		look_at;		/* as soon as these are so many, the register is asked */
} Idle;

extern Idle begin_idle(Datum queue, TimestampTz now);
extern int64 pass_over_idle(Idle *idle, int64 highest, Snapshot snapshot, TimestampTz *next);

#endif							/* DURABLE_IDLE_H */
