"""The channel between router and replica: length-prefixed frames, sans I/O, for both ends.

One frame on a Unix stream socket, big endian:

    +----------------+---------+-------------+------------------------+
    | u32 length     | u8 kind | u32 call    | payload, length-5 bytes|
    +----------------+---------+-------------+------------------------+

``call`` numbers the requests of one connection, chosen by the router; 0 speaks of the replica
itself. A *headed* payload is ``u32 head length, head (JSON object), body bytes``.

    router -> replica   CALL     headed: {"path","method","content_type","accept","headers",
                                 "request","more"}; body, or its first part when "more" is not 0
                        BODY     next part of the body; an empty part ends it
                        CANCEL   give the call up
                        PARK     the process will be frozen: have the handler's ``park`` run
                        UNPARK   it runs again: have the handler's ``unpark`` run
                        CREDIT   u32: this many more bytes of CHUNK may be sent for the call
    replica -> router   BOOTED   JSON {}: the process runs and begins to load
                        READY    JSON {"load_us","parks"}; parks: the handler has such hooks
                        PARKED   JSON {"trouble"}: a hook has run, or what it raised
                        LEARNED  JSON {"modules"}: names of what was imported since the fork
                        BROKEN   JSON {"cause","message","traceback"}: could not load; exit follows
                        REPLY    headed: {"status","headers","handler_us","waited_us"}; the body
                        HEAD     JSON {"status","headers"}: a streamed reply begins
                        CHUNK    piece of a streamed reply; counts against the credit
                        END      JSON {"handler_us","waited_us"}; waited: for its batch
                        FAILED   JSON {"kind","message","traceback","handler_us"}: ends the call

``more`` is the most bytes of BODY that may follow: more is a broken peer. The router may not know
how long a body is that it sends while it comes.

``headers`` are lists of ``[name, value]``, names in lower case; those of a reply always begin with
``content-type``. ``kind`` is HandlerFailed, UnsupportedMedia or Cancelled (a cancelled call ends in
exactly one FAILED of that kind, also after HEAD; a CANCEL that comes after the end is ignored).
``cause`` is a ``RootCause``.

A replica may send ``CREDIT_BYTES`` of CHUNK per call before it needs CREDIT. Bodies over
``PART_BYTES`` travel in parts, so no frame is larger than ``FRAME_MAX_BYTES``: a longer one is a
broken peer and raises ``FrameError``.
"""

import json
import struct

FRAME_MAX_BYTES = 2 * 1024 * 1024
PART_BYTES = 1024 * 1024
CREDIT_BYTES = 4 * 1024 * 1024

CALL, BODY, CANCEL, CREDIT, PARK, UNPARK = 1, 2, 3, 4, 5, 6
BOOTED, READY, BROKEN, REPLY, HEAD, CHUNK, END, FAILED = 16, 17, 18, 19, 20, 21, 22, 23
PARKED, LEARNED = 24, 25

_PREFIX = struct.Struct(">IBI")
_U32 = struct.Struct(">I")


class FrameError(Exception):
    """The peer sent what is not a frame."""


def encode(kind: int, call: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return _PREFIX.pack(len(payload) + 5, kind, call) + payload


def encode_json(kind: int, call: int, head: object) -> bytes:
    """Return a frame whose payload is one JSON value."""
    return encode(kind, call, json.dumps(head).encode())


def encode_headed(kind: int, call: int, head: bytes, body: bytes) -> bytes:
    """Return a frame with a JSON head and a raw body (at most ``PART_BYTES``)."""
    length = 9 + len(head) + len(body)
    return b"".join((_PREFIX.pack(length, kind, call), _U32.pack(len(head)), head, body))


def encode_credit(call: int, size_bytes: int) -> bytes:
    """Return a CREDIT frame."""
    return encode(CREDIT, call, _U32.pack(size_bytes))


def split_headed(payload: bytes) -> "tuple[bytes, bytes]":
    """Return head and body of a headed payload."""
    if len(payload) < 4:
        raise FrameError(f"headed payload of {len(payload)} bytes has no head length")
    (size,) = _U32.unpack_from(payload)
    if size > len(payload) - 4:
        raise FrameError(f"head of {size} bytes in a payload of {len(payload)}")
    return payload[4 : 4 + size], payload[4 + size :]


def read_credit(payload: bytes) -> int:
    """Return the bytes granted by a CREDIT payload."""
    if len(payload) != 4:
        raise FrameError(f"credit payload of {len(payload)} bytes")
    return int(_U32.unpack(payload)[0])


class Decoder:
    """Turn a stream of bytes into frames. Holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: "bytes | memoryview") -> "list[tuple[int, int, bytes]]":
        """Return the frames that ``data`` completes, as ``(kind, call, payload)``."""
        buffer: bytes | bytearray | memoryview = data
        if self._buffer:
            self._buffer += data
            buffer = self._buffer
        frames, offset, end = [], 0, len(buffer)
        while end - offset >= 9:
            length, kind, call = _PREFIX.unpack_from(buffer, offset)
            if not 5 <= length <= FRAME_MAX_BYTES:
                raise FrameError(f"frame of {length} bytes; at most {FRAME_MAX_BYTES}")
            if end - offset < 4 + length:
                break
            frames.append((kind, call, bytes(buffer[offset + 9 : offset + 4 + length])))
            offset += 4 + length
        if buffer is data:
            # Nearly always whole frames come, and nothing is left to keep.
            self._buffer += data[offset:]
        elif offset:
            del self._buffer[:offset]
        return frames
