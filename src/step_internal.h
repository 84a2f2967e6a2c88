/*-------------------------------------------------------------------------
 *
 * step_internal.h
 *	  What the files of steps share (step_....c): the parts of which complete_and_claim and its batch are made.
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_STEP_INTERNAL_H
#define DURABLE_STEP_INTERNAL_H

#include "sql.h"
#include "step.h"
#include "table.h"

/* ---- rows (step_row.c) ---------------------------------------------------------- */

extern bool look_at_lease(NullableDatum workflow_id, NullableDatum lease, NullableDatum open_at, int32 *its_lease);

/* ---- outcomes (step_outcome.c) --------------------------------------------------- */

extern Refusal *refuse_to_complete_wait(const Step *step, const char *argument);
extern Refusal *refuse_workflow_id(const pg_uuid_t *id, const char *argument);

/* ---- claims (step_claim.c) ------------------------------------------------------ */

/* What a claim asks for, of all its steps alike. */
typedef struct ClaimArgs
{
	TaskKind	kind;
	NullableDatum executor_id;
	RetryPolicy retries;
	NullableDatum timeout;
} ClaimArgs;

/* What a claim answers. */
typedef struct ClaimAnswer
{
	pg_uuid_t	step_id;
	Refusal    *refusal;		/* NULL, or all that there is beside the id */
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

/* A step that is to be claimed. */
typedef struct Claim
{
	pg_uuid_t	workflow_id;
	int32		sequence;
	NullableDatum name;
	NullableDatum input;
	NullableDatum lease;		/* of the caller */
	NullableDatum under;		/* the lease under which it is claimed */
	Step		step;			/* as it was looked at */
	ClaimWay	way;
	ClaimAnswer answer;
} Claim;

/* Steps that are claimed at once. */
typedef struct Claims
{
	const ClaimArgs *args;
	int			count;
	Claim	   *elements;		/* in the order of workflows and positions */
	Rounds		rounds;
} Claims;

/* durable.claimed_step */
#define CLAIM_COLUMNS 7

extern ClaimArgs claim_args(NullableDatum kind, const NullableDatum *from_executor_id);
extern void decide_claim(const Workflow *workflow, const ClaimArgs *args, TimestampTz now, Claim *claim);
extern void answer_refusal(ClaimAnswer *answer, Refusal *refusal);
extern void answer_new_step(ClaimAnswer *answer);
extern int	count_claims(const Claims *claims, ClaimWay way);
extern void tell_at_claim(const Workflow *workflow, const Claim *claim, const ClaimArgs *args);
extern bool write_claims(Claims *claims);
extern void claim_step(const ClaimArgs *args, Claim *claim);
extern void fill_answer(TupleDesc desc, int first, const ClaimAnswer *answer, NullableDatum *columns);

/* The parameters of a step that is created and claimed. */
#define POLICY(P) \
	P(executor_id, TEXTOID) \
	P(max_retries, INT4OID) \
	P(backoff, INTERVALOID) \
	P(backoff_multiplier, FLOAT8OID) \
	P(max_backoff, INTERVALOID) \
	P(timeout, INTERVALOID) \
	P(now, TIMESTAMPTZOID) \
	P(deadline, TIMESTAMPTZOID)
#define INSERT_STEP(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(kind, TEXTOID) \
	P(name, TEXTOID) \
	P(input, JSONBOID) \
	POLICY(P)
PARAMETER_VALUES(InsertStep, INSERT_STEP);

/* The values of POLICY. */
#define POLICY_VALUES(args, time) \
	.executor_id = (args)->executor_id, RETRIES((args)->retries), \
	.timeout = (args)->timeout, .now = a_time(time), .deadline = clock_deadline(time, (args)->timeout)

extern NullableDatum kind_value(TaskKind kind);
extern InsertStep insert_step_values(const Claim *claim, const ClaimArgs *args, TimestampTz now);

/* p is the prefix of the names of the other parameters */
#define INSERT_CLAIMED_STEP(workflow_id, sequence, lease, name, input, p) \
	"INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, input, executor_id," \
	"  max_retries, backoff, backoff_multiplier, max_backoff, timeout, started_at, deadline) " \
	"SELECT " workflow_id ", " sequence ", " lease ", 1, {step to CLAIM}, " p "kind::durable.task_kind, " \
	name ", " input ", " p "executor_id, " \
	p "max_retries, " p "backoff, " p "backoff_multiplier, " p "max_backoff, " p "timeout, " p "now, " p "deadline "
#define UNLESS_THERE \
	" ON CONFLICT (workflow_id, sequence) DO NOTHING"

/*
 * For a statement that may hold rows of several workflows: at a position where a row
 * is being updated ON CONFLICT waits for that, which would be out of order.  (Not
 * seen is a row that comes, and is updated, while the statement waits for an earlier
 * position.)
 */
#define NO_STEP_AT(workflow_id, sequence) \
	"NOT EXISTS (SELECT 1 FROM durable.step o WHERE o.workflow_id = " workflow_id " AND o.sequence = " sequence ")"

extern bool insert_claimed_row(Writing *writing, const InsertStep *p, int32 lease);

/* ---- completions (step_end.c) ------------------------------------------------------ */

/* The parameters of a step that is completed. */
#define RECORD_OUTPUT(P) \
	P(workflow_id, UUIDOID) \
	P(sequence, INT4OID) \
	P(lease, INT4OID) \
	P(attempt, INT4OID) \
	P(output, JSONBOID) \
	P(now, TIMESTAMPTZOID)
PARAMETER_VALUES(RecordOutput, RECORD_OUTPUT);

extern RecordOutput record_output_values(const StepCompletion *completion, TimestampTz now);

/*
 * lease and attempt: the caller's fences; more: what else is asked of the
 * workflow.  If we wait for the step's row, only that row is read anew: it tells
 * by its own lease that a new owner has claimed it.
 */
#define STEP_TO_COMPLETE(workflow_id, sequence, lease, attempt, more) \
	"s.workflow_id = " workflow_id " AND s.sequence = " sequence \
	" AND s.status = ANY {step from COMPLETE} AND s.kind <> 'WORKFLOW'" \
	" AND (" attempt " IS NULL OR s.attempt = " attempt ")" \
	" AND s.lease <= (SELECT w.lease FROM durable.workflow w" \
	"   WHERE w.id = " workflow_id " AND (" lease " IS NULL OR w.lease = " lease ")" more ")"
#define SET_OUTPUT(output) \
	"UPDATE durable.step s SET" \
	"  status = {step to COMPLETE}, output = " output ", error = NULL, detail = NULL, completed_at = :now "

/* the step, unless somebody has locked it: so its update does not wait */
#define FREE_STEP(more) \
	"free AS MATERIALIZED (" \
	"  SELECT s.workflow_id, s.sequence FROM durable.step s" \
	"  WHERE " STEP_TO_COMPLETE(":workflow_id", ":sequence", ":lease", ":attempt", more) \
	"  FOR NO KEY UPDATE SKIP LOCKED)"
#define SET_OUTPUT_OF_FREE_STEP \
	SET_OUTPUT(":output") "FROM free f WHERE s.workflow_id = f.workflow_id AND s.sequence = f.sequence"

extern bool complete_row(Writing *writing, const Look *look, const RecordOutput *p, int32 lease);

/* ---- both (step_pair_write.c) -------------------------------------------------------- */

/* The parameters of both. */
typedef struct CompleteAndClaim
{
	RecordOutput completion;
	InsertStep	claim;
} CompleteAndClaim;

/* So many of the two were done. */
#define COMPLETED_ONLY	1
#define BOTH			2

extern CompleteAndClaim complete_and_claim_values(const StepCompletion *completion, const Claim *claim,
												  const ClaimArgs *args, TimestampTz now);
extern int64 fast_complete_and_claim(const void *params);
extern uint64 complete_with_claim(const StepCompletion *completion, const ClaimArgs *args, const Claim *claim);

/* step_pair_many.c */
extern void complete_and_claim_earlier(const StepCompletion *completion, const ClaimArgs *args, Claim *claim);

#endif							/* DURABLE_STEP_INTERNAL_H */
