/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Wake-ups: who tells, who waits (wake_note.c, wake_memory.c, wake_sleep.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_WAKE_H
#define DURABLE_WAKE_H

#include "durable.h"

/* What a session can wait for, in a database: a hash of it. */
typedef uint32 WakeKey;

/* What a note tells. */
typedef enum NoteKind
{
	NOTE_WORK,					/* workflows wait in the queue, and are due */
	NOTE_LATER,					/* one waits, and will be due */
	NOTE_SLOT,					/* a workflow of the queue does not run any more */
	NOTE_QUEUE,					/* the queue's limits have changed */
	NOTE_END,					/* the task has ended */
	NOTE_EVENT,					/* the workflow has emitted an event */
	NOTE_NEWS,					/* of a workflow that the executor drives */
	NOTE_DEADLINE,				/* such a one has got another deadline */
	NOTE_TICK,					/* there is something for tick or recover: an executor is dead, a schedule has changed */
	NOTE_CLAIM					/* an executor has claimed from the queue, and got something or not */
} NoteKind;

typedef struct Note
{
	NoteKind	kind;
	WakeKey		key;
	WakeKey		executor;		/* NOTE_CLAIM: who has claimed */
	int32		count;			/* so many workflows; NOTE_CLAIM: so many were claimed */
	int			level;			/* of the subtransaction */
	TimestampTz due;			/* NOTE_LATER: the first of them */
} Note;

/* setting (init.c) */
typedef enum WakeMode
{
	WAKE_AUTO,					/* by shared memory, if that can be had */
	WAKE_LOOKING
} WakeMode;

extern int	durable_wake;

/* wake_note.c: what a transaction tells when it has committed */
extern void note_work(Datum queue, TimestampTz run_at);
extern void note_slot(Datum queue);
extern void note_queue(Datum queue);
extern void note_end(const pg_uuid_t *task_id);
extern void note_event(const pg_uuid_t *workflow_id);
extern void note_news(Datum executor_id);
extern void note_deadline(Datum executor_id);
extern void note_tick(void);
extern void note_claim(Datum queue, Datum executor_id, int64 claimed);
extern void watch_notes(void);

/* wake_memory.c: the keys */
extern WakeKey queue_key(Datum queue);
extern WakeKey executor_key(Datum executor_id);
extern WakeKey end_key(const pg_uuid_t *task_id);
extern WakeKey event_key(const pg_uuid_t *workflow_id);
extern WakeKey tick_key(void);

/* A session that waits has at most so many keys. */
#define MOST_KEYS 16

/* What the session was told while it waited. */
typedef struct Told
{
	WakeKey		key;			/* one of its keys, or 0 */
	bool		news;
	bool		deadline;
} Told;

/* wake_memory.c: the places of those who wait */
extern bool has_wake_memory(void);
extern void tell(const Note *notes, int count);
extern void tell_tick(void);
extern bool begin_waiting(const WakeKey *keys, int count, WakeKey executor);
extern bool has_place(void);
extern bool may_be_told_news(void);
extern Told ready_to_be_told(bool is_quiet);
extern bool was_told(void);
extern int64 promises(WakeKey queue);
extern bool promise(WakeKey queue, int64 jobs);
extern void wait_on(bool held_back, TimestampTz next_due);
extern bool is_due_to_look(const WakeKey *keys, int count);
extern void got_work(void);
extern int64 quiet_until(void);
extern void end_waiting(void);
extern void give_place_back(void);
extern void tell_others(WakeKey queue);
extern void tell_everybody(void);
extern void count_left_to_statement(void);

/* wake_sleep.c: how a procedure sleeps */
extern void require_no_transaction(FunctionCallInfo fcinfo, const char *procedure);
extern void require_still_there(FunctionCallInfo fcinfo);
extern void begin_anew(FunctionCallInfo fcinfo);
extern void end_transaction(void);
extern void begin_transaction(void);
extern void wait_for_latch(int64 us);
extern void doze_until(int64 time);
extern int64 end_of_wait(NullableDatum timeout);
extern int64 monotonic_of(TimestampTz time);
extern Datum row_of_procedure(TupleDesc desc, const NullableDatum *columns);

/* wake_news.c: for who is not told of news */
extern bool look_for_news(Datum executor_id);
extern bool drives_something(void);

/* a time by clock_monotonic that never comes */
#define NEVER PG_INT64_MAX

#endif							/* DURABLE_WAKE_H */
