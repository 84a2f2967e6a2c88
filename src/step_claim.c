/*-------------------------------------------------------------------------
 *
 * step_claim.c
 *	  Steps are claimed: claim_step and claim_steps, for one and for many.
 *
 * A call looks at the workflow and its steps, which locks nothing: what is already
 * recorded is answered from there.  To claim, it locks the tree (shared), so that
 * no cascade overlaps it, then the rows of the steps that are there, then the
 * positions that are new, in the primary key, each in order.  So two callers meet at
 * one position, or not at all.  The workflow's row is never locked: what is
 * written under its lease commits only if the lease still holds then (fence.c).
 *
 * No interleaving breaks this: each statement asks again for all that the
 * decision rests on, as it is once the locks are held, and changes nothing where
 * something overtook it.  Then the call looks again.  Times are taken after the
 * locks, and a claim that had to wait for another one begins anew.
 *
 * In a workflow that is to be told that it is to end, the first new position tells it
 * (cancel_tell.c), and the others are claimed after another look.
 *
 * What several steps need is written in a subtransaction (batch.c): all of it, or
 * nothing.  One step needs none, since there is one row to write.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "cancel.h"
#include "step_internal.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_claim_step);
PG_FUNCTION_INFO_V1(durable_claim_steps);

/* What claim_step or claim_steps claims: a step, or some of one workflow that follow one another. */
typedef struct ClaimsInOne
{
	Claims		claims;
	Workflow	workflow;		/* as it was looked at */
} ClaimsInOne;

/* ---- fast paths ------------------------------------------------------------------ */

/* Writes the row of INSERT_CLAIMED_STEP; false if somebody else has that position. */
bool
insert_claimed_row(Writing *writing, const InsertStep *p, int32 lease)
{
	TaskStatus	status;

	if (!step_transition(EVENT_CLAIM, NO_TASK, &status))
		return false;
	new_row(writing);
	set(writing, step_workflow_id, p->workflow_id);
	set(writing, step_sequence, p->sequence);
	set_int(writing, step_lease, lease);
	set_int(writing, step_attempt, 1);
	set_label(writing, step_status, status_label(status));
	set_label(writing, step_kind, TextDatumGetCString(p->kind.value));
	set(writing, step_name, p->name);
	set(writing, step_input, p->input);
	set(writing, step_executor_id, p->executor_id);
	set(writing, step_max_retries, p->max_retries);
	set(writing, step_backoff, p->backoff);
	set(writing, step_backoff_multiplier, p->backoff_multiplier);
	set(writing, step_max_backoff, p->max_backoff);
	set(writing, step_timeout, p->timeout);
	set(writing, step_started_at, p->now);
	set(writing, step_deadline, p->deadline);
	return end_row(writing) && insert_row_unless_there(writing);
}

static int64
fast_insert_step(const void *params)
{
	const InsertStep *p = params;
	Key			keys[] = {IS_ID(step_workflow_id, p->workflow_id), IS_INT(step_sequence, p->sequence)};
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	if (XactReadOnly || !look_at_lease(p->workflow_id, p->lease, p->now, &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, lengthof(keys)))
		return NOT_FAST;
	begin_writing(&writing, &look);
	done = look.row == NULL && insert_claimed_row(&writing, p, lease);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* ---- statements --------------------------------------------------------------------- */

/* the workflow, in which a step can be claimed now, or a new one */
#define OPEN_WORKFLOW(workflow_id, lease) \
	"w.id = " workflow_id " AND w.lease = " lease " AND " OPEN_AT(":now")
#define OPEN_TO_NEW(workflow_id, lease) \
	"w.id = " workflow_id " AND w.lease = " lease " AND " OPEN_TO_NEW_AT(":now")

PARAMETER_NAMES(InsertStep, INSERT_STEP);

static Statement insert_step = STATEMENT(InsertStep,
	INSERT_CLAIMED_STEP("w.id", ":sequence", "w.lease", ":name", ":input", ":")
	"FROM durable.workflow w "
	"WHERE " OPEN_TO_NEW(":workflow_id", ":lease") UNLESS_THERE,
	.fast = fast_insert_step);

#define INSERT_STEPS(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(kind, TEXTOID) \
	P(names, TEXTARRAYOID) \
	P(inputs, JSONBARRAYOID) \
	POLICY(P)
PARAMETERS(InsertSteps, INSERT_STEPS);

#define INSERT_CLAIMED_STEPS(more_arrays, more_columns, workflow_id, lease, more) \
	INSERT_CLAIMED_STEP("w.id", "b.sequence", "w.lease", "b.name", "b.input", ":") \
	"FROM durable.workflow w " \
	"CROSS JOIN ROWS FROM (" more_arrays "unnest(:sequences), unnest(:names), unnest(:inputs))" \
	"  WITH ORDINALITY AS b (" more_columns "sequence, name, input, n) " \
	"WHERE " OPEN_TO_NEW(workflow_id, lease) more UNLESS_THERE

static Statement insert_steps = STATEMENT(InsertSteps,
	INSERT_CLAIMED_STEPS("unnest(:workflow_ids), unnest(:leases), ", "workflow_id, lease, ", "b.workflow_id", "b.lease",
						 " AND " NO_STEP_AT("b.workflow_id", "b.sequence")),
	.planning = BY_PROBES);

/* looks up the workflow once, not for each step: that saves a sixth */
static Statement insert_steps_of_one = STATEMENT(InsertSteps,
	INSERT_CLAIMED_STEPS("", "", "(:workflow_ids)[1]", "(:leases)[1]", ""));

/* a step that is there, as it was looked at */
#define UPDATE_CLAIMED_STEP(next_attempt) \
	"UPDATE durable.step s SET" \
	"  status = {step to CLAIM}, lease = w.lease, attempt = " next_attempt ", executor_id = :executor_id," \
	"  max_retries = :max_retries, backoff = :backoff, backoff_multiplier = :backoff_multiplier," \
	"  max_backoff = :max_backoff, timeout = :timeout, started_at = :now, deadline = :deadline, run_at = NULL," \
	"  recorded_at = coalesce(s.recorded_at, s.started_at) " \
	"FROM durable.workflow w "
#define STEP_TO_CLAIM_AGAIN(workflow_id, workflow_lease, sequence, pending, lease, attempt) \
	OPEN_WORKFLOW(workflow_id, workflow_lease) " AND s.workflow_id = " workflow_id " AND s.sequence = " sequence \
	" AND s.status = ANY {step from CLAIM} AND (s.status = 'PENDING') = " pending \
	" AND s.lease = " lease " AND s.attempt = " attempt

#define UPDATE_STEP(P) \
	P(workflow_id, UUIDOID) \
	P(lease, INT4OID) \
	P(sequence, INT4OID) \
	P(pending, BOOLOID) \
	P(step_lease, INT4OID) \
	P(attempt, INT4OID) \
	P(next_attempt, INT4OID) \
	POLICY(P)
PARAMETERS(UpdateStep, UPDATE_STEP);

static Statement update_step = STATEMENT(UpdateStep,
	UPDATE_CLAIMED_STEP(":next_attempt")
	"WHERE " STEP_TO_CLAIM_AGAIN(":workflow_id", ":lease", ":sequence", ":pending", ":step_lease", ":attempt"));

#define UPDATE_STEPS(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(pending, BOOLARRAYOID) \
	P(step_leases, INT4ARRAYOID) \
	P(attempts, INT4ARRAYOID) \
	P(next_attempts, INT4ARRAYOID) \
	POLICY(P)
PARAMETERS(UpdateSteps, UPDATE_STEPS);

static Statement update_steps = STATEMENT(UpdateSteps,
	UPDATE_CLAIMED_STEP("b.next_attempt")
	"CROSS JOIN ROWS FROM (unnest(:workflow_ids), unnest(:sequences), unnest(:leases), unnest(:pending),"
	"    unnest(:step_leases), unnest(:attempts), unnest(:next_attempts))"
	"  WITH ORDINALITY AS b (workflow_id, sequence, lease, pending, step_lease, attempt, next_attempt, n) "
	"WHERE " STEP_TO_CLAIM_AGAIN("b.workflow_id", "b.lease", "b.sequence", "b.pending", "b.step_lease", "b.attempt"),
	.planning = BY_PROBES);

/* The label: a parameter has a built-in type. */
NullableDatum
kind_value(TaskKind kind)
{
	return a_value(CStringGetTextDatum(kind_label(kind)));
}

InsertStep
insert_step_values(const Claim *claim, const ClaimArgs *args, TimestampTz now)
{
	return (InsertStep)
	{
		.workflow_id = an_id(&claim->workflow_id),.sequence = an_int(claim->sequence),.lease = claim->under,
		.kind = kind_value(args->kind),.name = claim->name,.input = claim->input,
		POLICY_VALUES(args, now)
	};
}

/* ---- decisions ---------------------------------------------------------------------- */

/* Whether a RUNNING step's own timeout has passed. */
static bool
is_late(const Step *step, TimestampTz now)
{
	return !step->deadline.isnull && DatumGetTimestampTz(step->deadline.value) <= now;
}

/* Whether the caller is the one that holds the step, and asks again. */
static bool
is_holder(const Claim *claim, const ClaimArgs *args)
{
	const Step *step = &claim->step;

	return !claim->lease.isnull && DatumGetInt32(claim->lease.value) == step->lease &&
		!args->executor_id.isnull && same_text(args->executor_id, step->executor_id);
}

static void
clear_answer(ClaimAnswer *answer, Refusal *refusal, const char *action)
{
	answer->refusal = refusal;
	answer->action = action;
	answer->output = answer->error = answer->attempt = answer->run_at = answer->detail = a_null();
}

/* What forbids a claim of the step; NULL if it may be made, or is answered by what is recorded. */
static Refusal *
refuse_claim(const Workflow *workflow, const Claim *claim, const ClaimArgs *args)
{
	const Step *step = &claim->step;
	const char *name = TextDatumGetCString(claim->name.value);

	if (step->status == NO_TASK)
		return refuse_new_position(workflow, claim->sequence);
	if (step->kind != args->kind || strcmp(step->name, name) != 0)
		return refuse_other_step(step, name, args->kind);
	if (step->status == COMPLETED || step->status == FAILED)
		return NULL;
	if (workflow->status != RUNNING)
		return refuse_finished(workflow);
	if (!step_transition(EVENT_CLAIM, step->status, NULL))
		return refuse_step_status(step, EVENT_CLAIM);
	return NULL;
}

/* The answer of a claim that is forbidden by its workflow. */
void
answer_refusal(ClaimAnswer *answer, Refusal *refusal)
{
	clear_answer(answer, refusal, NULL);
}

/*
 * Decides a claim by what was looked at: fills in the answer, and in which way the
 * step is to be claimed.
 */
void
decide_claim(const Workflow *workflow, const ClaimArgs *args, TimestampTz now, Claim *claim)
{
	const Step *step = &claim->step;
	ClaimAnswer *answer = &claim->answer;
	bool		is_held = step->status == RUNNING && step->lease == workflow->lease && !is_late(step, now);

	claim->way = CLAIM_NOTHING;
	claim->under = an_int(workflow->lease);
	clear_answer(answer, refuse_claim(workflow, claim, args), NULL);
	if (answer->refusal)
		return;

	answer->attempt = an_int(step->attempt);
	if (step->status == COMPLETED)
	{
		answer->action = "REPLAY";
		answer->output = step->output;
	}
	else if (step->status == FAILED)
	{
		answer->action = "FAILED";
		answer->error = step->error;
		answer->detail = step->detail;
	}
	else if (step->status == PENDING && !step->run_at.isnull && DatumGetTimestampTz(step->run_at.value) > now)
	{
		answer->action = "WAIT";
		answer->run_at = step->run_at;
	}
	else if (is_held && !is_holder(claim, args))
		answer->action = "LOCKED";
	else
	{
		claim->way = step->status == NO_TASK ? CLAIM_NEW : CLAIM_AGAIN;
		answer->action = "EXECUTE";
		/* the holder gets the same attempt again */
		if (!is_held)
			answer->attempt = an_int(step->status == NO_TASK ? 1 : step->attempt + 1);
	}
}

/* The answer of a claim that creates the step. */
void
answer_new_step(ClaimAnswer *answer)
{
	clear_answer(answer, NULL, "EXECUTE");
	answer->attempt = an_int(1);
}

/* ---- writing --------------------------------------------------------------------------- */

/*
 * Tells a workflow, as it was looked at, that it is to end, by the new position of a
 * claim, unless something overtakes us: another look tells.
 */
void
tell_at_claim(const Workflow *workflow, const Claim *claim, const ClaimArgs *args)
{
	(void) tell_at(workflow, claim->sequence, args->kind, claim->name, claim->input, args->executor_id);
}

/* How many are to be claimed in that way. */
int
count_claims(const Claims *claims, ClaimWay way)
{
	int			count = 0;

	for (int i = 0; i < claims->count; i++)
		count += claims->elements[i].way == way ? 1 : 0;
	return count;
}

/* Whether all are steps of one workflow. */
static bool
are_in_one(const Claims *claims)
{
	return same_id(&claims->elements[0].workflow_id, &claims->elements[claims->count - 1].workflow_id);
}

/* Creates the steps that are not there, and claims them; returns how many could be. */
static uint64
create_steps(const Claims *claims, int count)
{
	TimestampTz now = clock_now();
	Positions	positions;
	Elements	leases;
	Elements	names;
	Elements	inputs;

	if (claims->count == 1)
	{
		InsertStep	values = insert_step_values(claims->elements, claims->args, now);

		return run(&insert_step, &values, NEWEST);
	}

	positions = new_positions(count);
	leases = new_elements(INT4OID, count);
	names = new_elements(TEXTOID, count);
	inputs = new_elements(JSONBOID, count);
	for (int i = 0; i < claims->count; i++)
	{
		const Claim *claim = &claims->elements[i];

		if (claim->way != CLAIM_NEW)
			continue;
		append_position(&positions, &claim->workflow_id, claim->sequence);
		append_element(&leases, claim->under);
		append_element(&names, claim->name);
		append_element(&inputs, claim->input);
	}
	return run(are_in_one(claims) ? &insert_steps_of_one : &insert_steps, &(InsertSteps)
			   {
				   .workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences),
				   .leases = array_of(&leases),.kind = kind_value(claims->args->kind),
				   .names = array_of(&names),.inputs = array_of(&inputs),
				   POLICY_VALUES(claims->args, now)
			   }, NEWEST);
}

/* Claims the steps that are there, as they were looked at; returns how many could be. */
static uint64
claim_steps_again(const Claims *claims, int count)
{
	Positions	positions;
	Elements	leases;
	Elements	pending;
	Elements	step_leases;
	Elements	attempts;
	Elements	next_attempts;
	TimestampTz now;

	if (claims->count == 1)
	{
		const Claim *claim = claims->elements;

		lock_step(&claim->workflow_id, claim->sequence);
		now = clock_now();
		return run(&update_step, &(UpdateStep)
				   {
					   .workflow_id = an_id(&claim->workflow_id),.lease = claim->under,
					   .sequence = an_int(claim->sequence),.pending = a_bool(claim->step.status == PENDING),
					   .step_lease = an_int(claim->step.lease),.attempt = an_int(claim->step.attempt),
					   .next_attempt = claim->answer.attempt,
					   POLICY_VALUES(claims->args, now)
				   }, NEWEST);
	}

	positions = new_positions(count);
	leases = new_elements(INT4OID, count);
	pending = new_elements(BOOLOID, count);
	step_leases = new_elements(INT4OID, count);
	attempts = new_elements(INT4OID, count);
	next_attempts = new_elements(INT4OID, count);
	for (int i = 0; i < claims->count; i++)
	{
		const Claim *claim = &claims->elements[i];

		if (claim->way != CLAIM_AGAIN)
			continue;
		append_position(&positions, &claim->workflow_id, claim->sequence);
		append_element(&leases, claim->under);
		append_element(&pending, a_bool(claim->step.status == PENDING));
		append_element(&step_leases, an_int(claim->step.lease));
		append_element(&attempts, an_int(claim->step.attempt));
		append_element(&next_attempts, claim->answer.attempt);
	}
	lock_steps(&positions);
	now = clock_now();
	return run(&update_steps, &(UpdateSteps)
			   {
				   .workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences),
				   .leases = array_of(&leases),.pending = array_of(&pending),
				   .step_leases = array_of(&step_leases),.attempts = array_of(&attempts),
				   .next_attempts = array_of(&next_attempts),
				   POLICY_VALUES(claims->args, now)
			   }, NEWEST);
}

/*
 * Claims what is to be claimed, under the trees' locks.  False if something overtook
 * us, or if we had to wait for another claim that was then rolled back: what was
 * checked and written is then out of date.
 */
bool
write_claims(Claims *claims)
{
	int			new = count_claims(claims, CLAIM_NEW);
	int			again = count_claims(claims, CLAIM_AGAIN);

	if (again > 0 && claim_steps_again(claims, again) < again)
		return false;
	if (new > 0)
	{
		watch_waits(&claims->rounds);
		if (create_steps(claims, new) < new)
			return false;
		if (has_waited(&claims->rounds, claims->count))
		{
			if (claims->count == 1)
				take_back_step(&claims->elements->workflow_id, claims->elements->sequence);
			return false;
		}
	}
	for (int i = 0; i < claims->count; i++)
	{
		const Claim *claim = &claims->elements[i];

		if (claim->way == CLAIM_NOTHING)
			continue;
		recorded_under(&claim->workflow_id, claim->lease);
		if (claim->way == CLAIM_NEW)
			expect_new_step(&claim->workflow_id, claim->sequence + 1);
	}
	return true;
}

/* ---- claims in one workflow -------------------------------------------------------------- */

/* Looks at the workflow and its steps; returns a hash of what it has seen. */
static uint64
look_at_claims(ClaimsInOne *one)
{
	const Claims *claims = &one->claims;
	const pg_uuid_t *workflow_id = &claims->elements->workflow_id;
	bool		found = true;
	uint64		seen = 0;

	if (claims->count == 1)
		found = look_step(workflow_id, claims->elements->sequence, NEWEST, &one->workflow, &claims->elements->step);
	else
	{
		Positions	positions = new_positions(claims->count);

		for (int i = 0; i < claims->count; i++)
			append_position(&positions, workflow_id, claims->elements[i].sequence);
		look_steps(array_of(&positions.workflow_ids), array_of(&positions.sequences));
		for (int i = 0; i < claims->count; i++)
			found &= read_look_at_step(i, workflow_id, claims->elements[i].sequence,
									   &one->workflow, &claims->elements[i].step);
	}
	if (!found)
		look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &one->workflow);
	for (int i = 0; i < claims->count; i++)
		seen = seen * 31 + seen_of(&one->workflow, &claims->elements[i].step);
	return seen;
}

/* The first of the claims that is a new position, if the workflow is to be told that it is to end; or NULL. */
static const Claim *
claim_that_tells(const ClaimsInOne *one)
{
	for (int i = 0; one->workflow.is_untold && i < one->claims.count; i++)
		if (one->claims.elements[i].way == CLAIM_NEW)
			return &one->claims.elements[i];
	return NULL;
}

/* Claims the steps as decide_claim has decided. */
static bool
claim_as_decided(void *arg)
{
	ClaimsInOne *one = arg;

	lock_tree(&one->workflow.root_id, TREE_SHARED);
	return write_claims(&one->claims);
}

/*
 * Claims without a look, where the workflow is known and new steps are expected:
 * the statement that creates a step asks all that makes that legal, and the look
 * only tells why it did nothing.
 */
static bool
claim_as_expected(void *arg)
{
	Claims	   *claims = &((ClaimsInOne *) arg)->claims;
	pg_uuid_t	root_id;

	if (is_beyond_max_steps(claims->elements[claims->count - 1].sequence) ||
		!try_lock_known_tree(&claims->elements->workflow_id, &root_id))
		return false;
	for (int i = 0; i < claims->count; i++)
	{
		claims->elements[i].way = CLAIM_NEW;
		claims->elements[i].under = claims->elements[i].lease;
		answer_new_step(&claims->elements[i].answer);
	}
	if (write_claims(claims))
		return true;
	/* of one, nothing was locked or written, unless its row was taken back; of many, write_batch gives back all */
	if (claims->count == 1 && claims->rounds.waits == 0)
		unlock_tree(&root_id, TREE_SHARED);
	return false;
}

static bool
write_one_or_batch(bool (*write) (void *claims), ClaimsInOne *one)
{
	return one->claims.count == 1 ? write(one) : write_batch(write, one, &one->claims.rounds);
}

/*
 * Finds or creates the steps and claims them: fills in their answers, or returns
 * what forbids all.  Where everything is recorded, or nothing can be claimed,
 * nothing is locked or written.
 */
static Refusal *
claim_all(ClaimsInOne *one)
{
	Claims	   *claims = &one->claims;
	const Claim *first = claims->elements;

	if (!first->lease.isnull && !XactReadOnly && expects_new_step(&first->workflow_id, first->sequence) &&
		write_one_or_batch(claim_as_expected, one))
		return NULL;
	for (;;)
	{
		TimestampTz now = clock_now();
		uint64		seen = look_at_claims(one);
		Refusal    *refusal = refuse_claim_in(&one->workflow, first->lease, now);
		const Claim *telling;

		if (refusal)
			return refusal;
		for (int i = 0; i < claims->count; i++)
			decide_claim(&one->workflow, claims->args, now, &claims->elements[i]);
		if ((telling = claim_that_tells(one)) != NULL)
		{
			lock_tree(&one->workflow.root_id, TREE_SHARED);
			tell_at_claim(&one->workflow, telling, claims->args);
		}
		else if (count_claims(claims, CLAIM_NOTHING) == claims->count ||
				 write_one_or_batch(claim_as_decided, one))
			return NULL;
		next_round(&claims->rounds, "durable.step", seen);
	}
}

/* claim_step; what forbids it stands in the answer. */
void
claim_step(const ClaimArgs *args, Claim *element)
{
	ClaimsInOne one = {.claims = {.args = args,.count = 1,.elements = element}};
	Refusal    *refusal;

	id_step(&element->workflow_id, element->sequence, &element->answer.step_id);
	refusal = claim_all(&one);
	if (refusal)
		answer_refusal(&element->answer, refusal);
}

/* ---- SQL functions -------------------------------------------------------------------- */

/* Checks the arguments of a claim: the kind, and those from executor_id on, as they follow one another. */
ClaimArgs
claim_args(NullableDatum kind, const NullableDatum *from_executor_id)
{
	ClaimArgs	args = {
		.executor_id = from_executor_id[0],.timeout = from_executor_id[5]
	};

	require(kind, "kind");
	args.kind = kind_from_datum(kind.value);
	if (args.kind != STEP && args.kind != TRANSACTION)
		bad_argument("kind", "must be STEP or TRANSACTION", psprintf("It is %s.", kind_label(args.kind)),
					 args.kind == WORKFLOW ? "Use start_child for a child workflow." :
					 "A wait is made by a function of its own, not by a claim.");
	check_name(args.executor_id, "executor_id");
	args.retries = require_retry_policy(&from_executor_id[1]);
	check_interval(args.timeout, "timeout");
	return args;
}

/* Fills in the columns of durable.claimed_step, which stand in desc from first on. */
void
fill_answer(TupleDesc desc, int first, const ClaimAnswer *answer, NullableDatum *columns)
{
	const char *action = answer->refusal ? "STOP" : answer->action;

	columns[0] = an_id(&answer->step_id);
	columns[1] = a_value(enum_datum(column_type(desc, first + 1), action));
	columns[2] = answer->output;
	columns[3] = answer->refusal ? a_value(CStringGetTextDatum(refusal_text(answer->refusal))) : answer->error;
	columns[4] = answer->attempt;
	columns[5] = answer->run_at;
	columns[6] = answer->detail;
}

/* claim_step(workflow_id, sequence, name, input, kind, ...) */
Datum
durable_claim_step(PG_FUNCTION_ARGS)
{
	NullableDatum sequence = fcinfo->args[1];
	Claim		element = {.name = fcinfo->args[2],.input = fcinfo->args[3],.lease = fcinfo->args[5]};
	TupleDesc	desc = result_desc(fcinfo, CLAIM_COLUMNS);
	NullableDatum columns[CLAIM_COLUMNS];
	ClaimArgs	args;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_sequence(sequence);
	element.workflow_id = *PG_GETARG_UUID_P(0);
	element.sequence = DatumGetInt32(sequence.value);
	require_name(element.name, "name");
	args = claim_args(fcinfo->args[4], &fcinfo->args[6]);
	require_fence(fcinfo->args[5], "lease");

	call = begin_call(fcinfo);
	claim_step(&args, &element);
	if (element.answer.refusal)
		raise_refusal(element.answer.refusal);
	fill_answer(desc, 0, &element.answer, columns);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/*
 * claim_steps(workflow_id, first_sequence, names, inputs, kind, lease,
 *			   executor_id, max_retries, backoff, backoff_multiplier,
 *			   max_backoff, timeout)
 */
Datum
durable_claim_steps(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[2];
	NullableDatum inputs = fcinfo->args[3];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	NullableDatum columns[1 + CLAIM_COLUMNS];
	ClaimArgs	args;
	ClaimsInOne one = {.claims = {.args = &args}};
	Elements	each_name;
	Elements	each_input;
	Refusal    *refusal;
	int			count;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	count = require_batch(names, "names");
	require_sequences(fcinfo->args[1], count);
	check_array_beside(inputs, "inputs", count, "names");
	each_name = elements_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&each_name, i), "names");
	args = claim_args(fcinfo->args[4], &fcinfo->args[6]);
	require_fence(fcinfo->args[5], "lease");

	begin_rows_of(fcinfo, lengthof(columns));
	each_input = elements_of(inputs, JSONBOID, count);
	one.claims.count = count;
	one.claims.elements = palloc0(Max(count, 1) * sizeof(Claim));
	for (int i = 0; i < count; i++)
	{
		Claim	   *element = &one.claims.elements[i];

		element->workflow_id = *PG_GETARG_UUID_P(0);
		element->lease = fcinfo->args[5];
		element->sequence = PG_GETARG_INT32(1) + i;
		element->name = element_of(&each_name, i);
		element->input = element_of(&each_input, i);
		id_step(&element->workflow_id, element->sequence, &element->answer.step_id);
	}

	call = begin_call(fcinfo);
	refusal = count > 0 ? claim_all(&one) : NULL;
	if (refusal)
		raise_refusal(refusal);
	for (int i = 0; i < count; i++)
	{
		columns[0] = an_int(one.claims.elements[i].sequence);
		fill_answer(rsinfo->setDesc, 1, &one.claims.elements[i].answer, columns + 1);
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
