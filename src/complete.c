/*-------------------------------------------------------------------------
 *
 * complete.c
 *	  complete and complete_many, of steps and of workflows.
 *
 * complete of one task is complete_step (step_end.c) or complete_workflow
 * (workflow_end.c).  complete_many does for each task of an array what a call of
 * complete would, one after the other, by the same decisions; see batch.c for how
 * a batch works.
 *
 * Locks of complete_many: trees, in the order of their roots, and the children of
 * each workflow among the tasks; then the rows of these, parents before their
 * inline children; the steps' rows; the rows of unfinished inline descendants and
 * of their steps, in trees that are locked exclusively; and last the stand-ins.
 * Within each kind the order is that of ids, whatever that of the array.
 *
 * No interleaving breaks this: a first attempt whose statements waited, or found a
 * task changed, is rolled back as a whole, and the next begins with a look.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "gather.h"
#include "outcome.h"
#include "sql.h"
#include "wait.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_complete);
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
typedef struct CompletedTask
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
} CompletedTask;

/* All of them. */
typedef struct Completions
{
	int			count;
	Completion *elements;		/* in the order of tasks */
	int			task_count;
	CompletedTask *tasks;		/* in the order of ids */
	CompletedTask **acts;		/* those that are to be completed */
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

/* ---- tasks ---------------------------------------------------------------------- */

static bool
is_workflow(const CompletedTask *task)
{
	return task->sequence < 0;
}

static int
compare_completions(const void *a, const void *b)
{
	const Completion *x = a;
	const Completion *y = b;
	int			order = compare_ids(&x->task_id, &y->task_id);

	return order != 0 ? order : x->position - y->position;
}

/* Groups sorted elements by task. */
static int
group_completions(Completion *elements, int count, CompletedTask *tasks)
{
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		if (i == 0 || !same_id(&elements[i].task_id, &elements[i - 1].task_id))
		{
			CompletedTask *task = &tasks[n++];

			task->id = elements[i].task_id;
			id_workflow(&task->id, &task->workflow_id);
			task->sequence = id_sequence(&task->id);
			task->elements = &elements[i];
		}
		tasks[n - 1].count++;
	}
	return n;
}

/* Looks at all tasks; returns a hash of what it has seen. */
static uint64
look_at_tasks(Completions *c)
{
	Positions	positions = new_positions(c->task_count);
	uint64		seen = 0;

	for (int i = 0; i < c->task_count; i++)
		append_position(&positions, &c->tasks[i].workflow_id, c->tasks[i].sequence);
	look_steps(array_of(&positions.workflow_ids), array_of(&positions.sequences));
	for (int i = 0; i < c->task_count; i++)
	{
		CompletedTask *task = &c->tasks[i];

		task->found = read_look_at_step(i, &task->workflow_id, task->sequence, &task->workflow, &task->step);
		seen = seen * 31 + (task->found ? seen_of(&task->workflow, &task->step) : 0);
	}
	return seen;
}

/* How many inline workflows there are from a task upwards: none if it is not one itself. */
static int
depth_of(const CompletedTask *task)
{
	Ancestor   *ancestors;
	int			count;
	int			depth = 1;

	if (!is_workflow(task) || !is_inline(&task->workflow))
		return 0;
	ancestors = look_ancestors(&task->workflow, &count);
	while (depth <= count && !ancestors[depth - 1].is_driven)
		depth++;
	return depth;
}

/* ---- decisions ------------------------------------------------------------------- */

/* What an element gives to a wait. */
static Answer
answer_of(const Completion *e)
{
	return (Answer)
	{
		.output = e->output,.error = a_null(),.detail = a_null(),.lease = e->lease,.attempt = e->attempt
	};
}

static Refusal *
refuse_element(const CompletedTask *task, const Completion *e, bool *repeated)
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
	if (task->step.kind == WAIT)
	{
		Answer		answer = answer_of(e);

		return refuse_answer(&task->workflow, &task->step, &answer, clock_now(), repeated);
	}
	return refuse_completion(&task->step, e->output, repeated);
}

/*
 * Decides what the calls of complete for one task answer, one after the other: the
 * first that is legal completes it, later ones find it completed.
 */
static void
decide_task(CompletedTask *task)
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
	const CompletedTask *x = *(CompletedTask *const *) a;
	const CompletedTask *y = *(CompletedTask *const *) b;

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
		c->acts[i]->depth = depth_of(c->acts[i]);
	qsort(c->acts, c->act_count, sizeof(CompletedTask *), compare_acts);
	return c->act_count > 0;
}

/* ---- locks ----------------------------------------------------------------------------- */

/* The trees of tasks, in the order of their roots. */
static int
trees_of(CompletedTask **tasks, int count, Tree *trees)
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
tree_of(const CompletedTask *task, Tree *trees, int count)
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
 * Locks the trees in which tasks are to be completed, then the children of the
 * workflows among them; see lock_to_end in workflow_end.c.  Where one has
 * unfinished children that are to be cancelled with it, all locks are
 * given back and that tree locked exclusively.  Returns whether there are such.
 */
static bool
lock_to_complete_many(CompletedTask **tasks, int count)
{
	Tree	   *trees = palloc0(count * sizeof(Tree));
	int			n = trees_of(tasks, count, trees);
	bool		abandons = false;

	for (;;)
	{
		IdList		asked = {0};
		IdList		parents;

		lock_trees(trees, n);
		for (int i = 0; i < count; i++)
		{
			if (!is_workflow(tasks[i]) || tree_of(tasks[i], trees, n)->exclusive)
				continue;
			lock_children(&tasks[i]->id, CHILDREN_END);
			append_id(&asked, &tasks[i]->id);
		}
		parents = with_children_to_end(&asked);
		if (parents.count == 0)
			return abandons;

		abandons = true;
		for (uint64 i = 0; i < asked.count; i++)
			unlock_children(&asked.ids[i], CHILDREN_END);
		unlock_trees(trees, n);
		for (int i = 0; i < count; i++)
			if (contains_id(&parents, &tasks[i]->id))
				tree_of(tasks[i], trees, n)->exclusive = true;
	}
}

/* Locks the rows of workflows; each depth in the order of ids. */
static void
lock_rows_of_workflows(CompletedTask **tasks, int count)
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

static void
lock_rows_of_steps(CompletedTask **tasks, int count)
{
	Positions	positions = new_positions(count);

	for (int i = 0; i < count; i++)
		append_position(&positions, &tasks[i]->workflow_id, tasks[i]->sequence);
	lock_steps(&positions);
}

/* ---- writing ------------------------------------------------------------------------------ */

#define COMPLETE_WORKFLOWS(P) \
	P(ids, UUIDARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(outputs, JSONBARRAYOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(CompleteWorkflows, COMPLETE_WORKFLOWS);

/* Parameters of end_workflows, and for its fast path the tasks of which they are made. */
typedef struct FastCompleteWorkflows
{
	CompleteWorkflows params;
	CompletedTask **tasks;
	int			count;
} FastCompleteWorkflows;

/* One after the other.  Where one cannot be done, the rest is left: the caller takes back all. */
static int64
fast_complete_workflows(const void *params)
{
	const FastCompleteWorkflows *fast = params;
	int			done = 0;

	if (XactReadOnly)
		return NOT_FAST;
	begin_gathering();
	while (done < fast->count &&
		   complete_workflow_row(an_id(&fast->tasks[done]->id), an_int(fast->tasks[done]->workflow.lease),
								 fast->tasks[done]->act->output, fast->params.now))
		done++;
	end_gathering();
	return done > 0 ? done : NOT_FAST;
}

static Statement end_workflows = STATEMENT(CompleteWorkflows,
	"UPDATE durable.workflow w SET"
	"  status = {workflow to COMPLETE}, output = b.output, error = NULL, detail = NULL, completed_at = :now "
	"FROM ROWS FROM (unnest(:ids), unnest(:leases), unnest(:outputs)) WITH ORDINALITY AS b (id, lease, output, n) "
	"WHERE w.id = b.id AND w.lease = b.lease AND " CHECKED("w.status = ANY {workflow from COMPLETE}"),
	.planning = BY_PROBES,.fast = fast_complete_workflows);

/* Completes workflows; returns whether all could be. */
static bool
complete_workflows(CompletedTask **tasks, int count, TimestampTz now)
{
	Elements	ids = new_elements(UUIDOID, count);
	Elements	leases = new_elements(INT4OID, count);
	Elements	outputs = new_elements(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		append_element(&ids, an_id(&tasks[i]->id));
		append_element(&leases, an_int(tasks[i]->workflow.lease));
		append_element(&outputs, tasks[i]->act->output);
	}
	return run(&end_workflows, &(FastCompleteWorkflows)
			   {
				   .params = {
					   .ids = array_of(&ids),.leases = array_of(&leases),.outputs = array_of(&outputs),.now = a_time(now)
				   },
				   .tasks = tasks,.count = count
			   }, NEWEST) == count;
}

/* Answers the waits among steps; returns whether all could be. */
static bool
answer_waits_of(CompletedTask **tasks, int count, TimestampTz now)
{
	for (int i = 0; i < count; i++)
	{
		Answer		answer = answer_of(tasks[i]->act);

		if (tasks[i]->step.kind == WAIT && !answer_locked_wait(&tasks[i]->workflow, &tasks[i]->step, &answer, now))
			return false;
	}
	return true;
}

/* Completes those that are not waits; returns whether all could be. */
static bool
complete_steps_of(CompletedTask **tasks, int count, TimestampTz now)
{
	StepCompletion *completions = palloc(Max(count, 1) * sizeof(StepCompletion));
	int			steps = 0;

	for (int i = 0; i < count; i++)
	{
		const Completion *e = tasks[i]->act;

		if (tasks[i]->step.kind != WAIT)
			completions[steps++] = step_completion(&tasks[i]->id, e->output, e->lease, e->attempt);
	}
	return steps == 0 || complete_steps(completions, steps, now);
}

/* Whether there is a wait among them. */
static bool
has_wait(CompletedTask **tasks, int count)
{
	for (int i = 0; i < count; i++)
		if (tasks[i]->step.kind == WAIT)
			return true;
	return false;
}

/* After workflows were completed: cancels their inline children, and records the outcome at their parents. */
static void
follow_workflows(CompletedTask **tasks, int count, bool abandons, TimestampTz now)
{
	pg_uuid_t  *ended = palloc(count * sizeof(pg_uuid_t));
	int			children = 0;

	for (int i = 0; i < count; i++)
		ended[i] = tasks[i]->id;
	have_ended(ended, count);
	if (abandons)
		cascade_below(CASCADE_ABANDON, id_array(ended, count), 0, now);
	for (int i = 0; i < count; i++)
	{
		/* from now on the changed row keeps start_child away */
		if (!abandons)
			unlock_children(&tasks[i]->id, CHILDREN_END);
		if (tasks[i]->workflow.has_parent)
			ended[children++] = tasks[i]->id;
		if (tasks[i]->workflow.has_parent && tasks[i]->workflow.has_queue)
			note_news_of(&tasks[i]->workflow.parent_id);
	}
	if (children > 0)
		record_on_stand_ins(id_array(ended, children), children);
}

/*
 * Completes the tasks that are to be completed; false if one was overtaken, or had
 * to wait.  The statements lock rows in the order of tasks.  After a first attempt
 * the rows are locked before the time is taken.
 *
 * The result does not depend on the order of the array.  It is that of completing
 * steps first, then workflows from below, then cancelling what is left unfinished
 * below a completed one.
 */
static bool
complete_tasks(void *arg)
{
	Completions *c = arg;
	bool		abandons = lock_to_complete_many(c->acts, c->act_count);
	int			workflow_count = 0;
	CompletedTask **steps;
	int			step_count;
	TimestampTz now;

	while (workflow_count < c->act_count && is_workflow(c->acts[workflow_count]))
		workflow_count++;
	steps = c->acts + workflow_count;
	step_count = c->act_count - workflow_count;

	/* waits are answered one by one, and before their workflows end */
	if (c->again || has_wait(steps, step_count))
	{
		lock_rows_of_workflows(c->acts, workflow_count);
		lock_rows_of_steps(steps, step_count);
	}
	now = clock_now();
	watch_waits(&c->rounds);
	c->table = "durable.step";
	if (!answer_waits_of(steps, step_count, now))
		return false;
	c->table = "durable.workflow";
	if (workflow_count > 0 && !complete_workflows(c->acts, workflow_count, now))
		return false;
	c->table = "durable.step";
	if (!complete_steps_of(steps, step_count, now) || has_waited(&c->rounds, c->act_count))
		return false;
	follow_workflows(c->acts, workflow_count, abandons, now);
	return true;
}

/*
 * Completes steps without a look, where their workflows are known here.  The
 * statement itself asks for all that makes this legal.  False if this cannot be
 * tried, or has not completed all: then a look tells why.
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
	watch_waits(&c->rounds);
	return complete_steps_of(c->acts, c->task_count, clock_now()) && !has_waited(&c->rounds, c->task_count);
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

/* Whether all are roots that are known here, each once, with its lease. */
static bool
are_known_roots(const Completions *c)
{
	for (int i = 0; i < c->task_count; i++)
	{
		const CompletedTask *task = &c->tasks[i];

		if (!is_workflow(task) || task->count > 1 || task->elements->lease.isnull || !task->elements->attempt.isnull ||
			!is_known_root(&task->id))
			return false;
	}
	return c->task_count > 0;
}

/*
 * Completes roots without a look, where they are known here.  A root never becomes a
 * child; its row is asked for the lease and the status.  False if not all could be
 * completed: then a look tells why.
 */
static bool
complete_known_roots(void *arg)
{
	Completions *c = arg;

	for (int i = 0; i < c->task_count; i++)
	{
		CompletedTask *task = &c->tasks[i];

		task->workflow = (Workflow) {
			.id = task->id,.root_id = task->id,.lease = DatumGetInt32(task->elements->lease.value)
		};
		task->act = task->elements;
		task->act->completed = true;
		c->acts[i] = task;
	}
	c->act_count = c->task_count;
	return complete_tasks(c);
}

/*
 * Completes all that can be, and leaves the answers in the elements.  Locks and
 * writes nothing where nothing is to be completed.
 */
static void
complete_many(Completions *c)
{
	/* in a read-only transaction the look still answers a repeated call */
	if (!XactReadOnly &&
		((are_steps(c) && write_batch(complete_known_steps, c, &c->rounds)) ||
		 (are_known_roots(c) && write_batch(complete_known_roots, c, &c->rounds))))
		return;
	for (;;)
	{
		uint64		seen = look_at_tasks(c);

		if (!decide_tasks(c) || write_batch(complete_tasks, c, &c->rounds))
			return;
		c->again = true;
		next_round(&c->rounds, c->table, seen);
	}
}

/* ---- SQL functions ------------------------------------------------------------------------- */

/* complete of one task: true if this call did it, false if it was done with an equal output */
static bool
complete(const pg_uuid_t *id, NullableDatum output, NullableDatum lease, NullableDatum attempt)
{
	Refusal    *refusal;
	StepCompletion completion;

	if (id_sequence(id) < 0)
	{
		if ((refusal = refuse_attempt_of_workflow(attempt, "attempt")) != NULL)
			raise_refusal(refusal);
		return complete_workflow(id, output, lease);
	}
	completion = step_completion(id, output, lease, attempt);
	return complete_step(&completion, "task_id");
}

/* complete(task_id, output, lease, attempt) */
Datum
durable_complete(PG_FUNCTION_ARGS)
{
	bool		done;
	Call		call;

	require(fcinfo->args[0], "task_id");
	require_fences(PG_GETARG_UUID_P(0), fcinfo->args[2], "lease", fcinfo->args[3], "attempt");
	call = begin_call(fcinfo);
	done = complete(PG_GETARG_UUID_P(0), fcinfo->args[1], fcinfo->args[2], fcinfo->args[3]);
	end_call(&call);
	PG_RETURN_BOOL(done);
}

/* complete_many(task_ids, outputs, leases, attempts) */
Datum
durable_complete_many(PG_FUNCTION_ARGS)
{
	NullableDatum task_ids = fcinfo->args[0];
	int			count = require_batch(task_ids, "task_ids");
	Elements	each_id;
	Elements	each_output;
	Elements	each_lease;
	Elements	each_attempt;
	Completions c = {.count = count};
	Completion **by_position;
	Call		call;
	NullableDatum columns[4];

	check_array_beside(fcinfo->args[1], "outputs", count, "task_ids");
	check_array_beside(fcinfo->args[2], "leases", count, "task_ids");
	check_array_beside(fcinfo->args[3], "attempts", count, "task_ids");

	begin_rows_of(fcinfo, lengthof(columns));
	each_id = elements_of(task_ids, UUIDOID, count);
	each_output = elements_of(fcinfo->args[1], JSONBOID, count);
	each_lease = elements_of(fcinfo->args[2], INT4OID, count);
	each_attempt = elements_of(fcinfo->args[3], INT4OID, count);
	c.elements = palloc0(Max(count, 1) * sizeof(Completion));
	by_position = palloc(Max(count, 1) * sizeof(Completion *));
	c.tasks = palloc0(Max(count, 1) * sizeof(CompletedTask));
	c.acts = palloc(Max(count, 1) * sizeof(CompletedTask *));
	for (int i = 0; i < count; i++)
	{
		require_fences(DatumGetUUIDP(each_id.values[i]), element_of(&each_lease, i), "leases",
					   element_of(&each_attempt, i), "attempts");
		c.elements[i] = (Completion)
		{
			.position = i,.task_id = *DatumGetUUIDP(element_of(&each_id, i).value),
			.output = element_of(&each_output, i),
			.lease = element_of(&each_lease, i),.attempt = element_of(&each_attempt, i)
		};
	}
	qsort(c.elements, count, sizeof(Completion), compare_completions);
	c.task_count = group_completions(c.elements, count, c.tasks);
	for (int i = 0; i < count; i++)
		by_position[c.elements[i].position] = &c.elements[i];

	call = begin_call(fcinfo);
	complete_many(&c);
	for (int i = 0; i < count; i++)
	{
		Completion *e = by_position[i];

		columns[0] = an_int(i + 1);
		columns[1] = an_id(&e->task_id);
		columns[2] = e->refusal ? a_null() : a_bool(e->completed);
		columns[3] = e->refusal ? a_value(CStringGetTextDatum(refusal_text(e->refusal))) : a_null();
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
