/*-------------------------------------------------------------------------
 *
 * outcome.h
 *	  What follows from an outcome (outcome.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_OUTCOME_H
#define DURABLE_OUTCOME_H

#include "durable.h"

extern void have_ended(const pg_uuid_t *task_ids, uint64 count);
extern void step_has_ended(const pg_uuid_t *id, NullableDatum lease, bool was_fast);

#endif							/* DURABLE_OUTCOME_H */
