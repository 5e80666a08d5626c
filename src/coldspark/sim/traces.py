"""Read recorded traffic: requests one by one, or counts by window.

Request files have the columns ``arrival_s`` and ``duration_s`` (blank: unknown), and may have
``key``; window files have ``t_s``, ``window_s`` and ``count``. Other columns are passed over.
"""

import csv
import math
import random
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from coldspark.sim.traffic import Durations, Traffic, spread_over_windows

REQUESTS_MAX = 2_000_000
SPAN_MAX_S = 400 * 86_400.0
"""Longer is a wrong unit, such as milliseconds, or takes for ever."""
_MOMENT_MAX_S = 1e11
_FIRST_LINE = (
    "first line must name the columns arrival_s and duration_s, or t_s, window_s and count"
)
_Row = tuple[int, Mapping[str, str]]
"""The line that it ends on, and its columns."""
_DELIMITERS = ",;\t"
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class RecordedTraffic:
    """Traffic, and over which time it came."""

    traffic: Traffic
    period_s: float
    durations_drawn: int = 0
    """Requests whose service time was not recorded, but drawn."""


def read_trace(
    lines: Iterable[str], *, service: Durations | None, key: str | None = None, seed: int = 0
) -> RecordedTraffic:
    """Return the traffic of a CSV file. Raises ValueError with the line.

    ``service`` is drawn from where a duration is not known. ``key`` keeps that key's rows alone.
    The period of a request file ends with the hour of its last arrival.
    """
    reader = _reader(lines)
    columns = reader.fieldnames or ()
    # The line is that of the file: rows of other keys and the header count.
    rows = ((reader.line_num + 1, row) for row in reader if key is None or row.get("key") == key)
    if key is not None and "key" not in columns:
        raise ValueError(f"the trace has no column 'key' to look for {key!r} in")
    if {"t_s", "window_s", "count"} <= set(columns):
        return _windows(rows, service, seed)
    if "arrival_s" not in columns:
        raise ValueError(f"the trace's {_FIRST_LINE}; it is {','.join(columns)!r}")
    return _requests(rows, service, key, seed)


def _reader(lines: Iterable[str]) -> "csv.DictReader[str]":
    """Return the rows by column; names may have spaces around them, or capitals."""
    found = iter(lines)
    header = next((line for line in found if line.strip()), "")
    if not header:
        raise ValueError(f"the trace is empty: its {_FIRST_LINE}")
    delimiter = max(_DELIMITERS, key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter))]
    return csv.DictReader(found, fieldnames=names, delimiter=delimiter)


def to_traffic(
    rows: list[tuple[float, float | None]], service: Durations | None, seed: int
) -> Traffic:
    """Return traffic of (arrival, duration) rows; unknown durations are drawn."""
    chance = random.Random(seed)
    rows.sort(key=lambda row: row[0])
    services = array("d")
    for _, duration_s in rows:
        if duration_s is None:
            if service is None:
                raise ValueError("some durations are blank: say how long requests take (service)")
            duration_s = service.draw(chance)
        services.append(duration_s)
    return Traffic(array("d", (row[0] for row in rows)), services)


def _requests(
    rows: Iterable[_Row], service: Durations | None, key: str | None, seed: int
) -> RecordedTraffic:
    found: list[tuple[float, float | None]] = []
    for number, row in rows:
        duration = (row.get("duration_s") or "").strip()
        duration_s = _number(duration, "duration_s", number) if duration else None
        found.append((_moment_s(row["arrival_s"], "arrival_s", number), duration_s))
        _refuse_many(len(found))
    if not found:
        raise ValueError("the trace has no requests" + ("" if key is None else f" of key {key!r}"))
    first_s = min(row[0] for row in found)
    # Clocks of traces begin anywhere: at an epoch, or before zero.
    shift_s = 0.0 if 0 <= first_s < 86_400 else math.floor(first_s / 86_400) * 86_400
    found = [(arrival_s - shift_s, duration_s) for arrival_s, duration_s in found]
    _refuse_long(max(row[0] for row in found))
    traffic = to_traffic(found, service, seed)
    period_s = max(1.0, math.ceil(traffic.span_s / _HOUR_S)) * _HOUR_S
    return RecordedTraffic(traffic, period_s, sum(duration_s is None for _, duration_s in found))


def _windows(rows: Iterable[_Row], service: Durations | None, seed: int) -> RecordedTraffic:
    if service is None:
        raise ValueError("a file of windows has no durations: say how long requests take (service)")
    windows: list[tuple[float, float, int]] = []
    total = 0
    for number, row in rows:
        begin_s = _moment_s(row["t_s"], "t_s", number)
        length_s, count = (_number(row[name], name, number) for name in ("window_s", "count"))
        windows.append((begin_s, length_s, round(count)))
        total += round(count)
        _refuse_many(total)
    if not total:
        raise ValueError("the trace has no requests")
    first_s = min(begin_s for begin_s, _, _ in windows)
    windows = [(begin_s - first_s, length_s, count) for begin_s, length_s, count in windows]
    period_s = max(begin_s + length_s for begin_s, length_s, _ in windows)
    _refuse_long(period_s)
    return RecordedTraffic(spread_over_windows(windows, service, seed), period_s, total)


def _moment_s(text: str | None, column: str, line: int) -> float:
    """Return a moment in seconds: of any clock, or since 1970 where it is a date of ISO 8601."""
    try:
        value = float(text or "")
    except ValueError:
        value = _date_s(text or "")
    if not math.isfinite(value):
        raise ValueError(
            f"line {line}: {column}={text!r} is no number of seconds;"
            " write dates as 2026-01-31T12:00:00Z, or as seconds since any moment"
        )
    if value > _MOMENT_MAX_S:
        raise ValueError(
            f"line {line}: {column}={text!r} is beyond the year 5000 in seconds: it seems to be"
            " milliseconds; divide by 1,000"
        )
    return value


def _date_s(text: str) -> float:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return math.nan
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _number(text: str | None, column: str, line: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        what = "a number" if column == "count" else "a number of seconds"
        raise ValueError(f"line {line}: {column}={text!r} must be {what}, 0 or more")
    return value


def _refuse_many(count: int) -> None:
    if count > REQUESTS_MAX:
        raise ValueError(f"the trace has over {REQUESTS_MAX:,} requests: cut it, or pass its key")


def _refuse_long(span_s: float) -> None:
    if span_s > SPAN_MAX_S:
        raise ValueError(
            f"the trace spans {span_s / 86_400:,.0f} days, over {SPAN_MAX_S / 86_400:.0f}: are its"
            " times in seconds?"
        )
