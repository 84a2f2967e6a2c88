/*-------------------------------------------------------------------------
 *
 * transitions.h
 *	  The state machine: every event, and every legal transition.
 *
 * The one place that says so.  state.c makes the tables of C from it, and the
 * conditions and new values of the statements ({workflow from CANCEL}, {workflow
 * to CANCEL}; plan.c).  What is not listed is refused (refusal.c says how) and
 * changes nothing.  A stand-in is no task of its own: it follows its child.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_TRANSITIONS_H
#define DURABLE_TRANSITIONS_H

/* Each event, and its verb as in "cannot %s workflow ...". */
#define EVENTS(EVENT) \
	EVENT(CLAIM, "claim")					/* claim_step of a step, claim of a workflow */ \
	EVENT(TAKE, "take over")				/* start by name, attach as owner, recover */ \
	EVENT(START_AGAIN, "start")				/* start_child of an existing child */ \
	EVENT(COMPLETE, "complete") \
	EVENT(CONTINUE, "continue")				/* in a new run */ \
	EVENT(FAIL, "fail") \
	EVENT(FAIL_BELOW, "fail")				/* with its parent, of an inline child */ \
	EVENT(RETRY, "fail")					/* a failure with retries left */ \
	EVENT(RERUN_BELOW, "resume")			/* of what has failed, or is inline, with what is above it */ \
	EVENT(WAIT, "wait in")					/* a wait begins */ \
	EVENT(END_WAIT, "answer")				/* what it waited for has come */ \
	EVENT(FAIL_WAIT, "answer")				/* its time has passed, or an error has come */ \
	EVENT(PATCH, "patch")					/* the marker of a patch, which is never run */ \
	EVENT(FORK, "copy")						/* a step, into a new run */ \
	EVENT(SIGNAL, "signal") \
	EVENT(RELEASE, "release") \
	EVENT(SUSPEND, "suspend") \
	EVENT(PAUSE, "pause") \
	EVENT(RESUME, "resume") \
	EVENT(CANCEL, "cancel") \
	EVENT(REQUEST_CANCEL, "request the end of")	/* what never ran is cancelled instead */ \
	EVENT(TELL, "fail")						/* the program is told by it that its end was requested */ \
	EVENT(RESUME_FAILED, "resume") \
	EVENT(SET_TIMEOUT, "set the timeout of")

/*
 * PAUSED goes back to what it was before, PENDING or RUNNING: paused_from
 * tells, the table shows RUNNING.  FAILED goes to PENDING where there is a
 * queue, and below the workflow that is resumed.
 */
#define WORKFLOW_TRANSITIONS(ROW) \
	ROW(CLAIM, PENDING, RUNNING) \
	ROW(TAKE, PENDING, RUNNING) \
	ROW(TAKE, RUNNING, RUNNING) \
	ROW(START_AGAIN, PENDING, RUNNING) \
	ROW(COMPLETE, RUNNING, COMPLETED) \
	ROW(CONTINUE, RUNNING, COMPLETED) \
	ROW(FAIL, RUNNING, FAILED) \
	ROW(FAIL_BELOW, PENDING, FAILED) \
	ROW(FAIL_BELOW, RUNNING, FAILED) \
	ROW(FAIL_BELOW, PAUSED, FAILED) \
	ROW(RETRY, RUNNING, PENDING) \
	ROW(RERUN_BELOW, PENDING, PENDING) \
	ROW(RERUN_BELOW, RUNNING, PENDING) \
	ROW(RERUN_BELOW, PAUSED, PENDING) \
	ROW(RERUN_BELOW, FAILED, PENDING) \
	ROW(SIGNAL, PENDING, PENDING) \
	ROW(SIGNAL, RUNNING, RUNNING) \
	ROW(SIGNAL, PAUSED, PAUSED) \
	ROW(RELEASE, RUNNING, PENDING) \
	ROW(RELEASE, PAUSED, PAUSED) \
	ROW(SUSPEND, RUNNING, PENDING) \
	ROW(PAUSE, PENDING, PAUSED) \
	ROW(PAUSE, RUNNING, PAUSED) \
	ROW(RESUME, PAUSED, RUNNING) \
	ROW(CANCEL, PENDING, CANCELLED) \
	ROW(CANCEL, RUNNING, CANCELLED) \
	ROW(CANCEL, PAUSED, CANCELLED) \
	ROW(REQUEST_CANCEL, PENDING, PENDING) \
	ROW(REQUEST_CANCEL, RUNNING, RUNNING) \
	ROW(REQUEST_CANCEL, PAUSED, PAUSED) \
	ROW(TELL, PENDING, PENDING) \
	ROW(TELL, RUNNING, RUNNING) \
	ROW(TELL, PAUSED, PAUSED) \
	ROW(RESUME_FAILED, FAILED, RUNNING) \
	ROW(SET_TIMEOUT, PENDING, PENDING) \
	ROW(SET_TIMEOUT, RUNNING, RUNNING) \
	ROW(SET_TIMEOUT, PAUSED, PAUSED)

/* From NO_TASK: the step is created.  END_WAIT and FAIL_WAIT are of the kind WAIT only, which never runs. */
#define STEP_TRANSITIONS(ROW) \
	ROW(CLAIM, NO_TASK, RUNNING) \
	ROW(CLAIM, PENDING, RUNNING) \
	ROW(CLAIM, RUNNING, RUNNING) \
	ROW(COMPLETE, RUNNING, COMPLETED) \
	ROW(FAIL, RUNNING, FAILED) \
	ROW(RETRY, RUNNING, PENDING) \
	ROW(WAIT, NO_TASK, PENDING) \
	ROW(END_WAIT, PENDING, COMPLETED) \
	ROW(END_WAIT, PAUSED, COMPLETED) \
	ROW(FAIL_WAIT, PENDING, FAILED) \
	ROW(FAIL_WAIT, PAUSED, FAILED) \
	ROW(PATCH, NO_TASK, COMPLETED) \
	ROW(FORK, COMPLETED, COMPLETED) \
	ROW(FORK, FAILED, FAILED) \
	ROW(PAUSE, PENDING, PAUSED) \
	ROW(RESUME, PAUSED, PENDING) \
	ROW(CANCEL, PENDING, CANCELLED) \
	ROW(CANCEL, RUNNING, CANCELLED) \
	ROW(CANCEL, PAUSED, CANCELLED) \
	ROW(TELL, NO_TASK, FAILED) \
	ROW(TELL, PENDING, FAILED) \
	ROW(TELL, PAUSED, FAILED) \
	ROW(RESUME_FAILED, RUNNING, PENDING) \
	ROW(RESUME_FAILED, FAILED, PENDING) \
	ROW(SET_TIMEOUT, PENDING, PENDING) \
	ROW(SET_TIMEOUT, RUNNING, RUNNING) \
	ROW(SET_TIMEOUT, PAUSED, PAUSED)

#endif							/* DURABLE_TRANSITIONS_H */
