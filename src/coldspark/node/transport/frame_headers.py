"""The JSON heads of frames as the router writes and reads them; ``worker/frames`` names the fields.

Callers repeat themselves: all of a call's head but the request's id and the last word is kept.
"""

import msgspec

from coldspark.node.worker.header_cache import put_bounded
from coldspark.platform.ports import Invocation

_encode = msgspec.json.Encoder().encode
_CallKey = tuple[str | None, str, str | None, str | None, tuple[tuple[str, str], ...]]
"""The fields of a call's head that are kept, in its order."""


class _CallHead(msgspec.Struct):
    path: str | None
    method: str
    content_type: str | None
    accept: str | None
    headers: tuple[tuple[str, str], ...]


class CallHeaderEncoder:
    """Writes the heads of CALL."""

    def __init__(self) -> None:
        self._kept: dict[_CallKey, bytes] = {}

    def call(self, invocation: Invocation, more: int) -> bytes:
        """Return a head. ``request`` and ``more`` come last: the worker too keeps the rest."""
        key = (
            invocation.path,
            invocation.method,
            invocation.content_type,
            invocation.accept,
            invocation.headers,
        )
        start = self._kept.get(key) or self._learn(key)
        return b'%b,"request":%b,"more":%d}' % (start, _encode(invocation.request), more)

    def _learn(self, key: _CallKey) -> bytes:
        start = _encode(_CallHead(*key))[:-1]
        return put_bounded(self._kept, key, start, len(start))


class ReplyHead(msgspec.Struct):
    """The head of REPLY and HEAD."""

    status: int
    headers: list[tuple[str, str]] = []
    handler_us: int | None = None
    waited_us: int = 0


class EndHead(msgspec.Struct):
    """The head of END."""

    handler_us: int | None = None
    waited_us: int = 0


class FailedHead(msgspec.Struct):
    """The head of FAILED."""

    kind: str
    message: str
    traceback: str | None = None
    handler_us: int | None = None


class ReadyHead(msgspec.Struct):
    """The head of READY."""

    load_us: int | None = None
    parks: bool = False


class ParkedHead(msgspec.Struct):
    """The head of PARKED."""

    trouble: str | None = None


class LearnedHead(msgspec.Struct):
    """The head of LEARNED."""

    modules: list[str]


class BrokenHead(msgspec.Struct):
    """The head of BROKEN."""

    cause: str
    message: str
    traceback: str | None = None


decode_reply = msgspec.json.Decoder(ReplyHead).decode
decode_end = msgspec.json.Decoder(EndHead).decode
decode_failed = msgspec.json.Decoder(FailedHead).decode
decode_ready = msgspec.json.Decoder(ReadyHead).decode
decode_parked = msgspec.json.Decoder(ParkedHead).decode
decode_learned = msgspec.json.Decoder(LearnedHead).decode
decode_broken = msgspec.json.Decoder(BrokenHead).decode
