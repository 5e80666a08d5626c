"""Pictures of a plan as SVG, by hand: no library, no script, nothing loaded from elsewhere.

Colours are Okabe and Ito's, which the colour-blind can distinguish; nothing depends on colour
alone.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from coldspark.spec.money import format_dollars
from coldspark.spec.units import format_duration

Json = dict[str, Any]

WIDTH = 860
_INK, _MAIN, _MARK = "currentColor", "#0072b2", "#d55e00"
_FAINT = "#88888866"
"""Shows on light and on dark paper; the ink is that of the page around it."""
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'
_WAIT_LEAST_S = 0.001
_NANO = 1e9
_LETTER = 7
"""About how wide a letter is."""
_FINE = 3_000.0
"""Up to such a ratio of its ends an axis has ticks at 2 and 5 as well."""
_FAR = 5
"""A bar that is so many times as long as the next is cut off."""


def frontier(answer: Json, paper: str | None = None) -> str:
    """Draw every policy by cost and mean wait, both on logarithmic axes, and the frontier.

    ``paper`` is the colour under a picture that stands alone; in a page it is the page's.
    """
    policies = answer["policies"]
    spots = [(one["month_nanos"] / _NANO, _wait(one["wait"]["mean_s"])) for one in policies]
    plane = _Plane([x for x, _ in spots], [y for _, y in spots], height=440)
    titles = "cost a month, dollars (logarithmic)", "mean wait, seconds (logarithmic)"
    parts = [*plane.grid(), plane.title(*titles), *_key()]
    pairs = list(zip(policies, spots, strict=True))
    best = sorted((spot, one["policy"]) for one, spot in pairs if one["is_on_frontier"])
    line = " ".join(f"{plane.x(x):.1f},{plane.y(y):.1f}" for (x, y), _ in best)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_MAIN}" stroke-width="1.5"/>')
    ends = {best[0][1]: "cheapest", best[-1][1]: "fastest"} if len(best) > 1 else {}
    # What is recommended is drawn last, over the others.
    for one, (x, y) in sorted(pairs, key=lambda pair: bool(pair[0]["is_chosen"])):
        parts.append(_spot(one, plane.x(x), plane.y(y)))
        parts += _label(one, plane.x(x), plane.y(y), ends.get(one["policy"]))
    return _svg("The frontier of cost and waiting", plane.height, parts, paper)


def components(answer: Json) -> str:
    """Draw what each platform costs a month, stacked by component."""
    rows = [row for row in answer["platforms"] if row["month_nanos"] is not None]
    most = _scale([row["month_nanos"] for row in rows])
    names = list(dict.fromkeys(name for row in rows for name in row["parts"]))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    left, step, width_left = 290, 26, WIDTH - 290 - 170
    parts = []
    for index, row in enumerate(rows):
        y, x = 30 + index * step, float(left)
        parts.append(_text(left - 8, y + 13, f"{_short(row)}", anchor="end"))
        for name, nanos in row["parts"].items():
            width = min(nanos / most * width_left, left + width_left - x)
            tip = f"<title>{escape(name)}: {format_dollars(nanos)}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="18"'
                f' fill="{colours[name]}">{tip}</rect>'
            )
            x += width
        mark = "~" if row["is_estimated"] else ""
        is_cut = row["month_nanos"] > most
        cut = " (bar cut off)" if is_cut else ""
        parts.append(_text(x + 6, y + 13, f"{mark}{format_dollars(row['month_nanos'])}{cut}"))
    parts += _legend(colours, 12)
    return _svg("Cost a month by component", 40 + len(rows) * step, parts)


def _scale(sums: Sequence[int]) -> int:
    """Return what the longest whole bar stands for: at most a third, far beyond it, are cut off."""
    ordered = sorted(sums)
    for index in range(len(ordered) - 1, len(ordered) - 1 - len(ordered) // 3, -1):
        if 0 < ordered[index - 1] * _FAR < ordered[index]:
            return ordered[index - 1]
    return (ordered[-1] if ordered else 0) or 1


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
    parts.append(_text(60, height - 10, "0"))
    parts.append(_text(WIDTH / 2, height - 10, f"requests in each {window}", anchor="middle"))
    parts.append(_text(WIDTH - 20, height - 10, period, anchor="end"))
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
            yield _text(x, bottom + 16, f"{value:,.10g}", anchor="middle")
        for value in _ticks(self._y):
            y = self.y(value)
            yield f'<line x1="70" y1="{y:.1f}" x2="{WIDTH - 40}" y2="{y:.1f}" stroke="{_FAINT}"/>'
            yield _text(64, y + 4, f"{value:,.10g}", anchor="end")

    def title(self, below: str, beside: str) -> str:
        return (
            _text(WIDTH / 2, self.height - 12, below, anchor="middle")
            + f'<text x="16" y="{self.height / 2}" {_FONT} fill="{_INK}" text-anchor="middle"'
            f' transform="rotate(-90 16 {self.height / 2})">{escape(beside)}</text>'
        )


def _spot(one: Json, x: float, y: float) -> str:
    tip = f"{one['policy']}: {format_dollars(one['month_nanos'])} a month, mean wait" + (
        f" {format_duration(one['wait']['mean_s'])}" if one["wait"]["mean_s"] else " 0"
    )
    if one["is_chosen"]:
        size, fill = 7.0, f'fill="{_MARK}"'
    elif one["is_on_frontier"]:
        size, fill = 4.5, f'fill="{_MAIN}"'
    else:
        size, fill = 3.5, 'fill="none" stroke="#888"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}" {fill}>{_tip(tip)}</circle>'


def _label(one: Json, x: float, y: float, end: str | None) -> Iterable[str]:
    """Name what is recommended and both ends of the frontier, towards the middle."""
    if not one["is_chosen"] and end is None:
        return
    what = "recommended" if one["is_chosen"] else end
    text, weight = f"{one['policy']} ({what})", "bold" if one["is_chosen"] else "normal"
    # The line falls to the right: it is clear above that, but where the line comes from below.
    is_left = x + 16 + _LETTER * len(text) > WIDTH
    at_x = x + 10
    if is_left:
        at_x = WIDTH - 4 if end == "fastest" else x - 10
    at_y = y + 28 if end == "cheapest" else y - 14
    yield _text(at_x, at_y, text, anchor="end" if is_left else "start", weight=weight)


def _key() -> Iterable[str]:
    """Draw the legend above the axes."""
    kinds = (
        (f'r="4.5" fill="{_MAIN}"', "on the frontier"),
        ('r="3.5" fill="none" stroke="#888"', "beaten in both"),
        (f'r="7" fill="{_MARK}"', "recommended"),
    )
    for index, (kind, name) in enumerate(kinds):
        x = 76 + 140 * index
        yield f'<g><circle cx="{x}" cy="12" {kind}/>{_text(x + 12, 16, name)}</g>'


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"


def _wait(seconds: float) -> float:
    """Return a wait that a logarithmic axis can show: none at all lies on its lower end."""
    return max(_WAIT_LEAST_S, seconds)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return 1, 2 or 5 times powers of ten around the values."""
    low, high = min(values), max(values)
    first = max(step for step in _steps(low) if step <= low * 1.000001)
    last = min(step for step in _steps(high) if step >= high / 1.000001)
    return (first, last) if last > first else (first, 10 * first)


def _steps(value: float) -> list[float]:
    power = math.floor(math.log10(value))
    return [step * 10.0**each for each in range(power - 1, power + 2) for step in (1, 2, 5)]


def _ticks(bounds: tuple[float, float]) -> list[float]:
    """Return powers of ten; over few of them 2 and 5 times those as well."""
    low, high = bounds
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low <= _FINE else (1,)
    found = [step * 10.0**power for power in powers for step in steps]
    return [tick for tick in found if low / 1.000001 <= tick <= high * 1.000001]


def _short(row: Json) -> str:
    title = str(row["title"]).partition(",")[0].partition(" (")[0]
    return f"{title}, {row['gpu'] or 'CPU'}"


def _legend(colours: dict[str, str], y: int) -> Iterable[str]:
    x = 290.0
    for name, colour in colours.items():
        yield f'<rect x="{x:.1f}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 14, y + 1, name)
        x += 30 + 7 * len(name)


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {_FONT} fill="{_INK}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )


def _svg(title: str, height: float, parts: Iterable[str], paper: str | None = None) -> str:
    under = "" if paper is None else f'<rect width="100%" height="100%" fill="{paper}"/>\n'
    body = under + "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}"'
        f' width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )
