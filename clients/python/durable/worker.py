"""An executor: a process, as the server knows it, that claims workflows and drives them."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from . import protocol
from .context import Driven, Flow, drive
from .errors import Cancelled, DurableError, Interrupt, LeaseLost, Locked, Paused, ProgramChanged, Shutdown
from .protocol import Call, Gen, Hush, Listen, Pause, Receive, Spawn
from .values import Codec

log = logging.getLogger("durable")
said = logging.getLogger("durable.workflow")  # what becomes of workflows and steps, with their ids


def attributes(flow: Flow, name: str | None, sequence: int | None, row: Any) -> dict[str, Any]:
    """Which workflow and step: for logs and spans."""
    found: dict[str, Any] = {"durable.workflow.id": str(flow.id), "durable.workflow.name": flow.name}
    if (queue := flow._top().queue) is not None:
        found["durable.queue"] = queue
    if name is not None:
        found |= {"durable.step.name": name, "durable.step.sequence": sequence, "durable.attempt.number": row.attempt}
    return found


def executor_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:6]}"


class Executor:
    """Claims as much as it has room for, drives it, and passes on what the server tells about it.

    One connection waits (`wait_for_work`) and is the heartbeat; the server knows at once when it is gone. All else
    goes over the pool. With a concurrency of 0 it claims nothing and only drives what it is given.
    """

    def __init__(
        self,
        driver: Any,
        context: type[Flow],
        workflows: dict[str, Any],
        codec: Codec,
        executor_id: str,
        queues: list[str],
        concurrency: int,
        patience: float,
        grace: float,
        fused: bool,
        app_version: str | None,
        observers: list[Callable[..., None]],
    ):
        self.driver, self.context, self.workflows, self.codec = driver, context, workflows, codec
        self.executor_id, self.queues, self.concurrency = executor_id, queues, concurrency
        self.patience, self.grace, self.fused, self.app_version = patience, grace, fused, app_version
        self.observers = observers
        self.running: dict[UUID, Flow] = {}
        self.inbox, self.orders = driver.inbox(), driver.inbox()
        self.closed = driver.event()
        self.draining = 0  # how often it was asked to stop
        self.more = True  # there may be more in the queues than was claimed
        self._ear: Any = None  # the connection that waits, once this executor is bound to it
        self._armed: list[str] | None = None  # and for what, as far as the loop knows
        self._order: list[str] | None = None  # what the listener is at
        self._losses = 0  # of the driver's connections, as far as they were looked into

    # ---- what the flows ask of their host

    @property
    def room(self) -> int:
        """How many more it takes: none before it is bound, so that what it has is recovered at once if it dies."""
        claimed = sum(1 for flow in list(self.running.values()) if flow._driven.patience is not None)
        return 0 if self.draining or self._ear is None else max(self.concurrency - claimed, 0)

    @property
    def crowded(self) -> bool:
        return self.room == 0

    def observe(
        self,
        event: str,
        flow: Flow,
        name: str | None,
        sequence: int | None,
        row: Any,
        error: BaseException | None = None,
        began: int | None = None,
    ) -> None:
        """Tells the observers, and the log, what has become of a step, or, without a name, of a workflow."""
        if event in ("completed", "failed") and said.isEnabledFor(level := logging.WARNING if error else logging.INFO):
            what = f"{flow.name}: {name} {event}" if name else f"{flow.name} {event}"
            said.log(level, "%s%s", what, f": {error}" if error else "", extra=attributes(flow, name, sequence, row))
        for observer in self.observers:
            observer(event, flow, name, sequence, row, error, began)

    def continued(self, flow: Flow, row: Any, text: str | None) -> None:
        """The next run of a workflow without a queue is ours at once."""
        if row.status == "RUNNING" and flow._driven.patience is not None:
            self.inbox.put_nowait(("adopt", (row.workflow_id, flow.name, flow.handler, row.lease, text, True)))

    # ---- the work

    def work(self) -> Gen:
        """Claims, recovers, drives and listens until it was asked to stop; then hands back what is left."""
        yield Spawn(self._listen())
        until = math.inf
        items: list[tuple[str, Any]] = []
        while True:
            for what, item in items:
                try:
                    yield from self._handle(what, item)
                except (DurableError, Interrupt) as error:
                    log.error("%s: %s", what, error)
                    if what == "taken":
                        raise
            if self.draining and until == math.inf:
                until = time.monotonic() + self.grace
                for flow in list(self.running.values()):
                    flow._driven.tell(Shutdown("the executor is draining"))
            if self.draining > 1 or (self.draining and not self.running) or time.monotonic() >= until:
                break
            try:
                if self.room and self.more:
                    yield from self._claim()
                if self.driver.losses != self._losses:  # a claim whose reply was lost was ours
                    self._losses = self.driver.losses
                    yield from self._news()
            except DurableError as error:
                log.error("claim: %s", error)
                self.more = False
            yield from self._arm()
            rest = min(until - time.monotonic(), 0.1 if self.queues and self.room and not self._armed else math.inf)
            items = yield Receive(self.inbox, None if rest == math.inf else max(rest, 0.01))
        yield from self._close()

    def _handle(self, what: str, item: Any) -> Gen:
        if what == "heard":
            self._armed, what = None, item
        if what == "ended":
            ended: Flow = item
            if self.running.get(ended.id) is ended:
                del self.running[ended.id]
        elif what == "adopt":
            yield from self._adopt(*item)
        if what in ("work", "looked"):
            self.more = True
        if what in ("news", "bound", "timeout", "looked"):
            yield from self._news()
        if what in ("recover", "bound", "timeout", "looked"):
            yield from self._recover()
        if what == "taken":
            for flow in list(self.running.values()):
                flow._driven.tell(LeaseLost("another process uses this executor id"))
            self.draining = 2
            raise item

    def _narrowed(self, limit: int) -> dict[str, Any]:
        args = {"executor_id": self.executor_id, "max_workflows": limit, "handlers": list(self.workflows)}
        return args | ({"app_version": self.app_version} if self.app_version else {})

    def _claim(self) -> Gen:
        room = self.room
        if self.queues:
            rows = yield Call("claim_from", {"queues": self.queues, **self._narrowed(room)})
            for row in rows:
                yield from self._adopt(
                    row.workflow_id, row.name, row.handler, row.lease, row.input, row.lease == 1, row.queue
                )
            self.more = len(rows) == room
        else:
            self.more = False

    def _recover(self) -> Gen:
        """Takes over what the dead have left, as far as there is room; the rest goes back to its queues."""
        if self.room and self.workflows:
            for row in (yield Call("recover", self._narrowed(self.room))):
                log.info("recovered %s %s: %s", row.name, row.workflow_id, row.reason)
                yield from self._adopt(row.workflow_id, row.name, row.handler, row.lease, row.input, False)
        if self.queues and not self.draining:
            yield Call("tick", {})

    def _adopt(
        self, id: UUID, name: str, handler: str, lease: int, text: str | None, fresh: bool, queue: str | None = None
    ) -> Gen:
        """Drives a workflow that is ours now; under an older lease it is not any more."""
        if before := self.running.get(id):
            before._driven.tell(LeaseLost("taken up again under another lease"))
        flow = self.context(Driven(self, id, self.patience), id, name, handler, lease, None)
        flow.queue = queue
        self.running[id] = flow
        yield Spawn(self._drive(flow, self.workflows[handler], text, fresh))

    def _drive(self, flow: Flow, workflow: Any, text: str | None, fresh: bool) -> Gen:
        try:
            yield from drive(flow, workflow, text, fresh)
        except (Locked, ProgramChanged) as error:
            log.error("%s %s: %s", flow.name, flow.id, error)
            yield from self._hand_back(flow, 60 if isinstance(error, ProgramChanged) else 1)
        except Interrupt as error:
            log.debug("%s %s: %s: %s", flow.name, flow.id, type(error).__name__, error)
        except DurableError as error:
            log.info("%s %s: %s", flow.name, flow.id, error)
        except (Exception, KeyboardInterrupt, SystemExit):
            log.exception("%s %s", flow.name, flow.id)
            yield from self._hand_back(flow, 5)
        finally:
            self.inbox.put_nowait(("ended", flow))

    def _hand_back(self, flow: Flow, seconds: float) -> Gen:
        """For somebody else, or a later time."""
        try:
            later = (yield Call("clock", {})) + timedelta(seconds=seconds)
            yield Call("release", {"executor_id": self.executor_id, "workflow_id": flow.id, "run_at": later})
        except (DurableError, Interrupt) as error:
            log.info("%s %s: %s", flow.name, flow.id, error)

    def _news(self) -> Gen:
        """Asks where the server thinks otherwise about what we drive, and tells those whom it concerns."""
        flows = dict(self.running)
        rows = yield Call(
            "heartbeat",
            {
                "executor_id": self.executor_id,
                "workflow_ids": list(flows),
                "leases": [flow.lease for flow in flows.values()],
            },
        )
        for row in rows:
            flow = self.running.get(row.workflow_id)
            is_ours = row.status == "RUNNING" and row.owner == self.executor_id
            if flow is None or (is_ours and row.lease > flow.lease):
                if is_ours and self.concurrency and not self.draining:
                    yield from self._attach(row.workflow_id)
            elif not is_ours or row.lease != flow.lease:
                kinds: dict[str, type[BaseException]] = {"PAUSED": Paused, "CANCELLED": Cancelled}
                flow._driven.tell(
                    kinds.get(row.status, LeaseLost)(f"it is {row.status}, at lease {row.lease}, of {row.owner}")
                )
        for flow in flows.values():
            flow._driven.tell()

    def _attach(self, id: UUID) -> Gen:
        """Ours without our knowing: the reply of a claim was lost, or a pause is over."""
        row = yield Call("attach", {"workflow_id": id, "executor_id": self.executor_id})
        if row.status == "RUNNING" and row.owner == self.executor_id and row.handler in self.workflows:
            yield from self._adopt(id, row.name, row.handler, row.lease, row.input, False)

    # ---- waiting

    def _arm(self) -> Gen:
        """Has the listener wait for what there is room for."""
        want = self.queues if self.room else []
        if self._armed is None:
            self._armed = want
            self.orders.put_nowait(want)
        elif want and not self._armed and self._ear is not None and not self.driver.pooled:
            yield Hush(self._ear)  # it waits without the queues; if it had not begun to, then once more

    def _listen(self) -> Gen:
        """Keeps a connection that waits, through restarts of the server and lost connections."""
        tries = 0
        while not self.closed.is_set():
            try:
                yield Listen(self._hear)
            except LeaseLost as error:
                self.inbox.put_nowait(("taken", error))
                return
            except Exception as error:
                log.warning("waiting for the server: %s", error)
            tries = 0 if self._ear is not None else tries + 1
            self._ear = None
            yield Pause(self.closed, protocol.backoff(tries))

    def _hear(self, connection: Any) -> Gen:
        """Waits as it is ordered, for ever; after a lost connection what we drive may be somebody else's.

        Behind a pooler it neither waits in a session nor is bound to one, which is another's the next time: it shows
        that it is alive, and looks at everything, again and again.
        """
        pooled = self.driver.pooled
        look = {"executor_id": self.executor_id, "timeout": "0 s", "bind": not pooled}
        yield Call("wait_for_work", look)
        self._ear = connection
        self.inbox.put_nowait(("bound", None))
        while True:
            if self._order is None:
                self._order = (yield Receive(self.orders))[-1]
            if self.closed.is_set():
                return
            if pooled:
                yield Pause(self.closed, protocol.LOOK)
            try:
                wait = look if pooled else look | {"queues": self._order, "timeout": "10 s"}
                reason = (yield Call("wait_for_work", wait))[0].reason
            except Exception as error:
                if getattr(error, "sqlstate", None) != "57014":
                    raise
                reason = "hushed"
            self._order = None
            self.inbox.put_nowait(("heard", "looked" if pooled else reason))

    def stop(self) -> None:
        """Drains: no new claims, steps that run may end within the grace. A second time: at once."""
        self.draining += 1
        self.inbox.put_nowait(("stop", None))

    def _close(self) -> Gen:
        outage, self.driver.outage = self.driver.outage, 5.0
        try:
            count = yield Call("release", {"executor_id": self.executor_id})
            if count:
                log.info("%s handed back %s workflows", self.executor_id, count)
        except Exception as error:
            log.warning("could not hand back: %s", error)
        self.driver.outage = outage
        self.closed.set()
        self.orders.put_nowait([])
        if self._ear is not None:
            yield Hush(self._ear)


FOR_EVER = math.inf
