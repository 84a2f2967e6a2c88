/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  Monitoring: metrics, and what the views durable.stats and durable.waits
 *	  need from here.
 *
 * All only read, and lock nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_clock);
PG_FUNCTION_INFO_V1(durable_metrics);

/* clock() */
Datum
durable_clock(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = result_desc(fcinfo);
	TimestampTz now = clock_now();
	NullableDatum columns[2];
	Call		call = begin_call(fcinfo);

	columns[0] = a_value(TimestampTzGetDatum(now));
	columns[1] = a_value(TimestampTzGetDatum(clock_stale_before(now, a_null())));
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/* The form in which a column of durable.stats is told. */
typedef enum Form
{
	COUNT,						/* bigint */
	LIMIT,						/* int */
	FLAG,						/* boolean */
	SECONDS						/* interval */
} Form;

/* One gauge for each column of PLAN_METRICS but the first, in its order. */
static const struct
{
	const char *name;
	Form		form;
	const char *help;
}			gauges[] =

{
	{"durable_workflows_pending", COUNT, "Workflows that nobody drives, waiting to be claimed."},
	{"durable_workflows_due", COUNT, "Pending workflows whose time has come."},
	{"durable_oldest_due_seconds", SECONDS, "How long the first of those has been due, 0 if there is none."},
	{"durable_workflows_running", COUNT, "Workflows that are driven."},
	{"durable_workflows_paused", COUNT, "Workflows that are paused."},
	{"durable_workflows_stale", COUNT, "Running workflows that nobody alive drives."},
	{"durable_stale_owners", COUNT, "Executors that own stale workflows."},
	{"durable_retries_waiting", COUNT, "Failed steps that wait for their retry."},
	{"durable_completed_last_minute", COUNT, "Workflows that were completed in the last 60 seconds."},
	{"durable_failed_last_minute", COUNT, "Workflows that failed in the last 60 seconds."},
	{"durable_cancelled_last_minute", COUNT, "Workflows that were cancelled in the last 60 seconds."},
	{"durable_queue_paused", FLAG, "1 while nothing is claimed from the queue, else 0."},
	{"durable_queue_max_concurrency", LIMIT, "How many workflows of the queue may run at once."},
	{"durable_queue_rate_limit", LIMIT, "How many workflows of the queue may start in a window."},
	{"durable_queue_rate_limit_window_seconds", SECONDS, "How long such a window is."},
};

static void
append_family(StringInfo out, const char *name, Form form, const char *help)
{
	appendStringInfo(out, "# TYPE %s gauge\n", name);
	if (form == SECONDS)
		appendStringInfo(out, "# UNIT %s seconds\n", name);
	appendStringInfo(out, "# HELP %s %s\n", name, help);
}

/* A workflow without a queue has no label: an empty one would mean the same. */
static void
append_label(StringInfo out, NullableDatum queue)
{
	if (queue.isnull)
		return;
	appendStringInfoString(out, "{queue=\"");
	for (const char *p = TextDatumGetCString(queue.value); *p; p++)
	{
		if (*p == '\n')
			appendStringInfoString(out, "\\n");
		else
		{
			if (*p == '\\' || *p == '"')
				appendStringInfoChar(out, '\\');
			appendStringInfoChar(out, *p);
		}
	}
	appendStringInfoString(out, "\"}");
}

static void
append_number(StringInfo out, Form form, Datum value)
{
	switch (form)
	{
		case COUNT:
			appendStringInfo(out, INT64_FORMAT, DatumGetInt64(value));
			break;
		case LIMIT:
			appendStringInfo(out, "%d", DatumGetInt32(value));
			break;
		case FLAG:
			appendStringInfo(out, "%d", DatumGetBool(value) ? 1 : 0);
			break;
		case SECONDS:
			appendStringInfo(out, "%.6f", interval_seconds(DatumGetIntervalP(value)));
			break;
	}
}

/* metrics(): NULL is no sample */
Datum
durable_metrics(PG_FUNCTION_ARGS)
{
	Call		call = begin_call(fcinfo);
	StringInfoData out;
	Params		none = {0};
	Params		params = {0};
	uint64		queues;

	initStringInfo(&out);
	queues = run_plan(PLAN_METRICS, &none, CALLERS);
	for (int i = 0; i < lengthof(gauges); i++)
	{
		append_family(&out, gauges[i].name, gauges[i].form, gauges[i].help);
		for (uint64 row = 0; row < queues; row++)
		{
			NullableDatum value = result_column(row, i + 1);

			if (value.isnull)
				continue;
			appendStringInfoString(&out, gauges[i].name);
			append_label(&out, result_column(row, 0));
			appendStringInfoChar(&out, ' ');
			append_number(&out, gauges[i].form, value.value);
			appendStringInfoChar(&out, '\n');
		}
	}

	param_time(&params, clock_stale_before(clock_now(), a_null()));
	run_plan(PLAN_COUNT_EXECUTORS, &params, CALLERS);
	append_family(&out, "durable_executors", COUNT, "Registered executors.");
	appendStringInfo(&out, "durable_executors " INT64_FORMAT "\n", DatumGetInt64(result_value(0, 0)));
	append_family(&out, "durable_executors_stale", COUNT, "Those of them that were silent for durable.executor_timeout.");
	appendStringInfo(&out, "durable_executors_stale " INT64_FORMAT "\n", DatumGetInt64(result_value(0, 1)));
	appendStringInfoString(&out, "# EOF\n");
	return end_call_with_value(fcinfo, &call, a_value(PointerGetDatum(cstring_to_text_with_len(out.data, out.len))));
}
