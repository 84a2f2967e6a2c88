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
 * A search_path for a while; an error ends it, too.  What is named in full does
 * not need one, but a plan is analysed anew whenever it has changed.
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

	PushOverrideSearchPath(&path);
	return 0;
}

static inline void
unpin_search_path(int level)
{
	PopOverrideSearchPath();
}
#endif

#endif							/* DURABLE_COMPAT_H */
