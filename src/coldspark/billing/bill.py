"""A bill: the ledger under one price book, line by line, with what is missing and assumed."""

from dataclasses import dataclass

from coldspark.billing.price_book import Component, Correction, PriceBookKind


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
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
class MissingRate:
    """Something used that the book does not price, so the total is too low."""

    component: Component
    gpu: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A stretch of the ledger under one book."""

    book: str
    title: str
    kind: PriceBookKind
    as_of: str
    source: str
    total_nanos: int
    lines: tuple[BillLine, ...]
    missing: tuple[MissingRate, ...] = ()
    assumptions: tuple[str, ...] = ()
    corrections: tuple[Correction, ...] = ()
    dedicated: BillLine | None = None
    """What one dedicated instance would have cost over the same wall time."""
