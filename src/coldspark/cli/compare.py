"""``compare`` plays the same requests against two endpoints or variants, side by side.

The two take turns, so that what happens on the machine meanwhile happens to both. Latency is the
server's own measurement, from the request's arrival to its last byte.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.options import AsJson, Key, Url, client, complete_endpoint, seconds_of
from coldspark.errors import ColdsparkError, InvalidRequest

if TYPE_CHECKING:
    from coldspark.sdk.answer_comparison import Comparison
    from coldspark.sdk.client import Answer, Client

_COMPARE = """
[bold]Examples[/bold]

coldspark compare chat chat-int8 --requests bodies.jsonl --repeat 5

coldspark compare embed/main embed/small --body '{"texts": \\["hello"]}' --cold
"""
_POLL_S = 0.2
_BODIES_MAX = 100_000


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog=_COMPARE)(compare)


@dataclass(slots=True)
class ComparedTarget:
    """One of the two, and its results."""

    name: str
    endpoint: str
    variant: str | None
    latencies_ms: list[float] = field(default_factory=list)
    costs_dollars: list[Decimal] = field(default_factory=list)
    cold_ms: float | None = None
    errors: list[str] = field(default_factory=list)


def compare(
    one: Annotated[
        str, typer.Argument(help="NAME or NAME/VARIANT.", autocompletion=complete_endpoint)
    ],
    other: Annotated[str, typer.Argument(help="Likewise.", autocompletion=complete_endpoint)],
    requests: Annotated[
        Path | None,
        typer.Option(help="A body in each line: JSON in .jsonl, a row in .csv."),
    ] = None,
    body: Annotated[
        list[str] | None, typer.Option("--body", "-b", help="A JSON body; may be repeated.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, max=10_000, help="Each body so often.")] = 1,
    cold: Annotated[
        bool,
        typer.Option("--cold", help="Wait until neither has a replica, and measure the wake."),
    ] = False,
    cold_timeout: Annotated[str, typer.Option(help="How long to wait for that.")] = "15m",
    tolerance: Annotated[
        float, typer.Option(min=0, help="How far numbers may differ, as a share.")
    ] = 1e-3,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Compare two endpoints or variants on the same requests: latency, cold start, cost, answers.

    Answers agree exactly, as JSON, as numbers within the tolerance, or as vectors by their cosine.
    """
    if not math.isfinite(tolerance):
        raise InvalidRequest(f"--tolerance {tolerance} must be finite: 0.001 allows 0.1 %")
    bodies, media = _bodies(requests, body or [])
    sides = (_side(one), _side(other))
    connection = client(url, key)
    for side in sides:
        _check(connection, side)
    if cold:
        _await_zero(connection, sides, seconds_of(cold_timeout, "--cold-timeout"))
    for side in sides:
        _wake(connection, side, bodies[0], media, is_cold=cold)
    compared = _play(connection, sides, bodies, media, repeat, tolerance)
    answer = _to_json(sides, compared, len(bodies), repeat, tolerance)
    if as_json:
        output.as_json(answer)
    else:
        _show(answer)


def _bodies(file: Path | None, bodies_given: Sequence[str]) -> tuple[list[bytes], str]:
    import json

    if (file is None) == (not bodies_given):
        raise InvalidRequest("say what to send, once: --requests FILE, or --body JSON")
    if file is None:
        lines, where = list(bodies_given), "--body"
    else:
        try:
            lines = [line for line in file.read_text("utf-8").splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequest(f"--requests {file} cannot be read: {error}") from None
        where = f"--requests {file}, line"
    if not 0 < len(lines) <= _BODIES_MAX:
        raise InvalidRequest(f"{where}: {len(lines):,} bodies, must be 1 to {_BODIES_MAX:,}")
    if file is not None and file.suffix.lower() == ".csv":
        return [line.encode() for line in lines], "text/csv"
    for number, line in enumerate(lines, 1):
        try:
            json.loads(line)
        except ValueError as error:
            raise InvalidRequest(f"{where} {number} is not JSON: {error}") from None
    return [line.encode() for line in lines], "application/json"


def _side(text: str) -> ComparedTarget:
    endpoint, slash, variant = text.partition("/")
    if not endpoint or (slash and not variant):
        raise InvalidRequest(f"{text!r} must be NAME or NAME/VARIANT")
    return ComparedTarget(text, endpoint, variant or None)


def _check(connection: "Client", side: ComparedTarget) -> None:
    names = [one["name"] for one in connection.endpoint(side.endpoint)["variants"]]
    if side.variant is not None and side.variant not in names:
        raise InvalidRequest(
            f"endpoint {side.endpoint} has no variant {side.variant!r}: it has {', '.join(names)}"
        )


def _await_zero(connection: "Client", sides: Sequence[ComparedTarget], timeout_s: float) -> None:
    """Wait until no replica is left. Raises ColdsparkError with what holds them."""
    output.note("waiting until neither has a replica")
    pause, left_s = threading.Event(), timeout_s
    while held := [side.name for side in sides if _is_held(connection, side)]:
        if left_s <= 0:
            raise ColdsparkError(
                f"{' and '.join(held)} still had replicas after {timeout_s:g} s: idle_timeout,"
                " park_timeout, warmth or min keeps them; or raise --cold-timeout"
            )
        pause.wait(_POLL_S)
        left_s -= _POLL_S


def _is_held(connection: "Client", side: ComparedTarget) -> bool:
    variants = connection.endpoint(side.endpoint)["variants"]
    return any(
        one["replicas"] for one in variants if side.variant is None or one["name"] == side.variant
    )


def _send(connection: "Client", side: ComparedTarget, body: bytes, media: str) -> "Answer":
    headers = {} if side.variant is None else {"x-coldspark-variant": side.variant}
    answer = connection.invoke(side.endpoint, body, content_type=media, headers=headers)
    answer.content  # noqa: B018, read to the end so that its times are known
    return answer


def _wake(
    connection: "Client", side: ComparedTarget, body: bytes, media: str, *, is_cold: bool
) -> None:
    """Send one request that is not counted; its latency is the cold start where it is one."""
    try:
        answer = _send(connection, side, body, media)
    except ColdsparkError as error:
        if error.code == "ServerUnreachable":
            raise
        side.errors.append(error.message)
        return
    if is_cold and answer.is_cold:
        side.cold_ms = _total_ms(answer)


def _play(
    connection: "Client",
    sides: Sequence[ComparedTarget],
    bodies: Sequence[bytes],
    media: str,
    repeat: int,
    tolerance: float,
) -> "list[Comparison]":
    from coldspark.sdk.answer_comparison import compare as agree

    found = []
    for _ in range(repeat):
        for body in bodies:
            answers = [_measure(connection, side, body, media) for side in sides]
            if answers[0] is not None and answers[1] is not None:
                found.append(agree(answers[0], answers[1], tolerance))
    return found


def _measure(connection: "Client", side: ComparedTarget, body: bytes, media: str) -> bytes | None:
    """Return the answer, and take its time and cost; None for an error."""
    try:
        answer = _send(connection, side, body, media)
    except ColdsparkError as error:
        if error.code == "ServerUnreachable":
            raise
        side.errors.append(error.message)
        return None
    side.latencies_ms.append(_total_ms(answer))
    if answer.cost_dollars is not None:
        side.costs_dollars.append(Decimal(answer.cost_dollars))
    return answer.content


def _total_ms(answer: "Answer") -> float:
    return answer.stages_ms.get("total", 0.0)


def _to_json(
    sides: Sequence[ComparedTarget],
    compared: "Sequence[Comparison]",
    bodies: int,
    repeat: int,
    tolerance: float,
) -> dict[str, Any]:
    from coldspark.sdk.answer_comparison import Agreement

    cosines = [one.cosine_min for one in compared if one.cosine_min is not None]
    differences = [one.where for one in compared if one.agreement is Agreement.DIFFERENT]
    return {
        "bodies": bodies,
        "repeat": repeat,
        "sides": [_side_json(side) for side in sides],
        "agreement": {
            "compared": len(compared),
            "tolerance": tolerance,
            "by_kind": {
                kind.value: sum(one.agreement is kind for one in compared) for kind in Agreement
            },
            "cosine_min": min(cosines, default=None),
            "first_difference": next(iter(differences), None),
        },
    }


def _side_json(side: ComparedTarget) -> dict[str, Any]:
    ordered, costs = sorted(side.latencies_ms), side.costs_dollars
    mean = sum(costs, Decimal(0)) / len(costs) if costs else None
    return {
        "name": side.name,
        "requests": len(ordered),
        "errors": len(side.errors),
        "first_error": next(iter(side.errors), None),
        "p50_ms": _rank(ordered, 50),
        "p95_ms": _rank(ordered, 95),
        "cold_ms": side.cold_ms,
        "cost_dollars": None if mean is None else f"{mean:.12f}",
    }


def _rank(ordered: Sequence[float], percent: int) -> float | None:
    """Return a nearest-rank percentile; None of nothing."""
    return ordered[-(-percent * len(ordered) // 100) - 1] if ordered else None


def _show(answer: dict[str, Any]) -> None:
    sides = answer["sides"]
    headers = ("", "requests", "errors", "p50", "p95", "cold", "cost of one")
    output.table(headers, [_row(side) for side in sides])
    for side in sides:
        if side["first_error"]:
            output.out(f"{side['name']}, first error: {side['first_error']}")
    agreement = answer["agreement"]
    output.heading(f"Answers: {agreement['compared']} pairs")
    for kind, count in agreement["by_kind"].items():
        if count:
            share = count / agreement["compared"]
            output.out(f"{count:>6}  {share:6.1%}  {kind}")
    if agreement["cosine_min"] is not None:
        output.out(f"lowest cosine of two vectors: {agreement['cosine_min']:.6f}")
    if agreement["first_difference"] is not None:
        output.out(f"first difference: {agreement['first_difference']}")


def _row(side: dict[str, Any]) -> tuple[object, ...]:
    cost = side["cost_dollars"]
    times = (side["p50_ms"], side["p95_ms"], side["cold_ms"])
    return (
        side["name"],
        side["requests"],
        side["errors"],
        *(None if time is None else f"{time:.4g} ms" for time in times),
        None if cost is None else output.dollars(cost),
    )
