/*-------------------------------------------------------------------------
 *
 * namesake.h
 *	  What start finds under its name, but for what it attaches to (namesake.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_NAMESAKE_H
#define DURABLE_NAMESAKE_H

#include "workflow.h"

/* A root that is replaced, by what. */
typedef struct Replacing
{
	pg_uuid_t	id;
	TaskStatus	status;			/* as it was looked at */
	const NewRoot *values;
} Replacing;

extern bool look_finished_root(NullableDatum name, Workflow *finished);
extern void look_finished_roots(Datum names);
extern bool is_answer(const Workflow *finished, IfFinished if_finished);
extern bool never_ran(const Workflow *workflow);
extern bool replace_roots(const Replacing *replacings, int count, const StartArgs *args);

#endif							/* DURABLE_NAMESAKE_H */
