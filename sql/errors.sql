-- Every SQLSTATE of class WF, with MESSAGE, DETAIL and HINT: what and which id, the state found, what to do.
-- Ids are shown as <name of the workflow/sequence>, times as <time>. (WF009 and the rest of WF012 come with their functions.)
\pset tuples_only on
\pset format unaligned
SELECT workflow_id AS w FROM durable.start('errors-running', executor_id => 'errors-a', timeout => '1 hour') \gset
SELECT count(action) FROM (SELECT (durable.claim_step(:'w', n, 's' || n, max_retries => CASE n WHEN 3 THEN 1 ELSE 0 END, backoff => '1 hour')).action FROM generate_series(0, 3) n) q;
SELECT durable.complete(durable.step_id(:'w', 0), '0');
SELECT status FROM durable.fail(durable.step_id(:'w', 1), 'bad');
SELECT status FROM durable.fail(durable.step_id(:'w', 3), 'bad');
SELECT created FROM durable.start_child(:'w', 4, 'errors-child');
SELECT workflow_id AS p FROM durable.start('errors-paused') \gset
SELECT count(action) FROM (SELECT (durable.claim_step(:'p', n, 's', max_retries => n, backoff => '1 hour')).action FROM generate_series(0, 1) n) q;
SELECT status FROM durable.fail(durable.step_id(:'p', 1), 'bad');
SELECT durable.pause_tree(:'p');
SELECT workflow_id AS c FROM durable.start('errors-cancelled') \gset
SELECT action FROM durable.claim_step(:'c', 0, 's');
SELECT durable.cancel_tree(:'c');
SELECT workflow_id AS n FROM durable.start('errors-pending', executor_id => 'errors-a') \gset
SELECT durable.release('errors-a', :'n');
SELECT workflow_id AS d FROM durable.start('errors-completed') \gset
SELECT durable.complete(:'d', '1');
SELECT workflow_id AS f FROM durable.start('errors-failed') \gset
SELECT status FROM durable.fail(:'f', 'bad');

CREATE FUNCTION pg_temp.show(statement text) RETURNS text LANGUAGE sql AS $$ SELECT statement || E'\n  ' || test.error('SELECT durable.' || statement) $$;

-- WF001: no such task.
SELECT pg_temp.show($$claim_step('00000000-0000-7000-8000-000000000000', 0, 's')$$);
SELECT pg_temp.show($$start_child('00000000-0000-7000-8000-000000000000', 0, 's')$$);
SELECT pg_temp.show($$attach('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.show($$history('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.show($$complete('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 9))$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-running'), 9), 'e')$$);
SELECT pg_temp.show($$complete_and_claim(durable.step_id(test.id('errors-running'), 9), '1', 'next')$$);
SELECT pg_temp.show($$status('00000000-0000-7000-8000-000000000000')$$);
SELECT pg_temp.show($$output(durable.step_id(test.id('errors-running'), 9))$$);
SELECT pg_temp.show($$set_timeout('00000000-0000-7000-8000-000000000000', NULL)$$);

-- WF002: not allowed in this status.
SELECT pg_temp.show($$claim_step(test.id('errors-pending'), 0, 's')$$);
SELECT pg_temp.show($$start_child(test.id('errors-pending'), 0, 's')$$);
SELECT pg_temp.show($$complete(test.id('errors-pending'))$$);
SELECT pg_temp.show($$fail(test.id('errors-pending'), 'e')$$);
SELECT pg_temp.show($$complete(test.id('errors-completed'), '2')$$);
SELECT pg_temp.show($$fail(test.id('errors-completed'), 'e')$$);
SELECT pg_temp.show($$complete(test.id('errors-failed'))$$);
SELECT pg_temp.show($$fail(test.id('errors-failed'), 'worse')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 0), '1')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 1), '1')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 3), '1')$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-running'), 0), 'e')$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-running'), 3), 'worse')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-paused'), 1))$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-paused'), 1), 'e')$$);
SELECT pg_temp.show($$set_timeout(test.id('errors-completed'), '1 hour')$$);
SELECT pg_temp.show($$set_timeout(durable.step_id(test.id('errors-running'), 0), '1 hour')$$);
SELECT pg_temp.show($$attach(test.id('errors-child'), 'errors-b', true)$$);

-- WF004: workflow paused.
SELECT pg_temp.show($$claim_step(test.id('errors-paused'), 0, 's')$$);
SELECT pg_temp.show($$start_child(test.id('errors-paused'), 5, 's')$$);
SELECT pg_temp.show($$complete(test.id('errors-paused'))$$);
SELECT pg_temp.show($$fail(test.id('errors-paused'), 'e')$$);

-- WF005: workflow cancelled.
SELECT pg_temp.show($$claim_step(test.id('errors-cancelled'), 0, 's')$$);
SELECT pg_temp.show($$start_child(test.id('errors-cancelled'), 5, 's')$$);
SELECT pg_temp.show($$complete(test.id('errors-cancelled'))$$);
SELECT pg_temp.show($$fail(test.id('errors-cancelled'), 'e')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-cancelled'), 0))$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-cancelled'), 0), 'e')$$);

-- WF006: deadline exceeded.
SET durable.clock_offset = 4000;
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 0, 's0')$$);
SELECT pg_temp.show($$start_child(test.id('errors-running'), 4, 'errors-child')$$);
RESET durable.clock_offset;

-- WF007: recorded step has another name or kind.
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 0, 'it''s another')$$);
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 0, 's0', kind => 'TRANSACTION')$$);
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 4, 'errors-child')$$);
SELECT pg_temp.show($$start_child(test.id('errors-running'), 4, 'another child')$$);
SELECT pg_temp.show($$start_child(test.id('errors-running'), 0, 's0')$$);

-- WF008: the lease is no longer yours.
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 0, 's0', lease => 7)$$);
SELECT pg_temp.show($$start_child(test.id('errors-running'), 5, 'c', lease => 7)$$);
SELECT pg_temp.show($$complete(test.id('errors-running'), lease => 7)$$);
SELECT pg_temp.show($$fail(test.id('errors-running'), 'e', lease => 7)$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 2), lease => 7)$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 2), attempt => 7)$$);
SELECT pg_temp.show($$fail(durable.step_id(test.id('errors-running'), 2), 'e', attempt => 7)$$);
SELECT pg_temp.show($$complete_and_claim(durable.step_id(test.id('errors-running'), 2), NULL, 'next', lease => 7)$$);

-- WF011: workflow already finished.
SELECT pg_temp.show($$claim_step(test.id('errors-completed'), 0, 's')$$);
SELECT pg_temp.show($$claim_step(test.id('errors-failed'), 0, 's')$$);
SELECT pg_temp.show($$start_child(test.id('errors-completed'), 0, 's')$$);

-- WF012: no such queue.
SELECT pg_temp.show($$start('errors-queued', queue => 'it''s no queue')$$);
SELECT pg_temp.show($$start_child(test.id('errors-running'), 6, 'c', queue => 'it''s no queue')$$);

-- 22023 and 22004 name the argument.
SELECT pg_temp.show($$start('')$$);
SELECT pg_temp.show($$start(NULL)$$);
SELECT pg_temp.show($$start('errors-queued', run_at => '2100-01-01')$$);
SELECT pg_temp.show($$claim_step(test.id('errors-running'), -1, 's')$$);
SELECT pg_temp.show($$claim_step(test.id('errors-running'), 9, 's', kind => 'WORKFLOW')$$);
SELECT pg_temp.show($$complete(durable.step_id(test.id('errors-running'), 4))$$);

-- STOP carries the message of the error that the claim met.
SELECT action || ' ' || test.mask(error) FROM durable.complete_and_claim(durable.step_id(test.id('errors-paused'), 0), '0', 'next', sequence => 5);

-- Whoever catches an error gets on.
DO $$
BEGIN
  PERFORM durable.claim_step(test.id('errors-cancelled'), 0, 's');
EXCEPTION WHEN SQLSTATE 'WF005' THEN
  RAISE NOTICE 'caught %', SQLSTATE;
END $$;
SELECT * FROM durable.check();
