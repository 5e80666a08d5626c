"""``/v1/artifacts/{sha256}``: archives of code and models, uploaded once."""

import asyncio
import re
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import ArtifactBody
from coldspark.errors import BodyTooLarge, InvalidRequest
from coldspark.http.auth.scopes import KeyAction
from coldspark.spec.types import ArtifactId

_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK_TIMEOUT_S = 60.0
_LOOK_TIMEOUT_S = 10.0


async def head_artifact(ask: NativeRequest) -> Response:
    """Say whether an archive is here."""
    id = _id(ask)
    async with asyncio.timeout(_LOOK_TIMEOUT_S):
        is_here = await ask.app_state.services.artifacts.has(id)
    return Response(status_code=200 if is_here else 404)


async def put_artifact(ask: NativeRequest) -> Response:
    """Store an archive while it arrives. Its bytes must have the hash that the path says."""
    id = _id(ask)
    size_max = ask.app_state.services.artifact_bytes_max
    declared = ask.request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > size_max:
        raise BodyTooLarge(f"an archive of {declared} bytes is over the limit of {size_max} bytes")
    stored = await ask.app_state.services.artifacts.put(_chunks(ask), size_max)
    if stored != id:
        raise InvalidRequest(
            f"the bytes have the SHA-256 {stored}, not {id}: the upload was damaged", field="sha256"
        )
    return json_response(ArtifactBody(stored), 201)


def _id(ask: NativeRequest) -> ArtifactId:
    ask.allow_any(KeyAction.DEPLOY)
    id = ask.request.path_params["sha256"]
    if not _SHA256.fullmatch(id):
        raise InvalidRequest(f"{id[:80]!r} must be 64 hex digits: a SHA-256", field="sha256")
    return ArtifactId(id)


async def _chunks(ask: NativeRequest) -> AsyncIterator[bytes]:
    """Yield the body. Raises InvalidRequest when the caller stops in the middle."""
    stream = ask.request.stream()
    while True:
        try:
            async with asyncio.timeout(_CHUNK_TIMEOUT_S):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except (TimeoutError, ClientDisconnect):
            raise InvalidRequest("the upload ended before its end; send it again") from None
        if chunk:
            yield chunk
