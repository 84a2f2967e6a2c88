# kill -9 in the middle of calls that change many rows: whole trees, all that an executor has left, what a queue has,
# what is old. Each of them waits for a row that another session has locked, with part of its changes made; then one
# backend is killed and the server starts again. Nothing of any of them is there, no invariant is broken, and each can be done.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('cascade');
$node->init;
$node->append_conf('postgresql.conf', "restart_after_crash = on\nautovacuum = on\nmax_prepared_transactions = 1\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION durable;
	CREATE FUNCTION wf(n text) RETURNS uuid LANGUAGE sql AS
		'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';

	-- a tree of 1 + 6 + 36 inline workflows, a step that is done and one that runs in each
	CREATE FUNCTION grow(parent uuid, parent_name text, levels int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM durable.claim_step(parent, 0, 'done');
		PERFORM durable.complete(durable.step_id(parent, 0), '0');
		PERFORM durable.claim_step(parent, 1, 'runs');
		IF levels > 0 THEN
			PERFORM grow(c.workflow_id, parent_name || '.' || i, levels - 1)
			FROM generate_series(1, 6) i, durable.start_child(parent, 1 + i, parent_name || '.' || i) c;
		END IF;
	END $$;
});

# name of a tree => what happens to it before, the call, the row for which that waits: of the last workflow in the tree,
# of its step, or of the step that stands for it
my %workflow = (table => 'workflow', row => q{name = '%s.6.6'});
my %step = (table => 'step', row => q{workflow_id = wf('%s.6.6') AND sequence = 1});
my %stand_in = (table => 'step', row => q{child_id = wf('%s.6.6')});
my %trees = (
	ask => { call => q{durable.request_cancel(%s, 'why')}, %workflow },
	'ask what waits' => {
		before => q{durable.await_callback(w.id, 2, 'back') FROM durable.workflow w WHERE w.root_id = %s AND w.name LIKE '%%.6.%%'},
		call => q{durable.request_cancel(%s, 'why')}, table => 'step', row => q{workflow_id = wf('%s.6.6') AND sequence = 2} },
	pause => { call => 'durable.pause_tree(%s)', %workflow },
	resume => { before => 'durable.pause_tree(%s)', call => 'durable.resume_tree(%s)', %workflow },
	cancel => { call => 'durable.cancel_tree(%s)', %step },
	'cancel a paused one' => { before => 'durable.pause_tree(%s)', call => 'durable.cancel_tree(%s)', %stand_in },
	complete => { call => 'durable.complete(%s)', %stand_in },
	fail => { call => q{durable.fail(%s, 'boom')}, %workflow },
	'fail to its end' => { call => q{durable.fail(%s, 'boom')}, %stand_in },
	'resume failed' => { before => q{durable.fail(%s, 'boom')}, call => 'durable.resume_failed(%s)', %step },
	'take over' => { call => q{durable.attach(%s, 'taker', takeover => true)}, %workflow },
	release => { call => q{durable.release('release')}, %workflow });

# The same for what many trees have in common.
my %calls = (
	# the deadlines come after those of dead executors, and what is given up there is recorded at its parent
	recover => {
		before => q{
			SET durable.clock_offset = -1000;
			SELECT durable.create_queue('poison');
			SELECT durable.start('parent', max_recovery_attempts => 0);
			SELECT durable.start_child(wf('parent'), 0, 'poison', queue => 'poison', timeout => '1 second');
			SELECT durable.start('left ' || i, executor_id => 'dead') FROM generate_series(1, 50) i;
			SELECT durable.claim_step(wf('left ' || i), 0, 'step') FROM generate_series(1, 50) i;
			SET durable.clock_offset = -100;
			SELECT durable.claim('poison', 'alive')},
		call => q{count(*) FROM durable.recover('rescuer', stale_after => '500 s')}, table => 'step', row => q{child_id = wf('poison')} },
	# what was claimed is counted last, by a new row
	claim => {
		before => q{
			SELECT durable.create_queue('line', rate_limit => 50);
			SELECT durable.start('queued ' || i, queue => 'line') FROM generate_series(1, 100) i},
		call => q{count(*) FROM durable.claim('line', 'claimer', 40)}, table => 'queue', row => q{name = 'line'},
		locked => 'queue_count' });

for my $name (sort keys %trees)
{
	my $tree = $trees{$name};
	$tree->{$_} = sprintf $tree->{$_}, "wf('$name')" for grep { $tree->{$_} } qw(before call);
	$tree->{row} = sprintf $tree->{row}, $name;
	$node->safe_psql('postgres', qq{
		BEGIN;
		SELECT grow(workflow_id, '$name', 2) FROM durable.start('$name', executor_id => '$name');
		COMMIT;
		SELECT } . ($tree->{before} // '1'));
}
$node->safe_psql('postgres', $calls{$_}{before}) for sort keys %calls;
$calls{$_} = $trees{$_} for keys %trees;
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken before');
# Prepared for commit, it is there after the crash.
$node->safe_psql('postgres', q{
	SELECT durable.start('prepared');
	BEGIN;
	SELECT durable.claim_step(wf('prepared'), 0, 'step');
	SELECT durable.complete(durable.step_id(wf('prepared'), 0), '"prepared"');
	PREPARE TRANSACTION 'step'});
my $contents = contents($node, 'postgres');

# ---- the crash --------------------------------------------------------------------------------------------------------

my $locker = session($node, 'postgres');
$locker->('BEGIN');
is($locker->("SELECT count(*) FROM (SELECT FROM durable.$calls{$_}{table} WHERE $calls{$_}{row} FOR UPDATE) x"), 1,
	"$_: a row is locked") for sort keys %calls;
$locker->("LOCK TABLE durable.$_ IN SHARE MODE") for grep { $_ } map { $_->{locked} } values %calls;

# Makes the calls, each in a session, and waits until each waits for a lock with something written.
my @handles;

sub in_the_middle
{
	my (%call) = @_;
	my @outputs;
	@handles = ();
	for my $name (sort keys %call)
	{
		my ($out, $err);
		push @handles, IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name='$name'",
			'-c', "SELECT $call{$name}" ], '<', \undef, '>', \$out, '2>', \$err);
		push @outputs, \$out, \$err;
	}
	my $waits = q{FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_xid IS NOT NULL};
	return if $node->poll_query_until('postgres', "SELECT count(*) = @{[ scalar @handles ]} $waits");
	$_->pump_nb for @handles;
	die 'not all calls wait in the middle: only '
	  . $node->safe_psql('postgres', "SELECT string_agg(application_name, ', ') $waits") . join ' ', map { $$_ // '' } @outputs;
}
in_the_middle(map { $_ => $calls{$_}{call} } keys %calls);
is(contents($node, 'postgres'), $contents, 'nobody sees what they have changed so far');

sub kill_one
{
	my ($name) = @_;
	my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$name'");
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	kill 'KILL', $pid;
	$_->finish for @handles;
	is(scalar(grep { $_->result(0) == 0 } @handles), 0, 'every call was cut off');
	eval { $locker->() };
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not start again';
	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server has started again by itself');
	return;
}
kill_one('cancel');
is(contents($node, 'postgres'), $contents, 'nothing of any of them is there');
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');

$node->safe_psql('postgres', q{COMMIT PREPARED 'step'});
is($node->safe_psql('postgres', q{SELECT action, output FROM durable.claim_step(wf('prepared'), 0, 'step')}),
	'REPLAY|"prepared"', 'what was prepared for commit before can be committed');

# ---- and again --------------------------------------------------------------------------------------------------------

# what each returns
my %expected = (
	ask => '43', 'ask what waits' => '43', pause => '43', resume => '43', cancel => '86', 'cancel a paused one' => '86', complete => 't', fail => '(FAILED,0,)',
	'fail to its end' => '(FAILED,0,)', 'resume failed' => '(,,RUNNING,2)', 'take over' => q{("take over",,,RUNNING,2,taker)}, release => '1', recover => '50', claim => '40');
for my $name (sort keys %calls)
{
	is($node->safe_psql('postgres', "SELECT $calls{$name}{call}"), $expected{$name}, "$name is done");
}
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken at the end');
is($node->safe_psql('postgres', q{
	SELECT split_part(name, '.', 1) AS tree, status, count(*), min(lease), max(lease) FROM durable.workflow
	WHERE name ~ '^(ask|pause|resume|cancel|complete|fail|take|release|poison)' GROUP BY 1, 2 ORDER BY 1, 2}),
	q{ask|RUNNING|43|1|1
ask what waits|RUNNING|43|1|1
cancel|CANCELLED|43|1|1
cancel a paused one|CANCELLED|43|1|1
complete|COMPLETED|1|1|1
complete|CANCELLED|42|1|1
fail|FAILED|43|1|1
fail to its end|FAILED|43|1|1
pause|PAUSED|43|1|1
poison|FAILED|1|1|1
release|PENDING|1|2|2
release|RUNNING|42|2|2
resume|RUNNING|43|1|1
resume failed|PENDING|42|2|2
resume failed|RUNNING|1|2|2
take over|RUNNING|43|2|2}, 'every tree is as a whole what it should be');

is($node->safe_psql('postgres', q{
	SELECT split_part(w.name, '.', 1), count(*), count(w.cancel_untold), (SELECT count(*) FROM durable.step s WHERE s.error = 'WF017: cancel requested: why')
	FROM durable.workflow w WHERE w.cancel_requested_at IS NOT NULL GROUP BY 1 ORDER BY 1}),
	"ask|43|43|6\nask what waits|43|37|6", 'each workflow was asked, and told where it waited');

# purge waits for nobody, but for who locks a whole table: that of the executors, which it comes to last
$contents = contents($node, 'postgres');
$locker = session($node, 'postgres');
$locker->("BEGIN;\nLOCK TABLE durable.executor IN SHARE MODE");
in_the_middle(purge => q{durable.purge('0 s')});
kill_one('purge');
is(contents($node, 'postgres'), $contents, 'nothing of a purge is there');
is($node->safe_psql('postgres', q{SELECT workflows, steps FROM durable.purge('0 s')}),
	join('|', 5 * 43 + 2, 5 * (2 * 43 + 42) + 1), 'it deletes all that is finished: five trees, and that of the poison');
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');

$node->stop;
done_testing();
