/*-------------------------------------------------------------------------
 *
 * head.c
 *	  What waits in a queue: the first that is due, and from where to look.
 *
 * A claim reads the index workflow_pending from the front.  What was claimed
 * stays there, dead, until vacuum may remove it: never while some session holds
 * an old snapshot, and then each claim would walk over all that was claimed
 * since.  So a claim that has walked far notes where it arrived: the head of
 * that priority, before which nothing waits (durable.queue_head).
 *
 * That this stays true is up to those who let a workflow wait in a queue: start,
 * start_child, release, resume_tree, resume_failed.  They lock the queue's heads
 * (shared) to the end of their transaction, look at them after that, and lower
 * what stands behind the new one.  Who raises a head excludes them, and looks
 * again under that lock: what is committed is seen, and nothing else can come.
 * He never waits, neither for the lock nor, holding it, for anything; so it does
 * no harm that some take it after the locks of trees and rows.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "executor/instrument.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* setting: a walk over more buffers was far (init.c) */
int			durable_claim_walk = 256;

static void
param_position(Params *params, const Position *position)
{
	param_int(params, position->priority);
	param_time(params, position->run_at);
	param_id(params, &position->id);
}

static Position
result_position(uint64 row)
{
	Position	position = {
		.priority = DatumGetInt32(result_value(row, 0)),
		.run_at = DatumGetTimestampTz(result_value(row, 1)),
		.id = *DatumGetUUIDP(result_value(row, 2))
	};

	return position;
}

/* The position that a statement finds, if any, and whether it walked far for it. */
static bool
look_position(PlanId plan, const Params *params, Position *position, bool *far)
{
	int64		before = pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read;

	if (run_plan(plan, params, NEWEST) == 0)
		return false;
	*position = result_position(0);
	*far = pgBufferUsage.shared_blks_hit + pgBufferUsage.shared_blks_read - before > durable_claim_walk;
	return true;
}

/* The first that waits at a priority, from a position on. */
static bool
look_first_at(Datum queue, const Position *from, Position *first, bool *far)
{
	Params		params = {0};

	param_datum(&params, queue);
	param_position(&params, from);
	return look_position(PLAN_LOOK_FIRST_AT, &params, first, far);
}

/* The first that is due at priorities that have no head, from highest down to lowest. */
static bool
look_due_between(Datum queue, int32 highest, int32 lowest, TimestampTz now, Position *due, bool *far)
{
	Params		params = {0};
	Position	first;

	param_datum(&params, queue);
	param_int(&params, highest);
	param_int(&params, lowest);
	if (!look_position(PLAN_LOOK_FIRST, &params, due, far))
		return false;
	if (due->run_at <= now)
		return true;

	/* the first has to wait, others may be due: later ones of lower priority */
	first = *due;
	params.n = 1;
	param_time(&params, now);
	param_position(&params, &first);
	param_int(&params, lowest);
	return look_position(PLAN_LOOK_DUE, &params, due, far);
}

/* The heads of a queue, from the highest priority down. */
static uint64
look_heads(Datum queue, Position **heads)
{
	Params		params = {0};
	uint64		count;

	param_datum(&params, queue);
	count = run_plan(PLAN_LOOK_HEADS, &params, NEWEST);
	*heads = palloc(count * sizeof(Position));
	for (uint64 row = 0; row < count; row++)
		(*heads)[row] = result_position(row);
	return count;
}

/*
 * The first that is due in a queue, and whether it was a long way there, so that
 * it is worth to raise the head of its priority.
 */
bool
look_due(Datum queue, bool has_heads, TimestampTz now, Position *due, bool *far)
{
	int64		highest = PG_INT32_MAX;
	Position   *heads = NULL;
	uint64		count = has_heads ? look_heads(queue, &heads) : 0;

	for (uint64 i = 0; i < count; i++)
	{
		if (highest > heads[i].priority &&
			look_due_between(queue, (int32) highest, heads[i].priority + 1, now, due, far))
			return true;
		if (look_first_at(queue, &heads[i], due, far) && due->run_at <= now)
			return true;
		highest = (int64) heads[i].priority - 1;
	}
	return highest >= PG_INT32_MIN &&
		look_due_between(queue, (int32) highest, PG_INT32_MIN, now, due, far);
}

/*
 * Raises the head of a priority to the first that waits there now, but not
 * beyond the present: who starts one that is due at once should not have to
 * lower the head, since such wait for each other's transactions.  Not in a
 * transaction block: the lock would keep others from starting until it ends.
 */
void
raise_head(Datum queue, int32 priority, TimestampTz now)
{
	/* where the priority begins, if it has no head */
	Position	from = {.priority = priority,.run_at = DT_NOBEGIN};
	Position	first;
	Position   *heads;
	uint64		count;
	bool		far;
	Params		params = {0};

	if (IsTransactionBlock() || !try_lock_heads(queue))
		return;
	count = look_heads(queue, &heads);
	for (uint64 i = 0; i < count; i++)
		if (heads[i].priority == priority)
			from = heads[i];
	if (!look_first_at(queue, &from, &first, &far))
		return;
	if (first.run_at > now)
		first = (Position) {.priority = priority,.run_at = now};
	param_datum(&params, queue);
	param_position(&params, &first);
	run_plan(PLAN_RAISE_HEAD, &params, NEWEST);
}

/*
 * Lowers the heads of queues to workflows that wait there, where they stand
 * before.  The caller has locked the heads.
 */
void
lower_heads(Datum workflow_ids)
{
	Params		params = {0};

	param_datum(&params, workflow_ids);
	run_plan(PLAN_LOWER_HEADS, &params, NEWEST);
}

/* The same, where the caller does not know in which queues they wait, if they do. */
void
now_waiting(Datum workflow_ids)
{
	Params		params = {0};
	uint64		count;

	param_datum(&params, workflow_ids);
	count = run_plan(PLAN_LOOK_QUEUES_OF, &params, NEWEST);
	for (uint64 row = 0; row < count; row++)
		lock_heads(result_value(row, 0));
	if (count > 0)
		lower_heads(workflow_ids);
}
