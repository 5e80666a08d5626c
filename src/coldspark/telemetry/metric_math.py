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
from dataclasses import dataclass
from itertools import pairwise
from typing import Never, TypeAlias

from coldspark.telemetry.expressions import Cursor, ExpressionError, Infix, climb

Series: TypeAlias = dict[int, float]
"""Values by the begin of their period in milliseconds, in order."""


def diff(series: Series) -> Series:
    """Return how much more each value is than the one before it; the first has none."""
    return {at: series[at] - series[before] for before, at in pairwise(sorted(series))}


def rate(series: Series) -> Series:
    """Return the same per second that lies between."""
    return {
        at: (series[at] - series[before]) * 1_000 / (at - before)
        for before, at in pairwise(sorted(series))
    }


def running_sum(series: Series) -> Series:
    """Return the sum of each value and all before it, from the start of what is asked for."""
    total, sums = 0.0, {}
    for at in sorted(series):
        total += series[at]
        sums[at] = total
    return sums


Value: TypeAlias = "float | Series | list[Series]"
EXPRESSION_CHARS_MAX = 2_048
_NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+")
_NAME = re.compile(r"[A-Za-z_]\w*")
_SIGN = re.compile(r"[-+*/^()\[\],<>=!&|]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationContext:
    """What an expression is computed over."""

    series: Mapping[str, Series]
    """The results of the other queries by id."""
    metrics: Sequence[str]
    """Ids of those that are metrics and no expressions, for ``METRICS()``."""
    times: Sequence[int]
    """The begins of all periods in the range."""
    period_s: int


Node: TypeAlias = Callable[[EvaluationContext], Value]
_Infix: TypeAlias = Infix[Node]


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was understood."""

    names: frozenset[str]
    """Ids of the queries that it uses."""
    uses_all: bool
    """It says ``METRICS()``."""
    compute: Node


def parse(text: str) -> Expression:
    """Understand an expression. Raises ExpressionError."""
    if len(text) > EXPRESSION_CHARS_MAX:
        raise ExpressionError(f"it is longer than {EXPRESSION_CHARS_MAX} characters")
    reader = _Reader(text)
    reader.skip()
    if not reader.next:
        reader.refuse("it is empty")
    node = reader.expression()
    reader.skip()
    if reader.next:
        reader.refuse_next()
    return Expression(frozenset(reader.names), reader.uses_all, node)


class _Reader(Cursor):
    """Reads an expression, and keeps what it is about."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.names: set[str] = set()
        self.uses_all = False

    def refuse(self, why: str) -> Never:
        raise ExpressionError(why)

    def refuse_next(self) -> Never:
        """Refuse what comes next: it has no place there, or in no expression."""
        start = self.at
        found = self.match(_NUMBER) or self.match(_NAME) or self.match(_SIGN)
        if found is None:
            self.refuse(f"{self.text[start : start + 20]!r} is not understood")
        self.refuse(f"{found!r} is not expected there")

    def close(self, word: str) -> None:
        """Go over what must come next."""
        if not self.take(word):
            found = self.match(_NUMBER) or self.match(_NAME) or self.next or "the end"
            self.refuse(f"{word!r} is missing before {found!r}")

    def expression(self) -> Node:
        """Read up to what is no operator."""
        with self.deeper():
            return climb(self, self._operand, _INFIXES)

    def expressions(self, end: str) -> list[Node]:
        """Read one or several, and what ends them."""
        nodes = [self.expression()]
        while self.take(","):
            nodes.append(self.expression())
        self.close(end)
        return nodes

    def _operand(self) -> Node:
        if self.take("-"):
            with self.deeper():
                below = self._operand()
            return lambda frame: _apart(_times, -1.0, below(frame))
        if self.take("("):
            inner = self.expression()
            self.close(")")
            return inner
        if self.take("["):
            nodes = self.expressions("]")
            return lambda frame: [_series(node(frame)) for node in nodes]
        digits = self.match(_NUMBER)
        if digits is not None:
            number = float(digits)
            return lambda frame: number
        word = self.match(_NAME)
        if word is not None:
            return self._call(word.upper()) if self.take("(") else self._named(word)
        if not self.next:
            self.refuse("it ends too early")
        return self.refuse_next()

    def _named(self, word: str) -> Node:
        if not word[0].islower():
            # FILL's words; ids of queries begin with a small letter.
            self.refuse(f"{word} is neither the id of a query nor a function with (…)")
        self.names.add(word)

        def look(frame: EvaluationContext) -> Value:
            if word not in frame.series:
                raise ExpressionError(f"there is no query with the id {word!r}")
            return frame.series[word]

        return look

    def _call(self, name: str) -> Node:
        if name == "FILL":
            return self._fill()
        self.uses_all |= name == "METRICS"
        arguments = [] if self.take(")") else self.expressions(")")
        function = _FUNCTIONS.get(name)
        if function is None:
            self.refuse(
                f"{name} is not supported yet: use {', '.join(sorted([*_FUNCTIONS, 'FILL']))}"
            )
        return function(arguments)

    def _fill(self) -> Node:
        inner = self.expression()
        self.close(",")
        way = self.take_any(("REPEAT", "LINEAR"))
        filling = None if way is not None else self.expression()
        self.close(")")
        return _filled(inner, way, filling)


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
        raise ExpressionError("a metric is needed where a number or an array of metrics is")
    return value


def _divided(left: float, right: float) -> float:
    return left / right if right else math.nan


def _powered(left: float, right: float) -> float:
    try:
        value = left**right
    except (OverflowError, ZeroDivisionError):
        return math.nan
    return value if isinstance(value, float) else math.nan


def _times(left: float, right: float) -> float:
    return left * right


def _infix(power: int, work: Callable[[float, float], float], *, is_right: bool = False) -> _Infix:
    return Infix(power, lambda left, right: _binary(work, left, right), is_right)


_INFIXES: Mapping[str, _Infix] = {
    "OR": _infix(1, lambda a, b: float(bool(a) or bool(b))),
    "||": _infix(1, lambda a, b: float(bool(a) or bool(b))),
    "AND": _infix(2, lambda a, b: float(bool(a) and bool(b))),
    "&&": _infix(2, lambda a, b: float(bool(a) and bool(b))),
    "<": _infix(3, lambda a, b: float(a < b)),
    ">": _infix(3, lambda a, b: float(a > b)),
    "<=": _infix(3, lambda a, b: float(a <= b)),
    ">=": _infix(3, lambda a, b: float(a >= b)),
    "==": _infix(3, lambda a, b: float(a == b)),
    "!=": _infix(3, lambda a, b: float(a != b)),
    "<>": _infix(3, lambda a, b: float(a != b)),
    "+": _infix(4, lambda a, b: a + b),
    "-": _infix(4, lambda a, b: a - b),
    "*": _infix(5, _times),
    "/": _infix(5, _divided),
    "^": _infix(6, _powered, is_right=True),
}


def _one(name: str, arguments: list[Node]) -> Node:
    if len(arguments) != 1:
        raise ExpressionError(f"{name} takes 1 argument, not {len(arguments)}")
    return arguments[0]


def _over(name: str, work: Callable[[Sequence[float]], float]) -> Callable[[list[Node]], Node]:
    """Of an array, per period over its series; of one series, one number over its periods."""

    def build(arguments: list[Node]) -> Node:
        inner = _one(name, arguments)

        def compute(frame: EvaluationContext) -> Value:
            value = inner(frame)
            if isinstance(value, list):
                times = sorted({at for one in value for at in one})
                return {at: work([one[at] for one in value if at in one]) for at in times}
            if isinstance(value, dict):
                return work(list(value.values())) if value else math.nan
            raise ExpressionError(f"{name} needs a metric or an array of metrics")

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

        def compute(frame: EvaluationContext) -> Value:
            value = inner(frame)
            if isinstance(value, list):
                return [work(one) for one in value]
            if isinstance(value, dict):
                return work(value)
            raise ExpressionError(f"{name} needs a metric or an array of metrics")

        return compute

    return build


def _time_series(arguments: list[Node]) -> Node:
    inner = _one("TIME_SERIES", arguments)

    def compute(frame: EvaluationContext) -> Value:
        value = inner(frame)
        if isinstance(value, dict | list):
            raise ExpressionError("TIME_SERIES makes a series of a number, not of a metric")
        return dict.fromkeys(frame.times, value)

    return compute


def _if(arguments: list[Node]) -> Node:
    if len(arguments) not in (2, 3):
        raise ExpressionError(f"IF takes 2 or 3 arguments, not {len(arguments)}")

    def compute(frame: EvaluationContext) -> Value:
        condition, then, *rest = (node(frame) for node in arguments)
        otherwise: Value = rest[0] if rest else {}
        if isinstance(condition, list):
            raise ExpressionError("IF needs a metric or a number as its condition")
        if not isinstance(condition, dict):
            return then if condition else otherwise
        chosen = ((at, then if is_true else otherwise) for at, is_true in condition.items())
        found = ((at, _at(value, at)) for at, value in chosen)
        return {at: value for at, value in found if value is not None}

    return compute


def _at(value: Value, at: int) -> float | None:
    if isinstance(value, list):
        raise ExpressionError("IF chooses between metrics and numbers, not arrays")
    return value.get(at) if isinstance(value, dict) else value


def _filled(inner: Node, way: str | None, filling: Node | None) -> Node:
    def one(series: Series, frame: EvaluationContext) -> Series:
        if way == "REPEAT":
            return _repeated(series, frame.times)
        if way == "LINEAR":
            return _linear(series, frame.times)
        assert filling is not None
        value = filling(frame)
        filled = ((at, series[at] if at in series else _at(value, at)) for at in frame.times)
        return {at: number for at, number in filled if number is not None}

    def compute(frame: EvaluationContext) -> Value:
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
        raise ExpressionError("METRICS takes no argument here: it stands for all metrics")
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
