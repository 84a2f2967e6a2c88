/*-------------------------------------------------------------------------
 *
 * subtransaction.c
 *	  An act that is undone if it fails, while the call goes on.
 *
 *-------------------------------------------------------------------------
 */
#include "subtransaction.h"

#include "access/xact.h"
#include "utils/resowner.h"

/*
 * Does something in a subtransaction.  Unless it returns true, what it has written
 * and locked is given back.  An error ends it, too, and is returned.
 */
bool
in_subtransaction(bool (*act) (void *arg), void *arg, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = act(arg);
		if (done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}
