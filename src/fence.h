/*-------------------------------------------------------------------------
 *
 * fence.h
 *	  Nothing commits under an older lease (fence.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_FENCE_H
#define DURABLE_FENCE_H

#include "durable.h"

#include "storage/itemptr.h"

/* Where a fast path has seen a workflow's lease. */
typedef struct LeaseSeen
{
	pg_uuid_t	workflow_id;
	Oid			table;
	RelFileNumber file;			/* of the table */
	ItemPointerData row;
} LeaseSeen;

extern LeaseSeen last_lease_seen;

extern void recorded_under(const pg_uuid_t *workflow_id, NullableDatum lease);
extern void ask_before_raising(const pg_uuid_t *ids, uint64 count);
extern void raised_lease_of(const pg_uuid_t *workflow_id);
extern void raised_leases_of_result(int column);
extern void watch_transactions(void);

/* table.c */
extern bool lease_is_as_seen(const LeaseSeen *seen, const pg_uuid_t *workflow_id, int32 lease);

#endif							/* DURABLE_FENCE_H */
