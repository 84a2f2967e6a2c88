/*-------------------------------------------------------------------------
 *
 * wait.h
 *	  Waits: how they are asked for (wait.c), opened and closed (wait_open.c),
 *	  and end (wait_end.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_WAIT_H
#define DURABLE_WAIT_H

#include "id_list.h"
#include "signal.h"
#include "task.h"

/* The sorts, as they stand in step.wait. */
#define SLEEP		"sleep"
#define FOR_SIGNAL	"signal"
#define FOR_WORKFLOW "workflow"
#define FOR_CALLBACK "callback"
#define FOR_ANY		"any"

static inline bool
is_sort(const Step *wait, const char *sort)
{
	return strcmp(wait->wait, sort) == 0;
}

/* What has ended a wait, and when. */
typedef struct WaitEnd
{
	TaskStatus	status;			/* COMPLETED or FAILED; NO_TASK while it is open */
	TimestampTz at;
	NullableDatum output;
	NullableDatum error;
	NullableDatum detail;
	NullableDatum signal_id;	/* that is taken with it */
	NullableDatum signal_name;
	int32		first;			/* of any: the position that has ended first, or -1 ... */
	bool		first_is_open;	/* ... a wait whose outcome is not recorded */
} WaitEnd;

#define STILL_OPEN \
	((WaitEnd) {.status = NO_TASK,.output = a_null(),.error = a_null(),.detail = a_null(),.signal_id = a_null(),.signal_name = a_null(),.first = -1})

/* Under which conditions an outcome is recorded. */
typedef struct WaitFence
{
	NullableDatum lease;		/* or NULL for none */
	NullableDatum open_at;		/* the workflow is one in which a step could be claimed then; or NULL: it is unfinished */
} WaitFence;

/* What became of a statement that writes. */
typedef enum Written
{
	WRITTEN,
	OVERTAKEN,					/* something else has changed */
	SIGNAL_IS_BUSY				/* the signal is about to be taken by another wait, or was */
} Written;

/* What somebody answers from outside. */
typedef struct Answer
{
	NullableDatum output;
	NullableDatum error;		/* not NULL: it fails */
	NullableDatum detail;
	NullableDatum lease;
	NullableDatum attempt;
} Answer;

/* wait_open.c */
extern void begin_times(Step *wait, TimestampTz now);
extern Written begin_wait(const Step *wait, const WaitEnd *end, const WaitFence *fence);
extern bool begin_wait_again(const Step *wait, const WaitFence *fence);
extern void unlist_wait(NullableDatum workflow_id, NullableDatum sequence);
extern void take_back_wait(const Step *wait);
extern void hold_awaited(const pg_uuid_t *awaited);
extern void tell_who_awaits(const pg_uuid_t *workflow_id);
extern void close_waits_of(const pg_uuid_t *workflow_ids, uint64 count);
extern void reopen_waits_of(const IdList *workflows);
extern void keep_awaited_outcomes(const IdList *workflows);
extern void forget_awaited_outcomes(int64 most);

/* wait_end.c */
extern WaitEnd find_end(const Step *wait, TimestampTz now, const BusySignals *busy);
extern Written written(NullableDatum signal_id);
extern Written end_wait(const Step *wait, const WaitEnd *end, const WaitFence *fence);
extern Refusal *refuse_answer(const Workflow *workflow, const Step *wait, const Answer *answer, TimestampTz now,
							  bool *repeated);
extern bool answer_wait(const pg_uuid_t *id, const Answer *answer, const char *argument);
extern bool answer_locked_wait(const Workflow *workflow, const Step *wait, const Answer *answer, TimestampTz now);

#endif							/* DURABLE_WAIT_H */
