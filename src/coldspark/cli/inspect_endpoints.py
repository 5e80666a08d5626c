"""Endpoints and their logs: ``ls``, ``describe``, ``logs``."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.coldstart import list_warmth, warmth_message
from coldspark.cli.options import AsJson, Key, Name, Url, client
from coldspark.cli.times import age, clock_time, minute_time

if TYPE_CHECKING:
    from coldspark.sdk.transport import HttpReply

_LS = """
[bold]Examples[/bold]

coldspark ls --json | jq -r '.endpoints[].name'

coldspark ls --warmth     [dim]why a wake would be slow or fast now[/dim]
"""
_LOGS = """
[bold]Examples[/bold]

coldspark logs chat -n 200

coldspark logs chat -f | grep -i error
"""


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command(epilog=_LS)(ls)
    app.command(epilog="[bold]Example[/bold]: coldspark describe chat")(describe)
    app.command(epilog=_LOGS)(logs)


def ls(
    warmth: Annotated[
        bool, typer.Option("--warmth", help="What each would wake from, and what is held for it.")
    ] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List endpoints: status, what runs, what waits; or how warm each is."""
    answer = client(url, key).ask("GET", "/v1/endpoints")
    if as_json:
        output.as_json(answer)
        return
    endpoints = (answer or {}).get("endpoints", ())
    if not endpoints:
        output.note("no endpoints yet: coldspark deploy DIR")
        return
    if warmth:
        list_warmth(answer)
        return
    headers: tuple[str, ...] = ("name", "status", "replicas", "running", "queued", "gpu", "updated")
    rows = [_endpoint_row(endpoint) for endpoint in endpoints]
    all_bounds = [_moving_bounds(endpoint) for endpoint in endpoints]
    if any(all_bounds):
        headers += ("floor",)
        rows = [(*row, bounds) for row, bounds in zip(rows, all_bounds, strict=True)]
    output.table(headers, rows)


def describe(name: Name, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Show one endpoint: its spec, its replicas, and the latest decisions with their reasons."""
    endpoint = client(url, key).endpoint(name)
    if as_json:
        output.as_json(endpoint)
        return
    shown = {
        "name": endpoint["name"],
        "status": endpoint["status"],
        "failure": endpoint.get("failure"),
        "source": endpoint.get("source"),
        "updated": age(endpoint.get("updated_ms")),
    }
    if endpoint.get("router") is not None:
        shown["router"] = endpoint["router"]
    output.pairs(shown)
    for variant in endpoint.get("variants", ()):
        _describe_variant(variant)


def logs(
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Print what replicas printed, oldest first. ``coldspark`` marks the platform's remarks."""
    connection = client(url, key)
    path = f"/v1/endpoints/{name}/logs"
    query = {"lines": str(lines)} | ({"follow": "true"} if follow else {})
    if as_json and not follow:
        output.as_json(connection.ask("GET", path, query=query))
        return
    if not follow:
        for line in connection.logs(name, lines):
            output.out(_log_line(line))
        return
    with connection.open("GET", path, query=query, timeout_s=None) as reply:
        for line in _records(reply):
            output.out(json.dumps(line) if as_json else _log_line(line))


def _endpoint_row(endpoint: dict[str, Any]) -> tuple[object, ...]:
    variants = endpoint.get("variants", ())
    replicas = [replica for variant in variants for replica in variant.get("replicas", ())]
    return (
        endpoint["name"],
        endpoint["status"],
        _count(replicas),
        sum(replica.get("running", 0) for replica in replicas),
        sum(variant.get("queued", 0) for variant in variants),
        " | ".join(dict.fromkeys(_gpu(variant) for variant in variants)) or None,
        age(endpoint.get("updated_ms")),
    )


def _moving_bounds(endpoint: dict[str, Any]) -> str | None:
    """Return scheduled or changed replica bounds; None: all are the policy's own."""
    all_bounds = [
        variant["floor"] for variant in endpoint.get("variants", ()) if "floor" in variant
    ]
    moving = [
        bounds
        for bounds in all_bounds
        if bounds["reason"] is not None or bounds["next"] is not None
    ]
    return " | ".join(map(_bounds, moving)) or None


def _bounds(bounds: dict[str, Any]) -> str:
    """Return the bounds in force, their reason, and the next transition."""
    reason = "" if bounds["reason"] is None else f" ({bounds['reason']})"
    then, transition = "", bounds["next"]
    if transition is not None:
        at = minute_time(transition["at_ms"])
        then = f", then {transition['min']} to {transition['max']} from {at}"
    return f"{bounds['min']} to {bounds['max']}{reason}{then}"


def _gpu(variant: dict[str, Any]) -> str:
    return str(variant.get("gpu") or "cpu")


_APART = ("name", "weight", "replicas", "decisions", "warmth", "floor")


def _describe_variant(variant: dict[str, Any]) -> None:
    output.heading(f"variant {variant['name']} (weight {variant.get('weight', 1):g})")
    shown = {
        key: value
        for key, value in variant.items()
        if key not in _APART and value not in (None, {}, [])
    }
    warmth = variant.get("warmth")
    extra = {} if warmth is None else {"warmth": warmth_message(warmth)}
    if (bounds := variant.get("floor")) is not None:
        extra["floor"] = _bounds(bounds)
    output.pairs({key: output.render_field(key, value) for key, value in shown.items()} | extra)
    if variant.get("replicas"):
        output.heading("replicas")
        headers = ("replica", "state", "running", "age", "devices", "started by")
        output.table(headers, [_replica_row(replica) for replica in variant["replicas"]])
    if variant.get("decisions"):
        output.heading("latest decisions")
        for decision in variant["decisions"]:
            at = clock_time(decision["at_ms"])
            output.out(f"{at}  {decision['what']}: {decision['reason']}")


def _replica_row(replica: dict[str, Any]) -> tuple[object, ...]:
    return (
        replica["replica"],
        replica["state"],
        replica["running"],
        f"{replica['age_s']:.0f} s",
        ", ".join(replica.get("devices", ())) or "cpu",
        replica.get("template"),
    )


def _log_line(line: dict[str, Any]) -> str:
    mark = "" if line["stream"] == "stdout" else f" [{line['stream']}]"
    return f"{clock_time(line['at_ms'])} {line['replica']}{mark} {line['text']}"


def _records(reply: "HttpReply") -> Iterator[dict[str, Any]]:
    """Yield JSON objects of a stream, one a line; server-sent events' ``data:`` is understood."""
    buffer = b""
    for chunk in reply.chunks():
        *whole, buffer = (buffer + chunk).split(b"\n")
        for line in whole:
            text = line.removeprefix(b"data:").strip()
            if text.startswith(b"{"):
                yield json.loads(text)


def _count(replicas: list[dict[str, Any]]) -> str:
    """Return how many replicas there are; parked ones run nothing and are counted apart."""
    parked = sum(replica.get("state") == "parked" for replica in replicas)
    awake = str(len(replicas) - parked)
    return f"{awake} (+{parked} parked)" if parked else awake
