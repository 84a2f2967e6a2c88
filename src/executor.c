/*-------------------------------------------------------------------------
 *
 * executor.c
 *	  Executors: how they are registered, when they are dead, and heartbeat.
 *
 * is_dead() alone says which executors are dead; in SQL it is durable.is_dead().
 * What becomes of a dead executor's workflows is in recover.c.  What an executor
 * gives up itself is in release.c.
 *
 * The row of an executor is locked before anything else (durable.h).  So a call
 * that registers one and then waits holds nothing but that row, which only calls
 * with the same executor_id ask for.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "bind.h"
#include "table.h"

#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_is_dead);
PG_FUNCTION_INFO_V1(durable_stale_before);
PG_FUNCTION_INFO_V1(durable_heartbeat);

/* ---- dead or alive -------------------------------------------------------- */

/*
 * An executor is dead if it was last seen before stale_before (clock_stale_before),
 * or if it is not registered: last_seen is then NULL.
 */
bool
is_dead(NullableDatum last_seen, TimestampTz stale_before)
{
	return last_seen.isnull || DatumGetTimestampTz(last_seen.value) < stale_before;
}

/* is_dead(last_seen, stale_before) */
Datum
durable_is_dead(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[1], "stale_before");
	PG_RETURN_BOOL(is_dead(fcinfo->args[0], PG_GETARG_TIMESTAMPTZ(1)));
}

/* stale_before(now) */
Datum
durable_stale_before(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[0], "now");
	PG_RETURN_TIMESTAMPTZ(clock_stale_before(PG_GETARG_TIMESTAMPTZ(0), a_null()));
}

/* Whether an executor is dead; -1 if that cannot be told here.  For the fast paths of statements that look for such. */
int
any_executor_dead(TimestampTz stale_before)
{
	Look		look;
	bool		found = false;

	if (!begin_look(&look, &executor_by_id, AccessShareLock, NULL, 0))
		return -1;
	for (; look.row && !found; next_row(&look))
		found = is_dead(column_of_row(&look, executor_last_seen), stale_before);
	end_look(&look);
	return found;
}

/* Whether the session of a bound executor has ended; -1 if that cannot be told here.  For the same. */
int
any_session_ended(void)
{
	Look		look;
	bool		found = false;

	if (!begin_look(&look, &executor_by_id, AccessShareLock, NULL, 0))
		return -1;
	for (; look.row && !found; next_row(&look))
		found = session_has_ended(column_of_row(&look, executor_executor_id).value,
								  column_of_row(&look, executor_bound_run), column_of_row(&look, executor_bound));
	end_look(&look);
	return found;
}

/* app_version: that it has claimed with; NULL is any, or none */
#define LOOK_ALIVE(P) \
	P(executor_id, TEXTOID) \
	P(stale_before, TIMESTAMPTZOID) \
	P(app_version, TEXTOID)
PARAMETERS(LookAlive, LOOK_ALIVE);

static int64
fast_look_alive(const void *params)
{
	const LookAlive *p = params;
	Look		look;
	bool		alive;

	if (!begin_look(&look, &executor_by_id, AccessShareLock, (Key[]) {IS_TEXT(executor_executor_id, p->executor_id)}, 1))
		return NOT_FAST;
	alive = look.row &&
		!is_dead(column_of_row(&look, executor_last_seen), DatumGetTimestampTz(p->stale_before.value)) &&
		!session_has_ended(p->executor_id.value, column_of_row(&look, executor_bound_run),
						   column_of_row(&look, executor_bound)) &&
		(p->app_version.isnull || same_text(column_of_row(&look, executor_app_version), p->app_version));
	end_look(&look);
	return alive ? 1 : 0;
}

static Statement look_alive = STATEMENT(LookAlive,
	"SELECT 1 FROM durable.executor e "
	"WHERE e.executor_id = :executor_id AND NOT " IS_DEAD("e", ":stale_before")
	"  AND (:app_version IS NULL OR e.app_version = :app_version)",
	.fast = fast_look_alive);

/* Whether the executor is registered, as one that claims with that version, and not dead. */
static bool
alive_with(Datum executor_id, TimestampTz stale_before, NullableDatum app_version)
{
	return run(&look_alive, &(LookAlive)
			   {
				   .executor_id = a_value(executor_id),.stale_before = a_time(stale_before),.app_version = app_version
			   }, NEWEST) > 0;
}

/* Whether the executor is registered, and not dead. */
bool
executor_alive(Datum executor_id, TimestampTz stale_before)
{
	return alive_with(executor_id, stale_before, a_null());
}

/* ---- registering ------------------------------------------------------------ */

#define REFRESH(P) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(app_version, TEXTOID)
PARAMETERS(Refresh, REFRESH);

#define BOUND_LIST(F, C, t) F(t, bound_run) C(t, bound)
ROW(BoundRow, BOUND_LIST);

static Statement refresh = STATEMENT(Refresh,
	"INSERT INTO durable.executor AS e (executor_id, last_seen, app_version) SELECT :executor_id, :now, :app_version "
	"ON CONFLICT (executor_id) DO UPDATE SET last_seen = greatest(e.last_seen, :now),"
	"  app_version = coalesce(:app_version, e.app_version) "
	"RETURNING " COLUMNS(BOUND_LIST, "e."));

/*
 * Writes that the executor was seen now, and the version with which it claims, if
 * given.  Locks its row, before any row of a
 * workflow.  If it had to wait for the row, it writes the time once more.  An executor
 * whose session has ended is not bound to it any more (bind.c).
 */
static void
refresh_executor(Datum executor_id, NullableDatum app_version)
{
	Refresh		params = {.executor_id = a_value(executor_id),.app_version = app_version};
	Rounds		rounds = {0};
	BoundRow	row;

	do
	{
		watch_waits(&rounds);
		params.now = a_time(clock_now());
		if (run(&refresh, &params, NEWEST) == 0)
			raise_kept_away("durable.executor");
		fetch(0, 0, &row);
	} while (has_waited(&rounds, 1));
	unbind_ended(executor_id, row.bound_run, row.bound);
}

/* A heartbeat, if the last one is older than a tenth of executor_timeout; returns whether it wrote one. */
bool
beat(Datum executor_id)
{
	if (executor_alive(executor_id, clock_add(clock_now(), -durable_executor_timeout / 10)))
		return false;
	refresh_executor(executor_id, a_null());
	return true;
}

/*
 * Registers an executor that is unknown, and refreshes one that is stale (by
 * default, silent for durable.executor_timeout); NULL is nobody.  Returns the time
 * of that by clock_monotonic, or 0 if there was nothing to write.
 */
int64
register_executor(NullableDatum executor_id, NullableDatum stale_after)
{
	return register_claimer(executor_id, stale_after, a_null());
}

/* The same for one that claims, with a version if given: one that claims with another than before is refreshed, too. */
int64
register_claimer(NullableDatum executor_id, NullableDatum stale_after, NullableDatum app_version)
{
	if (executor_id.isnull || alive_with(executor_id.value, clock_stale_before(clock_now(), stale_after), app_version))
		return 0;
	refresh_executor(executor_id.value, app_version);
	return clock_monotonic();
}

/* Refreshes an executor that register_executor has written, if the call has waited since.  Its row is still locked. */
void
register_again(NullableDatum executor_id, int64 registered)
{
	if (registered != 0 && clock_monotonic() - registered > A_WAIT)
		refresh_executor(executor_id.value, a_null());
}

/* ---- heartbeat ---------------------------------------------------------------- */

#define COMPARE(P) \
	P(executor_id, TEXTOID) \
	P(workflow_ids, UUIDARRAYOID) \
	P(leases, INT4ARRAYOID)
PARAMETERS(Compare, COMPARE);

/*
 * The workflows that the executor is wrong to believe it drives, those that it drives
 * without knowing, and those whose program has yet to be told that it is to end.
 */
static Statement compare = STATEMENT(Compare,
	"SELECT b.id, w.status, w.lease, w.executor_id, w.cancel_requested_at "
	"FROM ROWS FROM (unnest(:workflow_ids), unnest(:leases)) AS b (id, lease) "
	"LEFT JOIN durable.workflow w ON w.id = b.id "
	"WHERE w.id IS NULL "
	"  OR (" UNIT("w") " AND (w.status <> 'RUNNING' OR w.lease <> b.lease "
	"    OR w.executor_id IS NULL OR w.executor_id <> :executor_id OR w.cancel_untold)) "
	"UNION ALL "
	"SELECT w.id, w.status, w.lease, w.executor_id, w.cancel_requested_at FROM durable.driven d CROSS JOIN LATERAL ("
	"  SELECT w.* FROM durable.workflow w WHERE w.id = d.id AND " CHECKED("w.status = 'RUNNING'") " OFFSET 0) w "
	"WHERE d.executor_id = :executor_id"
	/* (SELECT ...), so that they are hashed: without it, all are compared with all */
	"  AND NOT d.id = ANY (SELECT unnest(:workflow_ids))");

/*
 * heartbeat(executor_id, workflow_ids, leases)
 *
 * Locks and writes the executor's row, nothing else.
 */
Datum
durable_heartbeat(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[0];
	NullableDatum workflow_ids = fcinfo->args[1];
	NullableDatum leases = fcinfo->args[2];
	Call		call;

	require_name(executor_id, "executor_id");
	if (workflow_ids.isnull != leases.isnull)
		bad_argument(workflow_ids.isnull ? "workflow_ids" : "leases", "must be given where the other is",
					 "One of \"workflow_ids\" and \"leases\" is NULL.", "Pass both, or neither.");
	if (!workflow_ids.isnull)
	{
		check_array(leases, "leases");
		check_array_beside(leases, "leases", check_array(workflow_ids, "workflow_ids"), "workflow_ids");
	}

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	refresh_executor(executor_id.value, a_null());
	if (!workflow_ids.isnull)
	{
		run(&compare, &(Compare) {.executor_id = executor_id,.workflow_ids = workflow_ids,.leases = leases}, NEWEST);
		return_rows(fcinfo);
	}
	end_call(&call);
	return (Datum) 0;
}
