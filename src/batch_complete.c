/*-------------------------------------------------------------------------
 *
 * batch_complete.c
 *	  Many at once: complete_many.
 *
 * See batch.c for how a batch works, and in which order it locks.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_complete_many);

/* An element of complete_many. */
typedef struct Completion
{
	int			position;		/* from 0 */
	pg_uuid_t	task_id;
	NullableDatum output;
	NullableDatum lease;
	NullableDatum attempt;
	/* the answer */
	bool		completed;
	Refusal    *refusal;
} Completion;

/* A task, with its elements in the order of the array. */
typedef struct Task
{
	pg_uuid_t	id;
	pg_uuid_t	workflow_id;
	int32		sequence;		/* -1: a workflow */
	Completion *elements;
	int			count;
	bool		found;			/* its workflow */
	Workflow	workflow;
	Step		step;
	Completion *act;			/* the element that is to complete it, or NULL */
	bool		done;
} Task;

/* A tree in which something is to be completed. */
typedef struct Tree
{
	pg_uuid_t	root_id;
	bool		exclusive;
	bool		locked;
} Tree;

static int
compare_completions(const void *a, const void *b)
{
	const Completion *x = a;
	const Completion *y = b;
	int			order = compare_ids(&x->task_id, &y->task_id);

	return order != 0 ? order : x->position - y->position;
}

static bool
is_workflow(const Task *task)
{
	return task->sequence < 0;
}

/* Groups sorted elements by task. */
static int
group_completions(Completion *elements, int count, Task *tasks)
{
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		if (i == 0 || !same_id(&elements[i].task_id, &elements[i - 1].task_id))
		{
			Task	   *task = &tasks[n++];

			task->id = elements[i].task_id;
			id_workflow(&task->id, &task->workflow_id);
			task->sequence = id_sequence(&task->id);
			task->elements = &elements[i];
		}
		tasks[n - 1].count++;
	}
	return n;
}

/* Looks at tasks. */
static void
look_tasks(Task **tasks, int count)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, count);
	Column		sequences = new_column(INT4OID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&tasks[i]->workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(tasks[i]->sequence)));
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	run_plan(PLAN_LOOK_STEPS, &params, NEWEST);
	for (int i = 0; i < count; i++)
		tasks[i]->found = read_look_at_step(i, &tasks[i]->workflow_id, tasks[i]->sequence,
											&tasks[i]->workflow, &tasks[i]->step);
}

static Refusal *
refuse_element(const Task *task, const Completion *e, bool *repeated)
{
	Refusal    *refusal;

	if (is_workflow(task))
	{
		if ((refusal = refuse_attempt_of_workflow(e->attempt, "attempts")) != NULL)
			return refusal;
		if (!task->found)
			return refuse_unknown_task(&task->id);
		return refuse_workflow_completion(&task->workflow, e->output, e->lease, repeated);
	}
	if ((refusal = refuse_outcome(&task->workflow, &task->step, "task_ids", e->lease, e->attempt)) != NULL)
		return refusal;
	return refuse_completion(&task->step, e->output, repeated);
}

/*
 * What the calls of complete for one task come to, one after the other: the
 * first that is legal is to be done, later ones find it done.
 */
static void
decide_completions(Task *task)
{
	task->act = NULL;
	for (int i = 0; i < task->count; i++)
	{
		Completion *e = &task->elements[i];
		bool		repeated = false;

		e->refusal = refuse_element(task, e, &repeated);
		e->completed = e->refusal == NULL && !repeated;
		if (e->completed)
		{
			task->act = e;
			task->workflow.status = task->step.status = COMPLETED;
			task->workflow.output = task->step.output = e->output;
		}
	}
	task->done = task->act == NULL;
}

/* The trees of tasks, in the order of their roots. */
static int
trees_of(Task **tasks, int count, Tree *trees)
{
	int			n = 0;

	for (int i = 0; i < count; i++)
		trees[i].root_id = tasks[i]->workflow.root_id;
	qsort(trees, count, sizeof(Tree), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || !same_id(&trees[i].root_id, &trees[n - 1].root_id))
			trees[n++] = trees[i];
	return n;
}

static Tree *
tree_of(const Task *task, Tree *trees, int count)
{
	return bsearch(&task->workflow.root_id, trees, count, sizeof(Tree), compare_ids);
}

static LOCKMODE
tree_mode(const Tree *tree)
{
	return tree->exclusive ? TREE_EXCLUSIVE : TREE_SHARED;
}

static void
lock_trees(Tree *trees, int count)
{
	for (int i = 0; i < count; i++)
		trees[i].locked = lock_tree(&trees[i].root_id, tree_mode(&trees[i]));
}

static void
unlock_trees(Tree *trees, int count)
{
	for (int i = 0; i < count; i++)
		if (trees[i].locked)
			unlock_tree(&trees[i].root_id, tree_mode(&trees[i]));
}

/*
 * Locks the trees in which tasks are to be completed, in the order of their
 * roots, then the children of the workflows among them; see lock_to_complete in
 * workflow.c.  Where one has unfinished inline children, which are to be
 * cancelled with it, all locks are given back and that tree locked exclusively.
 * Returns whether there are such.
 */
static bool
lock_to_complete_many(Task **tasks, int count)
{
	Tree	   *trees = palloc0(count * sizeof(Tree));
	pg_uuid_t  *asked = palloc(count * sizeof(pg_uuid_t));
	int			n = trees_of(tasks, count, trees);
	bool		abandons = false;

	for (;;)
	{
		Params		params = {0};
		int			asked_count = 0;
		uint64		parents;

		lock_trees(trees, n);
		for (int i = 0; i < count; i++)
		{
			if (!is_workflow(tasks[i]) || tree_of(tasks[i], trees, n)->exclusive)
				continue;
			lock_children(&tasks[i]->id, CHILDREN_END);
			asked[asked_count++] = tasks[i]->id;
		}
		if (asked_count == 0)
			return abandons;
		param_datum(&params, id_array(asked, asked_count));
		parents = run_plan(PLAN_LOOK_INLINE_PARENTS, &params, NEWEST);
		if (parents == 0)
			return abandons;

		abandons = true;
		for (int i = 0; i < asked_count; i++)
			unlock_children(&asked[i], CHILDREN_END);
		unlock_trees(trees, n);
		for (uint64 row = 0; row < parents; row++)
		{
			const pg_uuid_t *id = DatumGetUUIDP(result_value(row, 0));

			for (int i = 0; i < count; i++)
				if (same_id(&tasks[i]->id, id))
					tree_of(tasks[i], trees, n)->exclusive = true;
		}
	}
}

/* Marks the tasks that the last statement has returned by their numbers. */
static void
mark_done(Task **tasks, uint64 rows)
{
	for (uint64 row = 0; row < rows; row++)
		tasks[DatumGetInt64(result_value(row, 0)) - 1]->done = true;
}

/* Completes workflows; sorted by id, so mostly parents before their children. */
static void
complete_workflows(Task **tasks, int count, TimestampTz now)
{
	Params		params = {0};
	Column		ids = new_column(UUIDOID, count);
	Column		leases = new_column(INT4OID, count);
	Column		outputs = new_column(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&ids, a_value(UUIDPGetDatum(&tasks[i]->id)));
		append_element(&leases, a_value(Int32GetDatum(tasks[i]->workflow.lease)));
		append_element(&outputs, tasks[i]->act->output);
	}
	param_column(&params, &ids);
	param_column(&params, &leases);
	param_bool(&params, true);
	param_column(&params, &outputs);
	param(&params, a_null());
	param(&params, a_null());
	param_time(&params, now);
	mark_done(tasks, run_plan(PLAN_END_WORKFLOWS, &params, NEWEST));
}

/*
 * If the completion of steps had to wait, their workflows may have changed hands
 * meanwhile: then it comes too late, and the error takes all back.
 */
static void
raise_if_any_fenced(Task **tasks, int count, TimestampTz before)
{
	if (clock_now() - before <= SHORT_WAIT)
		return;
	look_tasks(tasks, count);
	for (int i = 0; i < count; i++)
	{
		NullableDatum lease = tasks[i]->act->lease;

		if (tasks[i]->done && !lease.isnull && tasks[i]->workflow.lease != DatumGetInt32(lease.value))
			raise_refusal(refuse_lease(&tasks[i]->workflow, DatumGetInt32(lease.value)));
	}
}

/* Completes steps, as complete_step does one. */
static void
complete_steps(Task **tasks, int count, TimestampTz now)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, count);
	Column		sequences = new_column(INT4OID, count);
	Column		leases = new_column(INT4OID, count);
	Column		attempts = new_column(INT4OID, count);
	Column		outputs = new_column(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&tasks[i]->workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(tasks[i]->sequence)));
		append_element(&leases, tasks[i]->act->lease);
		append_element(&attempts, tasks[i]->act->attempt);
		append_element(&outputs, tasks[i]->act->output);
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	param_column(&params, &leases);
	param_column(&params, &attempts);
	param_column(&params, &outputs);
	param_time(&params, now);
	mark_done(tasks, run_plan(PLAN_COMPLETE_STEPS, &params, NEWEST));
	raise_if_any_fenced(tasks, count, now);
}

/*
 * Completes the tasks that are to be.  Locks as above, then the workflows' rows,
 * the steps' rows, those of the unfinished inline descendants and their steps,
 * in trees that are locked exclusively, and last the stand-ins.
 *
 * So, whatever the order of the array: steps first, then workflows from below,
 * and what is then left unfinished below a completed one is cancelled.
 */
static void
complete_tasks(Task **tasks, int count)
{
	Task	  **workflows = palloc(count * sizeof(Task *));
	Task	  **steps = palloc(count * sizeof(Task *));
	pg_uuid_t  *ended = palloc(count * sizeof(pg_uuid_t));
	int			workflow_count = 0;
	int			step_count = 0;
	int			ended_count = 0;
	bool		abandons = lock_to_complete_many(tasks, count);
	TimestampTz now = clock_now();

	for (int i = 0; i < count; i++)
		if (is_workflow(tasks[i]))
			workflows[workflow_count++] = tasks[i];
		else
			steps[step_count++] = tasks[i];
	if (workflow_count > 0)
		complete_workflows(workflows, workflow_count, now);
	if (step_count > 0)
		complete_steps(steps, step_count, now);

	if (abandons)
	{
		for (int i = 0; i < workflow_count; i++)
			if (workflows[i]->done)
				ended[ended_count++] = workflows[i]->id;
		cascade_below(CASCADE_ABANDON, id_array(ended, ended_count), 0, now);
	}
	ended_count = 0;
	for (int i = 0; i < workflow_count; i++)
	{
		if (!workflows[i]->done)
			continue;
		/* start_child now meets the row */
		if (!abandons)
			unlock_children(&workflows[i]->id, CHILDREN_END);
		if (workflows[i]->workflow.has_parent)
			ended[ended_count++] = workflows[i]->id;
	}
	if (ended_count > 0)
		record_on_stand_ins(id_array(ended, ended_count));
}

/*
 * Steps each of which stands in the array once, of workflows that are known
 * here, are completed without a look: the statement itself asks all that makes
 * it legal, and the look only tells why it did nothing.
 */
static void
complete_known_steps(Task *tasks, int count)
{
	Task	  **steps = palloc(Max(count, 1) * sizeof(Task *));
	KnownTree  *trees = palloc(Max(count, 1) * sizeof(KnownTree));
	int			n;
	bool		any = false;

	/* where nothing may be written, a repeated call is still answered, by the look */
	if (XactReadOnly || count == 0)
		return;
	for (n = 0; n < count; n++)
		if (is_workflow(&tasks[n]) || tasks[n].count > 1 ||
			!try_lock_known_tree(&tasks[n].workflow_id, &trees[n]))
			break;
	if (n == count)
	{
		for (int i = 0; i < count; i++)
		{
			tasks[i].act = tasks[i].elements;
			tasks[i].act->completed = true;
			steps[i] = &tasks[i];
		}
		complete_steps(steps, count, clock_now());
		for (int i = 0; i < count; i++)
			any = any || tasks[i].done;
		/* as unlock_known_tree_unless_written */
		if (any || TransactionIdIsValid(GetTopTransactionIdIfAny()))
			return;
	}
	while (n > 0)
		unlock_known_tree(&trees[--n]);
}

/*
 * complete_many(task_ids, outputs, leases, attempts)
 *
 * Locks and writes nothing where nothing is to be completed; see complete_tasks
 * for the rest.
 */
Datum
durable_complete_many(PG_FUNCTION_ARGS)
{
	NullableDatum task_ids = fcinfo->args[0];
	int			count = require_batch(task_ids, "task_ids");
	Column		id_column;
	Column		output_column;
	Column		lease_column;
	Column		attempt_column;
	Completion *elements;
	Completion **by_position;
	Task	   *tasks;
	Task	  **open;
	int			task_count;
	Call		call;
	NullableDatum columns[4];

	check_array_beside(fcinfo->args[1], "outputs", count, "task_ids");
	check_array_beside(fcinfo->args[2], "leases", count, "task_ids");
	check_array_beside(fcinfo->args[3], "attempts", count, "task_ids");

	begin_rows_of(fcinfo, lengthof(columns));
	call = begin_call(fcinfo);
	id_column = column_of(task_ids, UUIDOID, count);
	output_column = column_of(fcinfo->args[1], JSONBOID, count);
	lease_column = column_of(fcinfo->args[2], INT4OID, count);
	attempt_column = column_of(fcinfo->args[3], INT4OID, count);
	elements = palloc0(Max(count, 1) * sizeof(Completion));
	by_position = palloc(Max(count, 1) * sizeof(Completion *));
	tasks = palloc0(Max(count, 1) * sizeof(Task));
	open = palloc(Max(count, 1) * sizeof(Task *));
	for (int i = 0; i < count; i++)
		elements[i] = (Completion)
		{
			.position = i,.task_id = *DatumGetUUIDP(element_of(&id_column, i).value),
			.output = element_of(&output_column, i),
			.lease = element_of(&lease_column, i),.attempt = element_of(&attempt_column, i)
		};
	qsort(elements, count, sizeof(Completion), compare_completions);
	task_count = group_completions(elements, count, tasks);

	complete_known_steps(tasks, task_count);
	for (;;)
	{
		int			n = 0;

		for (int i = 0; i < task_count; i++)
			if (!tasks[i].done)
				open[n++] = &tasks[i];
		if (n == 0)
			break;
		look_tasks(open, n);
		n = 0;
		for (int i = 0; i < task_count; i++)
		{
			if (tasks[i].done)
				continue;
			decide_completions(&tasks[i]);
			if (tasks[i].act)
				open[n++] = &tasks[i];
		}
		if (n > 0)
			complete_tasks(open, n);
	}

	for (int i = 0; i < count; i++)
		by_position[elements[i].position] = &elements[i];
	for (int i = 0; i < count; i++)
	{
		Completion *e = by_position[i];

		columns[0] = a_value(Int32GetDatum(i + 1));
		columns[1] = a_value(UUIDPGetDatum(&e->task_id));
		columns[2] = e->refusal ? a_null() : a_value(BoolGetDatum(e->completed));
		columns[3] = e->refusal ? a_value(CStringGetTextDatum(refusal_text(e->refusal))) : a_null();
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
