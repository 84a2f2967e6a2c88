-- Schedules: how they are made and changed, what tick starts, and the rules for what overlaps and what was missed.
-- In a database of its own, which is dropped at the end: tick does all that is due. The clock is set to a time in 2030.
\pset null -
\set VERBOSITY default
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_schedule;
RESET client_min_messages;
CREATE DATABASE regress_durable_schedule;
\c regress_durable_schedule
CREATE EXTENSION durable;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
-- It is that time, by the clock of the extension.
CREATE FUNCTION pg_temp.it_is(t timestamptz) RETURNS void LANGUAGE sql AS
  $$SELECT set_config('durable.clock_offset', extract(epoch FROM t - clock_timestamp())::text, false)$$;
-- What a call says: its result, or its error.
CREATE FUNCTION pg_temp.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  result text;
  message text;
  detail text;
BEGIN
  EXECUTE 'SELECT ' || call INTO result;
  RETURN coalesce(result, '-');
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN concat(SQLSTATE, ' ', message, '. ', regexp_replace(detail, '[0-9a-f-]{36}', '<id>'));
END $$;
CREATE FUNCTION pg_temp.runs(schedule text) RETURNS TABLE (name text, scheduled_for timestamptz, status durable.task_status) LANGUAGE sql AS
  $$SELECT w.name, w.scheduled_for, w.status FROM durable.workflow w WHERE w.scheduled_by = schedule ORDER BY w.scheduled_for, w.id$$;
CREATE FUNCTION pg_temp.finish(schedule text) RETURNS bigint LANGUAGE sql AS
  $$SELECT count(durable.cancel_tree(r.id)) FROM durable.active_run r WHERE r.scheduled_by = schedule$$;
SELECT durable.create_queue('q'), durable.create_queue('other');

-- Made. -------------------------------------------------------------------------------------------
SELECT pg_temp.it_is('2030-01-01 00:00:10');
SELECT durable.create_schedule('plain', '*/5 * * * *', 'q');
SELECT to_jsonb(s) - 'created_at' AS schedule FROM durable.schedule s;
-- Again: nothing changes with the same settings; with others it is refused, kept or altered.
SELECT pg_temp.answer(c) FROM unnest(ARRAY[$$durable.create_schedule('plain', '*/5 * * * *', 'q')$$, $$durable.create_schedule('plain', '*/5 * * * *', 'q', timezone => 'utc')$$,
  $$durable.create_schedule('plain', '*/6 * * * *', 'q')$$, $$durable.create_schedule('plain', '*/5 * * * *', 'q', input => 'null')$$, $$durable.create_schedule('plain', '*/5 * * * *', 'q', if_exists => 'keep', priority => 1)$$]) c;
SELECT priority, next_run_at FROM durable.schedule;
SELECT durable.create_schedule('plain', '*/5 * * * *', 'q', priority => 1, if_exists => 'alter');
SELECT priority, next_run_at FROM durable.schedule;
SELECT durable.alter_schedule('plain', '*/5 * * * *', 'q');
-- What is refused.
SELECT pg_temp.answer(c) FROM unnest(ARRAY[$$durable.create_schedule(NULL, '* * * * *', 'q')$$, $$durable.create_schedule('', '* * * * *', 'q')$$, $$durable.create_schedule(repeat('x', 1004), '* * * * *', 'q')$$,
  $$durable.create_schedule('x', '* * * * *', 'q', workflow => repeat('x', 1004))$$, $$durable.create_schedule('x', '* * 30 2 *', 'q')$$, $$durable.create_schedule('x', NULL, 'q')$$, $$durable.create_schedule('x', '* * * * *', NULL)$$,
  $$durable.create_schedule('x', '* * * * *', 'no queue')$$, $$durable.create_schedule('x', '* * * * *', 'q', timezone => 'Moon')$$, $$durable.create_schedule('x', '* * * * *', 'q', overlap => 'Skip')$$,
  $$durable.create_schedule('x', '* * * * *', 'q', catch_up => 'some')$$, $$durable.create_schedule('x', '* * * * *', 'q', overlap => NULL)$$, $$durable.create_schedule('x', '* * * * *', 'q', jitter => '-1 s')$$,
  $$durable.create_schedule('x', '* * * * *', 'q', jitter => NULL)$$, $$durable.create_schedule('x', '* * * * *', 'q', timeout => '-1 s')$$, $$durable.create_schedule('x', '* * * * *', 'q', starts_at => 'infinity')$$,
  $$durable.create_schedule('x', '* * * * *', 'q', starts_at => '2030-01-02', ends_at => '2030-01-01')$$, $$durable.create_schedule('x', '* * * * *', 'q', max_recovery_attempts => -1)$$, $$durable.create_schedule('x', '* * * * *', 'q', if_exists => 'replace')$$,
  $$durable.alter_schedule('x', '* * * * *', 'q')$$, $$durable.drop_schedule('x')$$, $$durable.pause_schedule('x')$$, $$durable.resume_schedule('x')$$, $$durable.trigger_schedule('x')$$, $$durable.backfill_schedule('x', '2030-01-01', '2030-01-02')$$,
  $$durable.backfill_schedule('plain', '2030-01-02', '2030-01-01')$$, $$durable.backfill_schedule('plain', '2030-01-02', 'infinity')$$, $$durable.backfill_schedule('plain', NULL, '2030-01-01')$$, $$durable.drop_queue('q')$$,
  $$durable.create_queue('q', 7)$$, $$durable.create_queue('q', 7, if_exists => 'x')$$, $$durable.create_queue('q', 7, if_exists => NULL)$$, $$durable.tick(-1)$$, $$durable.tick(NULL)$$]) c;
SELECT durable.create_queue('q', 7, if_exists => 'keep'), max_concurrency FROM durable.queue WHERE name = 'q';
SELECT durable.create_queue('q', 1000, if_exists => 'alter');
SELECT max_concurrency FROM durable.queue WHERE name = 'q';

-- Run. --------------------------------------------------------------------------------------------
SELECT durable.tick();
SELECT pg_temp.it_is('2030-01-01 00:05:03');
SELECT durable.tick(), durable.tick(), durable.tick(0);
SELECT * FROM pg_temp.runs('plain');
SELECT next_run_at, last_run_at, last_workflow_id = (SELECT id FROM durable.workflow) AS last, skipped FROM durable.schedule;
-- The settings are the workflow's; claim tells for which time it was started.
SELECT durable.create_schedule('full', '0 6 * * *', 'other', 'report', 'handle it', '{"a": [1]}', 'Asia/Kathmandu', 'all', 'all', 7, '1 hour', '0', NULL, NULL, 3, 'v2');
SELECT pg_temp.it_is('2030-01-02 00:15:01');
SELECT durable.tick();
SELECT name, handler, input, queue_name, priority, timeout, max_recovery_attempts, app_version, run_at = created_at AS at_once, parent_id, scheduled_by, scheduled_for FROM durable.workflow WHERE queue_name = 'other';
SELECT name, handler, input, lease, recovery_count, scheduled_for FROM durable.claim('other', 'e');
-- What starts by other ways is no run.
SELECT created FROM durable.start('stranger', queue => 'other');
SELECT name, scheduled_for FROM durable.claim('other', 'e');
SELECT durable.drop_schedule('plain'), durable.drop_schedule('full');
SELECT count(*) FROM durable.active_run;
SELECT pg_temp.finish('plain'), pg_temp.finish('full');
SELECT name, scheduled_for, durable.complete(workflow_id) FROM durable.claim('other', 'e');
SELECT durable.drop_queue('other');

-- Overlap. ----------------------------------------------------------------------------------------
SELECT pg_temp.it_is('2030-02-01 00:00:10');
SELECT durable.create_schedule('o-' || o, '* * * * *', 'q', overlap => o) FROM unnest(ARRAY['skip', 'queue', 'all', 'cancel']) o;
CREATE FUNCTION pg_temp.overlaps() RETURNS TABLE (schedule text, runs text, skipped bigint, waiting_for time) LANGUAGE sql AS $$
  SELECT s.name, (SELECT string_agg(concat(to_char(r.scheduled_for, 'MI'), ' ', r.status), ', ' ORDER BY r.scheduled_for) FROM pg_temp.runs(s.name) r), s.skipped, (s.waiting_for AT TIME ZONE 'UTC')::time
    FROM durable.schedule s ORDER BY s.name
$$;
SELECT pg_temp.it_is('2030-02-01 00:01:01');
SELECT durable.tick();
SELECT pg_temp.it_is('2030-02-01 00:02:01');
SELECT durable.tick();
SELECT pg_temp.it_is('2030-02-01 00:03:01');
SELECT durable.tick();
SELECT * FROM pg_temp.overlaps();
-- The end of a run makes tick due where something waits for it.
SELECT durable.tick();
SELECT count(durable.complete(w.workflow_id)) FROM durable.claim('q', 'e', 100) w;
SELECT durable.tick();
SELECT * FROM pg_temp.overlaps();
-- What waits comes before a new time, which then waits for it. While paused it waits on.
SELECT pg_temp.it_is('2030-02-01 00:04:01');
SELECT durable.tick();
SELECT pg_temp.finish('o-queue'), durable.pause_schedule('o-queue');
SELECT durable.tick();
SELECT durable.resume_schedule('o-queue');
SELECT pg_temp.it_is('2030-02-01 00:05:01');
SELECT durable.tick();
SELECT * FROM pg_temp.overlaps() WHERE schedule = 'o-queue';
-- Where nothing is queued any more, it is dropped.
SELECT durable.alter_schedule('o-queue', '* * * * *', 'q', overlap => 'skip');
SELECT skipped, waiting_for, next_run_at FROM durable.schedule WHERE name = 'o-queue';
-- A paused run is unfinished; a cancelled tree takes its children with it.
SELECT durable.pause_tree(r.id) FROM durable.active_run r WHERE r.scheduled_by = 'o-queue';
SELECT name, lease FROM durable.claim('q', 'e', 100) ORDER BY name;
SELECT created FROM durable.start_child((SELECT id FROM durable.active_run WHERE scheduled_by = 'o-cancel'), 0, 'child', queue => 'q');
SELECT pg_temp.it_is('2030-02-01 00:06:01');
SELECT durable.tick();
SELECT * FROM pg_temp.overlaps() WHERE schedule IN ('o-queue', 'o-cancel');
SELECT status FROM durable.workflow WHERE name = 'child';
-- An active workflow of the name that is no run: skipped. A finished one does not count.
SELECT durable.start('o-all@2030-02-01T00:07:00Z'), durable.start('o-skip@2030-02-01T00:07:00Z') IS NOT NULL AS started \g /dev/null
SELECT count(durable.complete(id)) FROM durable.workflow WHERE name = 'o-skip@2030-02-01T00:07:00Z';
SELECT pg_temp.finish('o-skip');
SELECT pg_temp.it_is('2030-02-01 00:07:01');
SELECT durable.tick();
SELECT name, skipped, last_run_at FROM durable.schedule WHERE name IN ('o-all', 'o-skip') ORDER BY name;
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE name = 'o-all@2030-02-01T00:07:00Z';
SELECT pg_temp.finish(name), durable.drop_schedule(name) FROM durable.schedule ORDER BY name;

-- Catching up. ------------------------------------------------------------------------------------
SELECT pg_temp.it_is('2030-03-01 00:00:10');
SELECT durable.create_schedule('c-' || c, '*/10 * * * *', 'q', overlap => 'all', catch_up => c) FROM unnest(ARRAY['none', 'last', 'all']) c;
SELECT durable.create_schedule('c-rare', '0 0 1 * *', 'q', catch_up => 'last');
CREATE FUNCTION pg_temp.catch_ups() RETURNS TABLE (schedule text, runs text, next_run_at timestamptz, skipped bigint) LANGUAGE sql AS $$
  SELECT s.name, (SELECT string_agg(to_char(r.scheduled_for, 'DD HH24:MI'), ', ' ORDER BY r.scheduled_for) FROM pg_temp.runs(s.name) r), s.next_run_at, s.skipped
    FROM durable.schedule s ORDER BY s.name
$$;
-- A minute late is not missed, a little more is.
SELECT pg_temp.it_is('2030-03-01 00:10:50');
SELECT durable.tick();
SELECT pg_temp.it_is('2030-03-01 00:21:05');
SELECT durable.tick();
SELECT * FROM pg_temp.catch_ups();
SELECT pg_temp.it_is('2030-03-01 01:00:30');
SELECT durable.tick();
SELECT * FROM pg_temp.catch_ups();
-- While paused, too.
SELECT durable.pause_schedule(name) FROM durable.schedule;
SELECT pg_temp.it_is('2030-03-01 01:25:00');
SELECT durable.tick();
SELECT durable.resume_schedule(name) FROM durable.schedule;
SELECT durable.tick();
SELECT * FROM pg_temp.catch_ups();
-- All: up to 1,000 of a schedule in a call, as many as max_rows says of all.
SELECT pg_temp.it_is('2030-03-10 01:25:00');
SELECT durable.tick(5), count(*) FROM pg_temp.runs('c-all');
SELECT durable.tick(100000);
SELECT count(*), max(scheduled_for) FROM pg_temp.runs('c-all');
SELECT durable.tick();
SELECT count(*), max(scheduled_for), bool_and(gap = '10 min') AS no_gap FROM (SELECT scheduled_for, scheduled_for - lag(scheduled_for) OVER (ORDER BY scheduled_for) AS gap FROM pg_temp.runs('c-all')) r;
-- Long ago, and many that were missed: the latest is found without a walk.
SELECT durable.alter_schedule('c-last', '* * * * * *', 'q', overlap => 'all');
SELECT pg_temp.it_is('2050-01-01 00:00:00');
SELECT durable.tick(), durable.drop_schedule('c-all'), durable.drop_schedule('c-none');
SELECT s.name, s.last_run_at > '2049-12-31 23:59:50' OR s.last_run_at = '2050-01-01' AS latest, next_run_at > last_run_at AS goes_on FROM durable.schedule s ORDER BY name;
-- A clock that jumps back runs nothing twice.
SELECT pg_temp.it_is('2030-03-01 00:00:00');
SELECT durable.tick();
SELECT durable.drop_schedule(name) FROM durable.schedule;
SELECT count(durable.cancel_tree(id)) > 1000 AS many FROM durable.workflow WHERE completed_at IS NULL;
-- Not even where the schedule is made anew.
SELECT pg_temp.it_is('2030-04-01 00:00:50');
SELECT durable.create_schedule('back', '* * * * *', 'q', overlap => 'all');
SELECT pg_temp.it_is('2030-04-01 00:02:50');
SELECT durable.tick();
SELECT pg_temp.it_is('2030-04-01 00:00:50');
SELECT durable.drop_schedule('back'), durable.create_schedule('back', '* * * * *', 'q', overlap => 'all', catch_up => 'all');
SELECT pg_temp.it_is('2030-04-01 00:03:50');
SELECT durable.tick();
SELECT name, scheduled_for FROM pg_temp.runs('back');
SELECT durable.drop_schedule('back'), pg_temp.finish('back');

-- From when to when, @every, jitter. ------------------------------------------------------------------
SELECT pg_temp.it_is('2030-05-01 00:00:10.5');
SELECT durable.create_schedule('w-window', '*/10 * * * *', 'q', overlap => 'all', catch_up => 'all', starts_at => '2030-05-01 01:00', ends_at => '2030-05-01 01:20');
SELECT durable.create_schedule('w-every', '@every 50 min', 'q', overlap => 'all', catch_up => 'all');
SELECT durable.create_schedule('w-every-from', '@every 25 min', 'q', overlap => 'all', catch_up => 'all', starts_at => '2030-05-01 00:30:00.25');
SELECT durable.create_schedule('w-jitter', '*/10 * * * *', 'q', overlap => 'all', catch_up => 'all', jitter => '5 min');
SELECT durable.create_schedule('w-never', '0 0 1 1 *', 'q', ends_at => '2030-12-31');
SELECT name, next_run_at FROM durable.schedule ORDER BY name;
SELECT pg_temp.it_is('2030-05-01 02:00:00');
SELECT durable.tick();
SELECT r.name FROM durable.schedule s, pg_temp.runs(s.name) r WHERE s.name IN ('w-window', 'w-every-from') ORDER BY 1;
SELECT count(*), max(scheduled_for) - min(scheduled_for) AS evenly FROM pg_temp.runs('w-every');
SELECT name, next_run_at FROM durable.schedule WHERE name = 'w-window';
-- Late, they run at once; in time, within the jitter.
SELECT count(*), bool_and(run_at = created_at) AS at_once FROM durable.workflow WHERE scheduled_by = 'w-jitter' AND scheduled_for < '2030-05-01 01:50';
SELECT pg_temp.it_is('2030-05-01 02:10:00.5');
SELECT durable.tick() > 0 AS some;
SELECT run_at BETWEEN scheduled_for AND scheduled_for + interval '5 min' AND run_at > created_at AS later, status FROM durable.workflow WHERE scheduled_by = 'w-jitter' AND scheduled_for = '2030-05-01 02:10';

-- Altered: next_run_at stays if cron and time zone do, and if it is in the time of the schedule.
SELECT durable.create_schedule('a', '30 * * * *', 'q');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
SELECT pg_temp.it_is('2030-05-01 05:00');
SELECT durable.alter_schedule('a', '30 * * * *', 'q', priority => 5), durable.alter_schedule('a', '30 * * * *', 'q', overlap => 'all', input => '1');
SELECT next_run_at, input FROM durable.schedule WHERE name = 'a';
SELECT durable.alter_schedule('a', '30 * * * *', 'q', starts_at => '2030-05-01 04:00');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
SELECT durable.alter_schedule('a', '30 * * * *', 'q', ends_at => '2030-05-01 04:00');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
SELECT durable.alter_schedule('a', '30 * * * *', 'q');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
SELECT durable.alter_schedule('a', '30 * * * *', 'q', timezone => 'Asia/Kathmandu');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
SELECT durable.alter_schedule('a', '40 * * * *', 'q');
SELECT next_run_at FROM durable.schedule WHERE name = 'a';
-- What was due is not lost where @every counts from another time.
SELECT durable.create_schedule('b', '@every 1 day', 'q', starts_at => '2030-05-01 06:00');
SELECT durable.alter_schedule('b', '@every 1 day', 'q', starts_at => '2030-04-01 18:00');
SELECT pg_temp.it_is('2030-05-01 07:00');
SELECT durable.tick() > 0 AS some;
SELECT last_run_at, next_run_at FROM durable.schedule WHERE name = 'b';
SELECT durable.drop_schedule(name), pg_temp.finish(name) > 0 AS had_runs FROM durable.schedule ORDER BY name;

-- By hand. ----------------------------------------------------------------------------------------
SELECT pg_temp.it_is('2030-06-01 12:00:10');
SELECT durable.create_schedule('h', '0 * * * *', 'q', 'by-hand');
SELECT durable.trigger_schedule('h') AS run \gset
SELECT last_workflow_id = :'run' AS its_id, last_run_at = (SELECT scheduled_for FROM pg_temp.runs('h')) AS noted FROM durable.schedule;
SELECT durable.trigger_schedule('h');
SELECT name ~ '^by-hand@2030-06-01T12:00:1\d\.\d{6}Z$' AS name, scheduled_for > '2030-06-01 12:00:10' AS scheduled_for, status FROM pg_temp.runs('h');
SELECT durable.trigger_schedule('h'), skipped FROM durable.schedule;
SELECT skipped, next_run_at FROM durable.schedule;
SELECT durable.alter_schedule('h', '0 * * * *', 'q', 'by-hand', overlap => 'queue'), durable.pause_schedule('h');
SELECT durable.trigger_schedule('h');
SELECT skipped, waiting_for > '2030-06-01 12:00:10' AS waits FROM durable.schedule;
SELECT pg_temp.finish('h'), durable.resume_schedule('h');
SELECT durable.tick();
SELECT name ~ '^by-hand@2030-06-01T12:00:1\d\.\d{6}Z$' AS name, status FROM pg_temp.runs('h');
SELECT durable.alter_schedule('h', '0 * * * *', 'q', 'by-hand', overlap => 'cancel');
SELECT durable.trigger_schedule('h') IS NOT NULL AS triggered;
SELECT status FROM pg_temp.runs('h');
SELECT pg_temp.finish('h');
-- Times that are past, both ends included; those that have a run are passed over, and what is to come is left to tick.
SELECT durable.backfill_schedule('h', '2030-06-01 08:00', '2030-06-01 10:00'), durable.backfill_schedule('h', '2030-06-01 07:30', '2030-06-01 18:00'), durable.backfill_schedule('h', '2030-06-01 07:30', '2030-06-01 18:00');
SELECT name, scheduled_for, status FROM pg_temp.runs('h') WHERE scheduled_for < '2030-06-01 12:00:01';
SELECT durable.backfill_schedule('h', '2030-01-01', '2030-06-01'), durable.backfill_schedule('h', '2030-01-01', '2030-06-01'), durable.backfill_schedule('h', '2030-01-01', '2030-06-01'), durable.backfill_schedule('h', '2030-01-01', '2030-06-01'), durable.backfill_schedule('h', '2030-01-01', '2030-06-01');
-- tick finds that a time has a run.
SELECT durable.alter_schedule('h', '0 * * * *', 'q', 'by-hand', overlap => 'all');
SELECT pg_temp.it_is('2030-06-01 13:00:10');
SELECT durable.backfill_schedule('h', '2030-06-01 13:00', '2030-06-01 13:00'), durable.tick();
SELECT count(*) FROM pg_temp.runs('h') WHERE scheduled_for = '2030-06-01 13:00';
SELECT next_run_at, skipped FROM durable.schedule;
-- Purged with their workflows.
SELECT pg_temp.finish('h') > 3000 AS many;
SELECT count(*) FROM durable.check();
SELECT pg_temp.it_is('2030-06-01 13:30:10');
DO $$ BEGIN WHILE (durable.purge('1 min', 10000)).workflows > 0 LOOP COMMIT; END LOOP; END $$;
SELECT count(*) FROM durable.scheduled_run;
SELECT durable.drop_schedule('h');

-- An error in one leaves the others, and is told once; the time is not lost. -----------------------------
SELECT pg_temp.it_is('2030-07-01 00:00:10');
SELECT durable.create_schedule('e-' || i, '* * * * *', 'q', overlap => 'all', catch_up => 'all') FROM generate_series(1, 3) i;
CREATE FUNCTION pg_temp.no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today' USING ERRCODE = 'P0042'; END$$;
CREATE TRIGGER no BEFORE INSERT ON durable.workflow FOR EACH ROW WHEN (NEW.scheduled_by = 'e-2') EXECUTE FUNCTION pg_temp.no();
SELECT pg_temp.it_is('2030-07-01 00:01:01');
SELECT durable.tick();
SELECT durable.tick();
SELECT name, next_run_at, error FROM durable.schedule ORDER BY name;
DROP TRIGGER no ON durable.workflow;
SELECT durable.tick();
SELECT name, next_run_at, error FROM durable.schedule ORDER BY name;
SELECT count(*) FROM durable.workflow WHERE scheduled_for = '2030-07-01 00:01';
-- A tick in a transaction that is rolled back has done nothing; nor does one to a savepoint.
SELECT pg_temp.it_is('2030-07-01 00:02:01');
BEGIN;
SELECT durable.tick();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT durable.tick();
ROLLBACK TO s;
SELECT durable.tick();
COMMIT;
SELECT scheduled_by, count(*) FROM durable.workflow WHERE scheduled_for = '2030-07-01 00:02' GROUP BY 1 ORDER BY 1;
-- In the stricter isolation levels, and without fast paths.
SELECT pg_temp.it_is('2030-07-01 00:03:01');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT durable.tick(), durable.tick();
COMMIT;
SET durable.fast_paths = off;
SELECT pg_temp.it_is('2030-07-01 00:04:01');
SELECT durable.tick(), durable.tick();
RESET durable.fast_paths;
SELECT scheduled_by, count(*) FROM durable.workflow WHERE scheduled_by LIKE 'e-%' GROUP BY 1 ORDER BY 1;

-- What check says.
SELECT * FROM durable.check();
BEGIN;
UPDATE durable.schedule SET queue = 'gone', ends_at = '2030-01-01' WHERE name = 'e-1';
UPDATE durable.schedule SET waiting_for = now() WHERE name = 'e-2';
DELETE FROM durable.active_run;
DELETE FROM durable.scheduled_run;
SELECT task_id IS NOT NULL AS of_a_workflow, problem, count(*) FROM durable.check() GROUP BY 1, 2 ORDER BY 1, 2;
ROLLBACK;
\c :home
DROP DATABASE regress_durable_schedule;
