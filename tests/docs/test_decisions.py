"""Every decision is in the index, under its own title."""

import re

from doc_pages import ROOT

DECISIONS = ROOT / "docs/design/decisions"
_HEADING = re.compile(r"# (\d{4})[:.] (.+)")
_ROW = re.compile(r"\| \[(\d{4})\]\((\S+)\) \| (.+?) \| (.+?) \|")


def test_the_index_lists_every_decision_once_in_order() -> None:
    """With its number, its file and its title; the last column says what was decided."""
    listed = []
    for line in (DECISIONS / "README.md").read_text(encoding="utf-8").splitlines():
        if row := _ROW.fullmatch(line):
            number, name, title, decided = row.groups()
            listed.append((number, name, title))
            assert decided.endswith("."), line
    written = []
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        heading = _HEADING.match(page.read_text(encoding="utf-8"))
        assert heading, page.name
        assert page.name.startswith(f"{heading[1]}-")
        written.append((heading[1], page.name, heading[2]))
    assert listed == written
    assert len({number for number, _, _ in written}) == len(written)
