/*-------------------------------------------------------------------------
 *
 * outcome.c
 *	  What follows from an outcome, for those who wait.
 *
 * Whoever records the outcome of a workflow or step, by whatever call or cascade,
 * says so here, in the same transaction and under the same locks, after it has
 * written it.
 *
 *-------------------------------------------------------------------------
 */
#include "id_list.h"
#include "ids.h"
#include "outcome.h"
#include "suspend.h"
#include "wait.h"
#include "wake.h"

/*
 * These tasks have ended, all workflows or all steps.
 *
 * A workflow takes its open waits with it.  Who waits for it, or for a step, finds
 * the outcome when it asks; what is suspended for that is now due.  Who sleeps until a
 * step has ended is woken; of a workflow keep_registers() tells that (register.c).
 */
void
have_ended(const pg_uuid_t *task_ids, uint64 count)
{
	if (count > 0 && id_sequence(task_ids) < 0)
		close_waits_of(task_ids, count);
	for (uint64 i = 0; i < count; i++)
		if (id_sequence(&task_ids[i]) < 0)
		{
			wake_for_workflow(&task_ids[i]);
			tell_who_awaits(&task_ids[i]);
		}
		else
		{
			wake_for_step(&task_ids[i]);
			note_end(&task_ids[i]);
		}
}

/*
 * This step was completed.  A fast path that was given a lease has seen it and found it to be the
 * step's own, and commits under no other (fence.c): so nobody is suspended for this step, since a suspension
 * raises the lease, and locks the steps that it watches.
 */
void
step_has_ended(const pg_uuid_t *id, NullableDatum lease, bool was_fast)
{
	if (lease.isnull || !was_fast)
		have_ended(id, 1);
	else
		note_end(id);
}
