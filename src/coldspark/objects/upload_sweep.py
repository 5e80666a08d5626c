"""End uploads in parts that were left alone: once an hour, those that nobody touched for a week."""

import logging
from typing import Protocol

from coldspark.tasks import Tasks

_log = logging.getLogger(__name__)
UNTOUCHED_MS = 7 * 24 * 3_600_000
_EVERY_S = 3_600.0
_CLOSE_WITHIN_S = 5.0


class SweptUploads(Protocol):
    """A store of uploads."""

    async def sweep(self, untouched_ms: int) -> int:
        """End what nobody touched for so long; return how many that were."""


class UploadSweep:
    """Sweeps while the server runs."""

    def __init__(self, uploads: SweptUploads, every_s: float = _EVERY_S) -> None:
        self._uploads = uploads
        self._every_s = every_s
        self._tasks = Tasks()

    def open(self) -> None:
        """Start to sweep."""
        self._tasks.every(self._every_s, self._sweep, "sweep abandoned uploads", at_once=True)

    async def close(self) -> None:
        """Stop sweeping."""
        await self._tasks.close(_CLOSE_WITHIN_S)

    async def _sweep(self) -> None:
        ended = await self._uploads.sweep(UNTOUCHED_MS)
        if ended:
            _log.info("%d abandoned uploads were ended", ended)
