/*-------------------------------------------------------------------------
 *
 * lock.h
 *	  The heavyweight locks (lock.c, fence.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_LOCK_H
#define DURABLE_LOCK_H

#include "durable.h"

#include "storage/lock.h"

/*
 * Our lock tags are advisory locks of classes of our own: those that users can
 * take have class 1 or 2.  In pg_locks they are locktype advisory with this
 * objsubid.
 */
typedef enum LockClass
{
	LOCK_CLASS_TREE = 17409,	/* 'D', 1 */
	LOCK_CLASS_QUEUE,
	LOCK_CLASS_CHILDREN,
	LOCK_CLASS_ALL_TREES,
	LOCK_CLASS_ALL_CHILDREN,
	LOCK_CLASS_FENCE,
	LOCK_CLASS_EVENTS,
	LOCK_CLASS_ENDS,
	LOCK_CLASS_GROUP_OF_ENDS,
	LOCK_CLASS_BOUND
} LockClass;

/* the tree's lock, and that of a workflow's children */
#define TREE_SHARED			ShareLock
#define TREE_EXCLUSIVE		ExclusiveLock
#define CHILDREN_START		ShareLock
#define CHILDREN_END		ExclusiveLock

/*
 * The lock of what ends waits: who brings such an end, who suspends a workflow that
 * waits for it, who keeps both away.
 */
#define ENDS_BRING			ShareLock
#define ENDS_WATCH			RowExclusiveLock
#define ENDS_HOLD			ExclusiveLock

/*
 * The queue's lock: who starts, who claims freely, who claims alone, who
 * changes it, who drops it.  A change excludes those who claim, not those who
 * start.
 */
#define QUEUE_START			AccessShareLock
#define QUEUE_CLAIM			RowExclusiveLock
#define QUEUE_CLAIM_ALONE	ExclusiveLock
#define QUEUE_CHANGE		ShareRowExclusiveLock
#define QUEUE_DROP			AccessExclusiveLock

extern bool lock_tree(const pg_uuid_t *root_id, LOCKMODE mode);
extern void unlock_tree(const pg_uuid_t *root_id, LOCKMODE mode);
extern int	tree_locks_left(void);
extern bool try_lock_tree(const pg_uuid_t *root_id);
extern bool try_lock_tree_of_claim(const pg_uuid_t *root_id);
extern void unlock_tree_of_claim(const pg_uuid_t *root_id);
extern bool can_lock_trees_of_claim(void);
extern bool try_lock_whole_tree(const pg_uuid_t *root_id);
extern void lock_children(const pg_uuid_t *parent_id, LOCKMODE mode);
extern void unlock_children(const pg_uuid_t *parent_id, LOCKMODE mode);
extern bool watch_ends(const pg_uuid_t *id);
extern bool try_watch_ends(const pg_uuid_t *id);
extern bool try_hold_ends(const pg_uuid_t *id);
extern bool try_bring_ends(const pg_uuid_t *id);
extern void lock_events(const pg_uuid_t *workflow_id);
extern void lock_queue(Datum name, LOCKMODE mode);
extern void unlock_queue(Datum name, LOCKMODE mode);
extern bool try_lock_queue(Datum name, LOCKMODE mode);
extern bool try_lock_bound(const char *executor_id, int32 number);
extern void unlock_bound(const char *executor_id, int32 number);
extern bool is_bound(const char *executor_id, int32 number);

extern void forget_locks(void);
extern void forget_locks_of_subtransaction(bool committed);

#endif							/* DURABLE_LOCK_H */
