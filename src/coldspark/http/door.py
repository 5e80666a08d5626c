"""A door on the hot path: one client protocol's invocations.

It says which requests are invocations of its own, and puts requests and errors from and into its
clients' words. It never decides anything about replicas. The whole door is ``doors/door.py``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from coldspark.errors import ColdsparkError, NotFound
from coldspark.http.head import Head
from coldspark.platform.ports import Invocation, Key, Platform, Receipt
from coldspark.spec.types import EndpointName, RequestId, VariantName

BODY_BYTES_MAX = 64 * 1024 * 1024
"""For a body whose endpoint is not known before it is read."""


Headers = Sequence[tuple[str, str]]
Reply = tuple[int, Headers, bytes]
"""Status, headers, body."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a hot request goes. Made once per URL and shared by all requests for it."""

    door: "InvocationDoor"
    endpoint: EndpointName | None
    """None: the body says."""
    path: str | None = None
    """The path to call on a command's server, None for its ``invoke_path``."""
    wrap: Callable[[bytes], bytes] | None = None
    """Puts each piece of a streamed reply into frames of the door's own."""
    is_retried: bool = False
    """Its clients send an invocation again, under the same id, when no answer came in time."""


class InvocationDoor(Protocol):
    """One client protocol on the hot path."""

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of an invocation, or None for anything else. Pure: it is cached."""

    def body_bytes_max(self, route: Route, platform: Platform) -> int:
        """Return how long a body may be. Asked only about long ones."""

    def invocation(
        self,
        route: Route,
        head: Head,
        body: bytes,
        key: Key | None,
        request: RequestId,
        started_s: float,
    ) -> Invocation:
        """Turn a whole request into an invocation. Raises ColdsparkError."""

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Return a replica's whole reply as the door's clients are to see it."""

    def begin(
        self,
        route: Route,
        request: RequestId,
        status: int,
        headers: Headers,
        variant: VariantName | None,
    ) -> tuple[int, Headers] | None:
        """Return the head of a replica's streamed reply as the door's clients are to see it.

        None: to them it is no stream; it goes through ``reply`` once it is here.
        """

    def failure(
        self, route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
    ) -> Reply:
        """Put an error into the words of the door's clients; a receipt says who worked on it."""

    def stream_error(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Return the last words of a stream (of content type ``media``) that breaks, or none."""


def endpoint_body_bytes_max(platform: Platform, endpoint: EndpointName) -> int:
    """Return the longest body that some variant of an endpoint takes."""
    try:
        view = platform.endpoint(endpoint)
    except NotFound:
        return BODY_BYTES_MAX  # Told once the body is read, as for every other request.
    limits = (variant.revision.spec.limits.body_bytes_max for variant in view.variants)
    return max(limits, default=BODY_BYTES_MAX)
