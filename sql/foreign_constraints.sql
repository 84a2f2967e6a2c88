-- What an operator has added to the tables, and what it keeps away: an index, an exclusion constraint, a trigger. No call
-- may take it for a race that it has lost, and look again for ever. A constraint is raised as what it is; where a row is
-- kept away without an error, the call ends in one that names the table (55000).
\set VERBOSITY terse
\pset tuples_only on
\pset format unaligned
-- A call that does not end would show as 57014.
SET statement_timeout = '5s';

-- SQLSTATE of a statement's error, and the table that it names. What the statement did is taken back in any case.
CREATE FUNCTION test.refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  named text;
  message text;
BEGIN
  EXECUTE statement;
  RAISE 'no error' USING ERRCODE = 'ZZ000';
EXCEPTION WHEN query_canceled OR others THEN
  GET STACKED DIAGNOSTICS named = TABLE_NAME, message = MESSAGE_TEXT;
  RETURN concat_ws(' ', SQLSTATE, coalesce(nullif(named, ''), substring(message FROM 'durable\.(\w+)'), test.mask(message)));
END $$;
CREATE FUNCTION test.no_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';

-- Workflows in all the states from which the calls below set out.
SELECT durable.create_queue('fc-q'), durable.create_queue('fc-rate', rate_limit => 5), durable.create_queue('fc-idle');
SELECT workflow_id AS run FROM durable.start('fc-run', executor_id => 'fc-e') \gset
SELECT action FROM durable.claim_steps(:'run', 0, ARRAY['running', 'due', 'retried'], max_retries => 1);
SELECT status FROM durable.fail(durable.step_id(:'run', 1), 'once');
SELECT workflow_id AS child FROM durable.start_child(:'run', 3, 'fc-child') \gset
SELECT workflow_id AS end FROM durable.start('fc-end', executor_id => 'fc-e') \gset
SELECT workflow_id AS failed FROM durable.start('fc-failed', executor_id => 'fc-e') \gset
SELECT action FROM durable.claim_step(:'failed', 0, 'failed');
SELECT (durable.fail(durable.step_id(:'failed', 0), 'x')).status, (durable.fail(:'failed', 'x')).status;
SELECT workflow_id AS parent FROM durable.start('fc-parent', executor_id => 'fc-e') \gset
SELECT workflow_id AS again FROM durable.start_child(:'parent', 0, 'fc-again') \gset
SELECT (durable.fail(:'again', 'x')).status, (durable.fail(:'parent', 'x')).status, (durable.resume_failed(:'parent', 'fc-e')).status;
SELECT workflow_id AS paused FROM durable.start('fc-paused') \gset
SELECT durable.pause_tree(:'paused');
SELECT workflow_id AS released FROM durable.start('fc-released', executor_id => 'fc-f') \gset
SELECT durable.release('fc-f', :'released');
SELECT workflow_id AS stale FROM durable.start('fc-stale', handler => 'fc-stale', executor_id => 'fc-dead') \gset
SELECT workflow_id AS worn FROM durable.start('fc-worn', handler => 'fc-worn', executor_id => 'fc-dead', max_recovery_attempts => 0) \gset
SELECT status FROM durable.start('fc-waiting', queue => 'fc-q');
SELECT status FROM durable.start('fc-limited', queue => 'fc-rate');
SET durable.clock_offset = -864000;
SELECT workflow_id AS old FROM durable.start('fc-old') \gset
SELECT action FROM durable.claim_step(:'old', 0, 's');
SELECT durable.emit(:'old', 't');
SELECT durable.complete(durable.step_id(:'old', 0)), durable.complete(:'old');
RESET durable.clock_offset;

-- Unique indexes. ------------------------------------------------------------------------------------
-- Beside what INSERT may find there: the name of an active root, the position of a step, an executor, a queue.
CREATE UNIQUE INDEX fc ON durable.workflow (handler) WHERE handler = 'fc-h';
SELECT created FROM durable.start('fc-one', handler => 'fc-h');
SELECT test.refused($$SELECT durable.start('fc-two', handler => 'fc-h')$$);
SELECT test.refused($$SELECT durable.start('fc-two', handler => 'fc-h', queue => 'fc-q')$$);
SELECT test.refused($$SELECT durable.start('fc-two', handler => 'fc-h', executor_id => 'fc-e')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two', 'fc-three'], handler => 'fc-h')$$);
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'fc-two', handler => 'fc-h')$$, :'run'));
-- What is there already is found as ever.
SELECT created FROM durable.start('fc-one', handler => 'fc-h');
SELECT "position", created FROM durable.start_many(ARRAY['fc-one', 'fc-run'], handler => 'fc-h');
DROP INDEX durable.fc;
CREATE UNIQUE INDEX fc ON durable.workflow (handler) WHERE handler = 'fc-twice';
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two', 'fc-three'], handler => 'fc-twice')$$);
DROP INDEX durable.fc;
CREATE UNIQUE INDEX fc ON durable.step (name) WHERE name = 'running';
SELECT test.refused(format($$SELECT durable.claim_step(%L, 9, 'running')$$, :'run'));
SELECT test.refused(format($$SELECT durable.claim_step(%L, 9, 'running', executor_id => 'fc-e', lease => 1)$$, :'run'));
SELECT test.refused(format($$SELECT durable.complete_and_claim(%L, '1', 'running', 9)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete_and_claim_many(ARRAY[%L]::uuid[], '{1}', '{running}', '{1}', sequences => '{9}')$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.claim_steps(%L, 9, ARRAY['other', 'running'])$$, :'run'));
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'running')$$, :'run'));
DROP INDEX durable.fc;
CREATE UNIQUE INDEX fc ON durable.event (topic) WHERE topic = 't';
SELECT test.refused(format($$SELECT durable.emit(%L, 't')$$, :'run'));
DROP INDEX durable.fc;
CREATE UNIQUE INDEX fc ON durable.queue (max_concurrency) WHERE max_concurrency = 77;
SELECT durable.create_queue('fc-77', max_concurrency => 77);
SELECT test.refused($$SELECT durable.create_queue('fc-78', max_concurrency => 77)$$);
SELECT test.refused($$SELECT durable.alter_queue('fc-q', max_concurrency => 77)$$);
DROP INDEX durable.fc;
CREATE UNIQUE INDEX fc ON durable.executor ("left"(executor_id, 4)) WHERE executor_id LIKE 'fc-d%';
SELECT test.refused($$SELECT durable.heartbeat('fc-d2')$$);
SELECT test.refused($$SELECT durable.start('fc-two', executor_id => 'fc-d2')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two'], executor_id => 'fc-d2')$$);
SELECT test.refused(format($$SELECT durable.attach(%L, 'fc-d2', true)$$, :'run'));
SELECT test.refused($$SELECT durable.claim('fc-q', 'fc-d2')$$);
SELECT test.refused($$SELECT durable.recover('fc-d2', stale_after => '0 s', handlers => '{fc-stale}')$$);
SELECT test.refused(format($$SELECT durable.resume_failed(%L, 'fc-d2')$$, :'failed'));
DROP INDEX durable.fc;
-- What an UPDATE meets.
CREATE UNIQUE INDEX fc ON durable.workflow (executor_id) WHERE executor_id LIKE 'fc-x%';
SELECT owner FROM durable.start('fc-owned', executor_id => 'fc-x');
SELECT test.refused(format($$SELECT durable.attach(%L, 'fc-x', true)$$, :'run'));
SELECT test.refused($$SELECT durable.start('fc-released', executor_id => 'fc-x')$$);
SELECT test.refused($$SELECT durable.claim('fc-q', 'fc-x')$$);
SELECT test.refused($$SELECT durable.recover('fc-x', stale_after => '0 s', handlers => '{fc-stale}')$$);
SELECT test.refused(format($$SELECT durable.resume_failed(%L, 'fc-x')$$, :'failed'));
DROP INDEX durable.fc;

-- Exclusion constraints. ------------------------------------------------------------------------------
ALTER TABLE durable.workflow ADD CONSTRAINT fc EXCLUDE USING btree (handler WITH =) WHERE (handler = 'fc-h');
SELECT test.refused($$SELECT durable.start('fc-two', handler => 'fc-h')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two'], handler => 'fc-h')$$);
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'fc-two', handler => 'fc-h')$$, :'run'));
ALTER TABLE durable.workflow DROP CONSTRAINT fc;
ALTER TABLE durable.step ADD CONSTRAINT fc EXCLUDE USING btree (name WITH =) WHERE (name = 'running');
SELECT test.refused(format($$SELECT durable.claim_step(%L, 9, 'running')$$, :'run'));
SELECT test.refused(format($$SELECT durable.complete_and_claim(%L, '1', 'running', 9)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete_and_claim_many(ARRAY[%L]::uuid[], '{1}', '{running}', '{1}', sequences => '{9}')$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.claim_steps(%L, 9, ARRAY['other', 'running'])$$, :'run'));
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'running')$$, :'run'));
ALTER TABLE durable.step DROP CONSTRAINT fc;
ALTER TABLE durable.queue ADD CONSTRAINT fc EXCLUDE USING btree (max_concurrency WITH =) WHERE (max_concurrency = 77);
SELECT test.refused($$SELECT durable.create_queue('fc-78', max_concurrency => 77)$$);
ALTER TABLE durable.queue DROP CONSTRAINT fc;
ALTER TABLE durable.executor ADD CONSTRAINT fc EXCLUDE USING btree ("left"(executor_id, 4) WITH =) WHERE (executor_id LIKE 'fc-d%');
SELECT test.refused($$SELECT durable.heartbeat('fc-d2')$$);
SELECT test.refused($$SELECT durable.start('fc-two', executor_id => 'fc-d2')$$);
ALTER TABLE durable.executor DROP CONSTRAINT fc;

-- Triggers that let no row be inserted. ---------------------------------------------------------------
CREATE TRIGGER fc BEFORE INSERT ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.start('fc-two')$$);
SELECT test.refused($$SELECT durable.start('fc-two', queue => 'fc-q')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two', 'fc-three'])$$);
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'fc-two')$$, :'run'));
DROP TRIGGER fc ON durable.workflow;
CREATE TRIGGER fc BEFORE INSERT ON durable.step FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused(format($$SELECT durable.claim_step(%L, 9, 's')$$, :'run'));
SELECT test.refused(format($$SELECT durable.claim_step(%L, 9, 's', executor_id => 'fc-e', lease => 1)$$, :'run'));
SELECT test.refused(format($$SELECT durable.complete_and_claim(%L, '1', 's', 9)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete_and_claim_many(ARRAY[%L]::uuid[], '{1}', '{s}', '{1}', sequences => '{9}')$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.claim_steps(%L, 9, ARRAY['s', 't'])$$, :'run'));
SELECT test.refused(format($$SELECT durable.start_child(%L, 9, 'fc-two')$$, :'run'));
DROP TRIGGER fc ON durable.step;
CREATE TRIGGER fc BEFORE INSERT ON durable.event FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused(format($$SELECT durable.emit(%L, 't')$$, :'run'));
SELECT test.refused(format($$SELECT durable.emit(%L, 't', lease => 1)$$, :'child'));
DROP TRIGGER fc ON durable.event;
CREATE TRIGGER fc BEFORE INSERT ON durable.queue FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.create_queue('fc-new')$$);
DROP TRIGGER fc ON durable.queue;
CREATE TRIGGER fc BEFORE INSERT ON durable.executor FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.heartbeat('fc-new')$$);
SELECT test.refused($$SELECT durable.start('fc-two', executor_id => 'fc-new')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-two'], executor_id => 'fc-new')$$);
SELECT test.refused(format($$SELECT durable.attach(%L, 'fc-new', true)$$, :'run'));
SELECT test.refused($$SELECT durable.claim('fc-q', 'fc-new')$$);
SELECT test.refused($$SELECT durable.recover('fc-new', stale_after => '0 s', handlers => '{fc-stale}')$$);
SELECT test.refused(format($$SELECT durable.resume_failed(%L, 'fc-new')$$, :'failed'));
DROP TRIGGER fc ON durable.executor;

-- Triggers that let no row be updated. ----------------------------------------------------------------
CREATE TRIGGER fc BEFORE UPDATE ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.start('fc-released', executor_id => 'fc-e')$$);
SELECT test.refused($$SELECT durable.start_many(ARRAY['fc-released'], executor_id => 'fc-e')$$);
SELECT test.refused(format($$SELECT durable.start_child(%L, 0, 'fc-again')$$, :'parent'));
SELECT test.refused(format($$SELECT durable.attach(%L, 'fc-e', true)$$, :'run'));
SELECT test.refused(format($$SELECT durable.complete(%L)$$, :'end'));
SELECT test.refused(format($$SELECT durable.complete(%L, lease => 1)$$, :'child'));
SELECT test.refused(format($$SELECT durable.complete_many(ARRAY[%L]::uuid[])$$, :'end'));
SELECT test.refused(format($$SELECT durable.fail(%L, 'x')$$, :'end'));
SELECT test.refused(format($$SELECT durable.set_timeout(%L, '1 h')$$, :'end'));
SELECT test.refused(format($$SELECT durable.pause_tree(%L)$$, :'end'));
SELECT test.refused(format($$SELECT durable.resume_tree(%L)$$, :'paused'));
SELECT test.refused(format($$SELECT durable.cancel_tree(%L)$$, :'end'));
SELECT test.refused(format($$SELECT durable.resume_failed(%L, 'fc-e')$$, :'failed'));
SELECT test.refused($$SELECT durable.claim('fc-q', 'fc-e')$$);
SELECT test.refused($$SELECT durable.claim('fc-rate', 'fc-e')$$);
SELECT test.refused($$SELECT durable.recover('fc-e', stale_after => '0 s', handlers => '{fc-stale}')$$);
SELECT test.refused($$SELECT durable.recover('fc-e', stale_after => '0 s', handlers => '{fc-worn}')$$);
SELECT test.refused(format($$SELECT durable.release('fc-e', %L)$$, :'end'));
SELECT test.refused($$SELECT durable.release('fc-e')$$);
DROP TRIGGER fc ON durable.workflow;
CREATE TRIGGER fc BEFORE UPDATE ON durable.step FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused(format($$SELECT durable.claim_step(%L, 1, 'due')$$, :'run'));
SELECT test.refused(format($$SELECT durable.claim_steps(%L, 1, ARRAY['due'])$$, :'run'));
SELECT test.refused(format($$SELECT durable.complete(%L, '1')$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete(%L, '1', lease => 1, attempt => 1)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete_many(ARRAY[%L]::uuid[])$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.fail(%L, 'x', retryable => false)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.fail(%L, 'x')$$, durable.step_id(:'run', 2)));
SELECT test.refused(format($$SELECT durable.complete_and_claim(%L, '1', 's', 9)$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.complete_and_claim_many(ARRAY[%L]::uuid[], '{1}', '{s}', '{1}', sequences => '{9}')$$, durable.step_id(:'run', 0)));
SELECT test.refused(format($$SELECT durable.set_timeout(%L, '1 h')$$, durable.step_id(:'run', 0)));
-- the row that stands for a child, with its outcome
SELECT test.refused(format($$SELECT durable.complete(%L)$$, :'child'));
SELECT test.refused(format($$SELECT durable.complete_many(ARRAY[%L]::uuid[])$$, :'child'));
SELECT test.refused(format($$SELECT durable.fail(%L, 'x')$$, :'child'));
DROP TRIGGER fc ON durable.step;
CREATE TRIGGER fc BEFORE UPDATE ON durable.queue FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.alter_queue('fc-q', 1)$$);
SELECT test.refused($$SELECT durable.pause_queue('fc-q')$$);
DROP TRIGGER fc ON durable.queue;
CREATE TRIGGER fc BEFORE INSERT ON durable.queue_count FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.claim('fc-rate', 'fc-e')$$);
DROP TRIGGER fc ON durable.queue_count;
CREATE TRIGGER fc BEFORE UPDATE ON durable.executor FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.heartbeat('fc-e')$$);
DROP TRIGGER fc ON durable.executor;

-- Triggers that let no row be deleted. ----------------------------------------------------------------
CREATE TRIGGER fc BEFORE DELETE ON durable.executor FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.release('fc-e')$$);
DROP TRIGGER fc ON durable.executor;
CREATE TRIGGER fc BEFORE DELETE ON durable.queue FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.drop_queue('fc-idle')$$);
DROP TRIGGER fc ON durable.queue;
CREATE TRIGGER fc BEFORE DELETE ON durable.workflow FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.purge('9 days')$$);
DROP TRIGGER fc ON durable.workflow;
CREATE TRIGGER fc BEFORE DELETE ON durable.step FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.purge('9 days')$$);
DROP TRIGGER fc ON durable.step;
CREATE TRIGGER fc BEFORE DELETE ON durable.event FOR EACH ROW EXECUTE FUNCTION test.no_row();
SELECT test.refused($$SELECT durable.purge('9 days')$$);
DROP TRIGGER fc ON durable.event;

-- Nothing of all that has happened, and without it all calls do what they should.
SELECT name, status, lease FROM durable.workflow WHERE name LIKE 'fc-%' ORDER BY name;
SELECT sequence, name, status, attempt FROM durable.history(:'run');
SELECT count(*) FROM durable.check();
SELECT created FROM durable.start('fc-two', handler => 'fc-h');
SELECT action FROM durable.claim_step(:'run', 9, 'running');
WITH root AS (SELECT id FROM durable.workflow WHERE name LIKE 'fc-%' AND parent_id IS NULL),
  gone AS (DELETE FROM durable.workflow WHERE root_id IN (TABLE root) RETURNING id),
  steps AS (DELETE FROM durable.step WHERE workflow_id IN (TABLE gone)),
  events AS (DELETE FROM durable.event WHERE workflow_id IN (TABLE gone)),
  executors AS (DELETE FROM durable.executor WHERE executor_id LIKE 'fc-%')
  SELECT count(*) FROM gone;
SELECT count(durable.drop_queue(name)) FROM durable.queue WHERE name LIKE 'fc-%';
DROP FUNCTION test.refused, test.no_row;
