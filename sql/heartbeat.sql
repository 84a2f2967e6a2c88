-- heartbeat(): registers or refreshes the executor, and answers what it believes wrongly.
\pset null -
\set VERBOSITY sqlstate
SELECT * FROM durable.heartbeat('heartbeat-a');
SELECT abs(extract(epoch FROM last_seen - test.clock())) < 60 AS now FROM durable.executor WHERE executor_id = 'heartbeat-a';
SET durable.clock_offset = 100;
SELECT * FROM durable.heartbeat('heartbeat-a');
SELECT abs(extract(epoch FROM last_seen - test.clock())) < 60 AS now FROM durable.executor WHERE executor_id = 'heartbeat-a';
RESET durable.clock_offset;
SELECT count(*) FROM durable.executor WHERE executor_id = 'heartbeat-a';

-- Two workflows of its own, and one of another executor. A helper: names for ids, the rest as it is.
SELECT workflow_id AS w1 FROM durable.start('heartbeat-1', executor_id => 'heartbeat-a') \gset
SELECT workflow_id AS w2 FROM durable.start('heartbeat-2', executor_id => 'heartbeat-a') \gset
SELECT workflow_id AS w3 FROM durable.start('heartbeat-3', executor_id => 'heartbeat-b') \gset
CREATE FUNCTION pg_temp.beat(names text[], leases int[]) RETURNS TABLE (workflow text, status text, lease int, owner text) LANGUAGE sql AS $$
  SELECT test.mask(workflow_id::text), status::text, lease, owner
    FROM durable.heartbeat('heartbeat-a', ARRAY(SELECT test.id(n) FROM unnest(names) WITH ORDINALITY u(n, i) ORDER BY i), leases) ORDER BY 1
$$;
-- In agreement: no row.
SELECT * FROM pg_temp.beat('{heartbeat-1,heartbeat-2}', '{1,1}');
SELECT * FROM pg_temp.beat('{heartbeat-2,heartbeat-1}', '{1,1}');
-- Without the lists it only registers.
SELECT * FROM durable.heartbeat('heartbeat-a');
-- Those that it owns without knowing.
SELECT * FROM pg_temp.beat('{heartbeat-1}', '{1}');
SELECT * FROM pg_temp.beat('{}', '{}');
-- Another lease, another owner.
SELECT * FROM pg_temp.beat('{heartbeat-1,heartbeat-2}', '{7,1}');
SELECT * FROM pg_temp.beat('{heartbeat-1,heartbeat-2,heartbeat-3}', '{1,1,1}');
-- It has been taken over.
SELECT lease, owner FROM durable.attach(:'w2', 'heartbeat-b', true);
SELECT * FROM pg_temp.beat('{heartbeat-1,heartbeat-2}', '{1,1}');
SELECT * FROM pg_temp.beat('{heartbeat-1,heartbeat-2}', '{1,2}');
SELECT * FROM pg_temp.beat('{heartbeat-1}', '{1}');
-- Another status.
SELECT durable.pause_tree(:'w1');
SELECT * FROM pg_temp.beat('{heartbeat-1}', '{1}');
SELECT * FROM pg_temp.beat('{}', '{}');
SELECT durable.resume_tree(:'w1');
SELECT * FROM pg_temp.beat('{}', '{}');
SELECT durable.release('heartbeat-a', :'w1');
SELECT * FROM pg_temp.beat('{heartbeat-1}', '{1}');
SELECT lease, owner FROM durable.attach(:'w1', 'heartbeat-a');
SELECT durable.complete(:'w1');
SELECT status FROM (SELECT * FROM pg_temp.beat('{heartbeat-1}', '{3}')) q;
SELECT * FROM pg_temp.beat('{}', '{}');
-- An unknown id has NULLs.
SELECT workflow_id, status, lease, owner FROM durable.heartbeat('heartbeat-a', '{00000000-0000-7000-8000-000000000000}', '{1}');

-- Inline children are ignored, known or not.
SELECT workflow_id AS w4 FROM durable.start('heartbeat-4', executor_id => 'heartbeat-a') \gset
SELECT created FROM durable.start_child(:'w4', 0, 'heartbeat-child');
SELECT * FROM pg_temp.beat('{heartbeat-4}', '{1}');
SELECT * FROM pg_temp.beat('{heartbeat-4,heartbeat-child}', '{1,1}');
SELECT * FROM pg_temp.beat('{heartbeat-4,heartbeat-child}', '{1,9}');

-- It refreshes nobody else, and changes no workflow.
SET durable.clock_offset = 100;
SELECT * FROM pg_temp.beat('{heartbeat-4,heartbeat-3}', '{1,9}');
SELECT executor_id, abs(extract(epoch FROM last_seen - test.clock())) < 60 AS now FROM durable.executor WHERE executor_id IN ('heartbeat-a', 'heartbeat-b') ORDER BY 1;
RESET durable.clock_offset;
SELECT name, status, lease, executor_id FROM durable.workflow WHERE name LIKE 'heartbeat-_' ORDER BY name;

-- start and attach register an unknown executor and refresh a stale one; a live one only heartbeat refreshes.
SELECT workflow_id AS w5 FROM durable.start('heartbeat-5', executor_id => 'heartbeat-c') \gset
SELECT last_seen AS seen FROM durable.executor WHERE executor_id = 'heartbeat-c' \gset
SET durable.clock_offset = 100;
SELECT lease FROM durable.attach(:'w5', 'heartbeat-c');
SELECT created FROM durable.start('heartbeat-6', executor_id => 'heartbeat-c');
SELECT last_seen = :'seen' AS untouched FROM durable.executor WHERE executor_id = 'heartbeat-c';
SET durable.clock_offset = 200;
SELECT lease FROM durable.attach(:'w5', 'heartbeat-c');
SELECT abs(extract(epoch FROM last_seen - test.clock())) < 60 AS refreshed FROM durable.executor WHERE executor_id = 'heartbeat-c';
SET durable.clock_offset = 400;
SELECT created FROM durable.start('heartbeat-7', executor_id => 'heartbeat-c');
SELECT abs(extract(epoch FROM last_seen - test.clock())) < 60 AS refreshed FROM durable.executor WHERE executor_id = 'heartbeat-c';
RESET durable.clock_offset;

-- Arrays of different length, or one of the two NULL.
SELECT * FROM durable.heartbeat('heartbeat-a', ARRAY[:'w4']::uuid[], '{}');
SELECT * FROM durable.heartbeat('heartbeat-a', ARRAY[:'w4']::uuid[], '{1,2}');
SELECT * FROM durable.heartbeat('heartbeat-a', ARRAY[:'w4']::uuid[], NULL);
SELECT * FROM durable.heartbeat('heartbeat-a', NULL, '{1}');
SELECT * FROM durable.check();
