"""What is known to be on this machine for each revision: files found, where, and how large."""

import asyncio
import os
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from coldspark.core.types import Spec
from coldspark.engines.launch import Files, Progress
from coldspark.runtime import clock
from coldspark.runtime.forking import TemplateKey
from coldspark.runtime.launches import LaunchPlan
from coldspark.runtime.ports import StartOrder
from coldspark.runtime.warmth import Rung, Starts, Stock

K = TypeVar("K")
V = TypeVar("V")
_KEPT_MAX = 4_096
_WALKED_MAX = 100_000
_FETCHED_US = 100_000
"""Finding files that are here takes less; what takes longer was brought here."""


@dataclass(frozen=True, slots=True)
class _Place:
    programs: Path
    """``bin/`` of its environment."""
    code_dir: Path | None
    model_dir: Path | None


class Shelf:
    """Remember what resolving found, by spec and by revision. Bounded; the oldest go first."""

    def __init__(self) -> None:
        self._places: OrderedDict[Spec, _Place] = OrderedDict()
        self._keys: OrderedDict[Spec, TemplateKey] = OrderedDict()
        self._sizes: OrderedDict[Path, int] = OrderedDict()

    def key(self, spec: Spec) -> TemplateKey | None:
        """Return which template a spec was last forked from, or was prepared to be."""
        return self._keys.get(spec)

    def holds(self, spec: Spec) -> bool:
        """Return whether a spec's files were seen here."""
        return spec in self._places

    def put(self, spec: Spec, files: Files, key: TemplateKey) -> None:
        """Note where a spec's files lie, and which template it is forked from."""
        _keep(self._keys, spec, key)
        place = _Place(files.interpreter.parent, files.code_dir, files.model_dir)
        _keep(self._places, spec, place)

    async def watch(
        self,
        starts: Starts,
        order: StartOrder,
        resolve: Callable[[Progress], Awaitable[LaunchPlan]],
        progress: Progress,
    ) -> LaunchPlan:
        """Resolve, and note how long it took and whether an environment was built meanwhile."""
        told = 0

        def counted(text: str) -> None:
            # Only a build has progress to tell.
            nonlocal told
            told += 1
            progress(text)

        began_us = clock.monotonic_us()
        spec = order.revision.spec
        plan = await resolve(counted)
        took_us = clock.monotonic_us() - began_us
        is_slow = took_us >= _FETCHED_US
        # Who joins a build that runs already hears none of its progress.
        is_built = bool(told) or (is_slow and spec.model is None)
        rung = Rung.REMOTE if is_built or is_slow else Rung.CACHED
        starts.resolved(order.replica, took_us, is_built=is_built, rung=rung)
        _keep(self._keys, spec, plan.key)
        _keep(self._places, spec, _place_of(spec, plan))
        return plan

    async def stock(self, spec: Spec) -> Stock:
        """Measure a spec's files where they are known to lie."""
        place = self._places.get(spec)
        if place is None:
            return Stock(
                code_bytes=None, model_bytes=None, environment_bytes=None, has_own_environment=None
            )
        is_own = place.programs != Path(sys.executable).parent
        return Stock(
            code_bytes=await self._size(place.code_dir),
            model_bytes=await self._size(place.model_dir),
            environment_bytes=await self._size(place.programs.parent if is_own else None),
            has_own_environment=is_own,
        )

    async def _size(self, directory: Path | None) -> int | None:
        """Return a directory's size, measured once: walking a large environment takes a second."""
        if directory is None:
            return None
        if directory not in self._sizes:
            _keep(self._sizes, directory, await asyncio.to_thread(_bytes_under, directory))
        return self._sizes[directory]


def _place_of(spec: Spec, plan: LaunchPlan) -> _Place:
    code_dir = None if spec.code is None else plan.cwd
    if plan.argv is None:
        return _Place(plan.key.interpreter.parent, code_dir, plan.model_dir)
    # A command's template is the platform's own; its environment comes first in its path.
    programs = Path(plan.environment["PATH"].partition(":")[0])
    return _Place(programs, code_dir, plan.model_dir)


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
