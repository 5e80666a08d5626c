"""``requests`` finds the request to look at, ``trace`` draws where its time went."""

import sys
from typing import Annotated, Any

import typer

from coldspark.cli import output, waterfall
from coldspark.cli.options import AsJson, Key, OptionalName, Url, client
from coldspark.cli.times import clock_time, parse_time_ms

_REQUESTS = """
[bold]Examples[/bold]

coldspark requests chat -n 20

coldspark requests chat --slowest --since 24h     [dim]then: coldspark trace REQUEST_ID[/dim]

coldspark requests --by loaded --cold     [dim]whose imports and model took longest[/dim]

coldspark requests chat --json | jq -r '.requests[0].request'
"""
_TRACE = """
[bold]Examples[/bold]

coldspark trace 0c40eefe-4864-4fb7-9911-3dbadbf2cbd0

coldspark trace 0c40eefe-4864-4fb7-9911-3dbadbf2cbd0 --json | jq .waterfall

coldspark trace 0c40eefe-4864-4fb7-9911-3dbadbf2cbd0 --width 120 | less
"""
_DURATION = "duration"


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_REQUESTS)(requests)
    app.command(epilog=_TRACE)(trace)


def _complete_stage(incomplete: str) -> list[str]:
    return [name for name in (_DURATION, *output.STAGES) if name.startswith(incomplete)]


def requests(
    name: OptionalName = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many.")] = 20,
    slowest: Annotated[
        bool, typer.Option("--slowest", help="The longest first, not the newest.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            help="The longest of one stage first: queued, fetched, booted, loaded, inferred, …",
            autocompletion=_complete_stage,
        ),
    ] = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Only those that waited for a start.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="A date, a time, or how far back: 2026-11-01, 24h, 7d.")
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List requests: how long, mostly for what, how much, and whether they waited for a start."""
    stage = _checked(by)
    answer = client(url, key).find_requests(
        name,
        limit,
        sort=stage or (_DURATION if slowest else None),
        is_cold=cold,
        since_ms=parse_time_ms(since),
    )
    if as_json:
        output.as_json(answer)
    elif not answer.get("requests"):
        output.note("no such requests" if cold or since else "no requests yet")
    else:
        _show(answer["requests"], stage)
        if not answer.get("is_complete", True):
            output.note("older requests were too many to be looked at: narrow it by --since")


def trace(
    request_id: Annotated[str, typer.Argument(help="As in X-Coldspark-Request-Id.")],
    width: Annotated[
        int | None, typer.Option(min=20, help="Columns to draw in.", show_default="the terminal's")
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Draw where one request's time went, what it waited for, and what it cost."""
    row = client(url, key).request(request_id)
    if as_json:
        output.as_json(row)
        return
    stages_us = _stages_us(row)
    columns = width or waterfall.width_of_terminal()
    is_terminal = output.is_terminal(sys.stdout)
    # Whole lines are easier to search in a pipe.
    folded = columns if width or is_terminal else None
    output.pairs(_facts(row), folded)
    output.out()
    for line in waterfall.draw(stages_us, width=columns, is_coloured=is_terminal):
        output.out(line)
    output.out()
    output.pairs(_summary(row, stages_us), folded)


def _checked(stage: str | None) -> str | None:
    known = (_DURATION, *output.STAGES)
    if stage is not None and stage not in known:
        raise typer.BadParameter(f"{stage!r} must be one of {', '.join(known)}", param_hint="--by")
    return stage


def _show(rows: list[dict[str, Any]], stage: str | None) -> None:
    headers = ["request", "endpoint", "when", "status", "took", "mostly", "cold", "cost"]
    has_column = stage is not None and stage != _DURATION
    if has_column:
        headers.insert(5, str(stage))
    output.table(
        headers, [_row(row, stage if has_column else None) for row in rows], is_folded=False
    )


def _row(row: dict[str, Any], stage: str | None) -> list[object]:
    stages_us = _stages_us(row)
    shown = [] if stage is None else [waterfall.duration(stages_us.get(stage, 0))]
    return [
        row["request"],
        row["endpoint"],
        clock_time(row["arrived_ms"]),
        row["status"],
        waterfall.duration(sum(stages_us.values())),
        *shown,
        waterfall.longest(stages_us),
        row["is_cold"],
        output.nanos(row["busy_nanos"]),
    ]


def _facts(row: dict[str, Any]) -> dict[str, object]:
    """Return the request's identifiers; what is not known is left out."""
    variant = row.get("variant")
    devices = row.get("gpu")
    if devices and row.get("is_simulated"):
        devices = f"{devices} (simulated)"
    known = {
        "request": row["request"],
        "endpoint": f"{row['endpoint']}, variant {variant}" if variant else row["endpoint"],
        "when": clock_time(row["arrived_ms"]),
        "status": row["status"],
        "error": row.get("error"),
        "revision": row.get("revision"),
        "replica": row.get("replica"),
        "device": devices or "cpu",
    }
    return {name: value for name, value in known.items() if value is not None}


def _summary(row: dict[str, Any], stages_us: dict[str, int]) -> dict[str, object]:
    summary: dict[str, object] = {"waited": waterfall.waits_message(stages_us) or "for nothing"}
    if row["is_cold"]:
        summary["woke from"] = _origin(row.get("start"))
    elif row.get("start"):
        summary["served by"] = f"a replica that was there: {row['start']['started_by']}"
    summary["cost"] = _cost(row)
    return summary


def _origin(start: dict[str, Any] | None) -> str:
    """Return the warmth level that the replica was started from, and the template."""
    if start is None:
        return "not known any more: the server was restarted, or no replica was reached"
    text = str(start["rung"])
    if start.get("is_environment_built"):
        text += ", its environment was built first"
    return text if start.get("started_by") is None else f"{text}: {start['started_by']}"


def _cost(row: dict[str, Any]) -> str:
    """Split the cost: what the request itself used, and about what its start did."""
    busy, start = row["busy_nanos"], row.get("start_nanos_estimated")
    if not start:
        return f"{output.nanos(busy)} busy"
    total = output.nanos(busy + start)
    return f"about {total}: {output.nanos(busy)} busy + about {output.nanos(start)} for the start"


def _stages_us(row: dict[str, Any]) -> dict[str, int]:
    """Return the ledger's microseconds by stage."""
    fall = row.get("waterfall") or {}
    return {name.removesuffix("_us"): value for name, value in fall.items()}
