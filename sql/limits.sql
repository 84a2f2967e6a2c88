-- What claims in a queue with limits keep: how many slots are free, where a count begins. Never more than the limit, whatever ends meanwhile.
\pset null -
\set VERBOSITY sqlstate
SET durable.clock_offset = 0;
SELECT durable.create_queue('limits', 5);
CREATE TEMP SEQUENCE limits;
CREATE FUNCTION pg_temp.put(n int) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(durable.start('limits ' || nextval('pg_temp.limits'), queue => 'limits')) FROM generate_series(1, n)
$$;
CREATE FUNCTION pg_temp.take(n int = 1) RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM durable.claim('limits', 'limits', n)$$;
CREATE FUNCTION pg_temp.finish(n int) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(durable.complete(id)) FROM (SELECT id FROM durable.slot WHERE queue_name = 'limits' ORDER BY slot LIMIT n) s
$$;
CREATE VIEW pg_temp.kept AS SELECT free, next_slot FROM durable.queue_count WHERE queue_name = 'limits';
SELECT pg_temp.put(100);
-- The first counts; what it leaves is known to the next, which does not.
SELECT pg_temp.take();
SELECT * FROM pg_temp.kept;
SELECT pg_temp.take(2), pg_temp.finish(1);
SELECT * FROM pg_temp.kept;
SELECT pg_temp.take(2);
SELECT * FROM pg_temp.kept;
-- It is used up: counted again.
SELECT pg_temp.take(9);
SELECT * FROM pg_temp.kept;
SELECT pg_temp.take(9), pg_temp.finish(2), pg_temp.take(1);
SELECT * FROM pg_temp.kept;
-- A rollback takes it back with the claim.
BEGIN;
SAVEPOINT s;
SELECT pg_temp.take(9);
SELECT * FROM pg_temp.kept;
ROLLBACK TO s;
SELECT * FROM pg_temp.kept;
SELECT pg_temp.finish(3);
SELECT pg_temp.take(9);
COMMIT;
SELECT * FROM pg_temp.kept;
-- alter_queue: nothing is known any more; what was claimed without a limit counts as well.
SELECT pg_temp.finish(5), durable.alter_queue('limits', 9), pg_temp.take();
SELECT * FROM pg_temp.kept;
SELECT durable.alter_queue('limits'), pg_temp.take(6);
SELECT * FROM pg_temp.kept;
SELECT durable.alter_queue('limits', 9);
SELECT * FROM pg_temp.kept;
SELECT pg_temp.take(9), pg_temp.take(9);
SELECT count(*), count(slot), max(slot) FROM durable.workflow WHERE queue_name = 'limits' AND status = 'RUNNING';
SELECT * FROM durable.check();
-- Dead slots in the way: a count that has walked far leaves where the next begins, and who is taken before.
SELECT pg_temp.put(1), durable.alter_queue('limits', 4), pg_temp.finish(6);
DO $$
BEGIN
  FOR i IN 1..1500 LOOP
    PERFORM pg_temp.put(1), pg_temp.take(1);
    PERFORM durable.complete(id) FROM (SELECT id FROM durable.slot WHERE queue_name = 'limits' ORDER BY slot DESC LIMIT 1) s;
  END LOOP;
END $$;
SELECT free <= 1 AS free, next_slot > slots_from AS later, slots_from > 1000 AS far, cardinality(early) FROM durable.queue_count WHERE queue_name = 'limits';
SELECT pg_temp.take(9), pg_temp.take(9);
SELECT count(*) FROM durable.slot WHERE queue_name = 'limits';
SELECT * FROM durable.check();
SELECT count(durable.cancel_tree(id)) > 0 FROM durable.workflow WHERE queue_name = 'limits' AND status IN ('PENDING', 'RUNNING');
SELECT durable.drop_queue('limits');
SELECT * FROM durable.queue_count WHERE queue_name = 'limits';
