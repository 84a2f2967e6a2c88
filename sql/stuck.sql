-- executors(), schedules() and stuck(), in a database of its own, which is dropped at the end: they tell of everybody's.
\set own stuck
\i sql/own_database.psql
LOAD 'durable';
-- Moves the clock to so long after a time that is long ago.
CREATE FUNCTION at(seconds float8) RETURNS void LANGUAGE sql AS $$ SELECT set_config('durable.clock_offset', (seconds - 1000000)::text, false) $$;
CREATE FUNCTION n(query text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE query; END $$;
CREATE VIEW e AS SELECT executor_id AS id, round(extract(epoch FROM durable.clock() - last_seen), -3) AS ago, app_version AS version, bound, alive, why, running FROM durable.executors();
CREATE VIEW s AS SELECT name, status, queue_name AS queue, executor_id AS executor, reason FROM durable.stuck();
SET durable.executor_timeout = '2000 s';
SELECT durable.create_queue('q');

-- Nothing yet.
SELECT * FROM durable.executors();
SELECT * FROM durable.schedules();
SELECT * FROM durable.stuck();

-- Executors: silent, alive, with what they drive, also while it is paused; the version that one has claimed with.
SELECT at(0);
SELECT n(format('SELECT durable.start(%L, executor_id => ''silent'')', 's' || i)) FROM generate_series(1, 3) i;
SELECT n('SELECT durable.start(''queued'', queue => ''q'')'), n('SELECT durable.claim(''q'', ''versed'', app_version => ''v7'')');
SELECT n('SELECT durable.start_child(pg_temp.wf(''s1''), 0, ''inline'')');
SELECT durable.pause_tree(pg_temp.wf('s2'));
SELECT at(10000);
SELECT n('SELECT durable.heartbeat(''versed'')'), n('SELECT durable.heartbeat(''idle'')');
SELECT * FROM e;
-- The timeout is the caller's.
SET durable.executor_timeout = '1d';
SELECT id, alive, why FROM e;
SET durable.executor_timeout = '2000 s';
-- Bound to a session that lives, and that has ended.
CALL durable.wait_for_work('bound', timeout => '0', bind => true);
SELECT n('SELECT durable.start(''of a session'', executor_id => ''bound'')');
SELECT * FROM e WHERE id = 'bound';
SELECT pg_advisory_unlock_all();
SELECT * FROM e;
-- Those that were seen last; one of them.
SELECT executor_id FROM durable.executors(3);
SELECT count(*) FROM durable.executors(0);
SELECT executor_id, running FROM durable.executors(executor_id => 'silent');
SELECT executor_id FROM durable.executors(executor_id => 'nobody');
SELECT durable.executors(NULL);
SELECT durable.executors(-1);
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT durable.executors(-1);
SELECT durable.stuck(NULL);
\set VERBOSITY sqlstate

-- Stuck: what the dead have left, but not what is paused, and no inline child.
SELECT * FROM s;
-- Without an executor, and of one that is not registered: old enough, and without signs of life.
SELECT at(20000);
SELECT n('SELECT durable.start(''none'')'), n('SELECT durable.start(''none, with signs'')'), n('SELECT durable.start(''unknown'', executor_id => ''unknown'')');
DELETE FROM durable.executor WHERE executor_id = 'unknown';
SELECT * FROM s WHERE name ~ 'none|unknown';
SELECT at(23000);
SELECT n('SELECT durable.claim_step(pg_temp.wf(''none, with signs''), 0, ''s'')'), n('SELECT durable.heartbeat(''versed'')');
SELECT * FROM s;
-- It is what recover takes over.
SELECT array_agg(r.name ORDER BY r.name) = (SELECT array_agg(s.name ORDER BY s.name) FROM s) AS same FROM durable.recover('f') r;
SELECT * FROM s;

-- A step that has failed three times; one that waits for long; a deadline that is near, or has passed; all of these. What is paused or has ended is not stuck.
SELECT n(format('SELECT durable.start(%L, executor_id => ''f'', timeout => %L)', name, timeout)) FROM (VALUES ('thrice', NULL), ('twice', NULL), ('patient', NULL), ('near', '200 s'), ('far', '1 hour'), ('past', '10 s'),
  ('all of it', '20 s'), ('paused', '10 s'), ('ended', '10 s')) x (name, timeout);
SELECT n(format('SELECT durable.claim_step(%L, 0, ''charge'', max_retries => 9, backoff => ''1 us'')', pg_temp.wf(w))), n(format('SELECT durable.fail(%L, ''bad'')', durable.step_id(pg_temp.wf(w), 0)))
  FROM (VALUES (1), (2), (3)) t (try), (VALUES ('thrice', 3), ('twice', 2), ('all of it', 3)) x (w, tries) WHERE try <= tries ORDER BY w, try;
SELECT n(format('SELECT durable.claim_step(%L, 0, ''charge'', max_retries => 9, backoff => ''1 hour'')', pg_temp.wf('patient'))), n(format('SELECT durable.fail(%L, ''bad'')', durable.step_id(pg_temp.wf('patient'), 0)));
SELECT durable.pause_tree(pg_temp.wf('paused')), durable.complete(pg_temp.wf('ended'));
SELECT at(23100);
SELECT name, reason FROM s;
-- Steps of what is paused or has ended no longer count.
SELECT durable.pause_tree(pg_temp.wf('thrice')), n('SELECT durable.complete(pg_temp.wf(''all of it''))');
SELECT name, reason FROM s;
-- Nothing of buckets that this database has given up.
BEGIN;
SELECT durable.set_buckets('{}');
SELECT * FROM s;
ROLLBACK;
-- The newest; none.
SELECT name FROM durable.stuck(2);
SELECT count(*) FROM durable.stuck(0);
-- All that is told of one.
SELECT workflow_id = pg_temp.wf('near') AS id, parent_id, name, handler, status, queue_name, executor_id, deadline - started_at AS timeout, started_at - created_at < '1 s' AS at_once, reason FROM durable.stuck() WHERE name = 'near';

-- Many: a thousand of an executor are counted, and so many stuck ones are told.
INSERT INTO durable.workflow (id, root_id, status, lease, created_at, started_at, name, executor_id)
  SELECT u, u, 'RUNNING', 1, durable.clock(), durable.clock() - interval '1 day', concat_ws(' ', 'many', e, i), e
    FROM generate_series(1, 1200) i, unnest('{gone,lost}'::text[]) e, LATERAL (SELECT (left(gen_random_uuid()::text, 29 + 0 * i + 0 * length(e)) || '0000000')::uuid AS u OFFSET 0) u;
INSERT INTO durable.executor VALUES ('gone', durable.clock() - interval '1 day');
SELECT executor_id, running FROM durable.executors(executor_id => 'gone');
SELECT count(*), count(DISTINCT workflow_id) FROM durable.stuck();
SELECT executor_id, reason, count(*) FROM durable.stuck(10000) WHERE name LIKE 'many%' GROUP BY 1, 2 ORDER BY 1;
DELETE FROM durable.workflow WHERE name LIKE 'many%';

-- Schedules, in the order of their names, with all that the table has.
SELECT durable.create_schedule('nightly', '30 2 * * *', 'q', 'backup', 'h', '{"full": true}', 'Europe/Berlin', 'queue', 'all', 3, '1 hour', '1 min', max_recovery_attempts => 5, app_version => 'v7'),
       durable.create_schedule('hourly', '@hourly', 'q');
SELECT durable.pause_schedule('hourly');
SELECT name, cron, queue, workflow, handler, input, timezone, overlap, catch_up, priority, timeout, jitter, max_recovery_attempts, app_version, next_run_at > durable.clock() AS to_come, paused, last_run_at, skipped, error FROM durable.schedules();
SELECT count(*) FROM (SELECT durable.schedules() EXCEPT SELECT s FROM durable.schedule s) x;

-- A reader sees all of it, and no table.
CREATE ROLE regress_durable_stuck;
SELECT durable.grant_to('regress_durable_stuck', 'reader');
SET ROLE regress_durable_stuck;
SELECT count(*) > 1 AS executors FROM durable.executors();
SELECT name, reason FROM durable.stuck();
SELECT name, input FROM durable.schedules();
SELECT count(*) > 1 AS driven FROM durable.list(driven_by => 'f');
SELECT count(*) FROM durable.list(suspended_only => true);
SELECT FROM durable.executor;
SELECT FROM durable.schedule;
RESET ROLE;
SELECT durable.revoke_from('regress_durable_stuck', 'reader');
DROP ROLE regress_durable_stuck;
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_stuck;
