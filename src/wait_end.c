/*-------------------------------------------------------------------------
 *
 * wait_end.c
 *	  How a wait ends: by what has happened, as the call finds that asks, or by an
 *	  answer from outside.
 *
 * What counts is when something happened, not when the call asks: what came before
 * the time of the wait is its outcome, and nothing that came later.  So a wait whose
 * time has passed cannot be answered any more, though nobody has asked yet, and an
 * outcome that is recorded late carries the time at which it happened.
 *
 * Looking for an end locks nothing.  Whoever records one holds the tree (shared) and
 * the row of the wait, as for the outcome of any step, and asks again under these
 * locks.  A signal is taken in the same statement, unless another wait is about to
 * take it: then the next one is looked for.  Nobody waits for a signal's row.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "outcome.h"
#include "signal.h"
#include "sql.h"
#include "step_internal.h"
#include "table.h"
#include "wait.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_answer);

/* ---- what has ended it ---------------------------------------------------------- */

static bool
is_open(TaskStatus status)
{
	return step_transition(EVENT_END_WAIT, status, NULL);
}

/* Whether the wait's own time has come. */
static bool
is_over(const Step *wait, TimestampTz now)
{
	return !wait->run_at.isnull && DatumGetTimestampTz(wait->run_at.value) <= now;
}

static WaitEnd
end_by_signal(const Step *wait, const BusySignals *busy)
{
	WaitEnd		end = STILL_OPEN;
	Signal		signal;

	if (!next_signal(wait, busy, &signal))
		return end;
	end.status = COMPLETED;
	end.at = signal.sent_at;
	end.signal_id = signal.id;
	end.signal_name = signal.name;
	end.output = signal.output;
	return end;
}

#define LOOK_AWAITED(P) \
	P(awaited, UUIDOID)
PARAMETERS(LookAwaited, LOOK_AWAITED);

#define OUTCOME(F, C, t) F(t, status) C(t, completed_at) C(t, output) C(t, error) C(t, detail)
ROW(Outcome, OUTCOME);

static Statement look_awaited = STATEMENT(LookAwaited,
	"SELECT " COLUMNS(OUTCOME, "w.") " FROM durable.workflow w WHERE w.id = :awaited "
	"UNION ALL SELECT " COLUMNS(OUTCOME, "a.") " FROM durable.awaited_outcome a WHERE a.workflow_id = :awaited "
	"LIMIT 1");

static WaitEnd
end_by_workflow(const Step *wait)
{
	WaitEnd		end = STILL_OPEN;
	Outcome		outcome;

	if (run(&look_awaited, &(LookAwaited) {.awaited = wait->awaited}, NEWEST) == 0)
	{
		/* purged while this wait was not open: resume_failed has opened it again */
		end.status = FAILED;
		end.at = DT_NOBEGIN;
		end.error = a_value(CStringGetTextDatum(refusal_text(refuse_unknown_task(DatumGetUUIDP(wait->awaited.value)))));
		return end;
	}
	fetch(0, 0, &outcome);
	if (!is_finished(status_from_datum(outcome.status.value)))
		return end;
	end.status = status_from_datum(outcome.status.value);
	end.at = DatumGetTimestampTz(outcome.completed_at.value);
	end.output = outcome.output;
	end.error = outcome.error;
	end.detail = outcome.detail;
	if (end.status == CANCELLED)
	{
		end.status = FAILED;
		end.error = a_value(CStringGetTextDatum("workflow cancelled"));
		end.detail = a_null();
	}
	return end;
}

#define LOOK_POSITIONS(P) \
	P(workflow_id, UUIDOID) \
	P(sequences, INT4ARRAYOID)
PARAMETERS(LookPositions, LOOK_POSITIONS);

#define SELECTED(F, C, t) F(t, sequence) C(t, completed_at) C(t, is_wait)
ROW(Selected, SELECTED);

/* In the order of the array. */
static Statement look_positions = STATEMENT(LookPositions,
	"SELECT s.sequence, s.completed_at, s.kind = 'WAIT' "
	"FROM unnest(:sequences) WITH ORDINALITY AS b (sequence, n) CROSS JOIN LATERAL ("
	"  SELECT o.sequence, o.completed_at, o.kind FROM durable.step o "
	"  WHERE o.workflow_id = :workflow_id AND o.sequence = b.sequence OFFSET 0) s "
	"ORDER BY b.n");

/* When a wait for any has ended that others wait for. */
typedef struct NestedEnd
{
	int32		sequence;
	bool		has_ended;
	TimestampTz at;
} NestedEnd;

/* What has been found of waits for any in a call, by sequence: however many ways lead to one, it is looked at once. */
typedef struct NestedEnds
{
	HTAB	   *found;			/* NULL until the first */
} NestedEnds;

static WaitEnd find(const Step *wait, TimestampTz now, const BusySignals *busy, NestedEnds *nested);

/* Whether an open wait of that position has ended, and when. */
static bool
find_nested(const Step *wait, int32 sequence, TimestampTz now, const BusySignals *busy, NestedEnds *nested, TimestampTz *at)
{
	Workflow	workflow;
	Step		other;
	NestedEnd  *known;
	WaitEnd		end;

	if (nested->found && (known = hash_search(nested->found, &sequence, HASH_FIND, NULL)) != NULL)
	{
		*at = known->at;
		return known->has_ended;
	}
	if (!look_step(&wait->workflow_id, sequence, NEWEST, &workflow, &other) || !is_open(other.status))
		return false;
	if (other.started_at.isnull)
		begin_times(&other, now);
	end = find(&other, now, busy, nested);
	*at = end.at;
	if (is_sort(&other, FOR_ANY))
	{
		if (nested->found == NULL)
			nested->found = hash_create("nested waits",
										16, &(HASHCTL)
										{
											.keysize = sizeof(int32),.entrysize = sizeof(NestedEnd),.hcxt = CurrentMemoryContext
										}, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		known = hash_search(nested->found, &sequence, HASH_ENTER, NULL);
		known->has_ended = end.status != NO_TASK;
		known->at = end.at;
	}
	return end.status != NO_TASK;
}

/* The one of its positions that has ended first, ties in their order. */
static WaitEnd
end_by_first(const Step *wait, TimestampTz now, const BusySignals *busy, NestedEnds *nested)
{
	WaitEnd		end = STILL_OPEN;
	uint64		count = run(&look_positions, &(LookPositions)
							{
								.workflow_id = an_id(&wait->workflow_id),.sequences = wait->sequences
							}, NEWEST);
	Selected   *positions = palloc(Max(count, 1) * sizeof(Selected));

	check_stack_depth();
	for (uint64 row = 0; row < count; row++)
		fetch(row, 0, &positions[row]);
	for (uint64 i = 0; i < count; i++)
	{
		int32		sequence = DatumGetInt32(positions[i].sequence.value);
		bool		open = false;
		TimestampTz at;

		if (!positions[i].completed_at.isnull)
			at = DatumGetTimestampTz(positions[i].completed_at.value);
		else if (DatumGetBool(positions[i].is_wait.value) && find_nested(wait, sequence, now, busy, nested, &at))
			open = true;
		else
			continue;
		if (end.status == NO_TASK || at < end.at)
		{
			end.status = COMPLETED;
			end.at = at;
			end.first = sequence;
			end.first_is_open = open;
		}
	}
	if (end.status != NO_TASK)
		end.output = a_value(DirectFunctionCall1(jsonb_in,
												 CStringGetDatum(psprintf("{\"sequence\": %d}", end.first))));
	return end;
}

/* Its time has passed: that ends a sleep well, and any other wait not. */
static WaitEnd
end_by_time(const Step *wait)
{
	WaitEnd		end = STILL_OPEN;

	end.at = DatumGetTimestampTz(wait->run_at.value);
	end.status = is_sort(wait, SLEEP) ? COMPLETED : FAILED;
	if (end.status == FAILED)
		end.error = a_value(CStringGetTextDatum(refusal_text(refuse_timed_out(wait))));
	return end;
}

static WaitEnd
find(const Step *wait, TimestampTz now, const BusySignals *busy, NestedEnds *nested)
{
	WaitEnd		end = STILL_OPEN;

	if (is_sort(wait, FOR_SIGNAL))
		end = end_by_signal(wait, busy);
	else if (is_sort(wait, FOR_WORKFLOW))
		end = end_by_workflow(wait);
	else if (is_sort(wait, FOR_ANY))
		end = end_by_first(wait, now, busy, nested);

	/* what is there has happened before now, whatever time it carries: the clock may have been set back */
	end.at = Min(end.at, now - 1);
	if (end.status == NO_TASK || (!wait->run_at.isnull && end.at >= DatumGetTimestampTz(wait->run_at.value)))
		end = is_over(wait, now) ? end_by_time(wait) : STILL_OPEN;
	/* it may have happened before anybody waited for it */
	end.at = Max(end.at, DatumGetTimestampTz(wait->started_at.value));
	return end;
}

/*
 * What has ended an open wait, as far as is committed and our own; signals in busy
 * do not count.
 */
WaitEnd
find_end(const Step *wait, TimestampTz now, const BusySignals *busy)
{
	return find(wait, now, busy, &(NestedEnds) {0});
}

/* ---- recording it ------------------------------------------------------------------ */

#define END_WAIT(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(open_at, TIMESTAMPTZOID) \
	P(started_at, TIMESTAMPTZOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(completes, BOOLOID) \
	P(output, JSONBOID) \
	P(error, TEXTOID) \
	P(detail, JSONBOID) \
	P(at, TIMESTAMPTZOID) \
	P(signal_id, UUIDOID)
PARAMETERS(EndWait, END_WAIT);

/* Parameters of record_end, and whether its fast path did it. */
typedef struct FastEnd
{
	EndWait		params;
	bool		done;
} FastEnd;

/* What a call has found that asks; the wait's row is locked. */
static bool
end_row_of_wait(const Look *look, const EndWait *p)
{
	TaskStatus	status;
	Writing		writing;
	bool		done;

	if (!step_transition(DatumGetBool(p->completes.value) ? EVENT_END_WAIT : EVENT_FAIL_WAIT,
						 status_of_row(look, step_status), &status))
		return false;
	begin_writing(&writing, look);
	row_as_seen(&writing, look);
	set_label(&writing, step_status, status_label(status));
	set(&writing, step_started_at, p->started_at);
	set(&writing, step_run_at, p->run_at);
	set(&writing, step_output, p->output);
	set(&writing, step_error, p->error);
	set(&writing, step_detail, p->detail);
	set(&writing, step_completed_at, p->at);
	done = update_row(&writing, look);
	end_writing(&writing);
	return done;
}

/* Not an answer, whose conditions are others.  The row of the open wait is deleted by the statement of unlist_wait. */
static int64
fast_record_end(const void *params)
{
	FastEnd    *end = (FastEnd *) params;
	const EndWait *p = params;
	Look		look;
	Look		taken;
	int32		lease;

	if (XactReadOnly || p->open_at.isnull || p->lease.isnull || p->signal_id.isnull ||
		!look_at_lease(p->workflow_id, p->lease, p->open_at, &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock,
					(Key[]) {IS_ID(step_workflow_id, p->workflow_id), IS_INT(step_sequence, p->sequence)}, 2))
		return NOT_FAST;
	if (look.row && kind_from_datum(column_of_row(&look, step_kind).value) == WAIT && is_open(status_of_row(&look, step_status)) &&
		is_free_to_update(&look) && begin_taking(&taken, p->workflow_id, p->signal_id))
	{
		end->done = take_signal(&taken, p->sequence);
		end_look(&taken);
		if (end->done && !end_row_of_wait(&look, p))
			raise_kept_away("durable.step");
	}
	end_look(&look);
	if (end->done)
		unlist_wait(p->workflow_id, p->sequence);
	return end->done ? 1 : NOT_FAST;
}

static Statement record_end = STATEMENT(EndWait,
	"WITH " FREE_SIGNAL ", "
	"ended AS ("
	"  UPDATE durable.step s SET"
	"    status = CASE WHEN :completes THEN {step to END_WAIT} ELSE {step to FAIL_WAIT} END,"
	"    started_at = :started_at, run_at = :run_at, output = :output, error = :error, detail = :detail,"
	"    completed_at = :at "
	"  FROM durable.workflow w "
	"  WHERE w.id = :workflow_id AND (:lease IS NULL OR w.lease = :lease) AND " CHECKED(UNFINISHED("w"))
	"    AND (:open_at IS NULL OR " OPEN_AT(":open_at") ") AND " SIGNAL_IS_FREE
	"    AND (:open_at IS NOT NULL OR s.run_at IS NULL OR s.run_at > :at)"
	"    AND s.workflow_id = :workflow_id AND s.sequence = :sequence AND s.kind = 'WAIT'"
	"    AND s.status = ANY (CASE WHEN :completes THEN {step from END_WAIT} ELSE {step from FAIL_WAIT} END) RETURNING 1), "
	"unlisted AS ("
	"  DELETE FROM durable.open_wait o WHERE o.workflow_id = :workflow_id AND o.sequence = :sequence"
	"    AND EXISTS (SELECT 1 FROM ended) RETURNING 1), "
	TAKE_FREE_SIGNAL("ended")
	"SELECT (SELECT count(*) FROM ended), (SELECT count(*) FROM free)",
	.fast = fast_record_end);

/*
 * Records the outcome of an open wait, under the locks of the tree and of its row.  An
 * answer from outside counts until the wait's time; what a call has found has been
 * compared with that.
 */
Written
end_wait(const Step *wait, const WaitEnd *end, const WaitFence *fence)
{
	FastEnd		ending = {
		.params = {
			.workflow_id = an_id(&wait->workflow_id),.sequence = an_int(wait->sequence),
			.lease = fence->lease,.open_at = fence->open_at,
			.started_at = wait->started_at,.run_at = wait->run_at,
			.completes = a_bool(end->status == COMPLETED),.output = end->output,.error = end->error,
			.detail = end->detail,.at = a_time(end->at),.signal_id = end->signal_id
		}
	};
	Written		result;

	run(&record_end, &ending, NEWEST);
	result = ending.done ? WRITTEN : written(end->signal_id);
	if (result == WRITTEN)
		have_ended(&wait->id, 1);
	return result;
}

/* ---- answers from outside -------------------------------------------------------------- */

/* What forbids to answer a wait, after what refuse_outcome asks for; *repeated if it has that outcome already. */
Refusal *
refuse_answer(const Workflow *workflow, const Step *wait, const Answer *answer, TimestampTz now, bool *repeated)
{
	bool		fails = !answer->error.isnull;

	*repeated = fails ? wait->status == FAILED && same_text(answer->error, wait->error) :
		wait->status == COMPLETED && same_json(answer->output, wait->output);
	if (*repeated)
		return NULL;
	if (wait->status == COMPLETED && !fails)
		return refuse_other_output("wait", &wait->id, wait->name);
	if (!is_open(wait->status))
		return refuse_step_status(wait, EVENT_END_WAIT);
	if (workflow->status == COMPLETED || workflow->status == FAILED)
		return refuse_finished(workflow);
	if (is_over(wait, now))
		return refuse_late_answer(wait);
	return NULL;
}

/* Records an answer, under the locks of the tree and of the row; false if something overtook us. */
bool
answer_locked_wait(const Workflow *workflow, const Step *wait, const Answer *answer, TimestampTz now)
{
	WaitEnd		end = {
		.status = answer->error.isnull ? COMPLETED : FAILED,.at = now,.output = answer->output,
		.error = answer->error,.detail = answer->detail,.signal_id = a_null()
	};

	if (end_wait(wait, &end, &(WaitFence) {.lease = answer->lease,.open_at = a_null()}) != WRITTEN)
		return false;
	recorded_under(&wait->workflow_id, answer->lease);
	note_news_of(&workflow->id);
	return true;
}

/*
 * Ends an open wait with an answer: true if this call did it, false if it has that
 * outcome already.  Locks the tree (shared), then the wait's row; then it looks again,
 * and takes the time.
 */
bool
answer_wait(const pg_uuid_t *id, const Answer *answer, const char *argument)
{
	Workflow	workflow;
	Step		wait;
	Rounds		rounds = {0};
	bool		locked = false;

	for (;; next_round(&rounds, "durable.step", seen_of(&workflow, &wait)))
	{
		TimestampTz now = clock_now();
		Refusal    *refusal;
		bool		repeated;

		look_step_to_end(id, argument, answer->lease, answer->attempt, &workflow, &wait);
		if (wait.kind != WAIT)
			raise_refusal(refuse_argument(argument, "must be the id of a wait",
										  psprintf("%s is step %d \"%s\", which somebody runs.", uuid_text(id),
												   wait.sequence, wait.name),
										  "Whoever runs a step ends it with complete or fail."));
		if ((refusal = refuse_answer(&workflow, &wait, answer, now, &repeated)) != NULL)
			raise_refusal(refusal);
		if (repeated)
			return false;
		if (locked && answer_locked_wait(&workflow, &wait, answer, now))
			return true;
		lock_tree(&workflow.root_id, TREE_SHARED);
		lock_step(&wait.workflow_id, wait.sequence);
		locked = true;
	}
}

/* answer(step_id, output, error) */
Datum
durable_answer(PG_FUNCTION_ARGS)
{
	Answer		answer = {
		.output = fcinfo->args[1],.error = fcinfo->args[2],.detail = a_null(),.lease = a_null(),.attempt = a_null()
	};
	const pg_uuid_t *id;
	bool		done;
	Call		call;

	require(fcinfo->args[0], "step_id");
	id = PG_GETARG_UUID_P(0);
	if (id_sequence(id) < 0)
		bad_argument("step_id", "must be the id of a wait", psprintf("%s is the id of a workflow.", uuid_text(id)),
					 "Use complete or fail to end a workflow.");
	if (!answer.output.isnull && !answer.error.isnull)
		bad_argument("error", "must be NULL where there is an output", "Both were given.",
					 "Pass the one or the other: a wait ends well, or it fails.");

	call = begin_call(fcinfo);
	done = answer_wait(id, &answer, "step_id");
	end_call(&call);
	PG_RETURN_BOOL(done);
}
