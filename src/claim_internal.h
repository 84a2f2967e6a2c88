/*-------------------------------------------------------------------------
 *
 * claim_internal.h
 *	  What the files of claim share (claim....c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_CLAIM_INTERNAL_H
#define DURABLE_CLAIM_INTERNAL_H

#include "batch.h"
#include "lane.h"
#include "limit.h"

typedef struct QueueClaim
{
	FunctionCallInfo fcinfo;	/* returns what is claimed */
	NullableDatum executor_id;
	NullableDatum handlers;		/* these only, NULL is any */
	Elements	handler_names;	/* the same */
	NullableDatum app_version;	/* those of this version or of none only, NULL is any */
	bool		is_registered;	/* the executor */
	bool		has_locked;		/* a queue: then no other is waited for */
	Queue		queue;			/* as it was seen last */
	Counts		counts;			/* the same: what its limits allow */
	Search		search;			/* through its lanes, at the time of the claim */
	Due			due;			/* the lane where the search is */
	int64		starts_left;	/* by the rate limit: only what is suspended is taken up beyond that */
	int64		started;		/* so many were claimed that were not suspended */
} QueueClaim;

/* claim_take.c */
extern int64 claim_in_lane(QueueClaim *claim, const Due *due, bool late, Position *from, int64 wanted);

/* claim_lanes.c */
extern bool may_claim_under_keys(const QueueClaim *claim);
extern int64 claim_by_lanes(QueueClaim *claim, int64 wanted);
extern int64 count_due_under_keys(Datum queue, const Queue *limits, const Counts *counts, TimestampTz now, int64 most,
								  int64 *due, TimestampTz *next);

#endif							/* DURABLE_CLAIM_INTERNAL_H */
