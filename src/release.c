/*-------------------------------------------------------------------------
 *
 * release.c
 *	  release: an executor hands its workflows back.
 *
 * Locks the executor's row, which it deletes unless it hands back just one
 * workflow, the trees of what has parents or children (shared, in one order),
 * then the workflows' rows in the order of their ids, then those of their inline
 * descendants.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"

PG_FUNCTION_INFO_V1(durable_release);

#define FORGET(P) \
	P(executor_id, TEXTOID)
PARAMETERS(Forget, FORGET);

static Statement forget = STATEMENT(Forget,
	"DELETE FROM durable.executor e WHERE e.executor_id = :executor_id");

#define OWNED(P) \
	P(executor_id, TEXTOID) \
	P(workflow_id, UUIDOID)
PARAMETERS(Owned, OWNED);

/* All that the executor drives, or the one that is named: that is found by its id, however many there are. */
#define ALL_OWNED OWNED_OF("ANY (ARRAY(SELECT d.id FROM durable.driven d WHERE d.executor_id = :executor_id))")
#define ONE_OWNED OWNED_OF(":workflow_id")
#define OWNED_OF(ids) \
	"durable.workflow w WHERE w.id = " ids \
	"  AND " CHECKED("w.executor_id = :executor_id AND w.status = ANY {workflow from RELEASE}")

#define LOOK_TREES(owned) \
	"SELECT DISTINCT w.root_id FROM " owned \
	"  AND (w.parent_id IS NOT NULL" \
	"    OR EXISTS (SELECT 1 FROM durable.workflow c WHERE c.parent_id = w.id OFFSET 0)) " \
	"ORDER BY w.root_id"
static Statement look_trees = STATEMENT(Owned, LOOK_TREES(ALL_OWNED));
static Statement look_its_tree = STATEMENT(Owned, LOOK_TREES(ONE_OWNED));

/* A PAUSED one is released with all the others, but not by itself. */
#define LOCK_OWNED(owned) "SELECT w.id FROM " owned " ORDER BY w.id FOR NO KEY UPDATE"
static Statement lock_owned = STATEMENT(Owned, LOCK_OWNED(ALL_OWNED));
static Statement lock_it = STATEMENT(Owned, LOCK_OWNED(ONE_OWNED " AND " CHECKED("w.status = 'RUNNING'")));

#define HAND_BACK(P) \
	P(ids, UUIDARRAYOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(HandBack, HAND_BACK);

/* What a PAUSED one was before is released, too: it resumes as PENDING. */
static Statement hand_back = STATEMENT(HandBack,
	"UPDATE durable.workflow w SET "
	"  status = {workflow to RELEASE w.status}, paused_from = {workflow to RELEASE w.paused_from}, "
	"  lease = w.lease + 1, executor_id = NULL, deadline = NULL, "
	"  run_at = coalesce(:run_at, CASE WHEN w.queue_name IS NULL THEN :now ELSE w.run_at END) "
	"WHERE w.id = ANY (:ids) RETURNING w.id");

/* Deletes the executor's row; tries again if somebody has registered it meanwhile. */
static void
forget_executor(NullableDatum executor_id)
{
	Rounds		rounds = {0};

	while (run(&forget, &(Forget) {.executor_id = executor_id}, NEWEST) == 0 &&
		   executor_alive(executor_id.value, DT_NOBEGIN))
		next_round(&rounds, "durable.executor", 0);
}

/* Locks the trees in which its workflows are not alone (shared), in one order. */
static void
lock_trees(const Owned *owned)
{
	uint64		count = run(owned->workflow_id.isnull ? &look_trees : &look_its_tree, owned, NEWEST);

	for (uint64 row = 0; row < count; row++)
		lock_tree(DatumGetUUIDP(result_value(row, 0)), TREE_SHARED);
}

/* release(executor_id, workflow_id, run_at) */
Datum
durable_release(PG_FUNCTION_ARGS)
{
	Owned		owned = {.executor_id = fcinfo->args[0],.workflow_id = fcinfo->args[1]};
	NullableDatum run_at = fcinfo->args[2];
	TimestampTz now;
	Datum		ids;
	IdList		list = {0};
	int64		released;
	Call		call;

	require_name(owned.executor_id, "executor_id");
	check_run_at(run_at);

	call = begin_call(fcinfo);
	if (owned.workflow_id.isnull)
		forget_executor(owned.executor_id);
	else
	{
		Workflow	workflow;

		look_workflow_or_raise(DatumGetUUIDP(owned.workflow_id.value), "workflow_id", NEWEST, &workflow);
	}
	lock_trees(&owned);
	released = run(owned.workflow_id.isnull ? &lock_owned : &lock_it, &owned, NEWEST);
	if (released > 0)
	{
		ids = result_ids(0);
		append_array(&list, ids);
		ask_before_raising(list.ids, list.count);
		now = clock_now();
		if (run(&hand_back, &(HandBack) {.ids = a_value(ids),.run_at = run_at,.now = a_time(now)}, NEWEST) != released)
			raise_kept_away("durable.workflow");
		raised_leases_of_result(0);
		cascade_below(CASCADE_FENCE, ids, 0, now);
		now_waiting(ids);
	}
	end_call(&call);
	PG_RETURN_INT64(released);
}
