/*-------------------------------------------------------------------------
 *
 * fence.c
 *	  The fence: once a call that raised a workflow's lease has committed,
 *	  nothing under an older lease commits any more.
 *
 * A step's outcome or claim does not lock the workflow's row: that would cost
 * each of them a WAL record.  So a takeover need not wait for a transaction that
 * has written under the old lease, however long that stays open, and the lease
 * is looked at when that transaction commits:
 *
 *	- who has recorded under a lease locks the fence of the workflow (shared) as
 *	  the last thing before the commit, then reads the lease.  If it is another
 *	  by now, the transaction ends with WF008.
 *	- who has raised leases locks their fences (exclusively) before the commit.
 *
 * These locks are held until the commit is visible.  So of the two the one that
 * has the lock first has committed when the other gets it: the takeover comes
 * after what was recorded, or the read finds the new lease.  They are the last
 * locks of a transaction and are taken in one order, so nobody who has one waits
 * for more than the commits before it.
 *
 * A fence is one of a fixed number of locks, by a hash of the workflow's id.  So
 * a transaction that takes over many workflows does not fill the lock table; two
 * workflows that share a fence wait for each other's commits, and for nothing
 * else.
 *
 * What writes the workflow's row itself needs no fence: row locks order it, and
 * its WHERE asks for the lease.
 *
 *-------------------------------------------------------------------------
 */
#include "fence.h"
#include "gather.h"
#include "ids.h"
#include "lock.h"
#include "plan.h"
#include "signal.h"
#include "task.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define FENCES 256

/* Where a fast path has seen a lease last. */
LeaseSeen	last_lease_seen;

/*
 * What this transaction has recorded, or claimed, under a lease; or that it has
 * raised the lease itself.  The levels in the array never fall: at the end of a
 * subtransaction its records become its parent's, or are dropped.
 */
typedef struct Record
{
	pg_uuid_t	workflow_id;
	int32		lease;			/* RAISED: this transaction raised it */
	int			level;			/* of the subtransaction that did it */
	LeaseSeen	seen;			/* where a fast path has seen that lease */
} Record;

#define RAISED (-1)

static Record *records;
static int	record_count;
static int	record_room;

/* The fences of the workflows whose leases this transaction has raised; one too many does no harm. */
static bool raised[FENCES];
static bool any_raised;

static int
fence_of(const pg_uuid_t *workflow_id)
{
	return hash_bytes(workflow_id->data, UUID_LEN) % FENCES;
}

/* ---- what a transaction has done ----------------------------------------------- */

static int
compare_records(const void *a, const void *b)
{
	const Record *x = a;
	const Record *y = b;
	int			order = x->level - y->level;

	if (order == 0)
		order = memcmp(&x->workflow_id, &y->workflow_id, sizeof(pg_uuid_t));
	return order != 0 ? order : x->lease - y->lease;
}

static bool
same_record(const Record *x, const pg_uuid_t *workflow_id, int32 lease)
{
	return x->lease == lease && same_id(&x->workflow_id, workflow_id);
}

/* Makes room for one more: drops what stands there twice, then grows. */
static void
make_room(void)
{
	int			kept = 0;

	if (record_count < record_room)
		return;
	qsort(records, record_count, sizeof(Record), compare_records);
	for (int i = 0; i < record_count; i++)
		if (kept == 0 || records[i].level != records[kept - 1].level ||
			!same_record(&records[i], &records[kept - 1].workflow_id, records[kept - 1].lease))
			records[kept++] = records[i];
	record_count = kept;
	if (record_count >= record_room / 2)
	{
		int			room = Max(64, 2 * record_room);

		records = records ? repalloc_huge(records, room * sizeof(Record)) :
			MemoryContextAllocHuge(TopMemoryContext, room * sizeof(Record));
		record_room = room;
	}
}

static void
append_record(const pg_uuid_t *workflow_id, int32 lease)
{
	if (record_count > 0 && same_record(&records[record_count - 1], workflow_id, lease))
		return;
	make_room();
	records[record_count++] = (Record)
	{
		.workflow_id = *workflow_id,.lease = lease,.level = GetCurrentTransactionNestLevel(),
		.seen = last_lease_seen
	};
}

/* A step of the workflow was claimed, or has got its outcome, under that lease; NULL is no fence. */
void
recorded_under(const pg_uuid_t *workflow_id, NullableDatum lease)
{
	if (!lease.isnull)
		append_record(workflow_id, DatumGetInt32(lease.value));
}

/* The lease of the workflow was raised. */
void
raised_lease_of(const pg_uuid_t *workflow_id)
{
	raised[fence_of(workflow_id)] = true;
	any_raised = true;
	/* only a record that is there already can name an older lease */
	if (record_count > 0)
		append_record(workflow_id, RAISED);
}

/* Tells the fence that the workflows in a column of the last result have a new lease. */
void
raised_leases_of_result(int column)
{
	for (uint64 row = 0; row < SPI_processed; row++)
		raised_lease_of(DatumGetUUIDP(result_value(row, column)));
}

/* Whether this transaction has raised the lease itself, after it had asked (ask_before_raising). */
static bool
raised_by_us(const pg_uuid_t *workflow_id)
{
	for (int i = 0; i < record_count; i++)
		if (same_record(&records[i], workflow_id, RAISED))
			return true;
	return false;
}

/* ---- the look at the lease ------------------------------------------------------ */

/* What is read of a workflow's row. */
enum
{
	LEASE, NAME, EXECUTOR_ID, COLUMNS
};

static const char *const column_names[COLUMNS] = {"lease", "name", "executor_id"};

static NullableDatum
column(HeapTuple row, Relation table, int c)
{
	NullableDatum d = {.isnull = true};
	AttrNumber	number = get_attnum(RelationGetRelid(table), column_names[c]);

	if (number != InvalidAttrNumber)
		d.value = heap_getattr(row, number, RelationGetDescr(table), &d.isnull);
	return d;
}

/* Raises WF008 if the workflow is at another lease by now, and somebody else has raised it. */
static void
raise_if_lost(const Record *record, Relation table, Oid key, Snapshot snapshot)
{
	ScanKeyData id;
	SysScanDesc scan;
	HeapTuple	row;

	ScanKeyInit(&id, get_attnum(RelationGetRelid(table), "id"), BTEqualStrategyNumber, F_UUID_EQ,
				UUIDPGetDatum(&record->workflow_id));
	scan = systable_beginscan(table, key, true, snapshot, 1, &id);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		NullableDatum lease = column(row, table, LEASE);

		if (!lease.isnull && DatumGetInt32(lease.value) != record->lease &&
			!raised_by_us(&record->workflow_id))
		{
			Workflow	workflow = {.id = record->workflow_id,.lease = DatumGetInt32(lease.value)};

			workflow.name = TextDatumGetCString(column(row, table, NAME).value);
			workflow.executor_id = column(row, table, EXECUTOR_ID);
			raise_refusal(refuse_lease(&workflow, record->lease));
		}
	}
	systable_endscan(scan);
}

/* Whether a record is one to check: of one of these workflows, or of any if ids is NULL. */
static bool
is_asked_for(const Record *record, const pg_uuid_t *ids, uint64 count)
{
	if (record->lease == RAISED)
		return false;
	for (uint64 i = 0; i < count; i++)
		if (same_id(&record->workflow_id, &ids[i]))
			return true;
	return ids == NULL;
}

/* Raises an error if the lease of a record is lost, from that record on.  Does nothing if the table is gone. */
static void
raise_if_any_lost_from(int first, const pg_uuid_t *ids, uint64 count)
{
	Oid			schema = get_namespace_oid("durable", true);
	Oid			table_id = OidIsValid(schema) ? get_relname_relid("workflow", schema) : InvalidOid;
	Relation	table;
	Snapshot	snapshot;

	if (!OidIsValid(table_id))
		return;
	table = table_open(table_id, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	for (int i = first; i < record_count; i++)
		if (is_asked_for(&records[i], ids, count))
			raise_if_lost(&records[i], table, primary_key_index(table), snapshot);
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	table_close(table, NoLock);
}

/* The same for all records.  Nothing is searched while each row is still the version that a fast path has seen. */
static void
raise_if_any_lost(const pg_uuid_t *ids, uint64 count)
{
	for (int i = 0; i < record_count; i++)
		if (is_asked_for(&records[i], ids, count) &&
			!lease_is_as_seen(&records[i].seen, &records[i].workflow_id, records[i].lease))
		{
			raise_if_any_lost_from(i, ids, count);
			return;
		}
}

/*
 * Whoever is about to raise the leases of workflows, and holds their rows, first
 * checks what its own transaction has recorded in them.  Afterwards it could not
 * tell whether somebody else had raised them before.
 */
void
ask_before_raising(const pg_uuid_t *ids, uint64 count)
{
	if (record_count > 0 && count > 0)
		raise_if_any_lost(ids, count);
}

/* ---- the end of a transaction ------------------------------------------------------ */

static void
lock_fence(int fence, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, fence, LOCK_CLASS_FENCE);
	(void) LockAcquire(&tag, mode, false, false);
}

static void
lock_fences(void)
{
	bool		recorded[FENCES] = {false};

	for (int i = 0; i < record_count; i++)
		recorded[fence_of(&records[i].workflow_id)] = true;
	for (int fence = 0; fence < FENCES; fence++)
		if (raised[fence] || recorded[fence])
			lock_fence(fence, raised[fence] ? ExclusiveLock : ShareLock);
}

/* Locks the fences of all that was recorded and raised, in one order, then asks. */
static void
before_commit(void)
{
	if (record_count == 1 && !any_raised)
		lock_fence(fence_of(&records[0].workflow_id), ShareLock);
	else if (record_count > 0 || any_raised)
		lock_fences();
	raise_if_any_lost(NULL, 0);
}

/* Forgets where a lease was seen: that version of the row may be undone, and its table is not locked any more. */
static void
forget_lease_seen(void)
{
	last_lease_seen.table = InvalidOid;
}

static void
forget_records(void)
{
	record_count = 0;
	if (any_raised)
		memset(raised, false, sizeof(raised));
	any_raised = false;
	forget_lease_seen();
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			before_commit();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_settled();
			forget_gathered();
			pg_fallthrough;
		case XACT_EVENT_COMMIT:
			forget_records();
			forget_locks();
			break;
		default:
			break;
	}
}

/* What a subtransaction has recorded is dropped with it, or becomes its parent's. */
static void
at_subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = record_count; i > 0 && records[i - 1].level >= level; i--)
			records[i - 1].level = level - 1;
	else
	{
		while (record_count > 0 && records[record_count - 1].level >= level)
			record_count--;
		forget_lease_seen();
		forget_settled();
		forget_gathered();
	}
	forget_locks_of_subtransaction(event == SUBXACT_EVENT_COMMIT_SUB);
}

/* Called once in each backend, by _PG_init. */
void
watch_transactions(void)
{
	RegisterXactCallback(at_transaction_event, NULL);
	RegisterSubXactCallback(at_subtransaction_event, NULL);
}
