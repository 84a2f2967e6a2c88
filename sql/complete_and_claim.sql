-- complete_and_claim(): completes one step and claims the next in one call.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('complete-and-claim-1') \gset
SELECT step_id AS s0 FROM durable.claim_step(:'w', 0, 'zero', lease => 1, executor_id => 'cac-a') \gset

-- sequence defaults to the next number; the arguments from input on are the next step's.
SELECT step_id AS s1, action, output, error, attempt, run_at FROM durable.complete_and_claim(:'s0', '{"n": 0}', 'one', input => '[1]', kind => 'TRANSACTION', lease => 1, executor_id => 'cac-a', max_retries => 2, backoff => '100 s', backoff_multiplier => 3, max_backoff => '200 s', timeout => '1 hour', attempt => 1) \gset
SELECT :'s1' = durable.step_id(:'w', 1) AS next, :'action' AS action, :'attempt' AS attempt;
SELECT sequence, name, kind, status, lease, attempt, executor_id, input, output, max_retries, backoff, backoff_multiplier, max_backoff, timeout
  FROM durable.step WHERE workflow_id = :'w' ORDER BY sequence;
-- A repeated call after a lost reply: the completion is there already, the claim is the same lease's and executor's: EXECUTE, the same attempt.
SELECT step_id = :'s1' AS next, action, attempt FROM durable.complete_and_claim(:'s0', '{"n": 0}', 'one', kind => 'TRANSACTION', lease => 1, executor_id => 'cac-a', timeout => '1 hour', attempt => 1);
-- From elsewhere: LOCKED.
SELECT step_id = :'s1' AS next, action, attempt FROM durable.complete_and_claim(:'s0', '{"n": 0}', 'one', kind => 'TRANSACTION', lease => 1, executor_id => 'cac-b');
SELECT action FROM durable.complete_and_claim(:'s0', '{"n": 0}', 'one', kind => 'TRANSACTION');
-- An explicit sequence.
SELECT step_id = durable.step_id(:'w', 10) AS next, action, attempt FROM durable.complete_and_claim(:'s1', NULL, 'ten', sequence => 10, lease => 1);
SELECT step_id = durable.step_id(:'w', 11) AS next, action, attempt FROM durable.complete_and_claim(durable.step_id(:'w', 10), '10', 'eleven', NULL);
SELECT sequence, name, status, output FROM durable.history(:'w');

-- The other answers of 5.1: REPLAY, FAILED, WAIT.
SELECT step_id = :'s1' AS next, action, output, error FROM durable.complete_and_claim(durable.step_id(:'w', 11), '11', 'one', sequence => 1, kind => 'TRANSACTION');
SELECT action FROM durable.claim_step(:'w', 12, 'failed');
SELECT status FROM durable.fail(durable.step_id(:'w', 12), 'bad');
SELECT action, output, error FROM durable.complete_and_claim(durable.step_id(:'w', 11), '11', 'failed');
SELECT action FROM durable.claim_step(:'w', 13, 'waits', max_retries => 1, backoff => '100 s');
SELECT status, run_at AS due FROM durable.fail(durable.step_id(:'w', 13), 'not yet') \gset
SELECT action FROM durable.claim_step(:'w', 14, 'before');
SELECT action, run_at = :'due' AS run_at FROM durable.complete_and_claim(durable.step_id(:'w', 14), '14', 'waits', sequence => 13);
SELECT durable.status(durable.step_id(:'w', 14));

-- An error of the completion is an error, and nothing is claimed: no such step, a lease, an attempt, another output, not RUNNING.
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 99), '1', 'next');
SELECT action FROM durable.complete_and_claim('00000000-0000-7000-8000-000000000001', '1', 'next');
SELECT action FROM durable.claim_step(:'w', 20, 'twenty');
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', 'next', lease => 2);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', 'next', attempt => 2);
SELECT action FROM durable.complete_and_claim(:'s0', '"other"', 'next', sequence => 21);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 12), '1', 'next', sequence => 21);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 13), '1', 'next', sequence => 21);
-- So is a bad argument, also one of the claim: nothing is completed.
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', '');
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', NULL);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', 'next', sequence => -1);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', 'next', kind => 'WORKFLOW');
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 20), '1', 'next', max_retries => -1);
SELECT durable.status(durable.step_id(:'w', 20)), (SELECT count(*) FROM durable.step WHERE workflow_id = :'w' AND sequence = 21) AS claimed;

-- STOP: a legal completion is never lost, whatever the claim meets. A helper: a fresh workflow with step 0 RUNNING is put
-- into a state, then step 0 is completed and step 1 claimed.
CREATE FUNCTION pg_temp.stop(why text, state text) RETURNS TABLE (code text, action text, next boolean, message boolean, step_0 text, output jsonb, step_1 text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  r record;
BEGIN
  w := (durable.start('complete-and-claim-' || why, executor_id => 'complete-and-claim-a', timeout => '1 hour')).workflow_id;
  PERFORM durable.claim_step(w, 0, 'zero');
  IF state = 'step' THEN
    PERFORM durable.claim_step(w, 1, CASE WHEN why = 'name' THEN 'other' ELSE 'one' END, kind => CASE WHEN why = 'kind' THEN 'TRANSACTION' ELSE 'STEP' END::durable.task_kind);
  ELSIF state = 'child' THEN
    PERFORM durable.start_child(w, 1, 'one');
  ELSIF state = 'deadline' THEN
    PERFORM set_config('durable.clock_offset', '4000', true);
  ELSIF state = 'COMPLETED' THEN
    PERFORM durable.complete(w);
  ELSIF state = 'FAILED' THEN
    PERFORM durable.fail(w, 'bad');
  ELSIF state = 'completed, CANCELLED' THEN
    PERFORM durable.complete(durable.step_id(w, 0), '0');
    PERFORM durable.cancel_tree(w);
  ELSIF state = 'CANCELLED' THEN
    PERFORM durable.cancel_tree(w);
  ELSIF state = 'PAUSED' THEN
    PERFORM durable.pause_tree(w);
  ELSIF state = 'PENDING' THEN
    PERFORM durable.release('complete-and-claim-a', w);
  END IF;
  SELECT * INTO r FROM durable.complete_and_claim(durable.step_id(w, 0), '0', 'one');
  RETURN QUERY SELECT left(r.error, 7), r.action::text, r.step_id = durable.step_id(w, 1), length(r.error) > 10,
                      durable.status(durable.step_id(w, 0))::text, durable.output(durable.step_id(w, 0)),
                      (SELECT s.status::text FROM durable.step s WHERE s.workflow_id = w AND s.sequence = 1);
  PERFORM set_config('durable.clock_offset', '0', true);
END $$;
SELECT * FROM pg_temp.stop('pending', 'PENDING');
SELECT * FROM pg_temp.stop('paused', 'PAUSED');
SELECT * FROM pg_temp.stop('cancelled', 'completed, CANCELLED');
SELECT * FROM pg_temp.stop('late', 'deadline');
SELECT * FROM pg_temp.stop('name', 'step');
SELECT * FROM pg_temp.stop('kind', 'step');
SELECT * FROM pg_temp.stop('child', 'child');
SELECT * FROM pg_temp.stop('completed', 'COMPLETED');
SELECT * FROM pg_temp.stop('failed', 'FAILED');
-- Where cancel took the RUNNING step, its completion is not legal: WF005.
SELECT * FROM pg_temp.stop('cancelled-running', 'CANCELLED');
-- STOP once, STOP again.
SELECT action, left(error, 7) FROM durable.complete_and_claim(durable.step_id(test.id('complete-and-claim-completed'), 0), '0', 'one');
SELECT action, left(error, 7) FROM durable.complete_and_claim(durable.step_id(test.id('complete-and-claim-completed'), 0), '1', 'one');
-- What is recorded already is replayed under a finished workflow, not stopped.
SELECT workflow_id AS w FROM durable.start('complete-and-claim-2') \gset
SELECT action FROM durable.claim_step(:'w', 1, 'one');
SELECT durable.complete(durable.step_id(:'w', 1), '"one"');
SELECT action FROM durable.claim_step(:'w', 0, 'zero');
SELECT durable.complete(:'w');
SELECT action, output FROM durable.complete_and_claim(durable.step_id(:'w', 0), '"zero"', 'one');

-- A lease raised in between: the completion is not the caller's any more, and nothing is recorded.
SELECT workflow_id AS w FROM durable.start('complete-and-claim-3') \gset
SELECT action FROM durable.claim_step(:'w', 0, 'zero', lease => 1);
SELECT lease FROM durable.attach(:'w', 'cac-b', true);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 0), '0', 'one', lease => 1);
SELECT durable.status(durable.step_id(:'w', 0));

-- A workflow of n steps: n + 1 calls.
SELECT workflow_id AS w FROM durable.start('complete-and-claim-4') \gset
SELECT action FROM durable.claim_step(:'w', 0, 'step 0');
SELECT string_agg(DISTINCT action::text, ' ') AS actions, count(*) FROM (SELECT (durable.complete_and_claim(durable.step_id(:'w', n), to_jsonb(n), 'step ' || n + 1)).action FROM generate_series(0, 98) n) q;
SELECT durable.complete(durable.step_id(:'w', 99), '99'), durable.complete(:'w');
SELECT count(*), sum(output::int) FROM durable.history(:'w') WHERE status = 'COMPLETED';
SELECT * FROM durable.check();
