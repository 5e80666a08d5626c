"""Heads that come again: what is kept of them means what parsing them anew would."""

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from coldspark.node.transport.http_connection import HttpConnection
from coldspark.node.transport.http_headers import HttpHeaderCache, request_head
from coldspark.platform.ports import Invocation
from coldspark.spec.types import EndpointName, RequestId

NAMES = st.sampled_from(["x-a", "host", "x-b"])
HEADERS = st.lists(st.tuples(NAMES, st.text("ab\r\n", max_size=4)))
INVOCATIONS = st.builds(
    Invocation,
    endpoint=st.just(EndpointName("e")),
    method=st.sampled_from(["POST", "PUT", "GET", "HEAD"]),
    content_type=st.sampled_from([None, "application/json", "text/csv"]),
    accept=st.sampled_from([None, "*/*"]),
    headers=HEADERS.map(tuple),
    body=st.sampled_from([b"", b"1", b"x" * 100_000]),
    started_s=st.just(0.0),
    request=st.just(RequestId("r")),
)
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
REPLIES = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nho",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-a: b\r\n\r\nhey",
            b"HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 204 OK\r\n\r\n",
            CHUNKED,
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        ]
    ),
    min_size=1,
    max_size=12,
)


@given(invocations=st.lists(INVOCATIONS, max_size=6))
def test_a_request_whose_head_is_kept_reads_as_one_that_was_written_anew(
    invocations: list[Invocation],
) -> None:
    """Method, path, headers and length are this request's, whatever came before."""
    heads = HttpHeaderCache(80)
    for invocation in (*invocations, *invocations):
        written = b"".join(heads.request(invocation, "/x"))
        assert written == request_head(invocation, "/x", 80) + invocation.body


class Wire:
    """A transport that takes everything."""

    def write(self, data: bytes) -> None:
        """Nobody reads it."""

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Nobody reads it."""

    def is_closing(self) -> bool:
        """Never."""
        return False

    def abort(self) -> None:
        """Nobody is there to hang up on."""


class Heard:
    """An exchange, and the pool that its connection goes back to."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def on_whole(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Keep it."""
        self.told.append((status, list(headers), body))

    def on_head(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Keep it."""
        self.told.append((status, list(headers)))

    def on_chunk(self, chunk: bytes) -> None:
        """Keep it, joined to the piece before: where a body is cut is the network's matter."""
        if self.told and isinstance(self.told[-1], bytes):
            chunk = self.told.pop() + chunk  # type: ignore[operator]
        self.told.append(chunk)

    def on_end(self) -> None:
        """Keep it."""
        self.told.append("end")

    def on_broken(self, message: str, *, was_unanswered: bool) -> None:
        """Keep it."""
        self.told.append(message)

    def on_free(self, connection: HttpConnection) -> None:
        """Keep it."""
        self.told.append("free")

    def on_closed(self, connection: HttpConnection) -> None:
        """Nothing closes here."""


def heard_of(reply: bytes, connection: HttpConnection, owner: Heard, cut: int | None) -> Heard:
    """Exchange one request for a reply that comes whole, or in two pieces."""
    exchange = Heard()
    owner.told.clear()
    connection.send((b"?",), exchange, is_head=False)
    for piece in (reply,) if cut is None else (reply[:cut], reply[cut:]):
        if piece:
            connection.data_received(piece)
    exchange.told += owner.told
    return exchange


def connected(heads: HttpHeaderCache) -> tuple[HttpConnection, Heard]:
    """Return an open connection and its owner."""
    owner = Heard()
    connection = HttpConnection(owner, heads)
    connection.connection_made(Wire())  # type: ignore[arg-type]
    return connection, owner


@given(replies=REPLIES, cuts=st.lists(st.none() | st.integers(0, 80), min_size=12, max_size=12))
@example(replies=[CHUNKED], cuts=[CHUNKED.index(b"hi") + 1])
def test_a_reply_whose_head_is_known_is_told_as_one_that_is_parsed(
    replies: list[bytes], cuts: list[int | None]
) -> None:
    """However it is cut: the same status, headers and body, and the connection is free again."""
    connection, owner = connected(HttpHeaderCache(80))
    for reply, cut in zip(replies, cuts, strict=False):
        fresh = heard_of(reply, *connected(HttpHeaderCache(80)), cut=None)
        assert heard_of(reply, connection, owner, cut).told == fresh.told


def test_a_reply_to_head_teaches_nothing() -> None:
    """Its length speaks of a body that does not come."""
    heads = HttpHeaderCache(80)
    connection, _ = connected(heads)
    connection.send((b"?",), Heard(), is_head=True)
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
    assert not heads.replies
