# ALTER EXTENSION durable UPDATE under work in flight. The next release is made here: the same library with another
# version number, and test/upgrade/durable--1.0--1.1.sql. It is installed over this one, as a package would be, while
# sessions are open: those go on with the library that they have loaded, before and after the update. New ones are told
# what to do until somebody does it, and then go on as well.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../perl";
use InFlight;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $OLD = '1.0';
my $NEW = '1.1';
my $top = "$FindBin::RealBin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir();

# ---- the version stands in one place ----------------------------------------------------------------------------------

my ($version) = slurp_file("$top/durable.control") =~ /^default_version = '([\d.]+)'$/m;
my $meta = decode_json(slurp_file("$top/META.json"));
my $provided = $meta->{provides}{durable};
like($meta->{version}, qr/^\Q$version\E\.\d+$/, 'the version of META.json is that of the control file');
is($provided->{version}, $meta->{version}, 'so is that of what it provides');
is($provided->{file}, "durable--$version.sql", 'by its script');
like(slurp_file("$top/CHANGELOG.md"), qr/^## \Q$version\E$/m, 'CHANGELOG.md has a section for it');
ok(-f "$top/durable--$version.sql", 'its script is there');
is($version, $OLD, 'the next release can be made from it') or die "let test/upgrade start from $version";

# ---- two releases -----------------------------------------------------------------------------------------------------

# Where a server looks for what `make install DESTDIR` has installed, see scripts/with-cluster.
my $root = "$dir/root";
my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
my ($pkglibdir) = run_command([ 'pg_config', '--pkglibdir' ]);
my ($settings) = run_command([ 'postgres', '--describe-config' ]);
my $conf = "dynamic_library_path = '$root$pkglibdir:\$libdir'\n";
if ($settings =~ /^extension_destdir\t/m)
{
	$conf .= "extension_destdir = '$root'\n";
}
elsif ($settings =~ /^extension_control_path\t/m)
{
	$conf .= "extension_control_path = '$root$sharedir:\$system'\n";
}
else
{
	note 'this server finds extensions in its own directories only: the update is not tried';
	done_testing();
	exit 0;
}

my $build = "$dir/build";
mkdir $build;
system_or_bail('cp', '-pR', (map { "$top/$_" } qw(Makefile durable.control exports.txt src)), glob("$top/durable--*.sql"), $build);

sub make_install
{
	system_or_bail('make', '-s', '--no-print-directory', '-C', $build, 'with_llvm=no', 'install', "DESTDIR=$root");
}

# Replaces in a file what must be there.
sub edit
{
	my ($file, %replace) = @_;
	my $text = slurp_file($file);
	for my $from (sort keys %replace)
	{
		$text =~ s/\Q$from\E/$replace{$from}/ or die "$file has no $from";
	}
	unlink $file;
	append_to_file($file, $text);
}

my $upgrade = "durable--$OLD--$NEW.sql";

sub make_next_release
{
	system_or_bail('cp', "$top/test/upgrade/$upgrade", $build);
	edit("$build/durable.control", "default_version = '$OLD'" => "default_version = '$NEW'");
	# the whole script of the release, written as its author would
	my $script = slurp_file("$top/test/upgrade/$upgrade");
	my ($view) = $script =~ /CREATE OR REPLACE (VIEW .*?;)/s;
	my ($added) = $script =~ /(CREATE TABLE durable\.remark.*?)\n-- an argument/s;
	my ($revoked) = $script =~ /(\n-- Nothing is PUBLIC's.*)/s;
	my ($is_completed) = $script =~ /(CREATE FUNCTION durable\.is_completed.*?;)\n/s;
	my $full = slurp_file("$top/durable--$OLD.sql");
	my ($old_view) = $full =~ /CREATE (VIEW durable\.task .*?;)/s;
	my ($old_function) = $full =~ /(CREATE FUNCTION durable\.is_completed.*?;)\n/s;
	append_to_file("$build/durable--$NEW.sql", $full . $added . $revoked);
	edit("$build/durable--$NEW.sql",
		$old_view => $view,
		$old_function => $is_completed,
		'COMMENT ON FUNCTION durable.is_completed(uuid)' => 'COMMENT ON FUNCTION durable.is_completed(uuid, text)',
		"\trecorded_at timestamptz,\n\tCONSTRAINT step_pkey" => "\trecorded_at timestamptz,\n\tnote text COLLATE \"C\",\n\tCONSTRAINT step_pkey",
		"CONSTRAINT queue_pkey PRIMARY KEY (name)\n) WITH (fillfactor = 50)"
		  => "CONSTRAINT queue_pkey PRIMARY KEY (name)\n) WITH (fillfactor = 70)");
}

make_install();
my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
$node->append_conf('postgresql.conf', $conf);
$node->start;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(work restored versions waits);
begin_work($node, 'work');
my @columns = columns($node, 'work');
my $contents = contents($node, 'work');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", 'work' ], 'a dump of the old release');

# How a call ends where the database says it is at some version.
sub call_at
{
	my ($at) = @_;
	return $node->safe_psql('work', qq{
		BEGIN;
		UPDATE pg_extension SET extversion = '$at' WHERE extname = 'durable';
		SELECT refused('SELECT durable.status(wf(''run''))');
	});
}
is(call_at($_), '55000', "library $OLD on schema $_: too old") for qw(0.9 0.10 0.11.1);
is(call_at($_), 'done', "library $OLD on schema $_: goes on") for qw(1.0 1.0.1 1.1 1.10 2.0 10.0);

# Sessions with a cached plan of everything: all that goes on goes on, and is taken back.
my %old = map { $_ => session($node, 'work') } qw(a b c);

sub rehearse
{
	my ($session, $name) = @_;
	$session->('BEGIN');
	is_deeply(go_on($session), $name);
	$session->('ROLLBACK');
	is(contents($node, 'work', @columns), $contents, 'and a rollback takes all of it back');
}
rehearse($old{$_}, "session $_, before the new library: all work goes on") for sort keys %old;

# One that waits, in a database of its own, since it also does what time has brought there.
$node->safe_psql('waits', q{CREATE EXTENSION durable; SELECT durable.create_queue('q')});
my $waiter = session($node, 'waits');
is($waiter->(q{CALL durable.wait_for_work('waiter', '{q}', '0')}), 'timeout', 'a session that will wait');

# Plans of callers, of a function that will be another one, and of a row type that will have one column more.
$old{b}->("PREPARE is_completed AS SELECT durable.is_completed(wf('completed'));\n"
	. "PREPARE all_columns AS SELECT * FROM durable.list(name => 'completed')");
my $one = $old{b}->('EXECUTE all_columns');
is($old{b}->('EXECUTE is_completed'), 't', 'a statement that a session has prepared');

# ---- the new library on the old schema --------------------------------------------------------------------------------

make_next_release();
make_install();

my $new = session($node, 'work');
my $answer = $new->("\\set VERBOSITY verbose\nSELECT durable.status(wf('run'))");
like($answer, qr/ERROR:  55000: extension "durable" in this database is older than its library$/m,
	'a new session is told so');
like($answer, qr/^DETAIL:  The extension is at version 1\.0, the library at 1\.1\.$/m, 'with both versions');
like($answer, qr/^HINT:  Run ALTER EXTENSION durable UPDATE in this database\.$/m, 'and what to do');

# 18 can tell which library a session has loaded
if ($node->pg_version >= 18)
{
	my $loaded = q{SELECT version FROM pg_get_loaded_modules() WHERE module_name = 'durable'};
	is($new->($loaded), $NEW, 'the new session has the new library');
	is($old{a}->($loaded), $OLD, 'the old one has the old one');
}

# but for what runs no statement of the library: some look at no table, others are SQL of the schema's own version
my $own_version = qr/^(all_below|bucket|buckets|by_age|check|clock|count|entries|executors|filters|is_dead|latest_started|left_to_statements|list|lock_key|metrics|next_runs|require_bucket|require_count|schedules|session_ended|signs_of_life|stale_before|standing|statements|stats|step_id|stuck|tree|wake_mode)$/;
for my $function (functions($node, 'work'))
{
	my $call = $calls{$function} // "'an unknown function: add it to %calls in test/perl/InFlight.pm'::regproc";
	if ($function =~ /^wait_for_/)	# a procedure, which runs in no function
	{
		like($new->("\\set VERBOSITY verbose\nCALL $call"), qr/ERROR:  55000/, "$function in a new session");
		next;
	}
	is($new->("SELECT refused(\$\$SELECT $call\$\$)"),
		$function =~ $own_version ? 'done' : '55000', "$function in a new session");
}
is(call_at($_), '55000', "library $NEW on schema $_: too old") for qw(1.0 1.0.9 1);
is(call_at($_), 'done', "library $NEW on schema $_: goes on") for qw(1.1 1.10 2.0);
is(contents($node, 'work'), $contents, 'nothing has been written');
rehearse($old{a}, 'an open session goes on with what it has loaded');

# ---- the update -------------------------------------------------------------------------------------------------------

# taken back, in a session that has a plan of everything
$old{a}->("BEGIN;\nALTER EXTENSION durable UPDATE");
is_deeply(go_on($old{a}), 'all work goes on in the transaction that updates');
$old{a}->('ROLLBACK');
is(contents($node, 'work'), $contents, 'nothing has changed when that is rolled back');
rehearse($old{a}, 'and all work goes on again in that session');
is($new->(q{SELECT refused($$SELECT durable.status(wf('run'))$$)}), '55000', 'a new session is told the same');

# for good: it waits for a transaction that has called the extension, and whoever comes then waits for it
$old{b}->("BEGIN;\nSELECT durable.claim_step(wf('claimed'), 0, 'meanwhile', lease => 1)");
$old{a}->('ALTER EXTENSION durable UPDATE', 1);
$node->poll_query_until('work', q{
	SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'ALTER EXTENSION%' AND wait_event_type = 'Lock'})
  or die 'the update does not wait';
$old{c}->(q{SELECT action FROM durable.claim_step(wf('claimed'), 0, 'meanwhile')}, 1);
$node->poll_query_until('work', q{
	SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'relation'})
  or die 'nobody waits for the update';
is($old{b}->(q{SELECT durable.complete(durable.step_id(wf('claimed'), 0), lease => 1)}), 't',
	'a transaction that was there before the update goes on');
$old{b}->('COMMIT');
like($old{a}->("SELECT extversion FROM pg_extension WHERE extname = 'durable'"), qr/^(sent\n)?$NEW$/, 'the update is done');
like($old{c}->("SELECT 'after'"), qr/^(sent\n)?REPLAY\nafter$/, 'who waited for it gets an answer');
is($old{a}->(q{SELECT durable.status(durable.step_id(wf('claimed'), 0))}), 'COMPLETED', 'what was committed before is there');
$node->safe_psql('work', q{DELETE FROM durable.step WHERE name = 'meanwhile'});
is(contents($node, 'work', @columns), $contents, 'and every row is there as it was');
is($node->safe_psql('work', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');

# who waits meanwhile, in the old library: it goes on, and has the work that the new one makes
$waiter->(q{CALL durable.wait_for_work('waiter', '{q}', '60 s')}, 1);
$node->poll_query_until('waits', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'waits' AND wait_event_type = 'Extension'}) or die 'it does not wait';
$node->safe_psql('waits', 'ALTER EXTENSION durable UPDATE');
$node->safe_psql('waits', q{SELECT durable.start('job', queue => 'q')});
my $waited = time;
like($waiter->(q{SELECT name FROM durable.claim('q', 'waiter')}), qr/^(sent\n)?work\njob$/, 'who waits over the update has the work that comes then');
cmp_ok(time - $waited, '<', 10, 'soon');
$waiter->();

# the row type of list has one column more than the old library knows
is($_->(q{SELECT count(*) > 20, count(note) FROM durable.list()}), 't|0', 'list answers') for $new, values %old;
is($_->(q{SELECT durable.is_completed(wf('completed'), 'note')}), 't', 'so does a function with one more argument')
  for $new, values %old;
is($old{b}->('EXECUTE is_completed'), 't', 'a prepared statement goes on');
is($old{b}->('EXECUTE all_columns'), $one, 'one with an asterisk over what has more columns now, too');
is($old{b}->("DEALLOCATE all_columns;\nSELECT * FROM durable.list(name => 'completed')"), "$one|", 'with them, once it is prepared anew');
is($old{a}->(q{SELECT refused($$SELECT durable.grant_to('pg_monitor', 'reader')$$)}), '55000',
	'only grant_to wants a session that knows the new functions');
is_deeply(go_on(@old{qw(a b c)}, $new, answer_of($node, 'work')),
	'all work goes on: in the session that has updated, in others that were open, in new ones');
$_->() for $new, values %old;

# ---- the same session, again and again --------------------------------------------------------------------------------

my $s = session($node, 'versions');
$s->("CREATE FUNCTION refused(sql text) RETURNS text LANGUAGE plpgsql AS
	\$\$BEGIN EXECUTE sql; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END\$\$");
my @functions = (q{SELECT durable.release('f')}, q{SELECT durable.start('a', executor_id => 'e')}, q{SELECT durable.heartbeat('e')});

sub ends_with
{
	my ($what, $state) = @_;
	is(join(' ', map { $s->("SELECT refused(\$\$$_\$\$)") } @functions), join(' ', ($state) x @functions), $what);
}
$s->("CREATE EXTENSION durable VERSION '$OLD'");
ends_with('created at the old version', '55000');
$s->('ALTER EXTENSION durable UPDATE');
ends_with('updated', 'done');
$s->("DROP EXTENSION durable;\nCREATE EXTENSION durable VERSION '$OLD'");
ends_with('dropped, and created at the old version', '55000');
$s->("DROP EXTENSION durable;\nCREATE EXTENSION durable");
ends_with('created at the new version', 'done');
$s->("BEGIN;\nDROP EXTENSION durable;\nCREATE EXTENSION durable VERSION '$OLD'");
ends_with('and at the old one in a transaction', '55000');
$s->('ROLLBACK');
ends_with('that is rolled back', 'done');
$s->();

# ---- an updated schema is that of the new release ---------------------------------------------------------------------

# What pg_upgrade would make of the extension: all its objects, one by one, with comments and privileges.
sub schema
{
	my ($db) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '-s', '--binary-upgrade', '-d', $node->connstr($db) ]);
	$out =~ s/^SELECT pg_catalog\.binary_upgrade_set_next.*\n//mg;
	$out =~ s/oid = '\d+'/OID/g;
	$out =~ s/relfrozenxid = '\d+', relminmxid = '\d+'/XIDS/g;
	$out =~ s/'\{[\d,]+\}'/OIDS/g;
	$out =~ s/^\\(un)?restrict .*\n//mg;
	return [ split /\n/, $out . $node->safe_psql($db, q{
		SELECT extversion, ARRAY(SELECT c::regclass::text FROM unnest(extconfig) c ORDER BY 1), extcondition
		FROM pg_extension WHERE extname = 'durable'}) ];
}
# of every upgrade script that there is
my $fresh;
for my $script (glob("$build/durable--*--*.sql"))
{
	my ($from, $to) = $script =~ /--([\d.]+)--([\d.]+)\.sql$/;
	for my $db (qw(fresh updated))
	{
		$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $db");
		$node->safe_psql('postgres', "CREATE DATABASE $db");
	}
	$node->safe_psql('fresh', "CREATE EXTENSION durable VERSION '$to'");
	$node->safe_psql('updated', "CREATE EXTENSION durable VERSION '$from'; ALTER EXTENSION durable UPDATE TO '$to'");
	$fresh = schema('fresh');
	is_deeply(schema('updated'), $fresh, "$from updated to $to is as $to created");
}
ok(scalar(grep { /^CREATE TABLE durable\.remark/ } @$fresh), 'the objects of the extension have been compared');
ok(scalar(grep { /^REVOKE ALL ON FUNCTION durable\.remark/ } @$fresh), 'and their privileges');
$node->safe_psql('updated', 'ALTER TABLE durable.executor ALTER last_seen SET DEFAULT now()');
isnt(join("\n", @{ schema('updated') }), join("\n", @$fresh), 'a difference would be found');

# ---- a dump of the old release goes into the new one ------------------------------------------------------------------

$node->command_ok([ 'pg_restore', '-e', '-d', 'restored', "$dir/dump" ], 'pg_restore into the new release');
is($node->safe_psql('restored', q{SELECT extversion FROM pg_extension WHERE extname = 'durable'}), $NEW, 'which it becomes');
is(contents($node, 'restored', @columns), $contents, 'every row is there');
is_deeply(go_on(answer_of($node, 'restored')), 'and all work goes on');

$node->stop;
done_testing();
