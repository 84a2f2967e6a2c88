"""Programs: each call of a context, on the first run and on a replay."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
import time
from typing import Any

import durable
import pytest


class Boom(Exception):
    detail: Any = None


def twice(app, db, workflow, name, input=None):
    """The output of a program, and what it is when all but its end is replayed."""
    seen: list[Any] = []
    original = workflow.fn

    def run(ctx, value):
        seen.append(original(ctx, value))
        if len(seen) == 1:
            raise durable.Suspended("as if the process had died")
        return seen[-1]

    changed = dataclasses.replace(workflow, fn=run)
    driver = durable.App(db.conninfo)
    with pytest.raises(durable.Suspended):
        driver.drive(changed, name, input)
    driver.drive(changed, name, input)
    driver.close()
    return seen


def test_steps_and_their_results(app, db):
    calls: list[str] = []

    @app.workflow("w")
    def w(ctx: durable.Context, n: int) -> dict[str, Any]:
        def add(a: int, b: int = 0) -> int:
            calls.append("add")
            return a + b

        def with_step(x: int, step: durable.Step) -> list[Any]:
            calls.append(step.name)
            assert step.attempt == 1 and not step.cancelled
            return [x, str(step.id)]

        return {
            "add": ctx.step("add", add, n, 2),
            "keys": ctx.step("keys", lambda: {1: "one", "t": (1, 2), "a": 1e16}),
            "step": ctx.step("given", with_step, 3),
            "lambda": ctx.step("id", lambda step: str(step.id)),
            "none": ctx.step("none", lambda: None),
            "uuid": [str(ctx.uuid()), str(ctx.uuid())],
            "random": ctx.random(),
            "now": ctx.now().isoformat(),
        }

    first, second = twice(app, db, w, "steps", 5)
    assert first == second
    assert list(first["keys"]) == ["1", "a", "t"] and first["keys"] == {"1": "one", "t": [1, 2], "a": 10**16}
    assert isinstance(first["keys"]["a"], int)
    assert first["add"] == 7 and first["none"] is None and first["step"][1] != first["lambda"]
    assert first["uuid"][0] != first["uuid"][1] and 0 <= first["random"] < 1
    assert calls == ["add", "given"]


def test_failures_are_the_same_on_a_replay(app, db):
    @app.workflow("w2")
    def w(ctx: durable.Context, _: None) -> list[Any]:
        def fails(step: durable.Step) -> None:
            error = Boom("no")
            error.detail = {"code": 7}
            raise error

        with pytest.raises(durable.Failed) as failed:
            ctx.step("bad", fails, retry=durable.Retry(2, backoff=0.01))
        error = failed.value
        return [error.name, error.type, error.message, error.detail, error.attempts]

    first, second = twice(app, db, w, "failures")
    assert first == second == ["bad", "Boom", "no", {"code": 7}, 3]


def test_retries_and_their_times(app, db):
    @app.workflow("w3")
    def w(ctx: durable.Context, _: None) -> int:
        def flaky(step: durable.Step) -> int:
            db.run("INSERT INTO ledger VALUES ('flaky', %s)", step.attempt)
            if step.attempt == 1:
                raise ConnectionError("down")
            if step.attempt == 2:
                raise durable.RetryAfter(0.5)
            return step.attempt

        return ctx.step("flaky", flaky, retry=durable.Retry(5, backoff=0.1))

    assert app.drive(w, "retries", None) == 3
    at = [row.at for row in db.run("SELECT at FROM ledger ORDER BY at")]
    assert 0.09 < (at[1] - at[0]).total_seconds() < 0.45 and 0.49 < (at[2] - at[1]).total_seconds() < 1.5


def test_fatal_is_not_tried_again(app, db):
    @app.workflow("w4")
    def w(ctx: durable.Context, _: None) -> None:
        def fatal() -> None:
            db.run("INSERT INTO ledger VALUES ('fatal')")
            raise durable.Fatal("never", {"why": 1})

        ctx.step("fatal", fatal, retry=durable.Retry(5))

    with pytest.raises(durable.Failed) as error:
        app.drive(w, "fatal", None)
    assert (error.value.type, error.value.message) == ("Fatal", "fatal: never")
    assert db.ledger() == {"fatal": 1}
    assert (
        db.value("SELECT error FROM durable.task WHERE name = 'fatal' AND parent_id IS NULL") == "Fatal: fatal: never"
    )


def test_what_cannot_be_json_is_a_failure_with_its_path(app, db):
    @app.workflow("w5")
    def w(ctx: durable.Context, _: None) -> None:
        ctx.step("pack", lambda: {"items": [1, {"x": object()}]})

    with pytest.raises(durable.Failed, match=r'step "pack" at 0: \$\.items\[1\]\.x cannot be written as JSON'):
        app.drive(w, "json", None)


def test_a_transaction_is_all_or_nothing(app, db):
    db.run("CREATE TABLE account (name text PRIMARY KEY, balance int)")

    @app.workflow("w6")
    def w(ctx: durable.Context, _: None) -> Any:
        def debit(tx: Any, amount: int, step: durable.Step) -> int:
            tx.execute("INSERT INTO account VALUES (%s, %s)", (f"n{step.attempt}", amount))
            if step.attempt < 3:
                raise Boom("not yet")
            return amount

        def never(tx: Any) -> None:
            tx.execute("INSERT INTO account VALUES ('never', 1)")
            tx.execute("INSERT INTO account VALUES ('never', 1)")

        amount = ctx.transaction("debit", debit, 30, retry=durable.Retry(5, backoff=0.01))
        try:
            ctx.transaction("never", never)
        except durable.Failed as error:
            return [amount, error.type, error.attempts]

    first, second = twice(app, db, w, "tx")
    assert first == second == [30, "UniqueViolation", 1]
    assert db.run("SELECT * FROM account") == [("n3", 30)]


def test_children(app, db, work):
    @app.workflow("leaf", queue="leaves")
    def leaf(ctx: durable.Context, n: int) -> int:
        if n == 13:
            raise Boom("unlucky")
        return ctx.step("double", lambda: n * 2)

    @app.workflow("tree")
    def tree(ctx: durable.Context, _: None) -> list[Any]:
        inline = ctx.child("inline", leaf, 1)
        handles = [ctx.child(f"leaf {n}", leaf, n, queue="leaves") for n in range(5)]
        failed = []
        bad = ctx.child("bad", leaf, 13, queue="leaves")
        try:
            ctx.child("bad inline", leaf, 13)
        except durable.Failed as error:
            failed.append([error.name, error.type, error.message])
        try:
            bad.result()
        except durable.Failed as error:
            failed.append([error.name, error.type, error.message])
        return [inline, ctx.gather(*handles), failed]

    work()
    first, second = twice(app, db, tree, "children")
    assert first == second == [2, [0, 2, 4, 6, 8], [["bad inline", "Boom", "unlucky"], ["bad", "Boom", "unlucky"]]]


def test_map(app, db):
    running, most = set(), 0
    lock = threading.Lock()

    @app.workflow("w7")
    def w(ctx: durable.Context, _: None) -> Any:
        def square(n: int, step: durable.Step) -> int:
            nonlocal most
            with lock:
                running.add(n)
                most = max(most, len(running))
            time.sleep(0.005)
            with lock:
                running.discard(n)
            if n == 3 and step.attempt == 1:
                raise Boom("once")
            return n * n

        def odd(n: int) -> int:
            if n % 2:
                raise Boom(str(n))
            return n

        before = ctx.step("before", lambda: 1)
        squares = ctx.map("square", range(30), square, concurrency=4, retry=durable.Retry(1, backoff=0.01))
        try:
            ctx.map("odd", range(5), odd)
        except durable.Failed as error:
            return [before, squares, error.message, ctx.map("none", [], odd)]

    first, second = twice(app, db, w, "map")
    assert first == second == [1, [n * n for n in range(30)], "1", []]
    assert 2 <= most <= 4


def test_waits(app, db, work):
    @app.workflow("w8")
    def w(ctx: durable.Context, _: None) -> list[Any]:
        ctx.sleep("nap", 0.05)
        callback = ctx.callback("paid", timeout=60)
        ctx.step("tell", lambda: app.answer(callback.token, {"sum": 3}))
        short, long = ctx.later.sleep("short", 0.1), ctx.later.sleep("long", "1 hour")
        first = ctx.first(long, short)
        signal = ctx.signal("approved", "refused", timeout="1 hour")
        try:
            ctx.signal("never", timeout=0.1)
        except durable.TimedOut as error:
            late = str(error)
        return [callback.result(), first.name, list(signal), late[:5]]

    handle = app.start(w, "waits")
    handle.signal("refused", {"by": "Bob"}, key="k")
    assert handle.signal("refused", {"by": "Bob"}, key="k") is False
    work()
    assert handle.result(20) == [{"sum": 3}, "short", ["refused", {"by": "Bob"}], "never"]


def test_a_long_wait_gives_its_place_free(app, db, work):
    @app.workflow("patient", queue="patient")
    def patient(ctx: durable.Context, n: int) -> Any:
        ctx.step("before", lambda: db.run("INSERT INTO ledger VALUES ('before')") and None)
        return ctx.signal("go", timeout="1 day").payload

    app.queue("patient")
    handles = [app.start(patient, f"patient-{n}", n) for n in range(6)]
    work(concurrency=2, patience=0.2)
    db.until("SELECT count(*) = 6 FROM durable.workflow WHERE queue_name = 'patient' AND suspended_at IS NOT NULL")
    for n, handle in enumerate(handles):
        handle.signal("go", n)
    assert [handle.result(20) for handle in handles] == list(range(6))
    assert db.ledger() == {"before": 6}


def test_events(app, db):
    @app.workflow("w9")
    def w(ctx: durable.Context, _: None) -> list[int]:
        numbers = [ctx.emit("progress", {"n": n}) for n in range(3)]
        ctx.emit("other")
        return numbers

    first, second = twice(app, db, w, "events")
    assert first == second == [1, 2, 3]
    handle = app.attach("events")
    assert [(event.n, event.payload) for event in handle.events("progress")] == [(n + 1, {"n": n}) for n in range(3)]
    assert len(list(handle.events(after=2, follow=True))) == 2


def test_a_changed_program_is_not_driven(app, db):
    @app.workflow("w10")
    def w(ctx: durable.Context, _: None) -> None:
        ctx.step("one", lambda: 1)
        raise durable.Suspended("away")

    with pytest.raises(durable.Suspended):
        app.drive(w, "changed", None)

    def other(ctx, _):
        ctx.step("uno", lambda: 1)

    with pytest.raises(durable.ProgramChanged, match='position 0 holds step "one", the program asks for step "uno"'):
        app.drive(dataclasses.replace(w, fn=other), "changed", None)
    assert app.attach("changed").status() == "RUNNING"


def test_an_interrupt_that_is_swallowed_comes_back(app, db, work):
    went_on = []

    @app.workflow("w11")
    def w(ctx: durable.Context, _: None) -> str:
        try:
            ctx.signal("never", timeout="1 day")
        except BaseException as error:
            went_on.append(type(error).__name__)
        return "wrong"

    handle = app.start(w, "swallowed")
    work(patience=0.1)
    db.until("SELECT count(*) = 1 FROM durable.workflow WHERE name = 'swallowed' AND suspended_at IS NOT NULL")
    time.sleep(0.3)
    assert went_on[0] == "Suspended" and handle.status() == "PENDING"
    handle.cancel()
    with pytest.raises(durable.Cancelled):
        handle.result(5)


def test_pause_and_cancel_reach_a_running_workflow(app, db, work):
    seen = []

    @app.workflow("w12")
    def w(ctx: durable.Context, _: None) -> str:
        def loop(step: durable.Step) -> str:
            db.run("INSERT INTO ledger VALUES ('loop', %s)", step.attempt)
            end = time.monotonic() + 2
            while not step.cancelled and time.monotonic() < end:
                time.sleep(0.01)
            seen.append((time.monotonic(), step.cancelled))
            return "done"

        return ctx.step("loop", loop)

    handle = app.start(w, "cancelled")
    work()
    db.until("SELECT count(*) = 1 FROM ledger")
    began = time.monotonic()
    handle.cancel()
    with pytest.raises(durable.Cancelled):
        handle.result(5)
    time.sleep(0.3)
    assert seen[0][1] and seen[0][0] - began < 1

    db.run("TRUNCATE ledger")
    handle = app.start(w, "paused")
    db.until("SELECT count(*) = 1 FROM ledger")
    handle.pause()
    db.until("SELECT status = 'COMPLETED' FROM durable.task WHERE name = 'loop' ORDER BY id DESC LIMIT 1")
    assert handle.status() == "PAUSED"
    handle.resume()
    assert handle.result(20) == "done"
    assert db.ledger() == {"loop": 1}


def test_a_deadline(app, db):
    @app.workflow("w13")
    def w(ctx: durable.Context, _: None) -> str:
        ctx.step("slow", lambda: time.sleep(0.3))
        try:
            ctx.step("late", lambda: None)
        except durable.DeadlineExceeded:
            return "late"
        return "in time"

    assert app.drive(w, "deadline", None, timeout="0.2 s") == "late"


def test_fused_completes_with_the_next_claim(db):
    app = durable.App(db.conninfo, fused=True)

    @app.workflow("fused")
    def fused(ctx: durable.Context, _: None) -> list[int]:
        return [ctx.step(f"s{n}", lambda n=n: n) for n in range(20)]

    before = db.value("SELECT pg_current_xact_id()::text::bigint")
    assert app.drive(fused, "fused", None) == list(range(20))
    app.close()
    assert db.value("SELECT pg_current_xact_id()::text::bigint") - before < 38  # and not 2 * 20 + 1
    assert (
        db.value("SELECT count(*) FROM durable.task WHERE kind = 'STEP' AND status = 'COMPLETED' AND name LIKE 's%%'")
        >= 20
    )


def test_start_with_the_callers_transaction(app, db, work):
    import psycopg

    @app.workflow("w14")
    def w(ctx: durable.Context, n: int) -> int:
        return n + 1

    work()
    with psycopg.connect(db.conninfo) as conn:
        conn.execute("INSERT INTO ledger VALUES ('row')")
        handle = app.start(w, "mine", 1, connection=conn)
        conn.rollback()
        with pytest.raises(durable.DurableError) as error:
            handle.status()
        assert error.value.sqlstate == "WF001" and db.ledger() == {}
        conn.execute("INSERT INTO ledger VALUES ('row')")
        handle = app.start(w, "mine", 1, connection=conn)
        handle.signal("hello", connection=conn)
        conn.commit()
    assert handle.created and handle.result(10) == 2 and db.ledger() == {"row": 1}


def test_names_are_one(app, db):
    @app.workflow("w15")
    def w(ctx: durable.Context, n: int) -> int:
        return n

    first, second = app.start(w, "one", 1), app.start(w, "one", 2)
    assert first.created and not second.created and first.id == second.id
    assert app.attach("one").id == first.id
    with pytest.raises(durable.DurableError):
        app.attach("none")
    with pytest.raises(durable.TimedOut):
        first.result(0.1)
    first.cancel()


def test_options_of_start(app, db, work):
    """Retries of a whole workflow, tags, what a finished namesake means."""

    @app.workflow("w19")
    def w(ctx: durable.Context, n: int) -> list[Any]:
        db.run("INSERT INTO ledger VALUES ('run')")
        once = ctx.step("once", lambda: db.run("INSERT INTO ledger VALUES ('once')") and None)
        if db.ledger()["run"] < 3:
            raise Boom("not yet")
        return [n, once]

    work()
    handle = app.start(w, "options", 1, retry=durable.Retry(5, backoff=0.05), tags={"customer": 42}, priority=3)
    assert handle.result(20) == [1, None] and db.ledger() == {"run": 3, "once": 1}
    assert db.value("SELECT count(*) FROM durable.list(tags => '{\"customer\": 42}')") == 1

    @app.workflow("parent")
    def parent(ctx: durable.Context, _: None) -> Any:
        return ctx.child("part", w, 7, queue="default", retry=durable.Retry(5, backoff=0.05), tags={"x": 1}).result()

    db.run("TRUNCATE ledger")
    assert app.start(parent, "with retries").result(20) == [7, None] and db.ledger() == {"run": 3, "once": 1}

    again = app.start(w, "options", 2, if_finished="return")
    if again.created:
        pytest.skip("the server does not look at if_finished yet")
    assert again.id == handle.id and again.result(5) == [1, None]


def test_system_exit_in_a_program_is_no_end(app, db, work):
    """It is handed back, for another worker or a later time."""
    exits = []

    @app.workflow("w20")
    def w(ctx: durable.Context, _: None) -> None:
        exits.append(1)
        raise SystemExit(1)

    handle = app.start(w, "exits")
    work()
    db.until("SELECT count(*) = 1 FROM durable.workflow WHERE name = 'exits' AND status = 'PENDING' AND lease = 2")
    assert exits == [1]
    handle.cancel()


def test_patched(app, db):
    @app.workflow("w16")
    def old(ctx: durable.Context, _: None) -> None:
        ctx.step("one", lambda: 1)
        ctx.step("two", lambda: 2)
        raise durable.Suspended("away")

    def new(ctx, _):
        one = ctx.step("one", lambda: 1)
        return [one, ctx.step("zwei", lambda: 22) if ctx.patched("german") else ctx.step("two", lambda: 3)]

    with pytest.raises(durable.Suspended):
        app.drive(old, "patched-old", None)
    changed = dataclasses.replace(old, fn=new)
    assert app.drive(changed, "patched-old", None) == [1, 2]
    first, second = twice(app, db, changed, "patched-new")
    assert first == second == [1, 22]


def test_continue_as(app, db, work):
    @app.workflow("w17")
    def w(ctx: durable.Context, n: int) -> int:
        ctx.step("run", lambda: db.run("INSERT INTO ledger VALUES ('run', %s)", n) and None)
        if n > 0:
            ctx.continue_as(n - 1)
        return n

    handle = app.start(w, "again", 3)
    work()
    assert handle.result(timeout=20) == 0, "the result is that of the last run"
    assert db.run("SELECT status, count(*) FROM durable.workflow WHERE name = 'again' GROUP BY 1") == [("COMPLETED", 4)]
    assert db.ledger() == {"run": 4}


def test_fork(app, db, work):
    @app.workflow("w19")
    def w(ctx: durable.Context, n: int) -> list[int]:
        first = ctx.step("first", lambda: db.run("INSERT INTO ledger VALUES ('first', %s)", n) or n)
        second = ctx.step("second", lambda: db.run("INSERT INTO ledger VALUES ('second', %s)", n) or n * 10)
        return [first, second]

    handle = app.start(w, "forked", 1)
    work()
    assert handle.result(timeout=20) == [1, 10]
    fork = handle.fork(1, queue="default", name="other", input=2)
    assert fork.id != handle.id
    assert fork.result(timeout=20) == [1, 20], "what was recorded before the position, and what the new input gives"
    assert db.ledger() == {"first": 1, "second": 2}


def test_request_cancel(app, db, work):
    @app.workflow("w18")
    def w(ctx: durable.Context, _: None) -> str:
        try:
            ctx.signal("never", timeout="1 day")
        except durable.Cancelled:
            return ctx.step("undo", lambda: "undone")
        return "wrong"

    handle = app.start(w, "gentle")
    work(patience=0.1)
    db.until("SELECT count(*) = 1 FROM durable.waiting WHERE root_name = 'gentle'")
    handle.request_cancel("enough")
    assert handle.result(10) == "undone"


def test_a_transaction_that_only_executes(app, db):
    @app.workflow("w30")
    def w(ctx: durable.Context, name: str) -> Any:
        return ctx.transaction("book", lambda tx: tx.execute("INSERT INTO ledger VALUES (%s)", (name,)))

    assert twice(app, db, w, "executes", "row") == [None, None] and db.ledger() == {"row": 1}
    assert durable.TestContext().run(w, "row") is None


def test_attach(app, db):
    with pytest.raises(durable.DurableError):
        app.attach("nobody")
    handle = app.start("any", "some", queue="attach")
    named = app.start("any", str(handle.id), queue="attach")
    assert app.attach("some").id == app.attach(handle.id).id == handle.id
    assert app.attach(str(named.id)).id == app.attach(str(handle.id)).id == named.id  # a name before an id


def test_a_forked_process(app, db):
    @app.workflow("w31", queue="forked")
    def w(ctx: durable.Context, _: None) -> int:
        return ctx.step("pid", lambda: (time.sleep(0.2), os.getpid())[1])

    def child() -> None:
        app.start(w, "from the child", None)
        app.run(["forked"], concurrency=1)

    app.start("w31", "from the parent")  # in the queue of the workflow, also by the handler's name
    processes = [multiprocessing.get_context("fork").Process(target=child) for _ in range(2)]
    for one in processes:
        one.start()
    handles = [app.start(w, f"more {n}", None) for n in range(10)]
    pids = {handle.result(20) for handle in handles}
    assert app.attach("from the child").result(20) in pids
    for one in processes:
        one.terminate()
        one.join(20)
    assert pids == {one.pid for one in processes} and [one.exitcode for one in processes] == [0, 0]


def test_messages_that_are_no_text(app, db):
    @app.workflow("w32")
    def w(ctx: durable.Context, _: None) -> str:
        def fails() -> None:
            raise ValueError("a\0b\udc80")

        with pytest.raises(durable.Failed) as error:
            ctx.step("fails", fails)
        return error.value.message

    assert twice(app, db, w, "no text", None) == ["a\\0b\\udc80"] * 2


def test_a_map_of_no_concurrency(app, db):
    @app.workflow("w33")
    def w(ctx: durable.Context, _: None) -> list[int]:
        return ctx.map("double", (n for n in range(3)), lambda n: n * 2, concurrency=0)

    assert app.drive(w, "map", None) == [0, 2, 4]


def test_an_async_function(app):
    with pytest.raises(TypeError, match='"w34".*AsyncApp'):

        @app.workflow("w34")
        async def w(ctx: durable.Context, _: None) -> None:
            return None
