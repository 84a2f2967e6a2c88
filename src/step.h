/*-------------------------------------------------------------------------
 *
 * step.h
 *	  Steps: their rows, and how they end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_STEP_H
#define DURABLE_STEP_H

#include "task.h"

struct Positions;

/* A step that is to be completed: arguments of complete. */
typedef struct StepCompletion
{
	pg_uuid_t	id;
	pg_uuid_t	workflow_id;	/* this and the sequence are in the id */
	int32		sequence;
	NullableDatum output;
	NullableDatum lease;
	NullableDatum attempt;
} StepCompletion;

/* step_row.c */
extern void take_back_step(const pg_uuid_t *workflow_id, int32 sequence);
extern void lock_steps(const struct Positions *positions);
extern void lock_step(const pg_uuid_t *workflow_id, int32 sequence);

/* step_outcome.c */
extern Refusal *refuse_attempt_of_workflow(NullableDatum attempt, const char *argument);
extern Refusal *refuse_outcome(const Workflow *workflow, const Step *step, const char *argument,
							   NullableDatum lease, NullableDatum attempt);
extern Refusal *refuse_completion(const Step *step, NullableDatum output, bool *repeated);
extern Refusal *refuse_wait(const Step *step, const char *argument, const char *hint);
extern void look_step_to_end(const pg_uuid_t *id, const char *argument, NullableDatum lease,
							 NullableDatum attempt, Workflow *workflow, Step *step);

/* step_end.c */
extern StepCompletion step_completion(const pg_uuid_t *id, NullableDatum output, NullableDatum lease,
									  NullableDatum attempt);
extern bool complete_step(const StepCompletion *completion, const char *argument);
extern bool complete_steps(const StepCompletion *completions, int count, TimestampTz now);

#endif							/* DURABLE_STEP_H */
