/*-------------------------------------------------------------------------
 *
 * state.c
 *	  The state machine: the tables of transitions.h, for C and for statements,
 *	  and the labels of statuses and kinds.
 *
 * A function asks here before it changes the task that it was given.  The
 * statements that change many tasks at once choose by the same tables.
 *
 *-------------------------------------------------------------------------
 */
#include "state.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/syscache.h"


#define ROW(event, from, to) [EVENT_##event][from] = (to),

static const TaskStatus workflow_next[EVENT_COUNT][STATUS_COUNT] = {WORKFLOW_TRANSITIONS(ROW)};
static const TaskStatus step_next[EVENT_COUNT][STATUS_COUNT] = {STEP_TRANSITIONS(ROW)};

#undef ROW

#define EVENT(event, verb) #event,
static const char *const event_names[EVENT_COUNT] = {EVENTS(EVENT)};
#undef EVENT

#define EVENT(event, verb) verb,
static const char *const verbs[EVENT_COUNT] = {EVENTS(EVENT)};
#undef EVENT

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

static void
append_status(StringInfo sql, TaskStatus status)
{
	appendStringInfo(sql, "'%s'::durable.task_status", status_labels[status]);
}

/* The statuses that an event may find, as an array. */
static void
append_sources(StringInfo sql, const TaskStatus *next)
{
	const char *separator = "(ARRAY[";

	for (TaskStatus from = PENDING; from < STATUS_COUNT; from++)
		if (next[from] != NO_TASK)
		{
			appendStringInfo(sql, "%s'%s'", separator, status_labels[from]);
			separator = ", ";
		}
	appendStringInfoString(sql, *separator == ',' ? "]::durable.task_status[])" : "('{}'::durable.task_status[])");
}

/* The status that an event leads to: of a new row, or from that of a column where it depends on that. */
static void
append_target(StringInfo sql, const TaskStatus *next, const char *column)
{
	if (column)
		appendStringInfoString(sql, "CASE");
	for (TaskStatus from = column ? PENDING : NO_TASK; from < STATUS_COUNT; from++)
	{
		if (next[from] == NO_TASK)
			continue;
		if (column)
			appendStringInfo(sql, " WHEN %s = '%s' THEN ", column, status_labels[from]);
		append_status(sql, next[from]);
		if (column == NULL)
			return;
	}
	appendStringInfoString(sql, column ? " END" : "NULL::durable.task_status");
}

/*
 * For a statement (plan.c): "workflow from CANCEL" and "step to FAIL", also with a
 * column, "workflow to RELEASE w.status".
 */
void
append_transition(StringInfo sql, char *text)
{
	char	   *rest = NULL;
	const char *table = strtok_r(text, " ", &rest);
	const char *end = strtok_r(NULL, " ", &rest);
	const char *name = strtok_r(NULL, " ", &rest);
	const char *column = strtok_r(NULL, " ", &rest);

	for (Event event = 0; name && event < EVENT_COUNT; event++)
		if (strcmp(event_names[event], name) == 0)
		{
			const TaskStatus *next = strcmp(table, "step") == 0 ? step_next[event] : workflow_next[event];

			if (strcmp(end, "from") == 0)
				append_sources(sql, next);
			else
				append_target(sql, next, column);
			return;
		}
	elog(ERROR, "a statement names no event in {%s %s %s}", table, end ? end : "", name ? name : "");
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
