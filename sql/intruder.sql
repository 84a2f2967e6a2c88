-- A worker that wants more than its level: it owns functions, tables, types, operators and casts by the names of the
-- extension's own, in a schema that stands first in its path and in pg_temp. None of them runs with the rights of the owner,
-- the extension's calls do not meet them, and what belongs to the extension stays as it is.
\pset null -
\set VERBOSITY sqlstate
CREATE ROLE regress_durable_intruder;
CREATE ROLE regress_durable_victim;
SELECT durable.grant_to('regress_durable_intruder', 'worker'), durable.grant_to('regress_durable_victim', 'worker');
GRANT USAGE ON SCHEMA test TO regress_durable_intruder, regress_durable_victim;
CREATE SCHEMA intruder AUTHORIZATION regress_durable_intruder;
CREATE SCHEMA "Durable" AUTHORIZATION regress_durable_intruder;
CREATE TEMP TABLE honest AS SELECT string_agg(l, '; ') AS log FROM test.drive('intruder-1') l;
GRANT SELECT ON honest TO regress_durable_intruder;
-- All that there is of the extension, and who may do what with it.
CREATE VIEW test.extension AS
  SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object,
         CASE d.classid WHEN 'pg_proc'::regclass THEN (SELECT concat_ws(' ', f.proacl, f.proowner::regrole, f.probin, f.prosrc, f.proconfig, f.prosecdef) FROM pg_proc f WHERE f.oid = d.objid)
                        WHEN 'pg_class'::regclass THEN (SELECT concat_ws(' ', c.relacl, c.relowner::regrole, c.relhastriggers, c.relhasrules, c.relhassubclass, c.relrowsecurity, c.relnatts) FROM pg_class c WHERE c.oid = d.objid)
                        WHEN 'pg_type'::regclass THEN (SELECT concat_ws(' ', t.typacl, t.typowner::regrole, (SELECT count(*) FROM pg_enum e WHERE e.enumtypid = t.oid)) FROM pg_type t WHERE t.oid = d.objid) END AS state
    FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
   WHERE e.extname = 'durable' AND d.deptype = 'e'
  UNION ALL
  SELECT 'schema durable', concat_ws(' ', nspowner::regrole, nspacl) FROM pg_namespace WHERE nspname = 'durable';
CREATE TEMP TABLE extension_before AS TABLE test.extension;

-- What it makes. ---------------------------------------------------------------------------------------
SET ROLE regress_durable_intruder;
CREATE SEQUENCE intruder.calls;
CREATE FUNCTION intruder.trap() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF current_user <> 'regress_durable_intruder' THEN
    RAISE EXCEPTION 'run as %', current_user USING ERRCODE = 'ZZ666';
  END IF;
  PERFORM pg_catalog.nextval('intruder.calls');
END $$;
DO $$
DECLARE
  s text;
  f record;
  t text;
BEGIN
  FOREACH s IN ARRAY ARRAY['intruder', '"Durable"', 'pg_temp'] LOOP
    -- each function of the extension, with the same arguments
    FOR f IN SELECT proname, oidvectortypes(proargtypes) AS args FROM pg_proc WHERE pronamespace = 'durable'::regnamespace LOOP
      EXECUTE format('CREATE FUNCTION %s.%I(%s) RETURNS int LANGUAGE plpgsql AS %L', s, f.proname, f.args, 'BEGIN PERFORM intruder.trap(); RETURN 1; END');
    END LOOP;
    FOREACH t IN ARRAY ARRAY['hashtext(text)', 'array_append(int[], int)', 'cardinality(int[])'] LOOP
      EXECUTE format('CREATE FUNCTION %s.%s RETURNS int LANGUAGE plpgsql AS %L', s, t, 'BEGIN PERFORM intruder.trap(); RETURN 1; END');
    END LOOP;
    -- each table and view; each type
    FOR t IN SELECT relname FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind IN ('r', 'v') LOOP
      EXECUTE format('CREATE TABLE %s.%I (id uuid, name text, status text, workflow_id uuid, sequence int)', s, t);
    END LOOP;
    FOR t IN SELECT typname FROM pg_type WHERE typnamespace = 'durable'::regnamespace AND typtype = 'e' LOOP
      EXECUTE format('CREATE TYPE %s.%I AS ENUM (%L)', s, t, 'PENDING');
    END LOOP;
  END LOOP;
END $$;
-- Operators and casts of the extension's types: it may make these, since it may use the types.
CREATE FUNCTION intruder.op(durable.task_status, durable.task_status) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN true; END';
CREATE OPERATOR intruder.= (FUNCTION = intruder.op, LEFTARG = durable.task_status, RIGHTARG = durable.task_status);
CREATE FUNCTION intruder.op(durable.task_kind, durable.task_kind) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN true; END';
CREATE OPERATOR intruder.<> (FUNCTION = intruder.op, LEFTARG = durable.task_kind, RIGHTARG = durable.task_kind);
CREATE TYPE intruder.box AS (x text);
CREATE FUNCTION intruder.box(durable.task_status) RETURNS intruder.box LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN ROW(''x''); END';
CREATE FUNCTION intruder.status(intruder.box) RETURNS durable.task_status LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN ''RUNNING''; END';
CREATE FUNCTION intruder.id(intruder.box) RETURNS uuid LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN (SELECT id FROM durable.list(name => ($1).x)); END';
CREATE FUNCTION intruder.name(intruder.box) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN ($1).x; END';
CREATE CAST (durable.task_status AS intruder.box) WITH FUNCTION intruder.box(durable.task_status) AS IMPLICIT;
CREATE CAST (intruder.box AS durable.task_status) WITH FUNCTION intruder.status(intruder.box) AS IMPLICIT;
CREATE CAST (intruder.box AS uuid) WITH FUNCTION intruder.id(intruder.box) AS IMPLICIT;
CREATE CAST (intruder.box AS text) WITH FUNCTION intruder.name(intruder.box) AS IMPLICIT;
CREATE FUNCTION intruder.checked(text) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN PERFORM intruder.trap(); RETURN true; END';
CREATE DOMAIN intruder.name AS text CHECK (intruder.checked(VALUE));

-- The extension's calls do not meet it. ------------------------------------------------------------------
SET search_path = intruder, "Durable", pg_temp, pg_catalog, durable;
-- The trap works: three calls.
SELECT start('x', NULL, NULL, NULL, NULL, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, NULL, 2, NULL), hashtext('x'), 'PENDING'::durable.task_status = 'PENDING'::durable.task_status AS equal;
SELECT count(*) FROM workflow;
SELECT last_value AS calls FROM intruder.calls;
-- A workflow from end to end, a child that fails with its parent, recovery, looking: as honest, and no call of a trap.
SELECT string_agg(l, '; ') = (SELECT log FROM pg_temp.honest) AS same_log FROM test.drive('intruder-1') l;
SELECT workflow_id AS w FROM durable.start('intruder-2', executor_id => 'intruder-e') \gset
SELECT workflow_id AS c FROM durable.start_child(:'w', 0, 'intruder-2-child') \gset
SELECT action FROM durable.claim_step(:'c', 0, 's');
SELECT status, retry_count FROM durable.fail(durable.step_id(:'c', 0), 'boom');
SELECT status FROM durable.fail(:'w', 'boom');
SELECT name, lease, reason FROM durable.recover('intruder-f', stale_after => '0 s', handlers => '{}');
SELECT count(*) FROM durable.heartbeat('intruder-e', ARRAY[:'w']::pg_catalog.uuid[], ARRAY[1]);
SELECT durable.release('intruder-e');
SELECT name, status FROM durable.list(kind => 'WORKFLOW', status => 'FAILED', name => 'intruder-2');
SELECT durable.count(parent_id => :'w');
SELECT pg_catalog.count(*) FROM durable.tree(:'w');
SELECT last_value AS calls FROM intruder.calls;
-- Casts and domains of its own are applied to arguments before the call, with its own rights.
SELECT durable.status(ROW('intruder-2')::intruder.box), durable.count(name => ROW('intruder-2')::intruder.box);
SELECT created, status FROM durable.start('intruder-3'::intruder.name);
SELECT pg_catalog.count(*) FROM durable.list(status => ROW('')::intruder.box, name => 'intruder-3');
SELECT last_value > 3 AS called FROM intruder.calls;
SELECT last_value AS calls FROM intruder.calls \gset
-- Nothing was written to tables of its own.
SELECT (SELECT pg_catalog.count(*) FROM intruder.workflow) AS workflow, (SELECT pg_catalog.count(*) FROM pg_temp.workflow) AS temp_workflow, (SELECT pg_catalog.count(*) FROM "Durable".step) AS step;
RESET ROLE;
RESET search_path;
-- Others that work in the same session find no plan of its making.
SET ROLE regress_durable_victim;
SELECT count(*) FROM test.drive('intruder-4');
RESET ROLE;
SELECT last_value = :calls AS not_called FROM intruder.calls;

-- What belongs to the extension stays as it is. ---------------------------------------------------------
SET ROLE regress_durable_intruder;
CREATE OR REPLACE FUNCTION durable.start(name text) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION durable.status(text) RETURNS int LANGUAGE sql AS 'SELECT 1';
ALTER FUNCTION durable.start SECURITY DEFINER;
ALTER FUNCTION durable.start SET search_path = intruder;
ALTER FUNCTION durable.start RENAME TO started;
ALTER FUNCTION durable.start OWNER TO regress_durable_intruder;
ALTER FUNCTION durable.start SET SCHEMA intruder;
DROP FUNCTION durable.start;
CREATE TABLE intruder.below () INHERITS (durable.workflow);
CREATE TABLE intruder.copy (LIKE durable.workflow);
CREATE TABLE intruder.refers (id uuid REFERENCES durable.workflow);
CREATE TABLE intruder.row (x durable.workflow);
CREATE RULE r AS ON INSERT TO durable.workflow DO ALSO NOTIFY x;
CREATE TRIGGER t BEFORE INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE POLICY p ON durable.workflow;
CREATE STATISTICS s ON id, status FROM durable.workflow;
CREATE PUBLICATION p FOR TABLE durable.workflow;
COPY durable.workflow TO STDOUT;
ALTER TABLE durable.workflow ADD mine int;
ALTER TYPE durable.task_status ADD VALUE 'MINE';
ALTER TYPE durable.task_status RENAME VALUE 'FAILED' TO 'COMPLETE';
ALTER SCHEMA durable RENAME TO mine;
ALTER SCHEMA durable OWNER TO regress_durable_intruder;
CREATE SCHEMA durable;
ALTER EXTENSION durable UPDATE;
ALTER EXTENSION durable ADD TABLE intruder.workflow;
ALTER EXTENSION durable DROP FUNCTION durable.start;
DROP EXTENSION durable CASCADE;
CREATE CAST (uuid AS durable.task_status) WITH INOUT AS IMPLICIT;
-- What it may do it cannot pass on (the server warns, and does nothing).
SET client_min_messages = error;
GRANT EXECUTE ON FUNCTION durable.start TO PUBLIC;
GRANT USAGE ON SCHEMA durable TO PUBLIC;
RESET client_min_messages;
-- A view of its own over the tables reads with its own rights, and the planner's statistics are not its either.
CREATE VIEW intruder.peep AS SELECT id FROM durable.workflow;
SELECT count(*) FROM intruder.peep;
SELECT count(*) FROM pg_stats WHERE schemaname = 'durable';
RESET ROLE;
(TABLE extension_before EXCEPT TABLE test.extension) UNION ALL (TABLE test.extension EXCEPT TABLE extension_before);

SELECT name, status, lease FROM durable.workflow WHERE name LIKE 'intruder-%' ORDER BY name, id;
SET client_min_messages = warning;
DROP SCHEMA intruder, "Durable" CASCADE;
DROP VIEW test.extension;
DROP OWNED BY regress_durable_intruder, regress_durable_victim;
DROP ROLE regress_durable_intruder, regress_durable_victim;
SELECT * FROM durable.check();
