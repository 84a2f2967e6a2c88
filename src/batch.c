/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Many at once: start_many, complete_many, claim_steps.
 *
 * Each element is treated by the rules of the single call, which stand in
 * workflow.c and step.c: one look at all, the decisions in C, then one
 * statement for all to which the same happens.  So the number of statements
 * does not depend on the number of elements.  What was overtaken meanwhile is
 * looked at again, the others have their answers already.
 *
 * Locks are those of the single calls, in the order of durable.h, and within
 * each kind in the order of ids (names, positions): two batches, or a batch and
 * a single call, wait one for the other and not both.  Rows are locked in the
 * order of the arrays that a statement gets: it reads these first (plans.c),
 * and they are sorted here.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_start_many);
PG_FUNCTION_INFO_V1(durable_complete_many);
PG_FUNCTION_INFO_V1(durable_claim_steps);

/* ---- arrays -------------------------------------------------------------- */

/* An array, element by element. */
typedef struct Column
{
	Oid			type;
	int			count;
	Datum	   *values;
	bool	   *nulls;
} Column;

static Column
new_column(Oid type, int capacity)
{
	Column		column = {.type = type};

	column.values = palloc(Max(capacity, 1) * sizeof(Datum));
	column.nulls = palloc(Max(capacity, 1) * sizeof(bool));
	return column;
}

static void
append(Column *column, NullableDatum d)
{
	column->values[column->count] = d.value;
	column->nulls[column->count] = d.isnull;
	column->count++;
}

/* An argument of so many elements; the array NULL is all NULLs. */
static Column
column_of(NullableDatum array, Oid type, int count)
{
	Column		column;
	int16		len;
	bool		byval;
	char		align;

	if (array.isnull)
	{
		column = new_column(type, count);
		while (column.count < count)
			append(&column, a_null());
		return column;
	}
	column.type = type;
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(array.value), type, len, byval, align,
					  &column.values, &column.nulls, &column.count);
	return column;
}

static NullableDatum
element(const Column *column, int i)
{
	return column->nulls[i] ? a_null() : a_value(column->values[i]);
}

static void
param_column(Params *params, const Column *column)
{
	int			lower = 1;
	int			count = column->count;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(column->type, &len, &byval, &align);
	param_datum(params, PointerGetDatum(construct_md_array(column->values, column->nulls, 1, &count, &lower,
														   column->type, len, byval, align)));
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* ---- start_many ---------------------------------------------------------- */

/* An element of start_many. */
typedef struct Start
{
	int			position;		/* from 0 */
	NullableDatum name;
	NullableDatum input;
	struct Root *root;
	/* the answer */
	bool		created;
	TaskStatus	status;
	int32		lease;
	NullableDatum owner;
} Start;

/* A name, with its elements in the order of the array. */
typedef struct Root
{
	Start	  **elements;
	int			count;
	bool		found;
	NullableDatum owner_seen;	/* when its executor was last seen */
	Workflow	workflow;		/* as found; then as it is after the elements so far */
	int32		seen_lease;
	int32		takes;			/* how often it changes hands */
	bool		done;
} Root;

static int
compare_starts(const void *a, const void *b)
{
	const Start *x = *(Start *const *) a;
	const Start *y = *(Start *const *) b;
	text	   *s = DatumGetTextPP(x->name.value);
	text	   *t = DatumGetTextPP(y->name.value);
	int			s_len = VARSIZE_ANY_EXHDR(s);
	int			t_len = VARSIZE_ANY_EXHDR(t);
	int			order = memcmp(VARDATA_ANY(s), VARDATA_ANY(t), Min(s_len, t_len));

	if (order == 0)
		order = s_len - t_len;
	return order != 0 ? order : x->position - y->position;
}

static int
compare_roots(const void *a, const void *b)
{
	return compare_ids(&(*(Root *const *) a)->workflow.id, &(*(Root *const *) b)->workflow.id);
}

/* Groups the elements by name, in the order of names. */
static int
group_starts(Start *starts, int count, Root *roots)
{
	Start	  **sorted = palloc(count * sizeof(Start *));
	int			n = 0;

	for (int i = 0; i < count; i++)
		sorted[i] = &starts[i];
	qsort(sorted, count, sizeof(Start *), compare_starts);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || !same_text(sorted[i]->name, sorted[i - 1]->name))
			roots[n++] = (Root) {.elements = &sorted[i]};
		roots[n - 1].count++;
		sorted[i]->root = &roots[n - 1];
	}
	return n;
}

/* Looks at the active roots of all names that are not done; false if all are. */
static bool
look_roots(Root *roots, int count)
{
	Params		params = {0};
	Column		names = new_column(TEXTOID, count);
	uint64		row = 0;

	for (int i = 0; i < count; i++)
		if (!roots[i].done)
			append(&names, roots[i].elements[0]->name);
	if (names.count == 0)
		return false;
	param_column(&params, &names);
	run_plan(PLAN_LOOK_ACTIVE_ROOTS, &params, NEWEST);
	for (int i = 0; i < count; i++)
		if (!roots[i].done)
			roots[i].found = read_active_root(row++, &roots[i].workflow, &roots[i].owner_seen);
	return true;
}

/*
 * What the calls of start for one name come to, one after the other: the first
 * creates the root where there is none, each of them may become its owner.
 */
static void
decide_starts(Root *root, const StartArgs *args, TimestampTz stale_before)
{
	Workflow   *workflow = &root->workflow;

	root->takes = 0;
	root->seen_lease = workflow->lease;
	for (int i = 0; i < root->count; i++)
	{
		Start	   *start = root->elements[i];

		start->created = !root->found && i == 0;
		if (!start->created)
		{
			Attaching	how = attaching(workflow, args->executor_id, false, true);

			if (how == OWNS ||
				(how == OWNS_IF_DEAD &&
				 (root->owner_seen.isnull || DatumGetTimestampTz(root->owner_seen.value) < stale_before)))
			{
				root->takes++;
				workflow->lease++;
				workflow->status = RUNNING;
				workflow->executor_id = args->executor_id;
			}
		}
		start->status = workflow->status;
		start->lease = workflow->lease;
		start->owner = owner_of(workflow);
	}
	root->done = root->found && root->takes == 0;
}

/*
 * Creates the roots that were not found; done are those for which nobody was
 * faster.  Returns their ids.
 */
static Datum
create_roots(Root *roots, int count, const StartArgs *args)
{
	Params		params = {0};
	Column		ids = new_column(UUIDOID, count);
	Column		names = new_column(TEXTOID, count);
	Column		inputs = new_column(JSONBOID, count);
	Column		times = new_column(TIMESTAMPTZOID, count);
	Column		leases = new_column(INT4OID, count);
	uint64		created;
	int			i = 0;

	for (int r = 0; r < count; r++)
	{
		Root	   *root = &roots[r];

		if (root->done || root->found)
			continue;
		append(&ids, a_value(UUIDPGetDatum(&root->workflow.id)));
		append(&names, root->elements[0]->name);
		append(&inputs, root->elements[0]->input);
		append(&times, a_value(TimestampTzGetDatum(id_created_at(&root->workflow.id))));
		append(&leases, a_value(Int32GetDatum(root->workflow.lease)));
	}
	if (ids.count == 0)
		return id_array(NULL, 0);
	param_column(&params, &ids);
	param_column(&params, &names);
	param_column(&params, &inputs);
	param_start(&params, args);
	param_column(&params, &times);
	param_column(&params, &leases);
	created = run_plan(PLAN_START_MANY, &params, NEWEST);
	/* they come back in the order in which they went */
	for (uint64 row = 0; row < created; row++)
	{
		const pg_uuid_t *id = DatumGetUUIDP(result_value(row, 0));

		while (roots[i].done || roots[i].found || !same_id(&roots[i].workflow.id, id))
			i = (i + 1) % count;
		roots[i].done = true;
	}
	return result_ids(0);
}

/*
 * Makes the executor the owner of those that were found and change hands, and
 * fences their inline descendants.
 */
static void
take_roots(Root **taken, int count, const StartArgs *args, TimestampTz now)
{
	Params		params = {0};
	Column		ids = new_column(UUIDOID, count);
	Column		leases = new_column(INT4OID, count);
	Column		takes = new_column(INT4OID, count);
	pg_uuid_t  *fenced = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	uint64		rows;

	if (count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		append(&ids, a_value(UUIDPGetDatum(&taken[i]->workflow.id)));
		append(&leases, a_value(Int32GetDatum(taken[i]->seen_lease)));
		append(&takes, a_value(Int32GetDatum(taken[i]->takes)));
	}
	param_column(&params, &ids);
	param(&params, args->executor_id);
	param_time(&params, now);
	param_column(&params, &leases);
	param_column(&params, &takes);
	rows = run_plan(PLAN_TAKE_MANY, &params, NEWEST);
	for (uint64 row = 0; row < rows; row++)
	{
		Root	   *root = taken[DatumGetInt64(result_value(row, 0)) - 1];

		root->done = true;
		fenced[row] = root->workflow.id;
	}
	cascade_below(CASCADE_FENCE, id_array(fenced, rows), 0, now);
}

/*
 * One round: what is to be done by the last look.  Locks the executor's row,
 * the queue (shared), the trees of those that change hands (shared, in the
 * order of ids), then, in the order of names, the new names in the unique index
 * of active roots, the rows that change hands and those of their unfinished
 * inline descendants, and last the queue's heads.
 */
static void
start_roots(Start *starts, int start_count, Root *roots, int count, const StartArgs *args)
{
	int64		ns = clock_ns();
	TimestampTz now = clock_timestamp_of(ns);
	TimestampTz stale_before = clock_stale_before(now, a_null());
	Root	  **taken = palloc(count * sizeof(Root *));
	int			taken_count = 0;
	bool		creates = false;
	bool		has_heads = false;
	Datum		created;

	/* ids in the order of the array */
	for (int i = 0; i < start_count; i++)
	{
		Root	   *root = starts[i].root;
		pg_uuid_t	id;

		if (root->done || root->found || root->elements[0] != &starts[i])
			continue;
		new_root_id(ns, starts[i].name.value, &id);
		fill_started(&root->workflow, &id, args);
		creates = true;
	}
	for (int r = 0; r < count; r++)
	{
		if (roots[r].done)
			continue;
		decide_starts(&roots[r], args, stale_before);
		if (roots[r].found && roots[r].takes > 0)
			taken[taken_count++] = &roots[r];
	}
	if (!creates && taken_count == 0)
		return;

	register_executor(args->executor_id, now, stale_before);
	if (creates)
		has_heads = lock_queue_to_start(args->queue, now);
	qsort(taken, taken_count, sizeof(Root *), compare_roots);
	for (int i = 0; i < taken_count; i++)
		lock_tree(&taken[i]->workflow.id, TREE_SHARED);
	created = create_roots(roots, count, args);
	take_roots(taken, taken_count, args, now);
	if (has_heads)
		lower_heads(created);
}

/*
 * start_many(names, inputs, handler, executor_id, queue, priority, run_at,
 *			  timeout, max_recovery_attempts, app_version)
 *
 * Nothing is locked or written where all are only joined; see start_roots for
 * the rest.
 */
Datum
durable_start_many(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[0];
	NullableDatum inputs = fcinfo->args[1];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StartArgs	args;
	Column		name_column;
	Column		input_column;
	Start	   *starts;
	Root	   *roots;
	int			count = require_batch(names, "names");
	int			root_count;
	Call		call;

	check_array_beside(inputs, "inputs", count, "names");
	name_column = column_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element(&name_column, i), "names");
	args = start_args(fcinfo);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	input_column = column_of(inputs, JSONBOID, count);
	starts = palloc0(Max(count, 1) * sizeof(Start));
	roots = palloc0(Max(count, 1) * sizeof(Root));
	for (int i = 0; i < count; i++)
		starts[i] = (Start) {.position = i,.name = element(&name_column, i),.input = element(&input_column, i)};
	root_count = group_starts(starts, count, roots);

	while (look_roots(roots, root_count))
		start_roots(starts, count, roots, root_count, &args);

	for (int i = 0; i < count; i++)
	{
		Start	   *start = &starts[i];
		NullableDatum columns[6];

		columns[0] = a_value(Int32GetDatum(i + 1));
		columns[1] = a_value(UUIDPGetDatum(&start->root->workflow.id));
		columns[2] = a_value(BoolGetDatum(start->created));
		columns[3] = a_value(enum_datum(column_type(rsinfo->setDesc, 3), status_label(start->status)));
		columns[4] = a_value(Int32GetDatum(start->lease));
		columns[5] = start->owner;
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}

/* ---- complete_many --------------------------------------------------------- */

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
		append(&workflow_ids, a_value(UUIDPGetDatum(&tasks[i]->workflow_id)));
		append(&sequences, a_value(Int32GetDatum(tasks[i]->sequence)));
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
		append(&ids, a_value(UUIDPGetDatum(&tasks[i]->id)));
		append(&leases, a_value(Int32GetDatum(tasks[i]->workflow.lease)));
		append(&outputs, tasks[i]->act->output);
	}
	param_column(&params, &ids);
	param_column(&params, &leases);
	param_bool(&params, true);
	param_column(&params, &outputs);
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
		append(&workflow_ids, a_value(UUIDPGetDatum(&tasks[i]->workflow_id)));
		append(&sequences, a_value(Int32GetDatum(tasks[i]->sequence)));
		append(&leases, tasks[i]->act->lease);
		append(&attempts, tasks[i]->act->attempt);
		append(&outputs, tasks[i]->act->output);
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
	Tree	   *trees = palloc0(Max(count, 1) * sizeof(Tree));
	int			n;
	bool		any = false;

	/* where nothing may be written, a repeated call is still answered, by the look */
	if (XactReadOnly || count == 0)
		return;
	for (int i = 0; i < count; i++)
	{
		const pg_uuid_t *root_id = known_root(&tasks[i].workflow_id);

		if (is_workflow(&tasks[i]) || tasks[i].count > 1 || root_id == NULL)
			return;
		tasks[i].workflow.root_id = *root_id;
		tasks[i].act = tasks[i].elements;
		tasks[i].act->completed = true;
		steps[i] = &tasks[i];
	}
	n = trees_of(steps, count, trees);
	lock_trees(trees, n);
	complete_steps(steps, count, clock_now());
	for (int i = 0; i < count; i++)
		any = any || tasks[i].done;
	/* as unlock_known_tree */
	if (!any && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		unlock_trees(trees, n);
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

	check_array_beside(fcinfo->args[1], "outputs", count, "task_ids");
	check_array_beside(fcinfo->args[2], "leases", count, "task_ids");
	check_array_beside(fcinfo->args[3], "attempts", count, "task_ids");

	begin_rows(fcinfo);
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
			.position = i,.task_id = *DatumGetUUIDP(element(&id_column, i).value),
			.output = element(&output_column, i),
			.lease = element(&lease_column, i),.attempt = element(&attempt_column, i)
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
		NullableDatum columns[4];

		columns[0] = a_value(Int32GetDatum(i + 1));
		columns[1] = a_value(UUIDPGetDatum(&e->task_id));
		columns[2] = e->refusal ? a_null() : a_value(BoolGetDatum(e->completed));
		columns[3] = e->refusal ? a_value(CStringGetTextDatum(refusal_text(e->refusal))) : a_null();
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}

/* ---- claim_steps ------------------------------------------------------------- */

/* An element of claim_steps. */
typedef struct Claim
{
	int32		sequence;
	NullableDatum name;
	NullableDatum input;
	Step		step;
	ClaimWay	way;
	bool		done;
	ClaimAnswer answer;
} Claim;

static bool
all_claimed(const Claim *claims, int count)
{
	for (int i = 0; i < count; i++)
		if (!claims[i].done)
			return false;
	return true;
}

/* Looks at the workflow and its steps that are not done; false if there is no such workflow. */
static bool
look_claims(const pg_uuid_t *workflow_id, Claim *claims, int count, Workflow *workflow)
{
	Params		params = {0};
	Column		workflow_ids = new_column(UUIDOID, count);
	Column		sequences = new_column(INT4OID, count);
	uint64		row = 0;

	for (int i = 0; i < count; i++)
	{
		if (claims[i].done)
			continue;
		append(&workflow_ids, a_value(UUIDPGetDatum(workflow_id)));
		append(&sequences, a_value(Int32GetDatum(claims[i].sequence)));
	}
	param_column(&params, &workflow_ids);
	param_column(&params, &sequences);
	run_plan(PLAN_LOOK_STEPS, &params, NEWEST);
	for (int i = 0; i < count; i++)
		if (!claims[i].done &&
			!read_look_at_step(row++, workflow_id, claims[i].sequence, workflow, &claims[i].step))
			return false;
	return true;
}

/* Decides by the last look; returns whether anything is to be claimed. */
static bool
decide_claims(const Workflow *workflow, Claim *claims, int count, ClaimArgs *args, TimestampTz now)
{
	bool		any = false;

	for (int i = 0; i < count; i++)
	{
		Claim	   *c = &claims[i];
		Refusal    *refusal;

		if (c->done)
			continue;
		args->name = c->name;
		refusal = decide_claim(workflow, &c->step, args, now, &c->answer, &c->way);
		if (refusal)
		{
			c->answer.action = "STOP";
			c->answer.attempt = a_null();
			c->answer.error = a_value(CStringGetTextDatum(refusal_text(refusal)));
		}
		c->done = c->way == CLAIM_NOTHING;
		any = any || !c->done;
	}
	return any;
}

/* Creates the steps that are not there, and claims them. */
static void
claim_new_steps(const Workflow *workflow, Claim *claims, int count, const ClaimArgs *args, TimestampTz now)
{
	Params		params = {0};
	Column		sequences = new_column(INT4OID, count);
	Column		names = new_column(TEXTOID, count);
	Column		inputs = new_column(JSONBOID, count);
	uint64		created;

	for (int i = 0; i < count; i++)
	{
		if (claims[i].done || claims[i].way != CLAIM_NEW)
			continue;
		append(&sequences, a_value(Int32GetDatum(claims[i].sequence)));
		append(&names, claims[i].name);
		append(&inputs, claims[i].input);
	}
	if (sequences.count == 0)
		return;
	param_id(&params, &workflow->id);
	param_column(&params, &sequences);
	param_int(&params, workflow->lease);
	param_bool(&params, args->kind == TRANSACTION);
	param_column(&params, &names);
	param_column(&params, &inputs);
	param_policy(&params, args, now);
	created = run_plan(PLAN_CLAIM_NEW_STEPS, &params, NEWEST);
	for (uint64 row = 0; row < created; row++)
		claims[DatumGetInt32(result_value(row, 0)) - claims[0].sequence].done = true;
	if (claims[count - 1].done && claims[count - 1].way == CLAIM_NEW)
		expect_new_step(&workflow->id, claims[count - 1].sequence + 1);
}

/* Claims the steps that are there. */
static void
claim_steps_again(const Workflow *workflow, Claim *claims, int count, const ClaimArgs *args, TimestampTz now)
{
	Params		params = {0};
	Column		sequences = new_column(INT4OID, count);
	Column		pending = new_column(BOOLOID, count);
	Column		leases = new_column(INT4OID, count);
	Column		attempts = new_column(INT4OID, count);
	Column		next_attempts = new_column(INT4OID, count);
	Column		workflow_ids = new_column(UUIDOID, count);
	uint64		claimed;

	for (int i = 0; i < count; i++)
	{
		const Claim *c = &claims[i];

		if (c->done || c->way != CLAIM_AGAIN)
			continue;
		append(&sequences, a_value(Int32GetDatum(c->sequence)));
		append(&pending, a_value(BoolGetDatum(c->step.status == PENDING)));
		append(&leases, a_value(Int32GetDatum(c->step.lease)));
		append(&attempts, a_value(Int32GetDatum(c->step.attempt)));
		append(&next_attempts, c->answer.attempt);
		append(&workflow_ids, a_value(UUIDPGetDatum(&workflow->id)));
	}
	if (sequences.count == 0)
		return;
	param_id(&params, &workflow->id);
	param_column(&params, &sequences);
	param_int(&params, workflow->lease);
	param_column(&params, &pending);
	param_column(&params, &leases);
	param_column(&params, &attempts);
	param_column(&params, &next_attempts);
	param_policy(&params, args, now);
	param_column(&params, &workflow_ids);
	claimed = run_plan(PLAN_CLAIM_STEPS_AGAIN, &params, NEWEST);
	for (uint64 row = 0; row < claimed; row++)
		claims[DatumGetInt32(result_value(row, 0)) - claims[0].sequence].done = true;
}

/* What is claimed by now, and was not before: looks again if we have waited. */
static void
check_claimed(const pg_uuid_t *workflow_id, Claim *claims, int count, NullableDatum lease, TimestampTz before)
{
	int32	   *sequences = palloc(count * sizeof(int32));
	int			n = 0;
	Refusal    *refusal;

	for (int i = 0; i < count; i++)
		if (claims[i].done && claims[i].way != CLAIM_NOTHING)
		{
			sequences[n++] = claims[i].sequence;
			claims[i].way = CLAIM_NOTHING;
		}
	refusal = refuse_after_wait(workflow_id, sequences, n, lease, before);
	if (refusal)
		raise_refusal(refusal);
}

/*
 * As claim does in step.c: where new steps are expected, they are claimed
 * without a look.
 */
static void
claim_expected_steps(const pg_uuid_t *workflow_id, Claim *claims, int count, const ClaimArgs *args)
{
	bool		locked;
	bool		any = false;
	TimestampTz now;
	Workflow	workflow = {.id = *workflow_id};

	if (count == 0 || args->lease.isnull || XactReadOnly ||
		!expects_new_step(workflow_id, claims[0].sequence) || !lock_known_tree(workflow_id, &locked))
		return;
	now = clock_now();
	workflow.lease = DatumGetInt32(args->lease.value);
	for (int i = 0; i < count; i++)
	{
		claims[i].way = CLAIM_NEW;
		id_step(workflow_id, claims[i].sequence, &claims[i].answer.step_id);
		claims[i].answer.action = "EXECUTE";
		claims[i].answer.attempt = a_value(Int32GetDatum(1));
		claims[i].answer.output = claims[i].answer.error = claims[i].answer.run_at = a_null();
	}
	claim_new_steps(&workflow, claims, count, args, now);
	for (int i = 0; i < count; i++)
		any = any || claims[i].done;
	if (any)
		check_claimed(workflow_id, claims, count, args->lease, now);
	else
		unlock_known_tree(workflow_id, locked);
}

/*
 * claim_steps(workflow_id, first_sequence, names, inputs, kind, lease,
 *			   executor_id, max_retries, backoff, backoff_multiplier,
 *			   max_backoff, timeout)
 *
 * Where all is recorded, or nothing can be claimed, nothing is locked or
 * written.  Locks the tree (shared), then the new positions in the primary key,
 * then the rows of the steps that are there, each in order.
 */
Datum
durable_claim_steps(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[2];
	NullableDatum inputs = fcinfo->args[3];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const pg_uuid_t *workflow_id;
	int			count;
	ClaimArgs	args;
	Column		name_column;
	Column		input_column;
	Claim	   *claims;
	Workflow	workflow;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	workflow_id = PG_GETARG_UUID_P(0);
	count = require_batch(names, "names");
	require_sequences(fcinfo->args[1], count);
	check_array_beside(inputs, "inputs", count, "names");
	name_column = column_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element(&name_column, i), "names");
	args = claim_args(fcinfo, 3);

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	input_column = column_of(inputs, JSONBOID, count);
	claims = palloc0(Max(count, 1) * sizeof(Claim));
	for (int i = 0; i < count; i++)
		claims[i] = (Claim)
		{
			.sequence = PG_GETARG_INT32(1) + i,.name = element(&name_column, i),.input = element(&input_column, i)
		};

	claim_expected_steps(workflow_id, claims, count, &args);
	while (!all_claimed(claims, count))
	{
		TimestampTz now = clock_now();
		TimestampTz before;
		Refusal    *refusal;

		if (!look_claims(workflow_id, claims, count, &workflow))
		{
			look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
			continue;
		}
		if ((refusal = refuse_claim_in(&workflow, args.lease, now)) != NULL)
			raise_refusal(refusal);
		if (!decide_claims(&workflow, claims, count, &args, now))
			break;

		before = clock_now();
		lock_tree(&workflow.root_id, TREE_SHARED);
		/* a cascade may have changed what we saw, and the time is not that of before */
		if (clock_now() - before > LONG_WAIT)
			continue;
		claim_new_steps(&workflow, claims, count, &args, now);
		claim_steps_again(&workflow, claims, count, &args, now);
		check_claimed(workflow_id, claims, count, args.lease, now);
	}

	for (int i = 0; i < count; i++)
	{
		const ClaimAnswer *answer = &claims[i].answer;
		NullableDatum columns[7];

		columns[0] = a_value(Int32GetDatum(claims[i].sequence));
		columns[1] = a_value(UUIDPGetDatum(&answer->step_id));
		columns[2] = a_value(enum_datum(column_type(rsinfo->setDesc, 2), answer->action));
		columns[3] = answer->output;
		columns[4] = answer->error;
		columns[5] = answer->attempt;
		columns[6] = answer->run_at;
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
