"""The S3 door as an ASGI app: who asks, which operation, and errors in S3's words.

A request is told apart by its method, by whether its path has a key, and by the first parameter
of its query that is a word of S3's.
"""

import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from coldspark.doors.aws.protocol.credential_scope import DEFAULT_REGION, scope_of
from coldspark.doors.aws.s3 import unsupported_operations
from coldspark.doors.aws.s3.bucket_names import ReservedNames
from coldspark.doors.aws.s3.buckets import BucketOperations
from coldspark.doors.aws.s3.errors import S3Error, body_of, code_of, not_implemented
from coldspark.doors.aws.s3.multipart import MultipartOperations
from coldspark.doors.aws.s3.objects import ObjectOperations
from coldspark.doors.aws.s3.request import S3Request, check_headers, joined, parameters, split_path
from coldspark.errors import ColdsparkError
from coldspark.http.auth.authentication import Authentication
from coldspark.http.auth.s3_signatures import headers_with_presigned
from coldspark.http.auth.scopes import KeyAction
from coldspark.objects.local_buckets import LocalBuckets

log = logging.getLogger(__name__)

Operation = Callable[[S3Request], Awaitable[Response]]

_WORDS = ("delete", "list-type", "location", "uploadId", "uploads")
"""Parameters that choose an operation which is served."""


def with_s3(
    own: LocalBuckets, gate: Authentication, others: ASGIApp, reserved: ReservedNames
) -> ASGIApp:
    """Return an app that serves S3's paths, and leaves those of other doors to them."""
    door = S3App(own, gate, reserved)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        chosen = door if scope["type"] == "http" and _is_s3(scope, reserved) else others
        await chosen(scope, receive, send)

    return app


def _is_s3(scope: Scope, reserved: ReservedNames) -> bool:
    raw_path: bytes = scope["raw_path"]
    if raw_path != b"/":
        word, _, rest = raw_path[1:].partition(b"/")
        if raw_path[:1] != b"/" or not word:
            return False
        # Nobody else is asked so: whoever would make such a bucket hears why there can be none.
        is_new_bucket = scope["method"] == "PUT" and not rest
        return is_new_bucket or word.decode("latin-1") not in reserved
    if scope["method"] not in ("GET", "HEAD"):
        return False
    # What is at ``/`` depends on who asks: a person, or a client of S3.
    query: bytes = scope["query_string"]
    if b"Signature=" in query or b"x-id=ListBuckets" in query:
        return True
    return any(
        name.startswith(b"x-amz-") or (name == b"authorization" and value.startswith(b"AWS"))
        for name, value in scope["headers"]
    )


class S3App:
    """Answers for S3."""

    def __init__(self, own: LocalBuckets, gate: Authentication, reserved: ReservedNames) -> None:
        self._own = own
        self._gate = gate
        buckets, objects, parts = (
            BucketOperations(own, reserved),
            ObjectOperations(own),
            MultipartOperations(own),
        )
        self._on_service: dict[tuple[str, str], Operation] = {("GET", ""): buckets.list_all}
        self._on_bucket: dict[tuple[str, str], Operation] = {
            ("PUT", ""): buckets.create,
            ("HEAD", ""): buckets.head,
            ("DELETE", ""): buckets.delete,
            ("GET", ""): buckets.objects,
            ("GET", "list-type"): buckets.objects_v2,
            ("GET", "location"): buckets.location,
            ("GET", "uploads"): parts.uploads,
            ("POST", "delete"): objects.delete_many,
        }
        self._on_object: dict[tuple[str, str], Operation] = {
            ("PUT", ""): objects.put,
            ("PUT", "copy"): objects.copy,
            ("GET", ""): objects.get,
            ("HEAD", ""): objects.head,
            ("DELETE", ""): objects.delete,
            ("POST", "uploads"): parts.begin,
            ("PUT", "uploadId"): parts.put,
            ("PUT", "uploadId copy"): parts.copy,
            ("POST", "uploadId"): parts.complete,
            ("DELETE", "uploadId"): parts.abort,
            ("GET", "uploadId"): parts.parts,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request = Request(scope, receive)
        request_id = secrets.token_hex(8).upper()
        try:
            answer = await self._answer(request)
        except ColdsparkError as error:
            answer = _refusal(request, error, request_id)
        except Exception:
            # The task's outermost edge: the caller is told in S3's words, and the log the rest.
            log.exception("a request to object storage failed")
            failure = ColdsparkError("We encountered an internal error. See the server's log.")
            answer = _refusal(request, failure, request_id)
        answer.headers["x-amz-request-id"] = request_id
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        raw_path = request.scope["raw_path"].decode("latin-1")
        raw_query = request.scope["query_string"].decode("latin-1")
        sent = joined(request.scope["headers"])
        _refuse_virtual_hosts(sent.get("host", ""))
        proof = self._gate.identify_object(
            request.method, raw_path, raw_query, sent, is_local=_is_local(request)
        )
        self._gate.allow(proof.key, KeyAction.DEPLOY)
        bucket, key = split_path(raw_path)
        call = S3Request(
            request=request,
            bucket=bucket,
            key=key,
            query=parameters(raw_query),
            headers=headers_with_presigned(sent, raw_query),
            proof=proof,
            region=_region(sent),
        )
        check_headers(call.headers)
        return await self._operate(call)

    async def _operate(self, call: S3Request) -> Response:
        what = next(
            (word for word in call.query if word in unsupported_operations.SUBRESOURCES), None
        )
        if what is not None and call.bucket:
            return await unsupported_operations.answer_unsupported(self._own, call, what)
        word = next((word for word in _WORDS if word in call.query), "")
        if call.method == "PUT" and "x-amz-copy-source" in call.headers:
            word = f"{word} copy".strip()
        known = (
            self._on_object if call.key else self._on_bucket if call.bucket else self._on_service
        )
        operation = known.get((call.method, word))
        if operation is None:
            path = "/bucket/key" if call.key else "/bucket" if call.bucket else "/"
            asked = f"{call.method} {path}{f'?{word}' if word else ''}"
            if call.method not in ("GET", "HEAD", "PUT", "POST", "DELETE"):
                raise S3Error(
                    "MethodNotAllowed", "The specified method is not allowed: " + asked, 405
                )
            not_implemented(asked, "no operation that is served here is asked for so")
        return await operation(call)


def _refusal(request: Request, error: ColdsparkError, request_id: str) -> Response:
    _, status = code_of(error)
    # A HEAD has no body: clients make a code of the status.
    body = b"" if request.method == "HEAD" else body_of(error, request.scope["path"], request_id)
    return Response(body, status, media_type="application/xml")


def _refuse_virtual_hosts(host: str) -> None:
    name = host.rpartition(":")[0] or host
    if name.endswith(".localhost"):
        not_implemented(
            f"The bucket in the host's name ({name[:100]})",
            "use path-style addresses (boto3: Config(s3={'addressing_style': 'path'}))",
        )


def _is_local(request: Request) -> bool:
    client = request.client
    if client is None:
        return False
    try:
        return ipaddress.ip_address(client.host).is_loopback
    except ValueError:
        return False


def _region(headers: dict[str, str]) -> str:
    authorization = headers.get("authorization", "")
    return scope_of(authorization).region if authorization else DEFAULT_REGION
