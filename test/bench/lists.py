"""What a dashboard asks for, at a million workflows."""

from __future__ import annotations

import random
import time
from statistics import median

import psycopg

from flat import explain
from harness import Figure, Found, checkpoint, connect, create, drop, empty, say, table

WORKFLOWS, STEPS = 1_000_000, 500_000
LIMIT = 5  # ms
SAMPLES, ENOUGH = 7, 3.0  # of one query: so many, or for so many seconds

# Values that most, few and no workflows have. The few are the oldest ones: whoever walks from the newest on meets them last.
LISTS = {
    "list of the newest 100, no filter": ["list()"],
    "list by kind WORKFLOW": ["list(kind => 'WORKFLOW')"],
    "list by status": [f"list(status => '{s}')" for s in ("COMPLETED", "PENDING", "RUNNING", "FAILED", "PAUSED", "CANCELLED")],
    "list by queue": [f"list(queue_name => '{q}')" for q in ("q", "rare", "none")],
    "list by handler": [f"list(handler => '{h}')" for h in ("usual", "rare", "none")],
    "list by name": [f"list(name => '{n}')" for n in ("daily", "workflow 1", "none")],
    **{f"list of roots sorted by {sort}": [f"list(root_only => true, sort => '{sort}', descending => {d})" for d in ("true", "false")]
       for sort in ("created_at", "started_at", "completed_at", "name", "status")},
    "count by status": [f"count(status => '{s}')" for s in ("COMPLETED", "PENDING", "RUNNING", "FAILED", "PAUSED", "CANCELLED")],
    "count by queue": [f"count(queue_name => '{q}')" for q in ("q", "rare", "none")],
    "stats": ["stats()"],
    "metrics": ["metrics()"],
}
KEYSET = "last page of a keyset walk"


def fill(database: str, *, waiting: bool) -> None:
    say(f"filling in {WORKFLOWS:,} workflows, {'most of them waiting' if waiting else 'most of them finished'}")
    create(database, empty(), "SELECT durable.create_queue('rare'), durable.create_queue('none')",
           f"CALL bench.fill_mixed({WORKFLOWS}, {'true' if waiting else 'false'})",
           *([] if waiting else [f"CALL bench.fill_steps({STEPS})"]),
           "SELECT durable.heartbeat('e' || i) FROM generate_series(0, 99) i",
           f"ALTER DATABASE {database} SET durable.executor_timeout = '1d'")


def milliseconds(conn: psycopg.Connection, call: str) -> float:
    """The server's time, with what planning there is within the call."""
    found, began = [], time.monotonic()
    while len(found) < SAMPLES and (not found or time.monotonic() - began < ENOUGH):
        found.append(explain(conn, f"SELECT * FROM durable.{call}")[0])
    return median(found)


def keyset(conn: psycopg.Connection) -> list[str]:
    """The call that gets the last page, if list can go on after an id."""
    if not conn.execute("SELECT count(*) FROM pg_proc WHERE oid::regproc::text = 'durable.list' AND 'after_id' = ANY (proargnames)"
                        ).fetchone()[0]:
        return []
    last = conn.execute("SELECT id FROM durable.workflow ORDER BY created_at, id OFFSET 50 LIMIT 1").fetchone()[0]
    return [f"list(kind => 'WORKFLOW', after_id => '{last}')"]


def lists(postmaster: int, rng: random.Random) -> Found:
    """A million workflows, with half a million steps, and most of them finished; then most of them waiting in a queue. The server's
    time, the worst of the calls of each row."""
    found, rows = Found(), []
    for database, waiting in ("finished", False), ("waiting", True):
        fill(database, waiting=waiting)
        checkpoint()
        with connect(database) as conn:
            walk = keyset(conn)
            for text, calls in {**LISTS, **({KEYSET: walk} if walk else {})}.items():
                times = {call: milliseconds(conn, call) for call in calls}
                worst = max(times, key=times.get)
                rows.append([database, text, f"<= {LIMIT}", f"{times[worst]:,.2f}", f"{min(times.values()):,.2f}", worst,
                             "yes" if times[worst] <= LIMIT else "NO"])
                say(" | ".join(rows[-1]))
            if not walk:
                found.notes = [f"{KEYSET}: list has no after_id yet."]
            if not waiting:
                began = time.monotonic()
                problems = conn.execute("SELECT count(*) FROM durable.check()").fetchone()[0]
                found.figures.append(Figure(f"check() of {WORKFLOWS + STEPS:,} tasks, seconds for a million",
                                            [(time.monotonic() - began) / (WORKFLOWS + STEPS) * 1_000_000], 60, False))
                if problems:
                    raise RuntimeError(f"check() found {problems} problems in what was filled in")
        drop(database)
    found.notes.insert(0, table(["most are", "what", "target", "ms", "ms, best", "the worst call", "met"], rows))
    return found
