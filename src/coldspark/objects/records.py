"""The records of object storage: buckets, objects, and the parts of an upload."""

from dataclasses import dataclass

import msgspec

from coldspark.errors import Conflict, NotFound

KEY_BYTES_MAX = 1_024
"""Of a key in UTF-8, as S3 has it."""


class NoSuchBucket(NotFound):
    """The bucket is not this server's."""


class NoSuchKey(NotFound):
    """The object does not exist."""


class NoSuchUpload(NotFound):
    """The multipart upload does not exist, or no longer."""


class BucketNotEmpty(Conflict):
    """A bucket that is not empty cannot be deleted."""


class ConditionFailed(Conflict):
    """The object is not what the caller's condition expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object's metadata, known without reading it."""

    url: str
    """``s3://bucket/key``."""
    size_bytes: int
    etag: str
    """Without quotes."""
    modified_ms: int
    content_type: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    """User metadata, lower-case names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalBucket:
    """A bucket of this server's."""

    name: str
    created_ms: int


class Description(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An object's description, given when it was stored."""

    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Further ones that are given back, such as ``cache-control``; lower-case names."""
    metadata: tuple[tuple[str, str], ...] = ()
    checksum: tuple[str, str] | None = None
    """Algorithm (``crc32``, …) and value in base64; of an upload without a value yet: ``""``."""
    is_composite: bool = False
    """The checksum is one of the parts' checksums."""
    parts: int | None = None
    """How many there were, if it came in parts."""
    upload: str | None = None
    """The id of the upload, if it came in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalObject:
    """An object in a bucket of this server's."""

    bucket: str
    key: str
    body: str
    """Of this very version: what replaces it has another."""
    size_bytes: int
    etag: str
    modified_ms: int
    description: Description

    @property
    def stored(self) -> StoredObject:
        """Return its metadata for the other rooms."""
        return StoredObject(
            url=f"s3://{self.bucket}/{self.key}",
            size_bytes=self.size_bytes,
            etag=self.etag,
            modified_ms=self.modified_ms,
            content_type=self.description.content_type,
            metadata=self.description.metadata,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """A file that holds a range of an object, or all of it."""

    file: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The condition of a change."""

    is_absent: bool = False
    etag: str | None = None
    """``*``: whichever it has."""


ALWAYS = Condition()
