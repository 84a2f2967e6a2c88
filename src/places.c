/*-------------------------------------------------------------------------
 *
 * places.c
 *	  Where workflows wait in queues, and where heads stand, as the indexes have
 *	  it: with entries that are dead, and with what is not committed.
 *
 * For the files about heads, lanes and ranks only: they need to see what others are about to
 * commit, and no statement shows that.  Nothing is written or locked here, and
 * nobody is waited for.
 *
 * A walk goes through what a snapshot sees, in the order of the index, or through
 * all entries (SnapshotAny).  Then is_live tells whether the row of an entry is
 * there, or may be.  A row is not live if a transaction that has committed, or our
 * own, has deleted it, or if the transaction that wrote it has aborted.
 *
 * Walks do not use table.c: no statement goes before a walk, so each opens its table
 * and index itself (relation.c).
 *
 *-------------------------------------------------------------------------
 */
#include "places.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/*
 * What a column says.  A turn is a rank with its sign changed: the lowest comes first.
 * An entry of a late workflow has no rank: its head has it.
 */
typedef enum Meaning
{
	NO_COLUMN, QUEUE_NAME, KEY, RANK, TURN, RUN_AT, WORKFLOW_ID, HEAD_ID, SERVE_AT
} Meaning;

#define MEANINGS (SERVE_AT + 1)

/* A table and one of its indexes, and what the columns of the table say. */
struct PlaceIndex
{
	OurIndex   *ours;
	AttrNumber	columns[MEANINGS];
};

/* These tables are registers. */
OurIndex	pending_register = A_REGISTER(pending, 5, {"queue_name", TEXTOID}, {"key", TEXTOID}, {"turn", INT8OID},
										  {"run_at", TIMESTAMPTZOID}, {"id", UUIDOID});

const PlaceIndex waiting_places = {
	&pending_register, {[QUEUE_NAME] = 1,[KEY] = 2,[TURN] = 3,[RUN_AT] = 4,[WORKFLOW_ID] = 5}
};

OurIndex	prioritized_register = A_REGISTER(prioritized, 4, {"queue_name", TEXTOID}, {"run_at", TIMESTAMPTZOID},
											  {"turn", INT8OID}, {"id", UUIDOID});

const PlaceIndex prioritized_places = {
	&prioritized_register, {[QUEUE_NAME] = 1,[RUN_AT] = 2,[TURN] = 3,[WORKFLOW_ID] = 4}
};

#define LANES(its_index, its_nkeys, ...) \
	&(OurIndex) { \
		"queue_lane", its_index, \
		OUR_COLUMNS({"queue_name", TEXTOID}, {"key", TEXTOID}, {"turn", INT8OID}, {"run_at", TIMESTAMPTZOID}, \
					{"workflow_id", UUIDOID}, {"id", UUIDOID}, {"serve_at", TIMESTAMPTZOID}), \
		.nkeys = its_nkeys, .keys = {__VA_ARGS__}, .is_written = true \
	}, {[QUEUE_NAME] = 1,[KEY] = 2,[TURN] = 3,[RUN_AT] = 4,[WORKFLOW_ID] = 5,[SERVE_AT] = 7}

const PlaceIndex lane_places = {LANES("queue_lane_pkey", 5, 1, 2, 3, 4, 5)};
const PlaceIndex lanes_in_order = {LANES("queue_lane_order", 4, 1, 3, 4, 5)};
const PlaceIndex lanes_by_service = {LANES("queue_lane_service", 4, 1, 3, 7, 5)};

#define HEADS(its_index, its_nkeys, ...) \
	&(OurIndex) { \
		"queue_head", its_index, \
		OUR_COLUMNS({"queue_name", TEXTOID}, {"rank", INT8OID}, {"id", UUIDOID}, {"run_at", TIMESTAMPTZOID}, \
					{"workflow_id", UUIDOID}), \
		.nkeys = its_nkeys, .keys = {__VA_ARGS__} \
	}, {[QUEUE_NAME] = 1,[RANK] = 2,[HEAD_ID] = 3,[RUN_AT] = 4,[WORKFLOW_ID] = 5}

const PlaceIndex head_places = {HEADS("queue_head_place", 4, 1, 2, 4, 5)};
static const PlaceIndex heads_by_age = {HEADS("queue_head_pkey", 3, 1, 2, 3)};

const PlaceIndex late_places = {
	&(OurIndex) {
		"queue_late", "queue_late_pkey",
		OUR_COLUMNS({"head_id", UUIDOID}, {"run_at", TIMESTAMPTZOID}, {"workflow_id", UUIDOID}),.nkeys = 3
	}, {[HEAD_ID] = 1,[RUN_AT] = 2,[WORKFLOW_ID] = 3}
};

int
compare_positions(const Position *a, const Position *b)
{
	if (a->run_at != b->run_at)
		return a->run_at < b->run_at ? -1 : 1;
	return memcmp(&a->id, &b->id, sizeof(pg_uuid_t));
}

/* Opens the table and the index of a walk. */
static void
open_places(Walk *walk, const PlaceIndex *places, Snapshot snapshot)
{
	walk->places = places;
	walk->snapshot = snapshot;
	walk->table = open_our_table(places->ours, AccessShareLock);
	walk->index = open_our_index(places->ours, AccessShareLock);
	walk->key_count = 0;
	walk->passed = 0;
	walk->most_passed = PG_INT64_MAX;
	walk->direction = ForwardScanDirection;
	walk->key = (Datum) 0;
	walk->ends_at_key = false;
}

/* Opens the table of places, to write there. */
Relation
open_to_write(const PlaceIndex *places)
{
	return open_our_table(places->ours, RowExclusiveLock);
}

static void
add_key(Walk *walk, Meaning column, StrategyNumber strategy, RegProcedure compare, Datum value)
{
	Assert(walk->key_count < lengthof(walk->keys));
	ScanKeyInit(&walk->keys[walk->key_count++], walk->places->columns[column], strategy, compare, value);
}

/* The entries of a queue, with one concurrency key (0 is none) where the index is by those. */
static void
add_queue(Walk *walk, Datum queue, Datum key)
{
	add_key(walk, QUEUE_NAME, BTEqualStrategyNumber, F_TEXTEQ, queue);
	if (key_column(walk->places->ours, 1) == walk->places->columns[KEY])
		add_key(walk, KEY, BTEqualStrategyNumber, F_TEXTEQ, key ? key : CStringGetTextDatum(""));
	walk->key = key;
}

/* The entries at ranks from the highest down to the lowest, both included. */
static void
add_ranks(Walk *walk, int64 highest, int64 lowest)
{
	bool		by_turn = walk->places->columns[TURN] != InvalidAttrNumber;
	Meaning		column = by_turn ? TURN : RANK;
	int64		first = by_turn ? turn_of_rank(highest) : lowest;
	int64		last = by_turn ? turn_of_rank(lowest) : highest;

	/* each key is checked for all entries of a page: not those that say nothing */
	if (first == last)
	{
		add_key(walk, column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(first));
		return;
	}
	if (by_turn ? highest < HIGHEST_RANK : lowest > LOWEST_RANK)
		add_key(walk, column, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	if (by_turn ? lowest > LOWEST_RANK : highest < HIGHEST_RANK)
		add_key(walk, column, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
}

/* A member of a key that compares rows.  It names the column of the index, where other keys name that of the table. */
static void
add_member(Walk *walk, int member, Meaning column, StrategyNumber strategy, RegProcedure compare, Datum value)
{
	const OurIndex *ours = walk->places->ours;
	int			key = 0;

	while (key_column(ours, key) != walk->places->columns[column])
		key++;
	ScanKeyEntryInitialize(&walk->place[member], SK_ROW_MEMBER, (AttrNumber) (key + 1), strategy, InvalidOid, InvalidOid, compare, value);
}

/*
 * The entries whose (run_at, id) compares so with that of a position.  A walk by run_at alone
 * would begin with all that has the same: as many as are started by one call.
 */
static void
add_place(Walk *walk, const Position *at, StrategyNumber strategy)
{
	ScanKey		header = &walk->keys[walk->key_count++];

	Assert(walk->key_count <= lengthof(walk->keys));
	walk->id = at->id;
	add_member(walk, 0, RUN_AT, strategy, F_TIMESTAMPTZ_CMP, TimestampTzGetDatum(at->run_at));
	add_member(walk, 1, WORKFLOW_ID, strategy, F_UUID_CMP, UUIDPGetDatum(&walk->id));
	walk->place[1].sk_flags |= SK_ROW_END;
	MemSet(header, 0, sizeof(ScanKeyData));
	header->sk_flags = SK_ROW_HEADER;
	header->sk_attno = walk->places->columns[RUN_AT];
	header->sk_strategy = strategy;
	header->sk_argument = PointerGetDatum(walk->place);
}

static void
begin(Walk *walk)
{
	walk->scan = systable_beginscan_ordered(walk->table, walk->index, walk->snapshot, walk->key_count, walk->keys);
}

/*
 * Whether the table has never had a row, not even one that is not committed: the
 * first to write one has made room for it.
 */
bool
is_untouched(const PlaceIndex *places)
{
	Relation	table = open_our_table(places->ours, AccessShareLock);
	bool		untouched = RelationGetNumberOfBlocks(table) == 0;

	table_close(table, NoLock);
	return untouched;
}

/* All entries. */
void
walk_all(Walk *walk, const PlaceIndex *places, Snapshot snapshot)
{
	open_places(walk, places, snapshot);
	begin(walk);
}

/*
 * Whether all that waits in the database has no key: then a walk at all ranks from a queue's
 * start needs no key to find the lane without one, which comes first, and finds no
 * other behind it, but what is just being written.  Where there are others, or were, it
 * would go over what is dead there.
 */
static bool
needs_no_key(const PlaceIndex *places, int64 highest, int64 lowest)
{
	return places == &waiting_places && highest == HIGHEST_RANK && lowest == LOWEST_RANK && is_untouched(&lane_places);
}

/* The entries of a queue at ranks from the highest down to the lowest, both included. */
void
walk_queue(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, int64 highest, int64 lowest)
{
	open_places(walk, places, snapshot);
	walk->ends_at_key = needs_no_key(places, highest, lowest);
	if (walk->ends_at_key)
		add_key(walk, QUEUE_NAME, BTEqualStrategyNumber, F_TEXTEQ, queue);
	else
	{
		add_queue(walk, queue, (Datum) 0);
		add_ranks(walk, highest, lowest);
	}
	begin(walk);
}

/* The entries in the lane of a position, from there on: in the direction, that one included. */
static void
walk_from(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *from, ScanDirection direction)
{
	open_places(walk, places, snapshot);
	add_queue(walk, queue, from->key);
	add_ranks(walk, from->rank, from->rank);
	add_place(walk, from, ScanDirectionIsForward(direction) ? BTGreaterEqualStrategyNumber : BTLessEqualStrategyNumber);
	walk->direction = direction;
	begin(walk);
}

void
walk_lane(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *from)
{
	walk_from(walk, places, snapshot, queue, from, ForwardScanDirection);
}

void
walk_lane_back(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *from)
{
	walk_from(walk, places, snapshot, queue, from, BackwardScanDirection);
}

/* The entries at a position. */
void
walk_position(Walk *walk, const PlaceIndex *places, Snapshot snapshot, Datum queue, const Position *position)
{
	open_places(walk, places, snapshot);
	add_queue(walk, queue, position->key);
	add_ranks(walk, position->rank, position->rank);
	add_key(walk, RUN_AT, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ, TimestampTzGetDatum(position->run_at));
	add_key(walk, WORKFLOW_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(&position->id));
	begin(walk);
}

/* The heads of a queue at a rank or below, from the highest down, the newest of a lane first. */
void
walk_heads(Walk *walk, Snapshot snapshot, Datum queue, int64 rank)
{
	open_places(walk, &heads_by_age, snapshot);
	add_key(walk, QUEUE_NAME, BTEqualStrategyNumber, F_TEXTEQ, queue);
	add_ranks(walk, rank, LOWEST_RANK);
	walk->direction = BackwardScanDirection;
	begin(walk);
}

/* The late ones of a head, by run_at. */
void
walk_late(Walk *walk, Snapshot snapshot, const pg_uuid_t *head_id)
{
	open_places(walk, &late_places, snapshot);
	add_key(walk, HEAD_ID, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(head_id));
	begin(walk);
}

static Datum
value(const Walk *walk, Meaning column)
{
	bool		isnull;
	Datum		d = heap_getattr(walk->row, walk->places->columns[column], RelationGetDescr(walk->table), &isnull);

	if (isnull)
		raise_not_ours(walk->places->ours->table);
	return d;
}

/* As systable_getnext_ordered for a B-tree, but counts the entries whose rows the snapshot does not see. */
static HeapTuple
next_row(Walk *walk)
{
	IndexScanDesc scan = walk->scan->iscan;

	while (walk->passed < walk->most_passed &&
		   (scan->xs_heap_continue || index_getnext_tid(scan, walk->direction) != NULL))
	{
		if (index_fetch_heap(scan, walk->scan->slot))
			return ExecFetchSlotHeapTuple(walk->scan->slot, false, NULL);
		walk->passed++;
	}
	return NULL;
}

/* The next entry; false at the end. */
bool
next_place(Walk *walk, Position *position)
{
	CHECK_FOR_INTERRUPTS();
	walk->row = next_row(walk);
	if (walk->row == NULL || (walk->ends_at_key && VARSIZE_ANY_EXHDR(DatumGetTextPP(key_at(walk))) > 0))
		return false;
	if (walk->places->columns[TURN])
		position->rank = -DatumGetInt64(value(walk, TURN));
	else
		position->rank = walk->places->columns[RANK] ? DatumGetInt64(value(walk, RANK)) : 0;
	position->key = walk->key;
	position->run_at = DatumGetTimestampTz(value(walk, RUN_AT));
	position->id = *DatumGetUUIDP(value(walk, WORKFLOW_ID));
	position->entry = walk->row->t_self;
	return true;
}

/* The queue of the entry at which a walk is, in the memory of the row. */
Datum
queue_at(const Walk *walk)
{
	return value(walk, QUEUE_NAME);
}

/* The same for its concurrency key ... */
Datum
key_at(const Walk *walk)
{
	return value(walk, KEY);
}

/* ... and when the lane is to be served. */
TimestampTz
serve_at(const Walk *walk)
{
	return DatumGetTimestampTz(value(walk, SERVE_AT));
}

/* The head that the entry at which a walk is stands for. */
pg_uuid_t
head_at(const Walk *walk)
{
	return *DatumGetUUIDP(value(walk, HEAD_ID));
}

/* Whether the row is there, or may be once all that is open has ended. */
bool
is_live(const Walk *walk)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	return table_tuple_satisfies_snapshot(walk->table, walk->scan->slot, &dirty);
}

/* Whether the row is there for good, as long as nobody deletes it: it is committed or ours, and nobody is deleting it. */
bool
is_settled(const Walk *walk)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	return table_tuple_satisfies_snapshot(walk->table, walk->scan->slot, &dirty) &&
		!TransactionIdIsValid(dirty.xmin) && !TransactionIdIsValid(dirty.xmax);
}

/* Whether somebody may hold a snapshot that is not older than ours and in which the row is there. */
bool
is_live_for_some(const Walk *walk, Snapshot ours)
{
	/* one that is not live does not change any more */
	return is_live(walk) || XidInMVCCSnapshot(HeapTupleHeaderGetUpdateXid(walk->row->t_data), ours);
}

bool
is_seen_by(const Walk *walk, Snapshot snapshot)
{
	return table_tuple_satisfies_snapshot(walk->table, walk->scan->slot, snapshot);
}

/* Ends a walk.  Its locks on the table and the index stay, as those of a statement do. */
void
end_walk(const Walk *walk)
{
	systable_endscan_ordered(walk->scan);
	index_close(walk->index, NoLock);
	table_close(walk->table, NoLock);
}
