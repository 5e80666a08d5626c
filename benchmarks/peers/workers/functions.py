"""What every peer serves: three functions from a batch of requests to their answers."""

import importlib.util
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH_MAX = 16
BATCH_WAIT_S = 0.005
"""Where a peer batches, and can be told."""
Work = Callable[[list[Any]], list[Any]]
_GPU_FIXED_S, _GPU_EACH_S = 0.005, 0.0001
_GPU = threading.Lock()
"""One device computes one batch at a time, however many threads ask."""


def load(name: str) -> Work:
    """Return the function of this name, its model loaded."""
    if name == "minilm":
        return _minilm()
    return {"echo": echo, "fakegpu": fakegpu, "fakegpu-overlap": fakegpu_overlap}[name]


def is_batched(name: str) -> bool:
    """Return whether a peer that can batch shall batch this function."""
    return name in ("fakegpu", "minilm")


def echo(items: list[Any]) -> list[Any]:
    """Return what came."""
    return items


def fakegpu(items: list[Any]) -> list[Any]:
    """Hold the one device for 5 ms, and 0.1 ms for each item."""
    with _GPU:
        return fakegpu_overlap(items)


def fakegpu_overlap(items: list[Any]) -> list[Any]:
    """Take as long, on a device of its own."""
    time.sleep(_GPU_FIXED_S + _GPU_EACH_S * len(items))
    return items


def _minilm() -> Work:
    """Load the example's handler; one call embeds the texts of the whole batch."""
    path = Path(__file__).resolve().parents[3] / "examples" / "minilm" / "inference.py"
    spec = importlib.util.spec_from_file_location("minilm_example", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    model = example.model_fn(".")

    def work(items: list[Any]) -> list[Any]:
        answers: list[Any] = example.predict_batch_fn([item["texts"] for item in items], model)
        return answers

    return work
