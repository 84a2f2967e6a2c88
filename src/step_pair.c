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
#include "outcome.h"
#include "step_internal.h"
#include "wait.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_complete_and_claim);

/* The parameters of the claim are next_name, next_input and so on. */
#define NEXT_ENTRY(name, type) {"next_" #name, type},

static const Parameter CompleteAndClaim_parameters[] = {RECORD_OUTPUT(PARAMETER_ENTRY) INSERT_STEP(NEXT_ENTRY)};

StaticAssertDecl(sizeof(CompleteAndClaim) == lengthof(CompleteAndClaim_parameters) * sizeof(NullableDatum),
				 "each parameter has its value");

/* Whether no step is at a later position, for a look that goes through the steps in order. */
static bool
is_free(Look *look, int32 position)
{
	do
		next_row(look);
	while (look->row && int_of_row(look, step_sequence) < position);
	return look->row == NULL || int_of_row(look, step_sequence) > position;
}

/* The scan that finds the one step goes on to the other. */
int64
fast_complete_and_claim(const void *params)
{
	const CompleteAndClaim *p = params;
	const RecordOutput *completion = &p->completion;
	int32		next = DatumGetInt32(p->claim.sequence.value);
	Key			keys[] = {
		IS_ID(step_workflow_id, completion->workflow_id), IS_FROM(step_sequence, completion->sequence)
	};
	Look		look;
	Writing		writing;
	int32		lease;
	int			done = 0;

	if (XactReadOnly || next <= DatumGetInt32(completion->sequence.value) ||
		!look_at_lease(completion->workflow_id, completion->lease, completion->now, &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, lengthof(keys)))
		return NOT_FAST;
	begin_writing(&writing, &look);
	if (complete_row(&writing, &look, completion, lease))
		done = is_free(&look, next) && insert_claimed_row(&writing, &p->claim, lease) ? BOTH : COMPLETED_ONLY;
	end_writing(&writing);
	end_look(&look);
	return done > 0 ? done : NOT_FAST;
}

/* With a lease, which is also that of the next step.  A row for each of the two that was done. */
static Statement complete_and_claim = STATEMENT(CompleteAndClaim,
	"WITH " FREE_STEP(" AND " OPEN_AT(":now")) ", "
	"completed AS (" SET_OUTPUT_OF_FREE_STEP " RETURNING 1), "
	"claimed AS (" INSERT_CLAIMED_STEP(":workflow_id", ":next_sequence", ":lease", ":next_name", ":next_input", ":next_")
	"FROM completed" UNLESS_THERE " RETURNING 1) "
	"SELECT 1 FROM completed UNION ALL SELECT 1 FROM claimed",
	.fast = fast_complete_and_claim);

CompleteAndClaim
complete_and_claim_values(const StepCompletion *completion, const Claim *claim, const ClaimArgs *args,
						  TimestampTz now)
{
	return (CompleteAndClaim)
	{
		.completion = record_output_values(completion, now),.claim = insert_step_values(claim, args, now)
	};
}

/* Does both at once, under the tree's lock; or the completion alone, or nothing, where that cannot be. */
static uint64
complete_with_claim(const StepCompletion *completion, const ClaimArgs *args, const Claim *claim)
{
	CompleteAndClaim values = complete_and_claim_values(completion, claim, args, clock_now());
	uint64		fast_calls = complete_and_claim.fast_calls;
	uint64		done = run(&complete_and_claim, &values, NEWEST);

	if (done > 0)
	{
		step_has_ended(&completion->id, completion->lease, complete_and_claim.fast_calls > fast_calls);
		recorded_under(&completion->workflow_id, completion->lease);
	}
	return done;
}

/* A wait is not completed by who goes on after it. */
Refusal *
refuse_to_complete_wait(const Step *step, const char *argument)
{
	if (step->status == NO_TASK)
		return NULL;
	return refuse_wait(step, argument, "Answer it, or ask for it again, and claim the next step by itself.");
}

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
		rounds.since = clock_monotonic();
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
	completion = step_completion(id, output, claim.lease, attempt);
	claim.workflow_id = completion.workflow_id;

	call = begin_call(fcinfo);
	complete_then_claim(&completion, &args, &claim);
	fill_answer(desc, 0, &claim.answer, columns);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
