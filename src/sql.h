/*-------------------------------------------------------------------------
 *
 * sql.h
 *	  Conditions that statements of several files share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SQL_H
#define DURABLE_SQL_H

#define UNFINISHED(t) \
	t ".status = ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[])"

/* Not an inline child: a workflow that has an executor of its own. */
#define UNIT(t) "(" t ".parent_id IS NULL OR " t ".queue_name IS NOT NULL)"

/* A child that is not left alone when its parent ends: inline, or to be cancelled then. */
#define ENDS_WITH_PARENT(t) "(" t ".queue_name IS NULL OR " t ".on_parent_end = 'cancel')"

/*
 * A condition on a row that is found by its id.  CASE hides it from the choice
 * of indexes: while the table is small, or was when the plan was made, the
 * planner would as soon read all rows of that status as the one of that id.
 */
#define CHECKED(condition) "(CASE WHEN " condition " THEN true ELSE false END)"

/* Executor e was silent for too long, or its session has ended. */
#define IS_DEAD(e, stale_before) \
	"(durable.is_dead(" e ".last_seen, " stale_before ") OR " SESSION_ENDED(e) ")"
#define SESSION_ENDED(e) "durable.session_ended(" e ".executor_id, " e ".bound_run, " e ".bound)"

/* In workflow w a step can be claimed, or a child started, at that time. */
#define OPEN_AT(now) \
	CHECKED("w.status = 'RUNNING' AND (w.deadline IS NULL OR w.deadline > " now ")")

/* The same for a new position: a program that is to end is told so by the first one (cancel_tell.c). */
#define OPEN_TO_NEW_AT(now) \
	CHECKED("w.status = 'RUNNING' AND (w.deadline IS NULL OR w.deadline > " now ") AND w.cancel_untold IS NULL")

/* What the caller of claim or recover asks for, of workflows w: a NULL asks for anything. */
#define WANTED \
	"(:handlers IS NULL OR w.handler = ANY (:handlers)) " \
	"AND (:app_version IS NULL OR w.app_version IS NULL OR w.app_version = :app_version)"

/* The rank of the lane of workflow w (rank_of). */
#define RANK "2 * w.priority::bigint + CASE WHEN w.suspended_at IS NULL THEN 0 ELSE 1 END"

/*
 * The times of a workflow w that somebody drives from :now on, if it begins anew.  One
 * that was suspended keeps them, and it is due again at once if it is released.  So
 * run_at is not after its start, unless it was taken up behind its deadline (IS_LATE).
 */
#define TAKEN_UP(begins) \
	"started_at = CASE WHEN w.suspended_at IS NULL AND (" begins ") THEN :now ELSE w.started_at END, " \
	"deadline = CASE WHEN w.suspended_at IS NULL AND (" begins ") THEN :now + w.timeout ELSE w.deadline END, " \
	"run_at = CASE WHEN w.suspended_at IS NULL THEN CASE WHEN w.run_at > :now THEN :now ELSE w.run_at END" \
	"  WHEN w.deadline <= :now THEN :now ELSE w.started_at END, " \
	"suspended_at = NULL "

/*
 * Workflow w runs, and is to be taken from its driver for its deadline.  One that was
 * suspended, and taken up behind it, is left to the driver.
 */
#define IS_LATE(now) \
	CHECKED("w.status = 'RUNNING' AND w.deadline <= " now " AND (w.run_at > w.deadline) IS NOT TRUE")


/* A workflow that was asked to end, and has failed, is to run again. */
#define NOT_ASKED \
	"cancel_requested_at = NULL, cancel_reason = NULL, cancel_at = NULL, cancel_untold = NULL "

#endif							/* DURABLE_SQL_H */
