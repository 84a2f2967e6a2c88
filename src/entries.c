/*-------------------------------------------------------------------------
 *
 * entries.c
 *	  About how many entries an index has in a range: for whoever counts, where
 *	  there is too much to be counted one by one.
 *
 * The pages of the range are counted, one level above them, and some are looked
 * into.  So it costs the same whatever statistics the server has, and a range is
 * found as exactly as its ends: these two pages are counted by their entries.
 * What is dead counts until a scan or VACUUM has found it.
 *
 * Locks a page of the index at a time (shared), while it reads it.  Pages may
 * be split or deleted meanwhile: it is an estimate.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(durable_entries);

/* So many pages are looked into. */
#define SAMPLES		32

/* A place between two entries: before those that have the key, or behind them.  A key of no columns: all have it. */
typedef struct Boundary
{
	BTScanInsert key;
	bool		behind;
} Boundary;

/* ---- pages ------------------------------------------------------------------- */

static Page
read_page(Relation index, BlockNumber block, Buffer *buffer)
{
	CHECK_FOR_INTERRUPTS();
	*buffer = ReadBuffer(index, block);
	LockBuffer(*buffer, BUFFER_LOCK_SHARE);
	return BufferGetPage(*buffer);
}

/* Whether a boundary lies before an entry of a page, or an entry above it. */
static bool
is_before(Relation index, const Boundary *boundary, Page page, OffsetNumber offset)
{
	int32		compared = _bt_compare(index, boundary->key, page, offset);

	return boundary->behind ? compared < 0 : compared <= 0;
}

/* The first entry of a page behind a boundary. */
static OffsetNumber
first_behind(Relation index, const Boundary *boundary, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY(BTPageGetOpaque(page));
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (is_before(index, boundary, page, middle))
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The entries of a leaf from one on and before another; those that are known to be dead do not count. */
static int64
entries_between(Page page, OffsetNumber from, OffsetNumber to)
{
	int64		count = 0;

	for (OffsetNumber offset = from; offset < to; offset = OffsetNumberNext(offset))
	{
		ItemId		item = PageGetItemId(page, offset);
		IndexTuple	entry = (IndexTuple) PageGetItem(page, item);

		if (!ItemIdIsDead(item))
			count += BTreeTupleIsPosting(entry) ? BTreeTupleGetNPosting(entry) : 1;
	}
	return count;
}

/* The entries of a leaf between two boundaries; NULL is its begin, or its end. */
static int64
entries_of_leaf(Relation index, BlockNumber block, const Boundary *low, const Boundary *high)
{
	Buffer		buffer;
	Page		page = read_page(index, block, &buffer);
	BTPageOpaque opaque = BTPageGetOpaque(page);
	int64		count = 0;

	if (P_ISLEAF(opaque) && !P_IGNORE(opaque))
		count = entries_between(page, low ? first_behind(index, low, page) : P_FIRSTDATAKEY(opaque),
								high ? first_behind(index, high, page) : PageGetMaxOffsetNumber(page) + 1);
	UnlockReleaseBuffer(buffer);
	return count;
}

/* ---- down the tree --------------------------------------------------------------- */

/* Where the tree begins; its level is 0 if that is a leaf.  False if it has no page. */
static bool
find_root(Relation index, BlockNumber *root, uint32 *level)
{
	Buffer		buffer;
	BTMetaPageData *meta = BTPageGetMeta(read_page(index, BTREE_METAPAGE, &buffer));

	*root = meta->btm_fastroot;
	*level = meta->btm_fastlevel;
	UnlockReleaseBuffer(buffer);
	return *root != P_NONE;
}

/* Goes down to the page just above the leaves, and there to the entry of the leaf where the boundary lies. */
static BlockNumber
find_above_leaf(Relation index, BlockNumber root, const Boundary *boundary, OffsetNumber *offset)
{
	BlockNumber block = root;

	for (;;)
	{
		Buffer		buffer;
		Page		page = read_page(index, block, &buffer);
		BTPageOpaque opaque = BTPageGetOpaque(page);
		BlockNumber next;

		if (!P_RIGHTMOST(opaque) && (P_IGNORE(opaque) || !is_before(index, boundary, page, P_HIKEY)))
			next = opaque->btpo_next;
		else
		{
			/* the first entry of such a page is less than any key */
			*offset = Max(OffsetNumberPrev(first_behind(index, boundary, page)), P_FIRSTDATAKEY(opaque));
			next = opaque->btpo_level <= 1 ? InvalidBlockNumber :
				BTreeTupleGetDownLink((IndexTuple) PageGetItem(page, PageGetItemId(page, *offset)));
		}
		UnlockReleaseBuffer(buffer);
		if (next == InvalidBlockNumber)
			return block;
		block = next;
	}
}

/* The leaves from that of one boundary to that of the other, both included. */
static BlockNumber *
leaves_between(Relation index, BlockNumber root, const Boundary *low, const Boundary *high, int64 *count)
{
	OffsetNumber offset;
	OffsetNumber last_offset;
	BlockNumber block = find_above_leaf(index, root, low, &offset);
	BlockNumber last = find_above_leaf(index, root, high, &last_offset);
	int64		room = 1024;
	BlockNumber *leaves = palloc(room * sizeof(BlockNumber));
	bool		is_first = true;
	bool		is_last;

	*count = 0;
	do
	{
		Buffer		buffer;
		Page		page = read_page(index, block, &buffer);
		BTPageOpaque opaque = BTPageGetOpaque(page);
		OffsetNumber end = PageGetMaxOffsetNumber(page);

		if (!is_first)
			offset = P_FIRSTDATAKEY(opaque);
		is_first = false;
		is_last = block == last || P_RIGHTMOST(opaque);
		if (block == last)
			end = Min(end, last_offset);
		for (; offset <= end && !P_IGNORE(opaque); offset = OffsetNumberNext(offset))
		{
			if (*count == room)
				leaves = repalloc_huge(leaves, (room *= 2) * sizeof(BlockNumber));
			leaves[(*count)++] = BTreeTupleGetDownLink((IndexTuple) PageGetItem(page, PageGetItemId(page, offset)));
		}
		block = opaque->btpo_next;
		UnlockReleaseBuffer(buffer);
	} while (!is_last);
	return leaves;
}

/* About how many entries lie between two boundaries. */
static int64
about_between(Relation index, const Boundary *low, const Boundary *high)
{
	BlockNumber root;
	uint32		level;
	BlockNumber *leaves;
	int64		count;
	int64		inner;
	int64		samples;
	int64		found = 0;

	if (!find_root(index, &root, &level))
		return 0;
	if (level == 0)
		return entries_of_leaf(index, root, low, high);
	leaves = leaves_between(index, root, low, high, &count);
	if (count == 0)
		return 0;
	if (count == 1)
		return entries_of_leaf(index, leaves[0], low, high);
	inner = count - 2;
	samples = Min(inner, SAMPLES);
	for (int64 i = 0; i < samples; i++)
		found += entries_of_leaf(index, leaves[1 + i * inner / samples], NULL, NULL);
	if (samples > 0)
		found = (int64) ((double) found * inner / samples);
	return found + entries_of_leaf(index, leaves[0], low, NULL) + entries_of_leaf(index, leaves[count - 1], NULL, high);
}

/* ---- the call ---------------------------------------------------------------------- */

/* Opens an index of ours by its name. */
static Relation
open_index(NullableDatum name)
{
	Oid			id;
	Relation	index;

	require(name, "index");
	id = get_relname_relid(text_to_cstring(DatumGetTextPP(name.value)), get_namespace_oid("durable", false));
	index = OidIsValid(id) && get_rel_relkind(id) == RELKIND_INDEX ? index_open(id, AccessShareLock) : NULL;
	if (index == NULL || index->rd_rel->relam != BTREE_AM_OID)
		bad_argument("index", "must be the name of an index of the extension", "There is no such index.",
					 "Pass the name without the schema.");
	return index;
}

/* The key before or behind which a boundary lies: the first so many columns of the index. */
static BTScanInsert
boundary_key(Relation index, const Datum *values, int count)
{
	BTScanInsert key = _bt_mkscankey(index, NULL);

	for (int i = 0; i < count; i++)
	{
		key->scankeys[i].sk_argument = values[i];
		key->scankeys[i].sk_flags &= ~SK_ISNULL;
	}
	key->keysz = count;
	return key;
}

/* Reads the values of the first columns of an index from texts. */
static int
read_keys(Relation index, NullableDatum keys, Datum *values)
{
	Datum	   *texts;
	int			count;

	check_array(keys, "keys");
	deconstruct_array(DatumGetArrayTypeP(keys.value), TEXTOID, -1, false, TYPALIGN_INT, &texts, NULL, &count);
	if (count > IndexRelationGetNumberOfKeyAttributes(index))
		bad_argument("keys", "must have a value for each of the first columns of the index",
					 psprintf("There are %d, and the index has %d columns.", count,
							  IndexRelationGetNumberOfKeyAttributes(index)),
					 "Pass less of them.");
	for (int i = 0; i < count; i++)
	{
		Oid			input;
		Oid			param;

		getTypeInputInfo(TupleDescAttr(RelationGetDescr(index), i)->atttypid, &input, &param);
		values[i] = OidInputFunctionCall(input, TextDatumGetCString(texts[i]), param, -1);
	}
	return count;
}

/*
 * entries(index, keys, compare)
 *
 * The range: those whose first columns are as the keys, the last of them compared
 * as compare says.
 */
Datum
durable_entries(PG_FUNCTION_ARGS)
{
	Relation	index;
	Datum		values[INDEX_MAX_KEYS];
	int			count;
	const char *compare;
	Boundary	low;
	Boundary	high;
	int64		found;

	require(fcinfo->args[1], "keys");
	require(fcinfo->args[2], "compare");
	compare = text_to_cstring(PG_GETARG_TEXT_PP(2));
	index = open_index(fcinfo->args[0]);
	count = read_keys(index, fcinfo->args[1], values);
	if (strcmp(compare, "=") != 0 && (count == 0 || (strcmp(compare, "<=") != 0 && strcmp(compare, ">") != 0)))
		bad_argument("compare", "must be =, <= or >", psprintf("It is \"%s\", and there are %d keys.", compare, count),
					 "Pass one of these, = where there are no keys.");
	low.behind = compare[0] == '>';
	high.behind = true;
	low.key = boundary_key(index, values, compare[0] == '<' ? count - 1 : count);
	high.key = boundary_key(index, values, compare[0] == '>' ? count - 1 : count);
	found = about_between(index, &low, &high);
	index_close(index, NoLock);
	PG_RETURN_INT64(found);
}
