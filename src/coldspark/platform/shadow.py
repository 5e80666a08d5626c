"""Copies of requests for a shadow: metered, and heard by nobody.

A copy never costs a caller anything: it is handed in after the request itself, only while nobody
waits for the variant that serves, and only a bounded number of copies waits. Its replicas take only
room that nobody else wants (see ``fleet/placement``). Its ledger line has the shadow's variant, and
the request's id with ``.shadow`` behind it.
"""

from collections import Counter
from collections.abc import Sequence

from msgspec.structs import replace

from coldspark.platform.controller import Controller
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import Invocation, Receipt
from coldspark.spec.types import Failure, RequestId

SHADOW_SUFFIX = ".shadow"
QUEUE_MAX = 32
COPY_BYTES_MAX = 1024 * 1024
_SLACK = 1e-9


class Shadow:
    """One shadow of one endpoint."""

    def __init__(self, controller: Controller, hosted: HostedFleet, ratio: float) -> None:
        self._controller = controller
        self._credit = 0.0
        self.hosted = hosted
        self.ratio = ratio
        """Of the requests, that are copied."""
        self.copied = 0
        self.uncopied: Counter[str] = Counter()
        """Those that were to be copied and were not, by why."""

    def offer(self, served_by: HostedFleet, invocation: Invocation) -> None:
        """Copy a request that was handed in, if it is its turn and does no harm."""
        self._credit += self.ratio
        if self._credit < 1.0 - _SLACK:
            return
        self._credit -= 1.0
        reason = self._refusal(served_by, invocation)
        if reason is not None:
            self.uncopied[reason] += 1
            return
        self.copied += 1
        copy = replace(
            invocation,
            variant=self.hosted.variant,
            request=RequestId(invocation.request + SHADOW_SUFFIX),
        )
        self._controller.submit(self.hosted, copy, _NOBODY)

    def _refusal(self, served_by: HostedFleet, invocation: Invocation) -> str | None:
        if invocation.stream is not None or len(invocation.body) > COPY_BYTES_MAX:
            return "long body"
        if served_by.fleet.queued:
            return "callers wait"
        return "copies wait" if self.hosted.fleet.queued >= QUEUE_MAX else None


class _Nobody:
    """A sink that listens to nothing."""

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        """Drop a reply."""

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Drop the head of a stream."""

    def write(self, chunk: bytes) -> None:
        """Drop a piece of it."""

    def end(self, receipt: Receipt) -> None:
        """Drop its end."""

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        """Drop a failure: it is in the ledger."""


_NOBODY = _Nobody()
