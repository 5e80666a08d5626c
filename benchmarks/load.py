"""The load: wrk on a core of its own, and one call by hand where the first answer counts."""

import http.client
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_WRK_TIMEOUT_S = 30
_CALL_TIMEOUT_S = 120.0
_LUA = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = %s
done = function(summary, latency, requests)
  local wrong = summary.errors.connect + summary.errors.read + summary.errors.write
              + summary.errors.status + summary.errors.timeout
  io.write(string.format("MEASURED %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), wrong))
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a system answers, and what it is sent."""

    port: int
    path: str
    body: bytes
    headers: tuple[str, ...] = ()
    """Lines besides the content type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one concurrency gave."""

    rps: float
    p50_ms: float
    p99_ms: float
    errors: int
    count: int | None = None
    """Calls that succeeded; None in results that were kept before they told it."""


def call(address: Address) -> tuple[int, bytes]:
    """Send one request over a connection of its own. Raises OSError, HTTPException."""
    link = http.client.HTTPConnection("127.0.0.1", address.port, timeout=_CALL_TIMEOUT_S)
    try:
        link.request("POST", address.path, address.body, {"content-type": "application/json"})
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


def timed_call_s(address: Address) -> float:
    """Return the seconds of a call that must succeed. Raises RuntimeError."""
    begun = time.perf_counter()
    status, body = call(address)
    took_s = time.perf_counter() - begun
    if status != 200:
        raise RuntimeError(f"answered {status}: {body[:200].decode(errors='replace')}")
    return took_s


def put(address: Address, concurrency: int, seconds: int, core: int) -> Load:
    """Keep that many connections busy. Raises RuntimeError if all calls failed."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "load.lua"
        # A JSON string of a JSON text: Lua reads its escapes alike.
        script.write_text(_LUA % json.dumps(address.body.decode()))
        argv = ["taskset", "-c", str(core), "wrk", "-t1", f"-c{concurrency}", f"-d{seconds}s"]
        for line in address.headers:
            argv += ["-H", line]
        argv += ["--timeout", f"{_WRK_TIMEOUT_S}s", "-s", str(script)]
        argv.append(f"http://127.0.0.1:{address.port}{address.path}")
        limit_s = seconds + _WRK_TIMEOUT_S
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=limit_s)
    return _read(done.stdout)


def _read(output: str) -> Load:
    line = next((line for line in output.splitlines() if line.startswith("MEASURED")), None)
    if line is None:
        raise RuntimeError(f"wrk said no figures: {output[-300:]}")
    count, micros, p50, p99, errors = map(int, line.split()[1:])
    if count <= errors:
        raise RuntimeError(f"no call succeeded of {count}")
    good = count - errors
    rps = good / (micros / 1e6)
    return Load(count=good, rps=rps, p50_ms=p50 / 1000, p99_ms=p99 / 1000, errors=errors)
