"""Batches of 100 against as many single calls: bench imports this."""

from __future__ import annotations

import random
from typing import Callable

import psycopg

from variants import BATCHES, Variant

LIMIT = 5


def batches(measure: Callable[[Variant, int], float], connect: Callable[[], psycopg.Connection], rounds: int,
            rng: random.Random) -> list[tuple[str, list[float], float]]:
    """What is compared, the quotients of rates of each round, and the target; with fsync and without.

    measure gives the rate of a variant with that seed, connect a connection of a superuser.
    """
    def fsync(value: str) -> None:
        with connect() as conn:
            conn.execute(f"ALTER SYSTEM SET fsync = {value}")
            conn.execute("SELECT pg_reload_conf()")

    results = []
    for value in "on", "off":
        fsync(value)
        for text, many, single in BATCHES:
            quotients = []
            for _ in range(rounds):
                rates = {variant.text: measure(variant, rng.randrange(2**31)) for variant in rng.sample([many, single], 2)}
                quotients.append(rates[many.text] / rates[single.text])
            results.append((f"{text}, fsync {value}", quotients, LIMIT))
    fsync("on")
    return results
