"""What is known to be on this machine for each revision: files found, where, and how large."""

import asyncio
import os
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from coldspark import clock
from coldspark.node.launch_plan import LaunchFiles, LaunchPlan
from coldspark.node.launch_resolver import Progress
from coldspark.node.templates.fork_order import TemplateKey
from coldspark.node.warmth import CachedFiles, StartHistory, WakeLevel
from coldspark.platform.ports import StartOrder
from coldspark.spec.types import Spec

K = TypeVar("K")
V = TypeVar("V")
_KEPT_MAX = 4_096
_WALKED_MAX = 100_000
_FETCHED_US = 100_000
"""Finding files that are here takes less; what takes longer was brought here."""


@dataclass(frozen=True, slots=True)
class _Known:
    files: LaunchFiles
    key: TemplateKey
    """Of the template that it was last forked from, or was prepared to be."""


class LocalCache:
    """Remember what resolving found, by spec. Bounded; the oldest go first."""

    def __init__(self) -> None:
        self._known: OrderedDict[Spec, _Known] = OrderedDict()
        self._sizes: OrderedDict[Path, int] = OrderedDict()

    def key(self, spec: Spec) -> TemplateKey | None:
        """Return which template a spec was last forked from, or was prepared to be."""
        known = self._known.get(spec)
        return None if known is None else known.key

    def put(self, spec: Spec, files: LaunchFiles, key: TemplateKey) -> None:
        """Note where a spec's files lie, and which template it is forked from."""
        _keep(self._known, spec, _Known(files, key))

    async def record_resolve(
        self,
        starts: StartHistory,
        order: StartOrder,
        resolve: Callable[[Progress], Awaitable[LaunchPlan]],
        progress: Progress,
    ) -> LaunchPlan:
        """Resolve, and note how long it took and whether an environment was built meanwhile."""
        is_told = False

        def heard(text: str) -> None:
            # Only what is brought here has progress to tell.
            nonlocal is_told
            is_told = True
            progress(text)

        began_us = clock.monotonic_us()
        spec = order.revision.spec
        plan = await resolve(heard)
        took_us = clock.monotonic_us() - began_us
        is_slow = took_us >= _FETCHED_US
        # Who joins a build that runs already hears none of its progress.
        is_built = plan.files.is_environment_built or (is_slow and not spec.sources)
        rung = WakeLevel.REMOTE if is_told or is_slow else WakeLevel.CACHED
        starts.resolved(order.replica, took_us, is_built=is_built, rung=rung)
        self.put(spec, plan.files, plan.key)
        return plan

    async def measure(self, spec: Spec) -> CachedFiles:
        """Measure a spec's files where they are known to lie."""
        known = self._known.get(spec)
        if known is None:
            return CachedFiles(
                code_bytes=None, model_bytes=None, environment_bytes=None, has_own_environment=None
            )
        files = known.files
        programs = files.interpreter.parent
        is_own = programs != Path(sys.executable).parent
        return CachedFiles(
            code_bytes=await self._size(files.code_dir),
            model_bytes=await self._size(files.model_dir),
            environment_bytes=await self._size(programs.parent if is_own else None),
            has_own_environment=is_own,
        )

    async def _size(self, directory: Path | None) -> int | None:
        """Return a directory's size, measured once: walking a large environment takes a second."""
        if directory is None:
            return None
        if directory not in self._sizes:
            _keep(self._sizes, directory, await asyncio.to_thread(_bytes_under, directory))
        return self._sizes[directory]


def _bytes_under(directory: Path) -> int:
    """Add up files without their bytecode, hard links once, as many as a large environment has."""
    seen: set[tuple[int, int]] = set()
    total = walked = 0
    for folder, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            walked += 1
            if walked > _WALKED_MAX:
                return total
            try:
                state = os.stat(os.path.join(folder, name))
            except OSError:
                continue
            if (state.st_dev, state.st_ino) not in seen:
                seen.add((state.st_dev, state.st_ino))
                total += state.st_size
    return total


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > _KEPT_MAX:
        kept.popitem(last=False)
