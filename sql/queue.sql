-- Queues: create, alter, drop, pause and resume them; claim: its order, its limits, and that it reads only where
-- there is nothing to claim.
\pset null -
\set VERBOSITY sqlstate
TRUNCATE durable.workflow, durable.step, durable.event, durable.queue, durable.executor;
CREATE FUNCTION pg_temp.queues() RETURNS TABLE (name text, max_concurrency int, rate_limit int, rate_limit_window interval, paused boolean) LANGUAGE sql AS $$
  SELECT name, max_concurrency, rate_limit, rate_limit_window, paused FROM durable.queue ORDER BY name
$$;
-- Starts workflows in a queue; claims from it: what the claim answers, in its order.
CREATE FUNCTION pg_temp.put(q text, names text[]) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(s.created) FROM unnest(names) WITH ORDINALITY u(n, i) CROSS JOIN LATERAL durable.start(n, to_jsonb(n), 'queue-h', queue => q) s WHERE s.created
$$;
CREATE FUNCTION pg_temp.claim(q text, most int = 1, executor text = 'queue-a') RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(name || ' ' || lease, ', ' ORDER BY n), 'none')
    FROM ROWS FROM (durable.claim(q, executor, most)) WITH ORDINALITY c(workflow_id, name, handler, input, lease, recovery_count, created_at, scheduled_for, n)
$$;

-- The queues themselves. --------------------------------------------------------------------------------------------
SELECT durable.create_queue('queue-1');
SELECT durable.create_queue('queue-2', 5, 100, '1 minute');
SELECT * FROM pg_temp.queues();
SELECT count(*) FROM durable.queue WHERE abs(extract(epoch FROM created_at - test.clock())) < 60;
-- Again with the same settings: nothing changes, not even the row.
SELECT xmin AS before FROM durable.queue WHERE name = 'queue-2' \gset
SELECT durable.create_queue('queue-1', NULL, NULL, '1000 ms');
SELECT durable.create_queue('queue-2', 5, 100, '60 s');
SELECT xmin = :'before' AS untouched FROM durable.queue WHERE name = 'queue-2';
-- With others: 42710.
SELECT durable.create_queue('queue-1', 1);
SELECT durable.create_queue('queue-1', rate_limit => 1);
SELECT durable.create_queue('queue-1', rate_limit_window => '2 s');
SELECT durable.create_queue('queue-2');
SELECT durable.create_queue('queue-2', 5, 101, '1 minute');
SELECT test.error($$SELECT durable.create_queue('queue-2', 6, 100, '1 minute')$$) ~ '^42710: .*queue-2.*\n  DETAIL: .+\n  HINT: .*alter_queue' AS told;
-- alter_queue sets all; what is not given is the default, no limit.
SELECT durable.alter_queue('queue-2', 7);
SELECT * FROM pg_temp.queues();
SELECT durable.alter_queue('queue-2', rate_limit => 3, rate_limit_window => '1 hour');
SELECT * FROM pg_temp.queues();
-- pause_queue and resume_queue may be repeated; neither create_queue nor alter_queue resumes.
SELECT durable.pause_queue('queue-2');
SELECT durable.pause_queue('queue-2');
SELECT durable.alter_queue('queue-2');
SELECT durable.create_queue('queue-2');
SELECT * FROM pg_temp.queues();
SELECT durable.resume_queue('queue-2');
SELECT durable.resume_queue('queue-2');
SELECT * FROM pg_temp.queues();
SELECT durable.drop_queue('queue-2');
SELECT * FROM pg_temp.queues();
-- A name is 1 to 1024 bytes; it is compared byte by byte.
SELECT durable.create_queue(repeat('q', 1024));
SELECT durable.create_queue('Queue-1', 1);
SELECT durable.drop_queue(repeat('q', 1024));
SELECT durable.drop_queue('Queue-1');

-- An unknown queue anywhere is WF012.
SELECT workflow_id AS w, lease FROM durable.start('queue-parent') \gset
SELECT c AS call, split_part(test.error('SELECT * FROM durable.' || replace(c, '{w}', quote_literal(:'w'))), E'\n', 1) AS answer
  FROM unnest(ARRAY['alter_queue(''no'', 1)', 'drop_queue(''no'')', 'pause_queue(''no'')', 'resume_queue(''no'')', 'claim(''no'', ''queue-a'')',
    'claim(''no'', ''queue-a'', 0)', 'recover(''queue-a'', queue => ''no'')', 'start(''queue-no'', queue => ''no'')', 'start_child({w}, 0, ''queue-no'', queue => ''no'')']) c;
SELECT test.error($$SELECT durable.claim('no', 'queue-a')$$);
SELECT durable.complete(:'w');

-- Bad arguments: 22023, NULL where a value is needed 22004.
CREATE TEMP VIEW everything AS
  SELECT w::text AS r FROM durable.workflow w UNION ALL SELECT s::text FROM durable.step s UNION ALL SELECT e::text FROM durable.executor e UNION ALL SELECT q::text FROM durable.queue q;
CREATE TEMP TABLE before AS SELECT * FROM everything;
SELECT f || '(' || a || ')' AS call, split_part(test.error(format('SELECT * FROM durable.%s(%s)', f, a)), E'\n', 1) AS answer
  FROM unnest(ARRAY['create_queue', 'alter_queue']) f, unnest(ARRAY['NULL', '''''', 'repeat(''q'', 1025)', '''queue-1'', 0', '''queue-1'', -1', '''queue-1'', rate_limit => 0', '''queue-1'', rate_limit => -5',
    '''queue-1'', rate_limit_window => NULL', '''queue-1'', rate_limit_window => ''0''', '''queue-1'', rate_limit_window => ''-1 s''']) a;
SELECT f || '(' || a || ')' AS call, split_part(test.error(format('SELECT * FROM durable.%s(%s)', f, a)), E'\n', 1) AS answer
  FROM unnest(ARRAY['drop_queue', 'pause_queue', 'resume_queue']) f, unnest(ARRAY['NULL', '''''', 'repeat(''q'', 1025)']) a;
SELECT 'claim(' || a || ')' AS call, split_part(test.error(format('SELECT * FROM durable.claim(%s)', a)), E'\n', 1) AS answer
  FROM unnest(ARRAY['NULL, ''queue-a''', ''''', ''queue-a''', 'repeat(''q'', 1025), ''queue-a''', '''queue-1'', NULL', '''queue-1'', ''''', '''queue-1'', repeat(''e'', 1025)',
    '''queue-1'', ''queue-a'', NULL', '''queue-1'', ''queue-a'', -1']) a;
SELECT count(*) AS changed FROM (TABLE everything EXCEPT ALL TABLE before) q;
SELECT count(*) AS missing FROM (TABLE before EXCEPT ALL TABLE everything) q;

-- claim: what it answers and does. ------------------------------------------------------------------------------------
SELECT workflow_id AS w FROM durable.start('queue-c1', '{"in": 1}', 'queue-h', queue => 'queue-1', timeout => '1 hour') \gset
SELECT c.workflow_id = :'w' AS id, c.name, c.handler, c.input, c.lease, c.recovery_count, c.created_at = w.created_at AS created_at FROM durable.claim('queue-1', 'queue-a') c JOIN durable.workflow w ON w.id = c.workflow_id;
SELECT status, lease, executor_id, recovery_count, test.seconds(started_at), extract(epoch FROM deadline - started_at) AS deadline FROM durable.workflow WHERE id = :'w';
SELECT abs(extract(epoch FROM last_seen - test.clock())) < 60 AS registered FROM durable.executor WHERE executor_id = 'queue-a';
-- Claimed once; nobody else gets it, nor the same one again.
SELECT pg_temp.claim('queue-1'), pg_temp.claim('queue-1', 9, 'queue-b');
SELECT durable.complete(:'w', lease => 1);

-- Where there is nothing to claim it reads only: empty, not yet due, paused, nothing wanted, limits reached.
SELECT durable.create_queue('queue-full', 1);
SELECT durable.create_queue('queue-rate', rate_limit => 1, rate_limit_window => '1 hour');
SELECT durable.create_queue('queue-paused');
SELECT pg_temp.put(q, ARRAY[q || '-1', q || '-2']) FROM unnest('{queue-full,queue-rate,queue-paused}'::text[]) q;
SELECT created FROM durable.start('queue-later', queue => 'queue-1', run_at => '2100-01-01');
SELECT pg_temp.claim('queue-full', 9), pg_temp.claim('queue-rate', 9);
SELECT durable.pause_queue('queue-paused');
BEGIN;
SELECT q, pg_temp.claim(q, 9, 'queue-unheard of') FROM unnest('{queue-1,queue-full,queue-rate,queue-paused}'::text[]) q;
SELECT pg_temp.claim('queue-paused', 0);
SELECT pg_current_xact_id_if_assigned() IS NULL AS read_only;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
BEGIN READ ONLY;
SELECT q, pg_temp.claim(q, 9, 'queue-unheard of') FROM unnest('{queue-1,queue-full,queue-rate,queue-paused}'::text[]) q;
COMMIT;
BEGIN READ ONLY;
SELECT durable.resume_queue('queue-paused');
ROLLBACK;
-- A paused queue takes new workflows, gives none, and what runs goes on.
SELECT pg_temp.put('queue-paused', '{queue-paused-3}');
SELECT durable.resume_queue('queue-paused');
SELECT pg_temp.claim('queue-paused', 2);
SELECT durable.pause_queue('queue-paused');
SELECT pg_temp.claim('queue-paused', 2);
SELECT durable.complete(test.id('queue-paused-1'), lease => 1);
SELECT durable.resume_queue('queue-paused');
SELECT pg_temp.claim('queue-paused', 2);

-- The order: priority, higher first, then run_at, then id. -------------------------------------------------------------
SELECT durable.create_queue('queue-order');
SELECT count(*) FROM (VALUES ('o-low', -5, NULL), ('o-zero-2', 0, NULL), ('o-zero-3', 0, NULL), ('o-high', 2147483647, NULL), ('o-zero-1', 0, '2020-01-01'),
  ('o-zero-0', 0, '2010-01-01'), ('o-lowest', -2147483648, '2000-01-01'), ('o-later', 9, '2100-01-01'), ('o-one', 1, NULL)) v(n, p, t)
 CROSS JOIN LATERAL durable.start('queue-' || n, queue => 'queue-order', priority => p, run_at => t::timestamptz);
BEGIN;
SELECT pg_temp.claim('queue-order', 2);
SELECT pg_temp.claim('queue-order');
SELECT pg_temp.claim('queue-order', 3);
SELECT pg_temp.claim('queue-order', 1000);
ROLLBACK;
SELECT pg_temp.claim('queue-order', 2147483647);
-- The id, where priority and run_at are equal: the older first.
SELECT pg_temp.put('queue-order', ARRAY(SELECT 'queue-same-' || i FROM generate_series(1, 9) i));
SELECT pg_temp.claim('queue-order', 3), pg_temp.claim('queue-order', 3), pg_temp.claim('queue-order', 9);
-- run_at: not before it, by the extension's clock; then in its place.
SELECT created FROM durable.start('queue-soon', queue => 'queue-order', run_at => test.clock() + '1000 s');
SELECT created FROM durable.start('queue-sooner', queue => 'queue-order', run_at => test.clock() + '500 s');
SET durable.clock_offset = 400;
SELECT pg_temp.claim('queue-order', 9);
SET durable.clock_offset = 600;
SELECT pg_temp.claim('queue-order', 9);
SET durable.clock_offset = 1100;
SELECT created FROM durable.start('queue-now', queue => 'queue-order');
SELECT pg_temp.claim('queue-order', 9);
RESET durable.clock_offset;
-- A queued child stands in the line like a root; its lease is its own.
SELECT workflow_id AS p, lease FROM durable.start('queue-family', executor_id => 'queue-a') \gset
SELECT created, status, lease FROM durable.start_child(:'p', 0, 'queue-child-1', lease => 1, queue => 'queue-order');
SELECT created, status, lease FROM durable.start_child(:'p', 1, 'queue-child-2', lease => 1, queue => 'queue-order', priority => 1);
SELECT created FROM durable.start('queue-root', queue => 'queue-order');
SELECT pg_temp.claim('queue-order', 9);
SELECT durable.complete(test.id('queue-child-1'), '"c"', 1);
SELECT created, status, output, lease FROM durable.start_child(:'p', 0, 'queue-child-1', lease => 1, queue => 'queue-order');
-- Paused, cancelled and finished ones are not in the line; a resumed one has its place again.
SELECT pg_temp.put('queue-order', '{queue-l1,queue-l2,queue-l3,queue-l4}');
SELECT durable.pause_tree(test.id('queue-l1')), durable.pause_tree(test.id('queue-l2')), durable.cancel_tree(test.id('queue-l3'));
SELECT durable.resume_tree(test.id('queue-l2'));
SELECT pg_temp.claim('queue-order', 9);
SELECT durable.resume_tree(test.id('queue-l1'));
SELECT pg_temp.claim('queue-order', 9);
-- A claim after release, and after resume_failed: lease + 1, and + 1 for the inline descendants.
SELECT created, lease FROM durable.start_child(test.id('queue-l1'), 0, 'queue-l1-child', lease => 1);
SELECT created, lease FROM durable.start_child(test.id('queue-l1-child'), 0, 'queue-l1-grandchild', lease => 1);
SELECT durable.release('queue-a', test.id('queue-l1'));
SELECT pg_temp.claim('queue-order', 9, 'queue-b');
SELECT name, status, lease FROM durable.workflow WHERE name LIKE 'queue-l1%' ORDER BY id;
SELECT action FROM durable.claim_step(test.id('queue-l1-grandchild'), 0, 's', lease => 1);
SELECT action FROM durable.claim_step(test.id('queue-l1-grandchild'), 0, 's', lease => 3);
SELECT status FROM durable.fail(test.id('queue-l1'), 'boom', 3);
SELECT status, lease FROM durable.resume_failed(test.id('queue-l1'));
SELECT name, recovery_count, lease FROM durable.claim('queue-order', 'queue-b');

-- max_concurrency. ---------------------------------------------------------------------------------------------------------
SELECT durable.create_queue('queue-max', 3);
SELECT pg_temp.put('queue-max', ARRAY(SELECT 'queue-m' || i FROM generate_series(1, 20) i));
SELECT pg_temp.claim('queue-max', 2), pg_temp.claim('queue-max', 9, 'queue-b'), pg_temp.claim('queue-max', 9);
-- A slot is free when its workflow has ended, in whatever way; in the same transaction, too.
SELECT durable.complete(test.id('queue-m1'), lease => 1);
SELECT pg_temp.claim('queue-max', 9);
SELECT status FROM durable.fail(test.id('queue-m2'), 'e', 1);
SELECT durable.cancel_tree(test.id('queue-m3'));
SELECT pg_temp.claim('queue-max', 9);
BEGIN;
SELECT durable.complete(test.id('queue-m4'), lease => 1);
SELECT pg_temp.claim('queue-max', 9);
ROLLBACK;
SELECT pg_temp.claim('queue-max', 9);
-- Paused while RUNNING it keeps its slot; paused while PENDING it has none. m4, m5, m6 run.
SELECT durable.pause_tree(test.id('queue-m4')), durable.pause_tree(test.id('queue-m7'));
SELECT pg_temp.claim('queue-max', 9);
SELECT durable.complete(test.id('queue-m5'), lease => 1);
SELECT pg_temp.claim('queue-max', 9);
SELECT durable.resume_tree(test.id('queue-m4')), durable.resume_tree(test.id('queue-m7'));
SELECT pg_temp.claim('queue-max', 9);
-- release frees it, of a PAUSED one as well; a paused one that is cancelled, too. m4, m6, m8 run.
SELECT durable.release('queue-a', test.id('queue-m8'), '2100-01-01');
SELECT pg_temp.claim('queue-max', 9, 'queue-c');
SELECT durable.pause_tree(test.id('queue-m7'));
SELECT durable.release('queue-c');
SELECT pg_temp.claim('queue-max', 9);
SELECT durable.resume_tree(test.id('queue-m7'));
SELECT durable.status(test.id('queue-m7'));
SELECT pg_temp.claim('queue-max', 9);
SELECT durable.pause_tree(test.id('queue-m9'));
SELECT durable.cancel_tree(test.id('queue-m9'));
SELECT pg_temp.claim('queue-max', 9);
-- recover and attach change the owner, not the slot; an inline child has none.
SELECT lease, owner FROM durable.attach(test.id('queue-m7'), 'queue-b', true);
SELECT created FROM durable.start_child(test.id('queue-m7'), 0, 'queue-m7-child', lease => 4);
SET durable.clock_offset = 200;
SELECT name, lease, reason FROM durable.recover('queue-d', queue => 'queue-max') ORDER BY name;
SELECT pg_temp.claim('queue-max', 9);
RESET durable.clock_offset;
SELECT count(*) FROM durable.workflow WHERE queue_name = 'queue-max' AND status = 'RUNNING';
-- resume_failed does not run it beyond the limit: it waits in the line.
SELECT status, lease FROM durable.resume_failed(test.id('queue-m2'));
SELECT pg_temp.claim('queue-max', 9);
-- A lower limit stops nobody and waits until so many have ended; a higher one holds at once, as does none.
SELECT durable.alter_queue('queue-max', 1);
SELECT durable.complete(test.id('queue-m4')), pg_temp.claim('queue-max', 9);
SELECT durable.complete(test.id('queue-m6')), pg_temp.claim('queue-max', 9);
SELECT durable.complete(test.id('queue-m7')), pg_temp.claim('queue-max', 9);
SELECT durable.alter_queue('queue-max', 3);
SELECT pg_temp.claim('queue-max', 9);
SELECT durable.alter_queue('queue-max');
SELECT pg_temp.claim('queue-max', 4);
-- Limits of one queue are nothing to another.
SELECT pg_temp.put('queue-1', '{queue-free}');
SELECT pg_temp.claim('queue-1');

-- rate_limit: so many starts a window, which begins with the first claim after the last one ended. ---------------------------
SELECT durable.create_queue('queue-r', NULL, 3, '1000 s');
SELECT pg_temp.put('queue-r', ARRAY(SELECT 'queue-r' || i FROM generate_series(1, 30) i));
SET durable.clock_offset = 100;			-- the window is 100 to 1100
SELECT pg_temp.claim('queue-r'), pg_temp.claim('queue-r');
SET durable.clock_offset = 600;
SELECT pg_temp.claim('queue-r', 9), pg_temp.claim('queue-r', 9, 'queue-b');
-- Starts are counted, not what runs: neither an end nor a release gives one back.
SELECT durable.complete(test.id('queue-r1')), durable.release('queue-a', test.id('queue-r2'), '2100-01-01');
SET durable.clock_offset = 1000;
SELECT pg_temp.claim('queue-r', 9);
SET durable.clock_offset = 1400;		-- 1400 to 2400
SELECT pg_temp.claim('queue-r', 2);
SET durable.clock_offset = 2300;
SELECT pg_temp.claim('queue-r', 9);
SELECT pg_temp.claim('queue-r', 9);
SET durable.clock_offset = 2500;		-- 2500 to 3500; a rollback takes its starts back
BEGIN;
SELECT pg_temp.claim('queue-r', 2);
ROLLBACK;
SET durable.clock_offset = 2600;		-- 2600 to 3600, since the other never was
SELECT pg_temp.claim('queue-r', 9);
SET durable.clock_offset = 3550;
SELECT pg_temp.claim('queue-r', 9);
SET durable.clock_offset = 3700;		-- 3700 to 4700
SELECT pg_temp.claim('queue-r', 2);
-- A recovery is no start, nor is a takeover.
SELECT lease FROM durable.attach(test.id('queue-r10'), 'queue-b', true);
SELECT pg_temp.claim('queue-r', 9);
-- alter_queue changes the limit within the window.
SELECT durable.alter_queue('queue-r', NULL, 5, '1000 s');
SELECT pg_temp.claim('queue-r', 9);
-- A limit that is lowered below what has started already: none.
SELECT durable.alter_queue('queue-r', NULL, 1, '1000 s');
SELECT pg_temp.claim('queue-r', 9);
-- Both limits: the narrower one.
SELECT durable.alter_queue('queue-r', 1000, 2, '1000 s');
SET durable.clock_offset = 5000;		-- 5000 to 6000
SELECT pg_temp.claim('queue-r', 9);
SET durable.clock_offset = 6100;		-- 6100 to 7100
SELECT count(*) AS running FROM durable.workflow WHERE queue_name = 'queue-r' AND status = 'RUNNING' \gset
SELECT durable.alter_queue('queue-r', :running + 1, 2, '1000 s');
SELECT pg_temp.claim('queue-r', 9);
SELECT durable.alter_queue('queue-r', :running + 9, 2, '1000 s');
SELECT pg_temp.claim('queue-r', 9);
-- No limit any more; fewer than allowed are no debt.
SELECT durable.alter_queue('queue-r');
SELECT pg_temp.claim('queue-r', 2);
RESET durable.clock_offset;

-- drop_queue: not with an unfinished workflow in it, whatever its status. ------------------------------------------------------
SELECT durable.create_queue('queue-drop');
SELECT pg_temp.put('queue-drop', '{queue-d1,queue-d2,queue-d3}');
SELECT durable.cancel_tree(test.id('queue-d2')), durable.cancel_tree(test.id('queue-d3'));
SELECT test.error($$SELECT durable.drop_queue('queue-drop')$$);
SELECT pg_temp.claim('queue-drop');
SELECT durable.drop_queue('queue-drop');
SELECT durable.pause_tree(test.id('queue-d1'));
SELECT durable.drop_queue('queue-drop');
SELECT durable.resume_tree(test.id('queue-d1'));
SELECT created FROM durable.start_child(test.id('queue-d1'), 0, 'queue-d-child', queue => 'queue-drop');
SELECT status FROM durable.fail(test.id('queue-d1'), 'e');
SELECT durable.drop_queue('queue-drop');
SELECT pg_temp.claim('queue-drop');
SELECT status FROM durable.fail(test.id('queue-d-child'), 'e');
SELECT durable.pause_queue('queue-drop');
SELECT durable.drop_queue('queue-drop');
SELECT durable.drop_queue('queue-drop');
SELECT created FROM durable.start('queue-d4', queue => 'queue-drop');
-- The finished ones stay, and cannot wait in a queue that is not there.
SELECT name, queue_name, status FROM durable.workflow WHERE queue_name = 'queue-drop' ORDER BY id;
SELECT status FROM durable.resume_failed(test.id('queue-d1'));
SELECT status FROM durable.resume_failed(test.id('queue-d-child'));
-- A new one of that name is new: not paused.
SELECT durable.create_queue('queue-drop', 1);
SELECT status FROM durable.resume_failed(test.id('queue-d1'));
SELECT pg_temp.claim('queue-drop', 9);

SELECT * FROM durable.check();

-- Any number of claims in one transaction: it takes no more locks than there is room for.
BEGIN;
SELECT count(durable.create_queue('queue-many-' || i)) FROM generate_series(1, 2) i;
SELECT count(durable.start('queue-many-' || i, queue => 'queue-many-' || 1 + i % 2)) FROM generate_series(1, 1400) i;
SELECT count(*) FROM generate_series(1, 2) i, durable.claim('queue-many-' || i, 'queue-executor', 700);
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND objsubid = 17409;
ROLLBACK;

-- A session looks for an entry of a register where it has met it. Entries that have moved since, or whose place another has, are found all the same.
SELECT durable.create_queue('queue-moved');
VACUUM FULL durable.active_root, durable.pending, durable.driven;
SELECT pg_temp.put('queue-moved', ARRAY(SELECT 'queue-moved-' || i FROM generate_series(1, 4) i));
SELECT pg_temp.claim('queue-moved', 2);
SELECT durable.complete(test.id('queue-moved-1'));
VACUUM FULL durable.active_root, durable.pending, durable.driven;
SELECT durable.complete(test.id('queue-moved-2'));
SELECT pg_temp.claim('queue-moved');
VACUUM durable.pending, durable.driven;
SELECT pg_temp.put('queue-moved', ARRAY(SELECT 'queue-moved-' || i FROM generate_series(5, 8) i));
SELECT durable.complete(test.id('queue-moved-3'));
BEGIN;
SELECT pg_temp.claim('queue-moved');
ROLLBACK;
SELECT pg_temp.claim('queue-moved', 9, 'queue-b');
SELECT count(durable.complete(id)) FROM durable.workflow WHERE name LIKE 'queue-moved-%' AND status = 'RUNNING';
SELECT * FROM durable.check();
