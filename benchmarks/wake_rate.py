"""Wakes a second: many endpoints that share one template, each woken from zero by every call."""

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.http_client import RawClient
from benchmarks.report import Report
from benchmarks.servers import Platform, cpu_s, platform
from coldspark.sdk.deploy import apply, prepare

ENDPOINTS = 100
CALLERS = 8
SECONDS = 8.0
_ECHO = "def predict_fn(data, model):\n    return data\n"


def measure(report: Report) -> None:
    """Let a few callers go round the endpoints; nothing stays awake between two calls."""
    report.remark(f"wakes a second: {ENDPOINTS} endpoints of one template, {CALLERS} callers")
    with platform() as ours:
        _deploy(ours)
        begun, used_s = time.perf_counter(), cpu_s(ours.pid)
        with ThreadPoolExecutor(CALLERS) as pool:
            found = list(pool.map(lambda first: _calls(ours.port, first), range(CALLERS)))
        elapsed_s = time.perf_counter() - begun
        waits_us = [wait for waits in found for wait in waits]
        report.add("wakes", "per second", [len(waits_us) / elapsed_s])
        report.add("from call to answer", "ms", [wait / 1000 for wait in waits_us])
        cost_us = (cpu_s(ours.pid) - used_s) / len(waits_us) * 1e6
        report.add("the platform's own CPU", "us/wake", [cost_us])
        cold = sum(line["is_cold"] for line in ours.client.requests(limit=1_000))
        report.remark(f"    {cold} of the last 1,000 calls waited for a start")


def _deploy(ours: Platform) -> None:
    """Deploy one archive under many names: the same code is forked from the same template."""
    echo = ours.data.parent / "echo"
    echo.mkdir()
    (echo / "inference.py").write_text(_ECHO)
    settings = 'name = "e0"\nhandler = "inference.py"\nmemory = "64MB"\n'
    scale = "[scale]\nidle_timeout = 0\npark_timeout = 0\n"
    (echo / "coldspark.toml").write_text(settings + scale)
    prepared = prepare(echo)
    apply(ours.client, prepared)
    for number in range(1, ENDPOINTS):
        ours.client.put_endpoint(f"e{number}", prepared.definition)


def _calls(port: int, first: int) -> list[float]:
    """Go round this caller's own endpoints until the time is up."""
    paths = [f"/v1/endpoints/e{n}/invoke" for n in range(first, ENDPOINTS, CALLERS)]
    clients = [RawClient(port, path, b"{}") for path in paths]
    waits: list[float] = []
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        waits += [client.call_us() for client in clients]
    for client in clients:
        client.close()
    return waits
