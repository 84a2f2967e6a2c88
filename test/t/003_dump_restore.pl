# pg_dump and restore keep every row and every promise: the work goes on in the restored database where it stood.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE old');

my $helper = q{
	CREATE FUNCTION public.wf(n text) RETURNS uuid LANGUAGE sql AS
		'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';
};

# One of everything that can be in the middle of something.
$node->safe_psql('old', "CREATE EXTENSION durable; $helper" . q{
	SELECT durable.heartbeat('other');

	-- running: a done step, one that failed for good, one that waits for its retry, one in flight, a child with one in
	-- flight, a finished child
	SELECT durable.start('run', '{"in": "it''s"}', 'handler', 'worker', timeout => '1 hour', app_version => 'v1');
	SELECT durable.claim_step(wf('run'), 0, 'done', '[0]');
	SELECT durable.complete(durable.step_id(wf('run'), 0), '{"a": [1, null, "x"]}');
	SELECT durable.claim_step(wf('run'), 1, 'failed');
	SELECT durable.fail(durable.step_id(wf('run'), 1), E'line 1\nline 2');
	SELECT durable.claim_step(wf('run'), 2, 'later', max_retries => 5, backoff => '1 day');
	SELECT durable.fail(durable.step_id(wf('run'), 2), 'come back');
	SELECT durable.claim_step(wf('run'), 3, 'flight', lease => 1, executor_id => 'worker');
	SELECT durable.start_child(wf('run'), 4, 'child');
	SELECT durable.claim_step(wf('child'), 0, 'inner');
	SELECT durable.start_child(wf('run'), 5, 'ended');
	SELECT durable.complete(wf('ended'), '"e"');
	SELECT durable.claim_step(wf('run'), 6, 'null');
	SELECT durable.complete(durable.step_id(wf('run'), 6));

	-- paused, with a child that was paused before by itself
	SELECT durable.start('paused', executor_id => 'worker');
	SELECT durable.claim_step(wf('paused'), 0, 'again', max_retries => 5);
	SELECT durable.fail(durable.step_id(wf('paused'), 0), 'boom');
	SELECT durable.start_child(wf('paused'), 1, 'by itself');
	SELECT durable.start_child(wf('paused'), 2, 'with it');
	SELECT durable.pause_tree(wf('by itself'));
	SELECT durable.pause_tree(wf('paused'));

	-- ended
	SELECT durable.start('completed'); SELECT durable.complete(wf('completed'), '1');
	SELECT durable.start('cancelled'); SELECT durable.claim_step(wf('cancelled'), 0, 's');
	SELECT durable.cancel_tree(wf('cancelled'));
	SELECT durable.start('failed');
	SELECT durable.claim_step(wf('failed'), 0, 's'); SELECT durable.complete(durable.step_id(wf('failed'), 0), '1');
	SELECT durable.claim_step(wf('failed'), 1, 't'); SELECT durable.fail(durable.step_id(wf('failed'), 1), 'boom');
	SELECT durable.fail(wf('failed'), 'boom');

	-- in a queue
	SELECT durable.create_queue('line', 3);
	SELECT durable.start('queued', queue => 'line', priority => 7);
});

sub contents
{
	my ($db) = @_;
	return join "\n", map { $node->safe_psql($db, "SELECT t::text FROM durable.$_ t ORDER BY 1") }
	  qw(workflow step queue executor);
}

# Continues everything and returns what it was told.
sub goes_on
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT 'replay', action, output FROM durable.claim_step(wf('run'), 0, 'done');
		SELECT 'null', action, output IS NULL FROM durable.claim_step(wf('run'), 6, 'null');
		SELECT 'failed', action, error = E'line 1\nline 2' FROM durable.claim_step(wf('run'), 1, 'failed');
		SELECT 'later', action, run_at > now() + '23 hours' FROM durable.claim_step(wf('run'), 2, 'later');
		SELECT 'locked', action FROM durable.claim_step(wf('run'), 3, 'flight');
		SELECT 'own', action, attempt FROM durable.claim_step(wf('run'), 3, 'flight', lease => 1, executor_id => 'worker');
		SELECT 'late outcome', durable.complete(durable.step_id(wf('run'), 3), '3', lease => 1, attempt => 1);
		SELECT 'start', created, status, lease, owner FROM durable.start('run', executor_id => 'other');
		SELECT 'restart', created, status, lease, owner FROM durable.start('run', executor_id => 'worker');
		SELECT 'child', created, status, lease FROM durable.start_child(wf('run'), 4, 'child', lease => 2);
		SELECT 'inner', action, attempt FROM durable.claim_step(wf('child'), 0, 'inner', lease => 2);
		SELECT 'child done', durable.complete(wf('child'), '4');
		SELECT 'ended', created, status, output FROM durable.start_child(wf('run'), 5, 'ended');
		SELECT 'next', action, attempt FROM durable.claim_step(wf('run'), 7, 'next', lease => 2);
		SELECT 'next done', durable.complete(durable.step_id(wf('run'), 7), '7');
		SELECT 'run done', durable.complete(wf('run'), '"end"', lease => 2);
		SELECT 'namesake', created, lease FROM durable.start('run');
		SELECT 'resume', durable.resume_tree(wf('paused'));
		SELECT name, status FROM durable.task WHERE name IN ('paused', 'by itself', 'with it', 'again') ORDER BY name;
		SELECT 'again', action, attempt FROM durable.claim_step(wf('paused'), 0, 'again', max_retries => 5);
		SELECT 'resume failed', status, lease FROM durable.resume_failed(wf('failed'));
		SELECT 'failed step', action, attempt FROM durable.claim_step(wf('failed'), 1, 't');
		SELECT 'queued', status, priority, queue_name FROM durable.workflow WHERE name = 'queued';
		SELECT 'new', created, lease FROM durable.start('completed');
		SELECT 'check', count(*) FROM durable.check();
	});
}

my $expected = q{replay|REPLAY|{"a": [1, null, "x"]}
null|REPLAY|t
failed|FAILED|t
later|WAIT|t
locked|LOCKED
own|EXECUTE|1
late outcome|t
start|f|RUNNING|1|worker
restart|f|RUNNING|2|worker
child|f|RUNNING|2
inner|EXECUTE|2
child done|t
ended|f|COMPLETED|"e"
next|EXECUTE|1
next done|t
run done|t
namesake|t|1
resume|3
again|PENDING
by itself|PAUSED
paused|RUNNING
with it|RUNNING
again|EXECUTE|2
resume failed|RUNNING|2
failed step|EXECUTE|2
queued|PENDING|7|line
new|t|1
check|0};

my $contents = contents('old');
my %restore = (
	custom => sub {
		$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", 'old' ], 'pg_dump -Fc');
		$node->command_ok([ 'pg_restore', '-e', '-d', 'custom', "$dir/custom" ], 'pg_restore');
	},
	plain => sub {
		$node->command_ok([ 'pg_dump', '-f', "$dir/plain", 'old' ], 'pg_dump');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", 'plain' ], 'psql -f');
	},
	inserts => sub {
		$node->command_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts", 'old' ], 'pg_dump --inserts');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/inserts", 'inserts' ], 'psql -f');
	},
	parallel => sub {
		$node->command_ok([ 'pg_dump', '-Fd', '-j', 2, '-f', "$dir/parallel", 'old' ], 'pg_dump -Fd -j 2');
		$node->command_ok([ 'pg_restore', '-e', '-j', 2, '-d', 'parallel', "$dir/parallel" ], 'pg_restore -j 2');
	});

for my $db (sort keys %restore)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$restore{$db}->();
	is(contents($db), $contents, "$db: every row is there as it was");
	is($node->safe_psql($db, 'SELECT * FROM durable.check()'), '', "$db: no invariant is broken");
	is(goes_on($db), $expected, "$db: the work goes on where it stood");
}

# a second generation: dumped and restored again
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/second", 'custom' ], 'pg_dump of the restored one');
$node->command_ok([ 'pg_restore', '-e', '-d', 'second', "$dir/second" ], 'pg_restore');
is(contents('second'), contents('custom'), 'every row is there again');

# the original has not noticed
is(contents('old'), $contents, 'a dump changes nothing');
is(goes_on('old'), $expected, 'and the original goes on in the same way');

$node->stop;
done_testing();
