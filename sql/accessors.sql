-- status, input, output, error, is_completed, set_timeout: by the id of a workflow or of a step.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('accessors-1', '{"in": 1}') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', '[0]', max_retries => 1) \gset
CREATE FUNCTION pg_temp.show(t uuid) RETURNS TABLE (status text, input jsonb, output jsonb, error text, is_completed boolean) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT durable.status(t)::text, durable.input(t), durable.output(t), durable.error(t), durable.is_completed(t);
END $$;

-- A workflow and a step, each from its beginning to its end.
SELECT * FROM pg_temp.show(:'w');
SELECT * FROM pg_temp.show(:'s');
SELECT status FROM durable.fail(:'s', 'once');
SELECT * FROM pg_temp.show(:'s');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.complete(:'s', '{"out": 0}');
SELECT * FROM pg_temp.show(:'s');
SELECT step_id AS f FROM durable.claim_step(:'w', 1, 'f') \gset
SELECT status FROM durable.fail(:'f', 'for good');
SELECT * FROM pg_temp.show(:'f');
SELECT durable.pause_tree(:'w');
SELECT * FROM pg_temp.show(:'w');
SELECT durable.resume_tree(:'w');
SELECT durable.complete(:'w', '"out"');
SELECT * FROM pg_temp.show(:'w');
SELECT workflow_id AS x FROM durable.start('accessors-2') \gset
SELECT status FROM durable.fail(:'x', 'broke');
SELECT * FROM pg_temp.show(:'x');
SELECT workflow_id AS x FROM durable.start('accessors-3') \gset
SELECT step_id AS xs FROM durable.claim_step(:'x', 0, 's') \gset
SELECT durable.cancel_tree(:'x');
SELECT * FROM pg_temp.show(:'x');
SELECT * FROM pg_temp.show(:'xs');
-- COMPLETED with no output is completed.
SELECT workflow_id AS x FROM durable.start('accessors-4') \gset
SELECT durable.complete(:'x');
SELECT * FROM pg_temp.show(:'x');

-- An unknown id is WF001, never NULL: a workflow, a step of an unknown one, a step never claimed.
SELECT f, test.try(format('SELECT durable.%s(%L)', f, '00000000-0000-7000-8000-000000000000')) AS workflow,
       test.try(format('SELECT durable.%s(%L)', f, '00000000-0000-7000-8000-000000000001')) AS its_step,
       test.try(format('SELECT durable.%s(%L)', f, durable.step_id(:'w', 99))) AS step
  FROM unnest(ARRAY['status', 'input', 'output', 'error', 'is_completed']) f;
SELECT durable.set_timeout('00000000-0000-7000-8000-000000000000', '1 s');
SELECT durable.set_timeout(durable.step_id(:'w', 99), '1 s');

-- The id of a step that stands for a child: accessors answer from its row; complete, fail and set_timeout
-- are 22023 with the child's id as hint.
SELECT workflow_id AS p FROM durable.start('accessors-5') \gset
SELECT workflow_id AS c FROM durable.start_child(:'p', 0, 'accessors-child', '"child in"') \gset
SELECT durable.step_id(:'p', 0) AS s \gset
SELECT status, output, error, is_completed FROM pg_temp.show(:'s');
SELECT test.error(format('SELECT durable.complete(%L)', :'s'));
SELECT test.error(format('SELECT durable.fail(%L, %L)', :'s', 'e'));
SELECT test.error(format('SELECT durable.set_timeout(%L, %L)', :'s', '1 s'));
SELECT test.error(format('SELECT durable.complete_and_claim(%L, NULL, %L)', :'s', 'next'));
SELECT durable.status(:'c'), durable.status(:'s'), (SELECT count(*) FROM durable.history(:'p')) AS steps;
SELECT durable.complete(:'c', '"child out"');
SELECT status, output, error, is_completed FROM pg_temp.show(:'s');
SELECT status, output, error, is_completed FROM pg_temp.show(:'c');
SELECT workflow_id AS c FROM durable.start_child(:'p', 1, 'accessors-child') \gset
SELECT status FROM durable.fail(:'c', 'child broke');
SELECT status, output, error, is_completed FROM pg_temp.show(durable.step_id(:'p', 1));
SELECT test.error(format('SELECT durable.fail(%L, %L)', durable.step_id(:'p', 1), 'child broke'));
SELECT * FROM durable.check();
