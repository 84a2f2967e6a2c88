-- What every database of the benchmark begins with: the extension, the seed's
-- schema, and functions that fill the tables.

CREATE EXTENSION durable;
CREATE SCHEMA seed;
CREATE SCHEMA bench;

-- The seed's one table: the columns that ctx.rs uses, with its two unique keys.
CREATE TYPE seed.task_status AS ENUM ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'PAUSED', 'CANCELLED');
CREATE TABLE seed.task
(
	id uuid PRIMARY KEY,
	parent_id uuid,
	sequence int,
	name text NOT NULL,
	handler text,
	kind text NOT NULL,
	status seed.task_status NOT NULL DEFAULT 'PENDING',
	input jsonb,
	output jsonb,
	error text,
	retry_count int NOT NULL DEFAULT 0,
	max_retries int NOT NULL DEFAULT 3,
	timeout_ms bigint,
	deadline_epoch_ms bigint,
	queue_name text,
	executor_id text,
	recovery_count int NOT NULL DEFAULT 0,
	max_recovery_attempts int NOT NULL DEFAULT 10,
	created_at timestamptz NOT NULL DEFAULT now(),
	started_at timestamptz,
	completed_at timestamptz,
	UNIQUE (parent_id, sequence)
);
-- Its start looks for a root by name. This index does not hinder a HOT update.
CREATE INDEX ON seed.task (name) WHERE parent_id IS NULL;

-- A workflow's id, the n-th of a range: distinct, sorted by n, older than any new one.
CREATE FUNCTION bench.id(range int, n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
	SELECT (lpad(to_hex(1600000000000 + range * 100000000::bigint + n), 12, '0') || '70008000000000000000')::uuid
$$;

-- Workflows of some recorded steps, not finished, in both schemas: what is replayed.
CREATE TABLE bench.pool (n int PRIMARY KEY, id uuid NOT NULL, seed_id uuid NOT NULL);
CREATE PROCEDURE bench.fill_pool(workflows int, steps int, output jsonb) LANGUAGE plpgsql AS $$
DECLARE
	w uuid;
	t uuid;
BEGIN
	FOR n IN 1 .. workflows LOOP
		w := (durable.start('pool ' || n, executor_id => 'pool')).workflow_id;
		t := gen_random_uuid();
		INSERT INTO seed.task (id, name, kind, status, input, executor_id, started_at)
		VALUES (t, 'pool ' || n, 'WORKFLOW', 'RUNNING', 'null', 'pool', now());
		FOR i IN 0 .. steps - 1 LOOP
			PERFORM durable.claim_step(w, i, 'step', lease => 1, executor_id => 'pool');
			PERFORM durable.complete(durable.step_id(w, i), output, lease => 1);
			INSERT INTO seed.task (id, parent_id, sequence, name, kind, status, output, max_retries, started_at, completed_at)
			VALUES (gen_random_uuid(), t, i, 'step', 'STEP', 'COMPLETED', output, 0, now(), now());
		END LOOP;
		INSERT INTO bench.pool VALUES (n, w, t);
	END LOOP;
END $$;

-- Finished workflows of the queue q, each with one finished step.
CREATE PROCEDURE bench.fill_finished(workflows int, output jsonb) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, completed_at, name,
		queue_name, executor_id, output)
	SELECT bench.id(0, n), bench.id(0, n), 'COMPLETED', 1, t, t, t, t, 'finished ' || n, 'q', 'finished', output
	FROM generate_series(1, workflows) n, LATERAL (SELECT now() - interval '1 day' + n * interval '1 ms') AS x (t);

	INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, executor_id, started_at,
		completed_at, output)
	SELECT bench.id(0, n), 0, 1, 1, 'COMPLETED', 'STEP', 'step', 'finished', t, t, output
	FROM generate_series(1, workflows) n, LATERAL (SELECT now() - interval '1 day' + n * interval '1 ms') AS x (t);
$$;

-- Due workflows in the queue q; none before those of an earlier range.
CREATE PROCEDURE bench.fill_pending(range int, workflows int) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, name, queue_name)
	SELECT bench.id(range, n), bench.id(range, n), 'PENDING', 0, now(), now(), 'pending ' || range || ' ' || n, 'q'
	FROM generate_series(1, workflows) n;
$$;

-- Running ones in a queue, each owned by one of some executors (or by that one).
CREATE PROCEDURE bench.fill_running(range int, workflows int, queue text, executor text, executors int = 100) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, name, queue_name, executor_id)
	SELECT bench.id(range, n), bench.id(range, n), 'RUNNING', 1, now(), now(), now(), 'running ' || range || ' ' || n, queue,
		executor || CASE WHEN executors > 1 THEN (n % executors)::text ELSE '' END
	FROM generate_series(1, workflows) n;
$$;

-- Suspended ones in a queue: every second waits until tomorrow, the others for something that is to happen.
CREATE PROCEDURE bench.fill_suspended(range int, workflows int, queue text) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, suspended_at, name, queue_name)
	SELECT bench.id(range, n), bench.id(range, n), 'PENDING', 2, now(), CASE WHEN n % 2 = 0 THEN now() + interval '1 day' END, now(), now(),
		'suspended ' || range || ' ' || n, queue
	FROM generate_series(1, workflows) n;
$$;

-- Ones in a queue whose time has not come, of some priorities, all above 0.
CREATE PROCEDURE bench.fill_later(range int, workflows int, priorities int, queue text) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, name, queue_name, priority)
	SELECT bench.id(range, n), bench.id(range, n), 'PENDING', 0, now(), now() + interval '1 day', 'later ' || range || ' ' || n,
		queue, 1 + n % priorities
	FROM generate_series(1, workflows) n;
$$;

-- What a dashboard lists: all statuses, most of them of one (COMPLETED, or PENDING in queue q); of the oldest, some have
-- a queue, a handler and a name of their own, every fourth of the others that are finished is named alike, as are the runs of a schedule.
CREATE PROCEDURE bench.fill_mixed(workflows int, waiting boolean) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, completed_at, name,
		handler, queue_name, executor_id, output, error, paused_from, paused_by, paused_at)
	SELECT bench.id(0, n), bench.id(0, n), s.status::durable.task_status, CASE WHEN s.status = 'PENDING' THEN 0 ELSE 1 END, t, t,
		CASE WHEN s.status <> 'PENDING' THEN t END,
		CASE WHEN s.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN t + interval '1 second' END,
		CASE WHEN n % 4 = 0 AND s.status IN ('COMPLETED', 'FAILED') THEN 'daily' ELSE 'workflow ' || n END,
		CASE WHEN n <= 50 THEN 'rare' ELSE 'usual' END, CASE WHEN n <= 50 THEN 'rare' ELSE 'q' END,
		CASE WHEN s.status IN ('RUNNING', 'PAUSED') THEN 'e' || n % 100 END,
		CASE WHEN s.status = 'COMPLETED' THEN '{"result": 1}'::jsonb END, CASE WHEN s.status = 'FAILED' THEN 'an error' END,
		CASE WHEN s.status = 'PAUSED' THEN 'RUNNING'::durable.task_status END,
		CASE WHEN s.status = 'PAUSED' THEN bench.id(0, n) END, CASE WHEN s.status = 'PAUSED' THEN t END
	FROM generate_series(1, workflows) n, LATERAL (SELECT now() - interval '1 day' + n * interval '1 ms') AS x (t),
		LATERAL (SELECT CASE WHEN n <= 50 THEN 'COMPLETED' WHEN n % 100 = 1 THEN 'RUNNING' WHEN n % 1000 = 2 THEN 'PAUSED'
			WHEN n % 100 = 3 THEN 'FAILED' WHEN n % 200 = 4 THEN 'CANCELLED' WHEN n % 100 = 5 THEN 'PENDING'
			WHEN waiting THEN 'PENDING' ELSE 'COMPLETED' END) AS s (status);
$$;

-- Two finished steps of each of the first that are COMPLETED.
CREATE PROCEDURE bench.fill_steps(steps int) LANGUAGE sql AS $$
	INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, executor_id, started_at,
		completed_at, output)
	SELECT w.id, i, 1, 1, 'COMPLETED', 'STEP', 'step', 'finished', w.started_at, w.completed_at, w.output
	FROM (SELECT * FROM durable.workflow WHERE status = 'COMPLETED' ORDER BY id LIMIT steps / 2) w, generate_series(0, 1) i;
$$;

-- A tree of inline workflows, ten children each, in which nothing has finished; its root is bench.id(9, 0).
CREATE PROCEDURE bench.fill_tree(workflows int, steps int) LANGUAGE sql AS $$
	INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, started_at, name)
	SELECT bench.id(9, n), bench.id(9, 0), CASE WHEN n > 0 THEN bench.id(9, (n - 1) / 10) END,
		CASE WHEN n > 0 THEN (n - 1) % 10 END, 'RUNNING', 1, now(), now(), 'tree ' || n
	FROM generate_series(0, workflows - 1) n;

	INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, child_id, started_at)
	SELECT bench.id(9, (n - 1) / 10), (n - 1) % 10, 1, 1, 'RUNNING', 'WORKFLOW', 'tree ' || n, bench.id(9, n), now()
	FROM generate_series(1, workflows - 1) n;

	INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, started_at)
	SELECT bench.id(9, n), 10 + i, 1, 1, CASE WHEN i % 2 = 0 THEN 'RUNNING' ELSE 'PENDING' END::durable.task_status,
		'STEP', 'step', now()
	FROM generate_series(0, workflows - 1) n, generate_series(0, steps - 1) i;
$$;
