-- Workflows and children with a queue, as far as start, attach, claim_step and start_child go.
\pset null -
\set VERBOSITY sqlstate
SELECT durable.create_queue('queued-q');

-- start with a queue: PENDING, lease 0, nobody's, no deadline yet.
SELECT workflow_id AS w, created, status, lease, owner IS NULL AS no_owner FROM durable.start('queued-1', '1', 'h', 'queued-a', 'queued-q', 5, '2100-01-01', '1 hour') \gset
\echo :created :status :lease :no_owner
SELECT queue_name, priority, extract(year FROM run_at AT TIME ZONE 'UTC') AS run_at, started_at, timeout, deadline, executor_id FROM durable.workflow WHERE id = :'w';
-- Found again it is answered as it is, to whomever; so does attach.
SELECT created, status, lease, owner FROM durable.start('queued-1', executor_id => 'queued-a', queue => 'queued-q');
SELECT created, status, lease, owner FROM durable.start('queued-1', executor_id => 'queued-a');
SELECT status, lease, owner FROM durable.attach(:'w', 'queued-a', true);
-- Not claimed from its queue: WF002.
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 0);
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT created FROM durable.start_child(:'w', 0, 'c');
SELECT durable.complete(:'w');
SELECT status FROM durable.fail(:'w', 'e');
SELECT durable.status(:'w');
-- Claimed, it is a workflow like any other.
SELECT workflow_id AS w FROM durable.start('queued-3', executor_id => 'queued-a', queue => 'queued-q') \gset
SELECT workflow_id = :'w' AS same, lease FROM durable.claim('queued-q', 'queued-a');
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT durable.complete(durable.step_id(:'w', 0));
-- Its executor was registered by start, and is alive: another one joins.
SELECT status, lease, owner FROM durable.attach(:'w', 'queued-b');

-- A queued child: PENDING under lease 0; it inherits max_recovery_attempts; the parent goes on.
SELECT workflow_id AS p FROM durable.start('queued-2', executor_id => 'queued-a', max_recovery_attempts => 3) \gset
SELECT workflow_id AS c, created, status, lease FROM durable.start_child(:'p', 0, 'queued-child', '"in"', 'h', 1, 'queued-q', 7, '1 hour') \gset
\echo :created :status :lease
SELECT queue_name, priority, status, lease, executor_id, deadline, parent_sequence, max_recovery_attempts, root_id = :'p' AS root FROM durable.workflow WHERE id = :'c';
SELECT kind, status, child_id = :'c' AS child FROM durable.step WHERE workflow_id = :'p' AND sequence = 0;
-- The parent finds it as it is; that does not set it RUNNING.
SELECT workflow_id = :'c' AS same, created, status, lease FROM durable.start_child(:'p', 0, 'queued-child', queue => 'queued-q');
SELECT created, status, lease FROM durable.start_child(:'p', 0, 'queued-child');
SELECT action FROM durable.claim_step(:'c', 0, 's');
-- On its own: a takeover of the parent leaves its lease, it has an owner, and attach takes it over.
SELECT workflow_id = :'c' AS same, lease FROM durable.claim('queued-q', 'queued-c');
SELECT lease FROM durable.attach(:'p', 'queued-b', true);
SELECT status, lease, owner FROM durable.attach(:'c');
SELECT status, lease, owner FROM durable.attach(:'c', 'queued-d', true);
-- An inline child of it names it as the one to take over.
SELECT workflow_id AS g FROM durable.start_child(:'c', 5, 'queued-grandchild') \gset
SELECT test.error(format('SELECT durable.attach(%L, takeover => true)', :'g'));
SELECT lease FROM durable.attach(:'c', 'queued-e', true);
SELECT lease FROM durable.workflow WHERE id = :'g';
-- Queued children go on when the parent has finished; the outcome still lands on the step row.
SELECT workflow_id AS i FROM durable.start_child(:'p', 1, 'inline') \gset
SELECT workflow_id AS iq FROM durable.start_child(:'i', 0, 'queued-below-inline', queue => 'queued-q') \gset
SELECT durable.complete(:'p', '"p"');
SELECT name, status FROM durable.workflow WHERE root_id = :'p' ORDER BY id;
SELECT action FROM durable.claim_step(:'c', 1, 's');
SELECT durable.complete(durable.step_id(:'c', 1)), durable.complete(:'c', '"late"');
SELECT status, output FROM durable.step WHERE workflow_id = :'p' AND sequence = 0;
SELECT created, status, output FROM durable.start_child(:'p', 0, 'queued-child');

-- Leave no queue behind.
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE queue_name = 'queued-q' AND status IN ('PENDING', 'RUNNING');
SELECT durable.drop_queue('queued-q');
SELECT * FROM durable.check();
