/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The state machine: every legal transition, in one place.
 *
 * A function asks here before it changes the task that it was given.  What is
 * not listed is refused (errors.c says how).  The statements that change many
 * tasks at once (acting.c: cascades, claim, recover, release) choose by a row's
 * sources.  A stand-in is no task of its own: it follows its child.
 *
 *-------------------------------------------------------------------------
 */
#include "durable.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#define no NO_TASK				/* refused */

/*
 * PAUSED goes back to what it was before, PENDING or RUNNING: paused_from
 * tells, the table shows RUNNING.  FAILED goes to PENDING where there is a
 * queue, and below the workflow that is resumed.
 */
static const TaskStatus workflow_next[EVENT_COUNT][STATUS_COUNT] = {
	/* from:                 -   PENDING    RUNNING    COMPLETED  FAILED   PAUSED     CANCELLED */
	[EVENT_CLAIM] =         {no, RUNNING,   no,        no,        no,      no,        no},
	[EVENT_TAKE] =          {no, RUNNING,   RUNNING,   no,        no,      no,        no},
	[EVENT_START_AGAIN] =   {no, RUNNING,   no,        no,        no,      no,        no},
	[EVENT_COMPLETE] =      {no, no,        COMPLETED, no,        no,      no,        no},
	[EVENT_FAIL] =          {no, no,        FAILED,    no,        no,      no,        no},
	[EVENT_FAIL_BELOW] =    {no, FAILED,    FAILED,    no,        no,      FAILED,    no},
	[EVENT_RELEASE] =       {no, no,        PENDING,   no,        no,      PAUSED,    no},
	[EVENT_PAUSE] =         {no, PAUSED,    PAUSED,    no,        no,      no,        no},
	[EVENT_RESUME] =        {no, no,        no,        no,        no,      RUNNING,   no},
	[EVENT_CANCEL] =        {no, CANCELLED, CANCELLED, no,        no,      CANCELLED, no},
	[EVENT_RESUME_FAILED] = {no, no,        no,        no,        RUNNING, no,        no},
	[EVENT_SET_TIMEOUT] =   {no, PENDING,   RUNNING,   no,        no,      PAUSED,    no},
};

static const TaskStatus step_next[EVENT_COUNT][STATUS_COUNT] = {
	/* from:                 -        PENDING    RUNNING    COMPLETED  FAILED   PAUSED     CANCELLED */
	[EVENT_CLAIM] =         {RUNNING, RUNNING,   RUNNING,   no,        no,      no,        no},
	[EVENT_COMPLETE] =      {no,      no,        COMPLETED, no,        no,      no,        no},
	[EVENT_FAIL] =          {no,      no,        FAILED,    no,        no,      no,        no},
	[EVENT_RETRY] =         {no,      no,        PENDING,   no,        no,      no,        no},
	[EVENT_PAUSE] =         {no,      PAUSED,    no,        no,        no,      no,        no},
	[EVENT_RESUME] =        {no,      no,        no,        no,        no,      PENDING,   no},
	[EVENT_CANCEL] =        {no,      CANCELLED, CANCELLED, no,        no,      CANCELLED, no},
	[EVENT_RESUME_FAILED] = {no,      no,        PENDING,   no,        PENDING, no,        no},
	[EVENT_SET_TIMEOUT] =   {no,      PENDING,   RUNNING,   no,        no,      PAUSED,    no},
};

#undef no

static const char *const verbs[EVENT_COUNT] = {
	[EVENT_CLAIM] = "claim",
	[EVENT_TAKE] = "take over",
	[EVENT_START_AGAIN] = "start",
	[EVENT_COMPLETE] = "complete",
	[EVENT_FAIL] = "fail",
	[EVENT_FAIL_BELOW] = "fail",
	[EVENT_RETRY] = "fail",
	[EVENT_RELEASE] = "release",
	[EVENT_PAUSE] = "pause",
	[EVENT_RESUME] = "resume",
	[EVENT_CANCEL] = "cancel",
	[EVENT_RESUME_FAILED] = "resume",
	[EVENT_SET_TIMEOUT] = "set the timeout of",
};

static const char *const status_labels[STATUS_COUNT] = {
	NULL, "PENDING", "RUNNING", "COMPLETED", "FAILED", "PAUSED", "CANCELLED"
};

static const char *const kind_labels[] = {"WORKFLOW", "STEP", "TRANSACTION", "WAIT"};

static bool
transition(const TaskStatus next[EVENT_COUNT][STATUS_COUNT], Event event, TaskStatus from, TaskStatus *to)
{
	if (next[event][from] == NO_TASK)
		return false;
	if (to)
		*to = next[event][from];
	return true;
}

/* Whether the event is legal for a workflow in that status, and what it leads to. */
bool
workflow_transition(Event event, TaskStatus from, TaskStatus *to)
{
	return transition(workflow_next, event, from, to);
}

/* The same for a step. */
bool
step_transition(Event event, TaskStatus from, TaskStatus *to)
{
	return transition(step_next, event, from, to);
}

/* As in "cannot %s workflow ...". */
const char *
event_verb(Event event)
{
	return verbs[event];
}

const char *
status_label(TaskStatus status)
{
	return status_labels[status];
}

const char *
kind_label(TaskKind kind)
{
	return kind_labels[kind];
}

/*
 * The position of an enum value's label in a list.  Goes through the catalog
 * cache each time: the oids change when the extension is created again.
 */
static int
label_position(Datum value, const char *const *labels, int count)
{
	HeapTuple	tuple = SearchSysCache1(ENUMOID, value);
	int			position;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for enum value %u", DatumGetObjectId(value));
	for (position = 0; position < count; position++)
		if (labels[position] &&
			strcmp(labels[position], NameStr(((Form_pg_enum) GETSTRUCT(tuple))->enumlabel)) == 0)
			break;
	ReleaseSysCache(tuple);
	if (position == count)
		elog(ERROR, "unexpected enum value %u", DatumGetObjectId(value));
	return position;
}

TaskStatus
status_from_datum(Datum status)
{
	return (TaskStatus) label_position(status, status_labels, lengthof(status_labels));
}

TaskKind
kind_from_datum(Datum kind)
{
	return (TaskKind) label_position(kind, kind_labels, lengthof(kind_labels));
}

/* The value of that enum type with that label. */
Datum
enum_datum(Oid enumtype, const char *label)
{
	HeapTuple	tuple = SearchSysCache2(ENUMTYPOIDNAME, ObjectIdGetDatum(enumtype), CStringGetDatum(label));
	Oid			value;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "enum type %u has no label \"%s\"", enumtype, label);
	value = ((Form_pg_enum) GETSTRUCT(tuple))->oid;
	ReleaseSysCache(tuple);
	return ObjectIdGetDatum(value);
}
