-- Buckets that are in another database: what is refused, what is not found, and what comes back.
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_buckets;
RESET client_min_messages;
CREATE DATABASE regress_durable_buckets TEMPLATE template0;
\c regress_durable_buckets
CREATE EXTENSION durable;
CREATE SCHEMA test;
CREATE FUNCTION test.id(n text) RETURNS uuid LANGUAGE sql AS 'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';
SELECT durable.create_queue('b'), durable.create_queue('limited', 2);
CREATE FUNCTION pg_temp.all_but(names text[]) RETURNS int4multirange LANGUAGE sql AS $$
  SELECT int4multirange(int4range(0, 4096)) - range_agg(int4range(b, b + 1)) FROM unnest(names) n, durable.bucket(n) b
$$;
CREATE FUNCTION pg_temp.refused(sql text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE sql;
  RETURN 'done';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
-- what calls, statistics and invariants tell of all that is unfinished
CREATE FUNCTION pg_temp.found() RETURNS TABLE (what text, n bigint) LANGUAGE sql AS $$
  SELECT 'pending in ' || queue_name, pending FROM durable.stats WHERE queue_name IN ('b', 'limited')
  UNION ALL SELECT 'running in ' || queue_name, running FROM durable.stats WHERE queue_name IN ('b', 'limited')
  UNION ALL SELECT 'reported by heartbeat', count(*) FROM durable.heartbeat('e', '{}', '{}')
  UNION ALL SELECT 'parked', count(*) FROM durable.parked
  UNION ALL SELECT 'broken: ' || problem, count(*) FROM durable.check() GROUP BY problem
$$;

-- Without a word all are here.
SELECT durable.buckets(), count(*) FROM durable.buckets;
SELECT durable.set_buckets(NULL);
SELECT durable.set_buckets('{[0,4097)}');
SELECT durable.set_buckets('{(,5)}');
SELECT durable.set_buckets('{[-1,5)}');

-- 'gone' and 'gone too' will be in another database; the others stay.
SELECT durable.bucket('gone'), durable.bucket('gone too'), durable.bucket('stays');
SELECT created FROM durable.start('gone', queue => 'b', priority => 9);
SELECT created FROM durable.start('stays', queue => 'b');
SELECT created FROM durable.start('gone too', queue => 'limited');
SELECT name FROM durable.claim('limited', 'e');
SELECT created FROM durable.start('ended');
SELECT durable.complete(test.id('ended'), '1');
SELECT action FROM durable.claim_step(test.id('gone too'), 0, 's');
SELECT * FROM pg_temp.found();
SELECT durable.set_buckets(pg_temp.all_but('{gone,gone too,ended}'));
SELECT durable.buckets() = pg_temp.all_but('{gone,gone too,ended}');
SELECT * FROM pg_temp.found();

-- By name, by id, one or many, reading or writing.
\set VERBOSITY default
SELECT durable.signal_root('gone', 'go');
\set VERBOSITY terse
SELECT durable.start('gone', queue => 'b');
SELECT durable.start_many('{stays,gone}', queue => 'b');
SELECT pg_temp.refused(format('SELECT %s', c)) AS refused, c FROM unnest(ARRAY[
  $$durable.status(test.id('gone'))$$, $$durable.output(test.id('ended'))$$, $$durable.history(test.id('gone too'))$$,
  $$durable.complete(durable.step_id(test.id('gone too'), 0))$$, $$durable.cancel_tree(test.id('gone'))$$,
  $$durable.cancel_many(ARRAY[test.id('stays'), test.id('gone')])$$, $$durable.tree(test.id('gone'))$$,
  $$durable.list(parent_id => test.id('gone'))$$, $$durable.count(parent_id => test.id('gone'))$$,
  $$durable.fork(test.id('stays'), 0, 'gone')$$, $$durable.heartbeat('e', ARRAY[test.id('gone too')], '{1}')$$,
  $$durable.require_bucket(test.id('gone'))$$, $$durable.require_bucket(NULL)$$, $$durable.status(test.id('stays'))$$]) c;
SELECT status, lease FROM durable.workflow WHERE name IN ('gone', 'gone too', 'stays') ORDER BY name;

-- Whoever looks for work does not find it.
SELECT name FROM durable.claim('b', 'e', 10);
SELECT durable.complete(test.id('stays'));
SELECT count(*) FROM durable.recover('f', stale_after => '0 s');
SELECT durable.drain_queue('b');
SELECT durable.release('e');
SELECT workflows FROM durable.purge('0 s') WHERE (SELECT count(*) = 1 FROM durable.workflow WHERE name = 'ended');
SELECT count(*) FROM durable.workflow WHERE name = 'ended';

-- A schedule starts the runs whose names are here; each run is in one database.
CREATE TEMP TABLE runs AS
  SELECT i, 'each@' || to_char('2024-01-01 00:00 UTC'::timestamptz AT TIME ZONE 'UTC' + i * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS name FROM generate_series(0, 23) i;
SELECT durable.create_schedule('each', '0 * * * *', 'b', overlap => 'all');
SELECT durable.set_buckets('{[0,2048)}');
SELECT durable.backfill_schedule('each', '2024-01-01 00:00 UTC', '2024-01-01 23:00 UTC') = count(*) AS these, count(*) BETWEEN 1 AND 23 AS some FROM runs WHERE durable.bucket(name) < 2048;
SELECT durable.set_buckets('{[2048,4096)}');
SELECT durable.backfill_schedule('each', '2024-01-01 00:00 UTC', '2024-01-01 23:00 UTC') = count(*) AS the_others FROM runs WHERE durable.bucket(name) >= 2048;
SELECT durable.bucket(durable.trigger_schedule('each')) >= 2048 AS here;
SELECT durable.set_buckets('{}');
SELECT pg_temp.refused($$SELECT durable.trigger_schedule('each')$$);
SELECT durable.drop_schedule('each');

-- All is found again, in its place of the queue, and counts where there are limits.
SELECT durable.set_buckets('{[0,4096)}');
SELECT count(*), count(DISTINCT w.name) FROM durable.workflow w JOIN runs USING (name);
SELECT durable.drain_queue('b') >= 24 AS many;
SELECT created, status FROM durable.start('gone too', queue => 'limited');
SELECT count(*) FROM durable.start_many('{third,fourth,fifth}', queue => 'limited');
SELECT name FROM durable.claim('limited', 'e', 10);
SELECT * FROM pg_temp.found();
SELECT durable.output(test.id('ended'));

-- What is suspended and has only a note to wake it, which stays behind, is looked at again.
SELECT durable.create_queue('naps');
SELECT created FROM durable.start('nap', queue => 'naps');
SELECT a.action FROM durable.claim('naps', 'e') c, durable.await_signal(c.workflow_id, 0, 'go') a;
SELECT status FROM durable.suspend(test.id('nap'), 'e', 1, ARRAY[durable.step_id(test.id('nap'), 0)]);
DELETE FROM durable.watch;
INSERT INTO durable.signal (id, workflow_id, name, sent_at) SELECT id, id, 'go', now() FROM test.id('nap') id;
SELECT durable.set_buckets(pg_temp.all_but('{nap}'));
SELECT name FROM durable.claim('naps', 'e');
SELECT durable.set_buckets('{[0,4096)}');
SELECT name, lease FROM durable.claim('naps', 'e');
SELECT durable.cancel_tree(test.id('nap'));

-- What is rolled back was never said: neither for this session, nor what it has parked.
BEGIN;
SELECT durable.set_buckets('{}');
SAVEPOINT s;
SELECT pg_temp.refused($$SELECT durable.status(test.id('ended'))$$);
ROLLBACK;
SELECT durable.status(test.id('ended')), durable.buckets();
BEGIN;
SAVEPOINT s;
SELECT durable.set_buckets('{}');
ROLLBACK TO s;
SELECT durable.status(test.id('ended'));
COMMIT;

-- However the table is written, the sessions learn of it.
BEGIN;
INSERT INTO durable.buckets VALUES (true, '{[1,2)}') ON CONFLICT (one) DO UPDATE SET ranges = excluded.ranges;
SELECT pg_temp.refused($$SELECT durable.status(test.id('ended'))$$);
DELETE FROM durable.buckets;
SELECT durable.status(test.id('ended'));
-- (as a restore does, maybe behind the workflows)
INSERT INTO durable.buckets VALUES (true, '{[1,2)}');
SELECT * FROM pg_temp.found();
ROLLBACK;
SELECT durable.status(test.id('ended'));
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_buckets;
