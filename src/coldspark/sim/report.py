"""A plan as one HTML page that holds all it needs: tables, pictures, the policy, assumptions."""

import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import starmap
from typing import Any

from coldspark.sim import charts
from coldspark.sim.plan_json import rate_of, requests_of
from coldspark.spec.money import format_dollars
from coldspark.spec.units import format_duration

Json = dict[str, Any]

_FIGURE = re.compile(r"~?\$?\d[\d,.]*\s?(%|[a-zµ]+)?( \d+\s?[a-z]+)?(\.\.\$?\d.*)?")
"""Money, a share, a duration such as 1m 2s, or an interval of them."""
_STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --line: #ddd; --block: #f4f4f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ddd; --paper: #16181c; --line: #3a3d44; --block: #23262c; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; }
th, td { text-align: left; min-width: 2.5rem; padding: .25rem .75rem .25rem 0;
         border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
th.number { text-align: right; }
td:first-child { min-width: 9rem; }
td:last-child { min-width: 6rem; }
tr.chosen { font-weight: bold; background: var(--block); }
pre { background: var(--block); padding: 1rem; overflow-x: auto; }
svg { max-width: 100%; min-width: 44rem; height: auto; }
""".strip()


def page(answer: Json) -> str:
    """Return the page of a plan as ``plan_json.to_json`` gives it."""
    recommended = answer["recommended"]
    parts = [
        "<h1>A plan for this traffic</h1>",
        f"<p>{escape(_summary(answer['traffic']))}</p>",
        _wide(charts.arrivals(answer)),
        f"<h2>Recommended: {escape(recommended['policy'])}</h2>",
        f"<p>{escape(recommended['reason'])}</p>",
        f"<p>{escape(recommended['sureness'])}</p>",
        f"<pre>{escape(recommended['toml'])}</pre>",
        "<h2>Cost and waiting of every policy here</h2>",
        "<p>Down and to the left is better: cheaper, and callers wait less.</p>",
        _wide(charts.frontier(answer)),
        _policies(answer["policies"]),
        *([f"<p>{escape(notes)}</p>"] if (notes := answer["seeds"]["told"]) else []),
        "<h2>Platforms, a month of 30 days</h2>",
        _wide(charts.components(answer)),
        _platforms(answer["platforms"]),
        f"<p>{escape(_dedicated(answer['dedicated']))}</p>",
        "<h2>What to know</h2>",
        _remarks(answer),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>coldspark plan</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _summary(traffic: Json) -> str:
    service = traffic["service"]
    return (
        f"{requests_of(traffic)} in {format_duration(traffic['period_s'])}:"
        f" {rate_of(traffic)} a day, each taking {_time(service['p50_s'])}"
        f" (p95 {_time(service['p95_s'])}); a start here takes {_time(traffic['start_p50_s'])}"
        f" (p95 {_time(traffic['start_p95_s'])})."
    )


def _dedicated(dedicated: Json) -> str:
    return (
        f"dedicated: the fewest replicas ({dedicated['replicas']}) with 95 % of waits within"
        f" {_time(dedicated['p95_wait_max_s'])}, or else the most that --max allows"
    )


def _platforms(rows: Sequence[Json]) -> str:
    headers = (
        "platform", "gpu", "a month", "wait p50", "p95", "p99", "latency p95", "cold", "in use",
        "dedicated is cheaper from",
    )  # fmt: skip
    return _table(headers, [(False, _platform(row)) for row in rows])


def _platform(row: Json) -> list[str]:
    if row["month_nanos"] is None:
        return [
            row["title"],
            row["gpu"] or "-",
            "not compared",
            *[""] * 6,
            "; ".join(row["missing"]),
        ]
    even = row["break_even"]
    where = ""
    if even is not None:
        rate = even["requests_a_day"]
        where = even["why"] if rate is None else f"{rate:,.0f} a day, {even['why']}"
    mark = "~" if row["is_estimated"] else ""
    return [
        row["title"],
        row["gpu"] or "CPU",
        mark + format_dollars(row["month_nanos"]),
        *(_time(row["wait"][name]) for name in ("p50_s", "p95_s", "p99_s")),
        _time(row["latency"]["p95_s"]),
        f"{row['cold_share']:.1%}",
        f"{row['utilisation']:.1%}",
        where,
    ]


def _policies(policies: Sequence[Json]) -> str:
    is_sure = all(one["month_nanos_90"] is not None for one in policies)
    reach = ("90 %",) if is_sure else ()
    headers = (
        "policy", "a month", *reach, "mean wait", "p95", "latency p95", *reach, "cold",
        "starts a day", "on the frontier",
    )  # fmt: skip
    ordered = sorted(policies, key=lambda one: one["month_nanos"])
    rows = [
        (
            one["is_chosen"],
            [
                one["policy"],
                format_dollars(one["month_nanos"]),
                *_between(one["month_nanos_90"], lambda nanos: format_dollars(round(nanos))),
                _time(one["wait"]["mean_s"]),
                _time(one["wait"]["p95_s"]),
                _time(one["latency"]["p95_s"]),
                *_between(one["latency_p95_s_90"], _time),
                f"{one['cold_share']:.1%}",
                f"{one['starts_a_day']:.1f}",
                _status(one),
            ],
        )
        for one in ordered
    ]
    return _table(headers, rows)


def _status(one: Json) -> str:
    if one["is_chosen"]:
        return "recommended"
    return "yes" if one["is_on_frontier"] else ""


def _between(interval: list[float] | None, write: Callable[[float], str]) -> list[str]:
    return [] if interval is None else [f"{write(interval[0])}..{write(interval[1])}"]


def _remarks(answer: Json) -> str:
    notes = [*answer["remarks"]]
    for row in answer["platforms"]:
        about = f"{row['title']} ({row['as_of']})"
        notes += [f"{about}: {each}" for each in row["assumptions"]]
        if row["month_nanos"] is not None:
            notes += [f"{about}: missing from the sum: {each}" for each in row["missing"]]
    if any(row.get("unserved") for row in answer["platforms"]):
        notes.append("some requests were not taken before the period ended: raise --max")
    notes.append("~ marks a sum with a rate that was estimated, not published.")
    notes.append("Figures are a simulation's: the production scaler in virtual time.")
    items = "".join(f"<li>{escape(each)}</li>" for each in dict.fromkeys(notes))
    return f"<ul>{items}</ul>"


def _table(headers: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> str:
    rows = list(rows)
    lines = []
    for is_chosen, cells in rows:
        kind = ' class="chosen"' if is_chosen else ""
        lines.append(f"<tr{kind}>{''.join(map(_cell, cells))}</tr>")
    columns = zip(*(cells for _, cells in rows), strict=True)
    head = "".join(starmap(_header, zip(headers, columns, strict=True)))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    return _wide(table)


def _wide(part: str) -> str:
    """Make a wide table scroll sideways, rather than shrink until nobody can read it."""
    return f'<div class="wide">{part.strip()}</div>'


def _header(text: str, column: Sequence[str]) -> str:
    """Write a header over its figures; a column of words begins on the left."""
    kind = ' class="number"' if any(map(_FIGURE.fullmatch, column)) else ""
    return f"<th{kind}>{escape(text)}</th>"


def _cell(text: str) -> str:
    kind = ' class="number"' if _FIGURE.fullmatch(text) else ""
    return f"<td{kind}>{escape(text)}</td>"


def _time(seconds: float) -> str:
    return "0" if seconds < 0.0005 else format_duration(seconds)
