-- A workflow goes on in a next run of its name; durable.max_steps tells when it has to.
\set VERBOSITY sqlstate

-- without a queue: driven by the same executor; untaken signals go there, taken ones stay
SELECT workflow_id AS w FROM durable.start('ca loop', '{"n": 1}', 'h', 'ex', timeout => '1 hour', max_recovery_attempts => 7,
	app_version => 'v1', tags => '{"customer": 42}') \gset
SELECT durable.signal(:'w', 'go', '1', 'k1'), durable.signal(:'w', 'go', '2', 'k2'), durable.signal(:'w', 'stop');
SELECT action, output FROM durable.await_signal(:'w', 0, 'go', lease => 1);
SELECT workflow_id AS n, status, lease FROM durable.continue_as(:'w', '{"n": 2}', 1) \gset
\echo :status :lease
SELECT name, handler, status, lease, executor_id, input, output, timeout, max_recovery_attempts, app_version,
	deadline = started_at + '1 hour' AS has_deadline,
	continued_as = :'n' AS goes_on, continued_from = :'w' AS went_on, root_id = id AS is_root
FROM durable.workflow WHERE name = 'ca loop' ORDER BY created_at;
SELECT id = :'n' AS is_next, tags FROM durable.task WHERE name = 'ca loop' ORDER BY created_at;
SELECT name, key, workflow_id = :'n' AS is_there, sequence FROM durable.signal WHERE workflow_id IN (:'w', :'n') ORDER BY id;
SELECT action, output FROM durable.await_signal(:'n', 0, 'go', lease => 1);
SELECT workflow_id = :'n' AS is_next FROM durable.start('ca loop');

-- again: the same answer, whatever has become of the next run
SELECT workflow_id = :'n' AS same, status, lease FROM durable.continue_as(:'w', '{"n": 2.0}', 1);
SELECT lease FROM durable.attach(:'n', 'other', takeover => true);
SELECT workflow_id = :'n' AS same, status, lease FROM durable.continue_as(:'w', '{"n": 2}', NULL);
SELECT durable.complete(:'n', lease => 2);
SELECT workflow_id = :'n' AS same, status, lease FROM durable.continue_as(:'w', '{"n": 2}', 1);
\set VERBOSITY sqlstate
-- with another input, by another lease, of a run that was completed otherwise
SELECT durable.continue_as(:'w', '{"n": 3}', 1);
SELECT durable.continued_as(:'w') = :'n' AS goes_on_there, durable.continued_as(:'n') AS last;
SELECT durable.continued_as(durable.step_id(:'w', 0));
SELECT durable.continued_as('01900000-0000-7000-8000-000000000000');
SELECT durable.continued_as(NULL);
SELECT test.error(format('SELECT durable.continue_as(%L, NULL, 1)', :'w'));
SELECT durable.continue_as(:'w', '{"n": 2}', 2);
SELECT durable.continue_as(:'n', '{"n": 2}', 2);

-- a signal that is sent again is known where it went; one that is new comes too late for the old run
SELECT durable.signal(:'w', 'go', '2', 'k2'), durable.signal(:'w', 'go', '1', 'k1');
SELECT durable.signal(:'w', 'go', '3', 'k3');

-- with a queue: waits there with what it has from the old run; the slot is free
SELECT durable.create_queue('cq', max_concurrency => 1);
SELECT created FROM durable.start('ca queued', '1', 'h', queue => 'cq', priority => 3, concurrency_key => 'key');
SELECT workflow_id AS w FROM durable.claim('cq', 'ex') \gset
SELECT workflow_id AS n, status, lease FROM durable.continue_as(:'w', '2', 1) \gset
\echo :status :lease
SELECT status, lease, executor_id, queue_name, priority, concurrency_key, started_at IS NULL AS is_new FROM durable.workflow
WHERE id = :'n';
SELECT workflow_id = :'n' AS is_next, input, lease FROM durable.claim('cq', 'ex');
-- a chain
SELECT workflow_id AS n2 FROM durable.continue_as(:'n', '3', 1) \gset
SELECT workflow_id = :'n' AS same, status, lease FROM durable.continue_as(:'w', '2', 1);
SELECT count(*), count(continued_as), count(continued_from) FROM durable.workflow WHERE name = 'ca queued';
-- the next run was given another input before it ran, as any that waits: the answer is the same all the same
SELECT created, replaced FROM durable.start('ca queued', '4', queue => 'cq', if_active => 'replace');
SELECT workflow_id = :'n2' AS same, status, lease FROM durable.continue_as(:'n', '3', 1);
SELECT input, lease FROM durable.claim('cq', 'ex');
SELECT workflow_id = :'n2' AS same, status, lease FROM durable.continue_as(:'n', '3', 1);
SELECT durable.release('ex', :'n2');

-- what the old run leaves: its inline children are cancelled with it, queued ones go on
SELECT workflow_id AS w FROM durable.start('ca parent', executor_id => 'ex') \gset
SELECT workflow_id AS inline FROM durable.start_child(:'w', 0, 'inline') \gset
SELECT workflow_id AS queued FROM durable.start_child(:'w', 1, 'on its own', queue => 'cq') \gset
SELECT durable.continue_as(:'inline', '2', 1);
SELECT status FROM durable.continue_as(:'w', '2', 1);
SELECT durable.status(:'w'), durable.status(:'inline'), durable.status(:'queued');

-- in which status
SELECT workflow_id AS w FROM durable.start('ca held', executor_id => 'ex') \gset
SELECT durable.pause_tree(:'w');
SELECT durable.continue_as(:'w', '2', 1);
SELECT durable.resume_tree(:'w'), durable.cancel_tree(:'w');
SELECT durable.continue_as(:'w', '2', 1);
SELECT workflow_id AS w FROM durable.start('ca failed', executor_id => 'ex') \gset
SELECT status FROM durable.fail(:'w', 'boom');
SELECT durable.continue_as(:'w', '2', 1);
SELECT created FROM durable.start('ca waits', queue => 'cq');
SELECT durable.continue_as(test.id('ca waits'), '2', 0);
SELECT durable.continue_as(gen_random_uuid(), '2', 1);
SELECT durable.continue_as(NULL, '2', 1);
-- repeated, when the next run was purged before this one: with which input is not known any more
SELECT workflow_id AS w FROM durable.start('ca alone', executor_id => 'ex') \gset
SELECT workflow_id AS n FROM durable.continue_as(:'w', '2', 1) \gset
SELECT status FROM durable.fail(:'n', 'boom');
BEGIN;
SELECT workflows > 0 AS purged FROM durable.purge('0', status => '{FAILED}');
SELECT workflow_id = :'n' AS the_same, status, lease FROM durable.continue_as(:'w', '2', 1);
SELECT durable.status(:'n');
ROLLBACK;
-- rolled back
SELECT workflow_id AS w FROM durable.start('ca back', executor_id => 'ex') \gset
BEGIN;
SELECT status FROM durable.continue_as(:'w', '2', 1);
ROLLBACK;
SELECT status, continued_as FROM durable.workflow WHERE name = 'ca back';

-- a run of a schedule stays one
SELECT durable.create_schedule('cs', '0 0 1 1 *', 'cq') \gset
SELECT durable.trigger_schedule('cs') AS w \gset
SELECT durable.alter_queue('cq');
SELECT workflow_id = :'w' AS is_run FROM durable.claim('cq', 'ex', 10) WHERE name LIKE 'cs@%';
SELECT workflow_id AS n FROM durable.continue_as(:'w', '2', 1) \gset
SELECT n.scheduled_by, n.scheduled_for = w.scheduled_for AS same FROM durable.workflow w, durable.workflow n
WHERE w.id = :'w' AND n.id = :'n';
SELECT count(*) FROM durable.active_run WHERE id = :'n';
SELECT durable.drop_schedule('cs') \gset

-- max_steps: each way to a new position; what is recorded is answered as before
SELECT workflow_id AS w FROM durable.start('ca long', executor_id => 'ex') \gset
SELECT action FROM durable.claim_steps(:'w', 0, '{a,b}', lease => 1);
SET durable.max_steps = 2;
SELECT action FROM durable.claim_step(:'w', 1, 'b', lease => 1);
SELECT durable.claim_step(:'w', 2, 'c', lease => 1);
SELECT durable.claim_step(:'w', 2, 'c');
SELECT durable.sleep(:'w', 2, 'c', '1 s', lease => 1);
SELECT durable.await_signal(:'w', 2, 'c', lease => 1);
SELECT durable.start_child(:'w', 2, 'c', lease => 1);
SELECT sequence, action, left(error, 5) FROM durable.claim_steps(:'w', 1, '{b,c}', lease => 1);
SELECT action, left(error, 5) FROM durable.complete_and_claim(durable.step_id(:'w', 0), '0', 'c', 2, lease => 1);
SELECT action, left(error, 5) FROM durable.complete_and_claim_many(ARRAY[durable.step_id(:'w', 1)], '{1}', '{c}', '{1}');
SELECT sequence, status FROM durable.history(:'w');
SELECT durable.claim_step(:'w', 2, 'c', lease => 9);
SELECT test.error(format('SELECT durable.claim_step(%L, 2, ''c'')', :'w'));
SET durable.max_steps = 0;
SELECT action FROM durable.claim_step(:'w', 16777213, 'last', lease => 1);
SET durable.max_steps = 16777214;
SET durable.max_steps = -1;
RESET durable.max_steps;
SHOW durable.max_steps;
SELECT durable.claim_step(:'w', 100000, 'c', lease => 1);
SELECT action FROM durable.claim_step(:'w', 99999, 'c', lease => 1);
SELECT * FROM durable.check();
-- (other files empty the tables of workflows and steps only)
TRUNCATE durable.signal, durable.workflow_tags;
