/*-------------------------------------------------------------------------
 *
 * tree.c
 *	  The heavyweight locks, and the one cascade: a change of a workflow and of
 *	  those below it.  durable.h has the order of all locks.
 *
 *-------------------------------------------------------------------------
 */
#include "plans.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(durable_lock_key_queue);
PG_FUNCTION_INFO_V1(durable_lock_key_workflow);

/*
 * Our lock tags are advisory locks of classes of our own: those that users can
 * take have class 1 or 2.  In pg_locks they are locktype advisory with this
 * objsubid.
 */
#define LOCK_CLASS_TREE		17409	/* 'D', 1 */
#define LOCK_CLASS_QUEUE	17410	/* 'D', 2 */
#define LOCK_CLASS_CHILDREN	17411	/* 'D', 3 */
#define LOCK_CLASS_ALL_TREES	17412	/* 'D', 4 */
#define LOCK_CLASS_ALL_CHILDREN	17413	/* 'D', 5 */

/* What a cascade does at each level, and how it goes down. */
typedef struct CascadeRule
{
	PlanId		change_workflows;
	int			change_steps;	/* a PlanId, or NO_PLAN */
	Scope		scope;
	bool		through_unchanged;	/* goes on below a workflow that it leaves alone */
	bool		record;			/* the stand-ins of what changed change too */
	bool		requeues;		/* what changed may wait in a queue again */
} CascadeRule;

#define NO_PLAN (-1)

static const CascadeRule rules[] = {
	[CASCADE_PAUSE] = {PLAN_PAUSE_WORKFLOWS, PLAN_PAUSE_STEPS, ALL_CHILDREN, true, false, false},
	[CASCADE_RESUME] = {PLAN_RESUME_WORKFLOWS, PLAN_RESUME_STEPS, ALL_CHILDREN, true, false, true},
	[CASCADE_CANCEL] = {PLAN_CANCEL_WORKFLOWS, PLAN_CANCEL_STEPS, ALL_CHILDREN, true, true, false},
	[CASCADE_RERUN] = {PLAN_RERUN_CHILDREN, PLAN_RERUN_STEPS, FAILED_ONLY, false, true, true},
	[CASCADE_ABANDON] = {PLAN_CANCEL_WORKFLOWS, PLAN_CANCEL_STEPS, INLINE_UNFINISHED, false, true, false},
	[CASCADE_FAIL] = {PLAN_FAIL_WORKFLOWS, PLAN_RESUME_STEPS, INLINE_UNFINISHED, false, true, false},
	[CASCADE_FENCE] = {PLAN_FENCE_WORKFLOWS, NO_PLAN, INLINE_UNFINISHED, false, false, false},
};

static LOCKTAG
lock_tag(uint16 class, const void *key, int len)
{
	uint64		hash = hash_bytes_extended(key, len, 0);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (hash >> 32), (uint32) hash, class);
	return tag;
}

static void
lock(LOCKTAG tag, LOCKMODE mode)
{
	(void) LockAcquire(&tag, mode, false, false);
}

/* Gives a lock back that nothing has been done under. */
static void
unlock(LOCKTAG tag, LOCKMODE mode)
{
	(void) LockRelease(&tag, mode, false);
}

/*
 * A family of locks, one for each id.  There is room for some thousands of
 * locks only, so a transaction that takes very many of a family (shared) takes,
 * beyond so many, the one lock of them all.  Who takes one exclusively says so
 * on that lock, after its own, in a mode in which such do not exclude each
 * other.
 */
#define LOCKS_AT_ONCE	1000
#define ALL_SHARED		ShareLock
#define ALL_SOMEBODY	RowExclusiveLock

typedef struct LockFamily
{
	uint16		class_one;
	uint16		class_all;
	TimestampTz transaction;	/* in which was counted ... */
	int			count;			/* ... how many are held */
} LockFamily;

static LockFamily tree_locks = {LOCK_CLASS_TREE, LOCK_CLASS_ALL_TREES};
static LockFamily children_locks = {LOCK_CLASS_CHILDREN, LOCK_CLASS_ALL_CHILDREN};

/* How many more of the family this transaction may lock, each by its own lock. */
static int
locks_left(LockFamily *family)
{
	if (family->transaction != GetCurrentTransactionStartTimestamp())
	{
		family->transaction = GetCurrentTransactionStartTimestamp();
		family->count = 0;
	}
	return LOCKS_AT_ONCE - family->count;
}

/* Returns whether it is the lock of that id that was taken. */
static bool
lock_in_family(LockFamily *family, const pg_uuid_t *id, LOCKMODE mode)
{
	LOCKTAG		one = lock_tag(family->class_one, id, UUID_LEN);
	LOCKTAG		all = lock_tag(family->class_all, NULL, 0);

	if (locks_left(family) <= 0 && mode == ShareLock)
	{
		lock(all, ALL_SHARED);
		return false;
	}
	if (LockAcquire(&one, mode, false, false) == LOCKACQUIRE_OK)
		family->count++;
	if (mode != ShareLock)
		lock(all, ALL_SOMEBODY);
	return true;
}

/* Gives back what lock_in_family took of that id; what was held before stays. */
static void
unlock_in_family(const LockFamily *family, const pg_uuid_t *id, LOCKMODE mode)
{
	unlock(lock_tag(family->class_one, id, UUID_LEN), mode);
	if (mode != ShareLock)
		unlock(lock_tag(family->class_all, NULL, 0), ALL_SOMEBODY);
}

/*
 * All these lock to the end of the transaction.  Returns whether it is the lock
 * of that tree that was taken.
 */
bool
lock_tree(const pg_uuid_t *root_id, LOCKMODE mode)
{
	return lock_in_family(&tree_locks, root_id, mode);
}

/* The same at once, or not at all. */
static LockAcquireResult
lock_tree_at_once(const pg_uuid_t *root_id)
{
	LOCKTAG		tag = lock_tag(LOCK_CLASS_TREE, root_id, UUID_LEN);
	LockAcquireResult result = LockAcquire(&tag, TREE_SHARED, false, true);

	if (result == LOCKACQUIRE_OK)
		tree_locks.count++;
	return result;
}

/*
 * The same for one who claims; nothing is locked where the transaction holds
 * enough of these.
 */
static bool
try_lock_tree(const pg_uuid_t *root_id)
{
	return locks_left(&tree_locks) <= 0 || lock_tree_at_once(root_id) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Locks a tree exclusively, without waiting; false if somebody is writing in
 * it, or may be, holding the lock of all trees.  Only for as many trees as
 * tree_locks_left tells.
 */
bool
try_lock_whole_tree(const pg_uuid_t *root_id)
{
	LOCKTAG		one = lock_tag(LOCK_CLASS_TREE, root_id, UUID_LEN);
	LOCKTAG		all = lock_tag(LOCK_CLASS_ALL_TREES, NULL, 0);

	if (LockAcquire(&one, TREE_EXCLUSIVE, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	if (LockAcquire(&all, ALL_SOMEBODY, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		unlock(one, TREE_EXCLUSIVE);
		return false;
	}
	tree_locks.count++;
	return true;
}

/* How many more trees this transaction may lock, each by its own lock. */
int
tree_locks_left(void)
{
	return locks_left(&tree_locks);
}

void
unlock_tree(const pg_uuid_t *root_id, LOCKMODE mode)
{
	unlock_in_family(&tree_locks, root_id, mode);
}

/* Gives back what try_lock_whole_tree took. */
void
unlock_whole_tree(const pg_uuid_t *root_id)
{
	unlock_tree(root_id, TREE_EXCLUSIVE);
	tree_locks.count--;
}

void
lock_children(const pg_uuid_t *parent_id, LOCKMODE mode)
{
	(void) lock_in_family(&children_locks, parent_id, mode);
}

void
unlock_children(const pg_uuid_t *parent_id, LOCKMODE mode)
{
	unlock_in_family(&children_locks, parent_id, mode);
	if (children_locks.count > 0)
		children_locks.count--;
}

static LOCKTAG
queue_tag(uint16 class, Datum name)
{
	text	   *t = DatumGetTextPP(name);

	return lock_tag(class, VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
}

void
lock_queue(Datum name, LOCKMODE mode)
{
	lock(queue_tag(LOCK_CLASS_QUEUE, name), mode);
}

void
unlock_queue(Datum name, LOCKMODE mode)
{
	unlock(queue_tag(LOCK_CLASS_QUEUE, name), mode);
}

/* The same at once, or not at all. */
bool
try_lock_queue(Datum name, LOCKMODE mode)
{
	LOCKTAG		tag = queue_tag(LOCK_CLASS_QUEUE, name);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* What pg_locks shows of a tag, as one number; for the view durable.waits. */
static Datum
lock_key(LOCKTAG tag)
{
	return UInt64GetDatum((uint64) tag.locktag_field2 << 32 | tag.locktag_field3);
}

/* lock_key(queue_name) */
Datum
durable_lock_key_queue(PG_FUNCTION_ARGS)
{
	require_name(fcinfo->args[0], "queue_name");
	PG_RETURN_DATUM(lock_key(queue_tag(LOCK_CLASS_QUEUE, PG_GETARG_DATUM(0))));
}

/* lock_key(workflow_id): the class is told apart by objsubid */
Datum
durable_lock_key_workflow(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[0], "workflow_id");
	PG_RETURN_DATUM(lock_key(lock_tag(LOCK_CLASS_TREE, PG_GETARG_UUID_P(0), UUID_LEN)));
}

/*
 * The workflows that this backend has seen last.  The root is a fact that never
 * changes, the next position a guess that a statement puts to the test, so
 * nothing depends on what is here.
 */
#define KNOWN_WORKFLOWS 256

typedef struct KnownWorkflow
{
	pg_uuid_t	id;
	pg_uuid_t	root_id;
	int32		next;			/* position that is not yet claimed, or -1 */
} KnownWorkflow;

static KnownWorkflow known_workflows[KNOWN_WORKFLOWS];

/* Where the workflow is, or would be. */
static KnownWorkflow *
known_slot(const pg_uuid_t *id)
{
	return &known_workflows[hash_bytes(id->data, UUID_LEN) % KNOWN_WORKFLOWS];
}

void
remember_tree(const pg_uuid_t *workflow_id, const pg_uuid_t *root_id)
{
	KnownWorkflow *known = known_slot(workflow_id);

	if (same_id(&known->id, workflow_id))
		return;
	known->id = *workflow_id;
	known->root_id = *root_id;
	known->next = -1;
}

/* Nobody has claimed that position of a workflow that is known, so far. */
void
expect_new_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	KnownWorkflow *known = known_slot(workflow_id);

	if (same_id(&known->id, workflow_id))
		known->next = sequence;
}

bool
expects_new_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	KnownWorkflow *known = known_slot(workflow_id);

	return same_id(&known->id, workflow_id) && known->next == sequence;
}

/* The root of a workflow that is known here, or NULL. */
static const pg_uuid_t *
known_root(const pg_uuid_t *workflow_id)
{
	KnownWorkflow *known = known_slot(workflow_id);

	return same_id(&known->id, workflow_id) ? &known->root_id : NULL;
}

bool
is_known_root(const pg_uuid_t *workflow_id)
{
	const pg_uuid_t *root_id = known_root(workflow_id);

	return root_id && same_id(root_id, workflow_id);
}

/*
 * Locks the tree of a workflow (shared), without a look and without waiting: a
 * call that is answered by what is recorded has nothing to wait for.  False if
 * it is not known here, or not to be had at once.
 */
bool
try_lock_known_tree(const pg_uuid_t *workflow_id, KnownTree *tree)
{
	const pg_uuid_t *root_id = known_root(workflow_id);
	LockAcquireResult result;

	if (root_id == NULL || tree_locks_left() <= 0)
		return false;
	result = lock_tree_at_once(root_id);
	if (result == LOCKACQUIRE_NOT_AVAIL)
		return false;
	tree->root_id = *root_id;
	tree->is_new = result == LOCKACQUIRE_OK;
	return true;
}

/* Gives back what try_lock_known_tree has taken; what was held before stays. */
void
unlock_known_tree(const KnownTree *tree)
{
	unlock_tree(&tree->root_id, TREE_SHARED);
	if (tree->is_new)
		tree_locks.count--;
}

/*
 * The same after a statement that may have locked a row in vain: then the lock
 * stays, since it must come first.
 */
void
unlock_known_tree_unless_written(const KnownTree *tree)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		unlock_known_tree(tree);
}

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
 * parents to children, so two of them cannot deadlock.
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

		run_over_ids(rule->change_workflows, &level, workflow_params, &level_changed);
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
	if (rule->record)
		run_over_ids(PLAN_RECORD_ON_STAND_INS, &changed, &none, NULL);
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

	append_id(&first, top);
	return run_cascade(cascade, &none, first, pause, now);
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
 * about to change, and what has inline descendants that somebody works on.
 *
 * The trees' locks (shared) are for the calls that follow in the same
 * transaction, as many as there is room for.  All that was locked is appended
 * to *seen, an array: a call decides about each workflow once.
 */
Datum
takeable(Datum *seen)
{
	uint64		count = SPI_processed;
	IdList		found = {0};
	IdList		roots = {0};
	IdList		parents = {0};
	IdList		free = {0};
	IdList		all = {0};
	Params		none = {0};

	for (uint64 row = 0; row < count; row++)
	{
		append_id(&found, DatumGetUUIDP(result_value(row, 0)));
		append_id(&roots, DatumGetUUIDP(result_value(row, 1)));
	}
	append_array(&all, *seen);
	append_ids(&all, &found);
	run_over_ids(PLAN_LOOK_INLINE_PARENTS, &found, &none, &parents);
	for (uint64 i = 0; i < count; i++)
	{
		bool		takes = try_lock_tree(&roots.ids[i]);

		if (takes && contains(&parents, &found.ids[i]))
			takes = try_lock_inline_below(&found.ids[i]);
		if (takes)
		{
			remember_tree(&found.ids[i], &roots.ids[i]);
			append_id(&free, &found.ids[i]);
		}
	}
	*seen = id_array(all.ids, all.count);
	return id_array(free.ids, free.count);
}

/* Copies the outcome of children, or that there is none, to the step rows that stand for them. */
void
record_on_stand_ins(Datum workflow_ids)
{
	Params		params = {0};

	param_datum(&params, workflow_ids);
	run_plan(PLAN_RECORD_ON_STAND_INS, &params, NEWEST);
}
