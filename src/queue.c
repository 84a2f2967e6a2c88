/*-------------------------------------------------------------------------
 *
 * queue.c
 *	  The row of a queue: create, alter, drop, pause and resume it.
 *
 * What waits in a queue is not here: claim.c takes it, head.c knows where it
 * begins.
 *
 * Locks.  Whoever starts a workflow in a queue, or claims from it, holds the
 * queue's lock (lock.h) to the end of the transaction.  Starters and claimers
 * share it, but claimers of a queue with limits exclude each other, so that they
 * count exactly.  A change (alter, pause, resume) excludes claimers: once it has
 * committed, no claim goes by the old row.  drop_queue also excludes starters:
 * no workflow is left in a queue that is gone.  create_queue needs no lock: of
 * those who create one name at the same time the primary key lets one through.
 * Each call locks one queue, so queues do not wait for each other.
 *
 *-------------------------------------------------------------------------
 */
#include "lane.h"
#include "limit.h"
#include "relation.h"
#include "sql.h"
#include "wake.h"

#include "access/table.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(durable_create_queue);
PG_FUNCTION_INFO_V1(durable_alter_queue);
PG_FUNCTION_INFO_V1(durable_drop_queue);
PG_FUNCTION_INFO_V1(durable_pause_queue);
PG_FUNCTION_INFO_V1(durable_resume_queue);
PG_FUNCTION_INFO_V1(durable_queue_changed);

/* ---- looking at the row ------------------------------------------------------------ */

#define LOOK_QUEUE(P) \
	P(name, TEXTOID)
PARAMETERS(LookQueue, LOOK_QUEUE);

#define QUEUE_LIST(F, C, t) \
	F(t, max_concurrency) C(t, rate_limit) C(t, rate_limit_window) C(t, paused) C(t, key_concurrency) C(t, fair)
ROW(QueueRow, QUEUE_LIST);

static Statement look_at_queue = STATEMENT(LookQueue,
	"SELECT " COLUMNS(QUEUE_LIST, "q.") " FROM durable.queue q WHERE q.name = :name");

/*
 * Queues that this backend has read.  Each call of a job asks for its queue, and hardly
 * ever has that changed.  A transaction that writes a row tells all sessions when it
 * commits, before it gives up the queue's lock (durable_queue_changed), and its own
 * when it aborts.
 */
typedef struct KnownQueue
{
	text	   *name;
	char		status;			/* of the entry in the hash table */
	Queue		queue;
} KnownQueue;

#define SH_PREFIX known
#define SH_ELEMENT_TYPE KnownQueue
#define SH_KEY_TYPE text *
#define SH_KEY name
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) VARDATA_ANY(key), (int) VARSIZE_ANY_EXHDR(key))
#define SH_EQUAL(table, a, b) same_text(a_value(PointerGetDatum(a)), a_value(PointerGetDatum(b)))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static MemoryContext known_memory;
static known_hash *known;

/* While this is checked, no row has changed: to be told that one has makes it unchecked. */
static OurIndex queue_table = {
	"queue", "queue_pkey", OUR_COLUMNS({"name", TEXTOID}),.nkeys = 1,.is_unique = true
};

/* Whether this backend would be told. */
static bool is_told;

/* Forgets what was read, if any queue has changed. */
static void
forget_changed_queues(void)
{
	Relation	table;

	AcceptInvalidationMessages();
	if (queue_table.is_checked)
		return;
	if (known_memory == NULL)
		/* NOLINTNEXTLINE(bugprone-implicit-widening-of-multiplication-result): in the macro */
		known_memory = AllocSetContextCreate(TopMemoryContext, "durable queues", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(known_memory);
	known = known_create(known_memory, 16, NULL);
	table = open_our_table(&queue_table, AccessShareLock);
	is_told = has_our_trigger(table, "queue_changed");
	table_close(table, AccessShareLock);
}

static Queue
copy_queue(const Queue *queue)
{
	Queue		copy = *queue;

	copy.rate_limit_window.value = datumCopy(queue->rate_limit_window.value, false, sizeof(Interval));
	return copy;
}

/* Remembers a queue.  If memory runs out, all are forgotten. */
static void
know_queue(Datum name, const Queue *queue)
{
	MemoryContext old = MemoryContextSwitchTo(known_memory);
	bool		was_checked = queue_table.is_checked;
	bool		found;

	queue_table.is_checked = false;
	known_insert(known, (text *) DatumGetPointer(datumCopy(name, false, -1)), &found)->queue = copy_queue(queue);
	queue_table.is_checked = was_checked;
	MemoryContextSwitchTo(old);
}

/*
 * Looks at a queue; false if there is none of that name.  Who has the queue's lock sees
 * it as it stays while that is held.
 */
static bool
look_queue(Datum name, Queue *queue)
{
	text	   *key = DatumGetTextPP(name);
	const KnownQueue *entry;
	QueueRow	row;

	forget_changed_queues();
	entry = known_lookup(known, key);
	if (entry && durable_fast_paths)
	{
		*queue = copy_queue(&entry->queue);
		return true;
	}
	if (run(&look_at_queue, &(LookQueue) {.name = a_value(name)}, NEWEST) == 0)
		return false;
	fetch(0, 0, &row);
	*queue = (Queue)
	{
		.max_concurrency = row.max_concurrency,.rate_limit = row.rate_limit,
		.rate_limit_window = row.rate_limit_window,.paused = DatumGetBool(row.paused.value),
		.key_concurrency = row.key_concurrency,
		.fair = DatumGetBool(row.fair.value)
	};
	if (entry == NULL && is_told)
		know_queue(PointerGetDatum(key), queue);
	return true;
}

void
look_queue_or_raise(Datum name, Queue *queue)
{
	if (!look_queue(name, queue))
		raise_refusal(refuse_unknown_queue(TextDatumGetCString(name)));
}

/* Locks a queue in which a workflow is to be started, so that it stays; NULL is no queue. */
void
lock_queue_to_start(NullableDatum name)
{
	Queue		queue;

	if (name.isnull)
		return;
	lock_queue(name.value, QUEUE_START);
	look_queue_or_raise(name.value, &queue);
}

/* ---- create ------------------------------------------------------------------------ */

/* What create_queue and alter_queue are given. */
#define SETTINGS(P) \
	P(name, TEXTOID) \
	P(max_concurrency, INT4OID) \
	P(rate_limit, INT4OID) \
	P(rate_limit_window, INTERVALOID) \
	P(key_concurrency, INT4OID) \
	P(fair, BOOLOID)
#define CREATE_QUEUE(P) \
	SETTINGS(P) \
	P(created_at, TIMESTAMPTZOID)
PARAMETERS(CreateQueue, CREATE_QUEUE);
PARAMETERS(AlterQueue, SETTINGS);

static void alter_queue(const AlterQueue *settings);

static Statement insert_queue = STATEMENT(CreateQueue,
	"INSERT INTO durable.queue (name, max_concurrency, rate_limit, rate_limit_window, key_concurrency, fair, created_at) "
	"SELECT :name, :max_concurrency, :rate_limit, :rate_limit_window, :key_concurrency, :fair, :created_at "
	"ON CONFLICT (name) DO NOTHING");

/* Checks the arguments of create_queue and alter_queue. */
static AlterQueue
settings_of_call(FunctionCallInfo fcinfo)
{
	AlterQueue	settings = {
		.name = fcinfo->args[0],.max_concurrency = fcinfo->args[1],
		.rate_limit = fcinfo->args[2],.rate_limit_window = fcinfo->args[3],
		.key_concurrency = fcinfo->args[4],.fair = fcinfo->args[5]
	};

	require_name(settings.name, "name");
	check_limit(settings.max_concurrency, "max_concurrency");
	check_limit(settings.rate_limit, "rate_limit");
	require(settings.rate_limit_window, "rate_limit_window");
	check_interval(settings.rate_limit_window, "rate_limit_window");
	if (interval_least_seconds(DatumGetIntervalP(settings.rate_limit_window.value)) <= 0)
		bad_argument("rate_limit_window", "must be longer than 0", "It is 0, or can be where a month or a day is short.",
					 "Pass the time in which rate_limit workflows may start.");
	check_limit(settings.key_concurrency, "key_concurrency");
	require(settings.fair, "fair");
	return settings;
}

static bool
same_int(NullableDatum a, NullableDatum b)
{
	return a.isnull || b.isnull ? a.isnull && b.isnull : DatumGetInt32(a.value) == DatumGetInt32(b.value);
}

static char *
limit_text(NullableDatum limit)
{
	return limit.isnull ? "NULL" : psprintf("%d", DatumGetInt32(limit.value));
}

pg_noreturn static void
raise_other_settings(const Queue *queue, const AlterQueue *settings)
{
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_OBJECT),
			 errmsg("queue \"%s\" already exists with other settings", TextDatumGetCString(settings->name.value)),
			 errdetail("It has max_concurrency %s, rate_limit %s, rate_limit_window %s, key_concurrency %s, and is %s.",
					   limit_text(queue->max_concurrency), limit_text(queue->rate_limit),
					   DatumGetCString(DirectFunctionCall1(interval_out, queue->rate_limit_window.value)),
					   limit_text(queue->key_concurrency), queue->fair ? "fair" : "not fair"),
			 errhint("Use alter_queue to change them, or pass if_exists.")));
}

static bool
has_settings(const Queue *queue, const AlterQueue *settings)
{
	return same_int(queue->max_concurrency, settings->max_concurrency) &&
		same_int(queue->rate_limit, settings->rate_limit) &&
		same_int(queue->key_concurrency, settings->key_concurrency) &&
		queue->fair == DatumGetBool(settings->fair.value) &&
		DatumGetBool(DirectFunctionCall2(interval_eq, queue->rate_limit_window.value,
										 settings->rate_limit_window.value));
}

static void
create_queue(const AlterQueue *settings, IfExists if_exists, TimestampTz now)
{
	CreateQueue params = {
		.name = settings->name,.max_concurrency = settings->max_concurrency,.rate_limit = settings->rate_limit,
		.rate_limit_window = settings->rate_limit_window,.key_concurrency = settings->key_concurrency,
		.fair = settings->fair,.created_at = a_time(now)
	};
	Queue		queue;

	for (int tries = 0;; tries++)
	{
		if (look_queue(settings->name.value, &queue))
		{
			if (if_exists == EXISTING_KEPT || has_settings(&queue, settings))
				return;
			if (if_exists == EXISTING_REFUSED)
				raise_other_settings(&queue, settings);
			alter_queue(settings);
			return;
		}
		/* Somebody may have created it before our INSERT, and dropped it since: once, but not again and again. */
		if (tries > 1)
			raise_kept_away("durable.queue");
		if (run(&insert_queue, &params, NEWEST) > 0)
			return;
	}
}

/* ---- alter, drop, pause ------------------------------------------------------------ */

static Statement alter_row = STATEMENT(AlterQueue,
	"UPDATE durable.queue q SET"
	"  max_concurrency = :max_concurrency, rate_limit = :rate_limit, rate_limit_window = :rate_limit_window,"
	"  key_concurrency = :key_concurrency, fair = :fair "
	"WHERE q.name = :name");

#define OF_QUEUE(P) \
	P(name, TEXTOID)
PARAMETERS(OfQueue, OF_QUEUE);

static Statement delete_row = STATEMENT(OfQueue,
	"DELETE FROM durable.queue q WHERE q.name = :name");

#define LOOK_UNFINISHED(P) \
	P(queue, TEXTOID)
PARAMETERS(LookUnfinished, LOOK_UNFINISHED);

#define UNFINISHED_LIST(F, C, t) \
	F(t, id)
ROW(UnfinishedRow, UNFINISHED_LIST);

static Statement look_unfinished = STATEMENT(LookUnfinished,
	"SELECT " COLUMNS(UNFINISHED_LIST, "p.") " FROM durable.pending p WHERE p.queue_name = :queue "
	"UNION ALL SELECT " COLUMNS(UNFINISHED_LIST, "s.") " FROM durable.suspended s WHERE s.queue_name = :queue "
	"UNION ALL SELECT " COLUMNS(UNFINISHED_LIST, "d.") " FROM durable.driven d WHERE d.queue_name = :queue "
	"UNION ALL SELECT " COLUMNS(UNFINISHED_LIST, "h.") " FROM durable.paused h WHERE h.queue_name = :queue "
	"LIMIT 1");

static Statement look_schedules = STATEMENT(LookUnfinished,
	"SELECT s.name FROM durable.schedule s WHERE s.queue = :queue LIMIT 1");

#define PAUSE_QUEUE(P) \
	P(name, TEXTOID) \
	P(paused, BOOLOID)
PARAMETERS(PauseQueue, PAUSE_QUEUE);

static Statement set_paused = STATEMENT(PauseQueue,
	"UPDATE durable.queue q SET paused = :paused WHERE q.name = :name");

/* Changes, or deletes, the row of a queue that must be there. */
static void
change_row(Datum name, LOCKMODE mode, Statement *change, const void *params)
{
	Queue		queue;

	lock_queue(name, mode);
	note_queue(name);
	for (int tries = 0; run(change, params, NEWEST) == 0; tries++)
	{
		look_queue_or_raise(name, &queue);
		/* It may have been created since; nobody can drop it now. */
		if (tries > 0)
			raise_kept_away("durable.queue");
	}
}

/*
 * Nobody claims meanwhile.  So once the slots are given, each workflow that runs in
 * the queue has one if its claims are to count them.  Those of a queue that counted
 * them before are kept until they end, and do no harm.
 */
static void
alter_queue(const AlterQueue *settings)
{
	Datum		name = settings->name.value;
	Queue		queue;

	change_row(name, QUEUE_CHANGE, &alter_row, settings);
	look_queue_or_raise(name, &queue);
	change_limits(name, &queue);
}

static void
pause_queue(Datum name, bool paused)
{
	change_row(name, QUEUE_CHANGE, &set_paused, &(PauseQueue) {.name = a_value(name),.paused = a_bool(paused)});
}

static void
drop_queue(Datum name)
{
	change_row(name, QUEUE_DROP, &delete_row, &(OfQueue) {.name = a_value(name)});
	if (run(&look_unfinished, &(LookUnfinished) {.queue = a_value(name)}, NEWEST) > 0)
	{
		UnfinishedRow row;

		fetch(0, 0, &row);
		raise_refusal(refuse_queue_in_use(TextDatumGetCString(name), DatumGetUUIDP(row.id.value)));
	}
	if (run(&look_schedules, &(LookUnfinished) {.queue = a_value(name)}, NEWEST) > 0)
		raise_refusal(refuse_queue_of_schedule(TextDatumGetCString(name), TextDatumGetCString(result_value(0, 0))));
	drop_all_heads(name);
	drop_tickets(name);
	drop_counts(name);
}

/* ---- trigger ----------------------------------------------------------------------- */

/* After each row that is written: whoever has read a queue is told. */
Datum
durable_queue_changed(PG_FUNCTION_ARGS)
{
	require_row_trigger(fcinfo, "queue_changed", "queue");
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}

/* ---- from SQL ---------------------------------------------------------------------- */

/* create_queue(name, max_concurrency, rate_limit, rate_limit_window, key_concurrency, fair, if_exists) */
Datum
durable_create_queue(PG_FUNCTION_ARGS)
{
	AlterQueue	settings = settings_of_call(fcinfo);
	IfExists	if_exists = require_if_exists(fcinfo->args[6]);
	TimestampTz now = clock_now();
	Call		call;

	call = begin_call(fcinfo);
	create_queue(&settings, if_exists, now);
	end_call(&call);
	PG_RETURN_VOID();
}

/* alter_queue(name, max_concurrency, rate_limit, rate_limit_window, key_concurrency, fair) */
Datum
durable_alter_queue(PG_FUNCTION_ARGS)
{
	AlterQueue	settings = settings_of_call(fcinfo);
	Call		call;

	call = begin_call(fcinfo);
	alter_queue(&settings);
	end_call(&call);
	PG_RETURN_VOID();
}

/* drop_queue(name) */
Datum
durable_drop_queue(PG_FUNCTION_ARGS)
{
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	drop_queue(fcinfo->args[0].value);
	end_call(&call);
	PG_RETURN_VOID();
}

/* pause_queue(name) */
Datum
durable_pause_queue(PG_FUNCTION_ARGS)
{
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	pause_queue(fcinfo->args[0].value, true);
	end_call(&call);
	PG_RETURN_VOID();
}

/* resume_queue(name) */
Datum
durable_resume_queue(PG_FUNCTION_ARGS)
{
	Call		call;

	require_name(fcinfo->args[0], "name");
	call = begin_call(fcinfo);
	pause_queue(fcinfo->args[0].value, false);
	end_call(&call);
	PG_RETURN_VOID();
}
