"""``/v1/endpoints/{name}/logs``: what replicas printed, and what they go on to print."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse

from coldspark.doors.door import DoorDependencies
from coldspark.doors.native.replies import log_line_body
from coldspark.doors.native.request import NativeRequest, json_response
from coldspark.doors.native.shapes import LogsBody
from coldspark.http.auth.scopes import KeyAction
from coldspark.platform.ports import LogLine
from coldspark.spec.types import EndpointName

_LINES_MAX = 10_000
_QUIET_S = 15.0
"""After so long without a line an empty one is sent, so that neither side's timeout passes."""


async def get_logs(ask: NativeRequest) -> Response:
    """Return the newest lines, or the beginning of an endless stream of them."""
    ask.allow(KeyAction.DEPLOY, ask.endpoint)
    count = ask.number("lines", 100, _LINES_MAX)
    lines = ask.app_state.platform.logs(ask.endpoint, count)
    if not ask.flag("follow"):
        return json_response(LogsBody([log_line_body(line) for line in lines]))
    is_sse = "text/event-stream" in ask.request.headers.get("accept", "")
    media = "text/event-stream" if is_sse else "application/x-ndjson"
    stream = _followed(ask.app_state, ask.endpoint, lines, is_sse=is_sse)
    return StreamingResponse(stream, media_type=media, headers={"cache-control": "no-store"})


async def _followed(
    dependencies: DoorDependencies, name: EndpointName, lines: list[LogLine], *, is_sse: bool
) -> AsyncIterator[bytes]:
    """Yield lines until the caller hangs up or the server ends."""
    some = asyncio.Event()
    dependencies.shutdown.watch(some.set)
    follower = dependencies.services.logs.follow(name, some.set)
    try:
        yield _encoded(lines, is_sse=is_sse)
        while not dependencies.shutdown.is_set:
            some.clear()
            fresh = follower.take()
            if not fresh and not await _is_set(some):
                yield b":\n\n" if is_sse else b"\n"
            elif fresh:
                yield _encoded(fresh, is_sse=is_sse)
    finally:
        dependencies.shutdown.unwatch(some.set)
        dependencies.services.logs.unfollow(name, follower)


async def _is_set(some: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_QUIET_S):
            return await some.wait()
    except TimeoutError:
        return False


def _encoded(lines: list[LogLine], *, is_sse: bool) -> bytes:
    mark, end = (b"data: ", b"\n\n") if is_sse else (b"", b"\n")
    encoded = (msgspec.json.encode(log_line_body(line)) for line in lines)
    return b"".join(mark + line + end for line in encoded)
