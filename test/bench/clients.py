"""Steps by many clients at once, against raw SQL."""

from __future__ import annotations

import random
from collections import defaultdict

import variants as v
from harness import ROUNDS, Figure, Found, base, checkpoint, create, drop, measure, say, shuffled, table

CLIENTS = [1, 8, 32, 64]
PAIRS = [("(d) : raw fused", v.COMPLETE_AND_CLAIM, v.RAW_FUSED), ("(c) : raw in two transactions", v.CLAIM_COMPLETE, v.RAW_TWO)]
LIMIT = 0.95


def clients(postmaster: int, rng: random.Random) -> Found:
    """Steps by 1 to 64 clients, against the same rows written by raw SQL."""
    create("many", base())
    checkpoint()
    quotients, rates, cpu = defaultdict(list), defaultdict(list), defaultdict(list)
    for n in range(ROUNDS):
        say(f"many clients, round {n + 1} of {ROUNDS}")
        for number in CLIENTS:
            for text, ours, raw in shuffled(rng, PAIRS):
                found = {variant.text: measure(postmaster, variant, number, "many", rng.randrange(2**31))
                         for variant in shuffled(rng, [ours, raw])}
                quotients[text, number].append(found[ours.text].rate / found[raw.text].rate)
                for variant in ours, raw:
                    rates[variant.text, number].append(found[variant.text].rate)
                    cpu[variant.text, number].append(found[variant.text].cpu)
    drop("many")
    middle = lambda values: sorted(values)[len(values) // 2]
    return Found(
        [Figure(f"{text}, {number} client{'s' * (number > 1)}", quotients[text, number], LIMIT)
         for text, _, _ in PAIRS for number in CLIENTS],
        [table(["variant", *(f"steps/s by {n}" for n in CLIENTS), *(f"CPU us by {n}" for n in CLIENTS)],
               [[variant.text, *(f"{middle(rates[variant.text, n]):,.0f}" for n in CLIENTS),
                 *(f"{middle(cpu[variant.text, n]):,.0f}" for n in CLIENTS)]
                for _, ours, raw in PAIRS for variant in (ours, raw)])])
