"""The OpenAPI 3.1 document, made of the operations and the bodies' types."""

import re
from typing import Any

import msgspec

from coldspark import __version__
from coldspark.doors.native.errors import ErrorBody
from coldspark.doors.native.operation_types import Content, DocumentedReply, Operation, Parameter

Json = dict[str, Any]

_COMMON_ERRORS = (401, 403)
_ERROR_WORDS = {
    400: "The request is not valid: the error names the field",
    401: "No key, or one that does not verify",
    403: "The key lacks the scope",
    404: "There is no such thing",
    409: "The present state does not allow it",
    413: "The body is over the limit",
    415: "The handler does not take this content type",
    424: "Model data or the environment could not be had",
    429: "The queue is full; Retry-After says when to come back",
    500: "The handler failed",
    502: "The replica died or could not start; the error has its last lines",
    503: "No room, or starts failed too often",
    504: "The request's deadline passed",
    507: "The disk is full: nothing is taken that could not be kept",
}
_DESCRIPTION = """Serverless GPU inference on your own machines.

Send a key as `Authorization: Bearer csk_…`; while no key exists, callers on this machine need none.
Money is in nano-dollars, time in the unit that a field's name says.
The same port serves OpenAI's clients (`/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`,
`/v1/models`) and AWS's (`POST /endpoints/{name}/invocations`, and SageMaker's API at `POST /`).
"""


def document(operations: tuple[Operation, ...]) -> Json:
    """Return the whole document."""
    kinds = _kinds(operations)
    schemas, components = msgspec.json.schema_components(
        kinds, ref_template="#/components/schemas/{name}"
    )
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Json] = {}
    for operation in operations:
        entry = paths.setdefault(operation.path, _path_item(operation.path))
        entry[operation.method.lower()] = _operation(operation, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "coldspark", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _kinds(operations: tuple[Operation, ...]) -> list[type]:
    contents = [one.body for one in operations]
    contents += [reply.content for one in operations for reply in one.replies]
    kinds = [kind for one in contents if one is not None for kind in one.kinds]
    return list(dict.fromkeys([ErrorBody, *kinds]))


def _path_item(path: str) -> Json:
    names = re.findall(r"{(\w+)}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names
    ]
    return {"parameters": parameters} if parameters else {}


def _operation(operation: Operation, by_kind: dict[type, Any]) -> Json:
    entry: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": _responses(operation, by_kind),
        "security": [] if operation.scope is None else [{"key": []}],
    }
    words = [operation.description]
    if operation.scope is not None:
        words.append(f"Needs the scope `{operation.scope}`.")
    entry["description"] = " ".join(filter(None, words))
    if operation.parameters:
        entry["parameters"] = [_parameter(one) for one in operation.parameters]
    if operation.body is not None:
        is_needed = bool(operation.body.kinds)
        entry["requestBody"] = {
            "required": is_needed,
            "content": _content(operation.body, by_kind),
        }
    return entry


def _parameter(parameter: Parameter) -> Json:
    schema: Json = {"type": {str: "string", int: "integer", bool: "boolean"}[parameter.kind]}
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": schema,
    }


def _responses(operation: Operation, by_kind: dict[type, Any]) -> Json:
    responses = {str(one.status): _reply(one, operation, by_kind) for one in operation.replies}
    errors = set(operation.errors)
    if operation.scope is not None:
        errors |= {400, *_COMMON_ERRORS}
    for status in sorted(errors):
        responses[str(status)] = {
            "description": _ERROR_WORDS[status],
            "content": {"application/json": {"schema": by_kind[ErrorBody]}},
        }
    return responses


def _reply(reply: DocumentedReply, operation: Operation, by_kind: dict[type, Any]) -> Json:
    entry: Json = {"description": reply.description}
    if reply.content is not None and operation.method != "HEAD":
        entry["content"] = _content(reply.content, by_kind)
    if operation.extra_headers:
        entry["headers"] = {
            name: {"schema": {"type": "string"}} for name in operation.extra_headers
        }
    return entry


def _content(content: Content, by_kind: dict[type, Any]) -> Json:
    schemas = [by_kind[kind] for kind in content.kinds]
    schema = {"anyOf": schemas} if len(schemas) > 1 else next(iter(schemas), {})
    return {content.media: {"schema": schema}}
