-- Many priorities: a claim gets what is due at the highest of them, whatever waits above and below.
SELECT setseed(0.5);
SELECT durable.create_queue(q) FROM unnest(ARRAY['plain', 'keyed', 'both']) q;
-- Starts n workflows at 201 priorities, so many of a hundred are due.
CREATE FUNCTION test.fill(q text, n int, due int) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(durable.start(q || ' ' || due || ' ' || i, queue => q, priority => floor(random() * 201)::int - 100,
    run_at => now() + CASE WHEN random() * 100 < due THEN - random() ELSE 1 + random() END * interval '1 hour',
    concurrency_key => CASE q WHEN 'plain' THEN NULL WHEN 'keyed' THEN 'k' || i % 7 ELSE nullif('k' || i % 3, 'k0') END))
  FROM generate_series(1, n) i
$$;
-- What a claim of n should get next.
CREATE FUNCTION test.due(q text, n int) RETURNS text[] LANGUAGE sql AS $$
  SELECT coalesce(array_agg(name), '{}') FROM (
    SELECT name FROM durable.workflow WHERE queue_name = q AND status = 'PENDING' AND run_at <= now()
    ORDER BY priority DESC, run_at, id LIMIT n) w
$$;
-- Claims n at a time until nothing is due: how many that were, and which claims got something else, or another number.
CREATE FUNCTION test.drain(q text, n int) RETURNS TABLE (claimed int, wrong int) LANGUAGE plpgsql AS $$
DECLARE
  due text[];
  got text[];
BEGIN
  claimed := 0;
  wrong := 0;
  LOOP
    due := test.due(q, n);
    SELECT coalesce(array_agg(c.name ORDER BY c.i), '{}') INTO got
    FROM durable.claim(q, 'priorities', n) WITH ORDINALITY c(id, name, handler, input, lease, rc, at, scheduled_for, i);
    wrong := wrong + (due <> got)::int;
    claimed := claimed + cardinality(got);
    EXIT WHEN got = '{}';
  END LOOP;
  RETURN NEXT;
END $$;

-- A few of a hundred are due; a third; all.
CREATE TABLE test.queues AS SELECT unnest(ARRAY['plain', 'keyed', 'both']) AS q;
SELECT q, due, n, d.claimed > 0 AS claimed, d.wrong
FROM (VALUES (2, 1), (33, 1), (34, 40), (100, 7)) f(due, n), test.queues, test.fill(q, 300, due), test.drain(q, n) d
ORDER BY due, n, q;
-- Nothing is due: an idle claim looks into few of the priorities.
SELECT q, count(DISTINCT w.priority) > 150 AS many, count(*) FILTER (WHERE w.run_at <= now()) AS due
FROM test.queues JOIN durable.workflow w ON w.queue_name = q AND w.status = 'PENDING' GROUP BY q ORDER BY q;
CREATE FUNCTION test.buffers(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
  RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::int + (plan->0->'Plan'->>'Shared Read Blocks')::int;
END $$;
VACUUM durable.pending, durable.prioritized, durable.queue_head, durable.queue_lane;
SELECT q, test.buffers(format('SELECT * FROM durable.claim(%L, $$priorities$$)', q)) < 200 AS few FROM test.queues ORDER BY q;
-- Who waits for work learns when that comes due which comes next, at a priority that is passed over, too.
SELECT q, (durable.start(q || ' next', queue => q, priority => -99, run_at => clock_timestamp() + interval '0.3 s',
  concurrency_key => CASE q WHEN 'keyed' THEN 'k1' END)).status
FROM test.queues WHERE q <> 'both' ORDER BY q;
CALL durable.wait_for_work('priorities', '{plain}', timeout => '60 s');
SELECT name, q FROM test.queues, durable.claim(q, 'priorities') WHERE q = 'plain';
CALL durable.wait_for_work('priorities', '{keyed}', timeout => '60 s');
SELECT name, q FROM test.queues, durable.claim(q, 'priorities') WHERE q = 'keyed';
SELECT * FROM durable.check();
DELETE FROM durable.workflow w USING test.queues q WHERE w.queue_name = q.q;
SELECT durable.drop_queue(q) FROM test.queues;
DROP TABLE test.queues;
