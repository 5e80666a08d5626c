"""The command line as a whole: help, version, completion, ``doctor`` and ``up``."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
from fake_api import FakeApi, endpoint
from shell import Shell

from coldspark import __version__
from coldspark.cli import options
from coldspark.cli.main import app
from coldspark.config import ServerConfig

GROUP = typer.main.get_command(app)


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command's words."""
    for name, command in GROUP.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", {})
        yield from ((name, sub) for sub in inner) if inner else ((name,),)


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example(coldspark: Shell, words: tuple[str, ...]) -> None:
    """Examples are what is read first."""
    ran = coldspark(*words, "--help")
    assert ran.code == 0
    assert "Example" in ran.out
    assert f"coldspark {words[0]}" in ran.out


def test_the_version_is_reported(coldspark: Shell) -> None:
    """And nothing else is done."""
    assert coldspark("--version").out == f"coldspark {__version__}\n"


def test_a_misspelt_command_is_a_usage_error(coldspark: Shell) -> None:
    """With the nearest name."""
    ran = coldspark("dploy")
    assert ran.code == 2
    assert "deploy" in ran.err


def test_doctor_needs_no_server(coldspark: Shell, api: FakeApi) -> None:
    """Its JSON is for scripts, its table for people."""
    said = json.loads(coldspark("doctor", "--json", "--simulate", "A10G:2").out)
    assert "simulated gpu" in {check["name"] for check in said["checks"]}
    assert "fork templates" in coldspark("doctor").out
    assert api.asked == []


def test_doctor_exits_1_when_something_is_missing(coldspark: Shell, api: FakeApi) -> None:
    """A script can rely on it."""
    check = {"name": "uv", "status": "missing", "detail": "not found", "cure": "pip install uv"}
    api.replies["/v1/doctor"] = (200, {"status": "missing", "checks": [check]})
    ran = coldspark("doctor", "--server")
    assert ran.code == 1
    assert "uv: pip install uv" in ran.out


def test_doctor_refuses_a_type_that_is_none(coldspark: Shell) -> None:
    """With the near name."""
    ran = coldspark("doctor", "--simulate", "A1OG")
    assert ran.code == 2
    assert "A10G" in ran.err


def test_up_hands_the_configuration_to_the_server(
    coldspark: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags become one record."""
    seen: list[ServerConfig] = []
    module = ModuleType("coldspark.server.run")
    module.serve = seen.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "coldspark.server.run", module)
    words = ("--port", "0", "--data", "d", "--simulate", "T4:1", "--machine-cost", "0.36")
    assert coldspark("up", *words, "--body-limit", "1MiB").code == 0
    (config,) = seen
    assert (config.port, config.data, config.simulate) == (0, Path("d").absolute(), "T4:1")
    assert config.machine_cost.nanos_per_hour == 360_000_000
    assert config.body_bytes_max == 1024**2


def test_up_with_a_wrong_flag_is_a_usage_error(coldspark: Shell) -> None:
    """Before anything starts."""
    ran = coldspark("up", "--machine-cost", "free")
    assert ran.code == 2
    assert "dollars such as 0.76" in ran.err


def test_names_are_completed(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoints from the server, types and books from the data; no server, no names, no noise."""
    api.endpoints = {"chat": endpoint("chat"), "embed": endpoint("embed")}
    monkeypatch.setenv("COLDSPARK_URL", api.url)
    assert options.complete_endpoint("c") == ["chat"]
    assert options.complete_gpu("a10") == ["A10G", "A100", "A100-80GB", "A10"]
    assert options.complete_book("gu") == ["guide-2026-03"]
    monkeypatch.setenv("COLDSPARK_URL", "http://127.0.0.1:1")
    assert options.complete_endpoint("c") == []
