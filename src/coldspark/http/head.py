"""The head of a request, as the doors see it: names in lower case, and what may be passed on."""

from collections.abc import Sequence
from dataclasses import dataclass

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110, section 7.6.1: these speak of one connection, not of the message."""

# A replica must never see a caller's credentials. The rest it gets in another form, or from us.
_WITHHELD = HOP_BY_HOP | {
    "accept",
    "authorization",
    "content-length",
    "content-type",
    "expect",
    "host",
    "http2-settings",
    "x-amz-security-token",
    "x-api-key",
}
_OURS = "x-coldspark-"
_NAMES_MAX = 2_048

Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Head:
    """A request's head. Not frozen, as it is made on the hot path; nobody changes it.

    Requests of one connection share it while their heads are the same bytes.
    """

    method: str
    raw_path: str
    """Still percent-encoded, without the query."""
    query: str
    headers: dict[str, str]
    """All of them, names in lower case; the values of a repeated one are joined by a comma."""
    passed: tuple[tuple[str, str], ...]
    """Those that a replica may see."""


_names: dict[bytes, tuple[str, bool]] = {}


def _learn(name: bytes) -> tuple[str, bool]:
    """Remember a name's lower case and whether it is withheld. Bounded: callers choose names."""
    if len(_names) >= _NAMES_MAX:
        _names.clear()
    word = name.decode("latin-1").lower()
    known = (word, word in _WITHHELD or word.startswith(_OURS))
    _names[name] = known
    return known


def read_head(
    method: str,
    raw_path: str,
    query: str,
    raw_headers: Sequence[tuple[bytes, bytes]],
) -> Head:
    """Sort a request's headers in one pass."""
    headers: dict[str, str] = {}
    passed: Pairs = []
    for name, value in raw_headers:
        word, is_withheld = _names.get(name) or _learn(name)
        text = value.decode("latin-1")
        headers[word] = f"{headers[word]}, {text}" if word in headers else text
        if not is_withheld:
            passed.append((word, text))
    connection = headers.get("connection")
    if connection is not None and connection.lower() not in ("keep-alive", "close"):
        passed = _without_nominated(passed, connection)
    return Head(method, raw_path, query, headers, tuple(passed))


def _without_nominated(passed: Pairs, connection: str) -> Pairs:
    """Withhold what the Connection header names: it is for this hop alone."""
    names = {token.strip().lower() for token in connection.split(",")}
    return [pair for pair in passed if pair[0] not in names]
