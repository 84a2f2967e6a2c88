-- Events: what a workflow says while it runs. (Two emitters at once: test/specs/events.spec; their end: purge.sql.)
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('event-1', executor_id => 'event-e') \gset
SELECT workflow_id AS v FROM durable.start('event-2', executor_id => 'event-e') \gset
SELECT * FROM durable.events(:'w');

-- Numbers from 1 on, in each workflow, in the order of the calls; with a lease and without.
SELECT durable.emit(:'w', 'progress', '{"done": 10}', 1) AS w, durable.emit(:'v', 'progress') AS v, durable.emit(:'w', 'log', '"half way"') AS w, durable.emit(workflow_id => :'w', topic => 'progress', payload => 'null', lease => 1) AS w;
SELECT n, topic, payload, test.seconds(emitted_at) AS ago FROM durable.events(:'w');
SELECT n, topic, payload FROM durable.events(:'v');
-- The times do not go back.
SELECT bool_and(emitted_at >= before) FROM (SELECT emitted_at, lag(emitted_at) OVER (ORDER BY n) AS before FROM durable.events(:'w')) e;
-- What is rolled back has had no number, wherever.
BEGIN;
SELECT durable.emit(:'w', 'undone');
ROLLBACK;
BEGIN;
SELECT durable.emit(:'w', 'kept');
SAVEPOINT s;
SELECT durable.emit(:'w', 'undone'), durable.emit(:'w', 'undone');
ROLLBACK TO s;
SELECT durable.emit(:'w', 'kept');
SAVEPOINT t;
SELECT durable.emit(:'w', 'kept');
RELEASE t;
COMMIT;
DO $$
BEGIN
  FOR i IN 1 .. 5 LOOP
    BEGIN
      PERFORM durable.emit(test.id('event-1'), 'loop ' || i);
      IF i % 2 = 0 THEN
        RAISE division_by_zero;
      END IF;
    EXCEPTION WHEN division_by_zero THEN
    END;
  END LOOP;
END $$;
SELECT n, topic FROM durable.events(:'w');
-- Events of others do not count; an inline child has its own.
SELECT workflow_id AS c, lease FROM durable.start_child(:'w', 0, 'event-inline') \gset
SELECT durable.emit(:'c', 'child', lease => 1), durable.emit(:'v', 'progress'), durable.emit(:'c', 'child');
-- A topic may be any text of 1 to 1024 bytes, a payload any jsonb.
SELECT durable.emit(:'v', repeat('x', 1024)), durable.emit(:'v', ' '), durable.emit(:'v', 'it''s "a" %s $1'), durable.emit(:'v', 'large', to_jsonb(repeat('y', 100000)));
SELECT n, left(topic, 20) AS topic, length(topic), length(payload #>> '{}') FROM durable.events(:'v', after => 2);

-- events: after a number, so many, of one topic.
SELECT n FROM durable.events(:'w', after => 7);
SELECT n FROM durable.events(:'w', after => 2, max_rows => 2);
SELECT n FROM durable.events(:'w', 'progress');
SELECT n FROM durable.events(:'w', 'progress', 1);
SELECT n FROM durable.events(:'w', 'progress', max_rows => 1);
SELECT n FROM unnest('{progres,PROGRESS,"progress "}'::text[]) t, durable.events(:'w', t);
SELECT n FROM durable.events(:'w', topic => NULL, after => 9223372036854775807);
SELECT n FROM durable.events(:'w', max_rows => 0);
SELECT count(*), max(n) FROM (SELECT durable.emit(:'v', 'many') FROM generate_series(1, 150)) e(n);
SELECT count(*), min(n), max(n) FROM durable.events(:'v');
SELECT count(*), min(n), max(n) FROM durable.events(:'v', 'many', 50, 1000000);
-- It shows what the query sees, its own transaction's too.
BEGIN;
SELECT durable.emit(:'w', 'mine'), (SELECT count(*) FROM durable.events(:'w', 'mine'));
SELECT count(*) FROM durable.events(:'w', 'mine');
ROLLBACK;
-- Reading takes no transaction id and no lock of the extension.
BEGIN;
SELECT count(*) FROM durable.events(:'w');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_id, (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory') AS locks;
COMMIT;
-- Emitting takes that of the tree (shared) and that of the workflow's events.
BEGIN;
SELECT durable.emit(:'c', 'child');
SELECT objsubid, mode, (classid::bigint << 32) | objid::bigint = durable.lock_key(CASE objsubid WHEN 17409 THEN :'w' ELSE :'c' END::uuid) AS its
  FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' ORDER BY 1;
ROLLBACK;

-- Bad arguments.
SELECT test.error(format('SELECT durable.emit(%L, %L)', :'w', ''));
SELECT test.error(format('SELECT durable.emit(%L, repeat(%L, 513))', :'w', 'é'));
SELECT test.error(format('SELECT durable.emit(%L, NULL)', :'w'));
SELECT test.error('SELECT durable.emit(NULL, ''t'')');
SELECT test.error(format('SELECT durable.emit(durable.step_id(%L, 77), ''t'')', :'w'));
SELECT action FROM durable.claim_step(:'w', 1, 's');
SELECT test.error(format('SELECT durable.emit(durable.step_id(%L, 1), ''t'')', :'w'));
SELECT test.error('SELECT durable.emit(''00000000-0000-7000-8000-000000000000'', ''t'')');
SELECT test.error(format('SELECT * FROM durable.events(%L, after => -1)', :'w'));
SELECT test.error(format('SELECT * FROM durable.events(%L, after => NULL)', :'w'));
SELECT test.error(format('SELECT * FROM durable.events(%L, max_rows => -1)', :'w'));
SELECT test.error(format('SELECT * FROM durable.events(%L, max_rows => NULL)', :'w'));
SELECT test.error(format('SELECT * FROM durable.events(%L, topic => %L)', :'w', ''));
SELECT test.error('SELECT * FROM durable.events(NULL)');
SELECT test.error('SELECT * FROM durable.events(''00000000-0000-7000-8000-000000000000'')');
SELECT test.error(format('SELECT * FROM durable.events(durable.step_id(%L, 1))', :'w'));

-- Refused as claim_step is, in its order: the id, the lease, the status, the deadline. Each twice: where the tree is known,
-- and where it is not (\c).
CREATE FUNCTION test.event_refused(w uuid, lease int = NULL) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' | ', test.try(format('SELECT durable.emit(%L, %L, lease => %L)', w, 'refused', lease)),
                          test.try(format('SELECT durable.claim_step(%L, 77, %L, lease => %L)', w, 'refused', lease)))
$$;
SELECT durable.create_queue('event-q');
SELECT workflow_id AS paused FROM durable.start('event-paused') \gset
SELECT workflow_id AS cancelled FROM durable.start('event-cancelled') \gset
SELECT workflow_id AS completed FROM durable.start('event-completed') \gset
SELECT workflow_id AS failed FROM durable.start('event-failed') \gset
SELECT workflow_id AS queued FROM durable.start('event-queued', queue => 'event-q') \gset
SELECT workflow_id AS released FROM durable.start('event-released', executor_id => 'event-e') \gset
SET durable.clock_offset = -100;
SELECT workflow_id AS late FROM durable.start('event-late', timeout => '10 s') \gset
RESET durable.clock_offset;
SELECT durable.emit(:'paused', 'before'), durable.emit(:'completed', 'before');
SELECT durable.pause_tree(:'paused'), durable.cancel_tree(:'cancelled'), durable.complete(:'completed'), durable.fail(:'failed', 'x') IS NULL, durable.release('event-e', :'released');
\set refused 'SELECT w.name, l.lease, test.event_refused(w.id, l.lease) FROM durable.workflow w, (VALUES (NULL), (9)) l(lease) WHERE w.name IN (''event-paused'', ''event-cancelled'', ''event-completed'', ''event-failed'', ''event-queued'', ''event-released'', ''event-late'') ORDER BY 1, 2;'
:refused
\c
SET durable.fast_paths = off;
\set VERBOSITY sqlstate
:refused
RESET durable.fast_paths;
-- What was said is still to be read, whatever the status.
SELECT n, topic FROM durable.events(:'paused'), durable.status(:'paused');
SELECT n, topic FROM durable.events(:'completed');
-- Resumed, it goes on.
SELECT durable.resume_tree(:'paused');
SELECT durable.emit(:'paused', 'after');
SELECT status, lease FROM durable.resume_failed(:'failed');
SELECT durable.emit(:'failed', 'again', lease => 2);
SELECT durable.set_timeout(:'late', NULL);
SELECT durable.emit(:'late', 'in time');
-- Not in a read-only transaction, which is still told what else forbids it.
BEGIN READ ONLY;
SELECT durable.emit(:'late', 'no');
ROLLBACK;
BEGIN READ ONLY;
SELECT durable.emit(:'late', 'no', lease => 9);
ROLLBACK;
-- Above READ COMMITTED; what is seen goes by the query's snapshot.
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT durable.emit(:'late', 'serializable'), durable.emit(:'late', 'serializable');
SELECT n, topic FROM durable.events(:'late');
COMMIT;

-- Beyond 100 workflows a transaction takes no more locks of events; they are numbered all the same.
BEGIN;
SELECT count(*), sum(n) FROM (SELECT durable.emit((durable.start('event-many-' || i)).workflow_id, 'one') FROM generate_series(1, 120) i) e(n);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = 17415;
SELECT durable.emit(test.id('event-many-1'), 'two'), durable.emit(test.id('event-many-120'), 'two');
ROLLBACK;

-- check finds gaps, and events without a workflow.
BEGIN;
DELETE FROM durable.event WHERE workflow_id = :'v' AND n = 3;
UPDATE durable.event SET n = n + 1 WHERE workflow_id = :'late' AND n = 3;
INSERT INTO durable.event VALUES ('00000000-0000-7000-8000-000000000000', 1, now(), 'nobody''s');
SELECT test.mask(task_id::text), problem FROM durable.check() ORDER BY 1;
ROLLBACK;

-- A hundred thousand events: emit and events read as few rows as with ten.
INSERT INTO durable.event SELECT :'c', 2 + i, now(), CASE WHEN i % 30000 = 0 THEN 'rare' ELSE 'common' END FROM generate_series(1, 100000) i;
CREATE FUNCTION test.event_reads(statement text) RETURNS TABLE (index text, few boolean) LANGUAGE plpgsql AS $$
DECLARE
  before jsonb;
BEGIN
  FOR i IN 1 .. 2 LOOP
    SELECT jsonb_object_agg(indexrelname, pg_stat_get_xact_tuples_returned(indexrelid)) INTO before FROM pg_stat_user_indexes WHERE relid = 'durable.event'::regclass;
    EXECUTE statement;
  END LOOP;
  RETURN QUERY SELECT indexrelname::text, pg_stat_get_xact_tuples_returned(indexrelid) - (before ->> indexrelname)::bigint <= 10 FROM pg_stat_user_indexes
    WHERE relid = 'durable.event'::regclass AND pg_stat_get_xact_tuples_returned(indexrelid) > (before ->> indexrelname)::bigint ORDER BY 1;
END $$;
CREATE FUNCTION test.events_read() RETURNS TABLE (what text, index text, few boolean) LANGUAGE sql AS $$
  SELECT q.what, r.* FROM unnest(ARRAY[
    $q$emit(%L, 'common')$q$, $q$events(%L, max_rows => 10)$q$, $q$events(%L, after => 90000, max_rows => 10)$q$,
    $q$events(%L, 'common', 90000, 10)$q$, $q$events(%L, 'rare')$q$, $q$events(%L, 'none')$q$]) q(what), test.event_reads(format('SELECT durable.' || q.what, test.id('event-inline'))) r
$$;
-- by plans from before, by new ones without statistics, with statistics of one workflow, and of one among many
SELECT * FROM test.events_read();
\c
\set VERBOSITY sqlstate
SELECT * FROM test.events_read();
ANALYZE durable.event;
SELECT * FROM test.events_read() WHERE NOT few;
INSERT INTO durable.event SELECT gen_random_uuid(), 1, now(), 'common' FROM generate_series(1, 100000) i;
ANALYZE durable.event;
SELECT * FROM test.events_read() WHERE NOT few;
DELETE FROM durable.event WHERE topic IN ('common', 'rare');
VACUUM ANALYZE durable.event;
SELECT durable.emit(:'c', 'after them all');
DROP FUNCTION test.event_refused, test.event_reads, test.events_read;
SELECT * FROM durable.check();
