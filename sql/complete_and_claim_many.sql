-- complete_and_claim_many(): complete_and_claim of many steps of any workflows, as if one after the other.
\pset null -
SELECT set_config('TimeZone', 'UTC', false) \gset

-- A scene: workflows in every status, each with steps in every status; all names with that prefix.
CREATE FUNCTION pg_temp.scene(p text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  n text;
BEGIN
  FOREACH n IN ARRAY '{run,other,late,paused,cancelled,completed,failed,taken,parent}'::text[] LOOP
    w := (durable.start(p || n, executor_id => 'a')).workflow_id;
    -- 0, 1, 2, 3 run; 4 is done; 5 failed; 6 is due again; 7 waits; 8 runs for its second time
    PERFORM durable.claim_step(w, s, 's' || s, lease => 1, executor_id => 'a', max_retries => CASE WHEN s > 5 THEN 1 ELSE 0 END, backoff => CASE WHEN s = 7 THEN interval '1 h' ELSE '0' END)
       FROM generate_series(0, 8) s;
    PERFORM durable.complete(durable.step_id(w, 4), '{"n": 4}');
    PERFORM durable.fail(durable.step_id(w, s), 'bad', detail => '{"why": "bad"}') FROM generate_series(5, 8) s;
    PERFORM durable.claim_step(w, 8, 's8', lease => 1, executor_id => 'a', max_retries => 1);
  END LOOP;
  PERFORM durable.set_timeout(test.id(p || 'late'), '0 s');
  PERFORM durable.pause_tree(test.id(p || 'paused'));
  PERFORM durable.cancel_tree(test.id(p || 'cancelled'));
  PERFORM durable.complete(test.id(p || 'completed'), '"all"');
  PERFORM durable.fail(test.id(p || 'failed'), 'bad');
  PERFORM durable.attach(test.id(p || 'taken'), 'a', true);
  PERFORM durable.start_child(w, 9, p || 'child');
  PERFORM durable.claim_step(test.id(p || 'child'), 0, 's0', lease => 1, executor_id => 'a');
  PERFORM durable.start(p || 'queued', queue => 'pairs');
END $$;
SELECT durable.create_queue('pairs');
-- A task by its name, and sequence.
CREATE FUNCTION pg_temp.task(p text, task text) RETURNS uuid LANGUAGE sql AS $$
  SELECT CASE WHEN task = 'unknown' THEN '00000000-0000-7000-8000-000000000001'
              WHEN task ~ '/' THEN durable.step_id(test.id(p || split_part(task, '/', 1)), split_part(task, '/', 2)::int)
              ELSE test.id(p || task) END
$$;
CREATE FUNCTION pg_temp.answer(answer text, p text) RETURNS text LANGUAGE sql AS $$
  SELECT replace(replace(replace(test.mask(answer), p, ''), '"step_ids"', '"step_id"'), '"sequences"', '"sequence"')
$$;
CREATE FUNCTION pg_temp.answer(step_id uuid, action durable.claim_action, output jsonb, error text, attempt int, run_at timestamptz, detail jsonb, p text) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.answer(concat_ws(' ', action, step_id, output, error, attempt, detail, CASE WHEN run_at IS NOT NULL THEN 'in ' || round(extract(epoch FROM run_at - test.clock()) / 3600) || ' h' END), p)
$$;
-- All that is told of the steps of a scene, but for times.
CREATE FUNCTION pg_temp.state(p text) RETURNS SETOF jsonb LANGUAGE sql AS $$
  SELECT to_jsonb(s) - ARRAY['workflow_id', 'child_id', 'name', 'started_at', 'completed_at', 'failed_at', 'recorded_at', 'run_at', 'deadline']
         || jsonb_build_object('of', pg_temp.answer(w.name, p), 'name', pg_temp.answer(s.name, p), 'w', w.status, 'w.lease', w.lease, 'ended', s.completed_at IS NOT NULL, 'times', s.deadline - s.started_at, 'waits', s.run_at IS NOT NULL)
    FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE starts_with(w.name, p)
$$;
-- The same elements by complete_and_claim, one after the other, and by the batch: what each answers, and the differences.
CREATE TABLE pairs (position int, task text, output jsonb, name text, lease int, attempt int, sequence int, input jsonb, single text, many text);
CREATE FUNCTION pg_temp.single(e pairs, executor text, timeout interval) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  p text = 'pairs singly ';
BEGIN
  RETURN pg_temp.answer(r.step_id, r.action, r.output, r.error, r.attempt, r.run_at, r.detail, p) FROM durable.complete_and_claim(pg_temp.task(p, e.task), e.output, e.name, e.sequence,
    e.input, lease => e.lease, attempt => e.attempt, executor_id => executor, max_retries => 2, backoff => '1 s', timeout => timeout) r;
EXCEPTION WHEN OTHERS THEN
  RETURN pg_temp.answer(SQLSTATE || ': ' || SQLERRM, p);
END $$;
CREATE FUNCTION pg_temp.compare(executor text = 'a', timeout interval = '1 h') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e pairs;
BEGIN
  FOR e IN SELECT * FROM pairs ORDER BY position LOOP
    UPDATE pairs SET single = pg_temp.single(e, executor, timeout) WHERE position = e.position;
  END LOOP;
  UPDATE pairs m SET many = pg_temp.answer(r.step_id, r.action, r.output, r.error, r.attempt, r.run_at, r.detail, 'pairs at once ')
    FROM (SELECT array_agg(pg_temp.task('pairs at once ', task) ORDER BY position) AS ids, array_agg(output ORDER BY position) AS outputs, array_agg(name ORDER BY position) AS names,
                 array_agg(lease ORDER BY position) AS leases, array_agg(attempt ORDER BY position) AS attempts, array_agg(sequence ORDER BY position) AS sequences, array_agg(input ORDER BY position) AS inputs FROM pairs) a,
         durable.complete_and_claim_many(a.ids, a.outputs, a.names, a.leases, a.attempts, a.sequences, a.inputs, executor_id => executor, max_retries => 2, backoff => '1 s', timeout => timeout) r
   WHERE r.position = m.position AND (r.action IS NULL) = (r.step_id IS NULL) AND (r.action IS NOT NULL OR r.error IS NOT NULL);
END $$;
CREATE VIEW pairs_answers AS SELECT position, task, output, name, lease, attempt, sequence, many, CASE WHEN single IS DISTINCT FROM many THEN 'SINGLE: ' || coalesce(single, '-') ELSE '' END AS difference FROM pairs ORDER BY position;
CREATE FUNCTION pg_temp.differences() RETURNS SETOF jsonb LANGUAGE sql AS $$
  (SELECT s FROM pg_temp.state('pairs at once ') s EXCEPT ALL SELECT s FROM pg_temp.state('pairs singly ') s) UNION ALL
  (SELECT s FROM pg_temp.state('pairs singly ') s EXCEPT ALL SELECT s FROM pg_temp.state('pairs at once ') s)
$$;
SELECT pg_temp.scene('pairs singly '), pg_temp.scene('pairs at once ') \gset

INSERT INTO pairs SELECT row_number() OVER (), * FROM (VALUES
  -- what forbids the completion is the row's error, and nothing is claimed: unknown, a workflow, fences, status, another output, a position that none can have
  ('unknown', '1'::jsonb, 'n', 1, 1, NULL::int, NULL::jsonb), ('run', '1', 'n', 1, NULL, NULL, NULL), ('run/0', '1', 'n', 2, 1, 100, NULL), ('run/0', '1', 'n', 1, 2, 100, NULL), ('run/4', '9', 'n', 1, 1, 100, NULL),
  ('run/5', '1', 'n', 1, 1, 100, NULL), ('run/6', '1', 'n', 1, 1, 100, NULL), ('run/99', '1', 'n', 1, 1, NULL, NULL), ('run/0', '1', 'n', 1, 1, -1, NULL), ('run/0', '1', 'n', 1, 1, 16777214, NULL),
  ('run/16777213', '1', 'n', 1, 1, NULL, NULL), ('queued/0', '1', 'n', NULL, NULL, NULL, NULL), ('parent/9', '1', 'n', NULL, NULL, NULL, NULL), ('taken/0', '0', 'n', 1, 1, 100, NULL),
  -- what forbids the claim is STOP: the completion stands
  ('late/0', '0', 'n', 1, 1, 100, NULL), ('paused/0', '0', 'n', 1, 1, 100, NULL), ('cancelled/0', '0', 'n', 1, 1, 100, NULL), ('cancelled/4', '{"n": 4}', 'n', 1, 1, 100, NULL), ('completed/0', '0', 'n', 1, 1, 100, NULL), ('failed/0', '0', 'n', 1, 1, 100, NULL),
  ('completed/1', '0', 's4', 1, 1, 4, NULL), ('failed/1', '0', 's5', 1, 1, 5, NULL), ('failed/2', '0', 's8', 1, 1, 8, NULL), ('run/0', '{"n": 0}', 'not s1', 1, 1, NULL, NULL), ('parent/0', NULL, 'child', 1, 1, 9, NULL),
  -- what is there: completed, failed, due, waiting, running under this lease or an older one, this step itself
  ('other/0', '0', 's4', 1, 1, 4, NULL), ('other/0', '0', 's5', 1, 1, 5, NULL), ('other/1', '1', 's6', 1, 1, 6, '[6]'), ('other/1', '1', 's7', 1, NULL, 7, NULL), ('other/1', '1', 's8', 1, NULL, 8, NULL), ('other/1', '1', 's8', NULL, NULL, 8, NULL),
  ('taken/0', '0', 's1', 2, 1, NULL, NULL), ('taken/1', '1', 's3', NULL, NULL, 3, NULL), ('other/2', '2', 's2', 1, 1, 2, NULL), ('child/0', '0', 'n', 1, 1, NULL, NULL),
  -- two steps of one workflow; a step that was just claimed; the same twice; then with another output; a position that was just claimed, by its holder, by its name, without a lease
  ('run/1', '{"n": 1}', 'n', 1, 1, 20, '{"i": 20}'), ('run/2', '{"n": 2}', 'n', 1, 1, 21, NULL), ('run/20', '20', 'n', 1, 1, 30, NULL), ('run/30', NULL, 'n', 1, 1, NULL, NULL), ('run/31', '31', 'n', 1, 1, 4, NULL),
  ('run/1', '{"n": 1}', 'n', 1, 1, 20, NULL), ('run/2', '{"n": 2}', 'n', 1, 1, 21, NULL), ('run/2', '{"n": 2}', 'm', 1, 1, 21, NULL), ('run/2', '{"n": 2}', 'n', NULL, NULL, 21, NULL), ('run/1', '1', 'n', 1, 1, 22, NULL),
  -- claimed again, and completed; one that is claimed after it was completed
  ('run/8', '8', 's6', 1, 2, 6, NULL), ('run/6', '6', 's7', 1, 2, NULL, NULL), ('run/6', '6', 's3', 1, NULL, 3, NULL), ('run/3', '3', 's8', 1, NULL, 8, NULL)
) e (task, output, name, lease, attempt, sequence, input);
SELECT pg_temp.compare() \gset
SELECT * FROM pairs_answers;
SELECT count(*) FROM pg_temp.state('pairs at once ');
SELECT * FROM pg_temp.differences();
SELECT * FROM durable.check();

-- A second time, as after a lost reply: from the same executor, from another, from none.
SELECT pg_temp.compare() \gset
SELECT * FROM pairs_answers;
SELECT * FROM pg_temp.differences();
SELECT pg_temp.compare('b') \gset
SELECT many, count(*) FROM pairs WHERE many NOT LIKE 'WF%' AND many NOT LIKE '22%' GROUP BY many ORDER BY many COLLATE "C";
SELECT * FROM pairs_answers WHERE difference <> '';
SELECT * FROM pg_temp.differences();

-- Without leases, attempts, sequences, inputs; nothing; the smallest.
SELECT workflow_id AS w FROM durable.start('pairs', executor_id => 'a') \gset
SELECT workflow_id AS v FROM durable.start('pairs 2', executor_id => 'a') \gset
SELECT action FROM unnest(ARRAY[:'w', :'v']::uuid[]) w, durable.claim_step(w, 0, 's');
SELECT position, step_id = durable.step_id(CASE position WHEN 1 THEN :'v' ELSE :'w' END::uuid, 1) AS next, action, output, error, attempt, run_at, detail
  FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 0), durable.step_id(:'w', 0)], NULL, '{one,two}', kind => 'TRANSACTION', max_retries => 3, backoff => '7 s', backoff_multiplier => 3, max_backoff => '9 s', timeout => '1 min');
SELECT sequence, name, kind, status, lease, attempt, executor_id, input, output, max_retries, backoff, backoff_multiplier, max_backoff, timeout FROM durable.step WHERE workflow_id IN (:'w', :'v') ORDER BY workflow_id, sequence;
SELECT * FROM durable.complete_and_claim_many('{}', NULL, '{}');
SELECT * FROM durable.complete_and_claim_many('{}', '{}', '{}', '{}', '{}', '{}', '{}');

-- What was done already is answered without a lock or a transaction id, and where nothing may be written.
SELECT action FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1), durable.step_id(:'w', 1)], '{1,1}', '{s,s}', '{1,1}', executor_id => 'a');
SELECT count(*) FROM durable.step s, durable.complete(durable.step_id(workflow_id, sequence)) WHERE workflow_id IN (:'w', :'v') AND sequence = 2;
BEGIN;
SELECT position, action, left(error, 5) AS error FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1), durable.step_id(:'w', 1), durable.step_id(:'w', 77)], '{1,1,1}', '{s,s,s}', '{1,1,1}', executor_id => 'a');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid, count(*) AS locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
BEGIN READ ONLY;
SELECT position, action FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1), durable.step_id(:'w', 1)], '{1,1}', '{s,s}', '{1,1}', executor_id => 'a');
\set VERBOSITY sqlstate
SELECT position, action FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', '{s}', sequences => '{9}');
ROLLBACK;
-- A rollback takes it all back, and what was done before in the same transaction counts.
BEGIN;
SELECT action FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 2), durable.step_id(:'w', 2)], NULL, '{s,s}', '{1,1}', sequences => '{9,9}');
SELECT action FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 9), durable.step_id(:'w', 9)], '{9,9}', '{s,s}', '{1,1}');
ROLLBACK;
SELECT max(sequence) FROM durable.step WHERE workflow_id IN (:'w', :'v');

-- Bad arguments of all: nothing is done.
SELECT durable.complete_and_claim_many(NULL, '{1}', '{s}');
SELECT durable.complete_and_claim_many(ARRAY[NULL::uuid], '{1}', '{s}');
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', NULL);
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', ARRAY[NULL]);
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', '{""}');
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', '{s,t}');
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1,2}', '{s}');
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', '{s}', sequences => '{1,2}');
SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(:'v', 1)], '{1}', '{s}', kind => 'WORKFLOW');
SELECT durable.complete_and_claim_many(array_fill(durable.step_id(:'v', 1), '{1001}'), NULL, array_fill('s'::text, '{1001}'));

-- As many as there may be, of many trees: each step by the fast path, each by the statement, each after a look.
SELECT array_agg(workflow_id ORDER BY position) AS ids FROM durable.start_many((SELECT array_agg('pairs many ' || g) FROM generate_series(1, 1000) g)) \gset
SELECT count(s.*) FROM unnest(:'ids'::uuid[]) w, durable.claim_step(w, 0, 's', lease => 1) s WHERE action = 'EXECUTE';
CREATE FUNCTION pg_temp.round(ids uuid[], n int, lease int = 1) RETURNS TABLE (action durable.claim_action, error text, count bigint) LANGUAGE sql AS $$
  SELECT r.action, left(r.error, 5), count(*) FROM durable.complete_and_claim_many((SELECT array_agg(durable.step_id(w, n)) FROM unnest(ids) w), NULL, array_fill('s'::text, ARRAY[cardinality(ids)]), array_fill(lease, ARRAY[cardinality(ids)])) r
  GROUP BY 1, 2 ORDER BY 1, 2 $$;
SELECT * FROM pg_temp.round(:'ids', 0);
SELECT * FROM pg_temp.round((:'ids'::uuid[])[1:20], 1);
SELECT * FROM pg_temp.round((:'ids'::uuid[])[1:20], 2);
SET durable.fast_paths = off;
SELECT * FROM pg_temp.round((:'ids'::uuid[])[1:20], 3);
SELECT * FROM pg_temp.round(:'ids', 1);
SELECT * FROM pg_temp.round((:'ids'::uuid[])[1:20], 4, NULL);
RESET durable.fast_paths;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM pg_temp.round((:'ids'::uuid[])[1:20], 5);
SELECT count(*) < 1100 AS few_locks FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
SELECT sequence, status, count(*) FROM durable.step WHERE workflow_id = ANY (:'ids') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM durable.check();
DROP VIEW pairs_answers;
DROP FUNCTION pg_temp.single, pg_temp.compare;
DROP TABLE pairs;
