-- The clock and how far it can be moved: what is out of bounds is an error of the setting; within, ids, times and deadlines are right.
\pset null -
\set VERBOSITY sqlstate
-- Before the library is there, any value can be set; it is dropped, with a warning, when the library comes.
\c -
SET durable.clock_offset = 9999999999;
SELECT durable.bucket('loads the library') IS NOT NULL AS loaded;
SHOW durable.clock_offset;
SELECT name, min_val, max_val FROM pg_settings WHERE name IN ('durable.clock_offset', 'durable.executor_timeout') ORDER BY name;
SET durable.clock_offset = 9999999999;
SET durable.clock_offset = 1000000001;
SET durable.clock_offset = -1000000001;
SET durable.clock_offset = '12000 d';
SET durable.clock_offset = 'Infinity';
SET durable.clock_offset = 'NaN';
SELECT set_config('durable.clock_offset', '1e300', false);
SET durable.executor_timeout = 9999999999;
SET durable.executor_timeout = -1;
SHOW durable.clock_offset;
SHOW durable.executor_timeout;

-- A workflow at the bounds: the clock of its id, and created_at, last_seen and the deadline, are those of the moved clock.
CREATE FUNCTION test.moved(seconds float8) RETURNS TABLE (id_is_v7 boolean, off_by numeric, id_off_by numeric, seen_off_by numeric, deadline text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  b bit(128);
BEGIN
  PERFORM set_config('durable.clock_offset', seconds::text, true);
  w := (durable.start('clock ' || seconds, executor_id => 'clock ' || seconds, timeout => '1000 years')).workflow_id;
  b := ('x' || replace(w::text, '-', ''))::bit(128);
  RETURN QUERY SELECT substring(b FROM 49 FOR 4)::int = 7, round(extract(epoch FROM t.created_at - clock_timestamp())::numeric - seconds::numeric, -2),
      round(substring(b FROM 1 FOR 48)::bigint / 1000.0 - extract(epoch FROM clock_timestamp()) - seconds::numeric, -2),
      round(extract(epoch FROM e.last_seen - clock_timestamp())::numeric - seconds::numeric, -2), age(t.deadline, t.created_at)::text
    FROM durable.workflow t JOIN durable.executor e ON e.executor_id = t.executor_id WHERE t.id = w;
  PERFORM durable.complete(durable.step_id(w, 0)) FROM durable.claim_step(w, 0, 's', max_retries => 9, backoff => '1000 years', timeout => '1000 years');
  PERFORM * FROM durable.recover('clock r', stale_after => '1000 years', handlers => '{}');
  PERFORM * FROM durable.stats();
  PERFORM durable.purge('1000 years', 0);
  PERFORM durable.complete(w);
END $$;
SELECT m.* FROM unnest(ARRAY[-1e9, -1, 0, 1, 1e9]) s, test.moved(s) m;
-- They sort by it.
SELECT array_agg(name ORDER BY id) AS names FROM durable.workflow WHERE name LIKE 'clock %';
-- The longest silence that executor_timeout allows, at both ends of the clock.
SET durable.executor_timeout = 1000000000;
SET durable.clock_offset = -1000000000;
SELECT count(*) FROM durable.recover('clock r', handlers => '{}');
SET durable.clock_offset = 1000000000;
SELECT count(*) FROM durable.recover('clock r', handlers => '{}');
RESET durable.clock_offset;
RESET durable.executor_timeout;
-- That clock can be read; it goes on within a statement.
SET durable.clock_offset = 1000;
SET durable.executor_timeout = 100;
SELECT round(extract(epoch FROM durable.clock() - clock_timestamp()), -2) AS offset, durable.clock() < (SELECT durable.clock() FROM pg_sleep(0.001)) AS goes_on;
-- Who is dead: at the very limit nobody is yet, whoever is not registered is.
SELECT extract(epoch FROM durable.stale_before(t) - t) AS stale_before, durable.is_dead(t, t) AS at_the_limit, durable.is_dead(t - interval '1 us', t) AS before, durable.is_dead(t + interval '1 us', t) AS after,
       durable.is_dead(NULL, t) AS not_registered
  FROM (SELECT durable.clock() AS t) c;
SELECT test.error('SELECT durable.is_dead(now(), NULL)');
SELECT test.error('SELECT durable.stale_before(NULL)');
SELECT durable.stale_before('-infinity') AS of_minus_infinity, durable.stale_before('infinity') AT TIME ZONE 'UTC' AS of_infinity;
RESET durable.clock_offset;
RESET durable.executor_timeout;
DROP FUNCTION test.moved;
DELETE FROM durable.executor WHERE executor_id LIKE 'clock %';
SELECT * FROM durable.check();
