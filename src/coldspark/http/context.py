"""What all connections of one server share."""

import asyncio
import email.utils
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.types import ASGIApp

from coldspark import clock
from coldspark.http.auth.authentication import Authentication
from coldspark.http.body_spool import SpoolQuota
from coldspark.http.counters import RequestCounters
from coldspark.http.disconnect_watcher import DisconnectWatcher
from coldspark.http.door_match import DoorMatcher
from coldspark.http.request_ids import request_ids
from coldspark.http.retries import Retries
from coldspark.platform.ports import Platform
from coldspark.spec.types import RequestId

if TYPE_CHECKING:
    from coldspark.http.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """How much, and how slowly, a client may send."""

    head_bytes_max: int = 64 * 1024
    connections_max: int = 10_000
    pipeline_max: int = 16
    """Waiting requests of one connection before it is read no further."""
    head_timeout_s: float = 30.0
    body_timeout_s: float = 60.0
    """Without a byte of progress."""
    idle_timeout_s: float = 75.0
    linger_timeout_s: float = 5.0
    """To read a refusal, once it was sent."""


class ShutdownSignal:
    """Shutdown signal for replies that never end by themselves."""

    def __init__(self) -> None:
        self.is_set = False
        self._wakes: set[Callable[[], None]] = set()

    def set(self) -> None:
        """Notify every watcher."""
        self.is_set = True
        for wake in list(self._wakes):
            wake()

    def watch(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when the server ends."""
        self._wakes.add(wake)

    def unwatch(self, wake: Callable[[], None]) -> None:
        """Watch no more."""
        self._wakes.discard(wake)


@dataclass(slots=True, kw_only=True)
class HttpContext:
    """One server's shared state. Used on the event loop's thread only."""

    platform: Platform
    door_matcher: DoorMatcher
    authentication: Authentication
    app: ASGIApp
    """What answers every route that is no invocation."""
    counters: RequestCounters
    limits: HttpLimits = field(default_factory=HttpLimits)
    connections: set["Connection"] = field(default_factory=set)
    ids: Iterator[RequestId] = field(default_factory=request_ids)
    tasks: asyncio.TaskGroup | None = None
    running: set[asyncio.Task[None]] = field(default_factory=set)
    """The app's requests."""
    shutdown: ShutdownSignal = field(default_factory=ShutdownSignal)
    retries: Retries = field(default_factory=Retries)
    spool_quota: SpoolQuota = field(default_factory=SpoolQuota)
    disconnect_watcher: DisconnectWatcher = field(default_factory=DisconnectWatcher)
    is_draining: bool = False
    date_line: str = ""
    """``date: …`` with its line end; the server renews it every second."""
    _is_empty: asyncio.Event = field(default_factory=asyncio.Event)

    def spawn(self, coroutine: Coroutine[object, object, None]) -> None:
        """Run a request of the app in the server's task group."""
        assert self.tasks is not None, "the server is not running"
        task = self.tasks.create_task(coroutine)
        self.running.add(task)
        task.add_done_callback(self._ended)

    def remove_connection(self, connection: "Connection") -> None:
        """Remove a connection that is closed."""
        self.connections.discard(connection)
        self._check_empty()

    def emptied(self) -> asyncio.Event:
        """Return the event that nothing is left, neither connection nor task (set while so)."""
        self._is_empty.clear()
        self._check_empty()
        return self._is_empty

    def drain(self) -> None:
        """Let every connection end with its active request."""
        self.is_draining = True
        self.shutdown.set()
        for connection in list(self.connections):
            connection.drain()

    def sweep(self, now_s: float) -> None:
        """Enforce the time limits, and renew the date."""
        self.renew_date()
        for connection in list(self.connections):
            connection.expire(now_s)

    def renew_date(self) -> None:
        """Take the date from the clock."""
        self.date_line = f"date: {email.utils.formatdate(clock.wall_ms() / 1000, usegmt=True)}\r\n"

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self._check_empty()

    def _check_empty(self) -> None:
        if not self.connections and not self.running:
            self._is_empty.set()
