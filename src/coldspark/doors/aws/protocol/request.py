"""One call of an operation, and how it reads the members that the shape has checked."""

from dataclasses import dataclass
from typing import TypeVar

_Member = TypeVar("_Member")

Body = dict[str, object]
"""Members of a checked body, or of an answer. A moment in an answer is a ``Timestamp``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRequest:
    """One call; each service adds what its operations work on."""

    region: str
    body: Body
    """Checked against the operation's shape."""

    def text(self, name: str) -> str | None:
        """Return an optional text."""
        return member(self.body, name, str)

    def integer(self, name: str, default: int) -> int:
        """Return an integer."""
        value = member(self.body, name, int)
        return default if value is None else value


def member(body: Body, name: str, kind: type[_Member]) -> _Member | None:
    """Return an optional member."""
    value = body.get(name)
    assert value is None or isinstance(value, kind), name
    return value


def structure(body: Body, name: str) -> Body:
    """Return an optional structure's members; none where it is absent."""
    return member(body, name, dict) or {}


def number(body: Body, name: str) -> float | None:
    """Return an optional number."""
    value = body.get(name)
    assert value is None or isinstance(value, int | float), name
    return None if value is None else float(value)


def text_list(body: Body, name: str) -> list[str]:
    """Return an optional list of texts, or one text as a list of one."""
    value = body.get(name, [])
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def timestamp_ms(body: Body, name: str) -> int | None:
    """Return an optional moment."""
    at_s = number(body, name)
    return None if at_s is None else round(at_s * 1_000)
