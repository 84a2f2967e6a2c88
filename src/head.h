/*-------------------------------------------------------------------------
 *
 * head.h
 *	  What is due in a queue, and where claims begin to look (head.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_HEAD_H
#define DURABLE_HEAD_H

#include "durable.h"
#include "idle.h"

#include "storage/itemptr.h"

/* Where a workflow waits in a queue: in a lane, one for each rank and key, by run_at and id. */
typedef struct Position
{
	Datum		key;			/* a text; 0 is none, as is '' */
	int64		rank;
	TimestampTz run_at;
	pg_uuid_t	id;
	ItemPointerData entry;		/* where a walk has found it; else invalid */
} Position;

#define LOWEST_RANK		(2 * (int64) PG_INT32_MIN)
#define HIGHEST_RANK	(2 * (int64) PG_INT32_MAX + 1)

/* What is suspended goes before those of its priority that wait for their first run: it has an odd rank. */
static inline int64
rank_of(int32 priority, bool is_suspended)
{
	return 2 * (int64) priority + (is_suspended ? 1 : 0);
}

static inline bool
is_suspended_rank(int64 rank)
{
	return (rank & 1) != 0;
}

static inline int32
priority_of_rank(int64 rank)
{
	return (int32) ((rank - (rank & 1)) / 2);
}

/* As the register of what waits has it, where the lowest comes first. */
static inline int64
turn_of_rank(int64 rank)
{
	return -rank;
}

/* A search through the lanes of a queue, from the highest rank down. */
typedef struct Search
{
	Datum		queue;
	TimestampTz now;
	int64		highest;		/* the ranks left to look at are this one and lower */
	Idle		idle;			/* those above in which nothing is due */
	int64		far_highest;	/* all lanes in which a probe has walked far over dead entries are from this rank ... */
	int64		far_lowest;		/* ... down to this one */
	bool		is_claim;		/* what others are taking is passed over, ... */
	uint64		passed;			/* ... and what that was: a hash, 0 if it was nothing */
} Search;

/* A lane in which something is due. */
typedef struct Due
{
	Position	first;			/* of what is due there */
	bool		is_late;		/* whether that is on the list of the lane's head */
	pg_uuid_t	head_id;		/* if so, which head that is ... */
	Position	head;			/* ... and where the lane is read from */
} Due;

/* setting */
extern int	durable_claim_walk;

/* head.c: what a claim reads */
extern Search begin_search(Datum queue, TimestampTz now, bool is_claim);
extern void note_passed(Search *search, const pg_uuid_t *id);
extern bool next_due(Search *search, Due *due);
extern int64 count_due(Search *search, int64 most);

/* head_waiting.c: workflows that now wait */
extern void now_waiting(Datum workflow_ids);
extern void started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids);

/* head_raise.c: heads come and go */
extern void raise_heads(const Search *search);
extern void drop_all_heads(Datum queue);
extern void sweep_heads(void);

#endif							/* DURABLE_HEAD_H */
