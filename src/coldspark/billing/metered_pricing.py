"""Rates times quantities, as a cloud bills: the lines of a metered book.

Usage on a type that a book lacks is priced as if it had run on another, and the bill says so.
"""

import math
from collections.abc import Iterable, Iterator

from coldspark.billing.bill import BillLine
from coldspark.billing.price_book import CPU, BilledTime, Component, PriceBook
from coldspark.billing.usage import IdleUsageState, IdleUsageTotals, LedgerTotals, UsageTotals
from coldspark.spec.money import HOUR_MS, charge_nanos

_GIGABYTE = 10**9


class DeviceSubstitution:
    """Choose the type under whose rate usage is priced, and remember what was assumed."""

    def __init__(self, book: PriceBook, as_gpu: str | None) -> None:
        self._book = book
        self._as_gpu = as_gpu
        self._replaced: set[str | None] = set()

    def gpu(self, gpu: str | None) -> str | None:
        """Return the type whose rate is taken."""
        if CPU in self._book.rates:
            return CPU if gpu is None else gpu
        if gpu in self._book.rates or self._as_gpu is None:
            return gpu
        self._replaced.add(gpu)
        return self._as_gpu

    def assumptions(self) -> list[str]:
        """Return what it was taken in place of."""
        names = sorted(name or "CPU" for name in self._replaced)
        return [
            f"assumed: what ran here on {name} would have taken as long on {self._as_gpu}"
            for name in names
        ]


def metered_lines(
    book: PriceBook, totals: LedgerTotals, substitute: DeviceSubstitution, wall_ms: int | None
) -> Iterator[BillLine]:
    """Yield the lines of a metered book, also those that it has no rate for."""
    for usage in totals.usages:
        gpu = substitute.gpu(usage.gpu)
        yield from _usage_lines(book, usage, gpu)
    for holding in totals.idle_usages:
        if holding.endpoint is None:
            continue
        gpu = substitute.gpu(holding.gpu)
        if _is_provisioned(holding) and Component.PROVISIONED in book.components:
            slot_ms = _provisioned_ms(holding, totals.usages, wall_ms)
            yield _time_line(book, Component.PROVISIONED, holding.endpoint, gpu, slot_ms)
        if _is_billed(book, holding.state):
            held_ms = holding.duration_ms * _whole(holding.gpu_count)
            yield _time_line(book, Component.COMPUTE, holding.endpoint, gpu, held_ms)


def _is_billed(book: PriceBook, state: IdleUsageState) -> bool:
    if book.billed_time is BilledTime.STARTED:
        return state is IdleUsageState.STARTING
    return book.billed_time is BilledTime.HELD and state is not IdleUsageState.OVERHEAD


def _usage_lines(book: PriceBook, usage: UsageTotals, gpu: str | None) -> Iterator[BillLine]:
    if Component.INVOCATIONS in book.components:
        rate = _rate(book, Component.INVOCATIONS, gpu)
        yield BillLine(
            component=Component.INVOCATIONS,
            endpoint=usage.endpoint,
            gpu=gpu,
            quantity=usage.requests,
            unit="request",
            rate_nanos=rate,
            nanos=None if rate is None else charge_nanos(usage.requests, rate),
            is_estimated=_is_estimated(book, Component.INVOCATIONS, gpu),
        )
    if Component.COMPUTE in book.components:
        busy_ms = usage.busy_ms * _whole(usage.gpu_count)
        yield _time_line(book, Component.COMPUTE, usage.endpoint, gpu, busy_ms)
    if Component.TRANSFER in book.components:
        yield _transfer_line(book, usage, gpu)


def _time_line(
    book: PriceBook, component: Component, endpoint: str | None, gpu: str | None, time_ms: int
) -> BillLine:
    rate = _rate(book, component, gpu)
    return BillLine(
        component=component,
        endpoint=endpoint,
        gpu=gpu,
        quantity=time_ms / HOUR_MS,
        unit="hour",
        rate_nanos=rate,
        nanos=None if rate is None else charge_nanos(time_ms, rate, HOUR_MS),
        is_estimated=_is_estimated(book, component, gpu),
    )


def _transfer_line(book: PriceBook, usage: UsageTotals, gpu: str | None) -> BillLine:
    size_bytes = usage.bytes_in + usage.bytes_out
    rate = _rate(book, Component.TRANSFER, gpu)
    return BillLine(
        component=Component.TRANSFER,
        endpoint=usage.endpoint,
        gpu=gpu,
        quantity=size_bytes / _GIGABYTE,
        unit="GB",
        rate_nanos=rate,
        nanos=None if rate is None else charge_nanos(size_bytes, rate, _GIGABYTE),
    )


def _provisioned_ms(
    holding: IdleUsageTotals, usages: Iterable[UsageTotals], wall_ms: int | None
) -> int:
    """Return slot time: a provisioned slot is charged while idle and while busy.

    The ledger does not say which requests ran on a provisioned slot, so all of the endpoint's
    busy time is taken, at most as much as fills the slots that idled. Worked number: two slots
    for 720 h that were busy for 17 h idled 1,423 h; 1,423 + 17 = 1,440 = 2 x 720.
    """
    busy_ms = sum(
        row.busy_ms for row in usages if row.endpoint == holding.endpoint and row.gpu == holding.gpu
    )
    if not wall_ms:
        return holding.duration_ms + busy_ms
    slots = math.ceil(holding.duration_ms / wall_ms)
    return max(holding.duration_ms, min(holding.duration_ms + busy_ms, slots * wall_ms))


def _is_provisioned(holding: IdleUsageTotals) -> bool:
    return holding.is_provisioned and holding.state is IdleUsageState.IDLE


def _rate(book: PriceBook, component: Component, gpu: str | None) -> int | None:
    rate = book.rates.get(gpu) if gpu is not None else None
    return None if rate is None else rate.of(component)


def _is_estimated(book: PriceBook, component: Component, gpu: str | None) -> bool:
    rate = book.rates.get(gpu) if gpu is not None else None
    return rate is not None and component in rate.estimated


def _whole(gpu_count: float) -> int:
    """Return whole devices: a cloud that does not share bills half a device as one."""
    return max(1, math.ceil(gpu_count))


def metered_assumptions(book: PriceBook, totals: LedgerTotals) -> list[str]:
    """Return what was assumed of the book beside types: shares, starts and idling."""
    assumed = []
    rows: tuple[UsageTotals | IdleUsageTotals, ...] = (*totals.usages, *totals.idle_usages)
    if any(0 < row.gpu_count < 1 for row in rows if row.gpu is not None):
        assumed.append("assumed: a share of a GPU is billed as a whole one")
    if book.billed_time is BilledTime.HELD and totals.idle_usages:
        assumed.append("assumed: starts took as long, and idling lasted as long, as here")
    return assumed
