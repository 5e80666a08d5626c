"""Request ids in the form of a random UUID, made in batches: one system call per 256."""

import os
from collections.abc import Iterator

from coldspark.core.types import RequestId

_BATCH = 256
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def request_ids() -> Iterator[RequestId]:
    """Yield ids for ever: version 4, 122 random bits each (RFC 9562)."""
    while True:
        digits = os.urandom(16 * _BATCH).hex()
        for at in range(0, 32 * _BATCH, 32):
            yield RequestId(
                f"{digits[at : at + 8]}-{digits[at + 8 : at + 12]}"
                f"-4{digits[at + 13 : at + 16]}"
                f"-{_VARIANT[digits[at + 16]]}{digits[at + 17 : at + 20]}"
                f"-{digits[at + 20 : at + 32]}"
            )
