"""Options that many commands share, and the completion of endpoint names."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from coldspark.sdk.client import Client

Url = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="COLDSPARK_URL", help="The server's address.", rich_help_panel="Server"
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="COLDSPARK_KEY",
        help="An API key (bearer token).",
        rich_help_panel="Server",
        show_envvar=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the API's JSON and nothing else.")]


def client(url: str | None, key: str | None) -> "Client":
    """Return a client of the chosen server."""
    from coldspark.sdk.client import Client

    return Client(url, key)


def size_of(text: str, option: str) -> int:
    """Return bytes. Raises BadParameter that names the option."""
    from coldspark.spec.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def seconds_of(text: str, option: str) -> float:
    """Return seconds. Raises BadParameter that names the option."""
    from coldspark.spec.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def complete_endpoint(incomplete: str) -> list[str]:
    """Ask the server for endpoint names; none when it does not answer at once."""
    from coldspark.errors import ColdsparkError

    try:
        answer = client(None, None).ask("GET", "/v1/endpoints", timeout_s=0.5)
    except ColdsparkError:
        return []
    rows = answer.get("endpoints", []) if isinstance(answer, dict) else answer or []
    return [row["name"] for row in rows if row.get("name", "").startswith(incomplete)]


def complete_gpu(incomplete: str) -> list[str]:
    """Return the catalogue's type names."""
    from coldspark.platform import catalogue

    names = ["small", "large", *(gpu.name for gpu in catalogue.load().gpus)]
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def complete_rule(incomplete: str) -> list[str]:
    """Return the names of the scaling rules."""
    from coldspark.spec.scaling_rules import rule_names

    return [name for name in rule_names() if name.startswith(incomplete)]


def complete_book(incomplete: str) -> list[str]:
    """Return the names of the price books."""
    from coldspark.billing import prices

    return [name for name in prices.names() if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(help="The endpoint's name.", autocompletion=complete_endpoint)]
OptionalName = Annotated[
    str | None,
    typer.Argument(help="Only this endpoint.", autocompletion=complete_endpoint),
]
