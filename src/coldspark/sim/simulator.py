"""Nodes and callers in virtual time, under the production driver and meter.

It performs the effects that the platform performs live: a start takes a drawn time, a request takes
its own. Nothing here decides anything. Deterministic by its seed.
"""

import random
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate, count, repeat
from math import inf
from operator import itemgetter
from typing import ClassVar, assert_never

from coldspark.billing.meter import WHOLE_PPM, Meter, MeteredInterval, share_ppm
from coldspark.billing.usage import IdleUsageState
from coldspark.fleet.driver import Driver
from coldspark.fleet.fleet import Fleet
from coldspark.fleet.placement import Placement
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import (
    Abort,
    FleetEvent,
    NodeJoined,
    ParkReplica,
    RareEffect,
    Reject,
    ReleaseReservation,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestFinished,
    RequestReservation,
    Reservation,
    RolledBack,
    RolledOut,
    ScaleBoundsChanged,
    StartReplica,
    StopReplica,
    Ticked,
    UnparkReplica,
    YieldDevices,
)
from coldspark.spec.types import Exit, FleetId, ReplicaId, RequestId, Revision, RootCause

_STOPPED = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)
_CRASHED = Exit(cause=RootCause.UNKNOWN, message="simulated failure", exit_status=1)
_PROGRESS_EVERY = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaBehaviour:
    """How long the replicas of an endpoint take for what is not a request."""

    start: Durations
    """From reservation granted to ready."""
    thaw: Durations = field(default_factory=lambda: Durations.fixed(0.005))
    """From reservation granted to ready, of a parked one."""
    failed_starts: float = 0.0
    """The share of starts that end in a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEndpoint:
    """What is simulated: a revision, its requests, and how it behaves."""

    name: str
    revision: Revision
    traffic: Traffic
    behaviour: ReplicaBehaviour
    bounds_changes: tuple[tuple[float, ScaleBoundsChanged], ...] = ()
    """When its replica bounds change, in order."""


@dataclass(slots=True, eq=False)
class _Held:
    """One replica: its state, since when, and its history."""

    since_s: float
    state: IdleUsageState | None = IdleUsageState.STARTING
    """None while it works."""
    is_parked: bool = False
    is_new: bool = True
    """It was never ready."""
    ready_s: float = inf
    running: int = 0
    served: int = 0


@dataclass(slots=True, eq=False)
class EndpointRun:
    """One endpoint while it is simulated, and the results of its requests."""

    is_shadow: ClassVar[bool] = False

    endpoint: SimulatedEndpoint
    fleet: Fleet
    first: int
    """The number of its first request; numbers are unique, as one meter charges them all."""
    waits_s: "array[float]"
    """From arrival to a replica, by request; inf where none ever took it."""
    cold: bytearray
    """1 where the request waited for a start or a thaw."""
    armed_s: float = inf
    replicas: dict[ReplicaId, _Held] = field(default_factory=dict)
    running: dict[RequestId, _Held] = field(default_factory=dict)
    busy_s: float = 0.0
    """Replica-seconds with at least one request."""
    idle_s: float = 0.0
    starting_s: float = 0.0
    parked_s: float = 0.0
    busy_nanos: int = 0
    idle_nanos: int = 0
    """Idle or parked."""
    starting_nanos: int = 0
    starts: int = 0
    thaws: int = 0
    unused: int = 0
    """Replicas that never served a request."""
    rejected: int = 0
    arrivals_s: Sequence[float] = field(init=False)
    services_s: Sequence[float] = field(init=False)
    timeout_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.arrivals_s = self.endpoint.traffic.arrivals_s
        self.services_s = self.endpoint.traffic.services_s
        self.timeout_s = self.endpoint.revision.spec.limits.request_timeout_s

    @property
    def held_s(self) -> float:
        """Return the replica-seconds that held a device: starting, idle or busy."""
        return self.busy_s + self.idle_s + self.starting_s

    def add_time(self, replica: _Held, now: float) -> None:
        """Count the time since the replica's last change."""
        elapsed_s = now - replica.since_s
        replica.since_s = now
        if replica.is_parked:
            self.parked_s += elapsed_s
        elif replica.state is IdleUsageState.STARTING:
            self.starting_s += elapsed_s
        elif replica.state is IdleUsageState.IDLE:
            self.idle_s += elapsed_s
        else:
            self.busy_s += elapsed_s

    def add_cost(self, interval: MeteredInterval | None) -> None:
        """Count what an interval without a request cost."""
        if interval is None:
            return
        if interval.state is IdleUsageState.STARTING:
            self.starting_nanos += interval.nanos
        else:
            self.idle_nanos += interval.nanos


class Simulator:
    """Endpoints, nodes and a clock. Implements the driver's ``Performer``."""

    def __init__(
        self,
        endpoints: Sequence[SimulatedEndpoint],
        nodes: Sequence[NodeJoined],
        *,
        rate_nanos_per_hour: int,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Take the system. ``on_progress`` is called with (done, all) requests; it may raise to
        cancel.

        ``rate_nanos_per_hour`` is what all nodes together cost.
        """
        self._chance = random.Random(seed)
        self._on_progress = on_progress
        self.driver: Driver[EndpointRun] = Driver(
            self,
            lambda advice_of: Placement(advice_of, lambda size_bytes: None),
            lambda: self.now,
        )
        self.placement = self.driver.placement
        self._post = self.driver.post
        self._nodes = {node.node: node for node in nodes}
        self.meter = Meter(rate_nanos_per_hour, 0)
        self.now = 0.0
        firsts = accumulate((len(endpoint.traffic) for endpoint in endpoints), initial=0)
        self.runs = list(map(self._lane, endpoints, firsts))
        self._timers: list[
            tuple[float, int, EndpointRun | None, FleetEvent | RequestId | None]
        ] = []
        """When, in which order, whose, and what: an event, a request that is done, a tick."""
        self._count = 0
        self.overhead_nanos = 0
        """What the nodes cost beyond all that anybody held; known after ``run``."""
        self._armed_placement_s = inf
        for node in nodes:
            self.driver.place(node)
        for run in self.runs:
            first: FleetEvent = Ticked()
            for at_s, change in run.endpoint.bounds_changes:
                if at_s > 0:
                    self._at(at_s, run, change)
                else:
                    first = change
            self._post(run, first)

    def _lane(self, endpoint: SimulatedEndpoint, first: int) -> EndpointRun:
        fleet = Fleet(FleetId(endpoint.name), endpoint.revision, replica_prefix=f"{endpoint.name}.")
        count = len(endpoint.traffic)
        return EndpointRun(endpoint, fleet, first, array("d", [inf]) * count, bytearray(count))

    def run(self, until_s: float | None = None) -> None:
        """Simulate all requests, then go on until ``until_s`` or until no timer is left."""
        order, timers = self._order(), self._timers
        total = sum(len(run.arrivals_s) for run in self.runs)
        for done, (arrived_s, lane, index) in enumerate(order, 1):
            while timers and timers[0][0] <= arrived_s:
                self._next()
            self.now = arrived_s
            number = RequestId(str(lane.first + index))
            arrived = RequestArrived(number, arrived_s + lane.timeout_s)
            self._post(lane, arrived)
            if self._on_progress is not None and done % _PROGRESS_EVERY == 0:
                self._on_progress(done, total)
        last_s = inf if until_s is None else until_s
        while timers and timers[0][0] <= last_s and (until_s is not None or self._is_busy()):
            self._next()
        if until_s is not None:
            self.now = max(self.now, until_s)
        self._close()
        if self._on_progress is not None:
            self._on_progress(total, total)

    def _order(self) -> Iterable[tuple[float, EndpointRun, int]]:
        if len(self.runs) == 1:
            run = self.runs[0]
            return zip(run.arrivals_s, repeat(run), count(), strict=False)
        rows = [
            (arrived_s, run, index)
            for run in self.runs
            for index, arrived_s in enumerate(run.endpoint.traffic.arrivals_s)
        ]
        rows.sort(key=itemgetter(0))
        return rows

    def _is_busy(self) -> bool:
        return any(run.replicas or run.fleet.queued for run in self.runs)

    def _next(self) -> None:
        """Fire the next timer."""
        at_s, _, run, event = heappop(self._timers)
        if at_s > self.now:
            self.now = at_s
        if run is None:
            if at_s == self._armed_placement_s:
                self._armed_placement_s = inf
                self.driver.place(Ticked())
        elif type(event) is str:
            request = RequestId(event)
            # One that was aborted meanwhile is not running any more.
            if (held := run.running.pop(request, None)) is not None:
                self._finish(run, request, held)
                self._post(run, RequestFinished(request))
        elif event is None:
            if at_s == run.armed_s:
                run.armed_s = inf
                self._post(run, Ticked())
        else:
            assert not isinstance(event, str)
            self._before(run, event)
            self._post(run, event)

    def _at(self, at_s: float, run: EndpointRun | None, event: FleetEvent | None) -> None:
        self._count += 1
        heappush(self._timers, (at_s, self._count, run, event))

    def forward(self, run: EndpointRun, request: RequestId, replica: ReplicaId, now: float) -> None:
        """Run the request on the replica for its service time."""
        index, held = int(request) - run.first, run.replicas[replica]
        arrived_s = run.arrivals_s[index]
        run.waits_s[index] = now - arrived_s
        if held.ready_s > arrived_s:
            run.cold[index] = 1
        interval = self.meter.begin_request(request, replica, round(now * 1e6))
        if not held.running:
            # A replica that takes requests was idle.
            assert interval is not None
            run.idle_nanos += interval.nanos
            run.idle_s += now - held.since_s
            held.since_s, held.state = now, None
        held.running += 1
        held.served += 1
        run.running[request] = held
        self._count += 1
        done_s = now + run.services_s[index]
        heappush(self._timers, (done_s, self._count, run, request))

    def _finish(self, run: EndpointRun, request: RequestId, held: _Held) -> None:
        now = self.now
        run.busy_nanos += self.meter.finish_request(request, round(now * 1e6))
        held.running -= 1
        if not held.running:
            run.busy_s += now - held.since_s
            held.since_s, held.state = now, IdleUsageState.IDLE

    def _before(self, run: EndpointRun, event: FleetEvent) -> None:
        """Account for a replica up to the event that changes its state."""
        if isinstance(event, ReplicaReady):
            held = run.replicas[event.replica]
            run.add_time(held, self.now)
            held.state, held.ready_s = IdleUsageState.IDLE, self.now
            if held.is_new:
                held.is_new = False
                run.add_cost(self.meter.mark_ready(event.replica, round(self.now * 1e6)))
        elif isinstance(event, ReplicaExited):
            gone = run.replicas.get(event.replica)
            for request, held in list(run.running.items()):
                if held is gone:
                    del run.running[request]
                    self._finish(run, request, held)

    def wake(self, run: EndpointRun | None, at_s: float) -> None:
        """Send ``Ticked`` then, to placement where no fleet is given; a later call replaces it."""
        if run is None:
            self._armed_placement_s = at_s
        else:
            run.armed_s = at_s
        self._at(at_s, run, None)

    def perform(self, run: EndpointRun, effect: RareEffect) -> None:
        """Perform any other effect."""
        match effect:
            case Reject(request, _):
                run.rejected += 1
                # One that was running is aborted at once: ``Abort`` follows.
                run.waits_s[int(request) - run.first] = inf
            case Abort(request, _):
                if (held := run.running.pop(request, None)) is not None:
                    self._finish(run, request, held)
                self._post(run, RequestFinished(request))
            case StartReplica(replica, _):
                self._start(run, replica)
            case UnparkReplica(replica):
                self._unpark(run, replica)
            case ParkReplica(replica):
                self._post(run, ReplicaParked(replica))
            case YieldDevices(replica):
                self._yield(run, replica)
            case StopReplica(replica, _, _):
                self._at(self.now, run, ReplicaExited(replica, _STOPPED))
            case ReleaseReservation(replica):
                self._release(run, replica)
            case RequestReservation() | RolledOut() | RolledBack():
                pass
            case _:
                assert_never(effect)

    def _start(self, run: EndpointRun, replica: ReplicaId) -> None:
        grant, behaviour = self.placement.grant(replica), run.endpoint.behaviour
        assert grant is not None
        self.meter.add_replica(replica, self._share_ppm(run, grant), round(self.now * 1e6))
        run.replicas[replica] = _Held(self.now)
        run.starts += 1
        ready_s = self.now + behaviour.start.draw(self._chance)
        if behaviour.failed_starts and self._chance.random() < behaviour.failed_starts:
            self._at(ready_s, run, ReplicaExited(replica, _CRASHED))
        else:
            self._at(ready_s, run, ReplicaReady(replica))

    def _unpark(self, run: EndpointRun, replica: ReplicaId) -> None:
        grant = self.placement.grant(replica)
        assert grant is not None
        held = run.replicas[replica]
        run.add_time(held, self.now)
        held.is_parked, held.state = False, IdleUsageState.IDLE
        share = self._share_ppm(run, grant)
        run.add_cost(self.meter.set_share(replica, share, round(self.now * 1e6)))
        run.thaws += 1
        thaw_s = run.endpoint.behaviour.thaw.draw(self._chance)
        self._at(self.now + thaw_s, run, ReplicaReady(replica))

    def _yield(self, run: EndpointRun, replica: ReplicaId) -> None:
        held = run.replicas.get(replica)
        if held is not None:
            run.add_time(held, self.now)
            held.is_parked = True
            share = self._parked_ppm(run)
            run.add_cost(self.meter.set_share(replica, share, round(self.now * 1e6)))

    def _release(self, run: EndpointRun, replica: ReplicaId) -> None:
        held = run.replicas.pop(replica, None)
        if held is not None:
            run.add_time(held, self.now)
            run.add_cost(self.meter.remove_replica(replica, round(self.now * 1e6)))
            run.unused += not held.served

    def _share_ppm(self, run: EndpointRun, grant: Reservation) -> int:
        return share_ppm(self._nodes[grant.node], grant, run.endpoint.revision.spec.resources)

    def _parked_ppm(self, run: EndpointRun) -> int:
        resources = run.endpoint.revision.spec.resources
        largest = max(node.memory_bytes for node in self._nodes.values())
        return min(WHOLE_PPM, round(WHOLE_PPM * resources.memory_bytes / largest))

    def _close(self) -> None:
        """Count the time of what is held still."""
        for run in self.runs:
            for held in run.replicas.values():
                run.add_time(held, self.now)
        intervals, self.overhead_nanos = self.meter.settle(round(self.now * 1e6))
        for interval in intervals:
            owner = self.driver.owner(interval.replica)
            assert owner is not None
            owner.add_cost(interval)
