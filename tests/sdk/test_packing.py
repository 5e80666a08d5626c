"""Packing: the same files give the same bytes, and only what belongs in goes in."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from coldspark.errors import BodyTooLarge, InvalidRequest
from coldspark.sdk import packing
from coldspark.sdk.packing import list_files, pack


def lay_out(root: Path, *names: str) -> Path:
    """Write files that hold their own names."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_the_same_files_give_the_same_artifact(tmp_path: Path) -> None:
    """Neither times nor the order of writing change a byte."""
    one = lay_out(tmp_path / "one", "a.py", "b/c.py")
    two = lay_out(tmp_path / "two", "b/c.py", "a.py")
    os.utime(two / "a.py", (1, 1))
    (two / "a.py").chmod(0o600)
    assert pack(one) == pack(two)


def test_a_changed_byte_or_a_new_execute_bit_gives_another(tmp_path: Path) -> None:
    """What would run differently is a different artifact."""
    root = lay_out(tmp_path, "a.py")
    before = pack(root).sha256
    (root / "a.py").chmod(0o755)
    executable = pack(root).sha256
    (root / "a.py").write_text("other")
    assert len({before, executable, pack(root).sha256}) == 3


def test_an_archive_names_no_owner_and_no_time(tmp_path: Path) -> None:
    """It is the same on every machine."""
    content = pack(lay_out(tmp_path, "a.py")).content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        (entry,) = archive.getmembers()
        assert (entry.name, entry.uid, entry.uname, entry.mtime) == ("a.py", 0, "", 0)
        file = archive.extractfile(entry)
        assert file is not None
        assert file.read() == b"a.py"


def test_caches_and_environments_stay_out(tmp_path: Path) -> None:
    """Nor does version control go in."""
    root = lay_out(
        tmp_path,
        "inference.py",
        ".git/HEAD",
        ".venv/bin/python",
        "pkg/__pycache__/x.pyc",
        "pkg/m.py",
        "old.pyc",
    )
    assert list_files(root) == ["inference.py", "pkg/m.py"]


def test_the_ignore_file_is_obeyed(tmp_path: Path) -> None:
    """Patterns by name, by path, and for directories alone."""
    root = lay_out(tmp_path, "a.py", "data/x.bin", "keep/data", "notes.md", "sub/notes.md", "w.bin")
    (root / ".coldsparkignore").write_text("# weights\n*.bin\n\ndata/\nsub/notes.md\n")
    assert list_files(root) == ["a.py", "keep/data", "notes.md"]


def test_a_single_file_is_packed_alone(tmp_path: Path) -> None:
    """Its neighbours are not part of it."""
    root = lay_out(tmp_path, "a.py", "b.py")
    assert pack(root / "a.py").files == ("a.py",)


def test_a_link_within_is_followed_and_one_that_leads_out_is_refused(tmp_path: Path) -> None:
    """A link to a file outside would leak it, or break elsewhere."""
    root = lay_out(tmp_path / "project", "a.py")
    (root / "b.py").symlink_to(root / "a.py")
    assert pack(root).files == ("a.py", "b.py")
    (root / "secret").symlink_to(lay_out(tmp_path, "outside") / "outside")
    with pytest.raises(InvalidRequest, match="leads out"):
        pack(root)


def test_nothing_to_pack_is_refused(tmp_path: Path) -> None:
    """So is a path that does not exist."""
    with pytest.raises(InvalidRequest, match="no file"):
        pack(tmp_path)
    with pytest.raises(InvalidRequest, match="does not exist"):
        pack(tmp_path / "none")


def test_model_files_in_the_code_are_reported_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over the limit, the message names the cure."""
    monkeypatch.setattr(packing, "ARCHIVE_BYTES_MAX", 3)
    with pytest.raises(BodyTooLarge, match="keep model files out"):
        pack(lay_out(tmp_path, "weights.bin"))
