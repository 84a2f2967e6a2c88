# wait_for_work, wait_for_end and wait_for_event: what wakes them and what does not, what they hold while they wait, and
# how they end. All of it by shared memory, and once more by looking.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use POSIX 'WNOHANG';
use Time::HiRes qw(time sleep);

my $node = PostgreSQL::Test::Cluster->new('wake');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 100\nlog_min_messages = warning\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION durable;
	SELECT durable.create_queue('q');
	SELECT durable.create_queue('r');
	CREATE FUNCTION wf(n text) RETURNS uuid LANGUAGE sql AS
		'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';
});

sub sql { return $node->safe_psql('postgres', $_[0]); }

my $files = PostgreSQL::Test::Utils::tempdir();
my $count = 0;

# Begins SQL in a psql of its own, and does not wait for its end.
sub begin
{
	my ($sql, $database) = @_;
	my $file = "$files/" . ++$count;
	my $call = { file => $file, began => time };
	append_to_file("$file.sql", "SELECT pg_backend_pid();\n$sql\n");
	$call->{psql} = fork // die;
	if ($call->{psql} == 0)
	{
		open STDOUT, '>', "$file.out" or die;
		open STDERR, '>', "$file.err" or die;
		exec 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database // 'postgres'),
			'-f', "$file.sql" or die;
	}
	for (1 .. 1000)
	{
		last if ($call->{pid}) = (-e "$file.out" ? slurp_file("$file.out") : '') =~ /^(\d+)\n/;
		sleep 0.005;
	}
	return $call;
}

sub is_running
{
	my ($call) = @_;
	$call->{ended} ||= waitpid($call->{psql}, WNOHANG) != 0;
	return !$call->{ended};
}

sub kill_client { my ($call) = @_; kill 'KILL', $call->{psql}; return; }

# Waits for its end; what it has printed, or the SQLSTATE.
sub answer
{
	my ($call, $patience) = @_;
	my $until = time + ($patience // 8);
	sleep 0.002 while is_running($call) && time < $until;
	my $late = is_running($call);
	kill_client($call) if $late;
	sleep 0.01 while is_running($call);
	return 'still waiting' if $late;
	$call->{took} = time - $call->{began};
	($call->{out} = slurp_file("$call->{file}.out")) =~ s/^\d+\n//;
	return $1 if slurp_file("$call->{file}.err") =~ /(?:ERROR|FATAL):  ([0-9A-Z]{5})/;
	(my $out = $call->{out}) =~ s/\n$//;
	return $out;
}

# Until all of them sleep.
sub let_sleep
{
	for my $call (@_)
	{
		my $until = time + 10;
		sleep 0.01 while is_running($call) && time < $until && sql(qq{
			SELECT wait_event_type = 'Extension' AND xact_start IS NULL FROM pg_stat_activity WHERE pid = $call->{pid}}) ne 't';
		next if is_running($call) && time < $until;
		diag("does not sleep: " . answer($call) . " " . slurp_file("$call->{file}.err"));
		diag(sql(q{SELECT w.name, w.status, w.executor_id, w.queue_name, w.deadline, e.* FROM durable.workflow w LEFT JOIN durable.executor e USING (executor_id) WHERE w.status = ANY (ARRAY['PENDING', 'RUNNING', 'PAUSED']::durable.task_status[])}));
		die;
	}
	return;
}

sub sleeping { my @calls = map { begin($_) } @_; let_sleep(@calls); return wantarray ? @calls : $calls[0]; }

sub wait_for_work
{
	my ($executor, $queues, $timeout, $more) = @_;
	return "CALL durable.wait_for_work('$executor', '$queues', timeout => '$timeout'" . ($more // '') . ');';
}

sub no_work { sql(q{SELECT durable.cancel_tree(id) FROM durable.active_root}); return; }

sub test_all
{
	my ($mode) = @_;
	my $told = $mode eq 'shared memory';
	my $name = $mode;
	is(sql('SELECT durable.wake_mode()'), $mode, "$name: the mode");

	# ---- what is held
	my $call = sleeping(wait_for_work('e', '{q}', '20 s'));
	my $held = '';
	for (1 .. 40)
	{
		$held = sql(qq{
			SELECT concat_ws(' ', backend_xmin, backend_xid, xact_start, (SELECT count(*) FROM pg_locks l WHERE l.pid = a.pid))
			FROM pg_stat_activity a WHERE pid = $call->{pid}});
		last if $held eq '0';
	}
	is($held, '0', "$name: no snapshot, no transaction, no lock");

	# ---- work
	sql(q{SELECT durable.start('other', queue => 'r')});
	sql(q{BEGIN; SELECT durable.start('back', queue => 'q'); ROLLBACK});
	sql(q{BEGIN; SAVEPOINT s; SELECT durable.start('back', queue => 'q'); ROLLBACK TO s; COMMIT});
	sleep 0.3;
	ok(is_running($call), "$name: neither another queue nor a rollback, also to a savepoint, ends the wait");
	my $began = time;
	sql(q{SELECT durable.start('a', queue => 'q')});
	is(answer($call), 'work', "$name: work");
	cmp_ok(time - $began, '<', 1, "$name: at once");
	is(answer(begin(wait_for_work('e', '{q}', '5 s'))), 'work', "$name: work that is there already");
	is(answer(begin(wait_for_work('e', '{r,q}', '0'))), 'work', "$name: of one of the queues, without waiting");
	no_work();
	is(answer(begin(wait_for_work('e', '{q,r}', '0.2 s'))), 'timeout', "$name: timeout");

	# ---- what comes due
	$began = time;
	sql(q{SELECT durable.start('later', queue => 'q', run_at => now() + '0.8 s')});
	is(answer(begin(wait_for_work('e', '{q}', '5 s'))), 'work', "$name: run_at");
	cmp_ok(time - $began, '>=', 0.8, "$name: not before");
	no_work();
	$call = sleeping(wait_for_work('e', '{q}', '5 s'));
	$began = time;
	sql(q{SELECT durable.start('later', queue => 'q', run_at => now() + '0.5 s')});
	is(answer($call), 'work', "$name: run_at of what was started during the wait");
	cmp_ok(time - $began, '<', 1, "$name: at that time");
	no_work();

	# ---- limits
	sql(q{SELECT durable.create_queue('one', max_concurrency => 1);
		SELECT durable.start_many('{one 1, one 2}', queue => 'one');
		SELECT durable.claim('one', 'x')});
	is(answer(begin(wait_for_work('e', '{one}', '0.3 s'))), 'timeout', "$name: no slot is free");
	$call = sleeping(wait_for_work('e', '{one}', '5 s'));
	sql(q{SELECT durable.complete(wf('one 1'))});
	is(answer($call, 0.9), 'work', "$name: a slot is free");
	no_work();
	sql(q{SELECT durable.create_queue('rate', rate_limit => 1, rate_limit_window => '1 s');
		SELECT durable.start_many('{rate 1, rate 2}', queue => 'rate');
		SELECT durable.claim('rate', 'x')});
	$call = begin(wait_for_work('e', '{rate}', '5 s'));
	is(answer($call), 'work', "$name: the window of a rate limit has ended");
	cmp_ok($call->{took}, '>', 0.5, "$name: not before");
	no_work();
	sql(q{SELECT durable.pause_queue('q'); SELECT durable.start('held', queue => 'q')});
	$call = sleeping(wait_for_work('e', '{q}', '5 s'));
	sleep 0.2;
	ok(is_running($call), "$name: a paused queue has no work");
	sql(q{SELECT durable.resume_queue('q')});
	is(answer($call, 0.9), 'work', "$name: until it is resumed");
	no_work();

	# ---- released
	sql(q{SELECT durable.start('root', executor_id => 'x'); SELECT durable.release('x', wf('root'), now() + '0.5 s')});
	is(answer(begin(wait_for_work('e', '{}', '5 s'))), 'work', "$name: a root without a queue that was released");
	sql(q{SELECT durable.recover('e')});
	no_work();
	is(answer(begin(wait_for_work('e', '{}', '0.2 s'))), 'timeout', "$name: nobody is left");

	# ---- schedules: who waits starts their runs, at their time
	$call = sleeping(wait_for_work('e', '{q}', '8 s'));
	sql(q{SELECT durable.create_schedule('s', '@every 2 s', 'q', overlap => 'queue')});
	is(answer($call, 4), 'work', "$name: a schedule has come due");
	is(sql(q{SELECT name ~ '^s@' FROM durable.claim('q', 'e')}), 't', "$name: its run is there");
	cmp_ok(sql(q{SELECT max(extract(epoch FROM created_at - scheduled_for)) FROM durable.workflow WHERE scheduled_by = 's'}), '<', $told ? 0.4 : 1.5, "$name: at its time");
	ok($node->poll_query_until('postgres', q{SELECT durable.tick() IS NOT NULL AND waiting_for IS NOT NULL FROM durable.schedule}), "$name: the next one waits for the end of the run");
	sql(q{SELECT durable.pause_schedule('s')});
	$call = sleeping(wait_for_work('e', '{q}', '8 s'));
	sql(q{SELECT durable.complete(id) FROM durable.workflow WHERE scheduled_by = 's' AND status = 'RUNNING'});
	sleep 0.5;
	ok(is_running($call), "$name: a schedule that is paused starts none");
	sql(q{SELECT durable.resume_schedule('s')});
	is(answer($call, $told ? 0.9 : 3), 'work', "$name: but at once when it is resumed");
	sql(q{SELECT workflow_id FROM durable.claim('q', 'e')});
	ok($node->poll_query_until('postgres', q{SELECT durable.tick() IS NOT NULL AND waiting_for IS NOT NULL FROM durable.schedule}), "$name: another one waits");
	sql(q{UPDATE durable.schedule SET next_run_at = next_run_at + interval '1 hour'});
	$call = sleeping(wait_for_work('e', '{q}', '8 s'));
	sql(q{SELECT durable.complete(id) FROM durable.workflow WHERE scheduled_by = 's' AND status = 'RUNNING'});
	is(answer($call, $told ? 0.9 : 3), 'work', "$name: the end of a run starts it");
	sql(q{SELECT durable.drop_schedule('s')});
	no_work();

	# ---- what a dead executor drove, or one past its deadline, is in its queue again
	sql(q{SELECT durable.start('left', queue => 'q'); SELECT durable.claim('q', 'dies');
		UPDATE durable.executor SET last_seen = now() - interval '1 hour' WHERE executor_id = 'dies'});
	is(answer(begin(wait_for_work('e', '{q}', '5 s'))), 'work', "$name: a dead executor's work");
	is(sql(q{SELECT name FROM durable.claim('q', 'e')}), 'left', "$name: is in its queue again");
	no_work();
	sql(q{SELECT durable.start('late', queue => 'q', timeout => '1.5 s'); SELECT durable.claim('q', 'slow')});
	$call = begin(wait_for_work('e', '{q}', '5 s'));
	is(answer($call), 'work', "$name: what is past its deadline");
	cmp_ok(abs($call->{took} - 1.5), '<', 1.4, "$name: about at that time");
	no_work();

	# ---- suspended
	sql(q{SELECT durable.start('sleeps', queue => 'q'); SELECT durable.claim('q', 's'); SELECT durable.await_signal(wf('sleeps'), 0, 'go')});
	my $suspend = q{SELECT durable.suspend(id, 's', lease, ARRAY[durable.step_id(id, 0)]) FROM durable.workflow WHERE name = 'sleeps' AND status = 'RUNNING'};
	sql($suspend);
	$call = sleeping(wait_for_work('e', '{q}', '5 s'));
	sleep 0.3;
	ok(is_running($call), "$name: what is suspended is no work");
	sql(q{SELECT durable.signal(wf('sleeps'), 'go')});
	is(answer($call, 0.9), 'work', "$name: until what it waits for has happened");
	sql(q{SELECT durable.claim('q', 's'); SELECT durable.await_signal(wf('sleeps'), 0, 'go'); SELECT durable.sleep(wf('sleeps'), 1, 'nap', '1 s')});
	(my $nap = $suspend) =~ s/step_id\(id, 0\)/step_id(id, 1)/;
	sql($nap);
	my $wakes_at = sql(q{SELECT run_at FROM durable.workflow WHERE name = 'sleeps' AND suspended_at IS NOT NULL});
	is(answer(begin(wait_for_work('e', '{q}', '5 s')), 4), 'work', "$name: or its time has come");
	is(sql("SELECT clock_timestamp() >= '$wakes_at'"), 't', "$name: not before");
	no_work();

	# ---- an end that could only be noted down
	sql(q{SELECT durable.start('sleeps', queue => 'q'); SELECT durable.claim('q', 's'); SELECT durable.await_signal(wf('sleeps'), 0, 'go')});
	sql($suspend);
	$call = sleeping(wait_for_work('e', '{q}', '8 s'));
	my $holder = begin(q{BEGIN; SELECT id FROM durable.workflow WHERE name = 'sleeps' AND suspended_at IS NOT NULL FOR UPDATE; SELECT pg_sleep(1); ROLLBACK;});
	sleep 0.3;
	sql(q{SELECT durable.signal(wf('sleeps'), 'go')});
	is(sql(q{SELECT count(*) FROM durable.wake_note}), '1', "$name: whoever brings it cannot lock the workflow: a note is left");
	answer($holder);
	is(answer($call, 3), 'work', "$name: which is acted upon");
	is(sql(q{SELECT count(*) FROM durable.claim('q', 's')}), '1', "$name: it can be claimed");
	no_work();

	# ---- news
	sql(q{SELECT durable.start('mine', executor_id => 'n', timeout => '1 hour'); SELECT durable.start_child(wf('mine'), 0, 'inner')});
	my $session = "CALL durable.wait_for_work('n', timeout => '0');";
	for my $do (q{pause_tree(wf('mine'))}, q{resume_tree(wf('mine'))}, q{attach(wf('mine'), 'thief', true)})
	{
		($call) = sleeping("$session\n\\echo --\n" . wait_for_work('n', '{}', '5 s'));
		sql("SELECT durable.$do");
		like(answer($call), qr/--\nnews$/, "$name: news by $do");
	}
	sql(q{SELECT durable.attach(wf('mine'), 'n', true); SELECT durable.await_callback(wf('mine'), 1, 'paid');
		SELECT durable.start_child(wf('mine'), 2, 'queued', queue => 'q'); SELECT durable.claim('q', 'other');
		SELECT durable.start(n) FROM unnest('{awaited,below}'::text[]) n;
		SELECT durable.await_workflow(wf('mine'), 3, 'awaited', wf('awaited')); SELECT durable.await_workflow(wf('inner'), 0, 'below', wf('below'))});
	sql(qq{SELECT durable.start_child(wf('mine'), $_, 'queued $_', queue => 'r')}) for 4 .. 7;
	sql(q{UPDATE durable.workflow SET max_recovery_attempts = 0 WHERE name = 'queued 4'; SELECT durable.claim('r', 'gone', 1);
		SELECT durable.start_child(wf('mine'), 8, 'queued 8', queue => 'q')});
	for my $do (q{signal(wf('mine'), 'go')}, q{signal(wf('inner'), 'go')}, q{answer(durable.step_id(wf('mine'), 1), '1')}, q{complete(wf('queued'))},
		q{complete(wf('awaited'))}, q{cancel_tree(wf('below'))}, q{pause_tree(wf('inner'))}, q{resume_tree(wf('inner'))}, q{request_cancel(wf('queued 5'))},
		q{cancel_tree(wf('queued 7'))}, q{cancel_many(ARRAY[wf('queued 6')])}, q{drain_queue('q')}, q{request_cancel(wf('inner'))})
	{
		($call) = sleeping("$session\n\\echo --\n" . wait_for_work('n', '{}', '5 s'));
		sql("SELECT durable.$do");
		like(answer($call), qr/--\nnews$/, "$name: news by $do");
	}
	# a queued child that was recovered too often
	($call) = sleeping("$session\n\\echo --\n" . wait_for_work('n', '{r}', '5 s'));
	sql(q{UPDATE durable.executor SET last_seen = 'epoch' WHERE executor_id = 'gone'});
	like(answer($call), qr/--\nnews$/, "$name: news of a queued child that has failed at the limit of recoveries");
	# a deadline that is set while somebody waits
	($call) = sleeping("$session\n\\echo --\n" . wait_for_work('n', '{}', '5 s'));
	sql(q{SELECT durable.set_timeout(wf('mine'), extract(epoch FROM clock_timestamp() - started_at) * interval '1 s' + interval '0.5 s') FROM durable.workflow WHERE id = wf('mine')});
	like(answer($call, 1.2), qr/--\nnews$/, "$name: a deadline");
	no_work();
	sql(q{SELECT durable.start('asked', executor_id => 'n'); SELECT durable.start_child(wf('asked'), 0, 'asked inner')});
	for my $whom ('asked inner', 'asked')
	{
		($call) = sleeping("$session\n\\echo --\n" . wait_for_work('n', '{}', '5 s'));
		sql("SELECT durable.request_cancel(wf('$whom'))");
		like(answer($call), qr/--\nnews$/, "$name: $whom to end");
	}
	no_work();

	# ---- ends and events
	sql(q{SELECT durable.start('ends'); SELECT durable.claim_step(wf('ends'), 0, 's'); SELECT durable.start_child(wf('ends'), 1, 'c')});
	is(answer(begin(q{CALL durable.wait_for_end(wf('ends'), '0.2 s')})), 'RUNNING||', "$name: a workflow that runs");
	my @calls = sleeping(
		q{CALL durable.wait_for_end(durable.step_id(wf('ends'), 0), '5 s')}, q{CALL durable.wait_for_end(durable.step_id(wf('ends'), 1), '5 s')},
		q{CALL durable.wait_for_end(wf('ends'), '5 s')}, q{CALL durable.wait_for_end(wf('ends'), '5 s')});
	sql(q{SELECT durable.complete(durable.step_id(wf('ends'), 0), '1')});
	is(answer($calls[0], 0.9), 'COMPLETED|1|', "$name: a step has ended");
	sql(q{SELECT durable.fail(wf('c'), 'boom')});
	is(answer($calls[1], 0.9), 'FAILED||boom', "$name: a child has ended: the step that stands for it");
	sql(q{SELECT durable.complete(wf('ends'), jsonb_build_object('long', repeat('x', 100000)))});
	cmp_ok(length(answer($_, 0.9)), '>', 100000, "$name: a workflow has ended, with a long output") for @calls[2, 3];
	is(answer(begin(q{CALL durable.wait_for_end('01900000-0000-7000-8000-000000000000')})), 'WF001', "$name: no such task");

	sql(q{SELECT durable.start('emits'); SELECT durable.emit(wf('emits'), 't')});
	is(answer(begin(q{CALL durable.wait_for_event(wf('emits'))})), '1', "$name: an event that is there");
	@calls = sleeping(q{CALL durable.wait_for_event(wf('emits'), after => 1)}, q{CALL durable.wait_for_event(wf('emits'), 'u')},
		q{CALL durable.wait_for_event(wf('emits'), after => 3)}, q{CALL durable.wait_for_event(wf('emits'), 'v', timeout => '3 s')});
	is(answer($calls[3]), '', "$name: no event");
	sql(q{SELECT durable.emit(wf('emits'), 't')});
	is(answer($calls[0], 0.9), '2', "$name: the next event");
	sql(q{SELECT durable.emit(wf('emits'), 'u')});
	is(answer($calls[1], 0.9), '3', "$name: the next of a topic");
	sql(q{SELECT durable.complete(wf('emits'))});
	is(answer($calls[2], 0.9), '', "$name: the workflow has ended");

	# ---- not in a transaction
	for my $sql (q{BEGIN; CALL durable.wait_for_work('e');}, q{DO $$ DECLARE r text; BEGIN CALL durable.wait_for_work('e', reason => r); END $$;},
		"SELECT 1\\;\nCALL durable.wait_for_event('01900000-0000-7000-8000-000000000000');",
		q{BEGIN; CALL durable.wait_for_end('01900000-0000-7000-8000-000000000000');})
	{
		is(answer(begin($sql)), '25001', "$name: refused: $sql");
	}

	# ---- how it ends
	my $wait = wait_for_work('e', '{q}', '20 s');
	$call = begin("SET statement_timeout = '300 ms';\n$wait");
	is(answer($call, 2), '57014', "$name: statement_timeout");
	$call = sleeping($wait);
	sql("SELECT pg_cancel_backend($call->{pid})");
	is(answer($call, 2), '57014', "$name: cancel");
	$call = begin("\\set ON_ERROR_STOP off\nSET statement_timeout = '200 ms';\n$wait\nSET statement_timeout = 0;\nSELECT 'goes on';\n" . wait_for_work('e', '{q}', '0.1 s'));
	answer($call, 3);
	like($call->{out}, qr/goes on\ntimeout/, "$name: the session goes on after an error");
	$call = sleeping($wait);
	sql("SELECT pg_terminate_backend($call->{pid})");
	is(answer($call, 2), '57P01', "$name: terminate");
	$call = sleeping($wait);
	kill_client($call);
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $call->{pid}"), "$name: the client is gone");
	answer($call);

	# ---- what a chosen one does not take is passed on
	my ($first, $second) = sleeping($wait, wait_for_work('f', '{q}', '20 s'));
	sql(q{SELECT durable.start('passed on', queue => 'q')});
	is(answer($first, 0.9), 'work', "$name: the one that has waited longest is told") if $told;
	is(answer($second, 2), 'work', "$name: it has ended without a claim: the next one is told");
	answer($first) if !$told;
	no_work();

	# ---- the row is locked: who was told and has claimed nothing is not told again for 100 ms, and has it when it is free
	sql(q{SELECT durable.start('locked', queue => 'q')});
	my $lock = begin(q{BEGIN; SELECT 'locked' FROM durable.workflow WHERE name = 'locked' FOR UPDATE; SELECT pg_sleep(1.5); ROLLBACK});
	$node->poll_query_until('postgres', "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $lock->{pid}");
	my $try = wait_for_work('e', '{q}', '5 s') . "\nSELECT count(*) FROM durable.claim('q', 'e');";
	$call = begin(join("\n", ($try) x 5));
	is(answer($call, 2), join("\n", ("work\n0") x 5), "$name: what is locked cannot be claimed");
	cmp_ok($call->{took}, '>', 0.39, "$name: and is not told again and again");
	answer($lock);
	is(answer(begin($try), 1), "work\n1", "$name: but when it is free");
	no_work();

	# ---- the extension is dropped
	$node->safe_psql('postgres', 'CREATE DATABASE dropped');
	$node->safe_psql('dropped', q{CREATE EXTENSION durable});
	$call = begin(wait_for_work('e', '{}', '20 s'), 'dropped');
	$node->poll_query_until('dropped', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'dropped' AND wait_event_type = 'Extension'});
	$node->safe_psql('dropped', 'DROP EXTENSION durable');
	is(answer($call, 3), '55000', "$name: the extension was dropped");
	$node->safe_psql('postgres', 'DROP DATABASE dropped');

	# ---- bound executors
	my $bound = wait_for_work('bound', '{}', '20 s', ', bind => true');
	$call = sleeping($bound);
	sql(q{SELECT durable.start('driven', executor_id => 'bound')});
	my $other = sleeping(wait_for_work('other', '{}', '20 s'));
	sleep 1.1;
	ok(is_running($other), "$name: a bound executor is alive");
	$began = time;
	kill_client($call);
	is(answer($other), 'recover', "$name: its session has ended: there is something to recover");
	cmp_ok(time - $began, '<', $told ? 0.5 : 3, "$name: soon");
	answer($call);
	is(sql(q{SELECT durable.metrics() ~ E'\ndurable_executors_stale [1-9]'}), 't', "$name: metrics count it as stale");
	is(sql(q{SELECT reason FROM durable.recover('other')}), 'session ended', "$name: recover says why");
	no_work();

	$call = sleeping("$bound");
	sql(q{SELECT durable.start('driven', executor_id => 'bound')});
	my $taker = begin("$bound\nSELECT pg_sleep(20);");
	like(answer($call), $told ? qr/^news$/ : qr/^(news|recover)$/, "$name: another session binds it: the first does not drive its workflows any more");
	is(sql(q{SELECT reason FROM durable.recover('other')}), 'session ended', "$name: as that of an ended session");
	sql(q{SELECT durable.start('driven by the second', executor_id => 'bound')});
	is(sql(q{SELECT count(*) FROM durable.recover('other')}), '0', "$name: but not that of the second one");
	sql("SELECT pg_cancel_backend($taker->{pid})");
	answer($taker);
	sql(q{SELECT durable.release('bound')});
	no_work();

	sql(q{SELECT durable.start_many('{of a version, another}', queue => 'q', app_version => 'v1')});
	$call = begin(wait_for_work('versed', '{q}', '0', ', bind => true') . "\nSELECT durable.claim('q', 'versed', app_version => 'v1');\nSELECT pg_sleep(20);");
	my $waiting = q{SELECT waiting_for_version FROM durable.stats WHERE queue_name = 'q'};
	ok($node->poll_query_until('postgres', "$waiting", '0'), "$name: an executor claims with the version");
	kill_client($call);
	sql("SELECT pg_terminate_backend($call->{pid})");
	answer($call);
	ok($node->poll_query_until('postgres', "$waiting", '1'), "$name: until its session has ended");
	sql(q{SELECT durable.release('versed')});
	no_work();

	my $twice = begin(wait_for_work('twice', '{}', '0', ', bind => true') . "\nSELECT pg_advisory_unlock_all();\n" . wait_for_work('twice', '{}', '0', ', bind => true') .
		"\nSELECT durable.session_ended(executor_id, bound_run, bound) FROM durable.executor WHERE executor_id = 'twice';\nDISCARD ALL;\n" .
		"SELECT durable.session_ended(executor_id, bound_run, bound) FROM durable.executor WHERE executor_id = 'twice';\n\\! " .
		"psql -XAtq -d '" . $node->connstr('postgres') . q{' -c "CALL durable.wait_for_work('twice', timeout => '0', bind => true)"} . "\n" .
		wait_for_work('twice', '{}', '0', ', bind => true'));
	is(answer($twice), 'WF008', "$name: the first of two sessions is refused");
	like($twice->{out}, qr/timeout\n\ntimeout\nf\nt\ntimeout\n$/, "$name: a lock that was given back is taken again");
	sql(q{SELECT durable.release('twice')});

	# ---- as many as there are jobs
	@calls = sleeping(map { wait_for_work("many $_", '{q}', '20 s') . "\nSELECT pg_sleep(20);" } 1 .. 6);
	sql(q{SELECT durable.start_many('{j1, j2, j3}', queue => 'q')});
	sleep 0.6;
	my $woken = grep { slurp_file("$_->{file}.out") =~ /work/ } @calls;
	if ($told) { is($woken, 3, "$name: three jobs wake three") } else { cmp_ok($woken, '>=', 3, "$name: three jobs wake three, at least") }
	sql(q{SELECT durable.claim('q', 'x', 100)});
	kill_client($_) for @calls;
	answer($_) for @calls;
	no_work();

	# ---- a storm: some wait and claim, others start; nobody sleeps beside work
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/wait.sql", q{
CALL durable.wait_for_work('storm' || :client_id, '{q}', timeout => '0.4 s');
SELECT durable.complete(workflow_id) FROM durable.claim('q', 'storm' || :client_id);
});
	append_to_file("$dir/start.sql", qq{
SELECT durable.start('$name storm ' || gen_random_uuid(), queue => 'q');
});
	my @pgbench = ('pgbench', '-n', '-f');
	my ($out, $err) = ('', '');
	my ($many, $starts) = $told ? (50, 10000) : (30, 1600);
	my $waiters = IPC::Run::start([ @pgbench, "$dir/wait.sql", '-c', $many, '-j', 2, '-T', 600, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	sleep 0.5;
	$node->command_ok([ @pgbench, "$dir/start.sql", '-c', 4, '-t', $starts / 4, $node->connstr('postgres') ], "$name: a storm of $starts starts, while $many wait");
	my $seen = time;
	sleep 0.05 while sql(q{SELECT count(*) FROM durable.pending WHERE queue_name = 'q'}) ne '0' && time - $seen < 6;
	cmp_ok(time - $seen, '<', $told ? 2 : 6, "$name: all is claimed soon after");
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM durable.driven WHERE queue_name = 'q'}), "$name: and none is left");
	is(sql(qq{SELECT count(*) FROM durable.workflow WHERE name LIKE '$name storm %' AND status = 'COMPLETED'}), $starts, "$name: all were completed");
	$waiters->signal('TERM');
	$waiters->finish;
	unlike($err, qr/ERROR|aborted/, "$name: no waiter saw an error");
	is(sql(q{SELECT count(*) FROM durable.check()}), '0', "$name: check");
	sql(q{SELECT durable.drop_queue('one'); SELECT durable.drop_queue('rate'); SELECT durable.purge('0 s', 100000)});
	return;
}

test_all('shared memory');
$node->append_conf('postgresql.conf', "durable.wake = 'looking'\n");
$node->reload;
sleep 0.2;
test_all('looking');
$node->append_conf('postgresql.conf', "durable.wake = 'auto'\n");
$node->reload;

# ---- there are 240 places: who waits beside them looks, and has its work and its news, too; so does who waits for many queues
$node->append_conf('postgresql.conf', "max_connections = 280\n");
$node->stop;
$node->start;
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/wait.sql", q{
CALL durable.wait_for_work('place' || :client_id, '{q}', timeout => '60 s');
SELECT durable.complete(workflow_id) FROM durable.claim('q', 'place' || :client_id);
});
	my ($out, $err) = ('', '');
	my $waiters = IPC::Run::start([ 'pgbench', '-n', '-f', "$dir/wait.sql", '-c', 240, '-t', 1, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 240 FROM pg_stat_activity WHERE query LIKE '%wait_for_work(''place%' AND wait_event_type = 'Extension'}), '240 wait');
	sql(q{SELECT durable.create_queue('full' || i) FROM generate_series(1, 15) i; SELECT durable.start('full', executor_id => 'news')});
	my $news = sleeping("CALL durable.wait_for_work('news', timeout => '0');\n\\echo --\n" . wait_for_work('news', '{}', '20 s'));
	my $end = sleeping(q{CALL durable.wait_for_end(wf('full'), '20 s')});
	my $beside = sleeping(wait_for_work('beside', '{full1}', '20 s'));
	my $queues = sleeping(wait_for_work('queues', '{' . join(',', map { "full$_" } 1 .. 15) . '}', '20 s'));
	sql(q{SELECT durable.signal(wf('full'), 'go')});
	like(answer($news, 2), qr/--\nnews$/, 'one that has no place is told news');
	sql(q{SELECT durable.start('for it', queue => 'full1')});
	is(answer($beside, 2), 'work', 'and has its work');
	is(answer($queues, 2), 'work', 'so has who waits for 15 queues');
	sql(q{SELECT durable.complete(wf('full'), '1')});
	is(answer($end, 2), 'COMPLETED|1|', 'an end is seen');
	sql(q{SELECT count(*) FROM durable.start_many((SELECT array_agg('place ' || i) FROM generate_series(1, 240) i), queue => 'q')});
	$waiters->finish;
	unlike($err, qr/ERROR|aborted/, 'none of those that wait saw an error');
	is(sql(q{SELECT count(*) FROM durable.workflow WHERE name LIKE 'place %' AND status = 'COMPLETED'}), '240', '240 jobs wake 240');
	no_work();
	sql(q{SELECT durable.drop_queue('full' || i) FROM generate_series(1, 15) i});
}

# ---- a second prepared transaction: told by nobody, found within a second or two
$node->append_conf('postgresql.conf', "max_prepared_transactions = 2\n");
$node->stop;
$node->start;
my $call = sleeping(wait_for_work('e', '{q}', '20 s'));
sql(q{BEGIN; SELECT durable.start('prepared', queue => 'q'); PREPARE TRANSACTION 'p'});
sql(q{COMMIT PREPARED 'p'});
is(answer($call, 4), 'work', 'a prepared transaction');
no_work();

# ---- restarts: a bound executor is not dead for that
$call = sleeping(wait_for_work('bound', '{}', '20 s', ', bind => true'));
sql(q{SELECT durable.start('driven', executor_id => 'bound')});
my $began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 10, 'a fast shutdown ends the wait');
like(answer($call, 2), qr/^57P01|08006|$/, 'with an error');
$node->start;
is(sql(q{SELECT count(*) FROM durable.recover('other')}), '0', 'after a restart a bound executor is not dead for that');
$call = sleeping(wait_for_work('bound', '{}', '20 s', ', bind => true'));
is(sql(q{SELECT count(*) FROM durable.recover('other')}), '0', 'nor is its work recovered when it binds again');
$node->stop('immediate');
answer($call, 2);
$node->start;
is(sql(q{SELECT count(*) FROM durable.recover('other')}), '0', 'the same after a crash');
is(sql(q{SELECT durable.wake_mode()}), 'shared memory', 'there is shared memory again');

done_testing();
