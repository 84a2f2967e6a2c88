/*-------------------------------------------------------------------------
 *
 * suspend.h
 *	  Suspended workflows: suspend (suspend.c), what they wait for
 *	  (suspend_open.c), and what makes them due (suspend_wake.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SUSPEND_H
#define DURABLE_SUSPEND_H

#include "id_list.h"
#include "task.h"

/* A step by whose end an open one may end: itself, or one that a wait for any waits for. */
typedef struct OpenNode
{
	pg_uuid_t	id;
	pg_uuid_t	workflow_id;
	int32		sequence;
	TaskKind	kind;
	NullableDatum names;		/* of signals that end it */
	NullableDatum awaited;
} OpenNode;

/* One of the steps for which a workflow is suspended. */
typedef struct OpenStep
{
	pg_uuid_t	id;
	pg_uuid_t	workflow_id;
	int32		sequence;
	TaskStatus	status;			/* NO_TASK where there is no such step */
	TaskKind	kind;
	bool		is_inline;		/* the stand-in of an inline child */
	bool		has_ended;		/* or come due */
	TimestampTz at;				/* it ends by itself; DT_NOEND: never */
	int			node_count;
	OpenNode   *nodes;
} OpenStep;

typedef struct OpenSteps
{
	int			count;
	OpenStep   *steps;			/* in the order of ids */
	TimestampTz deadline;		/* the first one of the workflow and its inline ones, or DT_NOEND */
} OpenSteps;

/* suspend_open.c */
extern OpenSteps look_steps_open(const IdList *ids, TimestampTz now);
extern OpenSteps look_open(const pg_uuid_t *workflow_id, const IdList *ids, TimestampTz now);
extern bool can_go_on(const OpenSteps *open, bool awaits_all);
extern TimestampTz time_of(const OpenSteps *open, bool awaits_all);
extern OpenStep *last_open(const OpenSteps *open);
extern void watch_nodes(const pg_uuid_t *workflow_id, const OpenSteps *open);
extern void watch_one(const pg_uuid_t *workflow_id, const OpenStep *step);
extern bool try_watch_last(const pg_uuid_t *workflow_id, const OpenSteps *open);
extern void write_open(const pg_uuid_t *workflow_id, const OpenSteps *open, bool awaits_all);
extern bool read_open(const pg_uuid_t *workflow_id, IdList *ids, bool *awaits_all);
extern void forget_watches(const pg_uuid_t *workflow_id);
extern void forget_suspensions(Datum workflow_ids);
extern void forget_suspensions_of(const IdList *workflows);

/* suspend_wake.c */
extern void wake_for_workflow(const pg_uuid_t *id);
extern void wake_for_step(const pg_uuid_t *id);
extern void wake_for_signal(const pg_uuid_t *workflow_id, NullableDatum name);
extern void make_due(const pg_uuid_t *id);
extern void deadline_has_moved(const Workflow *workflow);
extern void leave_note_of(const pg_uuid_t *workflow_id);
extern void leave_note_at(const pg_uuid_t *key);
extern bool are_there_notes(void);
extern void act_on_notes(void);

#endif							/* DURABLE_SUSPEND_H */
