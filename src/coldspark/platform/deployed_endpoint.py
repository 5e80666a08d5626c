"""One endpoint that is deployed: the hosted fleets that serve it, and how they change."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from coldspark import clock
from coldspark.database.records import StoredEndpoint
from coldspark.platform.capture.capture import CaptureService, EndpointCapture
from coldspark.platform.capture.records import CaptureCounts
from coldspark.platform.controller import Controller
from coldspark.platform.deployments import DefinitionChange, EndpointDeployment
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.metric_ports import AlarmStates
from coldspark.platform.ports import Invocation, Sink, TapsView, Ticket
from coldspark.platform.scale_bounds import FleetScaleBounds
from coldspark.platform.shadow import Shadow
from coldspark.platform.traffic_split import TrafficSplit
from coldspark.spec.messages import RevisionAdopted
from coldspark.spec.types import EndpointDefinition, Revision, VariantDefinition, VariantName
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)
_DRAIN_LOOK_S = 0.1


@dataclass(slots=True, kw_only=True)
class EndpointDependencies:
    """What every endpoint needs."""

    controller: Controller
    scale_bounds: FleetScaleBounds
    tasks: Tasks
    captures: CaptureService | None
    """None: there is no object storage."""
    save: Callable[["DeployedEndpoint"], None]
    """Write the definition down, soon."""
    alarms: AlarmStates | None = None
    """None: nobody watches alarms here, or not yet."""


class TrafficTaps:
    """What else becomes of an endpoint's requests: copies for its shadow, lines of its capture."""

    __slots__ = ("_controller", "capture", "shadow")

    def __init__(
        self, controller: Controller, capture: EndpointCapture | None, shadow: Shadow | None
    ) -> None:
        self._controller = controller
        self.capture = capture
        self.shadow = shadow

    def submit(self, hosted: HostedFleet, invocation: Invocation, sink: Sink) -> Ticket:
        """Hand a request in, and then what it is copied to."""
        if self.capture is not None:
            sink = self.capture.tap(hosted.variant, invocation, sink)
        ticket = self._controller.submit(hosted, invocation, sink)
        if self.shadow is not None:
            self.shadow.offer(hosted, invocation)
        return ticket


class DeployedEndpoint:
    """One endpoint. Implements ``shifts.Owner`` for its change."""

    __slots__ = (
        "_before",
        "_counted",
        "_dependencies",
        "failure",
        "shift",
        "split",
        "stored",
        "taken_back",
        "taps",
    )

    def __init__(self, stored: StoredEndpoint, dependencies: EndpointDependencies) -> None:
        self._dependencies = dependencies
        self.stored = stored
        self.split = TrafficSplit(())
        self.shift: EndpointDeployment | None = None
        self.failure: str | None = None
        """Why its last change was taken back."""
        self.taken_back: tuple[VariantName, ...] = ()
        """Of which variants that change was."""
        self.taps: TrafficTaps | None = None
        """None for most: requests go straight to their hosted fleet."""
        self._counted = CaptureCounts()
        self._before: EndpointDefinition | None = None
        """What it was before the last change in place, which its fleets may take back."""

    @property
    def definition(self) -> EndpointDefinition:
        """Return what it shall be."""
        return self.stored.definition

    def fleet_for(self, invocation: Invocation) -> HostedFleet | None:
        """Return who takes a request, or None when there is no such variant."""
        variant, shift = invocation.variant, self.shift
        split = self.split if shift is None else shift.split_for(variant)
        return split.hosted_fleets.get(variant or split.next_variant())

    def fleets_of(self, variant: VariantName) -> list[HostedFleet]:
        """Return the hosted fleets of a variant: while a change is under way there may be two."""
        splits = [self.split] if self.shift is None else [self.split, self.shift.green]
        hosted_fleets = [
            one.hosted_fleets[variant] for one in splits if variant in one.hosted_fleets
        ]
        return list(dict.fromkeys(hosted_fleets))

    def open(self) -> None:
        """Run what the definition says; a change that was under way begins anew."""
        previous = self.definition.previous
        self._run((previous or self.definition).variants)
        self._tap()
        if previous is not None:
            self._begin(previous)

    def adopt(self, stored: StoredEndpoint) -> None:
        """Become what a new definition says, at once or by steps."""
        self._before = self.definition
        self.stored, self.failure, self.taken_back = stored, None, ()
        previous = stored.definition.previous
        if previous is None:
            self._run(stored.definition.variants)
        else:
            self._begin(previous)
        self._tap()

    def watch_alarms(self) -> None:
        """Hear of alarms from here on, where a change is under way."""
        if self.shift is not None:
            self.shift.watch_alarms(self._dependencies.alarms)

    def end_change(self) -> None:
        """End a change that is under way: another one comes."""
        if self.shift is not None:
            self.shift.supersede()

    def stop_change(self) -> None:
        """Leave a change as it is: the process ends, and the next one begins it anew."""
        if self.shift is not None:
            self.shift.close()

    def retire(self) -> None:
        """Refuse what waits, let finish what runs: the endpoint is deleted."""
        hosted_fleets = dict.fromkeys(
            [*self.split.hosted_fleets.values(), *self._shadow_hosted_fleets()]
        )
        if self.shift is not None:
            self.shift.close()
            hosted_fleets |= dict.fromkeys(self.shift.green.hosted_fleets.values())
        for hosted in hosted_fleets:
            self._dependencies.scale_bounds.forget(hosted)
            self._dependencies.controller.retire(hosted)

    def rolled_back(self, hosted: HostedFleet, revision: Revision) -> None:
        """Hear that a fleet took a revision back by itself."""
        if hosted.is_shadow:
            return
        if self.shift is not None:
            self.shift.rolled_back(hosted)
            return
        variants = tuple(
            replace(variant, revision=revision) if variant.name == hosted.variant else variant
            for variant in self.definition.variants
        )
        definition, before = replace(self.definition, variants=variants), self._before
        if before is not None and _replicas(before) == _replicas(definition):
            # All of the change is taken back, so its weights and labels are too.
            definition = before
        self._become(definition)
        self.split.variants = definition.variants

    # --- Owner: what a change does ----------------------------------------------------------------

    def replace_in_place(self, definition: EndpointDefinition) -> None:
        """Let the hosted fleets that serve run a definition's revisions."""
        self._run(definition.variants)
        assert self.shift is not None
        self.shift.watch_fleets(self.split)

    def take_back(self) -> None:
        """Write down that the former definition is what shall be."""
        assert self.definition.previous is not None
        self._become(self.definition.previous)

    def conclude(self) -> None:
        """Let green be the traffic split, and blue go."""
        shift, self.shift = self.shift, None
        assert shift is not None
        self._become(replace(self.definition, previous=None, changed_ms=None))
        if not shift.view().is_in_place:
            for hosted in shift.blue.fleets_not_in(shift.green):
                self._let_go(hosted)
            self._install(shift.green)

    def revert(self, reason: str) -> None:
        """Let blue stay the traffic split, and green go."""
        shift, self.shift = self.shift, None
        assert shift is not None
        self.failure, self.taken_back = f"the change was taken back: {reason}", shift.changed
        _log.warning("endpoint %s: %s", self.definition.name, self.failure)
        if shift.view().is_in_place:
            self._run(self.definition.variants)
            return
        for hosted in shift.green.fleets_not_in(shift.blue):
            self._let_go(hosted)

    # --- taps -------------------------------------------------------------------------------------

    def shadows(self) -> TrafficSplit:
        """Return its shadows with their hosted fleets."""
        return TrafficSplit(self.definition.shadows, self._shadow_hosted_fleets())

    def taps_view(self) -> TapsView | None:
        """Count what was copied and captured; None where neither is done."""
        if self.taps is None:
            return None
        shadow, counted = self.taps.shadow, self._counted
        return TapsView(
            copied=0 if shadow is None else shadow.copied,
            uncopied=() if shadow is None else tuple(sorted(shadow.uncopied.items())),
            captured=counted.captured,
            uncaptured=tuple(sorted(counted.uncaptured.items())),
        )

    def _shadow_hosted_fleets(self) -> list[HostedFleet]:
        shadow = None if self.taps is None else self.taps.shadow
        return [] if shadow is None else [shadow.hosted]

    def _tap(self) -> None:
        """Copy and capture what the definition says."""
        shadow, capture = self._shadow(), self._capture()
        if shadow is None and capture is None:
            self.taps = None
        else:
            self.taps = TrafficTaps(self._dependencies.controller, capture, shadow)

    def _capture(self) -> EndpointCapture | None:
        rule, captures = self.definition.capture, self._dependencies.captures
        if rule is None or captures is None:
            return None
        return EndpointCapture(captures, self.definition.name, rule, self._counted)

    def _shadow(self) -> Shadow | None:
        """Return the shadow that shall be: the one that is, if it only moves."""
        old = None if self.taps is None else self.taps.shadow
        wanted = next(iter(self.definition.shadows), None)
        if old is not None and (wanted is None or wanted.name != old.hosted.variant):
            self._let_go(old.hosted)
            old = None
        if wanted is None:
            return None
        ratio = min(1.0, wanted.weight / sum(one.weight for one in self.definition.variants))
        if old is not None:
            old.ratio = ratio
            if old.hosted.fleet.revision != wanted.revision:
                self._move(old.hosted, wanted.revision)
            return old
        controller, floors = self._dependencies.controller, self._dependencies.scale_bounds
        hosted = controller.open_fleet(
            self.definition.name,
            wanted.name,
            wanted.revision,
            floors.initial_event(wanted.revision),
            is_beside=True,
            is_shadow=True,
        )
        floors.watch(hosted)
        return Shadow(controller, hosted, ratio)

    # --- hosted fleets ------------------------------------------------------------------------

    def _begin(self, previous: EndpointDefinition) -> None:
        definition, dependencies = self.definition, self._dependencies
        asked_ms = definition.changed_ms
        elapsed_s = 0.0 if asked_ms is None else max(0, clock.wall_ms() - asked_ms) / 1_000
        change = DefinitionChange(old=previous, new=definition, elapsed_s=elapsed_s)
        self.shift = EndpointDeployment(
            change,
            self.split,
            controller=dependencies.controller,
            floors=dependencies.scale_bounds,
            owner=self,
            alarms=dependencies.alarms,
        )
        self.shift.begin()

    def _become(self, definition: EndpointDefinition) -> None:
        self.stored = replace(self.stored, definition=definition)
        self._dependencies.save(self)
        self._tap()

    def _run(self, variants: tuple[VariantDefinition, ...]) -> None:
        """Make the hosted fleets what the variants say, each in its place."""
        controller, floors = self._dependencies.controller, self._dependencies.scale_bounds
        old = self.split.hosted_fleets
        wanted = {variant.name: variant for variant in variants}
        for name in old.keys() - wanted.keys():
            self._let_go(old[name])
        split = TrafficSplit(variants)
        for name, variant in wanted.items():
            hosted = old.get(name)
            if hosted is None:
                first = floors.initial_event(variant.revision)
                hosted = controller.open_fleet(self.definition.name, name, variant.revision, first)
                floors.watch(hosted)
            split.hosted_fleets[name] = hosted
        self.split = split
        for name, variant in wanted.items():
            if split.hosted_fleets[name].fleet.revision != variant.revision:
                self._move(split.hosted_fleets[name], variant.revision)

    def _move(self, hosted: HostedFleet, revision: Revision) -> None:
        """Let a hosted fleet run another revision, or the same one within other bounds."""
        floors = self._dependencies.scale_bounds
        moved = floors.event_for_revision(hosted, revision)
        self._dependencies.controller.post(hosted, RevisionAdopted(revision, moved))
        floors.revision_adopted(hosted)

    def _install(self, split: TrafficSplit) -> None:
        """Let a traffic split serve alone."""
        self.split = split
        for hosted in split.hosted_fleets.values():
            if hosted.id != hosted.fleet.id:
                self._dependencies.controller.install(hosted)

    def _let_go(self, hosted: HostedFleet) -> None:
        """Retire a hosted fleet as soon as nobody waits in it; no request comes to it any more."""
        hosted.watch = None
        self._dependencies.scale_bounds.forget(hosted)
        if not hosted.fleet.queued:
            self._dependencies.controller.retire(hosted)
            return
        self._dependencies.controller.set_aside(hosted)
        self._dependencies.tasks.spawn(self._drained(hosted))

    async def _drained(self, hosted: HostedFleet) -> None:
        # Every request has a deadline, so this ends.
        while True:
            await asyncio.sleep(_DRAIN_LOOK_S)
            if not hosted.fleet.queued:
                break
        self._dependencies.controller.retire(hosted)


def is_gradual(old: EndpointDefinition, new: EndpointDefinition) -> bool:
    """Return whether a change goes by steps: it has a policy, and other replicas."""
    return new.shift is not None and _replicas(old) != _replicas(new)


def _replicas(definition: EndpointDefinition) -> set[tuple[VariantName, str]]:
    return {(variant.name, variant.revision.id) for variant in definition.variants}
