/*-------------------------------------------------------------------------
 *
 * patch.c
 *	  patched: which way a program goes that has changed since it began.
 *
 * The marker of a patch is a step that is COMPLETED from its beginning.  Its position
 * tells the way for good: a marker there means the new one, any other step the old
 * one.  So what was asked is answered from what was read, and nothing is written.
 *
 * Where nothing is recorded, the call writes the marker under the conditions and
 * locks of a claim (step_claim.c): the tree (shared), then the position, in the
 * primary key.  Of two callers at one position, of whichever program, the second
 * waits there, and then finds what the first has recorded.  The workflow's row is not
 * locked: the marker commits only under the lease at which it was written (fence.c).
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_patched);

#define INSERT_MARKER(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(name, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(InsertMarker, INSERT_MARKER);

static Statement insert_marker = STATEMENT(InsertMarker,
	"INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, started_at, completed_at) "
	"SELECT w.id, :sequence, w.lease, 1, {step to PATCH}, 'STEP', :name, :now, :now FROM durable.workflow w "
	"WHERE w.id = :workflow_id AND w.lease = :lease AND " OPEN_AT(":now")
	" ON CONFLICT (workflow_id, sequence) DO NOTHING");

static bool
is_marker(const Step *step, const char *name)
{
	return step->kind == STEP && step->status == COMPLETED && strcmp(step->name, name) == 0;
}

/* Records the marker; false if somebody else has the position, or if we had to wait for it. */
static bool
record_marker(const Workflow *workflow, const Step *step, const char *name, Rounds *rounds)
{
	lock_tree(&workflow->root_id, TREE_SHARED);
	watch_waits(rounds);
	if (run(&insert_marker, &(InsertMarker)
			{
				.workflow_id = an_id(&workflow->id),.sequence = an_int(step->sequence),.lease = an_int(workflow->lease),
				.name = a_value(CStringGetTextDatum(name)),.now = a_time(clock_now())
			}, NEWEST) == 0)
		return false;
	if (!has_waited(rounds, 1))
		return true;
	take_back_step(&workflow->id, step->sequence);
	return false;
}

/* Whether the program goes the new way at that position. */
static bool
patched(const pg_uuid_t *workflow_id, int32 sequence, const char *name, NullableDatum lease)
{
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		Refusal    *refusal;

		if (!look_step(workflow_id, sequence, NEWEST, &workflow, &step))
			look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
		if ((refusal = refuse_claim_in(&workflow, lease, clock_now())) != NULL)
			raise_refusal(refusal);
		if (step.status != NO_TASK)
			return is_marker(&step, name);
		if ((refusal = refuse_new_position(&workflow, sequence)) != NULL)
			raise_refusal(refusal);
		if (record_marker(&workflow, &step, name, &rounds))
			break;
	}
	recorded_under(workflow_id, lease);
	expect_new_step(workflow_id, sequence + 1);
	return true;
}

/* patched(workflow_id, sequence, name, lease) */
Datum
durable_patched(PG_FUNCTION_ARGS)
{
	char	   *name;
	bool		is_new_way;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_sequence(fcinfo->args[1]);
	require_name(fcinfo->args[2], "name");
	require_fence(fcinfo->args[3], "lease");
	name = psprintf("patch:%s", TextDatumGetCString(fcinfo->args[2].value));

	call = begin_call(fcinfo);
	is_new_way = patched(PG_GETARG_UUID_P(0), PG_GETARG_INT32(1), name, fcinfo->args[3]);
	end_call(&call);
	PG_RETURN_BOOL(is_new_way);
}
