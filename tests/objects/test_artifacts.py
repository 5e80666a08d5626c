"""Artifacts: uploads, local files and S3, each brought here once and whole."""

import asyncio
import hashlib
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from s3_proxy import S3

from coldspark.errors import ArtifactUnavailable, BodyTooLarge, InvalidRequest
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.remote_buckets import RangeResponse, RemoteBucket, RemoteObject
from coldspark.spec.types import ArtifactId


def tar_gz(**files: str) -> bytes:
    """Pack files by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content.encode()))
    return buffer.getvalue()


async def chunks(content: bytes, size: int = 7) -> AsyncIterator[bytes]:
    """Yield the content in small pieces."""
    for at in range(0, len(content), size):
        yield content[at : at + size]


def test_an_upload_is_known_by_its_hash_and_read_as_a_directory(tmp_path: Path) -> None:
    """Twice the same is one; the code is there for the next server, too."""
    content = tar_gz(model="weights")
    artifacts = ArtifactDirectory(tmp_path)
    id = asyncio.run(artifacts.put(chunks(content), 10_000))
    assert id == hashlib.sha256(content).hexdigest()
    assert asyncio.run(artifacts.put(chunks(content), 10_000, expected=id)) == id
    again = ArtifactDirectory(tmp_path)
    assert asyncio.run(again.has(id))
    assert (again.code_dir(id) / "model").read_text() == "weights"
    assert asyncio.run(again.fetch(f"artifact:{id}")) == again.code_dir(id)
    assert list((tmp_path / "incoming").iterdir()) == []


def test_an_upload_that_is_wrong_leaves_nothing(tmp_path: Path) -> None:
    """Too large, of another hash, or no archive."""
    artifacts = ArtifactDirectory(tmp_path)
    content = tar_gz(model="weights")
    with pytest.raises(BodyTooLarge, match="over the limit of 9 bytes"):
        asyncio.run(artifacts.put(chunks(content), 9))
    with pytest.raises(InvalidRequest, match="not 0000"):
        asyncio.run(artifacts.put(chunks(content), 10_000, expected="0" * 64))
    with pytest.raises(InvalidRequest, match="no whole tar"):
        asyncio.run(artifacts.put(chunks(b"hello"), 10_000))
    for room in ("incoming", "uploads"):
        assert list((tmp_path / room).iterdir()) == []


@pytest.mark.parametrize(
    "url",
    ["artifact:../..", f"artifact:{'0' * 64}", "/nowhere/at/all", "file:relative", "ftp://x/y"],
)
def test_what_is_not_there_is_named_with_reason_and_cure(tmp_path: Path, url: str) -> None:
    """A person must see at once which URL was meant."""
    artifacts = ArtifactDirectory(tmp_path)
    with pytest.raises(ArtifactUnavailable) as refused:
        asyncio.run(artifacts.fetch(url))
    assert url in refused.value.message
    assert ";" in refused.value.message
    assert not asyncio.run(artifacts.has(ArtifactId("../..")))


def test_a_local_directory_is_used_in_place(tmp_path: Path) -> None:
    """No copy of what may be many gigabytes."""
    model = tmp_path / "my model"
    model.mkdir()
    artifacts = ArtifactDirectory(tmp_path / "root")
    for url in (str(model), f"file://{tmp_path}/my%20model"):
        assert asyncio.run(artifacts.fetch(url)) == model


def test_a_local_archive_is_unpacked_once_until_it_changes(tmp_path: Path) -> None:
    """The cache goes by path, size and modification time."""
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(tar_gz(model="one"))
    artifacts = ArtifactDirectory(tmp_path / "root")
    first = asyncio.run(artifacts.fetch(str(archive)))
    assert asyncio.run(artifacts.fetch(f"file://{archive}")) == first
    archive.write_bytes(tar_gz(model="other"))
    second = asyncio.run(artifacts.fetch(str(archive)))
    assert (first / "model").read_text() == "one"
    assert (second / "model").read_text() == "other"


def test_a_stamp_changes_with_the_data_alone(tmp_path: Path) -> None:
    """A file, a file within a directory; not what Python leaves beside code."""
    artifacts = ArtifactDirectory(tmp_path / "artifacts")
    model = tmp_path / "models"
    (model / "code").mkdir(parents=True)
    program, packed = model / "code" / "inference.py", tmp_path / "m.tar.gz"
    for path in (program, packed):
        path.write_text("one")

    def stamps() -> list[str]:
        return [asyncio.run(artifacts.stamp(one.as_uri())) for one in (model, packed)]

    first = stamps()
    (model / "code" / "__pycache__").mkdir()
    (model / "code" / "__pycache__" / "inference.pyc").write_text("one")
    assert stamps() == first
    for path in (program, packed):
        path.write_text("another")
    assert not set(stamps()) & set(first)
    with pytest.raises(ArtifactUnavailable, match="check the path"):
        asyncio.run(artifacts.stamp("file:///not/there.tar.gz"))


def test_a_local_single_file_lies_in_a_directory_of_its_own(tmp_path: Path) -> None:
    """Such as one GGUF file."""
    (tmp_path / "tiny.gguf").write_text("weights")
    folder = asyncio.run(ArtifactDirectory(tmp_path / "root").fetch(str(tmp_path / "tiny.gguf")))
    assert [path.read_text() for path in folder.iterdir()] == ["weights"]


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the keys as ranges of them are read."""
    keys: list[str] = []
    read = RemoteBucket.read

    async def spied(
        self: RemoteBucket, remote: RemoteObject, start: int, end: int
    ) -> RangeResponse:
        keys.append(remote.key)
        return await read(self, remote, start, end)

    monkeypatch.setattr(RemoteBucket, "read", spied)
    return keys


def test_an_object_is_downloaded_once_until_it_changes(
    tmp_path: Path, s3: S3, downloads: list[str]
) -> None:
    """Ten replicas and a restart make one download; a new ETag makes another."""
    s3.put("llm/model.tar.gz", tar_gz(model="one"))
    url = "s3://models/llm/model.tar.gz"

    async def ten() -> set[Path]:
        artifacts = ArtifactDirectory(tmp_path, s3_options=s3.options)
        return set(await asyncio.gather(*(artifacts.fetch(url) for _ in range(10))))

    (first,) = asyncio.run(ten())
    assert asyncio.run(ten()) == {first}
    assert downloads == ["llm/model.tar.gz"]
    s3.put("llm/model.tar.gz", tar_gz(model="two"))
    (second,) = asyncio.run(ten())
    assert (second / "model").read_text() == "two"
    assert len(downloads) == 2


def test_a_prefix_brings_all_objects_and_a_plain_object_its_file(tmp_path: Path, s3: S3) -> None:
    """Names under the prefix become paths; 20 MB go through in pieces."""
    large = b"0123456789" * 2_000_000
    s3.put("tree/config.json", b"{}")
    s3.put("tree/parts/weights.bin", large)
    s3.put("treetop", b"another")
    artifacts = ArtifactDirectory(tmp_path, s3_options=s3.options)
    heard: list[tuple[int, int]] = []
    tree = asyncio.run(artifacts.fetch("s3://models/tree/", lambda *now: heard.append(now)))
    total = len(large) + 2
    assert heard == sorted(heard)
    assert len(heard) > 2
    assert heard[-1] == (total, total)
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert files == {"config.json", "parts/weights.bin"}
    assert (tree / "parts/weights.bin").read_bytes() == large
    one = asyncio.run(artifacts.fetch("s3://models/tree/parts/weights.bin"))
    assert [path.name for path in one.iterdir()] == ["weights.bin"]


@pytest.mark.parametrize("url", ["s3://models/gone.tar.gz", "s3://models/empty/", "s3://nobody/x"])
def test_a_missing_object_is_unavailable(tmp_path: Path, s3: S3, url: str) -> None:
    """With the URL and a cure in the message."""
    with pytest.raises(ArtifactUnavailable, match=url):
        asyncio.run(ArtifactDirectory(tmp_path, s3_options=s3.options).fetch(url))
    assert list((tmp_path / "objects").iterdir()) == []


@pytest.mark.parametrize("url", ["s3://UPP er!/x.tar.gz", "s3://models//a//b", "s3://models/../x"])
def test_a_url_that_the_client_cannot_write_is_refused(tmp_path: Path, s3: S3, url: str) -> None:
    """Whatever a caller types ends in our own error, not in the client's panic."""
    with pytest.raises(ArtifactUnavailable, match="is not available"):
        asyncio.run(ArtifactDirectory(tmp_path, s3_options=s3.options).fetch(url))


def test_an_unknown_s3_option_is_named(tmp_path: Path) -> None:
    """A slip in the server's configuration shows at the first download."""
    with pytest.raises(ArtifactUnavailable, match="nonsense"):
        asyncio.run(
            ArtifactDirectory(tmp_path, s3_options={"nonsense": "1"}).fetch("s3://models/x")
        )


def test_an_object_that_is_no_archive_leaves_nothing(tmp_path: Path, s3: S3) -> None:
    """The next try begins anew."""
    s3.put("fake.tar.gz", b"<html>not what you think</html>")
    with pytest.raises(ArtifactUnavailable, match="no whole tar"):
        asyncio.run(
            ArtifactDirectory(tmp_path, s3_options=s3.options).fetch("s3://models/fake.tar.gz")
        )
    for room in ("incoming", "objects"):
        assert list((tmp_path / room).iterdir()) == []
