# Several sessions call tick while the server is stopped with "immediate" again and again, its database is dumped and
# restored, and a standby takes over: each time of each schedule gets its run exactly once.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "synchronous_commit = on\nautovacuum = on\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION durable;
	SELECT durable.create_queue('q');
	SELECT durable.create_schedule('all ' || i, '* * * * * *', 'q', overlap => 'all', catch_up => 'all') FROM generate_series(1, 8) i;
	SELECT durable.create_schedule('every ' || i, '@every 2 s', 'q', overlap => 'all', catch_up => 'all') FROM generate_series(1, 4) i;
	SELECT durable.create_schedule('skip', '* * * * * *', 'q', overlap => 'skip', catch_up => 'all');
	SELECT durable.create_schedule('queue', '* * * * * *', 'q', overlap => 'queue', catch_up => 'all');
	SELECT durable.create_schedule('cancel', '* * * * * *', 'q', overlap => 'cancel', catch_up => 'all');
});

# Sessions that call tick, and one that does the work, until the server is gone.
sub begin_calls
{
	my ($server) = @_;
	my $tick = 'DO $$ BEGIN LOOP PERFORM durable.tick(20); COMMIT; PERFORM pg_sleep(0.005); END LOOP; END $$';
	my $work = q{DO $$ BEGIN LOOP PERFORM durable.complete(workflow_id, lease => lease) FROM durable.claim('q', 'worker', 10); COMMIT; PERFORM pg_sleep(0.01); END LOOP; END $$};
	my $out = '';
	return map { IPC::Run::start([ 'psql', '-Xq', '-d', $server->connstr('postgres'), '-c', $_ ], '>', \$out, '2>', \$out) } ($tick) x 4, $work;
}

sub end_calls { eval { $_->finish } for @_; return; }

# From the first run on, a run for each time of the plan, and one only; what is next comes after the last.
sub runs_are_complete
{
	my ($server, $db, $name) = @_;
	is($server->safe_psql($db, q{
		SELECT s.name, r.count, r.times, r.gaps, s.next_run_at - r.last FROM durable.schedule s,
			LATERAL (SELECT count(*), count(DISTINCT w.scheduled_for) AS times, max(w.scheduled_for) AS last,
				extract(epoch FROM max(w.scheduled_for) - min(w.scheduled_for)) / CASE WHEN s.name LIKE 'every%' THEN 2 ELSE 1 END + 1 - count(*) AS gaps
				FROM durable.workflow w WHERE w.scheduled_by = s.name) r
		WHERE s.overlap IN ('all', 'cancel') AND (r.times <> r.count OR r.gaps <> 0
			OR s.next_run_at - r.last <> CASE WHEN s.name LIKE 'every%' THEN interval '2 s' ELSE interval '1 s' END)}),
		'', "$name: each time has one run, and the next one comes after the last");
	# those that drop times have counted them
	is($server->safe_psql($db, q{
		SELECT s.name, r.count, s.skipped, s.waiting_for FROM durable.schedule s,
			LATERAL (SELECT count(*), count(DISTINCT w.scheduled_for) AS times, min(w.scheduled_for) AS first FROM durable.workflow w WHERE w.scheduled_by = s.name) r
		WHERE s.overlap IN ('skip', 'queue') AND (r.times <> r.count
			OR extract(epoch FROM s.next_run_at - r.first) <> r.count + s.skipped + CASE WHEN s.waiting_for IS NULL THEN 0 ELSE 1 END)}),
		'', "$name: what has no run was counted");
	is($server->safe_psql($db, 'SELECT * FROM durable.check()'), '', "$name: no invariant is broken");
	return;
}

for my $round (1 .. 3)
{
	my @calls = begin_calls($node);
	my $seen = $node->safe_psql('postgres', 'SELECT count(*) FROM durable.workflow');
	$node->poll_query_until('postgres', "SELECT count(*) > $seen + 25 FROM durable.workflow") or die 'nothing runs';
	$node->stop('immediate');
	end_calls(@calls);
	$node->start;
	runs_are_complete($node, 'postgres', "after crash $round");
}

# ---- a restored schedule goes on -------------------------------------------------------------------------------------

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', 'restored', $dump ], 'pg_restore');
my $before = $node->safe_psql('restored', 'SELECT count(*) FROM durable.workflow');
runs_are_complete($node, 'restored', 'restored');
sleep 2;
$node->safe_psql('restored', 'DO $$ BEGIN WHILE durable.tick() > 0 LOOP COMMIT; END LOOP; END $$');
cmp_ok($node->safe_psql('restored', 'SELECT count(*) FROM durable.workflow'), '>', $before, 'it goes on where it stood');
runs_are_complete($node, 'restored', 'gone on');

# ---- failover --------------------------------------------------------------------------------------------------------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
# (an executor that is bound to a session when the primary dies)
my $bound = IPC::Run::start([ 'psql', '-XAtq', '-c', q{CALL durable.wait_for_work('bound', timeout => '60 s', bind => true)}, '-c', 'SELECT pg_sleep(60)',
		$node->connstr('postgres') ], '<', \'', '>', \my $printed, '2>', \my $errors);
$node->poll_query_until('postgres', q{SELECT NOT durable.session_ended(executor_id, bound_run, bound) FROM durable.executor WHERE executor_id = 'bound'})
  or die 'it is not bound';
$node->safe_psql('postgres', q{SELECT durable.start('driven', executor_id => 'bound')});
my @calls = begin_calls($node);
my $seen = $node->safe_psql('postgres', 'SELECT count(*) FROM durable.workflow');
$standby->poll_query_until('postgres', "SELECT count(*) > $seen + 25 FROM durable.workflow") or die 'nothing is replicated';
$node->stop('immediate');
end_calls(@calls);
$bound->finish;
$standby->promote;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM durable.recover('other')}), '0', 'after a failover an executor that was bound is not dead for that');
is($standby->safe_psql('postgres', q{
	CALL durable.wait_for_work('bound', timeout => '0', bind => true);
	SELECT durable.recover('other') IS NULL;}), 'timeout', 'nor when it binds again');
ok($standby->poll_query_until('postgres', q{SELECT name || ', ' || reason FROM durable.recover('other')}, 'driven, session ended'), 'but when that session has ended');
@calls = begin_calls($standby);
$seen = $standby->safe_psql('postgres', 'SELECT count(*) FROM durable.workflow');
$standby->poll_query_until('postgres', "SELECT count(*) > $seen + 25 FROM durable.workflow") or die 'nothing runs';
$standby->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DO %'});
end_calls(@calls);
runs_are_complete($standby, 'postgres', 'after failover');

$standby->stop;
done_testing();
