/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Many at once: what batches share.  start_many is in workflow_start.c,
 *	  claim_steps in step_claim.c, complete_many in complete.c,
 *	  complete_and_claim_many in step_pair_many.c.
 *
 * Each element is treated by the rules of the single call, which stand in
 * workflow_*.c and step_*.c: one look at all, the decisions in C,
 * then one statement for all to which the same happens.  So the number of
 * statements does not depend on the number of elements.
 *
 * Locks are those of the single calls, in the order of durable.h, and within
 * each kind in the order of ids (names, positions).  So of two batches, or of a
 * batch and a single call, only one can wait for the other.  A statement locks
 * rows in the order of the arrays that it gets, since it reads these first
 * (BY_PROBES in plan.h).  The arrays are sorted before.
 *
 * A batch writes in a subtransaction.  If anything was overtaken meanwhile, the
 * subtransaction is rolled back, with its locks, and the batch begins anew.  It
 * cannot try one element again while it holds the locks of the others: that would
 * be to lock out of order.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "subtransaction.h"

#include "utils/array.h"
#include "utils/lsyscache.h"

/* ---- arrays -------------------------------------------------------------- */

Elements
new_elements(Oid type, int capacity)
{
	Elements	elements = {.type = type};

	elements.values = palloc(Max(capacity, 1) * sizeof(Datum));
	elements.nulls = palloc(Max(capacity, 1) * sizeof(bool));
	return elements;
}

void
append_element(Elements *elements, NullableDatum d)
{
	elements->values[elements->count] = d.value;
	elements->nulls[elements->count] = d.isnull;
	elements->count++;
}

/* The elements of an argument.  If the array is NULL, so are all its elements. */
Elements
elements_of(NullableDatum array, Oid type, int count)
{
	Elements	elements;
	int16		len;
	bool		byval;
	char		align;

	if (array.isnull)
	{
		elements = new_elements(type, count);
		while (elements.count < count)
			append_element(&elements, a_null());
		return elements;
	}
	elements.type = type;
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(array.value), type, len, byval, align,
					  &elements.values, &elements.nulls, &elements.count);
	return elements;
}

NullableDatum
element_of(const Elements *elements, int i)
{
	return elements->nulls[i] ? a_null() : a_value(elements->values[i]);
}

/* The array, as a parameter. */
NullableDatum
array_of(const Elements *elements)
{
	int			count = elements->count;
	int			lower = 1;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(elements->type, &len, &byval, &align);
	return a_value(PointerGetDatum(construct_md_array(elements->values, elements->nulls, 1, &count, &lower,
													  elements->type, len, byval, align)));
}

/* ---- positions ------------------------------------------------------------- */

Positions
new_positions(int capacity)
{
	return (Positions)
	{
		.workflow_ids = new_elements(UUIDOID, capacity),.sequences = new_elements(INT4OID, capacity)
	};
}

/* Keeps a pointer to the id, which has to stay where it is. */
void
append_position(Positions *positions, const pg_uuid_t *workflow_id, int32 sequence)
{
	append_element(&positions->workflow_ids, an_id(workflow_id));
	append_element(&positions->sequences, an_int(sequence));
}

/* ---- writing --------------------------------------------------------------- */

/* So often a batch begins anew when it was chosen to end a deadlock. */
#define MOST_DEADLOCKS	3

/*
 * Whether the server has ended a deadlock by this error: what the batch had locked is
 * given back, so who waited for it goes on, and the batch may begin anew.
 */
static bool
ends_deadlock(const ErrorData *error, Rounds *rounds)
{
	return error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED && rounds->deadlocks++ < MOST_DEADLOCKS;
}

/* Writes a batch in a subtransaction; false if it was overtaken, and is given back. */
bool
write_batch(bool (*write) (void *batch), void *batch, Rounds *rounds)
{
	ErrorData  *error;
	bool		done = in_subtransaction(write, batch, &error);

	if (error && !ends_deadlock(error, rounds))
		ReThrowError(error);
	return done;
}
