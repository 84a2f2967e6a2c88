/*-------------------------------------------------------------------------
 *
 * table.c
 *	  Tables without the server's executor: find a row by an index, insert one,
 *	  update one.
 *
 * Starting the executor is most of what a small statement costs.  Here rows are
 * found by the index that it would use, and written with their entries in all
 * indexes, as it does.  There is no rule of ours in here, but that of the lease at
 * the end.
 *
 * A table with triggers (but that of the registers, which are kept here, too), rules,
 * policies or checks is left to the executor, and so
 * is one whose columns have other types than ours.  Columns are found by their
 * names.  Others may be there, if they are of no domain, and may be NULL or have a
 * constant as their default.
 *
 * The caller is run (plan.c): it has locked the tables as the statement does,
 * knows that the statement's plan holds for them as they are, and has taken the
 * statement's snapshot; in READ COMMITTED only.  Nothing here waits for a row,
 * but for one that was free just before (update_row).
 *
 *-------------------------------------------------------------------------
 */
#include "table.h"
#include "register.h"
#include "relation.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
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
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

typedef struct ColumnUsed
{
	const char *name;
	Oid			type;
} ColumnUsed;

#define COLUMN_USED(table, name, type) {#name, type},

#define COLUMNS_USED(table, TABLE) static const ColumnUsed table##_columns[] = {TABLE##_COLUMNS_USED(COLUMN_USED)};

TABLES_USED(COLUMNS_USED)

#define MOST_COLUMNS	WORKFLOW_COLUMN_COUNT
#define HAS_NUMBERS(table, TABLE) StaticAssertDecl((int) TABLE##_COLUMN_COUNT <= (int) MOST_COLUMNS, "each column has a number");

TABLES_USED(HAS_NUMBERS)

struct Table
{
	const char *name;
	const ColumnUsed *columns;
	int			ncolumns;

	/* what was found when a statement was last planned: its plan would not hold if that had changed */
	uint64		plans_made;
	Oid			id;
	bool		is_ours;
	AttrNumber	numbers[MOST_COLUMNS];
	MemoryContext memory;		/* of the defaults, each of which is a constant or NULL */
	NullableDatum *defaults;
};

#define MOST_KEYS	4

struct TableIndex
{
	Table	   *table;
	const char *name;
	int			nkeys;
	int			keys[MOST_KEYS];
	bool		is_partial;

	/* the same */
	uint64		plans_made;
	Oid			id;
	bool		is_ours;
};

#define A_TABLE(table, TABLE) static Table the_##table = {#table, table##_columns, TABLE##_COLUMN_COUNT};

TABLES_USED(A_TABLE)

TableIndex		workflow_by_id = {&the_workflow, "workflow_pkey", 1, {workflow_id}};
TableIndex		workflow_by_parent = {
	&the_workflow, "workflow_parent", 2, {workflow_parent_id, workflow_id},.is_partial = true
};
TableIndex		workflow_by_name = {&the_workflow, "workflow_name", 2, {workflow_name, workflow_id}};
TableIndex		tags_by_workflow = {&the_workflow_tags, "workflow_tags_pkey", 1, {workflow_tags_workflow_id}};
TableIndex		active_root_by_name = {&the_active_root, "active_root_pkey", 1, {active_root_name}};
TableIndex		step_by_position = {&the_step, "step_pkey", 2, {step_workflow_id, step_sequence}};
TableIndex		executor_by_id = {&the_executor, "executor_pkey", 1, {executor_executor_id}};
TableIndex		open_wait_by_position = {&the_open_wait, "open_wait_pkey", 2, {open_wait_workflow_id, open_wait_sequence}};
TableIndex		open_wait_by_awaited = {&the_open_wait, "open_wait_awaited", 1, {open_wait_awaited},.is_partial = true};
TableIndex		signal_by_id = {&the_signal, "signal_pkey", 2, {signal_workflow_id, signal_id}};
TableIndex		signal_untaken = {
	&the_signal, "signal_untaken", 3, {signal_workflow_id, signal_name, signal_id},.is_partial = true
};
TableIndex		signal_counted_of = {
	&the_signal, "signal_counted", 2, {signal_workflow_id, signal_id},.is_partial = true
};
TableIndex		open_position_by_workflow = {&the_open_position, "open_position_pkey", 1, {open_position_workflow_id}};
TableIndex		watch_by_key = {&the_watch, "watch_pkey", 2, {watch_key, watch_signal}};
TableIndex		wake_note_by_id = {&the_wake_note, "wake_note_pkey", 1, {wake_note_id}};
TableIndex		driven_by_executor = {&the_driven, "driven_pkey", 2, {driven_executor_id, driven_started_at}};
TableIndex		pending_by_place = {
	&the_pending, "pending_pkey", 4, {pending_queue_name, pending_key, pending_turn, pending_run_at}
};
TableIndex		deadline_by_time = {&the_deadline, "deadline_pkey", 1, {deadline_deadline}};
TableIndex		cancel_request_by_time = {&the_cancel_request, "cancel_request_pkey", 1, {cancel_request_cancel_at}};
TableIndex		schedule_by_next_run = {&the_schedule, "schedule_due", 1, {schedule_next_run_at},.is_partial = true};
TableIndex		schedule_by_waiting = {&the_schedule, "schedule_waiting", 1, {schedule_name},.is_partial = true};

/* Whether keep_registers follows its rows (register.c). */
static bool
is_registered(const Table *table)
{
	return table == &the_workflow;
}

/* The number that the server knows a column by. */
static AttrNumber
attribute_number(const Table *table, int column)
{
	return table->numbers[column];
}

/* ---- are they ours? ----------------------------------------------------------- */

/*
 * Reads the defaults of a table's columns; false if there is one that is not a
 * constant.
 */
static bool
read_defaults(Relation relation, Table *table)
{
	TupleDesc	desc = RelationGetDescr(relation);
	TupleConstr *constraints = desc->constr;

	if (table->memory == NULL)
		/* NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result): in the macro */
		table->memory = AllocSetContextCreate(TopMemoryContext, "durable defaults", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(table->memory);
	table->defaults = MemoryContextAlloc(table->memory, (Size) desc->natts * sizeof(NullableDatum));
	for (int i = 0; i < desc->natts; i++)
		table->defaults[i] = a_null();
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
		old = MemoryContextSwitchTo(table->memory);
		table->defaults[its_default->adnum - 1] =
			a_value(datumCopy(constant->constvalue, attribute->attbyval, attribute->attlen));
		MemoryContextSwitchTo(old);
	}
	return true;
}

/* Whether a table has the triggers that it has from us: that of the registers, or none. */
static bool
has_our_triggers(Relation relation, const Table *table)
{
	TriggerDesc *triggers = relation->trigdesc;

	if (!is_registered(table))
		return triggers == NULL;
	if (triggers == NULL || !triggers->trig_insert_after_row || !triggers->trig_update_after_row ||
		!has_registered_columns(relation))
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
		if (!is_our_trigger(&triggers->triggers[i], "keep_registers"))
			return false;
	return true;
}

/* Whether a table has only what is provided for here. */
static bool
is_plain(Relation relation, const Table *table)
{
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	AclMode		needed = ACL_SELECT | ACL_INSERT | ACL_UPDATE;

	return relation->rd_rel->relkind == RELKIND_RELATION && relation->rd_rel->relam == HEAP_TABLE_AM_OID &&
		!relation->rd_rel->relispartition && !relation->rd_rel->relhassubclass && !relation->rd_rel->relrowsecurity &&
		has_our_triggers(relation, table) && relation->rd_rules == NULL &&
		(constraints == NULL || (constraints->num_check == 0 && !constraints->has_generated_stored)) &&
		pg_class_aclmask(RelationGetRelid(relation), relation->rd_rel->relowner, needed, ACLMASK_ALL) == needed;
}

/*
 * Finds the columns that are used; false if one is missing or of another type, or
 * if another is filled in by the server, or by its type.
 */
static bool
find_columns(Relation relation, Table *table)
{
	TupleDesc	desc = RelationGetDescr(relation);

	memset(table->numbers, 0, sizeof(table->numbers));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		is_used = false;

		if (attribute->attisdropped)
			continue;
		if (attribute->attidentity)
			return false;
		for (int c = 0; c < table->ncolumns; c++)
			if (strcmp(NameStr(attribute->attname), table->columns[c].name) == 0 && attribute->atttypmod == -1 &&
				(table->columns[c].type == OUR_ENUM ? get_typtype(attribute->atttypid) == TYPTYPE_ENUM :
				 attribute->atttypid == table->columns[c].type))
			{
				table->numbers[c] = attribute->attnum;
				is_used = true;
			}
		/* NULL need not pass the checks of a domain, and need not be its default */
		if (!is_used && (get_typtype(attribute->atttypid) == TYPTYPE_DOMAIN || get_typdefault(attribute->atttypid)))
			return false;
	}
	for (int c = 0; c < table->ncolumns; c++)
		if (table->numbers[c] == InvalidAttrNumber)
			return false;
	return true;
}

/* Whether an index is of our table, and finds what its name says. */
static bool
is_our_index(Relation relation, const TableIndex *index)
{
	if (relation->rd_index->indrelid != index->table->id ||
		relation->rd_rel->relam != BTREE_AM_OID || !relation->rd_index->indisvalid ||
		(RelationGetIndexPredicate(relation) != NIL) != index->is_partial)
		return false;
	for (int i = 0; i < index->nkeys; i++)
		if (i >= relation->rd_index->indnkeyatts ||
			relation->rd_index->indkey.values[i] != attribute_number(index->table, index->keys[i]) ||
			relation->rd_indoption[i] != 0 ||
			relation->rd_opcintype[i] != index->table->columns[index->keys[i]].type ||
			(OidIsValid(relation->rd_indcollation[i]) && relation->rd_indcollation[i] != C_COLLATION_OID))
			return false;
	return true;
}

/* Closes a table and its index.  The locks stay, as those of a statement do. */
static void
close_relations(Relation table, Relation index)
{
	if (index)
		index_close(index, NoLock);
	table_close(table, NoLock);
}

/*
 * Opens an index, and its table, which run has locked; false if they are not
 * ours, or belong to another than the owner of the function, as whom we run.
 */
static bool
open_relations(TableIndex *index, LOCKMODE mode, Relation *table_relation, Relation *index_relation)
{
	Table	   *table = index->table;
	bool		table_is_new = table->plans_made != plans_made;
	bool		index_is_new = index->plans_made != plans_made;

	if (table_is_new || index_is_new)
	{
		Oid			schema = get_namespace_oid("durable", false);

		table->id = get_relname_relid(table->name, schema);
		index->id = get_relname_relid(index->name, schema);
	}
	*table_relation = table_open(table->id, NoLock);
	*index_relation = OidIsValid(index->id) ? index_open(index->id, mode) : NULL;
	if (table_is_new)
	{
		table->is_ours = is_plain(*table_relation, table) && find_columns(*table_relation, table) &&
			read_defaults(*table_relation, table);
		table->plans_made = plans_made;
	}
	if (index_is_new)
	{
		index->is_ours = table->is_ours && *index_relation && is_our_index(*index_relation, index);
		index->plans_made = plans_made;
	}
	if (index->is_ours && (*table_relation)->rd_rel->relowner == GetUserId())
		return true;
	close_relations(*table_relation, *index_relation);
	return false;
}

/* ---- looking ------------------------------------------------------------------- */

static void
move(Look *look, ScanDirection direction)
{
	look->row = systable_getnext_ordered(look->scan, direction);
	look->is_kept = false;
}

/* Goes on to the next row, in the order of the index. */
void
next_row(Look *look)
{
	move(look, ForwardScanDirection);
}

/* Begins a scan for the rows that meet the keys; false if the table or index is not ours. */
static bool
begin_scan(Look *look, TableIndex *index, LOCKMODE mode, const Key *keys, int nkeys)
{
	ScanKeyData scan_keys[MOST_KEYS];

	if (!open_relations(index, mode, &look->table_relation, &look->index_relation))
		return false;
	look->index = index;
	for (int i = 0; i < nkeys; i++)
		ScanKeyInit(&scan_keys[i], attribute_number(index->table, keys[i].column), keys[i].strategy,
					keys[i].comparison, keys[i].value.value);
	look->scan = systable_beginscan_ordered(look->table_relation, look->index_relation, GetActiveSnapshot(),
											nkeys, scan_keys);
	return true;
}

/* Begins with the first row that meets the keys; false if the table or index is not ours. */
bool
begin_look(Look *look, TableIndex *index, LOCKMODE mode, const Key *keys, int nkeys)
{
	if (!begin_scan(look, index, mode, keys, nkeys))
		return false;
	next_row(look);
	return true;
}

/* The same with the last row. */
bool
begin_look_at_last(Look *look, TableIndex *index, LOCKMODE mode, const Key *keys, int nkeys)
{
	if (!begin_scan(look, index, mode, keys, nkeys))
		return false;
	move(look, BackwardScanDirection);
	return true;
}

/* Begins without a row: where one is to be inserted whose keys were just looked for. */
bool
begin_without_look(Look *look, TableIndex *index, LOCKMODE mode)
{
	*look = (Look) {.index = index};
	return open_relations(index, mode, &look->table_relation, &look->index_relation);
}

/* Copies the row that was found, so that its values outlive the look at it. */
void
keep_row(Look *look)
{
	look->row = heap_copytuple(look->row);
	look->is_kept = true;
}

void
end_look(Look *look)
{
	if (look->scan)
		systable_endscan_ordered(look->scan);
	close_relations(look->table_relation, look->index_relation);
}

/*
 * Whether the table of an index has never had a row, not even one that is not committed:
 * the first to write one has made room for it.  Most databases make no use of some tables.
 */
bool
is_unused(const TableIndex *index)
{
	Relation	relation;
	bool		unused;

	if (index->plans_made != plans_made || !index->is_ours)
		return false;
	relation = table_open(index->table->id, NoLock);
	unused = RelationGetNumberOfBlocks(relation) == 0;
	table_close(relation, NoLock);
	return unused;
}

/* For fast paths that only find that there is none: 0 if no row meets the keys, else NOT_FAST, also if that cannot be told. */
int64
fast_none(TableIndex *index, const Key *keys, int nkeys)
{
	Look		look;
	bool		found;

	if (!begin_look(&look, index, AccessShareLock, keys, nkeys))
		return NOT_FAST;
	found = look.row != NULL;
	end_look(&look);
	return found ? NOT_FAST : 0;
}

NullableDatum
column_of_row(const Look *look, int column)
{
	AttrNumber	number = attribute_number(look->index->table, column);
	NullableDatum d;

	/* the slot of the scan remembers what it has read of the row */
	if (look->is_kept)
		d.value = heap_getattr(look->row, number, RelationGetDescr(look->table_relation), &d.isnull);
	else
		d.value = slot_getattr(look->scan->slot, number, &d.isnull);
	return d;
}

/* The same, so that it outlives the look. */
NullableDatum
copied_column_of_row(const Look *look, int column)
{
	NullableDatum d = column_of_row(look, column);
	Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(look->table_relation),
												attribute_number(look->index->table, column) - 1);

	if (!d.isnull)
		d.value = datumCopy(d.value, attribute->attbyval, attribute->attlen);
	return d;
}

int32
int_of_row(const Look *look, int column)
{
	return DatumGetInt32(column_of_row(look, column).value);
}

TaskStatus
status_of_row(const Look *look, int column)
{
	return status_from_datum(column_of_row(look, column).value);
}

/* ---- writing ------------------------------------------------------------------- */

static TupleTableSlot *
slot_to_write(const Writing *writing, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);

	slot->tts_tableOid = RelationGetRelid(writing->relation);
	return slot;
}

/* Begins to write to the table that was looked at. */
void
begin_writing(Writing *writing, const Look *look)
{
	*writing = (Writing) {.table = look->index->table,.relation = look->table_relation};
	writing->row = slot_to_write(writing, RelationGetDescr(writing->relation));
}

/* Also makes what was written visible to the next statement, as the end of one does. */
void
end_writing(Writing *writing)
{
	ListCell   *row;

	if (writing->indexes)
	{
		ExecCloseIndices(writing->indexes);
		FreeExecutorState(writing->estate);
	}
	ExecDropSingleTupleTableSlot(writing->row);
	foreach(row, writing->put_off)
		ExecDropSingleTupleTableSlot(lfirst(row));
	CommandCounterIncrement();
}

/* Begins a new row, with the defaults of its columns: what its statement names is to be set, to NULL, too. */
void
new_row(const Writing *writing)
{
	TupleTableSlot *row = writing->row;

	ExecClearTuple(row);
	for (int i = 0; i < row->tts_tupleDescriptor->natts; i++)
	{
		row->tts_values[i] = writing->table->defaults[i].value;
		row->tts_isnull[i] = writing->table->defaults[i].isnull;
	}
}

/* All columns of the row that was found. */
static const TupleTableSlot *
all_of_row(const Look *look)
{
	Assert(!look->is_kept);
	slot_getallattrs(look->scan->slot);
	return look->scan->slot;
}

/* Begins a row as it was seen. */
void
row_as_seen(const Writing *writing, const Look *look)
{
	const TupleTableSlot *seen = all_of_row(look);
	int			natts = seen->tts_tupleDescriptor->natts;

	ExecClearTuple(writing->row);
	memcpy(writing->row->tts_values, seen->tts_values, natts * sizeof(Datum));
	memcpy(writing->row->tts_isnull, seen->tts_isnull, natts * sizeof(bool));
}

void
set(const Writing *writing, int column, NullableDatum d)
{
	AttrNumber	number = attribute_number(writing->table, column);

	writing->row->tts_values[number - 1] = d.value;
	writing->row->tts_isnull[number - 1] = d.isnull;
}

void
set_int(const Writing *writing, int column, int32 value)
{
	set(writing, column, a_value(Int32GetDatum(value)));
}

void
set_label(const Writing *writing, int column, const char *label)
{
	AttrNumber	number = attribute_number(writing->table, column);

	set(writing, column,
		a_value(enum_datum(TupleDescAttr(writing->row->tts_tupleDescriptor, number - 1)->atttypid, label)));
}

/* Ends a row; false if a column of it is NULL that must not be, which is for the statement to say. */
bool
end_row(const Writing *writing)
{
	TupleTableSlot *row = writing->row;

	for (int i = 0; i < row->tts_tupleDescriptor->natts; i++)
		if (row->tts_isnull[i] && TupleDescAttr(row->tts_tupleDescriptor, i)->attnotnull)
			return false;
	ExecStoreVirtualTuple(row);
	return true;
}

/*
 * Makes the states of an index's expressions and predicate.  The executor would
 * plan these first, at each opening; but as the relation cache has them, they are
 * planned.
 */
static void
prepare_expressions(IndexInfo *info)
{
	if (info->ii_Expressions != NIL)
		info->ii_ExpressionsState = ExecInitExprList(info->ii_Expressions, NULL);
	if (info->ii_Predicate != NIL)
		info->ii_PredicateState = ExecInitQual(info->ii_Predicate, NULL);
}

static void
open_indexes(Writing *writing)
{
	MemoryContext old;

	if (writing->indexes)
		return;
	writing->estate = CreateExecutorState();
	writing->indexes = makeNode(ResultRelInfo);
	/* without a range table no column counts as updated, which the indexes take as a hint only */
	InitResultRelInfo(writing->indexes, writing->relation, 0, NULL, 0);
	/* a unique index tells of a conflict by itself: what it takes to look for one is not asked for */
	ExecOpenIndices(writing->indexes, false);
	old = MemoryContextSwitchTo(writing->estate->es_query_cxt);
	for (int i = 0; i < writing->indexes->ri_NumIndices; i++)
		prepare_expressions(writing->indexes->ri_IndexRelationInfo[i]);
	MemoryContextSwitchTo(old);
}

/* A row for the registers. */
static WorkflowValues
registered(const TupleTableSlot *row)
{
	return (WorkflowValues) {.values = row->tts_values,.nulls = row->tts_isnull};
}

/* Adds the entries of a row that was inserted. */
static void
add_inserted(const Writing *writing, TupleTableSlot *row)
{
	insert_index_entries_or_raise(writing->indexes, row, writing->estate);
	if (is_registered(writing->table))
	{
		WorkflowValues values = registered(row);

		keep_registers(NULL, &values);
	}
}

/* Inserts a row, as INSERT does.  A conflict is an error. */
void
insert_row(Writing *writing)
{
	open_indexes(writing);
	table_tuple_insert(writing->relation, writing->row, GetCurrentCommandId(true), 0, NULL);
	add_inserted(writing, writing->row);
}

/* Puts a row off, to be inserted with others.  What it refers to must be there until then. */
void
put_off_row(Writing *writing)
{
	/* a copy, of which nobody counts the references: for a thousand slots that would take long */
	if (writing->put_off == NIL)
		writing->put_off_desc = CreateTupleDescCopy(RelationGetDescr(writing->relation));
	writing->put_off = lappend(writing->put_off, writing->row);
	writing->row = slot_to_write(writing, writing->put_off_desc);
}

/* Inserts those that were put off, with a record of WAL for each page, but without their entries. */
static void
begin_put_off(Writing *writing)
{
	int			count = list_length(writing->put_off);
	TupleTableSlot **rows = palloc(count * sizeof(TupleTableSlot *));

	for (int i = 0; i < count; i++)
		rows[i] = list_nth(writing->put_off, i);
	open_indexes(writing);
	table_multi_insert(writing->relation, rows, count, GetCurrentCommandId(true), 0, NULL);
}

/* Inserts those that were put off, as INSERT does. */
void
insert_put_off(Writing *writing)
{
	ListCell   *row;

	begin_put_off(writing);
	foreach(row, writing->put_off)
		add_inserted(writing, lfirst(row));
}

/*
 * The same, but waits for nobody: false where another was faster, or may have been.  The
 * rows stay there then.  So the caller must end a subtransaction, which takes them back;
 * in a transaction of its own, others would wait for its end, and it perhaps for theirs.
 */
bool
insert_put_off_unless_there(Writing *writing)
{
	bool		conflict = false;
	ListCell   *row;

	begin_put_off(writing);
	foreach(row, writing->put_off)
	{
		insert_index_entries(writing->indexes, lfirst(row), writing->estate, &conflict);
		if (conflict)
			break;
	}
	return !conflict;
}

/*
 * Inserts a row, as INSERT ... ON CONFLICT DO NOTHING does, after a look that found
 * no other.  It is inserted speculatively: where another was faster, or may have
 * been, the row is taken back, so that nobody waits for it, and the statement waits
 * for the other's outcome.
 */
bool
insert_row_unless_there(Writing *writing)
{
	TransactionId xid = GetCurrentTransactionId();
	uint32		token;
	bool		conflict = false;

	open_indexes(writing);
	token = SpeculativeInsertionLockAcquire(xid);
	table_tuple_insert_speculative(writing->relation, writing->row, GetCurrentCommandId(true), 0, NULL, token);
	insert_index_entries(writing->indexes, writing->row, writing->estate, &conflict);
	table_tuple_complete_speculative(writing->relation, writing->row, token, !conflict);
	SpeculativeInsertionLockRelease(xid);
	return !conflict;
}

/*
 * Whether those who have locked a row let us change it, if not its key: we ourselves,
 * or who holds its key only (KEY SHARE, hold_awaited does).
 */
static bool
locks_allow_update(HeapTupleHeader row)
{
	TransactionId locker = HeapTupleHeaderGetRawXmax(row);
	MultiXactMember *members;
	int			count;

	if (!HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask))
		return false;
	if (!(row->t_infomask & HEAP_XMAX_IS_MULTI))
		return HEAP_XMAX_IS_KEYSHR_LOCKED(row->t_infomask) || TransactionIdIsCurrentTransactionId(locker);
	count = GetMultiXactIdMembers(locker, &members, false, true);
	for (int i = 0; i < count; i++)
		if (members[i].status != MultiXactStatusForKeyShare && !TransactionIdIsCurrentTransactionId(members[i].xid))
			return false;
	return true;
}

/* Whether a row has not changed since it was seen, and nobody has locked it against that. */
bool
is_free_to_update(const Look *look)
{
	Buffer		buffer = ((BufferHeapTupleTableSlot *) look->scan->slot)->buffer;
	TM_Result	state;
	bool		is_free;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	state = HeapTupleSatisfiesUpdate(look->row, GetCurrentCommandId(false), buffer);
	is_free = state == TM_Ok || (state == TM_BeingModified && locks_allow_update(look->row->t_data));
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	return is_free;
}

/*
 * Puts the row in the place of the one that was seen, as UPDATE does; false if
 * that has changed since, or is locked.  The server has no UPDATE that does not
 * wait, so the row is looked at before.  We wait only for who comes in between.
 */
bool
update_row(Writing *writing, const Look *look)
{
	TM_FailureData failure;
	LockTupleMode mode;
	UpdatedIndexes updated;

	CheckCmdReplicaIdentity(writing->relation, CMD_UPDATE);
	if (!end_row(writing) || !is_free_to_update(look) ||
		update_tuple(writing->relation, &look->row->t_self, writing->row, GetCurrentCommandId(true),
					 GetActiveSnapshot(), &failure, &mode, &updated) != TM_Ok)
		return false;
	if (updated != UPDATED_NO_INDEXES)
	{
		open_indexes(writing);
		update_index_entries(writing->indexes, writing->row, writing->estate, updated);
	}
	if (is_registered(writing->table))
	{
		WorkflowValues before = registered(all_of_row(look));
		WorkflowValues after = registered(writing->row);

		keep_registers(&before, &after);
	}
	return true;
}

/* Deletes the row that was just inserted, which nobody could see. */
void
take_back_row(const Writing *writing)
{
	CommandCounterIncrement();
	simple_heap_delete(writing->relation, &writing->row->tts_tid);
}

/* ---- the lease ------------------------------------------------------------------- */

/* Where a look is at a workflow's lease. */
LeaseSeen
lease_seen(const Look *look)
{
	return (LeaseSeen)
	{
		.workflow_id = *DatumGetUUIDP(column_of_row(look, workflow_id).value),
		.table = RelationGetRelid(look->table_relation),
		.file = look->table_relation->rd_rel->relfilenode,.row = look->row->t_self
	};
}

/*
 * Whether the row that was seen is still the workflow's newest version, at that
 * lease.  If not so for sure, false.
 *
 * The table is locked since, so its rows have not moved.  But a row may have been
 * removed, and another have its place, even one that was never committed.  So that
 * is asked, and the id and the lease are compared.
 */
static bool
is_newest(Relation table, Buffer buffer, const LeaseSeen *seen, int32 lease)
{
	Page		page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(&seen->row);
	TupleDesc	desc = RelationGetDescr(table);
	HeapTupleData row = {.t_self = seen->row,.t_tableOid = seen->table};
	ItemId		item;
	Datum		id;
	bool		isnull;

	if (offset > PageGetMaxOffsetNumber(page))
		return false;
	item = PageGetItemId(page, offset);
	if (!ItemIdIsNormal(item))
		return false;
	row.t_data = (HeapTupleHeader) PageGetItem(page, item);
	row.t_len = ItemIdGetLength(item);
	id = heap_getattr(&row, attribute_number(&the_workflow, workflow_id), desc, &isnull);
	return (HeapTupleHeaderXminCommitted(row.t_data) ||
			TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row.t_data))) &&
		((row.t_data->t_infomask & HEAP_XMAX_INVALID) || HEAP_XMAX_IS_LOCKED_ONLY(row.t_data->t_infomask)) &&
		!isnull && same_id(DatumGetUUIDP(id), &seen->workflow_id) &&
		DatumGetInt32(heap_getattr(&row, attribute_number(&the_workflow, workflow_lease), desc, &isnull)) == lease;
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

