# A streaming standby: what it answers and what it refuses, and that work goes on when it has become the primary. What
# was acknowledged under synchronous replication is there after the primary has been killed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', "synchronous_commit = on\nautovacuum = on\n");
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$primary->reload;
$primary->poll_query_until('postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication}) or die 'no synchronous standby';

my $programs = Programs->new(PostgreSQL::Test::Utils::tempdir(), 4, 250);
$programs->prepare($primary);
$primary->safe_psql('postgres', 'CREATE DATABASE work');
begin_work($primary, 'work');
$primary->safe_psql('postgres', 'CREATE DATABASE waits');
$primary->safe_psql('waits', q{CREATE EXTENSION durable; SELECT durable.create_queue('q')});
$primary->wait_for_catchup($standby);

# ---- a standby answers what reads and refuses what writes -------------------------------------------------------------

my $contents = contents($primary, 'work');
is(contents($standby, 'work'), $contents, 'the standby has every row');
my $session = session($standby, 'work');

# As STABLE or IMMUTABLE as it is declared; the clock and some others are neither, and write nothing.
my %reads = map { $_ => 1 } split /\n/, $primary->safe_psql('work',
	q{SELECT proname FROM pg_proc WHERE pronamespace = 'durable'::regnamespace AND (provolatile <> 'v' OR proname IN ('clock', 'statements', 'session_ended', 'wake_mode', 'left_to_statements'))});
for my $function (functions($standby, 'work'))
{
	my $call = ($function =~ /^wait_for_/ ? 'CALL ' : 'SELECT ') . ($calls{$function} // "'an unknown function: add it to %calls in test/perl/InFlight.pm'::regproc");
	if ($reads{$function})
	{
		is($session->("SELECT refused(\$\$$call\$\$)"), 'done', "$function answers");
	}
	else
	{
		like($session->("\\set VERBOSITY verbose\n$call"),
			qr/ERROR:  25006: cannot execute [A-Z ]+ in a read-only transaction/,
			"$function is refused, by the server's own error");
	}
}
for my $view (split /\n/, $standby->safe_psql('work',
	q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind = 'v'}))
{
	is($session->("SELECT refused('SELECT * FROM $view')"), 'done', "$view answers");
}
for my $read ('durable.list(max_rows => 1000)', 'durable.count()', q{durable.history(wf('run'))}, q{durable.events(wf('run'))}, q{durable.next_runs('* * * * *', after => '2030-01-01')}, 'durable.check()', 'durable.executors()', 'durable.schedules()', 'durable.stuck()',
	q{durable.tree(wf('failed'))}, 'durable.task', q{durable.output(durable.step_id(wf('run'), 0))}, q{durable.input(wf('run'))})
{
	my $query = "SELECT * FROM $read x ORDER BY x";
	is($standby->safe_psql('work', $query), $primary->safe_psql('work', $query), "$read answers what the primary does");
}

# Not what a function can do decides, but what a call has to.
is_deeply(replays($session), 'replays, refusals and joining are answered');
my %calls_there = (
	25006 => [
		q{durable.start('run', executor_id => 'worker')}, q{durable.attach(wf('run'), 'other', takeover => true)},
		q{durable.claim_step(wf('run'), 3, 'flight', lease => 1, executor_id => 'worker')},
		q{durable.complete(wf('claimed'), lease => 1)}, q{durable.fail(wf('claimed'), 'boom')},
		q{durable.complete_and_claim(durable.step_id(wf('run'), 0), '{"a": [1, null, "x"]}', 'next', 7)},
		q{durable.complete_and_claim_many(ARRAY[durable.step_id(wf('run'), 0)], ARRAY['{"a": [1, null, "x"]}'::jsonb], '{next}', sequences => '{7}')},
		q{durable.release('nobody')}, q{durable.alter_queue('line', 3)} ],
	done => [
		q{durable.complete_and_claim(durable.step_id(wf('run'), 0), '{"a": [1, null, "x"]}', 'failed')},
		q{durable.complete_and_claim_many(ARRAY[durable.step_id(wf('run'), 0)], ARRAY['{"a": [1, null, "x"]}'::jsonb], '{failed}')},
		q{durable.create_queue('line', 3)}, q{durable.claim('closed', 'other')}, q{durable.claim('empty', 'other')} ]);
for my $state (sort keys %calls_there)
{
	is($session->("SELECT refused(\$\$SELECT $_\$\$)"), $state, "$_: $state") for @{ $calls_there{$state} };
}
is($session->("BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT action FROM durable.claim_step(wf('run'), 0, 'done');\nCOMMIT"),
	'REPLAY', 'a replay under REPEATABLE READ');
is($standby->safe_psql('postgres', q{
	SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'}), '0', 'nothing stays locked there');

my $waiter = session($standby, 'waits');
like($waiter->("\\set VERBOSITY verbose\nCALL durable.wait_for_work('waiter', '{q}')"), qr/ERROR:  25006/, 'nobody waits there');

# ---- the primary is killed in the middle of work ----------------------------------------------------------------------

$programs->run($primary);
$programs->stop_after($primary, 400);
$standby->promote;

$programs->check_cut_off($standby);
is(contents($standby, 'work'), $contents, 'every row of other work is there');
is($standby->safe_psql('work', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
is_deeply(go_on($session, answer_of($standby, 'work')),
	'all work goes on, under the leases from before, in a session from before and in new ones');
$session->();
$waiter->(q{CALL durable.wait_for_work('waiter', '{q}', '60 s')}, 1);
$standby->poll_query_until('waits', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'waits' AND wait_event_type = 'Extension'}) or die 'it does not wait';
$standby->safe_psql('waits', q{SELECT durable.start('job', queue => 'q')});
like($waiter->(q{SELECT name FROM durable.claim('q', 'waiter')}), qr/^(sent\n)?work\njob$/, 'a session from before waits for work, and has it');
$waiter->();

$programs->run($standby);
$programs->finish(0, 'the same programs run to their end on the new primary');
$programs->check_end($standby);

$standby->stop;
done_testing();
