"""SageMaker's runtime as a door: AWS's words, on the hot path.

``POST /endpoints/{name}/invocations`` answers as the container does. ``…-response-stream`` answers
in an event stream: each piece of the reply is an event as soon as it is here.
"""

from coldspark.doors.aws.sagemaker.runtime import event_stream, invocations
from coldspark.doors.aws.sagemaker.runtime.replies import is_models_fault
from coldspark.errors import ColdsparkError
from coldspark.http.door import Headers, Reply, Route, endpoint_body_bytes_max
from coldspark.http.head import Head
from coldspark.platform.ports import Invocation, Key, Platform, Receipt
from coldspark.spec.types import EndpointName, RequestId, VariantName


class SageMakerDoor:
    """Implements ``InvocationDoor`` with the functions of ``invocations``."""

    def __init__(self) -> None:
        self._events = EventStreamDoor()

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of an invocation, or of one that asks for events."""
        name = invocations.match(method, raw_path)
        if name is None:
            return self._events.match(method, raw_path, query)
        return Route(self, EndpointName(name), is_retried=True)

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
        """Read AWS's headers."""
        return _invocation(route, head, body, key, request, started_s, is_stream=False)

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Turn a container's error into a ModelError; let it say what AWS lets it say."""
        status, headers, body = reply
        variant = receipt.usage.variant
        error = invocations.replica_error_reply(
            status,
            body,
            request=request,
            endpoint=route.endpoint,
            stream=invocations.log_stream(receipt),
        )
        if error is not None:
            return error
        return status, invocations.reply_headers(request, variant, headers), body

    def begin(
        self,
        route: Route,
        request: RequestId,
        status: int,
        headers: Headers,
        variant: VariantName | None,
    ) -> tuple[int, Headers] | None:
        """Let the head of a stream say what AWS lets it say; an error is told whole."""
        if status >= 400:
            return None
        return status, invocations.reply_headers(request, variant, headers)

    def failure(
        self, route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
    ) -> Reply:
        """Tell the error as AWS does."""
        return _failure(route, request, error, receipt)

    def stream_error(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Say nothing: a body of a replica's own kind has no place for it."""
        return b""


class EventStreamDoor:
    """Implements ``InvocationDoor`` for those who ask for a stream of events."""

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route."""
        name = invocations.match_stream(method, raw_path)
        if name is None:
            return None
        wrap = event_stream.payload_parts
        return Route(self, EndpointName(name), wrap=wrap, is_retried=True)

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
        """Read AWS's headers."""
        return _invocation(route, head, body, key, request, started_s, is_stream=True)

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Put a whole reply into as few events as hold it."""
        status, headers, body = reply
        variant = receipt.usage.variant
        error = invocations.replica_error_reply(
            status,
            body,
            request=request,
            endpoint=route.endpoint,
            stream=invocations.log_stream(receipt),
        )
        if error is not None:
            return error
        told = invocations.stream_headers(request, variant, headers)
        return status, told, event_stream.payload_parts(body)

    def begin(
        self,
        route: Route,
        request: RequestId,
        status: int,
        headers: Headers,
        variant: VariantName | None,
    ) -> tuple[int, Headers] | None:
        """Begin a stream of events; an error before it is an ordinary one."""
        if status >= 400:
            return None
        return status, invocations.stream_headers(request, variant, headers)

    def failure(
        self, route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
    ) -> Reply:
        """Tell an error before the stream as any other."""
        return _failure(route, request, error, receipt)

    def stream_error(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Tell the error as the event from which clients raise."""
        return event_stream.exception(error, is_models=is_models_fault(error))


def _invocation(
    route: Route,
    head: Head,
    body: bytes,
    key: Key | None,
    request: RequestId,
    started_s: float,
    *,
    is_stream: bool,
) -> Invocation:
    assert route.endpoint is not None
    return invocations.invocation(
        route.endpoint,
        head.headers,
        body,
        request=request,
        started_s=started_s,
        key=None if key is None else key.id,
        is_stream=is_stream,
    )


def _failure(
    route: Route, request: RequestId, error: ColdsparkError, receipt: Receipt | None
) -> Reply:
    return invocations.error_reply(
        error, request=request, endpoint=route.endpoint, stream=invocations.log_stream(receipt)
    )
