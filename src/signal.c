/*-------------------------------------------------------------------------
 *
 * signal.c
 *	  Signals are sent: signal, signal_root.
 *
 * A sender locks the tree (shared), so that no cascade overlaps it and purge does not
 * delete the workflow meanwhile, then writes one row.  It locks no row of the
 * workflow: any number may send at once.  Who sends one of the same key waits for the
 * first one's outcome, in the index of keys.  The statement asks again that the
 * workflow is unfinished.
 *
 * How many signals nobody has taken is not counted by who sends: that would cost the
 * more the more they are, or all would have to write to one row.  One signal of a
 * hundred is of those that are counted, by the turn of each session.  Such a one
 * counts those there are; the others read the newest of them, which says how many there
 * were, and count them only where it says too many.
 *
 *-------------------------------------------------------------------------
 */
#include "buckets.h"
#include "plan.h"
#include "signal.h"
#include "sql.h"
#include "suspend.h"
#include "table.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_signal);
PG_FUNCTION_INFO_V1(durable_signal_root);

/* What is sent. */
typedef struct Sending
{
	NullableDatum name;
	NullableDatum payload;
	NullableDatum key;
} Sending;

/* ---- how many are there --------------------------------------------------------- */

/* At most so many of those that are counted, one of a hundred, are kept untaken. */
#define ONE_OF			100
#define MOST_COUNTED	100

#define COUNTED \
	"FROM durable.signal g WHERE g.workflow_id = :workflow_id AND g.sequence IS NULL AND g.counted IS NOT NULL "

#define COUNT_SIGNALS(P) \
	P(workflow_id, UUIDOID) \
	P(most, INT8OID)
PARAMETERS(CountSignals, COUNT_SIGNALS);

static Statement look_counted = STATEMENT(CountSignals,
	"SELECT g.id " COUNTED "LIMIT :most");

/*
 * Whether it is the turn of one that is counted: one in each hundred of a session,
 * nobody knows which.  Different workflows mostly have turns of their own.
 */
static bool
is_counted(const pg_uuid_t *workflow_id)
{
	static struct
	{
		int			left;
		int			counted;
	}			turns[64];
	Size		turn = hash_bytes(workflow_id->data, UUID_LEN) % lengthof(turns);

	if (turns[turn].left == 0)
	{
		turns[turn].left = ONE_OF;
		turns[turn].counted = (int) pg_prng_uint64_range(&pg_global_prng_state, 1, ONE_OF);
	}
	return turns[turn].left-- == turns[turn].counted;
}

/* ---- sending ------------------------------------------------------------------------ */

#define INSERT_SIGNAL(P) \
	P(id, UUIDOID) \
	P(workflow_id, UUIDOID) \
	P(name, TEXTOID) \
	P(key, TEXTOID) \
	P(payload, JSONBOID) \
	P(now, TIMESTAMPTZOID) \
	P(is_counted, BOOLOID) \
	P(most, INT4OID)
PARAMETERS(InsertSignal, INSERT_SIGNAL);

/* Where there are so many that it matters, it is left to the statement; and where somebody may have sent that key. */
static bool
may_be_too_many(const InsertSignal *p)
{
	Look		look;
	bool		too_many;

	if (p->most.isnull)
		return false;
	if (!begin_look_at_last(&look, &signal_counted_of, AccessShareLock, (Key[]) {IS_ID(signal_workflow_id, p->workflow_id)}, 1))
		return true;
	too_many = look.row && int_of_row(&look, signal_counted) >= DatumGetInt32(p->most.value);
	end_look(&look);
	return too_many;
}

static bool
can_be_signalled(NullableDatum id)
{
	Look		look;
	TaskStatus	status;
	bool		can;

	if (!begin_look(&look, &workflow_by_id, AccessShareLock, (Key[]) {IS_ID(workflow_id, id)}, 1))
		return false;
	can = look.row && workflow_transition(EVENT_SIGNAL, status_of_row(&look, workflow_status), &status);
	end_look(&look);
	return can;
}

static int64
fast_insert_signal(const void *params)
{
	const InsertSignal *p = params;
	Look		look;
	Writing		writing;
	bool		done;

	if (XactReadOnly || !p->key.isnull || DatumGetBool(p->is_counted.value) ||
		!can_be_signalled(p->workflow_id) || may_be_too_many(p) ||
		!begin_without_look(&look, &signal_by_id, RowExclusiveLock))
		return NOT_FAST;
	begin_writing(&writing, &look);
	new_row(&writing);
	set(&writing, signal_id, p->id);
	set(&writing, signal_workflow_id, p->workflow_id);
	set(&writing, signal_name, p->name);
	set(&writing, signal_key, p->key);
	set(&writing, signal_payload, p->payload);
	set(&writing, signal_sent_at, p->now);
	set(&writing, signal_counted, a_null());
	done = end_row(&writing) && insert_row_unless_there(&writing);
	end_writing(&writing);
	end_look(&look);
	return done ? 1 : NOT_FAST;
}

/* :most is NULL where they were counted just before */
static Statement insert_signal = STATEMENT(InsertSignal,
	"INSERT INTO durable.signal (id, workflow_id, name, key, payload, sent_at, counted) "
	"SELECT :id, w.id, :name, :key, :payload, :now, CASE WHEN :is_counted THEN (SELECT 1 + count(*)::int " COUNTED ") END "
	"FROM durable.workflow w "
	"WHERE w.id = :workflow_id AND " CHECKED("w.status = ANY {workflow from SIGNAL}")
	"  AND (:most IS NULL OR coalesce((SELECT g.counted " COUNTED "ORDER BY g.id DESC LIMIT 1), 0) < :most) "
	"ON CONFLICT DO NOTHING",
	.planning = IN_ORDER,.fast = fast_insert_signal);

#define DELETE_SIGNAL(P) \
	P(workflow_id, UUIDOID) \
	P(id, UUIDOID)
PARAMETERS(DeleteSignal, DELETE_SIGNAL);

static Statement delete_signal = STATEMENT(DeleteSignal,
	"DELETE FROM durable.signal g WHERE g.workflow_id = :workflow_id AND g.id = :id");

/*
 * Writes the row, under the tree's lock; false if that is not legal, or may not be.
 * Where that has waited for a sender of the same key, who was rolled back then, the time
 * and the id are too old: it is written again.
 */
static bool
insert(const pg_uuid_t *workflow_id, const Sending *sending, bool was_counted, Rounds *rounds)
{
	pg_uuid_t	id;

	/* before the id is made (signal_settled.c) */
	if (!XactReadOnly)
		(void) GetCurrentTransactionId();
	for (;;)
	{
		new_workflow_id(clock_ns(), id_bucket(workflow_id), &id);
		watch_waits(rounds);
		if (run(&insert_signal, &(InsertSignal)
				{
					.id = an_id(&id),.workflow_id = an_id(workflow_id),.name = sending->name,.key = sending->key,
					.payload = sending->payload,.now = a_time(id_created_at(&id)),
					.is_counted = a_bool(is_counted(workflow_id)),.most = was_counted ? a_null() : an_int(MOST_COUNTED)
				}, NEWEST) == 0)
			return false;
		if (sending->key.isnull || !has_waited(rounds, 1))
			break;
		run(&delete_signal, &(DeleteSignal) {.workflow_id = an_id(workflow_id),.id = an_id(&id)}, NEWEST);
	}
	wake_for_signal(workflow_id, sending->name);
	note_news_of(workflow_id);
	return true;
}

#define LOOK_KEY(P) \
	P(workflow_id, UUIDOID) \
	P(name, TEXTOID) \
	P(key, TEXTOID)
PARAMETERS(LookKey, LOOK_KEY);

static Statement look_key = STATEMENT(LookKey,
	"SELECT 1 FROM durable.signal g WHERE g.workflow_id = :workflow_id AND g.name = :name AND g.key = :key");

/* In the runs in which a workflow went on: what it had not taken has moved there. */
static Statement look_key_in_next_runs = STATEMENT(LookKey,
	"WITH RECURSIVE next AS ("
	"  SELECT w.continued_as AS id FROM durable.workflow w WHERE w.id = :workflow_id AND w.continued_as IS NOT NULL "
	"  UNION ALL "
	"  SELECT w.continued_as FROM next n CROSS JOIN LATERAL ("
	"    SELECT o.continued_as FROM durable.workflow o WHERE o.id = n.id AND o.continued_as IS NOT NULL OFFSET 0) w) "
	"SELECT 1 FROM next n CROSS JOIN LATERAL ("
	"  SELECT 1 FROM durable.signal o WHERE o.workflow_id = n.id AND o.name = :name AND o.key = :key OFFSET 0) g LIMIT 1");

/* Whether one of that key was sent, as far as that statement looks. */
static bool
was_sent(Statement *look, const pg_uuid_t *workflow_id, const Sending *sending)
{
	return !sending->key.isnull &&
		run(look, &(LookKey)
			{
				.workflow_id = an_id(workflow_id),.name = sending->name,.key = sending->key
			}, NEWEST) > 0;
}

/* What forbids to send to a workflow. */
static Refusal *
refuse_signal(const Workflow *workflow)
{
	if (workflow->status == COMPLETED || workflow->status == FAILED)
		return refuse_finished(workflow);
	if (!workflow_transition(EVENT_SIGNAL, workflow->status, NULL))
		return refuse_workflow_status(workflow, EVENT_SIGNAL);
	if (run(&look_counted, &(CountSignals)
			{
				.workflow_id = an_id(&workflow->id),.most = a_bigint(MOST_COUNTED)
			}, NEWEST) >= MOST_COUNTED)
		return refuse_too_many_signals(workflow);
	return NULL;
}

/*
 * Sends a signal: true if this call did it, false if one of its key was sent
 * before, whatever has become of the workflow since, or if it is refused.
 *
 * Where the tree is known, the statement goes first, and the look only tells why it
 * did nothing.
 */
static bool
send_signal(const pg_uuid_t *workflow_id, const Sending *sending, Refusal **refusal)
{
	pg_uuid_t	root_id;
	Workflow	workflow;
	Rounds		rounds = {0};

	*refusal = NULL;
	if (!XactReadOnly && try_lock_known_tree(workflow_id, &root_id))
	{
		if (insert(workflow_id, sending, false, &rounds))
			return true;
		unlock_known_tree(&root_id);
	}
	for (;; next_round(&rounds, "durable.signal", seen_of(&workflow, NULL)))
	{
		if (was_sent(&look_key, workflow_id, sending))
			return false;
		look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
		remember_tree(workflow_id, &workflow.root_id);
		if (workflow.status == COMPLETED && was_sent(&look_key_in_next_runs, workflow_id, sending))
			return false;
		if ((*refusal = refuse_signal(&workflow)) != NULL)
			return false;
		lock_tree(&workflow.root_id, TREE_SHARED);
		if (insert(workflow_id, sending, true, &rounds))
			return true;
	}
}

/* signal(workflow_id, name, payload, key) */
Datum
durable_signal(PG_FUNCTION_ARGS)
{
	Sending		sending = {.name = fcinfo->args[1],.payload = fcinfo->args[2],.key = fcinfo->args[3]};
	Refusal    *refusal;
	bool		sent;
	Call		call;

	require(fcinfo->args[0], "workflow_id");
	require_name(sending.name, "name");
	check_name(sending.key, "key");

	call = begin_call(fcinfo);
	sent = send_signal(PG_GETARG_UUID_P(0), &sending, &refusal);
	if (refusal)
		raise_refusal(refusal);
	end_call(&call);
	PG_RETURN_BOOL(sent);
}

/* signal_root(name, signal, payload, key) */
Datum
durable_signal_root(PG_FUNCTION_ARGS)
{
	Sending		sending = {.name = fcinfo->args[1],.payload = fcinfo->args[2],.key = fcinfo->args[3]};
	Workflow	root;
	bool		sent;
	Call		call;

	require_name(fcinfo->args[0], "name");
	require_name(sending.name, "signal");
	check_name(sending.key, "key");

	call = begin_call(fcinfo);
	require_bucket_of_name(fcinfo->args[0].value, "name");
	for (;;)
	{
		Refusal    *refusal;

		CHECK_FOR_INTERRUPTS();
		if (!look_active_root(fcinfo->args[0].value, &root))
			raise_refusal(refuse_no_active_root(TextDatumGetCString(fcinfo->args[0].value)));
		sent = send_signal(&root.id, &sending, &refusal);
		if (refusal == NULL)
			break;
		/* it has ended since: there may be another by now */
		if (refusal->sqlstate != ERRCODE_WORKFLOW_FINISHED && refusal->sqlstate != ERRCODE_TASK_CANCELLED)
			raise_refusal(refusal);
	}
	end_call(&call);
	PG_RETURN_BOOL(sent);
}
