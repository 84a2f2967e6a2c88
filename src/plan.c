/*-------------------------------------------------------------------------
 *
 * plan.c
 *	  The one way to run a statement (plan.h).
 *
 * Statements are prepared once in each backend, and kept: most of them as generic
 * plans.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "gather.h"
#include "wake.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

uint64		plans_made = 0;
Statement  *prepared_statements = NULL;

/* setting: whether fast paths are taken (init.c) */
bool		durable_fast_paths = true;

/* The row that result_column took apart last. */
static uint64 current_row;
static Datum current_values[64];
static bool current_nulls[64];

/* ---- from the text of a statement to what the server reads --------------------- */

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static int
parameter_number(const Statement *statement, const char *name, int len)
{
	for (int i = 0; i < statement->nparameters; i++)
		if (strncmp(statement->parameters[i].name, name, len) == 0 && statement->parameters[i].name[len] == '\0')
			return i + 1;
	elog(ERROR, "statement %s has no parameter %.*s", statement->name, len, name);
}

/*
 * :name becomes $n.  {from EVENT} and {to EVENT} become what the tables of
 * transitions (state.c) say; which table, the word after the brace tells:
 * {workflow from CANCEL}.
 */
static char *
expand(const Statement *statement)
{
	StringInfoData sql;

	initStringInfo(&sql);
	for (const char *p = statement->sql; *p;)
	{
		if (*p == ':' && p[1] == ':')
		{
			appendStringInfoString(&sql, "::");
			p += 2;
		}
		else if (*p == ':' && is_word(p[1]))
		{
			const char *name = ++p;

			while (is_word(*p))
				p++;
			appendStringInfo(&sql, "$%d", parameter_number(statement, name, (int) (p - name)));
		}
		else if (*p == '{')
		{
			const char *end = strchr(p, '}');

			append_transition(&sql, pnstrdup(p + 1, end - p - 1));
			p = end + 1;
		}
		else
			appendStringInfoChar(&sql, *p++);
	}
	return sql.data;
}

/* Whether it is planned once. */
static bool
is_generic(const Statement *statement)
{
	return statement->planning != FOR_PARAMS;
}

static void
prepare(Statement *statement)
{
	Oid			types[MAX_PARAMETERS];
	SPIPlanPtr	plan;

	Assert(statement->nparameters <= MAX_PARAMETERS);
	for (int i = 0; i < statement->nparameters; i++)
	{
		types[i] = statement->parameters[i].type;
		statement->by_reference[i] = !get_typbyval(types[i]);
	}
	plan = SPI_prepare_cursor(expand(statement), statement->nparameters, types,
							  is_generic(statement) ? CURSOR_OPT_GENERIC_PLAN : CURSOR_OPT_CUSTOM_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "could not prepare statement %s: %s", statement->name, SPI_result_code_string(SPI_result));
	statement->plan = plan;
	if (!statement->is_listed)
	{
		statement->is_listed = true;
		statement->next = prepared_statements;
		prepared_statements = statement;
	}
}

/* ---- planning ------------------------------------------------------------------- */

static void
set(const char *setting, const char *value)
{
	(void) set_config_option(setting, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Notes which tables a plan locks, in its order; each once, in the strongest mode, which keeps away all that the others do. */
static void
note_tables(Statement *statement, const CachedPlan *plan)
{
	ListCell   *s;
	ListCell   *t;

	statement->ntables = 0;
	foreach(s, plan->stmt_list)
	{
		foreach(t, lfirst_node(PlannedStmt, s)->rtable)
		{
			RangeTblEntry *entry = lfirst_node(RangeTblEntry, t);
			TableLock	lock = {.id = entry->relid,.mode = entry->rellockmode};
			int			i = 0;

			if (!OidIsValid(lock.id))
				continue;
			while (i < statement->ntables && statement->tables[i].id != lock.id)
				i++;
			if (i < statement->ntables)
			{
				statement->tables[i].mode = Max(statement->tables[i].mode, lock.mode);
				continue;
			}
			if (i == MAX_TABLES)
				elog(ERROR, "statement %s has more than %d tables", statement->name, MAX_TABLES);
			statement->tables[statement->ntables++] = lock;
		}
	}
}

/*
 * Makes a generic plan of index scans and nested loops.  Others read whole
 * tables: that seems cheapest while these are small, and would stay in the
 * plan while they grow.
 */
static void
plan_by_index(Statement *statement)
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
	set("enable_tidscan", "on");
	/* An index can be read as a whole, too, but not by a bitmap scan: which has to begin with the arrays. */
	if (statement->planning == BY_PROBES)
	{
		set("enable_indexscan", "off");
		set("enable_indexonlyscan", "off");
	}
	if (statement->planning == IN_ORDER)
	{
		set("enable_sort", "off");
		set("enable_bitmapscan", "off");
	}
	plan = SPI_plan_get_cached_plan(statement->plan);
	if (plan)
	{
		statement->generation = plan->generation;
		if (statement->fast)
			note_tables(statement, plan);
		ReleaseCachedPlan(plan, CurrentResourceOwner);
	}
	AtEOXact_GUC(true, level);
}

/* Whether the server has planned a statement, by the session's settings, in the place of our plan. */
static bool
is_planned_by_others(const Statement *statement)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(statement->plan));

	return is_generic(statement) && source->gplan != NULL && source->gplan->generation != statement->generation;
}

/* Whether there is a plan of ours that holds. */
static bool
is_ready(const Statement *statement)
{
	return statement->plan != NULL && statement->is_planned && SPI_plan_is_valid(statement->plan) &&
		!is_planned_by_others(statement);
}

/* Sees to it that there is a plan of ours that holds; was_ready tells whether there was one. */
static void
make_ready(Statement *statement, bool was_ready)
{
	if (!was_ready)
	{
		statement->is_planned = false;
		plans_made++;
		require_schema_version();
		/* as it does if the search_path has changed: a first temporary table adds its schema */
		if (statement->plan && is_planned_by_others(statement))
		{
			SPI_freeplan(statement->plan);
			statement->plan = NULL;
		}
	}
	if (statement->plan == NULL)
		prepare(statement);
	if (!was_ready && is_generic(statement))
		plan_by_index(statement);
	statement->is_planned = true;
}

/* ---- running ---------------------------------------------------------------------- */

/*
 * Takes the fast path of a statement that has one, if it may be taken here.
 *
 * It locks the tables that the plan would, in its order, and then asks whether
 * the plan still holds: it does not if a table changed before we had its lock.
 * The server, when asked for the plan, does the same, but reads the whole statement
 * for it each time.
 *
 * A plan that the server has made instead of ours, by the session's settings, is
 * dropped, and so is one that it would make anew.
 */
static int64
try_fast_path(Statement *statement, const void *params, View view)
{
	int64		rows;
	const CachedPlan *plan;

	if (view != NEWEST || !durable_fast_paths || IsolationUsesXactSnapshot() || IgnoreSystemIndexes)
		return NOT_FAST;
	Assert(statement->ntables > 0);
	for (int i = 0; i < statement->ntables; i++)
		LockRelationOid(statement->tables[i].id, statement->tables[i].mode);
	if (!is_ready(statement))
		return NOT_FAST;
	plan = ((CachedPlanSource *) linitial(SPI_plan_get_plan_sources(statement->plan)))->gplan;
	if (plan == NULL || !plan->is_valid || plan->generation != statement->generation)
	{
		SPI_freeplan(statement->plan);
		statement->plan = NULL;
		return NOT_FAST;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	rows = statement->fast(params);
	PopActiveSnapshot();
	return rows;
}

/* The settings under which a statement is planned at each call. */
static int
begin_planning(const Statement *statement)
{
	int			level;

	if (is_generic(statement))
		return 0;
	level = NewGUCNestLevel();
	/* leaves steps out where only workflows are asked for */
	set("constraint_exclusion", "on");
	/* costs more than it gains, and would be decided by an estimate */
	set("jit", "off");
	return level;
}

/*
 * Runs a statement and returns the number of rows that it returned or changed.
 * The parameters are a structure of NullableDatums, in the order of the list.
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
run(Statement *statement, const void *params, View view)
{
	const NullableDatum *given = params;
	Datum		values[MAX_PARAMETERS];
	char		nulls[MAX_PARAMETERS];
	Snapshot	snapshot = InvalidSnapshot;
	bool		ready;
	int			level;
	int			rc;

	statement->calls++;
	/* learn before the plan is used, not by its use, what makes it invalid */
	AcceptInvalidationMessages();
	ready = is_ready(statement);
	if (ready && statement->fast)
	{
		int64		rows = try_fast_path(statement, params, view);

		if (rows != NOT_FAST)
		{
			statement->fast_calls++;
			return rows;
		}
		/* it may have waited for a lock */
		ready = is_ready(statement);
	}
	make_ready(statement, ready);
	if (statement->fast)
		count_left_to_statement();
	/* the statement is to find all that a batch has done */
	end_gathering();

	for (int i = 0; i < statement->nparameters; i++)
	{
		/* left out in the structure */
		if (!given[i].isnull && given[i].value == (Datum) 0 && statement->by_reference[i])
			elog(ERROR, "parameter %s of statement %s is missing", statement->parameters[i].name, statement->name);
		values[i] = given[i].value;
		nulls[i] = given[i].isnull ? 'n' : ' ';
	}
	level = begin_planning(statement);
	if (view == NEWEST && IsolationUsesXactSnapshot())
		snapshot = GetLatestSnapshot();
	rc = SPI_execute_snapshot(statement->plan, values, nulls, snapshot, InvalidSnapshot, view == CALLERS, true, 0);
	if (level > 0)
		AtEOXact_GUC(true, level);
	if (rc < 0)
		elog(ERROR, "statement %s failed: %s", statement->name, SPI_result_code_string(rc));
	current_row = PG_UINT64_MAX;
	return SPI_processed;
}

/* ---- results ------------------------------------------------------------------------ */

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

/* The values, in the order of the columns, of a structure of NullableDatums (fetch). */
void
fetch_columns(uint64 row, int first, void *values, int count)
{
	NullableDatum *value = values;

	for (int i = 0; i < count; i++)
		value[i] = result_column(row, first + i);
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

/* The ids in a column of the last result, as an array. */
Datum
result_ids(int column)
{
	pg_uuid_t  *ids = palloc(Max(SPI_processed, 1) * sizeof(pg_uuid_t));

	for (uint64 row = 0; row < SPI_processed; row++)
		ids[row] = *DatumGetUUIDP(result_value(row, column));
	return id_array(ids, SPI_processed);
}
