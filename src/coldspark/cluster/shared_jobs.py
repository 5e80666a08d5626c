"""Jobs of a server with several routers, as the lead's doors and the other routers see them.

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
    """Implements ``JobsAtWork`` for the lead's doors."""

    def __init__(self, own: JobsAtWork, lead: Primary) -> None:
        self._own = own
        self._lead = lead

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
        """Take a job for an endpoint of the lead's: others never come here."""
        return await self._own.accept(
            endpoint, order, body, id=id, ttl_s=ttl_s, timeout_s=timeout_s
        )

    async def cancel(self, endpoint: EndpointName, id: JobId) -> None:
        """Cancel a job at its owner's. Raises NotFound and RouterGone."""
        router = self._lead.owner_of(endpoint)
        if router == PRIMARY:
            await self._own.cancel(endpoint, id)
        else:
            await self._lead.request(router, CancelJob(endpoint, id), None, _CANCEL_S)

    async def find(self, id: JobId) -> StoredJob | None:
        """Return a job."""
        return await self._own.find(id)

    async def output(self, id: JobId) -> bytes:
        """Return the answer that is kept with a job."""
        return await self._own.output(id)

    async def newest(
        self, endpoint: EndpointName | None, state: JobState | None, limit: int
    ) -> list[StoredJob]:
        """Return the newest jobs, newest first."""
        return await self._own.newest(endpoint, state, limit)


class RemoteOutbox:
    """Implements ``WebhookOutbox`` in a router beside the lead: notices are left to that."""

    def __init__(self, notices: WebhookOutboxStore, on_kept: Callable[[], None]) -> None:
        self._notices = notices
        self._on_kept = on_kept

    async def publish(self, notice: WebhookEvent) -> None:
        """Keep a notice, and say so; durable on return."""
        await self._notices.add(notice)
        self._on_kept()
