"""All logs there are, and their retention: what callers put, and what replicas print."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from coldspark import clock
from coldspark.database.database import Database
from coldspark.errors import NotFound
from coldspark.platform.ports import Platform
from coldspark.spec.types import EndpointName
from coldspark.tasks import Tasks
from coldspark.telemetry.log_records import LogGroup
from coldspark.telemetry.logs_table import LogEvents
from coldspark.telemetry.replica_log_files import ReplicaLogFiles

_log = logging.getLogger(__name__)
ENDPOINT_GROUPS = ":endpoint/"
"""Before the name of an endpoint in the name of its group; no client's group begins so."""
DAY_MS = 86_400_000
_PERIOD_S = 600.0
_CLOSE_WITHIN_S = 5.0


@dataclass(slots=True)
class LogStore:
    """Callers' own logs and replicas' files."""

    events: LogEvents
    files: ReplicaLogFiles
    on_dropped: Callable[[], None] = lambda: None
    """Called when a group or stream was deleted: its events can go."""

    @classmethod
    def of(cls, database: Database, directory: Path) -> "LogStore":
        """Return the logs in a database and in a directory of log files."""
        return cls(
            LogEvents(database, clock.wall_ms), ReplicaLogFiles(directory, clock.monotonic_s)
        )


def endpoint_of(group: str) -> str | None:
    """Return the endpoint that a group's name stands for; None for a client's own group."""
    name = group.removeprefix(ENDPOINT_GROUPS)
    return name if name and name != group and "/" not in name else None


def living_streams(platform: Platform, endpoint: str) -> frozenset[str]:
    """Return the streams of an endpoint that its replicas still write."""
    try:
        view = platform.endpoint(EndpointName(endpoint))
    except NotFound:
        return frozenset()
    return frozenset(
        f"{variant.name}/{replica.replica}"
        for variant in view.variants
        for replica in variant.replicas
    )


class LogRetention:
    """Removes what is deleted or over its group's retention, a chunk at a time."""

    def __init__(
        self,
        store: LogStore,
        platform: Platform,
        *,
        renew: Callable[[], Awaitable[None]] | None = None,
        period_s: float = _PERIOD_S,
    ) -> None:
        """Take the dependencies.

        ``renew`` brings the platform's view of other processes up to date: what a replica still
        writes must not be taken for an ended one's.
        """
        self._store = store
        self._renew = renew
        self._platform = platform
        self._period_s = period_s
        self._is_due = asyncio.Event()
        self._tasks = Tasks()

    def open(self) -> None:
        """Enforce it from now on."""
        self._store.on_dropped = self._is_due.set
        self._tasks.every(
            self._period_s, self.enforce, "remove old logs", at_once=True, wake=self._is_due
        )

    async def close(self) -> None:
        """Enforce it no more."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def enforce(self) -> None:
        """Remove all that is due. What fails for one group is logged, and the others go on."""
        # Each chunk is a transaction of its own: the ledger's come between.
        while await self._store.events.expire():
            pass
        for group in await self._store.events.groups():
            endpoint = endpoint_of(group.name)
            if endpoint is None or group.retention_days is None:
                continue
            try:
                await self._expire_files(endpoint, group)
            except OSError as error:
                _log.warning("old logs of endpoint %s could not be removed: %s", endpoint, error)

    async def _expire_files(self, endpoint: str, group: LogGroup) -> None:
        assert group.retention_days is not None
        until_ms = clock.wall_ms() - group.retention_days * DAY_MS
        streams = await asyncio.to_thread(self._store.files.streams, endpoint)
        if self._renew is not None:
            await self._renew()
        for stream in streams:
            # Asked anew for each: a replica may have come since.
            is_old = stream.last_ms is None or stream.last_ms < until_ms
            if is_old and stream.name not in living_streams(self._platform, endpoint):
                await asyncio.to_thread(self._store.files.remove, endpoint, stream.name)
