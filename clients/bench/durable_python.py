import asyncio
import os

import durable
import psycopg
from contest import CONCURRENCY, CONNECTIONS, KIND, STEPS, began, contest, did, each

with psycopg.connect(autocommit=True) as conn:
    conn.execute("CREATE EXTENSION durable")
app = durable.AsyncApp(pool=CONNECTIONS, fused="BENCH_FUSED" in os.environ)
client = durable.App(pool=CONNECTIONS)


@app.workflow("program")
async def program(ctx: durable.AsyncContext, n: int) -> None:
    began(n)
    if KIND == "job":
        did()
        return
    for step in range(STEPS):
        await ctx.step(f"step-{step}", did, step)


def enqueue(first: int, number: int) -> None:
    each(range(first, first + number), lambda n: client.start("program", f"w-{n}", n, queue="default"))


contest(enqueue, lambda: asyncio.run(app.work(concurrency=CONCURRENCY)))
