"""A small blocking HTTP/1.1 client: keep-alive, streamed replies, trailers.

The standard library's client throws trailers away, and a streamed reply's cost and time come in
them. This one also loads in a third of the time, which every shell command pays. Used from one
thread or many: a connection belongs to one exchange until its reply was read whole.
"""

import select
import socket
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Protocol
from urllib.parse import urlsplit

from coldspark.errors import ColdsparkError, InvalidRequest

CONNECT_TIMEOUT_S = 5.0
_READ_BYTES = 256 * 1024
_IDLE_MAX = 8


class ServerUnreachable(ColdsparkError):
    """No server answers at the address; the message says how to start one."""

    code = "ServerUnreachable"
    http_status = 503


class ReplyBroken(ColdsparkError):
    """The connection ended in the middle of a reply, or was no HTTP."""

    code = "ReplyBroken"
    http_status = 502


class _Parser(Protocol):
    def feed_data(self, data: bytes) -> None: ...
    def get_status_code(self) -> int: ...
    def should_keep_alive(self) -> bool: ...


class HttpReply:
    """One reply. Read it whole or by chunks; leaving the ``with`` gives the connection back."""

    def __init__(self, connection: socket.socket, done: Callable[[socket.socket], None]) -> None:
        from httptools import HttpResponseParser

        self.status = 0
        self.headers: dict[str, str] = {}
        """Lower-case names. Trailers are added once the body was read."""
        self._connection: socket.socket | None = connection
        self._done = done
        self._parser: _Parser = HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._is_headed = False
        self._is_complete = False
        self._can_reuse = False

    def __enter__(self) -> "HttpReply":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises ReplyBroken when it breaks off."""
        while True:
            while self._pieces:
                yield self._pieces.pop(0)
            if self._is_complete:
                break
            self._feed()
        self.close()

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """Release the connection for the next exchange if this reply was read whole."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._is_complete and self._can_reuse:
            self._done(connection)
        else:
            connection.close()

    def read_head(self) -> None:
        """Wait for status and headers of the final response."""
        while not self._is_headed:
            self._feed()

    def _feed(self) -> None:
        from httptools import HttpParserError

        if self._connection is None:
            raise ReplyBroken("the reply was closed before it was read")
        try:
            data = self._connection.recv(_READ_BYTES)
            if not data and "content-length" not in self.headers and self._is_until_close():
                self._is_complete = True
                return
            if not data:
                raise ReplyBroken("the server closed the connection in the middle of its reply")
            self._parser.feed_data(data)
        except TimeoutError:
            raise ReplyBroken(
                "the server sent nothing for too long: the time limit passed"
            ) from None
        except (OSError, HttpParserError) as error:
            raise ReplyBroken(f"the server's reply broke off: {error}") from error

    def _is_until_close(self) -> bool:
        return self._is_headed and "transfer-encoding" not in self.headers

    # httptools calls these.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header or a trailer."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take the end of a head; that of an interim response (1xx) is dropped."""
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
        else:
            self._is_headed = True

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        """Take the end."""
        self._is_complete = self.status >= 200
        # Asked here: after the last callback the parser has forgotten this message.
        self._can_reuse = self._parser.should_keep_alive()


class Transport:
    """Exchanges with one server."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(f"server address {url!r} must be such as http://127.0.0.1:7117")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._is_tls = parts.scheme == "https"
        self._address = (parts.hostname, parts.port or (443 if self._is_tls else 80))
        self._host = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._key = key
        self._idle: list[socket.socket] = []

    def exchange(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float | None = None,
    ) -> HttpReply:
        """Send a request, return its reply once the head is here.

        ``timeout_s`` bounds each silence of the server. Raises ServerUnreachable and ReplyBroken.
        """
        connection = self._reused() or self._connected()
        connection.settimeout(timeout_s)
        reply = HttpReply(connection, self._release)
        try:
            self._send(connection, self._head(method, target, headers or {}, body), body or b"")
            reply.read_head()
        except BaseException:
            connection.close()
            raise
        return reply

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _head(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        lines = {"host": self._host, "user-agent": "coldspark", **headers}
        if self._key:
            lines["authorization"] = f"Bearer {self._key}"
        if body is not None or method in ("POST", "PUT"):
            lines["content-length"] = str(len(body or b""))
        for name, value in lines.items():
            if any(character in "\r\n\0" for character in name + value):
                raise InvalidRequest(f"header {name!r} must be one line: {value!r}")
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {self._prefix}{target} HTTP/1.1\r\n{text}\r\n".encode("latin-1")

    def _send(self, connection: socket.socket, head: bytes, body: bytes) -> None:
        try:
            if len(body) < _READ_BYTES:
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                connection.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a body may answer and close before it was sent: read on.
            return

    def _connected(self) -> socket.socket:
        try:
            connection = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(connection) if self._is_tls else connection
        except OSError as error:
            raise ServerUnreachable(
                f"no coldspark server answers at {self.url} ({error.strerror or error})"
            ) from error

    def _secured(self, connection: socket.socket) -> socket.socket:
        import ssl

        context = ssl.create_default_context()
        return context.wrap_socket(connection, server_hostname=self._address[0])

    def _reused(self) -> socket.socket | None:
        """Return an idle connection on which nothing came: readable means that it was closed."""
        while self._idle:
            connection = self._idle.pop()
            if not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()
        return None

    def _release(self, connection: socket.socket) -> None:
        if len(self._idle) < _IDLE_MAX:
            self._idle.append(connection)
        else:
            connection.close()
