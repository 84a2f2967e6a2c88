"""Workflows of ten steps: against hand-written SQL, against the seed, and in a database of 2 million tasks."""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict

import variants as v
from harness import (FEW_ROUNDS, ROUNDS, Figure, Found, Measured, base, checkpoint, connect, create, drop, empty, measure,
                     medians, pgbench, say, shuffled, table)
from variants import Variant

CLIENTS = [1, 8]
FINISHED = 1_000_000  # finished workflows of one step: 2 million tasks


def written() -> dict[str, tuple[int, int]]:
    """Heap and index bytes per step, of a few hundred workflows in new tables.

    Also makes sure that the raw variants write the same rows as the extension, but for ids, names and times.
    """
    size = """SELECT sum(pg_table_size(r)), sum(pg_indexes_size(r))
        FROM unnest('{durable.workflow, durable.step, seed.task}'::regclass[]) r"""
    rows = """SELECT array_agg(DISTINCT columns) FROM (
            SELECT string_agg(CASE WHEN key ~ '^(root_|workflow_)?id$|_at$|^name$' THEN key ELSE key || ' = ' || value END, ', ')
            FROM (SELECT to_jsonb(w) FROM durable.workflow w UNION ALL SELECT to_jsonb(s) FROM durable.step s) t (r),
                jsonb_each_text(jsonb_strip_nulls(r))
            GROUP BY r) x (columns)"""
    sizes, contents = {}, {}
    for variant in v.MAIN:
        if variant in (v.SEED_REPLAY, v.REPLAY, v.HISTORY):
            sizes[variant.text] = 0, 0
            continue
        say(f"bytes written: {variant.text}")
        create("one", empty())
        with connect("one") as conn:
            before = conn.execute(size).fetchone()
            pgbench(variant, 1, "one", "-t", "200")
            sizes[variant.text] = tuple(round((b - a) / 200 / variant.steps)
                                        for a, b in zip(before, conn.execute(size).fetchone()))
            if variant in (v.RAW_FUSED, v.RAW_TWO, v.CLAIM_COMPLETE, v.COMPLETE_AND_CLAIM):
                contents[variant.text] = conn.execute(rows).fetchone()[0]
    if any(c != contents[v.COMPLETE_AND_CLAIM.text] for c in contents.values()):
        sys.exit(f"Not the same rows:\n{json.dumps(contents, indent=1)}")
    return sizes


def measured(postmaster: int, rng: random.Random) -> dict[tuple[str, int], list[Measured]]:
    """All variants, in a new order each round, but those that are compared next to each other, in one database."""
    create("main", base())
    checkpoint()
    results = defaultdict(list)
    for n in range(ROUNDS):
        say(f"round {n + 1} of {ROUNDS}")
        for clients in CLIENTS:
            for variant in (one for group in shuffled(rng, v.COMPARED) for one in shuffled(rng, group)):
                results[variant.text, clients].append(
                    measure(postmaster, variant, clients, "main", rng.randrange(2**31)))
    return results


def step_ratios(results: dict[tuple[str, int], list[Measured]]) -> list[Figure]:
    def ratio(what: str, over: Variant, under: Variant, clients: int, limit: float, at_least: bool = True,
              field: str = "rate") -> Figure:
        return Figure(f"{what}, {clients} client{'s' * (clients > 1)}",
                     [getattr(a, field) / getattr(b, field)
                      for a, b in zip(results[over.text, clients], results[under.text, clients])], limit, at_least)

    return [
        *(ratio("(d) : raw fused", v.COMPLETE_AND_CLAIM, v.RAW_FUSED, c, 0.85) for c in CLIENTS),
        *(ratio("(d) : (b)", v.COMPLETE_AND_CLAIM, v.SEED, c, 8 if c == 1 else 5) for c in CLIENTS),
        *(ratio("(c) : raw in two transactions", v.CLAIM_COMPLETE, v.RAW_TWO, c, 0.85) for c in CLIENTS),
        *(ratio("WAL per step, (d) : raw fused", v.COMPLETE_AND_CLAIM, v.RAW_FUSED, c, 1.15, False, "wal")
          for c in CLIENTS),
        *(ratio("replay, history : (b)", v.HISTORY, v.SEED_REPLAY, c, 20) for c in CLIENTS)]


def steps(postmaster: int, rng: random.Random) -> Found:
    """What a step costs, by all variants."""
    sizes = written()
    results = measured(postmaster, rng)
    rows = []
    for variant in v.MAIN:
        for clients in CLIENTS:
            m = medians(results[variant.text, clients])
            rows.append([variant.text, str(clients), f"{m.rate:,.0f}", f"{m.cpu:,.0f}", f"{m.wal:,.0f}",
                         f"{variant.round_trips / variant.steps:.1f}", f"{m.transactions:.1f}",
                         *(str(size) for size in sizes[variant.text])])
    drop("one", "main")
    return Found(step_ratios(results), [
        "All but the rate is per step, of workflows of ten steps (in (f) per workflow, without steps). Medians of the rounds.",
        table(["variant", "clients", "steps/s", "CPU us", "WAL bytes", "round trips", "transactions", "heap bytes",
               "index bytes"], rows)])


def growth(postmaster: int, rng: random.Random) -> Found:
    """The same in a database of 2 million tasks against new ones of 10 thousand."""
    say("filling in 2 million tasks")
    create("big", base(), f"CALL bench.fill_finished({FINISHED}, '{v.OUTPUT}')")
    ratios = []
    for variant in v.GROWTH:
        say(f"10 thousand and 2 million tasks: {variant.text}")
        rounds = []
        for _ in range(FEW_ROUNDS):
            create("small", base())
            for database in "small", "big":
                pgbench(variant, 1, database, "-t", "10")
            checkpoint()
            rate = {database: measure(postmaster, variant, 1, database, rng.randrange(2**31)).rate
                    for database in shuffled(rng, ["small", "big"])}
            rounds.append(rate["big"] / rate["small"])
        ratios.append(Figure(f"2 million : 10 thousand tasks, {variant.text}", rounds,
                            None if variant is v.RAW_FUSED else 0.9))
    drop("small", "big")
    return Found(ratios)
