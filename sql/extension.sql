-- The extension itself: what it creates, how that is labelled, and that it can be dropped and created
-- again under a session that is using it. Every other file needs this one: it leaves the extension and
-- the schema test with the helpers.
\pset null -
\set VERBOSITY sqlstate
CREATE EXTENSION durable;
SELECT extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'durable';

-- pg_dump keeps every row: all tables are marked for it.
SELECT ARRAY(SELECT c::regclass::text FROM unnest(extconfig) c ORDER BY 1) FROM pg_extension WHERE extname = 'durable';

-- Types.
SELECT t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder)
  FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid
 WHERE t.typnamespace = 'durable'::regnamespace GROUP BY 1 ORDER BY 1;

-- Public columns: none is missing, so no row.
SELECT t.relname, c.column_name AS missing
  FROM (VALUES
    ('workflow', 'id root_id parent_id parent_sequence name handler status lease queue_name priority run_at executor_id app_version input output error timeout deadline recovery_count max_recovery_attempts created_at started_at completed_at'),
    ('step', 'workflow_id sequence name kind status lease attempt executor_id input output error max_retries retry_count backoff backoff_multiplier max_backoff run_at timeout deadline child_id started_at completed_at'),
    ('queue', 'name max_concurrency rate_limit rate_limit_window paused created_at'),
    ('executor', 'executor_id last_seen'),
    ('event', 'workflow_id n topic payload emitted_at'),
    ('task', 'id parent_id sequence name handler status kind input output error queue_name executor_id retry_count max_retries recovery_count created_at started_at completed_at deadline lease attempt')
  ) t(relname, columns), regexp_split_to_table(t.columns, ' ') c(column_name)
 WHERE NOT EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = format('durable.%I', t.relname)::regclass
                      AND a.attname = c.column_name AND a.attnum > 0);

-- Signatures of "Running a workflow", bucket and heartbeat.
CREATE TEMP VIEW mine AS
  SELECT p.* FROM pg_proc p
   WHERE p.pronamespace = 'durable'::regnamespace
     AND p.proname IN ('start', 'attach', 'claim_step', 'complete', 'fail', 'complete_and_claim', 'start_child', 'history',
                       'status', 'input', 'output', 'error', 'is_completed', 'set_timeout', 'step_id', 'bucket', 'heartbeat',
                       'start_many', 'complete_many', 'claim_steps', 'complete_and_claim_many', 'emit', 'events');
\pset tuples_only on
\pset format unaligned
SELECT proname || '(' || pg_get_function_arguments(oid) || ') -> ' || pg_get_function_result(oid) FROM mine ORDER BY 1;
\pset tuples_only off
\pset format aligned

-- Labels: VOLATILE unless they only read, step_id IMMUTABLE, never STRICT where NULL deserves an error.
SELECT provolatile, proparallel, proisstrict, proretset, string_agg(DISTINCT proname, ' ' ORDER BY proname) AS functions
  FROM mine GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;
-- They take on their owner's rights in C, and a search_path of their own; over all functions of the schema, those in SQL
-- say so.
SELECT p.proname, l.lanname, p.prosecdef, p.proconfig FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
 WHERE p.pronamespace = 'durable'::regnamespace AND (l.lanname <> 'c' OR p.prosecdef OR p.proconfig IS NOT NULL) ORDER BY p.oid;
-- What is long is compressed by lz4, where the server has it.
SELECT count(*), bool_and(attcompression = CASE WHEN 'lz4' = ANY (enumvals) THEN 'l' ELSE '' END) AS lz4
  FROM pg_attribute, pg_settings
 WHERE attrelid IN ('durable.workflow'::regclass, 'durable.step'::regclass) AND attname IN ('input', 'output', 'error')
   AND pg_settings.name = 'default_toast_compression';
-- Settings: their defaults, and who may change them.
SELECT name, setting, unit, vartype, context FROM pg_settings
 WHERE name IN ('durable.clock_offset', 'durable.executor_timeout') ORDER BY name;

-- The helpers of all files. ------------------------------------------------------------------------
CREATE SCHEMA test;
-- The latest workflow of that name.
CREATE FUNCTION test.id(n text) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT w.id FROM durable.workflow w WHERE w.name = n ORDER BY w.id DESC LIMIT 1);
END $$;
-- The extension's clock.
CREATE FUNCTION test.clock() RETURNS timestamptz LANGUAGE sql AS $$
  SELECT clock_timestamp() + coalesce((SELECT setting::float8 FROM pg_settings WHERE name = 'durable.clock_offset'), 0) * interval '1 s'
$$;
-- Seconds from now by that clock, to the nearest ten: a slow machine does not show.
CREATE FUNCTION test.seconds(t timestamptz) RETURNS numeric LANGUAGE sql AS $$
  SELECT round(extract(epoch FROM t - test.clock())::numeric, -1)
$$;
-- Ids become <name of the workflow> or <name of the workflow/sequence>, times become <time>.
CREATE FUNCTION test.mask(line text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  u text;
  n text;
  p int;
BEGIN
  FOR u IN SELECT DISTINCT m[1] FROM regexp_matches(line, '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'g') m LOOP
    SELECT w.name INTO n FROM durable.workflow w WHERE w.id = overlay(u PLACING '000000' FROM 31)::uuid;
    p := ('x' || right(u, 6))::bit(24)::int;
    line := replace(line, u, coalesce('<' || n || CASE WHEN p > 0 THEN '/' || p - 1 ELSE '' END || '>', '<unknown>'));
  END LOOP;
  line := regexp_replace(line, '(\w{3} \w{3} \d\d )?(\d{4}-\d\d-\d\d[ T])?\d\d:\d\d:\d\d(\.\d+)?( \d{4})?( ?[A-Z]{3,4}|[+-]\d\d(:?\d\d)?)?', '<time>', 'g');
  RETURN line;
END $$;
-- What a statement answers: its rows, or SQLSTATE and message.
CREATE FUNCTION test.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  r text;
BEGIN
  EXECUTE 'SELECT string_agg(q::text, chr(10)) FROM (' || statement || ') q' INTO r;
  RETURN test.mask(coalesce(r, 'no row'));
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || test.mask(left(SQLERRM, 300));
END $$;
-- The whole error of a statement.
CREATE FUNCTION test.error(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  m text;
  d text;
  h text;
BEGIN
  EXECUTE statement;
  RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
  RETURN test.mask(format(E'%s: %s\n  DETAIL: %s\n  HINT: %s', SQLSTATE, left(m, 300), left(d, 300), left(h, 300)));
END $$;
-- A workflow and all below it: a child beside the status of the step that stands for it at its parent.
CREATE FUNCTION test.show(w uuid) RETURNS TABLE (task text, status text, stand_in text, lease int, attempt int, retries int, error text) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY
    WITH RECURSIVE below AS (
      SELECT t.id, ARRAY[]::int[] AS path FROM durable.workflow t WHERE t.id = w
      UNION ALL
      SELECT t.id, b.path || t.parent_sequence FROM below b JOIN durable.workflow t ON t.parent_id = b.id),
    line AS (
      SELECT b.path, t.name || ':' AS name, t.status::text, s.status::text AS stand_in, t.lease, NULL::int AS attempt, NULL::int AS retries, t.error
        FROM below b JOIN durable.workflow t ON t.id = b.id
        LEFT JOIN durable.step s ON s.workflow_id = t.parent_id AND s.sequence = t.parent_sequence AND cardinality(b.path) > 0
      UNION ALL
      SELECT b.path || s.sequence, s.name, s.status::text, NULL, s.lease, s.attempt, s.retry_count, s.error
        FROM below b JOIN durable.step s ON s.workflow_id = b.id AND s.kind <> 'WORKFLOW')
    SELECT repeat('  ', cardinality(l.path)) || l.name, l.status, l.stand_in, l.lease, l.attempt, l.retries, l.error FROM line l ORDER BY l.path;
END $$;
-- A tree with a task of every kind and status: inline and queued children, what is unfinished below a finished child, at each
-- level. Its queue is <name>-q, its executors are <name>-a (the root) and <name>-b (the child "queued").
CREATE FUNCTION test.world(n text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  c uuid;
  d uuid;
BEGIN
  PERFORM durable.create_queue(n || '-q');
  w := (durable.start(n, '{"in": 1}', n || ' handler', n || '-a', timeout => '10 hours')).workflow_id;
  PERFORM durable.claim_step(w, s, (ARRAY['completed', 'failed', 'running', 'pending'])[s + 1], max_retries => s / 2, backoff => '1 hour') FROM generate_series(0, 3) s;
  PERFORM durable.complete(durable.step_id(w, 0), '"0"'), durable.fail(durable.step_id(w, 1), 'step failed'), durable.fail(durable.step_id(w, 3), 'once');
  c := (durable.start_child(w, 4, 'inline', timeout => '5 hours')).workflow_id;
  PERFORM durable.claim_step(c, 0, 'running', max_retries => 1), durable.claim_step(c, 1, 'pending', max_retries => 1);
  PERFORM durable.fail(durable.step_id(c, 1), 'once');
  d := (durable.start_child(c, 2, 'inline-deep')).workflow_id;
  PERFORM durable.claim_step(d, 0, 'running');
  PERFORM durable.start_child(c, 3, 'queued-deep', queue => n || '-q');
  PERFORM durable.start_child(w, 5, 'queued', queue => n || '-q', priority => 9);
  c := (durable.claim(n || '-q', n || '-b')).workflow_id;
  PERFORM durable.claim_step(c, 0, 'running');
  PERFORM durable.start_child(c, 1, 'queued-inline');
  c := (durable.start_child(w, 6, 'done')).workflow_id;
  PERFORM durable.start_child(c, 0, 'done-queued', queue => n || '-q');
  PERFORM durable.claim_step(c, 1, 'running'), durable.complete(c, '"6"');
  c := (durable.start_child(w, 7, 'broken')).workflow_id;
  PERFORM durable.claim_step(c, 0, 'failed'), durable.claim_step(c, 1, 'pending', max_retries => 1), durable.claim_step(c, 2, 'running');
  PERFORM durable.fail(durable.step_id(c, 0), 'step failed'), durable.fail(durable.step_id(c, 1), 'once');
  PERFORM durable.start_child(c, 3, 'broken-inline');
  PERFORM durable.start_child(c, 4, 'broken-queued', queue => n || '-q');
  PERFORM durable.fail(c, 'child failed');
  c := (durable.start_child(w, 8, 'dropped')).workflow_id;
  PERFORM durable.claim_step(c, 0, 'running'), durable.cancel_tree(c);
  RETURN w;
END $$;
-- One workflow from its first call to its last, through every function of "Running a workflow". (The extension's own types as
-- text: what PL/pgSQL keeps of a type does not outlive DROP EXTENSION, whoever made the type.)
CREATE FUNCTION test.drive(n text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  r record;
  c record;
BEGIN
  SELECT workflow_id, created, status::text, lease, owner INTO r FROM durable.start(n, '{"in": 1}', 'a handler', n || '''s executor', timeout => '1 hour', app_version => '7');
  w := r.workflow_id;
  RETURN NEXT concat_ws(' ', 'start', r.created, r.status, r.lease, r.owner = n || '''s executor');
  SELECT handler, input, name, status::text, lease INTO r FROM durable.attach(w);
  RETURN NEXT concat_ws(' ', 'attach', r.name = n, r.handler, r.input, r.status, r.lease);
  SELECT step_id, action::text, output, attempt INTO r FROM durable.claim_step(w, 0, 'first', '[0]', lease => 1, max_retries => 2);
  RETURN NEXT concat_ws(' ', 'claim_step', r.action, r.attempt, r.step_id = durable.step_id(w, 0));
  SELECT status::text, retry_count, run_at INTO r FROM durable.fail(r.step_id, 'it''s bad', lease => 1, attempt => 1);
  RETURN NEXT concat_ws(' ', 'fail', r.status, r.retry_count, r.run_at <= test.clock());
  SELECT step_id, action::text, output, attempt INTO r FROM durable.claim_step(w, 0, 'first', '[0]', lease => 1, max_retries => 2);
  RETURN NEXT concat_ws(' ', 'claim_step', r.action, r.attempt);
  SELECT step_id, action::text, output, attempt INTO r FROM durable.complete_and_claim(r.step_id, '{"out": 0}', 'second', kind => 'TRANSACTION', lease => 1);
  RETURN NEXT concat_ws(' ', 'complete_and_claim', r.action, r.attempt, r.step_id = durable.step_id(w, 1));
  RETURN NEXT concat_ws(' ', 'complete', durable.complete(r.step_id, NULL, 1), durable.complete(r.step_id, NULL, 1));
  SELECT workflow_id, created, status::text, output, lease INTO c FROM durable.start_child(w, 2, n || '-child', '[2]', lease => 1, timeout => '1 minute');
  RETURN NEXT concat_ws(' ', 'start_child', c.created, c.status, c.lease);
  SELECT step_id, action::text, output, attempt INTO r FROM durable.claim_step(c.workflow_id, 0, 'below', lease => c.lease);
  RETURN NEXT concat_ws(' ', 'below', r.action, durable.complete(r.step_id, '"b"'), durable.complete(c.workflow_id, '"child"', c.lease));
  SELECT workflow_id, created, status::text, output, lease INTO r FROM durable.start_child(w, 2, n || '-child');
  RETURN NEXT concat_ws(' ', 'start_child', r.created, r.status, r.output);
  PERFORM durable.set_timeout(w, NULL);
  FOR r IN SELECT sequence, name, kind::text, status::text, output, attempt, child_id FROM durable.history(w) LOOP
    RETURN NEXT concat_ws(' ', 'history', r.sequence, replace(r.name, n, 'n'), r.kind, r.status, r.output, r.attempt, r.child_id = c.workflow_id);
  END LOOP;
  PERFORM durable.heartbeat(n || '''s executor', ARRAY[w], ARRAY[1]);
  RETURN NEXT concat_ws(' ', 'complete', durable.complete(w, '{"all": "done"}', 1));
  RETURN NEXT concat_ws(' ', 'accessors', durable.status(w)::text, durable.input(w), durable.output(w), durable.is_completed(w), durable.error(w) IS NULL);
  SELECT step_id, action::text, output, attempt INTO r FROM durable.claim_step(w, 1, 'second', kind => 'TRANSACTION', lease => 1);
  RETURN NEXT concat_ws(' ', 'claim_step', r.action, r.output IS NULL, durable.bucket(w) = durable.bucket(n));
END $$;

-- DROP and CREATE in a session that uses it. -----------------------------------------------------------
SELECT * FROM test.drive('extension-1');
SELECT string_agg(l, '; ') AS log FROM test.drive('extension-2') l \gset
PREPARE p AS SELECT created, status::text, lease FROM durable.start('extension-3');
EXECUTE p;
DROP EXTENSION durable;
-- Nothing is left behind.
SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('durable')) AS relations,
       (SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('durable')) AS functions,
       (SELECT count(*) FROM pg_type WHERE typnamespace = to_regnamespace('durable')) AS types;
EXECUTE p;
CREATE EXTENSION durable;
EXECUTE p;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('extension-2') l;
-- The same within one transaction that is then rolled back: the former extension and its rows are back.
BEGIN;
DROP EXTENSION durable;
CREATE EXTENSION durable;
EXECUTE p;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('extension-2') l;
ROLLBACK;
EXECUTE p;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('extension-4') l;
SELECT name, status FROM durable.workflow WHERE name LIKE 'extension-%' ORDER BY name;
DEALLOCATE p;
-- The schema must be there for it alone: nobody else may own it, or create in it, and it must be empty. It may have been there before.
CREATE ROLE regress_durable_squatter;
\set VERBOSITY default
\set SHOW_CONTEXT never
BEGIN;
DROP EXTENSION durable;
SAVEPOINT s;
ALTER SCHEMA durable OWNER TO regress_durable_squatter;
CREATE EXTENSION durable;
ROLLBACK TO s;
GRANT CREATE ON SCHEMA durable TO regress_durable_squatter;
CREATE EXTENSION durable;
ROLLBACK TO s;
GRANT CREATE ON SCHEMA durable TO PUBLIC;
CREATE EXTENSION durable;
ROLLBACK TO s;
CREATE FUNCTION durable.start(text) RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()';
CREATE EXTENSION durable;
ROLLBACK TO s;
CREATE TYPE durable.task_kind;
CREATE EXTENSION durable;
ROLLBACK TO s;
-- An operator there is not called by the script.
CREATE FUNCTION durable.trap(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR durable.= (FUNCTION = durable.trap, LEFTARG = oid, RIGHTARG = regclass);
CREATE EXTENSION durable;
ROLLBACK TO s;
GRANT USAGE ON SCHEMA durable TO regress_durable_squatter;
CREATE EXTENSION durable;
ROLLBACK TO s;
DROP VIEW mine;
DROP SCHEMA durable;
CREATE SCHEMA durable;
CREATE EXTENSION durable;
ROLLBACK TO s;
-- (another superuser's: as in a dump that is restored by another than made it)
ALTER ROLE regress_durable_squatter SUPERUSER;
ALTER SCHEMA durable OWNER TO regress_durable_squatter;
CREATE EXTENSION durable;
ROLLBACK;
\set VERBOSITY sqlstate
\set SHOW_CONTEXT errors
DROP ROLE regress_durable_squatter;
-- All that is in the schema belongs to the extension: no row.
SELECT c.oid::regclass FROM pg_class c
 WHERE c.relnamespace = 'durable'::regnamespace AND c.relkind IN ('r', 'v', 'S', 'm', 'p', 'f')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
