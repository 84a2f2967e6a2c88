# Every function that is given a task or the name of a root refuses one of a bucket that is in another database, and what is
# given none leaves it alone: also a function that is yet to be written.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;
begin_work($node, 'postgres');
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'all is well before');

# What has an argument that is an id, or the name of a root ...
my %given = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	SELECT DISTINCT proname FROM pg_proc
	WHERE pronamespace = 'durable'::regnamespace AND ('uuid'::regtype = ANY (proargtypes) OR 'uuid[]'::regtype = ANY (proargtypes))});
$given{$_} = 1 for qw(start start_many signal_root);
# ... but for arithmetic, and what others are made of.  Some may do without one:
delete $given{$_} for qw(step_id bucket lock_key signs_of_life by_age all_below);
my %calls_by_id = (%calls,
	list => q{durable.list(parent_id => wf('run'))},
	count => q{durable.count(parent_id => wf('run'))},
	heartbeat => q{durable.heartbeat('other', ARRAY[wf('run')], '{1}')},
	release => q{durable.release('worker', wf('released'))});

# What is said of workflows, steps and all that belongs to them.
my @tables = qw(workflow workflow_tags step event open_wait open_position watch awaited_outcome signal);
my $of_tasks = join '; ', map { "SELECT '$_', t::text FROM durable.$_ t ORDER BY 2" } @tables;
$node->safe_psql('postgres', q{SELECT durable.set_buckets('{}')});
my $before = $node->safe_psql('postgres', $of_tasks);

for my $function (functions($node, 'postgres'))
{
	next if $function eq 'set_buckets';
	my $call = $calls_by_id{$function} or do { fail("no call of $function"); next };
	my $verb = $function =~ /^wait_for/ ? 'CALL' : 'SELECT';
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\n$verb $call");
	if ($given{$function})
	{
		like($err, qr/ERROR:  WF016/, "$function refuses");
	}
	else
	{
		unlike($err, qr/ERROR:  (?!WF016|WF012)/, "$function does not fail otherwise");
	}
}
is($node->safe_psql('postgres', $of_tasks), $before, 'and nothing was written');

# All is there again, and goes on.
$node->safe_psql('postgres', q{SELECT durable.set_buckets('{[0,4096)}')});
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
$node->stop;
done_testing();
