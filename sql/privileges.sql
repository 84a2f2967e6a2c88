-- Who may do what: every function, table, view and type of the extension, tried by a role of each level, by one without
-- any, by one that is let into the schema and no more, and by the owner, for whom each attempt must succeed.
\pset null -
\set VERBOSITY sqlstate
CREATE ROLE regress_durable_none;
CREATE ROLE regress_durable_guest;
CREATE ROLE regress_durable_reader;
CREATE ROLE regress_durable_client;
CREATE ROLE regress_durable_worker;
CREATE ROLE regress_durable_operator;
GRANT USAGE ON SCHEMA durable TO regress_durable_guest;
SELECT durable.grant_to('regress_durable_reader', 'reader'),
       durable.grant_to('regress_durable_client', 'client'),
       durable.grant_to('regress_durable_worker', 'worker'),
       durable.grant_to('regress_durable_operator', 'operator');
GRANT USAGE ON SCHEMA test TO PUBLIC;
CREATE SCHEMA privileges_own;
GRANT USAGE, CREATE ON SCHEMA privileges_own TO PUBLIC;

-- What comes of a statement as that role, undone at once: x it ran, or refused its arguments; - it was not allowed.
CREATE FUNCTION test.attempt(as_role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('role', as_role, true);
  EXECUTE statement;
  RAISE EXCEPTION 'undo' USING ERRCODE = 'ZZ000';
EXCEPTION
  WHEN insufficient_privilege THEN RETURN '-';
  WHEN OTHERS THEN RETURN CASE WHEN SQLSTATE ~ '^(ZZ|22|WF)' THEN 'x' ELSE SQLSTATE END;
END $$;
CREATE VIEW test.attempts AS
  WITH member AS (SELECT classid, objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                   WHERE e.extname = 'durable' AND d.deptype = 'e'),
  relation AS (SELECT c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND m.objid = c.oid)
  -- each function, called with NULL for each argument
  SELECT 'function' AS what, p.proname AS name, 'call' AS attempt,
         format('%s durable.%I(%s)', CASE p.prokind WHEN 'p' THEN 'CALL' ELSE 'SELECT' END, p.proname, (SELECT string_agg(format('NULL::%s', t), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[]::regtype[]) WITH ORDINALITY a(t, n))) AS statement
    FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
  UNION ALL
  SELECT 'relation', r.relname, a.attempt, format(a.statement, r.relname, (SELECT attname FROM pg_attribute WHERE attrelid = r.oid AND attnum = 1))
    FROM relation r, (VALUES ('rv', 'select', 'SELECT 1 FROM durable.%I'),
                             ('rv', 'select row', 'SELECT t FROM durable.%I t'),
                             ('r', 'insert', 'INSERT INTO durable.%I SELECT * FROM durable.%1$I LIMIT 0'),
                             ('r', 'update', 'UPDATE durable.%I SET %I = %2$I'),
                             ('r', 'delete', 'DELETE FROM durable.%I'),
                             ('r', 'truncate', 'TRUNCATE durable.%I CASCADE'),
                             ('r', 'lock', 'LOCK TABLE durable.%I IN ACCESS SHARE MODE'),
                             ('r', 'for update', 'SELECT 1 FROM durable.%I FOR UPDATE'),
                             ('r', 'trigger', 'CREATE TRIGGER t AFTER INSERT ON durable.%I EXECUTE FUNCTION suppress_redundant_updates_trigger()'),
                             ('r', 'index', 'CREATE INDEX ON durable.%I (%I)'),
                             ('r', 'alter', 'ALTER TABLE durable.%I ALTER %I SET STATISTICS 100'),
                             ('r', 'policy', 'CREATE POLICY p ON durable.%I'),
                             ('rv', 'comment', 'COMMENT ON COLUMN durable.%I.%I IS NULL'),
                             ('rv', 'own', 'ALTER TABLE durable.%I OWNER TO CURRENT_USER')) a(kinds, attempt, statement)
   WHERE strpos(a.kinds, r.relkind) > 0
  UNION ALL
  SELECT 'type', t.typname, 'use', format('CREATE TABLE privileges_own.t (x durable.%I)', t.typname)
    FROM pg_type t
   WHERE t.typcategory <> 'A' AND (t.typrelid IN (SELECT oid FROM relation) OR t.oid IN (SELECT objid FROM member WHERE classid = 'pg_type'::regclass))
  UNION ALL
  SELECT 'schema', NULL, a.attempt, a.statement
    FROM (VALUES ('create a table', 'CREATE TABLE durable.mine (x int)'),
                 ('create a function', 'CREATE FUNCTION durable.start(uuid) RETURNS int LANGUAGE sql AS ''SELECT 1'''),
                 ('refer to a table', 'CREATE TABLE privileges_own.t (x uuid REFERENCES durable.workflow)'),
                 ('look up a name', 'SELECT pg_catalog.pg_typeof(''PENDING''::durable.task_status)')) a(attempt, statement);
CREATE VIEW test.matrix AS
  SELECT what, name, attempt,
         test.attempt('regress_durable_none', statement) AS none, test.attempt('regress_durable_guest', statement) AS guest,
         test.attempt('regress_durable_reader', statement) AS reader,
         test.attempt('regress_durable_client', statement) AS client, test.attempt('regress_durable_worker', statement) AS worker,
         test.attempt('regress_durable_operator', statement) AS operator, test.attempt(current_user, statement) AS owner
    FROM test.attempts;
-- Each function by its lowest level. (grant_to and revoke_from belong to none.)
SELECT name, none, guest, reader, client, worker, operator, owner FROM test.matrix WHERE what = 'function'
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY reader DESC, client DESC, worker DESC, operator DESC, name;
-- Tables and views: each attempt that anybody but the owner may make, or that the owner may not; none is missing.
SELECT name, string_agg(attempt, ', ' ORDER BY attempt) AS attempts, none, guest, reader, client, worker, operator, owner FROM test.matrix WHERE what = 'relation'
 GROUP BY name, none, guest, reader, client, worker, operator, owner ORDER BY name;
SELECT name, none, guest, reader, client, worker, operator, owner FROM test.matrix WHERE what = 'type' ORDER BY name;
SELECT attempt, none, guest, reader, client, worker, operator, owner FROM test.matrix WHERE what = 'schema' ORDER BY attempt;
-- Nothing is PUBLIC's: no row. (A type of arrays has the privileges of its elements'.)
SELECT o.name, a.privilege_type
  FROM (SELECT proname, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE pronamespace = 'durable'::regnamespace
        UNION ALL SELECT relname, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind NOT IN ('i', 'I')
        UNION ALL SELECT typname, coalesce(typacl, acldefault('T', typowner)) FROM pg_type WHERE typnamespace = 'durable'::regnamespace AND typcategory <> 'A'
        UNION ALL SELECT nspname, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'durable') o(name, acl), aclexplode(o.acl) a
 WHERE a.grantee = 0;

-- What each level is for. ------------------------------------------------------------------------------
-- A worker drives a whole workflow, twice over: the second run takes the plans of the first.
SET ROLE regress_durable_worker;
SELECT * FROM test.drive('privileges-1');
SELECT count(*) FROM test.drive('privileges-2');
RESET ROLE;
-- An operator makes a queue, the worker works in it.
SET ROLE regress_durable_operator;
SELECT durable.create_queue('privileges-q', 1), durable.alter_queue('privileges-q', 2);
SET ROLE regress_durable_worker;
SELECT workflow_id AS w, created, status FROM durable.start('privileges-3', queue => 'privileges-q') \gset
SELECT workflow_id = :'w' AS claimed, lease FROM durable.claim('privileges-q', 'privileges-w1');
SELECT count(*) FROM durable.heartbeat('privileges-w1', ARRAY[:'w']::uuid[], ARRAY[1]);
SELECT workflow_id = :'w' AS recovered, lease, reason FROM durable.recover('privileges-w2', stale_after => '0 s', queue => 'privileges-q');
SELECT durable.release('privileges-w2', :'w');
SELECT lease FROM durable.claim('privileges-q', 'privileges-w1');
SELECT status FROM durable.fail(:'w', 'boom');
SET ROLE regress_durable_operator;
SELECT status, lease FROM durable.resume_failed(:'w');
SELECT durable.pause_tree(:'w'), durable.resume_tree(:'w'), durable.cancel_tree(:'w');
SELECT durable.pause_queue('privileges-q'), durable.resume_queue('privileges-q'), durable.drop_queue('privileges-q');
SELECT * FROM durable.check();
-- A client begins what others run, and looks what has become of it. It does not drive: where it would, by an executor_id, it is refused,
-- whatever is there, and nobody is registered.
SET ROLE regress_durable_operator;
SELECT durable.create_queue('privileges-c');
SET ROLE regress_durable_client;
SELECT created, status, lease, owner FROM durable.start('privileges-client', '{"a": 1}', 'h', queue => 'privileges-c', priority => 3, timeout => '1 hour');
SELECT created, status, lease, owner FROM durable.start('privileges-client');
SELECT "position", created, status, lease, owner FROM durable.start_many('{privileges-client,privileges-client-2,privileges-client}', queue => 'privileges-c');
SELECT test.error('SELECT durable.start(''privileges-client-3'', executor_id => ''privileges-c1'')');
SELECT durable.start('privileges-client', executor_id => 'privileges-c1');
SELECT durable.start('privileges-2', executor_id => 'privileges-w1');
SELECT durable.start_many('{privileges-client-3}', executor_id => 'privileges-c1');
SELECT durable.start_many('{}', executor_id => 'privileges-c1');
SELECT durable.start(NULL, executor_id => 'privileges-c1');
SELECT durable.start('privileges-client-3', executor_id => '');
SELECT count(*), durable.count(name => 'privileges-client-3') FROM durable.list(name => 'privileges-client');
SELECT durable.attach(:'w');
SELECT durable.emit(:'w', 'progress');
SELECT count(*) FROM durable.events(:'w');
SELECT durable.claim('privileges-c', 'privileges-c1');
RESET ROLE;
SELECT count(*) FROM durable.executor WHERE executor_id = 'privileges-c1';
-- By EXECUTE on attach, however it has got that: in a group, by hand, from PUBLIC; of another schema's function it does not help.
CREATE FUNCTION privileges_own.attach() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE ROLE regress_durable_group ROLE regress_durable_client;
SET ROLE regress_durable_client;
SELECT privileges_own.attach(), test.try('SELECT created FROM durable.start(''privileges-client-4'', executor_id => ''privileges-c1'')');
RESET ROLE;
BEGIN;
SELECT durable.grant_to('regress_durable_group', 'worker');
SET LOCAL ROLE regress_durable_client;
SELECT created, owner FROM durable.start('privileges-client-4', executor_id => 'privileges-c1');
ROLLBACK;
BEGIN;
GRANT EXECUTE ON FUNCTION durable.attach TO PUBLIC;
SET LOCAL ROLE regress_durable_client;
SELECT created, owner FROM durable.start('privileges-client-4', executor_id => 'privileges-c1');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION durable.attach FROM PUBLIC;
SET LOCAL ROLE regress_durable_client;
SELECT created, owner FROM durable.start('privileges-client-5', executor_id => 'privileges-c1');
ROLLBACK;
DROP ROLE regress_durable_group;
DROP FUNCTION privileges_own.attach();
-- What it has begun is driven by a worker.
SET ROLE regress_durable_worker;
SELECT workflow_id AS c, name, handler, input FROM durable.claim('privileges-c', 'privileges-w1') \gset
\echo :name :handler :input
SELECT durable.emit(:'c', 'progress', '50', lease => 1), durable.complete(:'c', '"done"', lease => 1);
SELECT durable.complete(workflow_id) FROM durable.claim('privileges-c', 'privileges-w1');
SET ROLE regress_durable_client;
SELECT n, topic, payload, durable.output(:'c') FROM durable.events(:'c');
SET ROLE regress_durable_operator;
SELECT durable.drop_queue('privileges-c');
-- A reader looks at all that is there, whoever made it.
SET ROLE regress_durable_reader;
SELECT name, status FROM durable.list(name => 'privileges-1');
SELECT durable.count(name => 'privileges-1'), durable.status(:'w'), durable.error(:'w'), durable.is_completed(:'w');
SELECT count(*) FROM durable.tree(:'w');
SELECT count(*) FROM durable.history(:'w');
SELECT count(*) FROM durable.task WHERE id = :'w';
RESET ROLE;
-- The view durable.task is not a reader's, but can be made so: it reads the tables with its owner's rights.
BEGIN;
GRANT SELECT ON durable.task TO regress_durable_reader;
SET LOCAL ROLE regress_durable_reader;
SELECT name, status FROM durable.task WHERE id = :'w';
SELECT name FROM durable.workflow;
ROLLBACK;

-- Who may not ask does not learn what is there: the same words for an id that exists and one that does not.
SELECT test.attempt('regress_durable_guest', format('SELECT durable.status(%L)', :'w')) AS it_is,
       test.attempt('regress_durable_guest', 'SELECT durable.status(''00000000-0000-0000-0000-000000000000'')') AS it_is_not;
SET ROLE regress_durable_guest;
SELECT test.error(format('SELECT durable.status(%L)', :'w'));
SELECT test.error(format('SELECT durable.complete(%L, ''1'')', :'w'));
SELECT test.error('SELECT id FROM durable.workflow');
RESET ROLE;
SET ROLE regress_durable_none;
SELECT test.error('SELECT durable.count()');
RESET ROLE;

-- Through others: a function that runs as a worker lends what the worker may, to whom it is given and to nobody else.
CREATE FUNCTION privileges_own.submit(name text) RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  AS 'SELECT created FROM durable.start(name)';
ALTER FUNCTION privileges_own.submit(text) OWNER TO regress_durable_worker;
REVOKE ALL ON FUNCTION privileges_own.submit(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION privileges_own.submit(text) TO regress_durable_none;
SET ROLE regress_durable_none;
SELECT privileges_own.submit('privileges-4');
SELECT created FROM durable.start('privileges-4');
SET ROLE regress_durable_guest;
SELECT privileges_own.submit('privileges-4');
RESET ROLE;
-- The functions of the extension lend nothing: what they run as is not the caller's after they return, or fail.
SET ROLE regress_durable_worker;
SELECT created, current_user FROM durable.start('privileges-4');
SELECT durable.status('00000000-0000-0000-0000-000000000000');
SELECT current_user, count(*) FROM durable.list(name => 'privileges-4');
SELECT count(*) FROM durable.workflow;
RESET ROLE;
-- Members of a role have its level.
CREATE ROLE regress_durable_member ROLE regress_durable_none;
SELECT durable.grant_to('regress_durable_member', 'worker');
SET ROLE regress_durable_none;
SELECT created FROM durable.start('privileges-4');
RESET ROLE;
SELECT durable.revoke_from('regress_durable_member', 'reader');
SET ROLE regress_durable_none;
SELECT created FROM durable.start('privileges-4');
RESET ROLE;
DROP ROLE regress_durable_member;

-- Settings. The clock is nobody's but a superuser's.
SET ROLE regress_durable_operator;
SET durable.clock_offset = 1000;
SELECT set_config('durable.clock_offset', '1000', false);
ALTER ROLE regress_durable_operator SET durable.clock_offset = 1000;
RESET ROLE;
-- executor_timeout is anybody's, and of no use to a reader.
CREATE TEMP TABLE before AS SELECT * FROM durable.workflow;
SET ROLE regress_durable_reader;
SET durable.executor_timeout = 0;
SELECT count(*) > 0 AS looks FROM durable.list();
SELECT created FROM durable.start('privileges-4', executor_id => 'privileges-thief');
SELECT * FROM durable.attach(:'w', 'privileges-thief');
SELECT * FROM durable.recover('privileges-thief');
RESET durable.executor_timeout;
RESET ROLE;
SELECT count(*) FROM (TABLE before EXCEPT TABLE durable.workflow) changed;
-- To a worker it gives what arguments give as well: here takeover.
SET ROLE regress_durable_worker;
SELECT workflow_id AS w, lease, owner FROM durable.start('privileges-5', executor_id => 'privileges-w1') \gset
SELECT lease, owner FROM durable.attach(:'w', 'privileges-w2');
SELECT lease, owner FROM durable.attach(:'w', 'privileges-w2', takeover => true);
RESET ROLE;

-- grant_to and revoke_from. -----------------------------------------------------------------------------
-- What a role may call: how many functions of each level, and has it the schema and the types?
CREATE FUNCTION test.rights(r text) RETURNS text LANGUAGE sql AS $$
  SELECT format('reader %s/%s client %s/%s worker %s/%s operator %s/%s owner %s, schema %s, types %s',
           count(*) FILTER (WHERE may AND l = 1), count(*) FILTER (WHERE l = 1), count(*) FILTER (WHERE may AND l = 2), count(*) FILTER (WHERE l = 2),
           count(*) FILTER (WHERE may AND l = 3), count(*) FILTER (WHERE l = 3), count(*) FILTER (WHERE may AND l = 4), count(*) FILTER (WHERE l = 4),
           count(*) FILTER (WHERE may AND l = 5),
           has_schema_privilege(r, 'durable', 'USAGE'),
           has_type_privilege(r, 'durable.task_status', 'USAGE') AND has_type_privilege(r, 'durable.task_kind', 'USAGE') AND has_type_privilege(r, 'durable.claim_action', 'USAGE'))
    FROM (SELECT has_function_privilege(r, oid, 'EXECUTE') AS may,
                 CASE WHEN has_function_privilege('regress_durable_reader', oid, 'EXECUTE') THEN 1 WHEN has_function_privilege('regress_durable_client', oid, 'EXECUTE') THEN 2
                      WHEN has_function_privilege('regress_durable_worker', oid, 'EXECUTE') THEN 3 WHEN has_function_privilege('regress_durable_operator', oid, 'EXECUTE') THEN 4
                      ELSE 5 END AS l
            FROM pg_proc WHERE pronamespace = 'durable'::regnamespace) f
$$;
-- The numbers change with each function that is added: only what is not 0 or all is told.
CREATE FUNCTION test.level(r text) RETURNS text LANGUAGE sql AS $$
  SELECT regexp_replace(regexp_replace(test.rights(r), '(\d+)/\1(?!\d)', 'all', 'g'), '\m0/\d+', 'none', 'g')
$$;
CREATE ROLE regress_durable_x;
SELECT test.level('regress_durable_x');
-- Up: additive, and again changes nothing.
SELECT durable.grant_to('regress_durable_x', 'reader');
SELECT test.level('regress_durable_x');
SELECT durable.grant_to(role => 'regress_durable_x', level => 'operator');
SELECT durable.grant_to('regress_durable_x', 'reader'), durable.grant_to('regress_durable_x', 'operator');
SELECT test.level('regress_durable_x');
-- Down: what the lower levels have stays.
SELECT durable.revoke_from('regress_durable_x', 'operator');
SELECT test.level('regress_durable_x');
SELECT durable.revoke_from('regress_durable_x', 'operator'), durable.revoke_from('regress_durable_x', 'worker');
SELECT test.level('regress_durable_x');
SELECT durable.revoke_from('regress_durable_x', 'client');
SELECT test.level('regress_durable_x');
SELECT durable.revoke_from(role => 'regress_durable_x', level => 'reader');
SELECT test.level('regress_durable_x');
-- reader takes all at once, what somebody granted by hand too: the role can be dropped.
SELECT durable.grant_to('regress_durable_x', 'operator');
GRANT SELECT, UPDATE ON durable.workflow, durable.task TO regress_durable_x;
GRANT SELECT (name) ON durable.queue TO regress_durable_x;
GRANT EXECUTE ON FUNCTION durable.grant_to TO regress_durable_x;
GRANT CREATE ON SCHEMA durable TO regress_durable_x;
SELECT test.level('regress_durable_x');
SELECT durable.revoke_from('regress_durable_x', 'operator');
SELECT test.level('regress_durable_x');
SELECT has_table_privilege('regress_durable_x', 'durable.workflow', 'SELECT') AS table, has_schema_privilege('regress_durable_x', 'durable', 'CREATE') AS schema;
SELECT durable.revoke_from('regress_durable_x', 'reader');
SELECT test.level('regress_durable_x');
DROP ROLE regress_durable_x;
-- It is transactional.
BEGIN;
SELECT durable.revoke_from('regress_durable_worker', 'reader');
SELECT test.level('regress_durable_worker');
ROLLBACK;
SELECT test.level('regress_durable_worker');
-- Names that need quotes, and names that are words.
CREATE ROLE "regress_durable_""x"", public; --";
CREATE ROLE "current_user";
SELECT durable.grant_to('"regress_durable_""x"", public; --"', 'reader'), durable.grant_to('"current_user"', 'worker');
SELECT test.level('regress_durable_"x", public; --'), test.level('current_user');
SELECT durable.revoke_from('"regress_durable_""x"", public; --"', 'reader'), durable.revoke_from('"current_user"', 'reader');
DROP ROLE "regress_durable_""x"", public; --", "current_user";

-- Refused.
\set VERBOSITY default
SELECT durable.grant_to('regress_durable_reader', 'Operator');
SELECT durable.grant_to('regress_durable_reader', '');
SELECT durable.grant_to('regress_durable_reader', 'owner');
SELECT durable.grant_to('regress_durable_reader', NULL);
SELECT durable.grant_to(NULL, 'reader');
SELECT durable.revoke_from('regress_durable_reader', 'all');
SELECT durable.revoke_from('regress_durable_reader', NULL);
SELECT durable.revoke_from(NULL, 'reader');
SELECT durable.grant_to('regress_durable_missing', 'reader');
SELECT durable.grant_to('-', 'reader');
SELECT durable.grant_to('public', 'reader');
\set VERBOSITY sqlstate
-- Whoever owns it is left alone.
SELECT durable.revoke_from(current_user::regrole, 'reader');
SELECT durable.grant_to(current_user::regrole, 'operator');
-- In a read-only transaction: the server's own error.
BEGIN READ ONLY;
SELECT durable.grant_to('regress_durable_reader', 'operator');
ROLLBACK;
SELECT test.level('regress_durable_reader');

-- Who may grant: EXECUTE on grant_to is not enough, it has the rights of its caller.
GRANT EXECUTE ON FUNCTION durable.grant_to, durable.revoke_from TO regress_durable_operator;
SET ROLE regress_durable_operator;
SELECT test.try('SELECT durable.grant_to(''regress_durable_operator'', ''operator'')');
SELECT test.try('SELECT durable.grant_to(''regress_durable_guest'', ''reader'')');
SELECT test.try('SELECT durable.revoke_from(''regress_durable_reader'', ''reader'')');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION durable.grant_to, durable.revoke_from FROM regress_durable_operator;
SELECT test.level('regress_durable_guest'), test.level('regress_durable_reader');
-- Who has the grant option of all that the level holds may grant it, and take it back, and no more.
CREATE ROLE regress_durable_granter;
GRANT USAGE ON SCHEMA durable TO regress_durable_granter WITH GRANT OPTION;
GRANT USAGE ON TYPE durable.task_status, durable.task_kind, durable.claim_action, durable.claimed_step, durable.claimed_workflow, durable.started_workflow TO regress_durable_granter WITH GRANT OPTION;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA durable TO regress_durable_granter WITH GRANT OPTION;
GRANT SELECT ON durable.stats, durable.waiting, durable.lock_waits TO regress_durable_granter WITH GRANT OPTION;
SET ROLE regress_durable_granter;
SELECT durable.grant_to('regress_durable_none', 'operator');
SELECT test.level('regress_durable_none');
SELECT durable.revoke_from('regress_durable_none', 'reader');
SELECT test.level('regress_durable_none');
RESET ROLE;
REVOKE GRANT OPTION FOR EXECUTE ON FUNCTION durable.pause_tree FROM regress_durable_granter;
SET ROLE regress_durable_granter;
SELECT test.try('SELECT durable.grant_to(''regress_durable_none'', ''operator'')');
SELECT test.try('SELECT durable.revoke_from(''regress_durable_reader'', ''reader'')');
SELECT durable.grant_to('regress_durable_none', 'worker');
RESET ROLE;
SELECT test.level('regress_durable_none'), test.level('regress_durable_reader');
-- What hangs on that is not taken away in passing.
SELECT durable.revoke_from('regress_durable_granter', 'reader');
SELECT test.level('regress_durable_none');
DROP OWNED BY regress_durable_none;
DROP OWNED BY regress_durable_granter;

-- A function, or a table, that has no level: no grant, no revoke, rather than one that forgets it.
BEGIN;
CREATE FUNCTION durable.unlisted() RETURNS int LANGUAGE sql AS 'SELECT 1';
-- (not of the extension: none of its business)
SELECT durable.grant_to('regress_durable_guest', 'reader');
ALTER EXTENSION durable ADD FUNCTION durable.unlisted();
\set VERBOSITY default
SELECT durable.grant_to('regress_durable_guest', 'reader');
ROLLBACK;
BEGIN;
CREATE VIEW durable.unlisted AS SELECT 1;
ALTER EXTENSION durable ADD VIEW durable.unlisted;
SELECT durable.revoke_from('regress_durable_guest', 'reader');
ROLLBACK;
\set VERBOSITY sqlstate

-- What they made is there.
SELECT name, status, lease FROM durable.workflow WHERE name LIKE 'privileges-%' ORDER BY name;
SET client_min_messages = warning;
DROP SCHEMA privileges_own CASCADE;
DROP VIEW test.matrix, test.attempts;
DROP FUNCTION test.attempt, test.level, test.rights;
REVOKE USAGE ON SCHEMA test FROM PUBLIC;
DROP OWNED BY regress_durable_none, regress_durable_guest, regress_durable_reader, regress_durable_client, regress_durable_worker, regress_durable_operator;
DROP ROLE regress_durable_none, regress_durable_guest, regress_durable_reader, regress_durable_client, regress_durable_worker, regress_durable_operator, regress_durable_granter;
SELECT * FROM durable.check();
