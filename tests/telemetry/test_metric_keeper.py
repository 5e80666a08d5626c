"""Measurements are kept, derived from the ledger, added up with age, and pruned."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from keepers import HEAT, NOON_MS, Kept, keeping, of_echo, served
from sqlalchemy.exc import OperationalError

from coldspark.platform.metric_ports import Metric, Period
from coldspark.spec.waterfall import Waterfall
from coldspark.telemetry.endpoint_metrics import VariantContext
from coldspark.telemetry.metric_queries import value_of

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


def play(path: Path, work: Callable[[Kept], Awaitable[None]], **settings: object) -> None:
    """Run one test."""

    async def run() -> None:
        async with keeping(path, **settings) as kept:
            await work(kept)

    asyncio.run(run())


async def sums(kept: Kept, metric: Metric, period_s: int = 60) -> list[tuple[int, float, float]]:
    """Return (seconds after noon, samples, total) of the days around it."""
    periods = await kept.metrics.periods(
        metric, NOON_MS - 500 * DAY_MS, NOON_MS + 500 * DAY_MS, period_s
    )
    return [((one.at_ms - NOON_MS) // 1_000, one.samples, one.total) for one in periods]


def test_what_was_added_is_read_at_once_and_adds_up_by_period(tmp_path: Path) -> None:
    """A read has the newest; minutes add up to longer periods."""

    async def work(kept: Kept) -> None:
        for second, value in ((0, 1.0), (59, 2.0), (60, 3.0), (600, 4.0)):
            kept.metrics.add(HEAT, value, NOON_MS + second * 1_000)
        assert await sums(kept, HEAT) == [(0, 2, 3), (60, 1, 3), (600, 1, 4)]
        kept.metrics.add(HEAT, 5.0, NOON_MS + 1_000, count=2.0)
        assert await sums(kept, HEAT, 300) == [(0, 5, 16), (600, 1, 4)]

    play(tmp_path, work)


def test_a_period_has_count_sum_extremes_and_values(tmp_path: Path) -> None:
    """All that statistics are made of."""

    async def work(kept: Kept) -> None:
        for value in (3.0, 1.0, 3.0):
            kept.metrics.add(HEAT, value, NOON_MS)
        (period,) = await kept.metrics.periods(HEAT, NOON_MS, NOON_MS + 60_000, 60)
        assert period == Period(
            at_ms=NOON_MS, samples=3, total=7, least=1, most=3, values=((1, 1), (3, 2))
        )

    play(tmp_path, work)


def test_what_requests_measured_comes_from_the_ledger(tmp_path: Path) -> None:
    """Right after the line is journalled; a request counts in the minute in which it ended."""

    async def work(kept: Kept) -> None:
        kept.ledger.record(served(1))
        kept.ledger.record(served(2, NOON_MS + 59_980))
        kept.ledger.record(served(3, status=404))
        kept.ledger.record(served(4, status=502, error="ReplicaDied"))
        kept.ledger.record(served(5, status=504, error="TimedOut", replica=None))
        assert await sums(kept, of_echo("Invocations")) == [(0, 4, 4), (60, 1, 1)]
        assert await sums(kept, of_echo("Invocation4XXErrors")) == [(0, 4, 1), (60, 1, 0)]
        assert await sums(kept, of_echo("Invocation5XXErrors")) == [(0, 4, 2), (60, 1, 0)]
        assert await sums(kept, of_echo("InvocationModelErrors")) == [(0, 4, 2), (60, 1, 0)]
        assert await sums(kept, of_echo("ModelLatency")) == [(0, 3, 30_000), (60, 1, 10_000)]
        assert await sums(kept, of_echo("OverheadLatency")) == [(0, 4, 80_000), (60, 1, 20_000)]
        assert await sums(kept, of_echo("ModelSetupTime")) == []

    play(tmp_path, work)


def test_percentiles_of_requests_are_off_by_one_percent_at_most(tmp_path: Path) -> None:
    """Whatever their times: rounded in the database, and again in the sketch."""
    rng = random.Random(1)
    times = [round(rng.lognormvariate(9, 2)) for _ in range(2_000)]

    async def work(kept: Kept) -> None:
        for number, time_us in enumerate(times):
            kept.ledger.record(served(number, waterfall=Waterfall(inferred_us=time_us)))
        metric = of_echo("ModelLatency")
        (period,) = await kept.metrics.periods(metric, NOON_MS, NOON_MS + 60_000, 60)
        assert (period.samples, period.total) == (2_000, sum(times))
        assert (period.least, period.most) == (min(times), max(times))
        ordered = sorted(times)
        for percent in (1, 10, 50, 90, 99):
            true = ordered[2_000 * percent // 100 - 1]
            found = value_of(period, f"p{percent}")
            assert found is not None
            assert abs(found - true) <= 0.01 * true

    play(tmp_path, work)


def test_a_cold_start_is_overhead_and_has_its_own_metric(tmp_path: Path) -> None:
    """``ModelSetupTime`` is what the request waited for its start."""
    fall = Waterfall(queued_us=1, placed_us=10, fetched_us=20, booted_us=30, loaded_us=40)

    async def work(kept: Kept) -> None:
        kept.ledger.record(served(1, is_cold=True, waterfall=fall))
        assert await sums(kept, of_echo("ModelSetupTime")) == [(0, 1, 100)]
        assert await sums(kept, of_echo("OverheadLatency")) == [(0, 1, 101)]

    play(tmp_path, work)


def test_invocations_per_instance_are_shares_of_the_replicas_that_serve(tmp_path: Path) -> None:
    """Four requests on four replicas are one per instance."""

    async def work(kept: Kept) -> None:
        for number in range(4):
            kept.ledger.record(served(number))
        assert await sums(kept, of_echo("InvocationsPerInstance")) == [(0, 4, 1)]

    play(tmp_path, work, standings={("echo", "main"): VariantContext(4, False)})


def test_requests_that_waited_for_a_start_spill_over_provisioned_concurrency(
    tmp_path: Path,
) -> None:
    """Only where replicas are provisioned."""

    async def work(kept: Kept) -> None:
        kept.ledger.record(served(1))
        kept.ledger.record(served(2, is_cold=True))
        prefix = "ServerlessProvisionedConcurrency"
        assert await sums(kept, of_echo(f"{prefix}Invocations")) == [(0, 1, 1)]
        assert await sums(kept, of_echo(f"{prefix}SpilloverInvocations")) == [(0, 1, 1)]

    play(tmp_path, work, standings={("echo", "main"): VariantContext(1, True)})


def test_lines_are_derived_once_across_restarts(tmp_path: Path) -> None:
    """What an earlier run derived, the next does not derive again."""

    async def first(kept: Kept) -> None:
        kept.ledger.record(served(1))
        await kept.metrics.roll_up()
        kept.ledger.record(served(2))

    async def second(kept: Kept) -> None:
        kept.ledger.record(served(3))
        assert await sums(kept, of_echo("Invocations")) == [(0, 3, 3)]

    play(tmp_path, first, boot=1)
    play(tmp_path, second, boot=2)


def test_age_makes_rows_coarser_and_loses_no_sum(tmp_path: Path) -> None:
    """Minutes for 15 days, five minutes for 63, hours for 455, then nothing."""

    async def work(kept: Kept) -> None:
        for minute in range(120):
            kept.metrics.add(HEAT, 1.0, NOON_MS + minute * 60_000)
        kept.metrics.add(HEAT, 1.0, NOON_MS + 7 * HOUR_MS, resolution_s=1)
        await kept.metrics.flush()
        seen = []
        for days in (1, 16, 64, 456):
            kept.now_ms = NOON_MS + days * DAY_MS
            await kept.metrics.prune()
            seen.append([len(await sums(kept, HEAT, one)) for one in (60, 300, 3_600)])
            hours = await sums(kept, HEAT, 3_600)
            assert not hours or hours == [(0, 60, 60), (3_600, 60, 60), (25_200, 1, 1)]
        assert seen == [[121, 25, 3], [0, 25, 3], [0, 0, 3], [0, 0, 0]]
        assert await kept.metrics.series() == []

    play(tmp_path, work)


def test_retention_is_scaled(tmp_path: Path) -> None:
    """A tenth of AWS's times keeps minutes for a day and a half."""

    async def work(kept: Kept) -> None:
        kept.metrics.add(HEAT, 1.0, NOON_MS)
        await kept.metrics.flush()
        kept.now_ms += 2 * DAY_MS
        await kept.metrics.prune()
        assert [len(await sums(kept, HEAT, one)) for one in (60, 300)] == [0, 1]

    play(tmp_path, work, factor=0.1)


def test_a_batch_that_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    """A failure of the database loses nothing that is in memory."""

    async def work(kept: Kept) -> None:
        kept.metrics.add(HEAT, 1.0, NOON_MS)
        await kept.database.run(lambda c: c.exec_driver_sql("ALTER TABLE series RENAME TO gone"))
        with pytest.raises(OperationalError, match="series"):
            await kept.metrics.flush()
        await kept.database.run(lambda c: c.exec_driver_sql("ALTER TABLE gone RENAME TO series"))
        kept.metrics.add(HEAT, 2.0, NOON_MS)
        assert await sums(kept, HEAT) == [(0, 2, 3)]

    play(tmp_path, work)
