"""The files that ``coldspark plan`` writes: a page, and pictures of the frontier."""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coldspark.cli import output
from coldspark.errors import InvalidRequest

Json = dict[str, Any]
_NANO = 1e9
_WAIT_LEAST_S = 0.001
_MAIN, _MARK, _FAINT = "#0072b2", "#d55e00", "#888888"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFiles:
    """Where to write what; None: not at all."""

    html: Path | None
    svg: Path | None
    png: Path | None

    def check(self) -> None:
        """Refuse what cannot be written before the simulation: a plan takes its time."""
        for option, file in self._named():
            if not file.absolute().parent.is_dir():
                raise InvalidRequest(f"{option} {file}: there is no directory {file.parent}")
            if file.is_dir():
                raise InvalidRequest(f"{option} {file} is a directory: name a file")
        if self.png is not None and importlib.util.find_spec("matplotlib") is None:
            raise InvalidRequest(
                f"--png {self.png} needs matplotlib: pip install 'coldspark[plot]', or pass --svg"
            )

    def write(self, answer: Json) -> None:
        """Write the files, and print their names."""
        from coldspark.sim import charts, report

        if self.html is not None:
            self.html.write_text(report.page(answer), encoding="utf-8")
        if self.svg is not None:
            self.svg.write_text(charts.frontier(answer, paper="#fff"), encoding="utf-8")
        if self.png is not None:
            _draw_png(answer, self.png)
        for _, file in self._named():
            output.note(f"wrote {file}")

    def _named(self) -> Iterator[tuple[str, Path]]:
        for option, file in (("--html", self.html), ("--svg", self.svg), ("--png", self.png)):
            if file is not None:
                yield option, file


def _draw_png(answer: Json, file: Path) -> None:
    """Draw what ``charts.frontier`` draws."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    policies = answer["policies"]
    spots = [_spot(one) for one in policies]
    pairs = list(zip(policies, spots, strict=True))
    best = sorted(spot for one, spot in pairs if one["is_on_frontier"])
    beaten = [spot for one, spot in pairs if not one["is_on_frontier"]]
    axes.plot(*zip(*best, strict=True), "o-", color=_MAIN, label="the frontier")
    if beaten:
        axes.scatter(
            *zip(*beaten, strict=True), facecolors="none", edgecolors=_FAINT, label="beaten in both"
        )
    for one, (x, y) in pairs:
        if one["is_chosen"]:
            label = f"recommended: {one['policy']}"
            axes.plot(x, y, "D", color=_MARK, markersize=9, zorder=3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.set_xlabel("cost a month, dollars")
    axes.set_ylabel("mean wait, seconds")
    axes.set_title("The frontier of cost and waiting")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend()
    figure.savefig(file, format="png", dpi=150)
    pyplot.close(figure)


def _spot(one: Json) -> tuple[float, float]:
    """Return where a policy is on logarithmic axes: what costs nothing lies on their lower end."""
    return max(0.01, one["month_nanos"] / _NANO), max(_WAIT_LEAST_S, one["wait"]["mean_s"])
