-- cancel_tree.
\pset null -
\set VERBOSITY sqlstate
SELECT test.world('cancel-1') AS w \gset
CREATE TEMP TABLE before AS SELECT * FROM durable.task;
-- All that is PENDING, RUNNING or PAUSED becomes CANCELLED, to any depth, in and below finished children too; what is COMPLETED or
-- FAILED stays. 17 tasks: 8 workflows; 9 steps, of which 2 are left over in the FAILED child, and 1 in the COMPLETED one.
SELECT durable.cancel_tree(:'w');
SELECT * FROM test.show(:'w');
SELECT b.kind, b.status, t.status AS now, count(*) FROM durable.task t JOIN before b USING (id) WHERE t IS DISTINCT FROM b GROUP BY 1, 2, 3 ORDER BY 1, 2;
SELECT count(*) AS otherwise FROM durable.task t JOIN before b USING (id) WHERE to_jsonb(t) - '{status,completed_at}'::text[] <> to_jsonb(b) - '{status,completed_at}'::text[];
SELECT count(*) AS without_completed_at FROM durable.task WHERE status = 'CANCELLED' AND completed_at IS NULL;
SELECT * FROM durable.check();

-- A late outcome never overwrites it: not a step's (equal or not, fenced or not), not a workflow's, at no level.
SELECT durable.complete(durable.step_id(:'w', 2), '"late"', 1, 1);
SELECT status FROM durable.fail(durable.step_id(:'w', 2), 'late');
SELECT status FROM durable.fail(durable.step_id(:'w', 3), 'once');
SELECT durable.complete(durable.step_id(test.id('done'), 1), '"late"');
SELECT status FROM durable.fail(durable.step_id(test.id('broken'), 2), 'late');
SELECT action FROM durable.complete_and_claim(durable.step_id(:'w', 2), '"late"', 'next');
SELECT t, left(test.try(format('SELECT durable.complete(%L)', test.id(t))), 5) AS complete, left(test.try(format('SELECT durable.fail(%L, %L)', test.id(t), 'late')), 5) AS fail,
       left(test.try(format('SELECT durable.set_timeout(%L, NULL)', test.id(t))), 5) AS set_timeout,
       left(test.try(format('SELECT action FROM durable.claim_step(%L, 9, %L)', test.id(t), 'new')), 5) AS claim_step,
       left(test.try(format('SELECT created FROM durable.start_child(%L, 9, %L)', test.id(t), 'new')), 5) AS start_child,
       left(test.try(format('SELECT durable.pause_tree(%L)', test.id(t))), 5) AS pause_tree, left(test.try(format('SELECT durable.resume_tree(%L)', test.id(t))), 5) AS resume_tree,
       left(test.try(format('SELECT durable.cancel_tree(%L)', test.id(t))), 5) AS cancel_tree, left(test.try(format('SELECT status FROM durable.resume_failed(%L)', test.id(t))), 5) AS resume_failed
  FROM unnest('{cancel-1,inline,inline-deep,queued-deep,queued,queued-inline,done-queued,broken-queued,dropped,done,broken,broken-inline}'::text[]) t;
-- What was recorded before stays, and is not read any more by a claim; a repeated completion answers as ever.
SELECT s.sequence, s.name, left(test.try(format('SELECT action FROM durable.claim_step(%L, %s, %L)', s.workflow_id, s.sequence, s.name)), 5) AS claim_step,
       left(test.try(format('SELECT created FROM durable.start_child(%L, %s, %L)', s.workflow_id, s.sequence, s.name)), 5) AS start_child
  FROM durable.step s WHERE workflow_id = :'w' ORDER BY 1;
SELECT durable.complete(durable.step_id(:'w', 0), '"0"'), durable.output(durable.step_id(:'w', 0));
SELECT durable.complete(test.id('done'), '"6"'), durable.output(test.id('done'));
-- Nobody gets it.
SELECT * FROM durable.claim('cancel-1-q', 'cancel-1-b', 100);
SELECT status, lease, owner FROM durable.attach(:'w', 'cancel-1-c', true);
SET durable.clock_offset = 100000;
SELECT name FROM durable.recover('cancel-1-c', handlers => '{cancel-1 handler}');
SELECT name FROM durable.recover('cancel-1-c', queue => 'cancel-1-q');
RESET durable.clock_offset;
SELECT test.mask(workflow_id::text) AS workflow, status, lease FROM durable.heartbeat('cancel-1-a', ARRAY[:'w']::uuid[], '{1}');
SELECT durable.release('cancel-1-a'), durable.release('cancel-1-b');
SELECT durable.drop_queue('cancel-1-q');
SELECT test.error(format('SELECT durable.cancel_tree(%L)', :'w'));
SELECT test.error(format('SELECT durable.cancel_tree(%L)', test.id('done')));
-- Of that name a new run starts.
SELECT created, status, lease, workflow_id <> :'w' AS another FROM durable.start('cancel-1');
SELECT * FROM durable.check();

-- A child: what is beside it and above it goes on; the step that stands for it says CANCELLED, and its parent finds it so.
SELECT test.world('cancel-2') AS w \gset
SELECT durable.cancel_tree(test.id('inline'));
SELECT durable.cancel_tree(test.id('queued'));
SELECT durable.cancel_tree(test.id('done-queued'));
SELECT * FROM test.show(:'w');
SELECT created, status, output, error FROM durable.start_child(:'w', 4, 'inline');
SELECT created, status, output, error FROM durable.start_child(:'w', 5, 'queued');
SELECT status, child_id = test.id('queued') AS child, output, error FROM durable.history(:'w') WHERE sequence = 5;
SELECT action FROM durable.claim_step(:'w', 9, 'new', lease => 1);
-- Under a pause of the root: what is cancelled meanwhile stays so when it is resumed.
SELECT durable.pause_tree(:'w');
SELECT durable.cancel_tree(test.id('broken-queued'));
SELECT durable.resume_tree(:'w');
SELECT status, count(*) FROM test.show(:'w') GROUP BY 1 ORDER BY 1;
-- From PAUSED, with a pause within it.
SELECT test.world('cancel-3') AS w \gset
SELECT durable.pause_tree(test.id('inline')), durable.pause_tree(:'w');
SELECT durable.cancel_tree(:'w');
SELECT status, count(*) FROM test.show(:'w') GROUP BY 1 ORDER BY 1;
SELECT * FROM durable.check();

-- What the parent has abandoned: a queued child goes on below inline children that were cancelled because the root completed, and can
-- itself be paused, resumed and cancelled.
SELECT test.world('cancel-4') AS w \gset
SELECT durable.complete(:'w');
SELECT task, status FROM test.show(:'w') WHERE task LIKE '%:';
SELECT name, lease FROM durable.claim('cancel-4-q', 'cancel-4-b');
SELECT action FROM durable.claim_step(test.id('queued-deep'), 0, 's', lease => 1);
SELECT durable.pause_tree(test.id('queued-deep'));
SELECT durable.resume_tree(test.id('queued-deep'));
SELECT durable.cancel_tree(:'w');
SELECT durable.cancel_tree(test.id('queued-deep'));
SELECT status FROM durable.step WHERE child_id = test.id('queued-deep');
SELECT * FROM durable.check();

-- From PENDING: a queued root, whose slot others get; a released one. From RUNNING in a queue: the slot is free at once.
SELECT durable.create_queue('cancel-q', max_concurrency => 1);
SELECT workflow_id AS q1 FROM durable.start('cancel-5', queue => 'cancel-q', timeout => '1 hour') \gset
SELECT workflow_id AS q2 FROM durable.start('cancel-6', queue => 'cancel-q') \gset
SELECT workflow_id AS q3 FROM durable.start('cancel-7', queue => 'cancel-q') \gset
SELECT workflow_id AS r FROM durable.start('cancel-8', executor_id => 'cancel-a') \gset
SELECT durable.release('cancel-a', :'r');
SELECT durable.cancel_tree(:'q1'), durable.cancel_tree(:'r');
SELECT name, lease FROM durable.claim('cancel-q', 'cancel-a', 10);
SELECT name, lease FROM durable.claim('cancel-q', 'cancel-a', 10);
SELECT durable.pause_tree(:'q2');
SELECT durable.cancel_tree(:'q2');
SELECT name, lease FROM durable.claim('cancel-q', 'cancel-a', 10);
SELECT name, status, lease, completed_at IS NOT NULL AS completed FROM durable.workflow WHERE id IN (:'q1', :'q2', :'r') ORDER BY name;
-- Past its deadline, and by whomever: no lease is asked.
SELECT workflow_id AS d FROM durable.start('cancel-9', timeout => '100 s') \gset
SET durable.clock_offset = 1000;
SELECT durable.cancel_tree(:'d');
SELECT durable.status(:'d'), test.seconds(completed_at) FROM durable.workflow WHERE id = :'d';
RESET durable.clock_offset;
-- Rolled back, it has not been.
SELECT workflow_id AS d FROM durable.start('cancel-10') \gset
BEGIN;
SELECT durable.cancel_tree(:'d');
ROLLBACK;
SELECT action FROM durable.claim_step(:'d', 0, 's');
SELECT * FROM durable.check();
