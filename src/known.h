/*-------------------------------------------------------------------------
 *
 * known.h
 *	  The workflows that this backend has seen last (known.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_KNOWN_H
#define DURABLE_KNOWN_H

#include "durable.h"

extern void remember_tree(const pg_uuid_t *workflow_id, const pg_uuid_t *root_id);
extern void expect_new_step(const pg_uuid_t *workflow_id, int32 sequence);
extern bool expects_new_step(const pg_uuid_t *workflow_id, int32 sequence);
extern bool is_known_root(const pg_uuid_t *workflow_id);
extern bool try_lock_known_tree(const pg_uuid_t *workflow_id, pg_uuid_t *root_id);
extern void unlock_known_tree(const pg_uuid_t *root_id);

#endif							/* DURABLE_KNOWN_H */
