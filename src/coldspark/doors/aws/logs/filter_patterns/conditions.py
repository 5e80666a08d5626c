"""One comparison in a pattern: an operator, and what a value is compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Never

from coldspark.telemetry.expressions import Cursor, Infix

Holds = Callable[[object], bool]
"""Whether a value fulfils a condition."""
Wanted = Callable[[str], bool]
"""Whether an event is wanted: a compiled pattern."""
JOINED: Mapping[str, Infix[Holds]] = {
    "||": Infix(1, lambda left, right: lambda value: left(value) or right(value)),
    "&&": Infix(2, lambda left, right: lambda value: left(value) and right(value)),
}
OPERATORS = ("!=", ">=", "<=", "=", ">", "<")
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
    ">=": lambda one, other: one >= other,
    "<=": lambda one, other: one <= other,
}


@dataclass(frozen=True, slots=True)
class Wildcard:
    """A text of which some parts may be anything: those between ``pieces``."""

    pieces: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """Return whether the whole text is of this form."""
        first, *rest = self.pieces
        if not rest:
            return text == first
        *middle, last = rest
        if not text.startswith(first) or not text.endswith(last):
            return False
        at, end = len(first), len(text) - len(last)
        for piece in middle:
            found = text.find(piece, at, max(end, at))
            if found < 0:
                return False
            at = found + len(piece)
        return at <= end


def wildcard(characters: list[str]) -> Wildcard:
    """Return what characters stand for: a lone ``*`` for any text, one with a backslash for itself.

    Several in a row are one.
    """
    pieces = [""]
    for one in characters:
        if one == "*":
            pieces.append("")
        else:
            pieces[-1] += one[-1]
    return Wildcard(tuple(pieces))


def plain(characters: list[str]) -> str:
    """Return a quoted text as it is meant: a backslash makes the next character an ordinary one."""
    return "".join(one[-1] for one in characters)


def refuse_regex(cursor: Cursor) -> Never:
    """Refuse what stands between two ``%``."""
    cursor.refuse(
        "regular expressions are not served here: use terms, such as ?one ?other, or a JSON "
        'comparison, such as { $.level = "ERR*" }; found %'
    )


def read_check(cursor: Cursor, stops: str) -> Holds:
    """Read an operator and its operand; an unquoted operand ends at white space or ``stops``."""
    cursor.skip()
    operator = next((one for one in OPERATORS if cursor.take(one)), None)
    if operator is None:
        cursor.refuse(f"one of {' '.join(OPERATORS)} is expected")
    cursor.skip()
    if operator in _ORDERS:
        return _ordered(cursor, operator, stops)
    is_equal = _equal(cursor, stops)
    if operator == "=":
        return is_equal
    return lambda value: not is_equal(value)


def _ordered(cursor: Cursor, operator: str, stops: str) -> Holds:
    start = cursor.at
    bound = number(cursor.run(stops))
    if bound is None:
        cursor.at = start
        cursor.refuse(f"{operator} compares with a number, which is expected")
    compare = _ORDERS[operator]

    def check(value: object) -> bool:
        found = number(value)
        return found is not None and compare(found, bound)

    return check


def _equal(cursor: Cursor, stops: str) -> Holds:
    if cursor.next == "%":
        refuse_regex(cursor)
    if cursor.next == '"':
        form = wildcard(cursor.quoted())
        return lambda value: form.matches(text_of(value))
    text = cursor.run(stops)
    if not text:
        cursor.refuse("a value is expected")
    if '"' in text or "%" in text:
        cursor.refuse(f'{text!r} must stand in double quotes: "…"')
    wanted, form = number(text), wildcard(list(text))

    def check(value: object) -> bool:
        if wanted is not None and number(value) == wanted:
            return True
        return form.matches(text_of(value))

    return check


def number(value: object) -> float | None:
    """Return a value as a number, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, str) and (len(value) > 64 or value.strip("-+.eE0123456789")):
        return None
    try:
        found = float(value)
    except (OverflowError, ValueError):
        return None
    return found if isfinite(found) else None


def text_of(value: object) -> str:
    """Return a value as JSON would write it, without the quotes of a string."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)
