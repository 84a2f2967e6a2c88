"""Does a call cost the same, whatever number of workflows is there?"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from statistics import median
from typing import Callable

import psycopg

import variants as v
from harness import Figure, Found, checkpoint, connect, create, drop, empty, say, shuffled, table

FEW, MANY = 1_000, 1_000_000
LIMIT = 1.3
SAMPLES, ENOUGH = 60, 4.0  # of one call in both databases: so many, or for so many seconds
OWNED, TOLD = 20_000, 10_000  # of the executor that sends a heartbeat

Cost = tuple[float, int]  # ms of the server, buffers


def explain(conn: psycopg.Connection, sql: str, *values: object) -> Cost:
    """What EXPLAIN ANALYZE tells of the server's time: no planning of the call, no commit, no network."""
    found = conn.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + sql, values).fetchone()[0][0]
    return found["Execution Time"], found["Plan"]["Shared Hit Blocks"] + found["Plan"]["Shared Read Blocks"]


# ---- calls ------------------------------------------------------------------------------------------------

def new_name() -> str:
    return f"flat {time.monotonic_ns()}"


def end_claimed(conn: psycopg.Connection) -> None:
    """Completes what the claimer owns: it says that it knows of none."""
    conn.execute("SELECT durable.complete(h.workflow_id, lease => h.lease) FROM durable.heartbeat('claimer', '{}', '{}') h")


def start(conn: psycopg.Connection) -> Cost:
    return explain(conn, "SELECT * FROM durable.start(%s::text, queue => 'q')", new_name())


def claim(conn: psycopg.Connection, number: int = 1) -> Cost:
    """As many are started before as are claimed, and end afterwards."""
    name = new_name()
    conn.execute("SELECT durable.start_many(ARRAY(SELECT %s::text || i FROM generate_series(1, %s::int) i), queue => 'q')",
                 [name, number])
    cost = explain(conn, "SELECT * FROM durable.claim('q', 'claimer', %s::int)", number)
    end_claimed(conn)
    return cost


def claim_100(conn: psycopg.Connection) -> Cost:
    return claim(conn, 100)


def idle_claim(conn: psycopg.Connection) -> Cost:
    return explain(conn, "SELECT * FROM durable.claim('idle', 'claimer')")


def end(conn: psycopg.Connection, sql: str) -> Cost:
    conn.execute("SELECT durable.start(%s::text, queue => 'q')", [new_name()])
    workflow_id, lease = conn.execute("SELECT workflow_id, lease FROM durable.claim('q', 'claimer')").fetchone()
    return explain(conn, sql, workflow_id, lease)


def complete(conn: psycopg.Connection) -> Cost:
    return end(conn, f"SELECT durable.complete(%s, '{v.OUTPUT}', lease => %s)")


def fail(conn: psycopg.Connection) -> Cost:
    return end(conn, "SELECT * FROM durable.fail(%s, 'an error', lease => %s)")


def recover(conn: psycopg.Connection) -> Cost:
    return explain(conn, "SELECT * FROM durable.recover('recoverer')")


def heartbeat(conn: psycopg.Connection) -> Cost:
    """Of an executor that owns a hundred, and knows them."""
    return explain(conn, "SELECT * FROM durable.heartbeat('hundred', ARRAY(SELECT bench.id(5, i) FROM generate_series(1, 100) i), "
                         "array_fill(1, '{100}'))")


def heartbeat_of_many(conn: psycopg.Connection) -> Cost:
    return explain(conn, "SELECT * FROM durable.heartbeat('twenty thousand', ARRAY(SELECT bench.id(6, i) FROM "
                         f"generate_series(1, {TOLD}) i), array_fill(1, '{{{TOLD}}}'))")


def within_limit(call: Callable[[psycopg.Connection], Cost]) -> Callable[[psycopg.Connection], Cost]:
    def limited(conn: psycopg.Connection) -> Cost:
        conn.execute("SELECT durable.alter_queue('q', max_concurrency => 100000000)")
        cost = call(conn)
        conn.execute("SELECT durable.alter_queue('q')")
        return cost
    return limited


@dataclass
class Call:
    text: str
    cost: Callable[[psycopg.Connection], Cost]
    enough_ms: float = 0  # that or less is flat enough


CALLS = [Call("claim of 1", claim), Call("claim of 100", claim_100), Call("claim of 1, max_concurrency", within_limit(claim)),
         Call("claim of 100, max_concurrency", within_limit(claim_100)), Call("idle claim", idle_claim, 0.1),
         Call("recover, nothing stale", recover, 0.2), Call("heartbeat of 100", heartbeat), Call("start", start),
         Call("complete", complete), Call("fail", fail)]
CLAIMS = [Call("claim of 1 that is due, priorities above it", claim),
          Call("idle claim where all that waits is not due",
               lambda conn: explain(conn, "SELECT * FROM durable.claim('later', 'claimer')"))]


# ---- databases ------------------------------------------------------------------------------------------

@dataclass
class Kind:
    """What there is a million of, beside a thousand pending and some running ones."""

    text: str
    fill: str  # of that number of rows, in range 2
    calls: list[Call]


KINDS = [
    Kind("pending", "CALL bench.fill_pending(2, number)", CALLS),
    Kind("running", "CALL bench.fill_running(2, number, 'q', 'e')", CALLS),
    # PENDING, but nobody can claim them
    Kind("suspended", "CALL bench.fill_suspended(2, number, 'q')", CALLS),
    Kind("finished", "CALL bench.fill_finished(number, '" + v.OUTPUT + "')", CALLS),
    Kind("not due, of 10 : of 10,000 priorities",
         "CALL bench.fill_later(2, number, number / 100, 'q'); CALL bench.fill_later(3, number, number / 100, 'later')", CLAIMS),
]


def filled(database: str, kind: Kind, number: int) -> None:
    """All executors that own something live: nothing is stale."""
    create(database, "flat", f"ALTER DATABASE {database} SET durable.executor_timeout = '1d'",
           *kind.fill.replace("number", str(number)).split("; "),
           f"SELECT durable.heartbeat(executor_id) FROM (SELECT DISTINCT executor_id FROM durable.workflow "
           "WHERE executor_id IS NOT NULL) x")


def costs(call: Call, databases: dict[str, psycopg.Connection], rng: random.Random) -> dict[str, list[Cost]]:
    found = {database: [] for database in databases}
    for database, conn in databases.items():
        for _ in range(2):  # the first ones plan
            call.cost(conn)
    began = time.monotonic()
    for n in range(SAMPLES):
        for database in shuffled(rng, list(databases)):
            found[database].append(call.cost(databases[database]))
        if time.monotonic() - began > ENOUGH and n >= 4:
            break
    return found


def flat(postmaster: int, rng: random.Random) -> Found:
    """A call in a database of a thousand (of each kind), and of a million of one kind: the server's time and its buffers, medians.
    Flat is a quotient of at most 1.3, or as little time as is enough."""
    rows, found = [], Found()
    create("flat", empty(), "SELECT durable.create_queue('idle'), durable.create_queue('later')",
           f"CALL bench.fill_pending(1, {FEW})", "CALL bench.fill_running(5, 100, 'q', 'hundred', 1)",
           f"CALL bench.fill_running(4, {FEW}, 'q', 'some')")
    for kind in KINDS:
        say(f"a million {kind.text}")
        filled("few", kind, FEW)
        filled("many", kind, MANY)
        checkpoint()
        with connect("few") as few, connect("many") as many:
            for call in kind.calls:
                cost = costs(call, {"few": few, "many": many}, rng)
                ms = {database: median(c[0] for c in cost[database]) for database in cost}
                buffers = {database: median(c[1] for c in cost[database]) for database in cost}
                quotient = ms["many"] / ms["few"]
                met = quotient <= LIMIT or ms["many"] <= call.enough_ms
                rows.append([kind.text, call.text, f"<= {LIMIT}" + (f" or {call.enough_ms:g} ms" if call.enough_ms else ""),
                             f"{ms['few']:.3f}", f"{ms['many']:.3f}", f"{quotient:.2f}", f"{buffers['few']:.0f}",
                             f"{buffers['many']:.0f}", "yes" if met else "NO"])
                say(" | ".join(rows[-1]))
    drop("few", "many")
    create("owned", "flat", f"CALL bench.fill_running(6, {OWNED}, 'q', 'twenty thousand', 1)")
    with connect("owned") as conn:
        heartbeat_of_many(conn)
        found.figures.append(Figure(f"heartbeat of {TOLD:,} by an executor that owns {OWNED:,}, ms",
                                    [heartbeat_of_many(conn)[0] for _ in range(3)], 50, False))
    drop("owned", "flat")
    found.notes.insert(0, table(["a million", "call", "target", "ms, few", "ms, many", "many : few", "buffers, few", "buffers, many",
                                 "met"], rows))
    return found
