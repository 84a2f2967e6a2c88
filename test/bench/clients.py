"""Steps by many clients at once, against raw SQL."""

from __future__ import annotations

import random
from collections import defaultdict
from statistics import mean, median

import variants as v
from harness import (ROUNDS, SECONDS, Figure, Found, backend_cpu, base, checkpoint, create, drop, pgbench, pgbench_progress, say,
                     shuffled, table)
from variants import Variant

CLIENTS = [1, 8, 32, 64]
PAIRS = [("(d) : raw fused", v.COMPLETE_AND_CLAIM, v.RAW_FUSED), ("(c) : raw in two transactions", v.CLAIM_COMPLETE, v.RAW_TWO)]
LIMIT = 0.95
WARM_UP = 1  # seconds
LENGTH = 4 * SECONDS  # of a run: in one second each of 64 clients would do a few workflows


def rates(variant: Variant, number: int, seed: int) -> tuple[float, float]:
    """Steps a second, without the first second and with it: new sessions load the library and plan."""
    seconds = pgbench_progress(variant, number, "many", LENGTH + WARM_UP, seed)
    return mean(seconds[WARM_UP:]) * variant.steps, mean(seconds) * variant.steps


def clients(postmaster: int, rng: random.Random) -> Found:
    """Steps by 1 to 64 clients, against the same rows written by raw SQL: without the first second of the sessions, and with it."""
    create("many", base())
    checkpoint()
    warm, cold, ours_and_raw, session = defaultdict(list), defaultdict(list), defaultdict(list), defaultdict(list)
    for n in range(ROUNDS):
        say(f"many clients, round {n + 1} of {ROUNDS}")
        for number in CLIENTS:
            for text, ours, raw in shuffled(rng, PAIRS):
                found = {variant.text: rates(variant, number, rng.randrange(2**31)) for variant in shuffled(rng, [ours, raw])}
                warm[text, number].append(found[ours.text][0] / found[raw.text][0])
                cold[text, number].append(found[ours.text][1] / found[raw.text][1])
                for variant in ours, raw:
                    ours_and_raw[variant.text, number].append(found[variant.text][0])
        for _, ours, raw in PAIRS:
            for variant in shuffled(rng, [ours, raw]):
                with backend_cpu(postmaster) as used:
                    pgbench(variant, CLIENTS[-1], "many", "-t", "1")
                session[variant.text].append(used[0] / CLIENTS[-1] / 1000)
    drop("many")
    found = Found()
    for text, _, _ in PAIRS:
        for number in CLIENTS:
            found.figures.append(Figure(f"{text}, {number} client{'s' * (number > 1)}", warm[text, number], LIMIT))
        found.figures.append(Figure(f"{text}, {CLIENTS[-1]} clients, with the first second of new sessions", cold[text, CLIENTS[-1]]))
    found.notes.append(table(
        ["variant", *(f"steps/s by {n}" for n in CLIENTS), "ms CPU of a new session's first workflow"],
        [[variant.text, *(f"{median(ours_and_raw[variant.text, n]):,.0f}" for n in CLIENTS), f"{median(session[variant.text]):.1f}"]
         for _, ours, raw in PAIRS for variant in (ours, raw)]))
    return found
