-- Callers need USAGE on the schema and EXECUTE on functions, and no privilege on the tables.
\pset null -
\set VERBOSITY sqlstate
CREATE ROLE regress_durable_caller;
CREATE ROLE regress_durable_stranger;
GRANT USAGE ON SCHEMA durable TO regress_durable_caller;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA durable TO regress_durable_caller;
GRANT USAGE ON SCHEMA test TO regress_durable_caller;

-- The caller drives a whole workflow.
SET ROLE regress_durable_caller;
SELECT * FROM test.drive('privileges-1');
-- Twice over: the second run takes the plans of the first.
SELECT count(*) FROM test.drive('privileges-2');

-- It reads and writes no table.
SELECT count(*) FROM durable.workflow;
SELECT count(*) FROM durable.step;
SELECT count(*) FROM durable.executor;
SELECT count(*) FROM durable.queue;
SELECT count(*) FROM durable.task;
INSERT INTO durable.queue (name) VALUES ('privileges');
UPDATE durable.step SET output = '1';
DELETE FROM durable.workflow;
CREATE TABLE durable.mine (x int);

-- The clock is not the caller's.
SET durable.clock_offset = 1000;
RESET ROLE;

-- Neither is it where the library is not loaded yet: the setting made before is thrown away (with a warning).
\c -
\pset null -
\set VERBOSITY sqlstate
SET client_min_messages = error;
SET ROLE regress_durable_caller;
SET durable.clock_offset = 100000;
SELECT workflow_id AS w FROM durable.start('privileges-3') \gset
RESET ROLE;
RESET client_min_messages;
SELECT abs(extract(epoch FROM created_at - clock_timestamp())) < 1000 AS by_the_true_clock FROM durable.workflow WHERE id = :'w';
SHOW durable.clock_offset;

-- Who is not let into the schema gets nowhere.
SET ROLE regress_durable_stranger;
SELECT status FROM durable.start('privileges-4');
RESET ROLE;
SELECT count(*) FROM durable.workflow WHERE name = 'privileges-4';

-- What is not granted is not allowed.
BEGIN;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA durable FROM PUBLIC, regress_durable_caller;
GRANT EXECUTE ON FUNCTION durable.start TO regress_durable_caller;
SET LOCAL ROLE regress_durable_caller;
SELECT created, status FROM durable.start('privileges-5');
SELECT durable.complete('00000000-0000-0000-0000-000000000000');
ROLLBACK;

-- What the caller made is there.
SELECT name, status, lease FROM durable.workflow WHERE name LIKE 'privileges-%' ORDER BY name;

DROP OWNED BY regress_durable_caller, regress_durable_stranger;
DROP ROLE regress_durable_caller, regress_durable_stranger;
SELECT * FROM durable.check();
