-- Executors: recover, release, what heartbeat answers after them, and who is registered when. The clock
-- is moved, so that nobody waits; the timeout of executors is 180 s.
\pset null -
\set VERBOSITY sqlstate
TRUNCATE durable.workflow, durable.step, durable.event, durable.queue, durable.executor;
SELECT durable.create_queue('executor-q'), durable.create_queue('executor-q2');
-- What recover answers, in the order of creation, but for the input; all that is seen of a workflow; an executor's last_seen.
CREATE FUNCTION pg_temp.recover(executor text, most int = 100, stale_after interval = NULL, queue text = NULL, handlers text[] = NULL)
RETURNS TABLE (name text, handler text, lease int, recoveries int, reason text) LANGUAGE sql AS $$
  SELECT name, handler, lease, recovery_count, reason FROM durable.recover(executor, most, stale_after, queue, handlers) ORDER BY workflow_id
$$;
CREATE FUNCTION pg_temp.seen(pattern text) RETURNS TABLE (name text, status text, lease int, owner text, recoveries int, run_at numeric, started_at numeric, deadline numeric, error text) LANGUAGE sql AS $$
  SELECT name, status::text, lease, executor_id, recovery_count, test.seconds(run_at), test.seconds(started_at), test.seconds(deadline), error
    FROM durable.workflow WHERE name LIKE pattern ORDER BY id
$$;
CREATE FUNCTION pg_temp.silent(e text) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce((SELECT test.seconds(last_seen)::text FROM durable.executor WHERE executor_id = e), 'unknown')
$$;
-- The heartbeat of one that believes it runs these.
CREATE FUNCTION pg_temp.beat(executor text, names text[], leases int[]) RETURNS TABLE (workflow text, status text, lease int, owner text) LANGUAGE sql AS $$
  SELECT test.mask(workflow_id::text), status::text, lease, owner
    FROM durable.heartbeat(executor, ARRAY(SELECT test.id(n) FROM unnest(names) WITH ORDINALITY u(n, i) ORDER BY i), leases) ORDER BY 1
$$;

-- stale executor. ---------------------------------------------------------------------------------------------------------
-- executor-a drives a tree (root > inline child > inline grandchild), a queued child of it, and a queued root; another has one, too.
SELECT workflow_id AS w FROM durable.start('stale-root', '{"in": 1}', 'h1', 'executor-a', timeout => '1 hour') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's0', lease => 1, executor_id => 'executor-a');
SELECT durable.complete(durable.step_id(:'w', 0), '"done"', 1);
SELECT action FROM durable.claim_step(:'w', 1, 's1', lease => 1, executor_id => 'executor-a', max_retries => 3);
SELECT lease FROM durable.start_child(:'w', 2, 'stale-child', lease => 1);
SELECT action FROM durable.claim_step(test.id('stale-child'), 0, 's0', lease => 1, executor_id => 'executor-a');
SELECT lease FROM durable.start_child(test.id('stale-child'), 1, 'stale-grandchild', lease => 1);
SELECT action FROM durable.claim_step(test.id('stale-grandchild'), 0, 's0', lease => 1, executor_id => 'executor-a');
SELECT lease FROM durable.start_child(:'w', 3, 'stale-ended', lease => 1);
SELECT durable.complete(test.id('stale-ended'), '"ended"', 1);
SELECT lease FROM durable.start_child(:'w', 4, 'stale-queued', '{"in": 2}', 'h2', 1, 'executor-q');
SELECT created FROM durable.start('stale-queued-root', handler => 'h3', queue => 'executor-q');
SELECT name, lease FROM durable.claim('executor-q', 'executor-a', 9);
SELECT created FROM durable.start('stale-waiting', handler => 'h3', queue => 'executor-q');
SELECT created FROM durable.start('stale-paused', executor_id => 'executor-a');
SELECT durable.pause_tree(test.id('stale-paused'));
SELECT created FROM durable.start('stale-finished', executor_id => 'executor-a');
SELECT durable.complete(test.id('stale-finished'));
SELECT created FROM durable.start('stale-other', executor_id => 'executor-other');
CREATE TEMP TABLE steps AS SELECT xmin AS x, s.* FROM durable.step s;
-- Not before it has been silent for durable.executor_timeout.
SET durable.clock_offset = 100;
SELECT * FROM durable.heartbeat('executor-other');
SET durable.clock_offset = 150;
SELECT * FROM pg_temp.recover('executor-b');
-- Who recovers is registered.
SELECT pg_temp.silent('executor-b'), pg_temp.silent('executor-a'), pg_temp.silent('executor-other');
SET durable.clock_offset = 200;
BEGIN;
SELECT workflow_id = test.id(name) AS id, test.mask(parent_id::text) AS parent, name, handler, input, lease, recovery_count, reason
  FROM durable.recover('executor-b') ORDER BY workflow_id;
SELECT * FROM pg_temp.seen('stale-%');
-- No step row was touched.
SELECT count(*) FROM durable.step s JOIN steps o USING (workflow_id, sequence) WHERE s.xmin = o.x;
SELECT count(*) FROM steps;
-- Now a live one's: nobody gets them again.
SELECT * FROM pg_temp.recover('executor-c');
-- Its in-flight steps are claimable by their older lease, all down the tree; what is done is replayed.
SELECT action, output FROM durable.claim_step(:'w', 0, 's0', lease => 2, executor_id => 'executor-b');
SELECT action, attempt FROM durable.claim_step(:'w', 1, 's1', lease => 2, executor_id => 'executor-b');
SELECT created, status, lease FROM durable.start_child(:'w', 2, 'stale-child', lease => 2);
SELECT action, attempt FROM durable.claim_step(test.id('stale-child'), 0, 's0', lease => 2, executor_id => 'executor-b');
SELECT action, attempt FROM durable.claim_step(test.id('stale-grandchild'), 0, 's0', lease => 2, executor_id => 'executor-b');
SELECT created, status, output, lease FROM durable.start_child(:'w', 3, 'stale-ended', lease => 2);
-- The zombie can do nothing under its old lease.
SELECT test.try(replace(q, '{w}', quote_literal(:'w'))) FROM unnest(ARRAY[
  $$SELECT durable.complete(durable.step_id({w}, 1), '1', 1)$$, $$SELECT durable.fail(durable.step_id({w}, 1), 'e', 1, 1)$$,
  $$SELECT durable.claim_step({w}, 5, 's5', lease => 1)$$, $$SELECT durable.claim_step({w}, 0, 's0', lease => 1)$$,
  $$SELECT durable.complete_and_claim(durable.step_id({w}, 1), '1', 's5', 5, lease => 1)$$, $$SELECT durable.start_child({w}, 5, 'c', lease => 1)$$,
  $$SELECT durable.complete({w}, '1', 1)$$, $$SELECT durable.fail({w}, 'e', 1)$$,
  $$SELECT durable.complete(durable.step_id(test.id('stale-grandchild'), 0), '1', 1)$$, $$SELECT durable.complete(test.id('stale-grandchild'), '1', 1)$$,
  $$SELECT durable.complete(test.id('stale-queued'), '1', 1)$$, $$SELECT durable.release('executor-a', {w})$$]) q;
-- It learns that from its heartbeat; the new one, which has lost the reply, learns what it has.
SELECT * FROM pg_temp.beat('executor-a', '{stale-root,stale-queued,stale-queued-root,stale-child}', '{1,1,1,1}');
SELECT * FROM pg_temp.beat('executor-b', '{}', '{}');
SELECT * FROM pg_temp.beat('executor-b', '{stale-root,stale-queued,stale-queued-root}', '{2,2,2}');
ROLLBACK;
-- max_workflows.
SELECT * FROM pg_temp.recover('executor-b', 0);
BEGIN;
SELECT count(*) FROM pg_temp.recover('executor-b', 1);
SELECT count(*) FROM pg_temp.recover('executor-b', 1);
SELECT count(*) FROM pg_temp.recover('executor-b', 9);
SELECT count(*) FROM pg_temp.recover('executor-b', 9);
ROLLBACK;
-- queue and handlers narrow it.
BEGIN;
SELECT * FROM pg_temp.recover('executor-b', queue => 'executor-q2');
SELECT * FROM pg_temp.recover('executor-b', handlers => '{h7}');
SELECT * FROM pg_temp.recover('executor-b', handlers => '{}');
SELECT * FROM pg_temp.recover('executor-b', queue => 'executor-q', handlers => '{h1,h3}');
SELECT * FROM pg_temp.recover('executor-b', queue => 'executor-q');
SELECT * FROM pg_temp.recover('executor-b', handlers => '{h2,h1}');
ROLLBACK;
-- stale_after.
SELECT count(*) FROM pg_temp.recover('executor-b', stale_after => '300 s');
BEGIN;
SELECT name FROM pg_temp.recover('executor-c', stale_after => '90 s') WHERE name LIKE 'stale-other';
ROLLBACK;
SET durable.executor_timeout = 1000;
SELECT count(*) FROM pg_temp.recover('executor-b');
BEGIN;
SELECT count(*) FROM pg_temp.recover('executor-b', stale_after => '180 s');
ROLLBACK;
RESET durable.executor_timeout;
-- Never the caller's own; calling is a sign of life.
SELECT pg_temp.silent('executor-a');
SELECT * FROM pg_temp.recover('executor-a');
SELECT pg_temp.silent('executor-a');
SELECT * FROM pg_temp.recover('executor-b');
-- A resumed one is its executor's still, so it is recovered as any other.
SELECT durable.resume_tree(test.id('stale-paused'));
SET durable.clock_offset = 400;
SELECT * FROM pg_temp.recover('executor-b', 9);
SELECT * FROM pg_temp.seen('stale-%');

-- no executor, or one never registered: no activity for that long. ------------------------------------------------------------
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
-- Activity at 100 is: a start; a step's claim, completion or failure; the same below it in inline children, not in queued ones.
SELECT count(s.created) FROM unnest('{silent,claims,completes,fails,child,child-step,child-again,grandchild,queued}'::text[]) n CROSS JOIN LATERAL durable.start('orphan-' || n) s;
SELECT action FROM unnest('{silent,completes,fails}'::text[]) n CROSS JOIN LATERAL durable.claim_step(test.id('orphan-' || n), 0, 's', max_retries => 1) f;
SELECT lease FROM unnest('{child-step,child-again,grandchild}'::text[]) n CROSS JOIN LATERAL durable.start_child(test.id('orphan-' || n), 1, n || '-below') f;
SELECT lease FROM durable.start_child(test.id('grandchild-below'), 1, 'grandchild-below-below');
SELECT lease FROM durable.start_child(test.id('orphan-queued'), 1, 'queued-below', queue => 'executor-q');
SELECT name FROM durable.claim('executor-q', 'executor-a');
-- An inline child that is PENDING, as after resume_failed.
SELECT status FROM durable.fail(test.id('orphan-child-again'), 'e');
SELECT status, lease FROM durable.resume_failed(test.id('orphan-child-again'));
SELECT created FROM durable.start('orphan-never', executor_id => 'executor-never');
SELECT created FROM durable.start('orphan-never-claims', executor_id => 'executor-never');
DELETE FROM durable.executor WHERE executor_id = 'executor-never';
SET durable.clock_offset = 100;
SELECT * FROM durable.heartbeat('executor-a');
SELECT created FROM durable.start('orphan-starts');
SELECT action FROM durable.claim_step(test.id('orphan-claims'), 0, 's');
SELECT durable.complete(durable.step_id(test.id('orphan-completes'), 0));
SELECT status FROM durable.fail(durable.step_id(test.id('orphan-fails'), 0), 'e');
SELECT lease FROM durable.start_child(test.id('orphan-child'), 0, 'child-below');
SELECT action FROM durable.claim_step(test.id('child-step-below'), 0, 's');
SELECT created, status, lease FROM durable.start_child(test.id('orphan-child-again'), 1, 'child-again-below');
SELECT action FROM durable.claim_step(test.id('grandchild-below-below'), 0, 's');
SELECT action FROM durable.claim_step(test.id('queued-below'), 0, 's');
SELECT action FROM durable.claim_step(test.id('orphan-never-claims'), 0, 's');
SET durable.clock_offset = 150;
SELECT * FROM pg_temp.recover('executor-b');
SET durable.clock_offset = 200;
BEGIN;
SELECT * FROM pg_temp.recover('executor-b');
SELECT count(*) FROM pg_temp.recover('executor-c');
-- Its step that was in flight is claimed again.
SELECT action, attempt FROM durable.claim_step(test.id('orphan-silent'), 0, 's', lease => 2);
ROLLBACK;
BEGIN;
SELECT * FROM pg_temp.recover('executor-b', stale_after => '1 hour');
SELECT name FROM pg_temp.recover('executor-b', stale_after => '90 s');
ROLLBACK;

-- An owner whose name comes before those of all that are registered, between two, or behind all, each alone, once the plans are made.
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
SELECT created FROM unnest('{a,b,c,d,e}'::text[]) n CROSS JOIN LATERAL durable.start('gap-' || n, executor_id => 'gap-' || n);
DELETE FROM durable.executor WHERE executor_id IN ('gap-a', 'gap-c', 'gap-e');
SET durable.clock_offset = 200;
SELECT * FROM durable.heartbeat('gap-b');
SELECT * FROM durable.heartbeat('gap-d');
SELECT count(*) FROM pg_temp.recover('gap-d', 0);
BEGIN;
SELECT * FROM pg_temp.recover('gap-d');
SELECT * FROM pg_temp.recover('gap-d');
ROLLBACK;
BEGIN;
SELECT durable.complete(test.id('gap-c')), durable.complete(test.id('gap-e'));
SELECT * FROM pg_temp.recover('gap-d');
ROLLBACK;
BEGIN;
SELECT durable.complete(test.id('gap-a')), durable.complete(test.id('gap-e'));
SELECT * FROM pg_temp.recover('gap-d');
ROLLBACK;
BEGIN;
SELECT durable.complete(test.id('gap-a')), durable.complete(test.id('gap-c'));
SELECT * FROM pg_temp.recover('gap-d');
ROLLBACK;
-- A root that was released, likewise.
BEGIN;
SELECT durable.complete(test.id('gap-a')), durable.complete(test.id('gap-c')), durable.complete(test.id('gap-e'));
SELECT * FROM pg_temp.recover('gap-d');
SELECT * FROM durable.release('gap-b', test.id('gap-b'));
SELECT * FROM pg_temp.recover('gap-d');
ROLLBACK;

-- deadline: whoever the owner is, also the caller; re-armed. ---------------------------------------------------------------------
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
SELECT created FROM durable.start('late-own', executor_id => 'executor-a', timeout => '100 s');
SELECT created FROM durable.start('late-other', executor_id => 'executor-b', timeout => '100 s');
SELECT created FROM durable.start('late-nobody', timeout => '100 s');
SELECT created FROM durable.start('late-not', executor_id => 'executor-b', timeout => '1000 s');
SELECT created FROM durable.start('late-queued', handler => 'h', queue => 'executor-q', timeout => '100 s');
SELECT name FROM durable.claim('executor-q', 'executor-b');
SELECT created FROM durable.start('late-waiting', queue => 'executor-q', timeout => '100 s');
SELECT created FROM durable.start('late-paused', executor_id => 'executor-b', timeout => '100 s');
SELECT durable.pause_tree(test.id('late-paused'));
SELECT created FROM durable.start('late-below', executor_id => 'executor-b');
SELECT lease FROM durable.start_child(test.id('late-below'), 0, 'late-inline', timeout => '100 s');
SELECT lease FROM durable.start_child(test.id('late-own'), 0, 'late-own-child', lease => 1);
SET durable.clock_offset = 150;
SELECT * FROM durable.heartbeat('executor-b');
SELECT action FROM durable.claim_step(test.id('late-own'), 1, 's', lease => 1);
BEGIN;
SELECT * FROM pg_temp.recover('executor-a', queue => 'executor-q');
SELECT * FROM pg_temp.recover('executor-a', handlers => '{h}');
SELECT * FROM pg_temp.recover('executor-a', 9);
SELECT * FROM pg_temp.seen('late-%');
SELECT * FROM pg_temp.recover('executor-a', 9);
SELECT action FROM durable.claim_step(test.id('late-own'), 1, 's', lease => 2);
SELECT action FROM durable.claim_step(test.id('late-own'), 1, 's', lease => 1);
ROLLBACK;
-- A stale one whose deadline has passed is re-armed, too, and counts once.
SET durable.clock_offset = 400;
SELECT * FROM pg_temp.recover('executor-c');
SELECT * FROM pg_temp.seen('late-o%');
SELECT * FROM pg_temp.recover('executor-c');
-- So does one that is late again at once.
SELECT created FROM durable.start('late-again', executor_id => 'executor-a', timeout => '0', max_recovery_attempts => 1);
SET durable.clock_offset = 800;
SELECT * FROM pg_temp.recover('executor-c') WHERE name = 'late-again';
SELECT * FROM pg_temp.seen('late-again');

-- released: at once, when run_at has come; no recovery, so that no limit applies. --------------------------------------------------
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
SELECT created FROM durable.start('released-now', handler => 'h', executor_id => 'executor-a', timeout => '100 s', max_recovery_attempts => 0);
SELECT created FROM durable.start('released-later', handler => 'h2', executor_id => 'executor-a');
SELECT created FROM durable.start('released-queued', queue => 'executor-q');
SELECT name FROM durable.claim('executor-q', 'executor-a');
SELECT created FROM durable.start('released-never-claimed', queue => 'executor-q');
SELECT lease FROM durable.start_child(test.id('released-now'), 0, 'released-child', lease => 1);
SELECT durable.release('executor-a', test.id('released-now')), durable.release('executor-a', test.id('released-later'), test.clock() + '100 s'), durable.release('executor-a', test.id('released-queued'));
SELECT * FROM pg_temp.seen('released-%');
BEGIN;
SELECT * FROM pg_temp.recover('executor-b', 0);
SELECT * FROM pg_temp.recover('executor-b', queue => 'executor-q');
SELECT * FROM pg_temp.recover('executor-b', handlers => '{h2}');
SELECT * FROM pg_temp.recover('executor-b');
SELECT * FROM pg_temp.seen('released-%');
SELECT * FROM pg_temp.recover('executor-c');
ROLLBACK;
-- By whoever released it, too; or by its name, or attach, whatever its run_at.
SELECT * FROM pg_temp.recover('executor-a');
SELECT durable.release('executor-a', test.id('released-now'), '2100-01-01');
SELECT * FROM pg_temp.recover('executor-a');
SELECT created, status, lease, owner FROM durable.start('released-now', executor_id => 'executor-a');
SELECT status, lease, owner FROM durable.attach(test.id('released-later'), 'executor-b');
SELECT durable.release('executor-b', test.id('released-later'), test.clock() + '100 s');
SET durable.clock_offset = 150;
SELECT * FROM pg_temp.recover('executor-b', handlers => '{h2}');

-- Past max_recovery_attempts: FAILED with the reason, and not returned. --------------------------------------------------------------
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
SELECT created FROM durable.start('poison-parent', executor_id => 'executor-p', max_recovery_attempts => 2);
SELECT * FROM durable.start_child(test.id('poison-parent'), 0, 'poison-child', queue => 'executor-q') \gset child_
SELECT created FROM durable.start('poison-late', executor_id => 'executor-p', timeout => '100 s', max_recovery_attempts => 0);
SELECT created FROM durable.start('poison-silent', max_recovery_attempts => 0);
SELECT name FROM durable.claim('executor-q', 'executor-a');
SELECT lease FROM durable.start_child(test.id('poison-child'), 0, 'poison-inline', lease => 1);
SELECT action FROM durable.claim_step(test.id('poison-inline'), 0, 's', lease => 1);
SET durable.clock_offset = 150;
SELECT * FROM durable.heartbeat('executor-p');
BEGIN;
SELECT * FROM pg_temp.recover('executor-a');
SELECT * FROM pg_temp.seen('poison-late');
ROLLBACK;
SET durable.clock_offset = 300;
SELECT * FROM durable.heartbeat('executor-p');
SELECT * FROM pg_temp.recover('executor-b', queue => 'executor-q');
SELECT * FROM pg_temp.recover('executor-b');
SET durable.clock_offset = 600;
SELECT * FROM durable.heartbeat('executor-p');
SELECT * FROM pg_temp.recover('executor-c');
SET durable.clock_offset = 900;
SELECT * FROM durable.heartbeat('executor-p');
SELECT * FROM pg_temp.recover('executor-d');
SELECT name, status, lease, recovery_count, error FROM durable.workflow ORDER BY id;
SELECT abs(extract(epoch FROM completed_at - test.clock())) < 60 AS ended FROM durable.workflow WHERE name = 'poison-child';
-- Its heartbeat tells the former owner; its parent gets the failure; resume_failed is at the limit, too.
SELECT * FROM pg_temp.beat('executor-c', '{poison-child}', '{3}');
SELECT created, status, error FROM durable.start_child(test.id('poison-parent'), 0, 'poison-child', queue => 'executor-q');
SELECT status FROM durable.resume_failed(test.id('poison-child'));
SELECT action FROM durable.claim_step(test.id('poison-inline'), 1, 's', lease => 3);
SELECT durable.complete(durable.step_id(test.id('poison-inline'), 0), '1');

-- release. -----------------------------------------------------------------------------------------------------------------------------
RESET durable.clock_offset;
TRUNCATE durable.workflow, durable.step, durable.executor;
SELECT created FROM durable.start('free-root', executor_id => 'executor-a', timeout => '1 hour');
SELECT lease FROM durable.start_child(test.id('free-root'), 0, 'free-inline', lease => 1, timeout => '1 hour');
SELECT lease FROM durable.start_child(test.id('free-inline'), 0, 'free-inline-2', lease => 1);
SELECT action FROM durable.claim_step(test.id('free-inline-2'), 0, 's', lease => 1);
SELECT lease FROM durable.start_child(test.id('free-inline'), 1, 'free-inline-ended', lease => 1);
SELECT durable.complete(test.id('free-inline-ended'));
SELECT created FROM unnest('{free-first,free-second,free-third}'::text[]) n CROSS JOIN LATERAL durable.start(n, queue => 'executor-q', run_at => test.clock() - interval '1000 s', timeout => '1 hour') f;
SELECT name FROM durable.claim('executor-q', 'executor-a', 2);
SELECT created FROM durable.start('free-paused', executor_id => 'executor-a', timeout => '1 hour');
SELECT lease FROM durable.start_child(test.id('free-paused'), 0, 'free-paused-inline', lease => 1);
SELECT durable.pause_tree(test.id('free-paused'));
SELECT created FROM durable.start('free-other', executor_id => 'executor-b');
CREATE TEMP TABLE free_steps AS SELECT xmin AS x, s.* FROM durable.step s;
-- One: no other changes, and the executor stays registered.
BEGIN;
SELECT durable.release('executor-a', test.id('free-root'));
SELECT * FROM pg_temp.seen('free-%');
SELECT pg_temp.silent('executor-a');
SELECT action FROM durable.claim_step(test.id('free-inline-2'), 1, 's', lease => 1);
ROLLBACK;
BEGIN;
SELECT durable.release('executor-a', test.id('free-root'));
SELECT * FROM pg_temp.beat('executor-a', '{free-root,free-first,free-second,free-paused}', '{1,1,1,1}');
-- Whoever takes it goes on in the child under a lease above all former ones.
SELECT name, lease FROM pg_temp.recover('executor-b');
SELECT created, status, lease FROM durable.start_child(test.id('free-root'), 0, 'free-inline', lease => 3);
SELECT action, attempt FROM durable.claim_step(test.id('free-inline-2'), 0, 's', lease => 3);
ROLLBACK;
-- Not before run_at; the slot is free at once. At once it keeps its place in the queue.
BEGIN;
SELECT durable.release('executor-a', test.id('free-first'), test.clock() + '100 s'), durable.release('executor-a', test.id('free-second'));
SELECT * FROM pg_temp.seen('free-%t');
SELECT name, lease, recovery_count FROM durable.claim('executor-q', 'executor-b', 9);
SET LOCAL durable.clock_offset = 150;
SELECT name, lease, recovery_count FROM durable.claim('executor-q', 'executor-b', 9);
ROLLBACK;
-- 0: another's, PENDING, paused, inline, finished, unknown executor; twice.
SELECT durable.release('executor-a', test.id(n)) FROM unnest('{free-other,free-third,free-paused,free-inline,free-inline-ended}'::text[]) n;
SELECT durable.release('executor-unknown', test.id('free-root')), durable.release('executor-unknown');
BEGIN;
SELECT durable.release('executor-a', test.id('free-root'), '2100-01-01'), durable.release('executor-a', test.id('free-root'));
SELECT run_at > '2099-01-01' AS later FROM durable.workflow WHERE name = 'free-root';
ROLLBACK;
-- All: the executor is forgotten; PAUSED ones lose it as well and resume as PENDING, lease + 1. No step row is touched.
BEGIN;
SELECT durable.release('executor-a');
SELECT * FROM pg_temp.seen('free-%');
SELECT pg_temp.silent('executor-a');
SELECT count(*) FROM durable.step s JOIN free_steps o USING (workflow_id, sequence) WHERE s.xmin = o.x;
SELECT durable.release('executor-a');
SELECT durable.resume_tree(test.id('free-paused'));
SELECT * FROM pg_temp.seen('free-paused%');
SELECT * FROM durable.check();
SELECT name, lease FROM durable.claim('executor-q', 'executor-b', 9);
SELECT * FROM pg_temp.recover('executor-b');
SELECT created, status, lease FROM durable.start_child(test.id('free-paused'), 0, 'free-paused-inline', lease => 3);
SELECT * FROM pg_temp.beat('executor-a', '{free-root,free-first,free-paused}', '{1,1,1}');
ROLLBACK;
-- All, not before run_at: of those in queues, too.
BEGIN;
SELECT durable.release('executor-a', run_at => test.clock() + '100 s');
SELECT durable.resume_tree(test.id('free-paused'));
SELECT * FROM pg_temp.seen('free-%');
SELECT name FROM durable.claim('executor-q', 'executor-b', 9);
SELECT * FROM pg_temp.recover('executor-b');
SET LOCAL durable.clock_offset = 150;
SELECT name FROM durable.claim('executor-q', 'executor-b', 9);
SELECT * FROM pg_temp.recover('executor-b');
ROLLBACK;
-- An unknown id, and that of a step.
SELECT durable.release('executor-a', '00000000-0000-7000-8000-000000000000');
SELECT durable.release('executor-a', durable.step_id(test.id('free-inline-2'), 0));

-- What heartbeat answers besides (sql/heartbeat.sql has the rest): a lost reply of claim, a resumed pause, cancelled, released, failed. ------
SELECT * FROM pg_temp.beat('executor-a', '{free-root}', '{1}');
SELECT * FROM pg_temp.beat('executor-a', '{free-root,free-first,free-second,free-paused,free-paused-inline}', '{1,1,1,1,1}');
SELECT durable.resume_tree(test.id('free-paused')), durable.cancel_tree(test.id('free-first')), durable.release('executor-a', test.id('free-second'));
SELECT status FROM durable.fail(test.id('free-root'), 'e');
SELECT * FROM pg_temp.beat('executor-a', '{free-root,free-first,free-second}', '{1,1,1}');
SELECT * FROM pg_temp.beat('executor-a', '{free-third,free-other}', '{0,1}');
SELECT * FROM durable.heartbeat('executor-a', ARRAY[test.id('free-paused')], '{}');
SELECT * FROM durable.heartbeat('executor-a', '{}', '{1}');

-- Who is registered, and refreshed. ------------------------------------------------------------------------------------------------------
TRUNCATE durable.workflow, durable.step, durable.executor;
-- An unknown one is registered; one that is alive is not refreshed, one that is stale is.
SELECT created FROM durable.start('seen-failed', executor_id => 'executor-s');
SELECT status FROM durable.fail(test.id('seen-failed'), 'e');
SELECT created FROM durable.start('seen-in-line', executor_id => 'executor-in-line', queue => 'executor-q');
SELECT f.created FROM generate_series(1, 3) n CROSS JOIN LATERAL durable.start('seen-' || n, queue => 'executor-q') f;
SELECT executor_id FROM durable.executor ORDER BY 1;
SET durable.clock_offset = 100;
SELECT name FROM durable.claim('executor-q', 'executor-claim');
SELECT status FROM durable.resume_failed(test.id('seen-failed'), 'executor-again');
SELECT * FROM pg_temp.recover('executor-recover');
SELECT pg_temp.silent(e) FROM unnest('{executor-claim,executor-again,executor-recover}'::text[]) e;
SET durable.clock_offset = 200;
SELECT name FROM durable.claim('executor-q', 'executor-claim');
SELECT status FROM durable.fail(test.id('seen-failed'), 'e');
SELECT status FROM durable.resume_failed(test.id('seen-failed'), 'executor-again');
SELECT * FROM pg_temp.recover('executor-recover');
SELECT pg_temp.silent(e) FROM unnest('{executor-claim,executor-again,executor-recover}'::text[]) e;
-- For recover stale is what its stale_after says.
SELECT * FROM pg_temp.recover('executor-recover', stale_after => '150 s');
SELECT pg_temp.silent('executor-recover');
SELECT * FROM pg_temp.recover('executor-recover', 0, '50 s');
SELECT pg_temp.silent('executor-recover');
SET durable.clock_offset = 500;
SELECT * FROM pg_temp.recover('executor-recover', stale_after => '1000 s');
SELECT pg_temp.silent('executor-recover');
SELECT name FROM durable.claim('executor-q', 'executor-claim');
SELECT status FROM durable.fail(test.id('seen-failed'), 'e');
SELECT status FROM durable.resume_failed(test.id('seen-failed'), 'executor-again');
SELECT * FROM pg_temp.recover('executor-recover', 0);
SELECT pg_temp.silent(e) FROM unnest('{executor-claim,executor-again,executor-recover}'::text[]) e;
RESET durable.clock_offset;
-- release registers nobody, nor do the calls that take no executor for the workflow.
SELECT durable.release('executor-nobody'), durable.release('executor-nobody', test.id('seen-1'));
SELECT action FROM durable.claim_step(test.id('seen-failed'), 0, 's', executor_id => 'executor-nobody');
SELECT pg_temp.silent('executor-nobody');

-- Bad arguments: 22023, NULL where a value is needed 22004. ---------------------------------------------------------------------------------
CREATE TEMP VIEW everything AS
  SELECT w::text AS r FROM durable.workflow w UNION ALL SELECT s::text FROM durable.step s UNION ALL SELECT e::text FROM durable.executor e UNION ALL SELECT q::text FROM durable.queue q;
CREATE TEMP TABLE before AS SELECT * FROM everything;
SELECT c AS call, split_part(test.error('SELECT * FROM durable.' || c), E'\n', 1) AS answer
  FROM unnest(ARRAY['recover(NULL)', 'recover('''')', 'recover(repeat(''e'', 1025))', 'recover(''e'', NULL)', 'recover(''e'', -1)', 'recover(''e'', stale_after => ''-1 s'')',
    'recover(''e'', queue => '''')', 'recover(''e'', queue => repeat(''q'', 1025))', 'recover(''e'', queue => ''no'')',
    'release(NULL)', 'release('''')', 'release(repeat(''e'', 1025))', 'release(''e'', run_at => ''infinity'')', 'release(''e'', run_at => ''-infinity'')', 'heartbeat(NULL)', 'heartbeat('''')']) c;
SELECT count(*) AS changed FROM (TABLE everything EXCEPT ALL TABLE before) q;
SELECT count(*) AS missing FROM (TABLE before EXCEPT ALL TABLE everything) q;
