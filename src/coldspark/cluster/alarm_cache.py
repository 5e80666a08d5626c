"""A cache of the primary's alarms in another router: those in ALARM, and each change."""

from collections.abc import Callable, Iterable

from coldspark.cluster.messages import AlarmsRaised, AlarmStateChanged, Message
from coldspark.platform.metric_ports import OnAlarm
from coldspark.spec.types import AlarmState


class AlarmStateCache:
    """Implements ``AlarmStates``. Of those that are not in ALARM it knows nothing."""

    def __init__(self) -> None:
        self._raised: set[str] = set()
        self._watchers: list[OnAlarm] = []

    def apply(self, message: Message) -> bool:
        """Handle a message of the primary about alarms; return whether it was one."""
        match message:
            case AlarmsRaised(names):
                self._raised = set(names)
            case AlarmStateChanged(name, state, reason):
                self._set(name, state is AlarmState.ALARM)
                for watcher in list(self._watchers):
                    watcher(name, state, reason)
            case _:
                return False
        return True

    def refresh(self, names: Iterable[str], raised: Iterable[str]) -> None:
        """Set the present state of some alarms: one may have been deleted, and made anew."""
        for name in names:
            self._set(name, name in raised)

    def state(self, name: str) -> AlarmState | None:
        """Return ALARM for an alarm that is in it."""
        return AlarmState.ALARM if name in self._raised else None

    def watch(self, on_alarm: OnAlarm) -> Callable[[], None]:
        """Call ``on_alarm`` at every change of state; return what ends that."""
        self._watchers.append(on_alarm)

        def end() -> None:
            if on_alarm in self._watchers:
                self._watchers.remove(on_alarm)

        return end

    def _set(self, name: str, is_raised: bool) -> None:
        if is_raised:
            self._raised.add(name)
        else:
            self._raised.discard(name)
