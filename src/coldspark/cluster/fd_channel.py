"""Connections on their way from one router to another: a socket's descriptor and what was read.

Each router has one channel, a pair of Unix packet sockets. Every router holds the write end; the
primary holds both, so a channel outlives its router: what was sent while it was down is served by
the next. One connection is one packet, so several may write at once.
"""

import os
import socket
from contextlib import suppress

_INLINE, _BESIDE = b"\0", b"\1"
_INLINE_BYTES_MAX = 32 * 1024
_BUFFER_BYTES = 1024**2
_AWAY = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 58\r\n"
    b"retry-after: 5\r\nconnection: close\r\n\r\n"
    b"The process that serves this endpoint is being restarted.\n"
)


class FdChannel:
    """Both ends of one router's channel."""

    def __init__(self) -> None:
        self.write_end, self.read_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.write_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        for end in (self.write_end, self.read_end):
            end.setblocking(False)

    def close(self) -> None:
        """Close both ends: connections within are dropped."""
        self.write_end.close()
        self.read_end.close()


def send_connection(write_end: socket.socket, connection: int, data: bytes) -> bool:
    """Send a connection and what was read from it; False: the channel is full.

    The receiver's descriptor is another one: this side closes its own, without shutting down.
    """
    try:
        if len(data) <= _INLINE_BYTES_MAX:
            socket.send_fds(write_end, [_INLINE + data], [connection])
            return True
        beside = os.memfd_create("coldspark-handed", os.MFD_CLOEXEC)
        try:
            _write_all(beside, data)
            socket.send_fds(write_end, [_BESIDE], [connection, beside])
        finally:
            os.close(beside)
        return True
    except OSError:
        return False


def receive_connection(read_end: socket.socket) -> tuple[socket.socket, bytes] | None:
    """Receive the oldest connection, or None where there is none. A torn packet is skipped."""
    while True:
        try:
            packet, descriptors, _, _ = socket.recv_fds(read_end, _INLINE_BYTES_MAX + 1, 2)
        except (BlockingIOError, InterruptedError):
            return None
        if not packet:
            return None
        if not descriptors:
            continue  # This process has no descriptor left: the caller is disconnected.
        connection = socket.socket(fileno=descriptors[0])
        connection.setblocking(False)
        if packet[:1] == _INLINE:
            return connection, packet[1:]
        if len(descriptors) == 2:
            return connection, _read_all(descriptors[1])
        connection.close()


def reject_pending(read_end: socket.socket) -> None:
    """Answer 503 to every connection in the channel of a router that does not come back."""
    while (packet := receive_connection(read_end)) is not None:
        connection, _ = packet
        with connection, suppress(OSError):
            connection.send(_AWAY)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()
