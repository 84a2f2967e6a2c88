-- The functions' owner need not be a superuser: after what docs/OWNER.md says, all goes on as before. (test/deep/owner runs all tests so.)
\c -
\pset null -
\set VERBOSITY sqlstate
\set hand_over `awk '/^...$/ { on = 0 } on; /^...sql$/ { on = 1 }' docs/OWNER.md`
SELECT string_agg(l, '; ') AS honest FROM test.drive('owner-1') l \gset
-- Up to the end, where it is undone.
BEGIN;
:hand_over
-- Again changes nothing more (after an update).
SELECT regexp_replace(:'hand_over', '.*(DO .*)', '\1') AS again \gset
:again
-- All that is in the schema is its own; it has no other right, and is in nobody's hands.
SELECT count(*) > 50 AS objects, count(*) FILTER (WHERE owner <> 'durable_owner'::regrole) AS not_its_own
  FROM (SELECT relowner::regrole FROM pg_class WHERE relnamespace = 'durable'::regnamespace UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'durable'::regnamespace
        UNION ALL SELECT typowner FROM pg_type WHERE typnamespace = 'durable'::regnamespace) o(owner);
SELECT rolsuper, rolcanlogin, rolcreaterole, rolcreatedb, rolbypassrls, (SELECT count(*) FROM pg_auth_members WHERE roleid = r.oid OR member = r.oid) AS members
  FROM pg_roles r WHERE rolname = 'durable_owner';
-- grant_to and revoke_from by a superuser.
CREATE ROLE regress_durable_reader;
CREATE ROLE regress_durable_worker;
CREATE ROLE regress_durable_operator;
SELECT durable.grant_to('regress_durable_reader', 'reader'), durable.grant_to('regress_durable_worker', 'worker'), durable.grant_to('regress_durable_operator', 'operator');
GRANT USAGE ON SCHEMA test TO PUBLIC;
SAVEPOINT s;
SELECT durable.revoke_from('durable_owner', 'reader');
ROLLBACK TO s;
-- Each level does its work.
SET ROLE regress_durable_worker;
SELECT string_agg(l, '; ') = :'honest' AS same_log FROM test.drive('owner-2') l;
SELECT string_agg(l, '; ') = :'honest' AS same_log FROM test.drive('owner-3') l;
SET ROLE regress_durable_operator;
SELECT durable.create_queue('owner-q', 2), durable.alter_queue('owner-q', 3, 10);
SET ROLE regress_durable_worker;
SELECT count(*) FROM durable.start_many('{owner-4,owner-5}', executor_id => 'owner-e', queue => 'owner-q');
SELECT name, lease FROM durable.claim('owner-q', 'owner-e', 5);
SELECT name, reason FROM durable.recover('owner-f', stale_after => '0 s', queue => 'owner-q') ORDER BY 1;
SELECT durable.release('owner-f');
SELECT workflow_id AS w FROM durable.start('owner-6') \gset
SELECT status FROM durable.fail(:'w', 'boom');
SET ROLE regress_durable_operator;
SELECT status, lease FROM durable.resume_failed(:'w');
SELECT durable.pause_tree(:'w'), durable.resume_tree(:'w'), durable.cancel_tree(:'w');
SELECT durable.pause_queue('owner-q'), durable.resume_queue('owner-q');
SELECT * FROM durable.check();
SELECT workflows >= 0 AS purged FROM durable.purge('0 s', 2);
SET ROLE regress_durable_reader;
SELECT count(*) FROM durable.list(name => 'owner-4');
SELECT durable.count(name => 'owner-4'), length(durable.metrics()) > 0 AS metrics, (SELECT count(*) > 0 FROM durable.stats) AS stats, (SELECT count(*) FROM durable.lock_waits) AS lock_waits;
SAVEPOINT s;
SELECT count(*) FROM durable.workflow;
ROLLBACK TO s;
-- What an operator's trigger does runs as the owner, and may do nothing.
RESET ROLE;
CREATE TABLE test.secret (x int);
CREATE FUNCTION test.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO test.secret VALUES (1); RETURN NULL; END';
CREATE TRIGGER spy AFTER INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.spy();
SELECT durable.start('owner-7');
ROLLBACK;
SELECT count(*) FROM pg_roles WHERE rolname = 'durable_owner';
SELECT * FROM durable.check();
