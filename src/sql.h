/*-------------------------------------------------------------------------
 *
 * sql.h
 *	  What statements of several files are made of.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SQL_H
#define DURABLE_SQL_H

/*
 * A condition on a row that is found by its id.  CASE hides it from the choice
 * of indexes: while the table is small, or was when the plan was made, the
 * planner would as soon read all rows of that status as the one of that id.
 */
#define CHECKED(condition) "(CASE WHEN " condition " THEN true ELSE false END)"

/* in the words of the partial index workflow_active_root */
#define UNFINISHED(t) \
	t ".status = ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[])"

/* not an inline child: has an executor of its own */
#define UNIT(t) "(" t ".parent_id IS NULL OR " t ".queue_name IS NOT NULL)"

/* in which a step can be claimed, or a child started, at that time */
#define OPEN_AT(now) \
	CHECKED("w.status = 'RUNNING' AND (w.deadline IS NULL OR w.deadline > " now ")")

/* read by task.c, in this order */
#define WORKFLOW_COLUMNS \
	"w.id, w.root_id, w.parent_id, w.status, w.lease, w.recovery_count, w.max_recovery_attempts, " \
	"w.name, w.queue_name, w.handler, w.executor_id, w.input, w.output, w.error, w.deadline, " \
	"w.paused_by, w.paused_at"

#endif							/* DURABLE_SQL_H */
