/*-------------------------------------------------------------------------
 *
 * takeable.c
 *	  Which workflows claim and recover can take without waiting.
 *
 * They lock many rows, and must not wait for one while they hold the others.  So
 * they pass over what a cascade is about to change, and what has inline
 * descendants that somebody works on.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement lock_if_free = STATEMENT(OfIds,
	"SELECT w.id FROM durable.workflow w WHERE w.id = ANY (:ids) FOR NO KEY UPDATE SKIP LOCKED");

/* Locks the rows of workflows and of those below them, without waiting; false if one is not free. */
static bool
try_lock_rows(IdList level, Scope scope)
{
	for (; level.count > 0; level = children(&level, scope, 0))
		if (run_over_ids(&lock_if_free, &level, NULL, NULL) < level.count)
			return false;
	return true;
}

/* Of all workflows of a tree, which the caller has locked. */
bool
try_lock_rows_of_tree(const pg_uuid_t *root_id)
{
	IdList		root = {0};

	append_id(&root, root_id);
	return try_lock_rows(root, ALL_CHILDREN);
}

/* Of all unfinished inline descendants of a workflow. */
static bool
try_lock_inline_below(const pg_uuid_t *id)
{
	IdList		above = {0};

	append_id(&above, id);
	return try_lock_rows(children(&above, INLINE_UNFINISHED, 0), INLINE_UNFINISHED);
}

/*
 * Of the workflows that the last statement locked (id, root_id), up to so many
 * that can be taken without waiting.  The leases of these may be raised
 * (ask_before_raising).
 *
 * The trees' locks (shared) are for the calls that follow in the same
 * transaction, as many as there is room for.  All that was looked at is appended
 * to *seen, an array: a call decides about each workflow once.  *count tells how
 * many are returned.
 */
Datum
takeable(Datum *seen, int64 most, int *count)
{
	uint64		found_count = SPI_processed;
	IdList		found = {0};
	IdList		roots = {0};
	IdList		parents;
	IdList		free = {0};
	IdList		all = {0};

	for (uint64 row = 0; row < found_count; row++)
	{
		append_id(&found, DatumGetUUIDP(result_value(row, 0)));
		append_id(&roots, DatumGetUUIDP(result_value(row, 1)));
	}
	SPI_freetuptable(SPI_tuptable);
	append_array(&all, *seen);
	parents = with_inline_unfinished(&found);
	for (uint64 i = 0; i < found_count && free.count < most; i++)
	{
		bool		takes = try_lock_tree_of_claim(&roots.ids[i]);

		if (takes && contains_id(&parents, &found.ids[i]))
			takes = try_lock_inline_below(&found.ids[i]);
		append_id(&all, &found.ids[i]);
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
