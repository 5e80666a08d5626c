"""What shows rot: twins and rooms without a floor fail; the rest is printed, to be looked at.

``make signs`` prints it: crowded folders, long functions, and ports that nobody else implements.
"""

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePath

import pytest
from house_sources import ROOT, SOURCE, Module, modules

pytestmark = pytest.mark.seconds

BOTH_ENDS = {
    "ModelLoadReport": "of the wire between a model server and the process that asks it",
    "UnsupportedMedia": "of the wire: the worker names its failure as the platform's error is",
}
FILES_MAX = 25
FUNCTION_LINES_MAX = 70


def classes(
    found: list[Module], *, is_nested_too: bool = False
) -> Iterator[tuple[Module, ast.ClassDef]]:
    """Yield the classes of modules: public ones at the top, or all of them."""
    for module in found:
        for node in ast.walk(module.tree) if is_nested_too else module.tree.body:
            if isinstance(node, ast.ClassDef) and (is_nested_too or not node.name.startswith("_")):
                yield module, node


def test_a_public_class_name_stands_once() -> None:
    """Whoever reads it need not ask which one is meant."""
    where = defaultdict(list)
    for module, node in classes(modules()):
        where[node.name].append(module.path)
    twins = {name: paths for name, paths in where.items() if len(paths) > 1}
    assert {name: paths for name, paths in twins.items() if name not in BOTH_ENDS} == {}
    assert sorted(twins) == sorted(BOTH_ENDS), "an exception that is needed no more"


def test_every_room_has_its_floor() -> None:
    """A folder that the layers do not name could import what it likes."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    [layers] = [one["layers"] for one in contracts if one["type"] == "layers"]
    named = {name.strip() for layer in layers for name in layer.split("|")}
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    files = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "compiled"}
    assert {f"coldspark.{name}" for name in rooms | files} == named


def test_signs() -> None:
    """Print what to look at; it never fails."""
    found = modules()
    folders = defaultdict(int)
    for module in found:
        folders[str(PurePath(module.path).parent)] += 1
    _print(f"folders of over {FILES_MAX} files", _over(folders, FILES_MAX))
    lines = {
        f"{module.path}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.body[0].lineno + 1
        for module in found
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    _print(f"functions of over {FUNCTION_LINES_MAX} lines", _over(lines, FUNCTION_LINES_MAX))
    _print("ports with one class that fits, fakes of the tests included", _lonely(found))


def _over(counts: dict[str, int], limit: int) -> list[str]:
    return [f"{count:4d}  {name}" for name, count in sorted(counts.items()) if count > limit]


def _lonely(found: list[Module]) -> list[str]:
    """Return Protocols whose members one class has at most. By names: types are not known here."""
    everything = list(classes([*found, *modules("tests", "benchmarks")], is_nested_too=True))
    by_name = {node.name: node for _, node in everything}
    members = [(module, node, _members(node, by_name)) for module, node in everything]
    lonely = []
    for module, port, wanted in members:
        if not _is_port(port) or not module.path.startswith("src/"):
            continue
        fits = [
            node.name for _, node, has in members if not _is_port(node) and wanted and wanted <= has
        ]
        if len(fits) <= 1:
            lonely.append(f"{module.path}:{port.lineno} {port.name}: {', '.join(fits) or 'none'}")
    return lonely


def _is_port(node: ast.ClassDef) -> bool:
    return "Protocol" in {ast.unparse(base).partition("[")[0] for base in node.bases}


def _members(node: ast.ClassDef, by_name: dict[str, ast.ClassDef]) -> set[str]:
    """Return the methods and attributes of a class, also of those that it is made from."""
    members = {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute)
        and isinstance(one.ctx, ast.Store)
        and ast.unparse(one.value) == "self"
    }
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            members.add(one.name)
        elif isinstance(one, ast.AnnAssign):
            members.add(ast.unparse(one.target))
        elif isinstance(one, ast.Assign):
            members |= {ast.unparse(target) for target in one.targets}
    for base in node.bases:
        above = by_name.get(ast.unparse(base).partition("[")[0].rpartition(".")[2])
        if above is not None and above is not node:
            members |= _members(above, by_name)
    return members


def _print(title: str, rows: list[str]) -> None:
    print(f"\n{title}: {len(rows)}")
    for row in rows:
        print(f"  {row}")
