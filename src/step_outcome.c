/*-------------------------------------------------------------------------
 *
 * step_outcome.c
 *	  Which outcome of a step is legal: what forbids it, in which order.
 *
 * Reads structures and looks at rows, and writes nothing; who records an outcome has
 * its own locks.
 *
 *-------------------------------------------------------------------------
 */
#include "step_internal.h"
#include "wait.h"

/* A workflow has no attempts. */
Refusal *
refuse_attempt_of_workflow(NullableDatum attempt, const char *argument)
{
	if (attempt.isnull)
		return NULL;
	return refuse_argument(argument, "must be NULL for a workflow",
						   psprintf("It is %d, and a workflow has no attempts.", DatumGetInt32(attempt.value)),
						   "Pass the lease only.");
}

/*
 * What forbids to record an outcome of a step, before its status is asked for.  In
 * this order: there is no such step; it is a stand-in, whose outcome is that of its
 * child; the lease; the attempt.
 */
Refusal *
refuse_outcome(const Workflow *workflow, const Step *step, const char *argument, NullableDatum lease,
			   NullableDatum attempt)
{
	if (step->status == NO_TASK)
		return refuse_unknown_task(&step->id);
	if (step->kind == WORKFLOW)
		return refuse_argument(argument, "must not be a step that stands for a child workflow",
							   psprintf("%s is step %d of workflow %s, the child \"%s\".", uuid_text(&step->id),
										step->sequence, uuid_text(&step->workflow_id), step->name),
							   is_copy(step) ? "It has its outcome from the workflow that was forked, for good." :
							   step->child_id.isnull ? "The child was not created: there is nothing to end." :
							   psprintf("Use the child's id, %s.", uuid_text(DatumGetUUIDP(step->child_id.value))));
	if (!lease.isnull && DatumGetInt32(lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(lease.value));
	if (!attempt.isnull && DatumGetInt32(attempt.value) != step->attempt)
		return refuse_attempt(step, DatumGetInt32(attempt.value));
	return NULL;
}

/* What forbids to complete a step with that output; *repeated if it is done already. */
Refusal *
refuse_completion(const Step *step, NullableDatum output, bool *repeated)
{
	*repeated = step->status == COMPLETED && same_json(output, step->output);
	if (*repeated)
		return NULL;
	if (step->status == COMPLETED)
		return refuse_other_output("step", &step->id, step->name);
	if (!step_transition(EVENT_COMPLETE, step->status, NULL))
		return refuse_step_status(step, EVENT_COMPLETE);
	return NULL;
}

/* Looks at a step whose outcome is to be recorded, and raises what forbids it. */
void
look_step_to_end(const pg_uuid_t *id, const char *argument, NullableDatum lease, NullableDatum attempt,
				 Workflow *workflow, Step *step)
{
	pg_uuid_t	workflow_id;
	Refusal    *refusal;

	id_workflow(id, &workflow_id);
	if (!look_step(&workflow_id, id_sequence(id), NEWEST, workflow, step))
		raise_refusal(refuse_unknown_task(id));
	refusal = refuse_outcome(workflow, step, argument, lease, attempt);
	if (refusal)
		raise_refusal(refusal);
}

/* What a wait is refused for, because the call is not for waits. */
Refusal *
refuse_wait(const Step *step, const char *argument, const char *hint)
{
	if (step->kind != WAIT)
		return NULL;
	return refuse_argument(argument, "must not be a wait",
						   psprintf("%s is the wait \"%s\" (%s), which nobody runs.", uuid_text(&step->id), step->name,
									step->wait), hint);
}

/* A wait is not completed by who goes on after it. */
Refusal *
refuse_to_complete_wait(const Step *step, const char *argument)
{
	if (step->status == NO_TASK)
		return NULL;
	return refuse_wait(step, argument, "Answer it, or ask for it again, and claim the next step by itself.");
}

/* A step is to be completed here. */
Refusal *
refuse_workflow_id(const pg_uuid_t *id, const char *argument)
{
	if (id_sequence(id) >= 0)
		return NULL;
	return refuse_argument(argument, "must be the id of a step",
						   psprintf("%s is the id of a workflow.", uuid_text(id)),
						   "Use complete to complete a workflow.");
}
