"""Values of a row: read from events, compared, ordered, and written as Insights writes them."""

import datetime as dt
import math
from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import msgspec

from coldspark.store.log_records import LogEvent

Value = str | int | float | bool | None
"""None: the row has no such field."""
Get = Callable[[str], Value]
"""Return a field of a row."""
_DEPTH_MAX = 16
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": eq,
    "!=": ne,
    ">=": ge,
    "<=": le,
    ">": gt,
    "<": lt,
}


class Instant(int):
    """A moment: milliseconds since 1970 where it is compared, a date where it is shown."""


class EventRow:
    """An event's fields: its own, those of its JSON, and what the query adds."""

    __slots__ = ("_event", "_json", "_system", "added")

    def __init__(self, event: LogEvent, system: dict[str, Value]) -> None:
        self._event = event
        self._system = system
        self._json: object = _UNREAD
        self.added: dict[str, Value] = {}

    def get(self, name: str) -> Value:
        """Return a field, or None."""
        if name in self.added:
            return self.added[name]
        match name:
            case "@message":
                return self._event.message
            case "@timestamp":
                return Instant(self._event.at_ms)
            case "@ingestionTime":
                return Instant(self._event.ingested_ms)
            case _ if name.startswith("@"):
                return self._system.get(name)
        if self._json is _UNREAD:
            self._json = _decoded(self._event.message)
        return _shown(_member(self._json, name, 0))

    @property
    def at_ms(self) -> int:
        """Return when it happened."""
        return self._event.at_ms


_UNREAD = object()


def _decoded(message: str) -> object:
    if not message.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        return None


def _member(value: object, name: str, depth: int) -> object:
    """Return what ``a.b.0`` names; a member's own name may have dots, too."""
    if isinstance(value, list):
        place, _, rest = name.partition(".")
        is_place = place.isdecimal() and len(place) < 10 and int(place) < len(value)
        found = value[int(place)] if is_place else None
        return _member(found, rest, depth + 1) if rest and depth < _DEPTH_MAX else found
    if not isinstance(value, dict):
        return None
    if name in value:
        return value[name]
    at = name.find(".")
    while at >= 0 and depth < _DEPTH_MAX:
        if name[:at] in value:
            return _member(value[name[:at]], name[at + 1 :], depth + 1)
        at = name.find(".", at + 1)
    return None


def _shown(value: object) -> Value:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return msgspec.json.encode(value).decode()


def moment(at_ms: int) -> str:
    """Return a moment as Insights writes it, in UTC."""
    at = dt.datetime.fromtimestamp(at_ms / 1_000, dt.UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at_ms % 1_000:03}"


def number(value: Value) -> float | None:
    """Return a value as a number, also out of a text; None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text(value: Value) -> str:
    """Return a value as results have it."""
    match value:
        case None:
            return ""
        case Instant():
            return moment(value)
        case bool():
            return "1" if value else "0"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case float():
            return f"{value:.10g}"
        case _:
            return str(value)


def is_true(value: Value) -> bool:
    """Return whether a condition holds; what is absent does not."""
    return value not in (None, False, 0, "", "0", "false")


def compare(word: str, one: Value, other: Value) -> bool:
    """Compare numbers as numbers, and all else as texts. What is absent fulfils nothing."""
    if one is None or other is None:
        return False
    left, right = number(one), number(other)
    if left is not None and right is not None:
        return _COMPARISONS[word](left, right)
    return _COMPARISONS[word](text(one), text(other))


Key = tuple[int, float, str]


def order(value: Value) -> Key:
    """Return the place of a value in an order: what is absent, texts, numbers."""
    found = number(value)
    if value is None:
        return (0, 0.0, "")
    return (1, 0.0, text(value)) if found is None else (2, found, "")
