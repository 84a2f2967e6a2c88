# Encodings of the database: names in ASCII work in each; others do where they have a form in UTF-8, of which the bucket is made,
# and are refused by name where they have none. What is compared and stored besides is bytes.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('encodings');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION durable');

# a name in the bytes of the encoding, and its UTF-8; then bytes of the encoding that have no form in UTF-8
my %encodings = (
	UTF8          => [ 'c3a9', 'c3a9' ],
	LATIN1        => [ 'e9',   'c3a9' ],
	WIN1252       => [ 'e9',   'c3a9',   '81' ],
	EUC_JP        => [ 'c6fc', 'e697a5', 'ada1f5fe' ],
	EUC_JIS_2004  => [ 'c6fc', 'e697a5' ],
	EUC_KR        => [ 'b0a1', 'eab080', 'c9a1' ],
	SQL_ASCII     => [ 'c3a9', 'c3a9',   'e9' ],
	MULE_INTERNAL => [ undef,  undef,    '81e9' ]);

# text of those bytes, as the database has it
sub text { return "convert_from('\\x$_[0]', getdatabaseencoding())" }

for my $encoding (sort keys %encodings)
{
	my ($bytes, $utf8, $bad) = @{ $encodings{$encoding} };
	my $db = lc $encoding;
	my ($out, $err);

  SKIP:
	{
		# 19 has no MULE_INTERNAL any more
		skip "no $encoding in this version", 1
		  if $node->psql('postgres', "CREATE DATABASE $db ENCODING '$encoding' LOCALE 'C' TEMPLATE template0") != 0;
		local $ENV{PGCLIENTENCODING} = 'SQL_ASCII';
		$node->safe_psql($db, q{CREATE EXTENSION durable; SELECT durable.create_queue('q')});
		is($node->safe_psql($db, q{
			SELECT durable.bucket('123456789'), durable.bucket(workflow_id) FROM durable.start('123456789', '{"a": 1}', 'h', 'e');
			SELECT created, durable.bucket(workflow_id) = durable.bucket('b') FROM durable.start_many('{a,b}', queue => 'q') WHERE position = 2;
			SELECT c.action, durable.complete(c.step_id, '"out"') FROM durable.list(name => '123456789') w, durable.claim_step(w.id, 0, 's') c;
			SELECT name FROM durable.claim('q', 'e', 2);
			SELECT count(*) FROM durable.check()}),
			"3632|3632\nt|t\nEXECUTE|t\na\nb\n0", "$encoding: ASCII");
		if (defined $bytes)
		{
			my $name = text($bytes);
			is($node->safe_psql($db, qq{
				SELECT durable.bucket($name), durable.bucket(workflow_id), created FROM durable.start($name);
				SELECT durable.bucket(workflow_id), created FROM durable.start_many(ARRAY['ab', $name || 'b']) WHERE position = 2;
				SELECT created FROM durable.start($name);
				SELECT count(*) FROM durable.list(name => $name)}),
				$node->safe_psql('postgres', sprintf(q{SELECT durable.bucket(n), durable.bucket(n), true FROM convert_from('\x%s', 'UTF8') n;
				SELECT durable.bucket(n || 'b'), true FROM convert_from('\x%1$s', 'UTF8') n}, $utf8)) . "\nf\n1",
				"$encoding: a name has the bucket of its UTF-8 form");
		}
		if (defined $bad)
		{
			my $name = text($bad);
			for my $call ([ 'name', "bucket($name)" ], [ 'name', "start($name)" ], [ 'name', "start($name, queue => 'q')" ],
				[ 'name', "start('a' || $name || 'b')" ], [ 'names', "start_many(ARRAY['c', $name])" ])
			{
				my ($argument, $sql) = @$call;
				$node->psql($db, "SELECT durable.$sql", stderr => \$err, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
				like($err, qr/ERROR:  22023: argument "$argument" must have a form in UTF-8\nDETAIL:  The database is in $encoding, .*\nHINT: /m,
					"$encoding: $sql is refused by name");
			}
			# what needs no bucket is bytes
			is($node->safe_psql($db, qq{
				SELECT c.action FROM durable.start('d', handler => $name, executor_id => $name, app_version => $name) w,
					durable.claim_step(w.workflow_id, 0, $name, executor_id => $name) c;
				SELECT f.status FROM durable.list(handler => $name) w, durable.fail(w.id, $name) f;
				SELECT error = $name FROM durable.list(handler => $name);
				SELECT durable.create_queue($name);
				SELECT created FROM durable.start('e', queue => $name);
				SELECT name, handler IS NULL FROM durable.claim($name, $name)}),
				"EXECUTE\nFAILED\nt\n\nt\ne|t", "$encoding: it may be all else");
		}
		is($node->safe_psql($db, 'SELECT count(*) FROM durable.check()'), '0', "$encoding: no invariant is broken");
	}
}

$node->stop;
done_testing();
