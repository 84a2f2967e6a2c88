-- Which work starts: what start does with namesakes, tags, and the retries of whole workflows.
\pset null -
\set VERBOSITY sqlstate
SELECT durable.create_queue('starting');

-- What is given is stored; without retries there is no policy.
SELECT workflow_id AS w, created, replaced FROM durable.start('starting-1', queue => 'starting', tags => '{"customer": 42, "plan": {"tier": "gold"}}',
  max_retries => 3, backoff => '1 s', backoff_multiplier => 3, max_backoff => '1 min') \gset
SELECT max_retries, retry_count, backoff, backoff_multiplier, max_backoff, on_parent_end FROM durable.workflow WHERE id = :'w';
SELECT retry_count, max_retries, tags FROM durable.task WHERE id = :'w';
SELECT position, created, replaced FROM durable.start_many('{starting-2,starting-3,starting-2}', queue => 'starting', tags => ARRAY['{"n": 2}', NULL, '{"n": 3}']::jsonb[], max_retries => 1);
SELECT w.name, w.max_retries, w.retry_count, w.backoff, w.backoff_multiplier, t.tags, t.max_retries AS shown
  FROM durable.workflow w JOIN durable.task t USING (id) WHERE w.name LIKE 'starting-_' ORDER BY w.name;
SELECT workflow_id AS p FROM durable.start('starting-4', max_retries => 0, backoff => '1 s') \gset
SELECT max_retries, retry_count, backoff, backoff_multiplier, max_backoff FROM durable.workflow WHERE id = :'p';
SELECT created FROM durable.start_child(:'p', 0, 'starting-child', queue => 'starting', tags => '{"n": 5}', max_retries => 2, backoff => '2 s', on_parent_end => 'cancel');
SELECT created FROM durable.start_child(:'p', 1, 'starting-inline', tags => '{"n": 6}');
SELECT w.name, w.max_retries, w.retry_count, w.backoff, w.on_parent_end, t.tags FROM durable.workflow w JOIN durable.task t USING (id) WHERE w.parent_id = :'p' ORDER BY w.id;
SELECT * FROM durable.start_child(:'p', 2, 'x', max_retries => 1);
SELECT * FROM durable.start_child(:'p', 2, 'x', on_parent_end => 'cancel');
SELECT * FROM durable.start_child(:'p', 2, 'x', queue => 'starting', on_parent_end => 'stay');
SELECT * FROM durable.start_child(:'p', 2, 'x', tags => '[1]');
SELECT * FROM durable.start_many('{x,y}', tags => ARRAY['{}']::jsonb[]);
SELECT * FROM durable.start_many('{x,y}', tags => ARRAY['{}', '1']::jsonb[]);
SELECT count(*) FROM durable.workflow WHERE name IN ('x', 'y');
-- What is joined keeps its own.
SELECT created, replaced FROM durable.start('starting-1', tags => '{"customer": 1}');
SELECT tags FROM durable.task WHERE id = :'w';

-- if_active. --------------------------------------------------------------------------------------
CREATE TEMP VIEW shown AS
  SELECT w.id, w.name, w.input, w.handler, w.status, w.lease, w.queue_name, w.priority, w.concurrency_key AS key, w.timeout, w.max_recovery_attempts AS attempts,
         w.app_version AS version, w.max_retries AS retries, w.backoff, t.tags
    FROM durable.workflow w LEFT JOIN durable.workflow_tags t ON t.workflow_id = w.id;
SELECT durable.create_queue('starting-other');
-- refuse: WF014, whatever the status, with the id; nothing is changed.
\set VERBOSITY default
SELECT test.error($$SELECT durable.start('starting-1', '1', queue => 'starting', if_active => 'refuse')$$);
DO $$
BEGIN
  PERFORM durable.start('starting-4', if_active => 'refuse');
EXCEPTION WHEN SQLSTATE 'WF014' THEN
  RAISE NOTICE 'names its id: %', position((SELECT id::text FROM durable.workflow WHERE name = 'starting-4') IN SQLERRM) > 0;
END $$;
SELECT test.error($$SELECT durable.start_many('{starting-new,starting-4}', if_active => 'refuse')$$) LIKE 'WF014%' AS refused;
SELECT test.error($$SELECT durable.start_many('{starting-new,starting-new}', if_active => 'refuse')$$);
\set VERBOSITY sqlstate
SELECT count(*) FROM durable.workflow WHERE name = 'starting-new';
SELECT created, replaced, status FROM durable.start('starting-new', if_active => 'refuse');
-- replace: all but the name and the id, where it never ran. What is not given is as it is for a new one.
SELECT created, replaced, status, lease, workflow_id = :'w' AS same FROM durable.start('starting-1', '{"v": 2}', 'h', queue => 'starting-other', priority => 7, run_at => '2100-01-01',
  timeout => '1 h', max_recovery_attempts => 5, app_version => 'v2', concurrency_key => 'k', if_active => 'replace', tags => '{"customer": 43}', max_retries => 1, backoff => '9 s');
SELECT name, input, handler, status, lease, queue_name, priority, key, timeout, attempts, version, retries, backoff, tags FROM shown WHERE id = :'w';
SELECT run_at, created_at < run_at AS later FROM durable.workflow WHERE id = :'w';
SELECT count(*) FROM durable.claim('starting-other', 'starting-e');
SELECT created, replaced, status, workflow_id = :'w' AS same FROM durable.start('starting-1', '{"v": 3}', queue => 'starting', if_active => 'replace');
SELECT name, input, handler, status, lease, queue_name, priority, key, timeout, attempts, version, retries, backoff, tags FROM shown WHERE id = :'w';
SELECT run_at > created_at AND run_at <= durable.clock() AS now FROM durable.workflow WHERE id = :'w';
-- It is where a claim finds it, once; also with a key, and where claims have left heads.
SELECT count(*) FROM durable.claim('starting-other', 'starting-e', 9);
SELECT created, replaced FROM durable.start('starting-1', '{"v": 4}', queue => 'starting-other', concurrency_key => 'k', if_active => 'replace');
SELECT created, replaced FROM durable.start('starting-1', '{"v": 5}', queue => 'starting-other', concurrency_key => 'l', priority => 1, if_active => 'replace');
-- Also where claims have left heads behind it: it leaves the list of the queue where it was.
SET durable.claim_walk = 0;
SELECT durable.create_queue('starting-heads');
SELECT count(*) FROM durable.start_many('{starting-h1,starting-h2,starting-h3}', queue => 'starting-heads');
SELECT name FROM durable.claim('starting-heads', 'starting-e');
SELECT name FROM durable.claim('starting-heads', 'starting-e');
SELECT durable.start('starting-h4', '1', queue => 'starting-heads', run_at => '2000-01-01') \gset
SELECT count(*) > 0 AS is_late FROM durable.queue_late WHERE workflow_id = (SELECT id FROM durable.workflow WHERE name = 'starting-h4');
SELECT replaced FROM durable.start('starting-h4', '2', queue => 'starting-other', run_at => '2000-01-01', priority => -1, if_active => 'replace');
SELECT replaced FROM durable.start('starting-h3', '2', queue => 'starting-heads', run_at => '2000-01-01', if_active => 'replace');
SELECT name, input FROM durable.claim('starting-heads', 'starting-e', 9);
SELECT name, input FROM durable.claim('starting-other', 'starting-e', 9, '{}');
SELECT * FROM durable.check();
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE name IN ('starting-h1', 'starting-h2', 'starting-h3', 'starting-h4');
RESET durable.claim_walk;
-- PAUSED: it stays so.
SELECT durable.pause_tree(:'w');
SELECT created, replaced, status FROM durable.start('starting-1', '{"v": 6}', queue => 'starting-other', concurrency_key => 'm', if_active => 'replace', tags => '{"customer": 44}');
SELECT durable.resume_tree(:'w');
SELECT name, input, lease FROM durable.claim('starting-other', 'starting-e', 9);
-- One that runs, or ran: joined, whoever asks.
SELECT created, replaced, status, lease, owner FROM durable.start('starting-1', '{"v": 7}', executor_id => 'starting-e', queue => 'starting-other', if_active => 'replace');
SELECT durable.release('starting-e', :'w');
SELECT created, replaced, status, lease, owner FROM durable.start('starting-1', '{"v": 7}', queue => 'starting-other', if_active => 'replace');
SELECT created, replaced, status FROM durable.start('starting-4', queue => 'starting', if_active => 'replace');
SELECT input, tags FROM shown WHERE id = :'w';
SELECT created, replaced FROM durable.start('starting-1', queue => 'no queue', if_active => 'replace');
-- Many: as if one after the other.
SELECT position, created, replaced, status FROM durable.start_many('{starting-m1,starting-2,starting-m1,starting-4,starting-2}', ARRAY['1', '2', '3', '4', '5']::jsonb[], queue => 'starting',
  if_active => 'replace', concurrency_keys => '{a,b,c,d,e}', tags => ARRAY['{"t": 1}', '{"t": 2}', '{"t": 3}', '{"t": 4}', NULL]::jsonb[]);
SELECT name, input, queue_name, key, tags FROM shown WHERE name IN ('starting-m1', 'starting-2', 'starting-4') ORDER BY name;
SELECT * FROM durable.check();

-- if_finished. ------------------------------------------------------------------------------------
SELECT workflow_id AS f FROM durable.start('starting-f', '1', if_finished => 'return') \gset
SELECT created, status FROM durable.start('starting-f', if_finished => 'return');
SELECT durable.complete(:'f', '"done"');
SELECT created, status, lease, owner, replaced, workflow_id = :'f' AS same FROM durable.start('starting-f', '2', executor_id => 'starting-e', if_finished => 'return');
SELECT created, status, workflow_id = :'f' AS same FROM durable.start('starting-f', if_finished => 'start_after_failure');
SELECT created, status, workflow_id = :'f' AS same FROM durable.start('starting-f', queue => 'starting', if_active => 'replace', if_finished => 'return');
SELECT created, status, workflow_id = :'f' AS same FROM durable.start('starting-f', if_active => 'refuse', if_finished => 'return');
SELECT count(*) FROM durable.workflow WHERE name = 'starting-f';
-- A child of that name is no run of it.
SELECT created FROM durable.start_child(:'p', 9, 'starting-g');
SELECT durable.complete((SELECT id FROM durable.workflow WHERE name = 'starting-g'));
SELECT workflow_id AS g, created FROM durable.start('starting-g', if_finished => 'return') \gset
\echo :created
-- The one created last decides. start begins another run in any case.
SELECT status FROM durable.fail(:'g', 'bad');
SELECT created, status, workflow_id = :'g' AS same FROM durable.start('starting-g', if_finished => 'return');
SELECT workflow_id AS g2, created FROM durable.start('starting-g', if_finished => 'start_after_failure') \gset
\echo :created
SELECT durable.cancel_tree(:'g2');
SELECT created, status, workflow_id = :'g2' AS same FROM durable.start('starting-g', if_finished => 'return');
SELECT workflow_id AS g3, created FROM durable.start('starting-g', if_finished => 'start_after_failure') \gset
\echo :created
SELECT durable.complete(:'g3');
SELECT created, status, workflow_id = :'g3' AS same FROM durable.start('starting-g', if_finished => 'start_after_failure');
SELECT created, status FROM durable.start('starting-g');
-- In one transaction with the run; a query that only finds it writes nothing.
BEGIN;
SELECT workflow_id AS h FROM durable.start('starting-h', if_finished => 'return') \gset
SELECT durable.complete(:'h');
SELECT created, status FROM durable.start('starting-h', if_finished => 'return');
COMMIT;
BEGIN READ ONLY;
SELECT created, status FROM durable.start('starting-h', if_finished => 'return');
SELECT pg_current_xact_id_if_assigned();
COMMIT;
-- Many.
SELECT position, created, status, workflow_id = :'f' AS f, workflow_id = :'h' AS h
  FROM durable.start_many('{starting-f,starting-i,starting-h,starting-4,starting-i,starting-f}', if_finished => 'return');
SELECT position, created, status FROM durable.start_many('{starting-g,starting-f,starting-j}', if_finished => 'start_after_failure');
-- By the statements as by the fast paths.
SET durable.fast_paths = off;
SELECT created, status FROM durable.start('starting-f', if_finished => 'return', tags => '{"slow": 1}');
SELECT created FROM durable.start('starting-slow', queue => 'starting', if_finished => 'return', tags => '{"slow": 1}', max_retries => 2, backoff => '1 s');
SELECT created, replaced FROM durable.start('starting-slow', queue => 'starting', if_active => 'replace', tags => '{"slow": 2}', max_retries => 3);
SELECT name, retries, backoff, tags FROM shown WHERE name = 'starting-slow';
SELECT name FROM durable.claim('starting', 'starting-e', 1, NULL, NULL) ORDER BY name;
RESET durable.fast_paths;

-- Versions: an executor that has claimed with another joins. -------------------------------------------
SELECT count(*) FROM durable.claim('starting-other', 'starting-v2', 0, app_version => 'v2');
SELECT durable.create_queue('starting-v');
SELECT workflow_id AS v FROM durable.start('starting-v1', executor_id => 'starting-old', app_version => 'v1') \gset
SELECT durable.start('starting-any', queue => 'starting-v') \gset
SELECT count(*) FROM durable.claim('starting-v', 'starting-v2', app_version => 'v2');
SELECT durable.release('starting-old', :'v');
SELECT status, lease, owner FROM durable.attach(:'v', 'starting-v2');
SELECT created, status, lease, owner FROM durable.start('starting-v1', executor_id => 'starting-v2');
SELECT created, status, lease, owner FROM durable.start('starting-v1', executor_id => 'starting-new', app_version => 'v2');
SELECT position, created, status, lease, owner FROM durable.start_many('{starting-v1,starting-v2,starting-v1}', executor_id => 'starting-v2');
SELECT created, status, lease, owner FROM durable.start('starting-v1', executor_id => 'starting-new', app_version => 'v1');
SELECT status, lease, owner FROM durable.attach(:'v', 'starting-v2', takeover => true);

-- Tags. ----------------------------------------------------------------------------------------------
SELECT name, tags FROM durable.list(tags => '{"customer": 44}');
SELECT durable.set_tags(:'v', '{"customer": 44, "list": [1, 2], "deep": {"a": {"b": null}}}');
SELECT name FROM durable.list(tags => '{"customer": 44}', sort => 'name', descending => false);
SELECT name FROM durable.list(tags => '{"list": [2]}');
SELECT name FROM durable.list(tags => '{"deep": {"a": {"b": null}}, "customer": 44}');
SELECT count(*) FROM durable.list(tags => '{"customer": "44"}');
SELECT durable.count(tags => '{"customer": 44}'), durable.count('RUNNING', tags => '{"customer": 44}'), durable.count(tags => '{"customer": 44}', kind => 'WORKFLOW', root_only => true),
       durable.count(kind => 'STEP', tags => '{"customer": 44}'), durable.count(name => 'starting-v1', tags => '{"customer": 44}');
SELECT durable.count(tags => '{}') = (SELECT count(*) FROM durable.workflow_tags) AS all_that_have_some;
SELECT count(*) FROM durable.list(kind => 'STEP', tags => '{"customer": 44}');
SELECT name, status FROM durable.list('RUNNING', tags => '{"customer": 44}');
SELECT name FROM durable.list(tags => '{"customer": 44}', after_id => :'v');
SELECT name FROM durable.list(tags => '{"customer": 44}', queue_name => 'starting-other', root_only => true);
SELECT durable.list(tags => '[]');
SELECT durable.count(tags => '1');
SELECT durable.set_tags(:'v', '[]');
SELECT durable.set_tags(NULL, '{}');
SELECT durable.set_tags(durable.step_id(:'v', 0), '{}');
SELECT durable.set_tags('01800000-0000-7000-8000-000000000000', '{}');
SELECT durable.set_tags(:'v', NULL);
SELECT tags FROM durable.task WHERE id = :'v';
SELECT durable.set_tags(:'f', '{"finished": true}');
SELECT name, status FROM durable.list(tags => '{"finished": true}');
-- The tree shows them, and the key and the time of what waits.
SELECT durable.start_child(:'p', 10, 'starting-waits', queue => 'starting', concurrency_key => 'blue', tags => '{"n": 7}', priority => -9) \gset
UPDATE durable.workflow SET run_at = '2100-01-01 00:00+00' WHERE name = 'starting-waits';
SET TimeZone = 'UTC';
SELECT regexp_replace(t, '[0-9.]+ m?s($| tags)', '<time>\1') FROM durable.tree(:'p') t;
-- history shows a queued child's own status.
SELECT sequence, name, status FROM durable.history(:'p');
SELECT durable.pause_tree(id) FROM durable.workflow WHERE name = 'starting-waits';
SELECT sequence, name, status FROM durable.history(:'p') WHERE sequence = 10;

-- They go with their workflow.
SELECT durable.complete(:'v');
BEGIN;
SET LOCAL durable.clock_offset = 100;
SELECT workflows > 0 AS purged FROM durable.purge('10 s');
SELECT count(*) FROM durable.workflow_tags t WHERE NOT EXISTS (SELECT 1 FROM durable.workflow w WHERE w.id = t.workflow_id);
SELECT count(*) FROM durable.list(tags => '{"finished": true}');
ROLLBACK;
SELECT * FROM durable.check();

-- durable.require_fences: who drives a workflow says under which lease, who ends a step of which attempt. -------------
SELECT workflow_id AS w FROM durable.start('starting-fenced') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
CREATE TEMP TABLE fenced (n int, call text);
INSERT INTO fenced SELECT row_number() OVER (), c FROM unnest(ARRAY['complete({w})', 'complete({w}, lease => NULL, attempt => 1)', 'complete({s}, lease => 1)', 'complete({s}, attempt => 1)',
  'fail({w}, ''e'')', 'fail({s}, ''e'', 1)', 'claim_step({w}, 1, ''t'')', 'claim_steps({w}, 1, ''{t}'')', 'complete_and_claim({s}, NULL, ''t'')', 'complete_and_claim({s}, NULL, ''t'', lease => 1)',
  'complete_many(ARRAY[{w}])', 'complete_many(ARRAY[{s}], leases => ''{1}'')', 'complete_and_claim_many(ARRAY[{s}], NULL, ''{t}'')', 'complete_and_claim_many(ARRAY[{s}], NULL, ''{t}'', ''{1}'')',
  'start_child({w}, 1, ''c'')', 'emit({w}, ''t'')', 'sleep({w}, 1, ''t'', ''1 s'')', 'await_signal({w}, 1, ''t'')', 'await_callback({w}, 1, ''t'')', 'await_any({w}, 1, ''t'', ''{0}'')',
  'await_workflow({w}, 1, ''t'', ''01800000-0000-7000-8000-000000000000'')', 'patched({w}, 1, ''p'')', 'continue_as({w}, NULL, NULL)']) c;
SET durable.require_fences = on;
SELECT n, split_part(test.error('SELECT durable.' || replace(replace(call, '{w}', quote_literal(:'w') || '::uuid'), '{s}', quote_literal(durable.step_id(:'w', 0)) || '::uuid')), E'\n', 1) FROM fenced ORDER BY n;
SELECT sequence, status, attempt FROM durable.history(:'w');
SELECT action FROM durable.await_callback(:'w', 1, 'token', lease => 1);
SELECT durable.answer(durable.step_id(:'w', 1), '1');
SELECT durable.complete(durable.step_id(:'w', 0), '1', 1, 1), durable.complete(:'w', '1', 1);
RESET durable.require_fences;
SELECT * FROM durable.check();

-- check() tells what cannot be. -----------------------------------------------------------------------
BEGIN;
INSERT INTO durable.workflow_tags VALUES ('01800000-0000-7000-8000-000000000000', '{}');
UPDATE durable.workflow SET max_retries = 1, retry_count = 0 WHERE name = 'starting-fenced';
UPDATE durable.workflow SET max_retries = 1, retry_count = 2 WHERE name = 'starting-slow';
UPDATE durable.workflow SET on_parent_end = 'cancel' WHERE name = 'starting-m1';
SELECT coalesce(w.name, c.task_id::text), c.problem FROM durable.check() c LEFT JOIN durable.workflow w ON w.id = c.task_id ORDER BY 1, 2;
ROLLBACK;
