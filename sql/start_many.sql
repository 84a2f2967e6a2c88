-- start_many(): many roots at once, each as start would do it, one after the other.
\pset null -
SELECT durable.create_queue('start-many');

-- What each call of start answers, in order, and what start_many does: the same, but for ids. (Names with those prefixes.)
CREATE FUNCTION pg_temp.singles(p text, names text[], inputs jsonb[], executor text, queue text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  FOR n IN 1 .. cardinality(names) LOOP
    SELECT * INTO r FROM durable.start(p || names[n], inputs[n], 'h', executor_id => executor, queue => queue, priority => 3, timeout => '1 hour', max_recovery_attempts => 7, app_version => 'v');
    RETURN NEXT concat_ws(' ', n, replace(test.mask(r.workflow_id::text), p, ''), r.created, r.status, r.lease, coalesce(r.owner, '-'));
  END LOOP;
END $$;
CREATE FUNCTION pg_temp.many(p text, names text[], inputs jsonb[], executor text, queue text) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT concat_ws(' ', r.position, replace(test.mask(r.workflow_id::text), p, ''), r.created, r.status, r.lease, coalesce(r.owner, '-'))
    FROM durable.start_many(ARRAY(SELECT p || n FROM unnest(names) n), inputs, 'h', executor_id => executor, queue => queue, priority => 3, timeout => '1 hour', max_recovery_attempts => 7, app_version => 'v') r
   ORDER BY r.position
$$;
CREATE FUNCTION pg_temp.both(names text[], inputs jsonb[] = NULL, executor text = NULL, queue text = NULL) RETURNS TABLE (many text, single text) LANGUAGE sql AS $$
  SELECT m, CASE WHEN s IS DISTINCT FROM m THEN 'SINGLE: ' || s ELSE '' END
    FROM ROWS FROM (pg_temp.many('many ', names, inputs, executor, queue), pg_temp.singles('single ', names, inputs, executor, queue)) r (m, s)
$$;
CREATE VIEW pg_temp.rows AS
  SELECT split_part(name, ' ', 1) AS p, split_part(name, ' ', 2) AS name, handler, status, lease, queue_name, priority, executor_id, app_version, input, timeout, max_recovery_attempts,
         root_id = id AS root, started_at IS NOT NULL AS started, deadline - started_at AS "left", run_at IS NOT NULL AS waits
    FROM durable.workflow WHERE name ~ '^(many|single) ';

-- New ones, in the order of the array; a name twice is the same workflow, which its executor attaches to again.
SELECT * FROM pg_temp.both('{b,a,c,a,b,a}', '{1,"{\"x\": 2}",NULL,4,5,6}', 'start-many-e');
SELECT DISTINCT name, status, lease, priority, executor_id, app_version, input, "left", waits FROM pg_temp.rows ORDER BY name;
-- Ids sort as the array does.
SELECT array_agg(name ORDER BY id) FROM durable.workflow WHERE name ~ '^many ';
-- A restart attaches, another executor joins while the owner lives, nobody joins; with new ones among them.
SELECT * FROM pg_temp.both('{a,b,d}', executor => 'start-many-e');
SELECT * FROM pg_temp.both('{a,b,d,e,e}', executor => 'start-many-f');
SELECT * FROM pg_temp.both('{a,e,g,g}');
-- In a queue, where nobody owns what waits.
SELECT * FROM pg_temp.both('{q1,q2,q1,a}', '{1,2,3,4}', 'start-many-f', 'start-many');
SELECT * FROM pg_temp.both('{q1,q3}', executor => 'start-many-f');
-- Paused, finished, released, of a dead executor, without one.
SELECT durable.pause_tree(test.id(p || 'a')), durable.cancel_tree(test.id(p || 'b')), durable.complete(test.id(p || 'c')), durable.release('start-many-e', test.id(p || 'd')),
       durable.release('start-many-f', test.id(p || 'e')) FROM unnest('{"many ","single "}'::text[]) p;
SELECT * FROM pg_temp.both('{a,b,c,d,d}');
SELECT * FROM pg_temp.both('{e,g,a,e,h}', executor => 'start-many-g');
SET durable.clock_offset = 1000;
SELECT * FROM pg_temp.both('{e,e,q3,g,i}', executor => 'start-many-h');
RESET durable.clock_offset;
-- The rows are the same.
(SELECT name, handler, status, lease, queue_name, priority, executor_id, app_version, input, timeout, max_recovery_attempts, root, started, "left", waits FROM pg_temp.rows WHERE p = 'many'
 EXCEPT ALL SELECT name, handler, status, lease, queue_name, priority, executor_id, app_version, input, timeout, max_recovery_attempts, root, started, "left", waits FROM pg_temp.rows WHERE p = 'single')
UNION ALL
(SELECT name, handler, status, lease, queue_name, priority, executor_id, app_version, input, timeout, max_recovery_attempts, root, started, "left", waits FROM pg_temp.rows WHERE p = 'single'
 EXCEPT ALL SELECT name, handler, status, lease, queue_name, priority, executor_id, app_version, input, timeout, max_recovery_attempts, root, started, "left", waits FROM pg_temp.rows WHERE p = 'many');
SELECT count(*) FROM pg_temp.rows;
SELECT executor_id FROM durable.executor WHERE executor_id ~ '^start-many' ORDER BY 1;

-- Whoever becomes the owner fences the inline descendants, too; a queued child is on its own.
SELECT workflow_id AS p FROM durable.start('start-many parent', executor_id => 'start-many-e') \gset
SELECT workflow_id AS c FROM durable.start_child(:'p', 0, 'start-many child') \gset
SELECT count(durable.start_child(:'c', 0, 'start-many grandchild')), count(durable.start_child(:'p', 1, 'start-many other child', queue => 'start-many'));
SELECT position, created, lease, owner FROM durable.start_many('{start-many parent,start-many new,start-many parent}', executor_id => 'start-many-e');
SELECT task, status, lease FROM test.show(:'p');

-- Later, in a queue; a queue that there is not; nothing.
SELECT position, created, status FROM durable.start_many('{start-many later 1,start-many later 2}', queue => 'start-many', run_at => '2100-01-01');
SELECT name, run_at = '2100-01-01' AS later FROM durable.workflow WHERE name ~ '^start-many later' ORDER BY name;
SELECT test.try($$SELECT * FROM durable.start_many('{start-many nowhere}', queue => 'nowhere')$$);
SELECT test.id('start-many nowhere');
SELECT * FROM durable.start_many('{}');
SELECT * FROM durable.start_many('{}', '{}', queue => 'nowhere');

-- What is only joined is answered without a lock or a transaction id, and where nothing may be written.
BEGIN READ ONLY;
SELECT position, created, lease, owner FROM durable.start_many('{start-many parent,start-many new,start-many parent}');
SELECT position, created, lease, owner FROM durable.start_many('{start-many later 1,many a}', executor_id => 'start-many-never seen');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid, count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
\set VERBOSITY sqlstate
SELECT position FROM durable.start_many('{start-many parent,start-many one more}');
ROLLBACK;
SELECT count(*) FROM durable.executor WHERE executor_id = 'start-many-never seen';
-- A rollback takes all back.
BEGIN;
SELECT count(*) FROM durable.start_many('{start-many back 1,start-many back 2}', executor_id => 'start-many-back');
ROLLBACK;
SELECT count(*) FROM durable.workflow WHERE name ~ '^start-many back';

-- As many as there may be, half of them twice; one more is too many.
SELECT created, count(*), count(DISTINCT workflow_id), min(lease), max(lease) FROM durable.start_many((SELECT array_agg('start-many ' || g % 500) FROM generate_series(1, 1000) g), executor_id => 'start-many-e') GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM durable.start_many((SELECT array_agg('start-many ' || g) FROM generate_series(1, 1001) g));
-- A name is taken behind one that is free: it is joined, or all is refused; the others are new.
SELECT position, created, status, owner FROM durable.start_many('{start-many guess 2,start-many parent,start-many guess 1}', executor_id => 'start-many-e');
SELECT position, created, status, owner FROM durable.start_many('{start-many guess 0,start-many guess 1,start-many guess 3}', executor_id => 'start-many-other');
\set VERBOSITY sqlstate
SELECT position FROM durable.start_many('{start-many after,start-many guess 4,start-many parent}', if_active => 'refuse');
\set VERBOSITY default
SELECT count(*) FROM durable.workflow WHERE name IN ('start-many after', 'start-many guess 4');
SELECT count(*), count(DISTINCT id) FROM durable.workflow WHERE name ~ '^start-many guess';
-- What is only joined is written nowhere, also where that may be done.
BEGIN;
SELECT position, created FROM durable.start_many('{start-many guess 0,start-many guess 1,start-many parent}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid;
ROLLBACK;
SELECT * FROM durable.check();
