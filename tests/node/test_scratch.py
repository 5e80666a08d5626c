"""Replicas' own directories: whose content is nobody's is the next one's, all others go."""

from pathlib import Path

import pytest

from coldspark.node.sandbox.scratch import SPARE_MAX, ScratchDirectories, make


def test_what_was_left_as_it_was_is_the_next_ones(tmp_path: Path) -> None:
    """Also with another model: the link is the only thing that differs."""
    scratches = ScratchDirectories(tmp_path / "replicas")
    first = scratches.acquire()
    make(first, tmp_path / "model-a")

    assert scratches.reclaim(first)
    again = scratches.acquire()
    make(again, tmp_path / "model-b")

    assert again == first
    assert (again / "model").readlink() == tmp_path / "model-b"
    assert list((again / "tmp").iterdir()) == []


def test_two_at_once_have_two_directories(tmp_path: Path) -> None:
    """Nobody shares."""
    scratches = ScratchDirectories(tmp_path)

    assert scratches.acquire() != scratches.acquire()


@pytest.mark.parametrize("left", ["tmp/secret", "file", ".hidden", "tmp/.hidden"])
def test_what_somebody_wrote_into_is_nobody_elses(tmp_path: Path, left: str) -> None:
    """One replica's files are not another's to read."""
    scratches = ScratchDirectories(tmp_path)
    scratch = scratches.acquire()
    make(scratch, None)
    (scratch / left).write_text("x")

    assert not scratches.reclaim(scratch)
    assert scratches.acquire() != scratch


def test_a_tmp_that_leads_elsewhere_is_not_kept(tmp_path: Path) -> None:
    """The next replica would write where a link of the last one leads."""
    scratches = ScratchDirectories(tmp_path / "replicas")
    scratch = scratches.acquire()
    make(scratch, None)
    (tmp_path / "elsewhere").mkdir()
    (scratch / "tmp").rmdir()
    (scratch / "tmp").symlink_to(tmp_path / "elsewhere")

    assert not scratches.reclaim(scratch)


def test_a_model_that_is_no_link_any_more_is_not_kept(tmp_path: Path) -> None:
    """A directory in the link's place is the replica's own."""
    scratches = ScratchDirectories(tmp_path)
    scratch = scratches.acquire()
    make(scratch, None)
    (scratch / "model").mkdir()

    assert not scratches.reclaim(scratch)


def test_one_that_was_never_made_is_not_kept(tmp_path: Path) -> None:
    """A replica may end before anything of it was made."""
    scratches = ScratchDirectories(tmp_path)

    assert not scratches.reclaim(scratches.acquire())


def test_not_more_are_kept_than_can_be_of_use(tmp_path: Path) -> None:
    """After a burst the rest goes; at the end all."""
    scratches = ScratchDirectories(tmp_path)
    taken = [scratches.acquire() for _ in range(SPARE_MAX + 1)]
    for scratch in taken:
        make(scratch, None)

    assert [scratches.reclaim(scratch) for scratch in taken] == [True] * SPARE_MAX + [False]
    scratches.close()

    assert list(tmp_path.iterdir()) == [taken[-1]]
