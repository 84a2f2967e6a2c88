"""For tests of programs, without a server: `TestContext` runs one in memory, `replay` checks one against a history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from . import errors
from .context import Context, Driven, drive
from .drivers import Threads
from .errors import DurableError, ProgramChanged
from .protocol import Call, Pause, Within, step_id
from .values import Codec


class _Memory(Threads):
    """A driver whose server is a dictionary: time stands still, and passes where something waits for it."""

    def __init__(self, signals: dict[str, list[Any]], answers: dict[str, Any], children: dict[str, Any]):
        super().__init__()
        self.steps: dict[UUID, SimpleNamespace] = {}
        self.signals = {name: list(payloads) for name, payloads in signals.items()}
        self.answers, self.children = answers, children
        self.now = datetime.now(UTC)
        self.events: list[tuple[str, Any]] = []
        self.host: Any = None

    def _perform(self, effect: Any, connection: Any) -> Any:
        if isinstance(effect, Pause):
            self.now += timedelta(seconds=effect.seconds or 0)
            return None
        if isinstance(effect, Within):
            return self.drive(effect.body(SimpleNamespace(closed=False, execute=lambda *args: None)))
        return super()._perform(effect, connection)

    def call(self, call: Call, connection: Any = None) -> Any:
        return getattr(self, "_" + call.function)(**call.args)

    def _step(self, id: UUID, **fields: Any) -> SimpleNamespace:
        row = self.steps.setdefault(
            id,
            SimpleNamespace(
                step_id=id, output=None, error=None, attempt=0, run_at=None, detail=None, action="EXECUTE", retries=0
            ),
        )
        vars(row).update(fields)
        return _Row(**vars(row))

    def _clock(self) -> datetime:
        return self.now

    def _claim_step(self, workflow_id: UUID, sequence: int, name: str, **more: Any) -> Any:
        id = step_id(workflow_id, sequence)
        row = self.steps.get(id)
        return self._step(id, attempt=1 if row is None else row.attempt + 1, retries=more.get("max_retries", 0))

    def _complete(self, task_id: UUID, output: str | None = None, **_: Any) -> bool:
        self._step(task_id, output=output, action="REPLAY")
        return True

    def _complete_many(self, task_ids: list[UUID], **_: Any) -> list[Any]:
        return [SimpleNamespace(error=None) for _ in task_ids]

    def _complete_and_claim(self, step_id: UUID, output: str | None = None, **more: Any) -> Any:
        return self._claim_step(UUID(int=step_id.int >> 24 << 24), **more)

    def _fail(self, task_id: UUID, error: str, attempt: int = 0, retryable: bool = True, **_: Any) -> Any:
        row = self.steps.get(task_id)
        left = retryable and row is not None and attempt <= row.retries
        return SimpleNamespace(status="PENDING" if left else "FAILED", run_at=self.now)

    def _ended(self, workflow_id: UUID, sequence: int, output: Any) -> Any:
        return self._step(
            step_id(workflow_id, sequence), action="REPLAY", output=self.host.codec.encode(output, "test")
        )

    def _timed_out(self, workflow_id: UUID, sequence: int, name: str, timeout: Any) -> Any:
        if timeout is None:
            raise AssertionError(f'the program waits for "{name}" for ever: the test says nothing about it')
        return self._step(step_id(workflow_id, sequence), action="FAILED", error=f"WF013: {name} has timed out")

    def _sleep(self, workflow_id: UUID, sequence: int, **_: Any) -> Any:
        return self._ended(workflow_id, sequence, None)

    def _await_signal(
        self, workflow_id: UUID, sequence: int, name: str, signals: list[str], timeout: Any = None, **_: Any
    ) -> Any:
        for signal in signals:
            if self.signals.get(signal):
                return self._ended(workflow_id, sequence, {"signal": signal, "payload": self.signals[signal].pop(0)})
        return self._timed_out(workflow_id, sequence, name, timeout)

    def _await_callback(self, workflow_id: UUID, sequence: int, name: str, timeout: Any = None, **_: Any) -> Any:
        if name in self.answers:
            return self._ended(workflow_id, sequence, self.answers[name])
        return self._timed_out(workflow_id, sequence, name, timeout)

    _await_workflow = _await_callback

    def _await_any(self, workflow_id: UUID, sequence: int, sequences: list[int], **_: Any) -> Any:
        ended = [n for n in sequences if self.steps[step_id(workflow_id, n)].action == "REPLAY"]
        return self._ended(workflow_id, sequence, {"sequence": (ended or sequences)[0]})

    def _start_child(
        self, parent_id: UUID, sequence: int, name: str, input: str | None = None, queue: str | None = None, **_: Any
    ) -> Any:
        id = UUID(int=parent_id.int ^ (sequence + 1) << 60)
        row = SimpleNamespace(workflow_id=id, created=True, status="RUNNING", output=None, error=None, lease=1)
        if queue is not None:
            outcome = self.children.get(name)
            self._step(step_id(parent_id, sequence), action="REPLAY")
            if isinstance(outcome, Exception):
                row.status, row.error = "FAILED", errors.describe(outcome)[0]
            else:
                row.status, row.output = "COMPLETED", self.host.codec.encode(outcome, name)
        return row

    def _emit(self, topic: str, payload: str | None = None, **_: Any) -> int:
        self.events.append((topic, self.host.codec.decode(payload)))
        return len(self.events)

    def _patched(self, **_: Any) -> bool:
        return True

    def _continue_as(self, input: str, **_: Any) -> Any:
        self.continued = self.host.codec.decode(input)
        return SimpleNamespace(workflow_id="the next run", status="PENDING", lease=0)


class _Row(SimpleNamespace):
    def _replace(self, **fields: Any) -> _Row:
        return _Row(**(vars(self) | fields))


class TestContext(Context):
    """Runs a program in memory: `TestContext(signals={"approved": [{"by": "Ann"}]}).run(order, "book")`.

    `signals` are there from the beginning, `answers` are those to callbacks, `children` the outputs (or exceptions) of
    children in queues, by name. `steps` replaces the function of a step, by name: a value, an exception, or a list of
    these, one an attempt. A wait that nobody ends times out, without waiting. Afterwards `ran` has the steps that ran,
    and `events` what was emitted. A transaction gets a connection that does nothing.
    """

    __test__ = False  # not for pytest

    def __init__(
        self,
        *,
        signals: dict[str, list[Any]] | None = None,
        answers: dict[str, Any] | None = None,
        children: dict[str, Any] | None = None,
        steps: dict[str, Any] | None = None,
        codec: Codec = Codec(),  # noqa: B008
        history: list[Any] | None = None,
    ):
        self._memory = _Memory(signals or {}, answers or {}, children or {})
        host = SimpleNamespace(
            driver=self._memory,
            codec=codec,
            executor_id="test",
            fused=False,
            crowded=False,
            observe=self._observe,
            continued=lambda *args: None,
        )
        self._memory.host = host
        id = UUID("01900000-0000-7000-8000-000000000000")
        super().__init__(Driven(host, id, None), id, "test", "test", 1, None)
        self._steps = steps or {}
        self._history = {row.sequence: row for row in history or []}
        self.ran: list[str] = []

    @property
    def events(self) -> list[tuple[str, Any]]:
        return self._memory.events

    def run(self, workflow: Any, input: Any = None) -> Any:
        """The program's output; its failure is raised as it would be recorded."""
        text = self._host.codec.encode(input, "input")
        return self._memory.drive(drive(self, workflow, text, fresh=True))

    def _below(self, id: UUID, name: str, handler: str, lease: int) -> Context:
        child = object.__new__(TestContext)
        Context.__init__(child, self._driven, id, name, handler, lease, None, self)
        child._memory, child._steps, child.ran = self._memory, self._steps, self.ran
        return child

    def _observe(self, event: str, flow: Any, name: str | None, *_: Any) -> None:
        if event == "execute" and name is not None:
            self.ran.append(name)

    def _execute(self, sequence: int, name: str, fn: Callable[..., Any], args: Any, *more: Any) -> Any:
        if name in self._steps:
            outcomes = self._steps[name]

            def preset(*_: Any, step: Any) -> Any:
                outcome = outcomes[min(step.attempt, len(outcomes)) - 1] if isinstance(outcomes, list) else outcomes
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            fn = preset
        return super()._execute(sequence, name, fn, args, *more)


class _Ended(errors.Interrupt):
    """The program asks for what the history does not have: all before it is as it was."""


class _Replay(TestContext):
    def _call(self, function: str, **args: Any) -> Any:
        raise _Ended
        yield


def replay(workflow: Any, history: list[Any], input: Any = None) -> None:
    """Checks a changed program against the history of a run (`handle.history()`, or its rows as dictionaries).

    Raises `ProgramChanged`, which names the first position that differs; or, where the program ends before the history
    does, says which position it has left out.
    """
    rows = [SimpleNamespace(**row) if isinstance(row, dict) else row for row in history]
    context = _Replay(history=rows)
    try:
        context.run(workflow, input)
    except _Ended:
        return
    except (ProgramChanged, DurableError) as error:
        if isinstance(error, ProgramChanged):
            raise
    left = [row for row in rows if row.sequence >= context._sequence]
    if left:
        raise ProgramChanged(
            f'position {left[0].sequence} holds {left[0].kind.lower()} "{left[0].name}", the program ends before it'
        )
