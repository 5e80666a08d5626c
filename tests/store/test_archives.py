"""Archives: what a stranger packed stays within its directory."""

import io
import tarfile
from pathlib import Path

import pytest

from coldspark.store.archives import ArchiveRefused, unpack


def member(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    """Return a header."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def packed(path: Path, *members: tarfile.TarInfo) -> Path:
    """Pack members; a file's content is as many letters x as its size."""
    with tarfile.open(path, "w:gz") as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


SYM, LNK = tarfile.SYMTYPE, tarfile.LNKTYPE


@pytest.mark.parametrize(
    ("bad", "members"),
    [
        ("../evil", [member("../evil", size=1)]),
        ("a/../../evil", [member("a/../../evil", size=1)]),
        ("up", [member("up", SYM, "..")]),
        ("root", [member("root", SYM, "/etc")]),
        ("deep/link", [member("deep/link", SYM, "../../etc")]),
        ("hard", [member("hard", LNK, "../../etc/passwd")]),
        ("hard", [member("hard", LNK, "/etc/passwd")]),
        ("nothing", [member("nothing", LNK, "missing")]),
        ("null", [member("null", tarfile.CHRTYPE)]),
        ("pipe", [member("pipe", tarfile.FIFOTYPE)]),
        ("through", [member("through", SYM, "."), member("through/file", size=1)]),
        ("y", [member("a/b/x", SYM, "../.."), member("y", SYM, "a/b/x/../..")]),
    ],
)
def test_a_malicious_member_is_refused_by_name(
    tmp_path: Path, bad: str, members: list[tarfile.TarInfo]
) -> None:
    """Nothing appears outside, and the message says which member it was."""
    archive = packed(tmp_path / "bad.tar.gz", *members)
    with pytest.raises(ArchiveRefused) as refused:
        unpack(archive, tmp_path / "jail" / "tree")
    assert bad in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar.gz", "jail"]
    assert [path.name for path in (tmp_path / "jail").iterdir()] == ["tree"]


def test_good_members_arrive_with_their_links_and_modes(tmp_path: Path) -> None:
    """Links that climb first and then descend, as in Hugging Face's cache, are fine."""
    script = member("run.sh", size=3)
    script.mode = 0o4777
    archive = packed(
        tmp_path / "good.tar.gz",
        member("snapshots", tarfile.DIRTYPE),
        member("snapshots/model", SYM, "../blobs/m"),
        member("blobs/m", size=5),
        member("blobs/same", LNK, "blobs/m"),
        script,
    )
    unpack(archive, tmp_path / "tree")
    assert (tmp_path / "tree/snapshots/model").read_bytes() == b"xxxxx"
    assert (tmp_path / "tree/blobs/same").samefile(tmp_path / "tree/blobs/m")
    assert (tmp_path / "tree/run.sh").stat().st_mode & 0o7777 == 0o755


def test_size_and_number_are_bounded(tmp_path: Path) -> None:
    """The member that goes over the limit is named, before it is written."""
    archive = packed(tmp_path / "big.tar.gz", member("one", size=8), member("two", size=8))
    with pytest.raises(ArchiveRefused, match="'two' brings it over 10 bytes"):
        unpack(archive, tmp_path / "a", bytes_max=10)
    with pytest.raises(ArchiveRefused, match="'two' is member 2"):
        unpack(archive, tmp_path / "b", members_max=1)


def test_what_is_no_archive_or_cut_short_is_refused(tmp_path: Path) -> None:
    """Half an upload is not half a model."""
    (tmp_path / "text.tar").write_bytes(b"hello" * 1_000)
    whole = packed(tmp_path / "whole.tar.gz", *(member(f"m{i}", size=9_999) for i in range(99)))
    (tmp_path / "half.tar.gz").write_bytes(whole.read_bytes()[:700])
    for name in ("text.tar", "half.tar.gz"):
        with pytest.raises(ArchiveRefused, match="no whole tar"):
            unpack(tmp_path / name, tmp_path / f"tree-{name}")
