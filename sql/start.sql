-- start(): finds the active root workflow of a name, or creates it.
SET client_encoding = 'UTF8';
\pset null -
\set VERBOSITY sqlstate

-- A new one without a queue is RUNNING under lease 1; without an executor_id nobody owns it.
SELECT workflow_id AS w, created, status, lease, owner IS NULL AS no_owner FROM durable.start('start-1', '{"n": 1}') \gset
\echo :created :status :lease :no_owner
-- Again: the same one; without an executor_id the caller joins.
SELECT created, status, lease, owner, workflow_id = :'w' AS same FROM durable.start('start-1');
-- It has no owner, so the first executor becomes it, under a new lease; then another joins.
SELECT created, status, lease, owner, workflow_id = :'w' AS same FROM durable.start('start-1', executor_id => 'start-a');
SELECT created, status, lease, owner FROM durable.start('start-1', executor_id => 'start-b');
-- A restarted process needs one call: the same executor becomes owner again.
SELECT created, status, lease, owner FROM durable.start('start-1', executor_id => 'start-a');
-- Silent for longer than durable.executor_timeout (180 s): the owner is taken for dead.
SET durable.clock_offset = 170;
SELECT lease, owner FROM durable.start('start-1', executor_id => 'start-b');
SET durable.clock_offset = 190;
SELECT lease, owner FROM durable.start('start-1', executor_id => 'start-b');
RESET durable.clock_offset;

-- Created with an executor: it drives it, and it is registered.
SELECT created, status, lease, owner FROM durable.start('start-2', executor_id => 'start-c');
SELECT count(*) FROM durable.executor WHERE executor_id = 'start-c';

-- All that was given is stored; what is given for an existing one is ignored.
SELECT workflow_id AS w FROM durable.start('start-3', '{"x": [1, null, "y"]}', 'the handler', 'start-a', priority => -5, timeout => '90 minutes', max_recovery_attempts => 7, app_version => 'v1') \gset
SELECT created FROM durable.start('start-3', '{"x": 2}', 'another', priority => 5, timeout => '1 s', max_recovery_attempts => 8, app_version => 'v2');
SELECT name, handler, status, lease, queue_name, executor_id, input, app_version, max_recovery_attempts, recovery_count, timeout,
       deadline - started_at AS deadline, root_id = id AS root, parent_id, parent_sequence, output, error, completed_at
  FROM durable.workflow WHERE id = :'w';
SELECT created_at = started_at AS started_when_created, abs(extract(epoch FROM created_at - clock_timestamp())) < 600 AS now FROM durable.workflow WHERE id = :'w';
-- The defaults.
SELECT created FROM durable.start('start-4');
SELECT handler, input, app_version, max_recovery_attempts, recovery_count, timeout, deadline, executor_id, queue_name FROM durable.workflow WHERE name = 'start-4';

-- A finished namesake does not count: a new run starts, under an id of its own.
SELECT durable.complete(:'w', '1');
SELECT workflow_id <> :'w' AS another, created, status, lease, workflow_id AS w2 FROM durable.start('start-3') \gset
\echo :another :created :status :lease
SELECT status, retry_count, run_at FROM durable.fail(:'w2', 'bad');
SELECT workflow_id AS w3, created, status, lease FROM durable.start('start-3') \gset
SELECT durable.cancel_tree(:'w3');
SELECT created, status, lease FROM durable.start('start-3');
SELECT status, output, error FROM durable.workflow WHERE name = 'start-3' ORDER BY id;

-- PAUSED: found and answered as it is, also to its owner.
SELECT workflow_id AS w FROM durable.start('start-5', executor_id => 'start-a') \gset
SELECT durable.pause_tree(:'w');
SELECT created, status, lease, owner, workflow_id = :'w' AS same FROM durable.start('start-5', executor_id => 'start-a');
SELECT created, status, lease, owner FROM durable.start('start-5');

-- PENDING without a queue (released): start by its name makes it RUNNING, lease + 1; an executor_id becomes its owner.
SELECT workflow_id AS w FROM durable.start('start-6', executor_id => 'start-a', timeout => '1 hour') \gset
SELECT durable.release('start-a', :'w');
SELECT created, status, lease, owner FROM durable.start('start-6', executor_id => 'start-b');
SELECT workflow_id AS w2 FROM durable.start('start-10', executor_id => 'start-a') \gset
SELECT durable.release('start-a', :'w2');
SELECT created, status, lease, owner FROM durable.start('start-10');
-- started_at and the deadline are set by that change to RUNNING.
SELECT started_at >= created_at AS started, deadline - started_at AS deadline FROM durable.workflow WHERE id = :'w';

-- No such queue, in any order with other arguments; run_at needs a queue.
SELECT created FROM durable.start('start-7', queue => 'start-no-such-queue');
SELECT created FROM durable.start('start-7', queue => 'start-no-such-queue', run_at => '2100-01-01');
SELECT created FROM durable.start('start-7', run_at => '2100-01-01');
SELECT count(*) FROM durable.workflow WHERE name = 'start-7';

-- Any text is only text.
SELECT n, created, owner = n AS owner
  FROM (VALUES ('it''s'), ('''; DROP TABLE durable.step; --'), ('$1 %s %n {} \1 \\'), ('"double"'), (' blanks '), ('zażółć 日本語 🚀'), ('$$'), ('NULL')) v(n),
       LATERAL durable.start(n, to_jsonb(n), n, n, app_version => n);
SELECT name, handler = name AND executor_id = name AND app_version = name AND input = to_jsonb(name) AS stored FROM durable.workflow WHERE app_version = name ORDER BY id;
SELECT created, status FROM durable.start(E'two\nlines\tand a tab');
SELECT created FROM durable.start(E'two\nlines\tand a tab');
-- Names differ by any byte: case, blanks, composition.
SELECT count(DISTINCT workflow_id) FROM unnest(ARRAY['Start-8', 'start-8', 'start-8 ', ' start-8', 'start‑8']) n, LATERAL durable.start(n);

-- 1024 bytes, not characters.
SELECT created FROM durable.start(repeat('é', 512));
SELECT created FROM durable.start(repeat('é', 512) || 'x');

-- A rollback takes it back, the executor too.
BEGIN;
SELECT created, owner FROM durable.start('start-9', executor_id => 'start-never');
SELECT created FROM durable.start('start-9');
ROLLBACK;
SELECT count(*) FROM durable.workflow WHERE name = 'start-9';
SELECT count(*) FROM durable.executor WHERE executor_id = 'start-never';
SELECT created, lease FROM durable.start('start-9');
SELECT * FROM durable.check();
-- Who is slow has not waited for anybody, and writes once.
BEGIN;
CREATE TEMP SEQUENCE writes;
CREATE FUNCTION pg_temp.slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM nextval('writes'), pg_sleep(0.05); RETURN NEW; END$$;
CREATE TRIGGER slow BEFORE INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION pg_temp.slow();
SELECT created FROM durable.start('start-slow');
SELECT last_value FROM writes;
ROLLBACK;
