/*-------------------------------------------------------------------------
 *
 * step.h
 *	  Steps: how they are claimed, and how they end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_STEP_H
#define DURABLE_STEP_H

#include "task.h"

/* What a claim asks for: the arguments of claim_step from name on. */
typedef struct ClaimArgs
{
	NullableDatum name;
	NullableDatum input;
	TaskKind	kind;
	NullableDatum lease;
	NullableDatum executor_id;
	NullableDatum max_retries;
	NullableDatum backoff;
	NullableDatum backoff_multiplier;
	NullableDatum max_backoff;
	NullableDatum timeout;
} ClaimArgs;

/* What a claim answers. */
typedef struct ClaimAnswer
{
	pg_uuid_t	step_id;
	const char *action;
	NullableDatum output;
	NullableDatum error;
	NullableDatum attempt;
	NullableDatum run_at;
	NullableDatum detail;
} ClaimAnswer;

typedef enum ClaimWay
{
	CLAIM_NOTHING,				/* the answer is all */
	CLAIM_NEW,					/* the step is to be created */
	CLAIM_AGAIN					/* the step is there and to be claimed */
} ClaimWay;

extern ClaimArgs claim_args(FunctionCallInfo fcinfo, int first);
extern Refusal *decide_claim(const Workflow *workflow, const Step *step, const ClaimArgs *args, TimestampTz now,
							 ClaimAnswer *answer, ClaimWay *way);
extern void take_back_step(const pg_uuid_t *workflow_id, int32 sequence);
extern Refusal *refuse_outcome(const Workflow *workflow, const Step *step, const char *argument,
							   NullableDatum lease, NullableDatum attempt);
extern Refusal *refuse_completion(const Step *step, NullableDatum output, bool *repeated);
extern Refusal *refuse_attempt_of_workflow(NullableDatum attempt, const char *argument);
extern void look_step_to_end(const pg_uuid_t *id, const char *argument, NullableDatum lease,
							 NullableDatum attempt, Workflow *workflow, Step *step);

#endif							/* DURABLE_STEP_H */
