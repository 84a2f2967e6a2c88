"""OpenTelemetry, where it is installed: `durable.telemetry.install(app)` exports a span an attempt, and one a workflow.

The trace is the root workflow's: its id is that workflow's uuid. A span's id is the low half of the step's id, for
later attempts with the attempt in its first bits. Spans are exported when they end, and not again on a replay. What a
step's function traces by itself stands below the step's span.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from opentelemetry import context as current
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from .worker import attributes


def span_context(root: UUID, id: UUID, attempt: int = 1) -> SpanContext:
    """The span of an attempt at a step, or of a workflow."""
    span_id = (id.int ^ (attempt - 1) << 50) & (2**64 - 1)
    return SpanContext(root.int, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Observer:
    """What becomes of steps and workflows, as spans."""

    def __init__(self, provider: TracerProvider):
        self.provider = provider
        self.tokens: dict[tuple[UUID, int], Any] = {}

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
        root = flow._driven.id
        if event == "execute":
            inside = trace.set_span_in_context(NonRecordingSpan(span_context(root, row.step_id, row.attempt)))
            self.tokens[row.step_id, row.attempt] = current.attach(inside)
        if event not in ("completed", "failed"):
            return
        links: list[Link] = []
        parent: SpanContext | None
        if name is not None:
            parent, mine, title = span_context(root, flow.id), span_context(root, row.step_id, row.attempt), name
            if (token := self.tokens.pop((row.step_id, row.attempt), None)) is not None:
                current.detach(token)
        else:
            parent = span_context(root, flow._parent.id) if flow._parent else None
            mine, title = span_context(root, flow.id), f"workflow {flow.name}"
            if (lease := flow._top().lease) > 1:  # it has been driven before
                links.append(Link(span_context(root, root), {"durable.lease": lease}))
        status = Status(StatusCode.ERROR, str(error)) if error else Status(StatusCode.OK)
        span = ReadableSpan(
            title,
            mine,
            parent,
            self.provider.resource,
            attributes(flow, name, sequence, row),
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
