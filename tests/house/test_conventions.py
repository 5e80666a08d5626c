"""The house's conventions, as far as a program can check them."""

import ast
import re

import pytest
from house_sources import Module, dotted, modules

pytestmark = pytest.mark.seconds

PACKAGE = modules()
EVERYTHING = [*PACKAGE, *modules("tests", "examples", "benchmarks")]
READS_TIME = re.compile(r"(datetime\.)?(datetime|date)\.(now|utcnow|today)|.*loop(\(\))?\.time")
MAKES_TASK = re.compile(r"(.*\.)?(create_task|ensure_future)|(asyncio\.)?Task")
TASK_OWNERS = {
    "src/coldspark/tasks.py": "it is what others have their tasks from",
    "src/coldspark/database/single_flight.py": "whoever waits for a flight gets its failure",
}
"""Why a module may make a task by itself."""
TIME_READERS = (
    "src/coldspark/clock.py",
    # A worker's process imports nothing of the platform but its own folder.
    "src/coldspark/node/worker/",
)


def of(module: Module, node: ast.AST) -> str:
    """Return where a node stands."""
    return f"{module.path}:{getattr(node, 'lineno', 1)}"


def test_every_module_opens_with_one_line_that_says_what_it_is_for() -> None:
    """The docstring's first line ends within itself; rules may follow after a blank line."""
    wrong = []
    for module in EVERYTHING:
        docstring = ast.get_docstring(module.tree)
        if not module.text.strip():
            continue
        lines = (docstring or "").splitlines()
        if not lines or not lines[0].endswith((".", "?", ":", "!")) or (lines[1:] and lines[1]):
            wrong.append(module.path)
    assert wrong == []


def test_nothing_is_left_to_do() -> None:
    """An open end is an issue, not a comment."""
    # Put together here, or this file would find itself.
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3)
    marks = re.compile(rf"\b({'|'.join(words)})\b")
    assert [m.path for m in EVERYTHING if marks.search(m.text)] == []


def test_only_the_clock_reads_time() -> None:
    """Time is a parameter: every hidden clock costs somebody a test."""
    wrong = [
        of(module, node)
        for module in PACKAGE
        if not module.path.startswith(TIME_READERS)
        for node in ast.walk(module.tree)
        if _imports_time(node)
        or (isinstance(node, ast.Attribute) and READS_TIME.fullmatch(ast.unparse(node)))
    ]
    assert wrong == []


def _imports_time(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "time"
    return isinstance(node, ast.Import) and any(alias.name == "time" for alias in node.names)


def test_core_is_plain() -> None:
    """No coroutine, and no module that does I/O, in the part that decides."""
    banned = {"asyncio", "logging", "os", "random", "socket", "subprocess", "threading", "time"}
    wrong = []
    for module in modules("src/coldspark/fleet", "src/coldspark/spec"):
        for node in ast.walk(module.tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            is_async = isinstance(node, ast.AsyncFunctionDef | ast.Await)
            if is_async or any(name.partition(".")[0] in banned for name in names):
                wrong.append(of(module, node))
    assert wrong == []


def test_tasks_live_in_a_group() -> None:
    """A bare task may be collected half-way, and nobody hears its failure."""
    wrong = [
        of(module, call)
        for module in PACKAGE
        if module.path not in TASK_OWNERS
        for call in module.calls()
        if MAKES_TASK.fullmatch(made := ast.unparse(call.func))
        and made.rpartition(".")[0] not in _groups(module)
    ]
    assert wrong == []


def _groups(module: Module) -> set[str]:
    """Return the names that a module has for task groups: they await what they make."""
    groups = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.withitem) and node.optional_vars is not None:
            if ast.unparse(node.context_expr) == "asyncio.TaskGroup()":
                groups.add(ast.unparse(node.optional_vars))
        elif isinstance(node, ast.AnnAssign) and "asyncio.TaskGroup" in ast.unparse(
            node.annotation
        ):
            name = ast.unparse(node.target)
            groups |= {name, f"self.{name}"}
    return groups


def test_a_broad_except_says_why() -> None:
    """Only at a task's outermost edge, with the reason in a comment beside it."""
    wrong = []
    for module in PACKAGE:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(node):
                continue
            above, line = module.lines[node.lineno - 2 : node.lineno]
            below = module.lines[node.lineno] if node.lineno < len(module.lines) else ""
            is_reraised = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            if "#" not in above + line + below and not is_reraised:
                wrong.append(of(module, node))
    assert wrong == []


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or dotted(handler.type) in ("Exception", "BaseException")


def test_only_the_command_line_prints() -> None:
    """Everything else logs or answers. Workers' output is the user's."""
    allowed = ("src/coldspark/cli/", "src/coldspark/server/", "src/coldspark/node/worker/")
    wrong = [
        of(module, call)
        for module in PACKAGE
        if not module.path.startswith(allowed)
        for call in module.calls()
        if dotted(call.func) == "print"
    ]
    assert wrong == []


def test_public_names_have_docstrings() -> None:
    """A public class or function of the package says what it is or does."""
    wrong = []
    for module in PACKAGE:
        for node in module.tree.body:
            kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            if not isinstance(node, kinds) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                wrong.append(f"{of(module, node)} {node.name}")
    assert wrong == []


@pytest.mark.parametrize("pattern", [r"/tmp/tmp\.", r"/home/[a-z]+/"])
def test_no_file_names_a_machine(pattern: str) -> None:
    """Paths and hosts of one machine mean nothing on another."""
    wrong = [
        module.path
        for module in EVERYTHING
        if re.search(pattern, module.text) and "tests/house" not in module.path
    ]
    assert wrong == []
