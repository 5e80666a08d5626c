"""Responses as bytes on the wire (RFC 9112): heads, the platform's own headers, trailers.

Nothing that a replica says can end a header early: names are tokens or dropped, and a head whose
count of line ends is not the count of its lines is cleaned before it leaves.
"""

import http
import math
import re
from collections.abc import Callable, Sequence
from operator import attrgetter, getitem

from coldspark.http.head import HOP_BY_HOP
from coldspark.platform.ports import Receipt
from coldspark.spec.money import NANOS_PER_DOLLAR
from coldspark.spec.types import RequestId
from coldspark.spec.waterfall import STAGES, Waterfall

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in http.HTTPStatus
}
_FINAL_LINES = {status: line for status, line in STATUS_LINES.items() if status >= 200}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = "connection: close\r\n"
KEEP_ALIVE = "connection: keep-alive\r\n"
_COLD_LINES = ("x-coldspark-cold: false\r\n", "x-coldspark-cold: true\r\n")
TRAILERS = "trailer: server-timing, x-coldspark-cost, x-coldspark-replica, x-coldspark-cold\r\n"

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f]")
_NAMES_MAX = 2_048

# The framing is ours to choose, Date is the gateway's, and what tells of cost and time must come
# from the meter alone.
_DROPPED = HOP_BY_HOP | {"content-length", "date", "server-timing"}
_OURS = "x-coldspark-"

_SHORT_US = 2_048
_FRACTIONS = tuple(str(us / 1000)[1:] for us in range(1000))
"""Of a millisecond, as a float would be written: ``.0`` to ``.999``."""


class _Durations(dict[int, str]):
    """One stage's part of Server-Timing by microseconds, nothing for none.

    Writing a float takes longer than anything else in a reply: whole milliseconds and a fraction
    from a table take half as long, and short stages, most of them, are written once.
    """

    def __init__(self, label: str, end: str = "") -> None:
        super().__init__({0: ""})
        self._label = label
        self._end = end

    def __missing__(self, duration_us: int) -> str:
        whole_ms, rest_us = divmod(duration_us, 1000)
        text = f"{self._label};dur={whole_ms}{_FRACTIONS[rest_us]}{self._end}"
        if duration_us < _SHORT_US:
            self[duration_us] = text
        return text


_STAGES = tuple(_Durations(name.removesuffix("_us"), ", ") for name in STAGES)
_TOTAL = _Durations("total")
_NO_TIME = "total;dur=0.0"
_durations_us: Callable[[Waterfall], tuple[int, ...]] = attrgetter(*STAGES)

_prefixes: dict[str, str | None] = {}
_lines: dict[tuple[tuple[str, str], ...], str] = {}
_LINES_MAX = 256
_LINES_CHARS_MAX = 1_024


def _learn(name: str) -> str | None:
    """Remember ``name: ``, or None for a header that is not passed. Bounded: replicas choose."""
    if len(_prefixes) >= _NAMES_MAX:
        _prefixes.clear()
    word = name.lower()
    is_passed = (
        _TOKEN.fullmatch(name) is not None and word not in _DROPPED and not word.startswith(_OURS)
    )
    _prefixes[name] = prefix = f"{name}: " if is_passed else None
    return prefix


def header_lines(headers: Sequence[tuple[str, str]], request: RequestId | None = None) -> str:
    """Return a replica's (or a door's) headers as lines, less those that may not be passed.

    Lines are kept, so a first header that is different each time would spoil that: some doors say
    the id of the ``request`` there.
    """
    if request is not None and headers and headers[0][1] == request:
        name, rest = headers[0][0], headers[1:]
        prefix = _prefixes[name] if name in _prefixes else _learn(name)
        return (
            header_lines(rest) if prefix is None else f"{prefix}{request}\r\n{header_lines(rest)}"
        )
    key = tuple(headers)
    known = _lines.get(key)
    if known is not None:
        return known
    lines = _header_lines(headers)
    if sum(len(name) + len(value) for name, value in key) <= _LINES_CHARS_MAX:
        # Replicas repeat themselves, but what and how much is theirs to choose.
        if len(_lines) >= _LINES_MAX:
            _lines.clear()
        _lines[key] = lines
    return lines


def _header_lines(headers: Sequence[tuple[str, str]]) -> str:
    lines = ""
    passed = 0
    for name, value in headers:
        prefix = _prefixes[name] if name in _prefixes else _learn(name)
        if prefix is not None:
            lines += f"{prefix}{value}\r\n"
            passed += 1
        elif name.lower() == "connection" and value.lower() not in ("close", "keep-alive"):
            return _header_lines(_without_nominated(headers, value))
    if lines.count("\n") != passed or lines.count("\r") != passed or "\0" in lines:
        return _header_lines([(name, _CONTROL.sub(" ", value)) for name, value in headers])
    return lines


def _without_nominated(
    headers: Sequence[tuple[str, str]], connection: str
) -> list[tuple[str, str]]:
    """Drop what the replica's Connection header names: it spoke of its own hop."""
    names = {token.strip().lower() for token in connection.split(",")} | {"connection"}
    return [(name, value) for name, value in headers if name.lower() not in names]


def status_line(status: int) -> str:
    """Return the status line of a final response; what is none (100-199, 600…) becomes 502."""
    line = _FINAL_LINES.get(status)
    if line is not None:
        return line
    return f"HTTP/1.1 {status} Unassigned" if 200 <= status <= 599 else STATUS_LINES[502]


def receipt_lines(request: RequestId, receipt: Receipt) -> str:
    """Return what a whole reply says about itself."""
    return f"x-coldspark-request-id: {request}\r\n{_cost_lines(receipt)}"


def last_chunk(receipt: Receipt) -> bytes:
    """Return the end of a chunked reply: cost and time as trailers, known only now."""
    return f"0\r\n{_cost_lines(receipt)}\r\n".encode("latin-1", "replace")


def chunk(data: bytes) -> bytes:
    """Frame a piece of a chunked reply. The empty one would end it: never pass it here."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def retry_after(seconds: float) -> str:
    """Return whole seconds for Retry-After (RFC 9110): rounded up, so that nobody is early."""
    return str(math.ceil(seconds))


def server_timing(waterfall: Waterfall) -> str:
    """Return the value of Server-Timing (W3C): milliseconds by stage, less those that were not."""
    durations_us = _durations_us(waterfall)
    stages = "".join(map(getitem, _STAGES, durations_us))
    return f"{stages}{_TOTAL[sum(durations_us)] or _NO_TIME}"


def _cost_lines(receipt: Receipt) -> str:
    usage = receipt.usage
    dollars, nanos = divmod(receipt.cost_nanos, NANOS_PER_DOLLAR)
    replica = "" if usage.replica is None else f"x-coldspark-replica: {usage.replica}\r\n"
    return (
        f"x-coldspark-cost: {dollars}.{nanos:09d}\r\n{_COLD_LINES[usage.is_cold]}"
        f"{replica}server-timing: {server_timing(usage.waterfall)}\r\n"
    )
