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
	ClaimAnswer answer;
} Claim;

/* All of them. */
typedef struct Claims
{
	pg_uuid_t	workflow_id;
	Workflow	workflow;
	NullableDatum lease;		/* under which they are claimed */
	ClaimArgs  *args;
	int			count;
	Claim	   *elements;		/* in the order of positions */
	Rounds		rounds;
} Claims;

/* Looks at the workflow and its steps. */
static void
look_claims(Claims *claims)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, claims->count);
	Column		sequences = new_column(INT4OID, claims->count);

	for (int i = 0; i < claims->count; i++)
	{
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&claims->workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(claims->elements[i].sequence)));
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	run_plan(PLAN_LOOK_STEPS, &params, NEWEST);
	for (int i = 0; i < claims->count; i++)
		if (!read_look_at_step(i, &claims->workflow_id, claims->elements[i].sequence,
							   &claims->workflow, &claims->elements[i].step))
			look_workflow_or_raise(&claims->workflow_id, "workflow_id", NEWEST, &claims->workflow);
}

/* Decides by the last look; returns whether anything is to be claimed. */
static bool
decide_claims(Claims *claims, TimestampTz now)
{
	bool		any = false;

	for (int i = 0; i < claims->count; i++)
	{
		Claim	   *c = &claims->elements[i];
		Refusal    *refusal;

		claims->args->name = c->name;
		refusal = decide_claim(&claims->workflow, &c->step, claims->args, now, &c->answer, &c->way);
		if (refusal)
		{
			c->answer.action = "STOP";
			c->answer.attempt = a_null();
			c->answer.error = a_value(CStringGetTextDatum(refusal_text(refusal)));
		}
		any = any || c->way != CLAIM_NOTHING;
	}
	return any;
}

/* Creates the steps that are not there, and claims them; returns whether all could be. */
static bool
claim_new_steps(Claims *claims, TimestampTz now)
{
	Params		params = {0};
	Column		sequences = new_column(INT4OID, claims->count);
	Column		names = new_column(TEXTOID, claims->count);
	Column		inputs = new_column(JSONBOID, claims->count);
	const Claim *last = &claims->elements[claims->count - 1];

	for (int i = 0; i < claims->count; i++)
	{
		if (claims->elements[i].way != CLAIM_NEW)
			continue;
		append_element(&sequences, a_value(Int32GetDatum(claims->elements[i].sequence)));
		append_element(&names, claims->elements[i].name);
		append_element(&inputs, claims->elements[i].input);
	}
	if (sequences.count == 0)
		return true;
	param_id(&params, &claims->workflow_id);
	param_column(&params, &sequences);
	param(&params, claims->lease);
	param_kind(&params, claims->args->kind);
	param_column(&params, &names);
	param_column(&params, &inputs);
	param_policy(&params, claims->args, now);
	if (run_plan(PLAN_CLAIM_NEW_STEPS, &params, NEWEST) < sequences.count)
		return false;
	if (last->way == CLAIM_NEW)
		expect_new_step(&claims->workflow_id, last->sequence + 1);
	return true;
}

/* Claims the steps that are there; returns whether all could be. */
static bool
claim_steps_again(Claims *claims)
{
	Params		params = {0};
	Params		lock = {0};
	Column		sequences = new_column(INT4OID, claims->count);
	Column		pending = new_column(BOOLOID, claims->count);
	Column		leases = new_column(INT4OID, claims->count);
	Column		attempts = new_column(INT4OID, claims->count);
	Column		next_attempts = new_column(INT4OID, claims->count);
	Column		workflow_ids = new_column(UUIDOID, claims->count);

	for (int i = 0; i < claims->count; i++)
	{
		const Claim *c = &claims->elements[i];

		if (c->way != CLAIM_AGAIN)
			continue;
		append_element(&sequences, a_value(Int32GetDatum(c->sequence)));
		append_element(&pending, a_value(BoolGetDatum(c->step.status == PENDING)));
		append_element(&leases, a_value(Int32GetDatum(c->step.lease)));
		append_element(&attempts, a_value(Int32GetDatum(c->step.attempt)));
		append_element(&next_attempts, c->answer.attempt);
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&claims->workflow_id)));
	}
	if (sequences.count == 0)
		return true;
	param_column(&lock, &workflow_ids);
	param_column(&lock, &sequences);
	run_plan(PLAN_LOCK_STEPS, &lock, NEWEST);

	param_id(&params, &claims->workflow_id);
	param_column(&params, &sequences);
	param(&params, claims->lease);
	param_column(&params, &pending);
	param_column(&params, &leases);
	param_column(&params, &attempts);
	param_column(&params, &next_attempts);
	param_policy(&params, claims->args, clock_now());
	param_column(&params, &workflow_ids);
	return run_plan(PLAN_CLAIM_STEPS_AGAIN, &params, NEWEST) == sequences.count;
}

/* Claims what is to be claimed, under the tree's lock; false if anything was overtaken, or had to wait. */
static bool
write_claims(Claims *claims)
{
	if (!claim_steps_again(claims))
		return false;
	claims->rounds.since = clock_monotonic();
	if (!claim_new_steps(claims, clock_now()) || has_waited(&claims->rounds, claims->count))
		return false;
	recorded_under(&claims->workflow_id, claims->args->lease);
	return true;
}

static bool
claim_looked_at(void *arg)
{
	Claims	   *claims = arg;

	lock_tree(&claims->workflow.root_id, TREE_SHARED);
	claims->lease = a_value(Int32GetDatum(claims->workflow.lease));
	return write_claims(claims);
}

/* As claim does in step.c: where new steps are expected, they are claimed without a look. */
static bool
claim_expected(void *arg)
{
	Claims	   *claims = arg;
	pg_uuid_t	root_id;

	if (!try_lock_known_tree(&claims->workflow_id, &root_id))
		return false;
	claims->lease = claims->args->lease;
	for (int i = 0; i < claims->count; i++)
	{
		Claim	   *c = &claims->elements[i];

		c->way = CLAIM_NEW;
		id_step(&claims->workflow_id, c->sequence, &c->answer.step_id);
		c->answer.action = "EXECUTE";
		c->answer.attempt = a_value(Int32GetDatum(1));
		c->answer.output = c->answer.error = c->answer.detail = c->answer.run_at = a_null();
	}
	return write_claims(claims);
}

/*
 * claim_steps(workflow_id, first_sequence, names, inputs, kind, lease,
 *			   executor_id, max_retries, backoff, backoff_multiplier,
 *			   max_backoff, timeout)
 *
 * Where all is recorded, or nothing can be claimed, nothing is locked or
 * written.  Locks the tree (shared), then the rows of the steps that are there,
 * then the new positions in the primary key, each in order: complete_and_claim,
 * too, has a row when it waits for a position.
 */
Datum
durable_claim_steps(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[2];
	NullableDatum inputs = fcinfo->args[3];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	ClaimArgs	args;
	Column		name_column;
	Column		input_column;
	Claims		claims = {.args = &args};
	uint64		seen;
	bool		done;
	Call		call;
	NullableDatum columns[8];

	require(fcinfo->args[0], "workflow_id");
	count = require_batch(names, "names");
	require_sequences(fcinfo->args[1], count);
	check_array_beside(inputs, "inputs", count, "names");
	name_column = column_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&name_column, i), "names");
	args = claim_args(fcinfo, 3);

	begin_rows_of(fcinfo, lengthof(columns));
	input_column = column_of(inputs, JSONBOID, count);
	claims.workflow_id = *PG_GETARG_UUID_P(0);
	claims.count = count;
	claims.elements = palloc0(Max(count, 1) * sizeof(Claim));
	for (int i = 0; i < count; i++)
		claims.elements[i] = (Claim)
		{
			.sequence = PG_GETARG_INT32(1) + i,.name = element_of(&name_column, i),.input = element_of(&input_column, i)
		};

	call = begin_call(fcinfo);
	done = count == 0 ||
		(!args.lease.isnull && !XactReadOnly && expects_new_step(&claims.workflow_id, PG_GETARG_INT32(1)) &&
		 write_batch(claim_expected, &claims));
	while (!done)
	{
		TimestampTz now = clock_now();
		Refusal    *refusal;

		look_claims(&claims);
		if ((refusal = refuse_claim_in(&claims.workflow, args.lease, now)) != NULL)
			raise_refusal(refusal);
		done = !decide_claims(&claims, now) || write_batch(claim_looked_at, &claims);
		if (done)
			break;
		seen = 0;
		for (int i = 0; i < count; i++)
			seen = seen * 31 + seen_of(&claims.workflow, &claims.elements[i].step);
		next_round(&claims.rounds, "durable.step", seen);
	}

	for (int i = 0; i < count; i++)
	{
		const ClaimAnswer *answer = &claims.elements[i].answer;

		columns[0] = a_value(Int32GetDatum(claims.elements[i].sequence));
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
