-- Inside, the search_path is pg_catalog, pg_temp in every version, whatever the caller's is; to have it there makes no plan anew.
\c -
-- (a call that has waited, as on a busy machine, writes its row twice)
CREATE TABLE test.noted (name text, path text, PRIMARY KEY (name, path));
GRANT USAGE ON SCHEMA test TO PUBLIC;
GRANT INSERT ON test.noted TO PUBLIC;
CREATE FUNCTION test.note_path() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO test.noted VALUES (NEW.name, pg_catalog.regexp_replace(pg_catalog.current_schemas(true)::text, 'pg_temp_\d+', 'pg_temp'))
    ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
CREATE TRIGGER note_path AFTER INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.note_path();
SET search_path = test, public;
SELECT created FROM durable.start('search-path-1');
-- Once the session has temporary tables, they are last.
CREATE TEMP TABLE t (x int);
SELECT created FROM durable.start('search-path-2');
SET search_path = pg_temp, test;
SELECT created FROM durable.start('search-path-3');
SELECT created FROM durable.start_child(test.id('search-path-3'), 0, 'search-path-child');
DROP TRIGGER note_path ON durable.workflow;
SELECT * FROM test.noted ORDER BY name;
-- Before a plan is made anew, the version is looked up in pg_extension: not once, with another path at each call.
CREATE FUNCTION test.calls(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1 .. n LOOP
    PERFORM set_config('search_path', CASE i % 3 WHEN 0 THEN 'test' WHEN 1 THEN 'pg_temp, test' ELSE 'public, pg_catalog, pg_temp' END, true);
    PERFORM durable.start('search-path-1', executor_id => 'search-path');
    PERFORM durable.claim_step(test.id('search-path-1'), 0, 's');
    PERFORM durable.count(name => 'search-path-1');
  END LOOP;
END $$;
CREATE FUNCTION test.scans() RETURNS bigint LANGUAGE sql AS
  $$SELECT seq_scan + idx_scan FROM pg_stat_xact_sys_tables WHERE relname = 'pg_extension'$$;
BEGIN;
-- (the locks keep autovacuum away, which would have plans made anew)
LOCK TABLE durable.workflow, durable.step, durable.executor IN SHARE UPDATE EXCLUSIVE MODE;
SELECT test.calls(3);
SELECT test.scans() AS before \gset
SELECT test.calls(50);
SELECT test.scans() - :before AS scans;
COMMIT;
RESET search_path;
SELECT count(durable.cancel_tree(id)) FROM durable.workflow WHERE name LIKE 'search-path-_';
DROP FUNCTION test.calls, test.scans, test.note_path;
DROP TABLE test.noted;
REVOKE USAGE ON SCHEMA test FROM PUBLIC;
SELECT * FROM durable.check();
