"""The dated price books that ship with coldspark, read from TOML."""

import difflib
import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from coldspark.billing.price_book import (
    BilledTime,
    Component,
    Correction,
    DeviceRates,
    PriceBook,
    PriceBookKind,
    RentedInstance,
)
from coldspark.errors import NotFound
from coldspark.spec.money import NANOS_PER_DOLLAR
from coldspark.spec.units import parse_size

_FOLDER = Path(__file__).parent
_WORDS = {
    "provisioned": Component.PROVISIONED,
    "invocations": Component.INVOCATIONS,
    "compute": Component.COMPUTE,
    "transfer": Component.TRANSFER,
    "busy": Component.BUSY,
    "starting": Component.STARTING,
    "idle": Component.IDLE,
    "overhead": Component.OVERHEAD,
    "dedicated": Component.DEDICATED,
}


def names() -> tuple[str, ...]:
    """Return the names of all books; ``own`` is first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.toml"))
    return tuple(sorted(found, key=lambda name: name != "own"))


@cache
def load(name: str) -> PriceBook:
    """Return a book by name. Raises NotFound with the nearest names."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=3) or list(names())
        raise NotFound(f"price book {name!r} does not exist: there is {', '.join(near)}")
    return _book(name, tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def nanos(dollars: str) -> int:
    """Return nano-dollars, exactly. Raises ValueError for what is finer than a nano-dollar."""
    scaled = Decimal(dollars) * NANOS_PER_DOLLAR
    if scaled != int(scaled):
        raise ValueError(f"price {dollars!r} is finer than a nano-dollar")
    return int(scaled)


def _book(name: str, data: Mapping[str, Any]) -> PriceBook:
    return PriceBook(
        name=name,
        title=data["title"],
        kind=PriceBookKind(data["kind"]),
        as_of=data["as_of"],
        source=data["source"],
        components=tuple(_WORDS[word] for word in data["components"]),
        billed_time=BilledTime(data.get("billed_time", "busy")),
        rates={gpu: _rate(row) for gpu, row in data.get("rates", {}).items()},
        dedicated={gpu: _instance(row) for gpu, row in data.get("dedicated", {}).items()},
        missing={_WORDS[word]: why for word, why in data.get("missing", {}).items()},
        corrections=tuple(Correction(**row) for row in data.get("corrections", ())),
    )


def _rate(row: Mapping[str, Any]) -> DeviceRates:
    per_second = row.get("compute_second")
    per_hour = row.get("compute_hour")
    hour_nanos = _optional(per_hour) if per_second is None else 3600 * nanos(per_second)
    return DeviceRates(
        invocation_nanos=_optional(row.get("invocation")),
        compute_hour_nanos=hour_nanos,
        provisioned_hour_nanos=_optional(row.get("provisioned_slot_hour")),
        gigabyte_nanos=_optional(row.get("gigabyte")),
        memory_hour_nanos=_memory_hour(row.get("gib_second")),
        memory_bytes_max=parse_size(row["memory_max"]) if "memory_max" in row else None,
        estimated=tuple(_WORDS[word] for word in row.get("estimated", ())),
    )


def _memory_hour(per_second: str | None) -> int | None:
    """Return the rate of an hour: a second's is finer than a nano-dollar."""
    return None if per_second is None else nanos(str(3600 * Decimal(per_second)))


def _instance(row: Mapping[str, Any]) -> RentedInstance:
    return RentedInstance(
        name=row.get("instance"),
        gpus=row.get("gpus", 1),
        hour_nanos=nanos(row["hour"]),
        is_estimated=row.get("is_estimated", False),
    )


def _optional(dollars: str | None) -> int | None:
    return None if dollars is None else nanos(dollars)
