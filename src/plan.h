/*-------------------------------------------------------------------------
 *
 * plan.h
 *	  Statements: how one is written, and how it is run.
 *
 * A statement stands beside the function that uses it:
 *
 *	#define FORGET(P) \
 *		P(executor_id, TEXTOID)
 *	PARAMETERS(Forget, FORGET);
 *
 *	static Statement forget = STATEMENT(Forget,
 *		"DELETE FROM durable.executor WHERE executor_id = :executor_id");
 *
 *	run(&forget, &(Forget) {.executor_id = executor_id}, NEWEST);
 *
 * It is plain SQL.  :name is a parameter; {workflow from CANCEL} and {workflow to
 * CANCEL} are what transitions.h says about an event: the array of statuses that
 * it may find, and the status that it leads to.  Tables and functions of ours are
 * written with their schema, those of the server without: begin_call pins the
 * search_path to pg_catalog.
 *
 * Parameters have built-in types only: a plan with a parameter of a type of ours
 * would die with DROP EXTENSION, these are analysed anew.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_PLAN_H
#define DURABLE_PLAN_H

#include "args.h"
#include "call.h"
#include "cascade.h"
#include "clock.h"
#include "executor.h"
#include "fence.h"
#include "head.h"
#include "ids.h"
#include "known.h"
#include "lock.h"
#include "queue.h"
#include "step.h"
#include "workflow.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

/* How a statement is planned. */
typedef enum Planning
{
	BY_INDEX,					/* once, for any parameters, never reading a whole table */
	BY_PROBES,					/* the same, for each element of the arrays in their order */
	IN_ORDER,					/* by index, never sorting: the first row by ORDER BY is the first that an index has */
	FOR_PARAMS					/* at each call, for its parameters */
} Planning;

#define MAX_PARAMETERS 32
#define MAX_TABLES 8

typedef struct Parameter
{
	const char *name;
	Oid			type;
} Parameter;

typedef struct TableLock
{
	Oid			id;
	int			mode;
} TableLock;

typedef struct Statement
{
	const char *name;
	const char *sql;
	const Parameter *parameters;
	int			nparameters;
	Planning	planning;
	int64		(*fast) (const void *params);	/* does the same without the server's executor, or returns NOT_FAST */

	/* plan.c: what this backend has made of it */
	SPIPlanPtr	plan;
	bool		is_planned;		/* by us: an error may have kept us from it */
	int			generation;		/* of the plan that we made: the server may have made another */
	TableLock	tables[MAX_TABLES]; /* what that plan locks, in its order; for the fast path */
	int			ntables;
	bool		by_reference[MAX_PARAMETERS];
	uint64		calls;			/* so many times it was run ... */
	uint64		fast_calls;		/* ... and so many of them its fast path did it */
	bool		is_listed;
	struct Statement *next;		/* of those that were prepared */
} Statement;

/* those that this backend has prepared (inspect.c shows them) */
extern Statement *prepared_statements;

#define NOT_FAST (-1)

/*
 * From a list of parameters: a structure of their values, and their names and
 * types.  The two are apart where several files fill in the structure.
 */
#define PARAMETER_FIELD(name, type) NullableDatum name;
#define PARAMETER_ENTRY(name, type) {#name, type},
#define PARAMETER_VALUES(Params, LIST) \
	typedef struct Params { LIST(PARAMETER_FIELD) } Params
#define PARAMETER_NAMES(Params, LIST) \
	static const Parameter Params##_parameters[] = {LIST(PARAMETER_ENTRY)}
#define PARAMETERS(Params, LIST) \
	PARAMETER_VALUES(Params, LIST); \
	PARAMETER_NAMES(Params, LIST)

/* The further arguments set planning or fast; the first of all plannings is BY_INDEX. */
#define STATEMENT(Params, text, ...) \
	{.name = #Params, .sql = text, .parameters = Params##_parameters, \
	 .nparameters = lengthof(Params##_parameters), __VA_ARGS__}

extern uint64 run(Statement *statement, const void *params, View view);
extern NullableDatum result_column(uint64 row, int column);
extern Datum result_value(uint64 row, int column);
extern Datum result_ids(int column);
extern Datum id_array(const pg_uuid_t *ids, uint64 count);
extern Datum int_array(const int32 *ints, int count);

/* how often this backend has planned a statement: it does so anew when what the statement names has changed */
extern uint64 plans_made;

/* setting (init.c) */
extern bool durable_fast_paths;

/* Values of parameters. */
static inline NullableDatum
an_id(const pg_uuid_t *id)
{
	return a_value(UUIDPGetDatum(id));
}

static inline NullableDatum
an_int(int32 value)
{
	return a_value(Int32GetDatum(value));
}

static inline NullableDatum
a_bigint(int64 value)
{
	return a_value(Int64GetDatum(value));
}

static inline NullableDatum
a_bool(bool value)
{
	return a_value(BoolGetDatum(value));
}

static inline NullableDatum
a_time(TimestampTz value)
{
	return a_value(TimestampTzGetDatum(value));
}

/*
 * A row of a result, by name: from a list of columns a structure of their values,
 * and the text for SELECT or RETURNING, each column behind a prefix.  The list
 * tells the first column apart.
 *
 *	#define LIMITS(F, C, t) F(t, paused) C(t, rate_limit)
 *	ROW(Limits, LIMITS);
 *
 *	"SELECT " COLUMNS(LIMITS, "q.") " FROM durable.queue q ..."
 *
 *	Limits limits;
 *	fetch(0, 0, &limits);
 */
#define ROW_FIELD(t, name) NullableDatum name;
#define ROW_FIRST(t, name) t #name
#define ROW_NEXT(t, name) ", " t #name
#define ROW(Row, LIST) typedef struct Row { LIST(ROW_FIELD, ROW_FIELD, ) } Row
#define COLUMNS(LIST, t) LIST(ROW_FIRST, ROW_NEXT, t)

/* Reads so many columns, from the first on, of a row of the last result. */
extern void fetch_columns(uint64 row, int first, void *values, int count);

#define fetch(row, first, values) fetch_columns(row, first, values, sizeof(*(values)) / sizeof(NullableDatum))

#endif							/* DURABLE_PLAN_H */
