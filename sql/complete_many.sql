-- complete_many(): many tasks at once, each as complete would do it.
\pset null -
SELECT set_config('TimeZone', 'UTC', false) \gset

-- A scene: workflows and steps in every status, all names with that prefix.
CREATE FUNCTION pg_temp.scene(p text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  n text;
BEGIN
  FOREACH n IN ARRAY '{run,paused,cancelled,completed,failed,parent}'::text[] LOOP
    w := (durable.start(p || n, executor_id => 'complete-many')).workflow_id;
    PERFORM durable.claim_step(w, 0, 'running');
    PERFORM durable.claim_step(w, 1, 'waits', max_retries => 1);
    PERFORM durable.fail(durable.step_id(w, 1), 'bad');
    PERFORM durable.claim_step(w, 2, 'done');
    PERFORM durable.complete(durable.step_id(w, 2), '{"n": 2}');
    PERFORM durable.claim_step(w, 3, 'failed');
    PERFORM durable.fail(durable.step_id(w, 3), 'bad');
    PERFORM durable.claim_step(w, 4, 'again', max_retries => 1);
    PERFORM durable.fail(durable.step_id(w, 4), 'bad');
    PERFORM durable.claim_step(w, 4, 'again', max_retries => 1);
  END LOOP;
  PERFORM durable.pause_tree(test.id(p || 'paused'));
  PERFORM durable.cancel_tree(test.id(p || 'cancelled'));
  PERFORM durable.complete(test.id(p || 'completed'), '"all"');
  PERFORM durable.fail(test.id(p || 'failed'), 'bad');
  PERFORM durable.start_child(w, 5, p || 'child');
  PERFORM durable.claim_step(test.id(p || 'child'), 0, 'running');
  PERFORM durable.claim_step(test.id(p || 'child'), 1, 'left');
  PERFORM durable.start_child(test.id(p || 'child'), 2, p || 'grandchild');
  PERFORM durable.claim_step(test.id(p || 'grandchild'), 0, 'left');
  PERFORM durable.start_child(w, 6, p || 'other child', queue => 'complete-many');
  PERFORM durable.start(p || 'queued', queue => 'complete-many');
END $$;
SELECT durable.create_queue('complete-many');
-- A task by its name, and sequence.
CREATE FUNCTION pg_temp.task(p text, task text) RETURNS uuid LANGUAGE sql AS $$
  SELECT CASE WHEN task = 'unknown' THEN '00000000-0000-7000-8000-000000000000'
              WHEN task ~ '/' THEN durable.step_id(test.id(p || split_part(task, '/', 1)), split_part(task, '/', 2)::int)
              ELSE test.id(p || task) END
$$;
CREATE FUNCTION pg_temp.answer(answer text, p text) RETURNS text LANGUAGE sql AS $$
  SELECT replace(replace(replace(test.mask(answer), p, ''), '"task_ids"', '"task_id"'), '"attempts"', '"attempt"')
$$;
-- All that is told of the tasks of a scene, but for times and the grandchild.
CREATE FUNCTION pg_temp.state(p text) RETURNS SETOF jsonb LANGUAGE sql AS $$
  SELECT jsonb_set(to_jsonb(t), '{name}', to_jsonb(pg_temp.answer(t.name, p))) - ARRAY['id', 'parent_id', 'created_at', 'started_at', 'completed_at', 'run_at']
         || jsonb_build_object('of', (SELECT pg_temp.answer(w.name, p) FROM durable.workflow w WHERE w.id = t.parent_id), 'ended', t.completed_at IS NOT NULL)
    FROM durable.task t
   WHERE (starts_with(t.name, p) OR starts_with((SELECT w.name FROM durable.workflow w WHERE w.id = t.parent_id), p))
     AND t.name !~ 'grandchild' AND t.parent_id IS DISTINCT FROM test.id(p || 'grandchild')
$$;
-- The same elements by complete, one after the other, and by complete_many: what each answers, and the differences.
CREATE TABLE complete_many_elements (position int, task text, output jsonb, lease int, attempt int, single text, many text);
CREATE FUNCTION pg_temp.single(id uuid, output jsonb, lease int, attempt int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN durable.complete(id, output, lease, attempt)::text;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.compare() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e record;
BEGIN
  FOR e IN SELECT * FROM complete_many_elements ORDER BY position LOOP
    UPDATE complete_many_elements SET single = pg_temp.answer(pg_temp.single(pg_temp.task('one by one ', e.task), e.output, e.lease, e.attempt), 'one by one ')
     WHERE position = e.position;
  END LOOP;
  UPDATE complete_many_elements m SET many = pg_temp.answer(coalesce(r.completed::text, r.error), 'at once ')
    FROM (SELECT array_agg(pg_temp.task('at once ', task) ORDER BY position) AS ids, array_agg(output ORDER BY position) AS outputs,
                 array_agg(lease ORDER BY position) AS leases, array_agg(attempt ORDER BY position) AS attempts FROM complete_many_elements) a,
         durable.complete_many(a.ids, a.outputs, a.leases, a.attempts) r
   WHERE r.position = m.position AND r.task_id = pg_temp.task('at once ', m.task) AND (r.completed IS NULL) = (r.error IS NOT NULL);
END $$;
SELECT pg_temp.scene('one by one '), pg_temp.scene('at once ') \gset

INSERT INTO complete_many_elements SELECT row_number() OVER (), * FROM (VALUES
  -- steps in every status, with the right fences, without, and with wrong ones
  ('run/0', '{"n": 0}'::jsonb, 1, 1), ('run/1', '1', 1, 1), ('run/2', '{"n": 2}', 1, 1), ('run/2', '3', NULL, NULL), ('run/3', '3', 1, NULL),
  ('run/4', '4', 2, 2), ('run/4', '4', 1, 1), ('run/4', '4', 1, 2), ('run/9', '9', 1, 1),
  -- twice: the second time it is there; a refused one before it does not count
  ('run/0', '{"n": 0}', 1, 1), ('run/0', 'null', 1, 1), ('run/0', NULL, NULL, NULL), ('run/0', '{"n": 0}', 2, NULL),
  -- workflows in every status
  ('unknown', '1', 1, NULL), ('queued', '1', NULL, NULL), ('paused', '1', 1, NULL), ('cancelled', '1', 1, NULL), ('completed', '"all"', 1, NULL),
  ('completed', '"other"', 1, NULL), ('failed', '1', 1, NULL), ('run', '1', 1, 1), ('run', '1', 2, NULL), ('run', NULL, 1, NULL), ('run', NULL, NULL, NULL), ('run', '1', NULL, NULL),
  -- the steps of these
  ('paused/0', '0', 1, 1), ('paused/1', '1', 1, 1), ('cancelled/0', '0', 1, 1), ('cancelled/2', '{"n": 2}', 1, 1), ('completed/0', '0', 1, 1), ('failed/4', '4', 1, 2),
  -- a stand-in; a tree from below
  ('parent/5', '5', 1, 1), ('child/0', '0', 1, NULL), ('child', '"c"', 1, NULL), ('parent', '"p"', 1, NULL), ('grandchild/0', '0', NULL, NULL), ('grandchild', '0', NULL, NULL)
) e (task, output, lease, attempt);
SELECT pg_temp.compare() \gset
SELECT position, task, output, lease, attempt, many, CASE WHEN single IS DISTINCT FROM many THEN 'SINGLE: ' || coalesce(single, '-') ELSE '' END AS difference
  FROM complete_many_elements ORDER BY position;
-- The grandchild stands after what cancelled it: in a batch it is completed first, as all are, and so is its step.
SELECT * FROM test.show(test.id('at once parent'));
-- All the rest is the same.
SELECT count(*) FROM pg_temp.state('at once ');
(SELECT s FROM pg_temp.state('at once ') s EXCEPT ALL SELECT s FROM pg_temp.state('one by one ') s) UNION ALL
(SELECT s FROM pg_temp.state('one by one ') s EXCEPT ALL SELECT s FROM pg_temp.state('at once ') s);
SELECT * FROM durable.check();

-- An open child of a completed workflow is cancelled, with its steps and its own inline children; one with a queue goes on.
DO $$
BEGIN
  PERFORM pg_temp.scene('c ');
  PERFORM pg_temp.scene('d ');
END $$;
SELECT position, completed, error FROM durable.complete_many(ARRAY[test.id('c parent'), pg_temp.task('d ', 'child/0'), test.id('d parent'), test.id('c run')], '{1,2,3,4}');
SELECT * FROM test.show(test.id('c parent'));
SELECT * FROM test.show(test.id('d parent'));
SELECT * FROM durable.check();

-- Without outputs, leases, attempts; nothing.
DO $$
BEGIN
  PERFORM pg_temp.scene('e ');
END $$;
SELECT position, test.mask(task_id::text) AS task, completed, error FROM durable.complete_many(ARRAY[pg_temp.task('e ', 'run/0'), test.id('e run')]);
SELECT name, status, output FROM durable.task WHERE id IN (pg_temp.task('e ', 'run/0'), test.id('e run')) ORDER BY id;
SELECT * FROM durable.complete_many('{}');
SELECT * FROM durable.complete_many('{}', '{}', '{}', '{}');

-- What was done already is answered without a lock or a transaction id, and where nothing may be written.
BEGIN;
SELECT position, completed, left(error, 5) AS error FROM durable.complete_many(ARRAY[pg_temp.task('e ', 'run/2'), pg_temp.task('e ', 'run/2'), test.id('e run'), pg_temp.task('e ', 'unknown')], '{"{\"n\": 2}",5,NULL,NULL}');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid, count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
BEGIN READ ONLY;
SELECT position, completed FROM durable.complete_many(ARRAY[pg_temp.task('e ', 'run/2'), test.id('e run')], '{"{\"n\": 2}",NULL}');
\set VERBOSITY sqlstate
SELECT position, completed FROM durable.complete_many(ARRAY[pg_temp.task('e ', 'run/4')]);
ROLLBACK;
-- A rollback takes it all back.
BEGIN;
SELECT count(*) FILTER (WHERE completed) FROM durable.complete_many(ARRAY[pg_temp.task('e ', 'run/4'), test.id('e parent')]);
ROLLBACK;
SELECT durable.status(pg_temp.task('e ', 'run/4')), durable.status(test.id('e parent')), durable.status(test.id('e child'));

-- As many as there may be, of many trees, twice in one transaction; one more is too many.
SELECT array_agg(workflow_id ORDER BY position) AS ids FROM durable.start_many((SELECT array_agg('complete-many ' || g) FROM generate_series(1, 1000) g)) \gset
SELECT array_agg(workflow_id ORDER BY position) AS more FROM durable.start_many((SELECT array_agg('complete-many more ' || g) FROM generate_series(1, 1000) g)) \gset
SELECT count(s.*) FROM unnest(:'ids'::uuid[]) w, durable.claim_step(w, 0, 's') s WHERE action = 'EXECUTE';
BEGIN;
SELECT completed, count(*) FROM durable.complete_many((SELECT array_agg(durable.step_id(w, 0)) FROM unnest(:'ids'::uuid[]) w)) GROUP BY 1;
SELECT completed, count(*) FROM durable.complete_many(:'ids') GROUP BY 1;
SELECT completed, count(*) FROM durable.complete_many(:'more') GROUP BY 1;
SELECT count(*) < 1100 AS few_locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
SELECT completed, count(*) FROM durable.complete_many(:'ids') GROUP BY 1;
SELECT durable.complete_many(:'ids'::uuid[] || test.id('e run'));
-- A wait beside the workflow that waits: it is answered before its workflow ends.
SELECT workflow_id AS w FROM durable.start('complete-many waits') \gset
SELECT action FROM durable.await_callback(:'w', 0, 'approved');
SELECT position, completed, error FROM durable.complete_many(ARRAY[:'w', durable.step_id(:'w', 0)]::uuid[], '{1,2}');
SELECT id = :'w' AS is_workflow, status, output FROM durable.task WHERE id IN (:'w', durable.step_id(:'w', 0)) ORDER BY id;
SELECT position, completed, error FROM durable.complete_many(ARRAY[:'w', durable.step_id(:'w', 0)]::uuid[], '{1,2}');
-- The same with a step, and a second wait, which is over.
SELECT workflow_id AS w FROM durable.start('complete-many waits, over') \gset
SELECT action FROM durable.await_callback(:'w', 0, 'over', '0 s');
SELECT action FROM durable.await_callback(:'w', 1, 'approved');
SELECT action FROM durable.claim_step(:'w', 2, 'step');
SELECT position, completed, left(error, 5) AS error FROM durable.complete_many(ARRAY[durable.step_id(:'w', 2), :'w', durable.step_id(:'w', 1), durable.step_id(:'w', 0)]::uuid[], '{0,1,2,3}');
SELECT * FROM durable.check();
DROP TABLE complete_many_elements;
