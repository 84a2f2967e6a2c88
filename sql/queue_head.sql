-- The heads of queues: claims begin where the last one stopped, and whatever comes to wait before that is found.
-- Every claim raises the heads of the priorities that it has looked at.
SET durable.claim_walk = 0;
SELECT durable.create_queue('head'), durable.create_queue('other');
-- A claim, by the names of what it gets; the heads, by the name of what stands right before, and who is late there.
CREATE FUNCTION test.take(n int = 1, q text = 'head') RETURNS text LANGUAGE sql AS
  $$SELECT coalesce(string_agg(name, ' ' ORDER BY i), '-') FROM durable.claim(q, 'head-1', n) WITH ORDINALITY c(id, name, handler, input, lease, rc, at, scheduled_for, i)$$;
CREATE FUNCTION test.heads() RETURNS TABLE (queue text, priority bigint, behind text, late text) LANGUAGE sql AS
  $$SELECT h.queue_name, h.rank / 2,
      (SELECT w.name FROM durable.workflow w WHERE w.queue_name = h.queue_name AND w.priority = h.rank / 2 AND (w.run_at, w.id) < (h.run_at, h.workflow_id)
       ORDER BY w.run_at DESC, w.id DESC LIMIT 1),
      (SELECT string_agg(DISTINCT w.name, ' ') FROM durable.queue_late l JOIN durable.workflow w ON w.id = l.workflow_id
       WHERE l.head_id = h.id AND w.status = 'PENDING' AND w.run_at = l.run_at)
    FROM durable.queue_head h ORDER BY 1, 2 DESC, h.id$$;
SELECT count(durable.start('head ' || i, queue => 'head')) FROM generate_series(1, 9) i;

-- A head moves with the claims of its priority, in a block too.
SELECT test.take();
SELECT * FROM test.heads();
BEGIN;
SELECT test.take();
COMMIT;
SELECT * FROM test.heads();
SELECT test.take();
SELECT * FROM test.heads();
-- A rollback takes a head back with the claim.
DO $$
BEGIN
  PERFORM test.take();
  RAISE EXCEPTION USING ERRCODE = 'ZZ001';
EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL;
END $$;
SELECT * FROM test.heads();
SELECT test.take();
SELECT * FROM test.heads();

-- What comes to wait before the head: an earlier run_at, ...
SELECT status FROM durable.start('head early', queue => 'head', run_at => now() - interval '1 hour');
SELECT * FROM test.heads();
SELECT test.take(), test.take();
SELECT * FROM test.heads();
-- ... also many at once, ...
SELECT status FROM durable.start_many('{head many 1,head many 2}', queue => 'head', run_at => now() - interval '1 hour');
SELECT * FROM test.heads();
SELECT test.take(2);
SELECT completed FROM durable.complete_many(ARRAY[test.id('head many 1'), test.id('head many 2')]);
SELECT * FROM test.heads();
-- ... what is released and keeps its place, alone or with all others of its executor, ...
SELECT durable.release('head-1', test.id('head 2'));
SELECT * FROM test.heads();
SELECT test.take();
SELECT durable.release('head-1');
SELECT * FROM test.heads();
SELECT test.take(6);
SELECT * FROM test.heads();
-- ... but not before its time, ...
SELECT durable.release('head-1', test.id('head 1'), now() + interval '1 hour');
SELECT * FROM test.heads();
SET durable.clock_offset = 3601;
SELECT test.take(), test.take(), test.take(), test.take(), test.take();
SET durable.clock_offset = 0;
SELECT * FROM test.heads();
-- ... what was paused while it waited, alone and with its tree, ...
SELECT count(durable.start('paused ' || i, queue => 'head')) FROM generate_series(1, 3) i;
SELECT durable.pause_tree(test.id('paused 1'));
SELECT workflow_id AS root, lease FROM durable.start('head root', executor_id => 'head-1') \gset
SELECT status FROM durable.start_child(:'root', 0, 'head child', queue => 'other');
SELECT status FROM durable.start_child(:'root', 1, 'head child 2', queue => 'head', priority => -1);
SELECT durable.pause_tree(:'root');
SELECT count(durable.start('others ' || i, queue => 'other')) FROM generate_series(1, 2) i;
SELECT test.take(), test.take(1, 'other');
SELECT * FROM test.heads();
SELECT durable.resume_tree(test.id('paused 1')), durable.resume_tree(:'root');
SELECT * FROM test.heads();
SELECT test.take(), test.take(), test.take(1, 'other');
SELECT test.take(1, 'other'), test.take();
SELECT * FROM test.heads();
-- ... what has failed and runs again, named or below, ...
SELECT count(durable.start('again ' || i, queue => 'head')) FROM generate_series(1, 4) i;
SELECT test.take(2);
SELECT status FROM durable.fail(test.id('again 1'), 'broken');
SELECT durable.complete(test.id('again 2'));
SELECT status FROM durable.fail(test.id('head child 2'), 'broken');
SELECT status FROM durable.fail(:'root', 'broken');
SELECT test.take();
SELECT * FROM test.heads();
SELECT status FROM durable.resume_failed(test.id('again 1'));
SELECT status FROM durable.resume_failed(:'root');
SELECT * FROM test.heads();
SELECT test.take(), test.take(), test.take();
-- ... and what a clock that was set back lets start.
SELECT count(durable.start('clock ' || i, queue => 'head')) FROM generate_series(1, 3) i;
SELECT test.take();
SET durable.clock_offset = -1000;
SELECT status FROM durable.start('clock back', queue => 'head');
SELECT test.take(), test.take();
SET durable.clock_offset = 0;
SELECT test.take(), test.take(), test.take();

-- Priorities have heads of their own: a higher one comes first, one without a head too, and between others.
SELECT count(durable.start(format('p%s %s', p, i), queue => 'head', priority => p)) FROM unnest('{-2147483648,0,10,2147483647}'::int[]) p, generate_series(1, 3) i;
SELECT test.take(), test.take(), test.take(), test.take();
SELECT count(durable.start(format('p%s 1', p), queue => 'head', priority => p)) FROM unnest('{5,20}'::int[]) p;
SELECT * FROM test.heads();
SELECT test.take(), test.take(), test.take(), test.take(), test.take(), test.take(), test.take(), test.take(), test.take();
SELECT test.take(99);
-- What is not yet due does not hold up what stands behind it, with heads and without.
SELECT count(durable.start(format('later %s', p), queue => 'head', priority => p, run_at => now() + interval '1 hour')) FROM unnest('{0,7,10}'::int[]) p;
SELECT count(durable.start(format('now %s', p), queue => 'head', priority => p)) FROM unnest('{-5,0,6,10}'::int[]) p;
SELECT test.take(), test.take(), test.take(), test.take(), test.take();
SET durable.clock_offset = 3601;
SELECT test.take(), test.take(), test.take(), test.take();
SET durable.clock_offset = 0;

-- check() sees what no claim would find.
BEGIN;
SELECT status FROM durable.start('lost', queue => 'other');
SELECT count(*) FROM durable.check();
INSERT INTO durable.queue_head SELECT 'other', 0, gen_random_uuid(), run_at + interval '1 s', id FROM durable.workflow WHERE name = 'lost';
SELECT problem FROM durable.check();
INSERT INTO durable.queue_late SELECT h.id, w.run_at, w.id, gen_random_uuid() FROM durable.workflow w JOIN durable.queue_head h ON h.workflow_id = w.id WHERE name = 'lost';
SELECT problem FROM durable.check();
ROLLBACK;

-- A list is as long as it has to be: what is late by the hundred is not taken over, the head goes back to the first of them.
SELECT count(durable.start('mass ' || i, queue => 'other')) FROM generate_series(1, 3) i;
SELECT test.take(3, 'other');
SELECT count(*) FROM durable.start_many((SELECT array_agg('old ' || i ORDER BY i) FROM generate_series(1, 130) i), queue => 'other', run_at => now() - interval '1 hour');
SELECT behind, array_length(string_to_array(late, ' old'), 1) AS late FROM test.heads() WHERE queue = 'other';
SELECT count(*) FROM (SELECT (durable.claim('other', 'head-1')).* FROM generate_series(1, 20)) c;
SELECT behind LIKE 'old %' AS goes_back, late FROM test.heads() WHERE queue = 'other';
SELECT count(*), count(DISTINCT workflow_id) FROM durable.claim('other', 'head-1', 200);
SELECT * FROM durable.check();

-- What is released and taken again and again does not make the list long.
SELECT durable.start('again and again', queue => 'other') IS NOT NULL, test.take(1, 'other');
DO $$
BEGIN
  FOR i IN 1..50 LOOP
    PERFORM durable.release('head-1', test.id('again and again'));
    IF test.take(1, 'other') <> 'again and again' THEN RAISE 'lost'; END IF;
  END LOOP;
END $$;
SELECT count(*) < 3 AS is_short FROM durable.queue_late l JOIN durable.queue_head h ON h.id = l.head_id WHERE h.queue_name = 'other';

-- A claim that may not write, or has not walked far, raises nothing.
CREATE TEMP TABLE before AS SELECT * FROM durable.queue_head;
SET durable.claim_walk = DEFAULT;
SELECT test.take(1, 'other');
SET durable.claim_walk = 0;
BEGIN READ ONLY;
SELECT test.take(1, 'other');
COMMIT;
SELECT count(*) FROM (SELECT * FROM before EXCEPT SELECT * FROM durable.queue_head) gone;

-- purge removes what is of no use: lists without a head, heads without a queue.
INSERT INTO durable.queue_head VALUES ('no such queue', 0, gen_random_uuid(), now(), gen_random_uuid());
INSERT INTO durable.queue_late SELECT id, now(), gen_random_uuid(), gen_random_uuid() FROM durable.queue_head WHERE queue_name = 'no such queue';
INSERT INTO durable.queue_late VALUES (gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid());
SELECT workflows FROM durable.purge('1 day');
SELECT (SELECT count(*) FROM durable.queue_head WHERE queue_name = 'no such queue') AS heads,
  (SELECT count(*) FROM durable.queue_late WHERE head_id NOT IN (SELECT id FROM durable.queue_head)) AS lists;

-- What has been renamed is missed, and said to be; what keeps rows away, too.
\set SHOW_CONTEXT never
BEGIN;
ALTER INDEX durable.pending_pkey RENAME TO pending_place;
SAVEPOINT s;
SELECT test.take(1, 'other');
ROLLBACK TO s;
ALTER INDEX durable.pending_place RENAME TO pending_pkey;
ALTER TABLE durable.queue_head RENAME run_at TO moment;
SAVEPOINT s;
SELECT status FROM durable.start('renamed', queue => 'other');
ROLLBACK TO s;
ALTER TABLE durable.queue_head RENAME moment TO run_at;
SELECT status FROM durable.start('renamed back', queue => 'other');
SAVEPOINT s;
ALTER TABLE durable.pending ADD COLUMN more int;
SELECT status FROM durable.start('more', queue => 'other');
ROLLBACK TO s;
SELECT status FROM durable.start('no more', queue => 'other');
ROLLBACK;
CREATE FUNCTION test.keep_away() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
BEGIN;
SELECT status FROM durable.start('kept', queue => 'other');
CREATE TRIGGER keep_away BEFORE UPDATE ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.keep_away();
SELECT test.take(1, 'other');
ROLLBACK;
BEGIN;
CREATE TRIGGER keep_away BEFORE INSERT OR UPDATE OR DELETE ON durable.queue FOR EACH ROW EXECUTE FUNCTION test.keep_away();
SAVEPOINT s;
SELECT durable.create_queue('kept');
ROLLBACK TO s;
SELECT durable.create_queue('other');
SELECT durable.pause_queue('other');
ROLLBACK TO s;
SELECT durable.drop_queue('nowhere');
ROLLBACK;
BEGIN;
CREATE TRIGGER keep_away BEFORE INSERT ON durable.queue_head FOR EACH ROW EXECUTE FUNCTION test.keep_away();
SELECT status FROM durable.start('kept', queue => 'other');
SELECT test.take(1, 'other');
ROLLBACK;
DROP FUNCTION test.keep_away;

-- Heads go with their queue.
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE queue_name IN ('head', 'other') AND status IN ('PENDING', 'RUNNING', 'PAUSED') AND parent_id IS NULL;
SELECT durable.cancel_tree(:'root');
SELECT durable.drop_queue('head'), durable.drop_queue('other');
SELECT * FROM test.heads();
SELECT * FROM durable.check();
DROP FUNCTION test.take, test.heads;
