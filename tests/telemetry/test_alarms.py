"""Alarms: M of N, and what missing data counts as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.spec.types import AlarmState
from coldspark.telemetry.alarm_rules import COMPARISONS, AlarmTest, MissingData, evaluate_alarm

OK, ALARM, INSUFFICIENT = AlarmState.OK, AlarmState.ALARM, AlarmState.INSUFFICIENT_DATA
STAYS = None


def points(text: str) -> list[float | None]:
    """Read ``0 - X``: within, missing, beyond a threshold of 0.5."""
    return [{"0": 0.0, "X": 1.0, "-": None}[word] for word in text.split()]


def alarm(m: int, n: int, missing: str) -> AlarmTest:
    """Return an alarm over 0.5."""
    return AlarmTest(
        threshold=0.5,
        comparison="GreaterThanThreshold",
        evaluation_periods=n,
        datapoints_to_alarm=m,
        missing=MissingData(missing),
    )


@pytest.mark.parametrize(
    ("m", "shown", "states"),
    [
        (3, "0 - X - X", (OK, OK, OK, OK)),
        (3, "0 X X - X", (ALARM, ALARM, ALARM, ALARM)),
        (3, "- - - - 0", (OK, OK, OK, OK)),
        (3, "- - - - -", (INSUFFICIENT, STAYS, ALARM, OK)),
        (3, "- - X - -", (ALARM, STAYS, ALARM, OK)),
        (3, "- - - - X", (OK, STAYS, ALARM, OK)),
        (2, "0 - X - X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0 0 X 0 X", (ALARM, ALARM, ALARM, ALARM)),
        (2, "0 - X - -", (OK, OK, ALARM, OK)),
        (2, "- - - - 0", (OK, OK, ALARM, OK)),
        (2, "- - - X -", (ALARM, STAYS, ALARM, OK)),
    ],
)
def test_missing_data_counts_as_the_table_says(
    m: int, shown: str, states: tuple[AlarmState | None, ...]
) -> None:
    """The rows of the module's table, and those of 2 of 3."""
    for missing, wanted in zip(
        ("missing", "ignore", "breaching", "notBreaching"), states, strict=True
    ):
        for before in AlarmState:
            after = evaluate_alarm(alarm(m, 3, missing), points(shown), before)
            assert after is (wanted or before), (missing, before)


def test_comparisons_meet_the_threshold_as_their_names_say() -> None:
    """Equal is beyond for the two that say so."""
    beyond = {
        name: [
            AlarmTest(
                threshold=5, comparison=name, evaluation_periods=1, datapoints_to_alarm=1
            ).breaches(value)
            for value in (4, 5, 6)
        ]
        for name in COMPARISONS
    }

    assert beyond == {
        "GreaterThanOrEqualToThreshold": [False, True, True],
        "GreaterThanThreshold": [False, False, True],
        "LessThanThreshold": [True, False, False],
        "LessThanOrEqualToThreshold": [True, True, False],
    }


def test_more_points_to_alarm_than_periods_are_refused() -> None:
    """M of N needs M <= N."""
    with pytest.raises(ValueError, match="datapoints_to_alarm=4"):
        alarm(4, 3, "missing")


MAYBE = st.one_of(st.none(), st.sampled_from([0.0, 1.0]))


@st.composite
def histories(draw: st.DrawFn) -> tuple[AlarmTest, list[float | None]]:
    """Return any alarm, and any run of periods."""
    n = draw(st.integers(1, 6))
    m = draw(st.integers(1, n))
    test = alarm(m, n, draw(st.sampled_from([one.value for one in MissingData])))
    return test, draw(st.lists(MAYBE, min_size=test.periods_evaluated, max_size=40))


@given(histories())
def test_any_history_keeps_the_promises(played: tuple[AlarmTest, list[float | None]]) -> None:
    """Period after period: M of the newest N alarm at once, N within are OK, and so on."""
    test, periods = played
    state, looked_at = AlarmState.INSUFFICIENT_DATA, test.periods_evaluated
    for end in range(looked_at, len(periods) + 1):
        window = periods[end - looked_at : end]
        before, state = state, evaluate_alarm(test, window, state)
        newest = window[-test.evaluation_periods :]
        if newest.count(1.0) >= test.datapoints_to_alarm:
            assert state is ALARM
        if all(point == 0.0 for point in newest):
            assert state is OK
        if all(point is None for point in window):
            assert (
                state
                is {
                    MissingData.MISSING: INSUFFICIENT,
                    MissingData.IGNORE: before,
                    MissingData.BREACHING: ALARM,
                    MissingData.NOT_BREACHING: OK,
                }[test.missing]
            )
        if state is ALARM and before is not ALARM and test.missing is not MissingData.BREACHING:
            assert 1.0 in window
        assert evaluate_alarm(test, window, state) is state, "looking twice changes nothing"
