"""How long a fleet keeps replicas that nobody needs: by the policy, or by what it learned."""

import pytest
from worlds import World, a_fleet

from coldspark.fleet.deadlines import NEVER
from coldspark.fleet.replica import ReplicaState
from coldspark.spec.messages import (
    ParkReplica,
    ReplicaExited,
    ReplicaParked,
    ReplicaReady,
    RequestArrived,
    RequestFinished,
    RequestReservation,
    StopReplica,
    Ticked,
    WakeAt,
)
from coldspark.spec.scaling_rules import Knative
from coldspark.spec.types import Exit, RequestId, RootCause, ScalePolicy, Warmth

GONE = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)


class Endpoint:
    """A fleet whose replicas take ``start_s`` to start, and whose ticks come when they are due."""

    def __init__(self, start_s: float = 1.0, **scale: object) -> None:
        self.world = World(a_fleet(replicas_max=4, **scale))
        self.start_s = start_s
        self.now = 0.0
        self.asked_s: list[float] = []
        self.parked_s: list[float] = []
        self.ended_s: list[float] = []
        self._due: list[tuple[float, object]] = []
        self._armed_s = NEVER
        self._number = 0

    def _step(self, event: object) -> None:
        for effect in self.world.step(event, self.now):  # type: ignore[arg-type]
            if isinstance(effect, RequestReservation):
                self.asked_s.append(self.now)
                self._due.append((self.now + self.start_s, ReplicaReady(effect.replica)))
            elif isinstance(effect, WakeAt):
                self._armed_s = effect.at_s
            elif isinstance(effect, ParkReplica):
                self.parked_s.append(self.now)
                self._due.append((self.now, ReplicaParked(effect.replica)))
            elif isinstance(effect, StopReplica):
                self.ended_s.append(self.now)
                self._due.append((self.now, ReplicaExited(effect.replica, GONE)))

    def run_until(self, until_s: float) -> None:
        """Let time pass: what was begun ends, and each tick that was asked for comes."""
        while True:
            self._due.sort(key=lambda item: item[0])
            next_s = min(self._armed_s, self._due[0][0] if self._due else NEVER)
            if next_s > until_s:
                break
            self.now = max(self.now, next_s)
            if self._due and self._due[0][0] <= self.now:
                self._step(self._due.pop(0)[1])
            else:
                self._armed_s = NEVER
                self._step(Ticked())
        self.now = until_s

    def call(self, work_s: float = 0.5) -> None:
        """One request, from arrival to its end."""
        self._number += 1
        name = RequestId(str(self._number))
        self._step(RequestArrived(name, self.now + 1e6))
        self.run_until(self.now + work_s + (0.0 if self._ready else self.start_s + 0.25))
        self._step(RequestFinished(name))

    def call_twice(self) -> None:
        """Two requests at once, from arrival to their end."""
        names = [RequestId(f"{self.now}-{number}") for number in range(2)]
        for name in names:
            self._step(RequestArrived(name, self.now + 1e6))
        self.run_until(self.now + self.start_s + 1.0)
        for name in names:
            self._step(RequestFinished(name))

    def call_in_turn(self) -> None:
        """Two requests at once that take half a second each, ended one after the other."""
        names = [RequestId(f"{self.now}-{number}") for number in range(2)]
        for name in names:
            self._step(RequestArrived(name, self.now + 1e6))
        for name in names:
            self.run_until(self.now + 0.5)
            self._step(RequestFinished(name))

    @property
    def _ready(self) -> bool:
        return any(r.state is ReplicaState.READY for r in self.world.fleet.replicas())

    @property
    def states(self) -> list[ReplicaState]:
        """Return the states of all replicas."""
        return [replica.state for replica in self.world.fleet.replicas()]


def test_until_a_start_was_measured_an_idle_replica_is_kept_for_a_minute() -> None:
    """A replica that was never measured cannot be weighed; then it can."""
    policy = ScalePolicy()
    assert (policy.first_idle_s, policy.first_parked_s) == (60.0, 300.0)


def test_rare_requests_teach_not_to_wait_for_them() -> None:
    """Every request comes ten minutes after the last: nothing is gained by idling."""
    endpoint = Endpoint(park_timeout_s=0.0, wait_value=1.0)
    for _ in range(12):
        endpoint.call()
        last_s = endpoint.now
        endpoint.run_until(last_s + 600.0)
    assert endpoint.ended_s[-1] - last_s <= 2.0


def test_frequent_requests_teach_to_wait_for_them() -> None:
    """Every request comes eight seconds after the last: after a while none finds it asleep."""
    endpoint = Endpoint(start_s=2.0, park_timeout_s=0.0, wait_value=10.0)
    for _ in range(20):
        endpoint.call()
        endpoint.run_until(endpoint.now + 8.0)
    starts = len(endpoint.asked_s)
    for _ in range(20):
        endpoint.call()
        endpoint.run_until(endpoint.now + 8.0)
    assert len(endpoint.asked_s) == starts


def test_a_request_that_is_expected_finds_a_replica() -> None:
    """Every request comes an hour after the last, and the start takes a minute."""
    endpoint = Endpoint(start_s=60.0, park_timeout_s=0.0, wait_value=100.0)
    for _ in range(30):
        endpoint.call()
        endpoint.run_until(endpoint.now + 3600.0)
    arrived_s = endpoint.now
    assert ReplicaState.READY in endpoint.states
    assert endpoint.asked_s[-1] < arrived_s - 60.0
    # Woken once for this gap, and not kept all the time.
    assert 0.0 < arrived_s - endpoint.asked_s[-1] < 1800.0
    assert "expected" in " ".join(note.reason for note in endpoint.world.fleet.decisions)


def test_a_given_timeout_is_kept_to_whatever_was_learned() -> None:
    """It is the user's word."""
    endpoint = Endpoint(idle_timeout_s=30.0, park_timeout_s=0.0)
    for _ in range(5):
        endpoint.call()
        last_s = endpoint.now
        endpoint.run_until(last_s + 100.0)
        assert endpoint.ended_s[-1] - last_s == pytest.approx(30.0, abs=0.5)


def test_pinned_to_parked_it_stays_parked() -> None:
    """A day later it is still there."""
    endpoint = Endpoint(warmth=Warmth.PARKED)
    endpoint.call()
    endpoint.run_until(86_400.0)
    assert endpoint.states == [ReplicaState.PARKED]


def test_pinned_to_templated_it_is_never_parked() -> None:
    """It ends, and the next request starts another."""
    endpoint = Endpoint(warmth=Warmth.TEMPLATED)
    endpoint.call()
    endpoint.run_until(endpoint.now + 600.0)
    assert endpoint.parked_s == []
    assert endpoint.states == []


def test_pinned_to_ready_it_stays_ready() -> None:
    """Once awake, it is never put to rest."""
    endpoint = Endpoint(warmth=Warmth.READY)
    endpoint.call()
    endpoint.run_until(86_400.0)
    assert endpoint.states == [ReplicaState.READY]


def test_what_is_learned_of_the_second_replica_is_not_held_against_the_first() -> None:
    """Single requests every 8 s, and now and then two at once: one replica is kept, not two."""
    endpoint = Endpoint(start_s=2.0, park_timeout_s=0.0, wait_value=10.0)
    for _ in range(20):
        for _ in range(20):
            endpoint.call()
            endpoint.run_until(endpoint.now + 8.0)
        endpoint.call_twice()
        endpoint.run_until(endpoint.now + 8.0)
    assert endpoint.states == [ReplicaState.READY]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"warmth": Warmth.READY, "idle_timeout_s": 5.0}, "idle_timeout_s=5"),
        ({"warmth": Warmth.PARKED, "park_timeout_s": 5.0}, "park_timeout_s=5"),
        ({"warmth": Warmth.TEMPLATED, "park_timeout_s": 0.0}, "park_timeout_s=0"),
        ({"wait_value": -1.0}, "wait_value=-1"),
        ({"patience_s": -1.0}, "patience_s=-1"),
        ({"patience_s": 5.0, "rule": Knative()}, "patience_s=5"),
    ],
)
def test_what_would_do_nothing_is_refused(fields: dict[str, object], named: str) -> None:
    """The message names the field and its value."""
    with pytest.raises(ValueError, match=named):
        ScalePolicy(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("pause_s", "is_started"), [(2.0, True), (3000.0, False)])
def test_a_second_replica_is_started_for_those_that_come_often(
    pause_s: float, is_started: bool
) -> None:
    """Two at once again and again; the first is always there, and does ten in a start's time."""
    endpoint = Endpoint(start_s=5.0, park_timeout_s=0.0, wait_value=10.0, replicas_min=1)
    endpoint.call()
    for _ in range(30):
        endpoint.call_in_turn()
        endpoint.run_until(endpoint.now + pause_s)
    assert (len(endpoint.states) == 2) is is_started


@pytest.mark.parametrize(
    ("wait_value", "at_once", "replicas"), [(1000.0, 2, 4), (1.0, 2, 1), (1000.0, 1, 1)]
)
def test_where_waiting_is_dear_more_are_kept_than_were_ever_needed(
    wait_value: float, at_once: int, replicas: int
) -> None:
    """Two at once may be followed by more; one at a time says nothing of more."""
    endpoint = Endpoint(start_s=2.0, park_timeout_s=0.0, wait_value=wait_value)
    endpoint.call()
    if at_once == 2:
        endpoint.call_twice()
    endpoint.run_until(endpoint.now + 3.0)
    assert len(endpoint.states) == replicas


def test_a_reserve_goes_when_nothing_came_for_long() -> None:
    """The longer all is known, the less likely is what was never seen."""
    endpoint = Endpoint(start_s=2.0, park_timeout_s=0.0, wait_value=100.0)
    endpoint.call()
    endpoint.call_twice()
    endpoint.run_until(endpoint.now + 3.0)
    assert len(endpoint.states) > 2
    for _ in range(300):
        endpoint.call()
        endpoint.run_until(endpoint.now + 2.0)
    asked = len(endpoint.asked_s)
    assert len(endpoint.states) <= 2
    endpoint.run_until(endpoint.now + 100.0)
    assert len(endpoint.asked_s) == asked
