"""One change of an endpoint as it happens: what ``fleet/deployment`` decides, done.

Blue is the traffic split that serves, green the one that is to replace it. A variant whose
revision stays the same has one hosted fleet in both. While the change is under way, scale bounds
keep what blue has and what green was started with from being idled or evicted away. What windows
and bounds say is noted meanwhile, and holds again when the change is over.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, assert_never

from coldspark import clock
from coldspark.fleet.deployment import (
    BeginRollback,
    BlueReady,
    DeploymentAlarmRaised,
    DeploymentBegun,
    DeploymentEffect,
    DeploymentEvent,
    DeploymentPhase,
    DeploymentSuperseded,
    FinishDeployment,
    FinishRollback,
    GreenFailed,
    GreenReady,
    ReplacedInPlace,
    ReplaceInPlace,
    ReplacementFailed,
    ReservationMissing,
    RestoreInPlace,
    ScaleFleets,
    ShiftTraffic,
    TrafficDeployment,
)
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.platform.controller import Controller
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.metric_ports import AlarmStates
from coldspark.platform.ports import DeploymentView
from coldspark.platform.scale_bounds import FleetScaleBounds
from coldspark.platform.traffic_split import TrafficSplit
from coldspark.spec.deployment_policy import DeploymentStrategy
from coldspark.spec.messages import EvictionRequested, ScaleBoundsChanged, Ticked, WakeAt
from coldspark.spec.types import (
    AlarmState,
    EndpointDefinition,
    EndpointStatus,
    VariantDefinition,
    VariantName,
)

_log = logging.getLogger(__name__)
CAPACITY_TIMEOUT_S = 10.0
"""For how long green may wait for room beside blue."""
_TIMER_SLACK_S = 0.001
_SLACK = 1e-6
_PRESENT = (ReplicaState.PLACING, ReplicaState.STARTING, ReplicaState.READY)


class DeploymentCallbacks(Protocol):
    """What a change asks of its endpoint."""

    def replace_in_place(self, definition: EndpointDefinition) -> None:
        """Let the hosted fleets that serve run a definition's revisions."""

    def take_back(self) -> None:
        """Write down that the former definition is what shall be."""

    def conclude(self) -> None:
        """Let green be the traffic split, and blue go."""

    def revert(self, reason: str) -> None:
        """Let blue stay the traffic split, and green go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionChange:
    """From which definition to which."""

    old: EndpointDefinition
    new: EndpointDefinition
    elapsed_s: float
    """Since it was asked for: a restart in the middle begins it anew, but not its deadline."""


class EndpointDeployment:
    """One change, from its begin to its end."""

    def __init__(
        self,
        change: DefinitionChange,
        blue: TrafficSplit,
        *,
        controller: Controller,
        floors: FleetScaleBounds,
        owner: DeploymentCallbacks,
        alarms: AlarmStates | None,
    ) -> None:
        policy = change.new.shift
        assert policy is not None
        self._change = change
        self._policy = policy
        self._controller = controller
        self._floors = floors
        self._owner = owner
        self._alarms = alarms
        self.changed = _changed(change)
        """Which variants are other ones, by name; the rest serves on as it is."""
        self.blue = blue
        self.green = TrafficSplit(change.new.variants)
        self._blue_counts = {name: _present(hosted) for name, hosted in blue.hosted_fleets.items()}
        self._green_counts = self._wanted()
        replicas = max(1, sum(self._blue_counts.values()))
        within_s = max(0.0, policy.time_limit_s(replicas) - change.elapsed_s)
        self._machine = TrafficDeployment(policy, replicas, within_s)
        self._credit = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._room_timer: asyncio.TimerHandle | None = None
        self._unwatch: Callable[[], None] | None = None
        self._is_looking = False

    # --- the hot path ---------------------------------------------------------------------------

    def split_for(self, variant: VariantName | None) -> TrafficSplit:
        """Return whose request this is: green's by its share, unless only one has the variant."""
        blue, green = self.blue, self.green
        if variant is not None and (variant in blue.hosted_fleets) is not (
            variant in green.hosted_fleets
        ):
            return blue if variant in blue.hosted_fleets else green
        self._credit += self._machine.green_share
        if self._credit < 1.0 - _SLACK:
            return blue
        self._credit -= 1.0
        return green

    # --- what happens ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Begin it."""
        reason = self._in_place()
        self._watch(self.blue.hosted_fleets.values())
        self._post(DeploymentBegun(reason))
        self.watch_alarms(self._alarms)

    def watch_alarms(self, alarms: AlarmStates | None) -> None:
        """Hear of alarms from here on; after a restart they come later than the change."""
        if alarms is None or not self._policy.alarms or self._machine.is_over:
            return
        self._unwatch = alarms.watch(self._on_alarm)
        for name in self._policy.alarms:
            if alarms.state(name) is AlarmState.ALARM:
                self._post(DeploymentAlarmRaised(name, "it was in ALARM when the change began"))

    def supersede(self) -> None:
        """End it at once, as another change is asked for."""
        self._post(DeploymentSuperseded())

    def rolled_back(self, hosted: HostedFleet) -> None:
        """Hear that a fleet took a revision back by itself, in place."""
        self._post(ReplacementFailed(hosted.fleet.failure or "it cannot start"))

    def close(self) -> None:
        """Stop watching. Idempotent; called when it is over, or its endpoint goes."""
        for timer in (self._timer, self._room_timer):
            if timer is not None:
                timer.cancel()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        for split in (self.blue, self.green):
            for hosted in split.hosted_fleets.values():
                hosted.watch = None

    def view(self) -> DeploymentView:
        """Say where it is."""
        machine = self._machine
        step, steps = machine.steps
        return DeploymentView(
            phase=machine.phase,
            share=machine.green_share,
            step=step,
            steps=steps,
            reason=machine.reason,
            is_in_place=machine.is_in_place,
            since_ms=clock.wall_ms() - round((clock.monotonic_s() - machine.since_s) * 1_000),
            variants=(),
        )

    def _on_alarm(self, name: str, state: AlarmState, reason: str) -> None:
        if state is AlarmState.ALARM and name in self._policy.alarms:
            self._post(DeploymentAlarmRaised(name, reason))

    def _post(self, event: DeploymentEvent) -> None:
        for effect in self._machine.step(event, clock.monotonic_s()):
            self._perform(effect)
        if self._machine.is_over:
            self.close()

    def _perform(self, effect: DeploymentEffect) -> None:
        match effect:
            case ScaleFleets(blue, green):
                self._scale(self.blue.fleets_not_in(self.green), self._blue_counts, blue)
                self._open_green(green)
                self._look_soon()
            case ShiftTraffic():
                self._credit = 0.0
            case ReplaceInPlace():
                self._replace_in_place()
            case RestoreInPlace():
                self._owner.replace_in_place(self._change.old)
                self._look_soon()
            case BeginRollback():
                self._owner.take_back()
            case FinishDeployment():
                if not self._machine.is_in_place:
                    self._release(self.green)
                self._owner.conclude()
            case FinishRollback(reason):
                if not self._machine.is_in_place:
                    self._release(self.blue)
                self._owner.revert(reason)
            case WakeAt(at_s):
                self._arm(at_s)
            case _:
                assert_never(effect)

    # --- replicas -------------------------------------------------------------------------------

    def _wanted(self) -> dict[VariantName, int]:
        """Return how many replicas of each of green's variants make up for blue's."""
        return {
            variant.name: _within(variant, self._blue_counts.get(variant.name, 0))
            for variant in self._change.new.variants
        }

    def _in_place(self) -> str | None:
        """Say why green cannot run beside blue, if so; start fewer of it where that helps."""
        if self._holds(self._green_counts):
            return None
        fewest = dict.fromkeys(self._green_counts, 1)
        if self._holds(fewest):
            self._green_counts = fewest
            return None
        return "the devices do not hold the new replicas beside the old ones"

    def _holds(self, counts: dict[VariantName, int]) -> bool:
        first = self._policy.shares(max(1, sum(self._blue_counts.values())))[0]
        part = first if self._policy.kind is DeploymentStrategy.ROLLING else 1.0
        old = [
            hosted.fleet.revision.spec.resources
            for name, hosted in self.blue.hosted_fleets.items()
            for _ in range(max(1, self._blue_counts[name]))
        ]
        new = [
            variant.revision.spec.resources
            for variant in self._change.new.variants
            if not self._is_shared(variant)
            for _ in range(_floor(part, counts[variant.name]))
        ]
        return self._controller.placement.fits_together([*old, *new])

    def _is_shared(self, variant: VariantDefinition) -> bool:
        hosted = self.blue.hosted_fleets.get(variant.name)
        return hosted is not None and hosted.fleet.revision.id == variant.revision.id

    def _open_green(self, part: float) -> None:
        """Start green, or more of it."""
        for variant in self._change.new.variants:
            name = variant.name
            hosted = self.green.hosted_fleets.get(name)
            if hosted is None and self._is_shared(variant):
                self.green.hosted_fleets[name] = self.blue.hosted_fleets[name]
            elif hosted is None:
                self._open(variant, _floor(part, self._green_counts[name]))
        self._scale(self.green.fleets_not_in(self.blue), self._green_counts, part)
        if self._room_timer is not None:
            self._room_timer.cancel()
        self._room_timer = asyncio.get_running_loop().call_later(
            CAPACITY_TIMEOUT_S, self._look_room
        )

    def _open(self, variant: VariantDefinition, floor: int) -> None:
        name = variant.name
        former = self.blue.hosted_fleets.get(name)
        hosted = self._controller.open_fleet(
            self._change.new.name,
            name,
            variant.revision,
            _kept(floor),
            is_beside=former is not None,
        )
        self.green.hosted_fleets[name] = hosted
        self._floors.watch(hosted)
        self._floors.suspend(hosted)
        if former is not None:
            self._floors.inherit(hosted, former)
        self._watch([hosted])

    def _scale(
        self, hosted_fleets: Iterable[HostedFleet], counts: dict[VariantName, int], part: float
    ) -> None:
        for hosted in hosted_fleets:
            self._keep(hosted, _floor(part, counts[hosted.variant]))

    def _keep(self, hosted: HostedFleet, floor: int) -> None:
        """Keep so many of a hosted fleet's replicas ready; more than there shall be are let go."""
        before = hosted.fleet.replicas_min
        self._floors.suspend(hosted)
        self._controller.post(hosted, _kept(floor))
        if floor < before:
            over = _idlest(hosted)[: max(0, _ready(hosted) - floor)]
            for replica in over:
                event = EvictionRequested(replica.id, "its share of the requests has moved on")
                self._controller.post(hosted, event)

    def _release(self, split: TrafficSplit) -> None:
        """Give the variants their own floors back."""
        for hosted in split.hosted_fleets.values():
            self._floors.resume(hosted)

    def _replace_in_place(self) -> None:
        for hosted in self.green.fleets_not_in(self.blue):
            hosted.watch = None
            self._floors.forget(hosted)
            self._controller.retire(hosted)
        self._release(self.blue)
        self.green.hosted_fleets.clear()
        self._owner.replace_in_place(self._change.new)
        self._look_soon()

    # --- looking --------------------------------------------------------------------------------

    def watch_fleets(self, split: TrafficSplit) -> None:
        """Watch the hosted fleets that serve after a replacement in place."""
        self.blue = split
        self._watch(split.hosted_fleets.values())

    def _watch(self, hosted_fleets: Iterable[HostedFleet]) -> None:
        for hosted in hosted_fleets:
            hosted.watch = self._look_soon

    def _look_soon(self) -> None:
        """Look once the controller has done what it does now."""
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_looking = False
        machine = self._machine
        if machine.is_over:
            return
        if machine.is_in_place:
            self._look_in_place()
            return
        green, blue = self.green.fleets_not_in(self.blue), self.blue.fleets_not_in(self.green)
        failed = next((c for c in green if c.fleet.status is EndpointStatus.FAILED), None)
        if failed is not None:
            self._post(GreenFailed(failed.fleet.failure or "it cannot start"))
        elif machine.phase is DeploymentPhase.REVERTING:
            if all(
                _is_up(hosted) or hosted.fleet.status is EndpointStatus.FAILED for hosted in blue
            ):
                self._post(BlueReady())
        elif machine.is_waiting and all(map(_is_up, green)):
            self._post(GreenReady())

    def _look_in_place(self) -> None:
        # One that stays as it is, and does not work, is no fault of the change.
        fleets = [
            hosted.fleet for name, hosted in self.blue.hosted_fleets.items() if name in self.changed
        ]
        failed = next((f for f in fleets if f.status is EndpointStatus.FAILED), None)
        if failed is not None and self._machine.phase is DeploymentPhase.BAKING:
            self._post(GreenFailed(failed.failure or "it cannot start"))
        elif all(fleet.status is not EndpointStatus.UPDATING for fleet in fleets):
            self._post(ReplacedInPlace())

    def _look_room(self) -> None:
        """Give up the room beside blue when nothing of green got any."""
        for hosted in self.green.fleets_not_in(self.blue):
            states = {replica.state for replica in hosted.fleet.replicas()}
            if ReplicaState.PLACING in states and not states & set(_PRESENT[1:]):
                self._post(
                    ReservationMissing("there is no room for the new replicas beside the old ones")
                )
                return

    def _arm(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay_s = max(0.0, at_s - clock.monotonic_s()) + _TIMER_SLACK_S
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay_s, self._post, Ticked())


def _changed(change: DefinitionChange) -> tuple[VariantName, ...]:
    """Return the variants whose revision is another one."""
    old = {variant.name: variant.revision.id for variant in change.old.variants}
    return tuple(
        variant.name
        for variant in change.new.variants
        if old.get(variant.name) != variant.revision.id
    )


def _present(hosted: HostedFleet) -> int:
    """Return how many replicas a hosted fleet has or shall have."""
    present = sum(replica.state in _PRESENT for replica in hosted.fleet.replicas())
    return min(max(present, hosted.fleet.replicas_min), hosted.fleet.replicas_max)


def _within(variant: VariantDefinition, count: int) -> int:
    """Return a count within a variant's bounds, and at least one: it must be seen to start."""
    scale = variant.revision.spec.scale
    return min(max(count, scale.replicas_min, 1), scale.replicas_max)


def _floor(part: float, count: int) -> int:
    return math.ceil(part * count - _SLACK)


def _kept(floor: int) -> ScaleBoundsChanged:
    """Return the word by which a change keeps replicas; a ceiling is left to the policy."""
    return ScaleBoundsChanged(floor, None, "kept while a change is under way")


def _ready(hosted: HostedFleet) -> int:
    return sum(replica.state is ReplicaState.READY for replica in hosted.fleet.replicas())


def _is_up(hosted: HostedFleet) -> bool:
    return _ready(hosted) >= hosted.fleet.replicas_min


def _idlest(hosted: HostedFleet) -> list[Replica]:
    """Return the ready replicas, the least busy first."""
    ready = [one for one in hosted.fleet.replicas() if one.state is ReplicaState.READY]
    return sorted(ready, key=lambda replica: len(replica.running))
