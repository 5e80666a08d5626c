"""Model data from this server's own buckets: links to what is on the disk already.

Nothing is downloaded, hashed or copied, unless the buckets are on another file system. An object's
file never changes, so a replica may map it whatever becomes of the object's key.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from coldspark.errors import NotFound
from coldspark.objects.archives import is_archive
from coldspark.objects.local_buckets import LocalBuckets
from coldspark.objects.model_downloads import path_within
from coldspark.objects.records import ConditionFailed, LocalObject
from coldspark.objects.remote_buckets import BucketRefused

_OBJECTS_MAX = 100_000
_PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalListing:
    """The objects of an ``s3://`` URL in a bucket of this server's."""

    objects: tuple[LocalObject, ...]
    start: int
    """From this character on, an object's key is its path."""
    is_archive: bool

    @property
    def stamps(self) -> list[str | int]:
        """Return a fingerprint that changes when any of the objects does."""
        return [part for one in self.objects for part in (one.key, one.etag, one.size_bytes)]

    @property
    def size_bytes(self) -> int:
        """Return the size of all objects."""
        return sum(one.size_bytes for one in self.objects)


class LocalModels:
    """Finds model data in own buckets, and puts it into directories."""

    def __init__(self, own: LocalBuckets) -> None:
        self._own = own

    async def find(self, url: str) -> LocalListing | None:
        """Return the objects of a URL; None: its bucket is not here. Raises BucketRefused."""
        name, _, key = url.removeprefix("s3://").partition("/")
        if await self._own.bucket(name) is None:
            return None
        is_prefix = not key or key.endswith("/")
        try:
            objects = (
                await self._under(name, key) if is_prefix else [await self._own.find(name, key)]
            )
        except NotFound as missing:
            raise BucketRefused(missing.message) from None
        if not objects:
            raise BucketRefused("there is no object under it, in this server's own bucket")
        return LocalListing(
            objects=tuple(objects),
            start=len(key) if is_prefix else key.rfind("/") + 1,
            is_archive=not is_prefix and is_archive(key),
        )

    async def link_all(self, listing: LocalListing, tree: Path) -> None:
        """Fill a new directory. Raises BucketRefused and OSError."""
        await asyncio.to_thread(tree.mkdir)
        try:
            for one in listing.objects:
                path = tree / path_within(one.key, listing.start)
                await asyncio.to_thread(path.parent.mkdir, 0o755, True, True)
                await self._own.link_to(one, path)
        except (NotFound, ConditionFailed) as gone:
            raise BucketRefused(gone.message) from None

    async def _under(self, name: str, prefix: str) -> list[LocalObject]:
        found: list[LocalObject] = []
        after: str | None = ""
        while after is not None:
            page = await self._own.page(name, prefix=prefix, after=after, limit=_PAGE_ROWS)
            found += [one for one in page.objects if not one.key.endswith("/")]
            after = page.next_after
            if len(found) > _OBJECTS_MAX:
                raise BucketRefused(f"there are more than {_OBJECTS_MAX} objects under it")
        return found
