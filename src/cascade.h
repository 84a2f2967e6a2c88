/*-------------------------------------------------------------------------
 *
 * cascade.h
 *	  A change of a workflow and of those below it (cascade.c), and which
 *	  workflows can be taken without waiting (takeable.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CASCADE_H
#define DURABLE_CASCADE_H

#include "id_list.h"
#include "task.h"

typedef enum Cascade
{
	CASCADE_PAUSE,				/* pause_tree */
	CASCADE_RESUME,				/* resume_tree */
	CASCADE_CANCEL,				/* cancel_tree */
	CASCADE_RERUN,				/* resume_failed */
	CASCADE_RETRY,				/* the parent has failed, and is tried again */
	CASCADE_ABANDON,			/* the parent completed */
	CASCADE_FAIL,				/* the parent failed */
	CASCADE_FENCE				/* the parent changed hands */
} Cascade;

/* The call of pause_tree by which a workflow is paused. */
typedef struct Pause
{
	pg_uuid_t	paused_by;		/* the workflow that was named */
	TimestampTz paused_at;
} Pause;

/* Which children. */
typedef enum Scope
{
	ALL_CHILDREN,
	INLINE_UNFINISHED,
	QUEUED_TO_CANCEL,			/* unfinished, and to be cancelled when the parent ends */
	FAILED_ONLY,
	RETRIED						/* inline and unfinished; or failed, and the parent has not gone past that */
} Scope;

extern IdList children(const IdList *parents, Scope scope, int32 from_sequence);
extern IdList with_inline_unfinished(const IdList *workflows);
extern IdList with_children_to_end(const IdList *workflows);
extern void lock_workflows(Datum workflow_ids);
extern void record_on_stand_ins(Datum workflow_ids, int children);
extern void rerun_steps_of(Datum workflow_ids, int32 from_sequence);

extern int64 cascade_tree(Cascade cascade, const pg_uuid_t *top, const Pause *pause, TimestampTz now);
extern int64 cascade_below(Cascade cascade, Datum workflow_ids, int32 from_sequence, TimestampTz now);

extern bool try_lock_rows_of_tree(const pg_uuid_t *root_id);
extern Datum takeable(Datum *seen, int64 most, int *count);

/*
 * So many are looked for next, where so many are wanted: after a round in which
 * none could be taken, twice as many, since very many may have to be passed over.
 */
static inline int64
next_page(int64 page, int64 wanted, int64 taken)
{
	return taken > 0 ? wanted : Max(wanted, Min(page * 2, IDS_PER_STATEMENT));
}

#endif							/* DURABLE_CASCADE_H */
