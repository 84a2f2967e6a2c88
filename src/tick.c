/*-------------------------------------------------------------------------
 *
 * tick.c
 *	  tick: what time has brought and nobody has done.
 *
 * It does, as far as max_rows goes, in this order: schedules that are due start their
 * runs (schedule_run.c); workflows of dead executors, or past their deadline, go back
 * to their queues (recover.c); old finished trees are purged, if durable.retention says
 * so, and dead executors that drive nothing are forgotten (purge.c).
 *
 * It waits for nobody: what is locked is passed over, and left to another call.  So
 * it does not matter that its locks do not come in the order of all locks, and any
 * number of calls at once do different things.  If there is nothing to do it reads some
 * ends of indexes, and locks and writes nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "tick.h"

#include "plan.h"
#include "purge.h"
#include "recover.h"
#include "schedule.h"
#include "suspend.h"

#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_tick);

#define LOOK_NEXT(P) \
	P(after, TIMESTAMPTZOID)
PARAMETERS(LookNext, LOOK_NEXT);

/* What is due already, and was left, is tried again within a second: it does not count. */
static Statement look_next = STATEMENT(LookNext,
	"SELECT least("
	"  (SELECT s.next_run_at FROM durable.schedule s WHERE NOT s.paused AND s.next_run_at > :after"
	"    ORDER BY s.next_run_at LIMIT 1),"
	"  (SELECT d.deadline FROM durable.deadline d WHERE d.deadline > :after ORDER BY d.deadline LIMIT 1))",
	.planning = IN_ORDER);

/* When schedules or deadlines next come due; DT_NOEND is never. */
static TimestampTz
next_time_of_tick(void)
{
	NullableDatum next;

	run(&look_next, &(LookNext) {.after = a_time(clock_now())}, NEWEST);
	next = result_column(0, 0);
	return next.isnull ? DT_NOEND : DatumGetTimestampTz(next.value);
}

/* Does up to so many things that time has brought; *next, unless it is NULL, is when there is more.  Returns how many. */
int64
do_tick(FunctionCallInfo fcinfo, int64 most, TimestampTz *next)
{
	Call		call = begin_call(fcinfo);
	TimestampTz now = clock_now();
	int64		left = most;

	left -= run_due_schedules(call.memory, now, left);
	left -= return_to_queues(now, left);
	left -= purge_by_retention(now, left);
	left -= forget_dead_executors(now, left);
	/* last: nothing is waited for behind that */
	act_on_notes();
	if (next)
		*next = left > 0 ? next_time_of_tick() : now;
	end_call(&call);
	return most - left;
}

/* tick(max_rows) */
Datum
durable_tick(PG_FUNCTION_ARGS)
{
	int32		most;

	require_not_negative(fcinfo->args[0], "max_rows");
	most = PG_GETARG_INT32(0);
	PG_RETURN_INT32(most == 0 ? 0 : (int32) do_tick(fcinfo, most, NULL));
}
