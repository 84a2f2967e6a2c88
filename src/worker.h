/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Background workers that call tick: their launcher (worker_launcher.c), and what
 *	  each does (worker.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_WORKER_H
#define DURABLE_WORKER_H

#include "durable.h"

#include "utils/guc.h"

/* setting (init.c) */
extern char *durable_databases;

extern bool check_databases(char **text, void **extra, GucSource source);
extern void register_launcher(void);
extern bool is_database_free(Oid database);

/* what the server starts */
extern PGDLLEXPORT void durable_launcher_main(Datum unused);
extern PGDLLEXPORT void durable_worker_main(Datum database);

#endif							/* DURABLE_WORKER_H */
