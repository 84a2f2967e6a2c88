-- claim_step(): find-or-create and claim. Conditions of the workflow are errors, those of the step answers.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('claim-step-1', executor_id => 'claim-step-a') \gset

-- New: EXECUTE, attempt 1. What was given is stored.
SELECT step_id = durable.step_id(:'w', 0) AS step_id, action, output, error, attempt, run_at FROM durable.claim_step(:'w', 0, 'first', '{"n": 0}', 'TRANSACTION', 1, 'claim-step-a', 3, '10 s', 1.5, '1 min', '1 hour');
SELECT sequence, name, kind, status, lease, attempt, executor_id, input, output, error, max_retries, retry_count, backoff, backoff_multiplier, max_backoff,
       run_at, timeout, deadline - started_at AS deadline, child_id, completed_at FROM durable.step WHERE workflow_id = :'w';
-- The defaults; a sequence may be left out.
SELECT action, attempt FROM durable.claim_step(:'w', 20, 'gap');
SELECT kind, status, lease, executor_id, input, max_retries, retry_count, extract(epoch FROM backoff) AS backoff, backoff_multiplier, max_backoff, timeout, deadline FROM durable.step WHERE workflow_id = :'w' AND sequence = 20;

-- RUNNING elsewhere: LOCKED. Same lease and same executor, both given: EXECUTE, the same attempt (a lost reply).
SELECT action, attempt FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION', lease => 1, executor_id => 'claim-step-a');
SELECT action, attempt FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION', lease => 1, executor_id => 'claim-step-b');
SELECT action, attempt FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION', executor_id => 'claim-step-a');
SELECT action, attempt FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION', lease => 1);
SELECT action, attempt FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION');
-- Claimed without an executor_id, nobody is the same.
SELECT action, attempt FROM durable.claim_step(:'w', 1, 'anonymous', lease => 1);
SELECT action, attempt FROM durable.claim_step(:'w', 1, 'anonymous', lease => 1);
SELECT action, attempt FROM durable.claim_step(:'w', 1, 'anonymous', lease => 1, executor_id => 'claim-step-a');

-- COMPLETED: REPLAY with the output, also a NULL one. FAILED: FAILED with the error.
SELECT durable.complete(durable.step_id(:'w', 0), '{"out": true}'), durable.complete(durable.step_id(:'w', 1), NULL);
SELECT status FROM durable.fail(durable.step_id(:'w', 20), 'it broke');
SELECT action, output, error, attempt, run_at FROM durable.claim_step(:'w', 0, 'first', kind => 'TRANSACTION', lease => 1, executor_id => 'claim-step-b');
SELECT action, output, error, attempt, run_at FROM durable.claim_step(:'w', 1, 'anonymous');
SELECT action, output, error, attempt, run_at FROM durable.claim_step(:'w', 20, 'gap');
-- Again: a FAILED step does not run again by a replay.
SELECT action, error FROM durable.claim_step(:'w', 20, 'gap', max_retries => 10);

-- Another name or kind is WF007, whatever the step's status.
SELECT action FROM durable.claim_step(:'w', 0, 'other', kind => 'TRANSACTION');
SELECT action FROM durable.claim_step(:'w', 0, 'first', kind => 'STEP');
SELECT action FROM durable.claim_step(:'w', 20, 'Gap');
SELECT action FROM durable.claim_step(:'w', 2, 'running');
SELECT action FROM durable.claim_step(:'w', 2, 'runnin');
SELECT action FROM durable.claim_step(:'w', 2, 'running', kind => 'TRANSACTION');
-- start_child makes the steps of kind WORKFLOW; claim_step does not, nor does it take one for its own.
SELECT action FROM durable.claim_step(:'w', 3, 'child', kind => 'WORKFLOW');
SELECT action FROM durable.claim_step(:'w', 3, 'wait', kind => 'WAIT');
SELECT created FROM durable.start_child(:'w', 3, 'child');
SELECT action FROM durable.claim_step(:'w', 3, 'child');
-- One name may stand at many positions.
SELECT action FROM durable.claim_step(:'w', 4, 'first', kind => 'TRANSACTION');

-- PENDING and its retry not yet due: WAIT with run_at; due: EXECUTE, attempt + 1.
SELECT action FROM durable.claim_step(:'w', 5, 'retried', max_retries => 1, backoff => '100 s');
SELECT status, retry_count, run_at AS due FROM durable.fail(durable.step_id(:'w', 5), 'once') \gset
SELECT action, output, error, attempt, run_at = :'due' AS run_at FROM durable.claim_step(:'w', 5, 'retried', max_retries => 1, backoff => '100 s');
SELECT action, attempt FROM durable.claim_step(:'w', 5, 'retried', lease => 1, executor_id => 'claim-step-b');
SET durable.clock_offset = 110;
SELECT action, output, error, attempt, run_at FROM durable.claim_step(:'w', 5, 'retried', max_retries => 1, backoff => '100 s');
RESET durable.clock_offset;

-- RUNNING past its own timeout: EXECUTE, attempt + 1; the former attempt is fenced by its number.
SELECT action, attempt FROM durable.claim_step(:'w', 6, 'slow', lease => 1, executor_id => 'claim-step-a', timeout => '10 min');
SET durable.clock_offset = 590;
SELECT action, attempt FROM durable.claim_step(:'w', 6, 'slow', lease => 1, executor_id => 'claim-step-b');
SET durable.clock_offset = 610;
-- Also for the same lease and executor: it is a new attempt.
SELECT action, attempt FROM durable.claim_step(:'w', 6, 'slow', lease => 1, executor_id => 'claim-step-a', timeout => '10 min');
SELECT durable.complete(durable.step_id(:'w', 6), '"late"', 1, 1);
SELECT status FROM durable.fail(durable.step_id(:'w', 6), 'late', 1, 1);
SELECT action, attempt FROM durable.claim_step(:'w', 6, 'slow', lease => 1, executor_id => 'claim-step-b');
SELECT durable.complete(durable.step_id(:'w', 6), '"in time"', 1, 2);
RESET durable.clock_offset;
-- Past its timeout and not claimed again: an outcome is a fact.
SELECT action FROM durable.claim_step(:'w', 7, 'late', timeout => '10 s');
SET durable.clock_offset = 1000;
SELECT durable.complete(durable.step_id(:'w', 7), '"late"', 1, 1);
RESET durable.clock_offset;

-- RUNNING under an older lease: EXECUTE, attempt + 1, and the old holder is fenced.
SELECT action, attempt FROM durable.claim_step(:'w', 8, 'handed over', lease => 1, executor_id => 'claim-step-a');
SELECT lease, owner FROM durable.attach(:'w', 'claim-step-b', true);
SELECT action FROM durable.claim_step(:'w', 8, 'handed over', lease => 1, executor_id => 'claim-step-a');
SELECT action, attempt FROM durable.claim_step(:'w', 8, 'handed over', lease => 2, executor_id => 'claim-step-b');
SELECT durable.complete(durable.step_id(:'w', 8), '"zombie"', 1);
SELECT durable.complete(durable.step_id(:'w', 8), '"new owner"', 2);
-- Without a lease of its own the caller is not fenced, and takes an older one over just so.
SELECT action, attempt FROM durable.claim_step(:'w', 4, 'first', kind => 'TRANSACTION');
SELECT action, attempt FROM durable.claim_step(:'w', 4, 'first', kind => 'TRANSACTION');

-- The retry policy in force is that of the claim that last got EXECUTE: not of a LOCKED one, not of a WAIT.
SELECT action FROM durable.claim_step(:'w', 9, 'policy', max_retries => 1, backoff => '100 s');
SELECT action FROM durable.claim_step(:'w', 9, 'policy', max_retries => 9, backoff => '900 s');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(durable.step_id(:'w', 9), 'one');
SELECT action FROM durable.claim_step(:'w', 9, 'policy', max_retries => 0);
SET durable.clock_offset = 110;
SELECT action FROM durable.claim_step(:'w', 9, 'policy', max_retries => 2, backoff => '200 s', backoff_multiplier => 3);
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(durable.step_id(:'w', 9), 'two');
SET durable.clock_offset = 1000;
SELECT action, attempt FROM durable.claim_step(:'w', 9, 'policy', max_retries => 0);
SELECT status, retry_count, run_at FROM durable.fail(durable.step_id(:'w', 9), 'three');
RESET durable.clock_offset;
SELECT max_retries, retry_count, attempt, status FROM durable.step WHERE workflow_id = :'w' AND sequence = 9;

-- The order of checks: the id, the lease, the workflow's status, its deadline, the step.
SELECT action FROM durable.claim_step('00000000-0000-7000-8000-000000000000', 0, 's', lease => 99);
SELECT workflow_id AS w FROM durable.start('claim-step-2', timeout => '1 hour') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.complete(durable.step_id(:'w', 0), '0');
-- the lease before the status:
SELECT durable.pause_tree(:'w');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 2);
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 0);
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
-- the status before the deadline, the deadline only while RUNNING, and before the step:
SET durable.clock_offset = 4000;
SELECT action FROM durable.claim_step(:'w', 0, 'other', lease => 1);
SELECT durable.resume_tree(:'w');
SELECT action FROM durable.claim_step(:'w', 0, 'other', lease => 1);
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 2);
-- Under a finished workflow: REPLAY, FAILED and WF007 as ever, WF011 for the rest; past the deadline too.
SELECT durable.set_timeout(:'w', NULL);
SELECT action FROM durable.claim_step(:'w', 1, 'failed');
SELECT status FROM durable.fail(durable.step_id(:'w', 1), 'bad');
SELECT action FROM durable.claim_step(:'w', 2, 'running');
SELECT action FROM durable.claim_step(:'w', 3, 'pending', max_retries => 1);
SELECT status FROM durable.fail(durable.step_id(:'w', 3), 'bad');
SELECT durable.set_timeout(:'w', '1 hour');
SELECT durable.complete(:'w');
SELECT action, output FROM durable.claim_step(:'w', 0, 's');
SELECT action, error FROM durable.claim_step(:'w', 1, 'failed');
SELECT action FROM durable.claim_step(:'w', 0, 'other');
SELECT action FROM durable.claim_step(:'w', 2, 'other');
SELECT action FROM durable.claim_step(:'w', 2, 'running');
SELECT action FROM durable.claim_step(:'w', 3, 'pending');
SELECT action FROM durable.claim_step(:'w', 4, 'new');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 7);
RESET durable.clock_offset;
-- CANCELLED and PENDING (a row of 5.1 each), even for a step that is COMPLETED.
SELECT workflow_id AS w FROM durable.start('claim-step-3', executor_id => 'claim-step-a') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.complete(durable.step_id(:'w', 0));
SELECT durable.release('claim-step-a', :'w');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT durable.cancel_tree(:'w');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT * FROM durable.check();
