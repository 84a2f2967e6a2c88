-- Deadlines: deadline = started_at + timeout; WF006 while RUNNING; an outcome is a fact.
\pset null -
\set VERBOSITY sqlstate
CREATE FUNCTION pg_temp.deadline(t uuid) RETURNS interval LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT deadline - started_at FROM durable.task WHERE id = t);
END $$;
SELECT workflow_id AS w FROM durable.start('deadlines-1', timeout => '100 s') \gset
SELECT pg_temp.deadline(:'w');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 1, 'running');
SELECT durable.complete(durable.step_id(:'w', 0), '0');
SET durable.clock_offset = 90;
SELECT action FROM durable.claim_step(:'w', 0, 's');
-- Past it: every claim is WF006, a replay too, and a start_child; so is the claim's part of complete_and_claim.
SET durable.clock_offset = 110;
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 2, 'new');
SELECT created FROM durable.start_child(:'w', 3, 'child');
SELECT action, left(error, 7) FROM durable.complete_and_claim(durable.step_id(:'w', 1), '1', 'new');
-- What only looks does not mind; nor does attach, which does not re-arm it.
SELECT status, lease FROM durable.attach(:'w', 'deadlines-a');
SELECT count(*) FROM durable.history(:'w');
SELECT pg_temp.deadline(:'w');
SELECT action FROM durable.claim_step(:'w', 2, 'new', lease => 2);

-- set_timeout re-arms it from started_at: long enough, too short, none.
SELECT durable.set_timeout(:'w', '1000 s');
SELECT pg_temp.deadline(:'w'), timeout FROM durable.workflow WHERE id = :'w';
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.set_timeout(:'w', '50 s');
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.set_timeout(:'w', NULL);
SELECT pg_temp.deadline(:'w'), timeout FROM durable.workflow WHERE id = :'w';
SELECT action FROM durable.claim_step(:'w', 2, 'new');
-- complete and fail do not look at it.
SELECT durable.set_timeout(:'w', '1 s');
SELECT durable.complete(durable.step_id(:'w', 2), '2'), durable.complete(:'w', '"late"');
-- On a finished task it is WF002: a workflow, a step.
SELECT durable.set_timeout(:'w', '1000 s');
SELECT durable.set_timeout(:'w', NULL);
SELECT durable.set_timeout(durable.step_id(:'w', 0), '1000 s');
SELECT pg_temp.deadline(:'w');
-- Finished, the deadline is no more looked at.
SELECT action, output FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 9, 'new');
RESET durable.clock_offset;
SELECT workflow_id AS w FROM durable.start('deadlines-2', timeout => '100 s') \gset
SET durable.clock_offset = 110;
SELECT status FROM durable.fail(:'w', 'too late');
SELECT durable.set_timeout(:'w', '1000 s');
RESET durable.clock_offset;

-- Without a timeout there is none, until set_timeout sets one: from started_at, so it may have passed.
SELECT workflow_id AS w FROM durable.start('deadlines-3') \gset
SET durable.clock_offset = 1000;
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.set_timeout(:'w', '999 s');
SELECT action FROM durable.claim_step(:'w', 1, 't');
SELECT durable.set_timeout(:'w', '2000 s');
SELECT action FROM durable.claim_step(:'w', 1, 't');
RESET durable.clock_offset;

-- A pause does not stop it; PAUSED comes first, though.
SELECT workflow_id AS w FROM durable.start('deadlines-4', timeout => '100 s') \gset
SELECT durable.pause_tree(:'w');
SET durable.clock_offset = 110;
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT durable.resume_tree(:'w');
SELECT action FROM durable.claim_step(:'w', 0, 's');
RESET durable.clock_offset;

-- While PENDING there is no deadline; becoming RUNNING sets started_at anew.
SELECT workflow_id AS w FROM durable.start('deadlines-5', executor_id => 'deadlines-a', timeout => '100 s') \gset
SELECT durable.release('deadlines-a', :'w');
SET durable.clock_offset = 200;
SELECT durable.set_timeout(:'w', '300 s');
SELECT pg_temp.deadline(:'w'), deadline, timeout FROM durable.workflow WHERE id = :'w';
SELECT status FROM durable.attach(:'w', 'deadlines-a');
SELECT pg_temp.deadline(:'w'), test.seconds(deadline) FROM durable.workflow WHERE id = :'w';
SET durable.clock_offset = 400;
SELECT action FROM durable.claim_step(:'w', 0, 's');
SET durable.clock_offset = 600;
SELECT action FROM durable.claim_step(:'w', 0, 's');
RESET durable.clock_offset;

-- An inline child has its own, and nothing else: neither its parent's, nor is the parent touched by the child's.
SELECT workflow_id AS w FROM durable.start('deadlines-6', timeout => '100 s') \gset
SELECT workflow_id AS c FROM durable.start_child(:'w', 0, 'late child', timeout => '50 s') \gset
SELECT workflow_id AS d FROM durable.start_child(:'w', 1, 'free child') \gset
SELECT pg_temp.deadline(:'c'), pg_temp.deadline(:'d');
SET durable.clock_offset = 60;
SELECT action FROM durable.claim_step(:'c', 0, 's');
SELECT action FROM durable.claim_step(:'d', 0, 's');
SELECT action FROM durable.claim_step(:'w', 2, 's');
-- Its driver must fail it or set_timeout.
SELECT durable.set_timeout(:'c', '200 s');
SELECT action FROM durable.claim_step(:'c', 0, 's');
SET durable.clock_offset = 210;
SELECT action FROM durable.claim_step(:'c', 1, 's');
SELECT action FROM durable.claim_step(:'d', 1, 's');
SELECT status FROM durable.fail(:'c', 'too late');
RESET durable.clock_offset;

-- A step's timeout: past it the step is claimed again; set_timeout re-arms it from the step's started_at.
SELECT workflow_id AS w FROM durable.start('deadlines-7') \gset
SELECT step_id AS s FROM durable.claim_step(:'w', 0, 's', timeout => '100 s') \gset
SELECT pg_temp.deadline(:'s');
SELECT durable.set_timeout(:'s', '500 s');
SELECT pg_temp.deadline(:'s');
SET durable.clock_offset = 400;
SELECT action, attempt FROM durable.claim_step(:'w', 0, 's', timeout => '100 s');
SET durable.clock_offset = 510;
SELECT action, attempt FROM durable.claim_step(:'w', 0, 's', timeout => '100 s');
SELECT pg_temp.deadline(:'s');
SELECT durable.set_timeout(:'s', NULL);
SET durable.clock_offset = 100000;
SELECT action, attempt FROM durable.claim_step(:'w', 0, 's');
RESET durable.clock_offset;
SELECT * FROM durable.check();
