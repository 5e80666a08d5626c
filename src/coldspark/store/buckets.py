"""Objects in S3, or in what speaks like it: listed, and streamed to disk in bounded memory."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

_CHUNK_BYTES = 8 * 1024**2
_ANSWER_S = 90.0
"""Longest silence of the store, between two chunks as well."""
_OBJECTS_MAX = 100_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""What S3 has ever allowed; the client panics over a name that makes no URL."""

OnBytes = Callable[[int], None]
"""Hears how many more bytes are on the disk."""


class BucketRefused(Exception):
    """Say what the object store answered."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An object as the store lists it."""

    key: str
    etag: str
    size_bytes: int


class Bucket:
    """One bucket."""

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
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

    async def head(self, key: str) -> Remote:
        """Return what the store knows of an object. Raises BucketRefused."""
        with _answering():
            async with asyncio.timeout(_ANSWER_S):
                return _remote(await obstore.head_async(self._store, key))

    async def list(self, prefix: str) -> list[Remote]:
        """Return all objects under a prefix, by key. Raises BucketRefused."""
        found: list[Remote] = []
        with _answering():
            pages = aiter(obstore.list(self._store, prefix, chunk_size=1_000))
            while True:
                async with asyncio.timeout(_ANSWER_S):
                    page = await anext(pages, None)
                if page is None:
                    break
                found += [_remote(meta) for meta in page]
                if len(found) > _OBJECTS_MAX:
                    raise BucketRefused(f"there are more than {_OBJECTS_MAX} objects under it")
        return sorted((one for one in found if one.key[-1:] != "/"), key=lambda one: one.key)

    async def download(self, remote: Remote, into: Path, on_bytes: OnBytes) -> None:
        """Write an object, as it was when listed, to a new file. Raises BucketRefused."""
        fd = await asyncio.to_thread(os.open, into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(fd, "wb", buffering=0) as file, _answering():
            written = 0
            async for block in self._blocks(remote):
                await asyncio.to_thread(file.write, block)
                written += len(block)
                on_bytes(len(block))
        if written != remote.size_bytes:
            raise BucketRefused(f"{remote.key} ended after {written} of {remote.size_bytes} bytes")

    async def _blocks(self, remote: Remote) -> AsyncIterator[memoryview]:
        async with asyncio.timeout(_ANSWER_S):
            got = await obstore.get_async(
                self._store, remote.key, options={"if_match": remote.etag}
            )
        stream = aiter(got.stream(min_chunk_size=_CHUNK_BYTES))
        while True:
            async with asyncio.timeout(_ANSWER_S):
                block = await anext(stream, None)
            if block is None:
                return
            yield memoryview(block)


def _remote(meta: Mapping[str, Any]) -> Remote:
    etag = meta["e_tag"] or str(meta["last_modified"])
    return Remote(key=meta["path"], etag=etag, size_bytes=meta["size"])


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise BucketRefused(f"the store was silent for {_ANSWER_S:g} s") from error
    except (BaseError, FileNotFoundError, PermissionError, ValueError) as error:
        # A key such as ``a//b`` is a ValueError: the client normalises paths, S3 does not.
        raise BucketRefused(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:400] if text else ''}"
