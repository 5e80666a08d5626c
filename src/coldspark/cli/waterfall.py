"""Draw a request's waterfall: one line a stage, as wide as the terminal, whole in a narrow one."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from coldspark.cli import output

WAITS = {
    "received": "the caller, who was still sending the body",
    "queued": "a free slot of a replica, or its batch",
    "placed": "room on a machine",
    "fetched": "model data and the environment",
    "booted": "the replica's process",
    "loaded": "imports and the model",
}
"""What a request waits for in each stage before its handler has it."""
START = ("placed", "fetched", "booted", "loaded")
_WIDTH, _WIDTH_MIN, _WIDTH_MAX = 80, 20, 160
_NAME, _TIME, _SHARE = 12, 10, 10
_BAR_MIN = 8
_EIGHTHS = "▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    us: int
    before_us: int


def width_of_terminal() -> int:
    """Return how many columns there are; a pipe has 80."""
    columns = shutil.get_terminal_size((_WIDTH, 24)).columns
    return min(max(columns, _WIDTH_MIN), _WIDTH_MAX)


def draw(stages_us: Mapping[str, int], *, width: int, is_coloured: bool) -> list[str]:
    """Return a line for each stage that took time, for what is unaccounted, and for their sum.

    Each bar begins where the last ended. Where bars do not fit the shares stay, where shares do not
    fit the times do.
    """
    total_us = sum(stages_us.get(name, 0) for name in output.STAGES)
    lines = [_line(row, total_us, width, is_coloured) for row in _rows(stages_us)]
    share = _share(total_us, total_us) if total_us else ""
    return [*lines, _columns("total", duration(total_us), share, width)]


def duration(us: int) -> str:
    """Write microseconds in the unit that reads best: ``850 µs``, ``14.0 ms``, ``3.21 s``."""
    if us < 1_000:
        return f"{us} µs"
    if us < 999_500:
        return f"{us / 1_000:#.3g} ms".replace(". ", " ")
    if us < 119_995_000:
        return f"{us / 1_000_000:.2f} s"
    return f"{us / 60_000_000:.1f} min"


def waits_message(stages_us: Mapping[str, int]) -> str | None:
    """Return what the request waited for before its handler had it, the longest first."""
    parts = {name: us for name in WAITS if (us := stages_us.get(name, 0)) > 0}
    total_us = sum(stages_us.get(name, 0) for name in output.STAGES)
    if not parts:
        return None
    wait_us = sum(parts.values())
    longest = max(parts, key=lambda name: parts[name])
    text = f"{duration(wait_us)} ({100 * wait_us / total_us:.0f} % of its time)"
    if len(parts) == 1:
        return f"{text}, for {WAITS[longest]}"
    return f"{text}, most of it ({duration(parts[longest])}) for {WAITS[longest]}"


def longest(stages_us: Mapping[str, int]) -> str | None:
    """Return the stage that took most of the time."""
    shown = [name for name in output.STAGES if stages_us.get(name, 0) > 0]
    return max(shown, key=lambda name: stages_us[name], default=None)


def _rows(stages_us: Mapping[str, int]) -> list[_Row]:
    rows, before = [], 0
    for name in output.STAGES:
        us = stages_us.get(name, 0)
        if us > 0 or name == "unaccounted":
            rows.append(_Row(name, us, before))
        before += us
    return rows


def _line(row: _Row, total_us: int, width: int, is_coloured: bool) -> str:
    share = _share(row.us, total_us) if total_us else ""
    text = _columns(row.name, duration(row.us), share, width)
    columns = width - _NAME - _TIME - _SHARE - 2
    if columns < _BAR_MIN or not row.us:
        return text
    offset = min(round(columns * row.before_us / total_us), columns - 1)
    bar = _bar(
        round(columns * (row.before_us + row.us) / total_us) - offset, row.us * columns / total_us
    )
    return f"{text}  {' ' * offset}{output.painted(bar, row.name, is_coloured)}"


def _columns(name: str, time: str, share: str, width: int) -> str:
    text = f"{name:<{_NAME}}{time:>{_TIME}}"
    return text + f"{share:>{_SHARE}}" if width >= len(text) + _SHARE else text[:width]


def _share(us: int, total_us: int) -> str:
    return f"{100 * us / total_us:.1f} %"


def _bar(cells: int, exact: float) -> str:
    """Return whole cells, or a part of one: what took any time at all is seen."""
    if cells > 0 and exact >= 0.5:
        return "█" * cells
    return _EIGHTHS[min(7, max(0, round(exact * 8) - 1))]
