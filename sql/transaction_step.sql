-- complete() in the same transaction as the user's own writes: both commit or neither. Both ways of the README.
\pset null -
\set VERBOSITY sqlstate
CREATE TEMP TABLE account (name text PRIMARY KEY, amount int CHECK (amount >= 0));
INSERT INTO account VALUES ('a', 100), ('b', 0);
SELECT workflow_id AS w FROM durable.start('transaction-step-1') \gset

-- First way: claim (commit), then BEGIN, writes, complete, COMMIT.
SELECT step_id AS s, action FROM durable.claim_step(:'w', 0, 'transfer', kind => 'TRANSACTION', lease => 1, max_retries => 1) \gset
-- the server or the caller dies before the COMMIT:
BEGIN;
UPDATE account SET amount = amount - 10 WHERE name = 'a';
SELECT durable.complete(:'s', '{"moved": 10}', 1, 1);
ROLLBACK;
SELECT durable.status(:'s'), amount FROM account WHERE name = 'a';
-- again, to the end:
BEGIN;
UPDATE account SET amount = amount - 10 WHERE name = 'a';
UPDATE account SET amount = amount + 10 WHERE name = 'b';
SELECT durable.complete(:'s', '{"moved": 10}', 1, 1);
COMMIT;
SELECT durable.status(:'s'), durable.output(:'s'), (SELECT array_agg(amount ORDER BY name) FROM account) AS amounts;
-- the writes fail: ROLLBACK, then fail; the policy lets it run again.
SELECT step_id AS s, action FROM durable.claim_step(:'w', 1, 'too much', kind => 'TRANSACTION', lease => 1, max_retries => 1) \gset
BEGIN;
UPDATE account SET amount = amount - 1000 WHERE name = 'a';
ROLLBACK;
SELECT status, retry_count FROM durable.fail(:'s', 'no such money', 1, 1);
SELECT action, attempt FROM durable.claim_step(:'w', 1, 'too much', kind => 'TRANSACTION', lease => 1, max_retries => 1);
-- complete refuses (another attempt holds it): the writes go with it.
BEGIN;
UPDATE account SET amount = 0;
SELECT durable.complete(:'s', '1', 1, 1);
COMMIT;
SELECT durable.status(:'s'), array_agg(amount ORDER BY name) AS amounts FROM account;
SELECT durable.complete(:'s', '"second try"', 1, 2);

-- Second way: all in one transaction, with a SAVEPOINT after the claim.
BEGIN;
SELECT step_id AS s, action, attempt FROM durable.claim_step(:'w', 2, 'one transaction', kind => 'TRANSACTION', lease => 1, max_retries => 1) \gset
\echo :action :attempt
SAVEPOINT claimed;
UPDATE account SET amount = amount - 20 WHERE name = 'a';
SELECT durable.complete(:'s', '{"moved": 20}', 1, 1);
COMMIT;
SELECT durable.status(:'s'), array_agg(amount ORDER BY name) AS amounts FROM account;
-- the writes fail: back to the savepoint, fail, COMMIT.
BEGIN;
SELECT step_id AS s, action, attempt FROM durable.claim_step(:'w', 3, 'one transaction, fails', kind => 'TRANSACTION', lease => 1, max_retries => 1) \gset
\echo :action :attempt
SAVEPOINT claimed;
UPDATE account SET amount = amount - 1000 WHERE name = 'a';
ROLLBACK TO SAVEPOINT claimed;
SELECT status, retry_count FROM durable.fail(:'s', 'no such money', 1, 1);
COMMIT;
SELECT durable.status(:'s'), durable.error(:'s'), array_agg(amount ORDER BY name) AS amounts FROM account;
-- a completion that was rolled back to the savepoint has not been; fail is legal then.
BEGIN;
SELECT action, attempt FROM durable.claim_step(:'w', 3, 'one transaction, fails', kind => 'TRANSACTION', lease => 1, max_retries => 1);
SAVEPOINT claimed;
SELECT durable.complete(:'s', '1', 1, 2);
SELECT durable.status(:'s');
ROLLBACK TO SAVEPOINT claimed;
SELECT durable.status(:'s');
SELECT status FROM durable.fail(:'s', 'for good', 1, 2);
COMMIT;
SELECT durable.status(:'s');
-- the whole transaction is lost: nothing of the claim is left, and the next one is the first.
BEGIN;
SELECT action, attempt FROM durable.claim_step(:'w', 4, 'lost', kind => 'TRANSACTION', lease => 1);
SELECT durable.complete(durable.step_id(:'w', 4), '4');
ROLLBACK;
SELECT durable.status(durable.step_id(:'w', 4));
SELECT action, attempt FROM durable.claim_step(:'w', 4, 'lost', kind => 'TRANSACTION', lease => 1);

-- A rollback takes all back: a child, a failure, the end of the workflow and of its children, a takeover, a heartbeat.
SELECT workflow_id AS c FROM durable.start_child(:'w', 5, 'child') \gset
CREATE TEMP TABLE before AS SELECT w::text AS r FROM durable.workflow w WHERE root_id = :'w' UNION ALL SELECT s::text FROM durable.step s WHERE workflow_id IN (:'w', :'c') UNION ALL SELECT e::text FROM durable.executor e;
BEGIN;
SELECT created FROM durable.start_child(:'w', 6, 'another child');
SELECT status FROM durable.fail(durable.step_id(:'w', 4), 'e');
SELECT lease FROM durable.attach(:'w', 'transaction-step-a');
SELECT status FROM durable.heartbeat('transaction-step-b');
SELECT durable.set_timeout(:'w', '1 s');
SELECT durable.complete(:'c');
SELECT durable.complete(:'w');
SELECT created FROM durable.start('transaction-step-1');
ROLLBACK;
SELECT count(*) AS changed FROM (SELECT w::text AS r FROM durable.workflow w WHERE root_id = :'w' UNION ALL SELECT s::text FROM durable.step s WHERE workflow_id IN (:'w', :'c') UNION ALL SELECT e::text FROM durable.executor e EXCEPT ALL SELECT r FROM before) q;
SELECT count(*) FROM durable.workflow WHERE name = 'transaction-step-1';
-- An error inside a block that is caught takes back that block and no more.
DO $$
DECLARE
  w uuid := test.id('transaction-step-1');
BEGIN
  PERFORM durable.claim_step(w, 7, 'caught');
  BEGIN
    PERFORM durable.complete(durable.step_id(w, 7), '7');
    PERFORM durable.claim_step(w, 8, 's', lease => 99);
  EXCEPTION WHEN SQLSTATE 'WF008' THEN
    PERFORM durable.fail(durable.step_id(w, 7), 'caught');
  END;
END $$;
SELECT durable.status(durable.step_id(:'w', 7)), durable.error(durable.step_id(:'w', 7));
SELECT * FROM durable.check();
