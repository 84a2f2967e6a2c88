/*-------------------------------------------------------------------------
 *
 * step_row.c
 *	  The rows of steps, as claims, ends and waits share them: under which lease they
 *	  are written, how they are locked, how one is taken back.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "step_internal.h"

#include "catalog/pg_type.h"

/*
 * Reads the lease of a workflow.  False if there is no such workflow, if lease is
 * given and is another, or if open_at is given and no new step can be claimed then.
 */
bool
look_at_lease(NullableDatum id, NullableDatum lease, NullableDatum open_at, int32 *its_lease)
{
	Look		look;
	bool		fits = false;

	if (!begin_look(&look, &workflow_by_id, AccessShareLock, (Key[]) {IS_ID(workflow_id, id)}, 1))
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
			column_of_row(&look, workflow_cancel_untold).isnull &&
			(deadline.isnull || DatumGetTimestampTz(deadline.value) > DatumGetTimestampTz(open_at.value));
	}
	end_look(&look);
	return fits;
}

#define DELETE_STEP(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID)
PARAMETERS(DeleteStep, DELETE_STEP);

static Statement delete_step = STATEMENT(DeleteStep,
	"DELETE FROM durable.step s WHERE s.workflow_id = :workflow_id AND s.sequence = :sequence");

#define LOCK_STEPS(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID)
PARAMETERS(LockSteps, LOCK_STEPS);

static Statement lock_rows = STATEMENT(LockSteps,
	"SELECT s.sequence "
	"FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences))"
	"  WITH ORDINALITY AS b (workflow_id, sequence, n) "
	"JOIN durable.step s ON s.workflow_id = b.workflow_id AND s.sequence = b.sequence "
	"ORDER BY s.workflow_id, s.sequence FOR NO KEY UPDATE OF s");

/* Takes back a step that this call has created, before anybody could see it. */
void
take_back_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	run(&delete_step, &(DeleteStep) {.workflow_id = an_id(workflow_id),.sequence = an_int(sequence)}, NEWEST);
}

/* Locks the rows of steps, in the order of workflows and positions. */
void
lock_steps(const Positions *positions)
{
	run(&lock_rows, &(LockSteps)
		{
			.workflow_ids = array_of(&positions->workflow_ids),.sequences = array_of(&positions->sequences)
		}, NEWEST);
}

void
lock_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	run(&lock_rows, &(LockSteps)
		{
			.workflow_ids = a_value(id_array(workflow_id, 1)),.sequences = a_value(int_array(&sequence, 1))
		}, NEWEST);
}
