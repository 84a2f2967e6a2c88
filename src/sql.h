/*-------------------------------------------------------------------------
 *
 * sql.h
 *	  SQL that statements of several files share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SQL_H
#define DURABLE_SQL_H

/* in the words of the partial index workflow_active_root */
#define UNFINISHED(t) \
	t ".status = ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[])"

/*
 * A condition on a row that is found by its id.  CASE hides it from the choice
 * of indexes: while the table is small, or was when the plan was made, the
 * planner would as soon read all rows of that status as the one of that id.
 */
#define CHECKED(condition) "(CASE WHEN " condition " THEN true ELSE false END)"

/* in workflow w a step can be claimed at that time */
#define OPEN_AT(now) \
	CHECKED("w.status = 'RUNNING' AND (w.deadline IS NULL OR w.deadline > " now ")")

#endif							/* DURABLE_SQL_H */
