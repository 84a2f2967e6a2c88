/*-------------------------------------------------------------------------
 *
 * batch_claim.c
 *	  Many at once: claim_steps.
 *
 * See batch.c for how a batch works, and in which order it locks.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_claim_steps);

/* An element of claim_steps. */
typedef struct Claim
{
	int32		sequence;
	NullableDatum name;
	NullableDatum input;
	Step		step;
	ClaimWay	way;
	bool		done;
	ClaimAnswer answer;
} Claim;

static bool
all_claimed(const Claim *claims, int count)
{
	for (int i = 0; i < count; i++)
		if (!claims[i].done)
			return false;
	return true;
}

/* Looks at the workflow and its steps that are not done; false if there is no such workflow. */
static bool
look_claims(const pg_uuid_t *workflow_id, Claim *claims, int count, Workflow *workflow)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, count);
	Column		sequences = new_column(INT4OID, count);
	uint64		row = 0;

	for (int i = 0; i < count; i++)
	{
		if (claims[i].done)
			continue;
		append_element(&workflow_ids, a_value(UUIDPGetDatum(workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(claims[i].sequence)));
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	run_plan(PLAN_LOOK_STEPS, &params, NEWEST);
	for (int i = 0; i < count; i++)
		if (!claims[i].done &&
			!read_look_at_step(row++, workflow_id, claims[i].sequence, workflow, &claims[i].step))
			return false;
	return true;
}

/* Decides by the last look; returns whether anything is to be claimed. */
static bool
decide_claims(const Workflow *workflow, Claim *claims, int count, ClaimArgs *args, TimestampTz now)
{
	bool		any = false;

	for (int i = 0; i < count; i++)
	{
		Claim	   *c = &claims[i];
		Refusal    *refusal;

		if (c->done)
			continue;
		args->name = c->name;
		refusal = decide_claim(workflow, &c->step, args, now, &c->answer, &c->way);
		if (refusal)
		{
			c->answer.action = "STOP";
			c->answer.attempt = a_null();
			c->answer.error = a_value(CStringGetTextDatum(refusal_text(refusal)));
		}
		c->done = c->way == CLAIM_NOTHING;
		any = any || !c->done;
	}
	return any;
}

/* Creates the steps that are not there, and claims them. */
static void
claim_new_steps(const Workflow *workflow, Claim *claims, int count, const ClaimArgs *args, TimestampTz now)
{
	Params		params = {0};
	Column		sequences = new_column(INT4OID, count);
	Column		names = new_column(TEXTOID, count);
	Column		inputs = new_column(JSONBOID, count);
	uint64		created;

	for (int i = 0; i < count; i++)
	{
		if (claims[i].done || claims[i].way != CLAIM_NEW)
			continue;
		append_element(&sequences, a_value(Int32GetDatum(claims[i].sequence)));
		append_element(&names, claims[i].name);
		append_element(&inputs, claims[i].input);
	}
	if (sequences.count == 0)
		return;
	param_id(&params, &workflow->id);
	param_column(&params, &sequences);
	param_int(&params, workflow->lease);
	param_kind(&params, args->kind);
	param_column(&params, &names);
	param_column(&params, &inputs);
	param_policy(&params, args, now);
	created = run_plan(PLAN_CLAIM_NEW_STEPS, &params, NEWEST);
	for (uint64 row = 0; row < created; row++)
		claims[DatumGetInt32(result_value(row, 0)) - claims[0].sequence].done = true;
	if (claims[count - 1].done && claims[count - 1].way == CLAIM_NEW)
		expect_new_step(&workflow->id, claims[count - 1].sequence + 1);
}

/* Claims the steps that are there. */
static void
claim_steps_again(const Workflow *workflow, Claim *claims, int count, const ClaimArgs *args, TimestampTz now)
{
	Params		params = {0};
	Column		sequences = new_column(INT4OID, count);
	Column		pending = new_column(BOOLOID, count);
	Column		leases = new_column(INT4OID, count);
	Column		attempts = new_column(INT4OID, count);
	Column		next_attempts = new_column(INT4OID, count);
	Column		workflow_ids = new_column(UUIDOID, count);
	uint64		claimed;

	for (int i = 0; i < count; i++)
	{
		const Claim *c = &claims[i];

		if (c->done || c->way != CLAIM_AGAIN)
			continue;
		append_element(&sequences, a_value(Int32GetDatum(c->sequence)));
		append_element(&pending, a_value(BoolGetDatum(c->step.status == PENDING)));
		append_element(&leases, a_value(Int32GetDatum(c->step.lease)));
		append_element(&attempts, a_value(Int32GetDatum(c->step.attempt)));
		append_element(&next_attempts, c->answer.attempt);
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&workflow->id)));
	}
	if (sequences.count == 0)
		return;
	param_id(&params, &workflow->id);
	param_column(&params, &sequences);
	param_int(&params, workflow->lease);
	param_column(&params, &pending);
	param_column(&params, &leases);
	param_column(&params, &attempts);
	param_column(&params, &next_attempts);
	param_policy(&params, args, now);
	param_column(&params, &workflow_ids);
	claimed = run_plan(PLAN_CLAIM_STEPS_AGAIN, &params, NEWEST);
	for (uint64 row = 0; row < claimed; row++)
		claims[DatumGetInt32(result_value(row, 0)) - claims[0].sequence].done = true;
}

/* What is claimed by now, and was not before: looks again if we have waited. */
static void
check_claimed(const pg_uuid_t *workflow_id, Claim *claims, int count, NullableDatum lease, TimestampTz before)
{
	int32	   *sequences = palloc(count * sizeof(int32));
	int			n = 0;
	Refusal    *refusal;

	for (int i = 0; i < count; i++)
		if (claims[i].done && claims[i].way != CLAIM_NOTHING)
		{
			sequences[n++] = claims[i].sequence;
			claims[i].way = CLAIM_NOTHING;
		}
	refusal = refuse_after_wait(workflow_id, sequences, n, lease, before);
	if (refusal)
		raise_refusal(refusal);
}

/*
 * As claim does in step.c: where new steps are expected, they are claimed
 * without a look.
 */
static void
claim_expected_steps(const pg_uuid_t *workflow_id, Claim *claims, int count, const ClaimArgs *args)
{
	KnownTree	tree;
	bool		any = false;
	TimestampTz now;
	Workflow	workflow = {.id = *workflow_id};

	if (count == 0 || args->lease.isnull || XactReadOnly ||
		!expects_new_step(workflow_id, claims[0].sequence) || !try_lock_known_tree(workflow_id, &tree))
		return;
	now = clock_now();
	workflow.lease = DatumGetInt32(args->lease.value);
	for (int i = 0; i < count; i++)
	{
		claims[i].way = CLAIM_NEW;
		id_step(workflow_id, claims[i].sequence, &claims[i].answer.step_id);
		claims[i].answer.action = "EXECUTE";
		claims[i].answer.attempt = a_value(Int32GetDatum(1));
		claims[i].answer.output = claims[i].answer.error = a_null();
		claims[i].answer.detail = claims[i].answer.run_at = a_null();
	}
	claim_new_steps(&workflow, claims, count, args, now);
	for (int i = 0; i < count; i++)
		any = any || claims[i].done;
	if (any)
		check_claimed(workflow_id, claims, count, args->lease, now);
	else
		unlock_known_tree(&tree);
}

/*
 * claim_steps(workflow_id, first_sequence, names, inputs, kind, lease,
 *			   executor_id, max_retries, backoff, backoff_multiplier,
 *			   max_backoff, timeout)
 *
 * Where all is recorded, or nothing can be claimed, nothing is locked or
 * written.  Locks the tree (shared), then the new positions in the primary key,
 * then the rows of the steps that are there, each in order.
 */
Datum
durable_claim_steps(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[2];
	NullableDatum inputs = fcinfo->args[3];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *workflow_id;
	int			count;
	ClaimArgs	args;
	Column		name_column;
	Column		input_column;
	Claim	   *claims;
	Workflow	workflow;
	Call		call;
	NullableDatum columns[8];

	require(fcinfo->args[0], "workflow_id");
	workflow_id = PG_GETARG_UUID_P(0);
	count = require_batch(names, "names");
	require_sequences(fcinfo->args[1], count);
	check_array_beside(inputs, "inputs", count, "names");
	name_column = column_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&name_column, i), "names");
	args = claim_args(fcinfo, 3);

	begin_rows_of(fcinfo, lengthof(columns));
	call = begin_call(fcinfo);
	input_column = column_of(inputs, JSONBOID, count);
	claims = palloc0(Max(count, 1) * sizeof(Claim));
	for (int i = 0; i < count; i++)
		claims[i] = (Claim)
		{
			.sequence = PG_GETARG_INT32(1) + i,.name = element_of(&name_column, i),.input = element_of(&input_column, i)
		};

	claim_expected_steps(workflow_id, claims, count, &args);
	while (!all_claimed(claims, count))
	{
		TimestampTz now = clock_now();
		TimestampTz before;
		Refusal    *refusal;

		if (!look_claims(workflow_id, claims, count, &workflow))
		{
			look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
			continue;
		}
		if ((refusal = refuse_claim_in(&workflow, args.lease, now)) != NULL)
			raise_refusal(refusal);
		if (!decide_claims(&workflow, claims, count, &args, now))
			break;

		before = clock_now();
		lock_tree(&workflow.root_id, TREE_SHARED);
		/* a cascade may have changed what we saw, and the time is not that of before */
		if (clock_now() - before > LONG_WAIT)
			continue;
		claim_new_steps(&workflow, claims, count, &args, now);
		claim_steps_again(&workflow, claims, count, &args, now);
		check_claimed(workflow_id, claims, count, args.lease, now);
	}

	for (int i = 0; i < count; i++)
	{
		const ClaimAnswer *answer = &claims[i].answer;

		columns[0] = a_value(Int32GetDatum(claims[i].sequence));
		columns[1] = a_value(UUIDPGetDatum(&answer->step_id));
		columns[2] = a_value(enum_datum(column_type(rsinfo->setDesc, 2), answer->action));
		columns[3] = answer->output;
		columns[4] = answer->error;
		columns[5] = answer->attempt;
		columns[6] = answer->run_at;
		columns[7] = answer->detail;
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
