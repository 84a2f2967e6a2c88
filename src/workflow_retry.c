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
#include "table.h"

#include "access/xact.h"

/* ---- what is left of the retries -------------------------------------------------- */

#define OF_ONE(P) \
	P(id, UUIDOID)
PARAMETERS(OfOne, OF_ONE);

#define RETRIES_LIST(F, C, t) \
	F(t, queue_name) C(t, priority) C(t, max_retries) C(t, retry_count) C(t, backoff) C(t, backoff_multiplier) \
	C(t, max_backoff) C(t, cancel_requested_at)
ROW(RetriesRow, RETRIES_LIST);

/* Parameters of look_at_retries, and what its fast path has read; the statement leaves the rest alone. */
typedef struct FastRetries
{
	OfOne		params;
	bool		done;
	RetriesRow	row;
} FastRetries;

#define FETCH(t, name) fast->row.name = column_of_row(&look, workflow_##name);

static int64
fast_look_at_retries(const void *params)
{
	FastRetries *fast = (FastRetries *) params;
	Look		look;

	if (!begin_look(&look, &workflow_by_id, AccessShareLock, (Key[]) {IS_ID(workflow_id, fast->params.id)}, 1))
		return NOT_FAST;
	fast->done = look.row != NULL;
	if (fast->done)
	{
		keep_row(&look);
		RETRIES_LIST(FETCH, FETCH, )
	}
	end_look(&look);
	return fast->done ? 1 : 0;
}

static Statement look_at_retries = STATEMENT(OfOne,
	"SELECT " COLUMNS(RETRIES_LIST, "w.") " FROM durable.workflow w WHERE w.id = :id",
	.fast = fast_look_at_retries);

/* Reads the retries of a workflow: none without a queue, or after it was asked to end. */
Retries
look_retries(const Workflow *workflow)
{
	FastRetries look = {.params = {.id = an_id(&workflow->id)}};
	RetriesRow	row;

	if (!workflow->has_queue || run(&look_at_retries, &look, NEWEST) == 0)
		return (Retries) {.policy = no_retries};
	if (look.done)
		row = look.row;
	else
		fetch(0, 0, &row);
	return (Retries)
	{
		.policy = {
			.max_retries = row.cancel_requested_at.isnull ? row.max_retries : a_null(),.backoff = row.backoff,.backoff_multiplier = row.backoff_multiplier,
			.max_backoff = row.max_backoff
		},
		.count = row.retry_count.isnull ? 0 : DatumGetInt32(row.retry_count.value),
		.queue = row.queue_name,.priority = DatumGetInt32(row.priority.value)
	};
}

/* ---- statements ----------------------------------------------------------------------- */

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
	"w.id = :id AND w.lease = :lease AND " CHECKED("w.status = ANY {workflow from RETRY} AND w.cancel_requested_at IS NULL")

static Statement retry_one = STATEMENT(RetryWorkflow,
	WAIT_AGAIN "WHERE " IS_TO_RETRY);

static bool
has_step(NullableDatum workflow_id)
{
	return fast_none(&step_by_position, (Key[]) {IS_ID(step_workflow_id, workflow_id)}, 1) != 0;
}

static int64
fast_retry_free_job(const void *params)
{
	const RetryWorkflow *p = params;
	Look		look;
	Writing		writing;
	TaskStatus	status;
	bool		done = false;

	if (XactReadOnly || has_step(p->id) ||
		!begin_look(&look, &workflow_by_id, RowExclusiveLock, (Key[]) {IS_ID(workflow_id, p->id)}, 1))
		return NOT_FAST;
	if (look.row && column_of_row(&look, workflow_cancel_requested_at).isnull &&
		int_of_row(&look, workflow_lease) == DatumGetInt32(p->lease.value) &&
		workflow_transition(EVENT_RETRY, status_of_row(&look, workflow_status), &status))
	{
		begin_writing(&writing, &look);
		row_as_seen(&writing, &look);
		set_label(&writing, workflow_status, status_label(status));
		set_int(&writing, workflow_lease, DatumGetInt32(p->lease.value) + 1);
		set(&writing, workflow_executor_id, a_null());
		set(&writing, workflow_deadline, a_null());
		set(&writing, workflow_retry_count, p->retry_count);
		set(&writing, workflow_run_at, p->run_at);
		set(&writing, workflow_error, p->error);
		set(&writing, workflow_detail, p->detail);
		done = update_row(&writing, &look);
		end_writing(&writing);
	}
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* A job: nothing is recorded in it, so there is nothing below it.  Does not wait for its row. */
static Statement retry_free_job = STATEMENT(RetryWorkflow,
	"WITH free AS MATERIALIZED ("
	"  SELECT w.id FROM durable.workflow w "
	"  WHERE " IS_TO_RETRY " AND NOT EXISTS (SELECT 1 FROM durable.step s WHERE s.workflow_id = :id) "
	"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
	WAIT_AGAIN "FROM free f WHERE w.id = f.id",
	.fast = fast_retry_free_job);

/* ---- the act -------------------------------------------------------------------------- */

/* The parameters of a retry that is decided now; the answer of fail with it. */
static RetryWorkflow
retry_now(const Workflow *workflow, const Retries *retries, const Failure *failure, FailAnswer *answer)
{
	TimestampTz run_at = clock_retry_at(&retries->policy, retries->count, failure->retry_after, clock_now());

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
		started_waiting(retries->queue, retries->priority, values.run_at, self);
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
