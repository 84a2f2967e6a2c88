"""Durable execution in PostgreSQL: workflows that survive the process that runs them.

    import durable
    app = durable.App("postgresql:///shop")

    @app.workflow("order", queue="orders")
    def order(ctx: durable.Context, item: str) -> dict:
        shelf = ctx.step("reserve", reserve, item)
        answer = ctx.signal("approved", "refused", timeout="3 days")
        return {"shelf": shelf, "approved": answer.name == "approved"}

    handle = app.start(order, "order-17", "book")
    app.run()

After a crash a program runs again from its top and asks for each step again; what is recorded is answered. So it must
reach the same calls in the same order: it reads clocks, files and random numbers inside steps, or by the context.
"""

from .app import App, AsyncApp, AsyncHandle, Event, Handle, Workflow
from .context import Answer, AsyncContext, Child, Context, Retry, Step, Waiting
from .errors import (
    Cancelled,
    DeadlineExceeded,
    DurableError,
    Failed,
    Fatal,
    Interrupt,
    LeaseLost,
    Locked,
    Paused,
    ProgramChanged,
    RetryAfter,
    Shutdown,
    Suspended,
    TimedOut,
)
from .testing import TestContext, replay
from .values import Codec, Duration, NotJson

__all__ = [
    "Answer",
    "App",
    "AsyncApp",
    "AsyncContext",
    "AsyncHandle",
    "Cancelled",
    "Child",
    "Codec",
    "Context",
    "DeadlineExceeded",
    "Duration",
    "DurableError",
    "Event",
    "Failed",
    "Fatal",
    "Handle",
    "Interrupt",
    "LeaseLost",
    "Locked",
    "NotJson",
    "Paused",
    "ProgramChanged",
    "Retry",
    "RetryAfter",
    "Shutdown",
    "Step",
    "Suspended",
    "TestContext",
    "TimedOut",
    "Waiting",
    "Workflow",
    "replay",
]
