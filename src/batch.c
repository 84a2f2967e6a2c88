/*-------------------------------------------------------------------------
 *
 * batch.c
 *	  Many at once: what batches share, and start_many.  complete_many is in
 *	  batch_complete.c, claim_steps in batch_claim.c.
 *
 * Each element is treated by the rules of the single call, which stand in
 * workflow.c and step.c: one look at all, the decisions in C, then one
 * statement for all to which the same happens.  So the number of statements
 * does not depend on the number of elements.
 *
 * Locks are those of the single calls, in the order of durable.h, and within
 * each kind in the order of ids (names, positions): two batches, or a batch and
 * a single call, wait one for the other and not both.  Rows are locked in the
 * order of the arrays that a statement gets: it reads these first (plans.c),
 * and they are sorted here.
 *
 * What a batch writes it writes in a subtransaction.  If anything was overtaken
 * meanwhile, all of that is given back and the batch begins anew: to come back for
 * one element while it holds the others would be to lock out of order.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(durable_start_many);

/* ---- arrays -------------------------------------------------------------- */

Column
new_column(Oid type, int capacity)
{
	Column		column = {.type = type};

	column.values = palloc(Max(capacity, 1) * sizeof(Datum));
	column.nulls = palloc(Max(capacity, 1) * sizeof(bool));
	return column;
}

void
append_element(Column *column, NullableDatum d)
{
	column->values[column->count] = d.value;
	column->nulls[column->count] = d.isnull;
	column->count++;
}

/* An argument of so many elements; the array NULL is all NULLs. */
Column
column_of(NullableDatum array, Oid type, int count)
{
	Column		column;
	int16		len;
	bool		byval;
	char		align;

	if (array.isnull)
	{
		column = new_column(type, count);
		while (column.count < count)
			append_element(&column, a_null());
		return column;
	}
	column.type = type;
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(array.value), type, len, byval, align,
					  &column.values, &column.nulls, &column.count);
	return column;
}

NullableDatum
element_of(const Column *column, int i)
{
	return column->nulls[i] ? a_null() : a_value(column->values[i]);
}

void
param_column(Params *params, const Column *column)
{
	int			lower = 1;
	int			count = column->count;
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(column->type, &len, &byval, &align);
	param_datum(params, PointerGetDatum(construct_md_array(column->values, column->nulls, 1, &count, &lower,
														   column->type, len, byval, align)));
}

int
compare_ids(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(pg_uuid_t));
}

/* Writes a batch in a subtransaction; false if it was overtaken, and is given back. */
bool
write_batch(bool (*write) (void *batch), void *batch)
{
	ErrorData  *error;
	bool		done = in_subtransaction(write, batch, &error);

	if (error)
		ReThrowError(error);
	return done;
}

/* ---- start_many ---------------------------------------------------------- */

/* An element of start_many. */
typedef struct Start
{
	int			position;		/* from 0 */
	NullableDatum name;
	NullableDatum input;
	struct Root *root;
	/* the answer */
	bool		created;
	TaskStatus	status;
	int32		lease;
	NullableDatum owner;
} Start;

/* A name, with its elements in the order of the array. */
typedef struct Root
{
	Start	  **elements;
	int			count;
	bool		found;
	NullableDatum owner_seen;	/* when its executor was last seen */
	Workflow	workflow;		/* as found; then as it is after the elements so far */
	int32		seen_lease;
	int32		takes;			/* how often it changes hands */
} Root;

/* All of them. */
typedef struct Starts
{
	const StartArgs *args;
	int			count;
	Start	   *elements;
	int			root_count;
	Root	   *roots;			/* in the order of names */
	Rounds		rounds;
} Starts;

static int
compare_starts(const void *a, const void *b)
{
	const Start *x = *(Start *const *) a;
	const Start *y = *(Start *const *) b;
	text	   *s = DatumGetTextPP(x->name.value);
	text	   *t = DatumGetTextPP(y->name.value);
	int			s_len = VARSIZE_ANY_EXHDR(s);
	int			t_len = VARSIZE_ANY_EXHDR(t);
	int			order = memcmp(VARDATA_ANY(s), VARDATA_ANY(t), Min(s_len, t_len));

	if (order == 0)
		order = s_len - t_len;
	return order != 0 ? order : x->position - y->position;
}

static int
compare_roots(const void *a, const void *b)
{
	return compare_ids(&(*(Root *const *) a)->workflow.id, &(*(Root *const *) b)->workflow.id);
}

/* Groups the elements by name, in the order of names. */
static int
group_starts(Start *starts, int count, Root *roots)
{
	Start	  **sorted = palloc(count * sizeof(Start *));
	int			n = 0;

	for (int i = 0; i < count; i++)
		sorted[i] = &starts[i];
	qsort(sorted, count, sizeof(Start *), compare_starts);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || !same_text(sorted[i]->name, sorted[i - 1]->name))
			roots[n++] = (Root) {.elements = &sorted[i]};
		roots[n - 1].count++;
		sorted[i]->root = &roots[n - 1];
	}
	return n;
}

/* Looks at the active roots of all names. */
static void
look_roots(Starts *starts)
{
	Params		params = {0};
	Column		names = new_column(TEXTOID, starts->root_count);

	for (int i = 0; i < starts->root_count; i++)
		append_element(&names, starts->roots[i].elements[0]->name);
	param_column(&params, &names);
	run_plan(PLAN_LOOK_ACTIVE_ROOTS, &params, NEWEST);
	for (int i = 0; i < starts->root_count; i++)
		starts->roots[i].found = read_active_root(i, &starts->roots[i].workflow, &starts->roots[i].owner_seen);
}

/*
 * What the calls of start for one name come to, one after the other: the first
 * creates the root where there is none, each of them may become its owner.
 */
static void
decide_root(Root *root, const StartArgs *args, TimestampTz stale_before)
{
	Workflow   *workflow = &root->workflow;

	root->takes = 0;
	root->seen_lease = workflow->lease;
	for (int i = 0; i < root->count; i++)
	{
		Start	   *start = root->elements[i];

		start->created = !root->found && i == 0;
		if (!start->created)
		{
			Attaching	how = attaching(workflow, args->executor_id, false, true);

			if (how == OWNS ||
				(how == OWNS_IF_DEAD &&
				 (root->owner_seen.isnull || DatumGetTimestampTz(root->owner_seen.value) < stale_before)))
			{
				root->takes++;
				workflow->lease++;
				workflow->status = RUNNING;
				workflow->executor_id = args->executor_id;
			}
		}
		start->status = workflow->status;
		start->lease = workflow->lease;
		start->owner = owner_of(workflow);
	}
}

/* The same for all names; returns whether anything is to be written. */
static bool
decide_roots(Starts *starts)
{
	TimestampTz stale_before = clock_stale_before(clock_now(), a_null());
	bool		writes = false;

	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		if (!root->found)
			fill_started(&root->workflow, starts->args);
		decide_root(root, starts->args, stale_before);
		writes = writes || !root->found || root->takes > 0;
	}
	return writes;
}

/* Creates the roots that were not found, under new ids in the order of the array; false if somebody was faster. */
static bool
create_roots(Starts *starts, Datum *created)
{
	const StartArgs *args = starts->args;
	Params		params = {0};
	Column		ids = new_column(UUIDOID, starts->root_count);
	Column		names = new_column(TEXTOID, starts->root_count);
	Column		inputs = new_column(JSONBOID, starts->root_count);
	Column		times = new_column(TIMESTAMPTZOID, starts->root_count);
	Column		leases = new_column(INT4OID, starts->root_count);
	int64		ns = clock_ns();

	for (int i = 0; i < starts->count; i++)
		if (starts->elements[i].created)
			new_root_id(ns, starts->elements[i].name.value, "names", &starts->elements[i].root->workflow.id);
	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		if (root->found)
			continue;
		append_element(&ids, a_value(UUIDPGetDatum(&root->workflow.id)));
		append_element(&names, root->elements[0]->name);
		append_element(&inputs, root->elements[0]->input);
		append_element(&times, a_value(TimestampTzGetDatum(id_created_at(&root->workflow.id))));
		append_element(&leases, a_value(Int32GetDatum(root->workflow.lease)));
		remember_tree(&root->workflow.id, &root->workflow.id);
		expect_new_step(&root->workflow.id, 0);
	}
	if (ids.count == 0)
	{
		*created = id_array(NULL, 0);
		return true;
	}
	param_column(&params, &ids);
	param_column(&params, &names);
	param_column(&params, &inputs);
	param_start(&params, args);
	param_column(&params, &times);
	param_column(&params, &leases);
	if (run_plan(PLAN_START_MANY, &params, NEWEST) < ids.count)
		return false;
	*created = result_ids(0);
	return true;
}

/*
 * Makes the executor the owner of those that were found and change hands, in the
 * order of ids, and fences their inline descendants; false if one was overtaken.
 */
static bool
take_roots(Root **taken, int count, const StartArgs *args)
{
	Params		params = {0};
	Column		ids = new_column(UUIDOID, count);
	Column		leases = new_column(INT4OID, count);
	Column		takes = new_column(INT4OID, count);
	pg_uuid_t  *fenced = palloc(count * sizeof(pg_uuid_t));
	Datum		all;
	TimestampTz now;

	if (count == 0)
		return true;
	for (int i = 0; i < count; i++)
	{
		append_element(&ids, a_value(UUIDPGetDatum(&taken[i]->workflow.id)));
		append_element(&leases, a_value(Int32GetDatum(taken[i]->seen_lease)));
		append_element(&takes, a_value(Int32GetDatum(taken[i]->takes)));
		fenced[i] = taken[i]->workflow.id;
	}
	all = id_array(fenced, count);
	lock_workflows(all);
	ask_before_raising(fenced, count);
	now = clock_now();
	param_column(&params, &ids);
	param(&params, args->executor_id);
	param_time(&params, now);
	param_column(&params, &leases);
	param_column(&params, &takes);
	if (run_plan(PLAN_TAKE_MANY, &params, NEWEST) < count)
		return false;
	for (int i = 0; i < count; i++)
		raised_lease_of(&fenced[i]);
	cascade_below(CASCADE_FENCE, all, 0, now);
	return true;
}

/*
 * Does what was decided; false if anything was overtaken, or had to wait for
 * another start.
 *
 * Locks the executor's row, the queue (shared), the trees of those that change
 * hands (shared, in the order of ids), then, in the order of names, the new names
 * in the unique index of active roots, the rows that change hands and those of
 * their unfinished inline descendants.
 */
static bool
start_roots(void *arg)
{
	Starts	   *starts = arg;
	const StartArgs *args = starts->args;
	Root	  **taken = palloc(starts->root_count * sizeof(Root *));
	int			taken_count = 0;
	int			created_count = 0;
	int64		registered;
	Datum		created;

	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		if (!root->found)
			created_count++;
		else if (root->takes > 0)
			taken[taken_count++] = root;
	}
	registered = register_executor(args->executor_id, a_null());
	if (created_count > 0)
		lock_queue_to_start(args->queue, clock_now());
	qsort(taken, taken_count, sizeof(Root *), compare_roots);
	for (int i = 0; i < taken_count; i++)
		lock_tree(&taken[i]->workflow.id, TREE_SHARED);

	starts->rounds.since = clock_monotonic();
	if (!create_roots(starts, &created) || has_waited(&starts->rounds, created_count) ||
		!take_roots(taken, taken_count, args))
		return false;
	register_again(args->executor_id, registered);
	started_waiting(args->queue, DatumGetInt32(args->priority.value), args->run_at, created);
	return true;
}

/*
 * start_many(names, inputs, handler, executor_id, queue, priority, run_at,
 *			  timeout, max_recovery_attempts, app_version)
 *
 * Nothing is locked or written where all are only joined; see start_roots for
 * the rest.
 */
Datum
durable_start_many(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[0];
	NullableDatum inputs = fcinfo->args[1];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StartArgs	args;
	Column		name_column;
	Column		input_column;
	Starts		starts = {.args = &args};
	int			count = require_batch(names, "names");
	uint64		seen;
	Call		call;
	NullableDatum columns[6];

	check_array_beside(inputs, "inputs", count, "names");
	name_column = column_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&name_column, i), "names");
	args = start_args(fcinfo);

	begin_rows_of(fcinfo, lengthof(columns));
	input_column = column_of(inputs, JSONBOID, count);
	starts.count = count;
	starts.elements = palloc0(Max(count, 1) * sizeof(Start));
	starts.roots = palloc0(Max(count, 1) * sizeof(Root));
	for (int i = 0; i < count; i++)
		starts.elements[i] = (Start) {
			.position = i,.name = element_of(&name_column, i),.input = element_of(&input_column, i)
		};
	starts.root_count = group_starts(starts.elements, count, starts.roots);

	call = begin_call(fcinfo);
	for (;; next_round(&starts.rounds, "durable.workflow", seen))
	{
		look_roots(&starts);
		seen = 0;
		for (int i = 0; i < starts.root_count; i++)
			seen = seen * 31 + (starts.roots[i].found ? seen_of(&starts.roots[i].workflow, NULL) : 0);
		if (!decide_roots(&starts) || write_batch(start_roots, &starts))
			break;
	}

	for (int i = 0; i < count; i++)
	{
		Start	   *start = &starts.elements[i];

		columns[0] = a_value(Int32GetDatum(i + 1));
		columns[1] = a_value(UUIDPGetDatum(&start->root->workflow.id));
		columns[2] = a_value(BoolGetDatum(start->created));
		columns[3] = a_value(enum_datum(column_type(rsinfo->setDesc, 3), status_label(start->status)));
		columns[4] = a_value(Int32GetDatum(start->lease));
		columns[5] = start->owner;
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
