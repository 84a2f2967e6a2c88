"""Batches against as many single calls, with fsync and without."""

from __future__ import annotations

import random

import variants as v
from harness import FEW_ROUNDS, Figure, Found, checkpoint, create, drop, empty, measure, say, set_server, shuffled

PAIRS_CPU = 0.25


def batches(postmaster: int, rng: random.Random) -> Found:
    """Batches against as many single calls, one client, with fsync and without."""
    create("batches", empty())
    checkpoint()
    found = Found()
    for fsync in "on", "off":
        set_server("fsync", fsync)
        for text, many, single, limit in [*v.BATCHES, v.PAIRS] if fsync == "on" else v.BATCHES:
            say(f"{text}, fsync {fsync}")
            rates, cpus = [], []
            for _ in range(FEW_ROUNDS):
                measured = {variant.text: measure(postmaster, variant, 1, "batches", rng.randrange(2**31))
                            for variant in shuffled(rng, [many, single])}
                rates.append(measured[many.text].rate / measured[single.text].rate)
                cpus.append(measured[many.text].cpu / measured[single.text].cpu)
            found.figures.append(Figure(f"{text}, fsync {fsync}", rates, limit))
            if many is v.PAIRS[1]:
                found.figures.append(Figure("the same, CPU of the server", cpus, PAIRS_CPU, at_least=False))
    set_server("fsync", None)
    drop("batches")
    return found
