"""AWS's event stream, as InvokeEndpointWithResponseStream answers in it. Pure.

A message is its whole length, the length of its headers, a CRC-32 of these two, the headers, the
payload, and a CRC-32 of all before (``vnd.amazon.eventstream``). A header is its name's length, its
name, a 7 for text, the text's length, the text. What a model says goes into ``PayloadPart`` events
as it is: clients see its bytes again, whatever stream of its own (such as SSE) they are.
"""

import json
import struct
from zlib import crc32

from coldspark.errors import ColdsparkError

CONTENT_TYPE = "application/vnd.amazon.eventstream"
PART_BYTES_MAX = 1024 * 1024
"""Of one payload: botocore refuses messages over 16 MiB, other clients sooner."""
_TEXT = 7
_PRELUDE = struct.Struct(">II")
_CRC = struct.Struct(">I")
_OVERHEAD_BYTES = _PRELUDE.size + 2 * _CRC.size
_MESSAGE_CHARS_MAX = 4_096

_TIME_EXCEEDED = "ModelInvocationTimeExceeded"
_BROKEN = "StreamBroken"


def _header(name: str, value: str) -> bytes:
    word, text = name.encode(), value.encode()
    return struct.pack(">B", len(word)) + word + struct.pack(">BH", _TEXT, len(text)) + text


def _headers(kind: str, type: str, media: str) -> bytes:
    fields = ((":message-type", kind), (f":{kind}-type", type), (":content-type", media))
    return b"".join(_header(name, value) for name, value in fields)


_PART_HEADERS = _headers("event", "PayloadPart", "application/octet-stream")


def message(headers: bytes, payload: bytes) -> bytes:
    """Return one message."""
    size = _OVERHEAD_BYTES + len(headers) + len(payload)
    prelude = _PRELUDE.pack(size, len(headers))
    start = prelude + _CRC.pack(crc32(prelude)) + headers
    return b"%b%b%b" % (start, payload, _CRC.pack(crc32(payload, crc32(start))))


def payload_parts(data: bytes) -> bytes:
    """Return a piece of a model's reply as events: one, unless it is long; none for no bytes."""
    if len(data) <= PART_BYTES_MAX:
        return message(_PART_HEADERS, data) if data else b""
    starts = range(0, len(data), PART_BYTES_MAX)
    return b"".join(message(_PART_HEADERS, data[at : at + PART_BYTES_MAX]) for at in starts)


def exception(error: ColdsparkError, *, is_models: bool) -> bytes:
    """Return what ends a stream that broke; ``is_models``: the model is at fault, not we."""
    body = {"Message": error.message[:_MESSAGE_CHARS_MAX]}
    if is_models:
        body["ErrorCode"] = _TIME_EXCEEDED if error.code == "TimedOut" else _BROKEN
    type = "ModelStreamError" if is_models else "InternalStreamFailure"
    return message(_headers("exception", type, "application/json"), json.dumps(body).encode())
