/*-------------------------------------------------------------------------
 *
 * buckets.h
 *	  Which buckets this database has (buckets.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_BUCKETS_H
#define DURABLE_BUCKETS_H

#include "durable.h"

#include "storage/lockdefs.h"

#define BUCKETS 4096

extern Datum lock_buckets(LOCKMODE mode);
extern void hold_buckets(void);
extern void require_buckets_of_call(FunctionCallInfo fcinfo, const oidvector *types);
extern void require_bucket_of_name(Datum name, const char *argument);
extern bool has_some_bucket(void);
extern bool has_bucket_of(const pg_uuid_t *id);
extern bool has_bucket_of_name(Datum name, const char *argument);

#endif							/* DURABLE_BUCKETS_H */
