-- Of durable.step only the key and run_at are indexed, which a completion does not change: it is always a HOT update. A failure that
-- is retried and the claim after it change run_at.
\pset null -
\set VERBOSITY sqlstate
SET stats_fetch_consistency = none;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'durable.step'::regclass ORDER BY 1;

CREATE FUNCTION pg_temp.updates(OUT updated bigint, OUT hot bigint) LANGUAGE plpgsql AS $$
BEGIN
  SELECT n_tup_upd, n_tup_hot_upd INTO updated, hot FROM pg_stat_user_tables WHERE relid = 'durable.step'::regclass;
END $$;
SELECT pg_stat_force_next_flush();
SELECT updated AS u, hot AS h FROM pg_temp.updates() \gset

-- A claim and a completion, each a transaction, over workflows that grow side by side; small outputs, inputs, some retries.
DO $$
DECLARE
  w uuid[];
  r record;
BEGIN
  FOR i IN 1 .. 10 LOOP
    w[i] := (durable.start('hot-' || i)).workflow_id;
  END LOOP;
  COMMIT;
  FOR n IN 0 .. 199 LOOP
    FOR i IN 1 .. 10 LOOP
      r := durable.claim_step(w[i], n, 'a step of usual length', '{"input": "of usual length"}', lease => 1, executor_id => 'hot-executor', max_retries => 1);
      COMMIT;
      IF n % 10 = 0 THEN
        PERFORM durable.fail(r.step_id, 'an error of usual length', 1, 1);
        COMMIT;
        PERFORM durable.claim_step(w[i], n, 'a step of usual length', lease => 1, executor_id => 'hot-executor', max_retries => 1);
        COMMIT;
      END IF;
      PERFORM durable.complete(r.step_id, jsonb_build_object('result', n, 'text', repeat('x', 40)), 1);
      COMMIT;
    END LOOP;
  END LOOP;
END $$;
SELECT pg_stat_force_next_flush();
-- Of those that are not HOT, 400 are the failures and the claims after them.
SELECT updated - :u >= 2400 AS updated, (hot - :h) * 100 >= (updated - :u - 400) * 99 AS at_least_99_percent_hot FROM pg_temp.updates();
SELECT updated AS u, hot AS h FROM pg_temp.updates() \gset

-- The same by complete_and_claim: one transaction a step.
DO $$
DECLARE
  w uuid := (durable.start('hot-fused')).workflow_id;
BEGIN
  PERFORM durable.claim_step(w, 0, 'step');
  COMMIT;
  FOR n IN 0 .. 1999 LOOP
    PERFORM durable.complete_and_claim(durable.step_id(w, n), to_jsonb(n), 'step', lease => 1);
    COMMIT;
  END LOOP;
END $$;
SELECT pg_stat_force_next_flush();
SELECT updated - :u >= 2000 AS updated, (hot - :h) * 100 >= (updated - :u) * 99 AS at_least_99_percent_hot FROM pg_temp.updates();
SELECT * FROM durable.check();
