/*-------------------------------------------------------------------------
 *
 * workflow_child.c
 *	  start_child.
 *
 * A child stands at a position of its parent, as a step does: it is started under
 * the conditions of a claim, and a step row, its stand-in, is created with it.
 *
 *-------------------------------------------------------------------------
 */
#include "cancel.h"
#include "plan.h"
#include "sql.h"
#include "tags.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_start_child);

/* setting */
int			durable_max_steps;

/* The arguments of start_child. */
typedef struct ChildArgs
{
	const pg_uuid_t *parent_id;
	int32		sequence;
	NullableDatum name;
	NullableDatum input;
	NullableDatum handler;
	NullableDatum lease;		/* of the parent */
	NullableDatum queue;
	NullableDatum priority;
	NullableDatum timeout;
	NullableDatum concurrency_key;
	NullableDatum tags;
	RetryPolicy retries;
	NullableDatum on_parent_end;	/* NULL: it is left */
} ChildArgs;

/* ---- statements -------------------------------------------------------------- */

#define START_CHILD(P) \
	P(parent_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(parent_lease, INT4OID) \
	P(id, UUIDOID) \
	P(name, TEXTOID) \
	P(input, JSONBOID) \
	P(handler, TEXTOID) \
	P(queue, TEXTOID) \
	P(priority, INT4OID) \
	P(timeout, INTERVALOID) \
	P(concurrency_key, TEXTOID) \
	WORKFLOW_POLICY(P) \
	P(on_parent_end, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(StartChild, START_CHILD);

/*
 * FOR SHARE: whatever ends or fences the parent waits for us and then finds the
 * child.  The answer is whether the child was created with its stand-in: a
 * trigger may have kept it away.
 */
static Statement insert_child = STATEMENT(StartChild,
	"WITH parent AS MATERIALIZED ("
	"  SELECT w.id, w.root_id, w.lease, w.max_recovery_attempts, w.app_version "
	"  FROM durable.workflow w "
	"  WHERE w.id = :parent_id AND w.lease = :parent_lease AND " OPEN_TO_NEW_AT(":now")
	"    AND NOT EXISTS (SELECT 1 FROM durable.workflow o WHERE o.id = :id) "
	"  FOR SHARE OF w), "
	"stand_in AS ("
	"  INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, started_at, name, child_id, input) "
	"  SELECT p.id, :sequence, p.lease, 1, 'RUNNING', 'WORKFLOW', :now, :name, :id, :input FROM parent p "
	"  ON CONFLICT (workflow_id, sequence) DO NOTHING RETURNING 1), "
	"child AS ("
	"  INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, started_at, "
	"    deadline, run_at, name, input, handler, queue_name, priority, timeout, max_recovery_attempts, app_version,"
	"    concurrency_key, max_retries, retry_count, backoff, backoff_multiplier, max_backoff, on_parent_end) "
	"  SELECT :id, p.root_id, p.id, :sequence, "
	"    CASE WHEN :queue IS NULL THEN 'RUNNING'::durable.task_status ELSE 'PENDING' END, "
	"    CASE WHEN :queue IS NULL THEN 1 ELSE 0 END, :now, "
	"    CASE WHEN :queue IS NULL THEN :now END, "
	"    CASE WHEN :queue IS NULL THEN :now + :timeout END, "
	"    CASE WHEN :queue IS NOT NULL THEN :now END, "
	"    :name, :input, :handler, :queue, :priority, :timeout, p.max_recovery_attempts, p.app_version, :concurrency_key,"
	"    :max_retries, :max_retries - :max_retries, :backoff, :backoff_multiplier, :max_backoff, :on_parent_end "
	"  FROM parent p CROSS JOIN stand_in RETURNING 1) "
	"SELECT EXISTS (SELECT 1 FROM child) FROM stand_in");

#define START_AGAIN(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID) \
	P(parent_lease, INT4OID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(StartAgain, START_AGAIN);

static Statement start_again = STATEMENT(StartAgain,
	"UPDATE durable.workflow w "
	"SET status = {workflow to START_AGAIN}, lease = w.lease + 1, started_at = :now, deadline = :now + w.timeout "
	"FROM durable.workflow p "
	"WHERE w.id = :id AND w.lease = :lease AND " CHECKED("w.status = ANY {workflow from START_AGAIN}")
	"  AND p.id = w.parent_id AND p.lease = :parent_lease AND " CHECKED("p.status = 'RUNNING'"));

/* ---- what forbids it ----------------------------------------------------------- */

/*
 * What forbids a claim in a workflow, in this order: the lease, the status, the
 * deadline; NULL if nothing does, or if it is finished, where recorded outcomes
 * are still answered.
 */
Refusal *
refuse_claim_in(const Workflow *workflow, NullableDatum lease, TimestampTz now)
{
	if (!lease.isnull && DatumGetInt32(lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(lease.value));
	switch (workflow->status)
	{
		case COMPLETED:
		case FAILED:
			return NULL;
		case RUNNING:
			if (!workflow->deadline.isnull && DatumGetTimestampTz(workflow->deadline.value) <= now)
				return refuse_deadline(workflow);
			return NULL;
		default:
			return refuse_not_claimable(workflow);
	}
}

/* What forbids to record something at a new position, after what refuse_claim_in asks for. */
Refusal *
refuse_new_position(const Workflow *workflow, int32 sequence)
{
	if (workflow->status != RUNNING)
		return refuse_finished(workflow);
	if (is_beyond_max_steps(sequence))
		return refuse_too_many_steps(workflow, sequence, durable_max_steps);
	return NULL;
}

/* ---- the acts -------------------------------------------------------------------- */

/*
 * Creates a child and its stand-in; false if somebody was faster, or if we had to
 * wait: then the times of the new rows are too old, and the rows are taken back.
 *
 * Locks the queue (shared), the tree (shared), the parent's children (shared),
 * and the parent's row FOR SHARE: what ends or fences the parent waits, and
 * then finds the child.  A second caller at the position waits on the primary
 * key of step and then finds the first one's child.
 */
static bool
create_child(const ChildArgs *args, const Workflow *parent, Rounds *rounds, Workflow *child)
{
	pg_uuid_t	id;

	lock_queue_to_start(args->queue);
	lock_tree(&parent->root_id, TREE_SHARED);
	lock_children(args->parent_id, CHILDREN_START);

	watch_waits(rounds);
	new_workflow_id(clock_ns(), id_bucket(args->parent_id), &id);
	if (run(&insert_child,
			&(StartChild) {
				.parent_id = an_id(args->parent_id),.sequence = an_int(args->sequence),
				.parent_lease = an_int(parent->lease),.id = an_id(&id),.name = args->name,.input = args->input,
				.handler = args->handler,.queue = args->queue,.priority = args->priority,.timeout = args->timeout,
				.concurrency_key = args->concurrency_key,WORKFLOW_RETRIES(args->retries),
				.on_parent_end = args->on_parent_end,.now = a_time(id_created_at(&id))
			}, NEWEST) == 0)
		return false;
	if (!DatumGetBool(result_value(0, 0)))
		raise_kept_away("durable.workflow");
	if (has_waited(rounds, 1))
	{
		take_back_step(args->parent_id, args->sequence);
		take_back_workflow(&id);
		return false;
	}
	write_tags(&(NewTags) {.id = an_id(&id),.tags = args->tags}, 1);
	started_waiting(args->queue, DatumGetInt32(args->priority.value), a_null(), id_array(&id, 1));
	child->id = id;
	child->status = args->queue.isnull ? RUNNING : PENDING;
	child->lease = args->queue.isnull ? 1 : 0;
	child->output = child->error = a_null();
	return true;
}

/*
 * Makes a PENDING inline child run again; false if something overtook us.  Locks
 * the tree (shared) and its row.
 */
static bool
start_child_again(const Workflow *parent, Workflow *child)
{
	lock_tree(&parent->root_id, TREE_SHARED);
	lock_workflows(id_array(&child->id, 1));
	ask_before_raising(&child->id, 1);
	if (run(&start_again,
			&(StartAgain) {
				.id = an_id(&child->id),.lease = an_int(child->lease),.parent_lease = an_int(parent->lease),
				.now = a_time(clock_now())
			}, NEWEST) == 0)
		return false;
	raised_lease_of(&child->id);
	(void) workflow_transition(EVENT_START_AGAIN, child->status, &child->status);
	child->lease++;
	return true;
}

/*
 * A child of which only the record counts: that of the workflow that was forked, which need
 * not be there any more; or, without an id, one that was not created, since its parent was
 * told by its position that it is to end.
 */
static void
answer_record(const Step *stand_in, Workflow *child)
{
	*child = (Workflow)
	{
		.status = stand_in->status,.output = stand_in->output,.error = stand_in->error,.lease = stand_in->lease
	};
	if (!stand_in->child_id.isnull)
		child->id = *DatumGetUUIDP(stand_in->child_id.value);
}

/* Whether a parent need not be told by the end of a child, or was by now. */
static bool
is_told_by(const Workflow *parent, const Workflow *child)
{
	if (XactReadOnly || !tells_by_end(parent, child))
		return true;
	lock_tree(&parent->root_id, TREE_SHARED);
	return tell_by(parent, NULL, NULL);
}

/*
 * Finds or creates the child, and runs it again where it is inline and nobody
 * drives it; returns whether it was created, *is_there whether there is one.  A child
 * that is there and need not be started is answered without a lock, unless its end tells the parent that it is to
 * end, too.
 */
static bool
start_child(const ChildArgs *args, Workflow *child, bool *is_there)
{
	Workflow	parent;
	Step		stand_in;
	Rounds		rounds = {0};

	*is_there = true;
	for (;; next_round(&rounds, stand_in.status == NO_TASK ? "durable.step" : "durable.workflow",
					   seen_of(&parent, &stand_in)))
	{
		const char *name = TextDatumGetCString(args->name.value);
		Refusal    *refusal;

		if (!look_step(args->parent_id, args->sequence, NEWEST, &parent, &stand_in))
			look_workflow_or_raise(args->parent_id, "parent_id", NEWEST, &parent);
		if ((refusal = refuse_claim_in(&parent, args->lease, clock_now())) != NULL)
			raise_refusal(refusal);

		if (stand_in.status == NO_TASK)
		{
			if ((refusal = refuse_new_position(&parent, args->sequence)) != NULL)
				raise_refusal(refusal);
			if (parent.is_untold)
			{
				lock_tree(&parent.root_id, TREE_SHARED);
				(void) tell_at(&parent, args->sequence, WORKFLOW, args->name, args->input, a_null());
			}
			else if (create_child(args, &parent, &rounds, child))
				return true;
			continue;
		}
		if (stand_in.kind != WORKFLOW || strcmp(stand_in.name, name) != 0)
			raise_refusal(refuse_other_step(&stand_in, name, WORKFLOW));
		if (parent.status != RUNNING && stand_in.status != COMPLETED && stand_in.status != FAILED)
			raise_refusal(refuse_finished(&parent));
		if (is_copy(&stand_in) || stand_in.child_id.isnull)
		{
			*is_there = !stand_in.child_id.isnull;
			answer_record(&stand_in, child);
			return false;
		}
		look_workflow_or_raise(DatumGetUUIDP(stand_in.child_id.value), "child_id", NEWEST, child);
		if (!is_told_by(&parent, child))
			continue;
		if (parent.status != RUNNING || !is_inline(child) ||
			!workflow_transition(EVENT_START_AGAIN, child->status, NULL) ||
			start_child_again(&parent, child))
			return false;
	}
}

/*
 * start_child(parent_id, sequence, name, input, handler, lease, queue,
 *			   priority, timeout, concurrency_key, tags, max_retries, backoff,
 *			   backoff_multiplier, max_backoff, on_parent_end)
 */
Datum
durable_start_child(PG_FUNCTION_ARGS)
{
	ChildArgs	args = {
		.name = fcinfo->args[2],.input = fcinfo->args[3],.handler = fcinfo->args[4],
		.lease = fcinfo->args[5],.queue = fcinfo->args[6],.priority = fcinfo->args[7],
		.timeout = fcinfo->args[8],.concurrency_key = fcinfo->args[9],.tags = fcinfo->args[10],
		.on_parent_end = fcinfo->args[15]
	};
	static const char *const ends[] = {"leave", "cancel"};
	NullableDatum columns[6];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	child;
	bool		created;
	bool		is_there;

	require(fcinfo->args[0], "parent_id");
	require_sequence(fcinfo->args[1]);
	require_name(args.name, "name");
	require_fence(args.lease, "lease");
	check_name(args.handler, "handler");
	check_name(args.queue, "queue");
	require(args.priority, "priority");
	check_interval(args.timeout, "timeout");
	check_key(args.concurrency_key, "concurrency_key", args.queue);
	check_tags(args.tags, "tags");
	args.retries = require_workflow_retries(&fcinfo->args[11], args.queue);
	if (require_choice(args.on_parent_end, "on_parent_end", ends, lengthof(ends)) == 0)
		args.on_parent_end = a_null();
	check_needs_queue(!args.on_parent_end.isnull, "on_parent_end", args.queue,
					  "Leave it out: a child without a queue ends with its parent.");
	args.parent_id = PG_GETARG_UUID_P(0);
	args.sequence = PG_GETARG_INT32(1);

	call = begin_call(fcinfo);
	created = start_child(&args, &child, &is_there);

	columns[0] = is_there ? an_id(&child.id) : a_null();
	columns[1] = a_value(BoolGetDatum(created));
	columns[2] = a_value(enum_datum(column_type(desc, 2), status_label(child.status)));
	columns[3] = child.output;
	columns[4] = child.error;
	columns[5] = is_there ? an_int(child.lease) : a_null();
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
