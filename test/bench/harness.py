"""What all sections of the benchmark share: the server, its databases, pgbench, and how a result is printed."""

from __future__ import annotations

import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from statistics import median
from typing import Iterator

import psycopg

import variants as v
from variants import Variant

HERE = Path(__file__).resolve().parent
SECONDS = int(os.environ.get("BENCH_SECONDS", 1))  # of one variant in one round
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 4))
SEED = int(os.environ.get("BENCH_SEED", 1))
FEW_ROUNDS = min(ROUNDS, 3)  # of what takes long
POOL = 909  # recorded workflows of ten steps: 10 thousand tasks
FEW = 1_000  # pending workflows
SETTINGS = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "off", "shared_buffers": "512MB",
            "max_wal_size": "8GB", "autovacuum": "on"}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# ---- the server and its databases ------------------------------------------------------------------

@contextmanager
def server() -> Iterator[int]:
    """A cluster in a scratch directory, which PGHOST names; yields the postmaster's pid."""
    with tempfile.TemporaryDirectory(prefix="bench.") as work:
        os.environ.update(PGHOST=work, PGPORT="5432", PGUSER="postgres")
        data = f"{work}/data"
        subprocess.run(["initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale"],
                       check=True, stdout=subprocess.DEVNULL)
        with open(f"{data}/postgresql.conf", "a") as conf:
            if "TEMP_CONFIG" in os.environ:
                conf.write(f"include '{os.environ['TEMP_CONFIG']}'\n")
            conf.write(f"listen_addresses = ''\nunix_socket_directories = '{work}'\n")
            conf.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        pg_ctl = ["pg_ctl", "-D", data, "-w", "-s"]
        subprocess.run([*pg_ctl, "-l", f"{work}/log", "start"], check=True)
        try:
            yield int(Path(data, "postmaster.pid").read_text().split()[0])
        finally:
            subprocess.run([*pg_ctl, "-m", "immediate", "stop"], check=True)


def connect(database: str) -> psycopg.Connection:
    return psycopg.connect(dbname=database, autocommit=True)


def fill(database: str, *statements: str) -> None:
    with connect(database) as conn:
        for sql in (*statements, "VACUUM (ANALYZE)"):
            conn.execute(sql)


def create(database: str, template: str, *statements: str) -> None:
    """A new copy of a database, filled."""
    with connect("postgres") as conn:
        conn.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        conn.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
    if statements:
        fill(database, *statements)


def drop(*databases: str) -> None:
    with connect("postgres") as conn:
        for database in databases:
            conn.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


def checkpoint() -> None:
    with connect("postgres") as conn:
        conn.execute("CHECKPOINT")


def set_server(name: str, value: str | None) -> None:
    """ALTER SYSTEM; None sets it back to what it was."""
    with connect("postgres") as conn:
        conn.execute(f"ALTER SYSTEM RESET {name}" if value is None else f"ALTER SYSTEM SET {name} = {value}")
        conn.execute("SELECT pg_reload_conf()")


@cache
def empty() -> str:
    """A database with the extension, the seed's schema and the functions that fill tables; a queue q."""
    create("empty", "template1")
    fill("empty", (HERE / "base.sql").read_text(), "SELECT durable.create_queue('q')")
    return "empty"


@cache
def base() -> str:
    """One with 909 recorded workflows of ten steps, and a backlog in queue q."""
    create("base", empty(), f"CALL bench.fill_pool({POOL}, {v.STEPS}, '{v.OUTPUT}')", f"CALL bench.fill_pending(1, {FEW})")
    return "base"


# ---- one round of one variant -----------------------------------------------------------------------

@dataclass
class Measured:
    """One round, all but the rate per step."""

    rate: float  # steps a second
    cpu: float  # us
    wal: float  # bytes
    transactions: float


def medians(rounds: list[Measured]) -> Measured:
    return Measured(*(median(getattr(r, f.name) for r in rounds) for f in fields(Measured)))


COUNTERS = """
    SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn, xact_commit FROM pg_stat_database
    WHERE datname = current_database()"""


@contextmanager
def backend_cpu(postmaster: int) -> Iterator[list[float]]:
    """Yields a list of one element: once left, the CPU time, in us, of the backends that came meanwhile.

    It is the scheduler's own account of each, read every 10 ms until it ends.
    """
    def children() -> set[str]:
        return set(Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split())

    others, times, total, done = children(), {}, [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            for pid in children() - others:
                try:
                    times[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1000
                except (FileNotFoundError, ProcessLookupError):
                    pass

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield total
    finally:
        # a backend tells what it has counted when it ends
        ended = time.monotonic() + 2
        while children() & times.keys() and time.monotonic() < ended:
            time.sleep(0.01)
        done.set()
        thread.join()
        total[0] = sum(times.values())


def run_pgbench(variant: Variant, clients: int, database: str, *options: str, seed: int) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(variant.script)
        script.flush()
        done = subprocess.run(
            ["pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", str(min(clients, 2)), *options,
             f"--random-seed={seed}", "-D", f"out={v.OUTPUT}", "-D", f"pool={POOL}", "-f", script.name, database],
            capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{variant.text}:\n{done.stdout}{done.stderr}")
    return done


def pgbench(variant: Variant, clients: int, database: str, *length: str, seed: int = SEED) -> str:
    """What it prints at its end."""
    return run_pgbench(variant, clients, database, *length, seed=seed).stdout


def pgbench_progress(variant: Variant, clients: int, database: str, seconds: int, seed: int) -> list[float]:
    """Transactions of each second."""
    done = run_pgbench(variant, clients, database, "-T", str(seconds), "-P", "1", seed=seed)
    return [float(rate) for rate in re.findall(r"^progress: .* ([\d.]+) tps", done.stderr, re.M)]


def transactions_a_second(output: str) -> float:
    return float(re.search(r"tps = ([\d.]+) \((?:without|excluding)", output)[1])


def measure(postmaster: int, variant: Variant, clients: int, database: str, seed: int, seconds: int = SECONDS) -> Measured:
    with connect(database) as conn:
        before = conn.execute(COUNTERS).fetchone()
        with backend_cpu(postmaster) as cpu:
            output = pgbench(variant, clients, database, "-T", str(seconds), seed=seed)
        after = conn.execute(COUNTERS).fetchone()
    steps = int(re.search(r"actually processed: (\d+)", output)[1]) * variant.steps
    rate = transactions_a_second(output) * variant.steps
    wal, transactions = (float(b - a) for a, b in zip(before, after))
    # each client has also prepared each statement once, in as many transactions as a run of the script has
    return Measured(rate, cpu[0] / steps, wal / steps, transactions / (steps + clients * variant.steps))


# ---- what is found -------------------------------------------------------------------------------------

@dataclass
class Figure:
    """What was measured in each round, mostly a quotient of two things measured in the same one, and its target."""

    text: str
    rounds: list[float]
    limit: float | None = None
    at_least: bool = True

    def row(self) -> list[str]:
        target, met = "", ""
        if self.limit is not None:
            target = f"{'>=' if self.at_least else '<='} {self.limit:g}"
            met = "yes" if self.met else "NO"
        return [self.text, target, number(self.value), f"{number(min(self.rounds))} .. {number(max(self.rounds))}", met]

    @property
    def value(self) -> float:
        return median(self.rounds)

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Found:
    """What a section has found: figures with targets, and notes: sentences or tables."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def number(x: float) -> str:
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.0f}" if abs(x) >= 100 else f"{x:.2f}"


def shuffled(rng: random.Random, things: list) -> list:
    return rng.sample(things, len(things))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown that reads as a table without being rendered; columns of numbers to the right."""
    right = [all(re.match(r"-?[\d,.]+$", row[i]) for row in rows) for i in range(len(head))]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = [f"{'-' * (w - 1)}:" if r else "-" * w for w, r in zip(widths, right)]
    cells = [[cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)]
             for row in [head, line, *rows]]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def environment() -> str:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    with connect("postgres") as conn:
        version = conn.execute("SHOW server_version").fetchone()[0]
        settings = ", ".join(f"{name} = {conn.execute(f'SHOW {name}').fetchone()[0]}" for name in SETTINGS)
    return (f"{time.strftime('%Y-%m-%d')}, PostgreSQL {version}, {os.cpu_count()} CPUs "
            f"({cpu[1] if cpu else platform.machine()}), load average before {os.getloadavg()[0]:.1f}.\n"
            f"{settings}; all else as initdb leaves it.")


def lengths() -> str:
    return f"BENCH_SECONDS={SECONDS} BENCH_ROUNDS={ROUNDS} BENCH_SEED={SEED}; pgbench -M prepared over the socket."
