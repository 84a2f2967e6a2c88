/*-------------------------------------------------------------------------
 *
 * workflow.c
 *	  Workflows: start, attach, start_child, and how they end.
 *
 * What a workflow's steps do is in step.c, what is done to whole trees in
 * control.c.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_start);
PG_FUNCTION_INFO_V1(durable_attach);
PG_FUNCTION_INFO_V1(durable_start_child);

/*
 * Whether an executor that attaches becomes the owner; if not, it joins.
 * name_is_enough: start by its name runs a released root even for a caller
 * that names no executor.
 */
Attaching
attaching(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough)
{
	if (is_inline(workflow) || !workflow_transition(EVENT_TAKE, workflow->status, NULL))
		return JOINS;
	if (workflow->status == PENDING)
		return !workflow->has_queue && (!executor_id.isnull || takeover || name_is_enough) ? OWNS : JOINS;
	if (takeover)
		return OWNS;
	if (executor_id.isnull)
		return JOINS;
	return workflow->executor_id.isnull || same_text(workflow->executor_id, executor_id) ? OWNS : OWNS_IF_DEAD;
}

static bool
becomes_owner(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough)
{
	Attaching	how = attaching(workflow, executor_id, takeover, name_is_enough);

	return how == OWNS ||
		(how == OWNS_IF_DEAD &&
		 !executor_alive(workflow->executor_id.value, clock_stale_before(clock_now(), a_null())));
}

/*
 * Makes the executor the owner of a workflow as it was looked at; false if
 * something overtook us.
 *
 * Locks the executor's row, the tree (shared), the workflow's row, then those
 * of its unfinished inline descendants, from parents to children.  The lease
 * in the WHERE makes one of several callers win.  Step rows are not locked: who
 * has written one under the old lease and not committed yet never will (fence.c).
 */
static bool
take(const Workflow *workflow, NullableDatum executor_id)
{
	Params		params = {0};
	Datum		self = id_array(&workflow->id, 1);
	int64		registered;
	TimestampTz now;

	registered = register_executor(executor_id, a_null());
	lock_tree(&workflow->root_id, TREE_SHARED);
	lock_workflows(self);
	register_again(executor_id, registered);
	ask_before_raising(&workflow->id, 1);
	now = clock_now();

	param_id(&params, &workflow->id);
	param(&params, executor_id);
	param_time(&params, now);
	param_int(&params, workflow->lease);
	if (run_plan(PLAN_TAKE, &params, NEWEST) == 0)
		return false;
	raised_lease_of(&workflow->id);
	cascade_below(CASCADE_FENCE, self, 0, now);
	return true;
}

/* An inline child has no owner of its own. */
NullableDatum
owner_of(const Workflow *workflow)
{
	return is_inline(workflow) ? a_null() : workflow->executor_id;
}

/* Reads and checks the arguments of start from handler on. */
StartArgs
start_args(FunctionCallInfo fcinfo)
{
	NullableDatum *arg = &fcinfo->args[2];
	StartArgs	args;

	args.handler = arg[0];
	args.executor_id = arg[1];
	args.queue = arg[2];
	args.priority = arg[3];
	args.run_at = arg[4];
	args.timeout = arg[5];
	args.max_recovery_attempts = arg[6];
	args.app_version = arg[7];

	check_name(args.handler, "handler");
	check_name(args.executor_id, "executor_id");
	check_name(args.queue, "queue");
	require(args.priority, "priority");
	check_interval(args.timeout, "timeout");
	require_not_negative(args.max_recovery_attempts, "max_recovery_attempts");
	check_name(args.app_version, "app_version");
	if (!args.run_at.isnull && args.queue.isnull)
		bad_argument("run_at", "needs a queue", "\"queue\" is NULL.",
					 "Pass a queue, whose executors claim the workflow when its time has come.");
	check_run_at(args.run_at);
	return args;
}

/* The parameters of PLAN_START and PLAN_START_MANY, in this order. */
void
param_start(Params *params, const StartArgs *args)
{
	param(params, args->handler);
	param(params, args->executor_id);
	param(params, args->queue);
	param(params, args->priority);
	param(params, args->run_at);
	param(params, args->timeout);
	param(params, args->max_recovery_attempts);
	param(params, args->app_version);
}

void
new_root_id(int64 ns, Datum name, const char *argument, pg_uuid_t *id)
{
	text	   *t = DatumGetTextPP(name);

	new_workflow_id(ns, name_bucket(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), argument), id);
}

/* What a root is like that has just been created. */
void
fill_started(Workflow *workflow, const StartArgs *args)
{
	workflow->has_parent = false;
	workflow->has_queue = !args->queue.isnull;
	workflow->status = workflow->has_queue ? PENDING : RUNNING;
	workflow->lease = workflow->has_queue ? 0 : 1;
	workflow->executor_id = workflow->has_queue ? a_null() : args->executor_id;
}

/* Takes back a row that this call has written, before anybody could see it. */
static void
take_back_workflow(const pg_uuid_t *id)
{
	Params		params = {0};

	param_id(&params, id);
	run_plan(PLAN_TAKE_BACK_WORKFLOW, &params, NEWEST);
}

/*
 * Creates the root of that name; false if somebody was faster, or if we had to
 * wait: then the times of the new row are those of before, and it is taken back.
 */
static bool
create_root(NullableDatum name, NullableDatum input, const StartArgs *args, Rounds *rounds, Workflow *workflow)
{
	Params		params = {0};
	pg_uuid_t	id;
	int64		registered;

	registered = register_executor(args->executor_id, a_null());
	lock_queue_to_start(args->queue, clock_now());

	rounds->since = clock_monotonic();
	new_root_id(clock_ns(), name.value, "name", &id);
	param_id(&params, &id);
	param(&params, name);
	param(&params, input);
	param_start(&params, args);
	param_time(&params, id_created_at(&id));
	if (run_plan(PLAN_START, &params, NEWEST) == 0)
		return false;
	register_again(args->executor_id, registered);
	if (has_waited(rounds, 1))
	{
		take_back_workflow(&id);
		return false;
	}
	started_waiting(args->queue, DatumGetInt32(args->priority.value), args->run_at, id_array(&id, 1));
	workflow->id = workflow->root_id = id;
	fill_started(workflow, args);
	remember_tree(&id, &id);
	expect_new_step(&id, 0);
	return true;
}

/*
 * start(name, input, handler, executor_id, queue, priority, run_at, timeout,
 *		 max_recovery_attempts, app_version)
 *
 * Locks the executor's row and the queue (shared), and inserts; the unique
 * index on the names of active roots makes a second caller wait and then find
 * the first one's workflow.  One that becomes the owner of an existing workflow
 * locks as take does, one that only joins has not locked or written anything.
 */
Datum
durable_start(PG_FUNCTION_ARGS)
{
	NullableDatum name = fcinfo->args[0];
	NullableDatum input = fcinfo->args[1];
	StartArgs	args;
	NullableDatum columns[5];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	workflow;
	bool		created = false;
	Rounds		rounds = {0};

	require_name(name, "name");
	args = start_args(fcinfo);

	call = begin_call(fcinfo);
	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		if (look_active_root(name.value, &workflow))
		{
			if (!becomes_owner(&workflow, args.executor_id, false, true))
				break;
			if (!take(&workflow, args.executor_id))
				continue;
			look_workflow_or_raise(&workflow.id, "workflow_id", NEWEST, &workflow);
			break;
		}
		workflow = (Workflow) {0};
		created = create_root(name, input, &args, &rounds, &workflow);
		if (created)
			break;
	}

	columns[0] = a_value(UUIDPGetDatum(&workflow.id));
	columns[1] = a_value(BoolGetDatum(created));
	columns[2] = a_value(enum_datum(column_type(desc, 2), status_label(workflow.status)));
	columns[3] = a_value(Int32GetDatum(workflow.lease));
	columns[4] = owner_of(&workflow);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/* The nearest ancestor that is not inline: who drives this workflow is registered there. */
static pg_uuid_t
driven_ancestor(const Workflow *workflow)
{
	pg_uuid_t	id = workflow->id;
	Params		params = {0};

	param_id(&params, &workflow->parent_id);
	run_plan(PLAN_LOOK_ANCESTORS, &params, NEWEST);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		id = *DatumGetUUIDP(result_value(row, 0));
		if (DatumGetBool(result_value(row, 2)))
			break;
	}
	return id;
}

/* An inline child changes hands, and is run again, with what drives it only. */
void
raise_if_inline(const Workflow *workflow, Event event)
{
	pg_uuid_t	driven;

	if (!is_inline(workflow))
		return;
	driven = driven_ancestor(workflow);
	raise_refusal(refuse_inline(workflow, event, &driven));
}

/*
 * attach(workflow_id, executor_id, takeover)
 *
 * Locks nothing and writes nothing where it joins; see take for the rest.
 */
Datum
durable_attach(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[1];
	NullableDatum takeover = fcinfo->args[2];
	NullableDatum columns[6];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	workflow;
	Rounds		rounds = {0};

	require(fcinfo->args[0], "workflow_id");
	check_name(executor_id, "executor_id");
	require(takeover, "takeover");

	call = begin_call(fcinfo);
	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", NEWEST, &workflow);
		if (DatumGetBool(takeover.value))
			raise_if_inline(&workflow, EVENT_TAKE);
		if (!becomes_owner(&workflow, executor_id, DatumGetBool(takeover.value), false))
			break;
		if (take(&workflow, executor_id))
		{
			look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", NEWEST, &workflow);
			break;
		}
	}

	columns[0] = a_value(CStringGetTextDatum(workflow.name));
	columns[1] = workflow.handler;
	columns[2] = workflow.input;
	columns[3] = workflow.status_datum;
	columns[4] = a_value(Int32GetDatum(workflow.lease));
	columns[5] = owner_of(&workflow);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/*
 * What forbids a claim in a workflow, in this order: the lease,
 * the status, the deadline; NULL if nothing does, or if it is finished, where
 * recorded outcomes are still answered.
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
} ChildArgs;

/*
 * Creates a child and its stand-in; false if somebody was faster, or if we had
 * to wait: then the times of the new rows are those of before, and they are taken
 * back.
 *
 * Locks the queue (shared), the tree (shared), the parent's children (shared),
 * and the parent's row FOR SHARE: what ends or fences the parent waits, and
 * then finds the child.  A second caller at the position waits on the primary
 * key of step and then finds the first one's child.
 */
static bool
create_child(const ChildArgs *args, const Workflow *parent, Rounds *rounds, Workflow *child)
{
	Params		params = {0};
	pg_uuid_t	id;

	lock_queue_to_start(args->queue, clock_now());
	lock_tree(&parent->root_id, TREE_SHARED);
	lock_children(args->parent_id, CHILDREN_START);

	rounds->since = clock_monotonic();
	new_workflow_id(clock_ns(), id_bucket(args->parent_id), &id);
	param_id(&params, args->parent_id);
	param_int(&params, args->sequence);
	param(&params, args->name);
	param(&params, args->input);
	param(&params, args->handler);
	param_int(&params, parent->lease);
	param(&params, args->queue);
	param(&params, args->priority);
	param(&params, args->timeout);
	param_id(&params, &id);
	param_time(&params, id_created_at(&id));
	if (run_plan(PLAN_START_CHILD, &params, NEWEST) == 0)
		return false;
	if (!DatumGetBool(result_value(0, 0)))
		raise_kept_away("durable.workflow");
	if (has_waited(rounds, 1))
	{
		take_back_step(args->parent_id, args->sequence);
		take_back_workflow(&id);
		return false;
	}
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
	Params		params = {0};

	lock_tree(&parent->root_id, TREE_SHARED);
	lock_workflows(id_array(&child->id, 1));
	ask_before_raising(&child->id, 1);
	param_id(&params, &child->id);
	param_int(&params, child->lease);
	param_time(&params, clock_now());
	param_int(&params, parent->lease);
	if (run_plan(PLAN_START_CHILD_AGAIN, &params, NEWEST) == 0)
		return false;
	raised_lease_of(&child->id);
	child->status = RUNNING;
	child->lease++;
	return true;
}

/*
 * start_child(parent_id, sequence, name, input, handler, lease, queue,
 *			   priority, timeout)
 *
 * A child that is there and need not be started is answered without a lock; see
 * create_child and start_child_again for the rest.
 */
Datum
durable_start_child(PG_FUNCTION_ARGS)
{
	ChildArgs	args = {
		.name = fcinfo->args[2],.input = fcinfo->args[3],.handler = fcinfo->args[4],
		.lease = fcinfo->args[5],.queue = fcinfo->args[6],.priority = fcinfo->args[7],
		.timeout = fcinfo->args[8]
	};
	NullableDatum columns[6];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	parent;
	Step		stand_in;
	Workflow	child;
	bool		created = false;
	Rounds		rounds = {0};

	require(fcinfo->args[0], "parent_id");
	require_sequence(fcinfo->args[1]);
	require_name(args.name, "name");
	check_name(args.handler, "handler");
	check_name(args.queue, "queue");
	require(args.priority, "priority");
	check_interval(args.timeout, "timeout");
	args.parent_id = PG_GETARG_UUID_P(0);
	args.sequence = PG_GETARG_INT32(1);

	call = begin_call(fcinfo);
	for (;; next_round(&rounds, stand_in.status == NO_TASK ? "durable.step" : "durable.workflow",
					   seen_of(&parent, &stand_in)))
	{
		Refusal    *refusal;

		if (!look_step(args.parent_id, args.sequence, NEWEST, &parent, &stand_in))
			look_workflow_or_raise(args.parent_id, "parent_id", NEWEST, &parent);
		if ((refusal = refuse_claim_in(&parent, args.lease, clock_now())) != NULL)
			raise_refusal(refusal);

		if (stand_in.status == NO_TASK)
		{
			if (parent.status != RUNNING)
				raise_refusal(refuse_finished(&parent));
			created = create_child(&args, &parent, &rounds, &child);
			if (created)
				break;
			continue;
		}
		if (stand_in.kind != WORKFLOW || strcmp(stand_in.name, TextDatumGetCString(args.name.value)) != 0)
			raise_refusal(refuse_other_step(&stand_in, TextDatumGetCString(args.name.value), WORKFLOW));
		if (parent.status != RUNNING && stand_in.status != COMPLETED && stand_in.status != FAILED)
			raise_refusal(refuse_finished(&parent));
		look_workflow_or_raise(DatumGetUUIDP(stand_in.child_id.value), "child_id", NEWEST, &child);
		if (parent.status != RUNNING || !is_inline(&child) ||
			!workflow_transition(EVENT_START_AGAIN, child.status, NULL) ||
			start_child_again(&parent, &child))
			break;
	}

	columns[0] = a_value(UUIDPGetDatum(&child.id));
	columns[1] = a_value(BoolGetDatum(created));
	columns[2] = a_value(enum_datum(column_type(desc, 2), status_label(child.status)));
	columns[3] = child.output;
	columns[4] = child.error;
	columns[5] = a_value(Int32GetDatum(child.lease));
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

static bool
has_unfinished_inline_children(const pg_uuid_t *id)
{
	Params		params = {0};

	param_id(&params, id);
	return run_plan(PLAN_LOOK_INLINE_UNFINISHED, &params, NEWEST) > 0;
}

/*
 * Takes the locks under which a workflow is completed; true if it has
 * unfinished inline children that are to be cancelled with it.
 *
 * Their steps are cancelled too, which a claim must not overlap, so that wants
 * the tree exclusively, before any row is locked.  No child can be started
 * once we have asked whether there is one.
 */
static bool
lock_to_complete(const Workflow *workflow)
{
	bool		locked = lock_tree(&workflow->root_id, TREE_SHARED);

	lock_children(&workflow->id, CHILDREN_END);
	if (!has_unfinished_inline_children(&workflow->id))
		return false;
	unlock_children(&workflow->id, CHILDREN_END);
	if (locked)
		unlock_tree(&workflow->root_id, TREE_SHARED);
	lock_tree(&workflow->root_id, TREE_EXCLUSIVE);
	return true;
}

/*
 * Ends a workflow as it was looked at; false if something overtook us.
 *
 * Locks as above (for a failure, the tree shared), then the workflow's row,
 * those of its unfinished inline descendants and their steps, and last the
 * stand-in at its parent.  If the row has changed when we have it, it stays
 * locked: so no lock that comes before it is given back, to be taken again.
 */
static bool
end_workflow(const Workflow *workflow, bool completed, NullableDatum output, NullableDatum error,
			 NullableDatum detail)
{
	bool		abandons = false;
	TimestampTz now;
	Params		params = {0};
	Datum		self = id_array(&workflow->id, 1);

	if (completed)
		abandons = lock_to_complete(workflow);
	else
		lock_tree(&workflow->root_id, TREE_SHARED);
	lock_workflows(self);
	now = clock_now();

	param_id(&params, &workflow->id);
	param_int(&params, workflow->lease);
	param_bool(&params, completed);
	param(&params, output);
	param(&params, error);
	param(&params, detail);
	param_time(&params, now);
	if (run_plan(PLAN_END_WORKFLOW, &params, NEWEST) == 0)
		return false;

	/* start_child now meets the row */
	if (completed && !abandons)
		unlock_children(&workflow->id, CHILDREN_END);
	if (abandons)
		cascade_below(CASCADE_ABANDON, self, 0, now);
	else if (!completed)
		cascade_below(CASCADE_FAIL, self, 0, now);
	if (workflow->has_parent)
		record_on_stand_ins(self, 1);
	return true;
}

/* What forbids to complete a workflow with that output; *repeated if it is done already. */
Refusal *
refuse_workflow_completion(const Workflow *workflow, NullableDatum output, NullableDatum lease, bool *repeated)
{
	*repeated = false;
	if (!lease.isnull && DatumGetInt32(lease.value) != workflow->lease)
		return refuse_lease(workflow, DatumGetInt32(lease.value));
	*repeated = workflow->status == COMPLETED && same_json(output, workflow->output);
	if (*repeated)
		return NULL;
	if (workflow->status == COMPLETED)
		return refuse_other_output("workflow", &workflow->id, workflow->name);
	if (!workflow_transition(EVENT_COMPLETE, workflow->status, NULL))
		return refuse_workflow_status(workflow, EVENT_COMPLETE);
	return NULL;
}

/*
 * Completes a root that is known here by one statement, which asks all that
 * makes that legal; false if it did nothing, for whatever reason.
 *
 * Locks the tree (shared) and the workflow's children exclusively, as
 * lock_to_complete does, then its row.  What it takes in vain it must give
 * back, since the tree may then be wanted exclusively: so not where the
 * transaction has written before.
 */
static bool
complete_root(const pg_uuid_t *id, NullableDatum output, NullableDatum lease)
{
	Params		params = {0};
	pg_uuid_t	root_id;
	bool		done;

	if (XactReadOnly || TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		!is_known_root(id) || !try_lock_known_tree(id, &root_id))
		return false;
	lock_children(id, CHILDREN_END);
	param_id(&params, id);
	param(&params, lease);
	param(&params, output);
	param_time(&params, clock_now());
	done = run_plan(PLAN_COMPLETE_ROOT, &params, NEWEST) > 0;
	/* start_child now meets the row */
	if (done || !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		unlock_children(id, CHILDREN_END);
	if (!done)
		unlock_known_tree(&root_id);
	return done;
}

/* complete of a workflow: true if this call did it, false if it was done with an equal output. */
bool
complete_workflow(const pg_uuid_t *id, NullableDatum output, NullableDatum lease)
{
	Workflow	workflow;
	Rounds		rounds = {0};

	if (complete_root(id, output, lease))
		return true;
	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		Refusal    *refusal;
		bool		repeated;

		look_workflow_or_raise(id, "task_id", NEWEST, &workflow);
		if ((refusal = refuse_workflow_completion(&workflow, output, lease, &repeated)) != NULL)
			raise_refusal(refusal);
		if (repeated)
			return false;
		if (end_workflow(&workflow, true, output, a_null(), a_null()))
			return true;
	}
}

/* fail of a workflow; again with the same error changes nothing. */
void
fail_workflow(const pg_uuid_t *id, NullableDatum error, NullableDatum detail, NullableDatum lease)
{
	Workflow	workflow;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		look_workflow_or_raise(id, "task_id", NEWEST, &workflow);
		if (!lease.isnull && DatumGetInt32(lease.value) != workflow.lease)
			raise_refusal(refuse_lease(&workflow, DatumGetInt32(lease.value)));
		if (workflow.status == FAILED && same_text(error, workflow.error))
			return;
		if (!workflow_transition(EVENT_FAIL, workflow.status, NULL))
			raise_refusal(refuse_workflow_status(&workflow, EVENT_FAIL));
		if (end_workflow(&workflow, false, a_null(), error, detail))
			return;
	}
}
