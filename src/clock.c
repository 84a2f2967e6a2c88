/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  Time: the one clock, and the arithmetic on it.
 *
 * Every statement gets its time from here as a parameter, so that a test can
 * move it (durable.clock_offset) and one call knows one time only.
 *
 *-------------------------------------------------------------------------
 */
#include "clock.h"

#include <math.h>
#include <time.h>

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_clock);

/* settings, in seconds (init.c) */
double		durable_clock_offset = 0;
double		durable_executor_timeout = 180;

#define NS_PER_SEC INT64CONST(1000000000)

/* The last instant that clients can read: 9999-12-31 23:59:59+00. */
#define LAST_INSTANT \
	((TimestampTz) ((INT64CONST(253402300799) - UNIX_EPOCH_OFFSET) * USECS_PER_SEC))
#define UNIX_EPOCH_OFFSET \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* Nanoseconds since the Unix epoch, not before it. */
int64
clock_ns(void)
{
	struct timespec ts;
	int64		ns;

	clock_gettime(CLOCK_REALTIME, &ts);
	ns = (int64) ts.tv_sec * NS_PER_SEC + ts.tv_nsec +
		(int64) (durable_clock_offset * 1e9);
	return Max(ns, 0);
}

TimestampTz
clock_timestamp_of(int64 ns)
{
	return ns / 1000 - UNIX_EPOCH_OFFSET * USECS_PER_SEC;
}

TimestampTz
clock_now(void)
{
	return clock_timestamp_of(clock_ns());
}

/* Microseconds of a clock that nobody sets: only to tell whether a call has waited. */
int64
clock_monotonic(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64) ts.tv_sec * USECS_PER_SEC + ts.tv_nsec / 1000;
}

/* t + seconds; never fails, a far future is the last instant, and minus infinity stays. */
TimestampTz
clock_add(TimestampTz t, double seconds)
{
	if (TIMESTAMP_IS_NOBEGIN(t))
		return t;
	if (isnan(seconds) || seconds >= (double) (LAST_INSTANT - t) / USECS_PER_SEC)
		return LAST_INSTANT;
	return t + (int64) rint(seconds * USECS_PER_SEC);
}

/*
 * The length of an interval in seconds, a month being 30 days and a day 24
 * hours, as where the server compares intervals.
 */
double
interval_seconds(const Interval *interval)
{
	return (double) interval->time / USECS_PER_SEC +
		(double) interval->day * SECS_PER_DAY +
		(double) interval->month * DAYS_PER_MONTH * SECS_PER_DAY;
}

/*
 * The least that an interval can move a time by, wherever in the calendar it is
 * added: a month has 28 to 31 days, and summer time begins or ends in between.
 */
double
interval_least_seconds(const Interval *interval)
{
	int			years = interval->month / MONTHS_PER_YEAR;
	int			months = interval->month % MONTHS_PER_YEAR;
	double		days = (double) years * (years > 0 ? 365 : 366) +
		(double) months * (months > 0 ? 28 : 31) + interval->day;

	return days * SECS_PER_DAY - (days != 0 ? SECS_PER_HOUR : 0) +
		(double) interval->time / USECS_PER_SEC;
}

/*
 * start + interval by the server's calendar; never fails.  So far away that the
 * calendar does not matter, it is counted in seconds.
 */
TimestampTz
clock_until(TimestampTz start, const Interval *interval)
{
	const double far = (double) MAX_SPAN_YEARS * 366 * SECS_PER_DAY;
	TimestampTz end;

	if (interval_seconds(interval) > far || abs(interval->month) > MAX_SPAN_YEARS * MONTHS_PER_YEAR ||
		fabs((double) interval->day * SECS_PER_DAY) > far || fabs((double) interval->time / USECS_PER_SEC) > far)
		return clock_add(start, interval_seconds(interval));
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(start),
												  IntervalPGetDatum(interval)));
	return clock_latest(end);
}

/* The time, or the last instant if that is earlier. */
TimestampTz
clock_latest(TimestampTz t)
{
	return Min(t, LAST_INSTANT);
}

/* Reads an interval as the server does; false if it is none. */
bool
read_interval(const char *text, Interval *interval)
{
	char		buffer[256];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			count;
	int			kind;
	struct pg_itm_in parts = {0};
	int			error = ParseDateTime(text, buffer, sizeof(buffer), fields, types, MAXDATEFIELDS, &count);

	if (error == 0)
		error = DecodeInterval(fields, types, count, INTERVAL_FULL_RANGE, &kind, &parts);
	if (error == DTERR_BAD_FORMAT)
		error = DecodeISO8601Interval(pstrdup(text), &kind, &parts);
	return error == 0 && kind == DTK_DELTA && itmin2interval(&parts, interval) == 0;
}

/*
 * When what has failed is due again, after so many retries: after what the caller asks for, or
 * else after backoff * max(1, multiplier ^ retries), at most max_backoff.
 */
TimestampTz
clock_retry_at(const RetryPolicy *policy, int32 retries, NullableDatum retry_after, TimestampTz now)
{
	double		wait = 0;

	if (!retry_after.isnull)
		return clock_add(now, interval_seconds(DatumGetIntervalP(retry_after.value)));
	if (!policy->backoff.isnull)
		wait = interval_seconds(DatumGetIntervalP(policy->backoff.value));
	/* 0 * infinity is no number */
	if (wait > 0)
		wait *= Max(1, pow(DatumGetFloat8(policy->backoff_multiplier.value), retries));
	if (!policy->max_backoff.isnull)
		wait = Min(wait, interval_seconds(DatumGetIntervalP(policy->max_backoff.value)));
	return clock_add(now, wait);
}

/* start + timeout by the server's calendar; NULL where there is no timeout. */
NullableDatum
clock_deadline(TimestampTz start, NullableDatum timeout)
{
	if (timeout.isnull)
		return a_null();
	return a_value(DirectFunctionCall2(timestamptz_pl_interval,
									   TimestampTzGetDatum(start),
									   timeout.value));
}

/* An executor that was last seen before that time is dead. */
TimestampTz
clock_stale_before(TimestampTz now, NullableDatum stale_after)
{
	if (stale_after.isnull)
		return clock_add(now, -durable_executor_timeout);
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(now),
												   stale_after.value));
}

/* clock() */
Datum
durable_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
