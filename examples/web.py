#!/usr/bin/env python3
"""FastAPI: begin a workflow by a request, answer it by a webhook, follow it by server-sent events.

    uvicorn web:api                                              # pip install fastapi uvicorn
    curl -X POST localhost:8000/payments/p1 -d '{"sum": 30}' -H 'content-type: application/json'
    curl -N localhost:8000/payments/p1/events
    curl -X POST localhost:8000/webhooks/TOKEN -d '{"paid": true}' -H 'content-type: application/json'

The worker runs in the same process, as a task; it could as well be a process of its own.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import durable
from fastapi import FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse

app = durable.AsyncApp()


@app.workflow("payment", queue="payments")
async def payment(ctx: durable.AsyncContext, order: dict) -> dict:
    callback = await ctx.callback("paid", timeout="1 hour")
    await ctx.emit("state", {"ask": order["sum"], "webhook": str(callback.token)})
    try:
        answer = await callback
    except durable.TimedOut:
        await ctx.emit("state", "expired")
        return {"paid": False}
    receipt = await ctx.step("receipt", lambda step: f"receipt {step.id}")
    await ctx.emit("state", "paid")
    return {**answer, "receipt": receipt}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Runs the worker beside the server, and drains it at its end."""
    import asyncio

    worker = asyncio.create_task(app.work())
    yield
    app.stop()
    await worker
    await app.close()


api = FastAPI(lifespan=lifespan)


async def found(name: str) -> durable.AsyncHandle[Any]:
    try:
        return await app.attach(name)
    except durable.DurableError as error:
        raise HTTPException(404, str(error)) from error


@api.post("/payments/{name}", status_code=202)
async def begin(name: str, order: dict) -> dict:
    """However often it is sent: one payment of that name."""
    handle = await app.start(payment, name, order)
    return {"id": str(handle.id), "created": handle.created}


@api.get("/payments/{name}")
async def status(name: str) -> dict:
    handle = await found(name)
    return {"status": await handle.status()}


@api.post("/webhooks/{token}")
async def webhook(token: str, body: dict) -> dict:
    """A second delivery changes nothing, and is told that it is one."""
    try:
        return {"taken": await app.answer(token, body)}
    except durable.DurableError as error:
        raise HTTPException(409, str(error)) from error


@api.get("/payments/{name}/events")
async def events(name: str, last_event_id: int = Header(0)) -> StreamingResponse:
    """A browser that comes back says what it has seen last, and misses nothing."""
    handle = await found(name)

    async def stream() -> AsyncIterator[str]:
        async for event in handle.events(after=last_event_id, follow=True):
            yield f"id: {event.n}\nevent: {event.topic}\ndata: {json.dumps(event.payload)}\n\n"
        yield f"event: end\ndata: {json.dumps(await handle.status())}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream")
