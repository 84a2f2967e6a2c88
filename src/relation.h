/*-------------------------------------------------------------------------
 *
 * relation.h
 *	  Tables of ours, each with an index, that are opened without a statement
 *	  (relation.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_RELATION_H
#define DURABLE_RELATION_H

#include "durable.h"

#include "access/htup.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"

typedef struct OurColumn
{
	const char *name;			/* NULL: not asked for */
	Oid			type;			/* InvalidOid: an enum of ours */
} OurColumn;

#define MOST_OUR_KEYS 5

/* A table and one of its indexes, as the script of the extension makes them. */
typedef struct OurIndex
{
	const char *table;
	const char *index;
	const OurColumn *columns;	/* the first ones of the table */
	int			ncolumns;
	int			nkeys;			/* the first ones of the index: ... */
	AttrNumber	keys[MOST_OUR_KEYS];	/* ... these columns; where there are none, the first of the table */
	bool		is_written;		/* rows are made here: there is no other column */
	bool		is_unique;

	/* what this backend has found */
	bool		is_checked;		/* and has not changed since */
	bool		is_listed;
	Oid			table_id;
	Oid			index_id;
	struct OurIndex *next;		/* of those that it has opened */
} OurIndex;

/* The columns of an OurIndex. */
#define OUR_COLUMNS(...) \
	.columns = (const OurColumn[]) {__VA_ARGS__}, .ncolumns = lengthof(((const OurColumn[]) {__VA_ARGS__}))

/* A register (register.c). */
#define A_REGISTER(its_table, its_nkeys, ...) \
	{#its_table, #its_table "_pkey", OUR_COLUMNS(__VA_ARGS__), .nkeys = its_nkeys, .is_written = true, .is_unique = true}

static inline AttrNumber
key_column(const OurIndex *ours, int key)
{
	return ours->keys[0] == InvalidAttrNumber ? key + 1 : ours->keys[key];
}

extern bool has_columns(Relation table, const OurColumn *columns, int count);
extern Relation open_our_table(OurIndex *ours, LOCKMODE mode);
extern Relation open_our_index(const OurIndex *ours, LOCKMODE mode);
extern HeapTuple form_row(Relation table, Datum *values);
extern ItemPointerData add_row(Relation table, Datum *values);
extern void add_rows(Relation table, List *rows);
pg_noreturn extern void raise_not_ours(const char *table);
extern bool is_our_trigger(const Trigger *trigger, const char *function);
extern bool has_our_trigger(Relation table, const char *function);
pg_noreturn extern void raise_only_trigger(const char *function, const char *table, const char *also);
extern void require_row_trigger(FunctionCallInfo fcinfo, const char *function, const char *table);

#endif							/* DURABLE_RELATION_H */
