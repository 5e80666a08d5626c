"""A fleet that works on jobs: what is behind them counts, and their time begins with a replica."""

from worlds import World, a_fleet

from coldspark.spec.messages import (
    BacklogChanged,
    Forward,
    Reject,
    RequestArrived,
    RequestFinished,
    Ticked,
    WakeAt,
)
from coldspark.spec.types import FailureKind, ReplicaId, RequestId


def arrive_for_a_job(world: World, number: int, now: float, wait_s: float, run_s: float) -> None:
    """Let the request of a job arrive."""
    world.step(RequestArrived(RequestId(str(number)), now + wait_s, run_s=run_s), now)


def test_a_jobs_time_to_run_begins_when_a_replica_takes_it() -> None:
    """A start of 50 s takes nothing of the 10 s that it may run."""
    world = World(a_fleet(replicas_max=1))
    arrive_for_a_job(world, 1, 0.0, wait_s=1_000.0, run_s=10.0)

    effects = world.ready(50.0)

    assert Forward(RequestId("1"), ReplicaId("chat/main.1")) in effects
    assert WakeAt(60.0) in effects
    (rejected,) = [e for e in world.step(Ticked(), 60.0) if isinstance(e, Reject)]
    assert rejected.failure.kind is FailureKind.TIMED_OUT
    assert rejected.failure.message == (
        "no answer within 10 s (the job's time to run): the limit passed while the replica"
        " worked on it"
    )


def test_a_job_that_is_taken_in_anothers_place_has_a_deadline_of_its_own() -> None:
    """The alarm is set for the nearer one."""
    world = World(a_fleet(replicas_max=1))
    arrive_for_a_job(world, 1, 0.0, wait_s=1_000.0, run_s=500.0)
    arrive_for_a_job(world, 2, 0.0, wait_s=1_000.0, run_s=10.0)
    world.ready(1.0)

    assert WakeAt(30.0) in world.step(RequestFinished(RequestId("1")), 20.0)


def test_the_backlog_behind_the_requests_counts_for_the_number_of_replicas() -> None:
    """Two requests of 1,000 jobs: the other replicas pay, as they would for 1,000 requests."""
    world = World(a_fleet(replicas_max=4))
    arrive_for_a_job(world, 1, 0.0, wait_s=1_000.0, run_s=10.0)
    assert len(world.started) == 1

    world.step(BacklogChanged(999), 0.1)

    assert len(world.started) == 4


def test_a_backlog_alone_starts_nothing() -> None:
    """Jobs that wait for their next try are no work yet."""
    world = World(a_fleet(replicas_max=4))

    world.step(BacklogChanged(999), 0.0)

    assert world.started == []
