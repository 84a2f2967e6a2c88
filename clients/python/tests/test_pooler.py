"""Behind PgBouncer in transaction mode, with default settings, without being told."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time

import durable
import pytest
from conftest import HERE


@pytest.fixture
def pooled(db, tmp_path):
    """The database behind PgBouncer: its connection string."""
    pooler = subprocess.Popen([HERE.parents[1] / "conformance/pooler", tmp_path])
    end = time.monotonic() + 10
    while not os.path.exists(tmp_path / ".s.PGSQL.6544"):
        if pooler.poll() == 77:
            pytest.skip("there is no pgbouncer")
        assert time.monotonic() < end and pooler.poll() is None
        time.sleep(0.05)
    yield f"host={tmp_path} port=6544 dbname={db.name}"
    pooler.terminate()
    pooler.wait(10)


def outcome(db, names):
    """Sessions that were used, executors that are bound, and workflows that were taken from one."""
    db.until("SELECT bool_and(status = 'COMPLETED') FROM durable.workflow WHERE name = ANY (%s)", names)
    return db.run(
        "SELECT (SELECT count(DISTINCT attempt) FROM ledger WHERE name = ANY (%s)) AS sessions,"
        " (SELECT count(*) FROM durable.executor WHERE bound IS NOT NULL) AS bound,"
        " (SELECT max(recovery_count) FROM durable.workflow WHERE name = ANY (%s)) AS recovered",
        names,
        names,
    )[0]


BOOK = "INSERT INTO ledger SELECT %s, pg_backend_pid()"


def test_threads(db, pooled):
    apps = [durable.App(pooled) for _ in range(2)]
    for app in apps:

        @app.workflow("pooled", queue="pooled")
        def program(ctx, n):
            for i in range(8):
                ctx.step(f"s{i}", int)
            ctx.transaction("book", lambda tx: tx.execute(BOOK, (ctx.name,)) and None)
            payload = ctx.signal("go").payload
            ctx.emit("gone", payload)
            return 2 * n + payload

        app.queue("pooled")
    # neither of two workers takes from the other what it drives
    options = {"concurrency": 4, "patience": 0.5, "grace": 5, "handle_signals": False}
    workers = [threading.Thread(target=app.run, kwargs=options) for app in apps]
    for worker in workers:
        worker.start()
    names = [f"threads-{n}" for n in range(20)]
    try:
        handles = [apps[0].start(program, name, n) for n, name in enumerate(names)]
        db.until("SELECT count(*) = 20 FROM durable.open_wait")
        for handle in handles:
            handle.signal("go", 100)
        assert [handle.result(timeout=30) for handle in handles] == [2 * n + 100 for n in range(20)]
        assert [event.payload for event in handles[0].events(follow=True)] == [100]
        assert outcome(db, names) == (2, 0, 0)
        last = apps[0].start(program, "last", 1)
        db.until("SELECT count(*) = 1 FROM durable.open_wait")
    finally:
        for app in apps:
            app.stop()
        for worker in workers:
            worker.join(30)
        for app in apps:
            app.close()
    assert db.value("SELECT status FROM durable.workflow WHERE id = %s", last.id) == "PENDING"


def test_tasks(db, pooled):
    async def run():
        app = durable.AsyncApp(pooled)

        async def book(tx, name):
            await tx.execute(BOOK, (name,))

        @app.workflow("tasks", queue="tasks")
        async def program(ctx, n):
            await ctx.step("s", int)
            await ctx.transaction("book", book, ctx.name)
            await ctx.sleep("nap", 0.1)
            return 2 * n

        app.queue("tasks")
        worker = asyncio.create_task(app.work(concurrency=8))
        handles = await asyncio.gather(*(app.start(program, name, n) for n, name in enumerate(names)))
        results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
        app.stop()
        await worker
        return results

    names = [f"tasks-{n}" for n in range(20)]
    assert asyncio.run(run()) == [2 * n for n in range(20)]
    assert outcome(db, names)[1:] == (0, 0)
