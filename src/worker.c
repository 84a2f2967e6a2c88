/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker of a database: calls tick, and sleeps until there is more.
 *
 * Nothing depends on it.  It does what any session could do, so it may end at any time, and
 * there may be two.  It ends wherever it could be in the way, or does not know what
 * to do: after a reload of the configuration; if the extension is not there; if the
 * database is to be dropped, renamed, moved or copied; by any error.  The launcher begins another
 * one (worker_launcher.c).
 *
 * It sleeps without a transaction, and looks once a second at least.  A tick is one transaction.  It
 * locks the extension first, as a DROP does, if nobody is about to drop it; then what
 * tick locks.
 *
 *-------------------------------------------------------------------------
 */
#include "clock.h"
#include "tick.h"
#include "wake.h"
#include "worker.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"

/*
 * Whether nobody is about to drop, rename, move or copy the database.  Whoever is has locked it, and
 * waits some seconds for all sessions there to end.
 */
bool
is_database_free(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(&tag, RowExclusiveLock, false);
	return true;
}

/* Locks the extension, to the end of the transaction, if it is there and nobody is about to drop it. */
static bool
try_lock_extension(void)
{
	Oid			extension = get_extension_oid("durable", true);

	return OidIsValid(extension) && ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock) &&
		get_extension_oid("durable", true) == extension;
}

/* Does what time has brought, with the rights of the owner of tick. */
static void
tick_as_owner(TimestampTz *next)
{
	/* cppcheck-suppress unknownEvaluationOrder ; neither of the two makes a difference to the other */
	FmgrInfo	tick = {.fn_oid = LookupFuncName(list_make2(makeString("durable"), makeString("tick")), 1,
												 (Oid[]) {INT4OID}, false)};
	LOCAL_FCINFO(fcinfo, 1);

	InitFunctionCallInfoData(*fcinfo, &tick, 1, InvalidOid, NULL, NULL);
	(void) do_tick(fcinfo, TICK_ROWS, next);
}

/* The same as a transaction, unless the worker has no business here; *next is when there is more. */
static bool
tick_if_wanted(TimestampTz *next)
{
	bool		is_wanted;

	SetCurrentStatementStartTimestamp();
	pgstat_report_activity(STATE_RUNNING, "durable.tick()");
	StartTransactionCommand();
	/* whatever the default of the database is */
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	is_wanted = is_database_free(MyDatabaseId) && try_lock_extension();
	if (is_wanted)
		tick_as_owner(next);
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* autovacuum goes by what it has deleted */
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return is_wanted;
}

void
durable_worker_main(Datum database)
{
	TimestampTz next;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	/* not the one that only sets a flag: it would not end a wait for a standby */
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);

	while (!ConfigReloadPending && tick_if_wanted(&next))
	{
		int64		now = clock_monotonic();

		wait_for_latch(Max(Min(monotonic_of(next), now + TICK_TIME) - now, 0));
		CHECK_FOR_INTERRUPTS();
	}
	proc_exit(0);
}
