"""Ledger lines in their three forms: record, journal payload, database row.

Nothing here needs SQLAlchemy: the process that ingests a busy ledger starts without it.
"""

from collections.abc import Callable, Iterable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import astuple

from coldspark.billing import journal
from coldspark.billing.journal import JournalLine, JournalPosition
from coldspark.billing.usage import IdleUsage, Usage

USAGE, HOLDING = b"U", b"H"
"""Kinds of journal lines. A payload is the record as a JSON object."""

RowOfValues: TypeAlias = tuple[Any, ...]
"""Values in the order of a table's columns."""

_HOLDING_FIELDS = tuple(field.name for field in fields(IdleUsage))
_holding_values = attrgetter(*_HOLDING_FIELDS)
_read_usage = msgspec.json.Decoder(Usage).decode
_read_holding = msgspec.json.Decoder(IdleUsage).decode
_encode = msgspec.json.Encoder().encode


class Inserts(NamedTuple):
    """The statements that insert rows unless they exist."""

    usages: Callable[[list[RowOfValues]], object]
    holdings: Callable[[list[RowOfValues]], object]


def usage_line(usage: Usage) -> bytes:
    """Return a request's line for the journal."""
    return journal.line(USAGE, _encode(usage))


def holding_line(holding: IdleUsage) -> bytes:
    """Return the journal's line of idle usage."""
    return journal.line(HOLDING, _encode(holding))


def insert_lines(inserts: Inserts, segment: JournalPosition, lines: Iterable[JournalLine]) -> int:
    """Insert a segment's lines that are not there yet; return how many cannot be understood."""
    usages: list[RowOfValues] = []
    holdings: list[RowOfValues] = []
    strange = 0
    for offset, kind, payload in lines:
        try:
            if kind == USAGE:
                usages.append(_usage_row(segment.boot, payload))
            else:
                position = JournalPosition(segment.boot, segment.segment, offset)
                holdings.append(holding_row(_read_holding(payload), position))
        except msgspec.MsgspecError:
            strange += 1
    if usages:
        inserts.usages(usages)
    if holdings:
        inserts.holdings(holdings)
    return strange


def holding_row(holding: IdleUsage, position: JournalPosition) -> RowOfValues:
    """Return a row of ``holdings``."""
    return (position.boot, position.segment, position.offset, *_holding_values(holding))


def _usage_row(boot: int, payload: bytes) -> RowOfValues:
    request, *values, waterfall = astuple(_read_usage(payload))
    return (request, boot, *values, *astuple(waterfall))


class IngestResult(msgspec.Struct, frozen=True):
    """The result of ingesting an interval."""

    lines: int
    torn: int
    unread: int
    """Lines whose checksum is wrong, or that another version of coldspark wrote."""


def insert_segment_range(
    inserts: Inserts, directory: Path, start: JournalPosition, end: int | None
) -> IngestResult:
    """Insert a segment's lines from ``start`` up to ``end``, or to its last byte."""
    lines = torn = unread = 0
    for chunk in journal.read(directory, start, end):
        unread += chunk.damaged + insert_lines(inserts, start, chunk.lines)
        lines += len(chunk.lines)
        torn += chunk.torn
    return IngestResult(lines, torn, unread)
