-- resume_failed.
\pset null -
\set VERBOSITY sqlstate
-- Its FAILED steps and those left RUNNING become PENDING, their retries begin anew; its FAILED children become PENDING with their steps
-- likewise, and so on down; the steps that stand for them RUNNING. Others stay as they are.
SELECT test.world('resume-failed-1') AS w \gset
SELECT status FROM durable.fail(test.id('queued'), 'child failed');
SELECT status FROM durable.fail(:'w', 'it broke');
SELECT * FROM test.show(:'w');
CREATE TEMP TABLE before AS SELECT * FROM durable.workflow;
SET durable.clock_offset = 1000;
SELECT * FROM durable.resume_failed(:'w', 'resume-failed-a');
SELECT * FROM test.show(:'w');
-- recovery_count + 1 and the deadline re-armed; a child has none while it is PENDING. The executor is registered.
SELECT name, status, recovery_count, executor_id, test.seconds(started_at) AS started, test.seconds(deadline) AS deadline, completed_at
  FROM durable.workflow WHERE id IN (:'w', test.id('inline')) ORDER BY id;
SELECT test.seconds(last_seen) FROM durable.executor WHERE executor_id = 'resume-failed-a';
-- Under a new lease at each level, so that the former run is fenced: claims, outcomes, the end.
SELECT name, w.lease - b.lease AS raised FROM durable.workflow w JOIN before b USING (id, name) WHERE w.root_id = :'w' AND w.lease <> b.lease ORDER BY id;
SELECT durable.complete(durable.step_id(:'w', 2), '"zombie"', 1, 1);
SELECT status FROM durable.fail(durable.step_id(test.id('inline-deep'), 0), 'zombie', 1);
SELECT action FROM durable.claim_step(:'w', 9, 'zombie', lease => 1);
SELECT durable.complete(test.id('inline'), '"zombie"', 1);
SELECT durable.complete(:'w', '"zombie"', 1);
-- (nor without a lease, since it is not RUNNING)
SELECT durable.complete(durable.step_id(:'w', 2), '"zombie"');
SELECT * FROM durable.check();
-- From its last completed step.
SELECT action, output FROM durable.claim_step(:'w', 0, 'completed', lease => 2);
SELECT action, attempt, error FROM durable.claim_step(:'w', 1, 'failed', lease => 2, executor_id => 'resume-failed-a');
SELECT action, attempt FROM durable.claim_step(:'w', 2, 'running', lease => 2, max_retries => 1, backoff => '1 hour');
SELECT status, retry_count FROM durable.fail(durable.step_id(:'w', 2), 'again', 2);
-- (a retry that waits goes on waiting)
SELECT action, attempt, test.seconds(run_at) FROM durable.claim_step(:'w', 3, 'pending', lease => 2);
-- An inline child waits for its parent, which makes it RUNNING, lease + 1, with a deadline of its own.
SELECT action FROM durable.claim_step(test.id('inline'), 0, 'running');
SELECT created, status, output, error, lease FROM durable.start_child(:'w', 4, 'inline', lease => 2);
SELECT action, attempt FROM durable.claim_step(test.id('inline'), 0, 'running', lease => 3);
SELECT created, status, lease FROM durable.start_child(test.id('inline'), 2, 'inline-deep', lease => 3);
SELECT test.seconds(deadline) FROM durable.workflow WHERE id = test.id('inline');
SELECT created, status, output FROM durable.start_child(:'w', 6, 'done', lease => 2);
SELECT created, status FROM durable.start_child(:'w', 8, 'dropped', lease => 2);
-- A queued child waits for its queue, in its old place.
SELECT created, status, lease FROM durable.start_child(:'w', 5, 'queued', lease => 2);
SELECT name, lease FROM durable.claim('resume-failed-1-q', 'resume-failed-b', 10);
SELECT action, attempt FROM durable.claim_step(test.id('queued'), 0, 'running', lease => 3);
-- Not twice: what is RUNNING is WF002.
SELECT status FROM durable.resume_failed(:'w', 'resume-failed-a');
RESET durable.clock_offset;
SELECT * FROM durable.check();

-- from_sequence: failures before it that the program caught and went past are kept, with all below them, steps and children alike;
-- it counts in the named workflow only. What was left RUNNING becomes PENDING wherever it stands.
SELECT test.world('resume-failed-2') AS w \gset
SELECT action FROM durable.claim_step(:'w', 9, 'failed, too');
SELECT status FROM durable.fail(durable.step_id(:'w', 9), 'the last');
SELECT status FROM durable.fail(:'w', 'it broke');
BEGIN;
SELECT status, lease FROM durable.resume_failed(:'w', from_sequence => 7);
SELECT * FROM test.show(:'w');
SELECT * FROM durable.check();
-- A kept failure is still a recorded outcome.
SELECT action, error FROM durable.claim_step(:'w', 1, 'failed');
SELECT created, status, error FROM durable.start_child(:'w', 4, 'inline');
ROLLBACK;
BEGIN;
SELECT status, lease FROM durable.resume_failed(:'w', from_sequence => 8);
SELECT task, status, stand_in, error FROM test.show(:'w') WHERE status = 'FAILED' OR task LIKE '%failed, too';
ROLLBACK;
SELECT status, lease FROM durable.resume_failed(:'w', from_sequence => 2147483647);
SELECT task, status, stand_in, error FROM test.show(:'w') WHERE status = 'FAILED';
SELECT status FROM durable.fail(:'w', 'it broke again');
SELECT status, lease FROM durable.resume_failed(:'w', from_sequence => 2);
SELECT task, status, stand_in, error FROM test.show(:'w') WHERE status = 'FAILED';
SELECT durable.complete(:'w', '"at last"');
SELECT * FROM durable.check();

-- A queued root: PENDING, nobody's, without a deadline, in its queue again; the executor is registered all the same.
SELECT durable.create_queue('resume-failed-q');
SELECT workflow_id AS w FROM durable.start('resume-failed-3', '[3]', 'h', queue => 'resume-failed-q', timeout => '1 hour') \gset
SELECT name FROM durable.claim('resume-failed-q', 'resume-failed-b');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT status FROM durable.fail(:'w', 'it broke');
SELECT * FROM durable.resume_failed(:'w', 'resume-failed-c');
SELECT status, lease, executor_id, deadline, recovery_count, error FROM durable.workflow WHERE id = :'w';
SELECT count(*) FROM durable.executor WHERE executor_id = 'resume-failed-c';
SELECT action FROM durable.claim_step(:'w', 0, 's');
SET durable.clock_offset = 1000;
SELECT name, lease, recovery_count FROM durable.claim('resume-failed-q', 'resume-failed-b');
SELECT test.seconds(deadline) FROM durable.workflow WHERE id = :'w';
SELECT action, attempt FROM durable.claim_step(:'w', 0, 's', lease => 3);
RESET durable.clock_offset;

-- A queued child by itself: PENDING in its queue, and the step that stands for it RUNNING again; also where its parent has ended.
SELECT test.world('resume-failed-4') AS w \gset
SELECT status FROM durable.fail(test.id('queued'), 'child failed');
SELECT created, status, error FROM durable.start_child(:'w', 5, 'queued');
SELECT status, lease FROM durable.resume_failed(test.id('queued'));
SELECT * FROM test.show(test.id('queued'));
SELECT created, status, error FROM durable.start_child(:'w', 5, 'queued');
SELECT status, output, error, completed_at FROM durable.step WHERE child_id = test.id('queued');
SELECT durable.complete(:'w');
SELECT name, lease FROM durable.claim('resume-failed-4-q', 'resume-failed-b');
SELECT status FROM durable.fail(test.id('queued'), 'child failed again');
SELECT status, lease FROM durable.resume_failed(test.id('queued'));
SELECT * FROM durable.check();

-- An inline child is driven by its parent's driver: WF002, and the nearest ancestor that is not inline as hint.
SELECT test.error(format('SELECT durable.resume_failed(%L)', test.id('broken')));
SELECT test.error(format('SELECT durable.resume_failed(%L)', test.id('broken-inline')));
SELECT left(test.try(format('SELECT durable.resume_failed(%L)', test.id('queued-inline'))), 5) AS below_a_queued_child;

-- Below inline children that were cancelled because the root completed, a queued child goes on, and so runs again.
SELECT test.world('resume-failed-12') AS w \gset
SELECT name FROM durable.claim('resume-failed-12-q', 'resume-failed-b');
SELECT durable.complete(:'w');
SELECT durable.status(test.id('inline'));
SELECT status FROM durable.fail(test.id('queued-deep'), 'child failed');
SELECT status, lease FROM durable.resume_failed(test.id('queued-deep'));
SELECT name, lease FROM durable.claim('resume-failed-12-q', 'resume-failed-b', 10);
SELECT durable.complete(test.id('queued-deep'), '"at last"', 3);
SELECT status, output FROM durable.step WHERE child_id = test.id('queued-deep');
SELECT * FROM durable.check();

-- Below a pause nothing is resumed.
SELECT test.world('resume-failed-5') AS w \gset
SELECT status FROM durable.fail(test.id('queued'), 'child failed');
SELECT durable.pause_tree(:'w');
SELECT test.error(format('SELECT durable.resume_failed(%L)', test.id('queued')));
SELECT durable.resume_tree(:'w');
-- What was paused below, by itself, stays so: only what is FAILED is run again.
SELECT durable.pause_tree(test.id('done-queued'));
SELECT status FROM durable.fail(:'w', 'it broke');
SELECT status FROM durable.resume_failed(:'w');
SELECT durable.status(test.id('done-queued')), durable.status(test.id('queued'));
-- What was cancelled, too; and a child that has a FAILED one below it but is not FAILED itself is not gone through.
SELECT status FROM durable.fail(:'w', 'it broke');
SELECT durable.cancel_tree(test.id('broken-queued'));
SELECT status FROM durable.resume_failed(:'w');
SELECT durable.status(test.id('broken-queued')), durable.status(test.id('dropped'));
SELECT workflow_id AS p FROM durable.start('resume-failed-6') \gset
SELECT workflow_id AS q FROM durable.start_child(:'p', 0, 'on its own', queue => 'resume-failed-q') \gset
SELECT name FROM durable.claim('resume-failed-q', 'resume-failed-b');
SELECT workflow_id AS c FROM durable.start_child(:'q', 0, 'caught') \gset
SELECT status FROM durable.fail(:'c', 'caught');
SELECT status FROM durable.fail(:'p', 'it broke');
SELECT status FROM durable.resume_failed(:'p');
SELECT task, status, stand_in, lease FROM test.show(:'p');
SELECT * FROM durable.check();

-- At the limit: WF009. The limit of the named workflow; recoveries count, too.
SELECT workflow_id AS l FROM durable.start('resume-failed-7', max_recovery_attempts => 2) \gset
DO $$
BEGIN
  FOR i IN 1 .. 2 LOOP
    PERFORM durable.fail(test.id('resume-failed-7'), 'it broke'), durable.resume_failed(test.id('resume-failed-7'));
  END LOOP;
END $$;
SELECT lease, recovery_count FROM durable.workflow WHERE id = :'l';
SELECT status FROM durable.fail(:'l', 'it broke');
SELECT test.error(format('SELECT durable.resume_failed(%L)', :'l'));
SELECT status, lease, recovery_count FROM durable.workflow WHERE id = :'l';
SELECT workflow_id AS l FROM durable.start('resume-failed-8', max_recovery_attempts => 0) \gset
SELECT status FROM durable.fail(:'l', 'it broke');
SELECT status FROM durable.resume_failed(:'l');

-- While another run of that name is active: WF002, whatever it does. A child's name does not count.
SELECT workflow_id AS old FROM durable.start('resume-failed-9') \gset
SELECT status FROM durable.fail(:'old', 'it broke');
SELECT workflow_id AS new, created FROM durable.start('resume-failed-9') \gset
SELECT replace(test.error(format('SELECT durable.resume_failed(%L)', :'old')), :'new', 'the other');
SELECT durable.pause_tree(:'new');
SELECT status FROM durable.resume_failed(:'old');
SELECT durable.cancel_tree(:'new');
SELECT status, lease FROM durable.resume_failed(:'old');
SELECT workflow_id = :'old' AS same, created, lease FROM durable.start('resume-failed-9');
SELECT status FROM durable.fail(:'old', 'it broke');
SELECT created FROM durable.start_child(:'w', 20, 'resume-failed-9');
SELECT status, lease FROM durable.resume_failed(:'old');

-- Without an executor it is nobody's, and taken over as any other that nobody drives.
SELECT executor_id, lease FROM durable.workflow WHERE id = :'old';
SELECT status, lease, owner FROM durable.attach(:'old', 'resume-failed-d');
-- Every other status: WF002, CANCELLED WF005.
SELECT workflow_id AS r FROM durable.start('resume-failed-10', executor_id => 'resume-failed-d') \gset
SELECT test.error(format('SELECT durable.resume_failed(%L)', :'r'));
SELECT durable.release('resume-failed-d', :'r');
SELECT status FROM durable.resume_failed(:'r');
SELECT durable.pause_tree(:'r');
SELECT status FROM durable.resume_failed(:'r');
SELECT durable.cancel_tree(:'r');
SELECT status FROM durable.resume_failed(:'r');
SELECT workflow_id AS r FROM durable.start('resume-failed-11') \gset
SELECT durable.complete(:'r');
SELECT status FROM durable.resume_failed(:'r');
-- Bad arguments (a step's id is in pause.sql).
SELECT status FROM durable.resume_failed(:'old', '');
SELECT status FROM durable.resume_failed(:'old', from_sequence => -1);
SELECT status FROM durable.resume_failed(:'old', from_sequence => NULL);
-- Rolled back, it has not been.
SELECT status FROM durable.fail(:'old', 'it broke');
BEGIN;
SELECT status, lease FROM durable.resume_failed(:'old', 'resume-failed-e');
ROLLBACK;
SELECT status, lease, recovery_count FROM durable.workflow WHERE id = :'old';
SELECT count(*) FROM durable.executor WHERE executor_id = 'resume-failed-e';
SELECT * FROM durable.check();
