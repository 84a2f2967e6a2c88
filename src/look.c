/*-------------------------------------------------------------------------
 *
 * look.c
 *	  Looking: history, the accessors, set_timeout, list, count, tree.
 *
 * All but set_timeout are STABLE, lock nothing, and see what the calling query
 * sees.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(durable_history);
PG_FUNCTION_INFO_V1(durable_status);
PG_FUNCTION_INFO_V1(durable_input);
PG_FUNCTION_INFO_V1(durable_output);
PG_FUNCTION_INFO_V1(durable_error);
PG_FUNCTION_INFO_V1(durable_is_completed);
PG_FUNCTION_INFO_V1(durable_set_timeout);
PG_FUNCTION_INFO_V1(durable_list);
PG_FUNCTION_INFO_V1(durable_count);
PG_FUNCTION_INFO_V1(durable_tree);

/* history(workflow_id) */
Datum
durable_history(PG_FUNCTION_ARGS)
{
	Params		params = {0};
	Workflow	workflow;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	param_id(&params, PG_GETARG_UUID_P(0));
	/* no step: the workflow is new, or there is none */
	if (run_plan(PLAN_HISTORY, &params, CALLERS) == 0)
		look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", CALLERS, &workflow);
	else
		return_rows(fcinfo);
	end_call(&call);
	return (Datum) 0;
}

/* What the accessors answer from: a workflow's row or a step's. */
typedef struct Task
{
	TaskStatus	status;
	NullableDatum status_datum;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
} Task;

static Task
look_task(NullableDatum task_id)
{
	const pg_uuid_t *id = DatumGetUUIDP(task_id.value);
	Workflow	workflow;
	Step		step;
	pg_uuid_t	workflow_id;
	Task		task;

	if (id_sequence(id) < 0)
	{
		look_workflow_or_raise(id, "task_id", CALLERS, &workflow);
		task.status = workflow.status;
		task.status_datum = workflow.status_datum;
		task.input = workflow.input;
		task.output = workflow.output;
		task.error = workflow.error;
		return task;
	}
	id_workflow(id, &workflow_id);
	if (!look_step(&workflow_id, id_sequence(id), CALLERS, &workflow, &step) || step.status == NO_TASK)
		raise_refusal(refuse_unknown_task(id));
	task.status = step.status;
	task.status_datum = step.status_datum;
	task.input = step.input;
	task.output = step.output;
	task.error = step.error;
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
	task = look_task(fcinfo->args[0]);
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
	return end_call_with_value(fcinfo, &call, look_task(fcinfo->args[0]).input);
}

/* output(task_id): NULL unless COMPLETED */
Datum
durable_output(PG_FUNCTION_ARGS)
{
	Call		call;
	Task		task;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	task = look_task(fcinfo->args[0]);
	return end_call_with_value(fcinfo, &call, task.status == COMPLETED ? task.output : a_null());
}

/* error(task_id) */
Datum
durable_error(PG_FUNCTION_ARGS)
{
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	return end_call_with_value(fcinfo, &call, look_task(fcinfo->args[0]).error);
}

/* is_completed(task_id) */
Datum
durable_is_completed(PG_FUNCTION_ARGS)
{
	Task		task;
	Call		call;

	require(fcinfo->args[0], "task_id");
	call = begin_call(fcinfo);
	task = look_task(fcinfo->args[0]);
	end_call(&call);
	PG_RETURN_BOOL(task.status == COMPLETED);
}

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
		Params		params = {0};

		if (is_workflow)
		{
			look_workflow_or_raise(id, "task_id", NEWEST, &workflow);
			if (!workflow_transition(EVENT_SET_TIMEOUT, workflow.status, NULL))
				raise_refusal(refuse_workflow_status(&workflow, EVENT_SET_TIMEOUT));
			lock_tree(&workflow.root_id, TREE_SHARED);
			param_id(&params, id);
			param(&params, timeout);
			done = run_plan(PLAN_SET_WORKFLOW_TIMEOUT, &params, NEWEST) > 0;
		}
		else
		{
			look_step_to_end(id, "task_id", a_null(), a_null(), &workflow, &step);
			if (!step_transition(EVENT_SET_TIMEOUT, step.status, NULL))
				raise_refusal(refuse_step_status(&step, EVENT_SET_TIMEOUT));
			lock_tree(&workflow.root_id, TREE_SHARED);
			param_id(&params, &step.workflow_id);
			param_int(&params, step.sequence);
			param(&params, timeout);
			done = run_plan(PLAN_SET_STEP_TIMEOUT, &params, NEWEST) > 0;
		}
		if (done)
			break;
	}
	end_call(&call);
	PG_RETURN_VOID();
}

/* Reads the filters that list and count share, in the order of TASK_FILTERS (statements.h). */
static void
param_filters(Params *params, FunctionCallInfo fcinfo)
{
	NullableDatum status = fcinfo->args[0];
	NullableDatum kind = fcinfo->args[1];

	require(fcinfo->args[3], "root_only");
	param(params, status.isnull ? status :
		  a_value(CStringGetTextDatum(status_label(status_from_datum(status.value)))));
	param(params, kind.isnull ? kind :
		  a_value(CStringGetTextDatum(kind_label(kind_from_datum(kind.value)))));
	for (int i = 2; i < 7; i++)
		param(params, fcinfo->args[i]);
}

/* list(status, kind, parent_id, root_only, name, queue_name, handler, sort, descending, max_rows, skip) */
Datum
durable_list(PG_FUNCTION_ARGS)
{
	static const char *const sorts[] = {"created_at", "started_at", "completed_at", "name", "status"};
	Params		params = {0};
	char	   *sort;
	bool		known = false;
	Call		call;

	require(fcinfo->args[7], "sort");
	require(fcinfo->args[8], "descending");
	require_not_negative(fcinfo->args[9], "max_rows");
	require_not_negative(fcinfo->args[10], "skip");
	sort = TextDatumGetCString(fcinfo->args[7].value);
	for (int i = 0; i < lengthof(sorts); i++)
		known |= strcmp(sort, sorts[i]) == 0;
	if (!known)
		bad_argument("sort", "must be the name of a column to sort by", psprintf("It is \"%s\".", sort),
					 "Pass created_at, started_at, completed_at, name or status.");

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	param_filters(&params, fcinfo);
	for (int i = 7; i < 11; i++)
		param(&params, fcinfo->args[i]);
	run_plan(PLAN_LIST, &params, CALLERS);
	return_rows(fcinfo);
	end_call(&call);
	return (Datum) 0;
}

/* count(status, kind, parent_id, root_only, name, queue_name, handler) */
Datum
durable_count(PG_FUNCTION_ARGS)
{
	Params		params = {0};
	int64		count;
	Call		call;

	call = begin_call(fcinfo);
	param_filters(&params, fcinfo);
	run_plan(PLAN_COUNT, &params, CALLERS);
	count = DatumGetInt64(result_value(0, 0));
	end_call(&call);
	PG_RETURN_INT64(count);
}

/* Appends a length of time in the unit that a reader would use. */
static void
append_duration(StringInfo line, TimestampTz from, TimestampTz to)
{
	double		seconds = (double) (to - from) / USECS_PER_SEC;

	if (seconds < 1)
		appendStringInfo(line, " %.0f ms", seconds * 1000);
	else if (seconds < 60)
		appendStringInfo(line, " %.1f s", seconds);
	else if (seconds < 3600)
		appendStringInfo(line, " %.1f min", seconds / 60);
	else if (seconds < 86400)
		appendStringInfo(line, " %.1f h", seconds / 3600);
	else
		appendStringInfo(line, " %.1f days", seconds / 86400);
}

/* Appends a text that may hold anything as one line. */
static void
append_text(StringInfo line, const char *before, NullableDatum d)
{
	int			start;

	if (d.isnull)
		return;
	appendStringInfoString(line, before);
	start = line->len;
	appendStringInfoString(line, TextDatumGetCString(d.value));
	for (char *c = line->data + start; *c; c++)
		if ((unsigned char) *c < ' ' || *c == 0x7F)
			*c = ' ';
}

/* The first line of a text. */
static NullableDatum
first_line(NullableDatum d)
{
	char	   *line;

	if (d.isnull)
		return d;
	line = TextDatumGetCString(d.value);
	line[strcspn(line, "\r\n")] = '\0';
	return a_value(CStringGetTextDatum(line));
}

/* One line of tree from a row of PLAN_TREE: status, name, attempt, duration, error. */
static text *
tree_line(uint64 row, TimestampTz now)
{
	StringInfoData line;
	int32		depth = DatumGetInt32(result_value(row, 0));
	NullableDatum sequence = result_column(row, 1);
	TaskStatus	status = status_from_datum(result_value(row, 2));
	TaskKind	kind = kind_from_datum(result_value(row, 3));
	NullableDatum name = result_column(row, 4);
	NullableDatum attempt = result_column(row, 5);
	NullableDatum queue = result_column(row, 6);
	NullableDatum executor = result_column(row, 7);
	NullableDatum started_at = result_column(row, 8);
	NullableDatum completed_at = result_column(row, 9);
	NullableDatum error = result_column(row, 10);

	initStringInfo(&line);
	appendStringInfoSpaces(&line, 2 * depth);
	appendStringInfo(&line, "%-9s", status_label(status));
	if (depth > 0)
		appendStringInfo(&line, " %d.", DatumGetInt32(sequence.value));
	append_text(&line, " ", name);
	if (kind != STEP)
		appendStringInfoString(&line, kind == WORKFLOW ? " (workflow)" : " (transaction)");
	append_text(&line, " in queue ", queue);
	if (kind == WORKFLOW)
		append_text(&line, " on ", executor);
	if (!attempt.isnull)
		appendStringInfo(&line, " attempt %d", DatumGetInt32(attempt.value));
	if (!started_at.isnull)
	{
		if (!completed_at.isnull)
			append_duration(&line, DatumGetTimestampTz(started_at.value), DatumGetTimestampTz(completed_at.value));
		else if (status == RUNNING)
			append_duration(&line, DatumGetTimestampTz(started_at.value), now);
	}
	append_text(&line, " error: ", first_line(error));
	return cstring_to_text_with_len(line.data, line.len);
}

/* tree(workflow_id) */
Datum
durable_tree(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Params		params = {0};
	Workflow	workflow;
	TimestampTz now = clock_now();
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", CALLERS, &workflow);
	param_id(&params, PG_GETARG_UUID_P(0));
	run_plan(PLAN_TREE, &params, CALLERS);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		Datum		value = PointerGetDatum(tree_line(row, now));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	end_call(&call);
	return (Datum) 0;
}
