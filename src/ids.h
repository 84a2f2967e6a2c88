/*-------------------------------------------------------------------------
 *
 * ids.h
 *	  Identity (ids.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_IDS_H
#define DURABLE_IDS_H

#include "durable.h"

#define MAX_SEQUENCE 16777213

extern void new_workflow_id(int64 ns, int32 bucket, pg_uuid_t *id);
extern TimestampTz id_created_at(const pg_uuid_t *id);
extern pg_uuid_t id_before(const pg_uuid_t *id, int64 ms);
extern int32 name_bucket(const char *name, int len, const char *argument);
extern int32 id_bucket(const pg_uuid_t *id);
extern void id_workflow(const pg_uuid_t *id, pg_uuid_t *workflow_id);
extern void id_step(const pg_uuid_t *workflow_id, int32 sequence, pg_uuid_t *step_id);

/* The sequence of a step's id, -1 for a workflow's. */
static inline int32
id_sequence(const pg_uuid_t *id)
{
	return (((int32) id->data[13] << 16) | (id->data[14] << 8) | id->data[15]) - 1;
}

static inline bool
same_id(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

/* For qsort. */
static inline int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

#endif							/* DURABLE_IDS_H */
