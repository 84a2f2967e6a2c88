-- Bad arguments: 22023, NULL where a value is needed 22004; the error names the argument, and nothing is changed.
-- Names, handlers, queue names and executor ids are 1 to 1024 bytes.
SET client_encoding = 'UTF8';
\pset tuples_only on
\pset format unaligned
SELECT workflow_id AS w FROM durable.start('arguments', executor_id => 'arguments-a') \gset
SELECT action FROM durable.claim_step(:'w', 0, 's');
SELECT action FROM durable.claim_step(:'w', 1, 'done');
SELECT durable.complete(durable.step_id(:'w', 1), '1');
CREATE TEMP VIEW everything AS
  SELECT w::text AS r FROM durable.workflow w UNION ALL SELECT s::text FROM durable.step s UNION ALL SELECT e::text FROM durable.executor e UNION ALL SELECT q::text FROM durable.queue q;
CREATE TEMP TABLE before AS SELECT * FROM everything;

-- A helper: {w} is the workflow, {s} its step 0, RUNNING. Calls of one function with one argument wrong, as [argument, value];
-- each line tells the call, the SQLSTATE and the message, and complains where the error does not name the argument.
CREATE FUNCTION pg_temp.bad(f text, good text[], wrong text[]) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
  a text;
  v text;
  shown text;
  answer text;
BEGIN
  FOR n IN 1 .. array_length(wrong, 1) LOOP
    a := wrong[n][1];
    v := wrong[n][2];
    shown := format('%s(%s)', f, concat_ws(', ',
      (SELECT string_agg(format('%s => %s', g[1], g[2]), ', ') FROM (SELECT ARRAY[good[i][1], good[i][2]] AS g FROM generate_subscripts(good, 1) i) q WHERE g[1] <> a),
      format('%s => %s', a, v)));
    answer := test.error(replace(replace('SELECT * FROM durable.' || shown, '{w}', quote_literal(test.id('arguments'))), '{s}', quote_literal(durable.step_id(test.id('arguments'), 0))));
    RETURN NEXT format('%s  %s => %s   %s', f, a, v, split_part(answer, E'\n', 1)) ||
                CASE WHEN position(a IN answer) = 0 THEN '   NOT NAMED' ELSE '' END;
  END LOOP;
END $$;

SELECT pg_temp.bad('start', '{{name,"''x''"}}', ARRAY[
  ['name', 'NULL'], ['name', ''''''], ['name', 'repeat(''x'', 1025)'], ['name', 'repeat(''é'', 513)'], ['name', 'repeat(''x'', 10485760)'],
  ['handler', ''''''], ['handler', 'repeat(''x'', 1025)'], ['handler', 'repeat(''x'', 10485760)'],
  ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'], ['executor_id', 'repeat(''x'', 10485760)'],
  ['queue', ''''''], ['queue', 'repeat(''x'', 1025)'], ['queue', 'repeat(''x'', 10485760)'],
  ['priority', 'NULL'], ['run_at', '''2100-01-01'''], ['run_at', '''infinity'''], ['run_at', '''-infinity'''],
  ['timeout', '''-1 s'''], ['timeout', '''1 mon -31 days'''], ['timeout', '''-178000000 years'''], ['timeout', '''178000000 years'''],
  ['max_recovery_attempts', 'NULL'], ['max_recovery_attempts', '-1'], ['max_recovery_attempts', '-2147483648'],
  ['app_version', ''''''], ['app_version', 'repeat(''x'', 10485760)'],
  ['if_active', 'NULL'], ['if_active', '''join'''], ['if_active', '''replace'''], ['if_finished', 'NULL'], ['if_finished', '''Return'''],
  ['tags', '''[]'''], ['tags', '''42'''], ['tags', '''null'''],
  ['max_retries', 'NULL'], ['max_retries', '-1'], ['max_retries', '1'], ['backoff', 'NULL'], ['backoff', '''-1 s'''],
  ['backoff_multiplier', 'NULL'], ['backoff_multiplier', '''NaN'''], ['backoff_multiplier', '-1'], ['max_backoff', '''-1 s''']]);
SELECT pg_temp.bad('attach', '{{workflow_id,"{w}"}}', ARRAY[
  ['workflow_id', 'NULL'], ['workflow_id', '{s}'], ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'], ['executor_id', 'repeat(''x'', 10485760)'], ['takeover', 'NULL']]);
SELECT pg_temp.bad('claim_step', '{{workflow_id,"{w}"},{sequence,9},{name,"''x''"}}', ARRAY[
  ['workflow_id', 'NULL'], ['workflow_id', '{s}'],
  ['sequence', 'NULL'], ['sequence', '-1'], ['sequence', '16777214'], ['sequence', '2147483647'], ['sequence', '-2147483648'],
  ['name', 'NULL'], ['name', ''''''], ['name', 'repeat(''x'', 1025)'], ['name', 'repeat(''é'', 513)'], ['name', 'repeat(''x'', 10485760)'],
  ['kind', 'NULL'], ['kind', '''WORKFLOW'''], ['kind', '''WAIT'''],
  ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'],
  ['max_retries', 'NULL'], ['max_retries', '-1'], ['max_retries', '-2147483648'],
  ['backoff', 'NULL'], ['backoff', '''-1 s'''], ['backoff', '''-178000000 years'''],
  ['backoff_multiplier', 'NULL'], ['backoff_multiplier', '-1'], ['backoff_multiplier', '-1e-300'], ['backoff_multiplier', '''NaN'''], ['backoff_multiplier', '''Infinity'''], ['backoff_multiplier', '''-Infinity'''],
  ['max_backoff', '''-1 s'''], ['timeout', '''-1 s'''], ['timeout', '''178000000 years''']]);
SELECT pg_temp.bad('complete', '{{task_id,"{s}"}}', ARRAY[['task_id', 'NULL']]);
SELECT pg_temp.bad('fail', '{{task_id,"{s}"},{error,"''e''"}}', ARRAY[['task_id', 'NULL'], ['error', 'NULL'], ['retryable', 'NULL'], ['retry_after', '''-1 s'''], ['retry_after', '''1 mon -31 days''']]);
SELECT pg_temp.bad('complete_and_claim', '{{step_id,"{s}"},{output,"NULL"},{name,"''x''"},{sequence,9}}', ARRAY[
  ['step_id', 'NULL'], ['step_id', '{w}'],
  ['name', 'NULL'], ['name', ''''''], ['name', 'repeat(''x'', 1025)'], ['name', 'repeat(''x'', 10485760)'],
  ['sequence', '-1'], ['sequence', '16777214'], ['sequence', '2147483647'],
  ['kind', 'NULL'], ['kind', '''WORKFLOW'''], ['kind', '''WAIT'''], ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'],
  ['max_retries', 'NULL'], ['max_retries', '-1'], ['backoff', 'NULL'], ['backoff', '''-1 s'''],
  ['backoff_multiplier', 'NULL'], ['backoff_multiplier', '-1'], ['backoff_multiplier', '''NaN'''], ['backoff_multiplier', '''Infinity'''],
  ['max_backoff', '''-1 s'''], ['timeout', '''-1 s''']]);
SELECT pg_temp.bad('start_child', '{{parent_id,"{w}"},{sequence,9},{name,"''x''"}}', ARRAY[
  ['parent_id', 'NULL'], ['parent_id', '{s}'], ['sequence', 'NULL'], ['sequence', '-1'], ['sequence', '16777214'],
  ['name', 'NULL'], ['name', ''''''], ['name', 'repeat(''x'', 1025)'], ['name', 'repeat(''x'', 10485760)'],
  ['handler', ''''''], ['handler', 'repeat(''x'', 1025)'], ['queue', ''''''], ['queue', 'repeat(''x'', 1025)'],
  ['priority', 'NULL'], ['timeout', '''-1 s'''], ['timeout', '''178000000 years''']]);
SELECT pg_temp.bad('start_many', '{{names,"ARRAY[''x'', ''y'']"}}', ARRAY[
  ['names', 'NULL'], ['names', 'ARRAY[''x'', NULL]'], ['names', 'ARRAY[''x'', '''']'], ['names', 'ARRAY[repeat(''x'', 1025)]'], ['names', 'ARRAY[''x'', repeat(''x'', 10485760)]'],
  ['names', 'ARRAY[[''x''], [''y'']]'], ['names', 'array_fill(''x''::text, ''{1001}'')'],
  ['inputs', '''{}'''], ['inputs', '''{1}'''], ['inputs', '''{1,2,3}'''], ['inputs', '''{{1},{2}}'''],
  ['handler', ''''''], ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'], ['queue', ''''''], ['priority', 'NULL'], ['run_at', '''2100-01-01'''],
  ['timeout', '''-1 s'''], ['max_recovery_attempts', 'NULL'], ['max_recovery_attempts', '-1'], ['app_version', '''''']]);
SELECT pg_temp.bad('complete_many', '{{task_ids,"ARRAY[{s}, {w}]::uuid[]"}}', ARRAY[
  ['task_ids', 'NULL'], ['task_ids', 'ARRAY[{s}, NULL]::uuid[]'], ['task_ids', 'ARRAY[[{s}], [{w}]]::uuid[]'], ['task_ids', 'array_fill({s}::uuid, ''{1001}'')'],
  ['outputs', '''{}'''], ['outputs', '''{1}'''], ['outputs', '''{1,2,3}'''], ['outputs', '''{{1},{2}}'''],
  ['leases', '''{}'''], ['leases', '''{1}'''], ['leases', '''{{1},{1}}'''], ['attempts', '''{}'''], ['attempts', '''{1,1,1}'''], ['attempts', '''{{1},{1}}''']]);
SELECT pg_temp.bad('claim_steps', '{{workflow_id,"{w}"},{first_sequence,9},{names,"ARRAY[''x'', ''y'']"}}', ARRAY[
  ['workflow_id', 'NULL'], ['workflow_id', '{s}'], ['first_sequence', 'NULL'], ['first_sequence', '-1'], ['first_sequence', '16777213'], ['first_sequence', '2147483647'], ['first_sequence', '-2147483648'],
  ['names', 'NULL'], ['names', 'ARRAY[''x'', NULL]'], ['names', 'ARRAY['''', ''y'']'], ['names', 'ARRAY[''x'', repeat(''x'', 10485760)]'], ['names', 'ARRAY[[''x''], [''y'']]'], ['names', 'array_fill(''x''::text, ''{1001}'')'],
  ['inputs', '''{}'''], ['inputs', '''{1}'''], ['inputs', '''{{1},{2}}'''], ['kind', 'NULL'], ['kind', '''WORKFLOW'''], ['kind', '''WAIT'''], ['executor_id', ''''''],
  ['max_retries', 'NULL'], ['max_retries', '-1'], ['backoff', 'NULL'], ['backoff', '''-1 s'''], ['backoff_multiplier', 'NULL'], ['backoff_multiplier', '''NaN'''], ['max_backoff', '''-1 s'''], ['timeout', '''-1 s''']]);
SELECT pg_temp.bad('complete_and_claim_many', '{{step_ids,"ARRAY[{s}, {s}]::uuid[]"},{outputs,"NULL"},{names,"ARRAY[''x'', ''y'']"}}', ARRAY[
  ['step_ids', 'NULL'], ['step_ids', 'ARRAY[{s}, NULL]::uuid[]'], ['step_ids', 'ARRAY[[{s}], [{s}]]::uuid[]'], ['step_ids', 'array_fill({s}::uuid, ''{1001}'')'],
  ['outputs', '''{}'''], ['outputs', '''{1}'''], ['outputs', '''{1,2,3}'''], ['outputs', '''{{1},{2}}'''],
  ['names', 'NULL'], ['names', 'ARRAY[''x'', NULL]'], ['names', 'ARRAY['''', ''y'']'], ['names', 'ARRAY[''x'', repeat(''x'', 10485760)]'], ['names', 'ARRAY[[''x''], [''y'']]'], ['names', 'ARRAY[''x'']'],
  ['leases', '''{}'''], ['leases', '''{1}'''], ['leases', '''{{1},{1}}'''], ['attempts', '''{}'''], ['attempts', '''{1,1,1}'''], ['attempts', '''{{1},{1}}'''],
  ['sequences', '''{}'''], ['sequences', '''{1}'''], ['sequences', '''{{1},{1}}'''], ['inputs', '''{}'''], ['inputs', '''{1}'''], ['inputs', '''{{1},{2}}'''],
  ['kind', 'NULL'], ['kind', '''WORKFLOW'''], ['kind', '''WAIT'''], ['executor_id', ''''''],
  ['max_retries', 'NULL'], ['max_retries', '-1'], ['backoff', 'NULL'], ['backoff', '''-1 s'''], ['backoff_multiplier', 'NULL'], ['backoff_multiplier', '''NaN'''], ['max_backoff', '''-1 s'''], ['timeout', '''-1 s''']]);
SELECT pg_temp.bad('history', '{{workflow_id,"{w}"}}', ARRAY[['workflow_id', 'NULL'], ['workflow_id', '{s}']]);
SELECT pg_temp.bad(f, '{{task_id,"{s}"}}', ARRAY[['task_id', 'NULL']]) FROM unnest(ARRAY['status', 'input', 'output', 'error', 'is_completed']) f;
SELECT pg_temp.bad('set_timeout', '{{task_id,"{s}"},{timeout,"''1 s''"}}', ARRAY[['task_id', 'NULL'], ['timeout', '''-1 s'''], ['timeout', '''178000000 years''']]);
SELECT pg_temp.bad('step_id', '{{workflow_id,"{w}"},{sequence,0}}', ARRAY[['workflow_id', 'NULL'], ['sequence', 'NULL'], ['sequence', '-1'], ['sequence', '16777214']]);
SELECT pg_temp.bad('bucket', '{}', ARRAY[['name', 'NULL'], ['name', ''''''], ['name', 'repeat(''x'', 1025)'], ['task_id', 'NULL']]);
SELECT pg_temp.bad('heartbeat', '{{executor_id,"''arguments-a''"}}', ARRAY[
  ['executor_id', 'NULL'], ['executor_id', ''''''], ['executor_id', 'repeat(''x'', 1025)'], ['executor_id', 'repeat(''x'', 10485760)']]);
SELECT pg_temp.bad('heartbeat', '{{executor_id,"''arguments-a''"},{workflow_ids,"ARRAY[{w}]::uuid[]"},{leases,ARRAY[1]}}', ARRAY[
  ['workflow_ids', 'NULL'], ['leases', 'NULL'], ['leases', 'ARRAY[1, 2]'], ['leases', 'ARRAY[]::int[]'], ['leases', 'ARRAY[NULL]::int[]'],
  ['workflow_ids', 'ARRAY[NULL]::uuid[]'], ['workflow_ids', 'ARRAY[[{w}]]::uuid[]']]);

-- Bad arguments come before everything else: an unknown id, a wrong lease.
SELECT test.try($$SELECT durable.claim_step('00000000-0000-7000-8000-000000000000', 0, '')$$);
SELECT test.try($$SELECT durable.claim_step(test.id('arguments'), -1, 's', lease => 99)$$);
SELECT test.try($$SELECT durable.start('arguments', timeout => '-1 s')$$);
-- What is no value of the type does not reach the extension: the server's own errors.
\set VERBOSITY sqlstate
SELECT durable.complete(durable.step_id(:'w', 0), '{not json');
SELECT durable.complete(durable.step_id(:'w', 0), '"\u0000"');
SELECT durable.start('x', '"a\u0000b"');
SELECT durable.complete('no uuid');
SELECT action FROM durable.claim_step(:'w', 9, 'x', kind => 'CHORE');
SELECT action FROM durable.claim_step(:'w', 3000000000, 'x');

-- Nothing was changed by any of these.
\pset tuples_only off
\pset format aligned
SELECT count(*) AS changed FROM (SELECT * FROM everything EXCEPT ALL SELECT * FROM before) q;
SELECT count(*) AS missing FROM (SELECT * FROM before EXCEPT ALL SELECT * FROM everything) q;

-- The largest that is allowed.
SELECT created, length(owner) FROM durable.start(repeat('n', 1024), NULL, repeat('h', 1024), repeat('e', 1024), max_recovery_attempts => 2147483647, priority => -2147483648);
SET durable.max_steps = 0;
SELECT action FROM durable.claim_step(:'w', 16777213, repeat('s', 1024), to_jsonb(repeat('x', 10485760)), executor_id => repeat('e', 1024), max_retries => 2147483647, backoff => '100000 years', backoff_multiplier => 1.7e308, max_backoff => '178000000 years', timeout => '1000 years');
SELECT status, retry_count FROM durable.fail(durable.step_id(:'w', 16777213), repeat('e', 10485760));
SELECT length(durable.error(durable.step_id(:'w', 16777213))), length(durable.input(durable.step_id(:'w', 16777213))::text);
SELECT * FROM durable.check();
