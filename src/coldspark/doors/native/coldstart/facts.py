"""What is known of a variant's cold starts: from the ledger and the templates' own words."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from coldspark.billing.usage import Usage
from coldspark.node.warmth import CachedFiles, PoolView, StartView, TemplateView, WakeLevel
from coldspark.spec.types import ReplicaId, RevisionId, Spec
from coldspark.spec.waterfall import Waterfall

START_STAGES = ("queued", "placed", "fetched", "booted", "loaded")
"""What a cold request waits through before its handler has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wake:
    """One start or unpark of a replica, as the request saw it that waited the longest for it."""

    waterfall: Waterfall
    replica: ReplicaId
    start: StartView | None = None
    """None: the server has forgotten it, or was restarted since."""
    began_ms: int = 0
    """When the first request that waited for it came, by the wall clock."""
    ended_ms: int = 0
    """When the last of them was given to it."""
    gap_ms: int | None
    """How long the variant had been without a request; None for the first one known."""

    @property
    def level(self) -> WakeLevel | None:
        """Return where it started from."""
        return None if self.start is None else self.start.rung

    @property
    def start_us(self) -> int:
        """Return the whole wait for the start."""
        stages = self.waterfall.stages()
        return sum(stages[name] for name in START_STAGES)

    def stage_us(self, name: str) -> int:
        """Return one stage."""
        return self.waterfall.stages()[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdstartFacts:
    """All that advice is taken from."""

    spec: Spec
    wakes: tuple[Wake, ...] = ()
    """Of the present revision, newest first; starts that failed are not among them."""
    warm_inferred_us: tuple[int, ...] = ()
    """The handler's time in requests that waited for no start."""
    template: TemplateView | None = None
    """The one that is held, or else the last that a wake used."""
    stock: CachedFiles
    pool: PoolView

    def wakes_from(self, *rungs: WakeLevel) -> tuple[Wake, ...]:
        """Return the wakes that began on one of these rungs."""
        return tuple(wake for wake in self.wakes if wake.level in rungs)

    @property
    def starts(self) -> tuple[Wake, ...]:
        """Return the wakes that started a process: not those that thawed one."""
        return tuple(wake for wake in self.wakes if wake.level is not WakeLevel.PARKED)


@dataclass(frozen=True, slots=True)
class WakeCounts:
    """Wakes of one revision, and what else the lines say."""

    wakes: tuple[Wake, ...]
    cold_requests: int
    failed: int
    """Cold requests that got no answer."""
    older_wakes: int
    """Of earlier revisions."""
    warm_inferred_us: tuple[int, ...]


def with_starts(
    counted: WakeCounts, start_of: Callable[[ReplicaId], StartView | None]
) -> WakeCounts:
    """Say of each wake what it started from, as far as that is known."""
    wakes = (
        replace(wake, start=_from_where(wake, start_of(wake.replica))) for wake in counted.wakes
    )
    return replace(counted, wakes=tuple(wakes))


def _from_where(wake: Wake, start: StartView | None) -> StartView | None:
    """Return what one wake of a replica began from: its start, or the frozen replica."""
    if start is None:
        return None
    if not any(wake.began_ms <= at_ms <= wake.ended_ms for at_ms in start.unparked_ms):
        return start
    return replace(start, rung=WakeLevel.PARKED, resolve_us=None, is_environment_built=False)


def count(lines: Sequence[Usage], revision: RevisionId) -> WakeCounts:
    """Find the wakes among a variant's lines, newest first."""
    cold = [line for line in lines if line.is_cold]
    served = [line for line in cold if line.error is None and line.replica is not None]
    mine = [line for line in served if line.revision == revision]
    gaps_ms = _gaps_ms(lines)
    return WakeCounts(
        wakes=tuple(_wake(waited, gaps_ms) for waited in _by_wake(mine)),
        cold_requests=len([line for line in cold if line.revision == revision]),
        failed=len([line for line in cold if line.error is not None]),
        older_wakes=len(_by_wake([line for line in served if line.revision != revision])),
        warm_inferred_us=tuple(
            line.waterfall.inferred_us
            for line in lines
            if not line.is_cold and line.error is None and line.revision == revision
        ),
    )


def percentile(values: Iterable[int], percent: float) -> int:
    """Return the nearest rank; there must be one. Worked number: p50 of 1, 2, 3, 4 is 2."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def median(values: Iterable[int]) -> int:
    """Return the nearest rank to the middle."""
    return percentile(values, 50)


def _by_wake(lines: Sequence[Usage]) -> list[list[Usage]]:
    """Put together the lines that waited for the same wake, newest wake first.

    Two wakes of one replica cannot overlap: it was ready, idle and parked in between.
    """
    latest: dict[ReplicaId, list[Usage]] = {}
    found: list[list[Usage]] = []
    for line in sorted(lines, key=lambda line: line.arrived_ms):
        assert line.replica is not None
        waited = latest.get(line.replica)
        if waited is not None and line.arrived_ms <= max(map(_given_ms, waited)):
            waited.append(line)
        else:
            latest[line.replica] = waited = [line]
            found.append(waited)
    return found[::-1]


def _wake(waited: Sequence[Usage], gaps_ms: dict[str, int | None]) -> Wake:
    longest = max(waited, key=lambda line: line.waterfall.total_us)
    assert longest.replica is not None
    return Wake(
        waterfall=longest.waterfall,
        replica=longest.replica,
        began_ms=min(line.arrived_ms for line in waited),
        ended_ms=max(map(_given_ms, waited)),
        gap_ms=gaps_ms[longest.request],
    )


def _given_ms(line: Usage) -> int:
    """Return when a request was given to its replica, by the wall clock, rounded up."""
    stages = line.waterfall.stages()
    waited_us = line.waterfall.received_us + sum(stages[name] for name in START_STAGES)
    return line.arrived_ms - (-waited_us // 1_000)


def _gaps_ms(lines: Sequence[Usage]) -> dict[str, int | None]:
    """Return how long before each request's arrival the last one before it had ended."""
    gaps: dict[str, int | None] = {}
    ended_ms: int | None = None
    for line in reversed(lines):
        gaps[line.request] = None if ended_ms is None else max(0, line.arrived_ms - ended_ms)
        ended_ms = max(ended_ms or 0, line.arrived_ms + line.duration_ms)
    return gaps
