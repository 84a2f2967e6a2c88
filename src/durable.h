/*-------------------------------------------------------------------------
 *
 * durable.h
 *	  The words, the state machine, and what every file of durable shares.
 *
 * Words (the same in SQL, C and the documentation):
 *
 *	workflow	a unit of work that one executor drives to its end
 *	step		one numbered position of a workflow, with its outcome
 *	child		a workflow that stands at a position of its parent; the step row
 *				at that position (kind WORKFLOW) is called its stand-in
 *	inline		a child without a queue: whoever drives the parent drives it
 *	task		a workflow or a step
 *	wait		a step that nobody runs: it ends by what happens
 *	suspend		to give the executor free until something happens
 *	signal		what anybody sends to a workflow, for a wait to take
 *	executor	a process that drives workflows and sends heartbeats
 *	lease		a number per workflow, plus one each time it changes hands
 *	claim		to become the one that runs a step, or drives a workflow
 *	cascade		a change of a workflow and of those below it
 *	fork		a new root with copies of what another workflow has recorded
 *
 * Locks, in the one order in which they are taken (lock.c has the functions):
 *
 *	1. the table of buckets	by each call; exclusive for set_buckets (buckets_set.c); then
 *		executor rows		where one is registered, refreshed or forgotten; then the
 *							rows of schedules (schedule.c)
 *	2. the queue's lock		heavyweight; what may start in a queue, and its limits
 *	3. the tree's lock		heavyweight, by root; shared by each call that writes
 *							steps or ends or starts workflows in the tree,
 *							exclusive for a cascade that others must not overlap
 *							(beyond some number of them: one lock for all)
 *	4. a workflow's children	heavyweight; shared by those who start one,
 *							exclusive for who completes the workflow; then the ends
 *							of workflows and the signals to them, for who suspends
 *							what waits for these; who brings them does not wait
 *							(lock.c)
 *	5. workflow rows		parents before their children, in the order of ids
 *	6. step rows			after the workflow rows, stand-ins last; with that of a
 *							wait its row in open_wait, and that of the signal it
 *							takes, which nobody waits for
 *	7. a workflow's events	heavyweight; who emits one (event.c)
 *	8. fences				heavyweight, at the commit only (fence.c)
 *
 * The heads of queues are kept true without any lock (head.c).  For the lock that a
 * session has of an executor that is bound to it, nobody waits (bind.c).
 *
 * The heavyweight locks write nothing, are held to the end of the transaction,
 * and are granted in the order of arrival, so that a cascade waits for those
 * that were there before it and never for later ones.  A row lock would have
 * cost each claim a WAL record and a dirty page, and a stream of claims that
 * share a row can keep a cascade waiting for ever.  claim, recover and
 * purge, which lock many workflows, do not wait for any of them.
 *
 * A call first looks (one SELECT without locks: a replay ends there and has
 * written nothing), decides in C, then acts: one statement whose WHERE repeats
 * what the decision rests on.  If that finds nothing to change, something
 * overtook us: look again.  The statements that every workflow and step runs
 * have fast paths beside them, which do the same without the server's executor
 * (table.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_H
#define DURABLE_H

#include "postgres.h"
#include "compat.h"

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/uuid.h"

/* ---- values that may be NULL ---------------------------------------------- */

static inline NullableDatum
a_value(Datum value)
{
	NullableDatum d = {.value = value, .isnull = false};

	return d;
}

static inline NullableDatum
a_null(void)
{
	NullableDatum d = {.value = (Datum) 0, .isnull = true};

	return d;
}

/* Whether the schema fits the library (version.c). */
extern void require_schema_version(void);

#endif							/* DURABLE_H */
