#!/usr/bin/env python3
"""Show that work survives the process that does it.

1  ingest.py loads a package database, left alone. Then the same again, killed with SIGKILL twice: after a COMMIT, and
   inside a transaction. Both must leave the same rows, and no finished step may run again.
2  Two workers share a queue; one of them is killed, and the other takes over what it had in hand.

Exits 1 if a check fails. The server is libpq's choice: PGHOST, PGPORT, PGUSER, PGDATABASE.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.rows import namedtuple_row

import manifest

HERE = Path(__file__).resolve().parent
STATUS = Path(sys.argv[1] if len(sys.argv) > 1 else "/var/lib/dpkg/status")
STAMP = f"{datetime.now():%Y%m%d-%H%M%S}"  # a new name each time: an old demo is not gone on with
failed = 0


def heading(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def check(promise: str, kept: bool, found: object = "") -> None:
    global failed
    failed += not kept
    print(f"  {'ok    ' if kept else 'FAILED'} {promise}{f': {found}' if found != '' else ''}", flush=True)


def ingest(schema: str, kill: str = "") -> list[tuple[str, str]]:
    """Runs ingest.py: what became of which step."""
    command = [sys.executable, str(HERE / "ingest.py"), str(STATUS), "--schema", schema, "--executor", schema,
               "--name", f"ingest-{schema}-{STAMP}", *(["--kill", kill] if kill else [])]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    events = [tuple(json.loads(line)) for line in lines if line.startswith("[")]
    end = signal.Signals(-done.returncode).name if done.returncode < 0 else "completed"
    if done.returncode > 0:
        sys.exit(done.stderr)
    count = Counter(event for event, _ in events)
    print(f"  $ ingest.py {f'--kill {kill}' if kill else '':<42} {count['replayed']:4} replayed {count['completed']:4} ran"
          f" {time.monotonic() - began:6.2f} s  {end}")
    for line in lines[len(events):]:
        print(f"      {line}")
    return events


def part_1(conn: psycopg.Connection) -> None:
    one, two = "demo_once", "demo_killed"
    for schema in one, two:
        conn.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    heading("1.1  A workflow, left alone")
    steps = [step for event, step in ingest(one) if event == "completed"]
    batches = [step for step in steps if "/batch-" in step]
    first, second = batches[len(batches) // 3], batches[2 * len(batches) // 3]
    heading("1.2  The same, killed after a step's COMMIT; again, killed inside a transaction; again, left alone")
    processes = [ingest(two, f"{first}:after"), ingest(two, f"{second}:inside"), ingest(two)]

    heading("1.3  What must be true")
    for table in "package", "dependency", "section":
        marks = [conn.execute(f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\"))"
                              f" FROM {schema}.{table} t").fetchone() for schema in (one, two)]
        check(f"{table} has the same rows as the one that was left alone", marks[0] == marks[1] and marks[0][0] > 0,
              f"{marks[1][0]} rows, md5 {marks[1][1]}")
    roots = [conn.execute("SELECT id, status, output FROM durable.task WHERE name = %s AND parent_id IS NULL",
                          (f"ingest-{schema}-{STAMP}",)).fetchone() for schema in (one, two)]
    check("its report is the same", roots[1].status == "COMPLETED" and roots[0].output == roots[1].output)
    ran = Counter(step for events in processes for event, step in events if event == "completed")
    check("each step ran, and no finished one ran again", ran == Counter(steps), f"{len(ran)} steps")
    check("the transaction that was cut off ran in the next process",
          ("killed", second) in processes[1] and ("completed", second) in processes[2], second)


def part_2(conn: psycopg.Connection) -> None:
    packages = sorted(set(re.findall(r"^Package: *(\S+)", STATUS.read_text(errors="replace"), re.MULTILINE)))[:100]
    conn.execute("DROP SCHEMA IF EXISTS demo_queue CASCADE")
    conn.execute("CREATE SCHEMA demo_queue")  # no unique key: a step that ran twice would show
    conn.execute("CREATE TABLE demo_queue.manifest (package text, files int, bytes bigint, process int)")
    heading("2.1  Two workers on one queue, one of them killed")
    for package in packages:
        manifest.app.start(manifest.manifest, f"manifest-{package}-{STAMP}", {"package": package, "info": str(STATUS.parent / "info")})
    manifest.app.close()

    def count(status: str, process: int | None = None) -> int:
        return conn.execute("SELECT count(*) FROM durable.task WHERE queue_name = 'manifests' AND status = %s AND name LIKE %s"
                            " AND (%s OR executor_id LIKE %s)", (status, f"%-{STAMP}", process is None, f"%-{process}-%")).fetchone()[0]

    victim, survivor = workers = [subprocess.Popen([sys.executable, str(HERE / "manifest.py")], stderr=subprocess.PIPE, text=True)
                                  for _ in range(2)]
    began = time.monotonic()
    while count("COMPLETED") < len(packages) // 4:
        time.sleep(0.01)
    victim.send_signal(signal.SIGSTOP)  # hold it still, to see what it has in hand
    time.sleep(0.05)
    held = count("RUNNING", victim.pid)
    print(f"  {time.monotonic() - began:5.2f} s  worker 1 is killed with {held} workflows in hand; {count('PENDING')} wait")
    victim.kill()
    killed = time.monotonic()
    while count("RUNNING", victim.pid) and time.monotonic() < killed + 60:
        time.sleep(0.001)
    print(f"  {time.monotonic() - began:5.2f} s  worker 2 has taken them over, {1000 * (time.monotonic() - killed):.0f} ms later")
    while count("PENDING") + count("RUNNING") and time.monotonic() < killed + 60:
        time.sleep(0.01)
    print(f"  {time.monotonic() - began:5.2f} s  nothing is left to do; SIGTERM to worker 2")
    survivor.terminate()
    survivor.communicate(timeout=30)
    victim.wait()

    heading("2.2  What must be true")
    check("every workflow is COMPLETED", count("COMPLETED") == len(packages), f"{len(packages)} workflows")
    rows = [package for package, in conn.execute("SELECT package FROM demo_queue.manifest")]
    check("every package was stored exactly once", sorted(rows) == packages, f"{len(rows)} rows")
    check("worker 2 drained and left", [worker.returncode for worker in workers] == [-signal.SIGKILL, 0],
          [worker.returncode for worker in workers])


with psycopg.connect(autocommit=True, row_factory=namedtuple_row) as connection:
    connection.execute("CREATE EXTENSION IF NOT EXISTS durable")
    print(f"durable on PostgreSQL {connection.info.server_version // 10000}; the input is {STATUS}")
    part_1(connection)
    part_2(connection)
    problems = connection.execute("SELECT * FROM durable.check()").fetchall()
    check("and no rule of the state machine is broken", not problems)
print(f"\n{failed} checks failed" if failed else "\nall checks passed")
sys.exit(bool(failed))
