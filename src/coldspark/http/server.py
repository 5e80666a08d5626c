"""The server's one port: listen, sweep for slow clients, and leave in good order."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coldspark import clock
from coldspark.errors import Conflict, InvalidRequest
from coldspark.http.connection import Connection
from coldspark.http.context import HttpContext
from coldspark.tasks import Tasks

_SWEEP_S = 1.0
_BACKLOG = 2_048
_TASKS_END_S = 5.0
"""For the app's tasks to end, once every connection is gone."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A running server."""

    host: str
    port: int
    sockets: Sequence[socket.socket] = ()

    @property
    def url(self) -> str:
        """Return where clients find it."""
        return (
            f"http://[{self.host}]:{self.port}"
            if ":" in self.host
            else f"http://{self.host}:{self.port}"
        )


def refuse_open_bind(host: str, *, has_keys: bool) -> None:
    """Raise InvalidRequest if anybody on the network could run code here without a key."""
    if has_keys or is_loopback(host):
        return
    raise InvalidRequest(
        f"listening on {host} without any API key would let everybody who reaches this machine "
        "run code on it; create a key with `coldspark keys create NAME --scope admin --data"
        " DIRECTORY`, or listen on 127.0.0.1",
        field="host",
    )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def serve(
    context: HttpContext,
    host: str,
    port: int,
    *,
    grace_s: float = 30.0,
    make: Callable[[], Connection] | None = None,
    listeners: Sequence[socket.socket] = (),
) -> AsyncIterator[Listening]:
    """Listen while the block runs; port 0 takes a free one. Raises Conflict if it is taken.

    ``make`` makes the connections, ``listeners`` are sockets that are bound already.

    Leaving the block stops accepting, lets what runs finish within ``grace_s``, then closes.
    """
    context.renew_date()
    servers = await _listen(make or (lambda: Connection(context)), host, port, listeners)
    failure: Exception | None = None
    sweeps = Tasks()
    async with asyncio.TaskGroup() as group:
        context.tasks = group
        # No timer per request.
        sweeps.every(_SWEEP_S, lambda: context.sweep(clock.monotonic_s()), "sweep connections")
        try:
            sockets = [each for server in servers for each in server.sockets]
            yield Listening(host, sockets[0].getsockname()[1], sockets)
        except Exception as error:  # noqa: BLE001
            failure = error  # Raised below: the group would wrap it.
        finally:
            for server in servers:
                server.close()
            await _drain(context, grace_s)
            context.disconnect_watcher.close()
            await sweeps.close(_TASKS_END_S)
    if failure is not None:
        raise failure


async def _listen(
    make: Callable[[], asyncio.Protocol], host: str, port: int, listeners: Sequence[socket.socket]
) -> list[asyncio.Server]:
    loop = asyncio.get_running_loop()
    try:
        if listeners:
            return [
                await loop.create_server(make, sock=each, backlog=_BACKLOG) for each in listeners
            ]
        return [await loop.create_server(make, host, port, backlog=_BACKLOG)]
    except OSError as error:
        raise _explained(error, host, port) from error


def _explained(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is taken by another program: stop it, or choose another port",
            field="port",
        )
    return InvalidRequest(f"cannot listen on {host}:{port}: {error.strerror}", field="host")


async def _drain(context: HttpContext, grace_s: float) -> None:
    """Let every connection end by itself, then by force."""
    context.drain()
    await _wait(context.emptied(), grace_s)
    for connection in list(context.connections):
        connection.abort()
    await _wait(context.emptied(), _TASKS_END_S)
    for task in list(context.running):
        task.cancel()


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        pass
