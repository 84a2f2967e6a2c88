/*-------------------------------------------------------------------------
 *
 * version.c
 *	  Does the schema fit the library?
 *
 * A package replaces the library for all databases at once; each database gets
 * the new schema when somebody says ALTER EXTENSION durable UPDATE there.  In
 * between, a new session has the new library on an old schema, where a missing
 * column is the best that could happen.  It is told so instead.
 *
 * The other way round, a session that was there before the update goes on with
 * the old library on the new schema: it is up to the upgrade script to allow
 * that (docs/UPGRADING.md).
 *
 *-------------------------------------------------------------------------
 */
#include "durable.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

/* The version of the schema in this database, NULL without the extension. */
static char *
installed_version(void)
{
	Relation	extensions = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("durable"));
	scan = systable_beginscan(extensions, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(extensions), &isnull);

		version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
	return version;
}

/* Compares numbers, dot by dot: 1.9 is older than 1.10. */
static bool
is_older(const char *version, const char *than)
{
	for (;;)
	{
		long		a = strtol(version, (char **) &version, 10);
		long		b = strtol(than, (char **) &than, 10);

		if (a != b)
			return a < b;
		if (*version != '.' || *than != '.')
			return *version != '.' && *than == '.';
		version++;
		than++;
	}
}

/*
 * Called before a statement is analysed, for the first time or because what it
 * names has changed, so never where all goes its usual way.
 */
void
require_schema_version(void)
{
	char	   *version = installed_version();

	if (version && is_older(version, DURABLE_VERSION))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"durable\" in this database is older than its library"),
				 errdetail("The extension is at version %s, the library at %s.", version, DURABLE_VERSION),
				 errhint("Run ALTER EXTENSION durable UPDATE in this database.")));
}
