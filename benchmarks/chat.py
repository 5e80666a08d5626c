"""From zero replicas to a language model's first streamed token: ``examples/chat``, OpenAI's API.

A plain start is the same program in a fresh interpreter of the same environment: imports, loads
the model, and prints the first chunk that holds text. Both are timed from outside.
"""

import http.client
import json
import subprocess
import time
from collections.abc import Callable

from benchmarks.report import Report, Row
from benchmarks.servers import Platform, platform, until
from benchmarks.wakes import (
    EXAMPLES,
    IDLE_BETWEEN_S,
    PLAIN_ROUNDS,
    ROUNDS,
    interpreter_of,
    milliseconds,
    until_at_rest,
)
from coldspark.errors import ColdsparkError
from coldspark.sdk.deploy import deploy

NAME = "chat"
SOURCE = EXAMPLES / NAME
TARGET_MS = 500.0
WARM_CALLS = 20
IDLE_S = 0.05
_ASK = {
    "messages": [{"role": "user", "content": "Say hello to the world."}],
    "max_tokens": 4,
    "temperature": 0,
    "stream": True,
}
_PLAIN = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
os.environ["CHAT_PARALLEL"] = "2"
import inference
model = inference.model_fn(".")
def take(chunk):
    if '"content":"' in chunk:
        print("first", flush=True)
        os._exit(0)
    return False
model.handle_chat_completions(sys.argv[2], take)
"""


def measure(report: Report) -> None:
    """Time the first token warm, from parked, standby, imports alone, and from nothing."""
    try:
        with platform() as ours:
            warm = _measure(report, ours)
        with platform("--no-standby") as ours:
            _settle(ours, idle_timeout=IDLE_S, park_timeout=0)
            _wake(report, ours, "imports alone (the model loaded after the fork)", warm)
    except ColdsparkError as error:
        report.remark(f"SKIPPED {NAME}: {error.message.splitlines()[0]}")


def _measure(report: Report, ours: Platform) -> Row:
    report.remark("first streamed token: examples/chat (SmolLM2-135M, llama.cpp)")
    _settle(ours, idle_timeout=60)
    interpreter = interpreter_of(ours, NAME)
    warm = report.add("first token: warm", "ms", [_first_token_ms(ours) for _ in range(WARM_CALLS)])
    argv = [interpreter, "-c", _PLAIN, str(SOURCE), json.dumps(_ASK)]
    plain = [
        milliseconds(lambda: subprocess.run(argv, check=True, capture_output=True))
        for _ in range(PLAIN_ROUNDS)
    ]
    report.add("first token: plain start", "ms", plain)
    for warmth, park_timeout in (("standby", 0), ("parked", 60)):
        _settle(ours, idle_timeout=IDLE_S, park_timeout=park_timeout)
        _wake(
            report, ours, warmth, warm, _until_loaded_ahead(ours) if warmth == "standby" else None
        )
    return warm


def _settle(ours: Platform, **scale: float) -> None:
    """Deploy with these idle times, and answer once."""
    deploy(ours.client, SOURCE, {"scale": scale})
    _first_token_ms(ours)


def _wake(
    report: Report,
    ours: Platform,
    warmth: str,
    warm: Row,
    until_ready: Callable[[], None] | None = None,
) -> None:
    totals: list[float] = []
    for _ in range(ROUNDS):
        until_at_rest(ours, NAME)
        if until_ready is not None:
            until_ready()
            time.sleep(IDLE_BETWEEN_S)
        totals.append(_first_token_ms(ours))
    row = report.add(f"first token: from {warmth}", "ms", totals)
    for stage, values in _stages(ours, len(totals)).items():
        report.add(f"  of it {stage}", "ms", values)
    is_met = "within" if row.median <= TARGET_MS else "OVER"
    report.remark(
        f"    over warm {row.median - warm.median:.1f} ms; {is_met} the {TARGET_MS:.0f} ms aimed at"
    )


def _until_loaded_ahead(ours: Platform) -> Callable[[], None]:
    def is_loaded() -> bool:
        template = ours.client.endpoint(NAME)["variants"][0]["warmth"]["template"]
        return template is not None and bool(template["has_loaded_standby"])

    return lambda: until(is_loaded, "no standby has loaded the model")


def _stages(ours: Platform, newest: int) -> dict[str, list[float]]:
    """Return the stages before the handler, of the newest requests."""
    stages: dict[str, list[float]] = {}
    for line in ours.client.requests(NAME, limit=newest):
        for stage, us in line["waterfall"].items():
            if stage not in ("inferred_us", "returned_us"):
                stages.setdefault(stage.removesuffix("_us"), []).append(us / 1000)
    return stages


def _first_token_ms(ours: Platform) -> float:
    """Ask by OpenAI's path; return when the first text came. The rest is read, too."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=60)
    body = json.dumps({"model": NAME, **_ASK})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    first_ms = None
    for line in answer:
        if first_ms is None and b'"content":"' in line:
            first_ms = (time.perf_counter() - began) * 1000
    connection.close()
    assert first_ms is not None, f"no token came; status {answer.status}"
    return first_ms
