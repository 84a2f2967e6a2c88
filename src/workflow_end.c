/*-------------------------------------------------------------------------
 *
 * workflow_end.c
 *	  How a workflow ends: complete and fail, of a workflow.
 *
 * Whoever ends one takes the tree's lock (shared) and that of the workflow's
 * children, then its row, and last the stand-in at its parent.  While the lock of the
 * children is held exclusively, none can be started: so none is missed that has to
 * end with it.  Where there are such, the tree is locked exclusively instead, and their
 * rows and steps follow that of the workflow.
 *
 * complete_many is in complete.c.
 *
 *-------------------------------------------------------------------------
 */
#include "outcome.h"
#include "sql.h"
#include "table.h"

#include "access/xact.h"

/* ---- statements -------------------------------------------------------------- */

#define CHILD_TO_END(P) \
	P(id, UUIDOID)
PARAMETERS(ChildToEnd, CHILD_TO_END);

static Statement look_child_to_end = STATEMENT(ChildToEnd,
	"SELECT 1 FROM durable.workflow w "
	"WHERE w.parent_id = :id AND " ENDS_WITH_PARENT("w") " AND " UNFINISHED("w") " LIMIT 1");

#define END_OF_WORKFLOW(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID) \
	P(completes, BOOLOID) \
	P(output, JSONBOID) \
	P(error, TEXTOID) \
	P(detail, JSONBOID) \
	P(continued_as, UUIDOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(EndOfWorkflow, END_OF_WORKFLOW);

/* completes, or fails */
static Statement end_one = STATEMENT(EndOfWorkflow,
	"UPDATE durable.workflow w "
	"SET status = CASE WHEN :completes THEN {workflow to COMPLETE} ELSE {workflow to FAIL} END, "
	"  output = :output, error = :error, detail = :detail, continued_as = :continued_as, completed_at = :now "
	"WHERE w.id = :id AND w.lease = :lease "
	"  AND CASE WHEN :completes THEN w.status = ANY {workflow from COMPLETE} ELSE w.status = ANY {workflow from FAIL} END");

#define COMPLETE_ROOT(P) \
	P(id, UUIDOID) \
	P(lease, INT4OID) \
	P(output, JSONBOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(CompleteRoot, COMPLETE_ROOT);

/* Whether a workflow has no unfinished child that ends with it. */
static bool
has_no_child_to_end(NullableDatum id)
{
	Look		look;
	bool		found = false;

	if (!begin_look(&look, &workflow_by_parent, AccessShareLock, (Key[]) {IS_ID(workflow_parent_id, id)}, 1))
		return false;
	for (; look.row && !found; next_row(&look))
		found = (column_of_row(&look, workflow_queue_name).isnull || !column_of_row(&look, workflow_on_parent_end).isnull) &&
			!is_finished(status_of_row(&look, workflow_status));
	end_look(&look);
	return !found;
}

/* For fast paths: completes a workflow's row; false if it is not as it should be, or is locked. */
bool
complete_workflow_row(NullableDatum id, NullableDatum lease, NullableDatum output, NullableDatum now)
{
	Look		look;
	Writing		writing;
	TaskStatus	completed;
	bool		done = false;

	if (!begin_look(&look, &workflow_by_id, RowExclusiveLock, (Key[]) {IS_ID(workflow_id, id)}, 1))
		return false;
	if (look.row && (lease.isnull || int_of_row(&look, workflow_lease) == DatumGetInt32(lease.value)) &&
		workflow_transition(EVENT_COMPLETE, status_of_row(&look, workflow_status), &completed))
	{
		begin_writing(&writing, &look);
		row_as_seen(&writing, &look);
		set_label(&writing, workflow_status, status_label(completed));
		set(&writing, workflow_output, output);
		/* of a failure after which it was tried again */
		set(&writing, workflow_error, a_null());
		set(&writing, workflow_detail, a_null());
		set(&writing, workflow_completed_at, now);
		done = update_row(&writing, &look);
		end_writing(&writing);
	}
	end_look(&look);
	return done;
}

static int64
fast_complete_root(const void *params)
{
	const CompleteRoot *p = params;

	return !XactReadOnly && has_no_child_to_end(p->id) && complete_workflow_row(p->id, p->lease, p->output, p->now) ?
		1 : NOT_FAST;
}

/* Completes a root that nobody has locked, without unfinished children that end with it.  A root has no stand-in. */
static Statement complete_free_root = STATEMENT(CompleteRoot,
	"WITH free AS MATERIALIZED ("
	"  SELECT w.id FROM durable.workflow w "
	"  WHERE w.id = :id AND (:lease IS NULL OR w.lease = :lease) AND " CHECKED("w.status = ANY {workflow from COMPLETE}")
	"    AND NOT EXISTS ("
	"      SELECT 1 FROM durable.workflow c WHERE c.parent_id = :id AND " ENDS_WITH_PARENT("c") " AND " UNFINISHED("c") ") "
	"  FOR NO KEY UPDATE OF w SKIP LOCKED) "
	"UPDATE durable.workflow w SET"
	"  status = {workflow to COMPLETE}, output = :output, error = NULL, detail = NULL, completed_at = :now "
	"FROM free f WHERE w.id = f.id",
	.fast = fast_complete_root);

/* ---- the end of a workflow that was looked at -------------------------------------- */

/*
 * Takes the locks under which a workflow ends; true if it has unfinished children
 * that are to end with it.
 *
 * The steps of those that are cancelled are cancelled too, and no claim may overlap
 * that.  So the tree is then locked exclusively, before any row.  No child can be
 * started after we have looked for them: the lock of the children, or of the tree,
 * keeps it away.
 */
static bool
lock_to_end(const Workflow *workflow)
{
	bool		locked = lock_tree(&workflow->root_id, TREE_SHARED);

	lock_children(&workflow->id, CHILDREN_END);
	if (run(&look_child_to_end, &(ChildToEnd) {.id = an_id(&workflow->id)}, NEWEST) == 0)
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
 * Locks as above, then the workflow's row, those of the descendants that end with
 * it and their steps, and last the stand-in at its parent.  If the row has changed when
 * we get it, we keep it and all locks before it: to take one of these again would be to
 * lock out of order.
 */
bool
end_workflow(const Workflow *workflow, const WorkflowEnd *end)
{
	bool		ends_others = lock_to_end(workflow);
	Datum		self = id_array(&workflow->id, 1);
	TimestampTz now;

	lock_workflows(self);
	now = clock_now();
	if (run(&end_one,
			&(EndOfWorkflow) {
				.id = an_id(&workflow->id),.lease = an_int(workflow->lease),.completes = a_bool(end->completes),
				.output = end->output,.error = end->error,.detail = end->detail,.continued_as = end->continued_as,
				.now = a_time(now)
			}, NEWEST) == 0)
		return false;

	/* from now on the changed row keeps start_child away */
	if (!ends_others)
		unlock_children(&workflow->id, CHILDREN_END);
	have_ended(&workflow->id, 1);
	if (ends_others)
		cascade_below(end->completes ? CASCADE_ABANDON : CASCADE_FAIL, self, 0, now);
	if (workflow->has_parent)
		record_on_stand_ins(self, 1);
	return true;
}

/* ---- complete -------------------------------------------------------------------- */

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
 * makes this legal; false if it did nothing, for whatever reason.
 *
 * Locks the tree (shared) and the workflow's children exclusively, as
 * lock_to_end does, then its row.  If it does nothing, it must give these back,
 * since the tree may then be locked exclusively.  So it is not tried where the
 * transaction has written before.
 */
static bool
complete_root(const pg_uuid_t *id, NullableDatum output, NullableDatum lease)
{
	pg_uuid_t	root_id;
	bool		done;

	if (XactReadOnly || TransactionIdIsValid(GetTopTransactionIdIfAny()) ||
		!is_known_root(id) || !try_lock_known_tree(id, &root_id))
		return false;
	lock_children(id, CHILDREN_END);
	done = run(&complete_free_root,
			   &(CompleteRoot) {.id = an_id(id),.lease = lease,.output = output,.now = a_time(clock_now())},
			   NEWEST) > 0;
	if (done)
		have_ended(id, 1);
	/* from now on the changed row keeps start_child away, or nothing was done */
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
	WorkflowEnd end = {
		.completes = true,.output = output,.error = a_null(),.detail = a_null(),.continued_as = a_null()
	};
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
		if (end_workflow(&workflow, &end))
			return true;
	}
}

/* ---- fail ------------------------------------------------------------------------ */

/* fail of a workflow; one that has failed with the same error is left alone. */
FailAnswer
fail_workflow(const pg_uuid_t *id, const Failure *failure)
{
	WorkflowEnd end = {
		.completes = false,.output = a_null(),.error = failure->error,.detail = failure->detail,
		.continued_as = a_null()
	};
	Workflow	workflow;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.workflow", seen_of(&workflow, NULL)))
	{
		Retries		retries;
		FailAnswer	answer = {.status = FAILED,.run_at = a_null()};
		bool		retry;

		look_workflow_or_raise(id, "task_id", NEWEST, &workflow);
		if (!failure->lease.isnull && DatumGetInt32(failure->lease.value) != workflow.lease)
			raise_refusal(refuse_lease(&workflow, DatumGetInt32(failure->lease.value)));
		retries = look_retries(&workflow);
		answer.retry_count = retries.count;
		if (workflow.status == FAILED && same_text(failure->error, workflow.error))
			return answer;
		retry = failure->retryable && has_retry_left(&retries.policy, retries.count);
		if (!workflow_transition(retry ? EVENT_RETRY : EVENT_FAIL, workflow.status, NULL))
			raise_refusal(refuse_workflow_status(&workflow, EVENT_FAIL));
		if (retry ? retry_workflow(&workflow, &retries, failure, &answer) : end_workflow(&workflow, &end))
			return answer;
	}
}
