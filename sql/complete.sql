-- complete(): a step's or a workflow's output, once.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('complete-1', '{"in": 1}') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', lease => 1, max_retries => 1) \gset

-- RUNNING to COMPLETED, error cleared: true; again with an equal output: false; with a different one: WF002.
SELECT status FROM durable.fail(:'s', 'first try');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT durable.complete(:'s', '{"a": 1, "b": [2]}', 1, 2);
SELECT durable.complete(:'s', '{"b": [2], "a": 1}', 1, 2);
SELECT durable.complete(:'s', '{"b": [2], "a": 1}');
SELECT durable.complete(:'s', '{"a": 1}', 1, 2);
SELECT durable.complete(:'s');
SELECT status, output, error, retry_count, attempt, completed_at >= started_at AS completed FROM durable.step WHERE workflow_id = :'w' AND sequence = 0;

-- A NULL output is an output; JSON's null is another one.
SELECT step_id AS s FROM durable.claim_step(:'w', 1, 'null') \gset
SELECT durable.complete(:'s', NULL);
SELECT durable.complete(:'s');
SELECT durable.complete(:'s', 'null');
SELECT durable.status(:'s'), durable.is_completed(:'s'), durable.output(:'s');
SELECT step_id AS s FROM durable.claim_step(:'w', 2, 'json null') \gset
SELECT durable.complete(:'s', 'null'), durable.complete(:'s', 'null');
SELECT durable.complete(:'s', NULL);

-- Fences: a wrong lease or attempt is WF008; NULL skips. They come before the status, in this order.
SELECT step_id AS s FROM durable.claim_step(:'w', 3, 'fenced', lease => 1) \gset
SELECT durable.complete(:'s', '1', lease => 2);
SELECT durable.complete(:'s', '1', lease => 0);
SELECT durable.complete(:'s', '1', attempt => 2);
SELECT durable.complete(:'s', '1', attempt => 0);
SELECT durable.complete(:'s', '1', 1, 2);
SELECT durable.status(:'s');
SELECT durable.complete(:'s', '1', 1, 1);
SELECT durable.complete(:'s', '1', 2, 1);
SELECT durable.complete(:'s', '1', 1, 2);
SELECT durable.complete(:'s', '2', 2, 2);
SELECT durable.complete(:'w', '1', 2);

-- A zombie: the workflow has changed hands since.
SELECT step_id AS s FROM durable.claim_step(:'w', 4, 'zombie', lease => 1) \gset
SELECT lease FROM durable.attach(:'w', 'complete-b', true);
SELECT durable.complete(:'s', '"zombie"', 1);
SELECT durable.complete(:'w', '"zombie"', 1);
SELECT durable.status(:'s'), durable.status(:'w');
-- Even where it only repeats what it did.
SELECT durable.complete(durable.step_id(:'w', 3), '1', 1);

-- Not RUNNING: WF002 on a PENDING one, a FAILED one.
SELECT step_id AS p FROM durable.claim_step(:'w', 5, 'pending', max_retries => 1) \gset
SELECT status FROM durable.fail(:'p', 'again');
SELECT durable.complete(:'p', '1');
SELECT step_id AS f FROM durable.claim_step(:'w', 6, 'failed') \gset
SELECT status FROM durable.fail(:'f', 'for good');
SELECT durable.complete(:'f', '1');
SELECT durable.status(:'p'), durable.status(:'f'), durable.error(:'f');

-- PAUSED: WF004 for the workflow, WF002 for a PAUSED step; a RUNNING step may record its outcome.
SELECT durable.pause_tree(:'w');
SELECT durable.complete(:'w', '1', 2);
SELECT durable.complete(:'p', '1');
SELECT durable.complete(:'s', '4', 2);
SELECT durable.resume_tree(:'w');

-- The workflow: the same rules. A step that was RUNNING may still record its outcome, the others may not.
SELECT step_id AS late FROM durable.claim_step(:'w', 7, 'late') \gset
SELECT step_id AS late2 FROM durable.claim_step(:'w', 8, 'late, fails') \gset
SELECT durable.complete(:'w', '{"all": "done"}', 2), durable.complete(:'w', '{"all": "done"}', 2);
SELECT durable.complete(:'w', '{"all": "other"}', 2);
SELECT durable.complete(:'w', '{"all": "done"}', 1);
SELECT status, output, error, lease, completed_at >= started_at AS completed FROM durable.workflow WHERE id = :'w';
SELECT durable.complete(:'late', '"late"', 2, 1), durable.complete(:'late', '"late"');
SELECT status FROM durable.fail(:'late2', 'late');
SELECT durable.complete(durable.step_id(:'w', 9), '1');
SELECT action, output FROM durable.claim_step(:'w', 7, 'late');
-- With a NULL output.
SELECT workflow_id AS w FROM durable.start('complete-2') \gset
SELECT durable.complete(:'w'), durable.complete(:'w');
SELECT durable.complete(:'w', '1');

-- Late after failure, late after cancel: refused, and nothing is overwritten.
SELECT workflow_id AS w FROM durable.start('complete-3') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's') \gset
SELECT status FROM durable.fail(:'w', 'bad');
SELECT durable.complete(:'w', '1');
SELECT durable.complete(:'s', '1');
SELECT status, output, error FROM durable.workflow WHERE id = :'w';
SELECT workflow_id AS w FROM durable.start('complete-4') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's') \gset
SELECT durable.cancel_tree(:'w');
SELECT durable.complete(:'w', '1');
SELECT durable.complete(:'s', '1');
SELECT durable.status(:'w'), durable.status(:'s'), durable.output(:'s');

-- The deadline does not matter, of workflow or step.
SELECT workflow_id AS w FROM durable.start('complete-5', timeout => '10 s') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', timeout => '1 s') \gset
SET durable.clock_offset = 100;
SELECT durable.complete(:'s', '1', 1, 1), durable.complete(:'w', '1', 1);
RESET durable.clock_offset;

-- No such task: an unknown workflow, a step never claimed.
SELECT workflow_id AS w FROM durable.start('complete-6') \gset
SELECT durable.complete('00000000-0000-7000-8000-000000000000');
SELECT durable.complete(durable.step_id(:'w', 0));
SELECT durable.complete(durable.step_id('00000000-0000-7000-8000-000000000000', 0), lease => 9);

-- Large and odd outputs come back as they were.
SELECT workflow_id AS w FROM durable.start('complete-7') \gset
CREATE TEMP TABLE odd AS SELECT * FROM (VALUES (0, '"it''s $1 %s \\ \""'::jsonb), (1, '{}'), (2, '[]'), (3, 'false'), (4, '0'), (5, '""'), (6, '1e100'), (7, to_jsonb(repeat('x', 10485760)))) v(n, o);
SELECT n, durable.complete((durable.claim_step(:'w', n, 's')).step_id, o) FROM odd ORDER BY n;
SELECT n, durable.output(durable.step_id(:'w', n)) = o AS same FROM odd ORDER BY n;
SELECT * FROM durable.check();
