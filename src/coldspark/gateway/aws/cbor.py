"""CBOR (RFC 8949), as far as Smithy's rpc-v2-cbor has it: newer SDKs speak it to CloudWatch.

Lengths may be open; moments are tag 1 over seconds. What no member here can be, such as big
numbers, is refused.
"""

import math
import struct
from typing import Never

from coldspark.gateway.aws.errors import AwsError
from coldspark.gateway.aws.services import Moment

_DEPTH_MAX = 32
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _LIST, _MAP, _TAG, _SIMPLE = range(8)
_OPEN = 31
_BREAK = object()
_FLOATS = {25: ">e", 26: ">f", 27: ">d"}
_EPOCH = 1


def decode(body: bytes) -> object:
    """Return what a body holds. Raises AwsError. NaN and the infinities are strings, as in JSON."""
    reader = _Reader(body)
    value = reader.value(0)
    if value is _BREAK or reader.at != len(body):
        reader.refuse("something follows the value")
    return value


class _Reader:
    """Reads from the first byte to the last."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.at = 0

    def refuse(self, why: str) -> Never:
        raise AwsError("SerializationException", f"The body is not CBOR: {why} (byte {self.at}).")

    def _take(self, count: int) -> bytes:
        taken = self._body[self.at : self.at + count]
        if len(taken) < count:
            self.refuse("it ends too early")
        self.at += count
        return taken

    def value(self, depth: int) -> object:
        """Read one value; ``_BREAK`` ends what is open."""
        if depth > _DEPTH_MAX:
            self.refuse(f"it is nested deeper than {_DEPTH_MAX}")
        head = self._take(1)[0]
        major, info = head >> 5, head & 31
        if major == _SIMPLE:
            return self._simple(info)
        count = None if info == _OPEN else self._count(info)
        match major:
            case _ if count is None and major not in (_BYTES, _TEXT, _LIST, _MAP):
                self.refuse("a number has no length")
            case 0:
                return count
            case 1:
                assert count is not None
                return -1 - count
            case 2:
                return self._pieces(count, _BYTES)
            case 3:
                return self._text(count)
            case 4:
                return self._list(count, depth)
            case 5:
                return self._map(count, depth)
        if count != _EPOCH:
            self.refuse(f"tag {count} is not known")
        return self.value(depth + 1)

    def _count(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            self.refuse("a length is not written as lengths are")
        return int.from_bytes(self._take(1 << (info - 24)), "big")

    def _simple(self, info: int) -> object:
        if info in _FLOATS:
            (found,) = struct.unpack(_FLOATS[info], self._take(1 << (info - 24)))
            if math.isnan(found):
                return "NaN"
            return found if math.isfinite(found) else f"{'-' if found < 0 else ''}Infinity"
        known = {20: False, 21: True, 22: None, 23: None, _OPEN: _BREAK}
        if info not in known:
            self.refuse("a simple value is not known")
        return known[info]

    def _pieces(self, count: int | None, major: int) -> bytes:
        if count is not None:
            return self._take(count)
        found = []
        while (head := self._take(1)[0]) != 0xFF:
            if head >> 5 != major or head & 31 == _OPEN:
                self.refuse("a string is made of something else")
            found.append(self._take(self._count(head & 31)))
        return b"".join(found)

    def _text(self, count: int | None) -> str:
        try:
            return self._pieces(count, _TEXT).decode()
        except UnicodeDecodeError:
            self.refuse("a text is not UTF-8")

    def _list(self, count: int | None, depth: int) -> list[object]:
        found: list[object] = []
        while count is None or len(found) < count:
            value = self.value(depth + 1)
            if value is _BREAK:
                if count is None:
                    break
                self.refuse("it ends within a list")
            found.append(value)
        return found

    def _map(self, count: int | None, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        read = 0
        while count is None or read < count:
            name = self.value(depth + 1)
            if name is _BREAK and count is None:
                break
            value = self.value(depth + 1)
            if not isinstance(name, str) or value is _BREAK:
                self.refuse("a map has a name for each value")
            found[name] = value
            read += 1
        return found


def encode(value: object) -> bytes:
    """Return a value as CBOR."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case str():
            text = value.encode()
            return _head(_TEXT, len(text)) + text
        case Moment():
            return _head(_TAG, _EPOCH) + encode(value.at_ms / 1_000)
        case list():
            return _head(_LIST, len(value)) + b"".join(map(encode, value))
        case dict():
            pairs = (encode(name) + encode(member) for name, member in value.items())
            return _head(_MAP, len(value)) + b"".join(pairs)
    raise AssertionError(type(value))


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    for place, size in enumerate((1, 2, 4, 8)):
        if count < 1 << 8 * size:
            return bytes([major << 5 | 24 + place]) + count.to_bytes(size, "big")
    raise AssertionError(count)
