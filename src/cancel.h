/*-------------------------------------------------------------------------
 *
 * cancel.h
 *	  Ending gently: request_cancel (cancel_request.c), and how a program is told
 *	  (cancel_tell.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CANCEL_H
#define DURABLE_CANCEL_H

#include "task.h"

/* Records that by which a program is told; false if something overtook us. */
typedef bool (*Recording) (void *arg);

/* cancel_tell.c */
extern NullableDatum request_error(const Workflow *workflow);
extern bool tell_by(const Workflow *workflow, Recording record, void *arg);
extern bool tell_at(const Workflow *workflow, int32 sequence, TaskKind kind, NullableDatum name,
					NullableDatum input, NullableDatum executor_id);
extern bool tells_by_end(const Workflow *parent, const Workflow *child);
extern void tell_parent_of(const Workflow *child);

/* cancel_request.c */
extern int64 cancel_overdue(TimestampTz now, int64 most);

#endif							/* DURABLE_CANCEL_H */
