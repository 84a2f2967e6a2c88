/*-------------------------------------------------------------------------
 *
 * limit.c
 *	  What the limits of a queue still allow.
 *
 * A workflow that is claimed in a queue that counts takes a slot: a row of the
 * register durable.slot, until it is not driven any more.  Each slot has a number
 * (workflow.slot), greater than all before it.
 *
 * What claims know is kept in durable.queue_count, in a row that each claim writes
 * anew; the newest is read, backwards, so it does not matter how many dead ones are
 * there.  Only claimers write it, who have the queue's lock alone, and alter_queue,
 * which keeps them out.  So between two claims slots are only given back, and what
 * was known to be free still is:
 *
 *	- alter_queue counts the slots.
 *	- A claim that wants no more than is known to be free does not count.
 *	- Else it counts the slots once, as far as max_concurrency.  What it does not use is
 *	  known to the next.
 *
 * Slots that were given back leave dead entries in the index, where vacuum may not go
 * while somebody holds an old snapshot.  So a count that has walked far writes down
 * where the next may begin: a number, and the few slots before it that are still
 * taken.  A slot with a smaller number that is not among these was given back, for
 * good: it was in none of the snapshots of whoever counts later.
 *
 * The window of a rate limit: its start, and the starts in it.  A window begins with
 * the first claim after the last one has ended.
 *
 * All is undone with the claim that has written it.
 *
 *-------------------------------------------------------------------------
 */
#include "limit.h"
#include "head_internal.h"
#include "sql.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* ---- what is kept ------------------------------------------------------------------ */

/*
 * The window of the rate limit has ended, or none has begun.  A window that
 * begins later than now has ended, too: the clock was set back.  Where there is no
 * limit (:window is NULL), a window stays as it was.
 */
#define WINDOW_OVER \
	"(c.window_start IS NULL OR :now >= c.window_start + :window OR :now < c.window_start)"

#define LOOK_COUNTS(P) \
	P(queue, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	P(window, INTERVALOID)
PARAMETERS(LookCounts, LOOK_COUNTS);

#define COUNTS_LIST(F, C, t) \
	F(t, n) C(t, window_start) C(t, window_count) C(t, free) C(t, next_slot) C(t, slots_from) C(t, early)
ROW(CountsRow, COUNTS_LIST);

static Statement look_at_counts = STATEMENT(LookCounts,
	"SELECT c.n, CASE WHEN " WINDOW_OVER " THEN NULL ELSE c.window_start END AS window_start,"
	"  CASE WHEN " WINDOW_OVER " THEN 0 ELSE c.window_count END AS window_count,"
	"  c.free, c.next_slot, c.slots_from, c.early "
	"FROM durable.queue_count c WHERE c.queue_name = :queue ORDER BY c.n DESC LIMIT 1");

#define OF_QUEUE(P) \
	P(queue, TEXTOID)
PARAMETERS(OfQueue, OF_QUEUE);

#define NUMBER_LIST(F, C, t) \
	F(t, number)
ROW(NumberRow, NUMBER_LIST);

static Statement look_last_slot = STATEMENT(OfQueue,
	"SELECT max(s.slot) AS number FROM durable.slot s WHERE s.queue_name = :queue");

/* The number of the slot that was taken last; 0 if there is none. */
static int64
last_slot(Datum queue)
{
	NumberRow	row;

	run(&look_last_slot, &(OfQueue) {.queue = a_value(queue)}, NEWEST);
	fetch(0, 0, &row);
	return row.number.isnull ? 0 : DatumGetInt64(row.number.value);
}

/* Reads what is kept of a queue that has limits, as it is at that time. */
void
look_counts(Datum queue, const Queue *limits, TimestampTz now, Counts *counts)
{
	LookCounts	params = {.queue = a_value(queue),.now = a_time(now)};
	CountsRow	row;

	params.window = limits->rate_limit.isnull ? a_null() : limits->rate_limit_window;
	*counts = (Counts) {.window_start = a_null(),.early = a_null()};
	if (run(&look_at_counts, &params, NEWEST) == 0)
	{
		counts->next_slot = last_slot(queue) + 1;
		return;
	}
	fetch(0, 0, &row);
	*counts = (Counts)
	{
		.n = DatumGetInt64(row.n.value),.window_start = row.window_start,
		.window_count = DatumGetInt32(row.window_count.value),.free = DatumGetInt32(row.free.value),
		.next_slot = DatumGetInt64(row.next_slot.value),.slots_from = DatumGetInt64(row.slots_from.value),
		.early = row.early
	};
}

#define ADD_COUNTS(P) \
	P(queue, TEXTOID) \
	P(n, INT8OID) \
	P(window_start, TIMESTAMPTZOID) \
	P(window_count, INT4OID) \
	P(free, INT4OID) \
	P(next_slot, INT8OID) \
	P(slots_from, INT8OID) \
	P(early, INT8ARRAYOID)
PARAMETERS(AddCounts, ADD_COUNTS);

/* The new row, in place of the one before. */
static Statement replace_counts = STATEMENT(AddCounts,
	"WITH before AS (DELETE FROM durable.queue_count c WHERE c.queue_name = :queue AND c.n = :n - 1) "
	"INSERT INTO durable.queue_count"
	"  (queue_name, n, window_start, window_count, free, next_slot, slots_from, early) "
	"SELECT :queue, :n, :window_start, :window_count, :free, :next_slot, :slots_from, :early");

/* Writes them anew.  The first n is a time, so that a queue that is dropped and created again does not come by it once more. */
static void
put_counts(Datum queue, const Counts *counts)
{
	AddCounts	params = {
		.queue = a_value(queue),.n = a_bigint(counts->n == 0 ? clock_ns() : counts->n + 1),
		.window_start = counts->window_start,.window_count = an_int((int32) Min(counts->window_count, PG_INT32_MAX)),
		.free = an_int((int32) Max(counts->free, 0)),.next_slot = a_bigint(counts->next_slot),
		.slots_from = a_bigint(counts->slots_from),.early = counts->early
	};

	if (run(&replace_counts, &params, NEWEST) == 0)
		raise_kept_away("durable.queue_count");
}

/* Writes down what is left when so many have been claimed, and of these so many were started.  The caller has the queue's lock alone. */
void
write_counts(Datum queue, const Queue *limits, Counts *counts, TimestampTz now, int64 claimed, int64 started)
{
	counts->free -= claimed;
	if (!limits->rate_limit.isnull && started > 0)
	{
		if (counts->window_start.isnull)
			counts->window_start = a_time(now);
		counts->window_count += started;
	}
	put_counts(queue, counts);
}

/* ---- counting slots ------------------------------------------------------------------ */

#define COUNT_SLOTS(P) \
	P(queue, TEXTOID) \
	P(slots_from, INT8OID) \
	P(early, INT8ARRAYOID) \
	P(most, INT8OID)
PARAMETERS(CountSlots, COUNT_SLOTS);

/* Slots that are taken, the early ones first. */
#define TAKEN_SLOTS \
	"(SELECT s.slot FROM unnest(:early) e (slot) CROSS JOIN LATERAL" \
	"   (SELECT o.slot FROM durable.slot o WHERE o.queue_name = :queue AND o.slot = e.slot OFFSET 0) s" \
	" UNION ALL" \
	" (SELECT s.slot FROM durable.slot s WHERE s.queue_name = :queue AND s.slot >= :slots_from ORDER BY s.slot)" \
	" LIMIT :most)"

static Statement look_slots = STATEMENT(CountSlots,
	"SELECT count(*) AS number FROM " TAKEN_SLOTS " t");

static Statement look_first_slots = STATEMENT(CountSlots,
	"SELECT t.slot AS number FROM " TAKEN_SLOTS " t");

/* So many slots at most are known one by one. */
#define MOST_EARLY	100

/*
 * Finds where the next count may begin: behind the first few slots that are taken,
 * which are noted.  So it walks over none of the entries that are dead by now, as far
 * as no more than a few are taken among them.
 */
static void
note_early(Datum queue, Counts *counts)
{
	CountSlots	params = {
		.queue = a_value(queue),.slots_from = a_bigint(counts->slots_from),.early = counts->early,
		.most = a_bigint(MOST_EARLY + 1)
	};
	uint64		count = run(&look_first_slots, &params, NEWEST);
	Elements	early = new_elements(INT8OID, MOST_EARLY);
	int64		from = counts->next_slot;

	for (uint64 i = 0; i < count; i++)
	{
		NumberRow	row;

		fetch(i, 0, &row);
		if (i == MOST_EARLY)
			from = DatumGetInt64(row.number.value);
		else
			append_element(&early, row.number);
	}
	counts->early = array_of(&early);
	counts->slots_from = Max(from, counts->slots_from);
}

/* How many slots are taken, counted up to so many. */
static int64
count_slots(Datum queue, Counts *counts, int64 most)
{
	CountSlots	params = {
		.queue = a_value(queue),.slots_from = a_bigint(counts->slots_from),.early = counts->early,.most = a_bigint(most)
	};
	int64		before = buffers_read();
	NumberRow	row;
	int64		count;

	run(&look_slots, &params, NEWEST);
	fetch(0, 0, &row);
	count = DatumGetInt64(row.number.value);
	/* an index entry and a row for each is less than a buffer for four */
	if (Max(buffers_read() - before - INT64CONST(2) * FREE_BUFFERS - count / 4, 0) >= durable_claim_walk)
		note_early(queue, counts);
	return count;
}

/* How many slots are free by max_concurrency. */
static int64
count_free(Datum queue, const Queue *limits, Counts *counts)
{
	int32		most = DatumGetInt32(limits->max_concurrency.value);

	return most - count_slots(queue, counts, most);
}

/* How many may start in this window. */
int64
starts_left(const Queue *limits, const Counts *counts)
{
	if (limits->rate_limit.isnull)
		return PG_INT64_MAX;
	return Max((int64) DatumGetInt32(limits->rate_limit.value) - counts->window_count, 0);
}

/* How many may run beside those that do.  Exact only while no other claimer is in the queue. */
int64
free_slots(Datum queue, const Queue *limits, Counts *counts, int64 wanted)
{
	if (limits->paused)
		return 0;
	if (wanted > counts->free && !limits->max_concurrency.isnull)
	{
		counts->free = count_free(queue, limits, counts);
		wanted = Min(wanted, counts->free);
	}
	return Max(wanted, 0);
}

/* When the window of the rate limit ends, if one has begun; else DT_NOEND. */
TimestampTz
end_of_window(const Queue *limits, const Counts *counts)
{
	if (limits->rate_limit.isnull || counts->window_start.isnull)
		return DT_NOEND;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, counts->window_start.value,
												   limits->rate_limit_window.value));
}

#define COUNT_KEY(P) \
	P(queue, TEXTOID) \
	P(key, TEXTOID) \
	P(slots_from, INT8OID) \
	P(early, INT8ARRAYOID) \
	P(most, INT8OID)
PARAMETERS(CountKey, COUNT_KEY);

static Statement look_slots_of_key = STATEMENT(CountKey,
	"SELECT count(*) AS number FROM ("
	"  SELECT 1 FROM unnest(:early) e (slot) CROSS JOIN LATERAL"
	"    (SELECT o.key FROM durable.slot o WHERE o.queue_name = :queue AND o.slot = e.slot OFFSET 0) s"
	"  WHERE s.key = :key"
	"  UNION ALL"
	"  SELECT 1 FROM durable.slot s WHERE s.queue_name = :queue AND s.key = :key AND s.slot >= :slots_from"
	"  LIMIT :most) t");

/* How many slots of a queue a key has (0: those without one), counted up to so many. */
int64
count_slots_of_key(Datum queue, const Counts *counts, Datum key, int64 most)
{
	CountKey	params = {
		.queue = a_value(queue),.key = a_value(key ? key : CStringGetTextDatum("")),
		.slots_from = a_bigint(counts->slots_from),.early = counts->early,.most = a_bigint(most)
	};
	NumberRow	row;

	run(&look_slots_of_key, &params, NEWEST);
	fetch(0, 0, &row);
	SPI_freetuptable(SPI_tuptable);
	return DatumGetInt64(row.number.value);
}

/* ---- changes of a queue ------------------------------------------------------------------ */

/* What was claimed without a slot, and still runs, gets one; it waits for those that are about to end. */
static Statement add_slots = STATEMENT(OfQueue,
	"WITH driven AS MATERIALIZED ("
	"  SELECT w.id FROM durable.driven d JOIN durable.workflow w ON w.id = d.id"
	"  WHERE d.queue_name = :queue AND " CHECKED("(w.status = 'RUNNING' OR w.paused_from = 'RUNNING') AND w.slot IS NULL")
	"  ORDER BY w.id FOR NO KEY UPDATE OF w), "
	"last AS MATERIALIZED ("
	"  SELECT greatest((SELECT c.next_slot FROM durable.queue_count c WHERE c.queue_name = :queue ORDER BY c.n DESC LIMIT 1) - 1,"
	"    (SELECT max(s.slot) FROM durable.slot s WHERE s.queue_name = :queue), 0) AS slot) "
	"UPDATE durable.workflow w SET slot = last.slot + d.n "
	"FROM last CROSS JOIN unnest(ARRAY(SELECT o.id FROM driven o ORDER BY o.id)) WITH ORDINALITY d (id, n) WHERE w.id = d.id");

static Statement delete_counts = STATEMENT(OfQueue,
	"DELETE FROM durable.queue_count c WHERE c.queue_name = :queue");

/*
 * The limits of a queue are these now; nobody claims in it meanwhile.  What was known
 * to be free may not be so: the slots are counted here, so that no claim has to.
 */
void
change_limits(Datum queue, const Queue *limits)
{
	Queue		unlimited = {.rate_limit = a_null()};	/* so that a window stays as it was */
	Counts		counts;
	int64		last;

	if (has_slots(limits))
		run(&add_slots, &(OfQueue) {.queue = a_value(queue)}, NEWEST);
	look_counts(queue, &unlimited, clock_now(), &counts);
	last = last_slot(queue);	/* looked at once: what has the last slot may end at any time */
	counts.next_slot = Max(counts.next_slot, last + 1);
	counts.free = limits->max_concurrency.isnull ? 0 : count_free(queue, limits, &counts);
	put_counts(queue, &counts);
}

/* Those of a queue that is dropped. */
void
drop_counts(Datum queue)
{
	run(&delete_counts, &(OfQueue) {.queue = a_value(queue)}, NEWEST);
}
