"""The protocol, without I/O: generators that yield what is to be done and receive what came of it.

A driver (drivers.py) runs them, with threads or with asyncio. What they yield:

* `Call`: a function of the server and its arguments; a row, rows or a value comes back.
* `Run`: a function of the program's.  `Within`: a generator in one transaction.  `Each`: many at once.
* `Pause`: nothing for some seconds, or until something happens to the workflow.
* what only workers need: `Listen`, `Receive`, `Spawn`, `Hush`.
"""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from .errors import refusal

Gen = Generator[Any, Any, Any]
# Behind a pooler, so many seconds between two looks.
LOOK = 0.25


class Call(NamedTuple):
    """`SELECT durable.function(name => value, ...)`; arguments that are None keep their defaults."""

    function: str
    args: dict[str, Any]
    connection: Any = None  # the caller's own


class Run(NamedTuple):
    """Calls a function of the program's, and waits for it."""

    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012
    timeout: float | None = None  # where it can be interrupted


class Within(NamedTuple):
    """Drives `body(connection)` in one transaction."""

    body: Callable[[Any], Gen]


class Each(NamedTuple):
    """Drives generators at once."""

    bodies: list[Gen]


class Pause(NamedTuple):
    """Waits for an event, or so many seconds."""

    event: Any
    seconds: float | None


class Listen(NamedTuple):
    """Drives `body(connection)` on a connection of its own, without a transaction."""

    body: Callable[[Any], Gen]


class Receive(NamedTuple):
    """Takes all that is in an inbox, and waits if there is nothing, for so many seconds at most."""

    inbox: Any
    seconds: float | None = None


class Spawn(NamedTuple):
    """Drives a generator beside this one."""

    body: Gen


class Hush(NamedTuple):
    """Cancels what a connection waits for."""

    connection: Any


def step_id(workflow_id: UUID, sequence: int) -> UUID:
    """The id of the step at that position: arithmetic, as in the server."""
    return UUID(int=workflow_id.int | (sequence + 1))


# ---- which database: a tree of workflows stands in that of its root's name --------------------------


def _table() -> list[int]:
    table = list(range(256))
    for _ in range(8):
        table = [(n >> 1) ^ (0x82F63B78 if n & 1 else 0) for n in table]
    return table


_CRC = _table()


def bucket(of: str | UUID) -> int:
    """The bucket, 0 to 4095, of a root workflow's name or of any id in its tree: as the server's `bucket`."""
    if isinstance(of, UUID):
        return of.int >> 50 & 4095
    crc = 0xFFFFFFFF
    for byte in of.encode():
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    return (crc ^ 0xFFFFFFFF) >> 20


def concerns(call: Call) -> UUID | str | None:
    """The id or the root's name that a call is about; None where it is about no tree."""
    for argument in ("workflow_id", "task_id", "step_id", "parent_id"):
        if (id := call.args.get(argument)) is not None:
            return id if isinstance(id, UUID) else UUID(id)
    return call.args.get("name") if call.function in ("start", "signal_root", "list") else None


# ---- calls as SQL, and their answers ------------------------------------------------------------

_BOOL = "t".__eq__
_CLAIMED: dict[str, Callable[[str], Any]] = {
    "step_id": UUID,
    "action": str,
    "output": str,
    "error": str,
    "attempt": int,
    "run_at": datetime.fromisoformat,
    "detail": str,
}
# Functions that return one row: `SELECT f(...)` is a tenth cheaper for the server than `SELECT * FROM f(...)`,
# and as text it needs no type to be known. Columns that a later version adds are left out.
_ROWS: dict[str, dict[str, Callable[[str], Any]]] = {
    **dict.fromkeys(
        ["claim_step", "complete_and_claim", "sleep", "await_signal", "await_workflow", "await_callback", "await_any"],
        _CLAIMED,
    ),
    "start": {"workflow_id": UUID, "created": _BOOL, "status": str, "lease": int, "owner": str},
    "attach": {"name": str, "handler": str, "input": str, "status": str, "lease": int, "owner": str},
    "fail": {"status": str, "retry_count": int, "run_at": datetime.fromisoformat},
    "start_child": {"workflow_id": UUID, "created": _BOOL, "status": str, "output": str, "error": str, "lease": int},
    "suspend": {"status": str, "run_at": datetime.fromisoformat},
    "continue_as": {"workflow_id": UUID, "status": str, "lease": int},
    "fork": {"workflow_id": UUID, "status": str, "lease": int},
    "resume_failed": {"handler": str, "input": str, "status": str, "lease": int},
}
_STEPS = "step_id, action::text, output::text, error, attempt, run_at, detail::text"
# Functions that return a set of rows.
_SETS = {
    "claim_from": "workflow_id, name, handler, input::text, lease, queue, scheduled_for",
    "recover": "workflow_id, name, handler, input::text, lease, reason",
    "heartbeat": "workflow_id, status::text, lease, owner",
    "history": "sequence, step_id, name, kind::text, status::text, output::text, error, attempt, run_at, child_id,"
    " detail::text, wait",
    "events": "n, topic, payload::text, emitted_at",
    "start_many": "workflow_id, created, status::text, lease, owner, NULL::text AS error",
    "complete_many": "completed, error",
    "claim_steps": _STEPS,
    "complete_and_claim_many": _STEPS,
    "list": "id, parent_id, name, handler, status::text, queue_name, executor_id, error, created_at, started_at,"
    " completed_at, run_at",
    "tree": "tree",
    "next_runs": "next_runs",
}
_CASTS = {
    "task_ids": "uuid",
    "step_ids": "uuid",
    "workflow_ids": "uuid",
    "open": "uuid",
    "outputs": "jsonb",
    "inputs": "jsonb",
    "leases": "int",
    "attempts": "int",
    "sequences": "int",
    "names": "text",
    "queues": "text",
    "handlers": "text",
    "signals": "text",
    "ids": "uuid",
    "concurrency_keys": "text",
}
_PROCEDURES = {
    "wait_for_work": ("reason",),
    "wait_for_end": ("status", "output", "error"),
    "wait_for_event": ("n",),
}


@lru_cache(4096)
def statement(function: str, names: tuple[str, ...]) -> str:
    """The SQL of a call with those arguments."""
    args = [f"{name} => %({name})s" + (f"::{_CASTS[name]}[]" if name in _CASTS else "") for name in names]
    if outs := _PROCEDURES.get(function):
        return f"CALL durable.{function}({', '.join(args + [f'{out} => NULL' for out in outs])})"
    call = f"durable.{function}({', '.join(args)})"
    if function in _SETS:
        return f"SELECT {_SETS[function]} FROM {call}"
    return f"SELECT {call}::text" if function in _ROWS or function in ("input", "output") else f"SELECT {call}"


def fields(record: str) -> Iterator[str | None]:
    """The fields of a composite value as text, in which quotes are doubled."""
    at, end = 1, len(record) - 1
    while at <= end:
        if record[at] == '"':
            part, at = [], at + 1
            while True:
                stop = record.index('"', at)
                part.append(record[at:stop])
                at = stop + 1
                if record[at] != '"':
                    break
                part.append('"')
                at += 1
            yield "".join(part).replace("\\\\", "\\")
        else:
            stop = record.find(",", at, end)
            stop = end if stop < 0 else stop
            yield record[at:stop] or None
            at = stop
        at += 1


_TUPLES = {function: namedtuple(function, list(columns)) for function, columns in _ROWS.items()}  # noqa: PYI024


def answer(function: str, rows: list[Any]) -> Any:
    """What a call gives: rows of a set, one row with names, or one value."""
    if function in _SETS or function in _PROCEDURES:
        return rows
    if (columns := _ROWS.get(function)) is None:
        return rows[0][0]
    values = zip(columns.values(), fields(rows[0][0]), strict=False)  # a later version may have more columns
    row: Any = _TUPLES[function]
    return row(*(None if text is None else convert(text) for convert, text in values))


# ---- many calls as one -----------------------------------------------------------------------------

# The function that does many, what is an array there, and what must be alike.
_MANY = {
    "complete": (
        "complete_many",
        {"task_id": "task_ids", "output": "outputs", "lease": "leases", "attempt": "attempts"},
    ),
    "complete_and_claim": (
        "complete_and_claim_many",
        {
            "step_id": "step_ids",
            "output": "outputs",
            "name": "names",
            "lease": "leases",
            "attempt": "attempts",
            "sequence": "sequences",
        },
    ),
    "start": ("start_many", {"name": "names", "input": "inputs", "concurrency_key": "concurrency_keys"}),
    "claim_step": ("claim_steps", {"name": "names", "sequence": "first_sequence"}),
}


def batch_key(call: Call) -> Any:
    """Calls with the same key can be one; None: this one cannot be part of any."""
    if (many := _MANY.get(call.function)) is None or any(isinstance(v, list | dict) for v in call.args.values()):
        return None
    if call.connection is not None or "tags" in call.args:
        return None
    return call.function, tuple((name, value) for name, value in call.args.items() if name not in many[1])


def batches(calls: list[Call]) -> list[list[int]]:
    """How calls of one key are grouped: up to 1000, and claims of a workflow's positions where these follow."""
    if calls[0].function != "claim_step":
        return [list(range(first, min(first + 1000, len(calls)))) for first in range(0, len(calls), 1000)]
    groups: list[list[int]] = []
    last = -2
    for n in sorted(range(len(calls)), key=lambda n: calls[n].args["sequence"]):
        if (sequence := calls[n].args["sequence"]) == last + 1 and len(groups[-1]) < 1000:
            groups[-1].append(n)
        else:
            groups.append([n])
        last = sequence
    return groups


def merged(calls: list[Call]) -> Call:
    """Calls of one group as one call."""
    function, arrays = _MANY[calls[0].function]
    args: dict[str, Any] = {k: v for k, v in calls[0].args.items() if k not in arrays}
    for name, array in arrays.items():
        values = [call.args.get(name) for call in calls]
        if array == "first_sequence":
            args[array] = values[0]
        elif any(value is not None for value in values):
            args[array] = values
    if function == "complete_and_claim_many":
        args.setdefault("outputs", [None] * len(calls))
    return Call(function, args)


def parted(function: str, rows: list[Any]) -> list[Any]:
    """The answer of each of the calls that were merged: a value, or an exception."""
    answers: list[Any] = []
    for row in rows:
        if row.error and (function == "complete" or (function == "complete_and_claim" and row.action is None)):
            answers.append(stop(row.error))
        elif function == "complete":
            answers.append(row.completed)
        else:
            answers.append(row)
    return answers


def stop(error: str) -> BaseException:
    """The exception for an error that came as a value: `WFnnn: message`."""
    return refusal(error[:5], error[7:])


def transient(error: BaseException) -> bool:
    """Whether an error of the driver passes: the connection is lost, the server starts, stops or fails over."""
    state = getattr(error, "sqlstate", None)
    if state:
        return state[:2] in ("08", "40", "53") or state in ("57P01", "57P02", "57P03", "57P05", "25006", "55000")
    return any(kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).__mro__)


def backoff(tries: int) -> float:
    """How long to wait before the next try: longer each time, up to some seconds, and never all at once."""
    return random.uniform(0.5, 1) * min(0.05 * 2.0 ** min(tries, 10), 5)
