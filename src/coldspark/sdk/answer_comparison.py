"""Compare two answers to one request: to the byte, as JSON, as numbers, as vectors."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

COSINE_MIN = 0.999
_VECTOR_LEAST = 3


class Agreement(StrEnum):
    """How far two answers agree, the closest first."""

    EXACT = "exact"
    """Byte for byte."""
    JSON = "equal as JSON"
    """Keys in another order, other spaces, 1 for 1.0."""
    NUMERIC = "numbers within the tolerance"
    COSINE = "vectors of the same direction"
    """Every vector has a cosine of at least 0.999, all else is equal or within the tolerance."""
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two answers, compared."""

    agreement: Agreement
    cosine_min: float | None = None
    """Of the vectors in both; None where there are none."""
    where: str | None = None
    """The first path at which they differ, such as ``$.embedding[3]``."""


@dataclass(frozen=True, slots=True)
class _Apart:
    """Two values at one path that are not equal."""

    where: str
    is_close: bool
    """Two numbers within the tolerance."""
    is_in_vector: bool


def compare(one: bytes, other: bytes, tolerance: float = 1e-3) -> Comparison:
    """Compare two answers.

    Numbers are within the tolerance when they differ by at most that share of the larger, or by
    that much near zero. A vector is a list of three numbers or more.
    """
    if one == other:
        return Comparison(agreement=Agreement.EXACT)
    try:
        left, right = json.loads(one), json.loads(other)
    except ValueError:
        return Comparison(agreement=Agreement.DIFFERENT, where="the bytes")
    apart = list(_apart(left, right, "$", tolerance, is_in_vector=False))
    cosines = list(_cosines(left, right))
    cosine = min(cosines, default=None)
    far = [each for each in apart if not each.is_close]
    if not apart:
        agreement = Agreement.JSON
    elif not far:
        agreement = Agreement.NUMERIC
    elif cosine is not None and cosine >= COSINE_MIN and all(each.is_in_vector for each in far):
        agreement = Agreement.COSINE
    else:
        agreement = Agreement.DIFFERENT
    where = (far or apart)[0].where if apart else None
    return Comparison(agreement=agreement, cosine_min=cosine, where=where)


def cosine(left: list[float], right: list[float]) -> float:
    """Return the cosine of the angle between two vectors; 1 of two zeros, 0 of one."""
    here, there = math.hypot(*left), math.hypot(*right)
    if not here or not there:
        return 1.0 if here == there else 0.0
    # Each is scaled first: the product of two tiny lengths is zero.
    product = sum((x / here) * (y / there) for x, y in zip(left, right, strict=True))
    return max(-1.0, min(1.0, product))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= _VECTOR_LEAST and all(map(_is_number, value))


def _apart(
    left: Any, right: Any, where: str, tolerance: float, *, is_in_vector: bool
) -> Iterator[_Apart]:
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        for key in left:
            path = f"{where}.{key}"
            yield from _apart(left[key], right[key], path, tolerance, is_in_vector=False)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        is_vector = _is_vector(left) and _is_vector(right)
        for index, pair in enumerate(zip(left, right, strict=True)):
            path = f"{where}[{index}]"
            yield from _apart(*pair, path, tolerance, is_in_vector=is_vector)
    elif _is_number(left) and _is_number(right):
        if left != right:
            is_close = math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
            yield _Apart(where, is_close, is_in_vector)
    elif type(left) is not type(right) or left != right:
        yield _Apart(where, is_close=False, is_in_vector=False)


def _cosines(left: Any, right: Any) -> Iterator[float]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in left.keys() & right.keys():
            yield from _cosines(left[key], right[key])
    elif _is_vector(left) and _is_vector(right) and len(left) == len(right):
        yield cosine(left, right)
    elif isinstance(left, list) and isinstance(right, list):
        for pair in zip(left, right, strict=False):
            yield from _cosines(*pair)
