"""Which node and devices a replica gets, and which ones are evicted when capacity is short.

Several fleets share the nodes through this one machine of requests, reservations, evictions.

1. First come, first served among requests for the same kind of device: a later one never takes
   what an earlier one waits for.
2. A request that no node could hold even when empty is refused at once, with the cure.
3. When capacity is short, evictable replicas are evicted: superseded ones first, then
   idle ones, the one whose loss is cheapest (seconds to start it again, per second it has idled)
   first. Busy ones only after the request has waited ``EVICTION_PATIENCE_S``; they finish their
   work first. Provisioned ones are never evicted. Parked ones hold memory alone, and count as idle.
4. A low-priority request is served after all others, evicts nobody, and blocks nobody.
5. What a parked replica had on its devices counts as its memory. One for which there is not enough
   is evicted. When it wakes, its former devices come first: with others it starts anew.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from coldspark.fleet.fleet import EvictionCandidate
from coldspark.spec.messages import (
    Device,
    DevicesYielded,
    GrantReservation,
    NodeJoined,
    NodeLeft,
    PlacementEffect,
    PlacementEvent,
    RefuseReservation,
    RequestEviction,
    Reservation,
    ReservationReleased,
    ReservationRequested,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import (
    GIB,
    DeviceId,
    FleetId,
    GpuRequest,
    NodeId,
    ReplicaId,
    Resources,
    usable_bytes,
)

EVICTION_PATIENCE_S = 2.0
_BUSY = 1e6
"""Added to the price of a busy replica: any number of idle ones is evicted first."""
_WHOLE = 1_000_000
"""Shares of a device are counted in millionths."""

CandidateLookup = Callable[[ReplicaId], EvictionCandidate | None]
SmallestDeviceType = Callable[[int], str | None]
"""Name the smallest device type that holds so many bytes of model, or None."""


@dataclass(slots=True)
class _Slot:
    device: Device
    holders: dict[ReplicaId, int] = field(default_factory=dict)

    @property
    def free(self) -> int:
        return _WHOLE - sum(self.holders.values())


@dataclass(slots=True)
class _Node:
    joined: NodeJoined
    slots: dict[DeviceId, _Slot]
    memory: dict[ReplicaId, int] = field(default_factory=dict)

    @property
    def free_bytes(self) -> int:
        return self.joined.memory_bytes - sum(self.memory.values())


@dataclass(slots=True)
class _PendingRequest:
    request: ReservationRequested
    since_s: float


class Placement:
    """All nodes, their reservations, and the requests that wait."""

    def __init__(self, advice_of: CandidateLookup, smallest_type: SmallestDeviceType) -> None:
        self._advice_of = advice_of
        self._smallest_type = smallest_type
        self._nodes: dict[NodeId, _Node] = {}
        self._reservations: dict[ReplicaId, Reservation] = {}
        self._fleets: dict[ReplicaId, FleetId] = {}
        self._former_devices: dict[ReplicaId, tuple[Device, ...]] = {}
        """What parked replicas had."""
        self._waiting: OrderedDict[ReplicaId, _PendingRequest] = OrderedDict()

    def step(self, event: PlacementEvent, now: float) -> list[PlacementEffect]:
        """Take one event at ``now`` (monotonic seconds); return what shall be done, in order."""
        effects: list[PlacementEffect] = []
        match event:
            case NodeJoined():
                slots = {device.id: _Slot(device) for device in event.devices}
                self._nodes[event.node] = _Node(event, slots)
            case NodeLeft(node):
                self._forget(node, effects)
            case ReservationRequested():
                refusal = self.refusal(event.resources)
                if refusal is not None:
                    return [RefuseReservation(event.replica, refusal)]
                self._waiting[event.replica] = _PendingRequest(event, now)
            case ReservationReleased(replica):
                self._release(replica)
            case DevicesYielded():
                self._yield(event, effects)
            case Ticked():
                pass
            case _:
                assert_never(event)
        self._serve(now, effects)
        return effects

    def grant(self, replica: ReplicaId) -> Reservation | None:
        """Return a replica's reservation."""
        return self._reservations.get(replica)

    @property
    def is_short(self) -> bool:
        """Return whether any request waits."""
        return bool(self._waiting)

    def refusal(self, resources: Resources) -> str | None:
        """Return why no node could ever hold this, with the cure; None when one could."""
        if not self._nodes:
            return "no node has joined"
        if any(self._could_hold(node, resources) for node in self._nodes.values()):
            return None
        largest = max(node.joined.memory_bytes for node in self._nodes.values())
        if resources.memory_bytes > largest:
            return (
                f"needs {_gib(resources.memory_bytes)} of memory; the largest node has"
                f" {_gib(largest)}: lower `memory`"
            )
        return self._device_refusal(resources)

    def fits_together(self, wanted: Iterable[Resources]) -> bool:
        """Return whether the nodes could hold all of these at once if they were empty."""
        empty = Placement(lambda replica: None, self._smallest_type)
        for node in self._nodes.values():
            empty.step(node.joined, 0.0)
        for number, resources in enumerate(wanted):
            name = ReplicaId(str(number))
            request = ReservationRequested(replica=name, fleet=FleetId(name), resources=resources)
            if not any(isinstance(effect, GrantReservation) for effect in empty.step(request, 0.0)):
                return False
        return True

    def _device_refusal(self, resources: Resources) -> str:
        wanted = " or ".join(str(gpu) for gpu in resources.gpus)
        present = self._present()
        need = resources.gpu_memory_bytes
        known = {slot.device.type for node in self._nodes.values() for slot in node.slots.values()}
        if need is not None and any(gpu.type in known for gpu in resources.gpus):
            smallest = self._smallest_type(need)
            cure = (
                f"the smallest type that fits is {smallest}"
                if smallest
                else ("no single type fits: spread it over several (such as A100:4)")
            )
            return (
                f"a model of {_gb(need)} does not fit {wanted} (90 % of a device's memory is"
                f" usable); {cure}; this machine has {present}"
            )
        return f"no node has {wanted}; there is {present}: ask for a type that is there"

    def _present(self) -> str:
        counts: dict[str, int] = {}
        for node in self._nodes.values():
            for slot in node.slots.values():
                label = slot.device.type + (" (simulated)" if slot.device.is_simulated else "")
                counts[label] = counts.get(label, 0) + 1
        return ", ".join(f"{count}×{label}" for label, count in sorted(counts.items())) or "no GPU"

    def _could_hold(self, node: _Node, resources: Resources) -> bool:
        if resources.memory_bytes > node.joined.memory_bytes:
            return False
        return not resources.gpus or any(
            len(_eligible(node, gpu, resources)) >= gpu.count for gpu in resources.gpus
        )

    def _forget(self, name: NodeId, effects: list[PlacementEffect]) -> None:
        """Drop a node with its reservations; refuse what none of the others could ever hold."""
        self._nodes.pop(name, None)
        for replica in [one for one, grant in self._reservations.items() if grant.node == name]:
            del self._reservations[replica], self._fleets[replica]
            self._former_devices.pop(replica, None)
            self._waiting.pop(replica, None)
        for replica, pending in list(self._waiting.items()):
            refusal = self.refusal(pending.request.resources)
            if refusal is not None:
                del self._waiting[replica]
                effects.append(RefuseReservation(replica, refusal))

    def _release(self, replica: ReplicaId) -> None:
        self._waiting.pop(replica, None)
        grant = self._reservations.pop(replica, None)
        if grant is None:
            return
        node = self._nodes[grant.node]
        del node.memory[replica], self._fleets[replica]
        self._former_devices.pop(replica, None)
        for device in grant.devices:
            del node.slots[device.id].holders[replica]

    def _yield(self, event: DevicesYielded, effects: list[PlacementEffect]) -> None:
        """Reduce a parked replica's reservation to memory, its devices' contents included."""
        replica = event.replica
        self._waiting.pop(replica, None)
        grant = self._reservations.get(replica)
        if grant is None or not grant.devices:
            return
        node = self._nodes[grant.node]
        for device in grant.devices:
            del node.slots[device.id].holders[replica]
        self._reservations[replica] = replace(grant, devices=())
        self._former_devices[replica] = grant.devices
        missing_bytes = event.device_bytes - node.free_bytes
        node.memory[replica] += min(event.device_bytes, node.free_bytes)
        advice = self._advice_of(replica)
        if missing_bytes > 0 and advice is not None and not advice.is_terminating:
            reason = f"its {_gb(event.device_bytes)} of device memory do not fit the node's memory"
            effects.append(RequestEviction(replica, reason))

    def _serve(self, now: float, effects: list[PlacementEffect]) -> None:
        """Grant in order of arrival; request evictions for the first of each kind that waits."""
        blocked: set[str] = set()
        wake_s = float("inf")
        for replica, pending in sorted(
            self._waiting.items(), key=lambda one: one[1].request.is_low_priority
        ):
            kinds = {gpu.type for gpu in pending.request.resources.gpus} or {"memory"}
            grant = None if kinds & blocked else self._find(pending.request)
            if grant is not None:
                self._reserve(grant, pending.request)
                del self._waiting[replica]
                effects.append(GrantReservation(grant))
                continue
            if pending.request.is_low_priority:
                continue
            if not kinds & blocked:
                wake_s = min(wake_s, self._request_evictions(pending, now, effects))
            blocked |= kinds
        if wake_s < float("inf"):
            effects.append(WakeAt(wake_s))

    def _find(self, request: ReservationRequested) -> Reservation | None:
        former = self._former_devices.get(request.replica, ())
        types = {device.type for device in former}
        choices = sorted(request.resources.gpus, key=lambda gpu: gpu.type not in types)
        for gpu in choices or (None,):
            for node in self._able(request):
                if self._short_bytes(node, request) > 0:
                    continue
                slots = _pick(node, gpu, request.resources, former)
                if slots is not None:
                    return Reservation(
                        replica=request.replica,
                        node=node.joined.node,
                        devices=tuple(slot.device for slot in slots),
                        fraction=gpu.fraction if gpu else 1.0,
                    )
        return None

    def _able(self, request: ReservationRequested) -> list[_Node]:
        """Return the candidate nodes: a parked replica stays where it is."""
        parked = self._reservations.get(request.replica)
        return list(self._nodes.values()) if parked is None else [self._nodes[parked.node]]

    def _short_bytes(self, node: _Node, request: ReservationRequested) -> int:
        """Return how much memory is missing, if any."""
        needed = request.resources.memory_bytes - node.memory.get(request.replica, 0)
        return needed - node.free_bytes

    def _reserve(self, grant: Reservation, request: ReservationRequested) -> None:
        node = self._nodes[grant.node]
        node.memory[grant.replica] = request.resources.memory_bytes
        self._fleets[grant.replica] = request.fleet
        for device in grant.devices:
            node.slots[device.id].holders[grant.replica] = _share(grant.fraction)
        self._reservations[grant.replica] = grant
        self._former_devices.pop(grant.replica, None)

    def _request_evictions(
        self, pending: _PendingRequest, now: float, effects: list[PlacementEffect]
    ) -> float:
        """Request eviction of the cheapest victims; return when to try again."""
        may_be_busy = now >= pending.since_s + EVICTION_PATIENCE_S
        requested = {effect.replica for effect in effects if isinstance(effect, RequestEviction)}
        for victim in self._victims(pending, now, may_be_busy):
            advice = self._advice_of(victim)
            if advice is not None and not advice.is_terminating and victim not in requested:
                reason = f"{pending.request.fleet} needs {_describe(pending.request.resources)}"
                effects.append(RequestEviction(victim, reason))
        return max(pending.since_s, now if may_be_busy else 0.0) + EVICTION_PATIENCE_S

    def _victims(self, pending: _PendingRequest, now: float, may_be_busy: bool) -> list[ReplicaId]:
        """Return the cheapest set of replicas whose eviction frees enough, or [] when none does."""
        best: tuple[float, list[ReplicaId]] | None = None
        for gpu in pending.request.resources.gpus or (None,):
            for node in self._able(pending.request):
                costs = self._costs(node, pending.request, now, may_be_busy)
                short_bytes = self._short_bytes(node, pending.request)
                found = _victims_on(node, gpu, pending.request.resources, short_bytes, costs)
                if found is not None and (best is None or found[0] < best[0]):
                    best = found
        return [] if best is None else best[1]

    def _costs(
        self, node: _Node, request: ReservationRequested, now: float, may_be_busy: bool
    ) -> dict[ReplicaId, float]:
        """Price the eviction of each candidate; a fleet never evicts its own peers."""
        costs: dict[ReplicaId, float] = {}
        for replica in node.memory:
            advice = self._advice_of(replica)
            if advice is None or replica == request.replica:
                continue
            is_peer = self._fleets[replica] == request.fleet and not advice.is_superseded
            cost = (
                None if is_peer and not advice.is_terminating else _cost(advice, now, may_be_busy)
            )
            if cost is not None:
                costs[replica] = cost
        return costs

    def check(self) -> None:
        """Assert what must hold after every step."""
        for node in self._nodes.values():
            assert node.free_bytes >= 0
            for slot in node.slots.values():
                assert slot.free >= 0
                assert slot.holders.keys() <= node.memory.keys()
        held = {replica for node in self._nodes.values() for replica in node.memory}
        assert held == self._reservations.keys()
        assert self._former_devices.keys() <= held
        # A parked replica that asks holds its memory meanwhile, and nothing else.
        for replica in held & self._waiting.keys():
            assert not self._reservations[replica].devices


def _cost(advice: EvictionCandidate, now: float, may_be_busy: bool) -> float | None:
    """Price the loss of one replica, in seconds to start it again; None: it is not evictable."""
    if advice.is_terminating:
        return 0.0
    if not advice.is_evictable:
        return None
    if advice.idle_since_s is not None:
        idle_s = max(0.0, now - advice.idle_since_s)
        return 0.0 if advice.is_superseded else advice.start_s / (1.0 + idle_s)
    return _BUSY + advice.start_s if may_be_busy else None


def _share(fraction: float) -> int:
    return round(fraction * _WHOLE)


def _eligible(node: _Node, gpu: GpuRequest, resources: Resources) -> list[_Slot]:
    """Return the devices of the right type that could hold the model if they were empty."""
    need = 0 if resources.gpu_memory_bytes is None else resources.gpu_memory_bytes / gpu.count
    return [
        slot
        for slot in node.slots.values()
        if slot.device.type == gpu.type
        and usable_bytes(slot.device.memory_bytes) * gpu.fraction >= need
    ]


def _pick(
    node: _Node, gpu: GpuRequest | None, resources: Resources, former: tuple[Device, ...] = ()
) -> list[_Slot] | None:
    """Return free devices: former ones first, then the fullest; None when there are too few."""
    if gpu is None:
        return []
    share = _share(gpu.fraction)
    free = [slot for slot in _eligible(node, gpu, resources) if slot.free >= share]
    free.sort(key=lambda slot: (slot.device not in former, slot.free))
    return free[: gpu.count] if len(free) >= gpu.count else None


def _clear(slot: _Slot, share: int, costs: dict[ReplicaId, float]) -> dict[ReplicaId, float] | None:
    """Return the cheapest holders whose eviction frees ``share`` of a device, or None."""
    victims: dict[ReplicaId, float] = {}
    free = slot.free
    for holder in sorted(slot.holders.keys() & costs.keys(), key=lambda name: costs[name]):
        if free >= share:
            break
        victims[holder] = costs[holder]
        free += slot.holders[holder]
    return victims if free >= share else None


def _victims_on(
    node: _Node,
    gpu: GpuRequest | None,
    resources: Resources,
    short_bytes: int,
    costs: dict[ReplicaId, float],
) -> tuple[float, list[ReplicaId]] | None:
    victims: dict[ReplicaId, float] = {}
    if gpu is not None:
        cleared = sorted(
            (
                found
                for slot in _eligible(node, gpu, resources)
                if (found := _clear(slot, _share(gpu.fraction), costs)) is not None
            ),
            key=lambda found: sum(found.values()),
        )
        if len(cleared) < gpu.count:
            return None
        for found in cleared[: gpu.count]:
            victims.update(found)
    short = short_bytes - sum(node.memory[victim] for victim in victims)
    for victim in sorted(costs, key=lambda name: costs[name]):
        if short <= 0:
            break
        if victim not in victims:
            victims[victim] = costs[victim]
            short -= node.memory[victim]
    return None if short > 0 else (sum(victims.values()), list(victims))


def _describe(resources: Resources) -> str:
    if resources.gpus:
        return " or ".join(str(gpu) for gpu in resources.gpus)
    return f"{_gib(resources.memory_bytes)} of memory"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.3g} GiB"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.3g} GB"
