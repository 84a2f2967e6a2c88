/*-------------------------------------------------------------------------
 *
 * task.h
 *	  Workflows and steps as C structures, and how they are read (task.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_TASK_H
#define DURABLE_TASK_H

#include "args.h"
#include "refusal.h"

/*
 * A NullableDatum of a row points into the result of the statement that read
 * it and lives until SPI_finish.
 */
typedef struct Workflow
{
	pg_uuid_t	id;
	pg_uuid_t	root_id;
	bool		has_parent;
	pg_uuid_t	parent_id;
	TaskStatus	status;
	int32		lease;
	int32		recovery_count;
	int32		max_recovery_attempts;
	char	   *name;
	bool		has_queue;
	NullableDatum status_datum;
	NullableDatum handler;
	NullableDatum executor_id;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
	NullableDatum deadline;
	NullableDatum paused_by;
	NullableDatum paused_at;
	NullableDatum suspended_at;
} Workflow;

typedef struct Step
{
	pg_uuid_t	id;				/* by arithmetic */
	pg_uuid_t	workflow_id;
	int32		sequence;
	TaskStatus	status;			/* NO_TASK where there is no row */
	TaskKind	kind;
	int32		lease;
	int32		attempt;
	int32		retry_count;
	char	   *name;
	NullableDatum status_datum;
	NullableDatum executor_id;
	RetryPolicy retries;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
	NullableDatum detail;
	NullableDatum run_at;
	NullableDatum started_at;
	NullableDatum completed_at;
	NullableDatum timeout;
	NullableDatum deadline;
	NullableDatum child_id;
	/* of a WAIT */
	char	   *wait;			/* its sort */
	NullableDatum signals;
	NullableDatum awaited;
	NullableDatum sequences;
} Step;

/* Was recorded in another workflow, from which this one was forked, so under no lease of its own. */
static inline bool
is_copy(const Step *step)
{
	return step->status != NO_TASK && step->lease == 0;
}

/* An inline child is driven by whoever drives its parent. */
static inline bool
is_inline(const Workflow *workflow)
{
	return workflow->has_parent && !workflow->has_queue;
}

/* The columns of which a Workflow is read (ROW in plan.h). */
#define WORKFLOW_LIST(F, C, t) \
	F(t, id) C(t, root_id) C(t, parent_id) C(t, status) C(t, lease) C(t, recovery_count) \
	C(t, max_recovery_attempts) C(t, name) C(t, queue_name) C(t, handler) C(t, executor_id) \
	C(t, input) C(t, output) C(t, error) C(t, deadline) C(t, paused_by) C(t, paused_at) \
	C(t, suspended_at)

/* A workflow or a step, as the accessors answer about it. */
typedef struct Task
{
	TaskStatus	status;
	NullableDatum status_datum;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
	NullableDatum child_id;		/* of a stand-in */
} Task;

/* What the caller tells of a failure. */
typedef struct Failure
{
	NullableDatum error;
	NullableDatum detail;
	NullableDatum lease;
	NullableDatum attempt;
	bool		retryable;
	NullableDatum retry_after;
} Failure;

/* What fail answers. */
typedef struct FailAnswer
{
	TaskStatus	status;
	int32		retry_count;
	NullableDatum run_at;
} FailAnswer;

/* Whose view of the database a statement has (plan.c). */
typedef enum View
{
	NEWEST,						/* all that is committed now, and our own writes */
	CALLERS						/* that of the calling query: STABLE functions */
} View;

extern void look_workflow_or_raise(const pg_uuid_t *id, const char *argument, View view, Workflow *workflow);
extern uint64 seen_of(const Workflow *workflow, const Step *step);
extern bool read_workflow_from(uint64 row, int first, Workflow *workflow);
extern bool look_step(const pg_uuid_t *workflow_id, int32 sequence, View view, Workflow *workflow, Step *step);
extern void look_steps(NullableDatum workflow_ids, NullableDatum sequences);
extern bool read_look_at_step(uint64 row, const pg_uuid_t *workflow_id, int32 sequence,
							  Workflow *workflow, Step *step);
extern Task look_task(NullableDatum task_id, View view);	/* look.c */
extern bool same_json(NullableDatum a, NullableDatum b);
extern bool same_text(NullableDatum a, NullableDatum b);

#endif							/* DURABLE_TASK_H */
