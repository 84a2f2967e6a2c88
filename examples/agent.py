#!/usr/bin/env python3
"""An agent: it plans, researches the parts at once but never more than a few for one customer, and streams what it does.

    agent.py worker
    agent.py ask "Why is the sky blue?"

Each call of a model is a step: after a crash none is paid for twice. The model here is a stand-in that needs no network.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import durable

app = durable.AsyncApp()
app.queue("agents")
app.queue("research", key_concurrency=2, fair=True)  # two at once for each customer, whoever asks how much


@app.workflow("agent", queue="agents")
async def agent(ctx: durable.AsyncContext, ask: dict) -> str:
    parts = await ctx.step("plan", model, f"plan: {ask['question']}", retry=durable.Retry(3, backoff=1))
    await ctx.emit("plan", parts)
    handles = [await ctx.child(f"research {n}", research, part, queue="research", concurrency_key=ask["customer"])
               for n, part in enumerate(parts)]
    found = await ctx.gather(*handles)  # its worker is free while they run
    sources = await ctx.map("check", found, check, concurrency=3)
    answer = " ".join(await ctx.step("write", model, f"write: {' | '.join(sources)}", retry=durable.Retry(3, backoff=1)))
    await ctx.emit("answer", answer)
    return answer


@app.workflow("research", queue="research")
async def research(ctx: durable.AsyncContext, part: str) -> str:
    notes = await ctx.step("search", model, f"search: {part}", retry=durable.Retry(3, backoff=1))
    return f"{part} ({len(notes)} notes)"


async def model(prompt: str) -> list[str]:
    """Stands for a call over the network."""
    await asyncio.sleep(0.05)
    kind, _, text = prompt.partition(": ")
    return [f"{kind} {word}" for word in text.rstrip("?").split()[:4]] if kind == "plan" else text.split(" | ")


async def check(note: str) -> str:
    await asyncio.sleep(0.01)
    return note.upper()


async def main(verb: str, question: str = "") -> None:
    if verb == "worker":
        logging.basicConfig(level=logging.INFO)
        await app.work(handle_signals=True)
        return
    handle = await app.start(agent, f"ask: {question}", {"question": question, "customer": "ann"})
    async for event in handle.events(follow=True):
        print(f"{event.topic}: {event.payload}")
    print(await handle.result())
    await app.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
