"""Environments: built once for all who ask for the same, from a wheel made by hand."""

import asyncio
import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from coldspark.errors import EnvironmentFailed
from coldspark.runtime.environments import Environments, parse_pip_config, source_options

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with the wheel of ``sparkle`` 1.0, which uv alone may look into."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "sparkle-1.0.dist-info"
    files = {
        "sparkle.py": "SHINE = 7\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: sparkle\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / "sparkle-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def _digest(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    return f"sha256={digest.decode().rstrip('=')}"


def test_no_requirements_mean_the_platforms_own_interpreter(tmp_path: Path) -> None:
    """Nothing is built for nothing."""
    python = asyncio.run(Environments(tmp_path / "root").ready((), (), print))
    assert python == Path(sys.executable)
    assert not (tmp_path / "root").exists()


def test_who_asks_for_the_same_shares_one_build(tmp_path: Path) -> None:
    """Five at once, in any order of lines, from two servers: one build, one directory."""
    lines: list[str] = []
    one, other = (Environments(tmp_path / "root") for _ in range(2))

    async def five() -> set[Path]:
        asks = [("sparkle==1.0", "sparkle>=1"), ("sparkle>=1", "sparkle==1.0")]
        ready = [
            place.ready(asks[i % 2], (), lines.append) for i in range(5) for place in (one, other)
        ]
        return set(await asyncio.gather(*ready))

    (python,) = asyncio.run(five())
    shown = subprocess.run(
        [python, "-c", "import sparkle; print(sparkle.SHINE)"], capture_output=True
    )
    assert shown.stdout == b"7\n"
    assert sum("sparkle==1.0" in line for line in lines) == 1


def test_a_build_that_was_cut_off_is_made_anew(tmp_path: Path) -> None:
    """Without its mark an environment is a ruin."""
    environments = Environments(tmp_path / "root")
    python = asyncio.run(environments.ready(("sparkle",), (), print))
    (python.parent.parent / ".ready").unlink()
    python.unlink()
    assert asyncio.run(environments.ready(("sparkle",), (), print)) == python
    assert python.exists()


def test_a_failure_says_what_uv_said_and_the_cure(tmp_path: Path) -> None:
    """The next try may go well: nothing stays of the failed one."""
    environments = Environments(tmp_path / "root")
    with pytest.raises(EnvironmentFailed, match="sparkle==2") as failed:
        asyncio.run(environments.ready(("sparkle==2",), (), print))
    assert "correct the lines of requirements" in failed.value.message
    assert failed.value.log_tail
    assert [path.suffix for path in (tmp_path / "root").iterdir()] == [".lock"]


def test_an_override_drops_a_dependency(tmp_path: Path) -> None:
    """As uv's own override lines do."""
    python = asyncio.run(
        Environments(tmp_path / "root").ready(
            ("sparkle",), ("sparkle ; python_version < '3'",), print
        )
    )
    assert subprocess.run([python, "-c", "import sparkle"], capture_output=True).returncode == 1


def test_pips_sources_are_passed_on_unless_they_are_gone(tmp_path: Path) -> None:
    """Several values in one line; a missing directory is left out, a remote index is not."""
    settings = parse_pip_config(
        f"global.find-links='{tmp_path} /gone/wheels'\n"
        f"global.extra-index-url='file://{tmp_path}\\nhttps://index.invalid/simple'\n"
        "global.timeout='9'\n"
    )
    assert source_options(settings) == [
        *("--find-links", str(tmp_path)),
        *("--extra-index-url", f"file://{tmp_path}"),
        *("--extra-index-url", "https://index.invalid/simple"),
        *("--index-strategy", "unsafe-best-match"),
    ]
