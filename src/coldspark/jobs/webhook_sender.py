"""Tell what was to be told: at least once, with pauses that grow, and not for ever.

A notice is on disk before it is sent and is deleted once its receiver took it, so a server that is
killed in between sends it again. A receiver tells doubles apart by the notice's id.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
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
_AGAIN_LATER = (408, 425, 429)

Post = Callable[[str, tuple[tuple[str, str], ...], bytes], Awaitable[int]]
"""URL, headers, body: the receiver's status. Raises WebhookNotDelivered."""


class WebhookSender:
    """Sends the notices that are due."""

    def __init__(
        self,
        store: WebhookOutboxStore,
        post: Post,
        secret: str,
        measures: JobMetricsSink,
        *,
        look_every_s: float = _SILENCE_S,
    ) -> None:
        """``look_every_s``: how often to look without a word, where others write notices too."""
        self._store = store
        self._post = post
        self._secret = secret
        self._measures = measures
        self._look_every_s = look_every_s
        self._tasks = Tasks()
        self._news = asyncio.Event()
        self._flying: dict[str, str] = {}
        """From notices that are being sent to their hosts."""
        self._page: list[WebhookEvent] = []
        self._read_s = float("-inf")

    def open(self) -> None:
        """Begin with what is on disk."""
        self._news.set()
        self._tasks.spawn(self._tell_for_ever())

    async def close(self) -> None:
        """Stop: what is not told stays on disk."""
        await self._tasks.close(5.0)

    def wake(self) -> None:
        """Hear that there are new notices."""
        self._news.set()

    async def publish(self, notice: WebhookEvent) -> None:
        """Keep a notice that no job is behind, and send it; durable on return."""
        await self._store.add(notice)
        self.wake()

    async def _tell_for_ever(self) -> None:
        while True:
            pause_s = self._look_every_s
            try:
                self._news.clear()
                pause_s = min(pause_s, await self._tell_due())
            except Exception:  # noqa: BLE001
                # The task's edge: the notices are on disk.
                _log.exception("notices: the database refused to be read; trying again")
                pause_s = 1.0
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause_s)

    async def _tell_due(self) -> float:
        """Send as many as may be sent at once; return when to look again, in seconds."""
        now_ms = clock.wall_ms()
        hosts = Counter(self._flying.values())
        left: list[WebhookEvent] = []
        for notice in await self._read():
            host = urlsplit(notice.url).netloc
            is_free = len(self._flying) < _AT_ONCE and hosts[host] < _AT_ONCE_PER_HOST
            if notice.due_ms > now_ms or not is_free:
                left.append(notice)
                continue
            hosts[host] += 1
            self._flying[notice.id] = host
            self._tasks.spawn(self._tell(notice))
        self._page = left
        # Whoever is done wakes this up again.
        later = min((one.due_ms for one in left if one.due_ms > now_ms), default=None)
        return self._look_every_s if later is None else (later - now_ms) / 1_000

    async def _read(self) -> list[WebhookEvent]:
        """Return the first notices on disk, read anew when they are used up or a second old."""
        now_s = clock.monotonic_s()
        if not self._page or now_s - self._read_s > _PAGE_S:
            # What is being sent is still on the disk, and may be dropped while it is read.
            flying = set(self._flying)
            self._page = [one for one in await self._store.due(_PAGE) if one.id not in flying]
            self._read_s = now_s
        return self._page

    async def _tell(self, notice: WebhookEvent) -> None:
        try:
            await self._tell_once(notice)
        finally:
            del self._flying[notice.id]
            self._news.set()

    async def _tell_once(self, notice: WebhookEvent) -> None:
        signed = signature(self._secret, clock.wall_ms() // 1_000, notice.body)
        try:
            status = await self._post(
                notice.url, (*notice.headers, (SIGNATURE, signed)), notice.body
            )
            error = f"it answered {status}"
            is_taken = 200 <= status < 300
            is_hopeless = 400 <= status < 500 and status not in _AGAIN_LATER
        except (WebhookNotDelivered, ColdsparkError) as failed:
            is_taken = False
            is_hopeless = isinstance(failed, ColdsparkError)
            error = str(failed)
        attempts = notice.attempts + 1
        if is_taken:
            await self._store.drop(notice.id)
        elif is_hopeless or attempts >= ATTEMPTS_MAX:
            if notice.endpoint:
                self._measures.count(notice.endpoint, None, JobCounter.NOTICE_FAILED)
            _log.warning("notice %s to %s is given up: %s", notice.id, notice.url, error)
            await self._store.drop(notice.id)
        else:
            pause_ms = _PAUSE_MS << (attempts - 1)
            await self._store.postpone(notice.id, attempts, clock.wall_ms() + pause_ms)
