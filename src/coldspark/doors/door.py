"""What a door is: one record that says which requests are its own, and opens it.

A door's folder makes one ``Door``, and ``server/doors.py`` lists it. Whoever has to know of doors
(the hand-off between processes, S3's bucket names, jobs, errors) reads that list through
``DoorRegistry``: nothing is told of a door anywhere else. See ``docs/design/how-to-add-a-door.md``.
"""

import difflib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from coldspark.autoscaling.service import AutoscalingService
from coldspark.config import ServerConfig
from coldspark.doors.ports import Services
from coldspark.http.auth.authentication import Authentication
from coldspark.http.context import ShutdownSignal
from coldspark.http.counters import RequestCounters
from coldspark.http.door import InvocationDoor
from coldspark.jobs.ports import JobDoor, JobsAtWork, WebhookOutbox
from coldspark.objects.object_store import ObjectStore
from coldspark.platform.catalogue import Catalogue
from coldspark.platform.ports import DocumentStore, Key, Platform
from coldspark.telemetry.alarm_service import AlarmService
from coldspark.telemetry.log_store import LogStore
from coldspark.telemetry.metric_service import MetricService

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorDependencies:
    """What doors work on. None: this process does not have it, and the door does without."""

    doors: "DoorRegistry"
    """All doors of the server."""
    config: ServerConfig
    platform: Platform
    documents: DocumentStore
    services: Services
    catalogue: Catalogue
    authentication: Authentication
    counters: RequestCounters = field(default_factory=RequestCounters)
    shutdown: ShutdownSignal = field(default_factory=ShutdownSignal)
    jobs: JobsAtWork | None = None
    webhooks: WebhookOutbox | None = None
    objects: ObjectStore | None = None
    metrics: MetricService | None = None
    alarms: AlarmService | None = None
    logs: LogStore | None = None
    scaling: AutoscalingService | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoor:
    """A door at work."""

    invocations: InvocationDoor | None = None
    """Its hot path."""
    routes: Sequence[Route] = ()
    """Everything else that it answers."""
    errors: Mapping[int, ErrorHandler] = field(default_factory=dict)
    """By status, what answers under its paths where no route does: 404 for an unknown path, 405
    for a wrong method, 500 for a mistake of the server. Where a door has none for a status, the
    first door of the registry that has one answers."""
    wrap: Callable[[ASGIApp], ASGIApp] | None = None
    """Puts an app of its own before all routes: for a protocol that no path tells from others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One client protocol, as all others need to know it."""

    name: str
    open: Callable[[DoorDependencies], OpenDoor]
    paths: tuple[str, ...] = ()
    """What its own paths begin with, whole words: ``/v1/jobs`` is not ``/v1/jobsite``. The first
    word of each is a name that no bucket may have."""
    endpoint_paths: tuple[str, ...] = ()
    """After which an endpoint's name stands, such as ``/v1/endpoints/``: with several processes a
    request under them goes to the endpoint's owner, invocation or not."""
    overview_paths: tuple[str, ...] = ()
    """Those that are about endpoints of all processes: each is asked before they are answered.
    A ``*`` at the end stands for whatever follows."""
    documented_paths: tuple[str, ...] = ()
    """What somebody may have meant who asks for a path that does not exist."""
    jobs: Mapping[str, JobDoor] = field(default_factory=dict)
    """By the word that its jobs' orders carry as ``door``: who tells the ends of those jobs."""

    def match_length(self, path: str) -> int:
        """Return how much of a path is the door's own; 0 for nothing."""
        own = (
            len(prefix)
            for prefix in self.paths
            if path == prefix or path.startswith(f"{prefix.rstrip('/')}/")
        )
        return max(own, default=0)


class DoorRegistry:
    """All doors of a server. The first one answers what is no door's."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = tuple(doors)
        self._endpoint_paths = tuple(path for one in doors for path in one.endpoint_paths)
        overviews = [path for one in doors for path in one.overview_paths]
        self._overviews = frozenset(path for path in overviews if not path.endswith("*"))
        self._under = tuple(path.removesuffix("*") for path in overviews if path.endswith("*"))
        self.reserved_names = frozenset(path.split("/")[1] for one in doors for path in one.paths)
        """First words of paths that doors answer."""
        self.jobs = {word: job for one in doors for word, job in one.jobs.items()}

    def __iter__(self) -> Iterator[Door]:
        """Return the doors in order."""
        return iter(self._doors)

    def endpoint_of(self, raw_path: str) -> str:
        """Return the endpoint that a path is about, as it is spelt; nothing where there is none."""
        for prefix in self._endpoint_paths:
            if raw_path.startswith(prefix):
                return raw_path.removeprefix(prefix).partition("/")[0]
        return ""

    def is_overview(self, path: str) -> bool:
        """Return whether a path is about endpoints of all processes."""
        return path in self._overviews or path.startswith(self._under)

    def similar_paths(self, path: str) -> list[str]:
        """Return up to three documented paths that look like a path."""
        known = list(dict.fromkeys(each for one in self._doors for each in one.documented_paths))
        return difflib.get_close_matches(path[:200], known, n=3, cutoff=0.6)


def headers_of(request: Request) -> Mapping[str, str]:
    """Return headers under lower-case names; the values of a repeated one are joined."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def caller_of(authentication: Authentication, request: Request) -> Key | None:
    """Return the caller's key, by the head alone. Raises Unauthenticated and Forbidden."""
    scope = request.scope
    raw_path, query = scope["raw_path"].decode("ascii"), scope["query_string"].decode("ascii")
    # Only AWS's signatures cover a body; other doors take bearer keys.
    return authentication.identify(request.method, raw_path, query, headers_of(request), b"")
