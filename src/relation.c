/*-------------------------------------------------------------------------
 *
 * relation.c
 *	  Tables of ours, each with an index, that are opened without a statement.
 *
 * For the registers, and for walks through indexes.  table.c relies on a statement,
 * which has locked the tables, and whose plan tells whether they have changed.  No
 * statement goes before these.  So each is looked up by its name and compared with
 * what the script of the extension has made, and again only once the server has told
 * that its table or index has changed, as it does with plans.
 *
 *-------------------------------------------------------------------------
 */
#include "relation.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_collation_d.h"
#include "commands/trigger.h"
#include "nodes/execnodes.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Those that this backend has opened. */
static OurIndex *opened = NULL;

/* A table or index of that id (0: any) has changed. */
static void
forget_checked(Datum arg, Oid id)
{
	for (OurIndex *ours = opened; ours; ours = ours->next)
		if (!OidIsValid(id) || id == ours->table_id || id == ours->index_id)
			ours->is_checked = false;
}

static void
list_opened(OurIndex *ours)
{
	if (opened == NULL)
		CacheRegisterRelcacheCallback(forget_checked, (Datum) 0);
	ours->next = opened;
	opened = ours;
	ours->is_listed = true;
}

pg_noreturn void
raise_not_ours(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"durable.%s\" is not as the extension has made it", table),
			 errdetail("Its columns or its indexes have changed."),
			 errhint("Make it again as the script of the extension does.")));
}

/* Whether the first columns of a table are those. */
bool
has_columns(Relation table, const OurColumn *columns, int count)
{
	TupleDesc	desc = RelationGetDescr(table);

	if (desc->natts < count || table->rd_rel->relam != HEAP_TABLE_AM_OID)
		return false;
	for (int i = 0; i < count; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (columns[i].name &&
			(strcmp(NameStr(attribute->attname), columns[i].name) != 0 ||
			 (OidIsValid(columns[i].type) && attribute->atttypid != columns[i].type &&
			  getBaseType(attribute->atttypid) != columns[i].type)))
			return false;
	}
	return true;
}

/* Whether an index of the table has those keys. */
static bool
has_keys(Relation table, Relation index, const OurIndex *ours)
{
	Form_pg_index form = index->rd_index;

	if (form->indrelid != RelationGetRelid(table) || !form->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
		form->indnkeyatts < ours->nkeys || (ours->is_unique && (!form->indisunique || form->indnkeyatts > ours->nkeys)))
		return false;
	for (int i = 0; i < ours->nkeys; i++)
	{
		AttrNumber	column = key_column(ours, i);
		Oid			type = ours->columns[column - 1].type;

		if (form->indkey.values[i] != column || (OidIsValid(type) && index->rd_opcintype[i] != type) ||
			(OidIsValid(index->rd_indcollation[i]) && index->rd_indcollation[i] != C_COLLATION_OID))
			return false;
	}
	return true;
}

static void
look_up(OurIndex *ours)
{
	Oid			schema = get_namespace_oid("durable", false);

	if (!ours->is_listed)
		list_opened(ours);
	ours->table_id = get_relname_relid(ours->table, schema);
	ours->index_id = get_relname_relid(ours->index, schema);
	if (!OidIsValid(ours->table_id) || !OidIsValid(ours->index_id))
		raise_not_ours(ours->table);
}

/* Compares them with what they should be; if they change meanwhile, they are not checked. */
static bool
check(OurIndex *ours, Relation table, LOCKMODE mode)
{
	Relation	index = index_open(ours->index_id, mode);
	bool		is_good;

	ours->is_checked = true;
	is_good = has_columns(table, ours->columns, ours->ncolumns) && has_keys(table, index, ours) &&
		(!ours->is_written || RelationGetDescr(table)->natts == ours->ncolumns);
	index_close(index, NoLock);
	return is_good;
}

/* Opens the table; raises an error if names or types have changed. */
Relation
open_our_table(OurIndex *ours, LOCKMODE mode)
{
	Relation	table;

	if (!ours->is_checked)
		look_up(ours);
	table = table_open(ours->table_id, mode);
	/* to wait for the lock is to learn what has changed */
	if (!ours->is_checked && !check(ours, table, mode))
	{
		ours->is_checked = false;
		raise_not_ours(ours->table);
	}
	return table;
}

/* Opens the index of a table that open_our_table has opened: so it is as it was. */
Relation
open_our_index(const OurIndex *ours, LOCKMODE mode)
{
	return index_open(ours->index_id, mode);
}

/* ---- triggers --------------------------------------------------------------------- */

/* Whether a trigger calls that function of ours, whoever writes. */
bool
is_our_trigger(const Trigger *trigger, const char *function)
{
	char	   *name = get_func_name(trigger->tgfoid);

	return trigger->tgenabled == TRIGGER_FIRES_ALWAYS && name && strcmp(name, function) == 0 &&
		get_func_namespace(trigger->tgfoid) == get_namespace_oid("durable", false);
}

/* Whether a table has the trigger that calls that function. */
bool
has_our_trigger(Relation table, const char *function)
{
	const TriggerDesc *triggers = table->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
		if (is_our_trigger(&triggers->triggers[i], function))
			return true;
	return false;
}

/* A trigger function was called as something else.  also tells when it is called but after each row. */
pg_noreturn void
raise_only_trigger(const char *function, const char *table, const char *also)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("function durable.%s can only be a trigger of table durable.%s", function, table),
			 errdetail("It is called after each row that is inserted, updated or deleted there%s.", also),
			 errhint("Make no other use of it.")));
}

/* A trigger function is called as what it is, after each row. */
void
require_row_trigger(FunctionCallInfo fcinfo, const char *function, const char *table)
{
	const TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		raise_only_trigger(function, table, "");
}

/* ---- rows ------------------------------------------------------------------------- */

/* Makes the entries of rows in an index of the table.  values are those of all columns, row by row. */
static void
add_to_index(Oid index_id, Relation table, const Datum *values, List *rows)
{
	Relation	index = index_open(index_id, RowExclusiveLock);
	IndexInfo  *info = makeNode(IndexInfo);
	Datum		keys[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS] = {false};
	ListCell   *cell;

	info->ii_Unique = index->rd_index->indisunique;
	foreach(cell, rows)
	{
		for (int i = 0; i < index->rd_index->indnatts; i++)
			keys[i] = values[index->rd_index->indkey.values[i] - 1];
		index_insert(index, keys, nulls, &((HeapTuple) lfirst(cell))->t_self, table,
					 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
		values += RelationGetDescr(table)->natts;
	}
	index_close(index, NoLock);
}

static void
add_to_indexes(Relation table, const Datum *values, List *rows)
{
	ListCell   *cell;

	foreach(cell, RelationGetIndexList(table))
		add_to_index(lfirst_oid(cell), table, values, rows);
}

/* A row of which no column is NULL. */
HeapTuple
form_row(Relation table, Datum *values)
{
	bool	   *nulls = palloc0(RelationGetDescr(table)->natts * sizeof(bool));

	return heap_form_tuple(RelationGetDescr(table), values, nulls);
}

/* Inserts such a row, without triggers; returns where. */
ItemPointerData
add_row(Relation table, Datum *values)
{
	HeapTuple	row = form_row(table, values);

	simple_heap_insert(table, row);
	add_to_indexes(table, values, list_make1(row));
	return row->t_self;
}

/*
 * The same for several: a record of WAL for each page, and one index after the other.
 * Each row tells where it is.  What this needs is left to the memory context.
 */
void
add_rows(Relation table, List *rows)
{
	/* a copy, of which nobody counts the references: so the slots need not be dropped */
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(table));
	int			count = list_length(rows);
	TupleTableSlot **slots = palloc(count * sizeof(TupleTableSlot *));
	Datum	   *values = palloc((Size) count * desc->natts * sizeof(Datum));
	bool	   *nulls = palloc(desc->natts * sizeof(bool));

	for (int i = 0; i < count; i++)
	{
		HeapTuple	row = list_nth(rows, i);

		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
		/* as if it were the slot's own: else it would be copied */
		ExecStoreHeapTuple(row, slots[i], true);
		heap_deform_tuple(row, desc, &values[i * desc->natts], nulls);
	}
	heap_multi_insert(table, slots, count, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < count; i++)
		((HeapTuple) list_nth(rows, i))->t_self = slots[i]->tts_tid;
	add_to_indexes(table, values, rows);
}
