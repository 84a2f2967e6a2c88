/*-------------------------------------------------------------------------
 *
 * wait.c
 *	  A workflow waits: sleep, await_signal, await_workflow, await_callback,
 *	  await_any.
 *
 * A wait is a step of the kind WAIT: nobody runs it, and it ends by what happens.
 * The call that asks looks whether that has happened (wait_end.c).  A wait that is
 * open still, or has its outcome, is answered from what was read: nothing is locked
 * or written.
 *
 * To create a wait, or to record its outcome, the call locks the tree (shared), so
 * that no cascade overlaps it, and the row of a wait that is there.  Then it looks
 * again, and takes the time: so nothing that it has decided is out of date.  It writes
 * one statement, which asks again for what makes a claim legal in the workflow, and
 * for the position, or the wait's status.  The workflow's row is not locked: what is
 * written under its lease commits only if the lease still holds then (fence.c).
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "cancel.h"
#include "step_internal.h"
#include "wait.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_sleep);
PG_FUNCTION_INFO_V1(durable_await_signal);
PG_FUNCTION_INFO_V1(durable_await_workflow);
PG_FUNCTION_INFO_V1(durable_await_callback);
PG_FUNCTION_INFO_V1(durable_await_any);

/* A call that asks for a wait. */
typedef struct Asking
{
	Step		wanted;			/* what is created if nothing is there */
	NullableDatum lease;
	Workflow	workflow;		/* as it was looked at */
	Step		wait;			/* the wait, or what is to be one */
	bool		is_new;
	bool		begins_again;	/* resume_failed has opened it */
	WaitEnd		end;
	BusySignals busy;
	bool		is_recorded;	/* its outcome is */
	bool		tells;			/* the program, by its outcome, that its end was requested */
	bool		tree_is_locked;
	bool		rows_are_locked;
	NullableDatum first;		/* of any: the one position that can still end it; -1: only its time */
	Rounds		rounds;
} Asking;

/* ---- what forbids it ---------------------------------------------------------------- */

/* What forbids a wait at a position, after what refuse_claim_in asks for; NULL also if its outcome is recorded. */
static Refusal *
refuse_asking(const Asking *a, const Step *found)
{
	if (found->status == NO_TASK)
		return refuse_new_position(&a->workflow, a->wanted.sequence);
	if (found->kind != WAIT || strcmp(found->name, a->wanted.name) != 0 || !is_sort(found, a->wanted.wait))
		return refuse_other_wait(found, a->wanted.name, a->wanted.wait);
	if (found->status == COMPLETED || found->status == FAILED)
		return NULL;
	if (a->workflow.status != RUNNING)
		return refuse_finished(&a->workflow);
	if (!step_transition(EVENT_END_WAIT, found->status, NULL))
		return refuse_step_status(found, EVENT_CLAIM);
	return NULL;
}

static void
require_other(bool is_other, const pg_uuid_t *awaited, const char *what)
{
	if (!is_other)
		bad_argument("awaited", psprintf("must not be %s", what),
					 psprintf("%s could not end while this workflow waits for it.", uuid_text(awaited)),
					 "Pass the id of another workflow.");
}

/* Raises an error for a workflow that could not go on while this one waits for it. */
static void
check_awaited(const Workflow *workflow, const pg_uuid_t *awaited)
{
	Workflow	other;
	Ancestor   *ancestors;
	int			count;
	bool		is_inline_below;

	require_other(!same_id(awaited, &workflow->id), awaited, "the workflow itself");
	look_workflow_or_raise(awaited, "awaited", NEWEST, &other);
	if (!same_id(&other.root_id, &workflow->root_id))
		return;
	ancestors = look_ancestors(workflow, &count);
	for (int i = 0; i < count; i++)
		require_other(!same_id(awaited, &ancestors[i].id), awaited, "an ancestor of the workflow");

	is_inline_below = is_inline(&other);
	ancestors = look_ancestors(&other, &count);
	for (int i = 0; i < count && is_inline_below && !same_id(&ancestors[i].id, &workflow->id); i++)
		is_inline_below = !ancestors[i].is_driven;
	require_other(!is_inline_below, awaited, "an inline child of the workflow, or below one");
}

#define LOOK_UNKNOWN(P) \
	P(workflow_id, UUIDOID) \
	P(sequences, INT4ARRAYOID)
PARAMETERS(LookUnknown, LOOK_UNKNOWN);

static Statement look_unknown = STATEMENT(LookUnknown,
	"SELECT b.sequence FROM unnest(:sequences) WITH ORDINALITY AS b (sequence, n) "
	"LEFT JOIN durable.step s ON s.workflow_id = :workflow_id AND s.sequence = b.sequence "
	"WHERE s.workflow_id IS NULL ORDER BY b.n LIMIT 1");

/* Raises an error if one of the positions has no step. */
static void
check_sequences(const Workflow *workflow, NullableDatum sequences)
{
	if (run(&look_unknown, &(LookUnknown)
			{
				.workflow_id = an_id(&workflow->id),.sequences = sequences
			}, NEWEST) > 0)
		bad_argument("sequences", "must be positions of the workflow that are recorded",
					 psprintf("Nothing is recorded at position %d of workflow %s.",
							  DatumGetInt32(result_value(0, 0)), uuid_text(&workflow->id)),
					 "Record what is to be waited for first, then wait.");
}

/* ---- telling ------------------------------------------------------------------------- */

/* Whether what has ended a new wait is that a child has failed, or was cancelled, that was asked to end, too. */
static bool
ends_by_asked_child(const Asking *a, TimestampTz now)
{
	Workflow	awaited;

	if (!is_sort(&a->wait, FOR_WORKFLOW) || a->end.status != FAILED ||
		(!a->wait.run_at.isnull && DatumGetTimestampTz(a->wait.run_at.value) <= now))
		return false;
	look_workflow_or_raise(DatumGetUUIDP(a->wait.awaited.value), "awaited", NEWEST, &awaited);
	return tells_by_end(&a->workflow, &awaited);
}

static bool
begin_ended_wait(void *arg)
{
	const Asking *a = arg;
	WaitFence	fence = {.lease = an_int(a->workflow.lease),.open_at = a_time(clock_now())};

	return begin_wait(&a->wait, &a->end, &fence) == WRITTEN;
}

/* ---- asking ------------------------------------------------------------------------- */

/* Looks at the workflow and at the position, and fills in the wait and what has ended it. */
static uint64
look_at_wait(Asking *a)
{
	const Step *wanted = &a->wanted;
	TimestampTz now = clock_now();
	Refusal    *refusal;
	Step		wait;

	if (!look_step(&wanted->workflow_id, wanted->sequence, NEWEST, &a->workflow, &a->wait))
		look_workflow_or_raise(&wanted->workflow_id, "workflow_id", NEWEST, &a->workflow);
	if ((refusal = refuse_claim_in(&a->workflow, a->lease, now)) != NULL ||
		(refusal = refuse_asking(a, &a->wait)) != NULL)
		raise_refusal(refusal);

	a->is_new = a->wait.status == NO_TASK;
	a->is_recorded = a->wait.status == COMPLETED || a->wait.status == FAILED;
	a->begins_again = !a->is_new && !a->is_recorded && a->wait.started_at.isnull;
	if (a->is_recorded)
	{
		a->end = (WaitEnd)
		{
			.status = a->wait.status,.output = a->wait.output,.error = a->wait.error,.detail = a->wait.detail
		};
		return 0;
	}
	if (a->is_new)
	{
		a->wait = *wanted;
		if (!wanted->awaited.isnull)
			check_awaited(&a->workflow, DatumGetUUIDP(wanted->awaited.value));
		if (!wanted->sequences.isnull)
			check_sequences(&a->workflow, wanted->sequences);
	}
	if (a->is_new || a->begins_again)
		begin_times(&a->wait, now);
	wait = a->wait;
	if (!a->first.isnull)
	{
		int32		first = DatumGetInt32(a->first.value);

		wait.sequences = a_value(int_array(&first, first < 0 ? 0 : 1));
	}
	a->end = find_end(&wait, now, &a->busy);
	a->tells = a->is_new && a->workflow.is_untold;
	if (a->tells && !ends_by_asked_child(a, now))
	{
		a->end = STILL_OPEN;
		a->end.status = FAILED;
		a->end.at = now;
		a->end.error = request_error(&a->workflow);
	}
	return seen_of(&a->workflow, &a->wait);
}

/*
 * Locks what is not locked yet: the tree; then the rows of a wait that is there and
 * of the open wait that has ended it, if that is one for any, in their order.  From
 * then on no other position can end it.  False if nothing was left to lock.
 */
static bool
lock_to_write(Asking *a)
{
	Positions	positions = new_positions(2);
	int32		own = a->wait.sequence;
	int32		first = a->end.first;

	bool		locked = !a->tree_is_locked;

	if (!a->tree_is_locked)
	{
		lock_tree(&a->workflow.root_id, TREE_SHARED);
		a->tree_is_locked = true;
		/* another position may have ended first since */
		if (is_sort(&a->wait, FOR_ANY))
			return true;
	}
	if (a->rows_are_locked || (a->is_new && !a->end.first_is_open))
		return locked;
	if (a->end.first_is_open && first < own)
		append_position(&positions, &a->wait.workflow_id, first);
	if (!a->is_new)
		append_position(&positions, &a->wait.workflow_id, own);
	if (a->end.first_is_open && first > own)
		append_position(&positions, &a->wait.workflow_id, first);
	lock_steps(&positions);
	a->rows_are_locked = true;
	if (a->end.status != NO_TASK && is_sort(&a->wait, FOR_ANY))
		a->first = an_int(first);
	return true;
}

/* Records an outcome.  A signal that it cannot have does not count any more. */
static Written
write_end(Asking *a, const Step *wait, const WaitEnd *end, const WaitFence *fence)
{
	Written		result = wait->status == NO_TASK ? begin_wait(wait, end, fence) : end_wait(wait, end, fence);

	if (result == SIGNAL_IS_BUSY)
		append_busy(&a->busy, end->signal_name, DatumGetUUIDP(end->signal_id.value));
	return result;
}

/* Records the outcome of the open wait that has ended a wait for any; which may be one for any itself. */
static Written
write_first(Asking *a, int32 sequence, const WaitFence *fence)
{
	TimestampTz now = DatumGetTimestampTz(fence->open_at.value);
	Workflow	workflow;
	Step		first;
	WaitEnd		end;
	Written		result;

	check_stack_depth();
	if (!look_step(&a->wait.workflow_id, sequence, NEWEST, &workflow, &first))
		return OVERTAKEN;
	if (first.started_at.isnull)
		begin_times(&first, now);
	end = find_end(&first, now, &a->busy);
	if (end.first_is_open && (result = write_first(a, end.first, fence)) != WRITTEN)
		return result;
	return end.status == NO_TASK ? OVERTAKEN : write_end(a, &first, &end, fence);
}

/* Writes what the look has decided, under the locks. */
static Written
write_wait(Asking *a)
{
	WaitFence	fence = {.lease = an_int(a->workflow.lease),.open_at = a_time(clock_now())};
	Written		result;

	if (a->end.first_is_open && (result = write_first(a, a->end.first, &fence)) != WRITTEN)
		return result;
	if (a->is_new && !a->wait.awaited.isnull && a->end.status == NO_TASK)
		hold_awaited(DatumGetUUIDP(a->wait.awaited.value));

	watch_waits(&a->rounds);
	if (a->begins_again && a->end.status == NO_TASK)
		result = begin_wait_again(&a->wait, &fence) ? WRITTEN : OVERTAKEN;
	else
		result = write_end(a, &a->wait, &a->end, &fence);
	/* an open one counts its time from when it is there */
	if (result == WRITTEN && a->is_new && a->end.status == NO_TASK && has_waited(&a->rounds, 1))
	{
		take_back_wait(&a->wait);
		return OVERTAKEN;
	}
	return result;
}

static void
answer_end(const Asking *a, ClaimAnswer *answer)
{
	const WaitEnd *end = &a->end;

	*answer = (ClaimAnswer)
	{
		.step_id = a->wait.id,.output = a_null(),.error = a_null(),.attempt = an_int(1),
		.run_at = a_null(),.detail = a_null()
	};
	if (end->status == NO_TASK)
	{
		answer->action = "WAIT";
		answer->run_at = a->wait.run_at;
	}
	else if (end->status == COMPLETED)
	{
		answer->action = "REPLAY";
		answer->output = end->output;
	}
	else
	{
		answer->action = "FAILED";
		answer->error = end->error;
		answer->detail = end->detail;
	}
}

/*
 * Finds or creates the wait, and records its outcome if there is one.  Where a new
 * step is expected, the tree is locked before the first look, which then suffices.
 */
static void
ask(Asking *a, ClaimAnswer *answer)
{
	pg_uuid_t	root_id;
	bool		was_expected = !a->lease.isnull && !XactReadOnly &&
		expects_new_step(&a->wanted.workflow_id, a->wanted.sequence) &&
		try_lock_known_tree(&a->wanted.workflow_id, &root_id);

	a->tree_is_locked = was_expected;
	for (;;)
	{
		uint64		seen = look_at_wait(a);
		bool		is_to_write = !a->is_recorded && (a->is_new || a->begins_again || a->end.status != NO_TASK);
		Written		result = OVERTAKEN;

		if (is_to_write && !lock_to_write(a))
		{
			if (a->tells)
				result = tell_by(&a->workflow, begin_ended_wait, a) ? WRITTEN : OVERTAKEN;
			else
				result = write_wait(a);
			if (result == WRITTEN)
			{
				recorded_under(&a->wait.workflow_id, a->lease);
				if (a->is_new)
					expect_new_step(&a->wait.workflow_id, a->wait.sequence + 1);
				/* who had a signal may have given it back while we waited for the position */
				if (a->busy.count > 0 && a->end.status == NO_TASK)
					result = OVERTAKEN;
			}
		}
		if (!is_to_write || result == WRITTEN)
		{
			if (!is_to_write && was_expected)
				unlock_known_tree(&root_id);
			answer_end(a, answer);
			return;
		}
		CHECK_FOR_INTERRUPTS();
		if (result == SIGNAL_IS_BUSY)
			continue;
		a->busy = (BusySignals) {0};
		next_round(&a->rounds, "durable.step", seen);
	}
}

/* ---- SQL functions -------------------------------------------------------------------- */

/* The wait that a call asks for, by what all of them are given; and the row type of the answer. */
static Asking
asking(FunctionCallInfo fcinfo, const char *sort, NullableDatum lease, NullableDatum timeout)
{
	Asking		a = {.lease = lease,.first = a_null()};

	require(fcinfo->args[0], "workflow_id");
	require_sequence(fcinfo->args[1]);
	require_name(fcinfo->args[2], "name");
	require_fence(lease, "lease");
	a.wanted = (Step)
	{
		.workflow_id = *PG_GETARG_UUID_P(0),.sequence = PG_GETARG_INT32(1),.status = NO_TASK,.kind = WAIT,
		.name = TextDatumGetCString(fcinfo->args[2].value),.wait = unconstify(char *, sort),
		.timeout = timeout,.run_at = a_null(),.started_at = a_null(),.signals = a_null(),.awaited = a_null(),
		.sequences = a_null()
	};
	id_step(&a.wanted.workflow_id, a.wanted.sequence, &a.wanted.id);
	return a;
}

static Datum
ask_and_answer(FunctionCallInfo fcinfo, Asking *a)
{
	TupleDesc	desc = result_desc(fcinfo, CLAIM_COLUMNS);
	NullableDatum columns[CLAIM_COLUMNS];
	ClaimAnswer answer;
	Call		call;

	call = begin_call(fcinfo);
	ask(a, &answer);
	fill_answer(desc, 0, &answer, columns);
	return end_call_with_row(desc, &call, columns);
}

/* sleep(workflow_id, sequence, name, duration, until, lease) */
Datum
durable_sleep(PG_FUNCTION_ARGS)
{
	NullableDatum duration = fcinfo->args[3];
	NullableDatum until = fcinfo->args[4];
	Asking		a = asking(fcinfo, SLEEP, fcinfo->args[5], duration);

	check_span(duration, "duration");
	if (!until.isnull && TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(until.value)))
		bad_argument("until", "must be finite", "It is infinity, or minus infinity.", "Pass a time.");
	if (duration.isnull == until.isnull)
		bad_argument("until", duration.isnull ? "must not be NULL where there is no duration" :
					 "must be NULL where there is a duration",
					 duration.isnull ? "Neither was given." : "Both were given.", "Pass exactly one of the two.");
	if (!until.isnull)
		a.wanted.run_at = a_time(clock_latest(DatumGetTimestampTz(until.value)));
	PG_RETURN_DATUM(ask_and_answer(fcinfo, &a));
}

/* await_signal(workflow_id, sequence, name, timeout, lease, signals) */
Datum
durable_await_signal(PG_FUNCTION_ARGS)
{
	NullableDatum signals = fcinfo->args[5];
	Asking		a = asking(fcinfo, FOR_SIGNAL, fcinfo->args[4], fcinfo->args[3]);

	check_interval(fcinfo->args[3], "timeout");
	if (!signals.isnull)
	{
		int			count = check_array(signals, "signals");
		Elements	names;

		if (count == 0)
			bad_argument("signals", "must not be empty", "It has no element.",
						 "Pass names of signals, or NULL for the one by the name of the wait.");
		names = elements_of(signals, TEXTOID, count);
		for (int i = 0; i < count; i++)
			check_name(element_of(&names, i), "signals");
	}
	a.wanted.signals = signals;
	PG_RETURN_DATUM(ask_and_answer(fcinfo, &a));
}

/* await_workflow(workflow_id, sequence, name, awaited, timeout, lease) */
Datum
durable_await_workflow(PG_FUNCTION_ARGS)
{
	Asking		a = asking(fcinfo, FOR_WORKFLOW, fcinfo->args[5], fcinfo->args[4]);

	require(fcinfo->args[3], "awaited");
	check_interval(fcinfo->args[4], "timeout");
	a.wanted.awaited = fcinfo->args[3];
	PG_RETURN_DATUM(ask_and_answer(fcinfo, &a));
}

/* await_callback(workflow_id, sequence, name, timeout, lease) */
Datum
durable_await_callback(PG_FUNCTION_ARGS)
{
	Asking		a = asking(fcinfo, FOR_CALLBACK, fcinfo->args[4], fcinfo->args[3]);

	check_interval(fcinfo->args[3], "timeout");
	PG_RETURN_DATUM(ask_and_answer(fcinfo, &a));
}

/* await_any(workflow_id, sequence, name, sequences, timeout, lease) */
Datum
durable_await_any(PG_FUNCTION_ARGS)
{
	NullableDatum sequences = fcinfo->args[3];
	Asking		a = asking(fcinfo, FOR_ANY, fcinfo->args[5], fcinfo->args[4]);
	Elements	positions;
	int			count;

	require(sequences, "sequences");
	count = check_array(sequences, "sequences");
	check_interval(fcinfo->args[4], "timeout");
	if (count == 0)
		bad_argument("sequences", "must not be empty", "It has no element.", "Pass positions of the workflow.");
	positions = elements_of(sequences, INT4OID, count);
	for (int i = 0; i < count; i++)
	{
		require_sequence(element_of(&positions, i));
		if (DatumGetInt32(element_of(&positions, i).value) == a.wanted.sequence)
			bad_argument("sequences", "must not hold the position of the wait itself",
						 psprintf("It holds %d.", a.wanted.sequence), "Pass other positions of the workflow.");
	}
	a.wanted.sequences = sequences;
	PG_RETURN_DATUM(ask_and_answer(fcinfo, &a));
}
