/*-------------------------------------------------------------------------
 *
 * register.h
 *	  The registers: which workflows are in some state (register.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_REGISTER_H
#define DURABLE_REGISTER_H

#include "durable.h"

#include "access/htup.h"
#include "utils/rel.h"

/* A row of durable.workflow, by the columns of the table. */
typedef struct WorkflowValues
{
	const Datum *values;
	const bool *nulls;
} WorkflowValues;

extern bool has_registered_columns(Relation workflow);
extern bool is_root_name_busy(Datum name);
extern void note_root_name(const pg_uuid_t *id, const ItemPointerData *row);
extern void note_waiting(const pg_uuid_t *id, const ItemPointerData *row);

/* Writes into the registers what changes of a workflow: from one row, or none, to another, or none. */
extern void keep_registers(const WorkflowValues *before, const WorkflowValues *after);

extern void leave_unfinished(Datum here, bool is_parked);
extern void join_unfinished(Datum ids);

#endif							/* DURABLE_REGISTER_H */
