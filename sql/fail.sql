-- fail(): records a failure; retries, backoff, repetition.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('fail-1') \gset

-- No retries: FAILED at once. Again with the same error: the same answer; another error is WF002.
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', lease => 1) \gset
SELECT * FROM durable.fail(:'s', 'it''s $1 %s bad', 1, 1);
SELECT * FROM durable.fail(:'s', 'it''s $1 %s bad', 1, 1);
SELECT * FROM durable.fail(:'s', 'worse', 1, 1);
SELECT status, error, output, retry_count, completed_at >= started_at AS ended FROM durable.step WHERE workflow_id = :'w' AND sequence = 0;
SELECT durable.error(:'s'), durable.status(:'s'), durable.is_completed(:'s');

-- The attempts are 1 + max_retries. Backoff before retry n: backoff * multiplier^(n-1), from the moment of the failure.
-- A helper that lets a step fail n times, each time when it has come due.
CREATE FUNCTION pg_temp.fails(w uuid, seq int, n int, max_retries int, backoff interval, multiplier float8 = 2, max_backoff interval = NULL) RETURNS TABLE (attempt int, status text, retry_count int, in_seconds text) LANGUAGE plpgsql AS $$
DECLARE
  c record;
  f record;
BEGIN
  FOR i IN 1 .. n LOOP
    c := durable.claim_step(w, seq, 's', max_retries => fails.max_retries, backoff => fails.backoff, backoff_multiplier => multiplier, max_backoff => fails.max_backoff);
    IF c.action <> 'EXECUTE' THEN
      RETURN QUERY SELECT c.attempt, c.action::text, NULL::int, NULL;
      EXIT;
    END IF;
    f := durable.fail(c.step_id, 'failure ' || i, attempt => c.attempt);
    RETURN QUERY SELECT c.attempt, f.status::text, f.retry_count,
                        CASE WHEN f.run_at > '3000-01-01' THEN 'ages' ELSE test.seconds(f.run_at)::text END;
    EXIT WHEN f.run_at > '3000-01-01';
    PERFORM set_config('durable.clock_offset', (extract(epoch FROM f.run_at - clock_timestamp()) + 0.001)::text, false);
  END LOOP;
  PERFORM set_config('durable.clock_offset', '0', false);
END $$;
SELECT * FROM pg_temp.fails(:'w', 1, 5, 3, '100 s');
SELECT * FROM pg_temp.fails(:'w', 2, 5, 3, '100 s', 3);
-- max(1, ...): a multiplier below 1 does not shorten it.
SELECT * FROM pg_temp.fails(:'w', 3, 3, 3, '100 s', 1);
SELECT * FROM pg_temp.fails(:'w', 4, 3, 3, '100 s', 0.5);
SELECT * FROM pg_temp.fails(:'w', 5, 3, 3, '100 s', 0);
SELECT * FROM pg_temp.fails(:'w', 6, 3, 3, '200 s', 1.5);
-- Capped by max_backoff, from the first retry on.
SELECT * FROM pg_temp.fails(:'w', 7, 5, 9, '100 s', 2, '250 s');
SELECT * FROM pg_temp.fails(:'w', 8, 2, 9, '100 s', 2, '50 s');
SELECT * FROM pg_temp.fails(:'w', 9, 2, 9, '100 s', 2, '0');
-- No backoff: at once.
SELECT * FROM pg_temp.fails(:'w', 10, 4, 2, '0');
-- The arithmetic saturates and never fails: huge multipliers, huge intervals, their product, nothing times infinity.
SELECT * FROM pg_temp.fails(:'w', 11, 3, 2147483647, '1 s', 1e308);
SELECT * FROM pg_temp.fails(:'w', 12, 3, 2147483647, '100000 years', 1e308);
SELECT * FROM pg_temp.fails(:'w', 13, 3, 2147483647, '178000000 years');
SELECT * FROM pg_temp.fails(:'w', 14, 4, 2147483647, '100 s', 1e308, '300 s');
SELECT * FROM pg_temp.fails(:'w', 15, 4, 9, '0', 1e308);
SELECT * FROM pg_temp.fails(:'w', 16, 2, 9, '1 s', 1e308, '178000000 years');
SELECT count(*), max(retry_count), bool_and(in_seconds = '0') AS at_once FROM pg_temp.fails(:'w', 17, 1200, 2147483647, '0', 10);
SELECT count(*), max(in_seconds::numeric) FROM pg_temp.fails(:'w', 18, 1200, 2147483647, '1 us', 10, '100 s');
-- Saturated is not due, and says so.
SELECT action, run_at > '3000-01-01' AS far FROM durable.claim_step(:'w', 13, 's');

-- The row: what the step knows between the tries. run_at is stored.
SELECT step_id AS s FROM durable.claim_step(:'w', 20, 'r', lease => 1, max_retries => 2, backoff => '100 s') \gset
SELECT status, retry_count, run_at AS r FROM durable.fail(:'s', 'once', 1, 1) \gset
SELECT status, error, output, retry_count, attempt, run_at = :'r' AS run_at, completed_at FROM durable.step WHERE workflow_id = :'w' AND sequence = 20;
-- A repeated call after a lost reply: the same answer, to the microsecond; another error is WF002; the fences hold.
SET durable.clock_offset = 50;
SELECT status, retry_count, run_at = :'r' AS run_at FROM durable.fail(:'s', 'once', 1, 1);
SELECT status, retry_count, run_at = :'r' AS run_at FROM durable.fail(:'s', 'once');
SELECT status FROM durable.fail(:'s', 'twice', 1, 1);
SELECT status FROM durable.fail(:'s', 'once', 1, 2);
SELECT status FROM durable.fail(:'s', 'once', 2, 1);
SET durable.clock_offset = 110;
SELECT status, retry_count, run_at = :'r' AS run_at FROM durable.fail(:'s', 'once', 1, 1);
-- Claimed again, it is another attempt: the same error counts again, and the former attempt is fenced.
SELECT action, attempt FROM durable.claim_step(:'w', 20, 'r', lease => 1, max_retries => 2, backoff => '100 s');
SELECT status FROM durable.fail(:'s', 'once', 1, 1);
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(:'s', 'once', 1, 2);
RESET durable.clock_offset;

-- retryable => false: FAILED though retries are left.
SELECT step_id AS s FROM durable.claim_step(:'w', 21, 'n', max_retries => 5, backoff => '100 s') \gset
SELECT * FROM durable.fail(:'s', 'hopeless', retryable => false);
SELECT * FROM durable.fail(:'s', 'hopeless', retryable => false);
SELECT action, error FROM durable.claim_step(:'w', 21, 'n', max_retries => 5);

-- Fences come before the status.
SELECT step_id AS s FROM durable.claim_step(:'w', 22, 'f', lease => 1) \gset
SELECT * FROM durable.fail(:'s', 'e', lease => 2);
SELECT * FROM durable.fail(:'s', 'e', attempt => 2);
SELECT durable.complete(:'s', '1');
SELECT * FROM durable.fail(:'s', 'e', lease => 2);
SELECT * FROM durable.fail(:'s', 'e', attempt => 2);
-- COMPLETED is terminal; a step never claimed, an unknown workflow.
SELECT * FROM durable.fail(:'s', 'e', 1, 1);
SELECT durable.output(:'s'), durable.error(:'s');
SELECT * FROM durable.fail(durable.step_id(:'w', 99), 'e');
SELECT * FROM durable.fail('00000000-0000-7000-8000-000000000000', 'e');

-- The workflow: RUNNING to FAILED, no retries. Repeatable in the same way.
SELECT * FROM durable.fail(:'w', 'the end', 2);
SELECT * FROM durable.fail(:'w', 'the end', 1);
SELECT * FROM durable.fail(:'w', 'the end', 1);
SELECT * FROM durable.fail(:'w', 'another end', 1);
SELECT status, error, output, completed_at >= started_at AS ended FROM durable.workflow WHERE id = :'w';
SELECT durable.complete(:'w');
-- A workflow that is COMPLETED, PENDING, PAUSED, CANCELLED.
SELECT workflow_id AS w FROM durable.start('fail-2', executor_id => 'fail-a') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's') \gset
SELECT step_id AS r FROM durable.claim_step(:'w', 1, 'r', max_retries => 1, backoff => '100 s') \gset
SELECT step_id AS p FROM durable.claim_step(:'w', 2, 'p', max_retries => 1) \gset
SELECT status FROM durable.fail(:'p', 'e');
SELECT durable.release('fail-a', :'w');
SELECT * FROM durable.fail(:'w', 'e');
SELECT status FROM durable.attach(:'w', 'fail-a');
SELECT durable.pause_tree(:'w');
SELECT * FROM durable.fail(:'w', 'e');
-- (a RUNNING step may record its failure while paused, with retries left too; a PAUSED one is WF002)
SELECT * FROM durable.fail(:'s', 'e');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(:'r', 'e');
SELECT * FROM durable.fail(:'p', 'e');
SELECT durable.cancel_tree(:'w');
SELECT * FROM durable.fail(:'w', 'e');
SELECT * FROM durable.fail(:'p', 'e');
SELECT workflow_id AS w FROM durable.start('fail-3') \gset
SELECT durable.complete(:'w', '1');
SELECT * FROM durable.fail(:'w', 'e');
SELECT durable.output(:'w'), durable.error(:'w');

-- detail: what the program keeps beside the error's text. Claims that answer the error and history answer it.
SELECT workflow_id AS w FROM durable.start('fail-4') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', lease => 1, max_retries => 1) \gset
SELECT status FROM durable.fail(:'s', 'once', 1, 1, detail => '{"code": 503}');
SELECT sequence, status, error, detail FROM durable.history(:'w');
-- A repeated call is known by the text: what is recorded stays.
SELECT status, retry_count FROM durable.fail(:'s', 'once', 1, 1, detail => '"other"');
-- While the step runs again it is that of the last error; each failure brings its own, or none.
SELECT action, error, detail FROM durable.claim_step(:'w', 0, 's', lease => 1, max_retries => 1);
SELECT error, detail FROM durable.history(:'w');
SELECT status FROM durable.fail(:'s', 'twice', 1, 2);
SELECT action, error, detail FROM durable.claim_step(:'w', 0, 's');
SELECT f.status FROM (VALUES (1, 'null'), (2, '{"a": [1, null]}'), (3, NULL)) s (sequence, detail), LATERAL durable.claim_step(:'w', s.sequence, 's' || s.sequence) c,
                     LATERAL durable.fail(c.step_id, 'e', detail => s.detail::jsonb) f;
SELECT action, error, detail FROM durable.claim_step(:'w', 2, 's2');
SELECT sequence, action, error, detail FROM durable.claim_steps(:'w', 0, '{s,s1,s2,s3,s4}');
SELECT action, error, detail FROM durable.complete_and_claim(durable.step_id(:'w', 4), NULL, 's2', sequence => 2);
-- A completion clears it with the error, alone, in a batch, and with the next claim; by a fast path, too (the second time each).
SELECT count(*) FROM generate_series(10, 15) i, LATERAL durable.claim_step(:'w', i, 's' || i, lease => 1, max_retries => 1) c, LATERAL durable.fail(c.step_id, 'e', detail => '1');
SELECT count(*) FROM generate_series(10, 15) i, LATERAL durable.claim_step(:'w', i, 's' || i, lease => 1, max_retries => 1);
SELECT count(error), count(detail) FROM durable.history(:'w') WHERE sequence >= 10;
SELECT durable.complete(durable.step_id(:'w', 10), NULL, 1), durable.complete(durable.step_id(:'w', 11), NULL, 1);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 12), NULL, 's20', sequence => 20, lease => 1);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 13), NULL, 's21', sequence => 21, lease => 1);
SELECT completed FROM durable.complete_many(ARRAY[durable.step_id(:'w', 14), durable.step_id(:'w', 15)]);
SELECT count(error), count(detail) FROM durable.history(:'w') WHERE sequence >= 10;
-- A workflow keeps it, too; so does the step that stands for a child, and resume_failed clears both.
SELECT workflow_id AS c FROM durable.start_child(:'w', 30, 'child') \gset
SELECT status FROM durable.fail(:'c', 'child', detail => '{"of": "the child"}');
SELECT status FROM durable.fail(:'c', 'child', detail => '"other"');
SELECT error, detail FROM durable.history(:'w') WHERE sequence = 30;
SELECT status FROM durable.fail(:'w', 'end', 1, detail => '"root"', retry_after => '1 hour');
SELECT name, status, error, detail FROM durable.workflow WHERE root_id = :'w' ORDER BY id;
SELECT status FROM durable.resume_failed(:'w');
SELECT name, status, error, detail FROM durable.workflow WHERE root_id = :'w' ORDER BY id;
SELECT count(*) AS steps, count(error) AS errors, count(detail) AS details FROM durable.history(:'w');

-- retry_after: when to try again, in place of the backoff, which goes on by the next failure.
SELECT step_id AS s FROM durable.claim_step(:'w', 40, 'r', max_retries => 6, backoff => '100 s', max_backoff => '300 s') \gset
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(:'s', 'one', retry_after => '1000 s');
SELECT action, test.seconds(run_at) FROM durable.claim_step(:'w', 40, 'r');
SET durable.clock_offset = 1001;
SELECT attempt FROM durable.claim_step(:'w', 40, 'r', max_retries => 6, backoff => '100 s', max_backoff => '300 s');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(:'s', 'two');
SET durable.clock_offset = 2001;
SELECT attempt FROM durable.claim_step(:'w', 40, 'r', max_retries => 6, backoff => '100 s', max_backoff => '300 s');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(:'s', 'three', retry_after => '0');
SELECT attempt FROM durable.claim_step(:'w', 40, 'r', max_retries => 6);
SELECT status, retry_count, run_at FROM durable.fail(:'s', 'four', retry_after => '178000000 years');
SELECT step_id AS s FROM durable.claim_step(:'w', 41, 'r', max_retries => 1) \gset
-- Nothing where no retry is left, or wanted; a negative one is refused all the same.
SELECT * FROM durable.fail(:'s', 'e', retry_after => '-1 s');
SELECT status, run_at FROM durable.fail(:'s', 'e', retryable => false, retry_after => '1000 s');
SELECT step_id AS s FROM durable.claim_step(:'w', 42, 'r') \gset
SELECT status, run_at FROM durable.fail(:'s', 'e', retry_after => '1000 s');
SELECT * FROM durable.fail(:'w', 'e', retry_after => '-1 s');
RESET durable.clock_offset;

-- A workflow that was resumed and fails again takes an inline child with it that has not been started again yet.
SELECT workflow_id AS w FROM durable.start('fail-5') \gset
SELECT status FROM durable.start_child(:'w', 0, 'child');
SELECT status FROM durable.fail(:'w', 'one');
SELECT status FROM durable.resume_failed(:'w');
SELECT * FROM test.show(:'w');
SELECT status FROM durable.fail(:'w', 'two');
SELECT * FROM test.show(:'w');
SELECT * FROM durable.check();
