"""Model data from S3: objects become blobs, a prefix becomes a directory of links to them."""

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path

from coldspark.database.single_flight import SingleFlight
from coldspark.objects.archives import is_archive
from coldspark.objects.blobs import BlobEntry, BlobStore
from coldspark.objects.downloads import Downloads
from coldspark.objects.remote_buckets import BucketRefused, OnBytes, RemoteBucket, RemoteObject

_OBJECTS_AT_ONCE = 8
_TRIES = 3
"""A blob may be evicted between its landing and its first link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteListing:
    """The objects of an ``s3://`` URL now."""

    bucket: RemoteBucket
    remotes: tuple[RemoteObject, ...]
    start: int
    """From this character on, an object's key is its path."""
    is_archive: bool

    @property
    def stamps(self) -> list[str | int]:
        """Return a fingerprint that changes when any of the objects does."""
        return [part for one in self.remotes for part in (one.key, one.etag, one.size_bytes)]

    @property
    def size_bytes(self) -> int:
        """Return the size of all objects."""
        return sum(one.size_bytes for one in self.remotes)


class ModelDownloads:
    """Downloads objects, each once at a time and once in all."""

    def __init__(self, weights: BlobStore, downloads: Downloads, options: dict[str, str]) -> None:
        self._weights = weights
        self._downloads = downloads
        self._options = options
        self._blobs: SingleFlight[str] = SingleFlight()

    async def list(self, url: str) -> RemoteListing:
        """List the objects of a URL. Raises BucketRefused."""
        name, _, key = url.removeprefix("s3://").partition("/")
        if not name:
            raise BucketRefused("the URL names no bucket: write s3://bucket/key")
        bucket = await asyncio.to_thread(RemoteBucket, name, self._options)
        is_prefix = not key or key.endswith("/")
        remotes = await bucket.list(key) if is_prefix else [await bucket.head(key)]
        if not remotes:
            raise BucketRefused("there is no object under it")
        return RemoteListing(
            bucket=bucket,
            remotes=tuple(remotes),
            start=len(key) if is_prefix else key.rfind("/") + 1,
            is_archive=not is_prefix and is_archive(key),
        )

    async def download_all(
        self, listing: RemoteListing, tree: Path, on_bytes: OnBytes
    ) -> tuple[BlobEntry, ...]:
        """Fill a new directory with the listing's objects. Raises BucketRefused and OSError."""
        slots = asyncio.Semaphore(_OBJECTS_AT_ONCE)

        async def download(remote: RemoteObject) -> BlobEntry:
            path = path_within(remote.key, listing.start)
            async with slots:
                return await self._download(listing.bucket, remote, tree, path, on_bytes)

        await asyncio.to_thread(tree.mkdir)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(download(remote)) for remote in listing.remotes]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return tuple(task.result() for task in tasks)

    async def _download(
        self, bucket: RemoteBucket, remote: RemoteObject, tree: Path, path: str, on_bytes: OnBytes
    ) -> BlobEntry:
        progress = _ProgressOnce(on_bytes, remote.size_bytes)
        for _ in range(_TRIES):
            source = _source(bucket, remote)
            digest = await self._blobs.join(source, lambda: self._blob(bucket, remote, progress))
            entry = BlobEntry(path=path, size_bytes=remote.size_bytes, sha256=digest)
            if await asyncio.to_thread(self._weights.link, entry, tree):
                progress(remote.size_bytes)
                return entry
            await asyncio.to_thread(self._weights.drop_digest, source)
        raise BucketRefused(f"{remote.key} was evicted as often as it came: raise the limit")

    async def _blob(self, bucket: RemoteBucket, remote: RemoteObject, on_bytes: OnBytes) -> str:
        source = _source(bucket, remote)
        digest = await asyncio.to_thread(self._weights.known_digest, source)
        if digest is not None:
            return digest
        landed = await self._downloads.download(bucket, remote, on_bytes)
        await asyncio.to_thread(self._weights.admit, landed.path, landed.sha256)
        await asyncio.to_thread(self._weights.record_digest, source, landed.sha256)
        await asyncio.to_thread(landed.partial.discard)
        return landed.sha256


class _ProgressOnce:
    """Reports an object's bytes once each: downloaded here, present, or downloaded by another."""

    def __init__(self, on_bytes: OnBytes, size_bytes: int) -> None:
        self._on_bytes = on_bytes
        self._left = size_bytes

    def __call__(self, more: int) -> None:
        more = min(more, self._left)
        self._left -= more
        if more:
            self._on_bytes(more)


def path_within(key: str, start: int) -> str:
    """Return an object's path in its directory. Raises BucketRefused."""
    path = Path(key[start:])
    if ".." in path.parts or path.is_absolute() or not path.parts:
        raise BucketRefused(f"the key {key!r} is no path within a directory")
    return str(path)


def _source(bucket: RemoteBucket, remote: RemoteObject) -> str:
    parts = (bucket.name, remote.key, remote.etag, str(remote.size_bytes))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
