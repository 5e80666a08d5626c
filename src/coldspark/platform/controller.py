"""The single writer: performs in the real world what the driver's fleets want done.

Everything runs on the event loop's thread; what happens to a replica comes back as an event.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import assert_never

from coldspark import clock
from coldspark.billing.replica_accounts import ReplicaAccount, ReplicaAccounts
from coldspark.billing.usage import Usage
from coldspark.fleet.driver import Driver, PlacementPort, StepListener
from coldspark.fleet.fleet import Fleet
from coldspark.fleet.placement import CandidateLookup, Placement, SmallestDeviceType
from coldspark.platform.call import Call
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import Engine, Invocation, Ledger, Sink, StartOrder
from coldspark.platform.start_timelines import StartTimelines
from coldspark.spec import failures
from coldspark.spec.messages import (
    Abort,
    FleetEvent,
    NodeJoined,
    NodeLeft,
    ParkFailed,
    ParkReplica,
    RareEffect,
    Reject,
    ReleaseReservation,
    ReplicaExited,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    RequestReservation,
    RolledBack,
    RolledOut,
    StartReplica,
    StopReplica,
    Ticked,
    UnparkReplica,
    YieldDevices,
)
from coldspark.spec.types import (
    EndpointName,
    Exit,
    Failure,
    FailureKind,
    FleetId,
    NodeId,
    ReplicaId,
    RequestId,
    Revision,
    RootCause,
    VariantName,
    fleet_id,
)
from coldspark.spec.waterfall import StartTimeline

_TIMER_SLACK_S = 0.001
"""The loop's timers count whole milliseconds and may fire that much early."""
_NAME_CHARS = 40


class Controller:
    """All fleets of this process, and the calls to them. Implements the driver's ``Performer``."""

    def __init__(
        self,
        *,
        engine: Engine,
        ledger: Ledger,
        node: NodeJoined,
        rate_nanos_per_hour: int,
        boot: int,
        smallest_type: SmallestDeviceType,
        on_rollback: Callable[[HostedFleet, Revision], None],
        placement: Callable[[CandidateLookup], PlacementPort] | None = None,
        accounts: ReplicaAccounts | None = None,
        on_step: StepListener | None = None,
    ) -> None:
        """Take the dependencies. ``on_step`` is called with every step of every fleet.

        ``placement`` makes it where it is not this controller's alone, ``accounts`` are given
        where the machine has further meters.
        """
        self._engines: dict[NodeId, Engine] = {}
        self._engine_of: dict[ReplicaId, Engine] = {}
        """Of every replica that was started and is not released."""
        self._ledger = ledger
        self._nodes: dict[NodeId, NodeJoined] = {}
        self._boot = boot
        self._on_rollback = on_rollback
        self._hosted_fleets: dict[FleetId, HostedFleet] = {}
        self._born = self._asides = 0
        self._calls: dict[RequestId, Call] = {}
        self._starts = StartTimelines()
        self.accounts = accounts or ReplicaAccounts(rate_nanos_per_hour)
        self._placement_timer: asyncio.TimerHandle | None = None
        self.driver: Driver[HostedFleet] = Driver(
            self,
            placement or (lambda advice_of: Placement(advice_of, smallest_type)),
            clock.monotonic_s,
            on_step=on_step,
            on_change=_changed,
            on_gone=self._forget,
        )
        self.placement = self.driver.placement
        self.post = self.driver.post
        self.add_node(node, engine)

    def add_node(self, node: NodeJoined, engine: Engine) -> None:
        """Offer a node's devices and memory; what is placed there runs on its engine.

        A node that is known already was started anew: what ran there is lost.
        """
        if node.node in self._nodes:
            self.remove_node(node.node)
        self._nodes[node.node], self._engines[node.node] = node, engine
        self.driver.place(node)

    def remove_node(self, node: NodeId) -> None:
        """Take a node for lost: nothing is placed there, and what ran there has died."""
        del self._engines[node], self._nodes[node]
        # By the node, not by the engine: one engine may have several nodes.
        lost = [
            replica
            for replica in self._engine_of
            if (grant := self.placement.grant(replica)) is not None and grant.node == node
        ]
        # Before anything ends: what is started in its place must go elsewhere.
        self.driver.place(NodeLeft(node))
        exit = Exit(cause=RootCause.NODE_LOST, message=f"node {node} is lost")
        for replica in lost:
            self.on_exited(replica, exit)

    def hosted(self, endpoint: EndpointName, variant: VariantName) -> HostedFleet | None:
        """Return the hosted fleet of a variant."""
        return self._hosted_fleets.get(fleet_id(endpoint, variant))

    def hosted_fleets(self) -> Iterator[HostedFleet]:
        """Return all hosted fleets, those that are being retired included."""
        return iter(list(self._hosted_fleets.values()))

    def open_fleet(
        self,
        endpoint: EndpointName,
        variant: VariantName,
        revision: Revision,
        first: FleetEvent | None = None,
        *,
        is_beside: bool = False,
        is_shadow: bool = False,
    ) -> HostedFleet:
        """Begin to run a variant; its provisioned replicas start at once.

        ``first`` is what its fleet hears first, such as another floor than the revision's.
        ``is_beside``: another hosted fleet has the variant's name, and keeps it until ``install``.
        ``is_shadow``: its replicas take only room that nobody else wants.
        """
        self._born += 1
        prefix = f"{endpoint[:_NAME_CHARS]}-{self._boot}x{self._born}."
        fleet = Fleet(fleet_id(endpoint, variant), revision, replica_prefix=prefix)
        hosted = HostedFleet(endpoint, variant, fleet)
        hosted.is_shadow = is_shadow
        if is_beside:
            hosted.id = self._aside(hosted)
        assert hosted.id not in self._hosted_fleets
        self._hosted_fleets[hosted.id] = hosted
        self.driver.post(hosted, first or Ticked())
        return hosted

    def install(self, hosted: HostedFleet) -> None:
        """Give what was opened beside another its variant's name, which must be free."""
        assert hosted.fleet.id not in self._hosted_fleets
        self._rename(hosted, hosted.fleet.id)

    def set_aside(self, hosted: HostedFleet) -> None:
        """Free its name: the same variant may be opened anew while this one serves on."""
        self._rename(hosted, self._aside(hosted))

    def _aside(self, hosted: HostedFleet) -> FleetId:
        self._asides += 1
        return FleetId(f"{hosted.fleet.id}#{self._asides}")

    def _rename(self, hosted: HostedFleet, id: FleetId) -> None:
        self._hosted_fleets[id] = self._hosted_fleets.pop(hosted.id)
        hosted.id = id

    def retire(self, hosted: HostedFleet) -> None:
        """Refuse what waits, let finish what runs, then forget the variant.

        Its name is free at once.
        """
        self.set_aside(hosted)
        self.driver.retire(hosted)

    def close(self) -> None:
        """Retire every variant: no replica that ends from here on is replaced."""
        for hosted in self.hosted_fleets():
            self.retire(hosted)

    def submit(self, hosted: HostedFleet, invocation: Invocation, sink: Sink) -> Call:
        """Hand a request to a variant; every outcome reaches the sink."""
        spec = hosted.fleet.revision.spec
        limits, target = spec.limits, invocation.target
        terms = invocation.job
        timeout_s = limits.request_timeout_s if terms is None else terms.wait_s
        run_s = None if terms is None else terms.run_s
        call = Call(self, hosted, invocation, sink, timeout_s)
        size_bytes = len(invocation.body)
        if (stream := invocation.stream) is not None:
            stream.limit_bytes = limits.body_bytes_max
            size_bytes = stream.fed_bytes if stream.size_bytes is None else stream.size_bytes
        if size_bytes > limits.body_bytes_max:
            call.fail(_too_large(size_bytes, limits.body_bytes_max))
            return call
        if target is not None or spec.multi_model is not None:
            refusal = failures.no_target(target, has_many=spec.multi_model is not None)
            if refusal is not None:
                call.fail(refusal)
                return call
        if not self._ledger.is_writable:
            call.refuse(failures.storage_full())
            return call
        self._calls[invocation.request] = call
        arrived = RequestArrived(
            invocation.request, call.deadline_s, size_bytes, target=target, run_s=run_s
        )
        self.driver.post(hosted, arrived)
        return call

    def _forget(self, hosted: HostedFleet) -> None:
        self._hosted_fleets.pop(hosted.id, None)
        self._starts.forget_fleet(hosted.fleet)
        if hosted.timer is not None:
            hosted.timer.cancel()

    def forward(
        self, hosted: HostedFleet, request: RequestId, replica: ReplicaId, now: float
    ) -> None:
        """Send the request to the replica."""
        call = self._calls[request]
        call.forwarded_s = now
        if call.invocation.job is not None:
            call.deadline_s = now + call.invocation.job.run_s
        call.account = self.accounts.begin(request, replica, now)
        call.sent(self._engine_of[replica].call(replica, call.invocation, call.deadline_s, call))

    def wake(self, hosted: HostedFleet | None, at_s: float) -> None:
        """Send ``Ticked`` then, to placement where no fleet is given; a later call replaces it."""
        timer = self._placement_timer if hosted is None else hosted.timer
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, at_s - clock.monotonic_s()) + _TIMER_SLACK_S
        if hosted is None:
            self._placement_timer = loop.call_later(delay_s, self.driver.place, Ticked())
        else:
            hosted.timer = loop.call_later(delay_s, self.driver.post, hosted, Ticked())

    def perform(self, hosted: HostedFleet, effect: RareEffect) -> None:
        """Do what else a fleet wants."""
        match effect:
            case Reject(request, failure):
                self._reject(request, failure)
            case Abort(request, replica):
                self._engine_of[replica].abort(replica, request)
            case RequestReservation(replica, _, _):
                self._starts.asked(replica)
            case StartReplica(replica, revision):
                self._start(hosted, replica, revision)
            case ParkReplica(replica):
                self._park(replica)
            case UnparkReplica(replica):
                self._unpark(replica)
            case YieldDevices(replica):
                self.accounts.park(replica)
            case StopReplica(replica, grace_s, _):
                self._stop(replica, grace_s)
            case ReleaseReservation(replica):
                self._starts.forget(replica)
                self._engine_of.pop(replica, None)
                self.accounts.release(replica)
            case RolledBack(revision, _):
                self._on_rollback(hosted, revision)
            case RolledOut():
                _changed(hosted)
            case _:
                assert_never(effect)

    def _reject(self, request: RequestId, failure: Failure) -> None:
        call = self._calls.pop(request, None)
        if call is not None:
            call.fail(failure)

    def _start(self, hosted: HostedFleet, replica: ReplicaId, revision: Revision) -> None:
        self._starts.granted(replica)
        grant = self.placement.grant(replica)
        if grant is None:
            # An engine may lose its node within a step, while others' grants wait their turn.
            message = "the node that was to run it is lost"
            self.on_exited(replica, Exit(cause=RootCause.NODE_LOST, message=message))
            return
        self.accounts.add_replica(
            hosted.endpoint, hosted.variant, revision, self._nodes[grant.node], grant
        )
        environment = {
            "COLDSPARK_ENDPOINT": hosted.endpoint,
            "COLDSPARK_VARIANT": hosted.variant,
            "COLDSPARK_REVISION": revision.id,
        }
        order = StartOrder(
            replica=replica,
            fleet=hosted.fleet.id,
            revision=revision,
            grant=grant,
            environment=environment,
        )
        engine = self._engine_of[replica] = self._engines[grant.node]
        engine.start(order)

    def _stop(self, replica: ReplicaId, grace_s: float) -> None:
        engine = self._engine_of.get(replica)
        if engine is not None:
            engine.stop(replica, grace_s)

    def _park(self, replica: ReplicaId) -> None:
        parking = self._engine_of[replica].parking
        if parking is None:
            self.on_park_failed(replica, "the engine that it runs on cannot park replicas")
        else:
            parking.park(replica)

    def _unpark(self, replica: ReplicaId) -> None:
        grant = self.placement.grant(replica)
        if grant is None:
            # As in a start, but this replica was there: its exit is on its way.
            return
        self.accounts.unpark(replica, self._nodes[grant.node], grant)
        self._starts.granted(replica)
        # Nothing is fetched, nothing is started: what it takes from here on is the thaw.
        self._starts.fetched(replica)
        self._starts.booted(replica)
        parking = self._engine_of[replica].parking
        assert parking is not None, "it was parked"
        parking.unpark(replica, grant)

    def on_fetched(self, replica: ReplicaId) -> None:
        """Model data and environment are here."""
        self._starts.fetched(replica)

    def on_booted(self, replica: ReplicaId) -> None:
        """The process exists."""
        self._starts.booted(replica)

    def on_ready(self, replica: ReplicaId) -> None:
        """The replica takes calls."""
        self._starts.ready(replica)
        self.accounts.ready(replica)
        self.driver.tell(replica, ReplicaReady(replica))

    def on_parked(self, replica: ReplicaId, device_bytes: int) -> None:
        """The replica is frozen; so much of its devices' memory is in the host's."""
        self.driver.parked(replica, device_bytes)

    def on_park_failed(self, replica: ReplicaId, reason: str) -> None:
        """The replica cannot be parked."""
        self.driver.tell(replica, ParkFailed(replica, reason))

    def on_exited(self, replica: ReplicaId, exit: Exit) -> None:
        """The process is gone."""
        self.driver.tell(replica, ReplicaExited(replica, exit))

    def settle_call(self, call: Call, now_s: float) -> int:
        """Stop the request's meter; return its nanos."""
        request = call.invocation.request
        self._calls.pop(request, None)
        return 0 if call.account is None else self.accounts.finish(request, call.account, now_s)

    def charge_start(self, account: ReplicaAccount) -> int:
        """Return what a replica's start cost, once, in nanos."""
        return self.accounts.take_start(account)

    def timeline_of(self, call: Call) -> StartTimeline | None:
        """Return the start that the call waited for, or None when it waited for none."""
        if call.account is not None:
            return self._starts.timeline(call.account.replica, since_s=call.arrived_s)
        return self._starts.latest(call.hosted.fleet, since_s=call.arrived_s)

    def record(self, usage: Usage) -> None:
        """Write the ledger's line."""
        self._ledger.record(usage)

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Write the ledger's line at the end of this turn of the loop, then call ``done``."""
        self._ledger.record_then(usage, done)

    def let_go(self, call: Call) -> None:
        """Tell the fleet that the replica is done with the request."""
        self.driver.post(call.hosted, RequestFinished(call.invocation.request))

    def cancel(self, call: Call) -> None:
        """Tell the fleet that the caller hung up."""
        self.driver.post(call.hosted, RequestCancelled(call.invocation.request))

    def settle(self) -> None:
        """Write down what was held without a request since the last settlement."""
        if not self._ledger.is_writable:
            # The meter keeps it until then.
            return
        provisioned = frozenset(
            replica.id
            for hosted in self._hosted_fleets.values()
            if (floor := hosted.fleet.replicas_min)
            for replica in hosted.fleet.replicas()[:floor]
        )
        self._ledger.record_idle(self.accounts.settle(provisioned))


def _changed(hosted: HostedFleet) -> None:
    if hosted.watch is not None:
        hosted.watch()


def _too_large(size_bytes: int, limit_bytes: int) -> Failure:
    return Failure(
        kind=FailureKind.BODY_TOO_LARGE,
        message=f"the body has {size_bytes} bytes; the limit is {limit_bytes} (body_bytes_max)."
        " Raise the endpoint's limit, or send a reference to the data instead",
    )
