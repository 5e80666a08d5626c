"""Changes of alarms of any kind, and who hears of them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from coldspark.core.alarms import AlarmState
from coldspark.runtime.metrics import reasons
from coldspark.runtime.metrics.definitions import Actions
from coldspark.store.alarms import Happening, StoredAlarm


class Acting(Protocol):
    """What an alarm of any kind does when it changes."""

    @property
    def actions(self) -> Actions:
        """Return who hears of it."""

    @property
    def is_acting(self) -> bool:
        """Return whether they do."""

    @property
    def description(self) -> str | None:
        """Return what its maker says of it."""


class Changed(Protocol):
    """An alarm of any kind, for those who hear of it."""

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def definition(self) -> Acting:
        """Return what it does."""

    @property
    def stored(self) -> StoredAlarm:
        """Return its state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of an alarm's state, for those who are to hear of it."""

    alarm: Changed
    """As it is now."""
    before: AlarmState


Notify = Callable[[str, Change], Awaitable[None]]
"""Tell an address (an action's ARN or URL) of a change, durably on return (see ``messages``).

Raises NotFound for an address that nothing delivers to.
"""


def moved_to(
    before: StoredAlarm, state: AlarmState, reason: str, reason_data: str | None, now_ms: int
) -> tuple[StoredAlarm, Happening | None]:
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
    happening = Happening(
        alarm=before.name,
        at_ms=now_ms,
        kind="StateUpdate",
        summary=f"Alarm updated from {before.state} to {state}",
        data=reasons.history_data(before, after),
    )
    return after, happening
