-- check and heartbeat take a time in proportion to their rows, whatever the shape of the trees: in a database of its own, where
-- statistics are as old as autovacuum left them.
SELECT current_database() AS home \gset
CREATE DATABASE regress_durable_proportional;
\c regress_durable_proportional
CREATE EXTENSION durable;

-- A parent with 20,000 children, and three trees of 9,000 levels of inline children: PAUSED, CANCELLED, and given up since their root is
-- COMPLETED. (What is quadratic takes a minute.)
SELECT workflow_id AS wide FROM durable.start('wide') \gset
SELECT count(durable.start_child(:'wide', i, 'child')) FROM generate_series(0, 19999) i;
CREATE FUNCTION pg_temp.deep(name text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
  root uuid := (durable.start(name)).workflow_id;
  w uuid := root;
BEGIN
  FOR i IN 1..9000 LOOP
    w := (durable.start_child(w, 0, 'child')).workflow_id;
  END LOOP;
  RETURN root;
END $$;
SELECT durable.pause_tree(pg_temp.deep('paused')), durable.cancel_tree(pg_temp.deep('cancelled')), durable.complete(pg_temp.deep('completed'));
SET statement_timeout = '10 s';
SELECT * FROM durable.check();
SELECT durable.pause_tree(:'wide');
SELECT * FROM durable.check();
SET work_mem = '64kB';
SELECT * FROM durable.check();
RESET work_mem;
ANALYZE durable.workflow, durable.step;
SELECT * FROM durable.check();
-- A circle, which no function makes, does not hold it up.
BEGIN;
UPDATE durable.workflow p SET parent_id = c.id, parent_sequence = 0, queue_name = NULL FROM durable.workflow c
 WHERE p.name IN ('paused', 'cancelled', 'completed') AND c.parent_id = p.id;
SELECT problem, count(*) FROM durable.check() GROUP BY 1 ORDER BY 1;
ROLLBACK;
RESET statement_timeout;

-- An executor that owns 20,000 workflows and believes that it has 9,996 of them, one at another lease, too; further one of another
-- executor, one that there is not, and an inline child.
SELECT count(*) FROM generate_series(0, 19) b, durable.start_many(ARRAY(SELECT 'owned ' || b * 1000 + i FROM generate_series(0, 999) i), executor_id => 'a');
SELECT count(*) FROM durable.start('of another', executor_id => 'b');
CREATE TEMP TABLE known AS SELECT id, 1 AS lease FROM durable.workflow WHERE executor_id = 'a' ORDER BY id LIMIT 9996;
INSERT INTO known SELECT id, 9 FROM durable.workflow WHERE name = 'owned 7' UNION ALL SELECT id, 1 FROM durable.workflow WHERE name = 'of another'
  UNION ALL SELECT gen_random_uuid(), 1 UNION ALL SELECT id, 1 FROM durable.workflow WHERE parent_id IS NOT NULL AND parent_sequence = 5;
SET statement_timeout = '5 s';
CREATE TEMP TABLE answer AS SELECT * FROM durable.heartbeat('a', ARRAY(SELECT id FROM known ORDER BY id, lease), ARRAY(SELECT lease FROM known ORDER BY id, lease));
RESET statement_timeout;
SELECT a.status, a.lease, a.owner, a.workflow_id IN (SELECT id FROM known) AS known, count(*), min(w.name) AS first
  FROM answer a LEFT JOIN durable.workflow w ON w.id = a.workflow_id GROUP BY 1, 2, 3, 4 ORDER BY 4, 3, 1;
\c :home
DROP DATABASE regress_durable_proportional;

-- The same for cancel_tree where statistics are of a moment at which the tree was not committed: they say that there is nothing.
CREATE DATABASE regress_durable_proportional;
\c regress_durable_proportional
CREATE EXTENSION durable;
SELECT count(durable.start_child((durable.start('wide', executor_id => 'a')).workflow_id, i, 'child', queue => 'q')) FROM (SELECT durable.create_queue('q')) q, generate_series(0, 1999) i;
TRUNCATE durable.step, durable.workflow;
BEGIN;
SELECT workflow_id AS wide FROM durable.start('wide', executor_id => 'a') \gset
SELECT count(durable.start_child(:'wide', i, 'child', queue => 'q')) FROM generate_series(0, 1999) i;
\! psql -X -q -d regress_durable_proportional -c ANALYZE
COMMIT;
\c -
SET statement_timeout = '10 s';
SELECT durable.cancel_tree(:'wide');
\c :home
DROP DATABASE regress_durable_proportional;
