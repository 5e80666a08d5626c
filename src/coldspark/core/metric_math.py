"""Metric math: the part of CloudWatch's expressions that is understood, and no more.

A value is a number, a series (a number per period) or an array of series. Understood are ``+ - * /
^``, comparisons, ``AND OR``, parentheses, ``[m1, m2]`` and the functions in ``FUNCTIONS``. Where
two series meet, a period that one of them lacks has no result; a division by zero has none either.

Worked: with m1 = {0: 1, 60: 3} and m2 = {60: 2}, ``m1 / m2`` is {60: 1.5}, ``SUM([m1, m2])`` is
{0: 1, 60: 5}, ``SUM(m1)`` is 4, and ``FILL(m2, 0)`` over the periods of m1 is {0: 0, 60: 2}.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeAlias

from coldspark.core.series_functions import Series as Series
from coldspark.core.series_functions import diff, rate, running_sum

Value: TypeAlias = "float | Series | list[Series]"
EXPRESSION_CHARS_MAX = 2_048
_DEPTH_MAX = 32
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign><=|>=|==|!=|<>|&&|\|\||[-+*/^()\[\],<>]))"
)


class CannotCompute(ValueError):
    """Say what in an expression is not understood, and what would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What an expression is computed over."""

    series: Mapping[str, Series]
    """The results of the other queries by id."""
    metrics: Sequence[str]
    """Ids of those that are metrics and no expressions, for ``METRICS()``."""
    times: Sequence[int]
    """The begins of all periods in the range."""
    period_s: int


@dataclass(slots=True)
class _Parser:
    tokens: list[tuple[str, str]]
    place: int = 0
    depth: int = 0
    names: set[str] = field(default_factory=set)


Node: TypeAlias = Callable[[Frame], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was understood."""

    names: frozenset[str]
    """Ids of the queries that it uses."""
    uses_all: bool
    """It says ``METRICS()``."""
    compute: Node


def parse(text: str) -> Expression:
    """Understand an expression. Raises CannotCompute."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise CannotCompute(f"it is longer than {EXPRESSION_CHARS_MAX} characters")
    parser = _Parser(_tokens(text))
    node = _either(parser)
    if parser.place < len(parser.tokens):
        raise CannotCompute(f"{parser.tokens[parser.place][1]!r} is not expected there")
    uses_all = any(kind == "name" and word.upper() == "METRICS" for kind, word in parser.tokens)
    return Expression(frozenset(parser.names), uses_all, node)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise CannotCompute(f"{text[place : place + 20]!r} is not understood")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        place = match.end()
    if not tokens:
        raise CannotCompute("it is empty")
    return tokens


def _peek(parser: _Parser) -> str:
    return parser.tokens[parser.place][1] if parser.place < len(parser.tokens) else ""


def _take(parser: _Parser, *words: str) -> str | None:
    if _peek(parser).upper() in words:
        parser.place += 1
        return parser.tokens[parser.place - 1][1].upper()
    return None


def _expect(parser: _Parser, word: str) -> None:
    if _take(parser, word) is None:
        raise CannotCompute(f"{word!r} is missing before {_peek(parser) or 'the end'!r}")


def _level(below: Callable[[_Parser], Node], *signs: str) -> Callable[[_Parser], Node]:
    """Return the parser of operators that bind equally, from left to right."""

    def read(parser: _Parser) -> Node:
        left = below(parser)
        while (sign := _take(parser, *signs)) is not None:
            left = _binary(_OPERATORS[sign], left, below(parser))
        return left

    return read


def _binary(work: Callable[[float, float], float], left: Node, right: Node) -> Node:
    return lambda frame: _apart(work, left(frame), right(frame))


def _apart(work: Callable[[float, float], float], left: Value, right: Value) -> Value:
    """Compute per period; of an array, per series."""
    if isinstance(left, list):
        return [_series(_apart(work, one, right)) for one in left]
    if isinstance(right, list):
        return [_series(_apart(work, left, one)) for one in right]
    if isinstance(left, dict) and isinstance(right, dict):
        pairs = ((at, left[at], right[at]) for at in left if at in right)
    elif isinstance(left, dict):
        assert not isinstance(right, dict)
        pairs = ((at, value, right) for at, value in left.items())
    elif isinstance(right, dict):
        pairs = ((at, left, value) for at, value in right.items())
    else:
        return work(left, right)
    worked = ((at, work(one, two)) for at, one, two in pairs)
    return {at: value for at, value in worked if math.isfinite(value)}


def _series(value: Value) -> Series:
    if not isinstance(value, dict):
        raise CannotCompute("a metric is needed where a number or an array of metrics is")
    return value


def _divided(left: float, right: float) -> float:
    return left / right if right else math.nan


def _powered(left: float, right: float) -> float:
    try:
        value = left**right
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return value if isinstance(value, float) else math.nan


_OPERATORS: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": _divided,
    "^": _powered,
    "<": lambda a, b: float(a < b),
    ">": lambda a, b: float(a > b),
    "<=": lambda a, b: float(a <= b),
    ">=": lambda a, b: float(a >= b),
    "==": lambda a, b: float(a == b),
    "!=": lambda a, b: float(a != b),
    "<>": lambda a, b: float(a != b),
    "AND": lambda a, b: float(bool(a) and bool(b)),
    "&&": lambda a, b: float(bool(a) and bool(b)),
    "OR": lambda a, b: float(bool(a) or bool(b)),
    "||": lambda a, b: float(bool(a) or bool(b)),
}


def _either(parser: _Parser) -> Node:
    parser.depth += 1
    if parser.depth > _DEPTH_MAX:
        raise CannotCompute(f"it is nested deeper than {_DEPTH_MAX}")
    node = _OR(parser)
    parser.depth -= 1
    return node


def _power(parser: _Parser) -> Node:
    base = _unary(parser)
    if _take(parser, "^") is None:
        return base
    return _binary(_OPERATORS["^"], base, _power(parser))


def _unary(parser: _Parser) -> Node:
    if _take(parser, "-") is None:
        return _atom(parser)
    parser.depth += 1
    if parser.depth > _DEPTH_MAX:
        raise CannotCompute(f"it is nested deeper than {_DEPTH_MAX}")
    below = _unary(parser)
    parser.depth -= 1
    return lambda frame: _apart(_OPERATORS["*"], -1.0, below(frame))


def _atom(parser: _Parser) -> Node:
    if parser.place >= len(parser.tokens):
        raise CannotCompute("it ends too early")
    kind, word = parser.tokens[parser.place]
    parser.place += 1
    if kind == "number":
        number = float(word)
        return lambda frame: number
    if kind == "name":
        return _call(parser, word) if _peek(parser) == "(" else _named(parser, word)
    if word == "(":
        inner = _either(parser)
        _expect(parser, ")")
        return inner
    if word == "[":
        return _array(parser)
    raise CannotCompute(f"{word!r} is not expected there")


def _named(parser: _Parser, word: str) -> Node:
    if not word[0].islower():
        # FILL's words; ids of queries begin with a small letter.
        raise CannotCompute(f"{word} is neither the id of a query nor a function with (…)")
    parser.names.add(word)

    def look(frame: Frame) -> Value:
        if word not in frame.series:
            raise CannotCompute(f"there is no query with the id {word!r}")
        return frame.series[word]

    return look


def _array(parser: _Parser) -> Node:
    nodes = [_either(parser)]
    while _take(parser, ",") is not None:
        nodes.append(_either(parser))
    _expect(parser, "]")
    return lambda frame: [_series(node(frame)) for node in nodes]


def _call(parser: _Parser, word: str) -> Node:
    name = word.upper()
    _expect(parser, "(")
    if name == "FILL":
        return _fill(parser)
    arguments: list[Node] = []
    if _take(parser, ")") is None:
        arguments.append(_either(parser))
        while _take(parser, ",") is not None:
            arguments.append(_either(parser))
        _expect(parser, ")")
    function = _FUNCTIONS.get(name)
    if function is None:
        raise CannotCompute(
            f"{name} is not supported yet: use {', '.join(sorted([*_FUNCTIONS, 'FILL']))}"
        )
    return function(arguments)


def _one(name: str, arguments: list[Node]) -> Node:
    if len(arguments) != 1:
        raise CannotCompute(f"{name} takes 1 argument, not {len(arguments)}")
    return arguments[0]


def _over(name: str, work: Callable[[Sequence[float]], float]) -> Callable[[list[Node]], Node]:
    """Of an array, per period over its series; of one series, one number over its periods."""

    def build(arguments: list[Node]) -> Node:
        inner = _one(name, arguments)

        def compute(frame: Frame) -> Value:
            value = inner(frame)
            if isinstance(value, list):
                times = sorted({at for one in value for at in one})
                return {at: work([one[at] for one in value if at in one]) for at in times}
            if isinstance(value, dict):
                return work(list(value.values())) if value else math.nan
            raise CannotCompute(f"{name} needs a metric or an array of metrics")

        return compute

    return build


def _each(name: str, work: Callable[[float], float]) -> Callable[[list[Node]], Node]:
    def build(arguments: list[Node]) -> Node:
        inner = _one(name, arguments)
        return lambda frame: _apart(lambda a, b: work(a), inner(frame), 0.0)

    return build


def _along(name: str, work: Callable[[Series], Series]) -> Callable[[list[Node]], Node]:
    """Of one series, or of each of an array."""

    def build(arguments: list[Node]) -> Node:
        inner = _one(name, arguments)

        def compute(frame: Frame) -> Value:
            value = inner(frame)
            if isinstance(value, list):
                return [work(one) for one in value]
            if isinstance(value, dict):
                return work(value)
            raise CannotCompute(f"{name} needs a metric or an array of metrics")

        return compute

    return build


def _time_series(arguments: list[Node]) -> Node:
    inner = _one("TIME_SERIES", arguments)

    def compute(frame: Frame) -> Value:
        value = inner(frame)
        if isinstance(value, dict | list):
            raise CannotCompute("TIME_SERIES makes a series of a number, not of a metric")
        return dict.fromkeys(frame.times, value)

    return compute


def _if(arguments: list[Node]) -> Node:
    if len(arguments) not in (2, 3):
        raise CannotCompute(f"IF takes 2 or 3 arguments, not {len(arguments)}")

    def compute(frame: Frame) -> Value:
        condition, then, *rest = (node(frame) for node in arguments)
        otherwise: Value = rest[0] if rest else {}
        if isinstance(condition, list):
            raise CannotCompute("IF needs a metric or a number as its condition")
        if not isinstance(condition, dict):
            return then if condition else otherwise
        chosen = ((at, then if is_true else otherwise) for at, is_true in condition.items())
        found = ((at, _at(value, at)) for at, value in chosen)
        return {at: value for at, value in found if value is not None}

    return compute


def _at(value: Value, at: int) -> float | None:
    if isinstance(value, list):
        raise CannotCompute("IF chooses between metrics and numbers, not arrays")
    return value.get(at) if isinstance(value, dict) else value


def _fill(parser: _Parser) -> Node:
    inner = _either(parser)
    _expect(parser, ",")
    way = _take(parser, "REPEAT", "LINEAR")
    filling = None if way is not None else _either(parser)
    _expect(parser, ")")

    def one(series: Series, frame: Frame) -> Series:
        if way == "REPEAT":
            return _repeated(series, frame.times)
        if way == "LINEAR":
            return _linear(series, frame.times)
        assert filling is not None
        value = filling(frame)
        filled = ((at, series[at] if at in series else _at(value, at)) for at in frame.times)
        return {at: number for at, number in filled if number is not None}

    def compute(frame: Frame) -> Value:
        value = inner(frame)
        if isinstance(value, list):
            return [one(series, frame) for series in value]
        return one(_series(value), frame)

    return compute


def _repeated(series: Series, times: Sequence[int]) -> Series:
    filled: Series = {}
    last: float | None = None
    for at in times:
        last = series.get(at, last)
        if last is not None:
            filled[at] = last
    return filled


def _linear(series: Series, times: Sequence[int]) -> Series:
    known = sorted(series)
    filled = dict(series)
    for before, after in pairwise(known):
        slope = (series[after] - series[before]) / (after - before)
        for at in times:
            if before < at < after:
                filled[at] = series[before] + slope * (at - before)
    return dict(sorted(filled.items()))


def _metrics(arguments: list[Node]) -> Node:
    if arguments:
        raise CannotCompute("METRICS takes no argument here: it stands for all metrics")
    return lambda frame: [frame.series[name] for name in frame.metrics]


def _period(arguments: list[Node]) -> Node:
    _one("PERIOD", arguments)
    return lambda frame: float(frame.period_s)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


_FUNCTIONS: Mapping[str, Callable[[list[Node]], Node]] = {
    "SUM": _over("SUM", math.fsum),
    "AVG": _over("AVG", _mean),
    "MIN": _over("MIN", min),
    "MAX": _over("MAX", max),
    "ABS": _each("ABS", abs),
    "CEIL": _each("CEIL", lambda value: float(math.ceil(value))),
    "FLOOR": _each("FLOOR", lambda value: float(math.floor(value))),
    "DIFF": _along("DIFF", diff),
    "IF": _if,
    "METRICS": _metrics,
    "PERIOD": _period,
    "RATE": _along("RATE", rate),
    "RUNNING_SUM": _along("RUNNING_SUM", running_sum),
    "TIME_SERIES": _time_series,
}
FUNCTIONS = (*sorted(_FUNCTIONS), "FILL")

_PRODUCT = _level(_power, "*", "/")
_TOTAL = _level(_PRODUCT, "+", "-")
_COMPARED = _level(_TOTAL, "<=", ">=", "==", "!=", "<>", "<", ">")
_AND = _level(_COMPARED, "AND", "&&")
_OR = _level(_AND, "OR", "||")
