/*-------------------------------------------------------------------------
 *
 * tick.h
 *	  What time has brought (tick.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_TICK_H
#define DURABLE_TICK_H

#include "durable.h"

/* By default tick does so many things at once. */
#define TICK_ROWS 1000

/* Whoever waits, and the background worker, look so often for what nobody is told of (microseconds). */
#define TICK_TIME INT64CONST(1000000)

extern int64 do_tick(FunctionCallInfo fcinfo, int64 most, TimestampTz *next);

#endif							/* DURABLE_TICK_H */
