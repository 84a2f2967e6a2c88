# Many sessions hammer a tree of five levels (claims, completions, failures, new children) while it is paused, resumed,
# cancelled, failed and run again. Once a cascade has committed nothing in the tree becomes RUNNING; nothing deadlocks;
# no invariant is ever broken, seen in one snapshot in the middle of it or at the end.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $HAMMERS = 6;
my $PLAIN = 2;        # that run without a subtransaction
my $PAUSES = 7;
my $dir = PostgreSQL::Test::Utils::tempdir();

my $node = PostgreSQL::Test::Cluster->new('hammer');
$node->init;
$node->append_conf('postgresql.conf', "max_connections = 40\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION durable;
	CREATE TABLE log (op text, result text);

	-- the root; a random workflow of its tree, from level `low` down
	CREATE FUNCTION root() RETURNS uuid LANGUAGE sql STABLE AS
		$$SELECT id FROM durable.workflow WHERE name = 'r'$$;
	CREATE FUNCTION anyone(low int) RETURNS durable.workflow LANGUAGE sql AS
		$$SELECT * FROM durable.workflow
		  WHERE array_length(string_to_array(name, '.'), 1) >= low ORDER BY random() LIMIT 1$$;

	-- Workflow 'r.1.2' is the child at position 102 of 'r.1'. Positions 0 to 99 are steps, those from 101 on children.
	CREATE FUNCTION grow(parent uuid, parent_name text, levels int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 3 LOOP
			EXIT WHEN levels = 0;
			PERFORM grow(c.workflow_id, parent_name || '.' || i, levels - 1)
			FROM durable.start_child(parent, 100 + i, parent_name || '.' || i) c;
		END LOOP;
	END $$;

	-- One call on a random task of the tree.
	CREATE FUNCTION hammer() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		dice int := floor(random() * 100);
		w durable.workflow := anyone(1);
		pos int := floor(random() * 100);
		child int := 1 + floor(random() * 4);
		s durable.step;
		step uuid;
	BEGIN
		IF dice BETWEEN 40 AND 79 THEN
			SELECT * INTO s FROM durable.step WHERE status = 'RUNNING' AND kind = 'STEP' ORDER BY random() LIMIT 1;
			IF FOUND THEN
				step := durable.step_id(s.workflow_id, s.sequence);
			ELSE
				dice := 0;
			END IF;
		END IF;
		IF dice < 40 THEN
			PERFORM durable.claim_step(w.id, pos, 'step', max_retries => 2,
				lease => CASE WHEN random() < 0.5 THEN w.lease END);
			RETURN 'claim';
		ELSIF dice < 53 THEN
			PERFORM durable.complete(step, to_jsonb(dice), attempt => s.attempt);
			RETURN 'complete';
		ELSIF dice < 66 THEN
			PERFORM durable.fail(step, 'boom', attempt => s.attempt);
			RETURN 'fail';
		ELSIF dice < 80 THEN
			PERFORM durable.complete_and_claim(step, to_jsonb(dice), 'step', sequence => pos, max_retries => 2);
			RETURN 'complete_and_claim';
		ELSIF dice < 90 THEN
			IF array_length(string_to_array(w.name, '.'), 1) = 5 THEN
				RETURN 'none';
			END IF;
			PERFORM durable.start_child(w.id, 100 + child, w.name || '.' || child);
			RETURN 'start_child';
		ELSIF dice < 97 THEN
			IF (SELECT action FROM durable.claim_step(w.id, pos, 'step', max_retries => 2)) = 'EXECUTE' THEN
				PERFORM durable.complete(durable.step_id(w.id, pos), to_jsonb(dice));
			END IF;
			RETURN 'claim and complete';
		ELSIF dice = 97 THEN
			PERFORM durable.attach(root(), 'executor', takeover => true);
			RETURN 'attach';
		END IF;
		w := anyone(3);
		IF dice = 98 THEN
			PERFORM durable.fail(w.id, 'boom');
			RETURN 'fail child';
		END IF;
		PERFORM durable.complete(w.id, '1');
		RETURN 'complete child';
	END $$;
	CREATE FUNCTION cascade(op text, low int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		w durable.workflow := anyone(low);
	BEGIN
		CASE op
			WHEN 'pause' THEN PERFORM durable.pause_tree(w.id);
			WHEN 'resume' THEN PERFORM durable.resume_tree(w.id);
			WHEN 'cancel' THEN PERFORM durable.cancel_tree(w.id);
		END CASE;
		RETURN op;
	END $$;
	-- The same in a subtransaction, and logged.
	CREATE FUNCTION logged(call text) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		op text;
	BEGIN
		EXECUTE 'SELECT ' || call INTO op;
		INSERT INTO log VALUES (op, 'ok');
	EXCEPTION WHEN OTHERS THEN
		INSERT INTO log VALUES (call, CASE WHEN SQLSTATE LIKE 'WF%' THEN SQLSTATE ELSE SQLSTATE || ' ' || SQLERRM END);
	END $$;

	-- What stands when a cascade commits, taken in its own transaction.
	CREATE TABLE stood_steps (workflow_id uuid, sequence int, attempt int);
	CREATE TABLE stood_workflows (id uuid, lease int);
	CREATE FUNCTION stand() RETURNS void LANGUAGE sql AS $$
		TRUNCATE stood_steps, stood_workflows;
		INSERT INTO stood_steps SELECT workflow_id, sequence, attempt FROM durable.step;
		INSERT INTO stood_workflows SELECT id, lease FROM durable.workflow;
	$$;
	-- What has started since.
	CREATE FUNCTION started_since() RETURNS SETOF text LANGUAGE sql AS $$
		SELECT format('step %s of %s: attempt %s after %s', s.sequence, s.workflow_id, s.attempt, o.attempt)
		FROM durable.step s LEFT JOIN stood_steps o USING (workflow_id, sequence)
		WHERE o.attempt IS NULL OR s.attempt > o.attempt
		UNION ALL
		SELECT format('workflow %s: %s, lease %s after %s', w.name, w.status, w.lease, o.lease)
		FROM durable.workflow w LEFT JOIN stood_workflows o USING (id)
		WHERE o.id IS NULL OR w.lease > o.lease OR w.status IN ('RUNNING', 'PENDING')
	$$;

	SELECT grow(workflow_id, 'r', 4) FROM durable.start('r');
});
is($node->safe_psql('postgres', 'SELECT count(*) FROM durable.workflow'), '121', 'a tree of five levels');

# ---- the hammers ------------------------------------------------------------------------------------------------------

append_to_file("$dir/hammer.sql", "SELECT logged('hammer()');\n");
append_to_file("$dir/cascade.sql", ("SELECT logged('cascade(''pause'', 2)');\n" . "SELECT logged('cascade(''resume'', 1)');\n" x 3) x 8
	. "SELECT logged('cascade(''cancel'', 4)');\n");
append_to_file("$dir/plain.sql", "\\set VERBOSITY sqlstate\nSELECT hammer();\n" x 100000);

my $commands = 0;

sub in_background
{
	my (@command) = @_;
	my $n = ++$commands;
	return {
		log => "$dir/background$n",
		handle => IPC::Run::start([@command], '<', \undef, '>', "$dir/background$n.out", '2>', "$dir/background$n"),
	};
}

my @hammers = in_background('pgbench', '-n', '-c', $HAMMERS, '-j', 2, '-T', 600, '-f', "$dir/hammer.sql",
	'-d', $node->connstr('postgres'));
push @hammers, in_background('psql', '-XAtq', '-f', "$dir/plain.sql", '-d', $node->connstr('postgres'))
  for 1 .. $PLAIN;

# Runs a cascade on the root and looks, while the hammers go on, that nothing starts until the next one. A fail is none:
# it does not wait for open claims, which may commit after it, so here it does.
my @problems;

sub standstill
{
	my ($what, $sql) = @_;
	if ($what eq 'fail')
	{
		my $now = $node->safe_psql('postgres', "$sql; SELECT clock_timestamp()");
		$now =~ s/.*\n//s;
		$node->poll_query_until('postgres', qq{
			SELECT count(*) = 0 FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND xact_start <= '$now' AND pid <> pg_backend_pid()})
		  or die 'a transaction does not end';
		$sql = 'SELECT 1';
	}
	$node->safe_psql('postgres', "BEGIN; $sql; SELECT stand(); COMMIT;");
	for (1 .. 2)
	{
		usleep(100_000);
		look("after $what", 'SELECT started_since()');
	}
}

# What is broken, seen in one snapshot; and what another query finds.
sub look
{
	my ($when, $query) = @_;
	push @problems, map { "$when: $_" } split /\n/, $node->safe_psql('postgres', q{
		BEGIN ISOLATION LEVEL REPEATABLE READ;
		SELECT problem, count(*) FROM durable.check() GROUP BY problem;
		} . ($query // 'COMMIT'));
}

for my $round (1 .. $PAUSES)
{
	usleep(300_000);
	look('while hammered');
	standstill('pause_tree', 'SELECT durable.pause_tree(root())');
	$node->safe_psql('postgres', 'SELECT durable.resume_tree(root())');
	usleep(200_000);
	# it fails, and everything inline below it; then it runs again: the hammers' start_child wakes the children
	if ($round % 2)
	{
		standstill('fail', q{SELECT durable.fail(root(), 'boom')});
		$node->safe_psql('postgres', 'SELECT durable.resume_failed(root())');
	}
	last if @problems;
}
is_deeply(\@problems, [], 'nothing starts under a committed pause or failure, no invariant is broken');

# ---- cascades at once on overlapping subtrees -------------------------------------------------------------------------

my $cascades = in_background('pgbench', '-n', '-c', 3, '-j', 1, '-T', 4, '-f', "$dir/cascade.sql", '-d',
	$node->connstr('postgres'));
for (1 .. 10)
{
	usleep(300_000);
	look('among cascades');
	last if @problems;
}
$cascades->{handle}->finish;
is($cascades->{handle}->result(0), 0, 'cascades at once on overlapping subtrees');
is_deeply(\@problems, [], 'no invariant is broken among cascades');

# ---- the end ----------------------------------------------------------------------------------------------------------

standstill('cancel_tree', 'SELECT durable.cancel_tree(root())');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM durable.task WHERE status NOT IN ('COMPLETED', 'FAILED', 'CANCELLED')}), '0',
	'after cancel_tree every task is terminal');
is_deeply(\@problems, [], 'nothing starts under a committed cancel, no invariant is broken');

for my $hammer (@hammers)
{
	$hammer->{handle}->signal('TERM');
	$hammer->{handle}->finish;
}

# What the hammers have seen: only what is promised, no deadlock, and enough of everything.
my @allowed = qw(WF002 WF004 WF005 WF008 WF011);
my $allowed = join '|', @allowed;
is($node->safe_psql('postgres',
	"SELECT result, count(*) FROM log WHERE result <> 'ok' AND result !~ '^($allowed)\$' GROUP BY result"), '',
	'no other error than ' . join(' ', @allowed));
my @strange;
for my $hammer (@hammers[ 1 .. $PLAIN ])
{
	# a line that it was writing when it was ended is no line
	push @strange, grep { !/ERROR:\s+($allowed)$/ } split /\n/, slurp_file($hammer->{log}) =~ s/[^\n]*\z//r;
}
is_deeply(\@strange, [], 'nor outside a subtransaction');
my $counts = $node->safe_psql('postgres', q{
	SELECT op || ' ' || count(*) FROM log WHERE result = 'ok' GROUP BY op ORDER BY op});
note("calls that succeeded:\n$counts");
note('calls refused: ' . $node->safe_psql('postgres',
	q{SELECT string_agg(result || ' ' || n, ', ') FROM (SELECT result, count(*) n FROM log WHERE result <> 'ok' GROUP BY result) x}));
for my $op ('attach', 'cancel', 'claim', 'claim and complete', 'complete', 'complete child', 'complete_and_claim', 'fail',
	'fail child', 'pause', 'resume', 'start_child')
{
	like($counts, qr/^$op \d+$/m, "$op succeeded");
}

is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken at the end');

$node->stop;
done_testing();
