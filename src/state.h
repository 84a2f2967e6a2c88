/*-------------------------------------------------------------------------
 *
 * state.h
 *	  The state machine (state.c, transitions.h).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_STATE_H
#define DURABLE_STATE_H

#include "durable.h"

#include "lib/stringinfo.h"

#include "transitions.h"

typedef enum TaskStatus
{
	NO_TASK,					/* there is no row */
	PENDING,
	RUNNING,
	COMPLETED,
	FAILED,
	PAUSED,
	CANCELLED
} TaskStatus;

#define STATUS_COUNT (CANCELLED + 1)

typedef enum TaskKind
{
	WORKFLOW,
	STEP,
	TRANSACTION,
	WAIT						/* runs nothing */
} TaskKind;

/* What can happen to a task (transitions.h). */
#define EVENT(event, verb) EVENT_##event,
typedef enum Event
{
	EVENTS(EVENT)
	EVENT_COUNT
} Event;
#undef EVENT

extern void append_transition(StringInfo sql, char *text);
extern bool workflow_transition(Event event, TaskStatus from, TaskStatus *to);
extern bool step_transition(Event event, TaskStatus from, TaskStatus *to);
extern const char *event_verb(Event event);
extern const char *status_label(TaskStatus status);
extern const char *kind_label(TaskKind kind);
extern TaskStatus status_from_datum(Datum status);
extern TaskKind kind_from_datum(Datum kind);
extern Datum enum_datum(Oid enumtype, const char *label);

static inline bool
is_finished(TaskStatus status)
{
	return status == COMPLETED || status == FAILED || status == CANCELLED;
}

#endif							/* DURABLE_STATE_H */
