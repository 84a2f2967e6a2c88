"""What can go wrong: exceptions that a program may handle, and interrupts that it must let pass."""

from __future__ import annotations

import json
import re
import traceback
from typing import Any


class DurableError(Exception):
    """An answer of the server that is not a result. `sqlstate` says which, if it has one."""

    sqlstate: str | None = None


class Failed(DurableError):
    """The recorded failure of a step, wait or workflow: the same on the first run and on a replay."""

    def __init__(self, name: str, type: str, message: str, detail: Any = None, attempts: int | None = None):
        super().__init__(f"{name}: {type}: {message}")
        self.name, self.type, self.message, self.detail, self.attempts = name, type, message, detail, attempts


class Cancelled(DurableError):
    """The workflow was cancelled or asked to end, or the child that was waited for was cancelled."""


class DeadlineExceeded(DurableError):
    """The workflow's time is up: no step begins any more."""


class TimedOut(DurableError, TimeoutError):
    """What was waited for did not come in time."""


class Fatal(Exception):  # noqa: N818
    """Raised by a step or a workflow: do not try it again, whatever the policy. `detail` is kept."""

    def __init__(self, message: str, detail: Any = None):
        super().__init__(message)
        self.detail = detail


class RetryAfter(Exception):  # noqa: N818
    """Raised by a step: try it again after so many seconds, if it has retries left."""

    def __init__(self, seconds: float, message: str = "try again later"):
        super().__init__(message)
        self.seconds = seconds


class Interrupt(BaseException):
    """Ends the driving of a workflow here and now, not the workflow: nothing is recorded, somebody goes on with it.

    A program must let it pass. One that swallows it gets it again at its next call, and from its driver.
    """

    sqlstate: str | None = None


class Paused(Interrupt):
    """Somebody paused the workflow."""


class LeaseLost(Interrupt):
    """The workflow is another executor's now, or has ended without us."""


class Locked(Interrupt):
    """Somebody else is inside this very step."""


class ProgramChanged(Interrupt):
    """The position holds another step: this is not the program that began."""


class Suspended(Interrupt):
    """The workflow waits for something, and has given its executor free."""


class Continued(Suspended):
    """The workflow goes on in its next run: `continue_as`."""


class Shutdown(Interrupt):
    """The executor is draining."""


STATES: dict[str, type[BaseException]] = {
    "WF004": Paused,
    "WF005": Cancelled,
    "WF006": DeadlineExceeded,
    "WF007": ProgramChanged,
    "WF008": LeaseLost,
    "WF013": TimedOut,
    "WF017": Cancelled,
}


def refusal(sqlstate: str, message: str) -> BaseException:
    """The exception for an SQLSTATE of the server."""
    error = STATES.get(sqlstate, DurableError)(message)
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


def describe(error: BaseException) -> tuple[str, str]:
    """What is recorded of an exception: `Type: message`, and as JSON its type, message, detail and trace."""
    if isinstance(error, Failed):
        type_name, message = error.type, f"{error.name}: {error.message}"
    else:
        type_name, message = type(error).__name__, str(error)
    message, trace = map(_writable, (message, "".join(traceback.format_exception(error)[-20:])))
    record = {"type": type_name, "message": message, "trace": trace}
    try:
        record["detail"] = json.loads(json.dumps(getattr(error, "detail", None)))
    except (TypeError, ValueError):
        record["detail"] = repr(getattr(error, "detail", None))
    return f"{type_name}: {message}", json.dumps(record).replace("\\u0000", "\\\\0")


def _writable(text: str) -> str:
    """Without what PostgreSQL's text does not have: NUL, and surrogates, as in names of files that are no UTF-8."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()


def recorded(name: str, error: str | None, detail: str | None = None, attempts: int | None = None) -> DurableError:
    """The exception for a recorded failure; what has no detail is taken from the text, `Type: message`."""
    text = error or "failed"
    known = json.loads(detail) if detail else None
    if isinstance(known, dict) and "type" in known:
        return Failed(name, str(known["type"]), str(known.get("message", text)), known.get("detail"), attempts)
    if match := re.match(r"(WF\d{3}): (.*)", text, re.S):
        if issubclass(kind := STATES.get(match[1], DurableError), DurableError) and kind is not DurableError:
            return refusal(match[1], f"{name}: {match[2]}")  # type: ignore[return-value]
    elif match := re.match(r"([A-Za-z_][\w.]*): (.*)", text, re.S):
        return Failed(name, match[1], match[2], known, attempts)
    return Failed(name, "Error", text, known, attempts)
