# The background worker: it calls tick in the databases of durable.databases that have the extension, is in nobody's way, and
# comes back whatever happens to it.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $conf = "shared_preload_libraries = 'durable'\ndurable.databases = 'app, other, \"Odd, name\", missing'\n";

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "${conf}restart_after_crash = on\n");
$node->start;

sub psql { my ($db, $sql, $server) = @_; return ($server // $node)->safe_psql($db, $sql); }

sub workers
{
	my ($server) = @_;
	return psql('postgres', q{SELECT coalesce(string_agg(datname, '; ' ORDER BY datname), '') FROM pg_stat_activity WHERE backend_type = 'durable worker'},
		$server);
}

sub worker_pid { return psql('postgres', "SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'durable worker' AND datname = '$_[0]'"); }

# Waits until those databases have a worker, and no others.
sub has_workers
{
	my ($expected, $name, $server) = @_;
	my $until = time + 20;
	sleep 0.05 while workers($server) ne $expected && time < $until;
	is(workers($server), $expected, $name);
	return;
}

my $ticks = q{SELECT count(*) FROM durable.workflow};

# Something ticks there: the schedule gets two more runs.
sub ticks_in
{
	my ($db, $name, $server) = @_;
	my $before = psql($db, $ticks, $server);
	my $until = time + 20;
	sleep 0.1 while psql($db, $ticks, $server) < $before + 2 && time < $until;
	cmp_ok(psql($db, $ticks, $server), '>=', $before + 2, $name);
	return;
}

my $create = q{
	CREATE EXTENSION durable;
	SELECT durable.create_queue('q');
	SELECT durable.create_schedule('s', '* * * * * *', 'q', overlap => 'all');
};

# So the launcher begins workers at once that have ended within their first minute.
sub reload { psql('postgres', 'SELECT pg_reload_conf()'); return; }

# ---- the extension comes and goes
is(psql('postgres', q{SELECT backend_type FROM pg_stat_activity WHERE backend_type LIKE 'durable%'}), 'durable launcher', 'the launcher alone');
psql('postgres', $_) for 'CREATE DATABASE app', 'CREATE DATABASE other', 'CREATE DATABASE "Odd, name"', 'CREATE DATABASE unlisted';
psql($_, $create) for 'app', 'Odd, name', 'unlisted';
reload();
has_workers('Odd, name; app', 'one for each listed database with the extension');
ticks_in('app', 'it ticks');
ticks_in('Odd, name', 'also there');
is(psql('unlisted', $ticks), '0', 'but not where it is not listed');

is(psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'durable%' AND
	(backend_xmin IS NOT NULL AND state = 'idle' OR xact_start IS NOT NULL AND state = 'idle')}), '0', 'asleep, they hold no snapshot');

# what it writes, vacuum knows of
psql('app', q{SELECT pg_sleep(1.5)});
cmp_ok(psql('app', q{SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'schedule'}), '>', 0, 'statistics are told');

my $began = time;
psql('app', 'DROP EXTENSION durable');
cmp_ok(time - $began, '<', 5, 'DROP EXTENSION does not wait for it');
has_workers('Odd, name', 'no extension, no worker');
psql('app', $create);
reload();
has_workers('Odd, name; app', 'CREATE EXTENSION');
ticks_in('app', 'it ticks in the new one');

# a DROP EXTENSION that is rolled back, as one that lasts
{
	my ($in, $out, $err) = ("BEGIN; DROP EXTENSION durable; SELECT 'dropped';\n", '', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app') ], '<', \$in, '>', \$out, '2>', \$err);
	$session->pump until $out =~ /dropped/;
	has_workers('Odd, name', 'who drops the extension is alone');
	$in .= "ROLLBACK;\n\\q\n";
	$session->finish;
	reload();
	has_workers('Odd, name; app', 'until he has not');
}

# ---- SIGHUP
$node->append_conf('postgresql.conf', "durable.databases = '*'\n");
reload();
has_workers('Odd, name; app; unlisted', '*: all that have the extension');
ticks_in('unlisted', 'it ticks there, too');
$node->append_conf('postgresql.conf', "durable.databases = ''\n");
reload();
has_workers('', 'none is listed');
$node->append_conf('postgresql.conf', "durable.databases = 'app; other'\n");
reload();
has_workers('', 'no list: it stays as it was');
like(slurp_file($node->logfile), qr/invalid value for parameter "durable.databases"/, 'and that is logged');
$node->append_conf('postgresql.conf', "durable.databases = 'app, other'\n");
psql('postgres', q{ALTER DATABASE app SET durable.retention = '0 s'});
reload();
has_workers('app', 'listed again');
psql('app', q{SELECT durable.start('old'); SELECT durable.complete(id) FROM durable.workflow WHERE name = 'old'});
ok($node->poll_query_until('app', q{SELECT count(*) = 0 FROM durable.workflow WHERE name = 'old'}), 'it purges by the setting of the database');
psql('postgres', q{ALTER DATABASE app RESET durable.retention});

# ---- DROP DATABASE, ALTER DATABASE, CREATE DATABASE from it
$began = time;
psql('postgres', 'CREATE DATABASE copy TEMPLATE app');
cmp_ok(time - $began, '<', 6, 'CREATE DATABASE from a template where it works');
reload();
has_workers('app', 'it goes on there, and not in the copy');
psql('postgres', 'ALTER DATABASE app RENAME TO app2');
reload();
has_workers('', 'ALTER DATABASE RENAME: the new name is not listed');
psql('postgres', 'ALTER DATABASE app2 RENAME TO app');
reload();
has_workers('app', 'the old one is');
$began = time;
psql('postgres', 'DROP DATABASE app');
cmp_ok(time - $began, '<', 6, 'DROP DATABASE');
has_workers('', 'it is gone');
psql('postgres', 'ALTER DATABASE copy RENAME TO app');
reload();
has_workers('app', 'another database of that name');
ticks_in('app', 'is as good');
{
	my $before = worker_pid('app');
	psql('postgres', 'CREATE DATABASE app3 TEMPLATE app');
	psql('postgres', 'DROP DATABASE app3 WITH (FORCE)');
	psql('postgres', 'ALTER DATABASE app ALLOW_CONNECTIONS false');
	reload();
	has_workers('', 'no connections are allowed');
	psql('postgres', 'ALTER DATABASE app ALLOW_CONNECTIONS true');
	reload();
	has_workers('app', 'they are again');
	cmp_ok(worker_pid('app'), '!=', $before, 'as another process');
}

# ---- ALTER EXTENSION UPDATE: it goes on
psql('app', q{CREATE OR REPLACE FUNCTION durable.tick(max_rows int = 1000) RETURNS int AS '$libdir/durable', 'durable_tick' LANGUAGE C STRICT});
psql('app', q{ALTER TABLE durable.schedule ADD COLUMN later text});
ticks_in('app', 'the schema has changed under it');
psql('app', q{UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'durable'; ALTER FUNCTION durable.tick(int) COST 10});
reload();
sleep 2;
my $old = () = slurp_file($node->logfile) =~ /is older than its library/g;
is($old, 1, 'an older schema: an error, and no loop');
psql('app', q{UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'durable'});
reload();
has_workers('app', 'updated');
ticks_in('app', 'it ticks after the update');

# ---- a broken schema
psql('app', 'ALTER TABLE durable.schedule RENAME COLUMN cron TO norc');
sleep 4;
my $errors = () = slurp_file($node->logfile) =~ /ERROR: .*"?cron"? does not exist/g;
is($errors, 1, 'a broken schema is logged, but not again and again');
has_workers('', 'it has given up for now');
psql('app', 'ALTER TABLE durable.schedule RENAME COLUMN norc TO cron');
reload();
has_workers('app', 'mended');
ticks_in('app', 'it ticks again');

# ---- another backend crashes
{
	my ($in, $out, $err) = ("SELECT pg_backend_pid();\n", '', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
	$session->pump until $out =~ /(\d+)\n/;
	kill 'KILL', $1;
	eval { $session->finish };
	$node->poll_query_until('postgres', 'SELECT true') or die;
	has_workers('app', 'after a crash of another backend');
	ticks_in('app', 'it ticks after a crash');
}

# ---- the launcher ends, or a worker does
psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'durable worker'});
reload();
has_workers('app', 'after a worker was terminated');
{
	my $before = worker_pid('app');
	psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'durable launcher'});
	ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $before"), 'the launcher takes its workers with it');
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'durable launcher'}), 'it begins again');
	has_workers('app', 'and one worker with it');
}

# ---- no room for another worker
psql('other', 'CREATE EXTENSION durable');
$node->append_conf('postgresql.conf', "max_worker_processes = 2\nmax_logical_replication_workers = 0\n");
$node->stop;
$node->start;
sleep 1;
is(scalar(my @one = split /; /, workers()), 1, 'one worker has room beside the launcher');
my $warnings = () = slurp_file($node->logfile) =~ /no background worker is left/g;
is($warnings, 1, 'that is logged once');
$node->append_conf('postgresql.conf', "max_worker_processes = 8\n");
$node->stop;
$node->start;
has_workers('app; other', 'with more room both');
psql('other', 'DROP EXTENSION durable');
has_workers('app', 'one is enough');

# ---- a standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
sleep 1;
is(psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'durable%'}, $standby), '0', 'nothing on a standby');
$standby->promote;
has_workers('app', 'promoted', $standby);
ticks_in('app', 'it ticks there', $standby);
$standby->stop;

my $version = psql('postgres', 'SHOW server_version_num');

# ---- fast shutdown while a standby is waited for
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'\n");
reload();
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'durable worker' AND wait_event = 'SyncRep'}),
	'it waits for a standby that is not there');
$began = time;
$node->stop('fast');
cmp_ok(time - $began, '<', 30, 'a fast shutdown ends that');
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");

# ---- pg_upgrade
SKIP:
{
	my $library = $node->config_data('--pkglibdir') . '/durable.so';
	skip 'from 18 on pg_upgrade finds a library only where the server is installed', 6 if $version >= 180000 && !-e $library;
	my $new = PostgreSQL::Test::Cluster->new('new');
	$new->init;
	$new->append_conf('postgresql.conf', "${conf}log_min_messages = debug1\n");
	$node->append_conf('postgresql.conf', "log_min_messages = debug1\n");
	my $bindir = $node->config_data('--bindir');
	chdir PostgreSQL::Test::Utils::tempdir();
	$node->command_ok([ "$bindir/pg_upgrade", '--no-sync', '--retain', '-b', $bindir, '-B', $bindir, '-d', $node->data_dir, '-D', $new->data_dir,
		'-s', $new->host, '-p', $node->port, '-P', $new->port, '-U', 'postgres' ], 'pg_upgrade');
	my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/*server*.log';
	cmp_ok(scalar @logs, '>', 0, 'it has left logs');
	unlike(join('', map { slurp_file($_) } @logs), qr/durable launcher/, 'no launcher during pg_upgrade');
	$new->start;
	has_workers('Odd, name; app', 'in the new server', $new);
	ticks_in('app', 'it ticks after the upgrade', $new);
	is(psql('app', 'SELECT * FROM durable.check()', $new), '', 'no invariant is broken');
}

done_testing();
