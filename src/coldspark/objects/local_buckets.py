"""This server's own buckets: rows of the database over files of bytes.

An object is whole or absent, and never has another's metadata: its bytes are on the disk under a
name of their own before one transaction makes the row that refers to them. What is replaced or
deleted is removed after its last reader; what a killed server left is removed at the next start.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO

from coldspark.database.database import Database
from coldspark.errors import InvalidRequest
from coldspark.objects import objects_table as tables
from coldspark.objects.body_files import (
    BLOCK_BYTES,
    RESERVE_BYTES,
    BodyFiles,
    Draft,
    fill,
    piece_ranges,
)
from coldspark.objects.objects_table import Page
from coldspark.objects.records import (
    ALWAYS,
    KEY_BYTES_MAX,
    Condition,
    ConditionFailed,
    Description,
    LocalBucket,
    LocalObject,
    Piece,
)

OBJECT_BYTES_MAX = 5 * 1024**4
"""What S3 takes at most."""


class LocalBuckets:
    """The buckets under a data directory.

    One process at a time opens them, which removes orphans. Guests read, and add objects.
    """

    def __init__(
        self,
        database: Database,
        root: Path,
        wall_ms: Callable[[], int],
        *,
        on_fallen: Callable[[str], None] | None = None,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """``root``: on the file system of the artifacts, so that models are links to objects.

        ``on_fallen``: makes this a guest of the process that has opened them; it is called with
        every body that belongs to nothing any more, as it knows who still reads it. What it does
        not get is removed when they are opened the next time. ``reserve_bytes``: of the disk, that
        objects leave free.
        """
        self._on_fallen = on_fallen
        self.database = database
        self.wall_ms = wall_ms
        self.files = BodyFiles(root, reserve_bytes)
        self._readers: Counter[str] = Counter()
        self._doomed: set[str] = set()
        """Bodies that are still read and belong to nothing any more."""
        self._retired: dict[str, list[str]] = {}
        """Files that were joined, of bodies that are still read."""

    async def open(self) -> int:
        """Remove what a killed server left; return how many files that were."""
        dead = await self.database.run(tables.drop_dead_bodies)
        await asyncio.to_thread(self.files.remove, dead)
        loop = asyncio.get_running_loop()

        def known_files(prefix: str) -> set[str]:
            query = self.database.run(tables.files_with_prefix, prefix)
            return asyncio.run_coroutine_threadsafe(query, loop).result()

        return len(dead) + await asyncio.to_thread(self.files.open, known_files)

    # --- buckets ------------------------------------------------------------------------------

    async def buckets(self) -> list[LocalBucket]:
        """Return all buckets, by name."""
        return await self.database.run(tables.find_buckets)

    async def bucket(self, name: str) -> LocalBucket | None:
        """Return a bucket, or None."""
        return await self.database.run(tables.find_bucket, name)

    async def require(self, name: str) -> None:
        """Raise NoSuchBucket unless the bucket is here."""
        await self.database.run(tables.require_bucket, name)

    async def create_bucket(self, name: str) -> bool:
        """Create a bucket; False: there is one of that name."""
        return await self.database.run(tables.create_bucket, name, self.wall_ms())

    async def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket. Raises NoSuchBucket and BucketNotEmpty."""
        files = await self.database.run(tables.delete_bucket, name)
        await asyncio.to_thread(self.files.remove, files)

    # --- objects ------------------------------------------------------------------------------

    async def find(self, bucket: str, key: str) -> LocalObject:
        """Return an object's metadata. Raises NoSuchBucket and NoSuchKey."""
        return await self.database.run(tables.require_object, bucket, key)

    async def check(self, bucket: str, key: str, condition: Condition) -> None:
        """Raise ConditionFailed or NoSuchKey unless it is so now; storing checks once more."""
        found = await self.database.run(tables.find_object, bucket, key)
        tables.check(condition, found, f"s3://{bucket}/{key}")

    async def page(
        self, bucket: str, *, prefix: str = "", after: str = "", delimiter: str = "", limit: int
    ) -> Page:
        """Return objects and common prefixes in the order of their keys. Raises NoSuchBucket."""
        return await self.database.run(tables.page, bucket, prefix, after, delimiter, limit)

    async def receive(self, draft: Draft, chunks: AsyncIterator[bytes], bytes_max: int) -> None:
        """Write a body as it comes and make it durable. Raises BodyTooLarge and StorageFull."""
        await fill(draft, chunks, bytes_max)
        await asyncio.to_thread(draft.seal)

    async def put(
        self,
        bucket: str,
        key: str,
        draft: Draft,
        description: Description,
        condition: Condition = ALWAYS,
    ) -> LocalObject:
        """Make a sealed draft an object. Raises NoSuchBucket, NoSuchKey and ConditionFailed."""
        check_key(key)
        piece = await asyncio.to_thread(self.files.commit, draft)
        new = self.new_object(bucket, key, (piece,), draft.md5.hex(), description)
        return await self.put_pieces(new, (piece,), condition)

    async def copy(
        self,
        source: LocalObject,
        bucket: str,
        key: str,
        description: Description,
        condition: Condition = ALWAYS,
    ) -> LocalObject:
        """Copy an object to another key, or give it another description. Raises as ``put``.

        No byte is copied where the file system knows hard links.
        """
        check_key(key)
        async with self.open_reader(source.bucket, source.key) as reading:
            pieces = await asyncio.to_thread(self._twins, reading.pieces)
        new = self.new_object(bucket, key, pieces, reading.object.etag, description)
        return await self.put_pieces(new, pieces, condition)

    def new_object(
        self,
        bucket: str,
        key: str,
        pieces: Sequence[Piece],
        etag: str,
        description: Description,
    ) -> LocalObject:
        """Return an object that is not stored yet."""
        return LocalObject(
            bucket=bucket,
            key=key,
            body=secrets.token_hex(16),
            size_bytes=sum(piece.size_bytes for piece in pieces),
            etag=etag,
            modified_ms=self.wall_ms(),
            description=description,
        )

    async def put_pieces(
        self, new: LocalObject, pieces: tuple[Piece, ...], condition: Condition
    ) -> LocalObject:
        """Store an object of sealed files; they are removed where it cannot be stored."""
        try:
            old = await self.database.run(tables.put_object, new, pieces, condition)
        except Exception:
            files = [piece.file for piece in pieces]
            await asyncio.to_thread(self.files.remove, files)
            raise
        await self.database.sync()
        await self.drop_body(old)
        return new

    async def delete(self, bucket: str, key: str, condition: Condition = ALWAYS) -> bool:
        """Delete an object; False: there is none. Raises NoSuchBucket and ConditionFailed."""
        old = await self.database.run(tables.delete_object, bucket, key, condition)
        await self.drop_body(old)
        return old is not None

    async def remove_files(self, files: Sequence[str]) -> None:
        """Remove files that no row refers to any more."""
        await asyncio.to_thread(self.files.remove, files)

    # --- reading ------------------------------------------------------------------------------

    def open_reader(self, bucket: str, key: str) -> "ObjectReader":
        """Return an object to read: ``async with`` holds its bytes. Raises as ``find``."""
        return ObjectReader(self, bucket, key)

    async def pin(self, bucket: str, key: str) -> tuple[LocalObject, tuple[Piece, ...]]:
        """Retain an object's bytes until they are released. Raises NoSuchBucket and NoSuchKey."""
        found, pieces = await self.database.run(tables.open_object, bucket, key)
        self._readers[found.body] += 1
        return found, pieces

    async def unpin(self, body: str) -> None:
        """Release an object's bytes."""
        self._readers[body] -= 1
        if not self._readers[body]:
            del self._readers[body]
            await self.remove_files(self._retired.pop(body, []))
            if body in self._doomed:
                self._doomed.discard(body)
                await self.drop_body(body)

    async def link_to(self, found: LocalObject, path: Path) -> None:
        """Hard-link an object's bytes outside of the buckets: read-only, for good.

        What came in parts is joined first, once: the joined file replaces the parts. Raises
        NoSuchKey, and ConditionFailed where the object was replaced meanwhile.
        """
        async with self.open_reader(found.bucket, found.key) as reading:
            if reading.object.body != found.body:
                raise ConditionFailed(
                    f"s3://{found.bucket}/{found.key} was replaced while it was read: ask again"
                )
            pieces = reading.pieces
            if len(pieces) > 1 and self._on_fallen is None:
                pieces = (await self._joined(found.body, pieces),)
            await asyncio.to_thread(self.files.link_to, pieces, path)

    async def _joined(self, body: str, pieces: tuple[Piece, ...]) -> Piece:
        whole = await asyncio.to_thread(self.files.joined, pieces)
        if await self.database.run(tables.replace_pieces, body, pieces, (whole,)):
            # Others may be in the middle of the old ones.
            self._retired.setdefault(body, []).extend(piece.file for piece in pieces)
            return whole
        await self.remove_files([whole.file])
        (joined,) = await self.database.run(tables.find_pieces, body)
        return joined

    def _twins(self, pieces: Sequence[Piece]) -> tuple[Piece, ...]:
        return tuple(self.files.duplicate(piece) for piece in pieces)

    async def drop_body(self, body: str | None) -> None:
        """Remove the bytes of an object that is no more, once nobody reads them."""
        if body is None:
            return
        if self._on_fallen is not None:
            self._on_fallen(body)
            return
        if body in self._readers:
            self._doomed.add(body)
            return
        files = await self.database.run(tables.drop_body, body)
        await asyncio.to_thread(self.files.remove, files)


class ObjectReader:
    """An object that is being read; whatever becomes of its key, its bytes stay until the end."""

    def __init__(self, buckets: LocalBuckets, bucket: str, key: str) -> None:
        self._buckets = buckets
        self._bucket, self._key = bucket, key
        self.object: LocalObject
        self.pieces: tuple[Piece, ...] = ()

    async def __aenter__(self) -> "ObjectReader":
        """Retain its bytes."""
        self.object, self.pieces = await self._buckets.pin(self._bucket, self._key)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release them."""
        await self._buckets.unpin(self.object.body)

    async def blocks(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes ``start`` to before ``end``."""
        for piece, low, high in piece_ranges(self.pieces, start, end):
            with await asyncio.to_thread(
                self._buckets.files.path(piece.file).open, "rb", 0
            ) as file:
                for at in range(low, high, BLOCK_BYTES):
                    yield await asyncio.to_thread(_read, file, at, min(high - at, BLOCK_BYTES))


def _read(file: IO[bytes], at: int, size_bytes: int) -> bytes:
    file.seek(at)
    block = file.read(size_bytes)
    if len(block) != size_bytes:
        raise OSError(f"{file.name} is shorter than it was")
    return block


def check_key(key: str) -> None:
    """Raise InvalidRequest for a key that S3 does not take."""
    size = len(key.encode())
    if not 0 < size <= KEY_BYTES_MAX:
        raise InvalidRequest(
            f"the key {key[:100]!r} has {size} bytes: it must have 1 to {KEY_BYTES_MAX}",
            field="Key",
        )
