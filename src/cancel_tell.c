/*-------------------------------------------------------------------------
 *
 * cancel_tell.c
 *	  How the program of a workflow is told that its end was requested: once, by
 *	  what comes first.
 *
 * request_cancel tells it itself where something is open that it can end.  Otherwise
 * the workflow's row says that it is untold (cancel_untold), which every call reads
 * anyway, and the calls of its driver tell it: by the answer that a child has failed
 * that was asked, too, by a failure that would be tried again, or by the first position
 * that is new, which is recorded as FAILED.
 *
 * Whoever tells holds the tree (shared), so no request overlaps it, then locks the
 * workflow's row and marks it as told, then records the position.  So of two positions
 * that are new at the same time only one tells: the other waits for the row, finds it
 * told, and is claimed.  All that is a subtransaction: if something is in the way, the
 * mark and the row's lock are given back, and the caller looks again.  No other call
 * takes a new position meanwhile: their statements ask whether the workflow is untold.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "cancel.h"
#include "sql.h"

#include "access/xact.h"
#include "utils/builtins.h"

#define OF_ONE(P) \
	P(id, UUIDOID)
PARAMETERS(OfOne, OF_ONE);

static Statement look_reason = STATEMENT(OfOne,
	"SELECT w.cancel_reason FROM durable.workflow w WHERE w.id = :id AND " CHECKED("w.cancel_requested_at IS NOT NULL"));

/* The error by which the program of a workflow is told, or was; NULL if it was not asked to end. */
NullableDatum
request_error(const Workflow *workflow)
{
	if (run(&look_reason, &(OfOne) {.id = an_id(&workflow->id)}, NEWEST) == 0)
		return a_null();
	return a_value(CStringGetTextDatum(refusal_text(refuse_by_request(result_column(0, 0)))));
}

/* ---- telling ---------------------------------------------------------------------- */

#define SET_TOLD(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID)
PARAMETERS(SetTold, SET_TOLD);

static Statement set_told = STATEMENT(SetTold,
	"UPDATE durable.workflow w SET cancel_untold = NULL "
	"WHERE w.id = :id AND w.lease = :lease AND " CHECKED("w.cancel_untold AND w.status = ANY {workflow from TELL}"));

typedef struct Telling
{
	const Workflow *workflow;
	Recording	record;
	void	   *arg;
} Telling;

static bool
tell(void *arg)
{
	const Telling *t = arg;

	if (run(&set_told, &(SetTold) {.id = an_id(&t->workflow->id),.lease = an_int(t->workflow->lease)}, NEWEST) == 0)
		return false;
	return t->record == NULL || t->record(t->arg);
}

/*
 * Tells a workflow, as it was looked at, by what record writes, or, without one, by
 * what is recorded already.  False if something overtook us: then nothing is changed.
 * The caller has locked the tree (shared).
 */
bool
tell_by(const Workflow *workflow, Recording record, void *arg)
{
	Rounds		rounds = {0};

	return write_batch(tell, &(Telling) {.workflow = workflow,.record = record,.arg = arg}, &rounds);
}

/* ---- a new position ----------------------------------------------------------------- */

#define INSERT_TOLD(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(kind, TEXTOID) \
	P(name, TEXTOID) \
	P(input, JSONBOID) \
	P(executor_id, TEXTOID) \
	P(error, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(InsertTold, INSERT_TOLD);

/* It never ran: that is attempt 0. */
static Statement insert_told = STATEMENT(InsertTold,
	"INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, input, executor_id, error,"
	"  started_at, completed_at) "
	"SELECT w.id, :sequence, w.lease, 0, {step to TELL}, :kind::durable.task_kind, :name, :input, :executor_id, :error,"
	"  :now, :now "
	"FROM durable.workflow w WHERE w.id = :workflow_id AND w.lease = :lease AND " OPEN_AT(":now") " "
	"ON CONFLICT (workflow_id, sequence) DO NOTHING");

static bool
record_position(void *arg)
{
	InsertTold *position = arg;

	position->now = a_time(clock_now());
	return run(&insert_told, position, NEWEST) > 0;
}

/* Tells a workflow by recording a new position as FAILED: a step, or a child that is not created. */
bool
tell_at(const Workflow *workflow, int32 sequence, TaskKind kind, NullableDatum name, NullableDatum input,
		NullableDatum executor_id)
{
	InsertTold	position = {
		.workflow_id = an_id(&workflow->id),.sequence = an_int(sequence),.lease = an_int(workflow->lease),
		.kind = a_value(CStringGetTextDatum(kind_label(kind))),.name = name,.input = input,
		.executor_id = executor_id,.error = request_error(workflow)
	};
	TaskStatus	told;

	return step_transition(EVENT_TELL, NO_TASK, &told) && tell_by(workflow, record_position, &position);
}

/* ---- the end of a child --------------------------------------------------------------- */

/* By the same request, or it has ended since: what ended before is no news to the parent's program. */
static Statement look_asked_with_parent = STATEMENT(OfOne,
	"SELECT 1 FROM durable.workflow c JOIN durable.workflow p ON p.id = c.parent_id "
	"WHERE c.id = :id"
	"  AND " CHECKED("c.cancel_requested_at = p.cancel_requested_at OR c.completed_at > p.cancel_requested_at"));

/* Whether it tells a workflow that this child of it has ended: it was asked to, too, and did not complete. */
bool
tells_by_end(const Workflow *parent, const Workflow *child)
{
	return parent->is_untold && parent->status == RUNNING && child->has_parent &&
		same_id(&child->parent_id, &parent->id) && (child->status == FAILED || child->status == CANCELLED) &&
		run(&look_asked_with_parent, &(OfOne) {.id = an_id(&child->id)}, NEWEST) > 0;
}

/*
 * An inline child is about to fail.  If it was asked to end, its parent is told by this:
 * whoever drives the child drives the parent, and may not ask start_child about it
 * any more.  Looks again, under the tree's lock.  The parent's row comes before that of
 * the child.
 */
void
tell_parent_of(const Workflow *child)
{
	Workflow	parent;

	if (!is_inline(child) || request_error(child).isnull)
		return;
	look_workflow_or_raise(&child->parent_id, "task_id", NEWEST, &parent);
	if (parent.is_untold)
		(void) tell_by(&parent, NULL, NULL);
}
