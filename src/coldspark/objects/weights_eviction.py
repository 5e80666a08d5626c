"""Bound downloaded model data: at the start, and after each download.

What a deployed endpoint names, and what a living replica was started from, stays, even where that
alone is more than the bound.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from coldspark.spec.units import format_size
from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)
_CLOSE_WITHIN_S = 5.0


class EvictingStore(Protocol):
    """The store of model data."""

    on_made: Callable[[], None]
    """Called after a download."""

    async def evict(self, living: Collection[str], bytes_max: int) -> list[Path]:
        """Evict the least recently used that is not living; return what was removed."""


class WeightsEvictor:
    """Enforces one bound on one store."""

    def __init__(
        self, store: EvictingStore, bytes_max: int, living: Callable[[], Collection[str]]
    ) -> None:
        """Take the dependencies. ``living`` returns the URLs that must stay."""
        self._store = store
        self._bytes_max = bytes_max
        self._living = living
        self._is_due = asyncio.Event()
        self._tasks = Tasks()

    def open(self) -> None:
        """Start to enforce it."""
        self._store.on_made = self._is_due.set
        self._tasks.every(None, self._enforce, "evict model data", at_once=True, wake=self._is_due)

    async def close(self) -> None:
        """Stop enforcing it."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def _enforce(self) -> None:
        gone = await self._store.evict(self._living(), self._bytes_max)
        if gone:
            most = format_size(self._bytes_max)
            _log.info("%d of model data were evicted: at most %s are kept", len(gone), most)
