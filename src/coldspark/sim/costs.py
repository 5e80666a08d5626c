"""What a simulation result costs a month under a price book, component by component."""

from dataclasses import dataclass

from coldspark.billing.price_book import Component, PriceBook
from coldspark.billing.pricing import price
from coldspark.billing.usage import IdleUsageState, IdleUsageTotals, LedgerTotals, UsageTotals
from coldspark.sim.simulation import SimulationResult
from coldspark.spec.money import charge_nanos
from coldspark.spec.types import EndpointName, VariantName

MONTH_S = 30 * 86_400.0
"""Thirty days, as the guide has it."""
_NAME = EndpointName("planned")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyCost:
    """A month's cost."""

    parts: tuple[tuple[str, int], ...]
    """Nano-dollars by component."""
    missing: tuple[str, ...] = ()
    """Components that the book cannot price: the sum is too low by them."""
    lacks_main_cost: bool = False
    """What takes most of the money is missing: there is no sum to compare."""
    is_estimated: bool = False

    @property
    def nanos(self) -> int:
        """Return the sum of what is priced."""
        return sum(nanos for _, nanos in self.parts)


def own_cost(result: SimulationResult) -> MonthlyCost:
    """Return what the replicas cost on one's own node, for the time that they hold it."""
    parts = {
        "busy": result.busy_nanos,
        "starting": result.starting_nanos,
        "idle": result.idle_nanos,
    }
    return MonthlyCost(parts=_monthly(parts, result.period_s))


def book_cost(
    result: SimulationResult,
    book: PriceBook,
    gpu: str | None,
    *,
    provisioned: int = 0,
    memory_bytes: int | None = None,
    round_up_s: float = 0.0,
) -> MonthlyCost:
    """Return what a result costs by a price book.

    Rounding a replica's time up to ``round_up_s`` adds half of that for each on average.
    """
    bill = price(
        book,
        _totals(result, gpu, provisioned, round_up_s),
        wall_ms=round(MONTH_S * 1000),
        as_gpu=gpu,
        memory_bytes=memory_bytes,
    )
    parts: dict[str, int] = {}
    for line in bill.lines:
        if line.nanos:
            parts[line.component.value] = parts.get(line.component.value, 0) + line.nanos
    return MonthlyCost(
        parts=tuple(parts.items()),
        missing=tuple(f"{row.component.value}: {row.why}" for row in bill.missing),
        lacks_main_cost=any(row.component is Component.COMPUTE for row in bill.missing),
        is_estimated=any(line.is_estimated and line.nanos for line in bill.lines),
    )


def instances_cost(hour_nanos: int, instances: int, *, is_estimated: bool) -> MonthlyCost:
    """Return what so many whole instances cost, used or not."""
    nanos = charge_nanos(round(MONTH_S) * instances, hour_nanos, 3600)
    return MonthlyCost(parts=(("dedicated instance", nanos),), is_estimated=is_estimated)


def _monthly(parts: dict[str, int], period_s: float) -> tuple[tuple[str, int], ...]:
    period_ms, month_ms = round(period_s * 1000), round(MONTH_S * 1000)
    return tuple((name, charge_nanos(nanos, month_ms, period_ms)) for name, nanos in parts.items())


def _totals(
    result: SimulationResult, gpu: str | None, provisioned: int, round_up_s: float
) -> LedgerTotals:
    """Return what a month uses."""
    months = MONTH_S / result.period_s
    usage = UsageTotals(
        endpoint=_NAME,
        variant=VariantName("main"),
        gpu=gpu,
        gpu_count=0.0 if gpu is None else 1.0,
        is_simulated=False,
        requests=round(months * result.served),
        errors=0,
        cold=round(months * result.cold),
        busy_ms=round(months * result.busy_s * 1000),
        duration_ms=round(months * result.latency.mean_s * result.served * 1000),
        busy_nanos=0,
        bytes_in=0,
        bytes_out=0,
    )
    slots_s = provisioned * result.period_s
    idle_s = result.idle_s + 0.5 * round_up_s * result.starts
    held = (
        (IdleUsageState.STARTING, False, result.starting_s),
        # A provisioned slot is billed all the time; its busy part is among the requests'.
        (IdleUsageState.IDLE, True, slots_s),
        (IdleUsageState.IDLE, False, 0.0 if provisioned else idle_s),
    )
    holdings = tuple(
        IdleUsageTotals(
            endpoint=_NAME,
            gpu=gpu,
            gpu_count=0.0 if gpu is None else 1.0,
            is_simulated=False,
            state=state,
            is_provisioned=is_provisioned,
            duration_ms=round(months * seconds * 1000),
            nanos=0,
        )
        for state, is_provisioned, seconds in held
        if seconds
    )
    return LedgerTotals(usages=(usage,), idle_usages=holdings)
