/*-------------------------------------------------------------------------
 *
 * call.h
 *	  A call from SQL: its beginning, its rounds, its end (call.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CALL_H
#define DURABLE_CALL_H

#include "durable.h"

/* What begin_call has changed, and end_call restores. */
typedef struct Call
{
	MemoryContext memory;
	Oid			user;
	int			security;
	int			path;
} Call;

/*
 * A call whose decision was overtaken looks again, in another round.  If nothing
 * has changed, and yet nothing can be written, the rounds end in an error.
 */
typedef struct Rounds
{
	uint64		seen;			/* a hash of what the last look has seen */
	int			unchanged;		/* so many looks in a row have seen the same */
	int64		since;			/* when the call began to write, ... */
	TimestampTz last_sleep;		/* ... and had slept last for a lock */
	int			waits;			/* how often it has begun anew because it had waited, ... */
	int			deadlocks;		/* ... or was to end a deadlock */
} Rounds;

extern Call begin_call(FunctionCallInfo fcinfo);
extern void free_round(void);
extern void next_round(Rounds *rounds, const char *table, uint64 seen);
extern void watch_waits(Rounds *rounds);
extern bool has_waited(Rounds *rounds, int rows);
extern void end_call(const Call *call);
extern TupleDesc result_desc(FunctionCallInfo fcinfo, int columns);
extern Oid column_type(TupleDesc desc, int column);
extern Datum end_call_with_row(TupleDesc desc, const Call *call, const NullableDatum *columns);
extern Datum end_call_with_value(FunctionCallInfo fcinfo, const Call *call, NullableDatum d, int length);
extern void begin_rows(FunctionCallInfo fcinfo);
extern void begin_rows_of(FunctionCallInfo fcinfo, int columns);
extern void return_row(FunctionCallInfo fcinfo, const NullableDatum *columns);
extern void return_rows(FunctionCallInfo fcinfo);

#endif							/* DURABLE_CALL_H */
