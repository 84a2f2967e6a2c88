-- The fast paths: what a statement would write, or the statement.
-- In a database of its own, because its tables get triggers and constraints that are not the extension's.
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_fast;
RESET client_min_messages;
CREATE DATABASE regress_durable_fast;
\c regress_durable_fast
CREATE EXTENSION durable;
CREATE EXTENSION amcheck;

-- A workflow's life, and what it leaves in the tables but for ids and times.
CREATE PROCEDURE life(n text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  s uuid;
BEGIN
  SELECT workflow_id INTO w FROM durable.start(n, '{"in": 1}', 'handler', 'e', timeout => '1 hour', max_recovery_attempts => 7, app_version => 'v');
  COMMIT;
  SELECT step_id INTO s FROM durable.claim_step(w, 0, 'first', '[1]', 'TRANSACTION', 1, 'e', max_retries => 3, backoff => '1 s', max_backoff => '1 min',
                                                timeout => '1 min');
  COMMIT;
  SELECT step_id INTO s FROM durable.complete_and_claim(s, '{"out": 1}', 'second', lease => 1, executor_id => 'e', attempt => 1);
  COMMIT;
  SELECT step_id INTO s FROM durable.complete_and_claim(s, NULL, 'a gap', sequence => 5, input => '5', kind => 'TRANSACTION', lease => 1, executor_id => 'e',
                                                        max_retries => 1, backoff => '2 s', timeout => '3 s');
  COMMIT;
  PERFORM durable.complete(s, to_jsonb(repeat('long ', 10000)), 1, 1);
  COMMIT;
  PERFORM durable.claim_step(w, 6, 'left', lease => 1);
  COMMIT;
  SELECT step_id INTO s FROM durable.claim_step(w, 7, 'tried', lease => 1, max_retries => 1);
  COMMIT;
  PERFORM durable.fail(s, 'an error', 1, 1, detail => '{"code": 503}');
  COMMIT;
  PERFORM durable.claim_step(w, 7, 'tried', lease => 1, max_retries => 1);
  COMMIT;
  PERFORM durable.complete(s, NULL, 1, 2);
  COMMIT;
  PERFORM durable.claim_step(w, 8, 'of many', lease => 1);
  COMMIT;
  PERFORM * FROM durable.complete_and_claim_many(ARRAY[durable.step_id(w, 8)], ARRAY[NULL::jsonb], '{one more}', '{1}', '{1}', inputs => '{9}', kind => 'TRANSACTION',
                                                 executor_id => 'e', max_retries => 1, backoff => '2 s', timeout => '3 s');
  COMMIT;
  PERFORM durable.complete(w, '"done"', 1);
  COMMIT;
  PERFORM durable.start(n || ', queued', queue => 'q', priority => 3, executor_id => 'nobody', timeout => '1 hour');
  COMMIT;
  PERFORM durable.start(n || ', later', queue => 'q', run_at => '2100-01-01');
  COMMIT;
END $$;
-- Jobs that fail and are tried again: one is completed then, the other waits.
CREATE PROCEDURE tried(n text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
BEGIN
  FOR i IN 1 .. 2 LOOP
    PERFORM durable.start(n || ', tried', queue => 'jobs', timeout => '1 hour', max_retries => 2, backoff => '0', max_backoff => '1 min');
    COMMIT;
    SELECT workflow_id INTO w FROM durable.claim('jobs', 'e');
    COMMIT;
    PERFORM durable.fail(w, 'an error', 1, detail => '{"code": 503}', retry_after => CASE i WHEN 2 THEN interval '1 hour' END);
    COMMIT;
    CONTINUE WHEN i = 2;
    PERFORM durable.claim('jobs', 'e');
    COMMIT;
    PERFORM durable.complete(w, '"done"', 3);
    COMMIT;
  END LOOP;
END $$;
CREATE FUNCTION life_of(n text) RETURNS TABLE (life text) LANGUAGE sql AS $$
  WITH w AS (SELECT * FROM durable.workflow WHERE name IN (n, n || ', queued', n || ', later', n || ', tried'))
  SELECT string_agg(key || '=' || CASE WHEN key = 'name' THEN regexp_replace(value, '^' || n, 'w') WHEN key ~ '^(root_|workflow_)?id$' THEN 'id'
                                       WHEN key ~ '_at$|^deadline$' AND value !~ '^2100' THEN 'time' ELSE left(value, 40) || length(value) END, ' ' ORDER BY key)
    FROM (SELECT 1 AS kind, to_jsonb(w), created_at::text AS position FROM w UNION ALL
          SELECT 2, to_jsonb(s), s.sequence::text FROM durable.step s JOIN w ON w.id = s.workflow_id) r (kind, r, position),
         jsonb_each_text(jsonb_strip_nulls(r))
    GROUP BY kind, position ORDER BY kind, position $$;
SELECT durable.create_queue('q');
-- the first runs each statement once, which the second need not
CALL life('by statements');
CREATE TABLE by_statements AS SELECT * FROM life_of('by statements');
CALL life('fast');
SELECT * FROM life_of('fast');
SELECT * FROM life_of('fast') EXCEPT ALL SELECT * FROM by_statements;
SELECT w.deadline = w.created_at + w.timeout AS deadline, w.started_at = w.created_at AS started, w.completed_at > w.created_at AS completed,
       s.deadline = s.started_at + s.timeout AS step_deadline
  FROM durable.workflow w JOIN durable.step s ON s.workflow_id = w.id WHERE w.name = 'fast' AND s.sequence = 0;
SELECT run_at = created_at AS run_at FROM durable.workflow WHERE name = 'fast, queued';
SELECT durable.create_queue('jobs');
SET durable.fast_paths = off;
CALL tried('slowly');
RESET durable.fast_paths;
CREATE TABLE slowly AS SELECT * FROM life_of('slowly');
CALL tried('quickly');
SELECT * FROM life_of('quickly');
SELECT * FROM life_of('quickly') EXCEPT ALL SELECT * FROM slowly;
SELECT statement, fast_calls FROM durable.statements() WHERE statement = 'RetryWorkflow' AND has_fast_path;
SELECT durable.drop_queue('jobs') FROM durable.cancel_tree((SELECT id FROM durable.workflow WHERE name = 'slowly, tried' AND status = 'PENDING')) s,
  durable.cancel_tree((SELECT id FROM durable.workflow WHERE name = 'quickly, tried' AND status = 'PENDING')) q;

-- Signals and waits: sent first, or asked for first; others that are open; one of a hundred signals is counted.
CREATE PROCEDURE waits(n text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
BEGIN
  SELECT workflow_id INTO w FROM durable.start(n, executor_id => 'e');
  COMMIT;
  PERFORM durable.signal(w, 'go', '{"first": 1}');
  COMMIT;
  PERFORM durable.await_signal(w, 0, 'go', '1 hour', 1);
  COMMIT;
  PERFORM durable.await_signal(w, 1, 'go', '2 hours', lease => 1);
  COMMIT;
  PERFORM durable.signal(w, 'go', to_jsonb(repeat('long ', 10000)));
  COMMIT;
  PERFORM durable.await_signal(w, 1, 'go', lease => 1);
  COMMIT;
  PERFORM durable.await_signal(w, 2, 'select', lease => 1, signals => '{a,b}');
  COMMIT;
  PERFORM durable.signal(w, 'b', '1', 'key');
  COMMIT;
  PERFORM durable.await_signal(w, 2, 'select', lease => 1);
  COMMIT;
  PERFORM durable.await_callback(w, 3, 'call', '0 s', 1);
  COMMIT;
  PERFORM durable.await_workflow(w, 4, 'other', id) FROM durable.workflow WHERE name = 'by statements';
  COMMIT;
  PERFORM durable.await_callback(w, 5, 'open', '1 hour', 1), durable.await_any(w, 6, 'any', '{5}', lease => 1), durable.sleep(w, 7, 'nap', '1 day', lease => 1);
  COMMIT;
  PERFORM durable.signal(w, 'left', '1');
  COMMIT;
END $$;
CREATE FUNCTION waits_of(n text) RETURNS TABLE (wait text) LANGUAGE sql AS $$
  WITH w AS (SELECT * FROM durable.workflow WHERE name = n)
  SELECT string_agg(key || '=' || CASE WHEN key ~ '^(workflow_)?id$|^awaited$' THEN 'id' WHEN key ~ '_at$' THEN 'time' ELSE left(value, 40) || length(value) END, ' ' ORDER BY key)
    FROM (SELECT 1 AS kind, to_jsonb(s), s.sequence::text FROM durable.step s JOIN w ON w.id = s.workflow_id UNION ALL
          SELECT 2, to_jsonb(g) - 'counted', g.id::text FROM durable.signal g JOIN w ON w.id = g.workflow_id UNION ALL
          SELECT 3, to_jsonb(o), o.sequence::text FROM durable.open_wait o JOIN w ON w.id = o.workflow_id) r (kind, r, position),
         jsonb_each_text(jsonb_strip_nulls(r))
    GROUP BY kind, position ORDER BY kind, position $$;
SET durable.fast_paths = off;
CALL waits('waits by statements');
RESET durable.fast_paths;
CALL waits('waits, first');
CALL waits('fast waits');
SELECT * FROM waits_of('fast waits');
SELECT * FROM waits_of('fast waits') EXCEPT ALL SELECT * FROM waits_of('waits by statements');
SELECT count(*) FROM durable.statements() s WHERE s.statement IN ('BeginWait', 'EndWait', 'NextSignal', 'InsertSignal') AND s.fast_calls > 0;
SELECT s.run_at = s.started_at + s.timeout AS run_at, s.completed_at >= s.started_at AS completed FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
 WHERE w.name = 'fast waits' AND s.sequence < 2 ORDER BY s.sequence;

-- Which statements a second life still runs (auto_explain tells): what looks at the queue, and in REPEATABLE READ all. Of three lives, what each
-- runs at least: after a call that took long, as if it had waited, others follow that look again.
\set explain 'LOAD \'auto_explain\'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET client_min_messages = log'
\setenv EXPLAIN :explain
\setenv LIFE 'psql -X -q -A -t -d regress_durable_fast -c "CALL life(\'$1, first\')" -c "$EXPLAIN" -c "SET default_transaction_isolation = \'$2\'" -c "CALL life(\'$1\')" 2>&1'
\setenv STATEMENTS 'sed -nE "s/.*Query Text: ((INSERT INTO|UPDATE|WITH|SELECT .*FROM) .*(durable\\.(workflow|step|executor|queue)) .*)/\\1/p" | sed -E "s/(SELECT) .*FROM (durable\\.[a-z]+) .*/\\1 \\2/; s/ (AS|SET|\\().*//" | sort | uniq -c'
\setenv LEAST 'awk \'{ n = $1; $1 = ""; runs[$0]++; if (!($0 in least) || n < least[$0]) least[$0] = n } END { for (s in least) if (runs[s] == 3) print least[s] s }\' | sort -k 2'
\! for n in a b c; do set -- "$n" "read committed"; eval "$LIFE" | eval "$STATEMENTS"; done | eval "$LEAST"
\! for n in d e f; do set -- "$n" "repeatable read"; eval "$LIFE" | eval "$STATEMENTS"; done | eval "$LEAST"
SELECT count(*) AS lines, (SELECT count(*) FROM (SELECT * FROM life_of('d') EXCEPT ALL SELECT * FROM by_statements) x) AS differences FROM life_of('d');

-- What a subtransaction has done is undone with it, and what it did is seen by the next call.
SELECT workflow_id AS id FROM durable.start('w') \gset
SELECT action FROM durable.claim_step(:'id', 0, 's', lease => 1);
BEGIN;
SAVEPOINT a;
SELECT action FROM durable.complete_and_claim(durable.step_id(:'id', 0), '0', 't', lease => 1);
SELECT action FROM durable.complete_and_claim(durable.step_id(:'id', 1), '1', 'u', lease => 1);
ROLLBACK TO a;
SELECT sequence, status FROM durable.step WHERE workflow_id = :'id' ORDER BY sequence;
SELECT action FROM durable.complete_and_claim(durable.step_id(:'id', 0), '"zero"', 't', lease => 1);
SELECT action, attempt FROM durable.claim_step(:'id', 1, 't', lease => 1);
COMMIT;
-- in one statement
SELECT (durable.complete_and_claim(durable.step_id(:'id', i), to_jsonb(i), 's' || i, lease => 1)).action FROM generate_series(1, 4) i;
SELECT sequence, status, output FROM durable.step WHERE workflow_id = :'id' ORDER BY sequence;

-- Positions that are not the next: earlier, taken, its own.
SELECT action, output FROM durable.complete_and_claim(durable.step_id(:'id', 5), '5', 's', sequence => 0, lease => 1);
SELECT action FROM durable.claim_step(:'id', 9, 'nine', lease => 1);
SELECT action FROM durable.claim_step(:'id', 7, 'seven', lease => 1, executor_id => 'x');
SELECT action, error FROM durable.complete_and_claim(durable.step_id(:'id', 7), '7', 'nine', sequence => 9, lease => 1, executor_id => 'x');
SELECT action, error FROM durable.complete_and_claim(durable.step_id(:'id', 9), '9', 'nine', sequence => 9, lease => 1);
SELECT sequence, status, output FROM durable.step WHERE workflow_id = :'id' AND sequence > 4 ORDER BY sequence;

-- What is not legal is refused as ever.
SELECT action FROM durable.claim_step(:'id', 10, 'ten', lease => 1);
SELECT durable.complete(durable.step_id(:'id', 10), '10', 2);
SELECT durable.complete(durable.step_id(:'id', 10), '10', 1, 2);
SELECT durable.complete(durable.step_id(:'id', 11), '10', 1);
SELECT action FROM durable.claim_step(:'id', 11, 'eleven', lease => 2);
SELECT durable.set_timeout(:'id', '0 s');
SELECT action FROM durable.claim_step(:'id', 11, 'eleven', lease => 1);
SELECT action, left(error, 5) AS error FROM durable.complete_and_claim(durable.step_id(:'id', 10), '10', 'eleven', lease => 1);
SELECT durable.set_timeout(:'id', NULL);
SELECT durable.pause_tree(:'id');
SELECT action FROM durable.claim_step(:'id', 11, 'eleven', lease => 1);
SELECT durable.complete(:'id', NULL, 1);
SELECT durable.resume_tree(:'id');
SELECT created FROM durable.start_child(:'id', 12, 'child', lease => 1);
SELECT durable.complete(durable.step_id(:'id', 12), NULL, 1);
SELECT durable.complete(:'id', '"w"', 1);
SELECT name, status FROM durable.workflow WHERE root_id = :'id' ORDER BY id;

-- Rows that find no room on their page get entries in all indexes, also in those that are not the extension's.
CREATE INDEX even ON durable.step ((sequence * 2)) WHERE sequence % 2 = 0;
CREATE INDEX outputs ON durable.step (hashtext(output::text));
CREATE INDEX named ON durable.workflow (upper(name), status);
SELECT workflow_id AS id FROM durable.start('wide') \gset
SELECT count(*) FROM durable.claim_steps(:'id', 0, array_fill('s'::text, '{300}'), lease => 1);
SELECT count(*) FILTER (WHERE durable.complete(durable.step_id(:'id', i), to_jsonb(repeat('wide ', 200)), 1)) FROM generate_series(0, 299) i;
DO $$
DECLARE
  w uuid := (durable.start('deep')).workflow_id;
BEGIN
  PERFORM durable.claim_step(w, 0, 's', lease => 1);
  FOR i IN 0 .. 298 LOOP
    PERFORM durable.complete_and_claim(durable.step_id(w, i), to_jsonb(i), 's', lease => 1);
  END LOOP;
  PERFORM durable.complete(w, '1', 1);
END $$;
SELECT count(bt_index_check(indexrelid, heapallindexed => true)) AS indexes FROM pg_index WHERE indrelid IN ('durable.workflow'::regclass, 'durable.step'::regclass);
SET enable_seqscan = off;
SELECT count(*) FROM durable.step WHERE sequence % 2 = 0 AND sequence * 2 > 100;
SELECT status FROM durable.workflow WHERE upper(name) = 'DEEP';
RESET enable_seqscan;
SELECT * FROM durable.check();
DROP INDEX durable.even, durable.outputs, durable.named;

-- The indexes may be created anew, and at the end the extension, too.
REINDEX TABLE durable.workflow;
REINDEX TABLE CONCURRENTLY durable.step;
CALL life('planned anew');
CALL life('reindexed');
SELECT count(bt_index_check(indexrelid, heapallindexed => true)) AS indexes FROM pg_index WHERE indrelid IN ('durable.workflow'::regclass, 'durable.step'::regclass);

-- What somebody has added to the tables holds, whichever way a call goes.
CREATE FUNCTION try(q text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  r text;
BEGIN
  EXECUTE q INTO r;
  RETURN r;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
CREATE FUNCTION try_all() RETURNS TABLE (call text, result text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
BEGIN
  FOR i IN 1 .. 2 LOOP
    call := 'start';
    result := try('SELECT durable.start(''forbidden'', ''0'')');
    IF result ~ '^2' THEN
      RETURN NEXT;
    END IF;
    w := (durable.start('allowed ' || random(), '1')).workflow_id;
    call := 'claim_step';
    result := try(format('SELECT (durable.claim_step(%L, 0, ''forbidden'', lease => 1)).action', w));
    RETURN NEXT;
    PERFORM durable.claim_step(w, 0, 'allowed', '1', lease => 1);
    call := 'complete_and_claim';
    result := try(format('SELECT (durable.complete_and_claim(durable.step_id(%L, 0), ''0'', ''forbidden'', lease => 1)).action', w));
    RETURN NEXT;
    call := 'complete';
    result := try(format('SELECT durable.complete(durable.step_id(%L, 0), NULL, 1)', w));
    RETURN NEXT;
    call := 'complete, the root';
    result := try(format('SELECT durable.complete(%L, NULL, 1)', w));
    RETURN NEXT;
  END LOOP;
END $$;
ALTER TABLE durable.workflow ADD CONSTRAINT workflow_mine CHECK (name <> 'forbidden' AND (completed_at IS NULL OR output IS NOT NULL)) NOT VALID;
ALTER TABLE durable.step ADD CONSTRAINT step_mine CHECK (name <> 'forbidden' AND (status <> 'COMPLETED' OR output IS NOT NULL)) NOT VALID;
SELECT * FROM try_all();
ALTER TABLE durable.workflow DROP CONSTRAINT workflow_mine;
ALTER TABLE durable.step DROP CONSTRAINT step_mine;
DELETE FROM durable.step;
DELETE FROM durable.workflow;
ALTER TABLE durable.step ALTER input SET NOT NULL;
SELECT * FROM try_all();
ALTER TABLE durable.step ALTER input DROP NOT NULL;
CREATE DOMAIN label AS text CHECK (value <> 'forbidden');
ALTER TABLE durable.workflow ALTER app_version TYPE label, ALTER max_recovery_attempts TYPE smallint, ALTER timeout TYPE interval(0);
ALTER TABLE durable.executor ALTER executor_id TYPE text COLLATE "default";
INSERT INTO durable.executor SELECT x, clock_timestamp() FROM unnest('{a,B,c,D,E,f,G,h}'::text[]) x;
CREATE FUNCTION try_types() RETURNS TABLE (call text, result text) LANGUAGE plpgsql AS $$
DECLARE
  e text;
BEGIN
  FOR i IN 1 .. 2 LOOP
    call := 'a domain';
    result := try(format('SELECT durable.start(''domain %s'', app_version => ''forbidden'')', i));
    RETURN NEXT;
    call := 'smallint';
    result := try(format('SELECT durable.start(''priority %s'', queue => ''q'', max_recovery_attempts => 70000)', i));
    RETURN NEXT;
    PERFORM durable.start('timeout ' || i, timeout => '1.7 s');
    call := 'interval(0)';
    SELECT w.timeout INTO result FROM durable.workflow w WHERE w.name = 'timeout ' || i;
    RETURN NEXT;
  END LOOP;
  FOR e IN SELECT executor_id FROM durable.executor LOOP
    PERFORM durable.start('of ' || e, executor_id => e);
    call := 'another collation';
    result := (durable.start('of ' || e, executor_id => 'other')).owner = e;
    RETURN NEXT;
  END LOOP;
END $$;
SELECT DISTINCT * FROM try_types() ORDER BY 1, 2;
ALTER TABLE durable.workflow ALTER app_version TYPE text COLLATE "C", ALTER max_recovery_attempts TYPE int, ALTER timeout TYPE interval;
ALTER TABLE durable.executor ALTER executor_id TYPE text COLLATE "C";
-- (a call that has waited, as on a busy machine, writes its row twice)
CREATE TABLE log (what text, which text);
GRANT INSERT ON log TO PUBLIC;
CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.log VALUES (concat_ws(' ', TG_OP, TG_TABLE_NAME, NEW.status), concat_ws(' ', NEW.name, to_jsonb(NEW) ->> 'sequence'));
  RETURN NEW;
END $$;
CREATE TRIGGER mine AFTER INSERT OR UPDATE ON durable.workflow FOR EACH ROW EXECUTE FUNCTION log();
CREATE TRIGGER mine AFTER INSERT OR UPDATE ON durable.step FOR EACH ROW EXECUTE FUNCTION log();
CALL life('planned anew');
TRUNCATE log;
CALL life('logged');
SELECT count(DISTINCT which), what FROM log GROUP BY what ORDER BY what;
DROP TRIGGER mine ON durable.workflow;
DROP TRIGGER mine ON durable.step;
ALTER TABLE durable.workflow ADD mine text DEFAULT 'mine';
ALTER TABLE durable.step ADD mine int GENERATED ALWAYS AS (sequence + 1) STORED;
CALL life('planned anew');
CALL life('mine');
SELECT count(*), count(mine) FROM durable.workflow WHERE name LIKE 'mine%';
SELECT s.sequence, s.mine FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name = 'mine' ORDER BY sequence;
ALTER TABLE durable.workflow DROP mine;
ALTER TABLE durable.step DROP mine;
CREATE DOMAIN mine AS text DEFAULT 'mine';
ALTER TABLE durable.workflow ADD mine mine;
CALL life('planned with a domain');
CALL life('domain');
SELECT count(*), count(mine) FROM durable.workflow WHERE name LIKE 'domain%';
ALTER TABLE durable.workflow DROP mine;

DROP EXTENSION durable;
CREATE EXTENSION durable;
SELECT durable.create_queue('q');
CALL life('planned anew');
CALL life('anew');
SELECT count(*) AS lines, (SELECT count(*) FROM (SELECT * FROM life_of('anew') EXCEPT ALL SELECT * FROM by_statements) x) AS differences FROM life_of('anew');
SELECT * FROM durable.check();
\c :home
DROP DATABASE regress_durable_fast;
