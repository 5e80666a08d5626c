"""Ledger lines in their three forms: record, journal payload, database row."""

from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Row

from coldspark.core.metering import Holding, HoldingState, Usage
from coldspark.core.waterfall import STAGES, Waterfall
from coldspark.store import schema
from coldspark.store.database import insert_new
from coldspark.store.journal import Line, Place

USAGE, HOLDING = b"U", b"H"
"""Kinds of journal lines. A payload is the record as a JSON object."""

_PLACE = ("boot", "segment", "position")
_USAGE_FIELDS = tuple(
    column.name
    for column in schema.usages.columns
    if column.name not in ("request", "boot", *STAGES)
)
_HOLDING_FIELDS = tuple(
    column.name for column in schema.holdings.columns if column.name not in _PLACE
)
_usage_values = attrgetter(*_USAGE_FIELDS)
_stage_values = attrgetter(*STAGES)
_holding_values = attrgetter(*_HOLDING_FIELDS)
_read_usage = msgspec.json.Decoder(Usage).decode
_read_holding = msgspec.json.Decoder(Holding).decode
_INSERT_USAGE = insert_new(schema.usages)
_INSERT_HOLDING = insert_new(schema.holdings)

encode = msgspec.json.Encoder().encode
"""Write a Usage or a Holding as a journal payload."""


def insert_lines(connection: Connection, lines: tuple[Line, ...]) -> int:
    """Insert the lines that are not there yet; return how many could not be understood."""
    usages: list[tuple[Any, ...]] = []
    holdings: list[tuple[Any, ...]] = []
    strange = 0
    for line in lines:
        try:
            if line.kind == USAGE:
                usages.append(_usage_row(_read_usage(line.payload), line.place.boot))
            else:
                holdings.append(holding_row(_read_holding(line.payload), line.place))
        except msgspec.MsgspecError:
            strange += 1
    if usages:
        connection.exec_driver_sql(_INSERT_USAGE, usages)
    insert_holdings(connection, holdings)
    return strange


def insert_holdings(connection: Connection, rows: list[tuple[Any, ...]]) -> None:
    """Insert the rows that are not there yet."""
    if rows:
        connection.exec_driver_sql(_INSERT_HOLDING, rows)


def holding_row(holding: Holding, place: Place) -> tuple[Any, ...]:
    """Return a row of ``holdings``."""
    return (place.boot, place.segment, place.offset, *_holding_values(holding))


def usage_of(row: Row[Any]) -> Usage:
    """Read a row of ``usages`` back."""
    values = row._mapping
    waterfall = Waterfall(**{stage: values[stage] for stage in STAGES})
    rest = {name: values[name] for name in _USAGE_FIELDS}
    return Usage(request=values["request"], waterfall=waterfall, **rest)


def holding_of(row: Row[Any]) -> Holding:
    """Read a row of ``holdings`` back."""
    rest = {name: row._mapping[name] for name in _HOLDING_FIELDS}
    return Holding(**rest | {"state": HoldingState(rest["state"])})


def _usage_row(usage: Usage, boot: int) -> tuple[Any, ...]:
    stages = _stage_values(usage.waterfall)
    return (usage.request, boot, *_usage_values(usage), *stages)
