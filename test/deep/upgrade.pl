# pg_upgrade of a cluster with work in flight: every row is there, and all of it goes on where it stood. The older
# server is that of OLD_SERVER, a prefix; run by test/deep/upgrade.

use strict;
use warnings;

use Cwd;
use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = PostgreSQL::Test::Cluster->new('old', install_path => $ENV{OLD_SERVER});
my $new = PostgreSQL::Test::Cluster->new('new');
my ($newer) = run_command([ 'pg_config', '--version' ]);
note "from PostgreSQL " . $old->pg_version . " to $newer";

$old->init;
# what later versions do by themselves, the older did not
$new->init(extra => $newer =~ / (\d+)/ && $1 >= 18 ? ['--no-data-checksums'] : []);

$old->start;
$old->safe_psql('postgres', 'CREATE DATABASE work');
begin_work($old, 'work');
$old->safe_psql('work', q{CREATE ROLE looker; SELECT durable.grant_to('looker', 'reader')});
my $contents = contents($old, 'work');
# the same work goes on on the old server, in a copy
$old->safe_psql('postgres', 'CREATE DATABASE stays TEMPLATE work');
my ($got, $expected) = go_on(answer_of($old, 'stays'));
is_deeply($got, $expected, 'before: it goes on');
$old->stop;

my $dir = getcwd();
chdir $new->basedir;
$new->command_ok([
	'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir,
	'-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
	'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
chdir $dir;

$new->start;
is(contents($new, 'work'), $contents, 'every row is there as it was');
is($new->safe_psql('work', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
is($new->safe_psql('work', 'SET ROLE looker; SELECT durable.count() > 0'), 't', 'who was granted a level has it still');
($got, $expected) = go_on(answer_of($new, 'work'));
is_deeply($got, $expected, 'all of it goes on');
is($new->safe_psql('stays', 'SELECT * FROM durable.check()'), '', 'and what had gone on before is well, too');
$new->safe_psql('postgres', 'CREATE DATABASE fresh');
begin_work($new, 'fresh');
($got, $expected) = go_on(answer_of($new, 'fresh'));
is_deeply($got, $expected, 'a new database does the same');

$new->stop;
done_testing();
