/*-------------------------------------------------------------------------
 *
 * workflow.h
 *	  Workflows: how they begin, change hands, and end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_WORKFLOW_H
#define DURABLE_WORKFLOW_H

#include "task.h"

/* ---- workflow_start.c ------------------------------------------------------ */

/* What start does where there is an unfinished one of that name ... */
typedef enum IfActive
{
	ACTIVE_ATTACHED,
	ACTIVE_REFUSED,
	ACTIVE_REPLACED				/* if it never ran */
} IfActive;

/* ... and where there are finished ones only. */
typedef enum IfFinished
{
	FINISHED_IGNORED,
	FINISHED_RETURNED_IF_COMPLETED,
	FINISHED_RETURNED
} IfFinished;

/* What each root has of its own. */
typedef struct NewRoot
{
	NullableDatum name;
	NullableDatum input;
	NullableDatum concurrency_key;
	NullableDatum tags;
} NewRoot;

/* The other arguments of start, and what only a schedule passes. */
typedef struct StartArgs
{
	IfActive	if_active;
	IfFinished	if_finished;
	NullableDatum handler;
	NullableDatum executor_id;
	NullableDatum queue;
	NullableDatum priority;
	NullableDatum run_at;
	NullableDatum timeout;
	NullableDatum max_recovery_attempts;
	NullableDatum app_version;
	RetryPolicy retries;
	NullableDatum scheduled_for;
	NullableDatum scheduled_by;
} StartArgs;

/* The policy as a workflow has it: none at all is NULL. */
#define WORKFLOW_POLICY(P) \
	P(max_retries, INT4OID) \
	P(backoff, INTERVALOID) \
	P(backoff_multiplier, FLOAT8OID) \
	P(max_backoff, INTERVALOID)
#define WORKFLOW_RETRIES(policy) \
	.max_retries = has_retries(&(policy)) ? (policy).max_retries : a_null(), .backoff = (policy).backoff, \
	.backoff_multiplier = (policy).backoff_multiplier, .max_backoff = (policy).max_backoff

extern const RetryPolicy no_retries;
extern bool start_root(const NewRoot *root, const StartArgs *args, pg_uuid_t *id);
extern RetryPolicy require_workflow_retries(const NullableDatum *from_max_retries, NullableDatum queue);
extern bool look_active_root(Datum name, Workflow *workflow);
extern void take_back_workflow(const pg_uuid_t *id);

/* ---- workflow_own.c -------------------------------------------------------- */

/* Who attaches ... */
typedef enum Attaching
{
	JOINS,
	OWNS,						/* becomes the owner, under a new lease */
	OWNS_IF_DEAD				/* ... where the present one is dead, else joins */
} Attaching;

/* A workflow that changes hands, as it was looked at. */
typedef struct Taking
{
	pg_uuid_t	id;
	int32		lease;
	int32		times;			/* so often, one after the other */
} Taking;

extern int	look_other_versions(const pg_uuid_t *ids, int count, NullableDatum executor_id, NullableDatum app_version);
extern Attaching attaching(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough);
extern bool take(const Taking *takings, int count, NullableDatum executor_id);
extern NullableDatum owner_of(const Workflow *workflow);

/* ---- ancestor.c ------------------------------------------------------------ */

/* A workflow above another. */
typedef struct Ancestor
{
	pg_uuid_t	id;
	TaskStatus	status;
	bool		is_driven;		/* by an executor of its own: it is not inline */
} Ancestor;

extern Ancestor *look_ancestors(const Workflow *workflow, int *count);
extern pg_uuid_t driven_ancestor(const Workflow *workflow);
extern void raise_if_inline(const Workflow *workflow, Event event);
extern void note_news_of(const pg_uuid_t *workflow_id);

/* ---- workflow_child.c ------------------------------------------------------ */

/* setting (init.c): positions are new below this one only; 0 is no limit */
extern int	durable_max_steps;

static inline bool
is_beyond_max_steps(int32 sequence)
{
	return durable_max_steps > 0 && sequence >= durable_max_steps;
}

extern Refusal *refuse_claim_in(const Workflow *workflow, NullableDatum lease, TimestampTz now);
extern Refusal *refuse_new_position(const Workflow *workflow, int32 sequence);

/* ---- workflow_end.c -------------------------------------------------------- */

/* How a workflow ends. */
typedef struct WorkflowEnd
{
	bool		completes;		/* or fails */
	NullableDatum output;
	NullableDatum error;
	NullableDatum detail;
	NullableDatum continued_as; /* the next run, in which it goes on */
} WorkflowEnd;

extern Refusal *refuse_workflow_completion(const Workflow *workflow, NullableDatum output, NullableDatum lease,
										   bool *repeated);
extern bool end_workflow(const Workflow *workflow, const WorkflowEnd *end);
extern bool complete_workflow_row(NullableDatum id, NullableDatum lease, NullableDatum output, NullableDatum now);
extern bool complete_workflow(const pg_uuid_t *id, NullableDatum output, NullableDatum lease);
extern FailAnswer fail_workflow(const pg_uuid_t *id, const Failure *failure);

/* ---- workflow_retry.c ------------------------------------------------------ */

/* The retries of a workflow, and how many there have been. */
typedef struct Retries
{
	RetryPolicy policy;			/* max_retries is NULL where there are none */
	int32		count;
	NullableDatum queue;
	int32		priority;
} Retries;

extern Retries look_retries(const Workflow *workflow);
extern bool retry_workflow(const Workflow *workflow, const Retries *retries, const Failure *failure,
						   FailAnswer *answer);

/* event.c */
extern NullableDatum look_event(NullableDatum workflow_id, NullableDatum topic, NullableDatum after);

#endif							/* DURABLE_WORKFLOW_H */
