"""Request ids in the form of a random UUID, made in batches: one system call per 256."""

import os
from collections.abc import Iterator
from typing import cast

from coldspark.core.types import RequestId

_BATCH = 256
_BYTES = 16
_VERSION = bytes(byte & 0x0F | 0x40 for byte in range(256))
_VARIANT = bytes(byte & 0x3F | 0x80 for byte in range(256))


def request_ids() -> Iterator[RequestId]:
    """Yield ids for ever: version 4, 122 random bits each (RFC 9562)."""
    while True:
        yield from cast(list[RequestId], _batch())


def _batch() -> list[str]:
    drawn = bytearray(os.urandom(_BYTES * _BATCH))
    drawn[6::_BYTES] = drawn[6::_BYTES].translate(_VERSION)
    drawn[8::_BYTES] = drawn[8::_BYTES].translate(_VARIANT)
    # An id is eight groups of four digits; splitting all at once is cheaper than cutting each.
    quads = iter(drawn.hex("-", 2).split("-"))
    return [
        f"{a}{b}-{c}-{d}-{e}-{f}{g}{h}" for a, b, c, d, e, f, g, h in zip(*[quads] * 8, strict=True)
    ]
