"""What runs in users' environments needs nothing but Python 3.9 and itself."""

import ast
import sys
from pathlib import Path

import pytest

from coldspark.node import worker

FILES = sorted(Path(worker.__file__).parent.glob("*.py"))
GUARDED = {"numpy", "torch"}


def _imports(tree: ast.AST) -> set[str]:
    """Return the first words of all absolute imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, "imports may not leave the package"
    return names


def _guarded(tree: ast.AST) -> set[str]:
    """Return what is imported inside a ``try`` that is inside a function."""
    names: set[str] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for attempt in ast.walk(function):
                if isinstance(attempt, ast.Try):
                    names |= _imports(attempt)
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_are_of_the_standard_library_or_relative(path: Path) -> None:
    """Model frameworks may only be tried for, inside functions."""
    tree = ast.parse(path.read_text())
    foreign = _imports(tree) - set(sys.stdlib_module_names)
    assert foreign <= GUARDED & _guarded(tree)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_syntax_is_that_of_python_3_9(path: Path) -> None:
    """Newer annotations are fine as long as nothing evaluates them."""
    source = path.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    if any(isinstance(node, ast.BinOp) and _is_union(node) for node in ast.walk(tree)):
        assert "from __future__ import annotations" in source


def _is_union(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.BitOr) and isinstance(node.right, ast.Constant)
