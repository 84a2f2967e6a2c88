-- claim_steps(): many positions at once, each as claim_step would do it.
\pset null -
-- A workflow with a step in every status, from position 0 on; twice, one for claim_step and one for claim_steps.
CREATE FUNCTION pg_temp.scene(n text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  w uuid := (durable.start(n, executor_id => 'claim-steps')).workflow_id;
BEGIN
  FOR i IN 0 .. 7 LOOP
    PERFORM durable.claim_step(w, i, 's' || i, max_retries => i % 2, backoff => CASE i WHEN 3 THEN '1 day' ELSE '0' END::interval, executor_id => 'claim-steps-e', lease => 1,
                               timeout => CASE i WHEN 7 THEN '0' END::interval);
  END LOOP;
  PERFORM durable.complete(durable.step_id(w, 0), '{"n": 0}');
  PERFORM durable.fail(durable.step_id(w, i), 'bad ' || i) FROM generate_series(1, 3) i;
  PERFORM durable.start_child(w, 8, n || ' child');
  PERFORM durable.claim_step(w, 9, 'other name');
  PERFORM durable.claim_step(w, 10, 's10', kind => 'TRANSACTION');
END $$;
CREATE FUNCTION pg_temp.answer(n text, action durable.claim_action, output jsonb, error text, attempt int, run_at timestamptz, step_id uuid) RETURNS text LANGUAGE sql AS $$
  SELECT replace(test.mask(concat_ws(' ', action, coalesce(output::text, '-'), coalesce(error, '-'), coalesce(attempt::text, '-'), test.seconds(run_at), step_id)), n, '')
$$;
CREATE FUNCTION pg_temp.singles(n text, first int, count int, lease int, executor text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  r record;
BEGIN
  FOR i IN first .. first + count - 1 LOOP
    BEGIN
      SELECT * INTO r FROM durable.claim_step(test.id(n), i, 's' || i, to_jsonb(i), lease => lease, executor_id => executor, max_retries => 2, backoff => '1 s', max_backoff => '1 min', timeout => '1 hour');
      RETURN NEXT i || ' ' || pg_temp.answer(n, r.action, r.output, r.error, r.attempt, r.run_at, r.step_id);
    EXCEPTION WHEN OTHERS THEN
      RETURN NEXT i || ' ' || pg_temp.answer(n, 'STOP', NULL, SQLSTATE || ': ' || SQLERRM, NULL, NULL, durable.step_id(test.id(n), i));
    END;
  END LOOP;
END $$;
CREATE FUNCTION pg_temp.many(n text, first int, count int, lease int, executor text) RETURNS SETOF text LANGUAGE sql AS $$
  SELECT r.sequence || ' ' || pg_temp.answer(n, r.action, r.output, r.error, r.attempt, r.run_at, r.step_id)
    FROM durable.claim_steps(test.id(n), first, ARRAY(SELECT 's' || i FROM generate_series(first, first + count - 1) i), ARRAY(SELECT to_jsonb(i) FROM generate_series(first, first + count - 1) i),
                             lease => lease, executor_id => executor, max_retries => 2, backoff => '1 s', max_backoff => '1 min', timeout => '1 hour') r
$$;
CREATE FUNCTION pg_temp.both(first int, count int, lease int = NULL, executor text = NULL, what text = '') RETURNS TABLE (many text, single text) LANGUAGE sql AS $$
  SELECT m, CASE WHEN s IS DISTINCT FROM m THEN 'SINGLE: ' || s ELSE '' END
    FROM ROWS FROM (pg_temp.many('claim-many' || what, first, count, lease, executor), pg_temp.singles('claim-single' || what, first, count, lease, executor)) r (m, s)
$$;
CREATE FUNCTION pg_temp.differences(what text = '') RETURNS SETOF jsonb LANGUAGE sql AS $$
  WITH s AS (SELECT w.name, to_jsonb(s) - ARRAY['workflow_id', 'child_id', 'started_at', 'completed_at', 'failed_at', 'recorded_at', 'run_at', 'deadline', 'name'] || jsonb_build_object('left', s.deadline - s.started_at) AS r
               FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id)
  (SELECT r FROM s WHERE name = 'claim-many' || what EXCEPT SELECT r FROM s WHERE name = 'claim-single' || what)
  UNION ALL (SELECT r FROM s WHERE name = 'claim-single' || what EXCEPT SELECT r FROM s WHERE name = 'claim-many' || what)
$$;
SELECT pg_temp.scene('claim-many'), pg_temp.scene('claim-single') \gset

-- REPLAY, FAILED, EXECUTE of what is due, WAIT, LOCKED, a step past its timeout, a child, another name, another kind, new ones.
SELECT * FROM pg_temp.both(0, 14);
SELECT * FROM pg_temp.differences();
-- Again: nothing is due any more.
SELECT * FROM pg_temp.both(0, 14);
-- Whoever holds a step gets it again, the same attempt.
SELECT * FROM pg_temp.both(4, 2, 1, 'claim-steps-e');
SELECT * FROM pg_temp.both(20, 2, 1, 'claim-steps-e');
SELECT * FROM pg_temp.both(20, 3, 1, 'claim-steps-e');
-- What a later lease finds RUNNING under an older one.
SELECT count(durable.attach(test.id(n), 'claim-steps-f', true)) FROM unnest('{claim-many,claim-single}'::text[]) n;
SELECT * FROM pg_temp.both(2, 6, 2, 'claim-steps-f');
SELECT * FROM pg_temp.differences();
-- PAUSED steps are met where the workflow runs again and they do not.
UPDATE durable.step SET status = 'PAUSED' WHERE sequence = 3 AND workflow_id IN (test.id('claim-many'), test.id('claim-single'));
SELECT * FROM pg_temp.both(2, 3);
UPDATE durable.step SET status = 'PENDING' WHERE sequence = 3 AND workflow_id IN (test.id('claim-many'), test.id('claim-single'));
-- A finished workflow still answers its outcomes, and nothing else.
SELECT durable.complete(durable.step_id(test.id(n), 11), '[11]'), durable.complete(test.id(n)) FROM unnest('{claim-many,claim-single}'::text[]) n;
SELECT * FROM pg_temp.both(0, 15);
SELECT * FROM pg_temp.differences();

-- Conditions of the workflow are errors, and nothing is claimed.
\set VERBOSITY terse
SELECT workflow_id AS w FROM durable.start('claim-steps', executor_id => 'claim-steps') \gset
SELECT test.try($$SELECT * FROM durable.claim_steps('00000000-0000-7000-8000-000000000000', 0, '{a,b}')$$);
SELECT test.try($$SELECT * FROM durable.claim_steps(durable.step_id(test.id('claim-many'), 0), 0, '{a,b}')$$);
SELECT test.try($$SELECT * FROM durable.claim_steps(test.id('claim-steps'), 0, '{a,b}', lease => 2)$$);
SELECT durable.pause_tree(:'w');
SELECT test.try($$SELECT * FROM durable.claim_steps(test.id('claim-steps'), 0, '{a,b}')$$);
SELECT durable.resume_tree(:'w'), durable.set_timeout(:'w', '0');
SELECT test.try($$SELECT * FROM durable.claim_steps(test.id('claim-steps'), 0, '{a,b}')$$);
SELECT durable.set_timeout(:'w', NULL), durable.release('claim-steps', :'w');
SELECT test.try($$SELECT * FROM durable.claim_steps(test.id('claim-steps'), 0, '{a,b}')$$);
SELECT durable.cancel_tree(:'w');
SELECT test.try($$SELECT * FROM durable.claim_steps(test.id('claim-steps'), 0, '{a,b}')$$);
SELECT count(*) FROM durable.step WHERE workflow_id = :'w';

-- A fan-out: claimed, completed and replayed in one call each.
SELECT workflow_id AS w FROM durable.start('claim-steps fan-out', executor_id => 'claim-steps') \gset
SELECT sequence, action, attempt FROM durable.claim_steps(:'w', 5, '{resize,resize,send}', '{"\"a.png\"","\"b.png\"",NULL}', kind => 'TRANSACTION', lease => 1, executor_id => 'claim-steps');
SELECT sequence, name, kind, status, lease, attempt, executor_id, input, max_retries, backoff FROM durable.step WHERE workflow_id = :'w' ORDER BY sequence;
SELECT completed FROM durable.complete_many(ARRAY(SELECT durable.step_id(:'w', g) FROM generate_series(5, 7) g), '{5,6,NULL}', '{1,1,1}', '{1,1,1}');
-- A replay takes no lock and no transaction id.
BEGIN READ ONLY;
SELECT sequence, action, output, attempt FROM durable.claim_steps(:'w', 5, '{resize,resize,send}', kind => 'TRANSACTION', lease => 1, executor_id => 'claim-steps');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid, count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
\set VERBOSITY sqlstate
SELECT sequence, action, output, attempt FROM durable.claim_steps(:'w', 5, '{resize,resize,send,new}', kind => 'TRANSACTION');
ROLLBACK;
BEGIN;
SELECT count(*) FROM durable.claim_steps(:'w', 20, '{x,y}');
ROLLBACK;
SELECT count(*) FROM durable.history(:'w');

-- The first and the last position, as many as there may be, and one more; nothing.
SET durable.max_steps = 0;
SELECT sequence, action FROM durable.claim_steps(:'w', 0, '{first}') UNION ALL SELECT sequence, action FROM durable.claim_steps(:'w', 16777212, '{last but one,last}');
SELECT action, count(*), min(sequence), max(sequence) FROM durable.claim_steps(:'w', 1000, array_fill('x'::text, '{1000}')) GROUP BY 1;
SELECT count(*) FROM durable.claim_steps(:'w', 1000, array_fill('x'::text, '{1001}'));
SELECT count(*) FROM durable.claim_steps(:'w', 16777212, '{a,b,c}');
SELECT * FROM durable.claim_steps(:'w', 0, '{}');
SELECT * FROM durable.claim_steps('00000000-0000-7000-8000-000000000000', 0, '{}', '{}');
SELECT * FROM durable.check();
