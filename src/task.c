/*-------------------------------------------------------------------------
 *
 * task.c
 *	  Workflows and steps as C structures, and how they are read.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_collation_d.h"
#include "catalog/pg_proc.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/resowner.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"

/* Where in a result we read. */
typedef struct Place
{
	uint64		row;
	int			column;
} Place;

static NullableDatum
next_column(Place *at)
{
	return result_column(at->row, at->column++);
}

static char *
text_or_null(NullableDatum d)
{
	return d.isnull ? NULL : TextDatumGetCString(d.value);
}

/* Reads the columns WORKFLOW_COLUMNS of statements.h; false if there is no workflow. */
static bool
read_workflow(Workflow *workflow, Place *at)
{
	NullableDatum d = next_column(at);

	if (d.isnull)
		return false;
	workflow->id = *DatumGetUUIDP(d.value);
	workflow->root_id = *DatumGetUUIDP(next_column(at).value);
	d = next_column(at);
	workflow->has_parent = !d.isnull;
	if (!d.isnull)
		workflow->parent_id = *DatumGetUUIDP(d.value);
	workflow->status_datum = next_column(at);
	workflow->status = status_from_datum(workflow->status_datum.value);
	workflow->lease = DatumGetInt32(next_column(at).value);
	workflow->recovery_count = DatumGetInt32(next_column(at).value);
	workflow->max_recovery_attempts = DatumGetInt32(next_column(at).value);
	workflow->name = text_or_null(next_column(at));
	workflow->has_queue = !next_column(at).isnull;
	workflow->handler = next_column(at);
	workflow->executor_id = next_column(at);
	workflow->input = next_column(at);
	workflow->output = next_column(at);
	workflow->error = next_column(at);
	workflow->deadline = next_column(at);
	workflow->paused_by = next_column(at);
	workflow->paused_at = next_column(at);
	return true;
}

/* Reads the columns STEP_COLUMNS of statements.h. */
static void
read_step(Step *step, Place *at)
{
	step->status_datum = next_column(at);
	if (step->status_datum.isnull)
	{
		step->status = NO_TASK;
		step->lease = step->attempt = 0;
		return;
	}
	step->status = status_from_datum(step->status_datum.value);
	step->kind = kind_from_datum(next_column(at).value);
	step->lease = DatumGetInt32(next_column(at).value);
	step->attempt = DatumGetInt32(next_column(at).value);
	step->max_retries = DatumGetInt32(next_column(at).value);
	step->retry_count = DatumGetInt32(next_column(at).value);
	step->name = text_or_null(next_column(at));
	step->executor_id = next_column(at);
	step->backoff = next_column(at);
	step->backoff_multiplier = next_column(at);
	step->max_backoff = next_column(at);
	step->input = next_column(at);
	step->output = next_column(at);
	step->error = next_column(at);
	step->detail = next_column(at);
	step->run_at = next_column(at);
	step->deadline = next_column(at);
	step->child_id = next_column(at);
}

/*
 * Reads a workflow without a lock.  The id of a step is a bad argument, any
 * other that is not there is unknown.
 */
void
look_workflow_or_raise(const pg_uuid_t *id, const char *argument, View view, Workflow *workflow)
{
	Params		params = {0};
	Place		at = {0};
	pg_uuid_t	workflow_id;
	Step		step;

	param_id(&params, id);
	if (run_plan(PLAN_LOOK_WORKFLOW, &params, view) > 0)
	{
		read_workflow(workflow, &at);
		return;
	}
	id_workflow(id, &workflow_id);
	if (id_sequence(id) >= 0 &&
		look_step(&workflow_id, id_sequence(id), view, workflow, &step) &&
		step.status != NO_TASK)
		bad_argument(argument, "must be the id of a workflow",
					 psprintf("%s is the id of step %d \"%s\".", uuid_text(id), step.sequence, step.name),
					 psprintf("Its workflow is %s.", uuid_text(&workflow_id)));
	raise_refusal(refuse_unknown_task(id));
}

/* What a look has seen, in short: another number if something has changed since (next_round). */
uint64
seen_of(const Workflow *workflow, const Step *step)
{
	int32		seen[] = {
		workflow->status, workflow->lease, step ? step->status : 0, step ? step->lease : 0, step ? step->attempt : 0
	};

	return hash_bytes_extended((unsigned char *) seen, sizeof(seen), 0);
}

/* Reads WORKFLOW_COLUMNS from a row of the last result, from that column on; false if they are NULL. */
bool
read_workflow_from(uint64 row, int first, Workflow *workflow)
{
	Place		at = {.row = row,.column = first};

	return read_workflow(workflow, &at);
}

/*
 * Reads a workflow and its step at that position; false if there is no such
 * workflow, NO_TASK as the step's status if there is no such step.
 */
bool
look_step(const pg_uuid_t *workflow_id, int32 sequence, View view, Workflow *workflow, Step *step)
{
	Params		params = {0};

	step->status = NO_TASK;
	param_id(&params, workflow_id);
	param_int(&params, sequence);
	return run_plan(PLAN_LOOK_STEP, &params, view) > 0 &&
		read_look_at_step(0, workflow_id, sequence, workflow, step);
}

/* The same from a row of PLAN_LOOK_STEP or PLAN_LOOK_STEPS. */
bool
read_look_at_step(uint64 row, const pg_uuid_t *workflow_id, int32 sequence, Workflow *workflow, Step *step)
{
	Place		at = {.row = row};

	step->workflow_id = *workflow_id;
	step->sequence = sequence;
	id_step(workflow_id, sequence, &step->id);
	step->status = NO_TASK;
	if (!read_workflow(workflow, &at))
		return false;
	read_step(step, &at);
	remember_tree(workflow_id, &workflow->root_id);
	return true;
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

