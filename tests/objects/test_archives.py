"""Archives: what a stranger packed stays within its directory."""

import gzip
import io
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldspark.objects.archives import ArchiveRefused, unpack


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
        ("bell\\x07", [member("bell\a", size=1)]),
        ("n" * 200, [member("n" * 300, size=1)]),
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
    """Links that climb first and then descend, as in Hugging Face's cache, are fine.

    No setuid bit survives, and no file may be written: replicas share them.
    """
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
    assert (tmp_path / "tree/run.sh").stat().st_mode & 0o7777 == 0o555


PLACES = ("a", "b", "a/b", "a/b/c", "b/a", ".", "..", "../x", "a/..", "/tmp")
MEMBERS = st.lists(
    st.builds(
        member,
        st.sampled_from(PLACES),
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, SYM, LNK]),
        st.sampled_from((*PLACES, "../../x", "a/../..", "b/..", "../a")),
        st.integers(0, 3),
    ),
    max_size=6,
)


@given(members=MEMBERS)
def test_no_order_of_members_leads_outside(members: list[tarfile.TarInfo]) -> None:
    """Refused or not: nothing lies beside the tree, and every link within it stays within it."""
    with tempfile.TemporaryDirectory() as folder:
        jail = Path(folder).resolve()
        for info in members:
            info.size = info.size if info.isreg() else 0
        archive = packed(jail / "any.tar.gz", *members)
        with suppress(ArchiveRefused):
            unpack(archive, jail / "tree")
        assert {path.name for path in jail.iterdir()} == {"any.tar.gz", "tree"}
        for path in (jail / "tree").rglob("*"):
            # A link to itself leads nowhere at all.
            with suppress(RuntimeError):
                assert path.resolve().is_relative_to(jail / "tree")


def test_size_and_number_are_bounded(tmp_path: Path) -> None:
    """The member that goes over the limit is named, before it is written."""
    archive = packed(tmp_path / "big.tar.gz", member("one", size=8), member("two", size=8))
    with pytest.raises(ArchiveRefused, match="'two' brings it over 10 bytes"):
        unpack(archive, tmp_path / "a", bytes_max=10)
    with pytest.raises(ArchiveRefused, match="'two' is member 2"):
        unpack(archive, tmp_path / "b", members_max=1)


def test_what_is_no_archive_or_cut_short_is_refused(tmp_path: Path) -> None:
    """Half an upload is not half a model; nor is one whose headers or checksum are wrong."""
    (tmp_path / "text.tar").write_bytes(b"hello" * 1_000)
    whole = packed(tmp_path / "whole.tar.gz", *(member(f"m{i}", size=9_999) for i in range(99)))
    (tmp_path / "half.tar.gz").write_bytes(whole.read_bytes()[:700])
    damaged = bytearray(gzip.decompress(whole.read_bytes()))
    second_header = 512 + 20 * 512
    damaged[second_header + 150] ^= 1
    (tmp_path / "damaged.tar").write_bytes(damaged)
    checksum = bytearray(whole.read_bytes())
    checksum[-6] ^= 1
    (tmp_path / "checksum.tar.gz").write_bytes(checksum)
    for name in ("text.tar", "half.tar.gz", "damaged.tar", "checksum.tar.gz"):
        with pytest.raises(ArchiveRefused, match="no whole tar"):
            unpack(tmp_path / name, tmp_path / f"tree-{name}")


def test_bombs_are_refused_before_they_go_off(tmp_path: Path) -> None:
    """A small archive may not fill the memory with a header, nor the disk with zeros."""
    header = member("pax", tarfile.XHDTYPE, size=64 * 1024**2)
    with gzip.open(tmp_path / "header.tar.gz", "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(header.size))
    with pytest.raises(ArchiveRefused, match="a header is over"):
        unpack(tmp_path / "header.tar.gz", tmp_path / "a")
    # Not written here: its header alone is enough to refuse it.
    zeros = member("zeros", size=2 * 1024**3)
    (tmp_path / "zeros.tar.gz").write_bytes(gzip.compress(zeros.tobuf(tarfile.GNU_FORMAT)))
    with pytest.raises(ArchiveRefused, match="'zeros' brings it over"):
        unpack(tmp_path / "zeros.tar.gz", tmp_path / "b")


def test_a_member_whose_size_is_whole_blocks_is_read_once(tmp_path: Path) -> None:
    """tarfile steps one byte back there, which in a gzip file can mean back to its beginning."""
    blocks = [member(f"m{i}", size=3 * 1024**2) for i in range(4)]
    unpack(packed(tmp_path / "whole.tar.gz", *blocks), tmp_path / "tree")
    assert [path.stat().st_size for path in (tmp_path / "tree").iterdir()] == [3 * 1024**2] * 4
