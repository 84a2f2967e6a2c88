/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  Time (clock.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CLOCK_H
#define DURABLE_CLOCK_H

#include "durable.h"

extern double durable_clock_offset;
extern double durable_executor_timeout;

/* A length of time that is added to a timestamp is not longer: it must fit into one that every client can read. */
#define MAX_SPAN_YEARS	1000

extern int64 clock_ns(void);
extern TimestampTz clock_timestamp_of(int64 ns);
extern TimestampTz clock_now(void);
/* By so much a time that a statement was given may be old (microseconds). */
#define A_WAIT 10000

/* How often something that has failed is tried again, and after which time. */
typedef struct RetryPolicy
{
	NullableDatum max_retries;
	NullableDatum backoff;
	NullableDatum backoff_multiplier;
	NullableDatum max_backoff;
} RetryPolicy;

/* as parameters of a statement */
#define RETRIES(policy) \
	.max_retries = (policy).max_retries, .backoff = (policy).backoff, \
	.backoff_multiplier = (policy).backoff_multiplier, .max_backoff = (policy).max_backoff

extern int64 clock_monotonic(void);
extern TimestampTz clock_add(TimestampTz t, double seconds);
extern double interval_seconds(const Interval *interval);
extern double interval_least_seconds(const Interval *interval);
extern TimestampTz clock_latest(TimestampTz t);
extern TimestampTz clock_until(TimestampTz start, const Interval *interval);
extern bool read_interval(const char *text, Interval *interval);
extern TimestampTz clock_retry_at(const RetryPolicy *policy, int32 retries, NullableDatum retry_after,
								  TimestampTz now);
extern NullableDatum clock_deadline(TimestampTz start, NullableDatum timeout);
extern TimestampTz clock_stale_before(TimestampTz now, NullableDatum stale_after);

#endif							/* DURABLE_CLOCK_H */
