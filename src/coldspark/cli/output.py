"""Rendering: tables and bars on a terminal, plain columns in a pipe, JSON when asked."""

import json
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

STAGES = (
    "received",
    "queued",
    "placed",
    "fetched",
    "booted",
    "loaded",
    "inferred",
    "returned",
    "unaccounted",
)
"""As in the waterfall of the ledger, in the order of time."""
_STYLES = {
    "received": "blue",
    "queued": "yellow",
    "placed": "magenta",
    "fetched": "cyan",
    "booted": "bright_red",
    "loaded": "red",
    "inferred": "green",
    "returned": "bright_blue",
    "unaccounted": "bright_black",
}
_WORDS = {
    "Ready": "green",
    "ok": "green",
    "warn": "yellow",
    "Updating": "yellow",
    "starting": "yellow",
    "Retiring": "yellow",
    "missing": "red",
    "Failed": "red",
    "simulated": "magenta",
}
_ROW_CHARS_MAX = 1_000
_FOLD_MIN = 12


def is_terminal(stream: TextIO | None = None) -> bool:
    """Return whether a stream is a terminal."""
    return (stream or sys.stdout).isatty()


def out(text: str = "") -> None:
    """Write a line to standard output."""
    print(text, flush=True)


def note(text: str) -> None:
    """Write a line beside the answer: to standard error."""
    print(text, file=sys.stderr, flush=True)


def as_json(data: Any) -> None:
    """Write the API's reply and nothing else."""
    out(json.dumps(data, indent=2 if is_terminal() else None, ensure_ascii=False))


def table(
    headers: Sequence[str], rows: Iterable[Sequence[object]], *, is_folded: bool = True
) -> None:
    """Write rows under headers: aligned and coloured for a person, plain columns in a pipe.

    Cells fold to fit a terminal, or else whole rows run over its edge: an id in pieces cannot be
    copied.
    """
    texts = [[_cell(value) for value in row] for row in rows]
    if is_terminal():
        _rich_table(headers, texts, is_folded=is_folded)
    else:
        for line in columns([list(headers), *texts]):
            out(line)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns, two spaces apart."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def pairs(values: Mapping[str, object], columns: int | None = None) -> None:
    """Write names with their values, the names aligned; values fold to ``columns`` if given."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        lines = _cell(value).splitlines() or [""]
        if columns is not None:
            space = max(_FOLD_MIN, columns - width - 2)
            lines = [part for line in lines for part in textwrap.wrap(line, space) or [""]]
        out(f"{name.ljust(width)}  {lines[0]}".rstrip())
        for line in lines[1:]:
            out(f"{' ' * width}  {line}")


def heading(text: str) -> None:
    """Write the title of a section."""
    out(f"\n{bold(text)}")


def bold(text: str) -> str:
    """Return text that stands out on a terminal."""
    return f"\033[1m{text}\033[0m" if is_terminal() else text


def summary(stages_ms: Mapping[str, float], *, is_cold: bool, cost: str | None) -> str:
    """Return a request's time and money in one line."""
    parts = [f"{name} {stages_ms[name]:.4g}" for name in STAGES if stages_ms.get(name, 0) >= 0.05]
    total = stages_ms.get("total", sum(stages_ms.get(name, 0) for name in STAGES))
    parts_shown = [f"{total:.4g} ms" + (f" ({', '.join(parts)})" if parts else "")]
    parts_shown.append("cold" if is_cold else "warm")
    if cost is not None:
        parts_shown.append(dollars(cost))
    return " · ".join(parts_shown)


def dollars(decimal: str) -> str:
    """Write an exact decimal of dollars for a person."""
    from decimal import Decimal

    from coldspark.spec.money import format_dollars

    return format_dollars(round(Decimal(decimal) * 1_000_000_000))


def nanos(value: int | None) -> str | None:
    """Write nano-dollars for a person."""
    from coldspark.spec.money import format_dollars

    return None if value is None else format_dollars(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _rich_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, is_folded: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in headers:
        grid.add_column(header, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(text, style=_WORDS.get(text, "")) for text in row))
    console = Console(highlight=False)
    if not is_folded:
        endless = console.options.update(max_width=_ROW_CHARS_MAX)
        console.width = max(console.width, console.measure(grid, options=endless).maximum)
    console.print(grid)


_CODES = {
    "red": 31,
    "green": 32,
    "yellow": 33,
    "blue": 34,
    "magenta": 35,
    "cyan": 36,
    "bright_black": 90,
    "bright_red": 91,
    "bright_blue": 94,
}


def painted(text: str, stage: str, is_coloured: bool) -> str:
    """Return text in the colour of a stage, or as it is."""
    return f"\033[{_CODES[_STYLES[stage]]}m{text}\033[0m" if is_coloured else text


_SIZES = ("memory", "gpu_memory")


def render_field(field: str, value: Any) -> str:
    """Write one field's value; ``field`` may be a path such as ``scale.max``. A table has lines."""
    name = field.rpartition(".")[2]
    if value in (None, []):
        return "-"
    if isinstance(value, dict):
        present = {key: inner for key, inner in value.items() if inner not in (None, [])}
        return "\n".join(f"{key} = {render_field(key, inner)}" for key, inner in present.items())
    if isinstance(value, list) and isinstance(value[0], dict):
        return "\n".join(render_field(name, each).replace("\n", ", ") for each in value)
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, int) and (name in _SIZES or name.endswith("_bytes_max")):
        from coldspark.spec.units import write_size

        return write_size(value)
    if isinstance(value, int | float) and name.endswith("_s"):
        return f"{value:g} s"
    return f"{value:g}" if isinstance(value, float) else str(value)
