-- Every operator and function in the statements of the library is pg_catalog's or durable's, whatever the search_path of the session
-- is: when a statement is planned, and when it is planned anew. First all statements run, and durable.statements() tells what they use;
-- then each of these has a look-alike, of the same name for the same types, that stands first in the path, and all run again.
-- In a database of its own, which is dropped at the end.
\pset null -
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_statements;
RESET client_min_messages;
CREATE DATABASE regress_durable_statements;
\c regress_durable_statements
CREATE EXTENSION durable;
-- autovacuum would have plans made anew, of which one that is not valid cannot tell what it uses
DO $$ BEGIN EXECUTE (SELECT string_agg(format('ALTER TABLE %s SET (autovacuum_enabled = off)', oid::regclass), ';') FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind = 'r'); END $$;
-- so would one that changes a queue, by its trigger
ALTER TABLE durable.queue DISABLE TRIGGER changed;
CREATE SCHEMA trial;
CREATE FUNCTION trial.id(n text) RETURNS uuid LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1$$;
CREATE FUNCTION trial.step(n text, s int) RETURNS uuid LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT durable.step_id(trial.id(n), s)$$;
CREATE FUNCTION trial.refused(query text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  $$BEGIN EXECUTE query; EXCEPTION WHEN invalid_parameter_value THEN NULL; END$$;
CREATE FUNCTION trial.lease(n text) RETURNS int LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT lease FROM durable.workflow WHERE id = trial.id(n)$$;
-- more than suspend has room to lock the ends of
CREATE FUNCTION trial.names() RETURNS text[] LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT array_agg('awaited ' || i) FROM generate_series(3, 503) i$$;
CREATE FUNCTION trial.awaited(i int) RETURNS uuid LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT trial.id('awaited ' || i)$$;
CREATE FUNCTION trial.waits(n text) RETURNS uuid[] LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT array_agg(trial.step(n, i)) FROM generate_series(3, 503) i$$;
CREATE FUNCTION trial.unfinished() RETURNS SETOF uuid LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT id FROM durable.workflow WHERE parent_id IS NULL AND completed_at IS NULL$$;
-- Who waits, takes back what it has written: "slow" waits for a lock that another session has. A claim in the queue "gone" finds that the head
-- on which its own builds is gone.
\! psql -Xqd regress_durable_statements -c "SELECT pg_advisory_lock(1), pg_sleep(3600)" >/dev/null 2>&1 &
DO $$BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND granted) LOOP PERFORM pg_sleep(0.01); END LOOP; END$$;
CREATE FUNCTION trial.sleep() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '20ms' AS
  $$BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; EXCEPTION WHEN lock_not_available THEN RETURN NEW; END$$;
CREATE FUNCTION trial.forget() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  $$BEGIN DELETE FROM durable.queue_head WHERE queue_name = 'gone'; RETURN NEW; END$$;
CREATE TRIGGER sleep BEFORE INSERT ON durable.workflow FOR EACH ROW WHEN (NEW.name = 'slow') EXECUTE FUNCTION trial.sleep();
CREATE FUNCTION trial.break() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
  $$BEGIN RAISE 'broken'; END$$;
CREATE TRIGGER break BEFORE INSERT ON durable.workflow FOR EACH ROW WHEN (NEW.scheduled_by = 'broken') EXECUTE FUNCTION trial.break();
CREATE TRIGGER sleep BEFORE INSERT ON durable.step FOR EACH ROW WHEN (NEW.name = 'slow') EXECUTE FUNCTION trial.sleep();
CREATE TRIGGER sleep BEFORE INSERT ON durable.signal FOR EACH ROW WHEN (NEW.key = 'slow') EXECUTE FUNCTION trial.sleep();
CREATE TRIGGER forget BEFORE INSERT ON durable.queue_head FOR EACH ROW WHEN (NEW.queue_name = 'gone') EXECUTE FUNCTION trial.forget();
SELECT durable.create_queue('q'), durable.create_queue('heads'), durable.create_queue('gone');

-- A call of each function, or several, until every statement has run. They are sent one by one: each runs under the path of the session.
CREATE TABLE trial.call (n int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO trial.call (call) VALUES
  ('SET durable.clock_offset = 0'),
  ('SET durable.claim_walk = 0'),
  ('SELECT durable.create_queue(''dropped'')'),
  ('SELECT durable.drop_queue(''dropped'')'),
  ('SELECT durable.alter_queue(''q'', 99, 1000)'),
  ('SELECT durable.pause_queue(''q'')'),
  ('SELECT durable.resume_queue(''q'')'),
  ('SELECT durable.start(''a'', executor_id => ''e'')'),
  ('SELECT durable.start(''a'', executor_id => ''e'')'),
  ('SELECT durable.start(''slow'')'),
  ('SELECT durable.attach(trial.id(''a''), ''f'', true)'),
  ('SELECT durable.claim_step(trial.id(''a''), 0, ''s'')'),
  ('SELECT durable.claim_step(trial.id(''a''), 0, ''s'')'),
  ('SELECT durable.claim_step(trial.id(''slow''), 0, ''slow'')'),
  ('SELECT durable.complete_and_claim(trial.step(''a'', 0), ''0'', ''t'', max_retries => 1)'),
  ('SELECT durable.fail(trial.step(''a'', 1), ''bad'')'),
  ('SELECT durable.claim_step(trial.id(''a''), 1, ''t'')'),
  ('SELECT durable.complete(trial.step(''a'', 1))'),
  ('SELECT durable.start_many(''{a,b,c,b}'', executor_id => ''e'')'),
  ('SELECT durable.start_many(''{a,b,c}'')'),
  ('SELECT durable.claim_steps(trial.id(''a''), 4, ''{s,t,u}'')'),
  ('SELECT durable.claim_steps(trial.id(''a''), 4, ''{s,t,u}'')'),
  ('SELECT durable.start_child(trial.id(''a''), 2, ''a-inline'')'),
  ('SELECT durable.start_child(trial.id(''a''), 3, ''a-queued'', queue => ''q'', priority => 9)'),
  ('SELECT durable.start_child(trial.id(''a''), 2, ''a-inline'')'),
  ('SELECT durable.start_child(trial.id(''a''), 8, ''a-many'')'),
  ('SELECT durable.complete_many(ARRAY[trial.step(''a'', 4), trial.step(''a'', 6), trial.id(''a-many''), trial.id(''b''), trial.id(''c'')])'),
  ('SELECT durable.claim_step(trial.id(''a''), 10, ''v'', max_retries => 1)'),
  ('SELECT durable.fail(trial.step(''a'', 10), ''bad'')'),
  ('SELECT durable.claim_steps(trial.id(''a''), 10, ''{v,w}'')'),
  ('SELECT durable.complete_and_claim(trial.step(''a'', 10), ''10'', ''x'', 12, lease => trial.lease(''a''))'),
  ('SELECT durable.claim_step(trial.id(''a-inline''), 0, ''s'')'),
  ('SELECT durable.complete_and_claim_many(ARRAY[trial.step(''a'', 12), trial.step(''a'', 11)], NULL, ''{y,z}'', ARRAY[trial.lease(''a''), trial.lease(''a'')], sequences => ''{20,21}'')'),
  ('SELECT durable.complete_and_claim_many(ARRAY[trial.step(''a'', 20), trial.step(''a-inline'', 0)], NULL, ''{x,y}'')'),
  ('SELECT durable.claim(''q'', ''e'')'),
  ('SELECT durable.heartbeat(''e'', ARRAY[trial.id(''a-queued'')], ''{1}'')'),
  ('SELECT durable.start_many(''{h1,h2,h3}'', queue => ''heads'')'),
  ('SELECT durable.claim(''heads'', ''e'')'),
  ('SELECT durable.claim(''heads'', ''e'')'),
  ('SELECT durable.start(''early'', queue => ''heads'', run_at => ''2000-01-01'')'),
  ('SELECT durable.claim(''heads'', ''e'')'),
  ('SELECT durable.start_many(''{g1,g2,g3}'', queue => ''gone'')'),
  ('SELECT durable.claim(''gone'', ''e'')'),
  ('SELECT durable.claim(''gone'', ''e'')'),
  ('SELECT durable.emit(trial.id(''a''), ''t'')'),
  ('SELECT durable.events(trial.id(''a'')), durable.events(trial.id(''a''), ''t'')'),
  ('SELECT durable.alter_queue(''gone'', fair => true)'),
  ('SELECT durable.start(''keyed'', queue => ''gone'', concurrency_key => ''k'', tags => ''{"customer": 42}'')'),
  ('SELECT durable.start(''keyed'', queue => ''gone'', concurrency_key => ''k'', tags => ''{"customer": 43}'', if_active => ''replace'')'),
  ('SELECT durable.set_tags(trial.id(''keyed''), NULL)'),
  ('SELECT durable.start(''once'', if_finished => ''return'')'),
  ('SELECT durable.start_many(''{once,once too,once more}'', if_finished => ''return'')'),
  ('SELECT durable.claim(''gone'', ''e'', 9, ''{h}'')'),
  ('SELECT durable.claim(''gone'', ''e'', 9)'),
  ('SELECT durable.claim_from(''{gone}'', ''e'', 9)'),
  ('SELECT durable.history(trial.id(''a''))'),
  ('SELECT durable.tree(trial.id(''a''))'),
  ('SELECT durable.status(trial.id(''a'')), durable.input(trial.id(''a'')), durable.output(trial.id(''a'')), durable.error(trial.id(''a''))'),
  ('SELECT durable.continued_as(trial.id(''a''))'),
  ('SELECT durable.is_completed(trial.step(''a'', 0)), durable.bucket(trial.id(''a'')), durable.bucket(''a'')'),
  ('SELECT durable.set_timeout(trial.id(''a''), ''1 hour'')'),
  ('SELECT durable.set_timeout(trial.step(''a'', 5), ''1 hour'')'),
  ('SELECT durable.patched(trial.id(''a''), 40, ''p'')'),
  ('SELECT durable.fork(trial.id(''a''), 1, ''forked'')'),
  ('SELECT durable.pause_tree(trial.id(''a''))'),
  ('SELECT durable.resume_tree(trial.id(''a''))'),
  ('SELECT durable.pause_tree(trial.id(''a-inline''))'),
  ('SELECT durable.resume_tree(trial.id(''a-inline''))'),
  ('SELECT durable.release(''f'', trial.id(''a''))'),
  ('SELECT durable.recover(''g'', 1)'),
  ('SELECT durable.fail(trial.id(''a''), ''bad'')'),
  ('SELECT durable.resume_failed(trial.id(''a''), ''e'')'),
  ('SELECT durable.start_child(trial.id(''a''), 2, ''a-inline'')'),
  ('SELECT durable.cancel_tree(trial.id(''a-queued''))'),
  ('SELECT durable.complete(trial.id(''a''))'),
  ('SELECT durable.start(''waiting'')'),
  ('SELECT durable.start(''awaited'')'),
  ('INSERT INTO durable.signal (id, workflow_id, name, sent_at, counted) SELECT id, id, ''go'', ''2000-01-01'', 100 FROM trial.id(''h3'') id'),
  ('SELECT durable.signal(trial.id(''h3''), ''go'')'),
  ('SELECT durable.await_signal(trial.id(''waiting''), 0, ''go'')'),
  ('SELECT durable.signal_root(''waiting'', ''go'', key => ''k'')'),
  ('SELECT durable.signal(trial.id(''waiting''), ''go'', key => ''k'')'),
  ('SELECT durable.await_signal(trial.id(''waiting''), 0, ''go'')'),
  ('SELECT durable.signal(trial.id(''waiting''), ''go'', key => ''slow'')'),
  ('SELECT durable.create_queue(''tq'')'),
  ('SELECT durable.start(''tried'', queue => ''tq'', max_retries => 9)'),
  ('SELECT durable.claim(''tq'', ''e'')'),
  ('SELECT durable.fail(trial.id(''tried''), ''bad'')'),
  ('SELECT durable.claim(''tq'', ''e'')'),
  ('SELECT durable.start_child(trial.id(''tried''), 0, ''tried below'', queue => ''tq'', on_parent_end => ''cancel'')'),
  ('SELECT durable.claim(''tq'', ''e'')'),
  ('SELECT durable.fail(trial.id(''tried below''), ''bad'')'),
  ('SELECT durable.fail(trial.id(''tried''), ''bad'')'),
  ('SELECT durable.start(''going on'')'),
  ('SELECT durable.signal(trial.id(''going on''), ''go'', key => ''k'')'),
  ('SELECT durable.continue_as(trial.id(''going on''), ''1'', NULL)'),
  ('SELECT durable.continue_as(continued_from, ''1'', NULL) FROM durable.workflow WHERE continued_from IS NOT NULL'),
  ('SELECT durable.signal(continued_from, ''go'', key => ''k'') FROM durable.workflow WHERE continued_from IS NOT NULL'),
  ('SELECT durable.await_workflow(trial.id(''waiting''), 1, ''awaited'', trial.id(''awaited''))'),
  ('SELECT durable.await_any(trial.id(''waiting''), 2, ''any'', ''{1}'')'),
  ('SELECT durable.sleep(trial.id(''waiting''), 3, ''slow'', ''1 day'')'),
  ('SELECT durable.await_callback(trial.id(''waiting''), 4, ''call'')'),
  ('SELECT durable.answer(trial.step(''waiting'', 4), error => ''bad'')'),
  ('SELECT durable.fail(trial.id(''waiting''), ''bad'')'),
  ('SELECT durable.resume_failed(trial.id(''waiting''))'),
  ('SELECT durable.await_callback(trial.id(''waiting''), 4, ''call'')'),
  ('SELECT FROM durable.waiting'),
  ('SELECT durable.create_queue(''naps'')'),
  ('SELECT durable.start(''nap'', queue => ''naps'', timeout => ''1 day'')'),
  ('SELECT durable.claim(''naps'', ''e'')'),
  ('SELECT durable.start_child(trial.id(''nap''), 0, ''nap-1'', queue => ''q'')'),
  ('SELECT durable.start_child(trial.id(''nap''), 1, ''nap-2'', queue => ''q'')'),
  ('SELECT durable.start_child(trial.id(''nap''), 2, ''nap-inline'')'),
  ('SELECT durable.await_callback(trial.id(''nap-inline''), 0, ''call'')'),
  ('SELECT durable.await_callback(trial.id(''nap-inline''), 1, ''call'')'),
  ('SELECT durable.suspend(trial.id(''nap''), ''e'', 1, ARRAY[trial.step(''nap'', 0), trial.step(''nap'', 1), trial.step(''nap-inline'', 0), trial.step(''nap-inline'', 1)], ''all'')'),
  ('SELECT durable.set_timeout(trial.id(''nap''), ''2 days'')'),
  ('SELECT durable.answer(trial.step(''nap-inline'', 1))'),
  ('SELECT durable.cancel_tree(trial.id(''nap-2''))'),
  ('SELECT durable.cancel_tree(trial.id(''nap-1''))'),
  ('SELECT durable.answer(trial.step(''nap-inline'', 0))'),
  ('SELECT durable.claim(''naps'', ''e'')'),
  ('SELECT durable.start_many(trial.names())'),
  ('SELECT durable.await_workflow(trial.id(''nap''), i, ''it'', trial.awaited(i)) FROM generate_series(3, 503) i'),
  ('SELECT durable.suspend(trial.id(''nap''), ''e'', 3, trial.waits(''nap''))'),
  ('SELECT durable.complete(trial.awaited(7))'),
  ('SELECT durable.claim(''naps'', ''e'')'),
  ('SELECT durable.start(''left'')'),
  ('SELECT durable.start_child(trial.id(''left''), 0, ''left-queued'', queue => ''q'')'),
  ('SELECT durable.complete(trial.id(''left''))'),
  ('SELECT durable.create_queue(''ends'')'),
  ('SELECT durable.start(''asked'', executor_id => ''f'')'),
  ('SELECT durable.await_callback(trial.id(''asked''), 0, ''call'')'),
  ('SELECT durable.start_child(trial.id(''asked''), 1, ''asked-inline'')'),
  ('SELECT durable.start_child(trial.id(''asked-inline''), 0, ''asked-queued'', queue => ''ends'')'),
  ('SELECT durable.claim(''ends'', ''f'')'),
  ('SELECT durable.start_child(trial.id(''asked''), 2, ''asked-waiting'', queue => ''ends'')'),
  ('SELECT durable.request_cancel(trial.id(''asked''), ''why'')'),
  ('SELECT durable.request_cancel(trial.id(''asked''), grace => ''0 s'')'),
  ('SELECT durable.claim_step(trial.id(''asked-queued''), 0, ''s'')'),
  ('SELECT durable.fail(trial.id(''asked-queued''), ''bad'')'),
  ('SELECT durable.start_child(trial.id(''asked-inline''), 0, ''asked-queued'', queue => ''ends'')'),
  ('SELECT durable.fail(trial.id(''asked-inline''), ''bad'')'),
  ('SELECT durable.start(''drained'', queue => ''ends'')'),
  ('SELECT durable.set_buckets(''{}'')'),
  ('SELECT durable.set_buckets(''{[0,4096)}'')'),
  ('SELECT durable.drain_queue(''ends'')'),
  ('SELECT durable.resume_failed_many(ARRAY[trial.id(''asked'')])'),
  ('SELECT durable.cancel_many(ARRAY[trial.id(''drained'')])'),
  ('SELECT durable.tick()'),
  ('SELECT durable.release(''e'')'),
  ('SELECT pg_sleep(1.1)'),  -- a session that waits ticks once a second
  ('SET durable.wake = ''looking'''),
  ('SELECT durable.start(''looked into'', executor_id => ''w'')'),
  ('CALL durable.wait_for_work(''w'', timeout => ''0'')'),
  ('RESET durable.wake'),
  ('CALL durable.wait_for_work(''bound'', ''{q}'', timeout => ''0'', bind => true)'),
  ('CALL durable.wait_for_work(''bound'', ''{q}'', timeout => ''0'', bind => true)'),
  ('SELECT durable.start(''left behind'', executor_id => ''bound'')'),
  ('SELECT pg_advisory_unlock_all()'),
  ('SELECT durable.heartbeat(''bound'')'),
  ('CALL durable.wait_for_end(trial.id(''left behind''), timeout => ''0'')'),
  ('CALL durable.wait_for_event(trial.id(''left behind''), timeout => ''0'')'),
  ('SELECT durable.wake_mode()'),
  ('SELECT durable.left_to_statements()'),
  ('SELECT durable.list(name => ''a'')'),
  ('SELECT durable.count(name => ''a'')'),
  ('SELECT durable.check()'),
  ('SELECT durable.stats()'),
  ('SELECT durable.metrics()'),
  ('SELECT FROM durable.lock_waits'),
  ('SELECT durable.grant_to(''pg_monitor'', ''worker'')'),
  ('SELECT durable.revoke_from(''pg_monitor'', ''worker'')'),
  ('INSERT INTO durable.queue_late VALUES (''00000000-0000-7000-8000-000000000000'', ''2000-01-01'', ''00000000-0000-7000-8000-000000000000'', ''00000000-0000-7000-8000-000000000000'')'),
  ('SET durable.clock_offset = 1000000'),
  ('SELECT durable.purge(''1 day'')'),
  ('SELECT durable.cancel_tree(id) FROM trial.unfinished() id'),
  ('SET durable.clock_offset = 2000000'),
  ('SELECT durable.purge(''1 day'')'),
  ('SELECT durable.create_queue(''scheduled'')'),
  ('SELECT trial.refused(''SELECT durable.next_runs(''''* * * * *'''', ''''XYZ3'''')'')'),
  ('SELECT durable.create_schedule(''cancels'', ''* * * * *'', ''scheduled'', overlap => ''cancel'', timezone => ''Etc/GMT+5'')'),
  ('SELECT durable.create_schedule(''queues'', ''* * * * *'', ''scheduled'', overlap => ''all'')'),
  ('SELECT durable.create_schedule(''broken'', ''* * * * *'', ''scheduled'')'),
  ('SET client_min_messages = error'),
  ('SELECT durable.alter_schedule(''queues'', ''* * * * *'', ''scheduled'', overlap => ''queue'')'),
  ('SELECT durable.pause_schedule(''queues''), durable.resume_schedule(''queues'')'),
  ('SELECT durable.next_runs(''* * * * *'')'),
  ('SET durable.clock_offset = 2000100'),
  ('SELECT durable.tick()'),
  ('SET durable.clock_offset = 2000200'),
  ('SELECT durable.tick()'),
  ('SELECT durable.trigger_schedule(''cancels''), durable.backfill_schedule(''cancels'', ''2026-01-01'', ''2026-01-01'')'),
  ('SELECT durable.cancel_tree(id) FROM trial.unfinished() id'),
  ('SELECT durable.tick()'),
  ('SELECT durable.drop_schedule(name) FROM durable.schedule'),
  ('RESET client_min_messages'),
  ('SELECT durable.start(''poison'', queue => ''scheduled'', max_recovery_attempts => 0), durable.start(''cured'', queue => ''scheduled'')'),
  ('SELECT durable.claim(''scheduled'', ''dead'', 10)'),
  ('SET durable.clock_offset = 3000000'),
  ('SELECT durable.tick()'),
  ('SELECT durable.cancel_tree(id) FROM trial.unfinished() id'),
  ('SET durable.clock_offset = 4000000'),
  ('SELECT durable.purge(''1 day'')'),
  ('SET durable.clock_offset = 0');
-- What the session has used, asked after each call: a later one may have made the plans of earlier ones invalid.
CREATE TABLE trial.used (run text, statement text, sql text, function regprocedure);
CREATE FUNCTION trial.collect(run text) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO trial.used
    SELECT run, s.statement, s.sql, f FROM durable.statements() s LEFT JOIN unnest(s.functions) f ON true WHERE s.functions IS NOT NULL
    EXCEPT SELECT * FROM trial.used
$$;
CREATE FUNCTION trial.calls(run text) RETURNS SETOF text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT unnest(ARRAY[call, format('SELECT trial.collect(%L)', run)]) FROM trial.call ORDER BY n
$$;
-- How many plans still hold.
CREATE FUNCTION trial.valid() RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
  $$SELECT count(functions) FROM durable.statements()$$;
-- The statements in the source, by the names that they have there; several share one.
CREATE TABLE trial.source (statement text);
\copy trial.source FROM PROGRAM 'sed -nE "s/.*static Statement [a-z_]+ = STATEMENT\\(([A-Za-z]+),.*/\\1/p; s/^\\t\\.name = \"([A-Za-z]+)\",/\\1/p" src/*.c'
-- Those that did not run.
CREATE FUNCTION trial.missing(run text) RETURNS TABLE (statement text, missing bigint) LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.statement, s.count - coalesce(u.count, 0)
    FROM (SELECT s.statement, count(*) FROM trial.source s GROUP BY 1) s
    LEFT JOIN (SELECT u.statement, count(DISTINCT u.sql) FROM trial.used u WHERE u.run = $1 GROUP BY 1) u USING (statement)
   WHERE s.count <> coalesce(u.count, 0) ORDER BY 1
$$;
-- What is neither pg_catalog's nor durable's.
CREATE FUNCTION trial.strangers(run text) RETURNS TABLE (statement text, function regprocedure) LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT u.statement, u.function FROM trial.used u JOIN pg_proc p ON p.oid = u.function
   WHERE u.run = $1 AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'durable'::regnamespace) ORDER BY 1, 2
$$;

SET durable.fast_paths = off;
\set ECHO errors
\o /dev/null
SELECT trial.calls('honest') \gexec
\o
\set ECHO all
SELECT count(*) > 80 AS many FROM trial.source;
-- None is missing: a new statement needs a call above.
SELECT * FROM trial.missing('honest');
SELECT * FROM trial.strangers('honest');

-- The look-alikes. (A function of cstring is found by its type, not by its name.)
CREATE SCHEMA evil;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
CREATE FUNCTION evil.hijacked() RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'hijacked' USING ERRCODE = 'ZZ666'; END$$;
DO $$
DECLARE
  body text := 'BEGIN PERFORM evil.hijacked(); RETURN NULL; END';
  f record;
BEGIN
  FOR f IN SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
             FROM pg_proc p
            WHERE p.oid IN (SELECT function FROM trial.used) AND p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind IN ('f', 'w')
              AND NOT p.proargtypes::oid[] && ARRAY['cstring'::regtype, '"any"'::regtype]::oid[] AND p.prorettype <> 'cstring'::regtype LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.args, f.result,
                   CASE WHEN f.result LIKE 'SETOF%' THEN replace(body, 'RETURN NULL', 'RETURN') ELSE body END);
  END LOOP;
  CREATE FUNCTION evil.format(text, text) RETURNS text LANGUAGE plpgsql AS $f$BEGIN PERFORM evil.hijacked(); RETURN NULL; END$f$;
  CREATE FUNCTION evil.jsonb_build_object(text, text, text, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $f$BEGIN PERFORM evil.hijacked(); RETURN NULL; END$f$;
  CREATE AGGREGATE evil.count(*) (SFUNC = int8inc, STYPE = int8, INITCOND = '0');
  CREATE AGGREGATE evil.count("any") (SFUNC = int8inc_any, STYPE = int8, INITCOND = '0');
  CREATE AGGREGATE evil.max(timestamptz) (SFUNC = timestamptz_larger, STYPE = timestamptz);
  CREATE AGGREGATE evil.min(int) (SFUNC = int4smaller, STYPE = int);
  CREATE AGGREGATE evil.bit_xor(bigint) (SFUNC = int8xor, STYPE = bigint);
  CREATE AGGREGATE evil.bool_or(boolean) (SFUNC = boolor_statefunc, STYPE = boolean);
  FOR f IN SELECT o.oprname, l.t AS l, r.t AS r, o.oprcode::regproc AS code
             FROM pg_operator o
             CROSS JOIN LATERAL (SELECT o.oprleft::regtype AS t UNION SELECT e FROM unnest('{durable.task_status,durable.task_kind}'::regtype[]) e WHERE o.oprleft = 'anyenum'::regtype) l
             CROSS JOIN LATERAL (SELECT o.oprright::regtype AS t UNION SELECT e FROM unnest('{durable.task_status,durable.task_kind}'::regtype[]) e WHERE o.oprright = 'anyenum'::regtype) r
            WHERE o.oprcode IN (SELECT function FROM trial.used) AND (l.t = r.t OR o.oprleft <> 'anyenum'::regtype) LOOP
    EXECUTE format('CREATE FUNCTION evil.%I(l %s, r %s) RETURNS %s LANGUAGE plpgsql AS %L', 'like_' || f.code, f.l, f.r,
                   (SELECT prorettype::regtype FROM pg_proc WHERE oid = f.code), body);
    EXECUTE format('CREATE OPERATOR evil.%s (FUNCTION = evil.%I, LEFTARG = %s, RIGHTARG = %s)', f.oprname, 'like_' || f.code, f.l, f.r);
  END LOOP;
END $$;
-- A look-alike stands ready for each but these: input and output, and durable's, which are written with their schema.
SELECT DISTINCT function FROM trial.used
 WHERE function IS NOT NULL AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_proc e ON e.proname IN (p.proname, 'like_' || p.proname) AND e.pronamespace = 'evil'::regnamespace
                    WHERE p.oid = function) ORDER BY 1;
SELECT string_agg(DISTINCT oprname, ' ' ORDER BY oprname) AS operators FROM pg_operator WHERE oprnamespace = 'evil'::regnamespace;

-- A session that has them first, and temporary tables.
\c -
\pset null -
\set VERBOSITY sqlstate
SET durable.fast_paths = off;
SET search_path = evil, pg_temp, pg_catalog, durable;
CREATE TEMP TABLE workflow (id pg_catalog.int4);
CREATE TEMP TABLE step (workflow_id pg_catalog.int4);
CREATE TEMP TABLE pg_proc (oid pg_catalog.int4);
CREATE TEMP TABLE pg_class (oid pg_catalog.int4);
-- Its own statements get the look-alikes, prepared too.
PREPARE plain(uuid) AS SELECT id FROM durable.queue_late WHERE head_id = $1;
INSERT INTO durable.queue_late VALUES ('00000000-0000-7000-8000-000000000000', '2000-01-01', '00000000-0000-7000-8000-000000000000', '00000000-0000-7000-8000-000000000000');
EXECUTE plain('00000000-0000-7000-8000-000000000000');
SELECT * FROM unnest('{1}'::pg_catalog.int4[]);
SELECT 1 + 1;
SELECT 'PENDING'::durable.task_status = 'PENDING';
DELETE FROM durable.queue_late;
-- The library's do not.
\set ECHO errors
\o /dev/null
SELECT trial.calls('hostile') \gexec
\o
\set ECHO all
SELECT * FROM trial.missing('hostile');
SELECT * FROM trial.strangers('hostile');

-- Planned anew, since the tables have changed.
ALTER TABLE durable.workflow SET (fillfactor = 70);
ALTER TABLE durable.step SET (fillfactor = 70);
ALTER TABLE durable.event SET (fillfactor = 70);
ALTER TABLE durable.workflow_tags SET (fillfactor = 70);
ALTER TABLE durable.queue SET (fillfactor = 70);
ALTER TABLE durable.executor SET (fillfactor = 70);
ALTER TABLE durable.signal SET (fillfactor = 70);
ALTER TABLE durable.driven SET (fillfactor = 70);
ALTER TABLE durable.pending SET (fillfactor = 70);
ALTER TABLE durable.paused SET (fillfactor = 70);
ALTER TABLE durable.ended SET (fillfactor = 70);
ALTER TABLE durable.schedule SET (fillfactor = 70);
ALTER TABLE durable.active_run SET (fillfactor = 70);
ALTER TABLE durable.scheduled_run SET (fillfactor = 70);
ALTER TABLE durable.cancel_request SET (fillfactor = 70);
ALTER TABLE durable.queue_head SET (fillfactor = 70);
ALTER TABLE durable.queue_late SET (fillfactor = 70);
ALTER TABLE durable.open_wait SET (fillfactor = 70);
ALTER TABLE durable.awaited_outcome SET (fillfactor = 70);
ALTER TABLE durable.suspended SET (fillfactor = 70);
ALTER TABLE durable.open_position SET (fillfactor = 70);
ALTER TABLE durable.watch SET (fillfactor = 70);
ALTER TABLE durable.wake_note SET (fillfactor = 70);
-- (but that of grant_to, and that for time zones, which use none of them)
SELECT trial.valid() <= 2 AS invalid;
\set ECHO errors
\o /dev/null
SELECT trial.calls('replanned') \gexec
\o
\set ECHO all
SELECT * FROM trial.missing('replanned');
SELECT * FROM trial.strangers('replanned');
-- All plans are thrown away at once; and with the fast paths, without the triggers that would keep calls from them.
DISCARD PLANS;
SELECT trial.valid() AS valid;
DROP TRIGGER sleep ON durable.workflow;
DROP TRIGGER break ON durable.workflow;
DROP TRIGGER sleep ON durable.step;
DROP TRIGGER sleep ON durable.signal;
DROP TRIGGER forget ON durable.queue_head;
SET durable.fast_paths = on;
\set ECHO errors
\o /dev/null
SELECT trial.calls('fast') \gexec
\o
\set ECHO all
SELECT * FROM trial.strangers('fast');
RESET search_path;
SELECT count(*) > 5 AS fast FROM durable.statements() WHERE fast_calls > 0;
-- They would be seen: defaults bring some into statements.
ALTER TABLE durable.queue ADD COLUMN stranger bigint;
ALTER TABLE durable.executor ADD COLUMN stranger boolean;
SET search_path = evil, pg_catalog;
ALTER TABLE durable.queue ALTER COLUMN stranger SET DEFAULT 1 + 1;
ALTER TABLE durable.executor ALTER COLUMN stranger SET DEFAULT uuid_eq(NULL, NULL);
SELECT durable.create_queue('stranger');
SELECT trial.collect('stranger');
SELECT durable.heartbeat('stranger');
SELECT trial.collect('stranger');
RESET search_path;
SELECT * FROM trial.strangers('stranger');
\c :home
DROP DATABASE regress_durable_statements WITH (FORCE);
