"""One router process against two: ``python -m benchmarks.routers``. Needs ``wrk``.

Two endpoints of an echo handler, one of each router, called at once by one wrk each. All processes
share the machine: with 2 cores the load, the workers and the routers compete, so requests a second
cannot show what a further core would give. What can be seen is how the routers' work is divided
(processor time of each) and what a request costs all of them together.
"""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from benchmarks.load import Address, Load, put
from benchmarks.report import Report
from benchmarks.servers import Platform, cpu_s, platform
from coldspark.cluster.ownership import owner_of
from coldspark.sdk.deploy import deploy

SECONDS = 5
CONCURRENCY = 16
LOAD_CORE = 1
_ECHO = "def transform_fn(model, data, content_type, accept):\n    return data, accept\n"
_ECHO += "def model_fn(model_dir):\n    return None\n"
_NAMES = [f"e{number}" for number in range(16)]
NAMES = [next(name for name in _NAMES if owner_of(name, 2) == owner) for owner in (0, 1)]
"""One endpoint of each of two routers."""


def measure(report: Report) -> None:
    """Add a row for one router, two, and the price of a hand-off."""
    if shutil.which("wrk") is None:
        report.remark("SKIPPED routers: wrk not found (apt-get install wrk)")
        return
    for routers in (1, 2):
        with platform("--routers", str(routers)) as ours:
            _measure(report, ours, routers)


def _measure(report: Report, ours: Platform, routers: int) -> None:
    for name in NAMES:
        _deploy(ours, name)
        assert ours.client.invoke(name, b"{}").content == b"{}"
    pids = [ours.pid, *_routers_of(ours.pid)]
    assert len(pids) == routers
    before = [cpu_s(pid) for pid in pids]
    with ThreadPoolExecutor(len(NAMES)) as pool:
        loads = list(pool.map(lambda name: _load(ours, name), NAMES))
    used = [cpu_s(pid) - begun for pid, begun in zip(pids, before, strict=True)]
    calls = sum(load.count or 0 for load in loads)
    report.add(f"{routers} router(s)", "requests/s", [sum(load.rps for load in loads)])
    report.add(f"{routers} router(s), all", "us CPU/request", [sum(used) / calls * 1e6])
    for number, spent in enumerate(used):
        report.add(f"{routers} router(s), router {number}", "% of a core", [spent / SECONDS * 100])
    report.remark(f"    failed: {sum(load.errors for load in loads)} of {calls}")


def _load(ours: Platform, name: str) -> Load:
    address = Address(port=ours.port, path=f"/v1/endpoints/{name}/invoke", body=b'{"n": 1}')
    return put(address, CONCURRENCY, SECONDS, LOAD_CORE)


def _deploy(ours: Platform, name: str) -> None:
    folder = ours.data.parent / name
    folder.mkdir()
    (folder / "inference.py").write_text(_ECHO)
    text = f'name = "{name}"\nhandler = "inference.py"\n[scale]\nmin = 1\nconcurrency = 16\n'
    (folder / "coldspark.toml").write_text(text)
    deploy(ours.client, folder)


def _routers_of(primary: int) -> list[int]:
    """Return the router processes that a lead started."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if (
                parent == primary
                and b"coldspark.server.worker_process" in (entry / "cmdline").read_bytes()
            ):
                found.append(int(entry.name))
    return sorted(found)


if __name__ == "__main__":
    whole = Report()
    whole.begin()
    measure(whole)
    whole.save(Path(".bench") / "routers.json")
