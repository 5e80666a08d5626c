"""Deliver webhook events: at least once, with growing pauses, and not for ever.

An event is on disk before it is sent and is deleted once its receiver took it, so a server that is
killed in between sends it again. A receiver detects doubles by the event's id.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from coldspark import clock
from coldspark.errors import ColdsparkError
from coldspark.jobs.ports import JobCounter, JobMetricsSink, WebhookEvent, WebhookOutboxStore
from coldspark.jobs.webhook_client import SIGNATURE, WebhookNotDelivered, signature
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)

ATTEMPTS_MAX = 10
"""The pauses between them add up to 17 minutes."""
_PAUSE_MS = 1_000
_AT_ONCE, _AT_ONCE_PER_HOST = 16, 4
_PAGE, _PAGE_S = 256, 1.0
_SILENCE_S = 3_600.0
_RETRY_S = 1.0
_AGAIN_LATER = (408, 425, 429)

Post = Callable[[str, tuple[tuple[str, str], ...], bytes], Awaitable[int]]
"""URL, headers, body: the receiver's status. Raises WebhookNotDelivered."""


class WebhookSender:
    """Sends the webhook events that are due."""

    def __init__(
        self,
        store: WebhookOutboxStore,
        post: Post,
        secret: str,
        measures: JobMetricsSink,
        *,
        poll_every_s: float = _SILENCE_S,
    ) -> None:
        """``poll_every_s``: how often to poll the disk, where other processes write events too."""
        self._store = store
        self._post = post
        self._secret = secret
        self._measures = measures
        self._poll_every_s = poll_every_s
        self._pause_s = poll_every_s
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._in_flight: dict[str, str] = {}
        """From notices that are being sent to their hosts."""
        self._page: list[WebhookEvent] = []
        self._read_s = float("-inf")

    def open(self) -> None:
        """Begin with what is on disk."""
        self._tasks.every(
            lambda: self._pause_s,
            self._deliver_all_due,
            "read notices",
            at_once=True,
            wake=self._wake,
        )

    async def close(self) -> None:
        """Stop: what is not delivered stays on disk."""
        await self._tasks.close(5.0)

    def wake(self) -> None:
        """Wake up for new webhook events."""
        self._wake.set()

    async def publish(self, event: WebhookEvent) -> None:
        """Store a webhook event without a job, and send it; durable on return."""
        await self._store.add(event)
        self.wake()

    async def _deliver_all_due(self) -> None:
        # What the next round waits for if this one fails: the events are on disk.
        self._pause_s = _RETRY_S
        self._pause_s = min(self._poll_every_s, await self._deliver_due())

    async def _deliver_due(self) -> float:
        """Send as many as may be sent at once; return when to poll again, in seconds."""
        now_ms = clock.wall_ms()
        hosts = Counter(self._in_flight.values())
        left: list[WebhookEvent] = []
        for event in await self._read():
            host = urlsplit(event.url).netloc
            is_free = len(self._in_flight) < _AT_ONCE and hosts[host] < _AT_ONCE_PER_HOST
            if event.due_ms > now_ms or not is_free:
                left.append(event)
                continue
            hosts[host] += 1
            self._in_flight[event.id] = host
            self._tasks.spawn(self._deliver(event))
        self._page = left
        # Whoever is done wakes this up again.
        later = min((one.due_ms for one in left if one.due_ms > now_ms), default=None)
        return self._poll_every_s if later is None else (later - now_ms) / 1_000

    async def _read(self) -> list[WebhookEvent]:
        """Return the first events on disk, read anew when they are used up or a second old."""
        now_s = clock.monotonic_s()
        if not self._page or now_s - self._read_s > _PAGE_S:
            # What is being sent is still on the disk, and may be dropped while it is read.
            flying = set(self._in_flight)
            self._page = [one for one in await self._store.due(_PAGE) if one.id not in flying]
            self._read_s = now_s
        return self._page

    async def _deliver(self, event: WebhookEvent) -> None:
        try:
            await self._attempt_delivery(event)
        finally:
            del self._in_flight[event.id]
            self._wake.set()

    async def _attempt_delivery(self, event: WebhookEvent) -> None:
        signed = signature(self._secret, clock.wall_ms() // 1_000, event.body)
        try:
            status = await self._post(event.url, (*event.headers, (SIGNATURE, signed)), event.body)
            error = f"it answered {status}"
            is_delivered = 200 <= status < 300
            is_hopeless = 400 <= status < 500 and status not in _AGAIN_LATER
        except (WebhookNotDelivered, ColdsparkError) as failed:
            is_delivered = False
            is_hopeless = isinstance(failed, ColdsparkError)
            error = str(failed)
        attempts = event.attempts + 1
        if is_delivered:
            await self._store.drop(event.id)
        elif is_hopeless or attempts >= ATTEMPTS_MAX:
            if event.endpoint:
                self._measures.count(event.endpoint, None, JobCounter.NOTICE_FAILED)
            _log.warning("notice %s to %s is given up: %s", event.id, event.url, error)
            await self._store.drop(event.id)
        else:
            pause_ms = _PAUSE_MS << (attempts - 1)
            await self._store.postpone(event.id, attempts, clock.wall_ms() + pause_ms)
