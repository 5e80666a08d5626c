"""Write ``docs/reference/cli.md`` from the command line itself: ``make docs`` runs this."""

from collections.abc import Iterator

import typer
from doc_pages import ROOT
from rich.text import Text
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from coldspark.cli.main import app

PAGE = ROOT / "docs/reference/cli.md"
_HEAD = """\
# The command line

Generated from `coldspark --help` by `make docs`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | wrong usage |
| 3 | no server reachable |
| 130 | interrupted |

Answers go to standard output, remarks to standard error.

`coldspark --install-completion` has bash, zsh, fish or PowerShell complete what you type.
Commands, options, endpoints and jobs are completed; `--show-completion` prints the script.
"""


def group() -> TyperGroup:
    """Return the command line as typer built it."""
    found = typer.main.get_command(app)
    assert isinstance(found, TyperGroup)
    return found


def commands(parent: TyperGroup, words: str) -> Iterator[tuple[str, TyperCommand]]:
    """Yield every command that does something, with its words."""
    for name, command in parent.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{words} {name}")
        else:
            yield f"{words} {name}", command


def examples(command: TyperCommand) -> list[str]:
    """Return the lines of a command's epilog that are commands."""
    lines = Text.from_markup(command.epilog or "").plain.splitlines()
    found = (line.split("     ")[0].strip() for line in lines)
    return [line.removeprefix("Example: ") for line in found if "coldspark " in line]


def render() -> str:
    """Return the page."""
    root = group()
    return "".join([_HEAD, *(_section(words, one) for words, one in commands(root, "coldspark"))])


def _section(words: str, command: TyperCommand) -> str:
    names = [_argument(p) for p in command.params if isinstance(p, TyperArgument)]
    rows = [_row(p) for p in command.params if isinstance(p, TyperOption)]
    shown = "\n".join(examples(command))
    return (
        f"\n## `{' '.join([words, *names])}`\n\n{_sentences(command.help)}\n"
        f"| option | default | meaning |\n|---|---|---|\n{''.join(rows)}"
        f"\n```sh not-run: examples of --help, parsed by the tests\n{shown}\n```\n"
    )


def _argument(argument: TyperArgument) -> str:
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _sentences(text: str | None) -> str:
    """Return a help text with one sentence a line."""
    joined = " ".join((text or "").replace("``", "`").split())
    return joined.replace(". ", ".\n") + "\n"


def _row(option: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in reversed(option.opts))
    meaning = (option.help or "").replace("|", "\\|")
    if option.envvar:
        meaning += f" Also `${option.envvar}`."
    return f"| {names} | {_default(option)} | {meaning} |\n"


def _default(option: TyperOption) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    if option.is_flag or option.default in (None, "", []):
        return ""
    return f"`{option.default}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
