/*-------------------------------------------------------------------------
 *
 * namesake.c
 *	  What start finds under its name, but for what it attaches to: finished runs,
 *	  which may be the answer (if_finished), and one that never ran, which it may
 *	  replace (if_active).  workflow_start.c says when.
 *
 * A name that runs once.  Nothing is locked for it but the name itself, by the unique
 * index of active roots.  A start that has found nothing under a name enters it, and
 * then looks for finished runs once more.  Whoever ran under the name before has left
 * it, in the transaction that finished the run: else we would have waited.  So that
 * transaction has committed, and the look finds the run, since it sees what is
 * committed now, at any isolation level (NEWEST).  Then the new run is taken back.
 *
 * Replacing against a claim.  Both lock the workflow's row.  A claim that was first has
 * raised its lease: nothing is replaced, and start looks again.  A claim that comes
 * later either passes over the row, or asks it again where it waits now.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "namesake.h"
#include "sql.h"
#include "table.h"
#include "tags.h"

#include "utils/builtins.h"

/* ---- finished runs ------------------------------------------------------------- */

#define LAST_FINISHED(name) \
	"FROM durable.workflow o " \
	"WHERE o.name = " name " AND " CHECKED("o.parent_id IS NULL AND o.completed_at IS NOT NULL") " " \
	"ORDER BY o.name DESC, o.id DESC LIMIT 1"

#define FINISHED_ROOT(P) \
	P(name, TEXTOID)
PARAMETERS(FinishedRoot, FINISHED_ROOT);

/* Finds that there is none; one that is there is left to the statement. */
static int64
fast_no_finished_root(const void *params)
{
	const FinishedRoot *p = params;
	Look		look;
	bool		found = false;

	if (!begin_look(&look, &workflow_by_name, AccessShareLock, (Key[]) {IS_TEXT(workflow_name, p->name)}, 1))
		return NOT_FAST;
	for (; look.row && !found; next_row(&look))
		found = column_of_row(&look, workflow_parent_id).isnull &&
			!column_of_row(&look, workflow_completed_at).isnull;
	end_look(&look);
	return found ? NOT_FAST : 0;
}

static Statement look_finished = STATEMENT(FinishedRoot,
	"SELECT " COLUMNS(WORKFLOW_LIST, "o.") " " LAST_FINISHED(":name"),
	.planning = IN_ORDER,.fast = fast_no_finished_root);

/* Of the finished roots of a name, the one created last. */
bool
look_finished_root(NullableDatum name, Workflow *finished)
{
	return run(&look_finished, &(FinishedRoot) {.name = name}, NEWEST) > 0 && read_workflow_from(0, 0, finished);
}

#define FINISHED_ROOTS(P) \
	P(names, TEXTARRAYOID)
PARAMETERS(FinishedRoots, FINISHED_ROOTS);

static Statement look_all_finished = STATEMENT(FinishedRoots,
	"SELECT " COLUMNS(WORKFLOW_LIST, "w.") " "
	"FROM ROWS FROM (unnest(:names)) WITH ORDINALITY AS b (name, n) "
	"LEFT JOIN LATERAL (SELECT o.* " LAST_FINISHED("b.name") ") w ON true "
	"ORDER BY b.n");

/* The same for many: a row for each name, in their order, all NULL if there is none. */
void
look_finished_roots(Datum names)
{
	run(&look_all_finished, &(FinishedRoots) {.names = a_value(names)}, NEWEST);
}

/* Whether that one is what start answers, so that none begins. */
bool
is_answer(const Workflow *finished, IfFinished if_finished)
{
	return if_finished == FINISHED_RETURNED ||
		(if_finished == FINISHED_RETURNED_IF_COMPLETED && finished->status == COMPLETED);
}

/* ---- replacing ------------------------------------------------------------------- */

bool
never_ran(const Workflow *workflow)
{
	return workflow->has_queue && workflow->lease == 0 &&
		(workflow->status == PENDING || workflow->status == PAUSED);
}

#define REPLACE_ROOTS(P) \
	P(ids, UUIDARRAYOID) \
	P(inputs, JSONBARRAYOID) \
	P(concurrency_keys, TEXTARRAYOID) \
	P(statuses, TEXTARRAYOID) \
	P(handler, TEXTOID) \
	P(queue, TEXTOID) \
	P(priority, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(timeout, INTERVALOID) \
	P(max_recovery_attempts, INT4OID) \
	P(app_version, TEXTOID) \
	P(now, TIMESTAMPTZOID) \
	WORKFLOW_POLICY(P)
PARAMETERS(ReplaceRoots, REPLACE_ROOTS);

/* Lease 0: it never ran, and nobody has claimed it since it was looked at. */
static Statement replace_them = STATEMENT(ReplaceRoots,
	"UPDATE durable.workflow w SET input = b.input, concurrency_key = b.concurrency_key, handler = :handler,"
	"  queue_name = :queue, priority = :priority, run_at = coalesce(:run_at, :now), replaced_at = :now, timeout = :timeout,"
	"  max_recovery_attempts = :max_recovery_attempts, app_version = :app_version, max_retries = :max_retries,"
	"  retry_count = :max_retries - :max_retries, backoff = :backoff, backoff_multiplier = :backoff_multiplier,"
	"  max_backoff = :max_backoff "
	"FROM ROWS FROM (unnest(:ids), unnest(:inputs), unnest(:concurrency_keys), unnest(:statuses)) "
	"  WITH ORDINALITY AS b (id, input, concurrency_key, status, n) "
	"WHERE w.id = b.id AND " CHECKED("w.lease = 0 AND w.status = b.status::durable.task_status"),
	.planning = BY_PROBES);

/*
 * Gives roots that never ran, which are in the order of ids, new arguments; false if
 * somebody has claimed, paused or cancelled one.  Their trees and the queue are locked (shared).
 * Locks their rows.
 */
bool
replace_roots(const Replacing *replacings, int count, const StartArgs *args)
{
	Elements	ids = new_elements(UUIDOID, count);
	Elements	inputs = new_elements(JSONBOID, count);
	Elements	keys = new_elements(TEXTOID, count);
	Elements	statuses = new_elements(TEXTOID, count);
	NewTags    *tags = palloc(count * sizeof(NewTags));
	NullableDatum all;

	if (count == 0)
		return true;
	for (int i = 0; i < count; i++)
	{
		const NewRoot *values = replacings[i].values;

		append_element(&ids, an_id(&replacings[i].id));
		append_element(&inputs, values->input);
		append_element(&keys, values->concurrency_key);
		append_element(&statuses, a_value(CStringGetTextDatum(status_label(replacings[i].status))));
		tags[i] = (NewTags) {.id = an_id(&replacings[i].id),.tags = values->tags};
	}
	all = array_of(&ids);
	lock_workflows(all.value);
	if (run(&replace_them,
			&(ReplaceRoots) {
				.ids = all,.inputs = array_of(&inputs),.concurrency_keys = array_of(&keys),
				.statuses = array_of(&statuses),.handler = args->handler,.queue = args->queue,.priority = args->priority,
				.run_at = args->run_at,.now = a_time(clock_now()),.timeout = args->timeout,
				.max_recovery_attempts = args->max_recovery_attempts,.app_version = args->app_version,
				WORKFLOW_RETRIES(args->retries)
			}, NEWEST) < count)
		return false;
	replace_tags(tags, count);
	now_waiting(all.value);
	return true;
}
