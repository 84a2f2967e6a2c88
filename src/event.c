/*-------------------------------------------------------------------------
 *
 * event.c
 *	  Events: what a workflow says while it runs.  emit and events.
 *
 * A workflow's events have the numbers 1, 2 ... without gaps, in the order in
 * which they commit: who sees one sees all before it.  So a reader who asks for
 * those after the last one that it has seen misses none.
 *
 * That takes one emitter at a time: only when the one before has committed, or
 * has been rolled back, is it known which number is next.  emit locks the tree
 * (shared), so that no cascade overlaps it, then the workflow's events
 * (exclusively, to the end of the transaction), and takes nothing more.  Those who
 * emit in other workflows, and all other calls, do not wait for that.
 *
 * The lock makes a line of those who wait.  It is the primary key that lets no
 * two have one number: beyond some workflows a transaction takes no more such
 * locks (lock.c), and then emitters meet at the key.  The last number is read from
 * there, too, so the cost does not grow with the number of events.
 *
 * No interleaving breaks this: the statement asks itself for all that makes the
 * event legal, after both locks are held, and writes nothing where something
 * overtook it.  Then the call looks, which tells why.  What is written under a
 * lease commits only if the lease still holds then (fence.c).
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "wake.h"

#include "access/xact.h"

PG_FUNCTION_INFO_V1(durable_emit);
PG_FUNCTION_INFO_V1(durable_events);

/* ---- emit ------------------------------------------------------------------------ */

#define INSERT_EVENT(P) \
	P(workflow_id, UUIDOID) \
	P(lease, INT4OID) \
	P(topic, TEXTOID) \
	P(payload, JSONBOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(InsertEvent, INSERT_EVENT);

static Statement insert_event = STATEMENT(InsertEvent,
	"INSERT INTO durable.event AS e (workflow_id, n, topic, payload, emitted_at) "
	"SELECT w.id, 1 + COALESCE(("
	"    SELECT o.n FROM durable.event o WHERE o.workflow_id = :workflow_id ORDER BY o.n DESC LIMIT 1), 0),"
	"  :topic, :payload, :now "
	"FROM durable.workflow w "
	"WHERE w.id = :workflow_id AND (:lease IS NULL OR w.lease = :lease) AND " OPEN_AT(":now") " "
	"ON CONFLICT (workflow_id, n) DO NOTHING RETURNING e.n");

/* What forbids to emit: what forbids to claim a new step. */
static Refusal *
refuse_event(const Workflow *workflow, NullableDatum lease)
{
	Refusal    *refusal = refuse_claim_in(workflow, lease, clock_now());

	if (refusal == NULL && workflow->status != RUNNING)
		return refuse_finished(workflow);
	return refusal;
}

/* Looks at a workflow, and raises what forbids to emit in it. */
static void
look_to_emit(const pg_uuid_t *id, NullableDatum lease, Workflow *workflow)
{
	Refusal    *refusal;

	look_workflow_or_raise(id, "workflow_id", NEWEST, workflow);
	refusal = refuse_event(workflow, lease);
	if (refusal)
		raise_refusal(refusal);
	remember_tree(id, &workflow->root_id);
}

/*
 * Appends an event, under the tree's lock, and returns its number; 0 if that is
 * not legal, or if another has got the number.
 */
static int64
append_event(const InsertEvent *event)
{
	InsertEvent values = *event;

	lock_events(DatumGetUUIDP(event->workflow_id.value));
	values.now = a_time(clock_now());
	if (run(&insert_event, &values, NEWEST) == 0)
		return 0;
	recorded_under(DatumGetUUIDP(event->workflow_id.value), event->lease);
	note_event(DatumGetUUIDP(event->workflow_id.value));
	return DatumGetInt64(result_value(0, 0));
}

/* Where the tree is known the statement goes first, and the look only tells why it did nothing. */
static int64
emit(const pg_uuid_t *id, const InsertEvent *event)
{
	pg_uuid_t	root_id;
	/* in a read-only transaction the look still tells what forbids it */
	bool		locked = !XactReadOnly && try_lock_known_tree(id, &root_id);
	Workflow	workflow;
	Rounds		rounds = {0};

	for (;; next_round(&rounds, "durable.event", seen_of(&workflow, NULL)))
	{
		int64		n = locked ? append_event(event) : 0;

		if (n > 0)
			return n;
		look_to_emit(id, event->lease, &workflow);
		if (!locked)
			lock_tree(&workflow.root_id, TREE_SHARED);
		locked = true;
	}
}

/* emit(workflow_id, topic, payload, lease) */
Datum
durable_emit(PG_FUNCTION_ARGS)
{
	InsertEvent event = {
		.workflow_id = fcinfo->args[0],.topic = fcinfo->args[1],.payload = fcinfo->args[2],.lease = fcinfo->args[3]
	};
	int64		n;
	Call		call;

	require(event.workflow_id, "workflow_id");
	require_name(event.topic, "topic");
	require_fence(event.lease, "lease");

	call = begin_call(fcinfo);
	n = emit(PG_GETARG_UUID_P(0), &event);
	end_call(&call);
	PG_RETURN_INT64(n);
}

/* ---- events ----------------------------------------------------------------------- */

#define EVENTS_AFTER(P) \
	P(workflow_id, UUIDOID) \
	P(topic, TEXTOID) \
	P(after, INT8OID) \
	P(max_rows, INT4OID)
PARAMETERS(EventsAfter, EVENTS_AFTER);

#define SELECT_EVENTS \
	"SELECT e.n, e.topic, e.payload, e.emitted_at FROM durable.event e WHERE e.workflow_id = :workflow_id "

/* by the primary key */
static Statement events_after = STATEMENT(EventsAfter,
	SELECT_EVENTS "AND e.n > :after ORDER BY e.n LIMIT :max_rows");

/*
 * By the index event_topic, in whose words it is: no other index has that order.
 * So events of other topics are not read, however many come between.
 */
static Statement events_of_topic_after = STATEMENT(EventsAfter,
	SELECT_EVENTS "AND (e.topic, e.n) > (:topic, :after) AND e.topic <= :topic ORDER BY e.topic, e.n LIMIT :max_rows");

static uint64
look_events(const EventsAfter *asked, View view)
{
	return run(asked->topic.isnull ? &events_after : &events_of_topic_after, asked, view);
}

/* The number of the first event after that one (of a topic, or NULL); NULL if there is none. */
NullableDatum
look_event(NullableDatum workflow_id, NullableDatum topic, NullableDatum after)
{
	EventsAfter asked = {.workflow_id = workflow_id,.topic = topic,.after = after,.max_rows = an_int(1)};

	return look_events(&asked, NEWEST) > 0 ? result_column(0, 0) : a_null();
}

/*
 * events(workflow_id, topic, after, max_rows)
 *
 * Locks nothing.
 */
Datum
durable_events(PG_FUNCTION_ARGS)
{
	EventsAfter asked = {
		.workflow_id = fcinfo->args[0],.topic = fcinfo->args[1],.after = fcinfo->args[2],.max_rows = fcinfo->args[3]
	};
	Workflow	workflow;
	Call		call;

	require(asked.workflow_id, "workflow_id");
	check_name(asked.topic, "topic");
	require_not_negative_bigint(asked.after, "after");
	require_not_negative(asked.max_rows, "max_rows");

	begin_rows(fcinfo);
	call = begin_call(fcinfo);
	/* no event: there are no more of them, or there is no such workflow */
	if (look_events(&asked, CALLERS) == 0)
		look_workflow_or_raise(PG_GETARG_UUID_P(0), "workflow_id", CALLERS, &workflow);
	else
		return_rows(fcinfo);
	end_call(&call);
	return (Datum) 0;
}
