/*-------------------------------------------------------------------------
 *
 * control.c
 *	  Whole trees: pause_tree, resume_tree, cancel_tree, resume_failed.
 *
 * Each locks the tree exclusively before any row in it: it waits for the calls
 * that write in the tree and are not yet committed, and later ones wait for it
 * and then see what it did.  Rows follow from parents to children (cascade.c).
 *
 *-------------------------------------------------------------------------
 */
#include "control.h"
#include "plan.h"
#include "sql.h"
#include "subtransaction.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_pause_tree);
PG_FUNCTION_INFO_V1(durable_resume_tree);
PG_FUNCTION_INFO_V1(durable_cancel_tree);
PG_FUNCTION_INFO_V1(durable_resume_failed);

/* ---- statements -------------------------------------------------------------- */

#define QUEUES_OF_FAILED(P) \
	P(ids, UUIDARRAYOID) \
	P(from_sequence, INT4OID)
PARAMETERS(QueuesOfFailed, QUEUES_OF_FAILED);

static Statement look_queues_of_failed = STATEMENT(QueuesOfFailed,
	"WITH RECURSIVE failed AS ("
	"  SELECT w.id, w.queue_name FROM durable.workflow w "
	"  WHERE w.id = ANY (:ids) AND " CHECKED("w.status = ANY {workflow from RESUME_FAILED}")
	"  UNION ALL "
	"  SELECT c.id, c.queue_name FROM failed f CROSS JOIN LATERAL ("
	"    SELECT w.id, w.queue_name FROM durable.workflow w "
	"    WHERE w.parent_id = f.id AND " CHECKED("w.status = ANY {workflow from RESUME_FAILED}")
	"      AND (w.parent_sequence >= :from_sequence OR NOT f.id = ANY (:ids)) OFFSET 0) c) "
	"SELECT DISTINCT f.queue_name FROM failed f WHERE f.queue_name IS NOT NULL ORDER BY f.queue_name");

#define RERUN_WORKFLOW(P) \
	P(id, UUIDOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(RerunWorkflow, RERUN_WORKFLOW);

/* With a queue it waits there again, for an executor to claim it. */
static Statement rerun_workflow = STATEMENT(RerunWorkflow,
	"UPDATE durable.workflow w "
	"SET status = CASE WHEN w.queue_name IS NULL THEN {workflow to RESUME_FAILED} ELSE 'PENDING' END, "
	"  executor_id = CASE WHEN w.queue_name IS NULL THEN :executor_id END, "
	"  lease = w.lease + 1, recovery_count = w.recovery_count + 1, "
	"  retry_count = CASE WHEN w.max_retries IS NOT NULL THEN 0 END, "
	"  error = NULL, detail = NULL, completed_at = NULL, started_at = :now, "
	"  deadline = CASE WHEN w.queue_name IS NULL THEN :now + w.timeout END, " NOT_ASKED
	"WHERE w.id = :id AND " CHECKED("w.status = ANY {workflow from RESUME_FAILED}"));

/* ---- what forbids it ----------------------------------------------------------- */

/* Locks the tree of the named workflow, and looks at it as it is then. */
void
lock_and_look(const pg_uuid_t *id, Workflow *workflow)
{
	look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
	lock_tree(&workflow->root_id, TREE_EXCLUSIVE);
	look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
}

/*
 * Nothing may begin to run below a workflow that is paused, or that was
 * cancelled.  Inline children that were cancelled because the workflow above
 * them completed do not count: queued children below them go on.
 */
static void
raise_if_held(const Workflow *workflow, Event event)
{
	Ancestor   *ancestors;
	int			count;
	const pg_uuid_t *paused = NULL;
	const pg_uuid_t *cancelled = NULL;
	bool		decided = false;

	if (!workflow->has_parent)
		return;
	ancestors = look_ancestors(workflow, &count);
	for (int i = 0; i < count; i++)
	{
		const pg_uuid_t *id = &ancestors[i].id;
		TaskStatus	status = ancestors[i].status;

		if (status == PAUSED)
			paused = id;		/* the outermost is the one to resume first */
		if (decided)
			continue;
		if (status == CANCELLED && cancelled == NULL)
			cancelled = id;
		if (status == COMPLETED)
			cancelled = NULL;
		else
			decided = cancelled && (ancestors[i].is_driven || status != CANCELLED);
	}
	if (paused)
		raise_refusal(refuse_below(workflow, event, paused, PAUSED));
	if (cancelled)
		raise_refusal(refuse_below(workflow, event, cancelled, CANCELLED));
}

/* ---- pause_tree, resume_tree, cancel_tree ---------------------------------------- */

/*
 * Here is decided whether the named workflow allows it; what changes is decided row
 * by row, under the lock (cascade.c).
 */
static int64
control_tree(const pg_uuid_t *id, Event event, Cascade cascade)
{
	Workflow	workflow;
	TimestampTz now;
	Pause		pause;
	int64		changed;

	lock_and_look(id, &workflow);
	if (!workflow_transition(event, workflow.status, NULL))
		raise_refusal(refuse_workflow_status(&workflow, event));
	/* a pause holds for the whole tree below it: only all of it is resumed */
	if (event == EVENT_RESUME)
		raise_if_held(&workflow, event);
	now = clock_now();
	pause.paused_by = workflow.id;
	pause.paused_at = now;
	if (event == EVENT_RESUME)
	{
		/* it may have been paused with an ancestor that has ended since */
		pause.paused_by = *DatumGetUUIDP(workflow.paused_by.value);
		pause.paused_at = DatumGetTimestampTz(workflow.paused_at.value);
	}
	changed = cascade_tree(cascade, &workflow.id, &pause, now);
	note_news_above(&workflow);
	return changed;
}

int64
cancel_tree(const pg_uuid_t *id)
{
	return control_tree(id, EVENT_CANCEL, CASCADE_CANCEL);
}

/* Locks a tree exclusively, and the rows of all workflows in it, without waiting; false if one is not free. */
bool
try_lock_tree_to_cancel(const pg_uuid_t *root_id)
{
	return tree_locks_left() > 0 && try_lock_whole_tree(root_id) && try_lock_rows_of_tree(root_id);
}

/* cancel_tree of a workflow whose tree is locked; one that has finished is left alone. */
void
cancel_locked_tree(const pg_uuid_t *id)
{
	Workflow	workflow;

	look_workflow_or_raise(id, "workflow_id", NEWEST, &workflow);
	if (!workflow_transition(EVENT_CANCEL, workflow.status, NULL))
		return;
	(void) cascade_tree(CASCADE_CANCEL, id, NULL, clock_now());
	note_news_above(&workflow);
}

/*
 * cancel_tree of a root; one that has finished is left alone.  If it must not wait,
 * it returns false where the tree, or the row of a workflow in it, is locked; the
 * caller then gives back what it has locked so far.
 */
bool
cancel_root(const pg_uuid_t *id, bool may_wait)
{
	if (may_wait)
		lock_tree(id, TREE_EXCLUSIVE);
	else if (!try_lock_tree_to_cancel(id))
		return false;
	cancel_locked_tree(id);
	return true;
}

/* ---- resume_failed --------------------------------------------------------------- */

/*
 * Locks the queues of FAILED workflows and of those below them that would run
 * again, which must still be there, or the call for each of many raises that.  Called once more under the tree's lock,
 * for what failed in between.
 */
void
lock_queues_of_failed(NullableDatum ids, int32 from_sequence, bool must_be_there)
{
	uint64		count = run(&look_queues_of_failed,
							&(QueuesOfFailed) {.ids = ids,.from_sequence = an_int(from_sequence)}, NEWEST);
	Datum	   *names = palloc(count * sizeof(Datum));

	for (uint64 row = 0; row < count; row++)
		names[row] = result_value(row, 0);
	for (uint64 i = 0; i < count; i++)
		if (must_be_there)
			lock_queue_to_start(a_value(names[i]));
		else
			lock_queue(names[i], QUEUE_START);
}

typedef struct Rerun
{
	const Workflow *workflow;
	NullableDatum executor_id;
	Rounds		rounds;
} Rerun;

/* Makes a FAILED workflow active again; false if we had to wait: then its times are too old. */
static bool
rerun(void *arg)
{
	Rerun	   *r = arg;

	watch_waits(&r->rounds);
	if (run(&rerun_workflow,
			&(RerunWorkflow) {
				.id = an_id(&r->workflow->id),.executor_id = r->executor_id,.now = a_time(clock_now())
			}, NEWEST) == 0)
		raise_kept_away("durable.workflow");
	raised_lease_of(&r->workflow->id);
	return !has_waited(&r->rounds, 1);
}

/*
 * Does the same until it need not wait.  Raises an error if a run of its name was
 * started at the same time: the unique index on the names of active roots tells.
 */
static void
rerun_or_raise(const Workflow *workflow, NullableDatum executor_id)
{
	Rerun		r = {.workflow = workflow,.executor_id = executor_id};
	ErrorData  *error;
	bool		done;

	do
		done = in_subtransaction(rerun, &r, &error);
	while (!done && error == NULL);
	if (error && error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->constraint_name &&
		strcmp(error->constraint_name, "active_root_pkey") == 0)
		raise_refusal(refuse_other_run(workflow, NULL));
	if (error)
		ReThrowError(error);
}

/*
 * Makes a FAILED workflow, and what failed below it at that position or later,
 * active again.
 *
 * Locks the executor's row, the queues to which workflows go back (shared), the
 * tree exclusively, then workflow rows from the named one down, then steps.
 * Of two callers the second waits for the tree and then finds the workflow not
 * FAILED any more.
 */
void
resume_failed(const pg_uuid_t *id, NullableDatum executor_id, int32 from_sequence, Workflow *workflow)
{
	Workflow	other;
	int64		registered = register_executor(executor_id, a_null());
	Datum		self = id_array(id, 1);

	lock_queues_of_failed(a_value(self), from_sequence, true);
	lock_and_look(id, workflow);
	raise_if_inline(workflow, EVENT_RESUME_FAILED);
	if (!workflow_transition(EVENT_RESUME_FAILED, workflow->status, NULL))
		raise_refusal(refuse_workflow_status(workflow, EVENT_RESUME_FAILED));
	raise_if_held(workflow, EVENT_RESUME_FAILED);
	lock_queues_of_failed(a_value(self), from_sequence, true);
	if (workflow->recovery_count >= workflow->max_recovery_attempts)
		raise_refusal(refuse_recovery_limit(workflow));
	if (!workflow->has_parent && look_active_root(CStringGetTextDatum(workflow->name), &other))
		raise_refusal(refuse_other_run(workflow, &other));

	lock_workflows(self);
	ask_before_raising(&workflow->id, 1);
	rerun_or_raise(workflow, executor_id);
	register_again(executor_id, registered);
	cascade_below(CASCADE_RERUN, self, from_sequence, clock_now());
	rerun_steps_of(self, from_sequence);
	if (workflow->has_parent)
		record_on_stand_ins(self, 1);
	look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
}

/* ---- SQL functions ------------------------------------------------------------------ */

static Datum
call_control_tree(FunctionCallInfo fcinfo, Event event, Cascade cascade)
{
	Call		call;
	int64		changed;

	require(fcinfo->args[0], "workflow_id");
	call = begin_call(fcinfo);
	changed = control_tree(PG_GETARG_UUID_P(0), event, cascade);
	end_call(&call);
	PG_RETURN_INT64(changed);
}

/* pause_tree(workflow_id) */
Datum
durable_pause_tree(PG_FUNCTION_ARGS)
{
	return call_control_tree(fcinfo, EVENT_PAUSE, CASCADE_PAUSE);
}

/* resume_tree(workflow_id) */
Datum
durable_resume_tree(PG_FUNCTION_ARGS)
{
	return call_control_tree(fcinfo, EVENT_RESUME, CASCADE_RESUME);
}

/* cancel_tree(workflow_id) */
Datum
durable_cancel_tree(PG_FUNCTION_ARGS)
{
	return call_control_tree(fcinfo, EVENT_CANCEL, CASCADE_CANCEL);
}

/* resume_failed(workflow_id, executor_id, from_sequence) */
Datum
durable_resume_failed(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[1];
	NullableDatum columns[4];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	workflow;

	require(fcinfo->args[0], "workflow_id");
	check_name(executor_id, "executor_id");
	require_not_negative(fcinfo->args[2], "from_sequence");

	call = begin_call(fcinfo);
	resume_failed(PG_GETARG_UUID_P(0), executor_id, PG_GETARG_INT32(2), &workflow);

	columns[0] = workflow.handler;
	columns[1] = workflow.input;
	columns[2] = workflow.status_datum;
	columns[3] = a_value(Int32GetDatum(workflow.lease));
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
