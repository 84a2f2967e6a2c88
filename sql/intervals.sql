-- An interval is a length of time wherever in the calendar it begins: anything else is 22023, as are infinite ones.
\pset null -
CREATE TEMP TABLE given (n int GENERATED ALWAYS AS IDENTITY, i interval);
INSERT INTO given (i) VALUES ('0'), ('1 us'), ('-1 us'), ('1 mon -27 days'), ('1 mon -28 days'), ('1 mon -28 days -1 us'), ('1 mon -29 days'), ('1 mon -31 days'),
  ('-1 mon 30 days'), ('-1 mon 31 days'), ('-1 mon 32 days'), ('2 mons -56 days'), ('2 mons -62 days'), ('1 year -364 days'), ('1 year -365 days'), ('1 year -366 days'),
  ('-1 year 365 days'), ('-1 year 367 days'), ('4 years -1460 days'), ('4 years -1461 days'), ('1 day -22 hours'), ('1 day -23 hours'), ('1 day -23:30:00'), ('1 day -24 hours'), ('-1 day 24 hours'),
  ('-1 day 24:30:00'), ('-1 day 25 hours'), ('7 days -166:59:00'), ('7 days -167:01:00'), ('1 mon -30 days 48 hours'), ('1 mon -31 days 72 hours'), ('1 mon -31 days 74 hours');
-- What is accepted, as an argument of each function that takes one; the rate limit's window must be longer than 0.
CREATE FUNCTION test.accepts(statement text, i interval) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(statement, quote_literal(i));
  RAISE EXCEPTION SQLSTATE 'ZZ000';
EXCEPTION
  WHEN SQLSTATE 'ZZ000' THEN RETURN true;
  WHEN invalid_parameter_value THEN RETURN false;
END $$;
SELECT workflow_id AS w FROM durable.start('intervals') \gset
CREATE TEMP TABLE calls (argument text, statement text, positive boolean DEFAULT false);
INSERT INTO calls VALUES
  ('start', 'SELECT durable.start(''intervals-1'', timeout => %s)'),
  ('start_many', 'SELECT durable.start_many(''{intervals-1}'', timeout => %s)'),
  ('start_child', format('SELECT durable.start_child(%L, 0, ''c'', timeout => %%s)', :'w')),
  ('claim_step timeout', format('SELECT durable.claim_step(%L, 0, ''s'', timeout => %%s)', :'w')),
  ('claim_step backoff', format('SELECT durable.claim_step(%L, 0, ''s'', max_retries => 1, backoff => %%s)', :'w')),
  ('claim_step max_backoff', format('SELECT durable.claim_step(%L, 0, ''s'', max_retries => 1, max_backoff => %%s)', :'w')),
  ('claim_steps', format('SELECT durable.claim_steps(%L, 0, ''{s}'', timeout => %%s)', :'w')),
  ('complete_and_claim_many', format('SELECT durable.complete_and_claim_many(ARRAY[durable.step_id(%L, 9)], NULL, ''{s}'', timeout => %%s)', :'w')),
  ('set_timeout', format('SELECT durable.set_timeout(%L, %%s)', :'w')),
  ('recover', 'SELECT durable.recover(''intervals-a'', 0, stale_after => %s)'),
  ('purge', 'SELECT durable.purge(%s, 0)');
INSERT INTO calls VALUES
  ('create_queue', 'SELECT durable.create_queue(''intervals-q'', rate_limit_window => %s)', true),
  ('alter_queue', 'SELECT durable.create_queue(''intervals-q''), durable.alter_queue(''intervals-q'', rate_limit_window => %s)', true);
CREATE TEMP TABLE answer AS SELECT g.n, g.i, c.argument, c.positive, test.accepts(c.statement, g.i) AS accepted FROM given g, calls c;
SELECT i, bool_or(accepted) FILTER (WHERE NOT positive) AS accepted, bool_or(accepted) FILTER (WHERE positive) AS as_window,
       count(DISTINCT accepted) FILTER (WHERE NOT positive) = 1 AND count(DISTINCT accepted) FILTER (WHERE positive) = 1 AS all_agree
  FROM answer GROUP BY n, i ORDER BY n;
-- What the calendar says, by trying each hour of five years where clocks change by an hour: nothing that is accepted goes back.
SET timezone = 'America/New_York';
SELECT g.i, min(t + g.i - t) FROM given g, generate_series('2023-01-01'::timestamptz, '2028-01-01', '1 hour') t
 WHERE EXISTS (SELECT FROM answer a WHERE a.n = g.n AND a.accepted) GROUP BY 1 HAVING min(t + g.i) FILTER (WHERE t + g.i < t) IS NOT NULL;
RESET timezone;
-- Too long, in one part or in all; and infinite (which up to 16 is no interval).
SELECT i, bool_or(test.accepts(statement, i)) FILTER (WHERE argument NOT LIKE '%backoff') AS accepted, bool_and(test.accepts(statement, i)) FILTER (WHERE argument LIKE '%backoff') AS as_backoff
  FROM calls, unnest('{1000 years,1000 years 1 mon,366000 days,366001 days,8784000 hours,8784001 hours,2000 years -366000 days,178000000 years -2000000000 days}'::interval[]) i GROUP BY 1 ORDER BY 1;
CREATE FUNCTION test.infinite(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE statement;
  RETURN 'no error';
EXCEPTION WHEN invalid_parameter_value OR invalid_datetime_format THEN
  RETURN 'refused';
END $$;
SELECT v, test.infinite(format(statement, quote_literal(v) || '::interval')), count(*) FROM calls, unnest('{infinity,-infinity}'::text[]) v GROUP BY 1, 2 ORDER BY 1;
-- The words.
SELECT test.error($$SELECT durable.start('intervals-1', timeout => '1 mon -29 days')$$);
SELECT test.error($$SELECT durable.start('intervals-1', timeout => '-1 day')$$);
SELECT test.error($$SELECT durable.create_queue('intervals-q', rate_limit_window => '1 mon -28 days')$$);
SELECT durable.complete(:'w');
DROP FUNCTION test.accepts, test.infinite;
SELECT * FROM durable.check();
