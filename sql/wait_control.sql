-- What happens to waits when their workflow is paused, cancelled, ended, run again, or purged.
\set own wait_control
\i sql/own_database.psql
CREATE FUNCTION pg_temp.open(n text) RETURNS TABLE (name text, sequence int, status durable.task_status, since boolean, run_at numeric) LANGUAGE sql AS $$
  SELECT w.name, o.sequence, s.status, o.since IS NOT NULL, pg_temp.left(o.run_at) FROM durable.waiting o JOIN durable.workflow w ON w.id = o.workflow_id
    JOIN durable.step s ON s.workflow_id = o.workflow_id AND s.sequence = o.sequence WHERE w.name LIKE n || '%' ORDER BY w.id, o.sequence $$;

-- A tree with waits at each level.
SELECT durable.create_queue('wc_queue');
CREATE FUNCTION pg_temp.grow(n text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM durable.start(n);
  PERFORM durable.await_callback(pg_temp.wf(n), 0, 'call', '1 hour');
  PERFORM durable.start_child(pg_temp.wf(n), 1, n || '-inline');
  PERFORM durable.await_signal(pg_temp.wf(n || '-inline'), 0, 'go');
  PERFORM durable.start_child(pg_temp.wf(n), 2, n || '-queued', queue => 'wc_queue');
  PERFORM durable.claim('wc_queue', 'e', 9);
  PERFORM durable.sleep(pg_temp.wf(n || '-queued'), 0, 'nap', '1 hour');
END $$;
SELECT pg_temp.grow('wc-1');
SELECT * FROM pg_temp.open('wc-1');
-- Paused and resumed with the tree; the time goes on.
SELECT durable.pause_tree(pg_temp.wf('wc-1'));
SELECT * FROM pg_temp.open('wc-1');
SELECT durable.signal(pg_temp.wf('wc-1-inline'), 'go', '1');
SELECT pg_temp.move(3601);
SELECT durable.resume_tree(pg_temp.wf('wc-1'));
SELECT action, output FROM durable.await_signal(pg_temp.wf('wc-1-inline'), 0, 'go');
SELECT action, left(error, 5) FROM durable.await_callback(pg_temp.wf('wc-1'), 0, 'call');
SELECT action FROM durable.sleep(pg_temp.wf('wc-1-queued'), 0, 'nap', '1 hour');
-- Cancelled with it: nothing is left open.
SELECT pg_temp.grow('wc-2');
SELECT durable.cancel_tree(pg_temp.wf('wc-2'));
SELECT * FROM pg_temp.open('wc-2');
SELECT w.name, s.sequence, s.status FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name LIKE 'wc-2%' AND s.kind = 'WAIT' ORDER BY w.id;
SELECT durable.answer(pg_temp.st('wc-2', 0), '1');
-- Ended: an inline child is cancelled, or fails, with its parent, a queued one goes on.
SELECT pg_temp.grow('wc-3'), pg_temp.grow('wc-4');
SELECT durable.complete(pg_temp.wf('wc-3')), durable.fail(pg_temp.wf('wc-4'), 'bad');
SELECT * FROM pg_temp.open('wc-3');
SELECT * FROM pg_temp.open('wc-4');
SELECT w.name, w.status, s.sequence, s.status FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name SIMILAR TO 'wc-[34]%' AND s.kind = 'WAIT' ORDER BY w.id;
SELECT count(*) FROM durable.open_wait o WHERE o.workflow_id IN (SELECT id FROM durable.workflow WHERE completed_at IS NOT NULL);
-- By complete_many too, and by recover at the limit of recoveries.
SELECT pg_temp.grow('wc-5'), pg_temp.grow('wc-6');
SELECT completed FROM durable.complete_many(ARRAY[pg_temp.wf('wc-5'), pg_temp.wf('wc-5-queued')]);
UPDATE durable.workflow SET recovery_count = max_recovery_attempts, deadline = created_at WHERE name = 'wc-6';
SELECT count(*) FROM durable.recover('wc-executor') WHERE name LIKE 'wc-6%';
SELECT status, error FROM durable.workflow WHERE name LIKE 'wc-6%' ORDER BY id;
SELECT * FROM pg_temp.open('wc-5');
SELECT * FROM pg_temp.open('wc-6');
SELECT * FROM durable.check();

-- Run again: what was open is open again, with the time that it had. Of those that have failed, only one after which nothing
-- was recorded; its time counts from the next call.
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-4'));
SELECT * FROM pg_temp.open('wc-4');
SELECT durable.answer(pg_temp.st('wc-4', 0), '"answered"');
SELECT action, output FROM durable.await_callback(pg_temp.wf('wc-4'), 0, 'call');
SELECT lease FROM durable.start('wc-7');
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 0, 'caught', '10 s');
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 1, 'last', '10 s');
SELECT pg_temp.move(11);
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 0, 'caught', '10 s');
SELECT action, error FROM durable.await_callback(pg_temp.wf('wc-7'), 1, 'last', '10 s');
SELECT durable.fail(pg_temp.wf('wc-7'), 'timed out');
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-7'));
SELECT * FROM pg_temp.open('wc-7');
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 0, 'caught', '10 s');
SELECT pg_temp.move(100);
SELECT action, pg_temp.left(run_at), attempt FROM durable.await_callback(pg_temp.wf('wc-7'), 1, 'last', '1 hour');
SELECT * FROM pg_temp.open('wc-7');
SELECT pg_temp.move(9);
SELECT durable.answer(pg_temp.st('wc-7', 1), '"this time"');
SELECT action, output FROM durable.await_callback(pg_temp.wf('wc-7'), 1, 'last');
-- Answered before it is asked for again; a signal that is there already; one that ends at once.
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 2, 'again', '10 s');
SELECT pg_temp.move(11);
SELECT action FROM durable.await_callback(pg_temp.wf('wc-7'), 2, 'again', '10 s');
SELECT durable.fail(pg_temp.wf('wc-7'), 'timed out');
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-7'));
SELECT durable.answer(pg_temp.st('wc-7', 2), '"before"');
SELECT action, output FROM durable.await_callback(pg_temp.wf('wc-7'), 2, 'again', '10 s');
SELECT action FROM durable.await_signal(pg_temp.wf('wc-7'), 3, 'go', '10 s');
SELECT pg_temp.move(11);
SELECT action FROM durable.await_signal(pg_temp.wf('wc-7'), 3, 'go', '10 s');
SELECT durable.signal(pg_temp.wf('wc-7'), 'go', '"left"');
SELECT durable.fail(pg_temp.wf('wc-7'), 'timed out');
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-7'));
SELECT action, output FROM durable.await_signal(pg_temp.wf('wc-7'), 3, 'go', '10 s');
SELECT action FROM durable.sleep(pg_temp.wf('wc-7'), 4, 'until', until => durable.clock() + interval '1 minute');
SELECT durable.answer(pg_temp.st('wc-7', 4), error => 'woken');
SELECT durable.fail(pg_temp.wf('wc-7'), 'woken');
SELECT pg_temp.move(30);
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-7'));
SELECT * FROM pg_temp.open('wc-7');
SELECT action, pg_temp.left(run_at) FROM durable.sleep(pg_temp.wf('wc-7'), 4, 'until', '1 hour');
SELECT durable.answer(pg_temp.st('wc-7', 4), error => 'woken');
SELECT durable.fail(pg_temp.wf('wc-7'), 'woken');
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-7'), from_sequence => 5);
SELECT action, error FROM durable.sleep(pg_temp.wf('wc-7'), 4, 'until', '1 hour');
-- In a child that runs again with its parent; asked for under its new lease only.
SELECT pg_temp.grow('wc-8');
SELECT durable.answer(pg_temp.st('wc-8-inline', 0), error => 'no');
SELECT durable.fail(pg_temp.wf('wc-8'), 'bad');
SELECT lease FROM durable.resume_failed(pg_temp.wf('wc-8'));
SELECT * FROM pg_temp.open('wc-8');
SELECT durable.await_signal(pg_temp.wf('wc-8-inline'), 0, 'go', lease => 2);
SELECT lease FROM durable.start_child(pg_temp.wf('wc-8'), 1, 'wc-8-inline');
SELECT durable.await_signal(pg_temp.wf('wc-8-inline'), 0, 'go', lease => 2);
SELECT action FROM durable.await_signal(pg_temp.wf('wc-8-inline'), 0, 'go', lease => 3);
SELECT * FROM pg_temp.open('wc-8');
SELECT * FROM durable.check();

-- Purged with their tree.
SELECT durable.cancel_tree(id) > 0 AS cancelled FROM durable.workflow WHERE name SIMILAR TO 'wc-_' AND completed_at IS NULL ORDER BY id;
SELECT durable.cancel_tree(id) > 0 AS cancelled FROM durable.workflow WHERE name LIKE 'wc-%-queued' AND completed_at IS NULL ORDER BY id;
SELECT workflows FROM durable.purge('0 s');
SELECT count(*) FROM durable.workflow WHERE name LIKE 'wc-%';
SELECT count(*) FROM durable.open_wait o WHERE NOT EXISTS (SELECT FROM durable.workflow w WHERE w.id = o.workflow_id);
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_wait_control;
