# Privileges outside of one session: dumps keep what was granted, a role's settings and connection do not move the clock,
# and what a database grants to PUBLIC by default does not reach the extension.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('privileges');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
	CREATE ROLE reader LOGIN;
	CREATE ROLE client LOGIN;
	CREATE ROLE worker LOGIN;
	CREATE ROLE operator LOGIN;
	CREATE ROLE former LOGIN;
	CREATE DATABASE old;
});

# Defaults that would give PUBLIC all that is created.
$node->safe_psql('old', q{
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
	ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO PUBLIC;
	CREATE EXTENSION durable;
	SELECT durable.grant_to('reader', 'reader'), durable.grant_to('client', 'client'), durable.grant_to('worker', 'worker'), durable.grant_to('operator', 'operator');
	SELECT durable.grant_to('former', 'operator');
	SELECT durable.revoke_from('former', 'reader');
	SELECT durable.start('before');
});

# What each role may do there, and PUBLIC: a line for each privilege.
sub rights
{
	my ($db) = @_;
	return $node->safe_psql($db, q{
		SELECT o.kind, o.name, a.grantee::regrole, a.privilege_type
		  FROM (SELECT 'function', oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc WHERE pronamespace = 'durable'::regnamespace
		        UNION ALL SELECT 'relation', relname, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE relnamespace = 'durable'::regnamespace AND relkind IN ('r', 'v')
		        UNION ALL SELECT 'type', typname, coalesce(typacl, acldefault('T', typowner)) FROM pg_type WHERE typnamespace = 'durable'::regnamespace AND typcategory <> 'A'
		        UNION ALL SELECT 'schema', nspname, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'durable'
		       ) o(kind, name, acl), aclexplode(o.acl) a
		 ORDER BY 1, 2, 3, 4});
}

my $rights = rights('old');
unlike($rights, qr/^.*\|-\|.*$/m, "nothing is PUBLIC's, whatever the defaults are");
unlike($rights, qr/\|former\|/, 'nothing is left of what was revoked');
like($rights, qr/^function\|durable\.status\(uuid\)\|reader\|EXECUTE$/m, 'the reader may read');
like($rights, qr/^schema\|durable\|reader\|USAGE$/m, 'the reader may look into the schema');
like($rights, qr/^function\|durable\.pause_tree\(uuid\)\|operator\|EXECUTE$/m, 'the operator may pause');
unlike($rights, qr/^function\|durable\.pause_tree\(uuid\)\|worker\|EXECUTE$/m, 'the worker may not');

# Dumped and restored, twice over.
my $from = 'old';
for my $format ('c', 'p')
{
	my $to = "new_$format";
	my $file = "$dir/$to";
	$node->safe_psql('postgres', "CREATE DATABASE $to");
	$node->command_checks_all([ 'pg_dump', "-F$format", '-f', $file, $from ], 0, [qr/^$/], [qr/^$/], "pg_dump -F$format of $from, silent");
	$node->command_ok($format eq 'c' ? [ 'pg_restore', '-e', '-d', $to, $file ] :
		[ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, $to ], "restored to $to");
	is(rights($to), $rights, "$to: who could do what can do it, and nothing else");
	$from = $to;
}
sub as
{
	my ($role, $sql, %params) = @_;
	my ($out, $err);
	my $rc = $node->psql($from, $sql, stdout => \$out, stderr => \$err, extra_params => [ '-U', $role ], %params);
	return $rc ? "error: $err" : $out;
}
is(as('worker', "SELECT created, status FROM durable.start('before')"), 'f|RUNNING', 'a worker works on in the restored database');
is(as('client', "SELECT created, status FROM durable.start('before')"), 'f|RUNNING', 'a client asks for it there');
like(as('client', "SELECT durable.start('before', executor_id => 'e')"), qr/permission denied to pass argument "executor_id"/, 'and does not drive it');
is(as('reader', "SELECT durable.count()"), '1', 'a reader reads in it');
like(as('reader', "SELECT durable.start('no')"), qr/permission denied for function start/, 'and no more');
like(as('former', "SELECT durable.count()"), qr/permission denied for schema durable/, 'whom it was taken from has nothing');
is($node->safe_psql($from, "SELECT durable.revoke_from('reader', 'reader')"), '', 'what was restored can be revoked');
like(as('reader', "SELECT durable.count()"), qr/permission denied for schema durable/, 'and is');

# The clock, by ways that are open to a session before the library is loaded: a setting of the role, of the connection.
my $created = q{SELECT abs(extract(epoch FROM created_at - clock_timestamp())) < 1000 FROM durable.list(name => '%s')};
$node->psql($from, 'ALTER ROLE worker SET durable.clock_offset = 100000', extra_params => [ '-U', 'worker' ]);
as('worker', "SELECT durable.start('by role')");
is($node->safe_psql($from, sprintf $created, 'by role'), 't', 'a setting of the role does not move the clock');
{
	local $ENV{PGOPTIONS} = '-c durable.clock_offset=100000';
	as('worker', "SELECT durable.start('by options')");
}
is($node->safe_psql($from, sprintf $created, 'by options'), 't', 'nor does one of the connection');
as('worker', "SET durable.clock_offset = 100000; SELECT durable.start('by set')");
is($node->safe_psql($from, sprintf $created, 'by set'), 't', 'nor does SET');
$node->safe_psql($from, "SET durable.clock_offset = 100000; SELECT durable.start('by superuser')");
is($node->safe_psql($from, sprintf $created, 'by superuser'), 'f', "a superuser's does");

# A role can be dropped once nothing is left.
$node->safe_psql('postgres', 'DROP ROLE former');
for my $db ('old', 'new_c', 'new_p')
{
	$node->safe_psql($db, "SELECT durable.revoke_from('operator', 'reader')");
}
$node->safe_psql('postgres', 'DROP ROLE operator');
ok(1, 'a role can be dropped once it has no level anywhere');

$node->stop;
done_testing();
