"""The HTTP client against raw sockets: streams, trailers, reuse, early refusals, broken replies."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from coldspark.errors import InvalidRequest
from coldspark.sdk.transport import ReplyBroken, ServerUnreachable, Transport

Script = Callable[[socket.socket], None]


class RawServer:
    """Runs one script for each connection."""

    def __init__(self, *scripts: Script) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._scripts = scripts
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for script in self._scripts:
            connection, _ = self._listener.accept()
            self.connections += 1
            connection.settimeout(10)
            with connection:
                script(connection)

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start raw servers, and stop them at the end."""
    servers: list[RawServer] = []

    def start(*scripts: Script) -> RawServer:
        servers.append(RawServer(*scripts))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def read_head(connection: socket.socket) -> bytes:
    """Read until the empty line."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    return data


def answer(*pieces: bytes) -> Script:
    """Return a script that answers each request of a connection with one piece."""

    def script(connection: socket.socket) -> None:
        for piece in pieces:
            read_head(connection)
            connection.sendall(piece)

    return script


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def test_a_connection_is_used_again(serve: Callable[..., RawServer]) -> None:
    """Two calls, one connection."""
    server = serve(answer(OK, OK))
    transport = Transport(server.url)
    assert [transport.exchange("GET", "/").read() for _ in range(2)] == [b"hi", b"hi"]
    assert server.connections == 1


def test_a_connection_that_the_server_closed_is_replaced(serve: Callable[..., RawServer]) -> None:
    """A restart of the server between two calls is no failure."""
    server = serve(answer(OK), answer(OK))
    transport = Transport(server.url)
    assert transport.exchange("GET", "/").read() == b"hi"
    for connection in transport._idle:
        connection.settimeout(5)
        assert connection.recv(1, socket.MSG_PEEK) == b""
    assert transport.exchange("GET", "/").read() == b"hi"
    assert server.connections == 2


def test_a_stream_is_read_as_it_comes_and_its_trailers_are_kept(
    serve: Callable[..., RawServer],
) -> None:
    """Cost and time of a stream come at its end."""
    go_on = threading.Event()

    def script(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n")
        go_on.wait(10)
        connection.sendall(b"3\r\ntwo\r\n0\r\nX-Coldspark-Cost: 0.1\r\n\r\n")

    reply = Transport(serve(script).url).exchange("GET", "/")
    chunks = reply.chunks()
    assert next(chunks) == b"one"
    assert "x-coldspark-cost" not in reply.headers
    go_on.set()
    assert list(chunks) == [b"two"]
    assert reply.headers["x-coldspark-cost"] == "0.1"


def test_a_refusal_before_the_body_was_sent_is_heard(serve: Callable[..., RawServer]) -> None:
    """A server that closes on a body too large has said why."""

    def script(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(
            b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig"
        )
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1_000_000):
            pass

    reply = Transport(serve(script).url).exchange("PUT", "/", body=b"x" * 5_000_000)
    assert (reply.status, reply.read()) == (413, b"big")


def test_an_interim_reply_is_passed_over(serve: Callable[..., RawServer]) -> None:
    """``100 Continue`` is not the answer."""
    reply = Transport(serve(answer(b"HTTP/1.1 100 Continue\r\nx: 1\r\n\r\n" + OK)).url).exchange(
        "GET", "/"
    )
    assert (reply.status, reply.read(), "x" in reply.headers) == (200, b"hi", False)


def test_a_body_until_close_is_whole(serve: Callable[..., RawServer]) -> None:
    """An old server frames by closing."""
    server = serve(answer(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it"))
    assert Transport(server.url).exchange("GET", "/").read() == b"all of it"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
        b"",
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
    ],
)
def test_a_reply_that_breaks_off_is_a_failure(serve: Callable[..., RawServer], head: bytes) -> None:
    """Half an answer is none."""
    with pytest.raises(ReplyBroken):
        Transport(serve(answer(head)).url).exchange("GET", "/").read()


def test_silence_ends(serve: Callable[..., RawServer]) -> None:
    """The time limit is the caller's."""

    def script(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(1)

    with pytest.raises(ReplyBroken, match="time limit"):
        Transport(serve(script).url).exchange("GET", "/", timeout_s=0.05)


def test_no_server_is_reported_with_its_address() -> None:
    """Nothing listens on a port that was just freed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{port}"):
        Transport(f"127.0.0.1:{port}").exchange("GET", "/")


def test_what_is_sent(serve: Callable[..., RawServer]) -> None:
    """Key, length and target, in one write."""
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_head(connection))
        connection.sendall(OK)

    transport = Transport(f"{serve(script).url}/prefix", "csk_1")
    transport.exchange("POST", "/v1/x?a=1", headers={"accept": "b"}, body=b"body").read()
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /prefix/v1/x?a=1 HTTP/1.1"
    assert {"authorization: Bearer csk_1", "content-length: 4", "accept: b"} <= set(lines)
    assert body == b"body"


@pytest.mark.parametrize("url", ["ftp://x", "http://", "://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequest, match="must be such as"):
        Transport(url)


def test_a_header_cannot_smuggle_another() -> None:
    """A line end in a value is refused."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        transport = Transport(f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(InvalidRequest, match="one line"):
            transport.exchange("GET", "/", headers={"x": "a\r\nb: c"})
