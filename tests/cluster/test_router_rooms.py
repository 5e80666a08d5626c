"""One placement for several routers, whatever crosses on its way."""

from collections import deque
from typing import Any

from example_counts import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coldspark.cluster.messages import Evict, Message
from coldspark.cluster.placement import RemotePlacement, SharedPlacement
from coldspark.fleet.fleet import EvictionCandidate
from coldspark.spec.messages import (
    Device,
    DevicesYielded,
    GrantReservation,
    NodeJoined,
    RefuseReservation,
    RequestEviction,
    ReservationReleased,
    ReservationRequested,
    Ticked,
)
from coldspark.spec.types import DeviceId, FleetId, GpuRequest, NodeId, ReplicaId, Resources

DEVICE = Device(id=DeviceId("gpu0"), type="T4", memory_bytes=16 * 10**9, is_simulated=True)
NODE = NodeJoined(node=NodeId("local"), memory_bytes=10**11, vcpus=2.0, devices=(DEVICE,))
IDLE = EvictionCandidate(
    idle_since_s=0.0, is_evictable=True, is_superseded=False, is_terminating=False, start_s=1.0
)


def asked(replica: str, gpu: str = "T4") -> ReservationRequested:
    resources = Resources(gpus=(GpuRequest(type=gpu),), memory_bytes=10**8)
    return ReservationRequested(
        replica=ReplicaId(replica), fleet=FleetId(replica), resources=resources
    )


class Pair:
    """A lead and one router, with what is on its way between them."""

    def __init__(self) -> None:
        self.up: deque[Message] = deque()
        self.down: deque[Message] = deque()
        self.is_short = False
        self.lead = SharedPlacement(
            lambda replica: IDLE,
            lambda size: None,
            deliver=lambda router, message: self.down.append(message),
            on_short=self.short,
        )
        self.router = RemotePlacement(lambda size: None, self.up.append)
        self.lead.step(NODE, 0.0)
        self.router.step(NODE, 0.0)
        self.told: list[Any] = []

    def short(self) -> None:
        self.is_short = True

    def rise(self, now: float = 0.0) -> list[Any]:
        """Let the lead hear one message; return what it tells its own."""
        event = self.lead.event_of(1, self.up.popleft())
        assert event is not None
        return self.lead.step(event, now)

    def fall(self) -> None:
        """Let the router hear one."""
        effect = self.router.effect_of(self.down.popleft())
        if effect is not None:
            self.told.append(effect)


def test_a_router_is_granted_room_and_refused_what_can_never_be() -> None:
    """The answer reaches the one who asked, and the copy of the grant is kept."""
    pair = Pair()
    pair.router.step(asked("a"), 0.0)
    assert pair.rise() == []
    pair.fall()
    [granted] = pair.told
    assert granted == GrantReservation(pair.lead.grant(ReplicaId("a")))
    assert pair.router.grant(ReplicaId("a")) == granted.reservation
    pair.router.step(asked("b", "A100"), 0.0)
    pair.rise()
    pair.fall()
    assert isinstance(pair.told[1], RefuseReservation)
    assert pair.router.refusal(asked("b", "A100").resources) == pair.told[1].reason


def test_an_idle_replica_of_another_router_is_asked_to_go_on_fresh_advice_alone() -> None:
    """The first step asks for advice; the second, which has it, asks the replica."""
    pair = Pair()
    pair.router.step(asked("theirs"), 0.0)
    pair.rise()
    pair.fall()
    assert not any(isinstance(each, RequestEviction) for each in pair.lead.step(asked("ours"), 9.0))
    assert pair.is_short
    assert not pair.down
    pair.lead.advised({ReplicaId("theirs"): IDLE})
    pair.lead.step(Ticked(), 9.0)
    assert isinstance(pair.down[0], Evict)
    pair.fall()
    pair.router.step(ReservationReleased(ReplicaId("theirs")), 9.0)
    assert [type(each) for each in pair.rise(9.0)] == [GrantReservation]


def test_a_router_that_says_nothing_keeps_its_replicas() -> None:
    """No advice in time counts as busy."""
    pair = Pair()
    pair.router.step(asked("theirs"), 0.0)
    pair.rise()
    pair.lead.step(asked("ours"), 9.0)
    pair.down.clear()
    pair.lead.advised({})
    pair.lead.step(Ticked(), 9.0)
    assert not pair.down


def test_an_answer_to_an_ask_that_was_taken_back_is_not_taken_for_the_next() -> None:
    """Asked, granted, taken back and asked again while the grant was on its way."""
    pair = Pair()
    pair.router.step(asked("a"), 0.0)
    pair.rise()
    pair.router.step(ReservationReleased(ReplicaId("a")), 0.0)
    pair.router.step(asked("a"), 0.0)
    pair.fall()
    assert pair.told == []
    pair.rise()
    pair.rise()
    pair.fall()
    assert len(pair.told) == 1


def test_what_a_dead_router_held_is_known() -> None:
    """So that the lead can release it."""
    pair = Pair()
    pair.router.step(asked("a"), 0.0)
    pair.rise()
    assert pair.lead.held_by(1) == ["a"]
    pair.lead.step(ReservationReleased(ReplicaId("a")), 0.0)
    assert pair.lead.held_by(1) == []


class Crossing(RuleBasedStateMachine):
    """Any order in which two replicas' asks and answers meet."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()

    @rule(name=st.sampled_from("ab"), kind=st.sampled_from("arry"))
    def say(self, name: str, kind: str) -> None:
        replica = ReplicaId(name)
        is_waiting = replica in self.pair.router._asks
        held = self.pair.router.grant(replica)
        if kind == "a" and not is_waiting and (held is None or not held.devices):
            self.pair.router.step(asked(name), 0.0)
        elif kind == "r":
            self.pair.router.step(ReservationReleased(replica), 0.0)
        elif kind == "y" and held is not None:
            self.pair.router.step(DevicesYielded(replica), 0.0)

    @rule()
    def up(self) -> None:
        if self.pair.up:
            self.pair.rise()

    @rule()
    def down(self) -> None:
        if self.pair.down:
            self.pair.fall()

    @invariant()
    def the_device_has_one_holder_everywhere(self) -> None:
        self.pair.lead.check()
        grants = [self.pair.router.grant(ReplicaId(name)) for name in "ab"]
        assert sum(bool(grant and grant.devices) for grant in grants) <= 1

    def teardown(self) -> None:
        """Once all is heard, both sides agree."""
        while self.pair.up or self.pair.down:
            self.up()
            self.down()
        for name in "ab":
            replica = ReplicaId(name)
            assert self.pair.router.grant(replica) == self.pair.lead.grant(replica)


TestCrossing = Crossing.TestCase
TestCrossing.settings = settings(max_examples=examples(200), deadline=None)
