/*-------------------------------------------------------------------------
 *
 * workflow_start.c
 *	  start and start_many.
 *
 * start is a batch of one.  A batch looks at the active roots of all names, decides
 * in C what the calls of start answer, one after the other, then acts: it creates
 * what was not found, and takes what changes hands.  So the number of statements
 * does not depend on the number of names.
 *
 * Nothing is locked or written where all are only joined.  Else it locks the
 * executor's row, the queue (shared), the trees of those that change hands (shared,
 * in the order of ids), then, in the order of names, the new names in the unique
 * index of active roots, the rows that change hands and those of their unfinished
 * inline descendants.  A second caller of a name waits at the unique index and then
 * finds the first one's workflow.  What is done about other namesakes, finished ones
 * and those that never ran, is in namesake.c.
 *
 * Several names are written in a subtransaction, which is rolled back if anything
 * was overtaken (batch.c).  One name needs none: either nothing was written, or one
 * new row, which is deleted again.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "buckets.h"
#include "gather.h"
#include "namesake.h"
#include "privileges.h"
#include "register.h"
#include "sql.h"
#include "table.h"
#include "tags.h"

#include "access/xact.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(durable_start);
PG_FUNCTION_INFO_V1(durable_start_many);

/* An element of a batch. */
typedef struct Start
{
	int			position;		/* from 0 */
	NewRoot		values;
	struct Root *root;
	/* the answer */
	bool		created;
	bool		replaced;
	TaskStatus	status;
	int32		lease;
	NullableDatum owner;
} Start;

/* What there is under a name. */
typedef enum Found
{
	FOUND_NOTHING,
	FOUND_ACTIVE,
	FOUND_FINISHED				/* which is the answer */
} Found;

/* A name, with its elements in the order of the array. */
typedef struct Root
{
	Start	  **elements;
	int			count;
	Found		found;
	bool		owner_dead;		/* not registered, or silent for too long */
	bool		other_version;	/* than the executor's */
	Workflow	workflow;		/* as found; then as it is after the elements so far */
	int32		seen_lease;
	int32		takes;			/* how often it changes hands */
	bool		is_replaced;
	const NewRoot *values;		/* what it gets, if it is created or replaced */
} Root;

/* All of them. */
typedef struct Starts
{
	const StartArgs *args;
	const char *argument;		/* that has the names */
	int			count;
	Start	   *elements;
	int			root_count;
	Root	   *roots;			/* in the order of names */
	bool		is_guess;		/* that no name is taken: only one was looked for */
	bool		met_another;	/* a statement is to wait for who has taken a name */
	Rounds		rounds;
} Starts;

/* ---- statements: looking --------------------------------------------------------- */

#define ACTIVE_ROOT(P) \
	P(name, TEXTOID)
PARAMETERS(ActiveRoot, ACTIVE_ROOT);

/* Finds that there is none; a root that is there is left to the statement. */
static int64
fast_no_active_root(const void *params)
{
	const ActiveRoot *p = params;

	return fast_none(&active_root_by_name, (Key[]) {IS_TEXT(active_root_name, p->name)}, 1);
}

static Statement look_root = STATEMENT(ActiveRoot,
	"SELECT " COLUMNS(WORKFLOW_LIST, "w.") " FROM durable.active_root r JOIN durable.workflow w ON w.id = r.id "
	"WHERE r.name = :name",
	.fast = fast_no_active_root);

#define ACTIVE_ROOTS(P) \
	P(names, TEXTARRAYOID)
PARAMETERS(ActiveRoots, ACTIVE_ROOTS);

/* A row for each name, in their order; it is all NULL where there is no root. */
static Statement look_roots = STATEMENT(ActiveRoots,
	"SELECT CASE WHEN NOT e.has_ended THEN e.last_seen END, " COLUMNS(WORKFLOW_LIST, "w.") " "
	"FROM ROWS FROM (unnest(:names)) WITH ORDINALITY AS b (name, n) "
	"LEFT JOIN LATERAL ("
	"  SELECT o.* FROM durable.active_root r JOIN durable.workflow o ON o.id = r.id "
	"  WHERE r.name = b.name OFFSET 0) w ON true "
	"LEFT JOIN LATERAL ("
	"  SELECT o.last_seen, " SESSION_ENDED("o") " AS has_ended FROM durable.executor o WHERE o.executor_id = w.executor_id OFFSET 0) e ON true "
	"ORDER BY b.n");

/* ---- statements: creating -------------------------------------------------------- */

#define START_ARGS(P) \
	P(handler, TEXTOID) \
	P(executor_id, TEXTOID) \
	P(queue, TEXTOID) \
	P(priority, INT4OID) \
	P(run_at, TIMESTAMPTZOID) \
	P(timeout, INTERVALOID) \
	P(max_recovery_attempts, INT4OID) \
	P(app_version, TEXTOID) \
	WORKFLOW_POLICY(P) \
	P(scheduled_for, TIMESTAMPTZOID) \
	P(scheduled_by, TEXTOID)

#define VALUES_OF(args) \
	.handler = (args)->handler, .executor_id = (args)->executor_id, .queue = (args)->queue, \
	.priority = (args)->priority, .run_at = (args)->run_at, .timeout = (args)->timeout, \
	.max_recovery_attempts = (args)->max_recovery_attempts, .app_version = (args)->app_version, \
	WORKFLOW_RETRIES((args)->retries), \
	.scheduled_for = (args)->scheduled_for, .scheduled_by = (args)->scheduled_by

#define CREATE_ROOT(P) \
	P(id, UUIDOID) \
	P(name, TEXTOID) \
	P(input, JSONBOID) \
	P(created_at, TIMESTAMPTZOID) \
	P(lease, INT4OID) \
	P(concurrency_key, TEXTOID) \
	START_ARGS(P)
PARAMETERS(CreateRoot, CREATE_ROOT);

#define CREATE_ROOTS(P) \
	P(ids, UUIDARRAYOID) \
	P(names, TEXTARRAYOID) \
	P(inputs, JSONBARRAYOID) \
	P(created_at, TIMESTAMPTZARRAYOID) \
	P(leases, INT4ARRAYOID) \
	P(concurrency_keys, TEXTARRAYOID) \
	START_ARGS(P)
PARAMETERS(CreateRoots, CREATE_ROOTS);

/* The unique index on the names of active roots decides who creates one; any other conflict is an error. */
#define INSERT_ROOT \
	", entered AS (" \
	"  INSERT INTO durable.active_root (name, id) SELECT b.name, b.id FROM root b " \
	"  ON CONFLICT (name) DO NOTHING RETURNING id) " \
	"INSERT INTO durable.workflow AS w (id, root_id, status, lease, created_at, started_at, deadline, run_at, " \
	"  name, input, handler, executor_id, queue_name, priority, timeout, max_recovery_attempts, app_version," \
	"  concurrency_key, max_retries, retry_count, backoff, backoff_multiplier, max_backoff, scheduled_for, scheduled_by) " \
	"SELECT b.id, b.id, CASE WHEN :queue IS NULL THEN 'RUNNING'::durable.task_status ELSE 'PENDING' END, b.lease, " \
	"  b.created_at, " \
	"  CASE WHEN :queue IS NULL THEN b.created_at END, " \
	"  CASE WHEN :queue IS NULL THEN b.created_at + :timeout END, " \
	"  CASE WHEN :queue IS NOT NULL THEN COALESCE(:run_at, b.created_at) END, " \
	"  b.name, b.input, :handler, CASE WHEN :queue IS NULL THEN :executor_id END, :queue, :priority, :timeout, " \
	"  :max_recovery_attempts, :app_version, b.concurrency_key, :max_retries, :max_retries - :max_retries, :backoff," \
	"  :backoff_multiplier, :max_backoff, :scheduled_for, :scheduled_by " \
	"FROM entered e JOIN root b ON b.id = e.id"

/* Roots that are being created: what is opened once for all of them. */
typedef struct RootWriting
{
	Look		names;
	Look		workflows;
	Writing		name;
	Writing		workflow;
} RootWriting;

/* False if the statement has to do it. */
static bool
begin_roots(RootWriting *roots)
{
	if (XactReadOnly || !begin_without_look(&roots->workflows, &workflow_by_id, RowExclusiveLock))
		return false;
	if (!begin_without_look(&roots->names, &active_root_by_name, RowExclusiveLock))
	{
		end_look(&roots->workflows);
		return false;
	}
	begin_writing(&roots->name, &roots->names);
	begin_writing(&roots->workflow, &roots->workflows);
	return true;
}

static void
end_roots(RootWriting *roots)
{
	end_writing(&roots->name);
	end_writing(&roots->workflow);
	end_look(&roots->names);
	end_look(&roots->workflows);
}

/* Fills in the row of a root's name; false if the statement has to do it. */
static bool
prepare_name(const Writing *row, const CreateRoot *p)
{
	new_row(row);
	set(row, active_root_name, p->name);
	set(row, active_root_id, p->id);
	return end_row(row);
}

/* The same for that of the workflow. */
static bool
prepare_root(const Writing *row, const CreateRoot *p)
{
	bool		waits = !p->queue.isnull;

	new_row(row);
	set(row, workflow_id, p->id);
	set(row, workflow_root_id, p->id);
	set_label(row, workflow_status, status_label(waits ? PENDING : RUNNING));
	set(row, workflow_lease, p->lease);
	set(row, workflow_created_at, p->created_at);
	set(row, workflow_started_at, waits ? a_null() : p->created_at);
	set(row, workflow_deadline,
		waits ? a_null() : clock_deadline(DatumGetTimestampTz(p->created_at.value), p->timeout));
	set(row, workflow_run_at, !waits ? a_null() : p->run_at.isnull ? p->created_at : p->run_at);
	set(row, workflow_name, p->name);
	set(row, workflow_input, p->input);
	set(row, workflow_handler, p->handler);
	set(row, workflow_executor_id, waits ? a_null() : p->executor_id);
	set(row, workflow_queue_name, p->queue);
	set(row, workflow_priority, p->priority);
	set(row, workflow_timeout, p->timeout);
	set(row, workflow_max_recovery_attempts, p->max_recovery_attempts);
	set(row, workflow_app_version, p->app_version);
	set(row, workflow_concurrency_key, p->concurrency_key);
	set(row, workflow_max_retries, p->max_retries);
	set(row, workflow_retry_count, p->max_retries.isnull ? a_null() : an_int(0));
	set(row, workflow_backoff, p->backoff);
	set(row, workflow_backoff_multiplier, p->backoff_multiplier);
	set(row, workflow_max_backoff, p->max_backoff);
	set(row, workflow_scheduled_for, p->scheduled_for);
	set(row, workflow_scheduled_by, p->scheduled_by);
	return end_row(row);
}

/* The name was looked for just now; if somebody has been faster since, the unique index tells. */
static int64
fast_create_root(const void *params)
{
	const CreateRoot *p = params;
	RootWriting roots;
	bool		done;

	if (!begin_roots(&roots))
		return NOT_FAST;
	done = prepare_name(&roots.name, p) && prepare_root(&roots.workflow, p) && insert_row_unless_there(&roots.name);
	if (done)
	{
		note_root_name(DatumGetUUIDP(p->id.value), &roots.name.row->tts_tid);
		insert_row(&roots.workflow);
	}
	end_roots(&roots);
	return done ? 1 : NOT_FAST;
}

static Statement create_root = STATEMENT(CreateRoot,
	"WITH root AS (SELECT :id AS id, :name AS name, :input AS input, :created_at AS created_at, :lease AS lease,"
	"  :concurrency_key AS concurrency_key)"
	INSERT_ROOT,
	.fast = fast_create_root);

/* Parameters of create_roots, and for its fast path the roots of which they are made, NULL if it is not to be tried. */
typedef struct FastCreateRoots
{
	CreateRoots params;
	const CreateRoot *roots;
	int			count;
	bool		met_another;	/* a name is taken, or will be */
} FastCreateRoots;

/* Enters the names that were put off; false if one is taken, or will be. */
static bool
enter_names(Writing *names, const CreateRoot *roots)
{
	if (!insert_put_off_unless_there(names))
		return false;
	for (int i = 0; i < list_length(names->put_off); i++)
		note_root_name(DatumGetUUIDP(roots[i].id.value), &((TupleTableSlot *) list_nth(names->put_off, i))->tts_tid);
	return true;
}

/* All names first.  Where one is taken, nothing more is done: the caller takes back all. */
static int64
fast_create_roots(const void *params)
{
	FastCreateRoots *fast = (FastCreateRoots *) params;
	RootWriting roots;
	int			prepared = 0;

	if (fast->roots == NULL || !begin_roots(&roots))
		return NOT_FAST;
	while (prepared < fast->count && prepare_name(&roots.name, &fast->roots[prepared]) &&
		   prepare_root(&roots.workflow, &fast->roots[prepared]))
	{
		put_off_row(&roots.name);
		put_off_row(&roots.workflow);
		prepared++;
	}
	if (prepared == fast->count)
	{
		fast->met_another = !enter_names(&roots.name, fast->roots);
		if (!fast->met_another)
		{
			begin_gathering();
			insert_put_off(&roots.workflow);
			end_gathering();
		}
	}
	end_roots(&roots);
	if (prepared < fast->count)
		return NOT_FAST;
	return fast->met_another ? 0 : fast->count;
}

static Statement create_roots = STATEMENT(CreateRoots,
	"WITH root AS MATERIALIZED ("
	"  SELECT b.id, b.name, b.input, b.created_at, b.lease, b.concurrency_key"
	"  FROM ROWS FROM (unnest(:ids), unnest(:names), unnest(:inputs), unnest(:created_at), unnest(:leases),"
	"    unnest(:concurrency_keys)) "
	"    WITH ORDINALITY AS b (id, name, input, created_at, lease, concurrency_key, n) ORDER BY b.n)"
	INSERT_ROOT,
	.fast = fast_create_roots);

#define TAKE_BACK(P) \
	P(id, UUIDOID)
PARAMETERS(TakeBack, TAKE_BACK);

static Statement delete_workflow = STATEMENT(TakeBack,
	"DELETE FROM durable.workflow w WHERE w.id = :id");

/* ---- looking --------------------------------------------------------------------- */

/* The PENDING, RUNNING or PAUSED root of that name. */
bool
look_active_root(Datum name, Workflow *workflow)
{
	return run(&look_root, &(ActiveRoot) {.name = a_value(name)}, NEWEST) > 0 &&
		read_workflow_from(0, 0, workflow);
}

/* Those of the roots that were not found have finished, and are the answer; returns how many. */
static int
look_finished(Root **roots, int count, const StartArgs *args)
{
	int			answers = 0;

	if (count == 0 || args->if_finished == FINISHED_IGNORED)
		return 0;
	if (count > 1)
	{
		Elements	names = new_elements(TEXTOID, count);

		for (int i = 0; i < count; i++)
			append_element(&names, roots[i]->elements[0]->values.name);
		look_finished_roots(array_of(&names).value);
	}
	for (int i = 0; i < count; i++)
	{
		Workflow	finished;
		bool		found = count > 1 ? read_workflow_from(i, 0, &finished) :
			look_finished_root(roots[i]->elements[0]->values.name, &finished);

		if (!found || !is_answer(&finished, args->if_finished))
			continue;
		roots[i]->found = FOUND_FINISHED;
		roots[i]->workflow = finished;
		answers++;
	}
	return answers;
}

/* Whether the executor would become the owner of a root, if its version is right. */
static bool
may_own(const Root *root, const StartArgs *args)
{
	return root->found == FOUND_ACTIVE && args->if_active == ACTIVE_ATTACHED &&
		attaching(&root->workflow, args->executor_id, false, true) != JOINS;
}

/* Looks at the active root of the only name, and at its executor where it matters whether that is dead. */
static void
look_at_one(Root *root, const StartArgs *args)
{
	Workflow   *workflow = &root->workflow;

	root->found = look_active_root(root->elements[0]->values.name.value, workflow) ? FOUND_ACTIVE : FOUND_NOTHING;
	root->owner_dead = root->other_version = false;
	if (may_own(root, args))
	{
		bool		owner_matters = attaching(workflow, args->executor_id, false, true) == OWNS_IF_DEAD;

		root->owner_dead = owner_matters &&
			!executor_alive(workflow->executor_id.value, clock_stale_before(clock_now(), a_null()));
		if (!owner_matters || root->owner_dead)
			root->other_version = look_other_versions(&workflow->id, 1, args->executor_id, args->app_version) > 0;
	}
	if (root->found == FOUND_NOTHING)
		look_finished(&root, 1, args);
}

/* Which of the roots that the executor may own are of another version. */
static void
look_versions(Starts *starts)
{
	Root	  **roots = palloc(starts->root_count * sizeof(Root *));
	pg_uuid_t  *ids = palloc(starts->root_count * sizeof(pg_uuid_t));
	int			count = 0;
	int			others;

	for (int i = 0; i < starts->root_count; i++)
		if (may_own(&starts->roots[i], starts->args))
		{
			roots[count] = &starts->roots[i];
			ids[count++] = starts->roots[i].workflow.id;
		}
	others = look_other_versions(ids, count, starts->args->executor_id, starts->args->app_version);
	for (int i = 0; i < others; i++)
		roots[DatumGetInt64(result_value(i, 0)) - 1]->other_version = true;
}

/* Whether this session has guessed wrong, and has met no batch since of which all names were free. */
static bool guesses_wrong = false;

/* Looks at the active roots of all names. */
static void
look(Starts *starts)
{
	TimestampTz stale_before = clock_stale_before(clock_now(), a_null());
	Elements	names = new_elements(TEXTOID, starts->root_count);
	Root	  **missing = palloc(starts->root_count * sizeof(Root *));
	int			missing_count = 0;

	for (int i = 0; i < starts->root_count; i++)
		append_element(&names, starts->roots[i].elements[0]->values.name);
	run(&look_roots, &(ActiveRoots) {.names = array_of(&names)}, NEWEST);
	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];
		NullableDatum last_seen = result_column(i, 0);

		root->found = read_workflow_from(i, 1, &root->workflow) ? FOUND_ACTIVE : FOUND_NOTHING;
		root->owner_dead = is_dead(last_seen, stale_before);
		root->other_version = false;
		if (root->found == FOUND_NOTHING)
			missing[missing_count++] = root;
	}
	if (missing_count == starts->root_count)
		guesses_wrong = false;
	look_versions(starts);
	look_finished(missing, missing_count, starts->args);
}

/*
 * Most batches start what is new: if the first of the names is free, it is guessed that all are.
 * To enter them tells whether that is so, and where it is not, the next round looks.
 */
static bool
guess(Starts *starts)
{
	Workflow	first;

	if (guesses_wrong || starts->count > starts->root_count || starts->args->if_finished != FINISHED_IGNORED ||
		XactReadOnly || IsolationUsesXactSnapshot() ||
		look_active_root(starts->roots[0].elements[0]->values.name.value, &first))
		return false;
	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		root->found = FOUND_NOTHING;
		root->owner_dead = root->other_version = false;
	}
	return true;
}

/* A hash of what the look has seen (next_round). */
static uint64
seen_roots(const Starts *starts)
{
	uint64		seen = 0;

	for (int i = 0; i < starts->root_count; i++)
		seen = seen * 31 + (starts->roots[i].found == FOUND_NOTHING ? 0 : seen_of(&starts->roots[i].workflow, NULL));
	return seen;
}

/* ---- deciding -------------------------------------------------------------------- */

/* Fills in what a root is like that has just been created. */
static void
fill_created(Workflow *workflow, const StartArgs *args)
{
	workflow->has_parent = false;
	workflow->has_queue = !args->queue.isnull;
	workflow->status = workflow->has_queue ? PENDING : RUNNING;
	workflow->lease = workflow->has_queue ? 0 : 1;
	workflow->executor_id = workflow->has_queue ? a_null() : args->executor_id;
	workflow->suspended_at = a_null();
}

/* An active root is attached to: the executor becomes its owner, or joins. */
static void
attach_to(Root *root, const StartArgs *args)
{
	Workflow   *workflow = &root->workflow;
	Attaching	how = attaching(workflow, args->executor_id, false, true);

	if (root->other_version || how == JOINS || (how == OWNS_IF_DEAD && !root->owner_dead))
		return;
	root->takes++;
	workflow->lease++;
	(void) workflow_transition(EVENT_TAKE, workflow->status, &workflow->status);
	workflow->suspended_at = a_null();
	workflow->executor_id = args->executor_id;
}

/* Decides what a call of start does about the active root that it meets. */
static void
meet_active(Root *root, Start *start, const StartArgs *args)
{
	switch (args->if_active)
	{
		case ACTIVE_ATTACHED:
			attach_to(root, args);
			break;
		case ACTIVE_REFUSED:
			if (root->found == FOUND_NOTHING)
				bad_argument("names", "must not name one twice where an active one is refused",
							 psprintf("It has \"%s\" twice.", TextDatumGetCString(start->values.name.value)),
							 "Pass each name once.");
			raise_refusal(refuse_active_root(&root->workflow));
			break;
		case ACTIVE_REPLACED:
			if (never_ran(&root->workflow))
			{
				start->replaced = root->is_replaced = true;
				root->values = &start->values;
			}
			break;
	}
}

/*
 * Decides what the calls of start for one name answer, one after the other.  The
 * first creates the root where there is none; each other meets it.
 */
static void
decide_root(Root *root, const StartArgs *args)
{
	Workflow   *workflow = &root->workflow;

	if (root->found == FOUND_NOTHING)
		fill_created(workflow, args);
	root->takes = 0;
	root->is_replaced = false;
	root->values = &root->elements[0]->values;
	root->seen_lease = workflow->lease;
	for (int i = 0; i < root->count; i++)
	{
		Start	   *start = root->elements[i];

		start->created = root->found == FOUND_NOTHING && i == 0;
		start->replaced = false;
		if (!start->created && root->found != FOUND_FINISHED)
			meet_active(root, start, args);
		start->status = workflow->status;
		start->lease = workflow->lease;
		start->owner = owner_of(workflow);
	}
}

/* The same for all names; returns whether anything is to be written. */
static bool
decide(Starts *starts)
{
	bool		writes = false;

	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		decide_root(root, starts->args);
		writes = writes || root->found == FOUND_NOTHING || root->takes > 0 || root->is_replaced;
	}
	return writes;
}

/* ---- acting ---------------------------------------------------------------------- */

/* Takes back a row that this call has written, before anybody could see it. */
void
take_back_workflow(const pg_uuid_t *id)
{
	run(&delete_workflow, &(TakeBack) {.id = an_id(id)}, NEWEST);
}

/* A new id for a root; its name tells the bucket. */
static void
give_id(Root *root, int64 ns, const char *argument)
{
	text	   *name = DatumGetTextPP(root->elements[0]->values.name.value);

	new_workflow_id(ns, name_bucket(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), argument), &root->workflow.id);
	root->workflow.root_id = root->workflow.id;
}

static CreateRoot
one_root(const Root *root, const StartArgs *args)
{
	const NewRoot *values = root->values;

	return (CreateRoot)
	{
		.id = an_id(&root->workflow.id),.name = values->name,.input = values->input,
		.created_at = a_time(id_created_at(&root->workflow.id)),.lease = an_int(root->workflow.lease),
		.concurrency_key = values->concurrency_key,
		VALUES_OF(args)
	};
}

/* Creates several roots; returns how many. */
static uint64
create_many(Starts *starts, Root **created, int count)
{
	const StartArgs *args = starts->args;
	CreateRoot *roots = palloc(count * sizeof(CreateRoot));
	FastCreateRoots fast = {.roots = starts->met_another ? NULL : roots,.count = count};
	uint64		done;
	Elements	ids = new_elements(UUIDOID, count);
	Elements	names = new_elements(TEXTOID, count);
	Elements	inputs = new_elements(JSONBOID, count);
	Elements	times = new_elements(TIMESTAMPTZOID, count);
	Elements	leases = new_elements(INT4OID, count);
	Elements	keys = new_elements(TEXTOID, count);

	for (int i = 0; i < count; i++)
	{
		roots[i] = one_root(created[i], args);
		append_element(&ids, roots[i].id);
		append_element(&names, roots[i].name);
		append_element(&inputs, roots[i].input);
		append_element(&times, roots[i].created_at);
		append_element(&leases, roots[i].lease);
		append_element(&keys, roots[i].concurrency_key);
	}
	fast.params = (CreateRoots)
	{
		.ids = array_of(&ids),.names = array_of(&names),.inputs = array_of(&inputs),
		.created_at = array_of(&times),.leases = array_of(&leases),
		.concurrency_keys = array_of(&keys),VALUES_OF(args)
	};
	done = run(&create_roots, &fast, NEWEST);
	if (starts->is_guess)
		guesses_wrong = fast.met_another;
	else
		starts->met_another = starts->met_another || fast.met_another;
	return done;
}

/*
 * Creates the roots that were not found; false if somebody was faster, or if we
 * had to wait: then the times of the new rows are too old.
 */
static bool
create(Starts *starts, Root **created, int count)
{
	int64		ns = clock_ns();
	pg_uuid_t	id;
	NewTags    *tags;

	if (count == 0)
		return true;
	/* in the order of the array */
	for (int i = 0; i < starts->count; i++)
		if (starts->elements[i].created)
			give_id(starts->elements[i].root, ns, starts->argument);
	if (count == 1)
	{
		CreateRoot	root = one_root(created[0], starts->args);

		if (run(&create_root, &root, NEWEST) == 0)
			return false;
	}
	else if (create_many(starts, created, count) < count)
		return false;
	id = created[0]->workflow.id;
	/* once more, now that the names are ours */
	if (look_finished(created, count, starts->args) > 0 || has_waited(&starts->rounds, count))
	{
		/* a batch of several is given back as a whole */
		if (starts->root_count == 1)
			take_back_workflow(&id);
		return false;
	}
	tags = palloc(count * sizeof(NewTags));
	for (int i = 0; i < count; i++)
	{
		remember_tree(&created[i]->workflow.id, &created[i]->workflow.id);
		expect_new_step(&created[i]->workflow.id, 0);
		tags[i] = (NewTags) {.id = an_id(&created[i]->workflow.id),.tags = created[i]->values->tags};
	}
	write_tags(tags, count);
	return true;
}

static int
compare_roots(const void *a, const void *b)
{
	return compare_ids(&(*(Root *const *) a)->workflow.id, &(*(Root *const *) b)->workflow.id);
}

/*
 * The roots that are to be created, in the order of names, or else those that change
 * hands or are replaced (never both in one call), in the order of ids.
 */
static int
choose_roots(Starts *starts, bool to_create, Root **chosen)
{
	int			n = 0;

	for (int i = 0; i < starts->root_count; i++)
	{
		Root	   *root = &starts->roots[i];

		if (to_create ? root->found == FOUND_NOTHING :
			root->found == FOUND_ACTIVE && (root->takes > 0 || root->is_replaced))
			chosen[n++] = root;
	}
	if (!to_create)
		qsort(chosen, n, sizeof(Root *), compare_roots);
	return n;
}

/* Takes roots that change hands, or replaces them; false if somebody has been faster.  Their trees are locked. */
static bool
change(Root **roots, int count, const StartArgs *args)
{
	Taking	   *takings = palloc(count * sizeof(Taking));
	Replacing  *replacings = palloc(count * sizeof(Replacing));

	for (int i = 0; i < count; i++)
	{
		const Root *root = roots[i];

		takings[i] = (Taking) {.id = root->workflow.id,.lease = root->seen_lease,.times = root->takes};
		replacings[i] = (Replacing) {.id = root->workflow.id,.status = root->workflow.status,.values = root->values};
	}
	if (args->if_active == ACTIVE_REPLACED)
		return replace_roots(replacings, count, args);
	return count == 0 || take(takings, count, args->executor_id);
}

/* Does what was decided; false if anything was overtaken, or had to wait for another start. */
static bool
act(void *arg)
{
	Starts	   *starts = arg;
	const StartArgs *args = starts->args;
	Root	  **created = palloc(starts->root_count * sizeof(Root *));
	Root	  **changed = palloc(starts->root_count * sizeof(Root *));
	pg_uuid_t  *ids = palloc(starts->root_count * sizeof(pg_uuid_t));
	int			created_count = choose_roots(starts, true, created);
	int			changed_count = choose_roots(starts, false, changed);
	int64		registered = register_executor(args->executor_id, a_null());
	bool		done;

	if (created_count > 0 || args->if_active == ACTIVE_REPLACED)
		lock_queue_to_start(args->queue);
	for (int i = 0; i < changed_count; i++)
		lock_tree(&changed[i]->workflow.id, TREE_SHARED);
	watch_waits(&starts->rounds);
	done = create(starts, created, created_count) && change(changed, changed_count, args);
	register_again(args->executor_id, registered);
	if (!done)
		return false;
	for (int i = 0; i < created_count; i++)
		ids[i] = created[i]->workflow.id;
	started_waiting(args->queue, DatumGetInt32(args->priority.value), args->run_at, id_array(ids, created_count));
	return true;
}

/* What is not asked for. */
const RetryPolicy no_retries = {
	.max_retries = {0},.backoff = {.isnull = true},.backoff_multiplier = {.isnull = true},.max_backoff = {.isnull = true}
};

/* start, of all names. */
static void
start(Starts *starts)
{
	bool		is_first = true;
	uint64		seen;

	for (int i = 0; i < starts->root_count; i++)
		require_bucket_of_name(starts->roots[i].elements[0]->values.name.value, starts->argument);
	for (;; next_round(&starts->rounds, "durable.workflow", seen), is_first = false)
	{
		starts->is_guess = is_first && starts->root_count > 1 && guess(starts);
		if (starts->root_count == 1)
			look_at_one(&starts->roots[0], starts->args);
		else if (!starts->is_guess)
			look(starts);
		seen = seen_roots(starts);
		if (!decide(starts))
			return;
		if (starts->root_count == 1 ? act(starts) : write_batch(act, starts, &starts->rounds))
			return;
	}
}

/*
 * start of one name, for a caller who knows the arguments to be good; *id is the
 * workflow's, whether it was created, which is returned, or found.
 */
bool
start_root(const NewRoot *values, const StartArgs *args, pg_uuid_t *id)
{
	Start		element = {.values = *values};
	Start	   *elements = &element;
	Root		root = {.elements = &elements,.count = 1};
	Starts		starts = {
		.args = args,.argument = "name",.count = 1,.elements = &element,.root_count = 1,.roots = &root
	};

	element.root = &root;
	start(&starts);
	*id = root.workflow.id;
	return element.created;
}

/* ---- SQL functions ------------------------------------------------------------------ */

/* Reads and checks the retries of a whole workflow. */
RetryPolicy
require_workflow_retries(const NullableDatum *from_max_retries, NullableDatum queue)
{
	RetryPolicy policy = require_retry_policy(from_max_retries);

	check_needs_queue(has_retries(&policy), "max_retries", queue,
					  "Pass a queue, from which the workflow is claimed again, or leave the retries to its steps.");
	return policy;
}

/* Reads and checks the arguments that all names have in common. */
static StartArgs
start_args(FunctionCallInfo fcinfo)
{
	static const char *const actives[] = {"attach", "refuse", "replace"};
	static const char *const finished[] = {"start", "start_after_failure", "return"};
	NullableDatum *arg = &fcinfo->args[2];
	StartArgs	args;

	args.handler = arg[0];
	args.executor_id = arg[1];
	args.queue = arg[2];
	args.priority = arg[3];
	args.run_at = arg[4];
	args.timeout = arg[5];
	args.max_recovery_attempts = arg[6];
	args.app_version = arg[7];
	args.scheduled_for = a_null();
	args.scheduled_by = a_null();

	check_name(args.handler, "handler");
	check_name(args.executor_id, "executor_id");
	require_driver(fcinfo, args.executor_id);
	check_name(args.queue, "queue");
	require(args.priority, "priority");
	check_interval(args.timeout, "timeout");
	require_not_negative(args.max_recovery_attempts, "max_recovery_attempts");
	check_name(args.app_version, "app_version");
	check_run_at_in(args.run_at, args.queue);
	args.if_active = (IfActive) require_choice(fcinfo->args[11], "if_active", actives, lengthof(actives));
	args.if_finished = (IfFinished) require_choice(fcinfo->args[12], "if_finished", finished, lengthof(finished));
	check_needs_queue(args.if_active == ACTIVE_REPLACED, "if_active", args.queue,
					  "Pass a queue: only what waits in one can be replaced.");
	args.retries = require_workflow_retries(&fcinfo->args[14], args.queue);
	return args;
}

/* The columns that both return, from workflow_id on; label is the type of the status. */
static void
answer(const Start *start, Oid label, NullableDatum *columns)
{
	columns[0] = a_value(UUIDPGetDatum(&start->root->workflow.id));
	columns[1] = a_value(BoolGetDatum(start->created));
	columns[2] = a_value(enum_datum(label, status_label(start->status)));
	columns[3] = a_value(Int32GetDatum(start->lease));
	columns[4] = start->owner;
	columns[5] = a_bool(start->replaced);
}

/*
 * start(name, input, handler, executor_id, queue, priority, run_at, timeout,
 *		 max_recovery_attempts, app_version, concurrency_key, if_active, if_finished,
 *		 tags, max_retries, backoff, backoff_multiplier, max_backoff)
 */
Datum
durable_start(PG_FUNCTION_ARGS)
{
	StartArgs	args;
	Start		element = {.values = {
		.name = fcinfo->args[0],.input = fcinfo->args[1],.concurrency_key = fcinfo->args[10],.tags = fcinfo->args[13]
	}};
	Start	   *elements = &element;
	Root		root = {.elements = &elements,.count = 1};
	Starts		starts = {
		.args = &args,.argument = "name",.count = 1,.elements = &element,.root_count = 1,.roots = &root
	};
	NullableDatum columns[6];
	TupleDesc	desc = result_desc(fcinfo, lengthof(columns));
	Call		call;

	element.root = &root;
	require_name(element.values.name, "name");
	args = start_args(fcinfo);
	check_key(element.values.concurrency_key, "concurrency_key", args.queue);
	check_tags(element.values.tags, "tags");

	call = begin_call(fcinfo);
	start(&starts);
	answer(&element, column_type(desc, 2), columns);
	PG_RETURN_DATUM(end_call_with_row(desc, &call, columns));
}

static int
compare_starts(const void *a, const void *b)
{
	const Start *x = *(Start *const *) a;
	const Start *y = *(Start *const *) b;
	text	   *s = DatumGetTextPP(x->values.name.value);
	text	   *t = DatumGetTextPP(y->values.name.value);
	int			s_len = VARSIZE_ANY_EXHDR(s);
	int			t_len = VARSIZE_ANY_EXHDR(t);
	int			order = memcmp(VARDATA_ANY(s), VARDATA_ANY(t), Min(s_len, t_len));

	if (order == 0)
		order = s_len - t_len;
	return order != 0 ? order : x->position - y->position;
}

/* Groups the elements by name, in the order of names. */
static int
group_starts(Start *elements, int count, Root *roots)
{
	Start	  **sorted = palloc(count * sizeof(Start *));
	int			n = 0;

	for (int i = 0; i < count; i++)
		sorted[i] = &elements[i];
	qsort(sorted, count, sizeof(Start *), compare_starts);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || !same_text(sorted[i]->values.name, sorted[i - 1]->values.name))
			roots[n++] = (Root) {.elements = &sorted[i]};
		roots[n - 1].count++;
		sorted[i]->root = &roots[n - 1];
	}
	return n;
}

/*
 * start_many(names, inputs, handler, executor_id, queue, priority, run_at,
 *			  timeout, max_recovery_attempts, app_version, concurrency_keys,
 *			  if_active, if_finished, tags, max_retries, backoff, backoff_multiplier,
 *			  max_backoff)
 */
Datum
durable_start_many(PG_FUNCTION_ARGS)
{
	NullableDatum names = fcinfo->args[0];
	NullableDatum inputs = fcinfo->args[1];
	NullableDatum keys = fcinfo->args[10];
	NullableDatum tags = fcinfo->args[13];
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	StartArgs	args;
	Elements	name_elements;
	Elements	input_elements;
	Elements	key_elements;
	Elements	tag_elements;
	int			count = require_batch(names, "names");
	Starts		starts = {.args = &args,.argument = "names",.count = count};
	Call		call;
	NullableDatum columns[7];

	check_array_beside(inputs, "inputs", count, "names");
	check_array_beside(keys, "concurrency_keys", count, "names");
	check_array_beside(tags, "tags", count, "names");
	name_elements = elements_of(names, TEXTOID, count);
	for (int i = 0; i < count; i++)
		check_name(element_of(&name_elements, i), "names");
	args = start_args(fcinfo);
	key_elements = elements_of(keys, TEXTOID, count);
	tag_elements = elements_of(tags, JSONBOID, count);
	for (int i = 0; i < count; i++)
	{
		check_key(element_of(&key_elements, i), "concurrency_keys", args.queue);
		check_tags(element_of(&tag_elements, i), "tags");
	}

	begin_rows_of(fcinfo, lengthof(columns));
	input_elements = elements_of(inputs, JSONBOID, count);
	starts.elements = palloc0(Max(count, 1) * sizeof(Start));
	starts.roots = palloc0(Max(count, 1) * sizeof(Root));
	for (int i = 0; i < count; i++)
		starts.elements[i] = (Start) {
			.position = i,
			.values = {
				.name = element_of(&name_elements, i),.input = element_of(&input_elements, i),
				.concurrency_key = element_of(&key_elements, i),.tags = element_of(&tag_elements, i)
			}
		};
	starts.root_count = group_starts(starts.elements, count, starts.roots);

	call = begin_call(fcinfo);
	start(&starts);
	for (int i = 0; i < count; i++)
	{
		columns[0] = a_value(Int32GetDatum(i + 1));
		answer(&starts.elements[i], column_type(rsinfo->setDesc, 3), columns + 1);
		return_row(fcinfo, columns);
	}
	end_call(&call);
	return (Datum) 0;
}
