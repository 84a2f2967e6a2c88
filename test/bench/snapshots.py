"""Jobs beside a session that keeps an old snapshot, against without."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from dataclasses import dataclass, field

import variants as v
from harness import (FEW, HERE, SEED, Figure, Found, backend_cpu, checkpoint, connect, create, drop, empty, pgbench, say, shuffled,
                     transactions_a_second)
from variants import Variant

JOBS = int(os.environ.get("BENCH_JOBS", 12_000))  # in each of the two databases
SLICES, CLIENTS = 12, 8
LIMIT = 0.9


@dataclass
class Condition:
    text: str
    fill: list[str]
    variant: Variant = field(default_factory=lambda: v.QUEUE)
    held: str = "SELECT count(*) FROM durable.workflow"  # what the old session does, and is told of its snapshot by
    limit: float | None = LIMIT


BACKLOG = f"CALL bench.fill_pending(1, {FEW})"
MINIMAL_BACKLOG = f"INSERT INTO minimal.job (queue, name) SELECT 'q', i::text FROM generate_series(1, {FEW}) i"
CONDITIONS = [
    Condition(f"backlog of {FEW:,}", [BACKLOG]),
    # what the tables alone make of it
    Condition(f"backlog of {FEW:,}, the minimal design", [(HERE / "minimal.sql").read_text(), MINIMAL_BACKLOG], v.MINIMAL,
              held="SELECT count(*) FROM minimal.job", limit=None),
    Condition("drained after each claim", [], v.QUEUE_DRAINED),
    Condition("with an open starter", [], v.QUEUE_DRAINED, held="SELECT durable.start('open', queue => 'q')"),
    Condition("with max_concurrency", [BACKLOG, "SELECT durable.alter_queue('q', max_concurrency => 1000000)"]),
    Condition("with rate_limit", [BACKLOG, "SELECT durable.alter_queue('q', rate_limit => 1000000, rate_limit_window => '1 hour')"]),
    Condition("start and claim only, as the backlog ends", [], v.START_CLAIM),
]


def beside(postmaster: int, condition: Condition, rng: random.Random) -> tuple[list[Figure], list[str]]:
    """In two databases by turns, slice by slice: a snapshot keeps vacuum away from its own database only."""
    say(f"beside an old snapshot: {condition.text}")
    rates, cpu = {"free": [], "held": []}, {"free": [], "held": []}
    for database in rates:
        create(database, empty(), *condition.fill)
        pgbench(condition.variant, CLIENTS, database, "-t", "5")
    checkpoint()
    with ExitStack() as stack:
        session = stack.enter_context(connect("held"))
        stack.enter_context(session.transaction(force_rollback=True))
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        session.execute(condition.held)
        for n in range(SLICES):
            for database in shuffled(rng, ["free", "held"]):
                with backend_cpu(postmaster) as used:
                    output = pgbench(condition.variant, CLIENTS, database, "-t", str(JOBS // SLICES // CLIENTS), seed=SEED + n)
                rates[database].append(transactions_a_second(output))
                cpu[database].append(used[0])
    drop("free", "held")
    ratios = [a / b for a, b in zip(rates["held"], rates["free"])]
    return ([Figure(condition.text, ratios, condition.limit),
             Figure(f"{condition.text}, the last quarter", ratios[-SLICES // 4:], condition.limit),
             Figure(f"{condition.text}, the last quarter, CPU (without : beside)",
                    [a / b for a, b in zip(cpu["free"], cpu["held"])][-SLICES // 4:])],
            [f"{condition.text}: jobs a second, slice by slice, without {', '.join(f'{r:,.0f}' for r in rates['free'])}; "
             f"beside one {', '.join(f'{r:,.0f}' for r in rates['held'])}."])


def snapshots(postmaster: int, rng: random.Random) -> Found:
    """Jobs (start into a queue, claim, complete) by 8 clients, beside a session that keeps a snapshot from before the first : without."""
    found = Found()
    for condition in CONDITIONS:
        figures, notes = beside(postmaster, condition, rng)
        found.figures += figures
        found.notes += notes
    return found
