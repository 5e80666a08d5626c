"""S3 for the tests of the store."""

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer
from s3_proxy import S3, Proxy, proxied


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """Run moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield S3(f"http://127.0.0.1:{port}")
    server.stop()


@pytest.fixture
def proxy(s3: S3) -> Iterator[Proxy]:
    """Run a proxy before it."""
    with proxied(s3.endpoint) as running:
        yield running
