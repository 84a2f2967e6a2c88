/*-------------------------------------------------------------------------
 *
 * call.c
 *	  A call from SQL: it begins, looks again if it was overtaken, and ends with
 *	  its result.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

/*
 * Every function that reads or writes begins with begin_call and ends with one
 * of the end_call functions.  In between it has the rights of the function's
 * owner, who owns the tables, and a search_path of its own, so that neither a
 * statement nor the validity of its plan depends on the caller's; an error ends
 * both.  It is what SECURITY DEFINER and SET search_path do, for a tenth of
 * their price, which here is paid at each call.
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

/* So often in a row may a look see the same: others may come and go in between. */
#define MOST_UNCHANGED 1000

/*
 * Frees all that the round has read and allocated, so that the next may begin.
 * Its statement has written nothing, though the look said that it could: somebody
 * was faster.  Who finds the same again and again has something else in the way.
 */
void
next_round(Rounds *rounds, const char *table, uint64 seen)
{
	CHECK_FOR_INTERRUPTS();
	rounds->unchanged = seen == rounds->seen ? rounds->unchanged + 1 : 0;
	rounds->seen = seen;
	if (rounds->unchanged > MOST_UNCHANGED)
		raise_kept_away(table);
	if (SPI_finish() != SPI_OK_FINISH || SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI could not be begun anew");
}

/* A statement may take so much longer for each row (microseconds). */
#define A_ROW 100

/* So often may a call begin anew for that: where all is slow, it has not waited. */
#define MOST_WAITS 3

/*
 * Whether the statement that a call has just run, which wrote so many rows, had to
 * wait, so that the time and the conditions it was given are those of before.
 */
bool
has_waited(Rounds *rounds, int rows)
{
	return clock_monotonic() - rounds->since > A_WAIT + A_ROW * rows && rounds->waits++ < MOST_WAITS;
}

/*
 * Does something in a subtransaction.  Unless it returns true, what it has written
 * and locked is given back.  An error ends it, too, and is returned.
 */
bool
in_subtransaction(bool (*act) (void *arg), void *arg, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = act(arg);
		if (done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * A row type is what the catalog says, and somebody may have altered it: raises
 * an error unless it has as many columns as are filled in.
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

/* The type of a column (from 0) of it. */
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

/* The same for one value of variable length, or NULL. */
Datum
end_call_with_value(FunctionCallInfo fcinfo, const Call *call, NullableDatum d)
{
	MemoryContextSwitchTo(call->memory);
	if (!d.isnull)
		d.value = datumCopy(d.value, false, -1);
	fcinfo->isnull = d.isnull;
	end_call(call);
	return d.value;
}

/* The two halves of a function that returns a set: before begin_call */
void
begin_rows(FunctionCallInfo fcinfo)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
}

/* (with rows of so many columns, for return_row) ... */
void
begin_rows_of(FunctionCallInfo fcinfo, int columns)
{
	begin_rows(fcinfo);
	require_columns(((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, columns);
}

/* ... and after it: a row, given as its columns ... */
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
 * ... or all rows that a statement has returned.  Columns that the row type has
 * got from an update since this session began are NULL.
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
