"""Environments: built once for all who ask for the same, from a wheel made by hand."""

import asyncio
import base64
import fcntl
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from coldspark.errors import Conflict, EnvironmentFailed
from coldspark.node.environments import (
    Environments,
    environment_key,
    package_sources,
    parse_pip_config,
    source_options,
)

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
    assert list(python.parent.parent.rglob("sparkle.*.pyc"))


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
    assert "correct the versions in requirements" in failed.value.message
    assert failed.value.log_tail
    assert [path.suffix for path in (tmp_path / "root").iterdir()] == [".lock"]


def test_lines_that_mean_the_same_name_the_same() -> None:
    """Spacing, comments and spelling do not matter; versions and overrides do."""
    key = environment_key(("Spark_Le==1.0", "other"), ())
    same = ("# what we need", "other  # indeed", "", "spark-le==1.0")
    assert environment_key(same, ()) == key
    assert environment_key(("spark-le==1.1", "other"), ()) != key
    assert environment_key(same, ("other ; python_version < '3'",)) != key
    assert environment_key(("a --hash=x \\", "--hash=y"), ()) == environment_key(
        ("a --hash=x --hash=y",), ()
    )


def test_only_comments_require_nothing(tmp_path: Path) -> None:
    """As in a template's empty requirements.txt."""
    python = asyncio.run(Environments(tmp_path / "root").ready(("# none yet", ""), (), print))
    assert python == Path(sys.executable)


def test_a_local_wheel_that_changed_is_installed_anew(tmp_path: Path, wheelhouse: Path) -> None:
    """Its line is the same, but not what it points to."""
    (wheel,) = wheelhouse.iterdir()
    line = f"sparkle @ {wheel.as_uri()}"
    first = environment_key((line,), ())
    os.utime(wheel, ns=(1, 1))
    assert environment_key((line,), ()) != first
    python = asyncio.run(Environments(tmp_path / "root").ready((line,), (), print))
    assert subprocess.run([python, "-c", "import sparkle"]).returncode == 0


def test_what_no_revision_uses_is_found_and_removed(tmp_path: Path) -> None:
    """Not while another process builds it; and once more is no mistake."""
    environments = Environments(tmp_path / "root")
    assert environments.unused(()) == []
    python = asyncio.run(environments.ready(("sparkle",), (), print))
    key = environment_key(("sparkle",), ())
    assert environments.unused([key]) == []
    assert environments.unused(["f" * 32]) == [key]
    with (tmp_path / "root" / f"{key}.lock").open() as builder:
        fcntl.flock(builder, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="is being built"):
            asyncio.run(environments.remove(key))
    for _ in range(2):
        asyncio.run(environments.remove(key))
    assert not python.exists()
    assert environments.unused(()) == []


def test_a_build_waits_for_another_process_that_has_the_lock(tmp_path: Path) -> None:
    """And then finds it made: the other's mark is enough."""
    root = tmp_path / "root"
    root.mkdir()
    key = environment_key(("sparkle",), ())

    async def race() -> Path:
        with (root / f"{key}.lock").open("w") as builder:
            fcntl.flock(builder, fcntl.LOCK_EX)
            ready = asyncio.ensure_future(Environments(root).ready(("sparkle",), (), print))
            await asyncio.wait([ready], timeout=0.2)
            assert not ready.done()
            (root / key).mkdir()
            (root / key / ".ready").touch()
        return await ready

    assert asyncio.run(race()) == root / key / "bin" / "python"


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


def test_torch_is_the_build_that_pip_would_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pip's own find-links uv resolves to the CPU wheel there: resolved, not installed."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "UV_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    options = asyncio.run(package_sources())
    folders = [Path(options[i + 1]) for i, flag in enumerate(options) if flag == "--find-links"]
    if not any(list(folder.glob("torch-2.13.0*cp311*.whl")) for folder in folders):
        pytest.skip(f"SKIPPED FOR LACK OF A WHEEL: no torch 2.13.0 in pip's find-links {folders}")
    asked = tmp_path / "asked.txt"
    asked.write_text("torch==2.13.0\n")
    argv = [uv.find_uv_bin(), "pip", "compile", "--offline", "--no-deps", str(asked), *options]
    resolved = subprocess.run(argv, capture_output=True, text=True)
    assert "torch==2.13.0+cpu" in resolved.stdout, resolved.stderr
