"""Objects in S3, or in a store with its API: listed, and streamed to disk in bounded memory."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from coldspark.objects.records import StoredObject

_CHUNK_BYTES = 2 * 1024**2
_ANSWER_S = 90.0
"""Longest silence of the store, between two chunks as well."""
_WRITE_S = 3_600.0
"""To write an object, however slowly its bytes come."""
_OBJECTS_MAX = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""What S3 has ever allowed; the client panics over a name that makes no URL."""
_STANDARD = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "storage-class",
    }
)
"""Attributes that are no user's metadata."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

OnBytes = Callable[[int], None]
"""Hears how many more bytes are on the disk."""


class BucketRefused(Exception):
    """The object store refused a request."""


class ObjectChanged(BucketRefused):
    """An object is no longer what was listed."""


class ObjectMissing(BucketRefused):
    """There is no such object, or no such bucket."""


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object as the store lists it."""

    key: str
    etag: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeResponse:
    """A range of an object that has begun to arrive."""

    stated_sha256: str | None
    """Of the whole object, as whoever stored it says in its metadata ``sha256``.

    The client does not show the store's own checksum headers.
    """
    blocks: AsyncIterator[memoryview]


class RemoteBucket:
    """One bucket."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        self.name = name
        if not _NAME.fullmatch(name):
            raise BucketRefused(f"{name[:100]!r} is no name of a bucket")
        # Options such as endpoint and region win over the process's AWS_… variables. The client's
        # own time limit covers a whole body, however large; ours covers silence.
        with _answering():
            self._store: Any = S3Store(
                name,
                config=dict(options),  # type: ignore[arg-type]
                client_options={"timeout": "24h", "connect_timeout": "10s"},
                retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=60)},
            )

    async def head(self, key: str) -> RemoteObject:
        """Return an object's metadata. Raises BucketRefused."""
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                return _remote(await obstore.head_async(self._store, key))

    async def list(self, prefix: str) -> list[RemoteObject]:
        """Return all objects under a prefix, by key. Raises BucketRefused."""
        found = [_remote(meta) for meta in await self._listed(prefix)]
        return sorted((one for one in found if one.key[-1:] != "/"), key=lambda one: one.key)

    async def _listed(self, prefix: str) -> Sequence[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        with _answering():
            pages = aiter(obstore.list(self._store, prefix, chunk_size=1_000))
            while True:
                async with asyncio.timeout(_ANSWER_S):
                    page = await anext(pages, None)
                if page is None:
                    break
                found += page
                if len(found) > _OBJECTS_MAX:
                    raise BucketRefused(f"there are more than {_OBJECTS_MAX} objects under it")
        return found

    async def describe(self, key: str) -> StoredObject:
        """Return all of an object's metadata. Raises BucketRefused."""
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                got = await obstore.get_async(self._store, key, options={"head": True})
        return self._stored(got.meta, got.attributes)

    async def describe_all(self, prefix: str) -> Sequence[StoredObject]:
        """Return all objects whose keys begin with a prefix, by key. Raises BucketRefused.

        A listing has neither content types nor metadata.
        """
        # The client lists directories only: a prefix may end within a name.
        directory = prefix[: prefix.rfind("/") + 1]
        found = await self._listed(directory)
        matching = [self._stored(meta, {}) for meta in found if meta["path"].startswith(prefix)]
        return sorted(matching, key=lambda one: one.url)

    async def stream(
        self, key: str, expected: StoredObject, start: int, end: int
    ) -> AsyncIterator[bytes]:
        """Yield bytes of an object as it was when described. Raises BucketRefused."""
        remote = RemoteObject(key=key, etag=expected.etag, size_bytes=expected.size_bytes)
        reading = await self.read(remote, start, end)
        async for block in reading.blocks:
            yield bytes(block)

    async def write(
        self,
        key: str,
        chunks: AsyncIterator[bytes],
        content_type: str | None,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        """Store an object. Raises BucketRefused, and whatever the chunks raise."""
        attributes = dict(metadata)
        if content_type is not None:
            attributes["Content-Type"] = content_type
        with _answering():
            async with asyncio.timeout(_WRITE_S):
                await obstore.put_async(self._store, key, chunks, attributes=attributes)

    async def delete(self, key: str) -> None:
        """Delete an object. Raises BucketRefused."""
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                await obstore.delete_async(self._store, key)

    def _stored(self, meta: Mapping[str, Any], attributes: Mapping[Any, Any]) -> StoredObject:
        attributes_left = {str(name).lower(): str(value) for name, value in attributes.items()}
        return StoredObject(
            url=f"s3://{self.name}/{meta['path']}",
            size_bytes=meta["size"],
            etag=str(meta["e_tag"] or "").strip('"'),
            modified_ms=int(meta["last_modified"].timestamp() * 1_000),
            content_type=attributes_left.pop("content-type", None),
            metadata=tuple(
                sorted((n, v) for n, v in attributes_left.items() if n not in _STANDARD)
            ),
        )

    async def read(self, remote: RemoteObject, start: int, end: int) -> "RangeResponse":
        """Begin to read bytes ``start`` to ``end`` of an object as it was when listed.

        Raises BucketRefused, as the reading does.
        """
        options = {"range": (start, end), "if_match": remote.etag}
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                got = await obstore.get_async(self._store, remote.key, options=options)  # type: ignore[arg-type]
        if (got.range[0], got.range[1], got.meta["size"]) != (start, end, remote.size_bytes):
            raise ObjectChanged(
                f"{remote.key} is {got.meta['size']} bytes long, not {remote.size_bytes}"
            )
        return RangeResponse(stated_sha256=_stated(got.attributes), blocks=_blocks(got))


async def _blocks(got: Any) -> AsyncIterator[memoryview]:
    stream = aiter(got.stream(min_chunk_size=_CHUNK_BYTES))
    while True:
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                block = await anext(stream, None)
        if block is None:
            return
        yield memoryview(block)


def _stated(attributes: Mapping[Any, Any]) -> str | None:
    stated = str(attributes.get("sha256", "")).lower()
    return stated if _SHA256.fullmatch(stated) else None


def _remote(meta: Mapping[str, Any]) -> RemoteObject:
    etag = meta["e_tag"] or str(meta["last_modified"])
    return RemoteObject(key=meta["path"], etag=etag, size_bytes=meta["size"])


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BucketRefused("the store did not answer in time") from error
    except PreconditionError as error:
        raise ObjectChanged("it was replaced while it was read: fetch it again") from error
    except FileNotFoundError as error:
        raise ObjectMissing(_first_line(error)) from error
    except (BaseError, PermissionError, ValueError) as error:
        # A key such as ``a//b`` is a ValueError: the client normalises paths, S3 does not.
        raise BucketRefused(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:400] if text else ''}"
