"""``/v1/endpoints/{name}/invoke``: the native door's hot path.

``POST …/invoke`` calls the handler (or a command's ``invoke_path``). Whatever follows ``/invoke``
is passed on to a command's own server, with any method: an endpoint can be a whole web service.
"""

from urllib.parse import unquote

from coldspark.doors.native.errors import error_json, error_reply
from coldspark.errors import ColdsparkError
from coldspark.http.door import Headers, Reply, Route, endpoint_body_bytes_max
from coldspark.http.head import Head
from coldspark.platform.ports import Invocation, Key, Platform, Receipt
from coldspark.spec.types import EndpointName, RequestId, VariantName

_PREFIX = "/v1/endpoints/"
_INVOKE = "/invoke"
_VARIANT = "x-coldspark-variant"
"""Names the variant that shall answer; without it the weights choose."""


class NativeDoor:
    """Implements ``InvocationDoor``."""

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of an invocation."""
        if not raw_path.startswith(_PREFIX):
            return None
        name, slash, rest = raw_path[len(_PREFIX) :].partition("/")
        path = f"{slash}{rest}".removeprefix(_INVOKE)
        if not name or path == f"{slash}{rest}" or path[:1] not in ("", "/"):
            return None
        if not path and method != "POST":
            return None
        endpoint = EndpointName(unquote(name))
        if not path:
            return Route(self, endpoint)
        return Route(self, endpoint, f"{path}?{query}" if query else path)

    def body_bytes_max(self, route: Route, platform: Platform) -> int:
        """Return the endpoint's own limit."""
        assert route.endpoint is not None
        return endpoint_body_bytes_max(platform, route.endpoint)

    def invocation(
        self,
        route: Route,
        head: Head,
        body: bytes,
        key: Key | None,
        request: RequestId,
        started_s: float,
    ) -> Invocation:
        """Pass the request on as it is."""
        assert route.endpoint is not None
        variant = head.headers.get(_VARIANT)
        return Invocation(
            endpoint=route.endpoint,
            variant=None if variant is None else VariantName(variant),
            method=head.method,
            path=route.path,
            content_type=head.headers.get("content-type"),
            accept=head.headers.get("accept"),
            headers=head.passed,
            body=body,
            key=None if key is None else key.id,
            started_s=started_s,
            request=request,
        )

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Pass the reply on as it is."""
        return reply

    def begin(
        self,
        route: Route,
        request: RequestId,
        status: int,
        headers: Headers,
        variant: VariantName | None,
    ) -> tuple[int, Headers]:
        """Pass the head on as it is."""
        return status, headers

    def failure(
        self, route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
    ) -> Reply:
        """Tell the error as JSON."""
        return error_reply(error, request)

    def stream_error(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Tell the error as an event where the stream has events."""
        if not media.startswith("text/event-stream"):
            return b""
        return b"event: error\ndata: %b\n\n" % error_json(error, request)
