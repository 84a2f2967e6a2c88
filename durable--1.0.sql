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

-- A status changes no index of this table, so that its updates are HOT; half a page
-- is left for them.  Who looks for workflows by status finds them in the registers below.
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
	input jsonb,
	output jsonb,
	error text,
	-- what the program keeps about the error beside its text
	detail jsonb,
	CONSTRAINT workflow_pkey PRIMARY KEY (id)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable.workflow IS
	'One row for each workflow; change it only through the functions of the extension';

-- the children of a workflow, in order
CREATE INDEX workflow_parent ON durable.workflow (parent_id, parent_sequence)
	WHERE parent_id IS NOT NULL;
-- list: by name, queue or handler, the newest first (ids are in the order of created_at)
CREATE INDEX workflow_name ON durable.workflow (name, id);
CREATE INDEX workflow_queue ON durable.workflow (queue_name, id) WHERE queue_name IS NOT NULL;
CREATE INDEX workflow_handler ON durable.workflow (handler, id) WHERE handler IS NOT NULL;

-- The registers: which workflows are in some state, in the order in which they are
-- looked for.  They follow from the table of workflows, as an index does: a trigger
-- keeps them, and a dump leaves them out.  Rows are inserted and deleted only.  They
-- are vacuumed often, and their indexes always: until then the entries of what was
-- claimed stay where a claim begins to look.

-- claim: what waits in a queue ('' is none, for roots that were released), in the order in
-- which it is claimed; turn is lower for a higher priority
CREATE TABLE durable.pending
(
	queue_name text COLLATE "C" NOT NULL,
	turn bigint NOT NULL,
	run_at timestamptz NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT pending_pkey PRIMARY KEY (queue_name, turn, run_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
COMMENT ON TABLE durable.pending IS
	'Register of the workflows that wait for an executor; a trigger keeps it';

-- heartbeat, recover, release: what an executor ('' is none) drives, also while it is
-- paused (an inline child has none); claim: the slots of a queue ('' is none) that are taken
CREATE TABLE durable.driven
(
	executor_id text COLLATE "C" NOT NULL,
	started_at timestamptz NOT NULL,
	id uuid NOT NULL,
	queue_name text COLLATE "C" NOT NULL,
	CONSTRAINT driven_pkey PRIMARY KEY (executor_id, started_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, vacuum_index_cleanup = on);
CREATE INDEX driven_slot ON durable.driven (queue_name);
COMMENT ON TABLE durable.driven IS
	'Register of the workflows that are driven by an executor; a trigger keeps it';

-- list, drop_queue: what is PAUSED
CREATE TABLE durable.paused
(
	queue_name text COLLATE "C" NOT NULL,
	id uuid NOT NULL,
	CONSTRAINT paused_pkey PRIMARY KEY (queue_name, id)
);
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
	CONSTRAINT step_pkey PRIMARY KEY (workflow_id, sequence)
) WITH (fillfactor = 50);
-- stats: steps that wait for a retry, the only ones that have an entry there
CREATE INDEX step_retry ON durable.step (run_at) WHERE run_at IS NOT NULL;
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

CREATE TABLE durable.queue
(
	name text COLLATE "C" NOT NULL,
	max_concurrency int,
	rate_limit int,
	rate_limit_window interval NOT NULL,
	paused boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL,
	-- the current window of the rate limit, and the claims in it
	window_start timestamptz,
	window_count int NOT NULL DEFAULT 0,
	CONSTRAINT queue_pkey PRIMARY KEY (name)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable.queue IS 'One row for each queue, with its limits (NULL is none)';

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

CREATE TABLE durable.executor
(
	executor_id text COLLATE "C" NOT NULL,
	last_seen timestamptz NOT NULL,
	-- of one that is bound to a session: in which run of the server, and how often it was
	bound_run timestamptz,
	bound int,
	CONSTRAINT executor_pkey PRIMARY KEY (executor_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE durable.executor IS 'One row for each registered executor, with its last heartbeat';

-- What is long is compressed by lz4, where the server has it: faster by far.
DO $$
BEGIN
	ALTER TABLE durable.workflow ALTER input SET COMPRESSION lz4, ALTER output SET COMPRESSION lz4, ALTER error SET COMPRESSION lz4, ALTER detail SET COMPRESSION lz4;
	ALTER TABLE durable.step ALTER input SET COMPRESSION lz4, ALTER output SET COMPRESSION lz4, ALTER error SET COMPRESSION lz4, ALTER detail SET COMPRESSION lz4;
	ALTER TABLE durable.event ALTER payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	NULL;
END $$;

SELECT pg_catalog.pg_extension_config_dump('durable.workflow', '');
SELECT pg_catalog.pg_extension_config_dump('durable.step', '');
SELECT pg_catalog.pg_extension_config_dump('durable.event', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue_head', '');
SELECT pg_catalog.pg_extension_config_dump('durable.queue_late', '');
SELECT pg_catalog.pg_extension_config_dump('durable.executor', '');

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

-- Workflows and steps in one shape; a child workflow is shown once, as the workflow.
CREATE VIEW durable.task AS
	SELECT w.id, w.parent_id, w.parent_sequence AS sequence, w.name, w.handler, w.status,
		'WORKFLOW'::durable.task_kind AS kind, w.input, w.output, w.error, w.queue_name, w.executor_id,
		0 AS retry_count, 0 AS max_retries, w.recovery_count,
		w.created_at, w.started_at, w.completed_at, w.deadline, w.lease, NULL::int AS attempt
	FROM durable.workflow w
	UNION ALL
	SELECT durable.step_id(s.workflow_id, s.sequence), s.workflow_id, s.sequence, s.name, NULL::text COLLATE "C", s.status,
		s.kind, s.input, s.output, s.error, NULL::text COLLATE "C", s.executor_id,
		s.retry_count, s.max_retries, 0,
		s.started_at, s.started_at, s.completed_at, s.deadline, s.lease, s.attempt
	FROM durable.step s
	WHERE s.kind <> 'WORKFLOW';
COMMENT ON VIEW durable.task IS
	'Workflows and steps in one shape; a step''s parent is its workflow, its created_at the start of its latest attempt';

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

---------------------------------------------------------------------------
-- Running a workflow
--
-- Callers need EXECUTE only, no privilege on the tables: each function takes on
-- the rights of its owner, and a search_path of its own, in C (begin_call).
---------------------------------------------------------------------------

CREATE FUNCTION durable.start(name text, input jsonb = NULL, handler text = NULL, executor_id text = NULL,
	queue text = NULL, priority int = 0, run_at timestamptz = NULL, timeout interval = NULL,
	max_recovery_attempts int = 100, app_version text = NULL,
	OUT workflow_id uuid, OUT created boolean, OUT status durable.task_status, OUT lease int, OUT owner text)
AS 'MODULE_PATHNAME', 'durable_start'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start(text, jsonb, text, text, text, int, timestamptz, interval, int, text) IS
	'Finds the active root workflow of that name (and attaches to it as attach does) or creates it; run_at needs a queue; owner tells whether the caller drives it. Errors: WF012, 42501 (executor_id from a client), 22023, 22004';

CREATE FUNCTION durable.attach(workflow_id uuid, executor_id text = NULL, takeover boolean = false,
	OUT name text, OUT handler text, OUT input jsonb, OUT status durable.task_status, OUT lease int, OUT owner text)
AS 'MODULE_PATHNAME', 'durable_attach'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.attach(uuid, text, boolean) IS
	'Becomes the owner of a workflow that nobody alive drives (or with takeover), under a new lease; otherwise joins and writes nothing. Errors: WF001, WF002 (takeover of an inline child), 22023, 22004';

-- A named type, not OUT columns: the server describes those anew for each
-- statement that calls the function, a twentieth of a step.
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
	'Finds or creates the step at that position and claims it; action says what the caller does; retry n waits backoff * max(1, backoff_multiplier ^ (n - 1)), at most max_backoff; after timeout the step can be claimed again. A replay writes nothing. Errors: WF001, WF002, WF004 to WF008, WF011, 22023, 22004';

CREATE FUNCTION durable.complete(task_id uuid, output jsonb = NULL, lease int = NULL, attempt int = NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_complete'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.complete(uuid, jsonb, int, int) IS
	'Records the output of a step or workflow: true if this call did, false if it was done with an equal output. Errors: WF001, WF002, WF004, WF005, WF008, 22023, 22004';

CREATE FUNCTION durable.fail(task_id uuid, error text, lease int = NULL, attempt int = NULL, retryable boolean = true,
	detail jsonb = NULL, retry_after interval = NULL,
	OUT status durable.task_status, OUT retry_count int, OUT run_at timestamptz)
AS 'MODULE_PATHNAME', 'durable_fail'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.fail(uuid, text, int, int, boolean, jsonb, interval) IS
	'Records the failure of a step or workflow, and detail with it; a step with retries left is PENDING again until run_at, which is after retry_after or, where that is NULL, the backoff. Errors: WF001, WF002, WF004, WF005, WF008, 22023, 22004';

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
	lease int = NULL, queue text = NULL, priority int = 0, timeout interval = NULL,
	OUT workflow_id uuid, OUT created boolean, OUT status durable.task_status, OUT output jsonb, OUT error text,
	OUT lease int)
AS 'MODULE_PATHNAME', 'durable_start_child'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start_child(uuid, int, text, jsonb, text, int, text, int, interval) IS
	'Finds or creates the child workflow at that position: inline (driven by the parent''s driver) or, with a queue, on its own. A finished child comes back as it is. Errors: those of claim_step, WF012';

CREATE FUNCTION durable.start_many(names text[], inputs jsonb[] = NULL, handler text = NULL,
	executor_id text = NULL, queue text = NULL, priority int = 0, run_at timestamptz = NULL,
	timeout interval = NULL, max_recovery_attempts int = 100, app_version text = NULL,
	OUT "position" int, OUT workflow_id uuid, OUT created boolean, OUT status durable.task_status, OUT lease int,
	OUT owner text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_start_many'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.start_many(text[], jsonb[], text, text, text, int, timestamptz, interval, int, text) IS
	'start of up to 1000 names at once, as if one after the other: a row for each, in order, position from 1. Errors: WF012, 42501 (executor_id from a client), 22023, 22004';

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

CREATE FUNCTION durable.history(workflow_id uuid,
	OUT sequence int, OUT step_id uuid, OUT name text, OUT kind durable.task_kind, OUT status durable.task_status,
	OUT output jsonb, OUT error text, OUT attempt int, OUT run_at timestamptz, OUT child_id uuid,
	OUT detail jsonb)
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

CREATE FUNCTION durable.set_timeout(task_id uuid, timeout interval) RETURNS void
AS 'MODULE_PATHNAME', 'durable_set_timeout'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.set_timeout(uuid, interval) IS
	'Re-arms the deadline of an unfinished workflow or step: started_at + timeout; NULL removes it. Errors: WF001, WF002, 22023, 22004';

---------------------------------------------------------------------------
-- Control
---------------------------------------------------------------------------

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

CREATE FUNCTION durable.resume_failed(workflow_id uuid, executor_id text = NULL, from_sequence int = 0,
	OUT handler text, OUT input jsonb, OUT status durable.task_status, OUT lease int)
AS 'MODULE_PATHNAME', 'durable_resume_failed'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_failed(uuid, text, int) IS
	'Runs a FAILED workflow again from its last completed step; failures before from_sequence are kept. Errors: WF001, WF002, WF005, WF009, WF012, 22023, 22004';

---------------------------------------------------------------------------
-- Queues, executors, recovery
---------------------------------------------------------------------------

CREATE FUNCTION durable.create_queue(name text, max_concurrency int = NULL, rate_limit int = NULL,
	rate_limit_window interval = '1 second') RETURNS void
AS 'MODULE_PATHNAME', 'durable_create_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.create_queue(text, int, int, interval) IS
	'Creates a queue from which at most max_concurrency workflows run at once and at most rate_limit start in each rate_limit_window; NULL is no limit. Again with the same settings changes nothing. Errors: 42710 (with others), 22023, 22004';

CREATE FUNCTION durable.alter_queue(name text, max_concurrency int = NULL, rate_limit int = NULL,
	rate_limit_window interval = '1 second') RETURNS void
AS 'MODULE_PATHNAME', 'durable_alter_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.alter_queue(text, int, int, interval) IS
	'Sets all limits of a queue; NULL is no limit. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.drop_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_drop_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.drop_queue(text) IS
	'Drops a queue that has no unfinished workflow. Errors: WF002, WF012, 22023, 22004';

CREATE FUNCTION durable.pause_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_pause_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.pause_queue(text) IS
	'Nothing is claimed from the queue until resume_queue. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.resume_queue(name text) RETURNS void
AS 'MODULE_PATHNAME', 'durable_resume_queue'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.resume_queue(text) IS 'Undoes pause_queue. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.claim(queue text, executor_id text, max_workflows int = 1,
	OUT workflow_id uuid, OUT name text, OUT handler text, OUT input jsonb, OUT lease int, OUT recovery_count int,
	OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_claim'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.claim(text, text, int) IS
	'Takes up to max_workflows due workflows from a queue, within its limits, by priority (higher first), run_at, id. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.heartbeat(executor_id text, workflow_ids uuid[] = NULL, leases int[] = NULL,
	OUT workflow_id uuid, OUT status durable.task_status, OUT lease int, OUT owner text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_heartbeat'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.heartbeat(text, uuid[], int[]) IS
	'Registers or refreshes an executor, and answers the workflows about which it is wrong: of those that it believes it runs, and those that it owns without knowing. Errors: 22023, 22004';

CREATE FUNCTION durable.recover(executor_id text, max_workflows int = 100, stale_after interval = NULL,
	queue text = NULL, handlers text[] = NULL,
	OUT workflow_id uuid, OUT parent_id uuid, OUT name text, OUT handler text, OUT input jsonb, OUT lease int,
	OUT recovery_count int, OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'durable_recover'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.recover(text, int, interval, text, text[]) IS
	'Takes over workflows that nobody alive drives (silent for stale_after, by default durable.executor_timeout), that are past their deadline, or that were released, under a new lease. Errors: WF012, 22023, 22004';

CREATE FUNCTION durable.release(executor_id text, workflow_id uuid = NULL, run_at timestamptz = NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'durable_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION durable.release(text, uuid, timestamptz) IS
	'Hands all workflows of an executor back and forgets it, or just the one, not before run_at. Returns how many. Errors: WF001, 22023, 22004';

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

---------------------------------------------------------------------------
-- Looking
---------------------------------------------------------------------------

-- list, count, tree, stats and metrics are in SQL: so they have their owner's
-- rights and a search_path as any function can have them.  None of them waits for
-- a compiler or for workers to start, which takes longer than most of them; tree
-- and stats are planned by index, whatever statistics say.
--
-- list and count are planned for their arguments: what is not asked for folds
-- away, and so do the steps unless their kind is asked for.  Their filters are the same.
CREATE FUNCTION durable.list(status durable.task_status = NULL, kind durable.task_kind = NULL, parent_id uuid = NULL,
	root_only boolean = false, name text = NULL, queue_name text = NULL, handler text = NULL,
	sort text = 'created_at', descending boolean = true, max_rows int = 100, skip int = 0)
RETURNS SETOF durable.task
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET constraint_exclusion = on
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
  IF sort IS NULL OR descending IS NULL OR max_rows IS NULL OR skip IS NULL OR root_only IS NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22004',
      MESSAGE = format('argument "%s" must not be NULL',
        CASE WHEN sort IS NULL THEN 'sort' WHEN descending IS NULL THEN 'descending'
          WHEN max_rows IS NULL THEN 'max_rows' WHEN skip IS NULL THEN 'skip' ELSE 'root_only' END),
      DETAIL = 'There is nothing that NULL could mean here.',
      HINT = 'Pass a value.';
  ELSIF max_rows < 0 OR skip < 0 THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = format('argument "%s" must be at least 0', CASE WHEN max_rows < 0 THEN 'max_rows' ELSE 'skip' END),
      DETAIL = format('It is %s.', CASE WHEN max_rows < 0 THEN max_rows ELSE skip END),
      HINT = 'Pass a number in that range.';
  ELSIF sort COLLATE "C" NOT IN ('created_at', 'started_at', 'completed_at', 'name', 'status') THEN
    RAISE EXCEPTION USING
      ERRCODE = '22023',
      MESSAGE = 'argument "sort" must be the name of a column to sort by',
      DETAIL = format('It is "%s".', sort),
      HINT = 'Pass created_at, started_at, completed_at, name or status.';
  END IF;
  RETURN QUERY
  SELECT t.*
  FROM durable.task t
  WHERE (list.status IS NULL OR t.status = list.status)
    AND t.kind = coalesce(list.kind, 'WORKFLOW')
    AND (list.parent_id IS NULL OR t.parent_id = list.parent_id)
    AND (NOT list.root_only OR (t.parent_id IS NULL AND t.kind = 'WORKFLOW'))
    AND (list.name IS NULL OR t.name = list.name COLLATE "C")
    AND (list.queue_name IS NULL OR (t.kind = 'WORKFLOW' AND t.queue_name = list.queue_name COLLATE "C"))
    AND (list.handler IS NULL OR (t.kind = 'WORKFLOW' AND t.handler = list.handler COLLATE "C"))
  ORDER BY
    CASE WHEN list.sort = 'created_at' AND NOT list.descending THEN t.created_at END,
    CASE WHEN list.sort = 'created_at' AND list.descending THEN t.created_at END DESC,
    CASE WHEN list.sort = 'started_at' AND NOT list.descending THEN t.started_at END,
    CASE WHEN list.sort = 'started_at' AND list.descending THEN t.started_at END DESC,
    CASE WHEN list.sort = 'completed_at' AND NOT list.descending THEN t.completed_at END,
    CASE WHEN list.sort = 'completed_at' AND list.descending THEN t.completed_at END DESC,
    CASE WHEN list.sort = 'name' AND NOT list.descending THEN t.name END,
    CASE WHEN list.sort = 'name' AND list.descending THEN t.name END DESC,
    CASE WHEN list.sort = 'status' AND NOT list.descending THEN t.status END,
    CASE WHEN list.sort = 'status' AND list.descending THEN t.status END DESC,
    CASE WHEN NOT list.descending THEN t.id END,
    CASE WHEN list.descending THEN t.id END DESC
  LIMIT list.max_rows OFFSET list.skip;
END $$;
COMMENT ON FUNCTION durable.list(durable.task_status, durable.task_kind, uuid, boolean, text, text, text, text, boolean, int, int) IS
	'Tasks of a kind (by default workflows) that match all given filters; sort is created_at, started_at, completed_at, name or status, with the id as tie-break. Errors: 22023, 22004';

CREATE FUNCTION durable.count(status durable.task_status = NULL, kind durable.task_kind = NULL, parent_id uuid = NULL,
	root_only boolean = false, name text = NULL, queue_name text = NULL, handler text = NULL)
RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan SET constraint_exclusion = on
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
BEGIN
  IF root_only IS NULL THEN
    RAISE EXCEPTION USING
      ERRCODE = '22004',
      MESSAGE = 'argument "root_only" must not be NULL',
      DETAIL = 'There is nothing that NULL could mean here.',
      HINT = 'Pass a value.';
  END IF;
  RETURN (
  SELECT count(*)
  FROM durable.task t
  WHERE (count.status IS NULL OR t.status = count.status)
    AND t.kind = coalesce(count.kind, 'WORKFLOW')
    AND (count.parent_id IS NULL OR t.parent_id = count.parent_id)
    AND (NOT count.root_only OR (t.parent_id IS NULL AND t.kind = 'WORKFLOW'))
    AND (count.name IS NULL OR t.name = count.name COLLATE "C")
    AND (count.queue_name IS NULL OR (t.kind = 'WORKFLOW' AND t.queue_name = count.queue_name COLLATE "C"))
    AND (count.handler IS NULL OR (t.kind = 'WORKFLOW' AND t.handler = count.handler COLLATE "C")));
END $$;
COMMENT ON FUNCTION durable.count(durable.task_status, durable.task_kind, uuid, boolean, text, text, text) IS
	'The number of tasks of a kind (by default workflows) that match all given filters. Errors: 22004';

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
  RETURN QUERY
  WITH RECURSIVE below AS (
    SELECT w.id, ARRAY[]::int[] AS path FROM durable.workflow w WHERE w.id = tree.workflow_id
    UNION ALL
    SELECT c.id, b.path || c.parent_sequence FROM below b CROSS JOIN LATERAL
      (SELECT w.id, w.parent_sequence FROM durable.workflow w WHERE w.parent_id = b.id OFFSET 0) c),
  task AS (
    SELECT b.path, w.status, 'WORKFLOW'::durable.task_kind AS kind, w.name, NULL::int AS attempt, w.queue_name,
      w.executor_id, w.started_at, w.completed_at, w.error
    FROM below b JOIN durable.workflow w ON w.id = b.id
    UNION ALL
    SELECT b.path || s.sequence, s.status, s.kind, s.name, s.attempt, NULL,
      NULL, s.started_at, s.completed_at, s.error
    FROM below b JOIN durable.step s ON s.workflow_id = b.id AND s.kind <> 'WORKFLOW'),
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
      CASE WHEN l.kind <> 'STEP' THEN ' (' || lower(l.kind::text COLLATE "C") || ')' END,
      ' in queue ' || l.queue_name,
      ' on ' || l.executor_id,
      ' attempt ' || l.attempt,
      ' ' || CASE
        WHEN l.seconds < 1 THEN to_char(l.seconds * 1000, 'FM9999999990') || ' ms'
        WHEN l.seconds < 60 THEN to_char(l.seconds, 'FM9999999990.0') || ' s'
        WHEN l.seconds < 3600 THEN to_char(l.seconds / 60, 'FM9999999990.0') || ' min'
        WHEN l.seconds < 86400 THEN to_char(l.seconds / 3600, 'FM9999999990.0') || ' h'
        ELSE to_char(l.seconds / 86400, 'FM9999999990.0') || ' days' END,
      ' error: ' || substring(l.error COLLATE "C", E'^[^\\r\\n]*')) COLLATE "C", E'[\\u0001-\\u001f\\u007f]', ' ', 'g')
  FROM line l ORDER BY l.path;
  IF NOT FOUND THEN
    -- there is no such workflow: history says what is wrong with the id
    PERFORM FROM durable.history(tree.workflow_id);
  END IF;
END $$;
COMMENT ON FUNCTION durable.tree(uuid) IS
	'A workflow and all below it for a reader in psql: one line a task, indented. Errors: WF001, 22023, 22004';

-- In time proportional to the rows, whatever the shape of the trees and with
-- statistics or without: rows meet by hashing, and where it goes down a tree,
-- level by level, by a probe of the index for each workflow (LATERAL ... OFFSET 0).
CREATE FUNCTION durable.check(OUT task_id uuid, OUT problem text) RETURNS SETOF record
LANGUAGE sql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off SET enable_mergejoin = off SET enable_hashjoin = on
SET enable_indexscan = on SET jit = off
AS $$
WITH RECURSIVE
-- all below a paused workflow
held AS (
  SELECT w.id, w.status FROM durable.workflow p JOIN durable.workflow w ON w.parent_id = p.id
  WHERE p.status = 'PAUSED'
  UNION
  SELECT c.id, c.status FROM held h CROSS JOIN LATERAL
    (SELECT w.id, w.status FROM durable.workflow w WHERE w.parent_id = h.id OFFSET 0) c),
-- inline children that were cancelled because their parent completed: queued children below go on
abandoned AS (
  SELECT w.id FROM durable.workflow p JOIN durable.workflow w ON w.parent_id = p.id
  WHERE p.status = 'COMPLETED' AND w.status = 'CANCELLED' AND w.queue_name IS NULL
  UNION
  SELECT c.id FROM abandoned a CROSS JOIN LATERAL
    (SELECT w.id, w.status, w.queue_name FROM durable.workflow w WHERE w.parent_id = a.id OFFSET 0) c
  WHERE c.status = 'CANCELLED' AND c.queue_name IS NULL),
-- all below a cancelled workflow
doomed AS (
  SELECT w.id, w.status FROM durable.workflow p JOIN durable.workflow w ON w.parent_id = p.id
  WHERE p.status = 'CANCELLED' AND NOT EXISTS (SELECT 1 FROM abandoned a WHERE a.id = p.id)
  UNION
  SELECT c.id, c.status FROM doomed d CROSS JOIN LATERAL
    (SELECT w.id, w.status FROM durable.workflow w WHERE w.parent_id = d.id OFFSET 0) c),
-- a workflow beside its parent and the step that stands for it
child AS (
  SELECT w.id, w.status, w.error, w.detail, w.root_id, w.queue_name, w.name, w.output, w.parent_sequence, p.id AS parent,
    p.status AS parent_status, p.root_id AS parent_root, s.status AS stand_in_status,
    s.child_id, s.name AS stand_in_name, s.output AS stand_in_output,
    s.error AS stand_in_error, s.detail AS stand_in_detail
  FROM durable.workflow w LEFT JOIN durable.workflow p ON p.id = w.parent_id
  LEFT JOIN durable.step s ON s.workflow_id = w.parent_id AND s.sequence = w.parent_sequence
  WHERE w.parent_id IS NOT NULL)

-- the registers, as they follow from the workflows (register.c)
SELECT r.id, r.problem FROM (
  SELECT coalesce(r.id, w.id) AS id, 'not in the register of active roots as it belongs' AS problem
  FROM durable.active_root r FULL JOIN (SELECT w.name, w.id FROM durable.workflow w
    WHERE w.parent_id IS NULL AND w.status IN ('PENDING', 'RUNNING', 'PAUSED')) w ON w.name = r.name AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what waits as it belongs'
  FROM durable.pending r FULL JOIN (SELECT w.id, w.run_at, coalesce(w.queue_name, '') AS queue_name,
      CASE WHEN w.queue_name IS NULL THEN 0 ELSE -2 * w.priority::bigint END AS turn
    FROM durable.workflow w
    WHERE w.status = 'PENDING' AND w.run_at IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)) w
    ON w.queue_name = r.queue_name AND w.turn = r.turn AND w.run_at = r.run_at AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what is driven as it belongs'
  FROM durable.driven r FULL JOIN (SELECT w.id, w.started_at, coalesce(w.queue_name, '') AS queue_name,
      coalesce(w.executor_id, '') AS executor_id
    FROM durable.workflow w
    WHERE (w.status = 'RUNNING' OR w.paused_from = 'RUNNING') AND w.started_at IS NOT NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)) w
    ON w.executor_id = r.executor_id AND w.started_at = r.started_at AND w.id = r.id AND w.queue_name = r.queue_name
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of what is paused as it belongs'
  FROM durable.paused r FULL JOIN (SELECT w.id, coalesce(w.queue_name, '') AS queue_name FROM durable.workflow w
    WHERE w.status = 'PAUSED') w ON w.queue_name = r.queue_name AND w.id = r.id
  WHERE w.id IS NULL OR r.id IS NULL
  UNION ALL
  SELECT coalesce(r.id, w.id), 'not in the register of deadlines as it belongs'
  FROM durable.deadline r FULL JOIN (SELECT w.id, w.deadline FROM durable.workflow w
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
  WHERE w.id IS NULL OR r.id IS NULL) r
UNION ALL SELECT w.id, 'finished without completed_at, or completed_at without being finished'
FROM durable.workflow w WHERE (w.status IN ('PENDING', 'RUNNING', 'PAUSED')) = (w.completed_at IS NOT NULL)
UNION ALL SELECT w.id, 'paused without what it was before and by whom, or the other way round'
FROM durable.workflow w WHERE (w.status = 'PAUSED') <> (w.paused_from IS NOT NULL)
  OR (w.status = 'PAUSED') <> (w.paused_by IS NOT NULL)
  OR (w.status = 'PAUSED') <> (w.paused_at IS NOT NULL)
UNION ALL SELECT w.id, 'paused from a status in which it cannot be paused'
FROM durable.workflow w WHERE w.paused_from NOT IN ('PENDING', 'RUNNING')
UNION ALL SELECT w.id, 'pending with an executor or a deadline'
FROM durable.workflow w WHERE w.status = 'PENDING' AND (w.executor_id IS NOT NULL OR w.deadline IS NOT NULL)
UNION ALL SELECT w.id, 'running without started_at or a lease'
FROM durable.workflow w WHERE w.status = 'RUNNING' AND (w.started_at IS NULL OR w.lease < 1)
UNION ALL SELECT w.id, 'pending without run_at, so nobody will ever take it'
FROM durable.workflow w WHERE w.status = 'PENDING' AND w.run_at IS NULL AND (w.parent_id IS NULL OR w.queue_name IS NOT NULL)
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
UNION ALL SELECT w.id, 'waits before a head of its queue, where no claim looks'
FROM durable.queue_head h JOIN durable.workflow w ON w.queue_name = h.queue_name AND 2 * w.priority::bigint = h.rank
WHERE w.status = 'PENDING' AND (w.run_at, w.id) < (h.run_at, h.workflow_id)
  AND NOT EXISTS (SELECT 1 FROM durable.queue_late l
    WHERE l.head_id = h.id AND l.run_at = w.run_at AND l.workflow_id = w.id)
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
  OR (c.error IS NULL) <> (c.stand_in_error IS NULL) OR c.error <> c.stand_in_error
  OR (c.detail IS NULL) <> (c.stand_in_detail IS NULL) OR c.detail <> c.stand_in_detail
UNION ALL SELECT c.id, 'an unfinished inline child of a finished workflow'
FROM child c WHERE c.queue_name IS NULL AND c.status IN ('PENDING', 'RUNNING', 'PAUSED')
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
UNION ALL SELECT durable.step_id(s.workflow_id, s.sequence), 'stands for a child that does not exist'
FROM durable.step s LEFT JOIN durable.workflow w ON w.id = s.child_id
WHERE (s.kind = 'WORKFLOW') <> (s.child_id IS NOT NULL) OR (s.child_id IS NOT NULL AND w.id IS NULL)

UNION ALL SELECT e.workflow_id, CASE WHEN w.id IS NULL THEN 'has events, but does not exist'
  ELSE 'its events are not numbered 1, 2 ... without gaps' END
FROM (SELECT workflow_id, min(n) AS first, max(n) AS last, count(*) AS count FROM durable.event GROUP BY workflow_id) e
LEFT JOIN durable.workflow w ON w.id = e.workflow_id
WHERE w.id IS NULL OR e.first <> 1 OR e.last <> e.count
$$;
COMMENT ON FUNCTION durable.check() IS
	'Reads all tables and lists every broken invariant of the state machine; no row means all is well';

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

-- Each part reads one index, and has one row for each queue, NULL where there is
-- none.  Stale is what recover would take over as that of a dead executor.
CREATE FUNCTION durable.stats(OUT queue_name text, OUT pending bigint, OUT due bigint, OUT oldest_pending interval,
	OUT running bigint, OUT paused bigint, OUT stale bigint, OUT stale_executors bigint, OUT retries_waiting bigint,
	OUT completed_last_minute bigint, OUT failed_last_minute bigint, OUT cancelled_last_minute bigint,
	OUT queue_paused boolean, OUT max_concurrency int, OUT rate_limit int, OUT rate_limit_window interval)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off
SET enable_indexscan = on SET enable_bitmapscan = on SET enable_nestloop = on
SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  now CONSTANT timestamptz := durable.clock();
  since CONSTANT timestamptz := durable.stale_before(now);
BEGIN
  RETURN QUERY
  WITH driven AS MATERIALIZED (
    -- also paused ones, which were running
    SELECT nullif(d.queue_name, '') AS queue_name, p.id IS NULL AS is_running, nullif(d.executor_id, '') AS executor_id,
      p.id IS NULL AND CASE
        WHEN e.executor_id IS NOT NULL
          THEN durable.is_dead(e.last_seen, since) OR durable.session_ended(e.executor_id, e.bound_run, e.bound)
        ELSE d.started_at < since AND NOT EXISTS (SELECT 1 FROM durable.signs_of_life(d.id, since)) END AS is_stale
    FROM durable.driven d LEFT JOIN durable.executor e ON e.executor_id = d.executor_id
      LEFT JOIN durable.paused p ON p.queue_name = d.queue_name AND p.id = d.id),
  part (queue, pending, due, due_since, running, paused, stale, owners, retries, completed, failed, cancelled) AS (
    SELECT q.name, NULL::bigint, NULL::bigint, NULL::timestamptz, NULL::bigint, NULL::bigint, NULL::bigint,
      NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint
    FROM (SELECT q.name FROM durable.queue q UNION ALL SELECT NULL) q
    UNION ALL
    SELECT nullif(p.queue_name, ''), count(*), count(*) FILTER (WHERE p.run_at <= now),
      min(p.run_at) FILTER (WHERE p.run_at <= now), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM durable.pending p
    GROUP BY p.queue_name
    UNION ALL
    SELECT d.queue_name, NULL, NULL, NULL, count(*) FILTER (WHERE d.is_running), NULL,
      count(*) FILTER (WHERE d.is_stale), count(DISTINCT d.executor_id) FILTER (WHERE d.is_stale),
      NULL, NULL, NULL, NULL
    FROM driven d
    GROUP BY d.queue_name
    UNION ALL
    SELECT nullif(p.queue_name, ''), NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL, NULL, NULL, NULL
    FROM durable.paused p JOIN durable.workflow w ON w.id = p.id
    WHERE w.parent_id IS NULL OR p.queue_name <> ''
    GROUP BY p.queue_name
    UNION ALL
    -- (CASE hides the status from the choice of indexes: the workflow is found by its id)
    SELECT w.queue_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, count(*), NULL, NULL, NULL
    FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
    WHERE s.run_at IS NOT NULL AND s.status = 'PENDING'
      AND CASE WHEN w.status IN ('PENDING', 'RUNNING', 'PAUSED') THEN true ELSE false END
    GROUP BY w.queue_name
    UNION ALL
    SELECT w.queue_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
      count(*) FILTER (WHERE e.status = 'COMPLETED'), count(*) FILTER (WHERE e.status = 'FAILED'),
      count(*) FILTER (WHERE e.status = 'CANCELLED')
    FROM (VALUES (false), (true)) AS r (is_root)
      CROSS JOIN (VALUES ('COMPLETED'::durable.task_status), ('FAILED'), ('CANCELLED')) AS f (status)
      JOIN durable.ended e ON e.is_root = r.is_root AND e.status = f.status AND e.ended_at > now - interval '1 minute'
      JOIN durable.workflow w ON w.id = e.id
    -- a root that purge has marked has ended before
    WHERE w.completed_at > now - interval '1 minute'
    GROUP BY w.queue_name),
  line AS (
    SELECT p.queue, max(p.pending) AS pending, max(p.due) AS due, min(p.due_since) AS due_since,
      max(p.running) AS running, max(p.paused) AS paused, max(p.stale) AS stale, max(p.owners) AS owners,
      max(p.retries) AS retries, max(p.completed) AS completed, max(p.failed) AS failed, max(p.cancelled) AS cancelled
    FROM part p GROUP BY p.queue)
  SELECT l.queue, coalesce(l.pending, 0), coalesce(l.due, 0), now - l.due_since,
    coalesce(l.running, 0), coalesce(l.paused, 0), coalesce(l.stale, 0), coalesce(l.owners, 0),
    coalesce(l.retries, 0), coalesce(l.completed, 0), coalesce(l.failed, 0), coalesce(l.cancelled, 0),
    q.paused, q.max_concurrency, q.rate_limit, q.rate_limit_window
  FROM line l LEFT JOIN durable.queue q ON q.name = l.queue
  -- what ended in a queue that is gone is not of interest
  WHERE l.queue IS NULL OR q.name IS NOT NULL
  ORDER BY l.queue;
END $$;
COMMENT ON FUNCTION durable.stats() IS
	'One row for each queue, and one (queue_name NULL) for workflows without a queue: what waits, runs, and ended in the last minute';

CREATE VIEW durable.stats AS SELECT * FROM durable.stats();
COMMENT ON VIEW durable.stats IS 'What the function durable.stats() answers';

-- A family for each column of stats but the first, in its order, then the
-- executors.  A sample without a queue has no label: an empty one would mean the
-- same.
CREATE FUNCTION durable.metrics() RETURNS text
LANGUAGE sql STABLE PARALLEL RESTRICTED
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
WITH family (n, name, help) AS (VALUES
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
  (16, 'durable_executors', 'Registered executors.'),
  (17, 'durable_executors_stale', 'Those of them that were silent for durable.executor_timeout.')),
queue AS MATERIALIZED (
  SELECT s.*, '{queue="' ||
    replace(replace(replace(s.queue_name, E'\\', E'\\\\'), '"', E'\\"'), E'\n', E'\\n') || '"}' AS label
  FROM durable.stats() s),
executor AS (
  SELECT count(*) AS registered,
    count(*) FILTER (WHERE durable.is_dead(e.last_seen, (SELECT durable.stale_before(durable.clock())))) AS stale
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
    (15, round(extract(epoch FROM q.rate_limit_window) - extract(year FROM q.rate_limit_window) * 5.25 * 86400, 6)::text)) v (n, value)
  WHERE v.value IS NOT NULL
  UNION ALL
  SELECT 16, NULL, NULL, e.registered::text FROM executor e
  UNION ALL
  SELECT 17, NULL, NULL, e.stale::text FROM executor e)
SELECT string_agg(
    concat('# TYPE ', f.name, E' gauge\n',
      CASE WHEN f.name LIKE '%seconds' THEN concat('# UNIT ', f.name, E' seconds\n') END,
      '# HELP ', f.name, ' ', f.help, E'\n',
      (SELECT string_agg(concat(f.name, s.label, ' ', s.value, E'\n'), '' ORDER BY s.queue_name COLLATE "C")
       FROM sample s WHERE s.n = f.n)), '' ORDER BY f.n) || E'# EOF\n'
FROM family f
$$;
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
	'classid and objid in pg_locks, as one number, of the lock of a root''s tree (objsubid 17409), of a workflow''s children (17411) or of its events (17415). Errors: 22004';

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
		WHERE l.locktype = 'advisory' AND NOT l.granted AND l.objsubid BETWEEN 17409 AND 17415
			AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
	SELECT w.pid,
		(ARRAY['tree', 'queue', 'children', 'all trees', 'all children', 'fence', 'events'])[w.objsubid - 17408] AS waits_for,
		CASE WHEN w.objsubid = 17410 THEN
			(SELECT q.name FROM durable.queue q WHERE durable.lock_key(q.name) = w.lock_key LIMIT 1) END AS queue_name,
		CASE WHEN w.objsubid = ANY (ARRAY[17409, 17411, 17415]) THEN
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
REVOKE ALL ON TYPE durable.task_status, durable.task_kind, durable.claim_action, durable.claimed_step FROM PUBLIC;
-- The types of the tables' and views' rows.  REVOKE in a script would note down
-- initial privileges, too, and pg_dump, which does not dump such types by
-- themselves, would warn of each: "unsupported pg_init_privs entry".
UPDATE pg_catalog.pg_type AS t
	SET typacl = ARRAY[pg_catalog.makeaclitem(t.typowner, t.typowner, 'USAGE', false)]
	FROM pg_catalog.pg_class AS c
	WHERE c.reltype = t.oid AND c.relnamespace = 'durable'::pg_catalog.regnamespace AND c.relkind IN ('r', 'v');
