/*-------------------------------------------------------------------------
 *
 * step_pair.c
 *	  complete_and_claim: one step is completed, and the next is claimed.  Its
 *	  batch is in step_pair_many.c.
 *
 * Where nothing is in the way, one statement does both.  It is made of the parts of
 * complete_step (step_end.c) and claim_step (step_claim.c).  It asks for all that
 * makes both legal, and does not wait for the row of the completed step.  If the
 * next position is taken, it completes the step only, and a claim by itself follows.
 * If it does nothing, the two follow one after the other, as two calls in one
 * transaction would.  An earlier position than that of the completed step is claimed
 * as in a batch, which locks rows in the order of positions.
 *
 * Locks the tree (shared), the row of the step that is completed, then the
 * position of the one that is claimed, in the primary key, where it may have to
 * wait for another claim.  If that is then rolled back, the times of ours are too
 * old: our claim is taken back and begun anew, and the completion stands.
 *
 *-------------------------------------------------------------------------
 */
#include "step_internal.h"


PG_FUNCTION_INFO_V1(durable_complete_and_claim);

static void
raise_if_wait(const StepCompletion *completion)
{
	Workflow	workflow;
	Step		step;
	Refusal    *refusal = NULL;

	if (look_step(&completion->workflow_id, completion->sequence, NEWEST, &workflow, &step))
		refusal = refuse_to_complete_wait(&step, "step_id");
	if (refusal)
		raise_refusal(refusal);
}

/*
 * Completes a step, and claims the next; what forbids the claim stands in its
 * answer.
 */
static void
complete_then_claim(const StepCompletion *completion, const ClaimArgs *args, Claim *claim)
{
	const pg_uuid_t *workflow_id = &claim->workflow_id;
	pg_uuid_t	root_id;
	Rounds		rounds = {0};
	uint64		done = 0;

	id_step(workflow_id, claim->sequence, &claim->answer.step_id);
	if (claim->sequence < completion->sequence)
	{
		complete_and_claim_earlier(completion, args, claim);
		return;
	}
	claim->under = claim->lease;
	if (!claim->lease.isnull && claim->sequence != completion->sequence && !is_beyond_max_steps(claim->sequence) && !XactReadOnly &&
		try_lock_known_tree(workflow_id, &root_id))
	{
		watch_waits(&rounds);
		done = complete_with_claim(completion, args, claim);
		if (done == BOTH && !has_waited(&rounds, 1))
		{
			expect_new_step(workflow_id, claim->sequence + 1);
			answer_new_step(&claim->answer);
			return;
		}
		if (done == BOTH)
			take_back_step(workflow_id, claim->sequence);
		else if (done == 0)
			unlock_known_tree(&root_id);
	}
	/* where only the claim is to be made, this is a repeated call */
	if (done == 0)
	{
		raise_if_wait(completion);
		complete_step(completion, "step_id");
	}
	claim_step(args, claim);
}

/*
 * complete_and_claim(step_id, output, name, sequence, input, kind, ..., attempt)
 *
 * Once the completion is legal it stands, whatever the claim is refused for.
 */
Datum
durable_complete_and_claim(PG_FUNCTION_ARGS)
{
	NullableDatum output = fcinfo->args[1];
	NullableDatum sequence = fcinfo->args[3];
	NullableDatum attempt = fcinfo->args[13];
	Claim		claim = {.name = fcinfo->args[2],.input = fcinfo->args[4],.lease = fcinfo->args[6]};
	TupleDesc	desc = result_desc(fcinfo, CLAIM_COLUMNS);
	NullableDatum columns[CLAIM_COLUMNS];
	const pg_uuid_t *id;
	Refusal    *refusal;
	StepCompletion completion;
	ClaimArgs	args;
	Call		call;

	require(fcinfo->args[0], "step_id");
	id = PG_GETARG_UUID_P(0);
	refusal = refuse_workflow_id(id, "step_id");
	if (refusal)
		raise_refusal(refusal);
	if (sequence.isnull)
		sequence = an_int(id_sequence(id) + 1);
	require_sequence(sequence);
	claim.sequence = DatumGetInt32(sequence.value);
	require_name(claim.name, "name");
	args = claim_args(fcinfo->args[5], &fcinfo->args[7]);
	require_fences(id, claim.lease, "lease", attempt, "attempt");
	completion = step_completion(id, output, claim.lease, attempt);
	claim.workflow_id = completion.workflow_id;

	call = begin_call(fcinfo);
	complete_then_claim(&completion, &args, &claim);
	fill_answer(desc, 0, &claim.answer, columns);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
