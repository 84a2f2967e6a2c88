-- await_workflow.
\set own await_workflow
\i sql/own_database.psql
CREATE FUNCTION pg_temp.await(s int, n text, t interval = NULL, OUT action text, OUT output jsonb, OUT error text, OUT detail jsonb) LANGUAGE sql AS
  $$SELECT action, output, error, detail FROM durable.await_workflow(pg_temp.wf('aw'), s, n, pg_temp.wf(n), t, 1)$$;

SELECT lease FROM durable.start('aw');
SELECT name, created FROM unnest('{aw-ok,aw-bad,aw-gone,aw-early,aw-late,aw-held}'::text[]) name, durable.start(name);
-- One that has ended already; its outcome, of whatever kind.
SELECT durable.complete(pg_temp.wf('aw-early'), '"early"');
SELECT * FROM pg_temp.await(0, 'aw-early');
SELECT pg_temp.await(i, n) FROM (VALUES (1, 'aw-ok'), (2, 'aw-bad'), (3, 'aw-gone')) v (i, n);
SELECT durable.complete(pg_temp.wf('aw-ok'), '{"ok": 1}'), durable.fail(pg_temp.wf('aw-bad'), 'bad', detail => '{"d": 1}'), durable.cancel_tree(pg_temp.wf('aw-gone'));
SELECT i, a.* FROM (VALUES (1, 'aw-ok'), (2, 'aw-bad'), (3, 'aw-gone')) v (i, n), pg_temp.await(i, n) a;
SELECT i, a.* FROM (VALUES (1, 'aw-ok'), (2, 'aw-bad'), (3, 'aw-gone')) v (i, n), pg_temp.await(i, n) a;
SELECT sequence, wait, awaited = pg_temp.wf(name) AS awaited, status FROM durable.step WHERE workflow_id = pg_temp.wf('aw') ORDER BY 1;
-- What counts is when it ended, not when it is asked for.
SELECT pg_temp.await(4, 'aw-late', '10 s'), pg_temp.await(5, 'aw-held', '10 s');
SELECT pg_temp.move(9);
SELECT durable.complete(pg_temp.wf('aw-late'), '"in time"');
SELECT pg_temp.move(2);
SELECT durable.complete(pg_temp.wf('aw-held'), '"too late"');
SELECT * FROM pg_temp.await(4, 'aw-late');
SELECT * FROM pg_temp.await(5, 'aw-held');
SELECT * FROM pg_temp.await(6, 'aw-held', '0 s');
-- Asked again while it is open: no transaction id, no lock.
SELECT created FROM durable.start('aw-open');
SELECT * FROM pg_temp.await(7, 'aw-open');
BEGIN;
SELECT * FROM pg_temp.await(7, 'aw-open');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid,
  count(*) FILTER (WHERE locktype = 'advisory') AS locks FROM pg_locks WHERE pid = pg_backend_pid();
COMMIT;
-- Its outcome is kept for the wait, even if it is purged before that asks; not longer.
SELECT durable.complete(pg_temp.wf('aw-open'), '"kept"');
SELECT pg_temp.wf('aw-open') AS open_id \gset
SELECT workflows > 0 AS purged FROM durable.purge('0 s');
SELECT count(*) FROM durable.workflow WHERE id = :'open_id';
SELECT workflow_id = :'open_id' AS kept, output FROM durable.awaited_outcome;
SELECT workflows FROM durable.purge('0 s');
SELECT action, output FROM durable.await_workflow(pg_temp.wf('aw'), 7, 'aw-open', :'open_id');
SELECT durable.purge('0 s');
SELECT count(*) FROM durable.awaited_outcome;
-- Not itself, nor an ancestor, nor an inline descendant, which could not go on; a queued child may be, and another's.
SELECT durable.create_queue('aw_queue');
SELECT status FROM durable.start_child(pg_temp.wf('aw'), 10, 'aw-inline');
SELECT status FROM durable.start_child(pg_temp.wf('aw-inline'), 0, 'aw-inline-2');
SELECT status FROM durable.start_child(pg_temp.wf('aw-inline-2'), 0, 'aw-queued', queue => 'aw_queue');
SELECT status FROM durable.start_child(pg_temp.wf('aw'), 11, 'aw-child', queue => 'aw_queue');
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', pg_temp.wf('aw'));
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', pg_temp.wf('aw-inline'));
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', pg_temp.wf('aw-inline-2'));
SELECT durable.await_workflow(pg_temp.wf('aw-inline-2'), 12, 'x', pg_temp.wf('aw'));
SELECT durable.await_workflow(pg_temp.wf('aw-inline-2'), 12, 'x', pg_temp.wf('aw-inline'));
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', '00000000-0000-7000-8000-000000000000');
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', pg_temp.st('aw', 0));
SELECT durable.await_workflow(pg_temp.wf('aw'), 12, 'x', NULL);
SELECT action FROM durable.await_workflow(pg_temp.wf('aw'), 12, 'queued', pg_temp.wf('aw-queued'));
SELECT action FROM durable.await_workflow(pg_temp.wf('aw'), 13, 'child', pg_temp.wf('aw-child'));
SELECT action FROM durable.await_workflow(pg_temp.wf('aw-inline'), 1, 'child', pg_temp.wf('aw-child'));
SELECT count(*) AS claimed FROM durable.claim('aw_queue', 'e', 9);
-- A queued child may wait for what its parent has beside it.
SELECT action FROM durable.await_workflow(pg_temp.wf('aw-child'), 0, 'inline', pg_temp.wf('aw-inline'));
SELECT durable.complete(pg_temp.wf('aw-queued'), '"q"'), durable.complete(pg_temp.wf('aw-inline'), '"i"');
SELECT action, output FROM durable.await_workflow(pg_temp.wf('aw'), 12, 'queued', pg_temp.wf('aw-queued'));
SELECT action, output FROM durable.await_workflow(pg_temp.wf('aw-child'), 0, 'inline', pg_temp.wf('aw-inline'));
-- Two that await each other wait until a timeout ends it.
SELECT created FROM durable.start('aw-a');
SELECT created FROM durable.start('aw-b');
SELECT action FROM durable.await_workflow(pg_temp.wf('aw-a'), 0, 'b', pg_temp.wf('aw-b'), '1 minute');
SELECT action FROM durable.await_workflow(pg_temp.wf('aw-b'), 0, 'a', pg_temp.wf('aw-a'));
SELECT pg_temp.move(61);
SELECT action, error FROM durable.await_workflow(pg_temp.wf('aw-a'), 0, 'b', pg_temp.wf('aw-b'), '1 minute');
SELECT action FROM durable.await_workflow(pg_temp.wf('aw-b'), 0, 'a', pg_temp.wf('aw-a'));
-- A wait that failed is opened again with its workflow; what it waits for may be gone by then.
SELECT durable.fail(pg_temp.wf('aw-a'), 'b is late');
SELECT action, error FROM durable.await_workflow(pg_temp.wf('aw-b'), 0, 'a', pg_temp.wf('aw-a'));
SELECT durable.cancel_tree(pg_temp.wf('aw-b'));
SELECT pg_temp.wf('aw-b') AS b_id \gset
DELETE FROM durable.step WHERE workflow_id = :'b_id';
DELETE FROM durable.workflow WHERE id = :'b_id';
SELECT lease FROM durable.resume_failed(pg_temp.wf('aw-a'));
SELECT action, replace(error, :'b_id', 'b') AS error FROM durable.await_workflow(pg_temp.wf('aw-a'), 0, 'b', :'b_id', '1 minute');
-- Who is about to wait for a queued workflow keeps no claim away, not even where a subtransaction did it.
SELECT created FROM durable.start('aw-owner');
CREATE FUNCTION pg_temp.await_in_subtransaction(s int, n text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT action FROM durable.await_workflow(pg_temp.wf('aw-owner'), s, n, pg_temp.wf(n)));
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
BEGIN;
SELECT durable.create_queue('aw_own');
SELECT created FROM durable.start('aw-q', queue => 'aw_own');
SELECT pg_temp.await_in_subtransaction(0, 'aw-q');
SELECT name FROM durable.claim('aw_own', 'e');
COMMIT;
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_await_workflow;
