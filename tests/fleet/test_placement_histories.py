"""Any history of asks, grants and evictions: nothing is over-committed, all are served."""

from dataclasses import replace

from example_counts import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coldspark.fleet.fleet import EvictionCandidate
from coldspark.fleet.placement import EVICTION_PATIENCE_S, Placement
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

MEMORY = {"T4": 15 * GIB, "A10G": 22 * GIB, "A100": 40 * GIB}


def smallest_type(need_bytes: int) -> str | None:
    """Name the smallest type of the catalogue that holds so much."""
    fitting = [name for name, size in MEMORY.items() if usable_bytes(size) >= need_bytes]
    return min(fitting, key=lambda name: MEMORY[name], default=None)


def a_node(name: str, gigabytes: int, types: list[str]) -> NodeJoined:
    devices = tuple(
        Device(id=DeviceId(f"{name}.{index}"), type=kind, memory_bytes=MEMORY[kind])
        for index, kind in enumerate(types)
    )
    return NodeJoined(node=NodeId(name), memory_bytes=gigabytes * GIB, vcpus=4, devices=devices)


NODES = st.lists(
    st.tuples(st.integers(1, 8), st.lists(st.sampled_from(["T4", "A10G"]), max_size=3)),
    min_size=1,
    max_size=3,
)
GPUS = st.one_of(
    st.builds(GpuRequest, type=st.sampled_from(sorted(MEMORY)), count=st.integers(1, 2)),
    st.builds(
        GpuRequest, type=st.sampled_from(["T4", "A10G"]), fraction=st.sampled_from([0.3, 0.5])
    ),
)
WANTED = st.builds(
    Resources,
    gpus=st.lists(GPUS, max_size=2).map(tuple),
    gpu_memory_bytes=st.none() | st.integers(1, 45).map(lambda count: count * GIB),
    memory_bytes=st.integers(1, 10).map(lambda count: count * GIB),
)


class PlacementHistory(RuleBasedStateMachine):
    """Play fleets that ask, load, work, idle and leave, on nodes that join."""

    @initialize(nodes=NODES)
    def begin(self, nodes: list[tuple[int, list[str]]]) -> None:
        self.now = 0.0
        self.born = 0
        self.wake_s: float | None = None
        self.nodes: dict[NodeId, NodeJoined] = {}
        self.asked: dict[ReplicaId, ReservationRequested] = {}
        self.held: dict[ReplicaId, Reservation] = {}
        self.advice: dict[ReplicaId, EvictionCandidate] = {}
        self.parked: dict[ReplicaId, Reservation] = {}
        self.placement = Placement(self.advice.get, smallest_type)
        for gigabytes, types in nodes:
            self.join(gigabytes, types)

    def step(self, event: PlacementEvent) -> list[PlacementEffect]:
        effects = self.placement.step(event, self.now)
        for effect in effects:
            match effect:
                case GrantReservation(grant):
                    assert grant.replica in self.asked
                    parked = self.parked.pop(grant.replica, None)
                    assert parked is None or parked.node == grant.node
                    self.held[grant.replica] = grant
                    self.tell(grant.replica)
                case RefuseReservation(replica):
                    del self.asked[replica]
                case RequestEviction(replica):
                    assert self.advice[replica].is_evictable
                    self.tell(replica, is_evictable=False, is_terminating=True)
                case WakeAt(at_s):
                    assert at_s > self.now
                    self.wake_s = at_s
        return effects

    def tell(self, replica: ReplicaId, **changes: object) -> None:
        known: dict[str, object] = {
            "idle_since_s": None,
            "is_evictable": False,
            "is_superseded": False,
            "is_terminating": False,
            "start_s": 1.0,
        }
        self.advice[replica] = EvictionCandidate(**{**known, **changes})  # type: ignore[arg-type]

    @rule(gigabytes=st.integers(1, 8), types=st.lists(st.sampled_from(["T4", "A10G"]), max_size=3))
    def join(self, gigabytes: int, types: list[str]) -> None:
        if len(self.nodes) < 4:
            self.joined = getattr(self, "joined", 0) + 1
            node = a_node(f"n{self.joined}", gigabytes, types)
            self.nodes[node.node] = node
            self.step(node)

    @rule(pick=st.integers(0, 99), comes_back=st.booleans())
    def lose(self, pick: int, comes_back: bool) -> None:
        """A node goes, and what ran there is gone: its fleets release it once they are told."""
        node = self.nodes.pop(sorted(self.nodes)[pick % len(self.nodes)], None)
        if node is None or not self.nodes:
            self.nodes |= {} if node is None else {node.node: node}
            return
        lost = sorted(name for name, grant in self.held.items() if grant.node == node.node)
        for replica in lost:
            self.advice.pop(replica)
            del self.held[replica]
            self.parked.pop(replica, None)
        self.step(NodeLeft(node.node))
        assert all(self.placement.grant(replica) is None for replica in lost)
        for replica in lost:
            del self.asked[replica]
            self.step(ReservationReleased(replica))
        if comes_back:
            self.nodes[node.node] = node
            self.step(node)

    @rule(fleet=st.sampled_from("abc"), wanted=WANTED)
    def ask(self, fleet: str, wanted: Resources) -> None:
        self.born += 1
        replica = ReplicaId(f"{fleet}{self.born}")
        event = ReservationRequested(replica=replica, fleet=FleetId(fleet), resources=wanted)
        self.asked[replica] = event
        refused = [e for e in self.step(event) if isinstance(e, RefuseReservation)]
        assert bool(refused) == (not any(could_hold(node, wanted) for node in self.nodes.values()))

    @rule(pick=st.integers(0, 99), is_idle=st.booleans(), is_superseded=st.booleans())
    def become_ready(self, pick: int, is_idle: bool, is_superseded: bool) -> None:
        awake = sorted(name for name in self.held if not self.advice[name].is_terminating)
        if awake:
            self.tell(
                awake[pick % len(awake)],
                is_evictable=True,
                idle_since_s=self.now if is_idle else None,
                is_superseded=is_superseded,
            )

    @rule(pick=st.integers(0, 99), gib=st.integers(0, 4))
    def park(self, pick: int, gib: int) -> None:
        """A parked replica leaves its devices, keeps its memory, and may go at any time."""
        awake = sorted(self.held.keys() - self.parked.keys())
        if awake:
            replica = awake[pick % len(awake)]
            self.parked[replica] = self.held[replica] = replace(self.held[replica], devices=())
            if not self.advice[replica].is_terminating:
                self.tell(replica, is_evictable=True, idle_since_s=self.now)
            self.step(DevicesYielded(replica, gib * GIB))

    @rule(pick=st.integers(0, 99))
    def ask_again(self, pick: int) -> None:
        """It wakes on its own node, or goes back to sleep."""
        if self.parked:
            replica = sorted(self.parked)[pick % len(self.parked)]
            self.step(self.asked[replica])
            if replica in self.parked and pick % 2:
                self.step(DevicesYielded(replica))

    @rule(pick=st.integers(0, 99))
    def release(self, pick: int) -> None:
        if self.asked:
            self.leave(sorted(self.asked)[pick % len(self.asked)])

    @rule()
    def evicted_ones_go(self) -> None:
        for replica in sorted(
            name for name, advice in self.advice.items() if advice.is_terminating
        ):
            self.leave(replica)

    def leave(self, replica: ReplicaId) -> None:
        del self.asked[replica]
        self.held.pop(replica, None)
        self.parked.pop(replica, None)
        self.advice.pop(replica, None)
        self.step(ReservationReleased(replica))

    @rule(seconds=st.sampled_from([0.5, EVICTION_PATIENCE_S, 60.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        if self.wake_s is not None and self.wake_s <= self.now:
            self.wake_s = None
            self.step(Ticked())

    @rule()
    def all_are_served_in_the_end(self) -> None:
        """Whoever waits gets room once those before it have left."""
        for _ in range(len(self.asked)):
            if len(self.asked) == len(self.held):
                break
            assert self.held, "room is free, all wait, and nobody is served"
            self.leave(min(self.held))
        assert self.asked.keys() == self.held.keys()

    @invariant()
    def nothing_is_over_committed(self) -> None:
        if not hasattr(self, "placement"):
            return
        self.placement.check()
        for node in self.nodes.values():
            here = [grant for grant in self.held.values() if grant.node == node.node]
            held = sum(self.asked[grant.replica].resources.memory_bytes for grant in here)
            assert held <= node.memory_bytes
            for device in node.devices:
                shares = [grant.fraction for grant in here if device in grant.devices]
                assert sum(shares) <= 1.0 + 1e-9
        for name, grant in self.held.items():
            if name in self.parked:
                continue
            assert fits(grant, self.asked[name].resources)


def fits(grant: Reservation, wanted: Resources) -> bool:
    """Return whether a grant is one of the wanted alternatives, with memory enough."""
    if not wanted.gpus:
        return not grant.devices
    room = sum(usable_bytes(device.memory_bytes) * grant.fraction for device in grant.devices)
    types = {device.type for device in grant.devices}
    return room >= (wanted.gpu_memory_bytes or 0) and any(
        types == {gpu.type} and len(grant.devices) == gpu.count and grant.fraction == gpu.fraction
        for gpu in wanted.gpus
    )


def could_hold(node: NodeJoined, wanted: Resources) -> bool:
    """Return whether an empty node has the memory and one of the alternatives."""
    if wanted.memory_bytes > node.memory_bytes:
        return False
    need = wanted.gpu_memory_bytes or 0
    return not wanted.gpus or any(
        gpu.count
        <= sum(
            1
            for device in node.devices
            if device.type == gpu.type
            and usable_bytes(device.memory_bytes) * gpu.fraction * gpu.count >= need
        )
        for gpu in wanted.gpus
    )


TestPlacementHistory = PlacementHistory.TestCase
TestPlacementHistory.settings = settings(
    max_examples=examples(80), stateful_step_count=50, deadline=None
)


@settings(max_examples=examples(50))
@given(turns=st.lists(st.sampled_from("ab"), min_size=2, max_size=12), slow_s=st.floats(0, 10))
def test_two_endpoints_that_compete_for_one_device_are_both_served(
    turns: list[str], slow_s: float
) -> None:
    """Each ask is granted within its patience once the holder's work is done."""
    advice: dict[ReplicaId, EvictionCandidate] = {}
    placement = Placement(advice.get, smallest_type)
    placement.step(a_node("n", 8, ["T4"]), 0.0)
    now, holder = 0.0, None
    for number, fleet in enumerate(turns):
        name = ReplicaId(f"{fleet}{number}")
        wanted = Resources(gpus=(GpuRequest(type="T4"),))
        asked = ReservationRequested(
            replica=name, fleet=FleetId(f"{fleet}{number}"), resources=wanted
        )
        effects = placement.step(asked, now)
        if holder is not None:
            assert not any(isinstance(e, RequestEviction) for e in effects), "it is busy"
            effects = placement.step(Ticked(), now + EVICTION_PATIENCE_S)
            assert [e.replica for e in effects if isinstance(e, RequestEviction)] == [holder]
            now += EVICTION_PATIENCE_S + slow_s
            effects = placement.step(ReservationReleased(holder), now)
        assert [e.reservation.replica for e in effects if isinstance(e, GrantReservation)] == [name]
        holder = name
        advice[name] = EvictionCandidate(
            idle_since_s=None,
            is_evictable=True,
            is_superseded=False,
            is_terminating=False,
            start_s=1.0,
        )
        placement.check()


@given(need_gigabytes=st.integers(1, 60), kind=st.sampled_from(["T4", "A10G"]))
def test_a_refusal_names_the_smallest_type_that_fits(need_gigabytes: int, kind: str) -> None:
    """And it is refused exactly when it does not fit the type that was asked for."""
    placement = Placement(lambda name: None, smallest_type)
    placement.step(a_node("n", 8, ["T4", "A10G"]), 0.0)
    need = need_gigabytes * 10**9
    refusal = placement.refusal(Resources(gpus=(GpuRequest(type=kind),), gpu_memory_bytes=need))
    if usable_bytes(MEMORY[kind]) >= need:
        assert refusal is None
        return
    smallest = smallest_type(need)
    assert refusal is not None
    assert (f"smallest type that fits is {smallest}" in refusal) == (smallest is not None)
    assert ("no single type fits" in refusal) == (smallest is None)
