"""The warm path: what the platform adds to a call, and its rate beside nginx as a proxy.

One worker for all: nginx that answers every POST with the same 1 KB, so the worker is never what
is measured. The router under test has core 0 to itself; worker and load share the others.
Needs ``nginx`` and ``wrk``. A row for each of: the worker called directly, nginx as a proxy, the
platform before an HTTP worker and before a Python handler, both while no key exists; and a second
platform that has a key, called with a bearer token and with an AWS signature (version 4).
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks import nginx
from benchmarks.http_client import RawClient
from benchmarks.load import Address, Load, put
from benchmarks.report import Report
from benchmarks.servers import Platform, cpu_s, free_port, platform, process, until_open
from coldspark.sdk.deploy import deploy

BODY = json.dumps({"text": "x" * 1_000}).encode()
CALLS = 2_000
ROUNDS = 5
SECONDS = 4
CONCURRENCY = 64
ROUTER_CORE, OTHER_CORE = 0, 1
_ECHO = "def transform_fn(model, data, content_type, accept):\n    return data, accept\n"
_ECHO += "def model_fn(model_dir):\n    return None\n"


@dataclass(frozen=True, slots=True)
class Target:
    """Something that takes the benchmark's request."""

    name: str
    port: int
    path: str = "/invocations"
    headers: Callable[[], str] = str
    """Makes what is sent besides. A signature is good for five minutes."""
    router_pid: int | None = None


def measure(report: Report) -> None:
    """Add the rows, or say what is missing."""
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    if missing:
        names = " ".join(missing)
        report.remark(f"SKIPPED warm path: {names} not found (apt-get install {names})")
        return
    with _targets() as targets:
        _latencies(report, targets)
        _rates(report, targets)


@contextmanager
def _targets() -> Iterator[list[Target]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        worker, proxy = free_port(), free_port()
        conf = nginx.ANSWERS.format(folder=folder, port=worker, body=BODY.decode())
        stack.enter_context(_nginx(folder / "worker.conf", conf, OTHER_CORE))
        conf = nginx.PASSES_ON.format(folder=folder, port=proxy, worker=worker)
        front = stack.enter_context(_nginx(folder / "proxy.conf", conf, ROUTER_CORE))
        until_open(worker)
        until_open(proxy)
        ours = stack.enter_context(platform(core=ROUTER_CORE))
        _write(folder)
        _deploy(ours, folder)
        guarded = stack.enter_context(platform(core=ROUTER_CORE))
        _deploy(guarded, folder)
        key = guarded.client.create_key("benchmark", ["invoke"])
        bearer = f"authorization: Bearer {key['token']}\r\n"
        signed = "/endpoints/nginx/invocations"
        invoke = "/v1/endpoints/{}/invoke".format
        yield [
            Target("worker, called directly", worker),
            Target("nginx as proxy", proxy, router_pid=_child(front.pid)),
            Target("coldspark, HTTP worker", ours.port, invoke("nginx"), str, ours.pid),
            Target("coldspark, Python handler", ours.port, invoke("echo"), str, ours.pid),
            Target(
                "coldspark, HTTP worker, bearer key",
                guarded.port,
                invoke("nginx"),
                lambda: bearer,
                guarded.pid,
            ),
            Target(
                "coldspark, HTTP worker, AWS signature",
                guarded.port,
                signed,
                lambda: _signature(guarded.port, signed, key),
                guarded.pid,
            ),
        ]


@contextmanager
def _nginx(file: Path, configuration: str, core: int) -> Iterator[subprocess.Popen[bytes]]:
    file.write_text(configuration)
    with process(["taskset", "-c", str(core), "nginx", "-c", str(file)]) as running:
        yield running


def _child(pid: int) -> int:
    """Return the nginx worker of a master."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _signature(port: int, path: str, key: dict[str, Any]) -> str:
    """Return the headers that sign the benchmark's request, as botocore makes them."""
    url = f"http://127.0.0.1:{port}{path}"
    kind = {"content-type": "application/json"}
    request = AWSRequest(method="POST", url=url, data=BODY, headers=kind)
    credentials = Credentials(key["id"], key["secret_access_key"])
    SigV4Auth(credentials, "sagemaker", "us-east-1").add_auth(request)
    return "".join(
        f"{name}: {value}\r\n"
        for name, value in request.headers.items()
        if name.lower() in ("authorization", "x-amz-date")
    )


def _write(folder: Path) -> None:
    """Write the nginx worker as a command, and a handler that returns what it gets."""
    code = folder / "nginx"
    code.mkdir()
    conf = nginx.ANSWERS.format(folder="TMP", port="PORT", body=BODY.decode())
    (code / "nginx.conf").write_text(conf)
    start = 'sed "s|PORT|$SAGEMAKER_BIND_TO_PORT|;s|TMP|$TMPDIR|g" nginx.conf > $TMPDIR/n.conf'
    start += f"; exec taskset -c {OTHER_CORE} nginx -c $TMPDIR/n.conf"
    argv = json.dumps(["sh", "-c", start])
    settings = f'name = "nginx"\ncommand = {argv}\n[scale]\nmin = 1\nconcurrency = 256\n'
    (code / "coldspark.toml").write_text(settings)
    echo = folder / "echo"
    echo.mkdir()
    pin = f"import os\nos.sched_setaffinity(0, {{{OTHER_CORE}}})\n"
    (echo / "inference.py").write_text(pin + _ECHO)
    settings = 'name = "echo"\nhandler = "inference.py"\n[scale]\nmin = 1\nconcurrency = 256\n'
    (echo / "coldspark.toml").write_text(settings)


def _deploy(ours: Platform, folder: Path) -> None:
    for name in ("nginx", "echo"):
        deploy(ours.client, folder / name)
        ours.client.invoke(name, BODY, content_type="application/json").json()


def _latencies(report: Report, targets: list[Target]) -> None:
    """One caller, one connection each; the rounds of all targets are shuffled together."""
    report.remark(f"warm path, concurrency 1, {len(BODY)} bytes in and out:")
    clients = {t.name: RawClient(t.port, t.path, BODY, t.headers()) for t in targets}
    values: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(ROUNDS):
        for name, client in clients.items():
            values[name] += [client.call_us() for _ in range(CALLS // ROUNDS)]
    rows = {name: report.add(name, "us", values[name]) for name in clients}
    direct = rows[targets[0].name].median
    for target in targets[1:]:
        report.remark(f"    {target.name} adds {rows[target.name].median - direct:.0f} us at p50")
    for client in clients.values():
        client.close()


def _rates(report: Report, targets: list[Target]) -> None:
    """Many callers; the ratio to nginx is taken within each round."""
    report.remark(f"warm path, concurrency {CONCURRENCY}, router on one core:")
    rates: dict[str, list[float]] = {t.name: [] for t in targets}
    costs: dict[str, list[float]] = {t.name: [] for t in targets}
    for _ in range(ROUNDS):
        for target in targets:
            before = cpu_s(target.router_pid) if target.router_pid else 0.0
            given = _load(target)
            rates[target.name].append(given.rps)
            if target.router_pid:
                assert given.count
                costs[target.name].append((cpu_s(target.router_pid) - before) / given.count * 1e6)
    limit = targets[1].name
    for target in targets:
        report.add(target.name, "requests/s", rates[target.name])
        if target.router_pid:
            report.add(f"{target.name}: router's own CPU", "us/request", costs[target.name])
        if target.name != limit:
            pairs = zip(rates[target.name], rates[limit], strict=True)
            report.add(f"{target.name} / nginx", "ratio", [a / b for a, b in pairs])


def _load(target: Target) -> Load:
    headers = tuple(target.headers().splitlines())
    address = Address(port=target.port, path=target.path, body=BODY, headers=headers)
    given = put(address, CONCURRENCY, SECONDS, OTHER_CORE)
    if given.errors:
        raise RuntimeError(f"{target.name}: {given.errors} calls failed under load")
    return given
