/*-------------------------------------------------------------------------
 *
 * head_waiting.c
 *	  Workflows that now wait are put on the lists of the heads behind them: the
 *	  starter's side of head.c, which says why this is enough.
 *
 * Called when the rows of the workflows have been written, in the same
 * subtransaction.  Nothing is locked, and nobody is waited for.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "head_internal.h"
#include "sql.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---- lists ------------------------------------------------------------------------- */

#define ADD_LATE(P) \
	P(head_ids, UUIDARRAYOID) \
	P(run_ats, TIMESTAMPTZARRAYOID) \
	P(workflow_ids, UUIDARRAYOID) \
	P(ids, UUIDARRAYOID)
PARAMETERS(AddLate, ADD_LATE);

static Statement add_late = STATEMENT(AddLate,
	"INSERT INTO durable.queue_late (head_id, run_at, workflow_id, id) "
	"SELECT b.head_id, b.run_at, b.workflow_id, b.id "
	"FROM unnest(:head_ids, :run_ats, :workflow_ids, :ids) AS b (head_id, run_at, workflow_id, id)");

/* Appends an entry for the list of a head. */
void
append_late(Late *late, const pg_uuid_t *head, const Position *at)
{
	if (late->workflows.count == late->capacity)
	{
		late->capacity = Max(64, late->capacity * 2);
		late->run_ats = late->run_ats ?
			repalloc_huge(late->run_ats, late->capacity * sizeof(Datum)) :
			MemoryContextAllocHuge(CurrentMemoryContext, late->capacity * sizeof(Datum));
	}
	late->run_ats[late->workflows.count] = TimestampTzGetDatum(at->run_at);
	append_id(&late->workflows, &at->id);
	append_id(&late->heads, head);
}

static Datum
time_array(Datum *times, int count)
{
	return PointerGetDatum(construct_array(times, count, TIMESTAMPTZOID, sizeof(TimestampTz), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/*
 * Writes them.  Each entry has an id of its own, so that two who write the same
 * one do not wait for each other; a claim reads it once.
 */
void
write_late(const Late *late)
{
	int64		ns = clock_ns();

	for (uint64 i = 0; i < late->workflows.count; i += IDS_PER_STATEMENT)
	{
		int			count = (int) Min(IDS_PER_STATEMENT, late->workflows.count - i);
		pg_uuid_t  *ids = palloc(count * sizeof(pg_uuid_t));
		AddLate		params = {
			.head_ids = a_value(id_array(&late->heads.ids[i], count)),
			.run_ats = a_value(time_array(&late->run_ats[i], count)),
			.workflow_ids = a_value(id_array(&late->workflows.ids[i], count))
		};

		for (int n = 0; n < count; n++)
			new_workflow_id(ns, 0, &ids[n]);
		params.ids = a_value(id_array(ids, count));
		if (run(&add_late, &params, NEWEST) < count)
			raise_kept_away("durable.queue_late");
		pfree(ids);
	}
}

/* ---- who makes workflows wait --------------------------------------------------------- */

/* The heads that stand behind a position, for anybody. */
static IdList
heads_behind(Datum queue, const Position *position)
{
	IdList		heads = {0};
	Walk		walk;
	Position	at;

	if (is_untouched(&head_places))
		return heads;
	PushActiveSnapshot(GetLatestSnapshot());
	walk_lane(&walk, &head_places, SnapshotAny, queue, position);
	while (next_place(&walk, &at))
		if (compare_positions(&at, position) > 0 && is_live_for_some(&walk, GetActiveSnapshot()))
		{
			pg_uuid_t	id = head_at(&walk);

			append_id(&heads, &id);
		}
	end_walk(&walk);
	PopActiveSnapshot();
	return heads;
}

/* Puts a workflow on the lists of all heads behind it. */
static void
put_on_lists(Datum queue, const Position *position)
{
	IdList		met = {0};

	for (;;)
	{
		IdList		heads = heads_behind(queue, position);
		Late		late = {0};

		for (uint64 i = 0; i < heads.count; i++)
			if (!contains_id(&met, &heads.ids[i]))
				append_late(&late, &heads.ids[i], position);
		if (late.workflows.count == 0)
			return;
		write_late(&late);
		append_ids(&met, &late.heads);
	}
}

#define LOOK_POSITIONS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(LookPositions, LOOK_POSITIONS);

#define POSITION_LIST(F, C, t) \
	F(t, queue_name) C(t, priority) C(t, suspended_at) C(t, run_at) C(t, id)
ROW(PositionRow, POSITION_LIST);

static Statement look_positions = STATEMENT(LookPositions,
	"SELECT " COLUMNS(POSITION_LIST, "w.") " FROM durable.workflow w "
	"WHERE w.id = ANY (:ids) AND w.queue_name IS NOT NULL AND w.concurrency_key IS NULL AND " CHECKED("w.status = 'PENDING' AND w.run_at IS NOT NULL"));

/*
 * Puts those of the workflows that now wait in queues on the lists of the heads behind
 * them.  The lanes of keys have no heads: lane.c.
 */
void
now_waiting(Datum workflow_ids)
{
	uint64		count = run(&look_positions, &(LookPositions) {.ids = a_value(workflow_ids)}, NEWEST);
	Datum	   *queues = palloc(count * sizeof(Datum));
	Position   *positions = palloc(count * sizeof(Position));

	for (uint64 i = 0; i < count; i++)
	{
		PositionRow row;

		fetch(i, 0, &row);
		queues[i] = PointerGetDatum(DatumGetTextPCopy(row.queue_name.value));
		positions[i] = (Position)
		{
			.rank = rank_of(DatumGetInt32(row.priority.value), !row.suspended_at.isnull),
			.run_at = DatumGetTimestampTz(row.run_at.value),.id = *DatumGetUUIDP(row.id.value)
		};
	}
	SPI_freetuptable(SPI_tuptable);
	for (uint64 i = 0; i < count; i++)
		put_on_lists(queues[i], &positions[i]);
}

/*
 * The same for workflows that have just been started: in a queue, or in none (NULL);
 * due at run_at, or at once (NULL).  A head is behind one of them only if it is
 * behind the first, and that is seldom so.
 */
void
started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids)
{
	IdList		ids = {0};
	Position	first = {.rank = rank_of(priority, false)};

	if (queue.isnull)
		return;
	append_array(&ids, workflow_ids);
	if (ids.count == 0)
		return;
	first.id = ids.ids[0];
	for (uint64 i = 1; i < ids.count; i++)
		if (memcmp(&ids.ids[i], &first.id, sizeof(pg_uuid_t)) < 0)
			first.id = ids.ids[i];
	first.run_at = run_at.isnull ? id_created_at(&first.id) : DatumGetTimestampTz(run_at.value);
	if (heads_behind(queue.value, &first).count > 0)
		now_waiting(workflow_ids);
}
