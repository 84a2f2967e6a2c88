/*-------------------------------------------------------------------------
 *
 * cancel_request.c
 *	  request_cancel: a workflow, and all below it, is asked to end by itself.
 *
 * Locks the tree exclusively before any row in it, as each cascade does (control.c): it
 * waits for the calls that write in the tree and are not yet committed, and later ones
 * wait for it, and then see what it did.  So a step is claimed, or a wait begun, either
 * before the request, which then ends what is open, or after it, and then it may be
 * what tells the program.  Rows follow from parents to children: workflows first, then
 * steps, stand-ins last.
 *
 * What has ended already is not open, though nobody has asked for its outcome yet:
 * a wait whose time has passed, whose signal is there, or whose awaited workflow is
 * finished has that outcome.  Its program is told by what comes after it.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "cancel.h"
#include "control.h"
#include "outcome.h"
#include "plan.h"
#include "sql.h"
#include "subtransaction.h"
#include "suspend.h"
#include "table.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_request_cancel);

/* ---- workflows ---------------------------------------------------------------------- */

#define ASK(P) \
	P(ids, UUIDARRAYOID) \
	P(reason, TEXTOID) \
	P(cancel_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(Ask, ASK);

static Statement look_not_asked = STATEMENT(Ask,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) AND " CHECKED("w.cancel_requested_at IS NULL"));

/* One that waits for an executor is due, whatever it waits for. */
static Statement ask_workflows = STATEMENT(Ask,
	"UPDATE durable.workflow w SET cancel_requested_at = :now, cancel_reason = :reason, cancel_at = :cancel_at,"
	"  cancel_untold = true,"
	"  run_at = CASE WHEN coalesce(w.paused_from, w.status) = 'PENDING' AND " UNIT("w") " THEN least(w.run_at, :now)"
	"    ELSE w.run_at END "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.lease > 0 AND w.status = ANY {workflow from REQUEST_CANCEL}") " "
	"RETURNING w.id");

/* What never ran has no steps, and nothing below it. */
static Statement cancel_unstarted = STATEMENT(Ask,
	"UPDATE durable.workflow w SET status = {workflow to CANCEL}, completed_at = :now,"
	"  paused_from = NULL, paused_by = NULL, paused_at = NULL,"
	"  cancel_requested_at = :now, cancel_reason = :reason, cancel_at = :cancel_at "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.lease = 0 AND w.status = ANY {workflow from CANCEL}") " "
	"RETURNING w.id");

static Statement set_cancel_at = STATEMENT(Ask,
	"UPDATE durable.workflow w SET cancel_at = :cancel_at "
	"WHERE w.id = ANY (:ids) AND w.cancel_at IS DISTINCT FROM :cancel_at"
	"  AND " CHECKED("w.cancel_requested_at IS NOT NULL AND w.status = ANY {workflow from REQUEST_CANCEL}"));

static Statement set_told = STATEMENT(Ask,
	"UPDATE durable.workflow w SET cancel_untold = NULL WHERE w.id = ANY (:ids)");

/* ---- what is open ------------------------------------------------------------------- */

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement look_open_waits = STATEMENT(OfIds,
	"SELECT durable.step_id(o.workflow_id, o.sequence) FROM durable.open_wait o WHERE o.workflow_id = ANY (:ids) "
	"ORDER BY o.workflow_id, o.sequence");

/* Steps that are to run, but do not: that wait for a retry, or that resume_failed has made wait. */
static Statement look_waiting_steps = STATEMENT(OfIds,
	"SELECT durable.step_id(s.workflow_id, s.sequence) FROM durable.step s "
	"WHERE s.workflow_id = ANY (:ids) AND s.kind IN ('STEP', 'TRANSACTION') AND s.status IN ('PENDING', 'PAUSED')");

#define END_OPEN(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(error, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(EndOpen, END_OPEN);

static Statement end_open = STATEMENT(EndOpen,
	"WITH ended AS ("
	"  UPDATE durable.step s SET status = {step to TELL}, error = :error, detail = NULL, completed_at = :now,"
	"    started_at = coalesce(s.started_at, :now), run_at = CASE WHEN s.kind = 'WAIT' THEN s.run_at END "
	"  FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences)) WITH ORDINALITY AS b (workflow_id, sequence, n) "
	"  JOIN durable.workflow w ON w.id = b.workflow_id AND " CHECKED("w.cancel_untold") " "
	"  WHERE s.workflow_id = b.workflow_id AND s.sequence = b.sequence AND s.status = ANY {step from TELL} "
	"  RETURNING s.workflow_id, s.sequence), "
	"unlisted AS ("
	"  DELETE FROM durable.open_wait o USING ended e WHERE o.workflow_id = e.workflow_id AND o.sequence = e.sequence) "
	"SELECT durable.step_id(e.workflow_id, e.sequence) FROM ended e",
	.planning = BY_PROBES);

/* Of the workflows, the steps by whose end they can be told. */
static IdList
open_steps_of(const IdList *workflows, TimestampTz now)
{
	IdList		waits = {0};
	IdList		steps = {0};

	run_over_ids(&look_waiting_steps, workflows, NULL, &steps);
	run_over_ids(&look_open_waits, workflows, NULL, &waits);
	for (uint64 from = 0; from < waits.count; from += IDS_PER_STATEMENT)
	{
		IdList		page = {.ids = &waits.ids[from],.count = Min(IDS_PER_STATEMENT, waits.count - from)};
		OpenSteps	open = look_steps_open(&page, now);

		for (int i = 0; i < open.count; i++)
			if (!open.steps[i].has_ended)
				append_id(&steps, &open.steps[i].id);
		SPI_freetuptable(SPI_tuptable);
	}
	return steps;
}

/* Ends those of the steps whose workflows were asked; returns the workflows that are told by it. */
static IdList
end_steps(const IdList *steps, NullableDatum error, TimestampTz now)
{
	IdList		ended = {0};
	IdList		told = {0};

	for (uint64 from = 0; from < steps->count; from += IDS_PER_STATEMENT)
	{
		int			count = (int) Min(IDS_PER_STATEMENT, steps->count - from);
		Positions	positions = new_positions(count);
		pg_uuid_t  *workflow_ids = palloc(count * sizeof(pg_uuid_t));

		for (int i = 0; i < count; i++)
		{
			id_workflow(&steps->ids[from + i], &workflow_ids[i]);
			append_position(&positions, &workflow_ids[i], id_sequence(&steps->ids[from + i]));
		}
		run(&end_open, &(EndOpen)
			{
				.workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences),
				.error = error,.now = a_time(now)
			}, NEWEST);
		append_result(&ended);
	}
	have_ended(ended.ids, ended.count);
	for (uint64 i = 0; i < ended.count; i++)
	{
		pg_uuid_t	workflow_id;

		id_workflow(&ended.ids[i], &workflow_id);
		append_id(&told, &workflow_id);
	}
	return told;
}

/* ---- the request -------------------------------------------------------------------- */

/*
 * A workflow and all below it, level by level.  What was asked before is left alone, and
 * what is below it: that may be its compensation.
 */
static IdList
reached_by(const Workflow *workflow, Ask *values)
{
	IdList		reached = {0};
	IdList		level = {0};

	for (append_id(&level, &workflow->id); level.count > 0;)
	{
		IdList		not_asked = {0};

		run_over_ids(&look_not_asked, &level, values, &not_asked);
		append_ids(&reached, &not_asked);
		level = children(&not_asked, ALL_CHILDREN, 0);
	}
	return reached;
}

/*
 * Asks a workflow and all below it; returns how many were asked or cancelled.  What is
 * open is looked at first: that a child is cancelled here, ends no wait of its parent.
 */
static int64
ask(const Workflow *workflow, Ask *values)
{
	TimestampTz now = DatumGetTimestampTz(values->now.value);
	IdList		asked = {0};
	IdList		cancelled = {0};
	IdList		reached = reached_by(workflow, values);
	IdList		steps = open_steps_of(&reached, now);
	IdList		told;

	run_over_ids(&ask_workflows, &reached, values, &asked);
	run_over_ids(&cancel_unstarted, &reached, values, &cancelled);
	told = end_steps(&steps, a_value(CStringGetTextDatum(refusal_text(refuse_by_request(values->reason)))), now);
	run_over_ids(&set_told, &told, values, NULL);
	have_ended(cancelled.ids, cancelled.count);
	record_all_on_stand_ins(&cancelled, true);
	if (asked.count > 0)
		now_waiting(id_array(asked.ids, asked.count));
	return (int64) (asked.count + cancelled.count);
}

/* A second request: from now on that grace holds for all that was asked there. */
static void
ask_again(const Workflow *workflow, Ask *values)
{
	IdList		level = {0};

	for (append_id(&level, &workflow->id); level.count > 0; level = children(&level, ALL_CHILDREN, 0))
		run_over_ids(&set_cancel_at, &level, values, NULL);
}

/*
 * The driver of an inline child drives a workflow above it, which is not asked to end:
 * that is due, too, if it is suspended, and the driver is told.
 */
static int64
request_cancel(const pg_uuid_t *id, NullableDatum reason, NullableDatum grace)
{
	Workflow	workflow;
	Ask			values = {.reason = reason};
	TimestampTz now;
	int64		count;

	lock_and_look(id, &workflow);
	if (!workflow_transition(EVENT_REQUEST_CANCEL, workflow.status, NULL))
		raise_refusal(refuse_workflow_status(&workflow, EVENT_REQUEST_CANCEL));
	now = clock_now();
	values.now = a_time(now);
	values.cancel_at = grace.isnull ? a_null() : a_time(clock_until(now, DatumGetIntervalP(grace.value)));
	values.ids = a_value(id_array(id, 1));
	if (run(&look_not_asked, &values, NEWEST) == 0)
	{
		ask_again(&workflow, &values);
		return 0;
	}
	if (is_inline(&workflow))
	{
		pg_uuid_t	driven = driven_ancestor(&workflow);

		make_due(&driven);
	}
	count = ask(&workflow, &values);
	/* the workflow is locked, and its status was checked: something else keeps the row away */
	if (count == 0)
		raise_kept_away("durable.workflow");
	if (is_inline(&workflow))
		note_news_of(id);
	return count;
}

/* request_cancel(workflow_id, reason, grace) */
Datum
durable_request_cancel(PG_FUNCTION_ARGS)
{
	Call		call;
	int64		count;

	require(fcinfo->args[0], "workflow_id");
	check_interval(fcinfo->args[2], "grace");
	call = begin_call(fcinfo);
	count = request_cancel(PG_GETARG_UUID_P(0), fcinfo->args[1], fcinfo->args[2]);
	end_call(&call);
	PG_RETURN_INT64(count);
}

/* ---- the end of the grace ------------------------------------------------------------- */

#define OVERDUE(P) \
	P(now, TIMESTAMPTZOID) \
	P(most, INT8OID)
PARAMETERS(Overdue, OVERDUE);

/* It finds only that there is nothing, as those of recover.c do. */
static int64
fast_find_overdue(const void *params)
{
	return fast_none(&cancel_request_by_time, (Key[]) {IS_UNTIL(cancel_request_cancel_at, ((const Overdue *) params)->now)}, 1);
}

static Statement find_overdue = STATEMENT(Overdue,
	"SELECT r.id FROM durable.cancel_request r WHERE r.cancel_at <= :now ORDER BY r.cancel_at, r.id LIMIT :most",
	.planning = IN_ORDER,.fast = fast_find_overdue);

#define OF_ONE(P) \
	P(id, UUIDOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(OfOne, OF_ONE);

/* Not if it has ended, or was given another grace, since it was found. */
static Statement look_overdue = STATEMENT(OfOne,
	"SELECT w.root_id FROM durable.workflow w WHERE w.id = :id AND " CHECKED("w.cancel_at <= :now AND " UNFINISHED("w")));

typedef struct Cancelling
{
	pg_uuid_t	id;
	TimestampTz now;
} Cancelling;

static bool
is_overdue(const Cancelling *c, pg_uuid_t *root_id)
{
	if (run(&look_overdue, &(OfOne) {.id = an_id(&c->id),.now = a_time(c->now)}, NEWEST) == 0)
		return false;
	*root_id = *DatumGetUUIDP(result_value(0, 0));
	return true;
}

/* Cancels one of them, without waiting; false if that cannot be, or need not. */
static bool
cancel_if_free(void *arg)
{
	const Cancelling *c = arg;
	pg_uuid_t	root_id;

	if (!is_overdue(c, &root_id) || !try_lock_tree_to_cancel(&root_id) || !is_overdue(c, &root_id))
		return false;
	cancel_locked_tree(&c->id);
	return true;
}

/*
 * Cancels what was asked to end and has not ended within its grace, up to so many, as
 * cancel_tree does; for tick, so it waits for nobody.  Returns how many.
 */
int64
cancel_overdue(TimestampTz now, int64 most)
{
	IdList		overdue = {0};
	int64		count = 0;

	if (most <= 0 || run(&find_overdue, &(Overdue) {.now = a_time(now),.most = a_bigint(most)}, NEWEST) == 0)
		return 0;
	append_result(&overdue);
	for (uint64 i = 0; i < overdue.count; i++)
	{
		ErrorData  *error;

		count += in_subtransaction(cancel_if_free, &(Cancelling) {.id = overdue.ids[i],.now = now}, &error) ? 1 : 0;
		if (error)
			ReThrowError(error);
	}
	return count;
}
