"""``POST /endpoints/{name}/invocations`` as a door: AWS's words, on the hot path."""

from coldspark.core.types import EndpointName, RequestId
from coldspark.errors import ColdsparkError
from coldspark.gateway.doors import Headers, Reply, Route, endpoint_body_bytes_max
from coldspark.gateway.head import Head
from coldspark.gateway.sagemaker import invocations
from coldspark.runtime.ports import Invocation, Key, Platform, Receipt


class SageMakerDoor:
    """Implements ``Door`` with the functions of ``gateway/sagemaker/invocations.py``."""

    def match(self, method: str, raw_path: str, query: str) -> Route | None:
        """Return the route of an invocation."""
        name = invocations.match(method, raw_path)
        return None if name is None else Route(self, EndpointName(name))

    def body_bytes_max(self, route: Route, platform: Platform) -> int:
        """Return the endpoint's own limit."""
        assert route.endpoint is not None
        return endpoint_body_bytes_max(platform, route.endpoint)

    def invocation(
        self, route: Route, head: Head, body: bytes, key: Key | None, request: RequestId
    ) -> Invocation:
        """Read AWS's headers."""
        assert route.endpoint is not None
        return invocations.invocation(
            route.endpoint,
            head.headers,
            body,
            request=request,
            started_s=head.started_s,
            key=None if key is None else key.id,
        )

    def reply(self, route: Route, request: RequestId, reply: Reply, receipt: Receipt) -> Reply:
        """Turn a container's error into a ModelError; let it say what AWS lets it say."""
        status, headers, body = reply
        variant = receipt.usage.variant
        error = invocations.replica_error_reply(
            status, body, request=request, endpoint=route.endpoint, variant=variant
        )
        if error is not None:
            return error
        return status, invocations.reply_headers(request, variant, headers), body

    def begin(
        self, route: Route, request: RequestId, status: int, headers: Headers
    ) -> tuple[int, Headers]:
        """Let the head of a stream say what AWS lets it say."""
        error = invocations.replica_error_reply(
            status, b"(streamed)", request=request, endpoint=route.endpoint
        )
        if error is not None:
            return error[0], error[1]
        return status, invocations.reply_headers(request, None, headers)

    def failure(self, route: Route, request: RequestId, error: ColdsparkError) -> Reply:
        """Tell the error as AWS does."""
        return invocations.error_reply(error, request=request, endpoint=route.endpoint)

    def broken(self, request: RequestId, error: ColdsparkError, media: str) -> bytes:
        """Say nothing: a body of a replica's own kind has no place for it."""
        return b""
