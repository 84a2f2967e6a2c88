"""OpenTelemetry, where it is installed: `durable.telemetry.install(app)` exports a span an attempt, and one a workflow.

The trace is the root workflow's: its id is that workflow's uuid. A span's id is the low half of the step's id, for
later attempts with the attempt in its first bits. Spans are exported when they end, and not again on a replay.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

log = logging.getLogger("durable.workflow")


def span_id(id: UUID, attempt: int = 1) -> int:
    """The span of an attempt at a step, or of a workflow."""
    return (id.int & (2**64 - 1)) ^ (attempt - 1) << 50 & (2**64 - 1)


def context(trace_id: UUID, id: UUID, attempt: int = 1) -> SpanContext:
    return SpanContext(trace_id.int, span_id(id, attempt), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Observer:
    """What the client tells of steps and workflows, as spans and as structured logs."""

    def __init__(self, provider: TracerProvider):
        self.provider = provider

    def __call__(
        self,
        event: str,
        flow: Any,
        name: str | None,
        sequence: int | None,
        row: Any,
        error: BaseException | None,
        began: int | None,
    ) -> None:
        if event in ("execute", "replayed"):
            return
        root = flow._driven.id
        attributes: dict[str, Any] = {"durable.workflow.id": str(flow.id), "durable.workflow.name": flow.name}
        if flow._top().queue:
            attributes["durable.queue"] = flow._top().queue
        links: list[Link] = []
        if name is None:
            parent = context(root, flow._parent.id) if flow._parent else None
            mine, title = context(root, flow.id), f"workflow {flow.name}"
            if flow._top().lease > 1:
                links.append(Link(context(root, root), {"durable.lease": flow._top().lease}))
        else:
            attributes |= {
                "durable.step.name": name,
                "durable.step.sequence": sequence,
                "durable.attempt.number": row.attempt,
            }
            parent, mine, title = context(root, flow.id), context(root, row.step_id, row.attempt), name
        failed = event == "failed"
        status = Status(StatusCode.ERROR, str(error)) if failed else Status(StatusCode.OK)
        log.log(
            logging.WARNING if failed else logging.INFO,
            "%s %s",
            title,
            event,
            extra={"durable": attributes, "error": error},
        )
        span = ReadableSpan(
            title,
            mine,
            parent,
            self.provider.resource,
            attributes,
            [],
            links,
            SpanKind.INTERNAL,
            status=status,
            start_time=began,
            end_time=time.time_ns(),
        )
        self.provider._active_span_processor.on_end(span)


def install(app: Any, provider: TracerProvider | None = None) -> None:
    """Exports what `app` runs by that provider, or by the global one."""
    found = provider or trace.get_tracer_provider()
    if isinstance(found, TracerProvider):
        app.observers.append(Observer(found))
