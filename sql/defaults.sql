-- Defaults that somebody has given to columns hold for what the calls do not name, by a statement (the first call of a session, or after a
-- change) and by its fast path (the next ones) alike; what the calls name, they set, to NULL, too.
-- In a database of its own, because others would see those defaults.
\set VERBOSITY sqlstate
SELECT current_database() AS home \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_durable_defaults;
RESET client_min_messages;
CREATE DATABASE regress_durable_defaults;
\c regress_durable_defaults
CREATE EXTENSION durable;
SELECT durable.create_queue('q');

-- Three lives, of which only the first is by statements; what there is in the columns that are given.
CREATE PROCEDURE lives(n text) LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
BEGIN
  FOR i IN 1 .. 3 LOOP
    w := (durable.start(n || ' ' || i)).workflow_id;
    COMMIT;
    PERFORM durable.start(n || ' queued ' || i, queue => 'q');
    COMMIT;
    PERFORM durable.claim_step(w, 0, 'a', lease => 1);
    COMMIT;
    PERFORM durable.complete_and_claim(durable.step_id(w, 0), '0', 'b', lease => 1);
    COMMIT;
    PERFORM durable.claim_step(w, 2, 'c', lease => 1);
    COMMIT;
    PERFORM durable.complete(durable.step_id(w, 2), '2', 1);
    COMMIT;
  END LOOP;
END $$;
CREATE FUNCTION rows_of(n text) RETURNS TABLE (of text, row_is text, lives bigint) LANGUAGE sql AS $$
  SELECT r.of, r.row_is, count(*)
    FROM (SELECT 'workflow' || CASE WHEN w.queue_name IS NULL THEN '' ELSE ', queued' END AS of,
                 jsonb_strip_nulls(to_jsonb(w) - ARRAY['id', 'root_id', 'name', 'created_at', 'started_at', 'run_at', 'queue_name'])::text
                   || CASE WHEN w.started_at IS NULL THEN '' ELSE ' started' END || CASE WHEN w.deadline IS NULL THEN '' ELSE ' deadline' END AS row_is
            FROM durable.workflow w WHERE w.name LIKE n || ' %'
          UNION ALL
          SELECT 'step ' || s.sequence, (jsonb_strip_nulls(to_jsonb(s) - ARRAY['workflow_id', 'sequence', 'name', 'started_at', 'completed_at']))::text
            FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name LIKE n || ' %') r
    GROUP BY 1, 2 ORDER BY 1, 2 $$;
CALL lives('none');
SELECT * FROM rows_of('none');

-- Constants, of each kind of type; those of columns that the calls name do not count.
ALTER TABLE durable.workflow ALTER recovery_count SET DEFAULT 3, ALTER tree_end SET DEFAULT '2001-01-01 00:00+00', ALTER paused_by SET DEFAULT '00000000-0000-7000-8000-000000000000',
  ALTER output SET DEFAULT '{"mine": [1, 2]}', ALTER detail SET DEFAULT '"mine"', ALTER error SET DEFAULT 'mine', ALTER parent_sequence SET DEFAULT 7,
  ALTER priority SET DEFAULT 9, ALTER max_recovery_attempts SET DEFAULT 9, ALTER handler SET DEFAULT 'mine', ALTER executor_id SET DEFAULT 'mine', ALTER app_version SET DEFAULT 'mine',
  ALTER input SET DEFAULT '"mine"', ALTER timeout SET DEFAULT '1 hour', ALTER deadline SET DEFAULT '2001-01-01', ALTER started_at SET DEFAULT '2001-01-01', ALTER run_at SET DEFAULT '2001-01-01';
ALTER TABLE durable.step ALTER retry_count SET DEFAULT 5, ALTER error SET DEFAULT 'mine', ALTER detail SET DEFAULT '{"mine": 1}', ALTER failed_at SET DEFAULT '2001-01-01 00:00+00',
  ALTER child_id SET DEFAULT '00000000-0000-7000-8000-000000000000', ALTER output SET DEFAULT '"mine"',
  ALTER max_retries SET DEFAULT 9, ALTER executor_id SET DEFAULT 'mine', ALTER backoff SET DEFAULT '1 hour', ALTER backoff_multiplier SET DEFAULT 9, ALTER max_backoff SET DEFAULT '1 hour',
  ALTER timeout SET DEFAULT '1 hour', ALTER deadline SET DEFAULT '2001-01-01', ALTER input SET DEFAULT '"mine"';
CALL lives('constant');
SELECT * FROM rows_of('constant');
-- (the fast paths hold them longer than a transaction)
CALL lives('again');
SELECT count(*) FROM rows_of('again');
SELECT * FROM rows_of('again') EXCEPT SELECT * FROM rows_of('constant');

-- Others, none, NULL.
ALTER TABLE durable.workflow ALTER recovery_count SET DEFAULT 4, ALTER tree_end DROP DEFAULT, ALTER paused_by DROP DEFAULT, ALTER output DROP DEFAULT, ALTER detail DROP DEFAULT,
  ALTER error SET DEFAULT NULL, ALTER parent_sequence SET DEFAULT NULL::int;
ALTER TABLE durable.step ALTER retry_count SET DEFAULT 6, ALTER error DROP DEFAULT, ALTER detail DROP DEFAULT, ALTER failed_at DROP DEFAULT, ALTER child_id DROP DEFAULT, ALTER output DROP DEFAULT;
CALL lives('others');
SELECT * FROM rows_of('others');
ALTER TABLE durable.workflow ALTER recovery_count DROP DEFAULT;
SELECT created FROM durable.start('no default');
SELECT created FROM durable.start('no default');
ALTER TABLE durable.workflow ALTER recovery_count SET DEFAULT 0;

-- What is to be computed is computed for each row: a sequence, a function, an identity.
CREATE SEQUENCE counted;
CREATE SEQUENCE tried;
GRANT USAGE ON SEQUENCE counted, tried TO PUBLIC;
ALTER TABLE durable.workflow ALTER recovery_count SET DEFAULT nextval('counted');
ALTER TABLE durable.step ALTER retry_count SET DEFAULT nextval('tried'), ALTER failed_at SET DEFAULT clock_timestamp();
CALL lives('computed');
SELECT array_agg(recovery_count ORDER BY id) FROM durable.workflow WHERE name LIKE 'computed %';
SELECT count(DISTINCT s.retry_count) AS counted, count(DISTINCT failed_at) AS times, count(*) FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE w.name LIKE 'computed %';
ALTER TABLE durable.workflow ALTER recovery_count DROP DEFAULT, ALTER recovery_count ADD GENERATED ALWAYS AS IDENTITY (START 100);
ALTER TABLE durable.step ALTER retry_count SET DEFAULT 0, ALTER failed_at DROP DEFAULT;
CALL lives('identity');
SELECT array_agg(recovery_count ORDER BY id) FROM durable.workflow WHERE name LIKE 'identity %';
ALTER TABLE durable.workflow ALTER recovery_count DROP IDENTITY, ALTER recovery_count SET DEFAULT 0;
CALL lives('as before');
SELECT array_agg(DISTINCT recovery_count) FROM durable.workflow WHERE name LIKE 'as before %';

\c :home
DROP DATABASE regress_durable_defaults;
