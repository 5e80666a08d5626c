"""Turn failures into one line of what, one line of cure, and an exit code."""

from typing import Any

import typer
from typer.core import TyperGroup

from coldspark.cli import output
from coldspark.errors import ColdsparkError, InvalidRequest, NotFound

FAILED, USAGE, UNREACHABLE, INTERRUPTED = 1, 2, 3, 130

_CURES = {
    "ServerUnreachable": "Start one with: coldspark up (or say where it is: --url)",
    "Unauthenticated": "Pass a key: --key or $COLDSPARK_KEY (coldspark keys create makes one)",
    "Forbidden": "Use a key with the scope (see: coldspark keys create --help)",
    "EndpointFailed": "Look at the cause: coldspark logs NAME; then deploy a corrected revision",
    "StartFailed": "Look at the cause: coldspark logs NAME",
    "QueueFull": "Try again later, or raise --max and [limits] queue",
    "NoRoom": "See what this machine has: coldspark doctor",
    "StorageFull": "Free space where the server keeps its data",
    "TimedOut": "Raise [limits] request_timeout, or see the longest: coldspark requests --slowest",
}
_LOG_LINES = 12


class ErrorHandlingGroup(TyperGroup):
    """A group of commands whose expected failures are printed without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command; end with the failure's exit code."""
        try:
            return super().invoke(ctx)
        except ColdsparkError as error:
            print_error(error)
            raise typer.Exit(exit_code(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def exit_code(error: ColdsparkError) -> int:
    """Return the exit code that tells scripts what kind of failure it was."""
    if error.code == "ServerUnreachable":
        return UNREACHABLE
    # Raised here, before any server was asked: the command itself was wrong.
    return USAGE if type(error) in (InvalidRequest, NotFound) else FAILED


def print_error(error: ColdsparkError) -> None:
    """Write what went wrong, the replica's last lines if there are any, and the cure."""
    output.note(f"{_red('error')}: {error.message}")
    for line in error.log_tail[-_LOG_LINES:]:
        output.note(f"  | {line}")
    cure = _CURES.get(error.code)
    if error.retry_after_s:
        cure = f"Try again in {error.retry_after_s:.0f} s"
    if cure is not None:
        output.note(f"  {cure}")


def _red(text: str) -> str:
    import sys

    return f"\033[1;31m{text}\033[0m" if output.is_terminal(sys.stderr) else text
