/*-------------------------------------------------------------------------
 *
 * step_pair_write.c
 *	  One step is completed and the next is claimed at once: the statement, and its
 *	  fast path, which the batch uses, too.
 *
 * For who holds the tree's lock.  Asks for all that makes both legal, and does not wait
 * for the row of the completed step.
 *
 *-------------------------------------------------------------------------
 */
#include "outcome.h"
#include "step_internal.h"

#include "access/xact.h"
#include "catalog/pg_type.h"

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
	"WITH " FREE_STEP(" AND " OPEN_TO_NEW_AT(":now")) ", "
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
uint64
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
