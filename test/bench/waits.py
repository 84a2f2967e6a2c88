"""Signals and waits against the same rows written by hand."""

from __future__ import annotations

import random
import re
import time
from statistics import median

import variants as v
from harness import FEW_ROUNDS, Figure, Found, checkpoint, connect, create, drop, empty, measure, pgbench, say, shuffled
from variants import Variant


def waits(postmaster: int, rng: random.Random) -> Found:
    """Signals and waits against the same rows by hand; and what does not grow."""
    create("waits", empty())
    checkpoint()
    ratios = []
    for text, ours, raw, limit in v.WAITS:
        say(text)
        for clients in 1, 8:
            quotients = []
            for _ in range(FEW_ROUNDS):
                rates = {one.text: measure(postmaster, one, clients, "waits", rng.randrange(2**31)).rate for one in shuffled(rng, [ours, raw])}
                quotients.append(rates[ours.text] / rates[raw.text])
            ratios.append(Figure(f"{text}, {clients} client{'s' * (clients > 1)}", quotients, limit))

    def rate(variant: Variant, clients: int, transactions: int) -> float:
        output = pgbench(variant, clients, "waits", "-t", str(transactions), seed=rng.randrange(2**31))
        return float(re.search(r"tps = ([\d.]+) \((?:without|excluding)", output)[1])

    senders, again, late = [], [], []
    with connect("waits") as conn:
        for n in range(FEW_ROUNDS):
            def new(name: str) -> str:
                return str(conn.execute("SELECT workflow_id FROM durable.start(%s)", [f"{name} {n}"]).fetchone()[0])

            rates = {s: rate(v.to_one(s, new(s)), 8, 1000) for s in shuffled(rng, [v.SIGNAL, v.RAW_SIGNAL])}
            senders.append(rates[v.SIGNAL] / rates[v.RAW_SIGNAL])

            workflow = new("again")
            claim = f"SELECT action, output FROM durable.claim_step('{workflow}', 0, 'step', lease => 1)"
            ask = v.AWAIT.format(i=1).replace(":w", f"'{workflow}'")
            conn.execute(claim)
            conn.execute("SELECT durable.complete(durable.step_id(%s, 0), %s)", [workflow, v.OUTPUT])
            conn.execute(ask)
            rates = {sql: rate(Variant(sql, [sql], steps=1), 1, 2000) for sql in shuffled(rng, [claim, ask])}
            again.append(rates[ask] / rates[claim])

            workflow, times = new("many"), []
            conn.execute("SELECT count(*) FROM generate_series(1, 9900) i, durable.signal(%s, 'go', %s)", [workflow, v.OUTPUT])
            for i in range(9):
                began = time.monotonic()
                conn.execute("SELECT count(*) FROM generate_series(%s::int, %s) i, durable.await_signal(%s, i, 'go', lease => 1)",
                             [i * 1100, i * 1100 + 1099, workflow])
                times.append(time.monotonic() - began)
            late.append(median(times[-3:]) / median(times[:3]))
    found = Found()
    found.figures = [*ratios, Figure("eight senders to one workflow : raw", senders, 0.8),
            Figure("an open wait asked again : a replay", again, 0.8),
            Figure("of 9,900 signals, the last third taken : the first, time", late, 1.2, False)]
    drop("waits")
    return found
