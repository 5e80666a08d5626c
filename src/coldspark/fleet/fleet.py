"""Everything about one variant of one endpoint: its queue, its replicas, dispatch and scaling.

The law of a fleet:

1. State changes only inside ``step``; the caller performs the effects and posts what came of them.
2. Late binding: a request gets a replica only when one has a free slot. Nobody waits while a slot
   is free, and no replica ever holds more than its slots.
3. Every request that arrived leaves by exactly one of: finished by its replica, ``Reject``.
4. Every wait has an end: ``WakeAt`` is armed whenever time alone can change something.
5. A warm request costs O(1): no replica is scanned.

This file says which part hears of which event. Each part also calls those above it:

- ``state``: what all of them share
- ``lives``: the effects by which replicas come and go
- ``rollout``: from one revision to another, or back
- ``scaling``: how many replicas, by the rule in ``autoscaling``
- ``resting``: on which rung those rest that nobody needs, by ``descent``
- ``dispatch``: which request goes where, and how each ends
- ``starting``: from the ask for room to a ready replica, or to a failed start
"""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.dispatch import Dispatch
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import Lives
from coldspark.fleet.replica_scaling import Scaling
from coldspark.fleet.replica_starts import Starting
from coldspark.fleet.rollout import Rollout
from coldspark.fleet.state import FleetState, Note
from coldspark.spec import failures
from coldspark.spec.messages import (
    BacklogSeen,
    EvictionAsked,
    FleetEffect,
    FleetEvent,
    FloorMoved,
    ParkFailed,
    RareEvent,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    Retired,
    RevisionAdopted,
    RoomGranted,
    RoomRefused,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import EndpointStatus, FleetId, ReplicaId, Revision

__all__ = ("Advice", "Fleet", "Note")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What placement may know of a replica when it chooses whom to ask for room."""

    idle_since_s: float | None
    is_evictable: bool
    """It is ready, and not one of ``replicas_min``."""
    is_superseded: bool
    """It runs a revision that is being replaced."""
    is_leaving: bool
    """It drains or stops already."""
    start_s: float
    """What starting it again would cost its endpoint."""


class Fleet:
    """One variant of one endpoint, decided in one place."""

    def __init__(self, fleet: FleetId, revision: Revision, *, replica_prefix: str = "") -> None:
        self._state = FleetState(fleet, replica_prefix or f"{fleet}.", revision)
        self._open = self._state.book.opened
        self._levels = self._state.levels
        self._lives = Lives(self._state)
        self._rollout = Rollout(self._state, self._lives)
        self._scaling = Scaling(self._state, self._lives, self._rollout)
        self._dispatch = Dispatch(self._state, self._lives, self._scaling)
        self._starting = Starting(
            self._state, self._lives, self._rollout, self._scaling, self._dispatch
        )
        self._armed_s = NEVER

    @property
    def id(self) -> FleetId:
        """Return ``endpoint/variant``."""
        return self._state.id

    @property
    def prefix(self) -> str:
        """Return what its replicas' ids begin with; a number from 1 follows."""
        return self._state.prefix

    @property
    def revision(self) -> Revision:
        """Return what shall run."""
        return self._state.revision

    @property
    def notes(self) -> deque[Note]:
        """Return the latest decisions, oldest first. Read only."""
        return self._state.notes

    @property
    def status(self) -> EndpointStatus:
        """Return what the variant is now."""
        if self._state.is_retired:
            return EndpointStatus.RETIRING
        if self._state.budget.failure is not None:
            return EndpointStatus.FAILED
        return EndpointStatus.UPDATING if self._rollout.is_underway else EndpointStatus.READY

    @property
    def failure(self) -> str | None:
        """Return why it FAILED, or why its last update was taken back."""
        failure = self._state.budget.failure
        return failure.message if failure else self._rollout.failure

    @property
    def has_started(self) -> bool:
        """Return whether any replica of it ever became ready."""
        return self._state.starts_s.taken > 0

    @property
    def floor(self) -> int:
        """Return how many ready replicas are kept now, whatever happens."""
        return self._state.scale.replicas_min

    @property
    def ceiling(self) -> int:
        """Return how many replicas there may be now."""
        return self._state.scale.replicas_max

    @property
    def queued(self) -> int:
        """Return how many requests wait."""
        return self._state.book.queued

    @property
    def running(self) -> int:
        """Return how many requests replicas work on."""
        return self._state.book.open - self._state.book.queued

    @property
    def is_gone(self) -> bool:
        """Return whether a retired fleet has nothing left."""
        state = self._state
        return state.is_retired and not len(state.roster) and not state.book.open

    def replicas(self) -> list[Replica]:
        """Return the replicas, oldest first. Read only."""
        return list(self._state.roster)

    def start_s(self) -> float | None:
        """Return the median of the measured starts, in seconds."""
        return self._state.starts_s.quantile(0.5)

    def advise(self, replica: ReplicaId) -> Advice | None:
        """Return what placement may know, or None when it is not this fleet's."""
        found = self._state.roster.find(replica)
        if found is None:
            return None
        is_superseded = found.revision.id != self.revision.id
        is_spare = self._state.roster.ready > self.floor
        is_parked = found.state is ReplicaState.PARKED
        return Advice(
            idle_since_s=found.parked_s if is_parked else found.idle_since_s,
            is_evictable=is_parked
            or (found.state is ReplicaState.READY and (is_superseded or is_spare)),
            is_superseded=is_superseded,
            is_leaving=found.state in (ReplicaState.DRAINING, ReplicaState.STOPPING),
            start_s=self.start_s() or 1.0,
        )

    def step(self, event: FleetEvent, now: float) -> list[FleetEffect]:
        """Take one event at ``now`` (monotonic seconds); return what shall be done, in order."""
        effects: list[FleetEffect] = []
        if self._state.ruling.due_s <= now:
            self._work_out_ticks(now)
        if isinstance(event, RequestArrived):
            is_on = self._dispatch.arrive(event, now, effects)
            self._measure(now)
            if not is_on or event.deadline_s < self._armed_s or event.run_s is not None:
                self._arm(now, effects)
        elif isinstance(event, RequestFinished):
            is_all = self._dispatch.finish(event.request, now, effects)
            self._measure(now)
            if self._state.book.timed_runs:
                # A request that was taken in its place may have a nearer deadline from now on.
                self._arm(now, effects)
            elif not is_all:
                # All else was armed for already; that tick works out what idleness leads to.
                self._arm_by(now + self._scaling.idles_for_s(), effects)
        else:
            self._hear(event, now, effects)
            self._measure(now)
            self._arm(now, effects)
            return effects
        if not self._state.ruling.verdict.is_firm:
            self._arm_by(self._scaling.looks_s(), effects)
        return effects

    def _work_out_ticks(self, now: float) -> None:
        """Let a rule that ticks see what was until now, before anything new happens."""
        state = self._state
        scale = state.revision.spec.scale
        state.ruling.advance(scale, state.book.open, state.roster.ready, now)

    def _measure(self, now: float) -> None:
        """Note how many replicas the open requests fill, if that has changed."""
        open, levels = len(self._open), self._levels
        demand = self._state.ruling.demand
        if demand is not None:
            demand.note(open, now)
        if open > levels.over or open <= levels.under:
            scale = self._state.scale
            levels.measure(open, scale.concurrency, scale.replicas_max, now)

    def _hear(self, event: RareEvent, now: float, effects: list[FleetEffect]) -> None:
        match event:
            case RequestCancelled(request):
                self._dispatch.cancel(request, now, effects)
            case BacklogSeen(jobs):
                self._state.backlog = jobs
                self._scaling.rescale(now, effects)
            case Ticked():
                self._tick(now, effects)
            case RoomGranted(replica):
                self._starting.grant(replica, now, effects)
            case RoomRefused(replica, reason):
                self._starting.refuse(replica, reason, now, effects)
            case ReplicaReady(replica):
                self._starting.become_ready(replica, now, effects)
            case ReplicaExited(replica, exit):
                self._starting.exit(replica, exit, now, effects)
            case ReplicaParked(replica):
                self._starting.parked(replica, now, effects)
            case ParkFailed(replica, reason):
                self._starting.park_failed(replica, reason, now, effects)
            case EvictionAsked(replica, reason):
                self._evict(replica, reason, now, effects)
            case FloorMoved():
                self._move_floor(event, now, effects)
            case RevisionAdopted(revision, moved):
                if moved is not None:
                    self._state.move_floor(moved)
                self._rollout.adopt(revision, now, effects)
                self._bound(now, effects)
            case Retired():
                self._retire(now, effects)
            case _:
                assert_never(event)

    def _tick(self, now: float, effects: list[FleetEffect]) -> None:
        self._armed_s = NEVER
        self._dispatch.expire(now, effects)
        self._starting.expire(now, effects)
        self._scaling.expire_idle(now, effects)
        self._scaling.rescale(now, effects)
        self._scaling.wake_ahead(now, effects)

    def _move_floor(self, moved: FloorMoved, now: float, effects: list[FleetEffect]) -> None:
        state = self._state
        before = (self.floor, self.ceiling)
        state.move_floor(moved)
        if (self.floor, self.ceiling) != before:
            state.note(now, f"floor {self.floor}, ceiling {self.ceiling}", moved.reason)
        self._bound(now, effects)

    def _bound(self, now: float, effects: list[FleetEffect]) -> None:
        """Keep to a floor and a ceiling that may be new."""
        scale = self._state.scale
        self._rollout.rebound()
        self._scaling.rescale(now, effects)
        self._levels.measure(len(self._open), scale.concurrency, scale.replicas_max, now)

    def _evict(self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]) -> None:
        replica = self._state.roster.find(name)
        if replica is None:
            return
        if replica.state is ReplicaState.READY:
            self._lives.send_away(replica, now, f"evicted: {reason}", effects)
            self._scaling.evicted()
        elif replica.state is ReplicaState.PARKED:
            self._lives.stop(replica, now, f"evicted: {reason}", effects, grace_s=0.0)
        self._scaling.rescale(now, effects)

    def _retire(self, now: float, effects: list[FleetEffect]) -> None:
        self._state.is_retired = True
        self._rollout.abandon()
        self._dispatch.fail_queue(failures.retired(self.id), effects)
        for replica in self._state.roster:
            if replica.state in (ReplicaState.PLACING, ReplicaState.STARTING):
                self._lives.call_off(replica, now, "endpoint deleted", effects)
            elif replica.state is ReplicaState.READY:
                self._lives.send_away(replica, now, "endpoint deleted", effects)
            elif replica.state is ReplicaState.PARKED:
                self._lives.stop(replica, now, "endpoint deleted", effects, grace_s=0.0)

    def _arm(self, now: float, effects: list[FleetEffect]) -> None:
        """Ask for a tick at the next moment when time alone changes something."""
        next_s = min(
            self._state.book.next_s(), self._scaling.next_s(now), self._starting.next_s(now)
        )
        self._arm_by(next_s, effects)

    def _arm_by(self, next_s: float, effects: list[FleetEffect]) -> None:
        if next_s < self._armed_s:
            self._armed_s = next_s
            effects.append(WakeAt(next_s))

    def check(self) -> None:
        """Assert what must hold after every step."""
        state, roster = self._state, self._state.roster
        roster.check()
        state.book.check(list(roster))
        state.budget.check()
        state.levels.check()
        self._rollout.check()
        assert state.is_retired or roster.live(self.revision.id) <= self.ceiling
        assert not (state.is_retired and state.book.queued)
        if state.book.queued:
            has_room = any(replica.has_room for replica in roster)
            assert not has_room, "a slot is free while a request waits"
            assert self._armed_s < NEVER, "a request waits and no tick is armed"
            assert len(roster) or state.budget.failed, "a request waits for nothing"
