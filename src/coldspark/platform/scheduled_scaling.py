"""Which window holds at a moment, and when that changes next. Nothing here reads a clock."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from coldspark.platform.schedule_expressions import CronSchedule, parse_cron, zone_of
from coldspark.spec.messages import ScaleBoundsChanged
from coldspark.spec.scheduled_scaling import ScheduledWindow, effective_window
from coldspark.spec.types import ScalePolicy
from coldspark.spec.units import parse_duration

_EDGES_MAX = 100
"""So many edges at which nothing changes are passed over at a time."""
_DAY_MS = 86_400_000
_SHORT = "'0 8 * * MON-FRI@Europe/Berlin 10h min=2'"


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """What the windows say at one moment."""

    window: ScheduledWindow | None
    """None: no window is open, and the policy's own floor holds."""
    until_ms: int | None = None
    """When that window ends."""

    def replicas_min(self, scale: ScalePolicy) -> int:
        """Return the floor that follows."""
        return scale.replicas_min if self.window is None else self.window.replicas_min

    def replicas_max(self, scale: ScalePolicy) -> int:
        """Return the ceiling that follows."""
        most = scale.replicas_max
        return most if self.window is None else self.window.replicas_max_under(most)


@dataclass(frozen=True, slots=True)
class ScheduleTransition:
    """A moment from which on another window holds, or none."""

    at_ms: int
    state: ScheduleState


def check_schedule(windows: Sequence[ScheduledWindow]) -> None:
    """Refuse a window whose cron or zone cannot be read. Raises ValueError."""
    for window in windows:
        _cron_of(window)


def schedule_state(scale: ScalePolicy, now_ms: int) -> ScheduleState:
    """Return what holds at a moment; of open windows the highest floor wins."""
    ends = {window: end for window in scale.windows if (end := _end_ms(window, now_ms)) > now_ms}
    window = effective_window(ends, scale.replicas_max)
    return ScheduleState(None) if window is None else ScheduleState(window, ends[window])


@dataclass(frozen=True, slots=True)
class SchedulePeriod:
    """What holds from ``since_ms`` until ``until_ms`` (None: for ever), and what then."""

    since_ms: int
    state: ScheduleState
    next_transition: ScheduleTransition | None
    """None: as far as was looked, nothing changes."""
    until_ms: int | None

    def covers(self, now_ms: int) -> bool:
        """Return whether it says what holds at a moment."""
        is_before_end = self.until_ms is None or now_ms < self.until_ms
        return self.since_ms <= now_ms and is_before_end


def schedule_period(scale: ScalePolicy, now_ms: int) -> SchedulePeriod:
    """Return what holds now and what comes next."""
    now = schedule_state(scale, now_ms)
    at_ms: int | None = now_ms
    for _ in range(_EDGES_MAX):
        at_ms = _next_ms(scale.windows, at_ms or 0)
        if at_ms is None:
            break
        found = schedule_state(scale, at_ms)
        if found.window != now.window:
            return SchedulePeriod(now_ms, now, ScheduleTransition(at_ms, found), at_ms)
    return SchedulePeriod(now_ms, now, None, at_ms)


def transitions(scale: ScalePolicy, since_ms: int, until_ms: int) -> Iterator[ScheduleTransition]:
    """Yield each moment after ``since_ms`` at which another window holds, or none."""
    at_ms: int | None = since_ms
    while at_ms is not None and at_ms < until_ms:
        ahead = schedule_period(scale, at_ms)
        at_ms = ahead.until_ms
        if ahead.next_transition is not None and ahead.next_transition.at_ms < until_ms:
            yield ahead.next_transition


def bounds_event(
    now: ScheduleState, before: ScheduledWindow | None, now_ms: int
) -> ScaleBoundsChanged:
    """Return what a fleet is to be told, with the reason in words."""
    window = now.window
    if window is None or now.until_ms is None:
        reason = "no window is open" if before is None else f"{before} ended"
        return ScaleBoundsChanged(None, None, reason)
    many = "replica" if window.replicas_min == 1 else "replicas"
    until = _local(now.until_ms, now_ms, window)
    reason = f"{window}: {window.replicas_min} {many} until {until}"
    return ScaleBoundsChanged(window.replicas_min, window.replicas_max, reason)


def bounds_events(
    scale: ScalePolicy, since_ms: int, until_ms: int
) -> list[tuple[int, ScaleBoundsChanged]]:
    """Return all that a fleet is told from one moment to another, the first at ``since_ms``."""
    first = schedule_state(scale, since_ms)
    found = [(since_ms, bounds_event(first, None, since_ms))]
    before = first.window
    for edge in transitions(scale, since_ms, until_ms):
        found.append((edge.at_ms, bounds_event(edge.state, before, edge.at_ms)))
        before = edge.state.window
    return found


def read_window(text: str) -> ScheduledWindow:
    """Read the short form ``CRON[@ZONE] LASTS min=N [max=N]``. Raises ValueError."""
    words = text.split()
    counts = dict(word.split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    if len(plain) != 6 or not {"min"} <= counts.keys() <= {"min", "max"}:
        raise ValueError(f"window {text!r} must be such as {_SHORT}")
    cron, _, zone = " ".join(plain[:5]).partition("@")
    try:
        most = int(counts["max"]) if "max" in counts else None
        least, lasts_s = int(counts["min"]), parse_duration(plain[5])
    except ValueError as error:
        raise ValueError(f"window {text!r} must be such as {_SHORT}: {error}") from None
    window = ScheduledWindow(
        cron=cron, time_zone=zone or "UTC", lasts_s=lasts_s, replicas_min=least, replicas_max=most
    )
    _cron_of(window)
    return window


@lru_cache(maxsize=1024)
def _parsed(cron: str, time_zone: str) -> CronSchedule:
    return parse_cron(cron, time_zone)


def _cron_of(window: ScheduledWindow) -> CronSchedule:
    return _parsed(window.cron, window.time_zone)


def _end_ms(window: ScheduledWindow, now_ms: int) -> int:
    """Return when the window that began last ends, or ended; 0 where none ever began."""
    began_ms = _cron_of(window).previous_at_or_before(now_ms)
    return 0 if began_ms is None else began_ms + round(window.lasts_s * 1000)


def _next_ms(windows: Sequence[ScheduledWindow], now_ms: int) -> int | None:
    """Return the next moment at which a window begins or ends."""
    found = [end for window in windows if (end := _end_ms(window, now_ms)) > now_ms]
    begins = [_cron_of(window).next_after(now_ms) for window in windows]
    return min([*found, *(begin for begin in begins if begin is not None)], default=None)


def _local(ms: int, now_ms: int, window: ScheduledWindow) -> str:
    """Write a moment in the window's zone: with its date where it is not within a day."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone_of(window.time_zone))
    return f"{moment:%H:%M}" if ms - now_ms < _DAY_MS else f"{moment:%Y-%m-%d %H:%M}"
