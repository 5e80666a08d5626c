"""Objects that come in parts. The parts' files become the object's: completing copies nothing."""

import asyncio
import secrets
from collections.abc import Sequence

from msgspec.structs import replace

from coldspark.objects import uploads_table as tables
from coldspark.objects.body_files import Draft
from coldspark.objects.local_buckets import LocalBuckets, check_key
from coldspark.objects.records import Condition, Description, LocalObject, Piece
from coldspark.objects.uploads_table import Part, Upload

PARTS_MAX = 10_000
_SWEPT_AT_ONCE = 100


class Uploads:
    """The uploads in the buckets of one server."""

    def __init__(self, own: LocalBuckets) -> None:
        self._own = own
        self._database = own.database
        self._wall_ms = own.wall_ms

    async def begin(self, bucket: str, key: str, description: Description) -> Upload:
        """Begin an upload. Raises NoSuchBucket and InvalidRequest."""
        check_key(key)
        now_ms = self._wall_ms()
        upload = Upload(
            id=secrets.token_hex(16),
            bucket=bucket,
            key=key,
            created_ms=now_ms,
            touched_ms=now_ms,
            description=description,
        )
        await self._database.run(tables.begin, upload)
        return upload

    async def find(self, bucket: str, key: str, id: str) -> Upload:
        """Return an upload. Raises NoSuchBucket and NoSuchUpload."""
        return await self._database.run(tables.require, bucket, key, id)

    async def put(
        self, upload: Upload, number: int, draft: Draft, etag: str, checksum: str | None
    ) -> Part:
        """Make a sealed draft a part, replacing an older one. Raises NoSuchUpload."""
        piece = await asyncio.to_thread(self._own.files.commit, draft)
        part = Part(
            number=number,
            file=piece.file,
            size_bytes=piece.size_bytes,
            etag=etag,
            checksum=checksum,
            modified_ms=self._wall_ms(),
        )
        try:
            old = await self._database.run(tables.put_part, upload, part)
        except Exception:
            await self._own.remove_files([part.file])
            raise
        await self._database.sync()
        await self._own.remove_files([] if old is None else [old])
        return part

    async def parts(self, upload: Upload, *, after: int = 0, limit: int = PARTS_MAX) -> list[Part]:
        """Return parts by number, behind ``after``."""
        return await self._database.run(tables.find_parts, upload.id, after, limit)

    async def complete(
        self,
        upload: Upload,
        parts: Sequence[Part],
        etag: str,
        description: Description,
        condition: Condition,
    ) -> LocalObject:
        """Make the object. Raises NoSuchUpload, ConditionFailed and NoSuchKey."""
        pieces = tuple(Piece(part.file, part.size_bytes) for part in parts)
        described = replace(description, parts=len(parts), upload=upload.id)
        new = self._own.new_object(upload.bucket, upload.key, pieces, etag, described)
        done = await self._database.run(tables.complete, upload, new, pieces, condition)
        await self._database.sync()
        await self._own.drop_body(done.old_body)
        await self._own.remove_files(done.unused_files)
        return new

    async def abort(self, bucket: str, key: str, id: str) -> None:
        """End an upload, and remove its parts. Raises NoSuchBucket and NoSuchUpload."""
        files = await self._database.run(tables.abort, bucket, key, id)
        await self._own.remove_files(sorted(files))

    async def page(
        self, bucket: str, *, prefix: str, after_key: str, after_id: str, limit: int
    ) -> list[Upload]:
        """Return uploads by key and id. Raises NoSuchBucket."""
        return await self._database.run(tables.find, bucket, prefix, after_key, after_id, limit)

    async def sweep(self, untouched_ms: int) -> int:
        """End uploads that nobody touched for so long; return how many that were."""
        before_ms = self._wall_ms() - untouched_ms
        ended = 0
        while True:
            count, files = await self._database.run(
                tables.abort_untouched, before_ms, _SWEPT_AT_ONCE
            )
            await self._own.remove_files(sorted(files))
            ended += count
            if not count:
                return ended
