/*-------------------------------------------------------------------------
 *
 * control_many.c
 *	  Many at once: cancel_many, resume_failed_many, drain_queue.
 *
 * The first two do for each id what the single call does, one after the other, each in
 * a subtransaction: what the single call would raise is then its answer.  Before that
 * they take the locks that come before those of rows, in the order of all locks: the
 * queues to which something goes back (shared), by name, then the trees (exclusively),
 * by root.  So of two calls only one can wait for the other, and no row in these trees
 * is locked by anybody who waits for them.
 *
 * drain_queue locks the rows of what waits in a queue, and its trees (shared), without
 * waiting for any, as claim does (takeable.c).  What it cancels never ran: it has no
 * steps and nothing below it, so no call but its claim can overlap.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "control.h"
#include "outcome.h"
#include "sql.h"
#include "subtransaction.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_cancel_many);
PG_FUNCTION_INFO_V1(durable_resume_failed_many);
PG_FUNCTION_INFO_V1(durable_drain_queue);

/* ---- trees -------------------------------------------------------------------------- */

#define OF_IDS(P) \
	P(ids, UUIDARRAYOID)
PARAMETERS(OfIds, OF_IDS);

static Statement look_roots = STATEMENT(OfIds,
	"SELECT DISTINCT w.root_id FROM durable.workflow w WHERE w.id = ANY (:ids) ORDER BY w.root_id");

static void
lock_trees(NullableDatum ids)
{
	IdList		roots = {0};

	run(&look_roots, &(OfIds) {.ids = ids}, NEWEST);
	append_result(&roots);
	for (uint64 i = 0; i < roots.count; i++)
		lock_tree(&roots.ids[i], TREE_EXCLUSIVE);
}

/* ---- one after the other -------------------------------------------------------------- */

/* A call that is made for one of many. */
typedef struct One
{
	const pg_uuid_t *id;
	int64		changed;		/* by cancel_tree */
	Workflow	workflow;		/* after resume_failed */
} One;

/* What is done for each: the call, and the columns that answer it, between the id and the error. */
typedef struct ForEach
{
	bool		(*act) (void *one);
	void		(*answer) (const One *one, NullableDatum *columns);
	int			answers;
} ForEach;

#define MOST_COLUMNS 7

/* Makes the call; what it was refused for is returned as text, or NULL. */
static NullableDatum
do_one(const ForEach *each, One *one)
{
	ErrorData  *error;

	(void) in_subtransaction(each->act, one, &error);
	if (error == NULL)
		return a_null();
	/* the errors of ours, and of the id */
	if (strncmp(unpack_sql_state(error->sqlerrcode), "WF", 2) != 0 &&
		error->sqlerrcode != ERRCODE_INVALID_PARAMETER_VALUE)
		ReThrowError(error);
	return a_value(CStringGetTextDatum(psprintf("%s: %s", unpack_sql_state(error->sqlerrcode), error->message)));
}

/* Returns a row for each of the ids: its position, itself, the answer, the error. */
static Datum
do_for_each(FunctionCallInfo fcinfo, const ForEach *each, bool requeues)
{
	int			count = require_batch(fcinfo->args[0], "ids");
	Elements	ids;
	Call		call;

	begin_rows_of(fcinfo, 3 + each->answers);
	ids = elements_of(fcinfo->args[0], UUIDOID, count);
	call = begin_call(fcinfo);
	if (requeues)
		lock_queues_of_failed(fcinfo->args[0], 0, false);
	lock_trees(fcinfo->args[0]);
	for (int i = 0; i < count; i++)
	{
		One			one = {.id = DatumGetUUIDP(ids.values[i])};
		NullableDatum columns[MOST_COLUMNS];
		NullableDatum error = do_one(each, &one);

		columns[0] = an_int(i + 1);
		columns[1] = an_id(one.id);
		for (int n = 0; n < each->answers; n++)
			columns[2 + n] = a_null();
		if (error.isnull)
			each->answer(&one, &columns[2]);
		columns[2 + each->answers] = error;
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}

static bool
cancel_one(void *arg)
{
	One		   *one = arg;

	one->changed = cancel_tree(one->id);
	return true;
}

static void
answer_cancelled(const One *one, NullableDatum *columns)
{
	columns[0] = a_bigint(one->changed);
}

/* cancel_many(ids) */
Datum
durable_cancel_many(PG_FUNCTION_ARGS)
{
	return do_for_each(fcinfo, &(ForEach) {cancel_one, answer_cancelled,.answers = 1}, false);
}

static bool
resume_one(void *arg)
{
	One		   *one = arg;

	resume_failed(one->id, a_null(), 0, &one->workflow);
	return true;
}

static void
answer_resumed(const One *one, NullableDatum *columns)
{
	columns[0] = one->workflow.handler;
	columns[1] = one->workflow.input;
	columns[2] = one->workflow.status_datum;
	columns[3] = an_int(one->workflow.lease);
}

/* resume_failed_many(ids) */
Datum
durable_resume_failed_many(PG_FUNCTION_ARGS)
{
	return do_for_each(fcinfo, &(ForEach) {resume_one, answer_resumed,.answers = 4}, true);
}

/* ---- drain_queue ------------------------------------------------------------------------ */

#define FIND_UNSTARTED(P) \
	P(queue, TEXTOID) \
	P(seen, UUIDARRAYOID) \
	P(most, INT8OID)
PARAMETERS(FindUnstarted, FIND_UNSTARTED);

static Statement find_unstarted = STATEMENT(FindUnstarted,
	"SELECT w.id, w.root_id FROM ("
	"  SELECT p.id FROM durable.pending p WHERE p.queue_name = :queue ORDER BY p.key, p.turn, p.run_at, p.id) p "
	"CROSS JOIN LATERAL ("
	"  SELECT w.id, w.root_id FROM durable.workflow w WHERE w.id = p.id"
	"    AND " CHECKED("w.status = 'PENDING' AND w.lease = 0") " AND NOT w.id = ANY (:seen)"
	"  FOR NO KEY UPDATE SKIP LOCKED) w "
	"LIMIT :most");

#define CANCEL_UNSTARTED(P) \
	P(ids, UUIDARRAYOID) \
	P(now, TIMESTAMPTZOID)
PARAMETERS(CancelUnstarted, CANCEL_UNSTARTED);

static Statement cancel_unstarted = STATEMENT(CancelUnstarted,
	"UPDATE durable.workflow w SET status = {workflow to CANCEL}, completed_at = :now "
	"WHERE w.id = ANY (:ids) AND " CHECKED("w.status = 'PENDING' AND w.lease = 0") " "
	"RETURNING w.id, w.parent_id");

/* Cancels those, which are locked. */
static void
cancel_locked(Datum ids, int count)
{
	IdList		parents = {0};
	IdList		ended = {0};

	if (run(&cancel_unstarted, &(CancelUnstarted) {.ids = a_value(ids),.now = a_time(clock_now())}, NEWEST) < count)
		raise_kept_away("durable.workflow");
	for (int row = 0; row < count; row++)
		if (!result_column(row, 1).isnull)
			append_id(&parents, DatumGetUUIDP(result_value(row, 1)));
	append_array(&ended, ids);
	have_ended(ended.ids, ended.count);
	if (parents.count > 0)
		record_on_stand_ins(ids, (int) parents.count);
	note_news_of_all(&parents);
}

static int64
drain_queue(Datum name, int64 most)
{
	Datum		seen = id_array(NULL, 0);
	int64		left = most;
	int64		page = most;

	lock_queue_to_start(a_value(name));
	while (left > 0 && can_lock_trees_of_claim() &&
		   run(&find_unstarted, &(FindUnstarted)
			   {
				   .queue = a_value(name),.seen = a_value(seen),.most = a_bigint(page)
			   }, NEWEST) > 0)
	{
		int			count;
		Datum		ids = takeable(&seen, left, &count);

		if (count > 0)
			cancel_locked(ids, count);
		left -= count;
		page = next_page(page, left, count);
	}
	return most - left;
}

/* drain_queue(name, max_rows) */
Datum
durable_drain_queue(PG_FUNCTION_ARGS)
{
	int64		count;
	Call		call;

	require_name(fcinfo->args[0], "name");
	require_not_negative(fcinfo->args[1], "max_rows");
	call = begin_call(fcinfo);
	count = drain_queue(fcinfo->args[0].value, PG_GETARG_INT32(1));
	end_call(&call);
	PG_RETURN_INT32((int32) count);
}
