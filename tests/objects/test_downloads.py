"""Downloads: in parallel ranges, resumed after a kill, verified, and never made twice."""

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from s3_proxy import HOLD_S, S3, Proxy

from coldspark.errors import ArtifactUnavailable
from coldspark.objects import partial_downloads
from coldspark.objects.artifacts import ArtifactDirectory
from coldspark.objects.downloads import RANGE_BYTES, Downloads
from coldspark.objects.partial_downloads import PartialDownload
from coldspark.objects.remote_buckets import ObjectChanged, RemoteBucket, RemoteObject

pytestmark = pytest.mark.seconds

FETCH = """
import asyncio, json, sys
from pathlib import Path
from coldspark.objects.artifacts import ArtifactDirectory
root, url, options = sys.argv[1:]
artifacts = ArtifactDirectory(Path(root), s3_options=json.loads(options), ranges_at_once=2)
asyncio.run(artifacts.fetch(url))
"""


def noise(size: int, seed: int = 1) -> bytes:
    """Return bytes of which no range is like another."""
    return random.Random(seed).randbytes(size)


def the_file(folder: Path) -> bytes:
    """Return the content of a directory's one file."""
    (path,) = folder.iterdir()
    return path.read_bytes()


def fetch(root: Path, proxy: Proxy, url: str, ranges_at_once: int = 8) -> Path:
    """Fetch as a new server would."""
    artifacts = ArtifactDirectory(root, s3_options=proxy.options, ranges_at_once=ranges_at_once)
    return asyncio.run(artifacts.fetch(url))


def interrupt(root: Path, proxy: Proxy, url: str) -> None:
    """Fetch until two ranges are held back, and give up."""

    async def give_up() -> None:
        artifacts = ArtifactDirectory(root, s3_options=proxy.options, ranges_at_once=2)
        async with asyncio.TaskGroup() as group:
            fetching = group.create_task(artifacts.fetch(url))
            for _ in range(2):
                assert await asyncio.to_thread(proxy.held.acquire, timeout=HOLD_S)
            fetching.cancel()

    asyncio.run(give_up())
    proxy.release.set()


@pytest.mark.process
def test_after_a_kill_only_the_rest_is_transferred(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """Six ranges, two at a time: who asks for the sixth has noted the fourth."""
    content = noise(5 * RANGE_BYTES + 12_345)
    s3.put("kill/weights.bin", content)
    url = "s3://models/kill/weights.bin"
    proxy.hold_from = 5
    argv = [sys.executable, "-c", FETCH, str(tmp_path), url, json.dumps(proxy.options)]
    with subprocess.Popen(argv) as running:
        for _ in range(2):
            assert proxy.held.acquire(timeout=HOLD_S)
        os.kill(running.pid, signal.SIGKILL)
    proxy.release.set()
    assert not list((tmp_path / "objects").iterdir())
    before = len(proxy.reads)
    heard: list[tuple[int, int]] = []
    artifacts = ArtifactDirectory(tmp_path, s3_options=proxy.options)
    folder = asyncio.run(artifacts.fetch(url, lambda *now: heard.append(now)))
    assert the_file(folder) == content
    assert len(proxy.reads) - before == 2
    assert heard == sorted(heard)
    assert heard[-1] == (len(content), len(content))
    assert list((tmp_path / "partial").iterdir()) == []


def test_an_interrupted_download_of_what_has_changed_begins_anew(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """No byte of the old object is in the new one, though they are of one size."""
    old, new = noise(4 * RANGE_BYTES, seed=1), noise(4 * RANGE_BYTES, seed=2)
    s3.put("anew/weights.bin", old)
    proxy.hold_from = 3
    interrupt(tmp_path, proxy, "s3://models/anew/weights.bin")
    assert list((tmp_path / "partial").iterdir())
    s3.put("anew/weights.bin", new)
    assert the_file(fetch(tmp_path, proxy, "s3://models/anew/weights.bin")) == new
    assert list((tmp_path / "partial").iterdir()) == []


def test_after_another_boot_of_the_machine_no_range_is_believed(
    tmp_path: Path, s3: S3, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut keeps the journal's lines, and loses the pages that they speak of."""
    content = noise(4 * RANGE_BYTES, seed=3)
    s3.put("boot/weights.bin", content)
    proxy.hold_from = 3
    interrupt(tmp_path, proxy, "s3://models/boot/weights.bin")
    (partial,) = (path for path in (tmp_path / "partial").iterdir() if not path.suffix)
    partial.write_bytes(bytes(len(content)))
    boot = tmp_path / "boot"
    boot.write_text("another")
    monkeypatch.setattr(partial_downloads, "_BOOT", boot)
    before = len(proxy.reads)
    assert the_file(fetch(tmp_path, proxy, "s3://models/boot/weights.bin")) == content
    assert len(proxy.reads) - before == 4


def test_no_more_ranges_than_allowed_are_under_way(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """Of all objects together."""
    for number in range(3):
        s3.put(f"bound/{number}.bin", noise(2 * RANGE_BYTES + 1, seed=number))
    fetch(tmp_path, proxy, "s3://models/bound/", ranges_at_once=3)
    assert len(proxy.reads) == 9
    assert proxy.at_once_max <= 3


def test_a_broken_connection_costs_a_retry_and_no_byte(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """What came before the break is kept."""
    content = noise(2 * RANGE_BYTES, seed=4)
    s3.put("cut/weights.bin", content)
    proxy.cuts = 2
    assert the_file(fetch(tmp_path, proxy, "s3://models/cut/weights.bin")) == content


def test_a_connection_that_always_breaks_ends_the_download(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """Tries are bounded; when the connection holds, the next download is whole."""
    content = noise(RANGE_BYTES + 9, seed=7)
    s3.put("broken/weights.bin", content)
    proxy.cuts = 10**6
    with pytest.raises(ArtifactUnavailable, match="broken/weights"):
        fetch(tmp_path, proxy, "s3://models/broken/weights.bin", ranges_at_once=1)
    proxy.cuts = 0
    assert the_file(fetch(tmp_path, proxy, "s3://models/broken/weights.bin")) == content


def test_an_object_replaced_while_it_is_read_is_refused(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """The bytes of two objects never make one file."""

    async def replace_between() -> None:
        bucket = RemoteBucket("models", proxy.options)
        s3.put("replaced", b"one")
        remote = await bucket.head("replaced")
        s3.put("replaced", b"two")
        await Downloads(tmp_path).download(bucket, remote, lambda more: None)

    with pytest.raises(ObjectChanged, match="replaced while it was read"):
        asyncio.run(replace_between())


@pytest.mark.parametrize("wrong", [-1, 1])
def test_an_object_of_another_size_than_listed_is_refused(
    tmp_path: Path, s3: S3, proxy: Proxy, wrong: int
) -> None:
    """Even if its ETag is the same: neither cut short nor padded."""
    s3.put("sized", b"seven b")

    async def bring() -> None:
        bucket = RemoteBucket("models", proxy.options)
        listed = await bucket.head("sized")
        remote = RemoteObject("sized", listed.etag, listed.size_bytes + wrong)
        await Downloads(tmp_path).download(bucket, remote, lambda more: None)

    with pytest.raises(ObjectChanged, match=f"is 7 bytes long, not {7 + wrong}"):
        asyncio.run(bring())


def test_an_object_that_is_not_what_its_owner_states_is_refused(
    tmp_path: Path, s3: S3, proxy: Proxy
) -> None:
    """And nothing of it stays; a statement that holds is met in silence."""
    s3.put("stated/good", b"good", sha256=hashlib.sha256(b"good").hexdigest())
    s3.put("stated/bad", b"bad", sha256=hashlib.sha256(b"good").hexdigest())
    assert the_file(fetch(tmp_path, proxy, "s3://models/stated/good")) == b"good"
    with pytest.raises(ArtifactUnavailable, match="its metadata states"):
        fetch(tmp_path, proxy, "s3://models/stated/bad")
    assert list((tmp_path / "partial").iterdir()) == []


def test_two_urls_of_one_object_make_one_download(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """At once, and ever after."""
    content = noise(RANGE_BYTES + 1, seed=5)
    s3.put("once/deep/weights.bin", content)
    urls = ["s3://models/once/", "s3://models/once/deep/", "s3://models/once/deep/weights.bin"]

    async def all_at_once() -> list[Path]:
        artifacts = ArtifactDirectory(tmp_path, s3_options=proxy.options)
        return list(await asyncio.gather(*map(artifacts.fetch, urls)))

    folders = asyncio.run(all_at_once())
    assert proxy.bytes_sent == len(content)
    files = [path for folder in folders for path in folder.rglob("*.bin")]
    assert len({path.stat().st_ino for path in files}) == 1
    assert len(files) == 3


def test_of_a_prefix_only_what_changed_is_downloaded(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """The old directory stays as it was."""
    content = noise(RANGE_BYTES, seed=6)
    s3.put("tuned/weights.bin", content)
    s3.put("tuned/config.json", b"{}")
    old = fetch(tmp_path, proxy, "s3://models/tuned/")
    s3.put("tuned/config.json", b"[]")
    new = fetch(tmp_path, proxy, "s3://models/tuned/")
    assert proxy.bytes_sent == len(content) + 4
    assert (old / "config.json").read_text() == "{}"
    assert (new / "config.json").read_text() == "[]"
    assert (new / "weights.bin").samefile(old / "weights.bin")


def test_a_damaged_blob_is_downloaded_again(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """Of the right size, with the wrong bytes: what a power cut leaves."""
    s3.put("hurt/weights.bin", b"weights")
    fetch(tmp_path, proxy, "s3://models/hurt/")
    (blob,) = (tmp_path / "blobs").iterdir()
    blob.chmod(0o600)
    blob.write_bytes(b"\0" * 7)
    folder = fetch(tmp_path, proxy, "s3://models/hurt/weights.bin")
    assert the_file(folder) == b"weights"


def test_an_empty_object_is_an_empty_file(tmp_path: Path, s3: S3, proxy: Proxy) -> None:
    """It has no ranges."""
    s3.put("void/nothing", b"")
    assert the_file(fetch(tmp_path, proxy, "s3://models/void/nothing")) == b""


def test_a_file_closed_during_a_write_is_closed_after_it(tmp_path: Path) -> None:
    """A cancelled task's thread goes on; its descriptor must not become another file's."""
    remote = RemoteObject(key="x", etag="e", size_bytes=4)
    partial = PartialDownload(tmp_path / "x", remote, range_bytes=4)
    with partial._open() as fds:
        partial.close()
        os.pwrite(fds.content, b"late", 0)
    with pytest.raises(OSError):
        os.fstat(fds.content)
    with pytest.raises(OSError, match="is closed"):
        partial.write(0, memoryview(b"more"))
    assert (tmp_path / "x").read_bytes() == b"late"
