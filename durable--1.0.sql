/* durable--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION durable" to load this file. \quit

-- CREATE EXTENSION makes the schema, or takes the one that it finds: then nobody
-- else may own it or create in it, and nothing may be there.  Who could would be
-- able to replace or drop what is made below, or to have it call something else.
-- (That is why each operator here is named in full.)
DO $$
DECLARE
	schema record;
BEGIN
	SELECT n.oid, n.nspowner::pg_catalog.regrole AS owner,
		n.nspowner OPERATOR(pg_catalog.=) i.oid OR o.rolsuper AS is_ours,
		EXISTS (SELECT FROM pg_catalog.aclexplode(n.nspacl) AS a
			LEFT JOIN pg_catalog.pg_roles AS g ON g.oid OPERATOR(pg_catalog.=) a.grantee
			WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE' AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner
				AND g.rolsuper IS NOT TRUE) AS is_open
		INTO STRICT schema
		FROM pg_catalog.pg_namespace AS n
			JOIN pg_catalog.pg_roles AS o ON o.oid OPERATOR(pg_catalog.=) n.nspowner
			JOIN pg_catalog.pg_roles AS i ON i.rolname OPERATOR(pg_catalog.=) current_user
		WHERE n.nspname OPERATOR(pg_catalog.=) 'durable';
	IF NOT schema.is_ours THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'schema "durable" belongs to somebody else',
			DETAIL = pg_catalog.concat('Its owner is ', schema.owner, ', who could replace what the extension makes there.'),
			HINT = 'Drop the schema, or make yourself its owner, and try again.';
	ELSIF schema.is_open THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'others may create objects in schema "durable"',
			DETAIL = 'They could put there what is taken for the extension''s.',
			HINT = 'Drop the schema, or revoke CREATE on it, and try again.';
	ELSIF EXISTS (SELECT FROM pg_catalog.pg_depend AS d
			WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass
				AND d.refobjid OPERATOR(pg_catalog.=) schema.oid
				AND (pg_catalog.pg_identify_object(d.classid, d.objid, 0)).schema OPERATOR(pg_catalog.=) 'durable') THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'schema "durable" is not empty',
			DETAIL = 'It holds what does not belong to the extension.',
			HINT = 'Move that to another schema, or drop it, and try again.';
	END IF;
END $$;

---------------------------------------------------------------------------
-- Types
---------------------------------------------------------------------------

CREATE TYPE durable.task_status AS ENUM
	('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'PAUSED', 'CANCELLED');
COMMENT ON TYPE durable.task_status IS
	'Status of a workflow or step; the README lists what leads from one to another';

CREATE TYPE durable.task_kind AS ENUM ('WORKFLOW', 'STEP', 'TRANSACTION', 'WAIT');
COMMENT ON TYPE durable.task_kind IS
	'WORKFLOW, or the kinds of step: STEP (its effects are outside the database), TRANSACTION (they commit with its outcome) and WAIT (it runs nothing, and ends when what it waits for is there)';

CREATE TYPE durable.claim_action AS ENUM
	('EXECUTE', 'REPLAY', 'FAILED', 'LOCKED', 'WAIT', 'STOP');
COMMENT ON TYPE durable.claim_action IS
	'What the caller of claim_step does next: run the step, take its output, raise its error, leave it alone, come back at run_at, or stop';

---------------------------------------------------------------------------
-- Tables
--
-- Texts that are compared or sorted are COLLATE "C": an upgrade of the
-- operating system's collations must not break an index.
---------------------------------------------------------------------------

-- A status changes no index of this table, so that its updates are HOT.  What is left of a
-- page has room for the versions of a claim and of the end, also while some snapshot keeps
-- those before.  Who looks for workflows by status finds them in the registers below.
CREATE TABLE durable.workflow
(
	id uuid NOT NULL,
	root_id uuid NOT NULL,
	-- what changes from the start to the end stands together: WAL has what is in between, too
	status durable.task_status NOT NULL,
	lease int NOT NULL,
	started_at timestamptz,
	completed_at timestamptz,
	deadline timestamptz,
	executor_id text COLLATE "C",
	output jsonb,
	error text,
	-- what the program keeps about the error beside its text
	detail jsonb,
	parent_id uuid,
	parent_sequence int,
	priority int NOT NULL DEFAULT 0,
	recovery_count int NOT NULL DEFAULT 0,
	max_recovery_attempts int NOT NULL DEFAULT 100,
	created_at timestamptz NOT NULL,
	run_at timestamptz,
	-- of a finished root that purge had to leave there: its tree ends no earlier than that
	tree_end timestamptz,
	timeout interval,
	name text COLLATE "C" NOT NULL,
	handler text COLLATE "C",
	queue_name text COLLATE "C",
	app_version text COLLATE "C",
	-- while PAUSED: the status to go back to, and the workflow that was paused, and when
	paused_from durable.task_status,
	paused_by uuid,
	paused_at timestamptz,
	-- of the workflows of a queue with one key, only so many run at once
	concurrency_key text COLLATE "C",
	-- claimed in a queue that counts: the number of its slot, which it has while it is driven
	slot bigint,
	input jsonb,
	-- of one that is suspended: since when; it is PENDING, or PAUSED from that
	suspended_at timestamptz,
	-- of a run of a schedule: which one, and the time of the plan for which it was started
	scheduled_for timestamptz,
	scheduled_by text COLLATE "C",
	-- retries of the whole workflow: how many there may be and have been, and the backoff; NULL where there are none
	max_retries int,
	retry_count int,
	backoff interval,
	backoff_multiplier float8,
	max_backoff interval,
	-- of a child with a queue that ends with its parent: cancel; else NULL
	on_parent_end text COLLATE "C",
	-- of one that was asked to end by itself (request_cancel): since when and why, when tick
	-- cancels it, and whether its program has yet to be told, else NULL
	cancel_requested_at timestamptz,
	cancel_reason text,
	cancel_at timestamptz,
	cancel_untold boolean,
	-- of a run that goes on in a next one, and of that: which run the other is
	continued_as uuid,
	continued_from uuid,
	-- of a fork: the workflow that it was forked from, and the position before which it has copies of
	-- the steps there; their lease is 0
	forked_from uuid,
	forked_at_sequence int,
	-- of one whose arguments start has replaced: when it did, last
	replaced_at timestamptz,
	CONSTRAINT workflow_pkey PRIMARY KEY (id)
) WITH (fillfactor = 25);
COMMENT ON TABLE durable.workflow IS
	'One row for each workflow; change it only through the functions of the extension';

-- the children of a workflow, in the order in which they were created
CREATE INDEX workflow_parent ON durable.workflow (parent_id, id) WHERE parent_id IS NOT NULL;
-- list: by name, queue or handler, the newest first (ids are in the order of created_at)
CREATE INDEX workflow_name ON durable.workflow (name, id);
CREATE INDEX workflow_queue ON durable.workflow (queue_name, id) WHERE queue_name IS NOT NULL;
CREATE INDEX workflow_handler ON durable.workflow (handler, id) WHERE handler IS NOT NULL;

-- Searched by containment.  A table of its own: an index of the workflows' rows would cost each of them.
CREATE TABLE durable.workflow_tags
(
	workflow_id uuid NOT NULL,
	tags jsonb NOT NULL,
	CONSTRAINT workflow_tags_pkey PRIMARY KEY (workflow_id)
);
CREATE INDEX workflow_tags_search ON durable.workflow_tags USING gin (tags jsonb_path_ops);
COMMENT ON TABLE durable.workflow_tags IS 'The tags of the workflows that have some';

-- Where several databases share the buckets: which of them are here.  No row: all.
CREATE TABLE durable.buckets
(
	one boolean NOT NULL DEFAULT true,
	ranges int4multirange NOT NULL,
	CONSTRAINT buckets_one CHECK (one),
	CONSTRAINT buckets_pkey PRIMARY KEY (one)
);
COMMENT ON TABLE durable.buckets IS
	'One row with the buckets that this database has, if these are not all; change it by set_buckets only';

CREATE FUNCTION durable.buckets_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'durable_buckets_changed'
LANGUAGE C;
COMMENT ON FUNCTION durable.buckets_changed() IS
	'Trigger: tells all sessions that the buckets have changed. Errors: 0A000';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON durable.buckets
	FOR EACH ROW EXECUTE FUNCTION durable.buckets_changed();
ALTER TABLE durable.buckets ENABLE ALWAYS TRIGGER changed;

CREATE TABLE durable.parked
(
	id uuid NOT NULL,
	CONSTRAINT parked_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE durable.parked IS
	'The unfinished workflows of buckets that this database has given up, which are in no register of what is unfinished';

-- The registers: which workflows are in some state, in the order in which they are
-- looked for.  They follow from the table of workflows, as an index does: a trigger
-- keeps them, and a dump leaves them out.  Rows are inserted and deleted only.  They
-- are vacuumed often, and their indexes always: until then the entries of what was
-- claimed stay where a claim begins to look.

-- claim: what waits in a queue ('' is none, for roots that were released), in lanes, one for
-- each concurrency_key ('' is none) and turn, in each in the order in which it is claimed;
-- turn is lower for a higher priority
CREATE TABLE durable.pending
(
	queue_name text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,
	turn bigint NOT NULL,
	run_at timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT pending_pkey PRIMARY KEY (queue_name, key, turn, run_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.pending IS
	'Register of the workflows that wait for an executor; a trigger keeps it';

-- claim: of what waits in queues, all that has another priority than 0, by when it is due: so
-- a claim passes over any number of priorities in which nothing is
CREATE TABLE durable.prioritized
(
	queue_name text COLLATE "C" NOT NULL,
	run_at timestamptz NOT NULL,
	turn bigint NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT prioritized_pkey PRIMARY KEY (queue_name, run_at, turn, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.prioritized IS
	'Register of the workflows that wait in queues with another priority than 0; a trigger keeps it';

-- stats: what waits in queues for a version; nothing else has a row here
CREATE TABLE durable.pending_version
(
	queue_name text COLLATE "C" NOT NULL,
	app_version text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT pending_version_pkey PRIMARY KEY (queue_name, app_version, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.pending_version IS
	'Register of the workflows that wait in queues for an executor of a version; a trigger keeps it';

-- stats, drop_queue: what is suspended; only what has a time stands in pending, too
CREATE TABLE durable.suspended
(
	queue_name text COLLATE "C" NOT NULL,
	has_time boolean NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT suspended_pkey PRIMARY KEY (queue_name, has_time, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.suspended IS
	'Register of the workflows that are suspended; a trigger keeps it';

-- heartbeat, recover, release: what an executor ('' is none) drives, also while it is
-- paused (an inline child has none)
CREATE TABLE durable.driven
(
	executor_id text COLLATE "C" NOT NULL,
	started_at timestamptz NOT NULL,
	id uuid NOT NULL,
	queue_name text COLLATE "C" NOT NULL,
	CONSTRAINT driven_pkey PRIMARY KEY (executor_id, started_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
-- stats: how many run in a queue
CREATE INDEX driven_queue ON durable.driven (queue_name);
COMMENT ON TABLE durable.driven IS
	'Register of the workflows that are driven by an executor; a trigger keeps it';

-- claim: the slots that are taken in queues that count, each with the concurrency_key ('' is none)
CREATE TABLE durable.slot
(
	queue_name text COLLATE "C" NOT NULL,
	slot bigint NOT NULL,			-- a number, greater than those of all slots that were taken before
	key text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT slot_pkey PRIMARY KEY (queue_name, slot)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
CREATE INDEX slot_key ON durable.slot (queue_name, key, slot);
COMMENT ON TABLE durable.slot IS
	'Register of the workflows that take a slot of their queue; a trigger keeps it';

-- list, drop_queue: what is PAUSED
CREATE TABLE durable.paused
(
	queue_name text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT paused_pkey PRIMARY KEY (queue_name, id)
);
CREATE INDEX paused_id ON durable.paused (id);
COMMENT ON TABLE durable.paused IS
	'Register of the workflows that are paused; a trigger keeps it';

-- recover: deadlines of what is RUNNING
CREATE TABLE durable.deadline
(
	deadline timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT deadline_pkey PRIMARY KEY (deadline, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.deadline IS
	'Register of the deadlines of running workflows; a trigger keeps it';

-- tick, stats: what is unfinished and was asked to end, by when it is cancelled if it has not
-- ended by itself (infinity: never)
CREATE TABLE durable.cancel_request
(
	cancel_at timestamptz NOT NULL,
	id uuid NOT NULL,
	queue_name text COLLATE "C" NOT NULL,
	CONSTRAINT cancel_request_pkey PRIMARY KEY (cancel_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
CREATE INDEX cancel_request_queue ON durable.cancel_request (queue_name);
COMMENT ON TABLE durable.cancel_request IS
	'Register of the unfinished workflows that were asked to end by themselves; a trigger keeps it';

-- start: at most one active root of a name
CREATE TABLE durable.active_root
(
	name text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT active_root_pkey PRIMARY KEY (name)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.active_root IS
	'Register of the unfinished roots, by name; a trigger keeps it';

-- purge: finished roots, by when their trees ended as far as is known; stats: what has
-- ended of late (an inline child is not counted)
CREATE TABLE durable.ended
(
	is_root boolean NOT NULL,
	status durable.task_status NOT NULL,
	ended_at timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT ended_pkey PRIMARY KEY (is_root, status, ended_at, id)
);
COMMENT ON TABLE durable.ended IS
	'Register of the finished workflows, but for inline children; a trigger keeps it';

-- list: what has FAILED or was CANCELLED, the newest first
CREATE TABLE durable.unsuccessful
(
	status durable.task_status NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT unsuccessful_pkey PRIMARY KEY (status, id)
);
COMMENT ON TABLE durable.unsuccessful IS
	'Register of the workflows that have failed or were cancelled; a trigger keeps it';

-- list, count: inline children, which have no executor and so are in no register of those
-- that have one
CREATE TABLE durable.inline_child
(
	status durable.task_status NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT inline_child_pkey PRIMARY KEY (status, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.inline_child IS
	'Register of the inline children, by status; a trigger keeps it';

-- list: roots that purge had to leave there, by when they themselves have ended (durable.ended
-- has them by when their trees did)
CREATE TABLE durable.left_tree
(
	completed_at timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT left_tree_pkey PRIMARY KEY (completed_at, id)
);
COMMENT ON TABLE durable.left_tree IS
	'Register of the finished roots that purge had to leave there; a trigger keeps it';

-- list: what was cancelled before it ever started
CREATE TABLE durable.unstarted
(
	id uuid NOT NULL,
	CONSTRAINT unstarted_pkey PRIMARY KEY (id)
);
COMMENT ON TABLE durable.unstarted IS
	'Register of the finished workflows that have never started; a trigger keeps it';

-- tick: the runs of a schedule that are unfinished
CREATE TABLE durable.active_run
(
	scheduled_by text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT active_run_pkey PRIMARY KEY (scheduled_by, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.active_run IS
	'Register of the unfinished runs of schedules; a trigger keeps it';

-- tick, backfill_schedule: which times of a schedule have a run, finished or not
CREATE TABLE durable.scheduled_run
(
	scheduled_by text COLLATE "C" NOT NULL,
	scheduled_for timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT scheduled_run_pkey PRIMARY KEY (scheduled_by, scheduled_for, id)
);
COMMENT ON TABLE durable.scheduled_run IS
	'Register of the runs of schedules, by the times for which they were started; a trigger keeps it';

CREATE FUNCTION durable.keep_registers() RETURNS trigger
AS 'MODULE_PATHNAME', 'durable_keep_registers'
LANGUAGE C;
COMMENT ON FUNCTION durable.keep_registers() IS
	'Trigger: writes what changes of a workflow into the registers. Errors: 23505, 55000, 0A000';
CREATE TRIGGER registers AFTER INSERT OR UPDATE OR DELETE ON durable.workflow
	FOR EACH ROW EXECUTE FUNCTION durable.keep_registers();
CREATE TRIGGER registers_truncate AFTER TRUNCATE ON durable.workflow
	FOR EACH STATEMENT EXECUTE FUNCTION durable.keep_registers();
-- whatever session_replication_role says
ALTER TABLE durable.workflow ENABLE ALWAYS TRIGGER registers, ENABLE ALWAYS TRIGGER registers_truncate;

-- A step is inserted by its claim and updated by its outcome, and has no index
-- on what that changes, so that the update is HOT; half a page is left for it.
CREATE TABLE durable.step
(
	workflow_id uuid NOT NULL,
	sequence int NOT NULL,
	lease int NOT NULL,
	attempt int NOT NULL,
	status durable.task_status NOT NULL,
	kind durable.task_kind NOT NULL,
	max_retries int NOT NULL DEFAULT 0,
	retry_count int NOT NULL DEFAULT 0,
	started_at timestamptz,
	completed_at timestamptz,
	run_at timestamptz,
	deadline timestamptz,
	failed_at timestamptz,			-- of the last attempt that left a retry
	name text COLLATE "C" NOT NULL,
	executor_id text COLLATE "C",
	-- the retry policy, NULL where there are no retries
	backoff interval,
	backoff_multiplier float8,
	max_backoff interval,
	timeout interval,
	child_id uuid,
	input jsonb,
	output jsonb,
	error text,
	-- what the program keeps about the error beside its text
	detail jsonb,
	-- of a WAIT: its sort, and what it waits for; run_at is when it ends by itself
	wait text COLLATE "C",
	signals text[] COLLATE "C",
	awaited uuid,
	sequences int[],
	-- when its position was first recorded, where started_at has changed since
	recorded_at timestamptz,
	CONSTRAINT step_pkey PRIMARY KEY (workflow_id, sequence)
) WITH (fillfactor = 50);
-- stats: steps that wait for a retry, the only ones that have an entry there
CREATE INDEX step_retry ON durable.step (run_at) WHERE run_at IS NOT NULL AND wait IS NULL;
COMMENT ON TABLE durable.step IS
	'One row for each position of a workflow, with its recorded outcome; a child workflow has one at its parent''s position';

-- Inserted, and deleted with the workflow; never updated.
CREATE TABLE durable.event
(
	workflow_id uuid NOT NULL,
	n bigint NOT NULL,				-- 1, 2 ... in each workflow
	emitted_at timestamptz NOT NULL,
	topic text COLLATE "C" NOT NULL,
	payload jsonb,
	CONSTRAINT event_pkey PRIMARY KEY (workflow_id, n)
);
-- events: those of one topic
CREATE INDEX event_topic ON durable.event (workflow_id, topic, n);
COMMENT ON TABLE durable.event IS 'One row for each event that a workflow has emitted';

-- Rows are inserted and deleted only.  durable.step has no index by which its open
-- waits could be found: the outcome of any step would have to change that.
CREATE TABLE durable.open_wait
(
	workflow_id uuid NOT NULL,
	sequence int NOT NULL,
	awaited uuid,
	CONSTRAINT open_wait_pkey PRIMARY KEY (workflow_id, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
-- purge: what somebody waits for
CREATE INDEX open_wait_awaited ON durable.open_wait (awaited) WHERE awaited IS NOT NULL;
COMMENT ON TABLE durable.open_wait IS 'One row for each open wait of an unfinished workflow';

-- What a suspended workflow waits for: the steps that were open, and by what each of
-- those ends that are watched.  Rows are inserted and deleted only, by who has the
-- workflow's row.
CREATE TABLE durable.open_position
(
	workflow_id uuid NOT NULL,		-- that is suspended
	of_workflow uuid NOT NULL,		-- the same, or an inline one below it
	sequence int NOT NULL,
	awaits_all boolean NOT NULL,
	CONSTRAINT open_position_pkey PRIMARY KEY (workflow_id, of_workflow, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.open_position IS 'One row for each step for which a workflow is suspended';

CREATE TABLE durable.watch
(
	key uuid NOT NULL,				-- of the step or workflow that ends, or is sent a signal ...
	signal text COLLATE "C" NOT NULL,	-- ... of that name; '' where it ends
	workflow_id uuid NOT NULL,		-- that is suspended
	step_id uuid NOT NULL,			-- the one of its open positions that ends by this
	CONSTRAINT watch_pkey PRIMARY KEY (key, signal, workflow_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
CREATE INDEX watch_workflow ON durable.watch (workflow_id);
COMMENT ON TABLE durable.watch IS 'What makes suspended workflows due when it happens';

-- claim and recover act on them
CREATE TABLE durable.wake_note
(
	id uuid NOT NULL,
	key uuid,						-- what has happened, as in watch ...
	signal text COLLATE "C",
	workflow_id uuid,				-- ... or the suspended workflow to look at
	CONSTRAINT wake_note_pkey PRIMARY KEY (id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.wake_note IS 'What has happened to suspended workflows that somebody else had locked';

CREATE TABLE durable.awaited_outcome
(
	workflow_id uuid NOT NULL,
	status durable.task_status NOT NULL,
	completed_at timestamptz NOT NULL,
	output jsonb,
	error text,
	detail jsonb,
	CONSTRAINT awaited_outcome_pkey PRIMARY KEY (workflow_id)
);
COMMENT ON TABLE durable.awaited_outcome IS 'Outcomes of workflows that were purged while others wait for them';

CREATE TABLE durable.signal
(
	id uuid NOT NULL,
	workflow_id uuid NOT NULL,
	name text COLLATE "C" NOT NULL,
	key text COLLATE "C",
	payload jsonb,
	sent_at timestamptz NOT NULL,
	sequence int,					-- of the wait that took it
	-- of one in a hundred: how many such ones there were, itself included, that nobody had taken
	counted int,
	CONSTRAINT signal_pkey PRIMARY KEY (workflow_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
-- await_signal: the next of a name
CREATE INDEX signal_untaken ON durable.signal (workflow_id, name, id) WHERE sequence IS NULL;
-- signal: how many are there
CREATE INDEX signal_counted ON durable.signal (workflow_id, id) WHERE sequence IS NULL AND counted IS NOT NULL;
-- signal: it was sent before
CREATE UNIQUE INDEX signal_key ON durable.signal (workflow_id, name, key) WHERE key IS NOT NULL;
COMMENT ON TABLE durable.signal IS
	'One row for each signal that was sent to a workflow, with the position of the wait that took it';

CREATE TABLE durable.queue
(
	name text COLLATE "C" NOT NULL,
	max_concurrency int,
	rate_limit int,
	rate_limit_window interval NOT NULL,
	paused boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL,
	key_concurrency int,
	fair boolean NOT NULL DEFAULT false,
	CONSTRAINT queue_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable.queue IS 'One row for each queue, with its limits (NULL is none)';

CREATE FUNCTION durable.queue_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'durable_queue_changed'
LANGUAGE C;
COMMENT ON FUNCTION durable.queue_changed() IS
	'Trigger: tells all sessions that a queue has changed. Errors: 0A000';
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON durable.queue
	FOR EACH ROW EXECUTE FUNCTION durable.queue_changed();
ALTER TABLE durable.queue ENABLE ALWAYS TRIGGER changed;

-- Each claim in a queue with limits writes a new row in place of the last: the newest
-- is read backwards, whatever dead ones there are.
CREATE TABLE durable.queue_count
(
	queue_name text COLLATE "C" NOT NULL,
	n bigint NOT NULL,
	-- the current window of the rate limit, and the claims in it
	window_start timestamptz,
	window_count int NOT NULL,
	-- so many slots at least are free; the number of the next
	free int NOT NULL,
	next_slot bigint NOT NULL,
	-- slots that are taken have numbers from there on, or are among the early ones
	slots_from bigint NOT NULL,
	early bigint[],
	CONSTRAINT queue_count_pkey PRIMARY KEY (queue_name, n)
);
COMMENT ON TABLE durable.queue_count IS 'What claims in a queue with limits have counted';

-- Rows are inserted and deleted only; each has an id of its own, so that nobody
-- waits for another who inserts the same.
CREATE TABLE durable.queue_head
(
	queue_name text COLLATE "C" NOT NULL,
	rank bigint NOT NULL,			-- higher for a higher priority
	id uuid NOT NULL,				-- of the head: the newest has the greatest
	run_at timestamptz NOT NULL,
	workflow_id uuid NOT NULL,		-- the position with run_at; there need not be such a workflow
	-- claim: the newest at the next lower rank, read backwards
	CONSTRAINT queue_head_pkey PRIMARY KEY (queue_name, rank, id)
);
-- start: those behind a position.  The predicate holds for every row.  It keeps the
-- planner from this index where it looks for ids: under an old snapshot it would
-- read all heads that ever were.
CREATE INDEX queue_head_place ON durable.queue_head (queue_name, rank, run_at, workflow_id)
	WHERE run_at IS NOT NULL;
COMMENT ON TABLE durable.queue_head IS
	'Where claims of a rank begin to look: no workflow waits in the queue before that run_at and workflow_id, but those in queue_late';

CREATE TABLE durable.queue_late
(
	head_id uuid NOT NULL,
	run_at timestamptz NOT NULL,
	workflow_id uuid NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT queue_late_pkey PRIMARY KEY (head_id, run_at, workflow_id, id)
);
COMMENT ON TABLE durable.queue_late IS 'Workflows that wait before a head of their queue, or did';

-- Where claims meet the lanes of keys (lane.c).  Rows are inserted and deleted only; the
-- trigger of the registers inserts them, so a dump leaves them out.
CREATE TABLE durable.queue_lane
(
	queue_name text COLLATE "C" NOT NULL,
	key text COLLATE "C" NOT NULL,	-- '' tells only when the lane without a key was served
	turn bigint NOT NULL,
	run_at timestamptz NOT NULL,
	workflow_id uuid NOT NULL,		-- the position with run_at; there need not be such a workflow
	id uuid NOT NULL,
	serve_at timestamptz NOT NULL,	-- the lane was served then, or has waited since then
	CONSTRAINT queue_lane_pkey PRIMARY KEY (queue_name, key, turn, run_at, workflow_id, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
-- claim: those of a rank by position, or as a fair queue serves them
CREATE INDEX queue_lane_order ON durable.queue_lane (queue_name, turn, run_at, workflow_id);
CREATE INDEX queue_lane_service ON durable.queue_lane (queue_name, turn, serve_at, workflow_id);
COMMENT ON TABLE durable.queue_lane IS
	'Where claims begin to look in the lane of a key: whatever waits there waits at or behind one of its rows';

CREATE TABLE durable.executor
(
	executor_id text COLLATE "C" NOT NULL,
	last_seen timestamptz NOT NULL,
	app_version text COLLATE "C",	-- that it has claimed with
	-- of one that is bound to a session: in which run of the server, and how often it was
	bound_run timestamptz,
	bound int,
	CONSTRAINT executor_pkey PRIMARY KEY (executor_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable.executor IS 'One row for each registered executor, with its last heartbeat';

CREATE TABLE durable.schedule
(
	name text COLLATE "C" NOT NULL,
	-- the settings
	cron text NOT NULL,
	queue text COLLATE "C" NOT NULL,
	workflow text COLLATE "C",		-- NULL: the schedule's name
	handler text COLLATE "C",
	input jsonb,
	timezone text NOT NULL,
	overlap text NOT NULL,
	catch_up text NOT NULL,
	priority int NOT NULL,
	timeout interval,
	jitter interval NOT NULL,
	starts_at timestamptz,
	ends_at timestamptz,
	max_recovery_attempts int NOT NULL,
	app_version text COLLATE "C",
	-- the first time of the plan that nothing has been done about; NULL: none is to come
	next_run_at timestamptz,
	paused boolean NOT NULL,
	created_at timestamptz NOT NULL,
	-- the last run, and the time for which it was started
	last_run_at timestamptz,
	last_workflow_id uuid,
	-- overlap queue: a time that waits for the end of the run
	waiting_for timestamptz,
	-- times that were dropped since a run was unfinished
	skipped bigint NOT NULL,
	-- why the last tick could not start a run
	error text,
	CONSTRAINT schedule_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
-- tick: what is due
CREATE INDEX schedule_due ON durable.schedule (next_run_at) WHERE NOT paused;
-- tick: what waits for the end of a run
CREATE INDEX schedule_waiting ON durable.schedule (name) WHERE waiting_for IS NOT NULL;
-- drop_queue
CREATE INDEX schedule_queue ON durable.schedule (queue);
COMMENT ON TABLE durable.schedule IS 'One row for each schedule, with its settings and when it comes next';

-- What is long is compressed by lz4, where the server has it: faster by far.
DO $$
BEGIN
	ALTER TABLE durable.workflow ALTER input SET COMPRESSION lz4, ALTER output SET COMPRESSION lz4, ALTER error SET COMPRESSION lz4, ALTER detail SET COMPRESSION lz4;
	ALTER TABLE durable.step ALTER input SET COMPRESSION lz4, ALTER output SET COMPRESSION lz4, ALTER error SET COMPRESSION lz4, ALTER detail SET COMPRESSION lz4;
	ALTER TABLE durable.event ALTER payload SET COMPRESSION lz4;
	ALTER TABLE durable.signal ALTER payload SET COMPRESSION lz4;
	ALTER TABLE durable.awaited_outcome ALTER output SET COMPRESSION lz4, ALTER error SET COMPRESSION lz4, ALTER detail SET COMPRESSION lz4;
	ALTER TABLE durable.schedule ALTER input SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END $$;

SELECT pg_catalog.pg_extension_config_dump('durable.workflow', '');
SELECT pg_catalog.pg_extension_config_dump('durable.workflow_tags', '');
SELECT pg_catalog.pg_extension_config_dump('durable.step', '');
SELECT pg_catalog.pg_extension_config_dump('durable.event', '');
SELECT pg_catalog.pg_extension_config_dump('durable.open_wait', '');
SELECT pg_catalog.pg_extension_config_dump('durable.open_position', '');
SELECT pg_catalog.pg_extension_config_dump('durable.watch', '');
SELECT pg_catalog.pg_extension_config_dump('durable.wake_note', '');
SELECT pg_catalog.pg_extension_config_dump('durable.awaited_outcome', '');
SELECT pg_catalog.pg_extension_config_dump('durable.signal', '');
SELECT pg_catalog.pg_extension_config_dump('durable.buckets', '');
SELECT pg_catalog.pg_extension_config_dump('durable.parked', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue_count', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue_head', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue_late', '');
SELECT pg_catalog.pg_extension_config_dump('durable.executor', '');
SELECT pg_catalog.pg_extension_config_dump('durable.schedule', '');

---------------------------------------------------------------------------
-- Identity: pure arithmetic, looks nothing up
---------------------------------------------------------------------------

CREATE FUNCTION durable.step_id(workflow_id uuid, sequence int) RETURNS uuid
AS 'MODULE_PATHNAME', 'durable_step_id'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.step_id(uuid, int) IS
	'The id of the step at that position (0 .. 16777213), known before the step runs: an idempotency key. Errors: 22023, 22004';

CREATE FUNCTION durable.bucket(name text) RETURNS int
AS 'MODULE_PATHNAME', 'durable_bucket_name'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.bucket(text) IS
	'The bucket, 0 .. 4095, of a root workflow''s name: top 12 bits of its CRC-32C in UTF-8. Errors: 22023, 22004';

CREATE FUNCTION durable.bucket(task_id uuid) RETURNS int
AS 'MODULE_PATHNAME', 'durable_bucket_id'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.bucket(uuid) IS
	'The bucket, 0 .. 4095, that a task''s id carries: that of its root''s name. Errors: 22004';

CREATE FUNCTION durable.buckets() RETURNS int4multirange
AS 'MODULE_PATHNAME', 'durable_buckets'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.buckets() IS
	'The buckets that this database has: all, 0 .. 4095, unless set_buckets said otherwise';

CREATE FUNCTION durable.set_buckets(ranges int4multirange) RETURNS void
AS 'MODULE_PATHNAME', 'durable_set_buckets'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.set_buckets(int4multirange) IS
	'Says which buckets this database has. Each call for a task or a root''s name of another one is WF016, and nothing that looks for work finds what is unfinished there. Waits for the transactions that have called a function of the extension, and holds up all calls until its own ends: set lock_timeout, and commit. Errors: 22023, 22004';

CREATE FUNCTION durable.require_bucket(task_id uuid) RETURNS void
AS 'MODULE_PATHNAME', 'durable_require_bucket'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.require_bucket(uuid) IS
	'Raises WF016 if the bucket of a task is not in this database; NULL is none. For functions that are not in C. Errors: WF016';

-- Workflows and steps in one shape; a child workflow is shown once, as the workflow.
CREATE VIEW durable.task AS
	SELECT w.id, w.parent_id, w.parent_sequence AS sequence, w.name, w.handler, w.status,
		'WORKFLOW'::durable.task_kind AS kind, w.input, w.output, w.error, w.queue_name, w.executor_id,
		coalesce(w.retry_count, 0) AS retry_count, coalesce(w.max_retries, 0) AS max_retries, w.recovery_count,
		w.created_at, w.started_at, w.completed_at, w.deadline, w.lease, NULL::int AS attempt,
		NULL::text COLLATE "C" AS wait, w.run_at, w.concurrency_key,
		(SELECT g.tags FROM durable.workflow_tags g WHERE g.workflow_id = w.id) AS tags,
		w.cancel_requested_at, w.cancel_reason
	FROM durable.workflow w
	UNION ALL
	SELECT durable.step_id(s.workflow_id, s.sequence), s.workflow_id, s.sequence, s.name, NULL::text COLLATE "C", s.status,
		s.kind, s.input, s.output, s.error, NULL::text COLLATE "C", s.executor_id,
		s.retry_count, s.max_retries, 0,
		s.started_at, s.started_at, s.completed_at, s.deadline, s.lease, s.attempt, s.wait, s.run_at, NULL::text COLLATE "C", NULL::jsonb,
		NULL::timestamptz, NULL::text
	FROM durable.step s
	WHERE s.kind <> 'WORKFLOW';
COMMENT ON VIEW durable.task IS
	'Workflows and steps in one shape; a step''s parent is its workflow, its created_at the start of its latest attempt; wait is the sort of a WAIT, run_at when it ends by itself';

---------------------------------------------------------------------------
-- Time, and what several functions ask for
---------------------------------------------------------------------------

CREATE FUNCTION durable.clock() RETURNS timestamptz
AS 'MODULE_PATHNAME', 'durable_clock'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION durable.clock() IS
	'The time by which the extension goes: the server''s clock, moved by durable.clock_offset. Like clock_timestamp(), it goes on within a statement';

CREATE FUNCTION durable.stale_before(now timestamptz) RETURNS timestamptz
AS 'MODULE_PATHNAME', 'durable_stale_before'
LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.stale_before(timestamptz) IS
	'An executor that was last seen before that time is dead: it was silent for durable.executor_timeout. Errors: 22004';

CREATE FUNCTION durable.is_dead(last_seen timestamptz, stale_before timestamptz) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_is_dead'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.is_dead(timestamptz, timestamptz) IS
	'Whether an executor is dead that was last seen then, or, if NULL, is not registered. Errors: 22004';

CREATE FUNCTION durable.session_ended(executor_id text, bound_run timestamptz, bound int) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_session_ended'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.session_ended(text, timestamptz, int) IS
	'Whether an executor was bound to a session (by wait_for_work) in this run of the server, and that session has ended: then it is dead. Errors: 22004';

-- This is put into the statements that name it, which are planned as if it stood
-- there.  (For that it is not SECURITY DEFINER and has no search_path: it has
-- those of its callers.)
CREATE FUNCTION durable.signs_of_life(workflow_id uuid, since timestamptz) RETURNS SETOF int
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
WITH RECURSIVE below AS (
  SELECT signs_of_life.workflow_id AS id, NULL::timestamptz AS started_at
  UNION ALL
  SELECT i.id, i.started_at FROM below b CROSS JOIN LATERAL
    (SELECT w.id, w.started_at FROM durable.workflow w WHERE w.parent_id = b.id AND w.queue_name IS NULL OFFSET 0) i)
SELECT 1 FROM below b LEFT JOIN durable.step s ON s.workflow_id = b.id
WHERE b.started_at >= since OR s.started_at >= since OR s.completed_at >= since OR s.failed_at >= since
$$;
COMMENT ON FUNCTION durable.signs_of_life(uuid, timestamptz) IS
	'A row for each step of a workflow, and of the inline ones below it, that has begun, ended or failed since, and for each inline one that has begun; the workflow''s own start is not asked for. It runs with the rights of its caller. Errors: 42501';

CREATE FUNCTION durable.entries(index text, keys text[] = '{}', compare text = '=') RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_entries'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.entries(text, text[], text) IS
	'About how many entries an index of the extension has whose first columns are those keys, the last compared by =, <= or >: the pages are counted, and some looked into; exact if they are few. Errors: 22023, 22004';

---------------------------------------------------------------------------
-- Running a workflow
--
-- Callers need EXECUTE only, no privilege on the tables: each function takes on
-- the rights of its owner, and a search_path of its own, in C (begin_call).
---------------------------------------------------------------------------

-- What each step or each job calls returns a named type, not OUT columns: the server
-- describes those anew for each statement that calls the function, a twentieth of a step.
CREATE TYPE durable.started_workflow AS
(
	workflow_id uuid,
	created boolean,
	status durable.task_status,
	lease int,
	owner text,
	replaced boolean
);
COMMENT ON TYPE durable.started_workflow IS
	'What start answers: the workflow, whether it was created, or replaced, and who drives it under which lease';

CREATE TYPE durable.claimed_workflow AS
(
	workflow_id uuid,
	name text,
	handler text,
	input jsonb,
	lease int,
	recovery_count int,
	created_at timestamptz,
	scheduled_for timestamptz
);
COMMENT ON TYPE durable.claimed_workflow IS
	'What claim answers: a workflow that the caller drives now, and the lease under which it does';

CREATE FUNCTION durable.start(name text, input jsonb = NULL, handler text = NULL, executor_id text = NULL,
	queue text = NULL, priority int = 0, run_at timestamptz = NULL, timeout interval = NULL,
	max_recovery_attempts int = 100, app_version text = NULL, concurrency_key text = NULL,
	if_active text = 'attach', if_finished text = 'start', tags jsonb = NULL, max_retries int = 0,
	backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL)
RETURNS durable.started_workflow
AS 'MODULE_PATHNAME', 'durable_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start(text, jsonb, text, text, text, int, timestamptz, interval, int, text, text, text, text, jsonb, int, interval, float8, interval) IS
	'Finds the active root workflow of that name (and attaches to it as attach does) or creates it; owner tells whether the caller drives it. if_active says what one that is there meets: attach; refuse (WF014); or replace: if it never ran, all arguments but the name take the place of its own, and it keeps its id. if_finished says what finished ones mean: start (nothing), start_after_failure (the one created last is the answer, if it is COMPLETED), return (it is the answer): with return a name runs once for as long as it is kept, at any isolation level. tags are an object, searched by containment. run_at, concurrency_key (1 to 1024 bytes), replace and max_retries need a queue: fail of the workflow with retries left makes it wait there again. Errors: WF012, WF014, 42501 (executor_id from a client), 22023, 22004';

CREATE FUNCTION durable.attach(workflow_id uuid, executor_id text = NULL, takeover boolean = false,
	OUT name text, OUT handler text, OUT input jsonb, OUT status durable.task_status, OUT lease int, OUT owner text)
AS 'MODULE_PATHNAME', 'durable_attach'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.attach(uuid, text, boolean) IS
	'Becomes the owner of a workflow that nobody alive drives (or with takeover), under a new lease; otherwise, and where the executor has claimed with another app_version than the workflow''s, joins and writes nothing. Errors: WF001, WF002 (takeover of an inline child), 22023, 22004';

CREATE TYPE durable.claimed_step AS
(
	step_id uuid,
	action durable.claim_action,
	output jsonb,
	error text,
	attempt int,
	run_at timestamptz,
	detail jsonb
);
COMMENT ON TYPE durable.claimed_step IS
	'What claim_step and complete_and_claim answer: the step''s id, what the caller does next, and what it needs for that';

CREATE FUNCTION durable.claim_step(workflow_id uuid, sequence int, name text, input jsonb = NULL,
	kind durable.task_kind = 'STEP', lease int = NULL, executor_id text = NULL, max_retries int = 0,
	backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, timeout interval = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_claim_step'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.claim_step(uuid, int, text, jsonb, durable.task_kind, int, text, int, interval, float8, interval, interval) IS
	'Finds or creates the step at that position and claims it; action says what the caller does; retry n waits backoff * max(1, backoff_multiplier ^ (n - 1)), at most max_backoff; after timeout the step can be claimed again. A replay writes nothing. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.complete(task_id uuid, output jsonb = NULL, lease int = NULL, attempt int = NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_complete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.complete(uuid, jsonb, int, int) IS
	'Records the output of a step or workflow: true if this call did, false if it was done with an equal output. That of a wait is an answer. Errors: WF001, WF002, WF004, WF005, WF008, WF011 (a wait), 22023, 22004';

CREATE FUNCTION durable.fail(task_id uuid, error text, lease int = NULL, attempt int = NULL, retryable boolean = true,
	detail jsonb = NULL, retry_after interval = NULL,
	OUT status durable.task_status, OUT retry_count int, OUT run_at timestamptz)
AS 'MODULE_PATHNAME', 'durable_fail'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.fail(uuid, text, int, int, boolean, jsonb, interval) IS
	'Records the failure of a step or workflow, and detail with it; a step with retries left is PENDING again until run_at, which is after retry_after or, where that is NULL, the backoff; a workflow with retries left too, in its queue, under a new lease. A wait has failed for good. Errors: WF001, WF002, WF004, WF005, WF008, WF011 (a wait), WF012 (of a failed child that would run again), 22023, 22004';

CREATE FUNCTION durable.continue_as(workflow_id uuid, input jsonb, lease int,
	OUT workflow_id uuid, OUT status durable.task_status, OUT lease int)
AS 'MODULE_PATHNAME', 'durable_continue_as'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.continue_as(uuid, jsonb, int) IS
	'Completes a root workflow, without an output, and starts the next run of its name with that input and all else from it, owned by the same executor where it has no queue; signals that nobody has taken go there. Answers the next run; again with an equal input, the same. lease NULL is no fence. Errors: WF001, WF002, WF004, WF005, WF008, 22023 (a child), 22004';

CREATE FUNCTION durable.complete_and_claim(step_id uuid, output jsonb, name text, sequence int = NULL,
	input jsonb = NULL, kind durable.task_kind = 'STEP', lease int = NULL, executor_id text = NULL,
	max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL,
	timeout interval = NULL, attempt int = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_complete_and_claim'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.complete_and_claim(uuid, jsonb, text, int, jsonb, durable.task_kind, int, text, int, interval, float8, interval, interval, int) IS
	'complete of one step and claim_step of the next (sequence defaults to the next number) in one; what the claim refuses is answered as action STOP, the completion stands. Errors: those of complete';

CREATE FUNCTION durable.start_child(parent_id uuid, sequence int, name text, input jsonb = NULL, handler text = NULL,
	lease int = NULL, queue text = NULL, priority int = 0, timeout interval = NULL, concurrency_key text = NULL,
	tags jsonb = NULL, max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2,
	max_backoff interval = NULL, on_parent_end text = 'leave',
	OUT workflow_id uuid, OUT created boolean, OUT status durable.task_status, OUT output jsonb, OUT error text,
	OUT lease int)
AS 'MODULE_PATHNAME', 'durable_start_child'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start_child(uuid, int, text, jsonb, text, int, text, int, interval, text, jsonb, int, interval, float8, interval, text) IS
	'Finds or creates the child workflow at that position: inline (driven by the parent''s driver) or, with a queue, on its own; concurrency_key (1 to 1024 bytes), max_retries and on_parent_end => ''cancel'' need a queue. A finished child comes back as it is. Errors: those of claim_step, WF012';

CREATE FUNCTION durable.patched(workflow_id uuid, sequence int, name text, lease int = NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_patched'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.patched(uuid, int, text, int) IS
	'Which way a program goes that was changed: true where nothing is recorded at that position, or the marker of the patch, a COMPLETED step patch:<name>, which it records then and which the program counts; false where another step is recorded: the old way. Errors: WF001, WF002, WF004 to WF006, WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.start_many(names text[], inputs jsonb[] = NULL, handler text = NULL,
	executor_id text = NULL, queue text = NULL, priority int = 0, run_at timestamptz = NULL,
	timeout interval = NULL, max_recovery_attempts int = 100, app_version text = NULL,
	concurrency_keys text[] = NULL, if_active text = 'attach', if_finished text = 'start', tags jsonb[] = NULL,
	max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL,
	OUT "position" int, OUT workflow_id uuid, OUT created boolean, OUT status durable.task_status, OUT lease int,
	OUT owner text, OUT replaced boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_start_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start_many(text[], jsonb[], text, text, text, int, timestamptz, interval, int, text, text[], text, text, jsonb[], int, interval, float8, interval) IS
	'start of up to 1000 names at once, as if one after the other: a row for each, in order, position from 1. Where an active one is refused, nothing is started. Errors: WF012, WF014, 42501 (executor_id from a client), 22023, 22004';

CREATE FUNCTION durable.complete_many(task_ids uuid[], outputs jsonb[] = NULL, leases int[] = NULL,
	attempts int[] = NULL,
	OUT "position" int, OUT task_id uuid, OUT completed boolean, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_complete_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.complete_many(uuid[], jsonb[], int[], int[]) IS
	'complete of up to 1000 tasks at once: a row for each, in order, position from 1; what complete would raise for one is its error (SQLSTATE: message), the others are completed. Errors: WF008 (taken over while the call waited), 22023, 22004';

CREATE FUNCTION durable.claim_steps(workflow_id uuid, first_sequence int, names text[], inputs jsonb[] = NULL,
	kind durable.task_kind = 'STEP', lease int = NULL, executor_id text = NULL, max_retries int = 0,
	backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, timeout interval = NULL,
	OUT sequence int, OUT step_id uuid, OUT action durable.claim_action, OUT output jsonb, OUT error text,
	OUT attempt int, OUT run_at timestamptz, OUT detail jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_claim_steps'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.claim_steps(uuid, int, text[], jsonb[], durable.task_kind, int, text, int, interval, float8, interval, interval) IS
	'claim_step of up to 1000 positions at once, from first_sequence on; what claim_step would raise for one step is its action STOP with the error (SQLSTATE: message). Errors: WF001, WF002, WF004 to WF006, WF008, 22023, 22004';

CREATE FUNCTION durable.complete_and_claim_many(step_ids uuid[], outputs jsonb[], names text[], leases int[] = NULL,
	attempts int[] = NULL, sequences int[] = NULL, inputs jsonb[] = NULL, kind durable.task_kind = 'STEP',
	executor_id text = NULL, max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2,
	max_backoff interval = NULL, timeout interval = NULL,
	OUT "position" int, OUT step_id uuid, OUT action durable.claim_action, OUT output jsonb, OUT error text,
	OUT attempt int, OUT run_at timestamptz, OUT detail jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_complete_and_claim_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.complete_and_claim_many(uuid[], jsonb[], text[], int[], int[], int[], jsonb[], durable.task_kind, text, int, interval, float8, interval, interval) IS
	'complete_and_claim of up to 1000 steps at once, of any workflows, as if one after the other: a row for each, in order, position from 1; what complete_and_claim would raise for one is its error (SQLSTATE: message), with action NULL, and nothing is done for it. Errors: WF008 (taken over while the call waited), 22023, 22004';

CREATE FUNCTION durable.emit(workflow_id uuid, topic text, payload jsonb = NULL, lease int = NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_emit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.emit(uuid, text, jsonb, int) IS
	'Appends an event of that topic (1 to 1024 bytes) to a RUNNING workflow and returns its number: 1, 2 ... in each workflow, without gaps, so it waits for other open transactions that have emitted there. Errors: WF001, WF002, WF004 to WF006, WF008, WF011, 22023, 22004';

CREATE FUNCTION durable.events(workflow_id uuid, topic text = NULL, after bigint = 0, max_rows int = 100,
	OUT n bigint, OUT topic text, OUT payload jsonb, OUT emitted_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_events'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.events(uuid, text, bigint, int) IS
	'The first max_rows events of a workflow after that number, of one topic or of all, in order. Errors: WF001, 22023, 22004';

---------------------------------------------------------------------------
-- Waiting
---------------------------------------------------------------------------

CREATE FUNCTION durable.sleep(workflow_id uuid, sequence int, name text, duration interval = NULL,
	until timestamptz = NULL, lease int = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_sleep'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.sleep(uuid, int, text, interval, timestamptz, int) IS
	'A wait that ends after duration, counted from its first call, or at until: action WAIT with run_at until then, afterwards REPLAY. An open wait asked again writes nothing. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.await_signal(workflow_id uuid, sequence int, name text, timeout interval = NULL,
	lease int = NULL, signals text[] = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_await_signal'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.await_signal(uuid, int, text, interval, int, text[]) IS
	'A wait that ends with the first signal of that name, its output the payload; with signals, of any of these names, its output {"signal": name, "payload": payload}. If timeout passes first: FAILED with WF013. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.await_workflow(workflow_id uuid, sequence int, name text, awaited uuid,
	timeout interval = NULL, lease int = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_await_workflow'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.await_workflow(uuid, int, text, uuid, interval, int) IS
	'A wait that ends when another workflow is finished, with its output or error; not for itself, an ancestor or an inline descendant. If timeout passes first: FAILED with WF013. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.await_callback(workflow_id uuid, sequence int, name text, timeout interval = NULL,
	lease int = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_await_callback'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.await_callback(uuid, int, text, interval, int) IS
	'A wait that ends when somebody calls answer with step_id. If timeout passes first: FAILED with WF013. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.await_any(workflow_id uuid, sequence int, name text, sequences int[],
	timeout interval = NULL, lease int = NULL)
RETURNS durable.claimed_step
AS 'MODULE_PATHNAME', 'durable_await_any'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.await_any(uuid, int, text, int[], interval, int) IS
	'A wait that ends when one of those positions has ended in whatever way: its output is {"sequence": n} of the first. If timeout passes first: FAILED with WF013. Errors: WF001, WF002, WF004 to WF008, WF011, WF015, 22023, 22004';

CREATE FUNCTION durable.answer(step_id uuid, output jsonb = NULL, error text = NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_answer'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.answer(uuid, jsonb, text) IS
	'Ends an open wait of any sort with an output, or with an error: true if this call did, false if it had ended so before. Errors: WF001, WF002, WF005, WF011, 22023, 22004';

CREATE FUNCTION durable.signal(workflow_id uuid, name text, payload jsonb = NULL, key text = NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_signal'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.signal(uuid, text, jsonb, text) IS
	'Sends a signal to an unfinished workflow, where it is kept until a wait takes it; false if one of that name and key was sent to it before. Errors: WF001, WF005, WF010, WF011, 22023, 22004';

CREATE FUNCTION durable.signal_root(name text, signal text, payload jsonb = NULL, key text = NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_signal_root'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.signal_root(text, text, jsonb, text) IS
	'signal to the active root workflow of that name. Errors: WF001, WF010, 22023, 22004';

CREATE FUNCTION durable.suspend(workflow_id uuid, executor_id text, lease int, open uuid[], until text = 'any',
	OUT status durable.task_status, OUT run_at timestamptz)
AS 'MODULE_PATHNAME', 'durable_suspend'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.suspend(uuid, text, int, uuid[], text) IS
	'Gives the executor and its slot free until one of the open steps (until => ''all'': all of them) has ended or come due: PENDING, and run_at, NULL where only an event can end them; or RUNNING where that has happened: ask again. Open are waits, retries that are not due and stand-ins of queued children, of the workflow or of its inline ones, up to 100000. Errors: WF001, WF002, WF004, WF005, WF008, WF011, 22023, 22004';

CREATE VIEW durable.waiting AS
	SELECT o.workflow_id, o.sequence, durable.step_id(o.workflow_id, o.sequence) AS step_id, s.name, s.wait,
		s.signals, s.awaited, s.sequences, s.started_at AS since, s.run_at, r.name AS root_name, w.queue_name
	FROM durable.open_wait o
		JOIN durable.step s ON s.workflow_id = o.workflow_id AND s.sequence = o.sequence
		JOIN durable.workflow w ON w.id = o.workflow_id
		LEFT JOIN durable.workflow r ON r.id = w.root_id
	-- (CASE hides the statuses from the choice of indexes)
	WHERE CASE WHEN s.status IN ('PENDING', 'PAUSED') AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')
		THEN true ELSE false END;
COMMENT ON VIEW durable.waiting IS
	'All open waits: what each waits for, since when, and the time at which it ends by itself';

CREATE FUNCTION durable.history(workflow_id uuid,
	OUT sequence int, OUT step_id uuid, OUT name text, OUT kind durable.task_kind, OUT status durable.task_status,
	OUT output jsonb, OUT error text, OUT attempt int, OUT run_at timestamptz, OUT child_id uuid,
	OUT detail jsonb, OUT wait text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_history'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.history(uuid) IS
	'Every recorded step in order: a whole replay in one round trip. Errors: WF001, 22023, 22004';

CREATE FUNCTION durable.status(task_id uuid) RETURNS durable.task_status
AS 'MODULE_PATHNAME', 'durable_status'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.status(uuid) IS 'The status of a workflow or step. Errors: WF001, 22004';

CREATE FUNCTION durable.input(task_id uuid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'durable_input'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.input(uuid) IS 'The recorded input of a workflow or step. Errors: WF001, 22004';

CREATE FUNCTION durable.output(task_id uuid) RETURNS jsonb
AS 'MODULE_PATHNAME', 'durable_output'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.output(uuid) IS
	'The recorded output of a workflow or step, NULL unless COMPLETED. Errors: WF001, 22004';

CREATE FUNCTION durable.error(task_id uuid) RETURNS text
AS 'MODULE_PATHNAME', 'durable_error'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.error(uuid) IS 'The last recorded error of a workflow or step. Errors: WF001, 22004';

CREATE FUNCTION durable.is_completed(task_id uuid) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_is_completed'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.is_completed(uuid) IS 'Whether a workflow or step is COMPLETED. Errors: WF001, 22004';

CREATE FUNCTION durable.continued_as(workflow_id uuid) RETURNS uuid
AS 'MODULE_PATHNAME', 'durable_continued_as'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.continued_as(uuid) IS 'The run in which a workflow goes on that has called continue_as; NULL if it has not. Errors: WF001, 22023, 22004';

CREATE FUNCTION durable.set_timeout(task_id uuid, timeout interval) RETURNS void
AS 'MODULE_PATHNAME', 'durable_set_timeout'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.set_timeout(uuid, interval) IS
	'Re-arms the deadline of an unfinished workflow or step: started_at + timeout; NULL removes it. Errors: WF001, WF002, 22023, 22004';

CREATE FUNCTION durable.set_tags(workflow_id uuid, tags jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'durable_set_tags'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.set_tags(uuid, jsonb) IS
	'Gives a workflow, in whatever status, these tags in the place of all that it has; NULL: none. Errors: WF001, 22023, 22004';

---------------------------------------------------------------------------
-- Control
---------------------------------------------------------------------------

CREATE FUNCTION durable.fork(workflow_id uuid, from_sequence int, name text = NULL, input jsonb = NULL,
	queue text = NULL, executor_id text = NULL, run_at timestamptz = NULL, app_version text = NULL,
	OUT workflow_id uuid, OUT status durable.task_status, OUT lease int)
AS 'MODULE_PATHNAME', 'durable_fork'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.fork(uuid, int, text, jsonb, text, text, timestamptz, text) IS
	'A new root with copies of all that a workflow, in whatever status, has recorded before from_sequence, and the signals that it has not taken there; name and input are those of the original unless given, run_at needs a queue. What was a child is a record: start_child answers from it. Errors: WF001, WF002 (a step without an outcome), WF012, WF014 (the name is active), 22023, 22004';

CREATE FUNCTION durable.pause_tree(workflow_id uuid) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_pause_tree'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.pause_tree(uuid) IS
	'Pauses a workflow and all below it; a RUNNING step may still record its outcome. Returns the number of tasks changed. Errors: WF001, WF002, WF005, 22023, 22004';

CREATE FUNCTION durable.resume_tree(workflow_id uuid) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_resume_tree'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_tree(uuid) IS
	'Undoes exactly what pause_tree of that workflow did. Returns the number of tasks changed. Errors: WF001, WF002, WF005, 22023, 22004';

CREATE FUNCTION durable.cancel_tree(workflow_id uuid) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_cancel_tree'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.cancel_tree(uuid) IS
	'Cancels a workflow and all that is unfinished below it, for good; a RUNNING step can record no outcome any more. Returns the number of tasks changed. Errors: WF001, WF002, WF005, 22023, 22004';

CREATE FUNCTION durable.request_cancel(workflow_id uuid, reason text = NULL, grace interval = NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_request_cancel'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.request_cancel(uuid, text, interval) IS
	'Asks a workflow, and all below it, to end by themselves; what never ran is CANCELLED. Each program is told once, by a FAILED step or wait with the error WF017: cancel requested: <reason>; what it does then works as always. After grace (at most 1000 years) tick cancels what has not ended, as cancel_tree; NULL: never. A second request changes only grace, counted from then. Returns how many workflows were asked or cancelled. Errors: WF001, WF002, WF005, 22023, 22004';

CREATE FUNCTION durable.cancel_many(ids uuid[], OUT "position" int, OUT workflow_id uuid, OUT changed bigint, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_cancel_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.cancel_many(uuid[]) IS
	'cancel_tree of many workflows (at most 1000), one after the other: a row for each, in their order, with the number of tasks changed, or the error WFnnn that cancel_tree would raise. Errors: 22023, 22004';

CREATE FUNCTION durable.resume_failed(workflow_id uuid, executor_id text = NULL, from_sequence int = 0,
	OUT handler text, OUT input jsonb, OUT status durable.task_status, OUT lease int)
AS 'MODULE_PATHNAME', 'durable_resume_failed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_failed(uuid, text, int) IS
	'Runs a FAILED workflow again from its last completed step; failures before from_sequence are kept. What request_cancel has asked of it is forgotten. Errors: WF001, WF002, WF005, WF009, WF012, 22023, 22004';

CREATE FUNCTION durable.resume_failed_many(ids uuid[], OUT "position" int, OUT workflow_id uuid, OUT handler text, OUT input jsonb,
	OUT status durable.task_status, OUT lease int, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_resume_failed_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_failed_many(uuid[]) IS
	'resume_failed of many workflows (at most 1000), one after the other: a row for each, in their order, with what resume_failed answers, or the error WFnnn that it would raise. Errors: 22023, 22004';

---------------------------------------------------------------------------
-- Queues, executors, recovery
---------------------------------------------------------------------------

CREATE FUNCTION durable.create_queue(name text, max_concurrency int = NULL, rate_limit int = NULL,
	rate_limit_window interval = '1 second', key_concurrency int = NULL, fair boolean = false,
	if_exists text = 'refuse') RETURNS void
AS 'MODULE_PATHNAME', 'durable_create_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.create_queue(text, int, int, interval, int, boolean, text) IS
	'Creates a queue from which at most max_concurrency workflows run at once, at most key_concurrency of one concurrency_key, and at most rate_limit start in each rate_limit_window (one window after the other: up to twice as many in a time that lies across two); NULL is no limit. fair: among equal priorities, the key that has the fewest running goes first, then the one that was served longest ago. One that is there with the same settings is left alone; with others it is refused, kept, or altered, as if_exists says (refuse, keep, alter). Errors: 42710, 22023, 22004';

CREATE FUNCTION durable.alter_queue(name text, max_concurrency int = NULL, rate_limit int = NULL,
	rate_limit_window interval = '1 second', key_concurrency int = NULL, fair boolean = false) RETURNS void
AS 'MODULE_PATHNAME', 'durable_alter_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.alter_queue(text, int, int, interval, int, boolean) IS
	'Sets all limits of a queue, and whether it is fair; NULL is no limit. Waits for who has a running workflow of the queue locked, if slots are to be counted from now on. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.drop_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_drop_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.drop_queue(text) IS
	'Drops a queue that has no unfinished workflow, and in which no schedule starts any. Errors: WF002, WF012, 22023, 22004';

CREATE FUNCTION durable.pause_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_pause_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.pause_queue(text) IS
	'Nothing is claimed from the queue until resume_queue. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.resume_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_resume_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_queue(text) IS 'Undoes pause_queue. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.claim(queue text, executor_id text, max_workflows int = 1, handlers text[] = NULL,
	app_version text = NULL)
RETURNS SETOF durable.claimed_workflow
AS 'MODULE_PATHNAME', 'durable_claim'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.claim(text, text, int, text[], text) IS
	'Takes up to max_workflows due workflows from a queue, within its limits, by priority (higher first), then run_at, id, or, if the queue is fair, by turns of keys; scheduled_for is the time of a schedule''s plan for which it was started. handlers: those with one of these handlers only; app_version: those of that version or of none only. The cost is linear in what these pass over: where that is much, use a queue each. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.claim_from(queues text[], executor_id text, max_workflows int = 1, handlers text[] = NULL,
	app_version text = NULL,
	OUT workflow_id uuid, OUT name text, OUT handler text, OUT input jsonb, OUT lease int, OUT recovery_count int,
	OUT created_at timestamptz, OUT scheduled_for timestamptz, OUT queue text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_claim_from'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.claim_from(text[], text, int, text[], text) IS
	'claim from up to 1000 queues, in the order of the array, up to max_workflows in all; each row has its queue. It waits for the claims of others in one queue at most, and passes over further ones that are not free at once. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.drain_queue(name text, max_rows int = 1000) RETURNS int
AS 'MODULE_PATHNAME', 'durable_drain_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.drain_queue(text, int) IS
	'Cancels what waits in a queue and never ran, at most so many, and returns how many; what somebody has locked is left. Call it until it returns 0. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.heartbeat(executor_id text, workflow_ids uuid[] = NULL, leases int[] = NULL,
	OUT workflow_id uuid, OUT status durable.task_status, OUT lease int, OUT owner text,
	OUT cancel_requested_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_heartbeat'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.heartbeat(text, uuid[], int[]) IS
	'Registers or refreshes an executor, and answers the workflows about which it is wrong: of those that it believes it runs, those that it owns without knowing, and those that were asked to end and whose program was not told yet. Errors: 22023, 22004';

CREATE FUNCTION durable.recover(executor_id text, max_workflows int = 100, stale_after interval = NULL,
	queue text = NULL, handlers text[] = NULL, app_version text = NULL,
	OUT workflow_id uuid, OUT parent_id uuid, OUT name text, OUT handler text, OUT input jsonb, OUT lease int,
	OUT recovery_count int, OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_recover'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.recover(text, int, interval, text, text[], text) IS
	'Takes over workflows that nobody alive drives (silent for stale_after, by default durable.executor_timeout), that are past their deadline, or that were released, under a new lease; handlers and app_version as in claim. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.release(executor_id text, workflow_id uuid = NULL, run_at timestamptz = NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.release(text, uuid, timestamptz) IS
	'Hands all workflows of an executor back and forgets it, or just the one, not before run_at. Returns how many. Errors: WF001, 22023, 22004';

---------------------------------------------------------------------------
-- Schedules, and what time brings
---------------------------------------------------------------------------

CREATE FUNCTION durable.create_schedule(name text, cron text, queue text, workflow text = NULL, handler text = NULL,
	input jsonb = NULL, timezone text = 'UTC', overlap text = 'skip', catch_up text = 'last', priority int = 0,
	timeout interval = NULL, jitter interval = '0', starts_at timestamptz = NULL, ends_at timestamptz = NULL,
	max_recovery_attempts int = 100, app_version text = NULL, if_exists text = 'refuse') RETURNS void
AS 'MODULE_PATHNAME', 'durable_create_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.create_schedule(text, text, text, text, text, jsonb, text, text, text, int, interval, interval, timestamptz, timestamptz, int, text, text) IS
	'Creates a schedule: at each time of cron, in the time zone, from starts_at to ends_at, tick starts a root named <workflow, by default the schedule''s name>@<time in UTC> in the queue, up to jitter later. overlap says what happens while a run is unfinished (skip, queue, all, cancel), catch_up what happens with times missed by more than a minute (none, last, all). One that is there with the same settings is left alone; with others it is refused, kept, or altered, as if_exists says (refuse, keep, alter). Errors: 42710, WF012 (no such queue), 22023, 22004';

CREATE FUNCTION durable.alter_schedule(name text, cron text, queue text, workflow text = NULL, handler text = NULL,
	input jsonb = NULL, timezone text = 'UTC', overlap text = 'skip', catch_up text = 'last', priority int = 0,
	timeout interval = NULL, jitter interval = '0', starts_at timestamptz = NULL, ends_at timestamptz = NULL,
	max_recovery_attempts int = 100, app_version text = NULL) RETURNS void
AS 'MODULE_PATHNAME', 'durable_alter_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.alter_schedule(text, text, text, text, text, jsonb, text, text, text, int, interval, interval, timestamptz, timestamptz, int, text) IS
	'Sets all settings of a schedule. It keeps next_run_at if cron and time zone stay, else it counts from now. Errors: WF012 (no such schedule or queue), 22023, 22004';

CREATE FUNCTION durable.drop_schedule(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_drop_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.drop_schedule(text) IS
	'Drops a schedule; its runs go on. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.pause_schedule(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_pause_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.pause_schedule(text) IS
	'A schedule starts nothing until resume_schedule; its runs go on. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.resume_schedule(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_resume_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_schedule(text) IS
	'Undoes pause_schedule; catch_up says what becomes of the times in between. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.trigger_schedule(name text) RETURNS uuid
AS 'MODULE_PATHNAME', 'durable_trigger_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.trigger_schedule(text) IS
	'Starts a run of a schedule now, outside of its plan, by the same overlap rule, and returns its id; NULL if it was skipped or has to wait. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.backfill_schedule(name text, from_time timestamptz, to_time timestamptz) RETURNS int
AS 'MODULE_PATHNAME', 'durable_backfill_schedule'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.backfill_schedule(text, timestamptz, timestamptz) IS
	'Starts a run for each past time of a schedule''s plan from from_time to to_time, both included, that has none, at most 1000 of them, the oldest first, whatever runs. Returns how many. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.next_runs(cron text, timezone text = 'UTC', after timestamptz = NULL, max_rows int = 10)
RETURNS SETOF timestamptz
AS 'MODULE_PATHNAME', 'durable_next_runs'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.next_runs(text, text, timestamptz, int) IS
	'The first max_rows times (at most 1000000) at which a schedule with that cron and time zone would come after that time, by default now. Errors: 22023, 22004';

CREATE FUNCTION durable.tick(max_rows int = 1000) RETURNS int
AS 'MODULE_PATHNAME', 'durable_tick'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.tick(int) IS
	'Does what time has brought: starts what schedules are due, returns workflows of dead executors or past their deadline to their queue, purges by durable.retention, forgets dead executors. Returns how much it has done, at most max_rows. Waits for nobody; any number may call it at any time. Errors: 22023, 22004';

---------------------------------------------------------------------------
-- Waiting: procedures, called by CALL outside of a transaction block, that wait
-- without a transaction
---------------------------------------------------------------------------

CREATE PROCEDURE durable.wait_for_work(executor_id text, queues text[] = '{}', timeout interval = '30 s',
	bind boolean = false, INOUT reason text = NULL)
AS 'MODULE_PATHNAME', 'durable_wait_for_work'
LANGUAGE C;
COMMENT ON PROCEDURE durable.wait_for_work(text, text[], interval, boolean, text) IS
	'Waits until there is something for the executor to do: work (to claim from one of the queues; without queues, released roots to recover), news (of a workflow that it drives), recover (what a dead executor has left), or timeout (NULL: never). Also its heartbeat. With bind the executor is dead as soon as this session ends. Errors: WF008 (another session has bound it), WF012, 25001 (in a transaction), 25006, 55000 (the extension was dropped), 22023, 22004';

CREATE PROCEDURE durable.wait_for_end(task_id uuid, timeout interval = '30 s',
	INOUT status durable.task_status = NULL, INOUT output jsonb = NULL, INOUT error text = NULL)
AS 'MODULE_PATHNAME', 'durable_wait_for_end'
LANGUAGE C;
COMMENT ON PROCEDURE durable.wait_for_end(uuid, interval, durable.task_status, jsonb, text) IS
	'Waits until a workflow or step has ended, or for that long (NULL: for ever), and answers its status, output and error as they are then. Errors: WF001, 25001 (in a transaction), 25006, 55000 (the extension was dropped), 22023, 22004';

CREATE PROCEDURE durable.wait_for_event(workflow_id uuid, topic text = NULL, after bigint = 0, timeout interval = '30 s',
	INOUT n bigint = NULL)
AS 'MODULE_PATHNAME', 'durable_wait_for_event'
LANGUAGE C;
COMMENT ON PROCEDURE durable.wait_for_event(uuid, text, bigint, interval, bigint) IS
	'Waits until the workflow has emitted an event (of that topic) after number n, or has ended, or for that long (NULL: for ever), and answers the number of the first such event, or NULL. Errors: WF001, 25001 (in a transaction), 25006, 55000 (the extension was dropped), 22023, 22004';

CREATE FUNCTION durable.wake_mode() RETURNS text
AS 'MODULE_PATHNAME', 'durable_wake_mode'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.wake_mode() IS
	'How this session is woken from a wait: by shared memory, or looking every 50 ms, where that cannot be had or durable.wake forbids it';

CREATE FUNCTION durable.left_to_statements() RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_left_to_statements'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.left_to_statements() IS
	'How many statements their fast path has left to the server''s executor, in all databases since the server has begun; NULL where there is no shared memory for it. durable.statements() shows the session''s, one by one';

---------------------------------------------------------------------------
-- Looking
---------------------------------------------------------------------------

-- list, count, tree, stats and metrics are in SQL: so they have their owner's
-- rights and a search_path as any function can have them.  None of them waits for
-- a compiler or for workers to start, which takes longer than most of them; tree
-- and stats are planned by index, whatever statistics say.
--
-- list and count build their statements of the words that stand here, and pass all that
-- is the caller's as parameters.  They are planned for these: what is not asked for folds
-- away.

CREATE FUNCTION durable.require_count(argument text, value int) RETURNS int
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF value IS NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22004',
      MESSAGE = format('argument "%s" must not be NULL', argument),
      DETAIL = 'There is nothing that NULL could mean here.',
      HINT = 'Pass a value.';
  ELSIF value < 0 THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = format('argument "%s" must be at least 0', argument),
      DETAIL = format('It is %s.', value),
      HINT = 'Pass a number in that range.';
  END IF;
  RETURN value;
END $$;
COMMENT ON FUNCTION durable.require_count(text, int) IS
	'For functions in SQL: the value of an argument that says how many. Errors: 22023, 22004';

-- $1 to $8 are the filters in their order, without the kind.
CREATE FUNCTION durable.filters(by_tags boolean, by_driver boolean = false, suspended_only boolean = false) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT '($1 IS NULL OR t.status = $1) AND ($2 IS NULL OR t.parent_id = $2) AND (NOT $3 OR t.parent_id IS NULL) '
  'AND ($4 IS NULL OR t.name = $4) AND ($5 IS NULL OR t.queue_name = $5) AND ($6 IS NULL OR t.handler = $6)'
  -- not within an OR, which would not become a join
  || CASE WHEN by_tags THEN ' AND EXISTS (SELECT 1 FROM durable.workflow_tags g WHERE g.workflow_id = t.id AND g.tags @> $7)' ELSE '' END
  || CASE WHEN by_driver THEN ' AND EXISTS (SELECT 1 FROM durable.driven d WHERE d.executor_id = $8 AND d.id = t.id)' ELSE '' END
  || CASE WHEN suspended_only THEN ' AND EXISTS (SELECT 1 FROM durable.suspended s WHERE s.id = t.id)' ELSE '' END
$$;
COMMENT ON FUNCTION durable.filters(boolean, boolean, boolean) IS
	'The condition on a row t of durable.workflow or durable.task that list and count share';

-- FROM items of ids.
CREATE FUNCTION durable.standing(status durable.task_status) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE
  WHEN standing.status = 'PENDING' THEN '(SELECT p.id FROM durable.pending p UNION ALL SELECT s.id FROM durable.suspended s WHERE NOT s.has_time'
  WHEN standing.status = 'RUNNING' THEN '(SELECT d.id FROM durable.driven d WHERE NOT EXISTS (SELECT 1 FROM durable.paused p WHERE p.id = d.id)'
  WHEN standing.status = 'PAUSED' THEN '(SELECT p.id FROM durable.paused p)'
  WHEN standing.status = 'COMPLETED' THEN '(SELECT e.id FROM durable.ended e WHERE e.is_root AND e.status = ''COMPLETED'''
    ' UNION ALL SELECT e.id FROM durable.ended e WHERE NOT e.is_root AND e.status = ''COMPLETED'''
  ELSE format('(SELECT u.id FROM durable.unsuccessful u WHERE u.status = %L)', standing.status) END
  || CASE WHEN standing.status IN ('PENDING', 'RUNNING', 'COMPLETED') THEN
    format(' UNION ALL SELECT i.id FROM durable.inline_child i WHERE i.status = %L)', standing.status) ELSE '' END
$$;
COMMENT ON FUNCTION durable.standing(durable.task_status) IS
	'For list and count: the workflows of a status, as the registers have them';

-- Ids are in the order of created_at.  So what is sorted by that is found along an index
-- that has the id behind what is asked for.  No index has a status, for example.  Then there are
-- three ways.  A register is read as a whole, if it is small, or as far as needed, if it is in that
-- order.  Else the first 2,000 or so are read along the index; where these have a tenth of what
-- is wanted, we go on from the last one found, twice as far as should be enough.  If that is not
-- enough: all of the register after all, or on along the index, whatever is less.  What has the
-- tags that are asked for is such a register, too, but it is only looked into when the first along
-- the index are too few: to count even a few of very many takes long.
-- What an executor drives, and what is suspended, is always read in its register.
CREATE FUNCTION durable.by_age(status durable.task_status, parent_id uuid, root_only boolean, name text, queue_name text,
	handler text, tags jsonb, driven_by text, suspended_only boolean, only_without text, descending boolean, after_id uuid, most bigint)
RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp SET enable_sort = off SET enable_seqscan = off
AS $$
DECLARE
  small CONSTANT int := 500;
  first CONSTANT bigint := greatest(CASE WHEN tags IS NULL THEN 2000 ELSE 500 END, 4 * most);
  step bigint := first;
  direction CONSTANT text := CASE WHEN descending THEN 'DESC' ELSE 'ASC' END;
  behind CONSTANT text := CASE WHEN descending THEN '<' ELSE '>' END;
  -- the filter whose index is gone along: of several, that which matches least
  filter CONSTANT text := (SELECT f.f
    FROM (VALUES ('parent_id', parent_id::text), ('name', name), ('queue_name', queue_name), ('handler', handler)) f (f, value)
    WHERE f.value IS NOT NULL
    ORDER BY CASE WHEN num_nonnulls(parent_id, name, queue_name, handler) > 1 THEN durable.entries('workflow_' || split_part(f.f, '_', 1), ARRAY[f.value]) END
    LIMIT 1);
  value CONSTANT text := CASE filter WHEN 'parent_id' THEN '$2' WHEN 'name' THEN '$4' WHEN 'queue_name' THEN '$5' ELSE '$6' END;
  -- a range of it, not =: so no other index has the rows in that order
  from_start CONSTANT text := CASE WHEN filter IS NULL THEN 'true' ELSE format('t.%1$I >= %2$s AND t.%1$I <= %2$s', filter, value) END;
  further CONSTANT text := CASE
    WHEN filter IS NULL THEN format('t.id %s $9', behind)
    ELSE format('(t.%1$I, t.id) %3$s (%2$s, $9) AND t.%1$I %3$s= %2$s AND t.%1$I %4$s= %2$s', filter, value, behind,
      CASE WHEN descending THEN '>' ELSE '<' END) END;
  along text := CASE WHEN after_id IS NULL THEN from_start ELSE further END;
  ordered CONSTANT text := format('ORDER BY %s t.id %s', 't.' || filter || ' ' || direction || ',', direction);
  -- CASE hides it from the choice of indexes
  is_it CONSTANT text := format('CASE WHEN %s AND %s THEN true ELSE false END', durable.filters(tags IS NOT NULL),
    CASE only_without WHEN 'started_at' THEN 't.started_at IS NULL' WHEN 'completed_at' THEN 't.completed_at IS NULL' ELSE 'true' END);
  in_register CONSTANT boolean := driven_by IS NOT NULL OR suspended_only;
  register text := CASE
    WHEN driven_by IS NOT NULL THEN '(SELECT d.id FROM durable.driven d WHERE d.executor_id = $8)'
    WHEN suspended_only THEN '(SELECT s.id FROM durable.suspended s WHERE $5 IS NULL OR s.queue_name = $5)'
    WHEN only_without = 'started_at' THEN concat('(', durable.standing('PENDING'), ' UNION ALL ', durable.standing('PAUSED'),
      ' UNION ALL SELECT u.id FROM durable.unstarted u)')
    WHEN only_without = 'completed_at' AND root_only THEN '(SELECT r.id FROM durable.active_root r)'
    WHEN only_without = 'completed_at' THEN concat('(', durable.standing('PENDING'), ' UNION ALL ', durable.standing('RUNNING'),
      ' UNION ALL ', durable.standing('PAUSED'), ')')
    WHEN status IS NOT NULL THEN durable.standing(status)
    WHEN root_only THEN '(SELECT r.id FROM durable.active_root r UNION ALL SELECT e.id FROM durable.ended e WHERE e.is_root)' END;
  -- whether that is all that is asked for, or has it in order
  is_exact CONSTANT boolean := filter IS NULL AND tags IS NULL AND only_without IS DISTINCT FROM 'started_at'
    AND CASE WHEN in_register THEN status IS NULL AND NOT root_only ELSE status IS NULL OR NOT root_only END;
  is_ordered CONSTANT boolean := filter IS NULL AND tags IS NULL AND coalesce(status IN ('FAILED', 'CANCELLED', 'PAUSED'), false);
  count_register CONSTANT text := 'SELECT count(*) <= %1$s FROM (SELECT 1 FROM %2$s r LIMIT %1$s + 1) r';
  is_small boolean := in_register OR is_ordered;
  is_all boolean;
  size bigint;
  last uuid := after_id;
  found uuid[] := '{}';
  more uuid[];
BEGIN
  IF register IS NOT NULL AND NOT is_small THEN
    EXECUTE format(count_register, small, register) INTO is_small;
  END IF;
  IF (register IS NOT NULL OR tags IS NOT NULL) AND NOT is_small THEN
    LOOP
      -- t.* would make a NULL of each other column
      EXECUTE format('SELECT ARRAY(SELECT t.id FROM (SELECT t.id, t.status, t.parent_id, t.name, t.queue_name, t.handler, t.started_at, t.completed_at '
          'FROM durable.workflow t WHERE %1$s %2$s LIMIT $11) t WHERE %3$s %2$s LIMIT $10)', along, ordered, is_it)
        INTO more USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, last, most - cardinality(found), step;
      found := found || more;
      IF cardinality(found) >= most THEN
        RETURN found;
      END IF;
      EXIT WHEN step > first OR tags IS NOT NULL OR cardinality(found) < greatest(most / 10, 1);
      along := further;
      last := found[cardinality(found)];
      step := 2 * most * first / cardinality(found);
    END LOOP;
    EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM durable.workflow t WHERE %s %s OFFSET $10 LIMIT 1)', along, ordered)
      INTO is_all USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, last, step;
    IF is_all THEN
      RETURN found;
    END IF;
    IF tags IS NOT NULL THEN
      -- what has the tags, by their index
      register := '(SELECT g.workflow_id FROM durable.workflow_tags g WHERE g.tags @> $7 OFFSET 0)';
      EXECUTE format(count_register, 2000, register) INTO is_small USING status, parent_id, root_only, name, queue_name, handler, tags;
    ELSIF only_without IS NULL THEN
      -- who goes on along the index passes at most over what is not in the register
      size := durable.count(status, root_only => root_only AND status IS NULL);
      is_small := size < durable.entries('workflow_pkey') - size AND (filter IS NULL
        OR size < durable.entries('workflow_' || split_part(filter, '_', 1),
          ARRAY[CASE filter WHEN 'parent_id' THEN parent_id::text WHEN 'name' THEN name WHEN 'queue_name' THEN queue_name ELSE handler END]));
    ELSE
      is_small := is_exact;
    END IF;
  END IF;
  IF is_small THEN
    EXECUTE format('SELECT ARRAY(SELECT r.id FROM %s r (id) %s WHERE $9 IS NULL OR r.id %s $9 ORDER BY r.id %s LIMIT $10)', register,
        CASE WHEN NOT is_exact THEN
          format('CROSS JOIN LATERAL (SELECT 1 FROM durable.workflow t WHERE t.id = r.id AND %s OFFSET 0) t', is_it) END,
        behind, direction)
      INTO found USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, after_id, most;
    RETURN found;
  END IF;
  IF found <> '{}' THEN
    along := further;
    last := found[cardinality(found)];
  END IF;
  EXECUTE format('SELECT ARRAY(SELECT t.id FROM durable.workflow t WHERE %s AND %s %s LIMIT $10)', along, is_it, ordered)
    INTO more USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, last, most - cardinality(found);
  RETURN found || more;
END $$;
COMMENT ON FUNCTION durable.by_age(durable.task_status, uuid, boolean, text, text, text, jsonb, text, boolean, text, boolean, uuid, bigint) IS
	'For list: the first workflows by created_at that match the filters, and have no started_at or no completed_at, as only_without says. It runs with the rights of its caller. Errors: 42501';

-- Nothing has started after it has ended.  So where what has ended is read by that, the latest
-- first, nothing behind it has started later: page by page, until that settles it.
CREATE FUNCTION durable.latest_started(root_only boolean, most bigint) RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  step bigint := 2 * most + 100;
  found uuid[];
  last timestamptz;
  edge timestamptz;
BEGIN
  -- what waits again, having run
  IF (SELECT count(*) > 2000 FROM (SELECT 1 FROM durable.pending UNION ALL SELECT 1 FROM durable.paused UNION ALL SELECT 1 FROM durable.suspended LIMIT 2001) r) THEN
    RETURN NULL;
  END IF;
  LOOP
    WITH RECURSIVE
    owner AS (
      (SELECT d.executor_id, d.started_at FROM durable.driven d ORDER BY d.executor_id DESC, d.started_at DESC LIMIT 1)
      UNION ALL
      SELECT n.executor_id, n.started_at FROM owner o CROSS JOIN LATERAL (SELECT d.executor_id, d.started_at FROM durable.driven d
        WHERE d.executor_id < o.executor_id ORDER BY d.executor_id DESC, d.started_at DESC LIMIT 1) n),
    -- of the executors that have started something last, what they have started since the least of those
    recent AS (
      SELECT o.executor_id, CASE WHEN count(*) OVER () < most THEN '-infinity' ELSE min(o.started_at) OVER () END AS since
      FROM (SELECT o.* FROM owner o ORDER BY o.started_at DESC LIMIT most) o),
    ended AS MATERIALIZED (
      SELECT e.id, e.ended_at, e.n FROM (VALUES (false), (true)) AS r (is_root)
        CROSS JOIN (VALUES ('COMPLETED'::durable.task_status), ('FAILED'), ('CANCELLED')) AS f (status)
        CROSS JOIN LATERAL (SELECT e.id, e.ended_at, row_number() OVER (ORDER BY e.ended_at DESC, e.id DESC) AS n FROM durable.ended e
          WHERE e.is_root = r.is_root AND e.status = f.status ORDER BY e.ended_at DESC, e.id DESC LIMIT step) e
      WHERE r.is_root OR NOT root_only),
    first AS MATERIALIZED (
      SELECT w.id, w.started_at
      FROM (SELECT d.id FROM recent r CROSS JOIN LATERAL (SELECT d.id FROM durable.driven d
            WHERE d.executor_id = r.executor_id AND d.started_at >= r.since
            ORDER BY d.started_at DESC, d.id DESC LIMIT most) d
          UNION SELECT p.id FROM durable.pending p UNION SELECT p.id FROM durable.paused p UNION SELECT s.id FROM durable.suspended s
          UNION SELECT e.id FROM ended e) c
        CROSS JOIN LATERAL (SELECT w.id, w.started_at FROM durable.workflow w
          WHERE w.id = c.id AND CASE WHEN w.started_at IS NOT NULL AND (w.parent_id IS NULL OR NOT root_only) THEN true ELSE false END OFFSET 0) w
      ORDER BY w.started_at DESC, w.id DESC LIMIT most)
    SELECT (SELECT array_agg(f.id ORDER BY f.started_at DESC, f.id DESC) FROM first f),
        (SELECT min(f.started_at) FROM first f HAVING count(*) = most),
        (SELECT max(e.ended_at) FROM ended e WHERE e.n = step)
      INTO found, last, edge;
    IF edge IS NULL OR last > edge THEN
      RETURN coalesce(found, '{}');
    END IF;
    step := step * 8;
    IF step > 20000 THEN
      RETURN NULL;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION durable.latest_started(boolean, bigint) IS
	'For list: the workflows that have started last, where no inline children are asked for; NULL if too many would have to be read. It runs with the rights of its caller. Errors: 42501';

CREATE FUNCTION durable.list(status durable.task_status = NULL, kind durable.task_kind = NULL, parent_id uuid = NULL,
	root_only boolean = false, name text = NULL, queue_name text = NULL, handler text = NULL,
	sort text = 'created_at', descending boolean = true, max_rows int = 100, skip int = 0, after_id uuid = NULL,
	tags jsonb = NULL, driven_by text = NULL, suspended_only boolean = false)
RETURNS SETOF durable.task
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET constraint_exclusion = on
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  most CONSTANT bigint := durable.require_count('max_rows', max_rows)::bigint + durable.require_count('skip', skip);
  direction CONSTANT text := CASE WHEN descending THEN 'DESC' ELSE 'ASC' END;
  filters CONSTANT int := num_nonnulls(status, parent_id, name, queue_name, handler, tags, driven_by, nullif(suspended_only, false));
  condition CONSTANT text := durable.filters(tags IS NOT NULL, driven_by IS NOT NULL, suspended_only);
  way text;
  one durable.task_status;
  is_settled boolean;
  rest uuid[];
  found uuid[] := '{}';
BEGIN
  PERFORM durable.require_bucket(list.parent_id);
  IF sort IS NULL OR descending IS NULL OR root_only IS NULL OR suspended_only IS NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22004',
      MESSAGE = format('argument "%s" must not be NULL',
        CASE WHEN sort IS NULL THEN 'sort' WHEN descending IS NULL THEN 'descending' WHEN root_only IS NULL THEN 'root_only' ELSE 'suspended_only' END),
      DETAIL = 'There is nothing that NULL could mean here.',
      HINT = 'Pass a value.';
  ELSIF sort COLLATE "C" NOT IN ('created_at', 'started_at', 'completed_at', 'name', 'status') THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = 'argument "sort" must be the name of a column to sort by',
      DETAIL = format('It is "%s".', sort),
      HINT = 'Pass created_at, started_at, completed_at, name or status.';
  ELSIF after_id IS NOT NULL AND sort COLLATE "C" <> 'created_at' THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = 'argument "after_id" needs "sort" created_at',
      DETAIL = format('"sort" is "%s".', sort),
      HINT = 'Sort by created_at, or page by "skip".';
  END IF;

  IF jsonb_typeof(tags) <> 'object' THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = 'argument "tags" must be an object',
      DETAIL = format('It is of the type %s.', jsonb_typeof(tags)),
      HINT = 'Pass an object whose members the tags of a workflow are to contain.';
  END IF;

  -- what is suspended is driven by nobody
  IF driven_by IS NOT NULL AND suspended_only THEN
    RETURN;
  END IF;

  IF kind <> 'WORKFLOW' THEN
    IF after_id IS NOT NULL THEN
      -- an error if there is none: of a step, the id does not tell its created_at
      PERFORM durable.status(after_id);
    END IF;
    RETURN QUERY EXECUTE format('SELECT t.* FROM durable.task t WHERE t.kind = $9 AND %s %s ORDER BY t.%I %s, t.id %4$s LIMIT $10 OFFSET $11',
        condition, CASE WHEN after_id IS NOT NULL THEN
          format('AND (t.created_at, t.id) %s (SELECT a.created_at, a.id FROM durable.task a WHERE a.id = $12)', CASE WHEN descending THEN '<' ELSE '>' END) END,
        sort, direction)
      USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, kind, max_rows, skip, after_id;
    RETURN;
  END IF;

  way := CASE
    WHEN sort COLLATE "C" = 'created_at' THEN 'created_at'
    -- inline children are not where the times are
    WHEN filters > (sort COLLATE "C" = 'completed_at' AND coalesce(status IN ('COMPLETED', 'FAILED', 'CANCELLED'), false))::int OR (sort COLLATE "C" IN ('started_at', 'completed_at') AND NOT root_only AND EXISTS (SELECT 1 FROM durable.inline_child))
      THEN 'sorted'
    WHEN sort COLLATE "C" = 'name' THEN 'sorted' ELSE sort END;

  IF way COLLATE "C" = 'created_at' THEN
    found := durable.by_age(status, parent_id, root_only, name, queue_name, handler, tags, driven_by, suspended_only, NULL, descending,
      after_id, most);

  ELSIF way COLLATE "C" = 'status' THEN
    FOR one IN SELECT s.s FROM unnest(enum_range(NULL::durable.task_status)) s (s)
      ORDER BY CASE WHEN descending THEN s.s END DESC, s.s
    LOOP
      found := found || durable.by_age(one, NULL, root_only, NULL, NULL, NULL, NULL, NULL, false, NULL, descending, NULL,
        most - cardinality(found));
      EXIT WHEN cardinality(found) >= most;
    END LOOP;

  ELSIF way COLLATE "C" = 'completed_at' THEN
    FOR n IN 1 .. 2 LOOP
      IF (n = 1) = descending THEN
        CONTINUE WHEN status IS NOT NULL;
        found := found || durable.by_age(NULL, NULL, root_only, NULL, NULL, NULL, NULL, NULL, false, 'completed_at', descending, NULL,
          most - cardinality(found));
      ELSE
        EXECUTE format('SELECT $1 || ARRAY(SELECT t.id FROM '
            '(SELECT e.id, e.completed_at FROM (VALUES (false), (true)) AS r (is_root) '
            '  CROSS JOIN (VALUES (''COMPLETED''::durable.task_status), (''FAILED''), (''CANCELLED'')) AS f (status) '
            '  CROSS JOIN LATERAL (SELECT w.id, w.completed_at FROM durable.ended e JOIN durable.workflow w ON w.id = e.id '
            '    WHERE e.is_root = r.is_root AND e.status = f.status AND CASE WHEN w.tree_end IS NULL THEN true ELSE false END '
            '    ORDER BY e.ended_at %1$s, e.id %1$s LIMIT $2) e '
            '  WHERE (r.is_root OR NOT $3) AND ($4 IS NULL OR f.status = $4) '
            '  UNION ALL '
            '  (SELECT l.id, l.completed_at FROM durable.left_tree l '
            '    WHERE $4 IS NULL OR EXISTS (SELECT 1 FROM durable.workflow w WHERE w.id = l.id AND w.status = $4) '
            '    ORDER BY l.completed_at %1$s, l.id %1$s LIMIT $2)) t '
            'ORDER BY t.completed_at %1$s, t.id %1$s LIMIT $2)', direction)
          INTO found USING found, most - cardinality(found), root_only, status;
      END IF;
      EXIT WHEN cardinality(found) >= most;
    END LOOP;

  ELSIF way COLLATE "C" = 'started_at' AND descending THEN
    found := durable.by_age(NULL, NULL, root_only, NULL, NULL, NULL, NULL, NULL, false, 'started_at', true, NULL, most);
    IF cardinality(found) < most THEN
      rest := durable.latest_started(root_only, most - cardinality(found));
      found := found || rest;
      IF rest IS NULL THEN
        way := 'sorted';
      END IF;
    END IF;

  ELSIF way COLLATE "C" = 'started_at' THEN
    -- Nothing has started before it was created: what was created after those have started comes behind them.
    WITH walked AS MATERIALIZED (
      SELECT w.id, w.parent_id, w.created_at, w.started_at FROM durable.workflow w ORDER BY w.id LIMIT greatest(5000, 2 * most))
    SELECT array_agg(f.id ORDER BY f.started_at, f.id), count(*) = most AND max(f.started_at) < (SELECT max(w.created_at) FROM walked w)
      INTO found, is_settled
      FROM (SELECT w.id, w.started_at FROM walked w WHERE w.started_at IS NOT NULL AND (w.parent_id IS NULL OR NOT root_only)
        ORDER BY w.started_at, w.id LIMIT most) f;
    IF is_settled IS NOT TRUE THEN
      way := 'sorted';
    END IF;
  END IF;

  IF way COLLATE "C" = 'sorted' THEN
    EXECUTE format('SELECT ARRAY(SELECT t.id FROM durable.workflow t WHERE %s ORDER BY t.%I %s, t.id %3$s LIMIT $9)',
        condition, sort, direction)
      INTO found USING status, parent_id, root_only, name, queue_name, handler, tags, driven_by, most;
  END IF;
  RETURN QUERY
  SELECT t.* FROM unnest(found) WITH ORDINALITY f (id, n) JOIN durable.task t ON t.id = f.id AND t.kind = 'WORKFLOW'
  ORDER BY f.n LIMIT max_rows OFFSET skip;
END $$;
COMMENT ON FUNCTION durable.list(durable.task_status, durable.task_kind, uuid, boolean, text, text, text, text, boolean, int, int, uuid, jsonb, text, boolean) IS
	'Workflows, or steps of the kind, that match all given filters; of workflows, those whose tags contain the given ones (no step has tags), those that an executor drives (driven_by, also while they are paused; '''' is none; no step is driven), and those that are suspended; sort is created_at, started_at, completed_at, name or status, with the id as tie-break; after_id pages on by created_at, behind that one. As fast with millions for one filter by created_at, with none (or root_only) by another sort, and for what has COMPLETED, FAILED or was CANCELLED by completed_at. In proportion to what there is: steps, unless of a parent_id; several filters, if that of parent_id, name, queue_name and handler which matches least matches much and the others hardly anything; a filter with another sort; a status that hardly any of the newest workflows have, in proportion to the workflows that have it, or to the others, whatever is less; tags that many workflows have, but hardly any of the newest; what is suspended; started_at, oldest first, if few of the oldest have started; both times without root_only while there are inline children; skip. Errors: WF001 (after_id is no step), 22023, 22004';

CREATE FUNCTION durable.count(status durable.task_status = NULL, kind durable.task_kind = NULL, parent_id uuid = NULL,
	root_only boolean = false, name text = NULL, queue_name text = NULL, handler text = NULL,
	tags jsonb = NULL)
RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET constraint_exclusion = on SET enable_seqscan = off
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  enough CONSTANT int := 2000;
  few CONSTANT int := 100;
  -- what is counted by itself
  source text := CASE WHEN num_nonnulls(status, parent_id, name, queue_name, handler) + root_only::int > 1 OR tags IS NOT NULL THEN NULL
    WHEN status IS NOT NULL THEN durable.standing(status)
    WHEN root_only THEN '(SELECT 1 FROM durable.active_root r UNION ALL SELECT 1 FROM durable.ended e WHERE e.is_root)'
    WHEN queue_name IS NOT NULL THEN '(SELECT 1 FROM durable.workflow w WHERE w.queue_name = $5)'
    WHEN num_nonnulls(parent_id, name, handler) = 0 THEN '(SELECT 1 FROM durable.workflow w)' END;
  counted bigint;
BEGIN
  PERFORM durable.require_bucket(count.parent_id);
  IF root_only IS NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22004',
      MESSAGE = 'argument "root_only" must not be NULL',
      DETAIL = 'There is nothing that NULL could mean here.',
      HINT = 'Pass a value.';
  END IF;
  IF jsonb_typeof(tags) <> 'object' THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = 'argument "tags" must be an object',
      DETAIL = format('It is of the type %s.', jsonb_typeof(tags)),
      HINT = 'Pass an object whose members the tags of a workflow are to contain.';
  END IF;
  IF source IS NULL OR kind <> 'WORKFLOW' THEN
    EXECUTE format('SELECT count(*) FROM %s AND %s', CASE WHEN kind <> 'WORKFLOW' THEN 'durable.task t WHERE t.kind = $8'
        ELSE 'durable.workflow t WHERE true' END, durable.filters(tags IS NOT NULL))
      INTO counted USING status, parent_id, root_only, name, queue_name, handler, tags, kind;
    RETURN counted;
  END IF;
  EXECUTE format('SELECT count(*) FROM (SELECT 1 FROM %s r LIMIT $8 + 1) r', source)
    INTO counted USING status, parent_id, root_only, name, queue_name, handler, tags, enough;
  IF counted <= enough THEN
    RETURN counted;
  END IF;
  RETURN greatest(counted, CASE
    WHEN root_only THEN durable.entries('active_root_pkey') + durable.entries('ended_pkey', '{true}')
    WHEN queue_name IS NOT NULL THEN durable.entries('workflow_queue', ARRAY[queue_name])
    WHEN status IS NULL THEN durable.entries('workflow_pkey')
    WHEN status = 'PAUSED' THEN durable.entries('paused_pkey')
    WHEN status IN ('FAILED', 'CANCELLED') THEN durable.entries('unsuccessful_pkey', ARRAY[status::text])
    ELSE durable.entries('inline_child_pkey', ARRAY[status::text]) + CASE status
      -- those that are suspended and have a time are in both
      WHEN 'PENDING' THEN durable.entries('pending_pkey') + (SELECT sum(durable.entries('suspended_pkey', ARRAY[q.name, 'false']))
        FROM (SELECT q.name FROM durable.queue q UNION ALL SELECT '') q)::bigint
      WHEN 'COMPLETED' THEN durable.entries('ended_pkey', '{true,COMPLETED}') + durable.entries('ended_pkey', '{false,COMPLETED}')
      -- RUNNING: those that are driven, without the paused ones: a few of these, at equal distances, tell what all are
      ELSE durable.entries('driven_pkey') - coalesce((
        SELECT (greatest(max(p.counted), CASE WHEN max(p.counted) = enough THEN durable.entries('paused_pkey') END)
          * count(d.id) / count(*)::numeric)::bigint
        FROM (SELECT p.id, row_number() OVER () AS n, count(*) OVER () AS counted FROM (SELECT p.id FROM durable.paused p LIMIT enough) p) p
          LEFT JOIN durable.workflow d ON d.id = p.id AND d.paused_from = 'RUNNING' AND (d.parent_id IS NULL OR d.queue_name IS NOT NULL)
        WHERE p.n % greatest(p.counted / few, 1) = 0
        HAVING count(*) > 0), 0) END END);
END $$;
COMMENT ON FUNCTION durable.count(durable.task_status, durable.task_kind, uuid, boolean, text, text, text, jsonb) IS
	'The number of workflows, or of steps of the kind, that match all given filters. Exact, and in proportion to what is counted, but for workflows by a status alone, a queue_name alone, root_only alone or no filter: of those, more than 2,000 are estimated from the pages of an index, which takes no longer for millions. Errors: 22023, 22004';

CREATE FUNCTION durable.tree(workflow_id uuid) RETURNS SETOF text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET enable_indexscan = on SET enable_bitmapscan = on SET enable_nestloop = on
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  now CONSTANT timestamptz := durable.clock();
BEGIN
  PERFORM durable.require_bucket(tree.workflow_id);
  RETURN QUERY
  WITH RECURSIVE below AS (
    SELECT w.id, ARRAY[]::int[] AS path FROM durable.workflow w WHERE w.id = tree.workflow_id
    UNION ALL
    SELECT c.id, b.path || c.parent_sequence FROM below b CROSS JOIN LATERAL
      (SELECT w.id, w.parent_sequence FROM durable.workflow w WHERE w.parent_id = b.id OFFSET 0) c),
  task AS (
    SELECT b.path, w.status, 'WORKFLOW'::durable.task_kind AS kind, w.name, NULL::int AS attempt, w.queue_name,
      w.executor_id, w.started_at, w.completed_at, w.error, NULL::text AS wait,
      CASE WHEN w.suspended_at IS NOT NULL THEN w.run_at END AS until, w.suspended_at IS NOT NULL AS is_suspended,
      CASE WHEN w.suspended_at IS NULL AND w.status = 'PENDING' AND w.run_at > now THEN w.run_at END AS due,
      w.concurrency_key, (SELECT g.tags FROM durable.workflow_tags g WHERE g.workflow_id = w.id) AS tags,
      ' forked from ' || w.forked_from || ' at ' || w.forked_at_sequence AS origin,
      w.cancel_requested_at IS NOT NULL AND w.completed_at IS NULL AS is_to_end
    FROM below b JOIN durable.workflow w ON w.id = b.id
    UNION ALL
    SELECT b.path || s.sequence, s.status, s.kind, s.name, CASE WHEN s.kind NOT IN ('WAIT', 'WORKFLOW') AND s.attempt > 0 THEN s.attempt END, NULL,
      NULL, s.started_at, s.completed_at, s.error, s.wait,
      CASE WHEN s.kind = 'WAIT' AND s.status IN ('PENDING', 'PAUSED') THEN s.run_at END, false, NULL, NULL, NULL,
      CASE WHEN s.lease = 0 THEN ' copied' END, false
    FROM below b JOIN durable.step s ON s.workflow_id = b.id AND (s.kind <> 'WORKFLOW' OR s.lease = 0 OR s.child_id IS NULL)),
  line AS (
    SELECT t.*, extract(epoch FROM
      CASE WHEN t.completed_at IS NOT NULL THEN t.completed_at WHEN t.status = 'RUNNING' THEN now END
        - t.started_at)::float8 AS seconds
    FROM task t)
  SELECT repeat('  ', cardinality(l.path)) ||
    -- what is no text may stand in a name; concat leaves out what is NULL
    regexp_replace(concat(
      rpad(l.status::text, 9),
      ' ' || l.path[cardinality(l.path)] || '.',
      ' ' || l.name,
      CASE WHEN l.kind <> 'STEP' THEN ' (' || lower(l.kind::text COLLATE "C") || coalesce(': ' || l.wait, '') || ')' END,
      CASE WHEN l.is_suspended THEN ' suspended' END,
      ' until ' || l.until,
      l.origin,
      CASE WHEN l.is_to_end THEN ' cancel requested' END,
      ' in queue ' || l.queue_name,
      ' under key ' || l.concurrency_key,
      ' due ' || l.due,
      ' on ' || l.executor_id,
      ' attempt ' || l.attempt,
      ' ' || CASE
        WHEN l.seconds < 1 THEN to_char(l.seconds * 1000, 'FM9999999990') || ' ms'
        WHEN l.seconds < 60 THEN to_char(l.seconds, 'FM9999999990.0') || ' s'
        WHEN l.seconds < 3600 THEN to_char(l.seconds / 60, 'FM9999999990.0') || ' min'
        WHEN l.seconds < 86400 THEN to_char(l.seconds / 3600, 'FM9999999990.0') || ' h'
        ELSE to_char(l.seconds / 86400, 'FM9999999990.0') || ' days' END,
      ' tags ' || l.tags::text,
      ' error: ' || substring(l.error COLLATE "C", E'^[^\\r\\n]*')) COLLATE "C", E'[\\u0001-\\u001f\\u007f]', ' ', 'g')
  FROM line l ORDER BY l.path;
  IF NOT FOUND THEN
    -- there is no such workflow: history says what is wrong with the id
    PERFORM FROM durable.history(tree.workflow_id);
  END IF;
END $$;
COMMENT ON FUNCTION durable.tree(uuid) IS
	'A workflow and all below it for a reader in psql: one line a task, indented. Errors: WF001, 22023, 22004';

-- By a probe of the index for each workflow, whatever statistics say of a tree. Nothing
-- is met twice: below those that are given, each is looked at from where it is given.
CREATE FUNCTION durable.all_below(workflow_ids uuid[], only_abandoned boolean, OUT id uuid, OUT status durable.task_status)
RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
AS $$
WITH RECURSIVE given AS MATERIALIZED (
  SELECT DISTINCT u.id FROM unnest(workflow_ids) u (id)),
below AS (
  SELECT c.id, c.status FROM given g CROSS JOIN LATERAL
    (SELECT w.id, w.status, w.queue_name FROM durable.workflow w WHERE w.parent_id = g.id OFFSET 0) c
  WHERE NOT only_abandoned OR (c.status = 'CANCELLED' AND c.queue_name IS NULL)
  UNION ALL
  SELECT c.id, c.status FROM below b CROSS JOIN LATERAL
    (SELECT w.id, w.status, w.queue_name FROM durable.workflow w WHERE w.parent_id = b.id OFFSET 0) c
  WHERE b.id NOT IN (SELECT g.id FROM given g)
    AND (NOT only_abandoned OR (c.status = 'CANCELLED' AND c.queue_name IS NULL)))
SELECT b.id, b.status FROM below b
$$;
COMMENT ON FUNCTION durable.all_below(uuid[], boolean) IS
	'For check: all below those workflows; or, down from there, the inline children that were cancelled. It runs with the rights of its caller. Errors: 42501';

-- In time proportional to the rows, whatever the shape of the trees and with
-- statistics or without: rows meet by hashing, and down a tree by all_below.
CREATE FUNCTION durable.check(OUT task_id uuid, OUT problem text) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off SET enable_mergejoin = off SET enable_hashjoin = on
SET enable_indexscan = on SET jit = off
AS $$
WITH
-- all below a paused workflow
held AS MATERIALIZED (
  SELECT b.id, b.status FROM durable.all_below(ARRAY(SELECT w.id FROM durable.workflow w WHERE w.status = 'PAUSED'), false) b),
-- inline children that were cancelled because their parent completed: queued children below go on
abandoned AS MATERIALIZED (
  SELECT b.id FROM durable.all_below(ARRAY(SELECT p.id FROM durable.workflow p JOIN durable.workflow w ON w.parent_id = p.id
    WHERE p.status = 'COMPLETED' AND w.status = 'CANCELLED' AND w.queue_name IS NULL), true) b),
-- all below a cancelled workflow
doomed AS MATERIALIZED (
  SELECT b.id, b.status FROM durable.all_below(ARRAY(SELECT w.id FROM durable.workflow w
    WHERE w.status = 'CANCELLED' AND NOT EXISTS (SELECT 1 FROM abandoned a WHERE a.id = w.id)), false) b),
-- the buckets that are here, as of this look: buckets() tells what is committed now
ranges AS MATERIALIZED (
  SELECT coalesce((SELECT b.ranges FROM durable.buckets b), '{[0,4096)}') AS r),
-- what the registers of the unfinished have: that of these buckets
here AS (
  SELECT w.* FROM durable.workflow w WHERE durable.bucket(w.id) <@ (SELECT r FROM ranges)),
-- what waits for an executor in a queue, or in none ('')
waiting AS (
  SELECT w.id, w.run_at, coalesce(w.queue_name, '') AS queue_name, coalesce(w.concurrency_key, '') AS key,
    2 * w.priority::bigint + CASE WHEN w.suspended_at IS NULL THEN 0 ELSE 1 END AS rank
  FROM here w
  WHERE w.status = 'PENDING' AND w.run_at IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)),
-- a workflow beside its parent and the step that stands for it
child AS (
  SELECT w.id, w.status, w.error, w.detail, w.root_id, w.queue_name, w.name, w.output, w.parent_sequence, p.id AS parent,
    p.status AS parent_status, p.root_id AS parent_root, s.status AS stand_in_status,
    s.child_id, s.name AS stand_in_name, s.output AS stand_in_output,
    s.error AS stand_in_error, s.detail AS stand_in_detail, w.on_parent_end, w.recovery_count
  FROM durable.workflow w LEFT JOIN durable.workflow p ON p.id = w.parent_id
  LEFT JOIN durable.step s ON s.workflow_id = w.parent_id AND s.sequence = w.parent_sequence
  WHERE w.parent_id IS NOT NULL)

-- the registers, as they follow from the workflows (register.c)
SELECT r.id, r.problem FROM (
  SELECT coalesce(r.id, w.id) AS id, 'not in the register of active roots as it belongs' AS problem
  FROM durable.active_root r FULL JOIN (SELECT w.name, w.id FROM here w
    WHERE w.parent_id IS NULL AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')) w ON w.name = r.name AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what waits as it belongs'
  FROM durable.pending r FULL JOIN (SELECT w.*, CASE WHEN w.queue_name = '' THEN 0 ELSE - w.rank END AS turn FROM waiting w) w
    ON w.queue_name = r.queue_name AND w.key = r.key AND w.turn = r.turn AND w.run_at = r.run_at AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of priorities as it belongs'
  FROM durable.prioritized r FULL JOIN (SELECT w.*, - w.rank AS turn FROM waiting w
    WHERE w.queue_name <> '' AND w.rank NOT IN (0, 1)) w
    ON w.queue_name = r.queue_name AND w.run_at = r.run_at AND w.turn = r.turn AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of versions as it belongs'
  FROM durable.pending_version r FULL JOIN (SELECT w.id, w.queue_name, w.app_version FROM here w
    WHERE w.status = 'PENDING' AND w.queue_name IS NOT NULL AND w.app_version IS NOT NULL) w
    ON w.queue_name = r.queue_name AND w.app_version = r.app_version AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what is suspended as it belongs'
  FROM durable.suspended r FULL JOIN (SELECT w.id, w.run_at IS NOT NULL AS has_time, coalesce(w.queue_name, '') AS queue_name
    FROM here w WHERE w.status = 'PENDING' AND w.suspended_at IS NOT NULL) w
    ON w.queue_name = r.queue_name AND w.has_time = r.has_time AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what is driven as it belongs'
  FROM durable.driven r FULL JOIN (SELECT w.id, w.started_at, coalesce(w.queue_name, '') AS queue_name,
      coalesce(w.executor_id, '') AS executor_id
    FROM here w
    WHERE (w.status = 'RUNNING' OR w.paused_from = 'RUNNING') AND w.started_at IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)) w
    ON w.executor_id = r.executor_id AND w.started_at = r.started_at AND w.id = r.id AND w.queue_name = r.queue_name
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of slots as it belongs'
  FROM durable.slot r FULL JOIN (SELECT w.id, w.queue_name, w.slot, coalesce(w.concurrency_key, '') AS key
    FROM here w
    WHERE (w.status = 'RUNNING' OR w.paused_from = 'RUNNING') AND w.slot IS NOT NULL AND w.queue_name IS NOT NULL) w
    ON w.queue_name = r.queue_name AND w.slot = r.slot AND w.key = r.key AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what is paused as it belongs'
  FROM durable.paused r FULL JOIN (SELECT w.id, coalesce(w.queue_name, '') AS queue_name FROM here w
    WHERE w.status = 'PAUSED') w ON w.queue_name = r.queue_name AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of deadlines as it belongs'
  FROM durable.deadline r FULL JOIN (SELECT w.id, w.deadline FROM here w
    WHERE w.status = 'RUNNING' AND w.deadline IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)) w
    ON w.deadline = r.deadline AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what has ended as it belongs'
  FROM durable.ended r FULL JOIN (SELECT w.id, w.status, w.parent_id IS NULL AS is_root,
      greatest(w.completed_at, w.tree_end) AS ended_at
    FROM durable.workflow w
    WHERE w.completed_at IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)) w
    ON w.is_root = r.is_root AND w.status = r.status AND w.ended_at = r.ended_at AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what has failed or was cancelled as it belongs'
  FROM durable.unsuccessful r FULL JOIN (SELECT w.id, w.status FROM durable.workflow w
    WHERE w.status IN ('FAILED', 'CANCELLED')) w ON w.status = r.status AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of inline children as it belongs'
  FROM durable.inline_child r FULL JOIN (SELECT w.id, w.status FROM durable.workflow w
    WHERE w.parent_id IS NOT NULL AND w.queue_name IS NULL) w ON w.status = r.status AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of trees that purge has left as it belongs'
  FROM durable.left_tree r FULL JOIN (SELECT w.id, w.completed_at FROM durable.workflow w
    WHERE w.completed_at IS NOT NULL AND w.tree_end IS NOT NULL) w ON w.completed_at = r.completed_at AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what never started as it belongs'
  FROM durable.unstarted r FULL JOIN (SELECT w.id FROM durable.workflow w
    WHERE w.started_at IS NULL AND w.status IN ('COMPLETED', 'FAILED', 'CANCELLED')) w ON w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of unfinished runs of schedules as it belongs'
  FROM durable.active_run r FULL JOIN (SELECT w.id, w.scheduled_by FROM here w
    WHERE w.scheduled_by IS NOT NULL AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')) w
    ON w.scheduled_by = r.scheduled_by AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of runs of schedules as it belongs'
  FROM durable.scheduled_run r FULL JOIN (SELECT w.id, w.scheduled_by, w.scheduled_for FROM durable.workflow w
    WHERE w.scheduled_by IS NOT NULL AND w.scheduled_for IS NOT NULL) w
    ON w.scheduled_by = r.scheduled_by AND w.scheduled_for = r.scheduled_for AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL) r
UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what was asked to end as it belongs'
  FROM durable.cancel_request r FULL JOIN (SELECT w.id, coalesce(w.cancel_at, 'infinity') AS cancel_at,
      coalesce(w.queue_name, '') AS queue_name
    FROM here w
    WHERE w.cancel_requested_at IS NOT NULL AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')) w
    ON w.cancel_at = r.cancel_at AND w.id = r.id AND w.queue_name = r.queue_name
  WHERE w.id IS NULL OR r.id IS NULL
UNION ALL SELECT p.id, 'parked, though its bucket is here'
FROM durable.parked p WHERE durable.bucket(p.id) <@ (SELECT r FROM ranges)
UNION ALL SELECT w.id, 'to be told that it is to end, or to be cancelled, without having been asked'
FROM durable.workflow w WHERE w.cancel_requested_at IS NULL
  AND (w.cancel_reason IS NOT NULL OR w.cancel_at IS NOT NULL OR w.cancel_untold IS NOT NULL)
UNION ALL SELECT w.id, 'asked to end, and not cancelled, though it never ran'
FROM durable.workflow w WHERE w.cancel_requested_at IS NOT NULL AND w.lease = 0 AND w.status IN ('PENDING', 'PAUSED')
  AND w.continued_from IS NULL
UNION ALL SELECT w.id, 'told that it is to end, and nothing in it says so'
FROM durable.workflow w WHERE w.cancel_requested_at IS NOT NULL AND w.cancel_untold IS NULL AND w.lease > 0
  AND w.continued_from IS NULL AND NOT EXISTS (SELECT 1 FROM durable.step s WHERE s.workflow_id = w.id
    AND (s.error LIKE 'WF017: %' OR (s.awaited IS NOT NULL AND s.status = 'FAILED') OR (s.kind = 'WORKFLOW' AND s.status IN ('FAILED', 'CANCELLED'))))
UNION ALL SELECT w.id, 'finished without completed_at, or completed_at without being finished'
FROM durable.workflow w WHERE (w.status IN ('PENDING', 'RUNNING', 'PAUSED')) = (w.completed_at IS NOT NULL)
UNION ALL SELECT w.id, 'paused without what it was before and by whom, or the other way round'
FROM durable.workflow w WHERE (w.status = 'PAUSED') <> (w.paused_from IS NOT NULL)
  OR (w.status = 'PAUSED') <> (w.paused_by IS NOT NULL)
  OR (w.status = 'PAUSED') <> (w.paused_at IS NOT NULL)
UNION ALL SELECT w.id, 'paused from a status in which it cannot be paused'
FROM durable.workflow w WHERE w.paused_from NOT IN ('PENDING', 'RUNNING')
UNION ALL SELECT w.id, 'pending with an executor, or with a deadline without being suspended'
FROM durable.workflow w WHERE w.status = 'PENDING'
  AND (w.executor_id IS NOT NULL OR (w.deadline IS NOT NULL AND w.suspended_at IS NULL))
UNION ALL SELECT w.id, 'suspended without being pending, or without started_at, or as an inline child'
FROM durable.workflow w WHERE w.suspended_at IS NOT NULL
  AND (coalesce(w.paused_from, w.status) <> 'PENDING' OR w.started_at IS NULL OR (w.parent_id IS NOT NULL AND w.queue_name IS NULL))
UNION ALL SELECT w.id, 'suspended beyond its deadline'
FROM durable.workflow w WHERE w.suspended_at IS NOT NULL AND w.deadline IS NOT NULL
  AND (w.run_at IS NULL OR w.run_at > greatest(w.deadline, durable.clock()))
UNION ALL SELECT w.id, 'running without started_at or a lease'
FROM durable.workflow w WHERE w.status = 'RUNNING' AND (w.started_at IS NULL OR w.lease < 1)
UNION ALL SELECT w.id, 'pending without run_at, so nobody will ever take it'
FROM durable.workflow w WHERE w.status = 'PENDING' AND w.run_at IS NULL AND w.suspended_at IS NULL
  AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)
UNION ALL SELECT w.id, 'has an output without being completed'
FROM durable.workflow w WHERE w.output IS NOT NULL AND w.status <> 'COMPLETED'
UNION ALL SELECT w.id, 'failed without an error'
FROM durable.workflow w WHERE w.status = 'FAILED' AND w.error IS NULL
UNION ALL SELECT w.id, 'has a detail without an error'
FROM durable.workflow w WHERE w.detail IS NOT NULL AND w.error IS NULL
UNION ALL SELECT w.id, 'an inline child with an executor of its own'
FROM durable.workflow w WHERE w.executor_id IS NOT NULL AND NOT (w.parent_id IS NULL OR w.queue_name IS NOT NULL)
UNION ALL SELECT w.id, 'unfinished in a queue that does not exist'
FROM durable.workflow w LEFT JOIN durable.queue q ON q.name = w.queue_name
WHERE w.queue_name IS NOT NULL AND q.name IS NULL AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')
UNION ALL SELECT w.id, 'started by a schedule for no time, or for a time by no schedule'
FROM durable.workflow w WHERE (w.scheduled_by IS NULL) <> (w.scheduled_for IS NULL)
UNION ALL SELECT w.id, 'goes on in a next run without being completed'
FROM durable.workflow w WHERE w.continued_as IS NOT NULL AND (w.status <> 'COMPLETED' OR w.parent_id IS NOT NULL)
UNION ALL SELECT w.id, 'goes on in a run that does not say so'
FROM durable.workflow w JOIN durable.workflow n ON n.id = w.continued_as WHERE n.continued_from IS DISTINCT FROM w.id
UNION ALL SELECT n.id, 'continues a run that goes on in another one'
FROM durable.workflow n JOIN durable.workflow w ON w.id = n.continued_from WHERE w.continued_as IS DISTINCT FROM n.id
UNION ALL SELECT w.id, 'waits before a head of its queue, where no claim looks'
FROM durable.queue_head h JOIN waiting w ON w.queue_name = h.queue_name AND w.rank = h.rank
WHERE w.key = '' AND (w.run_at, w.id) < (h.run_at, h.workflow_id)
  AND NOT EXISTS (SELECT 1 FROM durable.queue_late l
    WHERE l.head_id = h.id AND l.run_at = w.run_at AND l.workflow_id = w.id)
UNION ALL SELECT p.id, 'waits in the lane of a key, where no claim looks'
FROM durable.pending p LEFT JOIN (
    SELECT DISTINCT ON (l.queue_name, l.key, l.turn) l.queue_name, l.key, l.turn, l.run_at, l.workflow_id
    FROM durable.queue_lane l ORDER BY l.queue_name, l.key, l.turn, l.run_at, l.workflow_id) l
  ON l.queue_name = p.queue_name AND l.key = p.key AND l.turn = p.turn
WHERE p.key <> '' AND ((p.run_at, p.id) < (l.run_at, l.workflow_id) OR l.key IS NULL)
UNION ALL SELECT t.workflow_id, 'has tags without being there'
FROM durable.workflow_tags t LEFT JOIN durable.workflow w ON w.id = t.workflow_id WHERE w.id IS NULL
UNION ALL SELECT w.id, 'has retries without a queue, or more than it may have'
FROM durable.workflow w WHERE w.max_retries IS NOT NULL AND (w.queue_name IS NULL OR w.retry_count > w.max_retries)
UNION ALL SELECT w.id, 'ends with its parent without being a child with a queue'
FROM durable.workflow w WHERE w.on_parent_end IS NOT NULL AND (w.queue_name IS NULL OR w.parent_id IS NULL)
UNION ALL SELECT w.id, 'has a concurrency_key without a queue'
FROM durable.workflow w WHERE w.concurrency_key IS NOT NULL AND w.queue_name IS NULL
UNION ALL SELECT w.id, 'runs in a queue with limits without a slot'
FROM durable.workflow w JOIN durable.queue q ON q.name = w.queue_name
WHERE (w.status = 'RUNNING' OR w.paused_from = 'RUNNING') AND w.slot IS NULL
  AND (q.max_concurrency IS NOT NULL OR q.key_concurrency IS NOT NULL OR q.fair)
UNION ALL SELECT s.id, 'has a slot that claims do not count'
FROM durable.slot s JOIN durable.queue_count c ON c.queue_name = s.queue_name
WHERE s.slot >= c.next_slot OR (s.slot < c.slots_from AND NOT s.slot = ANY (coalesce(c.early, '{}')))
UNION ALL SELECT max(s.id::text)::uuid, 'runs in a queue in which too many slots are taken to be free'
FROM durable.slot s JOIN durable.queue_count c ON c.queue_name = s.queue_name JOIN durable.queue q ON q.name = s.queue_name
GROUP BY s.queue_name, q.max_concurrency, c.free HAVING count(*) + c.free > q.max_concurrency AND c.free > 0
UNION ALL SELECT w.id, 'a root whose root_id is not its own'
FROM durable.workflow w WHERE w.parent_id IS NULL AND w.root_id <> w.id
UNION ALL SELECT h.id, 'not paused below a workflow that is paused'
FROM held h WHERE h.status IN ('PENDING', 'RUNNING')

UNION ALL SELECT c.id, 'its parent does not exist' FROM child c WHERE c.parent IS NULL
UNION ALL SELECT c.id, 'its root_id is not that of its parent' FROM child c WHERE c.root_id <> c.parent_root
UNION ALL SELECT c.id, 'no step stands for it at its parent'
FROM child c WHERE c.child_id IS NULL OR c.child_id <> c.id OR c.stand_in_name <> c.name
UNION ALL SELECT c.id, 'the step that stands for it says otherwise'
FROM child c WHERE c.stand_in_status <> CASE WHEN c.status IN ('PENDING', 'RUNNING', 'PAUSED') THEN 'RUNNING' ELSE c.status END
  OR (c.output IS NULL) <> (c.stand_in_output IS NULL) OR c.output <> c.stand_in_output
  -- one that is tried again keeps its last error for itself
  OR (c.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND c.error IS DISTINCT FROM c.stand_in_error)
  OR (c.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND c.detail IS DISTINCT FROM c.stand_in_detail)
  OR (c.stand_in_status = 'RUNNING' AND (c.stand_in_error IS NOT NULL OR c.stand_in_detail IS NOT NULL))
UNION ALL SELECT c.id, 'an unfinished inline child of a finished workflow'
FROM child c WHERE c.queue_name IS NULL AND c.status IN ('PENDING', 'RUNNING', 'PAUSED')
  AND c.parent_status IN ('COMPLETED', 'FAILED', 'CANCELLED')
UNION ALL SELECT c.id, 'unfinished, though its parent has ended, with which it ends'
FROM child c WHERE c.on_parent_end = 'cancel' AND c.recovery_count = 0 AND c.status IN ('PENDING', 'RUNNING', 'PAUSED')
  AND c.parent_status IN ('COMPLETED', 'FAILED', 'CANCELLED')
UNION ALL SELECT d.id, 'unfinished below a workflow that is cancelled'
FROM doomed d WHERE d.status IN ('PENDING', 'RUNNING', 'PAUSED')
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'unfinished below a workflow that is cancelled'
FROM doomed d JOIN durable.step s ON s.workflow_id = d.id AND s.kind <> 'WORKFLOW' AND s.status IN ('PENDING', 'RUNNING', 'PAUSED')

UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'its workflow does not exist'
FROM durable.step s LEFT JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.id IS NULL
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'its lease is above its workflow''s'
FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE s.lease > w.lease
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'unfinished in a workflow that is cancelled'
FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
WHERE w.status = 'CANCELLED' AND s.kind <> 'WORKFLOW' AND s.status IN ('PENDING', 'RUNNING', 'PAUSED')
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'paused in a workflow that is not'
FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
WHERE s.status = 'PAUSED' AND w.status <> 'PAUSED'
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence),
  'finished without completed_at, or completed_at without being finished'
FROM durable.step s WHERE (s.status IN ('PENDING', 'RUNNING', 'PAUSED')) = (s.completed_at IS NOT NULL)
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'has an output without being completed'
FROM durable.step s WHERE s.output IS NOT NULL AND s.status <> 'COMPLETED'
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'failed without an error, or completed with one'
FROM durable.step s WHERE (s.status = 'FAILED' AND s.error IS NULL)
  OR (s.status = 'COMPLETED' AND s.error IS NOT NULL)
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'has a detail without an error'
FROM durable.step s WHERE s.detail IS NOT NULL AND s.error IS NULL
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'running without started_at or an attempt'
FROM durable.step s WHERE s.status = 'RUNNING' AND (s.started_at IS NULL OR s.attempt < 1)
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'a wait without its sort, or a sort without being a wait'
FROM durable.step s WHERE (s.kind = 'WAIT') <> (s.wait IS NOT NULL)
  OR (s.wait = 'workflow') <> (s.awaited IS NOT NULL) OR (s.wait = 'any') <> (s.sequences IS NOT NULL)
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'a wait that runs'
FROM durable.step s WHERE s.kind = 'WAIT' AND s.status = 'RUNNING'
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'an open wait that is not listed as such'
FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
  LEFT JOIN durable.open_wait o ON o.workflow_id = s.workflow_id AND o.sequence = s.sequence
WHERE s.kind = 'WAIT' AND s.status IN ('PENDING', 'PAUSED') AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')
  AND (o.workflow_id IS NULL OR o.awaited IS DISTINCT FROM s.awaited)
UNION ALL SELECT durable.step_id(o.workflow_id, o.sequence), 'listed as an open wait without being one'
FROM durable.open_wait o LEFT JOIN durable.step s ON s.workflow_id = o.workflow_id AND s.sequence = o.sequence
WHERE s.kind IS DISTINCT FROM 'WAIT' OR s.status NOT IN ('PENDING', 'PAUSED')
UNION ALL SELECT p.workflow_id, 'has open positions without being suspended'
FROM durable.open_position p LEFT JOIN durable.workflow w ON w.id = p.workflow_id WHERE w.suspended_at IS NULL
UNION ALL SELECT t.step_id, 'watched for a workflow that is not suspended for it'
FROM durable.watch t LEFT JOIN durable.open_position p
  ON p.workflow_id = t.workflow_id AND durable.step_id(p.of_workflow, p.sequence) = t.step_id
WHERE p.workflow_id IS NULL
UNION ALL SELECT w.id, 'suspended, and nothing can wake it'
FROM durable.workflow w
WHERE w.suspended_at IS NOT NULL AND w.run_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM durable.watch t WHERE t.workflow_id = w.id)
  AND NOT EXISTS (SELECT 1 FROM durable.wake_note n WHERE n.workflow_id = w.id)
UNION ALL SELECT t.id, 'an open step of a suspended workflow that cannot wake it'
FROM (SELECT p.*, durable.step_id(p.of_workflow, p.sequence) AS id FROM durable.open_position p WHERE NOT p.awaits_all) t
  JOIN durable.step s ON s.workflow_id = t.of_workflow AND s.sequence = t.sequence
  LEFT JOIN durable.watch a ON a.key = t.id AND a.workflow_id = t.workflow_id
WHERE s.completed_at IS NULL AND a.key IS NULL
UNION ALL SELECT g.id, 'a signal whose workflow does not exist'
FROM durable.signal g LEFT JOIN durable.workflow w ON w.id = g.workflow_id WHERE w.id IS NULL
UNION ALL SELECT g.id, 'a signal taken by what is not a completed wait'
FROM durable.signal g LEFT JOIN durable.step s ON s.workflow_id = g.workflow_id AND s.sequence = g.sequence
WHERE g.sequence IS NOT NULL AND (s.wait IS DISTINCT FROM 'signal' OR s.status <> 'COMPLETED')
UNION ALL SELECT min(g.workflow_id::text)::uuid, 'a wait that has taken more than one signal'
FROM durable.signal g WHERE g.sequence IS NOT NULL GROUP BY g.workflow_id, g.sequence HAVING count(*) > 1
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'stands for a child that does not exist'
FROM durable.step s LEFT JOIN durable.workflow w ON w.id = s.child_id
-- a child that was not created is a record of attempt 0: its parent was told by it that it is to end
WHERE (s.kind = 'WORKFLOW' AND NOT (s.attempt = 0 AND s.status = 'FAILED')) <> (s.child_id IS NOT NULL)
  OR (s.child_id IS NOT NULL AND w.id IS NULL AND s.lease > 0)
UNION ALL SELECT w.id, 'forked from nothing, or at no position, or as a child'
FROM durable.workflow w WHERE (w.forked_from IS NULL) <> (w.forked_at_sequence IS NULL)
  OR (w.forked_from IS NOT NULL AND w.parent_id IS NOT NULL)
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'recorded under no lease, and not copied by a fork'
FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
WHERE s.lease < 1 AND (s.lease < 0 OR w.forked_at_sequence IS NULL OR s.sequence >= w.forked_at_sequence)

UNION ALL SELECT e.workflow_id, CASE WHEN w.id IS NULL THEN 'has events, but does not exist'
  ELSE 'its events are not numbered 1, 2 ... without gaps' END
FROM (SELECT workflow_id, min(n) AS first, max(n) AS last, count(*) AS count FROM durable.event GROUP BY workflow_id) e
LEFT JOIN durable.workflow w ON w.id = e.workflow_id
WHERE w.id IS NULL OR e.first <> 1 OR e.last <> e.count

-- schedules, which have no id
UNION ALL SELECT NULL, format('schedule "%s" starts in a queue that does not exist', s.name)
FROM durable.schedule s LEFT JOIN durable.queue q ON q.name = s.queue WHERE q.name IS NULL
UNION ALL SELECT NULL, format('schedule "%s" has a time that waits, but does not queue what overlaps', s.name)
FROM durable.schedule s WHERE s.waiting_for IS NOT NULL AND s.overlap <> 'queue'
UNION ALL SELECT NULL, format('schedule "%s" comes next after its end', s.name)
FROM durable.schedule s WHERE s.next_run_at > s.ends_at
$$;
COMMENT ON FUNCTION durable.check() IS
	'Reads all tables and lists every broken invariant of the state machine; no row means all is well. Above READ COMMITTED ask in a transaction of its own: calls write what is newest, and an older snapshot does not show all of that';

---------------------------------------------------------------------------
-- Operating
--
-- The views reach the tables with their owner's rights, but call functions
-- with those of their reader.
---------------------------------------------------------------------------

CREATE FUNCTION durable.purge(older_than interval, max_workflows int = 1000,
	status durable.task_status[] = '{COMPLETED,FAILED,CANCELLED}',
	OUT workflows bigint, OUT steps bigint)
AS 'MODULE_PATHNAME', 'durable_purge'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.purge(interval, int, durable.task_status[]) IS
	'Deletes trees of which all workflows are finished and nothing has ended for older_than, oldest first, whole, up to max_workflows (a tree that is larger goes alone); status is that of the roots. Waits for nobody. Forgets executors that were silent for so long, too. Errors: 22023, 22004';

-- A row for each queue, and one for what has none.  Each part is counted in an index, up to
-- 2,000 rows; of more, the entries of the index are estimated (durable.entries), and what
-- those rows are tells what all are; of what is paused where more run, 100 of these at equal
-- distances.  Stale is what recover would take over as that of a dead executor.
CREATE FUNCTION durable.stats(OUT queue_name text, OUT pending bigint, OUT due bigint, OUT oldest_pending interval,
	OUT running bigint, OUT paused bigint, OUT stale bigint, OUT stale_executors bigint, OUT retries_waiting bigint,
	OUT completed_last_minute bigint, OUT failed_last_minute bigint, OUT cancelled_last_minute bigint,
	OUT queue_paused boolean, OUT max_concurrency int, OUT rate_limit int, OUT rate_limit_window interval,
	OUT waiting_for_version bigint, OUT suspended bigint, OUT cancel_requested bigint, OUT key_concurrency int, OUT fair boolean)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET enable_indexscan = on SET enable_bitmapscan = on SET enable_tidscan = on SET enable_nestloop = on
SET plan_cache_mode = force_generic_plan SET join_collapse_limit = 1 SET jit = off SET max_parallel_workers_per_gather = 0 SET datestyle = ISO
AS $$
DECLARE
  enough CONSTANT int := 2000;
  few CONSTANT int := 100;
  now CONSTANT timestamptz := durable.clock();
  since CONSTANT timestamptz := durable.stale_before(now);
  minute CONSTANT timestamptz := now - interval '1 minute';
BEGIN
  RETURN QUERY
  WITH RECURSIVE
  line AS MATERIALIZED (
    SELECT q.name, q.paused, q.max_concurrency, q.rate_limit, q.rate_limit_window, q.key_concurrency, q.fair FROM durable.queue q
    UNION ALL SELECT '', NULL, NULL, NULL, NULL, NULL, NULL),

  waiting AS MATERIALIZED (
    SELECT l.name, p.counted, p.due, p.due_since
    FROM line l CROSS JOIN LATERAL (
      SELECT count(*) AS counted, count(*) FILTER (WHERE p.run_at <= now) AS due, min(p.run_at) FILTER (WHERE p.run_at <= now) AS due_since
      FROM (SELECT p.run_at FROM durable.pending p WHERE p.queue_name = l.name LIMIT enough + 1) p) p),
  -- those that have a time wait above
  suspended AS MATERIALIZED (
    SELECT l.name, sum(s.counted)::bigint AS suspended, sum(s.counted) FILTER (WHERE NOT h.has_time)::bigint AS timeless
    FROM line l CROSS JOIN (VALUES (false), (true)) AS h (has_time) CROSS JOIN LATERAL (
      SELECT CASE WHEN count(*) > enough THEN greatest(count(*), durable.entries('suspended_pkey', ARRAY[l.name, h.has_time::text]))
          ELSE count(*) END AS counted
      FROM (SELECT 1 FROM durable.suspended s WHERE s.queue_name = l.name AND s.has_time = h.has_time LIMIT enough + 1) s) s
    GROUP BY l.name),
  -- of the queues with more than that, the first thousand keys and priorities
  turn AS (
    SELECT w.name, 0 AS n, ''::text COLLATE "C" AS key, -9223372036854775808 AS turn FROM waiting w WHERE w.counted > enough
    UNION ALL
    SELECT t.name, t.n + 1, p.key, p.turn FROM turn t CROSS JOIN LATERAL (SELECT p.key, p.turn FROM durable.pending p
      WHERE p.queue_name = t.name AND (p.key, p.turn) > (t.key, t.turn) ORDER BY p.key, p.turn LIMIT 1) p
    WHERE t.n < 1000),
  backlog AS MATERIALIZED (
    SELECT t.name, min(d.due_since) AS due_since,
      sum(CASE WHEN d.counted > 200 THEN durable.entries('pending_pkey', ARRAY[t.name, t.key, t.turn::text, now::text], '<=') ELSE d.counted END) AS due
    FROM turn t CROSS JOIN LATERAL (SELECT count(*) AS counted, min(p.run_at) AS due_since FROM (SELECT p.run_at FROM durable.pending p
      WHERE p.queue_name = t.name AND p.key = t.key AND p.turn = t.turn AND p.run_at <= now ORDER BY p.run_at LIMIT 201) p) d
    WHERE t.n > 0
    GROUP BY t.name),

  size AS MATERIALIZED (
    SELECT l.name, d.counted > enough AS is_large,
      CASE WHEN p.counted > enough THEN greatest(p.counted, durable.entries('paused_pkey', ARRAY[l.name])) ELSE p.counted END AS paused
    FROM line l
      CROSS JOIN LATERAL (SELECT count(*) AS counted FROM (SELECT 1 FROM durable.driven d WHERE d.queue_name = l.name LIMIT enough + 1) d) d
      CROSS JOIN LATERAL (SELECT count(*) AS counted FROM (SELECT 1 FROM durable.paused p WHERE p.queue_name = l.name LIMIT enough + 1) p) p),
  -- inline children, which have no queue, are part of their root's work; what was running before is still driven
  held AS MATERIALIZED (
    SELECT s.name, CASE WHEN s.name = '' THEN (s.paused * h.units)::bigint ELSE s.paused END AS paused, (s.paused * h.driven)::bigint AS driven
    FROM size s CROSS JOIN LATERAL (
      SELECT count(*) FILTER (WHERE w.parent_id IS NULL OR s.name <> '') / greatest(count(*), 1)::numeric AS units,
        count(*) FILTER (WHERE (w.parent_id IS NULL OR s.name <> '') AND w.paused_from = 'RUNNING') / greatest(count(*), 1)::numeric AS driven
      -- the oldest are those that ran
      FROM (SELECT p.id, row_number() OVER () AS n FROM durable.paused p WHERE p.queue_name = s.name
          LIMIT CASE WHEN s.name = '' OR s.is_large THEN enough + 1 ELSE 0 END) p
        JOIN durable.workflow w ON w.id = p.id
      WHERE s.name = '' OR p.n % greatest(least(s.paused, enough) / few, 1) = 0) h),
  driven AS MATERIALIZED (
    SELECT s.name, d.id, d.executor_id, d.started_at
    FROM size s CROSS JOIN LATERAL (SELECT d.id, d.executor_id, d.started_at FROM durable.driven d WHERE d.queue_name = s.name OFFSET 0) d
    WHERE NOT s.is_large AND NOT EXISTS (SELECT 1 FROM durable.paused p WHERE p.id = d.id)),
  slot AS MATERIALIZED (
    SELECT d.name, count(*) AS running FROM driven d GROUP BY d.name
    UNION ALL
    SELECT s.name, greatest(0, durable.entries('driven_queue', ARRAY[s.name]) - h.driven) FROM size s JOIN held h ON h.name = s.name WHERE s.is_large),

  -- where more are driven, ten pages of the register stand for all
  page AS (
    SELECT DISTINCT p.pages * g / 10 AS n, p.pages / least(p.pages, 10)::float8 AS weight
    FROM (SELECT pg_relation_size('durable.driven') / current_setting('block_size')::bigint AS pages) p CROSS JOIN generate_series(0, 9) g
    WHERE EXISTS (SELECT 1 FROM size s WHERE s.is_large)),
  version AS (
    (SELECT v.queue_name, v.app_version FROM durable.pending_version v ORDER BY v.queue_name, v.app_version LIMIT 1)
    UNION ALL
    SELECT n.queue_name, n.app_version FROM version o CROSS JOIN LATERAL
      (SELECT v.queue_name, v.app_version FROM durable.pending_version v
       WHERE (v.queue_name, v.app_version) > (o.queue_name, o.app_version)
       ORDER BY v.queue_name, v.app_version LIMIT 1) n),
  claimed_with AS MATERIALIZED (
    SELECT DISTINCT e.app_version FROM durable.executor e
    WHERE e.app_version IS NOT NULL AND NOT durable.is_dead(e.last_seen, since)
      AND NOT durable.session_ended(e.executor_id, e.bound_run, e.bound)),
  unclaimed AS MATERIALIZED (
    SELECT v.queue_name AS name, sum(c.waiting)::bigint AS waiting
    FROM version v CROSS JOIN LATERAL
      (SELECT CASE WHEN count(*) > enough THEN greatest(count(*), durable.entries('pending_version_pkey', ARRAY[v.queue_name, v.app_version]))
          ELSE count(*) END AS waiting
       FROM (SELECT 1 FROM durable.pending_version p
         WHERE p.queue_name = v.queue_name AND p.app_version = v.app_version LIMIT enough + 1) p) c
    WHERE NOT EXISTS (SELECT 1 FROM claimed_with a WHERE a.app_version = v.app_version)
    GROUP BY v.queue_name),

  -- an executor is asked for once, not for each that it drives
  stale AS MATERIALIZED (
    SELECT o.name, sum(o.weight)::bigint AS stale, count(DISTINCT nullif(o.executor_id, '')) AS owners
    FROM (
        SELECT d.name, d.executor_id, array_agg(d.id) AS ids, array_agg(d.started_at) AS times, 1 AS weight
        FROM driven d GROUP BY d.name, d.executor_id
        UNION ALL
        SELECT d.* FROM (
            SELECT d.queue_name, d.executor_id, array_agg(d.id), array_agg(d.started_at), p.weight
            FROM page p CROSS JOIN LATERAL (SELECT d.queue_name, d.id, d.executor_id, d.started_at FROM durable.driven d
              WHERE d.ctid >= format('(%s,0)', p.n)::tid AND d.ctid < format('(%s,0)', p.n + 1)::tid OFFSET 0) d
            GROUP BY d.queue_name, d.executor_id, p.weight) d
          JOIN size s ON s.name = d.queue_name
        WHERE s.is_large) o
      LEFT JOIN durable.executor e ON e.executor_id = o.executor_id
      CROSS JOIN LATERAL unnest(o.ids, o.times) d (id, started_at)
    WHERE (e.executor_id IS NULL OR durable.is_dead(e.last_seen, since) OR durable.session_ended(e.executor_id, e.bound_run, e.bound))
      AND NOT EXISTS (SELECT 1 FROM durable.paused p WHERE p.id = d.id OFFSET 0)
      AND (e.executor_id IS NOT NULL OR d.started_at < since AND NOT EXISTS (SELECT 1 FROM durable.signs_of_life(d.id, since)))
    GROUP BY o.name),

  retry AS MATERIALIZED (
    SELECT coalesce(w.queue_name, '') AS name, (count(*) * max(s.weight))::bigint AS retries
    FROM (SELECT array_agg(s.workflow_id) FILTER (WHERE s.status = 'PENDING') AS ids,
          CASE WHEN count(*) <= enough THEN 1 ELSE durable.entries('step_retry') / count(*)::float8 END AS weight
        FROM (SELECT s.workflow_id, s.status FROM durable.step s WHERE s.run_at IS NOT NULL AND s.wait IS NULL LIMIT enough + 1) s) s
      CROSS JOIN LATERAL unnest(s.ids) u (id) JOIN durable.workflow w ON w.id = u.id
    WHERE w.status IN ('PENDING', 'RUNNING', 'PAUSED')
    GROUP BY coalesce(w.queue_name, '')),

  asked AS MATERIALIZED (
    SELECT l.name, CASE WHEN r.counted > enough THEN greatest(r.counted, durable.entries('cancel_request_queue', ARRAY[l.name])) ELSE r.counted END AS asked
    FROM line l CROSS JOIN LATERAL (SELECT count(*) AS counted FROM (SELECT 1 FROM durable.cancel_request r WHERE r.queue_name = l.name LIMIT enough + 1) r) r),

  ended AS MATERIALIZED (
    SELECT coalesce(w.queue_name, '') AS name,
      sum(e.weight) FILTER (WHERE f.status = 'COMPLETED')::bigint AS completed,
      sum(e.weight) FILTER (WHERE f.status = 'FAILED')::bigint AS failed,
      sum(e.weight) FILTER (WHERE f.status = 'CANCELLED')::bigint AS cancelled
    FROM (VALUES (false), (true)) AS r (is_root)
      CROSS JOIN (VALUES ('COMPLETED'::durable.task_status), ('FAILED'), ('CANCELLED')) AS f (status)
      CROSS JOIN LATERAL (SELECT array_agg(e.id) AS ids, CASE WHEN count(*) <= enough THEN 1
          ELSE durable.entries('ended_pkey', ARRAY[r.is_root::text, f.status::text, minute::text], '>') / count(*)::float8 END AS weight
        FROM (SELECT e.id FROM durable.ended e WHERE e.is_root = r.is_root AND e.status = f.status AND e.ended_at > minute
          LIMIT enough + 1) e) e
      CROSS JOIN LATERAL unnest(e.ids) u (id) JOIN durable.workflow w ON w.id = u.id
    -- a root that purge has marked has ended before
    WHERE w.completed_at > minute
    GROUP BY coalesce(w.queue_name, ''))
  SELECT nullif(l.name, ''),
    n.timeless + CASE WHEN w.counted > enough THEN greatest(w.counted, durable.entries('pending_pkey', ARRAY[l.name])) ELSE w.counted END,
    CASE WHEN w.counted > enough THEN coalesce(b.due, 0)::bigint ELSE w.due END,
    now - CASE WHEN w.counted > enough THEN b.due_since ELSE w.due_since END,
    coalesce(s.running, 0), h.paused, coalesce(x.stale, 0), coalesce(x.owners, 0), coalesce(r.retries, 0),
    coalesce(e.completed, 0), coalesce(e.failed, 0), coalesce(e.cancelled, 0),
    l.paused, l.max_concurrency, l.rate_limit, l.rate_limit_window, coalesce(v.waiting, 0), n.suspended, a.asked,
    l.key_concurrency, l.fair
  FROM line l JOIN asked a ON a.name = l.name JOIN waiting w ON w.name = l.name JOIN suspended n ON n.name = l.name JOIN held h ON h.name = l.name LEFT JOIN slot s ON s.name = l.name
    LEFT JOIN backlog b ON b.name = l.name LEFT JOIN stale x ON x.name = l.name
    LEFT JOIN retry r ON r.name = l.name LEFT JOIN ended e ON e.name = l.name
    LEFT JOIN unclaimed v ON v.name = l.name
  ORDER BY l.name = '', l.name;
END $$;
COMMENT ON FUNCTION durable.stats() IS
	'One row for each queue, and one (queue_name NULL) for workflows without a queue: what waits, runs, and ended in the last minute. Exact up to 2,000 in a column of a queue (stale: where not more run, and stale_executors are those that were seen; retries and what has ended: in all queues); more is estimated. due and oldest_pending tell of the first 1,000 keys and priorities. waiting_for_version is what waits for a version that no executor that is alive has claimed with. Suspended ones are counted as pending, too. cancel_requested are those that were asked to end and have not ended, inline ones too';

CREATE VIEW durable.stats AS SELECT * FROM durable.stats();
COMMENT ON VIEW durable.stats IS 'What the function durable.stats() answers';

CREATE FUNCTION durable.executors(max_rows int = 500, INOUT executor_id text = NULL, OUT last_seen timestamptz, OUT app_version text,
	OUT bound boolean, OUT alive boolean, OUT why text, OUT running bigint)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off
SET enable_indexscan = on SET enable_indexonlyscan = on SET enable_nestloop = on
SET plan_cache_mode = force_generic_plan SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  since CONSTANT timestamptz := durable.stale_before(durable.clock());
BEGIN
  PERFORM durable.require_count('max_rows', max_rows);
  RETURN QUERY
  SELECT e.executor_id, e.last_seen, e.app_version, e.bound_run IS NOT NULL AND NOT e.has_ended, NOT (e.has_ended OR e.is_silent),
    CASE WHEN e.has_ended THEN 'session ended' WHEN e.is_silent THEN 'silent' END,
    (SELECT count(*) FROM (SELECT 1 FROM durable.driven d WHERE d.executor_id = e.executor_id LIMIT 1000) d)
  FROM (
    SELECT e.*, durable.is_dead(e.last_seen, since) AS is_silent, durable.session_ended(e.executor_id, e.bound_run, e.bound) AS has_ended
    FROM (SELECT e.* FROM durable.executor e WHERE executors.executor_id IS NULL OR e.executor_id = executors.executor_id
      ORDER BY e.last_seen DESC, e.executor_id LIMIT max_rows) e OFFSET 0) e
  ORDER BY e.has_ended OR e.is_silent DESC, e.executor_id;
END $$;
COMMENT ON FUNCTION durable.executors(int, text) IS
	'The executors that were seen last, or the one: dead ones first, and why they are dead (silent for durable.executor_timeout, or their session has ended); app_version is that they have claimed with, bound whether to a session that lives, running how many workflows they drive, paused ones too, up to 1,000. Errors: 22023, 22004';

CREATE FUNCTION durable.schedules() RETURNS SETOF durable.schedule
LANGUAGE sql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT s.* FROM durable.schedule s ORDER BY s.name
$$;
COMMENT ON FUNCTION durable.schedules() IS
	'All schedules in the order of their names: the settings, when each comes next, its last run, how many times were skipped, and why it could not start';

-- Of the dead, the first thousand that each drives are looked at; of steps, the thousand whose retry comes next.
CREATE FUNCTION durable.stuck(max_rows int = 100, OUT workflow_id uuid, OUT parent_id uuid, OUT name text, OUT handler text,
	OUT status durable.task_status, OUT queue_name text, OUT executor_id text, OUT created_at timestamptz, OUT started_at timestamptz,
	OUT deadline timestamptz, OUT reason text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_bitmapscan = off
SET enable_indexscan = on SET enable_indexonlyscan = on SET enable_nestloop = on
SET plan_cache_mode = force_generic_plan SET join_collapse_limit = 1 SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  enough CONSTANT int := 1000;
  now CONSTANT timestamptz := durable.clock();
  since CONSTANT timestamptz := durable.stale_before(now);
  here CONSTANT int4multirange := durable.buckets();
BEGIN
  PERFORM durable.require_count('max_rows', max_rows);
  RETURN QUERY
  WITH RECURSIVE
  owner AS (
    (SELECT d.executor_id FROM durable.driven d ORDER BY d.executor_id LIMIT 1)
    UNION ALL
    SELECT n.executor_id FROM owner o CROSS JOIN LATERAL
      (SELECT d.executor_id FROM durable.driven d WHERE d.executor_id > o.executor_id ORDER BY d.executor_id LIMIT 1) n),
  dead AS MATERIALIZED (
    SELECT o.executor_id, e.executor_id IS NOT NULL AS is_registered, CASE WHEN o.executor_id = '' THEN 'no executor drives it'
        WHEN e.executor_id IS NULL THEN 'its executor is not registered'
        WHEN durable.session_ended(e.executor_id, e.bound_run, e.bound) THEN 'the session of its executor has ended'
        WHEN durable.is_dead(e.last_seen, since) THEN 'its executor is silent' END AS why
    FROM owner o LEFT JOIN durable.executor e ON e.executor_id = o.executor_id),
  stale AS (
    SELECT d.id, 'stale: ' || o.why AS reason
    FROM dead o CROSS JOIN LATERAL
      (SELECT d.id, d.started_at FROM durable.driven d WHERE d.executor_id = o.executor_id ORDER BY d.executor_id, d.started_at LIMIT enough) d
    WHERE o.why IS NOT NULL AND NOT EXISTS (SELECT 1 FROM durable.paused p WHERE p.id = d.id)
      AND (o.is_registered OR d.started_at < since AND NOT EXISTS (SELECT 1 FROM durable.signs_of_life(d.id, since)))
    LIMIT max_rows),
  retrying AS (
    SELECT s.workflow_id, format('step %s has failed %s', s.name, CASE s.retry_count WHEN 1 THEN 'once' ELSE s.retry_count || ' times' END)
    FROM (SELECT s.workflow_id, s.name, s.status, s.retry_count, s.run_at, s.failed_at FROM durable.step s
      WHERE s.run_at IS NOT NULL AND s.wait IS NULL ORDER BY s.run_at LIMIT enough) s
    WHERE s.status = 'PENDING' AND (s.retry_count >= 3 OR s.run_at - s.failed_at > interval '5 min')
    LIMIT max_rows),
  late AS (
    SELECT d.id, CASE WHEN d.deadline <= now THEN 'past its deadline' ELSE 'deadline near' END
    FROM durable.deadline d WHERE d.deadline < now + interval '5 min' ORDER BY d.deadline LIMIT max_rows)
  SELECT w.id, w.parent_id, w.name, w.handler, w.status, w.queue_name, w.executor_id, w.created_at, w.started_at, w.deadline, f.reason
  FROM (SELECT f.id, string_agg(f.reason, '; ') AS reason
      FROM (SELECT * FROM stale UNION ALL SELECT * FROM retrying UNION ALL SELECT * FROM late) f (id, reason) GROUP BY f.id) f
    JOIN durable.workflow w ON w.id = f.id
  WHERE CASE WHEN w.status IN ('PENDING', 'RUNNING') AND durable.bucket(w.id) <@ here THEN true ELSE false END
  ORDER BY w.id DESC LIMIT max_rows;
END $$;
COMMENT ON FUNCTION durable.stuck(int) IS
	'Workflows that are in trouble, the newest first, and why: nobody alive drives one (durable.executor_timeout), a step has failed three times or more or waits more than five minutes for its retry, or its deadline is within five minutes or has passed. Errors: 22023, 22004';

-- A family for each column of stats but the queue's name and its rules for keys, in its
-- order, then the executors.  A sample without a queue has no label: an empty one would mean the
-- same.
CREATE FUNCTION durable.metrics() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  since CONSTANT timestamptz := durable.stale_before(durable.clock());
BEGIN
  RETURN (WITH family (n, name, help) AS (VALUES
  (1, 'durable_workflows_pending', 'Workflows that nobody drives, waiting to be claimed.'),
  (2, 'durable_workflows_due', 'Pending workflows whose time has come.'),
  (3, 'durable_oldest_due_seconds', 'How long the first of those has been due, 0 if there is none.'),
  (4, 'durable_workflows_running', 'Workflows that are driven.'),
  (5, 'durable_workflows_paused', 'Workflows that are paused.'),
  (6, 'durable_workflows_stale', 'Running workflows that nobody alive drives.'),
  (7, 'durable_stale_owners', 'Executors that own stale workflows.'),
  (8, 'durable_retries_waiting', 'Failed steps that wait for their retry.'),
  (9, 'durable_completed_last_minute', 'Workflows that were completed in the last 60 seconds.'),
  (10, 'durable_failed_last_minute', 'Workflows that failed in the last 60 seconds.'),
  (11, 'durable_cancelled_last_minute', 'Workflows that were cancelled in the last 60 seconds.'),
  (12, 'durable_queue_paused', '1 while nothing is claimed from the queue, else 0.'),
  (13, 'durable_queue_max_concurrency', 'How many workflows of the queue may run at once.'),
  (14, 'durable_queue_rate_limit', 'How many workflows of the queue may start in a window.'),
  (15, 'durable_queue_rate_limit_window_seconds', 'How long such a window is.'),
  (16, 'durable_workflows_waiting_for_version', 'Pending workflows of a version with which nobody claims.'),
  (17, 'durable_workflows_suspended', 'Pending workflows that are suspended.'),
  (18, 'durable_workflows_cancel_requested', 'Unfinished workflows that were asked to end.'),
  (19, 'durable_executors', 'Registered executors.'),
  (20, 'durable_executors_stale', 'Those of them that are dead: silent for durable.executor_timeout, or bound to a session that has ended.'),
  (21, 'durable_left_to_statements', 'Statements that their fast path has left to the executor, in all databases since the server has begun.')),
queue AS MATERIALIZED (
  SELECT s.*, '{queue="' ||
    replace(replace(replace(s.queue_name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"}' AS label
  FROM durable.stats() s),
executor AS (
  SELECT count(*) AS registered,
    count(*) FILTER (WHERE durable.is_dead(e.last_seen, since)
      OR durable.session_ended(e.executor_id, e.bound_run, e.bound)) AS stale
  FROM durable.executor e),
sample (n, queue_name, label, value) AS MATERIALIZED (
  SELECT v.n, q.queue_name, q.label, v.value
  FROM queue q CROSS JOIN LATERAL (VALUES
    (1, q.pending::text), (2, q.due::text),
    (3, round(coalesce(extract(epoch FROM q.oldest_pending), 0), 6)::text),
    (4, q.running::text), (5, q.paused::text), (6, q.stale::text), (7, q.stale_executors::text),
    (8, q.retries_waiting::text), (9, q.completed_last_minute::text), (10, q.failed_last_minute::text),
    (11, q.cancelled_last_minute::text),
    (12, q.queue_paused::int::text), (13, q.max_concurrency::text), (14, q.rate_limit::text),
    -- a month has 30 days and a year 12 months, as where intervals are compared; for extract a year has 365.25 days
    (15, round(extract(epoch FROM q.rate_limit_window) - extract(year FROM q.rate_limit_window) * 5.25 * 86400, 6)::text),
    (16, q.waiting_for_version::text), (17, q.suspended::text), (18, q.cancel_requested::text)) v (n, value)
  WHERE v.value IS NOT NULL
  UNION ALL
  SELECT 19, NULL, NULL, e.registered::text FROM executor e
  UNION ALL
  SELECT 20, NULL, NULL, e.stale::text FROM executor e
  UNION ALL
  SELECT 21, NULL, NULL, l.value::text FROM (SELECT durable.left_to_statements() AS value) l WHERE l.value IS NOT NULL)
SELECT string_agg(
    concat('# TYPE ', f.name, E' gauge\n',
      CASE WHEN f.name LIKE '%seconds' THEN concat('# UNIT ', f.name, E' seconds\n') END,
      '# HELP ', f.name, ' ', f.help, E'\n',
      (SELECT string_agg(concat(f.name, s.label, ' ', s.value, E'\n'), '' ORDER BY s.queue_name COLLATE "C")
       FROM sample s WHERE s.n = f.n)), '' ORDER BY f.n) || E'# EOF\n'
FROM family f);
END $$;
COMMENT ON FUNCTION durable.metrics() IS 'durable.stats() and the number of executors as OpenMetrics text';

CREATE FUNCTION durable.lock_key(queue_name text) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_lock_key_queue'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.lock_key(text) IS
	'classid and objid in pg_locks, as one number, of the lock of a queue (objsubid 17410). Errors: 22023, 22004';

CREATE FUNCTION durable.lock_key(workflow_id uuid) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_lock_key_workflow'
LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION durable.lock_key(uuid) IS
	'classid and objid in pg_locks, as one number, of the lock of a root''s tree (objsubid 17409), of a workflow''s children (17411), of its events (17415) or of what ends waits for it (17416). Errors: 22004';

CREATE FUNCTION durable.statements(OUT statement text, OUT sql text, OUT has_fast_path boolean, OUT calls bigint,
	OUT fast_calls bigint, OUT functions oid[])
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_statements'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.statements() IS
	'The statements that this session has run: how often, how often a fast path did it (durable.fast_paths), and the functions that each uses, also for its operators';

-- Who waits for one of our locks (durable.h).  A lock is known by a hash only:
-- queues are all asked for theirs, and of workflows those that are driven.
CREATE VIEW durable.lock_waits AS
	WITH waiting AS MATERIALIZED (
		SELECT l.pid, l.objsubid, (l.classid::bigint << 32) | l.objid::bigint AS lock_key, l.mode, l.waitstart
		FROM pg_locks l
		WHERE l.locktype = 'advisory' AND NOT l.granted AND l.objsubid BETWEEN 17409 AND 17417
			AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
	SELECT w.pid,
		(ARRAY['tree', 'queue', 'children', 'all trees', 'all children', 'fence', 'events', 'ends', 'group of ends'])[w.objsubid - 17408] AS waits_for,
		CASE WHEN w.objsubid = 17410 THEN
			(SELECT q.name FROM durable.queue q WHERE durable.lock_key(q.name) = w.lock_key LIMIT 1) END AS queue_name,
		CASE WHEN w.objsubid = ANY (ARRAY[17409, 17411, 17415, 17416]) THEN
			(SELECT o.id FROM durable.workflow o
				WHERE o.status = ANY (ARRAY['RUNNING', 'PAUSED']::durable.task_status[])
					AND (o.parent_id IS NULL OR o.queue_name IS NOT NULL)
					AND durable.lock_key(o.id) = w.lock_key LIMIT 1) END AS workflow_id,
		w.mode, pg_blocking_pids(w.pid) AS blocked_by, w.waitstart AS since
	FROM waiting w;
COMMENT ON VIEW durable.lock_waits IS
	'The backends that wait for a lock of the extension, for whom, and which queue or workflow (if RUNNING or PAUSED; a tree by its root) is meant';

---------------------------------------------------------------------------
-- Privileges
--
-- These do what their caller may do by GRANT and REVOKE, with its rights.
---------------------------------------------------------------------------

CREATE FUNCTION durable.grant_to(role regrole, level text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_grant_to'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.grant_to(regrole, text) IS
	'Grants a role the level reader (looks), client (and starts what others run), worker (and runs workflows) or operator (and controls trees and queues), and takes nothing away. Errors: 42704 (no such role), 42501, 22023, 22004';

CREATE FUNCTION durable.revoke_from(role regrole, level text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_revoke_from'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.revoke_from(regrole, text) IS
	'Leaves a role with less than that level: after reader with nothing. Errors: 42704 (no such role), 42501, 2BP01 (it granted to others), 22023, 22004';

-- Nothing is PUBLIC's.  Last here, to reach all of the above, and last in each
-- script that adds something.
REVOKE ALL ON ALL ROUTINES IN SCHEMA durable FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA durable FROM PUBLIC;
REVOKE ALL ON TYPE durable.task_status, durable.task_kind, durable.claim_action, durable.claimed_step, durable.claimed_workflow,
	durable.started_workflow FROM PUBLIC;
-- The types of the tables' and views' rows.  REVOKE in a script would note down
-- initial privileges, too, and pg_dump, which does not dump such types by
-- themselves, would warn of each: "unsupported pg_init_privs entry".
UPDATE pg_catalog.pg_type AS t
	SET typacl = ARRAY[pg_catalog.makeaclitem(t.typowner, t.typowner, 'USAGE', false)]
	FROM pg_catalog.pg_class AS c
	WHERE c.reltype = t.oid AND c.relnamespace = 'durable'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v');
