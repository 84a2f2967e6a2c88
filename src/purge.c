/*-------------------------------------------------------------------------
 *
 * purge.c
 *	  Retention: purge deletes finished trees, each as a whole.
 *
 * A tree may go once all its workflows are finished and nothing in it has ended
 * since some time.  A step that is still RUNNING or PENDING in a finished
 * workflow does not keep it: its outcome would be of no use to anybody.
 *
 * Roots are looked at in the order in which they ended, by an index.  A tree
 * that has to stay would stand at its head for ever, and be walked by each
 * call.  So its root is marked with what the walk has found: that the tree ends
 * no earlier than that (tree_end).  There it stands in the index from then on,
 * and is looked at again when that is old enough.
 *
 *-------------------------------------------------------------------------
 */
#include "buckets.h"
#include "plan.h"
#include "purge.h"
#include "sql.h"
#include "suspend.h"
#include "wait.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_purge);

/* A call looks at so many trees that have to stay or are busy, then ends. */
#define MOST_LEFT	10000

/* So many roots are found at once, or more if more workflows may go. */
#define PAGE		100

typedef struct Purge
{
	TimestampTz now;
	TimestampTz before;			/* what ended before is old */
	int64		most;			/* so many workflows may go */
	int64		workflows;		/* so many do, in whole trees, ... */
	int64		steps;			/* ... with so many steps */
	int64		left;			/* so many trees were left there */
	IdList		busy;			/* the roots of those that could not be had without waiting */
	bool		full;			/* there is no room for the next tree */
} Purge;

/* ---- statements over ids ---------------------------------------------------- */

#define OVER_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OverIds, OVER_IDS);

#define ENDED(F, C, t) F(t, count) C(t, last)
ROW(Ended, ENDED);

/* How many are finished, and when the last of them and of their steps ended. */
static Statement look_ended = STATEMENT(OverIds,
	"SELECT count(w.completed_at), max(greatest(w.completed_at, "
	"  (SELECT max(s.completed_at) FROM durable.step s WHERE s.workflow_id = w.id))) "
	"FROM durable.workflow w WHERE w.id = ANY (:ids)");

static Statement lock_to_delete = STATEMENT(OverIds,
	"SELECT w.id FROM durable.workflow w "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.completed_at IS NOT NULL") " "
	"FOR UPDATE SKIP LOCKED");

static Statement delete_steps = STATEMENT(OverIds,
	"DELETE FROM durable.step s WHERE s.workflow_id = ANY (:ids)");

static Statement delete_signals = STATEMENT(OverIds,
	"DELETE FROM durable.signal g WHERE g.workflow_id = ANY (:ids)");

static Statement delete_tags = STATEMENT(OverIds,
	"DELETE FROM durable.workflow_tags t WHERE t.workflow_id = ANY (:ids)");

static Statement look_steps_left = STATEMENT(OverIds,
	"SELECT 1 FROM durable.step s WHERE s.workflow_id = ANY (:ids) LIMIT 1");

static Statement delete_events = STATEMENT(OverIds,
	"DELETE FROM durable.event e WHERE e.workflow_id = ANY (:ids)");

static Statement look_events_left = STATEMENT(OverIds,
	"SELECT 1 FROM durable.event e WHERE e.workflow_id = ANY (:ids) LIMIT 1");

static Statement delete_workflows = STATEMENT(OverIds,
	"DELETE FROM durable.workflow w WHERE w.id = ANY (:ids)");

/* How the workflows of a level have ended. */
typedef struct Ending
{
	bool		finished;		/* all of them */
	TimestampTz last;			/* the last end of a workflow or step */
} Ending;

static Ending
ending_of(const IdList *level)
{
	Ending		ending = {.finished = true,.last = DT_NOBEGIN};

	for (uint64 i = 0; i < level->count; i += IDS_PER_STATEMENT)
	{
		int			count = Min(IDS_PER_STATEMENT, level->count - i);
		Ended		ended;

		run(&look_ended, &(OverIds) {.ids = a_value(id_array(&level->ids[i], count))}, NEWEST);
		fetch(0, 0, &ended);
		if (DatumGetInt64(ended.count.value) < count)
			ending.finished = false;
		else
			ending.last = Max(ending.last, DatumGetTimestampTz(ended.last.value));
		SPI_freetuptable(SPI_tuptable);
	}
	return ending;
}

/* ---- trees that stay ---------------------------------------------------------- */

static void
leave_busy(Purge *purge, const pg_uuid_t *root_id)
{
	append_id(&purge->busy, root_id);
	purge->left++;
}

#define MARK_ROOT(P) \
	P(id, UUIDOID) \
	P(tree_end, TIMESTAMPTZOID)
PARAMETERS(MarkRoot, MARK_ROOT);

static Statement mark_root = STATEMENT(MarkRoot,
	"WITH root AS MATERIALIZED ("
	"  SELECT w.id FROM durable.workflow w "
	"  WHERE w.id = :id AND " CHECKED("w.completed_at IS NOT NULL")
	"  FOR NO KEY UPDATE SKIP LOCKED) "
	"UPDATE durable.workflow w SET tree_end = :tree_end FROM root r WHERE w.id = r.id");

/*
 * Leaves a tree that ends no earlier than that, and marks its root.  Nothing in
 * it has been written or locked but the tree itself, which is given back.
 */
static void
leave_until(Purge *purge, const pg_uuid_t *root_id, TimestampTz end)
{
	unlock_tree(root_id, TREE_EXCLUSIVE);
	if (run(&mark_root, &(MarkRoot) {.id = an_id(root_id),.tree_end = a_time(end)}, NEWEST) == 0)
		leave_busy(purge, root_id);
	else
		purge->left++;
}

/* ---- trees that go ------------------------------------------------------------- */

/*
 * Walks a tree that we have locked, level by level, and if all of it is finished
 * and old, and its rows can be locked at once, adds it to those that go.
 *
 * Under the lock nobody begins, ends or runs again anything in the tree, so what
 * was seen stays true.  The rows are locked for the sake of those who lock them
 * by hand.
 */
static void
walk_tree(Purge *purge, const pg_uuid_t *root_id, IdList *gone)
{
	IdList		tree = {0};
	IdList		level = {0};

	append_id(&level, root_id);
	while (level.count > 0)
	{
		Ending		ending = ending_of(&level);

		if (!ending.finished || ending.last >= purge->before)
		{
			leave_until(purge, root_id, ending.finished ? ending.last : purge->now);
			return;
		}
		append_ids(&tree, &level);
		level = children(&level, ALL_CHILDREN, 0);
		/* a tree that is too large for any call goes alone */
		if (purge->workflows > 0 && purge->workflows + tree.count + level.count > purge->most)
		{
			unlock_tree(root_id, TREE_EXCLUSIVE);
			purge->full = true;
			return;
		}
	}
	if (run_over_ids(&lock_to_delete, &tree, NULL, NULL) < tree.count)
		leave_busy(purge, root_id);
	else
	{
		append_ids(gone, &tree);
		purge->workflows += tree.count;
		purge->full = purge->workflows >= purge->most;
	}
}

#define FIND_OLD_ROOTS(P) \
	P(statuses, TEXTARRAYOID) \
	P(before, TIMESTAMPTZOID) \
	P(most, INT8OID) \
	P(busy, UUIDARRAYOID)
PARAMETERS(FindOldRoots, FIND_OLD_ROOTS);

static Statement find_old_roots = STATEMENT(FindOldRoots,
	"SELECT o.id "
	"FROM unnest(:statuses) AS f (status) CROSS JOIN LATERAL ("
	"  SELECT e.id, e.ended_at FROM durable.ended e "
	"  WHERE e.is_root AND e.status = f.status::durable.task_status"
	"    AND e.ended_at < :before AND e.id <> ALL (:busy) "
	"  ORDER BY e.ended_at, e.id LIMIT :most) o "
	"ORDER BY o.ended_at, o.id LIMIT :most");

/* Looks at the next trees that may be old, and deletes those that may go; false if there are none. */
static bool
purge_page(Purge *purge, Datum statuses)
{
	int64		most = Max(PAGE, Min(purge->most - purge->workflows, tree_locks_left()));
	IdList		roots = {0};
	IdList		gone = {0};

	if (run(&find_old_roots, &(FindOldRoots)
			{
				.statuses = a_value(statuses),.before = a_time(purge->before),.most = a_bigint(most),
				.busy = a_value(id_array(purge->busy.ids, purge->busy.count))
			}, NEWEST) == 0)
		return false;
	append_result(&roots);

	for (uint64 i = 0; i < roots.count && !purge->full; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (tree_locks_left() <= 0 || purge->left >= MOST_LEFT)
			purge->full = true;
		else if (has_bucket_of(&roots.ids[i]) && try_lock_whole_tree(&roots.ids[i]))
			walk_tree(purge, &roots.ids[i], &gone);
		else
			leave_busy(purge, &roots.ids[i]);
	}
	keep_awaited_outcomes(&gone);
	close_waits_of(gone.ids, gone.count);
	forget_suspensions_of(&gone);
	run_over_ids(&delete_signals, &gone, NULL, NULL);
	run_over_ids(&delete_tags, &gone, NULL, NULL);
	purge->steps += run_over_ids(&delete_steps, &gone, NULL, NULL);
	if (run_over_ids(&look_steps_left, &gone, NULL, NULL) > 0)
		raise_kept_away("durable.step");
	run_over_ids(&delete_events, &gone, NULL, NULL);
	if (run_over_ids(&look_events_left, &gone, NULL, NULL) > 0)
		raise_kept_away("durable.event");
	if (run_over_ids(&delete_workflows, &gone, NULL, NULL) < gone.count)
		raise_kept_away("durable.workflow");
	return true;
}

/* Deletes trees whose roots have such statuses, until there are no more or there is no room. */
static void
purge_trees(Purge *purge, Datum statuses)
{
	purge->full = purge->most == 0;
	while (!purge->full && purge_page(purge, statuses))
		;
}

/* ---- executors ------------------------------------------------------------------ */

#define FORGET_DEAD(P) \
	P(stale_before, TIMESTAMPTZOID) \
	P(most, INT8OID)
PARAMETERS(ForgetDead, FORGET_DEAD);

static int64
fast_forget_dead(const void *params)
{
	return any_executor_dead(DatumGetTimestampTz(((const ForgetDead *) params)->stale_before.value)) == 0 ? 0 : NOT_FAST;
}

static Statement forget_dead = STATEMENT(ForgetDead,
	"WITH dead AS MATERIALIZED ("
	"  SELECT e.executor_id FROM durable.executor e "
	"  WHERE durable.is_dead(e.last_seen, :stale_before) AND NOT EXISTS ("
	"    SELECT 1 FROM durable.driven d WHERE d.executor_id = e.executor_id)"
	"  LIMIT :most FOR UPDATE OF e SKIP LOCKED) "
	"DELETE FROM durable.executor e WHERE e.executor_id = ANY (ARRAY(SELECT d.executor_id FROM dead d))",
	.fast = fast_forget_dead);

/* Forgets executors that were last seen before that, and drive nothing; returns how many. */
static int64
forget_executors(TimestampTz stale_before, int64 most)
{
	return (int64) run(&forget_dead, &(ForgetDead) {.stale_before = a_time(stale_before),.most = a_bigint(most)}, NEWEST);
}

/* Those that are dead (for tick). */
int64
forget_dead_executors(TimestampTz now, int64 most)
{
	return most > 0 ? forget_executors(clock_stale_before(now, a_null()), most) : 0;
}

/* ---- the call -------------------------------------------------------------------- */

/* The labels of statuses, as an array of text. */
static Datum
labels_of(const bool *wanted)
{
	Datum		labels[STATUS_COUNT];
	int			count = 0;

	for (TaskStatus status = PENDING; status < STATUS_COUNT; status++)
		if (wanted[status])
			labels[count++] = CStringGetTextDatum(status_label(status));
	return PointerGetDatum(construct_array(labels, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static Datum
labels_of_finished(void)
{
	bool		finished[STATUS_COUNT] = {false};

	for (TaskStatus status = PENDING; status < STATUS_COUNT; status++)
		finished[status] = is_finished(status);
	return labels_of(finished);
}

/* The labels of the statuses of roots, each once. */
static Datum
root_statuses(NullableDatum arg)
{
	bool		wanted[STATUS_COUNT] = {false};
	ArrayIterator iterator;
	Datum		element;
	bool		isnull;

	iterator = array_create_iterator(DatumGetArrayTypeP(arg.value), 0, NULL);
	while (array_iterate(iterator, &element, &isnull))
	{
		TaskStatus	status = status_from_datum(element);

		if (!is_finished(status))
			bad_argument("status", "must hold statuses of finished workflows only",
						 psprintf("It holds %s.", status_label(status)),
						 "Pass COMPLETED, FAILED or CANCELLED.");
		wanted[status] = true;
	}
	return labels_of(wanted);
}

/*
 * purge(older_than, max_workflows, status)
 *
 * Waits for nobody: locks trees (exclusively), the rows of their workflows, and
 * rows of executors, each only if it is free, and leaves what is not to another
 * call.  So it does not matter that these do not come in the order of all locks.
 * Two calls at once get different trees.  A late outcome of a step waits for the
 * tree's lock, and then finds no task; all else that is done to a finished tree
 * waits there too.
 *
 * Deletes as many trees as a transaction has locks for at most (lock.c).
 */
Datum
durable_purge(PG_FUNCTION_ARGS)
{
	NullableDatum older_than = fcinfo->args[0];
	NullableDatum status = fcinfo->args[2];
	NullableDatum columns[2];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;
	Datum		statuses;
	Purge		purge = {0};

	require(older_than, "older_than");
	check_interval(older_than, "older_than");
	require_not_negative(fcinfo->args[1], "max_workflows");
	require(status, "status");
	check_array(status, "status");
	purge.now = clock_now();
	purge.before = clock_stale_before(purge.now, older_than);
	purge.most = PG_GETARG_INT32(1);

	call = begin_call(fcinfo);
	statuses = root_statuses(status);
	purge_trees(&purge, statuses);
	forget_executors(Min(purge.before, clock_stale_before(purge.now, a_null())), purge.most);
	forget_awaited_outcomes(purge.most);
	sweep_heads();

	columns[0] = a_value(Int64GetDatum(purge.workflows));
	columns[1] = a_value(Int64GetDatum(purge.steps));
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

/* ---- the setting durable.retention ----------------------------------------------- */

char	   *durable_retention;

/* What it says; NULL is never. */
static const Interval *retention;

/* An interval, as purge takes it, or the empty string. */
bool
check_retention(char **text, void **extra, GucSource source)
{
	Interval   *interval;

	*extra = NULL;
	if (*text == NULL || **text == '\0')
		return true;
	interval = setting_alloc(sizeof(Interval));
	if (interval == NULL)
		return false;
	if (!read_interval(*text, interval) || INTERVAL_NOT_FINITE(interval) || interval_least_seconds(interval) < 0 ||
		interval_seconds(interval) > (double) 1000 * 366 * SECS_PER_DAY)
	{
		setting_free(interval);
		GUC_check_errhint("Set it to an interval of 0 to 1000 years, such as \"30 days\", or to the empty string for never.");
		return false;
	}
	*extra = interval;
	return true;
}

void
assign_retention(const char *text, void *extra)
{
	retention = extra;
}

/* purge, as durable.retention says (for tick); returns how many workflows have gone. */
int64
purge_by_retention(TimestampTz now, int64 most)
{
	Purge		purge = {.now = now,.most = most};

	if (retention == NULL || most <= 0)
		return 0;
	purge.before = clock_stale_before(now, a_value(IntervalPGetDatum(retention)));
	purge_trees(&purge, labels_of_finished());
	if (purge.workflows > 0)
	{
		forget_awaited_outcomes(most);
		sweep_heads();
	}
	return Min(purge.workflows, most);
}
