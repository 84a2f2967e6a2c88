# Programs whose every acknowledgement is known: what of it is there after a crash, or a failover?
#
# A program is a psql script: a list of transactions ("groups"), each with the facts that it adds to the database. psql
# prints the number of a group only after the server has answered it: its output is the log of acknowledgements.
#
#   my $programs = Programs->new($directory, $sessions, $workflows)     so many sessions with so many workflows each
#   $programs->prepare($node)               creates the extension and what else they need
#   $programs->run($node)                   starts all, and again later: each goes on where it was
#   $programs->stop_after($node, $steps)    stops the server when so many more steps have been completed
#   $programs->finish                       waits for their end
#   $programs->check_cut_off($node)         after the first run: what is there and what not
#   $programs->check_again($node)           after a later one
#   $programs->check_end($node)             after one that was not stopped

package Programs;

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $STEPS = 7;          # a workflow, without its child

# One group: its SQL, then the acknowledgement.
sub group
{
	my ($program, $sql, @facts) = @_;
	push @{ $program->{facts} }, \@facts;
	return "$sql\n\\echo $#{ $program->{facts} }\n";
}

sub out
{
	my ($name, $sequence) = @_;
	return qq{'"$name/$sequence"'};
}

# A step whose work and checkpoint commit together.
sub transaction_step
{
	my ($p, $name, $w, $lease, $seq) = @_;
	return group($p, qq{
BEGIN;
SELECT action = 'EXECUTE' AS run FROM durable.claim_step(:'$w', $seq, 'tx', kind => 'TRANSACTION', lease => :$lease, executor_id => :'e') \\gset
\\if :run
INSERT INTO ledger VALUES ('$name', $seq);
SELECT durable.complete(durable.step_id(:'$w', $seq), @{[ out($name, $seq) ]}, lease => :$lease) AS done \\gset
\\endif
COMMIT;}, "claim $name $seq 1", "done $name $seq", "ledger $name $seq");
}

sub workflow
{
	my ($p, $name) = @_;
	my $step = sub { return "durable.step_id(:'w', $_[0])" };
	my $claim = sub {
		my ($seq, $more) = @_;
		return "SELECT action = 'EXECUTE' AS run, action = 'EXECUTE' AND attempt = 1 AS first"
		  . " FROM durable.claim_step(:'w', $seq, 'step$seq', lease => :lease, executor_id => :'e'"
		  . ($more // '') . ") \\gset";
	};
	my $next = sub {
		my ($seq) = @_;
		my $to = $seq + 1;
		return "\\if :run\n"
		  . group($p, "SELECT action = 'EXECUTE' AS run FROM durable.complete_and_claim(" . $step->($seq) . ", "
			  . out($name, $seq) . ", 'step$to', lease => :lease, executor_id => :'e') \\gset",
			"done $name $seq", "claim $name $to 1")
		  . "\\else\n" . $claim->($to) . "\n\\endif\n";
	};
	my $done = sub {
		my ($seq) = @_;
		return "\\if :run\n"
		  . group($p, "SELECT durable.complete(" . $step->($seq) . ", " . out($name, $seq)
			  . ", lease => :lease) AS done \\gset", "done $name $seq")
		  . "\\endif\n";
	};

	my $sql = "SELECT NOT EXISTS (SELECT FROM durable.workflow WHERE name = '$name' AND status = 'COMPLETED') AS todo \\gset\n"
	  . "\\if :todo\n";
	$sql .= group($p, "SELECT workflow_id AS w, lease FROM durable.start('$name', executor_id => :'e') \\gset",
		"start $name");

	# 0: a plain step
	$sql .= group($p, $claim->(0), "claim $name 0 1");
	$sql .= $done->(0);
	# 1: a transactional step
	$sql .= transaction_step($p, $name, 'w', 'lease', 1);
	# 2: a step that fails once and is retried
	$sql .= group($p, $claim->(2, ', max_retries => 9'), "claim $name 2 1");
	$sql .= "\\if :first\n";
	$sql .= group($p, "SELECT status AS failed FROM durable.fail(" . $step->(2) . ", 'boom', lease => :lease) \\gset",
		"fail $name 2 1");
	$sql .= group($p, $claim->(2, ', max_retries => 9'), "claim $name 2 2");
	$sql .= "\\endif\n";
	$sql .= $done->(2);
	# 3 to 5: one transaction a step
	$sql .= group($p, $claim->(3), "claim $name 3 1");
	$sql .= $next->(3);
	$sql .= $next->(4);
	$sql .= $done->(5);
	# 6: a child workflow with one step
	$sql .= group($p, "SELECT workflow_id AS c, lease AS clease, status <> 'COMPLETED' AS run"
		  . " FROM durable.start_child(:'w', 6, '$name-child', lease => :lease) \\gset",
		"child $name 6", "start $name-child");
	$sql .= "\\if :run\n";
	$sql .= transaction_step($p, "$name-child", 'c', 'clease', 0);
	$sql .= group($p, "SELECT durable.complete(:'c', " . out($name, 6) . ", lease => :clease) AS done \\gset",
		"end $name-child", "done $name 6");
	$sql .= "\\endif\n";
	$sql .= group($p, "SELECT durable.complete(:'w', '\"$name\"', lease => :lease) AS done \\gset", "end $name");
	return $sql . "\\endif\n";
}

sub new
{
	my ($class, $dir, $sessions, $workflows) = @_;
	my @programs;
	for my $i (1 .. $sessions)
	{
		my $p = { facts => [], file => "$dir/s$i.sql" };
		my $sql = "\\set ON_ERROR_STOP 1\n\\set e 'executor $i'\n";
		$sql .= workflow($p, "s$i-w$_") for 1 .. $workflows;
		append_to_file($p->{file}, $sql);
		push @programs, $p;
	}
	return bless { dir => $dir, programs => \@programs, workflows => $sessions * $workflows, runs => 0 }, $class;
}

sub prepare
{
	my ($self, $node) = @_;
	$node->safe_psql('postgres', 'CREATE EXTENSION durable; CREATE TABLE ledger (workflow text, sequence int)');
	return;
}

# ---- running and stopping ---------------------------------------------------------------------------------------------

sub run
{
	my ($self, $node) = @_;
	my $run = ++$self->{runs};
	for my $p (@{ $self->{programs} })
	{
		$p->{log} = "$p->{file}.$run.log";
		$p->{handle} = IPC::Run::start([ 'psql', '-XAtq', '-f', $p->{file}, '-d', $node->connstr('postgres') ],
			'<', \undef, '>', $p->{log}, '2>', "$p->{log}.err");
	}
	return;
}

# Waits for all programs, which end with a code of that pattern.
sub finish
{
	my ($self, $code, $name) = @_;
	my @programs = @{ $self->{programs} };
	$_->{handle}->finish for @programs;
	like(join(' ', map { $_->{handle}->result(0) } @programs), qr/^(?:$code(?: |$)){${\ scalar @programs}}$/, $name)
	  or diag(map { slurp_file("$_->{log}.err") } @programs);
	return;
}

sub stop_after
{
	my ($self, $node, $steps) = @_;
	my $done = q{SELECT count(*) FROM durable.step WHERE status = 'COMPLETED'};
	$steps += $node->safe_psql('postgres', $done);
	$node->poll_query_until('postgres', "SELECT ($done) >= $steps") or die "the programs do not get on";
	$node->stop('immediate');
	# 2: the connection is lost; 3: and psql had sent the next statement
	$self->finish('[23]', 'every session was cut off in the middle');
	return;
}

# ---- looking ----------------------------------------------------------------------------------------------------------

# The group numbers that the last run has acknowledged, in order.
sub acknowledged
{
	my ($p) = @_;
	return split /\n/, slurp_file($p->{log});
}

# Every fact in the database: name of the session => { fact => 1 }.
sub facts
{
	my ($self, $node) = @_;
	my $rows = $node->safe_psql('postgres', q{
		SELECT 'start ' || name FROM durable.workflow
		UNION ALL SELECT 'end ' || name FROM durable.workflow WHERE status = 'COMPLETED'
		UNION ALL
		SELECT format('claim %s %s %s', w.name, s.sequence, a)
		FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id, generate_series(1, s.attempt) a
		WHERE s.kind <> 'WORKFLOW'
		UNION ALL
		SELECT format('child %s %s', w.name, s.sequence)
		FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE s.kind = 'WORKFLOW'
		UNION ALL
		SELECT format('done %s %s', w.name, s.sequence)
		FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id WHERE s.status = 'COMPLETED'
		UNION ALL
		SELECT format('fail %s %s %s', w.name, s.sequence, a)
		FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id, generate_series(1, s.retry_count) a
		UNION ALL SELECT format('ledger %s %s', workflow, sequence) FROM ledger});
	my @facts = map { {} } @{ $self->{programs} };
	for my $fact (split /\n/, $rows)
	{
		my ($i) = $fact =~ /^\w+ s(\d+)-w/ or die "whose is $fact?";
		$facts[ $i - 1 ]{$fact}++;
	}
	return @facts;
}

# The database of each session is exactly what its program has written after n groups, or n + 1, where n have been
# acknowledged.
sub check_cut_off
{
	my ($self, $node) = @_;
	my @now = $self->facts($node);
	for my $i (0 .. $#now)
	{
		my $p = $self->{programs}[$i];
		my @acks = acknowledged($p);
		my $n = @acks;
		cmp_ok($n, '>', 20, "session $i: $n transactions acknowledged");
		is_deeply(\@acks, [ 0 .. $n - 1 ], "session $i: in order");

		my %expected = map { $_ => 1 } map { @$_ } @{ $p->{facts} }[ 0 .. $n - 1 ];
		my %inflight = map { $_ => 1 } @{ $p->{facts}[$n] };
		my @lost = grep { !$now[$i]{$_} } sort keys %expected;
		my @found = grep { !$expected{$_} } sort keys %{ $now[$i] };
		is_deeply(\@lost, [], "session $i: nothing acknowledged is lost");
		if (@found)
		{
			is_deeply(\@found, [ sort keys %inflight ], "session $i: the transaction in flight is there as a whole");
		}
		else
		{
			pass("session $i: nothing else is there");
		}
		is_deeply([ grep { $now[$i]{$_} > 1 } sort keys %{ $now[$i] } ], [], "session $i: nothing is there twice");
		$p->{known} = { %{ $now[$i] } };
	}
	is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
	return;
}

# The same programs have run again: they replay, so only outcomes are compared; what a rerun claims again is another
# attempt.
sub check_again
{
	my ($self, $node) = @_;
	my @now = $self->facts($node);
	for my $i (0 .. $#now)
	{
		my $p = $self->{programs}[$i];
		my @acks = acknowledged($p);
		cmp_ok(scalar(@acks), '>', 5, "session $i: it got on");
		$p->{known}{$_} = 1 for map { @{ $p->{facts}[$_] } } @acks;
		my $outcome = qr/^(?:start|end|child|done|ledger) /;
		my @lost = grep { /$outcome/ && !$now[$i]{$_} } sort keys %{ $p->{known} };
		is_deeply(\@lost, [], "session $i: nothing acknowledged is lost, now or from before");

		my %group;    # fact => number of its group
		for my $g (0 .. $#{ $p->{facts} })
		{
			$group{$_} = $g for @{ $p->{facts}[$g] };
		}
		my %unknown = map { $group{$_} => 1 } grep { /$outcome/ && !$p->{known}{$_} } keys %{ $now[$i] };
		cmp_ok(scalar(keys %unknown), '<=', 1, "session $i: at most the one transaction in flight more");
		is_deeply([ grep { $now[$i]{$_} > 1 } sort keys %{ $now[$i] } ], [], "session $i: nothing is there twice");
	}
	is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
	return;
}

sub check_end
{
	my ($self, $node) = @_;
	my $workflows = 2 * $self->{workflows};
	my $steps = $self->{workflows} * ($STEPS + 1);
	is($node->safe_psql('postgres', q{SELECT status, count(*), count(DISTINCT name) FROM durable.workflow GROUP BY status}),
		join('|', 'COMPLETED', $workflows, $workflows), 'every workflow is complete, once');
	is($node->safe_psql('postgres', q{SELECT status, count(*) FROM durable.step GROUP BY status}),
		"COMPLETED|$steps", 'every step is complete');
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id
		WHERE s.output <> to_jsonb(w.name || '/' || s.sequence)}), '0', 'with the output that it was given');
	is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT (workflow, sequence)) FROM ledger}),
		join('|', ($workflows) x 2), 'every transactional write happened once');
	is($node->safe_psql('postgres', q{
		SELECT count(*) FROM durable.step WHERE kind = 'STEP' AND sequence <> 2 AND attempt > 3}), '0',
		'no step ran more often than it was interrupted');
	is($node->safe_psql('postgres', 'SELECT * FROM durable.check()'), '', 'no invariant is broken');
	return;
}

1;
