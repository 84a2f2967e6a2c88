-- Every status times every event. One world a cell: a workflow with step 0 COMPLETED, 1 FAILED, 2 RUNNING,
-- 3 PENDING (due in an hour), child 4 RUNNING (its step 0 RUNNING), child 5 COMPLETED, child 6 FAILED, no step 9; then the workflow is put
-- into the status, the event happens, and all is rolled back. A cell is the answer or the SQLSTATE; * marks that it changed a row.
\pset null -
CREATE FUNCTION pg_temp.cell(status text, event text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  w uuid;
  c uuid;
  x uuid;
  r text;
  before text;
  after text;
BEGIN
  BEGIN
    w := (durable.start('transitions', timeout => '10 hours')).workflow_id;
    PERFORM durable.claim_step(w, 0, 's0'), durable.claim_step(w, 1, 's1'), durable.claim_step(w, 2, 's2'),
            durable.claim_step(w, 3, 's3', max_retries => 1, backoff => '1 hour');
    PERFORM durable.complete(durable.step_id(w, 0), '0'), durable.fail(durable.step_id(w, 1), 'e1'), durable.fail(durable.step_id(w, 3), 'e3');
    c := (durable.start_child(w, 4, 'c4')).workflow_id;
    PERFORM durable.claim_step(c, 0, 's0');
    x := (durable.start_child(w, 5, 'c5')).workflow_id;
    PERFORM durable.complete(x, '5');
    x := (durable.start_child(w, 6, 'c6')).workflow_id;
    PERFORM durable.fail(x, 'e6');
    CASE status
      WHEN 'RUNNING' THEN NULL;
      WHEN 'COMPLETED' THEN PERFORM durable.complete(w, '"w"');
      WHEN 'FAILED' THEN PERFORM durable.fail(w, 'ew');
      WHEN 'OWNED' THEN PERFORM durable.attach(w, 'transitions-owner', true);
      WHEN 'LATE' THEN PERFORM durable.attach(w, 'transitions-owner', true); PERFORM set_config('durable.clock_offset', '40000', true);
      WHEN 'PENDING' THEN PERFORM durable.attach(w, 'transitions-owner', true), durable.release('transitions-owner', w);
      WHEN 'PAUSED' THEN PERFORM durable.pause_tree(w);
      WHEN 'CANCELLED' THEN PERFORM durable.cancel_tree(w);
    END CASE;
    SELECT string_agg(q.r, ' ' ORDER BY q.r) INTO before FROM (SELECT t::text AS r FROM durable.workflow t WHERE t.root_id = w UNION ALL SELECT s::text FROM durable.step s WHERE s.workflow_id IN (w, c)) q;
    BEGIN
      EXECUTE event INTO r USING w, c;
    EXCEPTION WHEN OTHERS THEN
      r := SQLSTATE;
    END;
    SELECT string_agg(q.r, ' ' ORDER BY q.r) INTO after FROM (SELECT t::text AS r FROM durable.workflow t WHERE t.root_id = w UNION ALL SELECT s::text FROM durable.step s WHERE s.workflow_id IN (w, c)) q;
    r := coalesce(r, '-') || CASE WHEN before <> after THEN '*' ELSE '' END;
    RAISE EXCEPTION SQLSTATE 'ZZ000';
  EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    NULL;
  END;
  RETURN r;
END $$;
CREATE FUNCTION pg_temp.matrix(events text[]) RETURNS TABLE (event text, pending text, running text, owned text, late text, paused text, completed text, failed text, cancelled text) LANGUAGE sql AS $$
  SELECT events[n][1], pg_temp.cell('PENDING', events[n][2]), pg_temp.cell('RUNNING', events[n][2]), pg_temp.cell('OWNED', events[n][2]), pg_temp.cell('LATE', events[n][2]),
         pg_temp.cell('PAUSED', events[n][2]), pg_temp.cell('COMPLETED', events[n][2]), pg_temp.cell('FAILED', events[n][2]), pg_temp.cell('CANCELLED', events[n][2])
    FROM generate_subscripts(events, 1) n
$$;

-- The workflow's own: complete and fail (equal and different outcome), set_timeout. OWNED: RUNNING under an executor, LATE: past its deadline too.
SELECT * FROM pg_temp.matrix(ARRAY[
  ['complete "w"', $$SELECT durable.complete($1, '"w"')$$],
  ['complete "x"', $$SELECT durable.complete($1, '"x"')$$],
  ['complete, old lease', $$SELECT durable.complete($1, '"w"', 0)$$],
  ['fail ew', $$SELECT status FROM durable.fail($1, 'ew')$$],
  ['fail ex', $$SELECT status FROM durable.fail($1, 'ex')$$],
  ['fail, old lease', $$SELECT status FROM durable.fail($1, 'ew', 0)$$],
  ['set_timeout', $$SELECT 'set', durable.set_timeout($1, '99 hours')$$]]);

-- Who takes it: start and attach. LATE's owner is silent by then.
SELECT * FROM pg_temp.matrix(ARRAY[
  ['start', $$SELECT concat_ws(' ', created, status, lease, owner) FROM durable.start('transitions')$$],
  ['start a', $$SELECT concat_ws(' ', created, status, lease, owner) FROM durable.start('transitions', executor_id => 'a')$$],
  ['attach', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($1)$$],
  ['attach a', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($1, 'a')$$],
  ['attach a takeover', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($1, 'a', true)$$],
  ['attach takeover', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($1, takeover => true)$$],
  ['attach child a', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($2, 'a')$$],
  ['attach child takeover', $$SELECT concat_ws(' ', status, lease, owner) FROM durable.attach($2, 'a', true)$$]]);

-- claim_step and start_child, at each position.
SELECT * FROM pg_temp.matrix(ARRAY[
  ['claim new', $$SELECT action FROM durable.claim_step($1, 9, 's9')$$],
  ['claim COMPLETED', $$SELECT action FROM durable.claim_step($1, 0, 's0')$$],
  ['claim FAILED', $$SELECT action FROM durable.claim_step($1, 1, 's1')$$],
  ['claim RUNNING', $$SELECT action FROM durable.claim_step($1, 2, 's2')$$],
  ['claim PENDING', $$SELECT action FROM durable.claim_step($1, 3, 's3')$$],
  ['claim other name', $$SELECT action FROM durable.claim_step($1, 0, 'other')$$],
  ['claim other kind', $$SELECT action FROM durable.claim_step($1, 2, 's2', kind => 'TRANSACTION')$$],
  ['claim a child', $$SELECT action FROM durable.claim_step($1, 4, 'c4')$$],
  ['claim, old lease', $$SELECT action FROM durable.claim_step($1, 0, 's0', lease => 0)$$],
  ['child new', $$SELECT concat_ws(' ', created, status, lease) FROM durable.start_child($1, 9, 'c9')$$],
  ['child RUNNING', $$SELECT concat_ws(' ', created, status, lease) FROM durable.start_child($1, 4, 'c4')$$],
  ['child COMPLETED', $$SELECT concat_ws(' ', created, status, output) FROM durable.start_child($1, 5, 'c5')$$],
  ['child FAILED', $$SELECT concat_ws(' ', created, status, error) FROM durable.start_child($1, 6, 'c6')$$],
  ['child other name', $$SELECT created FROM durable.start_child($1, 5, 'other')$$],
  ['child at a step', $$SELECT created FROM durable.start_child($1, 0, 's0')$$],
  ['child, old lease', $$SELECT created FROM durable.start_child($1, 5, 'c5', lease => 0)$$],
  ['claim in child', $$SELECT action FROM durable.claim_step($2, 9, 's9')$$],
  ['claim RUNNING in child', $$SELECT action FROM durable.claim_step($2, 0, 's0')$$]]);

-- Outcomes of steps and of the child.
SELECT * FROM pg_temp.matrix(ARRAY[
  ['complete COMPLETED, same', $$SELECT durable.complete(durable.step_id($1, 0), '0')$$],
  ['complete COMPLETED, other', $$SELECT durable.complete(durable.step_id($1, 0), '1')$$],
  ['complete FAILED', $$SELECT durable.complete(durable.step_id($1, 1), '1')$$],
  ['complete RUNNING', $$SELECT durable.complete(durable.step_id($1, 2), '2')$$],
  ['complete PENDING', $$SELECT durable.complete(durable.step_id($1, 3), '3')$$],
  ['complete new', $$SELECT durable.complete(durable.step_id($1, 9), '9')$$],
  ['complete, old lease', $$SELECT durable.complete(durable.step_id($1, 2), '2', lease => 0)$$],
  ['complete, old attempt', $$SELECT durable.complete(durable.step_id($1, 2), '2', attempt => 0)$$],
  ['fail COMPLETED', $$SELECT status FROM durable.fail(durable.step_id($1, 0), 'e0')$$],
  ['fail FAILED, same', $$SELECT status FROM durable.fail(durable.step_id($1, 1), 'e1')$$],
  ['fail FAILED, other', $$SELECT status FROM durable.fail(durable.step_id($1, 1), 'x')$$],
  ['fail RUNNING', $$SELECT status FROM durable.fail(durable.step_id($1, 2), 'e2')$$],
  ['fail PENDING, same', $$SELECT status FROM durable.fail(durable.step_id($1, 3), 'e3')$$],
  ['fail PENDING, other', $$SELECT status FROM durable.fail(durable.step_id($1, 3), 'x')$$],
  ['fail new', $$SELECT status FROM durable.fail(durable.step_id($1, 9), 'e9')$$],
  ['complete RUNNING, claim new', $$SELECT action || coalesce(' ' || left(error, 5), '') FROM durable.complete_and_claim(durable.step_id($1, 2), '2', 's9', 9)$$],
  ['complete RUNNING, claim COMPLETED', $$SELECT action || coalesce(' ' || left(error, 5), '') FROM durable.complete_and_claim(durable.step_id($1, 2), '2', 's0', 0)$$],
  ['complete COMPLETED, claim new', $$SELECT action || coalesce(' ' || left(error, 5), '') FROM durable.complete_and_claim(durable.step_id($1, 0), '0', 's9', 9)$$],
  ['complete FAILED, claim new', $$SELECT action || coalesce(' ' || left(error, 5), '') FROM durable.complete_and_claim(durable.step_id($1, 1), '1', 's9', 9)$$],
  ['complete PENDING, claim new', $$SELECT action || coalesce(' ' || left(error, 5), '') FROM durable.complete_and_claim(durable.step_id($1, 3), '3', 's9', 9)$$],
  ['set_timeout COMPLETED', $$SELECT 'set', durable.set_timeout(durable.step_id($1, 0), '1 hour')$$],
  ['set_timeout FAILED', $$SELECT 'set', durable.set_timeout(durable.step_id($1, 1), '1 hour')$$],
  ['set_timeout RUNNING', $$SELECT 'set', durable.set_timeout(durable.step_id($1, 2), '1 hour')$$],
  ['set_timeout PENDING', $$SELECT 'set', durable.set_timeout(durable.step_id($1, 3), '1 hour')$$],
  ['complete child', $$SELECT durable.complete($2, '4')$$],
  ['fail child', $$SELECT status FROM durable.fail($2, 'e4')$$],
  ['complete step of child', $$SELECT durable.complete(durable.step_id($2, 0), '0')$$],
  ['complete child by its step', $$SELECT durable.complete(durable.step_id($1, 4), '4')$$]]);

-- Control, of the workflow and of the child at 4 (a child is inline: only with its root it runs again). A number is that of the tasks changed.
SELECT * FROM pg_temp.matrix(ARRAY[
  ['pause_tree', $$SELECT durable.pause_tree($1)$$],
  ['resume_tree', $$SELECT durable.resume_tree($1)$$],
  ['cancel_tree', $$SELECT durable.cancel_tree($1)$$],
  ['request_cancel', $$SELECT durable.request_cancel($1, 'why')$$],
  ['resume_failed', $$SELECT concat_ws(' ', status, lease) FROM durable.resume_failed($1)$$],
  ['resume_failed a', $$SELECT concat_ws(' ', status, lease) FROM durable.resume_failed($1, 'a', 2)$$],
  ['pause_tree child', $$SELECT durable.pause_tree($2)$$],
  ['resume_tree child', $$SELECT durable.resume_tree($2)$$],
  ['cancel_tree child', $$SELECT durable.cancel_tree($2)$$],
  ['request_cancel child', $$SELECT durable.request_cancel($2, 'why')$$],
  ['resume_failed child', $$SELECT status FROM durable.resume_failed($2)$$],
  ['pause_tree a step', $$SELECT durable.pause_tree(durable.step_id($1, 2))$$],
  ['resume_tree a step', $$SELECT durable.resume_tree(durable.step_id($1, 2))$$],
  ['request_cancel a step', $$SELECT durable.request_cancel(durable.step_id($1, 2))$$],
  ['cancel_tree a step', $$SELECT durable.cancel_tree(durable.step_id($1, 2))$$],
  ['resume_failed a step', $$SELECT status FROM durable.resume_failed(durable.step_id($1, 2))$$]]);
-- What comes after: each pair of them.
CREATE FUNCTION pg_temp.two(w uuid, a text, b text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RETURN left(test.try(format('SELECT durable.%s(%L)', a, w)), 5) || ' ' || left(test.try(format('SELECT durable.%s(%L)', b, w)), 5);
END $$;
SELECT * FROM pg_temp.matrix(ARRAY(
  SELECT ARRAY[a || ', ' || b, format('SELECT pg_temp.two($1, %L, %L)', a, b)]
    FROM unnest('{pause_tree,resume_tree,cancel_tree,request_cancel}'::text[]) a, unnest('{pause_tree,resume_tree,cancel_tree,request_cancel}'::text[]) b));
SELECT * FROM durable.check();
