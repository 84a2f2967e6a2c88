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
	int			depth;			/* of an inline child, below the workflow that is not */
	Completion *elements;
	int			count;
	bool		found;			/* its workflow */
	Workflow	workflow;
	Step		step;
	Completion *act;			/* the element that is to complete it, or NULL */
} Task;

/* All of them. */
typedef struct Completions
{
	int			count;
	Completion *elements;		/* in the order of tasks */
	int			task_count;
	Task	   *tasks;			/* in the order of ids */
	Task	  **acts;			/* those that are to be completed */
	int			act_count;
	bool		again;			/* a first attempt was overtaken ... */
	const char *table;			/* ... at a row of this one */
	Rounds		rounds;
} Completions;

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

/* Looks at all tasks. */
static void
look_tasks(Completions *c)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, c->task_count);
	Column		sequences = new_column(INT4OID, c->task_count);

	for (int i = 0; i < c->task_count; i++)
	{
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&c->tasks[i].workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(c->tasks[i].sequence)));
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	look_steps(params.values[0], params.values[1]);
	for (int i = 0; i < c->task_count; i++)
	{
		Task	   *task = &c->tasks[i];

		task->found = read_look_at_step(i, &task->workflow_id, task->sequence, &task->workflow, &task->step);
	}
}

/* How many inline workflows are above an inline child, and itself. */
static int
look_depth(const Workflow *workflow)
{
	Params		params = {0};
	uint64		count;
	int			depth = 1;

	param_id(&params, &workflow->parent_id);
	count = run_plan(PLAN_LOOK_ANCESTORS, &params, NEWEST);
	for (uint64 row = 0; row < count && !DatumGetBool(result_value(row, 2)); row++)
		depth++;
	return depth;
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
decide_task(Task *task)
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
}

/* In the order in which rows are locked: workflows before steps, parents before their inline children, then by id. */
static int
compare_acts(const void *a, const void *b)
{
	const Task *x = *(Task *const *) a;
	const Task *y = *(Task *const *) b;

	if (is_workflow(x) != is_workflow(y))
		return is_workflow(x) ? -1 : 1;
	if (x->depth != y->depth)
		return x->depth < y->depth ? -1 : 1;
	return compare_ids(&x->id, &y->id);
}

/* The same for all tasks; returns whether anything is to be written. */
static bool
decide_tasks(Completions *c)
{
	c->act_count = 0;
	for (int i = 0; i < c->task_count; i++)
	{
		decide_task(&c->tasks[i]);
		if (c->tasks[i].act)
			c->acts[c->act_count++] = &c->tasks[i];
	}
	for (int i = 0; i < c->act_count; i++)
	{
		Task	   *task = c->acts[i];

		task->depth = is_workflow(task) && is_inline(&task->workflow) ? look_depth(&task->workflow) : 0;
	}
	qsort(c->acts, c->act_count, sizeof(Task *), compare_acts);
	return c->act_count > 0;
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

/* Locks the rows of workflows; each depth in the order of ids. */
static void
lock_rows_of_workflows(Task **tasks, int count)
{
	pg_uuid_t  *ids = palloc(count * sizeof(pg_uuid_t));
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		ids[n++] = tasks[i]->id;
		if (i + 1 == count || tasks[i + 1]->depth != tasks[i]->depth)
		{
			lock_workflows(id_array(ids, n));
			n = 0;
		}
	}
}

/* Completes workflows; returns whether all could be. */
static bool
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
	return run_plan(PLAN_END_WORKFLOWS, &params, NEWEST) == count;
}

/* The two columns by which the steps of tasks are found. */
static void
param_positions(Params *params, Task **tasks, int count)
{
	Column		workflow_ids = new_column(UUIDOID, count);
	Column		sequences = new_column(INT4OID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&workflow_ids, a_value(UUIDPGetDatum(&tasks[i]->workflow_id)));
		append_element(&sequences, a_value(Int32GetDatum(tasks[i]->sequence)));
	}
	param_column(params, &workflow_ids);
	param_column(params, &sequences);
}

/* Completes steps, as complete_step does one; returns whether all could be. */
static bool
complete_steps(Task **tasks, int count, TimestampTz now)
{
	Params		params = {0};
	Column		leases = new_column(INT4OID, count);
	Column		attempts = new_column(INT4OID, count);
	Column		outputs = new_column(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&leases, tasks[i]->act->lease);
		append_element(&attempts, tasks[i]->act->attempt);
		append_element(&outputs, tasks[i]->act->output);
	}
	param_positions(&params, tasks, count);
	param_column(&params, &leases);
	param_column(&params, &attempts);
	param_column(&params, &outputs);
	param_time(&params, now);
	if (run_plan(PLAN_COMPLETE_STEPS, &params, NEWEST) < count)
		return false;
	for (int i = 0; i < count; i++)
		recorded_under(&tasks[i]->workflow_id, tasks[i]->act->lease);
	return true;
}

/*
 * Completes the tasks that are to be; false if one was overtaken, or had to wait.
 * Locks as above, then the workflows' rows, the steps' rows, those of the
 * unfinished inline descendants and their steps, in trees that are locked
 * exclusively, and last the stand-ins.  The statements lock rows in the order of
 * tasks; after a first attempt they are locked before the time is taken.
 *
 * So, whatever the order of the array: steps first, then workflows from below,
 * and what is then left unfinished below a completed one is cancelled.
 */
static bool
complete_tasks(void *arg)
{
	Completions *c = arg;
	pg_uuid_t  *ended = palloc(c->act_count * sizeof(pg_uuid_t));
	int			children = 0;
	bool		abandons = lock_to_complete_many(c->acts, c->act_count);
	int			workflows = 0;
	Task	  **steps;
	int			step_count;
	TimestampTz now;

	while (workflows < c->act_count && is_workflow(c->acts[workflows]))
		workflows++;
	steps = c->acts + workflows;
	step_count = c->act_count - workflows;

	if (c->again)
	{
		Params		params = {0};

		lock_rows_of_workflows(c->acts, workflows);
		param_positions(&params, steps, step_count);
		run_plan(PLAN_LOCK_STEPS, &params, NEWEST);
	}
	now = clock_now();
	c->rounds.since = clock_monotonic();
	c->table = "durable.workflow";
	if (workflows > 0 && !complete_workflows(c->acts, workflows, now))
		return false;
	c->table = "durable.step";
	if ((step_count > 0 && !complete_steps(steps, step_count, now)) || has_waited(&c->rounds, c->act_count))
		return false;

	if (abandons)
	{
		for (int i = 0; i < workflows; i++)
			ended[i] = c->acts[i]->id;
		cascade_below(CASCADE_ABANDON, id_array(ended, workflows), 0, now);
	}
	for (int i = 0; i < workflows; i++)
	{
		/* start_child now meets the row */
		if (!abandons)
			unlock_children(&c->acts[i]->id, CHILDREN_END);
		if (c->acts[i]->workflow.has_parent)
			ended[children++] = c->acts[i]->id;
	}
	if (children > 0)
		record_on_stand_ins(id_array(ended, children), children);
	return true;
}

/*
 * Steps of workflows that are known here are completed without a look: the
 * statement itself asks all that makes it legal, and the look only tells why it
 * did nothing.  False if that cannot be, or did not do all.
 */
static bool
complete_known_steps(void *arg)
{
	Completions *c = arg;

	for (int i = 0; i < c->task_count; i++)
	{
		pg_uuid_t	root_id;

		if (!try_lock_known_tree(&c->tasks[i].workflow_id, &root_id))
			return false;
		c->acts[i] = &c->tasks[i];
		c->acts[i]->act = c->acts[i]->elements;
		c->acts[i]->act->completed = true;
	}
	c->rounds.since = clock_monotonic();
	return complete_steps(c->acts, c->task_count, clock_now()) && !has_waited(&c->rounds, c->task_count);
}

/* Whether all are steps, each of which stands in the array once. */
static bool
are_steps(const Completions *c)
{
	for (int i = 0; i < c->task_count; i++)
		if (is_workflow(&c->tasks[i]) || c->tasks[i].count > 1)
			return false;
	return c->task_count > 0;
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
	Completions c = {.count = count};
	Completion **by_position;
	uint64		seen;
	bool		done;
	Call		call;
	NullableDatum columns[4];

	check_array_beside(fcinfo->args[1], "outputs", count, "task_ids");
	check_array_beside(fcinfo->args[2], "leases", count, "task_ids");
	check_array_beside(fcinfo->args[3], "attempts", count, "task_ids");

	begin_rows_of(fcinfo, lengthof(columns));
	id_column = column_of(task_ids, UUIDOID, count);
	output_column = column_of(fcinfo->args[1], JSONBOID, count);
	lease_column = column_of(fcinfo->args[2], INT4OID, count);
	attempt_column = column_of(fcinfo->args[3], INT4OID, count);
	c.elements = palloc0(Max(count, 1) * sizeof(Completion));
	by_position = palloc(Max(count, 1) * sizeof(Completion *));
	c.tasks = palloc0(Max(count, 1) * sizeof(Task));
	c.acts = palloc(Max(count, 1) * sizeof(Task *));
	for (int i = 0; i < count; i++)
		c.elements[i] = (Completion)
		{
			.position = i,.task_id = *DatumGetUUIDP(element_of(&id_column, i).value),
			.output = element_of(&output_column, i),
			.lease = element_of(&lease_column, i),.attempt = element_of(&attempt_column, i)
		};
	qsort(c.elements, count, sizeof(Completion), compare_completions);
	c.task_count = group_completions(c.elements, count, c.tasks);

	call = begin_call(fcinfo);
	/* where nothing may be written, a repeated call is still answered, by the look */
	done = !XactReadOnly && are_steps(&c) && write_batch(complete_known_steps, &c);
	while (!done)
	{
		look_tasks(&c);
		seen = 0;
		for (int i = 0; i < c.task_count; i++)
			seen = seen * 31 + (c.tasks[i].found ? seen_of(&c.tasks[i].workflow, &c.tasks[i].step) : 0);
		done = !decide_tasks(&c) || write_batch(complete_tasks, &c);
		c.again = true;
		if (!done)
			next_round(&c.rounds, c.table, seen);
	}

	for (int i = 0; i < count; i++)
		by_position[c.elements[i].position] = &c.elements[i];
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
