"""Endpoints played under one setting each, in several processes, each once.

A play is one recorded endpoint, or a copy of it, under one setting with one start time. No rule is
limited by size: there are four times the replicas that the busiest minute fills, and the queue has
no end.
"""

import hashlib
import pickle
import time
from array import array
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.simulated import one_endpoint
from benchmarks.swept import Setting
from coldspark.sim.simulator import Simulator
from coldspark.sim.traffic import Traffic, resampled
from coldspark.spec.types import Limits, ScalePolicy

AFTER_S = 600.0
"""A play ends so long after the last request."""
BLOCK_S, BLOCKS_MIN = 3600.0, 12
_REPLICAS = (8, 400)
_SOURCES = (
    "src/coldspark/billing",
    "src/coldspark/fleet",
    "src/coldspark/sim",
    "src/coldspark/spec",
    "benchmarks/plays.py",
)
_traffics: Mapping[str, Traffic] = {}
"""What this process plays, by name."""


@dataclass(frozen=True, slots=True)
class Play:
    """What is played."""

    trace: str
    copy: int
    """0: as it was recorded."""
    start_s: float
    setting: Setting


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it."""

    held_s: float
    waits_s: "array[float]"
    """In order of length."""
    worked_s: float
    """Of a processor, that playing it took."""


def replicas_for(traffic: Traffic) -> int:
    """Return four times what the busiest minute keeps at work."""
    work: dict[int, float] = {}
    for arrival_s, service_s in zip(traffic.arrivals_s, traffic.services_s, strict=True):
        minute = int(arrival_s // 60)
        work[minute] = work.get(minute, 0.0) + service_s
    least, most = _REPLICAS
    return min(most, max(least, 4 * ceil(max(work.values(), default=0.0) / 60)))


def a_policy(traffic: Traffic, setting: Setting) -> ScalePolicy:
    """Return a setting for one endpoint."""
    return ScalePolicy(
        replicas_max=replicas_for(traffic),
        park_timeout_s=0.0,
        rule=setting.rule,
        wait_value=setting.wait_value,
        waste_budget=setting.waste_budget,
        patience_s=setting.patience_s,
    )


def a_world(traffic: Traffic, start_s: float, setting: Setting) -> Simulator:
    """Return one endpoint that scales by a setting."""
    limits = Limits(queue_max=10**9, request_timeout_s=1e7, start_timeout_s=3600)
    return one_endpoint(traffic, a_policy(traffic, setting), limits, start_s)


def play(traffic: Traffic, start_s: float, setting: Setting) -> Played:
    """Play one endpoint under one setting."""
    until_s, begun_s = traffic.span_s + AFTER_S, time.process_time()
    world = a_world(traffic, start_s, setting)
    world.run(until_s)
    run = world.runs[0]
    # One that nobody has taken by then has waited until then.
    waits = (
        until_s - arrived_s if wait_s == inf else wait_s
        for arrived_s, wait_s in zip(traffic.arrivals_s, run.waits_s, strict=True)
    )
    ordered = array("d", sorted(waits))
    return Played(run.held_s, ordered, time.process_time() - begun_s)


@lru_cache(maxsize=64)
def copied(name: str, copy: int) -> Traffic:
    """Return a trace as it was recorded, or made anew of blocks of it."""
    traffic = _traffics[name]
    if not copy:
        return traffic
    return resampled(traffic, min(BLOCK_S, traffic.span_s / BLOCKS_MIN), copy)


def _begin(traffics: Mapping[str, Traffic]) -> None:
    global _traffics
    _traffics = traffics


def _work(each: Play) -> Played:
    return play(copied(each.trace, each.copy), each.start_s, each.setting)


class Plays:
    """Plays what is asked for, once; with a file, what was played before is taken from there."""

    def __init__(
        self, traffics: Mapping[str, Traffic], processes: int, cache: Path | None = None
    ) -> None:
        """Start the processes. ``cache`` is a folder."""
        _begin(traffics)
        self._pool = ProcessPoolExecutor(processes, initializer=_begin, initargs=(traffics,))
        self._known: dict[Play, Played] = {}
        self._futures: dict[Future[Played], Play] = {}
        self._asked: set[Play] = set()
        self._file = None if cache is None else cache / f"{_fingerprint(traffics)}.pickles"
        self.done = 0
        """How many were played, or taken from the file."""
        self.worked_s = 0.0
        """Of processors, that those took."""
        if self._file is not None and self._file.exists():
            self._known = dict(_read(self._file))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def asked(self) -> int:
        """Return how many were asked for."""
        return len(self._asked)

    def ask(self, plays: Iterable[Play]) -> set[Play]:
        """Have these played; return those that are not known yet."""
        missing = set()
        for each in plays:
            if each not in self._asked:
                self._asked.add(each)
                if each in self._known:
                    self._count(each)
                else:
                    self._futures[self._pool.submit(_work, each)] = each
            if each not in self._known:
                missing.add(each)
        return missing

    def some(self) -> list[Play]:
        """Wait until something was played; return what."""
        if not self._futures:
            return []
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        found = []
        for future in done:
            each = self._futures.pop(future)
            self._known[each] = future.result()
            self._write(each)
            self._count(each)
            found.append(each)
        return found

    def of(self, each: Play) -> Played:
        """Return what came of one."""
        return self._known[each]

    def _count(self, each: Play) -> None:
        self.done += 1
        self.worked_s += self._known[each].worked_s

    def _write(self, each: Play) -> None:
        if self._file is not None:
            with self._file.open("ab") as file:
                pickle.dump((each, self._known[each]), file)


def _read(path: Path) -> Iterable[tuple[Play, Played]]:
    """Yield what a file holds; an end that was cut off is left out."""
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except (EOFError, pickle.UnpicklingError):
                return


def _fingerprint(traffics: Mapping[str, Traffic]) -> str:
    found = hashlib.sha256()
    for name, traffic in traffics.items():
        found.update(repr((name, list(traffic.arrivals_s), list(traffic.services_s))).encode())
    for source in map(Path, _SOURCES):
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            found.update(path.read_bytes())
    return found.hexdigest()[:32]
