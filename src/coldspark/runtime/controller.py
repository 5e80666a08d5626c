"""The single writer: takes events from an inbox, steps the pure machines, performs their effects.

Everything runs on the event loop's thread. ``post`` never re-enters a machine: what comes in while
effects are performed waits its turn in the inbox, so each machine sees one event at a time.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import assert_never

from coldspark.core import failures
from coldspark.core.fleet import Advice, Fleet
from coldspark.core.messages import (
    Abort,
    AskEviction,
    AskRoom,
    EvictionAsked,
    FleetEffect,
    FleetEvent,
    Forward,
    GrantRoom,
    NodeJoined,
    ParkFailed,
    ParkReplica,
    PlacementEffect,
    PlacementEvent,
    RefuseRoom,
    Reject,
    ReleaseRoom,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestCancelled,
    RequestFinished,
    Retired,
    RolledBack,
    RolledOut,
    RoomAsked,
    RoomGranted,
    RoomRefused,
    RoomReleased,
    RoomYielded,
    StartReplica,
    StopReplica,
    Ticked,
    UnparkReplica,
    WakeAt,
    YieldRoom,
)
from coldspark.core.metering import Usage
from coldspark.core.placement import AdviceOf, Placement, SmallestType
from coldspark.core.types import (
    EndpointName,
    Exit,
    Failure,
    FailureKind,
    FleetId,
    ReplicaId,
    RequestId,
    Revision,
    VariantName,
    fleet_id,
)
from coldspark.core.waterfall import StartTimeline
from coldspark.runtime import clock
from coldspark.runtime.accounts import Account, Accounts
from coldspark.runtime.calls import Call
from coldspark.runtime.cells import Cell
from coldspark.runtime.ports import Engine, Invocation, Ledger, Sink, StartOrder
from coldspark.runtime.rooms import Rooms
from coldspark.runtime.starts import Starts

_TIMER_SLACK_S = 0.001
"""The loop's timers count whole milliseconds and may fire that much early."""
_NAME_CHARS = 40
StepListener = Callable[[FleetId, FleetEvent, float, list[FleetEffect]], None]
"""Hears what a fleet was told, at which monotonic second, and what it wants done."""


class Controller:
    """All fleets of this process, placement, and the calls in between."""

    def __init__(
        self,
        *,
        engine: Engine,
        ledger: Ledger,
        node: NodeJoined,
        rate_nanos_per_hour: int,
        boot: int,
        smallest_type: SmallestType,
        on_rollback: Callable[[Cell, Revision], None],
        rooms: Callable[[AdviceOf], Rooms] | None = None,
        accounts: Accounts | None = None,
        on_step: StepListener | None = None,
    ) -> None:
        """Take the neighbours. ``on_step`` hears of every step of every fleet, for a journal.

        ``rooms`` makes the placement where it is not this controller's alone, ``accounts`` are
        given where the machine has further meters.
        """
        self._engine = engine
        self._ledger = ledger
        self._node = node
        self._boot = boot
        self._on_rollback = on_rollback
        self._on_step = on_step
        self._cells: dict[FleetId, Cell] = {}
        self._born = 0
        self._owners: dict[ReplicaId, Cell] = {}
        self._parked_bytes: dict[ReplicaId, int] = {}
        """Of devices, until placement is told."""
        self._calls: dict[RequestId, Call] = {}
        self._starts = Starts()
        self.accounts = accounts or Accounts(rate_nanos_per_hour)
        self.placement: Rooms = (
            rooms(self.advise) if rooms else Placement(self.advise, smallest_type)
        )
        self._inbox: deque[tuple[Cell, FleetEvent]] = deque()
        self._is_draining = False
        self._placement_timer: asyncio.TimerHandle | None = None
        self.place(node)

    def cell(self, endpoint: EndpointName, variant: VariantName) -> Cell | None:
        """Return the cell of a variant."""
        return self._cells.get(fleet_id(endpoint, variant))

    def cells(self) -> Iterator[Cell]:
        """Return all cells, those that are being retired included."""
        return iter(list(self._cells.values()))

    def open_cell(
        self,
        endpoint: EndpointName,
        variant: VariantName,
        revision: Revision,
        first: FleetEvent | None = None,
    ) -> Cell:
        """Begin to run a variant; its provisioned replicas start at once.

        ``first`` is what its fleet hears first, such as another floor than the revision's.
        """
        id = fleet_id(endpoint, variant)
        assert id not in self._cells
        self._born += 1
        prefix = f"{endpoint[:_NAME_CHARS]}-{self._boot}x{self._born}."
        cell = Cell(endpoint, variant, Fleet(id, revision, replica_prefix=prefix))
        self._cells[id] = cell
        self.post(cell, first or Ticked())
        return cell

    def retire(self, cell: Cell) -> None:
        """Refuse what waits, let finish what runs, then forget the variant.

        Its name is free at once: the same variant may be opened anew while the old one drains.
        """
        draining = FleetId(f"{cell.id}#{self._born}")
        self._cells[draining] = self._cells.pop(cell.id)
        cell.id = draining
        self.post(cell, Retired())

    def close(self) -> None:
        """Retire every variant: no replica that ends from here on is replaced."""
        for cell in self.cells():
            self.retire(cell)

    def submit(self, cell: Cell, invocation: Invocation, sink: Sink) -> Call:
        """Hand a request to a variant; every outcome reaches the sink."""
        limits = cell.fleet.revision.spec.limits
        call = Call(self, cell, invocation, sink, limits.request_timeout_s)
        size_bytes = len(invocation.body)
        if (stream := invocation.stream) is not None:
            stream.limit_bytes = limits.body_bytes_max
            size_bytes = stream.fed_bytes if stream.size_bytes is None else stream.size_bytes
        if size_bytes > limits.body_bytes_max:
            call.fail(_too_large(size_bytes, limits.body_bytes_max))
            return call
        if not self._ledger.is_writable:
            call.refuse(failures.storage_full())
            return call
        self._calls[invocation.request] = call
        self.post(cell, RequestArrived(invocation.request, call.deadline_s, size_bytes))
        return call

    def post(self, cell: Cell, event: FleetEvent) -> None:
        """Take an event, and what comes in meanwhile; while that is being done, put it there."""
        if self._is_draining:
            self._inbox.append((cell, event))
            return
        self._is_draining = True
        try:
            self._take(cell, event)
            while self._inbox:
                self._take(*self._inbox.popleft())
        finally:
            self._is_draining = False

    def _take(self, cell: Cell, event: FleetEvent) -> None:
        now_s, fleet = clock.monotonic_s(), cell.fleet
        effects = fleet.step(event, now_s)
        if self._on_step is not None:
            self._on_step(fleet.id, event, now_s, effects)
        for effect in effects:
            self._perform(cell, effect, now_s)
        if fleet.is_gone:
            self._forget(cell)

    def _forget(self, cell: Cell) -> None:
        self._cells.pop(cell.id, None)
        self._starts.forget_fleet(cell.fleet)
        if cell.timer is not None:
            cell.timer.cancel()

    def _perform(self, cell: Cell, effect: FleetEffect, now_s: float) -> None:
        if isinstance(effect, Forward):
            # Not a case: every request needs this one, and taking a pattern apart costs more.
            self._forward(effect.request, effect.replica, now_s)
            return
        match effect:
            case Reject(request, failure):
                self._reject(request, failure)
            case Abort(request, replica):
                self._engine.abort(replica, request)
            case WakeAt(at_s):
                self._arm(cell, at_s)
            case AskRoom(replica, revision, _):
                self._owners[replica] = cell
                self._starts.asked(replica)
                resources = revision.spec.resources
                self.place(RoomAsked(replica=replica, fleet=cell.fleet.id, resources=resources))
            case StartReplica(replica, revision):
                self._start(cell, replica, revision)
            case ParkReplica(replica):
                self._engine.park(replica)
            case UnparkReplica(replica):
                self._unpark(replica)
            case YieldRoom(replica):
                self.accounts.park(replica)
                self.place(RoomYielded(replica, self._parked_bytes.pop(replica, 0)))
            case StopReplica(replica, grace_s, _):
                self._engine.stop(replica, grace_s)
            case ReleaseRoom(replica):
                self._parked_bytes.pop(replica, None)
                self._starts.forget(replica)
                self.accounts.release(replica)
                self.place(RoomReleased(replica))
                self._owners.pop(replica, None)
            case RolledBack(revision, _):
                self._on_rollback(cell, revision)
            case RolledOut():
                pass
            case _:
                assert_never(effect)

    def _forward(self, request: RequestId, replica: ReplicaId, now_s: float) -> None:
        call = self._calls[request]
        call.forwarded_s = now_s
        call.account = self.accounts.begin(request, replica, now_s)
        call.sent(self._engine.call(replica, call.invocation, call.deadline_s, call))

    def _reject(self, request: RequestId, failure: Failure) -> None:
        call = self._calls.pop(request, None)
        if call is not None:
            call.fail(failure)

    def _start(self, cell: Cell, replica: ReplicaId, revision: Revision) -> None:
        grant = self.placement.grant(replica)
        assert grant is not None
        self.accounts.place(cell.endpoint, cell.variant, revision, self._node, grant)
        environment = {
            "COLDSPARK_ENDPOINT": cell.endpoint,
            "COLDSPARK_VARIANT": cell.variant,
            "COLDSPARK_REVISION": revision.id,
        }
        order = StartOrder(
            replica=replica,
            fleet=cell.fleet.id,
            revision=revision,
            grant=grant,
            environment=environment,
        )
        self._engine.start(order)

    def _unpark(self, replica: ReplicaId) -> None:
        grant = self.placement.grant(replica)
        assert grant is not None
        self.accounts.unpark(replica, self._node, grant)
        # Nothing is fetched, nothing is started: what it takes from here on is the thaw.
        self._starts.fetched(replica)
        self._starts.booted(replica)
        self._engine.unpark(replica, grant)

    def _arm(self, cell: Cell, at_s: float) -> None:
        if cell.timer is not None:
            cell.timer.cancel()
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, at_s - clock.monotonic_s()) + _TIMER_SLACK_S
        cell.timer = loop.call_later(delay_s, self.post, cell, Ticked())

    def place(self, event: PlacementEvent) -> None:
        """Let placement take an event, and do what comes of it."""
        for effect in self.placement.step(event, clock.monotonic_s()):
            self.perform_placement(effect)

    def perform_placement(self, effect: PlacementEffect) -> None:
        """Do what placement says about a replica of this controller."""
        match effect:
            case GrantRoom(grant):
                self._starts.granted(grant.replica)
                self._tell(grant.replica, RoomGranted(grant.replica))
            case RefuseRoom(replica, reason):
                self._tell(replica, RoomRefused(replica, reason))
            case AskEviction(replica, reason):
                self._tell(replica, EvictionAsked(replica, reason))
            case WakeAt(at_s):
                self._arm_placement(at_s)
            case _:
                assert_never(effect)

    def _arm_placement(self, at_s: float) -> None:
        if self._placement_timer is not None:
            self._placement_timer.cancel()
        loop = asyncio.get_running_loop()
        delay_s = max(0.0, at_s - clock.monotonic_s()) + _TIMER_SLACK_S
        self._placement_timer = loop.call_later(delay_s, self.place, Ticked())

    def _tell(self, replica: ReplicaId, event: FleetEvent) -> None:
        cell = self._owners.get(replica)
        if cell is not None:
            self.post(cell, event)

    def advise(self, replica: ReplicaId) -> Advice | None:
        """Return what placement may know of a replica of this controller."""
        cell = self._owners.get(replica)
        return None if cell is None else cell.fleet.advise(replica)

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
        self._tell(replica, ReplicaReady(replica))

    def on_parked(self, replica: ReplicaId, device_bytes: int) -> None:
        """The replica is frozen; so much of its devices' memory is in the host's."""
        if device_bytes:
            self._parked_bytes[replica] = device_bytes
        self._tell(replica, ReplicaParked(replica))

    def on_park_failed(self, replica: ReplicaId, reason: str) -> None:
        """The replica cannot be parked."""
        self._tell(replica, ParkFailed(replica, reason))

    def on_exited(self, replica: ReplicaId, exit: Exit) -> None:
        """The process is gone."""
        self._tell(replica, ReplicaExited(replica, exit))

    def settle_call(self, call: Call, now_s: float) -> int:
        """Stop the request's meter; return its nanos."""
        request = call.invocation.request
        self._calls.pop(request, None)
        return 0 if call.account is None else self.accounts.finish(request, call.account, now_s)

    def charge_start(self, account: Account) -> int:
        """Return what a replica's start cost, once, in nanos."""
        return self.accounts.take_start(account)

    def timeline_of(self, call: Call) -> StartTimeline | None:
        """Return the start that the call waited for, or None when it waited for none."""
        if call.account is not None:
            return self._starts.timeline(call.account.replica, since_s=call.arrived_s)
        return self._starts.latest(call.cell.fleet, since_s=call.arrived_s)

    def record(self, usage: Usage) -> None:
        """Write the ledger's line."""
        self._ledger.record(usage)

    def record_then(self, usage: Usage, done: Callable[[], None]) -> None:
        """Write the ledger's line at the end of this turn of the loop, then call ``done``."""
        self._ledger.record_then(usage, done)

    def let_go(self, call: Call) -> None:
        """Tell the fleet that the replica is done with the request."""
        self.post(call.cell, RequestFinished(call.invocation.request))

    def cancel(self, call: Call) -> None:
        """Tell the fleet that the caller hung up."""
        self.post(call.cell, RequestCancelled(call.invocation.request))

    def settle(self) -> None:
        """Write down what was held without a request since the last settlement."""
        if not self._ledger.is_writable:
            # The meter keeps it until then.
            return
        provisioned = frozenset(
            replica.id
            for cell in self._cells.values()
            if (floor := cell.fleet.floor)
            for replica in cell.fleet.replicas()[:floor]
        )
        self._ledger.hold(self.accounts.settle(provisioned))


def _too_large(size_bytes: int, limit_bytes: int) -> Failure:
    return Failure(
        kind=FailureKind.BODY_TOO_LARGE,
        message=f"the body has {size_bytes} bytes; the limit is {limit_bytes} (body_bytes_max)."
        " Raise the endpoint's limit, or send a reference to the data instead",
    )
