"""``{ $.level = "ERROR" && $.n > 3 }``: conditions on what a JSON event holds."""

import msgspec

from coldspark.doors.aws.logs.filter_patterns.conditions import (
    JOINED,
    Holds,
    Wanted,
    plain,
    read_check,
)
from coldspark.telemetry.expressions import Cursor, climb

_STOPS = "(){}&|"
_VALUES_MAX = 10_000
ANY = "*"
"""In a path: every element of a list, or every member of an object."""
_Path = tuple[str | int, ...]


def read_json_pattern(cursor: Cursor) -> Wanted:
    """Read a whole pattern in braces, which only JSON objects match. Raises ExpressionError."""
    cursor.expect("{")
    if cursor.take("}"):
        cursor.refuse("a condition is expected between { and }")
    holds = _conditions(cursor)
    cursor.expect("}")
    cursor.skip()
    if cursor.next:
        cursor.refuse("nothing can follow }")

    def is_wanted(message: str) -> bool:
        event = _decoded(message)
        return event is not None and holds(event)

    return is_wanted


def _conditions(cursor: Cursor) -> Holds:
    return climb(cursor, lambda: _condition(cursor), JOINED)


def _condition(cursor: Cursor) -> Holds:
    if cursor.take("("):
        with cursor.deeper():
            inner = _conditions(cursor)
        cursor.expect(")")
        return inner
    path = _selector(cursor)
    word = _word(cursor)
    if word == "NOT EXISTS":
        return lambda event: not _found(event, path)
    if word == "EXISTS":
        return lambda event: bool(_found(event, path))
    if word is not None:
        wanted = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}[word]
        return lambda event: any(value is wanted for value in _found(event, path))
    check = read_check(cursor, _STOPS)
    return lambda event: any(check(value) for value in _found(event, path) if _is_value(value))


def _word(cursor: Cursor) -> str | None:
    for words in (
        ("NOT", "EXISTS"),
        ("EXISTS",),
        ("IS", "NULL"),
        ("IS", "TRUE"),
        ("IS", "FALSE"),
    ):
        start = cursor.at
        if all(cursor.take(word) for word in words):
            return " ".join(words)
        cursor.at = start
    return None


def _selector(cursor: Cursor) -> _Path:
    cursor.expect("$")
    path: list[str | int] = []
    while cursor.next in (".", "["):
        path.append(_step(cursor))
    if not path:
        cursor.refuse("a selector names a member, such as $.level, which is expected")
    return tuple(path)


def _step(cursor: Cursor) -> str | int:
    if cursor.next == ".":
        cursor.at += 1
        name = _name(cursor)
        if not name:
            cursor.refuse("the name of a member is expected")
        return name
    cursor.at += 1
    if cursor.next in ('"', "'"):
        name = plain(cursor.quoted())
        cursor.expect("]")
        return name
    inside = cursor.run("]")
    cursor.expect("]")
    if inside == ANY:
        return ANY
    if not (inside.isdecimal() and len(inside) < 10):
        cursor.refuse('[0], [*] or ["name"] is expected')
    return int(inside)


def _name(cursor: Cursor) -> str:
    if cursor.next == ANY:
        cursor.at += 1
        return ANY
    start = cursor.at
    while cursor.next.isalnum() or (cursor.next and cursor.next in "_-@"):
        cursor.at += 1
    return cursor.text[start : cursor.at]


def _decoded(message: str) -> object:
    if not message.lstrip().startswith("{"):
        return None
    try:
        return msgspec.json.decode(message)
    except (msgspec.DecodeError, RecursionError):
        return None


def _found(event: object, path: _Path) -> list[object]:
    values = [event]
    for step in path:
        values = [member for value in values for member in _members(value, step)][:_VALUES_MAX]
    return values


def _members(value: object, step: str | int) -> list[object]:
    if isinstance(value, list):
        if step == ANY:
            return value
        return [value[step]] if isinstance(step, int) and step < len(value) else []
    if isinstance(value, dict):
        if step == ANY and ANY not in value:
            return list(value.values())
        return [value[step]] if step in value else []
    return []


def _is_value(value: object) -> bool:
    """Return whether it can be compared: null, lists and objects cannot."""
    return value is not None and not isinstance(value, dict | list)
