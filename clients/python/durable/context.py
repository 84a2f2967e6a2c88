"""What a program sees of its workflow: `Context`, and `AsyncContext` for `async def` programs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import inspect
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload
from uuid import UUID

from . import errors, protocol
from .errors import Cancelled, Continued, DurableError, Failed, Interrupt, LeaseLost, Locked, ProgramChanged, Suspended
from .protocol import Call, Each, Gen, Pause, Run, Within, step_id
from .values import Duration, hints, interval

if TYPE_CHECKING:
    from .app import Workflow

T = TypeVar("T")
I = TypeVar("I")  # noqa: E741
F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
Result = Generator[Any, Any, T]
Pending = tuple[UUID, str | None, int] | None  # a step's id, output and attempt


@dataclass(frozen=True)
class Retry:
    """How often, and after how many seconds, what failed is tried again: `backoff * multiplier ** n`, at most `cap`."""

    max: int = 0
    backoff: Duration = 0
    multiplier: float = 2.0
    cap: Duration | None = None

    def args(self) -> dict[str, Any]:
        if self == Retry():
            return {}
        return {
            "max_retries": self.max,
            "backoff": interval(self.backoff),
            "backoff_multiplier": self.multiplier,
            "max_backoff": interval(self.cap),
        }


class Answer(NamedTuple):
    """A signal that arrived."""

    name: str
    payload: Any


@dataclass
class Step:
    """The attempt at a step that is under way."""

    id: UUID  # the same in each attempt: an idempotency key for the outside world
    name: str
    sequence: int
    attempt: int
    context: Flow = field(repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether its outcome is of no use any more: the workflow was cancelled, or is not ours."""
        return self.context.cancelled


class Driven:
    """What the positions of a workflow and of its inline children have in common: who drives them, from where."""

    def __init__(self, host: Any, id: UUID, patience: float | None):
        self.host, self.id, self.patience = host, id, patience
        self.event = host.driver.event()  # set, and replaced, when something has happened
        self.interrupt: BaseException | None = None  # what every further call gets
        self.active: set[object] = set()  # calls under way
        self.blocked: dict[object, list[UUID]] = {}  # of these, those that wait for open steps

    def end(self, error: BaseException) -> BaseException:
        """What an error means for the driving: an interrupt ends it, and so does a workflow that is gone."""
        if isinstance(error, DurableError) and error.sqlstate in ("WF001", "WF002", "WF011", "WF016"):
            error = LeaseLost(str(error))
        if isinstance(error, Interrupt):
            self.interrupt = error
        return error

    def tell(self, interrupt: BaseException | None = None) -> None:
        """Wakes all that wait here; with an interrupt, to end."""
        self.interrupt = self.interrupt or interrupt
        event, self.event = self.event, self.host.driver.event()
        event.set()


class Flow:
    """A workflow and the next position in it. Positions are taken when a call is made, whenever it then runs."""

    def __init__(
        self,
        driven: Driven,
        id: UUID,
        name: str,
        handler: str | None,
        lease: int,
        input: Any,
        parent: Flow | None = None,
    ):
        self.id, self.name, self.handler, self.lease, self.input = id, name, handler, lease, input
        self._driven, self._host, self._parent = driven, driven.host, parent
        self._sequence = self._drawn = 0
        self._history: dict[int, Any] = {}
        self.queue: str | None = None
        self._pending: Pending = None  # a step that has returned, and is not yet recorded (`fused`)

    # ---- what a program may ask without a position

    @property
    def replaying(self) -> bool:
        """Whether the next position is recorded already: what was said or logged here was said before."""
        return self._sequence in self._history

    @property
    def cancelled(self) -> bool:
        """Whether the workflow was cancelled, or is somebody else's now: for loops that make no call."""
        return isinstance(self._driven.interrupt, Cancelled | LeaseLost)

    def uuid(self) -> UUID:
        """A new UUID, the same on a replay."""
        number = int.from_bytes(self._draw()[:16], "big")
        return UUID(int=number & ~(0xF << 76) & ~(3 << 62) | 8 << 76 | 2 << 62)

    def random(self) -> float:
        """A number from 0 to 1, the same on a replay."""
        return (int.from_bytes(self._draw()[:8], "big") >> 11) / 2**53

    def _draw(self) -> bytes:
        self._drawn += 1
        return hashlib.sha256(f"{self.id}/{self._sequence}/{self._drawn - 1}".encode()).digest()

    # ---- positions and calls

    def _take(self, count: int = 1) -> int:
        """The next position, or the first of so many."""
        if self._driven.interrupt:
            raise self._driven.interrupt
        self._drawn, self._sequence = 0, self._sequence + count
        return self._sequence - count

    def _call(self, function: str, **args: Any) -> Gen:
        """A call for this workflow, under its lease; none once the driving has ended."""
        if self._driven.interrupt:
            raise self._driven.interrupt
        return (yield from self._send(function, workflow_id=self.id, **args, lease=self.lease))

    def _send(self, function: str, **args: Any) -> Gen:
        """Any call. What ends the driving does so for all calls of this workflow."""
        try:
            return (yield Call(function, {name: value for name, value in args.items() if value is not None}))
        except (Interrupt, DurableError) as error:
            raise self._driven.end(error) from error

    def _record(self, step_id: UUID, output: str | None, attempt: int, **next: Any) -> Gen:
        """Records what a step has returned, and claims the next one if it is given."""
        function, id = ("complete_and_claim", "step_id") if next else ("complete", "task_id")
        args = {id: step_id, "output": output, "attempt": attempt, **next}
        return (yield from self._send(function, **args, lease=self.lease))

    def _known(self, sequence: int, name: str, kind: str, wait: str | None = None) -> Any:
        """What the history has of a position, if it has an outcome; another step there ends the driving."""
        if (row := self._history.get(sequence)) is None:
            return None
        if (row.name, row.kind, row.wait) != (name, kind, wait):
            there = f'{row.kind.lower()} "{row.name}"' + (f" ({row.wait})" if row.wait else "")
            asked = f'{kind.lower()} "{name}"' + (f" ({wait})" if wait else "")
            raise self._driven.end(ProgramChanged(f"position {sequence} holds {there}, the program asks for {asked}"))
        return row if row.status in ("COMPLETED", "FAILED") else None

    def _busy(self, body: Gen) -> Gen:
        """A call counts as under way: a workflow is suspended only if all that is under way waits."""
        key = object()
        self._driven.active.add(key)
        try:
            return (yield from body)
        finally:
            self._driven.active.discard(key)

    def _flush(self) -> Gen:
        """Records the step that has returned before anything else happens."""
        if pending := self._pending:
            self._pending = None
            yield from self._record(*pending)

    # ---- steps

    def _step(
        self,
        name: str,
        fn: Callable[..., T | Coroutine[Any, Any, T]],
        *args: Any,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        returns: Any = None,
    ) -> Result[T]:
        """Runs `fn(*args)` and records what it returns: it runs again only if nothing was recorded.

        A parameter `step` of the function, or the only one of a lambda, gets the attempt (`Step`). What it raises is
        recorded, too, and tried again by the policy, which is none by default; in the end it is `Failed`. `timeout` is
        the time after which the step can be claimed again; only `async def` functions are interrupted then.
        """
        sequence = self._take()
        return self._busy(self._execute(sequence, name, fn, args, retry, timeout, returns, self))

    def _execute(
        self,
        sequence: int,
        name: str,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        retry: Retry | None,
        timeout: Duration | None,
        returns: Any,
        chain: Any,
    ) -> Gen:
        """Claims the step until it has an outcome, and runs it whenever the server says so.

        `chain` is where a completion waits for the next claim, to be one call with it.
        """
        host, row = self._host, self._known(sequence, name, "STEP")
        returns = returns or _returns(fn)
        policy = {**(retry.args() if retry else {}), "timeout": interval(timeout)}
        for tries in range(1_000_000_000):
            event, began = self._driven.event, time.time_ns()
            if row is None:
                row = yield from self._claim(sequence, name, policy, chain)
            if (outcome := self._outcome(name, row, returns)) is not None:
                host.observe("replayed", self, name, sequence, row)
                return outcome[0]
            if row.action == "EXECUTE":
                host.observe("execute", self, name, sequence, row)
                given, more = _arguments(fn, args, Step(row.step_id, name, sequence, row.attempt, self))
                try:
                    output = yield Run(fn, given, more, timeout if isinstance(timeout, int | float) else None)
                    text = host.codec.encode(output, f'step "{name}" at {sequence}')
                except Exception as error:
                    row = yield from self._record_failure(name, sequence, row, error, began)
                else:
                    if chain is not self or (host.fused and len(self._driven.active) == 1):
                        chain._pending = (row.step_id, text, row.attempt)
                    else:
                        yield from self._record(row.step_id, text, row.attempt)
                    host.observe("completed", self, name, sequence, row, None, began)
                    return host.codec.decode(text, returns)
            yield from self._until_due(name, row, event, tries)
            row = None

    def _until_due(self, name: str, row: Any, event: Any, tries: int) -> Gen:
        """Until a step can be asked for again: its retry is due, or somebody has recorded what he was about to."""
        if row.action == "WAIT":
            yield from self._wait([row.step_id], row.run_at, event)
        elif tries < 50:
            yield Pause(self._driven.event, min(0.01 * 2**tries, 0.2))
        else:
            raise self._driven.end(Locked(f'step "{name}" is run by somebody else'))

    def _claim(self, sequence: int, name: str, policy: dict[str, Any], chain: Any) -> Gen:
        """Claims a step, and completes the one that waits for it in the same call."""
        args = {"name": name, "sequence": sequence, "executor_id": self._host.executor_id, **policy}
        if (pending := chain._pending) is None:
            return (yield from self._call("claim_step", **args))
        chain._pending = None
        row = yield from self._record(*pending, **args)
        if row.action == "STOP":
            raise self._driven.end(protocol.stop(row.error))
        return row

    def _outcome(self, name: str, row: Any, returns: Any = None) -> tuple[Any] | None:
        """The recorded value of a position, if it has one; a recorded failure is raised."""
        state = row.action if hasattr(row, "action") else row.status
        if state == "FAILED":
            raise errors.recorded(name, row.error, row.detail, row.attempt)
        return (self._host.codec.decode(row.output, returns),) if state in ("REPLAY", "COMPLETED") else None

    def _record_failure(self, name: str, sequence: int, row: Any, error: Exception, began: int) -> Gen:
        """Records what a step has raised: raises it as it was recorded, or answers that it waits for its retry."""
        text, detail = errors.describe(error)
        after = interval(error.seconds) if isinstance(error, errors.RetryAfter) else None
        failed = yield from self._send(
            "fail",
            task_id=row.step_id,
            error=text,
            detail=detail,
            lease=self.lease,
            attempt=row.attempt,
            retry_after=after,
            retryable=_retryable(error),
        )
        self._host.observe("failed", self, name, sequence, row, error, began)
        if failed.status == "FAILED":
            raise errors.recorded(name, text, detail, row.attempt) from error
        return row._replace(action="WAIT", run_at=failed.run_at)

    def _transaction(
        self,
        name: str,
        fn: Callable[..., T | Coroutine[Any, Any, T]],
        *args: Any,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        returns: Any = None,
    ) -> Result[T]:
        """Runs `fn(connection, *args)` and commits its writes and the step's outcome together, or neither.

        It may run more than once: after a deadlock or a serialization failure, say. A cursor that it returns is None.
        """

        def work(connection: Any, step: Step) -> Gen:
            given, more = _arguments(fn, (connection, *args), step)
            result = yield Run(fn, given, more)
            return None if hasattr(result, "fetchone") else result  # no cursor, of a lambda that only executes

        return self._busy(self._transact(self._take(), name, work, retry, timeout, returns or _returns(fn)))

    def _transact(
        self,
        sequence: int,
        name: str,
        work: Callable[[Any, Step], Gen],
        retry: Retry | None,
        timeout: Duration | None,
        returns: Any,
    ) -> Gen:
        host, row = self._host, self._known(sequence, name, "TRANSACTION")
        claim = {
            "name": name,
            "sequence": sequence,
            "kind": "TRANSACTION",
            "executor_id": host.executor_id,
            "timeout": interval(timeout),
            **(retry.args() if retry else {}),
        }
        yield from self._flush()
        raised: Exception | None = None

        def body(connection: Any) -> Gen:
            nonlocal raised
            raised = None
            row = yield from self._call("claim_step", **claim)
            if row.action != "EXECUTE":
                return row
            host.observe("execute", self, name, sequence, row)
            try:
                output = yield from work(connection, Step(row.step_id, name, sequence, row.attempt, self))
                text = host.codec.encode(output, f'transaction "{name}" at {sequence}')
            except Exception as error:
                raised = None if protocol.transient(error) or connection.closed else error
                raise  # which takes back the claim, too
            yield from self._record(row.step_id, text, row.attempt)
            return row._replace(action="COMPLETED", output=text)

        for tries in range(1_000_000_000):
            event, began = self._driven.event, time.time_ns()
            if row is None:
                try:
                    row = yield Within(body)
                except Exception as error:
                    if error is not raised:  # not the program's doing: a lost connection, a deadlock
                        if isinstance(error, DurableError) or not protocol.transient(error):
                            raise
                        yield Pause(event, protocol.backoff(tries))
                        continue
                    row = yield from self._call("claim_step", **claim)
                    if row.action == "EXECUTE":
                        row = yield from self._record_failure(name, sequence, row, error, began)
            if (outcome := self._outcome(name, row, returns)) is not None:
                is_new = getattr(row, "action", None) == "COMPLETED"
                host.observe("completed" if is_new else "replayed", self, name, sequence, row, None, began)
                return outcome[0]
            yield from self._until_due(name, row, event, tries)
            row = None

    def _map(
        self,
        name: str,
        items: Sequence[I],
        fn: Callable[..., T | Coroutine[Any, Any, T]],
        concurrency: int = 10,
        retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> Result[list[T]]:
        """A step `fn(item)` for each item, so many at once; the results in the order of the items.

        The first failure is raised when all others have ended.
        """
        items = list(items)
        first = self._take(len(items))
        results: list[Any] = [None] * len(items)
        failures: dict[int, Exception] = {}
        work = iter(enumerate(items))

        def lane() -> Gen:
            chain = Chain()
            for n, item in work:
                try:
                    results[n] = yield from self._execute(first + n, name, fn, (item,), retry, timeout, None, chain)
                except DurableError as error:
                    failures[n] = error
            if chain._pending:
                yield from self._record(*chain._pending)

        def all_lanes() -> Gen:
            yield from self._flush()
            yield Each([self._busy(lane()) for _ in range(min(max(concurrency, 1), len(items)))])
            if failures:
                raise failures[min(failures)]
            return results

        return all_lanes()

    def _now(self) -> Result[datetime]:
        """The time, recorded: the same on a replay."""
        step = self._step("now", lambda: datetime.now(UTC).isoformat())

        def read() -> Result[datetime]:
            return datetime.fromisoformat((yield from step))

        return read()

    def _emit(self, topic: str, payload: Any = None) -> Result[int]:
        """Says something, once, to whoever follows the workflow: its number among the workflow's events."""
        text = self._host.codec.encode(payload, f'event "{topic}"')

        def say(connection: Any, step: Step) -> Gen:
            return (yield from self._call("emit", topic=topic, payload=text))

        return self._busy(self._transact(self._take(), f"emit:{topic}", say, None, None, int))

    def _patched(self, name: str) -> Result[bool]:
        """Whether the program goes the new way: true unless a run that began before the change stands here."""
        if self._driven.interrupt:
            raise self._driven.interrupt
        if (row := self._history.get(self._sequence)) is not None:
            result = (row.name, row.kind) == (f"patch:{name}", "STEP")
            self._sequence += result
            return _ready(result)
        sequence = self._take()

        def ask() -> Gen:
            yield from self._flush()
            if not (result := (yield from self._call("patched", sequence=sequence, name=name))):
                self._sequence -= 1
            return result

        return self._busy(ask())

    def _continue_as(self, input: Any) -> Result[None]:
        """Ends this run and begins the next one of that name, with that input and an empty history."""

        def next_run() -> Gen:
            yield from self._flush()
            text = self._host.codec.encode(input, "input of the next run")
            row = yield from self._call("continue_as", input=text or "null")
            self._host.continued(self, row, text)
            raise self._driven.end(Continued(f"goes on as {row.workflow_id}"))

        return next_run()

    # ---- waits

    def _ask(self, sequence: int, name: str, wait: str, function: str, args: dict[str, Any]) -> Gen:
        """The state of a wait: its row, from the history or the server."""
        if (row := self._known(sequence, name, "WAIT", wait)) is None:
            yield from self._flush()
            row = yield from self._call(function, sequence=sequence, name=name, **args)
        return row

    def _sleep_at(self, name: str, duration: Duration | None = None, until: datetime | None = None) -> Waiting[None]:
        """Waits so long, counted from the first call, or until a time."""
        args = {"duration": interval(duration), "until": until}
        return Waiting(self, self._take(), name, "sleep", "sleep", args, lambda value: None, timed=True)

    def _signal_at(self, *names: str, timeout: Duration | None = None) -> Waiting[Answer]:
        """Waits for a signal of one of these names; `TimedOut` if none comes in time."""
        args = {"timeout": interval(timeout), "signals": list(names)}
        loads: Callable[[Any], Any] = lambda value: Answer(value["signal"], value["payload"])  # noqa: E731
        return Waiting(self, self._take(), "|".join(names), "signal", "await_signal", args, loads)

    def _callback_at(self, name: str, timeout: Duration | None = None) -> Waiting[Any]:
        """Waits for whoever has its `token` to answer."""
        return Waiting(self, self._take(), name, "callback", "await_callback", {"timeout": interval(timeout)})

    def _result_at(self, name: str, workflow_id: UUID, timeout: Duration | None = None) -> Waiting[Any]:
        """Waits for another workflow to end: its output, or its failure."""
        args = {"awaited": workflow_id, "timeout": interval(timeout)}
        return Waiting(self, self._take(), name, "workflow", "await_workflow", args)

    def _child(self, name: str, workflow: Any, input: Any, queue: str | None, options: dict[str, Any]) -> Any:
        child: Child[Any] = Child(self, self._take(), name, workflow, input, queue, options)
        return self._host.driver.drive(child.run(workflow) if queue is None else self._busy(child.begin()))

    def _gather(self, *waits: Waiting[Any]) -> Result[list[Any]]:
        """All outcomes, in order, when all have ended; the first failure is raised then."""

        def all_of_them() -> Gen:
            results, failure = [], None
            for wait in waits:
                if not wait.begun:
                    yield from wait.begin()
            for n, wait in enumerate(waits):
                try:
                    results.append((yield from wait.outcome([w.step_id for w in waits[n:]], "all")))
                except DurableError as error:
                    failure = failure or error
            if failure:
                raise failure
            return results

        return self._busy(all_of_them())

    def _first(
        self, *waits: Waiting[Any], timeout: Duration | None = None, name: str = "first"
    ) -> Result[Waiting[Any]]:
        """The one of these that ends first, in whatever way: ask it for its `result()`. The others stay as they are."""
        sequence = self._take()

        def select() -> Gen:
            for wait in waits:
                if not wait.begun:
                    yield from wait.begin()
            args = {"sequences": [wait.sequence for wait in waits], "timeout": interval(timeout)}
            any_of_them: Waiting[Any] = Waiting(self, sequence, name, "any", "await_any", args)
            ended = yield from any_of_them.outcome()
            return next(wait for wait in waits if wait.sequence == ended["sequence"])

        return self._busy(select())

    def _wait(self, open: list[UUID], due: datetime | None, event: Any, began: float = 0, until: str = "any") -> Gen:
        """Waits for open steps: in place, or, if that takes longer than the patience, suspended.

        What is due at a time ends then and not before. All else can end at any time: it is asked again when `event`
        says so, which was taken before the server was asked, so that nothing is missed; and each second, for the
        little that nobody is told of.
        """
        driven = self._driven
        if driven.interrupt:
            raise driven.interrupt
        patience = math.inf if driven.patience is None else driven.patience
        if due is not None:
            left = max((due - (yield Call("clock", {}))).total_seconds(), 0)
            is_long, pause = left > patience, min(left, patience)
        else:
            spent = time.monotonic() - began
            is_long = spent >= patience or (self._host.crowded and patience < math.inf)
            pause = min(max(patience - spent, 0), 1)
        key = object()
        driven.blocked[key] = open
        try:
            if is_long and len(driven.blocked) == len(driven.active):
                ids = list({id: None for ids in driven.blocked.values() for id in ids})
                yield from self._suspend(ids, until if len(driven.blocked) == 1 else "any")
            else:
                yield Pause(event, max(pause, 0.001))
        finally:
            driven.blocked.pop(key)
        if driven.interrupt:
            raise driven.interrupt

    def _suspend(self, open: list[UUID], until: str) -> Gen:
        """Gives the executor free, unless one of them has ended meanwhile: then ask again."""
        driven = self._driven
        row = yield from self._send(
            "suspend",
            workflow_id=driven.id,
            executor_id=self._host.executor_id,
            lease=self._top().lease,
            open=open,
            until=None if until == "any" else until,
        )
        if row.status != "RUNNING":
            raise driven.end(Suspended(f"waits until {row.run_at or 'something happens'}"))
        driven.tell()  # whoever waits for what has ended

    def _below(self, id: UUID, name: str, handler: str, lease: int) -> Flow:
        """An inline child."""
        return type(self)(self._driven, id, name, handler, lease, None, self)

    def _top(self) -> Flow:
        return self if self._parent is None else self._parent._top()


class Chain:
    """Where a lane of `map` keeps a completion for its next claim."""

    _pending: Pending = None


class Waiting(Generic[T]):
    """Something that has not ended yet: a signal, a sleep, a callback, a child in a queue."""

    def __init__(
        self,
        flow: Flow,
        sequence: int,
        name: str,
        wait: str,
        function: str,
        args: dict[str, Any],
        loads: Callable[[Any], Any] = lambda value: value,
        timed: bool = False,
    ):
        self._flow, self.sequence, self.name, self._loads, self._timed = flow, sequence, name, loads, timed
        self._asks = (wait, function, args)
        self.begun = False

    @property
    def step_id(self) -> UUID:
        """The id of the position; of a callback, the token."""
        return step_id(self._flow.id, self.sequence)

    token = step_id

    def ask(self) -> Gen:
        row = yield from self._flow._ask(self.sequence, self.name, *self._asks)
        self.begun = True
        return row

    def begin(self) -> Gen:
        """Records the wait; what it came to, `outcome` tells."""
        yield from self.ask()
        return self

    def outcome(self, open: list[UUID] | None = None, until: str = "any") -> Gen:
        """Waits for the end, and gives what it was; of several, tells the server of all that are open."""
        flow, began = self._flow, time.monotonic()
        while True:
            event = flow._driven.event
            row = yield from self.ask()
            outcome = flow._outcome(self.name, row)
            if outcome is not None:
                return self._loads(outcome[0])
            if row.action == "LOCKED":
                yield Pause(event, 0.02)
                continue
            due = row.run_at if self._timed and not open else None
            yield from flow._wait(open or [row.step_id], due, event, began, until)

    def result(self) -> Any:
        """Waits for it, and returns what came of it; awaitable in an `AsyncContext`."""
        return self._flow._host.driver.drive(self._flow._busy(self.outcome()))

    def __await__(self) -> Generator[Any, Any, T]:
        result: Coroutine[Any, Any, T] = self.result()
        return result.__await__()


class Child(Waiting[T]):
    """A child workflow: in a queue, or inline."""

    def __init__(
        self,
        flow: Flow,
        sequence: int,
        name: str,
        workflow: Any,
        input: Any,
        queue: str | None,
        options: dict[str, Any],
    ):
        super().__init__(flow, sequence, name, "", "start_child", {})
        self._returns = None if isinstance(workflow, str) else workflow.returns
        codec, retry = flow._host.codec, options.pop("retry", None)
        if options.get("tags") is not None:
            options["tags"] = codec.encode(options["tags"], f'tags of child "{name}"')
        self._args = {
            "handler": workflow if isinstance(workflow, str) else workflow.name,
            "queue": queue,
            "input": codec.encode(input, f'child "{name}"'),
            **(retry.args() if retry else {}),
            **options,
            "timeout": interval(options.get("timeout")),
        }
        self.id: UUID | None = None  # once it has begun

    def ask(self) -> Gen:
        flow = self._flow
        if (row := flow._known(self.sequence, self.name, "WORKFLOW")) is not None:
            self.id = row.child_id
        else:
            yield from flow._flush()
            row = yield from flow._send(
                "start_child", parent_id=flow.id, sequence=self.sequence, name=self.name, lease=flow.lease, **self._args
            )
            self.id = row.workflow_id
        self.begun = True
        if row.status == "CANCELLED":
            raise Cancelled(f"{self.name}: the child was cancelled")
        if row.status == "FAILED":
            raise errors.recorded(self.name, row.error)
        return row

    def begin(self) -> Gen:
        with contextlib.suppress(Failed, Cancelled):  # its outcome tells
            yield from self.ask()
        return self

    def outcome(self, open: list[UUID] | None = None, until: str = "any") -> Gen:
        flow, began = self._flow, time.monotonic()
        while True:
            event = flow._driven.event
            row = yield from self.ask()
            if row.status == "COMPLETED":
                return flow._host.codec.decode(row.output, self._returns)
            yield from flow._wait(open or [self.step_id], None, event, began, until)

    def run(self, workflow: Any) -> Gen:
        """Drives an inline child to its end."""
        flow, codec = self._flow, self._flow._host.codec
        row = yield from flow._busy(self.ask())
        if row.status == "COMPLETED":
            flow._host.observe("replayed", flow, self.name, self.sequence, row)
            return codec.decode(row.output, self._returns)
        child = flow._below(row.workflow_id, self.name, self._args["handler"], row.lease)
        return (yield from drive(child, workflow, self._args.get("input"), fresh=row.created))


def drive(flow: Flow, workflow: Any, text: str | None, fresh: bool) -> Gen:
    """Drives a workflow to its end: records what its program returns, or that it failed. Its output, or the failure."""
    host, driven = flow._host, flow._driven
    if not fresh:
        for recorded in (yield Call("history", {"workflow_id": flow.id})):
            flow._history[recorded.sequence] = recorded
    began = time.time_ns()
    raised: Exception | None = None
    output: str | None = None
    try:
        flow.input = host.codec.decode(text, workflow.takes)
        result = yield Run(workflow.fn, (flow, flow.input))
        if driven.interrupt:  # the program has swallowed it
            raise driven.interrupt
        output = host.codec.encode(result, f'output of workflow "{flow.name}"')
    except Exception as error:
        if driven.interrupt:
            raise driven.interrupt from error
        raised = error
    except (Interrupt, BaseExceptionGroup) as error:  # a TaskGroup wraps it
        if flow._pending and not isinstance(driven.interrupt, LeaseLost):
            driven.interrupt, stopped = None, driven.interrupt
            yield from flow._flush()
            driven.interrupt = stopped
        raise driven.interrupt or error from None
    try:
        if raised is None:
            yield from _finish(flow, output)
        else:
            yield from flow._flush()
            text, detail = errors.describe(raised)
            yield from flow._send(
                "fail", task_id=flow.id, error=text, detail=detail, lease=flow.lease, retryable=_retryable(raised)
            )
    except DurableError as error:
        raise (raised if isinstance(raised, Cancelled) else error) from error
    host.observe("failed" if raised else "completed", flow, None, None, None, raised, began)
    if raised is not None:
        raise errors.recorded(flow.name, errors.describe(raised)[0]) from raised
    return host.codec.decode(output, workflow.returns)


def _finish(flow: Flow, output: str | None) -> Gen:
    """Completes the workflow, and in the same call the last step where that is not recorded yet."""
    if (pending := flow._pending) is None:
        yield from flow._send("complete", task_id=flow.id, output=output, lease=flow.lease)
        return
    flow._pending, (step_id, step_output, attempt) = None, pending
    for row in (
        yield from flow._send(
            "complete_many",
            task_ids=[step_id, flow.id],
            outputs=[step_output, output],
            leases=[flow.lease] * 2,
            attempts=[attempt, None],
        )
    ):
        if row.error:
            raise flow._driven.end(protocol.stop(row.error))


def _retryable(error: Exception) -> bool | None:
    return False if isinstance(error, errors.Fatal) else None


def _like(call: F, method: Callable[..., Any]) -> F:
    """A face of a method has its name, its parameters and its documentation."""
    functools.update_wrapper(call, method).__name__ = method.__name__.strip("_")
    return call


def _ready(value: T) -> Result[T]:
    return value
    yield  # a generator


def _arguments(fn: Callable[..., Any], args: tuple[Any, ...], step: Step) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a step's function: with the step, if it asks for it."""
    code = getattr(fn, "__code__", None)
    if code is not None and fn.__name__ == "<lambda>" and not fn.__defaults__ and code.co_argcount == len(args) + 1:
        return (*args, step), {}
    try:
        parameter = inspect.signature(fn).parameters.get("step")
    except (TypeError, ValueError):  # a builtin
        parameter = None
    if (
        parameter is not None
        and parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
    ):
        return args, {"step": step}
    return args, {}


def _returns(fn: Callable[..., Any]) -> Any:
    return None if getattr(fn, "__name__", "<lambda>") == "<lambda>" else hints(fn).get("return")


# ---- the two faces -------------------------------------------------------------------------------


def _blocking(method: Callable[Concatenate[Any, P], Result[T]]) -> Callable[Concatenate[Any, P], T]:
    """The method of a `Context`: it runs when it is called."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = self._host.driver.drive(method(self, *args, **kwargs))
        return result

    return _like(call, method)


def _awaiting(
    method: Callable[Concatenate[Any, P], Result[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """The method of an `AsyncContext`: its position is taken when it is called, and it runs when it is awaited."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, T]:
        result: Coroutine[Any, Any, T] = self._host.driver.drive(method(self, *args, **kwargs))
        return result

    return _like(call, method)


def _waited(method: Callable[Concatenate[Any, P], Waiting[T]]) -> Callable[Concatenate[Any, P], T]:
    """A wait of a `Context`: it blocks until its end."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        result: T = method(self, *args, **kwargs).result()
        return result

    return _like(call, method)


def _begun(method: Callable[Concatenate[Any, P], Waiting[T]]) -> Callable[Concatenate[Any, P], Waiting[T]]:
    """A wait that begins, and does not block: for `gather` and `first`."""

    def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Waiting[T]:
        flow = getattr(self, "_flow", self)
        wait = method(flow, *args, **kwargs)
        result: Waiting[T] = flow._host.driver.drive(flow._busy(wait.begin()))
        return result

    return _like(call, method)


def _begun_awaiting(
    method: Callable[Concatenate[Any, P], Waiting[T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, Waiting[T]]]:
    """The same in an `AsyncContext`."""
    return _begun(method)  # type: ignore[return-value]


class Later:
    """The waits of a `Context` that only begin: `ctx.later.signal(...)` is a handle for `gather` and `first`."""

    def __init__(self, flow: Flow):
        self._flow = flow

    sleep = _begun(Flow._sleep_at)
    signal = _begun(Flow._signal_at)
    workflow = _begun(Flow._result_at)


class Context(Flow):
    """The workflow that a program runs in. Each call is recorded; on a replay it answers what was recorded."""

    step = _blocking(Flow._step)
    transaction = _blocking(Flow._transaction)
    map = _blocking(Flow._map)
    gather = _blocking(Flow._gather)
    first = _blocking(Flow._first)
    emit = _blocking(Flow._emit)
    patched = _blocking(Flow._patched)
    continue_as = _blocking(Flow._continue_as)
    now = _blocking(Flow._now)
    sleep = _waited(Flow._sleep_at)
    signal = _waited(Flow._signal_at)
    workflow = _waited(Flow._result_at)
    callback = _begun(Flow._callback_at)

    @property
    def later(self) -> Later:
        """Waits that begin and do not block."""
        return Later(self)

    @overload
    def child(self, name: str, workflow: Workflow[Any, I, T], input: I, *, timeout: Duration | None = None) -> T: ...
    @overload
    def child(
        self, name: str, workflow: Workflow[Any, I, T] | str, input: I, queue: str, **options: Any
    ) -> Child[T]: ...
    def child(self, name: str, workflow: Any, input: Any = None, queue: str | None = None, **options: Any) -> Any:
        """Runs another workflow as a part of this one, or, with a queue, starts it there: a handle."""
        return self._child(name, workflow, input, queue, options)


class AsyncContext(Flow):
    """`Context` for `async def` programs: the same methods, to be awaited."""

    step = _awaiting(Flow._step)
    transaction = _awaiting(Flow._transaction)
    map = _awaiting(Flow._map)
    first = _awaiting(Flow._first)
    emit = _awaiting(Flow._emit)
    patched = _awaiting(Flow._patched)
    continue_as = _awaiting(Flow._continue_as)
    now = _awaiting(Flow._now)
    sleep = Flow._sleep_at
    signal = Flow._signal_at
    workflow = Flow._result_at
    callback = _begun_awaiting(Flow._callback_at)

    async def gather(self, *awaitables: Awaitable[Any]) -> list[Any]:
        """All outcomes, in order, when all have ended; the first failure is raised then."""
        waits = [each for each in awaitables if isinstance(each, Waiting)]
        others = [each for each in awaitables if not isinstance(each, Waiting)]
        together = self._host.driver.drive(self._gather(*waits))
        waited: Any
        waited, *rest = await asyncio.gather(together, *others, return_exceptions=True)
        for failure in sorted(
            (each for each in (waited, *rest) if isinstance(each, BaseException)),
            key=lambda failure: isinstance(failure, Exception),
        ):
            raise failure
        left, right = iter(waited), iter(rest)
        return [next(left if isinstance(each, Waiting) else right) for each in awaitables]

    @overload
    def child(
        self, name: str, workflow: Workflow[Any, I, T], input: I, *, timeout: Duration | None = None
    ) -> Coroutine[Any, Any, T]: ...
    @overload
    def child(
        self, name: str, workflow: Workflow[Any, I, T] | str, input: I, queue: str, **options: Any
    ) -> Coroutine[Any, Any, Child[T]]: ...
    def child(self, name: str, workflow: Any, input: Any = None, queue: str | None = None, **options: Any) -> Any:
        """Runs another workflow as a part of this one, or, with a queue, starts it there: a handle."""
        return self._child(name, workflow, input, queue, options)
