/*-------------------------------------------------------------------------
 *
 * worker_launcher.c
 *	  The launcher: begins a background worker for each database of durable.databases.
 *
 * It is there if the library is preloaded, but not on a standby, where it begins at
 * promotion, nor during pg_upgrade.  It is connected to no database.
 *
 * It knows nothing of what becomes of a worker (worker.c).  Whichever way one ends, another
 * one is begun for as long as the database is there, but not before a minute has gone by since
 * the former one began.  So whatever goes wrong is tried, and logged, once a minute; whether the
 * extension has been created is looked for as often.  A reload of the configuration ends all
 * workers, and lets others begin at once.
 *
 * Locks nothing, but for an instant the databases for which it begins a worker.
 *
 *-------------------------------------------------------------------------
 */
#include "clock.h"
#include "wake.h"
#include "worker.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

/* Databases are looked for so often (microseconds) ... */
#define LOOK_TIME	INT64CONST(10000000)

/* ... and workers begun for each of them. */
#define BEGIN_TIME	INT64CONST(60000000)

/* The launcher itself begins anew after so many seconds, if it has failed. */
#define RESTART_TIME 10

/* A database that has had a worker since the launcher began. */
typedef struct Worker
{
	Oid			database;
	BackgroundWorkerHandle *handle; /* NULL: it has ended */
	int64		next_begin;		/* by clock_monotonic: no other one before */
} Worker;

static List *workers;			/* of Worker */
static bool has_warned;			/* that there is no room for another one */

/* ---- the setting durable.databases ---------------------------------------------------- */

char	   *durable_databases;

/* A list of names, as those of schemas in search_path. */
bool
check_databases(char **text, void **extra, GucSource source)
{
	List	   *names;
	bool		is_list = SplitIdentifierString(pstrdup(*text), ',', &names);

	list_free(names);
	if (!is_list)
		GUC_check_errdetail("It is not a list of names.");
	return is_list;
}

static bool
is_listed(Form_pg_database database, List *names)
{
	ListCell   *name;

	foreach(name, names)
	{
		if (strcmp(lfirst(name), NameStr(database->datname)) == 0 ||
			(strcmp(lfirst(name), "*") == 0 && !database->datistemplate))
			return true;
	}
	return false;
}

/* ---- which databases -------------------------------------------------------------------- */

static Worker *
worker_of(Oid database)
{
	ListCell   *cell;

	foreach(cell, workers)
	{
		Worker	   *worker = lfirst(cell);

		if (worker->database == database)
			return worker;
	}
	return NULL;
}

static bool
runs(Worker *worker)
{
	pid_t		pid;

	if (worker->handle == NULL)
		return false;
	if (GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		return true;
	pfree(worker->handle);
	worker->handle = NULL;
	return false;
}

/* Whether it is time to begin a worker for a database. */
static bool
lacks_worker(Oid database)
{
	Worker	   *worker = worker_of(database);

	return worker == NULL || (!runs(worker) && clock_monotonic() >= worker->next_begin);
}

/* The databases that are listed, and lack a worker; in the current memory. */
static List *
databases_without(List *names)
{
	MemoryContext memory = CurrentMemoryContext;
	List	   *found = NIL;
	Relation	databases;
	TableScanDesc scan;
	HeapTuple	row;

	StartTransactionCommand();
	databases = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(databases, 0, NULL);
	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		MemoryContext old;

		if (!database->datallowconn || database_is_invalid_form(database) || !is_listed(database, names) ||
			!lacks_worker(database->oid) || !is_database_free(database->oid))
			continue;
		old = MemoryContextSwitchTo(memory);
		found = lappend_oid(found, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(memory);
	return found;
}

/* ---- workers -------------------------------------------------------------------------------- */

/* What a launcher and a worker have in common. */
static BackgroundWorker
process_of(const char *name, const char *main_function)
{
	BackgroundWorker process = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART
	};

	strlcpy(process.bgw_name, name, BGW_MAXLEN);
	strlcpy(process.bgw_type, name, BGW_MAXLEN);
	strlcpy(process.bgw_library_name, "durable", sizeof(process.bgw_library_name));
	strlcpy(process.bgw_function_name, main_function, BGW_MAXLEN);
	return process;
}

static void
begin_worker(Oid database)
{
	BackgroundWorker process = process_of("durable worker", "durable_worker_main");
	BackgroundWorkerHandle *handle;
	Worker	   *worker = worker_of(database);

	process.bgw_main_arg = ObjectIdGetDatum(database);
	process.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&process, &handle))
	{
		if (!has_warned)
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no background worker is left for a database of durable.databases"),
					 errdetail("The database has OID %u.", database),
					 errhint("Increase max_worker_processes.  It is tried again every %d seconds.",
							 (int) (LOOK_TIME / USECS_PER_SEC))));
		has_warned = true;
		return;
	}
	has_warned = false;
	if (worker == NULL)
	{
		worker = palloc0(sizeof(Worker));
		worker->database = database;
		workers = lappend(workers, worker);
	}
	worker->handle = handle;
	worker->next_begin = clock_monotonic() + BEGIN_TIME;
}

/* If the launcher ends, so do they: the next one begins others. */
static void
end_workers(int code, Datum arg)
{
	ListCell   *cell;

	foreach(cell, workers)
	{
		Worker	   *worker = lfirst(cell);

		if (worker->handle)
			TerminateBackgroundWorker(worker->handle);
	}
}

static void
begin_workers(List *names)
{
	List	   *databases = databases_without(names);
	ListCell   *database;

	foreach(database, databases)
		begin_worker(lfirst_oid(database));
	list_free(databases);
}

/* ---- the launcher ------------------------------------------------------------------------------ */

static void
reload(void)
{
	ListCell   *cell;

	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	has_warned = false;
	foreach(cell, workers)
		((Worker *) lfirst(cell))->next_begin = 0;
}

void
durable_launcher_main(Datum unused)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(end_workers, 0);

	for (;;)
	{
		List	   *names;
		char	   *text = MemoryContextStrdup(TopMemoryContext, durable_databases);

		MemoryContextSwitchTo(TopMemoryContext);
		/* checked when it was set */
		(void) SplitIdentifierString(text, ',', &names);
		if (names)
			begin_workers(names);
		/* told when a worker ends */
		wait_for_latch(names ? LOOK_TIME : NEVER);
		list_free(names);
		pfree(text);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			reload();
	}
}

/* Called by _PG_init.  It counts only where the library is preloaded. */
void
register_launcher(void)
{
	BackgroundWorker launcher = process_of("durable launcher", "durable_launcher_main");

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	launcher.bgw_restart_time = RESTART_TIME;
	RegisterBackgroundWorker(&launcher);
}
