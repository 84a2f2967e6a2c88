# Logical replication of the extension's tables to another server, and the move there.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $from = PostgreSQL::Test::Cluster->new('from');
$from->init(allows_streaming => 'logical');
$from->start;
my $to = PostgreSQL::Test::Cluster->new('to');
$to->init;
$to->start;

# Half of the work is there before, and copied; of the other half each change is replicated.
begin_work($from, 'postgres');
$from->safe_psql('postgres', 'CREATE PUBLICATION move FOR TABLES IN SCHEMA durable');
$to->safe_psql('postgres', 'CREATE EXTENSION durable');
create_helpers($to, 'postgres');
my $connstr = $from->connstr . ' dbname=postgres';
$to->safe_psql('postgres', "CREATE SUBSCRIPTION move CONNECTION '$connstr' PUBLICATION move");
$from->wait_for_catchup('move');
$to->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate <> 'r'}) or die 'no copy';
is(contents($to, 'postgres'), contents($from, 'postgres'), 'every row is copied');

# Inserts, updates, deletes, whole trees, a name that is used again.
$from->safe_psql('postgres', q{
	SELECT durable.start('tree', executor_id => 'worker');
	SELECT durable.claim_step(wf('tree'), i, 'step') FROM generate_series(0, 20) i;
	SELECT durable.complete(durable.step_id(wf('tree'), i), to_jsonb(repeat('x', 10000))) FROM generate_series(0, 10) i;
	SELECT durable.emit(wf('tree'), 'progress', to_jsonb(i)) FROM generate_series(0, 20) i;
	SELECT durable.start_child(wf('tree'), 100, 'leaf');
	SELECT durable.cancel_tree(wf('tree'));
	SELECT durable.start('tree', executor_id => 'worker');
	SELECT durable.complete(wf('tree'), '1');
	SELECT durable.create_queue('short-lived');
	SELECT durable.drop_queue('short-lived');
	SELECT durable.heartbeat('leaver');
	SELECT durable.release('leaver');
	SELECT durable.alter_schedule('resting', '0 0 1 2 *', 'planned', overlap => 'skip');
	SELECT durable.create_schedule('dropped', '0 0 1 2 *', 'planned');
	SELECT durable.trigger_schedule('dropped'), durable.drop_schedule('dropped');
});
$from->wait_for_catchup('move');
my $contents = contents($from, 'postgres');
is(contents($to, 'postgres'), $contents, 'and every change replicated');
is($to->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
like($contents, qr/x{10000}/, 'large outputs, too');

# The move: nobody works at the one any more, the subscription ends, all goes on at the other.
$to->safe_psql('postgres', 'DROP SUBSCRIPTION move');
$from->stop;
is_deeply(go_on(answer_of($to, 'postgres')), 'all work goes on there');

$to->stop;
done_testing();
