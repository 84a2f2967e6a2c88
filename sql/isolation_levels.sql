-- The same calls inside REPEATABLE READ and SERIALIZABLE transactions: in one session they answer the same.
-- (What two sessions do to each other there is in the isolation specs.)
\pset null -
\set VERBOSITY sqlstate
SELECT string_agg(l, '; ') AS log FROM test.drive('isolation-levels-1') l \gset
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('isolation-levels-2') l;
-- a run after a run of the same name, in one snapshot
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('isolation-levels-2') l;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('isolation-levels-3') l;
COMMIT;
BEGIN ISOLATION LEVEL READ UNCOMMITTED;
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('isolation-levels-4') l;
COMMIT;
SET default_transaction_isolation = 'serializable';
SELECT string_agg(l, '; ') = :'log' AS same_log FROM test.drive('isolation-levels-5') l;
SELECT workflow_id AS w, created, status FROM durable.start('isolation-levels-6', executor_id => 'isolation-levels-a') \gset
SELECT action, step_id AS s FROM durable.claim_step(:'w', 0, 's', lease => 1) \gset
SELECT durable.complete(:'s', '1', 1, 1);
SELECT action, output FROM durable.claim_step(:'w', 0, 's', lease => 1);
RESET default_transaction_isolation;

-- What a transaction wrote itself it sees, in each level: claim, repeat, fail, claim, complete, replay, takeover.
CREATE FUNCTION pg_temp.own(n text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  w uuid := (durable.start(n, executor_id => 'isolation-levels-a')).workflow_id;
  log text[];
BEGIN
  log := log || (SELECT action::text FROM durable.claim_step(w, 0, 's', lease => 1, executor_id => 'isolation-levels-a', max_retries => 1));
  log := log || (SELECT action::text FROM durable.claim_step(w, 0, 's', lease => 1, executor_id => 'isolation-levels-a'));
  log := log || (SELECT action::text FROM durable.claim_step(w, 0, 's', lease => 1, executor_id => 'isolation-levels-b'));
  log := log || (SELECT lease::text FROM durable.attach(w, 'isolation-levels-b', true));
  log := log || (SELECT action || ' ' || attempt FROM durable.claim_step(w, 0, 's', lease => 2, max_retries => 1));
  log := log || (SELECT status::text FROM durable.fail(durable.step_id(w, 0), 'e', 2));
  log := log || (SELECT action || ' ' || attempt FROM durable.claim_step(w, 0, 's', lease => 2));
  log := log || (SELECT action::text FROM durable.complete_and_claim(durable.step_id(w, 0), '0', 't', lease => 2));
  log := log || (SELECT created || ' ' || status FROM durable.start_child(w, 2, 'c'));
  log := log || (SELECT created || ' ' || status FROM durable.start_child(w, 2, 'c'));
  log := log || durable.complete(w)::text;
  log := log || (SELECT string_agg(sequence || ' ' || status, ' ' ORDER BY sequence) FROM durable.history(w));
  log := log || (SELECT created || ' ' || lease FROM durable.start(n));
  RETURN array_to_string(log, ', ');
END $$;
SELECT pg_temp.own('isolation-levels-7');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.own('isolation-levels-8');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.own('isolation-levels-9');
COMMIT;
-- A replay stays read-only there, and may be deferrable.
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT action, output FROM durable.claim_step(:'w', 0, 's', lease => 1);
SELECT pg_current_xact_id_if_assigned() IS NULL AS no_transaction_id;
COMMIT;
SELECT * FROM durable.check();
