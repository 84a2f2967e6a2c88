/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  Arrays, element by element (batch.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_BATCH_H
#define DURABLE_BATCH_H

#include "plans.h"

typedef struct Column
{
	Oid			type;
	int			count;
	Datum	   *values;
	bool	   *nulls;
} Column;

extern Column new_column(Oid type, int capacity);
extern void append_element(Column *column, NullableDatum d);
extern Column column_of(NullableDatum array, Oid type, int count);
extern NullableDatum element_of(const Column *column, int i);
extern NullableDatum array_of(const Column *column);
extern void param_column(Params *params, const Column *column);
extern bool write_batch(bool (*write) (void *batch), void *batch);
extern int	compare_ids(const void *a, const void *b);

#endif							/* DURABLE_BATCH_H */
