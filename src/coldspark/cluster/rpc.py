"""The RPC connection between the primary and one router: messages, requests, and its loss.

It is a pair of Unix sockets that nobody else holds, so its end is the other process's end.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import msgspec

from coldspark import errors
from coldspark.cluster.frames import BadFrame, FrameBuffer, encode_frame
from coldspark.cluster.messages import (
    Message,
    Question,
    RpcError,
    RpcReply,
    RpcRequest,
    encode,
    to_hook,
)
from coldspark.errors import ColdsparkError, RouterGone
from coldspark.tasks import Tasks

T = TypeVar("T")
_log = logging.getLogger(__name__)
_CLASSES: dict[str, type[ColdsparkError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ColdsparkError)
}


class RpcConnection(asyncio.Protocol):
    """One side of the connection. ``on_message`` gets what is neither request nor reply."""

    def __init__(
        self,
        on_message: Callable[[Message], None],
        on_lost: Callable[[], None],
        handler: Callable[[Question], Awaitable[object]] | None = None,
    ) -> None:
        self._on_message = on_message
        self._on_lost = on_lost
        self._handler = handler
        self._frames = FrameBuffer()
        self._transport: asyncio.Transport | None = None
        self._open: dict[int, asyncio.Future[RpcReply]] = {}
        self._last_number = 0
        self._tasks = Tasks()

    @classmethod
    async def connect(cls, end: socket.socket, connection: "RpcConnection") -> "RpcConnection":
        """Connect over one end of a socket pair."""
        end.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: connection, sock=end)
        return connection

    @property
    def is_open(self) -> bool:
        """Return whether the other side is there, as far as is known."""
        return self._transport is not None

    def send(self, message: Message) -> None:
        """Send a message. Without a connection it is lost."""
        if self._transport is not None:
            self._transport.write(encode_frame(message))

    async def request(self, question: Question, kind: type[T] | Any, timeout_s: float) -> T:
        """Return the answer to a request. Raises RouterGone, and what the other side raised."""
        if self._transport is None:
            raise RouterGone("the router that owns it is being started anew; try again")
        self._last_number += 1
        number = self._last_number
        handler = self._open[number] = asyncio.get_running_loop().create_future()
        self.send(RpcRequest(number, question))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await handler
        except TimeoutError:
            raise RouterGone(
                f"the router that owns it did not answer within {timeout_s:g} s; try again"
            ) from None
        finally:
            self._open.pop(number, None)
        if reply.problem is not None:
            raise _error(reply.problem)
        return cast(T, msgspec.msgpack.decode(reply.value, type=kind, dec_hook=to_hook))

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it.

    def data_received(self, data: bytes) -> None:
        """Decode and dispatch messages."""
        try:
            for message in self._frames.feed(data):
                self._dispatch(message)
        except BadFrame:
            _log.exception("a router's link is broken")
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every open request."""
        self._transport = None
        for handler in self._open.values():
            if not handler.done():
                handler.set_exception(RouterGone("the router that owns it has ended; try again"))
        self._on_lost()

    def _dispatch(self, message: Message) -> None:
        if isinstance(message, RpcRequest):
            self._tasks.spawn(self._handle(message))
        elif isinstance(message, RpcReply):
            handler = self._open.get(message.number)
            if handler is not None and not handler.done():
                handler.set_result(message)
        else:
            self._on_message(message)

    async def _handle(self, request: RpcRequest) -> None:
        assert self._handler is not None, "only routers are asked"
        try:
            value = encode(await self._handler(request.question))
            self.send(RpcReply(request.number, msgspec.Raw(value)))
        except ColdsparkError as error:
            problem = RpcError(error.code, error.message, error.field)
            self.send(RpcReply(request.number, problem=problem))
        except Exception:  # noqa: BLE001
            # The task's edge: the caller gets an error, and this side's log has its cause.
            _log.exception("a question of the lead met a bug")
            problem = RpcError("Internal", "the platform made a mistake; its log says which")
            self.send(RpcReply(request.number, problem=problem))


def _error(problem: RpcError) -> ColdsparkError:
    """Return an error of the other process as one of this."""
    return _CLASSES.get(problem.code, ColdsparkError)(problem.message, field=problem.field)
