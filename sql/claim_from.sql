-- What a claim asks for: handlers and a version; claim_from several queues; what waits for a version that nobody claims with.
\pset null -
\set VERBOSITY sqlstate
SET durable.clock_offset = 0;
SELECT durable.create_queue('from-a'), durable.create_queue('from-b', 3), durable.create_queue('from-c', fair => true);
CREATE FUNCTION pg_temp.put(q text, name text, handler text = NULL, version text = NULL, key text = NULL) RETURNS text LANGUAGE sql AS $$
  SELECT s.status::text FROM durable.start(q || ' ' || name, handler => handler, queue => q, app_version => version, concurrency_key => key) s
$$;
CREATE FUNCTION pg_temp.take(q text, n int = 1, handlers text[] = NULL, version text = NULL, executor text = 'from') RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(c.name, ', ' ORDER BY i), 'none')
  FROM durable.claim(q, executor, n, handlers, version) WITH ORDINALITY c(id, name, handler, input, lease, rc, at, scheduled_for, i)
$$;
CREATE FUNCTION pg_temp.take_from(qs text[], n int = 1, handlers text[] = NULL, version text = NULL) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(c.name || ' (' || c.queue || ')', ', ' ORDER BY i), 'none')
  FROM durable.claim_from(qs, 'from', n, handlers, version) WITH ORDINALITY c(id, name, handler, input, lease, rc, at, scheduled_for, queue, i)
$$;
CREATE FUNCTION pg_temp.waiting() RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(queue_name || ' ' || waiting_for_version, ', ' ORDER BY queue_name) FROM durable.stats() WHERE queue_name LIKE 'from-%'
$$;

-- handlers, app_version, with fast paths and without
SELECT pg_temp.put('from-a', '1', 'h'), pg_temp.put('from-a', '2', 'i'), pg_temp.put('from-a', '3'), pg_temp.put('from-a', '4', 'h', 'v1'),
  pg_temp.put('from-a', '5', 'h', 'v2'), pg_temp.put('from-a', '6', 'i', 'v1'), pg_temp.put('from-a', '7', 'i', 'v2'), pg_temp.put('from-a', '8', NULL, 'v2');
SELECT pg_temp.waiting();
BEGIN;
SELECT pg_temp.take('from-a', 9, '{}'), pg_temp.take('from-a', 9, '{j,NULL}'), pg_temp.take('from-a', 9, '{j}', 'v1');
SELECT pg_temp.take('from-a', 9, '{i,j}');
SELECT pg_temp.take('from-a', 2, '{h}', 'v1');
SELECT pg_temp.take('from-a', 9, NULL, 'v3');
SELECT pg_temp.take('from-a', 9, NULL, 'v2');
SELECT pg_temp.take('from-a', 9);
ROLLBACK;
SET durable.fast_paths = off;
BEGIN;
SELECT pg_temp.take('from-a', 9, '{}'), pg_temp.take('from-a', 9, '{j,NULL}'), pg_temp.take('from-a', 9, '{j}', 'v1');
SELECT pg_temp.take('from-a', 9, '{i,j}');
SELECT pg_temp.take('from-a', 2, '{h}', 'v1');
SELECT pg_temp.take('from-a', 9, NULL, 'v3');
SELECT pg_temp.take('from-a', 9, NULL, 'v2');
SELECT pg_temp.take('from-a', 9);
ROLLBACK;
RESET durable.fast_paths;
-- a late one, before a head; and under keys
BEGIN;
SET LOCAL durable.claim_walk = 0;
SELECT pg_temp.take('from-a', 8);
SELECT pg_temp.take('from-a');
SELECT count(created) FROM durable.start_many('{"from-a late 1","from-a late 2"}', handler => 'h', queue => 'from-a', run_at => test.clock() - interval '1 day');
SELECT pg_temp.take('from-a', 9, '{i}');
SELECT pg_temp.take('from-a', 9, '{h}');
ROLLBACK;
SELECT pg_temp.put('from-c', '1', 'h', NULL, 'a'), pg_temp.put('from-c', '2', 'i', NULL, 'a'), pg_temp.put('from-c', '3', 'h', NULL, 'b'), pg_temp.put('from-c', '4', 'i');
SELECT pg_temp.take('from-c', 9, '{i}');

-- the version with which an executor has claimed last is kept in its row
SELECT executor_id, app_version FROM durable.executor WHERE executor_id = 'from';
SELECT pg_temp.take('from-a', 9, '{}', 'v1');
SELECT executor_id, app_version FROM durable.executor WHERE executor_id = 'from';
SELECT pg_temp.waiting();
SELECT xmin AS before FROM durable.executor WHERE executor_id = 'from' \gset
SELECT pg_temp.take('from-a', 9, '{}', 'v1');
SELECT pg_temp.take('from-a', 9, '{}');
SELECT xmin = :'before' AS untouched FROM durable.executor WHERE executor_id = 'from';
SELECT pg_temp.take('from-a', 9, '{}', 'v2', 'other');
SELECT pg_temp.waiting();
SET durable.clock_offset = 1000;
SELECT pg_temp.waiting();
SELECT count(*) FROM durable.heartbeat('other');
SELECT pg_temp.waiting();
SET durable.clock_offset = 0;

-- claim_from: in the order of the array
SELECT pg_temp.put('from-b', '1'), pg_temp.put('from-b', '2'), pg_temp.put('from-b', '3'), pg_temp.put('from-b', '4');
SELECT pg_temp.take_from('{from-c,from-b,from-a}', 2);
SELECT pg_temp.take_from('{from-c,from-b,from-a}', 4);
SELECT pg_temp.take_from('{from-b,from-a,from-a}', 4, '{h,i}', 'v2');
SELECT pg_temp.take_from('{from-b,from-a}', 4);
SELECT pg_temp.take_from('{from-b,from-a}', 4);
SELECT pg_temp.take_from('{}', 4), pg_temp.take_from('{from-b}', 0);
SELECT test.error($$SELECT durable.claim_from('{from-a,no}', 'from')$$);
SELECT test.error($$SELECT durable.claim_from('{from-a,NULL}', 'from')$$);
SELECT test.error($$SELECT durable.claim_from(NULL, 'from')$$);
SELECT test.error($$SELECT durable.claim_from('{from-a}', NULL)$$);
SELECT test.error($$SELECT durable.claim_from('{from-a}', 'from', -1)$$);
SELECT test.error($$SELECT durable.claim_from('{from-a}', 'from', app_version => '')$$);
SELECT test.error($$SELECT durable.claim_from(array_fill('from-a'::text, ARRAY[1001]), 'from')$$);

-- recover asks in the same way
SET durable.clock_offset = 1000;
SELECT name FROM durable.recover('rescue', queue => 'from-a', app_version => 'v3') ORDER BY 1;
SELECT name FROM durable.recover('rescue', queue => 'from-a', app_version => 'v2', handlers => '{h}') ORDER BY 1;
SELECT name FROM durable.recover('rescue', queue => 'from-a', app_version => 'v2') ORDER BY 1;
SELECT name FROM durable.recover('rescue', queue => 'from-a') ORDER BY 1;
SELECT test.error($$SELECT durable.recover('rescue', app_version => '')$$);
SET durable.clock_offset = 0;
SELECT * FROM durable.check();
