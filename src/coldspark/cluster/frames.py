"""Messages as bytes on a stream: a length of four bytes, then msgpack. No I/O."""

import msgspec

from coldspark.cluster.messages import Message, encode, to_hook

FRAME_BYTES_MAX = 64 * 1024**2
"""Views of some 30,000 endpoints."""
_HEAD_BYTES = 4
_decoder = msgspec.msgpack.Decoder(Message, dec_hook=to_hook)


class BadFrame(Exception):
    """The other side does not follow the protocol: the connection cannot go on."""


def encode_frame(message: Message) -> bytes:
    """Return a message's bytes. Raises BadFrame for one that is too long."""
    body = encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise BadFrame(f"a message of {len(body)} bytes; at most {FRAME_BYTES_MAX} are sent")
    return len(body).to_bytes(_HEAD_BYTES, "big") + body


class FrameBuffer:
    """The incomplete end of a stream."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Add bytes; return the messages that are whole by now. Raises BadFrame."""
        buffer, messages, at = self._buffer, [], 0
        buffer += data
        while len(buffer) - at >= _HEAD_BYTES:
            size = int.from_bytes(buffer[at : at + _HEAD_BYTES], "big")
            if size > FRAME_BYTES_MAX:
                raise BadFrame(f"a message of {size} bytes; at most {FRAME_BYTES_MAX} are taken")
            end = at + _HEAD_BYTES + size
            if len(buffer) < end:
                break
            try:
                messages.append(_decoder.decode(bytes(buffer[at + _HEAD_BYTES : end])))
            except msgspec.MsgspecError as error:
                raise BadFrame(f"a message that is none: {error}") from error
            at = end
        del buffer[:at]
        return messages
