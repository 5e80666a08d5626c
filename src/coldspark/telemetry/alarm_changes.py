"""Alarms, their changes of state, and who is notified."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_definition import AlarmDefinition
from coldspark.telemetry.alarm_events import AlarmMoved, AlarmReason
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
    """A change of an alarm's state, for those who are notified."""

    alarm: Alarm
    """As it is now."""
    before: AlarmState


Notify = Callable[[str, AlarmChange], Awaitable[None]]
"""Notify an action's address of a change, durably on return.

Raises NotFound for an address that nothing delivers to.
"""


def change_state(
    before: StoredAlarm, state: AlarmState, reason: AlarmReason, now_ms: int
) -> tuple[StoredAlarm, AlarmHistoryItem | None]:
    """Return an alarm put into a state, and its history's item; None if it was in it before."""
    is_change = state is not before.state
    after = replace(
        before,
        state=state,
        reason=reason,
        state_ms=now_ms,
        moved_ms=now_ms if is_change else before.moved_ms,
    )
    if not is_change:
        return after, None
    event = AlarmMoved(
        before=before.state, before_reason=before.reason, after=state, after_reason=reason
    )
    return after, AlarmHistoryItem(alarm=before.name, at_ms=now_ms, event=event)
