"""Blobs: one file per content, shared by all directories that hold it, and never written again."""

import asyncio
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.blobs import SHARED_BYTES_MIN, BlobStore, sha256_of

LARGE = b"w" * SHARED_BYTES_MIN


def archive(path: Path, **files: bytes) -> Path:
    """Pack files; those named ``run…`` are programs."""
    with tarfile.open(path, "w:gz") as packed:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755 if name.startswith("run") else 0o644
            packed.addfile(info, io.BytesIO(content))
    return path


def fetch(root: Path, path: Path) -> Path:
    """Unpack an archive as a server would."""
    return asyncio.run(ArtifactDirectory(root).fetch(str(path)))


def test_two_archives_share_the_large_file_that_is_in_both(tmp_path: Path) -> None:
    """One inode is one copy on the disk and in the page cache; small files stay apart."""
    one = fetch(tmp_path / "root", archive(tmp_path / "a.tgz", weights=LARGE, config=b"{}"))
    other = fetch(tmp_path / "root", archive(tmp_path / "b.tgz", tensors=LARGE, config=b"{}"))
    assert (one / "weights").samefile(other / "tensors")
    assert not (one / "config").samefile(other / "config")
    (blob,) = (tmp_path / "root/blobs").iterdir()
    assert blob.name == sha256_of(one / "weights")
    assert list((tmp_path / "root/incoming").iterdir()) == []


def test_an_upload_shares_with_what_was_there(tmp_path: Path) -> None:
    """Whichever way it came."""
    artifacts = ArtifactDirectory(tmp_path / "root")
    one = asyncio.run(artifacts.fetch(str(archive(tmp_path / "a.tgz", weights=LARGE))))
    content = archive(tmp_path / "b.tgz", weights=LARGE, more=b"x").read_bytes()

    async def upload() -> Path:
        async def chunks():  # type: ignore[no-untyped-def]
            yield content

        return artifacts.code_dir(await artifacts.put(chunks(), len(content)))

    assert (asyncio.run(upload()) / "weights").samefile(one / "weights")


def test_a_program_does_not_share_with_what_is_none(tmp_path: Path) -> None:
    """Links share their mode, and each archive says its own."""
    folder = fetch(tmp_path / "root", archive(tmp_path / "a.tgz", run=LARGE, data=LARGE))
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o555
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o444


def test_the_manifest_says_where_a_directory_came_from_and_what_lies_in_it(tmp_path: Path) -> None:
    """A name may hold bytes that are no text."""
    odd = os.fsdecode(b"\xff")
    path = archive(tmp_path / "a.tgz", **{odd: LARGE})
    folder = fetch(tmp_path / "root", path)
    manifest = BlobStore(tmp_path / "root").manifest(folder)
    assert manifest is not None
    assert manifest.source == str(path)
    (entry,) = manifest.files
    assert (entry.path, entry.size_bytes) == ("\\xff", SHARED_BYTES_MIN)
    assert entry.sha256 == sha256_of(folder / odd)


@pytest.mark.parametrize("harm", [b"v" * SHARED_BYTES_MIN, b""])
def test_a_damaged_blob_is_replaced_by_the_next_whole_file(tmp_path: Path, harm: bytes) -> None:
    """What has the blob's name is what the name says; until then ``damaged`` finds it."""
    root = tmp_path / "root"
    fetch(root, archive(tmp_path / "a.tgz", weights=LARGE))
    (blob,) = (root / "blobs").iterdir()
    assert BlobStore(root).damaged() == []
    blob.chmod(0o600)
    blob.write_bytes(harm)
    assert BlobStore(root).damaged() == [blob]
    folder = fetch(root, archive(tmp_path / "b.tgz", weights=LARGE, more=b"x"))
    assert (folder / "weights").read_bytes() == LARGE
    assert BlobStore(root).damaged() == []


def test_a_file_with_all_the_links_it_can_have_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one on a file system that knows no links."""

    def refuse(*names: object, **options: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    folder = fetch(tmp_path / "root", archive(tmp_path / "a.tgz", weights=LARGE))
    assert (folder / "weights").read_bytes() == LARGE
