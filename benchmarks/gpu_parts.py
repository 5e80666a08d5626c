"""What ``benchmarks.gpu`` measures inside processes that use the device: one JSON line a figure.

Run as ``python -m benchmarks.gpu_parts context | link | load FILE | model``, with torch installed.
"""

import importlib
import itertools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from coldspark.node.worker import device_weights

GIB = 1024**3
ROUNDS = 5
MODEL_BYTES = 10**9
_WIDTH = 8192


def say(**figures: object) -> None:
    """Print one line for the parent."""
    print(json.dumps(figures), flush=True)


def context(torch: Any) -> None:
    """Time the first use of the device by a fresh process."""
    begun_s = time.perf_counter()
    torch.empty(1, device="cuda")
    torch.cuda.synchronize()
    say(context_s=time.perf_counter() - begun_s, name=torch.cuda.get_device_name(0))


def link(torch: Any) -> None:
    """Copy 1 GiB of pinned memory: what the link gives at most."""
    host = torch.empty(GIB, dtype=torch.uint8, pin_memory=True).fill_(1)
    device = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    device.copy_(host, non_blocking=True)
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        begun_s = time.perf_counter()
        device.copy_(host, non_blocking=True)
        torch.cuda.synchronize()
        say(gb_per_s=GIB / (time.perf_counter() - begun_s) / 1e9)


def load(torch: Any) -> None:
    """Load a safetensors file whose pages are cached; the first round also makes the context."""
    path = sys.argv[2]
    device_weights.load(path)
    for _ in range(ROUNDS):
        say(gb_per_s=device_weights.load(path).gb_per_s)


def model(torch: Any) -> None:
    """Hold a model of 1 GB, and run it once for every line that comes."""
    count = round(MODEL_BYTES / (_WIDTH * _WIDTH * 2))
    layers = [torch.nn.Linear(_WIDTH, _WIDTH, bias=False) for _ in range(count)]
    whole = torch.nn.Sequential(*layers).to("cuda", torch.bfloat16).eval()
    given = torch.ones(1, _WIDTH, device="cuda", dtype=torch.bfloat16)
    for _ in itertools.chain([None], sys.stdin):
        begun_s = time.perf_counter()
        with torch.inference_mode():
            answer = whole(given).float().sum().item()
        size = sum(one.numel() * one.element_size() for one in whole.parameters())
        say(forward_s=time.perf_counter() - begun_s, answer=answer, size_bytes=size)


PARTS: dict[str, Callable[[Any], None]] = {
    "context": context,
    "link": link,
    "load": load,
    "model": model,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](importlib.import_module("torch"))
