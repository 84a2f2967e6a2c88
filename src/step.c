/*-------------------------------------------------------------------------
 *
 * step.c
 *	  Steps: claim_step, complete, fail, complete_and_claim.
 *
 * All lock the tree (shared) before they write, so that no cascade overlaps
 * them, and after it the one step row; two callers at one position meet there
 * or on the primary key, others never.  What is already recorded is answered
 * from the look, which locks nothing.  The workflow's row is never locked: what
 * is written under its lease commits only if the lease still holds then (fence.c).
 *
 * A call first tries without waiting for the step's row, by what it expects.  If
 * that does nothing, it looks, waits for its locks, and only then takes the time.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include <math.h>

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_claim_step);
PG_FUNCTION_INFO_V1(durable_complete);
PG_FUNCTION_INFO_V1(durable_fail);
PG_FUNCTION_INFO_V1(durable_complete_and_claim);

/* Reads and checks the arguments of a claim but for the name; those from input on stand at first. */
ClaimArgs
claim_args(FunctionCallInfo fcinfo, int first)
{
	NullableDatum *arg = &fcinfo->args[first];
	ClaimArgs	args;

	args.name = a_null();
	args.input = arg[0];
	args.lease = arg[2];
	args.executor_id = arg[3];
	args.max_retries = arg[4];
	args.backoff = arg[5];
	args.backoff_multiplier = arg[6];
	args.max_backoff = arg[7];
	args.timeout = arg[8];

	require(arg[1], "kind");
	args.kind = kind_from_datum(arg[1].value);
	if (args.kind != STEP && args.kind != TRANSACTION)
		bad_argument("kind", "must be STEP or TRANSACTION", psprintf("It is %s.", kind_label(args.kind)),
					 args.kind == WORKFLOW ? "Use start_child for a child workflow." :
					 "A wait is made by a function of its own, not by a claim.");
	check_name(args.executor_id, "executor_id");
	require_not_negative(args.max_retries, "max_retries");
	require(args.backoff, "backoff");
	check_span(args.backoff, "backoff");
	require(args.backoff_multiplier, "backoff_multiplier");
	if (!isfinite(DatumGetFloat8(args.backoff_multiplier.value)) ||
		DatumGetFloat8(args.backoff_multiplier.value) < 0)
		bad_argument("backoff_multiplier", "must be finite and not negative",
					 psprintf("It is %g.", DatumGetFloat8(args.backoff_multiplier.value)),
					 "Pass 1 for a constant backoff, more for one that grows.");
	check_span(args.max_backoff, "max_backoff");
	check_interval(args.timeout, "timeout");

	/* a policy that allows no retry is not stored */
	if (DatumGetInt32(args.max_retries.value) == 0)
		args.backoff = args.backoff_multiplier = args.max_backoff = a_null();
	return args;
}

/* The same with one name, for one step. */
static ClaimArgs
claim_args_of_step(FunctionCallInfo fcinfo, int name, int first)
{
	ClaimArgs	args;

	require_name(fcinfo->args[name], "name");
	args = claim_args(fcinfo, first);
	args.name = fcinfo->args[name];
	return args;
}

/* durable.claimed_step */
#define CLAIM_COLUMNS 7

static Datum
end_call_with_answer(TupleDesc desc, const Call *call, const ClaimAnswer *answer)
{
	NullableDatum columns[CLAIM_COLUMNS];

	columns[0] = a_value(UUIDPGetDatum(&answer->step_id));
	columns[1] = a_value(enum_datum(column_type(desc, 1), answer->action));
	columns[2] = answer->output;
	columns[3] = answer->error;
	columns[4] = answer->attempt;
	columns[5] = answer->run_at;
	columns[6] = answer->detail;
	return end_call_with_row(desc, call, columns);
}

/* The parameters that both ways to claim a step share, in this order. */
void
param_policy(Params *params, const ClaimArgs *args, TimestampTz now)
{
	param(params, args->executor_id);
	param(params, args->max_retries);
	param(params, args->backoff);
	param(params, args->backoff_multiplier);
	param(params, args->max_backoff);
	param(params, args->timeout);
	param_time(params, now);
	param(params, clock_deadline(now, args->timeout));
}

/* The label: a parameter has a built-in type. */
void
param_kind(Params *params, TaskKind kind)
{
	param_datum(params, CStringGetTextDatum(kind_label(kind)));
}

static void
param_new_step(Params *params, const ClaimArgs *args, TimestampTz now)
{
	param_kind(params, args->kind);
	param(params, args->name);
	param(params, args->input);
	param_policy(params, args, now);
}

/* Whether a RUNNING step's own timeout has passed. */
static bool
is_late(const Step *step, TimestampTz now)
{
	return !step->deadline.isnull && DatumGetTimestampTz(step->deadline.value) <= now;
}

/* Whether the caller is the one that holds the step, and asks again. */
static bool
is_holder(const Step *step, const ClaimArgs *args)
{
	return !args->lease.isnull && DatumGetInt32(args->lease.value) == step->lease &&
		!args->executor_id.isnull && same_text(args->executor_id, step->executor_id);
}

/* Takes back a step that this call has created, before anybody could see it. */
void
take_back_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	Params		params = {0};

	param_id(&params, workflow_id);
	param_int(&params, sequence);
	run_plan(PLAN_TAKE_BACK_STEP, &params, NEWEST);
}

/* Locks a step's row. */
static void
lock_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	Params		params = {0};

	param_datum(&params, id_array(workflow_id, 1));
	param_datum(&params, int_array(&sequence, 1));
	run_plan(PLAN_LOCK_STEPS, &params, NEWEST);
}

/*
 * What a claim comes to by what was looked at: fills in the answer, and how the
 * step is to be claimed if it is; or returns what forbids it.
 */
Refusal *
decide_claim(const Workflow *workflow, const Step *step, const ClaimArgs *args, TimestampTz now,
			 ClaimAnswer *answer, ClaimWay *way)
{
	bool		finished = workflow->status != RUNNING;

	answer->step_id = step->id;
	answer->output = answer->error = answer->detail = answer->run_at = a_null();
	answer->attempt = a_value(Int32GetDatum(step->attempt));
	*way = CLAIM_NOTHING;

	if (step->status != NO_TASK)
	{
		const char *name = TextDatumGetCString(args->name.value);

		if (step->kind != args->kind || strcmp(step->name, name) != 0)
			return refuse_other_step(step, name, args->kind);
		if (step->status == COMPLETED)
		{
			answer->action = "REPLAY";
			answer->output = step->output;
			return NULL;
		}
		if (step->status == FAILED)
		{
			answer->action = "FAILED";
			answer->error = step->error;
			answer->detail = step->detail;
			return NULL;
		}
	}
	if (finished)
		return refuse_finished(workflow);
	if (!step_transition(EVENT_CLAIM, step->status, NULL))
		return refuse_step_status(step, EVENT_CLAIM);

	if (step->status == PENDING && !step->run_at.isnull && DatumGetTimestampTz(step->run_at.value) > now)
	{
		answer->action = "WAIT";
		answer->run_at = step->run_at;
		return NULL;
	}
	if (step->status == RUNNING && step->lease == workflow->lease && !is_late(step, now))
	{
		if (!is_holder(step, args))
		{
			answer->action = "LOCKED";
			return NULL;
		}
		/* the same attempt */
	}
	else
		answer->attempt = a_value(Int32GetDatum(step->status == NO_TASK ? 1 : step->attempt + 1));
	answer->action = "EXECUTE";
	*way = step->status == NO_TASK ? CLAIM_NEW : CLAIM_AGAIN;
	return NULL;
}

/* The answer of a claim that has created the step. */
static void
answer_new_step(const pg_uuid_t *workflow_id, int32 sequence, ClaimAnswer *answer)
{
	expect_new_step(workflow_id, sequence + 1);
	id_step(workflow_id, sequence, &answer->step_id);
	answer->action = "EXECUTE";
	answer->attempt = a_value(Int32GetDatum(1));
	answer->output = answer->error = answer->detail = answer->run_at = a_null();
}

/*
 * Creates the step and claims it; false if somebody was faster, or if we had to
 * wait for another claim that was then rolled back: what was asked and written is
 * of before, so it is taken back.
 */
static bool
create_step(const pg_uuid_t *workflow_id, int32 sequence, NullableDatum lease, const ClaimArgs *args,
			Rounds *rounds, ClaimAnswer *answer)
{
	Params		params = {0};

	rounds->since = clock_monotonic();
	param_id(&params, workflow_id);
	param_int(&params, sequence);
	param(&params, lease);
	param_new_step(&params, args, clock_now());
	if (run_plan(PLAN_CLAIM_NEW_STEP, &params, NEWEST) == 0)
		return false;
	if (has_waited(rounds, 1))
	{
		take_back_step(workflow_id, sequence);
		return false;
	}
	recorded_under(workflow_id, args->lease);
	answer_new_step(workflow_id, sequence, answer);
	return true;
}

/* Claims a step that is there, as it was looked at; false if something overtook us. */
static bool
claim_again(const Workflow *workflow, const Step *step, const ClaimArgs *args, const ClaimAnswer *answer)
{
	Params		params = {0};

	lock_step(&step->workflow_id, step->sequence);
	param_id(&params, &step->workflow_id);
	param_int(&params, step->sequence);
	param_int(&params, workflow->lease);
	param_bool(&params, step->status == PENDING);
	param_int(&params, step->lease);
	param_int(&params, step->attempt);
	param(&params, answer->attempt);
	param_policy(&params, args, clock_now());
	if (run_plan(PLAN_CLAIM_STEP_AGAIN, &params, NEWEST) == 0)
		return false;
	recorded_under(&step->workflow_id, args->lease);
	return true;
}

/*
 * Finds or creates the step at that position and claims it: fills in the
 * answer, or returns what forbids it.
 *
 * The statement that creates a step asks all that makes that legal, so where a
 * new one is expected it goes first, and the look only tells why it did nothing.
 */
static Refusal *
claim(const pg_uuid_t *workflow_id, int32 sequence, const ClaimArgs *args, ClaimAnswer *answer)
{
	pg_uuid_t	root_id;
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	if (!args->lease.isnull && !XactReadOnly && expects_new_step(workflow_id, sequence) &&
		try_lock_known_tree(workflow_id, &root_id))
	{
		if (create_step(workflow_id, sequence, args->lease, args, &rounds, answer))
			return NULL;
		/* unless something was taken back, nothing was locked or written */
		if (rounds.waits == 0)
			unlock_tree(&root_id, TREE_SHARED);
	}

	id_step(workflow_id, sequence, &answer->step_id);
	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		TimestampTz now = clock_now();
		Refusal    *refusal;
		ClaimWay	way;

		if (!look_step(workflow_id, sequence, NEWEST, &workflow, &step))
			look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
		if ((refusal = refuse_claim_in(&workflow, args->lease, now)) != NULL)
			return refusal;
		refusal = decide_claim(&workflow, &step, args, now, answer, &way);
		if (refusal || way == CLAIM_NOTHING)
			return refusal;

		/* the statements ask again what a cascade may change meanwhile */
		lock_tree(&workflow.root_id, TREE_SHARED);
		if (way == CLAIM_NEW ?
			create_step(workflow_id, sequence, a_value(Int32GetDatum(workflow.lease)), args, &rounds, answer) :
			claim_again(&workflow, &step, args, answer))
			return NULL;
	}
}

/* claim_step(workflow_id, sequence, name, ...) */
Datum
durable_claim_step(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo, CLAIM_COLUMNS);
	Call		call;
	ClaimArgs	args;
	ClaimAnswer answer;
	Refusal    *refusal;

	require(fcinfo->args[0], "workflow_id");
	require_sequence(fcinfo->args[1]);
	args = claim_args_of_step(fcinfo, 2, 3);

	call = begin_call(fcinfo);
	refusal = claim(PG_GETARG_UUID_P(0), PG_GETARG_INT32(1), &args, &answer);
	if (refusal)
		raise_refusal(refusal);
	PG_RETURN_DATUM(end_call_with_answer(desc, &call, &answer));
}

/*
 * What forbids that a step's outcome is recorded, whatever its status, in this
 * order: that it is not there (or has the outcome of the child that it stands
 * for), the lease, the attempt.
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
							   psprintf("Use the child's id, %s.", uuid_text(DatumGetUUIDP(step->child_id.value))));
	if (!lease.isnull && DatumGetInt32(lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(lease.value));
	if (!attempt.isnull && DatumGetInt32(attempt.value) != step->attempt)
		return refuse_attempt(step, DatumGetInt32(attempt.value));
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

/* The parameters of STEP_TO_COMPLETE (statements.h), and the output. */
static void
param_completion(Params *params, const pg_uuid_t *id, NullableDatum output, NullableDatum lease,
				 NullableDatum attempt, pg_uuid_t *workflow_id)
{
	id_workflow(id, workflow_id);
	param_id(params, workflow_id);
	param_int(params, id_sequence(id));
	param(params, lease);
	param(params, attempt);
	param(params, output);
}

/* Completes a step, given all parameters but the time; false if it may not be, is not to be, or is locked. */
static bool
run_completion(const Params *but_time, const pg_uuid_t *workflow_id, NullableDatum lease)
{
	Params		params = *but_time;

	param_time(&params, clock_now());
	if (run_plan(PLAN_COMPLETE_STEP, &params, NEWEST) == 0)
		return false;
	recorded_under(workflow_id, lease);
	return true;
}

/*
 * complete of a step: true if this call did it, false if it was done with an
 * equal output.
 *
 * The statement itself asks all that makes a completion legal, so where the
 * tree is known it goes first, and the look only tells why it found nothing.
 */
static bool
complete_step(const pg_uuid_t *id, const char *argument, NullableDatum output, NullableDatum lease,
			  NullableDatum attempt)
{
	Params		params = {0};
	pg_uuid_t	workflow_id;
	pg_uuid_t	root_id;
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	param_completion(&params, id, output, lease, attempt, &workflow_id);
	/* where nothing may be written, a repeated call is still answered, by the look */
	if (!XactReadOnly && try_lock_known_tree(&workflow_id, &root_id))
	{
		if (run_completion(&params, &workflow_id, lease))
			return true;
		unlock_known_tree(&root_id);
	}

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		Refusal    *refusal;
		bool		repeated;

		look_step_to_end(id, argument, lease, attempt, &workflow, &step);
		if ((refusal = refuse_completion(&step, output, &repeated)) != NULL)
			raise_refusal(refusal);
		if (repeated)
			return false;
		lock_tree(&workflow.root_id, TREE_SHARED);
		if (run_completion(&params, &workflow_id, lease))
			return true;
		lock_step(&workflow_id, step.sequence);
		if (run_completion(&params, &workflow_id, lease))
			return true;
	}
}

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

static void
check_no_attempt(NullableDatum attempt)
{
	Refusal    *refusal = refuse_attempt_of_workflow(attempt, "attempt");

	if (refusal)
		raise_refusal(refusal);
}

/* complete(task_id, output, lease, attempt) */
Datum
durable_complete(PG_FUNCTION_ARGS)
{
	NullableDatum output = fcinfo->args[1];
	NullableDatum lease = fcinfo->args[2];
	NullableDatum attempt = fcinfo->args[3];
	bool		done;
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	if (id_sequence(PG_GETARG_UUID_P(0)) < 0)
	{
		check_no_attempt(attempt);
		done = complete_workflow(PG_GETARG_UUID_P(0), output, lease);
	}
	else
		done = complete_step(PG_GETARG_UUID_P(0), "task_id", output, lease, attempt);
	end_call(&call);
	PG_RETURN_BOOL(done);
}

/*
 * When the next attempt is due: after what the caller asks for, or else after
 * backoff * max(1, multiplier ^ (retry - 1)), at most max_backoff.
 */
static TimestampTz
retry_at(const Step *step, NullableDatum retry_after, TimestampTz now)
{
	double		wait = 0;

	if (!retry_after.isnull)
		return clock_add(now, interval_seconds(DatumGetIntervalP(retry_after.value)));
	if (!step->backoff.isnull)
		wait = interval_seconds(DatumGetIntervalP(step->backoff.value));
	/* 0 * infinity is no number */
	if (wait > 0)
		wait *= Max(1, pow(DatumGetFloat8(step->backoff_multiplier.value), step->retry_count));
	if (!step->max_backoff.isnull)
		wait = Min(wait, interval_seconds(DatumGetIntervalP(step->max_backoff.value)));
	return clock_add(now, wait);
}

/* What fail answers. */
typedef struct FailAnswer
{
	TaskStatus	status;
	int32		retry_count;
	NullableDatum run_at;
} FailAnswer;

static FailAnswer
fail_step(const pg_uuid_t *id, NullableDatum error, NullableDatum detail, NullableDatum lease, NullableDatum attempt,
		  bool retryable, NullableDatum retry_after)
{
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		FailAnswer	answer;
		bool		retry;
		TimestampTz now;
		Params		params = {0};

		look_step_to_end(id, "task_id", lease, attempt, &workflow, &step);

		/* a repeated call: this failure is recorded already */
		if ((step.status == FAILED || step.status == PENDING) && same_text(error, step.error))
		{
			answer.status = step.status;
			answer.retry_count = step.retry_count;
			answer.run_at = step.run_at;
			return answer;
		}

		retry = retryable && step.retry_count < step.max_retries;
		if (!step_transition(retry ? EVENT_RETRY : EVENT_FAIL, step.status, &answer.status))
			raise_refusal(refuse_step_status(&step, EVENT_FAIL));
		lock_tree(&workflow.root_id, TREE_SHARED);
		lock_step(&step.workflow_id, step.sequence);
		now = clock_now();
		answer.retry_count = step.retry_count + (retry ? 1 : 0);
		answer.run_at = retry ? a_value(TimestampTzGetDatum(retry_at(&step, retry_after, now))) : a_null();

		param_id(&params, &step.workflow_id);
		param_int(&params, step.sequence);
		param_int(&params, step.lease);
		param_int(&params, step.attempt);
		param_bool(&params, retry);
		param(&params, error);
		param_time(&params, now);
		param(&params, answer.run_at);
		param(&params, detail);
		param_int(&params, workflow.lease);
		if (run_plan(PLAN_FAIL_STEP, &params, NEWEST) > 0)
		{
			recorded_under(&step.workflow_id, lease);
			return answer;
		}
	}
}

/* fail(task_id, error, lease, attempt, retryable, detail, retry_after) */
Datum
durable_fail(PG_FUNCTION_ARGS)
{
	NullableDatum error = fcinfo->args[1];
	NullableDatum lease = fcinfo->args[2];
	NullableDatum attempt = fcinfo->args[3];
	NullableDatum retryable = fcinfo->args[4];
	NullableDatum detail = fcinfo->args[5];
	NullableDatum retry_after = fcinfo->args[6];
	NullableDatum columns[3];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	FailAnswer	answer = {.status = FAILED,.retry_count = 0,.run_at = {.isnull = true}};

	require(fcinfo->args[0], "task_id");
	require(error, "error");
	require(retryable, "retryable");
	check_span(retry_after, "retry_after");

	call = begin_call(fcinfo);
	if (id_sequence(PG_GETARG_UUID_P(0)) < 0)
	{
		check_no_attempt(attempt);
		fail_workflow(PG_GETARG_UUID_P(0), error, detail, lease);
	}
	else
		answer = fail_step(PG_GETARG_UUID_P(0), error, detail, lease, attempt, DatumGetBool(retryable.value), retry_after);

	columns[0] = a_value(enum_datum(column_type(desc, 0), status_label(answer.status)));
	columns[1] = a_value(Int32GetDatum(answer.retry_count));
	columns[2] = answer.run_at;
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/*
 * Completes a step and, where nothing is in the way, claims the next in the
 * same statement; else, once it is completed, claims as claim_step does.
 */
static Refusal *
complete_then_claim(const pg_uuid_t *id, NullableDatum output, NullableDatum attempt, int32 sequence,
					const ClaimArgs *args, ClaimAnswer *answer)
{
	Params		params = {0};
	pg_uuid_t	workflow_id;
	pg_uuid_t	root_id;
	Rounds		rounds = {0};

	param_completion(&params, id, output, args->lease, attempt, &workflow_id);
	if (!args->lease.isnull && sequence != id_sequence(id) && !XactReadOnly &&
		try_lock_known_tree(&workflow_id, &root_id))
	{
		bool		done;

		rounds.since = clock_monotonic();
		param_int(&params, sequence);
		param_new_step(&params, args, clock_now());
		done = run_plan(PLAN_COMPLETE_AND_CLAIM, &params, NEWEST) > 0;
		if (done)
			recorded_under(&workflow_id, args->lease);
		if (done && !has_waited(&rounds, 1))
		{
			answer_new_step(&workflow_id, sequence, answer);
			return NULL;
		}
		/* the claim is begun anew, the completion stands */
		if (done)
			take_back_step(&workflow_id, sequence);
		else
			unlock_known_tree(&root_id);
	}
	/* again, if it was only the claim that had to wait or found something: that is a repeated call */
	complete_step(id, "step_id", output, args->lease, attempt);
	return claim(&workflow_id, sequence, args, answer);
}

/*
 * complete_and_claim(step_id, output, name, sequence, ..., attempt)
 *
 * Once the completion is legal it stands, whatever the claim is refused for.
 */
Datum
durable_complete_and_claim(PG_FUNCTION_ARGS)
{
	NullableDatum output = fcinfo->args[1];
	NullableDatum sequence = fcinfo->args[3];
	NullableDatum attempt = fcinfo->args[13];
	TupleDesc	desc = result_desc(fcinfo, CLAIM_COLUMNS);
	const pg_uuid_t *id;
	Call		call;
	ClaimArgs	args;
	ClaimAnswer answer;
	Refusal    *refusal;

	require(fcinfo->args[0], "step_id");
	id = PG_GETARG_UUID_P(0);
	if (id_sequence(id) < 0)
		bad_argument("step_id", "must be the id of a step",
					 psprintf("%s is the id of a workflow.", uuid_text(id)),
					 "Use complete to complete a workflow.");
	if (sequence.isnull)
		sequence = a_value(Int32GetDatum(id_sequence(id) + 1));
	require_sequence(sequence);
	args = claim_args_of_step(fcinfo, 2, 4);

	call = begin_call(fcinfo);
	refusal = complete_then_claim(id, output, attempt, DatumGetInt32(sequence.value), &args, &answer);
	if (refusal)
	{
		answer.action = "STOP";
		answer.output = answer.detail = answer.attempt = answer.run_at = a_null();
		answer.error = a_value(CStringGetTextDatum(refusal_text(refusal)));
	}
	PG_RETURN_DATUM(end_call_with_answer(desc, &call, &answer));
}
