/*-------------------------------------------------------------------------
 *
 * init.c
 *	  Loading the library: its settings, and its hook.
 *
 * Nothing is allocated: CREATE EXTENSION is all it takes.  The hooks
 * are those for the ends of transactions (fence.c, wake_note.c).  Only where the library is
 * preloaded, a process is started (worker_launcher.c).
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "purge.h"
#include "wake.h"
#include "worker.h"

#include <float.h>
#include <limits.h>

#include "utils/guc.h"

DURABLE_MODULE_MAGIC;

void		_PG_init(void);

/*
 * In seconds, 31 years: while the machine's clock shows 2001 to 2230, the
 * extension's is between 1970 and 2262, which is what an id, and an int64 of
 * nanoseconds, can hold.
 */
#define MAX_OFFSET 1e9

static const struct config_enum_entry wake_modes[] = {
	{"auto", WAKE_AUTO, false},
	{"looking", WAKE_LOOKING, false},
	{NULL, 0, false}
};

void
_PG_init(void)
{
	DefineCustomRealVariable("durable.clock_offset",
							 "Moves the clock of durable by that many seconds.",
							 "For tests: deadlines, retries and heartbeats follow this clock.",
							 &durable_clock_offset,
							 0, -MAX_OFFSET, MAX_OFFSET,
							 PGC_SUSET, GUC_UNIT_S,
							 NULL, NULL, NULL);
	DefineCustomRealVariable("durable.executor_timeout",
							 "An executor that was silent for longer is dead.",
							 "Its workflows may be taken over by recover and attach.",
							 &durable_executor_timeout,
							 180, 0, MAX_OFFSET,
							 PGC_USERSET, GUC_UNIT_S,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("durable.databases",
							   "Databases in which a background worker calls tick.",
							   "A list of names, or *; shared_preload_libraries must name the library.",
							   &durable_databases,
							   "",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
	DefineCustomIntVariable("durable.claim_walk",
							"A claim that walks over so many buffers of what is dead leaves notes of where to look.",
							"Later claims begin there, until vacuum can remove what is dead.",
							&durable_claim_walk,
							4, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("durable.fast_paths",
							 "Takes the short ways past the executor.",
							 "Off, the statements do all by themselves: the same, but slower.",
							 &durable_fast_paths,
							 true,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("durable.max_steps",
							"Workflows get no new position from that one on.",
							"A program goes on in a new run instead, with continue_as; 0 is no limit.",
							&durable_max_steps,
							100000, 0, MAX_SEQUENCE + 1,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("durable.retention",
							   "tick purges trees that have ended before that time.",
							   "An interval; empty is never.",
							   &durable_retention,
							   "",
							   PGC_SUSET, 0,
							   check_retention, assign_retention, NULL);
	DefineCustomEnumVariable("durable.wake",
							 "How those who wait are woken.",
							 "auto: by shared memory, if that can be had; looking: they look again and again.",
							 &durable_wake,
							 WAKE_AUTO, wake_modes,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	MarkGUCPrefixReserved("durable");
	register_launcher();
	watch_transactions();
	watch_notes();
}
