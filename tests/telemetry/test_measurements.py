"""Measurements add up in any order, and percentiles are as near as is said."""

import math

from hypothesis import given
from hypothesis import strategies as st

from coldspark.telemetry.value_sketch import (
    ACCURACY,
    BUCKETS_MAX,
    VALUES_MAX,
    ValueSketch,
    percentile,
    rounded,
)

SIZES = st.floats(min_value=1e-3, max_value=1e9)
VALUES = st.one_of(SIZES, SIZES.map(lambda value: -value), st.just(0.0))


def measured(values: list[float]) -> ValueSketch:
    """Return a period that took these values."""
    period = ValueSketch()
    for value in values:
        period.add(value)
    return period


def test_few_values_are_kept_as_they_are() -> None:
    """Up to 128 different ones, percentiles are exact."""
    period = measured([4, 1, 3, 2])

    assert [percentile(sorted(period.values.items()), p) for p in (0, 25, 50, 51, 100)] == [
        1,
        1,
        2,
        3,
        4,
    ]


def test_the_worked_number() -> None:
    """137 becomes the middle of its bucket."""
    assert [round(value, 2) for value in rounded({137.0: 1.0})] == [135.99]


@given(st.lists(VALUES, min_size=VALUES_MAX + 1, max_size=400))
def test_percentiles_of_many_values_are_off_by_little(values: list[float]) -> None:
    """Whatever the values: the sketch's percentile is as near to the true one as is said."""
    period, ordered = measured(values), sorted(values)
    pairs = sorted(period.values.items())

    for percent in (1.0, 50.0, 90.0, 99.0, 100.0):
        true = ordered[max(0, math.ceil(len(ordered) * percent / 100 - 1e-9) - 1)]
        assert abs(percentile(pairs, percent) - true) <= ACCURACY * abs(true) * (1 + 1e-6)


@given(st.lists(st.lists(VALUES, max_size=200), max_size=6))
def test_merging_is_the_same_as_measuring_together(parts: list[list[float]]) -> None:
    """Count, least, most and every value's count do not depend on who took which."""
    whole = ValueSketch()
    for part in parts:
        whole.merge(measured(part))
    together = measured([value for part in parts for value in part])

    assert (whole.samples, whole.least, whole.most) == (
        together.samples,
        together.least,
        together.most,
    )
    assert math.isclose(whole.total, together.total, rel_tol=1e-9, abs_tol=1e-3)
    assert sum(whole.values.values()) == whole.samples
    if whole.is_rounded and together.is_rounded:
        assert whole.values.keys() == together.values.keys()


@given(st.lists(VALUES, max_size=300))
def test_rounding_twice_changes_nothing(values: list[float]) -> None:
    """So periods may be merged again and again."""
    once = rounded(dict.fromkeys(values, 1.0))

    assert rounded(once) == once


def test_memory_is_bounded_whatever_comes() -> None:
    """Over the bound the lowest become one, and nothing is lost from the count."""
    period = measured([1.03**exponent for exponent in range(-1_000, 1_000)])

    assert len(period.values) <= BUCKETS_MAX
    assert sum(period.values.values()) == 2_000
