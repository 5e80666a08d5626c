"""Price the ledger by any book: what was used times what a rate says, in integer nano-dollars.

Nothing is silently free: a component that a book charges but has no rate for is listed as missing.
All rounding of prices happens in ``charge_nanos``.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from coldspark.core.metering import NANOS_PER_DOLLAR, HoldingState
from coldspark.core.totals import HoldingTotals, Totals, UsageTotals

HOUR_MS = 3_600_000
_GIGABYTE = 10**9
CPU = "CPU"
"""Where a book keeps the rate of what runs without a GPU."""


class BookKind(StrEnum):
    """How a book turns usage into money."""

    ALLOCATED = "allocated"
    """The machine's own bill, split as the meter recorded it."""
    METERED = "metered"
    """Rates times quantities, as a cloud does it."""
    INSTANCES = "instances"
    """Whole instances by the hour, used or not."""


class Component(StrEnum):
    """What a line of a bill is for."""

    BUSY = "busy"
    STARTING = "starting"
    IDLE = "idle"
    OVERHEAD = "overhead"
    PROVISIONED = "provisioned concurrency"
    INVOCATIONS = "invocations"
    COMPUTE = "compute"
    TRANSFER = "data transfer"
    DEDICATED = "dedicated instance"


class BilledTime(StrEnum):
    """Which time a metered book calls compute."""

    BUSY = "busy"
    """Only while a request runs."""
    STARTED = "started"
    """Starting and running, not idle."""
    HELD = "held"
    """From start to stop: starting, running and idle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One type's rates in nano-dollars; None where the book has none."""

    invocation_nanos: int | None = None
    compute_hour_nanos: int | None = None
    provisioned_hour_nanos: int | None = None
    """For one slot that is kept warm, an hour."""
    gigabyte_nanos: int | None = None
    memory_hour_nanos: int | None = None
    """For an hour with one GiB of memory, where compute is billed by memory."""
    memory_bytes_max: int | None = None
    """The most that can be had."""
    estimated: tuple[Component, ...] = ()
    """Components whose rate was derived, not published."""

    def of(self, component: Component) -> int | None:
        """Return the rate of one component."""
        return {
            Component.INVOCATIONS: self.invocation_nanos,
            Component.COMPUTE: self.compute_hour_nanos,
            Component.PROVISIONED: self.provisioned_hour_nanos,
            Component.TRANSFER: self.gigabyte_nanos,
        }.get(component)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A whole machine that is rented by the hour."""

    name: str | None
    """As its seller calls it; None where the source does not say."""
    gpus: int
    hour_nanos: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A figure of the source that does not follow from the source's own inputs."""

    figure: str
    printed: str
    computed: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A dated set of rates with its source."""

    name: str
    title: str
    kind: BookKind
    as_of: str
    source: str
    components: tuple[Component, ...]
    """What the book charges for; the others are not part of it."""
    billed_time: BilledTime = BilledTime.BUSY
    rates: Mapping[str, Rate] = field(default_factory=dict)
    """By GPU type."""
    dedicated: Mapping[str, Instance] = field(default_factory=dict)
    """The smallest whole instance with such a GPU."""
    missing: Mapping[Component, str] = field(default_factory=dict)
    """Why the book has no rate for something that it charges."""
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a bill. ``nanos`` is None when the book has no rate for it."""

    component: Component
    endpoint: str | None
    gpu: str | None
    quantity: float
    unit: str
    rate_nanos: int | None = None
    """For one unit; None where the meter recorded the money itself."""
    nanos: int | None
    is_estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Something used that the book does not price, so the total is too low."""

    component: Component
    gpu: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A stretch of the ledger under one book."""

    book: str
    title: str
    kind: BookKind
    as_of: str
    source: str
    total_nanos: int
    lines: tuple[Line, ...]
    missing: tuple[Missing, ...] = ()
    assumptions: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    dedicated: Line | None = None
    """What one dedicated instance would have cost over the same wall time."""


def charge_nanos(quantity: int, rate_nanos: int, per: int = 1) -> int:
    """Return ``quantity / per * rate`` rounded half up: the one place where prices are rounded.

    Worked number: 2,000 ms at $0.15 an hour (150_000_000 nanos) is 83_333 nanos.
    """
    return (2 * quantity * rate_nanos + per) // (2 * per)


def price(
    book: Book,
    totals: Totals,
    *,
    wall_ms: int | None = None,
    as_gpu: str | None = "A10G",
    memory_bytes: int | None = None,
    assumptions: Iterable[str] = (),
) -> Bill:
    """Price a stretch of the ledger.

    ``wall_ms`` is how long the stretch lasted (bounds provisioned time, prices the dedicated
    comparison). Usage on CPU, or on a type that the book lacks, is priced as if it had run on
    ``as_gpu``, and the bill says so; None prices nothing in its place. ``memory_bytes`` is what
    each replica has, for books that bill compute by memory.
    """
    book = _with_memory(book, memory_bytes)
    dedicated = _dedicated(book, totals, wall_ms, as_gpu)
    if book.kind is BookKind.ALLOCATED:
        lines, said = list(_allocated(totals)), []
    elif book.kind is BookKind.INSTANCES:
        lines = [dedicated]
        said = ["assumed: one instance would have carried it"]
    else:
        substitute = _Substitute(book, as_gpu)
        lines = list(_metered(book, totals, substitute, wall_ms))
        said = substitute.assumptions() + _metered_assumptions(book, totals)
    return Bill(
        book=book.name,
        title=book.title,
        kind=book.kind,
        as_of=book.as_of,
        source=book.source,
        total_nanos=sum(line.nanos or 0 for line in lines),
        lines=tuple(lines),
        missing=tuple(_missing(book, lines)),
        assumptions=(*assumptions, *said, *_simulated(totals)),
        corrections=book.corrections,
        dedicated=None if book.kind is BookKind.INSTANCES or dedicated.nanos is None else dedicated,
    )


def _with_memory(book: Book, memory_bytes: int | None) -> Book:
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


class _Substitute:
    """Choose the type under whose rate usage is priced, and remember what was assumed."""

    def __init__(self, book: Book, as_gpu: str | None) -> None:
        self._book = book
        self._as_gpu = as_gpu
        self._replaced: set[str | None] = set()

    def gpu(self, gpu: str | None) -> str | None:
        if CPU in self._book.rates:
            return CPU if gpu is None else gpu
        if gpu in self._book.rates or self._as_gpu is None:
            return gpu
        self._replaced.add(gpu)
        return self._as_gpu

    def assumptions(self) -> list[str]:
        names = sorted(name or "CPU" for name in self._replaced)
        return [
            f"assumed: what ran here on {name} would have taken as long on {self._as_gpu}"
            for name in names
        ]


def _allocated(totals: Totals) -> Iterator[Line]:
    for usage in totals.usages:
        yield Line(
            component=Component.BUSY,
            endpoint=usage.endpoint,
            gpu=usage.gpu,
            quantity=usage.busy_ms / 1000,
            unit="second",
            nanos=usage.busy_nanos,
        )
    for holding in totals.holdings:
        yield Line(
            component=Component(holding.state.value),
            endpoint=holding.endpoint,
            gpu=holding.gpu,
            quantity=holding.duration_ms / 1000,
            unit="second",
            nanos=holding.nanos,
        )


def _metered(
    book: Book, totals: Totals, substitute: _Substitute, wall_ms: int | None
) -> Iterator[Line]:
    for usage in totals.usages:
        gpu = substitute.gpu(usage.gpu)
        yield from _usage_lines(book, usage, gpu)
    for holding in totals.holdings:
        if holding.endpoint is None:
            continue
        gpu = substitute.gpu(holding.gpu)
        if _is_provisioned(holding) and Component.PROVISIONED in book.components:
            slot_ms = _provisioned_ms(holding, totals.usages, wall_ms)
            yield _time_line(book, Component.PROVISIONED, holding.endpoint, gpu, slot_ms)
        if _is_billed(book, holding.state):
            held_ms = holding.duration_ms * _whole(holding.gpu_count)
            yield _time_line(book, Component.COMPUTE, holding.endpoint, gpu, held_ms)


def _is_billed(book: Book, state: HoldingState) -> bool:
    if book.billed_time is BilledTime.STARTED:
        return state is HoldingState.STARTING
    return book.billed_time is BilledTime.HELD and state is not HoldingState.OVERHEAD


def _usage_lines(book: Book, usage: UsageTotals, gpu: str | None) -> Iterator[Line]:
    if Component.INVOCATIONS in book.components:
        rate = _rate(book, Component.INVOCATIONS, gpu)
        yield Line(
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
    book: Book, component: Component, endpoint: str | None, gpu: str | None, time_ms: int
) -> Line:
    rate = _rate(book, component, gpu)
    return Line(
        component=component,
        endpoint=endpoint,
        gpu=gpu,
        quantity=time_ms / HOUR_MS,
        unit="hour",
        rate_nanos=rate,
        nanos=None if rate is None else charge_nanos(time_ms, rate, HOUR_MS),
        is_estimated=_is_estimated(book, component, gpu),
    )


def _transfer_line(book: Book, usage: UsageTotals, gpu: str | None) -> Line:
    size_bytes = usage.bytes_in + usage.bytes_out
    rate = _rate(book, Component.TRANSFER, gpu)
    return Line(
        component=Component.TRANSFER,
        endpoint=usage.endpoint,
        gpu=gpu,
        quantity=size_bytes / _GIGABYTE,
        unit="GB",
        rate_nanos=rate,
        nanos=None if rate is None else charge_nanos(size_bytes, rate, _GIGABYTE),
    )


def _provisioned_ms(
    holding: HoldingTotals, usages: Iterable[UsageTotals], wall_ms: int | None
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


def _is_provisioned(holding: HoldingTotals) -> bool:
    return holding.is_provisioned and holding.state is HoldingState.IDLE


def _rate(book: Book, component: Component, gpu: str | None) -> int | None:
    rate = book.rates.get(gpu) if gpu is not None else None
    return None if rate is None else rate.of(component)


def _is_estimated(book: Book, component: Component, gpu: str | None) -> bool:
    rate = book.rates.get(gpu) if gpu is not None else None
    return rate is not None and component in rate.estimated


def _whole(gpu_count: float) -> int:
    """Return whole devices: a cloud that does not share bills half a device as one."""
    return max(1, math.ceil(gpu_count))


def _missing(book: Book, lines: Iterable[Line]) -> Iterator[Missing]:
    seen: set[tuple[Component, str | None]] = set()
    for line in lines:
        key = (line.component, line.gpu)
        if line.nanos is not None or not line.quantity or key in seen:
            continue
        seen.add(key)
        is_sold = CPU not in book.rates or line.gpu in book.rates
        why = book.missing.get(line.component) if is_sold else None
        yield Missing(
            component=line.component,
            gpu=line.gpu,
            why=why or f"{book.name} has no {line.component} rate for {line.gpu or 'CPU'}",
        )


def _metered_assumptions(book: Book, totals: Totals) -> list[str]:
    said = []
    rows: tuple[UsageTotals | HoldingTotals, ...] = (*totals.usages, *totals.holdings)
    if any(0 < row.gpu_count < 1 for row in rows if row.gpu is not None):
        said.append("assumed: a share of a GPU is billed as a whole one")
    if book.billed_time is BilledTime.HELD and totals.holdings:
        said.append("assumed: starts took as long, and idling lasted as long, as here")
    return said


def _simulated(totals: Totals) -> list[str]:
    count = sum(row.requests for row in totals.usages if row.is_simulated)
    return [f"simulated: {count} requests ran on simulated devices, not on GPUs"] if count else []


def _dedicated(book: Book, totals: Totals, wall_ms: int | None, as_gpu: str | None) -> Line:
    used = next((row.gpu for row in totals.usages if row.gpu in book.dedicated), as_gpu)
    instance = book.dedicated.get(used) if used is not None else None
    return Line(
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


def format_dollars(nanos: int) -> str:
    """Write money for a person: cents from a dollar up, else up to three digits that count."""
    dollars = nanos / NANOS_PER_DOLLAR
    if nanos == 0 or abs(dollars) >= 0.995:
        return f"${dollars:,.2f}"
    digits = min(9, 2 - math.floor(math.log10(abs(dollars))))
    return f"${dollars:.{digits}f}"
