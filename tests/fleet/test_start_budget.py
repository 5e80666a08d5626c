"""The budget of failed starts: one at a time, later each time, and forgiven by one success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.start_budget import BACKOFF_MAX_S, FAILED_PAUSE_S, StartBudget
from coldspark.spec.types import Failure, FailureKind

FAILURE = Failure(kind=FailureKind.START_FAILED, message="exit status 1")
STEPS = st.lists(
    st.tuples(st.sampled_from(["fail", "give up", "forgive", "wait"]), st.integers(0, 70)),
    max_size=40,
)


@pytest.mark.parametrize(("failures", "wait_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (9, 30.0)])
def test_each_failure_in_a_row_doubles_the_wait_up_to_half_a_minute(
    failures: int, wait_s: float
) -> None:
    """The worked numbers."""
    budget = StartBudget()
    for _ in range(failures):
        budget.record_failure(10.0)
    assert budget.retry_in_s(10.0) == wait_s


@given(steps=STEPS, starts=st.integers(0, 50))
def test_in_any_history_one_start_at_a_time_follows_a_failure(
    steps: list[tuple[str, int]], starts: int
) -> None:
    """None before its time, any number after a success, and never a wait without end."""
    budget, now, failed = StartBudget(), 0.0, 0
    for kind, seconds in steps:
        if kind == "wait":
            now += seconds
        elif kind == "fail":
            budget.record_failure(now)
            failed += 1
        elif kind == "give up" and failed:
            budget.exhaust(FAILURE, now)
        elif kind == "forgive":
            budget.reset()
            failed = 0
        budget.check()
        if not failed:
            assert budget.allowed(starts, now) == starts
        else:
            is_time = budget.retry_in_s(now) == 0.0
            assert budget.allowed(starts, now) == (min(1, starts) if is_time else 0)
        assert budget.retry_in_s(now) <= max(BACKOFF_MAX_S, FAILED_PAUSE_S)
