/*-------------------------------------------------------------------------
 *
 * wait_open.c
 *	  The rows of open waits: they begin, begin again, and are closed.
 *
 * While a wait is open it has a row in durable.open_wait, beside its step.  So the
 * view durable.waiting reads what is open, not what has been, and the outcome of
 * a step needs no index to change.  The row is written and deleted by whoever
 * changes the step, in the same statement, or who ends its workflow.
 *
 * Whoever begins a wait holds the tree (shared), then takes the position in the
 * primary key of step.  A workflow that ends at the same time as one of its waits begins,
 * or ends, may leave a row behind: nobody counts that, since its workflow is finished, and
 * purge deletes it.
 *
 * An awaited workflow may be purged before its outcome is asked for.  Then purge
 * keeps the outcome, for whom durable.open_wait says that somebody waits for it.
 * Who begins to wait locks its row (KEY SHARE), for which purge does not wait: so
 * either purge sees that wait, or that wait sees that the workflow is gone.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "signal.h"
#include "sql.h"
#include "step_internal.h"
#include "table.h"
#include "wait.h"
#include "wake.h"

#include "utils/builtins.h"

/* ---- times ---------------------------------------------------------------------- */

/* Lets a wait that is new, or open again, count its time from now on. */
void
begin_times(Step *wait, TimestampTz now)
{
	wait->started_at = a_time(now);
	if (!wait->timeout.isnull)
		wait->run_at = a_time(clock_until(now, DatumGetIntervalP(wait->timeout.value)));
}

/* ---- beginning ------------------------------------------------------------------- */

#define BEGIN_WAIT(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(name, TEXTOID) \
	P(wait, TEXTOID) \
	P(signals, TEXTARRAYOID) \
	P(awaited, UUIDOID) \
	P(sequences, INT4ARRAYOID) \
	P(timeout, INTERVALOID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID) \
	P(ends, BOOLOID) \
	P(completes, BOOLOID) \
	P(output, JSONBOID) \
	P(error, TEXTOID) \
	P(detail, JSONBOID) \
	P(at, TIMESTAMPTZOID) \
	P(signal_id, UUIDOID)
PARAMETERS(BeginWait, BEGIN_WAIT);

/* Parameters of insert_wait, and whether its fast path did it. */
typedef struct FastBegin
{
	BeginWait	params;
	bool		done;
} FastBegin;

/* Writes the step, unless there is one. */
static bool
insert_step_of(Writing *writing, const BeginWait *p, int32 lease)
{
	bool		ends = DatumGetBool(p->ends.value);
	Event		event = !ends ? EVENT_WAIT : DatumGetBool(p->completes.value) ? EVENT_END_WAIT : EVENT_FAIL_WAIT;
	TaskStatus	status;

	if (!step_transition(event, ends ? PENDING : NO_TASK, &status))
		return false;
	new_row(writing);
	set(writing, step_workflow_id, p->workflow_id);
	set(writing, step_sequence, p->sequence);
	set_int(writing, step_lease, lease);
	set_int(writing, step_attempt, 1);
	set_label(writing, step_status, status_label(status));
	set_label(writing, step_kind, "WAIT");
	set(writing, step_name, p->name);
	set(writing, step_wait, p->wait);
	set(writing, step_signals, p->signals);
	set(writing, step_awaited, p->awaited);
	set(writing, step_sequences, p->sequences);
	set(writing, step_timeout, p->timeout);
	set(writing, step_run_at, p->run_at);
	set(writing, step_started_at, p->now);
	set(writing, step_output, p->output);
	set(writing, step_error, p->error);
	set(writing, step_detail, p->detail);
	set(writing, step_completed_at, ends ? p->at : a_null());
	return end_row(writing) && insert_row_unless_there(writing);
}

/* Writes the row of an open wait, unless one was left behind. */
static bool
list_wait(const BeginWait *p)
{
	Look		look;
	Writing		writing;
	bool		done;

	if (!begin_without_look(&look, &open_wait_by_position, RowExclusiveLock))
		return false;
	begin_writing(&writing, &look);
	new_row(&writing);
	set(&writing, open_wait_workflow_id, p->workflow_id);
	set(&writing, open_wait_sequence, p->sequence);
	set(&writing, open_wait_awaited, p->awaited);
	done = end_row(&writing);
	if (done)
		(void) insert_row_unless_there(&writing);
	end_writing(&writing);
	end_look(&look);
	return done;
}

static int64
fast_insert_wait(const void *params)
{
	FastBegin  *begin = (FastBegin *) params;
	const BeginWait *p = params;
	bool		takes = !p->signal_id.isnull;
	Look		taken;
	Look		look;
	Writing		writing;
	int32		lease;

	if (XactReadOnly || !look_at_lease(p->workflow_id, p->lease, p->now, &lease) ||
		(takes && !begin_taking(&taken, p->workflow_id, p->signal_id)))
		return NOT_FAST;
	if (begin_look(&look, &step_by_position, RowExclusiveLock,
				   (Key[]) {IS_ID(step_workflow_id, p->workflow_id), IS_INT(step_sequence, p->sequence)}, 2))
	{
		begin_writing(&writing, &look);
		begin->done = look.row == NULL && insert_step_of(&writing, p, lease);
		if (begin->done && !(takes ? take_signal(&taken, p->sequence) : DatumGetBool(p->ends.value) || list_wait(p)))
		{
			take_back_row(&writing);
			begin->done = false;
		}
		end_writing(&writing);
		end_look(&look);
	}
	if (takes)
		end_look(&taken);
	return begin->done ? 1 : NOT_FAST;
}

/* Open, or at once with its outcome and the signal that it takes. */
static Statement insert_wait = STATEMENT(BeginWait,
	"WITH " FREE_SIGNAL ", "
	"begun AS ("
	"  INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, wait, signals, awaited,"
	"    sequences, timeout, run_at, started_at, output, error, detail, completed_at) "
	"  SELECT w.id, :sequence, w.lease, 1, CASE WHEN NOT :ends THEN {step to WAIT}"
	"      WHEN :completes THEN {step to END_WAIT} ELSE {step to FAIL_WAIT} END,"
	"    'WAIT', :name, :wait, :signals, :awaited, :sequences, :timeout, :run_at, :now, :output, :error, :detail,"
	"    CASE WHEN :ends THEN :at END "
	"  FROM durable.workflow w "
	"  WHERE w.id = :workflow_id AND w.lease = :lease AND " OPEN_TO_NEW_AT(":now") " AND " SIGNAL_IS_FREE
	"  ON CONFLICT (workflow_id, sequence) DO NOTHING RETURNING 1), "
	"listed AS ("
	"  INSERT INTO durable.open_wait (workflow_id, sequence, awaited) "
	"  SELECT :workflow_id, :sequence, :awaited FROM begun WHERE NOT :ends "
	"  ON CONFLICT (workflow_id, sequence) DO NOTHING RETURNING 1), "
	TAKE_FREE_SIGNAL("begun")
	"SELECT (SELECT count(*) FROM begun), (SELECT count(*) FROM free)",
	.fast = fast_insert_wait);

/* What a statement has done that writes a wait, and takes this signal: its result says how many of each. */
Written
written(NullableDatum signal_id)
{
	if (DatumGetInt64(result_value(0, 0)) > 0)
		return WRITTEN;
	return signal_id.isnull || DatumGetInt64(result_value(0, 1)) > 0 ? OVERTAKEN : SIGNAL_IS_BUSY;
}

/* Creates a wait: open, or with its outcome. */
Written
begin_wait(const Step *wait, const WaitEnd *end, const WaitFence *fence)
{
	FastBegin	begin = {
		.params = {
			.workflow_id = an_id(&wait->workflow_id),.sequence = an_int(wait->sequence),.lease = fence->lease,
			.name = a_value(CStringGetTextDatum(wait->name)),.wait = a_value(CStringGetTextDatum(wait->wait)),
			.signals = wait->signals,.awaited = wait->awaited,.sequences = wait->sequences,.timeout = wait->timeout,
			.run_at = wait->run_at,.now = wait->started_at,
			.ends = a_bool(end->status != NO_TASK),.completes = a_bool(end->status == COMPLETED),
			.output = end->output,.error = end->error,.detail = end->detail,.at = a_time(end->at),
			.signal_id = end->signal_id
		}
	};

	run(&insert_wait, &begin, NEWEST);
	return begin.done ? WRITTEN : written(end->signal_id);
}

#define BEGIN_AGAIN(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(BeginAgain, BEGIN_AGAIN);

static Statement update_wait = STATEMENT(BeginAgain,
	"UPDATE durable.step s SET started_at = :now, run_at = :run_at, lease = w.lease FROM durable.workflow w "
	"WHERE w.id = :workflow_id AND w.lease = :lease AND " OPEN_AT(":now")
	"  AND s.workflow_id = :workflow_id AND s.sequence = :sequence AND s.started_at IS NULL"
	"  AND s.status = ANY {step from END_WAIT}");

/* Lets a wait that resume_failed has opened count its time; false if something overtook us. */
bool
begin_wait_again(const Step *wait, const WaitFence *fence)
{
	return run(&update_wait, &(BeginAgain)
			   {
				   .workflow_id = an_id(&wait->workflow_id),.sequence = an_int(wait->sequence),.lease = fence->lease,
				   .run_at = wait->run_at,.now = wait->started_at
			   }, NEWEST) > 0;
}

#define UNLIST(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID)
PARAMETERS(Unlist, UNLIST);

static Statement unlist = STATEMENT(Unlist,
	"DELETE FROM durable.open_wait o WHERE o.workflow_id = :workflow_id AND o.sequence = :sequence");

/* The wait at that position is not open any more. */
void
unlist_wait(NullableDatum workflow_id, NullableDatum sequence)
{
	run(&unlist, &(Unlist) {.workflow_id = workflow_id,.sequence = sequence}, NEWEST);
}

/* Takes back an open wait that this call has created, before anybody could see it. */
void
take_back_wait(const Step *wait)
{
	unlist_wait(an_id(&wait->workflow_id), an_int(wait->sequence));
	take_back_step(&wait->workflow_id, wait->sequence);
}

/* ---- closing and opening with the workflow ----------------------------------------- */

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

/* Most workflows have no open wait when they end. */
static int64
fast_close_waits(const void *params)
{
	const OfIds *p = params;
	Elements	ids = elements_of(p->ids, UUIDOID, 0);

	for (int i = 0; i < ids.count; i++)
		if (fast_none(&open_wait_by_position, (Key[]) {IS_ID(open_wait_workflow_id, element_of(&ids, i))}, 1) != 0)
			return NOT_FAST;
	return 0;
}

static Statement close_waits = STATEMENT(OfIds,
	"WITH free AS MATERIALIZED ("
	"  SELECT o.workflow_id, o.sequence FROM durable.open_wait o WHERE o.workflow_id = ANY (:ids) FOR UPDATE SKIP LOCKED) "
	"DELETE FROM durable.open_wait o USING free f WHERE o.workflow_id = f.workflow_id AND o.sequence = f.sequence",
	.fast = fast_close_waits);

/*
 * The workflows have ended: their waits are not open any more, whatever their steps
 * say.  Waits for nobody: whose row is locked is about to end.
 */
void
close_waits_of(const pg_uuid_t *workflow_ids, uint64 count)
{
	IdList		list = {.ids = unconstify(pg_uuid_t *, workflow_ids),.count = count};

	run_over_ids(&close_waits, &list, NULL, NULL);
}

/* Those that have failed are PENDING again by now; others have been all the time. */
static Statement reopen_waits = STATEMENT(OfIds,
	"INSERT INTO durable.open_wait (workflow_id, sequence, awaited) "
	"SELECT s.workflow_id, s.sequence, s.awaited FROM durable.step s "
	"WHERE s.workflow_id = ANY (:ids) AND s.kind = 'WAIT' AND s.status = ANY {step from END_WAIT} "
	"ON CONFLICT (workflow_id, sequence) DO NOTHING");

/* The workflows run again: so their waits are open again that have no outcome. */
void
reopen_waits_of(const IdList *workflows)
{
	run_over_ids(&reopen_waits, workflows, NULL, NULL);
}

/* ---- awaited workflows ---------------------------------------------------------------- */

#define HOLD(P) \
	P(id, UUIDOID)
PARAMETERS(Hold, HOLD);

static Statement hold = STATEMENT(Hold,
	"SELECT w.id FROM durable.workflow w WHERE w.id = :id FOR KEY SHARE");

/* Keeps purge from a workflow that is about to be awaited; raises an error if it is gone. */
void
hold_awaited(const pg_uuid_t *awaited)
{
	if (run(&hold, &(Hold) {.id = an_id(awaited)}, NEWEST) == 0)
		raise_refusal(refuse_unknown_task(awaited));
}

/* Most workflows nobody awaits. */
static int64
fast_look_awaiting(const void *params)
{
	return fast_none(&open_wait_by_awaited, (Key[]) {IS_ID(open_wait_awaited, ((const Hold *) params)->id)}, 1);
}

/* Who drives the workflows that await it, or what is above an inline one. */
static Statement look_awaiting = STATEMENT(Hold,
	"WITH RECURSIVE up AS ("
	"  SELECT o.workflow_id AS id FROM durable.open_wait o WHERE o.awaited = :id "
	"  UNION "
	"  SELECT p.parent_id FROM up u CROSS JOIN LATERAL ("
	"    SELECT o.parent_id FROM durable.workflow o"
	"    WHERE o.id = u.id AND o.queue_name IS NULL AND o.parent_id IS NOT NULL OFFSET 0) p) "
	"SELECT DISTINCT w.executor_id FROM up u CROSS JOIN LATERAL ("
	"  SELECT o.executor_id FROM durable.workflow o WHERE o.id = u.id AND o.executor_id IS NOT NULL OFFSET 0) w",
	.fast = fast_look_awaiting);

/* A workflow has ended: that is news for who drives what awaits it, in whatever tree.  Locks nothing. */
void
tell_who_awaits(const pg_uuid_t *workflow_id)
{
	uint64		count;

	if (!may_be_told_news())
		return;
	count = run(&look_awaiting, &(Hold) {.id = an_id(workflow_id)}, NEWEST);
	for (uint64 row = 0; row < count; row++)
		note_news(result_value(row, 0));
}

static Statement keep_outcomes = STATEMENT(OfIds,
	"INSERT INTO durable.awaited_outcome (workflow_id, status, completed_at, output, error, detail) "
	"SELECT w.id, w.status, w.completed_at, w.output, w.error, w.detail FROM durable.workflow w "
	"WHERE w.id = ANY (:ids) AND EXISTS (SELECT 1 FROM durable.open_wait o WHERE o.awaited = w.id) "
	"ON CONFLICT (workflow_id) DO NOTHING");

/* Keeps the outcomes, for those who wait for them, of workflows that are about to be deleted. */
void
keep_awaited_outcomes(const IdList *workflows)
{
	run_over_ids(&keep_outcomes, workflows, NULL, NULL);
}

#define FORGET_OUTCOMES(P) \
	P(most, INT8OID)
PARAMETERS(ForgetOutcomes, FORGET_OUTCOMES);

static Statement forget_outcomes = STATEMENT(ForgetOutcomes,
	"WITH unneeded AS MATERIALIZED ("
	"  SELECT a.workflow_id FROM durable.awaited_outcome a "
	"  WHERE NOT EXISTS (SELECT 1 FROM durable.open_wait o WHERE o.awaited = a.workflow_id)"
	/* where a workflow is still on its way here, its waits may be, too */
	"    AND durable.bucket(a.workflow_id) <@ (SELECT durable.buckets()) "
	"  LIMIT :most FOR UPDATE OF a SKIP LOCKED) "
	"DELETE FROM durable.awaited_outcome a WHERE a.workflow_id = ANY (ARRAY(SELECT u.workflow_id FROM unneeded u))");

/* Forgets so many outcomes that were kept for waits which are not open any more. */
void
forget_awaited_outcomes(int64 most)
{
	run(&forget_outcomes, &(ForgetOutcomes) {.most = a_bigint(most)}, NEWEST);
}
