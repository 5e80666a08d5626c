"""Runs the real command line in the test's process."""

from dataclasses import dataclass

from typer.testing import CliRunner

from coldspark.cli.main import app


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Shell:
    """Runs commands in this process."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._environ = environ

    def __call__(self, *words: str, given: str | bytes | None = None, **environ: str) -> Ran:
        """Run ``coldspark words…`` and return what it left."""
        result = CliRunner().invoke(
            app, list(words), input=given, env=self._environ | environ, color=False
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)
