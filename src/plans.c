/*-------------------------------------------------------------------------
 *
 * plans.c
 *	  The one way to run a statement.
 *
 * Statements are prepared once a backend and kept, but for a few as generic
 * plans.  Their texts stand in looking.c and acting.c, their words in
 * statements.h.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

static const Statement *
statement_of(PlanId id)
{
	return looking_statements[id].sql ? &looking_statements[id] : &acting_statements[id];
}

static SPIPlanPtr plans[NUM_PLANS];
static bool is_planned[NUM_PLANS];	/* by us: an error may have kept us from it */
static int	generations[NUM_PLANS];	/* the plan that we made: the server may have made another */
uint64		plans_made = 0;

/* The row that result_column took apart last. */
static uint64 current_row;
static Datum current_values[64];
static bool current_nulls[64];

/* Whether it is planned once. */
static bool
is_generic(PlanId id)
{
	return statement_of(id)->planning == BY_INDEX || statement_of(id)->planning == BY_PROBES;
}

static void
prepare(PlanId id)
{
	const Statement *statement = statement_of(id);
	SPIPlanPtr	plan = SPI_prepare_cursor(statement->sql, statement->nargs, (Oid *) statement->argtypes,
										  is_generic(id) ? CURSOR_OPT_GENERIC_PLAN : CURSOR_OPT_CUSTOM_PLAN);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement %d: %s", id, SPI_result_code_string(SPI_result));
	plans[id] = plan;
}

static void
set(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Makes a generic plan of index scans and nested loops.  Others read whole
 * tables: that seems cheapest while these are small, and would stay in the
 * plan while they grow.
 */
static void
plan_by_index(PlanId id)
{
	int			level = NewGUCNestLevel();
	CachedPlan *plan;

	set("enable_seqscan", "off");
	set("enable_hashjoin", "off");
	set("enable_mergejoin", "off");
	set("enable_material", "off");
	set("jit", "off");
	/* the session may have switched these off, and where all is off, a small table is read as a whole */
	set("enable_indexscan", "on");
	set("enable_indexonlyscan", "on");
	set("enable_bitmapscan", "on");
	set("enable_nestloop", "on");
	/* An index can be read as a whole, too, but not by a bitmap scan: which has to begin with the arrays. */
	if (statement_of(id)->planning == BY_PROBES)
	{
		set("enable_indexscan", "off");
		set("enable_indexonlyscan", "off");
	}
	plan = SPI_plan_get_cached_plan(plans[id]);
	if (plan)
	{
		generations[id] = plan->generation;
		ReleaseCachedPlan(plan, CurrentResourceOwner);
	}
	AtEOXact_GUC(true, level);
}

/*
 * Takes the fast path of a statement that has one, if it may be taken here.
 *
 * To get the plan is to lock the tables as the statement does, in its order.
 * If they have changed before we had them, the server has made another plan:
 * we forget it, since it was made by the session's settings.
 */
static int64
try_fast_path(PlanId id, const Params *params, View view)
{
	int64		rows = NOT_FAST;
#ifndef WITHOUT_FAST_PATHS
	CachedPlan *plan;
	bool		is_ours;

	if (view != NEWEST || IsolationUsesXactSnapshot() || IgnoreSystemIndexes)
		return NOT_FAST;
	plan = SPI_plan_get_cached_plan(plans[id]);
	if (plan == NULL)
		return NOT_FAST;
	is_ours = plan->generation == generations[id];
	ReleaseCachedPlan(plan, CurrentResourceOwner);
	if (!is_ours)
	{
		SPI_freeplan(plans[id]);
		plans[id] = NULL;
		return NOT_FAST;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	rows = statement_of(id)->fast(params);
	PopActiveSnapshot();
#endif
	return rows;
}

/* Whether there is a plan of ours that holds. */
static bool
is_ready(PlanId id)
{
	return plans[id] != NULL && is_planned[id] && SPI_plan_is_valid(plans[id]);
}

/*
 * Runs a statement and returns the number of rows that it returned or changed.
 *
 * NEWEST: in READ COMMITTED each statement sees what is committed when it
 * starts, as everywhere.  Above it, the caller's snapshot may be older than
 * the lock that we wait for, and rows that we must not miss (a pause, a child)
 * are invisible in it, so there the statement gets the latest snapshot, as
 * the server's own foreign keys do; what changes under it is 40001.
 *
 * CALLERS: the snapshot of the query that called, for functions that only
 * look.
 */
uint64
run_plan(PlanId id, const Params *params, View view)
{
	Snapshot	snapshot = InvalidSnapshot;
	bool		planned;
	int			level = 0;
	int			rc;

	/* what makes a plan invalid is to be known before it is used, not found out by its use */
	AcceptInvalidationMessages();
	planned = is_ready(id);
	if (planned && statement_of(id)->fast)
	{
		int64		rows = try_fast_path(id, params, view);

		if (rows != NOT_FAST)
			return rows;
		/* it may have waited for a lock */
		planned = is_ready(id);
	}
	if (!planned)
	{
		is_planned[id] = false;
		plans_made++;
		require_schema_version();
	}
	if (plans[id] == NULL)
		prepare(id);
	if (is_generic(id))
	{
		if (!planned)
			plan_by_index(id);
	}
	else
	{
		level = NewGUCNestLevel();
		/* leaves steps out where only workflows are asked for */
		set("constraint_exclusion", "on");
		/* costs more than it gains, and would be decided by an estimate */
		set("jit", "off");
	}
	is_planned[id] = true;

	Assert(params->n == statement_of(id)->nargs);
	if (view == NEWEST && IsolationUsesXactSnapshot())
		snapshot = GetLatestSnapshot();
	rc = SPI_execute_snapshot(plans[id], (Datum *) params->values, params->nulls,
							  snapshot, InvalidSnapshot, view == CALLERS, true, 0);
	if (level > 0)
		AtEOXact_GUC(true, level);
	if (rc < 0)
		elog(ERROR, "statement %d failed: %s", id, SPI_result_code_string(rc));
	current_row = PG_UINT64_MAX;
	return SPI_processed;
}

/* A column (from 0) of a row (from 0) of the last result. */
NullableDatum
result_column(uint64 row, int column)
{
	NullableDatum d;

	if (row != current_row)
	{
		Assert(SPI_tuptable->tupdesc->natts <= lengthof(current_values));
		heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, current_values, current_nulls);
		current_row = row;
	}
	d.value = current_values[column];
	d.isnull = current_nulls[column];
	return d;
}

Datum
result_value(uint64 row, int column)
{
	return result_column(row, column).value;
}

/* Ids as a parameter. */
Datum
id_array(const pg_uuid_t *ids, uint64 count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (uint64 i = 0; i < count; i++)
		elements[i] = UUIDPGetDatum(&ids[i]);
	return PointerGetDatum(construct_array(elements, (int) count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

Datum
int_array(const int32 *ints, int count)
{
	Datum	   *elements = palloc(Max(count, 1) * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = Int32GetDatum(ints[i]);
	return PointerGetDatum(construct_array(elements, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/* The workflows in a column of the last result have a new lease. */
void
raised_leases_of_result(int column)
{
	for (uint64 row = 0; row < SPI_processed; row++)
		raised_lease_of(DatumGetUUIDP(result_value(row, column)));
}

/* The ids in a column of the last result, as an array. */
Datum
result_ids(int column)
{
	pg_uuid_t  *ids = palloc(Max(SPI_processed, 1) * sizeof(pg_uuid_t));

	for (uint64 row = 0; row < SPI_processed; row++)
		ids[row] = *DatumGetUUIDP(result_value(row, column));
	return id_array(ids, SPI_processed);
}
