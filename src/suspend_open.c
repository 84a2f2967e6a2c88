/*-------------------------------------------------------------------------
 *
 * suspend_open.c
 *	  What a suspended workflow waits for: its open steps, and what of them is
 *	  watched.
 *
 * A workflow that is suspended until any of its open steps has ended watches all of
 * them.  One that waits for all watches one that ends last, as far as is known: who
 * ends that one moves the watch to another (suspend_wake.c), and all others need not
 * touch the workflow.
 *
 * An open step ends by what happens to itself (its id is the key of a watch), by a
 * signal to its workflow, or by the end of a workflow (the id of which is the key).  A
 * wait for any ends by what ends one of its positions, so these are its nodes, too.
 *
 * The rows of durable.open_position and durable.watch are written and deleted only by
 * who has the row of the suspended workflow: nobody waits for them.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "sql.h"
#include "step_internal.h"
#include "suspend.h"
#include "table.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* ---- looking ------------------------------------------------------------------------ */

#define LOOK_OPEN(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(LookOpen, LOOK_OPEN);

#define OPEN_NODE(F, C, t) \
	F(t, n) C(t, workflow_id) C(t, sequence) C(t, is_target) C(t, status) C(t, kind) C(t, is_inline) \
	C(t, names) C(t, awaited) C(t, at) C(t, has_ended)
ROW(OpenNodeRow, OPEN_NODE);

/*
 * A row for each node, those of one step together.  A retry that is due is an end for
 * who waits for that step, but not for a wait for any.
 */
static Statement look_nodes = STATEMENT(LookOpen,
	"WITH RECURSIVE node AS ("
	"  SELECT b.n, b.workflow_id, b.sequence, false AS is_target"
	"  FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences)) WITH ORDINALITY AS b (workflow_id, sequence, n)"
	"  UNION"
	"  SELECT n.n, n.workflow_id, t.sequence, true FROM node n CROSS JOIN LATERAL ("
	"    SELECT s.sequences FROM durable.step s WHERE s.workflow_id = n.workflow_id AND s.sequence = n.sequence"
	"      AND s.wait = 'any' AND s.completed_at IS NULL OFFSET 0) a CROSS JOIN LATERAL unnest(a.sequences) AS t (sequence)) "
	"SELECT n.n, n.workflow_id, n.sequence, n.is_target, s.status, s.kind, s.is_inline, s.names, s.awaited, s.at,"
	"  s.has_ended "
	"FROM node n LEFT JOIN LATERAL ("
	"  SELECT s.status, s.kind, s.awaited, t.at, t.names,"
	"    EXISTS (SELECT 1 FROM durable.workflow c WHERE c.id = s.child_id AND c.queue_name IS NULL) AS is_inline,"
	"    s.completed_at IS NOT NULL OR coalesce(t.at <= :now, false) OR CASE s.wait"
	"      WHEN 'signal' THEN EXISTS (SELECT 1 FROM durable.signal g"
	"        WHERE g.workflow_id = s.workflow_id AND g.name = ANY (t.names) AND g.sequence IS NULL)"
	"      WHEN 'workflow' THEN NOT EXISTS (SELECT 1 FROM durable.workflow a WHERE a.id = s.awaited AND " CHECKED(UNFINISHED("a")) ")"
	"      ELSE false END AS has_ended"
	"  FROM durable.step s CROSS JOIN LATERAL (SELECT"
	"    CASE WHEN s.wait = 'signal' THEN coalesce(s.signals, ARRAY[s.name]) END AS names,"
	"    CASE WHEN s.completed_at IS NOT NULL THEN NULL"
	"      WHEN s.kind = 'WAIT' THEN coalesce(s.run_at, CASE WHEN s.started_at IS NULL THEN :now + s.timeout END)"
	"      WHEN NOT n.is_target AND s.status IN ('PENDING', 'PAUSED') THEN coalesce(s.run_at, :now) END AS at) t"
	"  WHERE s.workflow_id = n.workflow_id AND s.sequence = n.sequence OFFSET 0) s ON true "
	"ORDER BY n.n, n.is_target");

#define LOOK_DEADLINE(P) \
	P(id, UUIDOID)
PARAMETERS(LookDeadline, LOOK_DEADLINE);

static Statement look_deadline = STATEMENT(LookDeadline,
	"WITH RECURSIVE unit AS ("
	"  SELECT w.id, w.deadline FROM durable.workflow w WHERE w.id = :id "
	"  UNION ALL "
	"  SELECT w.id, w.deadline FROM unit u CROSS JOIN LATERAL ("
	"    SELECT o.id, o.deadline FROM durable.workflow o"
	"    WHERE o.parent_id = u.id AND o.queue_name IS NULL AND " CHECKED(UNFINISHED("o")) " OFFSET 0) w) "
	"SELECT u.deadline FROM unit u WHERE u.deadline IS NOT NULL ORDER BY u.deadline LIMIT 1");

/* The steps of those ids, of whatever workflows, in their order, as they are at that time. */
OpenSteps
look_steps_open(const IdList *ids, TimestampTz now)
{
	Positions	positions = new_positions((int) ids->count);
	OpenSteps	open = {.count = (int) ids->count};
	OpenNode   *nodes;
	uint64		count;

	open.deadline = DT_NOEND;
	open.steps = palloc0(Max(open.count, 1) * sizeof(OpenStep));
	for (int i = 0; i < open.count; i++)
	{
		OpenStep   *step = &open.steps[i];

		step->id = ids->ids[i];
		id_workflow(&step->id, &step->workflow_id);
		step->sequence = id_sequence(&step->id);
		append_position(&positions, &step->workflow_id, step->sequence);
	}
	count = run(&look_nodes, &(LookOpen)
				{
					.workflow_ids = array_of(&positions.workflow_ids),.sequences = array_of(&positions.sequences),
					.now = a_time(now)
				}, NEWEST);
	nodes = MemoryContextAllocHuge(CurrentMemoryContext, Max(count, 1) * sizeof(OpenNode));
	for (uint64 i = 0; i < count; i++)
	{
		OpenNodeRow row;
		OpenStep   *step;
		OpenNode   *node = &nodes[i];

		fetch(i, 0, &row);
		step = &open.steps[DatumGetInt64(row.n.value) - 1];
		if (step->node_count++ == 0)
		{
			step->nodes = node;
			step->status = row.status.isnull ? NO_TASK : status_from_datum(row.status.value);
			step->kind = row.kind.isnull ? STEP : kind_from_datum(row.kind.value);
			step->is_inline = !row.is_inline.isnull && DatumGetBool(row.is_inline.value);
			step->at = DT_NOEND;
		}
		node->workflow_id = *DatumGetUUIDP(row.workflow_id.value);
		node->sequence = DatumGetInt32(row.sequence.value);
		id_step(&node->workflow_id, node->sequence, &node->id);
		node->kind = row.kind.isnull ? STEP : kind_from_datum(row.kind.value);
		node->names = row.names;
		node->awaited = row.awaited;
		if (!row.has_ended.isnull && DatumGetBool(row.has_ended.value))
			step->has_ended = true;
		if (!row.at.isnull)
			step->at = Min(step->at, DatumGetTimestampTz(row.at.value));
	}
	return open;
}

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement look_unfinished = STATEMENT(OfIds,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) AND " CHECKED(UNFINISHED("w")) " ORDER BY w.id");

/* An inline workflow that is finished has taken its steps with it: nothing ends them any more. */
static void
end_with_inline(const pg_uuid_t *workflow_id, OpenSteps *open)
{
	IdList		inline_ones = {0};
	IdList		unfinished = {0};
	uint64		n = 0;

	for (int i = 0; i < open->count; i++)
	{
		const pg_uuid_t *id = &open->steps[i].workflow_id;

		if (!same_id(id, workflow_id) && (inline_ones.count == 0 || !same_id(id, &inline_ones.ids[inline_ones.count - 1])))
			append_id(&inline_ones, id);
	}
	if (inline_ones.count == 0)
		return;
	run(&look_unfinished, &(OfIds) {.ids = a_value(id_array(inline_ones.ids, inline_ones.count))}, NEWEST);
	append_result(&unfinished);
	for (int i = 0; i < open->count; i++)
	{
		OpenStep   *step = &open->steps[i];

		while (n < unfinished.count && compare_ids(&unfinished.ids[n], &step->workflow_id) < 0)
			n++;
		if (!same_id(&step->workflow_id, workflow_id) &&
			(n == unfinished.count || !same_id(&unfinished.ids[n], &step->workflow_id)))
			step->has_ended = true;
	}
}

/* Those for which a workflow waits, and the first deadline. */
OpenSteps
look_open(const pg_uuid_t *workflow_id, const IdList *ids, TimestampTz now)
{
	OpenSteps	open = look_steps_open(ids, now);

	end_with_inline(workflow_id, &open);
	if (run(&look_deadline, &(LookDeadline) {.id = an_id(workflow_id)}, NEWEST) > 0)
		open.deadline = DatumGetTimestampTz(result_value(0, 0));
	return open;
}

/* Whether nothing is to be waited for any more: one has ended, or all of them. */
bool
can_go_on(const OpenSteps *open, bool awaits_all)
{
	for (int i = 0; i < open->count; i++)
		if (open->steps[i].has_ended != awaits_all)
			return !awaits_all;
	return awaits_all;
}

/* When that happens by itself, or a deadline comes; DT_NOEND: never. */
TimestampTz
time_of(const OpenSteps *open, bool awaits_all)
{
	TimestampTz first = DT_NOEND;
	TimestampTz last = DT_NOBEGIN;

	for (int i = 0; i < open->count; i++)
		if (!open->steps[i].has_ended)
		{
			first = Min(first, open->steps[i].at);
			last = Max(last, open->steps[i].at);
		}
	return Min(awaits_all ? last : first, open->deadline);
}

/* The one that ends last by itself; of those that never do, the one that was begun last. */
OpenStep *
last_open(const OpenSteps *open)
{
	OpenStep   *last = NULL;

	for (int i = 0; i < open->count; i++)
		if (!open->steps[i].has_ended && (last == NULL || open->steps[i].at >= last->at))
			last = &open->steps[i];
	return last;
}

/* ---- what is watched ------------------------------------------------------------------ */

#define WRITE_WATCHES(P) \
	P(workflow_id, UUIDOID) \
	P(keys, UUIDARRAYOID) \
	P(signals, TEXTARRAYOID) \
	P(step_ids, UUIDARRAYOID)
PARAMETERS(WriteWatches, WRITE_WATCHES);

static Statement insert_watches = STATEMENT(WriteWatches,
	"INSERT INTO durable.watch (key, signal, workflow_id, step_id) "
	"SELECT b.key, b.signal, :workflow_id, b.step_id "
	"FROM ROWS FROM (unnest(:keys), unnest(:signals), unnest(:step_ids)) AS b (key, signal, step_id) "
	"ON CONFLICT (key, signal, workflow_id) DO NOTHING");

typedef struct Watches
{
	Elements	keys;
	Elements	signals;
	Elements	step_ids;
} Watches;

static void
append_watch(Watches *watches, const pg_uuid_t *key, NullableDatum signal, const OpenStep *step)
{
	append_element(&watches->keys, an_id(key));
	append_element(&watches->signals, signal);
	append_element(&watches->step_ids, an_id(&step->id));
}

static void
append_watches(Watches *watches, const OpenStep *step)
{
	NullableDatum its_end = a_value(CStringGetTextDatum(""));

	for (int i = 0; i < step->node_count; i++)
	{
		OpenNode   *node = &step->nodes[i];

		append_watch(watches, &node->id, its_end, step);
		if (!node->awaited.isnull)
			append_watch(watches, DatumGetUUIDP(node->awaited.value), its_end, step);
		if (!node->names.isnull)
		{
			Elements	names = elements_of(node->names, TEXTOID, 0);

			for (int n = 0; n < names.count; n++)
				append_watch(watches, &node->workflow_id, element_of(&names, n), step);
		}
	}
}

/* Room for the watches of a step. */
static int
most_watches(const OpenStep *step)
{
	int			count = 2 * step->node_count;

	for (int i = 0; i < step->node_count; i++)
		if (!step->nodes[i].names.isnull)
			count += elements_of(step->nodes[i].names, TEXTOID, 0).count;
	return count;
}

static void
write_watches(const pg_uuid_t *workflow_id, const OpenStep *steps, int count)
{
	int			most = 0;
	Watches		watches;

	for (int i = 0; i < count; i++)
		most += most_watches(&steps[i]);
	watches = (Watches)
	{
		.keys = new_elements(UUIDOID, most),.signals = new_elements(TEXTOID, most),
		.step_ids = new_elements(UUIDOID, most)
	};
	for (int i = 0; i < count; i++)
		append_watches(&watches, &steps[i]);
	run(&insert_watches, &(WriteWatches)
		{
			.workflow_id = an_id(workflow_id),.keys = array_of(&watches.keys),.signals = array_of(&watches.signals),
			.step_ids = array_of(&watches.step_ids)
		}, NEWEST);
}

/* Watches all that ends one of them. */
void
watch_nodes(const pg_uuid_t *workflow_id, const OpenSteps *open)
{
	write_watches(workflow_id, open->steps, open->count);
}

void
watch_one(const pg_uuid_t *workflow_id, const OpenStep *step)
{
	write_watches(workflow_id, step, 1);
}

#define LOCK_IF_FREE(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID)
PARAMETERS(LockIfFree, LOCK_IF_FREE);

static Statement lock_if_free = STATEMENT(LockIfFree,
	"SELECT 1 FROM durable.workflow w JOIN durable.step s ON s.workflow_id = w.id "
	"WHERE w.id = :workflow_id AND s.sequence = :sequence FOR NO KEY UPDATE SKIP LOCKED");

/*
 * Locks all that could end a step, without waiting; false if somebody may be about to
 * end it.  That is also the row of its workflow: the suspended one, which the caller has
 * locked, or an inline one.
 */
static bool
try_lock_nodes(const OpenStep *step)
{
	for (int i = 0; i < step->node_count; i++)
	{
		OpenNode   *node = &step->nodes[i];

		if ((!node->awaited.isnull && !try_watch_ends(DatumGetUUIDP(node->awaited.value))) ||
			(!node->names.isnull && !try_watch_ends(&node->workflow_id)) ||
			run(&lock_if_free, &(LockIfFree)
				{
					.workflow_id = an_id(&node->workflow_id),.sequence = an_int(node->sequence)
				}, NEWEST) == 0)
			return false;
	}
	return true;
}

/*
 * Of a workflow that waits for all: watches the one that ends last, in place of what it
 * watched; where several never end by themselves, any of these.  False if nothing
 * could be watched without waiting, or has ended since: then it watches what it did.
 */
bool
try_watch_last(const pg_uuid_t *workflow_id, const OpenSteps *open)
{
	TimestampTz last = last_open(open)->at;

	for (int i = open->count - 1; i >= 0; i--)
	{
		OpenStep   *step = &open->steps[i];
		IdList		id = {0};
		OpenSteps	again;

		if (step->has_ended || step->at != last || !try_lock_nodes(step))
			continue;
		append_id(&id, &step->id);
		again = look_open(workflow_id, &id, clock_now());
		if (again.steps[0].has_ended)
			continue;
		forget_watches(workflow_id);
		watch_one(workflow_id, &again.steps[0]);
		return true;
	}
	return false;
}

/* ---- the rows of open positions ---------------------------------------------------------- */

#define WRITE_OPEN(P) \
	P(workflow_id, UUIDOID) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(awaits_all, BOOLOID)
PARAMETERS(WriteOpen, WRITE_OPEN);

static Statement insert_open = STATEMENT(WriteOpen,
	"INSERT INTO durable.open_position (workflow_id, of_workflow, sequence, awaits_all) "
	"SELECT :workflow_id, b.workflow_id, b.sequence, :awaits_all "
	"FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences)) AS b (workflow_id, sequence)");

/* Notes down the steps for which a workflow is suspended: those that have not ended. */
void
write_open(const pg_uuid_t *workflow_id, const OpenSteps *open, bool awaits_all)
{
	Positions	positions = new_positions(open->count);

	for (int i = 0; i < open->count; i++)
		if (!open->steps[i].has_ended)
			append_position(&positions, &open->steps[i].workflow_id, open->steps[i].sequence);
	run(&insert_open, &(WriteOpen)
		{
			.workflow_id = an_id(workflow_id),.workflow_ids = array_of(&positions.workflow_ids),
			.sequences = array_of(&positions.sequences),.awaits_all = a_bool(awaits_all)
		}, NEWEST);
}

#define READ_OPEN(P) \
	P(workflow_id, UUIDOID)
PARAMETERS(ReadOpen, READ_OPEN);

#define OPEN_POSITION(F, C, t) F(t, of_workflow) C(t, sequence) C(t, awaits_all)
ROW(OpenPositionRow, OPEN_POSITION);

static Statement look_positions = STATEMENT(ReadOpen,
	"SELECT " COLUMNS(OPEN_POSITION, "p.") " FROM durable.open_position p WHERE p.workflow_id = :workflow_id "
	"ORDER BY p.of_workflow, p.sequence");

/* The steps for which a workflow is suspended; false if it is not. */
bool
read_open(const pg_uuid_t *workflow_id, IdList *ids, bool *awaits_all)
{
	uint64		count = run(&look_positions, &(ReadOpen) {.workflow_id = an_id(workflow_id)}, NEWEST);

	*ids = (IdList) {0};
	for (uint64 i = 0; i < count; i++)
	{
		OpenPositionRow row;
		pg_uuid_t	id;

		fetch(i, 0, &row);
		id_step(DatumGetUUIDP(row.of_workflow.value), DatumGetInt32(row.sequence.value), &id);
		append_id(ids, &id);
		*awaits_all = DatumGetBool(row.awaits_all.value);
	}
	return count > 0;
}

/* ---- the end of a suspension ---------------------------------------------------------------- */

static Statement delete_watches = STATEMENT(OfIds,
	"DELETE FROM durable.watch t WHERE t.workflow_id = ANY (:ids)");

/* Most workflows were not suspended. */
static int64
fast_delete_open(const void *params)
{
	const OfIds *p = params;
	Elements	ids = elements_of(p->ids, UUIDOID, 0);

	for (int i = 0; i < ids.count; i++)
		if (fast_none(&open_position_by_workflow, (Key[]) {IS_ID(open_position_workflow_id, element_of(&ids, i))}, 1) != 0)
			return NOT_FAST;
	return 0;
}

static Statement delete_open = STATEMENT(OfIds,
	"WITH watches AS (DELETE FROM durable.watch t WHERE t.workflow_id = ANY (:ids)) "
	"DELETE FROM durable.open_position p WHERE p.workflow_id = ANY (:ids)",
	.fast = fast_delete_open);

/* Nothing is watched for the workflow any more. */
void
forget_watches(const pg_uuid_t *workflow_id)
{
	run(&delete_watches, &(OfIds) {.ids = a_value(id_array(workflow_id, 1))}, NEWEST);
}

/* The workflows, whose rows the caller has changed, are not suspended any more. */
void
forget_suspensions(Datum workflow_ids)
{
	run(&delete_open, &(OfIds) {.ids = a_value(workflow_ids)}, NEWEST);
}

void
forget_suspensions_of(const IdList *workflows)
{
	run_over_ids(&delete_open, workflows, NULL, NULL);
}
