-- history(): every recorded step in order, a whole replay in one round trip; and the view durable.task.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('history-1', '"in"', 'h', 'history-a', priority => 3, timeout => '1 hour') \gset
-- None yet: no row, no error. An unknown workflow is WF001.
SELECT * FROM durable.history(:'w');
SELECT * FROM durable.history('00000000-0000-7000-8000-000000000000');

-- Steps recorded out of order, one of each status, a child running, a child finished.
SELECT action FROM durable.claim_step(:'w', 7, 'running', lease => 1, executor_id => 'history-a');
SELECT action FROM durable.claim_step(:'w', 0, 'completed', '{"a": 1}', 'TRANSACTION', max_retries => 4);
SELECT durable.complete(durable.step_id(:'w', 0), '{"b": 2}');
SELECT action FROM durable.claim_step(:'w', 5, 'failed');
SELECT status FROM durable.fail(durable.step_id(:'w', 5), 'it''s bad');
SELECT action FROM durable.claim_step(:'w', 2, 'pending', max_retries => 2, backoff => '1 hour');
SELECT status, run_at AS due FROM durable.fail(durable.step_id(:'w', 2), 'again') \gset
SELECT action FROM durable.claim_step(:'w', 1, 'null output');
SELECT durable.complete(durable.step_id(:'w', 1));
SELECT workflow_id AS c1 FROM durable.start_child(:'w', 4, 'child running', '"c"', 'ch') \gset
SELECT workflow_id AS c2 FROM durable.start_child(:'w', 3, 'child finished') \gset
SELECT action FROM durable.claim_step(:'c2', 0, 'in the child');
SELECT durable.complete(:'c2', '"child"');

SELECT sequence, step_id = durable.step_id(:'w', sequence) AS step_id, name, kind, status, output, error, attempt, run_at = :'due' AS run_at,
       CASE child_id WHEN :'c1' THEN 'c1' WHEN :'c2' THEN 'c2' END AS child FROM durable.history(:'w');
-- A child's own.
SELECT sequence, name, status, attempt FROM durable.history(:'c2');
SELECT count(*) FROM durable.history(:'c1');
-- Still there when all is over.
SELECT durable.complete(:'w', '"out"');
SELECT count(*), bool_and(step_id = durable.step_id(:'w', sequence)) AS ids FROM durable.history(:'w');
-- A thousand of them come in order.
SELECT workflow_id AS m FROM durable.start('history-2') \gset
SELECT count(action) FROM generate_series(999, 0, -1) n, LATERAL durable.claim_step(:'m', n, 'n' || n);
SELECT count(*), array_agg(sequence) = ARRAY(SELECT generate_series(0, 999)) AS in_order FROM durable.history(:'m');

-- The view: workflows and steps in one shape; a child once, as the workflow.
CREATE FUNCTION pg_temp.label(u uuid) RETURNS text LANGUAGE sql AS $$ SELECT test.mask(u::text) $$;
SELECT pg_temp.label(id) AS id, pg_temp.label(parent_id) AS parent, sequence, name, handler, status, kind, input, output, error
  FROM durable.task WHERE id IN (:'w', :'c1', :'c2') OR parent_id IN (:'w', :'c1', :'c2') ORDER BY parent_id NULLS FIRST, sequence;
SELECT name, queue_name, executor_id, retry_count, max_retries, recovery_count, lease, attempt, started_at IS NOT NULL AS started,
       completed_at IS NOT NULL AS completed, deadline IS NOT NULL AS deadline
  FROM durable.task WHERE id IN (:'w', :'c1', :'c2') OR parent_id IN (:'w', :'c1', :'c2') ORDER BY parent_id NULLS FIRST, sequence;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'durable.task'::regclass AND attnum > 0 ORDER BY attnum;
SELECT * FROM durable.check();
