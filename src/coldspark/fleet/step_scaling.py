"""Step adjustments: by how much capacity changes for how far a metric is beyond its threshold.

AWS's rules. A step is for breaches (metric minus threshold) between its bounds: from the lower on,
up to and without the upper one, where the metric is over the threshold; the other way about where
it is under it. Percentages are rounded towards zero, but never to nothing: 12.7 is 12, 0.67 is 1,
-0.3 is -1, -6.67 is -6. Worked: 25 % of 4 is 1, and 2 with a least magnitude of 2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

CAPACITY_MAX = 10_000
"""More replicas than a fleet may have: what a computation may come to at most."""


class AdjustmentType(StrEnum):
    """How a step's number is meant."""

    CHANGE = "ChangeInCapacity"
    PERCENT = "PercentChangeInCapacity"
    EXACT = "ExactCapacity"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAdjustment:
    """What to do for breaches between two bounds; None is open."""

    lower: float | None = None
    upper: float | None = None
    adjustment: int

    def __post_init__(self) -> None:
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(
                f"step adjustment: the lower bound {self.lower:g} must be less than the upper"
                f" bound {self.upper:g}"
            )

    def contains(self, breach: float) -> bool:
        """Return whether a breach lies between the bounds."""
        lower = -math.inf if self.lower is None else self.lower
        upper = math.inf if self.upper is None else self.upper
        return lower <= breach < upper if breach >= 0 else lower < breach <= upper


@dataclass(frozen=True, slots=True, kw_only=True)
class StepAdjustments:
    """A step policy's steps."""

    kind: AdjustmentType
    steps: tuple[StepAdjustment, ...]
    magnitude_min: int = 0
    """The least change of a percentage."""

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("at least one step adjustment is needed")
        _refuse_gaps(self.steps)
        if self.kind is AdjustmentType.EXACT and any(one.adjustment < 0 for one in self.steps):
            raise ValueError("a step adjustment of ExactCapacity must not be negative")
        if self.magnitude_min < 0:
            raise ValueError(f"the least adjustment {self.magnitude_min} must not be negative")


def step_capacity(steps: StepAdjustments, capacity: int, breach: float) -> int | None:
    """Return the new capacity after a breach; None where no step applies to it."""
    step = next((one for one in steps.steps if one.contains(breach)), None)
    if step is None:
        return None
    match steps.kind:
        case AdjustmentType.EXACT:
            found = step.adjustment
        case AdjustmentType.CHANGE:
            found = capacity + step.adjustment
        case AdjustmentType.PERCENT:
            found = capacity + _change(capacity * step.adjustment / 100, steps.magnitude_min)
    return min(max(0, found), CAPACITY_MAX)


def target_tracking_capacity(capacity: int, metric: float, target: float) -> int:
    """Return the capacity at which a metric that is inverse to it would be at its target.

    Worked number: capacity 2, metric 1.0, target 0.7: ceil(2 * 1.0 / 0.7) = 3. From nothing it
    cannot be computed: what comes at all asks for one.
    """
    if capacity == 0:
        return 1 if metric > 0 else 0
    desired = capacity * metric / target
    return max(0, math.ceil(min(desired, CAPACITY_MAX) - 1e-9))


def _change(share: float, magnitude_min: int) -> int:
    """Return a percentage's change, rounded as AWS does and not less than ``magnitude_min``."""
    if share == 0:
        return 0
    size = max(1, math.floor(abs(share) + 1e-9), magnitude_min)
    return size if share > 0 else -size


def _refuse_gaps(steps: Sequence[StepAdjustment]) -> None:
    ordered = sorted(steps, key=lambda one: -math.inf if one.lower is None else one.lower)
    for before, after in pairwise(ordered):
        if before.upper != after.lower or before.upper is None:
            raise ValueError(
                "step adjustments must not overlap, and there must be no gap between them:"
                f" {_render(before)} is followed by {_render(after)}"
            )
    first, last = ordered[0], ordered[-1]
    if first.lower is not None and first.lower < 0:
        raise ValueError(
            f"step adjustments: one with the lower bound {first.lower:g} needs another without a"
            " lower bound below it"
        )
    if last.upper is not None and last.upper > 0:
        raise ValueError(
            f"step adjustments: one with the upper bound {last.upper:g} needs another without an"
            " upper bound above it"
        )


def _render(step: StepAdjustment) -> str:
    lower = "-inf" if step.lower is None else f"{step.lower:g}"
    upper = "+inf" if step.upper is None else f"{step.upper:g}"
    return f"{lower}..{upper}"
