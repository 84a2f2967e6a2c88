-- Identity: UUID version 7 with a bucket and a position, and the arithmetic on it.
SET client_encoding = 'UTF8';
\pset null -
\set VERBOSITY sqlstate
CREATE FUNCTION pg_temp.bits(u uuid) RETURNS bit(128) LANGUAGE sql AS $$ SELECT ('x' || replace(u::text, '-', ''))::bit(128) $$;

SELECT workflow_id AS w FROM durable.start('identity-1') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's') \gset
SELECT workflow_id AS c FROM durable.start_child(:'w', 1, 'identity-child') \gset
SELECT workflow_id AS g FROM durable.start_child(:'c', 7, 'identity-grandchild') \gset

-- 48 bits Unix milliseconds, version 7, 12 bits fraction, variant 10, 12 bits bucket, 26 random, 24 bits position.
SELECT what, abs(substring(b FROM 1 FOR 48)::bigint - extract(epoch FROM clock_timestamp()) * 1000) < 600000 AS milliseconds,
       substring(b FROM 49 FOR 4)::int AS version, substring(b FROM 65 FOR 2) AS variant,
       substring(b FROM 67 FOR 12)::int = durable.bucket('identity-1') AS bucket, substring(b FROM 105 FOR 24)::int AS position
  FROM (VALUES ('workflow', pg_temp.bits(:'w')), ('step', pg_temp.bits(:'s')), ('child', pg_temp.bits(:'c')), ('grandchild', pg_temp.bits(:'g'))) v(what, b);

-- A step's id is its workflow's with sequence + 1 in the position; the id is known before the step runs.
SELECT :'s' = durable.step_id(:'w', 0) AS same, left(:'s', 30) = left(:'w', 30) AS prefix;
SELECT n, right(durable.step_id(:'w', n)::text, 6) AS position, left(durable.step_id(:'w', n)::text, 30) = left(:'w', 30) AS prefix
  FROM unnest(ARRAY[0, 1, 254, 255, 65535, 1048575, 16777212, 16777213]) n;
-- sequence is 0 .. 16777213, anything else is 22023.
SELECT durable.step_id(:'w', -1);
SELECT durable.step_id(:'w', 16777214);
SELECT durable.step_id(:'w', 2147483647);
SELECT durable.step_id(:'w', -2147483648);
-- It looks nothing up.
SELECT durable.step_id('00000000-0000-7000-8000-000000000000', 0);
SET durable.max_steps = 0;
SELECT action, step_id = durable.step_id(:'w', 16777213) AS step_id FROM durable.claim_step(:'w', 16777213, 'last');
SELECT action FROM durable.claim_step(:'w', 16777214, 'past the last');

-- The bucket: the top 12 bits of the CRC-32C of the root's name. CRC-32C of 123456789 is 0xE3069283.
SELECT durable.bucket('123456789') = x'E30'::int AS known, durable.bucket('123456789');
-- Others, computed outside.
SELECT CASE WHEN octet_length(n) < 100 THEN n END AS name, durable.bucket(n) = b AS known
  FROM (VALUES ('a', 3101), ('The quick brown fox jumps over the lazy dog', 550), ('it''s', 2825), ('zażółć gęślą jaźń', 756), ('日本語', 4058),
               ('🚀', 3146), (repeat('x', 1024), 3767)) v(n, b);
-- The same by id for the workflow, its steps, and every workflow of the tree.
SELECT durable.bucket(:'w'::uuid) = durable.bucket('identity-1') AS workflow, durable.bucket(:'s'::uuid) = durable.bucket('identity-1') AS step,
       durable.bucket(:'c'::uuid) = durable.bucket('identity-1') AS child, durable.bucket(:'g'::uuid) = durable.bucket('identity-1') AS grandchild,
       durable.bucket('identity-child') <> durable.bucket('identity-1') AS of_its_own_name;
-- All 4096 are in use and no more.
SELECT min(b) >= 0 AS low, max(b) <= 4095 AS high, count(DISTINCT b) > 4000 AS spread FROM (SELECT durable.bucket('name ' || i) AS b FROM generate_series(1, 50000) i) q;

-- Ids sort by time of creation, and none is made twice.
SELECT count(DISTINCT id) AS ids, array_agg(id ORDER BY n) = array_agg(id ORDER BY id) AS sorted
  FROM (SELECT n, (durable.start('identity-many-' || n)).workflow_id AS id FROM generate_series(1, 1000) n) q;
SELECT array_agg(workflow_id ORDER BY n) = array_agg(workflow_id ORDER BY workflow_id) AS children_sorted
  FROM (SELECT n, (durable.start_child(:'w', n, 'identity-child')).workflow_id FROM generate_series(100, 199) n) q;
SELECT array_agg(name ORDER BY id) = array_agg(name ORDER BY created_at, id) AS by_created_at FROM durable.workflow WHERE name LIKE 'identity-many-%';

-- A name counts once among the active roots: a child may have it too, and a root may have a child's.
SELECT created FROM durable.start_child(:'w', 2, 'identity-1');
SELECT created, workflow_id = :'w' AS the_first FROM durable.start('identity-1');
SELECT created, workflow_id <> :'c' AS its_own FROM durable.start('identity-child');
SELECT * FROM durable.check();
