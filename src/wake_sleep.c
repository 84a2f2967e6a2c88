/*-------------------------------------------------------------------------
 *
 * wake_sleep.c
 *	  How a procedure sleeps: without a transaction, a snapshot, or a lock.
 *
 * It is called by CALL, outside of a transaction block.  Each of its looks is a
 * transaction of its own.  The last one, whose result is returned, ends with the CALL.
 *
 * A sleep ends when the latch is set, at a time, or by an interrupt: cancel,
 * statement_timeout, termination, and the client's end of the connection.  Such an
 * interrupt is raised in a transaction, as everywhere.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "clock.h"
#include "wake.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "tcop/utility.h"
#include "utils/portal.h"
#include "utils/inval.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/* Raises 25001 unless the procedure may end its transaction; 25006 on a standby. */
void
require_no_transaction(FunctionCallInfo fcinfo, const char *procedure)
{
	bool		atomic = !fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic;

	if (RecoveryInProgress())
		PreventCommandIfReadOnly("CALL");
	if (atomic || (MyXactFlags & XACT_FLAGS_PIPELINING) || SPI_inside_nonatomic_context())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("procedure durable.%s cannot run inside a transaction block", procedure),
				 errdetail("It waits without a transaction."),
				 errhint("Call it by a CALL of its own, not in a block, a function, or a pipeline behind other statements.")));
}

/* Ends the transaction, as COMMIT in a procedure does, and begins no other one. */
void
end_transaction(void)
{
	HoldPinnedPortals();
	ForgetPortalSnapshots();
	CommitTransactionCommand();
}

/*
 * Begins one.  Each statement in it sees what is committed when it starts, whatever the session's
 * default.  What is allocated lives as long as the transaction.
 */
void
begin_transaction(void)
{
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	XactDeferrable = false;
	EnsurePortalSnapshotExists();
}

/*
 * Raises 55000 if the extension was dropped meanwhile; the others who wait then see it,
 * too.  Locks it to the end of the transaction, as its first lock, which is the first of a DROP as well: so it does not
 * go away during a look.
 */
void
require_still_there(FunctionCallInfo fcinfo)
{
	Oid			extension = get_extension_oid("durable", true);

	if (OidIsValid(extension))
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	AcceptInvalidationMessages();
	if (SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid)))
		return;
	tell_everybody();
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"durable\" was dropped"),
			 errdetail("A procedure of it was waiting."),
			 errhint("Create the extension again, and call the procedure again.")));
}

/* Commits what was done so far, and begins another transaction. */
void
begin_anew(FunctionCallInfo fcinfo)
{
	end_transaction();
	begin_transaction();
	require_still_there(fcinfo);
}

/* When a wait ends that begins now (clock_monotonic); NULL is never. */
int64
end_of_wait(NullableDatum timeout)
{
	double		seconds;

	check_span(timeout, "timeout");
	if (timeout.isnull)
		return NEVER;
	seconds = interval_seconds(DatumGetIntervalP(timeout.value));
	return seconds > SECS_PER_YEAR * 100.0 ? NEVER : clock_monotonic() + (int64) (seconds * USECS_PER_SEC);
}

/* A time of the extension's clock, by clock_monotonic. */
int64
monotonic_of(TimestampTz time)
{
	TimestampTz now = clock_now();

	if (time >= now + (int64) INT_MAX * 1000)
		return NEVER;
	return clock_monotonic() + (time - now);
}

/*
 * Waits for the latch, for so many microseconds at most, and for the end of the
 * client, if there is one: by the events that the server waits for when it waits for the client.
 */
void
wait_for_latch(int64 us)
{
	static uint32 name = 0;
	long		ms = (long) Min(us / 1000 + (us % 1000 > 0 ? 1 : 0), INT_MAX);
	WaitEvent	events[FEBE_EVENTS];
	int			count;

	if (name == 0)
		name = new_wait_event("DurableWait");
	if (FeBeWaitSet == NULL)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, name);
	else
	{
		ModifyWaitEvent(FeBeWaitSet, FEBE_SOCKET, WaitEventSetCanReportClosed() ? WL_SOCKET_CLOSED : 0, NULL);
		count = WaitEventSetWait(FeBeWaitSet, ms, events, FEBE_EVENTS, name);
		for (int i = 0; i < count; i++)
		{
			if (events[i].events & WL_POSTMASTER_DEATH)
				proc_exit(1);
			if (events[i].events & WL_SOCKET_CLOSED)
				ClientConnectionLost = InterruptPending = true;
		}
	}
	ResetLatch(MyLatch);
}

/*
 * Sleeps until that time (clock_monotonic), or until the session is told something.  Between
 * end_transaction and begin_transaction.
 */
void
doze_until(int64 time)
{
	int64		us;

	while (!was_told() && (us = time - clock_monotonic()) > 0)
	{
		wait_for_latch(us);
		if (InterruptPending)
		{
			begin_transaction();
			CHECK_FOR_INTERRUPTS();
			end_transaction();
		}
	}
}

/* What a procedure returns: a row of its INOUT arguments. */
Datum
row_of_procedure(TupleDesc desc, const NullableDatum *columns)
{
	Datum		values[8];
	bool		nulls[8];

	Assert(desc->natts <= lengthof(values));
	for (int i = 0; i < desc->natts; i++)
	{
		values[i] = columns[i].value;
		nulls[i] = columns[i].isnull;
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
