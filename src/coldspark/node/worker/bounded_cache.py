"""Keep what was worked out while it is little: who sends the keys chooses how many there are."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")
_KEPT_MAX = 64
_BYTES_MAX = 4_096


def put_bounded(kept: dict[K, V], key: K, value: V, size_bytes: int) -> V:
    """Put ``value`` into ``kept`` unless it is long, dropping all of them when they are many."""
    if size_bytes <= _BYTES_MAX:
        if len(kept) >= _KEPT_MAX:
            kept.clear()
        kept[key] = value
    return value
