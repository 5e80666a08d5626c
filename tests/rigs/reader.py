"""Somebody who does what a page says: writes its files, runs its blocks, reads what they print."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from doc_pages import Block

BIN = Path(sys.executable).parent
WRITTEN_URL = "http://127.0.0.1:7117"
_TIMEOUT_S = 120
_SCRIPT = """
if [ -f .exported ]; then . ./.exported; fi
set -euo pipefail
{text}
export -p > .exported
"""
"""Exported variables live on in the page's later blocks, as in a person's terminal."""


class Reader:
    """Follows one page, in a folder of its own, with one server that is there already."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._printed: str | None = None

    def follow(self, block: Block) -> None:
        """Do what one block says. AssertionError says which block is wrong, and how."""
        if block.said("not-run") is not None:
            self._printed = None
        elif (name := block.said("file")) is not None:
            self._write(name, block)
        elif block.note == "output":
            self._compare(block)
        elif block.language == "sh":
            self._run(["bash", "-c", _SCRIPT.format(text=self._here(block.text))], block)
        elif block.language == "python":
            self._run([sys.executable, "-c", self._here(block.text)], block)
        elif block.language == "toml":
            tomllib.loads(block.text)

    def _here(self, text: str) -> str:
        return text.replace(WRITTEN_URL, self._url)

    def _write(self, name: str, block: Block) -> None:
        if block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "python":
            compile(block.text, name, "exec")
        file = self._folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text)

    def _run(self, argv: list[str], block: Block) -> None:
        done = subprocess.run(
            argv,
            cwd=self._folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        wanted = int(block.said("exits") or 0)
        assert done.returncode == wanted, f"{block.where}: {done.returncode}\n{done.stdout}"
        self._printed = done.stdout

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("COLDSPARK_", "AWS_"))}
        return kept | {"PATH": f"{BIN}:{os.environ['PATH']}", "COLDSPARK_URL": self._url}

    def _compare(self, block: Block) -> None:
        assert self._printed is not None, f"{block.where}: no block ran before this output"
        printed = _words(self._printed.replace(self._url, WRITTEN_URL))
        for line in filter(None, map(_words, block.text.splitlines())):
            pattern = ".*".join(map(re.escape, line.split("…")))
            found = re.search(pattern, printed)
            assert found, f"{block.where}: {line!r} is not, or not next, in\n{self._printed}"
            printed = printed[found.end() :]


def _words(text: str) -> str:
    """Return text with the blanks between words made one, line by line."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines())
