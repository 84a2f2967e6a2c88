"""AsyncApp: the same with `async def`, and many at once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import durable
import pytest


class Boom(Exception):
    pass


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


class Working:
    """Runs the worker of an app as a task."""

    def __init__(self, app: durable.AsyncApp, **options: Any):
        self.app, self.options = app, {"grace": 5} | options

    async def __aenter__(self) -> None:
        self.task = asyncio.create_task(self.app.work(**self.options))

    async def __aexit__(self, *_: Any) -> None:
        self.app.stop()
        await self.task
        await self.app.close()


def test_a_program(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("leaf", queue="leaves")
        async def leaf(ctx: durable.AsyncContext, n: int) -> int:
            return await ctx.step("double", lambda: n * 2)

        @app.workflow("all")
        async def everything(ctx: durable.AsyncContext, n: int) -> dict[str, Any]:
            async def slow(x: int, step: durable.Step) -> int:
                await asyncio.sleep(0.01)
                return x + step.attempt

            def blocking(x: int) -> int:
                time.sleep(0.01)
                return x

            async def book(tx: Any, x: int) -> int:
                cursor = await tx.execute("SELECT %s + 1", (x,))
                return (await cursor.fetchone())[0]

            callback = await ctx.callback("paid", timeout=60)
            await ctx.step("tell", lambda: app.answer(callback.token, {"sum": 3}))
            handles = [await ctx.child(f"leaf {i}", leaf, i, queue="leaves") for i in range(3)]
            inline = await ctx.child("inline", leaf, 10)
            try:
                await ctx.step("bad", slow, "x")
            except durable.Failed as error:
                failed = error.type
            first = await ctx.first(ctx.sleep("long", 3600), ctx.sleep("short", 0.05))
            return {
                "steps": await asyncio.gather(*(ctx.step(f"s{i}", slow, i) for i in range(5))),
                "blocking": await ctx.step("blocking", blocking, 3),
                "book": await ctx.transaction("book", book, 4),
                "paid": await callback,
                "leaves": await ctx.gather(*handles, ctx.step("between", blocking, 7)),
                "inline": inline,
                "failed": failed,
                "first": first.name,
                "map": await ctx.map("square", range(20), lambda i: i * i, concurrency=5),
                "signal": (await ctx.signal("go", timeout=60)).payload,
                "event": await ctx.emit("progress", 1),
                "now": (await ctx.now()).isoformat(),
            }

        handle = await app.start(everything, "everything", 1)
        async with Working(app):
            await handle.signal("go", 5)
            result = await handle.result(30)
            events = [event async for event in handle.events(follow=True)]
        return result, events

    result, events = run(main())
    assert result == {
        "steps": [1, 2, 3, 4, 5],
        "blocking": 3,
        "book": 5,
        "paid": {"sum": 3},
        "leaves": [0, 2, 4, 7],
        "inline": 20,
        "failed": "TypeError",
        "first": "short",
        "map": [i * i for i in range(20)],
        "signal": 5,
        "event": 1,
        "now": result["now"],
    }
    assert [(event.topic, event.payload) for event in events] == [("progress", 1)]


def test_what_many_send_at_once_is_one_call(db):
    """300 workflows at once, ten connections: their calls go together."""

    async def main() -> tuple[Any, int]:
        app = durable.AsyncApp(db.conninfo, fused=True, pool=4)

        @app.workflow("many", queue="many")
        async def many(ctx: durable.AsyncContext, n: int) -> int:
            total = 0
            for i in range(5):
                total += await ctx.step(f"s{i}", lambda i=i: i * n)
            return total

        handles = await asyncio.gather(*(app.start(many, f"many-{n}", n) for n in range(300)))
        before = db.value("SELECT pg_current_xact_id()::text::bigint")
        async with Working(app, concurrency=300):
            results = await asyncio.gather(*(handle.result(50) for handle in handles))
            return results, db.value("SELECT pg_current_xact_id()::text::bigint") - before

    results, transactions = run(main())
    assert results == [10 * n for n in range(300)]
    assert transactions < 1200  # and not 300 * 6


def test_a_refusal_in_a_batch_is_the_one_that_it_concerns(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("one", queue="batch")
        async def one(ctx: durable.AsyncContext, n: int) -> int:
            await ctx.step("wait", lambda: gate.wait())
            return await ctx.step("next", lambda: n)

        gate = asyncio.Event()
        handles = [await app.start(one, f"batch-{n}", n) for n in range(20)]
        async with Working(app, concurrency=20):
            while await asyncio.to_thread(
                db.value,
                "SELECT count(*) < 20 FROM durable.task WHERE kind = 'STEP' AND status = 'RUNNING' AND name = 'wait'",
            ):
                await asyncio.sleep(0.02)
            await handles[7].cancel()
            gate.set()
            return await asyncio.gather(*(handle.result(20) for handle in handles), return_exceptions=True)

    results = run(main())
    assert isinstance(results.pop(7), durable.Cancelled)
    assert results == [n for n in range(20) if n != 7]


def test_a_fan_out_of_children_suspends_its_parent_once(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)
        runs = []

        @app.workflow("child", queue="children")
        async def child(ctx: durable.AsyncContext, n: int) -> int:
            await ctx.sleep("nap", 0.4)
            return n

        @app.workflow("parent", queue="parents")
        async def parent(ctx: durable.AsyncContext, n: int) -> int:
            runs.append(n)
            handles = [await ctx.child(f"c{i}", child, i, queue="children") for i in range(n)]
            return sum(await ctx.gather(*handles))

        handle = await app.start(parent, "parent", 40)
        async with Working(app, patience=0.1):
            return await handle.result(40), len(runs)

    total, runs = run(main())
    assert total == sum(range(40)) and runs <= 3


def test_a_timeout_interrupts_a_coroutine(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("t")
        async def t(ctx: durable.AsyncContext, _: None) -> str:
            try:
                await ctx.step("hangs", lambda: asyncio.sleep(60), timeout=0.2)
            except durable.Failed as error:
                return error.type
            return "wrong"

        result = await app.drive(t, "t", None)
        await app.close()
        return result

    assert run(main()) == "TimeoutError"


def test_failures(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("f")
        async def f(ctx: durable.AsyncContext, _: None) -> None:
            async def boom() -> None:
                raise Boom("no")

            await asyncio.gather(ctx.step("ok", lambda: 1), ctx.step("boom", boom))

        with pytest.raises(durable.Failed) as error:
            await app.drive(f, "f", None)
        await app.close()
        return error.value.type, error.value.message

    assert run(main()) == ("Boom", "boom: no")


def test_a_task_group_is_suspended(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("grouped")
        async def grouped(ctx: durable.AsyncContext, _: None) -> list[Any]:
            async def nap() -> str:
                await ctx.sleep("nap", 0.5)
                return "slept"

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ctx.step("one", lambda: 1)), group.create_task(nap())]
            return [task.result() for task in tasks]

        async with Working(app, patience=0.1):
            return await (await app.start(grouped, "grouped", None)).result(10)

    assert run(main()) == [1, "slept"]


def test_what_asyncio_takes_for_its_own_is_a_failure(db):
    async def main() -> Any:
        app = durable.AsyncApp(db.conninfo)

        @app.workflow("stray")
        async def stray(ctx: durable.AsyncContext, _: None) -> None:
            def stops() -> int:
                return next(iter([]))

            with pytest.raises(durable.Failed, match="StopIteration"):
                await ctx.step("stops", stops)

            async def wait() -> None:
                task = asyncio.create_task(asyncio.sleep(60))
                task.cancel()
                await task

            with pytest.raises(durable.Failed) as error:
                await ctx.step("step", wait)
            assert error.value.type == "CancelledError"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await ctx.step("late", asyncio.sleep, 60)
            await wait()

        async with Working(app):
            await (await app.start(stray, "stray", None)).result(10)

    with pytest.raises(durable.Failed) as error:
        run(main())
    assert error.value.type == "CancelledError"
