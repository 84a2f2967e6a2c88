/*-------------------------------------------------------------------------
 *
 * id_list.c
 *	  Lists of ids, any number of them.
 *
 * A tree may have millions of workflows: more than palloc gives room for, and
 * more than one statement should get.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"

#include "miscadmin.h"
#include "utils/array.h"

void
append_id(IdList *list, const pg_uuid_t *id)
{
	if (list->count == list->capacity)
	{
		list->capacity = Max(64, list->capacity * 2);
		list->ids = list->ids ?
			repalloc_huge(list->ids, list->capacity * sizeof(pg_uuid_t)) :
			MemoryContextAllocHuge(CurrentMemoryContext, list->capacity * sizeof(pg_uuid_t));
	}
	list->ids[list->count++] = *id;
}

void
append_ids(IdList *list, const IdList *more)
{
	for (uint64 i = 0; i < more->count; i++)
		append_id(list, &more->ids[i]);
}

void
append_array(IdList *list, Datum ids)
{
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(ids), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		append_id(list, DatumGetUUIDP(elements[i]));
}

/* Appends the ids that the last statement returned, and frees its result. */
void
append_result(IdList *list)
{
	for (uint64 row = 0; row < SPI_processed; row++)
		append_id(list, DatumGetUUIDP(result_value(row, 0)));
	SPI_freetuptable(SPI_tuptable);
}

bool
contains_id(const IdList *list, const pg_uuid_t *id)
{
	for (uint64 i = 0; i < list->count; i++)
		if (same_id(&list->ids[i], id))
			return true;
	return false;
}

/*
 * Runs a statement over all ids, some thousands at a time.  Its first parameter
 * is the array of ids, which is filled in here; params has the others, or is NULL
 * where there are none.  Appends the ids that it returns to result, unless that is
 * NULL, and returns the number of rows.
 */
uint64
run_over_ids(Statement *statement, const IdList *list, void *params, IdList *result)
{
	NullableDatum only_ids = a_null();
	NullableDatum *ids = params ? params : &only_ids;
	uint64		rows = 0;

	for (uint64 i = 0; i < list->count; i += IDS_PER_STATEMENT)
	{
		CHECK_FOR_INTERRUPTS();
		*ids = a_value(id_array(&list->ids[i], Min(IDS_PER_STATEMENT, list->count - i)));
		rows += run(statement, ids, NEWEST);
		if (result)
			append_result(result);
		else
			SPI_freetuptable(SPI_tuptable);
		pfree(DatumGetPointer(ids->value));
	}
	return rows;
}
