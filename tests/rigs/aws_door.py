"""The AWS door on a small Starlette app: its control plane, and the invocation route."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fake_services import FakeDocuments, FakeKeys
from sagemaker_fakes import AnsweringPlatform, Clock
from service_model import problems
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from coldspark import clock
from coldspark.doors.aws.protocol.operations import Service
from coldspark.doors.aws.protocol.routes import aws_endpoint
from coldspark.doors.aws.sagemaker.operations import sagemaker
from coldspark.doors.aws.sagemaker.runtime import invocations
from coldspark.doors.aws.sagemaker.runtime.replies import Reply as AwsReply
from coldspark.errors import ColdsparkError
from coldspark.http.auth.authenticator import Authenticator
from coldspark.http.auth.scopes import KeyAction, authorize
from coldspark.platform import catalogue
from coldspark.platform.ports import Key, Receipt
from coldspark.spec.types import Failure, RequestId

BASE_URL = "http://coldspark.test:8080"


@dataclass
class Caught:
    """A sink that keeps the one answer that a fake platform gives."""

    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    receipt: Receipt | None = None
    failure: Failure | None = None

    def reply(
        self, status: int, headers: Sequence[tuple[str, str]], body: bytes, receipt: Receipt
    ) -> None:
        self.status, self.headers, self.body, self.receipt = status, headers, body, receipt

    def fail(self, failure: Failure, receipt: Receipt | None) -> None:
        self.failure, self.receipt = failure, receipt

    def begin(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        raise AssertionError("the fake platform does not stream")

    def write(self, chunk: bytes) -> None:
        raise AssertionError("the fake platform does not stream")

    def end(self, receipt: Receipt) -> None:
        raise AssertionError("the fake platform does not stream")


class Door:
    """The door, its fakes, and an app that serves it as the gateway's server does."""

    def __init__(self, keys: Iterable[Key] = (), *, body_bytes_max: int = 1024 * 1024) -> None:
        self.clock = Clock()
        self.documents = FakeDocuments(self.clock)
        self.platform = AnsweringPlatform(self.clock)
        self.body_bytes_max = body_bytes_max
        self.authenticator = Authenticator(FakeKeys(keys))
        self.app: Starlette
        self.serve(sagemaker(self.platform, self.documents, catalogue.load()))

    def serve(self, service: Service) -> None:
        """Let another service answer, such as one with other neighbours."""
        self.service = service
        endpoint = aws_endpoint([service], self._identify)
        self.app = Starlette(
            routes=[
                Route("/", endpoint, methods=["POST"]),
                Route("/{path:path}", self._invoke, methods=["POST"]),
            ]
        )

    def call(self, operation: str, **members: object) -> dict[str, object]:
        """Call an operation in this process; its answer must please botocore's own model."""
        status, answer = self.ask(operation, members)
        assert status == 200, answer
        assert problems(operation, answer) == []
        return answer or {}

    def refusal(self, operation: str, **members: object) -> tuple[str, str]:
        """Call an operation that is refused; return type and message."""
        status, answer = self.ask(operation, members)
        assert status == 400, answer
        assert answer is not None
        assert set(answer) == {"__type", "message"}
        return str(answer["__type"]), str(answer["message"])

    def ask(
        self, operation: str, members: Mapping[str, object]
    ) -> tuple[int, dict[str, object] | None]:
        """Return status and JSON body, None for an empty one."""
        client = TestClient(self.app, base_url=BASE_URL)
        headers = {"X-Amz-Target": f"SageMaker.{operation}"}
        response = client.post("/", content=json.dumps(members), headers=headers)
        assert response.headers["content-type"] == "application/x-amz-json-1.1"
        assert response.headers["x-amzn-requestid"]
        return response.status_code, response.json() if response.content else None

    def _identify(
        self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> Key | None:
        return self.authenticator.authenticate(
            method, path, query, headers, body, now_ms=clock.wall_ms()
        )

    async def _invoke(self, request: Request) -> Response:
        raw_path = request.scope["raw_path"].decode("latin-1")
        name = invocations.match(request.method, raw_path)
        assert name is not None, raw_path
        request_id = RequestId("11111111-2222-4333-8444-555555555555")
        body = await request.body()
        try:
            headers = dict(request.headers.items())
            key = self._identify(request.method, raw_path, "", headers, body)
            authorize(key, KeyAction.INVOKE, name)
            invocation = invocations.invocation(
                name,
                headers,
                body,
                request=request_id,
                started_s=clock.monotonic_s(),
                key=None if key is None else key.id,
            )
        except ColdsparkError as error:
            return _response(invocations.error_reply(error, request=request_id, endpoint=name))
        caught = Caught()
        self.platform.submit(invocation, caught)
        return _response(_answer(caught, name, request_id))


def _answer(caught: Caught, name: str, request: RequestId) -> AwsReply:
    stream = invocations.log_stream(caught.receipt)
    if caught.failure is not None:
        return invocations.error_reply(
            caught.failure, request=request, endpoint=name, stream=stream
        )
    assert caught.receipt is not None
    variant = caught.receipt.usage.variant
    refused = invocations.replica_error_reply(
        caught.status, caught.body, request=request, endpoint=name, stream=stream
    )
    if refused is not None:
        return refused
    return caught.status, invocations.reply_headers(request, variant, caught.headers), caught.body


def _response(reply: AwsReply) -> Response:
    status, headers, body = reply
    response = Response(body, status)
    response.raw_headers = [
        *(pair for pair in response.raw_headers if pair[0] == b"content-length"),
        *((name.encode(), value.encode()) for name, value in headers),
    ]
    return response
