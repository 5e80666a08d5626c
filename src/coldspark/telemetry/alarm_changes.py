"""Alarms, their changes, and who hears of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from coldspark.spec.types import AlarmState
from coldspark.telemetry import alarm_reasons
from coldspark.telemetry.alarm_definition import AlarmDefinition
from coldspark.telemetry.alarms_table import AlarmHistoryItem, StoredAlarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm as it is."""

    definition: AlarmDefinition
    stored: StoredAlarm

    @property
    def name(self) -> str:
        """Return its name."""
        return self.stored.name


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmChange:
    """A change of an alarm's state, for those who are to hear of it."""

    alarm: Alarm
    """As it is now."""
    before: AlarmState


Notify = Callable[[str, AlarmChange], Awaitable[None]]
"""Tell an address (an action's ARN or URL) of a change, durably on return (see ``messages``).

Raises NotFound for an address that nothing delivers to.
"""


def change_state(
    before: StoredAlarm, state: AlarmState, reason: str, reason_data: str | None, now_ms: int
) -> tuple[StoredAlarm, AlarmHistoryItem | None]:
    """Return an alarm put into a state, and what its history says; None if it was in it before."""
    is_change = state is not before.state
    after = replace(
        before,
        state=state,
        reason=reason,
        reason_data=reason_data,
        state_ms=now_ms,
        moved_ms=now_ms if is_change else before.moved_ms,
    )
    if not is_change:
        return after, None
    happening = AlarmHistoryItem(
        alarm=before.name,
        at_ms=now_ms,
        kind="StateUpdate",
        summary=f"Alarm updated from {before.state} to {state}",
        data=alarm_reasons.history_data(before, after),
    )
    return after, happening
