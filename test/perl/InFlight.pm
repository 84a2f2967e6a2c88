# Work in the middle of everything that work can be in the middle of, and how it goes on: for tests that dump it,
# update the extension under it, replicate it, or fail over.
#
#   begin_work($node, $database)     makes it, in a database without the extension
#   contents($node, $database)       every row of every table of the extension, as text
#   go_on(@sessions)                 continues all of it: [ what was answered, what should have been ]; each session is
#                                    a sub that takes SQL and returns what psql shows, and they take turns
#   replays(@sessions)               the same for what is only answered: nothing of it writes
#   session($node, $database)        such a sub, a psql that stays connected; without an argument it ends it, with a
#                                    second one it does not wait for the answer
#   answer_of($node, $database)      the same with a new connection each time
#   %calls                           one call of each function, legal where that work is; those that can write do
#   functions($node, $database)      the names of all there are, but triggers; the tests fail for one that %calls does not know

package InFlight;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(begin_work create_helpers columns contents replays go_on session answer_of %calls functions);

my $helpers = q{
	-- the latest workflow of that name
	CREATE FUNCTION public.wf(n text) RETURNS uuid LANGUAGE sql AS
		'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';
	-- how a call ends
	CREATE FUNCTION public.refused(sql text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE sql;
		RETURN 'done';
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE;
	END $$;
};

my $work = q{
	SELECT durable.heartbeat('other');

	-- running: a done step, one that failed for good, one that waits for its retry, one in flight, a child with one in
	-- flight, a finished child, an output that is NULL and one that is null
	SELECT durable.start('run', '{"in": "it''s\\tä"}', 'handler', 'worker', timeout => '1 hour', app_version => 'v1');
	SELECT durable.claim_step(wf('run'), 0, 'done', '[0]');
	SELECT durable.complete(durable.step_id(wf('run'), 0), '{"a": [1, null, "x"]}');
	SELECT durable.claim_step(wf('run'), 1, 'failed');
	SELECT durable.fail(durable.step_id(wf('run'), 1), E'line 1\nline 2\t\\\\.', detail => '{"d": [null, "ä"]}');
	SELECT durable.claim_step(wf('run'), 2, 'later', max_retries => 5, backoff => '1 day', backoff_multiplier => 1.1,
		max_backoff => '1 month 2 days 00:00:00.000001', timeout => '3 hours');
	SELECT durable.fail(durable.step_id(wf('run'), 2), 'come back');
	SELECT durable.claim_step(wf('run'), 3, 'flight', lease => 1, executor_id => 'worker');
	SELECT durable.start_child(wf('run'), 4, 'child');
	SELECT durable.claim_step(wf('child'), 0, 'inner');
	SELECT durable.start_child(wf('run'), 5, 'ended');
	SELECT durable.complete(wf('ended'), '"e"');
	SELECT durable.claim_step(wf('run'), 6, 'null');
	SELECT durable.complete(durable.step_id(wf('run'), 6));
	SELECT durable.claim_step(wf('run'), 8, 'json null', kind => 'TRANSACTION');
	SELECT durable.complete(durable.step_id(wf('run'), 8), 'null');
	SELECT durable.emit(wf('run'), 'progress', '{"e": [null, "ä"]}', 1);
	SELECT durable.emit(wf('run'), E'a topic\t''ä"');
	SELECT durable.emit(wf('child'), 'progress', 'null');

	-- paused, with a child that was paused before by itself
	SELECT durable.start('paused', executor_id => 'worker');
	SELECT durable.claim_step(wf('paused'), 0, 'again', max_retries => 5);
	SELECT durable.fail(durable.step_id(wf('paused'), 0), 'boom');
	SELECT durable.start_child(wf('paused'), 1, 'by itself');
	SELECT durable.start_child(wf('paused'), 2, 'with it');
	SELECT durable.start_child(wf('with it'), 0, 'below it');
	SELECT durable.pause_tree(wf('by itself'));
	SELECT durable.pause_tree(wf('paused'));

	-- waits that are open: for an answer, for signals, of which one is there and one was taken, for a workflow that is purged
	-- before anybody asks, for the first of these; one that has timed out
	SELECT durable.start('awaited'); SELECT durable.start('waiting');
	SELECT durable.await_callback(wf('waiting'), 0, 'call', '1 day');
	SELECT durable.signal(wf('waiting'), 'go', '"first"', 'key'); SELECT durable.signal(wf('waiting'), 'go', '"second"');
	SELECT durable.await_signal(wf('waiting'), 1, 'go');
	SELECT durable.await_signal(wf('waiting'), 2, 'stop', signals => '{stop,halt}');
	SELECT durable.await_workflow(wf('waiting'), 3, 'other', wf('awaited'));
	SELECT durable.await_any(wf('waiting'), 4, 'any', '{0,2,3}');
	SELECT durable.await_callback(wf('waiting'), 5, 'late', '0 s');
	SELECT durable.sleep(wf('waiting'), 6, 'nap', '1 day');
	SELECT durable.complete(wf('awaited'), '"a"');
	-- an ended root that purge has to leave, for a child that waits; what was cancelled before it started
	SELECT durable.create_queue('kept');
	SELECT durable.start('kept'); SELECT durable.start_child(wf('kept'), 0, 'kept child', queue => 'kept'); SELECT durable.complete(wf('kept'));
	SELECT durable.purge('0 s');
	SELECT durable.start('never started', queue => 'kept'); SELECT durable.cancel_tree(wf('never started'));

	-- suspended until its child has ended; one that could be
	SELECT durable.create_queue('naps');
	SELECT durable.start('asleep', queue => 'naps'); SELECT durable.claim('naps', 'worker');
	SELECT durable.start_child(wf('asleep'), 0, 'dream', queue => 'naps');
	SELECT durable.suspend(wf('asleep'), 'worker', 1, ARRAY[durable.step_id(wf('asleep'), 0)], 'all');
	SELECT durable.start('patient', executor_id => 'driver');
	SELECT durable.start_child(wf('patient'), 1, 'errand', queue => 'naps', priority => -1);

	-- jobs: one waits for its next try, with a failed step that will run again; one has retries left, and a child that ends with
	-- it; a run that goes on in another
	SELECT durable.create_queue('jobs');
	SELECT durable.start('job', queue => 'jobs', max_retries => 2, backoff => '1 day', max_backoff => '2 days'); SELECT durable.claim('jobs', 'driver');
	SELECT durable.claim_step(wf('job'), 0, 'try', max_retries => 1); SELECT durable.fail(durable.step_id(wf('job'), 0), 'once');
	SELECT durable.claim_step(wf('job'), 0, 'try'); SELECT durable.fail(durable.step_id(wf('job'), 0), 'twice');
	SELECT durable.fail(wf('job'), 'boom', 1, detail => '1');
	SELECT durable.start('other job', queue => 'jobs', max_retries => 1); SELECT durable.claim('jobs', 'driver');
	SELECT durable.start_child(wf('other job'), 0, 'its end', queue => 'jobs', on_parent_end => 'cancel', priority => -1);
	SELECT durable.start('loop', '1', executor_id => 'driver', tags => '{"customer": "ä"}'); SELECT durable.signal(wf('loop'), 'go', key => 'k');
	SELECT durable.continue_as(wf('loop'), '2', 1);

	-- ended: completed; cancelled and failed trees
	SELECT durable.start('completed'); SELECT durable.emit(wf('completed'), 'half way'); SELECT durable.complete(wf('completed'), '1');
	SELECT durable.start('cancelled'); SELECT durable.claim_step(wf('cancelled'), 0, 's');
	SELECT durable.start_child(wf('cancelled'), 1, 'cancelled child');
	SELECT durable.cancel_tree(wf('cancelled'));
	SELECT durable.start('failed');
	SELECT durable.claim_step(wf('failed'), 0, 's'); SELECT durable.complete(durable.step_id(wf('failed'), 0), '1');
	SELECT durable.claim_step(wf('failed'), 1, 't'); SELECT durable.fail(durable.step_id(wf('failed'), 1), 'boom');
	SELECT durable.start_child(wf('failed'), 2, 'failed child');
	SELECT durable.fail(wf('failed'), 'boom');

	-- a fork, with a child's record and a signal that was taken; and a marker of a patch
	SELECT durable.start('to fork', tags => '{"t": [1, "ä"]}'); SELECT durable.patched(wf('to fork'), 0, 'patch ä');
	SELECT durable.complete((durable.start_child(wf('to fork'), 1, 'forked child')).workflow_id, '{"c": "ä"}');
	SELECT durable.signal(wf('to fork'), 'go', '"once"', 'key'); SELECT durable.await_signal(wf('to fork'), 2, 'go');
	SELECT durable.fork(wf('to fork'), 2, 'fork', executor_id => 'forker', app_version => 'v2'); SELECT durable.complete(wf('to fork'));
	-- asked to end: not told yet, with a child below it; told by a child that was not created
	SELECT durable.start('asked'); SELECT durable.start_child(wf('asked'), 0, 'asked child');
	SELECT durable.claim_step(wf('asked child'), 0, 's');
	SELECT durable.request_cancel(wf('asked'), E'by\t''ä"', '1 day');
	SELECT durable.start('told'); SELECT durable.request_cancel(wf('told')); SELECT durable.start_child(wf('told'), 0, 'never');

	-- in a queue of three slots: two are taken, one of those by a paused one; two wait, a third is not yet due. Each claim
	-- notes how far it came.
	SET durable.claim_walk = 0;
	SELECT durable.create_queue('line', 3);
	SELECT durable.start('claimed', queue => 'line');
	SELECT durable.start('claimed and paused', queue => 'line', priority => -1);
	SELECT durable.claim('line', 'worker', 2);
	SELECT durable.pause_tree(wf('claimed and paused'));
	SELECT durable.start('queued', queue => 'line', priority => 7, timeout => '1 hour', tags => '{"customer": 42, "ä": [null]}', max_retries => 2, backoff => '1 s');
	SELECT durable.start('queued next', '{}', queue => 'line', priority => 6);
	SELECT durable.start('scheduled', queue => 'line', priority => 9, run_at => now() + interval '1 day');
	-- in one of which two may start a day, and one has; in one that is paused
	SELECT durable.create_queue('rated', rate_limit => 2, rate_limit_window => '1 day');
	SELECT durable.start('rated ' || i, queue => 'rated') FROM generate_series(1, 4) i;
	SELECT durable.claim('rated', 'worker');
	SELECT durable.create_queue('closed');
	SELECT durable.pause_queue('closed');
	SELECT durable.start('held up', queue => 'closed', app_version => 'v1');
	-- in one where it comes before what has been claimed and is done
	SELECT durable.create_queue('overtaken');
	SELECT durable.start('was first', queue => 'overtaken');
	SELECT durable.complete(workflow_id) FROM durable.claim('overtaken', 'worker');
	SELECT durable.start('came late', queue => 'overtaken', run_at => now() - interval '1 hour');
	-- in one in which a key is full, and something waits under it and under another
	SELECT durable.create_queue('keyed', key_concurrency => 1, fair => true);
	SELECT durable.start('keyed ' || i, queue => 'keyed', concurrency_key => 'k') FROM generate_series(1, 3) i;
	SELECT durable.claim('keyed', 'worker');
	SELECT durable.start('keyed 4', queue => 'keyed', concurrency_key => 'l');
	SELECT durable.create_queue('empty', 1, 2, '3 months 4 days 5.000006 seconds');

	-- released, for at once and for later
	SELECT durable.start('released', executor_id => 'leaver'); SELECT durable.release('leaver');
	SELECT durable.start('released until', executor_id => 'leaver');
	SELECT durable.release('leaver', wf('released until'), now() + interval '1 day');

	-- left an hour ago by an executor that died, with and without recoveries to spare; past its deadline
	SET durable.clock_offset = -3600;
	SELECT durable.start('left', executor_id => 'dead');
	SELECT durable.claim_step(wf('left'), 0, 'broken off', lease => 1, executor_id => 'dead');
	SELECT durable.start('poison', executor_id => 'dead', max_recovery_attempts => 0);
	SELECT durable.start('late', executor_id => 'worker', timeout => '1 minute');
	RESET durable.clock_offset;

	-- in a bucket that is another database's by now
	SELECT durable.start('elsewhere', executor_id => 'worker');
	SELECT durable.set_buckets(int4multirange(int4range(0, 4096)) - int4multirange(int4range(b, b + 1))) FROM durable.bucket('elsewhere') b;
	-- a note, as two sessions leave it that end something at the same time
	INSERT INTO durable.wake_note (id, workflow_id) VALUES (wf('asleep'), wf('asleep'));
	-- schedules: one is due, and has a time that waits for the end of its run; another is paused
	SELECT durable.create_queue('planned');
	SET durable.clock_offset = -100;
	SELECT durable.create_schedule('hourly', '@every 1 hour', 'planned', 'plan ä', 'handler', '{"p": "ä"}', 'Asia/Kathmandu', 'queue', jitter => '0 s',
		starts_at => date_trunc('second', now() - interval '10 s'), timeout => '1 hour');
	SELECT durable.create_schedule('resting', '0 0 1 1 *', 'planned', overlap => 'skip');
	SELECT durable.trigger_schedule('hourly'); SELECT durable.trigger_schedule('hourly');
	SELECT durable.trigger_schedule('resting'); SELECT durable.trigger_schedule('resting');
	SELECT durable.pause_schedule('resting');
	RESET durable.clock_offset;
};

# Calls, and what the contract says to them. First what writes nothing: replays, refusals, joining.
my @replays = (
	q{SELECT action, output FROM durable.claim_step(wf('run'), 0, 'done')} => 'REPLAY|{"a": [1, null, "x"]}',
	q{SELECT action, output IS NULL FROM durable.claim_step(wf('run'), 6, 'null')} => 'REPLAY|t',
	q{SELECT action, output FROM durable.claim_step(wf('run'), 8, 'json null', kind => 'TRANSACTION')} => 'REPLAY|null',
	q{SELECT action, error = E'line 1\nline 2\t\\\\.', detail->'d'->0 FROM durable.claim_step(wf('run'), 1, 'failed')} => 'FAILED|t|null',
	q{SELECT action, run_at > now() + interval '23 hours' FROM durable.claim_step(wf('run'), 2, 'later')} => 'WAIT|t',
	q{SELECT refused($$SELECT durable.claim_step(wf('run'), 0, 'another')$$)} => 'WF007',
	q{SELECT created, status, output FROM durable.start_child(wf('run'), 5, 'ended')} => 'f|COMPLETED|"e"',
	q{SELECT action, run_at > now() + interval '23 hours' FROM durable.await_callback(wf('waiting'), 0, 'call')} => 'WAIT|t',
	q{SELECT name, tags FROM durable.list(tags => '{"customer": 42}')} => 'queued|{"ä": [null], "customer": 42}',
	q{SELECT created, status FROM durable.start('completed', if_finished => 'return')} => 'f|COMPLETED',
	q{SELECT durable.patched(wf('fork'), 0, 'patch ä'), durable.patched(wf('fork'), 0, 'another')} => 't|f',
	q{SELECT workflow_id = wf('forked child'), created, status, output FROM durable.start_child(wf('fork'), 1, 'forked child')} => 't|f|COMPLETED|{"c": "ä"}',
	q{SELECT forked_from = wf('to fork'), forked_at_sequence, tags FROM durable.workflow JOIN durable.workflow_tags ON workflow_id = id WHERE name = 'fork'} =>
	  't|2|{"t": [1, "ä"]}',
	q{SELECT action, output FROM durable.await_signal(wf('waiting'), 1, 'go')} => 'REPLAY|"first"',
	q{SELECT action, run_at IS NULL FROM durable.await_signal(wf('waiting'), 2, 'stop')} => 'WAIT|t',
	q{SELECT action, left(error, 5) FROM durable.await_callback(wf('waiting'), 5, 'late')} => 'FAILED|WF013',
	q{SELECT durable.signal(wf('waiting'), 'go', '"again"', 'key')} => 'f',
	q{SELECT string_agg(sequence || ' ' || wait, ', ' ORDER BY sequence) FROM durable.waiting} =>
	  '0 callback, 2 signal, 3 workflow, 4 any, 6 sleep',
	q{SELECT durable.complete(durable.step_id(wf('run'), 0), '{"a": [1, null, "x"]}')} => 'f',
	q{SELECT refused($$SELECT durable.complete(durable.step_id(wf('run'), 0), '1')$$)} => 'WF002',
	q{SELECT count(*), count(DISTINCT step_id) FROM durable.history(wf('run'))} => '8|8',
	q{SELECT n, topic, payload FROM durable.events(wf('run'))} => qq(1|progress|{"e": [null, "ä"]}\n2|a topic\t'ä"|),
	q{SELECT n, payload FROM durable.events(wf('child'), 'progress')} => '1|null',
	q{SELECT refused($$SELECT durable.emit(wf('run'), 'progress', lease => 2)$$)} => 'WF008',
	q{SELECT refused($$SELECT durable.emit(wf('completed'), 'progress')$$)} => 'WF011',

	q{SELECT action FROM durable.claim_step(wf('run'), 3, 'flight')} => 'LOCKED',
	q{SELECT refused($$SELECT durable.claim_step(wf('run'), 3, 'flight', lease => 2)$$)} => 'WF008',
	q{SELECT refused($$SELECT durable.complete(durable.step_id(wf('run'), 3), '3', attempt => 2)$$)} => 'WF008',
	q{SELECT refused($$SELECT durable.claim_step(wf('with it'), 0, 's')$$)} => 'WF004',
	q{SELECT refused($$SELECT durable.claim_step(wf('completed'), 0, 's')$$)} => 'WF011',
	q{SELECT refused($$SELECT durable.claim_step(wf('cancelled'), 0, 's')$$)} => 'WF005',
	q{SELECT refused(format('SELECT durable.status(%L)', overlay(wf('run')::text placing 'ffffff' from 25)))} => 'WF001',
	q{SELECT refused($$SELECT durable.status(wf('elsewhere'))$$), refused($$SELECT durable.start('elsewhere')$$)} => 'WF016|WF016',
	q{SELECT created, status, lease, owner FROM durable.start('run', executor_id => 'other')} => 'f|RUNNING|1|worker',
	q{SELECT status, lease, owner FROM durable.attach(wf('run'), 'other')} => 'RUNNING|1|worker',
	q{SELECT status, lease, owner FROM durable.attach(wf('queued'), 'other')} => 'PENDING|0|',
);

# Then what goes on.
my @go_on = (
	# what was in flight, under its lease
	q{SELECT action, attempt FROM durable.claim_step(wf('run'), 3, 'flight', lease => 1, executor_id => 'worker')} => 'EXECUTE|1',
	q{SELECT durable.complete(durable.step_id(wf('run'), 3), '3', lease => 1, attempt => 1)} => 't',
	q{SELECT durable.emit(wf('run'), 'progress', '3', lease => 1)} => '3',
	q{SELECT created, status, lease, owner FROM durable.start('run', executor_id => 'worker')} => 'f|RUNNING|2|worker',
	q{SELECT refused($$SELECT durable.claim_step(wf('run'), 7, 'next', lease => 1)$$)} => 'WF008',
	q{SELECT created, status, lease FROM durable.start_child(wf('run'), 4, 'child', lease => 2)} => 'f|RUNNING|2',
	q{SELECT action, attempt FROM durable.claim_step(wf('child'), 0, 'inner', lease => 2)} => 'EXECUTE|2',
	q{SELECT durable.emit(wf('child'), 'progress', lease => 2)} => '2',
	q{SELECT durable.complete(wf('child'), '4')} => 't',
	q{SELECT action, attempt FROM durable.claim_step(wf('run'), 7, 'next', lease => 2)} => 'EXECUTE|1',
	q{SELECT action, attempt FROM durable.complete_and_claim(durable.step_id(wf('run'), 7), '7', 'last', 9)} => 'EXECUTE|1',
	q{SELECT status, retry_count FROM durable.fail(durable.step_id(wf('run'), 9), 'no')} => 'FAILED|0',
	q{SELECT durable.complete(wf('run'), '"end"', lease => 2)} => 't',
	q{SELECT created, lease FROM durable.start('run')} => 't|1',

	# paused trees
	q{SELECT refused($$SELECT durable.resume_tree(wf('by itself'))$$)} => 'WF002',
	q{SELECT durable.resume_tree(wf('paused'))} => '4',
	q{SELECT name, status FROM durable.task WHERE name IN ('paused', 'by itself', 'with it', 'below it', 'again') ORDER BY 1} =>
	  "again|PENDING\nbelow it|RUNNING\nby itself|PAUSED\npaused|RUNNING\nwith it|RUNNING",
	q{SELECT durable.resume_tree(wf('by itself'))} => '1',
	q{SELECT action, attempt FROM durable.claim_step(wf('paused'), 0, 'again', max_retries => 5)} => 'EXECUTE|2',
	q{SELECT durable.cancel_tree(wf('paused'))} => '5',

	# ended ones
	q{SELECT refused($$SELECT durable.resume_failed(wf('cancelled'))$$)} => 'WF005',
	q{SELECT status, lease FROM durable.resume_failed(wf('failed'))} => 'RUNNING|2',
	q{SELECT action FROM durable.claim_step(wf('failed'), 0, 's')} => 'REPLAY',
	q{SELECT action, attempt FROM durable.claim_step(wf('failed'), 1, 't')} => 'EXECUTE|2',
	q{SELECT created, status, lease FROM durable.start_child(wf('failed'), 2, 'failed child')} => 'f|RUNNING|3',
	q{SELECT created, lease FROM durable.start('completed')} => 't|1',

	# asked to end
	q{SELECT durable.request_cancel(wf('asked'), 'again', '2 days')} => '0',
	q{SELECT cancel_at > now() + interval '1 day', cancel_reason FROM durable.workflow WHERE name = 'asked'} => qq(t|by\t'ä"),
	q{SELECT action, attempt, error FROM durable.claim_step(wf('asked child'), 1, 't')} => qq(FAILED|0|WF017: cancel requested: by\t'ä"),
	q{SELECT action FROM durable.claim_step(wf('asked child'), 2, 'undo')} => 'EXECUTE',
	q{SELECT status FROM durable.fail(wf('asked child'), 'cancelled')} => 'FAILED',
	q{SELECT action FROM durable.claim_step(wf('asked'), 1, 'undo')} => 'EXECUTE',
	q{SELECT workflow_id, created, status FROM durable.start_child(wf('told'), 0, 'never')} => '|f|FAILED',
	q{SELECT status FROM durable.fail(wf('told'), 'cancelled')} => 'FAILED',
	q{SELECT "position", status, error FROM durable.resume_failed_many(ARRAY[wf('told')])} => '1|RUNNING|',
	q{SELECT created, status FROM durable.start_child(wf('told'), 0, 'never')} => 't|RUNNING',

	# waits
	q{SELECT action, output FROM durable.await_any(wf('waiting'), 4, 'any', '{0,2,3}')} => 'REPLAY|{"sequence": 3}',
	q{SELECT action, output FROM durable.await_workflow(wf('waiting'), 3, 'other', wf('waiting'))} => 'REPLAY|"a"',
	q{SELECT durable.signal(wf('waiting'), 'halt', '1', 'key')} => 't',
	q{SELECT durable.signal(wf('waiting'), 'halt', '2', 'key')} => 'f',
	q{SELECT action, output FROM durable.await_signal(wf('waiting'), 2, 'stop')} => 'REPLAY|{"signal": "halt", "payload": 1}',
	q{SELECT durable.answer(durable.step_id(wf('waiting'), 0), '1')} => 't',
	q{SELECT durable.answer(durable.step_id(wf('waiting'), 0), '1')} => 'f',
	q{SELECT action, output FROM durable.await_callback(wf('waiting'), 0, 'call')} => 'REPLAY|1',
	q{SELECT action, output FROM durable.await_signal(wf('waiting'), 7, 'go')} => 'REPLAY|"second"',

	# a fork goes on; another of the same
	q{SELECT action, output FROM durable.await_signal(wf('fork'), 2, 'go', lease => 1)} => 'REPLAY|"once"',
	q{SELECT durable.patched(wf('fork'), 3, 'next', 1)} => 't',
	q{SELECT refused($$SELECT durable.fork(wf('to fork'), 2, 'fork')$$)} => 'WF014',
	q{SELECT durable.complete(wf('fork'), lease => 1)} => 't',
	q{SELECT status, lease FROM durable.fork(wf('to fork'), 1, 'fork')} => 'RUNNING|1',

	# suspended ones
	q{SELECT name, lease FROM durable.claim('naps', 'other')} => 'dream|1',
	q{SELECT durable.complete(wf('dream'))} => 't',
	q{SELECT name, lease FROM durable.claim('naps', 'other')} => 'asleep|3',
	q{SELECT status FROM durable.suspend(wf('patient'), 'driver', 1, ARRAY[durable.step_id(wf('patient'), 1)])} => 'PENDING',
	q{SELECT name FROM durable.claim('naps', 'other')} => 'errand',
	q{SELECT durable.complete(wf('errand'))} => 't',
	q{SELECT status, lease, owner FROM durable.start('patient', executor_id => 'driver')} => 'RUNNING|3|driver',
	q{SELECT durable.complete(wf('asleep')), durable.complete(wf('patient'))} => 't|t',

	# jobs, and runs that go on
	q{SELECT status, lease, retry_count, error, run_at > now() + interval '20 hours' FROM durable.workflow WHERE id = wf('job')} => 'PENDING|2|1|boom|t',
	q{SELECT status, retry_count FROM durable.fail(wf('other job'), 'boom', 1)} => 'PENDING|1',
	q{SELECT name, lease FROM durable.claim('jobs', 'other')} => 'other job|3',
	q{SELECT status, retry_count FROM durable.fail(wf('other job'), 'boom', 3)} => 'FAILED|1',
	q{SELECT durable.status(wf('its end'))} => 'CANCELLED',
	q{SELECT c.workflow_id = wf('loop'), c.status, c.lease FROM durable.workflow w, durable.continue_as(w.id, '2', 1) c WHERE w.continued_as IS NOT NULL} => 't|RUNNING|1',
	q{SELECT durable.signal(continued_from, 'go', key => 'k') FROM durable.workflow WHERE id = wf('loop')} => 'f',
	q{SELECT action FROM durable.await_signal(wf('loop'), 0, 'go')} => 'REPLAY',
	q{SELECT durable.complete(wf('loop'))} => 't',

	# queues
	q{SELECT name, lease FROM durable.claim('line', 'other', 10)} => 'queued|1',
	q{SELECT count(*) FROM durable.claim('line', 'other', 10)} => '0',
	q{SELECT durable.complete(wf('claimed'), lease => 1)} => 't',
	q{SELECT name FROM durable.claim('line', 'other', 10)} => 'queued next',
	q{SELECT durable.resume_tree(wf('claimed and paused'))} => '1',
	q{SELECT status, lease FROM durable.attach(wf('claimed and paused'))} => 'RUNNING|1',
	q{SELECT durable.release('other', wf('queued next'))} => '1',
	q{SELECT status, run_at > now() + interval '23 hours' FROM durable.workflow WHERE name = 'scheduled'} => 'PENDING|t',
	q{SELECT name FROM durable.claim('rated', 'other', 10)} => 'rated 2',
	q{SELECT count(*) FROM durable.claim('rated', 'other', 10)} => '0',
	q{SELECT count(*) FROM durable.claim('closed', 'other', 10)} => '0',
	q{SELECT durable.resume_queue('closed')} => '',
	q{SELECT name FROM durable.claim('closed', 'other', 10)} => 'held up',
	q{SELECT name FROM durable.claim('overtaken', 'other', 10)} => 'came late',

	# executors
	q{SELECT w.name, h.lease FROM durable.heartbeat('worker', '{}', '{}') h JOIN durable.workflow w ON w.id = h.workflow_id ORDER BY 1} =>
	  "claimed and paused|1\nkeyed 1|1\nlate|1\nrated 1|1",
	q{SELECT name, lease, recovery_count, reason FROM durable.recover('other') ORDER BY 1} =>
	  "late|2|1|deadline\nleft|2|1|stale executor\nreleased|3|0|released",
	q{SELECT durable.status(wf('poison')), durable.error(wf('poison'))} =>
	  'FAILED|max recovery attempts exceeded (0): stale executor',
	q{SELECT action, attempt FROM durable.claim_step(wf('left'), 0, 'broken off', lease => 2, executor_id => 'other')} => 'EXECUTE|2',
	q{SELECT created, status, lease, owner FROM durable.start('released until', executor_id => 'other')} => 'f|RUNNING|3|other',

	# schedules: what is due is dropped, since another time waits already; the end of the run makes that one due
	q{SELECT durable.tick() > 0, count(*) FROM durable.active_run WHERE scheduled_by = 'hourly'} => 't|1',
	q{SELECT name ~ '^plan ä@.*\.[0-9]{6}Z$', scheduled_for IS NOT NULL, durable.complete(workflow_id) FROM durable.claim('planned', 'other') WHERE handler = 'handler'} => 't|t|t',
	q{SELECT durable.tick()} => '1',
	q{SELECT count(*), bool_and(status = 'COMPLETED') FROM durable.workflow WHERE scheduled_by = 'hourly'} => '2|f',
	q{SELECT skipped, paused, waiting_for IS NULL FROM durable.schedule ORDER BY name} => "1|f|t\n1|t|t",
	q{SELECT durable.trigger_schedule('resting') IS NULL} => 't',
	q{SELECT durable.drop_schedule('resting')} => '',
	q{SELECT refused($$SELECT durable.drop_queue('planned')$$)} => 'WF002',

	q{SELECT * FROM durable.check()} => '',
);

our %calls = (
	start => q{durable.start('new')},
	attach => q{durable.attach(wf('left'), 'other')},
	claim_step => q{durable.claim_step(wf('run'), 7, 'next')},
	complete => q{durable.complete(durable.step_id(wf('run'), 3))},
	fail => q{durable.fail(durable.step_id(wf('run'), 3), 'boom')},
	complete_and_claim => q{durable.complete_and_claim(durable.step_id(wf('run'), 3), NULL, 'next', 7)},
	complete_and_claim_many => q{durable.complete_and_claim_many(ARRAY[durable.step_id(wf('run'), 3)], NULL, '{next}', sequences => '{7}')},
	start_child => q{durable.start_child(wf('run'), 7, 'new')},
	continue_as => q{durable.continue_as(wf('run'), '1', 1)},
	patched => q{durable.patched(wf('run'), 7, 'new')},
	fork => q{durable.fork(wf('failed'), 1, 'new')},
	emit => q{durable.emit(wf('run'), 'progress')},
	set_tags => q{durable.set_tags(wf('run'), '{"customer": 42}')},
	set_timeout => q{durable.set_timeout(wf('run'), '2 hours')},
	pause_tree => q{durable.pause_tree(wf('run'))},
	resume_tree => q{durable.resume_tree(wf('paused'))},
	cancel_tree => q{durable.cancel_tree(wf('run'))},
	request_cancel => q{durable.request_cancel(wf('run'))},
	cancel_many => q{durable.cancel_many(ARRAY[wf('run')])},
	resume_failed_many => q{durable.resume_failed_many(ARRAY[wf('failed')])},
	drain_queue => q{durable.drain_queue('line')},
	resume_failed => q{durable.resume_failed(wf('failed'))},
	create_queue => q{durable.create_queue('new')},
	alter_queue => q{durable.alter_queue('line', 9)},
	drop_queue => q{durable.drop_queue('empty')},
	pause_queue => q{durable.pause_queue('line')},
	resume_queue => q{durable.resume_queue('closed')},
	claim => q{durable.claim('line', 'other')},
	claim_from => q{durable.claim_from('{line}', 'other')},
	heartbeat => q{durable.heartbeat('other')},
	recover => q{durable.recover('other')},
	release => q{durable.release('worker')},
	wait_for_work => q{durable.wait_for_work('worker', timeout => '0')},
	wait_for_end => q{durable.wait_for_end(wf('run'), '0')},
	wait_for_event => q{durable.wait_for_event(wf('run'))},
	start_many => q{durable.start_many('{new}')},
	complete_many => q{durable.complete_many(ARRAY[durable.step_id(wf('run'), 3)])},
	claim_steps => q{durable.claim_steps(wf('run'), 7, '{next}')},
	purge => q{durable.purge('0 s')},
	sleep => q{durable.sleep(wf('run'), 7, 'nap', '1 hour')},
	await_signal => q{durable.await_signal(wf('run'), 7, 'go')},
	await_workflow => q{durable.await_workflow(wf('run'), 7, 'other', wf('left'))},
	await_callback => q{durable.await_callback(wf('run'), 7, 'call')},
	await_any => q{durable.await_any(wf('run'), 7, 'any', '{2}')},
	suspend => q{durable.suspend(wf('patient'), 'driver', 1, ARRAY[durable.step_id(wf('patient'), 1)])},
	answer => q{durable.answer(durable.step_id(wf('waiting'), 0), '1')},
	signal => q{durable.signal(wf('run'), 'go')},
	signal_root => q{durable.signal_root('run', 'go')},
	create_schedule => q{durable.create_schedule('new', '* * * * *', 'line')},
	alter_schedule => q{durable.alter_schedule('hourly', '* * * * *', 'line')},
	drop_schedule => q{durable.drop_schedule('hourly')},
	pause_schedule => q{durable.pause_schedule('hourly')},
	resume_schedule => q{durable.resume_schedule('resting')},
	trigger_schedule => q{durable.trigger_schedule('hourly')},
	backfill_schedule => q{durable.backfill_schedule('resting', now() - interval '1 year', now())},
	tick => q{durable.tick()},
	grant_to => q{durable.grant_to('pg_monitor', 'reader')},
	revoke_from => q{durable.revoke_from('pg_monitor', 'reader')},

	events => q{durable.events(wf('run'))},
	next_runs => q{durable.next_runs('* * * * *')},
	history => q{durable.history(wf('run'))},
	status => q{durable.status(wf('run'))},
	input => q{durable.input(wf('run'))},
	output => q{durable.output(wf('run'))},
	error => q{durable.error(wf('run'))},
	is_completed => q{durable.is_completed(wf('run'))},
	continued_as => q{durable.continued_as(wf('run'))},
	list => q{durable.list()},
	count => q{durable.count()},
	tree => q{durable.tree(wf('run'))},
	check => q{durable.check()},

	left_to_statements => q{durable.left_to_statements()},
	wake_mode => q{durable.wake_mode()},
	session_ended => q{durable.session_ended('worker', NULL, NULL)},
	stats => q{durable.stats()},
	executors => q{durable.executors()},
	schedules => q{durable.schedules()},
	stuck => q{durable.stuck()},
	metrics => q{durable.metrics()},
	statements => q{durable.statements()},

	step_id => q{durable.step_id(wf('run'), 0)},
	bucket => q{durable.bucket('run')},
	buckets => q{durable.buckets()},
	set_buckets => q{durable.set_buckets('{[0,4096)}')},
	require_bucket => q{durable.require_bucket(wf('run'))},
	lock_key => q{durable.lock_key('line')},
	clock => q{durable.clock()},
	stale_before => q{durable.stale_before(now())},
	is_dead => q{durable.is_dead(NULL, now())},
	signs_of_life => q{durable.signs_of_life(wf('run'), now())},
	entries => q{durable.entries('workflow_pkey')},
	require_count => q{durable.require_count('max_rows', 1)},
	filters => q{durable.filters(true)},
	standing => q{durable.standing('RUNNING')},
	by_age => q{durable.by_age('RUNNING', NULL, false, NULL, NULL, NULL, NULL, NULL, false, NULL, true, NULL, 1)},
	latest_started => q{durable.latest_started(true, 1)},
	all_below => q{durable.all_below(ARRAY[wf('run')], false)},
);

# The names of all functions of the extension.
sub functions
{
	my ($node, $database) = @_;
	return split /\n/, $node->safe_psql($database,
		q{SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'durable'::regnamespace AND prorettype <> 'trigger'::regtype ORDER BY 1});
}

# A slow machine is not a dead executor.
my $patience = "SET durable.executor_timeout = '30 min'";

sub begin_work
{
	my ($node, $database) = @_;
	$node->safe_psql($database, 'CREATE EXTENSION durable');
	create_helpers($node, $database);
	$node->safe_psql($database, $work);
	return;
}

# The functions that go_on needs.
sub create_helpers
{
	my ($node, $database) = @_;
	$node->safe_psql($database, $helpers);
	return;
}

# The tables of the extension, with their columns.
sub columns
{
	my ($node, $database) = @_;
	my $rows = $node->safe_psql($database, q{
		SELECT c.relname, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		WHERE c.relnamespace = 'durable'::regnamespace AND c.relkind IN ('r', 'p', 'S')
			-- (these are made anew by whoever restores the workflows, and check() knows what they must be)
			AND c.relname <> 'queue_lane'
		GROUP BY 1 ORDER BY 1});
	return map { [ split /\|/ ] } split /\n/, $rows;
}

sub contents
{
	my ($node, $database, @columns) = @_;
	@columns = columns($node, $database) unless @columns;
	return $node->safe_psql($database, join '; ', map {
		"SELECT '$_->[0]', ROW($_->[1])::text FROM durable.$_->[0] ORDER BY 2"
	} @columns);
}

sub answers
{
	my ($calls, @sessions) = @_;
	my (@got, @expected);
	for (my $i = 0; $i < @$calls; $i += 2)
	{
		my ($sql, $answer) = @$calls[ $i, $i + 1 ];
		push @got, "$sql\n" . $sessions[ @got % @sessions ]->($sql);
		push @expected, "$sql\n$answer";
	}
	return (\@got, \@expected);
}

sub replays
{
	return answers(\@replays, @_);
}

sub go_on
{
	return answers([ @replays, @go_on ], @_);
}

sub session
{
	my ($node, $database) = @_;
	my $psql = $node->background_psql($database, on_error_stop => 0);
	$psql->set_query_timer_restart(1);
	$psql->query("$patience;");
	return sub {
		my ($sql, $go_on) = @_;
		return $psql->quit unless defined $sql;
		return $psql->query_until(qr/sent/, "\\echo sent\n$sql;\n") if $go_on;
		my $answer = $psql->query("$sql;");
		if ($psql->{stderr} ne '')
		{
			$answer .= $psql->{stderr};
			$psql->{stderr} = '';
		}
		return $answer;
	};
}

sub answer_of
{
	my ($node, $database) = @_;
	return sub {
		my ($sql) = @_;
		my ($out, $err);
		$node->psql($database, "$patience; $sql", stdout => \$out, stderr => \$err) if defined $sql;
		return ($out // '') . ($err // '');
	};
}

1;
