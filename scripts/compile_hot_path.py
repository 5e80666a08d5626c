"""Compile the hot path with mypyc into a tree of its own, and check that it imports.

    python scripts/compile_hot_path.py TREE

TREE/coldspark gets links to all sources and the machine code beside them, TREE/bin/coldspark is
the command that runs from there. Nothing is written into ``src``. Needs mypy (which brings mypyc)
and a C compiler; takes about a minute of one core.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

_ROOMS = {
    "billing": "journal journal_writer ledger_lines meter replica_accounts",
    "cluster": "handoff",
    "doors": "aws/sagemaker/runtime/door aws/sagemaker/runtime/invocations native/invocations",
    "fleet": (
        "deadlines dispatch driver fleet idle_intervals idle_policy keep_alive_plan "
        "measurements policies/learned replica replica_index replica_lifecycle replica_scaling "
        "replica_starts request_queue rollout start_budget state"
    ),
    "http": (
        "auth/authentication auth/authenticator auth/scopes auth/sigv4 connection context "
        "counters door door_match framing head header_cache invocation_handler pipeline replies "
        "request_ids"
    ),
    "node": (
        "transport/channel transport/http_connection transport/http_headers transport/http_upstream"
    ),
    "platform": "call controller hosted_fleet",
    "spec": "waterfall",
}
MODULES = [f"{room}/{name}" for room, names in _ROOMS.items() for name in names.split()]
"""Not compiled: what msgspec decodes into (mypyc keeps no unions in annotations), what runs in
workers, and what tests replace in passing (``clock``)."""

_SETTINGS = "[mypy]\nstrict = True\n[mypy-httptools.*]\nignore_missing_imports = True\n"
_LAUNCHER = """#!{python}
import sys

sys.path.insert(0, {tree!r})
from coldspark.cli.main import run

run()
"""


def main() -> None:
    """Build the tree anew."""
    # The sources' own: a stale tree that is on the path refuses to be imported.
    sys.path.insert(0, str(SOURCE))
    from coldspark.compiled import write_manifest

    tree = Path(sys.argv[1]).resolve()
    compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        sys.exit(
            "cannot compile: no C compiler (cc, gcc or clang) is on PATH; install one, such as"
            " with `apt-get install gcc`. Everything runs without it, only more slowly."
        )
    names = [f"coldspark/{module}.py" for module in MODULES]
    shutil.rmtree(tree, ignore_errors=True)
    work = tree / "build"
    shutil.copytree(SOURCE, work, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    _compile(work, names)
    _link(tree)
    _place(work, tree)
    shutil.rmtree(work)
    write_manifest(tree / "coldspark", [name.removeprefix("coldspark/") for name in names])
    _write_launcher(tree)
    _check(tree)
    print(f"compiled {len(names)} modules; run {tree / 'bin' / 'coldspark'}")


def _compile(work: Path, names: list[str]) -> None:
    settings = work / "mypy.ini"
    settings.write_text(_SETTINGS)
    argv = [sys.executable, "-m", "mypyc", "--config-file", str(settings), *names]
    done = subprocess.run(argv, cwd=work, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mypyc failed:\n{done.stdout[-4_000:]}{done.stderr[-4_000:]}")


def _link(tree: Path) -> None:
    """Link every source file: what is not compiled is never stale."""
    for path in SOURCE.rglob("*"):
        is_ours = "__pycache__" not in path.parts and ".egg-info" not in str(path)
        if path.is_file() and is_ours:
            link = tree / path.relative_to(SOURCE)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)


def _place(work: Path, tree: Path) -> None:
    for path in work.rglob("*.so"):
        if "build" not in path.relative_to(work).parts:
            path.rename(tree / path.relative_to(work))


def _write_launcher(tree: Path) -> None:
    launcher = tree / "bin" / "coldspark"
    launcher.parent.mkdir()
    launcher.write_text(_LAUNCHER.format(python=sys.executable, tree=str(tree)))
    launcher.chmod(0o755)


def _check(tree: Path) -> None:
    """Import everything that was compiled, from there."""
    names = [f"coldspark.{module.replace('/', '.')}" for module in MODULES]
    code = f"import sys, {', '.join(names)}; print(*(sys.modules[n].__file__ for n in {names}))"
    argv = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    files = done.stdout.split()
    if done.returncode or not all(file.endswith(".so") for file in files):
        sys.exit(f"the compiled tree does not import: {done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
