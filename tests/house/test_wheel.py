"""The wheel is whole: installed where nothing else is, it serves, far from these sources."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from house_sources import ROOT, SOURCE

from coldspark import __version__

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.timeout(600)]

_UV = str(Path(sys.executable).with_name("uv"))
_HANDLER = """
import json


def predict_fn(data, model):
    return {"answer": data["number"] + 1}


def model_fn(model_dir):
    return json.loads("null")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive as an index would get both."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    for name in (
        "pyproject.toml",
        "MANIFEST.in",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "constraints.txt",
    ):
        shutil.copy(ROOT / name, tree)
    # Without the list of files that earlier builds left, which would be read as an order.
    left = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", tree / "src", ignore=left)
    words = ["-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    _run(sys.executable, *words, cwd=out)
    assert [path.name for path in out.glob("*.tar.gz")] == [f"coldspark-{__version__}.tar.gz"]
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and what it asks for, and no more."""
    home = tmp_path_factory.mktemp("stranger") / "venv"
    _run(_UV, "venv", "--quiet", "--python", sys.executable, str(home), cwd=home.parent)
    pins = ["--constraint", str(ROOT / "constraints.txt")]
    python = str(home / "bin" / "python")
    _run(_UV, "pip", "install", "--quiet", "--python", python, *pins, str(wheel), cwd=home.parent)
    return home / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    """Price books, migrations and marks of types too, not the modules alone."""
    ours = [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {str(path.relative_to(SOURCE.parent)) for path in ours} - held == set()
    assert f"coldspark-{__version__}.dist-info/licenses/LICENSE" in held


def test_an_installed_wheel_serves(installed: Path, tmp_path: Path) -> None:
    """Deploy, invoke from zero, list and stop: each command ends well, and none finds this tree."""
    python, coldspark = str(installed / "python"), str(installed / "coldspark")
    found = _run(python, "-c", "import coldspark; print(coldspark.__file__)", cwd=tmp_path)
    assert Path(found.strip()).is_relative_to(installed.parent)
    assert _run(coldspark, "--version", cwd=tmp_path) == f"coldspark {__version__}\n"
    assert "deploy" in _run(coldspark, "--help", cwd=tmp_path)
    data = ["--data", str(tmp_path / "data")]
    assert "fork templates" in _run(coldspark, "doctor", *data, cwd=tmp_path)

    (tmp_path / "inference.py").write_text(_HANDLER)
    words = [coldspark, "up", "--port", "0", *data, "--log-level", "warning"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, stdout=pipe, text=True, cwd=tmp_path, env=_environment(installed)
    ) as server:
        assert server.stdout is not None
        try:
            at = ["--url", server.stdout.readline().split()[-1]]
            deployed = ["deploy", "inference.py", "--name", "next", "--yes"]
            _run(coldspark, *deployed, *at, cwd=tmp_path)
            asked = ["invoke", "next", "--json", '{"number": 41}']
            assert _run(coldspark, *asked, *at, cwd=tmp_path).strip() == '{"answer": 42}'
            assert "next" in _run(coldspark, "ls", *at, cwd=tmp_path)
            # What it says of money is read from files beside the code.
            assert "total" in _run(coldspark, "bill", "--prices", "lambda", *at, cwd=tmp_path)
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def _run(*words: str, cwd: Path) -> str:
    """Return what a program printed; it must succeed."""
    environment = _environment(Path(words[0]).parent)
    ran = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, f"{words}: {ran.returncode}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def _environment(programs: Path) -> dict[str, str]:
    """Return the surroundings of a stranger: nothing points to this tree or its environment."""
    ours = ("PYTHON", "COLDSPARK_", "AWS_", "VIRTUAL_ENV")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | {"PATH": f"{programs}:{os.defpath}"}
