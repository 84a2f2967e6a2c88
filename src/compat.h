/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Differences between PostgreSQL 15 and 19, all of them.
 *
 * Include it right after postgres.h, before any other header of the server.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_COMPAT_H
#define DURABLE_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "durable needs PostgreSQL 15 or later"
#endif

/* 16 moved the accessors of variable-length values out of postgres.h */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 lets a module tell its name and version (the Makefile takes it from the control file) */
#include "fmgr.h"
#ifdef PG_MODULE_MAGIC_EXT
#define DURABLE_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "durable", .version = DURABLE_VERSION)
#else
#define DURABLE_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/*
 * 18 spells it as a prefix, 15 to 17 as a suffix.  Write it first of all, before
 * extern and static: 19 makes it an attribute of C23.
 */
#ifndef pg_noreturn
#define pg_noreturn __attribute__((noreturn))
#endif

/*
 * The search_path pg_catalog, pg_temp for a while; an error ends it, too.  What
 * is named in full does not need one, but a plan is analysed anew whenever it
 * has changed.
 */
#if PG_VERSION_NUM >= 170000
#include "utils/guc.h"

static inline int
pin_search_path(void)
{
	int			level = NewGUCNestLevel();

	RestrictSearchPath();
	return level;
}

static inline void
unpin_search_path(int level)
{
	AtEOXact_GUC(false, level);
}
#else
#include "catalog/namespace.h"
#include "catalog/pg_namespace_d.h"

static inline int
pin_search_path(void)
{
	OverrideSearchPath path = {.schemas = list_make1_oid(PG_CATALOG_NAMESPACE)};
	Oid			temp;
	Oid			temp_toast;

	/* addTemp would put it first */
	GetTempNamespaceState(&temp, &temp_toast);
	if (OidIsValid(temp))
		path.schemas = lappend_oid(path.schemas, temp);
	PushOverrideSearchPath(&path);
	return 0;
}

static inline void
unpin_search_path(int level)
{
	PopOverrideSearchPath();
}
#endif

/* what a check of a setting hands to its assignment; since 16 in memory of its own */
#if PG_VERSION_NUM >= 160000
#define setting_alloc(size) guc_malloc(LOG, size)
#define setting_free(p) guc_free(p)
#else
#define setting_alloc(size) malloc(size)
#define setting_free(p) free(p)
#endif

/* 17 has infinite intervals */
#if PG_VERSION_NUM < 170000
#define INTERVAL_NOT_FINITE(interval) false
#endif

/*
 * table.c: which indexes need entries for an updated row.  Since 16 these may be
 * the summarizing ones alone.
 */
#if PG_VERSION_NUM >= 160000
#define UpdatedIndexes TU_UpdateIndexes
#define UPDATED_NO_INDEXES TU_None
#define UPDATED_ONLY_SUMMARIZING(updated) ((updated) == TU_Summarizing)
#else
#define UpdatedIndexes bool
#define UPDATED_NO_INDEXES false
#define UPDATED_ONLY_SUMMARIZING(updated) false
#endif

/* table.c: table_tuple_update; 19 has added options */
#if PG_VERSION_NUM >= 190000
#define update_tuple(table, tid, slot, cid, snapshot, tmfd, lockmode, updated) \
	table_tuple_update(table, tid, slot, cid, 0, snapshot, InvalidSnapshot, true, tmfd, lockmode, updated)
#else
#define update_tuple(table, tid, slot, cid, snapshot, tmfd, lockmode, updated) \
	table_tuple_update(table, tid, slot, cid, snapshot, InvalidSnapshot, true, tmfd, lockmode, updated)
#endif

/* table.c: ExecInsertIndexTuples, of an INSERT, of one that may conflict, and of an UPDATE */
#if PG_VERSION_NUM >= 190000
#define insert_index_entries(indexes, slot, estate, conflict) \
	((void) ExecInsertIndexTuples(indexes, estate, EIIT_NO_DUPE_ERROR, slot, NIL, conflict))
#define insert_index_entries_or_raise(indexes, slot, estate) \
	((void) ExecInsertIndexTuples(indexes, estate, 0, slot, NIL, NULL))
#define update_index_entries(indexes, slot, estate, updated) \
	((void) ExecInsertIndexTuples(indexes, estate, \
								  EIIT_IS_UPDATE | (UPDATED_ONLY_SUMMARIZING(updated) ? EIIT_ONLY_SUMMARIZING : 0), \
								  slot, NIL, NULL))
#elif PG_VERSION_NUM >= 160000
#define insert_index_entries(indexes, slot, estate, conflict) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, false, true, conflict, NIL, false))
#define insert_index_entries_or_raise(indexes, slot, estate) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, false, false, NULL, NIL, false))
#define update_index_entries(indexes, slot, estate, updated) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, true, false, NULL, NIL, UPDATED_ONLY_SUMMARIZING(updated)))
#else
#define insert_index_entries(indexes, slot, estate, conflict) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, false, true, conflict, NIL))
#define insert_index_entries_or_raise(indexes, slot, estate) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, false, false, NULL, NIL))
#define update_index_entries(indexes, slot, estate, updated) \
	((void) ExecInsertIndexTuples(indexes, slot, estate, true, false, NULL, NIL))
#endif

/* 16 has a name for it */
#if PG_VERSION_NUM < 160000
typedef Oid RelFileNumber;
#endif

/* 17 has added whether a stronger mode counts */
#if PG_VERSION_NUM >= 170000
#define lock_is_held(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define lock_is_held(tag, mode) LockHeldByMe(tag, mode)
#endif

/* privileges.c; 16 has one function for all kinds of objects */
#if PG_VERSION_NUM >= 160000
#define may_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define may_execute(function, role) (pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* 18 asks whether a deferrable primary key counts */
#if PG_VERSION_NUM >= 180000
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table, false)
#else
#define primary_key_index(table) RelationGetPrimaryKeyIndex(table)
#endif

/*
 * wake_memory.c: shared memory by its name, without preloading the library.  Up
 * to 16 it is taken from what the server has left over, since 17 it is a segment
 * of its own.
 */
#include "storage/lwlock.h"

#if PG_VERSION_NUM >= 190000
#define SHARED_MEMORY_TO_INIT void *memory, void *arg
#else
#define SHARED_MEMORY_TO_INIT void *memory
#endif

#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"

static inline void *
shared_memory(const char *name, Size size, void (*init) (SHARED_MEMORY_TO_INIT))
{
	bool		found;

#if PG_VERSION_NUM >= 190000
	return GetNamedDSMSegment(name, size, init, &found, NULL);
#else
	return GetNamedDSMSegment(name, size, init, &found);
#endif
}
#else
#include "storage/shmem.h"

static inline void *
shared_memory(const char *name, Size size, void (*init) (SHARED_MEMORY_TO_INIT))
{
	bool		found;
	void	   *memory;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	memory = ShmemInitStruct(name, size, &found);
	if (!found)
		init(memory);
	LWLockRelease(AddinShmemInitLock);
	return memory;
}
#endif

/* 19 names a tranche once, before that each backend does */
#if PG_VERSION_NUM >= 190000
#define new_tranche(name) LWLockNewTrancheId(name)
#define name_tranche(id, name) ((void) 0)
#else
#define new_tranche(name) LWLockNewTrancheId()
#define name_tranche(id, name) LWLockRegisterTranche(id, name)
#endif

/* wake_sleep.c: what pg_stat_activity says a session waits for; 17 lets an extension name it */
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 170000
#define new_wait_event(name) WaitEventExtensionNew(name)
#else
#define new_wait_event(name) PG_WAIT_EXTENSION
#endif

/*
 * wake_sleep.c: the events for which the server waits for its client.  Declared
 * here, since their header includes those of libraries that need not be installed.
 */
#include "storage/latch.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

extern PGDLLIMPORT WaitEventSet *FeBeWaitSet;
#define FEBE_SOCKET 0
#define FEBE_EVENTS 3

/* bind.c: what pg_stat_activity shows; 16 has renamed the function */
#include "utils/backend_status.h"

#if PG_VERSION_NUM >= 160000
#define status_of_backend(i) (&pgstat_get_local_beentry_by_index(i)->backendStatus)
#else
#define status_of_backend(i) (&pgstat_fetch_stat_local_beentry(i)->backendStatus)
#endif

/* a case that goes on into the next one; 19 has the word, and takes no comment for it */
#ifndef pg_fallthrough
#define pg_fallthrough __attribute__((fallthrough))
#endif

#endif							/* DURABLE_COMPAT_H */
