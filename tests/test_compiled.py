"""Machine code that does not fit its source never runs in its place."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import coldspark
from coldspark import compiled

SOURCE = Path(coldspark.__file__).resolve().parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package of which one module is said to be compiled."""
    package = tmp_path / "coldspark"
    package.mkdir()
    for name in ("__init__.py", "compiled.py"):
        shutil.copy(SOURCE / name, package / name)
    (package / "hot.py").write_text("speed = 1\n")
    compiled.write_manifest(package, ["hot.py"])
    return package


def imported(package: Path) -> str:
    """Import a package in a process of its own; return what went wrong."""
    argv = [sys.executable, "-c", "import coldspark; print(coldspark.__file__)"]
    done = subprocess.run(argv, cwd=package.parent, capture_output=True, text=True)
    assert done.returncode or str(package) in done.stdout
    return done.stderr


def test_a_tree_that_fits_its_sources_runs(package: Path) -> None:
    """And says what of it is compiled."""
    assert imported(package) == ""
    assert compiled.modules(package) == ["hot.py"]


def test_a_source_that_changed_is_not_passed_over(package: Path) -> None:
    """Python would run the old machine code without a word."""
    (package / "hot.py").write_text("speed = 2\n")
    assert "compiled before hot.py changed: run `make compile`" in imported(package)


def test_a_source_that_is_gone_is_missed(package: Path) -> None:
    """Its machine code alone would still import."""
    (package / "hot.py").unlink()
    with pytest.raises(ImportError, match=r"compiled before hot\.py changed"):
        compiled.refuse_if_stale(package)


def test_another_python_is_refused(package: Path) -> None:
    """It would not find the machine code, and run the sources as if they were meant."""
    manifest = package / compiled.MANIFEST
    told = json.loads(manifest.read_text()) | {"suffix": ".cpython-39-other.so"}
    manifest.write_text(json.dumps(told))
    with pytest.raises(ImportError, match=r"was compiled for \.cpython-39-other\.so"):
        compiled.refuse_if_stale(package)


def test_sources_run_where_nothing_is_compiled(package: Path) -> None:
    """The manifest alone decides."""
    (package / compiled.MANIFEST).unlink()
    (package / "hot.py").write_text("speed = 3\n")
    assert imported(package) == ""
    assert compiled.modules(package) == []


def test_what_is_to_be_compiled_exists() -> None:
    """A module that is renamed is renamed there too: nobody compiles with every change."""
    script = Path(__file__).parents[1] / "scripts" / "compile_hot_path.py"
    names = runpy.run_path(str(script))["MODULES"]
    assert [name for name in names if not (SOURCE / f"{name}.py").exists()] == []
    assert len(names) == len(set(names)) > 40
