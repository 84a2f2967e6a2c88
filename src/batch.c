/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Many at once: what batches share.  start_many is in workflow_start.c,
 *	  complete_many in batch_complete.c, claim_steps in batch_claim.c.
 *
 * Each element is treated by the rules of the single call, which stand in
 * workflow_*.c and step.c: one look at all, the decisions in C, then one
 * statement for all to which the same happens.  So the number of statements
 * does not depend on the number of elements.
 *
 * Locks are those of the single calls, in the order of durable.h, and within
 * each kind in the order of ids (names, positions): two batches, or a batch and
 * a single call, wait one for the other and not both.  Rows are locked in the
 * order of the arrays that a statement gets: it reads these first (plans.c),
 * and they are sorted here.
 *
 * What a batch writes it writes in a subtransaction.  If anything was overtaken
 * meanwhile, all of that is given back and the batch begins anew: to come back for
 * one element while it holds the others would be to lock out of order.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"

#include "utils/array.h"
#include "utils/lsyscache.h"

/* ---- arrays -------------------------------------------------------------- */

Column
new_column(Oid type, int capacity)
{
	Column		column = {.type = type};

	column.values = palloc(Max(capacity, 1) * sizeof(Datum));
	column.nulls = palloc(Max(capacity, 1) * sizeof(bool));
	return column;
}

void
append_element(Column *column, NullableDatum d)
{
	column->values[column->count] = d.value;
	column->nulls[column->count] = d.isnull;
	column->count++;
}

/* An argument of so many elements; the array NULL is all NULLs. */
Column
column_of(NullableDatum array, Oid type, int count)
{
	Column		column;
	int16		len;
	bool		byval;
	char		align;

	if (array.isnull)
	{
		column = new_column(type, count);
		while (column.count < count)
			append_element(&column, a_null());
		return column;
	}
	column.type = type;
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(array.value), type, len, byval, align,
					  &column.values, &column.nulls, &column.count);
	return column;
}

NullableDatum
element_of(const Column *column, int i)
{
	return column->nulls[i] ? a_null() : a_value(column->values[i]);
}

/* The array, as a parameter. */
NullableDatum
array_of(const Column *column)
{
	int			lower = 1;
	int			count = column->count;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(column->type, &len, &byval, &align);
	return a_value(PointerGetDatum(construct_md_array(column->values, column->nulls, 1, &count, &lower,
													  column->type, len, byval, align)));
}

void
param_column(Params *params, const Column *column)
{
	param(params, array_of(column));
}

int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Writes a batch in a subtransaction; false if it was overtaken, and is given back. */
bool
write_batch(bool (*write) (void *batch), void *batch)
{
	ErrorData  *error;
	bool		done = in_subtransaction(write, batch, &error);

	if (error)
		ReThrowError(error);
	return done;
}
