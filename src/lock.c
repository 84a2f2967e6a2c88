/*-------------------------------------------------------------------------
 *
 * lock.c
 *	  The heavyweight locks.  durable.h has the order in which all locks are
 *	  taken; fence.c has those of the fence.
 *
 * All are held to the end of the transaction, unless they are given back.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "lock.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(durable_lock_key_queue);
PG_FUNCTION_INFO_V1(durable_lock_key_workflow);

/* ---- tags ------------------------------------------------------------------ */

static LOCKTAG
lock_tag(LockClass class, const void *key, int len)
{
	uint64		hash = hash_bytes_extended(key, len, 0);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, class);
	return tag;
}

static LOCKTAG
tree_tag(const pg_uuid_t *root_id)
{
	return lock_tag(LOCK_CLASS_TREE, root_id, UUID_LEN);
}

static LOCKTAG
queue_tag(LockClass class, Datum name)
{
	text	   *t = DatumGetTextPP(name);

	return lock_tag(class, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

#define GROUPS_OF_ENDS	32

static LOCKTAG
group_of_ends_tag(const pg_uuid_t *id)
{
	uint8		group = hash_bytes(id->data, UUID_LEN) % GROUPS_OF_ENDS;

	return lock_tag(LOCK_CLASS_GROUP_OF_ENDS, &group, sizeof(group));
}

static void
lock(LOCKTAG tag, LOCKMODE mode)
{
	(void) LockAcquire(&tag, mode, false, false);
}

static void
unlock(LOCKTAG tag, LOCKMODE mode)
{
	(void) LockRelease(&tag, mode, false);
}

/* ---- how many are held ------------------------------------------------------- */

/*
 * A family of locks, one for each id.  There is room for some thousands of
 * locks only, so a transaction that takes very many of a family (shared) takes,
 * beyond so many, the one lock of them all.  Whoever takes one exclusively then
 * also takes the lock of all, in a mode (ALL_SOMEBODY) that excludes those who hold
 * it shared, but not others who do the same.
 */
#define LOCKS_AT_ONCE	1000
#define ALL_SHARED		ShareLock
#define ALL_SOMEBODY	RowExclusiveLock

/* claim and recover take the lock of all sooner: many may run at once, each for many workflows */
#define CLAIM_LOCKS		100

/* what ends waits is locked one by one up to so many, by who brings it, and by who watches for it */
#define ENDS_BROUGHT	32
#define ENDS_WATCHED	500

/* emit locks the events of so many workflows, and of no more: there is no lock of all */
#define EVENT_LOCKS		100

typedef enum Family
{
	TREES,
	CHILDREN,
	EVENTS,
	ENDS
} Family;

#define FAMILIES (ENDS + 1)

static const LockClass class_one[] = {LOCK_CLASS_TREE, LOCK_CLASS_CHILDREN, LOCK_CLASS_EVENTS, LOCK_CLASS_ENDS};
static const LockClass class_all[] = {LOCK_CLASS_ALL_TREES, LOCK_CLASS_ALL_CHILDREN};

/* How many of each the transaction holds. */
static int	held[FAMILIES];

/*
 * How many locks the transaction held when a subtransaction took its first one: a
 * rollback to the savepoint gives back those that were taken since.
 */
typedef struct Mark
{
	int			level;			/* of the subtransaction */
	int			held[FAMILIES];
} Mark;

static Mark *marks;
static int	mark_count;
static int	mark_room;

static void
count_lock(Family family, int by)
{
	int			level = GetCurrentTransactionNestLevel();

	if (level > 1 && (mark_count == 0 || marks[mark_count - 1].level < level))
	{
		if (mark_count == mark_room)
		{
			int			room = Max(16, 2 * mark_room);

			marks = marks ? repalloc(marks, room * sizeof(Mark)) :
				MemoryContextAlloc(TopMemoryContext, room * sizeof(Mark));
			mark_room = room;
		}
		marks[mark_count].level = level;
		memcpy(marks[mark_count].held, held, sizeof(held));
		mark_count++;
	}
	held[family] += by;
}

/* The transaction has ended: nothing is held. */
void
forget_locks(void)
{
	memset(held, 0, sizeof(held));
	mark_count = 0;
}

/* A subtransaction has ended: its locks are gone, or its parent's. */
void
forget_locks_of_subtransaction(bool committed)
{
	int			level = GetCurrentTransactionNestLevel();

	if (mark_count == 0 || marks[mark_count - 1].level < level)
		return;
	mark_count--;
	if (!committed)
		memcpy(held, marks[mark_count].held, sizeof(held));
	else if (level > 2 && (mark_count == 0 || marks[mark_count - 1].level < level - 1))
		marks[mark_count++].level = level - 1;
}

static LockAcquireResult
take(Family family, const pg_uuid_t *id, LOCKMODE mode, bool at_once)
{
	LOCKTAG		tag = lock_tag(class_one[family], id, UUID_LEN);
	LockAcquireResult result = LockAcquire(&tag, mode, false, at_once);

	if (result == LOCKACQUIRE_OK)
		count_lock(family, 1);
	return result;
}

/* Gives one back.  If it had been taken before, too, it stays held. */
static void
give_back(Family family, const pg_uuid_t *id, LOCKMODE mode)
{
	LOCKTAG		tag = lock_tag(class_one[family], id, UUID_LEN);

	unlock(tag, mode);
	if (!lock_is_held(&tag, mode))
		count_lock(family, -1);
}

/* Returns whether it is the lock of that id that was taken. */
static bool
lock_in_family(Family family, const pg_uuid_t *id, LOCKMODE mode)
{
	LOCKTAG		all = lock_tag(class_all[family], NULL, 0);

	if (held[family] >= LOCKS_AT_ONCE && mode == ShareLock)
	{
		lock(all, ALL_SHARED);
		return false;
	}
	(void) take(family, id, mode, false);
	if (mode != ShareLock)
		lock(all, ALL_SOMEBODY);
	return true;
}

/* Gives back what lock_in_family took of that id. */
static void
unlock_in_family(Family family, const pg_uuid_t *id, LOCKMODE mode)
{
	if (mode != ShareLock)
		unlock(lock_tag(class_all[family], NULL, 0), ALL_SOMEBODY);
	give_back(family, id, mode);
}

/* ---- trees ------------------------------------------------------------------- */

/* Returns whether it is the lock of that tree that was taken. */
bool
lock_tree(const pg_uuid_t *root_id, LOCKMODE mode)
{
	return lock_in_family(TREES, root_id, mode);
}

void
unlock_tree(const pg_uuid_t *root_id, LOCKMODE mode)
{
	unlock_in_family(TREES, root_id, mode);
}

/* How many more trees this transaction may lock, each by its own lock. */
int
tree_locks_left(void)
{
	return Max(LOCKS_AT_ONCE - held[TREES], 0);
}

/* Locks a tree (shared) by its own lock, without waiting; false if that cannot be. */
bool
try_lock_tree(const pg_uuid_t *root_id)
{
	return tree_locks_left() > 0 && take(TREES, root_id, TREE_SHARED, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The same for who claims or recovers a workflow: beyond some trees it is the
 * lock of all that is taken.
 */
bool
try_lock_tree_of_claim(const pg_uuid_t *root_id)
{
	LOCKTAG		all = lock_tag(LOCK_CLASS_ALL_TREES, NULL, 0);

	if (held[TREES] < CLAIM_LOCKS)
		return take(TREES, root_id, TREE_SHARED, true) != LOCKACQUIRE_NOT_AVAIL;
	return LockAcquire(&all, ALL_SHARED, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Gives back what try_lock_tree_of_claim has taken; the lock of all trees stays. */
void
unlock_tree_of_claim(const pg_uuid_t *root_id)
{
	LOCKTAG		tag = lock_tag(class_one[TREES], root_id, UUID_LEN);

	if (lock_is_held(&tag, TREE_SHARED))
		give_back(TREES, root_id, TREE_SHARED);
}

/*
 * Whether a claim or recover could now lock a tree that it does not hold yet.  If
 * not, it need not look for another workflow.
 */
bool
can_lock_trees_of_claim(void)
{
	LOCKTAG		all = lock_tag(LOCK_CLASS_ALL_TREES, NULL, 0);

	if (held[TREES] < CLAIM_LOCKS)
		return true;
	if (LockAcquire(&all, ALL_SHARED, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	unlock(all, ALL_SHARED);
	return true;
}

/*
 * Locks a tree exclusively, without waiting; false if somebody is writing in
 * it, or may be, holding the lock of all trees.  Only for as many trees as
 * tree_locks_left tells.
 */
bool
try_lock_whole_tree(const pg_uuid_t *root_id)
{
	LOCKTAG		all = lock_tag(LOCK_CLASS_ALL_TREES, NULL, 0);

	if (take(TREES, root_id, TREE_EXCLUSIVE, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (LockAcquire(&all, ALL_SOMEBODY, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		give_back(TREES, root_id, TREE_EXCLUSIVE);
		return false;
	}
	return true;
}

/* ---- a workflow's children, its events, and queues ------------------------------ */

void
lock_children(const pg_uuid_t *parent_id, LOCKMODE mode)
{
	(void) lock_in_family(CHILDREN, parent_id, mode);
}

void
unlock_children(const pg_uuid_t *parent_id, LOCKMODE mode)
{
	unlock_in_family(CHILDREN, parent_id, mode);
}

/* To emit one.  Beyond some workflows, emitters meet at the primary key only (event.c). */
void
lock_events(const pg_uuid_t *workflow_id)
{
	if (held[EVENTS] < EVENT_LOCKS)
		(void) take(EVENTS, workflow_id, ExclusiveLock, false);
}

/*
 * What ends waits: the end of a workflow, and signals to it.  Whoever brings the ends
 * of very many workflows locks, beyond some of them, groups, by a hash of their ids.
 */
bool
try_bring_ends(const pg_uuid_t *id)
{
	LOCKTAG		group = group_of_ends_tag(id);

	if (held[ENDS] < ENDS_BROUGHT)
		return take(ENDS, id, ENDS_BRING, true) != LOCKACQUIRE_NOT_AVAIL;
	return LockAcquire(&group, ENDS_BRING, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Locks both, so that those who bring ends are kept away, or waited for; false if there is no room, or it is not free. */
static bool
lock_ends(const pg_uuid_t *id, LOCKMODE mode, bool at_once)
{
	LOCKTAG		group = group_of_ends_tag(id);

	return held[ENDS] < ENDS_WATCHED && LockAcquire(&group, mode, false, at_once) != LOCKACQUIRE_NOT_AVAIL &&
		take(ENDS, id, mode, at_once) != LOCKACQUIRE_NOT_AVAIL;
}

/* Who suspends a workflow waits for those who bring an end. */
bool
watch_ends(const pg_uuid_t *id)
{
	return lock_ends(id, ENDS_WATCH, false);
}

bool
try_watch_ends(const pg_uuid_t *id)
{
	return lock_ends(id, ENDS_WATCH, true);
}

bool
try_hold_ends(const pg_uuid_t *id)
{
	return lock_ends(id, ENDS_HOLD, true);
}

void
lock_queue(Datum name, LOCKMODE mode)
{
	lock(queue_tag(LOCK_CLASS_QUEUE, name), mode);
}

void
unlock_queue(Datum name, LOCKMODE mode)
{
	unlock(queue_tag(LOCK_CLASS_QUEUE, name), mode);
}

/* The same at once, or not at all. */
bool
try_lock_queue(Datum name, LOCKMODE mode)
{
	LOCKTAG		tag = queue_tag(LOCK_CLASS_QUEUE, name);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* ---- executors that are bound to a session (bind.c) --------------------------------- */

/* Nobody waits for these: they are taken at once, or not at all. */
static LOCKTAG
bound_tag(const char *executor_id, int32 number)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, hash_bytes((const unsigned char *) executor_id, strlen(executor_id)),
						 (uint32) number, LOCK_CLASS_BOUND);
	return tag;
}

/* Takes the lock to the end of the session; true also if the session has it. */
bool
try_lock_bound(const char *executor_id, int32 number)
{
	LOCKTAG		tag = bound_tag(executor_id, number);

	return lock_is_held(&tag, ExclusiveLock) || LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
unlock_bound(const char *executor_id, int32 number)
{
	LOCKTAG		tag = bound_tag(executor_id, number);

	if (lock_is_held(&tag, ExclusiveLock))
		(void) LockRelease(&tag, ExclusiveLock, true);
}

/* Whether some session has the lock. */
bool
is_bound(const char *executor_id, int32 number)
{
	LOCKTAG		tag = bound_tag(executor_id, number);

	if (lock_is_held(&tag, ExclusiveLock))
		return true;
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	unlock(tag, ShareLock);
	return false;
}

/* ---- what pg_locks shows ---------------------------------------------------------- */

/* A tag as one number; for the view durable.lock_waits. */
static Datum
lock_key(LOCKTAG tag)
{
	return UInt64GetDatum((uint64) tag.locktag_field2 << 32 | tag.locktag_field3);
}

/* lock_key(queue_name) */
Datum
durable_lock_key_queue(PG_FUNCTION_ARGS)
{
	require_name(fcinfo->args[0], "queue_name");
	PG_RETURN_DATUM(lock_key(queue_tag(LOCK_CLASS_QUEUE, PG_GETARG_DATUM(0))));
}

/* lock_key(workflow_id): the class is told apart by objsubid */
Datum
durable_lock_key_workflow(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[0], "workflow_id");
	PG_RETURN_DATUM(lock_key(tree_tag(PG_GETARG_UUID_P(0))));
}
