-- suspend: a workflow gives its executor free until something happens.
\set own suspend
\i sql/own_database.psql
-- suspends a workflow for steps of its own, as its owner
CREATE FUNCTION pg_temp.suspend(n text, s int[], until text = 'any', OUT status durable.task_status, OUT left numeric) LANGUAGE sql AS $$
  SELECT d.status, pg_temp.left(d.run_at) FROM (SELECT * FROM durable.workflow WHERE id = pg_temp.wf(n)) w, durable.suspend(w.id, w.executor_id, w.lease,
    (SELECT array_agg(durable.step_id(w.id, e)) FROM unnest(s) e), until) d $$;
CREATE FUNCTION pg_temp.show(n text, OUT status durable.task_status, OUT lease int, OUT executor text, OUT suspended boolean, OUT started boolean,
    OUT run_at numeric, OUT deadline numeric) LANGUAGE sql AS $$
  SELECT w.status, w.lease, w.executor_id, w.suspended_at IS NOT NULL, w.started_at IS NOT NULL, pg_temp.left(w.run_at), pg_temp.left(w.deadline)
  FROM durable.workflow w WHERE w.id = pg_temp.wf(n) $$;
CREATE FUNCTION pg_temp.take(q text, e text = 'e', n int = 9) RETURNS TABLE (name text, lease int) LANGUAGE sql AS
  $$SELECT name, lease FROM durable.claim(q, e, n)$$;
CREATE FUNCTION pg_temp.try(q text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE q; RETURN 'ok'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ': ' || SQLERRM; END $$;
SELECT durable.create_queue('q'), durable.create_queue('c');

-- A sleep: it is due when that ends.
SELECT created FROM durable.start('nap', queue => 'q', timeout => '1 day');
SELECT * FROM pg_temp.take('q');
SELECT action FROM durable.sleep(pg_temp.wf('nap'), 0, 'night', '8 hours');
SELECT * FROM pg_temp.show('nap');
SELECT * FROM pg_temp.suspend('nap', '{0}');
SELECT * FROM pg_temp.show('nap');
SELECT queue_name, pending, due, running, suspended, stale FROM durable.stats WHERE queue_name = 'q';
SELECT * FROM pg_temp.take('q');
SELECT * FROM durable.check();
SELECT pg_temp.move(8 * 3600 + 1);
SELECT queue_name, pending, due, running, suspended, stale FROM durable.stats WHERE queue_name = 'q';
SELECT * FROM pg_temp.take('q');
SELECT * FROM pg_temp.show('nap');
SELECT * FROM durable.open_position;
SELECT * FROM durable.watch;
-- What has ended already leaves all as it is.
SELECT * FROM pg_temp.suspend('nap', '{0}');
SELECT action FROM durable.sleep(pg_temp.wf('nap'), 0, 'night', '8 hours');
SELECT * FROM pg_temp.suspend('nap', '{0}');
-- Released, it waits there again.
SELECT durable.release('e', pg_temp.wf('nap'));
SELECT * FROM pg_temp.take('q');
SELECT durable.complete(pg_temp.wf('nap'));

-- Each sort of wait, ended by what it waits for, or by an answer. Only an event: no time.
SELECT created FROM durable.start('other');
CREATE FUNCTION pg_temp.ask(n text, sort text, s int = 0) RETURNS text LANGUAGE sql AS $$
  SELECT (CASE sort WHEN 'signal' THEN durable.await_signal(pg_temp.wf(n), s, 'go') WHEN 'signals' THEN durable.await_signal(pg_temp.wf(n), s, 'some', signals => '{go,come}')
    WHEN 'callback' THEN durable.await_callback(pg_temp.wf(n), s, 'back') WHEN 'workflow' THEN durable.await_workflow(pg_temp.wf(n), s, 'it', pg_temp.wf('other'))
    END).action::text $$;
CREATE FUNCTION pg_temp.nap(n text, sort text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM durable.start(n, queue => 'q');
  PERFORM pg_temp.take('q', 'e');
  RETURN pg_temp.ask(n, sort) || ' ' || (SELECT status || coalesce(' ' || s.left, '') FROM pg_temp.suspend(n, '{0}') s);
END $$;
SELECT s, pg_temp.nap(s, s), pg_temp.nap(s || ' 2', s) FROM unnest('{signal,signals,callback,workflow}'::text[]) s;
SELECT * FROM pg_temp.take('q');
SELECT * FROM durable.check();
SELECT queue_name, pending, due, running, suspended FROM durable.stats WHERE queue_name = 'q';
SELECT pg_temp.try('SELECT durable.drop_queue(''q'')') ~ '^WF002';
SELECT durable.signal(pg_temp.wf('signal'), 'another');
SELECT * FROM pg_temp.take('q');
SELECT durable.signal(pg_temp.wf('signal'), 'go', '1'), durable.signal(pg_temp.wf('signals'), 'come', '2'), durable.answer(pg_temp.st('callback', 0), '3'),
  durable.complete(pg_temp.wf('other'), '4');
SELECT * FROM pg_temp.show('signal');
SELECT * FROM pg_temp.take('q');
SELECT s, (durable.await_signal(pg_temp.wf(s), 0, CASE s WHEN 'signal' THEN 'go' ELSE 'some' END)).output FROM unnest('{signal,signals}'::text[]) s;
SELECT action, output FROM durable.await_workflow(pg_temp.wf('workflow'), 0, 'it', pg_temp.wf('other'));
SELECT durable.answer(pg_temp.st(s || ' 2', 0), '5') FROM unnest('{signal,signals,callback}'::text[]) s;
SELECT * FROM pg_temp.take('q', 'f');
SELECT * FROM durable.check();
SELECT durable.complete(w.id) FROM durable.workflow w WHERE status = 'RUNNING';

-- Rolled back, it wakes nobody.
SELECT pg_temp.nap('back', 'callback');
BEGIN;
SELECT durable.answer(pg_temp.st('back', 0), '1');
ROLLBACK;
SELECT * FROM pg_temp.take('q');
SELECT durable.answer(pg_temp.st('back', 0), '1');
SELECT * FROM pg_temp.take('q');
SELECT durable.complete(pg_temp.wf('back'));

-- A retry, a child, a wait for any, a wait of an inline child.
SELECT created FROM durable.start('mixed', queue => 'q');
SELECT * FROM pg_temp.take('q');
SELECT action FROM durable.claim_step(pg_temp.wf('mixed'), 0, 'flaky', max_retries => 3, backoff => '10 min', lease => 1);
SELECT status FROM durable.fail(pg_temp.st('mixed', 0), 'no', 1);
SELECT created FROM durable.start_child(pg_temp.wf('mixed'), 1, 'child', queue => 'c');
SELECT created FROM durable.start_child(pg_temp.wf('mixed'), 2, 'inline', timeout => '5 min');
SELECT action FROM durable.await_callback(pg_temp.wf('inline'), 0, 'back');
SELECT action FROM durable.claim_step(pg_temp.wf('mixed'), 3, 'runs', lease => 1);
SELECT action FROM durable.await_any(pg_temp.wf('mixed'), 4, 'first', '{1,3}');
SELECT * FROM pg_temp.suspend('mixed', '{0,1}');
SELECT * FROM pg_temp.show('mixed');
SELECT pg_temp.left(deadline), lease, status FROM durable.workflow WHERE id = pg_temp.wf('inline');
SELECT durable.set_timeout(pg_temp.wf('inline'), '7 min');
SELECT * FROM pg_temp.show('mixed');
SELECT durable.set_timeout(pg_temp.wf('inline'), NULL);
SELECT * FROM pg_temp.show('mixed');
SELECT pg_temp.move(601);
SELECT * FROM pg_temp.take('q');
SELECT action, attempt FROM durable.claim_step(pg_temp.wf('mixed'), 0, 'flaky', max_retries => 3, backoff => '10 min', lease => 3);
SELECT durable.complete(pg_temp.st('mixed', 0), lease => 3);
SELECT status, run_at FROM durable.suspend(pg_temp.wf('mixed'), 'e', 3, ARRAY[pg_temp.st('mixed', 4), pg_temp.st('inline', 0)]);
SELECT durable.complete(pg_temp.st('mixed', 3));
SELECT * FROM pg_temp.take('q');
SELECT action, output FROM durable.await_any(pg_temp.wf('mixed'), 4, 'first', '{1,3}');
SELECT status, run_at FROM durable.suspend(pg_temp.wf('mixed'), 'e', 5, ARRAY[pg_temp.st('mixed', 1), pg_temp.st('inline', 0)]);
SELECT * FROM durable.check();
SELECT durable.answer(pg_temp.st('inline', 0));
SELECT * FROM pg_temp.take('q');
SELECT * FROM pg_temp.suspend('mixed', '{1}');
SELECT * FROM pg_temp.take('c', 'f');
SELECT durable.complete(pg_temp.wf('child'), '9');
SELECT * FROM pg_temp.take('q');
SELECT durable.complete(pg_temp.wf('mixed'));
SELECT * FROM durable.check();

-- All of them: the last one counts, a failure is an end.
SELECT created FROM durable.start('all', queue => 'q', timeout => '1 day');
SELECT * FROM pg_temp.take('q');
SELECT count(durable.start_child(pg_temp.wf('all'), i, 'all ' || i, queue => 'c')) FROM generate_series(0, 3) i;
SELECT action FROM durable.await_callback(pg_temp.wf('all'), 4, 'back', '2 hours');
SELECT action FROM durable.sleep(pg_temp.wf('all'), 5, 'nap', '1 hour');
SELECT * FROM pg_temp.suspend('all', '{0,1,2,3,4,5}', 'all');
SELECT * FROM durable.check();
SELECT * FROM pg_temp.take('c', 'f');
SELECT durable.complete(pg_temp.wf('all 3')), durable.complete(pg_temp.wf('all 1'));
SELECT * FROM pg_temp.show('all');
SELECT durable.fail(pg_temp.wf('all 0'), 'bad');
SELECT * FROM pg_temp.take('q');
SELECT durable.cancel_tree(pg_temp.wf('all 2'));
SELECT * FROM pg_temp.show('all');
SELECT durable.answer(pg_temp.st('all', 4));
SELECT * FROM pg_temp.show('all');
SELECT durable.answer(pg_temp.st('all', 5));
SELECT * FROM pg_temp.show('all');
SELECT * FROM pg_temp.take('q');
SELECT * FROM pg_temp.suspend('all', '{0,1,2,3,4,5}', 'all');
SELECT * FROM durable.check();
SELECT durable.complete(pg_temp.wf('all'));
-- four hundred children, and in which order they end does not matter
SELECT created FROM durable.start('join', queue => 'q');
SELECT * FROM pg_temp.take('q');
SELECT count(durable.start_child(pg_temp.wf('join'), i, 'join ' || i, queue => 'c')) FROM generate_series(0, 399) i;
SELECT * FROM pg_temp.suspend('join', ARRAY(SELECT generate_series(0, 399)), 'all');
SELECT count(*) FROM durable.claim('c', 'f', 1000);
SELECT count(durable.complete(id)) FROM (SELECT id FROM durable.workflow WHERE name LIKE 'join %' AND name <> 'join 77' ORDER BY md5(name)) w;
SELECT * FROM pg_temp.show('join');
SELECT * FROM pg_temp.take('q');
SELECT durable.complete(pg_temp.wf('join 77'));
SELECT * FROM pg_temp.take('q');
SELECT durable.complete(pg_temp.wf('join'));

-- It comes before what waits for its first run, and is no start.
SELECT durable.create_queue('slow', 1, 1, '1 hour');
SELECT count(durable.start(n, queue => 'slow')) FROM unnest('{first,second}'::text[]) n;
SELECT * FROM pg_temp.take('slow');
SELECT pg_temp.ask('first', 'callback');
SELECT * FROM pg_temp.suspend('first', '{0}');
SELECT * FROM pg_temp.take('slow');
SELECT durable.answer(pg_temp.st('first', 0));
SELECT * FROM pg_temp.take('slow');
SELECT durable.complete(pg_temp.wf('first'));
SELECT * FROM pg_temp.take('slow');
SELECT pg_temp.move(3600);
SELECT created FROM durable.start('third', queue => 'slow', priority => 1);
SELECT * FROM pg_temp.take('slow');
SELECT pg_temp.ask('third', 'callback');
SELECT * FROM pg_temp.suspend('third', '{0}');
SELECT durable.answer(pg_temp.st('third', 0));
SELECT created FROM durable.start('fourth', queue => 'slow', priority => 1);
SELECT * FROM pg_temp.take('slow');
SELECT durable.cancel_tree(id) FROM durable.workflow WHERE queue_name = 'slow' AND completed_at IS NULL;

-- One without a queue: recover, start or attach with an executor; start without one only joins.
CREATE FUNCTION pg_temp.alone(n text) RETURNS void LANGUAGE sql AS $$
  SELECT durable.start(n, executor_id => 'e'); SELECT pg_temp.ask(n, 'callback'); SELECT pg_temp.suspend(n, '{0}') $$;
SELECT pg_temp.alone(n) FROM unnest('{r,s,a,t}'::text[]) n;
SELECT status, lease, owner FROM durable.start('r');
SELECT name FROM durable.recover('f');
SELECT durable.answer(pg_temp.st('r', 0));
SELECT status, lease, owner FROM durable.start('r');
SELECT name, lease, recovery_count, reason FROM durable.recover('f');
SELECT status, lease, owner FROM durable.start('s', executor_id => 'g');
SELECT status, lease, owner FROM durable.attach(pg_temp.wf('a'));
SELECT status, lease, owner FROM durable.attach(pg_temp.wf('a'), 'g');
SELECT status, lease, owner FROM durable.attach(pg_temp.wf('t'), 'g', true);
SELECT * FROM durable.check();
SELECT durable.release('g');
SELECT name, reason FROM durable.recover('f') ORDER BY 1;
SELECT durable.complete(w.id) FROM durable.workflow w WHERE status = 'RUNNING';

-- Its deadline goes on. recover does not take it for that.
SELECT created FROM durable.start('late', executor_id => 'e', timeout => '1 hour');
SELECT pg_temp.ask('late', 'callback');
SELECT * FROM pg_temp.suspend('late', '{0}');
SELECT durable.set_timeout(pg_temp.wf('late'), '2 hours');
SELECT * FROM pg_temp.show('late');
SELECT durable.set_timeout(pg_temp.wf('late'), NULL);
SELECT * FROM pg_temp.show('late');
SELECT durable.set_timeout(pg_temp.wf('late'), '2 hours');
SELECT regexp_replace(durable.tree(pg_temp.wf('late')), 'until.*', 'until ...');
SELECT pg_temp.move(7201);
SELECT name, recovery_count, reason FROM durable.recover('f');
SELECT * FROM pg_temp.show('late');
SELECT pg_temp.try('SELECT durable.await_callback(pg_temp.wf(''late''), 0, ''back'')') ~ '^WF006';
SELECT status FROM durable.fail(pg_temp.wf('late'), 'too late');

-- A deadline that is moved to before makes it due.
SELECT created FROM durable.start('soon', executor_id => 'e', timeout => '1 day');
SELECT pg_temp.ask('soon', 'callback');
SELECT * FROM pg_temp.suspend('soon', '{0}');
SELECT pg_temp.move(10);
SELECT durable.set_timeout(pg_temp.wf('soon'), '5 s');
SELECT * FROM pg_temp.show('soon');
SELECT * FROM durable.check();
SELECT name, reason FROM durable.recover('f');
SELECT status FROM durable.fail(pg_temp.wf('soon'), 'too late');

-- One that is due stays so, wherever its deadline goes.
SELECT created FROM durable.start('due', executor_id => 'e');
SELECT pg_temp.ask('due', 'callback');
SELECT * FROM pg_temp.suspend('due', '{0}');
SELECT pg_temp.move(10);
SELECT durable.answer(pg_temp.st('due', 0));
SELECT durable.set_timeout(pg_temp.wf('due'), '5 s');
SELECT * FROM pg_temp.show('due');
SELECT * FROM durable.check();
SELECT name, reason FROM durable.recover('f');
SELECT status FROM durable.fail(pg_temp.wf('due'), 'too late');

-- Taken up behind its deadline it is left to its driver: neither recover nor tick takes it for that. Only if it comes to another one.
SELECT created FROM durable.start('late alone', executor_id => 'e', timeout => '1 hour');
SELECT created FROM durable.start('late queued', queue => 'q', timeout => '1 hour');
SELECT * FROM pg_temp.take('q');
SELECT pg_temp.ask('late ' || n, 'callback') FROM unnest('{alone,queued}'::text[]) n;
SELECT n, s.* FROM unnest('{alone,queued}'::text[]) n, pg_temp.suspend('late ' || n, '{0}') s;
SELECT pg_temp.move(3601);
SELECT * FROM pg_temp.take('q');
SELECT name, reason FROM durable.recover('e');
SELECT count(*) FROM unnest('{e,f}'::text[]) x, durable.heartbeat(x);
SELECT durable.tick();
SELECT name, reason FROM durable.recover('f');
SELECT n, s.* FROM unnest('{alone,queued}'::text[]) n, pg_temp.show('late ' || n) s;
SELECT durable.set_timeout(pg_temp.wf('late alone'), '2 hours');
SELECT status FROM durable.fail(pg_temp.wf('late queued'), 'too late');
SELECT pg_temp.move(3600);
SELECT count(*) FROM unnest('{e,f}'::text[]) x, durable.heartbeat(x);
SELECT name, reason FROM durable.recover('f');
SELECT durable.complete(pg_temp.wf('late alone'));

-- An inline child that ends takes its waits with it: nothing else would end them.
SELECT created FROM durable.start('above', queue => 'q');
SELECT * FROM pg_temp.take('q');
SELECT pg_temp.ask('above', 'callback');
SELECT s, created, pg_temp.ask('below ' || s, 'callback') FROM generate_series(1, 3) s, durable.start_child(pg_temp.wf('above'), s, 'below ' || s);
SELECT durable.complete(pg_temp.wf('below 1'));
SELECT status, run_at FROM durable.suspend(pg_temp.wf('above'), 'e', 1, ARRAY[pg_temp.st('below 1', 0), pg_temp.st('above', 0)]);
SELECT status, run_at FROM durable.suspend(pg_temp.wf('above'), 'e', 1, ARRAY(SELECT pg_temp.st('below ' || s, 0) FROM generate_series(1, 3) s), 'all');
SELECT durable.complete(pg_temp.wf('below 3'));
SELECT * FROM pg_temp.take('q');
SELECT status FROM durable.fail(pg_temp.wf('below 2'), 'bad');
SELECT * FROM pg_temp.take('q');
SELECT * FROM durable.check();
SELECT durable.complete(pg_temp.wf('above'));

-- Pause and resume, cancel.
SELECT pg_temp.nap('p', 'callback'), pg_temp.nap('p2', 'signal'), pg_temp.nap('x', 'callback');
SELECT durable.pause_tree(pg_temp.wf(n)) FROM unnest('{p,p2}'::text[]) n;
SELECT * FROM pg_temp.show('p');
SELECT * FROM durable.check();
SELECT durable.answer(pg_temp.st('p', 0));
SELECT * FROM pg_temp.take('q');
SELECT durable.resume_tree(pg_temp.wf(n)) FROM unnest('{p,p2}'::text[]) n;
SELECT * FROM pg_temp.take('q');
SELECT durable.signal(pg_temp.wf('p2'), 'go');
SELECT * FROM pg_temp.take('q');
SELECT durable.cancel_tree(pg_temp.wf('x'));
SELECT * FROM pg_temp.show('x');
SELECT * FROM durable.check();
SELECT * FROM durable.open_position;
SELECT * FROM durable.watch;
SELECT * FROM durable.wake_note;
SELECT durable.complete(w.id) FROM durable.workflow w WHERE status = 'RUNNING';

-- What is refused.
\set VERBOSITY terse
SELECT created FROM durable.start('no', executor_id => 'e');
SELECT pg_temp.ask('no', 'callback');
SELECT action FROM durable.claim_step(pg_temp.wf('no'), 1, 'runs');
SELECT created FROM durable.start_child(pg_temp.wf('no'), 2, 'in');
SELECT pg_temp.ask('in', 'callback');
CREATE FUNCTION pg_temp.refused(n text, e text, l int, open uuid[], until text = 'any') RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(pg_temp.try(format('SELECT durable.suspend(%L, %L, %L, %L, %L)', pg_temp.wf(n), e, l, open, until)), '[0-9a-f]{8}-[-0-9a-f]*', 'ID') $$;
SELECT pg_temp.refused('no', 'e', 2, ARRAY[pg_temp.st('no', 0)]);
SELECT pg_temp.refused('no', 'f', 1, ARRAY[pg_temp.st('no', 0)]);
SELECT pg_temp.refused('in', 'e', 1, ARRAY[pg_temp.st('in', 0)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 1)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 2)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 3)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('p', 0)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.wf('no')]);
SELECT pg_temp.refused('no', 'e', 1, '{}');
SELECT pg_temp.refused('no', 'e', 1, NULL);
SELECT pg_temp.refused('no', 'e', 1, '{NULL}');
SELECT pg_temp.refused('no', NULL, 1, ARRAY[pg_temp.st('no', 0)]);
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 0)], 'some');
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 0)], NULL);
SELECT pg_temp.refused('p', 'e', 3, ARRAY[pg_temp.st('p', 0)]);
SELECT pg_temp.refused('no', 'e', 1, array_fill(pg_temp.st('no', 0), ARRAY[100001]));
-- repeated after a lost reply
SELECT * FROM pg_temp.suspend('no', '{0}');
SELECT pg_temp.refused('no', 'e', 1, ARRAY[pg_temp.st('no', 0)]);
SELECT pg_temp.refused('no', 'e', 2, ARRAY[pg_temp.st('no', 0)]);
SELECT durable.pause_tree(pg_temp.wf('no'));
SELECT pg_temp.refused('no', 'e', 2, ARRAY[pg_temp.st('no', 0)]);
SELECT durable.cancel_tree(pg_temp.wf('no'));
SELECT pg_temp.refused('no', 'e', 2, ARRAY[pg_temp.st('no', 0)]);
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_suspend;
