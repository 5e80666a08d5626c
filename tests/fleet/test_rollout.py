"""Updates that are interrupted: by an eviction, by another update, by the way back."""

from worlds import World, a_fleet, arrive, rescaled, revision

from coldspark.spec.messages import (
    EvictionRequested,
    FleetEffect,
    RequestFinished,
    RequestReservation,
    RevisionAdopted,
    RolledBack,
    RolledOut,
    Ticked,
)
from coldspark.spec.types import EndpointStatus, ReplicaId, RequestId, Revision, ScalePolicy


def a_provisioned_world(replicas: int, **scale: object) -> World:
    """A world whose provisioned replicas are ready and idle at 1 s."""
    world = World(a_fleet(replicas_min=replicas, replicas_max=replicas, **scale))
    world.step(Ticked(), 0.0)
    for _ in range(replicas):
        world.ready(1.0)
    return world


def asked(effects: list[FleetEffect]) -> list[str]:
    return [e.replica for e in effects if isinstance(e, RequestReservation)]


def ready_revisions(world: World) -> list[str]:
    return [replica.revision.id for replica in world.fleet.replicas() if replica.has_free_slot]


def test_an_update_whose_new_replica_is_evicted_goes_on_by_itself() -> None:
    """It asks for the missing one again at once; nobody has to call."""
    world = a_provisioned_world(2)
    new = rescaled(world.fleet.revision, replicas_min=1)
    world.step(RevisionAdopted(new), 2.0)
    world.ready(3.0)
    world.step(EvictionRequested(ReplicaId("chat/main.3"), "room"), 3.5)
    world.crash(ReplicaId("chat/main.3"), 3.6)
    world.ready(4.0)
    assert asked(world.effects)[-1] == "chat/main.5"

    assert RolledOut(new) in world.ready(5.0)
    assert world.fleet.status is EndpointStatus.READY


def test_a_lost_new_replica_does_not_cost_a_second_old_one() -> None:
    """As many replicas serve as before, all through the update."""
    world = a_provisioned_world(2)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, idle_timeout_s=9.0)), 2.0)
    world.ready(3.0)
    world.step(EvictionRequested(ReplicaId("chat/main.3"), "room"), 3.5)
    world.ready(4.0)
    assert ready_revisions(world) == ["r1", "r1x"]


def test_going_back_in_the_middle_of_an_update_keeps_the_old_replicas() -> None:
    """The revision that is gone back to may fail to start too; what serves goes on serving."""
    world = a_provisioned_world(2, failed_starts_max=1)
    old = world.fleet.revision
    world.step(RevisionAdopted(rescaled(old, idle_timeout_s=9.0)), 2.0)
    world.ready(3.0)
    world.step(RevisionAdopted(old), 4.0)
    started = world.started[-1]
    effects = world.crash(started, 5.0)
    assert [e.revision.id for e in effects if isinstance(e, RolledBack)] == ["r1x"]
    assert "r1x" in ready_revisions(world)


def test_an_update_taken_back_leaves_no_replica_of_a_revision_in_between() -> None:
    """After the roll-back exactly one revision serves."""
    world = a_provisioned_world(2, failed_starts_max=1)
    policy = ScalePolicy(replicas_min=2, replicas_max=2, failed_starts_max=1)

    def adopt(name: str, now: float) -> Revision:
        new = revision(name, scale=policy)
        world.step(RevisionAdopted(new), now)
        return new

    adopt("between", 2.0)
    world.ready(3.0)
    assert sorted(ready_revisions(world)) == ["between", "r1"]
    adopt("broken", 4.0)
    effects = world.crash(world.started[-1], 5.0)
    assert [e.revision.id for e in effects if isinstance(e, RolledBack)] == ["r1"]
    assert set(ready_revisions(world)) == {"r1"}


def test_an_update_while_requests_run_drains_the_old_ones() -> None:
    """The least busy old replica goes first."""
    world = a_provisioned_world(2)
    arrive(world.fleet, 1, 2.0)
    world.step(RevisionAdopted(rescaled(world.fleet.revision, idle_timeout_s=9.0)), 2.0)
    world.ready(3.0)
    world.ready(4.0)
    assert ready_revisions(world) == ["r1x", "r1x"]
    assert world.fleet.running == 1
    world.step(RequestFinished(RequestId("1")), 5.0)
    assert len(world.stopping) == 2
