/*-------------------------------------------------------------------------
 *
 * plans.h
 *	  The statements of the extension, and the one way to run them.
 *
 * Their texts stand in looking.c and acting.c.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_PLANS_H
#define DURABLE_PLANS_H

#include "plan.h"

typedef enum PlanId
{
	/* looking */
	PLAN_LOOK_WORKFLOW,
	PLAN_LOOK_STEP,
	PLAN_LOOK_STEPS,
	PLAN_EXECUTOR_ALIVE,
	PLAN_LOOK_QUEUE,
	PLAN_LOOK_HEADS,
	PLAN_LOOK_FIRST,
	PLAN_LOOK_FIRST_AT,
	PLAN_LOOK_DUE,
	PLAN_LOOK_ANCESTORS,
	PLAN_HISTORY,
	PLAN_LIST,
	PLAN_COUNT,
	PLAN_TREE,

	/* workflows */
	PLAN_END_WORKFLOWS,
	PLAN_SET_WORKFLOW_TIMEOUT,

	/* steps */
	PLAN_CLAIM_NEW_STEP,
	PLAN_CLAIM_NEW_STEPS,
	PLAN_CLAIM_STEP_AGAIN,
	PLAN_CLAIM_STEPS_AGAIN,
	PLAN_COMPLETE_STEP,
	PLAN_COMPLETE_STEPS,
	PLAN_FAIL_STEP,
	PLAN_COMPLETE_AND_CLAIM,
	PLAN_TAKE_BACK_STEP,
	PLAN_LOCK_STEPS,
	PLAN_SET_STEP_TIMEOUT,

	/* cascades */
	PLAN_LOOK_INLINE_PARENTS,
	PLAN_LOOK_TREES_OF_EXECUTOR,

	/* queues */
	PLAN_CREATE_QUEUE,
	PLAN_ALTER_QUEUE,
	PLAN_DROP_QUEUE,
	PLAN_PAUSE_QUEUE,
	PLAN_QUEUE_UNFINISHED,
	PLAN_COUNT_SLOTS,
	PLAN_FIND_DUE,
	PLAN_CLAIM,
	PLAN_RAISE_HEAD,
	PLAN_LOWER_HEADS,
	PLAN_LOOK_QUEUES_OF,
	PLAN_COUNT_STARTS,

	/* executors */
	PLAN_REGISTER,
	PLAN_FORGET,
	PLAN_HEARTBEAT_ANSWER,
	PLAN_FIND_STALE,
	PLAN_FIND_ORPHANS,
	PLAN_FIND_LATE,
	PLAN_FIND_RELEASED,
	PLAN_RECOVER,
	PLAN_FAIL_POISON,
	PLAN_LOCK_TO_RELEASE,
	PLAN_RELEASE,

	/* privileges */
	PLAN_MEMBERS,

	/* retention, monitoring */
	PLAN_FIND_OLD_ROOTS,
	PLAN_LOOK_ENDED,
	PLAN_LOCK_TO_DELETE,
	PLAN_MARK_ROOT,
	PLAN_DELETE_STEPS,
	PLAN_LOOK_STEPS_LEFT,
	PLAN_DELETE_WORKFLOWS,
	PLAN_FORGET_SILENT,
	PLAN_STATS,
	PLAN_COUNT_EXECUTORS,

	NUM_PLANS
} PlanId;

/* The parameters of a statement, filled in order. */
#define MAX_PARAMS 20

typedef struct Params
{
	int			n;
	NullableDatum values[MAX_PARAMS];
} Params;

static inline void
param(Params *params, NullableDatum d)
{
	Assert(params->n < MAX_PARAMS);
	params->values[params->n++] = d;
}

static inline void
param_datum(Params *params, Datum value)
{
	param(params, a_value(value));
}

static inline void
param_id(Params *params, const pg_uuid_t *id)
{
	param_datum(params, UUIDPGetDatum(id));
}

static inline void
param_int(Params *params, int32 value)
{
	param_datum(params, Int32GetDatum(value));
}

static inline void
param_bool(Params *params, bool value)
{
	param_datum(params, BoolGetDatum(value));
}

static inline void
param_time(Params *params, TimestampTz value)
{
	param_datum(params, TimestampTzGetDatum(value));
}

extern Statement *statement_of(PlanId id);
extern uint64 run_plan(PlanId id, const Params *params, View view);

/* Parameters that several statements share (step.c). */
extern void param_kind(Params *params, TaskKind kind);
extern void param_policy(Params *params, const ClaimArgs *args, TimestampTz now);

#endif							/* DURABLE_PLANS_H */
