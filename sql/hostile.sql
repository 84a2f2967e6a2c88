-- Safe against a hostile search_path and hostile settings: functions, operators, types and tables of
-- the same names stand first in the path, before a plan is made. Any use of one raises "hijacked".
\c -
\pset null -
\set VERBOSITY sqlstate
CREATE SCHEMA evil;
CREATE FUNCTION evil.hijacked() RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked' USING ERRCODE = 'ZZ666'; END $$;
DO $$
DECLARE
  t text;
  o text;
  f text;
BEGIN
  -- Operators on every type that a plan may compare.
  FOREACH t IN ARRAY ARRAY['uuid', 'text', 'jsonb', 'int', 'bigint', 'boolean', 'timestamptz', 'interval', 'float8', 'text[]', 'uuid[]', 'durable.task_status', 'durable.task_kind'] LOOP
    EXECUTE format('CREATE FUNCTION evil.op(%s, %1$s) RETURNS boolean LANGUAGE plpgsql AS %L', t,
                   'BEGIN PERFORM evil.hijacked(); RETURN true; END');
    FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '||', '@>'] LOOP
      EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op, LEFTARG = %s, RIGHTARG = %2$s)', o, t);
    END LOOP;
  END LOOP;
  FOREACH o IN ARRAY ARRAY['+', '-', '*'] LOOP
    EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op, LEFTARG = int, RIGHTARG = int)', o);
    EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.op, LEFTARG = bigint, RIGHTARG = bigint)', o);
  END LOOP;
  CREATE FUNCTION evil.op2(timestamptz, interval) RETURNS timestamptz LANGUAGE plpgsql AS 'BEGIN PERFORM evil.hijacked(); RETURN $1; END';
  CREATE OPERATOR evil.+ (FUNCTION = evil.op2, LEFTARG = timestamptz, RIGHTARG = interval);
  CREATE OPERATOR evil.- (FUNCTION = evil.op2, LEFTARG = timestamptz, RIGHTARG = interval);
  -- Functions.
  FOREACH f IN ARRAY ARRAY['now()', 'clock_timestamp()', 'transaction_timestamp()', 'gen_random_uuid()', 'lower(text)', 'upper(text)', 'format(text)',
                           'length(text)', 'substr(text, int)', 'int4(text)', 'text(uuid)', 'uuid_eq(uuid, uuid)', 'texteq(text, text)', 'jsonb_eq(jsonb, jsonb)',
                           'step_id(uuid, int)', 'bucket(text)', 'bucket(uuid)', 'status(uuid)', 'start(text)', 'complete(uuid, jsonb)', 'array_length(text[], int)'] LOOP
    EXECUTE format('CREATE FUNCTION evil.%s RETURNS boolean LANGUAGE plpgsql AS %L', f, 'BEGIN PERFORM evil.hijacked(); RETURN true; END');
  END LOOP;
  -- Types and tables.
  FOREACH t IN ARRAY ARRAY['text', 'uuid', 'jsonb', 'int4', 'interval', 'timestamptz', 'bool', 'float8', 'task_status', 'task_kind', 'claim_action'] LOOP
    EXECUTE format('CREATE TYPE evil.%I AS ENUM (%L)', t, 'evil');
  END LOOP;
  FOREACH t IN ARRAY ARRAY['workflow', 'step', 'queue', 'executor', 'task', 'pg_class', 'pg_proc', 'pg_type', 'pg_extension', 'unnest'] LOOP
    EXECUTE format('CREATE TABLE evil.%I (id pg_catalog.uuid, name pg_catalog.text)', t);
  END LOOP;
END $$;
SELECT string_agg(l, '; ') AS honest FROM test.drive('hostile-1') l \gset

-- A new session, whose first plans are made under that path.
\c -
\pset null -
\set VERBOSITY sqlstate
SET search_path = evil, pg_temp, pg_catalog, durable;
CREATE TEMP TABLE workflow (id pg_catalog.int4);
CREATE TEMP TABLE step (workflow_id pg_catalog.int4);
-- The trap works.
SELECT 1 = 1;
SELECT clock_timestamp();
-- Each function.
SELECT workflow_id AS w, created, status, lease, owner FROM durable.start('hostile-2', '{"a": 1}', 'h', 'hostile-executor', timeout => '1 hour') \gset
\echo :created :status :lease :owner
SELECT created, status, lease, owner FROM durable.start('hostile-2', executor_id => 'hostile-executor');
SELECT name, handler, input, status, lease, owner FROM durable.attach(:'w', 'hostile-executor', true);
SELECT action, attempt, step_id AS s FROM durable.claim_step(:'w', 0, 'one', '[1]', lease => 3, executor_id => 'hostile-executor', max_retries => 3, backoff => '1 hour', max_backoff => '2 hours', timeout => '1 hour') \gset
\echo :action :attempt
SELECT status, retry_count FROM durable.fail(:'s', 'error', 3, 1);
SELECT action FROM durable.claim_step(:'w', 0, 'one');
SELECT action, step_id AS s FROM durable.claim_step(:'w', 1, 'two') \gset
SELECT action, step_id AS s FROM durable.complete_and_claim(:'s', '"2"', 'three', lease => 3, attempt => 1) \gset
\echo :action
SELECT durable.complete(:'s', '"3"'), durable.complete(:'s', '"3"');
SELECT action, output FROM durable.claim_step(:'w', 2, 'three');
SELECT created, status, lease, workflow_id AS c FROM durable.start_child(:'w', 3, 'child', '{}', 'h', 3, timeout => '1 hour') \gset
\echo :created :status :lease
SELECT durable.complete(:'c', '"c"');
SELECT created, status, output FROM durable.start_child(:'w', 3, 'child');
SELECT sequence, name, kind, status, output, error, attempt FROM durable.history(:'w');
SELECT durable.set_timeout(:'w', '3 hours');
SELECT durable.set_timeout(:'w', NULL);
SELECT durable.status(:'s'), durable.input(:'w'), durable.output(:'s'), durable.error(:'s'), durable.is_completed(:'s');
SELECT durable.bucket('123456789');
SELECT status, lease, owner FROM durable.heartbeat('hostile-executor', '{}', '{}');
SELECT durable.claim_step(:'w', 0, 'other');
SELECT durable.complete(:'w', '1', 2);
SELECT durable.complete(:'w', '{"done": true}', 3);
RESET search_path;
SELECT name, kind, status, output, error, attempt, lease FROM durable.task
 WHERE id = :'w' OR parent_id = :'w' ORDER BY sequence NULLS FIRST;

-- Settings that change how values are written and how statements are planned.
\c -
SET DateStyle = 'SQL, DMY';
SET IntervalStyle = 'sql_standard';
SET TimeZone = 'Asia/Kathmandu';
SET extra_float_digits = -15;
SET plan_cache_mode = force_custom_plan;
SET session_replication_role = replica;
SET row_security = off;
SET enable_indexscan = off;
SET enable_bitmapscan = off;
SET default_transaction_deferrable = on;
SET check_function_bodies = off;
SET array_nulls = off;
SET transform_null_equals = on;
SET from_collapse_limit = 1;
SET join_collapse_limit = 1;
SET geqo_threshold = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET constraint_exclusion = off;
-- (some have another name, or one value only, in other versions)
SELECT count(set_config(name, 'on', false)) AS parallel FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
DO $$ BEGIN SET standard_conforming_strings = off; EXCEPTION WHEN feature_not_supported OR invalid_parameter_value THEN NULL; END $$;
SET client_min_messages = debug1;
SELECT string_agg(l, '; ') = :'honest' AS same_log FROM test.drive('hostile-3') l;
RESET client_min_messages;
SELECT extract(epoch FROM timeout) AS timeout, extract(epoch FROM deadline - started_at) AS deadline
  FROM durable.workflow WHERE name = 'hostile-3-child';
SELECT count(*) FROM durable.list(name => 'hostile-3', kind => 'WORKFLOW');
SELECT count(*) FROM durable.list(parent_id => test.id('hostile-3'), sort => 'name');
SELECT durable.count(name => 'hostile-3-child', root_only => false);
SELECT count(*) > 0 AS stats FROM durable.stats;
SELECT count(*) AS lock_waits FROM durable.lock_waits;
SELECT length(durable.metrics()) > 0 AS metrics;
SELECT * FROM durable.purge('100 years');
SELECT regexp_replace(t, ' [0-9.]+ m?s$', '') AS tree FROM durable.tree(test.id('hostile-3')) t;
SELECT sequence, name, status FROM durable.history(test.id('hostile-3'));
SELECT * FROM durable.check();
SELECT workflow_id AS w FROM durable.start('hostile-5') \gset
SELECT durable.pause_tree(:'w'), durable.resume_tree(:'w'), durable.cancel_tree(:'w');

-- The owner's rights, and its search_path, end with the call, however it ends.
\c -
CREATE ROLE regress_durable_caller;
SELECT durable.grant_to('regress_durable_caller', 'worker');
GRANT USAGE ON SCHEMA evil TO regress_durable_caller;
SET ROLE regress_durable_caller;
SET search_path = evil, pg_catalog;
CREATE TEMP VIEW pg_temp.rights AS
  SELECT current_user, pg_catalog.current_schemas(false) AS path,
    pg_catalog.has_table_privilege('durable.workflow', 'SELECT') AS "table";
TABLE pg_temp.rights;
SELECT created FROM durable.start('hostile-4');
TABLE pg_temp.rights;
BEGIN;
SAVEPOINT a;
SELECT durable.status('00000000-0000-7000-8000-000000000000');
ROLLBACK TO a;
TABLE pg_temp.rights;
SELECT pg_catalog.count(*) FROM durable.workflow;
ROLLBACK;
DO $$
BEGIN
  PERFORM durable.complete('00000000-0000-7000-8000-000000000000');
EXCEPTION WHEN SQLSTATE 'WF001' THEN
  PERFORM pg_catalog.count(*) FROM durable.workflow;
END $$;
TABLE pg_temp.rights;
RESET ROLE;
RESET search_path;
DROP VIEW pg_temp.rights;
DROP OWNED BY regress_durable_caller;
DROP ROLE regress_durable_caller;

SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
SELECT * FROM durable.check();
