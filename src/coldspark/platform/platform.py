"""The platform's front: endpoints as they are deployed, changed, looked at and removed.

What is deployed is written to disk before it takes effect, so a crash at any point leaves either
the old definition or the new one. Changes of one endpoint are taken one at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Protocol

from coldspark import clock
from coldspark.database.records import StoredEndpoint
from coldspark.errors import ColdsparkError, InvalidRequest, NoRoom, NotFound
from coldspark.platform.capture.capture import CaptureService
from coldspark.platform.controller import Controller
from coldspark.platform.deployed_endpoint import DeployedEndpoint, EndpointDependencies, is_gradual
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.metric_ports import AlarmStates
from coldspark.platform.ports import EndpointView, Invocation, LogLine, ReplicaReader, Sink, Ticket
from coldspark.platform.scale_bounds import FleetScaleBounds
from coldspark.platform.views import EndpointViews, worst
from coldspark.spec.messages import BacklogChanged, ScaleBoundsChanged
from coldspark.spec.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    Failure,
    FailureKind,
    Revision,
    VariantDefinition,
    VariantName,
)
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)
_SETTLE_EVERY_S = 10.0
_NEAR_MAX = 5
_PREPARED_AT_ONCE = 8


class EndpointStore(Protocol):
    """The endpoints on disk."""

    async def save(self, definition: EndpointDefinition) -> StoredEndpoint:
        """Store or replace an endpoint; durable on return."""

    async def delete(self, name: EndpointName) -> bool:
        """Delete an endpoint."""

    async def load(self) -> list[StoredEndpoint]:
        """Return all endpoints."""


class LocalPlatform:
    """Implements ``Platform`` over one controller."""

    def __init__(
        self,
        controller: Callable[[Callable[[HostedFleet, Revision], None]], Controller],
        endpoints: EndpointStore,
        host: ReplicaReader | None,
        prepare: Callable[[Revision], Awaitable[None]],
        *,
        settle: Callable[[], Awaitable[None]] | None = None,
        router: int | None = None,
        captures: CaptureService | None = None,
        wall_ms: Callable[[], int] = clock.wall_ms,
    ) -> None:
        """Take the dependencies. ``prepare`` brings a revision's files here ahead of use.

        ``settle`` is called now and then, where the controller does not settle for itself alone.
        ``wall_ms`` is the clock that windows open by.
        """
        self.controller = controller(self._rolled_back)
        self._floors = FleetScaleBounds(self.controller.post, wall_ms)
        self._store = endpoints
        self._host = host
        self._prepare = prepare
        self._endpoints: dict[EndpointName, DeployedEndpoint] = {}
        self._changes = asyncio.Lock()
        self._tasks = Tasks()
        self._views = EndpointViews(self.controller, host, self._floors)
        self._dependencies = EndpointDependencies(
            controller=self.controller,
            scale_bounds=self._floors,
            tasks=self._tasks,
            captures=captures,
            save=self._save_soon,
        )
        self._preparing = 0
        self._settle = settle or self._settle_alone
        self._router = router

    async def open(self) -> None:
        """Bring back every endpoint that was deployed."""
        if self._dependencies.captures is not None:
            await self._dependencies.captures.open()
        for stored in await self._store.load():
            endpoint = DeployedEndpoint(stored, self._dependencies)
            self._endpoints[stored.definition.name] = endpoint
            endpoint.open()
        self._tasks.every(_SETTLE_EVERY_S, self._settle, "settle the bill")

    def watch_alarms(self, alarms: AlarmStates) -> None:
        """Let alarms take changes back from here on; without them such changes are refused."""
        self._dependencies.alarms = alarms
        for endpoint in list(self._endpoints.values()):
            endpoint.watch_alarms()

    async def close(self) -> None:
        """Stop the background work, refuse what waits, and start nothing more."""
        await self._tasks.close(5.0)
        for endpoint in self._endpoints.values():
            endpoint.stop_change()
        if self._dependencies.captures is not None:
            await self._dependencies.captures.close()
        self._floors.close()
        self.controller.close()

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request; every outcome reaches the sink, also "no such endpoint"."""
        endpoint = self._endpoints.get(invocation.endpoint)
        if endpoint is None:
            sink.fail(_unknown(invocation.endpoint, list(self._endpoints)), None)
            return _Void()
        if endpoint.stored.definition.jobs_only and invocation.job is None:
            sink.fail(_jobs_only(invocation.endpoint), None)
            return _Void()
        if endpoint.stored.definition.has_components is not invocation.is_component:
            refusal = _not_of_components(invocation, endpoint.definition)
            if refusal is not None:
                sink.fail(refusal, None)
                return _Void()
        hosted = endpoint.fleet_for(invocation)
        if hosted is None:
            sink.fail(_unknown_variant(invocation, endpoint.definition), None)
            return _Void()
        if endpoint.taps is not None:
            return endpoint.taps.submit(hosted, invocation, sink)
        return self.controller.submit(hosted, invocation, sink)

    def set_backlog(self, name: EndpointName, jobs: int) -> None:
        """Hear how many jobs wait to be handed in: variants share them by weight.

        While a change is under way, those that serve are told.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return
        split = endpoint.split
        if endpoint.definition.has_components:
            return  # A job names no component, so there is none.
        weights = sum(variant.weight for variant in split.variants)
        for variant in split.variants:
            share = round(jobs * variant.weight / weights)
            self.controller.post(split.hosted_fleets[variant.name], BacklogChanged(share))

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        """Create or change an endpoint; it is durable on return.

        Raises InvalidRequest and NoRoom.
        """
        self.check_capacity(definition)
        async with self._changes:
            known = self._endpoints.get(definition.name)
            if known is None or _asked(known.definition) != definition:
                await self._change(known, definition)
        return self.endpoint(definition.name)

    async def _change(self, known: DeployedEndpoint | None, definition: EndpointDefinition) -> None:
        if known is not None:
            known.end_change()
            if is_gradual(known.definition, definition):
                definition = replace(
                    definition, previous=known.definition, changed_ms=clock.wall_ms()
                )
        stored = await self._store.save(definition)
        if known is None:
            self._endpoints[definition.name] = known = DeployedEndpoint(stored, self._dependencies)
            known.open()
        else:
            known.adopt(stored)
        for variant in definition.variants:
            self._tasks.spawn(self._prepared(definition.name, variant.revision))

    def check_capacity(self, definition: EndpointDefinition) -> None:
        """Raise NoRoom when a variant fits no node, even an empty one.

        Also InvalidRequest for alarms that nobody watches here, and for a capture without a store.
        """
        shift, dependencies = definition.shift, self._dependencies
        if definition.capture is not None and dependencies.captures is None:
            raise InvalidRequest(
                "nothing is captured here, as there is no object storage: leave it out",
                field="capture",
            )
        if shift is not None and shift.alarms and dependencies.alarms is None:
            raise InvalidRequest(
                "alarms are not watched by the process that serves this endpoint: leave them out",
                field="alarms",
            )
        for variant in (*definition.variants, *definition.shadows):
            reason = self.controller.placement.refusal(variant.revision.spec.resources)
            if reason is not None:
                raise NoRoom(f"variant {variant.name}: {reason}", field="gpu")

    async def remove(self, name: EndpointName) -> None:
        """Delete an endpoint: what waits is refused, what runs may finish. Raises NotFound."""
        async with self._changes:
            self._find(name)
            await self._store.delete(name)
            endpoint = self._endpoints.pop(name)
            endpoint.retire()

    async def set_scale(
        self,
        name: EndpointName,
        variant: VariantName,
        floor: int | None,
        ceiling: int | None,
        reason: str,
    ) -> EndpointView:
        """Set how many ready replicas a variant has; see ``Platform``."""
        hosted_fleets = self._find(name).fleets_of(variant)
        if not hosted_fleets:
            raise NotFound(f"endpoint {name} has no variant {variant!r}", field="variant")
        try:
            moved = ScaleBoundsChanged(floor, ceiling, reason)
        except ValueError as error:
            raise InvalidRequest(str(error), field="floor") from None
        for hosted in hosted_fleets:
            self._floors.set_scale(hosted, moved)
        return self.endpoint(name)

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""
        return self._view(self._find(name))

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints by name."""
        return [self._view(self._endpoints[name]) for name in sorted(self._endpoints)]

    def models(self) -> set[str]:
        """Return the addresses of all model data and code that a deployed endpoint names."""
        return {
            url
            for endpoint in self._endpoints.values()
            for variant in _all_variants(endpoint.definition)
            for url in variant.revision.spec.sources
        }

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of all replicas of an endpoint, oldest first."""
        self._find(name)
        return [] if self._host is None else self._host.logs(name, lines)

    def _find(self, name: EndpointName) -> DeployedEndpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise NotFound(_unknown(name, list(self._endpoints)).message, field="name")
        return endpoint

    async def _prepared(self, name: EndpointName, revision: Revision) -> None:
        if self._preparing >= _PREPARED_AT_ONCE:
            # Many are deployed at once: each is prepared by its first request.
            return
        self._preparing += 1
        try:
            await self._prepare(revision)
        except ColdsparkError as error:
            # The first request tries again and tells its caller; here it is only early.
            _log.warning("endpoint %s: %s", name, error.message)
        finally:
            self._preparing -= 1

    async def _settle_alone(self) -> None:
        self.controller.settle()

    def _rolled_back(self, hosted: HostedFleet, revision: Revision) -> None:
        """Hear that a fleet took a revision back by itself; its windows went with it."""
        self._floors.revision_adopted(hosted)
        endpoint = self._endpoints.get(hosted.endpoint)
        if endpoint is not None:
            endpoint.rolled_back(hosted, revision)

    def _save_soon(self, endpoint: DeployedEndpoint) -> None:
        self._tasks.spawn(self._save(endpoint))

    async def _save(self, endpoint: DeployedEndpoint) -> None:
        async with self._changes:
            # What it is by now: it may have changed again while this waited.
            if self._endpoints.get(endpoint.definition.name) is endpoint:
                await self._store.save(endpoint.definition)

    def _view(self, endpoint: DeployedEndpoint) -> EndpointView:
        views, shift = self._views, endpoint.shift
        variants = views.of(endpoint.split)
        shown = None if shift is None else replace(shift.view(), variants=views.of(shift.green))
        failure = next((v.failure for v in variants if v.failure is not None), None)
        return EndpointView(
            name=endpoint.definition.name,
            definition=endpoint.definition,
            status=EndpointStatus.UPDATING if shift else worst([one.status for one in variants]),
            failure=failure or endpoint.failure,
            taken_back=tuple((name, endpoint.failure or "") for name in endpoint.taken_back),
            created_ms=endpoint.stored.created_ms,
            updated_ms=endpoint.stored.updated_ms,
            variants=variants,
            router=self._router,
            shift=shown,
            shadows=views.of(endpoint.shadows()),
            taps=endpoint.taps_view(),
        )


class _Void:
    """The ticket of a request that was never taken."""

    variant: VariantName | None = None

    def cancel(self) -> None:
        """There is nothing to cancel."""

    def break_off(self, failure: Failure) -> None:
        """It has failed already."""

    def pause(self) -> None:
        """Nothing is sent."""

    def resume(self) -> None:
        """Nothing is sent."""


def _asked(definition: EndpointDefinition) -> EndpointDefinition:
    """Return a definition as it was asked for, without the change that it is in."""
    return replace(definition, previous=None, changed_ms=None)


def _all_variants(definition: EndpointDefinition) -> Iterator[VariantDefinition]:
    """Yield all that may run, while a change is under way the former ones too."""
    yield from definition.variants
    yield from definition.shadows
    if definition.previous is not None:
        yield from _all_variants(definition.previous)


def _unknown(name: str, names: list[EndpointName]) -> Failure:
    known = ", ".join(sorted(names)[:_NEAR_MAX]) or "none yet"
    return Failure(
        kind=FailureKind.NOT_FOUND,
        message=f"no endpoint named {name!r} (there is: {known}); `coldspark ls` lists them",
    )


def _jobs_only(name: EndpointName) -> Failure:
    return Failure(
        kind=FailureKind.CONFLICT,
        message=f"endpoint {name} takes jobs, not requests that are held open: invoke it"
        " asynchronously, or deploy it without an asynchronous configuration",
    )


def _not_of_components(invocation: Invocation, definition: EndpointDefinition) -> Failure | None:
    """Refuse a request that names no component where there are some, or one where there are none.

    One that names a variant names a component, whatever its door calls it.
    """
    name = definition.name
    if not definition.has_components:
        return Failure(
            kind=FailureKind.CONFLICT,
            message=f"endpoint {name} has no components, so {invocation.variant!r} is none of"
            " them: leave the component's name out of the request",
        )
    if invocation.variant is not None:
        return None
    names = ", ".join(variant.name for variant in definition.variants) or "none yet"
    return Failure(
        kind=FailureKind.COMPONENT_NEEDED,
        message=f"endpoint {name} has components, and a request names one of them: {names}",
    )


def _unknown_variant(invocation: Invocation, definition: EndpointDefinition) -> Failure:
    names = ", ".join(variant.name for variant in definition.variants) or "none yet"
    what = "component" if definition.has_components else "variant"
    return Failure(
        # The endpoint is there: doors that say of NotFound that it is not would mislead.
        kind=FailureKind.INVALID_REQUEST,
        message=f"endpoint {definition.name} has no {what} {invocation.variant!r}; it has {names}",
    )
