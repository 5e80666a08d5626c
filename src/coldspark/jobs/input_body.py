"""The body of a job: stored with it, or fetched from its URL.

A short body is read before the request is submitted. A long one is read from the store while a
replica takes it, and not before: a request may wait for hours, and an open download cannot.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from coldspark import clock
from coldspark.errors import ArtifactUnavailable, ColdsparkError
from coldspark.platform.body_stream import BodyStream
from coldspark.platform.storage_ports import ObjectStorage

WHOLE_BYTES_MAX = 1024 * 1024
_FETCH_S = 60.0
"""For each silence of the store."""


class FetchedBody(BodyStream):
    """A body whose fetch begins when a replica begins to read it."""

    __slots__ = ("_on_attached",)

    def __init__(
        self, size_bytes: int, on_space: Callable[[], None], on_attached: Callable[[], None]
    ) -> None:
        super().__init__(size_bytes, size_bytes, on_space)
        self._on_attached = on_attached

    def attach(self, on_more: Callable[[], None]) -> None:
        """Begin the fetch."""
        super().attach(on_more)
        self._on_attached()


@dataclass(slots=True)
class JobInput:
    """A job's body, whole or to be fetched."""

    body: bytes = b""
    stream: FetchedBody | None = None
    content_type: str | None = None
    fetch_us: int | None = None


class BodyFetch:
    """Fetches one long body while it is read."""

    def __init__(self, storage: ObjectStorage, url: str, size_bytes: int) -> None:
        self._storage = storage
        self._url = url
        self._space = asyncio.Event()
        self._requested = asyncio.Event()
        self.error: ColdsparkError | None = None
        self.stream = FetchedBody(size_bytes, self._space.set, self._requested.set)

    async def run(self, on_error: Callable[[], None]) -> None:
        """Fetch, once it is read; ``on_error`` is called when the store breaks off."""
        await self._requested.wait()
        try:
            async with asyncio.timeout(_FETCH_S):
                _, pieces = await self._storage.stream(self._url)
            await self._pass_on(pieces)
        except ColdsparkError as error:
            self.error = error
            on_error()
        except TimeoutError:
            self.error = ArtifactUnavailable(f"{self._url}: nothing came for {_FETCH_S:g} s")
            on_error()

    async def _pass_on(self, pieces: AsyncIterator[bytes]) -> None:
        stream, size = self.stream, self.stream.size_bytes
        while True:
            async with asyncio.timeout(_FETCH_S):
                piece = await anext(pieces, None)
            if piece is None:
                break
            if stream.fed_bytes + len(piece) > (size or 0):
                raise ArtifactUnavailable(f"{self._url} was replaced while it was read: try again")
            stream.feed(piece)
            while stream.is_full:
                self._space.clear()
                # Bounded by the request's deadline, which ends this task.
                await self._space.wait()
        if stream.fed_bytes != size:
            raise ArtifactUnavailable(f"{self._url} ended after {stream.fed_bytes} of {size} bytes")
        stream.end()


async def fetch_input(
    storage: ObjectStorage, url: str, bytes_max: int
) -> tuple[JobInput, BodyFetch | None]:
    """Return a body, or the way to it. Raises what the store raises, and BodyTooLarge."""
    began_us = clock.monotonic_us()
    async with asyncio.timeout(_FETCH_S):
        found = await storage.head(url)
        if found.size_bytes <= WHOLE_BYTES_MAX:
            body = await storage.read(url, bytes_max=min(WHOLE_BYTES_MAX, bytes_max))
            fetch_us = clock.monotonic_us() - began_us
            return JobInput(body, None, found.content_type, fetch_us), None
    fetch = BodyFetch(storage, url, found.size_bytes)
    return JobInput(b"", fetch.stream, found.content_type, clock.monotonic_us() - began_us), fetch
