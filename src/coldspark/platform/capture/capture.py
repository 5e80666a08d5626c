"""Requests and replies captured on their way, into object storage.

The hot path keeps references and counts; lines go to the local disk at once, in a thread, and from
there into their store every ``flush_s`` or once ``flush_bytes`` have come together, and at the end.
What is held is bounded: a store that is slow or refuses loses lines, which are counted and
logged, never memory or a caller's time. A crash loses what the thread had not taken yet.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from coldspark import clock
from coldspark.platform.capture.records import CaptureCounts, CapturedBody, CapturedRequest
from coldspark.platform.capture.spool import CaptureSpool, SpoolFile
from coldspark.platform.ports import Invocation, Receipt, Sink
from coldspark.platform.storage_ports import ObjectStorage
from coldspark.spec.types import CaptureRule, EndpointName, Failure, VariantName
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)
FLUSH_S = 60.0
FLUSH_BYTES = 4 * 1024 * 1024
HELD_BYTES_MAX = 64 * 1024 * 1024
"""In memory and on the local disk, as bodies; base 64 makes a third more of them on the disk."""
SIDE_BYTES_MAX = 1024 * 1024
"""A request or a reply whose body is longer is not captured."""
_RECORD_BYTES = 512
"""What a record counts for beside its bodies."""
_WRITE_S = 30.0
_TRIES = 3
_RETRY_S = 5.0
_CLOSE_S = 10.0
SLOW, LONG, REFUSED = "store is slow", "long body", "store refuses"
DISK = "disk refuses"


class CaptureService:
    """The capture of every endpoint of this process."""

    def __init__(
        self,
        objects: ObjectStorage,
        spool: CaptureSpool,
        *,
        flush_s: float = FLUSH_S,
        flush_bytes: int = FLUSH_BYTES,
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        self._objects = objects
        self._spool = spool
        self._flush_s = flush_s
        self._flush_bytes = flush_bytes
        self._held_bytes_max = held_bytes_max
        self._held_bytes = 0
        self._new_bytes = 0
        self._late: list[SpoolFile] = []
        """Those that a store did not take yet."""
        self._is_due = asyncio.Event()
        self._is_closing = False
        self._tasks = Tasks()
        self._writer: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Go on with what an earlier run left on the disk."""
        self._late = await self._spool.recover()
        if self._late:
            _log.info("captures: going on with %d files", len(self._late))
            self._held_bytes += sum(file.held_bytes for file in self._late)
            self._is_due.set()
            self._begin()

    def add(self, captured: CapturedRequest, counted: CaptureCounts) -> None:
        """Take what is to be written; never blocks."""
        size_bytes = captured.size_bytes + _RECORD_BYTES
        if self._held_bytes + size_bytes > self._held_bytes_max:
            if not counted.uncaptured[SLOW]:
                _log.warning("endpoint %s: lines are lost: %s", captured.endpoint, SLOW)
            counted.uncaptured[SLOW] += 1
            return
        self._held_bytes += size_bytes
        self._new_bytes += size_bytes
        self._spool.add(captured, counted, size_bytes)
        if self._new_bytes >= self._flush_bytes:
            self._is_due.set()
        self._begin()

    def caller_id_of(self, invocation: Invocation) -> str | None:
        """Return what the caller names a request by."""
        header = self._spool.format.id_header
        return next((value for name, value in invocation.headers if name == header), None)

    async def close(self) -> None:
        """Send what is held, for so long at most; what is not sent stays on the disk."""
        self._is_closing = True
        if self._writer is not None:
            self._is_due.set()
            await asyncio.wait([self._writer], timeout=_CLOSE_S)
            await self._tasks.close(_CLOSE_S)
        await self._spool.close()
        if self._held_bytes:
            _log.warning("captures: what is not in its store yet is sent by the next start")

    def _begin(self) -> None:
        if self._writer is None:
            # There is none before something is captured.
            self._writer = self._tasks.spawn(self._write_for_ever())

    async def _write_for_ever(self) -> None:
        while True:
            wait_s = min(self._flush_s, _RETRY_S) if self._late else self._flush_s
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_due.wait(), wait_s)
            self._is_due.clear()
            is_last = self._is_closing
            try:
                await self._flush()
            except Exception:  # noqa: BLE001
                # The task's edge: what was not sent is on the disk.
                _log.exception("captures: the disk refused to be read")
            if is_last:
                return

    async def _flush(self) -> None:
        self._new_bytes = 0
        files, lost = await self._spool.cut()
        for one in lost:
            self._held_bytes -= one.held_bytes
            one.counted.uncaptured[DISK] += one.lines
        files, self._late = self._late + files, []
        for file in files:
            await self._write(file)

    async def _write(self, file: SpoolFile) -> None:
        try:
            body = await asyncio.to_thread(file.body)
            if body:
                async with asyncio.timeout(_WRITE_S):
                    await self._objects.write(file.url, body, content_type="application/jsonlines")
        except Exception as error:  # noqa: BLE001
            # The edge of one file: whatever its store does, the others are written.
            await self._missed(file, str(error) or type(error).__name__)
            return
        if file.counted is not None:
            file.counted.captured += file.lines
        await self._forget(file)

    async def _missed(self, file: SpoolFile, why: str) -> None:
        if self._is_closing:
            return
        file.tries += 1
        if file.tries < _TRIES:
            self._late.append(file)
            return
        if file.counted is not None:
            file.counted.uncaptured[REFUSED] += file.lines
        _log.warning("captured lines are lost, %s: %s", file.url, why)
        await self._forget(file)

    async def _forget(self, file: SpoolFile) -> None:
        self._held_bytes -= file.held_bytes
        await self._spool.remove(file)


class EndpointCapture:
    """The capture of one endpoint."""

    def __init__(
        self,
        captures: CaptureService,
        endpoint: EndpointName,
        rule: CaptureRule,
        counted: CaptureCounts,
    ) -> None:
        self._captures = captures
        self._endpoint = endpoint
        self._credit = 0
        self.rule = rule
        self.counted = counted

    def tap(self, variant: VariantName, invocation: Invocation, sink: Sink) -> Sink:
        """Return the sink of the reply: the caller's, or one that captures it and passes it on."""
        self._credit += self.rule.percent
        if self._credit < 100:
            return sink
        self._credit -= 100
        if self.rule.has_input and (
            invocation.stream is not None or len(invocation.body) > SIDE_BYTES_MAX
        ):
            self.miss()
            return sink
        return _Tap(self, variant, invocation, sink)

    def miss(self) -> None:
        """Count what is too long."""
        self.counted.uncaptured[LONG] += 1

    def take(
        self,
        variant: VariantName,
        invocation: Invocation,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        at_ms: int,
    ) -> None:
        """Take a request and its reply."""
        rule = self.rule
        if rule.has_output and len(body) > SIDE_BYTES_MAX:
            self.miss()
            return
        media = next((value for name, value in headers if name.lower() == "content-type"), None)
        captured = CapturedRequest(
            rule=rule,
            endpoint=self._endpoint,
            variant=variant,
            request=invocation.request,
            caller_id=self._captures.caller_id_of(invocation),
            at_ms=at_ms,
            input=CapturedBody(invocation.content_type, invocation.body)
            if rule.has_input
            else None,
            output=CapturedBody(media, body) if rule.has_output else None,
        )
        self._captures.add(captured, self.counted)


class _Tap:
    """Passes a reply on, and keeps what is to be captured. A request that fails is not."""

    __slots__ = (
        "_at_ms",
        "_capture",
        "_chunks",
        "_headers",
        "_invocation",
        "_sink",
        "_size",
        "_variant",
    )

    def __init__(
        self, capture: EndpointCapture, variant: VariantName, invocation: Invocation, sink: Sink
    ) -> None:
        self._capture = capture
        self._variant = variant
        self._invocation = invocation
        self._sink = sink
        self._at_ms = clock.wall_ms()
        self._headers: Sequence[tuple[str, str]] = ()
        self._chunks: list[bytes] | None = []
        self._size = 0

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Pass a whole reply on."""
        self._sink.reply(status, headers, body, receipt)
        if status < 400:
            self._take(headers, body)

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Pass the head of a stream on."""
        self._sink.begin(status, headers)
        self._headers = headers
        if status >= 400:
            self._chunks = None

    def write(self, chunk: bytes) -> None:
        """Pass a piece of it on."""
        self._sink.write(chunk)
        if self._chunks is not None and self._capture.rule.has_output:
            self._size += len(chunk)
            self._chunks.append(chunk)
            if self._size > SIDE_BYTES_MAX:
                self._chunks = None
                self._capture.miss()

    def end(self, receipt: Receipt) -> None:
        """Pass its end on."""
        self._sink.end(receipt)
        if self._chunks is not None:
            self._take(self._headers, b"".join(self._chunks))

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Pass a failure on."""
        self._sink.fail(failure, receipt)

    def _take(self, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        self._capture.take(self._variant, self._invocation, headers, body, self._at_ms)
