"""The house's conventions, as far as a program can check them."""

import ast
import re

import pytest
from house_sources import Module, dotted, modules

pytestmark = pytest.mark.seconds

PACKAGE = modules()
EVERYTHING = [*PACKAGE, *modules("tests", "examples", "benchmarks")]
FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "misc", "manager", "base"}
FUNCTION_LINES_MAX = 70
"""10 is the aim, 50 a sign."""
READS_TIME = re.compile(
    r"(time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|sleep)"
    r"|datetime\.(datetime\.)?(now|utcnow|today)|date\.today)"
)
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


def test_no_file_is_named_after_nothing() -> None:
    """A file's name says what is in it."""
    named = {module.path: set(re.split(r"[/_.]", module.path)) for module in EVERYTHING}
    assert [path for path, words in named.items() if words & FORBIDDEN_NAMES] == []


def test_no_class_is_named_after_nothing() -> None:
    """Nor does a class."""
    wrong = [
        of(module, node)
        for module in PACKAGE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
        and re.search(r"(Manager|Helper|Util|Utils|Base|Misc)$", node.name)
    ]
    assert wrong == []


def test_only_the_clock_reads_time() -> None:
    """Time is a parameter: every hidden clock costs somebody a test."""
    wrong = [
        of(module, call)
        for module in PACKAGE
        if not module.path.startswith(TIME_READERS)
        for call in module.calls()
        if READS_TIME.fullmatch(dotted(call.func))
    ]
    assert wrong == []


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


def test_functions_are_short() -> None:
    """Parents branch, leaves compute. A command's many options are its signature, not its body."""
    wrong = [
        f"{of(module, node)} {node.name} has {_body_lines(node)} lines"
        for module in PACKAGE
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and _body_lines(node) > FUNCTION_LINES_MAX
    ]
    assert wrong == []


def _body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or 0) - node.body[0].lineno + 1


def test_tasks_live_in_a_group() -> None:
    """A bare ``create_task`` may be collected half-way, and nobody hears its failure."""
    wrong = [
        of(module, call)
        for module in PACKAGE
        for call in module.calls()
        if dotted(call.func) in ("asyncio.create_task", "asyncio.ensure_future")
        or re.fullmatch(
            r"(.*\.)?(get_running_loop|get_event_loop|loop)\.create_task", dotted(call.func)
        )
    ]
    assert wrong == []


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
