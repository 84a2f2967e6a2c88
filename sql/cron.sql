-- Lines of cron: what they mean, where the clocks change too, and what is none. The lines of the first parts are those of crontab(5)
-- and of the documentation of well-known implementations, the times worked out by hand.
SET TimeZone = 'UTC';
\pset null -
\pset tuples_only on
\pset format unaligned
-- The first times after one, as the clock on the wall shows them, with the day of the week.
CREATE FUNCTION pg_temp.next(cron text, after timestamptz = '2026-01-01', n int = 4, zone text = 'UTC') RETURNS text LANGUAGE sql AS $$
  SELECT cron || ': ' || string_agg(to_char(r AT TIME ZONE zone, 'Dy YYYY-MM-DD HH24:MI:SS'), ', ' ORDER BY r) FROM durable.next_runs(cron, zone, after, n) r
$$;

-- Fields. (2026-01-01 is a Thursday.)
SELECT pg_temp.next(c) FROM unnest(ARRAY['* * * * *', '5 0 * * *', '15 14 1 * *', '0 22 * * 1-5', '23 0-23/2 * * *', '5 4 * * sun',
  '0 4 8-14 * *', '*/15 * * * *', '0,30 8-10 * * *', '0 12 * jan-mar mon', '0 0 29 2 *', '0 0 31 * *', '59 23 31 12 *', '0 9-17/4 * * *', '07 05 * * *']) c;
-- Names in any case, at both ends of a range, and Sunday at either end of a week.
SELECT pg_temp.next(c, n => 3) FROM unnest(ARRAY['0 0 * * fri-sun', '0 0 * * 5-7', '0 0 * * SUN-Tue', '0 0 * * 0', '0 0 * * 7', '0 0 * * sun,7,0', '0 0 1 Jan,JUL *']) c;
-- Both days restricted: either; one that begins with *, also with a step: both.
SELECT pg_temp.next(c) FROM unnest(ARRAY['0 0 13 * fri', '0 0 */2 * mon', '0 0 1-7 * */7', '0 0 1,15 * 3', '0 0 *,15 * 3', '0 0 29 2 */7']) c;
-- Six fields begin with the second.
SELECT pg_temp.next(c, '2026-01-01 00:00:05.5') FROM unnest(ARRAY['*/10 * * * * *', '0 0 12 * * *', '5 * * * * *', '5,6 0 0 * * *']) c;
-- Names of lines, and @every: from a time on, cut to the second; a day has 24 hours.
SELECT pg_temp.next(c, n => 2) FROM unnest(ARRAY['@hourly', '@daily', '@weekly', '@monthly', '@yearly']) c;
SELECT pg_temp.next(c, '2026-03-28 12:00:00.9', 2, 'Europe/Berlin') FROM unnest(ARRAY['@every 90 s', '@every 1 day', '@every 1 week 00:00:30', '@every   PT1H30M', '@every 01:02:03']) c;
-- A time that is one of the line's is not after itself; blanks do not matter; nothing comes after the year 9999.
SELECT pg_temp.next('30 12 * * *', '2026-01-01 12:30', 1), pg_temp.next('30 12 * * *', '2026-01-01 12:29:59.999999', 1);
SELECT pg_temp.next(E'  0\t0   1 1  * ', n => 1);
SELECT durable.next_runs('0 0 1 1 *', after => '9998-06-01'), count(*) FROM durable.next_runs('* * * * *', after => '9999-12-31 23:55') GROUP BY 1;
SELECT count(*) FROM durable.next_runs('* * * * *', max_rows => 0);
SELECT bool_and(r > now()) AND count(*) = 10 FROM durable.next_runs('* * * * *') r;

-- Time zones. Spring: at 2:00 Berlin's clocks show 3:00; New York's two weeks before; Lord Howe's go on by half an hour; Kathmandu's never do.
SELECT pg_temp.next('30 2 * * *', '2026-03-28', 3, 'Europe/Berlin');
SELECT pg_temp.next('*/20 2-3 * * *', '2026-03-28 12:00', 3, 'Europe/Berlin');
SELECT pg_temp.next('*/30 * * * *', '2026-03-29 00:15', 4, 'Europe/Berlin');
SELECT pg_temp.next('0,10,20,59 2 * * *', '2026-03-28 12:00', 3, 'Europe/Berlin');
SELECT pg_temp.next('0 */2 * * *', '2026-03-28 23:00', 3, 'Europe/Berlin');
SELECT pg_temp.next('30 2 * * *', '2026-03-07 12:00', 3, 'America/New_York');
SELECT pg_temp.next('15 2 * * *', '2026-10-02 18:00', 3, 'Australia/Lord_Howe');
SELECT r FROM durable.next_runs('0 0 * * *', 'Asia/Kathmandu', '2026-01-01', 2) r;
-- What two lines of a day in the gap and the first moment after it would do comes once.
SELECT pg_temp.next('0,30 2,3 * * *', '2026-03-28 12:00', 3, 'Europe/Berlin');
-- Autumn: 2:00 to 3:00 comes twice.
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('30 2 * * *', 'Europe/Berlin', '2026-10-24', 3) r;
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('*/30 * * * *', 'Europe/Berlin', '2026-10-24 23:45', 6) r;
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('30 */1 * * *', 'Europe/Berlin', '2026-10-24 23:45', 4) r;
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('30 1 * * *', 'America/New_York', '2026-10-31 12:00', 2) r;
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('45 1 * * *', 'Australia/Lord_Howe', '2026-04-04 00:00', 3) r;
-- After the first of the two: not the second. Asked in between as well.
SELECT r FROM durable.next_runs('30 2 * * *', 'Europe/Berlin', '2026-10-25 00:45', 1) r;
-- A whole day that Apia has skipped; midnights that Sao Paulo had not.
SELECT pg_temp.next('0 12 * * *', '2011-12-29', 4, 'Pacific/Apia');
SELECT pg_temp.next('0 0 * * *', '2018-11-03', 3, 'America/Sao_Paulo');
-- Far ahead, and long ago, when there was no summer time yet and an offset had seconds.
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('30 2 * * *', 'Europe/Berlin', '2426-03-27', 4) r;
SELECT string_agg(r::text, ', ' ORDER BY r) FROM durable.next_runs('0 12 * * *', 'Europe/Berlin', '1892-12-31', 2) r;
-- Names as in pg_timezone_names, in any case.
SELECT pg_temp.next('0 0 * * *', n => 1, zone => z) FROM unnest(ARRAY['europe/berlin', 'America/New_York', 'Etc/GMT+5', 'utc', 'GMT']) z;

-- A walk, minute by minute, finds the same: over all lines, with what each means of a local time l, and all zones, around a change.
CREATE FUNCTION pg_temp.walk(line text, means text, by_wall boolean, zone text, since timestamptz) RETURNS SETOF timestamptz LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('
    WITH wall AS (
      SELECT t, t AT TIME ZONE $1 AS shows, max(t AT TIME ZONE $1) OVER (ORDER BY t ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS shown
        FROM generate_series($2 - interval ''2 days'', $2 + interval ''3 days'', interval ''1 min'') t),
    local AS (
      -- on the wall, or, once, from what was shown last to what is shown now
      SELECT w.t, l FROM wall w CROSS JOIN LATERAL
        generate_series(CASE WHEN $3 THEN w.shows ELSE coalesce(w.shown, w.shows) + interval ''1 min'' END, w.shows, interval ''1 min'') l)
    SELECT DISTINCT t FROM local, LATERAL (SELECT extract(minute FROM l) AS minute, extract(hour FROM l) AS hour, extract(day FROM l) AS day, extract(dow FROM l) AS dow) f
     WHERE t > $2 AND (%s) ORDER BY t', means) USING zone, since, by_wall;
END $$;
SELECT count(*) AS compared, count(*) FILTER (WHERE array_length(w, 1) > 0) AS with_times, count(*) FILTER (WHERE w <> d) AS different
FROM (VALUES ('*/20 * * * *', 'minute % 20 = 0', true), ('30 */2 * * *', 'minute = 30 AND hour % 2 = 0', true), ('10-50/20 0-3 * * *', 'minute IN (10, 30, 50) AND hour <= 3', false),
    ('0 0 * * *', 'minute = 0 AND hour = 0', false), ('59 23,1,2 * * *', 'minute = 59 AND hour IN (23, 1, 2)', false), ('* 2 * * *', 'hour = 2', true),
    ('15,45 2 */2 * 0-3', 'minute IN (15, 45) AND hour = 2 AND day % 2 = 1 AND dow <= 3', false), ('5 1 10-20 * sun', 'minute = 5 AND hour = 1 AND (day BETWEEN 10 AND 20 OR dow = 0)', false)) l (line, means, by_wall),
  (VALUES ('Europe/Berlin', '2026-03-28'::timestamptz), ('Europe/Berlin', '2026-10-24'), ('America/New_York', '2026-03-07 12:00'), ('America/New_York', '2026-10-31 12:00'),
    ('Australia/Lord_Howe', '2026-04-03'), ('Australia/Lord_Howe', '2026-10-02'), ('Asia/Kathmandu', '2026-03-28'), ('Antarctica/Troll', '2026-03-28'), ('Antarctica/Troll', '2026-10-24'),
    ('America/Sao_Paulo', '2018-11-02'), ('America/Sao_Paulo', '2018-02-16'), ('Pacific/Apia', '2011-12-29')) z (zone, since),
  LATERAL (SELECT ARRAY(SELECT t FROM pg_temp.walk(line, means, by_wall, zone, since) t) AS w,
    ARRAY(SELECT r FROM durable.next_runs(line, zone, since, 10000) r WHERE r <= since + interval '3 days') AS d) x;

-- What is none: the field, and what is wrong in it.
CREATE FUNCTION pg_temp.refused(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
BEGIN
  EXECUTE call;
  RETURN 'not refused: ' || call;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN concat(SQLSTATE, ' ', message, '. ', detail);
END $$;
SELECT pg_temp.refused(format('SELECT count(*) FROM durable.next_runs(%L, max_rows => 1)', c)) FROM unnest(ARRAY['', '   ', '* * * *', '* * * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *',
  '* * * 0 *', '* * * 13 *', '* * * * 8', '60 * * * * *', '-1 * * * *', '5-1 * * * *', '* * * * sat-mon', '* * * * 5-0', '*/0 * * * *', '*/61 * * * *', '* * * * */8', '5/10 * * * *', '*/ * * * *', '*/-5 * * * *',
  '1,,2 * * * *', '1, * * * *', ',1 * * * *', '1- * * * *', '1-2-3 * * * *', '*5 * * * *', '**  * * * *', '1.5 * * * *', '? * * * *', '0 0 L * *', '0 0 15W * *', '0 0 * * 5#2', '0 0 * * monday', '0 0 * mon *', '0 0 * * jan',
  'jan * * * *', '99999999999999999999 * * * *', '0 0 30 2 *', '0 0 31 feb,apr,jun *', '0 0 30-31 2 */2', E'0 0 * *\n*', '@reboot', '@Daily', '@daily x', '@annually', '@', '@every', '@every 0', '@every 0.5 s', '@every 1.5 s', '@every -1 min', '@every 1 month',
  '@every 1 year', '@every 2000000 days', '@every soon', '@every1 h', '@every 1 h; DROP TABLE x']) c;
SELECT pg_temp.refused(format('SELECT count(*) FROM durable.next_runs(''* * * * *'', %L, max_rows => 1)', z)) FROM unnest(ARRAY['', 'Mars/Olympus', 'CEST', 'XYZ+5', 'UTC+3', '+03', '<+03>-3', 'EST5', 'America', '../UTC']) z;
SELECT pg_temp.refused(c) FROM unnest(ARRAY['SELECT durable.next_runs(NULL)', 'SELECT durable.next_runs(''* * * * *'', NULL)', 'SELECT durable.next_runs(''* * * * *'', max_rows => NULL)', 'SELECT durable.next_runs(''* * * * *'', max_rows => -1)',
  'SELECT durable.next_runs(''* * * * *'', max_rows => 1000001)', 'SELECT durable.next_runs(''* * * * *'', after => ''infinity'')', 'SELECT durable.next_runs(''* * * * *'', after => ''-infinity'')', 'SELECT durable.next_runs(''* * * * *'', after => ''4000-01-01 BC'')']) c;
