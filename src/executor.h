/*-------------------------------------------------------------------------
 *
 * executor.h
 *	  Executors: who is registered, and who is dead (executor.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_EXECUTOR_H
#define DURABLE_EXECUTOR_H

#include "durable.h"

extern bool is_dead(NullableDatum last_seen, TimestampTz stale_before);
extern int	any_executor_dead(TimestampTz stale_before);
extern int	any_session_ended(void);
extern bool executor_alive(Datum executor_id, TimestampTz stale_before);
extern int64 register_executor(NullableDatum executor_id, NullableDatum stale_after);
extern int64 register_claimer(NullableDatum executor_id, NullableDatum stale_after, NullableDatum app_version);
extern bool beat(Datum executor_id);
extern void register_again(NullableDatum executor_id, int64 registered);

/* recover.c */
extern bool something_to_recover(Datum executor_id, TimestampTz released_before);

#endif							/* DURABLE_EXECUTOR_H */
