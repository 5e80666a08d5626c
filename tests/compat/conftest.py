"""One real server for this directory: two real models' environments are built once, then shared."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from real_server import Server

SIMULATED = "T4:1,A10G:2"


LAST = "test_oracles.py"
_ROOMS = ("compat", "doors", "http")
_WHOLE = ("", "not slow")
"""What a run of all or nearly all tests selects by."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the test of all others' answers last, and leave it out of a run of some of them."""
    last = [item for item in items if item.path.name == LAST]
    if not last:
        return
    items[:] = [item for item in items if item.path.name != LAST]
    tests = Path(__file__).parents[1]
    wanted = {path for room in _ROOMS for path in (tests / room).rglob("test_*.py")}
    is_whole = wanted <= {item.path for item in [*items, *last]}
    if is_whole and not config.option.keyword and config.option.markexpr in _WHOLE:
        items += last
    else:
        config.hook.pytest_deselected(items=last)


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """An S3 server of moto's."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory, s3_url: str) -> Iterator[Server]:
    """A server process without API keys, on simulated devices, with its models in that S3."""
    s3 = {
        "COLDSPARK_S3_ENDPOINT_URL": s3_url,
        "COLDSPARK_S3_REGION": "us-east-1",
        "COLDSPARK_S3_ACCESS_KEY_ID": "test",
        "COLDSPARK_S3_SECRET_ACCESS_KEY": "test",
        "COLDSPARK_S3_ALLOW_HTTP": "true",
    }
    data = tmp_path_factory.mktemp("real") / "data"
    found = Server(data, "--simulate", SIMULATED, environment=os.environ | s3)
    yield found
    found.stop()
