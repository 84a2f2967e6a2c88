-- start_child(on_parent_end => 'cancel'): queued children that are cancelled when their parent ends, in whatever way, or an
-- inline child does, with which it ends.
\set VERBOSITY sqlstate
SELECT durable.create_queue('pq');
-- A parent with children of all kinds, and one below an inline one; what is to be cancelled is called cancel.
CREATE FUNCTION pg_temp.family(n text, queue text = NULL, max_recovery_attempts int = 100) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  w uuid := (durable.start(n, executor_id => 'ex', queue => family.queue, max_recovery_attempts => family.max_recovery_attempts, max_retries => CASE WHEN family.queue IS NULL THEN 0 ELSE 1 END)).workflow_id;
  i uuid;
  c uuid;
  d uuid;
BEGIN
  PERFORM durable.claim('pq', 'ex', 9);
  PERFORM durable.start_child(w, 0, n || ' 0 leave', queue => 'pq');
  c := (durable.start_child(w, 1, n || ' 1 cancel', queue => 'pq', on_parent_end => 'cancel')).workflow_id;
  i := (durable.start_child(w, 3, n || ' 3 inline')).workflow_id;
  PERFORM durable.start_child(i, 0, n || ' 3 0 leave', queue => 'pq');
  PERFORM durable.start_child(i, 1, n || ' 3 1 cancel', queue => 'pq', on_parent_end => 'cancel');
  d := (durable.start_child(w, 4, n || ' 4 done', queue => 'pq', on_parent_end => 'cancel')).workflow_id;
  PERFORM durable.claim('pq', 'ex', 9);
  PERFORM durable.complete(d);
  PERFORM durable.claim_step(c, 0, 's');
  PERFORM durable.start_child(c, 1, n || ' 1 1 below', queue => 'pq');
  PERFORM durable.start_child(w, 2, n || ' 2 cancel', queue => 'pq', on_parent_end => 'cancel');
  RETURN w;
END $$;
CREATE FUNCTION pg_temp.shown(n text) RETURNS TABLE (name text, status text) LANGUAGE sql AS $$
  SELECT w.name, w.status::text FROM durable.workflow w WHERE w.name LIKE n || '%' ORDER BY 1, w.id $$;

SELECT pg_temp.family('completes') AS w \gset
SELECT durable.complete(:'w', '1', 1);
SELECT * FROM pg_temp.shown('completes');
SELECT sequence, status FROM durable.history(:'w');
SELECT durable.status(durable.step_id(test.id('completes 1 cancel'), 0));
SELECT durable.complete(durable.step_id(test.id('completes 1 cancel'), 0));

SELECT pg_temp.family('fails') AS w \gset
SELECT status FROM durable.fail(:'w', 'f', 1);
SELECT * FROM pg_temp.shown('fails');
-- what was cancelled stays so
SELECT status FROM durable.resume_failed(:'w');
SELECT * FROM pg_temp.shown('fails');

SELECT pg_temp.family('of many') AS w \gset
SELECT completed FROM durable.complete_many(ARRAY[:'w'::uuid]);
SELECT * FROM pg_temp.shown('of many');

SELECT pg_temp.family('goes on') AS w \gset
SELECT status FROM durable.continue_as(:'w', '1', 1);
SELECT * FROM pg_temp.shown('goes on');

SELECT pg_temp.family('is cancelled') AS w \gset
SELECT durable.cancel_tree(:'w') > 0 AS cancelled;
SELECT * FROM pg_temp.shown('is cancelled');

-- a try is no end, the last one is
SELECT pg_temp.family('tries', 'pq') AS w \gset
SELECT status FROM durable.fail(:'w', 'f', 1);
SELECT * FROM pg_temp.shown('tries');
SELECT count(*) > 0 AS claimed FROM durable.claim('pq', 'ex', 9);
SELECT status FROM durable.fail(:'w', 'f', 3);
SELECT * FROM pg_temp.shown('tries');

-- given up by recover
SELECT pg_temp.family('given up') AS w \gset
UPDATE durable.workflow SET max_recovery_attempts = 0 WHERE id = :'w';
SET durable.executor_timeout = '1 h';
SET durable.clock_offset = '2 h';
SELECT durable.heartbeat('ex');
UPDATE durable.workflow SET executor_id = 'dead' WHERE id = :'w';
SELECT count(*) FROM durable.recover('other', handlers => '{none}');
SELECT name FROM durable.recover('other') WHERE name LIKE 'given up%';
SELECT * FROM pg_temp.shown('given up');
RESET durable.clock_offset;
RESET durable.executor_timeout;

-- the inline child alone: what is below it and ends with it
SELECT pg_temp.family('alone') AS w \gset
SELECT durable.complete(test.id('alone 3 inline'));
SELECT * FROM pg_temp.shown('alone');
-- the fast path of a root
SELECT workflow_id AS w FROM durable.start('fast') \gset
SELECT created FROM durable.start_child(:'w', 0, 'fast cancel', queue => 'pq', on_parent_end => 'cancel');
SELECT durable.complete(:'w', lease => 1);
SELECT * FROM pg_temp.shown('fast');

SELECT durable.start_child(test.id('alone'), 9, 'no queue', on_parent_end => 'cancel');
SELECT durable.start_child(test.id('alone'), 9, 'odd', queue => 'pq', on_parent_end => 'odd');
SELECT durable.start_child(test.id('alone'), 9, 'odd', queue => 'pq', on_parent_end => NULL);
SELECT * FROM durable.check();
