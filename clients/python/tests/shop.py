"""A worker that tests start as a process of its own, and kill."""

from __future__ import annotations

import argparse
import logging
import os
import time

import durable
import psycopg

parser = argparse.ArgumentParser()
parser.add_argument("--executor")
parser.add_argument("--asynchronous", action="store_true")
parser.add_argument("--fused", action="store_true")
parser.add_argument("--concurrency", type=int, default=4)
parser.add_argument("--patience", type=float, default=0.5)
parser.add_argument("--grace", type=float, default=10)
options = parser.parse_args()
logging.basicConfig(level=logging.INFO)
name = f"shop-{os.getpid()}"
direct: psycopg.Connection | None = None


def note(what: str, step: durable.Step) -> str:
    """The outside world: committed at once, whatever becomes of the workflow."""
    global direct
    for _ in range(400):
        try:
            if direct is None or direct.closed:
                direct = psycopg.connect(autocommit=True)
            direct.execute("INSERT INTO ledger VALUES (%s, %s, %s)", (what, step.attempt, name))
            return what
        except psycopg.OperationalError:
            direct = None
            time.sleep(0.05)
    raise RuntimeError("no ledger")


connect = {"executor": options.executor, "fused": options.fused, "application_name": name}
run = {"concurrency": options.concurrency, "patience": options.patience, "grace": options.grace}

if not options.asynchronous:
    app = durable.App(**connect)

    @app.workflow("order", queue="orders")
    def order(ctx: durable.Context, n: int) -> list[str]:
        steps = [ctx.step(f"{n}/{k}", lambda step, k=k: note(f"{n}/{k}", step)) for k in range(4)]
        ctx.transaction(f"{n}/tx", lambda tx: tx.execute("INSERT INTO orders VALUES (%s)", (n,)))
        return steps

    @app.workflow("slow", queue="orders")
    def slow(ctx: durable.Context, seconds: float) -> str:
        def work(step: durable.Step) -> str:
            note("slow", step)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not step.cancelled:
                time.sleep(0.01)
            return "cancelled" if step.cancelled else "slept"

        done = ctx.step("work", work)
        ctx.step("after", lambda step: note("after", step))
        return done

    app.run(**run)
else:
    aapp = durable.AsyncApp(**connect)

    @aapp.workflow("order", queue="orders")
    async def aorder(ctx: durable.AsyncContext, n: int) -> list[str]:
        steps = [await ctx.step(f"{n}/{k}", lambda step, k=k: note(f"{n}/{k}", step)) for k in range(4)]
        await ctx.transaction(f"{n}/tx", book, n)
        return steps

    @aapp.workflow("slow", queue="orders")
    async def aslow(ctx: durable.AsyncContext, seconds: float) -> str:
        def work(step: durable.Step) -> str:  # blocks: in a thread
            note("slow", step)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not step.cancelled:
                time.sleep(0.01)
            return "cancelled" if step.cancelled else "slept"

        done = await ctx.step("work", work)
        await ctx.step("after", lambda step: note("after", step))
        return done

    async def book(tx: psycopg.AsyncConnection, n: int) -> None:
        await tx.execute("INSERT INTO orders VALUES (%s)", (n,))

    aapp.run(**run)
