# An extension that was handed over to a role without rights (docs/OWNER.md) can be dumped and restored, and handed over again there.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($role, $hand_over) = slurp_file("$FindBin::RealBin/../../docs/OWNER.md") =~ /^```sql\n(CREATE ROLE .*?)\n(.*?)^```/ms;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('owner');
$node->init;
$node->start;
$node->safe_psql('postgres', "$role\nCREATE ROLE worker LOGIN; CREATE DATABASE old");
$node->safe_psql('old', qq{
	CREATE EXTENSION durable;
	$hand_over
	SELECT durable.grant_to('worker', 'worker'), durable.create_queue('q')});

# What is whose, and who may do what.
sub owners
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT kind, name, owner::regrole, acl::text
		  FROM (SELECT 'function', oid::regprocedure::text, proowner, proacl FROM pg_proc WHERE pronamespace = 'durable'::regnamespace
		        UNION ALL SELECT 'relation', relname, relowner, relacl FROM pg_class WHERE relnamespace = 'durable'::regnamespace
		        UNION ALL SELECT 'type', typname, typowner, typacl FROM pg_type WHERE typnamespace = 'durable'::regnamespace
		        UNION ALL SELECT 'schema', nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = 'durable') o(kind, name, owner, acl)
		 ORDER BY 1, 2});
}

# A workflow of that name, by a worker.
sub works
{
	my ($db, $name, $what) = @_;
	is($node->safe_psql($db, qq{
		SELECT c.action, durable.complete(c.step_id, '1') FROM durable.start('$name', executor_id => 'e') w, durable.claim_step(w.workflow_id, 0, 's') c;
		SELECT created, status FROM durable.start('$name in q', queue => 'q');
		SELECT name FROM durable.claim('q', 'e');
		SELECT durable.complete(id) FROM durable.list(name => '$name in q')}, extra_params => [ '-U', 'worker' ]),
		"EXECUTE|t\nt|PENDING\n$name in q\nt", $what);
	is($node->safe_psql($db, 'SELECT * FROM durable.check()'), '', "$what: no invariant is broken");
}

my $owners = owners('old');
is(join(' ', map { (split /\|/)[1] } grep { (split /\|/)[2] ne 'durable_owner' } split /\n/, $owners), 'durable', 'all but the schema is handed over');
works('old', 'a', 'handed over');

for my $format ('c', 'p')
{
	my $db = "new_$format";
	my $file = "$dir/$db";
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->command_checks_all([ 'pg_dump', "-F$format", '-f', $file, 'old' ], 0, [qr/^$/], [qr/^$/], "pg_dump -F$format, silent");
	$node->command_ok($format eq 'c' ? [ 'pg_restore', '-e', '-d', $db, $file ] : [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, $db ], "restored to $db");
	works($db, 'b', "$db: restored");
	$node->safe_psql($db, $hand_over);
	is(owners($db), $owners, "$db: handed over again, all is as it was");
	works($db, 'c', "$db: handed over again");
}

# An update makes what is new as who runs it, and the block is run again.
$node->safe_psql('old', q{
	CREATE FUNCTION durable.later() RETURNS int LANGUAGE sql AS 'SELECT 1';
	ALTER EXTENSION durable ADD FUNCTION durable.later()});
isnt($node->safe_psql('old', q{SELECT proowner::regrole FROM pg_proc WHERE proname = 'later'}), 'durable_owner', 'what is new is not handed over');
$node->safe_psql('old', $hand_over);
is($node->safe_psql('old', q{SELECT proowner::regrole FROM pg_proc WHERE proname = 'later'}), 'durable_owner', 'until it is');

# The role has no way in, and cannot be dropped while it has something.
isnt($node->psql('old', 'SELECT 1', extra_params => [ '-U', 'durable_owner' ]), 0, 'it cannot log in');
isnt($node->psql('old', 'DROP ROLE durable_owner'), 0, 'it cannot be dropped');
$node->safe_psql($_, 'DROP EXTENSION durable; DROP SCHEMA durable') for 'old', 'new_c', 'new_p';
is($node->psql('old', 'DROP ROLE durable_owner'), 0, 'until the extension is');

$node->stop;
done_testing();
