"""Object storage: this server's own buckets first, then the external store."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import TypeVar

import boto3
import pytest
from s3_proxy import S3

from coldspark.database.database import Database
from coldspark.errors import ArtifactUnavailable, BodyTooLarge, NotFound
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.object_store import ObjectStore
from coldspark.platform.storage_ports import ObjectStorage

T = TypeVar("T")

Play = Callable[[ObjectStore], Coroutine[object, object, T]]


def played(root: Path, play: Play[T], options: dict[str, str] | None = None) -> T:
    """Play with a store over a data directory."""

    async def run() -> T:
        database = Database.open(root / "coldspark.db")
        ticks = itertools.count(1_000)
        own = LocalBuckets(database, root / "buckets", lambda: next(ticks))
        try:
            await own.open()
            await own.create_bucket("models")
            return await play(ObjectStore(own, options or {}))
        finally:
            database.close()

    return asyncio.run(run())


async def pieces(*blocks: bytes) -> AsyncIterator[bytes]:
    """Yield blocks."""
    for block in blocks:
        yield block


def files(root: Path) -> list[Path]:
    """Return all files of bytes."""
    return [path for path in (root / "buckets").rglob("*") if path.is_file()]


def test_an_object_comes_back_with_all_that_was_said_of_it(tmp_path: Path) -> None:
    """Also after the server has ended."""

    async def write(store: ObjectStorage) -> None:
        body = pieces(b"hello, ", b"world")
        stored = await store.write(
            "s3://models/a//b/../ü", body, content_type="text/x", metadata=(("who", "me"),)
        )
        assert stored.etag == hashlib.md5(b"hello, world").hexdigest()

    async def read(store: ObjectStorage) -> None:
        found = await store.head("s3://models/a//b/../ü")
        assert (found.size_bytes, found.content_type) == (12, "text/x")
        assert found.metadata == (("who", "me"),)
        assert await store.read(found.url, bytes_max=12) == b"hello, world"
        with pytest.raises(BodyTooLarge):
            await store.read(found.url, bytes_max=11)
        again, blocks = await store.stream(found.url, 3, 9)
        assert again == found
        assert b"".join([block async for block in blocks]) == b"lo, wo"

    played(tmp_path, write)
    played(tmp_path, read)


def test_replaced_and_deleted_objects_leave_no_bytes(tmp_path: Path) -> None:
    """And a body that breaks off leaves neither bytes nor a name."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        raise KeyError("the caller is gone")

    async def play(store: ObjectStorage) -> None:
        await store.write("s3://models/key", b"one")
        await store.write("s3://models/key", b"two")
        with pytest.raises(KeyError):
            await store.write("s3://models/key", broken())
        assert await store.read("s3://models/key", bytes_max=9) == b"two"
        assert len(files(tmp_path)) == 1
        await store.delete("s3://models/key")
        await store.delete("s3://models/key")
        assert files(tmp_path) == []
        with pytest.raises(NotFound, match="s3://models/key"):
            await store.head("s3://models/key")

    played(tmp_path, play)


def test_who_reads_an_object_reads_it_to_its_end(tmp_path: Path) -> None:
    """Though it is replaced meanwhile; then its bytes go."""

    async def play(store: ObjectStore) -> None:
        await store.write("s3://models/key", b"a" * 3_000_000)
        async with store.local.open_reader("models", "key") as reading:
            blocks = reading.blocks(0, 3_000_000)
            first = await anext(blocks)
            await store.write("s3://models/key", b"new")
            rest = b"".join([block async for block in blocks])
        assert first + rest == b"a" * 3_000_000
        assert len(files(tmp_path)) == 1

    played(tmp_path, play)


def test_a_bucket_that_is_not_ours_is_asked_of_the_external_store(tmp_path: Path, s3: S3) -> None:
    """With the same calls; ours hides one of the same name."""
    client = boto3.client("s3", endpoint_url=s3.endpoint, **CREDENTIALS)
    client.create_bucket(Bucket="elsewhere")

    async def play(store: ObjectStorage) -> None:
        url = "s3://elsewhere/in/one"
        written = await store.write(
            url, pieces(b"a", b"b"), content_type="text/x", metadata=(("who", "me"),)
        )
        assert (written.size_bytes, written.content_type) == (2, "text/x")
        assert written.metadata == (("who", "me"),)
        assert await store.read(url, bytes_max=2) == b"ab"
        _, blocks = await store.stream(url, 1)
        assert [block async for block in blocks] == [b"b"]
        await store.write("s3://elsewhere/in/other", b"")
        assert [one.url for one in await store.list("s3://elsewhere/in/o")] == [
            "s3://elsewhere/in/one",
            "s3://elsewhere/in/other",
        ]
        await store.delete(url)
        await store.delete(url)
        with pytest.raises(NotFound, match="s3://elsewhere/in/one"):
            await store.head(url)
        with pytest.raises((NotFound, ArtifactUnavailable), match="s3://nowhere/x"):
            await store.write("s3://nowhere/x", b"x")

    played(tmp_path, play, s3.options)


CREDENTIALS = {
    "aws_access_key_id": "x",
    "aws_secret_access_key": "x",
    "region_name": "us-east-1",
}
