"""Code and model data on this machine: uploads, local files, and objects from S3.

Everything that is made here is made in ``incoming/`` and renamed into place, so what has its name
is whole. A directory's name is derived from what it holds (or from where it came and its ETag or
modification time), so it never changes: any number of replicas may read it.

Large files are hard links to blobs (see ``blobs.py``), so that models share what is the same.

An upload is on the disk before ``put`` returns, power cut or not: there may be no other copy. What
was fetched may be fetched again, and a first request does not wait for the disk: after a power cut
that comes within seconds of a fetch, delete ``files/``, ``objects/``, ``blobs/`` and ``seen/``.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from itertools import islice
from pathlib import Path
from urllib.parse import unquote, urlsplit

from coldspark.database.single_flight import SingleFlight
from coldspark.errors import ArtifactUnavailable, BodyTooLarge, InvalidRequest
from coldspark.objects.archives import ArchiveRefused, is_archive, unpack
from coldspark.objects.blobs import BlobEntry, BlobStore, Manifest
from coldspark.objects.downloads import RANGES_AT_ONCE, Downloads
from coldspark.objects.eviction import list_cached, remove, to_evict
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.local_models import LocalListing, LocalModels
from coldspark.objects.model_downloads import ModelDownloads, RemoteListing
from coldspark.objects.remote_buckets import BucketRefused, OnBytes
from coldspark.spec.types import ArtifactId

_WRITE_BYTES = 1024**2
_STAMPED_FILES_MAX = 10_000
_HEX = frozenset("0123456789abcdef")

Progress = Callable[[int, int], None]
"""Hears of a download: bytes that are here, bytes in all."""


class ArtifactDirectory:
    """The directory of code and model data. One server at a time opens it.

    Further processes of that server are its ``guest``s: each downloads into a folder of its own,
    and leaves alone what another is making. Results are named by their content, so it does not
    matter who is first.
    """

    def __init__(
        self,
        root: Path,
        *,
        s3_options: dict[str, str] | None = None,
        ranges_at_once: int = RANGES_AT_ONCE,
        guest: str | None = None,
        own: LocalBuckets | None = None,
    ) -> None:
        """``own``: buckets of this server's, where ``s3://`` is looked up first."""
        self._root = root
        self._own = None if own is None else LocalModels(own)
        self._incoming = root / "incoming"
        self._flights: SingleFlight[Path] = SingleFlight()
        self.on_made: Callable[[], None] = _ignore
        """Called when model data was brought here, or unpacked."""
        # What a dead server left half-made; what it had downloaded is in partial/ and blobs/.
        if guest is None:
            shutil.rmtree(self._incoming, ignore_errors=True)
        partial = "partial" if guest is None else f"partial-{guest}"
        for folder in ("incoming", "uploads", "files", "objects", partial):
            (root / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._weights = BlobStore(root)
        self._downloads = Downloads(root / partial, ranges_at_once=ranges_at_once)
        self._objects = ModelDownloads(self._weights, self._downloads, s3_options or {})

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
            source, packed = f"artifact:{id}", draft / "archive"
            await asyncio.to_thread(self._unpack, packed, draft, target, source, os.sync)
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

        Of several who wait for one download, the one who began it gets its progress.

        ``artifact:<sha256>``, an absolute path or ``file:///…`` (a directory is used in place),
        ``s3://bucket/key``, or ``s3://bucket/prefix/`` with all objects under it: in a bucket of
        this server's own, or in the external store.
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

    async def stamp(self, url: str) -> str:
        """Return a fingerprint of the data at a URL. Raises ArtifactUnavailable."""
        if url.startswith("s3://"):
            found = await self._resolve(url)
            return _key(*found.stamps)
        if url.startswith(("/", "file:")):
            return await asyncio.to_thread(_stamp, url)
        return url

    async def evict(self, living: Collection[str], bytes_max: int) -> list[Path]:
        """Remove the least recently used until at most ``bytes_max`` stay; return what was removed.

        ``living`` are the URLs that a living endpoint's revision names: what came from them
        stays, and so does every upload.
        """
        sources = {_source(url) for url in living}
        in_flight = set(self._downloads.in_flight)

        def act() -> list[Path]:
            cached = list_cached(self._root, sources, in_flight)
            return remove(self._root, to_evict(cached, bytes_max))

        return await asyncio.to_thread(act)

    async def _file(self, url: str) -> Path:
        path = _local_path(url)
        try:
            state = await asyncio.to_thread(path.stat)
        except OSError as error:
            raise _unreadable(url, error) from None
        if await asyncio.to_thread(path.is_dir):
            return path
        target = self._root / "files" / _key(str(path), state.st_size, state.st_mtime_ns)

        async def make(draft: Path) -> None:
            if is_archive(path.name):
                await asyncio.to_thread(self._unpack, path, draft, target, str(path))
            else:
                await asyncio.to_thread(self._link, path, draft, target)

        return await self._made(url, target, make)

    async def _object(self, url: str, progress: Progress | None) -> Path:
        listing = await self._resolve(url)
        if isinstance(listing, LocalListing):
            try:
                return await self._own_object(url, listing, progress)
            except BucketRefused as refused:
                raise _unavailable(url, str(refused), _S3_CURE) from None
        target = self._root / "objects" / _key(url, *listing.stamps)
        on_bytes = _counted(progress, listing.size_bytes)

        async def make(draft: Path) -> None:
            tree = draft / ("packed" if listing.is_archive else "tree")
            entries = await self._objects.download_all(listing, tree, on_bytes)
            if listing.is_archive:
                await asyncio.to_thread(self._unpack_blob, entries[0], draft, target, url)
            else:
                await asyncio.to_thread(self._publish, tree, target, url, entries)

        return await self._made(url, target, make)

    async def _resolve(self, url: str) -> RemoteListing | LocalListing:
        try:
            own = None if self._own is None else await self._own.find(url)
            return await self._objects.list(url) if own is None else own
        except BucketRefused as refused:
            raise _unavailable(url, str(refused), _S3_CURE) from None

    async def _own_object(self, url: str, listing: LocalListing, progress: Progress | None) -> Path:
        target = self._root / "objects" / _key("own", url, *listing.stamps)

        async def make(draft: Path) -> None:
            assert self._own is not None
            await self._own.link_all(listing, draft / "own")
            if listing.is_archive:
                packed = next(path for path in (draft / "own").iterdir())
                await asyncio.to_thread(self._unpack, packed, draft, target, url)
            else:
                # What it holds is the buckets': to evict it frees nothing.
                await asyncio.to_thread(self._publish, draft / "own", target, url, (), True)
            _counted(progress, listing.size_bytes)(listing.size_bytes)

        return await self._made(url, target, make)

    def _unpack_blob(self, entry: BlobEntry, draft: Path, target: Path, source: str) -> None:
        """Unpack an archive, and keep only what was in it."""
        packed = draft / "packed" / entry.path
        try:
            self._unpack(packed, draft, target, source)
        finally:
            packed.unlink()
            self._weights.drop(entry)

    def _unpack(
        self,
        archive: Path,
        draft: Path,
        target: Path,
        source: str,
        sync: Callable[[], None] = lambda: None,
    ) -> None:
        if not target.is_dir():
            unpack(archive, draft / "tree")
            entries = self._weights.admit_tree(draft / "tree")
            sync()
            self._publish(draft / "tree", target, source, entries)
            sync()

    def _link(self, file: Path, draft: Path, target: Path) -> None:
        (draft / "tree").mkdir()
        (draft / "tree" / file.name).symlink_to(file)
        self._publish(draft / "tree", target, str(file), ())

    def _publish(
        self,
        tree: Path,
        target: Path,
        source: str,
        entries: tuple[BlobEntry, ...],
        is_linked: bool = False,
    ) -> None:
        manifest = Manifest(source=source, files=entries, is_linked=is_linked)
        self._weights.write_manifest(target, manifest)
        _move(tree, target)

    async def _made(
        self, url: str, target: Path, make: Callable[[Path], Coroutine[object, object, None]]
    ) -> Path:
        if await asyncio.to_thread(_touch, target):
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
        self.on_made()
        return target

    async def _draft(self) -> Path:
        return Path(await asyncio.to_thread(tempfile.mkdtemp, dir=self._incoming))


def _ignore() -> None:
    """Do nothing after a download."""


_S3_CURE = "check bucket and key, the endpoint, and the AWS credentials that the server runs with"


def _unavailable(url: str, reason: str, cure: str) -> ArtifactUnavailable:
    return ArtifactUnavailable(f"{url} is not available: {reason}; {cure}", field="model")


def _unreadable(url: str, error: OSError) -> ArtifactUnavailable:
    cure = "check the path and its permissions on the server's machine"
    return _unavailable(url, error.strerror or "unreadable", cure)


def _stamp(url: str) -> str:
    """Return a fingerprint that changes when a file does, or one of the first of a directory."""
    path = _local_path(url)
    try:
        found = sorted(islice(path.rglob("*"), _STAMPED_FILES_MAX)) if path.is_dir() else [path]
        # What Python writes beside code that it imports is no change of the data.
        files = [one for one in found if "__pycache__" not in one.parts and not one.is_dir()]
        states = [(one, one.stat()) for one in files]
    except OSError as error:
        raise _unreadable(url, error) from None
    return _key(*(part for one, at in states for part in (one, at.st_size, at.st_mtime_ns)))


def _is_id(id: str) -> bool:
    return len(id) == 64 and _HEX.issuperset(id)


def _key(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _source(url: str) -> str:
    """Return what a manifest calls a URL: local files go by their path, however it is written."""
    if not url.startswith(("/", "file:")):
        return url
    try:
        return str(_local_path(url))
    except ArtifactUnavailable:
        # It names nothing, so nothing came from it.
        return url


def _local_path(url: str) -> Path:
    if url.startswith("/"):
        return Path(url)
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/"):
        raise _unavailable(url, "it names no absolute path", "write file:///absolute/path")
    return Path(path)


def _counted(progress: Progress | None, total: int) -> OnBytes:
    done = 0

    def on_bytes(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    return on_bytes


def _touch(target: Path) -> bool:
    """Return whether a directory is there; its time is that of its last use."""
    try:
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


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
