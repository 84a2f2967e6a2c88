/*-------------------------------------------------------------------------
 *
 * suspend.c
 *	  suspend: a workflow gives its executor free until something happens.
 *
 * It becomes PENDING without an owner, under a new lease, and keeps its times.
 * suspend_open.c has what it waits for; suspend_wake.c tells why no wake-up is lost.
 *
 * Without a lock it looks whether it is to go on: then nothing is locked or
 * written.  Otherwise it locks, in this order, what it waits for: the tree (shared); the
 * ends of workflows and signals to workflows (watch_ends); the workflow's row and
 * those of its unfinished inline descendants, by level and id; the rows of steps, those of
 * stand-ins last.  So whoever is about to end something there has committed, or comes
 * later and sees what this call has written.  Under these locks it looks again.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "sql.h"
#include "suspend.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_suspend);

#define MOST_OPEN 100000

typedef struct Suspending
{
	pg_uuid_t	workflow_id;
	NullableDatum executor_id;
	NullableDatum lease;
	bool		awaits_all;
	IdList		ids;			/* of the open steps, in their order */
	Workflow	workflow;
	OpenSteps	open;
	IdList		not_locked;		/* workflows whose ends and signals there was no room to lock */
	pg_uuid_t	last;			/* of all: the one that was locked */
} Suspending;

/* ---- what forbids it ------------------------------------------------------------------ */

static Refusal *
refuse_suspend(const Suspending *s)
{
	const Workflow *workflow = &s->workflow;

	if (DatumGetInt32(s->lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(s->lease.value));
	if (workflow->status == COMPLETED || workflow->status == FAILED)
		return refuse_finished(workflow);
	if (workflow->status != RUNNING)
		return refuse_not_claimable(workflow);
	if (!same_text(s->executor_id, workflow->executor_id))
		return refuse_other_owner(workflow, TextDatumGetCString(s->executor_id.value));
	return NULL;
}

static void
check_not_inline(const Workflow *workflow)
{
	pg_uuid_t	driven;

	if (!is_inline(workflow))
		return;
	driven = driven_ancestor(workflow);
	bad_argument("workflow_id", "must not be the id of an inline child",
				 psprintf("%s is driven by who drives its parent.", uuid_text(&workflow->id)),
				 psprintf("Suspend workflow %s.", uuid_text(&driven)));
}

pg_noreturn static void
raise_not_open(const pg_uuid_t *id, const char *what)
{
	bad_argument("open", "must hold ids of open steps of the workflow", psprintf("%s %s.", uuid_text(id), what),
				 "Pass waits, retries that are not due, and steps that stand for queued children, of the workflow or of its inline ones.");
}

#define OF_UNIT(P) \
	P(workflow_id, UUIDOID) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfUnit, OF_UNIT);

/* Of workflows, those that are this one, or inline below it. */
static Statement look_unit = STATEMENT(OfUnit,
	"WITH RECURSIVE up AS ("
	"  SELECT b.id AS below, b.id FROM unnest(:ids) AS b (id) "
	"  UNION ALL "
	"  SELECT u.below, w.parent_id FROM up u CROSS JOIN LATERAL ("
	"    SELECT o.parent_id FROM durable.workflow o"
	"    WHERE o.id = u.id AND u.id <> :workflow_id AND o.parent_id IS NOT NULL AND o.queue_name IS NULL OFFSET 0) w) "
	"SELECT u.below FROM up u WHERE u.id = :workflow_id");

/* Raises an error for what the driver of the workflow cannot have been told is open. */
static void
check_open(const Suspending *s)
{
	IdList		workflows = {0};
	IdList		ours = {0};

	for (int i = 0; i < s->open.count; i++)
	{
		const OpenStep *step = &s->open.steps[i];

		if (workflows.count == 0 || !same_id(&workflows.ids[workflows.count - 1], &step->workflow_id))
			append_id(&workflows, &step->workflow_id);
	}
	if (workflows.count != 1 || !same_id(&workflows.ids[0], &s->workflow_id))
	{
		OfUnit		params = {
			.workflow_id = an_id(&s->workflow_id),.ids = a_value(id_array(workflows.ids, workflows.count))
		};

		run(&look_unit, &params, NEWEST);
		append_result(&ours);
		if (ours.count > 0)
			qsort(ours.ids, ours.count, sizeof(pg_uuid_t), compare_ids);
		for (uint64 i = 0; i < workflows.count; i++)
			if (ours.count == 0 ||
				bsearch(&workflows.ids[i], ours.ids, ours.count, sizeof(pg_uuid_t), compare_ids) == NULL)
				for (int k = 0; k < s->open.count; k++)
					if (same_id(&s->open.steps[k].workflow_id, &workflows.ids[i]))
						raise_not_open(&s->open.steps[k].id, "is not a step of it");
	}
	for (int i = 0; i < s->open.count; i++)
	{
		const OpenStep *step = &s->open.steps[i];

		if (step->status == NO_TASK)
			raise_not_open(&step->id, "is not recorded");
		if (step->kind == WORKFLOW && step->is_inline)
			raise_not_open(&step->id, "stands for an inline child");
		if (step->kind != WORKFLOW && step->status == RUNNING)
			raise_not_open(&step->id, "is running");
	}
}

/* ---- looking --------------------------------------------------------------------------- */

/* Looks at the workflow and the open steps; whether it is to be suspended. */
static bool
look(Suspending *s, TimestampTz now)
{
	Refusal    *refusal;

	look_workflow_or_raise(&s->workflow_id, "workflow_id", NEWEST, &s->workflow);
	check_not_inline(&s->workflow);
	if ((refusal = refuse_suspend(s)) != NULL)
		raise_refusal(refusal);
	s->open = look_open(&s->workflow_id, &s->ids, now);
	check_open(s);
	return !can_go_on(&s->open, s->awaits_all) && time_of(&s->open, s->awaits_all) > now;
}

/* ---- locking ------------------------------------------------------------------------------ */

/* The steps that it will watch. */
static OpenSteps
to_watch(Suspending *s)
{
	OpenSteps	steps = s->open;

	if (s->awaits_all)
	{
		steps.steps = last_open(&s->open);
		steps.count = 1;
		s->last = steps.steps->id;
	}
	return steps;
}

/* Locks the ends of workflows, and signals to them, in the order of ids; notes down what there is no room for. */
static void
lock_all_ends(Suspending *s, const OpenSteps *steps)
{
	IdList		ids = {0};

	for (int i = 0; i < steps->count; i++)
		for (int n = 0; n < steps->steps[i].node_count; n++)
		{
			const OpenNode *node = &steps->steps[i].nodes[n];

			if (!node->awaited.isnull)
				append_id(&ids, DatumGetUUIDP(node->awaited.value));
			if (!node->names.isnull)
				append_id(&ids, &node->workflow_id);
		}
	if (ids.count > 0)
		qsort(ids.ids, ids.count, sizeof(pg_uuid_t), compare_ids);
	for (uint64 i = 0; i < ids.count; i++)
		if ((i == 0 || !same_id(&ids.ids[i], &ids.ids[i - 1])) && !watch_ends(&ids.ids[i]))
			append_id(&s->not_locked, &ids.ids[i]);
}

/* Locks the rows of the workflow and of its unfinished inline descendants. */
static void
lock_unit(const pg_uuid_t *workflow_id)
{
	IdList		level = {0};

	for (append_id(&level, workflow_id); level.count > 0; level = children(&level, INLINE_UNFINISHED, 0))
		for (uint64 i = 0; i < level.count; i += IDS_PER_STATEMENT)
			lock_workflows(id_array(&level.ids[i], Min(IDS_PER_STATEMENT, level.count - i)));
}

#define LOCK_NODES(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID)
PARAMETERS(LockNodes, LOCK_NODES);

/* Stand-ins last, in the order of their children, in which complete_many writes them. */
static Statement lock_nodes = STATEMENT(LockNodes,
	"SELECT s.sequence FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences)) AS b (workflow_id, sequence) "
	"JOIN durable.step s ON s.workflow_id = b.workflow_id AND s.sequence = b.sequence "
	"ORDER BY s.child_id NULLS FIRST, s.workflow_id, s.sequence FOR NO KEY UPDATE OF s");

/* Locks the rows of all steps that could end one of these. */
static void
lock_all_steps(const OpenSteps *steps)
{
	int			count = 0;
	Positions	positions;

	for (int i = 0; i < steps->count; i++)
		count += steps->steps[i].node_count;
	positions = new_positions(count);
	for (int i = 0; i < steps->count; i++)
		for (int n = 0; n < steps->steps[i].node_count; n++)
			append_position(&positions, &steps->steps[i].nodes[n].workflow_id, steps->steps[i].nodes[n].sequence);
	run(&lock_nodes, &(LockNodes)
		{
			.workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences)
		}, NEWEST);
}

/* ---- writing ------------------------------------------------------------------------------ */

#define SUSPEND_WORKFLOW(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(SuspendWorkflow, SUSPEND_WORKFLOW);

static Statement suspend_workflow = STATEMENT(SuspendWorkflow,
	"UPDATE durable.workflow w SET status = {workflow to SUSPEND}, lease = w.lease + 1, executor_id = NULL,"
	"  run_at = :run_at, suspended_at = :now "
	"WHERE w.id = :id AND w.lease = :lease AND " CHECKED("w.status = ANY {workflow from SUSPEND}"));

/* Watches one of those for all of which it waits: the one that was locked, unless it has ended since. */
static void
watch_last(Suspending *s)
{
	for (int i = 0; i < s->open.count; i++)
		if (same_id(&s->open.steps[i].id, &s->last) && !s->open.steps[i].has_ended)
		{
			watch_one(&s->workflow_id, &s->open.steps[i]);
			return;
		}
	if (!try_watch_last(&s->workflow_id, &s->open))
		leave_note_of(&s->workflow_id);
}

/* Suspends the workflow as it was looked at under the locks; returns when it is due by itself. */
static NullableDatum
write_suspension(Suspending *s, TimestampTz now)
{
	const pg_uuid_t *id = &s->workflow_id;
	TimestampTz at = time_of(&s->open, s->awaits_all);
	NullableDatum run_at = at == DT_NOEND ? a_null() : a_time(at);
	Datum		self = id_array(id, 1);

	ask_before_raising(id, 1);
	if (run(&suspend_workflow, &(SuspendWorkflow)
			{
				.id = an_id(id),.lease = s->lease,.run_at = run_at,.now = a_time(now)
			}, NEWEST) == 0)
		raise_kept_away("durable.workflow");
	raised_lease_of(id);
	cascade_below(CASCADE_FENCE, self, 0, now);

	write_open(id, &s->open, s->awaits_all);
	if (s->awaits_all)
		watch_last(s);
	else
		watch_nodes(id, &s->open);
	for (uint64 i = 0; i < s->not_locked.count; i++)
		leave_note_at(&s->not_locked.ids[i]);
	now_waiting(self);
	return run_at;
}

/* Returns whether it is suspended; *run_at is when it is due by itself, NULL if never. */
static bool
suspend(Suspending *s, NullableDatum *run_at)
{
	OpenSteps	watched;
	TimestampTz now;

	if (!look(s, clock_now()))
		return false;
	watched = to_watch(s);
	lock_tree(&s->workflow.root_id, TREE_SHARED);
	lock_all_ends(s, &watched);
	lock_unit(&s->workflow_id);
	lock_all_steps(&watched);
	now = clock_now();
	if (!look(s, now))
		return false;
	*run_at = write_suspension(s, now);
	return true;
}

/* ---- from SQL -------------------------------------------------------------------------------- */

/* The ids, each once, in their order. */
static IdList
ids_of(NullableDatum open)
{
	IdList		all = {0};
	IdList		list = {0};
	int			count = check_array(open, "open");

	if (count == 0)
		bad_argument("open", "must not be empty", "It has no element.",
					 "Pass the ids of the steps that are open; without any, the workflow can go on.");
	if (count > MOST_OPEN)
		bad_argument("open", psprintf("must have at most %d elements", MOST_OPEN), psprintf("It has %d.", count),
					 "Wait for some of them first.");
	append_array(&all, open.value);
	qsort(all.ids, all.count, sizeof(pg_uuid_t), compare_ids);
	for (uint64 i = 0; i < all.count; i++)
	{
		if (id_sequence(&all.ids[i]) < 0)
			raise_not_open(&all.ids[i], "is not the id of a step");
		if (i == 0 || !same_id(&all.ids[i], &all.ids[i - 1]))
			append_id(&list, &all.ids[i]);
	}
	return list;
}

/* Whether the workflow waits for all of them, not for any. */
static bool
is_until_all(NullableDatum until)
{
	char	   *word;

	require(until, "until");
	word = TextDatumGetCString(until.value);
	if (strcmp(word, "any") != 0 && strcmp(word, "all") != 0)
		bad_argument("until", "must be any or all", psprintf("It is \"%s\".", word),
					 "Pass any to go on when one of the steps has ended, all to go on when all have.");
	return strcmp(word, "all") == 0;
}

/* suspend(workflow_id, executor_id, lease, open, until) */
Datum
durable_suspend(PG_FUNCTION_ARGS)
{
	Suspending	s = {.executor_id = fcinfo->args[1],.lease = fcinfo->args[2]};
	NullableDatum columns[2] = {a_null(), a_null()};
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	bool		suspended;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_name(s.executor_id, "executor_id");
	require(s.lease, "lease");
	require(fcinfo->args[3], "open");
	s.awaits_all = is_until_all(fcinfo->args[4]);
	s.ids = ids_of(fcinfo->args[3]);
	s.workflow_id = *PG_GETARG_UUID_P(0);

	call = begin_call(fcinfo);
	suspended = suspend(&s, &columns[1]);
	columns[0] = a_value(enum_datum(column_type(desc, 0), status_label(suspended ? PENDING : RUNNING)));
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
