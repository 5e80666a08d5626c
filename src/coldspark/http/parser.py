"""The bytes of one client connection made requests: parsing HTTP/1.1, within bounds."""

import logging
from abc import ABC, abstractmethod
from enum import Enum

import httptools

from coldspark import clock
from coldspark.http.context import HttpContext
from coldspark.http.door import Route
from coldspark.http.head import Head
from coldspark.http.header_cache import CachedHead, cache_head

log = logging.getLogger(__name__)


class ParserState(Enum):
    """Where in the client's bytes the parser is."""

    BETWEEN = "between"
    HEAD = "head"
    BODY = "body"
    CLOSED = "deaf"
    """Nothing more is taken; what still comes is dropped."""


_LESSONS_MAX = 4
"""Heads learnt in a row and not met again, until a connection is no longer worth learning."""

# Looking a member up on its Enum takes longer than the comparison, and this is done per header.
_BETWEEN, _HEAD, _BODY, _DEAF = (
    ParserState.BETWEEN,
    ParserState.HEAD,
    ParserState.BODY,
    ParserState.CLOSED,
)


class RequestParser(ABC):
    """What a connection does with its client's bytes. Its subclass takes what was read."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._parser = httptools.HttpRequestParser(self)
        self._reading = _BETWEEN
        self._method = self._url = b""
        self._version = ""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fed_bytes = 0
        self._overhead_bytes = 0
        """Read of the present head, or since the body last grew."""
        self._has_grown = False
        self._has_completed = False
        """Some request ended within the bytes that are being parsed."""
        self._is_resumed = False
        """The parser reads a head of our own making: see ``_ignore_upgrades``."""
        self._heads_parsed = 0
        """Within the bytes that are being parsed."""
        self._lesson: tuple[Route, Head] | None = None
        """A head within them that may come again, as it is or with another length."""
        self._lessons_left = _LESSONS_MAX
        self._known: CachedHead | None = None
        self._left_bytes = 0
        """Of a body whose head was known: it passes by the parser."""

    @abstractmethod
    def _begin(self) -> None:
        """Take a request whose head was read. Raises HttpParserInvalidURLError."""

    @abstractmethod
    def _begin_known(self, route: Route, head: Head) -> None:
        """Take a request whose head came before."""

    @abstractmethod
    def _take_known(self, route: Route, head: Head, body: bytes) -> None:
        """Take such a request whole."""

    @abstractmethod
    def _grow(self, data: bytes) -> None:
        """Take a piece of its body."""

    @abstractmethod
    def _complete(self) -> None:
        """Take its end."""

    @abstractmethod
    def _refuse(self, status: int, message: str) -> None:
        """Take what is no request; from then on nothing is read."""

    @abstractmethod
    def _wait_for_more(self) -> None:
        """Take that a head or body is here in part."""

    @abstractmethod
    def abort(self) -> None:
        """End everything at once: a bug was met."""

    def data_received(self, data: bytes) -> None:
        """Take what came: a head that is known, the body behind it, or what must be parsed."""
        at, end = 0, len(data)
        while at < end and self._reading is not _DEAF:
            if self._left_bytes:
                at = self._pass_body(data, at)
                continue
            known = self._known
            found = known.find(data, at) if known and self._reading is _BETWEEN else None
            if known is None or found is None:
                self._parse(data[at:])
                return
            at = self._recall(known, data, *found)

    def _recall(self, known: CachedHead, data: bytes, length: bytes, at: int) -> int:
        """Take a request whose head came before; return where the next one begins."""
        self._lessons_left = _LESSONS_MAX
        head = known.rebuild(length, clock.monotonic_s())
        end = at + int(length)
        if end <= len(data):
            self._take_known(known.route, head, data[at:end])
            return end
        self._reading = _BODY
        self._left_bytes = end - at
        self._begin_known(known.route, head)
        if at == len(data):
            self._wait_for_more()
        return at

    def _pass_body(self, data: bytes, at: int) -> int:
        piece = data[at : at + self._left_bytes]
        self._left_bytes -= len(piece)
        self._grow(piece)
        if self._left_bytes:
            self._wait_for_more()
        elif self._reading is _BODY:
            self._reading = _BETWEEN
            self._complete()
        return at + len(piece)

    def _parse(self, data: bytes) -> None:
        """Parse; the callbacks below are called for what is complete."""
        is_first = self._reading is _BETWEEN
        self._begin_bytes(len(data))
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._malformed(error)
        if self._reading is not _BETWEEN:
            self._check_partial()
        # Only of the first head of these bytes is it plain where it stands.
        if self._lesson is not None and is_first and self._heads_parsed == 1:
            self._learn(data, *self._lesson)

    def _begin_bytes(self, size: int) -> None:
        # A method of its own: within one, a type checker (and a compiler that trusts it) believes
        # that the lesson is still none behind the call that parses.
        self._fed_bytes = size
        self._has_completed = False
        self._heads_parsed = 0
        self._lesson = None

    def _learn(self, data: bytes, route: Route, head: Head) -> None:
        """Know a head from now on, unless this client never sends one twice."""
        if self._lessons_left:
            self._lessons_left -= 1
            self._known = cache_head(data, route, head)

    def on_message_begin(self) -> None:
        """A request line begins."""
        if self._reading is not _DEAF and not self._is_resumed:
            self._reading = _HEAD
            self._url = b""
            self._headers = []

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header; trailers of a body are of no use here."""
        if self._reading is _HEAD:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide whose request it is."""
        if self._reading is _DEAF or self._is_resumed:
            self._is_resumed = False
            return
        self._reading = _BODY
        self._heads_parsed += 1
        self._method = self._parser.get_method()
        self._version = self._parser.get_http_version()
        refusal = self._refusal_of_head()
        if refusal is not None:
            self._refuse(*refusal)
            return
        try:
            self._begin()
        except httptools.HttpParserInvalidURLError as error:
            self._refuse(400, f"The URL is not valid: {error}.")

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._has_grown = True
        self._grow(data)

    def on_message_complete(self) -> None:
        """The request was read to its end."""
        if self._reading is _DEAF:
            return
        if self._parser.should_upgrade() and self._body_line():
            return  # The parser took the body for another protocol: it is read yet.
        self._reading = _BETWEEN
        self._overhead_bytes = 0
        self._has_completed = True
        self._complete()

    def _check_partial(self) -> None:
        """Bound what is neither a whole head nor a piece of a body."""
        # If requests ended within these bytes, not all of them belong to the present one.
        size = self._head_size() if self._has_completed else self._fed_bytes
        if self._reading is _HEAD:
            self._overhead_bytes += size
        elif self._reading is _BODY:
            self._overhead_bytes = 0 if self._has_grown else self._overhead_bytes + size
            self._has_grown = False
        limit = self._context.limits.head_bytes_max
        if self._overhead_bytes > limit:
            self._refuse(431, f"Head or framing of the request is over {limit} bytes.")
        else:
            self._wait_for_more()

    def _refusal_of_head(self) -> tuple[int, str] | None:
        """Return why a head cannot be served, or None."""
        limit = self._context.limits.head_bytes_max
        if self._overhead_bytes + self._fed_bytes > limit and self._head_size() > limit:
            return 431, f"The head of the request is over {limit} bytes."
        if self._method == b"CONNECT":
            return 405, "This is not a proxy."
        if self._version not in ("1.1", "1.0"):
            return 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here."
        return None

    def _head_size(self) -> int:
        lines = sum(len(name) + len(value) + 4 for name, value in self._headers)
        return len(self._url) + lines

    def _malformed(self, error: httptools.HttpParserError) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            log.error("a connection met a bug", exc_info=error)
            self.abort()
        else:
            self._refuse(400, f"This is not HTTP/1.1: {error}.")

    def _ignore_upgrades(self, rest: memoryview) -> None:
        """Go on in HTTP/1.1, as a server may that was asked for another protocol (RFC 9110).

        The parser stops behind the head. If a body follows (Java's client asks for h2c even when
        it posts), a new parser is told so by a head of our own making.
        """
        while self._reading is not _DEAF:
            body_line = self._body_line() if self._reading is _BODY else b""
            try:
                if body_line:
                    self._is_resumed = True
                    self._parser = httptools.HttpRequestParser(self)
                    self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % body_line)
                self._parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                self._malformed(error)
                return
            else:
                return

    def _body_line(self) -> bytes:
        """Return the header that announces the present request's body, or nothing."""
        for name, value in self._headers:
            word = name.lower()
            if word == b"transfer-encoding" or (
                word == b"content-length" and value.strip() != b"0"
            ):
                return b"%b: %b" % (word, value)
        return b""
