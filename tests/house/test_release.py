"""What a stranger is told first: the make targets, the changelog and how it goes on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from house_sources import ROOT

from coldspark import __version__


@pytest.mark.process
def test_make_help_names_every_target() -> None:
    """With one line for each, and nothing that is not there."""
    told = subprocess.run(
        ["make", "--no-print-directory", "-C", str(ROOT), "help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    joined = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    phony = {name for line in re.findall(r"(?m)^\.PHONY: *(.+)", joined) for name in line.split()}
    lines = [re.fullmatch(r"make ([a-z-]+) +(\S.+)", line) for line in told.splitlines()]
    assert {line[1] for line in lines if line} == phony
    assert None not in lines


@pytest.mark.process
def test_every_fragment_is_one_that_the_changelog_can_take() -> None:
    """Its name ends in a kind that is known, and it is a Markdown file."""
    towncrier = str(Path(sys.executable).with_name("towncrier"))
    drafted = subprocess.run(
        [towncrier, "build", "--draft", "--dir", str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert drafted.returncode == 0, drafted.stderr
    kept = {"README.md", "template.md"}
    fragments = [path for path in (ROOT / "changes").iterdir() if path.name not in kept]
    assert [path.name for path in fragments if path.suffix != ".md"] == []
    shown = _words(drafted.stdout)
    assert [path.name for path in fragments if _words(path.read_text()) not in shown] == []


def _words(text: str) -> str:
    """Return text with its blanks and line ends made one."""
    return " ".join(text.split())


def test_the_changelog_has_a_section_for_this_version() -> None:
    """And the package's metadata is of the same one."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^## {re.escape(__version__)} - \d{{4}}-\d\d-\d\d$", changelog)
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
