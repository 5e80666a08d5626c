"""``coldspark``: the command line. Commands live in their own modules; this one puts them together.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no server reachable, 130 interrupted.
Nothing heavy is imported before a command needs it: completion and ``--help`` must feel instant.
"""

import sys
from typing import Annotated

import typer

from coldspark import __version__
from coldspark.cli import (
    bill,
    coldstart,
    compare,
    deploy,
    inspect_endpoints,
    invoke,
    jobs,
    keys,
    metrics,
    plan,
    trace,
    up,
)
from coldspark.cli.error_handling import ErrorHandlingGroup

_EPILOG = """
[bold]A first endpoint[/bold]

coldspark up &

coldspark deploy examples/embed --yes

coldspark invoke embed --json '{"texts": \\["hello"]}'

coldspark bill embed --prices guide-2026-03
"""

app = typer.Typer(
    name="coldspark",
    cls=ErrorHandlingGroup,
    help="Serverless GPU inference on your own machines.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    up,
    deploy,
    invoke,
    jobs,
    inspect_endpoints,
    trace,
    coldstart,
    bill,
    plan,
    compare,
    keys,
    metrics,
):
    module.register(app)


def show_version(is_requested: bool) -> None:
    """Print the version and end."""
    if is_requested:
        typer.echo(f"coldspark {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Serverless GPU inference on your own machines."""


def run() -> None:
    """Run the command line: the console script's entry."""
    try:
        app()
    except BrokenPipeError:
        # The reader of our output (``| head``) left: that is no failure of ours.
        sys.stderr.close()
        sys.exit(0)
