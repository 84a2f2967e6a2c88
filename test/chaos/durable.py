"""A plain driver for the chaos test: each call of a function by itself, so that the test can watch each reply.

Everything here is `SELECT ... FROM durable.<function>(...)`, so this is also the example to
translate into another language. The rules that such a helper keeps:

* After a crash the program runs again from its top and asks for each step by its position; the
  server says EXECUTE, or answers what was recorded. So the program must reach the same steps in
  the same order each time: it reads clocks, files and random numbers inside steps only.
* `lease` and `attempt` go with every call. They keep out a process that was only thought dead.
* The outcome of a step is what the server recorded, on the first run as on a replay. A failure is
  `Failed`, never the exception that the step's function raised. An output is what comes back from
  jsonb: `{1: (2, 3)}` is `{"1": [2, 3]}` in either run. So are inputs.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Callable
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

Json = Any  # whatever the json module can write


# An error that the program may handle; if it does not, its workflow fails.
class DurableError(Exception): """Any answer of the server that is not a result."""
class Failed(DurableError): """The recorded failure of a step or a child."""
class Cancelled(DurableError): """The workflow, or a child, was cancelled."""
class DeadlineExceeded(DurableError): """The workflow's time is up."""


# An error that ends the driving, not the workflow: nothing is recorded, somebody may go on with it.
class Stop(DurableError): """The workflow cannot go on here and now; also a lost connection."""
class Paused(Stop): """Somebody paused the workflow."""
class LeaseLost(Stop): """Another executor drives the workflow now."""
class Locked(Stop): """Another thread or process is inside this very step."""
class ProgramChanged(Stop): """This position holds another step: not the program that began."""
class Suspended(Stop): """Draining, or the retry at args[1] is too far away to wait for it."""


ERRORS = {"WF004": Paused, "WF005": Cancelled, "WF006": DeadlineExceeded,
          "WF007": ProgramChanged, "WF008": LeaseLost}


@dataclass(frozen=True)
class Retry:
    """How often, and how long after, a failed step is tried again: arguments of claim_step."""

    max_retries: int = 0
    backoff: timedelta = timedelta(0)
    backoff_multiplier: float = 2.0
    max_backoff: timedelta | None = None


class Executor:
    """This process, as the server knows it: an id, a connection, a heartbeat.

    Started again under the same id it takes its workflows back at once; under another id it
    must wait until the old one has been silent for durable.executor_timeout.
    """

    def __init__(self, id: str, conninfo: str = "", heartbeat: float = 30, patience: float = 3600,
                 observe: Callable[[str, str, str], None] = lambda event, step, detail: None):
        self.id, self.conninfo, self.heartbeat = id, conninfo, heartbeat
        self.patience = patience  # the longest wait for a retry, in seconds
        self.observe = observe  # told of each step: execute, ran, failed, replayed
        self.conn = psycopg.connect(conninfo, autocommit=True)
        self.held: dict[UUID, int] = {}  # workflow -> lease, for the heartbeat
        self.strays: list[UUID] = []  # ours by the server's word, yet not held
        self.draining = threading.Event()
        self._closed = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)
        self._beats.start()

    def __enter__(self) -> Executor:
        return self

    def __exit__(self, *_) -> None:
        self._closed.set()
        self._beats.join()
        self.conn.close()

    def call(self, function: str, **args) -> list:
        """`SELECT * FROM durable.function(...)`, the server's clock for `_wait`, and as `given` the
        input or output that was passed, as the server keeps it."""
        named = ", ".join(f"{name} => %({name})s" for name in args)
        given = next((f"%({name})s" for name in args if isinstance(args[name], Jsonb)), "NULL")
        query = (f"SELECT *, clock_timestamp() AS asked_at, {given}::jsonb AS given"
                 f" FROM durable.{function}({named})")
        try:
            return self.conn.cursor(row_factory=namedtuple_row).execute(query, args).fetchall()
        except psycopg.Error as error:
            state = error.sqlstate or ""
            kind = ERRORS.get(state, DurableError if state.startswith("22") else Stop)
            raise kind(f"{function}: {error}") from error

    def _beat(self) -> None:
        """Tell the server that we live. A connection a beat: nothing to repair if one fails."""
        beat = "SELECT * FROM durable.heartbeat(%s, %s::uuid[], %s::int[])"
        while not self._closed.wait(self.heartbeat):
            held = dict(self.held)
            try:
                with psycopg.connect(self.conninfo, row_factory=namedtuple_row) as conn:
                    news = conn.execute(beat, (self.id, list(held), list(held.values())))
                    self.strays = [row.workflow_id for row in news
                                   if row.status == "RUNNING" and row.owner == self.id]
            except psycopg.Error:
                pass


@dataclass
class Workflow:
    """A workflow that this executor drives: from `start`, `attach`, or a row of durable.claim."""

    executor: Executor
    id: UUID
    name: str
    lease: int
    input: Json = None
    prefix: str = ""  # for `observe`: the workflows above
    sequence: int = field(default=0, init=False)  # of the next step

    @classmethod
    def start(cls, executor: Executor, name: str, input: Json = None, **options) -> Workflow:
        """Create the workflow of that name or, if it is unfinished, become its owner again."""
        row, = executor.call("start", name=name, input=Jsonb(input), executor_id=executor.id,
                             **options)
        if row.owner != executor.id:
            raise Stop(f"{name} is {row.status}, owned by {row.owner or 'nobody'}")
        input = row.given
        if not row.created:
            input = executor.call("input", task_id=row.workflow_id)[0][0]
        return cls(executor, row.workflow_id, name, row.lease, input)

    @classmethod
    def attach(cls, executor: Executor, id: UUID, takeover: bool = False) -> Workflow:
        """Become the owner of a workflow known by its id."""
        row, = executor.call("attach", workflow_id=id, executor_id=executor.id, takeover=takeover)
        if row.status != "RUNNING" or row.owner != executor.id:
            raise Stop(f"{row.name} is {row.status}, owned by {row.owner or 'nobody'}")
        return cls(executor, id, row.name, row.lease, row.input)

    def run(self, fn: Callable[[Workflow], Json]) -> Json:
        """Drive the workflow to its end: record what `fn(self)` returns, or that it failed."""
        self.executor.held[self.id] = self.lease
        try:
            return self.complete(fn(self))
        except Stop:
            raise
        except Exception as error:
            self.fail(_text(error))
            raise Failed(f"{self.name}: {_text(error)}") from error
        finally:
            self.executor.held.pop(self.id, None)

    def complete(self, output: Json = None) -> Json:
        """Record the output, and return it as it was recorded."""
        row, = self.executor.call("complete", task_id=self.id, output=Jsonb(output),
                                  lease=self.lease)
        return row.given

    def fail(self, error: str) -> None:
        self.executor.call("fail", task_id=self.id, error=error, lease=self.lease)

    def child(self, name: str, fn: Callable[[Workflow], Json], input: Json = None,
              **options) -> Json:
        """Drive `fn(child)` as a workflow below this one, and return its output."""
        row, = self.executor.call("start_child", parent_id=self.id, sequence=self._next(),
                                  name=name, input=Jsonb(input), lease=self.lease, **options)
        if row.status == "COMPLETED":
            self.executor.observe("replayed", self.prefix + name, "")
            return row.output
        if row.status in ("FAILED", "CANCELLED"):
            raise (Failed if row.status == "FAILED" else Cancelled)(f"{name}: {row.error}")
        return Workflow(self.executor, row.workflow_id, name, row.lease, row.given,
                        f"{self.prefix}{name}/").run(fn)

    def step(self, name: str, fn: Callable[[Any], Json], *, retry: Retry = Retry(),
             timeout: timedelta | None = None) -> Json:
        """Run `fn(claim)` and record what it returns; if the process dies in it, it runs again.

        `claim.step_id` is the same each time: the idempotency key for the outside world.
        """
        return self._execute("STEP", name, fn, nullcontext, retry, timeout)

    def transaction(self, name: str, fn: Callable[[psycopg.Connection], Json], *,
                    retry: Retry = Retry(), timeout: timedelta | None = None) -> Json:
        """Run `fn(connection)` and commit its writes and the step's outcome at once, or neither."""
        conn = self.executor.conn
        return self._execute("TRANSACTION", name, lambda _: fn(conn), conn.transaction, retry,
                             timeout)

    def _execute(self, kind: str, name: str, fn: Callable[[Any], Json], scope: Callable,
                 retry: Retry, timeout: timedelta | None) -> Json:
        """Claim the step until it has an outcome, and run it whenever the server says so.

        `scope` is all that tells a transaction from a step. There the outer one is BEGIN ...
        COMMIT, and the inner one a SAVEPOINT: a failure takes back the writes but not the claim,
        and is itself recorded. In a step there is no scope: each call commits by itself.
        """
        call, observe, path = self.executor.call, self.executor.observe, self.prefix + name
        sequence = self._next()
        while True:
            error = None
            with scope():
                claim, = call("claim_step", workflow_id=self.id, sequence=sequence, name=name,
                              kind=kind, lease=self.lease, executor_id=self.executor.id,
                              timeout=timeout, **vars(retry))
                fence = {"task_id": claim.step_id, "lease": self.lease, "attempt": claim.attempt}
                if claim.action == "EXECUTE":
                    observe("execute", path, f"attempt {claim.attempt}")
                    try:
                        with scope():
                            done, = call("complete", output=Jsonb(fn(claim)), **fence)
                    except DurableError:
                        raise
                    except Exception as raised:
                        error = _text(raised)
                        call("fail", error=error, **fence)
            match claim.action:
                case "EXECUTE" if error is None:
                    observe("ran", path, f"attempt {claim.attempt}")
                    return done.given
                case "EXECUTE":
                    observe("failed", path, f"attempt {claim.attempt}: {error}")
                case "REPLAY":
                    observe("replayed", path, "")
                    return claim.output
                case "WAIT":
                    self._wait(name, claim)
                case "FAILED":
                    raise Failed(f"{name}: {claim.error}")
                case _:
                    raise Locked(f"{name}: {claim.action}")

    def _next(self) -> int:
        """The position of the next step; no step begins once the executor is draining."""
        if self.executor.draining.is_set():
            raise Suspended("the executor is draining", None)
        self.sequence += 1
        return self.sequence - 1

    def _wait(self, name: str, claim: Any) -> None:
        """Wait until the step's retry is due, by the server's clock."""
        delay = max((claim.run_at - claim.asked_at).total_seconds(), 0)
        if delay > self.executor.patience or self.executor.draining.wait(delay):
            raise Suspended(f"{name} waits for its retry", claim.run_at)


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, DurableError) else f"{type(error).__name__}: {error}"
