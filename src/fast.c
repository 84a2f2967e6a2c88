/*-------------------------------------------------------------------------
 *
 * fast.c
 *	  The fast paths of the statements that every workflow and every step runs.
 *
 * Each finds the rows that its statement finds, by the same index, and writes the
 * same, by table.c.  It returns the number of rows, as run does, or NOT_FAST: then
 * run runs the statement, which is what the fast path is a short cut of.  So up to
 * then it has done nothing, or a part that the statement finds done.
 *
 *-------------------------------------------------------------------------
 */
#include "statements.h"
#include "table.h"

#include "access/xact.h"
#include "utils/builtins.h"

/* $n */
static NullableDatum
given(const void *params, int n)
{
	return ((const NullableDatum *) params)[n - 1];
}

/* ---- workflows --------------------------------------------------------------- */

/* PLAN_LOOK_ACTIVE_ROOT, where there is none */
int64
fast_no_active_root(const void *params)
{
	Look		look;
	bool		found;

	if (!begin_look(&look, &active_root_by_name, AccessShareLock, (Key[]) {IS_TEXT(workflow_name, given(params, 1))}, 1))
		return NOT_FAST;
	found = look.row != NULL;
	end_look(&look);
	return found ? NOT_FAST : 0;
}

/* PLAN_START */
int64
fast_start(const void *params)
{
	static const int columns[] = {
		[2] = workflow_name, workflow_input, workflow_handler, workflow_executor_id,
		workflow_queue_name, workflow_priority, workflow_run_at, workflow_timeout,
		workflow_max_recovery_attempts, workflow_app_version, workflow_created_at
	};
	bool		waits = !given(params, 6).isnull;
	NullableDatum created_at = given(params, 12);
	Look		look;
	Writing		writing;
	bool		done;

	if (XactReadOnly ||
		!begin_look(&look, &active_root_by_name, RowExclusiveLock, (Key[]) {IS_TEXT(workflow_name, given(params, 2))}, 1))
		return NOT_FAST;
	begin_writing(&writing, &look);
	new_row(&writing);
	for (int i = 2; i < lengthof(columns); i++)
		set(&writing, columns[i], given(params, i));
	set(&writing, workflow_id, given(params, 1));
	set(&writing, workflow_root_id, given(params, 1));
	set_label(&writing, workflow_status, status_label(waits ? PENDING : RUNNING));
	set_int(&writing, workflow_lease, waits ? 0 : 1);
	if (waits)
	{
		set(&writing, workflow_executor_id, a_null());
		if (given(params, 8).isnull)
			set(&writing, workflow_run_at, created_at);
		set(&writing, workflow_started_at, a_null());
		set(&writing, workflow_deadline, a_null());
	}
	else
	{
		set(&writing, workflow_run_at, a_null());
		set(&writing, workflow_started_at, created_at);
		set(&writing, workflow_deadline,
			clock_deadline(DatumGetTimestampTz(created_at.value), given(params, 9)));
	}
	done = look.row == NULL && insert_row(&writing);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* Whether a workflow has only children that are finished, or have a queue. */
static bool
has_no_child_to_cancel(NullableDatum id)
{
	Look		look;
	bool		found = false;

	if (!begin_look(&look, &workflow_by_parent, AccessShareLock, (Key[]) {IS_ID(workflow_parent_id, id)}, 1))
		return false;
	for (; look.row && !found; next_row(&look))
		found = column_of_row(&look, workflow_queue_name).isnull &&
			!is_finished(status_of_row(&look, workflow_status));
	end_look(&look);
	return !found;
}

/* PLAN_COMPLETE_ROOT */
int64
fast_complete_root(const void *params)
{
	NullableDatum lease = given(params, 2);
	Look		look;
	Writing		writing;
	bool		done = false;

	if (XactReadOnly || !has_no_child_to_cancel(given(params, 1)) ||
		!begin_look(&look, &workflow_by_id, RowExclusiveLock, (Key[]) {IS_ID(workflow_id, given(params, 1))}, 1))
		return NOT_FAST;
	if (look.row && (lease.isnull || int_of_row(&look, workflow_lease) == DatumGetInt32(lease.value)) &&
		status_of_row(&look, workflow_status) == RUNNING)
	{
		begin_writing(&writing, &look);
		row_as_seen(&writing, &look);
		set_label(&writing, workflow_status, status_label(COMPLETED));
		set(&writing, workflow_output, given(params, 3));
		set(&writing, workflow_completed_at, given(params, 4));
		done = update_row(&writing, &look);
		end_writing(&writing);
	}
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* ---- executors --------------------------------------------------------------- */

/* PLAN_EXECUTOR_ALIVE */
int64
fast_executor_alive(const void *params)
{
	Look		look;
	bool		alive;

	if (!begin_look(&look, &executor_by_id, AccessShareLock, (Key[]) {IS_TEXT(executor_executor_id, given(params, 1))}, 1))
		return NOT_FAST;
	alive = look.row && DatumGetTimestampTz(column_of_row(&look, executor_last_seen).value) >=
		DatumGetTimestampTz(given(params, 2).value);
	end_look(&look);
	return alive ? 1 : 0;
}
