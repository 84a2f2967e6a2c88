-- start_child(): inline children. Queued ones are in queued.sql.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('start-child-1', executor_id => 'start-child-a', max_recovery_attempts => 7) \gset

-- Created RUNNING under a lease of its own, without an executor; its step row stands at the parent's sequence.
SELECT workflow_id AS c, created, status, output, error, lease FROM durable.start_child(:'w', 3, 'child', '{"in": 1}', 'h', 1, timeout => '1 hour') \gset
\echo :created :status :lease
SELECT name, handler, status, lease, executor_id, queue_name, input, parent_id = :'w' AS parent, parent_sequence, root_id = :'w' AS root, max_recovery_attempts, deadline - started_at AS deadline FROM durable.workflow WHERE id = :'c';
SELECT name, kind, status, child_id = :'c' AS child, output, error FROM durable.step WHERE workflow_id = :'w' AND sequence = 3;
-- Found again as it is.
SELECT workflow_id = :'c' AS same, created, status, output, error, lease FROM durable.start_child(:'w', 3, 'child', '{"in": 2}');
-- Its end is recorded on that step row; it comes back as it is, never RUNNING again.
SELECT action FROM durable.claim_step(:'c', 0, 's', lease => 1);
SELECT durable.complete(durable.step_id(:'c', 0), '0', 1), durable.complete(:'c', '{"out": 1}', 1);
SELECT status, output, error, completed_at IS NOT NULL AS completed FROM durable.step WHERE workflow_id = :'w' AND sequence = 3;
SELECT workflow_id = :'c' AS same, created, status, output, error FROM durable.start_child(:'w', 3, 'child', lease => 1);
SELECT status FROM durable.workflow WHERE id = :'c';
-- A failed child too; a NULL output too.
SELECT workflow_id AS f FROM durable.start_child(:'w', 4, 'failing') \gset
SELECT status FROM durable.fail(:'f', 'child broke');
SELECT workflow_id = :'f' AS same, created, status, output, error FROM durable.start_child(:'w', 4, 'failing');
SELECT status, error FROM durable.step WHERE workflow_id = :'w' AND sequence = 4;
SELECT workflow_id AS n FROM durable.start_child(:'w', 5, 'no output') \gset
SELECT durable.complete(:'n');
SELECT created, status, output FROM durable.start_child(:'w', 5, 'no output');

-- And one that was cancelled by itself.
SELECT workflow_id AS x FROM durable.start_child(:'w', 10, 'cancelled') \gset
SELECT durable.cancel_tree(:'x');
SELECT workflow_id = :'x' AS same, created, status, output, error FROM durable.start_child(:'w', 10, 'cancelled');

-- Another name or kind is WF007, running or finished.
SELECT created FROM durable.start_child(:'w', 3, 'other');
SELECT workflow_id AS c FROM durable.start_child(:'w', 6, 'child') \gset
SELECT created FROM durable.start_child(:'w', 6, 'other');
SELECT action FROM durable.claim_step(:'w', 6, 'child');
SELECT action FROM durable.claim_step(:'w', 7, 'step');
SELECT created FROM durable.start_child(:'w', 7, 'step');

-- Conditions of the parent are the errors of 5.1, in that order.
SELECT created FROM durable.start_child('00000000-0000-7000-8000-000000000000', 0, 'c', lease => 9);
SELECT created FROM durable.start_child(:'w', 8, 'c', lease => 2);
SELECT created FROM durable.start_child(:'w', 3, 'child', lease => 2);
SELECT created FROM durable.start_child(:'w', 8, 'c', queue => 'start-child-no-such-queue');
SELECT workflow_id AS p FROM durable.start('start-child-2', executor_id => 'start-child-a', timeout => '1 hour') \gset
SELECT workflow_id AS pc FROM durable.start_child(:'p', 0, 'c') \gset
SELECT workflow_id AS pd FROM durable.start_child(:'p', 1, 'd') \gset
SELECT durable.complete(:'pd', '"d"');
SET durable.clock_offset = 4000;
SELECT created FROM durable.start_child(:'p', 2, 'new');
SELECT created FROM durable.start_child(:'p', 1, 'd');
-- (a child has its own deadline and nothing else: its steps go on)
SELECT action FROM durable.claim_step(:'pc', 0, 's');
RESET durable.clock_offset;
SELECT durable.release('start-child-a', :'p');
SELECT created FROM durable.start_child(:'p', 2, 'new');
SELECT created FROM durable.start_child(:'p', 1, 'd');
SELECT lease FROM durable.attach(:'p', 'start-child-a');
SELECT durable.pause_tree(:'p');
SELECT created FROM durable.start_child(:'p', 2, 'new');
SELECT created FROM durable.start_child(:'p', 2, 'new', lease => 1);
SELECT durable.cancel_tree(:'p');
SELECT created FROM durable.start_child(:'p', 1, 'd');

-- A PENDING inline child: start_child by its parent again makes it RUNNING, lease + 1, and starts its clock anew.
SELECT workflow_id AS p FROM durable.start('start-child-3') \gset
SELECT workflow_id AS pc FROM durable.start_child(:'p', 0, 'c', timeout => '1 hour') \gset
SELECT status FROM durable.fail(:'p', 'p broke');
SELECT status, lease FROM durable.resume_failed(:'p');
SELECT action FROM durable.claim_step(:'pc', 0, 's');
SELECT status, lease, owner FROM durable.attach(:'pc', 'start-child-a');
SELECT workflow_id = :'pc' AS same, created, status, lease FROM durable.start_child(:'p', 0, 'c');
SELECT deadline - started_at AS deadline FROM durable.workflow WHERE id = :'pc';

-- When a workflow completes, its unfinished inline children, and theirs, become CANCELLED, their steps as after
-- cancel_tree; the step rows that stand for them too. Finished ones stay.
CREATE FUNCTION pg_temp.tree(n text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  p uuid := (durable.start(n)).workflow_id;
  c uuid := (durable.start_child(p, 0, 'c')).workflow_id;
  g uuid := (durable.start_child(c, 0, 'g')).workflow_id;
  d uuid := (durable.start_child(p, 1, 'd')).workflow_id;
  f uuid := (durable.start_child(p, 2, 'f')).workflow_id;
BEGIN
  PERFORM durable.claim_step(p, 9, 'running');
  PERFORM durable.claim_step(g, 0, 'completed');
  PERFORM durable.complete(durable.step_id(g, 0), '0');
  PERFORM durable.claim_step(g, 1, 'failed');
  PERFORM durable.fail(durable.step_id(g, 1), 'bad');
  PERFORM durable.claim_step(g, 2, 'running');
  PERFORM durable.claim_step(g, 3, 'pending', max_retries => 1, backoff => '1 hour');
  PERFORM durable.claim_step(g, 4, 'paused', max_retries => 1, backoff => '1 hour');
  PERFORM durable.fail(durable.step_id(g, 4), 'again');
  PERFORM durable.pause_tree(g);
  PERFORM durable.fail(durable.step_id(g, 3), 'again');
  PERFORM durable.complete(d, '"d"');
  PERFORM durable.fail(f, 'f broke');
  RETURN p;
END $$;
CREATE FUNCTION pg_temp.rows(p uuid) RETURNS TABLE (workflow text, sequence int, name text, kind durable.task_kind, status durable.task_status, output jsonb, error text, ended boolean) LANGUAGE sql AS $$
  SELECT * FROM (
    SELECT w.name, NULL::int, NULL, 'WORKFLOW'::durable.task_kind, w.status, w.output, w.error, w.completed_at IS NOT NULL FROM durable.workflow w WHERE w.root_id = p
    UNION ALL
    SELECT w.name, s.sequence, s.name, s.kind, s.status, s.output, s.error, s.completed_at IS NOT NULL FROM durable.workflow w JOIN durable.step s ON s.workflow_id = w.id WHERE w.root_id = p
  ) q ORDER BY 1, 2 NULLS FIRST
$$;
SELECT pg_temp.tree('start-child-4') AS p \gset
SELECT durable.complete(:'p', '"p"');
SELECT * FROM pg_temp.rows(:'p');
-- Nobody drives them any more.
SELECT action FROM durable.claim_step(test.id('g'), 9, 'new');
SELECT durable.complete(durable.step_id(test.id('g'), 2));
SELECT durable.complete(test.id('c'));
-- Under the finished parent a COMPLETED or FAILED child comes back, a CANCELLED one is WF011 like a new one (5.1).
SELECT created, status FROM durable.start_child(:'p', 0, 'c');
SELECT created, status, error FROM durable.start_child(:'p', 2, 'f');
SELECT created, status, output FROM durable.start_child(:'p', 1, 'd');
SELECT created FROM durable.start_child(:'p', 5, 'new');
-- When it fails: FAILED with the error "parent workflow failed"; PAUSED steps become PENDING, RUNNING ones stay.
SELECT pg_temp.tree('start-child-5') AS p \gset
SELECT status FROM durable.fail(:'p', 'p broke');
SELECT * FROM pg_temp.rows(:'p');
SELECT action FROM durable.claim_step(test.id('g'), 2, 'running');
SELECT durable.complete(durable.step_id(test.id('g'), 2), '"late"');
SELECT created, status, error FROM durable.start_child(:'p', 0, 'c');
-- A child in the middle that ends takes only what is below it.
SELECT pg_temp.tree('start-child-6') AS p \gset
SELECT durable.complete(test.id('c'), '"c"');
SELECT * FROM pg_temp.rows(:'p') WHERE kind = 'WORKFLOW';
-- A parent that ends twice does it once.
SELECT durable.complete(:'p'), durable.complete(:'p');

-- A step whose parent is finished: a child that is still unfinished (it has a queue, so it goes on) is WF011.
SELECT durable.create_queue('start-child-q');
SELECT workflow_id AS p FROM durable.start('start-child-8') \gset
SELECT workflow_id AS q, created, status FROM durable.start_child(:'p', 0, 'q', queue => 'start-child-q') \gset
SELECT durable.complete(:'p');
SELECT created FROM durable.start_child(:'p', 0, 'q');
SELECT durable.cancel_tree(:'q');
SELECT durable.drop_queue('start-child-q');

-- A deep tree, one bucket, one root; a takeover of the root raises every lease.
DO $$
DECLARE
  p uuid := (durable.start('start-child-7')).workflow_id;
BEGIN
  FOR i IN 1 .. 100 LOOP
    p := (durable.start_child(p, 0, 'level ' || i)).workflow_id;
  END LOOP;
END $$;
SELECT test.id('start-child-7') AS w \gset
SELECT lease FROM durable.attach(:'w', 'start-child-a');
SELECT count(*), count(DISTINCT durable.bucket(id)) AS buckets, min(lease), max(lease), count(executor_id) AS owned FROM durable.workflow WHERE root_id = :'w';
SELECT durable.complete(:'w');
SELECT status, count(*) FROM durable.workflow WHERE root_id = :'w' GROUP BY 1 ORDER BY 1;
SELECT * FROM durable.check();
