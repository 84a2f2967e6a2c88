-- Many at once: cancel_many, resume_failed_many, drain_queue.
\set own control_many
\i sql/own_database.psql
CREATE FUNCTION pg_temp.ids(VARIADIC n text[]) RETURNS uuid[] LANGUAGE sql AS
  $$SELECT array_agg(coalesce(pg_temp.wf(x), '00000000-0000-7000-8000-000000000000') ORDER BY i) FROM unnest(n) WITH ORDINALITY u (x, i)$$;
CREATE FUNCTION pg_temp.name(id uuid) RETURNS text LANGUAGE sql AS $$SELECT name FROM durable.workflow w WHERE w.id = $1$$;
SELECT durable.create_queue('q'), durable.create_queue('gone');

-- A row for each, one after the other: later elements see what earlier ones did. What one is refused for is its error; bad arrays are errors.
SELECT count(*) FROM durable.start_many('{a,b,c,d}');
SELECT status FROM durable.start_child(pg_temp.wf('a'), 0, 'a-child');
SELECT durable.complete(pg_temp.wf('c'));
SELECT "position", pg_temp.name(workflow_id), changed, left(error, 5) AS error
  FROM durable.cancel_many(pg_temp.ids('b', 'a-child', 'a', 'b', 'c', 'unknown'));
SELECT "position", changed, left(error, 5) AS error FROM durable.cancel_many(ARRAY[durable.step_id(pg_temp.wf('a'), 0)]);
SELECT count(*) FROM durable.cancel_many('{}');
SELECT * FROM durable.cancel_many(NULL);
SELECT * FROM durable.cancel_many('{NULL}');
SELECT * FROM durable.cancel_many(ARRAY[ARRAY[pg_temp.wf('a')]]);
SELECT * FROM durable.cancel_many(array_fill(pg_temp.wf('a'), '{1001}'));
SELECT name, status FROM durable.workflow ORDER BY name;

-- The same for resume_failed: with the queues that they go back to, of which one is gone; a namesake of which a run is active.
SELECT durable.start('r', queue => 'q', input => '{"in": 1}', handler => 'h'), durable.start('lost', queue => 'gone') IS NOT NULL AS ok \gset
SELECT (SELECT count(*) FROM durable.claim('q', 'e')), (SELECT count(*) FROM durable.claim('gone', 'e'));
SELECT status FROM unnest(pg_temp.ids('r', 'lost', 'd')) id, durable.fail(id, 'bad');
SELECT created FROM durable.start('twin');
SELECT status FROM durable.fail(pg_temp.wf('twin'), 'bad');
SELECT pg_temp.wf('twin') AS twin \gset
SELECT created FROM durable.start('twin');
SELECT durable.drop_queue('gone');
SELECT "position", pg_temp.name(workflow_id), handler, input, status, lease, left(error, 5) AS error
  FROM durable.resume_failed_many(pg_temp.ids('r', 'lost', 'd', 'r', 'a', 'unknown') || ARRAY[:'twin']::uuid[]);
SELECT * FROM durable.resume_failed_many(NULL);
SELECT * FROM durable.resume_failed_many('{NULL}');
-- A parent brings its child back: the child's own turn is refused.
SELECT created FROM durable.start('p');
SELECT status FROM durable.start_child(pg_temp.wf('p'), 0, 'p-child', queue => 'q');
SELECT count(*) FROM durable.claim('q', 'e', 9);
SELECT status FROM unnest(pg_temp.ids('p-child', 'p')) id, durable.fail(id, 'bad');
SELECT "position", status, left(error, 5) AS error FROM durable.resume_failed_many(pg_temp.ids('p', 'p-child'));
SELECT * FROM durable.check();

-- drain_queue: what never ran, by priority, a page at a time; not what was released, is suspended, runs, is paused or finished.
SELECT durable.create_queue('drain'), durable.create_queue('other');
SELECT count(*) FROM durable.start_many('{runs,released,asleep}', queue => 'drain');
SELECT count(*) FROM durable.claim('drain', 'e', 3);
SELECT durable.release('e', pg_temp.wf('released'), durable.clock() + interval '1 day');
SELECT action FROM durable.await_callback(pg_temp.wf('asleep'), 0, 'back', '1 day');
SELECT status FROM durable.suspend(pg_temp.wf('asleep'), 'e', 1, ARRAY[durable.step_id(pg_temp.wf('asleep'), 0)]);
SELECT count(*) FROM durable.start_many('{low,lower}', queue => 'drain', priority => -1);
SELECT status FROM durable.start('later', queue => 'drain', run_at => '2100-01-01');
SELECT status FROM durable.start('keyed', queue => 'drain', concurrency_key => 'k');
SELECT status FROM durable.start('held', queue => 'drain');
SELECT status FROM durable.start('elsewhere', queue => 'other');
SELECT durable.pause_tree(pg_temp.wf('held'));
SELECT created FROM durable.start('mother');
SELECT status FROM durable.start_child(pg_temp.wf('mother'), 0, 'child', queue => 'drain');
SELECT durable.drain_queue('drain', 0), durable.drain_queue('drain', 3);
SELECT w.name, w.status FROM durable.workflow w WHERE w.queue_name = 'drain' ORDER BY w.name;
SELECT durable.drain_queue('drain'), durable.drain_queue('drain');
SELECT w.name, w.status, w.completed_at IS NOT NULL AS ended FROM durable.workflow w WHERE w.queue_name IN ('drain', 'other') ORDER BY w.name;
SELECT status FROM durable.history(pg_temp.wf('mother'));
SELECT durable.drain_queue('unknown');
SELECT durable.drain_queue(NULL);
SELECT durable.drain_queue('drain', NULL);
SELECT durable.drain_queue('drain', -1);
SELECT * FROM durable.check();
-- Thousands, in bounded batches.
SELECT count(*) FROM generate_series(1, 3) i, durable.start_many((SELECT array_agg('w' || i || '-' || n) FROM generate_series(1, 1000) n), queue => 'other');
SELECT durable.drain_queue('other'), durable.drain_queue('other', 5000), durable.drain_queue('other');
SELECT * FROM durable.check();

\c :home
DROP DATABASE regress_durable_control_many;
