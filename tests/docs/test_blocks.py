"""README and docs do what they say: every block runs, or says why not."""

import shutil
from collections import Counter

import pytest
from doc_pages import RUNNABLE, Block, blocks, pages
from reader import Reader

PAGES = pages()
GENERATED = "docs/reference/cli.md"
"""Its examples are parsed by ``test_reference_cli.py``."""
TOOLS = ("curl", "jq")
"""What some pages use beside coldspark and a shell."""
NOT_RUN = Counter(
    {
        "CONTRIBUTING.md": 1,
        "README.md": 2,
        "docs/howto/park-gpus.md": 2,
        "docs/howto/rehearse-gpus-you-do-not-have.md": 1,
        "docs/howto/serve-beyond-loopback.md": 1,
        "docs/howto/use-aws-sdks.md": 3,
        "docs/howto/use-several-cores-for-requests.md": 1,
        "docs/reference/handler.md": 1,
        "docs/tutorial/first-endpoint.md": 1,
    }
)
"""How many blocks of each page do not run: one more must be meant."""


@pytest.mark.process
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if page != GENERATED])
def test_the_blocks_of_a_page_run(page: str, reader: Reader) -> None:
    """In their order, as a reader would run them."""
    for tool in TOOLS:
        if shutil.which(tool) is None and any(f"{tool} " in b.text for b in blocks(page)):
            pytest.skip(f"{page} uses {tool}, which this machine lacks")
    for block in blocks(page):
        reader.follow(block)


def test_blocks_that_do_not_run_say_why_and_are_counted() -> None:
    """A block is left out by decision, never by accident."""
    left_out = [block for page in PAGES if page != GENERATED for block in _left_out(page)]
    assert [block.where for block in left_out if not block.said("not-run")] == []
    assert Counter(block.page for block in left_out) == NOT_RUN


def test_every_info_string_is_understood() -> None:
    """A misspelt one would leave its block out, or run what must not run."""
    assert [block.where for page in PAGES for block in blocks(page) if not _is_known(block)] == []


def _left_out(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.note.startswith("not-run")]


def _is_known(block: Block) -> bool:
    if block.language in RUNNABLE:
        return block.note == "" or any(block.said(word) for word in ("file", "not-run", "exits"))
    return block.language in ("text", "json") and block.note in ("", "output")
