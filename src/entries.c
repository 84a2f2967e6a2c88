/*-------------------------------------------------------------------------
 *
 * entries.c
 *	  About how many entries an index has in a range: for whoever counts, where
 *	  there is too much to be counted one by one.
 *
 * The pages of the range are counted, one level above them, and some are looked
 * into: how many entries they have, and of how many of these a snapshot sees the
 * row.  So statistics do not matter, nor what waits for VACUUM.  Of few pages all
 * are looked into: that is exact.
 *
 * Locks a page of the index or the table at a time (shared), while it reads it.
 * Pages may be split or deleted meanwhile: it is an estimate.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(durable_entries);

/* So many pages are looked into; if there are more, about so many rows of each. */
#define SAMPLES		32
#define SAMPLE_ROWS	32

/* A place between two entries: before those that have the key, or behind them.  A key of no columns: all have it. */
typedef struct Boundary
{
	BTScanInsert key;
	bool		behind;
} Boundary;

/* What is counted. */
typedef struct Range
{
	Relation	table;
	Relation	index;
	Boundary	low;
	Boundary	high;
} Range;

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

/* Copies the rows of the entries of a leaf from one on and before another; those that are known to be dead are left out. */
static int
rows_between(Page page, OffsetNumber from, OffsetNumber to, ItemPointerData *rows)
{
	int			count = 0;

	for (OffsetNumber offset = from; offset < to; offset = OffsetNumberNext(offset))
	{
		ItemId		item = PageGetItemId(page, offset);
		IndexTuple	entry = (IndexTuple) PageGetItem(page, item);

		if (ItemIdIsDead(item))
			continue;
		if (BTreeTupleIsPosting(entry))
			for (int i = 0; i < BTreeTupleGetNPosting(entry); i++)
				rows[count++] = *BTreeTupleGetPostingN(entry, i);
		else
			rows[count++] = entry->t_tid;
	}
	return count;
}

/* How many of the rows are seen, if need be from a sample. */
static double
rows_seen(Relation table, ItemPointerData *rows, int count, bool sample)
{
	int			step = sample ? Max(count / SAMPLE_ROWS, 1) : 1;
	Snapshot	snapshot = GetActiveSnapshot();
	Buffer		buffer = InvalidBuffer;
	int			looked = 0;
	int			seen = 0;

	for (int i = 0; i < count; i += step)
	{
		HeapTupleData row;

		/* equal entries are in the order of their rows */
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != ItemPointerGetBlockNumber(&rows[i]))
		{
			if (BufferIsValid(buffer))
				UnlockReleaseBuffer(buffer);
			buffer = ReadBuffer(table, ItemPointerGetBlockNumber(&rows[i]));
			LockBuffer(buffer, BUFFER_LOCK_SHARE);
		}
		seen += heap_hot_search_buffer(&rows[i], table, buffer, snapshot, &row, NULL, true);
		looked++;
	}
	if (BufferIsValid(buffer))
		UnlockReleaseBuffer(buffer);
	return looked > 0 ? (double) seen * count / looked : 0;
}

/* The entries of a leaf between two boundaries, NULL is its begin, or its end, whose rows are seen. */
static double
entries_of_leaf(const Range *range, BlockNumber block, const Boundary *low, const Boundary *high, bool sample)
{
	ItemPointerData rows[MaxTIDsPerBTreePage];
	Buffer		buffer;
	Page		page = read_page(range->index, block, &buffer);
	BTPageOpaque opaque = BTPageGetOpaque(page);
	int			count = 0;

	if (P_ISLEAF(opaque) && !P_IGNORE(opaque))
		count = rows_between(page, low ? first_behind(range->index, low, page) : P_FIRSTDATAKEY(opaque),
							 high ? first_behind(range->index, high, page) : PageGetMaxOffsetNumber(page) + 1, rows);
	UnlockReleaseBuffer(buffer);
	return rows_seen(range->table, rows, count, sample);
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
leaves_of(const Range *range, BlockNumber root, int64 *count)
{
	OffsetNumber offset = FirstOffsetNumber;
	OffsetNumber last_offset = FirstOffsetNumber;
	BlockNumber block = find_above_leaf(range->index, root, &range->low, &offset);
	BlockNumber last = find_above_leaf(range->index, root, &range->high, &last_offset);
	int64		room = 1024;
	BlockNumber *leaves = palloc(room * sizeof(BlockNumber));
	bool		is_first = true;
	bool		is_last;

	*count = 0;
	do
	{
		Buffer		buffer;
		Page		page = read_page(range->index, block, &buffer);
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

/* About how many entries lie in the range. */
static int64
about(const Range *range)
{
	BlockNumber root;
	uint32		level;
	BlockNumber *leaves;
	int64		count;
	int64		inner;
	int64		samples;
	bool		sample;
	double		found = 0;

	if (!find_root(range->index, &root, &level))
		return 0;
	if (level == 0)
		return (int64) entries_of_leaf(range, root, &range->low, &range->high, false);
	leaves = leaves_of(range, root, &count);
	if (count == 0)
		return 0;
	if (count == 1)
		return (int64) entries_of_leaf(range, leaves[0], &range->low, &range->high, false);
	inner = count - 2;
	samples = Min(inner, SAMPLES);
	sample = inner > SAMPLES;
	for (int64 i = 0; i < samples; i++)
		found += entries_of_leaf(range, leaves[1 + i * inner / samples], NULL, NULL, sample);
	if (samples > 0)
		found = found * inner / samples;
	return (int64) (found + entries_of_leaf(range, leaves[0], &range->low, NULL, sample) +
					entries_of_leaf(range, leaves[count - 1], NULL, &range->high, sample));
}

/* ---- the call ---------------------------------------------------------------------- */

/* Opens an index of ours by its name, and its table. */
static void
open_range(Range *range, NullableDatum name)
{
	Oid			id;

	require(name, "index");
	id = get_relname_relid(text_to_cstring(DatumGetTextPP(name.value)), get_namespace_oid("durable", false));
	if (!OidIsValid(id) || get_rel_relkind(id) != RELKIND_INDEX)
		bad_argument("index", "must be the name of an index of the extension", "There is no such index.",
					 "Pass the name without the schema.");
	range->table = table_open(IndexGetRelation(id, false), AccessShareLock);
	range->index = index_open(id, AccessShareLock);
	if (range->index->rd_rel->relam != BTREE_AM_OID || range->table->rd_rel->relam != HEAP_TABLE_AM_OID)
		bad_argument("index", "must be a B-tree", "It is of another kind.", "Pass one that the extension has made.");
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
	_bt_metaversion(index, &key->heapkeyspace, &key->allequalimage);	/* which is read for a row only */
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
	Range		range;
	Datum		values[INDEX_MAX_KEYS] = {0};
	int			count;
	const char *compare;
	int64		found;

	require(fcinfo->args[1], "keys");
	require(fcinfo->args[2], "compare");
	compare = text_to_cstring(PG_GETARG_TEXT_PP(2));
	open_range(&range, fcinfo->args[0]);
	count = read_keys(range.index, fcinfo->args[1], values);
	if (strcmp(compare, "=") != 0 && (count == 0 || (strcmp(compare, "<=") != 0 && strcmp(compare, ">") != 0)))
		bad_argument("compare", "must be =, <= or >", psprintf("It is \"%s\", and there are %d keys.", compare, count),
					 "Pass one of these, = where there are no keys.");
	range.low.behind = compare[0] == '>';
	range.high.behind = true;
	range.low.key = boundary_key(range.index, values, compare[0] == '<' ? count - 1 : count);
	range.high.key = boundary_key(range.index, values, compare[0] == '>' ? count - 1 : count);
	found = about(&range);
	index_close(range.index, NoLock);
	table_close(range.table, NoLock);
	PG_RETURN_INT64(found);
}
