# 24 sessions make the same call at once: one of them does it, the others get their answer, nobody an error.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $SESSIONS = 24;
my $ROUNDS = 3;
my $others = $SESSIONS - 1;
my $dir = PostgreSQL::Test::Utils::tempdir();

my $node = PostgreSQL::Test::Cluster->new('race');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 60\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION durable;
	CREATE TABLE log (round text, answer text, id uuid);
	CREATE TABLE ledger (round text);
	CREATE FUNCTION wf(n text) RETURNS uuid LANGUAGE sql AS
		'SELECT id FROM durable.workflow WHERE name = n ORDER BY id DESC LIMIT 1';
});

# Runs `script` once in each session, for several rounds. In it :r is the round's name. `setup` runs before each round.
# The answers that the script has put into the log must be `expected` in every round: "count answer", sorted.
sub race
{
	my ($what, $setup, $script, @expected) = @_;
	my $file = "$dir/race.sql";
	for my $round (1 .. $ROUNDS)
	{
		my $name = "$what $round";
		(my $before = $setup) =~ s/:r\b/'$name'/g;
		(my $sql = $script) =~ s/:r\b/'$name'/g;
		$node->safe_psql('postgres', $before) if $before;
		unlink $file;
		append_to_file($file, $sql);
		my ($stdout, $stderr);
		my $ok = $node->run_log(
			[ 'pgbench', '-n', '-c', $SESSIONS, '-j', 4, '-t', 1, '-f', $file, 'postgres' ],
			'>', \$stdout, '2>', \$stderr);
		my $answers = $node->safe_psql('postgres',
			"SELECT count(*) || ' ' || answer FROM log WHERE round = '$name' GROUP BY answer ORDER BY answer");
		ok($ok && $stderr !~ /aborted|ERROR/, "$name: no session saw an error") or diag($stderr);
		is($answers, join("\n", @expected), "$name: the answers");
		is($node->safe_psql('postgres', "SELECT count(DISTINCT id) FROM log WHERE round = '$name'"), '1',
			"$name: all speak of one task");
	}
}

my $start = q{INSERT INTO log SELECT :r, concat_ws(' ', created, status, lease, owner), workflow_id FROM };
my $claim = q{INSERT INTO log SELECT :r, concat_ws(' ', action, output, attempt), step_id FROM };

race('start', '', "$start durable.start(:r);", "$others f RUNNING 1", '1 t RUNNING 1');

race('start after a finished run',
	'SELECT durable.complete(workflow_id) FROM durable.start(:r)',
	"$start durable.start(:r);", "$others f RUNNING 1", '1 t RUNNING 1');

# Each comes with its own executor: the creator owns it, the others join an owner that lives.
race('start as owner', '',
	q{INSERT INTO log SELECT :r, concat_ws(' ', created, status, lease), workflow_id FROM durable.start(:r, executor_id => :r || :client_id);},
	"$others f RUNNING 1", '1 t RUNNING 1');

# Nobody owns it: one becomes the owner, the others join that one.
race('attach', 'SELECT durable.start(:r)',
	q{INSERT INTO log SELECT :r, concat_ws(' ', status, lease, owner = :r || :client_id), wf(:r) FROM durable.attach(wf(:r), :r || :client_id);},
	"$others RUNNING 2 f", '1 RUNNING 2 t');

race('claim_step', 'SELECT durable.start(:r)',
	"$claim durable.claim_step(wf(:r), 0, 'step');", '1 EXECUTE 1', "$others LOCKED 1");

race('claim of a step that is due again',
	q{SELECT durable.start(:r);
	  SELECT durable.claim_step(wf(:r), 0, 'step', max_retries => 3);
	  SELECT durable.fail(durable.step_id(wf(:r), 0), 'boom')},
	"$claim durable.claim_step(wf(:r), 0, 'step', max_retries => 3);", '1 EXECUTE 2', "$others LOCKED 2");

race('claim of a step under an older lease',
	q{SELECT durable.start(:r);
	  SELECT durable.claim_step(wf(:r), 0, 'step');
	  SELECT durable.attach(wf(:r), 'someone')},
	"$claim durable.claim_step(wf(:r), 0, 'step', lease => 2);", '1 EXECUTE 2', "$others LOCKED 2");

race('start_child', 'SELECT durable.start(:r)',
	q{INSERT INTO log SELECT :r, concat_ws(' ', created, status, lease), workflow_id FROM durable.start_child(wf(:r), 3, 'child');},
	"$others f RUNNING 1", '1 t RUNNING 1');

race('complete a step', q{SELECT durable.start(:r); SELECT durable.claim_step(wf(:r), 0, 'step')},
	q{INSERT INTO log SELECT :r, durable.complete(durable.step_id(wf(:r), 0), '[1]')::text, durable.step_id(wf(:r), 0);},
	"$others false", '1 true');

race('complete a workflow', 'SELECT durable.start(:r)',
	q{INSERT INTO log SELECT :r, durable.complete(wf(:r), '[1]')::text, wf(:r);}, "$others false", '1 true');

race('fail a step', q{SELECT durable.start(:r); SELECT durable.claim_step(wf(:r), 0, 'step', max_retries => 9)},
	q{INSERT INTO log SELECT :r, concat_ws(' ', status, retry_count), durable.step_id(wf(:r), 0)
	  FROM durable.fail(durable.step_id(wf(:r), 0), 'boom', attempt => 1);},
	"$SESSIONS PENDING 1");

race('complete_and_claim', q{SELECT durable.start(:r); SELECT durable.claim_step(wf(:r), 0, 'step')},
	"$claim durable.complete_and_claim(durable.step_id(wf(:r), 0), '[1]', 'next');",
	'1 EXECUTE 1', "$others LOCKED 1");

# The transactional step: claim, the user's write and the checkpoint in one transaction. One runs, the others replay.
race('transaction', 'SELECT durable.start(:r)', q{
BEGIN;
SELECT step_id AS id, concat_ws(' ', action, output) AS answer, (action = 'EXECUTE')::int AS run
FROM durable.claim_step(wf(:r), 0, 'step', kind => 'TRANSACTION') \gset
\if :run
INSERT INTO ledger VALUES (:r);
SELECT durable.complete(durable.step_id(wf(:r), 0), '[1]');
\endif
COMMIT;
INSERT INTO log VALUES (:r, ':answer', ':id');
}, '1 EXECUTE', "$others REPLAY [1]");
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT round) FROM ledger'), "$ROUNDS|$ROUNDS",
	'the write of a transactional step happened once a round');

# Under REPEATABLE READ and SERIALIZABLE the losers may get 40001, never a wrong answer.
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	for my $round (1 .. $ROUNDS)
	{
		my $name = "$level $round";
		my $file = "$dir/level.sql";
		unlink $file;
		append_to_file($file, qq{
BEGIN ISOLATION LEVEL $level;
INSERT INTO log SELECT '$name start', created::text, workflow_id FROM durable.start('$name');
COMMIT;
});
		# pgbench tries again after 40001
		$node->command_ok(
			[ 'pgbench', '-n', '-c', $SESSIONS, '-j', 4, '-t', 1, '--max-tries=100', '-f', $file, 'postgres' ],
			"$name: starts, tried again after 40001");
		unlink $file;
		append_to_file($file, qq{
BEGIN ISOLATION LEVEL $level;
INSERT INTO log SELECT '$name claim', action::text, step_id FROM durable.claim_step(wf('$name'), 0, 'step');
COMMIT;
});
		$node->command_ok(
			[ 'pgbench', '-n', '-c', $SESSIONS, '-j', 4, '-t', 1, '--max-tries=100', '-f', $file, 'postgres' ],
			"$name: claims, tried again after 40001");
		is($node->safe_psql('postgres', qq{
			SELECT answer, count(*), count(DISTINCT id) FROM log WHERE round LIKE '$name %' GROUP BY answer ORDER BY answer}),
			"EXECUTE|1|1\nLOCKED|$others|1\nfalse|$others|1\ntrue|1|1", "$name: one creates, one executes");
	}
}

is($node->safe_psql('postgres', 'SELECT count(*) FROM durable.workflow'),
	$node->safe_psql('postgres', 'SELECT count(DISTINCT id) FROM durable.workflow'), 'no id twice');
is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');

$node->stop;
done_testing();
