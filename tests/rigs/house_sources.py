"""The source files that the house rules are checked against."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "coldspark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One Python file, read and parsed."""

    path: str
    """Relative to the repository's root."""
    text: str

    @property
    def tree(self) -> ast.Module:
        """Return its tree, parsed when first asked for: reading all of them takes seconds."""
        return _parsed(self.text, self.path)

    @property
    def lines(self) -> list[str]:
        """Return its lines."""
        return self.text.splitlines()

    def calls(self) -> Iterator[ast.Call]:
        """Yield every call in it."""
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.Call))


def modules(*folders: str) -> list[Module]:
    """Return the Python files under folders of the repository; by default those of the package."""
    roots = [ROOT / folder for folder in folders] or [SOURCE]
    paths = sorted(path for root in roots for path in root.rglob("*.py"))
    return [_module(path) for path in paths if "__pycache__" not in path.parts]


def _module(path: Path) -> Module:
    return Module(path=str(path.relative_to(ROOT)), text=path.read_text(encoding="utf-8"))


@cache
def _parsed(text: str, path: str) -> ast.Module:
    return ast.parse(text, path)


def dotted(node: ast.expr) -> str:
    """Return ``a.b.c`` of a chain of attributes, or what is left of it."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
