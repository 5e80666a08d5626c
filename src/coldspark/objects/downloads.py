"""Objects downloaded in parallel ranges, resumed after a kill, and hashed on the way.

Workers take ranges in order, so the hash follows closely behind them and reads what is still in
the page cache. Memory is bounded by the ranges in flight, of all downloads together: each holds a
block or two of the client's stream.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from coldspark.objects.partial_downloads import ByteRange, PartialDownload
from coldspark.objects.remote_buckets import (
    BucketRefused,
    ObjectChanged,
    OnBytes,
    RemoteBucket,
    RemoteObject,
)

RANGES_AT_ONCE = 8
RANGE_BYTES = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class DownloadedObject:
    """A whole object. Its file stays for the next try until it is discarded."""

    partial: PartialDownload
    sha256: str

    @property
    def path(self) -> Path:
        """Return where its bytes are."""
        return self.partial.path


class Downloads:
    """Downloads into one directory."""

    def __init__(
        self,
        directory: Path,
        *,
        ranges_at_once: int = RANGES_AT_ONCE,
        range_bytes: int = RANGE_BYTES,
    ) -> None:
        self._directory = directory
        self._ranges_at_once = ranges_at_once
        self._range_bytes = range_bytes
        self._slots = asyncio.Semaphore(ranges_at_once)
        self.in_flight: set[Path] = set()

    async def download(
        self, bucket: RemoteBucket, remote: RemoteObject, on_bytes: OnBytes
    ) -> DownloadedObject:
        """Download what is missing of an object. Raises BucketRefused and OSError.

        One caller at a time per object. A failure keeps what was downloaded, but for an object that
        is not what its owner states.
        """
        key = _short(bucket.name, remote.key)
        path = self._directory / f"{key}-{_short(remote.etag, remote.size_bytes)}"
        self.in_flight.add(path)
        try:
            await asyncio.to_thread(self._discard_older, key)
            partial = await asyncio.to_thread(PartialDownload, path, remote, self._range_bytes)
            try:
                digest = await self._fill(bucket, remote, partial, on_bytes)
            finally:
                partial.close()
        finally:
            self.in_flight.discard(path)
        _check_stated(remote, partial, digest)
        return DownloadedObject(partial, digest)

    def _discard_older(self, key: str) -> None:
        """Remove partial downloads of an object's former versions."""
        for path in self._directory.glob(f"{key}-*"):
            if path.with_suffix("") not in self.in_flight:
                path.unlink(missing_ok=True)

    async def _fill(
        self,
        bucket: RemoteBucket,
        remote: RemoteObject,
        partial: PartialDownload,
        on_bytes: OnBytes,
    ) -> str:
        landed = {one.number: asyncio.Event() for one in partial.ranges}
        missing = partial.missing
        for one in set(partial.ranges).difference(missing):
            landed[one.number].set()
            on_bytes(one.size_bytes)
        work = iter(missing)
        try:
            async with asyncio.TaskGroup() as group:
                hashing = group.create_task(_hash(partial, landed))
                for _ in missing[: self._ranges_at_once]:
                    group.create_task(
                        self._work_ranges(work, bucket, remote, partial, on_bytes, landed)
                    )
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return hashing.result()

    async def _work_ranges(
        self,
        work: Iterator[ByteRange],
        bucket: RemoteBucket,
        remote: RemoteObject,
        partial: PartialDownload,
        on_bytes: OnBytes,
        landed: dict[int, asyncio.Event],
    ) -> None:
        for one in work:
            async with self._slots:
                await _download_range(bucket, remote, partial, one, on_bytes)
            await asyncio.to_thread(partial.finish, one)
            landed[one.number].set()


async def _download_range(
    bucket: RemoteBucket,
    remote: RemoteObject,
    partial: PartialDownload,
    byte_range: ByteRange,
    on_bytes: OnBytes,
) -> None:
    # The client asks again, with jitter and a bound, for a request that fails and for the rest of
    # a body that breaks off.
    reading = await bucket.read(remote, byte_range.start, byte_range.end)
    await asyncio.to_thread(partial.record_stated_sha256, reading.stated_sha256)
    at = byte_range.start
    async for block in reading.blocks:
        _check_length(remote, block, byte_range.end - at)
        await asyncio.to_thread(partial.write, at, block)
        at += len(block)
        on_bytes(len(block))
    if at != byte_range.end:
        raise BucketRefused(f"{remote.key} ended after {at} of {remote.size_bytes} bytes")


def _check_length(remote: RemoteObject, block: memoryview, directory: int) -> None:
    if len(block) > directory:
        raise ObjectChanged(f"{remote.key} is longer than the {remote.size_bytes} bytes listed")


async def _hash(partial: PartialDownload, landed: dict[int, asyncio.Event]) -> str:
    digest = hashlib.sha256()
    for one in partial.ranges:
        await landed[one.number].wait()
        await asyncio.to_thread(partial.feed, one, digest)
    return digest.hexdigest()


def _short(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def _check_stated(remote: RemoteObject, partial: PartialDownload, digest: str) -> None:
    stated = partial.stated_sha256
    if stated is not None and stated != digest:
        partial.discard()
        raise BucketRefused(
            f"{remote.key} has the SHA-256 {digest}, but its metadata states {stated}:"
            " store it again"
        )
