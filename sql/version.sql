-- A library that is newer than the schema says so, wherever a statement has to be analysed, and looks for the version
-- nowhere else. (test/t/006_upgrade.pl has two libraries and two schemas; here the schema says that it is older.)
CREATE FUNCTION test.version(v text) RETURNS void LANGUAGE sql AS
  $$UPDATE pg_extension SET extversion = v WHERE extname = 'durable'$$;

-- Plans that are there are used. (The locks keep autovacuum away, which would have them made anew.)
BEGIN;
LOCK TABLE durable.workflow, durable.step, durable.executor IN SHARE UPDATE EXCLUSIVE MODE;
SELECT durable.release('version'), durable.bucket('version');
SELECT test.version('0.9');
SELECT durable.release('version');
-- Without them all is asked for first, but what needs no statement.
DISCARD PLANS;
SAVEPOINT s;
\set VERBOSITY default
SELECT durable.release('version');
ROLLBACK TO s;
\set VERBOSITY sqlstate
SELECT durable.start('version');
ROLLBACK TO s;
SELECT durable.claim('version', 'version');
ROLLBACK TO s;
SELECT durable.bucket('version');
-- Numbers are compared, dot by dot.
CREATE TEMP TABLE answer (version text, answer text);
DO $$
DECLARE
  v text;
BEGIN
  FOREACH v IN ARRAY ARRAY['', '0', '0.10', '0.99.9', '1', '1.0', '1.0.1', '1.1', '1.10', '2', '10.0'] LOOP
    PERFORM test.version(v);
    DISCARD PLANS;
    BEGIN
      PERFORM durable.release('version');
      INSERT INTO answer VALUES (v, 'goes on');
    EXCEPTION WHEN OTHERS THEN
      INSERT INTO answer VALUES (v, SQLSTATE);
    END;
  END LOOP;
END $$;
SELECT * FROM answer ORDER BY string_to_array(version, '.')::int[];
ROLLBACK;
SELECT durable.release('version');

-- The catalog is not read by calls whose plans are there.
CREATE FUNCTION test.calls(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    PERFORM durable.start('version', executor_id => 'version');
    PERFORM durable.claim_step(test.id('version'), 0, 's');
    PERFORM durable.status(test.id('version'));
  END LOOP;
END $$;
CREATE FUNCTION test.scans() RETURNS bigint LANGUAGE sql AS
  $$SELECT seq_scan + idx_scan FROM pg_stat_xact_sys_tables WHERE relname = 'pg_extension'$$;
BEGIN;
LOCK TABLE durable.workflow, durable.step, durable.executor IN SHARE UPDATE EXCLUSIVE MODE;
SELECT test.calls(3);
SELECT test.scans() AS before \gset
SELECT test.calls(50);
SELECT test.scans() - :before AS scans;
DISCARD PLANS;
SELECT durable.status(test.id('version'));
SELECT test.scans() - :before AS scans;
COMMIT;
SELECT durable.cancel_tree(test.id('version'));
DROP FUNCTION test.version, test.calls, test.scans;
