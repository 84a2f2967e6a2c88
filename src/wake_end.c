/*-------------------------------------------------------------------------
 *
 * wake_end.c
 *	  wait_for_end and wait_for_event: wait until a task has ended, or a workflow
 *	  has emitted an event.
 *
 * They sleep without a transaction (wake_sleep.c), look when they are told
 * (wake_memory.c), and once a second for what nobody was told of.  They lock and write
 * nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "wake.h"

#include "miscadmin.h"

PG_FUNCTION_INFO_V1(durable_wait_for_end);
PG_FUNCTION_INFO_V1(durable_wait_for_event);

/* as in wake_work.c */
#define LOOKING_TIME	INT64CONST(50000)
#define TICK_TIME		INT64CONST(1000000)

#define MOST_KEYS_HERE 3

/* A wait for something that a look answers. */
typedef struct Wait
{
	FunctionCallInfo fcinfo;
	MemoryContext memory;
	int64		until;			/* clock_monotonic */
	WakeKey		keys[MOST_KEYS_HERE];
	int			key_count;
	TupleDesc	desc;
	bool		(*look) (FunctionCallInfo fcinfo, NullableDatum *columns);	/* whether what is waited for is there */
} Wait;

static void
add_key(Wait *wait, WakeKey key)
{
	wait->keys[wait->key_count++] = key;
}

/* Looks; forms the result if what is waited for is there, or the time is over. */
static bool
look(const Wait *wait, Datum *result)
{
	NullableDatum columns[3];
	Call		call = begin_call(wait->fcinfo);
	bool		is_there = wait->look(wait->fcinfo, columns);

	if (is_there || clock_monotonic() >= wait->until)
	{
		*result = end_call_with_row(wait->desc, &call, columns);
		return true;
	}
	end_call(&call);
	return false;
}

/* Sleeps until the session is told something, or is to look by itself, or the time is over. */
static void
sleep_until_told(const Wait *wait, bool is_told)
{
	end_transaction();
	do
		doze_until(Min(wait->until, clock_monotonic() + (is_told ? TICK_TIME : LOOKING_TIME)));
	while (is_told && !was_told() && clock_monotonic() < wait->until && !is_due_to_look(wait->keys, 1));
	begin_transaction();
	require_still_there(wait->fcinfo);
}

/* Looks and sleeps until there is a result. */
static Datum
wait_for_result(const Wait *wait)
{
	bool		is_told = begin_waiting(wait->keys, wait->key_count, 0);
	Datum		result;

	for (;;)
	{
		(void) ready_to_be_told(false);
		if (look(wait, &result))
			return result;
		wait_on(false, DT_NOEND);
		sleep_until_told(wait, is_told);
	}
}

static Datum
wait_until(const Wait *wait)
{
	volatile Datum result = (Datum) 0;

	PG_TRY();
	{
		result = wait_for_result(wait);
	}
	PG_CATCH();
	{
		end_waiting();
		PG_RE_THROW();
	}
	PG_END_TRY();
	end_waiting();
	MemoryContextSwitchTo(wait->memory);
	return result;
}

/* ---- wait_for_end ----------------------------------------------------------------------- */

static bool
look_for_end(FunctionCallInfo fcinfo, NullableDatum *columns)
{
	Task		task = look_task(fcinfo->args[0], NEWEST);

	columns[0] = task.status_datum;
	columns[1] = task.status == COMPLETED ? task.output : a_null();
	columns[2] = task.error;
	return is_finished(task.status);
}

/* A step also ends with its workflow, and a stand-in with its child. */
static void
add_keys_of_end(Wait *wait)
{
	NullableDatum task_id = wait->fcinfo->args[0];
	const pg_uuid_t *id = DatumGetUUIDP(task_id.value);
	Call		call = begin_call(wait->fcinfo);
	Task		task = look_task(task_id, NEWEST);
	pg_uuid_t	workflow_id;

	add_key(wait, end_key(id));
	if (id_sequence(id) >= 0)
	{
		id_workflow(id, &workflow_id);
		add_key(wait, end_key(&workflow_id));
	}
	if (!task.child_id.isnull)
		add_key(wait, end_key(DatumGetUUIDP(task.child_id.value)));
	end_call(&call);
}

/* wait_for_end(task_id, timeout, status, output, error) */
Datum
durable_wait_for_end(PG_FUNCTION_ARGS)
{
	Wait		wait = {.fcinfo = fcinfo,.memory = CurrentMemoryContext,.look = look_for_end};

	require_no_transaction(fcinfo, "wait_for_end");
	require(fcinfo->args[0], "task_id");
	wait.until = end_of_wait(fcinfo->args[1]);
	wait.desc = result_desc(fcinfo, 3);
	begin_anew(fcinfo);
	add_keys_of_end(&wait);
	return wait_until(&wait);
}

/* ---- wait_for_event ----------------------------------------------------------------------- */

static bool
look_for_event(FunctionCallInfo fcinfo, NullableDatum *columns)
{
	Workflow	workflow;

	/* the status first: what it emits before its end is seen by who sees the end */
	look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", NEWEST, &workflow);
	columns[0] = look_event(fcinfo->args[0], fcinfo->args[1], fcinfo->args[2]);
	return !columns[0].isnull || is_finished(workflow.status);
}

/* wait_for_event(workflow_id, topic, after, timeout, n) */
Datum
durable_wait_for_event(PG_FUNCTION_ARGS)
{
	Wait		wait = {.fcinfo = fcinfo,.memory = CurrentMemoryContext,.look = look_for_event};

	require_no_transaction(fcinfo, "wait_for_event");
	require(fcinfo->args[0], "workflow_id");
	check_name(fcinfo->args[1], "topic");
	require_not_negative_bigint(fcinfo->args[2], "after");
	wait.until = end_of_wait(fcinfo->args[3]);
	wait.desc = result_desc(fcinfo, 1);
	add_key(&wait, event_key(PG_GETARG_UUID_P(0)));
	add_key(&wait, end_key(PG_GETARG_UUID_P(0)));
	begin_anew(fcinfo);
	return wait_until(&wait);
}
