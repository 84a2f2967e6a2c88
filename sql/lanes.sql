-- Keys: workflows of one concurrency_key wait in a lane of their own; key_concurrency and fair queues.
\pset null -
\set VERBOSITY sqlstate
SET durable.clock_offset = 0;
-- Starts workflows: names with their keys ('-' is none), in this order.
CREATE FUNCTION pg_temp.put(q text, VARIADIC jobs text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  job text;
BEGIN
  FOREACH job IN ARRAY jobs LOOP
    PERFORM durable.start(q || ' ' || job, queue => q, concurrency_key => nullif(left(job, 1), '-'));
  END LOOP;
  RETURN 'put';
END $$;
CREATE FUNCTION pg_temp.take(q text, n int = 1) RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(substr(name, length(q) + 2), ' ' ORDER BY i), 'none')
  FROM durable.claim(q, 'lanes', n) WITH ORDINALITY c(id, name, handler, input, lease, rc, at, scheduled_for, i)
$$;
CREATE FUNCTION pg_temp.finish(q text, VARIADIC jobs text[]) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(durable.complete(w.id)::text, ' ' ORDER BY w.id) FROM unnest(jobs) j JOIN durable.workflow w ON w.name = q || ' ' || j AND w.status = 'RUNNING'
$$;
-- Where claims meet the lanes: the key, and the name of what waits there.
CREATE FUNCTION pg_temp.lanes(q text) RETURNS TABLE (key text, turn bigint, waits text) LANGUAGE sql AS $$
  SELECT l.key, l.turn, substr(w.name, length(q) + 2) FROM durable.queue_lane l LEFT JOIN durable.workflow w ON w.id = l.workflow_id
  WHERE l.queue_name = q ORDER BY 1, 2, l.run_at, 3
$$;

-- Arguments. ------------------------------------------------------------------------------------------------------------------
SELECT durable.create_queue('lanes', key_concurrency => 2);
SELECT durable.create_queue('lanes', key_concurrency => 2);
SELECT test.error($$SELECT durable.create_queue('lanes', key_concurrency => 3)$$);
SELECT test.error($$SELECT durable.create_queue('lanes', key_concurrency => 2, fair => true)$$);
SELECT test.error($$SELECT durable.create_queue('lanes2', key_concurrency => 0)$$);
SELECT test.error($$SELECT durable.create_queue('lanes2', fair => NULL)$$);
SELECT test.error($$SELECT durable.start('x', concurrency_key => 'k')$$);
SELECT test.error($$SELECT durable.start('x', queue => 'lanes', concurrency_key => '')$$);
SELECT test.error($$SELECT durable.start('x', queue => 'lanes', concurrency_key => repeat('k', 1025))$$);
SELECT test.error($$SELECT durable.start_many('{x}', concurrency_keys => '{k}')$$);
SELECT test.error($$SELECT durable.start_many('{x,y}', queue => 'lanes', concurrency_keys => '{k}')$$);
SELECT test.error($$SELECT durable.start_many('{x,y}', queue => 'lanes', concurrency_keys => ARRAY['k', ''])$$);
SELECT durable.create_queue(repeat('q', 1024), key_concurrency => 1);
SELECT created FROM durable.start('lanes long', queue => repeat('q', 1024), concurrency_key => repeat('k', 1024));
SELECT name FROM durable.claim(repeat('q', 1024), 'lanes', 2);
SELECT durable.complete(test.id('lanes long'));
SELECT durable.drop_queue(repeat('q', 1024));

-- Without key_concurrency and fair, keys change nothing: by priority, run_at, id. -------------------------------------------------
SELECT durable.create_queue('plain');
SELECT pg_temp.put('plain', 'a1', '-1', 'b1', 'a2', '-2', 'b2', 'a3', '-3');
SELECT created FROM durable.start('plain top', queue => 'plain', concurrency_key => 'b', priority => 1);
SELECT created FROM durable.start('plain early', queue => 'plain', concurrency_key => 'a', run_at => test.clock() - interval '1 hour');
SELECT created FROM durable.start('plain later', queue => 'plain', concurrency_key => 'a', run_at => test.clock() + interval '1 hour');
SELECT pg_temp.take('plain', 2);
SELECT pg_temp.take('plain', 3);
SELECT pg_temp.take('plain'), pg_temp.take('plain'), pg_temp.take('plain');
SELECT pg_temp.take('plain', 10);
SELECT pg_temp.take('plain', 10);
SELECT count(*) FROM durable.slot WHERE queue_name = 'plain';
SELECT * FROM pg_temp.lanes('plain');

-- A full key is passed over, whatever waits under it; NULL has no limit. ----------------------------------------------------------
SELECT pg_temp.put('lanes', 'a1', 'a2', 'a3', 'a4', 'b1', '-1', 'a5', '-2', '-3', '-4', 'b2', 'b3');
SELECT pg_temp.take('lanes', 3);
SELECT * FROM pg_temp.lanes('lanes');
SELECT pg_temp.take('lanes', 20);
SELECT pg_temp.take('lanes', 20);
SELECT s.slot, s.key, w.name FROM durable.slot s JOIN durable.workflow w USING (id) WHERE s.queue_name = 'lanes' ORDER BY s.slot;
-- What ends, in any way, makes room for the next of its key ...
SELECT pg_temp.finish('lanes', 'a2');
SELECT pg_temp.take('lanes', 20);
SELECT (durable.fail(test.id('lanes b1'), 'e')).status;
SELECT pg_temp.take('lanes', 20);
SELECT durable.cancel_tree(test.id('lanes b2'));
SELECT pg_temp.take('lanes', 20);
-- ... what is handed back, too: and waits again where it was.
SELECT durable.release('lanes', test.id('lanes a3'));
SELECT * FROM pg_temp.lanes('lanes');
SELECT pg_temp.take('lanes', 20);
-- What is paused while it runs keeps its slot; what was paused while it waited does not wait.
SELECT durable.pause_tree(test.id('lanes a3')), durable.pause_tree(test.id('lanes a4'));
SELECT pg_temp.take('lanes', 20);
SELECT pg_temp.finish('lanes', 'a1');
SELECT pg_temp.take('lanes', 20);
SELECT durable.resume_tree(test.id('lanes a4'));
SELECT pg_temp.take('lanes', 20);
SELECT pg_temp.finish('lanes', 'a5');
SELECT pg_temp.take('lanes', 20);
SELECT durable.resume_tree(test.id('lanes a3'));
-- A failed one that is resumed waits in its lane.
SELECT status FROM durable.resume_failed(test.id('lanes b1'));
SELECT pg_temp.take('lanes', 20);
-- Takeovers and recovery change no slot.
SELECT lease, owner FROM durable.attach(test.id('lanes b1'), 'other', true);
SELECT count(*) FROM durable.slot WHERE queue_name = 'lanes' AND key = 'b';
-- What waits in a lane can be cancelled: the next claim finds nothing there, and forgets it.
SELECT pg_temp.put('lanes', 'c1', 'c2', 'd1');
SELECT durable.cancel_tree(test.id('lanes c1')), durable.cancel_tree(test.id('lanes c2'));
SELECT * FROM pg_temp.lanes('lanes');
SELECT pg_temp.take('lanes', 20);
SELECT * FROM pg_temp.lanes('lanes');
-- A rollback gives back what was claimed, and where claims meet it.
SELECT pg_temp.put('lanes', 'c3', 'c4');
BEGIN;
SAVEPOINT s;
SELECT pg_temp.take('lanes', 20);
SELECT * FROM pg_temp.lanes('lanes');
ROLLBACK TO s;
SELECT pg_temp.put('lanes', 'c5');
SELECT pg_temp.take('lanes');
COMMIT;
SELECT pg_temp.take('lanes', 20);
SELECT pg_temp.finish('lanes', 'c3', 'c4');
-- Within both limits.
SELECT durable.alter_queue('lanes', key_concurrency => 1, max_concurrency => 12);
SELECT pg_temp.put('lanes', 'e1', 'e2', 'f1', 'f2');
SELECT count(*) FROM durable.slot WHERE queue_name = 'lanes';
SELECT pg_temp.take('lanes', 20);
SELECT count(*) FROM durable.slot WHERE queue_name = 'lanes';
-- A child in a queue with a key; a program that starts it again.
SELECT created, status FROM durable.start_child(test.id('lanes b1'), 0, 'lanes child', queue => 'lanes', concurrency_key => 'g');
SELECT created, status FROM durable.start_child(test.id('lanes b1'), 0, 'lanes child', queue => 'lanes', concurrency_key => 'g');
SELECT test.error(format('SELECT durable.start_child(%L, 1, %L, concurrency_key => %L)', test.id('lanes b1'), 'x', 'g'));
SELECT name, concurrency_key, queue_name FROM durable.list(kind => 'WORKFLOW', name => 'lanes child');
SELECT * FROM durable.check();

-- From plain to keyed and back. -------------------------------------------------------------------------------------------------------
SELECT durable.create_queue('turn');
SELECT pg_temp.put('turn', 'a1', 'a2', 'a3', 'a4', 'b1', '-1');
SELECT pg_temp.take('turn', 2);
SELECT durable.pause_tree(test.id('turn a2'));
SELECT count(*) FROM durable.slot WHERE queue_name = 'turn';
SELECT durable.alter_queue('turn', key_concurrency => 2);
SELECT count(*) FROM durable.slot WHERE queue_name = 'turn';
SELECT pg_temp.take('turn', 9);
SELECT pg_temp.finish('turn', 'a1');
SELECT pg_temp.take('turn', 9);
SELECT durable.alter_queue('turn');
SELECT pg_temp.take('turn', 9);
SELECT durable.alter_queue('turn', 1);
SELECT count(*) FROM durable.slot WHERE queue_name = 'turn';
SELECT * FROM durable.check();

-- Fair: the key with the fewest running, then the one that was served longest ago. ----------------------------------------------------------
SELECT durable.create_queue('fair', fair => true);
SELECT pg_temp.put('fair', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'b1', 'b2', '-1', '-2', '-3', 'c1');
SELECT pg_temp.take('fair', 3);
SELECT pg_temp.take('fair', 3);
SELECT pg_temp.take('fair');
SELECT pg_temp.finish('fair', 'b1');
SELECT pg_temp.take('fair');
SELECT pg_temp.take('fair', 20);
SELECT pg_temp.take('fair', 20);
SELECT * FROM durable.check();
-- One slot: they take turns, though one has a backlog, and one enqueues its next when its last is done.
SELECT durable.create_queue('one', 1, fair => true);
SELECT pg_temp.put('one', 'a1', 'a2', 'a3', 'a4', 'a5', '-1', '-2', '-3', 'b1');
DO $$
DECLARE
  name text;
BEGIN
  FOR i IN 1..11 LOOP
    name := pg_temp.take('one');
    PERFORM pg_temp.finish('one', name);
    IF name LIKE 'b%' THEN
      PERFORM pg_temp.put('one', 'b' || i);
    END IF;
  END LOOP;
END $$;
SELECT string_agg(substr(name, 5, 1), ' ' ORDER BY started_at) FROM durable.workflow WHERE queue_name = 'one' AND started_at IS NOT NULL;
-- What is handed back has waited since then, not since its run_at: one that comes back again and again does not hold up another.
SELECT pg_temp.take('one') AS first \gset
SELECT pg_temp.put('one', 'c1') AS put, durable.release('lanes', test.id('one ' || :'first')) AS released;
SELECT count(*) FROM generate_series(1, 4) i, LATERAL (SELECT pg_temp.take('one') AS name OFFSET i - i) t, LATERAL (SELECT durable.release('lanes', test.id('one ' || t.name)) OFFSET i - i) r;
SELECT string_agg(name || ' ' || lease, ', ' ORDER BY name) FROM durable.workflow WHERE queue_name = 'one' AND lease > 1;
-- Priorities go before fairness.
SELECT created FROM durable.start('one a top', queue => 'one', concurrency_key => 'a', priority => 1);
SELECT pg_temp.take('one');
SELECT pg_temp.finish('one', 'a top');
-- No longer fair: in the order of positions.
SELECT durable.alter_queue('one', 9);
SELECT pg_temp.take('one', 9);
SELECT * FROM durable.check();
-- Within a key by position, whatever came first: what was due before, and what is handed back. It waits since its key does.
SELECT durable.create_queue('place', fair => true);
SELECT pg_temp.put('place', 'a2', 'b1');
SELECT created FROM durable.start('place a1', queue => 'place', concurrency_key => 'a', run_at => '2000-01-01');
SELECT created FROM durable.start('place a3', queue => 'place', concurrency_key => 'a', run_at => durable.clock());
SELECT pg_temp.take('place');
SELECT durable.release('lanes', test.id('place a1'));
SELECT pg_temp.take('place');
SELECT pg_temp.finish('place', 'b1');
SELECT pg_temp.take('place');
SELECT pg_temp.finish('place', 'a1'), pg_temp.put('place', 'b2', 'b3');
-- a key that was served is behind, also where it had several tickets
SELECT pg_temp.take('place'), pg_temp.take('place');
SELECT pg_temp.finish('place', 'a2'), pg_temp.finish('place', 'b2');
SELECT pg_temp.take('place', 9);
SELECT pg_temp.finish('place', 'a3'), pg_temp.finish('place', 'b3');
-- one claim of many leaves nothing
SELECT pg_temp.put('place', 'a4', 'b4');
SELECT created FROM unnest('{a5,b5,a6}'::text[]) j, durable.start('place ' || j, queue => 'place', concurrency_key => left(j, 1), run_at => '2000-01-01');
SELECT pg_temp.take('place', 9);
SELECT key, turn FROM durable.queue_lane WHERE queue_name = 'place' AND key <> '';
SELECT pg_temp.finish('place', 'a4', 'b4', 'a5', 'b5', 'a6');
-- a key under which nothing waits any more does not wait meanwhile
SELECT pg_temp.put('place', 'a7'), durable.cancel_tree(test.id('place a7')), pg_temp.put('place', 'b6', 'a8');
SELECT pg_temp.take('place');
SELECT * FROM durable.check();
-- Where not all is wanted, in the order of what is; a key under which nothing is wanted is passed over.
SELECT durable.create_queue('wanted', key_concurrency => 9);
SELECT count(*) FROM unnest('{a1 x,-1 x,b1 x,c1 x,-2 y,b2 y,a2 y,-3 y,b3 y}'::text[]) j, durable.start('wanted ' || split_part(j, ' ', 1), queue => 'wanted', concurrency_key => nullif(left(j, 1), '-'), handler => split_part(j, ' ', 2));
SELECT string_agg(substr(name, 8), ' ') FROM durable.claim('wanted', 'lanes', 4, '{y}');
SELECT pg_temp.take('wanted', 9);
-- drop_queue leaves nothing.
SELECT count(durable.cancel_tree(id)) > 0 FROM durable.workflow WHERE queue_name IN ('one', 'fair', 'place', 'wanted', 'turn', 'plain', 'lanes') AND status IN ('PENDING', 'RUNNING', 'PAUSED') AND parent_id IS NULL;
SELECT durable.drop_queue(q) FROM unnest(ARRAY['one', 'fair', 'place', 'wanted', 'turn', 'plain']) q;
SELECT queue_name, count(*) FROM durable.queue_lane WHERE queue_name IN ('one', 'fair', 'place', 'wanted', 'turn', 'plain', 'lanes') GROUP BY 1;
SELECT * FROM durable.slot WHERE queue_name IN ('one', 'fair', 'place', 'wanted', 'turn', 'plain', 'lanes');

-- Many keys, and many of one: all are found, once.
SELECT count(created) FROM durable.start_many(ARRAY(SELECT 'many ' || i FROM generate_series(1, 900) i), queue => 'lanes',
  concurrency_keys => ARRAY(SELECT nullif('k' || i % 300, 'k7') FROM generate_series(1, 900) i));
SELECT durable.alter_queue('lanes', key_concurrency => 2);
SELECT count(*), count(DISTINCT workflow_id) FROM durable.claim('lanes', 'lanes', 1000);
SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM durable.slot WHERE queue_name = 'lanes' AND key <> '' GROUP BY key) s;
SELECT count(*) FROM durable.claim('lanes', 'lanes', 1000);
SELECT count(durable.complete(id)) FROM durable.workflow WHERE queue_name = 'lanes' AND status = 'RUNNING';
SELECT count(*) FROM durable.claim('lanes', 'lanes', 1000);
SELECT count(*) FROM durable.queue_lane WHERE queue_name = 'lanes';
SELECT count(durable.complete(id)) FROM durable.workflow WHERE queue_name = 'lanes' AND status = 'RUNNING';
SELECT * FROM durable.check();
