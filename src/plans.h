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

#include "id_list.h"
#include "plan.h"

typedef enum PlanId
{
	/* looking */
	PLAN_EXECUTOR_ALIVE,
	PLAN_LOOK_INLINE_UNFINISHED,
	PLAN_LOOK_ANCESTORS,
	PLAN_LOOK_QUEUES_OF_FAILED,

	/* workflows */
	PLAN_START,
	PLAN_START_MANY,
	PLAN_TAKE,
	PLAN_TAKE_MANY,
	PLAN_COMPLETE_ROOT,
	PLAN_END_WORKFLOW,
	PLAN_START_CHILD,
	PLAN_START_CHILD_AGAIN,
	PLAN_TAKE_BACK_WORKFLOW,
	PLAN_LOCK_WORKFLOWS,

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

	/* cascades */
	PLAN_CHILDREN,
	PLAN_LOCK_IF_FREE,
	PLAN_LOOK_INLINE_PARENTS,
	PLAN_PAUSE_WORKFLOWS,
	PLAN_RESUME_WORKFLOWS,
	PLAN_CANCEL_WORKFLOWS,
	PLAN_FAIL_WORKFLOWS,
	PLAN_RERUN_WORKFLOW,
	PLAN_RERUN_CHILDREN,
	PLAN_FENCE_WORKFLOWS,
	PLAN_PAUSE_STEPS,
	PLAN_RESUME_STEPS,
	PLAN_CANCEL_STEPS,
	PLAN_RERUN_STEPS,
	PLAN_RECORD_ON_STAND_INS,

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

extern uint64 run_plan(PlanId id, const Params *params, View view);

/* Parameters that several statements share (workflow.c). */
extern void param_start(Params *params, const StartArgs *args);

/* ---- cascade.c: ids, any number of them ------------------------------------- */

/* Which children. */
typedef enum Scope
{
	ALL_CHILDREN,
	INLINE_UNFINISHED,
	FAILED_ONLY
} Scope;

extern uint64 run_over_ids(PlanId plan, const IdList *list, const Params *others, IdList *result);
extern IdList children(const IdList *parents, Scope scope, int32 from_sequence);

#endif							/* DURABLE_PLANS_H */
