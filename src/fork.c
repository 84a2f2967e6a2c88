/*-------------------------------------------------------------------------
 *
 * fork.c
 *	  fork: a new run that begins with what another one has recorded.
 *
 * A fork is a root with copies of all that is recorded before a position, each with
 * its outcome, whatever has become of the original since.  A copy was recorded under
 * no lease of its workflow: its lease is 0 (is_copy).  So is that of a stand-in: there
 * is no child, start_child answers from the copy.  Signals that the original took at
 * that position or later, or not yet, wait in the fork again.
 *
 * One statement reads the original and writes the fork, by one snapshot.  So nothing
 * of the original is locked: it, its steps and its signals are read as they were at
 * one moment, whoever records, takes or purges there meanwhile.
 *
 * Locks are those of start (workflow_start.c): the executor's row, the queue (shared),
 * then the name in the unique index of active roots.  A second one of that name waits
 * there, and then finds the first one's workflow.  It writes in a subtransaction, which
 * is rolled back where it had to wait there, since its times are too old then.
 *
 *-------------------------------------------------------------------------
 */
#include "buckets.h"
#include "plan.h"
#include "sql.h"
#include "subtransaction.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_fork);

/* A call of fork. */
typedef struct Fork
{
	/* the arguments */
	const pg_uuid_t *original_id;
	int32		from_sequence;
	NullableDatum name;
	NullableDatum input;
	NullableDatum queue;
	NullableDatum executor_id;
	NullableDatum run_at;
	NullableDatum app_version;
	/* what came of it */
	pg_uuid_t	id;
	bool		is_made;
	int32		priority;
	NullableDatum unfinished;	/* the first position that has no outcome to be copied */
	Rounds		rounds;
} Fork;

/* ---- the statement ------------------------------------------------------------------ */

#define INSERT_FORK(P) \
	P(original, UUIDOID) \
	P(from_sequence, INT4OID) \
	P(id, UUIDOID) \
	P(name, TEXTOID) \
	P(input, JSONBOID) \
	P(queue, TEXTOID) \
	P(executor_id, TEXTOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(app_version, TEXTOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(InsertFork, INSERT_FORK);

#define FORKED(F, C, t) F(t, priority) C(t, unfinished) C(t, positions) C(t, copied)
ROW(Forked, FORKED);

#define COPIED_OF_STEP \
	"sequence, attempt, status, kind, max_retries, retry_count, started_at, completed_at, run_at, deadline, failed_at, name," \
	" executor_id, backoff, backoff_multiplier, max_backoff, timeout, child_id, input, output, error, detail, wait, signals," \
	" awaited, sequences, recorded_at"

/* Nothing is written where a position is unfinished, or the name is taken. */
static Statement insert_fork = STATEMENT(InsertFork,
	"WITH original AS MATERIALIZED ("
	"  SELECT w.* FROM durable.workflow w WHERE w.id = :original), "
	"before AS MATERIALIZED ("
	"  SELECT count(*) AS positions, min(s.sequence) FILTER (WHERE NOT s.status = ANY {step from FORK}) AS unfinished "
	"  FROM durable.step s WHERE s.workflow_id = :original AND s.sequence < :from_sequence), "
	"entered AS ("
	"  INSERT INTO durable.active_root (name, id) "
	"  SELECT :name, :id FROM original o CROSS JOIN before b WHERE b.unfinished IS NULL "
	"  ON CONFLICT (name) DO NOTHING RETURNING id), "
	"forked AS ("
	"  INSERT INTO durable.workflow (id, root_id, status, lease, created_at, started_at, deadline, run_at, name, input,"
	"    handler, executor_id, queue_name, priority, timeout, max_recovery_attempts, app_version, concurrency_key,"
	"    max_retries, retry_count, backoff, backoff_multiplier, max_backoff, scheduled_for, scheduled_by,"
	"    forked_from, forked_at_sequence) "
	"  SELECT e.id, e.id, CASE WHEN :queue IS NULL THEN 'RUNNING'::durable.task_status ELSE 'PENDING' END,"
	"    CASE WHEN :queue IS NULL THEN 1 ELSE 0 END, :now,"
	"    CASE WHEN :queue IS NULL THEN :now END,"
	"    CASE WHEN :queue IS NULL THEN :now + o.timeout END,"
	"    CASE WHEN :queue IS NOT NULL THEN COALESCE(:run_at, :now) END,"
	"    :name, COALESCE(:input, o.input), o.handler, CASE WHEN :queue IS NULL THEN :executor_id END, :queue, o.priority,"
	"    o.timeout, o.max_recovery_attempts, :app_version, k.concurrency_key,"
	"    k.max_retries, k.max_retries - k.max_retries, k.backoff, k.backoff_multiplier, k.max_backoff,"
	"    o.scheduled_for, o.scheduled_by, o.id, :from_sequence "
	"  FROM entered e CROSS JOIN original o LEFT JOIN original k ON :queue IS NOT NULL RETURNING priority), "
	"tagged AS ("
	"  INSERT INTO durable.workflow_tags (workflow_id, tags) "
	"  SELECT e.id, t.tags FROM entered e CROSS JOIN durable.workflow_tags t WHERE t.workflow_id = :original), "
	"copied AS ("
	"  INSERT INTO durable.step (workflow_id, lease, " COPIED_OF_STEP ") "
	"  SELECT e.id, 0, s.* FROM entered e CROSS JOIN ("
	"    SELECT " COPIED_OF_STEP " FROM durable.step "
	"    WHERE workflow_id = :original AND sequence < :from_sequence) s RETURNING 1), "
	"signals AS ("
	"  INSERT INTO durable.signal (id, workflow_id, name, key, payload, sent_at, counted) "
	"  SELECT g.id, e.id, g.name, g.key, g.payload, g.sent_at, g.counted FROM entered e CROSS JOIN durable.signal g "
	"  WHERE g.workflow_id = :original AND (g.sequence IS NULL OR g.sequence >= :from_sequence)) "
	"SELECT (SELECT f.priority FROM forked f) AS priority, b.unfinished, b.positions,"
	"  (SELECT count(*) FROM copied) AS copied "
	"FROM before b");

/* Writes the fork, if it can be; false if it had to wait for that. */
static bool
write_fork(void *arg)
{
	Fork	   *f = arg;
	text	   *name = DatumGetTextPP(f->name.value);
	Forked		row;

	require_bucket_of_name(f->name.value, "name");
	new_workflow_id(clock_ns(), name_bucket(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), "name"), &f->id);
	watch_waits(&f->rounds);
	run(&insert_fork, &(InsertFork)
		{
			.original = an_id(f->original_id),.from_sequence = an_int(f->from_sequence),.id = an_id(&f->id),
			.name = f->name,.input = f->input,.queue = f->queue,.executor_id = f->executor_id,.run_at = f->run_at,
			.app_version = f->app_version,.now = a_time(id_created_at(&f->id))
		}, NEWEST);
	fetch(0, 0, &row);
	f->is_made = !row.priority.isnull;
	f->unfinished = row.unfinished;
	if (!f->is_made)
		return true;
	if (DatumGetInt64(row.copied.value) < DatumGetInt64(row.positions.value))
		raise_kept_away("durable.step");
	f->priority = DatumGetInt32(row.priority.value);
	return !has_waited(&f->rounds, 1);
}

/* ---- the call ------------------------------------------------------------------------ */

/* Raises an error if a position has no outcome that could be copied; it may have got one since. */
static void
raise_if_unfinished(const Fork *f)
{
	Workflow	workflow;
	Step		step;

	if (!f->unfinished.isnull &&
		look_step(f->original_id, DatumGetInt32(f->unfinished.value), NEWEST, &workflow, &step) &&
		!step_transition(EVENT_FORK, step.status, NULL))
		raise_refusal(refuse_copy(&step));
}

/* Writes the fork, under the locks that come before; false if something overtook us. */
static bool
try_fork(Fork *f)
{
	int64		registered = register_executor(f->executor_id, a_null());
	ErrorData  *error;
	bool		done;

	lock_queue_to_start(f->queue);
	done = in_subtransaction(write_fork, f, &error);
	if (error)
		ReThrowError(error);
	register_again(f->executor_id, registered);
	if (!done || !f->is_made)
		return false;
	started_waiting(f->queue, f->priority, f->run_at, id_array(&f->id, 1));
	remember_tree(&f->id, &f->id);
	expect_new_step(&f->id, f->from_sequence);
	return true;
}

static void
fork_workflow(Fork *f)
{
	NullableDatum given = f->name;
	Workflow	original;
	Workflow	other;

	for (;; next_round(&f->rounds, "durable.workflow", seen_of(&original, NULL)))
	{
		look_workflow_or_raise(f->original_id, "workflow_id", NEWEST, &original);
		f->name = given.isnull ? a_value(CStringGetTextDatum(original.name)) : given;
		if (look_active_root(f->name.value, &other))
			raise_refusal(refuse_active_root(&other));
		if (try_fork(f))
			return;
		raise_if_unfinished(f);
	}
}

/* fork(workflow_id, from_sequence, name, input, queue, executor_id, run_at, app_version) */
Datum
durable_fork(PG_FUNCTION_ARGS)
{
	Fork		f = {
		.name = fcinfo->args[2],.input = fcinfo->args[3],.queue = fcinfo->args[4],.executor_id = fcinfo->args[5],
		.run_at = fcinfo->args[6],.app_version = fcinfo->args[7]
	};
	NullableDatum columns[3];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_not_negative(fcinfo->args[1], "from_sequence");
	check_name(f.name, "name");
	check_name(f.queue, "queue");
	check_name(f.executor_id, "executor_id");
	check_name(f.app_version, "app_version");
	check_run_at_in(f.run_at, f.queue);
	f.original_id = PG_GETARG_UUID_P(0);
	f.from_sequence = PG_GETARG_INT32(1);

	call = begin_call(fcinfo);
	fork_workflow(&f);
	columns[0] = an_id(&f.id);
	columns[1] = a_value(enum_datum(column_type(desc, 1), status_label(f.queue.isnull ? RUNNING : PENDING)));
	columns[2] = an_int(f.queue.isnull ? 1 : 0);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}
