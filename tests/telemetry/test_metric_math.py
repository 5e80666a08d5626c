"""Metric math: what is understood, how it is computed, and that nothing else is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.telemetry.expressions import ExpressionError
from coldspark.telemetry.metric_math import EvaluationContext, Series, Value, parse

M1: Series = {0: 1.0, 60: 3.0}
M2: Series = {60: 2.0}
FRAME = EvaluationContext(
    series={"m1": M1, "m2": M2}, metrics=["m1", "m2"], times=[0, 60], period_s=60
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m1 / m2", {60: 1.5}),
        ("SUM([m1, m2])", {0: 1.0, 60: 5.0}),
        ("SUM(METRICS())", {0: 1.0, 60: 5.0}),
        ("SUM(m1)", 4.0),
        ("avg(m1)", 2.0),
        ("MAX([m1, m2]) - MIN([m1, m2])", {0: 0.0, 60: 1.0}),
        ("FILL(m2, 0)", {0: 0.0, 60: 2.0}),
        ("FILL(m1 * 0, REPEAT)", {0: 0.0, 60: 0.0}),
        ("IF(m1 > 2, m1, -1)", {0: -1.0, 60: 3.0}),
        ("IF(m1 > 2 AND m1 < 9, m1)", {60: 3.0}),
        ("1 + 2 * 3 ^ 2 ^ 0", 7.0),
        ("-m1 + 2", {0: 1.0, 60: -1.0}),
        ("m1 / (m1 - 1)", {60: 1.5}),
        ("ABS(-m1) == m1", {0: 1.0, 60: 1.0}),
        ("m1 / PERIOD(m1)", {0: 1 / 60, 60: 0.05}),
        ("DIFF(m1)", {60: 2.0}),
        ("RATE(m1)", {60: 2.0 * 1_000 / 60}),
        ("SUM(DIFF([m1, m2]))", {60: 2.0}),
        ("RUNNING_SUM(m1)", {0: 1.0, 60: 4.0}),
        ("m1 + TIME_SERIES(5)", {0: 6.0, 60: 8.0}),
        ("TIME_SERIES(5)", {0: 5.0, 60: 5.0}),
        ("CEIL(m1 / 2) + FLOOR(m1 / 2)", {0: 1.0, 60: 3.0}),
        ("1+" * 500 + "1", 501.0),
    ],
)
def test_expressions_mean_what_cloudwatch_means(text: str, value: Value) -> None:
    """Per period; what has no value in a period has no result in it."""
    assert parse(text).compute(FRAME) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("m1 +", "ends too early"),
        ("m1 m2", "'m2' is not expected"),
        ("SEARCH('x')", "is not understood"),
        ("STDDEV(m1)", "STDDEV is not supported yet: use ABS, AVG"),
        ("RATE(3)", "RATE needs a metric"),
        ("TIME_SERIES(m1)", "of a number, not of a metric"),
        ("Upper + 1", "Upper is neither"),
        ("__import__('os')", "is not understood"),
        ("(" * 40 + "m1" + ")" * 40, "nested deeper"),
        ("-" * 40 + "m1", "nested deeper"),
        ("m1 + " * 600 + "m1", "longer than"),
        ("1+" * 501 + "1", "more than 500 operators"),
        ("[m1, 2] + 1", "a metric is needed"),
        ("SUM(2)", "needs a metric"),
        ("ABS(m1, m2)", "takes 1 argument"),
        ("m3", "no query with the id 'm3'"),
    ],
)
def test_all_else_is_refused_and_says_why(text: str, told: str) -> None:
    """Nothing is guessed, and no expression is too deep to read."""
    with pytest.raises(ExpressionError, match=told.replace("(", "\\(").replace("+", "\\+")):
        parse(text).compute(FRAME)


SIGNS = st.sampled_from(["+", "-", "*", "/", "^", "<", ">", "AND", "OR"])
TREES = st.recursive(
    st.sampled_from(["m1", "m2", "2", "0", "0.5"]),
    lambda below: st.one_of(
        st.tuples(
            below, st.sampled_from(["+", "-", "*", "/", "^", "<", ">", "AND", "OR"]), below
        ).map(lambda parts: f"({' '.join(parts)})"),
        below.map(lambda one: f"-{one}"),
        below.map(lambda one: f"FILL(m1 + {one}, 0)"),
        st.tuples(below, below).map(lambda pair: f"IF({pair[0]}, {pair[1]}, m1)"),
    ),
    max_leaves=8,
)


@given(TREES)
def test_whatever_is_computed_is_finite_and_within_the_periods(text: str) -> None:
    """No division, no power and no depth brings anything but numbers."""
    value = parse(text).compute(FRAME)

    if isinstance(value, dict):
        assert set(value) <= {0, 60}
        assert all(math.isfinite(one) for one in value.values())
