"""Workers that are killed, servers that restart: no work is lost, none is recorded twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import durable
import psycopg
import pytest

KINDS = [("--concurrency", "4"), ("--fused",), ("--asynchronous",), ("--asynchronous", "--fused")]
DATA = Path(os.environ.get("PGHOST", "/nowhere")) / "data"  # of scripts/with-cluster


@pytest.fixture
def orders(db):
    db.run("DROP TABLE IF EXISTS orders")
    db.run("CREATE TABLE orders (n int)")  # without a key: what is written twice is seen
    db.run("SELECT durable.create_queue('orders', if_exists => 'keep')")
    db.run(
        "SELECT durable.cancel_tree(id) FROM durable.workflow WHERE parent_id IS NULL"
        " AND status IN ('PENDING', 'RUNNING', 'PAUSED')"
    )

    def start(count: int) -> list[str]:
        db.run(
            "SELECT durable.start_many(ARRAY(SELECT 'order-' || n FROM generate_series(1, %s) n),"
            " ARRAY(SELECT to_jsonb(n) FROM generate_series(1, %s) n), handler => 'order', queue => 'orders')",
            count,
            count,
        )
        return [f"{n}/{k}" for n in range(1, count + 1) for k in range(4)]

    return start


def finished(db, count: int, seconds: float = 60) -> None:
    db.until(
        "SELECT count(*) = 0 FROM durable.workflow WHERE status IN ('PENDING', 'RUNNING') AND parent_id IS NULL",
        seconds=seconds,
    )
    assert db.value("SELECT count(*) FROM orders") == db.value("SELECT count(DISTINCT n) FROM orders") == count
    outputs = db.run(
        "SELECT name, status, jsonb_array_length(output) FROM durable.workflow WHERE name LIKE 'order-%%'"
        " AND status <> 'CANCELLED' ORDER BY id DESC LIMIT %s",
        count,
    )
    assert {tuple(row)[1:] for row in outputs} == {("COMPLETED", 4)}


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_killed_workers(db, orders, process, kind):
    names = orders(60)
    rng = random.Random(len(kind))
    workers = [process(*kind) for _ in range(2)]
    for _ in range(5):
        time.sleep(rng.uniform(0.1, 0.4))
        workers.pop(0).kill()
        workers.append(process(*kind))
    finished(db, 60)
    ledger = db.ledger()
    assert sorted(ledger) == sorted(names)
    # a step runs again only where a process was killed in it, or, fused, before it had recorded the one before
    assert sum(ledger.values()) - len(ledger) <= 5 * 4 * (2 if "--fused" in kind else 1) * (
        25 if "--asynchronous" in kind else 1
    )
    for worker in workers:
        code, said = worker.end()
        assert code == 0, said


@pytest.mark.parametrize("kind", KINDS, ids=" ".join)
def test_terminated_sessions(db, orders, process, kind):
    names = orders(60)
    worker = process(*kind)
    db.until("SELECT count(*) > 5 FROM ledger")
    for _ in range(6):
        db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'shop-%%'")
        time.sleep(0.15)
    finished(db, 60)
    assert sorted(db.ledger()) == sorted(names)
    code, said = worker.end()
    assert code == 0 and "Traceback" not in said, said


@pytest.mark.skipif(not DATA.exists(), reason="the server is not that of scripts/with-cluster: it cannot be restarted")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("kind", KINDS[::2], ids=" ".join)
def test_server_restarts(db, orders, process, kind, mode):
    names = orders(60)
    worker = process(*kind)
    db.until("SELECT count(*) > 5 FROM ledger")
    for _ in range(2):
        subprocess.run(
            ["pg_ctl", "-D", str(DATA), "-m", mode, "-w", "restart", "-l", str(DATA.parent / "server.log")],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        time.sleep(0.5)
    finished(db, 60)
    assert sorted(db.ledger()) == sorted(names)
    code, said = worker.end()
    assert code == 0 and "Traceback" not in said, said


@pytest.mark.parametrize("kind", KINDS[::2], ids=" ".join)
def test_sigterm_drains(db, orders, process, kind):
    db.run("SELECT durable.start('s', '1.0', handler => 'slow', queue => 'orders')")
    first = process(*kind)
    db.until("SELECT count(*) = 1 FROM ledger")
    began = time.monotonic()
    code, said = first.end()
    assert code == 0 and 0.5 < time.monotonic() - began < 3, said
    assert db.run("SELECT status FROM durable.task WHERE name = 'work' ORDER BY id DESC LIMIT 1") == [("COMPLETED",)]
    assert db.run("SELECT status, executor_id FROM durable.task WHERE name = 's' ORDER BY id DESC LIMIT 1") == [
        ("PENDING", None)
    ]
    second = process(*kind)
    db.until("SELECT status = 'COMPLETED' FROM durable.task WHERE name = 's' ORDER BY id DESC LIMIT 1")
    assert db.ledger() == {"slow": 1, "after": 1}
    assert second.end()[0] == 0


@pytest.mark.parametrize("kind", KINDS[::2], ids=" ".join)
def test_a_second_sigterm_stops_at_once(db, orders, process, kind):
    db.run("SELECT durable.start('s2', '30', handler => 'slow', queue => 'orders')")
    worker = process(*kind)
    db.until("SELECT count(*) = 1 FROM ledger")
    worker.popen.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert worker.popen.poll() is None
    began = time.monotonic()
    assert worker.end()[0] == 0 and time.monotonic() - began < 3
    assert db.run("SELECT status FROM durable.task WHERE name = 's2' ORDER BY id DESC LIMIT 1") == [("PENDING",)]


def test_a_frozen_worker_can_record_nothing(db, orders, process):
    """It is stopped in a step, its sessions are ended, and another takes over; then it goes on, and gives up."""
    db.run("SELECT durable.start('frozen', '1.5', handler => 'slow', queue => 'orders')")
    frozen = process()
    db.until("SELECT count(*) = 1 FROM ledger")
    frozen.popen.send_signal(signal.SIGSTOP)
    db.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'shop-%%'")
    other = process()
    db.until("SELECT count(*) = 2 FROM ledger")
    frozen.popen.send_signal(signal.SIGCONT)
    db.until("SELECT status = 'COMPLETED' FROM durable.task WHERE name = 'frozen' ORDER BY id DESC LIMIT 1")
    history = db.run(
        "SELECT name, status, attempt, executor_id FROM durable.step s JOIN durable.workflow w ON w.id = s.workflow_id".replace(
            "executor_id", "s.executor_id"
        )
        .replace("name,", "s.name,")
        .replace("status,", "s.status,")
        + " WHERE w.name = 'frozen' ORDER BY s.sequence"
    )
    assert [row[:3] for row in history] == [("work", "COMPLETED", 2), ("after", "COMPLETED", 1)]
    assert frozen.end()[0] == 0 and other.end()[0] == 0
    assert Counter(db.ledger()) == {"slow": 2, "after": 1}


def test_the_same_executor_id_twice(db, orders, process):
    """The second process is the executor; the first one is told, and ends."""
    first = process("--executor", "twin")
    db.until("SELECT count(*) = 1 FROM durable.executor WHERE executor_id = 'twin'")
    time.sleep(0.3)
    second = process("--executor", "twin")
    assert first.popen.wait(20) != 0
    orders(5)
    finished(db, 5)
    assert second.end()[0] == 0


def test_a_client_that_outlives_the_server(db):
    """A call that can be repeated is; what could happen twice is an error."""
    app = durable.App(db.conninfo)
    handle = app.start("nobody", "outlives", queue="orders")
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (db.name,))
    assert handle.status() == "PENDING"
    with psycopg.connect(autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (db.name,))
    with pytest.raises(psycopg.OperationalError):
        handle.signal("x")
    handle.cancel()
    app.close()
