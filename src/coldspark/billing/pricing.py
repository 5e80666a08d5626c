"""Price the ledger by any book: what was used times its rate, in integer nano-dollars.

Nothing is silently free: a component that a book charges but has no rate for is listed as missing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from coldspark.billing.bill import Bill, BillLine, MissingRate
from coldspark.billing.metered_pricing import DeviceSubstitution, metered_assumptions, metered_lines
from coldspark.billing.price_book import CPU, Component, PriceBook, PriceBookKind
from coldspark.billing.usage import LedgerTotals
from coldspark.spec.money import HOUR_MS, charge_nanos


def price(
    book: PriceBook,
    totals: LedgerTotals,
    *,
    wall_ms: int | None = None,
    as_gpu: str | None = "A10G",
    memory_bytes: int | None = None,
    assumptions: Iterable[str] = (),
) -> Bill:
    """Price an interval of the ledger.

    ``wall_ms`` is how long the interval lasted (bounds provisioned time, prices the dedicated
    comparison). Usage on CPU, or on a type that the book lacks, is priced as if it had run on
    ``as_gpu``, and the bill says so; None prices nothing in its place. ``memory_bytes`` is what
    each replica has, for books that bill compute by memory.
    """
    book = _with_memory(book, memory_bytes)
    dedicated = _dedicated(book, totals, wall_ms, as_gpu)
    if book.kind is PriceBookKind.ALLOCATED:
        lines, notes = list(_allocated(totals)), []
    elif book.kind is PriceBookKind.INSTANCES:
        lines = [dedicated]
        notes = ["assumed: one instance would have carried it"]
    else:
        substitute = DeviceSubstitution(book, as_gpu)
        lines = list(metered_lines(book, totals, substitute, wall_ms))
        notes = substitute.assumptions() + metered_assumptions(book, totals)
    return Bill(
        book=book.name,
        title=book.title,
        kind=book.kind,
        as_of=book.as_of,
        source=book.source,
        total_nanos=sum(line.nanos or 0 for line in lines),
        lines=tuple(lines),
        missing=tuple(_missing(book, lines)),
        assumptions=(*assumptions, *notes, *_simulated(totals)),
        corrections=book.corrections,
        dedicated=None
        if book.kind is PriceBookKind.INSTANCES or dedicated.nanos is None
        else dedicated,
    )


def _with_memory(book: PriceBook, memory_bytes: int | None) -> PriceBook:
    """Turn a rate by memory into a rate by time, for replicas of this size.

    Worked number: $0.06 for a GiB-hour and 2 GiB make $0.12 an hour.
    """
    rate = book.rates.get(CPU)
    if rate is None or rate.memory_hour_nanos is None:
        return book
    most = rate.memory_bytes_max
    if memory_bytes is None:
        why = f"{book.name} bills by memory: say how much each replica has"
    elif most is not None and memory_bytes > most:
        why = f"{book.name} has at most {most // 2**20:,} MiB of memory"
    else:
        hour_nanos = charge_nanos(memory_bytes, rate.memory_hour_nanos, 2**30)
        priced = replace(rate, compute_hour_nanos=hour_nanos)
        return replace(book, rates={**book.rates, CPU: priced})
    return replace(book, missing={**book.missing, Component.COMPUTE: why})


def _allocated(totals: LedgerTotals) -> Iterator[BillLine]:
    for usage in totals.usages:
        yield BillLine(
            component=Component.BUSY,
            endpoint=usage.endpoint,
            gpu=usage.gpu,
            quantity=usage.busy_ms / 1000,
            unit="second",
            nanos=usage.busy_nanos,
        )
    for holding in totals.idle_usages:
        yield BillLine(
            component=Component(holding.state.value),
            endpoint=holding.endpoint,
            gpu=holding.gpu,
            quantity=holding.duration_ms / 1000,
            unit="second",
            nanos=holding.nanos,
        )


def _missing(book: PriceBook, lines: Iterable[BillLine]) -> Iterator[MissingRate]:
    seen: set[tuple[Component, str | None]] = set()
    for line in lines:
        key = (line.component, line.gpu)
        if line.nanos is not None or not line.quantity or key in seen:
            continue
        seen.add(key)
        is_sold = CPU not in book.rates or line.gpu in book.rates
        why = book.missing.get(line.component) if is_sold else None
        yield MissingRate(
            component=line.component,
            gpu=line.gpu,
            why=why or f"{book.name} has no {line.component} rate for {line.gpu or 'CPU'}",
        )


def _simulated(totals: LedgerTotals) -> list[str]:
    count = sum(row.requests for row in totals.usages if row.is_simulated)
    return [f"simulated: {count} requests ran on simulated devices, not on GPUs"] if count else []


def _dedicated(
    book: PriceBook, totals: LedgerTotals, wall_ms: int | None, as_gpu: str | None
) -> BillLine:
    used = next((row.gpu for row in totals.usages if row.gpu in book.dedicated), as_gpu)
    instance = book.dedicated.get(used) if used is not None else None
    return BillLine(
        component=Component.DEDICATED,
        endpoint=None,
        gpu=used,
        quantity=(wall_ms or 0) / HOUR_MS,
        unit="hour",
        rate_nanos=None if instance is None else instance.hour_nanos,
        nanos=charge_nanos(wall_ms, instance.hour_nanos, HOUR_MS)
        if instance is not None and wall_ms
        else None,
        is_estimated=instance is not None and instance.is_estimated,
    )
