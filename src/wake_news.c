/*-------------------------------------------------------------------------
 *
 * wake_news.c
 *	  News of an executor's workflows, for a session that is not told of them.
 *
 * It remembers what the executor drives, from one look to the next, also between
 * calls; and of what may have happened inside of these workflows, a hash.  That look costs
 * more where much is open there, so it comes the less often.  Locks nothing.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "id_list.h"
#include "wake.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* What the executor drives, as it was seen last. */
typedef struct Known
{
	pg_uuid_t	id;
	int32		lease;
	bool		paused;
	bool		asked;			/* to end */
	bool		has_inside;		/* was looked at inside, too */
	int64		inside;			/* the hash */
} Known;

static char *known_executor;
static Known *known;
static uint64 known_count;

/* From when on it is to look inside again (clock_monotonic): that may take one part of so many of the time. */
static int64 next_inside;
#define PARTS_OF_TIME 20

#define LOOK_NEWS(P) \
	P(executor_id, TEXTOID) \
	P(ids, UUIDARRAYOID)
PARAMETERS(LookNews, LOOK_NEWS);

#define NEWS_LIST(F, C, t) F(t, id) C(t, lease) C(t, paused) C(t, asked)
ROW(NewsRow, NEWS_LIST);

/* What it drives now; and of what it drove, what has been cancelled or has another driver. */
static Statement look_news = STATEMENT(LookNews,
	"SELECT w.id, w.lease, w.status = 'PAUSED' AS paused, w.cancel_requested_at IS NOT NULL AS asked FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"WHERE d.executor_id = :executor_id "
	"UNION ALL "
	"SELECT w.id, NULL, false, false FROM unnest(:ids) AS i (id) JOIN durable.workflow w ON w.id = i.id "
	"WHERE " CHECKED("w.status = 'CANCELLED' OR (w.status IN ('RUNNING', 'PAUSED') AND coalesce(w.executor_id, '') <> :executor_id)"));

#define LOOK_INSIDE(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(LookInside, LOOK_INSIDE);

#define INSIDE_LIST(F, C, t) F(t, id) C(t, inside) C(t, has_ends)
ROW(InsideRow, INSIDE_LIST);

/*
 * Of workflows, and the inline ones below them: what changes when something happens there, to signals
 * that nobody has taken (so many are told apart), open waits, workflows that these await, children in queues; and
 * whether there is an end, or a signal, that a driver may not know of.
 */
static Statement look_inside = STATEMENT(LookInside,
	"WITH RECURSIVE unit AS ("
	"  SELECT i.id AS driven, i.id, NULL::durable.task_status AS status, NULL::timestamptz AS asked FROM unnest(:ids) AS i (id) "
	"  UNION ALL "
	"  SELECT u.driven, c.* FROM unit u CROSS JOIN LATERAL ("
	"    SELECT o.id, o.status, o.cancel_requested_at FROM durable.workflow o"
	"    WHERE o.parent_id = u.id AND " CHECKED("o.queue_name IS NULL AND " UNFINISHED("o")) " OFFSET 0) c) "
	"SELECT u.driven, bit_xor(hash_record_extended(ROW(u.*, signals.last, signals.count, waits.positions, waits.ended, children.ended), 0)),"
	"  bool_or(signals.count + waits.ended + children.ended > 0) "
	"FROM unit u CROSS JOIN LATERAL ("
	"  SELECT (SELECT s.id FROM durable.signal s WHERE s.workflow_id = u.id ORDER BY s.id DESC LIMIT 1) AS last,"
	"    (SELECT count(*) FROM (SELECT 1 FROM durable.signal s WHERE s.workflow_id = u.id AND s.sequence IS NULL LIMIT 100) s)) signals "
	"CROSS JOIN LATERAL ("
	"  SELECT bit_xor(hashint4extended(o.sequence, 0)) AS positions,"
	"    count(*) FILTER (WHERE o.awaited IS NOT NULL AND NOT EXISTS ("
	"      SELECT 1 FROM durable.workflow a WHERE a.id = o.awaited AND " CHECKED(UNFINISHED("a")) ")) AS ended"
	"  FROM durable.open_wait o WHERE o.workflow_id = u.id) waits "
	"CROSS JOIN LATERAL ("
	"  SELECT count(*) AS ended FROM durable.workflow c"
	"  WHERE c.parent_id = u.id AND " CHECKED("c.queue_name IS NOT NULL AND NOT " UNFINISHED("c")) ") children "
	"GROUP BY u.driven");

static Known *
find_known(const pg_uuid_t *id)
{
	for (uint64 i = 0; i < known_count; i++)
		if (same_id(&known[i].id, id))
			return &known[i];
	return NULL;
}

static Datum
known_ids(void)
{
	IdList		ids = {0};

	for (uint64 i = 0; i < known_count; i++)
		append_id(&ids, &known[i].id);
	return id_array(ids.ids, ids.count);
}

/* Forgets all if it is about another executor. */
static void
be_about(Datum executor_id)
{
	char	   *name = TextDatumGetCString(executor_id);

	if (known_executor && strcmp(known_executor, name) == 0)
		return;
	if (known_executor)
		pfree(known_executor);
	if (known)
		pfree(known);
	known = NULL;
	known_executor = MemoryContextStrdup(TopMemoryContext, name);
	known_count = 0;
	next_inside = 0;
}

/* Whether the executor has driven something at the last look. */
bool
drives_something(void)
{
	return known_count > 0;
}

/*
 * Whether something has happened inside of what the executor drives.  Of what it did not drive
 * before, whether there is something to be told; if this is no first look.
 */
static bool
look_for_news_inside(bool is_first)
{
	int64		began = clock_monotonic();
	uint64		count;
	bool		news = false;

	if (known_count == 0 || began < next_inside)
		return false;
	count = run(&look_inside, &(LookInside) {.ids = a_value(known_ids())}, NEWEST);
	for (uint64 row = 0; row < count; row++)
	{
		InsideRow	values;
		Known	   *workflow;
		int64		inside;

		fetch(row, 0, &values);
		workflow = find_known(DatumGetUUIDP(values.id.value));
		inside = DatumGetInt64(values.inside.value);
		if (workflow->has_inside)
			news = news || workflow->inside != inside;
		else
			news = news || (!is_first && DatumGetBool(values.has_ends.value));
		workflow->has_inside = true;
		workflow->inside = inside;
	}
	next_inside = clock_monotonic() + PARTS_OF_TIME * (clock_monotonic() - began);
	return news;
}

/* Whether something has happened to what the executor drives, or inside of it, since the last look. */
bool
look_for_news(Datum executor_id)
{
	bool		is_first;
	uint64		count;
	Known	   *now;
	uint64		now_count = 0;
	bool		news = false;

	be_about(executor_id);
	is_first = known == NULL;
	count = run(&look_news, &(LookNews) {.executor_id = a_value(executor_id),.ids = a_value(known_ids())}, NEWEST);
	now = MemoryContextAllocHuge(TopMemoryContext, Max(count, 1) * sizeof(Known));
	for (uint64 row = 0; row < count; row++)
	{
		NewsRow		values;
		const Known *before;

		fetch(row, 0, &values);
		if (values.lease.isnull)
		{
			news = true;
			continue;
		}
		now[now_count] = (Known)
		{
			.id = *DatumGetUUIDP(values.id.value),.lease = DatumGetInt32(values.lease.value),
			.paused = DatumGetBool(values.paused.value),.asked = DatumGetBool(values.asked.value)
		};
		before = find_known(&now[now_count].id);
		if (before)
		{
			news = news || before->paused != now[now_count].paused || before->asked < now[now_count].asked;
			now[now_count].has_inside = before->has_inside;
			now[now_count].inside = before->inside;
		}
		now_count++;
	}
	if (known)
		pfree(known);
	known = now;
	known_count = now_count;
	return look_for_news_inside(is_first) || news;
}
