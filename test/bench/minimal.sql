-- What queues are compared with.

-- The least that a queue can be: one table, one partial index, three statements
-- (variants.py has them).  No name is unique, nothing is fenced but by the lease.
CREATE SCHEMA minimal;
CREATE TABLE minimal.job
(
	id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	queue text NOT NULL,
	priority int NOT NULL DEFAULT 0,
	run_at timestamptz NOT NULL DEFAULT now(),
	status text NOT NULL DEFAULT 'PENDING',
	lease int NOT NULL DEFAULT 0,
	name text NOT NULL,
	executor_id text,
	created_at timestamptz NOT NULL DEFAULT now(),
	started_at timestamptz,
	completed_at timestamptz,
	input jsonb,
	output jsonb
);
CREATE INDEX job_pending ON minimal.job (queue, priority DESC, run_at, id) WHERE status = 'PENDING';

-- graphile-worker's design, as its migrations leave it: a job that is done is
-- deleted, nothing remembers it.  The statements do what its own do, in as many
-- round trips and transactions, for jobs that are in none of its named queues.
CREATE SCHEMA graphile;
CREATE TABLE graphile.task (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, identifier text NOT NULL UNIQUE);
CREATE TABLE graphile.queue
(
	id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name text NOT NULL UNIQUE,
	locked_at timestamptz,
	locked_by text,
	available boolean NOT NULL GENERATED ALWAYS AS (locked_at IS NULL) STORED
);
CREATE TABLE graphile.job
(
	id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	queue_id int,
	task_id int NOT NULL,
	payload json NOT NULL DEFAULT '{}',
	priority smallint NOT NULL DEFAULT 0,
	run_at timestamptz NOT NULL DEFAULT now(),
	attempts smallint NOT NULL DEFAULT 0,
	max_attempts smallint NOT NULL DEFAULT 25,
	last_error text,
	created_at timestamptz NOT NULL DEFAULT now(),
	updated_at timestamptz NOT NULL DEFAULT now(),
	key text UNIQUE,
	locked_at timestamptz,
	locked_by text,
	revision int NOT NULL DEFAULT 0,
	flags jsonb,
	available boolean NOT NULL GENERATED ALWAYS AS (locked_at IS NULL AND attempts < max_attempts) STORED
);
CREATE INDEX job_main ON graphile.job (priority, run_at) INCLUDE (id, task_id, queue_id) WHERE available;
CREATE INDEX job_no_queue ON graphile.job (priority, run_at) INCLUDE (id, task_id) WHERE available AND queue_id IS NULL;
CREATE TYPE graphile.spec AS (identifier text, payload json, queue text, run_at timestamptz, max_attempts smallint,
	key text, priority smallint, flags text[]);

-- add: the tasks and queues that are missing, the keys of jobs that have begun, a notification, the jobs
CREATE FUNCTION graphile.add(specs graphile.spec[]) RETURNS SETOF graphile.job LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO graphile.task (identifier)
		SELECT DISTINCT s.identifier FROM unnest(specs) s
		WHERE NOT EXISTS (SELECT 1 FROM graphile.task t WHERE t.identifier = s.identifier)
	ON CONFLICT DO NOTHING;
	INSERT INTO graphile.queue (name)
		SELECT DISTINCT s.queue FROM unnest(specs) s
		WHERE s.queue IS NOT NULL AND NOT EXISTS (SELECT 1 FROM graphile.queue q WHERE q.name = s.queue)
	ON CONFLICT DO NOTHING;
	UPDATE graphile.job j SET key = NULL, attempts = j.max_attempts, updated_at = now()
	FROM unnest(specs) s WHERE s.key IS NOT NULL AND j.key = s.key AND j.available IS NOT TRUE;
	PERFORM pg_notify('bench:jobs', json_build_object('r', random(), 'count', cardinality(specs))::text);
	RETURN QUERY INSERT INTO graphile.job AS j (queue_id, task_id, payload, run_at, max_attempts, key, priority, flags)
		SELECT q.id, t.id, coalesce(s.payload, '{}'), coalesce(s.run_at, now()), coalesce(s.max_attempts, 25::smallint),
			s.key, coalesce(s.priority, 0::smallint), (SELECT jsonb_object_agg(f, true) FROM unnest(s.flags) f)
		FROM unnest(specs) s JOIN graphile.task t ON t.identifier = s.identifier
			LEFT JOIN graphile.queue q ON q.name = s.queue
	ON CONFLICT (key) DO UPDATE SET queue_id = excluded.queue_id, task_id = excluded.task_id, payload = excluded.payload,
		max_attempts = excluded.max_attempts, run_at = excluded.run_at, priority = excluded.priority, flags = excluded.flags,
		revision = j.revision + 1, attempts = 0, last_error = NULL, updated_at = now()
		WHERE j.locked_at IS NULL
	RETURNING *;
END $$;
