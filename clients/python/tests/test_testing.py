"""The helpers for tests of programs, and telemetry."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import durable
import pytest
from durable.testing import TestContext, replay

app = durable.App()


@app.workflow("leaf")
def leaf(ctx: durable.Context, n: int) -> int:
    return ctx.step("double", lambda: n * 2)


@app.workflow("order")
def order(ctx: durable.Context, item: str) -> Any:
    shelf = ctx.step("reserve", lambda: {"item": item, "shelf": 12}, retry=durable.Retry(3, backoff=60))
    ctx.transaction("book", lambda tx: tx.execute("INSERT ..."))
    try:
        answer = ctx.signal("approved", "refused", timeout="3 days")
    except durable.TimedOut:
        return "too late"
    ctx.sleep("cool down", "1 day")
    ctx.emit("progress", {"at": "half"})
    mail = ctx.child("mail", leaf, 4, queue="mail")
    return {"shelf": shelf, "by": answer.payload, "inline": ctx.child("leaf", leaf, 4), "mail": mail.result()}


def test_a_program_in_memory():
    ctx = TestContext(signals={"approved": ["Ann"]}, children={"mail": 8})
    assert ctx.run(order, "lamp") == {"shelf": {"item": "lamp", "shelf": 12}, "by": "Ann", "inline": 8, "mail": 8}
    assert ctx.ran == ["reserve", "book", "emit:progress", "double"] and ctx.events == [("progress", {"at": "half"})]
    assert TestContext().run(order, "lamp") == "too late"


def test_preset_failures():
    ctx = TestContext(
        signals={"refused": [None]}, children={"mail": 1}, steps={"reserve": [OSError("x"), OSError("y"), 7]}
    )
    assert ctx.run(order, "lamp")["shelf"] == 7 and ctx.ran.count("reserve") == 3
    with pytest.raises(durable.Failed, match="OSError: reserve: x"):
        TestContext(steps={"reserve": OSError("x")}).run(order, "lamp")
    with pytest.raises(durable.Failed, match="RuntimeError: mail: down"):
        TestContext(signals={"approved": [1]}, children={"mail": RuntimeError("down")}).run(order, "lamp")


def test_replay(db):
    real = durable.App(db.conninfo)

    @real.workflow("w")
    def w(ctx: durable.Context, n: int) -> int:
        ctx.step("one", lambda: 1)
        ctx.sleep("nap", 0)
        return ctx.step("two", lambda: n)

    real.drive(w, "replayed", 3)
    history = real.attach("replayed").history()
    real.close()

    def changed(fn: Any) -> Any:
        return dataclasses.replace(w, fn=fn)

    replay(w, history, 3)
    replay(
        changed(lambda ctx, n: [ctx.step("one", int), ctx.sleep("nap", 5), ctx.step("two", int), ctx.step("new", int)]),
        history,
    )
    with pytest.raises(
        durable.ProgramChanged, match=r'position 1 holds wait "nap" \(sleep\), the program asks for step "zwei"'
    ):
        replay(changed(lambda ctx, n: [ctx.step("one", int), ctx.step("zwei", int)]), history)
    with pytest.raises(durable.ProgramChanged, match='position 2 holds step "two", the program ends before it'):
        replay(changed(lambda ctx, n: [ctx.step("one", int), ctx.sleep("nap", 5)]), history)


def test_telemetry(db, caplog):
    pytest.importorskip("opentelemetry.sdk")
    from durable import telemetry
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    real = durable.App(db.conninfo)
    telemetry.install(real, provider)
    caplog.set_level(logging.INFO, "durable.workflow")

    @real.workflow("child")
    def child(ctx: durable.Context, n: int) -> int:
        return ctx.step("inner", lambda: n)

    @real.workflow("traced")
    def traced(ctx: durable.Context, stop: bool) -> Any:
        def flaky(step: durable.Step) -> int:
            inside.append(trace.get_current_span().get_span_context())
            if step.attempt == 1:
                raise ValueError("once")
            return 1

        ctx.step("flaky", flaky, retry=durable.Retry(1))
        ctx.child("part", child, 1)
        if len(runs) == 0:
            runs.append(1)
            raise durable.Suspended("as if it had died")

    runs: list[int] = []
    inside: list[Any] = []
    with pytest.raises(durable.Suspended):
        real.drive(traced, "traced", True)
    real.drive(traced, "traced", True)
    real.close()
    id = db.value("SELECT id FROM durable.task WHERE name = 'traced'")
    step = db.value("SELECT durable.step_id(%s, 0)", id)
    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["flaky", "flaky", "inner", "workflow part", "workflow traced"]
    assert {span.context.trace_id for span in spans} == {id.int} and len({span.context.span_id for span in spans}) == 5
    assert spans[0].context.span_id == step.int & (2**64 - 1) and spans[0].parent.span_id == id.int & (2**64 - 1)
    assert spans[2].parent.span_id == spans[3].context.span_id and spans[3].parent.span_id == spans[4].context.span_id
    assert [span.attributes.get("durable.attempt.number") for span in spans[:2]] == [1, 2]
    assert not spans[0].status.is_ok and spans[1].status.is_ok
    assert spans[4].parent is None and len(spans[4].links) == 1
    logged = [record for record in caplog.records if record.name == "durable.workflow"]
    assert [record.message for record in logged] == [
        "traced: flaky failed: once",
        "traced: flaky completed",
        "part: inner completed",
        "part completed",
        "traced completed",
    ]
    assert vars(logged[0])["durable.step.sequence"] == 0
    assert inside[1].trace_id == id.int and inside[1].span_id == spans[1].context.span_id
