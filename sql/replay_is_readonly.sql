-- A call that only reads takes no lock and no transaction id, also as part of a transaction.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('replay-1', '1', executor_id => 'replay-a') \gset
SELECT action FROM durable.claim_step(:'w', 0, 'completed', kind => 'TRANSACTION');
SELECT durable.complete(durable.step_id(:'w', 0), '{"out": 0}');
SELECT action FROM durable.claim_step(:'w', 1, 'null');
SELECT durable.complete(durable.step_id(:'w', 1));
SELECT action FROM durable.claim_step(:'w', 2, 'failed');
SELECT status FROM durable.fail(durable.step_id(:'w', 2), 'bad');
SELECT workflow_id AS c3 FROM durable.start_child(:'w', 3, 'child completed') \gset
SELECT durable.complete(:'c3', '"c3"');
SELECT workflow_id AS c4 FROM durable.start_child(:'w', 4, 'child failed') \gset
SELECT status FROM durable.fail(:'c4', 'c4 bad');
SELECT workflow_id AS c5 FROM durable.start_child(:'w', 5, 'child running') \gset
SELECT workflow_id AS p FROM durable.start('replay-paused') \gset
SELECT durable.pause_tree(:'p');
SELECT workflow_id AS f FROM durable.start('replay-finished') \gset
SELECT action FROM durable.claim_step(:'f', 0, 's');
SELECT durable.complete(durable.step_id(:'f', 0), '"s"'), durable.complete(:'f', '"f"');

-- One transaction, all that only reads: no transaction id at the end of it.
BEGIN;
SELECT action, output FROM durable.claim_step(:'w', 0, 'completed', kind => 'TRANSACTION', lease => 1, executor_id => 'replay-a');
SELECT action, output FROM durable.claim_step(:'w', 1, 'null', '{"in": 1}', lease => 1);
SELECT action, error FROM durable.claim_step(:'w', 2, 'failed', max_retries => 3);
SELECT action, output FROM durable.claim_step(:'f', 0, 's');
SELECT created, status, output FROM durable.start_child(:'w', 3, 'child completed', lease => 1);
SELECT created, status, error FROM durable.start_child(:'w', 4, 'child failed');
SELECT status, lease, owner FROM durable.attach(:'w');
SELECT status, lease, owner FROM durable.attach(:'w', 'replay-another');
SELECT status, lease, owner FROM durable.attach(:'c5', 'replay-a');
SELECT status, lease FROM durable.attach(:'p', 'replay-a');
SELECT status FROM durable.attach(:'f', 'replay-a', true);
SELECT created, status, lease, owner FROM durable.start('replay-1');
SELECT created, status, lease, owner FROM durable.start('replay-1', executor_id => 'replay-another');
SELECT created, status FROM durable.start('replay-paused', executor_id => 'replay-a');
SELECT sequence, status FROM durable.history(:'w');
SELECT durable.status(:'w'), durable.input(:'w'), durable.output(:'w'), durable.error(:'w'), durable.is_completed(:'w');
SELECT durable.status(durable.step_id(:'w', 2)), durable.error(durable.step_id(:'w', 2)), durable.bucket(:'w'::uuid) = durable.bucket('replay-1') AS bucket;
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
-- No lock above the one that any SELECT takes on a table (but that of the buckets), and none on a row (that would have needed an id).
SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('relation', 'tuple', 'advisory') ORDER BY 1;
-- The first that writes takes one.
SELECT action FROM durable.claim_step(:'w', 9, 'new');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
ROLLBACK;

-- However often in one transaction, what is tried in vain leaves no lock behind.
BEGIN;
SELECT count(durable.complete(durable.step_id(:'w', 0), '{"out": 0}')) FROM generate_series(1, 1001);
SELECT DISTINCT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('tuple', 'advisory');
ROLLBACK;

-- So all of it runs in a READ ONLY transaction, and on a standby.
BEGIN READ ONLY;
SELECT action, output FROM durable.claim_step(:'w', 0, 'completed', kind => 'TRANSACTION', lease => 1, executor_id => 'replay-a');
SELECT action, error FROM durable.claim_step(:'w', 2, 'failed');
SELECT created, status, output FROM durable.start_child(:'w', 3, 'child completed', lease => 1);
SELECT created, status, error FROM durable.start_child(:'w', 4, 'child failed');
SELECT status, lease, owner FROM durable.attach(:'w', 'replay-another');
SELECT created, status, lease, owner FROM durable.start('replay-1', executor_id => 'replay-another');
SELECT count(*) FROM durable.history(:'w');
SELECT durable.output(durable.step_id(:'w', 0)), (SELECT count(*) FROM durable.task WHERE parent_id = :'w') AS tasks;
COMMIT;
-- There, what has to write is refused by the server: 25006.
BEGIN READ ONLY;
SELECT action FROM durable.claim_step(:'w', 9, 'new');
ROLLBACK;
BEGIN READ ONLY;
SELECT created FROM durable.start('replay-new');
ROLLBACK;

-- The rows themselves are untouched: the same versions at the same places after a thousand replays.
CREATE TEMP VIEW versions AS
  SELECT 'step' AS t, ctid::text AS place, xmin::text AS made, xmax::text AS locked FROM durable.step
  UNION ALL SELECT 'workflow', ctid::text, xmin::text, xmax::text FROM durable.workflow
  UNION ALL SELECT 'executor', ctid::text, xmin::text, xmax::text FROM durable.executor;
CREATE TEMP TABLE before AS SELECT * FROM versions;
SELECT count(action) FROM generate_series(1, 1000) n, LATERAL durable.claim_step(:'w', 0, 'completed', kind => 'TRANSACTION', lease => 1 + n * 0, executor_id => 'replay-a');
SELECT count(*) FROM generate_series(1, 100) n, LATERAL durable.attach(:'w', 'replay-another-' || n);
SELECT count(*) FROM generate_series(1, 100) n, LATERAL durable.start_child(:'w', 3, 'child completed', to_jsonb(n));
SELECT count(*) AS changed FROM (SELECT * FROM versions EXCEPT SELECT * FROM before) q;
SELECT * FROM durable.check();
