"""From zero replicas to the answer, by stage, beside a plain start of the same worker.

A plain start is the same program in a fresh interpreter of the same environment: imports, loads
the model, answers one request, prints it. Both are timed from outside, in the same rounds.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Report, Row
from benchmarks.servers import Platform, platform, until
from coldspark.errors import ColdsparkError
from coldspark.sdk.deploy import deploy

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
ROUNDS = 15
PLAIN_ROUNDS = 5
WARM_CALLS = 50
IDLE_BETWEEN_S = 2.0
"""What a warm replica is left alone for: its caches are as cold then as those of one that wakes."""
IDLE_S = 0.05
_PLAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import inference
model = inference.model_fn(".") if hasattr(inference, "model_fn") else None
data = sys.argv[2]
read = getattr(inference, "input_fn", None)
value = json.loads(data) if read is None else read(data, "application/json")
print(json.dumps(inference.predict_fn(value, model)))
"""
_IMPORTS_ALONE = """

import threading

from transformers import AutoModel


def model_fn(model_dir):
    # A thread that outlives it keeps the load after the fork, as for any model that starts some.
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    return AutoModel.from_pretrained(model_directory(), add_pooling_layer=False).eval()
"""
_ECHO = "import json\n\ndef predict_fn(data, model):\n    return data\n"


@dataclass(frozen=True, slots=True)
class Subject:
    """A worker to wake."""

    name: str
    source: Path
    data: dict[str, Any]


def measure(report: Report) -> None:
    """Wake an empty handler, static embeddings, and MiniLM on torch."""
    texts = {"texts": ["a cat sat on the mat"]}
    with platform() as ours:
        echo = ours.data.parent / "echo"
        echo.mkdir()
        (echo / "inference.py").write_text(_ECHO)
        (echo / "coldspark.toml").write_text('name = "echo"\nhandler = "inference.py"\n')
        for subject in (
            Subject("echo (imports nothing)", echo, {"x": "y" * 1_000}),
            Subject("embed (wordllama, numpy)", EXAMPLES / "embed", texts),
            Subject("minilm (torch)", EXAMPLES / "minilm", texts),
        ):
            try:
                _measure(report, ours, subject)
            except ColdsparkError as error:
                report.remark(f"SKIPPED {subject.name}: {error.message.splitlines()[0]}")
    with platform("--no-standby") as ours:
        minilm = Subject("minilm (torch)", EXAMPLES / "minilm", texts)
        try:
            _measure_forks(report, ours, minilm)
        except ColdsparkError as error:
            report.remark(f"SKIPPED {minilm.name}: {error.message.splitlines()[0]}")


def _measure_forks(report: Report, ours: Platform, subject: Subject) -> None:
    """Wake by a fork on demand: from a template with the model, and from one with imports alone."""
    report.remark(f"from zero, no process forked ahead: {subject.name}")
    imports_alone = ours.data.parent / "imports-alone"
    shutil.copytree(subject.source, imports_alone)
    program = imports_alone / "inference.py"
    program.write_text(program.read_text() + _IMPORTS_ALONE)
    for each, warmth in (
        (subject, "a model template, no standby"),
        (Subject("minilm, plain model_fn", imports_alone, subject.data), "imports alone"),
    ):
        name = _deployed(ours, each, idle_timeout=60)
        _ask(ours, name, each.data)
        interpreter = interpreter_of(ours, name)
        warm = [milliseconds(lambda: _ask(ours, name, each.data)) for _ in range(WARM_CALLS)]  # noqa: B023
        hot = report.add(f"{each.name}: warm", "ms", warm[5:])
        plain = [milliseconds(lambda: _plainly(interpreter, each)) for _ in range(PLAIN_ROUNDS)]  # noqa: B023
        cold = report.add(f"{each.name}: plain start", "ms", plain)
        _deployed(ours, each, idle_timeout=IDLE_S, park_timeout=0)
        wake = _wake(report, ours, each, name, warmth)
        report.remark(
            f"    over warm {wake.median - hot.median:.1f} ms;"
            f" {wake.median / cold.median:.4f} of a plain start"
        )


def _measure(report: Report, ours: Platform, subject: Subject) -> None:
    report.remark(f"from zero: {subject.name}")
    name = _deployed(ours, subject, idle_timeout=60)
    _ask(ours, name, subject.data)
    interpreter = interpreter_of(ours, name)
    warm = [milliseconds(lambda: _ask(ours, name, subject.data)) for _ in range(WARM_CALLS)]
    hot = report.add(f"{subject.name}: warm", "ms", warm[5:])
    idle = [_idly(ours, name, subject) for _ in range(ROUNDS)]
    rested = report.add(f"{subject.name}: warm, after {IDLE_BETWEEN_S:g} s idle", "ms", idle)
    plain = [milliseconds(lambda: _plainly(interpreter, subject)) for _ in range(PLAIN_ROUNDS)]
    cold = report.add(f"{subject.name}: plain start", "ms", plain)
    for warmth, park_timeout in (("standby", 0), ("parked", 60)):
        _deployed(ours, subject, idle_timeout=IDLE_S, park_timeout=park_timeout)
        wake = _wake(report, ours, subject, name, warmth)
        report.remark(
            f"    over warm {wake.median - hot.median:.1f} ms, over warm but idle for"
            f" {IDLE_BETWEEN_S:g} s {wake.median - rested.median:.1f} ms;"
            f" {cold.median / wake.median:.0f}x faster than a plain start"
        )


def _idly(ours: Platform, name: str, subject: Subject) -> float:
    """Call a warm replica that has been idle for as long as one that is to be woken."""
    time.sleep(IDLE_BETWEEN_S)
    return milliseconds(lambda: _ask(ours, name, subject.data))


def _wake(report: Report, ours: Platform, subject: Subject, name: str, warmth: str) -> Row:
    _ask(ours, name, subject.data)
    totals: list[float] = []
    stages: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        until_at_rest(ours, name)
        totals.append(milliseconds(lambda: stages_of(ours, name, subject.data, stages)))
    row = report.add(f"{subject.name}: wake from {warmth}", "ms", totals)
    for stage, values in stages.items():
        report.add(f"  of it {stage}", "ms", values)
    return row


def _deployed(ours: Platform, subject: Subject, **scale: float) -> str:
    return str(deploy(ours.client, subject.source, {"scale": scale})["name"])


def stages_of(
    ours: Platform, name: str, data: dict[str, Any], stages: dict[str, list[float]]
) -> None:
    """Call, and collect the answer's stages."""
    for stage, value in _ask(ours, name, data).items():
        stages.setdefault(stage, []).append(value)


def _ask(ours: Platform, name: str, data: dict[str, Any]) -> dict[str, float]:
    answer = ours.client.invoke(name, json.dumps(data).encode(), content_type="application/json")
    answer.json()
    return answer.stages_ms


def until_at_rest(ours: Platform, name: str) -> None:
    """Wait until no replica runs, and until the next standby is there."""

    def is_at_rest() -> bool:
        replicas = ours.client.endpoint(name)["variants"][0]["replicas"]
        return all(replica["state"] == "parked" for replica in replicas)

    until(is_at_rest, f"{name} never came to rest")
    time.sleep(IDLE_BETWEEN_S - IDLE_S)


def interpreter_of(ours: Platform, name: str) -> str:
    """Return the interpreter that the endpoint's replicas run in."""
    for replica in ours.client.endpoint(name)["variants"][0]["replicas"]:
        found = [w for w in str(replica.get("template")).split() if w.endswith("/bin/python")]
        if found:
            return found[0]
    environments = sorted((ours.data / "environments").glob("*/bin/python"), key=_made)
    return str(environments[-1]) if environments and name != "echo" else sys.executable


def _made(path: Path) -> float:
    return path.lstat().st_mtime


def _plainly(interpreter: str, subject: Subject) -> None:
    argv = [interpreter, "-c", _PLAIN, str(subject.source), json.dumps(subject.data)]
    subprocess.run(argv, check=True, capture_output=True, cwd=subject.source)


def milliseconds(work: Callable[[], object]) -> float:
    """Return how long it takes."""
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000
