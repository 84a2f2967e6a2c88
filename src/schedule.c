/*-------------------------------------------------------------------------
 *
 * schedule.c
 *	  The row of a schedule: create, alter, drop, pause and resume it; and
 *	  next_runs, which asks cron.c only.
 *
 * What a schedule starts is in schedule_run.c.
 *
 * Locks.  Whoever runs a schedule, or changes it, locks its row first, before the
 * queue's lock: so the times of a plan are dealt with one after the other, each
 * once.  tick passes over a row that is locked, all others wait for it.
 * create_schedule has no row to lock: of those who create one name at the same time
 * the primary key lets one through.  The queue is locked as by who starts a workflow
 * there (shared): drop_queue waits for that, and then finds the schedule.
 *
 *-------------------------------------------------------------------------
 */
#include "schedule.h"
#include "wake.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_create_schedule);
PG_FUNCTION_INFO_V1(durable_alter_schedule);
PG_FUNCTION_INFO_V1(durable_drop_schedule);
PG_FUNCTION_INFO_V1(durable_pause_schedule);
PG_FUNCTION_INFO_V1(durable_resume_schedule);
PG_FUNCTION_INFO_V1(durable_next_runs);

PARAMETERS(ScheduleSettings, SCHEDULE_SETTINGS);

#define SETTING_COUNT lengthof(ScheduleSettings_parameters)

/* ---- arguments ----------------------------------------------------------------------- */

static const char *const overlaps[] = {"skip", "queue", "all", "cancel"};
static const char *const catch_ups[] = {"none", "last", "all"};

/* The names of the runs have @ and a time behind it. */
#define MOST_BASE_NAME (MAX_NAME_BYTES - 21)

#define LOOK_ZONE(P) \
	P(name, TEXTOID)
PARAMETERS(LookZone, LOOK_ZONE);

static Statement look_zone = STATEMENT(LookZone,
	"SELECT 1 FROM pg_timezone_names n WHERE n.name = :name");

/*
 * The server's time zone of that name, as in pg_timezone_names; its name as it is
 * written there.  The server also takes rules such as XYZ+5 for zones.  They can be
 * mistaken for names, in capitals and with a digit, only: these are looked up.
 */
static NullableDatum
require_zone(NullableDatum arg)
{
	char	   *given = TextDatumGetCString(arg.value);
	pg_tz	   *zone = pg_tzset(given);
	const char *name = zone ? pg_get_timezone_name(zone) : NULL;
	NullableDatum result;

	if (name && pg_tz_acceptable(zone))
	{
		result = a_value(CStringGetTextDatum(name));
		if (strpbrk(name, "0123456789") == NULL || strpbrk(name, "abcdefghijklmnopqrstuvwxyz") != NULL ||
			run(&look_zone, &(LookZone) {.name = result}, NEWEST) > 0)
			return result;
	}
	bad_argument("timezone", "must be the name of a time zone", psprintf("There is no time zone \"%s\".", given),
				 "Pass a name from pg_timezone_names, such as Europe/Berlin.");
}

/* Checks the arguments of create_schedule and alter_schedule, but for the time zone, which takes a statement. */
static ScheduleSettings
settings_of_call(FunctionCallInfo fcinfo)
{
	ScheduleSettings settings;
	Cron		cron;

	memcpy(&settings, fcinfo->args, sizeof(settings));
	require(settings.name, "name");
	check_name_of(settings.name, "name", MOST_BASE_NAME);
	require(settings.cron, "cron");
	parse_cron(TextDatumGetCString(settings.cron.value), &cron);
	require_name(settings.queue, "queue");
	check_name_of(settings.workflow, "workflow", MOST_BASE_NAME);
	check_name(settings.handler, "handler");
	require(settings.timezone, "timezone");
	(void) require_choice(settings.overlap, "overlap", overlaps, lengthof(overlaps));
	(void) require_choice(settings.catch_up, "catch_up", catch_ups, lengthof(catch_ups));
	require(settings.priority, "priority");
	check_interval(settings.timeout, "timeout");
	require(settings.jitter, "jitter");
	check_interval(settings.jitter, "jitter");
	check_time(settings.starts_at, "starts_at");
	check_time(settings.ends_at, "ends_at");
	if (!settings.starts_at.isnull && !settings.ends_at.isnull &&
		DatumGetTimestampTz(settings.ends_at.value) < DatumGetTimestampTz(settings.starts_at.value))
		bad_argument("ends_at", "must not be before \"starts_at\"", "Nothing would ever run.",
					 "Pass a later time, or NULL for no end.");
	require_not_negative(settings.max_recovery_attempts, "max_recovery_attempts");
	check_name(settings.app_version, "app_version");
	return settings;
}

/* ---- what a row says --------------------------------------------------------------------- */

static int
position_of(Datum value, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(TextDatumGetCString(value), names[i]) == 0)
			return i;
	elog(ERROR, "a schedule has an unknown setting \"%s\"", TextDatumGetCString(value));
}

Overlap
overlap_of(const Schedule *schedule)
{
	return (Overlap) position_of(schedule->overlap.value, overlaps, lengthof(overlaps));
}

CatchUp
catch_up_of(const Schedule *schedule)
{
	return (CatchUp) position_of(schedule->catch_up.value, catch_ups, lengthof(catch_ups));
}

/* A timetable; @every counts from its start, if it has one, else from the anchor. */
static Timetable
timetable(Datum cron, Datum timezone, NullableDatum starts_at, NullableDatum ends_at, TimestampTz anchor)
{
	Timetable	times = {
		.anchor = starts_at.isnull ? anchor : DatumGetTimestampTz(starts_at.value),
		.first = starts_at.isnull ? DT_NOBEGIN : DatumGetTimestampTz(starts_at.value),
		.last = ends_at.isnull ? DT_NOEND : DatumGetTimestampTz(ends_at.value),
		.zone = pg_tzset(TextDatumGetCString(timezone))
	};

	if (times.zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("time zone \"%s\" does not exist any more", TextDatumGetCString(timezone)),
				 errdetail("The server's time zones have changed."),
				 errhint("Give the schedule another one by alter_schedule.")));
	parse_cron(TextDatumGetCString(cron), &times.cron);
	return times;
}

Timetable
timetable_of(const Schedule *schedule)
{
	return timetable(schedule->cron.value, schedule->timezone.value, schedule->starts_at, schedule->ends_at,
					 DatumGetTimestampTz(schedule->created_at.value));
}

/* The first time of a plan after one; NULL if there is none. */
static NullableDatum
first_after(const ScheduleSettings *settings, TimestampTz created_at, TimestampTz after)
{
	Timetable	times = timetable(settings->cron.value, settings->timezone.value, settings->starts_at, settings->ends_at,
								  created_at);
	TimestampTz next;

	return next_time(&times, after, &next) ? a_time(next) : a_null();
}

/* ---- looking ----------------------------------------------------------------------------- */

#define OF_SCHEDULE(P) \
	P(name, TEXTOID)
PARAMETERS(OfSchedule, OF_SCHEDULE);

static Statement look_schedule = STATEMENT(OfSchedule,
	"SELECT " COLUMNS(SCHEDULE_LIST, "s.") " FROM durable.schedule s WHERE s.name = :name");

static Statement lock_schedule = STATEMENT(OfSchedule,
	"SELECT " COLUMNS(SCHEDULE_LIST, "s.") " FROM durable.schedule s WHERE s.name = :name FOR NO KEY UPDATE");

/* Locks the row of a schedule, waiting for whoever runs or changes it. */
void
lock_schedule_or_raise(Datum name, Schedule *schedule)
{
	if (run(&lock_schedule, &(OfSchedule) {.name = a_value(name)}, NEWEST) == 0)
		raise_refusal(refuse_unknown_schedule(TextDatumGetCString(name)));
	fetch(0, 0, schedule);
}

/* Whether a value is the same as another of that type. */
static bool
same_setting(Oid type, NullableDatum a, NullableDatum b)
{
	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	switch (type)
	{
		case TEXTOID:
			return same_text(a, b);
		case JSONBOID:
			return same_json(a, b);
		case INTERVALOID:
			return DatumGetBool(DirectFunctionCall2(interval_eq, a.value, b.value));
		case INT4OID:
			return DatumGetInt32(a.value) == DatumGetInt32(b.value);
		default:
			return DatumGetTimestampTz(a.value) == DatumGetTimestampTz(b.value);
	}
}

/* The first setting that a schedule has otherwise; NULL if there is none. */
static const char *
other_setting(const Schedule *schedule, const ScheduleSettings *settings)
{
	const NullableDatum *has = (const NullableDatum *) schedule;
	const NullableDatum *given = (const NullableDatum *) settings;

	for (int i = 0; i < SETTING_COUNT; i++)
		if (!same_setting(ScheduleSettings_parameters[i].type, has[i], given[i]))
			return ScheduleSettings_parameters[i].name;
	return NULL;
}

/* ---- create, alter ---------------------------------------------------------------------------- */

#define CREATE_SCHEDULE(P) \
	SCHEDULE_SETTINGS(P) \
	P(next_run_at, TIMESTAMPTZOID) \
	P(created_at, TIMESTAMPTZOID)
PARAMETERS(CreateSchedule, CREATE_SCHEDULE);

static Statement insert_schedule = STATEMENT(CreateSchedule,
	"INSERT INTO durable.schedule (name, cron, queue, workflow, handler, input, timezone, overlap, catch_up, priority,"
	"  timeout, jitter, starts_at, ends_at, max_recovery_attempts, app_version, next_run_at, created_at,"
	"  paused, skipped) "
	"SELECT :name, :cron, :queue, :workflow, :handler, :input, :timezone, :overlap, :catch_up, :priority,"
	"  :timeout, :jitter, :starts_at, :ends_at, :max_recovery_attempts, :app_version, :next_run_at, :created_at,"
	"  false, 0 "
	"ON CONFLICT (name) DO NOTHING");

#define ALTER_SCHEDULE(P) \
	SCHEDULE_SETTINGS(P) \
	P(next_run_at, TIMESTAMPTZOID)
PARAMETERS(AlterSchedule, ALTER_SCHEDULE);

/* A time that waits is dropped where nothing waits any more. */
static Statement update_schedule = STATEMENT(AlterSchedule,
	"UPDATE durable.schedule s SET cron = :cron, queue = :queue, workflow = :workflow, handler = :handler, input = :input,"
	"  timezone = :timezone, overlap = :overlap, catch_up = :catch_up, priority = :priority, timeout = :timeout,"
	"  jitter = :jitter, starts_at = :starts_at, ends_at = :ends_at, max_recovery_attempts = :max_recovery_attempts,"
	"  app_version = :app_version, next_run_at = :next_run_at, error = NULL,"
	"  waiting_for = CASE WHEN :overlap = 'queue' THEN s.waiting_for END,"
	"  skipped = s.skipped + CASE WHEN :overlap <> 'queue' AND s.waiting_for IS NOT NULL THEN 1 ELSE 0 END "
	"WHERE s.name = :name");

/*
 * When a schedule comes next with other settings.  What is due, and was not done
 * yet, stays due, unless cron or the time zone have changed, or it is not in the time
 * of the schedule any more.
 */
static NullableDatum
next_after_change(const Schedule *schedule, const ScheduleSettings *settings, TimestampTz now)
{
	TimestampTz created_at = DatumGetTimestampTz(schedule->created_at.value);

	if (schedule->next_run_at.isnull || !same_text(schedule->cron, settings->cron) ||
		!same_text(schedule->timezone, settings->timezone))
		return first_after(settings, created_at, now);
	if ((!settings->starts_at.isnull &&
		 DatumGetTimestampTz(schedule->next_run_at.value) < DatumGetTimestampTz(settings->starts_at.value)) ||
		(!settings->ends_at.isnull &&
		 DatumGetTimestampTz(schedule->next_run_at.value) > DatumGetTimestampTz(settings->ends_at.value)))
		return first_after(settings, created_at, DatumGetTimestampTz(schedule->next_run_at.value) - 1);
	return schedule->next_run_at;
}

/* Locks the row, then the queue. */
static void
alter_schedule(const ScheduleSettings *settings)
{
	Schedule	schedule;
	AlterSchedule params;

	lock_schedule_or_raise(settings->name.value, &schedule);
	lock_queue_to_start(settings->queue);
	memcpy(&params, settings, sizeof(*settings));
	params.next_run_at = next_after_change(&schedule, settings, clock_now());
	if (run(&update_schedule, &params, NEWEST) == 0)
		raise_kept_away("durable.schedule");
	note_tick();
}

/* Locks the queue, then inserts the row; one that is there, and is to be altered, as alter_schedule does. */
static void
create_schedule(const ScheduleSettings *settings, IfExists if_exists)
{
	for (int tries = 0;; tries++)
	{
		Schedule	schedule;
		CreateSchedule params;
		const char *other;

		if (run(&look_schedule, &(OfSchedule) {.name = settings->name}, NEWEST) > 0)
		{
			fetch(0, 0, &schedule);
			other = other_setting(&schedule, settings);
			if (other == NULL || if_exists == EXISTING_KEPT)
				return;
			if (if_exists == EXISTING_ALTERED)
			{
				alter_schedule(settings);
				return;
			}
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("schedule \"%s\" already exists with other settings", TextDatumGetCString(settings->name.value)),
					 errdetail("Its \"%s\" is another.", other),
					 errhint("Use alter_schedule to change it, or pass if_exists.")));
		}
		/* Somebody may have created it before our INSERT, and dropped it since: once, but not again and again. */
		if (tries > 1)
			raise_kept_away("durable.schedule");
		lock_queue_to_start(settings->queue);
		memcpy(&params, settings, sizeof(*settings));
		params.created_at = a_time(clock_now());
		params.next_run_at = first_after(settings, DatumGetTimestampTz(params.created_at.value),
										 DatumGetTimestampTz(params.created_at.value));
		if (run(&insert_schedule, &params, NEWEST) > 0)
		{
			note_tick();
			return;
		}
	}
}

/* ---- drop, pause, resume --------------------------------------------------------------------- */

static Statement delete_schedule = STATEMENT(OfSchedule,
	"DELETE FROM durable.schedule s WHERE s.name = :name");

static Statement pause_schedule = STATEMENT(OfSchedule,
	"UPDATE durable.schedule s SET paused = true WHERE s.name = :name");

static Statement resume_schedule = STATEMENT(OfSchedule,
	"UPDATE durable.schedule s SET paused = false WHERE s.name = :name");

/* Changes, or deletes, the row of a schedule that must be there; waits for whoever runs or changes it. */
static Datum
change_schedule(FunctionCallInfo fcinfo, Statement *change)
{
	Schedule	schedule;
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	lock_schedule_or_raise(fcinfo->args[0].value, &schedule);
	if (run(change, &(OfSchedule) {.name = fcinfo->args[0]}, NEWEST) == 0)
		raise_kept_away("durable.schedule");
	note_tick();
	end_call(&call);
	PG_RETURN_VOID();
}

/* ---- from SQL ----------------------------------------------------------------------------------- */

/* create_schedule(the settings, if_exists) */
Datum
durable_create_schedule(PG_FUNCTION_ARGS)
{
	ScheduleSettings settings = settings_of_call(fcinfo);
	IfExists	if_exists = require_if_exists(fcinfo->args[SETTING_COUNT]);
	Call		call;

	call = begin_call(fcinfo);
	settings.timezone = require_zone(settings.timezone);
	create_schedule(&settings, if_exists);
	end_call(&call);
	PG_RETURN_VOID();
}

/* alter_schedule(the settings) */
Datum
durable_alter_schedule(PG_FUNCTION_ARGS)
{
	ScheduleSettings settings = settings_of_call(fcinfo);
	Call		call;

	call = begin_call(fcinfo);
	settings.timezone = require_zone(settings.timezone);
	alter_schedule(&settings);
	end_call(&call);
	PG_RETURN_VOID();
}

/* drop_schedule(name) */
Datum
durable_drop_schedule(PG_FUNCTION_ARGS)
{
	return change_schedule(fcinfo, &delete_schedule);
}

/* pause_schedule(name) */
Datum
durable_pause_schedule(PG_FUNCTION_ARGS)
{
	return change_schedule(fcinfo, &pause_schedule);
}

/* resume_schedule(name) */
Datum
durable_resume_schedule(PG_FUNCTION_ARGS)
{
	return change_schedule(fcinfo, &resume_schedule);
}

/* next_runs(cron, timezone, after, max_rows) */
Datum
durable_next_runs(PG_FUNCTION_ARGS)
{
	const int	most = 1000000;
	NullableDatum cron = fcinfo->args[0];
	NullableDatum timezone = fcinfo->args[1];
	NullableDatum after = fcinfo->args[2];
	NullableDatum max_rows = fcinfo->args[3];
	Timetable	times;
	TimestampTz next;
	Call		call;

	require(cron, "cron");
	require(timezone, "timezone");
	check_time(after, "after");
	require_not_negative(max_rows, "max_rows");
	if (DatumGetInt32(max_rows.value) > most)
		bad_argument("max_rows", psprintf("must be at most %d", most),
					 psprintf("It is %d.", DatumGetInt32(max_rows.value)), "Ask again, after the last one.");
	next = after.isnull ? clock_now() : DatumGetTimestampTz(after.value);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	times = timetable(cron.value, require_zone(timezone).value, a_null(), a_null(), next);
	for (int row = 0; row < DatumGetInt32(max_rows.value) && next_time(&times, next, &next); row++)
	{
		NullableDatum column = a_time(next);

		return_row(fcinfo, &column);
	}
	end_call(&call);
	return (Datum) 0;
}
