"""How the pages are written: one sentence per line, paths that exist, nothing of one machine."""

import re
from collections.abc import Iterator

import pytest
from doc_pages import ROOT, pages

_TWO_SENTENCES = re.compile(r"[a-z`)\"][.!?] +[A-Z`]")
_MACHINE = re.compile(r"/(home|root|tmp|work|Users)/")


def prose(page: str) -> Iterator[str]:
    """Yield the lines outside of fences and tables, each with its place."""
    is_fenced = False
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if line.strip().startswith("```"):
            is_fenced = not is_fenced
        elif not is_fenced and not line.startswith("|"):
            yield f"{page}:{number}: {line}"


@pytest.mark.parametrize("page", pages())
def test_a_line_holds_one_sentence(page: str) -> None:
    """So that a change shows as the sentence that changed."""
    assert [line for line in prose(page) if _TWO_SENTENCES.search(line)] == []


@pytest.mark.parametrize("page", pages())
def test_a_page_names_no_machine(page: str) -> None:
    """Paths of one machine mean nothing on another."""
    assert not _MACHINE.search((ROOT / page).read_text(encoding="utf-8"))


def test_paths_that_the_docs_name_exist() -> None:
    """A page that moved is renamed where it is named."""
    named = re.compile(r"`((?:docs|tests|src|examples)/[\w./-]+)`")
    for page in pages():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [path for path in named.findall(text) if not (ROOT / path).exists()] == [], page


@pytest.mark.parametrize("page", pages())
def test_links_to_files_lead_somewhere(page: str) -> None:
    """Relative to the page, as a reader's browser takes them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [path for path in named if not ((ROOT / page).parent / path).exists()] == []
