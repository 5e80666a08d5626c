"""Read and write the small files that the kernel makes up, in as few calls as it takes.

``open`` asks seven times what kind of file it got; at each start and end there are dozens of them.
"""

from __future__ import annotations

import os

_READ_BYTES = 65_536


def read(path: str) -> bytes:
    """Return what a file holds. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, _READ_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write(path: str, data: bytes) -> None:
    """Write into a file that is there. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
