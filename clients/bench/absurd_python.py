import asyncio
from pathlib import Path
from threading import local

import psycopg
from absurd_sdk import Absurd, AsyncAbsurd, AsyncTaskContext
from contest import CONCURRENCY, KIND, STEPS, began, contest, did, each

with psycopg.connect(autocommit=True) as conn:
    conn.execute(Path("absurd.sql").read_bytes())
    Absurd(conn, queue_name="bench").create_queue()
clients = local()


def spawn(n: int) -> None:
    if not hasattr(clients, "mine"):
        clients.mine = Absurd(psycopg.connect(autocommit=True), queue_name="bench")
    clients.mine.spawn("program", n, queue="bench")


async def run() -> None:
    app = AsyncAbsurd(await psycopg.AsyncConnection.connect(autocommit=True), queue_name="bench")

    @app.register_task("program")
    async def program(n: int, ctx: AsyncTaskContext) -> None:
        began(n)
        if KIND == "job":
            did()
            return
        for step in range(STEPS):
            await ctx.step(f"step-{step}", lambda step=step: work(step))

    await app.start_worker(concurrency=CONCURRENCY, poll_interval=0.02)


async def work(step: int) -> dict[str, int]:
    return did(step)


contest(lambda first, number: each(range(first, first + number), spawn), lambda: asyncio.run(run()))
