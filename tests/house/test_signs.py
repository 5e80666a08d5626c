"""Signs of rot, as lists to look at: ``make signs`` prints them, and twins alone fail."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import pytest
from house_sources import Module, modules

pytestmark = pytest.mark.seconds

FOLDER_FILES_MAX = 25
FUNCTION_LINES_MAX = 50
"""10 is the aim. A command's many options are its signature, not its body."""
TWINS = {
    "ModelLoadReport": "what a worker writes, and what the platform reads of it",
    "UnsupportedMedia": "a worker imports nothing of the platform, and its handlers raise it",
}
"""Public class names that stand twice, and why: both ends of a wire, or to be renamed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """A class, as far as its source says."""

    path: str
    name: str
    bases: tuple[str, ...]
    """Their last words: ``Protocol`` of ``typing.Protocol[T]``."""
    members: frozenset[str]
    """Methods and attributes of its own."""
    is_protocol: bool


def show(title: str, found: Sequence[str]) -> None:
    """Print a list to look at."""
    print(f"\n{title}: {len(found) or 'none'}")
    for line in found:
        print(f"  {line}")


def classes(*folders: str) -> Iterator[Class]:
    """Yield every class in folders of the repository."""
    for module in modules(*folders):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                yield _class(module, node)


def _class(module: Module, node: ast.ClassDef) -> Class:
    bases = [ast.unparse(base).partition("[")[0] for base in node.bases]
    own = {name for inner in ast.walk(node) for name in _set_on_self(inner)}
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            own.add(statement.name)
        elif isinstance(statement, ast.AnnAssign):
            own.add(ast.unparse(statement.target))
        elif isinstance(statement, ast.Assign):
            own |= {ast.unparse(target) for target in statement.targets}
    return Class(
        path=module.path,
        name=node.name,
        bases=tuple(base.rpartition(".")[2] for base in bases),
        members=frozenset(own),
        # The event loop's own Protocol is a class to inherit from.
        is_protocol=bool({"Protocol", "typing.Protocol"} & set(bases)),
    )


def _set_on_self(node: ast.AST) -> Iterator[str]:
    is_set = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    if is_set and ast.unparse(node.value) == "self":
        yield node.attr


def whole(one: Class, by_name: dict[str, Class], above: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the members of a class with those of the classes above it."""
    found = one.members
    for base in one.bases:
        if base in by_name and base not in above:
            found |= whole(by_name[base], by_name, (*above, base))
    return found


def test_signs_of_a_full_folder() -> None:
    """More files than one looks through may hold more than one noun."""
    counts = Counter(PurePath(module.path).parent.as_posix() for module in modules())
    full = [f"{count:3d}  {path}" for path, count in counts.items() if count > FOLDER_FILES_MAX]
    show(f"folders with over {FOLDER_FILES_MAX} files", sorted(full, reverse=True))


def test_signs_of_a_long_function() -> None:
    """Parents branch, leaves compute."""
    long = [
        f"{lines:3d}  {module.path}:{node.lineno} {node.name}"
        for module in modules()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.body[0].lineno + 1) > FUNCTION_LINES_MAX
    ]
    show(f"functions over {FUNCTION_LINES_MAX} lines", sorted(long, reverse=True))


def test_signs_of_an_idle_protocol() -> None:
    """A port needs two who stand behind it, one of which may be a fake.

    Judged by the names of members alone: whoever has them all implements it.
    """
    found = list(classes("src/coldspark", "tests", "benchmarks"))
    by_name = {one.name: one for one in found}
    members = [(one, whole(one, by_name)) for one in found]
    idle = []
    for port, wanted in members:
        if not (port.is_protocol and port.path.startswith("src/")):
            continue
        behind = [
            one.name for one, has in members if not one.is_protocol and wanted and wanted <= has
        ]
        if len(behind) < 2:
            idle.append(f"{port.path}: {port.name} ({', '.join(behind) or 'nobody'})")
    show("protocols with one implementation and no fake", idle)


def test_signs_of_twins() -> None:
    """One name, one class: a second one of the same name is renamed or joined with the first."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for one in classes("src/coldspark"):
        if not one.name.startswith("_"):
            paths[one.name].append(one.path)
    twins = {name: where for name, where in paths.items() if len(where) > 1}
    show(
        "public class names that stand twice",
        [f"{name}: {', '.join(where)}" for name, where in twins.items()],
    )
    assert {name: where for name, where in twins.items() if name not in TWINS} == {}
    assert set(TWINS) - set(twins) == set(), "what stands once is no twin any more"
