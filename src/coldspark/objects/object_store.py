"""Objects by ``s3://`` URL: in this server's own buckets, else in the external object store.

Implements ``ObjectStorage`` of ``platform/storage_ports.py``.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from coldspark.errors import ArtifactUnavailable, BodyTooLarge, InvalidRequest, NotFound
from coldspark.objects.local_buckets import OBJECT_BYTES_MAX, LocalBuckets
from coldspark.objects.records import Description, LocalObject, StoredObject
from coldspark.objects.remote_buckets import BucketRefused, ObjectMissing, RemoteBucket

OBJECTS_MAX = 100_000
"""Of one listing."""
_PAGE_ROWS = 1_000
_CURE = (
    "create the bucket on this server, or check bucket and key, the endpoint, and the AWS"
    " credentials that the server runs with"
)


class ObjectStore:
    """Own buckets first, then S3 or a store with its API."""

    def __init__(self, own: LocalBuckets, s3_options: Mapping[str, str]) -> None:
        """``s3_options``: as ``config.s3.options()`` gives them."""
        self.local = own
        self._s3_options = s3_options

    async def head(self, url: str) -> StoredObject:
        """Return an object's metadata. Raises NotFound and ArtifactUnavailable."""
        name, key = _parts(url)
        if await self.local.bucket(name) is not None:
            return (await self.local.find(name, key)).stored
        try:
            return await (await self._external(name)).describe(key)
        except BucketRefused as refused:
            raise _translated(url, refused) from refused

    async def read(self, url: str, *, bytes_max: int) -> bytes:
        """Return a whole object. Raises BodyTooLarge before a longer one is read."""
        found, blocks = await self.stream(url)
        if found.size_bytes > bytes_max:
            raise BodyTooLarge(
                f"{url} has {found.size_bytes} bytes; the limit is {bytes_max}", field="url"
            )
        return b"".join([block async for block in blocks])

    async def stream(
        self, url: str, start: int = 0, end: int | None = None
    ) -> tuple[StoredObject, AsyncIterator[bytes]]:
        """Return an object and its bytes from ``start`` to before ``end``, in bounded pieces."""
        name, key = _parts(url)
        if await self.local.bucket(name) is not None:
            found = await self.local.find(name, key)
            return found.stored, _own_blocks(self.local, found, start, end)
        try:
            bucket = await self._external(name)
            described = await bucket.describe(key)
        except BucketRefused as refused:
            raise _translated(url, refused) from refused
        return described, _external_blocks(bucket, key, described, start, end)

    async def write(
        self,
        url: str,
        body: bytes | AsyncIterator[bytes],
        *,
        content_type: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> StoredObject:
        """Store an object, whole or not at all; durable on return. An old one is replaced."""
        name, key = _parts(url)
        chunks = _once(body) if isinstance(body, bytes) else body
        description = Description(content_type=content_type, metadata=metadata)
        if await self.local.bucket(name) is not None:
            draft = await asyncio.to_thread(self.local.files.draft)
            try:
                await self.local.receive(draft, chunks, OBJECT_BYTES_MAX)
                return (await self.local.put(name, key, draft, description)).stored
            finally:
                await asyncio.to_thread(draft.discard)
        try:
            bucket = await self._external(name)
            await bucket.write(key, chunks, content_type, metadata)
            return await bucket.describe(key)
        except BucketRefused as refused:
            raise _translated(url, refused) from refused

    async def delete(self, url: str) -> None:
        """Delete an object; one that is not there is no error."""
        name, key = _parts(url)
        if await self.local.bucket(name) is not None:
            await self.local.delete(name, key)
            return
        try:
            await (await self._external(name)).delete(key)
        except ObjectMissing:
            return
        except BucketRefused as refused:
            raise _translated(url, refused) from refused

    async def list(self, prefix: str) -> Sequence[StoredObject]:
        """Return all objects whose URL begins with ``prefix``, by key.

        Raises ArtifactUnavailable where there are too many.
        """
        name, start = _parts(prefix, is_prefix=True)
        if await self.local.bucket(name) is not None:
            return await self._own_list(name, start)
        try:
            bucket = await self._external(name)
            return await bucket.describe_all(start)
        except BucketRefused as refused:
            raise _translated(prefix, refused) from refused

    async def _own_list(self, name: str, prefix: str) -> Sequence[StoredObject]:
        found: list[StoredObject] = []
        after: str | None = ""
        while after is not None:
            page = await self.local.page(name, prefix=prefix, after=after, limit=_PAGE_ROWS)
            found += [one.stored for one in page.objects]
            after = page.next_after
            if len(found) > OBJECTS_MAX:
                raise ArtifactUnavailable(
                    f"there are more than {OBJECTS_MAX} objects under s3://{name}/{prefix}: name"
                    " a longer prefix"
                )
        return found

    async def _external(self, name: str) -> RemoteBucket:
        return await asyncio.to_thread(RemoteBucket, name, self._s3_options)


def _parts(url: str, *, is_prefix: bool = False) -> tuple[str, str]:
    name, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not name or not (key or is_prefix):
        raise InvalidRequest(f"{url[:200]!r} is no URL such as s3://bucket/key", field="url")
    return name, key


def _translated(url: str, refused: BucketRefused) -> NotFound | ArtifactUnavailable:
    if isinstance(refused, ObjectMissing):
        return NotFound(f"{url} is not there: {refused}", field="url")
    return ArtifactUnavailable(f"{url} is not available: {refused}; {_CURE}", field="url")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def _own_blocks(
    own: LocalBuckets, found: LocalObject, start: int, end: int | None
) -> AsyncIterator[bytes]:
    size = found.size_bytes
    async with own.open_reader(found.bucket, found.key) as reading:
        if reading.object.body != found.body:
            raise ArtifactUnavailable(
                f"s3://{found.bucket}/{found.key} was replaced before it was read: read it again",
                field="url",
            )
        async for block in reading.blocks(start, size if end is None else min(end, size)):
            yield block


async def _external_blocks(
    bucket: RemoteBucket, key: str, found: StoredObject, start: int, end: int | None
) -> AsyncIterator[bytes]:
    size = found.size_bytes
    end = size if end is None else min(end, size)
    if start >= end:
        return
    try:
        async for block in bucket.stream(key, found, start, end):
            yield block
    except BucketRefused as refused:
        raise _translated(found.url, refused) from refused
