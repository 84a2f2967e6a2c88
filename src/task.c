/*-------------------------------------------------------------------------
 *
 * task.c
 *	  Workflows and steps as C structures, and how they are read.
 *
 * Nothing here locks or writes.
 *
 *-------------------------------------------------------------------------
 */
#include "table.h"

#include "catalog/pg_collation_d.h"
#include "common/hashfn.h"
#include "utils/builtins.h"

/* ---- from a row to a structure -------------------------------------------------- */

ROW(WorkflowRow, WORKFLOW_LIST);

#define STEP_LIST(F, C, t) \
	F(t, status) C(t, kind) C(t, lease) C(t, attempt) C(t, max_retries) C(t, retry_count) C(t, name) \
	C(t, executor_id) C(t, backoff) C(t, backoff_multiplier) C(t, max_backoff) C(t, input) \
	C(t, output) C(t, error) C(t, detail) C(t, run_at) C(t, started_at) C(t, completed_at) C(t, timeout) \
	C(t, deadline) C(t, child_id) C(t, wait) C(t, signals) C(t, awaited) C(t, sequences)
ROW(StepRow, STEP_LIST);

#define WIDTH(Row) (sizeof(Row) / sizeof(NullableDatum))

#define FETCH_WORKFLOW(t, name) workflow->name = column_of_row(&row, workflow_##name);

/* False if there is no workflow. */
static bool
read_workflow(const WorkflowRow *row, Workflow *workflow)
{
	if (row->id.isnull)
		return false;
	*workflow = (Workflow)
	{
		.id = *DatumGetUUIDP(row->id.value),.root_id = *DatumGetUUIDP(row->root_id.value),
		.has_parent = !row->parent_id.isnull,
		.status = status_from_datum(row->status.value),.status_datum = row->status,
		.lease = DatumGetInt32(row->lease.value),
		.recovery_count = DatumGetInt32(row->recovery_count.value),
		.max_recovery_attempts = DatumGetInt32(row->max_recovery_attempts.value),
		.name = TextDatumGetCString(row->name.value),.has_queue = !row->queue_name.isnull,
		.handler = row->handler,.executor_id = row->executor_id,.input = row->input,
		.output = row->output,.error = row->error,.deadline = row->deadline,
		.paused_by = row->paused_by,.paused_at = row->paused_at,.suspended_at = row->suspended_at
	};
	if (workflow->has_parent)
		workflow->parent_id = *DatumGetUUIDP(row->parent_id.value);
	return true;
}

/* NO_TASK if there is no step. */
static void
read_step(const StepRow *row, const pg_uuid_t *workflow_id, int32 sequence, Step *step)
{
	*step = (Step)
	{
		.workflow_id = *workflow_id,.sequence = sequence,.status = NO_TASK
	};
	id_step(workflow_id, sequence, &step->id);
	if (row == NULL || row->status.isnull)
		return;
	step->status = status_from_datum(row->status.value);
	step->status_datum = row->status;
	step->kind = kind_from_datum(row->kind.value);
	step->lease = DatumGetInt32(row->lease.value);
	step->attempt = DatumGetInt32(row->attempt.value);
	step->retry_count = DatumGetInt32(row->retry_count.value);
	step->name = TextDatumGetCString(row->name.value);
	step->executor_id = row->executor_id;
	step->retries = (RetryPolicy)
	{
		.max_retries = row->max_retries,.backoff = row->backoff,.backoff_multiplier = row->backoff_multiplier,
		.max_backoff = row->max_backoff
	};
	step->input = row->input;
	step->output = row->output;
	step->error = row->error;
	step->detail = row->detail;
	step->run_at = row->run_at;
	step->started_at = row->started_at;
	step->completed_at = row->completed_at;
	step->timeout = row->timeout;
	step->deadline = row->deadline;
	step->child_id = row->child_id;
	step->wait = row->wait.isnull ? NULL : TextDatumGetCString(row->wait.value);
	step->signals = row->signals;
	step->awaited = row->awaited;
	step->sequences = row->sequences;
}

/* ---- workflows -------------------------------------------------------------------- */

/* Reads a row for a fast path; false if only the statement can. */
static bool
look_at_row(NullableDatum id, WorkflowRow *workflow, bool *found)
{
	Look		row;

	if (!begin_look(&row, &workflow_by_id, AccessShareLock, (Key[]) {IS_ID(workflow_id, id)}, 1))
		return false;
	*found = row.row != NULL;
	if (*found)
	{
		keep_row(&row);
		WORKFLOW_LIST(FETCH_WORKFLOW, FETCH_WORKFLOW, )
	}
	end_look(&row);
	return true;
}

#define LOOK_WORKFLOW(P) \
	P(id, UUIDOID)
PARAMETERS(LookWorkflow, LOOK_WORKFLOW);

/* Parameters of look_workflow, and what its fast path has read; the statement leaves the rest alone. */
typedef struct FastLookWorkflow
{
	LookWorkflow params;
	bool		done;
	WorkflowRow workflow;
} FastLookWorkflow;

static int64
fast_look_workflow(const void *params)
{
	FastLookWorkflow *look = (FastLookWorkflow *) params;

	return look_at_row(look->params.id, &look->workflow, &look->done) && look->done ? 1 : NOT_FAST;
}

static Statement look_workflow = STATEMENT(LookWorkflow,
	"SELECT " COLUMNS(WORKFLOW_LIST, "w.") " FROM durable.workflow w WHERE w.id = :id",
	.fast = fast_look_workflow);

/*
 * Reads a workflow without a lock.  The id of a step is a bad argument; any other
 * id without a workflow is unknown.
 */
void
look_workflow_or_raise(const pg_uuid_t *id, const char *argument, View view, Workflow *workflow)
{
	pg_uuid_t	its_workflow_id;
	Step		its_step;
	FastLookWorkflow look = {.params = {.id = an_id(id)}};

	if (run(&look_workflow, &look, view) > 0)
	{
		if (!look.done)
			fetch(0, 0, &look.workflow);
		read_workflow(&look.workflow, workflow);
		return;
	}
	id_workflow(id, &its_workflow_id);
	if (id_sequence(id) >= 0 &&
		look_step(&its_workflow_id, id_sequence(id), view, workflow, &its_step) &&
		its_step.status != NO_TASK)
		bad_argument(argument, "must be the id of a workflow",
					 psprintf("%s is the id of step %d \"%s\".", uuid_text(id), its_step.sequence, its_step.name),
					 psprintf("Its workflow is %s.", uuid_text(&its_workflow_id)));
	raise_refusal(refuse_unknown_task(id));
}

/* Reads the columns of WORKFLOW_LIST from a row of the last result, from that column on; false if they are NULL. */
bool
read_workflow_from(uint64 row, int first, Workflow *workflow)
{
	WorkflowRow its_row;

	fetch(row, first, &its_row);
	return read_workflow(&its_row, workflow);
}

/* ---- steps ------------------------------------------------------------------------- */

#define LOOK_STEP(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID)
PARAMETERS(LookStep, LOOK_STEP);

/* Parameters of look_at_step, and what its fast path has read; the statement leaves the rest alone. */
typedef struct FastLook
{
	LookStep	params;
	bool		done;
	bool		found;
	WorkflowRow workflow;
	StepRow		step;
} FastLook;

#define FETCH_STEP(t, name) look->step.name = column_of_row(&row, step_##name);

static int64
fast_look_step(const void *params)
{
	FastLook   *look = (FastLook *) params;
	const LookStep *p = params;
	Look		row;

	if (!look_at_row(p->workflow_id, &look->workflow, &look->found))
		return NOT_FAST;
	if (!begin_look(&row, &step_by_position, AccessShareLock,
					(Key[]) {IS_ID(step_workflow_id, p->workflow_id), IS_INT(step_sequence, p->sequence)}, 2))
		return NOT_FAST;
	look->step.status = a_null();
	if (row.row)
	{
		keep_row(&row);
		STEP_LIST(FETCH_STEP, FETCH_STEP, )
	}
	end_look(&row);
	look->done = true;
	return look->found ? 1 : 0;
}

static Statement look_at_step = STATEMENT(LookStep,
	"SELECT " COLUMNS(WORKFLOW_LIST, "w.") ", " COLUMNS(STEP_LIST, "s.") " "
	"FROM durable.workflow w "
	"LEFT JOIN durable.step s ON s.workflow_id = w.id AND s.sequence = :sequence "
	"WHERE w.id = :workflow_id",
	.fast = fast_look_step);

/* Takes what a look at a workflow and a step has read; false if there is no such workflow. */
static bool
take_look(const WorkflowRow *workflow_row, const StepRow *step_row, const pg_uuid_t *workflow_id, int32 sequence,
		  Workflow *workflow, Step *step)
{
	read_step(step_row, workflow_id, sequence, step);
	if (!read_workflow(workflow_row, workflow))
		return false;
	remember_tree(workflow_id, &workflow->root_id);
	return true;
}

/*
 * Reads a workflow and its step at that position; false if there is no such
 * workflow, NO_TASK as the step's status if there is no such step.
 */
bool
look_step(const pg_uuid_t *workflow_id, int32 sequence, View view, Workflow *workflow, Step *step)
{
	FastLook	look = {.params = {.workflow_id = an_id(workflow_id),.sequence = an_int(sequence)}};

	if (run(&look_at_step, &look, view) == 0)
	{
		read_step(NULL, workflow_id, sequence, step);
		return false;
	}
	if (look.done)
		return take_look(&look.workflow, &look.step, workflow_id, sequence, workflow, step);
	return read_look_at_step(0, workflow_id, sequence, workflow, step);
}

#define LOOK_STEPS(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID)
PARAMETERS(LookSteps, LOOK_STEPS);

static Statement look_at_steps = STATEMENT(LookSteps,
	"SELECT " COLUMNS(WORKFLOW_LIST, "w.") ", " COLUMNS(STEP_LIST, "s.") " "
	"FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences)) WITH ORDINALITY AS b (workflow_id, sequence, n) "
	"LEFT JOIN LATERAL (SELECT o.* FROM durable.workflow o WHERE o.id = b.workflow_id OFFSET 0) w ON true "
	"LEFT JOIN LATERAL (SELECT o.* FROM durable.step o"
	"    WHERE o.workflow_id = b.workflow_id AND o.sequence = b.sequence OFFSET 0) s ON true "
	"ORDER BY b.n");

/* The same for many: a row each, in their order, for read_look_at_step. */
void
look_steps(NullableDatum workflow_ids, NullableDatum sequences)
{
	run(&look_at_steps, &(LookSteps) {.workflow_ids = workflow_ids,.sequences = sequences}, NEWEST);
}

bool
read_look_at_step(uint64 row, const pg_uuid_t *workflow_id, int32 sequence, Workflow *workflow, Step *step)
{
	WorkflowRow workflow_row;
	StepRow		step_row;

	fetch(row, 0, &workflow_row);
	fetch(row, WIDTH(WorkflowRow), &step_row);
	return take_look(&workflow_row, &step_row, workflow_id, sequence, workflow, step);
}

/* ---- comparing ------------------------------------------------------------------------ */

/* A hash of what a look has seen: another number if something has changed (next_round). */
uint64
seen_of(const Workflow *workflow, const Step *step)
{
	int32		seen[] = {
		workflow->status, workflow->lease, step ? step->status : 0, step ? step->lease : 0, step ? step->attempt : 0
	};

	return hash_bytes_extended((unsigned char *) seen, sizeof(seen), 0);
}

bool
same_json(NullableDatum a, NullableDatum b)
{
	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	return DatumGetBool(DirectFunctionCall2(jsonb_eq, a.value, b.value));
}

bool
same_text(NullableDatum a, NullableDatum b)
{
	if (a.isnull || b.isnull)
		return a.isnull && b.isnull;
	return DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, a.value, b.value));
}
