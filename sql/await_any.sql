-- await_any: a select.
\set own await_any
\i sql/own_database.psql
CREATE FUNCTION pg_temp.steps() RETURNS TABLE (sequence int, wait text, status durable.task_status, output jsonb, error text) LANGUAGE sql AS
  $$SELECT h.sequence, h.wait, h.status, h.output, h.error FROM durable.history(pg_temp.wf('any')) h$$;
CREATE FUNCTION pg_temp.ask(s int, a int[], t interval = NULL, OUT action text, OUT output jsonb, OUT error text) LANGUAGE sql AS
  $$SELECT action, output, error FROM durable.await_any(pg_temp.wf('any'), s, 'any ' || s, a, t, 1)$$;

-- A signal, or a timeout; the loser stays as it is.
SELECT lease FROM durable.start('any');
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 0, 'go');
SELECT action FROM durable.sleep(pg_temp.wf('any'), 1, 'nap', '10 s');
SELECT * FROM pg_temp.ask(2, '{0,1}');
SELECT pg_temp.move(9);
SELECT durable.signal(pg_temp.wf('any'), 'go', '"now"');
SELECT pg_temp.move(9);
SELECT * FROM pg_temp.ask(2, '{0,1}');
SELECT * FROM pg_temp.ask(2, '{1}');
SELECT * FROM pg_temp.steps();
-- The one that ended first, though another was recorded before; one that has ended at once.
SELECT * FROM pg_temp.ask(3, '{1,0}');
SELECT * FROM pg_temp.ask(4, '{1}');
SELECT * FROM pg_temp.steps();
-- What it was asked with is recorded, also where it ends at once by one that is open.
SELECT action FROM durable.await_callback(pg_temp.wf('any'), 40, 'call');
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 41, 'there');
SELECT durable.signal(pg_temp.wf('any'), 'there');
SELECT * FROM pg_temp.ask(42, '{40,41}');
SELECT durable.answer(pg_temp.st('any', 40));
SELECT sequences FROM durable.step WHERE workflow_id = pg_temp.wf('any') AND sequence = 42;
-- Ties in the order of the array.
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 5, 'tie', signals => '{tie}');
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 6, 'tie', signals => '{tie}');
SELECT durable.signal(pg_temp.wf('any'), 'tie', '1');
SELECT * FROM pg_temp.ask(7, '{6,5}');
SELECT sequence, status, output FROM pg_temp.steps() WHERE sequence BETWEEN 5 AND 7;
-- Steps and children too; whatever way they end in. Not a step that is to be tried again.
SELECT action FROM durable.claim_step(pg_temp.wf('any'), 8, 'retry', max_retries => 1);
SELECT status FROM durable.fail(pg_temp.st('any', 8), 'bad');
SELECT durable.create_queue('any_queue');
SELECT status FROM durable.start_child(pg_temp.wf('any'), 9, 'any-child', queue => 'any_queue');
SELECT status FROM durable.start_child(pg_temp.wf('any'), 10, 'any-inline');
SELECT * FROM pg_temp.ask(11, '{8,9,10,5}');
SELECT durable.cancel_tree(pg_temp.wf('any-child'));
SELECT * FROM pg_temp.ask(11, '{8,9,10,5}');
SELECT action FROM durable.claim_step(pg_temp.wf('any'), 8, 'retry', max_retries => 1);
SELECT * FROM pg_temp.ask(12, '{8,10}');
SELECT status FROM durable.fail(pg_temp.st('any', 8), 'bad');
SELECT durable.complete(pg_temp.wf('any-inline'));
SELECT * FROM pg_temp.ask(12, '{10,8}');
-- Of waits that have timed out; of another of its sort.
SELECT action FROM durable.await_callback(pg_temp.wf('any'), 13, 'call', '10 s');
SELECT * FROM pg_temp.ask(14, '{13,5}');
SELECT * FROM pg_temp.ask(15, '{14}');
SELECT pg_temp.move(11);
SELECT * FROM pg_temp.ask(15, '{14}');
SELECT sequence, status, output, error FROM pg_temp.steps() WHERE sequence BETWEEN 13 AND 15;
-- Its own timeout.
SELECT * FROM pg_temp.ask(16, '{5}', '10 s');
SELECT * FROM pg_temp.ask(17, '{5}', '10 s');
SELECT pg_temp.move(9);
SELECT durable.signal(pg_temp.wf('any'), 'tie', '2');
SELECT pg_temp.move(9);
SELECT * FROM pg_temp.ask(16, '{5}', '10 s');
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 18, 'never');
SELECT * FROM pg_temp.ask(19, '{18}', '0 s');
SELECT * FROM pg_temp.ask(17, '{5}', '10 s');
-- An answer ends it. A position behind it.
SELECT * FROM pg_temp.ask(20, '{18}');
SELECT durable.answer(pg_temp.st('any', 20), '{"sequence": null}');
SELECT * FROM pg_temp.ask(20, '{18}');
SELECT action FROM durable.await_callback(pg_temp.wf('any'), 30, 'behind');
SELECT * FROM pg_temp.ask(21, '{30,18}');
SELECT durable.answer(pg_temp.st('any', 30), '1');
SELECT * FROM pg_temp.ask(21, '{30,18}');
SELECT action FROM durable.await_signal(pg_temp.wf('any'), 31, 'behind too');
SELECT * FROM pg_temp.ask(22, '{31,18}');
SELECT durable.signal(pg_temp.wf('any'), 'behind too', '1');
SELECT * FROM pg_temp.ask(22, '{31,18}');
SELECT sequence, status, output FROM pg_temp.steps() WHERE sequence IN (22, 31);
-- Its time passes: what has ended at another position of the workflow, be it the first, is none of its own.
SELECT created FROM durable.start('over');
SELECT durable.patched(pg_temp.wf('over'), 0, 'at the first');
SELECT action FROM durable.await_callback(pg_temp.wf('over'), 1, 'back');
SELECT action FROM durable.await_any(pg_temp.wf('over'), 2, 'any', '{1}', '10 s');
SELECT pg_temp.move(11);
SELECT action, output, error FROM durable.await_any(pg_temp.wf('over'), 2, 'any', '{1}', '10 s');
-- Waits for waits, two ways to each: each is looked at once, else the last would take minutes.
SELECT created FROM durable.start('deep');
SELECT action FROM durable.await_callback(pg_temp.wf('deep'), 0, 'callback');
SELECT action FROM durable.await_callback(pg_temp.wf('deep'), 1, 'another');
SET statement_timeout = '60 s';
SELECT string_agg(DISTINCT action::text, ', ') FROM generate_series(2, 40) n,
  durable.await_any(pg_temp.wf('deep'), n, 'any ' || n, ARRAY[n - 1, n - 2]);
SELECT durable.answer(pg_temp.st('deep', 1), '1');
SELECT action, output FROM durable.await_any(pg_temp.wf('deep'), 40, 'any 40', '{39,38}');
SELECT count(*), max(sequence) FROM durable.step WHERE workflow_id = pg_temp.wf('deep') AND status = 'COMPLETED';
SELECT action, output FROM durable.await_any(pg_temp.wf('deep'), 3, 'any 3', '{2,1}');
RESET statement_timeout;
-- Asked again while it is open: no transaction id, no lock.
SELECT * FROM pg_temp.ask(23, '{18}');
BEGIN;
SELECT * FROM pg_temp.ask(23, '{18}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid,
  count(*) FILTER (WHERE locktype = 'advisory') AS locks FROM pg_locks WHERE pid = pg_backend_pid();
COMMIT;
SELECT sequence, sequences FROM durable.waiting WHERE workflow_id = pg_temp.wf('any') ORDER BY 1;
-- Empty, unknown, its own; no positions.
SELECT pg_temp.ask(24, '{}');
SELECT pg_temp.ask(24, '{18,99}');
SELECT pg_temp.ask(24, '{18,24}');
SELECT pg_temp.ask(24, NULL);
SELECT pg_temp.ask(24, '{18,NULL}');
SELECT pg_temp.ask(24, '{-1}');
SELECT pg_temp.ask(24, '{{18},{23}}');
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_await_any;
