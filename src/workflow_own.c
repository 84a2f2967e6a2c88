/*-------------------------------------------------------------------------
 *
 * workflow_own.c
 *	  Who drives a workflow: attach, and how it changes hands.
 *
 * start by name (workflow_start.c) attaches by the same rules, and takes by the
 * same statement.  claim, recover and release choose many workflows by statements
 * of their own.
 *
 * An inline child has no owner: whoever drives its parent drives it, so it changes
 * hands with that one.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "suspend.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_attach);

/* ---- statements -------------------------------------------------------------- */

#define TAKE(P) \
	P(ids, UUIDARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(times, INT4ARRAYOID) \
	P(executor_id, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(Take, TAKE);

/* The lease makes one of several callers win. */
static Statement take_workflows = STATEMENT(Take,
	"UPDATE durable.workflow w "
	"SET status = {workflow to TAKE}, lease = w.lease + b.times, executor_id = :executor_id, "
	"  " TAKEN_UP("w.status = 'PENDING'")
	"FROM ROWS FROM (unnest(:ids), unnest(:leases), unnest(:times)) WITH ORDINALITY AS b (id, lease, times, n) "
	"WHERE w.id = b.id AND w.lease = b.lease AND " CHECKED("w.status = ANY {workflow from TAKE}") " "
	"RETURNING b.n",
	.planning = BY_PROBES);

#define VERSIONS(P) \
	P(ids, UUIDARRAYOID) \
	P(executor_id, TEXTOID) \
	P(app_version, TEXTOID)
PARAMETERS(Versions, VERSIONS);

static Statement look_versions = STATEMENT(Versions,
	"SELECT b.n FROM ROWS FROM (unnest(:ids)) WITH ORDINALITY AS b (id, n) "
	"JOIN durable.workflow w ON w.id = b.id "
	"WHERE " CHECKED("w.app_version <> COALESCE(:app_version,"
	"  (SELECT e.app_version FROM durable.executor e WHERE e.executor_id = :executor_id))"),
	.planning = BY_PROBES);

/* ---- who becomes the owner -------------------------------------------------------- */

/* An inline child has no owner of its own. */
NullableDatum
owner_of(const Workflow *workflow)
{
	return is_inline(workflow) ? a_null() : workflow->executor_id;
}

/*
 * Whether an executor that attaches becomes the owner; if not, it joins.
 * name_is_enough: start by its name runs a released root even for a caller
 * that names no executor, but not a suspended one.
 */
Attaching
attaching(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough)
{
	if (is_inline(workflow) || !workflow_transition(EVENT_TAKE, workflow->status, NULL))
		return JOINS;
	if (workflow->status == PENDING)
		return !workflow->has_queue &&
			(!executor_id.isnull || takeover || (name_is_enough && workflow->suspended_at.isnull)) ? OWNS : JOINS;
	if (takeover)
		return OWNS;
	if (executor_id.isnull)
		return JOINS;
	return workflow->executor_id.isnull || same_text(workflow->executor_id, executor_id) ? OWNS : OWNS_IF_DEAD;
}

/*
 * Which of some workflows are of another version than the executor's program: that is
 * the given one or, if NULL, the one that it has claimed with last.  Returns how many;
 * their places, from 1, are the result's first column.  NULL, on either side, is any.
 */
int
look_other_versions(const pg_uuid_t *ids, int count, NullableDatum executor_id, NullableDatum app_version)
{
	if (count == 0)
		return 0;
	return (int) run(&look_versions,
					 &(Versions) {
						 .ids = a_value(id_array(ids, count)),.executor_id = executor_id,.app_version = app_version
					 }, NEWEST);
}

/* An executor whose program is of another version joins, unless it takes the workflow over. */
static bool
becomes_owner(const Workflow *workflow, NullableDatum executor_id, bool takeover)
{
	Attaching	how = attaching(workflow, executor_id, takeover, false);

	if (how == JOINS ||
		(how == OWNS_IF_DEAD && executor_alive(workflow->executor_id.value, clock_stale_before(clock_now(), a_null()))))
		return false;
	return takeover || look_other_versions(&workflow->id, 1, executor_id, a_null()) == 0;
}

/*
 * Makes the executor the owner of workflows, which are in the order of ids, and
 * fences their inline descendants; false if something overtook us at one of them.
 * The executor is registered, and the trees are locked (shared).
 *
 * Locks the workflows' rows, then those of their unfinished inline descendants,
 * from parents to children.  Step rows are not locked: who has written one under
 * the old lease and not committed yet never will (fence.c).
 */
bool
take(const Taking *takings, int count, NullableDatum executor_id)
{
	pg_uuid_t  *ids = palloc(count * sizeof(pg_uuid_t));
	int32	   *leases = palloc(count * sizeof(int32));
	int32	   *times = palloc(count * sizeof(int32));
	Datum		all;
	TimestampTz now;

	for (int i = 0; i < count; i++)
	{
		ids[i] = takings[i].id;
		leases[i] = takings[i].lease;
		times[i] = takings[i].times;
	}
	all = id_array(ids, count);
	lock_workflows(all);
	ask_before_raising(ids, count);
	now = clock_now();
	if (run(&take_workflows,
			&(Take) {
				.ids = a_value(all),.leases = a_value(int_array(leases, count)),.times = a_value(int_array(times, count)),
				.executor_id = executor_id,.now = a_time(now)
			}, NEWEST) < count)
		return false;
	for (int i = 0; i < count; i++)
		raised_lease_of(&ids[i]);
	cascade_below(CASCADE_FENCE, all, 0, now);
	forget_suspensions(all);
	return true;
}

/*
 * Attaches to a workflow, and looks at it as it is then.  Locks nothing and writes
 * nothing where it joins; where it becomes the owner, it locks the executor's row
 * and the tree (shared), then as take does.
 */
static void
attach(const pg_uuid_t *id, NullableDatum executor_id, bool takeover, Workflow *workflow)
{
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.workflow", seen_of(workflow, NULL)))
	{
		int64		registered;
		bool		taken;

		look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
		if (takeover)
			raise_if_inline(workflow, EVENT_TAKE);
		if (!becomes_owner(workflow, executor_id, takeover))
			return;
		registered = register_executor(executor_id, a_null());
		lock_tree(&workflow->root_id, TREE_SHARED);
		taken = take(&(Taking) {.id = workflow->id,.lease = workflow->lease,.times = 1}, 1, executor_id);
		register_again(executor_id, registered);
		if (taken)
		{
			look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
			return;
		}
	}
}

/* attach(workflow_id, executor_id, takeover) */
Datum
durable_attach(PG_FUNCTION_ARGS)
{
	NullableDatum executor_id = fcinfo->args[1];
	NullableDatum columns[6];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Workflow	workflow;

	require(fcinfo->args[0], "workflow_id");
	check_name(executor_id, "executor_id");
	require(fcinfo->args[2], "takeover");

	call = begin_call(fcinfo);
	attach(PG_GETARG_UUID_P(0), executor_id, PG_GETARG_BOOL(2), &workflow);

	columns[0] = a_value(CStringGetTextDatum(workflow.name));
	columns[1] = workflow.handler;
	columns[2] = workflow.input;
	columns[3] = workflow.status_datum;
	columns[4] = a_value(Int32GetDatum(workflow.lease));
	columns[5] = owner_of(&workflow);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
