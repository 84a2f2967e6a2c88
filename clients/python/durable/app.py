"""An application: its workflows, the client that starts and asks, the worker that runs them."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import math
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from . import errors
from .context import AsyncContext, Context, Driven, Flow, Result, Retry, _awaiting, _blocking, drive
from .drivers import Owners, Tasks, Threads, raw
from .errors import DurableError, TimedOut
from .protocol import Call, Gen
from .values import Codec, Duration, hints, interval
from .worker import FOR_EVER, Executor, executor_name

C = TypeVar("C")  # the context
I = TypeVar("I")  # noqa: E741
T = TypeVar("T")
FINISHED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass(frozen=True)
class Workflow(Generic[C, I, T]):
    """A program under the name of its handler: an ordinary function of a context and an input."""

    name: str
    fn: Callable[[C, I], T | Coroutine[Any, Any, T]]
    queue: str
    takes: Any  # the annotations of input and output
    returns: Any

    def __call__(self, context: C, input: I) -> T | Coroutine[Any, Any, T]:
        return self.fn(context, input)


class Event(NamedTuple):
    """What a workflow has said."""

    n: int
    topic: str
    payload: Any
    emitted_at: datetime


class BaseHandle(Generic[T]):
    """A workflow from outside. `connection`, where it can be given, is the caller's own, and its transaction."""

    def __init__(self, app: Any, id: UUID, created: bool = False, returns: Any = None):
        self.id, self.created = id, created
        self._host, self._returns = app, returns

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id})"

    def _result(self, timeout: float | None = None) -> Result[T]:
        """Waits for its end, and that of the runs in which it goes on, and returns the output; or raises `Failed`,
        `Cancelled`, `TimedOut`."""
        run = self.id
        until = math.inf if timeout is None else time.monotonic() + timeout
        most = 0
        while True:
            left = min(max(until - time.monotonic(), 0), most)
            (row,) = yield Call("wait_for_end", {"task_id": run, "timeout": interval(left)})
            most = 30
            if row.status == "COMPLETED":
                # (who goes on has no output)
                if row.output is None and (next_run := (yield Call("continued_as", {"workflow_id": run}))):
                    run = next_run
                    continue
                output: T = self._host.codec.decode(row.output, self._returns)
                return output
            if row.status == "FAILED":
                raise errors.recorded(str(run), row.error)
            if row.status == "CANCELLED":
                raise errors.Cancelled(f"workflow {run} was cancelled")
            if time.monotonic() >= until:
                raise TimedOut(f"workflow {run} is {row.status}")

    def _status(self) -> Result[str]:
        """Its status: PENDING, RUNNING, PAUSED, COMPLETED, FAILED or CANCELLED."""
        return _one(Call("status", {"task_id": self.id}))

    def _signal(self, name: str, payload: Any = None, key: str | None = None, connection: Any = None) -> Result[bool]:
        """Sends it a signal; of two with the same key the second is not sent: False."""
        args = {"workflow_id": self.id, "name": name, "payload": self._host.codec.encode(payload, f'signal "{name}"')}
        return _one(Call("signal", _given(args | {"key": key}), raw(connection)))

    def _cancel(self, connection: Any = None) -> Result[int]:
        """Cancels it and all below it, at once and for good."""
        return _one(Call("cancel_tree", {"workflow_id": self.id}, raw(connection)))

    def _request_cancel(self, reason: str | None = None, grace: Duration | None = None) -> Result[int]:
        """Asks it, and all below it, to end by themselves; after `grace` it is cancelled."""
        return _one(
            Call("request_cancel", _given({"workflow_id": self.id, "reason": reason, "grace": interval(grace)}))
        )

    def _pause(self, connection: Any = None) -> Result[int]:
        """Pauses it and all below it."""
        return _one(Call("pause_tree", {"workflow_id": self.id}, raw(connection)))

    def _resume(self, connection: Any = None) -> Result[int]:
        """Undoes that pause."""
        return _one(Call("resume_tree", {"workflow_id": self.id}, raw(connection)))

    def _retry(self, from_sequence: int = 0) -> Result[None]:
        """Runs it again after it has failed, from its last completed step."""
        yield Call("resume_failed", {"workflow_id": self.id, "from_sequence": from_sequence})

    def _fork(
        self, /, from_sequence: int, *, queue: str, name: str | None = None, input: Any = None, **options: Any
    ) -> Result[Any]:
        """A new run with copies of what it has recorded before that position, whatever its status.

        Name and input are its own unless given. Other options are those of the function `durable.fork`.
        """
        args = {"workflow_id": self.id, "from_sequence": from_sequence, "queue": queue, "name": name, **options}
        row = yield Call("fork", _given(args | {"input": self._host.codec.encode(input, "input of a fork")}))
        return type(self)(self._host, row.workflow_id, True, self._returns)

    def _history(self) -> Result[list[Any]]:
        """Every recorded step in order, as rows; `testing.replay` takes it."""
        return _one(Call("history", {"workflow_id": self.id}))

    def _page(self, topic: str | None, after: int, follow: bool) -> Gen:
        """The next events, and whether there can be more."""
        args = _given({"workflow_id": self.id, "topic": topic, "after": after})
        is_over = not follow or (yield from self._status()) in FINISHED
        rows = yield Call("events", args)
        if not rows and not is_over:
            yield Call("wait_for_event", args | {"timeout": "30 s"})
        decode = self._host.codec.decode
        return [Event(row.n, row.topic, decode(row.payload), row.emitted_at) for row in rows], bool(rows) or not is_over


class Handle(BaseHandle[T]):
    """A workflow from outside."""

    result = _blocking(BaseHandle._result)
    status = _blocking(BaseHandle._status)
    signal = _blocking(BaseHandle._signal)
    cancel = _blocking(BaseHandle._cancel)
    request_cancel = _blocking(BaseHandle._request_cancel)
    pause = _blocking(BaseHandle._pause)
    resume = _blocking(BaseHandle._resume)
    retry = _blocking(BaseHandle._retry)
    fork = _blocking(BaseHandle._fork)
    history = _blocking(BaseHandle._history)

    def events(self, topic: str | None = None, after: int = 0, follow: bool = False) -> Iterator[Event]:
        """What it has said after that number; with `follow` also what comes, until it has ended."""
        more = True
        while more:
            page, more = self._host.driver.drive(self._page(topic, after, follow))
            for event in page:
                after = event.n
                yield event


class AsyncHandle(BaseHandle[T]):
    """A workflow from outside, its methods to be awaited."""

    result = _awaiting(BaseHandle._result)
    status = _awaiting(BaseHandle._status)
    signal = _awaiting(BaseHandle._signal)
    cancel = _awaiting(BaseHandle._cancel)
    request_cancel = _awaiting(BaseHandle._request_cancel)
    pause = _awaiting(BaseHandle._pause)
    resume = _awaiting(BaseHandle._resume)
    retry = _awaiting(BaseHandle._retry)
    fork = _awaiting(BaseHandle._fork)
    history = _awaiting(BaseHandle._history)

    async def events(self, topic: str | None = None, after: int = 0, follow: bool = False) -> AsyncIterator[Event]:
        """What it has said after that number; with `follow` also what comes, until it has ended."""
        more = True
        while more:
            page, more = await self._host.driver.drive(self._page(topic, after, follow))
            for event in page:
                after = event.n
                yield event


def _one(call: Call) -> Gen:
    return (yield call)


def _given(args: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in args.items() if value is not None}


class BaseApp:
    """What both kinds of applications share. See `App`."""

    _driver: Any
    _context: type[Flow]
    _handle: Any

    def __init__(
        self,
        conninfo: str = "",
        *,
        executor: str | None = None,
        codec: Codec = Codec(),  # noqa: B008
        fused: bool = False,
        version: str | None = None,
        pool: int = 10,
        databases: dict[tuple[int, int], str] | None = None,
        **connect: Any,
    ):
        self.conninfo, self.codec, self.fused, self.version = conninfo, codec, fused, version
        self.executor, self.executor_id = executor, ""
        self.workflows: dict[str, Workflow[Any, Any, Any]] = {}
        self.observers: list[Callable[..., None]] = []
        self._connect, self._pool, self._host = connect, pool, self
        self.databases = databases
        self.driver = self._driver(conninfo, pool, **connect)
        if databases:
            self.driver.owners = self._drivers(pool, 10)
        self._queues: dict[str, dict[str, Any]] = {}
        self.executors: Owners | None = None  # an executor for each database

    def _register(self, name: str, queue: str, fn: Callable[..., Any]) -> Workflow[Any, Any, Any]:
        parameters = list(inspect.signature(fn).parameters)
        if len(parameters) != 2:
            raise TypeError(f'workflow "{name}" must take a context and an input')
        known = hints(fn)
        workflow: Workflow[Any, Any, Any] = Workflow(name, fn, queue, known.get(parameters[1]), known.get("return"))
        if name in self.workflows:
            raise ValueError(f'there are two workflows "{name}"')
        self.workflows[name] = workflow
        self._queues.setdefault(queue, {})
        return workflow

    def queue(self, name: str, **limits: Any) -> None:
        """Declares a queue and its limits, as `durable.create_queue` has them: a worker makes or alters it."""
        self._queues[name] = limits

    def _make_queue(self, name: str) -> Gen:
        limits = self._queues.get(name, {})
        try:
            yield Call("create_queue", {"name": name, **limits, "if_exists": "alter" if limits else "keep"})
        except DurableError as error:
            if error.sqlstate != "42501":  # somebody else may have to
                raise

    def _start(
        self,
        /,
        workflow: Workflow[Any, I, T] | str,
        name: str,
        input: I | None = None,
        *,
        queue: str | None = None,
        connection: Any = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        **options: Any,
    ) -> Result[Any]:
        """Starts a workflow in its queue, or finds the unfinished one of that name.

        A handler that is not registered here has the queue `default`. With a connection, in that connection's
        transaction: it begins when, and only if, that is committed. Other options are those of the function
        `durable.start`.
        """
        known = self.workflows.get(workflow) if isinstance(workflow, str) else workflow
        queue = queue or (known.queue if known else "default")
        args = {
            "name": name,
            "input": self.codec.encode(input, f'input of workflow "{name}"'),
            "handler": known.name if known else workflow,
            "queue": queue,
            "timeout": interval(timeout),
            **(retry.args() if retry else {}),
            **options,
        }
        if args.get("tags") is not None:
            args["tags"] = self.codec.encode(args["tags"], "tags")
        call = Call("start", _given(args), raw(connection))
        try:
            row = yield call
        except DurableError as error:
            if error.sqlstate != "WF012" or connection is not None or self.databases:
                raise
            yield from self._make_queue(queue)
            row = yield call
        return self._handle(self, row.workflow_id, row.created, known.returns if known else None)

    def _attach(self, workflow: UUID | str) -> Result[Any]:
        """A workflow that is there: the last one of a name, or by its id."""
        if isinstance(workflow, UUID):
            return self._handle(self, workflow)
        if rows := (yield Call("list", {"name": workflow, "root_only": True, "max_rows": 1})):
            handler = self.workflows.get(rows[0].handler)
            return self._handle(self, rows[0].id, False, handler.returns if handler else None)
        try:
            return self._handle(self, UUID(workflow))
        except ValueError:
            raise errors.refusal("WF001", f'there is no workflow "{workflow}"') from None

    def _answer(
        self, token: UUID | str, output: Any = None, error: str | None = None, connection: Any = None
    ) -> Result[bool]:
        """Answers a callback by its token."""
        args = {"step_id": token, "output": self.codec.encode(output, "answer"), "error": error}
        return _one(Call("answer", _given(args), raw(connection)))

    def _signal(
        self, name: str, signal: str, payload: Any = None, key: str | None = None, connection: Any = None
    ) -> Result[bool]:
        """Sends a signal to the unfinished root workflow of that name."""
        args = {"name": name, "signal": signal, "payload": self.codec.encode(payload, f'signal "{signal}"'), "key": key}
        return _one(Call("signal_root", _given(args), raw(connection)))

    def _drivers(self, size: int, outage: float) -> Owners:
        """A driver for each database."""
        databases = self.databases or {(0, 4095): self.conninfo}
        return Owners({buckets: self._driver(dsn, size, outage, **self._connect) for buckets, dsn in databases.items()})

    def _new_executors(
        self, size: int, queues: list[str], concurrency: int, patience: float, grace: float
    ) -> list[Executor]:
        self.executor_id = self.executor or executor_name()  # not before, as a process may fork
        owners = self._drivers(size, FOR_EVER).owners
        made = {
            buckets: Executor(
                driver,
                self._context,
                self.workflows,
                self.codec,
                self.executor_id,
                queues,
                concurrency,
                patience,
                grace,
                self.fused,
                self.version,
                self.observers,
            )
            for buckets, driver in owners.items()
        }
        self.executors = Owners(made)
        return list(made.values())

    def _work(self, executor: Executor) -> Gen:
        """Makes the queues, and works until it is stopped."""
        for name in executor.queues:
            yield from self._make_queue(name)
        yield from executor.work()

    def _begin(self, workflow: Workflow[Any, I, T], name: str, input: I, options: dict[str, Any]) -> Gen:
        """Starts a workflow without a queue, or finds it: the executor of its database, its row and its input."""
        text = self.codec.encode(input, f'input of workflow "{name}"')
        args = {"name": name, "input": text, "handler": workflow.name, "executor_id": self.executor_id, **options}
        row = yield Call("start", _given(args))
        if row.owner != self.executor_id:
            raise errors.LeaseLost(f'workflow "{name}" is {row.status}, driven by {row.owner or "nobody"}')
        if not row.created:
            text = yield Call("input", {"task_id": row.workflow_id})
        assert self.executors
        owners = self.driver.owners  # as the call has learned it, if buckets have moved
        return self.executors.all[owners.all.index(owners.of(name)) if owners else 0], row, text

    def _begun(self, executor: Executor, workflow: Workflow[Any, I, T], name: str, row: Any, text: str | None) -> Gen:
        """Drives it here."""
        driven = Driven(executor, row.workflow_id, None)
        flow = self._context(driven, row.workflow_id, name, workflow.name, row.lease, None)
        executor.running[flow.id] = flow
        try:
            return (yield from drive(flow, workflow, text, row.created))
        finally:
            executor.inbox.put_nowait(("ended", flow))

    def stop(self) -> None:
        """Drains the worker; a second time, stops it at once."""
        for executor in self.executors.all if self.executors else ():
            executor.stop()


class App(BaseApp):
    """An application of ordinary functions: `app.workflow` registers them, `start` begins one, `run` is the worker.

    `executor` is the worker's id, by default a new one each time. With `fused`, a step that has returned is recorded
    by the call that claims the next one: half the commits, and a process that dies in between runs that step again.
    `version` is the program's: see `app_version`. Other arguments are psycopg's for `connect`.
    """

    _driver, _context, _handle = Threads, Context, Handle

    def workflow(
        self, name: str, *, queue: str = "default"
    ) -> Callable[[Callable[[Context, I], T]], Workflow[Context, I, T]]:
        """Registers a function of a context and an input under that name, to be run from that queue."""

        def register(fn: Callable[[Context, I], T]) -> Workflow[Context, I, T]:
            if inspect.iscoroutinefunction(fn):
                raise TypeError(f'workflow "{name}" is an async function: it needs an AsyncApp')
            return self._register(name, queue, fn)

        return register

    start = _blocking(BaseApp._start)
    attach = _blocking(BaseApp._attach)
    answer = _blocking(BaseApp._answer)
    signal = _blocking(BaseApp._signal)

    def drive(self, workflow: Workflow[Any, I, T], name: str, input: I, **options: Any) -> T:
        """Runs a workflow here and now, without a queue, and returns its output.

        A process that is started again under the same executor id goes on where it was.
        """
        if self.executors is None:
            for executor in self._new_executors(self._pool, [], 0, 5, 30):
                threading.Thread(target=executor.driver.drive, args=(executor.work(),), daemon=True).start()
        while True:
            mine, row, text = self.driver.drive(self._begin(workflow, name, input, options))
            with contextlib.suppress(errors.Continued):  # the next run of the name is ours
                output: T = mine.driver.drive(self._begun(mine, workflow, name, row, text))
                return output

    def run(
        self,
        queues: list[str] | None = None,
        concurrency: int = 10,
        *,
        patience: float = 5,
        grace: float = 30,
        handle_signals: bool = True,
    ) -> None:
        """The worker: runs what comes into the queues, so many at once, until SIGTERM or `stop`.

        A wait longer than `patience` seconds gives its place free. At SIGTERM steps that run have `grace` seconds to
        end; the rest is handed back at once. A second SIGTERM does not wait for them.
        """
        queues = list(self._queues) if queues is None else queues
        executors = self._new_executors(concurrency + 2, queues, concurrency, patience, grace)
        if handle_signals and threading.current_thread() is threading.main_thread():
            for number in signal.SIGTERM, signal.SIGINT:
                signal.signal(number, lambda *_: self.stop())
        first, *others = [(executor.driver.drive, self._work(executor)) for executor in executors]
        threads = [threading.Thread(target=run, args=(work,)) for run, work in others]
        for thread in threads:
            thread.start()
        first[0](first[1])
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Closes what connections there are."""
        self.stop()
        self.driver.close()


class AsyncApp(BaseApp):
    """An application of `async def` functions. See `App`; the methods are to be awaited."""

    _driver, _context, _handle = Tasks, AsyncContext, AsyncHandle

    def workflow(
        self, name: str, *, queue: str = "default"
    ) -> Callable[[Callable[[AsyncContext, I], Coroutine[Any, Any, T]]], Workflow[AsyncContext, I, T]]:
        """Registers a function of a context and an input under that name, to be run from that queue."""
        return lambda fn: self._register(name, queue, fn)

    start = _awaiting(BaseApp._start)
    attach = _awaiting(BaseApp._attach)
    answer = _awaiting(BaseApp._answer)
    signal = _awaiting(BaseApp._signal)

    async def drive(self, workflow: Workflow[Any, I, T], name: str, input: I, **options: Any) -> T:
        """Runs a workflow here and now, without a queue, and returns its output."""
        if self.executors is None:
            for executor in self._new_executors(self._pool, [], 0, 5, 30):
                executor.driver.spawn(executor.driver.drive(executor.work()))
        while True:
            mine, row, text = await self.driver.drive(self._begin(workflow, name, input, options))
            with contextlib.suppress(errors.Continued):  # the next run of the name is ours
                output: T = await mine.driver.drive(self._begun(mine, workflow, name, row, text))
                return output

    async def work(
        self,
        queues: list[str] | None = None,
        concurrency: int = 100,
        *,
        patience: float = 5,
        grace: float = 30,
        handle_signals: bool = False,
    ) -> None:
        """The worker, as a task among others; see `App.run`."""
        queues = list(self._queues) if queues is None else queues
        executors = self._new_executors(self._pool, queues, concurrency, patience, grace)
        if handle_signals:
            for number in signal.SIGTERM, signal.SIGINT:
                asyncio.get_running_loop().add_signal_handler(number, self.stop)
        await asyncio.gather(*(executor.driver.drive(self._work(executor)) for executor in executors))
        for executor in executors:
            await executor.driver.close()

    def run(self, queues: list[str] | None = None, concurrency: int = 100, **options: Any) -> None:
        """The worker, as a program of its own."""
        asyncio.run(self.work(queues, concurrency, handle_signals=True, **options))

    async def close(self) -> None:
        """Closes what connections there are."""
        self.stop()
        await self.driver.close()
