-- check(): every broken invariant is listed, healthy data gives no row.
\pset null -
\pset format unaligned
\pset tuples_only on
-- Healthy data of all kinds, as the functions make it: a tree as it was built; paused, within a pause; resumed; its root completed, failed,
-- run again, cancelled.
SELECT count(test.world('check-' || n)) FROM generate_series(1, 8) n;
SELECT durable.pause_tree(id), durable.pause_tree(parent_id), durable.pause_tree(root_id) FROM durable.workflow WHERE name = 'inline-deep' AND root_id IN (test.id('check-2'), test.id('check-3'));
SELECT durable.resume_tree(test.id('check-3'));
SELECT durable.complete(test.id('check-4'), '"4"'), status(durable.fail(test.id('check-5'), 'broke')), status(durable.fail(test.id('check-6'), 'broke')), durable.cancel_tree(test.id('check-7'));
SELECT status FROM durable.resume_failed(test.id('check-6'), 'check-b', 2);
SELECT lease FROM durable.attach(test.id('check-8'), 'check-b', true);
SELECT durable.release('check-8-b');
SELECT kind, string_agg(DISTINCT status::text, ' ') FROM durable.task GROUP BY 1 ORDER BY 1;
SELECT test.mask(task_id::text), problem FROM durable.check();

-- One case for each invariant: rows are broken by hand, the problems are listed, all is rolled back. w is a root with a tree.
CREATE FUNCTION pg_temp.broken(what text, VARIADIC statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  statement text;
  problems text[];
BEGIN
  RETURN NEXT what;
  BEGIN
    FOREACH statement IN ARRAY statements LOOP
      EXECUTE statement USING test.id('check-1');
    END LOOP;
    problems := ARRAY(SELECT DISTINCT '  ' || test.mask(task_id::text) || ' ' || problem FROM durable.check() ORDER BY 1);
    RAISE EXCEPTION SQLSTATE 'ZZ000';
  EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
    NULL;
  END;
  RETURN QUERY SELECT unnest(problems);
END $$;
-- A workflow by itself.
SELECT pg_temp.broken('finished, no completed_at', 'UPDATE durable.workflow SET status = $$COMPLETED$$ WHERE id = test.id($$queued-inline$$)', 'UPDATE durable.step SET status = $$COMPLETED$$, completed_at = test.clock() WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('unfinished, completed_at', 'UPDATE durable.workflow SET completed_at = test.clock() WHERE id = $1');
SELECT pg_temp.broken('paused by nobody', 'UPDATE durable.workflow SET status = $$PAUSED$$ WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('paused from nothing', 'UPDATE durable.workflow SET status = $$PAUSED$$, paused_by = id WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('running, paused_by', 'UPDATE durable.workflow SET paused_by = id WHERE id = $1');
SELECT pg_temp.broken('pending, executor', 'UPDATE durable.workflow SET executor_id = $$x$$ WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('pending, deadline', 'UPDATE durable.workflow SET deadline = test.clock() WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('running, no started_at', 'UPDATE durable.workflow SET started_at = NULL WHERE id = $1');
SELECT pg_temp.broken('running, no lease', 'UPDATE durable.workflow SET lease = 0 WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('pending, no run_at', 'UPDATE durable.workflow SET run_at = NULL WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('running, output', 'UPDATE durable.workflow SET output = $$1$$ WHERE id = $1');
SELECT pg_temp.broken('failed, no error', 'UPDATE durable.workflow SET status = $$FAILED$$, completed_at = test.clock() WHERE id = test.id($$queued-inline$$)', 'UPDATE durable.step SET status = $$FAILED$$, error = $$e$$, completed_at = test.clock() WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('a detail, no error', 'UPDATE durable.workflow SET detail = $$1$$ WHERE id = $1');
SELECT pg_temp.broken('inline, executor', 'UPDATE durable.workflow SET executor_id = $$x$$ WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('unfinished, its queue gone', 'DELETE FROM durable.queue WHERE name = $$check-8-q$$');
SELECT pg_temp.broken('two active roots', 'ALTER TABLE durable.workflow DISABLE TRIGGER registers', 'UPDATE durable.workflow SET name = $$check-1$$ WHERE name = $$check-8$$');
SELECT pg_temp.broken('a reason, not asked', 'UPDATE durable.workflow SET cancel_reason = $$why$$ WHERE id = $1');
SELECT pg_temp.broken('a grace, not asked', 'UPDATE durable.workflow SET cancel_at = test.clock() WHERE id = $1');
SELECT pg_temp.broken('untold, not asked', 'UPDATE durable.workflow SET cancel_untold = true WHERE id = $1');
SELECT pg_temp.broken('asked, never ran', 'UPDATE durable.workflow SET cancel_requested_at = test.clock(), cancel_untold = true, lease = 0 WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('told by nothing', 'UPDATE durable.workflow SET cancel_requested_at = test.clock() WHERE id = test.id($$queued-inline$$)');
-- The registers.
SELECT pg_temp.broken('asked, not in the register', 'UPDATE durable.workflow SET cancel_requested_at = test.clock(), cancel_untold = true WHERE id = $1', 'DELETE FROM durable.cancel_request');
SELECT pg_temp.broken('asked, with another grace', 'UPDATE durable.workflow SET cancel_requested_at = test.clock(), cancel_untold = true WHERE id = $1', 'UPDATE durable.cancel_request SET cancel_at = now()');
SELECT pg_temp.broken('in the register, not asked', 'INSERT INTO durable.cancel_request VALUES ($$infinity$$, $1, $$$$)');
SELECT pg_temp.broken('a root without its name', 'DELETE FROM durable.active_root WHERE id = $1');
SELECT pg_temp.broken('a name of another root', 'UPDATE durable.active_root SET id = test.id($$check-2$$) WHERE id = $1');
SELECT pg_temp.broken('waits at another time', 'UPDATE durable.pending SET run_at = run_at + interval $$1 s$$ WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('waits at another turn', 'UPDATE durable.pending SET turn = 1 WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('waits, unknown', 'INSERT INTO durable.pending VALUES ($$check-8-q$$, $$$$, 0, test.clock(), $1)');
SELECT pg_temp.broken('waits under another key', 'UPDATE durable.pending SET key = $$k$$ WHERE id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('priority, unknown', 'INSERT INTO durable.prioritized VALUES ($$check-8-q$$, test.clock(), -4, $1)');
SELECT pg_temp.broken('priority, not in the register', 'UPDATE durable.workflow SET priority = 2 WHERE id = test.id($$queued-deep$$)', 'DELETE FROM durable.prioritized');
SELECT pg_temp.broken('priority, at another time', 'UPDATE durable.workflow SET priority = 2 WHERE id = test.id($$queued-deep$$)', 'UPDATE durable.prioritized SET run_at = run_at + interval $$1 s$$');
SELECT pg_temp.broken('key, no queue', 'UPDATE durable.workflow SET concurrency_key = $$k$$ WHERE id = $1');
SELECT pg_temp.broken('key, no ticket', 'UPDATE durable.workflow SET concurrency_key = $$k$$ WHERE id = test.id($$queued-deep$$)', 'DELETE FROM durable.queue_lane');
SELECT pg_temp.broken('key, ticket behind it', 'UPDATE durable.workflow SET concurrency_key = $$k$$ WHERE id = test.id($$queued-deep$$)', 'UPDATE durable.queue_lane SET run_at = run_at + interval $$1 s$$');
SELECT pg_temp.broken('slot of nobody', 'INSERT INTO durable.slot VALUES ($$check-8-q$$, 77, $$$$, test.id($$queued-deep$$))');
SELECT pg_temp.broken('no slot', 'UPDATE durable.queue SET max_concurrency = 9', 'UPDATE durable.workflow SET slot = 1 WHERE status = $$RUNNING$$ AND queue_name IS NOT NULL', 'DELETE FROM durable.slot WHERE id = (SELECT id FROM durable.slot ORDER BY id DESC LIMIT 1)');
SELECT pg_temp.broken('limits, no slot', 'UPDATE durable.queue SET fair = true');
SELECT pg_temp.broken('driven by another', 'UPDATE durable.driven SET executor_id = $$other$$ WHERE id = $1');
SELECT pg_temp.broken('driven in another queue', 'UPDATE durable.driven SET queue_name = $$other$$ WHERE id = $1');
SELECT pg_temp.broken('not driven', 'DELETE FROM durable.driven WHERE id = $1');
SELECT pg_temp.broken('a deadline of nobody', 'INSERT INTO durable.deadline VALUES (test.clock(), $1)');
SELECT pg_temp.broken('paused, not so', 'INSERT INTO durable.paused VALUES ($$$$, $1)');
SELECT pg_temp.broken('ended, not so', 'INSERT INTO durable.ended VALUES (true, $$COMPLETED$$, test.clock(), $1)');
SELECT pg_temp.broken('inline, of another status', 'UPDATE durable.inline_child SET status = $$COMPLETED$$ WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('inline, not so', 'INSERT INTO durable.inline_child VALUES ($$RUNNING$$, $1)');
SELECT pg_temp.broken('left by purge, not so', 'INSERT INTO durable.left_tree VALUES (test.clock(), $1)');
SELECT pg_temp.broken('never started, not so', 'INSERT INTO durable.unstarted VALUES ($1)');
SELECT pg_temp.broken('failed, not so', 'INSERT INTO durable.unsuccessful VALUES ($$FAILED$$, $1)');
SELECT pg_temp.broken('a root below another', 'UPDATE durable.workflow SET root_id = test.id($$check-2$$) WHERE id = $1');
-- A workflow beside those around it.
SELECT pg_temp.broken('running below a pause', 'UPDATE durable.workflow SET status = $$RUNNING$$, paused_from = NULL, paused_by = NULL WHERE name = $$queued-inline$$ AND root_id = test.id($$check-2$$)');
SELECT pg_temp.broken('pending below a pause, below a finished child', 'UPDATE durable.workflow SET status = $$PENDING$$, paused_from = NULL, paused_by = NULL WHERE name = $$done-queued$$ AND root_id = test.id($$check-2$$)');
SELECT pg_temp.broken('no parent', 'UPDATE durable.workflow SET parent_id = $$00000000-0000-7000-8000-000000000000$$ WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('another root than its parent', 'UPDATE durable.workflow SET root_id = test.id($$check-2$$) WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('no step stands for it', 'DELETE FROM durable.step WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('the step stands for another', 'UPDATE durable.step SET child_id = test.id($$queued-deep$$) WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('the step has another name', 'UPDATE durable.step SET name = $$other$$ WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('the step says CANCELLED', 'UPDATE durable.step SET status = $$CANCELLED$$, completed_at = test.clock() WHERE child_id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('the step says PENDING', 'UPDATE durable.step SET status = $$PENDING$$ WHERE child_id = test.id($$queued-deep$$)');
SELECT pg_temp.broken('the step has another output', 'UPDATE durable.step SET output = $$7$$ WHERE child_id = test.id($$done$$)');
SELECT pg_temp.broken('the step has no output', 'UPDATE durable.step SET output = NULL WHERE child_id = test.id($$done$$)');
SELECT pg_temp.broken('the step has another detail', 'UPDATE durable.step SET detail = $$1$$ WHERE child_id = test.id($$broken$$)');
SELECT pg_temp.broken('the step has another error', 'UPDATE durable.step SET error = $$other$$ WHERE child_id = test.id($$broken$$)');
SELECT pg_temp.broken('unfinished inline below COMPLETED', 'UPDATE durable.workflow SET status = $$COMPLETED$$, completed_at = test.clock() WHERE id = test.id($$check-8$$)');
SELECT pg_temp.broken('unfinished inline below FAILED', 'UPDATE durable.workflow SET status = $$FAILED$$, error = $$e$$, completed_at = test.clock() WHERE id = test.id($$check-8$$)');
SELECT pg_temp.broken('unfinished below CANCELLED', 'UPDATE durable.workflow SET status = $$CANCELLED$$, completed_at = test.clock() WHERE id = test.id($$check-8$$)');
SELECT pg_temp.broken('queued, unfinished below CANCELLED, a finished child in between', 'UPDATE durable.workflow SET status = $$PENDING$$, completed_at = NULL WHERE name = $$done-queued$$ AND root_id = test.id($$check-7$$)',
  'UPDATE durable.step SET status = $$RUNNING$$, completed_at = NULL WHERE child_id = (SELECT id FROM durable.workflow WHERE name = $$done-queued$$ AND root_id = test.id($$check-7$$))');
SELECT pg_temp.broken('a step of a finished child below CANCELLED', 'UPDATE durable.step SET status = $$RUNNING$$, completed_at = NULL WHERE sequence = 1 AND workflow_id = (SELECT id FROM durable.workflow WHERE name = $$done$$ AND root_id = test.id($$check-7$$))');
-- A step.
SELECT pg_temp.broken('no workflow', 'UPDATE durable.step SET workflow_id = $$00000000-0000-7000-8000-000000000000$$ WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('a lease above its workflow''s', 'UPDATE durable.step SET lease = 9 WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('unfinished below CANCELLED', 'UPDATE durable.step SET status = $$RUNNING$$, completed_at = NULL WHERE workflow_id = test.id($$check-7$$) AND sequence = 2');
SELECT pg_temp.broken('paused, its workflow is not', 'UPDATE durable.step SET status = $$PAUSED$$ WHERE workflow_id = $1 AND sequence = 3');
SELECT pg_temp.broken('finished, no completed_at', 'UPDATE durable.step SET completed_at = NULL WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('unfinished, completed_at', 'UPDATE durable.step SET completed_at = test.clock() WHERE workflow_id = $1 AND sequence = 2');
SELECT pg_temp.broken('failed, output', 'UPDATE durable.step SET output = $$1$$ WHERE workflow_id = $1 AND sequence = 1');
SELECT pg_temp.broken('failed, no error', 'UPDATE durable.step SET error = NULL WHERE workflow_id = $1 AND sequence = 1');
SELECT pg_temp.broken('a detail, no error', 'UPDATE durable.step SET detail = $$1$$ WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('completed, error', 'UPDATE durable.step SET error = $$e$$ WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('running, no started_at', 'UPDATE durable.step SET started_at = NULL WHERE workflow_id = $1 AND sequence = 2');
SELECT pg_temp.broken('running, no attempt', 'UPDATE durable.step SET attempt = 0 WHERE workflow_id = $1 AND sequence = 2');
SELECT pg_temp.broken('stands for a child that is gone', 'DELETE FROM durable.workflow WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('kind WORKFLOW, no child', 'UPDATE durable.step SET kind = $$WORKFLOW$$ WHERE workflow_id = $1 AND sequence = 0');
SELECT pg_temp.broken('no child, and it did not fail', 'UPDATE durable.step SET child_id = NULL, attempt = 0 WHERE child_id = test.id($$queued-inline$$)', 'DELETE FROM durable.workflow WHERE id = test.id($$queued-inline$$)');
SELECT pg_temp.broken('no child, and it has an attempt', 'UPDATE durable.step SET kind = $$WORKFLOW$$ WHERE workflow_id = $1 AND sequence = 1');
SELECT pg_temp.broken('a child, kind STEP', 'UPDATE durable.step SET kind = $$STEP$$ WHERE child_id = test.id($$queued-inline$$)');

-- All was rolled back; it looks only.
SELECT test.mask(task_id::text), problem FROM durable.check();
BEGIN READ ONLY;
SELECT count(*) FROM durable.check();
COMMIT;
