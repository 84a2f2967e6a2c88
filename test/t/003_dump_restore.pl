# pg_dump and restore keep every row and every promise: the work goes on in the restored database where it stood.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE old');
begin_work($node, 'old');

my $contents = contents($node, 'old');
my @empty = grep { $contents !~ /^$_->[0]\|/m } columns($node, 'old');
is(join(' ', map { $_->[0] } @empty), '', 'there is something in every table');

# Runs a program that succeeds and has nothing to say.
sub quiet_ok
{
	my ($command, $name) = @_;
	return $node->command_checks_all($command, 0, [qr/^$/], [qr/^$/], $name);
}

# Each dumps the database `old` and restores it into the empty one of that name.
my %restore = (
	custom => sub {
		quiet_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom", 'old' ], 'pg_dump -Fc');
		quiet_ok([ 'pg_restore', '-e', '-d', 'custom', "$dir/custom" ], 'pg_restore');
	},
	plain => sub {
		quiet_ok([ 'pg_dump', '-f', "$dir/plain", 'old' ], 'pg_dump');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/plain", 'plain' ], 'psql -f');
	},
	inserts => sub {
		quiet_ok([ 'pg_dump', '--inserts', '-f', "$dir/inserts", 'old' ], 'pg_dump --inserts');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/inserts", 'inserts' ], 'psql -f');
	},
	parallel => sub {
		quiet_ok([ 'pg_dump', '-Fd', '-j', 2, '-f', "$dir/parallel", 'old' ], 'pg_dump -Fd -j 2');
		quiet_ok([ 'pg_restore', '-e', '-j', 2, '-d', 'parallel', "$dir/parallel" ], 'pg_restore -j 2');
	},
	# in the place of other work
	clean => sub {
		$node->safe_psql('clean', "CREATE EXTENSION durable; SELECT durable.start('other', executor_id => 'other')");
		quiet_ok([ 'pg_dump', '-Fc', '-f', "$dir/clean", 'old' ], 'pg_dump');
		quiet_ok([ 'pg_restore', '-e', '-c', '--if-exists', '-d', 'clean', "$dir/clean" ], 'pg_restore -c');
	},
	# the rows alone, into a database that has the extension
	rows => sub {
		$node->safe_psql('rows', "CREATE EXTENSION durable");
		quiet_ok([ 'pg_dump', '-a', '-n', 'durable', '-f', "$dir/rows", 'old' ], 'pg_dump -a');
		$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/rows", 'rows' ], 'psql -f');
	});

for my $db (sort keys %restore)
{
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$restore{$db}->();
	is(contents($node, $db), $contents, "$db: every row is there as it was");
	is($node->safe_psql($db, 'SELECT * FROM durable.check()'), '', "$db: no invariant is broken");
	create_helpers($node, $db) if $db eq 'rows';
	if ($db eq 'custom')
	{
		# a second generation, before anything has changed
		$node->safe_psql('postgres', 'CREATE DATABASE second');
		quiet_ok([ 'pg_dump', '-Fc', '-f', "$dir/second", 'custom' ], 'pg_dump of the restored one');
		quiet_ok([ 'pg_restore', '-e', '-d', 'second', "$dir/second" ], 'pg_restore');
		is(contents($node, 'second'), $contents, 'every row is there again');
	}
	goes_on($db, "$db: the work goes on where it stood");
}

# the original has not noticed
is(contents($node, 'old'), $contents, 'a dump changes nothing');
goes_on('old', 'and the original goes on in the same way');

sub goes_on
{
	my ($db, $name) = @_;
	my $session = session($node, $db);
	is_deeply(go_on($session), $name);
	$session->();
}

$node->stop;
done_testing();
