/*-------------------------------------------------------------------------
 *
 * refusal.c
 *	  What a call may be refused for: SQLSTATE, message, detail and hint of
 *	  each condition of class WF.
 *
 * The message says what and which id, the detail the state found, the hint
 * what to do.  Bad arguments are in args.c.
 *
 *-------------------------------------------------------------------------
 */
#include "ids.h"
#include "workflow.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

static Refusal *
refusal(int sqlstate, const char *message, const char *detail, const char *hint)
{
	Refusal    *r = palloc(sizeof(Refusal));

	r->sqlstate = sqlstate;
	r->message = message;
	r->detail = detail;
	r->hint = hint;
	return r;
}

void
raise_refusal(const Refusal *r)
{
	ereport(ERROR,
			(errcode(r->sqlstate),
			 errmsg_internal("%s", r->message),
			 errdetail_internal("%s", r->detail),
			 errhint("%s", r->hint)));
}

/* A statement has written no row, and nothing that we know of explains it. */
void
raise_kept_away(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("could not write to table \"%s\"", table),
			 errdetail("No row was written, and nothing of the extension is in the way."),
			 errhint("Look for a trigger or a rule on the table that keeps rows away.")));
}

/* 'WFnnn: message', as complete_and_claim answers it */
char *
refusal_text(const Refusal *r)
{
	return psprintf("%s: %s", unpack_sql_state(r->sqlstate), r->message);
}

/* as in "argument %s %s" */
Refusal *
refuse_argument(const char *name, const char *what, const char *detail, const char *hint)
{
	return refusal(ERRCODE_INVALID_PARAMETER_VALUE, psprintf("argument \"%s\" %s", name, what), detail, hint);
}

char *
uuid_text(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

Refusal *
refuse_unknown_task(const pg_uuid_t *id)
{
	return refusal(ERRCODE_NO_SUCH_TASK,
				   psprintf("%s %s does not exist",
							id_sequence(id) < 0 ? "workflow" : "step", uuid_text(id)),
				   "There is no row with this id.",
				   "Use an id that start, start_child, claim or claim_step returned, in the same database.");
}

/* The workflow is in a status in which the event is not legal. */
Refusal *
refuse_workflow_status(const Workflow *workflow, Event event)
{
	int			sqlstate = ERRCODE_WRONG_STATUS;
	const char *hint;

	switch (workflow->status)
	{
		case PENDING:
			hint = workflow->has_queue ? "Claim it from its queue first." :
				is_inline(workflow) ? "Call start_child at its position of the parent first." :
				"Call start with its name, or attach, first.";
			break;
		case RUNNING:
			hint = "It is still running: wait for it, or use cancel_tree.";
			break;
		case PAUSED:
			if (event == EVENT_COMPLETE || event == EVENT_CONTINUE || event == EVENT_FAIL)
				sqlstate = ERRCODE_WORKFLOW_PAUSED;
			hint = "Call resume_tree first.";
			break;
		case CANCELLED:
			if (event != EVENT_SET_TIMEOUT)
				sqlstate = ERRCODE_TASK_CANCELLED;
			hint = "A cancelled workflow stays cancelled: stop driving it, or start a new run.";
			break;
		case FAILED:
			hint = "Call resume_failed to run it again.";
			break;
		default:
			hint = "It is finished: start a new run.";
			break;
	}
	return refusal(sqlstate,
				   psprintf("cannot %s workflow %s \"%s\"",
							event_verb(event), uuid_text(&workflow->id), workflow->name),
				   psprintf("The workflow is %s.", status_label(workflow->status)),
				   hint);
}

static char *
step_found(const Step *step)
{
	return psprintf("The step, at position %d of workflow %s, is %s, attempt %d.", step->sequence,
					uuid_text(&step->workflow_id), status_label(step->status), step->attempt);
}

/* The step is in a status in which the event is not legal. */
Refusal *
refuse_step_status(const Step *step, Event event)
{
	int			sqlstate = ERRCODE_WRONG_STATUS;
	const char *hint;

	switch (step->status)
	{
		case PENDING:
			hint = step->kind == WAIT ? "Answer it, or ask for it with the function that began it." :
				"Claim it first with claim_step.";
			break;
		case PAUSED:
			hint = "Call resume_tree of its workflow, then claim it again.";
			break;
		case CANCELLED:
			if (event != EVENT_SET_TIMEOUT)
				sqlstate = ERRCODE_TASK_CANCELLED;
			hint = "Its workflow was cancelled: stop driving it.";
			break;
		case FAILED:
			hint = "Its failure is recorded: replay it, or call resume_failed of its workflow to run it again.";
			break;
		default:
			hint = "Its outcome is recorded: replay it with claim_step.";
			break;
	}
	return refusal(sqlstate,
				   psprintf("cannot %s step %s \"%s\"", event_verb(event), uuid_text(&step->id), step->name),
				   step_found(step),
				   hint);
}

/* A task has been completed, and is to be completed with another output. */
Refusal *
refuse_other_output(const char *what, const pg_uuid_t *id, const char *name)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot complete %s %s \"%s\" again with another output", what, uuid_text(id), name),
				   psprintf("The %s is COMPLETED with a different output.", what),
				   "Use the recorded output; an outcome is never changed.");
}

/* A workflow goes on in a next run, and is to do so with another input. */
Refusal *
refuse_other_input(const Workflow *workflow, const pg_uuid_t *next_id)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot continue workflow %s \"%s\" again with another input",
							uuid_text(&workflow->id), workflow->name),
				   psprintf("It goes on as workflow %s, with a different input.", uuid_text(next_id)),
				   "Drive that run with the input that it has.");
}

/* The conditions of a workflow under which nothing in it can be claimed. */
Refusal *
refuse_not_claimable(const Workflow *workflow)
{
	Refusal    *r = refuse_workflow_status(workflow, EVENT_CLAIM);

	if (workflow->status == PAUSED)
		r->sqlstate = ERRCODE_WORKFLOW_PAUSED;
	r->message = psprintf("workflow %s \"%s\" is %s", uuid_text(&workflow->id), workflow->name,
						  workflow->status == PAUSED ? "paused" :
						  workflow->status == CANCELLED ? "cancelled" : "not running");
	return r;
}

Refusal *
refuse_finished(const Workflow *workflow)
{
	return refusal(ERRCODE_WORKFLOW_FINISHED,
				   psprintf("workflow %s \"%s\" has already finished",
							uuid_text(&workflow->id), workflow->name),
				   psprintf("The workflow is %s and takes no new step.", status_label(workflow->status)),
				   workflow->status == FAILED ? "Call resume_failed to run it again." :
				   "Take its output, or start a new run.");
}

/* A position that is new lies beyond the most that a workflow may have. */
Refusal *
refuse_too_many_steps(const Workflow *workflow, int32 sequence, int32 most)
{
	return refusal(ERRCODE_TOO_MANY_STEPS,
				   psprintf("workflow %s \"%s\" has too many steps", uuid_text(&workflow->id), workflow->name),
				   psprintf("Position %d would be new, and durable.max_steps is %d.", sequence, most),
				   "Go on in a new run with continue_as, or raise durable.max_steps.");
}

/* An inline child is asked to change hands, or to run again, without what drives it. */
Refusal *
refuse_inline(const Workflow *workflow, Event event, const pg_uuid_t *driven)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot %s workflow %s \"%s\" by itself",
							event_verb(event), uuid_text(&workflow->id), workflow->name),
				   psprintf("It is an inline child, driven by whoever drives its parent, and %s.",
							status_label(workflow->status)),
				   psprintf("Use workflow %s, its nearest ancestor that is not inline.", uuid_text(driven)));
}

/* An ancestor is PAUSED or CANCELLED. */
Refusal *
refuse_below(const Workflow *workflow, Event event, const pg_uuid_t *ancestor, TaskStatus status)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot %s workflow %s \"%s\" below one that is %s", event_verb(event),
							uuid_text(&workflow->id), workflow->name, status_label(status)),
				   psprintf("The workflow is %s, its ancestor %s is %s.",
							status_label(workflow->status), uuid_text(ancestor), status_label(status)),
				   status == PAUSED ? psprintf("Call resume_tree('%s') first.", uuid_text(ancestor)) :
				   "A cancelled tree stays cancelled: start a new run.");
}

/* Another run of the name is active; NULL if it is not known which. */
Refusal *
refuse_other_run(const Workflow *workflow, const Workflow *other)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot run workflow %s \"%s\" again while another run of that name is active",
							uuid_text(&workflow->id), workflow->name),
				   other ?
				   psprintf("Workflow %s of that name is %s.", uuid_text(&other->id), status_label(other->status)) :
				   "A run of that name was started at the same time.",
				   "Wait for that run, or cancel it with cancel_tree.");
}

Refusal *
refuse_deadline(const Workflow *workflow)
{
	return refusal(ERRCODE_DEADLINE_EXCEEDED,
				   psprintf("workflow %s \"%s\" is past its deadline",
							uuid_text(&workflow->id), workflow->name),
				   psprintf("The deadline was %s.",
							timestamptz_to_str(DatumGetTimestampTz(workflow->deadline.value))),
				   is_inline(workflow) ? "Fail it, or re-arm it with set_timeout." :
				   "Fail it, re-arm it with set_timeout, or leave it to recover.");
}

Refusal *
refuse_lease(const Workflow *workflow, int32 given)
{
	return refusal(ERRCODE_LEASE_LOST,
				   psprintf("lease %d of workflow %s \"%s\" is not yours any more",
							given, uuid_text(&workflow->id), workflow->name),
				   workflow->executor_id.isnull ?
				   psprintf("The workflow is at lease %d.", workflow->lease) :
				   psprintf("The workflow is at lease %d, driven by \"%s\".", workflow->lease,
							TextDatumGetCString(workflow->executor_id.value)),
				   "Stop driving this workflow: somebody else has taken it over.");
}

Refusal *
refuse_other_owner(const Workflow *workflow, const char *given)
{
	return refusal(ERRCODE_LEASE_LOST,
				   psprintf("workflow %s \"%s\" is not driven by \"%s\"", uuid_text(&workflow->id), workflow->name, given),
				   workflow->executor_id.isnull ? "It has no owner." :
				   psprintf("It is driven by \"%s\".", TextDatumGetCString(workflow->executor_id.value)),
				   "Only its owner may suspend a workflow.");
}

Refusal *
refuse_attempt(const Step *step, int32 given)
{
	return refusal(ERRCODE_LEASE_LOST,
				   psprintf("attempt %d of step %s \"%s\" is not yours any more",
							given, uuid_text(&step->id), step->name),
				   step_found(step),
				   "Drop this attempt's outcome: the step was claimed again.");
}

Refusal *
refuse_other_step(const Step *step, const char *name, TaskKind kind)
{
	return refusal(ERRCODE_OTHER_STEP,
				   psprintf("step %s is not %s \"%s\"", uuid_text(&step->id), kind_label(kind), name),
				   psprintf("Recorded at position %d of workflow %s is %s \"%s\".", step->sequence,
							uuid_text(&step->workflow_id), kind_label(step->kind), step->name),
				   "The program has changed since this workflow started: run it with the program that recorded its steps.");
}

/* Recorded is no wait of that name and sort. */
Refusal *
refuse_other_wait(const Step *step, const char *name, const char *sort)
{
	Refusal    *r = refuse_other_step(step, name, WAIT);

	r->message = psprintf("step %s is not WAIT \"%s\" of sort %s", uuid_text(&step->id), name, sort);
	if (step->kind == WAIT)
		r->detail = psprintf("Recorded at position %d of workflow %s is WAIT \"%s\" of sort %s.", step->sequence,
							 uuid_text(&step->workflow_id), step->name, step->wait);
	return r;
}

/* The outcome of a wait whose time has passed: in one style, whatever that of the session is. */
Refusal *
refuse_timed_out(const Step *wait)
{
	char		span[MAXDATELEN + 1];
	struct pg_itm itm;

	interval2itm(*DatumGetIntervalP(wait->timeout.value), &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, span);
	return refusal(ERRCODE_WAIT_TIMED_OUT,
				   psprintf("wait \"%s\" (%s) has timed out after %s", wait->name, wait->wait, span),
				   NULL, NULL);
}

/* By what a program is told that its end was requested. */
Refusal *
refuse_by_request(NullableDatum reason)
{
	return refusal(ERRCODE_CANCEL_REQUESTED,
				   reason.isnull ? "cancel requested" :
				   psprintf("cancel requested: %s", TextDatumGetCString(reason.value)),
				   NULL, NULL);
}

/* The time of a wait has passed, whether somebody has asked for it or not. */
Refusal *
refuse_late_answer(const Step *wait)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot answer wait %s \"%s\" any more", uuid_text(&wait->id), wait->name),
				   psprintf("It has ended by itself at %s.",
							timestamptz_to_str(DatumGetTimestampTz(wait->run_at.value))),
				   "What counts is when the answer is given: it was too late.");
}

Refusal *
refuse_too_many_signals(const Workflow *workflow)
{
	return refusal(ERRCODE_TOO_MANY_SIGNALS,
				   psprintf("workflow %s \"%s\" has too many signals that it has not taken",
							uuid_text(&workflow->id), workflow->name),
				   "They are about 10,000, the most that are kept.",
				   "Find out why it takes none, or send fewer.");
}

Refusal *
refuse_no_active_root(const char *name)
{
	return refusal(ERRCODE_NO_SUCH_TASK,
				   psprintf("no root workflow \"%s\" is active", name),
				   "There is none of that name, or it is finished.",
				   "Start it first, or send to the id of a workflow.");
}

/* A workflow of that name is active. */
Refusal *
refuse_active_root(const Workflow *active)
{
	return refusal(ERRCODE_ACTIVE_ROOT,
				   psprintf("root workflow %s \"%s\" is active", uuid_text(&active->id), active->name),
				   psprintf("The workflow is %s.", status_label(active->status)),
				   "Wait for it, cancel it with cancel_tree, or give another name.");
}

/* A step has no outcome that a fork could have. */
Refusal *
refuse_copy(const Step *step)
{
	Refusal    *r = refuse_step_status(step, EVENT_FORK);

	r->sqlstate = ERRCODE_WRONG_STATUS;
	r->hint = step->status == CANCELLED ?
		psprintf("Fork from position %d or before.", step->sequence) :
		psprintf("Fork from position %d or before, or wait until the step is COMPLETED or FAILED.", step->sequence);
	return r;
}

Refusal *
refuse_recovery_limit(const Workflow *workflow)
{
	return refusal(ERRCODE_RECOVERY_LIMIT,
				   psprintf("workflow %s \"%s\" has reached its limit of recovery attempts",
							uuid_text(&workflow->id), workflow->name),
				   psprintf("recovery_count is %d, max_recovery_attempts is %d.",
							workflow->recovery_count, workflow->max_recovery_attempts),
				   "Find out why it keeps failing, then start a new run.");
}

Refusal *
refuse_unknown_queue(const char *name)
{
	return refusal(ERRCODE_NO_SUCH_QUEUE,
				   psprintf("queue \"%s\" does not exist", name),
				   "There is no row with this name in durable.queue.",
				   "Create it with create_queue.");
}

Refusal *
refuse_queue_in_use(const char *name, const pg_uuid_t *workflow_id)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot drop queue \"%s\", which has unfinished workflows", name),
				   psprintf("Workflow %s is one of them.", uuid_text(workflow_id)),
				   "Let them finish, or cancel them with cancel_tree.");
}

Refusal *
refuse_queue_of_schedule(const char *name, const char *schedule)
{
	return refusal(ERRCODE_WRONG_STATUS,
				   psprintf("cannot drop queue \"%s\", in which schedules start workflows", name),
				   psprintf("Schedule \"%s\" is one of them.", schedule),
				   "Drop them with drop_schedule, or give them another queue with alter_schedule.");
}

Refusal *
refuse_unknown_schedule(const char *name)
{
	return refusal(ERRCODE_NO_SUCH_QUEUE,
				   psprintf("schedule \"%s\" does not exist", name),
				   "There is no row with this name in durable.schedule.",
				   "Create it with create_schedule.");
}

/* Another session has bound the executor. */
Refusal *
refuse_bound(const char *executor_id)
{
	return refusal(ERRCODE_LEASE_LOST,
				   psprintf("executor \"%s\" is bound to another session", executor_id),
				   "Another session has bound it since this one did.",
				   "Stop driving its workflows: they are recovered. One executor id names one process.");
}

/* The bucket of a task, or of a root's name, is not in this database. */
Refusal *
refuse_bucket(int32 bucket, const char *of, const char *here)
{
	return refusal(ERRCODE_OTHER_DATABASE,
				   psprintf("bucket %d, of %s, is not in this database", bucket, of),
				   psprintf("The buckets here are %s.", here),
				   "Send the call to the database that has the bucket; read again which one that is, if buckets have moved.");
}
