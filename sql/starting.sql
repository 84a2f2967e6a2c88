-- Which work starts: what start does with namesakes, tags, and the retries of whole workflows.
\pset null -
\set VERBOSITY sqlstate
SELECT durable.create_queue('starting');

-- What is given is stored; without retries there is no policy.
SELECT workflow_id AS w, created, replaced FROM durable.start('starting-1', queue => 'starting', tags => '{"customer": 42, "plan": {"tier": "gold"}}',
  max_retries => 3, backoff => '1 s', backoff_multiplier => 3, max_backoff => '1 min') \gset
SELECT max_retries, retry_count, backoff, backoff_multiplier, max_backoff, on_parent_end FROM durable.workflow WHERE id = :'w';
SELECT retry_count, max_retries, tags FROM durable.task WHERE id = :'w';
SELECT position, created, replaced FROM durable.start_many('{starting-2,starting-3,starting-2}', queue => 'starting', tags => ARRAY['{"n": 2}', NULL, '{"n": 3}']::jsonb[], max_retries => 1);
SELECT w.name, w.max_retries, w.retry_count, w.backoff, w.backoff_multiplier, t.tags, t.max_retries AS shown
  FROM durable.workflow w JOIN durable.task t USING (id) WHERE w.name LIKE 'starting-_' ORDER BY w.name;
SELECT workflow_id AS p FROM durable.start('starting-4', max_retries => 0, backoff => '1 s') \gset
SELECT max_retries, retry_count, backoff, backoff_multiplier, max_backoff FROM durable.workflow WHERE id = :'p';
SELECT created FROM durable.start_child(:'p', 0, 'starting-child', queue => 'starting', tags => '{"n": 5}', max_retries => 2, backoff => '2 s', on_parent_end => 'cancel');
SELECT created FROM durable.start_child(:'p', 1, 'starting-inline', tags => '{"n": 6}');
SELECT w.name, w.max_retries, w.retry_count, w.backoff, w.on_parent_end, t.tags FROM durable.workflow w JOIN durable.task t USING (id) WHERE w.parent_id = :'p' ORDER BY w.id;
SELECT * FROM durable.start_child(:'p', 2, 'x', max_retries => 1);
SELECT * FROM durable.start_child(:'p', 2, 'x', on_parent_end => 'cancel');
SELECT * FROM durable.start_child(:'p', 2, 'x', queue => 'starting', on_parent_end => 'stay');
SELECT * FROM durable.start_child(:'p', 2, 'x', tags => '[1]');
SELECT * FROM durable.start_many('{x,y}', tags => ARRAY['{}']::jsonb[]);
SELECT * FROM durable.start_many('{x,y}', tags => ARRAY['{}', '1']::jsonb[]);
SELECT count(*) FROM durable.workflow WHERE name IN ('x', 'y');
-- What is joined keeps its own.
SELECT created, replaced FROM durable.start('starting-1', tags => '{"customer": 1}');
SELECT tags FROM durable.task WHERE id = :'w';
