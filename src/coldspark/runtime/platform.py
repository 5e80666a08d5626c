"""The platform's front: endpoints as they are deployed, changed, looked at and removed.

What is deployed is written to disk before it takes effect, so a crash at any point leaves either
the old definition or the new one. Changes of one endpoint are taken one at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from coldspark.core.fleet import Note
from coldspark.core.messages import RevisionAdopted
from coldspark.core.replicas import Replica, ReplicaState
from coldspark.core.types import (
    EndpointDefinition,
    EndpointName,
    EndpointStatus,
    Failure,
    FailureKind,
    ReplicaId,
    Revision,
    VariantDefinition,
    VariantName,
)
from coldspark.errors import ColdsparkError, NoRoom, NotFound
from coldspark.runtime import clock
from coldspark.runtime.cells import Cell
from coldspark.runtime.controller import Controller
from coldspark.runtime.ports import (
    Decision,
    EndpointView,
    Invocation,
    LogLine,
    ReplicaView,
    Sink,
    Ticket,
    VariantView,
)
from coldspark.runtime.tasks import Tasks
from coldspark.store.records import StoredEndpoint

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


class ReplicaHost(Protocol):
    """What the views ask of the engine."""

    def logs(self, endpoint: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines."""

    def template(self, replica: ReplicaId) -> str | None:
        """Say what a replica was started from."""


@dataclass(slots=True)
class _Endpoint:
    stored: StoredEndpoint
    cells: dict[VariantName, Cell] = field(default_factory=dict)
    credit: dict[VariantName, float] = field(default_factory=dict)
    """Smooth weighted round robin: each choice adds the weights, the largest credit pays."""

    @property
    def definition(self) -> EndpointDefinition:
        return self.stored.definition


class LocalPlatform:
    """Implements ``Platform`` over one controller."""

    def __init__(
        self,
        controller: Callable[[Callable[[Cell, Revision], None]], Controller],
        endpoints: EndpointStore,
        host: ReplicaHost,
        prepare: Callable[[Revision], Awaitable[None]],
        *,
        settle: Callable[[], Awaitable[None]] | None = None,
        router: int | None = None,
    ) -> None:
        """Take the neighbours. ``prepare`` brings a revision's files here ahead of use.

        ``settle`` is called now and then, where the controller does not settle for itself alone.
        """
        self.controller = controller(self._rolled_back)
        self._store = endpoints
        self._host = host
        self._prepare = prepare
        self._endpoints: dict[EndpointName, _Endpoint] = {}
        self._changes = asyncio.Lock()
        self._tasks = Tasks()
        self._preparing = 0
        self._settle = settle or self._settle_alone
        self._router = router

    async def open(self) -> None:
        """Bring back every endpoint that was deployed."""
        for stored in await self._store.load():
            endpoint = _Endpoint(stored)
            self._endpoints[stored.definition.name] = endpoint
            self._apply(endpoint)
        self._tasks.spawn(self._settle_for_ever())

    async def close(self) -> None:
        """Stop the background work, refuse what waits, and start nothing more."""
        await self._tasks.close(5.0)
        self.controller.close()

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request; every outcome reaches the sink, also "no such endpoint"."""
        endpoint = self._endpoints.get(invocation.endpoint)
        if endpoint is None:
            sink.fail(_unknown(invocation.endpoint, list(self._endpoints)), None)
            return _Void()
        cell = endpoint.cells.get(invocation.variant or self._choose(endpoint))
        if cell is None:
            sink.fail(_unknown_variant(invocation, endpoint.definition), None)
            return _Void()
        return self.controller.submit(cell, invocation, sink)

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        """Create or change an endpoint; it is durable on return.

        Raises InvalidRequest and NoRoom.
        """
        self.refuse_what_cannot_run(definition)
        async with self._changes:
            known = self._endpoints.get(definition.name)
            if known is None or known.definition != definition:
                stored = await self._store.save(definition)
                endpoint = known or _Endpoint(stored)
                endpoint.stored = stored
                self._endpoints[definition.name] = endpoint
                self._apply(endpoint)
                for variant in definition.variants:
                    self._tasks.spawn(self._prepared(definition.name, variant.revision))
        return self.endpoint(definition.name)

    def refuse_what_cannot_run(self, definition: EndpointDefinition) -> None:
        """Raise NoRoom when a variant fits no node, even an empty one."""
        for variant in definition.variants:
            reason = self.controller.placement.refusal(variant.revision.spec.resources)
            if reason is not None:
                raise NoRoom(f"variant {variant.name}: {reason}", field="gpu")

    async def remove(self, name: EndpointName) -> None:
        """Delete an endpoint: what waits is refused, what runs may finish. Raises NotFound."""
        async with self._changes:
            self._find(name)
            await self._store.delete(name)
            endpoint = self._endpoints.pop(name)
            for cell in endpoint.cells.values():
                self.controller.retire(cell)

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""
        return self._view(self._find(name))

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints by name."""
        return [self._view(self._endpoints[name]) for name in sorted(self._endpoints)]

    def models(self) -> set[str]:
        """Return the addresses of all model data and code that a deployed endpoint names."""
        return {
            source
            for endpoint in self._endpoints.values()
            for variant in endpoint.definition.variants
            for source in variant.revision.spec.sources
        }

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of all replicas of an endpoint, oldest first."""
        self._find(name)
        return self._host.logs(name, lines)

    def _find(self, name: EndpointName) -> _Endpoint:
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise NotFound(_unknown(name, list(self._endpoints)).message, field="name")
        return endpoint

    def _apply(self, endpoint: _Endpoint) -> None:
        """Make the cells what the definition says."""
        definition = endpoint.definition
        wanted = {variant.name: variant for variant in definition.variants}
        for name in [name for name in endpoint.cells if name not in wanted]:
            self.controller.retire(endpoint.cells.pop(name))
        for name, variant in wanted.items():
            cell = endpoint.cells.get(name)
            if cell is None:
                endpoint.cells[name] = self.controller.open_cell(
                    definition.name, name, variant.revision
                )
            elif cell.fleet.revision != variant.revision:
                self.controller.post(cell, RevisionAdopted(variant.revision))
        endpoint.credit = dict.fromkeys(wanted, 0.0)

    def _choose(self, endpoint: _Endpoint) -> VariantName:
        variants = endpoint.definition.variants
        if len(variants) == 1:
            return variants[0].name
        credit = endpoint.credit
        for variant in variants:
            credit[variant.name] += variant.weight
        chosen = max(variants, key=lambda variant: credit[variant.name])
        credit[chosen.name] -= sum(variant.weight for variant in variants)
        return chosen.name

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

    async def _settle_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_SETTLE_EVERY_S)
            await self._settle()

    async def _settle_alone(self) -> None:
        self.controller.settle()

    def _rolled_back(self, cell: Cell, revision: Revision) -> None:
        """Write down that an update was taken back."""
        endpoint = self._endpoints.get(cell.endpoint)
        if endpoint is None:
            return
        variants = tuple(
            replace(variant, revision=revision) if variant.name == cell.variant else variant
            for variant in endpoint.definition.variants
        )
        definition = replace(endpoint.definition, variants=variants)
        endpoint.stored = replace(endpoint.stored, definition=definition)
        self._tasks.spawn(self._save(definition))

    async def _save(self, definition: EndpointDefinition) -> None:
        async with self._changes:
            if definition.name in self._endpoints:
                await self._store.save(definition)

    def _view(self, endpoint: _Endpoint) -> EndpointView:
        variants = tuple(
            self._variant_view(variant, endpoint.cells[variant.name])
            for variant in endpoint.definition.variants
        )
        return EndpointView(
            name=endpoint.definition.name,
            definition=endpoint.definition,
            status=_worst([variant.status for variant in variants]),
            failure=next((v.failure for v in variants if v.failure is not None), None),
            created_ms=endpoint.stored.created_ms,
            updated_ms=endpoint.stored.updated_ms,
            variants=variants,
            router=self._router,
        )

    def _variant_view(self, variant: VariantDefinition, cell: Cell) -> VariantView:
        fleet = cell.fleet
        return VariantView(
            name=variant.name,
            weight=variant.weight,
            revision=fleet.revision,
            status=fleet.status,
            failure=fleet.failure,
            queued=fleet.queued,
            replicas=tuple(self._replica_view(replica) for replica in fleet.replicas()),
            decisions=tuple(_decision(note) for note in fleet.notes),
        )

    def _replica_view(self, replica: Replica) -> ReplicaView:
        now_s = clock.monotonic_s()
        grant = self.controller.placement.grant(replica.id)
        state = replica.state.value
        if replica.state is ReplicaState.READY and replica.running:
            state = "busy"
        return ReplicaView(
            replica=replica.id,
            revision=replica.revision.id,
            state=state,
            running=len(replica.running),
            age_s=now_s - replica.asked_s,
            idle_s=None if replica.idle_since_s is None else now_s - replica.idle_since_s,
            node=None if grant is None else grant.node,
            devices=()
            if grant is None
            else tuple(
                f"{device.type} (simulated)" if device.is_simulated else device.type
                for device in grant.devices
            ),
            template=self._host.template(replica.id),
        )


class _Void:
    """The ticket of a request that was never taken."""

    def cancel(self) -> None:
        """There is nothing to cancel."""

    def break_off(self, failure: Failure) -> None:
        """It has failed already."""

    def pause(self) -> None:
        """Nothing is sent."""

    def resume(self) -> None:
        """Nothing is sent."""


def _decision(note: Note) -> Decision:
    at_ms = clock.wall_ms() - round((clock.monotonic_s() - note.at_s) * 1000)
    return Decision(at_ms=at_ms, what=note.what, reason=note.reason)


def _worst(statuses: list[EndpointStatus]) -> EndpointStatus:
    for status in (EndpointStatus.FAILED, EndpointStatus.RETIRING, EndpointStatus.UPDATING):
        if status in statuses:
            return status
    return EndpointStatus.READY


def _unknown(name: str, names: list[EndpointName]) -> Failure:
    known = ", ".join(sorted(names)[:_NEAR_MAX]) or "none yet"
    return Failure(
        kind=FailureKind.NOT_FOUND,
        message=f"no endpoint named {name!r} (there is: {known}); `coldspark ls` lists them",
    )


def _unknown_variant(invocation: Invocation, definition: EndpointDefinition) -> Failure:
    names = ", ".join(variant.name for variant in definition.variants)
    return Failure(
        kind=FailureKind.NOT_FOUND,
        message=f"endpoint {definition.name} has no variant {invocation.variant!r}; it has {names}",
    )
