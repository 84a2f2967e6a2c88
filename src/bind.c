/*-------------------------------------------------------------------------
 *
 * bind.c
 *	  Executors that are bound to a session: dead as soon as it ends.
 *
 * A bound executor's row names the run of the server and a number.  The session
 * holds a lock of that executor and number, to its end.  So whoever finds the row of
 * this run, and nobody who holds the lock, knows that the session has ended.  In another
 * run (after a crash, a restart, a failover) the row says nothing: the executor then
 * goes by its heartbeats until it binds again.
 *
 * Another session that binds the executor raises the number.  The former session loses it, whether
 * it still lives or not, and what it drives is left behind: it gets to an executor of
 * another name that is dead, and goes through recover.
 *
 * Locks: the executor's row first, as everywhere, then the session's lock, without
 * waiting, then the rows of the workflows that are left behind, in the order of ids.  Whoever
 * asks whether the lock is held does not wait either, and gives it back at once.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "bind.h"
#include "wake.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(durable_session_ended);

/* ---- the run of the server ------------------------------------------------------- */

/*
 * It is told by the start of the checkpointer, which a crash ends, too; the start of the server
 * is older.  It does not change while a session lives.
 */
static TimestampTz
run_of_server(void)
{
	static TimestampTz run = 0;

	for (int tries = 0; run == 0 && tries < 100; tries++)
	{
		int			count = pgstat_fetch_stat_numbackends();

		if (tries > 0)
			pg_usleep(10000);
		for (int i = 1; i <= count; i++)
		{
			const PgBackendStatus *status = status_of_backend(i);

			if (status->st_backendType == B_CHECKPOINTER)
				run = status->st_proc_start_timestamp;
		}
		pgstat_clear_backend_activity_snapshot();
	}
	if (run == 0)
		elog(ERROR, "the server has no checkpointer");
	return run;
}

/* ---- the session's locks -------------------------------------------------------------- */

/* The executors that this session has bound. */
typedef struct Binding
{
	struct Binding *next;
	char	   *executor_id;
	int32		number;
} Binding;

static Binding *bindings;

static Binding *
binding_of(Datum executor_id)
{
	char	   *name = TextDatumGetCString(executor_id);
	Binding    *b = bindings;

	while (b && strcmp(b->executor_id, name) != 0)
		b = b->next;
	pfree(name);
	return b;
}

static void
forget_binding(Binding *binding)
{
	Binding   **b = &bindings;

	while (*b != binding)
		b = &(*b)->next;
	*b = binding->next;
	pfree(binding->executor_id);
	pfree(binding);
}

/* What others were told of is free by then. */
static void
unbind_at_exit(int code, Datum arg)
{
	bool		any = bindings != NULL;

	AbortOutOfAnyTransaction();
	give_place_back();
	for (; bindings; bindings = bindings->next)
		unlock_bound(bindings->executor_id, bindings->number);
	if (any)
		tell_tick();
}

static void
remember_binding(Datum executor_id, int32 number)
{
	static bool unbinds = false;
	Binding    *b = MemoryContextAlloc(TopMemoryContext, sizeof(Binding));

	if (!unbinds)
		before_shmem_exit(unbind_at_exit, 0);
	unbinds = true;
	b->executor_id = MemoryContextStrdup(TopMemoryContext, TextDatumGetCString(executor_id));
	b->number = number;
	b->next = bindings;
	bindings = b;
}

/* ---- has it ended? -------------------------------------------------------------------- */

/* Whether the executor was bound so in this run, and its session has ended. */
bool
session_has_ended(Datum executor_id, NullableDatum run, NullableDatum number)
{
	return !run.isnull && !number.isnull && !RecoveryInProgress() &&
		DatumGetTimestampTz(run.value) == run_of_server() &&
		!is_bound(TextDatumGetCString(executor_id), DatumGetInt32(number.value));
}

/* session_ended(executor_id, bound_run, bound) */
Datum
durable_session_ended(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[0], "executor_id");
	PG_RETURN_BOOL(session_has_ended(PG_GETARG_DATUM(0), fcinfo->args[1], fcinfo->args[2]));
}

/* ---- what is left behind ---------------------------------------------------------------- */

#define OWNED_BY(P) \
	P(executor_id, TEXTOID)
PARAMETERS(OwnedBy, OWNED_BY);

static Statement lock_driven = STATEMENT(OwnedBy,
	"SELECT w.id FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"WHERE d.executor_id = :executor_id AND " CHECKED("w.executor_id = :executor_id AND w.status = ANY {workflow from RELEASE}")
	" ORDER BY w.id FOR NO KEY UPDATE OF w");

#define LEAVE(P) \
	P(ids, UUIDARRAYOID) \
	P(dead, TEXTOID)
PARAMETERS(Leave, LEAVE);

static Statement leave_workflows = STATEMENT(Leave,
	"UPDATE durable.workflow w SET executor_id = :dead WHERE w.id = ANY (:ids)");

#define BIND(P) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(run, TIMESTAMPTZOID) \
	P(number, INT4OID)
PARAMETERS(Bind, BIND);

/* run and number are NULL to unbind it */
static Statement write_bound = STATEMENT(Bind,
	"INSERT INTO durable.executor AS e (executor_id, last_seen, bound_run, bound) "
	"SELECT :executor_id, :now, :run, :number "
	"ON CONFLICT (executor_id) DO UPDATE SET"
	"  last_seen = greatest(e.last_seen, :now), bound_run = :run, bound = :number");

static void
write_binding(Datum executor_id, NullableDatum server_run, NullableDatum number)
{
	if (run(&write_bound, &(Bind)
			{
				.executor_id = a_value(executor_id),.now = a_time(clock_now()),.run = server_run,.number = number
			}, NEWEST) == 0)
		raise_kept_away("durable.executor");
}

/*
 * What the executor drives is left behind by the session of that number: to an
 * executor of another name, whose lock nobody holds.
 */
static void
leave_behind(Datum executor_id, int32 number)
{
	uint64		count = run(&lock_driven, &(OwnedBy) {.executor_id = a_value(executor_id)}, NEWEST);
	Datum		ids;
	Datum		dead;

	if (count == 0)
		return;
	ids = result_ids(0);
	dead = CStringGetTextDatum(psprintf("%s (ended session %d)", TextDatumGetCString(executor_id), number));
	write_binding(dead, a_time(run_of_server()), an_int(number));
	if (run(&leave_workflows, &(Leave) {.ids = a_value(ids),.dead = a_value(dead)}, NEWEST) < count)
		raise_kept_away("durable.workflow");
}

/*
 * An executor that was registered again: if the session has ended that it was bound to, it is
 * alive from now on without one, but not in what that session drove.  Its row is locked.
 */
void
unbind_ended(Datum executor_id, NullableDatum run, NullableDatum number)
{
	if (!session_has_ended(executor_id, run, number))
		return;
	leave_behind(executor_id, DatumGetInt32(number.value));
	write_binding(executor_id, a_null(), a_null());
}

/* ---- binding ------------------------------------------------------------------------------ */

#define BOUND_LIST(F, C, t) F(t, bound_run) C(t, bound)
ROW(BoundRow, BOUND_LIST);

static Statement look_bound = STATEMENT(OwnedBy,
	"SELECT " COLUMNS(BOUND_LIST, "e.") " FROM durable.executor e WHERE e.executor_id = :executor_id");

static Statement lock_bound_row = STATEMENT(OwnedBy,
	"SELECT " COLUMNS(BOUND_LIST, "e.") " FROM durable.executor e WHERE e.executor_id = :executor_id FOR NO KEY UPDATE");

/* All are NULL if it is not registered. */
static BoundRow
read_bound(Statement *statement, Datum executor_id)
{
	BoundRow	row = {.bound_run = a_null(),.bound = a_null()};

	if (run(statement, &(OwnedBy) {.executor_id = a_value(executor_id)}, NEWEST) > 0)
		fetch(0, 0, &row);
	return row;
}

/* Whether the row names this run. */
static bool
is_of_this_run(const BoundRow *row)
{
	return !row->bound.isnull && !row->bound_run.isnull && DatumGetTimestampTz(row->bound_run.value) == run_of_server();
}

/*
 * Sees to it that the executor is bound to this session.  Returns whether that wrote something, which
 * is to be committed.  Raises WF008 if another session has bound it since this one did.
 */
bool
bind_executor(Datum executor_id)
{
	Binding    *mine = binding_of(executor_id);
	char	   *name = TextDatumGetCString(executor_id);
	BoundRow	row;
	bool		has_former;
	int32		number;

	if (mine)
	{
		row = read_bound(&look_bound, executor_id);
		if (is_of_this_run(&row))
		{
			if (DatumGetInt32(row.bound.value) == mine->number)
			{
				/* somebody may just be asking whether it is free */
				while (!try_lock_bound(name, mine->number))
				{
					CHECK_FOR_INTERRUPTS();
					pg_usleep(1000);
				}
				return false;
			}
			unlock_bound(name, mine->number);
			forget_binding(mine);
			raise_refusal(refuse_bound(name));
		}
		/* it was released, or unbound since the session had lost its lock */
		unlock_bound(name, mine->number);
		forget_binding(mine);
	}

	row = read_bound(&lock_bound_row, executor_id);
	has_former = is_of_this_run(&row);
	number = row.bound.isnull ? (int32) (clock_monotonic() & 0x3fffffff) : DatumGetInt32(row.bound.value);
	do
		number = number == PG_INT32_MAX ? 1 : number + 1;
	while (!try_lock_bound(name, number));
	remember_binding(executor_id, number);
	write_binding(executor_id, a_time(run_of_server()), an_int(number));
	if (has_former)
		leave_behind(executor_id, DatumGetInt32(row.bound.value));
	return true;
}
