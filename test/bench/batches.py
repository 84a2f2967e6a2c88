"""Batches of 100 against as many single calls, with fsync and without."""

from __future__ import annotations

import random

import variants as v
from harness import FEW_ROUNDS, Figure, Found, checkpoint, create, drop, empty, measure, say, set_server, shuffled

LIMIT = 5


def batches(postmaster: int, rng: random.Random) -> Found:
    """Batches of 100 against as many single calls, one client, with fsync and without."""
    create("batches", empty())
    checkpoint()
    found = Found()
    for fsync in "on", "off":
        set_server("fsync", fsync)
        for text, many, single in v.BATCHES:
            say(f"{text}, fsync {fsync}")
            quotients = []
            for _ in range(FEW_ROUNDS):
                rates = {variant.text: measure(postmaster, variant, 1, "batches", rng.randrange(2**31)).rate
                         for variant in shuffled(rng, [many, single])}
                quotients.append(rates[many.text] / rates[single.text])
            found.figures.append(Figure(f"{text}, fsync {fsync}", quotients, LIMIT))
    set_server("fsync", None)
    drop("batches")
    return found
