"""One environment per peer, from its file of versions; a system's program is only looked for.

uv installs, with what pip is configured with on this machine: there torch's CPU build is found.
"""

import asyncio
import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import uv

from coldspark.node.environments import package_sources

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / ".bench" / "peers"
_VERSIONS = Path(__file__).parent / "versions"


class CannotInstall(Exception):
    """Why a peer is not there; its first argument says so in a line."""


def pins(name: str) -> list[str]:
    """Return the ``name==version`` lines of a peer."""
    return (_VERSIONS / f"{name}.txt").read_text().split()


def version(package: str, name: str) -> str:
    """Return the pinned version of a package of a peer."""
    pairs = (line.split("==") for line in pins(name))
    return next(pinned for wanted, pinned in pairs if wanted == package)


def python(name: str) -> Path:
    """Return the interpreter of a peer, its environment built if need be.

    Raises CannotInstall.
    """
    home = BENCH / name / "venv"
    stamp = home / ".installed"
    wanted = hashlib.sha256("\n".join(pins(name)).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing {name} ({len(pins(name))} packages) ...", flush=True)
        _install(name, home)
        stamp.write_text(wanted)
    return home / "bin" / "python"


def _install(name: str, home: Path) -> None:
    binary = uv.find_uv_bin()
    home.parent.mkdir(parents=True, exist_ok=True)
    _run([binary, "venv", "-q", "--clear", "--no-project", "--python", sys.executable, str(home)])
    install = [binary, "pip", "install", "-q", "--compile-bytecode"]
    install += ["--python", str(home / "bin" / "python"), "-r", str(_VERSIONS / f"{name}.txt")]
    _run([*install, *asyncio.run(package_sources())])


def _run(argv: list[str]) -> None:
    environment = {name: v for name, v in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-400:] or "it said nothing"
        raise CannotInstall(f"uv ended with {done.returncode}: {said}")


def program(name: str) -> str:
    """Return the path of a program of this system. Raises CannotInstall."""
    found = shutil.which(name)
    if found is None:
        package = {"taskset": "util-linux"}.get(name, name)
        raise CannotInstall(f"{name} not found (apt-get install {package})")
    return found


def nginx_version() -> str:
    """Return what the program says of itself."""
    said = subprocess.run([program("nginx"), "-v"], capture_output=True, text=True, check=True)
    return said.stderr.strip().rpartition("/")[2]


def coldspark_version() -> str:
    """Return version and commit."""
    argv = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    return f"{importlib.metadata.version('coldspark')} ({commit or 'no commit'})"
