#!/usr/bin/python3
"""Show that work survives the process that does it.

Part 1: ingest.py loads a package database once, left alone. Then the same work again, killed with
SIGKILL twice: after a COMMIT, and inside a transaction. Both must leave the same rows.
Part 2: two workers share a queue; one of them is killed, and the other takes over its work.

Exits 1 if any check fails. The server is libpq's choice: PGHOST, PGPORT, PGUSER, PGDATABASE.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Iterator

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

HERE = Path(__file__).resolve().parent
STAMP = f"{datetime.now():%Y%m%d-%H%M%S}"  # a new name each time: an old demo is not gone on with


class Checks:
    """The promises, each printed with what was found."""

    failed = 0

    def __call__(self, promise: str, kept: bool, found: str = "") -> None:
        self.failed += not kept
        print(f"  {'ok    ' if kept else 'FAILED'} {promise}{': ' if found else ''}{found}")


check = Checks()


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


# ---- part 1: one workflow, killed twice --------------------------------------------------------

@dataclass
class Process:
    """One run of ingest.py: its wall time, how it ended and what it said of each step."""

    seconds: float
    signal: str
    events: list[tuple[str, str]]  # execute, ran, failed, replayed or killed; step

    def steps(self, event: str) -> list[str]:
        return [step for happened, step in self.events if happened == event]


def ingest(folder: Path, path: str, schema: str, *more: str) -> Process:
    """Run ingest.py and print its line of command and its last lines."""
    journal = folder / "journal"
    journal.unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "ingest.py"), path, "--name", f"ingest-{schema}-{STAMP}",
               "--schema", schema, "--executor", schema, "--journal", str(journal), *more]
    began = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seconds = time.monotonic() - began

    print(f"$ ingest.py --schema {schema} {' '.join(more)}".rstrip())
    if done.returncode > 0:
        sys.exit(done.stdout)
    lines = done.stdout.replace(f"-{STAMP}", "").splitlines()
    for line in lines[:1] + ["  ..."] + lines[-7 if done.returncode == 0 else -3:]:
        print(f"    {line}")

    events = []
    for event, step, _ in map(json.loads, journal.read_text().splitlines()):
        if event != "execute" and events and events[-1] == ("execute", step):
            events.pop()
        events.append((event, step))
    if done.returncode < 0:  # what was begun and has no end
        events[-1:] = [("killed", step) if event == "execute" else (event, step)
                       for event, step in events[-1:]]
    name = signal.Signals(-done.returncode).name if done.returncode else ""
    return Process(seconds, name, events)


def history(conn: psycopg.Connection, workflow_id) -> Iterator:
    """Every recorded step of a tree, children's after the step that stands for them."""
    for step in conn.execute("SELECT * FROM durable.history(%s)", (workflow_id,)).fetchall():
        yield step
        if step.child_id:
            yield from history(conn, step.child_id)


def root(conn: psycopg.Connection, schema: str):
    return conn.execute("SELECT id, status, output FROM durable.task"
                        " WHERE parent_id IS NULL AND name = %s",
                        (f"ingest-{schema}-{STAMP}",)).fetchone()


def fingerprint(conn: psycopg.Connection, table: str) -> tuple[int, str]:
    return tuple(conn.execute(f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text"
                              f" COLLATE \"C\")) FROM {table} t").fetchone())


def show_rows(conn: psycopg.Connection, schema: str) -> None:
    """After a kill: the rows that others see are those that the finished steps speak of."""
    rows = conn.execute(f"SELECT count(*) FROM {schema}.package").fetchone()[0]
    recorded = sum(step.output for step in history(conn, root(conn, schema).id)
                   if step.name.startswith("batch-") and step.status == "COMPLETED")
    check("the rows are those of the finished steps, no more and no less", rows == recorded,
          f"{rows} rows, {recorded} recorded")


def show_steps(processes: list[Process]) -> None:
    """A line for each step of the workflow, alike sections summed up: who ran what."""
    cells: dict[str, list[Counter]] = {}
    for number, process in enumerate(processes):
        for event, step in process.events:
            place = cells.setdefault(step.split("/")[0], [Counter() for _ in processes])
            place[number][event] += 1

    def alike(item: tuple[str, list[Counter]]) -> tuple:
        name, counts = item
        return name if ":" not in name else "section", [sorted(count) for count in counts]

    def cell(count: Counter) -> str:
        if set(count) <= {"replayed"}:  # a finished child is replayed as one
            return "replayed" if count else "-"
        return ", ".join("killed" if event == "killed" else f"{event} {times}"
                         for event, times in count.items())

    def line(name: str, columns: list[str]) -> None:
        print("  " + f"{name:<34}{''.join(f'{column:<21}' for column in columns)}".rstrip())

    line("step", [f"process {number}" for number in range(1, len(processes) + 1)])
    for _, group in groupby(cells.items(), alike):
        names, counts = zip(*group)
        line(names[0] if len(names) == 1 else f"{len(names)} sections, "
             + " .. ".join(names[i].removeprefix("section:") for i in (0, -1)),
             [cell(sum(column, Counter())) for column in zip(*counts)])
    line("time", [f"{process.seconds:.2f} s" for process in processes])
    line("end", [process.signal or "completed" for process in processes])


def part_1(conn: psycopg.Connection, path: str) -> None:
    one, two = "demo_once", "demo_killed"
    for schema in one, two:
        conn.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        heading("1.1  The reference: one run, left alone")
        reference = ingest(folder, path, one)
        steps = reference.steps("ran")
        batches = [step for step in steps if "/batch-" in step]
        first, second = batches[len(batches) // 3], batches[2 * len(batches) // 3]
        print(f"  {len(steps)} steps in {reference.seconds:.2f} s")

        heading("1.2  The same, killed after a step's COMMIT")
        processes = [ingest(folder, path, two, "--kill-at", first, "--kill-when", "after")]
        show_rows(conn, two)
        heading("1.3  Started again, killed inside a step's transaction")
        processes += [ingest(folder, path, two, "--kill-at", second, "--kill-when", "inside")]
        show_rows(conn, two)
        heading("1.4  Started again, left alone")
        processes += [ingest(folder, path, two)]

    heading("1.5  Which process ran which step")
    show_steps(processes)

    heading("1.6  Checks")
    check("the two processes were killed", [p.signal for p in processes] == ["SIGKILL"] * 2 + [""])
    for table in "package", "dependency", "section":
        once, killed = (fingerprint(conn, f"{schema}.{table}") for schema in (one, two))
        check(f"{table} is the same as in the reference", once == killed and once[0] > 0,
              f"{killed[0]} rows, md5 {killed[1]}")
    once, killed = root(conn, one), root(conn, two)
    check("the workflow is COMPLETED, its report that of the reference",
          killed.status == "COMPLETED" and once.output == killed.output)
    ran = Counter(step for process in processes for step in process.steps("ran"))
    twice = [step for step, times in ran.items() if times > 1]
    check("no finished step ran again", not twice, ", ".join(twice) or f"{len(ran)} steps")
    check("no step was left out", sorted(ran) == sorted(steps))
    check("the step that was cut off ran in the next process",
          [p.steps("killed") for p in processes] == [[], [second], []]
          and second in processes[2].steps("ran"), second)
    recorded = [step for step in history(conn, killed.id) if step.kind != "WORKFLOW"]
    attempts = {step.name: step.attempt for step in recorded if step.attempt != 1}
    check("the server recorded one attempt a step, three of the one that failed twice",
          len(recorded) == len(steps) and attempts == {"system": 3})
    total = sum(process.seconds for process in processes)
    print(f"  time   {reference.seconds:.2f} s left alone, {total:.2f} s with two kills")


# ---- part 2: two workers, one killed -----------------------------------------------------------

def part_2(conn: psycopg.Connection, path: str) -> None:
    packages = sorted(set(re.findall(r"^Package: *(\S+)", Path(path).read_text(errors="replace"),
                                     re.MULTILINE)))[:100]
    queue = f"manifests-{STAMP}"

    def count(condition: str, *values) -> int:
        return conn.execute("SELECT count(*) FROM durable.task WHERE queue_name = %s AND "
                            + condition, (queue, *values)).fetchone()[0]

    def worker(name: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(HERE / "queue_worker.py"), "--queue", queue,
                                 "--executor", f"{name}-{STAMP}", "--heartbeat", "0.3",
                                 "--stale-after", "1.5"], stdout=subprocess.PIPE, text=True)

    heading("2.1  Two workers on one queue, one of them killed")
    conn.execute("DROP SCHEMA IF EXISTS demo_queue CASCADE")
    conn.execute("CREATE SCHEMA demo_queue")
    conn.execute("CREATE TABLE demo_queue.manifest (package text, files int, bytes bigint,"
                 " executor text)")  # no unique key: a step that ran twice would show
    conn.execute("SELECT durable.create_queue(%s)", (queue,))
    for package in packages:
        conn.execute("SELECT durable.start(%s, input => %s, handler => 'manifest', queue => %s)",
                     (f"manifest-{package}-{STAMP}", Jsonb(
                         {"package": package, "info": str(Path(path).parent / "info"),
                          "pace": 0.02}), queue))
    print(f"  {len(packages)} workflows in the queue")

    began = time.monotonic()
    victim, survivor = workers = worker("worker-1"), worker("worker-2")
    try:
        while count("status = 'COMPLETED'") < len(packages) // 4:
            time.sleep(0.01)
        while True:  # hold it still, to see that it is in the middle of something
            victim.send_signal(signal.SIGSTOP)
            time.sleep(0.05)
            held = count("status = 'RUNNING' AND executor_id = %s", f"worker-1-{STAMP}")
            if held:
                break
            victim.send_signal(signal.SIGCONT)
            time.sleep(0.01)
        victim.kill()
        killed = time.monotonic()
        print(f"  {killed - began:5.2f} s  worker-1 killed with {held} workflows in hand,"
              f" {count('status = %s', 'PENDING')} still in the queue")
        while count("status IN ('PENDING', 'RUNNING')") and time.monotonic() < killed + 60:
            time.sleep(0.01)
        print(f"  {time.monotonic() - began:5.2f} s  nothing left to do; SIGTERM to worker-2")
        survivor.terminate()
        said = survivor.communicate(timeout=30)[0].splitlines()
    finally:
        for process in workers:
            process.kill()
            process.wait()
    for line in said:
        print(f"    {line.replace(f'-{STAMP}', '')}")

    heading("2.2  Checks")
    finished = dict(conn.execute("SELECT executor, count(*) FROM demo_queue.manifest GROUP BY 1"
                                 " ORDER BY 1").fetchall())
    check("every workflow is COMPLETED", count("status = 'COMPLETED'") == len(packages),
          ", ".join(f"{n} by {name.removesuffix(f'-{STAMP}')}" for name, n in finished.items()))
    rows = [package for package, in conn.execute("SELECT package FROM demo_queue.manifest")]
    check("every package was stored exactly once", sorted(rows) == packages, f"{len(rows)} rows")
    taken = sum(": stale executor" in line for line in said)
    check("what worker-1 had in hand was taken over", taken == held, f"{taken} workflows")
    check("worker-2 drained and left", survivor.returncode == 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", default="/var/lib/dpkg/status")
    parser.add_argument("--part", type=int, choices=[1, 2], help="only this part")
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)

    with psycopg.connect("", autocommit=True, row_factory=namedtuple_row) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS durable")
        server, version = conn.execute("SELECT current_setting('server_version'), extversion"
                                       " FROM pg_extension WHERE extname = 'durable'").fetchone()
        print(f"durable {version} on PostgreSQL {server}; the input is {options.path}")
        if options.part in (None, 1):
            part_1(conn, options.path)
        queues = conn.execute("SELECT to_regproc('durable.claim')").fetchone()[0]
        if options.part == 2 or (options.part is None and queues):
            part_2(conn, options.path)
    print(f"\n{check.failed} checks failed" if check.failed else "\nall checks passed")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
