-- purge deletes finished trees, whole, oldest first, and nothing else. In a database of its own, which is dropped at the end:
-- purge asks nobody whose trees they are.
\pset null -
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_purge;
CREATE DATABASE regress_durable_purge;
\c regress_durable_purge
\pset null -
CREATE EXTENSION durable;
LOAD 'durable';
CREATE FUNCTION id(n text) RETURNS uuid LANGUAGE sql AS $$ SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1 $$;
CREATE FUNCTION day(d float8) RETURNS void LANGUAGE sql AS $$ SELECT set_config('durable.clock_offset', (d * 86400)::text, false) $$;
-- A root that ends now, with so many steps.
CREATE FUNCTION done(n text, steps int = 1) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM durable.start(n);
  PERFORM durable.claim_step(id(n), s, 'step'), durable.complete(durable.step_id(id(n), s), '1') FROM generate_series(0, steps - 1) s;
  PERFORM durable.emit(id(n), 'done');
  PERFORM durable.complete(id(n));
END $$;
CREATE FUNCTION names() RETURNS text LANGUAGE sql AS $$ SELECT string_agg(name, ', ' ORDER BY name) FROM durable.workflow $$;

-- Arguments.
\set VERBOSITY default
SELECT * FROM durable.purge(NULL);
SELECT * FROM durable.purge('-1 day');
SELECT * FROM durable.purge('2000 years');
SELECT * FROM durable.purge('1 day', NULL);
SELECT * FROM durable.purge('1 day', -1);
SELECT * FROM durable.purge('1 day', status => NULL);
SELECT * FROM durable.purge('1 day', status => '{COMPLETED,NULL}');
SELECT * FROM durable.purge('1 day', status => '{{COMPLETED},{FAILED}}');
SELECT * FROM durable.purge('1 day', status => '{COMPLETED,RUNNING}');
SELECT * FROM durable.purge('1 day', 1000, '{PENDING}');
SELECT * FROM durable.purge('1 day', 1000, '{PAUSED}');
\set VERBOSITY sqlstate
-- Nothing is there.
SELECT * FROM durable.purge('0 s');
SELECT * FROM durable.purge('1000 years');

-- Day 0: one of each.
SELECT durable.create_queue('q');
SELECT done('a completed', 3);
SELECT durable.start('b failed') IS NULL;
SELECT durable.claim_step(id('b failed'), s, 'step', max_retries => s) IS NULL FROM generate_series(0, 2) s;
SELECT durable.fail(durable.step_id(id('b failed'), s), 'bad') IS NULL FROM generate_series(0, 1) s;
SELECT durable.fail(id('b failed'), 'bad') IS NULL;
SELECT durable.start('c cancelled') IS NULL, durable.emit(id('c cancelled'), 'last words'), durable.cancel_tree(id('c cancelled'));
-- A tree of all kinds, all of it finished; below, some that were there only because of it.
SELECT durable.start('d tree') IS NULL;
SELECT durable.start_child(id('d tree'), 0, 'd inline') IS NULL, durable.start_child(id('d tree'), 1, 'd queued', queue => 'q') IS NULL;
SELECT durable.start_child(id('d inline'), 0, 'd deep', queue => 'q') IS NULL, durable.start_child(id('d inline'), 1, 'd abandoned') IS NULL;
SELECT durable.emit(id('d inline'), 'inline') FROM generate_series(1, 3);
SELECT durable.complete(id('d inline'));
SELECT durable.complete(workflow_id) FROM durable.claim('q', 'e', 9);
SELECT durable.complete(id('d tree'));
-- What keeps a tree: a child that waits or ends later, a step that ends later. What does not: a step that never ended.
SELECT done('e child waits') FROM (SELECT durable.start('e child waits'), durable.start_child(id('e child waits'), 9, 'e child', queue => 'q')) x;
SELECT done('f child late') FROM (SELECT durable.start('f child late'), durable.start_child(id('f child late'), 9, 'f child', queue => 'q', priority => 1)) x;
SELECT done('g step late') FROM (SELECT durable.start('g step late'), durable.claim_step(id('g step late'), 9, 'late')) x;
SELECT done('h step lost') FROM (SELECT durable.start('h step lost'), durable.claim_step(id('h step lost'), 9, 'lost')) x;
-- What is not finished.
SELECT durable.start('i running') IS NULL, durable.claim_step(id('i running'), 0, 'step') IS NULL;
SELECT durable.start('j paused') IS NULL, durable.pause_tree(id('j paused'));
SELECT durable.start('k pending', queue => 'q', run_at => clock_timestamp() + interval '1 year') IS NULL;
-- Below an unfinished root nothing goes, however old.
SELECT durable.start('l parent') IS NULL, durable.start_child(id('l parent'), 0, 'l child') IS NULL, durable.complete(id('l child'));
SELECT * FROM durable.purge('1 hour');
SELECT * FROM durable.check();

-- Day 3: the late ones end.
SELECT day(3);
SELECT workflow_id = id('f child'), durable.complete(workflow_id) FROM durable.claim('q', 'e');
SELECT durable.complete(durable.step_id(id('g step late'), 9), '"late"');

-- Day 10. Nothing is as old as 11 days; by status of the root; what is left is what keeps its tree.
SELECT day(10);
SELECT names() AS before \gset
SELECT * FROM durable.purge('11 days');
SELECT * FROM durable.purge('8 days', status => '{}');
SELECT names() = :'before' AS all_there;
SELECT * FROM durable.purge('8 days', status => '{CANCELLED,CANCELLED}');
SELECT * FROM durable.purge('8 days', status => '{FAILED}');
SELECT * FROM durable.purge('8 days');
SELECT * FROM durable.purge('8 days');
SELECT names();
SELECT (SELECT name FROM durable.workflow WHERE id = workflow_id), n, topic FROM durable.event ORDER BY 1, 2;
SELECT * FROM durable.check();
-- The roots of trees that had to stay are marked with what is known: not before the last that ended, or now.
SELECT name, round(extract(epoch FROM tree_end - completed_at) / 86400) AS days FROM durable.workflow WHERE tree_end IS NOT NULL ORDER BY name;
-- A task that is gone is WF001 to everybody.
SELECT workflow_id AS w, durable.step_id(workflow_id, 0) AS s FROM durable.start('m') \gset
SELECT durable.claim_step(:'w', 0, 'step') IS NULL, durable.complete(:'w');
SELECT day(11);
SELECT * FROM durable.purge('1 hour');
SELECT names();
SELECT durable.complete(:'s');
SELECT durable.fail(:'s', 'bad');
SELECT durable.claim_step(:'w', 0, 'step');
SELECT durable.start_child(:'w', 1, 'child');
SELECT durable.complete(:'w');
SELECT durable.fail(:'w', 'bad');
SELECT durable.history(:'w');
SELECT durable.emit(:'w', 'late');
SELECT durable.events(:'w');
SELECT durable.attach(:'w');
SELECT durable.output(:'s');
SELECT durable.cancel_tree(:'w');
SELECT durable.resume_failed(:'w');
SELECT durable.tree(:'w');
SELECT durable.set_timeout(:'s', '1 s');
SELECT created, status, lease FROM durable.start('m');

-- What a tree waited for ends: it goes when that is old, not before; its mark does not keep it longer.
SELECT durable.cancel_tree(id('e child'));
SELECT day(14);
SELECT * FROM durable.purge('4 days');
SELECT * FROM durable.purge('2 days');
SELECT names();
-- A FAILED root that was marked and then ran again is looked at like any other.
SELECT durable.start('n') IS NULL, durable.start_child(id('n'), 0, 'n child', queue => 'q') IS NULL, durable.fail(id('n'), 'bad');
SELECT day(16);
SELECT * FROM durable.purge('1 day');
SELECT tree_end IS NOT NULL AS marked FROM durable.workflow WHERE name = 'n';
SELECT status FROM durable.resume_failed(id('n'));
SELECT * FROM durable.purge('0 s');
SELECT durable.complete(workflow_id) FROM durable.claim('q', 'e');
SELECT durable.complete(id('n'));
SELECT day(18);
SELECT * FROM durable.purge('1 day');
SELECT names();

-- Oldest first, and no more than max_workflows. A tree that does not fit is left to the next call, where it goes whole.
SELECT day(20 + i), done('o' || i) FROM generate_series(1, 4) i;
SELECT day(25);
SELECT durable.start('p') IS NULL;
SELECT durable.complete((durable.start_child(id('p'), i, 'p' || i)).workflow_id) FROM generate_series(0, 5) i;
SELECT durable.complete(id('p'));
SELECT day(26);
SELECT done('q');
SELECT day(30);
SELECT * FROM durable.purge('1 day', 0);
SELECT * FROM durable.purge('1 day', 2);
SELECT names();
SELECT * FROM durable.purge('1 day', 6);
SELECT names();
SELECT * FROM durable.purge('1 day', 6);
SELECT names();
SELECT * FROM durable.purge('1 day', 6);
SELECT names();

-- Executors that were silent for so long, and longer than durable.executor_timeout, are forgotten, if they own nothing.
SELECT durable.heartbeat('dead');
SELECT durable.start('r', executor_id => 'owner') IS NULL, durable.start('s', executor_id => 'pauser') IS NULL, durable.pause_tree(id('s'));
SELECT day(31);
SELECT durable.heartbeat('alive');
SELECT * FROM durable.purge('2 days');
SELECT count(*) FROM durable.executor;
SELECT day(31 + 100.0 / 86400);
SELECT * FROM durable.purge('1 s');
SELECT executor_id FROM durable.executor ORDER BY 1;
SELECT day(32);
SET durable.executor_timeout = '7 d';
SELECT * FROM durable.purge('1 s');
SELECT executor_id FROM durable.executor ORDER BY 1;
RESET durable.executor_timeout;
SELECT durable.complete(id('r'));
SELECT * FROM durable.purge('1 s');
SELECT executor_id FROM durable.executor ORDER BY 1;

-- A thousand trees a transaction, whatever max_workflows. Trees that have to stay do not count.
SELECT day(40);
SELECT count(durable.start_child((durable.start('t' || i)).workflow_id, 0, 't', queue => 'q')) FROM generate_series(1, 1050) i;
SELECT count(durable.complete(id('t' || i))) FROM generate_series(1, 1050) i;
SELECT count(done('u' || i, 0)) FROM generate_series(1, 1100) i;
SELECT day(42);
BEGIN;
SELECT * FROM durable.purge('1 day', 5000);
SELECT * FROM durable.purge('1 day', 5000);
COMMIT;
SELECT count(tree_end) FROM durable.workflow WHERE name ~ '^t[0-9]';
SELECT * FROM durable.purge('1 day', 5000);
SELECT * FROM durable.purge('1 day', 5000);
SELECT count(*) FROM durable.workflow WHERE name ~ '^u[0-9]';
-- Until it answers 0: what a cron job does.
SELECT done('v' || i) FROM generate_series(1, 3) i;
SELECT day(44);
DO $$ BEGIN WHILE (durable.purge('1 day', 2)).workflows > 0 LOOP COMMIT; END LOOP; END $$;
SELECT count(*) FROM durable.workflow WHERE name LIKE 'v%';
-- A read-only transaction is told so by the server.
BEGIN READ ONLY;
SELECT durable.purge('1 s');
ROLLBACK;
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_purge;
