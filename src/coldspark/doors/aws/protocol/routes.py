"""``POST /``: every AWS service that speaks JSON or query, on one port.

The service is told by the request, never by configuration: first by ``X-Amz-Target``, then by a
form's ``Version``, at last by the signature's scope. The answer goes back in the protocol that the
question came in: the same client library changed its protocol between two of its versions.

A caller needs the scope that the operation asks for, for every name that the request mentions.
Who calls is found by the server's own ``identify``: it checks the key or signature (see
``http/auth``), and keeps web pages out while there are no keys.
"""

import asyncio
import logging
import uuid
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Never

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from coldspark.doors.aws.protocol import errors, query
from coldspark.doors.aws.protocol.credential_scope import scope_of
from coldspark.doors.aws.protocol.errors import AwsError
from coldspark.doors.aws.protocol.operations import (
    AwsOperation,
    OperationRequest,
    Service,
    Timestamp,
)
from coldspark.doors.aws.protocol.request import Body
from coldspark.doors.aws.protocol.shapes import check
from coldspark.doors.door import headers_of
from coldspark.errors import BodyTooLarge, ColdsparkError
from coldspark.http.auth.scopes import authorize
from coldspark.platform.ports import Key

_log = logging.getLogger(__name__)

Identify = Callable[[str, str, str, Mapping[str, str], bytes], Key | None]
"""Method, raw path, raw query, headers (lower-case) and body, to the caller's key."""

_BODY_BYTES_MAX = 1024 * 1024
"""As it is sent, where the service is not known to take more."""
_FORM = "application/x-www-form-urlencoded"
CBOR_PATH = "/service/{service}/operation/{operation}"
"""Where clients call that speak Smithy's rpc-v2-cbor: they are told of the other protocols."""
_UNKNOWN = Service(signing_name="", operations={})


@dataclass(frozen=True, slots=True)
class _Question:
    """A request, so far as its head tells."""

    service: Service
    word: str
    """The operation's name."""
    form: dict[str, str] | None
    """In the query protocol; None in JSON."""
    request_id: str

    @property
    def is_query(self) -> bool:
        return self.form is not None


def aws_endpoint(
    services: Iterable[Service], identify: Identify
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint for ``POST /``."""
    known = tuple(services)
    changes = {service.signing_name: asyncio.Lock() for service in known}
    sent_max = max([_BODY_BYTES_MAX, *(service.body_bytes_max for service in known)])

    async def endpoint(request: Request) -> Response:
        form: dict[str, str] | None = {} if _is_form(request.headers) else None
        question = _Question(_UNKNOWN, "", form, str(uuid.uuid4()))
        try:
            sent = await _read(request, sent_max)
            headers = headers_of(request)
            key = identify(request.method, *_address(request), headers, sent)
            body = _plain(headers, sent, sent_max)
            if request.path_params:
                _refuse_cbor()
            question = _question(known, headers, body, question.request_id)
            operation = _operation(question)
            asked = OperationRequest(
                body=_checked(question, operation, body),
                region=scope_of(headers.get("authorization", "")).region,
                key=key,
                host=headers.get("host", "localhost"),
            )
            _authorize(operation, asked)
            if operation.is_change:
                async with changes[question.service.signing_name]:
                    answer = await operation.run(asked)
            else:
                answer = await operation.run(asked)
        except ColdsparkError as error:
            return _refusal(question, error)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001
            # The task's outermost edge: the caller is told in AWS's words, and the log the rest.
            _log.exception("%s %s failed", question.service.signing_name, question.word)
            return _refusal(question, ColdsparkError("The server made a mistake: see its log."))
        return _answer(question, answer)

    return endpoint


def _refuse_cbor() -> Never:
    raise AwsError(
        "UnknownOperationException",
        "rpc-v2-cbor is not served here: ask POST / in JSON or query, as boto3 does.",
    )


def _question(
    services: tuple[Service, ...], headers: Mapping[str, str], body: bytes, request_id: str
) -> _Question:
    target = headers.get("x-amz-target")
    if target is not None:
        for service in services:
            if service.target is not None and target.startswith(service.target):
                return _Question(service, target[len(service.target) :], None, request_id)
        _unknown_target(target, services)
    if _is_form(headers):
        form = query.form_of(body)
        for service in services:
            if service.query_version is not None and service.query_version == form.get("Version"):
                return _Question(service, form.get("Action", ""), form, request_id)
    signed = scope_of(headers.get("authorization", "")).service
    raise AwsError(
        "UnknownOperationException",
        "The request names no operation: it has neither an X-Amz-Target header nor a form with "
        f"Action and Version of a service that is served here (signed for: {signed or 'nobody'}).",
    )


def _is_form(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith(_FORM)


def _unknown_target(target: str, services: tuple[Service, ...]) -> Never:
    names = ", ".join(sorted(one.target for one in services if one.target is not None))
    raise AwsError(
        "UnknownOperationException",
        f"X-Amz-Target '{target[:128]}' is of no service that is served here; there are {names}",
    )


def _operation(question: _Question) -> AwsOperation:
    service = question.service
    operation = service.operations.get(question.word)
    if operation is None:
        message = (
            f"'{service.target or ''}{question.word[:128]}' is not an operation that is served "
            f"here; there are {', '.join(service.operations)}."
        )
        if question.word in service.instead:
            message = f"{question.word} is not served here: use {service.instead[question.word]}."
        raise AwsError(
            "InvalidAction" if question.is_query else "UnknownOperationException", message
        )
    return operation


def _members(question: _Question, operation: AwsOperation, body: bytes) -> object:
    if question.form is not None:
        return query.members(question.form, operation.shape)
    try:
        return msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec raises the last two for text that is not UTF-8, and for thousands of brackets.
        raise AwsError("SerializationException", f"The body is not JSON: {error}.") from None


def _checked(question: _Question, operation: AwsOperation, body: bytes) -> Body:
    members = _members(question, operation, body)
    return check(operation.shape, members, question.service.invalid_type)


def _authorize(operation: AwsOperation, asked: OperationRequest) -> None:
    if operation.is_open:
        return
    names = list(operation.names(asked.body))
    for name in names:
        authorize(asked.key, operation.action, name)
    if not names:
        authorize(asked.key, operation.action)


def _address(request: Request) -> tuple[str, str]:
    raw_path = request.scope.get("raw_path", b"/").decode("latin-1")
    return raw_path, request.scope["query_string"].decode("latin-1")


async def _read(request: Request, bytes_max: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bytes_max:
            raise BodyTooLarge(f"The request's body is over the limit of {bytes_max} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def _plain(headers: Mapping[str, str], sent: bytes, bytes_max: int) -> bytes:
    """Return the body without its compression, which PutMetricData uses. Bombs are refused."""
    if headers.get("content-encoding", "").lower() != "gzip":
        return sent
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(sent, bytes_max)
    except zlib.error as error:
        raise AwsError("SerializationException", f"The body is not gzip: {error}.") from None
    if unpacker.unconsumed_tail:
        raise BodyTooLarge(f"The request's body unpacks to more than {bytes_max} bytes.")
    return plain


def _refusal(question: _Question, error: ColdsparkError) -> Response:
    service = question.service
    told = errors.to_aws_error(error, service.types)
    if question.is_query:
        xml = errors.xml_body(told, service.namespace, question.request_id)
        return _reply(question, told.status, xml)
    reply = _reply(question, told.status, errors.json_body(told))
    if service.query_version is not None:
        name, value = errors.query_header(told)
        reply.headers[name] = value
    return reply


def _answer(question: _Question, answer: object) -> Response:
    if question.is_query:
        body = query.xml_of(question.word, answer, question.service.namespace, question.request_id)
    elif answer is None:
        # An operation without an output shape, such as a delete, answers with no body on AWS.
        body = b""
    else:
        body = msgspec.json.encode(answer, enc_hook=_encode)
    return _reply(question, 200, body)


def _encode(value: object) -> object:
    assert isinstance(value, Timestamp), type(value)
    return value.at_ms / 1_000


def _reply(question: _Question, status: int, body: bytes) -> Response:
    headers = {"x-amzn-RequestId": question.request_id}
    if question.is_query:
        headers["Content-Type"] = "text/xml"
    else:
        headers["Content-Type"] = f"application/x-amz-json-{question.service.json_version}"
    return Response(body, status, headers)
