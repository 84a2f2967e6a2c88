"""Jobs: start into a queue, claim, complete; against a minimal design, and in batches against graphile-worker's statements."""

from __future__ import annotations

import os
import random
import re
import subprocess
import tempfile
from collections import defaultdict

import variants as v
from harness import (FEW_ROUNDS, HERE, ROUNDS, SECONDS, Figure, Found, base, checkpoint, connect, create, drop, measure, medians,
                     pgbench, say, set_server, shuffled, table)
from variants import Variant

CLIENTS = [1, 8, 32]
BACKLOG = 1_000
WAL_JOBS = 3_000
SINGLE = "start, claim, complete : minimal"
BATCH = "batches of 100 : graphile-worker's"
LONGER = 10  # times as long, for what a design leaves behind until it is vacuumed


def rates(postmaster: int, rng: random.Random) -> Found:
    pairs = [(SINGLE, v.QUEUE, v.MINIMAL, CLIENTS, 0.8), (BATCH, v.QUEUE_MANY, v.GRAPHILE_MANY, [1, 8], 0.9)]
    results = defaultdict(list)
    for n in range(ROUNDS):
        say(f"queues, round {n + 1} of {ROUNDS}")
        for _, ours, other, clients, _ in shuffled(rng, pairs):
            for number in clients:
                for variant in shuffled(rng, [ours, other]):
                    results[variant.text, number].append(measure(postmaster, variant, number, "jobs", rng.randrange(2**31)))
    figures, rows = [], []
    for text, ours, other, clients, limit in pairs:
        for number in clients:
            figures.append(Figure(f"{text}, {number} client{'s' * (number > 1)}",
                                  [a.rate / b.rate for a, b in zip(results[ours.text, number], results[other.text, number])], limit))
            figures.append(Figure("the same, CPU a job (theirs : ours)",
                                  [b.cpu / a.cpu for a, b in zip(results[ours.text, number], results[other.text, number])]))
            for variant in ours, other:
                m = medians(results[variant.text, number])
                rows.append([variant.text, str(number), f"{m.rate:,.0f}", f"{m.cpu:,.0f}", f"{m.wal:,.0f}"])
    return Found(figures, [table(["variant", "clients", "jobs/s", "CPU us", "WAL bytes"], rows)])


def longer(postmaster: int, rng: random.Random) -> list[Figure]:
    """Batches for as long as matters where work does not end."""
    figures = []
    for number in 1, 8:
        ratios = []
        for n in range(FEW_ROUNDS):
            say(f"batches, longer, {number} client{'s' * (number > 1)}, round {n + 1} of {FEW_ROUNDS}")
            found = {variant.text: measure(postmaster, variant, number, "jobs", rng.randrange(2**31), LONGER * SECONDS).rate
                     for variant in shuffled(rng, [v.QUEUE_MANY, v.GRAPHILE_MANY])}
            ratios.append(found[v.QUEUE_MANY.text] / found[v.GRAPHILE_MANY.text])
        figures.append(Figure(f"{BATCH}, {number} client{'s' * (number > 1)}, {LONGER} times as long", ratios, 0.9))
    return figures


def position() -> str:
    with connect("jobs") as conn:
        return conn.execute("SELECT pg_current_wal_lsn()").fetchone()[0]


def wal_of(variant: Variant) -> tuple[float, str, str]:
    """WAL bytes of a job, by one client, after a checkpoint and without vacuum, with the first and last position."""
    pgbench(variant, 1, "jobs", "-t", str(max(10, 100 // variant.steps)))
    checkpoint()
    with connect("jobs") as conn:
        conn.execute("SELECT pg_switch_wal()")
    first = position()
    pgbench(variant, 1, "jobs", "-t", str(WAL_JOBS // variant.steps))
    last = position()
    with connect("jobs") as conn:
        return float(conn.execute("SELECT %s::pg_lsn - %s::pg_lsn", [last, first]).fetchone()[0]) / WAL_JOBS, first, last


def records(first: str, last: str) -> list[tuple[str, int, int]]:
    """The kinds of record between two positions, with their number and bytes, as pg_waldump tells them."""
    with connect("jobs") as conn:
        data = conn.execute("SHOW data_directory").fetchone()[0]
    done = subprocess.run(["pg_waldump", "--stats=record", "-p", f"{data}/pg_wal", "-s", first, "-e", last],
                          capture_output=True, text=True, check=True)
    found = re.findall(r"^(\S+)\s+(\d+) \([^)]*\)\s+\d+ \([^)]*\)\s+\d+ \([^)]*\)\s+(\d+) \(", done.stdout, re.M)
    return [(kind, int(count), int(size)) for kind, count, size in found if kind != "Total"]


def wal() -> Found:
    found = Found()
    set_server("autovacuum", "off")
    kinds, sizes = defaultdict(dict), {}
    for variant, limit in (v.QUEUE, 1000), (v.MINIMAL, None), (v.QUEUE_MANY, 800), (v.GRAPHILE_MANY, None):
        say(f"WAL: {variant.text}")
        sizes[variant.text], first, last = wal_of(variant)
        found.figures.append(Figure(f"WAL bytes of a job: {variant.text}", [sizes[variant.text]], limit, False))
        if os.environ.get("BENCH_WAL"):
            for kind, count, size in records(first, last):
                if count >= WAL_JOBS / 200:
                    kinds[kind][variant.text] = f"{count / WAL_JOBS:.2f} / {size / WAL_JOBS:.0f}"
    set_server("autovacuum", None)
    if kinds:
        found.notes.append("WAL records of a job: their number / their bytes.\n\n" + table(
            ["record", *sizes], [[kind, *(row.get(text, "") for text in sizes)] for kind, row in sorted(kinds.items())]))
    return found


def instructions() -> list[str]:
    """Of the part of test/bench/instructions that is about queues, if there is a valgrind."""
    if not os.environ.get("BENCH_INSTRUCTIONS"):
        return []
    say("instructions")
    done = subprocess.run([str(HERE / "instructions"), "queue"], capture_output=True, text=True)
    return [done.stdout.strip() or done.stderr.strip()]


def queues(postmaster: int, rng: random.Random) -> Found:
    """A job: start into a queue, claim, complete, beside a backlog of 1,000, against a minimal design; batches of 100 against
    the statements of graphile-worker."""
    create("jobs", base(), (HERE / "minimal.sql").read_text(),
           f"INSERT INTO minimal.job (queue, name) SELECT 'q', i::text FROM generate_series(1, {BACKLOG}) i",
           "SELECT count(*) FROM graphile.add(ARRAY(SELECT ROW('task', NULL, NULL, NULL, NULL, NULL, NULL, NULL)::graphile.spec "
           f"FROM generate_series(1, {BACKLOG})))")
    checkpoint()
    found, written = rates(postmaster, rng), wal()
    lasting = longer(postmaster, rng)
    drop("jobs")
    return Found(found.figures + lasting + written.figures, found.notes + written.notes + instructions())
