-- patched: the marker of a patch in a program that was changed.
\pset null -
\set VERBOSITY sqlstate
SELECT workflow_id AS w FROM durable.start('patched-1', executor_id => 'patched-a') \gset
-- Where nothing is recorded: true, and it is recorded, as a COMPLETED step.
SELECT durable.patched(:'w', 0, 'taxes', 1);
SELECT sequence, name, kind, status, attempt, output, error FROM durable.history(:'w');
SELECT lease, completed_at = started_at AS at_once, test.seconds(completed_at) AS at, executor_id FROM durable.step WHERE workflow_id = :'w';
-- Where it is recorded: true, and nothing is written, not even in a transaction that could not.
BEGIN READ ONLY;
SELECT durable.patched(:'w', 0, 'taxes', 1), durable.patched(:'w', 0, 'taxes'), pg_current_xact_id_if_assigned();
-- Where another step is, of whatever kind and status: false. The marker of another patch is one, too.
SELECT durable.patched(:'w', 0, 'other'), durable.patched(:'w', 0, 'patch:taxes');
ROLLBACK;
SELECT action FROM durable.claim_step(:'w', 1, 'patch:running');
SELECT action FROM durable.sleep(:'w', 2, 'patch:sleep', '1 hour');
SELECT status FROM durable.start_child(:'w', 3, 'patch:child');
SELECT action FROM durable.claim_step(:'w', 4, 'patch:done', kind => 'TRANSACTION');
SELECT durable.complete(durable.step_id(:'w', 4));
BEGIN READ ONLY;
SELECT durable.patched(:'w', 1, 'running'), durable.patched(:'w', 2, 'sleep'), durable.patched(:'w', 3, 'child'), durable.patched(:'w', 4, 'done'), durable.patched(:'w', 1, 'taxes');
ROLLBACK;
-- For any other call at its position it is a step like any other.
SELECT action, output, attempt FROM durable.claim_step(:'w', 0, 'patch:taxes');
SELECT action FROM durable.claim_step(:'w', 0, 'taxes');
SELECT durable.complete(durable.step_id(:'w', 0)), durable.status(durable.step_id(:'w', 0));
-- It is written in the transaction that calls: a rollback takes it back.
BEGIN;
SELECT durable.patched(:'w', 5, 'back');
ROLLBACK;
SELECT action FROM durable.claim_step(:'w', 5, 'old way');
SELECT durable.patched(:'w', 5, 'back');

-- A patch in a loop, in a program that has gone round twice before it was changed: it goes the old way where it went that, then the new one.
CREATE FUNCTION pg_temp.program(w uuid, rounds int, is_changed boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  n int := 0;
  way text := '';
  step record;
BEGIN
  FOR r IN 1 .. rounds LOOP
    IF is_changed AND durable.patched(w, n, 'loop') THEN
      n := n + 1;
      way := way || ' new';
      step := durable.claim_step(w, n, 'work, better');
    ELSE
      way := way || ' old';
      step := durable.claim_step(w, n, 'work');
    END IF;
    IF step.action = 'EXECUTE' THEN
      PERFORM durable.complete(step.step_id);
    END IF;
    n := n + 1;
  END LOOP;
  RETURN way;
END $$;
SELECT workflow_id AS l FROM durable.start('patched-loop') \gset
SELECT pg_temp.program(:'l', 2, false);
SELECT pg_temp.program(:'l', 4, true);
SELECT sequence, name FROM durable.history(:'l');
BEGIN READ ONLY;
SELECT pg_temp.program(:'l', 4, true);
ROLLBACK;

-- What forbids a claim forbids a marker: an unknown workflow, another lease, and where nothing is recorded whatever the workflow is.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT test.error(format('SELECT durable.patched(%L, 9, ''p'', 7)', :'w'));
SELECT test.error(format('SELECT durable.patched(%L, 9, ''p'')', gen_random_uuid())) ~ '^WF001';
SELECT test.error(format('SELECT durable.patched(durable.step_id(%L, 0), 9, ''p'')', :'w'));
CREATE FUNCTION pg_temp.both(n text) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(left(test.try(format('SELECT durable.patched(%L, %s, ''taxes'')', test.id(n), s)), 6), ' ' ORDER BY s) FROM unnest('{0,1,9}'::int[]) s
$$;
SELECT durable.pause_tree(:'w');
SELECT pg_temp.both('patched-1');
SELECT durable.resume_tree(:'w');
SELECT durable.set_timeout(:'w', '0');
SELECT pg_temp.both('patched-1');
SELECT durable.set_timeout(:'w', NULL);
BEGIN;
SELECT durable.cancel_tree(:'w');
SELECT pg_temp.both('patched-1');
ROLLBACK;
BEGIN;
SELECT durable.release('patched-a', :'w');
SELECT pg_temp.both('patched-1');
ROLLBACK;
SELECT status FROM durable.fail(:'w', 'e');
SELECT pg_temp.both('patched-1');
-- A marker is an outcome: resume_failed leaves it.
SELECT status FROM durable.resume_failed(:'w');
BEGIN READ ONLY;
SELECT durable.patched(:'w', 0, 'taxes');
ROLLBACK;
SELECT durable.complete(:'w'), pg_temp.both('patched-1');
-- Bad arguments.
SELECT test.try(q) FROM unnest(ARRAY[
  $$SELECT durable.patched(NULL, 0, 'p')$$, $$SELECT durable.patched(test.id('patched-loop'), NULL, 'p')$$,
  $$SELECT durable.patched(test.id('patched-loop'), 0, NULL)$$, $$SELECT durable.patched(test.id('patched-loop'), -1, 'p')$$,
  $$SELECT durable.patched(test.id('patched-loop'), 16777214, 'p')$$, $$SELECT durable.patched(test.id('patched-loop'), 0, '')$$,
  $$SELECT durable.patched(test.id('patched-loop'), 0, repeat('x', 1025))$$,
  $$SELECT durable.patched(test.id('patched-loop'), 20, repeat('x', 1024))$$]) q;
SELECT * FROM durable.check();
