"""Every promise names the tests that keep it, and every named test exists."""

import ast
import re
from functools import cache

from house_sources import ROOT

PAGE = ROOT / "docs/SPECIFICATION.md"
_ROW = re.compile(r"\| (?P<promise>.+?) \| (?P<keepers>.+) \|")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[tuple[str, str]]:
    """Return the promises with what is said to keep them."""
    found = map(_ROW.fullmatch, PAGE.read_text(encoding="utf-8").splitlines())
    pairs = [(match["promise"], match["keepers"]) for match in found if match]
    return [pair for pair in pairs if pair != ("promise", "kept by")]


@cache
def names(path: str) -> frozenset[str]:
    """Return what pytest could collect of a file: its tests, none if there is no such file."""
    file = ROOT / path
    tree = ast.parse(file.read_text(encoding="utf-8")) if file.is_file() else ast.Module([], [])
    tests = {node.name for node in tree.body if isinstance(node, _FUNCTIONS)}
    machines = {t.id for n in tree.body if isinstance(n, ast.Assign) for t in _names(n)}
    return frozenset(name for name in tests | machines if name.lower().startswith("test"))


_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def _names(node: ast.Assign) -> list[ast.Name]:
    return [target for target in node.targets if isinstance(target, ast.Name)]


def test_every_named_test_exists() -> None:
    """A test that is renamed takes its promise along."""
    assert len(rows()) > 50
    gone = [
        f"{path}::{name}"
        for _, keepers in rows()
        for path, name in _TEST.findall(keepers)
        if name not in names(path)
    ]
    assert gone == []


def test_a_promise_is_kept_by_tests_or_pending() -> None:
    """And by nothing else: no prose stands in a test's place."""
    wrong = [
        promise
        for promise, keepers in rows()
        if keepers != "pending" and (_TEST.sub("", keepers).strip() or not _TEST.search(keepers))
    ]
    assert wrong == []


def test_a_promise_is_made_once() -> None:
    """In one sentence."""
    promises = [promise for promise, _ in rows()]
    assert len(promises) == len(set(promises))
    assert [promise for promise in promises if not promise.endswith(".")] == []
