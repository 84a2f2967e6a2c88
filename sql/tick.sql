-- tick, but for schedules: what it returns to queues, purges by durable.retention, and forgets.
-- In a database of its own, which is dropped at the end. The clock is set to a time in 2030.
\pset null -
\set VERBOSITY default
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_tick;
RESET client_min_messages;
CREATE DATABASE regress_durable_tick;
\c regress_durable_tick
CREATE EXTENSION durable;
CREATE FUNCTION pg_temp.it_is(t timestamptz) RETURNS void LANGUAGE sql AS
  $$SELECT set_config('durable.clock_offset', extract(epoch FROM t - clock_timestamp())::text, false)$$;
CREATE FUNCTION pg_temp.id(n text) RETURNS uuid LANGUAGE sql AS $$SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1$$;
CREATE FUNCTION pg_temp.state() RETURNS TABLE (name text, status durable.task_status, lease int, executor_id text, recovery_count int, due boolean, deadline timestamptz, error text) LANGUAGE sql AS $$
  SELECT w.name, w.status, w.lease, w.executor_id, w.recovery_count, w.run_at <= durable.clock(), w.deadline, w.error FROM durable.workflow w ORDER BY w.id
$$;
SELECT durable.create_queue('q');

-- Queued workflows of a dead executor, and those past their deadline, wait in their queue again; at the limit they have failed. What has
-- no queue is left to recover; what is paused, or whose executor lives, is left alone. An inline child goes with its parent.
SELECT pg_temp.it_is('2030-01-01 00:00:00');
SELECT count(durable.start(n, queue => 'q')) FROM unnest('{plain,parent,paused}'::text[]) n;
SELECT durable.start('poison', queue => 'q', max_recovery_attempts => 0) \g /dev/null
SELECT count(*) FROM durable.claim('q', 'dead', 10);
SELECT durable.start('no queue', executor_id => 'dead') \g /dev/null
SELECT durable.start_child(pg_temp.id('parent'), 0, 'inline', lease => 1) \g /dev/null
SELECT durable.start_child(pg_temp.id('no queue'), 0, 'queued child', queue => 'q') \g /dev/null
SELECT name FROM durable.claim('q', 'dead', 10);
SELECT step_id AS step FROM durable.claim_step(pg_temp.id('plain'), 0, 's', lease => 1, executor_id => 'dead') \gset
SELECT durable.pause_tree(pg_temp.id('paused'));
SELECT durable.tick();
SELECT pg_temp.it_is('2030-01-01 00:10:00');
SELECT durable.start('late', queue => 'q', timeout => '1 min') \g /dev/null
SELECT name FROM durable.claim('q', 'alive', 1);
SELECT pg_temp.it_is('2030-01-01 00:12:00');
SELECT durable.tick();
SELECT * FROM pg_temp.state();
SELECT durable.tick();
-- The old driver is fenced, down the tree; the outcome of its step comes too late.
\set VERBOSITY sqlstate
SELECT durable.claim_step(pg_temp.id('plain'), 0, 's', lease => 1, executor_id => 'dead');
SELECT durable.claim_step(pg_temp.id('inline'), 0, 's', lease => 1);
SELECT durable.complete(:'step', lease => 1);
\set VERBOSITY default
-- Any worker goes on with them, in their old order; that one as well.
SELECT name, lease, recovery_count FROM durable.claim('q', 'other', 10);
SELECT action, attempt FROM durable.claim_step(pg_temp.id('plain'), 0, 's', lease => 3, executor_id => 'other');
SELECT created, lease FROM durable.start_child(pg_temp.id('parent'), 0, 'inline', lease => 3);
-- What recover is left with.
SELECT name, reason FROM durable.recover('other');
SELECT * FROM durable.check();
-- An executor that was forgotten is dead, once there is no sign of life; one that was never there, too.
DELETE FROM durable.executor;
SELECT durable.tick();
SELECT pg_temp.it_is('2030-01-01 00:20:00');
SELECT durable.tick();
SELECT name, status, recovery_count FROM pg_temp.state();
-- As many as max_rows says.
SELECT count(*) FROM durable.claim('q', 'dead', 10);
SELECT pg_temp.it_is('2030-01-01 00:30:00');
SELECT durable.tick(2), durable.tick(0), durable.tick(1), durable.tick();
SELECT count(*) FROM durable.driven WHERE queue_name = 'q';
-- A wait for the limit: recoveries add up, whoever counts them.
SELECT durable.start('twice', queue => 'q', priority => 9, max_recovery_attempts => 2) \g /dev/null
SELECT name, lease FROM durable.claim('q', 'dead', 1);
SELECT pg_temp.it_is('2030-01-01 00:40:00');
SELECT durable.tick() > 0 AS some;
SELECT name, recovery_count FROM durable.claim('q', 'alive', 1);
SELECT pg_temp.it_is('2030-01-01 00:50:00');
SELECT name, recovery_count FROM durable.recover('alive too', queue => 'q');
SELECT pg_temp.it_is('2030-01-01 01:00:00');
SELECT durable.tick() > 0 AS some;
SELECT name, status, recovery_count, error FROM pg_temp.state() WHERE name = 'twice';

-- Dead executors that drive nothing are forgotten.
SELECT pg_temp.it_is('2030-01-02 00:00:00');
SELECT durable.heartbeat('alive');
SELECT durable.start('held', executor_id => 'holds') \g /dev/null
SELECT pg_temp.it_is('2030-01-02 00:10:00');
SELECT durable.heartbeat('new');
SELECT durable.tick();
SELECT executor_id FROM durable.executor ORDER BY 1;

-- Retention.
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE parent_id IS NULL AND completed_at IS NULL;
SELECT pg_temp.it_is('2030-01-05 00:00:00');
SELECT durable.start('fresh') \g /dev/null
SELECT durable.complete(pg_temp.id('fresh'));
SELECT durable.tick(), count(*) FROM durable.workflow;
SET durable.retention = '30 days';
SELECT durable.tick();
SET durable.retention = '1 day';
SELECT durable.tick(2) BETWEEN 1 AND 2 AS some;
SELECT durable.tick() > 0 AS some;
SELECT name FROM durable.workflow;
SET durable.retention = '';
SELECT pg_temp.it_is('2031-01-05 00:00:00');
SELECT durable.tick(), count(*) FROM durable.workflow;
SHOW durable.retention;
SET durable.retention = 'soon';
SET durable.retention = '-1 day';
SET durable.retention = '2000 years';
SET durable.retention = '1 month -30 days';
SET durable.retention = 'P1Y2M';
SELECT name, setting, context FROM pg_settings WHERE name = 'durable.retention';

-- With nothing due it reads some ends of indexes, by fast paths, and writes nothing.
SELECT durable.create_schedule('far', '0 0 1 1 *', 'q');
SELECT durable.heartbeat('busy');
SELECT durable.start('running', executor_id => 'busy', timeout => '1 day') \g /dev/null
BEGIN;
SELECT durable.tick(), pg_current_xact_id_if_assigned();
COMMIT;
SET durable.fast_paths = on;
CREATE TEMP TABLE before AS SELECT sql, calls, fast_calls FROM durable.statements();
SELECT durable.tick();
SELECT s.statement, s.calls - b.calls AS calls, s.fast_calls - b.fast_calls AS fast FROM durable.statements() s JOIN before b USING (sql) WHERE s.calls > b.calls ORDER BY s.statement, s.sql;
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_tick;
