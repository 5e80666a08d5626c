"""Where the time went: all of it is attributed, nothing is negative, the rest is shown."""

from hypothesis import given
from hypothesis import strategies as st

from coldspark.spec.waterfall import (
    STAGES,
    RequestTimeline,
    StartTimeline,
    Waterfall,
    to_warm_waterfall,
    to_waterfall,
    with_batch_wait,
)

GAPS = st.lists(st.floats(0.0, 100.0), min_size=4, max_size=4)
MOMENT = st.none() | st.floats(0.0, 500.0)


@st.composite
def marks(draw: st.DrawFn) -> RequestTimeline:
    """Marks in order, some never passed: a request that failed was perhaps never forwarded."""
    started = draw(st.floats(0.0, 100.0))
    gaps = draw(GAPS)
    arrived = started + gaps[0]
    forwarded = arrived + gaps[1]
    answered = forwarded + gaps[2]
    return RequestTimeline(
        started_s=started,
        arrived_s=arrived,
        forwarded_s=draw(st.sampled_from([forwarded, None])),
        answered_s=draw(st.sampled_from([answered, None])),
        returned_s=answered + gaps[3],
        handler_us=draw(st.none() | st.integers(0, 10**9)),
    )


STARTS = st.none() | st.builds(
    StartTimeline,
    requested_s=st.floats(0.0, 500.0),
    granted_s=MOMENT,
    fetched_s=MOMENT,
    booted_s=MOMENT,
    ready_s=MOMENT,
)


def microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


@given(found=marks(), start=STARTS)
def test_all_of_the_wall_time_is_attributed_and_no_stage_is_negative(
    found: RequestTimeline, start: StartTimeline | None
) -> None:
    """To the microsecond, whatever the start's timeline says."""
    fall = to_waterfall(found, start)
    assert fall.total_us == microseconds(found.returned_s) - microseconds(found.started_s)
    assert all(duration_us >= 0 for duration_us in fall.stages().values())


@given(found=marks(), start=STARTS)
def test_what_the_handler_does_not_explain_is_shown_as_unaccounted(
    found: RequestTimeline, start: StartTimeline | None
) -> None:
    """A handler's own measurement never claims more than passed at the replica."""
    fall = to_waterfall(found, start)
    if found.handler_us is None:
        assert fall.unaccounted_us == 0
    else:
        assert fall.inferred_us <= found.handler_us
        assert fall.unaccounted_us == 0 or fall.inferred_us == found.handler_us


@given(found=marks(), start=STARTS)
def test_a_start_explains_only_the_wait_before_the_request_went_out(
    found: RequestTimeline, start: StartTimeline | None
) -> None:
    """Receiving, inference and return are the same with and without it."""
    with_start, without = to_waterfall(found, start), to_waterfall(found, None)
    waits = {"queued", "placed", "fetched", "booted", "loaded"}
    for name, duration_us in without.stages().items():
        if name not in waits:
            assert with_start.stages()[name] == duration_us
    waited = sum(with_start.stages()[name] for name in waits)
    assert waited == without.queued_us


def test_the_worked_number_of_a_cold_start() -> None:
    """Room 1 ms, process 14 ms, model 5 ms, and the channel's share of the inference."""
    start = StartTimeline(
        requested_s=0.0, granted_s=0.001, fetched_s=0.001, booted_s=0.015, ready_s=0.02
    )
    found = RequestTimeline(
        started_s=-0.002,
        arrived_s=0.0,
        forwarded_s=0.02,
        answered_s=0.03,
        returned_s=0.031,
        handler_us=9_000,
    )
    assert to_waterfall(found, start) == Waterfall(
        received_us=2_000,
        placed_us=1_000,
        booted_us=14_000,
        loaded_us=5_000,
        inferred_us=9_000,
        returned_us=1_000,
        unaccounted_us=1_000,
    )


def test_a_request_that_died_waiting_shows_how_far_its_start_had_come() -> None:
    """The leg that was under way takes the rest of the wait."""
    start = StartTimeline(requested_s=1.0, granted_s=2.0)
    fall = to_waterfall(
        RequestTimeline(started_s=0.0, arrived_s=0.0, returned_s=10.0, answered_s=10.0), start
    )
    assert fall.stages() == {
        **dict.fromkeys((name.removesuffix("_us") for name in STAGES), 0),
        "queued": 1_000_000,
        "placed": 1_000_000,
        "fetched": 8_000_000,
    }


def test_a_start_that_was_over_before_the_request_came_explains_nothing() -> None:
    """A warm request was queued, not booted."""
    start = StartTimeline(requested_s=0.0, granted_s=0.1, fetched_s=0.2, booted_s=0.3, ready_s=0.4)
    found = RequestTimeline(
        started_s=5.0, arrived_s=5.0, forwarded_s=6.0, answered_s=7.0, returned_s=7.0
    )
    assert to_waterfall(found, start) == Waterfall(queued_us=1_000_000, inferred_us=1_000_000)


@given(
    started_s=st.floats(0.0, 1e7),
    steps_s=st.tuples(*[st.floats(0.0, 1e3)] * 3),
    handler_us=st.none() | st.integers(0, 10**9),
)
def test_the_short_way_says_what_the_long_one_does(
    started_s: float, steps_s: tuple[float, float, float], handler_us: int | None
) -> None:
    """A request that waited for no start: the same stages to the microsecond, and the same sum."""
    arrived_s = started_s + steps_s[0]
    forwarded_s = arrived_s + steps_s[1]
    answered_s = forwarded_s + steps_s[2]
    short = to_warm_waterfall(started_s, arrived_s, forwarded_s, answered_s, handler_us)
    found = RequestTimeline(
        started_s=started_s,
        arrived_s=arrived_s,
        forwarded_s=forwarded_s,
        answered_s=answered_s,
        returned_s=answered_s,
        handler_us=handler_us,
    )
    long = to_waterfall(found, None)
    assert all(value >= 0 for value in short.stages().values())
    assert short.total_us == int((answered_s - started_s) * 1e6)
    for name, value in long.stages().items():
        assert abs(short.stages()[name] - value) <= 2, name


def test_waiting_for_a_batch_is_queueing() -> None:
    """The docstring's own number."""
    fall = to_warm_waterfall(0.0, 0.0, 0.0, 0.009, 6_000)
    expected = Waterfall(queued_us=2_800, inferred_us=6_000, unaccounted_us=200)
    assert with_batch_wait(fall, 2_800) == expected


@given(found=marks(), waited_us=st.integers(0, 10**9))
def test_waiting_for_a_batch_moves_time_and_makes_none(
    found: RequestTimeline, waited_us: int
) -> None:
    """Whatever a replica claims, the sum is the wall time and no stage is negative."""
    fall = to_waterfall(found, None)
    moved = with_batch_wait(fall, waited_us)
    assert moved.total_us == fall.total_us
    assert all(value >= 0 for value in moved.stages().values())
