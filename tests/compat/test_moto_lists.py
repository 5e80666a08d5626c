"""The lists of third-party tests, and how a run is held against them."""

from pathlib import Path

import pytest

from run_moto_suites import LISTS, Suite, compare, load, outcomes_in


@pytest.mark.parametrize(
    "path", [path for path in LISTS.glob("*.toml") if path.stem != "server"], ids=lambda p: p.stem
)
def test_every_list_says_of_each_test_that_it_passes_or_why_not(path: Path) -> None:
    """A reason is a sentence, and at least something passes."""
    suite = load(path)
    assert suite.passes
    assert all(len(reason.split()) > 3 for reason in suite.excluded.values())


def test_the_worst_part_of_a_test_is_its_outcome() -> None:
    """A test whose server did not stop has failed."""
    text = "passed d/a.py::x\npassed d/a.py::x\nfailed d/a.py::x\npassed d/a.py::y\n"
    assert outcomes_in(text, "d") == {"a.py::x": "failed", "a.py::y": "passed"}


def test_a_regression_and_a_test_of_no_list_and_one_that_did_not_run_are_bad() -> None:
    """One that is excluded and passes is told, and no harm."""
    suite = Suite(
        name="s",
        directory="d",
        files=(),
        passes=frozenset({"a", "b"}),
        excluded={"c": "for a reason", "d": "for another"},
    )
    found = compare(suite, {"a": "passed", "b": "failed", "c": "passed", "e": "passed"})
    assert (found.regressions, found.unknown, found.better) == (["b"], ["e"], ["c"])
    assert found.missing == ["d"]
    assert not found.is_good
    fine = {"a": "passed", "b": "passed", "c": "failed", "d": "passed"}
    assert compare(suite, fine).is_good
