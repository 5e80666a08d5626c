"""Every route that is no invocation: one ASGI request, run by uvicorn's own request cycle."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from coldspark.http.context import HttpContext
from coldspark.http.door_match import RequestTarget

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, HTTPScope

    from coldspark.http.connection import Connection

log = logging.getLogger(__name__)


class AsgiRequest:
    """A request for the Starlette app. Its body streams in while the app runs."""

    def __init__(
        self,
        context: HttpContext,
        connection: "Connection",
        transport: asyncio.Transport,
        target: RequestTarget,
        raw_headers: list[tuple[bytes, bytes]],
        *,
        is_keep_alive: bool,
        is_http10: bool,
    ) -> None:
        self._context = context
        self._connection = connection
        self._flow = FlowControl(transport)
        scope = _scope(transport, target, raw_headers, is_http10=is_http10)
        expects = any(
            name == b"expect" and value.lower() == b"100-continue"
            for name, value in scope["headers"]
        )
        self._cycle = RequestResponseCycle(
            scope=scope,
            transport=transport,
            flow=self._flow,
            logger=log,
            access_logger=log,
            access_log=False,
            default_headers=[],
            message_event=asyncio.Event(),
            expect_100_continue=expects,
            keep_alive=is_keep_alive and not is_http10,
            on_response=self._on_response,
        )

    def start(self) -> None:
        """Start the app."""
        if self._context.is_draining:
            self._cycle.keep_alive = False
        self._context.spawn(self._run())

    async def _run(self) -> None:
        # The cycle logs what the app raises and answers 500.
        app = self._app if self._cycle.waiting_for_100_continue else self._context.app
        await self._cycle.run_asgi(cast("ASGI3Application", app))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app for a caller who holds his body back until he is asked for it.

        If he is answered instead, he keeps it, and what he sends next is no body: only closing
        tells the two apart.
        """

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and self._cycle.waiting_for_100_continue:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._context.app(scope, receive, answer)

    def feed(self, data: bytes) -> None:
        """Take a piece of the body; read no more while the app is behind."""
        if self._cycle.response_complete:
            return
        self._cycle.body += data
        if len(self._cycle.body) > HIGH_WATER_LIMIT:
            self._flow.pause_reading()
        self._cycle.message_event.set()

    def complete(self) -> None:
        """End the body."""
        self._cycle.more_body = False
        self._cycle.message_event.set()

    def disconnect(self) -> None:
        """Notify the app that the caller disconnected."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()
        self._flow.resume_writing()

    def pause(self) -> None:
        """Pause the app's next send."""
        self._flow.pause_writing()

    def resume(self) -> None:
        """Let the app send again."""
        self._flow.resume_writing()

    def close_after(self) -> None:
        """Let the connection end with this reply."""
        self._cycle.keep_alive = False

    def _on_response(self) -> None:
        # An app that answers early leaves a body behind: it is read and dropped.
        self._flow.resume_reading()
        self._flow.resume_writing()
        self._connection.finish_request(self._cycle.keep_alive)


def _scope(
    transport: asyncio.Transport,
    target: RequestTarget,
    raw_headers: list[tuple[bytes, bytes]],
    *,
    is_http10: bool,
) -> "HTTPScope":
    """Describe the request as ASGI has it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.0" if is_http10 else "1.1",
        "scheme": "http",
        "method": target.method,
        "path": unquote(target.raw_path),
        "raw_path": target.raw_path.encode("ascii"),
        "query_string": target.query.encode("ascii"),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in raw_headers],
        "server": _address(transport.get_extra_info("sockname")),
        "client": _address(transport.get_extra_info("peername")),
        "state": {},
    }


def _address(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None
