"""Pipelined requests: replies leave in the order of the requests (RFC 9112)."""

from typing import TYPE_CHECKING, Protocol

from coldspark.http import replies

if TYPE_CHECKING:
    from coldspark.http.connection import Connection


class PipelinedRequest(Protocol):
    """One request on a connection."""

    def start(self) -> None:
        """Start: every earlier request of this connection is answered."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the request's body."""

    def complete(self) -> None:
        """End the body."""

    def disconnect(self) -> None:
        """The caller disconnected."""

    def pause(self) -> None:
        """The caller reads slowly. Called for the active request alone."""

    def resume(self) -> None:
        """The caller keeps up again."""

    def close_after(self) -> None:
        """Let the connection end with this reply."""


class RefusedRequest:
    """What was no request: it is answered in its order, and the connection ends."""

    def __init__(self, connection: "Connection", status: int, message: str) -> None:
        self._connection = connection
        self._status = status
        self._message = message

    def start(self) -> None:
        """Answer what was wrong."""
        body = f"{self._message}\n"
        self._connection.write(
            f"{replies.status_line(self._status)}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n{replies.CLOSE}\r\n{body}".encode("latin-1")
        )
        self._connection.finish_request(is_keep_alive=False)

    def feed(self, data: bytes) -> None:
        """Nothing is read any more."""

    def complete(self) -> None:
        """Nothing is read any more."""

    def disconnect(self) -> None:
        """Nobody is left to answer."""

    def pause(self) -> None:
        """All was sent in one write."""

    def resume(self) -> None:
        """All was sent in one write."""

    def close_after(self) -> None:
        """It does so anyway."""
