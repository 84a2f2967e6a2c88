/*-------------------------------------------------------------------------
 *
 * workflow.h
 *	  Workflows: how they begin, change hands, and end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_WORKFLOW_H
#define DURABLE_WORKFLOW_H

#include "task.h"

/* The arguments of start from handler on. */
typedef struct StartArgs
{
	NullableDatum handler;
	NullableDatum executor_id;
	NullableDatum queue;
	NullableDatum priority;
	NullableDatum run_at;
	NullableDatum timeout;
	NullableDatum max_recovery_attempts;
	NullableDatum app_version;
} StartArgs;

/* Who attaches ... */
typedef enum Attaching
{
	JOINS,
	OWNS,						/* becomes the owner, under a new lease */
	OWNS_IF_DEAD				/* ... where the present one is dead, else joins */
} Attaching;

extern StartArgs start_args(FunctionCallInfo fcinfo);
extern void new_root_id(int64 ns, Datum name, const char *argument, pg_uuid_t *id);
extern void fill_started(Workflow *workflow, const StartArgs *args);
extern Attaching attaching(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough);
extern NullableDatum owner_of(const Workflow *workflow);
extern Refusal *refuse_workflow_completion(const Workflow *workflow, NullableDatum output, NullableDatum lease,
										   bool *repeated);

extern bool complete_workflow(const pg_uuid_t *id, NullableDatum output, NullableDatum lease);
extern void fail_workflow(const pg_uuid_t *id, NullableDatum error, NullableDatum detail, NullableDatum lease);
extern Refusal *refuse_claim_in(const Workflow *workflow, NullableDatum lease, TimestampTz now);
extern void raise_if_inline(const Workflow *workflow, Event event);

#endif							/* DURABLE_WORKFLOW_H */
