/*-------------------------------------------------------------------------
 *
 * executor.h
 *	  Executors (executor.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_EXECUTOR_H
#define DURABLE_EXECUTOR_H

#include "durable.h"

extern bool executor_alive(Datum executor_id, TimestampTz stale_before);
extern int64 register_executor(NullableDatum executor_id, NullableDatum stale_after);
extern void register_again(NullableDatum executor_id, int64 registered);

#endif							/* DURABLE_EXECUTOR_H */
