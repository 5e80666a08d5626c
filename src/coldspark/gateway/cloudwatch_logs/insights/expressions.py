"""Expressions of a query: fields, numbers, texts, arithmetic, comparisons, functions."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from operator import add, mul, sub

from coldspark.gateway.cloudwatch_logs.filtering.cursor import Cursor, plain
from coldspark.gateway.cloudwatch_logs.filtering.small_regex import SmallRegex
from coldspark.gateway.cloudwatch_logs.insights.values import (
    Get,
    Instant,
    Value,
    compare,
    is_true,
    number,
    text,
)

Expression = Callable[[Get], Value]
_DEPTH_MAX = 32
_NAME = re.compile(r"@?[A-Za-z_][\w.@]*")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_DURATION = re.compile(r"(\d{1,6})\s*(ms|s|m|h|d|w)\b")
_UNITS_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
_SIGNS = ("!=", ">=", "<=", "=~", "=", ">", "<")
_TEXT_MAX = 262_144
BIN = "bin"


def keyword(cursor: Cursor, word: str) -> bool:
    """Go over a word if it comes next, whatever its case."""
    cursor.skip()
    end = cursor.at + len(word)
    if cursor.text[cursor.at : end].lower() != word:
        return False
    if _is_of_name(cursor.text[end : end + 1]):
        return False
    cursor.at = end
    return True


def name(cursor: Cursor) -> str:
    """Read the name of a field. Raises PatternError."""
    cursor.skip()
    if cursor.next == "`":
        return plain(cursor.quoted())
    found = _NAME.match(cursor.text, cursor.at)
    if found is None:
        cursor.refuse("the name of a field is expected (one with - or blanks stands in `…`)")
    cursor.at = found.end()
    return found[0]


def expression(cursor: Cursor, depth: int = 0) -> Expression:
    """Read an expression. Raises PatternError."""
    if depth > _DEPTH_MAX:
        cursor.refuse(f"parentheses are nested deeper than {_DEPTH_MAX}")
    parts = [_together(cursor, depth)]
    while keyword(cursor, "or"):
        parts.append(_together(cursor, depth))
    if len(parts) == 1:
        return parts[0]
    return lambda get: any(is_true(one(get)) for one in parts)


def _together(cursor: Cursor, depth: int) -> Expression:
    parts = [_negated(cursor, depth)]
    while keyword(cursor, "and"):
        parts.append(_negated(cursor, depth))
    if len(parts) == 1:
        return parts[0]
    return lambda get: all(is_true(one(get)) for one in parts)


def _negated(cursor: Cursor, depth: int) -> Expression:
    if keyword(cursor, "not"):
        inner = _negated(cursor, depth + 1) if depth < _DEPTH_MAX else expression(cursor, depth + 1)
        return lambda get: not is_true(inner(get))
    return _comparison(cursor, depth)


def _comparison(cursor: Cursor, depth: int) -> Expression:
    left = _sum(cursor, depth)
    start = cursor.at
    is_negated = keyword(cursor, "not")
    test: Callable[[Value, Get], bool] | None = None
    if keyword(cursor, "like"):
        test = _like(cursor, depth)
    elif keyword(cursor, "in"):
        test = _one_of(cursor, depth)
    elif is_negated:
        cursor.at = start
        return left
    else:
        for sign in _SIGNS:
            if cursor.take(sign):
                test = _like(cursor, depth) if sign == "=~" else _compared(cursor, sign, depth)
                break
    if test is None:
        return left
    found = test
    if is_negated:
        return lambda get: not found(left(get), get)
    return lambda get: found(left(get), get)


def _compared(cursor: Cursor, sign: str, depth: int) -> Callable[[Value, Get], bool]:
    right = _sum(cursor, depth)
    return lambda value, get: compare(sign, value, right(get))


def _like(cursor: Cursor, depth: int) -> Callable[[Value, Get], bool]:
    cursor.skip()
    if cursor.next == "/":
        regex = SmallRegex(_between_slashes(cursor))
        return lambda value, get: value is not None and regex.is_in(text(value))
    wanted = _sum(cursor, depth)

    def is_in(value: Value, get: Get) -> bool:
        part = wanted(get)
        return value is not None and part is not None and text(part) in text(value)

    return is_in


def _between_slashes(cursor: Cursor) -> str:
    found = []
    cursor.at += 1
    while cursor.next != "/":
        if not cursor.next:
            cursor.refuse("the / that opens a regular expression is never closed; / is expected")
        width = 2 if cursor.next == "\\" else 1
        part = cursor.text[cursor.at : cursor.at + width]
        found.append("/" if part == "\\/" else part)
        cursor.at += width
    cursor.at += 1
    return "".join(found)


def _one_of(cursor: Cursor, depth: int) -> Callable[[Value, Get], bool]:
    cursor.expect("[")
    listed = [_sum(cursor, depth)]
    while cursor.take(","):
        listed.append(_sum(cursor, depth))
    cursor.expect("]")
    return lambda value, get: any(compare("=", value, one(get)) for one in listed)


def _sum(cursor: Cursor, depth: int) -> Expression:
    left = _product(cursor, depth)
    while True:
        for sign, work in (("+", add), ("-", sub)):
            if cursor.take(sign):
                left = _computed(work, left, _product(cursor, depth))
                break
        else:
            return left


def _product(cursor: Cursor, depth: int) -> Expression:
    left = _primary(cursor, depth)
    while True:
        for sign, work in (("*", mul), ("/", _divide), ("%", math.fmod), ("^", math.pow)):
            if cursor.take(sign):
                left = _computed(work, left, _primary(cursor, depth))
                break
        else:
            return left


def _divide(one: float, other: float) -> float:
    return one / other


def _computed(
    work: Callable[[float, float], float], left: Expression, right: Expression
) -> Expression:
    def compute(get: Get) -> Value:
        one, other = number(left(get)), number(right(get))
        if one is None or other is None:
            return None
        try:
            found = work(one, other)
        except (ArithmeticError, ValueError):
            return None
        return found if math.isfinite(found) else None

    return compute


def _primary(cursor: Cursor, depth: int) -> Expression:
    cursor.skip()
    if cursor.take("("):
        inner = expression(cursor, depth + 1)
        cursor.expect(")")
        return inner
    if cursor.next in ('"', "'"):
        constant = plain(cursor.quoted())
        return lambda get: constant
    if cursor.take("-"):
        if depth >= _DEPTH_MAX:
            cursor.refuse("signs are nested too deeply; a value is expected")
        inner = _primary(cursor, depth + 1)
        return _computed(sub, lambda get: 0, inner)
    found = _NUMBER.match(cursor.text, cursor.at)
    if found is not None:
        cursor.at = found.end()
        value = float(found[0]) if "." in found[0] else int(found[0][:18])
        return lambda get: value
    return _named(cursor, depth)


def _named(cursor: Cursor, depth: int) -> Expression:
    is_plain = cursor.next != "`"
    word = name(cursor)
    if not (is_plain and cursor.take("(")):
        return lambda get: get(word)
    if word.lower() == BIN:
        return bin_of(cursor)
    function = FUNCTIONS.get(word.lower())
    if function is None:
        cursor.refuse(
            f"{word}(…) is not supported here; one of {', '.join([BIN, *sorted(FUNCTIONS)])} is"
            " expected"
        )
    least, most, work = function
    given = [] if cursor.take(")") else [expression(cursor, depth + 1)]
    while given and cursor.take(","):
        given.append(expression(cursor, depth + 1))
    if given:
        cursor.expect(")")
    if not least <= len(given) <= most:
        cursor.refuse(f"{word}(…) takes {least} to {most} values, which are expected")
    return lambda get: work([one(get) for one in given])


def bin_of(cursor: Cursor) -> Expression:
    """Read what is behind ``bin(``: a stretch of time such as 5m."""
    cursor.skip()
    found = _DURATION.match(cursor.text, cursor.at)
    if found is None or not int(found[1]):
        cursor.refuse("a stretch of time such as 30s, 5m, 1h or 1d is expected")
    cursor.at = found.end()
    cursor.expect(")")
    length_ms = int(found[1]) * _UNITS_MS[found[2]]

    def start(get: Get) -> Value:
        at_ms = get("@at_ms")
        assert isinstance(at_ms, int)
        return Instant(at_ms // length_ms * length_ms)

    return start


Work = Callable[[Sequence[Value]], Value]


def _of_number(work: Callable[[float], float]) -> tuple[int, int, Work]:
    def compute(values: Sequence[Value]) -> Value:
        found = number(values[0])
        try:
            return None if found is None else work(found)
        except ValueError:
            return None

    return 1, 1, compute


def _of_text(work: Callable[[str], Value]) -> tuple[int, int, Work]:
    return 1, 1, lambda values: None if values[0] is None else work(text(values[0]))


def _of_numbers(work: Callable[[Sequence[float]], float]) -> tuple[int, int, Work]:
    def compute(values: Sequence[Value]) -> Value:
        found = [one for one in map(number, values) if one is not None]
        return work(found) if found else None

    return 1, 20, compute


FUNCTIONS: Mapping[str, tuple[int, int, Work]] = {
    "abs": _of_number(abs),
    "ceil": _of_number(math.ceil),
    "floor": _of_number(math.floor),
    "log": _of_number(math.log),
    "sqrt": _of_number(math.sqrt),
    "greatest": _of_numbers(max),
    "least": _of_numbers(min),
    "strlen": _of_text(len),
    "tolower": _of_text(str.lower),
    "toupper": _of_text(str.upper),
    "trim": _of_text(str.strip),
    "ltrim": _of_text(str.lstrip),
    "rtrim": _of_text(str.rstrip),
    "concat": (1, 20, lambda values: "".join(map(text, values))[:_TEXT_MAX]),
    "strcontains": (2, 2, lambda values: int(text(values[1]) in text(values[0]))),
    "coalesce": (1, 20, lambda values: next((one for one in values if one is not None), None)),
    "ispresent": (1, 1, lambda values: values[0] is not None),
    "isempty": (1, 1, lambda values: values[0] is None or text(values[0]) == ""),
    "isblank": (1, 1, lambda values: values[0] is None or not text(values[0]).strip()),
}
"""By name: fewest and most values, and what is done."""


def _is_of_name(character: str) -> bool:
    return bool(character) and (character.isalnum() or character in "_.@")
