-- sleep, await_callback and answer; what holds for every wait.
\set own wait
\i sql/own_database.psql
SET TIME ZONE 'UTC';
SET datestyle = ISO;

-- sleep: its time counts from the first call. The step's id is known; the answer is that of claim_step.
SELECT lease FROM durable.start('sleeper');
SELECT step_id = pg_temp.st('sleeper', 0) AS id, action, output, error, attempt, pg_temp.left(run_at), detail
  FROM durable.sleep(pg_temp.wf('sleeper'), 0, 'nap', '1 minute', lease => 1);
SELECT pg_temp.move(30);
SELECT action, pg_temp.left(run_at) FROM durable.sleep(pg_temp.wf('sleeper'), 0, 'nap', '1 hour', lease => 1);
SELECT pg_temp.move(31);
SELECT action, output, error, attempt, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 0, 'nap', '1 hour', lease => 1);
SELECT action, output, error, attempt, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 0, 'nap', until => '2999-01-01');
-- Its end is when its time had come, not when somebody asked.
SELECT status, wait, completed_at = run_at AS at_its_time, completed_at - started_at AS slept
  FROM durable.step WHERE workflow_id = pg_temp.wf('sleeper');
-- until; one that has passed; too far: the last instant that clients can read.
SELECT action, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 1, 'until', until => '2999-12-31 23:59:59+00');
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 2, 'past', until => '2000-01-01');
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 3, 'none', '0');
SELECT action, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 4, 'far', '200000 years');
SELECT action, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 5, 'farther', until => '200000-01-01');
SELECT action, run_at FROM durable.sleep(pg_temp.wf('sleeper'), 6, 'days', '178000000 years -2000000000 days');
-- By the calendar.
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 7, 'month', '1 month');
SELECT run_at = started_at + interval '1 month' AS a_month FROM durable.step WHERE workflow_id = pg_temp.wf('sleeper') AND sequence = 7;
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x', '1 s', '2999-01-01');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x', '-1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x', until => 'infinity');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x', until => '-infinity');
SELECT durable.sleep(NULL, 9, 'x', '1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), NULL, 'x', '1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), -1, 'x', '1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, NULL, '1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, '', '1 s');
-- The workflow's id, not a step's; one that is not there.
SELECT durable.sleep(pg_temp.st('sleeper', 0), 9, 'x', '1 s');
SELECT durable.sleep('00000000-0000-7000-8000-000000000000', 9, 'x', '1 s');

-- An open wait asked again writes nothing, locks nothing, and has no transaction id; a recorded one neither. Also read only.
BEGIN READ ONLY;
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 1, 'until', until => '2999-12-31');
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 0, 'nap', '1 s');
SELECT durable.sleep(pg_temp.wf('sleeper'), 9, 'x', '1 s');
ROLLBACK;
BEGIN;
SELECT action FROM durable.sleep(pg_temp.wf('sleeper'), 1, 'until', until => '2999-12-31');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid,
  count(*) FILTER (WHERE locktype = 'advisory') AS locks FROM pg_locks WHERE pid = pg_backend_pid();
COMMIT;

-- Another name, kind or sort at the position.
SELECT durable.sleep(pg_temp.wf('sleeper'), 0, 'other', '1 s');
SELECT durable.await_callback(pg_temp.wf('sleeper'), 0, 'nap');
SELECT durable.claim_step(pg_temp.wf('sleeper'), 0, 'nap');
SELECT action FROM durable.claim_step(pg_temp.wf('sleeper'), 10, 'step');
SELECT durable.sleep(pg_temp.wf('sleeper'), 10, 'step', '1 s');
SELECT durable.start_child(pg_temp.wf('sleeper'), 0, 'nap');
\set VERBOSITY default
SELECT durable.await_callback(w, 0, 'nap') FROM (SELECT '00000000-0000-7000-8000-000000000001'::uuid) AS t (w);
\set VERBOSITY sqlstate

-- A callback: the step's id is the token. Repeatable with the same answer.
SELECT lease FROM durable.start('order');
SELECT action, step_id = pg_temp.st('order', 0) AS token, pg_temp.left(run_at)
  FROM durable.await_callback(pg_temp.wf('order'), 0, 'approval', '3 days', 1);
SELECT durable.answer(pg_temp.st('order', 0), '{"by": "Ann"}');
SELECT durable.answer(pg_temp.st('order', 0), '{"by": "Ann"}');
SELECT durable.answer(pg_temp.st('order', 0), '{"by": "Bob"}');
SELECT durable.answer(pg_temp.st('order', 0), error => 'no');
SELECT action, output, attempt FROM durable.await_callback(pg_temp.wf('order'), 0, 'approval', '3 days', 1);
-- With an error it has failed, for good.
SELECT action FROM durable.await_callback(pg_temp.wf('order'), 1, 'refusal');
SELECT durable.answer(pg_temp.st('order', 1), error => 'no');
SELECT durable.answer(pg_temp.st('order', 1), error => 'no');
SELECT durable.answer(pg_temp.st('order', 1), error => 'never');
SELECT durable.answer(pg_temp.st('order', 1), '1');
SELECT action, output, error, attempt FROM durable.await_callback(pg_temp.wf('order'), 1, 'refusal');
-- NULL is an answer, and null is another.
SELECT action FROM durable.await_callback(pg_temp.wf('order'), 2, 'nothing');
SELECT durable.answer(pg_temp.st('order', 2));
SELECT durable.answer(pg_temp.st('order', 2)), durable.is_completed(pg_temp.st('order', 2));
SELECT durable.answer(pg_temp.st('order', 2), 'null');
-- An operator ends a sleep early.
SELECT action FROM durable.sleep(pg_temp.wf('order'), 3, 'long', '1 year');
SELECT durable.answer(pg_temp.st('order', 3), '"early"');
SELECT action, output FROM durable.sleep(pg_temp.wf('order'), 3, 'long', '1 year');
-- complete, fail and complete_many do the same; no lease or attempt is needed, and wrong ones are refused.
SELECT action FROM generate_series(4, 8) i, durable.await_callback(pg_temp.wf('order'), i, 'by ' || i);
SELECT durable.complete(pg_temp.st('order', 4), '4');
SELECT durable.complete(pg_temp.st('order', 4), '4');
SELECT durable.complete(pg_temp.st('order', 4), '5');
SELECT durable.complete(pg_temp.st('order', 5), '5', lease => 2);
SELECT durable.complete(pg_temp.st('order', 5), '5', attempt => 2);
SELECT * FROM durable.fail(pg_temp.st('order', 5), 'bad', 1, 1, detail => '{"d": 1}');
SELECT * FROM durable.fail(pg_temp.st('order', 5), 'bad');
SELECT * FROM durable.fail(pg_temp.st('order', 5), 'worse');
SELECT action, error, detail FROM durable.await_callback(pg_temp.wf('order'), 5, 'by 5');
SELECT action FROM durable.claim_step(pg_temp.wf('order'), 9, 'step');
SELECT position, completed, left(error, 5) AS error
  FROM durable.complete_many(ARRAY[pg_temp.st('order', 9), pg_temp.st('order', 7), pg_temp.st('order', 4), pg_temp.st('order', 6), pg_temp.st('order', 6), pg_temp.st('order', 5)],
    '{9,7,4,6,6,5}');
SELECT position, completed, left(error, 5) AS error
  FROM durable.complete_many(ARRAY[pg_temp.st('order', 7), pg_temp.st('order', 6)], '{7,8}');
SELECT sequence, kind, wait, status, output, error, attempt FROM durable.history(pg_temp.wf('order'));
-- A step is not answered, nor a workflow; what is not there.
SELECT durable.answer(pg_temp.st('order', 9), '1');
SELECT durable.answer(pg_temp.wf('order'), '1');
SELECT durable.answer(pg_temp.st('order', 99), '1');
SELECT durable.answer(NULL);
SELECT durable.answer(pg_temp.st('order', 8), '1', 'error');
-- A wait has no timeout that could be set, and nobody goes on from it.
SELECT durable.set_timeout(pg_temp.st('order', 8), '1 s');
SELECT durable.complete_and_claim(pg_temp.st('order', 8), '1', 'next', 20, lease => 1);
SELECT durable.complete_and_claim(pg_temp.st('order', 4), '4', 'next', 20, lease => 1);
SELECT action FROM durable.claim_step(pg_temp.wf('order'), 11, 'before');
SELECT action, left(error, 5) AS error FROM durable.complete_and_claim(pg_temp.st('order', 11), '1', 'by 8', 8, lease => 1);

-- A timeout that passes: FAILED, with an error that names the wait and the timeout. What counts is when it happened.
SELECT lease FROM durable.start('late');
SELECT action FROM generate_series(0, 2) i, durable.await_callback(pg_temp.wf('late'), i, 'call ' || i, '10 s');
SELECT durable.answer(pg_temp.st('late', 0), '"in time"');
SELECT pg_temp.move(11);
SELECT action, output FROM durable.await_callback(pg_temp.wf('late'), 0, 'call 0', '10 s');
-- (asked or not)
SELECT durable.answer(pg_temp.st('late', 1), '"too late"');
SELECT durable.fail(pg_temp.st('late', 1), 'too late');
SELECT action, output, error FROM durable.await_callback(pg_temp.wf('late'), 1, 'call 1', '10 s');
SELECT durable.answer(pg_temp.st('late', 1), '"too late"');
SELECT action, output, error FROM durable.await_callback(pg_temp.wf('late'), 1, 'call 1', '10 s');
SELECT pg_temp.move(1000);
SELECT action, error FROM durable.await_callback(pg_temp.wf('late'), 2, 'call 2', '1 year');
SELECT sequence, completed_at - started_at = interval '10 s' AS at_its_time FROM durable.step WHERE workflow_id = pg_temp.wf('late') ORDER BY 1;
SELECT durable.await_callback(pg_temp.wf('late'), 9, 'x', '-1 s');
SELECT durable.await_callback(pg_temp.wf('late'), 9, 'x', '1001 years');

-- The workflow's conditions, those of claim_step in its order: the lease first.
SELECT lease FROM durable.start('dead line', timeout => '1 minute');
SELECT action FROM durable.await_callback(pg_temp.wf('dead line'), 0, 'call');
SELECT durable.answer(pg_temp.st('dead line', 0), '1');
SELECT pg_temp.move(61);
SELECT durable.await_callback(pg_temp.wf('dead line'), 0, 'call', lease => 2);
SELECT durable.await_callback(pg_temp.wf('dead line'), 0, 'call', lease => 1);
SELECT durable.create_queue('wait_queue');
SELECT status FROM durable.start('queued', queue => 'wait_queue');
SELECT durable.await_callback(pg_temp.wf('queued'), 0, 'call');
-- Paused: nothing is asked, and an answer is recorded; the time goes on.
SELECT lease FROM durable.start('paused');
SELECT action FROM generate_series(0, 2) i, durable.await_callback(pg_temp.wf('paused'), i, 'call ' || i, '1 minute');
SELECT durable.pause_tree(pg_temp.wf('paused'));
SELECT sequence, status FROM durable.history(pg_temp.wf('paused'));
SELECT durable.await_callback(pg_temp.wf('paused'), 0, 'call 0');
SELECT durable.answer(pg_temp.st('paused', 0), '0');
SELECT durable.answer(pg_temp.st('paused', 1), error => 'no');
SELECT sequence, name, wait, root_name FROM durable.waiting WHERE workflow_id = pg_temp.wf('paused');
SELECT pg_temp.move(61);
SELECT durable.answer(pg_temp.st('paused', 2), '2');
SELECT durable.resume_tree(pg_temp.wf('paused'));
SELECT sequence, status FROM durable.history(pg_temp.wf('paused'));
SELECT action, left(error, 5) FROM durable.await_callback(pg_temp.wf('paused'), 2, 'call 2');
-- Cancelled, completed, failed.
DO $$
DECLARE
  n text;
BEGIN
  FOREACH n IN ARRAY '{cancelled,completed,failed}'::text[] LOOP
    PERFORM durable.start('w ' || n);
    PERFORM durable.await_callback(pg_temp.wf('w ' || n), 0, 'open');
    PERFORM durable.await_callback(pg_temp.wf('w ' || n), 1, 'done');
    PERFORM durable.answer(pg_temp.st('w ' || n, 1), '1');
  END LOOP;
  PERFORM durable.cancel_tree(pg_temp.wf('w cancelled'));
  PERFORM durable.complete(pg_temp.wf('w completed'));
  PERFORM durable.fail(pg_temp.wf('w failed'), 'bad');
END $$;
SELECT durable.answer(pg_temp.st('w cancelled', 0), '1');
SELECT durable.answer(pg_temp.st('w completed', 0), '1');
SELECT durable.answer(pg_temp.st('w failed', 0), error => 'no');
SELECT durable.complete(pg_temp.st('w completed', 0), '1');
SELECT durable.answer(pg_temp.st('w ' || n, 1), '1') FROM unnest('{cancelled,completed,failed}'::text[]) n;
SELECT durable.await_callback(pg_temp.wf('w cancelled'), 0, 'open');
SELECT durable.await_callback(pg_temp.wf('w completed'), 0, 'open');
SELECT durable.await_callback(pg_temp.wf('w failed'), 0, 'open');
SELECT durable.await_callback(pg_temp.wf('w failed'), 2, 'new');
SELECT durable.await_callback(pg_temp.wf('w completed'), 1, 'other');
SELECT action, output FROM durable.await_callback(pg_temp.wf('w completed'), 1, 'done');
SELECT action, output FROM durable.await_callback(pg_temp.wf('w failed'), 1, 'done');
SELECT w.name, s.sequence, s.status FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name LIKE 'w %' ORDER BY 1, 2;

-- An open wait is no retry that waits. It is listed until it ends, or its workflow does.
SELECT retries_waiting FROM durable.stats WHERE queue_name IS NULL;
SELECT root_name, sequence, name, wait, signals, awaited, sequences, since <= durable.clock() AS since, run_at IS NOT NULL AS ends, queue_name,
  step_id = durable.step_id(workflow_id, sequence) AS id
  FROM durable.waiting ORDER BY root_name COLLATE "C", sequence;
SELECT count(*) = (SELECT count(*) FROM durable.waiting) AS the_same FROM durable.open_wait;
-- As others see it.
SELECT name, kind, status, wait, run_at IS NOT NULL AS ends, attempt FROM durable.list(kind => 'WAIT', parent_id => pg_temp.wf('order'), sort => 'name', descending => false);
SELECT regexp_replace(t, ' [\d.]+ (ms|min)', '') FROM durable.tree(pg_temp.wf('order')) t;
SELECT regexp_replace(regexp_replace(t, ' [\d.]+ \w+$', ''), 'until [-0-9]+ [0-9:.]+', 'until then') FROM durable.tree(pg_temp.wf('sleeper')) t;
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_wait;
