"""The lead's view of endpoints that other routers own, for what is no invocation.

Requests that name one endpoint are handed to its owner. What is left concerns all (lists, metrics,
bills, keys) or names its endpoint in a body (SageMaker's control plane): the lead answers it from a
``SnapshotCache`` of the others, which is renewed before each such request, and asks the owner to
act.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from starlette.types import ASGIApp, Receive, Scope, Send

from coldspark.billing.ledger import LedgerStore
from coldspark.billing.usage import LedgerTotals, Usage
from coldspark.cluster.messages import (
    Counts,
    Deploy,
    GetSnapshot,
    GetStart,
    IngestLines,
    RefreshKeys,
    Remove,
    RouterSnapshot,
    SetScale,
    Start,
)
from coldspark.cluster.ownership import PRIMARY
from coldspark.cluster.primary import Primary
from coldspark.doors.native.ports import KeyAdmin, WarmthReader
from coldspark.errors import NotFound, RouterGone
from coldspark.http.counters import RequestCounters
from coldspark.node.warmth import CachedFiles, NextStart, PoolView, StartView
from coldspark.platform.metric_ports import AlarmStates
from coldspark.platform.platform import LocalPlatform
from coldspark.platform.ports import EndpointView, Invocation, Key, LogLine, Sink, Ticket
from coldspark.spec.types import (
    AlarmState,
    EndpointDefinition,
    EndpointName,
    ReplicaId,
    Revision,
    VariantName,
)
from coldspark.tasks import Tasks

_SEE_S, _ABSORB_S, _KEYS_S, _CHANGE_S = 2.0, 5.0, 5.0, 60.0
_STARTS_MAX = 1_000
_SEEN_BY = ("/v1/endpoints", "/v1/models", "/metrics", "/v1/requests", "/")
_SEEN_UNDER = ("/v1/models/", "/v1/requests/")


class SnapshotCache:
    """What the others were at the last look."""

    def __init__(self, lead: Primary) -> None:
        self.primary = lead
        self._sights: dict[int, RouterSnapshot] = {}
        """Of a router that does not answer, the last one."""
        self._warmth: dict[int, NextStart] = {}
        """By identity of the view's revision: two endpoints may have the same one."""
        self._starts: dict[ReplicaId, StartView] = {}
        self._counts: dict[int, Counts] = {}
        self._before: dict[int, RequestCounters] = {}
        """What processes that are gone had counted."""

    async def refresh(self) -> None:
        """Look at all."""
        fresh: dict[int, RouterSnapshot] = await self.primary.request_all(
            GetSnapshot(), RouterSnapshot, _SEE_S
        )
        for router, sight in fresh.items():
            self._count(router, sight.counts)
        self._sights |= fresh
        self._warmth = {
            id(variant.revision): warmth
            for sight in self._sights.values()
            for view, ladder in zip(sight.views, sight.warmth, strict=True)
            for variant, warmth in zip(view.variants, ladder, strict=True)
        }

    def has_snapshots_of(self, routers: int) -> bool:
        """Return whether each of so many others was seen at least once."""
        return len(self._sights) >= routers

    def views(self) -> list[EndpointView]:
        """Return the endpoints of all others."""
        return [view for sight in self._sights.values() for view in sight.views]

    def warmth(self, revision: Revision) -> NextStart | None:
        """Return the warmth of a revision that a view of ours shows."""
        return self._warmth.get(id(revision))

    def pools(self) -> list[PoolView]:
        """Return the templates of all others."""
        return [sight.pool for sight in self._sights.values()]

    def counters(self) -> Sequence[RequestCounters]:
        """Return the counts of all others, those of processes that are gone included."""
        return [*map(_tally, self._counts.values()), *self._before.values()]

    def start_of(self, replica: ReplicaId) -> StartView | None:
        """Return what ``seek_start`` found."""
        return self._starts.get(replica)

    async def fetch_start(self, usage: Usage) -> None:
        """Ask what the replica of a ledger line was started from."""
        router = self.primary.owner_of(usage.endpoint)
        if usage.replica is None or router == PRIMARY:
            return
        try:
            start = await self.primary.request(router, GetStart(usage.replica), Start, _SEE_S)
        except RouterGone:
            return
        if start is not None:
            self._starts.pop(usage.replica, None)
            self._starts[usage.replica] = start
            while len(self._starts) > _STARTS_MAX:
                del self._starts[next(iter(self._starts))]

    def _count(self, router: int, counts: Counts) -> None:
        """Keep what a process had counted before it was started anew: counters never go back."""
        known = self._counts.get(router)
        if known is not None and _answers(counts) < _answers(known):
            gone, before = _tally(known), self._before.get(router, RequestCounters())
            gone.other_processes = lambda: (before,)
            self._before[router] = gone.total()
        self._counts[router] = counts


def _answers(counts: Counts) -> int:
    return sum(each.answers for each in counts.requests)


def _tally(counts: Counts) -> RequestCounters:
    tally = RequestCounters()
    tally.requests = {(each.endpoint, each.status): each.answers for each in counts.requests}
    tally.wakes, tally.wake_s_sum = list(counts.wakes), counts.wake_s_sum
    return tally


class SharedPlatform:
    """Implements ``Platform`` for the lead's doors."""

    def __init__(self, own: LocalPlatform, mirror: SnapshotCache) -> None:
        self._own = own
        self._mirror = mirror
        self._lead = mirror.primary
        self.alarms: AlarmStates | None = None
        """Once they are watched."""

    def submit(self, invocation: Invocation, sink: Sink) -> Ticket:
        """Take a request for an endpoint of the lead's: others never come here."""
        return self._own.submit(invocation, sink)

    async def deploy(self, definition: EndpointDefinition) -> EndpointView:
        """Create or change an endpoint at its owner's."""
        router = self._lead.owner_of(definition.name)
        if router == PRIMARY:
            return await self._own.deploy(definition)
        asked = Deploy(definition, self._raised(definition))
        view: EndpointView = await self._lead.request(router, asked, EndpointView, _CHANGE_S)
        await self._mirror.refresh()
        return view

    def _raised(self, definition: EndpointDefinition) -> list[str]:
        """Return those alarms of a change that are in ALARM now."""
        if self.alarms is None or definition.shift is None:
            return []
        state = self.alarms.state
        return [name for name in definition.shift.alarms if state(name) is AlarmState.ALARM]

    def check_capacity(self, definition: EndpointDefinition) -> None:
        """Raise NoRoom when a variant fits no node: all routers place on the same."""
        self._own.check_capacity(definition)

    async def set_scale(
        self,
        name: EndpointName,
        variant: VariantName,
        floor: int | None,
        ceiling: int | None,
        reason: str,
    ) -> EndpointView:
        """Set a variant's floor and ceiling at its owner's."""
        router = self._lead.owner_of(name)
        if router == PRIMARY:
            return await self._own.set_scale(name, variant, floor, ceiling, reason)
        asked = SetScale(name, variant, floor, ceiling, reason)
        view: EndpointView = await self._lead.request(router, asked, EndpointView, _CHANGE_S)
        await self._mirror.refresh()
        return view

    async def remove(self, name: EndpointName) -> None:
        """Delete an endpoint at its owner's."""
        router = self._lead.owner_of(name)
        if router == PRIMARY:
            await self._own.remove(name)
            return
        await self._lead.request(router, Remove(name), None, _CHANGE_S)
        await self._mirror.refresh()

    def endpoint(self, name: EndpointName) -> EndpointView:
        """Return one endpoint. Raises NotFound."""
        if self._lead.owner_of(name) == PRIMARY:
            return self._own.endpoint(name)
        for view in self._mirror.views():
            if view.name == name:
                return view
        raise NotFound(f"no endpoint named {name!r}; `coldspark ls` lists them", field="name")

    def endpoints(self) -> list[EndpointView]:
        """Return all endpoints by name."""
        return sorted([*self._own.endpoints(), *self._mirror.views()], key=lambda view: view.name)

    def logs(self, name: EndpointName, lines: int) -> list[LogLine]:
        """Return the newest lines of an endpoint of the lead's."""
        return self._own.logs(name, lines)


class SharedWarmth:
    """Implements ``WarmthReader`` for the lead's doors."""

    def __init__(self, own: WarmthReader, mirror: SnapshotCache) -> None:
        self._own = own
        self._mirror = mirror

    def start_of(self, replica: ReplicaId) -> StartView | None:
        """Return what a replica was started from, unless that was forgotten."""
        return self._own.start_of(replica) or self._mirror.start_of(replica)

    def warmth(self, revision: Revision) -> NextStart:
        """Return the rung that a revision without a replica would wake from now."""
        return self._mirror.warmth(revision) or self._own.warmth(revision)

    def template_pool(self) -> PoolView:
        """Return the templates of all routers together."""
        pool = self._own.template_pool()
        for each in self._mirror.pools():
            pool = replace(
                pool,
                templates=pool.templates + each.templates,
                templates_max=pool.templates_max + each.templates_max,
                memory_bytes=pool.memory_bytes + each.memory_bytes,
                memory_bytes_max=pool.memory_bytes_max + each.memory_bytes_max,
            )
        return pool

    async def cached_files(self, revision: Revision) -> CachedFiles:
        """Measure a revision's files, as far as they are known to be here."""
        return await self._own.cached_files(revision)


class SharedUsages:
    """The ledger of all routers, for reading. Every line is in the database before it is read."""

    def __init__(self, ledger: LedgerStore, mirror: SnapshotCache) -> None:
        self._ledger = ledger
        self._mirror = mirror
        self._lead = mirror.primary

    async def usages(
        self,
        endpoint: EndpointName | None,
        *,
        since_ms: int | None = None,
        until_ms: int | None = None,
        limit: int,
    ) -> Sequence[Usage]:
        """Return the newest lines, newest first."""
        await self._lead.request_all(IngestLines(), None, _ABSORB_S)
        return await self._ledger.usages(endpoint, since_ms, until_ms, limit)

    async def usage(self, request: str, /) -> Usage | None:
        """Return one request's line."""
        await self._lead.request_all(IngestLines(), None, _ABSORB_S)
        usage = await self._ledger.usage(request)
        if usage is not None:
            await self._mirror.fetch_start(usage)
        return usage

    async def totals(
        self,
        endpoint: EndpointName | None = None,
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> LedgerTotals:
        """Return the sums of a stretch, once every router has written down all it holds."""
        await self._lead.settle()
        return await self._ledger.totals(endpoint, since_ms, until_ms)


class SharedKeys:
    """Implements ``KeyAdmin``: a change holds in every router when the call returns."""

    def __init__(self, own: KeyAdmin, lead: Primary) -> None:
        self._own = own
        self._lead = lead

    async def create(self, name: str, scopes: Sequence[str]) -> Key:
        """Make a key. Raises InvalidRequest for a scope that does not exist."""
        key = await self._own.create(name, scopes)
        await self._lead.request_all(RefreshKeys(), None, _KEYS_S)
        return key

    async def revoke(self, key_id: str) -> bool:
        """Make a key invalid at once; return whether there was one."""
        was_there = await self._own.revoke(key_id)
        await self._lead.request_all(RefreshKeys(), None, _KEYS_S)
        return was_there

    def list(self) -> "list[Key]":
        """Return the valid keys, oldest first."""
        return self._own.list()

    def token(self, key_id: str) -> str | None:
        """Return a key's bearer token."""
        return self._own.token(key_id)

    def secret(self, key_id: str) -> str | None:
        """Return a key's AWS secret access key."""
        return self._own.secret(key_id)


class SnapshotRefreshMiddleware:
    """An app that looks at all routers before each request that is about their endpoints.

    Who comes while a look is under way waits for the next one, and shares it.
    """

    def __init__(self, app: ASGIApp, renew: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._renew = renew
        self._looks: list[asyncio.Task[None]] = []
        """The one under way, and the one after it."""
        self._tasks = Tasks()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        path = scope.get("path", "")
        if path in _SEEN_BY or path.startswith(_SEEN_UNDER):
            await self._look()
        await self._app(scope, receive, send)

    async def _look(self) -> None:
        if len(self._looks) < 2:
            look = self._tasks.spawn(self._after(self._looks[-1:]))
            self._looks.append(look)
            look.add_done_callback(self._looks.remove)
        await asyncio.shield(self._looks[-1])

    async def _after(self, before: list[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        await self._renew()
