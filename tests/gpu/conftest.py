"""Find a real GPU, or skip and say what was not tried."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coldspark.node.gpu import cuda_suspension, devices
from coldspark.node.gpu.cuda_checkpoint import CheckpointUnavailable
from coldspark.platform import catalogue
from coldspark.spec.messages import Device


@pytest.fixture(scope="session")
def gpu() -> Device:
    """Return the first whole device of this machine."""
    inventory = devices.discover(catalogue.load())
    whole = [one for one in inventory.devices if not one.id.startswith("MIG-")]
    if not whole:
        reason = inventory.reason or "only MIG slices"
        pytest.skip(f"NOT TRIED ON A GPU: {reason}")
    return whole[0]


@pytest.fixture(scope="session")
def checkpoints(gpu: Device) -> int:
    """Return the CUDA version of a driver that checkpoints."""
    try:
        return cuda_suspension.examine()
    except CheckpointUnavailable as reason:
        pytest.skip(f"NOT TRIED ON A GPU: {reason}")


@pytest.fixture(scope="session")
def torch(gpu: Device) -> Any:
    """Return torch, if this interpreter's has the device."""
    try:
        found = importlib.import_module("torch")
    except ImportError:
        pytest.skip("NOT TRIED ON A GPU: this interpreter has no torch")
    if not found.cuda.is_available():
        pytest.skip("NOT TRIED ON A GPU: this torch sees no device")
    return found


@pytest.fixture
def holder(gpu: Device) -> Iterator["subprocess.Popen[str]"]:
    """Start a process that holds memory on the device, and knows what is in it."""
    command = [sys.executable, str(Path(__file__).with_name("memory_holder.py"))]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu.id}
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    yield process
    process.kill()
    process.wait(20)
