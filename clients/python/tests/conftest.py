"""Fixtures: a server (that of PGHOST and its like), one database a test module, and processes to be killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import durable
import psycopg
import pytest
from psycopg.rows import namedtuple_row

HERE = Path(__file__).resolve().parent


class Database:
    """A database with the extension, and what tests ask it."""

    def __init__(self, name: str):
        self.name, self.conninfo = name, f"dbname={name}"
        with psycopg.connect(autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            conn.execute(f"CREATE DATABASE {name}")
        self.run("CREATE EXTENSION durable")
        self.run(
            "CREATE TABLE ledger (name text, attempt int, executor text, at timestamptz DEFAULT clock_timestamp())"
        )

    def run(self, sql: str, *args: Any) -> Any:
        with psycopg.connect(self.conninfo, autocommit=True, row_factory=namedtuple_row) as conn:
            cursor = conn.execute(sql, args)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else None

    def value(self, sql: str, *args: Any) -> Any:
        return self.run(sql, *args)[0][0]

    def ledger(self) -> dict[str, int]:
        return dict(self.run("SELECT name, count(*) FROM ledger GROUP BY 1"))

    def until(self, sql: str, *args: Any, seconds: float = 20) -> Any:
        """Waits until a query answers something true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(psycopg.OperationalError):
                if value := self.value(sql, *args):
                    return value
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {sql}")


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    db = Database("durable_" + request.module.__name__.split(".")[-1])
    yield db
    assert db.run("SELECT * FROM durable.check()") == []


@pytest.fixture
def db(database: Database) -> Database:
    database.run("TRUNCATE ledger")
    return database


@pytest.fixture
def app(db: Database) -> Iterator[durable.App]:
    app = durable.App(db.conninfo)
    yield app
    app.close()


@pytest.fixture
def work(app: durable.App) -> Iterator[Callable[..., None]]:
    """Runs the worker of `app` in a thread, and drains it in the end."""
    threads: list[threading.Thread] = []

    def start(**options: Any) -> None:
        thread = threading.Thread(target=app.run, kwargs={"handle_signals": False, "grace": 5} | options)
        thread.start()
        threads.append(thread)

    yield start
    app.stop()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


class Process:
    """A worker of tests/shop.py in a process of its own."""

    def __init__(self, db: Database, *args: str, **env: str):
        self.db = db
        self.popen = subprocess.Popen(
            [sys.executable, str(HERE / "shop.py"), *args],
            env={**os.environ, "PGDATABASE": db.name, "PYTHONPATH": str(HERE.parent), **env},
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def end(self, seconds: float = 30) -> tuple[int, str]:
        """Asks it to end; one that has just begun, once it is at work."""
        at_work = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = %s"
        if self.popen.poll() is None:
            self.db.until(at_work, f"shop-{self.popen.pid}")
        self.popen.send_signal(signal.SIGTERM)
        error = self.popen.communicate(timeout=seconds)[1]
        return self.popen.returncode, error


@pytest.fixture
def process(db: Database) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*args: str, **env: str) -> Process:
        started.append(Process(db, *args, **env))
        return started[-1]

    yield start
    for each in started:
        if each.popen.poll() is None:
            each.kill()


def same(left: Any, right: Any) -> bool:
    return json.dumps(left) == json.dumps(right)
