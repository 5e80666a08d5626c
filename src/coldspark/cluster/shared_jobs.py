"""Jobs of a server with several routers, as the primary's doors and the other routers see them.

A job belongs to the owner of its endpoint, which alone writes it; anybody reads it from the disk.
"""

from collections.abc import Callable

from coldspark.cluster.messages import CancelJob
from coldspark.cluster.ownership import PRIMARY
from coldspark.cluster.primary import Primary
from coldspark.jobs.messages import JobId, JobState
from coldspark.jobs.ports import JobOrder, JobsAtWork, StoredJob, WebhookEvent, WebhookOutboxStore
from coldspark.spec.types import EndpointName

_CANCEL_S = 5.0


class SharedJobs:
    """Implements ``JobsAtWork`` for the primary's doors."""

    def __init__(self, own: JobsAtWork, primary: Primary) -> None:
        self._own = own
        self._primary = primary

    @property
    def has_storage(self) -> bool:
        """Return whether bodies and answers may lie elsewhere."""
        return self._own.has_storage

    async def accept(
        self,
        endpoint: EndpointName,
        order: JobOrder,
        body: bytes,
        *,
        id: JobId | None = None,
        ttl_s: float,
        timeout_s: float,
    ) -> JobId:
        """Accept a job for an endpoint of the primary's: others never come here."""
        return await self._own.accept(
            endpoint, order, body, id=id, ttl_s=ttl_s, timeout_s=timeout_s
        )

    async def cancel(self, endpoint: EndpointName, id: JobId) -> None:
        """Cancel a job at its owner's. Raises NotFound and RouterGone."""
        router = self._primary.owner_of(endpoint)
        if router == PRIMARY:
            await self._own.cancel(endpoint, id)
        else:
            await self._primary.request(router, CancelJob(endpoint, id), None, _CANCEL_S)

    async def find(self, id: JobId) -> StoredJob | None:
        """Return a job."""
        return await self._own.find(id)

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is stored with a job."""
        return await self._own.output(id)

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""
        return await self._own.newest(endpoint, state, limit)


class RemoteOutbox:
    """Implements ``WebhookOutbox`` in a router; the primary sends the events."""

    def __init__(self, outbox: WebhookOutboxStore, on_stored: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_stored = on_stored

    async def publish(self, event: WebhookEvent) -> None:
        """Store a webhook event and notify the primary; durable on return."""
        await self._outbox.add(event)
        self._on_stored()
