-- request_cancel: each workflow is told once, by what comes first.
\set own request_cancel
\i sql/own_database.psql
-- A claim: its action, attempt and error.
CREATE FUNCTION pg_temp.claim(n text, s int, step text, retries int = 0) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', action, attempt, error) FROM durable.claim_step(pg_temp.wf(n), s, step, executor_id => 'e', max_retries => retries, backoff => '1 hour') $$;
CREATE FUNCTION pg_temp.child(n text, s int, child text, queue text = NULL) RETURNS text LANGUAGE sql AS $$
  SELECT concat_ws(' ', CASE WHEN workflow_id IS NULL THEN 'none' END, CASE WHEN created THEN 'created' END, status, error)
  FROM durable.start_child(pg_temp.wf(n), s, child, queue => queue) $$;
-- What there is of a tree: the workflows, whether they were asked and are yet to be told, and their steps.
CREATE FUNCTION pg_temp.all(n text) RETURNS TABLE (task text, status durable.task_status, asked text, error text) LANGUAGE sql AS $$
  SELECT w.name, w.status, CASE WHEN w.cancel_untold THEN 'untold' WHEN w.cancel_requested_at IS NOT NULL THEN 'told' END, w.error
  FROM durable.workflow w WHERE w.root_id = pg_temp.wf(n)
  UNION ALL
  SELECT w.name || '/' || s.sequence, s.status, NULL, s.error FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
  WHERE w.root_id = pg_temp.wf(n) ORDER BY 1 $$;
SELECT durable.create_queue('q'), durable.create_queue('line');

-- Nothing is open: the first new position is recorded as FAILED, and answered so on every replay. What has run goes on.
SELECT lease FROM durable.start('new', executor_id => 'e');
SELECT pg_temp.claim('new', 0, 'done'), durable.complete(pg_temp.st('new', 0), '0');
SELECT pg_temp.claim('new', 1, 'runs');
SELECT durable.request_cancel(pg_temp.wf('new'), 'no "stock"');
SELECT name, status, cancel_requested_at IS NOT NULL AS asked, cancel_reason FROM durable.list(name => 'new');
SELECT * FROM pg_temp.all('new');
SELECT pg_temp.claim('new', 0, 'done'), pg_temp.claim('new', 1, 'runs');
SELECT durable.complete(pg_temp.st('new', 1), '1');
SELECT pg_temp.claim('new', 2, 'next') FROM generate_series(1, 2);
SELECT durable.complete(pg_temp.st('new', 2), '2');
SELECT * FROM durable.fail(pg_temp.st('new', 2), 'again');
SELECT started_at = completed_at AS at_once, attempt, executor_id FROM durable.step WHERE workflow_id = pg_temp.wf('new') AND sequence = 2;
-- Its compensations are steps as any others, with retries, waits and children.
SELECT pg_temp.claim('new', 3, 'undo', 1);
SELECT status, retry_count FROM durable.fail(pg_temp.st('new', 3), 'not yet');
SELECT pg_temp.move(3601);
SELECT pg_temp.claim('new', 3, 'undo', 1), durable.complete(pg_temp.st('new', 3), '3');
SELECT action FROM durable.sleep(pg_temp.wf('new'), 4, 'nap', '1 hour');
SELECT pg_temp.child('new', 5, 'undo more'), pg_temp.claim('undo more', 0, 's');
SELECT durable.complete(pg_temp.wf('undo more'), '5'), durable.complete(pg_temp.wf('new'), '"compensated"');
SELECT * FROM pg_temp.all('new');

-- What it refuses; a second request changes only the grace.
SELECT durable.request_cancel(NULL);
SELECT durable.request_cancel(pg_temp.wf('new'), grace => '-1 s');
SELECT durable.request_cancel(pg_temp.wf('new'), grace => '1001 years');
SELECT durable.request_cancel('00000000-0000-7000-8000-000000000000');
SELECT durable.request_cancel(pg_temp.st('new', 0));
SELECT durable.request_cancel(pg_temp.wf('new'));
SELECT durable.start('failed'), durable.start('cancelled') IS NOT NULL AS ok \gset
SELECT status FROM durable.fail(pg_temp.wf('failed'), 'bad');
SELECT durable.request_cancel(pg_temp.wf('failed'));
SELECT durable.cancel_tree(pg_temp.wf('cancelled'));
SELECT durable.request_cancel(pg_temp.wf('cancelled'));
SELECT lease FROM durable.start('twice', executor_id => 'e');
SELECT pg_temp.child('twice', 0, 'twice-child');
SELECT durable.request_cancel(pg_temp.wf('twice'), 'first', '1 hour');
SELECT name, cancel_reason, pg_temp.left(cancel_at) FROM durable.workflow WHERE root_id = pg_temp.wf('twice') ORDER BY id;
SELECT durable.request_cancel(pg_temp.wf('twice'), 'second', '2 hours');
SELECT name, cancel_reason, pg_temp.left(cancel_at) FROM durable.workflow WHERE root_id = pg_temp.wf('twice') ORDER BY id;
SELECT durable.request_cancel(pg_temp.wf('twice'));
SELECT name, cancel_reason, pg_temp.left(cancel_at) FROM durable.workflow WHERE root_id = pg_temp.wf('twice') ORDER BY id;
SELECT durable.cancel_tree(pg_temp.wf('twice'));

-- What is open ends at once: waits of every sort and steps that wait for a retry; not what has an outcome by now, whether it was asked for or not.
SELECT lease FROM durable.start('open', executor_id => 'e');
SELECT durable.start('awaited'), durable.start('over') IS NOT NULL AS ok \gset
SELECT durable.complete(pg_temp.wf('over'), '"over"');
SELECT action FROM durable.sleep(pg_temp.wf('open'), 0, 'nap', '1 day');
SELECT action FROM durable.await_signal(pg_temp.wf('open'), 1, 'go', '1 day');
SELECT action FROM durable.await_workflow(pg_temp.wf('open'), 2, 'it', pg_temp.wf('awaited'));
SELECT action FROM durable.await_callback(pg_temp.wf('open'), 3, 'back');
SELECT action FROM durable.await_any(pg_temp.wf('open'), 4, 'any', '{0,3}');
SELECT pg_temp.claim('open', 5, 'flaky', 3);
SELECT status FROM durable.fail(pg_temp.st('open', 5), 'oh', detail => '{"a": 1}');
SELECT action FROM durable.sleep(pg_temp.wf('open'), 6, 'short', '1 s');
SELECT action FROM durable.await_signal(pg_temp.wf('open'), 7, 'came');
SELECT durable.signal(pg_temp.wf('open'), 'came', '"it"');
SELECT action FROM durable.await_callback(pg_temp.wf('open'), 8, 'late', '1 s');
SELECT action FROM durable.await_any(pg_temp.wf('open'), 9, 'some', '{0,7}');
SELECT pg_temp.claim('open', 10, 'runs', 3);
SELECT pg_temp.move(5);
SELECT durable.request_cancel(pg_temp.wf('open'));
SELECT * FROM pg_temp.all('open');
SELECT sequence, detail, run_at IS NOT NULL AS has_time FROM durable.step WHERE workflow_id = pg_temp.wf('open') AND status = 'FAILED' ORDER BY 1;
SELECT name, wait FROM durable.waiting WHERE workflow_id = pg_temp.wf('open') ORDER BY sequence;
SELECT action, error FROM durable.sleep(pg_temp.wf('open'), 0, 'nap', '1 day');
SELECT action, error FROM durable.await_any(pg_temp.wf('open'), 4, 'any', '{0,3}');
SELECT pg_temp.claim('open', 5, 'flaky', 3);
SELECT action FROM durable.sleep(pg_temp.wf('open'), 6, 'short', '1 s');
SELECT action, output FROM durable.await_signal(pg_temp.wf('open'), 7, 'came');
SELECT action, left(error, 5) FROM durable.await_callback(pg_temp.wf('open'), 8, 'late', '1 s');
SELECT durable.answer(pg_temp.st('open', 3), '1');
-- It was told: the next position is claimed, and a failure is tried again.
SELECT pg_temp.claim('open', 11, 'undo');
SELECT status FROM durable.fail(pg_temp.st('open', 10), 'oh');
SELECT * FROM durable.check();

-- A failure that would be tried again tells, too: its repetition answers the same. One that is final has its own error.
SELECT lease FROM durable.start('flaky', executor_id => 'e');
SELECT pg_temp.claim('flaky', 0, 'a', 3), pg_temp.claim('flaky', 1, 'b');
SELECT durable.request_cancel(pg_temp.wf('flaky'), 'enough');
SELECT * FROM durable.fail(pg_temp.st('flaky', 1), 'own');
SELECT status, retry_count, run_at FROM generate_series(1, 2), durable.fail(pg_temp.st('flaky', 0), 'oh', 1, 1);
SELECT durable.complete(pg_temp.st('flaky', 0), '1');
SELECT pg_temp.claim('flaky', 0, 'a', 3), pg_temp.claim('flaky', 1, 'b'), pg_temp.claim('flaky', 2, 'undo');

-- Waits and children as the first new position. A child is not created; later answers are the same.
SELECT count(*) FROM unnest('{n-sleep,n-signal,n-workflow,n-callback,n-any,n-child,n-queued,n-pair,n-many,n-steps}'::text[]) n, durable.start(n, executor_id => 'e') s,
  durable.claim_step(s.workflow_id, 0, 's'), durable.request_cancel(s.workflow_id, 'why');
SELECT action, error FROM generate_series(1, 2), durable.sleep(pg_temp.wf('n-sleep'), 1, 'nap', '1 day');
SELECT durable.signal(pg_temp.wf('n-signal'), 'go');
SELECT action, error FROM generate_series(1, 2), durable.await_signal(pg_temp.wf('n-signal'), 1, 'go');
SELECT action, error FROM generate_series(1, 2), durable.await_workflow(pg_temp.wf('n-workflow'), 1, 'it', pg_temp.wf('over'));
SELECT action, error FROM generate_series(1, 2), durable.await_callback(pg_temp.wf('n-callback'), 1, 'back');
SELECT action, error FROM generate_series(1, 2), durable.await_any(pg_temp.wf('n-any'), 1, 'any', '{0}');
SELECT pg_temp.child('n-child', 1, 'never') FROM generate_series(1, 2);
SELECT * FROM durable.start_child(pg_temp.wf('n-queued'), 1, 'never', queue => 'q');
SELECT sequence, name, kind, status, error, child_id FROM durable.history(pg_temp.wf('n-queued'));
SELECT durable.status(pg_temp.st('n-queued', 1)), durable.error(pg_temp.st('n-queued', 1));
SELECT durable.complete(pg_temp.st('n-queued', 1), '1');
SELECT pg_temp.child('n-queued', 1, 'other');
SELECT pg_temp.claim('n-queued', 1, 'never');
SELECT action, error FROM durable.complete_and_claim(pg_temp.st('n-pair', 0), '0', 'next');
SELECT action, error FROM durable.complete_and_claim(pg_temp.st('n-pair', 0), '0', 'next');
SELECT action, attempt FROM durable.complete_and_claim(pg_temp.st('n-pair', 0), '0', 'undo', 2);
-- In a batch the first new position of each workflow tells, in the order of the array; the others are claimed.
SELECT "position", action, attempt, error FROM durable.complete_and_claim_many(ARRAY[pg_temp.st('n-many', 0), pg_temp.st('n-steps', 0), pg_temp.st('n-many', 0)],
  NULL, '{a,b,c}', sequences => '{5,1,3}');
SELECT "position", action, attempt, error FROM durable.complete_and_claim_many(ARRAY[pg_temp.st('n-many', 0), pg_temp.st('n-steps', 0), pg_temp.st('n-many', 0)],
  NULL, '{a,b,c}', sequences => '{5,1,3}');
SELECT lease FROM durable.start('many', executor_id => 'e');
SELECT pg_temp.claim('many', 1, 'b'), durable.request_cancel(pg_temp.wf('many'));
SELECT sequence, action, attempt, error FROM durable.claim_steps(pg_temp.wf('many'), 0, '{a,b,c}', lease => 1, executor_id => 'e');
SELECT sequence, action, attempt, error FROM durable.claim_steps(pg_temp.wf('many'), 0, '{a,b,c}', lease => 1, executor_id => 'e');
SELECT * FROM durable.tree(pg_temp.wf('n-child')) t WHERE t NOT LIKE '%ms' OR t ~ 'WF017';
SELECT * FROM durable.check();

-- resume_failed forgets the request, and the child that was not created: it is created then.
SELECT status FROM durable.fail(pg_temp.wf('n-child'), 'cancelled');
SELECT status FROM durable.resume_failed(pg_temp.wf('n-child'));
SELECT cancel_requested_at, cancel_reason, cancel_at, cancel_untold FROM durable.workflow WHERE id = pg_temp.wf('n-child');
SELECT count(*) FROM durable.history(pg_temp.wf('n-child'));
SELECT pg_temp.child('n-child', 1, 'now');
-- One before from_sequence is kept.
SELECT status FROM durable.fail(pg_temp.wf('n-queued'), 'cancelled');
SELECT status FROM durable.resume_failed(pg_temp.wf('n-queued'), from_sequence => 2);
SELECT pg_temp.child('n-queued', 1, 'never');
-- A wait that told, and a step, run again; with a tree below, that is forgotten there, too.
SELECT lease FROM durable.start('again', executor_id => 'e');
SELECT pg_temp.child('again', 0, 'again-child'), action FROM durable.await_callback(pg_temp.wf('again'), 1, 'back', '1 hour');
SELECT durable.request_cancel(pg_temp.wf('again'));
SELECT pg_temp.claim('again-child', 0, 's');
SELECT status FROM durable.fail(pg_temp.wf('again-child'), 'bad');
SELECT status FROM durable.fail(pg_temp.wf('again'), 'bad');
SELECT status, lease FROM durable.resume_failed(pg_temp.wf('again'));
SELECT * FROM pg_temp.all('again');
SELECT pg_temp.child('again', 0, 'again-child'), pg_temp.claim('again-child', 0, 's'), pg_temp.claim('again', 2, 't');
SELECT action, pg_temp.left(run_at) FROM durable.await_callback(pg_temp.wf('again'), 1, 'back', '1 hour');

-- Parents are told by the end of a child that was asked, too: so no compensation of theirs is hit.
-- An inline child's failure tells its parent at once: who drives it knows. Three levels down, the request names the lowest, or the root.
SELECT lease FROM durable.start('deep', executor_id => 'e');
SELECT pg_temp.child('deep', 0, 'deep-1'), pg_temp.child('deep-1', 0, 'deep-2'), pg_temp.child('deep-2', 0, 'deep-3');
SELECT durable.request_cancel(pg_temp.wf('deep'), 'all');
SELECT pg_temp.claim('deep-3', 0, 'work'), pg_temp.claim('deep-3', 1, 'undo');
SELECT status FROM durable.fail(pg_temp.wf('deep-3'), 'cancelled');
SELECT * FROM pg_temp.all('deep');
-- the middle one completes: that tells nobody
SELECT pg_temp.claim('deep-2', 1, 'undo'), durable.complete(pg_temp.wf('deep-2'), '"compensated"');
SELECT pg_temp.child('deep-1', 0, 'deep-2');
SELECT pg_temp.claim('deep-1', 1, 'next'), pg_temp.claim('deep-1', 2, 'undo');
SELECT status FROM durable.fail(pg_temp.wf('deep-1'), 'cancelled');
SELECT pg_temp.claim('deep', 1, 'undo'), pg_temp.child('deep', 0, 'deep-1');
SELECT * FROM durable.check();
-- Only below: the parents of the one that is named are not asked, and its failure is that of any child.
SELECT lease FROM durable.start('low', executor_id => 'e');
SELECT pg_temp.child('low', 0, 'low-1'), pg_temp.child('low-1', 0, 'low-2'), pg_temp.child('low-2', 0, 'low-3');
SELECT durable.request_cancel(pg_temp.wf('low-2'), 'part');
SELECT pg_temp.claim('low-3', 0, 'work');
SELECT status FROM durable.fail(pg_temp.wf('low-3'), 'cancelled');
SELECT status FROM durable.fail(pg_temp.wf('low-2'), 'cancelled');
SELECT pg_temp.child('low-1', 0, 'low-2'), pg_temp.claim('low-1', 1, 'next');
SELECT * FROM pg_temp.all('low');
-- A request on the root later leaves what was asked before as it is, with what it does for its compensation.
SELECT pg_temp.child('low-1', 2, 'asked');
SELECT durable.request_cancel(pg_temp.wf('asked'), 'one');
SELECT pg_temp.claim('asked', 0, 's'), pg_temp.child('asked', 1, 'undoing');
SELECT durable.request_cancel(pg_temp.wf('low'), 'rest');
SELECT name, cancel_reason, cancel_untold FROM durable.workflow WHERE root_id = pg_temp.wf('low') AND completed_at IS NULL ORDER BY name;
-- A child that had ended before is no news; one that was asked before and ends now is.
SELECT pg_temp.child('low-1', 0, 'low-2'), pg_temp.claim('low-1', 3, 'next');
SELECT lease FROM durable.start('late', executor_id => 'e');
SELECT pg_temp.child('late', 0, 'late-0', 'q'), count(c.*) FROM durable.claim('q', 'f') c;
SELECT count(*) FROM durable.claim('q', 'f');
SELECT durable.request_cancel(pg_temp.wf('late-0'), 'first');
SELECT durable.request_cancel(pg_temp.wf('late'), 'then');
SELECT status FROM durable.fail(pg_temp.wf('late-0'), 'cancelled');
SELECT pg_temp.child('late', 0, 'late-0', 'q');
SELECT pg_temp.claim('late', 1, 'undo');

-- One that was handed back meanwhile, and is PENDING: a failure of its step that would be tried again tells it.
SELECT created FROM durable.start('handed', queue => 'line');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT pg_temp.claim('handed', 0, 's', 3), durable.release('e', pg_temp.wf('handed'));
SELECT durable.request_cancel(pg_temp.wf('handed'), 'enough');
SELECT * FROM pg_temp.all('handed');
SELECT status, retry_count FROM durable.fail(pg_temp.st('handed', 0), 'boom');
SELECT * FROM pg_temp.all('handed');
SELECT durable.cancel_tree(pg_temp.wf('handed'));
-- So does it one that is PAUSED.
SELECT lease FROM durable.start('halted', executor_id => 'e');
SELECT pg_temp.claim('halted', 0, 's', 3), durable.request_cancel(pg_temp.wf('halted'), 'enough'), durable.pause_tree(pg_temp.wf('halted'));
SELECT * FROM pg_temp.all('halted');
SELECT status, retry_count FROM durable.fail(pg_temp.st('halted', 0), 'boom');
SELECT * FROM pg_temp.all('halted');
SELECT durable.cancel_tree(pg_temp.wf('halted'));

-- Queued children: those that never ran are CANCELLED, whether they are paused or not; others are told in their queue. The answer of start_child tells.
SELECT lease FROM durable.start('fan', executor_id => 'e');
SELECT pg_temp.child('fan', i, 'fan-' || i, 'q') FROM generate_series(0, 3) i;
SELECT name FROM durable.claim('q', 'f');
SELECT durable.pause_tree(pg_temp.wf('fan-1'));
SELECT durable.request_cancel(pg_temp.wf('fan'), 'fan', '1 day');
SELECT * FROM pg_temp.all('fan');
SELECT count(*) FROM durable.claim('q', 'f');
SELECT pg_temp.child('fan', 1, 'fan-1', 'q'), cancel_untold FROM durable.workflow WHERE id = pg_temp.wf('fan');
SELECT cancel_untold FROM durable.workflow WHERE id = pg_temp.wf('fan');
SELECT pg_temp.claim('fan', 4, 'undo');
-- The child is told by itself, and answers the same again.
SELECT pg_temp.claim('fan-0', 0, 's'), pg_temp.claim('fan-0', 1, 'undo');
SELECT status FROM durable.fail(pg_temp.wf('fan-0'), 'cancelled');
SELECT pg_temp.child('fan', 0, 'fan-0', 'q');
-- What the request itself brings about has not ended a wait before: it is told.
SELECT lease FROM durable.start('choice', executor_id => 'e');
SELECT pg_temp.child('choice', 0, 'choice-0', 'line');
SELECT action FROM durable.await_any(pg_temp.wf('choice'), 1, 'any', '{0}');
SELECT action FROM durable.await_workflow(pg_temp.wf('choice'), 2, 'it', pg_temp.wf('choice-0'));
SELECT durable.request_cancel(pg_temp.wf('choice'));
SELECT * FROM pg_temp.all('choice');
-- One that has completed tells nothing; nor does one that failed before it was asked.
SELECT lease FROM durable.start('early', executor_id => 'e');
SELECT pg_temp.child('early', 0, 'early-0', 'q'), pg_temp.child('early', 1, 'early-1', 'q');
SELECT count(*) FROM durable.claim('q', 'f', 2);
SELECT status FROM durable.fail(pg_temp.wf('early-0'), 'bad');
SELECT durable.request_cancel(pg_temp.wf('early'));
SELECT durable.complete(pg_temp.wf('early-1'), '1');
SELECT pg_temp.child('early', 0, 'early-0', 'q'), pg_temp.child('early', 1, 'early-1', 'q'), pg_temp.claim('early', 2, 'next');
-- await_workflow of such a child is not hit, either: it has the child's error.
SELECT lease FROM durable.start('join', executor_id => 'e');
SELECT pg_temp.child('join', 0, 'join-0', 'q'), pg_temp.child('join', 1, 'join-1', 'q');
SELECT count(*) FROM durable.claim('q', 'f');
SELECT durable.request_cancel(pg_temp.wf('join'));
SELECT pg_temp.claim('join-0', 0, 's');
SELECT status FROM durable.fail(pg_temp.wf('join-0'), 'child error');
SELECT action, error FROM generate_series(1, 2), durable.await_workflow(pg_temp.wf('join'), 2, 'child', pg_temp.wf('join-0'));
SELECT pg_temp.claim('join', 3, 'undo');
SELECT * FROM durable.check();

-- Suspended: due at once, whatever it waits for; with the driver of an inline child that is named.
SELECT status FROM durable.start('nap', queue => 'line');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT action FROM durable.await_signal(pg_temp.wf('nap'), 0, 'go');
SELECT pg_temp.child('nap', 1, 'nap-child', 'q'), pg_temp.child('nap', 2, 'nap-inline'), pg_temp.child('nap-inline', 0, 'nap-lower');
SELECT count(*) FROM durable.claim('q', 'f');
SELECT status FROM durable.suspend(pg_temp.wf('nap'), 'e', 1, ARRAY[pg_temp.st('nap', 1)], 'all');
SELECT count(*) FROM durable.claim('line', 'e');
SELECT durable.request_cancel(pg_temp.wf('nap-lower'), 'lower');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT pg_temp.claim('nap-lower', 0, 's'), durable.complete(pg_temp.wf('nap-lower'), '1');
SELECT status FROM durable.suspend(pg_temp.wf('nap'), 'e', 3, ARRAY[pg_temp.st('nap', 0), pg_temp.st('nap', 1)], 'all');
SELECT durable.request_cancel(pg_temp.wf('nap'), 'all of it');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT action, error FROM durable.await_signal(pg_temp.wf('nap'), 0, 'go');
SELECT pg_temp.claim('nap', 3, 'undo');
SELECT * FROM durable.check();
-- Released for later: due at once. Suspended and paused: due when it is resumed, and told then.
SELECT status FROM durable.start('away', queue => 'line');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT durable.release('e', pg_temp.wf('away'), durable.clock() + interval '1 day');
SELECT durable.request_cancel(pg_temp.wf('away'));
SELECT name, lease FROM durable.claim('line', 'e');
SELECT pg_temp.claim('away', 0, 's');
SELECT status FROM durable.start('rest', queue => 'line');
SELECT name, lease FROM durable.claim('line', 'e');
SELECT action FROM durable.await_callback(pg_temp.wf('rest'), 0, 'back');
SELECT status FROM durable.suspend(pg_temp.wf('rest'), 'e', 1, ARRAY[pg_temp.st('rest', 0)]);
SELECT durable.pause_tree(pg_temp.wf('rest'));
SELECT durable.request_cancel(pg_temp.wf('rest'), 'rest');
SELECT count(*) FROM durable.claim('line', 'e');
SELECT durable.resume_tree(pg_temp.wf('rest'));
SELECT name, lease FROM durable.claim('line', 'e');
SELECT action, error FROM durable.await_callback(pg_temp.wf('rest'), 0, 'back');
-- Paused while it runs: told after its resume, by what was open, or by the first new position.
SELECT lease FROM durable.start('pause', executor_id => 'e');
SELECT pg_temp.claim('pause', 0, 'flaky', 1), pg_temp.child('pause', 1, 'pause-child');
SELECT status FROM durable.fail(pg_temp.st('pause', 0), 'oh');
SELECT durable.pause_tree(pg_temp.wf('pause'));
SELECT durable.request_cancel(pg_temp.wf('pause'));
SELECT * FROM pg_temp.all('pause');
SELECT pg_temp.claim('pause-child', 0, 's');
SELECT durable.resume_tree(pg_temp.wf('pause'));
SELECT pg_temp.claim('pause', 0, 'flaky', 1), pg_temp.claim('pause-child', 0, 's'), pg_temp.claim('pause', 2, 'undo');

-- A compensation that fails is a failure as any other; a workflow that was never told ends as it likes.
SELECT lease FROM durable.start('bad luck', executor_id => 'e');
SELECT durable.request_cancel(pg_temp.wf('bad luck'));
SELECT pg_temp.claim('bad luck', 0, 's'), pg_temp.claim('bad luck', 1, 'undo', 1);
SELECT status, retry_count FROM durable.fail(pg_temp.st('bad luck', 1), 'no');
SELECT pg_temp.move(3601);
SELECT pg_temp.claim('bad luck', 1, 'undo', 1);
SELECT status FROM durable.fail(pg_temp.st('bad luck', 1), 'no');
SELECT pg_temp.claim('bad luck', 1, 'undo', 1), pg_temp.claim('bad luck', 2, 'call somebody');
SELECT status FROM durable.fail(pg_temp.wf('bad luck'), 'compensation failed');
SELECT lease FROM durable.start('done', executor_id => 'e');
SELECT durable.request_cancel(pg_temp.wf('done')), durable.complete(pg_temp.wf('done'), '1');
SELECT * FROM durable.check();

-- The executor is told: by heartbeat until the program was.
SELECT lease FROM durable.start('beat', executor_id => 'h');
SELECT count(*) FROM durable.heartbeat('h', ARRAY[pg_temp.wf('beat')], '{1}');
SELECT durable.request_cancel(pg_temp.wf('beat'));
SELECT status, lease, owner, cancel_requested_at = (SELECT cancel_requested_at FROM durable.task WHERE id = pg_temp.wf('beat')) AS asked
  FROM durable.heartbeat('h', ARRAY[pg_temp.wf('beat')], '{1}');
SELECT pg_temp.claim('beat', 0, 's');
SELECT count(*) FROM durable.heartbeat('h', ARRAY[pg_temp.wf('beat')], '{1}');
SELECT sum(cancel_requested) = (SELECT count(*) FROM durable.workflow WHERE cancel_requested_at IS NOT NULL AND completed_at IS NULL) AS all_counted,
  bool_or(cancel_requested > 0) AS some FROM durable.stats;

-- After the grace tick cancels, what has not ended; a tick before that does nothing.
SELECT lease FROM durable.start('grace', executor_id => 'h');
SELECT pg_temp.child('grace', 0, 'grace-child', 'q'), pg_temp.claim('grace', 1, 's');
SELECT count(*) FROM durable.claim('q', 'h');
SELECT pg_temp.claim('grace-child', 0, 's');
SELECT durable.request_cancel(pg_temp.wf('grace'), 'soon', '1 hour');
SELECT durable.heartbeat(x) FROM unnest('{e,f,h}'::text[]) x;
SELECT durable.tick(0), durable.tick();
SELECT * FROM pg_temp.all('grace');
SELECT pg_temp.move(3601);
SELECT durable.heartbeat(x) FROM unnest('{e,f,h}'::text[]) x;
SELECT durable.tick(), durable.tick();
SELECT * FROM pg_temp.all('grace');
-- What is left below one that has ended in time is cancelled by itself; an end in time needs nothing.
SELECT lease FROM durable.start('left', executor_id => 'h');
SELECT pg_temp.child('left', 0, 'left-child', 'q');
SELECT count(*) FROM durable.claim('q', 'h');
SELECT durable.request_cancel(pg_temp.wf('left'), grace => '1 min'), durable.complete(pg_temp.wf('left'));
SELECT pg_temp.move(61);
SELECT durable.tick(), durable.tick();
SELECT * FROM pg_temp.all('left');
SELECT * FROM durable.check();

\c :home
DROP DATABASE regress_durable_request_cancel;
