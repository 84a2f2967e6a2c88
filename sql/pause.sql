-- pause_tree and resume_tree.
\pset null -
\set VERBOSITY sqlstate
-- A tree of all kinds before it. (A child stands on one line: its status, and that of the step that stands for it.)
SELECT test.world('pause-1') AS w \gset
SELECT * FROM test.show(:'w');
CREATE TEMP TABLE before AS SELECT * FROM durable.task;

-- PENDING and RUNNING workflows become PAUSED, to any depth, below a finished child too, and their PENDING steps; a RUNNING step stays
-- RUNNING. 10 tasks: 8 workflows and 2 steps, a child counts once.
SELECT durable.pause_tree(:'w');
SELECT * FROM test.show(:'w');
-- Lease, owner, deadline are as they were; nothing but the status has changed.
SELECT count(*) AS changed FROM durable.task t JOIN before b USING (id) WHERE t IS DISTINCT FROM b;
SELECT count(*) AS otherwise FROM durable.task t JOIN before b USING (id)
 WHERE to_jsonb(t) - 'status' <> to_jsonb(b) - 'status' OR (t.status <> b.status AND (t.status <> 'PAUSED' OR b.status NOT IN ('PENDING', 'RUNNING')));
-- Not twice.
SELECT durable.pause_tree(:'w');
SELECT durable.pause_tree(test.id('inline-deep'));

-- Nothing starts in it, at any level.
SELECT t, test.try(format('SELECT action FROM durable.claim_step(%L, 9, %L)', test.id(t), 'new')) AS claim_step,
       left(test.try(format('SELECT created FROM durable.start_child(%L, 9, %L)', test.id(t), 'new')), 5) AS start_child,
       left(test.try(format('SELECT durable.complete(%L)', test.id(t))), 5) AS complete,
       left(test.try(format('SELECT durable.fail(%L, %L)', test.id(t), 'bad')), 5) AS fail
  FROM unnest('{pause-1,inline,inline-deep,queued-deep,queued,queued-inline,done-queued,broken-queued}'::text[]) t;
-- (not what is recorded either, nor what is RUNNING or PENDING, nor a finished child)
SELECT s.sequence, s.name, left(test.try(format('SELECT action FROM durable.claim_step(%L, %s, %L)', s.workflow_id, s.sequence, s.name)), 5) AS claim_step,
       left(test.try(format('SELECT created FROM durable.start_child(%L, %s, %L)', s.workflow_id, s.sequence, s.name)), 5) AS start_child
  FROM durable.step s WHERE workflow_id = :'w' ORDER BY 1;
SELECT * FROM durable.claim('pause-1-q', 'pause-1-b', 100);
SELECT created, status, lease, owner FROM durable.start('pause-1', executor_id => 'pause-1-a');
SELECT status, lease, owner FROM durable.attach(:'w', 'pause-1-c', true);
SET durable.clock_offset = 100000;
SELECT name FROM durable.recover('pause-1-c', handlers => '{pause-1 handler}');
SELECT name FROM durable.recover('pause-1-c', queue => 'pause-1-q');
RESET durable.clock_offset;
-- Their executors hear of it.
SELECT test.mask(workflow_id::text) AS workflow, status, lease, owner FROM durable.heartbeat('pause-1-a', ARRAY[:'w']::uuid[], '{1}');

-- RUNNING steps may record their outcome: an output, an error, a failure with retries left, which goes to PENDING and is not lost.
SELECT durable.complete(durable.step_id(test.id('inline-deep'), 0), '"late"', 1, 1);
SELECT status, retry_count, run_at FROM durable.fail(durable.step_id(test.id('queued'), 0), 'late', 1, 1);
SELECT status, retry_count, test.seconds(run_at) FROM durable.fail(durable.step_id(:'w', 2), 'late', 1, 1);
SELECT durable.complete(durable.step_id(test.id('done'), 1), '"late"');
SELECT durable.complete(durable.step_id(test.id('inline'), 0), '"late"', 2);
-- complete_and_claim: the completion stands.
SELECT action, left(error, 5) AS error FROM durable.complete_and_claim(durable.step_id(test.id('inline'), 0), '"late"', 'next', 9, lease => 1);
-- A PAUSED step is WF002.
SELECT durable.complete(durable.step_id(:'w', 3));
SELECT status FROM durable.fail(durable.step_id(:'w', 3), 'once');
SELECT * FROM durable.check();

-- Resumed: each is what it was before, and as much is changed as was paused.
SELECT durable.resume_tree(:'w');
SELECT * FROM test.show(:'w');
SELECT count(*) AS not_as_before FROM durable.workflow t JOIN before b USING (id)
 WHERE (t.status, t.lease, t.executor_id, t.started_at, t.deadline) IS DISTINCT FROM (b.status, b.lease, b.executor_id, b.started_at, b.deadline);
SELECT durable.resume_tree(:'w');
-- And it goes on: the waiting step when it is due, the queue in its order, the owner under its old lease.
SELECT action, test.seconds(run_at) FROM durable.claim_step(:'w', 2, 'running', lease => 1);
SELECT action, test.seconds(run_at) FROM durable.claim_step(:'w', 3, 'pending', lease => 1);
SELECT action FROM durable.claim_step(test.id('inline'), 1, 'pending', lease => 1);
SELECT action FROM durable.claim_step(:'w', 9, 'new', lease => 1, executor_id => 'pause-1-a');
SELECT name, lease FROM durable.claim('pause-1-q', 'pause-1-b', 100);
SELECT * FROM durable.heartbeat('pause-1-a', ARRAY[:'w']::uuid[], '{1}');

-- A pause within a pause: a child that was paused by itself stays PAUSED, with all below it, when the root's pause is resumed.
SELECT durable.pause_tree(test.id('inline'));
SELECT durable.pause_tree(:'w');
-- Below a workflow that is still PAUSED nothing is resumed, however it came to be PAUSED; the hint names the nearest such.
SELECT test.error(format('SELECT durable.resume_tree(%L)', test.id('inline')));
SELECT test.error(format('SELECT durable.resume_tree(%L)', test.id('queued')));
SELECT test.error(format('SELECT durable.resume_tree(%L)', test.id('inline-deep')));
SELECT durable.resume_tree(:'w');
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
SELECT durable.resume_tree(test.id('inline-deep'));
SELECT durable.resume_tree(test.id('inline'));
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
-- Three, from the innermost to the root, and each resumed by itself.
SELECT durable.pause_tree(test.id('inline-deep')), durable.pause_tree(test.id('inline')), durable.pause_tree(:'w');
SELECT durable.resume_tree(:'w');
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
SELECT durable.pause_tree(:'w');
SELECT durable.resume_tree(:'w');
SELECT durable.resume_tree(test.id('inline'));
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
SELECT durable.resume_tree(test.id('inline-deep'));
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
-- Its parent cannot end under a pause of its own, but goes on under a child's.
SELECT durable.pause_tree(test.id('queued-deep'));
SELECT action FROM durable.claim_step(test.id('inline'), 8, 'new');
SELECT created, status FROM durable.start_child(test.id('inline'), 3, 'queued-deep');
SELECT durable.resume_tree(test.id('queued-deep'));
SELECT * FROM durable.check();

-- A pause whose workflow has ended since: the queued child that was paused with it can still be resumed, by itself.
SELECT durable.pause_tree(test.id('inline'));
SELECT durable.complete(:'w', '"w"');
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED' OR task LIKE '%inline%';
SELECT durable.resume_tree(test.id('inline'));
SELECT durable.resume_tree(test.id('queued-deep'));
SELECT durable.status(test.id('queued-deep'));
SELECT action FROM durable.claim_step(test.id('queued-deep'), 0, 's', lease => 1);
SELECT * FROM durable.check();
-- The same where it failed, and runs again.
SELECT test.world('pause-2') AS w \gset
SELECT durable.pause_tree(test.id('inline'));
SELECT status FROM durable.fail(:'w', 'broke');
SELECT task, status, error FROM test.show(test.id('inline'));
SELECT status, lease FROM durable.resume_failed(:'w');
SELECT status, lease FROM durable.start_child(:'w', 4, 'inline');
SELECT task, status FROM test.show(test.id('inline'));
SELECT durable.resume_tree(test.id('inline'));
-- (the next pause is another one: as much is resumed as was paused by it)
SELECT durable.pause_tree(test.id('inline'));
SELECT durable.resume_tree(test.id('inline'));
SELECT durable.resume_tree(test.id('queued-deep'));
SELECT task, status FROM test.show(:'w') WHERE status = 'PAUSED';
SELECT * FROM durable.check();

-- From PENDING: a queued root, a released one. Back to PENDING, in the queue's order; no deadline meanwhile.
SELECT durable.create_queue('pause-q', max_concurrency => 1);
SELECT workflow_id AS q1 FROM durable.start('pause-3', queue => 'pause-q', timeout => '1 hour') \gset
SELECT workflow_id AS q2 FROM durable.start('pause-4', queue => 'pause-q') \gset
SELECT workflow_id AS r FROM durable.start('pause-5', executor_id => 'pause-a') \gset
SELECT durable.release('pause-a', :'r', '2100-01-01');
SELECT durable.pause_tree(:'q1'), durable.pause_tree(:'r');
SELECT name, status, lease, deadline, executor_id FROM durable.workflow WHERE id IN (:'q1', :'r') ORDER BY name;
SELECT created, status FROM durable.start('pause-5', executor_id => 'pause-a');
SELECT name, lease FROM durable.claim('pause-q', 'pause-a', 10);
-- The one that is RUNNING keeps its slot while it is PAUSED.
SELECT durable.pause_tree(:'q2'), durable.resume_tree(:'q1'), durable.resume_tree(:'r');
SELECT name, status, lease FROM durable.workflow WHERE id IN (:'q1', :'r') ORDER BY name;
SELECT name, lease FROM durable.claim('pause-q', 'pause-a', 10);
-- It is released: it resumes as PENDING, lease + 1, and the slot is free.
SELECT lease FROM durable.start_child(:'r', 0, 'never');
SELECT durable.release('pause-a');
SELECT name, status, lease, executor_id FROM durable.workflow WHERE id = :'q2';
SELECT name, lease FROM durable.claim('pause-q', 'pause-b', 10);
SELECT durable.resume_tree(:'q2');
SELECT name, status, lease, executor_id FROM durable.workflow WHERE id = :'q2';
SELECT durable.complete(:'q1');
SELECT name, lease FROM durable.claim('pause-q', 'pause-b', 10);
SELECT status, lease, owner FROM durable.attach(:'r', 'pause-b');

-- A pause does not stop the deadline; set_timeout re-arms it meanwhile.
SELECT workflow_id AS d FROM durable.start('pause-6', timeout => '100 s') \gset
SELECT durable.pause_tree(:'d'), durable.set_timeout(:'d', '200 s');
SELECT status, deadline - started_at AS deadline FROM durable.workflow WHERE id = :'d';
SET durable.clock_offset = 150;
SELECT durable.resume_tree(:'d');
SELECT action FROM durable.claim_step(:'d', 0, 's');
SET durable.clock_offset = 250;
SELECT action FROM durable.claim_step(:'d', 1, 's');
SELECT durable.pause_tree(:'d');
SELECT action FROM durable.claim_step(:'d', 1, 's');
SELECT durable.resume_tree(:'d');
RESET durable.clock_offset;

-- Rolled back, it has not been.
BEGIN;
SELECT durable.pause_tree(:'d');
SAVEPOINT s;
SELECT durable.resume_tree(:'d');
ROLLBACK TO s;
SELECT durable.status(:'d');
ROLLBACK;
SELECT durable.status(:'d');

SELECT workflow_id AS f FROM durable.start('pause-7') \gset
SELECT status FROM durable.fail(:'f', 'bad');
-- A finished workflow: WF002, a CANCELLED one WF005; resumed is only what is PAUSED.
SELECT t, left(test.try(format('SELECT durable.pause_tree(%L)', test.id(t))), 5) AS pause_tree, left(test.try(format('SELECT durable.resume_tree(%L)', test.id(t))), 5) AS resume_tree
  FROM unnest('{pause-1,pause-7,dropped,done}'::text[]) t;
SELECT test.error(format('SELECT durable.pause_tree(%L)', test.id('pause-1')));
SELECT test.error(format('SELECT durable.resume_tree(%L)', test.id('pause-2')));
-- A step has no life of its own (nor has the one that stands for a child); an unknown id; NULL.
SELECT f, test.try(format('SELECT durable.%s(%L)', f, durable.step_id(:'w', 2))) AS step, left(test.try(format('SELECT durable.%s(%L)', f, durable.step_id(:'w', 4))), 5) AS child,
       left(test.try(format('SELECT durable.%s(%L)', f, durable.step_id(:'w', 99))), 5) AS no_step, test.try(format('SELECT durable.%s(NULL)', f)) AS "null"
  FROM unnest('{pause_tree,resume_tree,cancel_tree,resume_failed}'::text[]) f;
SELECT f, test.try(format('SELECT durable.%s(%L)', f, '00000000-0000-7000-8000-000000000000')) AS unknown
  FROM unnest('{pause_tree,resume_tree,cancel_tree,resume_failed}'::text[]) f;
SELECT test.error(format('SELECT durable.pause_tree(%L)', durable.step_id(:'w', 2)));

-- Any depth, any width: 300 levels, and more children than go into one statement.
DO $$
DECLARE
  p uuid := (durable.start('pause-deep')).workflow_id;
BEGIN
  FOR i IN 1 .. 300 LOOP
    p := (durable.start_child(p, 0, 'level ' || i)).workflow_id;
  END LOOP;
  p := (durable.start('pause-wide')).workflow_id;
  PERFORM durable.start_child(p, i, 'wide ' || i) FROM generate_series(1, 10500) i;
END $$;
SELECT durable.pause_tree(test.id('pause-deep')), durable.pause_tree(test.id('pause-wide'));
SELECT action FROM durable.claim_step(test.id('level 300'), 0, 's');
SELECT durable.resume_tree(test.id('pause-deep')), durable.resume_tree(test.id('pause-wide'));
SELECT action FROM durable.claim_step(test.id('level 300'), 0, 's');
SELECT * FROM durable.check();
SELECT durable.cancel_tree(test.id('pause-deep')), durable.cancel_tree(test.id('pause-wide'));
SELECT * FROM durable.check();
