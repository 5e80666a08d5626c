"""``bill``: the ledger priced by a book, with what the book cannot price and where it errs."""

from typing import Annotated, Any

import typer

from coldspark.cli import output
from coldspark.cli.options import AsJson, Key, OptionalName, Url, client, complete_book, size_of
from coldspark.cli.times import parse_time_ms
from coldspark.errors import InvalidRequest

_ALIKE = ("component", "endpoint", "gpu", "unit", "is_estimated")
_BILL = """
[bold]Examples[/bold]

coldspark bill     [dim]all of it: busy, starting, idle and overhead[/dim]

coldspark bill chat --prices guide-2026-03     [dim]the same traffic under the guide's prices[/dim]

coldspark bill embed --prices lambda --memory 2GiB

coldspark bill --since 7d --prices runpod-2026-10 --as-gpu L4
"""


def register(app: typer.Typer) -> None:
    """Add this module's command."""
    app.command(epilog=_BILL)(bill)


def bill(
    name: OptionalName = None,
    prices: Annotated[
        str,
        typer.Option("--prices", "-p", help="The price book.", autocompletion=complete_book),
    ] = "own",
    since: Annotated[
        str | None, typer.Option(help="A date, a time, or how far back: 2026-11-01, 24h, 7d.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    as_gpu: Annotated[
        str | None, typer.Option(help="Price CPU usage as if on this type.", show_default="A10G")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory of each replica, for books that bill by it, such as 2GiB."),
    ] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used and what it cost, under your own machine's cost or any price book."""
    since_ms, until_ms = parse_time_ms(since), parse_time_ms(until)
    if since_ms is not None and until_ms is not None and since_ms > until_ms:
        raise InvalidRequest(f"--since {since} is after --until {until}: nothing lies between")
    answer = client(url, key).bill(
        name,
        book=prices,
        since=_text(since_ms),
        until=_text(until_ms),
        as_gpu=as_gpu,
        memory_bytes=None if memory is None else size_of(memory, "--memory"),
    )
    if as_json:
        output.as_json(answer)
    else:
        _show(answer)


def _text(moment: int | None) -> str | None:
    return None if moment is None else str(moment)


def _show(answer: dict[str, Any]) -> None:
    output.out(output.bold(f"{answer['title']} ({answer['as_of']})"))
    headers = ("component", "endpoint", "gpu", "quantity", "unit", "cost")
    lines = [*answer["lines"], *filter(None, [answer.get("dedicated")])]
    output.table(headers, [_row(line) for line in _added(answer["lines"])])
    output.out()
    output.out(f"{output.bold('total')}  {output.nanos(answer['total_nanos'])}")
    if answer.get("dedicated"):
        line = answer["dedicated"]
        output.out(
            f"a dedicated {line['gpu']} over the same {line['quantity']:.4g} hours:"
            f" {output.nanos(line['nanos'])}"
        )
    for missing in answer.get("missing", ()):
        output.out(f"missing from the total: {missing['component']}: {missing['why']}")
    for assumption in answer.get("assumptions", ()):
        output.out(assumption)
    if any(line.get("is_estimated") for line in lines):
        output.out("~ marks a rate that was estimated, not published")
    output.out(f"source: {answer['source']}")
    _show_corrections(answer.get("corrections", ()))


def _added(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up lines that differ in amounts alone, at the first one's position."""
    sums: dict[tuple[object, ...], dict[str, Any]] = {}
    for line in lines:
        alike = (*(line.get(name) for name in _ALIKE), line["nanos"] is None)
        into = sums.setdefault(alike, line | {"quantity": 0, "nanos": None})
        into["quantity"] += line["quantity"]
        if line["nanos"] is not None:
            into["nanos"] = (into["nanos"] or 0) + line["nanos"]
    return list(sums.values())


def _row(line: dict[str, Any]) -> tuple[object, ...]:
    cost = "not priced" if line["nanos"] is None else output.nanos(line["nanos"])
    mark = "~" if line.get("is_estimated") else ""
    quantity = f"{line['quantity']:.6g}"
    where = line.get("endpoint") or "machine"
    return (
        line["component"],
        where,
        line.get("gpu") or "cpu",
        quantity,
        line["unit"],
        mark + str(cost),
    )


def _show_corrections(corrections: Any) -> None:
    if not corrections:
        return
    output.heading("Figures of the source that do not follow from its own inputs")
    for row in corrections:
        output.out(f"- {row['figure']}: printed {row['printed']}, computed {row['computed']}")
        output.out(f"  {row['why']}")
