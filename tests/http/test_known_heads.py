"""A head that came before is not parsed again: nothing else may differ."""

import itertools

import httptools
import pytest
from gateway_fakes import FakePlatform
from wires import context

from coldspark.doors.native.invocations import NativeDoor
from coldspark.http.connection import Connection
from coldspark.http.door import Route
from coldspark.http.head import read_head
from coldspark.http.header_cache import cache_head
from coldspark.spec.types import EndpointName

from test_connection import Transport  # isort: skip

LINE = b"POST /v1/endpoints/churn/invoke HTTP/1.1\r\n"
ROUTE = Route(NativeDoor(), EndpointName("churn"))


def post(body: bytes, *lines: bytes) -> bytes:
    """Return a request, with further lines behind its length."""
    more = b"".join(line + b"\r\n" for line in lines)
    return LINE + b"Host: localhost\r\nContent-Length: %d\r\n%b\r\n%b" % (len(body), more, body)


def served(*pieces: bytes) -> FakePlatform:
    """Send pieces over one connection."""
    platform = FakePlatform()
    connection = Connection(context(platform))
    connection.connection_made(Transport())
    for piece in pieces:
        connection.data_received(piece)
    return platform


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return what goes to the parser."""
    seen: list[bytes] = []
    parser = httptools.HttpRequestParser

    class Watched:
        def __init__(self, protocol: object) -> None:
            self._parser = parser(protocol)

        def __getattr__(self, name: str) -> object:
            return getattr(self._parser, name)

        def feed_data(self, data: bytes) -> None:
            seen.append(data)
            self._parser.feed_data(data)

    # The library's class and no method of ours: compiled code calls its own methods directly.
    monkeypatch.setattr(httptools, "HttpRequestParser", Watched)
    return seen


def test_a_repeated_head_is_parsed_once_whatever_the_length(parsed: list[bytes]) -> None:
    """Each request still has its own length and body."""
    bodies = [b"x", b"y" * 1000, b"", b"z" * 99_999]
    platform = served(*(post(body) for body in bodies))
    assert [one.body for one in platform.invocations] == bodies
    assert len(parsed) == 1


def test_other_heads_are_parsed(parsed: list[bytes]) -> None:
    """One byte of difference is enough; so is a request that is not whole yet."""
    first, other = post(b"x", b"x-who: a"), post(b"x", b"x-who: b")
    platform = served(first, other, first, first[:30], first[30:])
    told = [dict(one.headers)["x-who"] for one in platform.invocations]
    assert told == ["a", "b", "a", "a"]
    assert len(parsed) == 5


@pytest.mark.parametrize("size", [1, 7, 40, 150, 1000])
def test_any_split_of_any_order_is_served_alike(size: int, parsed: list[bytes]) -> None:
    """Heads that are known, bodies in pieces and pipelined strangers may mix."""
    sent = [post(b"one"), post(b"", b"x-a: 1"), post(b"three" * 99), post(b"four", b"x-a: 1")] * 3
    stream = b"".join(sent)
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    platform = served(post(b"first"), *pieces)
    bodies = [one.body for one in platform.invocations]
    assert bodies == [b"first"] + [b"one", b"", b"three" * 99, b"four"] * 3


def test_head_and_body_may_come_apart(parsed: list[bytes]) -> None:
    """As most Python clients send them; the body passes by the parser then."""
    whole = post(b"0123456789")
    head, body = whole[:-10], whole[-10:]
    platform = served(head, body, *itertools.chain.from_iterable([(head, body[:3], body[3:])] * 5))
    assert [one.body for one in platform.invocations] == [body] * 6
    assert len(parsed) == 2


@pytest.mark.parametrize(
    "lines",
    [
        [b"content-length: 1", b"transfer-encoding: chunked"],
        [b"content-length: 1", b"expect: 100-continue"],
        [b"content-length: 1", b"upgrade: h2c"],
        [b"content-length: 1234567"],
        [b"x: content-length: 1"],
        [],
    ],
)
def test_what_needs_a_decision_is_not_kept(lines: list[bytes]) -> None:
    """Nor what is only in a header's value."""
    headers = [tuple(line.split(b": ", 1)) for line in lines]
    head = read_head("POST", "/", "", headers)  # type: ignore[arg-type]
    data = LINE + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    assert cache_head(data, ROUTE, head) is None


@pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1 1", b"0x1", b"1_0", b"1234567"])
def test_only_digits_are_a_length(length: bytes) -> None:
    """Whatever else stands there is the parser's to refuse."""
    data = post(b"x")
    head = read_head("POST", "/", "", [(b"content-length", b"1")])
    known = cache_head(data, ROUTE, head)
    assert known is not None
    assert known.find(data, 0) == (b"1", len(data) - 1)
    assert known.find(data.replace(b": 1\r", b": " + length + b"\r"), 0) is None
