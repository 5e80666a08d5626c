"""The control plane: ``POST /`` with ``X-Amz-Target: SageMaker.<Op>``, JSON 1.1.

Changes run one at a time (they read, decide and write, with awaits between); reads run freely.
A caller needs the scope ``deploy`` for every name that the request mentions, also to look:
a model's environment may hold secrets. A list needs ``deploy`` without a name.
Who calls is found by the server's own ``identify``: it checks the key or signature (see
``gateway/auth``), and keeps web pages out while there are no keys.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coldspark.errors import BodyTooLarge, ColdsparkError
from coldspark.gateway.auth.scopes import Action, authorize
from coldspark.gateway.sagemaker import (
    endpoint_configs,
    endpoints,
    models,
    shapes,
    tags,
    weights,
)
from coldspark.gateway.sagemaker.arns import parse_arn, region_of
from coldspark.gateway.sagemaker.calls import Body, Call
from coldspark.gateway.sagemaker.endpoint_configs import CONFIGS
from coldspark.gateway.sagemaker.errors import CONTENT_TYPE, AwsError, error_body
from coldspark.gateway.sagemaker.models import MODELS
from coldspark.gateway.sagemaker.validation import Structure, check
from coldspark.runtime.catalogue import Catalogue
from coldspark.runtime.ports import Documents, Key, Platform

TARGET = "SageMaker."

Identify = Callable[[str, str, str, Mapping[str, str], bytes], Key | None]
"""Method, raw path, raw query, headers (lower-case) and body, to the caller's key."""

_BODY_BYTES_MAX = 1024 * 1024
_NAMES = ("ModelName", "EndpointConfigName", "EndpointName")


@dataclass(frozen=True, slots=True)
class Operation:
    """What runs for an operation's name, and what its body must look like.

    ``run`` returns None where AWS's operation has no output shape.
    """

    run: Callable[[Call], Awaitable[Body | None]]
    shape: Structure
    is_change: bool = False


OPERATIONS = {
    "CreateModel": Operation(models.create, shapes.CREATE_MODEL, is_change=True),
    "DescribeModel": Operation(models.describe, shapes.MODEL_NAMED),
    "ListModels": Operation(MODELS.list_page, shapes.LISTED),
    "DeleteModel": Operation(MODELS.delete, shapes.MODEL_NAMED, is_change=True),
    "CreateEndpointConfig": Operation(
        endpoint_configs.create, shapes.CREATE_ENDPOINT_CONFIG, is_change=True
    ),
    "DescribeEndpointConfig": Operation(CONFIGS.describe, shapes.ENDPOINT_CONFIG_NAMED),
    "ListEndpointConfigs": Operation(CONFIGS.list_page, shapes.LISTED),
    "DeleteEndpointConfig": Operation(CONFIGS.delete, shapes.ENDPOINT_CONFIG_NAMED, is_change=True),
    "CreateEndpoint": Operation(endpoints.create, shapes.CREATE_ENDPOINT, is_change=True),
    "DescribeEndpoint": Operation(endpoints.describe, shapes.ENDPOINT_NAMED),
    "ListEndpoints": Operation(endpoints.list_page, shapes.ENDPOINTS_LISTED),
    "UpdateEndpoint": Operation(endpoints.update, shapes.UPDATE_ENDPOINT, is_change=True),
    "DeleteEndpoint": Operation(endpoints.delete, shapes.ENDPOINT_NAMED, is_change=True),
    "UpdateEndpointWeightsAndCapacities": Operation(
        weights.update, shapes.UPDATE_WEIGHTS, is_change=True
    ),
    "AddTags": Operation(tags.add_tags, shapes.ADD_TAGS, is_change=True),
    "ListTags": Operation(tags.list_tags, shapes.LIST_TAGS),
    "DeleteTags": Operation(tags.delete_tags, shapes.DELETE_TAGS, is_change=True),
}


def control_plane(
    platform: Platform,
    documents: Documents,
    catalogue: Catalogue,
    identify: Identify,
) -> Callable[[Request], Awaitable[Response]]:
    """Return the Starlette endpoint for ``POST /``."""
    changes = asyncio.Lock()

    async def endpoint(request: Request) -> Response:
        try:
            body = await _read_body(request)
            headers = _headers(request)
            raw_path = request.scope.get("raw_path", b"/").decode("latin-1")
            raw_query = request.scope["query_string"].decode("latin-1")
            key = identify(request.method, raw_path, raw_query, headers, body)
            operation = _operation(headers.get("x-amz-target", ""))
            call = Call(
                platform=platform,
                documents=documents,
                catalogue=catalogue,
                region=region_of(headers.get("authorization", "")),
                body=check(operation.shape, _decode(body)),
            )
            _authorize(key, call.body)
            answer = await _run(operation, call, changes)
        except ColdsparkError as error:
            return _reply(*error_body(error))
        # An operation without an output shape, such as a delete, answers with no body on AWS.
        return _reply(200, b"" if answer is None else msgspec.json.encode(answer))

    return endpoint


async def _run(operation: Operation, call: Call, changes: asyncio.Lock) -> Body | None:
    if not operation.is_change:
        return await operation.run(call)
    async with changes:
        return await operation.run(call)


def _operation(target: str) -> Operation:
    name = target.removeprefix(TARGET)
    operation = OPERATIONS.get(name) if target.startswith(TARGET) else None
    if operation is None:
        raise AwsError(
            "UnknownOperationException",
            f"X-Amz-Target '{target[:128]}' is not an operation that is served here; there are "
            f"{', '.join(OPERATIONS)}.",
        )
    return operation


def _decode(body: bytes) -> object:
    try:
        return msgspec.json.decode(body or b"{}")
    except msgspec.DecodeError as error:
        raise AwsError("SerializationException", f"The body is not JSON: {error}.") from None


def _authorize(key: Key | None, body: Body) -> None:
    names = list(_names(body))
    for name in names:
        authorize(key, Action.DEPLOY, name)
    if not names:
        authorize(key, Action.DEPLOY)


def _names(body: Body) -> Iterator[str]:
    """Yield every name of a resource that a checked request mentions."""
    for member in _NAMES:
        if member in body:
            yield str(body[member])
    variants = body.get("ProductionVariants", [])
    assert isinstance(variants, list)
    for variant in variants:
        if "ModelName" in variant:
            yield str(variant["ModelName"])
    resource = parse_arn(str(body.get("ResourceArn", "")))
    if resource is not None:
        yield resource.name


def _headers(request: Request) -> dict[str, str]:
    """Return the headers under lower-case names; values of a repeated one are joined."""
    joined: dict[str, str] = {}
    for name, value in request.headers.items():
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


async def _read_body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _BODY_BYTES_MAX:
            raise BodyTooLarge(f"The request's body is over the limit of {_BODY_BYTES_MAX} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def _reply(status: int, body: bytes) -> Response:
    headers = {"Content-Type": CONTENT_TYPE, "x-amzn-RequestId": str(uuid.uuid4())}
    return Response(body, status, headers)
