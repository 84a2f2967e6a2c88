-- attach(): who becomes owner, and who joins. Executors are silent after 180 s (durable.executor_timeout).
\pset null -
\set VERBOSITY sqlstate
SELECT status FROM durable.attach('00000000-0000-7000-8000-000000000000');

-- RUNNING without an owner: without an executor_id it joins; with one it becomes owner, lease + 1.
SELECT workflow_id AS w FROM durable.start('attach-1', '{"n": 1}', 'a handler') \gset
SELECT * FROM durable.attach(:'w');
SELECT * FROM durable.attach(:'w', 'attach-a');
-- The same executor: a restart.
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-a');
-- Another one while the owner is alive: joins with the current lease.
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-b');
SELECT status, lease, owner FROM durable.attach(:'w');
-- With takeover: becomes owner all the same.
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-b', true);
-- takeover without an executor_id: a new lease, and nobody's.
SELECT status, lease, owner FROM durable.attach(:'w', takeover => true);

-- A dead owner: silent for longer than 180 s.
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-c');
SET durable.clock_offset = 170;
SELECT lease, owner FROM durable.attach(:'w', 'attach-d');
SET durable.clock_offset = 190;
SELECT lease, owner FROM durable.attach(:'w');
SELECT lease, owner FROM durable.attach(:'w', 'attach-d');
-- The new owner was registered at that moment: it lives 180 s from there.
SET durable.clock_offset = 360;
SELECT lease, owner FROM durable.attach(:'w', 'attach-e');
SET durable.clock_offset = 380;
SELECT lease, owner FROM durable.attach(:'w', 'attach-e');
RESET durable.clock_offset;
-- A heartbeat keeps it alive.
SELECT workflow_id AS w FROM durable.start('attach-2', executor_id => 'attach-f') \gset
SET durable.clock_offset = 100;
SELECT * FROM durable.heartbeat('attach-f');
SET durable.clock_offset = 270;
SELECT lease, owner FROM durable.attach(:'w', 'attach-g');
SET durable.clock_offset = 290;
SELECT lease, owner FROM durable.attach(:'w', 'attach-g');
RESET durable.clock_offset;
-- An owner that is not registered is dead.
SELECT workflow_id AS w FROM durable.start('attach-3', executor_id => 'attach-h') \gset
DELETE FROM durable.executor WHERE executor_id = 'attach-h';
SELECT lease, owner FROM durable.attach(:'w', 'attach-i');
-- The timeout is a setting.
SET durable.executor_timeout = '10 s';
SET durable.clock_offset = 20;
SELECT lease, owner FROM durable.attach(:'w', 'attach-j');
RESET durable.executor_timeout;
RESET durable.clock_offset;

-- An executor_id that attaches as owner is registered; one that only joins is not, joining writes nothing.
SELECT executor_id FROM durable.executor WHERE executor_id IN ('attach-j', 'attach-joins') ORDER BY 1;
SELECT lease, owner FROM durable.attach(:'w', 'attach-joins');
SELECT executor_id FROM durable.executor WHERE executor_id IN ('attach-j', 'attach-joins') ORDER BY 1;

-- A PENDING root without a queue, whatever its run_at: an executor becomes owner, others see it as it is.
SELECT workflow_id AS w FROM durable.start('attach-4', executor_id => 'attach-a', timeout => '1 hour') \gset
SELECT durable.release('attach-a', :'w', '2100-01-01');
SELECT status, lease, owner FROM durable.attach(:'w');
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-a');
SELECT deadline - started_at AS deadline FROM durable.workflow WHERE id = :'w';

-- PAUSED and finished ones are answered as they are, takeover or not.
SELECT workflow_id AS w FROM durable.start('attach-5', executor_id => 'attach-a') \gset
SELECT durable.pause_tree(:'w');
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-b', true);
SELECT status, lease, owner FROM durable.attach(:'w', 'attach-a');
SELECT status, lease FROM durable.workflow WHERE id = :'w';
SELECT workflow_id AS w FROM durable.start('attach-6', executor_id => 'attach-a') \gset
SELECT durable.complete(:'w');
SELECT status, lease FROM durable.attach(:'w', 'attach-b', true);
SELECT workflow_id AS w FROM durable.start('attach-7', executor_id => 'attach-a') \gset
SELECT status FROM durable.fail(:'w', 'bad');
SELECT status, lease FROM durable.attach(:'w', 'attach-a');
SELECT workflow_id AS w FROM durable.start('attach-8') \gset
SELECT durable.cancel_tree(:'w');
SELECT status, lease FROM durable.attach(:'w', 'attach-a', true);

-- An inline child has no owner of its own: attach joins, takeover is WF002 and names the ancestor to take over.
SELECT workflow_id AS w FROM durable.start('attach-9', executor_id => 'attach-a') \gset
SELECT workflow_id AS c, lease FROM durable.start_child(:'w', 0, 'attach-child', '[0]', 'h') \gset
SELECT workflow_id AS g, lease FROM durable.start_child(:'c', 0, 'attach-grandchild') \gset
SELECT workflow_id AS f FROM durable.start_child(:'w', 1, 'attach-finished') \gset
SELECT durable.complete(:'f');
SELECT * FROM durable.attach(:'c', 'attach-b');
SELECT * FROM durable.attach(:'c');
SELECT test.error(format('SELECT durable.attach(%L, %L, true)', :'c', 'attach-b'));
SELECT test.error(format('SELECT durable.attach(%L, takeover => true)', :'g'));
-- Becoming owner of the root raises the leases of all its unfinished inline descendants, and only of those.
SELECT step_id AS s FROM durable.claim_step(:'g', 0, 's', lease => 1) \gset
SELECT lease, owner FROM durable.attach(:'w', 'attach-b', true);
SELECT name, status, lease, executor_id FROM durable.workflow WHERE id IN (:'w', :'c', :'g', :'f') ORDER BY id;
-- So the old driver is fenced out of the whole subtree at once, and the new one claims what it had in flight.
SELECT durable.complete(:'s', '1', 1);
SELECT action FROM durable.claim_step(:'c', 5, 'new', lease => 1);
SELECT created FROM durable.start_child(:'c', 6, 'new', lease => 1);
SELECT durable.complete(:'g', '1', 1);
SELECT status FROM durable.fail(:'c', 'error', 1);
SELECT action, attempt FROM durable.claim_step(:'g', 0, 's', lease => 2);
-- A join raises nothing.
SELECT lease, owner FROM durable.attach(:'w', 'attach-a');
SELECT name, lease FROM durable.workflow WHERE id IN (:'w', :'c', :'g', :'f') ORDER BY id;
SELECT * FROM durable.check();
