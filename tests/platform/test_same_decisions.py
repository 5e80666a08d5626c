"""One code decides live, in a replay of the live run's journal, and in the simulator."""

import asyncio
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import pytest

from coldspark.billing.usage import IdleUsage, Usage
from coldspark.fleet.fleet import Fleet
from coldspark.platform.controller import Controller
from coldspark.platform.ports import Invocation, Receipt, ReplySink, StartOrder
from coldspark.sim.simulator import ReplicaBehaviour, SimulatedEndpoint, Simulator
from coldspark.sim.traffic import Durations, Traffic
from coldspark.spec.messages import (
    FleetEffect,
    FleetEvent,
    Forward,
    NodeJoined,
    ReplicaReady,
    RequestArrived,
    RequestFinished,
    ReservationGranted,
    StartReplica,
    StopReplica,
)
from coldspark.spec.scaling_rules import KeepAlive, Learned, QueueDelay
from coldspark.spec.types import (
    Command,
    EndpointName,
    Exit,
    Failure,
    FleetId,
    NodeId,
    ReplicaId,
    RequestId,
    Revision,
    RevisionId,
    RootCause,
    ScalePolicy,
    Spec,
    VariantName,
)

pytestmark = pytest.mark.seconds

NODE = NodeJoined(node=NodeId("n"), memory_bytes=64 * 2**30, vcpus=64.0)
STOPPED = Exit(cause=RootCause.UNKNOWN, message="stopped", exit_status=0)
START_S = 0.3
REQUESTS = ((0.0, 0.35), (0.02, 0.5), (0.04, 0.65), (2.3, 0.1), (2.95, 0.2), (3.05, 0.1))
"""Arrival and service time. What ends, ends a tenth of a second from anything else: only then is
the order of things the same on a machine that hesitates."""
END_S = 4.8


class Timers:
    """An engine whose replicas are timers of the event loop: real time, no processes."""

    parking = None

    def __init__(self) -> None:
        self.controller: Controller | None = None

    def start(self, order: StartOrder) -> None:
        asyncio.get_running_loop().call_later(START_S, self._ready, order.replica)

    def _ready(self, replica: ReplicaId) -> None:
        assert self.controller is not None
        self.controller.on_ready(replica)

    def stop(self, replica: ReplicaId, grace_s: float) -> None:
        assert self.controller is not None
        asyncio.get_running_loop().call_soon(self.controller.on_exited, replica, STOPPED)

    def call(
        self, replica: ReplicaId, invocation: Invocation, deadline_s: float, sink: ReplySink
    ) -> "Timers":
        service_s = float(invocation.body)
        asyncio.get_running_loop().call_later(service_s, sink.on_reply, 200, (), b"", None)
        return self

    def abort(self, replica: ReplicaId, request: RequestId) -> None:
        raise AssertionError("nobody hangs up here")

    def pause(self) -> None:
        pass

    def resume(self) -> None:
        pass


class Lines:
    """A ledger that keeps nothing."""

    is_writable = True

    def record(self, usage: Usage) -> None:
        pass

    def record_then(self, usage: Usage, done: object) -> None:
        asyncio.get_running_loop().call_soon(done)  # type: ignore[arg-type]

    def record_idle(self, holdings: Sequence[IdleUsage]) -> None:
        pass


class Answers:
    """A caller who counts answers."""

    def __init__(self) -> None:
        self.taken = 0

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        self.taken += 1

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        raise AssertionError("no streams here")

    def write(self, chunk: bytes) -> None:
        raise AssertionError("no streams here")

    def end(self, receipt: Receipt) -> None:
        raise AssertionError("no streams here")

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        raise AssertionError(failure.message)


@dataclass
class Journal:
    """Every step of the live fleet, in order."""

    steps: list[tuple[float, FleetEvent, list[FleetEffect]]] = field(default_factory=list)

    def on_step(
        self, fleet: FleetId, event: FleetEvent, now_s: float, effects: list[FleetEffect]
    ) -> None:
        self.steps.append((now_s, event, list(effects)))

    def times_s(self, kind: type) -> dict[str, float]:
        """Return when each request or replica had an event of a kind."""
        return {
            getattr(event, "request", None) or event.replica: now_s  # type: ignore[union-attr]
            for now_s, event, _ in self.steps
            if isinstance(event, kind)
        }

    def lives(self) -> list[tuple[str, str]]:
        """Return starts, stops and who served whom, in order."""
        found = []
        for _, _, effects in self.steps:
            for effect in effects:
                if isinstance(effect, StartReplica | StopReplica):
                    found.append((type(effect).__name__, effect.replica))
                elif isinstance(effect, Forward):
                    found.append((effect.request, effect.replica))
        return found


async def played_live(revision: Revision) -> tuple[Journal, str]:
    """Send the requests to a controller at their times; return its journal, and its prefix."""
    journal, engine, answers = Journal(), Timers(), Answers()
    controller = Controller(
        engine=engine,
        ledger=Lines(),
        node=NODE,
        rate_nanos_per_hour=1_000_000_000,
        boot=1,
        smallest_type=lambda size_bytes: None,
        on_rollback=lambda hosted, revision: None,
        on_step=journal.on_step,
    )
    engine.controller = controller
    hosted = controller.open_fleet(EndpointName("e"), VariantName("main"), revision)
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    for number, (at_s, service_s) in enumerate(REQUESTS):
        invocation = Invocation(
            endpoint=EndpointName("e"),
            started_s=begun_s + at_s,
            request=RequestId(str(number)),
            body=str(service_s).encode(),
        )
        loop.call_at(begun_s + at_s, controller.submit, hosted, invocation, answers)
    await asyncio.sleep(END_S)
    assert answers.taken == len(REQUESTS)
    assert hosted.timer is None or not hosted.fleet.replicas()
    return journal, hosted.fleet.replica_prefix


class InOrder(Durations):
    """Measured durations, each drawn once, in the order in which they were measured."""

    def __init__(self, samples_s: Sequence[float]) -> None:
        super().__init__(samples_s)
        self._left = list(samples_s)

    def draw(self, chance: Random) -> float:
        return self._left.pop(0)


def simulated(journal: Journal, revision: Revision, name: str) -> list[tuple[str, str]]:
    """Give the simulator the measured arrivals, starts and services; return what it did."""
    begun_s = journal.steps[0][0]
    arrived, finished = journal.times_s(RequestArrived), journal.times_s(RequestFinished)
    granted, ready = journal.times_s(ReservationGranted), journal.times_s(ReplicaReady)
    forwarded = {
        effect.request: now_s
        for now_s, _, effects in journal.steps
        for effect in effects
        if isinstance(effect, Forward)
    }
    traffic = Traffic(
        array("d", (at_s - begun_s for at_s in arrived.values())),
        array("d", (finished[request] - forwarded[RequestId(request)] for request in arrived)),
    )
    starts_s = [ready[replica] - at_s for replica, at_s in granted.items()]
    world = Simulator(
        [
            SimulatedEndpoint(
                name=name,
                revision=revision,
                traffic=traffic,
                behaviour=ReplicaBehaviour(start=InOrder(starts_s)),
            )
        ],
        [NODE],
        rate_nanos_per_hour=1_000_000_000,
    )
    played = Journal()
    step = world.runs[0].fleet.step

    def heard(event: FleetEvent, now: float) -> list[FleetEffect]:
        effects = step(event, now)
        played.on_step(FleetId(name), event, now, effects)
        return effects

    world.runs[0].fleet.step = heard  # type: ignore[method-assign]
    world.run()
    return played.lives()


@pytest.mark.parametrize(
    "scale",
    [
        ScalePolicy(rule=KeepAlive(keep_s=0.5), replicas_max=3, park_timeout_s=0.0),
        ScalePolicy(rule=Learned(), idle_timeout_s=0.5, replicas_max=3, park_timeout_s=0.0),
        ScalePolicy(rule=QueueDelay(delay_s=0.5, idle_s=0.5), replicas_max=3, park_timeout_s=0.0),
    ],
    ids=["keep-alive", "learned", "queue-delay"],
)
def test_live_replayed_and_simulated_decide_the_same(scale: ScalePolicy) -> None:
    """The replay is the same effect by effect; the simulator starts, stops and serves alike."""
    spec = Spec(command=Command(argv=("serve",)), scale=scale)
    revision = Revision(id=RevisionId("r"), spec=spec)
    journal, prefix = asyncio.run(played_live(revision))
    fleet = Fleet(FleetId("e/main"), revision, replica_prefix=prefix)
    for now_s, event, effects in journal.steps:
        assert fleet.step(event, now_s) == effects
    lives = journal.lives()
    assert sum(what == "StartReplica" for what, _ in lives) >= 2
    assert simulated(journal, revision, prefix.removesuffix(".")) == lives
