/*-------------------------------------------------------------------------
 *
 * step_pair_many.c
 *	  complete_and_claim_many: complete_and_claim of many steps, of any workflows.
 *
 * Does for each element of the arrays what a call of complete_and_claim would, one
 * after the other, by the same decisions; see batch.c for how a batch works.  A
 * step may be claimed by one element and completed by a later one.  So elements are
 * decided in the order of the arrays, each on what those before it leave behind.
 * Time does not pass between them.
 *
 * Locks the trees (shared), in the order of their roots; then the rows of the steps
 * that are there, whether they are completed or claimed again; then the positions
 * of new steps, in the primary key.  Within each kind the order is that of ids,
 * whatever that of the arrays.  What is claimed and completed in one batch is
 * completed last, and is locked already.
 *
 * No interleaving breaks this: each statement asks again for all that the decisions
 * rest on.  If something was overtaken, or had to wait, the subtransaction is rolled
 * back with its locks, and the batch begins anew with a look.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "outcome.h"
#include "step_internal.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_complete_and_claim_many);

/* A step that elements complete or claim. */
typedef struct PairStep
{
	pg_uuid_t	id;
	pg_uuid_t	workflow_id;
	int32		sequence;
	bool		is_there;		/* as it was looked at */
	Workflow	workflow;		/* the same */
	Step		step;			/* as the elements that are decided leave it */
	const Claim *claim;			/* by which it is to be claimed, or NULL */
	const StepCompletion *completion;	/* by which it is to be completed, or NULL; after the claim */
} PairStep;

/* An element. */
typedef struct Pair
{
	int			position;		/* from 0 */
	pg_uuid_t	next_id;		/* of the step that is claimed */
	StepCompletion completion;
	Refusal    *refusal;		/* NULL, or why nothing is done */
	Claim	   *claim;			/* NULL if an argument is refused */
	PairStep   *completed;
	PairStep   *claimed;
} Pair;

/* All of them. */
typedef struct Pairs
{
	int			count;
	Pair	   *elements;		/* in the order of the arrays */
	Pair	  **by_claim;		/* those with a claim, in the order of these */
	Claims		claims;			/* in the order of ids */
	int			step_count;
	PairStep   *steps;			/* in the order of ids */
	const char *argument;		/* which has their ids */
	bool		again;			/* a first attempt was overtaken */
} Pairs;

/* ---- elements and steps ------------------------------------------------------------- */

static int
compare_pairs(const void *a, const void *b)
{
	const Pair *x = *(Pair *const *) a;
	const Pair *y = *(Pair *const *) b;
	int			order = compare_ids(&x->next_id, &y->next_id);

	return order != 0 ? order : x->position - y->position;
}

/* Moves the claims of the elements whose arguments are not refused into the order of ids. */
static void
sort_claims(Pairs *pairs, const Claim *claims)
{
	int			n = 0;

	for (int i = 0; i < pairs->count; i++)
		if (!pairs->elements[i].refusal)
			pairs->by_claim[n++] = &pairs->elements[i];
	qsort(pairs->by_claim, n, sizeof(Pair *), compare_pairs);
	for (int i = 0; i < n; i++)
	{
		Pair	   *pair = pairs->by_claim[i];

		pair->claim = &pairs->claims.elements[i];
		*pair->claim = claims[pair->position];
		pair->claim->answer.step_id = pair->next_id;
	}
	pairs->claims.count = n;
}

static PairStep *
find_step(const Pairs *pairs, const pg_uuid_t *id)
{
	return bsearch(id, pairs->steps, pairs->step_count, sizeof(PairStep), compare_ids);
}

/* Fills in which steps there are, two for an element at most, and which elements complete and claim them. */
static void
group_by_step(Pairs *pairs)
{
	int			count = 2 * pairs->claims.count;
	pg_uuid_t  *ids = palloc(Max(count, 1) * sizeof(pg_uuid_t));
	pg_uuid_t  *id = ids;

	for (int i = 0; i < pairs->claims.count; i++)
	{
		*id++ = pairs->by_claim[i]->completion.id;
		*id++ = pairs->by_claim[i]->next_id;
	}
	qsort(ids, count, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < count; i++)
		if (i == 0 || !same_id(&ids[i], &ids[i - 1]))
		{
			PairStep   *step = &pairs->steps[pairs->step_count++];

			step->id = ids[i];
			step->sequence = id_sequence(&step->id);
			id_workflow(&step->id, &step->workflow_id);
		}
	for (int i = 0; i < pairs->claims.count; i++)
	{
		Pair	   *pair = pairs->by_claim[i];

		pair->completed = find_step(pairs, &pair->completion.id);
		pair->claimed = find_step(pairs, &pair->next_id);
	}
}

/* ---- where nothing is in the way ------------------------------------------------------ */

#define COMPLETE_AND_CLAIM_MANY(P) \
	P(workflow_ids, UUIDARRAYOID) \
	P(sequences, INT4ARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(attempts, INT4ARRAYOID) \
	P(outputs, JSONBARRAYOID) \
	P(next_sequences, INT4ARRAYOID) \
	P(next_names, TEXTARRAYOID) \
	P(next_inputs, JSONBARRAYOID) \
	P(kind, TEXTOID) \
	POLICY(P)
PARAMETERS(CompleteAndClaimMany, COMPLETE_AND_CLAIM_MANY);

/* These, and what the fast path reads instead; the statement leaves the rest alone. */
typedef struct ExpectedPairs
{
	CompleteAndClaimMany params;
	const Pairs *pairs;
	TimestampTz now;
	bool		recorded;		/* by the fast path, for the fence */
} ExpectedPairs;

/*
 * One after the other, as fast_complete_and_claim does it, which waits for nobody.
 * Where one cannot be done, the rest is left: the caller takes back all.
 */
static int64
fast_complete_and_claim_many(const void *params)
{
	ExpectedPairs *expected = (ExpectedPairs *) params;
	const Pairs *pairs = expected->pairs;
	int64		done = 0;

	for (int i = 0; i < pairs->claims.count && done == (int64) BOTH * i; i++)
	{
		const Claim *claim = &pairs->claims.elements[i];
		CompleteAndClaim values = complete_and_claim_values(&pairs->by_claim[i]->completion, claim,
															pairs->claims.args, expected->now);

		int64		of_both = fast_complete_and_claim(&values);

		if (of_both == NOT_FAST)
			break;
		done += of_both;
		/* at once, while it is known where the lease was seen */
		recorded_under(&claim->workflow_id, claim->lease);
	}
	expected->recorded = done > 0;
	return done > 0 ? done : NOT_FAST;
}

/*
 * All the rows that are completed are locked first, without waiting, then all that
 * are claimed are inserted, in order.  A row for each that was done.
 */
static Statement complete_and_claim_many = STATEMENT(CompleteAndClaimMany,
	"WITH free AS MATERIALIZED ("
	"  SELECT b.workflow_id, b.sequence, b.lease, b.output, b.next_sequence, b.next_name, b.next_input, b.n "
	"  FROM ROWS FROM (unnest(:workflow_ids), unnest(:sequences), unnest(:leases), unnest(:attempts),"
	"      unnest(:outputs), unnest(:next_sequences), unnest(:next_names), unnest(:next_inputs))"
	"    WITH ORDINALITY AS b (workflow_id, sequence, lease, attempt, output, next_sequence, next_name, next_input, n) "
	"  CROSS JOIN durable.step s "
	"  WHERE " STEP_TO_COMPLETE("b.workflow_id", "b.sequence", "b.lease", "b.attempt", " AND " OPEN_TO_NEW_AT(":now"))
	"  FOR NO KEY UPDATE OF s SKIP LOCKED), "
	"completed AS (" SET_OUTPUT("f.output")
	"  FROM free f WHERE s.workflow_id = f.workflow_id AND s.sequence = f.sequence "
	"  RETURNING f.workflow_id, f.lease, f.next_sequence, f.next_name, f.next_input, f.n), "
	"claimed AS ("
	INSERT_CLAIMED_STEP("c.workflow_id", "c.next_sequence", "c.lease", "c.next_name", "c.next_input", ":")
	"  FROM completed c WHERE " NO_STEP_AT("c.workflow_id", "c.next_sequence") " ORDER BY c.n" UNLESS_THERE " RETURNING 1) "
	"SELECT 1 FROM completed UNION ALL SELECT 1 FROM claimed",
	.planning = BY_PROBES,.fast = fast_complete_and_claim_many);

static bool
run_expected(Pairs *pairs)
{
	int			count = pairs->claims.count;
	const ClaimArgs *args = pairs->claims.args;
	ExpectedPairs expected = {.pairs = pairs,.now = clock_now()};
	Positions	completed = new_positions(count);
	Elements	leases = new_elements(INT4OID, count);
	Elements	attempts = new_elements(INT4OID, count);
	Elements	outputs = new_elements(JSONBOID, count);
	Elements	next_sequences = new_elements(INT4OID, count);
	Elements	next_names = new_elements(TEXTOID, count);
	Elements	next_inputs = new_elements(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		const StepCompletion *completion = &pairs->by_claim[i]->completion;
		Claim	   *claim = &pairs->claims.elements[i];

		claim->under = claim->lease;
		append_position(&completed, &completion->workflow_id, completion->sequence);
		append_element(&leases, completion->lease);
		append_element(&attempts, completion->attempt);
		append_element(&outputs, completion->output);
		append_element(&next_sequences, an_int(claim->sequence));
		append_element(&next_names, claim->name);
		append_element(&next_inputs, claim->input);
	}
	expected.params = (CompleteAndClaimMany)
	{
		.workflow_ids = array_of(&completed.workflow_ids),.sequences = array_of(&completed.sequences),
		.leases = array_of(&leases),.attempts = array_of(&attempts),.outputs = array_of(&outputs),
		.next_sequences = array_of(&next_sequences),.next_names = array_of(&next_names),
		.next_inputs = array_of(&next_inputs),.kind = kind_value(args->kind),
		POLICY_VALUES(args, expected.now)
	};
	if (run(&complete_and_claim_many, &expected, NEWEST) < (uint64) BOTH * count)
		return false;
	for (int i = 0; i < count; i++)
		step_has_ended(&pairs->by_claim[i]->completion.id, pairs->by_claim[i]->completion.lease, expected.recorded);
	for (int i = 0; i < count && !expected.recorded; i++)
		recorded_under(&pairs->claims.elements[i].workflow_id, pairs->claims.elements[i].lease);
	return true;
}

/*
 * Whether one statement may do all: each step is completed or claimed by one
 * element, whose lease is given, and may be new.
 */
static bool
may_expect_all(const Pairs *pairs)
{
	for (int i = 0; i < pairs->count; i++)
		if (pairs->elements[i].completion.lease.isnull ||
			(pairs->elements[i].claim && is_beyond_max_steps(pairs->elements[i].claim->sequence)))
			return false;
	return pairs->count > 0 && pairs->step_count == 2 * pairs->count;
}

/*
 * Completes and claims all without a look, where the workflows are known.  The
 * statement asks for all that makes it legal.  False if this cannot be tried, or
 * was not done for each: then a look tells why.
 */
static bool
write_as_expected(void *arg)
{
	Pairs	   *pairs = arg;

	for (int i = 0; i < pairs->claims.count; i++)
	{
		pg_uuid_t	root_id;

		if (!try_lock_known_tree(&pairs->claims.elements[i].workflow_id, &root_id))
			return false;
	}
	watch_waits(&pairs->claims.rounds);
	if (!run_expected(pairs) || has_waited(&pairs->claims.rounds, pairs->step_count))
		return false;
	for (int i = 0; i < pairs->claims.count; i++)
	{
		Claim	   *claim = &pairs->claims.elements[i];

		expect_new_step(&claim->workflow_id, claim->sequence + 1);
		answer_new_step(&claim->answer);
	}
	return true;
}

/* ---- decisions -------------------------------------------------------------------------- */

/* Looks at all steps; returns a hash of what it has seen. */
static uint64
look_at_pairs(Pairs *pairs)
{
	Positions	positions = new_positions(pairs->step_count);
	uint64		seen = 0;

	for (int i = 0; i < pairs->step_count; i++)
		append_position(&positions, &pairs->steps[i].workflow_id, pairs->steps[i].sequence);
	look_steps(array_of(&positions.workflow_ids), array_of(&positions.sequences));
	for (int i = 0; i < pairs->step_count; i++)
	{
		PairStep   *s = &pairs->steps[i];

		if (read_look_at_step(i, &s->workflow_id, s->sequence, &s->workflow, &s->step))
			seen = seen * 31 + seen_of(&s->workflow, &s->step);
		s->is_there = s->step.status != NO_TASK;
		s->claim = NULL;
		s->completion = NULL;
	}
	return seen;
}

/* Notes that a step is claimed, for the elements that follow. */
static void
claimed_by(PairStep *s, Claim *claim, const ClaimArgs *args)
{
	/* its holder has claimed it before in this batch, and gets the same answer */
	if (s->claim)
	{
		claim->way = CLAIM_NOTHING;
		return;
	}
	s->claim = claim;
	s->step.status = RUNNING;
	s->step.kind = args->kind;
	s->step.name = TextDatumGetCString(claim->name.value);
	s->step.lease = s->workflow.lease;
	s->step.attempt = DatumGetInt32(claim->answer.attempt.value);
	s->step.executor_id = args->executor_id;
	s->step.deadline = a_null();
}

/* Decides what complete_and_claim would answer, after the elements before this one. */
static void
decide_pair(Pair *pair, const char *argument, const ClaimArgs *args, TimestampTz now)
{
	const StepCompletion *completion = &pair->completion;
	PairStep   *s = pair->completed;
	Claim	   *claim = pair->claim;
	bool		repeated = false;
	Refusal    *refusal;

	claim->way = CLAIM_NOTHING;
	pair->refusal = refuse_to_complete_wait(&s->step, argument);
	if (!pair->refusal)
		pair->refusal = refuse_outcome(&s->workflow, &s->step, argument, completion->lease, completion->attempt);
	if (!pair->refusal)
		pair->refusal = refuse_completion(&s->step, completion->output, &repeated);
	if (pair->refusal)
		return;
	if (!repeated)
	{
		s->completion = completion;
		s->step.status = COMPLETED;
		s->step.output = completion->output;
	}

	s = pair->claimed;
	refusal = refuse_claim_in(&s->workflow, claim->lease, now);
	if (refusal)
	{
		answer_refusal(&claim->answer, refusal);
		return;
	}
	claim->step = s->step;
	decide_claim(&s->workflow, args, now, claim);
	if (claim->way != CLAIM_NOTHING)
		claimed_by(s, claim, args);
}

/* The same for all; returns whether anything is to be written. */
static bool
decide_pairs(Pairs *pairs)
{
	TimestampTz now = clock_now();

	for (int i = 0; i < pairs->count; i++)
		if (pairs->elements[i].claim)
			decide_pair(&pairs->elements[i], pairs->argument, pairs->claims.args, now);
	for (int i = 0; i < pairs->step_count; i++)
		if (pairs->steps[i].claim || pairs->steps[i].completion)
			return true;
	return false;
}

/* ---- locks ------------------------------------------------------------------------------- */

/* Locks the trees in which anything is to be written. */
static void
lock_trees_of(const Pairs *pairs)
{
	pg_uuid_t  *roots = palloc(pairs->step_count * sizeof(pg_uuid_t));
	int			n = 0;

	for (int i = 0; i < pairs->step_count; i++)
		if (pairs->steps[i].claim || pairs->steps[i].completion)
			roots[n++] = pairs->steps[i].workflow.root_id;
	qsort(roots, n, sizeof(pg_uuid_t), compare_ids);
	for (int i = 0; i < n; i++)
		lock_tree(&roots[i], TREE_SHARED);
}

/* ---- workflows that are to end ----------------------------------------------------------- */

/* In the order of workflows, those of one in that of the arrays. */
static int
compare_telling(const void *a, const void *b)
{
	const Pair *x = *(Pair *const *) a;
	const Pair *y = *(Pair *const *) b;
	int			order = compare_ids(&x->claim->workflow_id, &y->claim->workflow_id);

	return order != 0 ? order : x->position - y->position;
}

/*
 * Tells each workflow that is to be told that it is to end by the first element that
 * claims a new position in it.  Returns whether there was one: then another look is
 * due.  The trees are locked, then the workflows' rows in the order of their ids.
 */
static bool
tell_workflows(const Pairs *pairs)
{
	Pair	  **telling = palloc(Max(pairs->count, 1) * sizeof(Pair *));
	int			n = 0;

	for (int i = 0; i < pairs->count; i++)
	{
		Pair	   *pair = &pairs->elements[i];

		if (pair->claim && pair->claim->way == CLAIM_NEW && pair->claimed->workflow.is_untold)
			telling[n++] = pair;
	}
	if (n == 0)
		return false;
	qsort(telling, n, sizeof(Pair *), compare_telling);
	lock_trees_of(pairs);
	for (int i = 0; i < n; i++)
		if (i == 0 || !same_id(&telling[i]->claim->workflow_id, &telling[i - 1]->claim->workflow_id))
			tell_at_claim(&telling[i]->claimed->workflow, telling[i]->claim, pairs->claims.args);
	return true;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* Locks the rows that are to be written and are there. */
static void
lock_rows_of(const Pairs *pairs)
{
	Positions	positions = new_positions(pairs->step_count);

	for (int i = 0; i < pairs->step_count; i++)
	{
		const PairStep *s = &pairs->steps[i];

		if (s->is_there && (s->claim || s->completion))
			append_position(&positions, &s->workflow_id, s->sequence);
	}
	lock_steps(&positions);
}

/* Completes the steps that the batch has claimed, or the others; returns whether all could be. */
static bool
complete_those(const Pairs *pairs, bool that_are_claimed, TimestampTz now)
{
	StepCompletion *completions = palloc(pairs->step_count * sizeof(StepCompletion));
	int			n = 0;

	for (int i = 0; i < pairs->step_count; i++)
	{
		const PairStep *s = &pairs->steps[i];

		if (s->completion && (s->claim != NULL) == that_are_claimed)
			completions[n++] = *s->completion;
	}
	return n == 0 || complete_steps(completions, n, now);
}

/*
 * Does what is decided; false if something was overtaken, or had to wait.  The
 * statement that completes locks rows in the order of ids.  Where other rows are
 * claimed again, all are locked before it; so they are after a first attempt, since
 * the time is to be taken then.
 */
static bool
write_as_decided(void *arg)
{
	Pairs	   *pairs = arg;
	Rounds	   *rounds = &pairs->claims.rounds;
	TimestampTz now;

	lock_trees_of(pairs);
	if (pairs->again || count_claims(&pairs->claims, CLAIM_AGAIN) > 0)
		lock_rows_of(pairs);
	now = clock_now();
	watch_waits(rounds);
	if (!complete_those(pairs, false, now) || has_waited(rounds, pairs->step_count))
		return false;
	return write_claims(&pairs->claims) && complete_those(pairs, true, now);
}

/* Does all that can be done, and leaves the answers in the elements. */
static void
complete_and_claim_all(Pairs *pairs)
{
	/* in a read-only transaction the look still answers a repeated call */
	if (!XactReadOnly && may_expect_all(pairs) && write_batch(write_as_expected, pairs, &pairs->claims.rounds))
		return;
	for (;;)
	{
		uint64		seen = look_at_pairs(pairs);

		if (!decide_pairs(pairs))
			return;
		if (!tell_workflows(pairs) && write_batch(write_as_decided, pairs, &pairs->claims.rounds))
			return;
		pairs->again = true;
		next_round(&pairs->claims.rounds, "durable.step", seen);
	}
}

/*
 * complete_and_claim of a step and an earlier one.  As a batch of one it locks the
 * earlier one first, if both are there.
 */
void
complete_and_claim_earlier(const StepCompletion *completion, const ClaimArgs *args, Claim *claim)
{
	Pair		pair = {.completion = *completion,.next_id = claim->answer.step_id,.claim = claim};
	Pair	   *by_claim = &pair;
	PairStep	steps[2] = {0};
	Pairs		pairs = {
		.count = 1,.elements = &pair,.by_claim = &by_claim,.steps = steps,.argument = "step_id",
		.claims = {.args = args,.count = 1,.elements = claim}
	};

	group_by_step(&pairs);
	complete_and_claim_all(&pairs);
	if (pair.refusal)
		raise_refusal(pair.refusal);
}

/* ---- SQL function --------------------------------------------------------------------------- */

/* What of the arguments of an element complete_and_claim would raise. */
static Refusal *
refuse_arguments(const pg_uuid_t *step_id, int32 sequence)
{
	Refusal    *refusal = refuse_workflow_id(step_id, "step_ids");

	return refusal ? refusal : refuse_sequence(sequence, "sequences");
}

/*
 * complete_and_claim_many(step_ids, outputs, names, leases, attempts, sequences,
 *						   inputs, kind, executor_id, max_retries, backoff,
 *						   backoff_multiplier, max_backoff, timeout)
 */
Datum
durable_complete_and_claim_many(PG_FUNCTION_ARGS)
{
	static const char *const beside[] = {"outputs", "names", "leases", "attempts", "sequences", "inputs"};
	NullableDatum *arg = fcinfo->args;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count = require_batch(arg[0], "step_ids");
	NullableDatum columns[1 + CLAIM_COLUMNS];
	Pairs		pairs = {.count = count,.argument = "step_ids"};
	ClaimArgs	args;
	Claim	   *claims;
	Elements	step_ids;
	Elements	outputs;
	Elements	names;
	Elements	leases;
	Elements	attempts;
	Elements	sequences;
	Elements	inputs;
	Call		call;

	require(arg[2], "names");
	check_array(arg[2], "names");
	for (int i = 0; i < lengthof(beside); i++)
		check_array_beside(arg[1 + i], beside[i], count, "step_ids");
	names = elements_of(arg[2], TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&names, i), "names");
	args = claim_args(arg[7], &arg[8]);

	begin_rows_of(fcinfo, lengthof(columns));
	step_ids = elements_of(arg[0], UUIDOID, count);
	outputs = elements_of(arg[1], JSONBOID, count);
	leases = elements_of(arg[3], INT4OID, count);
	attempts = elements_of(arg[4], INT4OID, count);
	sequences = elements_of(arg[5], INT4OID, count);
	inputs = elements_of(arg[6], JSONBOID, count);
	claims = palloc0(Max(count, 1) * sizeof(Claim));
	pairs.elements = palloc0(Max(count, 1) * sizeof(Pair));
	pairs.by_claim = palloc(Max(count, 1) * sizeof(Pair *));
	pairs.steps = palloc0(Max(2 * count, 1) * sizeof(PairStep));
	pairs.claims.args = &args;
	pairs.claims.elements = palloc0(Max(count, 1) * sizeof(Claim));
	for (int i = 0; i < count; i++)
	{
		Pair	   *pair = &pairs.elements[i];
		const pg_uuid_t *id = DatumGetUUIDP(step_ids.values[i]);
		NullableDatum sequence = element_of(&sequences, i);

		require_fences(id, element_of(&leases, i), "leases", element_of(&attempts, i), "attempts");
		pair->position = i;
		pair->completion = step_completion(id, element_of(&outputs, i), element_of(&leases, i), element_of(&attempts, i));
		claims[i] = (Claim)
		{
			.workflow_id = pair->completion.workflow_id,
			.sequence = sequence.isnull ? id_sequence(id) + 1 : DatumGetInt32(sequence.value),
			.name = element_of(&names, i),.input = element_of(&inputs, i),.lease = pair->completion.lease
		};
		pair->refusal = refuse_arguments(id, claims[i].sequence);
		if (!pair->refusal)
			id_step(&claims[i].workflow_id, claims[i].sequence, &pair->next_id);
	}
	sort_claims(&pairs, claims);
	group_by_step(&pairs);

	call = begin_call(fcinfo);
	complete_and_claim_all(&pairs);
	for (int i = 0; i < count; i++)
	{
		Pair	   *pair = &pairs.elements[i];

		for (int c = 0; c < lengthof(columns); c++)
			columns[c] = a_null();
		columns[0] = an_int(i + 1);
		if (pair->refusal)
			columns[4] = a_value(CStringGetTextDatum(refusal_text(pair->refusal)));
		else
			fill_answer(rsinfo->setDesc, 1, &pair->claim->answer, columns + 1);
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
