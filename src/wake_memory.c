/*-------------------------------------------------------------------------
 *
 * wake_memory.c
 *	  The shared memory of wake-ups: who waits for what, and how they are told.
 *
 * Nothing here is a promise: it only tells somebody to look.  The memory needs no
 * preload, has a fixed number of places, and is empty after a restart.  Where it
 * cannot be had, or all places are taken, a session looks again and again instead
 * (wake_work.c).
 *
 * A session that waits has a place, with the keys of what it waits for.  Keys are
 * hashes: two things of one key are taken for each other, and who was told in vain
 * looks in vain.
 *
 * No wake-up is lost.  Who waits first enters its place (ready_to_be_told), then
 * looks at the tables, in a new snapshot, then sleeps.  Who makes work first commits, then reads
 * whether anybody waits.  So, whatever the order, either the look finds the work, or
 * the maker finds the one who waits.
 *
 * One job wakes one.  Of those who wait for a queue, each job is told to the one
 * that has waited longest, which then cannot be chosen for another.  It looks, and
 * returns to its caller only if more is due than was promised to others: its place then has a
 * promise, until its executor claims from the queue, waits again, or ends, or a second is over.
 * Who looks and finds no more than was promised to others, or than limits allow, is
 * held back.  Whenever a promise ends, somebody else is told: if the claim got something, one
 * who is held back, and otherwise the one that has waited longest.
 *
 * A commit where nobody waits reads one counter for each note.  There is a counter for
 * each bucket of keys, so that those who wait for other things cost nothing.
 *
 * Locks: one LWLock, held for some microseconds at most; nothing is waited for under it, and
 * latches are set when it is released.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "clock.h"
#include "wake.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "subtransaction.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_wake_mode);
PG_FUNCTION_INFO_V1(durable_left_to_statements);

/* setting (init.c) */
int			durable_wake = WAKE_AUTO;

/* The version of the structures below: libraries that disagree about them do not share them. */
#define MEMORY_NAME "durable wake-ups 1"

/* 32 kB in all */
#define PLACES	240
#define BUCKETS 256

/* A promise holds others back for no longer than that (microseconds). */
#define PROMISE_TIME	INT64CONST(1000000)

/* A session that was promised work and got none is not promised any for so long. */
#define QUIET_TIME		INT64CONST(100000)

/* Somebody looks for what nobody was told of, so often (milliseconds). */
#define LOOK_TIME		1000

/* Where the memory could not be had, it is asked for again after that time. */
#define RETRY_TIME		INT64CONST(60000000)

typedef enum PlaceState
{
	IDLE,						/* does not wait */
	WAITING,					/* can be chosen */
	TOLD,						/* was chosen, and has not looked yet */
	PROMISED					/* was told that there is work, and has not claimed yet */
} PlaceState;

typedef struct Place
{
	PGPROC	   *proc;			/* the session that has it, or NULL */
	uint64		turn;			/* the lowest has waited longest */
	int64		promised_at;	/* by clock_monotonic: the last time */
	TimestampTz next_due;		/* when it will look by itself */
	WakeKey		key;			/* TOLD, PROMISED: of what */
	WakeKey		executor;		/* for news; 0 is none */
	uint8		state;
	bool		held_back;		/* there is work that it may not have, or it is looking */
	bool		news;
	bool		deadline;
	bool		got;			/* a claim since that promise has got something */
	int			key_count;
	WakeKey		keys[MOST_KEYS];
} Place;

typedef struct Memory
{
	LWLock		lock;
	int			tranche;
	uint64		turns;
	pg_atomic_uint64 left_to_statements;	/* by fast paths, since the server began (plan.c) */
	pg_atomic_uint32 executors; /* so many places have one */
	/* by bucket: places that can be chosen, or have that executor; that are held back; that have a promise */
	pg_atomic_uint32 waiting[BUCKETS];
	pg_atomic_uint32 held_back[BUCKETS];
	pg_atomic_uint32 promised[BUCKETS];
	/* by bucket: a key, and when somebody has looked last without being told (milliseconds) */
	pg_atomic_uint64 looked[BUCKETS];
	Place		places[PLACES];
} Memory;

static Memory *memory;
static int64 asked_at;			/* when the memory was asked for last, and could not be had */
static Place *mine;

/* Of a session without a place: when it was told last that there is work, and whether it has got any since. */
static int64 promised_at;
static bool got;

/* ---- keys ----------------------------------------------------------------------- */

/* Never 0. */
static WakeKey
key_of(NoteKind kind, const void *data, int len)
{
	uint64		seed = (uint64) MyDatabaseId << 8 | kind;

	return Max((WakeKey) hash_bytes_extended(data, len, seed), 1);
}

static WakeKey
key_of_text(NoteKind kind, Datum name)
{
	text	   *t = DatumGetTextPP(name);

	return key_of(kind, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

WakeKey
queue_key(Datum queue)
{
	return key_of_text(NOTE_WORK, queue);
}

WakeKey
executor_key(Datum executor_id)
{
	return key_of_text(NOTE_NEWS, executor_id);
}

WakeKey
end_key(const pg_uuid_t *task_id)
{
	return key_of(NOTE_END, task_id, UUID_LEN);
}

WakeKey
event_key(const pg_uuid_t *workflow_id)
{
	return key_of(NOTE_EVENT, workflow_id, UUID_LEN);
}

WakeKey
tick_key(void)
{
	return key_of(NOTE_TICK, "", 0);
}

/* ---- the memory ----------------------------------------------------------------------- */

static void
init_memory(SHARED_MEMORY_TO_INIT)
{
	Memory	   *new = memory;

	memset(new, 0, sizeof(Memory));
	new->tranche = new_tranche("durable");
	LWLockInitialize(&new->lock, new->tranche);
	pg_atomic_init_u64(&new->left_to_statements, 0);
	pg_atomic_init_u32(&new->executors, 0);
	for (int i = 0; i < BUCKETS; i++)
	{
		pg_atomic_init_u32(&new->waiting[i], 0);
		pg_atomic_init_u32(&new->held_back[i], 0);
		pg_atomic_init_u32(&new->promised[i], 0);
		pg_atomic_init_u64(&new->looked[i], 0);
	}
}

static bool
get_memory(void *arg)
{
	memory = shared_memory(MEMORY_NAME, sizeof(Memory), init_memory);
	return true;
}

/* Whether there is shared memory for wake-ups; gets it, if need be. */
bool
has_wake_memory(void)
{
	ErrorData  *error;

	if (durable_wake == WAKE_LOOKING)
		return false;
	if (memory)
		return true;
	if (asked_at != 0 && clock_monotonic() - asked_at < RETRY_TIME)
		return false;
	/* in a subtransaction, which releases the server's locks if there is no room */
	if (!in_subtransaction(get_memory, NULL, &error))
	{
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		FreeErrorData(error);
		asked_at = clock_monotonic();
		return false;
	}
	name_tranche(memory->tranche, "durable");
	return true;
}

static void
lock(void)
{
	LWLockAcquire(&memory->lock, LW_EXCLUSIVE);
}

static void
unlock(void)
{
	LWLockRelease(&memory->lock);
}

/* ---- a place, under the lock ---------------------------------------------------------------- */

static bool
any_of(pg_atomic_uint32 *counters, WakeKey key)
{
	return pg_atomic_read_u32(&counters[key % BUCKETS]) > 0;
}

static void
count_keys(pg_atomic_uint32 *counters, const Place *place, int by)
{
	for (int i = 0; i < place->key_count; i++)
		pg_atomic_fetch_add_u32(&counters[place->keys[i] % BUCKETS], by);
}

static void
set_held_back(Place *place, bool held_back)
{
	if (place->held_back != held_back)
		count_keys(memory->held_back, place, held_back ? 1 : -1);
	place->held_back = held_back;
}

/* Changes the state; the key is that of a promise, or of what it is told. */
static void
set_state(Place *place, PlaceState state, WakeKey key)
{
	if (place->state == WAITING)
		count_keys(memory->waiting, place, -1);
	else if (place->state == PROMISED)
		pg_atomic_fetch_sub_u32(&memory->promised[place->key % BUCKETS], 1);
	place->state = state;
	place->key = key;
	if (state == WAITING)
		count_keys(memory->waiting, place, 1);
	else if (state == PROMISED)
		pg_atomic_fetch_add_u32(&memory->promised[key % BUCKETS], 1);
}

static void
set_executor(Place *place, WakeKey executor)
{
	if (place->executor == executor)
		return;
	if (place->executor != 0)
	{
		pg_atomic_fetch_sub_u32(&memory->waiting[place->executor % BUCKETS], 1);
		pg_atomic_fetch_sub_u32(&memory->executors, 1);
	}
	place->executor = executor;
	place->news = place->deadline = false;
	if (executor != 0)
	{
		pg_atomic_fetch_add_u32(&memory->waiting[executor % BUCKETS], 1);
		pg_atomic_fetch_add_u32(&memory->executors, 1);
	}
}

/* Whether there is any executor that could be told news.  One that comes later asks for itself, after us. */
bool
may_be_told_news(void)
{
	return has_wake_memory() && pg_atomic_read_u32(&memory->executors) > 0;
}

static bool
has_key(const Place *place, WakeKey key)
{
	for (int i = 0; i < place->key_count; i++)
		if (place->keys[i] == key)
			return true;
	return false;
}

static bool
can_be_told(const Place *place, WakeKey key)
{
	return place->proc && place->state == WAITING && has_key(place, key);
}

/* ---- telling, under the lock ------------------------------------------------------------------ */

/* Whose latches are to be set when the lock is released. */
typedef struct Woken
{
	int			count;
	bool		is_in[PLACES];
	PGPROC	   *procs[PLACES];
} Woken;

static void
wake(Woken *woken, Place *place)
{
	int			i = (int) (place - memory->places);

	if (!woken->is_in[i])
		woken->procs[woken->count++] = place->proc;
	woken->is_in[i] = true;
}

/* Sets the latches.  A session that has ended since gives its latch to another one, which does not mind. */
static void
set_latches(const Woken *woken)
{
	for (int i = 0; i < woken->count; i++)
		SetLatch(&woken->procs[i]->procLatch);
}

static Place *
longest_waiting(WakeKey key, bool held_back)
{
	Place	   *first = NULL;

	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &memory->places[i];

		if (can_be_told(place, key) && (!held_back || place->held_back) &&
			(first == NULL || place->turn < first->turn))
			first = place;
	}
	return first;
}

/* Tells so many of those who wait for the key, in the order of their arrival; held_back: of those that are. */
static void
tell_some(Woken *woken, WakeKey key, int32 count, bool held_back)
{
	Place	   *place;

	while (count-- > 0 && (place = longest_waiting(key, held_back)) != NULL)
	{
		set_state(place, TOLD, key);
		wake(woken, place);
	}
}

static void
tell_all(Woken *woken, WakeKey key)
{
	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &memory->places[i];

		if (!can_be_told(place, key))
			continue;
		set_state(place, TOLD, key);
		wake(woken, place);
	}
}

/* Sees to it that the one who has waited longest looks at that time. */
static void
tell_later(Woken *woken, WakeKey key, TimestampTz due)
{
	Place	   *place = longest_waiting(key, false);

	if (place == NULL || place->next_due <= due)
		return;
	set_state(place, TOLD, key);
	wake(woken, place);
}

static void
tell_executor(Woken *woken, const Note *note)
{
	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &memory->places[i];

		if (place->proc == NULL || place->executor != note->key)
			continue;
		if (note->kind == NOTE_NEWS)
			place->news = true;
		else
			place->deadline = true;
		wake(woken, place);
	}
}

/* A promise has ended: whoever else could have the work is told, if there is somebody. */
static void
pass_on(Woken *woken, WakeKey key, bool got)
{
	tell_some(woken, key, 1, got);
}

/* An executor has claimed from a queue: what its sessions were promised there has come true, or not. */
static void
tell_claim(Woken *woken, const Note *note)
{
	bool		got = note->count > 0;
	bool		had_promise = false;

	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &memory->places[i];

		if (place->proc == NULL || place->executor != note->executor)
			continue;
		place->got = place->got || got;
		if (place->state == PROMISED && place->key == note->key)
		{
			set_state(place, IDLE, 0);
			had_promise = true;
		}
	}
	if (had_promise)
		pass_on(woken, note->key, got);
	/* taken back: they wait again */
	if (note->count < 0)
		tell_some(woken, note->key, -note->count, false);
}

static void
tell_one(Woken *woken, const Note *note)
{
	switch (note->kind)
	{
		case NOTE_WORK:
			tell_some(woken, note->key, note->count, false);
			break;
		case NOTE_LATER:
			tell_later(woken, note->key, note->due);
			break;
		case NOTE_SLOT:
			tell_some(woken, note->key, note->count, true);
			break;
		case NOTE_QUEUE:
		case NOTE_END:
		case NOTE_EVENT:
			tell_all(woken, note->key);
			break;
		case NOTE_NEWS:
		case NOTE_DEADLINE:
			tell_executor(woken, note);
			break;
		case NOTE_TICK:
			tell_some(woken, note->key, 1, false);
			break;
		case NOTE_CLAIM:
			tell_claim(woken, note);
			break;
	}
}

/* Whether there may be somebody to tell.  Reads one counter. */
static bool
concerns_somebody(const Note *note)
{
	switch (note->kind)
	{
		case NOTE_SLOT:
			return any_of(memory->held_back, note->key);
		case NOTE_CLAIM:
			return any_of(memory->promised, note->key) || (note->count < 0 && any_of(memory->waiting, note->key));
		default:
			return any_of(memory->waiting, note->key);
	}
}

/* Tells what a transaction has noted.  It has ended; nothing here fails. */
void
tell(const Note *notes, int count)
{
	Woken		woken;
	int			i = 0;

	/* the commit first, then the counters: see the top of the file */
	pg_memory_barrier();
	while (i < count && !concerns_somebody(&notes[i]))
		i++;
	if (i == count)
		return;
	woken.count = 0;
	memset(woken.is_in, false, sizeof(woken.is_in));
	lock();
	for (; i < count; i++)
		if (concerns_somebody(&notes[i]))
			tell_one(&woken, &notes[i]);
	unlock();
	set_latches(&woken);
}

/* ---- the place of this session ----------------------------------------------------------------- */

/* Ends what it waits for, and passes on what it was told or promised. */
static void
stop_waiting(Woken *woken, bool keeps_promise)
{
	PlaceState	state = mine->state;
	WakeKey		key = mine->key;

	set_held_back(mine, false);
	if (!(state == PROMISED && keeps_promise))
	{
		set_state(mine, IDLE, 0);
		if (state == TOLD || state == PROMISED)
			pass_on(woken, key, false);
	}
	/* what is due later, others may rely on us to see */
	if (mine->next_due != DT_NOEND)
		for (int i = 0; i < mine->key_count; i++)
			if (mine->keys[i] != tick_key())
				tell_later(woken, mine->keys[i], mine->next_due);
	mine->next_due = DT_NOEND;
}

static void
leave_place(Woken *woken)
{
	stop_waiting(woken, false);
	set_executor(mine, 0);
	mine->key_count = 0;
	mine->proc = NULL;
	mine = NULL;
}

/* The session gives its place back. */
void
give_place_back(void)
{
	Woken		woken = {.count = 0};

	if (mine == NULL)
		return;
	lock();
	leave_place(&woken);
	unlock();
	set_latches(&woken);
}

/*
 * At the end of the session.  What it holds is released first, or whoever is told
 * would stumble over it.
 */
static void
leave_at_exit(int code, Datum arg)
{
	AbortOutOfAnyTransaction();
	give_place_back();
}

static void
take_place(void)
{
	static bool leaves = false;

	if (!leaves)
	{
		before_shmem_exit(leave_at_exit, 0);
		leaves = true;
	}
	for (int i = 0; i < PLACES && mine == NULL; i++)
		if (memory->places[i].proc == NULL)
		{
			mine = &memory->places[i];
			memset(mine, 0, sizeof(Place));
			mine->next_due = DT_NOEND;
			mine->proc = MyProc;
		}
}

/*
 * A procedure begins to wait for keys, and for news of an executor (0 is none).  False if
 * there is no place for it; it then has to look by itself.  A promise that the session had ends.
 */
bool
begin_waiting(const WakeKey *keys, int count, WakeKey executor)
{
	Woken		woken = {.count = 0};

	if (!has_wake_memory() || count > MOST_KEYS)
	{
		give_place_back();
		return false;
	}
	lock();
	if (mine == NULL)
		take_place();
	if (mine)
	{
		stop_waiting(&woken, false);
		mine->key_count = count;
		memcpy(mine->keys, keys, count * sizeof(WakeKey));
		mine->turn = ++memory->turns;
		if (executor != 0)
			set_executor(mine, executor);
	}
	unlock();
	set_latches(&woken);
	return mine != NULL;
}

bool
has_place(void)
{
	return mine != NULL;
}

/*
 * From now on the session can be told (but for a while of quiet), and is told whether it was
 * before.  Then it looks.  While it looks it counts as held back, since it may turn out to be.
 */
Told
ready_to_be_told(bool is_quiet)
{
	Told		told = {.key = 0};

	if (mine == NULL)
		return told;
	lock();
	told.key = mine->state == TOLD ? mine->key : 0;
	told.news = mine->news;
	told.deadline = mine->deadline;
	mine->news = mine->deadline = false;
	set_state(mine, is_quiet ? IDLE : WAITING, 0);
	set_held_back(mine, !is_quiet);
	unlock();
	return told;
}

/* Whether the session was told something since it was ready.  Reads without the lock: a latch comes with it. */
bool
was_told(void)
{
	return mine && (((volatile Place *) mine)->state == TOLD || ((volatile Place *) mine)->news ||
					((volatile Place *) mine)->deadline);
}

/* At least as many as are promised of a queue to others.  Reads without the lock. */
int64
promises(WakeKey queue)
{
	return mine ? pg_atomic_read_u32(&memory->promised[queue % BUCKETS]) : 0;
}

/*
 * So many jobs can be claimed from a queue.  If more than others were promised, the
 * session is promised one, and that is what it waited for.
 */
bool
promise(WakeKey queue, int64 jobs)
{
	Woken		woken = {.count = 0};
	int64		now = clock_monotonic();
	bool		promised;

	if (mine == NULL)
	{
		if (jobs > 0)
			promised_at = now;
		got = got && jobs <= 0;
		return jobs > 0;
	}
	lock();
	for (int i = 0; i < PLACES && any_of(memory->promised, queue); i++)
	{
		const Place *place = &memory->places[i];

		if (place->proc && place->state == PROMISED && place->key == queue && now - place->promised_at < PROMISE_TIME)
			jobs--;
	}
	promised = jobs > 0;
	if (promised)
	{
		/* told of another queue meanwhile, perhaps */
		if (mine->state == TOLD && mine->key != queue)
			pass_on(&woken, mine->key, false);
		set_held_back(mine, false);
		set_state(mine, PROMISED, queue);
		mine->promised_at = now;
		mine->got = false;
	}
	unlock();
	set_latches(&woken);
	return promised;
}

/* The session has looked, and sleeps now: there is work that it may not have, or not; and it looks at that time. */
void
wait_on(bool held_back, TimestampTz next_due)
{
	if (mine == NULL)
		return;
	lock();
	set_held_back(mine, held_back);
	mine->next_due = next_due;
	unlock();
}

/*
 * Whether it is time that somebody looks who was not told: nobody has for one of the keys.  Two keys of one
 * bucket may both be looked for more often.
 */
bool
is_due_to_look(const WakeKey *keys, int count)
{
	uint32		now = (uint32) (clock_monotonic() / 1000);
	bool		is_time = false;

	if (mine == NULL)
		return true;
	for (int i = 0; i < count; i++)
	{
		pg_atomic_uint64 *looked = &memory->looked[keys[i] % BUCKETS];
		uint64		before = pg_atomic_read_u64(looked);

		if (((WakeKey) (before >> 32) != keys[i] || now - (uint32) before >= LOOK_TIME) &&
			pg_atomic_compare_exchange_u64(looked, &before, (uint64) keys[i] << 32 | now))
			is_time = true;
	}
	return is_time;
}

/* Until then (clock_monotonic) the session is promised no work, since it was and got none. */
int64
quiet_until(void)
{
	if (mine)
		return mine->got || mine->promised_at == 0 ? 0 : mine->promised_at + QUIET_TIME;
	return got || promised_at == 0 ? 0 : promised_at + QUIET_TIME;
}

/* This session has claimed something. */
void
got_work(void)
{
	got = true;
}

/* The procedure returns, or fails.  A promise lasts. */
void
end_waiting(void)
{
	Woken		woken = {.count = 0};

	if (mine == NULL)
		return;
	lock();
	stop_waiting(&woken, true);
	/* who has no executor has nothing to keep the place for */
	if (mine->executor == 0)
		leave_place(&woken);
	unlock();
	set_latches(&woken);
}

/* Tells one more of those who wait for a queue: there may be more than the session was promised. */
void
tell_others(WakeKey queue)
{
	if (mine)
		tell(&(Note) {.kind = NOTE_WORK,.key = queue,.count = 1}, 1);
}

/* Tells all who wait for work here to look. */
void
tell_everybody(void)
{
	if (memory)
		tell(&(Note) {.kind = NOTE_QUEUE,.key = tick_key()}, 1);
}

/* Tells one of those who wait for work that there is something for tick, or to recover. */
void
tell_tick(void)
{
	if (memory)
		tell(&(Note) {.kind = NOTE_TICK,.key = tick_key(),.count = 1}, 1);
}

/* wake_mode() */
Datum
durable_wake_mode(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(has_wake_memory() ? "shared memory" : "looking"));
}

/* ---- a count of all sessions, beside the rest ------------------------------------------------- */

/* A fast path has left a call to its statement.  Not counted where the memory cannot be had, or was not asked for yet. */
void
count_left_to_statement(void)
{
	if (memory)
		pg_atomic_fetch_add_u64(&memory->left_to_statements, 1);
}

/* left_to_statements() */
Datum
durable_left_to_statements(PG_FUNCTION_ARGS)
{
	if (!has_wake_memory())
		PG_RETURN_NULL();
	PG_RETURN_INT64((int64) pg_atomic_read_u64(&memory->left_to_statements));
}
