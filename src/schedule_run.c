/*-------------------------------------------------------------------------
 *
 * schedule_run.c
 *	  What schedules start: the times that are due (for tick), trigger_schedule,
 *	  backfill_schedule.
 *
 * A run is a root in the schedule's queue, named after the time for which it was
 * started.  Whoever starts one holds the schedule's row, and in the same transaction
 * moves next_run_at on.  So each time of a plan is dealt with once, however many call
 * tick, and whatever crashes; what was not committed is due as before.  next_run_at
 * goes forward only, and a time that has a run gets no other: a clock that jumps back
 * runs nothing twice.
 *
 * Locks, in this order: the schedule's row; where overlap is cancel, the trees of the
 * unfinished runs (exclusively), and their rows; the queue (shared); the name of the
 * root.  tick waits for none of them: a schedule whose row is locked is passed over,
 * and a time that would have to wait for any of the others is left as it is.
 * trigger_schedule and backfill_schedule wait.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "buckets.h"
#include "control.h"
#include "register.h"
#include "schedule.h"
#include "table.h"
#include "workflow.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "subtransaction.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_trigger_schedule);
PG_FUNCTION_INFO_V1(durable_backfill_schedule);

/* A time is missed if nobody has asked for so long. */
#define MISSED_AFTER (60 * USECS_PER_SEC)

/* So many times of a schedule are dealt with in one call. */
#define MOST_AT_ONCE 1000

/* What has become of a time. */
typedef enum Outcome
{
	STARTED,
	DROPPED,					/* and counted */
	QUEUED,						/* waits for the end of a run */
	HAS_RUN,					/* it has a run already, or gets it in another database */
	LEFT						/* something is locked: for another call */
} Outcome;

/* A schedule that we have locked, while it is run. */
typedef struct Running
{
	Schedule	schedule;		/* as it will be written */
	Timetable	times;
	TimestampTz now;
	bool		may_wait;
	int64		left;			/* so many times may be dealt with */
	int64		done;			/* so many were */
	pg_uuid_t	last_id;		/* of the last run */
} Running;

/* ---- statements ----------------------------------------------------------------------- */

#define OF_RUNS(P) \
	P(name, TEXTOID) \
	P(at, TIMESTAMPTZOID)
PARAMETERS(OfRuns, OF_RUNS);

static Statement look_run = STATEMENT(OfRuns,
	"SELECT 1 FROM durable.scheduled_run r WHERE r.scheduled_by = :name AND r.scheduled_for = :at LIMIT 1");

static Statement look_active_run = STATEMENT(OfRuns,
	"SELECT 1 FROM durable.active_run r WHERE r.scheduled_by = :name LIMIT 1");

static Statement look_active_runs = STATEMENT(OfRuns,
	"SELECT r.id FROM durable.active_run r WHERE r.scheduled_by = :name ORDER BY r.id");

#define MOVE_ON(P) \
	P(name, TEXTOID) \
	P(next_run_at, TIMESTAMPTZOID) \
	P(last_run_at, TIMESTAMPTZOID) \
	P(last_workflow_id, UUIDOID) \
	P(waiting_for, TIMESTAMPTZOID) \
	P(skipped, INT8OID)
PARAMETERS(MoveOn, MOVE_ON);

static Statement move_on = STATEMENT(MoveOn,
	"UPDATE durable.schedule s SET next_run_at = :next_run_at, last_run_at = :last_run_at,"
	"  last_workflow_id = :last_workflow_id, waiting_for = :waiting_for, skipped = :skipped, error = NULL "
	"WHERE s.name = :name");

#define NOTE_ERROR(P) \
	P(name, TEXTOID) \
	P(error, TEXTOID)
PARAMETERS(NoteError, NOTE_ERROR);

static Statement note_error = STATEMENT(NoteError,
	"UPDATE durable.schedule s SET error = :error WHERE s.name = :name AND (s.error IS NULL OR s.error <> :error)");

/* ---- one run ------------------------------------------------------------------------------ */

static bool
exists(Statement *statement, const Running *r, TimestampTz at)
{
	bool		found = run(statement, &(OfRuns) {.name = r->schedule.name,.at = a_time(at)}, NEWEST) > 0;

	SPI_freetuptable(SPI_tuptable);
	return found;
}

static bool
is_unfinished(const Running *r)
{
	return exists(&look_active_run, r, r->now);
}

/* The name of a run: that of the workflow, and the time in UTC.  Only a time outside of the plan has a fraction. */
static Datum
name_of_run(const Schedule *schedule, TimestampTz at)
{
	const char *base = TextDatumGetCString(schedule->workflow.isnull ? schedule->name.value : schedule->workflow.value);
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "a time of a schedule is out of range");
	return CStringGetTextDatum(psprintf("%s@%04d-%02d-%02dT%02d:%02d:%02d%sZ", base,
										tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
										fraction == 0 ? "" : psprintf(".%06d", (int) fraction)));
}

/* When the run for a time may begin: up to jitter later, by a hash of both; NULL is at once. */
static NullableDatum
run_at_of(const Running *r, TimestampTz at)
{
	text	   *name = DatumGetTextPP(r->schedule.name.value);
	double		part = (double) hash_bytes_extended((unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint64) at) /
		(double) PG_UINT64_MAX;
	TimestampTz run_at = clock_add(at, interval_seconds(DatumGetIntervalP(r->schedule.jitter.value)) * part);

	return run_at > r->now ? a_time(run_at) : a_null();
}

/* Whether the run for a time is one of another database, by the bucket of its name. */
static bool
runs_elsewhere(const Running *r, TimestampTz at)
{
	return !has_bucket_of_name(name_of_run(&r->schedule, at), "name");
}

/* Starts the run for a time.  A root of its name that is active already is a stranger's: then none is started. */
static Outcome
start_run(Running *r, TimestampTz at, pg_uuid_t *id)
{
	const Schedule *s = &r->schedule;
	Datum		name = name_of_run(s, at);
	StartArgs	args = {
		.handler = s->handler,.executor_id = a_null(),.queue = s->queue,.priority = s->priority,.run_at = run_at_of(r, at),
		.timeout = s->timeout,.max_recovery_attempts = s->max_recovery_attempts,.app_version = s->app_version,
		.retries = no_retries,.scheduled_for = a_time(at),.scheduled_by = s->name
	};
	NewRoot		root = {.name = a_value(name),.input = s->input,.concurrency_key = a_null(),.tags = a_null()};
	bool		created;

	if (!r->may_wait && (!try_lock_queue(s->queue.value, QUEUE_START) || is_root_name_busy(name)))
		return LEFT;
	/* its rounds free what it has read, but not what we have: also in a subtransaction */
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	created = start_root(&root, &args, id);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	return created ? STARTED : DROPPED;
}

/* Cancels all unfinished runs; false if that cannot be done without waiting, and tick must not wait. */
static bool
cancel_runs(void *arg)
{
	const Running *r = arg;
	IdList		runs = {0};

	run(&look_active_runs, &(OfRuns) {.name = r->schedule.name,.at = a_time(r->now)}, NEWEST);
	append_result(&runs);
	for (uint64 i = 0; i < runs.count; i++)
		if (!cancel_root(&runs.ids[i], r->may_wait))
			return false;
	return true;
}

/* The same; what it has locked is given back if it returns false. */
static bool
cancel_all_or_none(Running *r)
{
	ErrorData  *error;
	bool		done = in_subtransaction(cancel_runs, r, &error);

	if (error)
		ReThrowError(error);
	return done;
}

/* Starts the run for a time, and notes it as the last one. */
static Outcome
start_and_note(Running *r, TimestampTz at)
{
	pg_uuid_t	id;
	Outcome		outcome = start_run(r, at, &id);

	if (outcome == STARTED)
	{
		r->last_id = id;
		r->schedule.last_workflow_id = an_id(&r->last_id);
		r->schedule.last_run_at = a_time(at);
	}
	return outcome;
}

/* Deals with a time by the overlap rule. */
static Outcome
run_time(Running *r, TimestampTz at)
{
	Schedule   *s = &r->schedule;
	Outcome		outcome;

	if (runs_elsewhere(r, at) || exists(&look_run, r, at))
		return HAS_RUN;
	if (!is_unfinished(r))
		outcome = start_and_note(r, at);
	else
		switch (overlap_of(s))
		{
			case OVERLAP_SKIP:
				outcome = DROPPED;
				break;
			case OVERLAP_QUEUE:
				outcome = s->waiting_for.isnull ? QUEUED : DROPPED;
				if (outcome == QUEUED)
					s->waiting_for = a_time(at);
				break;
			case OVERLAP_CANCEL:
				if (!cancel_all_or_none(r))
					return LEFT;
				pg_fallthrough;
			default:
				outcome = start_and_note(r, at);
				break;
		}
	if (outcome == DROPPED)
		s->skipped = a_bigint(DatumGetInt64(s->skipped.value) + 1);
	return outcome;
}

/* Starts the run for the time that waits, if there is one, and if what it waits for has ended; false if it is left. */
static bool
run_waiting(Running *r)
{
	Schedule   *s = &r->schedule;
	TimestampTz at;

	if (s->waiting_for.isnull || is_unfinished(r))
		return true;
	at = DatumGetTimestampTz(s->waiting_for.value);
	s->waiting_for = a_null();
	if (run_time(r, at) == LEFT)
	{
		s->waiting_for = a_time(at);
		return false;
	}
	r->done++;
	return true;
}

/* Writes what has become of a schedule. */
static void
end_running(const Running *r)
{
	const Schedule *s = &r->schedule;

	if (run(&move_on, &(MoveOn)
			{
				.name = s->name,.next_run_at = s->next_run_at,.last_run_at = s->last_run_at,
				.last_workflow_id = s->last_workflow_id,.waiting_for = s->waiting_for,.skipped = s->skipped
			}, NEWEST) == 0)
		raise_kept_away("durable.schedule");
}

/* ---- what is due ------------------------------------------------------------------------------ */

/*
 * The time to deal with, where the next one is due: another one, or none, if that was
 * missed.  Where it is caught up by one run, the latest stands for all that are due.
 */
static bool
choose_due(const Running *r, TimestampTz *at)
{
	TimestampTz latest;

	if (r->now - *at <= MISSED_AFTER)
		return true;
	switch (catch_up_of(&r->schedule))
	{
		case CATCH_UP_NONE:
			return next_time(&r->times, r->now - MISSED_AFTER - 1, at) && *at <= r->now;
		case CATCH_UP_LAST:
			/* what is due need not be in the plan any more: @every may count from another time by now */
			if (latest_time(&r->times, *at, r->now, &latest))
				*at = latest;
			return true;
		default:
			return true;
	}
}

/*
 * Deals with the times of a schedule that are due, as far as nothing has to be waited
 * for.  Called in a subtransaction: an error gives back all that was done.
 */
static bool
run_due(void *arg)
{
	Running    *r = arg;
	Schedule   *s = &r->schedule;

	r->times = timetable_of(s);
	if (run_waiting(r))
		while (!s->next_run_at.isnull && r->done < r->left)
		{
			TimestampTz at = DatumGetTimestampTz(s->next_run_at.value);
			TimestampTz next;

			if (at > r->now)
				break;
			if (choose_due(r, &at))
			{
				if (run_time(r, at) == LEFT)
					break;
				r->done++;
			}
			else
				at = r->now;
			s->next_run_at = next_time(&r->times, at, &next) ? a_time(next) : a_null();
		}
	end_running(r);
	return true;
}

/* Whether an error is the whole call's, not the schedule's. */
static bool
ends_the_call(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK;
}

/*
 * The same in a subtransaction.  An error is noted in the schedule's row, and told
 * once; the schedule stays due.  Returns how much was done.
 */
static int64
run_one(const Schedule *schedule, TimestampTz now, int64 most)
{
	Running		r = {.schedule = *schedule,.now = now};
	ErrorData  *error;

	r.left = Min(most, MOST_AT_ONCE);
	if (in_subtransaction(run_due, &r, &error))
		return r.done;
	if (ends_the_call(error))
		ReThrowError(error);
	if (run(&note_error, &(NoteError)
			{
				.name = schedule->name,.error = a_value(CStringGetTextDatum(error->message))
			}, NEWEST) > 0)
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("schedule \"%s\" cannot start its run", TextDatumGetCString(schedule->name.value)),
				 errdetail_internal("%s", error->message),
				 errhint("It is tried again by each tick; its times are caught up then.")));
	FreeErrorData(error);
	return 0;
}

#define FIND_SCHEDULES(P) \
	P(now, TIMESTAMPTZOID) \
	P(seen, TEXTARRAYOID) \
	P(most, INT4OID)
PARAMETERS(FindSchedules, FIND_SCHEDULES);

/* Both fast paths only find that there is none. */

static int64
fast_find_due(const void *params)
{
	return fast_none(&schedule_by_next_run, (Key[]) {IS_UNTIL(schedule_next_run_at, ((const FindSchedules *) params)->now)}, 1);
}

static int64
fast_find_waiting(const void *params)
{
	return fast_none(&schedule_by_waiting, NULL, 0);
}

static Statement find_due_schedules = STATEMENT(FindSchedules,
	"SELECT " COLUMNS(SCHEDULE_LIST, "s.") " FROM durable.schedule s "
	"WHERE NOT s.paused AND s.next_run_at <= :now AND NOT s.name = ANY (:seen) "
	"ORDER BY s.next_run_at LIMIT :most FOR NO KEY UPDATE SKIP LOCKED",
	.fast = fast_find_due);

static Statement find_waiting_schedules = STATEMENT(FindSchedules,
	"SELECT " COLUMNS(SCHEDULE_LIST, "s.") " FROM durable.schedule s "
	"WHERE s.waiting_for IS NOT NULL AND NOT s.paused AND NOT s.name = ANY (:seen)"
	"  AND NOT EXISTS (SELECT 1 FROM durable.active_run r WHERE r.scheduled_by = s.name) "
	"ORDER BY s.name LIMIT :most FOR NO KEY UPDATE OF s SKIP LOCKED",
	.fast = fast_find_waiting);

/* So many schedules are locked at once ... */
#define PAGE 100

/* ... and so many looked at in a call, also if none of them can be run. */
#define MOST_SEEN 10000

/* Schedules that a call has looked at. */
typedef struct Seen
{
	MemoryContext memory;
	Elements	names;
} Seen;

/* Runs the next page of what a statement finds; false if it finds nothing more. */
static bool
run_page(Statement *find, Seen *seen, TimestampTz now, int64 most, int64 *done)
{
	uint64		count = run(find, &(FindSchedules)
							{
								.now = a_time(now),.seen = array_of(&seen->names),.most = an_int((int32) Min(most - *done, PAGE))
							}, NEWEST);
	Schedule   *page = palloc(Max(count, 1) * sizeof(Schedule));

	for (uint64 row = 0; row < count; row++)
	{
		MemoryContext context;

		fetch(row, 0, &page[row]);
		context = MemoryContextSwitchTo(seen->memory);
		if (seen->names.values == NULL)
			seen->names = new_elements(TEXTOID, MOST_SEEN + PAGE);
		append_element(&seen->names, a_value(CStringGetTextDatum(TextDatumGetCString(page[row].name.value))));
		MemoryContextSwitchTo(context);
	}
	for (uint64 row = 0; row < count && *done < most; row++)
	{
		CHECK_FOR_INTERRUPTS();
		*done += run_one(&page[row], now, most - *done);
	}
	return count > 0;
}

/*
 * Runs all schedules that are due, or wait for a run that has ended, up to so many
 * runs; returns how many times were dealt with.  A schedule that cannot be run does
 * not hold up those behind it.  memory outlives the pages.
 */
int64
run_due_schedules(MemoryContext memory, TimestampTz now, int64 most)
{
	Statement  *const finders[] = {&find_due_schedules, &find_waiting_schedules};
	Seen		seen = {.memory = memory,.names = {.type = TEXTOID}};
	int64		done = 0;

	for (int i = 0; i < lengthof(finders); i++)
		while (done < most && seen.names.count < MOST_SEEN && run_page(finders[i], &seen, now, most, &done))
			free_round();
	return done;
}

/* ---- by hand ------------------------------------------------------------------------------------ */

/*
 * trigger_schedule(name)
 *
 * Locks the schedule's row, then as at the top of this file, waiting for each.
 */
Datum
durable_trigger_schedule(PG_FUNCTION_ARGS)
{
	Schedule	schedule;
	Running		r;
	TimestampTz at;
	Outcome		outcome;
	pg_uuid_t  *id;
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	lock_schedule_or_raise(fcinfo->args[0].value, &schedule);
	at = clock_now();
	/* a fraction tells it from the times of the plan */
	if (at % USECS_PER_SEC == 0)
		at++;
	r = (Running) {.schedule = schedule,.times = timetable_of(&schedule),.now = at,.may_wait = true};
	if (!has_some_bucket())
		require_bucket_of_name(name_of_run(&schedule, at), "name");
	(void) run_waiting(&r);
	/* a microsecond later its name may have a bucket that is here */
	while ((outcome = run_time(&r, at)) == HAS_RUN)
		at++;
	end_running(&r);
	id = MemoryContextAlloc(call.memory, sizeof(pg_uuid_t));
	*id = r.last_id;
	end_call(&call);
	if (outcome != STARTED)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(id);
}

/*
 * backfill_schedule(name, from_time, to_time)
 *
 * Locks the schedule's row, then the queue and the names of the runs, waiting for
 * each.  Only times that are past get a run.  Where tick has still to deal with one, it
 * finds that it has a run.
 */
Datum
durable_backfill_schedule(PG_FUNCTION_ARGS)
{
	NullableDatum from = fcinfo->args[1];
	NullableDatum to = fcinfo->args[2];
	Schedule	schedule;
	Running		r;
	TimestampTz until;
	TimestampTz at;
	int32		started = 0;
	Call		call;

	require_name(fcinfo->args[0], "name");
	require(from, "from_time");
	require(to, "to_time");
	check_time(from, "from_time");
	check_time(to, "to_time");
	if (DatumGetTimestampTz(to.value) < DatumGetTimestampTz(from.value))
		bad_argument("to_time", "must not be before \"from_time\"", "There is no time in between.",
					 "Pass a later time.");

	call = begin_call(fcinfo);
	lock_schedule_or_raise(fcinfo->args[0].value, &schedule);
	r = (Running) {.schedule = schedule,.times = timetable_of(&schedule),.now = clock_now(),.may_wait = true};
	until = Min(DatumGetTimestampTz(to.value), r.now);
	at = DatumGetTimestampTz(from.value) - 1;
	while (started < MOST_AT_ONCE && next_time(&r.times, at, &at) && at <= until)
	{
		pg_uuid_t	id;

		CHECK_FOR_INTERRUPTS();
		if (!runs_elsewhere(&r, at) && !exists(&look_run, &r, at) && start_run(&r, at, &id) == STARTED)
			started++;
	}
	end_call(&call);
	PG_RETURN_INT32(started);
}
