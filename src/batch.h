/*-------------------------------------------------------------------------
 *
 * batch.h
 *	  Arrays, element by element, and what else batches share (batch.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_BATCH_H
#define DURABLE_BATCH_H

#include "plan.h"

/* An array that is taken apart, or put together. */
typedef struct Elements
{
	Oid			type;
	int			count;
	Datum	   *values;
	bool	   *nulls;
} Elements;

/* Positions of steps, as the two arrays by which statements find them. */
typedef struct Positions
{
	Elements	workflow_ids;
	Elements	sequences;
} Positions;

extern Elements new_elements(Oid type, int capacity);
extern void append_element(Elements *elements, NullableDatum d);
extern Elements elements_of(NullableDatum array, Oid type, int count);
extern NullableDatum element_of(const Elements *elements, int i);
extern NullableDatum array_of(const Elements *elements);
extern Positions new_positions(int capacity);
extern void append_position(Positions *positions, const pg_uuid_t *workflow_id, int32 sequence);
extern bool write_batch(bool (*write) (void *batch), void *batch, Rounds *rounds);

#endif							/* DURABLE_BATCH_H */
