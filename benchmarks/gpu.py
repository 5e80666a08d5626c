"""Measure a real GPU: a CUDA context, weights against the link, a model parked and resumed.

Needs a GPU that NVML lists and a torch with CUDA in this interpreter; without them it says so and
measures nothing. Memory is NVML's word, by process.
"""

import asyncio
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu_parts import MODEL_BYTES, ROUNDS
from benchmarks.report import Report
from coldspark.node.gpu import devices
from coldspark.node.gpu.cuda_checkpoint import CheckpointUnavailable
from coldspark.node.gpu.cuda_suspension import SuspensionFailed, open_suspension
from coldspark.node.gpu.gpu_parking import HELD_BYTES_MAX
from coldspark.platform import catalogue
from coldspark.spec.messages import Device

_PART_WITHIN_S = 300.0
_RELEASED_WITHIN_S = 5.0


def measure(report: Report) -> None:
    """Add the figures of the first device, or the reason why there are none."""
    inventory = devices.discover(catalogue.load())
    if not inventory.devices:
        report.remark(f"gpu: NOT MEASURED: {inventory.reason}")
        return
    if importlib.util.find_spec("torch") is None:
        report.remark("gpu: NOT MEASURED: this interpreter has no torch")
        return
    device = inventory.devices[0]
    contexts = [_part(device, "context")[0] for _ in range(ROUNDS)]
    report.remark(f"gpu: {contexts[0]['name']}, driver {inventory.driver}")
    report.add("CUDA context of a fresh process", "ms", [1e3 * c["context_s"] for c in contexts])
    _measure_weights(report, device)
    asyncio.run(_measure_parking(report, device))


def _measure_weights(report: Report, device: Device) -> None:
    link = report.add("pinned copy of 1 GiB: the link", "GB/s", _rates(_part(device, "link")))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        _write_weights(file)
        loads = _rates(_part(device, "load", str(file)))
    loaded = report.add("safetensors file of 1 GB, cached, to the device", "GB/s", loads)
    report.add("of the link", "%", [100 * loaded.median / link.median])


def _rates(lines: list[dict[str, Any]]) -> list[float]:
    return [line["gb_per_s"] for line in lines]


def _write_weights(file: Path) -> None:
    """Write 1 GB in ten tensors."""
    each = MODEL_BYTES // 10
    rows = {
        f"layer.{n}": {"dtype": "U8", "shape": [each], "data_offsets": [n * each, (n + 1) * each]}
        for n in range(10)
    }
    header = json.dumps(rows).encode()
    with file.open("wb") as out:
        out.write(len(header).to_bytes(8, "little") + header)
        for _ in range(10):
            out.write(os.urandom(each))


async def _measure_parking(report: Report, device: Device) -> None:
    process = _start(device, "model")
    try:
        before = _ask(process, None)
        report.add("device memory of a torch model's process", "MB", [_held(device, process) / 1e6])
        rounds = [await _park_once(device, process, before) for _ in range(ROUNDS)]
    except (CheckpointUnavailable, SuspensionFailed) as reason:
        report.remark(f"park and resume: NOT MEASURED: {reason}")
        return
    finally:
        process.kill()
        process.wait(20)
    for what in rounds[0]:
        report.add(what, "MB" if "memory" in what else "ms", [one[what] for one in rounds])
    size = before["size_bytes"] / 1e9
    report.remark(f"the model has {size:.2f} GB of weights; its answer was the same each time")


async def _park_once(
    device: Device, process: "subprocess.Popen[str]", before: dict[str, Any]
) -> dict[str, float]:
    """Park and resume; return milliseconds, and the megabytes that stayed."""
    marks = [time.perf_counter()]
    suspension = await open_suspension()
    try:
        marks.append(time.perf_counter())
        await suspension.suspend([process.pid])
        marks.append(time.perf_counter())
        left = _left(device, process)
        marks.append(time.perf_counter())
        await suspension.resume()
        marks.append(time.perf_counter())
    finally:
        await suspension.ended()
    after = _ask(process, "run")
    assert after["answer"] == before["answer"], "the model answers otherwise than before"
    opened, suspended, released, resumed = (
        1e3 * (later - earlier) for earlier, later in itertools.pairwise(marks)
    )
    return {
        "park: start of the process that makes the calls": opened,
        "park: lock and checkpoint": suspended,
        "park: until NVML says so": released,
        "park: device memory that stayed": left / 1e6,
        "resume: restore and unlock": resumed,
        "resume: first forward": 1e3 * after["forward_s"],
    }


def _left(device: Device, process: "subprocess.Popen[str]") -> int:
    """Return what is still held once it is little, or after a while."""
    give_up_s = time.perf_counter() + _RELEASED_WITHIN_S
    while (left := _held(device, process)) > HELD_BYTES_MAX and time.perf_counter() < give_up_s:
        time.sleep(0.005)
    return left


def _held(device: Device, process: "subprocess.Popen[str]") -> int:
    use = devices.device_use(device.id)
    assert use is not None, "NVML answered a moment ago"
    return use.by_pid.get(process.pid, 0)


def _ask(process: "subprocess.Popen[str]", line: str | None) -> dict[str, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    if line is not None:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    words: dict[str, Any] = json.loads(process.stdout.readline())
    return words


def _part(device: Device, *words: str) -> list[dict[str, Any]]:
    """Run a part to its end; return its lines."""
    process = _start(device, *words)
    out, _ = process.communicate(timeout=_PART_WITHIN_S)
    if process.returncode != 0:
        raise SystemExit(f"{words[0]} ended with {process.returncode}; its error is above")
    return [json.loads(line) for line in out.splitlines()]


def _start(device: Device, *words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.gpu_parts", *words]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": device.id}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
