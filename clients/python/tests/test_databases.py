"""Several databases: a tree of workflows stands in the one that owns its root's bucket."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import durable
from conftest import Database
from durable.protocol import bucket


def test_buckets(db):
    names = ["", "a", "order-17", "é☃𝄞", "x" * 1000][1:]
    for name in names:
        assert bucket(name) == db.value("SELECT durable.bucket(%s::text)", name)
    id = db.value("SELECT workflow_id FROM durable.start('order-17')")
    assert bucket(id) == bucket("order-17") == db.value("SELECT durable.bucket(%s::uuid)", id)


def test_two_databases(db):
    two = [Database("durable_one"), Database("durable_two")]
    databases = {(0, 2047): two[0].conninfo, (2048, 4095): two[1].conninfo}
    app = durable.App(databases=databases)

    @app.workflow("w", queue="spread")
    def w(ctx: durable.Context, n: int) -> int:
        return ctx.step("double", lambda: 2 * n) + ctx.signal("more").payload

    worker = threading.Thread(target=app.run, kwargs={"handle_signals": False})
    worker.start()
    for database in two:
        database.until("SELECT count(*) = 1 FROM durable.queue")
    handles = [app.start(w, f"w-{n}", n) for n in range(20)]
    for n in range(20):
        assert app.signal(f"w-{n}", "more", 1)
    assert [handle.result(30) for handle in handles] == [2 * n + 1 for n in range(20)]
    counts = [database.value("SELECT count(*) FROM durable.workflow") for database in two]
    assert sum(counts) == 20 and min(counts) > 0
    assert app.attach("w-3").id == handles[3].id
    app.stop()
    worker.join(20)

    async def main() -> Any:
        aapp = durable.AsyncApp(databases=databases)

        @aapp.workflow("a", queue="spread")
        async def a(ctx: durable.AsyncContext, n: int) -> int:
            return await ctx.step("double", lambda: 2 * n)

        working = asyncio.create_task(aapp.work())
        handles = await asyncio.gather(*(aapp.start(a, f"a-{n}", n) for n in range(20)))
        results = await asyncio.gather(*(handle.result(30) for handle in handles))
        aapp.stop()
        await working
        return results

    assert asyncio.run(main()) == [2 * n for n in range(20)]
    for database in two:
        assert database.run("SELECT * FROM durable.check()") == []


def test_moving(db):
    """A call for buckets that are nowhere at this moment is made again: they are about to be somewhere."""
    one = Database("durable_moving")
    one.run("SELECT durable.set_buckets('{}')")
    app = durable.App(one.conninfo)
    back = threading.Timer(0.5, one.run, ["SELECT durable.set_buckets('{[0,4096)}')"])
    back.start()
    assert app.start("h", "moved").created
    back.join()

    async def main() -> bool:
        one.run("SELECT durable.set_buckets('{}')")
        back = threading.Timer(0.5, one.run, ["SELECT durable.set_buckets('{[0,4096)}')"])
        back.start()
        handle = await durable.AsyncApp(one.conninfo).start("h", "moved")
        return handle.created

    assert not asyncio.run(main())


def test_moved(db):
    """A client learns where buckets have gone."""
    one, two = Database("durable_from"), Database("durable_to")
    for database in one, two:
        database.run("SELECT durable.create_queue('default')")
    databases = {(0, 2047): one.conninfo, (2048, 4095): two.conninfo}
    app = durable.App(databases=databases)
    names = [name for name in (f"n-{n}" for n in range(100)) if bucket(name) < 2048][:10]
    one.run("SELECT durable.set_buckets('{}')")
    for name in names[:5]:
        handle = app.start("h", name)
        assert handle.created and handle.status() == "PENDING"
        assert app.attach(name).id == handle.id
    assert two.value("SELECT count(*) FROM durable.workflow") == 5

    async def main() -> None:
        aapp = durable.AsyncApp(databases=databases)
        handles = await asyncio.gather(*(aapp.start("h", name) for name in names[5:]))
        assert [await handle.status() for handle in handles] == ["PENDING"] * 5
        await aapp.close()

    asyncio.run(main())
    assert two.value("SELECT count(*) FROM durable.workflow") == 10

    # and drives there what it drives here and now
    here = [name for name in (f"here-{n}" for n in range(100)) if bucket(name) < 2048]

    async def drive() -> int:
        aapp = durable.AsyncApp(databases=databases)

        @aapp.workflow("twice", queue="none")
        async def twice(ctx: durable.AsyncContext, n: int) -> int:
            return await ctx.step("double", lambda: 2 * n)

        output = await aapp.drive(twice, here[1], 4)
        await aapp.close()
        return output

    fresh = durable.App(databases=databases)

    @fresh.workflow("double", queue="none")
    def double(ctx: durable.Context, n: int) -> int:
        return ctx.step("double", lambda: 2 * n)

    assert fresh.drive(double, here[0], 3) == 6
    assert asyncio.run(drive()) == 8
    assert two.value("SELECT count(*) FROM durable.workflow WHERE status = 'COMPLETED'") == 2
    fresh.close()
    two.run("SELECT durable.set_buckets('{}')")
    one.run("SELECT durable.set_buckets('{[0,4096)}')")
    assert app.start("h", names[0]).created
    assert one.value("SELECT count(*) FROM durable.workflow") == 1
    app.close()
