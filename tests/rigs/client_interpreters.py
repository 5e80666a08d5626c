"""Interpreters with other clients than the suite's own, built once and kept between runs.

They lie under ``$COLDSPARK_CLIENTS`` or the user's cache directory, each under the hash of its
pinned requirements.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).parents[1] / "compat" / "clients"
_INSTALL_S = 180


class NotInstallable(Exception):
    """Say why a client could not be installed."""


def interpreter(client: str) -> Path:
    """Return the Python that has a client. Raises NotInstallable."""
    requirements = CLIENTS / f"{client}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = _cache() / f"{client}-{digest}"
    python = home / "bin" / "python"
    if (home / "installed").exists():
        return python
    shutil.rmtree(home, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    # The pins are complete: what a client says it needs beyond them was found not to be needed.
    pins = ["--no-deps", "--requirement", str(requirements)]
    _run([uv, "pip", "install", "--quiet", "--python", str(python), *pins])
    (home / "installed").touch()
    return python


def _run(words: list[str]) -> None:
    try:
        ran = subprocess.run(words, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstallable(f"it took longer than {_INSTALL_S} s") from None
    if ran.returncode != 0:
        raise NotInstallable(ran.stderr.strip()[-500:])


def _cache() -> Path:
    named = os.environ.get("COLDSPARK_CLIENTS")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else cache / "coldspark-clients"
