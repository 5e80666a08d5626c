"""Requests of one connection take turns: replies leave in the order of the requests (RFC 9112)."""

from typing import Protocol

from coldspark.http import replies


class ConnectionPort(Protocol):
    """What a turn may do to its connection."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def stop_reading(self) -> None:
        """Take no more requests; drop what is still being sent."""

    def pause_body(self) -> None:
        """Read no more of the request's body for now. Idempotent."""

    def resume_body(self) -> None:
        """Read on. Idempotent."""

    def finish_request(self, is_keep_alive: bool) -> None:
        """End the turn: the next one begins, or the connection ends."""

    def break_off(self, *, is_reset: bool) -> None:
        """End the connection so that no caller takes what was sent for whole."""


class PipelinedRequest(Protocol):
    """One request on a connection."""

    def start(self) -> None:
        """Every earlier request of this connection is answered."""

    def feed(self, data: bytes) -> None:
        """Take a piece of the request's body."""

    def complete(self) -> None:
        """The whole request was read."""

    def disconnect(self) -> None:
        """The caller hung up."""

    def pause(self) -> None:
        """The caller reads slowly. Only said to the turn that runs."""

    def resume(self) -> None:
        """The caller keeps up again."""

    def close_after(self) -> None:
        """Let the connection end with this reply."""


class RefusedRequest:
    """The turn of something that is no request: it is answered, and the connection ends."""

    def __init__(self, wire: ConnectionPort, status: int, message: str) -> None:
        self._wire = wire
        self._status = status
        self._message = message

    def start(self) -> None:
        """Say what was wrong."""
        body = f"{self._message}\n"
        self._wire.write(
            f"{replies.status_line(self._status)}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\n{replies.CLOSE}\r\n{body}".encode("latin-1")
        )
        self._wire.finish_request(is_keep_alive=False)

    def feed(self, data: bytes) -> None:
        """Nothing is read any more."""

    def complete(self) -> None:
        """Nothing is read any more."""

    def disconnect(self) -> None:
        """Nobody is left to tell."""

    def pause(self) -> None:
        """Everything was said in one write."""

    def resume(self) -> None:
        """Everything was said in one write."""

    def close_after(self) -> None:
        """It does so anyway."""
