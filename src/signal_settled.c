/*-------------------------------------------------------------------------
 *
 * signal_settled.c
 *	  Up to which signal of a name all are taken, as far as this backend knows.
 *
 * A workflow that takes thousands of signals leaves as many entries behind at the
 * beginning of the index of untaken ones, until vacuum comes.  A backend that takes them
 * one after the other need not go over these again: it begins behind what is
 * settled.
 *
 * A signal is settled if no other with a lesser id can turn up: each sender has its
 * transaction id before it makes the id of the signal.  So when the first untaken one
 * was seen, senders of lesser ones had transaction ids below the next one to be given out then
 * (horizon).  Once all these have ended, a look that finds none before it proves
 * that there will be none.
 *
 * Clocks may be moved, and so ids.  Where that is seen nothing is settled; and who finds
 * nothing behind what is settled looks from the beginning, so no signal is missed for
 * what stands here.
 *
 *-------------------------------------------------------------------------
 */
#include "clock.h"
#include "plan.h"
#include "signal.h"

#include "access/transam.h"
#include "access/xact.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

typedef struct Settled
{
	double		clock_offset;	/* under which all this was seen */
	pg_uuid_t	workflow_id;
	uint32		name;			/* a hash */
	pg_uuid_t	last;			/* all up to this one are settled */
	pg_uuid_t	seen;			/* the first untaken one, as it was seen ... */
	TransactionId horizon;		/* ... before this was given out */
} Settled;

static Settled all_settled[64];

/* What is known of a name; nothing, if it was something else. */
static Settled *
settled_of(const pg_uuid_t *workflow_id, Datum name)
{
	text	   *t = DatumGetTextPP(name);
	uint32		hash = hash_bytes((unsigned char *) VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
	Settled    *settled = &all_settled[(hash_bytes(workflow_id->data, UUID_LEN) ^ hash) % lengthof(all_settled)];

	if (!same_id(&settled->workflow_id, workflow_id) || settled->name != hash ||
		settled->clock_offset != durable_clock_offset || id_created_at(&settled->last) > clock_now())
		*settled = (Settled)
		{
			.clock_offset = durable_clock_offset,.workflow_id = *workflow_id,.name = hash
		};
	return settled;
}

/* Whether all transactions but our own have ended that have an id below the horizon. */
static bool
have_all_ended(TransactionId horizon)
{
	Snapshot	now = GetLatestSnapshot();
	TransactionId xid = now->xmax;

	for (uint32 i = 0; i < now->xcnt; i++)
		if (TransactionIdPrecedes(now->xip[i], horizon))
			return false;
	for (int i = 0; TransactionIdPrecedes(xid, horizon); i++)
	{
		if (i > 100 || !TransactionIdIsCurrentTransactionId(xid))
			return false;
		TransactionIdAdvance(xid);
	}
	return true;
}

/* Where to look for signals of a name, before the look: behind this id. */
pg_uuid_t
settled_before(const pg_uuid_t *workflow_id, Datum name, bool *can_settle)
{
	Settled    *settled = settled_of(workflow_id, name);

	*can_settle = TransactionIdIsValid(settled->horizon) && have_all_ended(settled->horizon);
	return settled->last;
}

/* The first signal of a name that a look has found there. */
void
saw_first(const pg_uuid_t *workflow_id, Datum name, const pg_uuid_t *first, bool can_settle)
{
	Settled    *settled = settled_of(workflow_id, name);

	if (can_settle && compare_ids(&settled->seen, first) < 0)
		settled->last = settled->seen;
	if (!TransactionIdIsValid(settled->horizon) || can_settle)
	{
		settled->seen = *first;
		settled->horizon = ReadNextTransactionId();
	}
}

/* What was taken is not taken any more. */
void
forget_settled(void)
{
	memset(all_settled, 0, sizeof(all_settled));
}
