"""Measure the running platform: warm overhead, wake from zero, and endpoints at zero.

Run alone on the machine: ``make bench``. Prints medians; the plain start is the same handler in a
fresh interpreter, measured in the same run.
"""

import json
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from coldspark.sdk.client import Client
from coldspark.sdk.deploy import deploy

COLDSPARK = str(Path(sys.executable).parent / "coldspark")
ROUNDS = 15
CALLS = 500
ENDPOINTS = 1_000
HANDLER = "import json\n\ndef predict_fn(data, model):\n    return data\n"
PLAIN = "import inference, sys; print(inference.predict_fn({}, None))"
BODY = json.dumps({"x": "y" * 1_000}).encode()


def main() -> None:
    """Start a server, measure, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        data, code = Path(folder) / "data", Path(folder) / "code"
        code.mkdir()
        (code / "inference.py").write_text(HANDLER)
        settings = 'name = "bench"\nhandler = "inference.py"\n[scale]\nidle_timeout = 0.05\n'
        (code / "coldspark.toml").write_text(settings)
        server = subprocess.Popen(
            [COLDSPARK, "up", "--port", "0", "--data", str(data), "--log-level", "warning"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            measure(Client(server.stdout.readline().split()[-1]), code, server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(60)


def measure(client: Client, code: Path, pid: int) -> None:
    """Print every figure."""
    print(f"machine: {platform.machine()}, {platform.system()} {platform.release()}")
    deploy(client, code)
    call(client)
    wakes = [wake(client) for _ in range(ROUNDS)]
    plain = [milliseconds(lambda: start_plainly(code)) for _ in range(ROUNDS)]
    warm = [milliseconds(lambda: call(client)) for _ in range(CALLS)]
    show("wake from zero to the answer, ms", wakes)
    show("plain start of the same handler, ms", plain)
    show("warm call, ms", warm)
    before = resident_kb(pid)
    for number in range(ENDPOINTS):
        client.put_endpoint(f"zero-{number}", {"command": {"argv": ["true"]}})
    grown = resident_kb(pid) - before
    print(f"{ENDPOINTS} endpoints at zero: no process, {grown / ENDPOINTS:.1f} KB each")


def call(client: Client) -> None:
    """Invoke once."""
    client.invoke("bench", BODY, content_type="application/json").json()


def wake(client: Client) -> float:
    """Wait until nothing runs, then invoke."""
    while client.endpoint("bench")["variants"][0]["replicas"]:
        time.sleep(0.02)
    return milliseconds(lambda: call(client))


def start_plainly(code: Path) -> None:
    """Start the handler as a process of its own."""
    subprocess.run([sys.executable, "-c", PLAIN], cwd=code, check=True, capture_output=True)


def milliseconds(work: Callable[[], None]) -> float:
    """Time one piece of work."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


def show(what: str, values: list[float]) -> None:
    """Print median and minimum."""
    print(f"{what}: median {statistics.median(values):.2f}, min {min(values):.2f}")


def resident_kb(pid: int) -> int:
    """Return a process's resident memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


if __name__ == "__main__":
    main()
