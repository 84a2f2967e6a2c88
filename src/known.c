/*-------------------------------------------------------------------------
 *
 * known.c
 *	  The workflows that this backend has seen last.
 *
 * The root of a workflow is a fact that never changes, the next position a
 * guess that a statement puts to the test.  So nothing depends on what is here.
 *
 *-------------------------------------------------------------------------
 */
#include "ids.h"
#include "known.h"
#include "lock.h"

#include "access/xact.h"
#include "common/hashfn.h"

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

bool
is_known_root(const pg_uuid_t *workflow_id)
{
	KnownWorkflow *known = known_slot(workflow_id);

	return same_id(&known->id, workflow_id) && same_id(&known->root_id, workflow_id);
}

/*
 * Locks the tree of a workflow (shared), without a look and without waiting: a
 * call that is answered by what is recorded has nothing to wait for.  False if
 * it is not known here, or not to be had at once.
 */
bool
try_lock_known_tree(const pg_uuid_t *workflow_id, pg_uuid_t *root_id)
{
	KnownWorkflow *known = known_slot(workflow_id);

	if (!same_id(&known->id, workflow_id) || !try_lock_tree(&known->root_id))
		return false;
	*root_id = known->root_id;
	return true;
}

/*
 * Gives back what try_lock_known_tree has taken, after a statement that did
 * nothing.  It may have locked a row in vain: then the lock stays, since it
 * must come first.
 */
void
unlock_known_tree(const pg_uuid_t *root_id)
{
	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		unlock_tree(root_id, TREE_SHARED);
}
