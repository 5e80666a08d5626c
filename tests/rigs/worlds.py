"""Specs and small worlds for the core's tests: real objects, no clocks, no processes."""

from dataclasses import replace

from coldspark.fleet.driver import Driver
from coldspark.fleet.fleet import Fleet
from coldspark.fleet.placement import Placement
from coldspark.spec.messages import (
    FleetEffect,
    FleetEvent,
    NodeJoined,
    RareEffect,
    ReplicaExited,
    ReplicaReady,
    RequestArrived,
    StartReplica,
    StopReplica,
)
from coldspark.spec.types import (
    Command,
    Exit,
    FleetId,
    Limits,
    NodeId,
    ReplicaId,
    RequestId,
    Resources,
    Revision,
    RevisionId,
    RootCause,
    ScalePolicy,
    Spec,
)

CRASH = Exit(cause=RootCause.UNKNOWN, message="exit status 1", exit_status=1, log_tail=("boom",))
NODE_LOST = Exit(cause=RootCause.NODE_LOST, message="node n is lost")


def revision(
    name: str = "r1",
    *,
    scale: ScalePolicy | None = None,
    limits: Limits | None = None,
    resources: Resources | None = None,
) -> Revision:
    """Return a revision under a readable id."""
    spec = Spec(
        command=Command(argv=("serve",)),
        scale=scale or ScalePolicy(),
        limits=limits or Limits(),
        resources=resources or Resources(),
    )
    return Revision(id=RevisionId(name), spec=spec)


def rescaled(found: Revision, **changes: object) -> Revision:
    """Return the revision with other scale settings, under another id."""
    scale = replace(found.spec.scale, **changes)  # type: ignore[arg-type]
    return Revision(id=RevisionId(found.id + "x"), spec=replace(found.spec, scale=scale))


def a_fleet(name: str = "chat/main", **scale: object) -> Fleet:
    """Return a fleet whose replicas are called 1, 2, 3."""
    policy = ScalePolicy(**scale)  # type: ignore[arg-type]
    return Fleet(FleetId(name), revision(scale=policy), replica_prefix=f"{name}.")


def arrive(fleet: Fleet, number: int, now: float, timeout_s: float = 100.0) -> list[FleetEffect]:
    """Let request ``number`` arrive."""
    return fleet.step(RequestArrived(RequestId(str(number)), now + timeout_s), now)


class World:
    """One fleet under a driver, on a node with room for all: readiness comes on demand.

    It is the fleet's owner and the driver's ``Performer``, and records what it is to perform.
    """

    is_shadow = False

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.now = 0.0
        self.effects: list[FleetEffect] = []
        self.started: list[ReplicaId] = []
        self.stopping: list[ReplicaId] = []
        self.driver: Driver[World] = Driver(
            self,
            lambda advice_of: Placement(advice_of, lambda size_bytes: None),
            lambda: self.now,
            on_step=self.stepped,
        )
        self.driver.place(NodeJoined(node=NodeId("n"), memory_bytes=2**60, vcpus=1.0))

    def step(self, event: FleetEvent, now: float) -> list[FleetEffect]:
        """Post an event, let room be granted to whatever asks, and return all effects."""
        self.now, before = now, len(self.effects)
        self.driver.post(self, event)
        self.driver.check()
        return self.effects[before:]

    def stepped(
        self, fleet: FleetId, event: FleetEvent, now: float, effects: list[FleetEffect]
    ) -> None:
        """Record what the fleet wants."""
        self.fleet.check()
        self.effects += effects

    def forward(self, owner: object, request: RequestId, replica: ReplicaId, now: float) -> None:
        """Do nothing: a test finishes its requests itself."""

    def wake(self, owner: object, at_s: float) -> None:
        """Do nothing: a test ticks by itself."""

    def perform(self, owner: object, effect: RareEffect) -> None:
        """Note who is to start and who to stop."""
        if isinstance(effect, StartReplica):
            self.started.append(effect.replica)
        elif isinstance(effect, StopReplica):
            self.stopping.append(effect.replica)

    def ready(self, now: float) -> list[FleetEffect]:
        """Let the oldest start become ready."""
        return self.step(ReplicaReady(self.started.pop(0)), now)

    def crash(self, replica: ReplicaId, now: float, exit: Exit = CRASH) -> list[FleetEffect]:
        """End a replica."""
        if replica in self.started:
            self.started.remove(replica)
        return self.step(ReplicaExited(replica, exit), now)
