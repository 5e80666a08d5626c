"""Insert a stretch of the journal into the database: what a thread or another process does."""

from pathlib import Path

import msgspec

from coldspark.store import journal
from coldspark.store.journal import Place
from coldspark.store.lines import Insert, Statements, insert_lines


class Taken(msgspec.Struct, frozen=True):
    """What was found in a stretch."""

    lines: int
    torn: int
    unread: int
    """Lines whose checksum is wrong, or that another version of coldspark wrote."""


def insert_stretch(
    insert: Insert, statements: Statements, directory: Path, start: Place, end: int | None
) -> Taken:
    """Insert a segment's lines from ``start`` up to ``end``, or to its last byte."""
    lines = torn = unread = 0
    for chunk in journal.read(directory, start, end):
        unread += chunk.damaged + insert_lines(insert, statements, start, chunk.lines)
        lines += len(chunk.lines)
        torn += chunk.torn
    return Taken(lines, torn, unread)
