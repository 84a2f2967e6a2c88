"""The runner of clients/conformance for the Python client: programs as data, run by the public interface."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import durable  # noqa: E402
import psycopg  # noqa: E402
from psycopg.types.json import Jsonb  # noqa: E402

logging.basicConfig(level=logging.INFO)
IS_ASYNC = sys.argv[1] == "--async"
CASE = json.loads(Path(sys.argv[-1]).read_text())
CAUGHT = (durable.Failed, durable.TimedOut, durable.Cancelled, durable.DeadlineExceeded)
NAME = os.environ["CONFORMANCE_NAME"]


class Boom(Exception):
    detail: Any = None


class Ended(Exception):
    """The program's `return`."""


def direct(sql: str, *args: Any) -> Any:
    """The world outside: on a connection of its own, in autocommit mode."""
    while True:
        try:
            with psycopg.connect(os.environ["CONFORMANCE_DIRECT"], autocommit=True) as conn:
                cursor = conn.execute(sql, args)  # type: ignore[arg-type]
                return cursor.fetchall() if cursor.description else None
        except psycopg.OperationalError:
            time.sleep(0.1)


def fault(op: dict[str, Any], name: str, when: str) -> None:
    if (kind := op.get("fault", {}).get(when)) is not None:
        while not direct("SELECT conformance.fault(%s, %s)", f"{name}:{when}", kind)[0][0]:
            time.sleep(0.05)


async def wait(value: Any) -> Any:
    return await value if inspect.iscoroutine(value) or (IS_ASYNC and inspect.isawaitable(value)) else value


class Program:
    """One run of a program; `async def`, and for a plain context nothing in it ever waits."""

    def __init__(self, ctx: Any, ops: list[dict[str, Any]], input: Any):
        self.ctx, self.ops, self.results = ctx, ops, {"input": input}

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return (
                self.results[value["$"]]
                if set(value) == {"$"}
                else {key: self.value(each) for key, each in value.items()}
            )
        return [self.value(each) for each in value] if isinstance(value, list) else value

    async def run(self) -> Any:
        try:
            await self.all(self.ops)
        except Ended as ended:
            return ended.args[0]

    async def all(self, ops: list[dict[str, Any]]) -> None:
        for op in ops:
            kind = next(kind for kind in KINDS if kind in op)
            name = "|".join(op[kind]) if kind == "signal" and isinstance(op[kind], list) else str(op[kind])
            name = op.get("as", kind if kind in ("gather", "first") else name)
            is_step = kind in ("step", "transaction", "map")
            if not is_step:
                fault(op, name, "before")
            try:
                self.results[name] = await wait(getattr(self, kind)(op[kind], op))
            except CAUGHT as error:
                if not op.get("catch"):
                    raise
                self.results[name] = {"caught": type(error).__name__}
                if isinstance(error, durable.Failed):
                    self.results[name] |= {"type": error.type, "message": error.message, "attempts": error.attempts}
            fault(op, name, "after")

    def effect(self, op: dict[str, Any], name: str, step: durable.Step, returns: Any, fails: int) -> Any:
        fault(op, name, "before")
        direct(
            "INSERT INTO conformance.ledger (name, step_id, attempt, value) VALUES (%s, %s, %s, %s)",
            name,
            step.id,
            step.attempt,
            Jsonb(returns),
        )
        fault(op, name, "in")
        end = time.monotonic() + op.get("takes", 0)
        while time.monotonic() < end and not step.cancelled:
            time.sleep(0.01)
        if step.attempt <= fails:
            message = op.get("error", "boom")
            if op.get("fatal"):
                raise durable.Fatal(message, op.get("detail"))
            if "after" in op:
                raise durable.RetryAfter(op["after"], message)
            error = Boom(message)
            error.detail = op.get("detail")
            raise error
        return returns

    def options(self, op: dict[str, Any]) -> dict[str, Any]:
        retry = op.get("retry")
        return {"retry": durable.Retry(**retry) if retry else None, "timeout": op.get("timeout")}

    def step(self, name: str, op: dict[str, Any]) -> Any:
        def run(step: durable.Step) -> Any:
            return self.effect(op, name, step, self.value(op.get("returns")), op.get("fail", 0))

        return self.ctx.step(name, run, **self.options(op))

    def transaction(self, name: str, op: dict[str, Any]) -> Any:
        insert = "INSERT INTO conformance.rows VALUES (%s, %s)", (name, Jsonb(self.value(op.get("writes"))))

        def run(tx: Any, step: durable.Step) -> Any:
            tx.execute(*insert)
            return self.effect(op, name, step, self.value(op.get("returns")), op.get("fail", 0))

        async def arun(tx: Any, step: durable.Step) -> Any:
            await tx.execute(*insert)
            return await asyncio.to_thread(
                self.effect, op, name, step, self.value(op.get("returns")), op.get("fail", 0)
            )

        return self.ctx.transaction(name, arun if IS_ASYNC else run, **self.options(op))

    def map(self, name: str, op: dict[str, Any]) -> Any:
        def run(pair: list[Any], step: durable.Step) -> Any:
            return self.effect(op, f"{name}[{pair[0]}]", step, pair[1], op.get("fail", {}).get(str(pair[0]), 0))

        more = {"retry": durable.Retry(**op["retry"])} if "retry" in op else {}
        return self.ctx.map(
            name,
            [[n, item] for n, item in enumerate(self.value(op["items"]))],
            run,
            concurrency=op.get("concurrency", 10),
            **more,
        )

    async def result(self, name: str, op: dict[str, Any]) -> Any:
        def run() -> Any:
            return app.start(WORKFLOWS[op["program"]], name, self.value(op.get("input"))).result(timeout=30)

        async def arun() -> Any:
            return await (await app.start(WORKFLOWS[op["program"]], name, self.value(op.get("input")))).result(30)

        return await wait(self.ctx.step(name, arun if IS_ASYNC else run))

    def waits(self, op: dict[str, Any], later: bool) -> Any:
        """What waits: at once, or begun for `gather` and `first`."""
        kind = next(kind for kind in ("sleep", "signal", "callback", "child") if kind in op)
        name, timeout = op[kind], op.get("timeout")
        source = self.ctx.later if later and not IS_ASYNC and kind in ("sleep", "signal") else self.ctx
        if kind == "sleep":
            return source.sleep(name, op["seconds"])
        if kind == "signal":
            return source.signal(*(name if isinstance(name, list) else [name]), timeout=timeout)
        if kind == "callback":
            return source.callback(name, timeout=timeout)
        return source.child(
            name,
            WORKFLOWS[op["program"]],
            self.value(op.get("input")),
            **({"queue": "conformance"} if op.get("queue") else {}),
        )

    async def sleep(self, name: str, op: dict[str, Any]) -> Any:
        return await wait(self.waits(op, False))

    async def signal(self, name: Any, op: dict[str, Any]) -> Any:
        answer = await wait(self.waits(op, False))
        return {"signal": answer.name, "payload": answer.payload}

    async def callback(self, name: str, op: dict[str, Any]) -> Any:
        return await wait((await wait(self.waits(op, False))).result())

    async def child(self, name: str, op: dict[str, Any]) -> Any:
        result = await wait(self.waits(op, False))
        return await wait(result.result()) if op.get("queue") else result

    async def begun(self, ops: list[dict[str, Any]]) -> list[Any]:
        """Waits that have begun; of an async context sleeps and signals are not awaited."""
        waits = [self.waits(op, True) for op in ops]
        return [each if isinstance(each, durable.Waiting) else await wait(each) for each in waits]

    async def gather(self, ops: list[dict[str, Any]], op: dict[str, Any]) -> Any:
        results = await wait(self.ctx.gather(*await self.begun(ops)))
        return [
            {"signal": each.name, "payload": each.payload} if isinstance(each, durable.Answer) else each
            for each in results
        ]

    async def first(self, ops: list[dict[str, Any]], op: dict[str, Any]) -> Any:
        return (await wait(self.ctx.first(*await self.begun(ops)))).name

    async def emit(self, topic: str, op: dict[str, Any]) -> Any:
        return await wait(self.ctx.emit(topic, self.value(op.get("payload"))))

    async def patched(self, name: str, op: dict[str, Any]) -> Any:
        result = await wait(self.ctx.patched(name))
        await self.all(op.get("then" if result else "else", []))
        return result

    def uuid(self, name: str, op: dict[str, Any]) -> Any:
        return str(self.ctx.uuid())

    def random(self, name: str, op: dict[str, Any]) -> Any:
        return self.ctx.random()

    async def now(self, name: str, op: dict[str, Any]) -> Any:
        now = await wait(self.ctx.now())
        return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    async def count_down(self, name: str, op: dict[str, Any]) -> Any:
        if isinstance(self.results["input"], int) and self.results["input"] > 0:
            await wait(self.ctx.continue_as(self.results["input"] - 1))

    def fail(self, message: str, op: dict[str, Any]) -> Any:
        raise durable.Fatal(message) if op.get("fatal") else Boom(message)

    def end(self, value: Any, op: dict[str, Any]) -> Any:
        raise Ended(self.value(value))


setattr(Program, "return", Program.end)
KINDS = (
    "result",
    "step",
    "transaction",
    "map",
    "gather",
    "first",
    "sleep",
    "signal",
    "callback",
    "child",
    "emit",
    "patched",
    "uuid",
    "random",
    "now",
    "count_down",
    "fail",
    "return",
)  # in this order: `child` and `map` have other keys, too
WORKFLOWS: dict[str, Any] = {}
app: Any = (durable.AsyncApp if IS_ASYNC else durable.App)(executor=NAME, application_name=NAME)


def register(name: str, ops: list[dict[str, Any]]) -> None:
    def plain(ctx: durable.Context, input: Any) -> Any:
        coroutine: Coroutine[Any, Any, Any] = Program(ctx, ops, input).run()
        try:
            coroutine.send(None)
        except StopIteration as done:
            return done.value
        raise AssertionError("it waits")

    async def waiting(ctx: durable.AsyncContext, input: Any) -> Any:
        return await Program(ctx, ops, input).run()

    WORKFLOWS[name] = app.workflow(name, queue="conformance")(waiting if IS_ASYNC else plain)


for program, operations in CASE["programs"].items():
    register(program, operations)
app.run(concurrency=10, patience=1)
