"""What state an alarm is in, given the newest data points of its metric.

M of the newest N data points must breach for ``ALARM``. More periods than N are evaluated (see
``periods_evaluated``): while at least N of them have data, what is missing does not matter. With
less, it counts as ``missing`` says:

- ``breaching`` and ``notBreaching``: as many as are missing to N count as that.
- ``ignore``: the state stays where all that is known breaches, or nothing is known.
- ``missing``: without any data ``INSUFFICIENT_DATA``; else what is there decides.

With ``missing`` there may be fewer than M data points. If all of them breach and the oldest is at
least M periods old, it is ``ALARM`` nevertheless: intermittent data would never reach M.

Worked, for 3 of 3 (``-`` is missing, ``X`` breaches, ``0`` does not; oldest first):

| data points | missing | ignore | breaching | notBreaching |
|---|---|---|---|---|
| ``0 - X - X`` | OK | OK | OK | OK |
| ``0 X X - X`` | ALARM | ALARM | ALARM | ALARM |
| ``- - - - 0`` | OK | OK | OK | OK |
| ``- - - - -`` | INSUFFICIENT_DATA | stays | ALARM | OK |
| ``- - X - -`` | ALARM | stays | ALARM | OK |
| ``- - - - X`` | OK | stays | ALARM | OK |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import ge, gt, le, lt

from coldspark.spec.types import AlarmState


class MissingData(StrEnum):
    """What a period without data counts as."""

    MISSING = "missing"
    IGNORE = "ignore"
    BREACHING = "breaching"
    NOT_BREACHING = "notBreaching"


COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": ge,
    "GreaterThanThreshold": gt,
    "LessThanThreshold": lt,
    "LessThanOrEqualToThreshold": le,
}
_MARGIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmTest:
    """When an alarm alarms."""

    __test__ = False

    threshold: float
    comparison: str
    """One of ``COMPARISONS``."""
    evaluation_periods: int
    """N."""
    datapoints_to_alarm: int
    """M."""
    missing: MissingData = MissingData.MISSING

    def __post_init__(self) -> None:
        if not 1 <= self.datapoints_to_alarm <= self.evaluation_periods:
            raise ValueError(
                f"datapoints_to_alarm={self.datapoints_to_alarm} must lie in"
                f" 1..{self.evaluation_periods} (evaluation_periods)"
            )
        if self.comparison not in COMPARISONS:
            raise ValueError(
                f"comparison={self.comparison!r} must be one of {', '.join(COMPARISONS)}"
            )

    @property
    def periods_evaluated(self) -> int:
        """Return how many periods an evaluation needs: two more than N."""
        return self.evaluation_periods + _MARGIN

    def breaches(self, value: float) -> bool:
        """Return whether a data point is beyond the threshold."""
        return COMPARISONS[self.comparison](value, self.threshold)


def evaluate_alarm(
    test: AlarmTest, points: Sequence[float | None], state: AlarmState
) -> AlarmState:
    """Return the state that follows ``state``.

    ``points`` are the newest periods' data points, oldest first, None where a period has none.
    """
    known = [test.breaches(point) for point in points if point is not None]
    wanted, newest = test.datapoints_to_alarm, known[-test.evaluation_periods :]
    lacking = test.evaluation_periods - len(newest)
    breaching = sum(newest)
    if lacking and test.missing is MissingData.BREACHING:
        breaching += lacking
    if breaching >= wanted:
        return AlarmState.ALARM
    if not lacking or test.missing in (MissingData.BREACHING, MissingData.NOT_BREACHING):
        return AlarmState.OK
    if not known:
        return AlarmState.INSUFFICIENT_DATA if test.missing is MissingData.MISSING else state
    if not all(known):
        return AlarmState.OK
    if test.missing is MissingData.IGNORE:
        return state
    return AlarmState.ALARM if _oldest_age(points) >= wanted else AlarmState.OK


def _oldest_age(points: Sequence[float | None]) -> int:
    """Return how many periods ago the oldest data point was; the newest period is 1."""
    first = next(place for place, point in enumerate(points) if point is not None)
    return len(points) - first
