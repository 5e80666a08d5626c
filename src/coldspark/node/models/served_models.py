"""The models of one command: loaded through its server's API, unloaded when it has no memory."""

import asyncio
import logging
from collections import Counter, OrderedDict
from pathlib import Path

from coldspark import clock
from coldspark.node.models.model_load import ModelLoadReport
from coldspark.node.models.model_server import LOADED, NO_MEMORY, ModelServerClient
from coldspark.spec.types import Failure, FailureKind

_log = logging.getLogger(__name__)
_SAID_CHARS = 1_024


class ModelLoadFailed(Exception):
    """The server does not load a model."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class ServedModels:
    """What a command has loaded, the one used last last. One is loaded at a time."""

    def __init__(self, server: ModelServerClient, *, is_cached: bool) -> None:
        self._server = server
        self._is_cached = is_cached
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._uses: Counter[str] = Counter()
        self._turn = asyncio.Lock()

    def acquire(self, target: str) -> bool:
        """Count a use of a model that is loaded; return whether it is."""
        if target not in self._loaded:
            return False
        self._loaded.move_to_end(target)
        self._uses[target] += 1
        return True

    async def load(self, target: str, directory: Path) -> ModelLoadReport:
        """Load a model, and count the first use of it. Raises ModelLoadFailed."""
        async with self._turn:
            if self.acquire(target):
                return ModelLoadReport(loaded=len(self._loaded))
            began_s, unload_s = clock.monotonic_s(), 0.0
            evicted: list[str] = []
            while True:
                status, said = await self._load(target, directory)
                if status in LOADED:
                    break
                one = self._idle() if status == NO_MEMORY else None
                if one is None:
                    raise _failed(target, status, said)
                asked_s = clock.monotonic_s()
                await self._unload(one)
                unload_s += clock.monotonic_s() - asked_s
                evicted.append(one)
            self._loaded[target] = None
            self.acquire(target)
            load_s = clock.monotonic_s() - began_s - unload_s
            return ModelLoadReport(
                load_us=round(load_s * 1e6),
                unload_us=round(unload_s * 1e6),
                evicted=tuple(evicted),
                loaded=len(self._loaded),
            )

    async def release(self, target: str) -> bool:
        """End a use; return whether the model was unloaded for it."""
        self._uses[target] -= 1
        if self._uses[target] > 0:
            return False
        del self._uses[target]
        if self._is_cached:
            return False
        async with self._turn:
            if target in self._loaded and not self._uses[target]:
                await self._unload(target)
                return True
        return False

    def _idle(self) -> str | None:
        return next((one for one in self._loaded if self._uses[one] <= 0), None)

    async def _load(self, target: str, directory: Path) -> tuple[int, str]:
        try:
            return await self._server.load(target, directory)
        except (OSError, TimeoutError) as error:
            raise _failed(target, None, str(error)) from None

    async def _unload(self, target: str) -> None:
        # Whatever it answers: it is not called any more, and a 409 would say that it is there.
        self._loaded.pop(target, None)
        try:
            status, said = await self._server.unload(target)
        except (OSError, TimeoutError) as error:
            _log.warning("the model %s was not unloaded: %s", target, error)
            return
        if status not in (200, 202, 204, 404):
            _log.warning("the model %s was not unloaded: %d %s", target, status, said)


def _failed(target: str, status: int | None, said: str) -> ModelLoadFailed:
    how = "gave no answer" if status is None else f"answered {status}"
    message = f"POST /models for {target} {how}: {said[:_SAID_CHARS]}"
    return ModelLoadFailed(Failure(kind=FailureKind.HANDLER_FAILED, message=message))
