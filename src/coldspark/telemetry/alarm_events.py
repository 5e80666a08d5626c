"""Why an alarm is in its state, and what happened to it: facts, which a door puts into words."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeAlias

from msgspec import Struct

from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_rules import AlarmTest


class NotEvaluated(Struct, frozen=True, tag="created"):
    """The alarm is new."""


class GivenReason(Struct, frozen=True, tag="given"):
    """A caller set the state."""

    text: str
    data: str | None = None


class Evaluation(Struct, frozen=True, kw_only=True, tag="evaluated"):
    """An evaluation of the newest data points."""

    at_ms: int
    points: Sequence[tuple[int, float | None]]
    """When each period began, and its value; oldest first, at most as many as are evaluated.

    A value is None where it was no finite number.
    """
    statistic: str | None
    """None: an expression."""
    period_s: int
    test: AlarmTest


AlarmReason: TypeAlias = NotEvaluated | GivenReason | Evaluation
Explain: TypeAlias = Callable[[AlarmState, AlarmReason], str]
"""Put the reason for a state into words, for those who watch alarms."""


class AlarmEdit(StrEnum):
    """How an alarm's definition changed."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"


class AlarmEdited(Struct, frozen=True, tag="edited"):
    """The definition changed."""

    edit: AlarmEdit


class AlarmMoved(Struct, frozen=True, kw_only=True, tag="moved"):
    """The state changed."""

    before: AlarmState
    before_reason: AlarmReason
    after: AlarmState
    after_reason: AlarmReason


class AlarmActed(Struct, frozen=True, kw_only=True, tag="acted"):
    """An action was taken, or failed."""

    address: str
    error: str | None = None


AlarmEvent: TypeAlias = AlarmEdited | AlarmMoved | AlarmActed


def kind_of(event: AlarmEvent | type[AlarmEvent]) -> str:
    """Return the kind under which an event is stored and found."""
    return str(event.__struct_config__.tag)
