/*-------------------------------------------------------------------------
 *
 * step_end.c
 *	  Steps end: they are completed or fail.
 *
 * Here is what records an outcome; step_outcome.c says which is legal.  The SQL functions
 * that complete are in complete.c, since they end workflows, too; fail is here and
 * leaves workflows to fail_workflow (workflow_end.c).
 *
 * To record an outcome a call locks the tree (shared), so that no cascade overlaps
 * it, then the one step row, or many in the order of ids.  The workflow's row is
 * never locked: what is recorded under its lease commits only if the lease still
 * holds then (fence.c).
 *
 * No interleaving breaks this: a statement asks itself for all that makes the
 * outcome legal, and changes nothing where something overtook it.  Then the call
 * looks, which tells why: the outcome is recorded already, refused, or to be
 * tried again.  The time is taken after the locks.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "cancel.h"
#include "outcome.h"
#include "step_internal.h"
#include "wait.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_fail);

/* ---- completion: the fast path --------------------------------------------------- */

/*
 * Does to a row that is looked at what SET_OUTPUT does, if it is STEP_TO_COMPLETE;
 * false if it is not, or if somebody has locked it, or if the lease that was given is not
 * that under which the step was claimed (step_has_ended).
 */
bool
complete_row(Writing *writing, const Look *look, const RecordOutput *p, int32 lease)
{
	TaskStatus	status;

	if (look->row == NULL || int_of_row(look, step_sequence) != DatumGetInt32(p->sequence.value) ||
		!step_transition(EVENT_COMPLETE, status_of_row(look, step_status), &status) ||
		kind_from_datum(column_of_row(look, step_kind).value) == WORKFLOW ||
		(!p->attempt.isnull && DatumGetInt32(p->attempt.value) != int_of_row(look, step_attempt)) ||
		int_of_row(look, step_lease) > lease || (!p->lease.isnull && int_of_row(look, step_lease) != lease))
		return false;
	row_as_seen(writing, look);
	set_label(writing, step_status, status_label(status));
	set(writing, step_output, p->output);
	set(writing, step_error, a_null());
	set(writing, step_detail, a_null());
	set(writing, step_completed_at, p->now);
	return update_row(writing, look);
}

static int64
fast_record_output(const void *params)
{
	const RecordOutput *p = params;
	Key			keys[] = {IS_ID(step_workflow_id, p->workflow_id), IS_INT(step_sequence, p->sequence)};
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	if (XactReadOnly || !look_at_lease(p->workflow_id, p->lease, a_null(), &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, lengthof(keys)))
		return NOT_FAST;
	begin_writing(&writing, &look);
	done = complete_row(&writing, &look, p, lease);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* ---- completion: the statements ----------------------------------------------------- */

PARAMETER_NAMES(RecordOutput, RECORD_OUTPUT);

static Statement record_output = STATEMENT(RecordOutput,
	"WITH " FREE_STEP("") SET_OUTPUT_OF_FREE_STEP,
	.fast = fast_record_output);

#define RECORD_OUTPUTS(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(attempts, INT4ARRAYOID) \
	P(outputs, JSONBARRAYOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(RecordOutputs, RECORD_OUTPUTS);

static Statement record_outputs = STATEMENT(RecordOutputs,
	SET_OUTPUT("b.output")
	"FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences), unnest(:leases), unnest(:attempts), unnest(:outputs))"
	"  WITH ORDINALITY AS b (workflow_id, sequence, lease, attempt, output, n) "
	"WHERE " STEP_TO_COMPLETE("b.workflow_id", "b.sequence", "b.lease", "b.attempt", ""),
	.planning = BY_PROBES);

RecordOutput
record_output_values(const StepCompletion *completion, TimestampTz now)
{
	return (RecordOutput)
	{
		.workflow_id = an_id(&completion->workflow_id),.sequence = an_int(completion->sequence),
		.lease = completion->lease,.attempt = completion->attempt,.output = completion->output,
		.now = a_time(now)
	};
}

/* ---- completion ------------------------------------------------------------------------ */

StepCompletion
step_completion(const pg_uuid_t *id, NullableDatum output, NullableDatum lease, NullableDatum attempt)
{
	StepCompletion completion = {
		.id = *id,.sequence = id_sequence(id),.output = output,.lease = lease,.attempt = attempt
	};

	id_workflow(id, &completion.workflow_id);
	return completion;
}

/* Completes a step, under the tree's lock; false if that is not legal, is done already, or the row is locked. */
static bool
complete_if_free(const StepCompletion *completion)
{
	RecordOutput values = record_output_values(completion, clock_now());
	uint64		fast_calls = record_output.fast_calls;

	if (run(&record_output, &values, NEWEST) == 0)
		return false;
	step_has_ended(&completion->id, completion->lease, record_output.fast_calls > fast_calls);
	recorded_under(&completion->workflow_id, completion->lease);
	return true;
}

/*
 * complete of a step: true if this call did it, false if it was done with an
 * equal output.
 *
 * Where the tree is known the statement goes first, and the look only tells why
 * it did nothing.  It does not wait for the step's row; if that is locked, the
 * call looks, waits for the row, and only then takes the time.  That of a wait is an
 * answer.
 */
bool
complete_step(const StepCompletion *completion, const char *argument)
{
	Answer		answer = {
		.output = completion->output,.error = a_null(),.detail = a_null(),.lease = completion->lease,
		.attempt = completion->attempt
	};
	pg_uuid_t	root_id;
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	/* in a read-only transaction the look still answers a repeated call */
	if (!XactReadOnly && try_lock_known_tree(&completion->workflow_id, &root_id))
	{
		if (complete_if_free(completion))
			return true;
		unlock_known_tree(&root_id);
	}

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		Refusal    *refusal;
		bool		repeated;

		look_step_to_end(&completion->id, argument, completion->lease, completion->attempt, &workflow, &step);
		if (step.kind == WAIT)
			return answer_wait(&completion->id, &answer, argument);
		if ((refusal = refuse_completion(&step, completion->output, &repeated)) != NULL)
			raise_refusal(refusal);
		if (repeated)
			return false;
		lock_tree(&workflow.root_id, TREE_SHARED);
		if (complete_if_free(completion))
			return true;
		lock_step(&completion->workflow_id, completion->sequence);
		if (complete_if_free(completion))
			return true;
	}
}

/*
 * Completes many, under their trees' locks, in the order of the array, which is
 * that of ids; waits for locked rows.  False if some could not be.
 */
bool
complete_steps(const StepCompletion *completions, int count, TimestampTz now)
{
	Positions	positions = new_positions(count);
	Elements	leases = new_elements(INT4OID, count);
	Elements	attempts = new_elements(INT4OID, count);
	Elements	outputs = new_elements(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		append_position(&positions, &completions[i].workflow_id, completions[i].sequence);
		append_element(&leases, completions[i].lease);
		append_element(&attempts, completions[i].attempt);
		append_element(&outputs, completions[i].output);
	}
	if (run(&record_outputs, &(RecordOutputs)
			{
				.workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences),
				.leases = array_of(&leases),.attempts = array_of(&attempts),.outputs = array_of(&outputs),
				.now = a_time(now)
			}, NEWEST) < count)
		return false;
	for (int i = 0; i < count; i++)
	{
		have_ended(&completions[i].id, 1);
		recorded_under(&completions[i].workflow_id, completions[i].lease);
	}
	return true;
}

/* ---- failure ----------------------------------------------------------------------------- */

#define RECORD_FAILURE(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(workflow_lease, INT4OID) \
	P(lease, INT4OID) \
	P(attempt, INT4OID) \
	P(error, TEXTOID) \
	P(detail, JSONBOID) \
	P(retry, BOOLOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(RecordFailure, RECORD_FAILURE);

/* as it was looked at */
static Statement record_failure = STATEMENT(RecordFailure,
	"UPDATE durable.step s SET"
	"  status = CASE WHEN :retry THEN {step to RETRY} ELSE {step to FAIL} END,"
	"  retry_count = CASE WHEN :retry THEN s.retry_count + 1 ELSE s.retry_count END,"
	"  error = :error, detail = :detail, run_at = CASE WHEN :retry THEN :run_at END,"
	"  failed_at = CASE WHEN :retry THEN :now ELSE s.failed_at END,"
	"  completed_at = CASE WHEN :retry THEN NULL ELSE :now END "
	"WHERE s.workflow_id = :workflow_id AND s.sequence = :sequence AND s.lease = :lease AND s.attempt = :attempt"
	"  AND CASE WHEN :retry THEN s.status = ANY {step from RETRY} ELSE s.status = ANY {step from FAIL} END"
	"  AND EXISTS (SELECT 1 FROM durable.workflow w WHERE w.id = :workflow_id AND w.lease = :workflow_lease"
	"    AND (NOT :retry OR w.cancel_untold IS NULL OR NOT " UNFINISHED("w") "))");

/* A failure that is about to be recorded. */
typedef struct Recorded
{
	const Step *step;			/* as it was looked at */
	RecordFailure values;
	NullableDatum retry_after;
} Recorded;

/* Records a failure, or that the step is to be tried again; false if something overtook us. */
static bool
record(void *arg)
{
	Recorded   *r = arg;
	TimestampTz now;

	lock_step(&r->step->workflow_id, r->step->sequence);
	now = clock_now();
	r->values.now = a_time(now);
	r->values.run_at = DatumGetBool(r->values.retry.value) ? a_time(clock_retry_at(&r->step->retries, r->step->retry_count, r->retry_after, now)) : a_null();
	return run(&record_failure, &r->values, NEWEST) > 0;
}

/*
 * fail of a step
 *
 * Locks the tree (shared), then the step's row.  A program that is to be told that it is
 * to end does not try again: it is told by this, under the lock of the workflow's row
 * (cancel_tell.c).
 */
static FailAnswer
fail_step(const pg_uuid_t *id, const Failure *failure)
{
	Answer		wait_fails = {
		.output = a_null(),.error = failure->error,.detail = failure->detail,.lease = failure->lease,
		.attempt = failure->attempt
	};
	Workflow	workflow;
	Step		step;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &step)))
	{
		Recorded	recorded = {.step = &step,.retry_after = failure->retry_after};
		FailAnswer	answer;
		bool		retry;
		bool		tells;

		look_step_to_end(id, "task_id", failure->lease, failure->attempt, &workflow, &step);
		if (step.kind == WAIT)
		{
			(void) answer_wait(id, &wait_fails, "task_id");
			return (FailAnswer) {.status = FAILED,.retry_count = 0,.run_at = a_null()};
		}

		/* a repeated call: this failure is recorded already */
		if ((step.status == FAILED || step.status == PENDING) && same_text(failure->error, step.error))
			return (FailAnswer) {.status = step.status,.retry_count = step.retry_count,.run_at = step.run_at};

		/* it was, and told the program that it is to end */
		if (step.status == FAILED && same_text(step.error, request_error(&workflow)))
			return (FailAnswer) {.status = FAILED,.retry_count = step.retry_count,.run_at = a_null()};

		retry = failure->retryable && has_retry_left(&step.retries, step.retry_count);
		tells = retry && workflow.is_untold && !is_finished(workflow.status);
		retry = retry && !tells;
		if (!step_transition(retry ? EVENT_RETRY : EVENT_FAIL, step.status, &answer.status))
			raise_refusal(refuse_step_status(&step, EVENT_FAIL));
		lock_tree(&workflow.root_id, TREE_SHARED);
		recorded.values = (RecordFailure)
		{
			.workflow_id = an_id(&step.workflow_id),.sequence = an_int(step.sequence),
			.workflow_lease = an_int(workflow.lease),
			.lease = an_int(step.lease),.attempt = an_int(step.attempt),
			.error = tells ? request_error(&workflow) : failure->error,.detail = failure->detail,
			.retry = a_bool(retry)
		};
		if (tells ? tell_by(&workflow, record, &recorded) : record(&recorded))
		{
			answer.retry_count = step.retry_count + (retry ? 1 : 0);
			answer.run_at = recorded.values.run_at;
			if (!retry)
				have_ended(id, 1);
			recorded_under(&step.workflow_id, failure->lease);
			return answer;
		}
	}
}

/* fail of a workflow */
static FailAnswer
fail_workflow_of(const pg_uuid_t *id, const Failure *failure)
{
	Refusal    *refusal = refuse_attempt_of_workflow(failure->attempt, "attempt");

	if (refusal)
		raise_refusal(refusal);
	return fail_workflow(id, failure);
}

/* fail(task_id, error, lease, attempt, retryable, detail, retry_after) */
Datum
durable_fail(PG_FUNCTION_ARGS)
{
	NullableDatum task_id = fcinfo->args[0];
	NullableDatum retryable = fcinfo->args[4];
	Failure		failure = {
		.error = fcinfo->args[1],.lease = fcinfo->args[2],.attempt = fcinfo->args[3],
		.detail = fcinfo->args[5],.retry_after = fcinfo->args[6]
	};
	NullableDatum columns[3];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	const pg_uuid_t *id;
	FailAnswer	answer;
	Call		call;

	require(task_id, "task_id");
	id = DatumGetUUIDP(task_id.value);
	require(failure.error, "error");
	require(retryable, "retryable");
	failure.retryable = DatumGetBool(retryable.value);
	check_span(failure.retry_after, "retry_after");
	require_fences(id, failure.lease, "lease", failure.attempt, "attempt");

	call = begin_call(fcinfo);
	answer = id_sequence(id) < 0 ? fail_workflow_of(id, &failure) : fail_step(id, &failure);
	columns[0] = a_value(enum_datum(column_type(desc, 0), status_label(answer.status)));
	columns[1] = an_int(answer.retry_count);
	columns[2] = answer.run_at;
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
