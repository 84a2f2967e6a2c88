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

/* ---- steps ------------------------------------------------------------------- */

/* What look_at_lease has seen last; recorded_under keeps it (fence.c). */
LeaseSeen	last_lease_seen;

/*
 * The lease of workflow $1; false if $3 is another, or if no step can be
 * claimed in the workflow at a time that is given.
 */
static bool
look_at_lease(const void *params, NullableDatum open_at, int32 *its_lease)
{
	NullableDatum lease = given(params, 3);
	Look		look;
	bool		fits = false;

	if (!begin_look(&look, &workflow_by_id, AccessShareLock, (Key[]) {IS_ID(workflow_id, given(params, 1))}, 1))
		return false;
	if (look.row)
	{
		last_lease_seen = lease_seen(&look);
		*its_lease = int_of_row(&look, workflow_lease);
		fits = lease.isnull || DatumGetInt32(lease.value) == *its_lease;
	}
	if (fits && !open_at.isnull)
	{
		NullableDatum deadline = column_of_row(&look, workflow_deadline);

		fits = status_of_row(&look, workflow_status) == RUNNING &&
			(deadline.isnull || DatumGetTimestampTz(deadline.value) > DatumGetTimestampTz(open_at.value));
	}
	end_look(&look);
	return fits;
}

/* INSERT_STEP of statements.h: $position; $first is the kind, and the others follow. */
static bool
claim_new_step(Writing *writing, const void *params, int32 lease, int position, int first)
{
	static const int columns[] = {
		step_name, step_input, step_executor_id, step_max_retries, step_backoff,
		step_backoff_multiplier, step_max_backoff, step_timeout, step_started_at,
		step_deadline
	};

	new_row(writing);
	set(writing, step_workflow_id, given(params, 1));
	set(writing, step_sequence, given(params, position));
	set_int(writing, step_lease, lease);
	set_int(writing, step_attempt, 1);
	set_label(writing, step_status, status_label(RUNNING));
	set_label(writing, step_kind, TextDatumGetCString(given(params, first).value));
	for (int i = 0; i < lengthof(columns); i++)
		set(writing, columns[i], given(params, first + 1 + i));
	return insert_row(writing);
}

/* PLAN_CLAIM_NEW_STEP */
int64
fast_claim_new_step(const void *params)
{
	Key			keys[] = {IS_ID(step_workflow_id, given(params, 1)), IS_INT(step_sequence, given(params, 2))};
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	if (XactReadOnly || !look_at_lease(params, given(params, 13), &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, 2))
		return NOT_FAST;
	begin_writing(&writing, &look);
	done = look.row == NULL && claim_new_step(&writing, params, lease, 2, 4);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* STEP_TO_COMPLETE and COMPLETE_STEP of statements.h, $1 to $5; the time is given. */
static bool
complete_step(Writing *writing, const Look *look, const void *params, int32 lease, NullableDatum now)
{
	NullableDatum attempt = given(params, 4);

	if (look->row == NULL || int_of_row(look, step_sequence) != DatumGetInt32(given(params, 2).value) ||
		status_of_row(look, step_status) != RUNNING ||
		kind_from_datum(column_of_row(look, step_kind).value) == WORKFLOW ||
		(!attempt.isnull && DatumGetInt32(attempt.value) != int_of_row(look, step_attempt)) ||
		int_of_row(look, step_lease) > lease)
		return false;
	row_as_seen(writing, look);
	set_label(writing, step_status, status_label(COMPLETED));
	set(writing, step_output, given(params, 5));
	set(writing, step_error, a_null());
	set(writing, step_detail, a_null());
	set(writing, step_completed_at, now);
	return update_row(writing, look);
}

/* Whether there is none at a later position, for a look that goes through the steps in order. */
static bool
is_free(Look *look, int32 position)
{
	do
		next_row(look);
	while (look->row && int_of_row(look, step_sequence) < position);
	return look->row == NULL || int_of_row(look, step_sequence) > position;
}

/* PLAN_COMPLETE_STEP, and PLAN_COMPLETE_AND_CLAIM if the next position is given. */
static int64
complete_and_claim(const void *params, NullableDatum now, NullableDatum next)
{
	NullableDatum sequence = given(params, 2);
	Key			keys[] = {IS_ID(step_workflow_id, given(params, 1)), IS_INT(step_sequence, sequence)};
	Look		look;
	Writing		writing;
	int32		lease;
	bool		done;

	/* the scan that finds the one goes on to the other */
	if (!next.isnull && DatumGetInt32(next.value) <= DatumGetInt32(sequence.value))
		return NOT_FAST;
	if (!next.isnull)
		keys[1] = (Key) IS_FROM(step_sequence, sequence);
	if (XactReadOnly || !look_at_lease(params, next.isnull ? a_null() : now, &lease) ||
		!begin_look(&look, &step_by_position, RowExclusiveLock, keys, 2))
		return NOT_FAST;
	begin_writing(&writing, &look);
	done = complete_step(&writing, &look, params, lease, now) &&
		(next.isnull || (is_free(&look, DatumGetInt32(next.value)) &&
						 claim_new_step(&writing, params, lease, 6, 7)));
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

int64
fast_complete_step(const void *params)
{
	return complete_and_claim(params, given(params, 6), a_null());
}

int64
fast_complete_and_claim(const void *params)
{
	return complete_and_claim(params, given(params, 16), given(params, 6));
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
