/*-------------------------------------------------------------------------
 *
 * suspend_wake.c
 *	  What makes suspended workflows due: the end of what they watch.
 *
 * Whoever ends a step or a workflow, or sends a signal, says so here (outcome.c,
 * signal.c), after it has written that.  If a workflow is suspended for it, it is
 * made due in the same transaction.
 *
 * Why no wake-up is lost.  suspend locks what could end what it watches, then looks
 * whether that has ended, then writes its watches:
 *
 *	- a step's row, as whoever ends the step does.  So the one that has it second
 *	  waits for the first to commit.  If that is suspend, it looks again under the
 *	  lock, and finds the end.  If it is the other, it looks for watches when it has
 *	  the row, and finds them.
 *	- the row of an inline workflow, likewise: with it end its steps.
 *	- for signals to a workflow, and its end, a heavyweight lock (watch_ends).  Whoever
 *	  brings them holds it shared; suspend waits for those, and then sees what they
 *	  did.  They do not wait for suspend: if they cannot have the lock, they leave a
 *	  note.
 *
 * Whoever wakes a workflow does not wait for its row either, since it holds other rows,
 * perhaps in another tree: if somebody has locked it, that also leaves a note.  claim
 * and recover act on notes before they look for what is due.  A note stays until
 * it could be acted on under all locks: then all that it tells of is visible.
 *
 * A workflow that is due already is left alone, and never made to wait again.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "buckets.h"
#include "sql.h"
#include "suspend.h"
#include "table.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* ---- notes ---------------------------------------------------------------------------- */

#define LEAVE_NOTE(P) \
	P(id, UUIDOID) \
	P(key, UUIDOID) \
	P(signal, TEXTOID) \
	P(workflow_id, UUIDOID)
PARAMETERS(LeaveNote, LEAVE_NOTE);

static Statement insert_note = STATEMENT(LeaveNote,
	"INSERT INTO durable.wake_note (id, key, signal, workflow_id) VALUES (:id, :key, :signal, :workflow_id)");

static void
leave_note(NullableDatum key, NullableDatum signal, NullableDatum workflow_id)
{
	pg_uuid_t	id;

	new_workflow_id(clock_ns(), 0, &id);
	run(&insert_note, &(LeaveNote)
		{
			.id = an_id(&id),.key = key,.signal = signal,.workflow_id = workflow_id
		}, NEWEST);
}

/* A suspended workflow is to be looked at. */
void
leave_note_of(const pg_uuid_t *workflow_id)
{
	leave_note(a_null(), a_null(), an_id(workflow_id));
}

/* Who watches that workflow is to be looked at. */
void
leave_note_at(const pg_uuid_t *key)
{
	leave_note(an_id(key), a_null(), a_null());
}

/* ---- the workflow's row ------------------------------------------------------------------ */

#define OF_ONE(P) \
	P(id, UUIDOID)
PARAMETERS(OfOne, OF_ONE);

#define MAKE_DUE(P) \
	P(id, UUIDOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(MakeDue, MAKE_DUE);

#define ASLEEP "w.suspended_at IS NOT NULL AND (w.run_at IS NULL OR w.run_at > :now)"

static Statement look_asleep = STATEMENT(MakeDue,
	"SELECT 1 FROM durable.workflow w WHERE w.id = :id AND " CHECKED(ASLEEP));

static Statement lock_asleep = STATEMENT(MakeDue,
	"SELECT 1 FROM durable.workflow w WHERE w.id = :id AND " CHECKED(ASLEEP) " FOR NO KEY UPDATE SKIP LOCKED");

static Statement set_run_at = STATEMENT(MakeDue,
	"UPDATE durable.workflow w SET run_at = :run_at "
	"WHERE w.id = :id AND " CHECKED(ASLEEP) " AND w.run_at IS DISTINCT FROM :run_at");

static NullableDatum
time_or_null(TimestampTz at)
{
	return at == DT_NOEND ? a_null() : a_time(at);
}

/* Whether a workflow is suspended, and not due. */
static bool
is_asleep(const pg_uuid_t *id, TimestampTz now)
{
	return run(&look_asleep, &(MakeDue) {.id = an_id(id),.run_at = a_null(),.now = a_time(now)}, NEWEST) > 0;
}

/* Locks the row of such a one, if nobody else has. */
static bool
try_lock_asleep(const pg_uuid_t *id, TimestampTz now)
{
	return run(&lock_asleep, &(MakeDue) {.id = an_id(id),.run_at = a_null(),.now = a_time(now)}, NEWEST) > 0;
}

static void
wake_at(const pg_uuid_t *id, TimestampTz run_at, TimestampTz now)
{
	if (run(&set_run_at, &(MakeDue) {.id = an_id(id),.run_at = time_or_null(run_at),.now = a_time(now)}, NEWEST) > 0)
		now_waiting(id_array(id, 1));
}

/* ---- looking at one again -------------------------------------------------------------- */

static Statement look_watched = STATEMENT(OfOne,
	"SELECT t.step_id FROM durable.watch t WHERE t.workflow_id = :id LIMIT 1");

/* Whether what a workflow watches that waits for all still ends last. */
static bool
watches_last(const pg_uuid_t *id, const OpenSteps *open)
{
	pg_uuid_t	watched;
	TimestampTz last = last_open(open)->at;

	if (run(&look_watched, &(OfOne) {.id = an_id(id)}, NEWEST) == 0)
		return false;
	watched = *DatumGetUUIDP(result_value(0, 0));
	for (int i = 0; i < open->count; i++)
		if (same_id(&open->steps[i].id, &watched))
			return !open->steps[i].has_ended && open->steps[i].at == last;
	return false;
}

/*
 * Looks at a suspended workflow anew: when it is due, and what it watches.  False if
 * it cannot be told without waiting for somebody.
 */
static bool
look_again(const pg_uuid_t *id)
{
	TimestampTz now = clock_now();
	IdList		ids;
	bool		awaits_all;
	OpenSteps	open;

	if (!has_bucket_of(id))
		return true;
	if (!try_lock_asleep(id, now))
		return !is_asleep(id, now);
	if (!read_open(id, &ids, &awaits_all))
		return true;
	open = look_open(id, &ids, now);
	if (can_go_on(&open, awaits_all))
	{
		wake_at(id, now, now);
		return true;
	}
	if (awaits_all && !watches_last(id, &open) && !try_watch_last(id, &open))
		return false;
	wake_at(id, time_of(&open, awaits_all), now);
	return true;
}

#define FIND_NEXT(P) \
	P(id, UUIDOID) \
	P(of_workflow, UUIDOID) \
	P(sequence, INT4OID)
PARAMETERS(FindNext, FIND_NEXT);

/*
 * Those behind the one that was watched have ended, or nearly all of them: each is passed
 * over once.  An inline workflow that ends takes its steps with it, so its row is locked, too.
 */
static Statement find_next_child = STATEMENT(FindNext,
	"SELECT p.of_workflow, p.sequence FROM durable.open_position p "
	"JOIN durable.workflow w ON w.id = p.of_workflow "
	"JOIN durable.step s ON s.workflow_id = p.of_workflow AND s.sequence = p.sequence "
	"WHERE p.workflow_id = :id AND (p.of_workflow, p.sequence) < (:of_workflow, :sequence)"
	"  AND " CHECKED("s.kind = 'WORKFLOW' AND s.status = 'RUNNING'") " "
	"  AND " CHECKED(UNFINISHED("w")) " "
	"ORDER BY p.of_workflow DESC, p.sequence DESC LIMIT 1 FOR NO KEY UPDATE OF w, s SKIP LOCKED",
	.planning = IN_ORDER);

/*
 * What a workflow watched that waits for all has ended: watches another open step.
 * That is most often a child, and then there is no need to look at all.  A child never
 * ends by itself, so it stays what is due when.
 */
static bool
move_watch(const pg_uuid_t *id, const pg_uuid_t *step_id)
{
	TimestampTz now = clock_now();
	pg_uuid_t	of_workflow;
	OpenStep	next = {0};
	OpenNode	node = {.kind = WORKFLOW,.names = a_null(),.awaited = a_null()};

	if (!try_lock_asleep(id, now))
		return !is_asleep(id, now);
	id_workflow(step_id, &of_workflow);
	if (run(&find_next_child, &(FindNext)
			{
				.id = an_id(id),.of_workflow = an_id(&of_workflow),.sequence = an_int(id_sequence(step_id))
			}, NEWEST) == 0)
		return look_again(id);
	node.workflow_id = *DatumGetUUIDP(result_value(0, 0));
	node.sequence = DatumGetInt32(result_value(0, 1));
	id_step(&node.workflow_id, node.sequence, &node.id);
	next.id = node.id;
	next.node_count = 1;
	next.nodes = &node;
	forget_watches(id);
	watch_one(id, &next);
	return true;
}

/* ---- what has happened -------------------------------------------------------------------- */

/* All from one id to another, by that signal; by NULL: by any of them. */
#define LOOK_WATCHES(P) \
	P(first, UUIDOID) \
	P(last, UUIDOID) \
	P(signal, TEXTOID)
PARAMETERS(LookWatches, LOOK_WATCHES);

#define WATCH_LIST(F, C, t) F(t, workflow_id) C(t, step_id) C(t, awaits_all)
ROW(WatchRow, WATCH_LIST);

/* Most often nobody watches. */
static int64
fast_look_watches(const void *params)
{
	const LookWatches *p = params;
	Key			keys[] = {
		{watch_key, BTGreaterEqualStrategyNumber, F_UUID_GE, p->first},
		{watch_key, BTLessEqualStrategyNumber, F_UUID_LE, p->last}
	};

	return is_unused(&watch_by_key) ? 0 : fast_none(&watch_by_key, keys, lengthof(keys));
}

static Statement look_watches = STATEMENT(LookWatches,
	"SELECT DISTINCT ON (t.workflow_id) " COLUMNS(WATCH_LIST, "t.") " FROM ("
	"  SELECT o.workflow_id, o.step_id, (SELECT p.awaits_all FROM durable.open_position p"
	"    WHERE p.workflow_id = o.workflow_id LIMIT 1) AS awaits_all"
	"  FROM durable.watch o"
	"  WHERE o.key >= :first AND o.key <= :last AND (:signal IS NULL OR o.signal = :signal)) t "
	"ORDER BY t.workflow_id",
	.planning = BY_PROBES,.fast = fast_look_watches);

typedef struct Watcher
{
	pg_uuid_t	workflow_id;
	pg_uuid_t	step_id;
	bool		awaits_all;
} Watcher;

/* Who watches a workflow and its steps, or a step, or a signal of that name. */
static Watcher *
watchers_of(const pg_uuid_t *key, NullableDatum signal, uint64 *count)
{
	pg_uuid_t	last = *key;
	Watcher    *watchers;

	/* the steps of a workflow have its id, with their sequence in the last three bytes */
	if (signal.isnull && id_sequence(key) < 0)
		memset(&last.data[UUID_LEN - 3], 0xff, 3);
	*count = run(&look_watches, &(LookWatches)
				 {
					 .first = an_id(key),.last = an_id(&last),.signal = signal
				 }, NEWEST);
	watchers = palloc(Max(*count, 1) * sizeof(Watcher));
	for (uint64 i = 0; i < *count; i++)
	{
		WatchRow	row;

		fetch(i, 0, &row);
		watchers[i] = (Watcher)
		{
			.workflow_id = *DatumGetUUIDP(row.workflow_id.value),.step_id = *DatumGetUUIDP(row.step_id.value),
			.awaits_all = !row.awaits_all.isnull && DatumGetBool(row.awaits_all.value)
		};
	}
	return watchers;
}

/* Makes those due that watch it. */
static void
wake(const pg_uuid_t *key, NullableDatum signal)
{
	TimestampTz now = clock_now();
	uint64		count;
	Watcher    *watchers = watchers_of(key, signal, &count);

	for (uint64 i = 0; i < count; i++)
	{
		const pg_uuid_t *id = &watchers[i].workflow_id;
		bool		done;

		if (watchers[i].awaits_all)
			done = move_watch(id, &watchers[i].step_id);
		else if ((done = try_lock_asleep(id, now)))
			wake_at(id, now, now);
		else
			done = !is_asleep(id, now);
		if (!done)
			leave_note_of(id);
	}
}

/* A workflow has ended. */
void
wake_for_workflow(const pg_uuid_t *id)
{
	if (!try_bring_ends(id))
		leave_note_at(id);
	wake(id, a_null());
}

/* A step has ended. */
void
wake_for_step(const pg_uuid_t *id)
{
	wake(id, a_null());
}

/* A signal was sent. */
void
wake_for_signal(const pg_uuid_t *workflow_id, NullableDatum name)
{
	if (!try_bring_ends(workflow_id))
		leave_note(an_id(workflow_id), name, a_null());
	wake(workflow_id, name);
}

/* Makes a workflow due, if it is suspended, whatever it waits for.  Waits for its row: the tree is locked, and nothing behind it. */
void
make_due(const pg_uuid_t *id)
{
	TimestampTz now = clock_now();

	wake_at(id, now, now);
}

/* The deadline of a workflow was changed; its tree is locked. */
void
deadline_has_moved(const Workflow *workflow)
{
	pg_uuid_t	driven = is_inline(workflow) ? driven_ancestor(workflow) : workflow->id;

	if (!look_again(&driven))
		leave_note_of(&driven);
}

/* ---- acting on notes ------------------------------------------------------------------------ */

#define LOOK_NOTES(P) \
	P(most, INT8OID)
PARAMETERS(LookNotes, LOOK_NOTES);

static int64
fast_look_notes(const void *params)
{
	Look		look;
	bool		found;

	if (is_unused(&wake_note_by_id))
		return 0;
	if (!begin_look(&look, &wake_note_by_id, AccessShareLock, NULL, 0))
		return NOT_FAST;
	found = look.row != NULL;
	end_look(&look);
	return found ? 1 : 0;
}

static Statement look_notes = STATEMENT(LookNotes,
	"SELECT 1 FROM durable.wake_note n ORDER BY n.id LIMIT :most",
	.planning = IN_ORDER,.fast = fast_look_notes);

#define NOTE(F, C, t) F(t, id) C(t, key) C(t, signal) C(t, workflow_id)
ROW(NoteRow, NOTE);

static Statement lock_notes = STATEMENT(LookNotes,
	"SELECT " COLUMNS(NOTE, "n.") " FROM durable.wake_note n ORDER BY n.id LIMIT :most FOR UPDATE SKIP LOCKED",
	.planning = IN_ORDER);

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement delete_notes = STATEMENT(OfIds,
	"DELETE FROM durable.wake_note n WHERE n.id = ANY (:ids)");

/* So many are acted on at once. */
#define MOST_NOTES 1000

bool
are_there_notes(void)
{
	return !XactReadOnly && run(&look_notes, &(LookNotes) {.most = a_bigint(1)}, NEWEST) > 0;
}

/* Acts on a note; false if that cannot be without waiting. */
static bool
act_on(const NoteRow *note)
{
	const pg_uuid_t *key;
	Watcher    *watchers;
	uint64		count;
	bool		done = true;

	if (!note->workflow_id.isnull)
		return look_again(DatumGetUUIDP(note->workflow_id.value));
	key = DatumGetUUIDP(note->key.value);
	/* so nobody is about to suspend a workflow for it, and nobody about to bring it */
	if (!try_hold_ends(key))
		return false;
	watchers = watchers_of(key, note->signal, &count);
	for (uint64 i = 0; i < count; i++)
		done = look_again(&watchers[i].workflow_id) && done;
	return done;
}

/*
 * Acts on what others have noted down.  Waits for nobody; the caller waits for nothing
 * afterwards but for what comes after the rows of workflows.
 */
void
act_on_notes(void)
{
	IdList		done = {0};
	NoteRow    *notes;
	uint64		count;

	if (!are_there_notes())
		return;
	count = run(&lock_notes, &(LookNotes) {.most = a_bigint(MOST_NOTES)}, NEWEST);
	notes = palloc(Max(count, 1) * sizeof(NoteRow));
	for (uint64 i = 0; i < count; i++)
		fetch(i, 0, &notes[i]);
	for (uint64 i = 0; i < count; i++)
		if (act_on(&notes[i]))
			append_id(&done, DatumGetUUIDP(notes[i].id.value));
	run_over_ids(&delete_notes, &done, NULL, NULL);
}
