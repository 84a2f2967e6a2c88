/*-------------------------------------------------------------------------
 *
 * register.c
 *	  The registers: small tables that tell which workflows wait, are driven, have
 *	  a deadline, are active under a name, or have ended.
 *
 * They are to durable.workflow what partial indexes would be.  But an index on a
 * status would get a new entry in each index of the table whenever the status of
 * a workflow changes.  A register gets one row when a workflow comes to it, which
 * is deleted when it leaves.
 *
 * A register follows from the rows of durable.workflow alone: entry_of... says
 * which row a workflow has in it.  Whoever changes a workflow's row calls
 * keep_registers: a trigger for each statement, whoever runs it, and table.c for
 * what it writes.  They are changed as an index is, without triggers, and nobody
 * waits for a row of a register: all who write one have the workflow's row.  (The
 * name of an active root is the exception: there the unique index decides.)
 *
 *-------------------------------------------------------------------------
 */
#include "register.h"
#include "buckets.h"
#include "gather.h"
#include "head.h"
#include "ids.h"
#include "lane.h"
#include "places.h"
#include "state.h"
#include "wake.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_type_d.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "replication/logicalworker.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_keep_registers);

/* ---- what of a workflow matters ------------------------------------------------- */

/* The columns of durable.workflow, in the order of the extension's script, up to the last that matters. */
typedef enum WorkflowColumn
{
	ID, ROOT_ID, STATUS, LEASE, STARTED_AT, COMPLETED_AT, DEADLINE, EXECUTOR_ID, OUTPUT, ERROR_TEXT, DETAIL,
	PARENT_ID, PARENT_SEQUENCE, PRIORITY, RECOVERY_COUNT, MAX_RECOVERY_ATTEMPTS, CREATED_AT, RUN_AT, TREE_END, TIMEOUT,
	NAME, HANDLER, QUEUE_NAME, APP_VERSION, PAUSED_FROM, PAUSED_BY, PAUSED_AT, CONCURRENCY_KEY, SLOT, INPUT, SUSPENDED_AT,
	SCHEDULED_FOR, SCHEDULED_BY, MAX_RETRIES, RETRY_COUNT, BACKOFF, BACKOFF_MULTIPLIER, MAX_BACKOFF, ON_PARENT_END,
	CANCEL_REQUESTED_AT, CANCEL_REASON, CANCEL_AT
} WorkflowColumn;

/* Those that are read here; the others have no name. */
static const OurColumn workflow_columns[] = {
	[ID] = {"id", UUIDOID},[STATUS] = {"status", InvalidOid},[DEADLINE] = {"deadline", TIMESTAMPTZOID},
	[PARENT_ID] = {"parent_id", UUIDOID},[PRIORITY] = {"priority", INT4OID},[RUN_AT] = {"run_at", TIMESTAMPTZOID},
	[STARTED_AT] = {"started_at", TIMESTAMPTZOID},[COMPLETED_AT] = {"completed_at", TIMESTAMPTZOID},
	[TREE_END] = {"tree_end", TIMESTAMPTZOID},[NAME] = {"name", TEXTOID},[QUEUE_NAME] = {"queue_name", TEXTOID},
	[EXECUTOR_ID] = {"executor_id", TEXTOID},[APP_VERSION] = {"app_version", TEXTOID},[PAUSED_FROM] = {"paused_from", InvalidOid},
	[CONCURRENCY_KEY] = {"concurrency_key", TEXTOID},[SLOT] = {"slot", INT8OID},[SUSPENDED_AT] = {"suspended_at", TIMESTAMPTZOID},
	[SCHEDULED_FOR] = {"scheduled_for", TIMESTAMPTZOID},[SCHEDULED_BY] = {"scheduled_by", TEXTOID},
	[CANCEL_REQUESTED_AT] = {"cancel_requested_at", TIMESTAMPTZOID},[CANCEL_AT] = {"cancel_at", TIMESTAMPTZOID}
};

/* A workflow as far as the registers depend on it. */
typedef struct Standing
{
	const Datum *values;
	const bool *nulls;
	TaskStatus	status;
	TaskStatus	paused_from;	/* NO_TASK if it is not PAUSED */
	bool		is_unit;		/* not an inline child: has an executor of its own */
} Standing;

static bool
has(const Standing *w, WorkflowColumn column)
{
	return !w->nulls[column];
}

static Standing
standing_of(const WorkflowValues *row)
{
	Standing	w = {.values = row->values,.nulls = row->nulls};

	w.status = status_from_datum(w.values[STATUS]);
	w.paused_from = has(&w, PAUSED_FROM) ? status_from_datum(w.values[PAUSED_FROM]) : NO_TASK;
	w.is_unit = !has(&w, PARENT_ID) || has(&w, QUEUE_NAME);
	return w;
}

/* A text, as it can stand in another table; '' where it is NULL. */
static Datum
text_in(const Standing *w, WorkflowColumn column)
{
	return has(w, column) ? PointerGetDatum(PG_DETOAST_DATUM_PACKED(w->values[column])) : CStringGetTextDatum("");
}

/* ---- the registers -------------------------------------------------------------- */

#define MOST_COLUMNS 5

/* Equality in an index. */
static RegProcedure
equality(Oid type)
{
	switch (type)
	{
		case TEXTOID:
			return F_TEXTEQ;
		case UUIDOID:
			return F_UUID_EQ;
		case INT8OID:
			return F_INT8EQ;
		case TIMESTAMPTZOID:
			return F_TIMESTAMPTZ_EQ;
		case BOOLOID:
			return F_BOOLEQ;
		default:
			return F_ENUM_EQ;
	}
}

/* The row that a workflow has in a register; false if it has none. */
typedef bool (*EntryOf) (const Standing *w, Datum *entry);

typedef struct Register
{
	OurIndex   *ours;			/* by its primary key: the first columns */
	EntryOf		entry_of;
	bool		is_history;		/* has rows also of what has ended, or for ever: of all that is in durable.workflow */
} Register;

static bool
entry_of_pending(const Standing *w, Datum *entry)
{
	if (w->status != PENDING || !has(w, RUN_AT) || !w->is_unit)
		return false;
	entry[0] = text_in(w, QUEUE_NAME);
	entry[1] = text_in(w, CONCURRENCY_KEY);
	entry[2] = Int64GetDatum(has(w, QUEUE_NAME) ?
							 turn_of_rank(rank_of(DatumGetInt32(w->values[PRIORITY]), has(w, SUSPENDED_AT))) : 0);
	entry[3] = w->values[RUN_AT];
	entry[4] = w->values[ID];
	return true;
}

/* The lanes of priority 0 are few: a claim looks into each of them. */
static bool
entry_of_prioritized(const Standing *w, Datum *entry)
{
	Datum		place[MOST_COLUMNS];

	if (!has(w, QUEUE_NAME) || DatumGetInt32(w->values[PRIORITY]) == 0 || !entry_of_pending(w, place))
		return false;
	entry[0] = place[0];
	entry[1] = place[3];
	entry[2] = place[2];
	entry[3] = place[4];
	return true;
}

static bool
entry_of_pending_version(const Standing *w, Datum *entry)
{
	if (w->status != PENDING || !has(w, QUEUE_NAME) || !has(w, APP_VERSION))
		return false;
	entry[0] = text_in(w, QUEUE_NAME);
	entry[1] = text_in(w, APP_VERSION);
	entry[2] = w->values[ID];
	return true;
}

static bool
entry_of_suspended(const Standing *w, Datum *entry)
{
	if (w->status != PENDING || !has(w, SUSPENDED_AT))
		return false;
	entry[0] = text_in(w, QUEUE_NAME);
	entry[1] = BoolGetDatum(has(w, RUN_AT));
	entry[2] = w->values[ID];
	return true;
}

static bool
entry_of_driven(const Standing *w, Datum *entry)
{
	if (!(w->status == RUNNING || w->paused_from == RUNNING) || !w->is_unit ||
		!has(w, STARTED_AT))
		return false;
	entry[0] = text_in(w, EXECUTOR_ID);
	entry[1] = w->values[STARTED_AT];
	entry[2] = w->values[ID];
	entry[3] = text_in(w, QUEUE_NAME);
	return true;
}

static bool
entry_of_slot(const Standing *w, Datum *entry)
{
	if (!(w->status == RUNNING || w->paused_from == RUNNING) || !has(w, QUEUE_NAME) || !has(w, SLOT))
		return false;
	entry[0] = text_in(w, QUEUE_NAME);
	entry[1] = w->values[SLOT];
	entry[2] = text_in(w, CONCURRENCY_KEY);
	entry[3] = w->values[ID];
	return true;
}

static bool
entry_of_paused(const Standing *w, Datum *entry)
{
	if (w->status != PAUSED)
		return false;
	entry[0] = text_in(w, QUEUE_NAME);
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_deadline(const Standing *w, Datum *entry)
{
	if (!has(w, DEADLINE) || w->status != RUNNING || !w->is_unit)
		return false;
	entry[0] = w->values[DEADLINE];
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_active_root(const Standing *w, Datum *entry)
{
	if (has(w, PARENT_ID) || is_finished(w->status))
		return false;
	entry[0] = text_in(w, NAME);
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_ended(const Standing *w, Datum *entry)
{
	TimestampTz ended_at;

	if (!has(w, COMPLETED_AT) || !w->is_unit)
		return false;
	ended_at = DatumGetTimestampTz(w->values[COMPLETED_AT]);
	if (has(w, TREE_END))
		ended_at = Max(ended_at, DatumGetTimestampTz(w->values[TREE_END]));
	entry[0] = BoolGetDatum(!has(w, PARENT_ID));
	entry[1] = w->values[STATUS];
	entry[2] = TimestampTzGetDatum(ended_at);
	entry[3] = w->values[ID];
	return true;
}

static bool
entry_of_unsuccessful(const Standing *w, Datum *entry)
{
	if (w->status != FAILED && w->status != CANCELLED)
		return false;
	entry[0] = w->values[STATUS];
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_inline_child(const Standing *w, Datum *entry)
{
	if (w->is_unit)
		return false;
	entry[0] = w->values[STATUS];
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_left_tree(const Standing *w, Datum *entry)
{
	if (!has(w, TREE_END) || !has(w, COMPLETED_AT))
		return false;
	entry[0] = w->values[COMPLETED_AT];
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_unstarted(const Standing *w, Datum *entry)
{
	if (has(w, STARTED_AT) || !is_finished(w->status))
		return false;
	entry[0] = w->values[ID];
	return true;
}

static bool
entry_of_active_run(const Standing *w, Datum *entry)
{
	if (!has(w, SCHEDULED_BY) || is_finished(w->status))
		return false;
	entry[0] = text_in(w, SCHEDULED_BY);
	entry[1] = w->values[ID];
	return true;
}

static bool
entry_of_scheduled_run(const Standing *w, Datum *entry)
{
	if (!has(w, SCHEDULED_BY) || !has(w, SCHEDULED_FOR))
		return false;
	entry[0] = text_in(w, SCHEDULED_BY);
	entry[1] = w->values[SCHEDULED_FOR];
	entry[2] = w->values[ID];
	return true;
}

static bool
entry_of_cancel_request(const Standing *w, Datum *entry)
{
	if (!has(w, CANCEL_REQUESTED_AT) || is_finished(w->status))
		return false;
	entry[0] = has(w, CANCEL_AT) ? w->values[CANCEL_AT] : TimestampTzGetDatum(DT_NOEND);
	entry[1] = w->values[ID];
	entry[2] = text_in(w, QUEUE_NAME);
	return true;
}

#define REGISTER(table, nkeys, ...) {&(OurIndex) A_REGISTER(table, nkeys, __VA_ARGS__), entry_of_##table}
#define HISTORY(table, nkeys, ...) {&(OurIndex) A_REGISTER(table, nkeys, __VA_ARGS__), entry_of_##table, true}

/* The names of active roots come first: a conflict there is found before all else. */
static const Register registers[] = {
	REGISTER(active_root, 1, {"name", TEXTOID}, {"id", UUIDOID}),
	{&pending_register, entry_of_pending},
	{&prioritized_register, entry_of_prioritized},
	REGISTER(suspended, 3, {"queue_name", TEXTOID}, {"has_time", BOOLOID}, {"id", UUIDOID}),
	REGISTER(pending_version, 3, {"queue_name", TEXTOID}, {"app_version", TEXTOID}, {"id", UUIDOID}),
	REGISTER(slot, 2, {"queue_name", TEXTOID}, {"slot", INT8OID}, {"key", TEXTOID}, {"id", UUIDOID}),
	REGISTER(driven, 3, {"executor_id", TEXTOID}, {"started_at", TIMESTAMPTZOID}, {"id", UUIDOID}, {"queue_name", TEXTOID}),
	REGISTER(paused, 2, {"queue_name", TEXTOID}, {"id", UUIDOID}),
	REGISTER(deadline, 2, {"deadline", TIMESTAMPTZOID}, {"id", UUIDOID}),
	HISTORY(ended, 4, {"is_root", BOOLOID}, {"status", InvalidOid}, {"ended_at", TIMESTAMPTZOID}, {"id", UUIDOID}),
	HISTORY(unsuccessful, 2, {"status", InvalidOid}, {"id", UUIDOID}),
	HISTORY(inline_child, 2, {"status", InvalidOid}, {"id", UUIDOID}),
	HISTORY(left_tree, 2, {"completed_at", TIMESTAMPTZOID}, {"id", UUIDOID}),
	HISTORY(unstarted, 1, {"id", UUIDOID}),
	REGISTER(active_run, 2, {"scheduled_by", TEXTOID}, {"id", UUIDOID}),
	REGISTER(cancel_request, 2, {"cancel_at", TIMESTAMPTZOID}, {"id", UUIDOID}, {"queue_name", TEXTOID}),
	HISTORY(scheduled_run, 3, {"scheduled_by", TEXTOID}, {"scheduled_for", TIMESTAMPTZOID}, {"id", UUIDOID}),
};

bool
has_registered_columns(Relation workflow)
{
	return has_columns(workflow, workflow_columns, lengthof(workflow_columns));
}

/* ---- writing ------------------------------------------------------------------------ */

static bool
same_value(Oid type, Datum a, Datum b)
{
	switch (type)
	{
		case TEXTOID:
			return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, a, b));
		case UUIDOID:
			return same_id(DatumGetUUIDP(a), DatumGetUUIDP(b));
		default:
			return a == b;
	}
}

static bool
same_entry(const Register *r, const Datum *a, const Datum *b)
{
	for (int i = 0; i < r->ours->ncolumns; i++)
		if (!same_value(r->ours->columns[i].type, a[i], b[i]))
			return false;
	return true;
}

/* Whether a row is the whole entry. */
static bool
is_entry(const Register *r, Relation table, HeapTuple row, const Datum *entry)
{
	Datum		values[MOST_COLUMNS];
	bool		nulls[MOST_COLUMNS];

	heap_deform_tuple(row, RelationGetDescr(table), values, nulls);
	return same_entry(r, values, entry);
}

/*
 * Where this backend has met entries last, by the register and the workflow.  An entry
 * is looked for there first, which saves the way through the index.  Nothing depends
 * on it: the row that is there is compared with the whole entry.
 */
typedef struct Met
{
	pg_uuid_t	id;
	OurIndex   *ours;
	ItemPointerData row;
} Met;

/* A batch has several of each of its workflows. */
#define MOST_MET 2048

static Met	met[MOST_MET];

static Met *
place_of(const OurIndex *ours, const pg_uuid_t *id)
{
	return &met[(hash_bytes(id->data, UUID_LEN) ^ ours->table_id) % MOST_MET];
}

/* A workflow's entry is there. */
static void
note_entry(OurIndex *ours, const pg_uuid_t *id, const ItemPointerData *row)
{
	*place_of(ours, id) = (Met) {.id = *id,.ours = ours,.row = *row};
}

/* A claim has met what waits, perhaps on a list, not in the register. */
void
note_waiting(const pg_uuid_t *id, const ItemPointerData *row)
{
	if (ItemPointerIsValid(row))
		note_entry(&pending_register, id, row);
}

/* Whether the entry is where this backend has met it. */
static bool
find_met(const Register *r, Relation table, const pg_uuid_t *id, const Datum *entry, ItemPointer tid)
{
	const Met  *m = place_of(r->ours, id);
	HeapTupleData row = {.t_self = m->row};
	Buffer		buffer;
	bool		found;

	/* the table may have become shorter */
	if (m->ours != r->ours || !same_id(&m->id, id) ||
		ItemPointerGetBlockNumber(&m->row) >= RelationGetNumberOfBlocks(table) ||
		!heap_fetch(table, SnapshotSelf, &row, &buffer, false))
		return false;
	found = is_entry(r, table, &row, entry);
	ReleaseBuffer(buffer);
	*tid = m->row;
	return found;
}

/* Finds the row of a workflow's entry, as committed or written by us; false if there is none. */
static bool
find_entry(const Register *r, Relation table, const pg_uuid_t *id, const Datum *entry, ItemPointer tid)
{
	ScanKeyData keys[MOST_COLUMNS];
	Relation	index;
	SysScanDesc scan;
	HeapTuple	row;
	bool		found;

	if (find_met(r, table, id, entry, tid))
		return true;
	index = open_our_index(r->ours, RowExclusiveLock);
	for (int i = 0; i < r->ours->nkeys; i++)
		ScanKeyInit(&keys[i], (AttrNumber) (i + 1), BTEqualStrategyNumber, equality(r->ours->columns[i].type), entry[i]);
	scan = systable_beginscan_ordered(table, index, SnapshotSelf, r->ours->nkeys, keys);
	row = systable_getnext_ordered(scan, ForwardScanDirection);
	found = row && is_entry(r, table, row, entry);
	if (found)
		*tid = row->t_self;
	systable_endscan_ordered(scan);
	index_close(index, NoLock);
	return found;
}

/* Removes an entry.  One that is missing is passed over: check() tells of those. */
static void
leave(const Register *r, const pg_uuid_t *id, const Datum *entry)
{
	Relation	table;
	ItemPointerData row;

	write_gathered(r->ours);
	table = open_our_table(r->ours, RowExclusiveLock);
	if (find_entry(r, table, id, entry, &row))
		simple_heap_delete(table, &row);
	table_close(table, NoLock);
}

/* Whether an entry is of what waits under a key. */
static bool
is_keyed(const Register *r, const Datum *entry)
{
	return r->entry_of == entry_of_pending && VARSIZE_ANY_EXHDR(DatumGetPointer(entry[1])) > 0;
}

/* A workflow with a key now waits: claims must meet its lane. */
static void
waits_in_lane(const Datum *entry)
{
	Position	at = {
		.key = entry[1],.rank = -DatumGetInt64(entry[2]),.run_at = DatumGetTimestampTz(entry[3]),
		.id = *DatumGetUUIDP(entry[4])
	};

	enter_lane(entry[0], &at);
}

/* Adds an entry. */
static void
join(const Register *r, const pg_uuid_t *id, Datum *entry)
{
	Relation	table = open_our_table(r->ours, RowExclusiveLock);
	NoteRow		note = r->is_history ? NULL : note_entry;
	ItemPointerData row;

	/* who starts a root has written its name before, to find out whether it is free */
	bool		is_there = r->entry_of == entry_of_active_root && find_entry(r, table, id, entry, &row);

	if (!is_there && (is_keyed(r, entry) || !gather(r->ours, table, entry, id, note)))
	{
		row = add_row(table, entry);
		if (note)
			note(r->ours, id, &row);
	}
	table_close(table, NoLock);
	if (is_keyed(r, entry))
		waits_in_lane(entry);
}

/* Who starts a root has entered its name. */
void
note_root_name(const pg_uuid_t *id, const ItemPointerData *row)
{
	Assert(registers[0].entry_of == entry_of_active_root);
	note_entry(registers[0].ours, id, row);
}

/*
 * Whether a start of that name would have to wait: another transaction, not yet
 * ended, has entered the name, or has removed it.
 */
bool
is_root_name_busy(Datum name)
{
	const Register *r = &registers[0];
	Relation	table = open_our_table(r->ours, RowExclusiveLock);
	Relation	key = open_our_index(r->ours, RowExclusiveLock);
	SnapshotData dirty;
	ScanKeyData by_name;
	SysScanDesc scan;
	bool		is_busy = false;

	Assert(r->entry_of == entry_of_active_root);
	InitDirtySnapshot(dirty);
	ScanKeyInit(&by_name, 1, BTEqualStrategyNumber, F_TEXTEQ, name);
	scan = systable_beginscan_ordered(table, key, &dirty, 1, &by_name);
	while (!is_busy && systable_getnext_ordered(scan, ForwardScanDirection))
		is_busy = TransactionIdIsValid(dirty.xmin) || TransactionIdIsValid(dirty.xmax);
	systable_endscan_ordered(scan);
	index_close(key, NoLock);
	table_close(table, NoLock);
	return is_busy;
}

/*
 * Tells those who wait what changes of a workflow (wake_note.c): every change of its
 * row comes by here.  A driver knows what it does itself: that it claims, that it
 * completes or fails, that it hands back.
 */
static void
note_change(const Standing *old, const Standing *new)
{
	Datum		old_entry[MOST_COLUMNS];
	Datum		new_entry[MOST_COLUMNS];
	bool		was_driven = old && entry_of_driven(old, old_entry);

	if (was_driven && has(old, QUEUE_NAME) && !(new && entry_of_driven(new, new_entry)))
		note_slot(old_entry[3]);
	if (new == NULL)
		return;
	if (is_finished(new->status) && !(old && is_finished(old->status)))
	{
		note_end(DatumGetUUIDP(new->values[ID]));
		/* a schedule may wait for it */
		if (has(new, SCHEDULED_BY))
			note_tick();
	}
	if (has(new, DEADLINE) && new->status == RUNNING && has(new, EXECUTOR_ID) &&
		!(old && has(old, DEADLINE) && old->values[DEADLINE] == new->values[DEADLINE]))
		note_deadline(text_in(new, EXECUTOR_ID));
	if (!was_driven || !has(old, EXECUTOR_ID))
		return;
	if (new->status == CANCELLED || (has(new, CANCEL_REQUESTED_AT) && !has(old, CANCEL_REQUESTED_AT)) ||
		(new->status == PAUSED) != (old->status == PAUSED) ||
		(has(new, EXECUTOR_ID) && !same_value(TEXTOID, old_entry[0], text_in(new, EXECUTOR_ID))))
		note_news(old_entry[0]);
}

/* Which registers a change is written into. */
typedef enum Which
{
	ALL_REGISTERS,
	OF_UNFINISHED
} Which;

static void
keep(Which which, const WorkflowValues *before, const WorkflowValues *after)
{
	Standing	old;
	Standing	new;

	/* the registers of what is unfinished have no rows of another database's */
	bool		is_here = after && has_bucket_of(DatumGetUUIDP(after->values[ID]));

	if (before)
		old = standing_of(before);
	if (after)
		new = standing_of(after);
	for (int i = 0; i < lengthof(registers); i++)
	{
		const Register *r = &registers[i];
		Datum		old_entry[MOST_COLUMNS];
		Datum		new_entry[MOST_COLUMNS];
		bool		was_in = before && r->entry_of(&old, old_entry);
		bool		is_in = after && (is_here || r->is_history) && r->entry_of(&new, new_entry);

		if (which == OF_UNFINISHED && r->is_history)
			continue;
		if (was_in && is_in && same_entry(r, old_entry, new_entry))
			continue;
		if (was_in)
			leave(r, DatumGetUUIDP(before->values[ID]), old_entry);
		if (is_in)
			join(r, DatumGetUUIDP(after->values[ID]), new_entry);
		if (is_in && r->entry_of == entry_of_pending)
			note_work(new_entry[0], DatumGetTimestampTz(new_entry[3]));
	}
	note_change(before ? &old : NULL, after ? &new : NULL);
}

/* Writes into the registers what changes of a workflow: from one row, or none, to another, or none. */
void
keep_registers(const WorkflowValues *before, const WorkflowValues *after)
{
	keep(ALL_REGISTERS, before, after);
}

/* ---- buckets that come and go (buckets.c) ----------------------------------------------- */

/* What is unfinished in other buckets than these is not found any more; it is noted down as parked, or is so already. */
void
leave_unfinished(Datum here, bool is_parked)
{
	for (int i = 0; i < lengthof(registers); i++)
		if (!registers[i].is_history &&
			SPI_execute_with_args(psprintf("WITH gone AS (DELETE FROM durable.%s r WHERE NOT durable.bucket(r.id) <@ $1 RETURNING r.id) "
										   "INSERT INTO durable.parked (id) SELECT g.id FROM gone g WHERE NOT $2 ON CONFLICT DO NOTHING",
										   registers[i].ours->table),
								  2, (Oid[]) {INT4MULTIRANGEOID, BOOLOID}, (Datum[]) {here, BoolGetDatum(is_parked)},
								  NULL, false, 0) != SPI_OK_INSERT)
			elog(ERROR, "cannot empty register %s", registers[i].ours->table);
}

/* These workflows are found again. */
void
join_unfinished(Datum ids)
{
	SPITupleTable *rows;

	if (SPI_execute_with_args("SELECT w.* FROM durable.workflow w WHERE w.id = ANY ($1)",
							  1, (Oid[]) {UUIDARRAYOID}, &ids, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "cannot read durable.workflow");
	rows = SPI_tuptable;
	for (uint64 row = 0; row < rows->numvals; row++)
	{
		WorkflowValues values = {
			.values = palloc(rows->tupdesc->natts * sizeof(Datum)),.nulls = palloc(rows->tupdesc->natts * sizeof(bool))
		};

		heap_deform_tuple(rows->vals[row], rows->tupdesc, (Datum *) values.values, (bool *) values.nulls);
		keep(OF_UNFINISHED, NULL, &values);
	}
	SPI_freetuptable(rows);
}

/* ---- the trigger ----------------------------------------------------------------------- */

/* Empties all registers.  (TRUNCATE could not do so, where the caller truncates them, too.) */
static void
empty_registers(void)
{
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "cannot connect to SPI");
	for (int i = 0; i < lengthof(registers); i++)
		if (SPI_execute(psprintf("DELETE FROM durable.%s", registers[i].ours->table), false, 0) != SPI_OK_DELETE)
			elog(ERROR, "cannot empty register %s", registers[i].ours->table);
	SPI_finish();
}

/* The values of a row of durable.workflow. */
static WorkflowValues
values_of_row(Relation workflow, HeapTuple row)
{
	int			natts = RelationGetDescr(workflow)->natts;
	Datum	   *values = palloc(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));

	heap_deform_tuple(row, RelationGetDescr(workflow), values, nulls);
	return (WorkflowValues) {.values = values,.nulls = nulls};
}

/* Of durable.workflow, after each row that is inserted, updated or deleted, and after TRUNCATE. */
Datum
durable_keep_registers(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	WorkflowValues before;
	WorkflowValues after;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event)) ||
		get_relname_relid("workflow", get_namespace_oid("durable", false)) != RelationGetRelid(trigger->tg_relation))
		raise_only_trigger("keep_registers", "workflow", ", and after TRUNCATE");
	/* a subscriber gets the registers' own rows */
	if (IsLogicalWorker())
		return PointerGetDatum(NULL);
	if (!has_registered_columns(trigger->tg_relation))
		raise_not_ours("workflow");
	hold_buckets();
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		empty_registers();
		return PointerGetDatum(NULL);
	}
	before = values_of_row(trigger->tg_relation, trigger->tg_trigtuple);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		keep_registers(NULL, &before);
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		keep_registers(&before, NULL);
	else
	{
		after = values_of_row(trigger->tg_relation, trigger->tg_newtuple);
		keep_registers(&before, &after);
	}
	return PointerGetDatum(NULL);
}
