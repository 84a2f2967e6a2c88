/*-------------------------------------------------------------------------
 *
 * cascade.c
 *	  Lists of ids, and the one cascade: a change of a workflow and of those
 *	  below it.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"

/* What a cascade does at each level, and how it goes down. */
typedef struct CascadeRule
{
	PlanId		change_workflows;
	int			change_steps;	/* a PlanId, or NO_PLAN */
	Scope		scope;
	bool		through_unchanged;	/* goes on below a workflow that it leaves alone */
	bool		record;			/* the stand-ins of what changed change too */
	bool		requeues;		/* what changed may wait in a queue again */
	bool		locks_first;	/* others may be in the tree: rows are locked in the order of ids */
	bool		raises;			/* the leases of what changed */
} CascadeRule;

#define NO_PLAN (-1)

static const CascadeRule rules[] = {
	[CASCADE_PAUSE] = {
		PLAN_PAUSE_WORKFLOWS, PLAN_PAUSE_STEPS, ALL_CHILDREN,.through_unchanged = true
	},
	[CASCADE_RESUME] = {
		PLAN_RESUME_WORKFLOWS, PLAN_RESUME_STEPS, ALL_CHILDREN,.through_unchanged = true,.requeues = true
	},
	[CASCADE_CANCEL] = {
		PLAN_CANCEL_WORKFLOWS, PLAN_CANCEL_STEPS, ALL_CHILDREN,.through_unchanged = true,.record = true
	},
	[CASCADE_RERUN] = {
		PLAN_RERUN_CHILDREN, PLAN_RERUN_STEPS, FAILED_ONLY,.record = true,.requeues = true,.raises = true
	},
	[CASCADE_ABANDON] = {
		PLAN_CANCEL_WORKFLOWS, PLAN_CANCEL_STEPS, INLINE_UNFINISHED,.record = true
	},
	[CASCADE_FAIL] = {
		PLAN_FAIL_WORKFLOWS, PLAN_RESUME_STEPS, INLINE_UNFINISHED,.record = true,.locks_first = true
	},
	[CASCADE_FENCE] = {
		PLAN_FENCE_WORKFLOWS, NO_PLAN, INLINE_UNFINISHED,.locks_first = true,.raises = true
	},
};

void
append_id(IdList *list, const pg_uuid_t *id)
{
	if (list->count == list->capacity)
	{
		list->capacity = Max(64, list->capacity * 2);
		list->ids = list->ids ?
			repalloc_huge(list->ids, list->capacity * sizeof(pg_uuid_t)) :
			MemoryContextAllocHuge(CurrentMemoryContext, list->capacity * sizeof(pg_uuid_t));
	}
	list->ids[list->count++] = *id;
}

void
append_ids(IdList *list, const IdList *more)
{
	for (uint64 i = 0; i < more->count; i++)
		append_id(list, &more->ids[i]);
}

void
append_array(IdList *list, Datum ids)
{
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(ids), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		append_id(list, DatumGetUUIDP(elements[i]));
}

/* Appends the ids that the last statement returned. */
void
append_result(IdList *list)
{
	for (uint64 row = 0; row < SPI_processed; row++)
		append_id(list, DatumGetUUIDP(result_value(row, 0)));
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Runs a statement over all ids in pieces; the other parameters are already
 * there, ids come first.  Appends what it returns to result, if given, and
 * returns the number of rows.
 */
uint64
run_over_ids(PlanId plan, const IdList *list, const Params *others, IdList *result)
{
	uint64		rows = 0;

	for (uint64 i = 0; i < list->count; i += IDS_PER_STATEMENT)
	{
		Params		params = {0};
		Datum		ids = id_array(&list->ids[i], Min(IDS_PER_STATEMENT, list->count - i));

		CHECK_FOR_INTERRUPTS();
		param_datum(&params, ids);
		for (int p = 0; p < others->n; p++)
			param(&params, (NullableDatum) {
				.value = others->values[p],.isnull = others->nulls[p] == 'n'
			});
		rows += run_plan(plan, &params, NEWEST);
		if (result)
			append_result(result);
		else
			SPI_freetuptable(SPI_tuptable);
		pfree(DatumGetPointer(ids));
	}
	return rows;
}

IdList
children(const IdList *parents, Scope scope, int32 from_sequence)
{
	IdList		list = {0};
	Params		params = {0};

	param_int(&params, from_sequence);
	param_bool(&params, scope == INLINE_UNFINISHED);
	param_bool(&params, scope == FAILED_ONLY);
	run_over_ids(PLAN_CHILDREN, parents, &params, &list);
	return list;
}

/*
 * The cascade: changes the workflows of a level, then looks for their
 * children, until there is no level left; then all steps, then the stand-ins.
 * Returns the number of tasks changed.  Above are those that the caller has
 * changed itself, and that may wait in a queue with the others.
 *
 * Each level's rows are locked before its children are looked for, in a new
 * snapshot, and start_child holds its parent's row: so no child is missed,
 * even by those cascades that do not lock the tree exclusively.  All go from
 * parents to children, and those that others may meet in the tree lock each level
 * in the order of ids, so two of them cannot deadlock.
 */
static int64
walk(const CascadeRule *rule, const IdList *above, IdList level, const Params *workflow_params,
	 const Params *step_params)
{
	IdList		with_steps = {0};
	IdList		changed = {0};
	uint64		steps = 0;
	Params		none = {0};

	while (level.count > 0)
	{
		IdList		level_changed = {0};

		if (rule->locks_first)
			run_over_ids(PLAN_LOCK_WORKFLOWS, &level, &none, NULL);
		if (rule->raises)
			ask_before_raising(level.ids, level.count);
		run_over_ids(rule->change_workflows, &level, workflow_params, &level_changed);
		for (uint64 i = 0; rule->raises && i < level_changed.count; i++)
			raised_lease_of(&level_changed.ids[i]);
		append_ids(&changed, &level_changed);
		if (!rule->through_unchanged)
			level = level_changed;
		append_ids(&with_steps, &level);
		level = children(&level, rule->scope, 0);
	}

	if (rule->change_steps != NO_PLAN)
		/* what cancels leaves no step unfinished anywhere; the others only touch what they changed */
		steps = run_over_ids(rule->change_steps,
							 rule->change_steps == PLAN_CANCEL_STEPS ? &with_steps : &changed,
							 step_params, NULL);
	/* all are children, but for the first, which may be a root */
	if (rule->record && run_over_ids(PLAN_RECORD_ON_STAND_INS, &changed, &none, NULL) + 1 < changed.count)
		raise_kept_away("durable.step");
	steps += changed.count;
	if (rule->requeues)
	{
		append_ids(&changed, above);
		now_waiting(id_array(changed.ids, changed.count));
	}
	return (int64) steps;
}

static int64
run_cascade(Cascade cascade, const IdList *above, IdList first, const Pause *pause, TimestampTz now)
{
	Params		workflow_params = {0};
	Params		step_params = {0};

	switch (cascade)
	{
		case CASCADE_PAUSE:
		case CASCADE_RESUME:
			param_id(&workflow_params, &pause->paused_by);
			param_time(&workflow_params, pause->paused_at);
			break;
		case CASCADE_CANCEL:
		case CASCADE_ABANDON:
			param_time(&workflow_params, now);
			param_time(&step_params, now);
			break;
		case CASCADE_FAIL:
			param_time(&workflow_params, now);
			break;
		case CASCADE_RERUN:
			param_int(&step_params, 0);
			break;
		case CASCADE_FENCE:
			break;
	}
	return walk(&rules[cascade], above, first, &workflow_params, &step_params);
}

/* A cascade that begins with the named workflow; pause is that which begins or ends. */
int64
cascade_tree(Cascade cascade, const pg_uuid_t *top, const Pause *pause, TimestampTz now)
{
	IdList		none = {0};
	IdList		first = {0};
	int64		changed;

	append_id(&first, top);
	changed = run_cascade(cascade, &none, first, pause, now);
	/* it is locked, and was asked before */
	if (changed == 0)
		raise_kept_away("durable.workflow");
	return changed;
}

/*
 * A cascade that begins with the children of workflows which the caller has
 * changed itself.
 */
int64
cascade_below(Cascade cascade, Datum workflow_ids, int32 from_sequence, TimestampTz now)
{
	static const Pause no_pause = {0};
	IdList		parents = {0};

	append_array(&parents, workflow_ids);
	return run_cascade(cascade, &parents, children(&parents, rules[cascade].scope, from_sequence), &no_pause, now);
}

/* Whether all unfinished inline descendants of a workflow could be locked at once. */
static bool
try_lock_inline_below(const pg_uuid_t *id)
{
	Params		none = {0};
	IdList		level = {0};

	append_id(&level, id);
	for (;;)
	{
		level = children(&level, INLINE_UNFINISHED, 0);
		if (level.count == 0)
			return true;
		if (run_over_ids(PLAN_LOCK_IF_FREE, &level, &none, NULL) < level.count)
			return false;
	}
}

bool
contains(const IdList *list, const pg_uuid_t *id)
{
	for (uint64 i = 0; i < list->count; i++)
		if (same_id(&list->ids[i], id))
			return true;
	return false;
}

/*
 * Of the workflows that the last statement locked (id, root_id), those that
 * can be taken without waiting: claim and recover lock many rows, and must not
 * wait for one while they hold the others.  Left out is what a cascade is
 * about to change, and what has inline descendants that somebody works on.  The
 * leases of those that are returned may be raised (ask_before_raising).
 *
 * The trees' locks (shared) are for the calls that follow in the same
 * transaction, as many as there is room for.  All that was locked is appended
 * to *seen, an array: a call decides about each workflow once.  *count tells how
 * many are returned.
 */
Datum
takeable(Datum *seen, int *count)
{
	uint64		found_count = SPI_processed;
	IdList		found = {0};
	IdList		roots = {0};
	IdList		parents = {0};
	IdList		free = {0};
	IdList		all = {0};
	Params		none = {0};

	for (uint64 row = 0; row < found_count; row++)
	{
		append_id(&found, DatumGetUUIDP(result_value(row, 0)));
		append_id(&roots, DatumGetUUIDP(result_value(row, 1)));
	}
	SPI_freetuptable(SPI_tuptable);
	append_array(&all, *seen);
	append_ids(&all, &found);
	run_over_ids(PLAN_LOOK_INLINE_PARENTS, &found, &none, &parents);
	for (uint64 i = 0; i < found_count; i++)
	{
		bool		takes = try_lock_tree_of_claim(&roots.ids[i]);

		if (takes && contains(&parents, &found.ids[i]))
			takes = try_lock_inline_below(&found.ids[i]);
		if (takes)
		{
			remember_tree(&found.ids[i], &roots.ids[i]);
			append_id(&free, &found.ids[i]);
		}
	}
	ask_before_raising(free.ids, free.count);
	*seen = id_array(all.ids, all.count);
	*count = (int) free.count;
	return id_array(free.ids, free.count);
}

/* Locks the rows of workflows, in the order of their ids. */
void
lock_workflows(Datum workflow_ids)
{
	Params		params = {0};

	param_datum(&params, workflow_ids);
	run_plan(PLAN_LOCK_WORKFLOWS, &params, NEWEST);
}

/*
 * Copies the outcome of workflows, or that there is none, to the step rows that
 * stand for them.  So many of them are children.
 */
void
record_on_stand_ins(Datum workflow_ids, int children_count)
{
	Params		params = {0};

	param_datum(&params, workflow_ids);
	if (run_plan(PLAN_RECORD_ON_STAND_INS, &params, NEWEST) < children_count)
		raise_kept_away("durable.step");
}
