/*-------------------------------------------------------------------------
 *
 * control.h
 *	  Whole trees (control.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CONTROL_H
#define DURABLE_CONTROL_H

#include "durable.h"

struct Workflow;

extern void lock_and_look(const pg_uuid_t *id, struct Workflow *workflow);
extern int64 cancel_tree(const pg_uuid_t *id);
extern void lock_queues_of_failed(NullableDatum ids, int32 from_sequence, bool must_be_there);
extern void resume_failed(const pg_uuid_t *id, NullableDatum executor_id, int32 from_sequence,
						  struct Workflow *workflow);
extern bool try_lock_tree_to_cancel(const pg_uuid_t *root_id);
extern void cancel_locked_tree(const pg_uuid_t *id);
extern bool cancel_root(const pg_uuid_t *id, bool may_wait);

#endif							/* DURABLE_CONTROL_H */
