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

/* What the caller of claim or recover asks for, of workflows w: a NULL asks for anything. */
#define WANTED \
	"(:handlers IS NULL OR w.handler = ANY (:handlers)) " \
	"AND (:app_version IS NULL OR w.app_version IS NULL OR w.app_version = :app_version)"
/*
 * The times of a workflow w that somebody drives from :now on, if it begins anew.  One
 * that was suspended keeps them, and it is due again at once if it is released.
 */
#define TAKEN_UP(begins) \
	"started_at = CASE WHEN w.suspended_at IS NULL AND (" begins ") THEN :now ELSE w.started_at END, " \
	"deadline = CASE WHEN w.suspended_at IS NULL AND (" begins ") THEN :now + w.timeout ELSE w.deadline END, " \
	"run_at = CASE WHEN w.suspended_at IS NULL THEN w.run_at ELSE least(w.run_at, :now) END, " \
	"suspended_at = NULL "

#endif							/* DURABLE_SQL_H */
