"""The same workers as endpoints of a running coldspark, which the others have in their code."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peers import installs
from benchmarks.peers.systems import Place
from benchmarks.peers.workers import functions
from benchmarks.servers import until
from coldspark.errors import EnvironmentFailed
from coldspark.node.environments import Environments
from coldspark.sdk.client import Client
from coldspark.sdk.deploy import deploy

CONCURRENCY = functions.BATCH_MAX
"""Of a worker that does not batch: this many of its calls run at once."""
_IDLE_S = 0.05
_START_S = 60.0
_AT_ZERO_S = 60.0
_KEPT = installs.BENCH / "coldspark" / "environments"
_HANDLER = """
from functions import load

WORK = load("{name}")


def predict_fn(data):
    return WORK([data])[0]


def predict_batch_fn(inputs):
    return WORK(inputs)
"""


def build_environment() -> None:
    """Build what minilm needs before anything is timed, as the peers' environments are.

    Raises CannotInstall.
    """
    _KEPT.mkdir(parents=True, exist_ok=True)
    wanted = tuple(installs.pins("coldspark"))
    try:
        asyncio.run(Environments(_KEPT).ready(wanted, (), lambda line: None))
    except EnvironmentFailed as error:
        raise installs.CannotInstall(error.message) from error


def share_environments(data: Path) -> None:
    """Give a new server the environments that are built already; all else is new."""
    data.mkdir(mode=0o700)
    (data / "environments").symlink_to(_KEPT)


def put(place: Place, *, may_be_zero: bool, batches: bool = True) -> None:
    """Deploy the place's worker to the server that starts there."""
    source = _source(place)
    scale: dict[str, Any] = {"min": 1, "max": 1}
    if batches and functions.is_batched(place.worker):
        scale |= {"batch_size": functions.BATCH_MAX, "batch_wait": functions.BATCH_WAIT_S}
    else:
        scale["concurrency"] = CONCURRENCY
    if may_be_zero:
        scale = {"min": 0, "max": 1, "idle_timeout": _IDLE_S}
    deploy(_client(place), source, {"scale": scale})


def until_zero(place: Place) -> None:
    """Return when the worker has no replica. Raises TimeoutError."""
    client = _client(place)

    def is_zero() -> bool:
        variants: list[Mapping[str, Any]] = client.endpoint(place.worker)["variants"]
        return not variants[0]["replicas"]

    until(is_zero, f"{place.worker} never went to zero", _AT_ZERO_S)


def _client(place: Place) -> Client:
    return Client(f"http://127.0.0.1:{place.port}")


def _source(place: Place) -> Path:
    folder = place.folder / place.worker
    folder.mkdir()
    if place.worker == "minilm":
        example = installs.ROOT / "examples" / "minilm" / "inference.py"
        shutil.copy(example, folder)
        (folder / "requirements.txt").write_text("\n".join(installs.pins("coldspark")))
    else:
        shutil.copy(functions.__file__, folder / "functions.py")
        (folder / "inference.py").write_text(_HANDLER.format(name=place.worker))
    (folder / "coldspark.toml").write_text(_settings(place.worker))
    return folder


def _settings(worker: str) -> str:
    variables = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    lines = [f"name = {json.dumps(worker)}", 'handler = "inference.py"', 'memory = "2GB"']
    lines += ["vcpus = 1", "[environment]", 'TOKENIZERS_PARALLELISM = "false"']
    return "\n".join([*lines, *(f'{name} = "1"' for name in variables), ""])
