"""Serve a handler that has many models: each call says which, and where its files are.

The router has brought the files here; it says so in headers of its own, and hears in one of a
reply's what was loaded and what was evicted for it.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

from . import program
from .calls import CallLane, ReplicaCall
from .context import HandlerRequest
from .handler import PING_PATH, HandlerReply, ProgramHandler
from .learned_imports import ImportObserver
from .model_cache import LoadedModel, ModelCache, ModelLoadReport
from .server import HandlerServer

TARGET = "x-amzn-sagemaker-target-model"
DIRECTORY = "x-coldspark-model-dir"
DOINGS = "x-coldspark-models"


class MultiModelServer(HandlerServer):
    """A ``HandlerServer`` whose handler is chosen by each call."""

    def __init__(
        self,
        channel: socket.socket,
        handler: ProgramHandler,
        models: ModelCache,
        concurrency: int,
        observer: ImportObserver | None = None,
    ) -> None:
        """``handler`` is the program without a model."""
        super().__init__(channel, handler, concurrency, observer)
        self._models = models
        self._uses: dict[int, LoadedModel] = {}
        """The model of each call that runs."""

    def _answer(self, call: ReplicaCall) -> bytes:
        request = call.request()
        if request.method == "GET" and request.path == PING_PATH:
            return self._write(call, HandlerReply(200, [], b""))
        headers = dict(request.headers)
        call.mask()
        # Counted while no interrupt can come, and until the call's last frame.
        loaded, doings = self._models.acquire(
            headers[TARGET],
            headers[DIRECTORY],
            lambda work: self._interruptible(call, work),
            lambda: call.cancelled,
        )
        if loaded is not None:
            self._uses[call.number] = loaded
        call.unmask()
        assert loaded is not None, "a call that was cancelled went on"
        seen = HandlerRequest(**{**vars(request), "headers": _theirs(request)})
        reply = call.timed(lambda: loaded.handler.invoke(seen))
        return self._write(call, _told(reply, doings))

    def _interruptible(
        self, call: ReplicaCall, work: Callable[[], ProgramHandler]
    ) -> ProgramHandler:
        try:
            call.unmask()
            return call.timed(work)
        finally:
            call.masked = True

    def _park(self) -> None:
        self._models.park()

    def _unpark(self) -> None:
        self._models.unpark()

    def _perform(self, lane: CallLane, call: ReplicaCall) -> None:
        super()._perform(lane, call)
        # The call is over, and so is every interrupt.
        loaded = self._uses.pop(call.number, None)
        if loaded is not None:
            self._models.release(loaded)


def check(handler: ProgramHandler) -> None:
    """Raise HandlerInvalid unless a program can have many models."""
    if not handler.has_model:
        raise program.HandlerInvalid(
            "an endpoint of many models needs model_fn(model_dir), which loads one of them"
        )


def _theirs(request: HandlerRequest) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.headers if name != DIRECTORY]


def _told(reply: HandlerReply, doings: ModelLoadReport) -> HandlerReply:
    """Add what the router is to hear, if anything was done."""
    if doings.load_us is None and not doings.evicted:
        return reply
    told: dict[str, Any] = vars(doings)
    return HandlerReply(reply.status, [*reply.headers, (DOINGS, json.dumps(told))], reply.body)
