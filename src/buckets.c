/*-------------------------------------------------------------------------
 *
 * buckets.c
 *	  Which buckets this database has, where several databases share them: the guard
 *	  of all calls.  Who changes them is in buckets_set.c.
 *
 * durable.buckets has one row with the ranges; without a row all buckets are here.
 *
 * Every call holds the table (RowShareLock) from before it looks to the end of its
 * transaction (begin_call); that costs no look into the table, and an entry in the part
 * of the lock table that is the backend's own.  set_buckets locks it exclusively.  So it
 * waits for the transactions that have made calls, and keeps away those that come
 * after; these then find what it has committed: whoever gets a lock learns at once what
 * was told about the table before it was given up, and reads it again.  A backend that
 * holds the table cannot be told anything new.
 *
 * An id or a name of another bucket is refused where a call begins (WF016).  What looks
 * for workflows without being given an id goes by the registers: those of what is
 * unfinished have rows for what is here only (register.c).
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "buckets.h"
#include "ids.h"
#include "refusal.h"
#include "relation.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/rel.h"
#include "utils/typcache.h"

static OurIndex buckets_table = {
	"buckets", "buckets_pkey", OUR_COLUMNS({"one", BOOLOID}, {"ranges", INT4MULTIRANGEOID}),.nkeys = 1,.is_unique = true
};

/* What this backend has read. */
static bool is_read;			/* and nothing was told since */
static bool here[BUCKETS];
static int	count_here;

/* ---- reading --------------------------------------------------------------------------- */

/* The ranges, as they are now whatever the transaction's snapshot; all buckets if there is no row. */
static MultirangeType *
read_ranges(Relation table)
{
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	row = systable_getnext(scan);
	MultirangeType *ranges;

	if (row)
	{
		bool		isnull;

		ranges = DatumGetMultirangeTypePCopy(heap_getattr(row, 2, RelationGetDescr(table), &isnull));
	}
	else
		ranges = DatumGetMultirangeTypeP(OidInputFunctionCall(F_MULTIRANGE_IN, "{[0,4096)}", INT4MULTIRANGEOID, -1));
	systable_endscan(scan);
	return ranges;
}

/* Notes which buckets are in the ranges. */
static void
note_here(const MultirangeType *ranges)
{
	TypeCacheEntry *type = lookup_type_cache(INT4MULTIRANGEOID, TYPECACHE_MULTIRANGE_INFO);

	count_here = 0;
	memset(here, 0, sizeof(here));
	for (int i = 0; i < ranges->rangeCount; i++)
	{
		RangeBound	lower;
		RangeBound	upper;

		multirange_get_bounds(type->rngtype, ranges, i, &lower, &upper);
		for (int32 bucket = Max(lower.infinite ? 0 : DatumGetInt32(lower.val), 0);
			 bucket < (upper.infinite ? BUCKETS : Min(DatumGetInt32(upper.val), BUCKETS)); bucket++)
		{
			here[bucket] = true;
			count_here++;
		}
	}
}

/* The table, or its extension, has changed (0: any). */
static void
forget_buckets(Datum arg, Oid id)
{
	if (!OidIsValid(id) || id == buckets_table.table_id)
		is_read = false;
}

static void
read_buckets(Relation table)
{
	static bool is_registered;
	MultirangeType *ranges;

	if (!is_registered)
	{
		CacheRegisterRelcacheCallback(forget_buckets, (Datum) 0);
		is_registered = true;
	}
	ranges = read_ranges(table);
	note_here(ranges);
	pfree(ranges);
	/*
	 * Whatever was told meanwhile: nobody can have changed it, since we hold it.  But without the
	 * trigger nobody will be told.
	 */
	is_read = has_our_trigger(table, "buckets_changed");
}

/* Holds the table to the end of the transaction: what is here stays so. */
void
hold_buckets(void)
{
	Relation	table;

	if (is_read)
		LockRelationOid(buckets_table.table_id, RowShareLock);
	/* to get the lock is to be told */
	if (is_read)
		return;
	table = open_our_table(&buckets_table, RowShareLock);
	read_buckets(table);
	table_close(table, NoLock);
}

/* The ranges; the table is locked to the end of the transaction. */
Datum
lock_buckets(LOCKMODE mode)
{
	Relation	table = open_our_table(&buckets_table, mode);
	MultirangeType *ranges = read_ranges(table);

	table_close(table, NoLock);
	return MultirangeTypePGetDatum(ranges);
}

static char *
buckets_text(void)
{
	return OidOutputFunctionCall(F_MULTIRANGE_OUT, lock_buckets(RowShareLock));
}

/* ---- asking ------------------------------------------------------------------------------ */

/* All of these are for who holds the table: a call that has begun. */

bool
has_some_bucket(void)
{
	return count_here > 0;
}

bool
has_bucket_of(const pg_uuid_t *id)
{
	return here[id_bucket(id)];
}

bool
has_bucket_of_name(Datum name, const char *argument)
{
	text	   *t = DatumGetTextPP(name);

	return count_here == BUCKETS || here[name_bucket(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), argument)];
}

static void
require_bucket_of(const pg_uuid_t *id)
{
	if (!has_bucket_of(id))
		raise_refusal(refuse_bucket(id_bucket(id),
									psprintf("%s %s", id_sequence(id) < 0 ? "workflow" : "step", uuid_text(id)),
									buckets_text()));
}

static void
require_buckets_of_array(ArrayType *ids)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	deconstruct_array(ids, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			require_bucket_of(DatumGetUUIDP(values[i]));
}

/*
 * Whatever ids a call is given, they are those of tasks: so each function is guarded,
 * also one that is yet to come, by the types of its arguments.
 */
void
require_buckets_of_call(FunctionCallInfo fcinfo, const oidvector *types)
{
	if (count_here == BUCKETS)
		return;
	for (int i = 0; i < Min(fcinfo->nargs, types->dim1); i++)
	{
		if (fcinfo->args[i].isnull)
			continue;
		if (types->values[i] == UUIDOID)
			require_bucket_of(PG_GETARG_UUID_P(i));
		else if (types->values[i] == UUIDARRAYOID)
			require_buckets_of_array(PG_GETARG_ARRAYTYPE_P(i));
	}
}

/* The name of a root, which is asked for after the call has begun. */
void
require_bucket_of_name(Datum name, const char *argument)
{
	text	   *t = DatumGetTextPP(name);

	if (!has_bucket_of_name(name, argument))
		raise_refusal(refuse_bucket(name_bucket(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t), argument),
									psprintf("root workflow \"%s\"", TextDatumGetCString(name)), buckets_text()));
}
