"""What runs the generators of the protocol: `Threads` with blocking calls, `Tasks` with asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row, tuple_row
from psycopg.types.string import TextLoader

from . import protocol
from .errors import DurableError, Interrupt, refusal
from .protocol import Call, Each, Gen, Hush, Listen, Pause, Receive, Run, Spawn, Within

# So many calls of a kind are under way at once; what comes meanwhile goes together in the next one.
AT_ONCE = 2
# Buckets that move from one database to another are in none of them for less than that (seconds).
MOVING = 5.0
# Repeated after a lost reply these would do something twice.
ONCE = {"emit", "signal", "signal_root", "start", "start_many", "trigger_schedule", "fork", "resume_failed"}


def translated(error: psycopg.Error) -> BaseException:
    """The exception of this library for an error of the server; what passes stays as it is."""
    if protocol.transient(error):
        return error
    state = error.sqlstate or "XX000"
    if "canceling statement" in str(error):
        return error
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return refusal(state, (error.diag.message_primary or str(error)) + detail)


BACKEND = "SELECT pg_backend_pid()"


class Driver:
    """A pool of connections, and the calls of each kind that wait, or are under way."""

    def __init__(self, conninfo: str = "", size: int = 10, outage: float = 10, **connect: Any):
        self.conninfo, self.connect, self.size, self.outage = conninfo, connect, size, outage
        self.losses = 0  # how often a connection was lost
        self.pooled = False  # whether a pooler stands between: each call may have another session
        self.owners: Owners | None = None  # the drivers of several databases
        self._begin()

    def _begin(self) -> None:
        """Nothing is under way: at first, and after a fork, since all connections are the parent's."""
        self._process = os.getpid()
        self._idle: list[Any] = []
        self._waiting: defaultdict[Any, list[Any]] = defaultdict(list)
        self._under_way: defaultdict[Any, int] = defaultdict(int)

    def owner(self, call: Call) -> Any:
        """The driver of the database that has what the call is about."""
        owner = self.owners.of(protocol.concerns(call)) if self.owners else self
        if owner._process != os.getpid():
            owner._begin()
        return owner

    def _meet(self, conn: Any, backend: Any) -> None:
        """A pooler is noticed by who answers: not whom the connection was made to. Then nothing is prepared."""
        self.pooled = backend != (conn.info.backend_pid,)
        if self.pooled:
            conn.prepare_threshold = None

    def _pause(self, call: Call) -> float:
        """Behind a pooler nobody waits in a session, which others need: seconds until it looks instead."""
        is_wait = call.function in ("wait_for_end", "wait_for_event") and call.args["timeout"]
        return protocol.LOOK if self.pooled and is_wait else 0

    def _look(self, call: Call) -> Call:
        return call._replace(args=call.args | {"timeout": timedelta(0)}) if self._pause(call) else call


class Threads(Driver):
    """Runs generators with blocking calls; what is beside them, in threads."""

    event = staticmethod(threading.Event)
    inbox: Any = staticmethod(queue.SimpleQueue)

    def _begin(self) -> None:
        super()._begin()
        self._room = threading.BoundedSemaphore(self.size)
        self._lock = threading.Lock()

    def drive(self, gen: Gen, connection: Any = None) -> Any:
        """Runs a generator to its end; its calls go over that connection, or one of the pool."""
        resume, value = gen.send, None
        while True:
            try:
                effect = resume(value)
            except StopIteration as done:
                return done.value
            try:
                value, resume = self._perform(effect, connection), gen.send
            except BaseException as error:
                value, resume = error, gen.throw

    def _perform(self, effect: Any, connection: Any) -> Any:
        match effect:
            case Call():
                return self.call(effect, connection)
            case Run():
                return effect.fn(*effect.args, **effect.kwargs)
            case Within():
                own: list[BaseException] = []
                with self.connection() as conn, _translating(own), conn.transaction(), _noting(own):
                    return self.drive(effect.body(conn), conn)
            case Pause():
                return effect.event.wait(effect.seconds)
            case Each():
                return self._each(effect.bodies)
            case Listen():
                with self._connect() as conn:
                    return self.drive(effect.body(conn), conn)
            case Receive():
                return _receive(effect)
            case Spawn():
                threading.Thread(target=self.drive, args=(effect.body,), daemon=True).start()
            case Hush():
                with contextlib.suppress(psycopg.Error):
                    effect.connection.cancel()
        return None

    def call(self, call: Call, connection: Any = None) -> Any:
        if (connection := call.connection or connection) is not None:
            return _execute(connection, call)
        tries, began, key = 0, time.monotonic(), protocol.batch_key(call)
        while True:
            owner = self.owner(call)
            try:
                return owner._alone(call) if key is None else owner._together(key, call)
            except DurableError as error:
                if not _is_moving(error, began):
                    raise
            time.sleep(protocol.backoff(tries))
            tries += 1
            if self.owners:
                self.owners.learn([one._alone(Call("buckets", {})) for one in self.owners.all])

    def _alone(self, call: Call) -> Any:
        """Over a connection of the pool; again and again while there is none to be had."""
        tries, began = 0, time.monotonic()
        while True:
            try:
                time.sleep(self._pause(call))
                with self.connection() as conn:
                    return _execute(conn, self._look(call))
            except psycopg.Error as error:
                if call.function in ONCE or not protocol.transient(error) or time.monotonic() - began > self.outage:
                    raise
                self.losses += 1
            time.sleep(protocol.backoff(tries))
            tries += 1

    def _together(self, key: Any, call: Call) -> Any:
        """Calls that threads make while others of that kind are under way become one."""
        ticket: dict[str, Any] = {"call": call, "done": threading.Event()}
        with self._lock:
            if self._under_way[key] >= AT_ONCE:
                self._waiting[key].append(ticket)
                ticket["turn"] = None
            else:
                self._under_way[key] += 1
        if "turn" not in ticket:
            self._serve(key, [ticket])
        else:
            ticket["done"].wait()
            if ticket["turn"] is not None:  # to do it for all that wait
                self._serve(key, ticket["turn"])
        if "error" in ticket:
            raise ticket["error"]
        return ticket["answer"]

    def _serve(self, key: Any, tickets: list[dict[str, Any]]) -> None:
        calls = [ticket["call"] for ticket in tickets]
        try:
            for group in protocol.batches(calls):
                try:
                    answers = self._batch([calls[n] for n in group])
                except BaseException as error:
                    answers = [error] * len(group)
                for n, answer in zip(group, answers, strict=True):
                    tickets[n]["error" if isinstance(answer, BaseException) else "answer"] = answer
        finally:
            with self._lock:
                if waiting := self._waiting.pop(key, None):
                    waiting[0]["turn"] = waiting
                    waiting[0]["done"].set()
                elif self._under_way[key] == 1:
                    del self._under_way[key]
                else:
                    self._under_way[key] -= 1
            for ticket in tickets[1:]:
                ticket["done"].set()

    def _batch(self, calls: list[Call]) -> list[Any]:
        if len(calls) > 1:
            try:
                return protocol.parted(calls[0].function, self._alone(protocol.merged(calls)))
            except (Exception, Interrupt) as error:
                if protocol.transient(error):
                    raise
            # one of them has spoilt it for all: one by one
        answers: list[Any] = []
        for call in calls:
            try:
                answers.append(self._alone(call))
            except BaseException as error:
                answers.append(error)
        return answers

    def _each(self, bodies: list[Gen]) -> list[Any]:
        answers: list[Any] = [None] * len(bodies)

        def run(n: int) -> None:
            try:
                answers[n] = self.drive(bodies[n])
            except BaseException as error:
                answers[n] = error

        threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(1, len(bodies))]
        for thread in threads:
            thread.start()
        if bodies:
            run(0)
        for thread in threads:
            thread.join()
        return _all(answers)

    def _connect(self) -> psycopg.Connection[Any]:
        conn: psycopg.Connection[Any] = psycopg.connect(self.conninfo, autocommit=True, **self.connect)
        self._meet(conn, conn.cursor(row_factory=tuple_row).execute(BACKEND).fetchone())
        return conn

    @contextlib.contextmanager
    def connection(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of the pool, in autocommit mode."""
        with self._room:
            try:
                conn = self._idle.pop()
            except IndexError:
                conn = self._connect()
            try:
                yield conn
            finally:
                if not conn.closed and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    self._idle.append(conn)
                else:
                    conn.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        for owner in self.owners.all if self.owners else ():
            owner.close()


class Owners:
    """The drivers of several databases, or their executors, by the buckets that they own."""

    def __init__(self, owners: dict[tuple[int, int], Any]):
        self.owners, self.all = owners, list(owners.values())

    def of(self, what: Any) -> Any:
        """That of an id's or a name's database; for what is about no tree, or nowhere at this moment, the first."""
        if what is not None:
            number = protocol.bucket(what)
            for (first, last), owner in self.owners.items():
                if first <= number <= last:
                    return owner
        return self.all[0]

    def learn(self, buckets: list[Any]) -> None:
        """Takes over which buckets they say that they have."""
        self.owners = {(r.lower, r.upper - 1): one for one, has in zip(self.all, buckets, strict=True) for r in has}


class Tasks(Driver):
    """Runs generators with asyncio; what is beside them, in tasks."""

    event = staticmethod(asyncio.Event)
    inbox: Any = staticmethod(asyncio.Queue)

    def _begin(self) -> None:
        super()._begin()
        self._room = asyncio.Semaphore(self.size)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def drive(self, gen: Gen, connection: Any = None) -> Any:
        """Runs a generator to its end; its calls go over that connection, or one of the pool."""
        resume, value = gen.send, None
        while True:
            try:
                effect = resume(value)
            except StopIteration as done:
                return done.value
            try:
                value, resume = await self._perform(effect, connection), gen.send
            except BaseException as error:
                value, resume = error, gen.throw

    async def _perform(self, effect: Any, connection: Any) -> Any:
        match effect:
            case Call():
                return await self.call(effect, connection)
            case Run():
                async with asyncio.timeout(effect.timeout):
                    return await _run(effect)
            case Within():
                own: list[BaseException] = []
                async with self.connection() as conn:
                    with _translating(own):
                        async with conn.transaction():
                            with _noting(own):
                                return await self.drive(effect.body(conn), conn)
            case Pause():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(effect.event.wait(), effect.seconds)
            case Each():
                return _all(await asyncio.gather(*map(self.drive, effect.bodies), return_exceptions=True))
            case Listen():
                conn = await self._connect()
                try:
                    return await self.drive(effect.body(conn), conn)
                finally:
                    await conn.close()
            case Receive():
                return await _receive_async(effect)
            case Spawn():
                self.spawn(self.drive(effect.body))
            case Hush():
                with contextlib.suppress(psycopg.Error):
                    await asyncio.to_thread(effect.connection.cancel)
        return None

    async def call(self, call: Call, connection: Any = None) -> Any:
        if (connection := call.connection or connection) is not None:
            return await _execute_async(connection, call)
        tries, began, key = 0, time.monotonic(), protocol.batch_key(call)
        while True:
            owner = self.owner(call)
            try:
                return await (owner._alone(call) if key is None else owner._together(key, call))
            except DurableError as error:
                if not _is_moving(error, began):
                    raise
            await asyncio.sleep(protocol.backoff(tries))
            tries += 1
            if self.owners:
                self.owners.learn([await one._alone(Call("buckets", {})) for one in self.owners.all])

    async def _together(self, key: Any, call: Call) -> Any:
        """Calls that are made in the same moment, or while others of that kind are under way, become one."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[key].append((call, future))
        if self._under_way[key] < AT_ONCE:
            self._under_way[key] += 1
            asyncio.get_running_loop().call_soon(lambda: self.spawn(self._serve(key)))  # with those of this moment
        return await future

    async def _serve(self, key: Any) -> None:
        while tickets := self._waiting.pop(key, None):
            calls = [call for call, _ in tickets]
            for group in protocol.batches(calls):
                try:
                    answers = await self._batch([calls[n] for n in group])
                except BaseException as error:
                    answers = [error] * len(group)
                for n, answer in zip(group, answers, strict=True):
                    future = tickets[n][1]
                    if future.done():  # nobody waits for it any more
                        continue
                    if isinstance(answer, BaseException):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]

    async def _batch(self, calls: list[Call]) -> list[Any]:
        if len(calls) > 1:
            try:
                return protocol.parted(calls[0].function, await self._alone(protocol.merged(calls)))
            except (Exception, Interrupt) as error:
                if protocol.transient(error):
                    raise
            # one of them has spoilt it for all: one by one
        return await asyncio.gather(*map(self._alone, calls), return_exceptions=True)

    async def _alone(self, call: Call) -> Any:
        """Over a connection of the pool; again and again while there is none to be had."""
        tries, began = 0, time.monotonic()
        while True:
            try:
                await asyncio.sleep(self._pause(call))
                async with self.connection() as conn:
                    return await _execute_async(conn, self._look(call))
            except psycopg.Error as error:
                if call.function in ONCE or not protocol.transient(error) or time.monotonic() - began > self.outage:
                    raise
                self.losses += 1
            await asyncio.sleep(protocol.backoff(tries))
            tries += 1

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        conn: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(
            self.conninfo, autocommit=True, **self.connect
        )
        cursor = await conn.cursor(row_factory=tuple_row).execute(BACKEND)
        self._meet(conn, await cursor.fetchone())
        return conn

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """A connection of the pool, in autocommit mode."""
        async with self._room:
            conn = self._idle.pop() if self._idle else await self._connect()
            try:
                yield conn
            finally:
                if not conn.closed and conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    self._idle.append(conn)
                else:
                    await conn.close()

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()
        for owner in self.owners.all if self.owners else ():
            await owner.close()


async def _run(run: Run) -> Any:
    """Calls a function of the program's: a plain one that is no lambda in a thread, since it may block."""
    try:
        if inspect.iscoroutinefunction(run.fn) or getattr(run.fn, "__name__", "<lambda>") == "<lambda>":
            result = run.fn(*run.args, **run.kwargs)
        else:
            result = await _in_thread(run)
        return await result if inspect.isawaitable(result) else result
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise
        raise CancelledError(*error.args) from error  # of something else that it awaited: a failure like any other


async def _in_thread(run: Run) -> Any:
    """A thread for each: as many as there are steps, and none that keeps the process from its end."""
    loop, variables = asyncio.get_running_loop(), contextvars.copy_context()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(*outcome: Any) -> None:
        if not future.done():
            future.set_result(outcome)  # never as the exception: a future takes no StopIteration

    def work() -> None:
        result, raised = None, None
        try:
            result = variables.run(run.fn, *run.args, **run.kwargs)
        except BaseException as error:
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, raised)

    threading.Thread(target=work, daemon=True).start()
    result, raised = await future
    if raised is not None:
        raise raised
    return result


def _is_moving(error: DurableError, since: float) -> bool:
    """Whether a call was refused, and so not done, since its bucket is, or was, about to be in another database."""
    return error.sqlstate == "WF016" and time.monotonic() - since < MOVING


def _execute(connection: Any, call: Call) -> Any:
    with _translating(), connection.cursor(row_factory=namedtuple_row) as cursor:
        if call.function == "wait_for_end":
            cursor.adapters.register_loader("jsonb", TextLoader)
        cursor.execute(protocol.statement(call.function, tuple(call.args)), call.args)
        return protocol.answer(call.function, cursor.fetchall())


async def _execute_async(connection: Any, call: Call) -> Any:
    with _translating():
        async with connection.cursor(row_factory=namedtuple_row) as cursor:
            if call.function == "wait_for_end":
                cursor.adapters.register_loader("jsonb", TextLoader)
            await cursor.execute(protocol.statement(call.function, tuple(call.args)), call.args)
            return protocol.answer(call.function, await cursor.fetchall())


@contextlib.contextmanager
def _translating(but: list[BaseException] | None = None) -> Iterator[None]:
    """Errors of the server become those of this library, but for those that are given."""
    try:
        yield
    except psycopg.Error as error:
        if (but and error is but[0]) or (other := translated(error)) is error:
            raise
        raise other from error


@contextlib.contextmanager
def _noting(errors: list[BaseException]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        errors.append(error)
        raise


def _all(answers: list[Any]) -> list[Any]:
    """The answers; or the first error, an interrupt before others."""
    raised = [answer for answer in answers if isinstance(answer, BaseException)]
    for error in sorted(raised, key=lambda error: isinstance(error, Exception)):
        raise error
    return answers


def _receive(effect: Receive) -> list[Any]:
    try:
        items = [effect.inbox.get(timeout=effect.seconds)]
        while True:
            items.append(effect.inbox.get_nowait())
    except queue.Empty:
        return items if "items" in locals() else []


async def _receive_async(effect: Receive) -> list[Any]:
    items = []
    with contextlib.suppress(TimeoutError):
        items.append(await asyncio.wait_for(effect.inbox.get(), effect.seconds))
    while not effect.inbox.empty():
        items.append(effect.inbox.get_nowait())
    return items


def raw(connection: Any) -> Any:
    """The psycopg connection in what a caller passes: also SQLAlchemy's Session or Connection, or Django's."""
    while not isinstance(connection, psycopg.Connection | psycopg.AsyncConnection | None):
        for name in ("ensure_connection", "sync_connection", "driver_connection", "connection"):
            if hasattr(connection, name):
                inner = getattr(connection, name)
                if name == "ensure_connection":  # Django's: there may be none yet
                    inner()
                    inner = connection.connection
                connection = inner() if callable(inner) else inner
                break
        else:
            raise TypeError(f"{type(connection).__name__} is no connection of psycopg 3")
    return connection
