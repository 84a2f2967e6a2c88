/*-------------------------------------------------------------------------
 *
 * wake_work.c
 *	  wait_for_work: waits until there is something for an executor to do.
 *
 * It sleeps without a transaction (wake_sleep.c), and is told when to look (wake_memory.c).  Besides,
 * it looks when something comes due, and once a second for what nobody was told of.  Who
 * has no place in the shared memory looks every 50 ms.
 *
 * One session a second also does what time has brought (tick.c), and sees to what comes due
 * until another one does.  If it returns before, it tells another one.
 *
 * A look locks and writes nothing.  The heartbeat, the binding, and each tick are transactions of
 * their own, which lock the executor's row, what bind.c says, and what tick.c says.
 *
 * What it returns is a hint: by the time of the claim the work may be gone.
 *
 *-------------------------------------------------------------------------
 */
#include "claim_internal.h"
#include "plan.h"
#include "sql.h"
#include "bind.h"
#include "suspend.h"
#include "tick.h"
#include "wake.h"

#include "miscadmin.h"
#include "subtransaction.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(durable_wait_for_work);

/* Who is not told anything looks so often (microseconds). */
#define LOOKING_TIME	INT64CONST(50000)

/* A session warns so often that tick fails. */
#define WARNING_TIME	INT64CONST(60000000)

/* Keys beside those of queues: tick's. */
#define OTHER_KEYS 1

/* What a wait asks for, and what it has seen. */
typedef struct WorkWait
{
	FunctionCallInfo fcinfo;
	MemoryContext memory;
	Datum		executor_id;
	int			queue_count;	/* with none, it waits for roots without a queue */
	Datum	   *queues;
	WakeKey    *keys;			/* tick's, then those of the queues */
	int			key_count;
	bool		is_told;		/* has a place: need not look by itself */
	int64		until;			/* clock_monotonic, as the next three */
	int64		next_second;	/* when it looks for what nobody was told of */
	int64		next_beat;		/* when it looks whether a heartbeat is due */
	int64		quiet_until;	/* it was promised work and got none: no promise before that */
	TimestampTz next_due;		/* in the queues */
	TimestampTz next_deadline;	/* of what the executor drives */
	bool		held_back;		/* there is work that it may not have */
	bool		untold_queues;	/* nobody has looked at its queues for a while ... */
	bool		untold_tick;	/* ... nor done what time has brought */
} WorkWait;

/* ---- what this session remembers ------------------------------------------------------- */

/* When the session was told last that there is something to recover (clock_monotonic). */
static int64 told_recover_at;

/* The deadlines up to that time were told. */
static TimestampTz told_deadlines;

/* When something comes due for tick, to which this session sees; DT_NOEND: another one does. */
static TimestampTz next_tick = DT_NOEND;

/* When the session did last what time has brought, and when it warned last that it cannot (clock_monotonic). */
static int64 ticked_at;
static int64 warned_at;

/* ---- work in the queues ------------------------------------------------------------------ */

/*
 * How many are due in lanes without a key that a claim may take, at most so many: what is
 * suspended goes on beyond the rate limit.
 */
static int64
count_allowed(Datum queue, TimestampTz now, int64 starts, int64 due, int64 most)
{
	Search		search = begin_search(queue, now, false);
	Due			lane;
	int64		suspended = 0;

	/* of a lane one, which is enough for one waiter to look */
	if (starts < most)
		while (next_due(&search, &lane))
			suspended += is_suspended_rank(lane.is_late ? lane.head.rank : lane.first.rank) ? 1 : 0;
	return starts >= due ? due : Min(due, starts + suspended);
}

/*
 * How many a claim from the queue would get at that time, at most so many; *due, how
 * many are due there; *next, when there may be more.
 */
static int64
claimable(Datum queue, bool has_row, TimestampTz now, int64 most, int64 *due, TimestampTz *next)
{
	Counts		counts = {.window_start = a_null(),.early = a_null()};
	Search		search;
	Queue		row;
	int64		starts;
	int64		allowed;

	if (has_row)
		look_queue_or_raise(queue, &row);
	search = begin_search(queue, now, false);
	*due = count_due(&search, most);
	*next = search.idle.next;
	if (!has_row)
		return *due;
	if (has_limits(&row))
		look_counts(queue, &row, now, &counts);
	starts = starts_left(&row, &counts);
	allowed = count_allowed(queue, now, starts, *due, most);
	allowed += count_due_under_keys(queue, &row, &counts, now, most, due, next);
	if (starts == 0 && *due > 0 && !row.paused)
		*next = Min(*next, end_of_window(&row, &counts));
	return allowed == 0 ? 0 : free_slots(queue, &row, &counts, allowed);
}

/*
 * Whether the session may take work from one of the queues that was due at that time.  If there is more, somebody
 * else is told to look.
 */
static bool
has_work(WorkWait *wait, bool older)
{
	TimestampTz now = older ? clock_now() - TICK_TIME : clock_now();
	bool		has_queues = wait->queue_count > 0;
	int			count = Max(wait->queue_count, 1);

	/* of what is due soon, a look at what is older knows less than the one before */
	if (!older)
	{
		wait->next_due = DT_NOEND;
		wait->held_back = false;
	}
	for (int i = 0; i < count; i++)
	{
		WakeKey		key = wait->keys[OTHER_KEYS + i];
		int64		promised = promises(key);
		int64		due;
		TimestampTz next = DT_NOEND;
		int64		jobs = claimable(wait->queues[i], has_queues, now, promised + 2, &due, &next);

		/* a claim acts on notes of waits that have ended (suspend_wake.c), which nobody is told of */
		if (older && has_queues && jobs == 0 && are_there_notes())
			jobs = 1;
		if (promise(key, jobs))
		{
			if (jobs > promised + 1)
				tell_others(key);
			return true;
		}
		wait->held_back = wait->held_back || due > 0;
		if (!older)
			wait->next_due = Min(wait->next_due, next);
	}
	return false;
}

/* ---- deadlines ------------------------------------------------------------------------------ */

#define LOOK_DEADLINES(P) \
	P(executor_id, TEXTOID) \
	P(after, TIMESTAMPTZOID)
PARAMETERS(LookDeadlines, LOOK_DEADLINES);

static Statement look_next_deadline = STATEMENT(LookDeadlines,
	"SELECT w.deadline FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"WHERE d.executor_id = :executor_id AND " CHECKED("w.status = 'RUNNING' AND w.deadline > :after") " "
	"ORDER BY w.deadline LIMIT 1");

/* When the next of the executor's workflows comes to its deadline, of which it was not told. */
static TimestampTz
next_deadline(Datum executor_id)
{
	if (run(&look_next_deadline,
			&(LookDeadlines) {.executor_id = a_value(executor_id),.after = a_time(told_deadlines)}, NEWEST) == 0)
		return DT_NOEND;
	return DatumGetTimestampTz(result_value(0, 0));
}

/* ---- one look ---------------------------------------------------------------------------------- */

/* What is to be looked at. */
typedef struct LookAt
{
	bool		queues;
	bool		older;			/* there, only what has been due for a while */
	bool		deadlines;
	bool		tick;			/* at what time has brought, and what is to be recovered then */
} LookAt;

/* Whether recover would find something. */
static bool
has_to_recover(const WorkWait *wait)
{
	TimestampTz now = clock_now();

	/* who has no queues was told of released roots when they came due */
	if (!something_to_recover(wait->executor_id, wait->queue_count > 0 ? now : now - TICK_TIME))
		return false;
	told_recover_at = clock_monotonic();
	return true;
}

/* The reason to return, or NULL. */
static const char *
look(WorkWait *wait, const LookAt *at, const Told *told)
{
	Call		call = begin_call(wait->fcinfo);
	TimestampTz now = clock_now();
	const char *reason = NULL;

	if (at->deadlines)
		wait->next_deadline = next_deadline(wait->executor_id);
	if (told->news || (!wait->is_told && look_for_news(wait->executor_id)))
		reason = "news";
	else if (wait->next_deadline <= now)
	{
		told_deadlines = now;
		reason = "news";
	}
	else if (at->queues && has_work(wait, at->older))
		reason = "work";
	else if (at->tick && has_to_recover(wait))
		reason = "recover";
	end_call(&call);
	return reason;
}

/* What the first look has to be about: all; a later one: what has happened meanwhile. */
static LookAt
what_to_look_at(WorkWait *wait, bool is_first, bool is_quiet, const Told *told)
{
	LookAt		at = {
		.queues = is_first || !wait->is_told || told->key != 0 || clock_now() >= wait->next_due,
		.deadlines = is_first || (!wait->is_told && drives_something()) || told->deadline || told->news,
		.tick = told->key == tick_key() || wait->untold_tick || clock_now() >= next_tick
	};

	if (wait->quiet_until != 0 && !is_quiet)
	{
		at.queues = true;
		wait->quiet_until = 0;
	}
	if (wait->untold_queues && !at.queues)
		at.queues = at.older = true;
	if (is_quiet)
		at.queues = false;
	wait->untold_queues = wait->untold_tick = false;
	return at;
}

/* ---- the wait ------------------------------------------------------------------------------------ */

/* The executor is alive as long as it waits. */
static void
beat_while_waiting(WorkWait *wait)
{
	Call		call;
	bool		wrote;

	if (clock_monotonic() < wait->next_beat)
		return;
	call = begin_call(wait->fcinfo);
	wrote = beat(wait->executor_id);
	end_call(&call);
	if (wrote)
		begin_anew(wait->fcinfo);
	/* somebody else's may get old earlier */
	wait->next_beat = clock_monotonic() +
		Max((int64) (durable_executor_timeout * USECS_PER_SEC / (wrote ? 10 : 40)), LOOKING_TIME / 5);
}

static void
bind_to_session(const WorkWait *wait)
{
	Call		call = begin_call(wait->fcinfo);
	bool		wrote = bind_executor(wait->executor_id);

	end_call(&call);
	if (wrote)
		begin_anew(wait->fcinfo);
}

static bool
try_tick(void *arg)
{
	const WorkWait *wait = arg;

	(void) do_tick(wait->fcinfo, TICK_ROWS, &next_tick);
	return true;
}

static void
warn_of_tick(const ErrorData *error)
{
	int64		now = clock_monotonic();

	if (warned_at != 0 && now - warned_at < WARNING_TIME)
		return;
	warned_at = now;
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("what time has brought cannot be done"),
			 errdetail_internal("%s", error->message),
			 errhint("durable.tick() shows the error.  It is tried again every second.")));
}

/*
 * Does what time has brought, in a transaction of its own.  An error is not this executor's: it
 * says so, and goes on to wait.
 */
static void
tick_while_waiting(WorkWait *wait)
{
	ErrorData  *error;

	ticked_at = clock_monotonic();
	if (!in_subtransaction(try_tick, wait, &error))
	{
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		warn_of_tick(error);
		next_tick = DT_NOEND;
	}
	/* later, somebody will have looked anew */
	if (next_tick > clock_now() + 2 * TICK_TIME)
		next_tick = DT_NOEND;
	begin_anew(wait->fcinfo);
}

/* When the session next has to look, or to see whether it has to. */
static int64
next_time(const WorkWait *wait)
{
	int64		time = Min(Min(wait->until, wait->next_second), wait->next_beat);

	if (!wait->is_told)
		time = Min(time, clock_monotonic() + LOOKING_TIME);
	if (wait->quiet_until != 0)
		time = Min(time, wait->quiet_until);
	else
		time = Min(time, monotonic_of(wait->next_due));
	return Min(time, monotonic_of(Min(wait->next_deadline, next_tick)));
}

/* Once a second, whether the session has to look for what nobody was told of. */
static bool
is_second_over(WorkWait *wait)
{
	int64		now = clock_monotonic();

	if (now < wait->next_second)
		return false;
	wait->next_second = now + TICK_TIME;
	wait->untold_queues = is_due_to_look(wait->keys + OTHER_KEYS, wait->key_count - OTHER_KEYS);
	wait->untold_tick = now - Max(ticked_at, told_recover_at) >= TICK_TIME && is_due_to_look(wait->keys, OTHER_KEYS);
	return wait->untold_queues || wait->untold_tick;
}

/* Sleeps until the session has to look, without a transaction.  Where a second has gone by and others look, it begins none. */
static void
sleep_until_look(WorkWait *wait)
{
	end_transaction();
	do
		doze_until(next_time(wait));
	while (!was_told() && !is_second_over(wait) && next_time(wait) > clock_monotonic() && wait->is_told);
	begin_transaction();
}

/* Looks and sleeps until there is a reason to return. */
static const char *
wait_for_reason(WorkWait *wait)
{
	for (bool is_first = true;; is_first = false)
	{
		bool		is_quiet;
		Told		told;
		LookAt		at;
		const char *reason;

		require_still_there(wait->fcinfo);
		beat_while_waiting(wait);
		is_quiet = clock_monotonic() < wait->quiet_until;
		told = ready_to_be_told(is_quiet);
		at = what_to_look_at(wait, is_first, is_quiet, &told);
		if (at.tick)
			tick_while_waiting(wait);
		reason = look(wait, &at, &told);
		if (reason == NULL && clock_monotonic() >= wait->until)
			reason = "timeout";
		if (reason)
		{
			/* what it was told, and does not take */
			if (told.key != 0 && strcmp(reason, "work") != 0)
				tell_others(told.key);
			return reason;
		}
		wait_on(wait->held_back, wait->next_due);
		sleep_until_look(wait);
	}
}

/* The queues' names, each as often as it is given. */
static void
take_queues(WorkWait *wait, NullableDatum queues)
{
	Datum	   *names;

	check_array(queues, "queues");
	deconstruct_array(DatumGetArrayTypeP(queues.value), TEXTOID, -1, false, TYPALIGN_INT, &names, NULL,
					  &wait->queue_count);
	wait->queues = palloc(Max(wait->queue_count, 1) * sizeof(Datum));
	for (int i = 0; i < wait->queue_count; i++)
	{
		require_name(a_value(names[i]), "queues");
		wait->queues[i] = names[i];
	}
	if (wait->queue_count == 0)
		wait->queues[0] = CStringGetTextDatum("");
}

static void
make_keys(WorkWait *wait)
{
	int			count = Max(wait->queue_count, 1);

	wait->keys = palloc((OTHER_KEYS + count) * sizeof(WakeKey));
	wait->keys[wait->key_count++] = tick_key();
	for (int i = 0; i < count; i++)
		wait->keys[wait->key_count++] = queue_key(wait->queues[i]);
}

/* wait_for_work(executor_id, queues, timeout, bind, reason) */
Datum
durable_wait_for_work(PG_FUNCTION_ARGS)
{
	WorkWait	wait = {
		.fcinfo = fcinfo,.memory = CurrentMemoryContext,.next_due = DT_NOEND,.next_deadline = DT_NOEND
	};
	TupleDesc	desc;
	const char *volatile reason = NULL;

	require_no_transaction(fcinfo, "wait_for_work");
	require_name(fcinfo->args[0], "executor_id");
	require(fcinfo->args[1], "queues");
	require(fcinfo->args[3], "bind");
	wait.until = end_of_wait(fcinfo->args[2]);
	wait.executor_id = PointerGetDatum(PG_DETOAST_DATUM_COPY(fcinfo->args[0].value));
	take_queues(&wait, fcinfo->args[1]);
	make_keys(&wait);
	desc = result_desc(fcinfo, 1);

	begin_anew(fcinfo);
	if (PG_GETARG_BOOL(3))
		bind_to_session(&wait);
	if (told_deadlines == 0)
		told_deadlines = clock_now();
	PG_TRY();
	{
		wait.is_told = begin_waiting(wait.keys, wait.key_count, executor_key(wait.executor_id));
		wait.quiet_until = quiet_until();
		(void) is_second_over(&wait);
		reason = wait_for_reason(&wait);
	}
	PG_CATCH();
	{
		end_waiting();
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_waiting();
	if (next_tick != DT_NOEND)
		tell_tick();
	MemoryContextSwitchTo(wait.memory);
	PG_RETURN_DATUM(row_of_procedure(desc, (NullableDatum[]) {a_value(CStringGetTextDatum(reason))}));
}
