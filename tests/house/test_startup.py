"""The command line starts fast: nothing heavy is loaded before a command needs it."""

import subprocess
import sys

import pytest

HEAVY = (
    "sqlalchemy",
    "alembic",
    "uvicorn",
    "uvloop",
    "starlette",
    "numpy",
    "httpx",
    "httptools",
    "asyncio",
    "obstore",
    "prometheus_client",
    "pynvml",
    "pydantic",
    "rich.markdown",
    "tarfile",
    "msgspec",
    "cronsim",
)


def loaded(statement: str) -> set[str]:
    """Return the names of the modules that a statement loads in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return set(result.stdout.split())


@pytest.mark.process
def test_the_command_line_loads_nothing_heavy() -> None:
    """Completion and ``--version`` pay for every import."""
    assert sorted(loaded("import coldspark.cli.main") & set(HEAVY)) == []


@pytest.mark.process
def test_a_client_loads_nothing_of_the_server() -> None:
    """``from coldspark.sdk import Client`` works where only a script runs."""
    found = loaded("import coldspark.sdk")
    assert sorted(found & set(HEAVY)) == []
    rooms = ("cli", "cluster", "database", "doors", "http", "node", "platform", "server")
    assert [name for name in found if name.startswith(tuple(f"coldspark.{r}" for r in rooms))] == []


@pytest.mark.process
def test_the_platform_never_loads_a_model_framework() -> None:
    """Models live in the workers' environments."""
    found = loaded("import coldspark.cli.main, coldspark.config, coldspark.node.doctor")
    assert sorted(found & {"torch", "transformers", "tensorflow", "jax", "onnxruntime"}) == []
