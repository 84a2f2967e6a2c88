/*-------------------------------------------------------------------------
 *
 * look.c
 *	  Looking at one workflow or step: history, the accessors, and set_timeout,
 *	  which re-arms its deadline.
 *
 * All but set_timeout are STABLE, lock nothing, and see what the calling query
 * sees.  What looks at many (list, count, stats, stuck and others) is SQL, in the
 * install script.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "suspend.h"
#include "wait.h"

PG_FUNCTION_INFO_V1(durable_history);
PG_FUNCTION_INFO_V1(durable_status);
PG_FUNCTION_INFO_V1(durable_input);
PG_FUNCTION_INFO_V1(durable_output);
PG_FUNCTION_INFO_V1(durable_error);
PG_FUNCTION_INFO_V1(durable_is_completed);
PG_FUNCTION_INFO_V1(durable_continued_as);
PG_FUNCTION_INFO_V1(durable_set_timeout);

#define HISTORY(P) \
	P(workflow_id, UUIDOID)
PARAMETERS(History, HISTORY);

static Statement history = STATEMENT(History,
	"SELECT s.sequence, durable.step_id(s.workflow_id, s.sequence), s.name, s.kind, "
	/* of a child with a queue, its own: the stand-in is RUNNING also while that waits */
	"  CASE WHEN s.kind = 'WORKFLOW' AND s.status = 'RUNNING' THEN COALESCE("
	"    (SELECT w.status FROM durable.workflow w WHERE w.id = s.child_id AND w.queue_name IS NOT NULL), s.status) "
	"  ELSE s.status END, "
	"  CASE WHEN s.status = 'COMPLETED' THEN s.output END, s.error, s.attempt, s.run_at, s.child_id, s.detail, s.wait "
	"FROM durable.step s WHERE s.workflow_id = :workflow_id ORDER BY s.sequence");

/* history(workflow_id) */
Datum
durable_history(PG_FUNCTION_ARGS)
{
	Workflow	workflow;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	/* no step: the workflow is new, or there is none */
	if (run(&history, &(History) {.workflow_id = fcinfo->args[0]}, CALLERS) == 0)
		look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", CALLERS, &workflow);
	else
		return_rows(fcinfo);
	end_call(&call);
	return (Datum) 0;
}

/* Looks at a workflow or step. */
Task
look_task(NullableDatum task_id, View view)
{
	const pg_uuid_t *id = DatumGetUUIDP(task_id.value);
	Workflow	workflow;
	Step		step;
	pg_uuid_t	workflow_id;
	Task		task;

	if (id_sequence(id) < 0)
	{
		look_workflow_or_raise(id, "task_id", view, &workflow);
		task.status = workflow.status;
		task.status_datum = workflow.status_datum;
		task.input = workflow.input;
		task.output = workflow.output;
		task.error = workflow.error;
		task.child_id = a_null();
		return task;
	}
	id_workflow(id, &workflow_id);
	if (!look_step(&workflow_id, id_sequence(id), view, &workflow, &step) || step.status == NO_TASK)
		raise_refusal(refuse_unknown_task(id));
	task.status = step.status;
	task.status_datum = step.status_datum;
	task.input = step.input;
	task.output = step.output;
	task.error = step.error;
	task.child_id = step.child_id;
	return task;
}

/* status(task_id) */
Datum
durable_status(PG_FUNCTION_ARGS)
{
	Task		task;
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	task = look_task(fcinfo->args[0], CALLERS);
	end_call(&call);
	PG_RETURN_DATUM(task.status_datum.value);
}

/* input(task_id) */
Datum
durable_input(PG_FUNCTION_ARGS)
{
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	return end_call_with_value(fcinfo, &call, look_task(fcinfo->args[0], CALLERS).input, -1);
}

/* output(task_id): NULL unless COMPLETED */
Datum
durable_output(PG_FUNCTION_ARGS)
{
	Call		call;
	Task		task;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	task = look_task(fcinfo->args[0], CALLERS);
	return end_call_with_value(fcinfo, &call, task.status == COMPLETED ? task.output : a_null(), -1);
}

/* error(task_id) */
Datum
durable_error(PG_FUNCTION_ARGS)
{
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	return end_call_with_value(fcinfo, &call, look_task(fcinfo->args[0], CALLERS).error, -1);
}

/* is_completed(task_id) */
Datum
durable_is_completed(PG_FUNCTION_ARGS)
{
	Task		task;
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	task = look_task(fcinfo->args[0], CALLERS);
	end_call(&call);
	PG_RETURN_BOOL(task.status == COMPLETED);
}

#define LOOK_CONTINUED_AS(P) \
	P(id, UUIDOID)
PARAMETERS(LookContinuedAs, LOOK_CONTINUED_AS);

static Statement look_continued_as = STATEMENT(LookContinuedAs,
	"SELECT w.continued_as FROM durable.workflow w WHERE w.id = :id");

/* continued_as(workflow_id): NULL if it does not go on */
Datum
durable_continued_as(PG_FUNCTION_ARGS)
{
	Workflow	workflow;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	call = begin_call(fcinfo);
	if (run(&look_continued_as, &(LookContinuedAs) {.id = fcinfo->args[0]}, CALLERS) == 0)
		look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", CALLERS, &workflow);
	return end_call_with_value(fcinfo, &call, result_column(0, 0), UUID_LEN);
}

#define SET_WORKFLOW_TIMEOUT(P) \
	P(id, UUIDOID) \
	P(timeout, INTERVALOID)
PARAMETERS(SetWorkflowTimeout, SET_WORKFLOW_TIMEOUT);

static Statement set_workflow_timeout = STATEMENT(SetWorkflowTimeout,
	"UPDATE durable.workflow w SET timeout = :timeout, "
	"  deadline = CASE WHEN w.status = 'RUNNING' OR w.paused_from = 'RUNNING' OR w.suspended_at IS NOT NULL"
	"    THEN w.started_at + :timeout END "
	"WHERE w.id = :id AND " CHECKED("w.status = ANY {workflow from SET_TIMEOUT}"));

#define SET_STEP_TIMEOUT(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(timeout, INTERVALOID)
PARAMETERS(SetStepTimeout, SET_STEP_TIMEOUT);

static Statement set_step_timeout = STATEMENT(SetStepTimeout,
	"UPDATE durable.step s SET timeout = :timeout, "
	"  deadline = CASE WHEN s.status = 'RUNNING' THEN s.started_at + :timeout END "
	"WHERE s.workflow_id = :workflow_id AND s.sequence = :sequence AND s.status = ANY {step from SET_TIMEOUT}");

/*
 * set_timeout(task_id, timeout)
 *
 * Locks the tree (shared) and the one row.
 */
Datum
durable_set_timeout(PG_FUNCTION_ARGS)
{
	NullableDatum timeout = fcinfo->args[1];
	const pg_uuid_t *id;
	bool		is_workflow;
	bool		done = false;
	Refusal    *refusal;
	Workflow	workflow;
	Step		step = {0};
	Rounds		rounds = {0};
	Call		call;

	require(fcinfo->args[0], "task_id");
	check_interval(timeout, "timeout");
	id = PG_GETARG_UUID_P(0);
	is_workflow = id_sequence(id) < 0;

	call = begin_call(fcinfo);
	for (;; next_round(&rounds, is_workflow ? "durable.workflow" : "durable.step", seen_of(&workflow, &step)))
	{
		if (is_workflow)
		{
			look_workflow_or_raise(id, "task_id", NEWEST, &workflow);
			if (!workflow_transition(EVENT_SET_TIMEOUT, workflow.status, NULL))
				raise_refusal(refuse_workflow_status(&workflow, EVENT_SET_TIMEOUT));
			lock_tree(&workflow.root_id, TREE_SHARED);
			done = run(&set_workflow_timeout, &(SetWorkflowTimeout) {.id = an_id(id),.timeout = timeout}, NEWEST) > 0;
			if (done)
				deadline_has_moved(&workflow);
		}
		else
		{
			look_step_to_end(id, "task_id", a_null(), a_null(), &workflow, &step);
			if ((refusal = refuse_wait(&step, "task_id", "Its time counts from its first call, and stays.")) != NULL)
				raise_refusal(refusal);
			if (!step_transition(EVENT_SET_TIMEOUT, step.status, NULL))
				raise_refusal(refuse_step_status(&step, EVENT_SET_TIMEOUT));
			lock_tree(&workflow.root_id, TREE_SHARED);
			done = run(&set_step_timeout, &(SetStepTimeout)
					   {
						   .workflow_id = an_id(&step.workflow_id),.sequence = an_int(step.sequence),.timeout = timeout
					   }, NEWEST) > 0;
		}
		if (done)
			break;
	}
	end_call(&call);
	PG_RETURN_VOID();
}
