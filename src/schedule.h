/*-------------------------------------------------------------------------
 *
 * schedule.h
 *	  Schedules: their rows (schedule.c), and their runs (schedule_run.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SCHEDULE_H
#define DURABLE_SCHEDULE_H

#include "cron.h"
#include "plan.h"

/* The settings, in the order of the arguments of create_schedule. */
#define SCHEDULE_SETTINGS(P) \
	P(name, TEXTOID) \
	P(cron, TEXTOID) \
	P(queue, TEXTOID) \
	P(workflow, TEXTOID) \
	P(handler, TEXTOID) \
	P(input, JSONBOID) \
	P(timezone, TEXTOID) \
	P(overlap, TEXTOID) \
	P(catch_up, TEXTOID) \
	P(priority, INT4OID) \
	P(timeout, INTERVALOID) \
	P(jitter, INTERVALOID) \
	P(starts_at, TIMESTAMPTZOID) \
	P(ends_at, TIMESTAMPTZOID) \
	P(max_recovery_attempts, INT4OID) \
	P(app_version, TEXTOID)

/* The columns of durable.schedule that are read: the settings, in the same order, then the others. */
#define SCHEDULE_LIST(F, C, t) \
	F(t, name) C(t, cron) C(t, queue) C(t, workflow) C(t, handler) C(t, input) C(t, timezone) C(t, overlap) \
	C(t, catch_up) C(t, priority) C(t, timeout) C(t, jitter) C(t, starts_at) C(t, ends_at) \
	C(t, max_recovery_attempts) C(t, app_version) \
	C(t, next_run_at) C(t, paused) C(t, created_at) C(t, last_run_at) C(t, last_workflow_id) C(t, waiting_for) \
	C(t, skipped)
ROW(Schedule, SCHEDULE_LIST);

/* What happens to a time while a run is unfinished. */
typedef enum Overlap
{
	OVERLAP_SKIP,
	OVERLAP_QUEUE,
	OVERLAP_ALL,
	OVERLAP_CANCEL
} Overlap;

/* What happens to times that were missed. */
typedef enum CatchUp
{
	CATCH_UP_NONE,
	CATCH_UP_LAST,
	CATCH_UP_ALL
} CatchUp;

/* schedule.c */
extern Timetable timetable_of(const Schedule *schedule);
extern Overlap overlap_of(const Schedule *schedule);
extern CatchUp catch_up_of(const Schedule *schedule);
extern void lock_schedule_or_raise(Datum name, Schedule *schedule);

/* schedule_run.c */
extern int64 run_due_schedules(MemoryContext memory, TimestampTz now, int64 most);

#endif							/* DURABLE_SCHEDULE_H */
