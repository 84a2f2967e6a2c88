/*-------------------------------------------------------------------------
 *
 * tick.c
 *	  tick: what time has brought and nobody has done.
 *
 * It does, as far as max_rows goes, in this order: schedules that are due start their
 * runs (schedule_run.c); workflows of dead executors, or past their deadline, go back
 * to their queues (recover.c); what was asked to end, and has not within its grace, is
 * cancelled (cancel_request.c); old finished trees are purged, if durable.retention says
 * so, and dead executors that drive nothing are forgotten (purge.c).
 *
 * It waits for nobody: what is locked is passed over, and left to another call.  So
 * it does not matter that its locks do not come in the order of all locks, and any
 * number of calls at once do different things.  If there is nothing to do it reads some
 * ends of indexes, and locks and writes nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "cancel.h"
#include "plan.h"
#include "purge.h"
#include "recover.h"
#include "schedule.h"
#include "suspend.h"

PG_FUNCTION_INFO_V1(durable_tick);

/* tick(max_rows) */
Datum
durable_tick(PG_FUNCTION_ARGS)
{
	int64		most;
	int64		left;
	TimestampTz now;
	Call		call;

	require_not_negative(fcinfo->args[0], "max_rows");
	most = left = PG_GETARG_INT32(0);
	if (most == 0)
		PG_RETURN_INT32(0);

	call = begin_call(fcinfo);
	now = clock_now();
	left -= run_due_schedules(call.memory, now, left);
	left -= return_to_queues(now, left);
	left -= cancel_overdue(now, left);
	left -= purge_by_retention(now, left);
	left -= forget_dead_executors(now, left);
	/* last: nothing is waited for behind that */
	act_on_notes();
	end_call(&call);
	PG_RETURN_INT32((int32) (most - left));
}
