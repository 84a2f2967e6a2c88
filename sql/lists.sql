-- list and count where there are more than they read one by one: in a database of its own, which is dropped at the end. Each answer is
-- compared with that of a plain query, for workflows of each status in large groups: by age, so that the newest are not those that are asked
-- for, and mixed.
\pset null -
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_lists;
CREATE DATABASE regress_durable_lists;
\c regress_durable_lists
\pset null -
SET client_min_messages = warning;
CREATE EXTENSION durable;
SELECT durable.create_queue('q'), durable.create_queue('r');
-- So many workflows of a status, from a number on; the number is in the id and tells the rest. Those with a modulus above 0 that divides it are children.
CREATE FUNCTION add(status durable.task_status, first int, count int, children int = 0, inline int = 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO durable.workflow (id, root_id, parent_id, parent_sequence, status, lease, created_at, run_at, started_at, completed_at, tree_end, name, handler, queue_name, executor_id,
      error, paused_from, paused_by, paused_at, suspended_at, priority)
  SELECT u, u, CASE WHEN children > 0 AND i % greatest(children, 1) = 0 THEN r END, CASE WHEN children > 0 AND i % greatest(children, 1) = 0 THEN i END, add.status, 1, t, CASE WHEN NOT (add.status = 'PENDING' AND inline = 0 AND i % 8 = 7) THEN t END,
    CASE WHEN NOT (add.status = 'PENDING' AND i % 5 > 0 OR add.status = 'CANCELLED' AND i % 3 = 0) THEN t + interval '1 s' * (i % 7) END,
    CASE WHEN add.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN t + interval '1 s' * (10 + i % 11) END,
    CASE WHEN add.status IN ('COMPLETED', 'FAILED', 'CANCELLED') AND i % 13 = 0 AND NOT (children > 0 AND i % greatest(children, 1) = 0) THEN t + interval '1 day' END,
    'name ' || CASE WHEN add.status IN ('PENDING', 'RUNNING', 'PAUSED') THEN i ELSE i % 10 END, 'handler ' || i % 3, CASE WHEN inline > 0 AND i % greatest(inline, 1) = 0 THEN NULL WHEN i % 2 = 0 THEN 'q' WHEN i % 4 = 1 OR children > 0 THEN 'r' END,
    CASE WHEN add.status IN ('RUNNING', 'PAUSED') THEN 'executor ' || i % 9 END, CASE WHEN add.status = 'FAILED' THEN 'bad' END,
    CASE WHEN add.status = 'PAUSED' THEN CASE WHEN i / 300 % 2 = 0 THEN 'PENDING' ELSE 'RUNNING' END::durable.task_status END, CASE WHEN add.status = 'PAUSED' THEN u END, CASE WHEN add.status = 'PAUSED' THEN t END,
    CASE WHEN add.status = 'PENDING' AND inline = 0 AND i % 4 = 3 THEN t END, i % 3
  FROM generate_series(first, first + count - 1) i, LATERAL (SELECT timestamptz '2025-01-01 00:00+00' + i * interval '10 ms' AS t) t,
    LATERAL (SELECT lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') AS h) h,
    LATERAL (SELECT (left(h, 8) || '-' || right(h, 4) || '-7000-8000-' || lpad(to_hex(i), 6, '0') || '000000')::uuid AS u OFFSET 0) u
    LEFT JOIN LATERAL (SELECT id AS r FROM durable.workflow WHERE parent_id IS NULL ORDER BY durable.workflow.id LIMIT 1) r ON true
$$;
-- What list has to answer, by the ids.
CREATE FUNCTION expected(filters text, sort text, descending boolean, skip int, max_rows int, after_id uuid) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
  answer uuid[];
BEGIN
  EXECUTE format('SELECT ARRAY(SELECT id FROM durable.workflow WHERE %s AND ($1 IS NULL OR id %s $1) ORDER BY %I %s, id %4$s OFFSET %s LIMIT %s)',
    filters, CASE WHEN descending THEN '<' ELSE '>' END, sort, CASE WHEN descending THEN 'DESC' ELSE 'ASC' END, skip, max_rows) INTO answer USING after_id;
  RETURN answer;
END $$;
CREATE FUNCTION answered(arguments text, sort text, descending boolean, skip int, max_rows int, after_id uuid) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
  answer uuid[];
BEGIN
  EXECUTE format('SELECT array_agg(id) FROM durable.list(%s sort => %L, descending => %L, skip => %s, max_rows => %s, after_id => %L)', arguments, sort, descending, skip, max_rows, after_id) INTO answer;
  RETURN coalesce(answer, '{}');
END $$;
CREATE TABLE filter (arguments text, filters text);
INSERT INTO filter
  SELECT concat('status => ''' || s || ''', ', q.a, r.a), concat('status = ''' || s || ''' AND ', q.f, r.f) FROM unnest(enum_range(NULL::durable.task_status) || NULL::durable.task_status) s,
    (VALUES ('', ''), ('queue_name => ''q'', ', 'queue_name = ''q'' AND '), ('name => ''name 3'', ', 'name = ''name 3'' AND '), ('handler => ''handler 1'', ', 'handler = ''handler 1'' AND '),
      ('name => ''name 4'', queue_name => ''q'', ', 'name = ''name 4'' AND queue_name = ''q'' AND ')) q (a, f),
    (VALUES ('root_only => true, ', 'parent_id IS NULL'), ('', 'true')) r (a, f);
INSERT INTO filter SELECT format('parent_id => %L, ', '01941f29-7c00-7000-8000-000000000000'), format('parent_id = %L', '01941f29-7c00-7000-8000-000000000000');
-- Those that are of a register, whatever else is asked for.
INSERT INTO filter
  SELECT concat(r.a, o.a), concat(r.f, ' AND ', o.f) FROM
    (VALUES ('driven_by => ''executor 3'', ', 'executor_id = ''executor 3'' AND ''RUNNING'' IN (status, paused_from) AND (parent_id IS NULL OR queue_name IS NOT NULL)'), ('driven_by => '''', ', 'executor_id IS NULL AND status = ''RUNNING'' AND (parent_id IS NULL OR queue_name IS NOT NULL)'),
      ('suspended_only => true, ', 'status = ''PENDING'' AND suspended_at IS NOT NULL')) r (a, f),
    (VALUES ('', 'true'), ('root_only => true, ', 'parent_id IS NULL'), ('queue_name => ''q'', ', 'queue_name = ''q'''), ('queue_name => ''r'', handler => ''handler 1'', ', 'queue_name = ''r'' AND handler = ''handler 1'''),
      ('status => ''PAUSED'', ', 'status = ''PAUSED''')) o (a, f);
-- Compares all of them; which are wrong.
CREATE FUNCTION wrong(OUT combinations bigint, OUT with_rows bigint, OUT wrong text[]) LANGUAGE sql AS $$
  SELECT count(*), count(*) FILTER (WHERE e <> '{}'), array_agg(format('%s %s %s %s', f.arguments, s.sort, s.descending, s.skip) ORDER BY 1) FILTER (WHERE e <> a)
  FROM filter f, (SELECT sort, descending, skip, after_id
      FROM unnest('{created_at,started_at,completed_at,name,status}'::text[]) sort, unnest('{f,t}'::boolean[]) descending,
        (VALUES (0, NULL::uuid), (150, NULL), (3, (SELECT id FROM durable.workflow ORDER BY id OFFSET (SELECT count(*) / 3 FROM durable.workflow) LIMIT 1))) p (skip, after_id)
      WHERE after_id IS NULL OR sort = 'created_at') s,
    LATERAL (SELECT expected(f.filters, s.sort, s.descending, s.skip, 60, s.after_id) AS e, answered(f.arguments, s.sort, s.descending, s.skip, 60, s.after_id) AS a OFFSET 0) x
$$;
-- Counts: exact up to 2,000, and else hardly wrong.
CREATE FUNCTION miscounted() RETURNS TABLE (arguments text, counted bigint, really bigint) LANGUAGE plpgsql AS $$
DECLARE
  f record;
BEGIN
  -- count has no such filter
  FOR f IN SELECT * FROM filter x WHERE x.arguments !~ 'driven_by|suspended_only' LOOP
    EXECUTE format('SELECT durable.count(%s)', rtrim(f.arguments, ', ')) INTO counted;
    EXECUTE format('SELECT count(*) FROM durable.workflow WHERE %s', f.filters) INTO really;
    arguments := f.arguments;
    IF (CASE WHEN really <= 2000 THEN counted <> really ELSE abs(counted - really) > really / 10 END) THEN
      RETURN NEXT;
    END IF;
  END LOOP;
END $$;
SELECT * FROM wrong();
SELECT * FROM miscounted();
-- Large groups, each newer than the one before; then some of all. At first all have ended; then those that were created first have started last.
SELECT add('COMPLETED', 0, 3000), add('FAILED', 3000, 3000);
SELECT * FROM wrong();
BEGIN;
UPDATE durable.workflow SET started_at = '2025-01-01 00:02+00', completed_at = '2025-01-01 00:03+00' WHERE created_at < '2025-01-01 00:00:55+00';
SELECT * FROM wrong();
ROLLBACK;
SELECT add('CANCELLED', 6000, 3000), add('RUNNING', 9000, 3000);
SELECT * FROM wrong();
SELECT add('PAUSED', 12000, 3000), add('PENDING', 15000, 3000);
SELECT * FROM wrong();
SELECT * FROM miscounted();
SELECT add(s, 18000 + 20 * n::int, 20) FROM unnest(enum_range(NULL::durable.task_status)) WITH ORDINALITY s (s, n);
SELECT * FROM wrong();
-- With children in queues.
SELECT add('COMPLETED', 19000, 2500, children => 2);
SELECT add(s, 30000 + 3000 * n::int, 300, children => 4) FROM unnest(enum_range(NULL::durable.task_status)) WITH ORDINALITY s (s, n);
SELECT * FROM wrong();
SELECT * FROM miscounted();
-- With inline children: none of the times is by a register then.
SELECT add(s, 60000 + 300 * n::int, 60, children => 3, inline => 6) FROM unnest(enum_range(NULL::durable.task_status)) WITH ORDINALITY s (s, n);
SELECT * FROM wrong();
SELECT * FROM miscounted();
SELECT add(s, 70000 + 3000 * n::int, 3000, children => 1, inline => 1) FROM unnest('{COMPLETED,PENDING,RUNNING}'::durable.task_status[]) WITH ORDINALITY s (s, n);
SELECT * FROM wrong();
SELECT * FROM miscounted();
-- Page by page by after_id, with each filter: all of them, each once, in either direction; also after an id that is gone.
CREATE FUNCTION paged(arguments text, descending boolean) RETURNS uuid[] LANGUAGE plpgsql AS $$
DECLARE
  pages uuid[] := '{}';
  page uuid[];
BEGIN
  LOOP
    page := answered(arguments, 'created_at', descending, 0, 700, pages[cardinality(pages)]);
    pages := pages || page;
    EXIT WHEN cardinality(page) < 700;
  END LOOP;
  RETURN pages;
END $$;
SELECT count(*) AS walks, count(*) FILTER (WHERE paged(f.arguments, d) <> expected(f.filters, 'created_at', d, 0, 100000, NULL)) AS wrong FROM filter f, unnest('{f,t}'::boolean[]) d
 WHERE f.arguments ~ '^(|(status|queue_name|handler|parent_id|driven_by|suspended_only) => [^,]*, |root_only => true, )$';
SELECT count(*) FROM (SELECT unnest(answered('', 'created_at', true, 0, 5, '01941f2a-0000-7000-8000-000000000001')) EXCEPT SELECT unnest(expected('true', 'created_at', true, 0, 5, '01941f2a-0000-7000-8000-000000000001'))) x;
-- Of steps too: by the time of their start, which the id does not tell.
SELECT w.workflow_id AS w FROM durable.start('steps') w \gset
SELECT count(durable.claim_step(:'w', i, 'step')) FROM generate_series(0, 9) i;
SELECT name, sequence FROM durable.list(kind => 'STEP', max_rows => 3, after_id => durable.step_id(:'w', 6));
SELECT name, sequence FROM durable.list(kind => 'STEP', max_rows => 2, after_id => durable.step_id(:'w', 6), descending => false, parent_id => :'w');
SELECT durable.list(kind => 'STEP', after_id => durable.step_id(:'w', 99));
SELECT durable.list(sort => 'name', after_id => :'w');
-- No step is driven or suspended, and nothing is both.
SELECT count(*) FROM (SELECT durable.list(kind => 'STEP', driven_by => '') UNION ALL SELECT durable.list(kind => 'STEP', suspended_only => true)) x;
SELECT count(*) FROM durable.list(driven_by => 'executor 3', suspended_only => true);
SELECT durable.list(suspended_only => NULL);
DELETE FROM durable.step;
DELETE FROM durable.workflow WHERE id = :'w';
-- Without statistics so far; with them.
ANALYZE;
SELECT * FROM wrong();
SELECT * FROM miscounted();
SELECT task_id, problem FROM durable.check() WHERE problem LIKE '%register%';
\c :home
DROP DATABASE regress_durable_lists;
