/*-------------------------------------------------------------------------
 *
 * wake_note.c
 *	  What a transaction tells those who wait, when it has committed.
 *
 * Whoever makes work, ends a task or emits an event notes it here, while it writes.
 * A rollback, also to a savepoint, drops what was noted since.  Nothing is written
 * and nothing is locked for it.
 *
 * The notes are told when the commit is visible and the locks of the transaction
 * are released: who is woken earlier finds the rows still locked.  So they are
 * armed at the commit, and told by the callback for the end of resources, after
 * that of locks.  Nothing there can fail.
 *
 * A note is a hint.  What nobody is told (of a prepared transaction, or beyond so
 * many notes in one) those who wait find by themselves, within a second.
 *
 *-------------------------------------------------------------------------
 */
#include "clock.h"
#include "wake.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* A transaction notes at most so many different things. */
#define MOST_NOTES 4096

/* A new note is compared with so many before it. */
#define COMPARED_NOTES 8

static Note *notes;
static int	note_count;
static int	note_room;
static bool are_armed;			/* the transaction has ended: they are told when its locks are released */

/* ---- noting ------------------------------------------------------------------------ */

/* Adds a note to an equal one of the same subtransaction; false if there is none among the last. */
static bool
add_to_equal(const Note *note)
{
	for (int i = note_count - 1; i >= Max(0, note_count - COMPARED_NOTES); i--)
	{
		Note	   *other = &notes[i];

		if (other->kind == note->kind && other->key == note->key && other->executor == note->executor &&
			other->level == note->level && (other->count < 0) == (note->count < 0))
		{
			other->count += note->count;
			other->due = Min(other->due, note->due);
			return true;
		}
	}
	return false;
}

static void
append_note(Note note)
{
	if (!has_wake_memory())
		return;
	note.level = GetCurrentTransactionNestLevel();
	if (add_to_equal(&note) || note_count == MOST_NOTES)
		return;
	if (note_count == note_room)
	{
		int			room = Max(64, 2 * note_room);

		notes = notes ? repalloc(notes, room * sizeof(Note)) : MemoryContextAlloc(TopMemoryContext, room * sizeof(Note));
		note_room = room;
	}
	notes[note_count++] = note;
}

/* A workflow waits in a queue from now on ('' is none), and is due at that time. */
void
note_work(Datum queue, TimestampTz run_at)
{
	append_note((Note)
				{
					.kind = run_at <= clock_now() ? NOTE_WORK : NOTE_LATER,.key = queue_key(queue),.count = 1,.due = run_at
				});
}

/* A workflow of the queue gives its slot free. */
void
note_slot(Datum queue)
{
	append_note((Note) {.kind = NOTE_SLOT,.key = queue_key(queue),.count = 1});
}

/* More can be claimed from the queue than before. */
void
note_queue(Datum queue)
{
	append_note((Note) {.kind = NOTE_QUEUE,.key = queue_key(queue)});
}

/* A workflow or step has ended. */
void
note_end(const pg_uuid_t *task_id)
{
	append_note((Note) {.kind = NOTE_END,.key = end_key(task_id)});
}

/* A workflow has emitted an event. */
void
note_event(const pg_uuid_t *workflow_id)
{
	append_note((Note) {.kind = NOTE_EVENT,.key = event_key(workflow_id)});
}

/*
 * Something has happened to a workflow that the executor drives: somebody else has
 * paused, resumed, cancelled or taken it, or a wait in it has ended.
 */
void
note_news(Datum executor_id)
{
	append_note((Note) {.kind = NOTE_NEWS,.key = executor_key(executor_id)});
}

/* A workflow that the executor drives has got another deadline. */
void
note_deadline(Datum executor_id)
{
	append_note((Note) {.kind = NOTE_DEADLINE,.key = executor_key(executor_id)});
}

/* There is something for tick, or another time at which there will be. */
void
note_tick(void)
{
	append_note((Note) {.kind = NOTE_TICK,.key = tick_key(),.count = 1});
}

/* The executor has claimed from the queue, and got so many.  This is told also if it is taken back. */
void
note_claim(Datum queue, Datum executor_id, int64 claimed)
{
	if (claimed > 0)
		got_work();
	append_note((Note)
				{
					.kind = NOTE_CLAIM,.key = queue_key(queue),.executor = executor_key(executor_id),
					.count = (int32) Min(claimed, PG_INT32_MAX)
				});
}

/* ---- the end of a transaction -------------------------------------------------------- */

/* Drops what was noted from that level on.  A claim is noted as taken back: by a negative number. */
static void
take_back_notes(int level)
{
	int			kept = 0;

	for (int i = 0; i < note_count; i++)
	{
		Note		note = notes[i];

		if (note.level >= level)
		{
			if (note.kind != NOTE_CLAIM)
				continue;
			note.count = -Max(note.count, 0);
			note.level = level - 1;
		}
		notes[kept++] = note;
	}
	note_count = kept;
}

static void
note_at_transaction_event(XactEvent event, void *arg)
{
	if (note_count == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			are_armed = true;
			break;
		case XACT_EVENT_ABORT:
			take_back_notes(1);
			are_armed = note_count > 0;
			break;
		case XACT_EVENT_PREPARE:
			note_count = 0;
			break;
		default:
			break;
	}
}

/* What a subtransaction has noted is dropped with it, or becomes its parent's. */
static void
note_at_subtransaction_event(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (note_count == 0)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = note_count; i > 0 && notes[i - 1].level >= level; i--)
			notes[i - 1].level = level - 1;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		take_back_notes(level);
}

/* The transaction has ended, and its locks are released. */
static void
note_at_release(ResourceReleasePhase phase, bool isCommit, bool isTopLevel, void *arg)
{
	if (!are_armed || !isTopLevel || phase != RESOURCE_RELEASE_AFTER_LOCKS)
		return;
	are_armed = false;
	tell(notes, note_count);
	note_count = 0;
}

/* Called once in each backend, by _PG_init. */
void
watch_notes(void)
{
	RegisterXactCallback(note_at_transaction_event, NULL);
	RegisterSubXactCallback(note_at_subtransaction_event, NULL);
	RegisterResourceReleaseCallback(note_at_release, NULL);
}
