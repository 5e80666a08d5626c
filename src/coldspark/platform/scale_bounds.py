"""Tell fleets of their floors: what their windows say, or what somebody set at run time.

A bound that is set at run time wins over windows and policy until it is lifted. It lives in memory
alone: whoever sets one applies it anew after a restart, and may do so as often as it likes.

One timer sleeps until the next edge of all windows. As a sleep counts no time for which the machine
was suspended, and the wall clock may be set, it never sleeps for longer than ``SLEEP_MAX_S``; with
no windows it does not run at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from coldspark import clock
from coldspark.platform import scheduled_scaling
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import ScaleBoundsView, ScaleTransitionView
from coldspark.platform.scheduled_scaling import SchedulePeriod, ScheduleState
from coldspark.spec.messages import FleetEvent, ScaleBoundsChanged, Ticked
from coldspark.spec.scheduled_scaling import ScheduledWindow
from coldspark.spec.types import Revision, ScalePolicy

SLEEP_MAX_S = 30.0
_OPEN = ScaleBoundsChanged(None, None, "the bound was lifted")


@dataclass(slots=True)
class _Watched:
    ahead: SchedulePeriod
    """Worked out when it no longer covers the moment."""
    window: ScheduledWindow | None
    """The one that it was told of last."""
    bound: ScaleBoundsChanged | None = None
    is_held: bool = False
    """Somebody else says its floor for now."""


class FleetScaleBounds:
    """The floors of all fleets of one controller."""

    def __init__(
        self,
        post: Callable[[HostedFleet, FleetEvent], None],
        wall_ms: Callable[[], int] = clock.wall_ms,
    ) -> None:
        """Take who hears of moves, and the clock that people live by."""
        self._post = post
        self._wall_ms = wall_ms
        self._watched: dict[HostedFleet, _Watched] = {}
        self._windowed: dict[HostedFleet, None] = {}
        """Those that have windows, in order."""
        self._timer: asyncio.TimerHandle | None = None

    def initial_event(self, revision: Revision) -> FleetEvent:
        """Return what a fleet is to hear first: its floor is right before anything starts."""
        moved = self._by_windows(revision.spec.scale, None)
        return Ticked() if moved.replicas_min is None else moved

    def watch(self, hosted: HostedFleet) -> None:
        """Tell a fleet of its windows' edges from here on; it has heard ``first``."""
        ahead = scheduled_scaling.schedule_period(_scale(hosted), self._wall_ms())
        self._watched[hosted] = _Watched(ahead, ahead.state.window)
        self._sort(hosted)

    def forget(self, hosted: HostedFleet) -> None:
        """Tell a fleet nothing any more."""
        self._watched.pop(hosted, None)
        self._sort(hosted)

    def suspend(self, hosted: HostedFleet) -> None:
        """Let somebody else say a fleet's floor until ``release``; bounds are only noted."""
        self._watched[hosted].is_held = True

    def resume(self, hosted: HostedFleet) -> None:
        """Tell a fleet what holds now, after somebody else said it."""
        watched = self._watched[hosted]
        watched.is_held = False
        before, watched.window = watched.window, self._now(hosted).window
        self._post(hosted, watched.bound or self._by_windows(_scale(hosted), before))

    def inherit(self, hosted: HostedFleet, former: HostedFleet) -> None:
        """Let the bound of the hosted fleet that it replaces hold for a hosted fleet."""
        if (watched := self._watched.get(former)) is not None:
            self._watched[hosted].bound = watched.bound

    def event_for_revision(
        self, hosted: HostedFleet, revision: Revision
    ) -> ScaleBoundsChanged | None:
        """Return what is to hold with another revision; None where a bound holds on."""
        watched = self._watched[hosted]
        if watched.bound is not None:
            return None
        moved = self._by_windows(revision.spec.scale, watched.window)
        watched.window = scheduled_scaling.schedule_state(
            revision.spec.scale, self._wall_ms()
        ).window
        return moved

    def revision_adopted(self, hosted: HostedFleet) -> None:
        """Hear that a fleet has another revision, or its former one again."""
        if (watched := self._watched.get(hosted)) is not None:
            watched.ahead = scheduled_scaling.schedule_period(_scale(hosted), self._wall_ms())
            self._tell(hosted, watched)
            self._sort(hosted)

    def set_scale(self, hosted: HostedFleet, moved: ScaleBoundsChanged) -> None:
        """Set a floor and a ceiling, whatever the windows say; lift it where both are None."""
        watched = self._watched[hosted]
        if moved.replicas_min is not None or moved.replicas_max is not None:
            watched.bound = moved
            if not watched.is_held:
                self._post(hosted, moved)
        elif watched.is_held:
            watched.bound = None
        elif watched.bound is not None:
            watched.bound = watched.window = None
            self._post(hosted, _OPEN) if self._now(hosted).window is None else self._tell(
                hosted, watched
            )

    def refresh(self) -> None:
        """Tell every fleet whose window has begun or ended, and sleep until the next edge."""
        for hosted in list(self._windowed):
            self._now(hosted)
            self._tell(hosted, self._watched[hosted])
        self._arm()

    def view(self, hosted: HostedFleet) -> ScaleBoundsView:
        """Return what holds now, and from when on it is another."""
        watched, scale = self._watched[hosted], _scale(hosted)
        now = self._now(hosted)
        edge = None if watched.bound else watched.ahead.next_transition
        if watched.bound is not None:
            reason: str | None = watched.bound.reason
        else:
            is_own = now.window is None
            reason = (
                None
                if is_own
                else scheduled_scaling.bounds_event(now, None, self._wall_ms()).reason
            )
        return ScaleBoundsView(
            min=hosted.fleet.replicas_min,
            max=hosted.fleet.replicas_max,
            reason=reason,
            next=None
            if edge is None
            else ScaleTransitionView(
                at_ms=edge.at_ms,
                min=edge.state.replicas_min(scale),
                max=edge.state.replicas_max(scale),
            ),
        )

    def close(self) -> None:
        """Sleep no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _now(self, hosted: HostedFleet) -> ScheduleState:
        """Return what holds now, worked out where it may have changed."""
        watched, now_ms = self._watched[hosted], self._wall_ms()
        if not watched.ahead.covers(now_ms):
            watched.ahead = scheduled_scaling.schedule_period(_scale(hosted), now_ms)
        return watched.ahead.state

    def _tell(self, hosted: HostedFleet, watched: _Watched) -> None:
        """Tell a fleet of its window, unless it knows, or a bound holds."""
        now = watched.ahead.state
        if watched.is_held:
            return
        if watched.bound is None and now.window != watched.window:
            moved = self._by_windows(_scale(hosted), watched.window)
            watched.window = now.window
            self._post(hosted, moved)

    def _by_windows(self, scale: ScalePolicy, before: ScheduledWindow | None) -> ScaleBoundsChanged:
        now_ms = self._wall_ms()
        return scheduled_scaling.bounds_event(
            scheduled_scaling.schedule_state(scale, now_ms), before, now_ms
        )

    def _sort(self, hosted: HostedFleet) -> None:
        """Let the timer look after a fleet that has windows, and after no other."""
        has_windows = hosted in self._watched and bool(_scale(hosted).windows)
        if has_windows:
            self._windowed[hosted] = None
        elif hosted in self._windowed:
            del self._windowed[hosted]
        else:
            return
        self._arm()

    def _arm(self) -> None:
        self.close()
        if not self._windowed:
            return
        now_ms = self._wall_ms()
        ends_ms = [self._watched[hosted].ahead.until_ms for hosted in self._windowed]
        # A millisecond late is on time: one early would find that nothing has changed.
        delays_s = [max(0, end - now_ms) / 1000 + 0.001 for end in ends_ms if end is not None]
        delay_s = min([SLEEP_MAX_S, *delays_s])
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.refresh)


def _scale(hosted: HostedFleet) -> ScalePolicy:
    return hosted.fleet.revision.spec.scale
