"""Keep measurements: taken in memory, written in batches, read with the newest in them.

What was handed to ``add`` is on disk after ``flush_every_s`` at most: kill -9 loses that much of
it. What requests measured is derived from the ledger's lines, in the same transaction that notes
how far it is: kill -9 loses and doubles none. A read writes and derives first.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from coldspark import clock
from coldspark.database.database import Database
from coldspark.errors import InvalidRequest
from coldspark.platform.metric_ports import ENDPOINT_NAMESPACE, Metric, Period
from coldspark.tasks import Tasks
from coldspark.telemetry import endpoint_metrics
from coldspark.telemetry import metrics_table as disk
from coldspark.telemetry.endpoint_metrics import VariantContexts
from coldspark.telemetry.metrics_table import Ids, MetricRow, PeriodRange, RollUpStep, SeriesKey
from coldspark.telemetry.usage_metrics import Row, derive
from coldspark.telemetry.value_sketch import ValueSketch

_log = logging.getLogger(__name__)

SERIES_MAX = 100_000
_PENDING_MAX = 100_000
_IDS_MAX = 20_000
_LINES_MAX = 20_000
"""Ledger lines of one transaction: some 0.1 s of the database's thread."""
_ROWS_MAX = 2_000
_CLOSE_WITHIN_S = 5.0
_PRUNE_EVERY_S = 600.0
_CATCH_UP_S = 5.0
"""How long a read may wait for what the ledger has and was not derived yet."""
_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRetention:
    """How long measurements are kept at which resolution, times ``factor``."""

    factor: float = 1.0

    def steps(self, now_ms: int) -> list[RollUpStep]:
        """Return what is to be done with what is old."""
        plan = (
            (1, 3 * _HOUR_MS, 60),
            (10, 3 * _HOUR_MS, 60),
            (60, 15 * _DAY_MS, 300),
            (300, 63 * _DAY_MS, 3_600),
            (3_600, 455 * _DAY_MS, None),
        )
        return [
            RollUpStep(
                resolution_s=resolution_s,
                before_ms=_aligned(now_ms - round(age_ms * self.factor), into_s or resolution_s),
                into_s=into_s,
            )
            for resolution_s, age_ms, into_s in plan
        ]

    def kept_since_ms(self, now_ms: int) -> int:
        """Return from when on there may be measurements."""
        return now_ms - round(455 * _DAY_MS * self.factor)


async def _nothing() -> None:
    """Have no ledger."""


class MetricService:
    """Implements ``Metrics``. All calls are made on the event loop's thread."""

    def __init__(
        self,
        database: Database,
        *,
        wall_ms: Callable[[], int],
        absorb: Callable[[], Awaitable[None]] = _nothing,
        standings: Callable[[], VariantContexts] = dict,
        retention: MetricRetention | None = None,
        flush_every_s: float = 2.0,
        roll_up_every_s: float = 10.0,
    ) -> None:
        """Take the dependencies.

        ``absorb`` brings the ledger's newest lines into the database; ``standings`` returns how
        variants stand.
        """
        self._database = database
        self._wall_ms = wall_ms
        self._absorb = absorb
        self._standings = standings
        self._stood: VariantContexts = {}
        """How variants stood when last read."""
        self._retention = retention or MetricRetention()
        self._flush_every_s = flush_every_s
        self._roll_up_every_s = roll_up_every_s
        self._pending: dict[tuple[SeriesKey, int, int], ValueSketch] = {}
        self._ids: Ids = {}
        """Used on the database's thread alone."""
        self._tasks = Tasks()
        self._some = asyncio.Event()
        self._dropped = 0

    def open(self) -> None:
        """Write, derive and prune from now on."""
        self._tasks.every(None, self._flush_soon, "write metrics", wake=self._some)
        self._tasks.every(self._roll_up_every_s, self.roll_up, "derive metrics", at_once=True)
        self._tasks.every(_PRUNE_EVERY_S, self.prune, "prune metrics", at_once=True)

    async def close(self) -> None:
        """Write what is in memory, and stop. Idempotent."""
        await self._tasks.close(_CLOSE_WITHIN_S)
        await self.flush()

    def add(
        self,
        metric: Metric,
        value: float,
        at_ms: int,
        *,
        unit: str = "None",
        count: float = 1.0,
        resolution_s: int = 60,
    ) -> None:
        """Take a measurement: buffered, never blocks.

        ``resolution_s`` is 60, or 10 or 1 for what is wanted at high resolution while it is young.
        """
        self._measured(metric, at_ms, unit, resolution_s).add(value, count)

    def add_summary(
        self,
        metric: Metric,
        at_ms: int,
        *,
        unit: str,
        summary: tuple[float, float, float, float],
        resolution_s: int = 60,
    ) -> None:
        """Take measurements of which only samples, total, least and most are known."""
        self._measured(metric, at_ms, unit, resolution_s).add_summary(*summary)

    def _measured(self, metric: Metric, at_ms: int, unit: str, resolution_s: int) -> ValueSketch:
        key = SeriesKey(
            namespace=metric.namespace, name=metric.name, dimensions=metric.dimensions, unit=unit
        )
        place = (key, resolution_s, _aligned(at_ms, resolution_s))
        measured = self._pending.get(place)
        if measured is None:
            measured = ValueSketch()
            if len(self._pending) < _PENDING_MAX:
                self._pending[place] = measured
                self._some.set()
            else:
                self._dropped += 1
        return measured

    async def refuse_if_full(self) -> None:
        """Raise InvalidRequest where no more metrics can be kept."""
        if len(self._pending) >= _PENDING_MAX // 2:
            await self.flush()
        count = await self._database.run(disk.count_series)
        if count >= SERIES_MAX:
            raise InvalidRequest(
                f"{count} metrics are kept already, at most {SERIES_MAX}: send fewer different"
                " dimensions"
            )

    async def periods(
        self, metric: Metric, start_ms: int, end_ms: int, period_s: int
    ) -> Sequence[Period]:
        """Return the periods that have measurements, oldest first; the newest are in them."""
        await self.refresh()
        return self.merged(await self.read(metric, start_ms, end_ms, period_s))

    async def read(
        self, metric: Metric, start_ms: int, end_ms: int, period_s: int
    ) -> Mapping[str, Sequence[Period]]:
        """Return the periods of each unit in which the metric was measured; see ``refresh``.

        Periods begin at multiples of ``period_s``; the one that ``start_ms`` lies in is whole.
        """
        start_ms, name = _aligned(start_ms, period_s), metric.name
        if metric.namespace == ENDPOINT_NAMESPACE:
            name = endpoint_metrics.SPELLINGS.get(name, name)
        stretch = PeriodRange(start_ms=start_ms, end_ms=end_ms, period_s=period_s)
        found = await self._database.run(
            disk.find_periods, metric.namespace, name, metric.dimensions, stretch
        )
        return {
            unit: [_period(at_ms, measured) for at_ms, measured in periods.items()]
            for unit, periods in found.items()
        }

    @staticmethod
    def merged(by_unit: Mapping[str, Sequence[Period]]) -> Sequence[Period]:
        """Return the periods of all units together."""
        if len(by_unit) == 1:
            return next(iter(by_unit.values()))
        wholes: dict[int, ValueSketch] = {}
        for periods in by_unit.values():
            for one in periods:
                wholes.setdefault(one.at_ms, ValueSketch()).merge(_measured_of(one))
        return [_period(at_ms, wholes[at_ms]) for at_ms in sorted(wholes)]

    async def series(
        self,
        *,
        namespace: str | None = None,
        name: str | None = None,
        seen_since_ms: int | None = None,
    ) -> list[SeriesKey]:
        """Return what is measured, in order."""
        await self.refresh()
        return await self._database.run(disk.find_series, namespace, name, seen_since_ms)

    async def refresh(self) -> None:
        """Bring all that was measured before this call to where it is read."""
        # First: the ledger's other writers publish then what they measured, too.
        await self.roll_up(within_s=_CATCH_UP_S)
        await self.flush()

    async def flush(self) -> None:
        """Write what is in memory."""
        batch, self._pending = self._pending, {}
        self._some.clear()
        if self._dropped:
            _log.warning("metrics: %d measurements were dropped, too many came", self._dropped)
            self._dropped = 0
        if not batch:
            return
        entries = [
            MetricRow(key=key, resolution_s=resolution_s, at_ms=at_ms, measured=measured)
            for (key, resolution_s, at_ms), measured in batch.items()
        ]
        try:
            await self._database.run(disk.merge, entries, self._ids, self._wall_ms())
        except Exception:
            # Nothing of it was written. What came meanwhile is newer, and stays first.
            self._ids = {}
            for place, measured in batch.items():
                self._pending.setdefault(place, ValueSketch()).merge(measured)
            raise

    async def roll_up(self, within_s: float = math.inf) -> None:
        """Derive measurements from the ledger's lines so far, as many as fit in that time."""
        until_s = clock.monotonic_s() + within_s
        await self._absorb()
        # Each is a transaction of its own, so that others get their turn between them.
        while await self._derive() == _LINES_MAX:
            if clock.monotonic_s() > until_s:
                _log.info("metrics: the ledger is long: its newest lines come later")
                return

    async def _derive(self) -> int:
        stand_now = self._standings()
        # Of what was deleted since, the last lines are derived as it stood.
        standings, self._stood = {**self._stood, **stand_now}, stand_now

        def fold(counts: Sequence[Row], times: Sequence[Row]) -> list[MetricRow]:
            return list(endpoint_metrics.fold(counts, times, standings))

        if len(self._ids) > _IDS_MAX:
            self._ids = {}
        try:
            return await self._database.run(derive, fold, self._ids, self._wall_ms(), _LINES_MAX)
        except Exception:
            self._ids = {}
            raise

    async def prune(self) -> None:
        """Add up what is old, and drop what is older."""
        now_ms = self._wall_ms()
        for step in self._retention.steps(now_ms):
            while await self._database.run(disk.coarsen, step, _ROWS_MAX) == _ROWS_MAX:
                continue
        before_ms = self._retention.kept_since_ms(now_ms)
        if await self._database.run(disk.prune_series, before_ms, _ROWS_MAX):
            self._ids = {}

    async def _flush_soon(self) -> None:
        await asyncio.sleep(self._flush_every_s)
        await self.flush()


def _aligned(at_ms: int, period_s: int) -> int:
    return at_ms // (period_s * 1_000) * (period_s * 1_000)


def _period(at_ms: int, measured: ValueSketch) -> Period:
    return Period(
        at_ms=at_ms,
        samples=measured.samples,
        total=measured.total,
        least=measured.least,
        most=measured.most,
        values=tuple(sorted(measured.values.items())),
    )


def _measured_of(period: Period) -> ValueSketch:
    measured = ValueSketch()
    measured.samples, measured.total = period.samples, period.total
    measured.least, measured.most = period.least, period.most
    measured.values = dict(period.values)
    return measured
