/*-------------------------------------------------------------------------
 *
 * workflow_retry.c
 *	  A workflow that has failed, and is tried again: what a job queue is for.
 *
 * Only one that has a queue has retries: it waits there again, until its backoff is over.
 * Nobody drives it meanwhile, so its lease is raised, and executor and slot are free.
 * What has failed in it, or was left running, runs again, as after resume_failed; but
 * not what its program has caught and gone past.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"

/* ---- what is left of the retries -------------------------------------------------- */

#define OF_ONE(P) \
	P(id, UUIDOID)
PARAMETERS(OfOne, OF_ONE);

#define RETRIES(F, C, t) \
	F(t, max_retries) C(t, retry_count) C(t, backoff) C(t, backoff_multiplier) C(t, max_backoff)
ROW(RetriesRow, RETRIES);

static Statement look_at_retries = STATEMENT(OfOne,
	"SELECT " COLUMNS(RETRIES, "w.") " FROM durable.workflow w WHERE w.id = :id");

/* Reads the retries of a workflow: none without a queue. */
Retries
look_retries(const Workflow *workflow)
{
	Retries		retries = {.backoff = a_null(),.backoff_multiplier = a_null(),.max_backoff = a_null()};
	RetriesRow	row;

	if (!workflow->has_queue || run(&look_at_retries, &(OfOne) {.id = an_id(&workflow->id)}, NEWEST) == 0)
		return retries;
	fetch(0, 0, &row);
	if (row.max_retries.isnull)
		return retries;
	retries.most = DatumGetInt32(row.max_retries.value);
	retries.count = row.retry_count.isnull ? 0 : DatumGetInt32(row.retry_count.value);
	retries.backoff = row.backoff;
	retries.backoff_multiplier = row.backoff_multiplier;
	retries.max_backoff = row.max_backoff;
	return retries;
}

/* ---- the act -------------------------------------------------------------------------- */

#define RETRY_WORKFLOW(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID) \
	P(error, TEXTOID) \
	P(detail, JSONBOID) \
	P(retry_count, INT4OID) \
	P(run_at, TIMESTAMPTZOID)
PARAMETERS(RetryWorkflow, RETRY_WORKFLOW);

#define WAIT_AGAIN \
	"UPDATE durable.workflow w " \
	"SET status = {workflow to RETRY}, lease = w.lease + 1, executor_id = NULL, deadline = NULL, " \
	"  retry_count = :retry_count, run_at = :run_at, error = :error, detail = :detail "
#define IS_TO_RETRY \
	"w.id = :id AND w.lease = :lease AND " CHECKED("w.status = ANY {workflow from RETRY}")

static Statement retry_one = STATEMENT(RetryWorkflow,
	WAIT_AGAIN "WHERE " IS_TO_RETRY);

/* A job: nothing is recorded in it, so there is nothing below it.  Does not wait for its row. */
static Statement retry_free_job = STATEMENT(RetryWorkflow,
	"WITH free AS MATERIALIZED ("
	"  SELECT w.id FROM durable.workflow w "
	"  WHERE " IS_TO_RETRY " AND NOT EXISTS (SELECT 1 FROM durable.step s WHERE s.workflow_id = :id) "
	"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
	WAIT_AGAIN "FROM free f WHERE w.id = f.id");

/* The parameters of a retry that is decided now; the answer of fail with it. */
static RetryWorkflow
retry_now(const Workflow *workflow, const Retries *retries, const Failure *failure, FailAnswer *answer)
{
	TimestampTz run_at = clock_retry_at(retries->backoff, retries->backoff_multiplier, retries->max_backoff,
										retries->count, failure->retry_after, clock_now());

	*answer = (FailAnswer) {.status = PENDING,.retry_count = retries->count + 1,.run_at = a_time(run_at)};
	return (RetryWorkflow)
	{
		.id = an_id(&workflow->id),.lease = an_int(workflow->lease),.error = failure->error,.detail = failure->detail,
		.retry_count = an_int(answer->retry_count),.run_at = answer->run_at
	};
}

/*
 * Lets a workflow that was looked at wait for its next try; false if something
 * overtook us.
 *
 * Locks the tree (shared), the workflow's children exclusively, its row, those of the
 * descendants that run again, their queues and their steps, and last the stand-ins.  No
 * child can be started after we have looked for them: the lock of the children, then the
 * row, keeps it away.  Whoever claims a step, or records an outcome, at the same time does so
 * under the old lease: it commits before us, and we see it or leave a step RUNNING under
 * an older lease, which can be claimed; or it gets WF008 at its commit (fence.c).
 */
bool
retry_workflow(const Workflow *workflow, const Retries *retries, const Failure *failure, FailAnswer *answer)
{
	Datum		self = id_array(&workflow->id, 1);
	RetryWorkflow values;

	lock_tree(&workflow->root_id, TREE_SHARED);
	lock_children(&workflow->id, CHILDREN_END);
	values = retry_now(workflow, retries, failure, answer);
	if (run(&retry_free_job, &values, NEWEST) > 0)
	{
		raised_lease_of(&workflow->id);
		now_waiting(self);
	}
	else
	{
		lock_workflows(self);
		ask_before_raising(&workflow->id, 1);
		values = retry_now(workflow, retries, failure, answer);
		if (run(&retry_one, &values, NEWEST) == 0)
			return false;
		raised_lease_of(&workflow->id);
		cascade_below(CASCADE_RETRY, self, 0, clock_now());
	}
	/* from now on the changed row keeps start_child away */
	unlock_children(&workflow->id, CHILDREN_END);
	return true;
}
