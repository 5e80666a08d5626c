"""Code and model data on this machine: uploads, local files, and objects from S3.

Everything that is made here is made in ``incoming/`` and renamed into place, so what has its name
is whole. A directory's name is derived from what it holds (or from where it came and its ETag or
modification time), so it never changes: any number of replicas may read it.

An upload is on the disk before ``put`` returns, power cut or not: there may be no other copy. What
was fetched may be fetched again, and a first request does not wait for the disk: after a power cut
that comes within seconds of a fetch, delete ``files/`` and ``objects/``.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from urllib.parse import unquote, urlsplit

from coldspark.core.types import ArtifactId
from coldspark.errors import ArtifactUnavailable, BodyTooLarge, InvalidRequest
from coldspark.store.archives import ArchiveRefused, is_archive, unpack
from coldspark.store.buckets import Bucket, BucketRefused, OnBytes, Remote
from coldspark.store.flights import Flights

_WRITE_BYTES = 1024**2
_DOWNLOADS_AT_ONCE = 8
_HEX = frozenset("0123456789abcdef")

Progress = Callable[[int, int], None]
"""Hears of a download: bytes that are here, bytes in all."""


class Artifacts:
    """The directory of code and model data. One server at a time opens it."""

    def __init__(self, root: Path, *, s3_options: dict[str, str] | None = None) -> None:
        self._root = root
        self._s3_options = s3_options or {}
        self._incoming = root / "incoming"
        self._flights: Flights[Path] = Flights()
        # What a dead server left half-made.
        shutil.rmtree(self._incoming, ignore_errors=True)
        for room in ("incoming", "uploads", "files", "objects"):
            (root / room).mkdir(mode=0o700, parents=True, exist_ok=True)

    async def put(
        self, chunks: AsyncIterator[bytes], size_max: int, expected: str | None = None
    ) -> ArtifactId:
        """Store and unpack an archive; return its id, the SHA-256 of its bytes.

        Raises BodyTooLarge, and InvalidRequest when it is no archive that can be unpacked or its
        hash is not the one expected.
        """
        draft = await self._draft()
        try:
            id = await _receive(chunks, draft / "archive", size_max)
            if expected is not None and id != expected:
                raise InvalidRequest(
                    f"the bytes have the SHA-256 {id}, not {expected}: upload them again",
                    field="sha256",
                )
            target = self._root / "uploads" / id
            await asyncio.to_thread(_unpack_to, draft / "archive", draft, target, os.sync)
            return id
        except ArchiveRefused as refused:
            raise InvalidRequest(f"the archive cannot be used: {refused}", field="body") from None
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    async def has(self, id: ArtifactId) -> bool:
        """Return whether an uploaded archive is here."""
        return _is_id(id) and (self._root / "uploads" / id).is_dir()

    def code_dir(self, id: ArtifactId) -> Path:
        """Return the directory of an uploaded archive. Raises ArtifactUnavailable."""
        path = self._root / "uploads" / id
        if not _is_id(id) or not path.is_dir():
            raise _unavailable(f"artifact:{id}", "it is not on this server", "upload it again")
        return path

    async def fetch(self, url: str, progress: Progress | None = None) -> Path:
        """Return the directory of the unpacked data. Raises ArtifactUnavailable.

        Of several who wait for one download, the one who began it hears its progress.

        ``artifact:<sha256>``, an absolute path or ``file:///…`` (a directory is used in place),
        ``s3://bucket/key``, or ``s3://bucket/prefix/`` with all objects under it.
        """
        if url.startswith("artifact:"):
            return self.code_dir(ArtifactId(url.removeprefix("artifact:")))
        if url.startswith("s3://"):
            return await self._flights.join(url, lambda: self._object(url, progress))
        if url.startswith(("/", "file:")):
            return await self._flights.join(url, lambda: self._file(url))
        raise _unavailable(
            url, "its kind is unknown", "use s3://…, file:///…, artifact:<sha256> or a path"
        )

    async def _file(self, url: str) -> Path:
        path = _local_path(url)
        try:
            state = await asyncio.to_thread(path.stat)
        except OSError as error:
            cure = "check the path and its permissions on the server's machine"
            raise _unavailable(url, error.strerror or "unreadable", cure) from None
        if await asyncio.to_thread(path.is_dir):
            return path
        target = self._root / "files" / _key(str(path), state.st_size, state.st_mtime_ns)

        async def make(draft: Path) -> None:
            if is_archive(path.name):
                await asyncio.to_thread(_unpack_to, path, draft, target)
            else:
                await asyncio.to_thread(_link_to, path, draft, target)

        return await self._made(url, target, make)

    async def _object(self, url: str, progress: Progress | None) -> Path:
        bucket_name, _, key = url.removeprefix("s3://").partition("/")
        if not bucket_name:
            raise _unavailable(url, "it names no bucket", "write s3://bucket/key")
        try:
            bucket = await asyncio.to_thread(Bucket, bucket_name, self._s3_options)
            is_prefix = not key or key.endswith("/")
            remotes = await bucket.list(key) if is_prefix else [await bucket.head(key)]
        except BucketRefused as refused:
            raise _unavailable(url, str(refused), _S3_CURE) from None
        if not remotes:
            raise _unavailable(url, "there is no object under it", "check bucket and prefix")
        stamps = [part for one in remotes for part in (one.key, one.etag, one.size_bytes)]
        target = self._root / "objects" / _key(url, *stamps)

        on_bytes = _counted(progress, sum(one.size_bytes for one in remotes))

        async def make(draft: Path) -> None:
            if not is_prefix and is_archive(key):
                await bucket.download(remotes[0], draft / "archive", on_bytes)
                await asyncio.to_thread(_unpack_to, draft / "archive", draft, target)
                return
            start = len(key) if is_prefix else key.rfind("/") + 1
            await _download_all(bucket, remotes, start, draft / "tree", on_bytes)
            await asyncio.to_thread(_move, draft / "tree", target)

        return await self._made(url, target, make)

    async def _made(
        self, url: str, target: Path, make: Callable[[Path], Coroutine[object, object, None]]
    ) -> Path:
        if await asyncio.to_thread(target.is_dir):
            return target
        draft = await self._draft()
        try:
            await make(draft)
        except ArchiveRefused as refused:
            cure = "pack it again with tar -czf, from within its directory"
            raise _unavailable(url, str(refused), cure) from None
        except BucketRefused as refused:
            raise _unavailable(url, str(refused), _S3_CURE) from None
        except OSError as error:
            cure = "free disk space, or check permissions, in the data directory"
            raise _unavailable(url, error.strerror or str(error), cure) from None
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        return target

    async def _draft(self) -> Path:
        return Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._incoming))


_S3_CURE = "check bucket and key, the endpoint, and the AWS credentials that the server runs with"


def _unavailable(url: str, reason: str, cure: str) -> ArtifactUnavailable:
    return ArtifactUnavailable(f"{url} is not available: {reason}; {cure}", field="model")


def _is_id(id: str) -> bool:
    return len(id) == 64 and _HEX.issuperset(id)


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _local_path(url: str) -> Path:
    if url.startswith("/"):
        return Path(url)
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise _unavailable(url, "it names no absolute path", "write file:///absolute/path")
    return Path(path)


def _unpack_to(
    archive: Path, draft: Path, target: Path, sync: Callable[[], None] = lambda: None
) -> None:
    if not target.is_dir():
        unpack(archive, draft / "tree")
        sync()
        _move(draft / "tree", target)
        sync()


def _counted(progress: Progress | None, total: int) -> OnBytes:
    done = 0

    def on_bytes(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return on_bytes


def _link_to(file: Path, draft: Path, target: Path) -> None:
    (draft / "tree").mkdir()
    (draft / "tree" / file.name).symlink_to(file)
    _move(draft / "tree", target)


def _move(tree: Path, target: Path) -> None:
    tree.chmod(0o755)
    try:
        tree.rename(target)
    except OSError:
        # Somebody else was quicker with the same content.
        if not target.is_dir():
            raise


async def _receive(chunks: AsyncIterator[bytes], into: Path, size_max: int) -> ArtifactId:
    digest = hashlib.sha256()
    size = 0
    waiting = bytearray()
    with into.open("wb") as file:

        def write(block: bytes) -> None:
            digest.update(block)
            file.write(block)

        async for chunk in chunks:
            size += len(chunk)
            if size > size_max:
                raise BodyTooLarge(f"the archive is over the limit of {size_max} bytes")
            waiting += chunk
            if len(waiting) >= _WRITE_BYTES:
                await asyncio.to_thread(write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(write, bytes(waiting))
    return ArtifactId(digest.hexdigest())


async def _download_all(
    bucket: Bucket, remotes: list[Remote], start: int, tree: Path, on_bytes: OnBytes
) -> None:
    """Download objects side by side, each to its key from character ``start`` on."""
    places = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)

    async def download(remote: Remote) -> None:
        path = tree / remote.key[start:]
        if ".." in path.parts or not path.is_relative_to(tree):
            raise BucketRefused(f"the key {remote.key!r} is no path within a directory")
        async with places:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            await bucket.download(remote, path, on_bytes)

    try:
        async with asyncio.TaskGroup() as group:
            for remote in remotes:
                group.create_task(download(remote))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
