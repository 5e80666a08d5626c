"""``POST /endpoints/{name}/async-invocations``: a job is taken, and the answer says where it ends.

The answer leaves once the job is durable. Errors are those of an invocation: see ``replies``.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coldspark.doors.aws.protocol.credential_scope import ACCOUNT, scope_of
from coldspark.doors.aws.sagemaker.annotations import annotations_of
from coldspark.doors.aws.sagemaker.asynchronous.jobs import AsyncJobs
from coldspark.doors.aws.sagemaker.records import AsyncConfig, read
from coldspark.doors.aws.sagemaker.runtime.replies import Reply, error_reply
from coldspark.doors.door import DoorDependencies
from coldspark.errors import ColdsparkError, InvalidRequest
from coldspark.http.auth.scopes import KeyAction
from coldspark.http.request_ids import request_ids
from coldspark.jobs.messages import JobId
from coldspark.jobs.ports import JobOrder
from coldspark.platform.ports import EndpointView, Key
from coldspark.spec.types import EndpointName

PATH = "/endpoints/{name}/async-invocations"
DOOR = "sagemaker"
INLINE_BYTES_MAX = 128_000

_HEADER = "x-amzn-sagemaker-"
_TTL_S, _TTL_S_MIN, _TTL_S_MAX = 21_600, 60, 21_600
_TIMEOUT_S = 900
_TEXTS: Mapping[str, tuple[int, re.Pattern[str]]] = {
    "content-type": (1_024, re.compile(r"[ -~]*")),
    "accept": (1_024, re.compile(r"[ -~]*")),
    "custom-attributes": (1_024, re.compile(r"[ -~]*")),
    "inference-id": (64, re.compile(r"[!-~][ -~]*")),
    "inputlocation": (1_024, re.compile(r"(https|s3)://[^/]+/?.*")),
    "s3outputpathextension": (512, re.compile(r"(?!s3:|https:)[a-zA-Z0-9!_.*'()/-]+")),
    "filename": (32, re.compile(r"(?!.*\..*\.)[a-zA-Z0-9][a-zA-Z0-9\-_.]*")),
}
"""The most characters and the pattern of each header, as AWS has them."""
_NUMBERS = ("requestttlseconds", "invocationtimeoutseconds")
_S3_HOST = re.compile(r"(?:(?P<bucket>[^/]+)\.)?s3[.-](?:[a-z0-9-]+\.)?amazonaws\.com")


def async_invocations(
    dependencies: DoorDependencies,
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint."""
    jobs, ids = AsyncJobs.of(dependencies), request_ids()

    async def endpoint(request: Request) -> Response:
        name = EndpointName(unquote(request.path_params["name"]))
        id = next(ids)
        try:
            reply = await _taken(dependencies, jobs, request, name, JobId(id))
        except ColdsparkError as error:
            reply = error_reply(error, request=id, endpoint=name)
        status, headers, body = reply
        return Response(body, status, dict(headers))

    return endpoint


async def _taken(
    dependencies: DoorDependencies,
    jobs: AsyncJobs | None,
    request: Request,
    name: EndpointName,
    id: JobId,
) -> Reply:
    headers = dict(request.headers.items())
    body = await _body(request)
    raw_path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
    authentication = dependencies.authentication
    key = authentication.identify(request.method, raw_path, query, headers, body)
    authentication.allow(key, KeyAction.INVOKE, name)
    view = dependencies.platform.endpoint(name)
    config = _config(view)
    if jobs is None:
        raise InvalidRequest("Asynchronous invocations are not supported by this server.")
    asked = _asked(headers)
    order = _order(asked, config, jobs, key, id, region=_region(headers), has_body=bool(body))
    limit_s = min(variant.revision.spec.limits.request_timeout_s for variant in view.variants)
    await jobs.runner.accept(
        name,
        order,
        body,
        id=id,
        ttl_s=_number(asked, "requestttlseconds", _TTL_S, _TTL_S_MIN, _TTL_S_MAX),
        timeout_s=_number(
            asked, "invocationtimeoutseconds", min(_TIMEOUT_S, int(limit_s)), 1, int(limit_s)
        ),
    )
    return _answer(order, id)


def _answer(order: JobOrder, id: JobId) -> Reply:
    headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", id)]
    if order.output_url is not None:
        headers.append(("X-Amzn-SageMaker-OutputLocation", order.output_url))
    if order.failure_url is not None:
        headers.append(("X-Amzn-SageMaker-FailureLocation", order.failure_url))
    return 202, headers, msgspec.json.encode({"InferenceId": order.label})


def _config(view: EndpointView) -> AsyncConfig:
    note = annotations_of(view.definition)
    if note is None or note.asynchronous is None:
        raise InvalidRequest(
            f"Endpoint {view.name} of account {ACCOUNT} is not an asynchronous endpoint: its "
            "configuration has no AsyncInferenceConfig. Call InvokeEndpoint."
        )
    return read(AsyncConfig, note.asynchronous)


def _asked(headers: Mapping[str, str]) -> dict[str, str]:
    """Return AWS's headers by the part of their names that tells them apart, checked."""
    asked = {
        name[len(_HEADER) :]: value for name, value in headers.items() if name.startswith(_HEADER)
    }
    for name, value in asked.items():
        if name in _NUMBERS:
            continue
        if name not in _TEXTS:
            raise InvalidRequest(f"{_HEADER}{name} is not a header of InvokeEndpointAsync.")
        chars_max, pattern = _TEXTS[name]
        if not value or len(value) > chars_max:
            _refuse(name, value, f"have length between 1 and {chars_max}")
        if not pattern.fullmatch(value):
            _refuse(name, value, f"satisfy regular expression pattern: {pattern.pattern}")
    return asked


def _order(
    asked: Mapping[str, str],
    config: AsyncConfig,
    jobs: AsyncJobs,
    key: Key | None,
    id: JobId,
    *,
    region: str,
    has_body: bool,
) -> JobOrder:
    location = asked.get("inputlocation")
    if (location is None) is not has_body:
        raise InvalidRequest(
            "Exactly one of InputLocation and Body must be given: they exclude each other."
        )
    output, label = config.output_config, asked.get("inference-id", id)
    told = output.notification_config
    extension = asked.get("s3outputpathextension", "").strip("/")
    topics = {"success_topic": told.success_topic, "error_topic": told.error_topic}
    details = {name: topic for name, topic in topics.items() if topic is not None}
    included = [word.partition("_")[0].lower() for word in told.include_inference_response_in]
    passed = {"custom-attributes": asked.get("custom-attributes"), "inference-id": label}
    return JobOrder(
        door=DOOR,
        label=label,
        content_type=asked.get("content-type"),
        accept=asked.get("accept"),
        headers=tuple((_HEADER + name, text) for name, text in passed.items() if text is not None),
        key=None if key is None else key.id,
        input_url=None if location is None else _s3_url(location),
        output_url=_joined(output.s3_output_path, extension, asked.get("filename", f"{id}.out")),
        failure_url=(
            None
            if output.s3_failure_path is None
            else _joined(output.s3_failure_path, extension, f"{id}-error.out")
        ),
        success_url=None if told.success_topic is None else jobs.topics.url_of(told.success_topic),
        error_url=None if told.error_topic is None else jobs.topics.url_of(told.error_topic),
        details=details | {"region": region, "include": " ".join(included)},
    )


def _joined(*parts: str) -> str:
    return "/".join(part.rstrip("/") for part in parts if part)


def _s3_url(location: str) -> str:
    """Return the ``s3://`` URL of an object; its web address on AWS says the same."""
    if location.startswith("s3://"):
        return location
    host, _, path = location.removeprefix("https://").partition("/")
    found = _S3_HOST.fullmatch(host)
    if found is None:
        raise InvalidRequest(
            f"InputLocation '{location[:200]}' is not in object storage: give s3://bucket/key.",
            field="InputLocation",
        )
    return f"s3://{found['bucket']}/{unquote(path)}" if found["bucket"] else f"s3://{unquote(path)}"


def _number(asked: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = asked.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        _refuse(name, text, f"lie between {least} and {most}")
    return int(text)


def _refuse(name: str, value: str, constraint: str) -> None:
    raise InvalidRequest(
        f"1 validation error detected: Value '{value[:100]}' at '{_HEADER}{name}' failed to satisfy"
        f" constraint: Member must {constraint}",
        field=name,
    )


async def _body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > INLINE_BYTES_MAX:
            # Not BodyTooLarge, whose cure is that of requests that are held open.
            raise InvalidRequest(
                f"An inline body may have {INLINE_BYTES_MAX} bytes at most: put it into object "
                "storage and give its InputLocation.",
                field="Body",
            )
        chunks.append(chunk)
    return b"".join(chunks)


def _region(headers: Mapping[str, str]) -> str:
    return scope_of(headers.get("authorization", "")).region
