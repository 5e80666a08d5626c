"""Pictures of a plan as SVG, by hand: no library, no script, nothing loaded from elsewhere.

Colours are Okabe and Ito's, which the colour-blind can tell apart; nothing is told by colour alone.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from coldspark.core.money import format_dollars
from coldspark.core.sizes import format_duration

Json = dict[str, Any]

WIDTH = 860
_INK, _MAIN, _MARK = "currentColor", "#0072b2", "#d55e00"
_FAINT = "#88888866"
"""Shows on light and on dark paper; the ink is that of the page around it."""
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'
_WAIT_LEAST_S = 0.001
_NANO = 1e9


def frontier(answer: Json) -> str:
    """Draw every policy by cost and mean wait, both on logarithmic axes, and the frontier."""
    policies = answer["policies"]
    spots = [(one["month_nanos"] / _NANO, _wait(one["wait"]["mean_s"])) for one in policies]
    plane = _Plane([x for x, _ in spots], [y for _, y in spots], height=420)
    parts = [*plane.grid(), plane.title("cost a month, dollars", "mean wait, seconds")]
    best = sorted(spot for one, spot in zip(policies, spots, strict=True) if one["is_on_frontier"])
    line = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for x, y in best)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_MAIN}" stroke-width="1.5"/>')
    for one, (x, y) in zip(policies, spots, strict=True):
        parts.append(_spot(one, plane.x(x), plane.y(y)))
    return _svg("The frontier of cost and waiting", plane.height, parts)


def components(answer: Json) -> str:
    """Draw what each platform costs a month, stacked by component."""
    rows = [row for row in answer["platforms"] if row["month_nanos"] is not None]
    most = max((row["month_nanos"] for row in rows), default=0) or 1
    names = list(dict.fromkeys(name for row in rows for name in row["parts"]))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    left, step, room = 330, 26, WIDTH - 330 - 90
    parts = []
    for index, row in enumerate(rows):
        y, x = 30 + index * step, float(left)
        parts.append(_text(left - 8, y + 13, f"{_short(row)}", anchor="end"))
        for name, nanos in row["parts"].items():
            width = nanos / most * room
            tip = f"<title>{escape(name)}: {format_dollars(nanos)}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18"'
                f' fill="{colours[name]}">{tip}</rect>'
            )
            x += width
        parts.append(_text(x + 6, y + 13, format_dollars(row["month_nanos"])))
    parts += _legend(colours, 12)
    return _svg("Cost a month by component", 40 + len(rows) * step, parts)


def arrivals(answer: Json) -> str:
    """Draw how many requests came when."""
    histogram = answer["traffic"]["histogram"]
    counts: list[int] = histogram["counts"]
    most, height = max(counts, default=0) or 1, 160
    width = (WIDTH - 80) / len(counts)
    parts = [
        f'<rect x="{60 + index * width:.1f}" y="{height - 30 - count / most * 110:.1f}"'
        f' width="{max(0.5, width - 0.5):.1f}" height="{count / most * 110:.1f}"'
        f' fill="{_MAIN}"/>'
        for index, count in enumerate(counts)
        if count
    ]
    parts.append(_text(54, height - 136, f"{most:,}", anchor="end"))
    parts.append(_text(54, height - 30, "0", anchor="end"))
    window = format_duration(histogram["window_s"])
    period = format_duration(histogram["window_s"] * len(counts))
    parts.append(_text(60, height - 10, f"requests in each {window}, over {period}"))
    return _svg("Traffic", height, parts)


class _Plane:
    """Two logarithmic axes."""

    def __init__(self, xs: Sequence[float], ys: Sequence[float], height: int) -> None:
        self.height = height
        self._x = _range([max(x, 0.01) for x in xs])
        self._y = _range(ys)

    def x(self, value: float) -> float:
        low, high = self._x
        share = (math.log10(max(value, low)) - math.log10(low)) / math.log10(high / low)
        return 70 + share * (WIDTH - 110)

    def y(self, value: float) -> float:
        low, high = self._y
        share = (math.log10(max(value, low)) - math.log10(low)) / math.log10(high / low)
        return self.height - 50 - share * (self.height - 80)

    def grid(self) -> Iterable[str]:
        bottom = self.height - 50
        for value in _ticks(self._x):
            x = self.x(value)
            yield f'<line x1="{x:.1f}" y1="30" x2="{x:.1f}" y2="{bottom}" stroke="{_FAINT}"/>'
            yield _text(x, bottom + 16, f"{value:g}", anchor="middle")
        for value in _ticks(self._y):
            y = self.y(value)
            yield f'<line x1="70" y1="{y:.1f}" x2="{WIDTH - 40}" y2="{y:.1f}" stroke="{_FAINT}"/>'
            yield _text(64, y + 4, f"{value:g}", anchor="end")

    def title(self, below: str, beside: str) -> str:
        return (
            _text(WIDTH / 2, self.height - 12, below, anchor="middle")
            + f'<text x="16" y="{self.height / 2}" {_FONT} fill="{_INK}" text-anchor="middle"'
            f' transform="rotate(-90 16 {self.height / 2})">{escape(beside)}</text>'
        )


def _spot(one: Json, x: float, y: float) -> str:
    tip = f"<title>{escape(one['policy'])}: {format_dollars(one['month_nanos'])}</title>"
    if one["is_chosen"]:
        label = _text(x + 10, y - 8, f"{one['policy']} (recommended)", weight="bold")
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="{_MARK}">{tip}</circle>{label}'
    if not one["is_on_frontier"]:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="none" stroke="#888">{tip}</circle>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{_MAIN}">{tip}</circle>'


def _wait(seconds: float) -> float:
    """Return a wait that a logarithmic axis can show: none at all lies on its lower end."""
    return max(_WAIT_LEAST_S, seconds)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return whole powers of ten around the values."""
    low = 10.0 ** math.floor(math.log10(min(values)))
    high = 10.0 ** math.ceil(math.log10(max(values)))
    return low, high if high > low else 10 * low


def _ticks(bounds: tuple[float, float]) -> list[float]:
    first, last = (round(math.log10(bound)) for bound in bounds)
    return [10.0**power for power in range(first, last + 1)]


def _short(row: Json) -> str:
    title = str(row["title"]).partition(",")[0].partition(" (")[0]
    return f"{title}, {row['gpu'] or 'CPU'}"


def _legend(colours: dict[str, str], y: int) -> Iterable[str]:
    x = 330.0
    for name, colour in colours.items():
        yield f'<rect x="{x:.1f}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, y + 1, name)
        x += 30 + 7 * len(name)


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} fill="{_INK}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )


def _svg(title: str, height: float, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )
