"""Endpoints at zero: what one costs in memory, and whether many slow the hot ones down."""

from benchmarks.http_client import RawClient
from benchmarks.report import Report
from benchmarks.servers import platform, resident_bytes
from coldspark.sdk.client import Client
from coldspark.sdk.deploy import deploy

FEW, MANY = 100, 10_000
HOT = 20
CALLS = 100
_ECHO = "def predict_fn(data, model):\n    return data\n"


def measure(report: Report) -> None:
    """Register endpoints, call the hot ones, register many more, call them again."""
    report.remark(f"endpoints at zero; {HOT} of them are hot")
    with platform() as ours:
        echo = ours.data.parent / "echo"
        echo.mkdir()
        (echo / "inference.py").write_text(_ECHO)
        for number in range(HOT):
            settings = f'name = "hot-{number}"\nhandler = "inference.py"\n'
            (echo / "coldspark.toml").write_text(settings + "[scale]\nmin = 1\n")
            deploy(ours.client, echo)
        clients = [RawClient(ours.port, f"/v1/endpoints/hot-{n}/invoke", b"{}") for n in range(HOT)]
        _register(ours.client, HOT, FEW)
        _calls(clients)
        few = report.add(f"hot call with {FEW} registered", "us", _calls(clients))
        before = resident_bytes(ours.pid)
        _register(ours.client, FEW, MANY)
        grown = resident_bytes(ours.pid) - before
        many = report.add(f"hot call with {MANY:,} registered", "us", _calls(clients))
        report.add("memory of an endpoint at zero", "KB", [grown / (MANY - FEW) / 1024])
        report.remark(f"    slowdown of the hot ones: {many.median / few.median:.2f}x")
        for client in clients:
            client.close()


def _register(client: Client, start: int, end: int) -> None:
    for number in range(start, end):
        client.put_endpoint(f"zero-{number}", {"command": {"argv": ["true"]}})


def _calls(clients: list[RawClient]) -> list[float]:
    return [client.call_us() for _ in range(CALLS) for client in clients]
