"""Moments by name: none is lost, none comes early, and what was dropped does not pile up."""

from hypothesis import given
from hypothesis import strategies as st

from coldspark.fleet.deadlines import NEVER, Deadlines

STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "drop", "wait"]), st.integers(0, 8), st.integers(0, 20)),
    max_size=80,
)


@given(steps=STEPS)
def test_any_history_agrees_with_a_plain_table(steps: list[tuple[str, int, int]]) -> None:
    """The heap is an index of a dict: the next moment and those due are the same."""
    deadlines: Deadlines[str] = Deadlines()
    table: dict[str, float] = {}
    now = 0.0
    for kind, pick, amount in steps:
        name = f"n{pick}"
        if kind == "add" and name not in table:
            table[name] = now + amount
            deadlines.add(name, now + amount)
        elif kind == "drop":
            table.pop(name, None)
            deadlines.remove(name)
        elif kind == "wait":
            now += amount
            due = {name for name, at_s in table.items() if at_s <= now}
            assert set(deadlines.due(now)) == due
            table = {name: at_s for name, at_s in table.items() if name not in due}
        deadlines.check()
        assert set(deadlines) == table.keys()
        assert deadlines.next_s() == min(table.values(), default=NEVER)


def test_many_short_ones_behind_a_long_one_do_not_pile_up() -> None:
    """What was dropped is cleared away although the first in the heap lives on."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("long", 1.0)
    for number in range(2_000):
        deadlines.add(str(number), 2.0 + number)
        deadlines.remove(str(number))
        deadlines.check()
    assert deadlines.next_s() == 1.0


def test_a_name_that_comes_again_has_its_new_moment_only() -> None:
    """The stale entry of its first life is not mistaken for it."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("a", 1.0)
    deadlines.remove("a")
    deadlines.add("a", 5.0)
    assert list(deadlines.due(4.0)) == []
    assert list(deadlines.due(5.0)) == ["a"]
