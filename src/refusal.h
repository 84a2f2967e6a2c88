/*-------------------------------------------------------------------------
 *
 * refusal.h
 *	  What a call may be refused for (refusal.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_REFUSAL_H
#define DURABLE_REFUSAL_H

#include "state.h"

#define ERRCODE_NO_SUCH_TASK		MAKE_SQLSTATE('W', 'F', '0', '0', '1')
#define ERRCODE_WRONG_STATUS		MAKE_SQLSTATE('W', 'F', '0', '0', '2')
#define ERRCODE_WORKFLOW_PAUSED		MAKE_SQLSTATE('W', 'F', '0', '0', '4')
#define ERRCODE_TASK_CANCELLED		MAKE_SQLSTATE('W', 'F', '0', '0', '5')
#define ERRCODE_DEADLINE_EXCEEDED	MAKE_SQLSTATE('W', 'F', '0', '0', '6')
#define ERRCODE_OTHER_STEP			MAKE_SQLSTATE('W', 'F', '0', '0', '7')
#define ERRCODE_LEASE_LOST			MAKE_SQLSTATE('W', 'F', '0', '0', '8')
#define ERRCODE_RECOVERY_LIMIT		MAKE_SQLSTATE('W', 'F', '0', '0', '9')
#define ERRCODE_TOO_MANY_SIGNALS	MAKE_SQLSTATE('W', 'F', '0', '1', '0')
#define ERRCODE_WORKFLOW_FINISHED	MAKE_SQLSTATE('W', 'F', '0', '1', '1')
#define ERRCODE_NO_SUCH_QUEUE		MAKE_SQLSTATE('W', 'F', '0', '1', '2')	/* or schedule */
#define ERRCODE_WAIT_TIMED_OUT		MAKE_SQLSTATE('W', 'F', '0', '1', '3')
#define ERRCODE_ACTIVE_ROOT			MAKE_SQLSTATE('W', 'F', '0', '1', '4')
#define ERRCODE_TOO_MANY_STEPS		MAKE_SQLSTATE('W', 'F', '0', '1', '5')
#define ERRCODE_OTHER_DATABASE		MAKE_SQLSTATE('W', 'F', '0', '1', '6')
#define ERRCODE_CANCEL_REQUESTED	MAKE_SQLSTATE('W', 'F', '0', '1', '7')	/* in an outcome only */

/*
 * Why a call is refused.  It is built first and raised later (raise_refusal),
 * because complete_and_claim and complete_many answer it instead.
 */
typedef struct Refusal
{
	int			sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
} Refusal;

struct Workflow;
struct Step;

pg_noreturn extern void raise_refusal(const Refusal *refusal);
pg_noreturn extern void raise_kept_away(const char *table);
extern char *refusal_text(const Refusal *refusal);

extern Refusal *refuse_argument(const char *name, const char *what, const char *detail, const char *hint);
extern Refusal *refuse_unknown_task(const pg_uuid_t *id);
extern Refusal *refuse_workflow_status(const struct Workflow *workflow, Event event);
extern Refusal *refuse_step_status(const struct Step *step, Event event);
extern Refusal *refuse_other_output(const char *what, const pg_uuid_t *id, const char *name);
extern Refusal *refuse_other_input(const struct Workflow *workflow, const pg_uuid_t *next_id);
extern Refusal *refuse_not_claimable(const struct Workflow *workflow);
extern Refusal *refuse_finished(const struct Workflow *workflow);
extern Refusal *refuse_too_many_steps(const struct Workflow *workflow, int32 sequence, int32 most);
extern Refusal *refuse_deadline(const struct Workflow *workflow);
extern Refusal *refuse_lease(const struct Workflow *workflow, int32 given);
extern Refusal *refuse_other_owner(const struct Workflow *workflow, const char *given);
extern Refusal *refuse_attempt(const struct Step *step, int32 given);
extern Refusal *refuse_other_step(const struct Step *step, const char *name, TaskKind kind);
extern Refusal *refuse_other_wait(const struct Step *step, const char *name, const char *sort);
extern Refusal *refuse_timed_out(const struct Step *wait);
extern Refusal *refuse_by_request(NullableDatum reason);
extern Refusal *refuse_late_answer(const struct Step *wait);
extern Refusal *refuse_too_many_signals(const struct Workflow *workflow);
extern Refusal *refuse_no_active_root(const char *name);
extern Refusal *refuse_active_root(const struct Workflow *active);
extern Refusal *refuse_copy(const struct Step *step);
extern Refusal *refuse_recovery_limit(const struct Workflow *workflow);
extern Refusal *refuse_inline(const struct Workflow *workflow, Event event, const pg_uuid_t *driven);
extern Refusal *refuse_below(const struct Workflow *workflow, Event event, const pg_uuid_t *ancestor,
							 TaskStatus status);
extern Refusal *refuse_other_run(const struct Workflow *workflow, const struct Workflow *other);
extern Refusal *refuse_unknown_queue(const char *name);
extern Refusal *refuse_queue_in_use(const char *name, const pg_uuid_t *workflow_id);
extern Refusal *refuse_queue_of_schedule(const char *name, const char *schedule);
extern Refusal *refuse_unknown_schedule(const char *name);
extern Refusal *refuse_bound(const char *executor_id);
extern Refusal *refuse_bucket(int32 bucket, const char *of, const char *here);
extern char *uuid_text(const pg_uuid_t *id);

#endif							/* DURABLE_REFUSAL_H */
