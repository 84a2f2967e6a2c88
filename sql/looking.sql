-- list, count, tree, the view durable.task, and history beside it.
\pset null -
\set VERBOSITY sqlstate
-- In one transaction, without the rows of the other files.
BEGIN;
TRUNCATE durable.workflow, durable.step, durable.event, durable.open_wait, durable.signal;
SELECT test.world('looking-1') AS w \gset
SET durable.clock_offset = 100;
SELECT workflow_id AS b FROM durable.start('looking-2', handler => 'other handler') \gset
SELECT action FROM durable.claim_step(:'b', 0, 'looking-1', '"in"', 'TRANSACTION', 1, 'looking-x', 2, timeout => '30 s');
SET durable.clock_offset = 200;
SELECT workflow_id AS c FROM durable.start('looking-3', queue => 'looking-1-q') \gset
SELECT durable.complete(:'b', '"b"');
SET durable.clock_offset = 300;
SELECT durable.pause_tree(test.id('queued'));

-- The view: workflows and steps in one shape, the seed's names; a step's parent is its workflow; a child is shown once.
\x on
SELECT test.mask(id::text) AS id, test.mask(parent_id::text) AS parent_id, sequence, name, handler, status, kind, input, output, error, queue_name, executor_id, retry_count, max_retries, recovery_count,
       test.seconds(created_at) AS created_at, test.seconds(started_at) AS started_at, test.seconds(completed_at) AS completed_at, test.seconds(deadline) AS deadline, lease, attempt
  FROM durable.task WHERE id IN (:'w', :'b', durable.step_id(:'b', 0), durable.step_id(:'w', 3), test.id('queued')) ORDER BY id;
\x off
SELECT kind, count(*), count(DISTINCT id) AS ids FROM durable.task GROUP BY 1 ORDER BY 1;
SELECT (SELECT count(*) FROM durable.workflow) AS workflows, (SELECT count(*) FROM durable.step WHERE kind <> 'WORKFLOW') AS steps, (SELECT count(*) FROM durable.step WHERE kind = 'WORKFLOW') AS stand_ins;

-- list: each filter. Without any: all workflows, newest first; steps are there by their kind.
CREATE FUNCTION pg_temp.names(arguments text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  r text;
BEGIN
  EXECUTE format('SELECT string_agg(name || CASE kind WHEN %L THEN %L ELSE %L END, %L) FROM durable.list(%s)', 'WORKFLOW', ':', '', ' ', arguments) INTO r;
  RETURN r;
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
SELECT test.mask(a) AS arguments, pg_temp.names(a) FROM unnest(ARRAY[
  $$max_rows => 3$$,
  $$root_only => true$$,
  $$'PAUSED'$$,
  $$status => 'CANCELLED', sort => 'name'$$,
  $$kind => 'TRANSACTION'$$,
  $$kind => NULL, max_rows => 3$$,
  $$kind => 'STEP', status => 'FAILED'$$,
  $$kind => 'WORKFLOW', status => 'PENDING', sort => 'name'$$,
  $$name => 'looking-1', sort => 'created_at'$$,
  $$name => 'looking-1', kind => 'WORKFLOW'$$,
  $$name => 'no such name'$$,
  $$queue_name => 'looking-1-q', sort => 'name', descending => false$$,
  $$queue_name => 'looking-1-q', status => 'PAUSED'$$,
  $$handler => 'other handler'$$,
  $$handler => ''$$,
  $$parent_id => '$$ || :'b' || $$'$$,
  $$parent_id => '$$ || test.id('broken') || $$', sort => 'name', descending => false$$,
  $$parent_id => '$$ || test.id('broken') || $$', kind => 'STEP', sort => 'name', descending => false$$,
  $$parent_id => '$$ || test.id('broken') || $$', kind => 'WORKFLOW', sort => 'name', descending => false$$,
  $$parent_id => '$$ || :'w' || $$', root_only => true$$,
  $$parent_id => '00000000-0000-7000-8000-000000000000'$$,
  $$root_only => true, kind => 'STEP'$$,
  $$root_only => true, sort => 'name', descending => false, max_rows => 2$$,
  $$root_only => true, sort => 'name', descending => false, max_rows => 2, skip => 2$$,
  $$root_only => true, sort => 'status', descending => false$$,
  $$root_only => true, sort => 'status', descending => true$$,
  $$root_only => true, sort => 'completed_at', descending => false$$,
  $$root_only => true, sort => 'started_at', descending => false$$,
  $$max_rows => 0$$,
  $$skip => 1000$$]) a;
-- It answers whole rows of the view.
SELECT count(*) AS different FROM (SELECT l.* FROM unnest(enum_range(NULL::durable.task_kind)) k, durable.list(kind => k, max_rows => 1000) l) l FULL JOIN durable.task t USING (id) WHERE l IS DISTINCT FROM t;

-- Each combination of filters: list and count are what the view has.
CREATE TEMP TABLE f AS
  SELECT * FROM unnest(enum_range(NULL::durable.task_status) || NULL::durable.task_status) status, unnest(enum_range(NULL::durable.task_kind) || NULL::durable.task_kind) kind,
                unnest(ARRAY[:'w', test.id('broken'), NULL]::uuid[]) parent_id, unnest('{true,false}'::boolean[]) root_only,
                unnest('{looking-1,running,NULL}'::text[]) name, unnest('{looking-1-q,NULL}'::text[]) queue_name, unnest('{looking-1 handler,NULL}'::text[]) handler;
SELECT count(*) AS combinations, count(*) FILTER (WHERE listed > 0) AS with_rows, count(*) FILTER (WHERE listed <> counted OR listed <> viewed) AS wrong
  FROM (SELECT (SELECT count(*) FROM durable.list(f.status, f.kind, f.parent_id, f.root_only, f.name, f.queue_name, f.handler)) AS listed,
               durable.count(f.status, f.kind, f.parent_id, f.root_only, f.name, f.queue_name, f.handler) AS counted,
               (SELECT count(*) FROM durable.task t WHERE (f.status IS NULL OR t.status = f.status) AND t.kind = coalesce(f.kind, 'WORKFLOW')
                   AND (f.parent_id IS NULL OR t.parent_id = f.parent_id) AND (NOT f.root_only OR t.parent_id IS NULL)
                   AND (f.name IS NULL OR t.name = f.name) AND (f.queue_name IS NULL OR t.queue_name = f.queue_name)
                   AND (f.handler IS NULL OR t.handler = f.handler)) AS viewed
          FROM f) q;
SELECT durable.count(), durable.count(status => 'RUNNING', kind => 'STEP') AS running_steps, durable.count(root_only => true) AS roots, durable.count(name => 'none') AS none;

-- Each sort in both directions, with the id as tie-break in the same direction; a page is a part of the whole.
CREATE FUNCTION pg_temp.sorted(sort text, descending boolean, kind durable.task_kind) RETURNS TABLE (whole boolean, pages boolean) LANGUAGE plpgsql AS $$
DECLARE
  listed uuid[] := ARRAY(SELECT id FROM durable.list(kind => sorted.kind, sort => sorted.sort, descending => sorted.descending));
  expected uuid[];
  paged uuid[] := '{}';
BEGIN
  EXECUTE format('SELECT array_agg(id ORDER BY %I %s, id %2$s) FROM durable.task WHERE kind = $1', sort, CASE WHEN descending THEN 'DESC' ELSE 'ASC' END) INTO expected USING kind;
  FOR i IN 0 .. 10 LOOP
    paged := paged || ARRAY(SELECT id FROM durable.list(kind => sorted.kind, sort => sorted.sort, descending => sorted.descending, max_rows => 3, skip => i * 3));
  END LOOP;
  RETURN QUERY SELECT listed = expected, paged = expected;
END $$;
SELECT kind, sort, descending, s.* FROM unnest('{WORKFLOW,STEP}'::durable.task_kind[]) kind, unnest('{created_at,started_at,completed_at,name,status}'::text[]) sort, unnest('{f,t}'::boolean[]) descending, pg_temp.sorted(sort, descending, kind) s;

-- Bad arguments.
SELECT a, pg_temp.names(a) FROM unnest(ARRAY[
  $$sort => 'id'$$, $$sort => 'NAME'$$, $$sort => ''$$, $$sort => 'name; DROP TABLE durable.step'$$, $$sort => NULL$$,
  $$descending => NULL$$, $$root_only => NULL$$, $$max_rows => -1$$, $$max_rows => NULL$$, $$skip => -1$$, $$skip => NULL$$, $$status => 'LOST'$$]) a;
SELECT test.error('SELECT durable.list(sort => $$id$$)');
SELECT test.error('SELECT durable.list(max_rows => -1)');
SELECT test.try('SELECT durable.count(root_only => NULL)');
-- Of whatever collation an argument is.
SELECT name FROM durable.list(name => 'looking-1' COLLATE "POSIX", kind => 'WORKFLOW', queue_name => NULL::text COLLATE "POSIX", sort => 'name' COLLATE "POSIX");
SELECT durable.count(queue_name => 'looking-1-q' COLLATE "POSIX", handler => 'none' COLLATE "POSIX");
-- A quote is a quote.
SELECT workflow_id AS q FROM durable.start('looking''"\ %s $1 4') \gset
SELECT name FROM durable.list(name => 'looking''"\ %s $1 4');

-- tree: for a person in psql. One line a task, children inside their position, the error's first line.
SET durable.clock_offset = 4000;
SELECT status FROM durable.fail(durable.step_id(:'w', 2), E'first line\nsecond line', retryable => false);
SELECT workflow_id AS x FROM durable.start_child(:'w', 10, 'looking-child', timeout => '1 s') \gset
SELECT action FROM durable.claim_step(:'x', 1, 'tried twice', kind => 'TRANSACTION', max_retries => 5);
SELECT status FROM durable.fail(durable.step_id(:'x', 1), E'one\r\ntwo');
SELECT action, attempt FROM durable.claim_step(:'x', 1, 'tried twice', kind => 'TRANSACTION', max_retries => 5);
CREATE FUNCTION pg_temp.tree(w uuid) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT regexp_replace(t, '\d+(\.\d+)? (ms|s|min|h|days)\M', 'N \2') FROM durable.tree(w) t;
END $$;
SELECT pg_temp.tree(:'w') AS tree;
-- From any workflow down; one that has nothing.
SELECT pg_temp.tree(:'x') AS tree;
SELECT pg_temp.tree(:'c') AS tree;
-- Each unit of time.
SELECT line FROM (SELECT regexp_replace(durable.tree(:'b'), '\d\d\.\d', 'N.N') AS line) q;
DO $$
DECLARE
  s float8;
BEGIN
  FOREACH s IN ARRAY '{0,30,1800,43200,864000}'::float8[] LOOP
    PERFORM set_config('durable.clock_offset', '0', true), durable.start('lasted ' || s);
    PERFORM set_config('durable.clock_offset', s::text, true), durable.complete(test.id('lasted ' || s));
  END LOOP;
END $$;
SELECT regexp_replace(durable.tree(id), '\d+ ms|\d s$', 'N') FROM durable.workflow WHERE name LIKE 'lasted%' ORDER BY id;
-- A step's id, an unknown one, NULL.
SELECT test.try(format('SELECT durable.tree(%L)', a)) FROM unnest(ARRAY[durable.step_id(:'w', 0), '00000000-0000-7000-8000-000000000000', NULL]::uuid[]) a;

-- history beside it: the steps of one workflow, in order, a child by the step that stands for it.
SELECT sequence, name, kind, status, output, error, attempt, round(test.seconds(run_at), -2) AS run_at, test.mask(child_id::text) AS child FROM durable.history(:'w');
SELECT * FROM durable.check();
ROLLBACK;

-- They only look.
BEGIN READ ONLY;
SELECT count(*) >= 0 AS list FROM durable.list(sort => 'name');
SELECT durable.count() >= 0 AS count;
SELECT count(*) > 0 AS tree FROM durable.tree((SELECT id FROM durable.workflow LIMIT 1));
SELECT pg_current_xact_id_if_assigned();
COMMIT;
