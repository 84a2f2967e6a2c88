/*-------------------------------------------------------------------------
 *
 * durable.h
 *	  The words, the state machine, and what every file of durable shares.
 *
 * Words (the same in SQL, C and the documentation):
 *
 *	workflow	a unit of work that one executor drives to its end
 *	step		one numbered position of a workflow, with its outcome
 *	child		a workflow that stands at a position of its parent; the step row
 *				at that position (kind WORKFLOW) is called its stand-in
 *	inline		a child without a queue: whoever drives the parent drives it
 *	task		a workflow or a step
 *	executor	a process that drives workflows and sends heartbeats
 *	lease		a number per workflow, plus one each time it changes hands
 *	claim		to become the one that runs a step, or drives a workflow
 *	cascade		a change of a workflow and of those below it
 *
 * Locks, in the one order in which they are taken (lock.c has the functions):
 *
 *	1. executor rows		where one is registered, refreshed or forgotten
 *	2. the queue's lock		heavyweight; what may start in a queue, and its limits
 *	3. the tree's lock		heavyweight, by root; shared by each call that writes
 *							steps or ends or starts workflows in the tree,
 *							exclusive for a cascade that others must not overlap
 *							(beyond some number of them: one lock for all)
 *	4. a workflow's children	heavyweight; shared by those who start one,
 *							exclusive for who completes the workflow
 *	5. workflow rows		parents before their children
 *	6. step rows			after the workflow rows, stand-ins last
 *
 * The heads of queues are kept true without any lock (head.c).
 *
 * The heavyweight locks write nothing, are held to the end of the transaction,
 * and are granted in the order of arrival, so that a cascade waits for those
 * that were there before it and never for later ones.  A row lock would have
 * cost each claim a WAL record and a dirty page, and a stream of claims that
 * share a row can keep a cascade waiting for ever.  claim, recover and
 * purge, which lock many workflows, do not wait for any of them.
 *
 * A call first looks (one SELECT without locks: a replay ends there and has
 * written nothing), decides in C, then acts: one statement whose WHERE repeats
 * what the decision rests on.  If that finds nothing to change, something
 * overtook us: look again.  The statements that every workflow and step runs
 * have fast paths (fast.c), which do the same without an executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_H
#define DURABLE_H

#include "postgres.h"
#include "compat.h"

#include "access/tupdesc.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "storage/itemptr.h"
#include "utils/uuid.h"

/* ---- state.c: the state machine ---------------------------------------- */

typedef enum TaskStatus
{
	NO_TASK,					/* there is no row */
	PENDING,
	RUNNING,
	COMPLETED,
	FAILED,
	PAUSED,
	CANCELLED
} TaskStatus;

#define STATUS_COUNT (CANCELLED + 1)

typedef enum TaskKind
{
	WORKFLOW,
	STEP,
	TRANSACTION,
	WAIT						/* runs nothing */
} TaskKind;

/* What can happen to a task.  A row of the tables in state.c for each. */
typedef enum Event
{
	EVENT_CLAIM,				/* claim_step of a step, claim of a workflow */
	EVENT_TAKE,					/* start by name, attach as owner, recover */
	EVENT_START_AGAIN,			/* start_child of an existing child */
	EVENT_COMPLETE,
	EVENT_FAIL,
	EVENT_FAIL_BELOW,			/* with its parent, of an inline child */
	EVENT_RETRY,				/* a failure with retries left */
	EVENT_RELEASE,
	EVENT_PAUSE,
	EVENT_RESUME,
	EVENT_CANCEL,
	EVENT_RESUME_FAILED,
	EVENT_SET_TIMEOUT
} Event;

#define EVENT_COUNT (EVENT_SET_TIMEOUT + 1)

extern bool workflow_transition(Event event, TaskStatus from, TaskStatus *to);
extern bool step_transition(Event event, TaskStatus from, TaskStatus *to);
extern const char *event_verb(Event event);
extern const char *status_label(TaskStatus status);
extern const char *kind_label(TaskKind kind);
extern TaskStatus status_from_datum(Datum status);
extern TaskKind kind_from_datum(Datum kind);
extern Datum enum_datum(Oid enumtype, const char *label);

static inline bool
is_finished(TaskStatus status)
{
	return status == COMPLETED || status == FAILED || status == CANCELLED;
}

/* ---- errors.c: what a call may be refused for -------------------------- */

#define ERRCODE_NO_SUCH_TASK		MAKE_SQLSTATE('W', 'F', '0', '0', '1')
#define ERRCODE_WRONG_STATUS		MAKE_SQLSTATE('W', 'F', '0', '0', '2')
#define ERRCODE_WORKFLOW_PAUSED		MAKE_SQLSTATE('W', 'F', '0', '0', '4')
#define ERRCODE_TASK_CANCELLED		MAKE_SQLSTATE('W', 'F', '0', '0', '5')
#define ERRCODE_DEADLINE_EXCEEDED	MAKE_SQLSTATE('W', 'F', '0', '0', '6')
#define ERRCODE_OTHER_STEP			MAKE_SQLSTATE('W', 'F', '0', '0', '7')
#define ERRCODE_LEASE_LOST			MAKE_SQLSTATE('W', 'F', '0', '0', '8')
#define ERRCODE_RECOVERY_LIMIT		MAKE_SQLSTATE('W', 'F', '0', '0', '9')
#define ERRCODE_WORKFLOW_FINISHED	MAKE_SQLSTATE('W', 'F', '0', '1', '1')
#define ERRCODE_NO_SUCH_QUEUE		MAKE_SQLSTATE('W', 'F', '0', '1', '2')

/*
 * Why a call is refused.  Built first and raised by one function, because
 * complete_and_claim answers some of them instead of raising.
 */
typedef struct Refusal
{
	int			sqlstate;
	const char *message;
	const char *detail;
	const char *hint;
} Refusal;

struct Workflow;
struct Step;

pg_noreturn extern void raise_refusal(const Refusal *refusal);
pg_noreturn extern void raise_kept_away(const char *table);
extern char *refusal_text(const Refusal *refusal);

extern Refusal *refuse_argument(const char *name, const char *what, const char *detail, const char *hint);
extern Refusal *refuse_unknown_task(const pg_uuid_t *id);
extern Refusal *refuse_workflow_status(const struct Workflow *workflow, Event event);
extern Refusal *refuse_step_status(const struct Step *step, Event event);
extern Refusal *refuse_other_output(const char *what, const pg_uuid_t *id, const char *name);
extern Refusal *refuse_not_claimable(const struct Workflow *workflow);
extern Refusal *refuse_finished(const struct Workflow *workflow);
extern Refusal *refuse_deadline(const struct Workflow *workflow);
extern Refusal *refuse_lease(const struct Workflow *workflow, int32 given);
extern Refusal *refuse_attempt(const struct Step *step, int32 given);
extern Refusal *refuse_other_step(const struct Step *step, const char *name, TaskKind kind);
extern Refusal *refuse_recovery_limit(const struct Workflow *workflow);
extern Refusal *refuse_inline(const struct Workflow *workflow, Event event, const pg_uuid_t *driven);
extern Refusal *refuse_below(const struct Workflow *workflow, Event event, const pg_uuid_t *ancestor,
							 TaskStatus status);
extern Refusal *refuse_other_run(const struct Workflow *workflow, const struct Workflow *other);
extern Refusal *refuse_unknown_queue(const char *name);
extern Refusal *refuse_queue_in_use(const char *name, const pg_uuid_t *workflow_id);
extern char *uuid_text(const pg_uuid_t *id);

/* ---- version.c: does the schema fit the library ------------------------- */

extern void require_schema_version(void);

/* ---- args.c: arguments --------------------------------------------------- */

/* At most so many elements in one call: it may lock each. */
#define MAX_BATCH 1000

extern void require(NullableDatum arg, const char *name);
extern void require_name(NullableDatum arg, const char *name);
extern void check_name(NullableDatum arg, const char *name);
extern void require_sequence(NullableDatum sequence);
extern void require_not_negative(NullableDatum arg, const char *name);
extern void check_limit(NullableDatum arg, const char *name);
extern void check_span(NullableDatum arg, const char *name);
extern void check_interval(NullableDatum arg, const char *name);
extern void check_run_at(NullableDatum run_at);
extern void require_sequences(NullableDatum first, int count);
extern int	check_array(NullableDatum arg, const char *name);
extern void check_array_beside(NullableDatum arg, const char *name, int count, const char *other);
extern int	require_batch(NullableDatum arg, const char *name);
pg_noreturn extern void bad_argument(const char *name, const char *what, const char *detail, const char *hint);

/* ---- clock.c: time ------------------------------------------------------- */

extern double durable_clock_offset;
extern double durable_executor_timeout;

extern int64 clock_ns(void);
extern TimestampTz clock_timestamp_of(int64 ns);
extern TimestampTz clock_now(void);
/* A statement that took longer has waited for somebody (microseconds). */
#define A_WAIT 10000

extern int64 clock_monotonic(void);
extern TimestampTz clock_add(TimestampTz t, double seconds);
extern double interval_seconds(const Interval *interval);
extern double interval_least_seconds(const Interval *interval);
extern NullableDatum clock_deadline(TimestampTz start, NullableDatum timeout);
extern TimestampTz clock_stale_before(TimestampTz now, NullableDatum stale_after);

/* ---- ids.c: identity ------------------------------------------------------ */

#define MAX_SEQUENCE 16777213

extern void new_workflow_id(int64 ns, int32 bucket, pg_uuid_t *id);
extern TimestampTz id_created_at(const pg_uuid_t *id);
extern int32 name_bucket(const char *name, int len, const char *argument);
extern int32 id_bucket(const pg_uuid_t *id);
extern int32 id_sequence(const pg_uuid_t *id);
extern void id_workflow(const pg_uuid_t *id, pg_uuid_t *workflow_id);
extern void id_step(const pg_uuid_t *workflow_id, int32 sequence, pg_uuid_t *step_id);

static inline bool
same_id(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t)) == 0;
}

/* ---- rows.c: rows as C structures --------------------------------------- */

/*
 * A NullableDatum of a row points into the result of the statement that read
 * it and lives until SPI_finish.
 */
typedef struct Workflow
{
	pg_uuid_t	id;
	pg_uuid_t	root_id;
	bool		has_parent;
	pg_uuid_t	parent_id;
	TaskStatus	status;
	int32		lease;
	int32		recovery_count;
	int32		max_recovery_attempts;
	char	   *name;
	bool		has_queue;
	NullableDatum status_datum;
	NullableDatum handler;
	NullableDatum executor_id;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
	NullableDatum deadline;
	NullableDatum paused_by;
	NullableDatum paused_at;
} Workflow;

typedef struct Step
{
	pg_uuid_t	id;				/* by arithmetic */
	pg_uuid_t	workflow_id;
	int32		sequence;
	TaskStatus	status;			/* NO_TASK where there is no row */
	TaskKind	kind;
	int32		lease;
	int32		attempt;
	int32		max_retries;
	int32		retry_count;
	char	   *name;
	NullableDatum status_datum;
	NullableDatum executor_id;
	NullableDatum backoff;
	NullableDatum backoff_multiplier;
	NullableDatum max_backoff;
	NullableDatum input;
	NullableDatum output;
	NullableDatum error;
	NullableDatum detail;
	NullableDatum run_at;
	NullableDatum deadline;
	NullableDatum child_id;
} Step;

/* An inline child is driven by whoever drives its parent. */
static inline bool
is_inline(const Workflow *workflow)
{
	return workflow->has_parent && !workflow->has_queue;
}

/* Whose view of the database a statement has (plans.c). */
typedef enum View
{
	NEWEST,						/* all that is committed now, and our own writes */
	CALLERS						/* that of the calling query: STABLE functions */
} View;

extern void look_workflow_or_raise(const pg_uuid_t *id, const char *argument, View view, Workflow *workflow);
extern uint64 seen_of(const Workflow *workflow, const Step *step);
extern bool look_active_root(Datum name, Workflow *workflow);
extern bool read_active_root(uint64 row, Workflow *workflow, NullableDatum *owner_seen);
extern bool read_look_at_step(uint64 row, const pg_uuid_t *workflow_id, int32 sequence,
							  Workflow *workflow, Step *step);
extern bool look_step(const pg_uuid_t *workflow_id, int32 sequence, View view, Workflow *workflow, Step *step);
extern bool same_json(NullableDatum a, NullableDatum b);
extern bool same_text(NullableDatum a, NullableDatum b);

/* ---- cascade.c: a change of a workflow and of those below it ------------------ */

typedef enum Cascade
{
	CASCADE_PAUSE,				/* pause_tree */
	CASCADE_RESUME,				/* resume_tree */
	CASCADE_CANCEL,				/* cancel_tree */
	CASCADE_RERUN,				/* resume_failed */
	CASCADE_ABANDON,			/* the parent completed */
	CASCADE_FAIL,				/* the parent failed */
	CASCADE_FENCE				/* the parent changed hands */
} Cascade;

/* Which call of pause_tree it is that a workflow is paused by. */
typedef struct Pause
{
	pg_uuid_t	paused_by;		/* the workflow that was named */
	TimestampTz paused_at;
} Pause;

extern int64 cascade_tree(Cascade cascade, const pg_uuid_t *top, const Pause *pause, TimestampTz now);
extern int64 cascade_below(Cascade cascade, Datum workflow_ids, int32 from_sequence, TimestampTz now);
extern void lock_workflows(Datum workflow_ids);
extern void record_on_stand_ins(Datum workflow_ids, int children);
extern Datum takeable(Datum *seen, int *count);

/* ---- known.c: the workflows that this backend has seen last ---------------- */

extern void remember_tree(const pg_uuid_t *workflow_id, const pg_uuid_t *root_id);
extern void expect_new_step(const pg_uuid_t *workflow_id, int32 sequence);
extern bool expects_new_step(const pg_uuid_t *workflow_id, int32 sequence);
extern bool is_known_root(const pg_uuid_t *workflow_id);
extern bool try_lock_known_tree(const pg_uuid_t *workflow_id, pg_uuid_t *root_id);
extern void unlock_known_tree(const pg_uuid_t *root_id);

/* ---- fence.c: nothing commits under an older lease ------------------------- */

/* Where a fast path has seen a workflow's lease (fast.c). */
typedef struct LeaseSeen
{
	pg_uuid_t	workflow_id;
	Oid			table;
	RelFileNumber file;			/* of the table */
	ItemPointerData row;
} LeaseSeen;

extern LeaseSeen last_lease_seen;

extern bool lease_is_as_seen(const LeaseSeen *seen, const pg_uuid_t *workflow_id, int32 lease);
extern void recorded_under(const pg_uuid_t *workflow_id, NullableDatum lease);
extern void ask_before_raising(const pg_uuid_t *ids, uint64 count);
extern void raised_lease_of(const pg_uuid_t *workflow_id);
extern void watch_transactions(void);

/* ---- workflow.c ------------------------------------------------------------ */

/* The arguments of start from handler on. */
typedef struct StartArgs
{
	NullableDatum handler;
	NullableDatum executor_id;
	NullableDatum queue;
	NullableDatum priority;
	NullableDatum run_at;
	NullableDatum timeout;
	NullableDatum max_recovery_attempts;
	NullableDatum app_version;
} StartArgs;

/* Who attaches ... */
typedef enum Attaching
{
	JOINS,
	OWNS,						/* becomes the owner, under a new lease */
	OWNS_IF_DEAD				/* ... where the present one is dead, else joins */
} Attaching;

extern StartArgs start_args(FunctionCallInfo fcinfo);
extern void new_root_id(int64 ns, Datum name, const char *argument, pg_uuid_t *id);
extern void fill_started(Workflow *workflow, const StartArgs *args);
extern Attaching attaching(const Workflow *workflow, NullableDatum executor_id, bool takeover, bool name_is_enough);
extern NullableDatum owner_of(const Workflow *workflow);
extern Refusal *refuse_workflow_completion(const Workflow *workflow, NullableDatum output, NullableDatum lease,
										   bool *repeated);

extern bool complete_workflow(const pg_uuid_t *id, NullableDatum output, NullableDatum lease);
extern void fail_workflow(const pg_uuid_t *id, NullableDatum error, NullableDatum detail, NullableDatum lease);
extern Refusal *refuse_claim_in(const Workflow *workflow, NullableDatum lease, TimestampTz now);
extern void raise_if_inline(const Workflow *workflow, Event event);

/* ---- step.c ---------------------------------------------------------------- */

/* What a claim asks for: the arguments of claim_step from name on. */
typedef struct ClaimArgs
{
	NullableDatum name;
	NullableDatum input;
	TaskKind	kind;
	NullableDatum lease;
	NullableDatum executor_id;
	NullableDatum max_retries;
	NullableDatum backoff;
	NullableDatum backoff_multiplier;
	NullableDatum max_backoff;
	NullableDatum timeout;
} ClaimArgs;

/* What a claim answers. */
typedef struct ClaimAnswer
{
	pg_uuid_t	step_id;
	const char *action;
	NullableDatum output;
	NullableDatum error;
	NullableDatum attempt;
	NullableDatum run_at;
	NullableDatum detail;
} ClaimAnswer;

typedef enum ClaimWay
{
	CLAIM_NOTHING,				/* the answer is all */
	CLAIM_NEW,					/* the step is to be created */
	CLAIM_AGAIN					/* the step is there and to be claimed */
} ClaimWay;

extern ClaimArgs claim_args(FunctionCallInfo fcinfo, int first);
extern Refusal *decide_claim(const Workflow *workflow, const Step *step, const ClaimArgs *args, TimestampTz now,
							 ClaimAnswer *answer, ClaimWay *way);
extern void take_back_step(const pg_uuid_t *workflow_id, int32 sequence);
extern Refusal *refuse_outcome(const Workflow *workflow, const Step *step, const char *argument,
							   NullableDatum lease, NullableDatum attempt);
extern Refusal *refuse_completion(const Step *step, NullableDatum output, bool *repeated);
extern Refusal *refuse_attempt_of_workflow(NullableDatum attempt, const char *argument);
extern void look_step_to_end(const pg_uuid_t *id, const char *argument, NullableDatum lease,
							 NullableDatum attempt, Workflow *workflow, Step *step);

/* ---- executor.c, queue.c --------------------------------------------------- */

extern bool executor_alive(Datum executor_id, TimestampTz stale_before);
extern int64 register_executor(NullableDatum executor_id, NullableDatum stale_after);
extern void register_again(NullableDatum executor_id, int64 registered);
extern void lock_queue_to_start(NullableDatum queue, TimestampTz now);

/* ---- head.c ------------------------------------------------------------------ */

/* Where a workflow waits in a queue; the first to be claimed has the highest priority. */
typedef struct Position
{
	int32		priority;
	TimestampTz run_at;
	pg_uuid_t	id;
} Position;

/* A search through the lanes of a queue, one for each priority, from the highest down. */
typedef struct Search
{
	Datum		queue;
	TimestampTz now;
	int64		highest;		/* the priorities left to look at are this one and lower */
	int64		walked;			/* so many buffers were read over dead entries */
} Search;

/* A lane in which something is due. */
typedef struct Due
{
	Position	first;
	bool		is_late;		/* which is on the list of the head */
	bool		has_head;
	pg_uuid_t	head_id;
	Position	head;
} Due;

extern int	durable_claim_walk;

extern Search begin_search(Datum queue, TimestampTz now);
extern bool next_due(Search *search, Due *due);
extern void now_waiting(Datum workflow_ids);
extern void started_waiting(NullableDatum queue, int32 priority, NullableDatum run_at, Datum workflow_ids);
extern void raise_heads(const Search *search);
extern void drop_all_heads(Datum queue);
extern void sweep_heads(void);

/* ---- rows.c: results ------------------------------------------------------- */

/* What a call has found, and gives back when it ends. */
typedef struct Call
{
	MemoryContext memory;
	Oid			user;
	int			security;
	int			path;
} Call;

/*
 * A call that finds its decision overtaken looks again.  Rounds end: in an error
 * where nothing has changed and yet nothing can be written.
 */
typedef struct Rounds
{
	uint64		seen;			/* what the last look has seen, in short */
	int			unchanged;		/* so often in a row */
	int64		since;			/* when the call began to write */
	int			waits;			/* how often it has begun anew because it had waited */
} Rounds;

extern Call begin_call(FunctionCallInfo fcinfo);
extern void next_round(Rounds *rounds, const char *table, uint64 seen);
extern bool has_waited(Rounds *rounds, int rows);
extern bool in_subtransaction(bool (*act) (void *arg), void *arg, ErrorData **error);
extern void end_call(const Call *call);
extern TupleDesc result_desc(FunctionCallInfo fcinfo, int columns);
extern Oid column_type(TupleDesc desc, int column);
extern Datum end_call_with_row(TupleDesc desc, const Call *call, const NullableDatum *columns);
extern Datum end_call_with_value(FunctionCallInfo fcinfo, const Call *call, NullableDatum d);
extern void begin_rows(FunctionCallInfo fcinfo);
extern void begin_rows_of(FunctionCallInfo fcinfo, int columns);
extern void return_row(FunctionCallInfo fcinfo, const NullableDatum *columns);
extern void return_rows(FunctionCallInfo fcinfo);

static inline NullableDatum
a_value(Datum value)
{
	NullableDatum d = {.value = value, .isnull = false};

	return d;
}

static inline NullableDatum
a_null(void)
{
	NullableDatum d = {.value = (Datum) 0, .isnull = true};

	return d;
}

#endif							/* DURABLE_H */
