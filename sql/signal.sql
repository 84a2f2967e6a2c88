-- signal, signal_root and await_signal.
\set own signal
\i sql/own_database.psql

-- Sent before anybody waits, or while somebody does; taken in order, each once.
SELECT lease FROM durable.start('sg-order');
SELECT durable.signal(pg_temp.wf('sg-order'), 'paid', '1'), durable.signal(pg_temp.wf('sg-order'), 'paid', '2');
SELECT action, output, attempt, run_at FROM durable.await_signal(pg_temp.wf('sg-order'), 0, 'paid', '1 hour', 1);
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 0, 'paid', '1 hour', 1);
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 1, 'paid', '1 hour', 1);
SELECT action, output, run_at IS NULL AS for_ever FROM durable.await_signal(pg_temp.wf('sg-order'), 2, 'paid', lease => 1);
SELECT durable.signal(pg_temp.wf('sg-order'), 'other'), durable.signal(pg_temp.wf('sg-order'), 'paid');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 2, 'paid', lease => 1);
SELECT name, payload, sequence, substr(id::text, 15, 1) AS version, sent_at <= durable.clock() AS sent FROM durable.signal WHERE workflow_id = pg_temp.wf('sg-order') ORDER BY id;
-- Of several names: the first of any. The name of the wait is not one of them.
SELECT action FROM durable.await_signal(pg_temp.wf('sg-order'), 3, 'select', lease => 1, signals => '{approved,"rejected \"x\""}');
SELECT durable.signal(pg_temp.wf('sg-order'), 'select'), durable.signal(pg_temp.wf('sg-order'), 'rejected "x"', '{"why": [1]}'), durable.signal(pg_temp.wf('sg-order'), 'approved');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 3, 'select', lease => 1, signals => '{ignored}');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 4, 'select', lease => 1, signals => '{"rejected \"x\"",approved}');
-- A key: the second is not recorded, whatever its payload, also after the first was taken; another name or workflow is another key.
SELECT lease FROM durable.start('sg-other');
SELECT durable.signal(pg_temp.wf('sg-order'), 'key', '1', 'k'), durable.signal(pg_temp.wf('sg-order'), 'key', '2', 'k'),
  durable.signal(pg_temp.wf('sg-order'), 'key', '3', 'l'), durable.signal(pg_temp.wf('sg-order'), 'lock', '4', 'k'), durable.signal(pg_temp.wf('sg-other'), 'key', '5', 'k');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 5, 'key');
SELECT durable.signal(pg_temp.wf('sg-order'), 'key', '6', 'k');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 6, 'key');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 7, 'key');
-- An open wait asked again has no transaction id and holds no lock.
BEGIN;
SELECT action FROM durable.await_signal(pg_temp.wf('sg-order'), 7, 'key');
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_xid,
  count(*) FILTER (WHERE locktype = 'advisory') AS locks FROM pg_locks WHERE pid = pg_backend_pid();
COMMIT;
-- An answer ends it, and leaves the signals.
SELECT durable.signal(pg_temp.wf('sg-order'), 'key', '7');
SELECT durable.answer(pg_temp.st('sg-order', 7), '"answer"');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 7, 'key');
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-order'), 8, 'key');

-- What counts is when it was sent, not when it is asked for: before the timeout it is taken, after that it is left for a later wait.
SELECT lease FROM durable.start('sg-late');
SELECT action FROM generate_series(0, 1) i, durable.await_signal(pg_temp.wf('sg-late'), i, 'go', '10 s', 1);
SELECT pg_temp.move(9);
SELECT durable.signal(pg_temp.wf('sg-late'), 'go', '"in time"');
SELECT pg_temp.move(2);
SELECT durable.signal(pg_temp.wf('sg-late'), 'go', '"too late"');
SELECT pg_temp.move(1000);
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-late'), 0, 'go', '10 s', 1);
SELECT action, error FROM durable.await_signal(pg_temp.wf('sg-late'), 1, 'go', '10 s', 1);
SELECT action, output FROM durable.await_signal(pg_temp.wf('sg-late'), 2, 'go', '0 s', 1);
SELECT action, error FROM durable.await_signal(pg_temp.wf('sg-late'), 3, 'go', '0 s', 1);
SELECT sequence, completed_at - started_at < interval '10 s' AS before, completed_at = run_at AS at_its_time FROM durable.step WHERE workflow_id = pg_temp.wf('sg-late') ORDER BY 1;

-- To any workflow that is not finished: paused, not begun, a child, an inline one.
SELECT durable.create_queue('signal_queue');
SELECT status FROM durable.start('not begun', queue => 'signal_queue');
SELECT status FROM durable.start_child(pg_temp.wf('sg-late'), 9, 'inline child');
SELECT status FROM durable.start_child(pg_temp.wf('sg-late'), 10, 'queued child', queue => 'signal_queue');
SELECT durable.signal(pg_temp.wf(n), 'go', '1') FROM unnest('{not begun,inline child,queued child}'::text[]) n;
SELECT durable.pause_tree(pg_temp.wf('sg-late'));
SELECT durable.signal(pg_temp.wf(n), 'go', '2') FROM unnest('{sg-late,inline child,queued child}'::text[]) n;
SELECT durable.resume_tree(pg_temp.wf('sg-late'));
SELECT output FROM durable.await_signal(pg_temp.wf('sg-late'), 11, 'go');
SELECT output FROM generate_series(0, 1) i, durable.await_signal(pg_temp.wf('inline child'), i, 'go');
SELECT lease FROM durable.claim('signal_queue', 'e', 9);
SELECT output FROM durable.await_signal(pg_temp.wf('not begun'), 0, 'go');
-- Signal with start.
BEGIN;
SELECT created FROM durable.start('with start', queue => 'signal_queue');
SELECT durable.signal_root('with start', 'go', '1');
COMMIT;
BEGIN;
SELECT created FROM durable.start('with start', queue => 'signal_queue');
SELECT durable.signal_root('with start', 'go', '2', 'k');
COMMIT;
SELECT durable.signal_root('with start', 'go', '2', 'k');
SELECT payload FROM durable.signal WHERE workflow_id = pg_temp.wf('with start') ORDER BY id;
-- Not to a finished one, nor to what is not there. One that was sent before is repeated all the same.
SELECT durable.signal(pg_temp.wf(n), 'go', '1', 'k') FROM unnest('{sg-order,sg-late,sg-other}'::text[]) n;
SELECT durable.complete(pg_temp.wf('sg-order')), durable.fail(pg_temp.wf('sg-late'), 'bad'), durable.cancel_tree(pg_temp.wf('sg-other'));
SELECT durable.signal(pg_temp.wf('sg-order'), 'go');
SELECT durable.signal(pg_temp.wf('sg-late'), 'go', key => 'l');
SELECT durable.signal(pg_temp.wf('sg-other'), 'go');
SELECT durable.signal(pg_temp.wf(n), 'go', '1', 'k') FROM unnest('{sg-order,sg-late,sg-other}'::text[]) n;
SELECT durable.signal('00000000-0000-7000-8000-000000000000', 'go');
SELECT durable.signal(pg_temp.st('sg-order', 0), 'go');
SELECT durable.signal_root('sg-order', 'go');
SELECT durable.signal_root('no such name', 'go');
SELECT durable.signal(NULL, 'go');
SELECT durable.signal(pg_temp.wf('sg-order'), NULL);
SELECT durable.signal(pg_temp.wf('sg-order'), '');
SELECT durable.signal(pg_temp.wf('sg-order'), 'go', key => '');
SELECT durable.signal(pg_temp.wf('sg-order'), 'go', key => repeat('x', 1025));
SELECT durable.signal_root(NULL, 'go');
SELECT durable.signal_root('sg-order', NULL);
SELECT durable.await_signal(pg_temp.wf('not begun'), 1, 'x', signals => '{}');
SELECT durable.await_signal(pg_temp.wf('not begun'), 1, 'x', signals => '{a,NULL}');
SELECT durable.await_signal(pg_temp.wf('not begun'), 1, 'x', signals => '{a,""}');
SELECT durable.await_signal(pg_temp.wf('not begun'), 1, 'x', signals => '{{a},{b}}');
SELECT durable.await_signal(pg_temp.wf('not begun'), 1, 'x', '-1 s');
-- The longest names and keys.
SELECT durable.signal(pg_temp.wf('not begun'), string_agg(md5(i::text), ''), '1', string_agg(md5((-i)::text), '')) FROM generate_series(1, 32) i;
SELECT durable.signal(pg_temp.wf('not begun'), string_agg(md5(i::text), ''), '1', string_agg(md5((-i)::text), '')) FROM generate_series(1, 32) i;
SELECT output FROM (SELECT string_agg(md5(i::text), '') AS name FROM generate_series(1, 32) i) n, durable.await_signal(pg_temp.wf('not begun'), 1, n.name);

-- About 10,000 that nobody has taken, then no more; taking makes room. Neither costs more when there are more.
SELECT lease FROM durable.start('full');
CREATE FUNCTION pg_temp.fill(most int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  n int := 0;
BEGIN
  LOOP
    PERFORM durable.signal(pg_temp.wf('full'), 'go', to_jsonb(n));
    n := n + 1;
    EXIT WHEN n = most;
  END LOOP;
  RETURN n;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;
-- (an error undoes those that were sent with it)
SELECT pg_temp.fill(9000);
SELECT pg_temp.fill(500);
SELECT pg_temp.fill(2000);
CREATE FUNCTION pg_temp.reads(sql text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ' || sql INTO plan;
  RETURN (plan->0->'Plan'->>'Shared Hit Blocks')::bigint + (plan->0->'Plan'->>'Shared Read Blocks')::bigint;
END $$;
SELECT lease FROM durable.start('empty');
SELECT durable.signal(pg_temp.wf('empty'), 'go') FROM generate_series(1, 10);
SELECT min(f.r) <= min(e.r) + 20 AS flat FROM generate_series(1, 5),
  LATERAL (SELECT pg_temp.reads($$SELECT durable.signal(pg_temp.wf('full'), 'go')$$) AS r OFFSET 0) f,
  LATERAL (SELECT pg_temp.reads($$SELECT durable.signal(pg_temp.wf('empty'), 'go')$$) AS r OFFSET 0) e;
-- In one transaction, where nothing is dead for anybody; and in order.
SELECT count(*), bool_and(action = 'REPLAY') AS taken, bool_and(output = to_jsonb(i)) AS in_order
  FROM generate_series(0, 2999) i, durable.await_signal(pg_temp.wf('full'), i, 'go', lease => 1);
SELECT max(r) <= min(r) + 30 AS flat, count(*)
  FROM (SELECT i, pg_temp.reads(format('SELECT durable.await_signal(%L, %s, %L, lease => 1)', pg_temp.wf('full'), i, 'go')) AS r FROM generate_series(3000, 4000) i) t
 WHERE i > 3001 AND i % 100 = 50;
SELECT pg_temp.fill(2000);
-- An open wait asked again reads what a replay reads, and looks once for a signal.
SELECT action FROM durable.await_signal(pg_temp.wf('full'), 9999, 'none');
SELECT min(o.r) <= min(p.r) + 4 AS as_a_replay FROM generate_series(1, 5),
  LATERAL (SELECT pg_temp.reads($$SELECT durable.await_signal(pg_temp.wf('full'), 9999, 'none')$$) AS r OFFSET 0) o,
  LATERAL (SELECT pg_temp.reads($$SELECT durable.await_signal(pg_temp.wf('full'), 0, 'go')$$) AS r OFFSET 0) p;
-- What a rollback gives back is taken again.
BEGIN;
SELECT output FROM durable.await_signal(pg_temp.wf('full'), 4001, 'go', lease => 1);
SAVEPOINT s;
SELECT output FROM generate_series(4002, 4004) i, durable.await_signal(pg_temp.wf('full'), i, 'go', lease => 1);
ROLLBACK TO s;
SELECT output FROM generate_series(4002, 4003) i, durable.await_signal(pg_temp.wf('full'), i, 'go', lease => 1);
ROLLBACK;
SELECT output FROM generate_series(4001, 4002) i, durable.await_signal(pg_temp.wf('full'), i, 'go', lease => 1);
-- Signals that come with an older id, since a clock was moved, are not missed.
SELECT pg_temp.move(-500);
SELECT durable.signal(pg_temp.wf('empty'), 'back', '1');
SELECT pg_temp.move(500);
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 0, 'go');
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 1, 'back');
SELECT durable.signal(pg_temp.wf('empty'), 'back', '2'), durable.signal(pg_temp.wf('empty'), 'back', '3');
SELECT output FROM generate_series(2, 3) i, durable.await_signal(pg_temp.wf('empty'), i, 'back');
SELECT pg_temp.move(-500);
SELECT durable.signal(pg_temp.wf('empty'), 'back', '4');
SELECT pg_temp.move(500);
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 4, 'back');
SELECT action FROM durable.await_signal(pg_temp.wf('empty'), 5, 'back');
-- Nor are they taken out of order, by who has taken others before.
SELECT durable.signal(pg_temp.wf('empty'), 'order', to_jsonb(i)) FROM generate_series(1, 3) i;
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 6, 'order');
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 7, 'order');
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 8, 'order');
SELECT pg_temp.move(-500);
SELECT durable.signal(pg_temp.wf('empty'), 'order', '4');
SELECT pg_temp.move(600);
SELECT durable.signal(pg_temp.wf('empty'), 'order', '5');
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 9, 'order');
SELECT output FROM durable.await_signal(pg_temp.wf('empty'), 10, 'order');
-- What is there counts, though it carries a time to come since the clock was set back; also for who does not wait at all.
SELECT durable.signal(pg_temp.wf('empty'), 'future', to_jsonb(i)) FROM generate_series(1, 2) i;
SELECT pg_temp.move(-500);
SELECT action, output FROM durable.await_signal(pg_temp.wf('empty'), 11, 'future', '10 s');
SELECT action, output FROM durable.await_signal(pg_temp.wf('empty'), 12, 'future', '0 s');
SELECT completed_at <= durable.clock() AS past FROM durable.step WHERE workflow_id = pg_temp.wf('empty') AND sequence IN (11, 12);
SELECT pg_temp.move(500);
-- A JSON null is no NULL.
SELECT durable.signal(pg_temp.wf('empty'), 'null', 'null'), durable.signal(pg_temp.wf('empty'), 'null');
SELECT action, output, jsonb_typeof(output) FROM generate_series(14, 15) i, durable.await_signal(pg_temp.wf('empty'), i, 'null');
SELECT * FROM durable.check();
-- Purged with their workflow.
SELECT durable.cancel_tree(pg_temp.wf(n)) > 0 FROM unnest('{full,empty}'::text[]) n;
SELECT count(*) > 0 AS purged FROM durable.purge('0 s', 10000);
SELECT count(*) FROM durable.signal WHERE name IN ('go', 'back') AND workflow_id NOT IN (SELECT id FROM durable.workflow);
\c :home
DROP DATABASE regress_durable_signal;
