"""Everything about one variant of one endpoint: its queue, its replicas, dispatch and scaling.

The law of a fleet:

1. State changes only inside ``step``; the caller performs the effects and posts what came of them.
2. Late binding: a request gets a replica only when one has a free slot. Nobody waits while a slot
   is free, and no replica ever holds more than its slots.
3. Every request that arrived leaves by exactly one of: finished by its replica, ``Reject``.
4. Every wait has an end: ``WakeAt`` is armed whenever time alone can change something.
5. A warm request costs O(1): no replica is scanned.

This file passes each event to the part that handles it. Each part also calls those above it:

- ``state``: what all of them share
- ``replica_lifecycle``: the transitions by which replicas come and go
- ``rollout``: from one revision to another, or back
- ``replica_scaling``: how many replicas, by the rule in ``policies``
- ``idle_policy``: how warm an unneeded replica is kept, by ``keep_alive_plan``
- ``dispatch``: which request goes where, and how each ends
- ``replica_starts``: from the reservation request to a ready replica, or to a failed start
"""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.dispatch import RequestDispatch
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.fleet.replica_lifecycle import ReplicaLifecycle
from coldspark.fleet.replica_scaling import ReplicaScaling
from coldspark.fleet.replica_starts import ReplicaStarts
from coldspark.fleet.rollout import Rollout
from coldspark.fleet.state import DecisionRecord, FleetState
from coldspark.spec import failures
from coldspark.spec.messages import (
    BacklogChanged,
    EvictionRequested,
    FleetEffect,
    FleetEvent,
    ParkFailed,
    RareEvent,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    ReservationGranted,
    ReservationRefused,
    Retired,
    RevisionAdopted,
    ScaleBoundsChanged,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import EndpointStatus, FleetId, ReplicaId, Revision

__all__ = ("EvictionCandidate", "Fleet", "DecisionRecord")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionCandidate:
    """What placement knows of a replica when it chooses which one to evict."""

    idle_since_s: float | None
    is_evictable: bool
    """It is ready, and not one of ``replicas_min``."""
    is_superseded: bool
    """It runs a revision that is being replaced."""
    is_terminating: bool
    """It is draining or stopping already."""
    start_s: float
    """Seconds that starting it again would cost its endpoint."""


class Fleet:
    """One variant of one endpoint, decided in one place."""

    def __init__(self, fleet: FleetId, revision: Revision, *, replica_prefix: str = "") -> None:
        self._state = FleetState(fleet, replica_prefix or f"{fleet}.", revision)
        self._open = self._state.queue.opened
        self._concurrency_levels = self._state.concurrency_levels
        self._lifecycle = ReplicaLifecycle(self._state)
        self._rollout = Rollout(self._state, self._lifecycle)
        self._scaling = ReplicaScaling(self._state, self._lifecycle, self._rollout)
        self._dispatch = RequestDispatch(self._state, self._lifecycle, self._scaling)
        self._starts = ReplicaStarts(
            self._state, self._lifecycle, self._rollout, self._scaling, self._dispatch
        )
        self._armed_s = NEVER

    @property
    def id(self) -> FleetId:
        """Return ``endpoint/variant``."""
        return self._state.id

    @property
    def replica_prefix(self) -> str:
        """Return the prefix of its replicas' ids; a number from 1 follows."""
        return self._state.prefix

    @property
    def revision(self) -> Revision:
        """Return the desired revision."""
        return self._state.revision

    @property
    def decisions(self) -> deque[DecisionRecord]:
        """Return the latest decisions, oldest first. Read only."""
        return self._state.decisions

    @property
    def status(self) -> EndpointStatus:
        """Return the variant's status."""
        if self._state.is_retired:
            return EndpointStatus.RETIRING
        if self._state.start_budget.failure is not None:
            return EndpointStatus.FAILED
        return EndpointStatus.UPDATING if self._rollout.is_underway else EndpointStatus.READY

    @property
    def failure(self) -> str | None:
        """Return why it FAILED, or why its last update was rolled back."""
        failure = self._state.start_budget.failure
        return failure.message if failure else self._rollout.failure

    @property
    def has_started(self) -> bool:
        """Return whether any replica of it ever became ready."""
        return self._state.starts_s.taken > 0

    @property
    def replicas_min(self) -> int:
        """Return how many ready replicas are kept now, whatever happens."""
        return self._state.scale.replicas_min

    @property
    def replicas_max(self) -> int:
        """Return how many replicas there may be now."""
        return self._state.scale.replicas_max

    @property
    def queued(self) -> int:
        """Return how many requests wait."""
        return self._state.queue.queued

    @property
    def running(self) -> int:
        """Return how many requests replicas work on."""
        return self._state.queue.open - self._state.queue.queued

    @property
    def is_gone(self) -> bool:
        """Return whether a retired fleet has nothing left."""
        state = self._state
        return state.is_retired and not len(state.replicas) and not state.queue.open

    def replicas(self) -> list[Replica]:
        """Return the replicas, oldest first. Read only."""
        return list(self._state.replicas)

    def start_s(self) -> float | None:
        """Return the median of the measured starts, in seconds."""
        return self._state.starts_s.quantile(0.5)

    def eviction_candidate(self, replica: ReplicaId) -> EvictionCandidate | None:
        """Return what placement knows of a replica, or None when it is not this fleet's."""
        found = self._state.replicas.find(replica)
        if found is None:
            return None
        is_superseded = found.revision.id != self.revision.id
        is_spare = self._state.replicas.ready > self.replicas_min
        is_parked = found.state is ReplicaState.PARKED
        return EvictionCandidate(
            idle_since_s=found.parked_s if is_parked else found.idle_since_s,
            is_evictable=is_parked
            or (found.state is ReplicaState.READY and (is_superseded or is_spare)),
            is_superseded=is_superseded,
            is_terminating=found.state in (ReplicaState.DRAINING, ReplicaState.STOPPING),
            start_s=self.start_s() or 1.0,
        )

    def step(self, event: FleetEvent, now: float) -> list[FleetEffect]:
        """Take one event at ``now`` (monotonic seconds); return what shall be done, in order."""
        effects: list[FleetEffect] = []
        if self._state.policy_state.next_tick_s <= now:
            self._advance_ticks(now)
        if isinstance(event, RequestArrived):
            is_on = self._dispatch.arrive(event, now, effects)
            self._measure(now)
            if not is_on or event.deadline_s < self._armed_s or event.run_s is not None:
                self._arm(now, effects)
        elif isinstance(event, RequestFinished):
            is_all = self._dispatch.finish(event.request, now, effects)
            self._measure(now)
            if self._state.queue.run_limited:
                # A request that was taken in its place may have a nearer deadline from now on.
                self._arm(now, effects)
            elif not is_all:
                # All else was armed for already; that tick works out what idleness leads to.
                self._arm_by(now + self._scaling.idle_min_s(), effects)
        else:
            self._handle(event, now, effects)
            self._measure(now)
            self._arm(now, effects)
            return effects
        if not self._state.policy_state.decision.is_fixed:
            self._arm_by(self._scaling.next_evaluation_s(), effects)
        return effects

    def _advance_ticks(self, now: float) -> None:
        """Bring a rule that ticks up to now, before anything new happens."""
        state = self._state
        scale = state.revision.spec.scale
        state.policy_state.advance(scale, state.queue.open, state.replicas.ready, now)

    def _measure(self, now: float) -> None:
        """Record how many replicas the open requests fill, if that has changed."""
        open, levels = len(self._open), self._concurrency_levels
        demand = self._state.policy_state.demand
        if demand is not None:
            demand.record(open, now)
        if open > levels.rises_above or open <= levels.falls_at:
            scale = self._state.scale
            levels.measure(open, scale.concurrency, scale.replicas_max, now)

    def _handle(self, event: RareEvent, now: float, effects: list[FleetEffect]) -> None:
        match event:
            case RequestCancelled(request):
                self._dispatch.cancel(request, now, effects)
            case BacklogChanged(jobs):
                self._state.jobs_waiting = jobs
                self._scaling.rescale(now, effects)
            case Ticked():
                self._tick(now, effects)
            case ReservationGranted(replica):
                self._starts.grant(replica, now, effects)
            case ReservationRefused(replica, reason):
                self._starts.refuse(replica, reason, now, effects)
            case ReplicaReady(replica):
                self._starts.mark_ready(replica, now, effects)
            case ReplicaExited(replica, exit):
                self._starts.exit(replica, exit, now, effects)
            case ReplicaParked(replica):
                self._starts.mark_parked(replica, now, effects)
            case ParkFailed(replica, reason):
                self._starts.park_failed(replica, reason, now, effects)
            case EvictionRequested(replica, reason):
                self._evict(replica, reason, now, effects)
            case ScaleBoundsChanged():
                self._set_scale(event, now, effects)
            case RevisionAdopted(revision, change):
                if change is not None:
                    self._state.set_scale(change)
                self._rollout.adopt(revision, now, effects)
                self._apply_bounds(now, effects)
            case Retired():
                self._retire(now, effects)
            case _:
                assert_never(event)

    def _tick(self, now: float, effects: list[FleetEffect]) -> None:
        self._armed_s = NEVER
        self._dispatch.expire(now, effects)
        self._starts.expire(now, effects)
        self._scaling.expire_idle(now, effects)
        self._scaling.rescale(now, effects)
        self._scaling.prewarm(now, effects)

    def _set_scale(
        self, change: ScaleBoundsChanged, now: float, effects: list[FleetEffect]
    ) -> None:
        state = self._state
        before = (self.replicas_min, self.replicas_max)
        state.set_scale(change)
        if (self.replicas_min, self.replicas_max) != before:
            state.record_decision(
                now, f"floor {self.replicas_min}, ceiling {self.replicas_max}", change.reason
            )
        self._apply_bounds(now, effects)

    def _apply_bounds(self, now: float, effects: list[FleetEffect]) -> None:
        """Apply replica bounds that may have changed."""
        scale = self._state.scale
        self._rollout.clamp_to_bounds()
        self._scaling.rescale(now, effects)
        self._concurrency_levels.measure(
            len(self._open), scale.concurrency, scale.replicas_max, now
        )

    def _evict(self, name: ReplicaId, reason: str, now: float, effects: list[FleetEffect]) -> None:
        replica = self._state.replicas.find(name)
        if replica is None:
            return
        if replica.state is ReplicaState.READY:
            self._lifecycle.drain(replica, now, f"evicted: {reason}", effects)
            self._scaling.record_eviction()
        elif replica.state is ReplicaState.PARKED:
            self._lifecycle.stop(replica, now, f"evicted: {reason}", effects, grace_s=0.0)
        self._scaling.rescale(now, effects)

    def _retire(self, now: float, effects: list[FleetEffect]) -> None:
        self._state.is_retired = True
        self._rollout.abandon()
        self._dispatch.fail_queue(failures.retired(self.id), effects)
        for replica in self._state.replicas:
            if replica.state in (ReplicaState.PLACING, ReplicaState.STARTING):
                self._lifecycle.cancel_start(replica, now, "endpoint deleted", effects)
            elif replica.state is ReplicaState.READY:
                self._lifecycle.drain(replica, now, "endpoint deleted", effects)
            elif replica.state is ReplicaState.PARKED:
                self._lifecycle.stop(replica, now, "endpoint deleted", effects, grace_s=0.0)

    def _arm(self, now: float, effects: list[FleetEffect]) -> None:
        """Request a tick at the next moment when time alone changes something."""
        next_s = min(
            self._state.queue.next_s(), self._scaling.next_s(now), self._starts.next_s(now)
        )
        self._arm_by(next_s, effects)

    def _arm_by(self, next_s: float, effects: list[FleetEffect]) -> None:
        if next_s < self._armed_s:
            self._armed_s = next_s
            effects.append(WakeAt(next_s))

    def check(self) -> None:
        """Assert what must hold after every step."""
        state, roster = self._state, self._state.replicas
        roster.check()
        state.queue.check(list(roster))
        state.start_budget.check()
        state.concurrency_levels.check()
        self._rollout.check()
        assert state.is_retired or roster.live_count(self.revision.id) <= self.replicas_max
        assert not (state.is_retired and state.queue.queued)
        if state.queue.queued:
            has_room = any(replica.has_free_slot for replica in roster)
            assert not has_room, "a slot is free while a request waits"
            assert self._armed_s < NEVER, "a request waits and no tick is armed"
            assert len(roster) or state.start_budget.failed, "a request waits for nothing"
