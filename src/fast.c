/*-------------------------------------------------------------------------
 *
 * fast.c
 *	  The fast paths of the statements that every workflow and every step runs.
 *
 * Each finds the rows that its statement finds, by the same index, and writes
 * the same, with their entries in all indexes, but starts no executor, which is
 * most of what so small a statement costs.  It returns the number of rows, as
 * run_plan does, or NOT_FAST: then run_plan runs the statement, which is what
 * the fast path is a short cut of.  So up to then it has done nothing, or a part
 * that the statement finds done.
 *
 * By then run_plan has locked the tables as the statement does, knows that its
 * plan holds for them as they are, and has taken the statement's snapshot; in
 * READ COMMITTED only.  A fast path waits for nobody, whatever its statement does.
 * A row that has changed since the snapshot is left to the statement, and so is
 * a table that only the executor does justice to, with triggers, rules,
 * policies, checks, columns or types that are not ours, or with defaults that
 * are to be computed.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation_d.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/*
 * The columns of each table, in the order of the extension's script, and their
 * types.  An enum is one of ours, whose oid is not the same everywhere.
 */
#define OUR_ENUM	InvalidOid

#define WORKFLOW_TABLE(COLUMN) \
	COLUMN(workflow, id, UUIDOID) \
	COLUMN(workflow, root_id, UUIDOID) \
	COLUMN(workflow, status, OUR_ENUM) \
	COLUMN(workflow, lease, INT4OID) \
	COLUMN(workflow, deadline, TIMESTAMPTZOID) \
	COLUMN(workflow, parent_id, UUIDOID) \
	COLUMN(workflow, parent_sequence, INT4OID) \
	COLUMN(workflow, priority, INT4OID) \
	COLUMN(workflow, recovery_count, INT4OID) \
	COLUMN(workflow, max_recovery_attempts, INT4OID) \
	COLUMN(workflow, created_at, TIMESTAMPTZOID) \
	COLUMN(workflow, run_at, TIMESTAMPTZOID) \
	COLUMN(workflow, started_at, TIMESTAMPTZOID) \
	COLUMN(workflow, completed_at, TIMESTAMPTZOID) \
	COLUMN(workflow, tree_end, TIMESTAMPTZOID) \
	COLUMN(workflow, timeout, INTERVALOID) \
	COLUMN(workflow, name, TEXTOID) \
	COLUMN(workflow, handler, TEXTOID) \
	COLUMN(workflow, queue_name, TEXTOID) \
	COLUMN(workflow, executor_id, TEXTOID) \
	COLUMN(workflow, app_version, TEXTOID) \
	COLUMN(workflow, paused_from, OUR_ENUM) \
	COLUMN(workflow, paused_by, UUIDOID) \
	COLUMN(workflow, paused_at, TIMESTAMPTZOID) \
	COLUMN(workflow, input, JSONBOID) \
	COLUMN(workflow, output, JSONBOID) \
	COLUMN(workflow, error, TEXTOID) \
	COLUMN(workflow, detail, JSONBOID)

#define STEP_TABLE(COLUMN) \
	COLUMN(step, workflow_id, UUIDOID) \
	COLUMN(step, sequence, INT4OID) \
	COLUMN(step, lease, INT4OID) \
	COLUMN(step, attempt, INT4OID) \
	COLUMN(step, status, OUR_ENUM) \
	COLUMN(step, kind, OUR_ENUM) \
	COLUMN(step, max_retries, INT4OID) \
	COLUMN(step, retry_count, INT4OID) \
	COLUMN(step, started_at, TIMESTAMPTZOID) \
	COLUMN(step, completed_at, TIMESTAMPTZOID) \
	COLUMN(step, run_at, TIMESTAMPTZOID) \
	COLUMN(step, deadline, TIMESTAMPTZOID) \
	COLUMN(step, failed_at, TIMESTAMPTZOID) \
	COLUMN(step, name, TEXTOID) \
	COLUMN(step, executor_id, TEXTOID) \
	COLUMN(step, backoff, INTERVALOID) \
	COLUMN(step, backoff_multiplier, FLOAT8OID) \
	COLUMN(step, max_backoff, INTERVALOID) \
	COLUMN(step, timeout, INTERVALOID) \
	COLUMN(step, child_id, UUIDOID) \
	COLUMN(step, input, JSONBOID) \
	COLUMN(step, output, JSONBOID) \
	COLUMN(step, error, TEXTOID) \
	COLUMN(step, detail, JSONBOID)

#define EXECUTOR_TABLE(COLUMN) \
	COLUMN(executor, executor_id, TEXTOID) \
	COLUMN(executor, last_seen, TIMESTAMPTZOID)

#define NUMBER_OF(table, column, type) Anum_##table##_##column,
#define COLUMN_OF(table, column, type) {#column, type},

enum
{
	Before_workflow, WORKFLOW_TABLE(NUMBER_OF)
};

enum
{
	Before_step, STEP_TABLE(NUMBER_OF)
};

enum
{
	Before_executor, EXECUTOR_TABLE(NUMBER_OF)
};

typedef struct Column
{
	const char *name;
	Oid			type;
} Column;

static const Column workflow_columns[] = {WORKFLOW_TABLE(COLUMN_OF)};
static const Column step_columns[] = {STEP_TABLE(COLUMN_OF)};
static const Column executor_columns[] = {EXECUTOR_TABLE(COLUMN_OF)};

/* A table, and the index by which its rows are found. */
typedef struct Access
{
	const char *table;
	const Column *columns;
	int			natts;
	const char *index;
	AttrNumber	keys[2];
	bool		is_partial;

	/* what was found when a statement was last planned: its plan would not hold if that had changed */
	uint64		plans_made;
	Oid			table_id;
	Oid			index_id;
	bool		is_ours;
	MemoryContext memory;
	NullableDatum *defaults;	/* one for each column, if is_ours */
} Access;

#define WORKFLOW_ACCESS "workflow", workflow_columns, lengthof(workflow_columns)

static Access workflow_by_id = {WORKFLOW_ACCESS, "workflow_pkey", {Anum_workflow_id}};
static Access workflow_by_parent = {
	WORKFLOW_ACCESS, "workflow_parent", {Anum_workflow_parent_id, Anum_workflow_parent_sequence}, true
};
static Access active_root = {WORKFLOW_ACCESS, "workflow_active_root", {Anum_workflow_name}, true};
static Access step_by_position = {
	"step", step_columns, lengthof(step_columns), "step_pkey", {Anum_step_workflow_id, Anum_step_sequence}
};
static Access executor_by_id = {
	"executor", executor_columns, lengthof(executor_columns), "executor_pkey", {Anum_executor_executor_id}
};

/* A scan for the rows that have certain values. */
typedef struct Look
{
	Relation	table;
	Relation	index;
	SysScanDesc scan;
	HeapTuple	row;			/* where it is, NULL at its end */
} Look;

/* A row to be written. */
typedef struct Writing
{
	Relation	table;
	TupleTableSlot *row;
	EState	   *estate;
	ResultRelInfo *indexes;		/* NULL until they are opened */
} Writing;

/* $n */
static NullableDatum
given(const Params *params, int n)
{
	NullableDatum d;

	d.value = params->values[n - 1];
	d.isnull = params->nulls[n - 1] == 'n';
	return d;
}

/* ---- tables ------------------------------------------------------------------ */

/*
 * Reads the defaults of a table's columns; false if there is one that is not a
 * constant.
 */
static bool
read_defaults(Relation table, Access *access)
{
	TupleDesc	desc = RelationGetDescr(table);
	TupleConstr *constraints = desc->constr;

	if (access->memory == NULL)
		access->memory = AllocSetContextCreate(TopMemoryContext, "durable defaults", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(access->memory);
	access->defaults = MemoryContextAlloc(access->memory, desc->natts * sizeof(NullableDatum));
	for (int i = 0; i < desc->natts; i++)
		access->defaults[i] = a_null();
	for (int i = 0; constraints && i < constraints->num_defval; i++)
	{
		const AttrDefault *its_default = &constraints->defval[i];
		Form_pg_attribute attribute = TupleDescAttr(desc, its_default->adnum - 1);
		Const	   *constant = stringToNode(its_default->adbin);
		MemoryContext old;

		if (!IsA(constant, Const) || constant->consttype != attribute->atttypid)
			return false;
		if (constant->constisnull)
			continue;
		old = MemoryContextSwitchTo(access->memory);
		access->defaults[its_default->adnum - 1] =
			a_value(datumCopy(constant->constvalue, attribute->attbyval, attribute->attlen));
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Whether a table is as the extension's script makes it, as far as it matters here. */
static bool
is_our_table(Relation table, const Access *access)
{
	TupleDesc	desc = RelationGetDescr(table);
	TupleConstr *constraints = desc->constr;
	AclMode		needed = ACL_SELECT | ACL_INSERT | ACL_UPDATE;

	if (table->rd_rel->relkind != RELKIND_RELATION || table->rd_rel->relam != HEAP_TABLE_AM_OID ||
		table->rd_rel->relispartition || table->rd_rel->relhassubclass || table->rd_rel->relrowsecurity ||
		table->trigdesc || table->rd_rules ||
		(constraints && (constraints->num_check > 0 || constraints->has_generated_stored)) ||
		pg_class_aclmask(RelationGetRelid(table), table->rd_rel->relowner, needed, ACLMASK_ALL) != needed ||
		desc->natts != access->natts)
		return false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		const Column *column = &access->columns[i];

		if (strcmp(NameStr(attribute->attname), column->name) != 0 || attribute->atttypmod != -1 || attribute->attidentity ||
			(column->type == OUR_ENUM ? get_typtype(attribute->atttypid) != TYPTYPE_ENUM : attribute->atttypid != column->type))
			return false;
	}
	return true;
}

/* The same for its index. */
static bool
is_our_index(Relation index, const Access *access)
{
	if (index->rd_index->indrelid != access->table_id ||
		index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indisvalid ||
		(RelationGetIndexPredicate(index) != NIL) != access->is_partial)
		return false;
	for (int i = 0; i < lengthof(access->keys) && access->keys[i] != 0; i++)
		if (i >= index->rd_index->indnkeyatts || index->rd_index->indkey.values[i] != access->keys[i] ||
			index->rd_indoption[i] != 0 || index->rd_opcintype[i] != access->columns[access->keys[i] - 1].type ||
			(OidIsValid(index->rd_indcollation[i]) && index->rd_indcollation[i] != C_COLLATION_OID))
			return false;
	return true;
}

/* Locks stay, as those of a statement do. */
static void
close_table(Relation table, Relation index)
{
	if (index)
		index_close(index, NoLock);
	table_close(table, NoLock);
}

/*
 * Opens a table, which run_plan has locked, and an index of it; false if they
 * are not ours, or belong to another than the owner of the function, as whom we
 * run.
 */
static bool
open_table(Access *access, LOCKMODE mode, Relation *table, Relation *index)
{
	bool		is_new = access->plans_made != plans_made;

	if (is_new)
	{
		Oid			schema = get_namespace_oid("durable", false);

		access->table_id = get_relname_relid(access->table, schema);
		access->index_id = get_relname_relid(access->index, schema);
	}
	*table = table_open(access->table_id, NoLock);
	*index = OidIsValid(access->index_id) ? index_open(access->index_id, mode) : NULL;
	if (is_new)
	{
		access->is_ours = *index && is_our_table(*table, access) && is_our_index(*index, access) &&
			read_defaults(*table, access);
		access->plans_made = plans_made;
	}
	if (access->is_ours && (*table)->rd_rel->relowner == GetUserId())
		return true;
	close_table(*table, *index);
	return false;
}

/* ---- looking ----------------------------------------------------------------- */

static void
next_row(Look *look)
{
	look->row = systable_getnext_ordered(look->scan, ForwardScanDirection);
}

/* Begins with the first row that has those values, in the order of the index. */
static bool
begin_look(Look *look, Access *access, LOCKMODE mode, ScanKey keys, int nkeys)
{
	if (!open_table(access, mode, &look->table, &look->index))
		return false;
	look->scan = systable_beginscan_ordered(look->table, look->index, GetActiveSnapshot(), nkeys, keys);
	next_row(look);
	return true;
}

/* The same by one value. */
static bool
begin_look_by(Look *look, Access *access, LOCKMODE mode, AttrNumber column, RegProcedure equal, NullableDatum d)
{
	ScanKeyData key;

	ScanKeyInit(&key, column, BTEqualStrategyNumber, equal, d.value);
	return begin_look(look, access, mode, &key, 1);
}

static void
end_look(const Look *look)
{
	systable_endscan_ordered(look->scan);
	close_table(look->table, look->index);
}

static NullableDatum
column(const Look *look, AttrNumber number)
{
	NullableDatum d;

	d.value = heap_getattr(look->row, number, RelationGetDescr(look->table), &d.isnull);
	return d;
}

static int32
int_column(const Look *look, AttrNumber number)
{
	return DatumGetInt32(column(look, number).value);
}

/* ---- writing ----------------------------------------------------------------- */

static void
set(const Writing *writing, AttrNumber number, NullableDatum d)
{
	writing->row->tts_values[number - 1] = d.value;
	writing->row->tts_isnull[number - 1] = d.isnull;
}

/* Begins a new row, with the defaults of its columns: what its statement names is to be set, to NULL, too. */
static void
begin_row(Writing *writing, const Access *access)
{
	ExecClearTuple(writing->row);
	for (int i = 0; i < access->natts; i++)
		set(writing, i + 1, access->defaults[i]);
}

static void
begin_writing(Writing *writing, Relation table)
{
	writing->table = table;
	writing->row = MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsVirtual);
	writing->row->tts_tableOid = RelationGetRelid(table);
	writing->indexes = NULL;
}

/* Also makes what was written visible to the next statement, as the end of one does. */
static void
end_writing(const Writing *writing)
{
	if (writing->indexes)
	{
		ExecCloseIndices(writing->indexes);
		FreeExecutorState(writing->estate);
	}
	ExecDropSingleTupleTableSlot(writing->row);
	CommandCounterIncrement();
}

static void
set_int(const Writing *writing, AttrNumber number, int32 value)
{
	set(writing, number, a_value(Int32GetDatum(value)));
}

static void
set_label(const Writing *writing, AttrNumber number, const char *label)
{
	set(writing, number, a_value(enum_datum(TupleDescAttr(writing->row->tts_tupleDescriptor, number - 1)->atttypid, label)));
}

/* Ends a row; false if a column of it is NULL that must not be, which is for the statement to say. */
static bool
end_row(const Writing *writing)
{
	TupleTableSlot *row = writing->row;

	for (int i = 0; i < row->tts_tupleDescriptor->natts; i++)
		if (row->tts_isnull[i] && TupleDescAttr(row->tts_tupleDescriptor, i)->attnotnull)
			return false;
	ExecStoreVirtualTuple(row);
	return true;
}

static void
open_indexes(Writing *writing)
{
	if (writing->indexes)
		return;
	writing->estate = CreateExecutorState();
	writing->indexes = makeNode(ResultRelInfo);
	/* without a range table no column counts as updated, which the indexes take as a hint only */
	InitResultRelInfo(writing->indexes, writing->table, 0, NULL, 0);
	ExecOpenIndices(writing->indexes, true);
}

/*
 * Inserts a row, as INSERT ... ON CONFLICT DO NOTHING does, after a look that found
 * no other.  It is inserted speculatively: where another was faster, or may have
 * been, the row is taken back, and the statement waits for the other's outcome.
 */
static bool
insert_row(Writing *writing)
{
	TransactionId xid;
	uint32		token;
	bool		conflict = false;

	if (!end_row(writing))
		return false;
	open_indexes(writing);
	xid = GetCurrentTransactionId();
	token = SpeculativeInsertionLockAcquire(xid);
	table_tuple_insert_speculative(writing->table, writing->row, GetCurrentCommandId(true), 0, NULL, token);
	insert_index_entries(writing->indexes, writing->row, writing->estate, &conflict);
	table_tuple_complete_speculative(writing->table, writing->row, token, !conflict);
	SpeculativeInsertionLockRelease(xid);
	return !conflict;
}

/* Begins a row as it was seen ... */
static void
begin_row_as_seen(const Writing *writing, const Look *look)
{
	ExecClearTuple(writing->row);
	heap_deform_tuple(look->row, RelationGetDescr(look->table), writing->row->tts_values, writing->row->tts_isnull);
}

/* Whether a row has not changed since it was seen, and nobody has locked it. */
static bool
is_free_to_update(const Look *look)
{
	Buffer		buffer = ((BufferHeapTupleTableSlot *) look->scan->slot)->buffer;
	bool		is_free;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	is_free = HeapTupleSatisfiesUpdate(look->row, GetCurrentCommandId(false), buffer) == TM_Ok;
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return is_free;
}

/*
 * ... and puts it in that one's place, as UPDATE does; false if that has changed
 * since, or is locked.  The server must be asked before: it has no UPDATE that does
 * not wait, and asserts that nobody asks for one.  So we wait for who comes in
 * between.
 */
static bool
update_row(Writing *writing, const Look *look)
{
	TM_FailureData failure;
	LockTupleMode mode;
	UpdatedIndexes updated;

	CheckCmdReplicaIdentity(writing->table, CMD_UPDATE);
	if (!end_row(writing) || !is_free_to_update(look) ||
		update_tuple(writing->table, &look->row->t_self, writing->row, GetCurrentCommandId(true),
					 GetActiveSnapshot(), &failure, &mode, &updated) != TM_Ok)
		return false;
	if (updated != UPDATED_NO_INDEXES)
	{
		open_indexes(writing);
		update_index_entries(writing->indexes, writing->row, writing->estate, updated);
	}
	return true;
}

/* ---- workflows --------------------------------------------------------------- */

/* PLAN_LOOK_ACTIVE_ROOT, where there is none */
int64
fast_no_active_root(const Params *params)
{
	Look		look;
	bool		found;

	if (!begin_look_by(&look, &active_root, AccessShareLock, Anum_workflow_name, F_TEXTEQ, given(params, 1)))
		return NOT_FAST;
	found = look.row != NULL;
	end_look(&look);
	return found ? NOT_FAST : 0;
}

/* PLAN_START; that there is no other of that name has just been seen */
int64
fast_start(const Params *params)
{
	static const AttrNumber columns[] = {
		[2] = Anum_workflow_name, Anum_workflow_input, Anum_workflow_handler, Anum_workflow_executor_id,
		Anum_workflow_queue_name, Anum_workflow_priority, Anum_workflow_run_at, Anum_workflow_timeout,
		Anum_workflow_max_recovery_attempts, Anum_workflow_app_version, Anum_workflow_created_at
	};
	bool		waits = !given(params, 6).isnull;
	NullableDatum created_at = given(params, 12);
	Relation	table;
	Relation	key;
	Writing		writing;
	bool		done;

	if (XactReadOnly || !open_table(&workflow_by_id, RowExclusiveLock, &table, &key))
		return NOT_FAST;
	begin_writing(&writing, table);
	begin_row(&writing, &workflow_by_id);
	for (int i = 2; i < lengthof(columns); i++)
		set(&writing, columns[i], given(params, i));
	set(&writing, Anum_workflow_id, given(params, 1));
	set(&writing, Anum_workflow_root_id, given(params, 1));
	set_label(&writing, Anum_workflow_status, status_label(waits ? PENDING : RUNNING));
	set_int(&writing, Anum_workflow_lease, waits ? 0 : 1);
	if (waits)
	{
		set(&writing, Anum_workflow_executor_id, a_null());
		if (given(params, 8).isnull)
			set(&writing, Anum_workflow_run_at, created_at);
		set(&writing, Anum_workflow_started_at, a_null());
		set(&writing, Anum_workflow_deadline, a_null());
	}
	else
	{
		set(&writing, Anum_workflow_run_at, a_null());
		set(&writing, Anum_workflow_started_at, created_at);
		set(&writing, Anum_workflow_deadline,
			clock_deadline(DatumGetTimestampTz(created_at.value), given(params, 9)));
	}
	done = insert_row(&writing);
	end_writing(&writing);
	close_table(table, key);
	return done ? 1 : NOT_FAST;
}

/* Whether a workflow has only children that are finished, or have a queue. */
static bool
has_no_child_to_cancel(NullableDatum id)
{
	Look		look;
	bool		found = false;

	if (!begin_look_by(&look, &workflow_by_parent, AccessShareLock, Anum_workflow_parent_id, F_UUID_EQ, id))
		return false;
	for (; look.row && !found; next_row(&look))
		found = column(&look, Anum_workflow_queue_name).isnull &&
			!is_finished(status_from_datum(column(&look, Anum_workflow_status).value));
	end_look(&look);
	return !found;
}

/* PLAN_COMPLETE_ROOT */
int64
fast_complete_root(const Params *params)
{
	NullableDatum lease = given(params, 2);
	Look		look;
	Writing		writing;
	bool		done = false;

	if (XactReadOnly || !has_no_child_to_cancel(given(params, 1)) ||
		!begin_look_by(&look, &workflow_by_id, RowExclusiveLock, Anum_workflow_id, F_UUID_EQ, given(params, 1)))
		return NOT_FAST;
	if (look.row && (lease.isnull || int_column(&look, Anum_workflow_lease) == DatumGetInt32(lease.value)) &&
		status_from_datum(column(&look, Anum_workflow_status).value) == RUNNING)
	{
		begin_writing(&writing, look.table);
		begin_row_as_seen(&writing, &look);
		set_label(&writing, Anum_workflow_status, status_label(COMPLETED));
		set(&writing, Anum_workflow_output, given(params, 3));
		set(&writing, Anum_workflow_completed_at, given(params, 4));
		done = update_row(&writing, &look);
		end_writing(&writing);
	}
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* ---- steps ------------------------------------------------------------------- */

/* What look_at_lease has seen last; recorded_under keeps it (fence.c). */
LeaseSeen	last_lease_seen;

/*
 * Whether the row that was seen is still the workflow's newest version, at that
 * lease.  If not so for sure, false.
 *
 * The table is locked since, so its rows have not moved.  But a row may have been
 * removed, and another have its place, even one that never came: so that is asked,
 * and the id and the lease are compared.
 */
static bool
is_newest(Relation table, Buffer buffer, const LeaseSeen *seen, int32 lease)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(&seen->row);
	TupleDesc	desc = RelationGetDescr(table);
	HeapTupleData row = {.t_self = seen->row,.t_tableOid = seen->table};
	ItemId		item;
	bool		isnull;

	if (offset > PageGetMaxOffsetNumber(page))
		return false;
	item = PageGetItemId(page, offset);
	if (!ItemIdIsNormal(item))
		return false;
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	row.t_len = ItemIdGetLength(item);
	return (HeapTupleHeaderXminCommitted(row.t_data) ||
			TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row.t_data))) &&
		((row.t_data->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(row.t_data->t_infomask)) &&
		same_id(DatumGetUUIDP(heap_getattr(&row, Anum_workflow_id, desc, &isnull)), &seen->workflow_id) &&
		DatumGetInt32(heap_getattr(&row, Anum_workflow_lease, desc, &isnull)) == lease;
}

bool
lease_is_as_seen(const LeaseSeen *seen, const pg_uuid_t *workflow_id, int32 lease)
{
	Relation	table;
	bool		same = false;

	if (!OidIsValid(seen->table) || !same_id(&seen->workflow_id, workflow_id))
		return false;
	table = RelationIdGetRelation(seen->table);
	if (!RelationIsValid(table))
		return false;
	if (table->rd_rel->relfilenode == seen->file && table->rd_createSubid == InvalidSubTransactionId)
	{
		Buffer		buffer = ReadBuffer(table, ItemPointerGetBlockNumber(&seen->row));

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		same = is_newest(table, buffer, seen, lease);
		UnlockReleaseBuffer(buffer);
	}
	RelationClose(table);
	return same;
}

/*
 * The lease of workflow $1; false if $3 is another, or if no step can be
 * claimed in the workflow at a time that is given.
 */
static bool
look_at_lease(const Params *params, NullableDatum open_at, int32 *its_lease)
{
	NullableDatum lease = given(params, 3);
	Look		look;
	bool		fits = false;

	if (!begin_look_by(&look, &workflow_by_id, AccessShareLock, Anum_workflow_id, F_UUID_EQ, given(params, 1)))
		return false;
	if (look.row)
	{
		last_lease_seen = (LeaseSeen)
		{
			.workflow_id = *DatumGetUUIDP(given(params, 1).value),.table = RelationGetRelid(look.table),
			.file = look.table->rd_rel->relfilenode,.row = look.row->t_self
		};
		*its_lease = int_column(&look, Anum_workflow_lease);
		fits = lease.isnull || DatumGetInt32(lease.value) == *its_lease;
	}
	if (fits && !open_at.isnull)
	{
		NullableDatum deadline = column(&look, Anum_workflow_deadline);

		fits = status_from_datum(column(&look, Anum_workflow_status).value) == RUNNING &&
			(deadline.isnull || DatumGetTimestampTz(deadline.value) > DatumGetTimestampTz(open_at.value));
	}
	end_look(&look);
	return fits;
}

/* INSERT_STEP of statements.h: $position; $first is the kind, and the others follow. */
static bool
claim_new_step(Writing *writing, const Params *params, int32 lease, int position, int first)
{
	static const AttrNumber columns[] = {
		Anum_step_name, Anum_step_input, Anum_step_executor_id, Anum_step_max_retries, Anum_step_backoff,
		Anum_step_backoff_multiplier, Anum_step_max_backoff, Anum_step_timeout, Anum_step_started_at,
		Anum_step_deadline
	};

	begin_row(writing, &step_by_position);
	set(writing, Anum_step_workflow_id, given(params, 1));
	set(writing, Anum_step_sequence, given(params, position));
	set_int(writing, Anum_step_lease, lease);
	set_int(writing, Anum_step_attempt, 1);
	set_label(writing, Anum_step_status, status_label(RUNNING));
	set_label(writing, Anum_step_kind, TextDatumGetCString(given(params, first).value));
	for (int i = 0; i < lengthof(columns); i++)
		set(writing, columns[i], given(params, first + 1 + i));
	return insert_row(writing);
}

/* PLAN_CLAIM_NEW_STEP */
int64
fast_claim_new_step(const Params *params)
{
	ScanKeyData keys[2];
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	ScanKeyInit(&keys[0], Anum_step_workflow_id, BTEqualStrategyNumber, F_UUID_EQ, given(params, 1).value);
	ScanKeyInit(&keys[1], Anum_step_sequence, BTEqualStrategyNumber, F_INT4EQ, given(params, 2).value);
	if (XactReadOnly || !look_at_lease(params, given(params, 13), &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, 2))
		return NOT_FAST;
	begin_writing(&writing, look.table);
	done = look.row == NULL && claim_new_step(&writing, params, lease, 2, 4);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* STEP_TO_COMPLETE and COMPLETE_STEP of statements.h, $1 to $5; the time is given. */
static bool
complete_step(Writing *writing, const Look *look, const Params *params, int32 lease, NullableDatum now)
{
	NullableDatum attempt = given(params, 4);

	if (look->row == NULL || int_column(look, Anum_step_sequence) != DatumGetInt32(given(params, 2).value) ||
		status_from_datum(column(look, Anum_step_status).value) != RUNNING ||
		kind_from_datum(column(look, Anum_step_kind).value) == WORKFLOW ||
		(!attempt.isnull && DatumGetInt32(attempt.value) != int_column(look, Anum_step_attempt)) ||
		int_column(look, Anum_step_lease) > lease)
		return false;
	begin_row_as_seen(writing, look);
	set_label(writing, Anum_step_status, status_label(COMPLETED));
	set(writing, Anum_step_output, given(params, 5));
	set(writing, Anum_step_error, a_null());
	set(writing, Anum_step_detail, a_null());
	set(writing, Anum_step_completed_at, now);
	return update_row(writing, look);
}

/* Whether there is none at a later position, for a look that goes through the steps in order. */
static bool
is_free(Look *look, int32 position)
{
	do
		next_row(look);
	while (look->row && int_column(look, Anum_step_sequence) < position);
	return look->row == NULL || int_column(look, Anum_step_sequence) > position;
}

/* PLAN_COMPLETE_STEP, and PLAN_COMPLETE_AND_CLAIM if the next position is given. */
static int64
complete_and_claim(const Params *params, NullableDatum now, NullableDatum next)
{
	NullableDatum sequence = given(params, 2);
	ScanKeyData keys[2];
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	/* the scan that finds the one goes on to the other */
	if (!next.isnull && DatumGetInt32(next.value) <= DatumGetInt32(sequence.value))
		return NOT_FAST;
	ScanKeyInit(&keys[0], Anum_step_workflow_id, BTEqualStrategyNumber, F_UUID_EQ, given(params, 1).value);
	if (next.isnull)
		ScanKeyInit(&keys[1], Anum_step_sequence, BTEqualStrategyNumber, F_INT4EQ, sequence.value);
	else
		ScanKeyInit(&keys[1], Anum_step_sequence, BTGreaterEqualStrategyNumber, F_INT4GE, sequence.value);
	if (XactReadOnly || !look_at_lease(params, next.isnull ? a_null() : now, &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, 2))
		return NOT_FAST;
	begin_writing(&writing, look.table);
	done = complete_step(&writing, &look, params, lease, now) &&
		(next.isnull || (is_free(&look, DatumGetInt32(next.value)) &&
						 claim_new_step(&writing, params, lease, 6, 7)));
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

int64
fast_complete_step(const Params *params)
{
	return complete_and_claim(params, given(params, 6), a_null());
}

int64
fast_complete_and_claim(const Params *params)
{
	return complete_and_claim(params, given(params, 16), given(params, 6));
}

/* ---- executors --------------------------------------------------------------- */

/* PLAN_EXECUTOR_ALIVE */
int64
fast_executor_alive(const Params *params)
{
	Look		look;
	bool		alive;

	if (!begin_look_by(&look, &executor_by_id, AccessShareLock, Anum_executor_executor_id, F_TEXTEQ, given(params, 1)))
		return NOT_FAST;
	alive = look.row && DatumGetTimestampTz(column(&look, Anum_executor_last_seen).value) >=
		DatumGetTimestampTz(given(params, 2).value);
	end_look(&look);
	return alive ? 1 : 0;
}
