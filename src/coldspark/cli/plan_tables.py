"""How a plan looks on a terminal."""

from collections.abc import Callable
from typing import Any

from coldspark.cli import output
from coldspark.sim.plan_json import rate_of, requests_of

Json = dict[str, Any]


def show(answer: Json) -> None:
    """Write the tables, the policy to deploy, and what was assumed."""
    _traffic(answer["traffic"])
    output.heading("Platforms, a month of 30 days")
    _platforms(answer)
    output.heading("What it is made of")
    _parts(answer["platforms"])
    output.heading("Policies here: the frontier of cost and waiting, the cheapest first")
    _policies(answer["policies"])
    if answer["seeds"]["told"] is not None:
        output.out(answer["seeds"]["told"])
    _recommended(answer["recommended"])
    _remarks(answer)


def _traffic(traffic: Json) -> None:
    service = traffic["service"]
    output.out(
        f"{requests_of(traffic)} in {duration(traffic['period_s'])}"
        f" ({rate_of(traffic)} a day);"
        f" each takes {duration(service['p50_s'])} (p95 {duration(service['p95_s'])}),"
        f" a start here {duration(traffic['start_p50_s'])}"
        f" (p95 {duration(traffic['start_p95_s'])})"
    )


def _platforms(answer: Json) -> None:
    headers = (
        "platform",
        "gpu",
        "a month",
        "wait p50",
        "p95",
        "p99",
        "latency p50",
        "p95",
        "p99",
        "cold",
        "in use",
        "dedicated is cheaper from",
    )
    rows = [row for row in answer["platforms"] if row["month_nanos"] is not None]
    output.table(headers, [_platform(row) for row in rows])
    for row in answer["platforms"]:
        if row["month_nanos"] is None:
            output.out(f"not compared: {'; '.join(row['missing'])}")
    dedicated = answer["dedicated"]
    output.out(
        f"dedicated: the fewest replicas ({dedicated['replicas']}) with 95 % of waits within"
        f" {duration(dedicated['p95_wait_max_s'])}, or else the most that --max allows"
    )


def _platform(row: Json) -> tuple[object, ...]:
    wait, latency = row["wait"], row["latency"]
    mark = "~" if row["is_estimated"] else ""
    return (
        row["title"],
        row["gpu"] or "cpu",
        f"{mark}{output.nanos(row['month_nanos'])}",
        *(duration(wait[name]) for name in ("p50_s", "p95_s", "p99_s")),
        *(duration(latency[name]) for name in ("p50_s", "p95_s", "p99_s")),
        f"{row['cold_share']:.1%}",
        f"{row['utilisation']:.1%}",
        _even(row["break_even"]),
    )


def _even(even: Json | None) -> str:
    if even is None:
        return "-"
    if even["requests_a_day"] is None:
        return str(even["why"])
    return f"{even['requests_a_day']:,.0f} a day, {even['why']}"


def _parts(rows: list[Json]) -> None:
    parts = [
        (row["title"], row["gpu"] or "cpu", part, output.nanos(nanos))
        for row in rows
        for part, nanos in row["parts"].items()
    ]
    output.table(("platform", "gpu", "component", "a month"), parts)


def _policies(policies: list[Json]) -> None:
    best = sorted(
        (one for one in policies if one["is_on_frontier"]), key=lambda one: one["month_nanos"]
    )
    chosen = [one for one in policies if one["is_chosen"] and not one["is_on_frontier"]]
    is_sure = all(one["month_nanos_90"] is not None for one in policies)
    headers = (
        "",
        "policy",
        "a month",
        *(["90 %"] if is_sure else []),
        "mean wait",
        "p95",
        "latency p95",
        *(["90 %"] if is_sure else []),
        "cold",
        "starts a day",
    )
    output.table(headers, [_policy(one) for one in [*best, *chosen]])
    beaten = [one["policy"] for one in policies if not one["is_on_frontier"]]
    if beaten:
        output.out(f"beaten in both: {'; '.join(beaten)}")


def _policy(one: Json) -> tuple[object, ...]:
    return (
        "->" if one["is_chosen"] else "",
        one["policy"],
        output.nanos(one["month_nanos"]),
        *_between(one["month_nanos_90"], lambda nanos: str(output.nanos(round(nanos)))),
        duration(one["wait"]["mean_s"]),
        duration(one["wait"]["p95_s"]),
        duration(one["latency"]["p95_s"]),
        *_between(one["latency_p95_s_90"], duration),
        f"{one['cold_share']:.1%}",
        f"{one['starts_a_day']:.1f}",
    )


def _between(found: list[float] | None, write: Callable[[float], str]) -> list[str]:
    """Write an interval, where there is one."""
    return [] if found is None else [f"{write(found[0])}..{write(found[1])}"]


def _recommended(recommended: Json) -> None:
    output.heading(f"Recommended: {recommended['policy']}")
    output.out(recommended["reason"])
    output.out(recommended["sureness"])
    output.out()
    for line in recommended["toml"].splitlines():
        output.out(line)


def _remarks(answer: Json) -> None:
    output.heading("What to know")
    for remark in answer["remarks"]:
        output.out(f"- {remark}")
    rows: dict[str, None] = {}
    for row in answer["platforms"]:
        as_of = f"{row['title'].partition(' (')[0]} ({row['as_of']})"
        for assumption in row["assumptions"]:
            rows[f"- {as_of}: {assumption}"] = None
        if row["month_nanos"] is not None:
            for missing in row["missing"]:
                rows[f"- {as_of}: missing from the sum: {missing}"] = None
    for line in rows:
        output.out(line)
    if any(row["is_estimated"] for row in answer["platforms"]):
        output.out("- ~ marks a sum with a rate that was estimated, not published")
    if any(row.get("unserved") for row in answer["platforms"]):
        output.out("- some requests were not taken before the period ended: raise --max")


def duration(seconds: float) -> str:
    """Write seconds for a person; none at all is 0."""
    from coldspark.spec.units import format_duration

    return "0" if seconds < 0.0005 else format_duration(seconds)
