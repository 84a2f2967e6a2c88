/*-------------------------------------------------------------------------
 *
 * workflow_continue.c
 *	  continue_as: a workflow that goes on in a new run of its name.
 *
 * A program that loops for ever would record steps without end, and replay them all
 * after each crash.  It hands what it has to remember to a next run instead, as the
 * input of that.  The one transaction completes the workflow, creates the next
 * run, which has all else from it, and moves the signals there that nobody has taken.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"

PG_FUNCTION_INFO_V1(durable_continue_as);

/* The run in which a workflow goes on, as it was created. */
typedef struct NextRun
{
	pg_uuid_t	id;
	bool		has_queue;
} NextRun;

/* ---- statements -------------------------------------------------------------- */

#define LOOK_NEXT_RUN(P) \
	P(id, UUIDOID)
PARAMETERS(LookNextRun, LOOK_NEXT_RUN);

static Statement look_next_run = STATEMENT(LookNextRun,
	"SELECT w.continued_as, n.input, n.id IS NOT NULL AND n.replaced_at IS NULL "
	"FROM durable.workflow w LEFT JOIN durable.workflow n ON n.id = w.continued_as "
	"WHERE w.id = :id AND " CHECKED("w.continued_as IS NOT NULL"));

#define CREATE_NEXT_RUN(P) \
	P(id, UUIDOID) \
	P(next_id, UUIDOID) \
	P(input, JSONBOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(CreateNextRun, CREATE_NEXT_RUN);

/* As start does it, in the queue of the workflow, or driven by who has driven that.  Who was asked to end still is. */
static Statement create_next_run = STATEMENT(CreateNextRun,
	"WITH tagged AS ("
	"  INSERT INTO durable.workflow_tags (workflow_id, tags) "
	"  SELECT :next_id, g.tags FROM durable.workflow_tags g WHERE g.workflow_id = :id) "
	"INSERT INTO durable.workflow (id, root_id, continued_from, status, lease, created_at, started_at, deadline, run_at,"
	"  executor_id, name, input, handler, queue_name, concurrency_key, priority, timeout, max_recovery_attempts, app_version,"
	"  max_retries, retry_count, backoff, backoff_multiplier, max_backoff, scheduled_for, scheduled_by,"
	"  cancel_requested_at, cancel_reason, cancel_at, cancel_untold) "
	"SELECT :next_id, :next_id, w.id,"
	"  CASE WHEN w.queue_name IS NULL THEN 'RUNNING'::durable.task_status ELSE 'PENDING' END,"
	"  CASE WHEN w.queue_name IS NULL THEN 1 ELSE 0 END, :now,"
	"  CASE WHEN w.queue_name IS NULL THEN :now END,"
	"  CASE WHEN w.queue_name IS NULL THEN :now + w.timeout END,"
	"  CASE WHEN w.queue_name IS NOT NULL THEN :now END,"
	"  CASE WHEN w.queue_name IS NULL THEN w.executor_id END, w.name, :input, w.handler, w.queue_name, w.concurrency_key,"
	"  w.priority, w.timeout, w.max_recovery_attempts, w.app_version,"
	"  w.max_retries, w.max_retries - w.max_retries, w.backoff, w.backoff_multiplier, w.max_backoff, w.scheduled_for, w.scheduled_by,"
	"  w.cancel_requested_at, w.cancel_reason, w.cancel_at, w.cancel_untold "
	"FROM durable.workflow w WHERE w.id = :id");

#define MOVE_SIGNALS(P) \
	P(id, UUIDOID) \
	P(next_id, UUIDOID)
PARAMETERS(MoveSignals, MOVE_SIGNALS);

static Statement move_signals = STATEMENT(MoveSignals,
	"UPDATE durable.signal g SET workflow_id = :next_id WHERE g.workflow_id = :id AND g.sequence IS NULL");

/* ---- what forbids it ----------------------------------------------------------- */

static Refusal *
refuse_continuation(const Workflow *workflow, NullableDatum lease)
{
	if (workflow->has_parent)
		return refuse_argument("workflow_id", "must be the id of a root",
							   psprintf("%s is a child of workflow %s.", uuid_text(&workflow->id),
										uuid_text(&workflow->parent_id)),
							   "Complete it, and let its parent start the next one.");
	if (!lease.isnull && DatumGetInt32(lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(lease.value));
	return NULL;
}

/*
 * Whether it was done before, with that input; raises an error if it was, with another one.
 * With which one is not known any more where start has given the next run another, or
 * that was purged.
 */
static bool
was_continued(const Workflow *workflow, NullableDatum input, NextRun *next)
{
	if (workflow->status != COMPLETED || run(&look_next_run, &(LookNextRun) {.id = an_id(&workflow->id)}, NEWEST) == 0)
		return false;
	next->id = *DatumGetUUIDP(result_value(0, 0));
	if (DatumGetBool(result_value(0, 2)) && !same_json(input, result_column(0, 1)))
		raise_refusal(refuse_other_input(workflow, &next->id));
	return true;
}

/* Looks at the workflow, and raises what forbids it; false if it was done before. */
static bool
look_to_continue(const pg_uuid_t *id, NullableDatum input, NullableDatum lease, Workflow *workflow, NextRun *next)
{
	Refusal    *refusal;

	look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
	if ((refusal = refuse_continuation(workflow, lease)) != NULL)
		raise_refusal(refusal);
	next->has_queue = workflow->has_queue;
	if (was_continued(workflow, input, next))
		return false;
	if (!workflow_transition(EVENT_CONTINUE, workflow->status, NULL))
		raise_refusal(refuse_workflow_status(workflow, EVENT_CONTINUE));
	return true;
}

/* ---- the act --------------------------------------------------------------------- */

/* Creates the next run of a workflow that has just been completed, and gives it the signals. */
static void
begin_next_run(const Workflow *workflow, NullableDatum input, const NextRun *next)
{
	if (run(&create_next_run, &(CreateNextRun)
			{
				.id = an_id(&workflow->id),.next_id = an_id(&next->id),.input = input,
				.now = a_time(id_created_at(&next->id))
			}, NEWEST) == 0)
		raise_kept_away("durable.workflow");
	run(&move_signals, &(MoveSignals) {.id = an_id(&workflow->id),.next_id = an_id(&next->id)}, NEWEST);
	if (next->has_queue)
		now_waiting(id_array(&next->id, 1));
	remember_tree(&next->id, &next->id);
	expect_new_step(&next->id, 0);
}

/*
 * Completes a root, and starts the next run of its name; once more, it only answers.
 *
 * Locks the tree exclusively, then what the completion of a workflow locks.  So whoever
 * sends it a signal either has committed before, and the signal is moved, or finds
 * the workflow completed.  Of two callers the second waits for the tree, and finds what the
 * first has done.  No other run of the name can begin in between: the unique index has
 * the name of the old one until this commits, and that of the new one from then on.  The
 * queue cannot be dropped: one of the two is unfinished in it.
 */
static void
continue_as(const pg_uuid_t *id, NullableDatum input, NullableDatum lease, NextRun *next)
{
	Workflow	workflow;
	Rounds		rounds = {0};

	if (!look_to_continue(id, input, lease, &workflow, next))
		return;
	lock_tree(id, TREE_EXCLUSIVE);
	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		WorkflowEnd end = {
			.completes = true,.output = a_null(),.error = a_null(),.detail = a_null()
		};

		if (!look_to_continue(id, input, lease, &workflow, next))
			return;
		new_workflow_id(clock_ns(), id_bucket(id), &next->id);
		end.continued_as = an_id(&next->id);
		if (end_workflow(&workflow, &end))
			break;
	}
	begin_next_run(&workflow, input, next);
}

/* continue_as(workflow_id, input, lease) */
Datum
durable_continue_as(PG_FUNCTION_ARGS)
{
	NullableDatum columns[3];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	NextRun		next;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_fence(fcinfo->args[2], "lease");
	call = begin_call(fcinfo);
	continue_as(PG_GETARG_UUID_P(0), fcinfo->args[1], fcinfo->args[2], &next);
	columns[0] = an_id(&next.id);
	columns[1] = a_value(enum_datum(column_type(desc, 1), status_label(next.has_queue ? PENDING : RUNNING)));
	columns[2] = an_int(next.has_queue ? 0 : 1);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
