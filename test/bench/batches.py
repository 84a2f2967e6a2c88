"""Batches against as many single calls: bench imports this."""

from __future__ import annotations

import random
from typing import Any, Callable

import psycopg

from variants import BATCHES, PAIRS, Variant

PAIRS_CPU = 0.25


def batches(measure: Callable[[Variant, int], Any], connect: Callable[[], psycopg.Connection], rounds: int,
            rng: random.Random) -> list[tuple[str, list[float], float, bool]]:
    """What is compared, the quotients of each round, the target, and whether to be at least that; with fsync and without.

    measure gives the rate and cpu of a variant with that seed, connect a connection of a superuser.
    """
    def fsync(value: str) -> None:
        with connect() as conn:
            conn.execute(f"ALTER SYSTEM SET fsync = {value}")
            conn.execute("SELECT pg_reload_conf()")

    results = []
    for value in "on", "off":
        fsync(value)
        for text, many, single, limit in [*BATCHES, PAIRS] if value == "on" else BATCHES:
            rates, cpus = [], []
            for _ in range(rounds):
                found = {variant.text: measure(variant, rng.randrange(2**31)) for variant in rng.sample([many, single], 2)}
                rates.append(found[many.text].rate / found[single.text].rate)
                cpus.append(found[many.text].cpu / found[single.text].cpu)
            results.append((f"{text}, fsync {value}", rates, limit, True))
            if many is PAIRS[1]:
                results.append(("the same, CPU of the server", cpus, PAIRS_CPU, False))
    fsync("on")
    return results
