-- A row type that somebody has altered: 55000 names its columns and those that the library fills in, and nothing is done.
-- (What is dropped leaves a hole, so a column that is added is not taken back: all is rolled back.)
SELECT workflow_id AS w FROM durable.start('row-types') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's', lease => 1);

-- A column too many, one too few; by both ways to call, in a session that has called before; then undone.
CREATE FUNCTION pg_temp.try(call text) RETURNS TABLE (what text, said text) LANGUAGE plpgsql AS $$
DECLARE
  message text;
  detail text;
  hint text;
BEGIN
  EXECUTE call;
  RETURN QUERY SELECT 'done', call;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
  RETURN QUERY VALUES (SQLSTATE::text, message), ('detail', detail), ('hint', hint);
END $$;
CREATE FUNCTION pg_temp.calls(w uuid) RETURNS TABLE (what text, said text) LANGUAGE sql AS $$
  SELECT t.* FROM unnest(ARRAY[
    format('SELECT durable.claim_step(%L, 1, $c$t$c$, lease => 1)', w),
    format('SELECT * FROM durable.claim_step(%L, 1, $c$t$c$, lease => 1)', w),
    format('SELECT (durable.complete_and_claim(durable.step_id(%L, 0), NULL, $c$t$c$, lease => 1)).step_id', w)]) call, LATERAL pg_temp.try(call) t
$$;
BEGIN;
ALTER TYPE durable.claimed_step ADD ATTRIBUTE mine text;
SELECT * FROM pg_temp.try(format('SELECT durable.claim_step(%L, 1, $c$t$c$)', :'w'));
SELECT DISTINCT * FROM pg_temp.calls(:'w') WHERE what <> 'hint' ORDER BY what;
ROLLBACK;
BEGIN;
ALTER TYPE durable.claimed_step DROP ATTRIBUTE detail;
SELECT DISTINCT * FROM pg_temp.calls(:'w') WHERE what <> 'hint' ORDER BY what;
ROLLBACK;
BEGIN;
ALTER TYPE durable.claimed_step DROP ATTRIBUTE action, ADD ATTRIBUTE action durable.claim_action;
SELECT DISTINCT * FROM pg_temp.calls(:'w') WHERE what <> 'hint' ORDER BY what;
ROLLBACK;
BEGIN;
ALTER TYPE durable.claimed_step ADD ATTRIBUTE mine text, DROP ATTRIBUTE action, DROP ATTRIBUTE attempt;
SELECT DISTINCT * FROM pg_temp.calls(:'w') WHERE what <> 'hint' ORDER BY what;
ROLLBACK;
-- The same for what start and claim return.
BEGIN;
SELECT durable.create_queue('row-types');
SELECT created FROM durable.start('row-types-4', queue => 'row-types');
ALTER TYPE durable.started_workflow ADD ATTRIBUTE mine text;
ALTER TYPE durable.claimed_workflow ADD ATTRIBUTE mine text, DROP ATTRIBUTE input;
SELECT DISTINCT t.* FROM unnest(ARRAY['SELECT durable.start($$row-types-5$$)', 'SELECT * FROM durable.start($$row-types-5$$)',
  'SELECT * FROM durable.claim($$row-types$$, $$e$$)', 'SELECT durable.claim($$row-types$$, $$e$$)']) call, LATERAL pg_temp.try(call) t ORDER BY t.what, t.said;
SELECT name, status FROM durable.workflow WHERE name LIKE 'row-types-%';
ROLLBACK;
SELECT sequence, status FROM durable.history(:'w');
SELECT action, detail FROM durable.complete_and_claim(durable.step_id(:'w', 0), NULL, 't', lease => 1);

-- The same for columns of a function's own, one row or many: of another version of the script.
CREATE FUNCTION pg_temp.fail(task_id uuid, error text, lease int = NULL, attempt int = NULL, retryable boolean = true, detail jsonb = NULL, retry_after interval = NULL,
  OUT status durable.task_status, OUT retry_count int, OUT run_at timestamptz, OUT more text) AS '$libdir/durable', 'durable_fail' LANGUAGE C;
CREATE FUNCTION pg_temp.start(name text, input jsonb = NULL, handler text = NULL, executor_id text = NULL, queue text = NULL, priority int = 0, run_at timestamptz = NULL, timeout interval = NULL,
  max_recovery_attempts int = 100, app_version text = NULL, concurrency_key text = NULL,
  if_active text = 'attach', if_finished text = 'start', tags jsonb = NULL, max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, OUT workflow_id uuid, OUT created boolean) AS '$libdir/durable', 'durable_start' LANGUAGE C;
CREATE FUNCTION pg_temp.complete_many(task_ids uuid[], outputs jsonb[] = NULL, leases int[] = NULL, attempts int[] = NULL,
  OUT "position" int, OUT task_id uuid, OUT completed boolean, OUT error text, OUT more text) RETURNS SETOF record AS '$libdir/durable', 'durable_complete_many' LANGUAGE C;
CREATE FUNCTION pg_temp.start_many(names text[], inputs jsonb[] = NULL, handler text = NULL, executor_id text = NULL, queue text = NULL, priority int = 0, run_at timestamptz = NULL,
  timeout interval = NULL, max_recovery_attempts int = 100, app_version text = NULL, concurrency_keys text[] = NULL,
  if_active text = 'attach', if_finished text = 'start', tags jsonb[] = NULL, max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, OUT "position" int, OUT workflow_id uuid) RETURNS SETOF record AS '$libdir/durable', 'durable_start_many' LANGUAGE C;
CREATE FUNCTION pg_temp.claim_steps(workflow_id uuid, first_sequence int, names text[], inputs jsonb[] = NULL, kind durable.task_kind = 'STEP', lease int = NULL, executor_id text = NULL,
  max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, timeout interval = NULL,
  OUT sequence int, OUT step_id uuid, OUT action durable.claim_action, OUT output jsonb, OUT error text, OUT attempt int, OUT run_at timestamptz)
  RETURNS SETOF record AS '$libdir/durable', 'durable_claim_steps' LANGUAGE C;
CREATE FUNCTION pg_temp.complete_and_claim_many(step_ids uuid[], outputs jsonb[], names text[], leases int[] = NULL, attempts int[] = NULL, sequences int[] = NULL, inputs jsonb[] = NULL,
  kind durable.task_kind = 'STEP', executor_id text = NULL, max_retries int = 0, backoff interval = '0', backoff_multiplier float8 = 2, max_backoff interval = NULL, timeout interval = NULL,
  OUT "position" int, OUT step_id uuid, OUT action durable.claim_action) RETURNS SETOF record AS '$libdir/durable', 'durable_complete_and_claim_many' LANGUAGE C;
SELECT t.* FROM unnest(ARRAY[
  format('SELECT * FROM pg_temp.fail(durable.step_id(%L, 1), $c$e$c$)', :'w'),
  format('SELECT pg_temp.fail(durable.step_id(%L, 1), $c$e$c$)', :'w'),
  'SELECT * FROM pg_temp.start($c$row-types-2$c$)',
  'SELECT * FROM pg_temp.start_many($c${row-types-3}$c$)',
  format('SELECT * FROM pg_temp.complete_many(ARRAY[durable.step_id(%L, 1)])', :'w'),
  format('SELECT * FROM pg_temp.complete_and_claim_many(ARRAY[durable.step_id(%L, 1)], NULL, $c${a}$c$)', :'w'),
  format('SELECT * FROM pg_temp.claim_steps(%L, 2, $c${a,b}$c$)', :'w')]) call, LATERAL pg_temp.try(call) t WHERE t.what <> 'hint';
SELECT sequence, status FROM durable.history(:'w');
SELECT count(*) FROM durable.workflow WHERE name LIKE 'row-types-%';
-- One that a statement fills has NULL where it has more columns than that: the schema is newer than the session's library.
CREATE FUNCTION pg_temp.history(workflow_id uuid, OUT sequence int, OUT step_id uuid, OUT name text, OUT kind durable.task_kind, OUT status durable.task_status, OUT output jsonb, OUT error text,
  OUT attempt int, OUT run_at timestamptz, OUT child_id uuid, OUT detail jsonb, OUT more text) RETURNS SETOF record AS '$libdir/durable', 'durable_history' LANGUAGE C;
SELECT sequence, status, detail, more FROM pg_temp.history(:'w');
SELECT * FROM durable.check();
