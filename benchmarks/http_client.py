"""A client that costs as little as Python allows: one socket, bytes made beforehand."""

import socket
import time

_HEAD_MAX_BYTES = 64 * 1024


class RawClient:
    """Send the same request again and again over one connection."""

    def __init__(self, port: int, path: str, body: bytes, headers: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n{headers}\r\n"
        )
        self._request = head.encode() + body

    def call_us(self) -> float:
        """Send one request, read its whole answer; return the microseconds between."""
        begun = time.perf_counter_ns()
        self._socket.sendall(self._request)
        data = self._socket.recv(_HEAD_MAX_BYTES)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        missing = _content_length(data[:end]) - (len(data) - end - 4)
        while missing > 0:
            missing -= len(self._more())
        elapsed_us = (time.perf_counter_ns() - begun) / 1000
        if not data.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:300].decode("latin-1"))
        return elapsed_us

    def _more(self) -> bytes:
        data = self._socket.recv(_HEAD_MAX_BYTES)
        if not data:
            raise ConnectionError("the server hung up within an answer")
        return data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _content_length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    if at < 0:
        raise RuntimeError(f"an answer without content-length: {head!r}")
    return int(head[at + 15 :].split(b"\r\n", 1)[0])
