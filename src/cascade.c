/*-------------------------------------------------------------------------
 *
 * cascade.c
 *	  The cascade: a change of a workflow and of those below it.
 *
 * The caller decides whether a workflow may be changed.  What changes below that
 * workflow is decided here, row by row, by transitions.h.
 *
 * A cascade goes down level by level.  It locks each level's rows before it looks
 * for their children, in a new snapshot, and start_child holds its parent's row.
 * So no child is missed, even by a cascade that does not lock the tree
 * exclusively.  All go from parents to children, and those that may meet others
 * in the tree (locks_first) lock each level in the order of ids: so two of them
 * cannot deadlock.  Step rows come after all rows of workflows, stand-ins last.
 *
 *-------------------------------------------------------------------------
 */
#include "outcome.h"
#include "plan.h"
#include "sql.h"
#include "suspend.h"
#include "wait.h"

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

/* ---- statements -------------------------------------------------------------- */

/* The parameters of all changes; each statement uses those that it needs. */
#define CHANGE(P) \
	P(ids, UUIDARRAYOID) \
	P(paused_by, UUIDOID) \
	P(paused_at, TIMESTAMPTZOID) \
	P(now, TIMESTAMPTZOID) \
	P(from_sequence, INT4OID) \
	P(leaves_caught, BOOLOID)
PARAMETERS(Change, CHANGE);

/*
 * After a position had ended, another one was first recorded behind it: the program has
 * caught that failure, and gone another way.
 */
#define IS_CAUGHT(of_workflow, at, ended_at) \
	"EXISTS (SELECT 1 FROM durable.step l WHERE l.workflow_id = " of_workflow " AND l.sequence > " at \
	"  AND coalesce(l.recorded_at, l.started_at) > " ended_at ")"

static Statement pause_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w "
	"SET status = {workflow to PAUSE}, paused_from = w.status, paused_by = :paused_by, paused_at = :paused_at "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.status = ANY {workflow from PAUSE}") " "
	"RETURNING w.id");

/* Each gets back the status that it had. */
static Statement resume_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w "
	"SET status = w.paused_from, paused_from = NULL, paused_by = NULL, paused_at = NULL "
	"WHERE w.id = ANY (:ids) AND w.paused_by = :paused_by AND w.paused_at = :paused_at "
	"  AND " CHECKED("w.status = ANY {workflow from RESUME}") " "
	"RETURNING w.id");

static Statement cancel_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w "
	"SET status = {workflow to CANCEL}, completed_at = :now, "
	"  paused_from = NULL, paused_by = NULL, paused_at = NULL, suspended_at = NULL "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.status = ANY {workflow from CANCEL}") " "
	"RETURNING w.id");

static Statement fail_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w "
	"SET status = {workflow to FAIL_BELOW}, error = 'parent workflow failed', completed_at = :now, "
	"  paused_from = NULL, paused_by = NULL, paused_at = NULL "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.status = ANY {workflow from FAIL_BELOW}") " "
	"RETURNING w.id");

/* Below the workflow that is resumed, or tried again (its caller changes that one): nobody drives these yet. */
static Statement rerun_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w "
	"SET status = {workflow to RERUN_BELOW}, lease = w.lease + 1, executor_id = NULL, "
	"  error = NULL, detail = NULL, completed_at = NULL, deadline = NULL, "
	"  retry_count = CASE WHEN w.max_retries IS NOT NULL THEN 0 END, "
	"  paused_from = NULL, paused_by = NULL, paused_at = NULL, " NOT_ASKED
	"WHERE w.id = ANY (:ids) "
	"  AND " CHECKED("w.status = ANY {workflow from RERUN_BELOW} AND (w.status = 'FAILED' OR w.queue_name IS NULL)") " "
	"RETURNING w.id");

static Statement fence_workflows = STATEMENT(Change,
	"UPDATE durable.workflow w SET lease = w.lease + 1 "
	"WHERE w.id = ANY (:ids) AND " CHECKED(UNFINISHED("w")) " "
	"RETURNING w.id");

static Statement pause_steps = STATEMENT(Change,
	"UPDATE durable.step s SET status = {step to PAUSE} "
	"WHERE s.workflow_id = ANY (:ids) AND s.status = ANY {step from PAUSE}");

static Statement resume_steps = STATEMENT(Change,
	"UPDATE durable.step s SET status = {step to RESUME} "
	"WHERE s.workflow_id = ANY (:ids) AND s.status = ANY {step from RESUME}");

static Statement cancel_steps = STATEMENT(Change,
	"UPDATE durable.step s SET status = {step to CANCEL}, completed_at = :now "
	"WHERE s.workflow_id = ANY (:ids) AND s.kind <> 'WORKFLOW' AND s.status = ANY {step from CANCEL}");

/*
 * Steps that have failed at that position or later, and steps that were left running;
 * of waits only one after which nothing is recorded: the program has gone past others.
 * Its time counts from when it is asked for again, unless it was given as such.  What was
 * PAUSED in an inline child just goes on.  A child that was not created, since its parent
 * was told by that to end, may be now.  Others may be in the tree: rows are locked in
 * order first.
 */
#define KEEPS_ON(column) "CASE WHEN s.status = 'PAUSED' THEN s." column " END"
static Statement rerun_steps = STATEMENT(Change,
	"WITH again AS MATERIALIZED ("
	"  SELECT s.workflow_id, s.sequence FROM durable.step s "
	"  WHERE s.workflow_id = ANY (:ids) AND s.kind <> 'WORKFLOW' "
	"    AND (s.status = ANY {step from RESUME_FAILED} OR s.status = ANY {step from RESUME}) "
	"    AND (s.status <> 'FAILED' OR s.sequence >= :from_sequence) "
	"    AND (s.status <> 'FAILED' OR s.kind <> 'WAIT' OR NOT EXISTS ("
	"      SELECT 1 FROM durable.step l WHERE l.workflow_id = s.workflow_id AND l.sequence > s.sequence)) "
	"    AND (s.status <> 'FAILED' OR NOT :leaves_caught OR NOT " IS_CAUGHT("s.workflow_id", "s.sequence", "s.completed_at") ") "
	"  ORDER BY s.workflow_id, s.sequence FOR NO KEY UPDATE OF s), "
	"uncreated AS ("
	"  DELETE FROM durable.step s WHERE s.workflow_id = ANY (:ids) AND s.sequence >= :from_sequence"
	"    AND s.kind = 'WORKFLOW' AND s.child_id IS NULL AND s.lease > 0) "
	"UPDATE durable.step s "
	"SET status = {step to RESUME_FAILED},"
	"  retry_count = CASE WHEN s.status = 'PAUSED' THEN s.retry_count ELSE 0 END,"
	"  error = " KEEPS_ON("error") ", detail = " KEEPS_ON("detail") ","
	"  run_at = CASE WHEN s.status = 'PAUSED' OR (s.kind = 'WAIT' AND s.timeout IS NULL) THEN s.run_at END, "
	"  started_at = CASE WHEN s.status = 'PAUSED' OR s.kind <> 'WAIT' THEN s.started_at END, "
	"  recorded_at = coalesce(s.recorded_at, s.started_at), completed_at = NULL, deadline = " KEEPS_ON("deadline") " "
	"FROM again a WHERE s.workflow_id = a.workflow_id AND s.sequence = a.sequence",
	.planning = BY_PROBES);

static Statement record = STATEMENT(OfIds,
	"UPDATE durable.step s "
	"SET status = CASE WHEN " UNFINISHED("w") " THEN 'RUNNING' ELSE w.status END, "
	"  output = w.output, error = w.error, detail = w.detail, completed_at = w.completed_at "
	"FROM unnest(:ids) AS i (id) CROSS JOIN LATERAL ("
	"  SELECT c.parent_id, c.parent_sequence, c.status, c.output, c.error, c.detail, c.completed_at "
	"  FROM durable.workflow c WHERE c.id = i.id OFFSET 0) w "
	"WHERE s.workflow_id = w.parent_id AND s.sequence = w.parent_sequence "
	"RETURNING durable.step_id(s.workflow_id, s.sequence)",
	.planning = BY_PROBES);

static Statement lock_by_id = STATEMENT(OfIds,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) ORDER BY w.id FOR NO KEY UPDATE");

#define CHILDREN_OF(P) \
	P(ids, UUIDARRAYOID) \
	P(from_sequence, INT4OID) \
	P(inline_unfinished, BOOLOID) \
	P(queued_to_cancel, BOOLOID) \
	P(retried, BOOLOID) \
	P(failed, BOOLOID)
PARAMETERS(ChildrenOf, CHILDREN_OF);

static Statement look_children = STATEMENT(ChildrenOf,
	"SELECT w.id FROM durable.workflow w "
	"WHERE w.parent_id = ANY (:ids) AND w.parent_sequence >= :from_sequence "
	"  AND (NOT :inline_unfinished OR (w.queue_name IS NULL AND " UNFINISHED("w") ")) "
	"  AND (NOT :queued_to_cancel OR (w.on_parent_end = 'cancel' AND " UNFINISHED("w") ")) "
	"  AND (NOT :retried OR (w.queue_name IS NULL AND " UNFINISHED("w") ") OR (w.status = 'FAILED' "
	"    AND NOT " IS_CAUGHT("w.parent_id", "w.parent_sequence", "w.completed_at") ")) "
	"  AND (NOT :failed OR w.status = 'FAILED')");

static Statement look_queues = STATEMENT(OfIds,
	"SELECT DISTINCT w.queue_name FROM durable.workflow w WHERE w.id = ANY (:ids) AND w.queue_name IS NOT NULL ORDER BY 1");

static Statement look_inline_parents = STATEMENT(OfIds,
	"SELECT DISTINCT w.parent_id FROM durable.workflow w "
	"WHERE w.parent_id = ANY (:ids) AND w.queue_name IS NULL AND " CHECKED(UNFINISHED("w")));

static Statement look_parents_to_end = STATEMENT(OfIds,
	"SELECT DISTINCT w.parent_id FROM durable.workflow w "
	"WHERE w.parent_id = ANY (:ids) AND " ENDS_WITH_PARENT("w") " AND " CHECKED(UNFINISHED("w")));

/* ---- rules ------------------------------------------------------------------- */

/* What a cascade does at each level, and how it goes down. */
typedef struct CascadeRule
{
	Statement  *change_workflows;
	Statement  *change_steps;	/* or NULL */
	Scope		scope;
	bool		through_unchanged;	/* goes on below a workflow that it leaves alone */
	bool		steps_of_all;	/* changes steps of workflows that it leaves alone, too ... */
	bool		steps_of_above; /* ... and of those that the caller has changed */
	bool		records;		/* the stand-ins of what changed change too */
	bool		requeues;		/* what changed may wait in a queue again ... */
	bool		locks_queues;	/* ... which the caller has not locked */
	bool		locks_first;	/* others may be in the tree: rows are locked in the order of ids */
	bool		raises;			/* the leases of what changed */
	bool		ends;			/* what changed */
	bool		ends_queued;	/* and cancels what is in a queue and ends with its parent */
	bool		reopens;		/* the waits of what changed */
} CascadeRule;

/* A cascade that cancels leaves no step unfinished anywhere. */
static const CascadeRule rules[] = {
	[CASCADE_PAUSE] = {
		&pause_workflows, &pause_steps, ALL_CHILDREN,.through_unchanged = true
	},
	[CASCADE_RESUME] = {
		&resume_workflows, &resume_steps, ALL_CHILDREN,.through_unchanged = true,.requeues = true
	},
	[CASCADE_CANCEL] = {
		&cancel_workflows, &cancel_steps, ALL_CHILDREN,.through_unchanged = true,.steps_of_all = true,.records = true,
		.ends = true
	},
	[CASCADE_RERUN] = {
		&rerun_workflows, &rerun_steps, FAILED_ONLY,.records = true,.requeues = true,.raises = true,.reopens = true
	},
	[CASCADE_RETRY] = {
		&rerun_workflows, &rerun_steps, RETRIED,.steps_of_above = true,.records = true,.requeues = true,
		.locks_queues = true,.locks_first = true,.raises = true,.reopens = true
	},
	[CASCADE_ABANDON] = {
		&cancel_workflows, &cancel_steps, INLINE_UNFINISHED,.steps_of_all = true,.records = true,.ends = true,
		.ends_queued = true
	},
	[CASCADE_FAIL] = {
		&fail_workflows, &resume_steps, INLINE_UNFINISHED,.records = true,.locks_first = true,.ends = true,
		.ends_queued = true
	},
	[CASCADE_FENCE] = {
		&fence_workflows, NULL, INLINE_UNFINISHED,.locks_first = true,.raises = true
	},
};

/* ---- parts of a cascade that others use, too ----------------------------------- */

/* The children of workflows, at that position or a later one. */
IdList
children(const IdList *parents, Scope scope, int32 from_sequence)
{
	IdList		list = {0};

	run_over_ids(&look_children, parents,
				 &(ChildrenOf) {
					 .from_sequence = an_int(from_sequence),.inline_unfinished = a_bool(scope == INLINE_UNFINISHED),
					 .queued_to_cancel = a_bool(scope == QUEUED_TO_CANCEL),.retried = a_bool(scope == RETRIED),
					 .failed = a_bool(scope == FAILED_ONLY)
				 }, &list);
	return list;
}

/* Those of the workflows that have unfinished inline children. */
IdList
with_inline_unfinished(const IdList *workflows)
{
	IdList		list = {0};

	run_over_ids(&look_inline_parents, workflows, NULL, &list);
	return list;
}

/* Those of the workflows that have unfinished children which end with them. */
IdList
with_children_to_end(const IdList *workflows)
{
	IdList		list = {0};

	run_over_ids(&look_parents_to_end, workflows, NULL, &list);
	return list;
}

/* Locks the rows of workflows, in the order of their ids. */
void
lock_workflows(Datum workflow_ids)
{
	run(&lock_by_id, &(OfIds) {.ids = a_value(workflow_ids)}, NEWEST);
}

/*
 * Copies the outcome of workflows to the step rows that stand for them; that of an
 * unfinished one is RUNNING.  So many of the workflows are children: the others
 * have no such row.
 */
void
record_on_stand_ins(Datum workflow_ids, int children_count)
{
	IdList		stand_ins = {0};

	if (run(&record, &(OfIds) {.ids = a_value(workflow_ids)}, NEWEST) < children_count)
		raise_kept_away("durable.step");
	append_result(&stand_ins);
	have_ended(stand_ins.ids, stand_ins.count);
}

/* The same for all of a cascade, which are children, but for the first one, which may be a root. */
void
record_all_on_stand_ins(const IdList *workflows, bool ended)
{
	IdList		stand_ins = {0};

	if (run_over_ids(&record, workflows, NULL, &stand_ins) + 1 < workflows->count)
		raise_kept_away("durable.step");
	if (ended)
		have_ended(stand_ins.ids, stand_ins.count);
}

/* The parameters of a change, but for the ids. */
static Change
change_at(const Pause *pause, TimestampTz now, int32 from_sequence, bool leaves_caught)
{
	return (Change)
	{
		.paused_by = pause ? an_id(&pause->paused_by) : a_null(),
		.paused_at = pause ? a_time(pause->paused_at) : a_null(),
		.now = a_time(now),.from_sequence = an_int(from_sequence),.leaves_caught = a_bool(leaves_caught)
	};
}

/* Makes the steps of workflows run again.  The caller has changed the workflows itself. */
void
rerun_steps_of(Datum workflow_ids, int32 from_sequence)
{
	Change		change = change_at(NULL, 0, from_sequence, false);
	IdList		workflows = {0};

	change.ids = a_value(workflow_ids);
	run(&rerun_steps, &change, NEWEST);
	append_array(&workflows, workflow_ids);
	reopen_waits_of(&workflows);
}

/*
 * Locks the queues to which workflows go back, whose rows we hold.  That is out of order,
 * but who drops a queue, the only one for whom this waits, waits for nobody then.
 */
static void
lock_queues_of(const IdList *workflows)
{
	for (uint64 i = 0; i < workflows->count; i += IDS_PER_STATEMENT)
	{
		uint64		count;
		Datum	   *names;

		count = run(&look_queues, &(OfIds)
					{
						.ids = a_value(id_array(&workflows->ids[i], Min(IDS_PER_STATEMENT, workflows->count - i)))
					}, NEWEST);
		names = palloc(count * sizeof(Datum));
		for (uint64 row = 0; row < count; row++)
			names[row] = result_value(row, 0);
		for (uint64 n = 0; n < count; n++)
			lock_queue_to_start(a_value(names[n]));
	}
}

/* ---- the cascade --------------------------------------------------------------- */

/*
 * Changes the workflows of a level, then looks for their children, until there is
 * no level left; then all steps, then the stand-ins.  Returns the number of tasks
 * changed.  above: workflows that the caller has changed itself, and that may now
 * wait in a queue, too, or have ended.
 */
static int64
walk(const CascadeRule *rule, const IdList *above, IdList level, Change *change)
{
	IdList		all = {0};
	IdList		changed = {0};
	uint64		tasks = 0;

	while (level.count > 0)
	{
		IdList		level_changed = {0};

		if (rule->locks_first)
			run_over_ids(&lock_by_id, &level, NULL, NULL);
		if (rule->raises)
			ask_before_raising(level.ids, level.count);
		run_over_ids(rule->change_workflows, &level, change, &level_changed);
		for (uint64 i = 0; rule->raises && i < level_changed.count; i++)
			raised_lease_of(&level_changed.ids[i]);
		append_ids(&changed, &level_changed);
		if (!rule->through_unchanged)
			level = level_changed;
		append_ids(&all, &level);
		level = children(&level, rule->scope, 0);
	}

	if (rule->locks_queues)
		lock_queues_of(&changed);
	if (rule->steps_of_above)
		append_ids(&all, above);
	if (rule->change_steps)
		tasks = run_over_ids(rule->change_steps, rule->steps_of_all || rule->steps_of_above ? &all : &changed, change, NULL);
	if (rule->ends)
	{
		const IdList *ended = rule->steps_of_all ? &all : &changed;

		have_ended(ended->ids, ended->count);
	}
	if (rule->reopens)
		reopen_waits_of(rule->steps_of_above ? &all : &changed);
	if (rule->ends)
		forget_suspensions_of(&changed);
	if (rule->records)
		record_all_on_stand_ins(&changed, rule->ends);
	tasks += changed.count;
	if (rule->ends_queued)
	{
		IdList		none = {0};
		IdList		ended = {0};

		append_ids(&ended, above);
		append_ids(&ended, &changed);
		tasks += walk(&rules[CASCADE_CANCEL], &none, children(&ended, QUEUED_TO_CANCEL, 0), change);
	}
	if (rule->requeues)
	{
		append_ids(&changed, above);
		now_waiting(id_array(changed.ids, changed.count));
	}
	return (int64) tasks;
}

/* A cascade that begins with the named workflow; pause is the one that begins or ends, or NULL. */
int64
cascade_tree(Cascade cascade, const pg_uuid_t *top, const Pause *pause, TimestampTz now)
{
	Change		change = change_at(pause, now, 0, false);
	IdList		none = {0};
	IdList		first = {0};
	int64		changed;

	append_id(&first, top);
	changed = walk(&rules[cascade], &none, first, &change);
	/* the workflow is locked, and its status was checked: something else keeps the row away */
	if (changed == 0)
		raise_kept_away("durable.workflow");
	return changed;
}

/*
 * A cascade that begins with the children, from that position on, of workflows
 * which the caller has changed itself.
 */
int64
cascade_below(Cascade cascade, Datum workflow_ids, int32 from_sequence, TimestampTz now)
{
	Change		change = change_at(NULL, now, 0, cascade == CASCADE_RETRY);
	IdList		parents = {0};

	append_array(&parents, workflow_ids);
	return walk(&rules[cascade], &parents, children(&parents, rules[cascade].scope, from_sequence), &change);
}
