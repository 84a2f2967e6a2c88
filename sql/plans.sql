-- At a million tasks the usual questions reach an index, and plans that were made while the tables were empty do too.
-- In a database of its own, which is dropped at the end. What a call read is seen from outside: by auto_explain, and by the counters of
-- each table and index.
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_plans;
RESET client_min_messages;
CREATE DATABASE regress_durable_plans;
\c regress_durable_plans
CREATE EXTENSION durable;
DO $$ BEGIN EXECUTE (SELECT string_agg(format('ALTER TABLE %s SET (autovacuum_enabled = off)', oid::regclass), ';') FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind = 'r'); END $$;
-- A fast path has no plan: where there is a trigger, every call runs its statement.
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing BEFORE INSERT ON durable.step FOR EACH ROW EXECUTE FUNCTION nothing();
CREATE TRIGGER nothing BEFORE INSERT ON durable.executor FOR EACH ROW EXECUTE FUNCTION nothing();

-- Every statement is prepared here while the tables are empty, or nearly so, and kept. ($1: the root "a", $2, $3: its children.)
CREATE FUNCTION pg_temp.id(n text) RETURNS uuid LANGUAGE sql AS $$ SELECT id FROM durable.workflow WHERE hashtext(name) = hashtext(n) AND name = n ORDER BY id DESC LIMIT 1 $$;
CREATE FUNCTION pg_temp.all_calls() RETURNS TABLE (what text, call text) LANGUAGE sql AS $all$
  VALUES
    ('start', 'SELECT durable.start(''a'', executor_id => ''e'')'),
    ('start by name', 'SELECT durable.start(''a'', executor_id => ''e'')'),
    ('attach', 'SELECT durable.attach($1, ''f'', true)'),
    ('claim_step', 'SELECT durable.claim_step($1, 0, ''s'')'),
    ('claim_step, locked', 'SELECT durable.claim_step($1, 0, ''s'')'),
    ('complete_and_claim', 'SELECT durable.complete_and_claim(durable.step_id($1, 0), ''0'', ''t'', max_retries => 1)'),
    ('fail', 'SELECT durable.fail(durable.step_id($1, 1), ''bad'')'),
    ('claim_step, again', 'SELECT durable.claim_step($1, 1, ''t'')'),
    ('complete', 'SELECT durable.complete(durable.step_id($1, 1))'),
    ('start_many', 'SELECT durable.start_many(''{a,b,c,b}'', executor_id => ''e'')'),
    ('start_many, joined', 'SELECT durable.start_many(''{a,b,c}'')'),
    ('claim_steps', 'SELECT durable.claim_steps($1, 4, ''{s,t,u}'')'),
    ('claim_steps, again', 'SELECT durable.claim_steps($1, 4, ''{s,t,u}'', lease => a.lease, executor_id => a.owner) FROM durable.attach($1, ''f'', true) a'),
    ('complete_many', 'SELECT durable.complete_many(ARRAY[durable.step_id($1, 4), durable.step_id($1, 6), pg_temp.id(''b''), pg_temp.id(''c'')])'),
    ('complete_and_claim_many', 'SELECT durable.complete_and_claim_many(ARRAY[durable.step_id($1, 5)], NULL, ''{p}'', ARRAY[(SELECT lease FROM durable.attach($1))], sequences => ''{50}'')'),
    ('complete_and_claim_many, looked at', 'SELECT durable.complete_and_claim_many(ARRAY[durable.step_id($1, 50)], NULL, ''{p}'', sequences => ''{51}'')'),
    ('replay, many', 'SELECT durable.claim_steps($1, 4, ''{s,t,u}'')'),
    ('replay', 'SELECT durable.claim_step($1, 0, ''s'')'),
    ('start_child', 'SELECT durable.start_child($1, 2, ''a-inline'')'),
    ('start_child, queued', 'SELECT durable.start_child($1, 3, ''a-queued'', queue => ''q'', priority => 9)'),
    ('start_child, found', 'SELECT durable.start_child($1, 2, ''a-inline'')'),
    ('claim_step, in a child', 'SELECT durable.claim_step($2, 0, ''s'')'),
    ('complete_and_claim_many, of two', 'SELECT durable.complete_and_claim_many(ARRAY[durable.step_id($1, 51), durable.step_id($2, 0)], NULL, ''{p,q}'')'),
    ('claim', 'SELECT durable.claim(''q'', ''e'')'),
    ('heartbeat', 'SELECT durable.heartbeat(''e'', ARRAY[$3], ''{1}'')'),
    ('emit', 'SELECT durable.emit($1, ''t'')'),
    ('events', 'SELECT durable.events($1), durable.events($1, ''t'')'),
    ('patched', 'SELECT durable.patched($1, 60, ''p'')'),
    ('fork', 'SELECT durable.fork($1, 1, clock_timestamp()::text)'),
    ('history', 'SELECT durable.history($1)'),
    ('tree', 'SELECT durable.tree($1)'),
    ('output', 'SELECT durable.output(durable.step_id($1, 0))'),
    ('set_timeout', 'SELECT durable.set_timeout($1, ''1 hour'')'),
    ('pause_tree', 'SELECT durable.pause_tree($1)'),
    ('resume_tree', 'SELECT durable.resume_tree($1)'),
    ('pause_tree, a child', 'SELECT durable.pause_tree($2)'),
    ('resume_tree, a child', 'SELECT durable.resume_tree($2)'),
    ('release', 'SELECT durable.release(''f'', $1)'),
    ('recover', 'SELECT durable.recover(''g'', 1)'),
    ('request_cancel', 'SELECT durable.request_cancel($1, ''why'')'),
    ('request_cancel, again', 'SELECT durable.request_cancel($1, grace => ''1 hour'')'),
    ('claim_step, told', 'SELECT durable.claim_step($1, 61, ''s'')'),
    ('drain_queue', 'SELECT durable.drain_queue(''q'', 1)'),
    ('fail, a workflow', 'SELECT durable.fail($1, ''bad'')'),
    ('resume_failed', 'SELECT durable.resume_failed($1, ''e'')'),
    ('start_child, again', 'SELECT durable.start_child($1, 2, ''a-inline'')'),
    ('cancel_tree', 'SELECT durable.cancel_tree($3)'),
    ('complete, a workflow', 'SELECT durable.complete($1)'),
    ('release, all', 'SELECT durable.release(''e'')'),
    ('stats', 'SELECT count(*) FROM durable.stats()'),
    ('metrics', 'SELECT durable.metrics()'),
    ('executors', 'SELECT durable.executors()'),
    ('stuck', 'SELECT durable.stuck()'),
    ('purge', 'SELECT durable.purge(''1 year'', 3)')
$all$;
-- Runs them all and returns what each has read: indexes by name, whole tables as "all of"; how many rows where that is a lot.
CREATE FUNCTION pg_temp.counters() RETURNS TABLE (name text, scans bigint, tuples bigint) LANGUAGE sql AS $$
  SELECT indexrelname::text, pg_stat_get_xact_numscans(indexrelid), pg_stat_get_xact_tuples_returned(indexrelid)
    FROM pg_stat_user_indexes WHERE schemaname = 'durable' AND relname NOT IN ('queue', 'executor')
  UNION ALL
  SELECT 'all of ' || relname, pg_stat_get_xact_numscans(relid), pg_stat_get_xact_tuples_returned(relid)
    FROM pg_stat_user_tables WHERE schemaname = 'durable' AND relname NOT IN ('queue', 'executor', 'queue_head', 'queue_late', 'buckets')
$$;
CREATE FUNCTION pg_temp.run(round int = 1) RETURNS TABLE (what text, reads text) LANGUAGE plpgsql AS $$
DECLARE
  c record;
  a uuid;
  a_inline uuid;
  a_queued uuid;
  before jsonb;
BEGIN
  FOR c IN SELECT * FROM pg_temp.all_calls() LOOP
    a := pg_temp.id('a');
    a_inline := pg_temp.id('a-inline');
    a_queued := pg_temp.id('a-queued');
    SELECT jsonb_object_agg(name, ARRAY[scans, tuples]) INTO before FROM pg_temp.counters();
    EXECUTE c.call USING a, a_inline, a_queued;
    what := c.what;
    SELECT string_agg(name || CASE WHEN n.tuples - (before -> name ->> 1)::bigint > 5000 THEN ' (many rows)' ELSE '' END, ', ' ORDER BY name) INTO reads
      FROM pg_temp.counters() n WHERE n.scans > (before -> name ->> 0)::bigint
        -- who starts in a queue now and then looks there for a head
        AND NOT (c.what = 'start_child, queued' AND name = 'pending_pkey');
    RETURN NEXT;
  END LOOP;
END $$;
-- What each reads at least: of a call that took long, as if it had waited, others follow that look again.
CREATE FUNCTION pg_temp.least() RETURNS TABLE (what text, reads text) LANGUAGE sql AS $$
  SELECT r.what, (array_agg(r.reads ORDER BY length(r.reads)))[1]
  FROM generate_series(1, 3) i CROSS JOIN LATERAL ROWS FROM (pg_temp.run(i)) WITH ORDINALITY r (what, reads, n)
  GROUP BY r.n, r.what ORDER BY r.n
$$;
SELECT durable.create_queue('q', max_concurrency => 1000000);
SELECT count(*) FROM pg_temp.run();

-- 300,000 workflows (100,000 roots, of which 30,000 wait in a queue, 5,000 wait released, 10,000 are RUNNING under 100 executors, the others
-- finished; and 200,000 children) and 700,000 steps.
INSERT INTO durable.executor SELECT 'executor ' || i, clock_timestamp() FROM generate_series(0, 99) i;
INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, completed_at, name, queue_name, executor_id, priority, error, deadline)
SELECT u, u, (CASE WHEN i < 35000 THEN 'PENDING' WHEN i < 45000 THEN 'RUNNING' WHEN i < 47000 THEN 'FAILED' ELSE 'COMPLETED' END)::durable.task_status, 1, t,
       CASE WHEN i < 30000 THEN t WHEN i < 35000 THEN '2100-01-01'::timestamptz END, CASE WHEN i >= 35000 THEN t END, CASE WHEN i >= 45000 THEN t END, 'root ' || CASE WHEN i < 45000 THEN i ELSE i % 20000 END,
       CASE WHEN i < 30000 THEN 'q' END, CASE WHEN i BETWEEN 35000 AND 44999 THEN 'executor ' || i % 100 END, i % 3, CASE WHEN i BETWEEN 45000 AND 46999 THEN 'bad' END,
       CASE WHEN i BETWEEN 35000 AND 44999 THEN '2100-01-01'::timestamptz END
  FROM generate_series(0, 99999) i, LATERAL (SELECT ('01800000-0000-7000-8000-' || lpad(to_hex(i), 6, '0') || '000000')::uuid AS u, '2023-01-01'::timestamptz + i * interval '1 min' AS t) x;
INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, started_at, completed_at, name)
SELECT ('01800000-0000-7000-9000-' || lpad(to_hex(i), 6, '0') || '000000')::uuid, p, p, i / 20000, 'COMPLETED', 1, t, t, t, 'child ' || i % 1000
  FROM generate_series(0, 199999) i, LATERAL (SELECT ('01800000-0000-7000-8000-' || lpad(to_hex(50000 + i % 20000), 6, '0') || '000000')::uuid AS p, '2023-01-01'::timestamptz + i * interval '1 min' AS t) x;
INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, started_at, completed_at, name)
SELECT ('01800000-0000-7000-8000-' || lpad(to_hex(i / 7), 6, '0') || '000000')::uuid, 20 + i % 7, 1, 1, 'COMPLETED', 'STEP', t, t, 'step ' || i % 7
  FROM generate_series(0, 699999) i, LATERAL (SELECT '2023-01-01'::timestamptz + i * interval '1 s' AS t) x;
INSERT INTO durable.workflow_tags (workflow_id, tags)
SELECT id, jsonb_build_object('customer', row_number() OVER (ORDER BY id) % 5000) FROM durable.workflow WHERE parent_id IS NULL;
SELECT round(durable.count(), -4);

-- The plans of before, then those that are made with statistics: never all of a table, an id by the primary key, children by their parent,
-- and nowhere many rows: of what is counted, some thousands. (all_calls says what each is.) What this session has met in a register it finds
-- without an index, and a table that was never used (here those of waits) it does not look into.
\pset format unaligned
\pset tuples_only on
CREATE TEMP TABLE kept AS SELECT * FROM pg_temp.least();
SELECT * FROM kept;
ANALYZE;
SELECT r.what, r.reads, 'before: ' || k.reads FROM pg_temp.least() r JOIN kept k USING (what) WHERE r.reads <> k.reads;

-- list and count: the indexes in their plans, no Seq Scan, and thousands of rows are not read to be thrown away. The newest here are all
-- children, so that the roots and what never started are not among the first 2,000: their register is read, or on along the index.
\setenv EXPLAIN 'PGOPTIONS="-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c auto_explain.log_nested_statements=on -c auto_explain.log_analyze=on -c auto_explain.log_timing=off -c client_min_messages=log" psql -X -q -A -t -d regress_durable_plans -c "SELECT count(*) FROM durable.$q" 2>&1 | sed -nE -e "s/.*(Seq Scan on [a-z]+).*/\\1/p" -e "s/.*(Bitmap Index Scan on|Index (Only )?Scan( Backward)? using) ([a-z_]+).*/\\4/p" -e "s/.*(Rows Removed by Filter): [0-9]{4,}.*/\\1: thousands/p" -e "/ERROR/p" | sort -u'
\! q="list(root_only => true)"; eval "$EXPLAIN"
\! q="list(root_only => true, descending => false, max_rows => 20, skip => 40)"; eval "$EXPLAIN"
\! q="list('PENDING')"; eval "$EXPLAIN"
\! q="list('RUNNING')"; eval "$EXPLAIN"
\! q="list('COMPLETED')"; eval "$EXPLAIN"
\! q="list('FAILED', 'WORKFLOW', descending => false)"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'started_at')"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'completed_at')"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'completed_at', descending => false)"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'name')"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'status')"; eval "$EXPLAIN"
\! q="list(root_only => true, sort => 'status', descending => false)"; eval "$EXPLAIN"
\! q="list(queue_name => 'q', after_id => '01800000-0000-7000-8000-003a98000000')"; eval "$EXPLAIN"
\! q="list(after_id => '01800000-0000-7000-8000-003a98000000')"; eval "$EXPLAIN"
\! q="list(name => 'root 100', root_only => true)"; eval "$EXPLAIN"
\! q="list(name => 'child 7')"; eval "$EXPLAIN"
\! q="list('COMPLETED', name => 'root 100', kind => 'WORKFLOW')"; eval "$EXPLAIN"
\! q="list(parent_id => '01800000-0000-7000-8000-00ea60000000')"; eval "$EXPLAIN"
\! q="list(parent_id => '01800000-0000-7000-8000-00ea60000000', kind => 'STEP')"; eval "$EXPLAIN"
\! q="list(parent_id => '01800000-0000-7000-8000-00ea60000000', kind => 'WORKFLOW', sort => 'name')"; eval "$EXPLAIN"
\! q="list('COMPLETED', parent_id => '01800000-0000-7000-8000-00ea60000000')"; eval "$EXPLAIN"
\! q="list(driven_by => 'executor 7')"; eval "$EXPLAIN"
\! q="list('RUNNING', driven_by => 'executor 7', sort => 'started_at')"; eval "$EXPLAIN"
\! q="list(suspended_only => true)"; eval "$EXPLAIN"
\! q="list('FAILED', queue_name => 'q')"; eval "$EXPLAIN"
\! q="executors()"; eval "$EXPLAIN"
\! q="stuck()"; eval "$EXPLAIN"
\! q="count('RUNNING')"; eval "$EXPLAIN"
\! q="count(name => 'root 100', root_only => true)"; eval "$EXPLAIN"
\! q="count(kind => 'STEP', parent_id => '01800000-0000-7000-8000-00ea60000000')"; eval "$EXPLAIN"
\! q="count(parent_id => '01800000-0000-7000-8000-00ea60000000')"; eval "$EXPLAIN"
\! q="count(queue_name => 'q')"; eval "$EXPLAIN"
\! q="count()"; eval "$EXPLAIN"
-- A session's first temporary table changes its search_path, and with it the server plans anew, by the session's settings. So the next call
-- plans once more.
\c regress_durable_plans
SELECT count(*) FROM durable.recover('g', 0);
SELECT count(*) FROM durable.heartbeat('g', '{}', '{}');
CREATE TEMP TABLE first ();
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM durable.heartbeat('g', '{}', '{}');
BEGIN;
SELECT count(*) FROM durable.heartbeat('g', '{}', '{}');
SELECT pg_stat_get_xact_numscans('durable.driven'::regclass) AS scans_of_all_that_is_driven;
ROLLBACK;
\c :home
DROP DATABASE regress_durable_plans;
