"""What the rooms ask of object storage: this server's own buckets, or an external S3."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from coldspark.objects.records import StoredObject

__all__ = ["ObjectStorage", "StoredObject"]


class ObjectStorage(Protocol):
    """Objects by ``s3://bucket/key``.

    A bucket that this server keeps itself is found first; every other is asked of the external
    object store that the server is configured with. All raise NotFound for what is not there and
    ArtifactUnavailable for a store that does not answer, and name the URL.
    """

    async def head(self, url: str) -> StoredObject:
        """Return what is known of an object."""

    async def read(self, url: str, *, bytes_max: int) -> bytes:
        """Return a whole object. Raises BodyTooLarge before a longer one is read."""

    async def stream(
        self, url: str, start: int = 0, end: int | None = None
    ) -> tuple[StoredObject, AsyncIterator[bytes]]:
        """Return an object and its bytes from ``start`` to before ``end``, in bounded pieces."""

    async def write(
        self,
        url: str,
        body: bytes | AsyncIterator[bytes],
        *,
        content_type: str | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> StoredObject:
        """Store an object, whole or not at all; durable on return. An old one is replaced."""

    async def delete(self, url: str) -> None:
        """Delete an object; one that is not there is no error."""

    async def list(self, prefix: str) -> Sequence[StoredObject]:
        """Return all objects whose URL begins with ``prefix``, by key."""
