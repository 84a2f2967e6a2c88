# The server is stopped with "immediate" in the middle of the work of several sessions, twice. Everything that a client
# has seen acknowledged is there, nothing else but at most the one transaction that each session had in flight, and the
# same programs, run again, bring every workflow to its end without doing any finished step twice.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Programs;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', "synchronous_commit = on\nautovacuum = on\n");
$node->start;

my $programs = Programs->new(PostgreSQL::Test::Utils::tempdir(), 4, 250);
$programs->prepare($node);

$programs->run($node);
$programs->stop_after($node, 500);
$node->start;
$programs->check_cut_off($node);

$programs->run($node);
$programs->stop_after($node, 500);
$node->start;
$programs->check_again($node);

$programs->run($node);
$programs->finish(0, 'the same programs run to their end');
$programs->check_end($node);

$node->stop;
done_testing();
