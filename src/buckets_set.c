/*-------------------------------------------------------------------------
 *
 * buckets_set.c
 *	  The buckets of this database are told and changed: buckets, set_buckets.
 *
 * set_buckets takes the register rows of what it gives up away, and notes those
 * workflows in durable.parked; when it gets buckets, it takes from there what is to have
 * rows again.  So it takes time in proportion to what is unfinished, and what has ended
 * costs nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "buckets.h"
#include "limit.h"
#include "register.h"
#include "relation.h"
#include "suspend.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "replication/logicalworker.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(durable_buckets);
PG_FUNCTION_INFO_V1(durable_set_buckets);
PG_FUNCTION_INFO_V1(durable_require_bucket);
PG_FUNCTION_INFO_V1(durable_buckets_changed);

/* require_bucket(task_id): for functions that are written in SQL */
Datum
durable_require_bucket(PG_FUNCTION_ARGS)
{
	Call		call = begin_call(fcinfo);

	end_call(&call);
	PG_RETURN_VOID();
}

/* buckets() */
Datum
durable_buckets(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(lock_buckets(RowShareLock));
}

/* ---- changing ------------------------------------------------------------------------------ */

/*
 * Trigger: whoever has read the table is told.
 *
 * A restore inserts the row before or after the workflows, or at the same time: those
 * of other buckets that were there first are in the registers.  (It restores what is
 * parked, too, and a subscriber gets the registers' own rows.)  The lock, exclusive,
 * waits for who is inserting some; set_buckets has it, and has left none.
 */
Datum
durable_buckets_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	require_row_trigger(fcinfo, "buckets_changed", "buckets");
	CacheInvalidateRelcache(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && !IsLogicalWorker())
	{
		bool		isnull;
		int			path = pin_search_path();

		LockRelationOid(RelationGetRelid(trigger->tg_relation), ExclusiveLock);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		leave_unfinished(heap_getattr(trigger->tg_trigtuple, 2, RelationGetDescr(trigger->tg_relation), &isnull), true);
		if (SPI_finish() != SPI_OK_FINISH)
			elog(ERROR, "SPI_finish failed");
		unpin_search_path(path);
	}
	return PointerGetDatum(NULL);
}

#define SET_RANGES(P) \
	P(ranges, INT4MULTIRANGEOID) \
	P(before, INT4MULTIRANGEOID)
PARAMETERS(SetRanges, SET_RANGES);

#define CHANGE_LIST(F, C, t) \
	F(t, gained) C(t, loses) C(t, gains) C(t, is_good)
ROW(ChangeRow, CHANGE_LIST);

static Statement look_change = STATEMENT(SetRanges,
	"SELECT c.gained, NOT isempty(c.lost) AS loses, NOT isempty(c.gained) AS gains,"
	"  :ranges <@ int4multirange(int4range(0, 4096)) AS is_good "
	"FROM (SELECT :before - :ranges AS lost, :ranges - :before AS gained) c");

#define OF_BUCKETS(P) \
	P(buckets, INT4MULTIRANGEOID)
PARAMETERS(OfBuckets, OF_BUCKETS);

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement look_queues = STATEMENT(OfBuckets,
	"SELECT q.name FROM durable.queue q WHERE q.max_concurrency IS NOT NULL OR q.key_concurrency IS NOT NULL OR q.fair ORDER BY q.name",
	.planning = FOR_PARAMS);

static Statement unpark = STATEMENT(OfBuckets,
	"WITH gone AS (DELETE FROM durable.parked p WHERE durable.bucket(p.id) <@ :buckets RETURNING p.id) "
	"SELECT w.id FROM gone g JOIN durable.workflow w ON w.id = g.id ORDER BY w.id",
	.planning = FOR_PARAMS);

/* A number of a slot means something where it was given only. */
static Statement take_slots = STATEMENT(OfIds,
	"UPDATE durable.workflow w SET slot = NULL WHERE w.id = ANY (:ids) AND w.slot IS NOT NULL");

/* Also what is paused since: its note has not travelled. */
static Statement look_suspended = STATEMENT(OfIds,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) AND w.suspended_at IS NOT NULL");

/* What waits for something in these buckets, which may have happened in the other database. */
static Statement look_watching = STATEMENT(OfBuckets,
	"SELECT DISTINCT t.workflow_id FROM durable.watch t WHERE durable.bucket(t.key) <@ :buckets ORDER BY t.workflow_id",
	.planning = FOR_PARAMS);

/* Each queue that counts gives slots to what has come without one. */
static void
count_again(void)
{
	uint64		count = run(&look_queues, &(OfBuckets) {.buckets = a_null()}, NEWEST);
	Datum	   *names = palloc(count * sizeof(Datum));

	for (uint64 i = 0; i < count; i++)
		names[i] = PointerGetDatum(DatumGetTextPCopy(result_value(i, 0)));
	for (uint64 i = 0; i < count; i++)
	{
		Queue		queue;

		look_queue_or_raise(names[i], &queue);
		change_limits(names[i], &queue);
	}
}

/*
 * What is unfinished in these buckets is found from now on.  What is suspended may have
 * missed what it waits for, and notes do not travel: all is looked at again.
 */
static void
take_in(Datum gained)
{
	IdList		ids = {0};
	IdList		asleep = {0};

	run(&unpark, &(OfBuckets) {.buckets = a_value(gained)}, NEWEST);
	append_result(&ids);
	run_over_ids(&take_slots, &ids, NULL, NULL);
	join_unfinished(id_array(ids.ids, ids.count));
	now_waiting(id_array(ids.ids, ids.count));
	run(&look_watching, &(OfBuckets) {.buckets = a_value(gained)}, NEWEST);
	append_result(&asleep);
	run_over_ids(&look_suspended, &ids, NULL, &asleep);
	for (uint64 i = 0; i < asleep.count; i++)
		leave_note_of(&asleep.ids[i]);
	count_again();
}

/*
 * set_buckets(ranges)
 *
 * Locks durable.buckets exclusively, before all else: waits for each transaction that
 * has made a call, and keeps calls away until it commits.  So nobody else has a lock of
 * the extension, and there is nothing more to wait for.
 */
Datum
durable_set_buckets(PG_FUNCTION_ARGS)
{
	NullableDatum ranges = fcinfo->args[0];
	NullableDatum before;
	ChangeRow	change;
	Call		call;

	require(ranges, "ranges");
	PreventCommandIfReadOnly("UPDATE");
	before = a_value(lock_buckets(ExclusiveLock));

	call = begin_call(fcinfo);
	run(&look_change, &(SetRanges) {.ranges = ranges,.before = before}, NEWEST);
	fetch(0, 0, &change);
	if (!DatumGetBool(change.is_good.value))
		bad_argument("ranges", "must be within 0 to 4095",
					 psprintf("It is %s.", OidOutputFunctionCall(F_MULTIRANGE_OUT, ranges.value)),
					 "Pass ranges of buckets, such as '{[0,2048)}'.");
	if (DatumGetBool(change.loses.value))
		leave_unfinished(ranges.value, false);
	/* not prepared: that the table has changed would end the plan each time */
	if (SPI_execute_with_args("INSERT INTO durable.buckets (ranges) VALUES ($1) ON CONFLICT (one) DO UPDATE SET ranges = $1",
							  1, (Oid[]) {INT4MULTIRANGEOID}, &ranges.value, NULL, false, 0) != SPI_OK_INSERT || SPI_processed == 0)
		raise_kept_away("durable.buckets");
	hold_buckets();
	if (DatumGetBool(change.gains.value))
		take_in(change.gained.value);
	end_call(&call);
	PG_RETURN_VOID();
}
