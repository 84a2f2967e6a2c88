-- Retries of a whole workflow that has a queue: what a job queue is for.
\set VERBOSITY sqlstate
\pset null -
SELECT durable.create_queue('jobs', max_concurrency => 2);
-- What is to be seen of one.
CREATE FUNCTION pg_temp.job(n text) RETURNS TABLE (status text, lease int, retry_count int, in_seconds numeric, owner text, deadline boolean, error text, detail jsonb, recovery_count int)
LANGUAGE sql AS $$
  SELECT w.status::text, w.lease, w.retry_count, test.seconds(w.run_at), w.executor_id, w.deadline IS NOT NULL, w.error, w.detail, w.recovery_count
  FROM durable.workflow w WHERE w.id = test.id(n) $$;
CREATE FUNCTION pg_temp.claim(n text) RETURNS TABLE (name text, lease int) LANGUAGE sql AS $$
  SELECT c.name, c.lease FROM durable.claim('jobs', 'worker', 1) c $$;

-- A job without steps: PENDING in its queue until its backoff is over, under a new lease, executor and slot free, the
-- deadline anew, the last error kept.
SELECT created, status FROM durable.start('job', queue => 'jobs', timeout => '1 hour', max_retries => 2, backoff => '1 min', max_backoff => '90 s');
SELECT retry_count, max_retries FROM durable.task WHERE id = test.id('job');
SELECT * FROM pg_temp.claim('job');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(test.id('job'), 'boom', 1, detail => '{"code": 1}');
SELECT * FROM pg_temp.job('job');
SELECT retry_count, max_retries FROM durable.task WHERE id = test.id('job');
SELECT count(*) FROM durable.slot WHERE id = test.id('job');
-- again under the old lease; without a lease; an outcome under the old lease
SELECT durable.fail(test.id('job'), 'boom', 1);
SELECT durable.fail(test.id('job'), 'boom');
SELECT durable.complete(test.id('job'), NULL, 1);
SELECT count(*) FROM durable.claim('jobs', 'worker');
SET durable.clock_offset = '2 min';
SELECT * FROM pg_temp.claim('job');
SELECT * FROM pg_temp.job('job');
-- the second retry: backoff * 2, at most max_backoff
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(test.id('job'), 'boom 2', 3);
SET durable.clock_offset = '4 min';
SELECT * FROM pg_temp.claim('job');
-- no retry left: FAILED; again the same answer
SELECT * FROM durable.fail(test.id('job'), 'boom 3', 5);
SELECT * FROM durable.fail(test.id('job'), 'boom 3', 5);
SELECT * FROM pg_temp.job('job');
-- resume_failed gives it its retries anew, and counts as a recovery
SELECT status, lease FROM durable.resume_failed(test.id('job'));
SELECT status, retry_count, recovery_count FROM pg_temp.job('job');
SELECT * FROM pg_temp.claim('job');
-- retry_after in place of the backoff; retryable => false; a completion clears the error
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(test.id('job'), 'later', 7, retry_after => '10 min');
SET durable.clock_offset = '15 min';
SELECT * FROM pg_temp.claim('job');
SELECT durable.error(test.id('job'));
SELECT durable.complete(test.id('job'), '"done"', 9);
SELECT status, retry_count, error, detail FROM pg_temp.job('job');
SELECT created FROM durable.start('job-2', queue => 'jobs', max_retries => 5);
SELECT * FROM pg_temp.claim('job-2');
SELECT * FROM durable.fail(test.id('job-2'), 'for good', 1, retryable => false);
-- complete_many clears it, too; without a backoff it is due at once
SELECT created FROM durable.start('job-3', queue => 'jobs', max_retries => 5);
SELECT * FROM pg_temp.claim('job-3');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(test.id('job-3'), 'boom', 1, detail => '1');
SELECT * FROM pg_temp.claim('job-3');
SELECT completed FROM durable.complete_many(ARRAY[test.id('job-3')], leases => '{3}');
SELECT status, error, detail FROM pg_temp.job('job-3');
-- by the statements alone
SET durable.fast_paths = off;
SELECT created FROM durable.start('job-4', queue => 'jobs', max_retries => 5);
SELECT * FROM pg_temp.claim('job-4');
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(test.id('job-4'), 'boom', 1, detail => '1');
SELECT * FROM pg_temp.claim('job-4');
SELECT * FROM pg_temp.job('job-4');
SELECT durable.complete(test.id('job-4'), lease => 3);
SELECT status, retry_count, error, detail FROM pg_temp.job('job-4');
RESET durable.fast_paths;
-- an inline child that the next run has not come to: fenced again by the next failure
SELECT created FROM durable.start('job-6', queue => 'jobs', max_retries => 5);
SELECT * FROM pg_temp.claim('job-6');
SELECT created, lease FROM durable.start_child(test.id('job-6'), 0, 'job-6-child', lease => 1);
SELECT status FROM durable.fail(test.id('job-6'), 'boom', 1);
SELECT status, lease FROM pg_temp.job('job-6-child');
SELECT * FROM pg_temp.claim('job-6');
SELECT status FROM durable.fail(test.id('job-6'), 'boom', 3);
SELECT status, lease FROM pg_temp.job('job-6-child');
SELECT durable.cancel_tree(test.id('job-6'));
-- paused; cancelled while it waits, which keeps its error
SELECT created FROM durable.start('job-5', queue => 'jobs', max_retries => 5, backoff => '1 hour');
SELECT * FROM pg_temp.claim('job-5');
SELECT durable.pause_tree(test.id('job-5'));
SELECT durable.fail(test.id('job-5'), 'boom', 1);
SELECT durable.resume_tree(test.id('job-5'));
SELECT status FROM durable.fail(test.id('job-5'), 'boom', 1);
SELECT durable.pause_tree(test.id('job-5')), durable.resume_tree(test.id('job-5'));
SELECT durable.cancel_tree(test.id('job-5'));
SELECT status, retry_count, error FROM pg_temp.job('job-5');
-- a recovery is none of them, and its limit is not retried
SELECT created FROM durable.start('job-6', queue => 'jobs', max_retries => 5, max_recovery_attempts => 1);
SELECT * FROM pg_temp.claim('job-6');
SELECT reason, lease, recovery_count FROM durable.recover('other', stale_after => '0 s', queue => 'jobs');
SELECT status, retry_count FROM durable.fail(test.id('job-6'), 'boom', 2, detail => '1');
SELECT * FROM pg_temp.claim('job-6');
SELECT retry_count, recovery_count FROM pg_temp.job('job-6');
SELECT count(*) FROM durable.recover('other', stale_after => '0 s', queue => 'jobs');
SELECT status, retry_count, error, detail FROM pg_temp.job('job-6');
-- rolled back
SELECT created FROM durable.start('job-7', queue => 'jobs', max_retries => 5);
SELECT * FROM pg_temp.claim('job-7');
BEGIN;
SELECT status FROM durable.fail(test.id('job-7'), 'boom', 1);
ROLLBACK;
SELECT status, lease, retry_count, error FROM pg_temp.job('job-7');
SELECT durable.complete(test.id('job-7'), lease => 1);

-- With steps and children. Caught: what had ended before a later position was first recorded, however often that was claimed since.
SELECT durable.create_queue('others');
SELECT created FROM durable.start('tried', queue => 'jobs', max_retries => 3, timeout => '1 hour');
SELECT * FROM pg_temp.claim('tried');
SELECT test.id('tried') AS w \gset
SELECT action FROM durable.claim_step(:'w', 0, 'caught', lease => 1);
SELECT status FROM durable.fail(durable.step_id(:'w', 0), 'it is');
SELECT workflow_id AS caught FROM durable.start_child(:'w', 1, 'caught child', lease => 1) \gset
SELECT status FROM durable.fail(:'caught', 'it is, too');
SELECT action FROM durable.await_callback(:'w', 2, 'timed out', '0 s', lease => 1);
-- side by side: the one that fails first fails before the other is claimed again, but after that was first recorded
SELECT action FROM durable.claim_steps(:'w', 3, '{failed,again,flight,done}', lease => 1, max_retries => 1);
SELECT workflow_id AS inline FROM durable.start_child(:'w', 7, 'inline', lease => 1) \gset
SELECT workflow_id AS failed FROM durable.start_child(:'w', 8, 'inline failed', lease => 1) \gset
SELECT workflow_id AS queued FROM durable.start_child(:'w', 9, 'queued failed', lease => 1, queue => 'others', max_retries => 1) \gset
SELECT workflow_id AS other FROM durable.start_child(:'w', 10, 'queued on its own', lease => 1, queue => 'others') \gset
SELECT workflow_id AS paused FROM durable.start_child(:'w', 11, 'inline paused', lease => 1) \gset
SELECT action FROM durable.claim_step(:'paused', 0, 'later', max_retries => 5, backoff => '1 hour');
SELECT status FROM durable.fail(durable.step_id(:'paused', 0), 'kept');
SELECT durable.pause_tree(:'paused');
SELECT action FROM durable.claim_step(:'inline', 0, 'flight');
SELECT action FROM durable.sleep(:'w', 12, 'open', '1 day', lease => 1);
SELECT action FROM durable.claim_step(:'failed', 0, 'failed');
SELECT status FROM durable.fail(durable.step_id(:'failed', 0), 'f');
SELECT name FROM durable.claim('others', 'worker', 2) ORDER BY 1;
SELECT action FROM durable.claim_step(:'queued', 0, 'caught there');
SELECT status FROM durable.fail(durable.step_id(:'queued', 0), 'f');
SELECT action FROM durable.claim_step(:'queued', 1, 'failed there');
SELECT status FROM durable.fail(durable.step_id(:'queued', 1), 'f');
SELECT status FROM durable.fail(:'queued', 'f');
SELECT lease FROM durable.claim('others', 'worker', 2);
SELECT status, retry_count FROM durable.fail(:'queued', 'f');
SELECT status FROM durable.fail(durable.step_id(:'w', 3), 'first', retryable => false);
SELECT status FROM durable.fail(durable.step_id(:'w', 4), 'once');
SELECT action, attempt FROM durable.claim_step(:'w', 4, 'again', lease => 1);
SELECT durable.complete(durable.step_id(:'w', 4), '4', 1), durable.complete(durable.step_id(:'w', 6), '6', 1);
SELECT status FROM durable.fail(:'failed', 'f');
SELECT * FROM test.show(:'w');
SELECT status, retry_count FROM durable.fail(:'w', 'all in all', 1);
SELECT * FROM test.show(:'w');
SELECT sequence, status, retry_count, completed_at IS NULL AS is_open, error FROM durable.step WHERE workflow_id = :'w' ORDER BY sequence;
SELECT name, retry_count, deadline IS NULL AS no_deadline FROM durable.workflow WHERE id IN (:'queued', :'inline', :'paused') ORDER BY 1;
SELECT * FROM pg_temp.claim('tried');
-- the replay: what was caught, and what runs again
SELECT sequence, action, attempt FROM durable.claim_steps(:'w', 3, '{failed,again,flight,done}', lease => 3);
SELECT action, error FROM durable.claim_step(:'w', 0, 'caught', lease => 3);
SELECT status, error FROM durable.start_child(:'w', 1, 'caught child', lease => 3);
SELECT action FROM durable.await_callback(:'w', 2, 'timed out', '0 s', lease => 3);
SELECT created, status, lease FROM durable.start_child(:'w', 7, 'inline', lease => 3);
SELECT created, status, lease FROM durable.start_child(:'w', 8, 'inline failed', lease => 3);
SELECT created, status, lease FROM durable.start_child(:'w', 10, 'queued on its own', lease => 3);
SELECT action, attempt FROM durable.claim_step(:'inline', 0, 'flight');
SELECT action, attempt FROM durable.claim_step(:'failed', 0, 'failed');
SELECT name, lease FROM durable.claim('others', 'worker');
SELECT action, error FROM durable.claim_step(:'queued', 0, 'caught there');
SELECT action, attempt FROM durable.claim_step(:'queued', 1, 'failed there');
-- the driver from before
SELECT durable.complete(durable.step_id(:'w', 5), '5', 1);
SELECT durable.complete(:'inline', '1', 1);
SELECT durable.complete(:'w', lease => 3);

-- A failed child whose queue is gone cannot run again; once it is caught, it need not.
SELECT durable.create_queue('gone');
SELECT created FROM durable.start('lost', queue => 'jobs', max_retries => 3);
SELECT * FROM pg_temp.claim('lost');
SELECT workflow_id AS c FROM durable.start_child(test.id('lost'), 0, 'lost-child', queue => 'gone') \gset
SELECT lease FROM durable.claim('gone', 'worker');
SELECT status FROM durable.fail(:'c', 'f');
SELECT durable.drop_queue('gone');
SELECT durable.fail(test.id('lost'), 'f', 1);
SELECT status, lease FROM pg_temp.job('lost');
SELECT action FROM durable.claim_step(test.id('lost'), 1, 'instead');
SELECT status FROM durable.fail(test.id('lost'), 'f', 1);
SELECT name, status FROM durable.workflow WHERE name LIKE 'lost%' ORDER BY 1;

-- continue_as takes them along, and begins anew
SELECT * FROM pg_temp.claim('lost');
SELECT workflow_id AS n FROM durable.continue_as(test.id('lost'), '1', 3) \gset
SELECT max_retries, retry_count, backoff, backoff_multiplier, error FROM durable.workflow WHERE id = :'n';
SELECT durable.cancel_tree(:'n');

-- What is refused.
SELECT durable.start('no queue', max_retries => 1);
SELECT durable.start('negative', queue => 'jobs', max_retries => -1);
SELECT durable.start_child(test.id('tried'), 99, 'no queue', max_retries => 1);
RESET durable.clock_offset;
SELECT * FROM durable.check();
