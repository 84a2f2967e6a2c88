/*-------------------------------------------------------------------------
 *
 * call.c
 *	  A call from SQL: it begins, looks again if it was overtaken, and ends with
 *	  its result.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "buckets.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/tuplestore.h"

/*
 * Every function that reads or writes begins with begin_call and ends with one
 * of the end_call functions.  In between it has the rights of the function's
 * owner, who owns the tables, and a search_path of its own, so that neither a
 * statement nor the validity of its plan depends on the caller's; an error ends
 * both.  SECURITY DEFINER and SET search_path do the same, but cost each call ten
 * times as much.
 *
 * A call for a task whose bucket is in another database is refused here (buckets.c).
 *
 * Results are formed in the caller's memory, which SPI_finish leaves alone.
 */
Call
begin_call(FunctionCallInfo fcinfo)
{
	Call		call = {.memory = CurrentMemoryContext};
	HeapTuple	function = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	Oid			owner;

	if (!HeapTupleIsValid(function))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	hold_buckets();
	require_buckets_of_call(fcinfo, &((Form_pg_proc) GETSTRUCT(function))->proargtypes);
	owner = ((Form_pg_proc) GETSTRUCT(function))->proowner;
	ReleaseSysCache(function);

	GetUserIdAndSecContext(&call.user, &call.security);
	SetUserIdAndSecContext(owner, call.security | SECURITY_LOCAL_USERID_CHANGE);
	call.path = pin_search_path();
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	return call;
}

void
end_call(const Call *call)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	unpin_search_path(call->path);
	SetUserIdAndSecContext(call->user, call->security);
}

/* Frees all that a call has read and allocated since it began, or since the last round. */
void
free_round(void)
{
	if (SPI_finish() != SPI_OK_FINISH || SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI could not be begun anew");
}

/* So many looks in a row may see the same, since others may come and go in between. */
#define MOST_UNCHANGED 1000

/*
 * Ends a round whose statement has written nothing, though the look said that it
 * could: somebody was faster.  Frees all that the round has read and allocated.
 * Where the looks see the same again and again, something else keeps the row away,
 * and that is an error.
 */
void
next_round(Rounds *rounds, const char *table, uint64 seen)
{
	CHECK_FOR_INTERRUPTS();
	rounds->unchanged = seen == rounds->seen ? rounds->unchanged + 1 : 0;
	rounds->seen = seen;
	if (rounds->unchanged > MOST_UNCHANGED)
		raise_kept_away(table);
	free_round();
}

/* A statement may take so much longer for each row (microseconds): a batch also sleeps for short locks. */
#define A_ROW 1000

/* A call begins anew at most so often because it had to wait. */
#define MOST_WAITS 3

/* When this backend began to sleep last until somebody gives up a lock: the server then sets this alarm. */
static TimestampTz
last_sleep(void)
{
	return get_timeout_start_time(DEADLOCK_TIMEOUT);
}

/* From now on has_waited counts. */
void
watch_waits(Rounds *rounds)
{
	rounds->since = clock_monotonic();
	rounds->last_sleep = last_sleep();
}

/*
 * Whether the call has had to wait for somebody since, while it wrote so many rows, and for
 * so long that the times and the conditions that it was given are out of date.
 */
bool
has_waited(Rounds *rounds, int rows)
{
	return last_sleep() != rounds->last_sleep && clock_monotonic() - rounds->since > A_WAIT + A_ROW * rows &&
		rounds->waits++ < MOST_WAITS;
}

/*
 * Raises an error unless a row type has as many columns as are filled in: somebody
 * may have altered it.
 */
static void
require_columns(TupleDesc desc, int columns)
{
	int			found = 0;
	StringInfoData names;

	for (int i = 0; i < desc->natts; i++)
		found += TupleDescAttr(desc, i)->attisdropped ? 0 : 1;
	if (desc->natts == columns && found == columns)
		return;

	initStringInfo(&names);
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "", NameStr(TupleDescAttr(desc, i)->attname));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("row type %s does not have the columns that the library fills in",
					format_type_be_qualified(desc->tdtypeid)),
			 errdetail("It has %d columns (%s)%s, the library fills in %d.", found, names.data,
					   found == desc->natts ? "" : psprintf(" and %d that were dropped", desc->natts - found),
					   columns),
			 errhint("Install the library and the extension in one version. "
					 "If somebody has altered the type, dump and restore the database: that makes it anew.")));
}

/* The row type, of so many columns, that the function was declared to return. */
TupleDesc
result_desc(FunctionCallInfo fcinfo, int columns)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	desc;

	/* in FROM, the executor has built it already */
	if (rsinfo && IsA(rsinfo, ReturnSetInfo) && rsinfo->expectedDesc &&
		(rsinfo->expectedDesc->tdtypeid != RECORDOID || rsinfo->expectedDesc->tdtypmod >= 0))
		desc = rsinfo->expectedDesc;
	else if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	require_columns(desc, columns);
	return desc;
}

/* The type of a column (from 0) of a row type. */
Oid
column_type(TupleDesc desc, int column)
{
	return TupleDescAttr(desc, column)->atttypid;
}

/* Ends the call and returns a row, given as its columns: as many as result_desc was asked for. */
Datum
end_call_with_row(TupleDesc desc, const Call *call, const NullableDatum *columns)
{
	Datum		values[16];
	bool		nulls[16];
	Datum		result;

	MemoryContextSwitchTo(call->memory);
	Assert(desc->natts <= lengthof(values));
	for (int i = 0; i < desc->natts; i++)
	{
		values[i] = columns[i].value;
		nulls[i] = columns[i].isnull;
	}
	result = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	end_call(call);
	return result;
}

/* Ends the call and returns one value of that length (-1: of its own), by reference, or NULL. */
Datum
end_call_with_value(FunctionCallInfo fcinfo, const Call *call, NullableDatum d, int length)
{
	MemoryContextSwitchTo(call->memory);
	if (!d.isnull)
		d.value = datumCopy(d.value, false, length);
	fcinfo->isnull = d.isnull;
	end_call(call);
	return d.value;
}

/* Begins the result of a function that returns a set.  Called before begin_call. */
void
begin_rows(FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
}

/* The same for return_row, which fills in so many columns. */
void
begin_rows_of(FunctionCallInfo fcinfo, int columns)
{
	begin_rows(fcinfo);
	require_columns(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, columns);
}

/* Adds a row, given as its columns, to the result of a function that returns a set. */
void
return_row(FunctionCallInfo fcinfo, const NullableDatum *columns)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[32];
	bool		nulls[32];

	Assert(rsinfo->setDesc->natts <= lengthof(values));
	for (int i = 0; i < rsinfo->setDesc->natts; i++)
	{
		values[i] = columns[i].value;
		nulls[i] = columns[i].isnull;
	}
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * Adds all rows that the last statement has returned.  The row type may have got
 * columns from an update since this session began: these are NULL.
 */
void
return_rows(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			known = SPI_tuptable->tupdesc->natts;
	NullableDatum columns[32];

	if (rsinfo->setDesc->natts > lengthof(columns))
		require_columns(rsinfo->setDesc, known);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		for (int i = 0; i < rsinfo->setDesc->natts; i++)
			columns[i] = i < known ? result_column(row, i) : a_null();
		return_row(fcinfo, columns);
	}
}
