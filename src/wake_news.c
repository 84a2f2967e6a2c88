/*-------------------------------------------------------------------------
 *
 * wake_news.c
 *	  News of an executor's workflows, for a session that is not told of them.
 *
 * It remembers what the executor drives, from one look to the next, also between
 * calls.  Locks nothing.
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
} Known;

static char *known_executor;
static Known *known;
static uint64 known_count;

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

/* Whether something has happened to what the executor drives, since the last look. */
bool
look_for_news(Datum executor_id)
{
	uint64		count;
	Known	   *now;
	uint64		now_count = 0;
	bool		news = false;

	be_about(executor_id);
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
		news = news || (before && (before->paused != now[now_count].paused || before->asked < now[now_count].asked));
		now_count++;
	}
	if (known)
		pfree(known);
	known = now;
	known_count = now_count;
	return news;
}
