-- fork: a new run that begins with what another one has recorded.
\pset null -
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT durable.create_queue('fork-q'), durable.create_queue('fork-other');
-- A workflow with an outcome of every sort at 0 .. 9, and 10 FAILED; a driver who has gone wrong there.
SELECT workflow_id AS w FROM durable.start('fork-1', '{"in": 1}', 'a handler', 'fork-a', priority => 7, timeout => '10 hours', max_recovery_attempts => 3, app_version => '1') \gset
SELECT workflow_id AS other FROM durable.start('fork-awaited') \gset
SELECT durable.complete(:'other', '"other"');
DO $$
DECLARE
  w uuid := test.id('fork-1');
  c uuid;
BEGIN
  PERFORM durable.claim_step(w, 0, 's0', '{"i": 0}', lease => 1, executor_id => 'fork-a', max_retries => 3, backoff => '1 s'), durable.complete(durable.step_id(w, 0), '"zero"');
  PERFORM durable.claim_step(w, 1, 's1'), durable.fail(durable.step_id(w, 1), 'caught', detail => '{"d": 1}');
  c := (durable.start_child(w, 2, 'fork-inline')).workflow_id;
  PERFORM durable.claim_step(c, 0, 'below'), durable.complete(c, '"child"');
  c := (durable.start_child(w, 3, 'fork-queued', queue => 'fork-q')).workflow_id;
  PERFORM durable.claim('fork-q', 'fork-b'), durable.fail(c, 'child failed', detail => '2');
  PERFORM durable.signal(w, 'go', to_jsonb(i), CASE WHEN i > 2 THEN 'key ' || i END) FROM generate_series(1, 5) i;
  PERFORM durable.signal(w, 'stop', '"never"');
  PERFORM durable.await_signal(w, 4, 'go'), durable.await_signal(w, 5, 'any of', signals => '{halt,go}');
  PERFORM durable.await_workflow(w, 6, 'other', test.id('fork-awaited')), durable.await_callback(w, 7, 'call', '1 hour'), durable.sleep(w, 8, 'nap', '0');
  PERFORM durable.answer(durable.step_id(w, 7), '"answered"');
  PERFORM durable.await_any(w, 9, 'any', '{2,7}');
  PERFORM durable.patched(w, 10, 'p');
  PERFORM durable.claim_step(w, 11, 's11'), durable.fail(durable.step_id(w, 11), 'the bug');
  PERFORM durable.await_signal(w, 12, 'go'), durable.claim_step(w, 13, 's13');
  PERFORM durable.emit(w, 'said'), durable.fail(w, 'broken by the bug');
END $$;
CREATE TEMP TABLE before AS SELECT to_jsonb(w) AS row FROM durable.workflow w UNION ALL SELECT to_jsonb(s) FROM durable.step s UNION ALL SELECT to_jsonb(g) FROM durable.signal g;

-- From the position of the bug: a new root of the same name, RUNNING, under a lease of its own.
SELECT workflow_id AS f, status, lease FROM durable.fork(:'w', 11, executor_id => 'fork-a', app_version => '2') \gset
\echo :status :lease
SELECT test.mask(to_jsonb(w)::text) FROM (SELECT id, root_id, parent_id, name, handler, status, lease, queue_name, priority, executor_id, app_version, input, output, error, timeout,
  round(extract(epoch FROM deadline - started_at)) AS deadline, started_at = created_at AS started, recovery_count, max_recovery_attempts, run_at, completed_at, forked_from, forked_at_sequence
  FROM durable.workflow w WHERE id = :'f') w;
SELECT test.seconds(created_at) FROM durable.workflow WHERE id = :'f';
-- Nothing of the original has changed.
SELECT count(*) FROM before b FULL JOIN (SELECT to_jsonb(w) AS row FROM durable.workflow w WHERE id <> :'f' UNION ALL SELECT to_jsonb(s) FROM durable.step s WHERE workflow_id <> :'f'
  UNION ALL SELECT to_jsonb(g) FROM durable.signal g WHERE workflow_id <> :'f') a ON a.row = b.row WHERE a.row IS NULL OR b.row IS NULL;
-- The copies are the steps of the original, but for the lease; no more and no less.
SELECT count(*) AS copies, count(*) FILTER (WHERE to_jsonb(c) - 'workflow_id' - 'lease' = to_jsonb(o) - 'workflow_id' - 'lease') AS same, array_agg(DISTINCT c.lease) AS lease
  FROM durable.step c JOIN durable.step o ON o.workflow_id = :'w' AND o.sequence = c.sequence WHERE c.workflow_id = :'f';
SELECT count(*) FROM durable.event WHERE workflow_id = :'f';
-- Signals taken at that position or later, or not at all, wait there again, in their order; the keys of these count.
SELECT name, payload, key, sequence FROM durable.signal WHERE workflow_id = :'f' ORDER BY name, id;
SELECT durable.signal(:'f', 'go', '"again"', 'key 4'), durable.signal(:'w', 'go', '"again"', 'key 4');
-- Looked at.
SELECT sequence, name, kind, status, output, error, attempt, detail, wait, test.mask(child_id::text) AS child FROM durable.history(:'f');
SELECT test.mask(regexp_replace(tree, '\d+(\.\d)? m?s\M', '<duration>')) FROM durable.tree(:'f');
SELECT status, output FROM unnest('{2,3}'::int[]) s, LATERAL (SELECT durable.status(durable.step_id(:'f', s)) AS status, durable.output(durable.step_id(:'f', s)) AS output) t;
SELECT kind, name FROM durable.task WHERE parent_id = :'f' AND kind = 'STEP' ORDER BY sequence;
SELECT * FROM durable.check();
-- Its program replays them without writing a row ...
BEGIN READ ONLY;
SELECT action, output, attempt FROM durable.claim_step(:'f', 0, 's0', lease => 1);
SELECT action, error, detail FROM durable.claim_step(:'f', 1, 's1', lease => 1);
SELECT test.mask(workflow_id::text) AS child, created, status, output, error, lease FROM durable.start_child(:'f', 2, 'fork-inline', lease => 1);
SELECT test.mask(workflow_id::text) AS child, created, status, output, error, lease FROM durable.start_child(:'f', 3, 'fork-queued', lease => 1, queue => 'fork-q');
SELECT action, output FROM durable.await_signal(:'f', 4, 'go', lease => 1);
SELECT action, output FROM durable.await_signal(:'f', 5, 'any of', lease => 1, signals => '{halt,go}');
SELECT action, output FROM durable.await_workflow(:'f', 6, 'other', :'other', lease => 1);
SELECT action, output FROM durable.await_callback(:'f', 7, 'call', lease => 1);
SELECT action FROM durable.sleep(:'f', 8, 'nap', '0', lease => 1);
SELECT action, output FROM durable.await_any(:'f', 9, 'any', '{2,7}', lease => 1);
SELECT durable.patched(:'f', 10, 'p', 1);
SELECT test.try(format('SELECT durable.start_child(%L, 2, ''other'')', :'f'));
ROLLBACK;
-- (they are as final as any)
SELECT test.error(format('SELECT durable.complete(durable.step_id(%L, 2))', :'f'));
SELECT durable.complete(durable.step_id(:'f', 0), '"zero"'), test.try(format('SELECT durable.complete(durable.step_id(%L, 0), ''"one"'')', :'f'));
-- ... and goes on. What it does waits for the copies, too.
SELECT action, attempt FROM durable.claim_step(:'f', 11, 's11, mended', lease => 1, executor_id => 'fork-a');
SELECT durable.complete(durable.step_id(:'f', 11), '"mended"', 1, 1);
SELECT action, output FROM durable.await_signal(:'f', 12, 'go', lease => 1);
SELECT action, output FROM durable.await_any(:'f', 13, 'first of the copies', '{9,3}', lease => 1);
SELECT action, error FROM durable.await_workflow(:'f', 14, 'a child of the original', test.id('fork-queued'), lease => 1);
-- It fails, and runs again: its FAILED steps, copies too, not the records of children.
SELECT status FROM durable.fail(:'f', 'once more');
BEGIN;
SELECT status, lease FROM durable.resume_failed(:'f');
SELECT sequence, status, lease FROM durable.step WHERE workflow_id = :'f' AND sequence IN (1, 3) ORDER BY 1;
SELECT status, error FROM durable.start_child(:'f', 3, 'fork-queued');
SELECT action, attempt FROM durable.claim_step(:'f', 1, 's1', lease => 2);
SELECT * FROM durable.check();
ROLLBACK;
-- Purging the original, with its children, does the fork no harm.
BEGIN;
SELECT status, lease FROM durable.resume_failed(:'f', from_sequence => 11);
SELECT durable.set_timeout(:'f', NULL);
SET LOCAL durable.clock_offset = 100000;
SELECT workflows > 0 AS purged FROM durable.purge('1 hour', 1000000);
SELECT test.try(format('SELECT durable.status(%L)', :'w'));
SELECT workflow_id = (SELECT child_id FROM durable.step WHERE workflow_id = :'f' AND sequence = 2) AS child, created, status, output, error, lease FROM durable.start_child(:'f', 2, 'fork-inline', lease => 2);
SELECT created, status, error FROM durable.start_child(:'f', 3, 'fork-queued', lease => 2);
SELECT action, output FROM durable.await_workflow(:'f', 6, 'other', :'other', lease => 2);
SELECT forked_from = :'w' AS forked_from FROM durable.workflow WHERE id = :'f';
SELECT * FROM durable.check();
ROLLBACK;

-- Into a queue: PENDING there, with the original's concurrency_key and retries; what is given is taken. From any status, and of a child.
SELECT workflow_id AS c, created FROM durable.start('fork-keyed', '1', queue => 'fork-q', concurrency_key => 'k', priority => 2, tags => '{"t": [1]}', max_retries => 4, backoff => '5 s', backoff_multiplier => 3, max_backoff => '1 min') \gset
CREATE FUNCTION pg_temp.forks(w uuid, what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  f record;
BEGIN
  f := durable.fork(w, 0, 'fork of ' || what, '"given"', 'fork-other', run_at => '2100-01-01 UTC', app_version => '9');
  RETURN (SELECT concat_ws(' ', f.status, f.lease, n.name, n.input, n.queue_name, n.concurrency_key, n.priority, n.run_at AT TIME ZONE 'UTC', n.app_version, n.forked_at_sequence,
      t.tags, n.max_retries, n.retry_count, n.backoff, n.backoff_multiplier, n.max_backoff)
    FROM durable.workflow n LEFT JOIN durable.workflow_tags t ON t.workflow_id = n.id WHERE n.id = f.workflow_id);
END $$;
SELECT pg_temp.forks(:'c', 'PENDING');
SELECT name, lease FROM durable.claim('fork-q', 'fork-b');
SELECT pg_temp.forks(:'c', 'RUNNING');
SELECT durable.pause_tree(:'c'), pg_temp.forks(:'c', 'PAUSED'), durable.resume_tree(:'c');
BEGIN;
SELECT durable.cancel_tree(:'c'), pg_temp.forks(:'c', 'CANCELLED');
ROLLBACK;
SELECT durable.complete(:'c'), pg_temp.forks(:'c', 'COMPLETED'), pg_temp.forks(:'w', 'FAILED'), pg_temp.forks(test.id('fork-queued'), 'a child');
-- Without a queue it has no key, and no retries.
SELECT workflow_id AS k, status, lease FROM durable.fork(:'c', 0) \gset
SELECT queue_name, concurrency_key, max_retries, retry_count, backoff, tags FROM durable.workflow JOIN durable.workflow_tags ON workflow_id = id WHERE id = :'k';
SELECT durable.count(queue_name => 'fork-other');
-- A fork of a fork. Nothing is copied at 0, and all at any position behind the last; between them stand what the program has not recorded.
SELECT workflow_id AS ff FROM durable.fork(:'f', 2, 'fork of a fork') \gset
SELECT sequence, name, lease FROM durable.step WHERE workflow_id = :'ff' ORDER BY 1;
SELECT test.mask(forked_from::text) AS forked_from, forked_at_sequence FROM durable.workflow WHERE id = :'ff';
SELECT action FROM durable.claim_step(:'ff', 4, 'far');
SELECT durable.complete(durable.step_id(:'ff', 4));
SELECT workflow_id AS fff FROM durable.fork(:'ff', 2147483647, 'fork of a fork of a fork') \gset
SELECT array_agg(sequence ORDER BY sequence) FROM durable.step WHERE workflow_id = :'fff';

-- WF002 names the first position that has no outcome to be copied: RUNNING, a wait, a retry, a child that runs, and what was cancelled.
SELECT test.error(format('SELECT durable.fork(%L, 20, ''fork-x'')', :'w'));
SELECT test.world('fork-world') AS world \gset
SELECT n, test.try(format('SELECT status FROM durable.fork(%L, %s, ''fork-before'')', :'world', n)) FROM generate_series(2, 3) n;
CREATE FUNCTION pg_temp.alone(q text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  w uuid := (durable.start('fork-alone')).workflow_id;
BEGIN
  EXECUTE q USING w;
  RETURN test.error(format('SELECT status FROM durable.fork(%L, 1, ''fork-x'')', w));
END $$;
BEGIN;
SELECT pg_temp.alone($$SELECT durable.claim_step($1, 0, 's', max_retries => 1, backoff => '1 h'), durable.fail(durable.step_id($1, 0), 'e')$$);
ROLLBACK;
BEGIN;
SELECT pg_temp.alone($$SELECT durable.start_child($1, 0, 'fork-below')$$);
ROLLBACK;
BEGIN;
SELECT pg_temp.alone($$SELECT durable.sleep($1, 0, 's', '1 h')$$);
ROLLBACK;
BEGIN;
SELECT pg_temp.alone($$SELECT durable.cancel_tree(workflow_id) FROM durable.start_child($1, 0, 'fork-below')$$);
ROLLBACK;
BEGIN;
SELECT pg_temp.alone($$SELECT durable.claim_step($1, 0, 's'), durable.cancel_tree($1)$$);
ROLLBACK;

-- WF014 while the name is active, given or not; that of the original counts, too.
SELECT test.error(format('SELECT durable.fork(%L, 0)', :'world'));
SELECT test.try(format('SELECT durable.fork(%L, 0, ''fork-world'')', :'w'));
-- Bad arguments change nothing.
SELECT count(*) AS workflows FROM durable.workflow \gset
SELECT q, test.try('SELECT ' || q) FROM unnest(ARRAY[
  'durable.fork(NULL, 0)', $$durable.fork(test.id('fork-1'), NULL)$$, $$durable.fork(test.id('fork-1'), -1)$$, $$durable.fork(test.id('fork-1'), 0, '')$$,
  $$durable.fork(test.id('fork-1'), 0, repeat('x', 1025))$$, $$durable.fork(test.id('fork-1'), 0, 'x', queue => '')$$, $$durable.fork(test.id('fork-1'), 0, 'x', queue => 'unknown')$$,
  $$durable.fork(test.id('fork-1'), 0, 'x', executor_id => '')$$, $$durable.fork(test.id('fork-1'), 0, 'x', app_version => '')$$,
  $$durable.fork(test.id('fork-1'), 0, 'x', run_at => now())$$, $$durable.fork(test.id('fork-1'), 0, 'x', queue => 'fork-q', run_at => 'infinity')$$,
  $$durable.fork(durable.step_id(test.id('fork-1'), 0), 0, 'x')$$]) q;
SELECT test.try(format('SELECT durable.fork(%L, 0)', gen_random_uuid())) ~ '^WF001';
SELECT count(*) - :workflows AS new FROM durable.workflow;

-- A run of a schedule stays one of that schedule.
SELECT durable.create_schedule('fork-plan', '@yearly', 'fork-q') \gset
SELECT durable.trigger_schedule('fork-plan') AS r \gset
SELECT workflow_id AS p FROM durable.fork(:'r', 0, 'fork-planned') \gset
SELECT f.scheduled_by, f.scheduled_for = r.scheduled_for AS for_the_same FROM durable.workflow r, durable.workflow f WHERE r.id = :'r' AND f.id = :'p';
SELECT durable.drop_schedule('fork-plan') \gset
SELECT * FROM durable.check();

-- Where a trigger keeps rows away there is no half fork; check() tells what is a copy without being one.
CREATE FUNCTION pg_temp.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
BEGIN;
CREATE TRIGGER nothing BEFORE INSERT ON durable.step FOR EACH ROW EXECUTE FUNCTION pg_temp.nothing();
SELECT test.try(format('SELECT durable.fork(%L, 2, ''fork-x'')', :'w'));
ROLLBACK;
BEGIN;
UPDATE durable.step SET lease = 0 WHERE workflow_id = :'w' AND sequence = 0;
UPDATE durable.workflow SET forked_at_sequence = NULL WHERE id = :'ff';
SELECT test.mask(task_id::text), problem FROM durable.check() ORDER BY 1, 2;
ROLLBACK;

-- (other files empty the tables of workflows and steps only)
TRUNCATE durable.signal, durable.workflow_tags;
