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
	bool		knows_inside;	/* has been looked at there, too */
	int64		inside;			/* the hash */
} Known;

static char *known_executor;
static Known *known;
static uint64 known_count;

/* From when on it is to look inside again (clock_monotonic), which may take so much of the time. */
static int64 next_inside;
#define ONE_IN 20

#define LOOK_NEWS(P) \
	P(executor_id, TEXTOID) \
	P(ids, UUIDARRAYOID) \
	P(looks_inside, BOOLOID)
PARAMETERS(LookNews, LOOK_NEWS);

#define NEWS_LIST(F, C, t) F(t, id) C(t, lease) C(t, paused) C(t, asked) C(t, inside)
ROW(NewsRow, NEWS_LIST);

/*
 * What changes when something happens inside of workflow w, or an inline one below it: signals that
 * nobody has taken (so many are told apart), open waits, workflows that these await, children in queues.
 */
#define INSIDE \
	"WITH RECURSIVE unit AS (SELECT w.id, w.status, w.cancel_requested_at AS asked UNION ALL SELECT c.* FROM unit u CROSS JOIN LATERAL (" \
	"  SELECT o.id, o.status, o.cancel_requested_at FROM durable.workflow o" \
	"  WHERE o.parent_id = u.id AND " CHECKED("o.queue_name IS NULL AND " UNFINISHED("o")) " OFFSET 0) c) " \
	"SELECT bit_xor(hash_record_extended(ROW(u.*, signals.last, signals.count, waits.positions, waits.ended, children.ended), 0)) " \
	"FROM unit u CROSS JOIN LATERAL (" \
	"  SELECT (SELECT s.id FROM durable.signal s WHERE s.workflow_id = u.id ORDER BY s.id DESC LIMIT 1) AS last," \
	"    (SELECT count(*) FROM (SELECT 1 FROM durable.signal s WHERE s.workflow_id = u.id AND s.sequence IS NULL LIMIT 100) s)) signals " \
	"CROSS JOIN LATERAL (" \
	"  SELECT bit_xor(hashint4extended(o.sequence, 0)) AS positions," \
	"    count(*) FILTER (WHERE o.awaited IS NOT NULL AND NOT EXISTS (" \
	"      SELECT 1 FROM durable.workflow a WHERE a.id = o.awaited AND " CHECKED(UNFINISHED("a")) ")) AS ended" \
	"  FROM durable.open_wait o WHERE o.workflow_id = u.id) waits " \
	"CROSS JOIN LATERAL (" \
	"  SELECT count(*) AS ended FROM durable.workflow c" \
	"  WHERE c.parent_id = u.id AND " CHECKED("c.queue_name IS NOT NULL AND NOT " UNFINISHED("c")) ") children"

/* What it drives now; and of what it drove, what has been cancelled or has another driver. */
static Statement look_news = STATEMENT(LookNews,
	"SELECT w.id, w.lease, w.status = 'PAUSED' AS paused, w.cancel_requested_at IS NOT NULL AS asked,"
	"  CASE WHEN :looks_inside THEN (" INSIDE ") END AS inside "
	"FROM durable.driven d JOIN durable.workflow w ON w.id = d.id "
	"WHERE d.executor_id = :executor_id "
	"UNION ALL "
	"SELECT w.id, NULL, false, false, NULL FROM unnest(:ids) AS i (id) JOIN durable.workflow w ON w.id = i.id "
	"WHERE " CHECKED("w.status = 'CANCELLED' OR (w.status IN ('RUNNING', 'PAUSED') AND coalesce(w.executor_id, '') <> :executor_id)"));

static const Known *
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
	known_executor = MemoryContextStrdup(TopMemoryContext, name);
	known_count = 0;
}

/* Whether a workflow is not as it was known. */
static bool
is_news(const Known *before, const Known *now)
{
	return before->paused != now->paused || before->asked < now->asked ||
		(before->knows_inside && before->inside != now->inside);
}

/* Whether something has happened to what the executor drives, or in it, since the last look. */
bool
look_for_news(Datum executor_id)
{
	int64		began = clock_monotonic();
	bool		looks_inside = began >= next_inside;
	uint64		count;
	Known	   *now;
	uint64		now_count = 0;
	bool		news = false;

	be_about(executor_id);
	count = run(&look_news, &(LookNews) 
				{
					.executor_id = a_value(executor_id),.ids = a_value(known_ids()),.looks_inside = a_bool(looks_inside)
				}, NEWEST);
	if (looks_inside)
		next_inside = clock_monotonic() + ONE_IN * (clock_monotonic() - began);
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
			.paused = DatumGetBool(values.paused.value),.asked = DatumGetBool(values.asked.value),
			.knows_inside = looks_inside,.inside = looks_inside ? DatumGetInt64(values.inside.value) : 0
		};
		before = find_known(&now[now_count].id);
		if (before && !looks_inside)
		{
			now[now_count].knows_inside = before->knows_inside;
			now[now_count].inside = before->inside;
		}
		news = news || (before && is_news(before, &now[now_count]));
		now_count++;
	}
	if (known)
		pfree(known);
	known = now;
	known_count = now_count;
	return news;
}
