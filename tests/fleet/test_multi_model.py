"""Many models behind one variant: what names one, and which replica is asked for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.fleet import Fleet
from coldspark.fleet.replica import _TARGETS_MAX, Replica
from coldspark.spec import failures
from coldspark.spec.messages import (
    Forward,
    ReplicaReady,
    RequestArrived,
    RequestFinished,
    RequestReservation,
    ReservationGranted,
)
from coldspark.spec.multi_model import MultiModel, target_problem
from coldspark.spec.types import (
    FailureKind,
    FleetId,
    HandlerProgram,
    ReplicaId,
    RequestId,
    Revision,
    RevisionId,
    ScalePolicy,
    Spec,
)

MANY = Spec(
    handler=HandlerProgram(),
    multi_model=MultiModel(prefix="s3://b/m/"),
    scale=ScalePolicy(replicas_min=2, replicas_max=2),
)


def fleet() -> tuple[Fleet, list[ReplicaId]]:
    """Return a fleet with two ready replicas of one slot."""
    made = Fleet(FleetId("e/v"), Revision(id=RevisionId("r"), spec=MANY))
    asked = [
        e
        for e in made.step(RequestArrived(R(0), 99.0, 0, "x"), 0.0)
        if isinstance(e, RequestReservation)
    ]
    for effect in asked:
        made.step(ReservationGranted(effect.replica), 0.0)
    for effect in asked:
        made.step(ReplicaReady(effect.replica), 1.0)
    made.step(RequestFinished(R(0)), 1.0)
    assert len(asked) == 2
    return made, [effect.replica for effect in asked]


def R(number: int) -> RequestId:
    return RequestId(f"q-{number}")


def served(made: Fleet, number: int, target: str) -> ReplicaId:
    """Send one request for a model through; return who answered."""
    (replica,) = [
        effect.replica
        for effect in made.step(RequestArrived(R(number), 99.0, 0, target), 2.0)
        if isinstance(effect, Forward)
    ]
    return replica


def test_a_request_goes_to_a_replica_that_was_asked_for_its_model_before() -> None:
    """If that has a free slot; else anybody is better than waiting."""
    made, _ = fleet()
    first = served(made, 1, "a")
    other = served(made, 2, "b")
    assert first != other
    for done in (R(1), R(2)):
        made.step(RequestFinished(done), 3.0)
    # The one freed last would be taken: for its model it is the other.
    assert served(made, 3, "a") == first
    assert served(made, 4, "a") == other
    made.check()


def test_what_is_remembered_of_a_replica_is_bounded() -> None:
    """Callers choose the names."""
    replica = Replica(ReplicaId("r"), Revision(id=RevisionId("r"), spec=MANY), 0.0)
    for number in range(_TARGETS_MAX + 10):
        replica.record_target(str(number))
    assert len(replica.targets) == _TARGETS_MAX
    assert "9" not in replica.targets


@given(st.text(max_size=40))
def test_no_target_leads_out_of_its_prefix(target: str) -> None:
    """What is let pass is a path of plain parts."""
    if target_problem(target) is None:
        assert not target.startswith("/")
        assert ".." not in target.split("/")


@pytest.mark.parametrize("target", ["", "../a", "a/../../b", "/a", "a//b", "a/./b", "a\\b", "a\n"])
def test_a_target_that_is_no_path_below_is_refused(target: str) -> None:
    """With the caller's own words."""
    failure = failures.no_target(target, has_many=True)
    assert failure is not None
    assert failure.kind is FailureKind.INVALID_REQUEST


def test_a_target_and_its_endpoint_belong_together() -> None:
    """One without the other would be taken for done."""
    assert failures.no_target(None, has_many=False) is None
    assert failures.no_target("sub/a.tar.gz", has_many=True) is None
    assert failures.no_target(None, has_many=True) is not None
    assert failures.no_target("a", has_many=False) is not None


def test_a_prefix_ends_in_a_slash_and_has_no_model_beside_it() -> None:
    """What cannot mean anything is refused."""
    with pytest.raises(ValueError, match="slash at its end"):
        MultiModel(prefix="s3://b/m.tar.gz")
    with pytest.raises(ValueError, match="either a model or many"):
        Spec(handler=HandlerProgram(), model="s3://b/m", multi_model=MANY.multi_model)
