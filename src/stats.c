/*-------------------------------------------------------------------------
 *
 * stats.c
 *	  Monitoring: stats, and metrics, which is the same as text.
 *
 * Both only read, lock nothing, and see what the calling query sees.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_stats);
PG_FUNCTION_INFO_V1(durable_metrics);

static void
run_stats(TimestampTz now, TimestampTz stale_before)
{
	Params		params = {0};

	param_time(&params, now);
	param_time(&params, stale_before);
	run_plan(PLAN_STATS, &params, CALLERS);
}

/* stats() */
Datum
durable_stats(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();
	Call		call;

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	run_stats(now, clock_stale_before(now, a_null()));
	return_rows(fcinfo);
	end_call(&call);
	return (Datum) 0;
}

/* The form in which a column of stats is told; NULL is not told. */
typedef enum Form
{
	COUNT,						/* bigint */
	LIMIT,						/* int */
	FLAG,						/* boolean */
	SECONDS,					/* interval */
	AGE							/* the same, 0 for NULL */
} Form;

/* One gauge for each column of stats but the first, in its order. */
static const struct
{
	const char *name;
	Form		form;
	const char *help;
}			gauges[] =

{
	{"durable_workflows_pending", COUNT, "Workflows that nobody drives, waiting to be claimed."},
	{"durable_workflows_due", COUNT, "Pending workflows whose time has come."},
	{"durable_oldest_due_seconds", AGE, "How long the first of those has been due, 0 if there is none."},
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
	if (form == SECONDS || form == AGE)
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
append_number(StringInfo out, Form form, NullableDatum d)
{
	Datum		value = d.value;

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
		case AGE:
			appendStringInfo(out, "%.6f", d.isnull ? 0 : interval_seconds(DatumGetIntervalP(value)));
			break;
	}
}

/* metrics() */
Datum
durable_metrics(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();
	TimestampTz stale_before = clock_stale_before(now, a_null());
	Call		call = begin_call(fcinfo);
	StringInfoData out;
	Params		params = {0};
	uint64		queues;

	initStringInfo(&out);
	run_stats(now, stale_before);
	queues = SPI_processed;
	for (int i = 0; i < lengthof(gauges); i++)
	{
		append_family(&out, gauges[i].name, gauges[i].form, gauges[i].help);
		for (uint64 row = 0; row < queues; row++)
		{
			NullableDatum value = result_column(row, i + 1);

			if (value.isnull && gauges[i].form != AGE)
				continue;
			appendStringInfoString(&out, gauges[i].name);
			append_label(&out, result_column(row, 0));
			appendStringInfoChar(&out, ' ');
			append_number(&out, gauges[i].form, value);
			appendStringInfoChar(&out, '\n');
		}
	}

	param_time(&params, stale_before);
	run_plan(PLAN_COUNT_EXECUTORS, &params, CALLERS);
	append_family(&out, "durable_executors", COUNT, "Registered executors.");
	appendStringInfo(&out, "durable_executors " INT64_FORMAT "\n", DatumGetInt64(result_value(0, 0)));
	append_family(&out, "durable_executors_stale", COUNT, "Those of them that were silent for durable.executor_timeout.");
	appendStringInfo(&out, "durable_executors_stale " INT64_FORMAT "\n", DatumGetInt64(result_value(0, 1)));
	appendStringInfoString(&out, "# EOF\n");
	return end_call_with_value(fcinfo, &call, a_value(PointerGetDatum(cstring_to_text_with_len(out.data, out.len))));
}
