"""The examples, each run as its text says."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture
def env(db, monkeypatch):
    monkeypatch.setenv("PGDATABASE", db.name)
    monkeypatch.setenv("PYTHONPATH", str(EXAMPLES.parent / "clients/python"))
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def run(env):
    """Runs an example, or begins it where it goes on until SIGTERM."""
    begun: list[subprocess.Popen[str]] = []

    def start(*command: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [sys.executable, *command], cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.terminate()
        assert process.wait(20) in (0, 1, -9)  # some tests kill


def wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    output = process.communicate(timeout=150)[0]
    assert process.returncode == code, output
    return output


def test_demo(run, db, tmp_path):
    """The whole of it, on a small package database."""
    stanzas = [
        f"Package: p{n}\nVersion: 1\nArchitecture: all\nSection: s{n % 4}\nInstalled-Size: {n}\nDepends: p{n // 2}, libc6\n"
        for n in range(1, 100)
    ]
    (tmp_path / "status").write_text("\n".join(stanzas))
    os.chmod(tmp_path, 0o755)
    (tmp_path / "info").mkdir()
    output = said(run("demo.py", str(tmp_path / "status")))
    assert "all checks passed" in output and output.count("  ok  ") == 10 and output.count("SIGKILL") == 2


def test_order(run, db):
    db.run("CREATE TABLE shop_ledger (name text, receipt text)")
    run("order.py", "worker")
    asked = {
        name: run("order.py", "start", name, item) for name, item in [("o1", "lamp"), ("o2", "book"), ("o3", "yacht")]
    }
    db.until("SELECT count(*) = 2 FROM durable.workflow WHERE suspended_at IS NOT NULL")
    said(run("order.py", "approve", "o1"))
    said(run("order.py", "refuse", "o2", "too dear"))
    assert "lamp is on its way" in said(asked["o1"])
    assert "refunded: too dear" in said(asked["o2"])
    assert "Declined: charge: the card is declined" in said(asked["o3"], 1)
    assert [name for name, _ in db.run("SELECT * FROM shop_ledger")] == ["o1"]


def test_agent(run, db):
    run("agent.py", "worker")
    lines = said(run("agent.py", "ask", "Why is the sky blue?")).splitlines()
    assert lines[0] == "plan: ['plan Why', 'plan is', 'plan the', 'plan sky']"
    assert lines[1] == f"answer: {lines[2]}" and lines[2].startswith("PLAN WHY (1 NOTES)")
    assert (
        db.value(
            "SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY started_at ROWS 2 PRECEDING) n FROM durable.workflow"
            " WHERE queue_name = 'research') t"
        )
        == 3
    )
    overlaps = db.value(
        "SELECT max((SELECT count(*) FROM durable.workflow b WHERE b.queue_name = 'research'"
        " AND b.started_at <= a.started_at AND b.completed_at > a.started_at))"
        " FROM durable.workflow a WHERE a.queue_name = 'research'"
    )
    assert overlaps <= 2


def test_web(env, db):
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    import web

    async def main() -> Any:
        transport = httpx.ASGITransport(app=web.api)
        async with web.lifespan(web.api), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            begun = [(await client.post("/payments/p1", json={"sum": 30})).json() for _ in range(2)]
            for _ in range(200):
                events = [event async for event in (await web.app.attach("p1")).events()]
                if events:
                    break
                await asyncio.sleep(0.02)
            token = events[0].payload["webhook"]
            taken = [(await client.post(f"/webhooks/{token}", json={"paid": True})).json() for _ in range(2)]
            stream = (await client.get("/payments/p1/events", headers={"last-event-id": "1"})).text
            status = (await client.get("/payments/p1")).json()
            missing = (await client.get("/payments/none")).status_code
            return begun, taken, stream, status, missing

    begun, taken, stream, status, missing = asyncio.run(asyncio.wait_for(main(), 60))
    assert [each["created"] for each in begun] == [True, False] and [each["taken"] for each in taken] == [True, False]
    assert stream == 'id: 2\nevent: state\ndata: "paid"\n\nevent: end\ndata: "COMPLETED"\n\n'
    assert (status, missing) == ({"status": "COMPLETED"}, 404)


def test_queue_worker(run, db):
    """By a driver alone: woken by a start, a failure is tried again, and what one leaves behind another takes up at once."""
    db.run("SELECT durable.create_queue('thumbnails', if_exists => 'keep')")
    start = "SELECT durable.start(%s, %s, 'thumbnail', queue => 'thumbnails', max_retries => 1, backoff => '0.1 s')"
    ended = "SELECT status::text, retry_count FROM durable.task WHERE name LIKE 'thumbnail-%%' ORDER BY name"
    one = run("queue_worker.py", "--executor", "one")
    assert one.stdout.readline() == "one waits for work\n"
    db.run(start, "thumbnail-1", '{"image": 1}')
    db.run(start, "thumbnail-2", '{"image": -2}')
    wait_until(lambda: db.run(ended) == [("COMPLETED", 0), ("FAILED", 1)])
    db.run(start, "thumbnail-3", '{"image": 3, "seconds": 3}')
    wait_until(lambda: db.run(ended)[2] == ("RUNNING", 0))
    one.kill()
    two = run("queue_worker.py", "--executor", "two")
    wait_until(lambda: db.run(ended)[2] == ("COMPLETED", 0))
    two.terminate()
    assert "{'image': 3, 'seconds': 3} done: {'bytes': 9003}" in said(two)
    # told to stop just before it waits
    for n in range(5):
        late = run("queue_worker.py", "--executor", f"late {n}")
        late.stdout.readline()
        time.sleep(n / 1000)
        late.terminate()
        assert late.wait(10) == 0


@pytest.mark.parametrize("library", ["psycopg", "sqlalchemy", "django"])
def test_own_transaction(env, db, library):
    pytest.importorskip(library)
    if library == "django" and tuple(map(int, psycopg.__version__.split(".")[:3])) < (3, 1, 8):
        pytest.skip("Django needs psycopg 3.1.8")
    import own_transaction

    db.run("CREATE TABLE IF NOT EXISTS member (name text)")
    own_transaction.app.conninfo = own_transaction.app.driver.conninfo = db.conninfo
    own_transaction.app._make_queue("mail")
    db.run("SELECT durable.create_queue('mail', if_exists => 'keep')")
    begin = getattr(own_transaction, f"with_{library}")
    handle = begin(library)
    with pytest.raises(RuntimeError, match="rolled back"):
        begin(library + "-not", fail=True)
    assert db.run("SELECT name FROM durable.workflow WHERE name LIKE 'welcome-%%' ORDER BY id DESC LIMIT 1") == [
        (f"welcome-{library}",)
    ]
    assert db.value("SELECT count(*) FROM member WHERE name LIKE %s", library + "%") == 1
    assert handle.created and handle.status() == "PENDING"
    handle.cancel()
    own_transaction.app.driver.close()
