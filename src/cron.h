/*-------------------------------------------------------------------------
 *
 * cron.h
 *	  A line of cron, and the times at which it comes (cron.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CRON_H
#define DURABLE_CRON_H

#include "durable.h"

#include "pgtime.h"

/* The fields of a line of cron, in its order. */
typedef enum CronField
{
	CRON_SECOND, CRON_MINUTE, CRON_HOUR, CRON_DAY, CRON_MONTH, CRON_WEEKDAY
} CronField;

#define CRON_FIELDS (CRON_WEEKDAY + 1)

typedef struct Cron
{
	int64		every;			/* seconds of @every; 0: the fields tell */
	uint64		values[CRON_FIELDS];	/* a bit for each value that a field allows */
	bool		any_day;		/* one of the fields of the day begins with *: both must fit */
	bool		by_wall_clock;	/* the minute or the hour begins with * */
} Cron;

/* When something is to run: a line of cron in a time zone, and from when to when. */
typedef struct Timetable
{
	Cron		cron;
	const pg_tz *zone;
	TimestampTz anchor;			/* @every counts from there */
	TimestampTz first;			/* not before that (DT_NOBEGIN: always), ... */
	TimestampTz last;			/* ... and not after that (DT_NOEND) */
} Timetable;

extern void parse_cron(const char *line, Cron *cron);
extern bool next_time(const Timetable *times, TimestampTz after, TimestampTz *next);
extern bool latest_time(const Timetable *times, TimestampTz from, TimestampTz until, TimestampTz *latest);

#endif							/* DURABLE_CRON_H */
