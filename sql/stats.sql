-- durable.stats and durable.metrics(), in a database of its own, which is dropped at the end: they count everybody's.
\pset null -
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_stats;
CREATE DATABASE regress_durable_stats;
\c regress_durable_stats
\pset null -
SET client_min_messages = warning;
CREATE EXTENSION durable;
LOAD 'durable';
CREATE FUNCTION id(n text) RETURNS uuid LANGUAGE sql AS $$ SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1 $$;
-- Moves the clock to so long after a time that is long ago.
CREATE FUNCTION at(seconds float8) RETURNS void LANGUAGE sql AS $$ SELECT set_config('durable.clock_offset', (seconds - 1000000)::text, false) $$;
CREATE FUNCTION n(query text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE query; END $$;
CREATE VIEW s AS SELECT queue_name AS q, pending AS pend, due, round(extract(epoch FROM oldest_pending), -3) AS oldest, running AS run, paused, stale, stale_executors AS owners,
    retries_waiting AS retry, completed_last_minute AS done, failed_last_minute AS fail, cancelled_last_minute AS canc
  FROM durable.stats ORDER BY 1;

-- The columns, and what they are in an empty database: one row for what has no queue.
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'durable.stats'::regclass AND attnum > 0 ORDER BY attnum;
SELECT at(0);
SELECT * FROM s;
SET durable.executor_timeout = '2000 s';

-- Queues with their limits; a row each though nothing is in them.
SELECT durable.create_queue('a'), durable.create_queue('b', 3, 5, '10 s'), durable.create_queue('c'), durable.pause_queue('c');
SELECT queue_name, queue_paused, max_concurrency, rate_limit, rate_limit_window FROM durable.stats ORDER BY 1;

-- Pending and due: what waits for its time is not due, and the oldest is that which has been due for longest.
SELECT n('SELECT durable.start(''a' || i || ''', queue => ''a'')') FROM generate_series(1, 3) i;
SELECT at(10000);
SELECT n('SELECT durable.start(''a4'', queue => ''a'', priority => 9)'), n('SELECT durable.start(''a5'', queue => ''a'', run_at => now() + interval ''1 day'')');
SELECT at(20000);
SELECT n('SELECT durable.start(''b' || i || ''', queue => ''b'', run_at => clock_timestamp() + interval ''1 day'')') FROM generate_series(1, 2) i;
SELECT * FROM s;
-- Released roots are pending without a queue; inline children are nobody's but their root's.
SELECT n('SELECT durable.start(''r' || i || ''', executor_id => ''e'')') FROM generate_series(1, 3) i;
SELECT n('SELECT durable.start_child(id(''r1''), 0, ''inline'')'), n('SELECT durable.start_child(id(''r1''), 1, ''queued'', queue => ''b'')');
SELECT durable.release('e', id('r2')), durable.release('e', id('r3'), clock_timestamp() + interval '1 day');
SELECT at(25000);
SELECT * FROM s;
SELECT n('SELECT durable.fail(id(''inline''), ''bad'')'), n('SELECT durable.fail(id(''r1''), ''bad'')'), n('SELECT durable.resume_failed(id(''r1''), ''e'')');
SELECT status FROM durable.workflow WHERE name = 'inline';
SELECT * FROM s;

-- Running and paused, whether they ran before or not.
SELECT count(*) FROM durable.claim('a', 'e', 3);
SELECT count(durable.pause_tree(id(n))) FROM unnest('{a5,b1}'::text[] || (SELECT array_agg(name) FROM (SELECT name FROM durable.workflow WHERE queue_name = 'a' AND status = 'RUNNING' ORDER BY id LIMIT 1) x)) n;
SELECT * FROM s;
-- Retries: of steps that wait for one, in workflows that are not finished, by the queue of their own workflow.
SELECT n(format('SELECT durable.claim_step(%L, %s, ''s'', max_retries => 1, backoff => ''1 day'')', id(w), i)), n(format('SELECT durable.fail(%L, ''bad'')', durable.step_id(id(w), i)))
  FROM (VALUES ('r1', 3), ('r1', 4), ('a2', 0)) x(w, i);
SELECT n('SELECT durable.start(''f'')'), n('SELECT durable.claim_step(id(''f''), 0, ''s'', max_retries => 1, backoff => ''1 day'')'), n('SELECT durable.fail(durable.step_id(id(''f''), 0), ''bad'')');
SELECT * FROM s;
SELECT n('SELECT durable.fail(id(''f''), ''bad'')');
SELECT * FROM s;
-- Ended in the last minute.
SELECT durable.complete(id('a2')), n('SELECT durable.cancel_tree(id(''b2''))'), n('SELECT durable.cancel_tree(id(''r2''))');
SELECT * FROM s;
SELECT at(26000);
SELECT * FROM s;
-- Stale: with an executor that is, or is not known, or none, and silent. What recover then takes is the same.
SELECT n('SELECT durable.start(''none'')'), n('SELECT durable.start(''active'')'), n('SELECT durable.start(''alive'', executor_id => ''alive'')'), n('SELECT durable.start(''unknown'', executor_id => ''unknown'')');
DELETE FROM durable.executor WHERE executor_id = 'unknown';
SELECT * FROM s;
SELECT at(29000);
SELECT n('SELECT durable.claim_step(id(''active''), 0, ''s'')'), n('SELECT durable.heartbeat(''alive'')');
SELECT * FROM s;
SELECT r.name, w.queue_name, r.reason FROM durable.recover('f') r JOIN durable.workflow w ON w.id = r.workflow_id ORDER BY 3, 1;
SELECT * FROM s;

-- Metrics. What can stand in the name of a queue is escaped, and the text ends as it has to. (test/extra/metrics parses it.)
SELECT durable.create_queue(E'q "x\\n"\ny'), n('SELECT durable.start(''q'', queue => ' || quote_literal(E'q "x\\n"\ny') || ')');
SELECT line FROM regexp_split_to_table(durable.metrics(), '\n') WITH ORDINALITY l(line, n) WHERE line !~ '^[^#].*(_seconds|left_to_statements)' ORDER BY n;
SELECT right(durable.metrics(), 7) = E'\n# EOF\n' AS ends;
-- A month counts as 30 days, and a year as 12 months, as where the server compares intervals.
SELECT durable.create_queue('year', rate_limit => 1, rate_limit_window => '1 year 2 mons 3 days 04:00:00.5');
SELECT line, extract(epoch FROM '423 days 04:00:00.5'::interval) AS days
  FROM regexp_split_to_table(durable.metrics(), '\n') l(line) WHERE line ~ 'window_seconds[{]queue="year"';
SELECT durable.drop_queue('year');

-- More than are counted one by one: about as many, each in its queue, beside a queue with few.
SELECT durable.create_queue('big'), durable.create_queue('few');
CREATE FUNCTION add(status text, q text, n int, executor text = NULL, started interval = '0') RETURNS void LANGUAGE sql AS $$
  INSERT INTO durable.workflow (id, root_id, status, lease, created_at, run_at, started_at, completed_at, name, queue_name, executor_id, priority, error)
  SELECT u, u, add.status::durable.task_status, 1, durable.clock(), CASE add.status WHEN 'PENDING' THEN durable.clock() + (i % 3 - 1) * interval '1 hour' END,
    CASE WHEN add.status <> 'PENDING' THEN durable.clock() - started END, CASE WHEN add.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN durable.clock() END,
    'name ' || u, q, executor, i % 5, CASE add.status WHEN 'FAILED' THEN 'bad' END
  FROM generate_series(1, n) i, LATERAL (SELECT (left(gen_random_uuid()::text, 29 + 0 * i) || '0000000')::uuid AS u OFFSET 0) u
$$;
-- Whether the numbers of queue "big" are about these.
CREATE FUNCTION about(pend int, due int, run int, stale int, done int, fail int) RETURNS TABLE (about boolean, hours numeric, owners boolean) LANGUAGE sql AS $$
  SELECT bool_and(abs(n - should) <= should / 10), max(round(extract(epoch FROM s.oldest_pending) / 3600)), max(s.stale_executors) > 0
  FROM durable.stats s, unnest(ARRAY[s.pending, s.due, s.running, s.stale, s.completed_last_minute, s.failed_last_minute], ARRAY[pend, due, run, about.stale, done, fail]) x (n, should)
  WHERE s.queue_name = 'big'
$$;
SELECT add('PENDING', 'big', 30000), add('RUNNING', 'big', 20000, 'alive'), add('RUNNING', 'big', 10000, 'gone', '1 day'), add('RUNNING', 'big', 5000), add('COMPLETED', 'big', 12000), add('FAILED', 'big', 5000);
SELECT n('SELECT durable.heartbeat(''alive'')');
INSERT INTO durable.executor VALUES ('gone', durable.clock() - interval '1 day');
SELECT add('PENDING', 'few', 30), add('RUNNING', 'few', 20, 'alive'), add('COMPLETED', 'few', 2), add('RUNNING', 'few', 7, 'lost', '1 day');
SELECT * FROM about(30000, 20000, 35000, 10000, 12000, 5000);
SELECT * FROM s WHERE q = 'few';
ANALYZE;
SELECT * FROM about(30000, 20000, 35000, 10000, 12000, 5000);
-- Of many dead executors, each with many; then none of them is registered.
SELECT count(add('RUNNING', 'big', 300, 'gone ' || i, '1 day')) FROM generate_series(1, 30) i;
INSERT INTO durable.executor SELECT 'gone ' || i, durable.clock() - interval '1 day' FROM generate_series(1, 30) i;
SELECT * FROM about(30000, 20000, 44000, 19000, 12000, 5000);
DELETE FROM durable.executor WHERE executor_id LIKE 'gone %';
SELECT * FROM about(30000, 20000, 44000, 19000, 12000, 5000);
DELETE FROM durable.workflow WHERE executor_id LIKE 'gone %';
-- What was claimed does not wait, and does not run when it is completed, long before it is vacuumed.
SELECT count(*) FROM durable.claim('big', 'alive', 10000) WHERE durable.complete(workflow_id);
SELECT * FROM about(20000, 10000, 35000, 10000, 22000, 5000);
-- Of what is paused, the oldest ran: those that are looked at lie at equal distances.
SELECT durable.create_queue('mixed');
SELECT count(*) FROM generate_series(1, 4000) i, durable.start('mixed ' || i, queue => 'mixed');
SELECT count(*) FROM durable.claim('mixed', 'alive', 2600);
SELECT sum(durable.pause_tree(id)) FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM durable.workflow WHERE queue_name = 'mixed') w WHERE n <= 150 OR n > 2800;
SELECT running BETWEEN 2400 AND 2500 AS about, paused FROM durable.stats() WHERE queue_name = 'mixed';
-- entries: about so many.
SELECT durable.entries('workflow_queue', '{big}') BETWEEN 75000 AND 90000 AS big, durable.entries('workflow_queue', '{few}'), durable.entries('driven_pkey', '{lost}'), durable.entries('step_retry'),
       durable.entries('pending_pkey', '{few,"",-2}') AS one_turn, durable.entries('pending_pkey', ARRAY['few', '', '-2', durable.clock()::text], '<=') AS due, durable.entries('pending_pkey', ARRAY['few', '', '-2', durable.clock()::text], '>') AS not_yet,
       durable.entries('pending_pkey', '{none}') AS none;
SELECT abs(durable.entries('pending_pkey', ARRAY['big', '', '-8', durable.clock()::text], '<=') - n) <= n / 10 AS due FROM (SELECT count(*) AS n FROM durable.pending WHERE queue_name = 'big' AND turn = -8 AND run_at <= durable.clock()) p;
\set VERBOSITY default
SELECT durable.entries('no such index');
SELECT durable.entries('workflow');
SELECT durable.entries('workflow_pkey', '{a,b}');
SELECT durable.entries('workflow_name', '{a}', '<');
SELECT durable.entries('workflow_name', '{}', '>');
SELECT durable.entries(NULL);
SELECT durable.entries('workflow_name', NULL);
SELECT durable.entries('workflow_name', '{NULL}');
SELECT durable.entries('workflow_name', '{}', NULL);
\set VERBOSITY sqlstate
SELECT durable.entries('pending_pkey', '{big,"",x}');
DELETE FROM durable.workflow WHERE name LIKE 'name %';

-- Who may read the view reaches the tables by it.
CREATE ROLE regress_durable_monitor;
GRANT USAGE ON SCHEMA durable TO regress_durable_monitor;
GRANT SELECT ON durable.stats, durable.lock_waits TO regress_durable_monitor;
GRANT EXECUTE ON FUNCTION durable.stats(), durable.lock_key(text), durable.lock_key(uuid), durable.metrics() TO regress_durable_monitor;
SET ROLE regress_durable_monitor;
SELECT count(*) FROM durable.stats;
SELECT count(*) FROM durable.lock_waits;
SELECT length(durable.metrics()) > 1000;
SELECT count(*) FROM durable.workflow;
RESET ROLE;
DROP OWNED BY regress_durable_monitor;
DROP ROLE regress_durable_monitor;

-- The keys of locks.
BEGIN;
SELECT n('SELECT durable.claim_step(id(''r1''), 9, ''s'')'), durable.pause_queue('a');
SELECT objsubid, CASE (classid::bigint << 32) | objid::bigint WHEN durable.lock_key('a') THEN 'queue a' WHEN durable.lock_key(id('r1')) THEN 'tree r1' END AS is
  FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' ORDER BY 1;
ROLLBACK;
SELECT durable.lock_key(NULL::text);
SELECT durable.lock_key('');
SELECT durable.lock_key(NULL::uuid);
SELECT * FROM durable.check();
TRUNCATE durable.workflow, durable.step;
SELECT durable.entries('workflow_pkey'), durable.entries('pending_pkey', '{a}');
\c :home
DROP DATABASE regress_durable_stats;
