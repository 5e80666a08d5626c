"""What the frontier plays next: the settings in whose steps the other side's fall."""

from math import sqrt

from benchmarks.refining import Side
from benchmarks.regrets import Point, answering
from benchmarks.swept import Sweep, ours


def _side(*points: tuple[float, float, float]) -> Side:
    """Return one sweep over wait_value with (value, cost, wait) of each."""
    side = Side([Sweep(tuple(value for value, _, _ in points), ours)])
    for value, cost, wait_s in points:
        side.learn(ours(value), Point(ours(value).name, cost, wait_s, wait_s))
    return side


def _rival(cost: float, wait_s: float) -> Point:
    return Point("rival", cost, wait_s, wait_s)


def test_a_rival_in_a_step_is_answered_between_its_two_neighbours() -> None:
    """It costs less than the one that waits as little, and waits less than the other."""
    side = _side((1.0, 100.0, 9.0), (4.0, 200.0, 1.0), (16.0, 210.0, 0.5))

    assert side.refine([_rival(120.0, 2.0)])
    assert side.unplayed() == [ours(2.0)]
    assert side.refined == 1


def test_the_setting_that_is_worst_off_comes_first() -> None:
    """Two rivals ask; the one against whom ours is dearest is answered."""
    side = _side((1.0, 100.0, 9.0), (4.0, 200.0, 1.0), (16.0, 900.0, 0.1))

    assert side.refine([_rival(150.0, 2.0), _rival(210.0, 0.5)])
    assert side.unplayed() == [ours(8.0)]


def test_a_step_from_zero_is_halved_from_above() -> None:
    """There is no geometric mean with zero."""
    side = _side((0.0, 100.0, 9.0), (0.5, 200.0, 1.0))

    assert side.refine([_rival(120.0, 2.0)])
    assert side.unplayed() == [ours(0.25)]


def test_nothing_is_refined_where_no_step_holds_the_rival() -> None:
    """Even, cheaper than all of ours, or quicker than all of ours: no neighbours are around it."""
    side = _side((1.0, 100.0, 9.0), (4.0, 200.0, 1.0))

    assert not side.refine([_rival(195.0, 2.0)])
    assert not side.refine([_rival(50.0, 20.0)])
    assert not side.refine([_rival(150.0, 0.1)])
    assert side.unplayed() == []


def test_neighbours_that_are_close_are_left() -> None:
    """A rule that jumps is not chased for ever."""
    side = _side((1.0, 100.0, 9.0), (1.01, 200.0, 1.0))

    assert not side.refine([_rival(120.0, 2.0)])


def test_a_copy_is_played_with_what_answers_and_its_neighbours() -> None:
    """Of four settings on our frontier, the one that answers and those beside it."""
    mine = [
        Point(str(n), cost, wait, wait)
        for n, cost, wait in (
            (0, 1.0, 9.0),
            (1, 2.0, 5.0),
            (2, 3.0, 3.0),
            (3, 4.0, 1.0),
            (4, 5.0, sqrt(0.1)),
        )
    ]

    assert answering(mine, [_rival(2.5, 3.5)]) == ["1", "2", "3"]
