"""Specs and small worlds for the core's tests: real objects, no clocks, no processes."""

from dataclasses import replace

from coldspark.fleet.fleet import Fleet
from coldspark.spec.messages import (
    AskRoom,
    FleetEffect,
    FleetEvent,
    ReplicaExited,
    ReplicaReady,
    RequestArrived,
    RoomGranted,
    StartReplica,
    StopReplica,
)
from coldspark.spec.types import (
    Command,
    Exit,
    FleetId,
    Limits,
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
    """Do what a fleet wants: grants come by themselves, readiness on demand."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.effects: list[FleetEffect] = []
        self.started: list[ReplicaId] = []
        self.stopping: list[ReplicaId] = []

    def step(self, event: FleetEvent, now: float) -> list[FleetEffect]:
        """Step, grant room for whatever asks, and return all effects."""
        effects = self.fleet.step(event, now)
        self.fleet.check()
        for effect in list(effects):
            if isinstance(effect, AskRoom):
                effects += self.step(RoomGranted(effect.replica), now)
            elif isinstance(effect, StartReplica):
                self.started.append(effect.replica)
            elif isinstance(effect, StopReplica):
                self.stopping.append(effect.replica)
        self.effects += effects
        return effects

    def ready(self, now: float) -> list[FleetEffect]:
        """Let the oldest start become ready."""
        return self.step(ReplicaReady(self.started.pop(0)), now)

    def crash(self, replica: ReplicaId, now: float, exit: Exit = CRASH) -> list[FleetEffect]:
        """End a replica."""
        if replica in self.started:
            self.started.remove(replica)
        return self.step(ReplicaExited(replica, exit), now)
