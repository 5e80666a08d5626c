"""What a replica answers to a job: whole, or piece by piece with back-pressure."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

from coldspark.platform.ports import Receipt, Ticket
from coldspark.spec.types import Failure

_HELD_BYTES_MAX = 1024 * 1024


class AttemptReplyBroken(Exception):
    """The answer broke off."""

    def __init__(self, failure: Failure, receipt: Receipt | None) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.receipt = receipt


class AttemptReply:
    """Implements ``Sink`` for one attempt, and is read by it."""

    def __init__(self) -> None:
        self.ticket: Ticket | None = None
        self.receipt: Receipt | None = None
        """None until the end."""
        self.status = 0
        self.headers: Sequence[tuple[str, str]] = ()
        self.whole: bytes | None = None
        self._pieces: deque[bytes] = deque()
        self._held_bytes = 0
        self._is_paused = False
        self._is_over = False
        self._broken: AttemptReplyBroken | None = None
        self._news = asyncio.Event()

    @property
    def content_type(self) -> str | None:
        """Return what the replica says that the answer is."""
        return next((text for name, text in self.headers if name.lower() == "content-type"), None)

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Take a whole answer."""
        self.status, self.headers, self.whole, self.receipt = status, headers, body, receipt
        self._is_over = True
        self._news.set()

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Take the head of an answer that comes in pieces."""
        self.status, self.headers = status, headers
        self._news.set()

    def write(self, chunk: bytes) -> None:
        """Take a piece."""
        self._pieces.append(chunk)
        self._held_bytes += len(chunk)
        if self._held_bytes > _HELD_BYTES_MAX and not self._is_paused and self.ticket is not None:
            self._is_paused = True
            self.ticket.pause()
        self._news.set()

    def end(self, receipt: Receipt) -> None:
        """Take the end."""
        self.receipt, self._is_over = receipt, True
        self._news.set()

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Take a failure."""
        self._broken, self._is_over = AttemptReplyBroken(failure, receipt), True
        self._news.set()

    async def head(self) -> None:
        """Wait until the status is known. Raises AttemptReplyBroken."""
        while not self.status:
            if self._broken is not None:
                raise self._broken
            await self._wait()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the answer as it comes. Raises AttemptReplyBroken."""
        if self.whole is not None:
            yield self.whole
            return
        while True:
            while self._pieces:
                yield self._take()
            if self._broken is not None:
                raise self._broken
            if self._is_over:
                return
            await self._wait()

    async def read_all(self, bytes_max: int) -> bytes | None:
        """Return all of it; None when it is longer than so. Raises AttemptReplyBroken."""
        found: list[bytes] = []
        size = 0
        async for piece in self.pieces():
            size += len(piece)
            if size > bytes_max:
                return None
            found.append(piece)
        return b"".join(found)

    def _take(self) -> bytes:
        piece = self._pieces.popleft()
        self._held_bytes -= len(piece)
        if self._is_paused and self._held_bytes <= _HELD_BYTES_MAX // 2:
            self._is_paused = False
            assert self.ticket is not None
            self.ticket.resume()
        return piece

    async def _wait(self) -> None:
        """Wait for news; whoever waits is bounded by the request's own deadline."""
        self._news.clear()
        await self._news.wait()
