"""The fenced code blocks of README and docs, and what their info strings say of them.

The first word is the language, what follows says what the block is for:

    ```sh                              run by bash, in the page's own folder, and must succeed
    ```sh exits: 1                     must end with that exit code
    ```sh not-run: it asks a person    not run, with the reason
    ```python                          run as a script
    ```python file: e/inference.py     written to that file (so with ``toml`` and any other)
    ```text output                     must be in what the block before it printed; … is anything
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNNABLE = ("sh", "python", "toml")
_FENCE = re.compile(r"\s*```+(?P<language>\S*)\s*(?P<note>.*?)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    language: str
    note: str
    text: str

    @property
    def where(self) -> str:
        """Return page and line, as editors understand them."""
        return f"{self.page}:{self.line}"

    def said(self, word: str) -> str | None:
        """Return what follows ``word:`` in the info string, None if it is not there."""
        name, colon, value = self.note.partition(":")
        return value.strip() if colon and name == word else None


def pages() -> list[str]:
    """Return the pages that are checked, relative to the repository."""
    first = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "changes/README.md"]
    found = [*first, *sorted((ROOT / "docs").rglob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in found]


def blocks(page: str) -> list[Block]:
    """Return a page's fenced blocks in their order."""
    return list(_blocks(page, (ROOT / page).read_text(encoding="utf-8").splitlines()))


def _blocks(page: str, lines: list[str]) -> Iterator[Block]:
    opened: tuple[int, str, str] | None = None
    held: list[str] = []
    for number, line in enumerate(lines, 1):
        match = _FENCE.fullmatch(line)
        if opened is None and match:
            opened, held = (number, match["language"], match["note"]), []
        elif opened is not None and line.strip().startswith("```"):
            at, language, note = opened
            text = "\n".join(held) + "\n"
            yield Block(page=page, line=at, language=language, note=note, text=text)
            opened = None
        elif opened is not None:
            held.append(line)
    assert opened is None, f"{page}: a fence is not closed"
