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

    def watch(self, cell: HostedFleet) -> None:
        """Tell a fleet of its windows' edges from here on; it has heard ``first``."""
        ahead = scheduled_scaling.schedule_period(_scale(cell), self._wall_ms())
        self._watched[cell] = _Watched(ahead, ahead.state.window)
        self._sort(cell)

    def forget(self, cell: HostedFleet) -> None:
        """Tell a fleet nothing any more."""
        self._watched.pop(cell, None)
        self._sort(cell)

    def suspend(self, cell: HostedFleet) -> None:
        """Let somebody else say a fleet's floor until ``release``; bounds are only noted."""
        self._watched[cell].is_held = True

    def resume(self, cell: HostedFleet) -> None:
        """Tell a fleet what holds now, after somebody else said it."""
        watched = self._watched[cell]
        watched.is_held = False
        before, watched.window = watched.window, self._now(cell).window
        self._post(cell, watched.bound or self._by_windows(_scale(cell), before))

    def inherit(self, cell: HostedFleet, former: HostedFleet) -> None:
        """Let the bound of the cell that it replaces hold for a cell."""
        if (watched := self._watched.get(former)) is not None:
            self._watched[cell].bound = watched.bound

    def event_for_revision(
        self, cell: HostedFleet, revision: Revision
    ) -> ScaleBoundsChanged | None:
        """Return what is to hold with another revision; None where a bound holds on."""
        watched = self._watched[cell]
        if watched.bound is not None:
            return None
        moved = self._by_windows(revision.spec.scale, watched.window)
        watched.window = scheduled_scaling.schedule_state(
            revision.spec.scale, self._wall_ms()
        ).window
        return moved

    def revision_adopted(self, cell: HostedFleet) -> None:
        """Hear that a fleet has another revision, or its former one again."""
        if (watched := self._watched.get(cell)) is not None:
            watched.ahead = scheduled_scaling.schedule_period(_scale(cell), self._wall_ms())
            self._tell(cell, watched)
            self._sort(cell)

    def set_scale(self, cell: HostedFleet, moved: ScaleBoundsChanged) -> None:
        """Set a floor and a ceiling, whatever the windows say; lift it where both are None."""
        watched = self._watched[cell]
        if moved.replicas_min is not None or moved.replicas_max is not None:
            watched.bound = moved
            if not watched.is_held:
                self._post(cell, moved)
        elif watched.is_held:
            watched.bound = None
        elif watched.bound is not None:
            watched.bound = watched.window = None
            self._post(cell, _OPEN) if self._now(cell).window is None else self._tell(cell, watched)

    def refresh(self) -> None:
        """Tell every fleet whose window has begun or ended, and sleep until the next edge."""
        for cell in list(self._windowed):
            self._now(cell)
            self._tell(cell, self._watched[cell])
        self._arm()

    def view(self, cell: HostedFleet) -> ScaleBoundsView:
        """Return what holds now, and from when on it is another."""
        watched, scale = self._watched[cell], _scale(cell)
        now = self._now(cell)
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
            min=cell.fleet.replicas_min,
            max=cell.fleet.replicas_max,
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

    def _now(self, cell: HostedFleet) -> ScheduleState:
        """Return what holds now, worked out where it may have changed."""
        watched, now_ms = self._watched[cell], self._wall_ms()
        if not watched.ahead.covers(now_ms):
            watched.ahead = scheduled_scaling.schedule_period(_scale(cell), now_ms)
        return watched.ahead.state

    def _tell(self, cell: HostedFleet, watched: _Watched) -> None:
        """Tell a fleet of its window, unless it knows, or a bound holds."""
        now = watched.ahead.state
        if watched.is_held:
            return
        if watched.bound is None and now.window != watched.window:
            moved = self._by_windows(_scale(cell), watched.window)
            watched.window = now.window
            self._post(cell, moved)

    def _by_windows(self, scale: ScalePolicy, before: ScheduledWindow | None) -> ScaleBoundsChanged:
        now_ms = self._wall_ms()
        return scheduled_scaling.bounds_event(
            scheduled_scaling.schedule_state(scale, now_ms), before, now_ms
        )

    def _sort(self, cell: HostedFleet) -> None:
        """Let the timer look after a fleet that has windows, and after no other."""
        has_windows = cell in self._watched and bool(_scale(cell).windows)
        if has_windows:
            self._windowed[cell] = None
        elif cell in self._windowed:
            del self._windowed[cell]
        else:
            return
        self._arm()

    def _arm(self) -> None:
        self.close()
        if not self._windowed:
            return
        now_ms = self._wall_ms()
        ends_ms = [self._watched[cell].ahead.until_ms for cell in self._windowed]
        # A millisecond late is on time: one early would find that nothing has changed.
        delays_s = [max(0, end - now_ms) / 1000 + 0.001 for end in ends_ms if end is not None]
        delay_s = min([SLEEP_MAX_S, *delays_s])
        self._timer = asyncio.get_running_loop().call_later(delay_s, self.refresh)


def _scale(cell: HostedFleet) -> ScalePolicy:
    return cell.fleet.revision.spec.scale
