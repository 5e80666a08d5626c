"""Choose among policies by two costs, money and waiting: the frontier, its knee, an objective."""

from collections.abc import Sequence
from dataclasses import dataclass

CostAndWait = tuple[float, float]
"""What it costs, and how long callers wait."""


def frontier(points: Sequence[CostAndWait]) -> list[int]:
    """Return the indexes of the points that no other beats in one cost without losing in the other.

    Ordered from the cheapest to the fastest; of equal points the first stays.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index], index))
    kept: list[int] = []
    for index in order:
        if not kept or points[index][1] < points[kept[-1]][1]:
            kept.append(index)
    return kept


def knee(points: Sequence[CostAndWait]) -> int:
    """Return the index of a frontier's knee: where more money begins to buy less waiting.

    Both axes are scaled to 0..1; the knee is the point farthest below the line from the cheapest
    to the fastest (Satopää et al., "Finding a Kneedle in a Haystack", 2011). Of one or two points
    it is the cheapest. Worked number: (0, 1), (0.1, 0.2), (1, 0): the middle one lies 0.7 below.
    """
    if len(points) < 3:
        return 0
    depths = [under_the_line(point, points[0], points[-1]) for point in points]
    return max(range(len(points)), key=lambda index: (depths[index], -index))


def under_the_line(point: CostAndWait, cheapest: CostAndWait, fastest: CostAndWait) -> float:
    """Return how far a point lies below the line between two, both axes scaled to 0..1."""
    (low, slow), (high, fast) = cheapest, fastest
    return 1.0 - (point[0] - low) / (high - low) - (point[1] - fast) / (slow - fast)


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The objective. With neither field: the knee of the frontier."""

    wait_dollars_per_s: float | None = None
    """What a second of a caller's waiting costs: money and waiting add up, the least wins."""
    p95_s: float | None = None
    """At most so long may 95 % of requests take: the cheapest that keeps it wins."""

    def __post_init__(self) -> None:
        if self.wait_dollars_per_s is not None and self.p95_s is not None:
            raise ValueError("a cost of waiting and a bound of p95 are two objectives: name one")
        for name in ("wait_dollars_per_s", "p95_s"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name}={value:g} must not be negative")
