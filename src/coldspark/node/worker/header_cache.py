"""Heads of calls and replies that come again: most of each is parsed, or written, once.

The router writes ``request`` and ``more`` last in a CALL; all before them is what callers repeat.
A head that does not end so is parsed as any JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypeVar

K = TypeVar("K")
V = TypeVar("V")
_KEPT_MAX = 64
_BYTES_MAX = 4_096
_MARK = b',"request":'
"""No text within a JSON string reads so: its quotes would be escaped."""
_END = re.compile(rb'"([0-9A-Za-z._-]*)","more":([0-9]+)\}')


class CallHeaderDecoder:
    """Reads the heads of CALL. By one thread at a time."""

    def __init__(self) -> None:
        self._kept: dict[bytes, dict[str, Any]] = {}

    def read(self, head: bytes) -> dict[str, Any]:
        """Return a head's fields. Raises ValueError."""
        start, mark, rest = head.rpartition(_MARK)
        end = _END.fullmatch(rest) if mark else None
        if end is None:
            whole: dict[str, Any] = json.loads(head)
            return whole
        kept = self._kept.get(start) or self._learn(start)
        return {**kept, "request": end[1].decode(), "more": int(end[2])}

    def _learn(self, start: bytes) -> dict[str, Any]:
        fields: dict[str, Any] = json.loads(start + b"}")
        return put_bounded(self._kept, start, fields, len(start))


class ReplyHeaderEncoder:
    """Writes the heads of REPLY."""

    def __init__(self) -> None:
        self._kept: dict[tuple[object, ...], bytes] = {}

    def write(
        self,
        status: int,
        headers: Sequence[tuple[str, str]],
        handler_us: int,
        waited_us: int = 0,
    ) -> bytes:
        """Return a head."""
        key = (status, *headers)
        start = self._kept.get(key) or self._learn(key, status, headers)
        if waited_us:
            return b'%b, "handler_us": %d, "waited_us": %d}' % (start, handler_us, waited_us)
        return b'%b, "handler_us": %d}' % (start, handler_us)

    def _learn(
        self, key: tuple[object, ...], status: int, headers: Sequence[tuple[str, str]]
    ) -> bytes:
        start = json.dumps({"status": status, "headers": headers}).encode()[:-1]
        return put_bounded(self._kept, key, start, len(start))


def put_bounded(kept: dict[K, V], key: K, value: V, size_bytes: int) -> V:
    """Put ``value`` into ``kept`` unless it is long, dropping all of them when they are many.

    Who sends the keys chooses how many there are.
    """
    if size_bytes <= _BYTES_MAX:
        if len(kept) >= _KEPT_MAX:
            kept.clear()
        kept[key] = value
    return value
