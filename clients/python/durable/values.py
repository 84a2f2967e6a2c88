"""Values as JSON: what goes to the server, and what comes back on the first run as on a replay."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, get_type_hints
from uuid import UUID

try:
    from pydantic import TypeAdapter
except ImportError:  # annotations are then just annotations
    TypeAdapter = None  # type: ignore[assignment,misc]

Duration = float | timedelta | str  # seconds, or what PostgreSQL takes for an interval


def interval(duration: Duration | None) -> timedelta | str | None:
    """A length of time as the server takes it."""
    return timedelta(seconds=duration) if isinstance(duration, int | float) else duration


class NotJson(TypeError):
    """A value that cannot be written as JSON; the message has the step and the path in it."""


def _plain(value: Any) -> Any:
    """What json.dumps asks for when it does not know a type."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _number(text: str) -> int | float:
    """A number with a point or an exponent, as jsonb keeps it: 1e2 is 100, and there is no -0."""
    if "e" in text or "E" in text:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(text)
    return float(text) + 0.0


def _sorted(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its keys in the order of jsonb: shorter ones first."""
    return dict(sorted(dict(pairs).items(), key=lambda pair: (len(key := pair[0].encode()), key)))


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_number, object_pairs_hook=_sorted)


def dumps(value: Any) -> str:
    """The value as JSON that jsonb takes."""
    text = _ENCODER.encode(value)
    text.encode()
    if "\\u0000" in text and _DECODER.decode(text) != _DECODER.decode(text.replace("\\u0000", "")):
        raise ValueError("jsonb takes no NUL character")
    return text


def loads(text: str) -> Any:
    """What jsonb gives back for that JSON."""
    return _DECODER.decode(text)


@dataclasses.dataclass(frozen=True)
class Codec:
    """How values become JSON, and values again: a pair of functions that can be replaced."""

    dumps: Callable[[Any], str] = dumps
    loads: Callable[[str], Any] = loads

    def encode(self, value: Any, where: str) -> str | None:
        """JSON, or None for null; an error names `where` and the path in the value."""
        try:
            text = self.dumps(value)
        except (TypeError, ValueError, RecursionError) as error:
            path, reason = self._culprit(value, "$", error, set())
            raise NotJson(f"{where}: {path} cannot be written as JSON: {reason}") from error
        return None if text == "null" else text

    def decode(self, text: str | None, type: Any = None) -> Any:
        """The value of that JSON, made what the annotation says if pydantic is installed."""
        value = None if text is None else self.loads(text)
        return value if type is None or (adapter := _adapter(type)) is None else adapter.validate_python(value)

    def _culprit(self, value: Any, path: str, error: Exception, above: set[int]) -> tuple[str, Exception]:
        """The innermost part of a value that cannot be written."""
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = _plain(value)
        parts: list[tuple[str, Any]] = []
        if isinstance(value, Mapping):
            parts = [(f"{path}.{key}", part) for key, part in value.items()]
        elif isinstance(value, list | tuple):
            parts = [(f"{path}[{n}]", part) for n, part in enumerate(value)]
        if id(value) not in above:
            for place, part in parts:
                try:
                    self.dumps(part)
                except (TypeError, ValueError, RecursionError) as inner:
                    return self._culprit(part, place, inner, above | {id(value)})
        return path, error


@lru_cache(1024)
def _adapter(type: Any) -> Any:
    plain = (Any, object, None, inspect.Parameter.empty, dict, list, str, int, float, bool)
    if TypeAdapter is None or type in plain:
        return None
    try:
        return TypeAdapter(type)
    except Exception:  # it is no type that pydantic knows
        return None


@lru_cache(1024)
def hints(fn: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, resolved; none where that cannot be done."""
    try:
        return get_type_hints(inspect.unwrap(fn))
    except Exception:
        return {}
