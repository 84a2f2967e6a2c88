/*-------------------------------------------------------------------------
 *
 * table.h
 *	  Tables without the server's executor: find a row by an index, insert one,
 *	  update one.  What the fast paths of statements are made of (table.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_TABLE_H
#define DURABLE_TABLE_H

#include "plan.h"

#include "access/genam.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/fmgroids.h"

/* An enum is one of ours, whose oid is not the same everywhere. */
#define OUR_ENUM	InvalidOid

/* The columns that fast paths read or write, and their types. */
#define WORKFLOW_COLUMNS_USED(C) \
	C(workflow, id, UUIDOID) \
	C(workflow, root_id, UUIDOID) \
	C(workflow, status, OUR_ENUM) \
	C(workflow, lease, INT4OID) \
	C(workflow, deadline, TIMESTAMPTZOID) \
	C(workflow, parent_id, UUIDOID) \
	C(workflow, parent_sequence, INT4OID) \
	C(workflow, priority, INT4OID) \
	C(workflow, recovery_count, INT4OID) \
	C(workflow, max_recovery_attempts, INT4OID) \
	C(workflow, created_at, TIMESTAMPTZOID) \
	C(workflow, run_at, TIMESTAMPTZOID) \
	C(workflow, started_at, TIMESTAMPTZOID) \
	C(workflow, completed_at, TIMESTAMPTZOID) \
	C(workflow, timeout, INTERVALOID) \
	C(workflow, name, TEXTOID) \
	C(workflow, handler, TEXTOID) \
	C(workflow, queue_name, TEXTOID) \
	C(workflow, executor_id, TEXTOID) \
	C(workflow, app_version, TEXTOID) \
	C(workflow, input, JSONBOID) \
	C(workflow, output, JSONBOID) \
	C(workflow, error, TEXTOID) \
	C(workflow, detail, JSONBOID) \
	C(workflow, paused_by, UUIDOID) \
	C(workflow, paused_at, TIMESTAMPTZOID) \
	C(workflow, concurrency_key, TEXTOID) \
	C(workflow, slot, INT8OID) \
	C(workflow, suspended_at, TIMESTAMPTZOID) \
	C(workflow, scheduled_for, TIMESTAMPTZOID) \
	C(workflow, scheduled_by, TEXTOID) \
	C(workflow, max_retries, INT4OID) \
	C(workflow, retry_count, INT4OID) \
	C(workflow, backoff, INTERVALOID) \
	C(workflow, backoff_multiplier, FLOAT8OID) \
	C(workflow, max_backoff, INTERVALOID) \
	C(workflow, on_parent_end, TEXTOID) \
	C(workflow, cancel_requested_at, TIMESTAMPTZOID) \
	C(workflow, cancel_untold, BOOLOID)

#define WORKFLOW_TAGS_COLUMNS_USED(C) \
	C(workflow_tags, workflow_id, UUIDOID) \
	C(workflow_tags, tags, JSONBOID)

#define STEP_COLUMNS_USED(C) \
	C(step, workflow_id, UUIDOID) \
	C(step, sequence, INT4OID) \
	C(step, lease, INT4OID) \
	C(step, attempt, INT4OID) \
	C(step, status, OUR_ENUM) \
	C(step, kind, OUR_ENUM) \
	C(step, max_retries, INT4OID) \
	C(step, retry_count, INT4OID) \
	C(step, started_at, TIMESTAMPTZOID) \
	C(step, completed_at, TIMESTAMPTZOID) \
	C(step, run_at, TIMESTAMPTZOID) \
	C(step, deadline, TIMESTAMPTZOID) \
	C(step, child_id, UUIDOID) \
	C(step, name, TEXTOID) \
	C(step, executor_id, TEXTOID) \
	C(step, backoff, INTERVALOID) \
	C(step, backoff_multiplier, FLOAT8OID) \
	C(step, max_backoff, INTERVALOID) \
	C(step, timeout, INTERVALOID) \
	C(step, input, JSONBOID) \
	C(step, output, JSONBOID) \
	C(step, error, TEXTOID) \
	C(step, detail, JSONBOID) \
	C(step, wait, TEXTOID) \
	C(step, signals, TEXTARRAYOID) \
	C(step, awaited, UUIDOID) \
	C(step, sequences, INT4ARRAYOID)

#define ACTIVE_ROOT_COLUMNS_USED(C) \
	C(active_root, name, TEXTOID) \
	C(active_root, id, UUIDOID)

#define EXECUTOR_COLUMNS_USED(C) \
	C(executor, executor_id, TEXTOID) \
	C(executor, last_seen, TIMESTAMPTZOID) \
	C(executor, app_version, TEXTOID) \
	C(executor, bound_run, TIMESTAMPTZOID) \
	C(executor, bound, INT4OID)

#define OPEN_WAIT_COLUMNS_USED(C) \
	C(open_wait, workflow_id, UUIDOID) \
	C(open_wait, sequence, INT4OID) \
	C(open_wait, awaited, UUIDOID)

#define SIGNAL_COLUMNS_USED(C) \
	C(signal, id, UUIDOID) \
	C(signal, workflow_id, UUIDOID) \
	C(signal, name, TEXTOID) \
	C(signal, key, TEXTOID) \
	C(signal, payload, JSONBOID) \
	C(signal, sent_at, TIMESTAMPTZOID) \
	C(signal, sequence, INT4OID) \
	C(signal, counted, INT4OID)

#define OPEN_POSITION_COLUMNS_USED(C) \
	C(open_position, workflow_id, UUIDOID)

#define WATCH_COLUMNS_USED(C) \
	C(watch, key, UUIDOID) \
	C(watch, signal, TEXTOID)

#define WAKE_NOTE_COLUMNS_USED(C) \
	C(wake_note, id, UUIDOID)

#define DRIVEN_COLUMNS_USED(C) \
	C(driven, executor_id, TEXTOID) \
	C(driven, started_at, TIMESTAMPTZOID)

#define PENDING_COLUMNS_USED(C) \
	C(pending, queue_name, TEXTOID) \
	C(pending, key, TEXTOID) \
	C(pending, turn, INT8OID) \
	C(pending, run_at, TIMESTAMPTZOID)

#define DEADLINE_COLUMNS_USED(C) \
	C(deadline, deadline, TIMESTAMPTZOID)

#define CANCEL_REQUEST_COLUMNS_USED(C) \
	C(cancel_request, cancel_at, TIMESTAMPTZOID)

#define SCHEDULE_COLUMNS_USED(C) \
	C(schedule, name, TEXTOID) \
	C(schedule, next_run_at, TIMESTAMPTZOID)

/* The tables of these columns. */
#define TABLES_USED(T) \
	T(workflow, WORKFLOW) \
	T(workflow_tags, WORKFLOW_TAGS) \
	T(step, STEP) \
	T(active_root, ACTIVE_ROOT) \
	T(executor, EXECUTOR) \
	T(open_wait, OPEN_WAIT) \
	T(signal, SIGNAL) \
	T(driven, DRIVEN) \
	T(pending, PENDING) \
	T(open_position, OPEN_POSITION) \
	T(deadline, DEADLINE) \
	T(watch, WATCH) \
	T(wake_note, WAKE_NOTE) \
	T(cancel_request, CANCEL_REQUEST) \
	T(schedule, SCHEDULE)

/* The number of a column here: workflow_lease, step_status. */
#define COLUMN_NUMBER(table, name, type) table##_##name,

#define COLUMN_NUMBERS(table, TABLE) enum {TABLE##_COLUMNS_USED(COLUMN_NUMBER) TABLE##_COLUMN_COUNT};

TABLES_USED(COLUMN_NUMBERS)

/* A table, and an index by which its rows are found (table.c has them). */
typedef struct Table Table;
typedef struct TableIndex TableIndex;

extern TableIndex workflow_by_id;
extern TableIndex workflow_by_parent;
extern TableIndex workflow_by_name;
extern TableIndex tags_by_workflow;
extern TableIndex active_root_by_name;
extern TableIndex step_by_position;
extern TableIndex executor_by_id;
extern TableIndex open_wait_by_position;
extern TableIndex open_wait_by_awaited;
extern TableIndex signal_by_id;
extern TableIndex signal_untaken;
extern TableIndex signal_counted_of;
extern TableIndex open_position_by_workflow;
extern TableIndex watch_by_key;
extern TableIndex wake_note_by_id;
extern TableIndex driven_by_executor;
extern TableIndex pending_by_place;
extern TableIndex deadline_by_time;
extern TableIndex cancel_request_by_time;
extern TableIndex schedule_by_next_run;
extern TableIndex schedule_by_waiting;

/* A condition on a column of an index: its key, in the index's order. */
typedef struct Key
{
	int			column;
	StrategyNumber strategy;
	RegProcedure comparison;
	NullableDatum value;
} Key;

#define IS_ID(number, its_id) {number, BTEqualStrategyNumber, F_UUID_EQ, its_id}
#define IS_TEXT(number, text) {number, BTEqualStrategyNumber, F_TEXTEQ, text}
#define IS_TEXT_AFTER(number, text) {number, BTGreaterStrategyNumber, F_TEXT_GT, text}
#define IS_TEXT_BEFORE(number, text) {number, BTLessStrategyNumber, F_TEXT_LT, text}
#define IS_UNTIL(number, time) {number, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, time}
#define IS_INT(number, n) {number, BTEqualStrategyNumber, F_INT4EQ, n}
#define IS_BIGINT(number, n) {number, BTEqualStrategyNumber, F_INT8EQ, n}
#define IS_BEHIND(number, its_id) {number, BTGreaterStrategyNumber, F_UUID_GT, its_id}
#define IS_FROM(number, n) {number, BTGreaterEqualStrategyNumber, F_INT4GE, n}

/* A scan for the rows that meet some keys. */
typedef struct Look
{
	TableIndex	   *index;
	Relation	table_relation;
	Relation	index_relation;
	SysScanDesc scan;
	HeapTuple	row;			/* where it is, NULL at its end */
	bool		is_kept;		/* the row is a copy, of which the scan knows nothing */
} Look;

extern bool begin_look(Look *look, TableIndex *index, LOCKMODE mode, const Key *keys, int nkeys);
extern bool begin_look_at_last(Look *look, TableIndex *index, LOCKMODE mode, const Key *keys, int nkeys);
extern bool begin_without_look(Look *look, TableIndex *index, LOCKMODE mode);
extern void next_row(Look *look);
extern void end_look(Look *look);
extern bool is_unused(const TableIndex *index);
extern int64 fast_none(TableIndex *index, const Key *keys, int nkeys);
extern void keep_row(Look *look);
extern NullableDatum column_of_row(const Look *look, int column);
extern NullableDatum copied_column_of_row(const Look *look, int column);
extern int32 int_of_row(const Look *look, int column);
extern TaskStatus status_of_row(const Look *look, int column);

/* A row to be written. */
typedef struct Writing
{
	Table	   *table;
	Relation	relation;
	TupleTableSlot *row;
	EState	   *estate;
	ResultRelInfo *indexes;		/* NULL until they are opened */
	List	   *put_off;		/* slots with rows that are to be inserted together ... */
	TupleDesc	put_off_desc;	/* ... and their descriptor, but for the first */
} Writing;

extern void begin_writing(Writing *writing, const Look *look);
extern void end_writing(Writing *writing);
extern void new_row(const Writing *writing);
extern void row_as_seen(const Writing *writing, const Look *look);
extern void set(const Writing *writing, int column, NullableDatum d);
extern void set_int(const Writing *writing, int column, int32 value);
extern void set_label(const Writing *writing, int column, const char *label);
extern bool end_row(const Writing *writing);
extern void insert_row(Writing *writing);
extern void put_off_row(Writing *writing);
extern void insert_put_off(Writing *writing);
extern bool insert_put_off_unless_there(Writing *writing);
extern bool insert_row_unless_there(Writing *writing);
extern bool is_free_to_update(const Look *look);
extern bool update_row(Writing *writing, const Look *look);
extern void take_back_row(const Writing *writing);

extern LeaseSeen lease_seen(const Look *look);

#endif							/* DURABLE_TABLE_H */
