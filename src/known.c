/*-------------------------------------------------------------------------
 *
 * known.c
 *	  The workflows that this backend has seen last.
 *
 * The root of a workflow never changes.  Its next position is a guess, which a
 * statement puts to the test.  So no result depends on what is known here, only
 * the way that leads there.
 *
 *-------------------------------------------------------------------------
 */
#include "ids.h"
#include "known.h"
#include "lock.h"

#include "access/xact.h"
#include "common/hashfn.h"

/* So many sets, by a hash of the id, each of so many: a batch has to know all of its workflows. */
#define SETS 256
#define WAYS 4

typedef struct KnownWorkflow
{
	pg_uuid_t	id;
	pg_uuid_t	root_id;
	int32		next;			/* position that is not yet claimed, or -1 */
} KnownWorkflow;

static KnownWorkflow known_workflows[SETS][WAYS];	/* in each set, the latest first */

static KnownWorkflow *
set_of(const pg_uuid_t *id)
{
	return known_workflows[hash_bytes(id->data, UUID_LEN) % SETS];
}

/* NULL if it is not known. */
static KnownWorkflow *
find_known(const pg_uuid_t *id)
{
	KnownWorkflow *set = set_of(id);

	for (int i = 0; i < WAYS; i++)
		if (same_id(&set[i].id, id))
			return &set[i];
	return NULL;
}

void
remember_tree(const pg_uuid_t *workflow_id, const pg_uuid_t *root_id)
{
	KnownWorkflow *set = set_of(workflow_id);
	const KnownWorkflow *before = find_known(workflow_id);
	KnownWorkflow known = {.id = *workflow_id,.root_id = *root_id,.next = before ? before->next : -1};

	/* the others of the set that are later go back by one place, or all do */
	memmove(&set[1], &set[0], (before ? before - set : WAYS - 1) * sizeof(KnownWorkflow));
	set[0] = known;
}

/* Notes the next position that nobody has claimed, if the workflow is known. */
void
expect_new_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	KnownWorkflow *known = find_known(workflow_id);

	if (known)
		known->next = sequence;
}

bool
expects_new_step(const pg_uuid_t *workflow_id, int32 sequence)
{
	const KnownWorkflow *known = find_known(workflow_id);

	return known && known->next == sequence;
}

bool
is_known_root(const pg_uuid_t *workflow_id)
{
	const KnownWorkflow *known = find_known(workflow_id);

	return known && same_id(&known->root_id, workflow_id);
}

/*
 * Locks the tree of a workflow (shared), without a look and without waiting: a
 * call that is answered by what is recorded has nothing to wait for.  False if
 * it is not known here, or not to be had at once.
 */
bool
try_lock_known_tree(const pg_uuid_t *workflow_id, pg_uuid_t *root_id)
{
	const KnownWorkflow *known = find_known(workflow_id);

	if (!known || !try_lock_tree(&known->root_id))
		return false;
	*root_id = known->root_id;
	return true;
}

/*
 * Gives back what try_lock_known_tree has taken, after a statement that did
 * nothing.  If the transaction has an id, the statement may have locked a row.
 * Then the tree's lock stays, since it must be taken before any row.
 */
void
unlock_known_tree(const pg_uuid_t *root_id)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		unlock_tree(root_id, TREE_SHARED);
}
